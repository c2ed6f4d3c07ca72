//! `heartvoice openapi`: the programming interface described for programs, without a server.

use crate::output;

/// Prints the description of the programming interface below /api/v1, in OpenAPI 3.1
///
/// A running server gives the same at /api/v1/openapi.json, and shows it to people at /api/docs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice openapi >heartvoice-openapi.json")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> anyhow::Result<()> {
    output::json(&server::openapi_document())
}

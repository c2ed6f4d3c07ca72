//! `heartvoice config`: what the settings are and whether they make sense.

use crate::config::{Config, Origin, Overrides};
use crate::failure::{BAD_INPUT, Reported};
use crate::output::{self, Format};
use clap::Subcommand;
use serde_json::json;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the effective settings, where each comes from, and what is wrong with them
    #[command(after_help = "Example:\n  heartvoice config check --config heartvoice.toml")]
    Check {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) fn run(file: Option<&Path>, command: &Command) -> anyhow::Result<()> {
    let Command::Check { format } = command;
    let mut config = Config::load(file, &Overrides::default());
    config.check_tls_files();
    match format {
        Format::Table => print_table(&config)?,
        Format::Json => print_json(&config)?,
    }
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &config.problems {
        eprintln!("error: {problem}");
    }
    if config.problems.is_empty() { Ok(()) } else { Err(Reported(BAD_INPUT).into()) }
}

fn print_table(config: &Config) -> anyhow::Result<()> {
    let rows = config.settings().iter().map(|(variable, found)| match found {
        Some(found) => [variable.name.to_owned(), variable.kind.shown(&found.value), found.origin.to_string()],
        None => [variable.name.to_owned(), "-".to_owned(), "not set".to_owned()],
    });
    output::table(["setting", "value", "from"], rows.collect())
}

fn print_json(config: &Config) -> anyhow::Result<()> {
    let settings = config.settings().iter().map(|(variable, found)| {
        json!({
            "name": variable.name,
            "value": found.as_ref().map(|found| variable.kind.shown(&found.value)),
            "source": found.as_ref().map(|found| found.origin.to_string()),
            "is_default": found.as_ref().is_none_or(|found| found.origin == Origin::Default),
        })
    });
    output::json(&json!({
        "ok": config.problems.is_empty(),
        "settings": settings.collect::<Vec<_>>(),
        "problems": config.problems,
        "warnings": config.warnings,
    }))
}

//! placeholder
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {}
pub(crate) async fn run(_: Command) -> anyhow::Result<()> {
    Ok(())
}

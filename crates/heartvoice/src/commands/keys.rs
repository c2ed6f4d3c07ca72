//! `heartvoice keys`: keys for the records.

use crate::output;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints a fresh random ENCRYPTION_KEY
    #[command(after_help = "Example:\n  echo \"ENCRYPTION_KEY=$(heartvoice keys generate)\" >> .env")]
    Generate,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Generate => {
            // The provider's own generator, through the one function that gives key material out.
            let key = store::MasterKey::random()?.derive_32("fresh installation key");
            output::line(&hex(&key))
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

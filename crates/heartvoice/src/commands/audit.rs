//! `heartvoice audit`: who did what to whose record, and whether the trail of it is whole.

mod export;
mod list;
mod verify;

use super::{load_config, open_configured};
use crate::output::{self, Format};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};
use store::Store;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks that no entry was changed, removed or added
    ///
    /// Exit code 1 when something is wrong; the first bad entry is named. An export is checked without database and
    /// settings. Somebody who holds a copy of the whole database can bring that state back, and the trail inside cannot
    /// tell: give a file of checkpoints that they could not change.
    #[command(
        after_help = "Examples:\n  heartvoice audit verify --checkpoint /mnt/other/checkpoints.jsonl\n  heartvoice audit verify --file audit.jsonl --key PUBLICKEY"
    )]
    Verify {
        /// An export to check, instead of the database
        #[arg(long, value_name = "EXPORT")]
        file: Option<PathBuf>,
        /// The installation's public key, as `audit key` prints it; without it the export's own is believed
        #[arg(long, value_name = "PUBLICKEY", requires = "file")]
        key: Option<String>,
        /// Checkpoints that were kept outside of the database: one as JSON on every line
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists entries, newest first
    #[command(
        after_help = "Example:\n  heartvoice audit list --patient 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b --since 2026-01-01"
    )]
    List(list::Args),
    /// Writes the whole trail to a file that anybody with the public key can verify
    #[command(
        after_help = "Examples:\n  heartvoice audit export --out audit.jsonl\n  heartvoice audit export --fhir --out audit.ndjson"
    )]
    Export {
        /// The file to write; it must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// One FHIR R4 AuditEvent on every line instead; such a file cannot be verified
        #[arg(long)]
        fhir: bool,
    },
    /// Prints the public key that checks exports and checkpoints
    #[command(after_help = "Example:\n  heartvoice audit key")]
    Key {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Signs the trail as it is now, and appends the newest checkpoint to a file kept elsewhere
    #[command(after_help = "Example:\n  heartvoice audit checkpoint --to /mnt/other/checkpoints.jsonl")]
    Checkpoint {
        /// The file; it may exist
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

pub(crate) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    if let Command::Verify { file: Some(export), key, checkpoint, format } = &command {
        return tokio::task::block_in_place(|| verify::file(export, key.as_deref(), checkpoint, *format));
    }
    let config = load_config(file)?;
    let store = open_configured(&config, true).await?;
    let done = match command {
        Command::Verify { checkpoint, format, .. } => verify::database(&store, &checkpoint, format).await,
        Command::List(args) => list::run(&store, &args).await,
        Command::Export { out, fhir: false } => export::lines(&store, &out).await,
        Command::Export { out, fhir: true } => export::fhir(&store, &out, &config.public_base_url()).await,
        Command::Key { format } => key(&store, format),
        Command::Checkpoint { to } => checkpoint(&store, &to).await,
    };
    store.close().await;
    done
}

fn key(store: &Store, format: Format) -> anyhow::Result<()> {
    let (key_id, public_key) = store.audit_public_key();
    match format {
        Format::Table => output::line(&public_key),
        Format::Json => output::json(&json!({"key_id": key_id, "public_key": public_key})),
    }
}

async fn checkpoint(store: &Store, to: &Path) -> anyhow::Result<()> {
    store.checkpoint_audit().await?;
    let Some(newest) = store.last_audit_checkpoint().await? else {
        return output::line("the trail is empty: there is nothing to sign");
    };
    server::audit::keep_checkpoint(to, &newest)?;
    output::line(&format!("entry {} is signed", newest.seq))
}

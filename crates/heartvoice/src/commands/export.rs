//! `heartvoice export`: records for others, without who they belong to.

use super::operator;
use crate::failure::bad_input;
use crate::output::{self, Format};
use crate::progress;
use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use server::Cohort;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use store::Store;
use store::audit::NewEntry;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes de-identified tables for research (Safe Harbor, 45 CFR 164.514(b)(2))
    ///
    /// Names, numbers, dates, texts and recordings are not in them. Every export has new random pseudonyms and moves each
    /// patient's days by a random number; the link back is kept nowhere. The folder has a dictionary of all columns.
    #[command(after_help = "Example:\n  heartvoice export research --out research-2026")]
    Research {
        /// A folder that is not there yet, or empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Languages and sexes that fewer patients share are not told
        #[arg(long, value_name = "PATIENTS", default_value_t = 5)]
        smallest_cell: usize,
        /// How to print what was written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let done = match command {
        Command::Research { out, smallest_cell, format } => research(store, &out, smallest_cell, format).await,
    };
    store.close().await;
    done
}

async fn research(store: &Store, out: &Path, smallest_cell: usize, format: Format) -> anyhow::Result<()> {
    empty_folder(out)?;
    let patients = store.list_patients().await?;
    let bar = progress::bar(patients.len() as u64, "reading");
    let cohort = Cohort::load(store, patients, usize::MAX, || bar.inc(1)).await?;
    bar.finish_and_clear();
    let files = cohort.deidentified(smallest_cell)?.files();
    let (patients, calls) = (cohort.patients(), cohort.calls());
    // The entry first: without it nothing leaves.
    let entry = NewEntry::new(operator(), "research.export").detail("patients", patients).detail("calls", calls);
    store.record(&[entry.detail("method", "safe_harbor")]).await?;
    let mut written = Vec::with_capacity(files.len());
    for file in files {
        write_private(&out.join(&file.name), file.content.as_bytes())
            .with_context(|| format!("cannot write {}", out.join(&file.name).display()))?;
        written.push((file.name, file.content.len()));
    }
    match format {
        Format::Table => output::table(
            ["file", "bytes"],
            written.into_iter().map(|(name, bytes)| [name, bytes.to_string()]).collect(),
        ),
        Format::Json => {
            let names: Vec<String> = written.into_iter().map(|(name, _)| name).collect();
            output::json(&json!({"out": out, "patients": patients, "calls": calls, "files": names}))
        }
    }
}

/// Makes the folder, for this user only. One with something in it is refused: files of two exports must not mix.
pub(super) fn empty_folder(out: &Path) -> anyhow::Result<()> {
    let unusable = |error: std::io::Error| bad_input(format!("--out: cannot create {}: {error}", out.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(unusable)?;
    if std::fs::read_dir(out).map_err(unusable)?.next().is_some() {
        return Err(bad_input(format!("--out: expected an empty folder, but there is something in {}", out.display())));
    }
    Ok(())
}

/// Writes a file that only this user can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

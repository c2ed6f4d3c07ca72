//! `heartvoice audit verify`.

use crate::failure::{FAILED, Reported, bad_input};
use crate::output::{self, Format};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use store::Store;
use store::audit::export::ExportCheck;
use store::audit::{Checkpoint, Verified, unhex};

/// Checkpoints of one file, at most: the newest. One covers everything before it.
const MAX_CHECKPOINTS: usize = 100_000;
/// Bytes of a line of an export: an entry of 8 KiB, escaped.
const MAX_LINE_BYTES: usize = 256 * 1024;

pub(super) async fn database(store: &Store, checkpoints: &[PathBuf], format: Format) -> anyhow::Result<()> {
    let elsewhere = read_checkpoints(checkpoints)?;
    let found = store.verify_audit(&elsewhere).await?;
    report(&found, elsewhere.len(), &store.audit_public_key().1, format)
}

pub(super) fn file(export: &Path, key: Option<&str>, checkpoints: &[PathBuf], format: Format) -> anyhow::Result<()> {
    if let Some(key) = key
        && unhex(&key.to_ascii_lowercase()).is_none_or(|bytes| bytes.len() != 32)
    {
        return Err(bad_input("--key: expected 64 hexadecimal digits, as `heartvoice audit key` prints them"));
    }
    let elsewhere = read_checkpoints(checkpoints)?;
    let mut check = ExportCheck::new(key, &elsewhere);
    let mut lines = Lines::open("--file", export)?;
    while let Some(line) = lines.next()? {
        if !check.line(&line) {
            break;
        }
    }
    let used = check.public_key().unwrap_or_default().to_owned();
    if key.is_none() {
        eprintln!("note: without --key this shows that the file is whole, but not whose it is");
    }
    report(&check.finish(), elsewhere.len(), &used, format)
}

fn report(found: &Verified, elsewhere: usize, public_key: &str, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(&json!({
            "verified": found.broken.is_none(),
            "entries": found.entries,
            "head": found.head,
            "checkpoints": found.checkpoints,
            "checkpoints_from_elsewhere": elsewhere,
            "public_key": public_key,
            "broken": found.broken,
        }))?,
        Format::Table => {
            if found.broken.is_none() {
                let Verified { entries, checkpoints, head, .. } = found;
                output::line(&format!("{entries} entries are as they were written; {checkpoints} checkpoints hold"))?;
                output::line(&format!("last hash {head}, public key {public_key}"))?;
            }
            if elsewhere == 0 {
                eprintln!("note: a return to an earlier state shows only with --checkpoint, from another place");
            }
        }
    }
    match &found.broken {
        None => Ok(()),
        Some(fault) => {
            eprintln!("error: the audit trail is not as it was written: entry {} {}", fault.seq, fault.what);
            Err(anyhow::Error::new(Reported(FAILED)))
        }
    }
}

fn read_checkpoints(files: &[PathBuf]) -> anyhow::Result<Vec<Checkpoint>> {
    let mut all = Vec::new();
    for path in files {
        let mut newest = VecDeque::new();
        let mut lines = Lines::open("--checkpoint", path)?;
        let mut number = 0;
        while let Some(line) = lines.next()? {
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let checkpoint: Checkpoint = serde_json::from_str(&line).map_err(|_| {
                bad_input(format!("--checkpoint: line {number} of {} is no checkpoint", path.display()))
            })?;
            newest.push_back(checkpoint);
            if newest.len() > MAX_CHECKPOINTS {
                newest.pop_front();
            }
        }
        if newest.is_empty() {
            return Err(bad_input(format!("--checkpoint: there is no checkpoint in {}", path.display())));
        }
        all.extend(newest);
    }
    Ok(all)
}

/// The lines of a file, none of them endless.
struct Lines {
    name: String,
    reader: BufReader<File>,
}

impl Lines {
    fn open(flag: &str, path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| bad_input(format!("{flag}: cannot read {name}: {error}")))?;
        Ok(Self { name, reader: BufReader::with_capacity(MAX_LINE_BYTES, file) })
    }

    fn next(&mut self) -> anyhow::Result<Option<String>> {
        use std::io::Read;
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE_BYTES)?;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| anyhow::anyhow!("cannot read {}: {error}", self.name))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() && line.len() >= MAX_LINE_BYTES {
            return Err(bad_input(format!("{}: expected lines of at most 256 KiB", self.name)));
        }
        // What is not text is damaged, and will be found to be so.
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

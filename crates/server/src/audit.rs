//! The audit trail's signatures while the server runs: a checkpoint each minute if there is anything new, one more at the
//! end, and a copy where `AUDIT_CHECKPOINT_FILE` says.
//!
//! The copy is what protects against somebody who can change the whole database: the file belongs on another volume, to
//! which they cannot write. The log holds the same values, and may be sent elsewhere as well. So does the memory of this
//! process while it runs: a trail that does not go on from what was seen before was changed, and people are told.

use crate::app::App;
use crate::{limits, metrics};
use clinic::alerts::rules;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use store::StoreError;
use store::audit::{Actor, AuditOutcome, Checkpoint, NewEntry};
use tokio_util::sync::CancellationToken;

/// What the alert about a changed trail is called.
const CHANGED: &str = "audit_trail_changed";

/// What this process knows of the trail beside the database.
#[derive(Default)]
struct Memory {
    /// The newest checkpoint it has seen.
    seen: Option<Checkpoint>,
    /// The last one that it kept outside of the database.
    kept: Option<Checkpoint>,
    /// A change that is still to be told.
    untold: bool,
}

impl Memory {
    /// Whether the trail is another one than before: entries are only ever added.
    async fn is_contradicted(&self, app: &App, newest: Option<&Checkpoint>) -> Result<bool, StoreError> {
        let Some(seen) = &self.seen else { return Ok(false) };
        let goes_on =
            newest.is_some_and(|newest| newest.seq > seen.seq || (newest.seq == seen.seq && newest.hash == seen.hash));
        // A new trail may have outgrown the old one within the minute.
        Ok(!goes_on || !app.store.holds_audit_checkpoint(seen).await?)
    }
}

/// Signs for ever, and once more when it is to stop.
pub(crate) async fn watch(app: Arc<App>, stop: CancellationToken) {
    let mut memory = Memory::default();
    loop {
        sign(&app, &mut memory).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(limits::CHECKPOINT_EVERY) => {}
        }
    }
    sign(&app, &mut memory).await;
}

/// Signs what is new and keeps the newest checkpoint, also one that another server made.
async fn sign(app: &App, memory: &mut Memory) {
    let newest = match look(app, memory).await {
        Ok(newest) => newest,
        Err(error) => {
            tracing::error!(code = error.code(), "the audit trail could not be signed");
            return;
        }
    };
    memory.seen.clone_from(&newest);
    if newest != memory.kept
        && let Some(newest) = newest
        && keep(app, &newest).await
    {
        memory.kept = Some(newest);
    }
}

/// Signs, compares with what was seen before, and tells of a change. What stands after it is signed nevertheless.
async fn look(app: &App, memory: &mut Memory) -> Result<Option<Checkpoint>, StoreError> {
    let found = newest(app).await;
    let changed = match &found {
        Ok(newest) => memory.is_contradicted(app, newest.as_ref()).await?,
        Err(StoreError::Corrupt { .. }) => true,
        Err(_) => false,
    };
    if !changed && !memory.untold {
        return found;
    }
    if changed {
        metrics::audit_changed();
        let (seq, hash) = memory.seen.as_ref().map_or((0, ""), |seen| (seen.seq, seen.hash.as_str()));
        tracing::error!(
            seq,
            hash,
            "the audit trail was changed past the server: it does not go on from what was signed"
        );
        // From this entry on its end is the server's again.
        let entry = NewEntry::new(Actor::system(), "audit.contradict").outcome(AuditOutcome::Failed);
        app.store.record(&[entry.detail("seq", seq).detail("hash", hash)]).await?;
        memory.untold = true;
    }
    memory.untold = app.raise(&rules::technical(None, None, CHANGED)).await.is_err();
    newest(app).await
}

/// Keeps a checkpoint outside of the database; false when that did not succeed.
async fn keep(app: &App, newest: &Checkpoint) -> bool {
    let Checkpoint { seq, at_us, previous, hash, key_id, signature } = newest;
    tracing::info!(seq, at_us, previous, hash, key_id, signature, "audit checkpoint");
    let Some(path) = app.settings.audit_checkpoint_file.clone() else { return true };
    let copy = newest.clone();
    match tokio::task::spawn_blocking(move || keep_checkpoint(&path, &copy)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            // Tried again in a minute, with what is newest then.
            tracing::error!(%error, "AUDIT_CHECKPOINT_FILE could not be written");
            false
        }
        Err(_) => false,
    }
}

async fn newest(app: &App) -> Result<Option<Checkpoint>, StoreError> {
    let made = app.store.checkpoint_audit().await;
    let newest = app.store.last_audit_checkpoint().await?;
    let entries = app.store.audit_entry_count().await?;
    metrics::audit(entries, newest.as_ref(), crate::clock::unix_us());
    made?;
    Ok(newest)
}

/// Appends a checkpoint to a file, as JSON on a line of its own, and waits until it is on the disk. Blocks.
///
/// # Errors
/// What the system said.
pub fn keep_checkpoint(path: &Path, checkpoint: &Checkpoint) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(checkpoint)?;
    line.push(b'\n');
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    // In one piece: several servers may share the file.
    file.write_all(&line)?;
    file.sync_data()
}

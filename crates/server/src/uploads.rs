//! Bringing recordings from the local spool to the object store, where recordings are kept in one.
//!
//! One task does it, whenever a call has ended and now and then: what could not be uploaded, now or before the last start,
//! is found in the spool again. With recordings in a directory there is nothing to do.

use crate::app::App;
use crate::{limits, metrics};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Uploads until `stop`. What is not done by then stays in the spool for the next start.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    if app.store.audio().upload_counts().is_none() {
        return;
    }
    let mut was_failing = false;
    loop {
        let uploaded = tokio::select! {
            () = stop.cancelled() => return,
            uploaded = app.store.resume_uploads() => uploaded,
        };
        let failed = match uploaded {
            Ok(resumed) => {
                if resumed.unwanted > 0 {
                    tracing::info!(removed = resumed.unwanted, "recordings were erased before they left the spool");
                }
                resumed.failed
            }
            Err(error) => {
                tracing::error!(code = error.code(), "the spool of recordings cannot be read");
                1
            }
        };
        // Each change is told once.
        if failed > 0 && !was_failing {
            tracing::error!(failed, "recordings could not be brought to the object store; they wait in the spool");
        }
        was_failing = failed > 0;
        if let (Some(counts), Ok(Some(spooled))) = (app.store.audio().upload_counts(), app.store.audio().spooled()) {
            metrics::uploads(&counts, spooled);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.recordings_ended.notified(), if !was_failing => {}
            () = tokio::time::sleep(limits::UPLOAD_EVERY) => {}
        }
    }
}

//! The daily work on what is past its retention, and what erasures have left to do.

use crate::{clock, metrics};
use std::time::Duration;
use store::audit::Actor;
use store::{MAX_RETENTION_ITEMS, RetentionRules, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// Between two looks. Files that an erasure could not remove are tried again then.
const LOOK: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Between two steps, so that calls that begin meanwhile do not queue behind deletions.
const BREATH: Duration = Duration::from_millis(500);
/// Of several servers on one database, one deletes: who holds this.
const LEASE: &str = "retention";
/// Far longer than a step.
const LEASE_US: i64 = 600_000_000;
/// Items of one step.
const STEP: u32 = MAX_RETENTION_ITEMS / 20;

/// Works until `stop`.
pub(crate) async fn run(store: Store, rules: RetentionRules, stop: CancellationToken) {
    let mut last: Option<tokio::time::Instant> = None;
    loop {
        if let Err(error) = store.finish_erasures().await {
            tracing::error!(code = error.code(), "erased recordings are still to be removed");
        }
        // Patients and calls that came since have keys too.
        match store.renew_key_backup().await {
            Ok(_) => {}
            Err(error @ StoreError::WrongKey { .. }) => tracing::error!(
                code = error.code(),
                "the master key was exchanged: restart this server with the new one; until then it does not renew the \
                 backup of the keys"
            ),
            Err(error) => tracing::error!(code = error.code(), "the backup of the keys cannot be written"),
        }
        if let Ok(at_us) = store.last_backup_us().await {
            metrics::backup_age(at_us.map(|at_us| clock::unix_us().saturating_sub(at_us)));
        }
        if last.is_none_or(|last| last.elapsed() >= DAY) {
            match delete(&store, &rules, &stop).await {
                Ok(()) => last = Some(tokio::time::Instant::now()),
                Err(error) => tracing::error!(code = error.code(), "retention did not end; it goes on within the hour"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn delete(store: &Store, rules: &RetentionRules, stop: &CancellationToken) -> Result<(), StoreError> {
    let by = Actor::system();
    loop {
        let now_us = clock::unix_us();
        if !store.take_lease(LEASE, now_us, LEASE_US).await? {
            return Ok(());
        }
        let run = store.run_retention(rules, &by, now_us, STEP).await?;
        if let Some(certificate) = run.certificate {
            let said = certificate.destruction()?;
            let items: u64 = run.counts.values().sum();
            tracing::info!(certificate = %said.id, items, "deleted what was past its retention");
        }
        if run.complete || stop.is_cancelled() {
            return Ok(());
        }
        tokio::time::sleep(BREATH).await;
    }
}

//! Requests that a client may repeat: which were served, and what they were answered.
//!
//! A request begins with [`Store::begin_request`], outside of any access, so that a second one sees it at once. Its answer
//! is kept by [`Store::complete_request`] inside the access that did the work: both are durable, or neither is. Answers
//! may be health information and are sealed.

use crate::db::{Domain, query, query_scalar};
use crate::error::Doing;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError, audit::hex};

/// How long answers are kept.
pub const REPEATS_KEPT_US: i64 = 24 * 3_600 * 1_000_000;
/// How long a request counts as being served. Longer than any takes: whoever finds one older knows that its server died,
/// and that nothing was done.
pub const REPEATS_LEASE_US: i64 = 120 * 1_000_000;
/// Requests with a key in a day, over all callers.
const MAX_KEYS: i64 = 100_000;
/// Rows forgotten at a time, so that no request waits long for it.
const FORGET: i64 = 500;

const GET: &str = "SELECT request_hash, status, body, created_at_us FROM idempotency_keys WHERE key_hash = $1";
const COUNT: &str = "SELECT COUNT(*) FROM idempotency_keys";
const INSERT: &str = "INSERT INTO idempotency_keys (key_hash, request_hash, created_at_us) VALUES ($1, $2, $3)";
const COMPLETE: &str = "UPDATE idempotency_keys SET status = $1, body = $2 WHERE key_hash = $3 AND status IS NULL";
const DELETE: &str = "DELETE FROM idempotency_keys WHERE key_hash = $1";
const ABANDON: &str = "DELETE FROM idempotency_keys WHERE key_hash = $1 AND status IS NULL";
const PRUNE: &str = "DELETE FROM idempotency_keys WHERE key_hash IN \
     (SELECT key_hash FROM idempotency_keys WHERE created_at_us <= $1 ORDER BY created_at_us LIMIT $2)";

/// What is known of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: it is being served from now on.
    New,
    /// It was answered with this status and this, as [`Store::complete_request`] was given it.
    Answered(u16, Vec<u8>),
    /// It was answered, and the answer is gone: a patient was erased since.
    Forgotten,
    /// It is being served.
    InProgress,
    /// The key was used for another request.
    Reused,
    /// There is no room for it.
    Full,
}

impl std::fmt::Debug for Repeat {
    /// Leaves the answer out: it may be health information.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Answered(..) => "Answered",
            Self::Forgotten => "Forgotten",
            Self::InProgress => "InProgress",
            Self::Reused => "Reused",
            Self::Full => "Full",
        })
    }
}

impl Store {
    /// Begins to serve a request. `key_hash` is of the caller and the key, `request_hash` of all that was asked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn begin_request(&self, key_hash: &[u8; 32], request_hash: &[u8; 32], now_us: i64) -> Result<Repeat> {
        let doing = "look up a repeated request";
        let mut tx = self.begin(Domain::Repeats).await?;
        query(PRUNE).bind(now_us - REPEATS_KEPT_US).bind(FORGET).execute(&mut tx).await.doing(doing)?;
        let found = query(GET).bind(key_hash.as_slice()).fetch_optional(&mut tx).await.doing(doing)?;
        if let Some(row) = found {
            let created_at_us: i64 = row.try_get("created_at_us").doing(doing)?;
            let hash: Vec<u8> = row.try_get("request_hash").doing(doing)?;
            let status: Option<i64> = row.try_get("status").doing(doing)?;
            let body: Option<Vec<u8>> = row.try_get("body").doing(doing)?;
            let age_us = now_us - created_at_us;
            if age_us < REPEATS_KEPT_US {
                if hash != request_hash {
                    return Ok(Repeat::Reused);
                }
                match (status.map(u16::try_from), body) {
                    (Some(Ok(status)), Some(body)) => {
                        let name = hex(key_hash);
                        let body = open_at(self.inner.vault.office(), place(&name), &body)?;
                        return Ok(Repeat::Answered(status, body.to_vec()));
                    }
                    (Some(Ok(_)), None) => return Ok(Repeat::Forgotten),
                    (None, None) if age_us < REPEATS_LEASE_US => return Ok(Repeat::InProgress),
                    (None, None) => {}
                    _ => return Err(StoreError::corrupt("the answer to a repeated request")),
                }
            }
            query(DELETE).bind(key_hash.as_slice()).execute(&mut tx).await.doing(doing)?;
        }
        let count: i64 = query_scalar(COUNT).fetch_one(&mut tx).await.doing(doing)?;
        if count >= MAX_KEYS {
            return Ok(Repeat::Full);
        }
        let insert = query(INSERT).bind(key_hash.as_slice()).bind(request_hash.as_slice()).bind(now_us);
        insert.execute(&mut tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(Repeat::New)
    }

    /// Keeps the answer of a request that was begun.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was given up meanwhile: then what was done must be undone.
    pub async fn complete_request(&self, key_hash: &[u8; 32], status: u16, answer: &[u8]) -> Result<()> {
        let name = hex(key_hash);
        let sealed = seal_at(self.inner.vault.office(), place(&name), answer)?;
        let statement = query(COMPLETE).bind(i64::from(status)).bind(sealed).bind(key_hash.as_slice());
        let done = statement.execute(self.write()).await.doing("keep the answer to a request")?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Conflict { what: "the request took so long that it counts as given up" });
        }
        Ok(())
    }

    /// Forgets a request that was begun and came to nothing: it may be tried again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn abandon_request(&self, key_hash: &[u8; 32]) -> Result<()> {
        let statement = query(ABANDON).bind(key_hash.as_slice());
        statement.execute(self.write()).await.doing("forget a request").map(drop)
    }
}

fn place(name: &str) -> Place<'_> {
    Place { table: "idempotency_keys", row: name, column: "body" }
}

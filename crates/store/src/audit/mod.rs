//! The audit trail: who did what to whose record, in a chain that shows every change.
//!
//! An entry is written in the transaction of what it tells of ([`crate::Access`]): without entry no data, and without data
//! no entry. Entries are never changed or deleted by this program. [`chain`] and [`export`] hold what is needed to verify a
//! trail without a database.
//!
//! Where the trail ends is kept beside it, under a keyed hash: whoever can write to the database but has no key can cut the
//! trail or add to it, but cannot make it look complete. They can bring back an earlier state of everything that they
//! copied before; that is found by a signed checkpoint that is kept where they cannot write. The end is written together
//! with the keys, so that a trail without one is never a new trail.

pub mod chain;
mod checkpoint;
mod entry;
pub mod export;
mod verify;

pub use checkpoint::{Checkpoint, hex, unhex};
pub use entry::{Actor, ActorKind, AuditEntry, AuditOutcome, NewEntry};
pub use verify::{AuditFilter, Fault, Verified};

use crate::db::{Conn, Domain, Engine, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::now_ms;
use crate::vault::{Vault, trail_end_mac};
use crate::{Result, Store, StoreError};
use aws_lc_rs::hmac;
use chain::{Anchor, BEGINNING, ChainHash};

const HEAD: &str = "SELECT seq, hash, checkpoint, mac FROM audit_head WHERE name = 'head'";
const HEAD_LOCKED: &str = "SELECT seq, hash, checkpoint, mac FROM audit_head WHERE name = 'head' FOR UPDATE";
const HEAD_PUT: &str = "INSERT INTO audit_head (name, seq, hash, checkpoint, mac) VALUES ('head', $1, $2, $3, $4) \
     ON CONFLICT (name) DO NOTHING";
const LAST_LEFT: &str = "SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1";
const LAST_SIGNED: &str = "SELECT COALESCE(MAX(seq), 0) FROM audit_checkpoints";
const HEAD_SET: &str = "UPDATE audit_head SET seq = $1, hash = $2, checkpoint = $3, mac = $4 WHERE name = 'head'";
const LAST_TIME: &str = "SELECT at_us FROM audit_entries WHERE seq = $1";
const INSERT: &str = "INSERT INTO audit_entries (seq, at_us, actor, action, patient_id, entry, hash) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
// A patient has few entries of an action that happens once for an object.
const OF_ACTION: &str =
    "SELECT entry FROM audit_entries WHERE patient_id = $1 AND action = $2 ORDER BY seq DESC LIMIT 1000";
const MAX_ENTRY_BYTES: usize = 8 * 1024;

/// Where the trail ends, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) hash: Vec<u8>,
    /// The last checkpoint that was signed.
    pub(crate) checkpoint: u64,
    mac: Vec<u8>,
}

impl Head {
    /// The head, if there is one; locked until the transaction ends where that is asked for.
    pub(crate) async fn read(conn: &mut Conn, locked: bool) -> Result<Option<Self>> {
        let text = if locked && conn.engine() == Engine::Postgres { HEAD_LOCKED } else { HEAD };
        let row = query(text).fetch_optional(conn).await.doing("read the audit trail")?;
        row.map(|row| Self::from_row(&row)).transpose()
    }

    fn from_row(row: &Row) -> Result<Self> {
        let doing = "read the audit trail";
        let number = |column| row.try_get::<i64>(column).doing(doing).map(|n| u64::try_from(n).unwrap_or(0));
        // What is of another type than it was is wrong, not unreadable.
        let bytes = |column| row.try_get::<Vec<u8>>(column).unwrap_or_default();
        Ok(Self { seq: number("seq")?, hash: bytes("hash"), checkpoint: number("checkpoint")?, mac: bytes("mac") })
    }

    /// Whether this installation wrote it.
    pub(crate) fn is_ours(&self, vault: &Vault) -> bool {
        vault.trail_end_mac(self.seq, &self.hash, self.checkpoint) == self.mac
    }

    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { seq: self.seq, hash: self.hash.clone() }
    }

    /// Stores it.
    pub(crate) async fn write(&self, conn: &mut Conn, vault: &Vault) -> Result<()> {
        let set = query(HEAD_SET).bind(signed(self.seq)).bind(self.hash.as_slice()).bind(signed(self.checkpoint));
        let set = set.bind(vault.trail_end_mac(self.seq, &self.hash, self.checkpoint));
        set.execute(conn).await.doing("write the audit trail").map(drop)
    }
}

/// Begins the trail, in the transaction that makes the keys.
pub(crate) async fn begin(tx: &mut Conn, key: &hmac::Key) -> Result<()> {
    put_head(tx, 0, &BEGINNING, 0, trail_end_mac(key, 0, &BEGINNING, 0)).await
}

async fn put_head(tx: &mut Conn, seq: u64, hash: &[u8], checkpoint: u64, mac: Vec<u8>) -> Result<()> {
    let put = query(HEAD_PUT).bind(signed(seq)).bind(hash).bind(signed(checkpoint)).bind(mac);
    put.execute(tx).await.doing("write the audit trail").map(drop)
}

/// In place of an end that somebody took away: one behind everything that is left, which nobody takes for ours.
async fn replace_head(tx: &mut Conn) -> Result<Head> {
    let doing = "read the audit trail";
    let checkpoint: i64 = query_scalar(LAST_SIGNED).fetch_one(&mut *tx).await.doing(doing)?;
    let left = query(LAST_LEFT).fetch_optional(&mut *tx).await.doing(doing)?;
    let seq: i64 = left.as_ref().map(|row| row.try_get("seq").doing(doing)).transpose()?.unwrap_or(0);
    let hash = left.and_then(|row| row.try_get::<Vec<u8>>("hash").ok());
    // Not below the last checkpoint: those of other entries with the same numbers would never be signed.
    let hash = hash.filter(|hash| seq >= checkpoint && hash.len() == BEGINNING.len());
    let number = |value| u64::try_from(value).unwrap_or(0);
    let hash = hash.unwrap_or_else(|| BEGINNING.to_vec());
    put_head(tx, number(seq.max(checkpoint)), &hash, number(checkpoint), Vec::new()).await?;
    Head::read(tx, true).await?.ok_or_else(|| StoreError::corrupt("the head of the audit trail"))
}

/// Appends entries inside a transaction. They are durable, and seen by others, when it is committed.
pub(crate) async fn append(tx: &mut Conn, vault: &Vault, entries: &[NewEntry]) -> Result<()> {
    let doing = "write the audit trail";
    if entries.is_empty() {
        return Ok(());
    }
    let mut head = match Head::read(tx, true).await? {
        Some(head) => head,
        None => replace_head(tx).await?,
    };
    let mut hash: ChainHash =
        head.hash.as_slice().try_into().map_err(|_| StoreError::corrupt("the head of the audit trail"))?;
    let last = query(LAST_TIME).bind(signed(head.seq)).fetch_optional(&mut *tx).await.doing(doing)?;
    let last_us = last.map(|row| row.try_get::<i64>("at_us").doing(doing)).transpose()?.unwrap_or(0);
    // A clock that was set back must not make the trail look disordered.
    let at_us = now_us().max(last_us);
    // Patients still have to be called; but nobody may later take what we add for a continuation of an honest trail.
    let suspect = (!head.is_ours(vault)).then(|| NewEntry::new(Actor::system(), chain::SUSPECT));
    if suspect.is_some() {
        // Whoever wrote it may have wanted that nothing is ever signed again.
        head.checkpoint = head.checkpoint.min(head.seq);
    }
    for entry in suspect.iter().chain(entries) {
        head.seq += 1;
        let full = AuditEntry { v: 1, seq: head.seq, at_us, entry: entry.clone() };
        let text = serde_json::to_string(&full).doing("write an entry of the audit trail as JSON")?;
        if text.len() > MAX_ENTRY_BYTES {
            return Err(StoreError::Invalid { what: "audit entry", expected: "at most 8 KiB" });
        }
        hash = chain::link(&hash, &text);
        query(INSERT)
            .bind(signed(head.seq))
            .bind(at_us)
            .bind(entry.actor.id.as_str())
            .bind(entry.action.as_str())
            .bind(entry.patient.as_ref().map(clinic::PatientId::as_str))
            .bind(text)
            .bind(hash.as_slice())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
    }
    head.hash = hash.to_vec();
    head.write(tx, vault).await
}

impl Store {
    /// The same store, on behalf of somebody: what it writes to the trail by itself names them instead of the server.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor: Some(actor), ..self.clone() }
    }

    /// Adds an entry about a patient to the trail unless there is one of the same action about the same object. True for
    /// one caller only, however many ask at once: whoever is told so may do what the entry tells of.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an entry without a patient or an object, [`StoreError::Unavailable`],
    /// [`StoreError::Corrupt`].
    pub async fn record_once(&self, entry: &NewEntry) -> Result<bool> {
        let (doing, wrong) = ("write the audit trail", "an entry about an object of a patient");
        let (Some(patient), Some(object)) = (&entry.patient, &entry.object) else {
            return Err(StoreError::Invalid { what: "audit entry", expected: wrong });
        };
        let mut tx = self.begin(Domain::Repeats).await?;
        let known = query_scalar::<String>(OF_ACTION).bind(patient.as_str()).bind(entry.action.as_str());
        for text in known.fetch_all(&mut *tx).await.doing(doing)? {
            let known: AuditEntry =
                serde_json::from_str(&text).map_err(|_| StoreError::corrupt("an entry of the audit trail"))?;
            if known.entry.object.as_ref() == Some(object) {
                return Ok(false);
            }
        }
        append(&mut tx, &self.inner.vault, std::slice::from_ref(entry)).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    /// On whose behalf the store acts.
    pub(crate) fn actor(&self) -> Actor {
        self.actor.clone().unwrap_or_else(Actor::system)
    }

    /// An entry about something the store does by itself.
    pub(crate) fn entry(&self, action: &str) -> NewEntry {
        NewEntry::new(self.actor(), action)
    }

    /// Writes what the store does by itself, in the transaction in which it does so. Inside an access nothing is written:
    /// whoever began it tells what was done, and why.
    pub(crate) async fn tell(&self, tx: &mut Conn, entries: &[NewEntry]) -> Result<()> {
        if self.scope.is_some() {
            return Ok(());
        }
        append(tx, &self.inner.vault, entries).await
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn now_us() -> i64 {
    i64::try_from(now_ms().saturating_mul(1_000)).unwrap_or(i64::MAX)
}

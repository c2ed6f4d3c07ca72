//! Erasing a patient for good.
//!
//! Content is gone when its key is. Keys are kept in `data_keys` (and, of a patient's calls, wrapped by the patient's), so
//! one transaction destroys them, removes every row that concerns the patient, writes the certificate and the entry of the
//! audit trail. What cannot be part of a transaction follows and is repeated until it is done: recordings are noted in
//! `audio_removals` and removed by [`Store::finish_erasures`], which also empties the write-ahead log of SQLite, where the
//! rows would otherwise stay readable for a while, and writes the backup of the keys anew.
//!
//! Backups of the database hold no keys (see `backup`), so an erased patient cannot be read from them either. No file holds
//! the bytes of a destroyed key afterwards; of what it sealed, SQLite may keep pieces in the gaps of its pages until the
//! next `VACUUM`. What the medium itself may have kept of the few bytes of a wrapped key becomes worthless with the next
//! `heartvoice keys rotate`.

use crate::audit::{self, Actor, NewEntry};
use crate::certificates::{Certificate, Destruction, DestructionKind, KEYS_WERE_GONE, method};
use crate::db::{Conn, Domain, Engine, Violation, also_lock, query, query_scalar, violation};
use crate::error::Doing;
use crate::holds::{check_code, is_held};
use crate::ids::new_id;
use crate::{Result, Store, StoreError};
use clinic::{CallId, PatientId};
use std::collections::{BTreeMap, BTreeSet};

/// The alerts that go with a patient: theirs, and those about no patient that only calls of theirs gave rise to. An alert
/// about no patient may be one matter for the calls of many: then it stays without them.
macro_rules! their_alerts {
    () => {
        "SELECT a.id FROM alerts a WHERE a.patient_id = $1 OR (a.patient_id IS NULL \
         AND (a.call_id IN (SELECT id FROM calls WHERE patient_id = $1) OR EXISTS (SELECT 1 FROM alert_occurrences o \
         JOIN calls c ON c.id = o.call_id WHERE o.alert_id = a.id AND c.patient_id = $1)) \
         AND NOT EXISTS (SELECT 1 FROM alert_occurrences o WHERE o.alert_id = a.id AND (o.call_id IS NULL \
         OR o.call_id NOT IN (SELECT id FROM calls WHERE patient_id = $1))))"
    };
}

const PATIENT: &str = "SELECT id FROM patients WHERE id = $1";
// Whoever is about to write something of this patient waits, and then finds that there is no such patient.
const PATIENT_LOCKED: &str = "SELECT id FROM patients WHERE id = $1 FOR UPDATE";
const IN_PROGRESS: &str = "SELECT COUNT(*) FROM calls WHERE patient_id = $1 AND outcome = 'in_progress'";
const KEYS: &str = concat!(
    "SELECT kind || '/' || id FROM data_keys WHERE (kind = 'patient' AND id = $1) \
     OR (kind = 'call' AND id IN (SELECT id FROM calls WHERE patient_id = $1)) OR (kind = 'alert' AND id IN (",
    their_alerts!(),
    ")) ORDER BY kind, id"
);
// What their calls said in alerts that stay is sealed under keys that stay.
const SHARED: &str = concat!(
    "SELECT COUNT(*) FROM alert_occurrences o JOIN calls c ON c.id = o.call_id JOIN alerts s ON s.id = o.alert_id \
     WHERE c.patient_id = $1 AND s.patient_id IS NULL AND s.id NOT IN (",
    their_alerts!(),
    ")"
);
const KEYLESS: &str = "SELECT p.id FROM patients p WHERE NOT EXISTS \
     (SELECT 1 FROM data_keys k WHERE k.kind = 'patient' AND k.id = p.id) \
     AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.patient_id = p.id) \
     AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.patient_id = p.id AND c.outcome = 'in_progress') ORDER BY p.id";
const REMOVALS: &str = "INSERT INTO audio_removals (call_id, since_us) SELECT id, $2 FROM calls \
     WHERE patient_id = $1 AND recording <> '' ON CONFLICT (call_id) DO NOTHING";
const WAITING: &str = "SELECT call_id FROM audio_removals ORDER BY since_us, call_id LIMIT 200";
// What cannot be removed waits behind the others.
const POSTPONED: &str = "UPDATE audio_removals SET since_us = (SELECT MAX(since_us) FROM audio_removals) + 1 \
     WHERE call_id = $1";
const REMOVED: &str = "DELETE FROM audio_removals WHERE call_id = $1";
// Deleting moves the rows of half-empty pages together, and SQLite clears the places of deleted rows only, not those that
// rows were moved away from. Written anew in one go, the table has no such places; the pages it had are cleared.
const SCRUB_WANTED: &str = "INSERT INTO meta (name, value) VALUES ('scrub_keys', $1) ON CONFLICT (name) DO NOTHING";
const SCRUB_IS_WANTED: &str = "SELECT COUNT(*) FROM meta WHERE name = 'scrub_keys'";
const SCRUBBED: &str = "DELETE FROM meta WHERE name = 'scrub_keys'";
const SCRUB: [&str; 4] = [
    "CREATE TEMP TABLE kept_keys AS SELECT kind, id, key_id, wrapped_key FROM data_keys ORDER BY rowid",
    "DELETE FROM data_keys",
    "INSERT INTO data_keys (kind, id, key_id, wrapped_key) \
     SELECT kind, id, key_id, wrapped_key FROM kept_keys ORDER BY rowid",
    "DROP TABLE kept_keys",
];
const TRUNCATE_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// What is removed, in the order that references allow, and what it is counted as. The first are the keys: everything
/// sealed under them is unreadable from then on.
const STEPS: [(&str, &str); 20] = [
    ("keys", concat!("DELETE FROM data_keys WHERE kind = 'alert' AND id IN (", their_alerts!(), ")")),
    ("keys", "DELETE FROM data_keys WHERE kind = 'call' AND id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("keys", "DELETE FROM data_keys WHERE kind = 'patient' AND id = $1"),
    ("deliveries", concat!("DELETE FROM deliveries WHERE alert_id IN (", their_alerts!(), ")")),
    (
        "alert_occurrences",
        concat!(
            "DELETE FROM alert_occurrences WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1) OR alert_id IN (",
            their_alerts!(),
            ")"
        ),
    ),
    // Of those about no patient the ones that have just lost their key and their last occurrence.
    (
        "alerts",
        "DELETE FROM alerts WHERE patient_id = $1 OR (patient_id IS NULL \
         AND NOT EXISTS (SELECT 1 FROM alert_occurrences o WHERE o.alert_id = alerts.id) \
         AND NOT EXISTS (SELECT 1 FROM data_keys k WHERE k.kind = 'alert' AND k.id = alerts.id))",
    ),
    ("", "UPDATE alerts SET call_id = NULL WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("events", "DELETE FROM events WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("segments", "DELETE FROM segments WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("visits", "DELETE FROM visits WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("post_calls", "DELETE FROM post_calls WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("conversations", "DELETE FROM conversations WHERE call_id IN (SELECT id FROM calls WHERE patient_id = $1)"),
    ("calls", "DELETE FROM calls WHERE patient_id = $1"),
    ("call_attempts", "DELETE FROM call_attempts WHERE patient_id = $1"),
    ("planned_calls", "DELETE FROM planned_calls WHERE patient_id = $1"),
    ("schedules", "DELETE FROM schedules WHERE patient_id = $1"),
    ("profiles", "DELETE FROM profiles WHERE patient_id = $1"),
    ("care_teams", "DELETE FROM care_teams WHERE patient_id = $1"),
    ("glass_breaks", "DELETE FROM glass_breaks WHERE patient_id = $1"),
    ("patients", "DELETE FROM patients WHERE id = $1"),
];
/// Answers that are kept for a day in case a request is repeated may be about the patient; which ones are cannot be seen.
/// That the requests were served stays known: none of them is served twice.
const ANSWERS: &str = "UPDATE idempotency_keys SET body = NULL WHERE status IS NOT NULL";

/// Recordings in a row that cannot be removed: then it is not them but the place where they are.
const MAX_FAILED: u32 = 5;

/// Why and by whom something is destroyed.
pub(crate) struct Order<'a> {
    pub(crate) by: &'a Actor,
    pub(crate) rule: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) at_us: i64,
}

/// What is destroyed, so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<String, u64>,
    /// Keys that are nowhere any more.
    pub(crate) keys: Vec<String>,
    /// Something was deleted whose key is still there.
    pub(crate) outlived: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, name: &str, count: u64) {
        if count > 0 && !name.is_empty() {
            *self.counts.entry(name.to_owned()).or_default() += count;
        }
    }
}

impl Store {
    /// Destroys everything about a patient: keys, rows, recordings. What was written about it in the audit trail stays:
    /// it holds identifiers only. `reason` is a code such as `patient-request`.
    ///
    /// Inside an access the recordings stay until [`Store::finish_erasures`] is called after its end, and the entry of the
    /// audit trail is the one that the access ends with; otherwise both are done here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] under a legal hold and while a call with the patient is in
    /// progress, [`StoreError::Invalid`] for a reason that is no code. After [`StoreError::Unavailable`] the patient may be
    /// erased already while files are left: they are removed later, and `NotFound` is the answer to a repetition.
    pub async fn erase_patient(&self, id: &PatientId, by: &Actor, reason: &str, now_us: i64) -> Result<Certificate> {
        check_code(reason)?;
        let order = Order { by, rule: "request", reason: Some(reason), at_us: now_us };
        let mut tx = self.begin(Domain::Patients).await?;
        let mut tally = Tally::default();
        erase_rows(&mut tx, id, now_us, &mut tally).await?;
        let certificate = self.certify_erasure(&mut tx, id, &order, tally).await?;
        tx.commit().await.doing("erase a patient")?;
        if self.scope.is_none() {
            self.finish_erasures().await?;
        }
        Ok(certificate)
    }

    /// After a restore: removes what is left of patients whose keys were destroyed after the backup was made. Says how many
    /// there were; those under a legal hold are left as they are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn erase_keyless_patients(&self, by: &Actor, now_us: i64) -> Result<u64> {
        let order = Order { by, rule: "erased before the restore", reason: Some("restore"), at_us: now_us };
        let keyless: Vec<String> =
            query_scalar(KEYLESS).fetch_all(self.read()).await.doing("look for patients without keys")?;
        for id in &keyless {
            let id = PatientId::parse(id).map_err(|_| StoreError::corrupt("a patient identifier"))?;
            let mut tx = self.begin(Domain::Patients).await?;
            let mut tally = Tally::default();
            erase_rows(&mut tx, &id, now_us, &mut tally).await?;
            self.certify_erasure(&mut tx, &id, &order, tally).await?;
            tx.commit().await.doing("erase a patient")?;
        }
        self.finish_erasures().await?;
        Ok(keyless.len() as u64)
    }

    async fn certify_erasure(
        &self,
        tx: &mut Conn,
        id: &PatientId,
        order: &Order<'_>,
        tally: Tally,
    ) -> Result<Certificate> {
        let at_ms = u64::try_from(order.at_us / 1_000).unwrap_or(0);
        let said = Destruction {
            v: 1,
            id: new_id(at_ms)?,
            at_us: order.at_us,
            kind: DestructionKind::Patient,
            method: if tally.keys.is_empty() { KEYS_WERE_GONE } else { method(true, tally.outlived) }.to_owned(),
            rule: order.rule.to_owned(),
            by: order.by.clone(),
            reason: order.reason.map(str::to_owned),
            patient: Some(id.clone()),
            counts: tally.counts,
            keys: tally.keys,
        };
        let certificate = self.certify(tx, &said).await?;
        // An access ends with an entry of its own, which says from where it was asked for, too.
        if self.scope.is_some() {
            return Ok(certificate);
        }
        let mut entry = NewEntry::new(order.by.clone(), "patient.erase").object("certificate", &said.id);
        entry = entry.patient(Some(id)).detail("keys", said.keys.len()).detail("rule", order.rule);
        if let Some(reason) = order.reason {
            entry = entry.reason(reason);
        }
        audit::append(tx, &self.inner.vault, &[entry]).await?;
        Ok(certificate)
    }

    /// Does what is left to do after erasures: removes recordings, empties SQLite's write-ahead log, and writes the backup
    /// of the keys anew. To be called at start, now and then, and after an access in which something was erased. Says how
    /// many recordings were removed. Harmless to repeat.
    ///
    /// # Errors
    /// The first one, after everything else was tried: something is left, and is taken up by the next call. [`StoreError::Conflict`] inside an
    /// access.
    pub async fn finish_erasures(&self) -> Result<u64> {
        if self.scope.is_some() {
            return Err(StoreError::Conflict { what: "an access must end before recordings are removed" });
        }
        let removed = self.remove_recordings().await;
        // Not less urgent than a recording that cannot be removed.
        let cleared = self.clear_remains().await;
        let removed = removed?;
        cleared.map(|()| removed)
    }

    /// Removes what waits for it, and says how much that was; what cannot be removed is passed over, and told in the end.
    async fn remove_recordings(&self) -> Result<u64> {
        let doing = "remove erased recordings";
        let (mut removed, mut in_a_row, mut left, mut first) = (0, 0, BTreeSet::new(), None);
        loop {
            let waiting: Vec<String> = query_scalar(WAITING).fetch_all(self.read()).await.doing(doing)?;
            let before = (removed, left.len());
            for id in waiting {
                if left.contains(&id) {
                    continue;
                }
                match self.remove_recording(&id).await {
                    Ok(()) => (removed, in_a_row) = (removed + 1, 0),
                    Err(error) => {
                        query(POSTPONED).bind(id.as_str()).execute(self.write()).await.doing(doing)?;
                        in_a_row += 1;
                        first.get_or_insert(error);
                        left.insert(id);
                    }
                }
                if in_a_row >= MAX_FAILED {
                    break;
                }
            }
            if in_a_row >= MAX_FAILED || before == (removed, left.len()) {
                return first.map_or(Ok(removed), Err);
            }
        }
    }

    async fn remove_recording(&self, id: &str) -> Result<()> {
        let call = CallId::parse(id).map_err(|_| StoreError::corrupt("a recording to be removed"))?;
        self.remove_spare(&call)?;
        self.inner.audio.delete(&call).await?;
        query(REMOVED).bind(id).execute(self.write()).await.doing("remove erased recordings").map(drop)
    }

    /// Clears what destroyed keys may have left, if something was destroyed since the last time.
    async fn clear_remains(&self) -> Result<()> {
        let doing = "clear what erasures left";
        let wanted: i64 = query_scalar(SCRUB_IS_WANTED).fetch_one(self.read()).await.doing(doing)?;
        if wanted > 0 {
            self.scrub_keys().await?;
            // After the master key was exchanged this process cannot write the backup, and goes on without: it stays to be
            // done, for the next process.
            let renewed = match self.renew_key_backup().await {
                Err(StoreError::WrongKey { .. }) => false,
                renewed => renewed.map(|_| true)?,
            };
            // Last, so that whatever fails before is repeated. While somebody reads, the next call does it.
            if self.empty_log().await? && renewed {
                query(SCRUBBED).execute(self.write()).await.doing(doing)?;
            }
        }
        Ok(())
    }

    /// Leaves no trace of deleted keys in the pages of SQLite. PostgreSQL does this when it vacuums.
    async fn scrub_keys(&self) -> Result<()> {
        let doing = "clear the places of destroyed keys";
        if self.engine() == Engine::Postgres {
            return Ok(());
        }
        let mut tx = self.begin(Domain::Keys).await?;
        for text in SCRUB {
            query(text).execute(&mut tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)
    }

    /// Moves the write-ahead log of SQLite into the main file, where deleted content was overwritten, and empties it.
    /// `false` when a reader stood in the way; the next call does it then. PostgreSQL keeps its own log, which is recycled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn empty_log(&self) -> Result<bool> {
        if self.engine() == Engine::Postgres {
            return Ok(true);
        }
        let busy: i64 = query_scalar(TRUNCATE_LOG).fetch_one(self.write()).await.doing("empty the write-ahead log")?;
        Ok(busy == 0)
    }
}

/// Notes, in the transaction that deletes, that the remains are to be cleared.
pub(crate) async fn scrub_later(tx: &mut Conn) -> Result<()> {
    query(SCRUB_WANTED).bind(vec![1]).execute(tx).await.doing("note that there are remains").map(drop)
}

/// Removes keys and rows of a patient.
pub(crate) async fn erase_rows(tx: &mut Conn, id: &PatientId, now_us: i64, tally: &mut Tally) -> Result<()> {
    let doing = "erase a patient";
    let text = if tx.engine() == Engine::Postgres { PATIENT_LOCKED } else { PATIENT };
    let known: Option<String> = query_scalar(text).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
    if known.is_none() {
        return Err(StoreError::NotFound { what: "patient" });
    }
    if is_held(tx, id).await? {
        return Err(StoreError::Conflict { what: "the patient is under a legal hold" });
    }
    let running: i64 = query_scalar(IN_PROGRESS).bind(id.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
    if running > 0 {
        return Err(StoreError::Conflict { what: "a call with the patient is in progress: end it first" });
    }
    // An alert about no patient that another call gives rise to meanwhile must not lose its key.
    also_lock(tx, Domain::Alerts).await?;
    let keys: Vec<String> = query_scalar(KEYS).bind(id.as_str()).fetch_all(&mut *tx).await.doing(doing)?;
    let shared: i64 = query_scalar(SHARED).bind(id.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
    tally.outlived |= shared > 0;
    let removals = query(REMOVALS).bind(id.as_str()).bind(now_us);
    tally.add("recordings", removals.execute(&mut *tx).await.doing(doing)?.rows_affected());
    for (name, step) in STEPS {
        match query(step).bind(id.as_str()).execute(&mut *tx).await {
            Ok(done) => tally.add(name, done.rows_affected()),
            // Something of this patient was written between two steps; nothing has happened yet.
            Err(error) if violation(&error) == Some(Violation::ForeignKey) => {
                return Err(StoreError::Busy { what: "something about the patient is being written" });
            }
            Err(error) => return Err(error).doing(doing),
        }
    }
    tally.keys.extend(keys);
    query(ANSWERS).execute(&mut *tx).await.doing(doing)?;
    scrub_later(tx).await
}

//! Alerts: raised once however often the same matter is found, taken up, resolved; and the outbox of messages about them
//! (see [`outbox`]).
//!
//! What an alert says is sealed under the patient's key, so that it is erased with the patient. Which symptom it is about
//! is not readable without the key either: repetitions are found by keyed hash.

mod before;
mod outbox;
mod rows;

pub use before::{SentBefore, ToldBefore};
pub use outbox::{ClaimedDelivery, ClimbReport, DeliveryRecord, Outcome};
pub use rows::{AlertContent, AlertFilter, AlertRecord, Handled, Occurrence};

use crate::db::{Conn, Domain, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::ids::new_id;
use crate::keys::DataKey;
use crate::root_keys::put_data_key;
use crate::vault::{Place, seal_at};
use crate::{MAX_PAGE, Result, Store, StoreError};
use clinic::alerts::{AlertStatus, NewAlert, Severity, repeat};
use clinic::{AlertId, CallId, PatientId};
use zeroize::Zeroizing;

const KIND: &str = "alert";
/// Bytes of a code.
const MAX_CODE_BYTES: usize = 64;
/// Bytes of what an alert or a note says.
const MAX_TEXT_BYTES: usize = 4 * 1024;
/// Bytes of the name of whoever takes an alert up.
const MAX_NAME_BYTES: usize = 128;
/// Occurrences of one alert that are kept in detail; further ones are only counted.
const MAX_OCCURRENCES: i64 = 1_000;

const UNRESOLVED: &str = "SELECT a.id, a.severity, a.occurrences, k.key_id, k.wrapped_key FROM alerts a \
     LEFT JOIN data_keys k ON k.kind = 'alert' AND k.id = a.id WHERE a.topic_hash = $1 AND a.status <> 'resolved'";
const INSERT: &str = "INSERT INTO alerts (id, patient_id, call_id, kind, severity, status, topic_hash, content, \
     raised_at_us, last_at_us, occurrences, climb, climb_from_us, next_step_us) \
     VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $8, 1, 1, $8, $8)";
const OCCURRENCE_KNOWN: &str = "SELECT COUNT(*) FROM alert_occurrences WHERE alert_id = $1 AND finding_hash = $2";
const OCCURRENCE_INSERT: &str = "INSERT INTO alert_occurrences (alert_id, seq, call_id, severity, finding_hash, content, \
     at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const COUNT_UP: &str = "UPDATE alerts SET occurrences = occurrences + 1, last_at_us = CASE WHEN last_at_us > $1 THEN last_at_us ELSE $1 END, \
     call_id = COALESCE($2, call_id) WHERE id = $3";
const SAY: &str = "UPDATE alerts SET content = $1, severity = $2 WHERE id = $3";
const CLIMB_AGAIN: &str = "UPDATE alerts SET status = 'open', climb = climb + 1, climb_from_us = $1, next_step_us = $1, \
     acknowledged_by = NULL, acknowledged_at_us = NULL, acknowledged_note = NULL WHERE id = $2";
const CANCEL: &str = "UPDATE deliveries SET state = 'cancelled', settled_at_us = $1 \
     WHERE alert_id = $2 AND state IN ('waiting', 'sending')";
const ACKNOWLEDGE: &str = "UPDATE alerts SET status = 'acknowledged', next_step_us = NULL, acknowledged_by = $1, \
     acknowledged_at_us = $2, acknowledged_note = $3 WHERE id = $4 AND status = 'open'";
const RESOLVE: &str = "UPDATE alerts SET status = 'resolved', next_step_us = NULL, resolved_by = $1, \
     resolved_at_us = $2, resolved_note = $3 WHERE id = $4 AND status <> 'resolved'";
const RAISED_BEFORE: &str = "SELECT COUNT(*) FROM alerts a JOIN alert_occurrences o ON o.alert_id = a.id \
     WHERE a.patient_id = $1 AND o.finding_hash = $2";
const STATUS: &str = "SELECT a.patient_id, a.status, k.key_id, k.wrapped_key FROM alerts a \
     LEFT JOIN data_keys k ON k.kind = 'alert' AND k.id = a.id WHERE a.id = $1";

/// What raising an alert did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// The alert, new or known.
    pub id: AlertId,
    /// Whether there was no unresolved alert of the same matter.
    pub is_new: bool,
    /// Whether people are told (anew): there is work for whoever delivers.
    pub notifies: bool,
}

impl Store {
    /// Raises an alert at `at_us`, or counts a further occurrence of an unresolved one about the same matter. Durable when
    /// this returns; raising the same finding of the same call again changes nothing, so it may be repeated after an
    /// error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the patient or the call is not known, [`StoreError::Sealed`] when the patient was
    /// erased, [`StoreError::Invalid`] for a code or a text that is too long.
    pub async fn raise_alert(&self, new: &NewAlert, at_us: i64) -> Result<Raised> {
        self.raise_alert_told(new, at_us, None).await
    }

    /// As [`Store::raise_alert`], where staff was told of it already: these messages are noted as sent, and are not sent
    /// again.
    ///
    /// # Errors
    /// As [`Store::raise_alert`].
    pub async fn raise_alert_told(&self, new: &NewAlert, at_us: i64, told: Option<&ToldBefore>) -> Result<Raised> {
        check(new)?;
        self.follow_keys().await?;
        let mut tx = self.begin(Domain::Alerts).await?;
        let topic = self.inner.vault.alert_hash(&[
            "topic",
            new.patient_id.as_ref().map_or("", PatientId::as_str),
            new.kind.as_str(),
            new.topic(),
        ]);
        let known = query(UNRESOLVED).bind(&topic).fetch_optional(&mut *tx).await.doing("look up an alert")?;
        let raised = match known {
            None => self.insert_alert(&mut tx, new, topic, at_us, told.map(|told| &told.alert_id)).await?,
            Some(row) => {
                let key_id: Option<String> = row.try_get("key_id").doing("read an alert")?;
                let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing("read an alert")?;
                let id = rows::alert_id(&row)?;
                let key = self.alert_key(&mut tx, &id, new.patient_id.as_ref(), key_id, wrapped).await?;
                let severity = rows::severity(&row)?;
                let occurrences: i64 = row.try_get("occurrences").doing("read an alert")?;
                self.repeat_alert(&mut tx, Known { id, key, severity, occurrences }, new, at_us).await?
            }
        };
        if let Some(told) = told.filter(|_| raised.notifies) {
            told.note(&mut tx, &raised.id).await?;
        }
        if raised.is_new || raised.notifies {
            let entry = self.entry("alert.raise").object(KIND, &raised.id).patient(new.patient_id.as_ref());
            let entry = entry.detail("kind", new.kind.as_str()).detail("severity", new.severity.as_str());
            self.tell(&mut tx, &[entry.detail("new", raised.is_new)]).await?;
        }
        tx.commit().await.doing("save an alert")?;
        Ok(raised)
    }

    /// Whether people were told the same of the same call and patient before, be it resolved or not. False for an alert
    /// without a call or a patient: of those nobody can say.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn was_alert_raised(&self, new: &NewAlert) -> Result<bool> {
        let (Some(patient), Some(hash)) = (&new.patient_id, self.finding_hash(new)) else { return Ok(false) };
        let count = query_scalar::<i64>(RAISED_BEFORE).bind(patient.as_str()).bind(hash);
        count.fetch_one(self.read()).await.doing("look for an alert").map(|count| count > 0)
    }

    async fn insert_alert(
        &self,
        tx: &mut Conn,
        new: &NewAlert,
        topic: Vec<u8>,
        at_us: i64,
        wanted: Option<&AlertId>,
    ) -> Result<Raised> {
        let vault = &self.inner.vault;
        let at_ms = u64::try_from(at_us / 1_000)
            .map_err(|_| StoreError::Invalid { what: "time of an alert", expected: "a time after 1970" })?;
        let id = match wanted {
            Some(id) => id.clone(),
            None => AlertId::parse(&new_id(at_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?,
        };
        let (key, own) = match &new.patient_id {
            Some(patient) => (self.patient_key(tx, patient).await?, None),
            None => {
                let fresh = vault.fresh_key(KIND, id.as_str())?;
                (fresh.key.clone(), Some(fresh))
            }
        };
        let content = seal_content(&key, content_place(id.as_str()), new)?;
        query(INSERT)
            .bind(id.as_str())
            .bind(new.patient_id.as_ref().map(PatientId::as_str))
            .bind(new.call_id.as_ref().map(CallId::as_str))
            .bind(new.kind.as_str())
            .bind(i64::from(new.severity.rank()))
            .bind(topic)
            .bind(content)
            .bind(at_us)
            .execute(&mut *tx)
            .await
            .map_err(missing_call)?;
        if let Some(own) = own {
            put_data_key(tx, KIND, id.as_str(), &own.key_id, &own.wrapped).await?;
        }
        self.insert_occurrence(tx, &id, &key, new, 1, at_us).await?;
        Ok(Raised { id, is_new: true, notifies: new.severity > Severity::Info })
    }

    async fn repeat_alert(&self, tx: &mut Conn, known: Known, new: &NewAlert, at_us: i64) -> Result<Raised> {
        let doing = "save an occurrence of an alert";
        let id = known.id.as_str();
        let same_call = match self.finding_hash(new) {
            None => false,
            Some(hash) => {
                let count = query_scalar(OCCURRENCE_KNOWN).bind(id).bind(hash);
                let count: i64 = count.fetch_one(&mut *tx).await.doing(doing)?;
                count > 0
            }
        };
        let effect = repeat(known.severity, new, same_call);
        if effect.counts {
            let count = query(COUNT_UP).bind(at_us).bind(new.call_id.as_ref().map(CallId::as_str)).bind(id);
            count.execute(&mut *tx).await.map_err(missing_call)?;
            if known.occurrences < MAX_OCCURRENCES {
                self.insert_occurrence(tx, &known.id, &known.key, new, known.occurrences + 1, at_us).await?;
            }
            if new.severity >= known.severity {
                let content = seal_content(&known.key, content_place(id), new)?;
                let say = query(SAY).bind(content).bind(i64::from(effect.severity.rank())).bind(id);
                say.execute(&mut *tx).await.doing(doing)?;
            }
        }
        if effect.notifies {
            // What is still to be sent is overtaken by the news.
            query(CANCEL).bind(at_us).bind(id).execute(&mut *tx).await.doing(doing)?;
            query(CLIMB_AGAIN).bind(at_us).bind(id).execute(&mut *tx).await.doing(doing)?;
        }
        Ok(Raised { id: known.id, is_new: false, notifies: effect.notifies })
    }

    async fn insert_occurrence(
        &self,
        tx: &mut Conn,
        id: &AlertId,
        key: &DataKey,
        new: &NewAlert,
        seq: i64,
        at_us: i64,
    ) -> Result<()> {
        let name = occurrence_name(id, seq);
        query(OCCURRENCE_INSERT)
            .bind(id.as_str())
            .bind(seq)
            .bind(new.call_id.as_ref().map(CallId::as_str))
            .bind(i64::from(new.severity.rank()))
            .bind(self.finding_hash(new))
            .bind(seal_content(key, occurrence_place(&name), new)?)
            .bind(at_us)
            .execute(tx)
            .await
            .map_err(missing_call)
            .map(drop)
    }

    /// Somebody takes the alert up: nobody else is told. `by` names them; `note` is PHI. Taking up what is taken up
    /// already changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is resolved, [`StoreError::Invalid`].
    pub async fn acknowledge_alert(
        &self,
        id: &AlertId,
        by: &str,
        note: Option<&str>,
        at_us: i64,
    ) -> Result<AlertRecord> {
        if self.handle_alert(ACKNOWLEDGE, "acknowledged_note", id, by, note, at_us).await? == AlertStatus::Resolved {
            return Err(StoreError::Conflict { what: "the alert is resolved already" });
        }
        self.get_alert(id).await
    }

    /// The matter is done with. The same finding makes a new alert from now on. Resolving what is resolved changes
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`].
    pub async fn resolve_alert(&self, id: &AlertId, by: &str, note: Option<&str>, at_us: i64) -> Result<AlertRecord> {
        self.handle_alert(RESOLVE, "resolved_note", id, by, note, at_us).await?;
        self.get_alert(id).await
    }

    /// Moves an alert on and cancels what is still to be sent. Returns the status it had.
    async fn handle_alert(
        &self,
        update: &'static str,
        column: &'static str,
        id: &AlertId,
        by: &str,
        note: Option<&str>,
        at_us: i64,
    ) -> Result<AlertStatus> {
        let doing = "save who takes up an alert";
        if by.is_empty() || by.len() > MAX_NAME_BYTES || by.chars().any(char::is_control) {
            return Err(StoreError::Invalid { what: "by", expected: "a name of 1 to 128 bytes" });
        }
        if note.is_some_and(|note| note.len() > MAX_TEXT_BYTES) {
            return Err(StoreError::Invalid { what: "note", expected: "at most 4 KiB of text" });
        }
        let mut tx = self.begin(Domain::Alerts).await?;
        let row = query(STATUS).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: KIND })?;
        let status = rows::status(&row)?;
        let note = match note {
            None => None,
            Some(note) => {
                let patient = rows::patient_id(&row)?;
                let (key_id, wrapped) = (row.try_get("key_id").doing(doing)?, row.try_get("wrapped_key").doing(doing)?);
                let key = self.alert_key(&mut tx, id, patient.as_ref(), key_id, wrapped).await?;
                Some(seal_at(&key, Place { table: "alerts", row: id.as_str(), column }, note.as_bytes())?)
            }
        };
        let moved = query(update).bind(by).bind(at_us).bind(note).bind(id.as_str());
        if moved.execute(&mut *tx).await.doing(doing)?.rows_affected() == 1 {
            query(CANCEL).bind(at_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
            let action = if column == "resolved_note" { "alert.resolve" } else { "alert.acknowledge" };
            let entry = self.entry(action).object(KIND, id).patient(rows::patient_id(&row)?.as_ref());
            self.tell(&mut tx, &[entry]).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(status)
    }

    /// Alerts, newest first: at most `limit` (and [`MAX_PAGE`]) of those older than `before`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_alerts(
        &self,
        filter: &AlertFilter,
        limit: u32,
        before: Option<&AlertId>,
    ) -> Result<Vec<AlertRecord>> {
        let mut reader = self.reader().await?;
        let found = rows::list(&mut reader, filter, limit.min(MAX_PAGE), before).await?;
        let mut alerts = Vec::with_capacity(found.len());
        for row in &found {
            alerts.push(self.read_alert(&mut reader, row).await?);
        }
        Ok(alerts)
    }

    /// One alert.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn get_alert(&self, id: &AlertId) -> Result<AlertRecord> {
        let mut reader = self.reader().await?;
        let row = rows::get(&mut reader, id).await?.ok_or(StoreError::NotFound { what: KIND })?;
        self.read_alert(&mut reader, &row).await
    }

    /// The key of an alert's texts: the patient's, or its own.
    async fn alert_key(
        &self,
        tx: &mut Conn,
        id: &AlertId,
        patient: Option<&PatientId>,
        key_id: Option<String>,
        wrapped: Option<Vec<u8>>,
    ) -> Result<DataKey> {
        match patient {
            Some(patient) => self.patient_key(tx, patient).await,
            None => self.inner.vault.unwrap_key(KIND, id.as_str(), key_id.as_deref(), wrapped.as_deref()),
        }
    }

    /// Names what a call found, so that hearing of it again is no news.
    fn finding_hash(&self, new: &NewAlert) -> Option<Vec<u8>> {
        let call = new.call_id.as_ref()?;
        Some(self.inner.vault.alert_hash(&["finding", call.as_str(), &new.code]))
    }
}

/// An unresolved alert of the same matter.
struct Known {
    id: AlertId,
    key: DataKey,
    severity: Severity,
    occurrences: i64,
}

fn check(new: &NewAlert) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if new.code.is_empty() || new.code.len() > MAX_CODE_BYTES || !new.code.bytes().all(plain) {
        return Err(StoreError::Invalid { what: "code of an alert", expected: "1 to 64 letters, digits, '_' or '-'" });
    }
    if new.summary.len() > MAX_TEXT_BYTES {
        return Err(StoreError::Invalid { what: "summary of an alert", expected: "at most 4 KiB of text" });
    }
    Ok(())
}

fn seal_content(key: &DataKey, place: Place<'_>, new: &NewAlert) -> Result<Vec<u8>> {
    let content = AlertContent { code: new.code.clone(), summary: new.summary.clone() };
    let plain = Zeroizing::new(serde_json::to_vec(&content).doing("write an alert as JSON")?);
    seal_at(key, place, &plain)
}

fn content_place(id: &str) -> Place<'_> {
    Place { table: "alerts", row: id, column: "content" }
}

/// The row's name in the associated data. Identifiers hold no `/`.
fn occurrence_name(id: &AlertId, seq: i64) -> String {
    format!("{id}/{seq}")
}

fn occurrence_place(name: &str) -> Place<'_> {
    Place { table: "alert_occurrences", row: name, column: "content" }
}

fn missing_call(error: sqlx::Error) -> StoreError {
    match violation(&error) {
        Some(Violation::ForeignKey) => StoreError::NotFound { what: "call" },
        _ => StoreError::Unavailable { doing: "save an alert", source: Box::new(error) },
    }
}

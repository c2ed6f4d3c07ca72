//! Visits: what was learned in a call, what it contributed, how it was assessed; and the profile of care of a patient.

use crate::calls::CallHandle;
use crate::calls::patient_in;
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::now_ms;
use crate::keys::DataKey;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::care::CareProfile;
use clinic::facts::CallFacts;
use clinic::visit::VisitRecord;
use clinic::{CallId, CallOutcome, PatientId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

/// Calls of one patient that are looked back on, at most: two years of daily calls.
pub const MAX_FACTS: u32 = 750;
/// Bytes of one sealed part. A report of the voice has a few kilobytes.
const MAX_PART_BYTES: usize = 2 * 1024 * 1024;

const PROFILE_GET: &str = "SELECT profile FROM profiles WHERE patient_id = $1";
const PROFILE_PUT: &str = "INSERT INTO profiles (patient_id, profile) VALUES ($1, $2) \
     ON CONFLICT (patient_id) DO UPDATE SET profile = excluded.profile";
const VISIT_PUT: &str = "INSERT INTO visits (call_id, record, facts, assessment, shadow, revision, updated_at_us) \
     VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (call_id) DO UPDATE SET record = excluded.record, \
     facts = excluded.facts, assessment = excluded.assessment, shadow = excluded.shadow, \
     revision = visits.revision + 1, updated_at_us = excluded.updated_at_us";
const WITHOUT: &str = "SELECT id FROM calls WHERE outcome = $1 AND patient_id IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM visits WHERE visits.call_id = calls.id) ORDER BY started_at_us DESC, id DESC LIMIT $2";
const CALL_PATIENT: &str = "SELECT patient_id FROM calls WHERE id = $1";
const VISIT_GET: &str = "SELECT call_id, record, facts, assessment, shadow, revision FROM visits WHERE call_id = $1";
const FACTS_PUT: &str = "UPDATE visits SET facts = $1 WHERE call_id = $2";
const OPEN_ALERTS: &str =
    "SELECT COUNT(*) FROM alerts WHERE patient_id = $1 AND status <> 'resolved' AND kind IN ('risk', 'red_flag')";
const OF_PATIENT: &str = "SELECT visits.call_id, visits.facts, visits.assessment, c.patient_id, c.wrapped_key AS inner_key, \
     p.key_id AS outer_id, p.wrapped_key AS outer_key, o.key_id, o.wrapped_key \
     FROM visits JOIN calls c ON c.id = visits.call_id LEFT JOIN data_keys p ON p.kind = 'patient' AND p.id = c.patient_id \
     LEFT JOIN data_keys o ON o.kind = 'call' AND o.id = c.id \
     WHERE c.patient_id = $1 ORDER BY c.started_at_us DESC, c.id DESC LIMIT $2";

/// A visit as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVisit {
    /// What was learned.
    pub record: VisitRecord,
    /// What the call contributed.
    pub facts: CallFacts,
    /// How it was assessed, in the form of the outer contract (section 5).
    pub assessment: Option<Value>,
    /// How a candidate model would have assessed it.
    pub shadow: Option<Value>,
}

/// What an earlier call of a patient contributed, and how it was assessed.
#[derive(Debug, Clone, PartialEq)]
pub struct PastVisit {
    /// What the call contributed.
    pub facts: CallFacts,
    /// How it was assessed.
    pub assessment: Option<Value>,
}

impl Store {
    /// The profile of care of a patient; an empty one when nothing was noted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn care_profile(&self, id: &PatientId) -> Result<CareProfile> {
        let mut reader = self.reader().await?;
        let key = self.patient_key(&mut reader, id).await?;
        let statement = query_scalar::<Vec<u8>>(PROFILE_GET).bind(id.as_str());
        let sealed = statement.fetch_optional(&mut *reader).await.doing("read a profile")?;
        match sealed {
            None => Ok(CareProfile::default()),
            Some(sealed) => read_part(&key, profile_place(id.as_str()), &sealed),
        }
    }

    /// Notes the profile of care of a patient, in place of the one before.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a profile that fails its check, [`StoreError::NotFound`], [`StoreError::Sealed`].
    pub async fn set_care_profile(&self, id: &PatientId, profile: &CareProfile) -> Result<()> {
        let mut tx = self.begin(Domain::Calls).await?;
        self.put_care_profile(&mut tx, id, profile).await?;
        let entry = self.entry("care.change").object("patient", id).patient(Some(id));
        self.tell(&mut tx, &[entry]).await?;
        tx.commit().await.doing("save a profile")
    }

    pub(crate) async fn put_care_profile(&self, tx: &mut Conn, id: &PatientId, profile: &CareProfile) -> Result<()> {
        profile.check().map_err(|error| StoreError::Invalid { what: error.field, expected: error.expected })?;
        let key = self.patient_key(tx, id).await?;
        let sealed = write_part(&key, profile_place(id.as_str()), profile)?;
        let statement = query(PROFILE_PUT).bind(id.as_str()).bind(sealed);
        statement.execute(tx).await.doing("save a profile").map(drop)
    }

    /// Stores what was learned in a call, in place of what was stored of it before.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when a part is too long, [`StoreError::Unavailable`].
    pub async fn save_visit(&self, call: &CallHandle, visit: &StoredVisit) -> Result<()> {
        let doing = "save a visit";
        let (key, id) = (call.data_key(), call.id.as_str());
        let optional = |column, part: &Option<Value>| {
            part.as_ref().map(|part| write_part(key, visit_place(id, column), part)).transpose()
        };
        let statement = query(VISIT_PUT)
            .bind(id)
            .bind(write_part(key, visit_place(id, "record"), &visit.record)?)
            .bind(write_part(key, visit_place(id, "facts"), &visit.facts)?)
            .bind(optional("assessment", &visit.assessment)?)
            .bind(optional("shadow", &visit.shadow)?)
            .bind(i64::try_from(now_ms().saturating_mul(1_000)).unwrap_or(i64::MAX));
        // Not beside `confirm_dry`, which reads facts and writes them back.
        let mut tx = self.begin(Domain::Calls).await?;
        statement.execute(&mut *tx).await.doing(doing)?;
        let patient = query(CALL_PATIENT).bind(id).fetch_optional(&mut *tx).await.doing(doing)?;
        let patient = patient.map(|row| patient_in(&row)).transpose()?.flatten();
        let entry = self.entry("visit.save").object("call", id).patient(patient.as_ref());
        self.tell(&mut tx, &[entry.detail("assessed", visit.assessment.is_some())]).await?;
        tx.commit().await.doing(doing)
    }

    /// What was learned in a call; `None` when there was no visit.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such call, [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn visit(&self, id: &CallId) -> Result<Option<StoredVisit>> {
        let call = self.call_handle(id).await?;
        let row = query(VISIT_GET).bind(id.as_str()).fetch_optional(self.read()).await.doing("read a visit")?;
        let Some(row) = row else { return Ok(None) };
        let key = call.data_key();
        Ok(Some(StoredVisit {
            record: read_column(key, &row, id.as_str(), "record")?,
            facts: read_column(key, &row, id.as_str(), "facts")?,
            assessment: read_optional(key, &row, id.as_str(), "assessment")?,
            shadow: read_optional(key, &row, id.as_str(), "shadow")?,
        }))
    }

    /// What was learned in a call, on this connection.
    pub(crate) async fn visit_record_on(&self, conn: &mut Conn, id: &CallId) -> Result<Option<VisitRecord>> {
        let call = self.call_handle_on(conn, id).await?;
        let row = query(VISIT_GET).bind(id.as_str()).fetch_optional(conn).await.doing("read a visit")?;
        row.map(|row| read_column(call.data_key(), &row, id.as_str(), "record")).transpose()
    }

    /// Calls of patients that ended up so and of which no visit is stored, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn calls_without_visit(&self, outcome: CallOutcome, limit: usize) -> Result<Vec<CallId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = query_scalar(WITHOUT).bind(outcome.as_str()).bind(limit);
        let ids: Vec<String> = statement.fetch_all(self.read()).await.doing("look for calls without a visit")?;
        ids.iter().map(|id| CallId::parse(id).map_err(|_| StoreError::corrupt("a call identifier"))).collect()
    }

    /// Notes whether a clinician confirmed that the patient was free of congestion at this call; later calls are
    /// compared with those that were.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such call or it had no visit, [`StoreError::Sealed`] when erased.
    pub async fn confirm_dry(&self, id: &CallId, confirmed: bool) -> Result<()> {
        let doing = "confirm a visit";
        let call = self.call_handle(id).await?;
        let key = call.data_key();
        let mut tx = self.begin(Domain::Calls).await?;
        let row = query(VISIT_GET).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: "visit" })?;
        let mut facts: CallFacts = read_column(key, &row, id.as_str(), "facts")?;
        facts.dry_confirmed = confirmed;
        let sealed = write_part(key, visit_place(id.as_str(), "facts"), &facts)?;
        let statement = query(FACTS_PUT).bind(sealed).bind(id.as_str());
        statement.execute(&mut *tx).await.doing(doing)?;
        let patient = query(CALL_PATIENT).bind(id.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
        let entry = self.entry("visit.confirm").object("call", id).patient(patient_in(&patient)?.as_ref());
        self.tell(&mut tx, &[entry.detail("confirmed", confirmed)]).await?;
        tx.commit().await.doing(doing)
    }

    /// What the calls of a patient contributed, newest first: at most `limit` (and [`MAX_FACTS`]).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    pub async fn patient_visits(&self, patient: &PatientId, limit: u32) -> Result<Vec<PastVisit>> {
        let statement = query(OF_PATIENT).bind(patient.as_str()).bind(i64::from(limit.min(MAX_FACTS)));
        let rows = statement.fetch_all(self.read()).await.doing("read the visits of a patient")?;
        rows.iter().map(|row| self.read_past(row)).collect()
    }

    /// Whether an alert about the patient's health is open: their calls must not move the baseline meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_open_alert(&self, patient: &PatientId) -> Result<bool> {
        let statement = query_scalar::<i64>(OPEN_ALERTS).bind(patient.as_str());
        statement.fetch_one(self.read()).await.doing("count the alerts of a patient").map(|open| open > 0)
    }

    fn read_past(&self, row: &Row) -> Result<PastVisit> {
        let doing = "read a visit";
        let id: String = row.try_get("call_id").doing(doing)?;
        let key = self.key_in_call_row(row, &id)?;
        let facts = read_column(&key, row, &id, "facts")?;
        Ok(PastVisit { facts, assessment: read_optional(&key, row, &id, "assessment")? })
    }
}

fn profile_place(id: &str) -> Place<'_> {
    Place { table: "profiles", row: id, column: "profile" }
}

fn visit_place<'a>(id: &'a str, column: &'static str) -> Place<'a> {
    Place { table: "visits", row: id, column }
}

fn write_part<T: Serialize>(key: &DataKey, place: Place<'_>, part: &T) -> Result<Vec<u8>> {
    let text = Zeroizing::new(serde_json::to_vec(part).doing("write a visit as JSON")?);
    if text.len() > MAX_PART_BYTES {
        return Err(StoreError::Invalid { what: "visit", expected: "parts of at most 2 MiB" });
    }
    seal_at(key, place, &text)
}

fn read_part<T: DeserializeOwned>(key: &DataKey, place: Place<'_>, sealed: &[u8]) -> Result<T> {
    let text = open_at(key, place, sealed)?;
    // The parser's message may quote the value, so it goes no further.
    serde_json::from_slice(&text)
        .map_err(|_| StoreError::corrupt(format!("{} of {} {}", place.column, place.table, place.row)))
}

fn read_column<T: DeserializeOwned>(key: &DataKey, row: &Row, id: &str, column: &'static str) -> Result<T> {
    let sealed: Vec<u8> = row.try_get(column).doing("read a visit")?;
    read_part(key, visit_place(id, column), &sealed)
}

fn read_optional(key: &DataKey, row: &Row, id: &str, column: &'static str) -> Result<Option<Value>> {
    let sealed: Option<Vec<u8>> = row.try_get(column).doing("read a visit")?;
    sealed.map(|sealed| read_part(key, visit_place(id, column), &sealed)).transpose()
}

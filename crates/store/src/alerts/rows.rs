//! Alerts as they are read.

use super::{KIND, content_place, occurrence_name, occurrence_place};
use crate::db::{Conn, Row, query};
use crate::error::Doing;
use crate::keys::DataKey;
use crate::reach::{CareTeam, at_of, user_of, within_or_nobodys};
use crate::vault::{Place, open_at};
use crate::{Result, Store, StoreError};
use clinic::alerts::{AlertKind, AlertStatus, Severity};
use clinic::{AlertId, CallId, PatientId};
use serde::{Deserialize, Serialize};

const GET: &str = "SELECT a.id AS id, a.patient_id AS patient_id, a.call_id AS call_id, a.kind AS kind, a.severity AS severity, \
     a.status AS status, a.content AS content, k.key_id AS key_id, k.wrapped_key AS wrapped_key, \
     a.raised_at_us AS raised_at_us, a.last_at_us AS last_at_us, a.occurrences AS occurrences, \
     a.acknowledged_by AS acknowledged_by, a.acknowledged_at_us AS acknowledged_at_us, \
     a.acknowledged_note AS acknowledged_note, a.resolved_by AS resolved_by, a.resolved_at_us AS resolved_at_us, \
     a.resolved_note AS resolved_note FROM alerts a LEFT JOIN data_keys k ON k.kind = 'alert' AND k.id = a.id \
     WHERE a.id = $1";
// `~` sorts after every identifier, and an identifier begins with the time of its making.
const LIST: &str = concat!(
    "SELECT a.id AS id, a.patient_id AS patient_id, a.call_id AS call_id, a.kind AS kind, a.severity AS severity, \
     a.status AS status, a.content AS content, k.key_id AS key_id, k.wrapped_key AS wrapped_key, \
     a.raised_at_us AS raised_at_us, a.last_at_us AS last_at_us, a.occurrences AS occurrences, \
     a.acknowledged_by AS acknowledged_by, a.acknowledged_at_us AS acknowledged_at_us, \
     a.acknowledged_note AS acknowledged_note, a.resolved_by AS resolved_by, a.resolved_at_us AS resolved_at_us, \
     a.resolved_note AS resolved_note FROM alerts a LEFT JOIN data_keys k ON k.kind = 'alert' AND k.id = a.id \
     WHERE a.id < $1 AND a.status IN ($2, $3, $4) AND a.severity >= $5 AND ($6 = '' OR a.patient_id = $6) AND ",
    within_or_nobodys!("a.patient_id", "$8", "$9"),
    " ORDER BY a.id DESC LIMIT $7"
);
const OCCURRENCES: &str =
    "SELECT seq, call_id, severity, content, at_us FROM alert_occurrences WHERE alert_id = $1 ORDER BY seq";

/// Which alerts are listed. The default lists all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertFilter {
    /// Only of these; empty: of every status.
    pub statuses: Vec<AlertStatus>,
    /// Only this urgent or more.
    pub at_least: Option<Severity>,
    /// Only of this patient.
    pub patient_id: Option<PatientId>,
    /// Only of the patients of this care team.
    pub care_team: Option<CareTeam>,
}

/// What an alert says. PHI.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertContent {
    /// Stable code, such as `chest_pain`.
    pub code: String,
    /// What the nurse reads.
    pub summary: String,
}

impl std::fmt::Debug for AlertContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlertContent(redacted)")
    }
}

/// Somebody did something about an alert.
#[derive(Clone, PartialEq, Eq)]
pub struct Handled {
    /// Who.
    pub by: String,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// What they noted. PHI.
    pub note: Option<String>,
}

impl std::fmt::Debug for Handled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handled").field("by", &self.by).field("at_us", &self.at_us).finish_non_exhaustive()
    }
}

/// A stored alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// Opaque identifier.
    pub id: AlertId,
    /// Whom it is about.
    pub patient_id: Option<PatientId>,
    /// The call of its latest occurrence.
    pub call_id: Option<CallId>,
    /// What it is about.
    pub kind: AlertKind,
    /// How soon a person has to look.
    pub severity: Severity,
    /// Where it is in its life.
    pub status: AlertStatus,
    /// What it says; `None` when the patient was erased.
    pub content: Option<AlertContent>,
    /// When it was raised, in microseconds since the Unix epoch.
    pub raised_at_us: i64,
    /// When the matter was last found.
    pub last_at_us: i64,
    /// How often the matter was found.
    pub occurrences: u32,
    /// Who took it up.
    pub acknowledged: Option<Handled>,
    /// Who was done with it.
    pub resolved: Option<Handled>,
}

/// One time the matter of an alert was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// In which call.
    pub call_id: Option<CallId>,
    /// How urgent it was.
    pub severity: Severity,
    /// What was found; `None` when the patient was erased.
    pub content: Option<AlertContent>,
}

pub(super) async fn get(reader: &mut Conn, id: &AlertId) -> Result<Option<Row>> {
    query(GET).bind(id.as_str()).fetch_optional(reader).await.doing("read an alert")
}

pub(super) async fn list(
    reader: &mut Conn,
    filter: &AlertFilter,
    limit: u32,
    before: Option<&AlertId>,
) -> Result<Vec<Row>> {
    let all: &[AlertStatus] = &AlertStatus::ALL;
    let statuses = if filter.statuses.is_empty() { all } else { &filter.statuses };
    // Three places for three statuses; a shorter list repeats its members.
    let [first, second, third] = [0, 1, 2].map(|at| statuses.get(at % statuses.len()).map_or("", |s| s.as_str()));
    query(LIST)
        .bind(before.map_or("~", AlertId::as_str))
        .bind(first)
        .bind(second)
        .bind(third)
        .bind(i64::from(filter.at_least.map_or(0, Severity::rank)))
        .bind(filter.patient_id.as_ref().map_or("", PatientId::as_str))
        .bind(i64::from(limit))
        .bind(user_of(filter.care_team.as_ref()))
        .bind(at_of(filter.care_team.as_ref()))
        .fetch_all(reader)
        .await
        .doing("list the alerts")
}

impl Store {
    /// Every occurrence of an alert that is kept in detail, in order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn alert_occurrences(&self, id: &AlertId) -> Result<Vec<Occurrence>> {
        let doing = "read the occurrences of an alert";
        let mut reader = self.reader().await?;
        let alert = get(&mut reader, id).await?.ok_or(StoreError::NotFound { what: KIND })?;
        let key = self.key_of(&mut reader, id, &alert).await?;
        let rows = query(OCCURRENCES).bind(id.as_str()).fetch_all(&mut *reader).await.doing(doing)?;
        let read = |row: &Row| {
            let seq: i64 = row.try_get("seq").doing(doing)?;
            let sealed: Vec<u8> = row.try_get("content").doing(doing)?;
            let name = occurrence_name(id, seq);
            Ok(Occurrence {
                at_us: row.try_get("at_us").doing(doing)?,
                call_id: call_id(row)?,
                severity: severity(row)?,
                content: open_content(key.as_ref(), occurrence_place(&name), &sealed)?,
            })
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn read_alert(&self, reader: &mut Conn, row: &Row) -> Result<AlertRecord> {
        let doing = "read an alert";
        let id = alert_id(row)?;
        let key = self.key_of(reader, &id, row).await?;
        let sealed: Vec<u8> = row.try_get("content").doing(doing)?;
        let kind: String = row.try_get("kind").doing(doing)?;
        let occurrences: i64 = row.try_get("occurrences").doing(doing)?;
        Ok(AlertRecord {
            patient_id: patient_id(row)?,
            call_id: call_id(row)?,
            kind: AlertKind::parse(&kind).ok_or_else(|| StoreError::corrupt(format!("kind of alert {id}")))?,
            severity: severity(row)?,
            status: status(row)?,
            content: open_content(key.as_ref(), content_place(id.as_str()), &sealed)?,
            raised_at_us: row.try_get("raised_at_us").doing(doing)?,
            last_at_us: row.try_get("last_at_us").doing(doing)?,
            occurrences: u32::try_from(occurrences).unwrap_or(u32::MAX),
            acknowledged: handled(
                row,
                &id,
                key.as_ref(),
                ["acknowledged_by", "acknowledged_at_us", "acknowledged_note"],
            )?,
            resolved: handled(row, &id, key.as_ref(), ["resolved_by", "resolved_at_us", "resolved_note"])?,
            id,
        })
    }

    /// `None` when the patient was erased.
    async fn key_of(&self, reader: &mut Conn, id: &AlertId, row: &Row) -> Result<Option<DataKey>> {
        let doing = "read the key of an alert";
        let key_id: Option<String> = row.try_get("key_id").doing(doing)?;
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing(doing)?;
        match self.alert_key(reader, id, patient_id(row)?.as_ref(), key_id, wrapped).await {
            Ok(key) => Ok(Some(key)),
            Err(StoreError::Sealed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn open_content(key: Option<&DataKey>, place: Place<'_>, sealed: &[u8]) -> Result<Option<AlertContent>> {
    let Some(key) = key else { return Ok(None) };
    let plain = open_at(key, place, sealed)?;
    let damaged = || StoreError::corrupt(format!("{} of {} {}", place.column, place.table, place.row));
    serde_json::from_slice(&plain).map(Some).map_err(|_| damaged())
}

fn handled(
    row: &Row,
    id: &AlertId,
    key: Option<&DataKey>,
    [by, at_us, note]: [&'static str; 3],
) -> Result<Option<Handled>> {
    let doing = "read who took up an alert";
    let (name, when): (Option<String>, Option<i64>) = (row.try_get(by).doing(doing)?, row.try_get(at_us).doing(doing)?);
    let sealed: Option<Vec<u8>> = row.try_get(note).doing(doing)?;
    let Some((by, at_us)) = name.zip(when) else { return Ok(None) };
    let note = match (key, sealed) {
        (Some(key), Some(sealed)) => {
            let place = Place { table: "alerts", row: id.as_str(), column: note };
            let text = String::from_utf8(open_at(key, place, &sealed)?.to_vec());
            Some(text.map_err(|_| StoreError::corrupt(format!("{note} of alert {id}")))?)
        }
        _ => None,
    };
    Ok(Some(Handled { by, at_us, note }))
}

pub(super) fn alert_id(row: &Row) -> Result<AlertId> {
    let id: String = row.try_get("id").doing("read an alert")?;
    AlertId::parse(&id).map_err(|_| StoreError::corrupt("the identifier of an alert"))
}

pub(super) fn patient_id(row: &Row) -> Result<Option<PatientId>> {
    let id: Option<String> = row.try_get("patient_id").doing("read an alert")?;
    id.map(|id| PatientId::parse(&id)).transpose().map_err(|_| StoreError::corrupt("the patient of an alert"))
}

fn call_id(row: &Row) -> Result<Option<CallId>> {
    let id: Option<String> = row.try_get("call_id").doing("read an alert")?;
    id.map(|id| CallId::parse(&id)).transpose().map_err(|_| StoreError::corrupt("the call of an alert"))
}

pub(super) fn severity(row: &Row) -> Result<Severity> {
    let rank: i64 = row.try_get("severity").doing("read an alert")?;
    let found = Severity::ALL.into_iter().find(|severity| i64::from(severity.rank()) == rank);
    found.ok_or_else(|| StoreError::corrupt("the severity of an alert"))
}

pub(super) fn status(row: &Row) -> Result<AlertStatus> {
    let name: String = row.try_get("status").doing("read an alert")?;
    AlertStatus::parse(&name).ok_or_else(|| StoreError::corrupt("the status of an alert"))
}

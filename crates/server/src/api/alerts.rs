//! `alerts`: what a person has to look at, and taking it up.

use super::page::{self, Page};
use super::patients::patient_id;
use super::problem::Problem;
use super::{Caller, ok};
use crate::app::App;
use crate::clock;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use clinic::AlertId;
use clinic::alerts::{AlertStatus, Severity};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::{AlertFilter, AlertRecord, DeliveryRecord, Handled, Occurrence};

/// Which alerts are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    status: Option<String>,
    severity: Option<String>,
    patient_id: Option<String>,
}

/// What somebody says who takes an alert up.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Remark {
    by: Option<String>,
    note: Option<String>,
}

/// `GET /alerts`: newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let (limit, before) = (page.limit()?, page.cursor::<AlertId>()?);
    let filter = which.filter()?;
    let found = app.store.list_alerts(&filter, limit + 1, before.as_ref()).await?;
    Ok(ok(page::render(found, limit, |alert| alert.id.to_string(), alert_json)))
}

/// `GET /alerts/{id}`: with every occurrence and every message about it.
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = alert_id(&id)?;
    let mut alert = alert_json(&app.store.get_alert(&id).await?);
    let occurrences = app.store.alert_occurrences(&id).await?;
    let deliveries = app.store.alert_deliveries(&id).await?;
    if let Some(object) = alert.as_object_mut() {
        object.insert("history".to_owned(), occurrences.iter().map(occurrence_json).collect());
        object.insert("deliveries".to_owned(), deliveries.iter().map(delivery_json).collect());
    }
    Ok(ok(alert))
}

/// `POST /alerts/{id}/acknowledge`: nobody else is told. Again: nothing changes.
pub(super) async fn acknowledge(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (id, remark) = (alert_id(&id)?, remark(&body)?);
    let by = remark.by(&caller)?;
    let alert = app.store.acknowledge_alert(&id, &by, remark.note.as_deref(), clock::unix_us()).await?;
    Ok(ok(alert_json(&alert)))
}

/// `POST /alerts/{id}/resolve`: done with. Again: nothing changes.
pub(super) async fn resolve(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (id, remark) = (alert_id(&id)?, remark(&body)?);
    let by = remark.by(&caller)?;
    let alert = app.store.resolve_alert(&id, &by, remark.note.as_deref(), clock::unix_us()).await?;
    Ok(ok(alert_json(&alert)))
}

impl Which {
    fn filter(&self) -> Result<AlertFilter, Problem> {
        let statuses =
            match self.status.as_deref() {
                None => Vec::new(),
                Some("unresolved") => vec![AlertStatus::Open, AlertStatus::Acknowledged],
                Some(word) => vec![AlertStatus::parse(word).ok_or_else(|| {
                    Problem::bad_request("status: expected open, acknowledged, resolved or unresolved")
                })?],
            };
        let severity = |word: &str| {
            let expected = "severity: expected the least urgent to be listed: info, review, urgent or critical";
            Severity::parse(word).ok_or_else(|| Problem::bad_request(expected))
        };
        Ok(AlertFilter {
            statuses,
            at_least: self.severity.as_deref().map(severity).transpose()?,
            patient_id: self.patient_id.as_deref().map(patient_id).transpose()?,
        })
    }
}

impl Remark {
    /// The person, and whose token spoke for them.
    fn by(&self, caller: &Caller) -> Result<String, Problem> {
        match self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()) {
            None => Ok(caller.name.clone()),
            Some(by) if by.len() <= 60 => Ok(format!("{by} ({})", caller.name)),
            Some(_) => Err(Problem::bad_request("by: expected a name of at most 60 bytes")),
        }
    }
}

fn remark(body: &Bytes) -> Result<Remark, Problem> {
    if body.is_empty() {
        return Ok(Remark::default());
    }
    let expected = "body: expected nothing, or a JSON object with the texts `by` and `note`";
    // By way of an object: serde would take a list for the fields in their order.
    let object: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    let remark = object.and_then(|object| serde_json::from_value(Value::Object(object)).ok());
    remark.ok_or_else(|| Problem::bad_request(expected))
}

fn alert_id(text: &str) -> Result<AlertId, Problem> {
    AlertId::parse(text).map_err(|_| Problem::not_found("alert"))
}

/// An alert as the outside world sees it. `code` and `summary` are `null` when the patient was erased.
#[must_use]
pub fn alert_json(alert: &AlertRecord) -> Value {
    let handled = |handled: &Option<Handled>| match handled {
        None => Value::Null,
        Some(handled) => json!({"by": handled.by, "at": clock::rfc3339(handled.at_us), "note": handled.note}),
    };
    json!({
        "id": alert.id,
        "patient_id": alert.patient_id,
        "call_id": alert.call_id,
        "kind": alert.kind,
        "code": alert.content.as_ref().map(|content| &content.code),
        "severity": alert.severity,
        "status": alert.status,
        "summary": alert.content.as_ref().map(|content| &content.summary),
        "raised_at": clock::rfc3339(alert.raised_at_us),
        "last_at": clock::rfc3339(alert.last_at_us),
        "occurrences": alert.occurrences,
        "acknowledged": handled(&alert.acknowledged),
        "resolved": handled(&alert.resolved),
    })
}

fn occurrence_json(occurrence: &Occurrence) -> Value {
    json!({
        "at": clock::rfc3339(occurrence.at_us),
        "call_id": occurrence.call_id,
        "severity": occurrence.severity,
        "code": occurrence.content.as_ref().map(|content| &content.code),
        "summary": occurrence.content.as_ref().map(|content| &content.summary),
    })
}

fn delivery_json(record: &DeliveryRecord) -> Value {
    let delivery = &record.delivery;
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(record.id));
    // People count from one.
    object.insert("contact".to_owned(), json!(delivery.contact.saturating_add(1)));
    object.insert("channel".to_owned(), json!(delivery.channel));
    object.insert("state".to_owned(), json!(delivery.state));
    object.insert("attempts".to_owned(), json!(record.attempts));
    object.insert("error".to_owned(), json!(record.error));
    object.insert("decided_at".to_owned(), json!(clock::rfc3339(delivery.made_at_us)));
    object.insert("settled_at".to_owned(), json!(delivery.settled_at_us.map(clock::rfc3339)));
    Value::Object(object)
}

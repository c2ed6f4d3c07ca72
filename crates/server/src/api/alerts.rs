//! `alerts`: what a person has to look at, and taking it up.

use super::caller::Caller;
use super::desk::Desk;
use super::fields::{Ask, Fields, wrong};
use super::glass;
use super::page::{self, Listing, Page};
use super::patients::patient_id;
use super::problem::Problem;
use super::tags::Revision;
use super::{ok, words};
use crate::clock;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use clinic::alerts::{AlertKind, AlertStatus, Channel, DeliveryState, Severity};
use clinic::{AlertId, CallId, DeliveryId, GlassBreakId, PatientId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{AlertFilter, AlertRecord, DeliveryRecord, Occurrence};
use utoipa::{IntoParams, ToSchema};

/// Characters of what somebody notes.
const NOTE_CHARS: usize = 4_096;

/// Which alerts are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Items of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before; opaque.
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Only alerts in this state.
    #[param(inline, value_type = Option<words::AlertStatusAsked>)]
    status: Option<String>,
    /// The least urgent to be listed.
    #[param(inline, value_type = Option<words::Severity>)]
    severity: Option<String>,
    /// Only alerts about this patient.
    #[param(max_length = 64)]
    patient_id: Option<String>,
}

/// What somebody says who takes an alert up.
#[derive(Default, ToSchema)]
pub(super) struct Remark {
    /// The person, where a program speaks for them.
    #[schema(max_length = 60, example = "Joy")]
    by: Option<String>,
    /// What there is to say about it.
    #[schema(max_length = 4096, example = "called back, is well")]
    note: Option<String>,
}

/// Somebody who did something about an alert.
#[derive(Serialize, ToSchema)]
pub(super) struct Handled {
    by: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    #[schema(required)]
    note: Option<String>,
}

/// An alert. `code` and `summary` are `null` when the patient was erased.
#[derive(Serialize, ToSchema)]
pub(super) struct Alert {
    #[schema(value_type = String)]
    id: AlertId,
    #[schema(value_type = Option<String>, required)]
    patient_id: Option<PatientId>,
    /// The call of its latest occurrence.
    #[schema(value_type = Option<String>, required)]
    call_id: Option<CallId>,
    #[schema(value_type = words::AlertKind)]
    kind: AlertKind,
    #[schema(required)]
    code: Option<String>,
    #[schema(value_type = words::Severity)]
    severity: Severity,
    #[schema(value_type = words::AlertStatus)]
    status: AlertStatus,
    #[schema(required)]
    summary: Option<String>,
    #[schema(format = DateTime)]
    raised_at: String,
    /// When the matter was last found.
    #[schema(format = DateTime)]
    last_at: String,
    /// How often the matter was found.
    occurrences: u32,
    #[schema(required)]
    acknowledged: Option<Handled>,
    #[schema(required)]
    resolved: Option<Handled>,
}

/// An alert with every occurrence and every message about it.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertInFull {
    #[serde(flatten)]
    alert: Alert,
    history: Vec<AlertOccurrence>,
    deliveries: Vec<Delivery>,
}

/// One time the matter of an alert was found.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertOccurrence {
    #[schema(format = DateTime)]
    at: String,
    #[schema(value_type = Option<String>, required)]
    call_id: Option<CallId>,
    #[schema(value_type = words::Severity)]
    severity: Severity,
    #[schema(required)]
    code: Option<String>,
    #[schema(required)]
    summary: Option<String>,
}

/// A message to staff about an alert.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    #[schema(value_type = String)]
    id: DeliveryId,
    /// The contact's place in the settings, from one.
    #[schema(minimum = 1)]
    contact: u32,
    #[schema(value_type = words::Channel)]
    channel: Channel,
    #[schema(value_type = words::DeliveryState)]
    state: DeliveryState,
    attempts: u32,
    #[schema(required)]
    error: Option<String>,
    #[schema(format = DateTime)]
    decided_at: String,
    #[schema(format = DateTime, required)]
    settled_at: Option<String>,
}

/// Lists alerts, newest first
#[utoipa::path(get, path = "/alerts", operation_id = "listAlerts", tag = "alerts", params(Which),
    responses((status = 200, description = "A page of alerts", body = Listing<Alert>)))]
pub(super) async fn list(mut desk: Desk, Ask(which): Ask<Which>) -> Result<Response, Problem> {
    let page = Page::new(which.limit.clone(), which.cursor.clone());
    let (limit, before) = (page.limit()?, page.cursor::<AlertId>()?);
    let filter = AlertFilter { care_team: desk.team().cloned(), ..which.filter()? };
    if let Some(patient) = &filter.patient_id {
        desk.patient(patient).await?;
    }
    let found = desk.store().list_alerts(&filter, limit + 1, before.as_ref()).await?;
    desk.listed(page::shown(&found, limit));
    Ok(ok(page::render(found, limit, |alert| alert.id.to_string(), Alert::of)))
}

/// Shows an alert with every occurrence and every message about it
#[utoipa::path(get, path = "/alerts/{id}", operation_id = "getAlert", tag = "alerts", params(("id" = String, Path)),
    responses((status = 200, description = "The alert", body = AlertInFull)))]
pub(super) async fn get(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = alert_id(&id)?;
    let alert = Alert::of(&desk.alert(&id).await?);
    let history = desk.store().alert_occurrences(&id).await?.iter().map(AlertOccurrence::of).collect();
    let deliveries = desk.store().alert_deliveries(&id).await?.iter().map(Delivery::of).collect();
    let revision = Revision::of(&alert);
    Ok(revision.on(ok(AlertInFull { alert, history, deliveries })))
}

/// Takes an alert up: nobody else is told of it. Again: nothing changes
#[utoipa::path(post, path = "/alerts/{id}/acknowledge", operation_id = "acknowledgeAlert", tag = "alerts",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it was decided by")),
    request_body = Option<Remark>,
    responses((status = 200, description = "The alert as it is now", body = Alert),
        (status = 409, description = "It was resolved before", body = super::problem::Problem, content_type = "application/problem+json"),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn acknowledge(mut desk: Desk, Path(id): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let (id, remark) = (alert_id(&id)?, remark(&body)?);
    let by = remark.by(desk.caller())?;
    let before = desk.alert(&id).await?;
    not_ones_own(&desk, &before).await?;
    desk.check_unchanged(&Revision::of(&Alert::of(&before)))?;
    let alert = desk.store().acknowledge_alert(&id, &by, remark.note.as_deref(), desk.now_us()).await?;
    let alert = Alert::of(&alert);
    Ok(Revision::of(&alert).on(ok(alert)))
}

/// Is done with an alert: the same finding makes a new one. Again: nothing changes
#[utoipa::path(post, path = "/alerts/{id}/resolve", operation_id = "resolveAlert", tag = "alerts",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it was decided by")),
    request_body = Option<Remark>,
    responses((status = 200, description = "The alert as it is now", body = Alert),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn resolve(mut desk: Desk, Path(id): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let (id, remark) = (alert_id(&id)?, remark(&body)?);
    let by = remark.by(desk.caller())?;
    let before = desk.alert(&id).await?;
    not_ones_own(&desk, &before).await?;
    desk.check_unchanged(&Revision::of(&Alert::of(&before)))?;
    let alert = desk.store().resolve_alert(&id, &by, remark.note.as_deref(), desk.now_us()).await?;
    let alert = Alert::of(&alert);
    Ok(Revision::of(&alert).on(ok(alert)))
}

impl Which {
    fn filter(&self) -> Result<AlertFilter, Problem> {
        let statuses = match self.status.as_deref() {
            None => Vec::new(),
            Some("unresolved") => vec![AlertStatus::Open, AlertStatus::Acknowledged],
            Some(word) => {
                let expected = "open, acknowledged, resolved or unresolved";
                vec![AlertStatus::parse(word).ok_or_else(|| wrong("status", expected))?]
            }
        };
        let expected = "the least urgent to be listed: info, review, urgent or critical";
        let severity = |word: &str| Severity::parse(word).ok_or_else(|| wrong("severity", expected));
        Ok(AlertFilter {
            statuses,
            at_least: self.severity.as_deref().map(severity).transpose()?,
            patient_id: self.patient_id.as_deref().map(patient_id).transpose()?,
            care_team: None,
        })
    }
}

impl Remark {
    /// The person, and whose token spoke for them.
    fn by(&self, caller: &Caller) -> Result<String, Problem> {
        match self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()) {
            None => Ok(caller.name.clone()),
            Some(by) if by.len() <= 60 => Ok(format!("{by} ({})", caller.name)),
            Some(_) => Err(wrong("by", "a name of at most 60 bytes")),
        }
    }
}

/// Who opened a record in an emergency does not silence the alert about that.
async fn not_ones_own(desk: &Desk, alert: &AlertRecord) -> Result<(), Problem> {
    let code = alert.content.as_ref().map(|content| content.code.as_str());
    let opened = code.and_then(|code| code.strip_prefix(glass::CODE)).and_then(|id| GlassBreakId::parse(id).ok());
    let (AlertKind::BreakGlass, Some(opened), Some(user)) = (alert.kind, opened, desk.caller().user()) else {
        return Ok(());
    };
    if desk.store().glass_opened_by(&opened).await?.as_ref() == Some(user) {
        return Err(Problem::conflict("it is about what you did yourself: somebody else takes it up"));
    }
    Ok(())
}

fn remark(body: &Bytes) -> Result<Remark, Problem> {
    if body.is_empty() {
        return Ok(Remark::default());
    }
    let mut fields = Fields::of_body(body, "by, note")?;
    let remark = Remark { by: fields.text("by")?, note: fields.text("note")? };
    fields.nothing_left()?;
    if remark.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_CHARS) {
        return Err(wrong("note", "a text of at most 4,096 characters"));
    }
    Ok(remark)
}

fn alert_id(text: &str) -> Result<AlertId, Problem> {
    AlertId::parse(text).map_err(|_| Problem::not_found("alert"))
}

/// An alert as the outside world sees it. `code` and `summary` are `null` when the patient was erased.
#[must_use]
pub fn alert_json(alert: &AlertRecord) -> Value {
    json!(Alert::of(alert))
}

impl Alert {
    fn of(alert: &AlertRecord) -> Self {
        let handled = |handled: &store::Handled| Handled {
            by: handled.by.clone(),
            at: clock::rfc3339(handled.at_us),
            note: handled.note.clone(),
        };
        Self {
            id: alert.id.clone(),
            patient_id: alert.patient_id.clone(),
            call_id: alert.call_id.clone(),
            kind: alert.kind,
            code: alert.content.as_ref().map(|content| content.code.clone()),
            severity: alert.severity,
            status: alert.status,
            summary: alert.content.as_ref().map(|content| content.summary.clone()),
            raised_at: clock::rfc3339(alert.raised_at_us),
            last_at: clock::rfc3339(alert.last_at_us),
            occurrences: alert.occurrences,
            acknowledged: alert.acknowledged.as_ref().map(handled),
            resolved: alert.resolved.as_ref().map(handled),
        }
    }
}

impl AlertOccurrence {
    fn of(occurrence: &Occurrence) -> Self {
        Self {
            at: clock::rfc3339(occurrence.at_us),
            call_id: occurrence.call_id.clone(),
            severity: occurrence.severity,
            code: occurrence.content.as_ref().map(|content| content.code.clone()),
            summary: occurrence.content.as_ref().map(|content| content.summary.clone()),
        }
    }
}

impl Delivery {
    fn of(record: &DeliveryRecord) -> Self {
        let delivery = &record.delivery;
        Self {
            id: record.id.clone(),
            // People count from one.
            contact: delivery.contact.saturating_add(1),
            channel: delivery.channel,
            state: delivery.state,
            attempts: record.attempts,
            error: record.error.clone(),
            decided_at: clock::rfc3339(delivery.made_at_us),
            settled_at: delivery.settled_at_us.map(clock::rfc3339),
        }
    }
}

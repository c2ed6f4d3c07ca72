//! `schedules`: when patients are telephoned.

use super::ok;
use super::page::{self, Page};
use super::patients::patient_id;
use super::problem::Problem;
use crate::app::App;
use crate::clock;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::ScheduleId;
use clinic::schedule::{Days, RetryAfter, Schedule, Timetable, Window};
use jiff::civil::{Date, Time};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use std::sync::Arc;
use store::PlannedCall;

/// Planned calls that one schedule is shown with.
const SHOWN_CALLS: u32 = 20;

/// Which schedules are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(alias = "patient")]
    patient_id: Option<String>,
}

/// `GET /schedules`: oldest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor::<ScheduleId>()?);
    let patient = which.patient_id.as_deref().map(patient_id).transpose()?;
    let found = app.store.list_schedules_page(patient.as_ref(), limit + 1, after.as_ref()).await?;
    let now_us = clock::unix_us();
    Ok(ok(page::render(found, limit, |schedule| schedule.id.to_string(), |schedule| schedule_json(schedule, now_us))))
}

/// `POST /schedules`: adds one. Only `patient_id` has to be said.
pub(super) async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(&body)?;
    let patient = fields.text("patient_id")?.ok_or_else(|| wrong("patient_id", "the identifier of a patient"))?;
    let patient = app.store.get_patient(&patient_id(&patient)?).await?;
    let now_us = clock::unix_us();
    let table = timetable(&mut fields, &patient.details.timezone, now_us)?;
    fields.nothing_left()?;
    let schedule = app.store.add_schedule(&patient.id, &table, now_us).await?;
    app.outgoing.notify_one();
    let mut response = (StatusCode::CREATED, axum::Json(schedule_json(&schedule, now_us))).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("{}/schedules/{}", super::BASE, schedule.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// `GET /schedules/{id}`: with the calls planned by it lately.
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let schedule = app.store.get_schedule(&schedule_id(&id)?).await?;
    let mut calls = app.store.list_planned_calls(&schedule.patient_id, SHOWN_CALLS).await?;
    calls.retain(|call| call.schedule_id.as_ref() == Some(&schedule.id));
    let mut object = schedule_json(&schedule, clock::unix_us());
    if let Some(map) = object.as_object_mut() {
        map.insert("calls".to_owned(), calls.iter().map(planned_call_json).collect());
    }
    Ok(ok(object))
}

/// `POST /schedules/{id}/pause`: no more calls by it. Again: nothing changes.
pub(super) async fn pause(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (id, now_us) = (schedule_id(&id)?, clock::unix_us());
    app.store.pause_schedule(&id, now_us).await?;
    Ok(ok(schedule_json(&app.store.get_schedule(&id).await?, now_us)))
}

/// `POST /schedules/{id}/resume`: goes on with the first calling day that has not closed. Again: nothing changes.
pub(super) async fn resume(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (id, now_us) = (schedule_id(&id)?, clock::unix_us());
    app.store.resume_schedule(&id, now_us).await?;
    app.outgoing.notify_one();
    Ok(ok(schedule_json(&app.store.get_schedule(&id).await?, now_us)))
}

/// `DELETE /schedules/{id}`: what was done by it stays on record.
pub(super) async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    app.store.remove_schedule(&schedule_id(&id)?, clock::unix_us()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The timetable of a request; whatever it does not say is as usual. The store has the last word on what fits together.
fn timetable(fields: &mut Fields, zone: &str, now_us: i64) -> Result<Timetable, Problem> {
    let zone = fields.text("timezone")?.unwrap_or_else(|| zone.to_owned());
    let now = jiff::Timestamp::from_microsecond(now_us).unwrap_or_default();
    let today = now.in_tz(&zone).map_err(|_| wrong("timezone", "an IANA time zone such as America/New_York"))?.date();
    let mut table = Timetable::daily(&zone, today);
    if let Some(days) = fields.text("days")? {
        table.days = days.parse::<Days>().map_err(|invalid| wrong(invalid.field, invalid.expected))?;
    }
    if let Some(mut window) = fields.object("window")? {
        let Window { start, end } = table.window;
        table.window = Window {
            start: window.parsed::<Time>("start", "a time such as 10:00")?.unwrap_or(start),
            end: window.parsed::<Time>("end", "a time such as 16:00")?.unwrap_or(end),
        };
        window.nothing_left()?;
    }
    if let Some(mut retry) = fields.object("retry_after")? {
        let usual = table.retry_after;
        table.retry_after = RetryAfter {
            busy_min: retry.count("busy_min")?.unwrap_or(usual.busy_min),
            no_answer_min: retry.count("no_answer_min")?.unwrap_or(usual.no_answer_min),
            voicemail_min: retry.count("voicemail_min")?.unwrap_or(usual.voicemail_min),
            failed_min: retry.count("failed_min")?.unwrap_or(usual.failed_min),
        };
        retry.nothing_left()?;
    }
    if let Some(holidays) = fields.take("holidays") {
        let dates = serde_json::from_value::<Vec<Date>>(holidays);
        table.holidays = dates.map_err(|_| wrong("holidays", "a list of dates such as 2026-12-25"))?;
    }
    table.max_attempts = fields.count("max_attempts")?.unwrap_or(table.max_attempts);
    table.starts_on = fields.parsed::<Date>("starts_on", "a date such as 2026-02-01")?.unwrap_or(table.starts_on);
    table.ends_on = fields.parsed::<Date>("ends_on", "a date such as 2026-02-01")?;
    Ok(table)
}

/// The fields of a JSON object, taken out one by one so that each mistake can be named and none is overlooked.
struct Fields(Map<String, Value>);

impl Fields {
    fn of_body(body: &Bytes) -> Result<Self, Problem> {
        let object = serde_json::from_slice(body);
        object.map(Self).map_err(|_| Problem::bad_request("body: expected a JSON object with at least `patient_id`"))
    }

    /// `null` says as little as a field that is not there.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let value = self.take(name);
        let parsed = |value: Value| value.as_str().and_then(|text| text.parse().ok());
        value.map(|value| parsed(value).ok_or_else(|| wrong(name, expected))).transpose()
    }

    fn count(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        let count = |value: Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
        self.take(name).map(|value| count(value).ok_or_else(|| wrong(name, "a whole number"))).transpose()
    }

    fn object(&mut self, name: &str) -> Result<Option<Self>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self(object))),
            Some(_) => Err(wrong(name, "a JSON object")),
        }
    }

    /// A misspelt field would otherwise be taken for one that was left out.
    fn nothing_left(&self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Problem::bad_request(
            "body: expected no other fields than patient_id, days, window {start, end}, timezone, holidays, \
             max_attempts, retry_after {busy_min, no_answer_min, voicemail_min, failed_min}, starts_on, ends_on",
        ))
    }
}

fn wrong(field: &str, expected: &str) -> Problem {
    Problem::bad_request(format!("{field}: expected {expected}"))
}

fn schedule_id(text: &str) -> Result<ScheduleId, Problem> {
    ScheduleId::parse(text).map_err(|_| Problem::not_found("schedule"))
}

/// A schedule as the outside world sees it. `next_call_at` is when the first attempt of the next calling day is due;
/// that of today may have been made already.
#[must_use]
pub fn schedule_json(schedule: &Schedule, now_us: i64) -> Value {
    let mut object = json!(schedule);
    if let Some(map) = object.as_object_mut() {
        let Window { start, end } = schedule.timetable.window;
        let time = |time: Time| time.strftime("%H:%M").to_string();
        let next = schedule.calling_day_from(now_us).filter(|_| !schedule.paused);
        map.insert("days".to_owned(), json!(schedule.timetable.days.to_string()));
        map.insert("window".to_owned(), json!({"start": time(start), "end": time(end)}));
        map.insert("next_call_at".to_owned(), json!(next.map(|day| clock::rfc3339(day.first_due_us))));
    }
    object
}

/// A planned call as the outside world sees it.
#[must_use]
pub fn planned_call_json(call: &PlannedCall) -> Value {
    let attempts = call.attempts.iter().map(|attempt| {
        json!({"number": attempt.number, "state": attempt.state, "placed_at": clock::rfc3339(attempt.claimed_at_us)})
    });
    json!({"id": call.id, "day": call.planned_for, "state": call.state, "reason": call.reason,
        "attempts": attempts.collect::<Vec<_>>()})
}

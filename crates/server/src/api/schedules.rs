//! `schedules`: when patients are telephoned.

use super::desk::Desk;
use super::fields::{Ask, Fields, wrong};
use super::page::{self, Listing, Page};
use super::patients::patient_id;
use super::problem::Problem;
use super::tags::Revision;
use super::{created, ok, words};
use crate::clock;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clinic::schedule::{AttemptState, Days, MissedReason, RetryAfter, Schedule, Timetable, Window};
use clinic::{PatientId, PlannedCallId, ScheduleId};
use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{PlannedCall, PlannedState};
use utoipa::{IntoParams, ToSchema};

/// Planned calls that one schedule is shown with.
const SHOWN_CALLS: u32 = 20;
/// What a schedule can be made of.
const FIELDS: &str = "patient_id, days, window {start, end}, timezone, holidays, max_attempts, \
    retry_after {busy_min, no_answer_min, voicemail_min, failed_min}, starts_on, ends_on";

/// Which schedules are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Items of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before; opaque.
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Only schedules of this patient.
    #[param(max_length = 64)]
    patient_id: Option<String>,
    /// An older name of `patient_id`.
    #[param(max_length = 64)]
    patient: Option<String>,
}

/// A timetable to add; whatever it does not say is as usual.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
pub(super) struct NewSchedule {
    #[schema(max_length = 64)]
    patient_id: String,
    /// `daily`, `weekdays`, names such as `mon,wed`, or `every-2-days`.
    #[schema(default = "daily", example = "mon,wed,fri")]
    days: Option<String>,
    window: Option<Hours>,
    /// IANA time zone; the patient's unless said.
    #[schema(example = "America/New_York")]
    timezone: Option<String>,
    /// Days without calls.
    #[schema(value_type = Option<Vec<String>>, max_items = 400, example = json!(["2026-12-25"]))]
    holidays: Option<Vec<String>>,
    /// Attempts on one day, the first included.
    #[schema(minimum = 1, maximum = 10)]
    max_attempts: Option<u32>,
    retry_after: Option<Retries>,
    /// First day; today unless said.
    #[schema(format = Date)]
    starts_on: Option<String>,
    /// Last day.
    #[schema(format = Date)]
    ends_on: Option<String>,
}

/// Hours of local time between which calls begin.
#[derive(Serialize, ToSchema)]
pub(super) struct Hours {
    #[schema(pattern = "^[0-2][0-9]:[0-5][0-9]", example = "09:00")]
    start: String,
    #[schema(pattern = "^[0-2][0-9]:[0-5][0-9]", example = "17:00")]
    end: String,
}

/// How long to wait between two attempts, in minutes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the clinic's own type says")]
pub(super) struct Retries {
    #[schema(minimum = 5, maximum = 720)]
    busy_min: Option<u32>,
    #[schema(minimum = 5, maximum = 720)]
    no_answer_min: Option<u32>,
    #[schema(minimum = 5, maximum = 720)]
    voicemail_min: Option<u32>,
    #[schema(minimum = 5, maximum = 720)]
    failed_min: Option<u32>,
}

/// When a patient is telephoned.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleShown {
    #[schema(value_type = String)]
    id: ScheduleId,
    #[schema(value_type = String)]
    patient_id: PatientId,
    /// As in `NewSchedule`.
    days: String,
    window: Hours,
    timezone: String,
    #[schema(value_type = Vec<String>)]
    holidays: Vec<Date>,
    max_attempts: u32,
    #[schema(value_type = Retries)]
    retry_after: RetryAfter,
    #[schema(value_type = String, format = Date)]
    starts_on: Date,
    #[schema(value_type = Option<String>, format = Date, required)]
    ends_on: Option<Date>,
    /// No calls until it is resumed.
    paused: bool,
    /// When the first attempt of the next calling day is due; that of today may have been made already.
    #[schema(format = DateTime, required)]
    next_call_at: Option<String>,
}

/// A schedule with the calls planned by it lately.
#[derive(Serialize, ToSchema)]
pub(super) struct ScheduleInFull {
    #[serde(flatten)]
    schedule: ScheduleShown,
    calls: Vec<PlannedCallShown>,
}

/// A planned call: one patient on one day, with all its attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = PlannedCall)]
pub(super) struct PlannedCallShown {
    #[schema(value_type = String)]
    id: PlannedCallId,
    /// The day by the patient's calendar.
    #[schema(value_type = String, format = Date)]
    day: Date,
    #[schema(value_type = words::PlannedState)]
    state: PlannedState,
    #[schema(value_type = Option<words::MissedReason>, required)]
    reason: Option<MissedReason>,
    attempts: Vec<AttemptShown>,
}

/// One attempt at a planned call.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptShown {
    /// From one.
    #[schema(minimum = 1)]
    number: u32,
    #[schema(value_type = words::AttemptState)]
    state: AttemptState,
    #[schema(format = DateTime)]
    placed_at: String,
}

/// Lists schedules, oldest first
#[utoipa::path(get, path = "/schedules", operation_id = "listSchedules", tag = "schedules", params(Which),
    responses((status = 200, description = "A page of schedules", body = Listing<ScheduleShown>)))]
pub(super) async fn list(mut desk: Desk, Ask(which): Ask<Which>) -> Result<Response, Problem> {
    let page = Page::new(which.limit, which.cursor);
    let (limit, after) = (page.limit()?, page.cursor::<ScheduleId>()?);
    let patient = which.patient_id.or(which.patient).as_deref().map(patient_id).transpose()?;
    if let Some(patient) = &patient {
        desk.patient(patient).await?;
    }
    let found = desk.store().list_schedules_within(desk.team(), patient.as_ref(), limit + 1, after.as_ref()).await?;
    desk.listed(page::shown(&found, limit));
    let now_us = desk.now_us();
    let shown = |schedule: &Schedule| ScheduleShown::of(schedule, now_us);
    Ok(ok(page::render(found, limit, |schedule| schedule.id.to_string(), shown)))
}

/// Adds a schedule
#[utoipa::path(post, path = "/schedules", operation_id = "createSchedule", tag = "schedules", request_body = NewSchedule,
    responses((status = 201, description = "The schedule", body = ScheduleShown,
        headers(("location" = String, description = "Where it is")))))]
pub(super) async fn create(mut desk: Desk, body: Bytes) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(&body, FIELDS)?;
    let patient = patient_id(&fields.needed("patient_id", "the identifier of a patient")?)?;
    desk.patient(&patient).await?;
    let patient = desk.store().get_patient(&patient).await?;
    let now_us = desk.now_us();
    let table = timetable(&mut fields, &patient.details.timezone, now_us)?;
    fields.nothing_left()?;
    let schedule = desk.store().add_schedule(&patient.id, &table, now_us).await?;
    desk.wake_outgoing();
    let place = format!("schedules/{}", schedule.id);
    Ok(Revision::of(&schedule).on(created(&place, ScheduleShown::of(&schedule, now_us))))
}

/// Shows a schedule with the calls planned by it lately
#[utoipa::path(get, path = "/schedules/{id}", operation_id = "getSchedule", tag = "schedules",
    params(("id" = String, Path)), responses((status = 200, description = "The schedule", body = ScheduleInFull)))]
pub(super) async fn get(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let schedule = desk.schedule(&schedule_id(&id)?).await?;
    let mut calls = desk.store().list_planned_calls(&schedule.patient_id, SHOWN_CALLS).await?;
    calls.retain(|call| call.schedule_id.as_ref() == Some(&schedule.id));
    let shown = ScheduleInFull {
        schedule: ScheduleShown::of(&schedule, desk.now_us()),
        calls: calls.iter().map(PlannedCallShown::of).collect(),
    };
    Ok(Revision::of(&schedule).on(ok(shown)))
}

/// Pauses a schedule: no more calls by it. Again: nothing changes
#[utoipa::path(post, path = "/schedules/{id}/pause", operation_id = "pauseSchedule", tag = "schedules",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it was decided by")),
    responses((status = 200, description = "The schedule as it is now", body = ScheduleShown),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn pause(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let before = desk.schedule(&schedule_id(&id)?).await?;
    desk.check_unchanged(&Revision::of(&before))?;
    desk.store().pause_schedule(&before.id, desk.now_us()).await?;
    shown(&desk, &before.id).await
}

/// Resumes a schedule with the first calling day that has not closed. Again: nothing changes
#[utoipa::path(post, path = "/schedules/{id}/resume", operation_id = "resumeSchedule", tag = "schedules",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it was decided by")),
    responses((status = 200, description = "The schedule as it is now", body = ScheduleShown),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn resume(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let before = desk.schedule(&schedule_id(&id)?).await?;
    desk.check_unchanged(&Revision::of(&before))?;
    desk.store().resume_schedule(&before.id, desk.now_us()).await?;
    desk.wake_outgoing();
    shown(&desk, &before.id).await
}

/// Removes a schedule; what was done by it stays on record
#[utoipa::path(delete, path = "/schedules/{id}", operation_id = "removeSchedule", tag = "schedules",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it was decided by")),
    responses((status = 204, description = "It is removed"),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let before = desk.schedule(&schedule_id(&id)?).await?;
    desk.check_unchanged(&Revision::of(&before))?;
    desk.store().remove_schedule(&before.id, desk.now_us()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn shown(desk: &Desk, id: &ScheduleId) -> Result<Response, Problem> {
    let schedule = desk.store().get_schedule(id).await?;
    Ok(Revision::of(&schedule).on(ok(ScheduleShown::of(&schedule, desk.now_us()))))
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

fn schedule_id(text: &str) -> Result<ScheduleId, Problem> {
    ScheduleId::parse(text).map_err(|_| Problem::not_found("schedule"))
}

/// A schedule as the outside world sees it. `next_call_at` is when the first attempt of the next calling day is due;
/// that of today may have been made already.
#[must_use]
pub fn schedule_json(schedule: &Schedule, now_us: i64) -> Value {
    json!(ScheduleShown::of(schedule, now_us))
}

/// A planned call as the outside world sees it.
#[must_use]
pub fn planned_call_json(call: &PlannedCall) -> Value {
    json!(PlannedCallShown::of(call))
}

impl ScheduleShown {
    fn of(schedule: &Schedule, now_us: i64) -> Self {
        let table = &schedule.timetable;
        let Window { start, end } = table.window;
        let time = |time: Time| time.strftime("%H:%M").to_string();
        let next = schedule.calling_day_from(now_us).filter(|_| !schedule.paused);
        Self {
            id: schedule.id.clone(),
            patient_id: schedule.patient_id.clone(),
            days: table.days.to_string(),
            window: Hours { start: time(start), end: time(end) },
            timezone: table.timezone.clone(),
            holidays: table.holidays.clone(),
            max_attempts: table.max_attempts,
            retry_after: table.retry_after,
            starts_on: table.starts_on,
            ends_on: table.ends_on,
            paused: schedule.paused,
            next_call_at: next.map(|day| clock::rfc3339(day.first_due_us)),
        }
    }
}

impl PlannedCallShown {
    fn of(call: &PlannedCall) -> Self {
        let attempts = call.attempts.iter().map(|attempt| AttemptShown {
            number: attempt.number,
            state: attempt.state,
            placed_at: clock::rfc3339(attempt.claimed_at_us),
        });
        Self {
            id: call.id.clone(),
            day: call.planned_for,
            state: call.state,
            reason: call.reason,
            attempts: attempts.collect(),
        }
    }
}

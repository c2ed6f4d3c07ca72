//! `calls`: what is stored of calls, and having one made.

use super::desk::Desk;
use super::fields::{Ask, Fields};
use super::page::{self, Listing, Page, bad_cursor};
use super::patients::patient_id;
use super::problem::Problem;
use super::{ok, words};
use crate::clock;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clinic::answers::Answer;
use clinic::schedule::{MissedReason, on_demand};
use clinic::{
    CallId, CallOutcome, CallRecord, Direction, EndCause, PatientId, PlannedCallId, Segment, TimelineEvent,
    TimelineKind,
};
use serde::Serialize;
use serde_json::{Value, json};
use store::{PlannedState, StoreError, StoredVisit};
use utoipa::ToSchema;

/// How long a wish for a call stands, in minutes, when no line is free.
const STANDS_MIN: u32 = 5;

/// A call.
#[derive(Serialize, ToSchema)]
pub(super) struct Call {
    #[schema(value_type = String)]
    id: CallId,
    /// `null` for a caller nobody knows.
    #[schema(value_type = Option<String>, required)]
    patient_id: Option<PatientId>,
    #[schema(value_type = words::Direction)]
    direction: Direction,
    #[schema(value_type = words::CallOutcome)]
    outcome: CallOutcome,
    #[schema(value_type = Option<words::EndCause>, required)]
    end_cause: Option<EndCause>,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
    #[schema(minimum = 0, required)]
    duration_s: Option<f64>,
    /// Members of the agent chain that carried the call, in order.
    agents: Vec<String>,
    /// Replies the agent began to speak.
    turns: u32,
    /// Times the caller talked over the agent and the agent stopped.
    interruptions: u32,
}

/// The analysed segments of a call.
#[derive(Serialize, ToSchema)]
pub(super) struct Biomarkers {
    #[schema(value_type = String)]
    call_id: CallId,
    /// In the form of `heartvoice analyze`.
    #[schema(value_type = Vec<super::documents::BiomarkerResult>)]
    items: Vec<Value>,
}

/// What was said in a call.
#[derive(Serialize, ToSchema)]
pub(super) struct Transcript {
    #[schema(value_type = String)]
    call_id: CallId,
    items: Vec<SpokenTurn>,
}

/// Something one of the two said.
#[derive(Serialize, ToSchema)]
pub(super) struct SpokenTurn {
    /// Seconds since the call began.
    #[schema(minimum = 0)]
    at_s: f64,
    /// `agent` or `patient`.
    #[schema(pattern = "^(agent|patient)$")]
    role: &'static str,
    text: String,
    /// It was cut short; the text is what was heard.
    interrupted: bool,
}

/// Whom to call.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
pub(super) struct CallWish {
    #[schema(max_length = 64)]
    patient_id: String,
}

/// A call that is wished for.
#[derive(Serialize, ToSchema)]
pub(super) struct WishedCall {
    #[schema(value_type = String)]
    planned_call_id: PlannedCallId,
    #[schema(value_type = String)]
    patient_id: PatientId,
    #[schema(value_type = words::PlannedState)]
    state: PlannedState,
    /// What became of the attempt so far.
    #[schema(value_type = Option<words::AttemptState>, required)]
    attempt: Option<clinic::schedule::AttemptState>,
    #[schema(value_type = Option<words::MissedReason>, required)]
    reason: Option<MissedReason>,
}

/// Lists calls, newest first
#[utoipa::path(get, path = "/calls", operation_id = "listCalls", tag = "calls", params(Page),
    responses((status = 200, description = "A page of calls", body = Listing<Call>)))]
pub(super) async fn list(desk: Desk, Ask(page): Ask<Page>) -> Result<Response, Problem> {
    page_of_calls(&desk, &page, None).await
}

/// Lists the calls of a patient, newest first
#[utoipa::path(get, path = "/patients/{id}/calls", operation_id = "listCallsOfPatient", tag = "patients",
    params(("id" = String, Path), Page),
    responses((status = 200, description = "A page of calls", body = Listing<Call>)))]
pub(super) async fn list_of_patient(
    mut desk: Desk,
    Path(id): Path<String>,
    Ask(page): Ask<Page>,
) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    let patient = desk.store().get_patient(&id).await?;
    page_of_calls(&desk, &page, Some(&patient.id)).await
}

async fn page_of_calls(desk: &Desk, page: &Page, patient: Option<&PatientId>) -> Result<Response, Problem> {
    let (limit, before) = (page.limit()?, page.cursor::<CallId>()?);
    let found = match patient {
        Some(patient) => desk.store().list_patient_calls(patient, limit + 1, before.as_ref()).await,
        None => desk.store().list_calls_within(desk.team(), limit + 1, before.as_ref()).await,
    };
    let found = found.map_err(|error| match error {
        StoreError::NotFound { .. } => bad_cursor(),
        error => error.into(),
    })?;
    desk.listed(page::shown(&found, limit));
    Ok(ok(page::render(found, limit, |call| call.id.to_string(), Call::of)))
}

/// Has a patient called as soon as a line is free
///
/// Nobody is called before 08:00 or after 21:00 of their local time. When no line becomes free within five minutes, the
/// call is not made.
#[utoipa::path(post, path = "/calls", operation_id = "placeCall", tag = "calls", request_body = CallWish,
    responses((status = 202, description = "The call will be made", body = WishedCall),
        (status = 409, description = "Not at this hour where the patient lives", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn place(mut desk: Desk, body: Bytes) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(&body, "patient_id")?;
    let id = fields.needed("patient_id", "the identifier of a patient")?;
    fields.nothing_left()?;
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    let zone = desk.store().get_patient(&id).await?.details.timezone;
    let day = on_demand(&zone, desk.now_us(), STANDS_MIN)
        .ok_or_else(|| Problem::conflict("calls are legal from 08:00 to 21:00 where the patient lives"))?;
    let planned = desk.store().plan_call_now(&id, day, desk.now_us()).await?;
    desk.wake_outgoing();
    let call = desk.store().get_planned_call(&planned).await?;
    let wished = WishedCall {
        planned_call_id: planned,
        patient_id: call.patient_id,
        state: call.state,
        attempt: call.attempts.last().map(|attempt| attempt.state),
        reason: call.reason,
    };
    Ok((StatusCode::ACCEPTED, axum::Json(wished)).into_response())
}

/// Shows a call
#[utoipa::path(get, path = "/calls/{id}", operation_id = "getCall", tag = "calls", params(("id" = String, Path)),
    responses((status = 200, description = "The call", body = Call)))]
pub(super) async fn get(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(ok(Call::of(&desk.call(&call_id(&id)?).await?)))
}

/// Shows what was measured in each analysed segment of a call
#[utoipa::path(get, path = "/calls/{id}/biomarkers", operation_id = "getBiomarkers", tag = "calls",
    params(("id" = String, Path)), responses((status = 200, description = "The segments", body = Biomarkers)))]
pub(super) async fn biomarkers(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let call_id = desk.call(&call_id(&id)?).await?.id;
    let items = desk.store().call_segments(&call_id).await?.iter().map(segment_json).collect();
    Ok(ok(Biomarkers { call_id, items }))
}

/// Shows the timeline of a call
///
/// Its cursor is a place in it, so that the events of a live call are followed by asking again.
#[utoipa::path(get, path = "/calls/{id}/events", operation_id = "listEvents", tag = "calls",
    params(("id" = String, Path), Page),
    responses((status = 200, description = "A page of events", body = Listing<super::documents::Event>)))]
pub(super) async fn events(mut desk: Desk, Path(id): Path<String>, Ask(page): Ask<Page>) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor::<usize>()?);
    let id = desk.call(&call_id(&id)?).await?.id;
    let events = desk.store().call_events(&id).await?;
    let from = after.map_or(0, |place| place.saturating_add(1));
    let take = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let found: Vec<(usize, TimelineEvent)> = events.into_iter().enumerate().skip(from).take(take).collect();
    Ok(ok(page::render(found, limit, |(place, _)| place.to_string(), |(_, event)| json!(event))))
}

/// Shows what was said in a call, in order
#[utoipa::path(get, path = "/calls/{id}/transcript", operation_id = "getTranscript", tag = "calls",
    params(("id" = String, Path)), responses((status = 200, description = "What was said", body = Transcript)))]
pub(super) async fn transcript(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let call_id = desk.call(&call_id(&id)?).await?.id;
    let events = desk.store().call_events(&call_id).await?;
    let turn = |turn: Turn<'_>| SpokenTurn {
        at_s: turn.at_us as f64 / 1e6,
        role: if turn.is_agent { "agent" } else { "patient" },
        text: turn.text.to_owned(),
        interrupted: turn.interrupted,
    };
    Ok(ok(Transcript { call_id, items: said(&events).into_iter().map(turn).collect() }))
}

/// Shows the assessment of a call
///
/// It is as it was stored at the end of the call, or after the service's report.
#[utoipa::path(get, path = "/calls/{id}/assessment", operation_id = "getAssessment", tag = "calls",
    params(("id" = String, Path)),
    responses((status = 200, description = "The assessment", body = super::documents::Assessment)))]
pub(super) async fn assessment(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = desk.call(&call_id(&id)?).await?.id;
    let assessment = desk.store().visit(&id).await?.and_then(|visit| visit.assessment);
    Ok(ok(assessment.ok_or_else(|| Problem::not_found("assessment: the call goes on, or nobody was talked to"))?))
}

/// Shows what was learned in a call, with sources and contradictions
#[utoipa::path(get, path = "/calls/{id}/visit", operation_id = "getVisit", tag = "calls",
    params(("id" = String, Path)),
    responses((status = 200, description = "What was learned", body = super::documents::Visit)))]
pub(super) async fn visit(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = desk.call(&call_id(&id)?).await?.id;
    let visit = desk.store().visit(&id).await?;
    let visit = visit.ok_or_else(|| Problem::not_found("visit: the call goes on, or nobody was talked to"))?;
    Ok(ok(visit_json(&id, &visit)))
}

/// A visit as the outside world sees it, without its assessment.
#[must_use]
pub fn visit_json(id: &CallId, visit: &StoredVisit) -> Value {
    let mut object = json!(visit.record);
    if let Some(map) = object.as_object_mut() {
        map.insert("call_id".to_owned(), json!(id));
        map.insert("answers".to_owned(), visit.record.answers.iter().map(Answer::to_json).collect());
        map.insert("dry_confirmed".to_owned(), json!(visit.facts.dry_confirmed));
        map.insert("degraded".to_owned(), json!(!visit.record.degradations.is_empty()));
    }
    object
}

/// Something one of the two said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    pub(crate) at_us: u64,
    pub(crate) is_agent: bool,
    pub(crate) text: &'a str,
    interrupted: bool,
    event_id: Option<i64>,
}

/// What was said. A reply that was cut short stands as it was heard, not as it was meant.
pub(crate) fn said(events: &[TimelineEvent]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for TimelineEvent { at_us, kind } in events {
        let turn = |is_agent, text, event_id| Turn { at_us: *at_us, is_agent, text, interrupted: false, event_id };
        match kind {
            TimelineKind::UserTranscript { text } => turns.push(turn(false, text, None)),
            TimelineKind::AgentResponse { text, event_id } => turns.push(turn(true, text, *event_id)),
            TimelineKind::AgentCorrection { original, corrected, event_id } => {
                let same = |turn: &&mut Turn<'_>| {
                    turn.is_agent && if event_id.is_some() { turn.event_id == *event_id } else { turn.text == original }
                };
                if let Some(turn) = turns.iter_mut().rev().find(same) {
                    turn.text = corrected;
                    turn.interrupted = true;
                }
            }
            _ => {}
        }
    }
    turns
}

pub(super) fn call_id(text: &str) -> Result<CallId, Problem> {
    CallId::parse(text).map_err(|_| Problem::not_found("call"))
}

impl Call {
    fn of(call: &CallRecord) -> Self {
        Self {
            id: call.id.clone(),
            patient_id: call.patient_id.clone(),
            direction: call.direction,
            outcome: call.outcome,
            end_cause: call.end_cause,
            started_at: clock::rfc3339(call.started_at_us),
            ended_at: call.ended_at_us.map(clock::rfc3339),
            duration_s: call.ended_at_us.map(|end| (end - call.started_at_us) as f64 / 1e6),
            agents: call.agents.clone(),
            turns: call.turns,
            interruptions: call.interruptions,
        }
    }
}

/// The report of a segment with its place in the call.
fn segment_json(segment: &Segment) -> Value {
    let mut object = segment.report.clone();
    if let Some(map) = object.as_object_mut() {
        map.insert("segment".to_owned(), json!(segment.index));
        map.insert("spans".to_owned(), json!(segment.spans));
        map.entry("task").or_insert_with(|| json!(segment.task));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_cut_short_stands_as_it_was_heard() {
        let reply = |text: &str, id| TimelineKind::AgentResponse { text: text.into(), event_id: id };
        let kinds = [
            reply("How are you today, and did you sleep?", Some(1)),
            TimelineKind::UserTranscript { text: "badly".into() },
            TimelineKind::AgentCorrection {
                original: "How are you today, and did you sleep?".into(),
                corrected: "How are you today".into(),
                event_id: Some(1),
            },
            TimelineKind::PhoneConnected,
            reply("I am sorry.", Some(2)),
        ];
        let events: Vec<_> = (0..).zip(kinds).map(|(at_us, kind)| TimelineEvent { at_us, kind }).collect();
        let seen: Vec<_> = said(&events).iter().map(|t| (t.is_agent, t.text, t.interrupted)).collect();
        assert_eq!(seen, [(true, "How are you today", true), (false, "badly", false), (true, "I am sorry.", false)]);
    }
}

//! `calls`: what is stored of calls.

use super::ok;
use super::page::{self, Page, bad_cursor};
use super::patients::patient_id;
use super::problem::Problem;
use crate::app::App;
use crate::clock;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use clinic::answers::Answer;
use clinic::{CallId, CallRecord, PatientId, Segment, TimelineEvent, TimelineKind};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{StoreError, StoredVisit};

/// `GET /calls`: newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Response, Problem> {
    page_of_calls(&app, &page, None).await
}

/// `GET /patients/{id}/calls`: newest first.
pub(super) async fn list_of_patient(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let patient = app.store.get_patient(&patient_id(&id)?).await?;
    page_of_calls(&app, &page, Some(&patient.id)).await
}

async fn page_of_calls(app: &App, page: &Page, patient: Option<&PatientId>) -> Result<Response, Problem> {
    let (limit, before) = (page.limit()?, page.cursor::<CallId>()?);
    let found = match patient {
        Some(patient) => app.store.list_patient_calls(patient, limit + 1, before.as_ref()).await,
        None => app.store.list_calls(limit + 1, before.as_ref()).await,
    };
    let found = found.map_err(|error| match error {
        StoreError::NotFound { .. } => bad_cursor(),
        error => error.into(),
    })?;
    Ok(ok(page::render(found, limit, |call| call.id.to_string(), call_json)))
}

/// `GET /calls/{id}`
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(ok(call_json(&app.store.get_call(&call_id(&id)?).await?)))
}

/// `GET /calls/{id}/biomarkers`: one item per analysed segment, in the form of `heartvoice analyze`.
pub(super) async fn biomarkers(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = call_id(&id)?;
    let segments = app.store.call_segments(&id).await?;
    Ok(ok(json!({"call_id": id, "items": segments.iter().map(segment_json).collect::<Vec<_>>()})))
}

/// `GET /calls/{id}/events`: the timeline. Its cursor is a place in it.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor::<usize>()?);
    let events = app.store.call_events(&call_id(&id)?).await?;
    let from = after.map_or(0, |place| place.saturating_add(1));
    let take = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let found: Vec<(usize, TimelineEvent)> = events.into_iter().enumerate().skip(from).take(take).collect();
    Ok(ok(page::render(found, limit, |(place, _)| place.to_string(), |(_, event)| json!(event))))
}

/// `GET /calls/{id}/transcript`: what was said, in order.
pub(super) async fn transcript(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = call_id(&id)?;
    let events = app.store.call_events(&id).await?;
    let items: Vec<Value> = said(&events)
        .into_iter()
        .map(|turn| {
            json!({
                "at_s": turn.at_us as f64 / 1e6,
                "role": if turn.is_agent { "agent" } else { "patient" },
                "text": turn.text,
                "interrupted": turn.interrupted,
            })
        })
        .collect();
    Ok(ok(json!({"call_id": id, "items": items})))
}

/// `GET /calls/{id}/assessment`: as it was stored at the end of the call, or after the service's report.
pub(super) async fn assessment(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let visit = app.store.visit(&call_id(&id)?).await?;
    let assessment = visit.and_then(|visit| visit.assessment);
    Ok(ok(assessment.ok_or_else(|| Problem::not_found("assessment: the call goes on, or nobody was talked to"))?))
}

/// `GET /calls/{id}/visit`: what was learned, with sources and contradictions.
pub(super) async fn visit(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = call_id(&id)?;
    let visit = app.store.visit(&id).await?;
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
    }
    object
}

/// Something one of the two said.
#[derive(Debug, PartialEq, Eq)]
struct Turn<'a> {
    at_us: u64,
    is_agent: bool,
    text: &'a str,
    interrupted: bool,
    event_id: Option<i64>,
}

/// What was said. A reply that was cut short stands as it was heard, not as it was meant.
fn said(events: &[TimelineEvent]) -> Vec<Turn<'_>> {
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

fn call_id(text: &str) -> Result<CallId, Problem> {
    CallId::parse(text).map_err(|_| Problem::not_found("call"))
}

fn call_json(call: &CallRecord) -> Value {
    json!({
        "id": call.id,
        "patient_id": call.patient_id,
        "direction": call.direction,
        "outcome": call.outcome,
        "end_cause": call.end_cause,
        "started_at": clock::rfc3339(call.started_at_us),
        "ended_at": call.ended_at_us.map(clock::rfc3339),
        "duration_s": call.ended_at_us.map(|end| (end - call.started_at_us) as f64 / 1e6),
        "agents": call.agents,
        "turns": call.turns,
        "interruptions": call.interruptions,
    })
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

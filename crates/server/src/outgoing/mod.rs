//! Calls that we make: the job that places them when they are due, and what is heard of them afterwards.
//!
//! What to do next is decided by the [`dispatcher`], which talks to the store only and is told the time; this module and
//! [`mod@line`] do what it says over the network. An attempt is claimed in the store before Twilio is asked to
//! place it. Whatever is heard of it later, by callback, by the answer to a question, or from the conversation itself,
//! finds it by the identifier in the address that Twilio calls, or by the call's SID.

mod dispatcher;
mod hearing;
mod line;
#[cfg(test)]
mod simulation;

pub(crate) use hearing::{conversation_ended, machine_detection, status_heard};
pub(crate) use line::has_ended;

use crate::app::App;
use crate::clock;
use crate::limits;
use crate::metrics;
use crate::webhook::Refusal;
use axum::http::Uri;
use call::twilio::webhook::VoiceRequest;
use clinic::alerts::rules;
use clinic::schedule::{MissedCall, Pace};
use clinic::{AttemptId, Patient, PhoneNumber};
use dispatcher::{Action, Dispatcher};
use std::sync::Arc;
use std::time::Duration;
use store::{PlannedState, StoreError};
use tokio::task::JoinSet;

/// The part of an address by which Twilio's requests name the attempt they are about.
const ATTEMPT_PARAMETER: &str = "attempt";

/// Tells the staff that a patient was not reached. False when they could not be told now: it is tried again later. What
/// was told already (`planned_call_id` says so) may come a second time after a crash.
async fn missed_call_sink(app: &Arc<App>, missed: &MissedCall) -> bool {
    tracing::warn!(
        patient_id = %missed.patient_id,
        planned_call_id = %missed.planned_call_id,
        attempts = missed.attempts,
        reason = missed.reason.as_str(),
        "a patient was not reached"
    );
    if let Some(call) = store::call_back_after(&missed.planned_call_id) {
        return crate::fallback::call_back_missed(app, &call, &missed.patient_id).await;
    }
    // Until the first one that was taken, the newest first.
    let planned = app.store.list_planned_calls(&missed.patient_id, rules::MISSED_URGENT).await.unwrap_or_default();
    let in_a_row = planned.iter().take_while(|call| call.state == PlannedState::Missed).count();
    let in_a_row = u32::try_from(in_a_row).unwrap_or(u32::MAX).max(1);
    app.raise(&rules::missed_call(&missed.patient_id, None, in_a_row)).await.is_ok()
}

/// Places calls until the server drains.
pub(crate) async fn run(app: Arc<App>) {
    if app.twilio.is_configured() && app.settings.twilio.phone_number.is_none() {
        tracing::warn!("TWILIO_PHONE_NUMBER is not set: no calls are made");
    }
    let pace = Pace::new(app.settings.max_outgoing_calls, app.settings.outgoing_per_second);
    let mut dispatcher = Dispatcher::new(app.store.clone(), pace);
    let mut requests = JoinSet::new();
    while !app.is_draining() {
        let mut wait = limits::OUTGOING_LOOK;
        if requests.len() < limits::OUTGOING_REQUESTS {
            match dispatcher.turn(clock::unix_us(), free_lines(&app)).await {
                Ok(turn) => {
                    let wait_us = turn.wake_at_us.saturating_sub(clock::unix_us());
                    wait = wait.min(Duration::from_micros(u64::try_from(wait_us).unwrap_or_default()));
                    metrics::outgoing_in_flight(turn.in_flight);
                    for action in turn.actions {
                        act(&app, &mut dispatcher, &mut requests, action).await;
                    }
                }
                Err(error) => {
                    store_failed(&error);
                    wait = limits::OUTGOING_STORE_WAIT;
                }
            }
        }
        tokio::select! {
            Some(answer) = requests.join_next() => take(&mut dispatcher, answer).await,
            () = app.outgoing.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    while let Some(answer) = requests.join_next().await {
        take(&mut dispatcher, answer).await;
    }
}

/// Lines that a call of ours may take. None without a number to call from.
fn free_lines(app: &App) -> usize {
    let ready = app.twilio.is_configured()
        && app.settings.twilio.phone_number.is_some()
        && app.lag.load() < crate::lag::Load::Full;
    if ready { app.registry.most().saturating_sub(app.registry.live()) } else { 0 }
}

async fn act(app: &Arc<App>, dispatcher: &mut Dispatcher, requests: &mut JoinSet<line::Answer>, action: Action) {
    match action {
        Action::Report(missed) => {
            metrics::missed_call(missed.reason.as_str());
            if missed_call_sink(app, &missed).await
                && let Err(error) = dispatcher.reported(clock::unix_us(), &missed).await
            {
                store_failed(&error);
            }
        }
        Action::Ask(question) => {
            requests.spawn(line::ask(app.clone(), question));
        }
    }
}

async fn take(dispatcher: &mut Dispatcher, answer: Result<line::Answer, tokio::task::JoinError>) {
    // A request whose task broke is like one whose answer was lost: its attempt is asked about later.
    let Ok(answer) = answer else { return };
    if let Err(error) = dispatcher.take(clock::unix_us(), answer).await {
        store_failed(&error);
    }
}

fn store_failed(error: &StoreError) {
    tracing::error!(code = error.code(), "what is due to outgoing calls could not be read or noted");
}

/// The attempt that an address names.
pub(crate) fn attempt_in(uri: &Uri) -> Option<AttemptId> {
    let fields = uri.query()?.split('&').filter_map(|field| field.split_once('='));
    let (_, id) = fields.into_iter().find(|(name, _)| *name == ATTEMPT_PARAMETER)?;
    AttemptId::parse(id).ok()
}

/// The patient whom an answered call of ours is for; `None` when it is no call of this job, or was answered at another
/// number than the patient's.
pub(crate) async fn called_patient(
    app: &App,
    attempt: Option<&AttemptId>,
    request: &VoiceRequest,
) -> Result<Option<Patient>, Refusal> {
    let Some(id) = attempt else { return Ok(None) };
    let failed = |error: StoreError| match error {
        StoreError::NotFound { .. } | StoreError::Sealed { .. } => Ok(None),
        error => {
            tracing::error!(code = error.code(), "the attempt could not be looked up");
            Err(Refusal::Unavailable("store"))
        }
    };
    hearing::note_sid(&app.store, id, request.call_sid.as_str(), clock::unix_us()).await;
    let attempt = match app.store.get_attempt(id).await {
        Ok(attempt) => attempt,
        Err(error) => return failed(error),
    };
    if attempt.call_sid.as_deref() != Some(request.call_sid.as_str()) {
        return Ok(None);
    }
    let number = request.to.as_deref().and_then(|text| PhoneNumber::parse(text).ok());
    match app.store.get_patient(&attempt.patient_id).await {
        Ok(patient) => Ok(Some(patient).filter(|patient| number.as_ref() == Some(&patient.details.phone))),
        Err(error) => failed(error),
    }
}

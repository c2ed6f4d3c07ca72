//! What is heard of outgoing calls: status callbacks, answering-machine detection, and the end of the conversation.

use super::{attempt_in, line};
use crate::app::App;
use crate::clock;
use crate::journal::Patience;
use crate::limits;
use crate::metrics;
use crate::registry::Command;
use crate::webhook::{Refusal, check_account, signed_form};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use call::twilio::CallSid;
use call::twilio::webhook::{AmdResult, AnsweredBy, CallStatus, StatusCallback};
use clinic::schedule::AttemptState;
use clinic::{AttemptId, CallOutcome};
use std::sync::Arc;
use store::{Store, StoreError};

/// How long a telephone stays in use after the conversation is over: a message for a machine, a last word for a person.
const LAST_WORDS_US: i64 = 60 * 1_000_000;

/// What an ended call was, by the telephone network, by answering-machine detection, and by our own record of the
/// conversation; `None` while that is still being written.
pub(super) fn conclude(
    status: &CallStatus,
    answered_by: Option<&AnsweredBy>,
    conversation: Option<CallOutcome>,
) -> Option<AttemptState> {
    if answered_by.is_some_and(AnsweredBy::is_machine) {
        return Some(AttemptState::Voicemail);
    }
    match status {
        CallStatus::Busy => Some(AttemptState::Busy),
        CallStatus::NoAnswer => Some(AttemptState::NoAnswer),
        CallStatus::Failed | CallStatus::Canceled => Some(AttemptState::Failed),
        // Answered, and nobody of ours there to talk: as good as failed.
        CallStatus::Completed => conversation.map_or(Some(AttemptState::Failed), spoken),
        _ => None,
    }
}

/// What an attempt was that led to a conversation with this outcome.
pub(super) fn spoken(outcome: CallOutcome) -> Option<AttemptState> {
    match outcome {
        CallOutcome::InProgress => None,
        CallOutcome::Completed | CallOutcome::HandedOver => Some(AttemptState::Answered),
        CallOutcome::Voicemail => Some(AttemptState::Voicemail),
        CallOutcome::NoAnswer => Some(AttemptState::NoAnswer),
        CallOutcome::Refused | CallOutcome::Failed | CallOutcome::Interrupted => Some(AttemptState::Failed),
    }
}

/// Notes how a call ended, as the telephone network says. False when nothing is to be noted, or not yet.
pub(super) async fn note_status(
    store: &Store,
    id: &AttemptId,
    call_sid: &str,
    (status, answered_by): (&CallStatus, Option<&AnsweredBy>),
    now_us: i64,
) -> Result<bool, StoreError> {
    if !status.is_terminal() && !answered_by.is_some_and(AnsweredBy::is_machine) {
        return Ok(false);
    }
    let conversation = match status {
        CallStatus::Completed => store.find_call_by_sid(call_sid).await?.map(|call| call.outcome),
        _ => None,
    };
    match conclude(status, answered_by, conversation) {
        Some(state) => settle(store, id, state, now_us).await,
        None => Ok(false),
    }
}

/// Notes what became of an attempt whose call is over.
pub(super) async fn settle(
    store: &Store,
    id: &AttemptId,
    state: AttemptState,
    now_us: i64,
) -> Result<bool, StoreError> {
    settle_on_line(store, id, state, now_us, now_us).await
}

/// As [`settle`], where the telephone is still in use for a moment: a machine listens to the message, a person to the
/// goodbye.
async fn settle_on_line(
    store: &Store,
    id: &AttemptId,
    state: AttemptState,
    now_us: i64,
    line_free_us: i64,
) -> Result<bool, StoreError> {
    let settled = store.settle_attempt(id, state, now_us, line_free_us).await?;
    if settled {
        metrics::outgoing_attempt(state.as_str());
        tracing::info!(attempt_id = %id, state = state.as_str(), "an attempt ended");
    }
    Ok(settled)
}

/// Notes which call an attempt became, if nobody did yet.
pub(super) async fn note_sid(store: &Store, id: &AttemptId, call_sid: &str, now_us: i64) {
    let check_at_us = now_us.saturating_add(super::dispatcher::FIRST_READ_US);
    match store.attempt_placed(id, call_sid, check_at_us).await {
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Sealed { .. }) => {}
        Err(error) => tracing::error!(attempt_id = %id, code = error.code(), "the call of an attempt was not noted"),
    }
}

/// News of a call, from wherever.
pub(super) enum News<'a> {
    /// The telephone network says how it stands.
    Status(&'a CallStatus, Option<&'a AnsweredBy>),
    /// A machine answered.
    Machine,
    /// The conversation is over and on record.
    Conversation(CallOutcome),
}

/// Takes in news of a call; the attempt is the one that is named, or the one that became the call. True when something
/// was settled by it. Whatever gets lost here is asked for later.
pub(super) async fn hear(
    store: &Store,
    named: Option<&AttemptId>,
    call_sid: &str,
    news: News<'_>,
    now_us: i64,
) -> bool {
    if let Some(id) = named {
        note_sid(store, id, call_sid, now_us).await;
    }
    take_in(store, call_sid, &news, now_us).await.unwrap_or_else(not_noted)
}

fn not_noted(error: StoreError) -> bool {
    tracing::error!(code = error.code(), "what became of a call was not noted");
    false
}

async fn take_in(store: &Store, call_sid: &str, news: &News<'_>, now_us: i64) -> Result<bool, StoreError> {
    let Some(id) = store.find_attempt_by_sid(call_sid).await? else { return Ok(false) };
    let free_us = now_us.saturating_add(LAST_WORDS_US);
    match news {
        News::Status(status, answered_by) => note_status(store, &id, call_sid, (status, *answered_by), now_us).await,
        News::Machine => settle_on_line(store, &id, AttemptState::Voicemail, now_us, free_us).await,
        News::Conversation(outcome) => match spoken(*outcome) {
            Some(state) => settle_on_line(store, &id, state, now_us, free_us).await,
            None => Ok(false),
        },
    }
}

async fn hear_now(app: &App, named: Option<&AttemptId>, sid: &CallSid, news: News<'_>) {
    if hear(&app.store, named, sid.as_str(), news, clock::unix_us()).await {
        app.outgoing.notify_one();
    }
}

/// A call changed its state. Noted in the background: Twilio wants its answer at once.
pub(crate) fn status_heard(app: &Arc<App>, named: Option<AttemptId>, status: StatusCallback) {
    let owned = app.clone();
    app.calls.spawn(async move {
        let news = News::Status(&status.status, status.answered_by.as_ref());
        hear_now(&owned, named.as_ref(), &status.call_sid, news).await;
    });
}

/// The conversation of a call of ours is over. A store that does not answer is waited for, in the background: where the
/// telephone network was heard first, nobody asks again, and who was spoken to would be telephoned a second time.
pub(crate) async fn conversation_ended(app: &Arc<App>, sid: &CallSid, outcome: CallOutcome) {
    let (owned, sid) = (app.clone(), sid.clone());
    let noted = app.calls.spawn(async move {
        let mut patience = Patience::new();
        let settled = loop {
            let news = News::Conversation(outcome);
            match take_in(&owned.store, sid.as_str(), &news, clock::unix_us()).await {
                Err(error) if patience.is_left(&error) => patience.wait().await,
                result => break result.unwrap_or_else(not_noted),
            }
        };
        if settled {
            owned.outgoing.notify_one();
        }
    });
    let _ = tokio::time::timeout(limits::ANSWER_WAIT, noted).await;
}

/// Answering-machine detection has come to a verdict.
pub(crate) async fn machine_detection(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let verdict = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| AmdResult::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|verdict| check_account(&app, &verdict.account_sid).map(|()| verdict));
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(refusal) => return refusal.respond("amd"),
    };
    metrics::webhook("amd", "accepted");
    if verdict.answered_by.is_machine() {
        let owned = app.clone();
        app.calls.spawn(async move { machine_answered(&owned, attempt_in(&uri), verdict).await });
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Ends the conversation with a machine, and sees to it that it hears a neutral message instead.
///
/// When the session closes its stream, Twilio asks what comes next and gets the message as the answer. Where it does not
/// ask, because there is no session or the question is late, the call is redirected. Never both: the registry hands the
/// task out once.
async fn machine_answered(app: &App, named: Option<AttemptId>, verdict: AmdResult) {
    let sid = &verdict.call_sid;
    app.registry.machine_answered(sid);
    let asked_soon = app.registry.command(sid, Command::Voicemail);
    if asked_soon {
        // The conversation knows better: who has said who they are, or called for help, is no machine.
        tokio::time::sleep(limits::SECOND_OPINION_WAIT).await;
        if app.registry.knows_person(sid) {
            return;
        }
    }
    hear_now(app, named.as_ref(), sid, News::Machine).await;
    if asked_soon {
        tokio::time::sleep(limits::NEXT_STEP_WAIT).await;
    }
    if app.registry.take_machine(sid) {
        if let Err(error) = line::leave_message(&app.twilio, sid, &verdict.answered_by).await {
            tracing::warn!(%error, "a call that a machine answered could not be redirected");
        }
        app.registry.command(sid, Command::Voicemail);
    }
}

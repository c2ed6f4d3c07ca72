//! The agents service's word after a call: transcript and analysis of a conversation.
//!
//! Under zero retention it is sent once and kept nowhere else, so it is stored before it is answered and worked in
//! afterwards; what a process did not live to work in is taken up by the next one. A repeated message changes nothing.

use crate::app::App;
use crate::clock;
use crate::journal;
use crate::limits;
use crate::metrics;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use call::agent::elevenlabs::webhook::{
    self, Condenser, MAX_BODY_BYTES, PostCall, PostCallContent, PostCallEvent, Verifier, WebhookError,
};
use clinic::CallId;
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::Arc;
use store::{Engine, LateMessage, NewPostCall, Saved, SpoolName, StoreError};

/// Why a message is not taken.
enum Refusal {
    /// Not from the service, or not from now.
    Unproven(WebhookError),
    /// Larger than any message of its kind.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// Proven, but not a message about a conversation.
    Malformed,
    /// We cannot keep it right now; it must be sent again.
    Unavailable(&'static str),
}

impl Refusal {
    fn respond(self) -> Response {
        let (status, result) = match self {
            Self::Unproven(WebhookError::Malformed) => (StatusCode::BAD_REQUEST, WebhookError::Malformed.code()),
            Self::Unproven(error) => (StatusCode::FORBIDDEN, error.code()),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        };
        metrics::webhook("post_call", result);
        tracing::warn!(route = "post_call", result, "webhook refused");
        status.into_response()
    }
}

/// `POST /elevenlabs/post-call`
pub(crate) async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    // Each request may hold a body; beyond this many the service has to come again.
    let Ok(_permit) = app.post_calls.clone().try_acquire_owned() else {
        return Refusal::Unavailable("busy").respond();
    };
    match take(&app, &headers, body).await {
        Ok(result) => {
            metrics::webhook("post_call", result);
            StatusCode::OK.into_response()
        }
        Err(refusal) => refusal.respond(),
    }
}

async fn take(app: &Arc<App>, headers: &HeaderMap, body: Body) -> Result<&'static str, Refusal> {
    let secret = app.settings.elevenlabs_webhook_secret.as_ref().map_or("", |secret| secret.expose_secret());
    let header = headers.get(webhook::SIGNATURE_HEADER).map(|value| value.to_str().unwrap_or("not text"));
    let verifier = Verifier::begin(secret, header, clock::unix_s()).map_err(Refusal::Unproven)?;
    let (kept, total) =
        tokio::time::timeout(limits::POST_CALL_READ, read(body, verifier)).await.unwrap_or(Err(Refusal::TooSlow))?;
    let event = webhook::parse(&kept).map_err(|_| Refusal::Malformed)?;
    if total > MAX_BODY_BYTES && event.content != PostCallContent::Audio {
        return Err(Refusal::TooLarge);
    }
    match tokio::time::timeout(limits::POST_CALL_STORE, keep(app, event, &kept)).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) if !journal::is_passing(&error) => {
            tracing::error!(code = error.code(), "a post-call message could not be stored");
            Err(Refusal::Unavailable("store"))
        }
        // It may be sent only once, so it waits here as what belongs to the call does.
        _ => wait(app, kept).await,
    }
}

/// Keeps a message in the spool until the database takes it.
async fn wait(app: &App, body: Vec<u8>) -> Result<&'static str, Refusal> {
    let unavailable = || Refusal::Unavailable("store");
    let spool = app.spool.clone().ok_or_else(unavailable)?;
    let message = LateMessage { body: String::from_utf8(body).map_err(|_| Refusal::Malformed)? };
    let kept = tokio::task::spawn_blocking(move || spool.message(&message)).await;
    if !kept.is_ok_and(|kept| kept.is_ok()) {
        metrics::spool_dropped(1);
        return Err(unavailable());
    }
    tracing::warn!("a post-call message waits in the spool");
    Ok("spooled")
}

/// Stores a message that had to wait in the spool. One that cannot be stored is counted and passed over.
///
/// # Errors
/// [`StoreError::Unavailable`] while the database does not take it.
pub(crate) async fn keep_late(app: &Arc<App>, message: &LateMessage) -> Result<(), StoreError> {
    let Ok(event) = webhook::parse(message.body.as_bytes()) else { return Ok(()) };
    match keep(app, event, message.body.as_bytes()).await {
        Ok(result) => {
            tracing::info!(result, "a post-call message that waited in the spool was given to the database");
            Ok(())
        }
        Err(error) if journal::is_passing(&error) => Err(error),
        Err(error) => {
            tracing::error!(code = error.code(), "a post-call message from the spool was refused");
            metrics::spool_dropped(1);
            Ok(())
        }
    }
}

/// Reads a body, proves it, and gives what is kept of it and its whole length.
async fn read(body: Body, mut verifier: Verifier) -> Result<(Vec<u8>, usize), Refusal> {
    let mut condenser = Condenser::default();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refusal::Malformed)?;
        verifier.update(&piece);
        if !condenser.push(&piece) {
            return Err(Refusal::TooLarge);
        }
    }
    verifier.finish().map_err(Refusal::Unproven)?;
    let total = condenser.total();
    Ok((condenser.finish(), total))
}

/// Stores a message with its call and has it worked in.
///
/// # Errors
/// [`StoreError`] when it was not stored.
async fn keep(app: &Arc<App>, event: PostCallEvent, body: &[u8]) -> Result<&'static str, StoreError> {
    let call = match app.store.call_of_conversation(&event.conversation_id).await? {
        Some(call) => call,
        // What names its call may still wait in the spool itself.
        None if calls_wait(app).await => {
            let source = "records of calls wait in the spool".into();
            return Err(StoreError::Unavailable { doing: "find the call of a conversation", source });
        }
        // Tried out by hand in the account, or another installation's: nothing to do, and no reason to send it again.
        None => return Ok("unknown_conversation"),
    };
    let handle = match app.store.call_handle(&call).await {
        Ok(handle) => handle,
        Err(StoreError::Sealed { .. }) => return Ok("erased"),
        Err(error) => return Err(error),
    };
    // Of a recording only the note that there was one is kept.
    let note;
    let payload = if event.content == PostCallContent::Audio {
        note = json!({"type": event.kind(), "data": {"conversation_id": event.conversation_id}}).to_string();
        note.as_bytes()
    } else {
        body
    };
    let new = NewPostCall {
        conversation_id: &event.conversation_id,
        kind: event.kind(),
        received_at_us: clock::unix_us(),
        payload,
    };
    match app.store.save_post_call(&handle, new).await? {
        Saved::Repeated => return Ok("repeated"),
        Saved::New => {}
    }
    let app = app.clone();
    let tracker = app.calls.clone();
    tracker.spawn(async move { work_in(&app, &call, event).await });
    Ok("accepted")
}

async fn calls_wait(app: &App) -> bool {
    let Some(spool) = app.spool.clone() else { return false };
    let any = move || spool.waiting().iter().any(|name| matches!(name, SpoolName::Call(_)));
    tokio::task::spawn_blocking(any).await.unwrap_or(false)
}

/// One server at a time works in what others left.
const LEASE: &str = "post-call messages";
/// For so long. All that is handed out at once is done well before.
const LEASE_US: i64 = 300 * 1_000_000;

/// Who may have left messages behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// At a start: an earlier process, or another server.
    ByEarlierProcess,
    /// Another server, or this one when the store did not take its work or the visit was not there yet.
    ByAnybody,
}

/// Works in what was stored and not got to.
pub(crate) async fn resume(app: Arc<App>, left: Left) {
    let now_us = clock::unix_us();
    let young_us = i64::try_from(limits::POST_CALL_ABANDONED.as_micros()).unwrap_or(i64::MAX);
    // On SQLite there is one server, and whatever waits at its start is an earlier one's.
    let all = left == Left::ByEarlierProcess && app.store.engine() == Engine::Sqlite;
    let until_us = if all { i64::MAX } else { now_us.saturating_sub(young_us) };
    match app.store.waiting_post_calls_until(until_us).await {
        Ok(waiting) if waiting.is_empty() => return,
        Ok(_) => {}
        Err(error) => return tracing::error!(code = error.code(), "post-call messages that wait could not be listed"),
    }
    match app.store.take_lease(LEASE, now_us, LEASE_US).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            return tracing::error!(code = error.code(), "post-call messages that wait could not be taken up");
        }
    }
    // What another server has worked in before it gave the lease back is no longer there.
    match app.store.waiting_post_calls_until(until_us).await {
        Ok(waiting) => work_in_all(&app, waiting).await,
        Err(error) => tracing::error!(code = error.code(), "post-call messages that wait could not be listed"),
    }
    // Where this fails, it ends by itself.
    let _ = app.store.release_lease(LEASE).await;
}

async fn work_in_all(app: &Arc<App>, waiting: Vec<(CallId, String)>) {
    for (call, kind) in waiting {
        let messages = match app.store.post_calls(&call).await {
            Ok(messages) => messages,
            Err(StoreError::Sealed { .. }) => {
                // Its call was erased; there is nothing left to work in.
                let _ = app.store.post_call_reconciled(&call, &kind, clock::unix_us()).await;
                continue;
            }
            Err(error) => {
                tracing::error!(call_id = %call, code = error.code(), "a post-call message could not be read");
                continue;
            }
        };
        let message = messages.iter().find(|message| message.kind == kind);
        if let Some(event) = message.and_then(|message| webhook::parse(&message.payload).ok()) {
            work_in(app, &call, event).await;
        }
    }
}

async fn work_in(app: &Arc<App>, call: &CallId, event: PostCallEvent) {
    let kind = event.kind().to_owned();
    let done = match event.content {
        PostCallContent::Transcription(report) => post_call_received(app, call, *report).await,
        PostCallContent::InitiationFailure { .. } | PostCallContent::Audio | PostCallContent::Other { .. } => {
            tracing::info!(call_id = %call, kind, "a post-call message was noted");
            Ok(true)
        }
    };
    let noted = match done {
        Ok(true) => app.store.post_call_reconciled(call, &kind, clock::unix_us()).await,
        Ok(false) => {
            return tracing::info!(call_id = %call, kind, "a post-call message waits for the visit of its call");
        }
        Err(error) => Err(error),
    };
    if let Err(error) = noted {
        // It stays in the store and is taken up again later, or at the next start.
        tracing::error!(call_id = %call, code = error.code(), "a post-call message could not be worked in");
    }
}

/// Takes what the service found in a conversation into the record of its call. The message itself is stored already. False
/// when there is nothing yet to take it into.
///
/// # Errors
/// [`StoreError`] when the record cannot be changed; then it is done again later.
pub(crate) async fn post_call_received(app: &Arc<App>, call: &CallId, report: PostCall) -> Result<bool, StoreError> {
    let record = app.store.get_call(call).await?;
    let found = report.data_collection.iter().filter(|(_, value)| !value.is_null()).count();
    tracing::info!(
        call_id = %call,
        outcome = record.outcome.as_str(),
        turns = report.turns.len(),
        values_found = found,
        duration_s = report.duration_s,
        error_code = report.error_code,
        "the agents service reported on a call"
    );
    crate::visits::reconcile(app, call).await
}

//! Twilio's webhooks: a call is announced, a stream or a call changed its state, a call wants to know what comes next.
//!
//! Every request must carry Twilio's signature over the address we gave it. A request that fails a check gets an empty
//! 403 or 400, is counted, and leaves nothing behind.

use crate::app::App;
use crate::clock;
use crate::closing;
use crate::limits;
use crate::metrics;
use crate::outgoing;
use crate::registry::{Command, NotAdmitted};
use crate::session::{self, NewSession};
use crate::visits;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use call::agent::{AgentLeg, Init};
use call::ticket::{self, TicketClaims};
use call::twilio::signature;
use call::twilio::twiml::{Response as Twiml, Say, Stream};
use call::twilio::webhook::{
    CallStatus, Direction as TwilioDirection, StatusCallback, StreamEvent, StreamStatus, VoiceRequest,
};
use call::twilio::{AccountSid, CallSid};
use clinic::protocol::FALLBACK_LANGUAGE;
use clinic::{AttemptId, CallOutcome, Direction, Patient, PhoneNumber, words};
use secrecy::ExposeSecret;
use std::sync::Arc;
use store::{CallHandle, NewCall, StoreError};
use tokio::time::Instant;

/// The paths Twilio is told to use.
pub(crate) mod paths {
    pub(crate) const VOICE: &str = "/twilio/voice";
    pub(crate) const AFTER_STREAM: &str = "/twilio/voice/after-agent";
    pub(crate) const DIAL_RESULT: &str = "/twilio/dial-result";
    pub(crate) const CALL_STATUS: &str = "/twilio/status";
    pub(crate) const STREAM_STATUS: &str = "/twilio/stream/status";
    pub(crate) const SMS_STATUS: &str = "/twilio/sms-status";
    pub(crate) const AMD: &str = "/twilio/amd";
    pub(crate) const MEDIA: &str = "/twilio/media-stream";
    /// This one is called by ElevenLabs.
    pub(crate) const POST_CALL: &str = "/elevenlabs/post-call";
}

/// Name of the stream parameter that carries the call's ticket.
pub(crate) const TICKET_PARAMETER: &str = "ticket";

/// Why a webhook is refused.
pub(crate) enum Refusal {
    /// Not from Twilio, not for us, or seen before.
    Forbidden(&'static str),
    /// From Twilio, but not a request we can read.
    Malformed,
    /// We cannot do it right now; Twilio then goes to the number's fallback.
    Unavailable(&'static str),
}

impl Refusal {
    pub(crate) fn respond(self, route: &'static str) -> Response {
        let (status, result) = match self {
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, why),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        };
        metrics::webhook(route, result);
        tracing::warn!(route, result, "webhook refused");
        status.into_response()
    }
}

/// A call is announced, or an outgoing one was answered.
pub(crate) async fn voice(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let announced = Instant::now();
    let answer = match signed_form(&app, &uri, &headers, &body) {
        Ok(form) => match VoiceRequest::from_form(&form) {
            // A task of its own: the request may be given up at any moment, but a call must not be left half begun.
            Ok(request) => crate::tasks::spawn(announce(app.clone(), request, outgoing::attempt_in(&uri), announced))
                .await
                .unwrap_or(Err(Refusal::Unavailable("panic"))),
            Err(_) => Err(Refusal::Malformed),
        },
        Err(refusal) => Err(refusal),
    };
    metrics::setup("webhook", announced.elapsed());
    match answer {
        Ok((twiml, result)) => {
            metrics::webhook("voice", result);
            twiml_response(&twiml)
        }
        Err(refusal) => refusal.respond("voice"),
    }
}

async fn announce(
    app: Arc<App>,
    request: VoiceRequest,
    attempt: Option<AttemptId>,
    announced: Instant,
) -> Result<(Twiml, &'static str), Refusal> {
    let app = &app;
    check_account(app, &request.account_sid)?;
    if app.registry.knows(&request.call_sid) {
        return Err(Refusal::Forbidden("replayed"));
    }
    let direction = match request.direction {
        Some(TwilioDirection::OutboundApi | TwilioDirection::OutboundDial) => Direction::Outbound,
        _ => Direction::Inbound,
    };
    if app.registry.take_machine(&request.call_sid) {
        return Ok((Twiml::new().say(Say::new(words::NEUTRAL_MESSAGE)).hangup(), "machine"));
    }
    if app.is_draining() || app.registry.is_full() {
        return Ok((apology(direction, words::ALL_LINES_BUSY), "busy"));
    }
    let called = outgoing::called_patient(app, attempt.as_ref(), &request).await?;
    let patient = match called {
        Some(patient) => Some(patient),
        None => patient_of(app, &request, direction).await?,
    };
    let Some(patient) = patient else {
        let handle = begin(app, &request, None, direction).await?;
        refuse_stranger(app, &handle, direction).await;
        return Ok((apology(direction, words::UNKNOWN_CALLER), "unknown_caller"));
    };
    let setup = match visits::setup(app, &patient).await {
        Ok(setup) => setup,
        Err(error) => {
            tracing::error!(code = error.code(), "the patient's profile could not be read");
            return Err(Refusal::Unavailable("store"));
        }
    };
    let handle = begin(app, &request, Some(&patient), direction).await?;
    // A slow disk must not stop a thread that carries the audio of other calls.
    let (store, call) = (app.store.clone(), handle.clone());
    let writer = match tokio::task::spawn_blocking(move || store.recording_writer(&call)).await {
        Ok(Ok(writer)) => writer,
        failed => {
            let code = failed.map_or("panic", |created| created.err().map_or("", |error| error.code()));
            tracing::error!(call_id = %handle.id, code, "the recording could not be created");
            return Err(close_unstarted(app, &handle, "recording").await);
        }
    };
    if !app.recorder.open(handle.id.clone(), writer) {
        return Err(close_unstarted(app, &handle, "recorder_full").await);
    }
    let inbox = match app.registry.admit(&request.call_sid, handle.id.clone()) {
        Ok(inbox) => inbox,
        Err(refused) => {
            app.recorder.close(handle.id.clone(), Vec::new()).await;
            close_unstarted(app, &handle, "full").await;
            if refused == NotAdmitted::Known {
                return Err(Refusal::Forbidden("replayed"));
            }
            return Ok((apology(direction, words::ALL_LINES_BUSY), "busy"));
        }
    };
    tracing::info!(call_id = %handle.id, patient_id = %patient.id, "call announced");
    let twiml = stream_twiml(app, &request.call_sid, &request.account_sid);
    let new = NewSession {
        sid: request.call_sid,
        leg: leg_for(&patient, &handle),
        patient: patient.id.clone(),
        setup,
        handle,
        direction,
        inbox,
        announced,
    };
    app.calls.spawn(session::run(app.clone(), new));
    Ok((twiml, "accepted"))
}

/// Why a call cannot be held, to somebody who called us. Somebody we called hears nothing of the kind: it may be anybody.
fn apology(direction: Direction, to_callers: &'static str) -> Twiml {
    let text = if direction == Direction::Inbound { to_callers } else { words::NEUTRAL_MESSAGE };
    Twiml::new().say(Say::new(text)).hangup()
}

/// The one patient with the caller's number; none when nobody or more than one has it, because a name must not be
/// spoken to the wrong person.
async fn patient_of(app: &App, request: &VoiceRequest, direction: Direction) -> Result<Option<Patient>, Refusal> {
    let number = match direction {
        Direction::Inbound => &request.from,
        Direction::Outbound => &request.to,
    };
    let Some(number) = number.as_deref().and_then(|text| PhoneNumber::parse(text).ok()) else { return Ok(None) };
    match app.store.find_patients_by_phone(&number).await {
        Ok(mut found) if found.len() == 1 => Ok(found.pop()),
        Ok(found) => {
            if found.len() > 1 {
                tracing::warn!(patients = found.len(), "a caller's number belongs to several patients");
            }
            Ok(None)
        }
        Err(error) => {
            tracing::error!(code = error.code(), "the patient could not be looked up");
            Err(Refusal::Unavailable("store"))
        }
    }
}

async fn begin(
    app: &App,
    request: &VoiceRequest,
    patient: Option<&Patient>,
    direction: Direction,
) -> Result<CallHandle, Refusal> {
    let new = NewCall {
        call_sid: request.call_sid.as_str(),
        patient_id: patient.map(|patient| patient.id.clone()),
        direction,
        started_at_us: clock::unix_us(),
    };
    match app.store.begin_call(new).await {
        Ok(handle) => Ok(handle),
        Err(StoreError::Conflict { .. }) => Err(Refusal::Forbidden("replayed")),
        Err(error) => {
            tracing::error!(code = error.code(), "the call could not be stored");
            Err(Refusal::Unavailable("store"))
        }
    }
}

async fn refuse_stranger(app: &Arc<App>, handle: &CallHandle, direction: Direction) {
    tracing::info!(call_id = %handle.id, "caller unknown, refused");
    finish_unstarted(app, handle, CallOutcome::Refused).await;
    let direction = if direction == Direction::Inbound { "inbound" } else { "outbound" };
    metrics::call_ended(direction, CallOutcome::Refused.as_str());
}

async fn close_unstarted(app: &Arc<App>, handle: &CallHandle, why: &'static str) -> Refusal {
    finish_unstarted(app, handle, CallOutcome::Failed).await;
    Refusal::Unavailable(why)
}

async fn finish_unstarted(app: &Arc<App>, handle: &CallHandle, outcome: CallOutcome) {
    let (owned, id) = (app.clone(), handle.id.clone());
    let close = async move { closing::close_call(&owned, &id, closing::unstarted(outcome)).await };
    let closed = app.calls.spawn(close);
    // Normally done at once; a store that takes long must not keep the caller waiting for an answer.
    let _ = tokio::time::timeout(limits::ANSWER_WAIT, closed).await;
}

fn leg_for(patient: &Patient, handle: &CallHandle) -> AgentLeg {
    let variables = words::dynamic_variables(patient, &handle.id);
    let language = patient.details.language.as_str();
    AgentLeg::ElevenLabs {
        init: Init {
            dynamic_variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            // A pseudonym: the name reaches the service only as a variable of this one conversation.
            user_id: Some(patient.id.to_string()),
            // The agent's base language is English; another one needs its permission, which our settings of it give.
            language: (language != FALLBACK_LANGUAGE).then(|| language.to_owned()),
            ..Init::default()
        },
    }
}

fn stream_twiml(app: &App, call_sid: &CallSid, account_sid: &AccountSid) -> Twiml {
    let expires_unix_s = clock::unix_s() + limits::TICKET_LIFETIME.as_secs();
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    app.registry.ticket_issued(&nonce, expires_unix_s);
    let claims = TicketClaims { call_sid: call_sid.clone(), account_sid: account_sid.clone(), nonce, expires_unix_s };
    let stream = Stream::new(app.settings.public_ws_url(paths::MEDIA))
        .status_callback(app.settings.public_url(paths::STREAM_STATUS))
        .parameter(TICKET_PARAMETER, ticket::issue(&app.ticket_key, &claims));
    Twiml::new().connect(Some(app.settings.public_url(paths::AFTER_STREAM)), stream)
}

/// The stream of a call ended: what comes next?
pub(crate) async fn after_stream(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| VoiceRequest::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|request| check_account(&app, &request.account_sid).map(|()| request));
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refusal.respond("after_stream"),
    };
    if app.registry.take_machine(&request.call_sid) {
        metrics::webhook("after_stream", "machine");
        return twiml_response(&Twiml::new().say(Say::new(words::NEUTRAL_MESSAGE)).hangup());
    }
    let said_goodbye = app.registry.said_goodbye(&request.call_sid);
    if said_goodbye.is_none() {
        // Twilio has gone on while we still wait for the stream, or take a broken one for alive.
        app.registry.command(&request.call_sid, Command::StreamStopped);
    }
    metrics::webhook("after_stream", "accepted");
    // Whoever asks has a caller on the line. Unless the agent has said goodbye, the line broke in mid-conversation.
    twiml_response(&match said_goodbye {
        Some(true) => Twiml::new().hangup(),
        _ => Twiml::new().say(Say::new(words::TECHNICAL_APOLOGY)).hangup(),
    })
}

/// The nurse's line was called: what came of it?
pub(crate) async fn dial_result(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| VoiceRequest::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|request| check_account(&app, &request.account_sid).map(|()| request));
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refusal.respond("dial_result"),
    };
    metrics::webhook("dial_result", "accepted");
    if matches!(request.dial_call_status, Some(CallStatus::Completed | CallStatus::InProgress)) {
        return twiml_response(&Twiml::new().hangup());
    }
    // The patient is still there, and nobody came: the words of the emergency, and somebody must call back.
    let (owner, sid) = (app.clone(), request.call_sid.clone());
    app.calls.spawn(async move { visits::nurse_not_reached(&owner, &sid).await });
    let words = visits::words_without_nurse(&app, &uri, &request.call_sid).await;
    twiml_response(&Twiml::new().say(words).hangup())
}

/// A call changed its state.
pub(crate) async fn call_status(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let status = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| StatusCallback::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|status| check_account(&app, &status.account_sid).map(|()| status));
    match status {
        Ok(status) => {
            if status.status.is_terminal() {
                app.registry.command(&status.call_sid, Command::CallEnded);
            }
            outgoing::status_heard(&app, outgoing::attempt_in(&uri), status);
            metrics::webhook("call_status", "accepted");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refusal.respond("call_status"),
    }
}

/// A media stream changed its state.
pub(crate) async fn stream_status(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let status = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| StreamStatus::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|status| check_account(&app, &status.account_sid).map(|()| status));
    match status {
        Ok(status) => {
            match status.event {
                StreamEvent::Stopped => {
                    app.registry.command(&status.call_sid, Command::StreamStopped);
                }
                StreamEvent::Error => {
                    tracing::warn!("twilio reports a stream error");
                    metrics::media_socket("stream_error");
                    app.registry.command(&status.call_sid, Command::StreamFailed);
                }
                _ => {}
            }
            metrics::webhook("stream_status", "accepted");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refusal.respond("stream_status"),
    }
}

/// The fields of a form whose signature is Twilio's.
pub(crate) fn signed_form(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<(String, String)>, Refusal> {
    let Some(token) = &app.settings.twilio.auth_token else { return Err(Refusal::Forbidden("no_token")) };
    let header_text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_form = header_text("content-type")
        .is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    let target = uri.path_and_query().map_or(uri.path(), axum::http::uri::PathAndQuery::as_str);
    let url = app.settings.public_url(target);
    let fields = signature::decode_form(body).map_err(|_| Refusal::Malformed);
    let signed = fields.as_ref().is_ok_and(|fields| {
        signature::verify_form(
            token.expose_secret(),
            &url,
            fields,
            header_text("x-twilio-signature"),
            header_text("x-twilio-webhooks-signature-settings"),
        )
        .is_ok()
    });
    match fields {
        Err(refusal) => Err(refusal),
        Ok(_) if !signed => Err(Refusal::Forbidden("signature")),
        Ok(_) if !is_form => Err(Refusal::Malformed),
        Ok(fields) => Ok(fields),
    }
}

pub(crate) fn check_account(app: &App, account: &AccountSid) -> Result<(), Refusal> {
    match &app.settings.twilio.account_sid {
        Some(ours) if ours != account.as_str() => Err(Refusal::Forbidden("account")),
        _ => Ok(()),
    }
}

pub(crate) fn twiml_response(twiml: &Twiml) -> Response {
    match twiml.render() {
        Ok(xml) => ([(header::CONTENT_TYPE, "text/xml; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], xml)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "call instructions could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

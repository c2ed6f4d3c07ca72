//! Twilio's webhooks: a call is announced, a stream or a call changed its state, a call wants to know what comes next.
//!
//! Every request must carry Twilio's signature over the address we gave it. A request that fails a check gets an empty
//! 403 or 400, is counted, and leaves nothing behind.

use crate::app::App;
use crate::clock;
use crate::closing;
use crate::fallback;
use crate::lag::Load;
use crate::limits;
use crate::metrics;
use crate::outgoing;
use crate::registry::{Command, NotAdmitted};
use crate::scripted;
use crate::session::{self, NewSession};
use crate::visits;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use call::ticket::{self, TicketClaims};
use call::twilio::signature;
use call::twilio::twiml::{Response as Twiml, Say, Stream};
use call::twilio::webhook::{Direction as TwilioDirection, StatusCallback, StreamEvent, StreamStatus, VoiceRequest};
use call::twilio::{AccountSid, CallSid};
use clinic::fallback::Why;
use clinic::{AttemptId, CallOutcome, Direction, Patient, PhoneNumber, words};
use secrecy::ExposeSecret;
use std::future::Future;
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
    pub(crate) const FORK: &str = "/twilio/fork";
    pub(crate) const SCRIPT: &str = "/twilio/script";
    /// This one is called by ElevenLabs.
    pub(crate) const POST_CALL: &str = "/elevenlabs/post-call";
}

/// Name of the stream parameter that carries the call's ticket.
pub(crate) const TICKET_PARAMETER: &str = "ticket";

/// Name of the field, in addresses we give to Twilio, for the language of the visit.
pub(crate) const LANGUAGE_PARAMETER: &str = "language";

/// The value of a field of an address that we wrote: nothing in it needs decoding.
pub(crate) fn query_field<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let fields = uri.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
}

/// Why a webhook is refused.
pub(crate) enum Refusal {
    /// Not from Twilio, not for us, or seen before.
    Forbidden(&'static str),
    /// From Twilio, but not a request we can read.
    Malformed,
    /// Begun before, by a request that this process has not seen: another one carries or carried the call.
    Begun,
    /// We cannot do it right now; Twilio then goes to the number's fallback.
    Unavailable(&'static str),
}

impl Refusal {
    pub(crate) fn respond(self, route: &'static str) -> Response {
        let (status, result) = match self {
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, why),
            Self::Begun => (StatusCode::FORBIDDEN, "replayed"),
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
            // A shutdown waits for it, as it waits for the call that comes of it.
            Ok(request) => app
                .calls
                .spawn(announce(app.clone(), request, outgoing::attempt_in(&uri), announced))
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
    check_account(&app, &request.account_sid)?;
    if app.registry.knows(&request.call_sid) {
        return Err(Refusal::Forbidden("replayed"));
    }
    let direction = match request.direction {
        Some(TwilioDirection::OutboundApi | TwilioDirection::OutboundDial) => Direction::Outbound,
        _ => Direction::Inbound,
    };
    match take_in(&app, &request, direction, attempt, announced).await {
        // Twilio could not go on with it where it was answered first.
        Err(Refusal::Begun) => {
            let twiml = fallback::of_another_process(&app, &request.call_sid).await;
            Ok((twiml.unwrap_or_else(|| apology(direction, words::TECHNICAL_APOLOGY)), "elsewhere"))
        }
        // They have picked up already, and the number's fallback is not for calls of ours.
        Err(Refusal::Unavailable(why)) if direction == Direction::Outbound => {
            tracing::warn!(result = why, "a call of ours was answered and cannot be held");
            Ok((apology(direction, words::TECHNICAL_APOLOGY), "apology"))
        }
        answer => answer,
    }
}

/// Takes in a call that this process does not know.
async fn take_in(
    app: &Arc<App>,
    request: &VoiceRequest,
    direction: Direction,
    attempt: Option<AttemptId>,
    announced: Instant,
) -> Result<(Twiml, &'static str), Refusal> {
    if app.registry.take_machine(&request.call_sid) {
        return Ok((Twiml::new().say(Say::new(words::NEUTRAL_MESSAGE)).hangup(), "machine"));
    }
    if app.is_draining() || app.registry.is_full() || app.lag.load() == Load::Full {
        let why = if app.is_draining() { Why::Stopping } else { Why::Overloaded };
        fallback::turned_away(app, request, direction, why);
        return Ok((apology(direction, words::ALL_LINES_BUSY), "busy"));
    }
    let found = async {
        match outgoing::called_patient(app, attempt.as_ref(), request).await? {
            Some(patient) => Ok(Some(patient)),
            None => patient_of(app, request, direction).await,
        }
    };
    let patient = match in_time(found).await {
        Err(Refusal::Unavailable("store")) => return Ok(fallback::no_records(app, request, direction).await),
        patient => patient?,
    };
    let Some(patient) = patient else {
        let handle = begin(app, request, None, direction).await?;
        refuse_stranger(app, &handle, direction).await;
        return Ok((apology(direction, words::UNKNOWN_CALLER), "unknown_caller"));
    };
    let begun = async {
        let setup = visits::setup(app, &patient).await.map_err(|error| {
            tracing::error!(code = error.code(), "the patient's profile could not be read");
            Refusal::Unavailable("store")
        })?;
        Ok((setup, begin(app, request, Some(&patient), direction).await?))
    };
    let (setup, handle) = match in_time(begun).await {
        Err(Refusal::Unavailable("store")) => return Ok(fallback::no_records(app, request, direction).await),
        begun => begun?,
    };
    // A slow disk must not stop a thread that carries the audio of other calls.
    let (store, spool, call) = (app.store.clone(), app.spool.clone(), handle.clone());
    let create = move || match &spool {
        Some(spool) => store.recording_writer_with(&call, spool),
        None => store.recording_writer(&call),
    };
    let writer = match tokio::task::spawn_blocking(create).await {
        Ok(Ok(writer)) => Some(writer),
        failed => {
            let code = failed.map_or("panic", |created| created.err().map_or("", |error| error.code()));
            tracing::error!(call_id = %handle.id, code, "the recording could not be created: the call goes on without it");
            metrics::recording_failed();
            None
        }
    };
    let recorded = writer.is_some();
    if writer.is_some_and(|writer| !app.recorder.open(handle.id.clone(), writer)) {
        tracing::error!(call_id = %handle.id, "the recorder takes no further call");
        finish_unstarted(app, &handle, CallOutcome::Failed).await;
        fallback::contact_later(app, handle.id.clone(), patient.id.clone(), Why::Overloaded);
        return Ok((apology(direction, words::ALL_LINES_BUSY), "busy"));
    }
    let inbox = match app.registry.admit(&request.call_sid, handle.id.clone(), &patient.id) {
        Ok(inbox) => inbox,
        Err(refused) => {
            app.recorder.close(handle.id.clone(), Vec::new()).await;
            finish_unstarted(app, &handle, CallOutcome::Failed).await;
            if refused == NotAdmitted::Known {
                return Err(Refusal::Forbidden("replayed"));
            }
            fallback::contact_later(app, handle.id.clone(), patient.id.clone(), Why::Overloaded);
            return Ok((apology(direction, words::ALL_LINES_BUSY), "busy"));
        }
    };
    tracing::info!(call_id = %handle.id, patient_id = %patient.id, "call announced");
    let new = NewSession {
        sid: request.call_sid.clone(),
        chain: app.agents.chain(&patient, &handle),
        patient: patient.id.clone(),
        setup,
        handle,
        direction,
        inbox,
        announced,
        recorded,
    };
    let scripted = scripted::has_no_agent(&new);
    app.calls.spawn(session::run(app.clone(), new));
    let twiml = if scripted {
        scripted::first(app, &request.call_sid, &request.account_sid).await
    } else {
        stream_twiml(app, &request.call_sid, &request.account_sid)
    };
    Ok((twiml, "accepted"))
}

/// The records' answer, or that they do not answer: a caller waits for it.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let silent = |_| Err(Refusal::Unavailable("store"));
    tokio::time::timeout(limits::ANNOUNCE_STORE, work).await.unwrap_or_else(silent)
}

/// Why a call cannot be held, to somebody who called us. Somebody we called hears nothing of the kind: it may be anybody.
pub(crate) fn apology(direction: Direction, to_callers: &'static str) -> Twiml {
    let text = if direction == Direction::Inbound { to_callers } else { words::NEUTRAL_MESSAGE };
    Twiml::new().say(Say::new(text)).hangup()
}

/// The one patient with the caller's number; none when nobody or more than one has it, because a name must not be
/// spoken to the wrong person.
pub(crate) async fn patient_of(
    app: &App,
    request: &VoiceRequest,
    direction: Direction,
) -> Result<Option<Patient>, Refusal> {
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

pub(crate) async fn begin(
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
        Err(StoreError::Conflict { .. }) => Err(Refusal::Begun),
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

pub(crate) async fn finish_unstarted(app: &Arc<App>, handle: &CallHandle, outcome: CallOutcome) {
    let (owned, call) = (app.clone(), handle.clone());
    let close = async move { closing::close_call(&owned, &call, closing::unstarted(outcome)).await };
    let closed = app.calls.spawn(close);
    // Normally done at once; a store that takes long must not keep the caller waiting for an answer.
    let _ = tokio::time::timeout(limits::ANSWER_WAIT, closed).await;
}

/// A new ticket by which a media stream proves to belong to a call.
pub(crate) fn ticket(app: &App, call_sid: &CallSid, account_sid: &AccountSid) -> String {
    let expires_unix_s = clock::unix_s() + limits::TICKET_LIFETIME.as_secs();
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    app.registry.ticket_issued(&nonce, expires_unix_s);
    let claims = TicketClaims { call_sid: call_sid.clone(), account_sid: account_sid.clone(), nonce, expires_unix_s };
    ticket::issue(&app.ticket_key, &claims)
}

fn stream_twiml(app: &App, call_sid: &CallSid, account_sid: &AccountSid) -> Twiml {
    let stream = Stream::new(app.settings.public_ws_url(paths::MEDIA))
        .status_callback(app.settings.public_url(paths::STREAM_STATUS))
        .parameter(TICKET_PARAMETER, ticket(app, call_sid, account_sid));
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
    let over = app.registry.said_goodbye(&request.call_sid);
    // A call that is over keeps its records now: whoever asks is not to wait for that.
    if over.is_none()
        && let Some(page) = scripted::takes_over(&app, &request).await
    {
        return page;
    }
    if over.is_none() && !app.registry.knows(&request.call_sid) {
        metrics::webhook("after_stream", "elsewhere");
        let twiml = fallback::of_another_process(&app, &request.call_sid).await;
        let sorry = || Twiml::new().say(Say::new(words::TECHNICAL_APOLOGY)).hangup();
        return twiml_response(&twiml.unwrap_or_else(sorry));
    }
    let said_goodbye = over.or_else(|| app.registry.said_goodbye(&request.call_sid));
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
    let answered = request.dial_call_status.as_ref().is_some_and(scripted::reached);
    visits::nurse_was_called(&app, &uri, &request.call_sid, answered).await
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

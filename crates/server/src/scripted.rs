//! Calls that the script leads: Twilio posts what was heard, and gets the next page; a one-way stream of the same call
//! brings the patient's voice to the recording and the analysis.
//!
//! The page is made by the call's own task, which owns the encounter. Whoever asks waits for it, but not long: a page that
//! is late is asked for again by the same address, and asking twice changes nothing.

use crate::app::App;
use crate::fallback;
use crate::limits;
use crate::metrics;
use crate::registry::PageGate;
use crate::session::NewSession;
use crate::visits;
use crate::webhook::{self, LANGUAGE_PARAMETER, Refusal, check_account, paths, signed_form, twiml_response};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use call::script::{Addresses, Heard, NurseLine, Page, Then};
use call::twilio::twiml::{Response as Twiml, Say, Stream};
use call::twilio::voices;
use call::twilio::webhook::{CallStatus, VoiceRequest};
use call::twilio::{AccountSid, CallSid};
use call::{Encounter, Tick};
use clinic::protocol::FALLBACK_LANGUAGE;
use clinic::words;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Name of the field, in a page's address, for its number.
const PAGE_PARAMETER: &str = "page";

/// What was heard, on its way to the call's task. PHI.
pub(crate) enum Posted {
    Begin,
    Speech { text: String, confidence: Option<f64> },
    Keys(String),
    Nothing,
    Nurse { answered: bool },
}

impl Posted {
    fn of(request: &VoiceRequest, page: u64) -> Self {
        if page == 0 {
            return Self::Begin;
        }
        if let Some(status) = &request.dial_call_status {
            return Self::Nurse { answered: reached(status) };
        }
        match (&request.digits, &request.speech_result) {
            (Some(digits), _) if !digits.is_empty() => Self::Keys(digits.clone()),
            (_, Some(text)) if !text.trim().is_empty() => {
                Self::Speech { text: text.clone(), confidence: request.confidence }
            }
            _ => Self::Nothing,
        }
    }

    fn as_heard(&self) -> Heard<'_> {
        match self {
            Self::Begin => Heard::Begin,
            Self::Speech { text, confidence } => Heard::Speech { text, confidence: *confidence },
            Self::Keys(keys) => Heard::Keys(keys),
            Self::Nothing => Heard::Nothing,
            Self::Nurse { answered } => Heard::NurseResult { answered: *answered },
        }
    }
}

/// A page that is asked for.
pub(crate) struct PageRequest {
    page: u64,
    posted: Posted,
    answer: oneshot::Sender<Option<Answer>>,
}

impl std::fmt::Debug for PageRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageRequest").field("page", &self.page).finish_non_exhaustive()
    }
}

/// A page, with what its document needs to know of the call.
pub(crate) struct Answer {
    page: Page,
    language: String,
    /// Name of the listening stream to be started with it.
    fork: Option<String>,
    /// Name of the one that runs, to be stopped before a nurse listens.
    running: Option<String>,
}

/// The listening streams of a call.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    asked: u32,
    asked_at: Option<Instant>,
}

impl Forks {
    fn name(&self) -> String {
        format!("listen-{}", self.asked)
    }

    /// The name of a stream to be started, where none is there or on its way.
    fn wanted(&mut self, live: bool) -> Option<String> {
        let on_its_way = self.asked_at.is_some_and(|at| at.elapsed() < limits::FORK_WAIT);
        if live || on_its_way || self.asked >= limits::FORKS_MAX {
            return None;
        }
        self.asked += 1;
        self.asked_at = Some(Instant::now());
        Some(self.name())
    }
}

impl PageRequest {
    /// True for the page with which the script begins: the phone company wants to know what comes next.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.posted, Posted::Begin)
    }

    /// Answers it, in the call's task.
    pub(crate) fn serve(self, encounter: &mut Encounter, now: Tick, forks: &mut Forks, live: bool) {
        if !encounter.is_scripted() {
            let _ = self.answer.send(None);
            return;
        }
        let page = encounter.script(now, self.page, self.posted.as_heard());
        let listens = !matches!(page.then, Then::DialNurse | Then::Hangup);
        let running = (live || forks.asked > 0).then(|| forks.name());
        let fork = if listens { forks.wanted(live) } else { None };
        let _ = self.answer.send(Some(Answer { page, language: encounter.language().to_owned(), fork, running }));
    }
}

enum Asked {
    Page(Box<Answer>),
    /// The call is there, and takes its time.
    Late,
    /// There is no such call, it is over, or nothing is to be said by the script.
    NoScript,
}

async fn ask(gate: Option<PageGate>, page: u64, posted: Posted) -> Asked {
    let Some(gate) = gate else { return Asked::NoScript };
    let (answer, answered) = oneshot::channel();
    if gate.try_send(PageRequest { page, posted, answer }).is_err() {
        return if gate.is_closed() { Asked::NoScript } else { Asked::Late };
    }
    match tokio::time::timeout(limits::PAGE_WAIT, answered).await {
        Ok(Ok(Some(answer))) => Asked::Page(Box::new(answer)),
        Ok(_) => Asked::NoScript,
        Err(_) => Asked::Late,
    }
}

fn document(app: &App, call: &CallSid, account: &AccountSid, answer: &Answer) -> Twiml {
    let nurse = app.settings.staff.nurse_line.as_ref().map(|number| NurseLine {
        number: number.expose().to_owned(),
        caller_id: app.settings.twilio.phone_number.as_ref().map(|number| number.expose().to_owned()),
        timeout_s: limits::NURSE_RINGS_S,
    });
    let fork = answer.fork.as_ref().map(|name| {
        Stream::new(app.settings.public_ws_url(paths::FORK))
            .name(name.as_str())
            .status_callback(app.settings.public_url(paths::STREAM_STATUS))
            .parameter(webhook::TICKET_PARAMETER, webhook::ticket(app, call, account))
    });
    answer.page.document(&Addresses {
        script: app.settings.public_url(&format!("{}?{LANGUAGE_PARAMETER}={}", paths::SCRIPT, answer.language)),
        nurse,
        fork,
        running: answer.running.clone(),
    })
}

/// Twilio asks the same again in a second.
fn ask_again(url: String) -> Twiml {
    Twiml::new().pause(1).redirect(url)
}

/// The first page of a call that nobody but the script can lead, once its task runs.
pub(crate) async fn first(app: &App, call: &CallSid, account: &AccountSid) -> Twiml {
    match ask(app.registry.page_gate(call), 0, Posted::Begin).await {
        Asked::Page(answer) => document(app, call, account, &answer),
        Asked::Late | Asked::NoScript => ask_again(app.settings.public_url(paths::SCRIPT)),
    }
}

/// Whether a new call has no agent to speak with.
pub(crate) fn has_no_agent(new: &NewSession) -> bool {
    new.chain.members().next().is_none()
}

/// The media stream of a call ended, and the script goes on; `None` when it does not.
pub(crate) async fn takes_over(app: &App, request: &VoiceRequest) -> Option<Response> {
    match ask(app.registry.page_gate(&request.call_sid), 0, Posted::Begin).await {
        Asked::Page(answer) => {
            metrics::webhook("after_stream", "scripted");
            Some(twiml_response(&document(app, &request.call_sid, &request.account_sid, &answer)))
        }
        Asked::Late => Some(twiml_response(&ask_again(app.settings.public_url(paths::SCRIPT)))),
        Asked::NoScript => None,
    }
}

/// What came of a page: the next one.
pub(crate) async fn script(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| VoiceRequest::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|request| check_account(&app, &request.account_sid).map(|()| request));
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refusal.respond("script"),
    };
    if app.registry.take_machine(&request.call_sid) {
        metrics::webhook("script", "machine");
        return twiml_response(&Twiml::new().say(Say::new(words::NEUTRAL_MESSAGE)).hangup());
    }
    let page = webhook::query_field(&uri, PAGE_PARAMETER).and_then(|text| text.parse().ok()).unwrap_or(0);
    match ask(app.registry.page_gate(&request.call_sid), page, Posted::of(&request, page)).await {
        Asked::Page(answer) => {
            metrics::webhook("script", "accepted");
            twiml_response(&document(&app, &request.call_sid, &request.account_sid, &answer))
        }
        Asked::Late => {
            metrics::webhook("script", "late");
            let target = uri.path_and_query().map_or(uri.path(), axum::http::uri::PathAndQuery::as_str);
            // What was heard goes with the address no more, and the page is asked anew: better twice than not at all.
            twiml_response(&ask_again(app.settings.public_url(target)))
        }
        Asked::NoScript => {
            metrics::webhook("script", "no_call");
            no_call(&app, &uri, &request).await
        }
    }
}

/// The call is not with us any more, and its caller still on the line.
async fn no_call(app: &Arc<App>, uri: &Uri, request: &VoiceRequest) -> Response {
    if let Some(status) = &request.dial_call_status {
        return visits::nurse_was_called(app, uri, &request.call_sid, reached(status)).await;
    }
    if app.registry.said_goodbye(&request.call_sid) == Some(true) {
        return twiml_response(&Twiml::new().hangup());
    }
    if !app.registry.knows(&request.call_sid)
        && let Some(twiml) = fallback::of_another_process(app, &request.call_sid).await
    {
        return twiml_response(&twiml);
    }
    let protocol = &app.settings.protocol;
    let language = protocol.spoken(webhook::query_field(uri, LANGUAGE_PARAMETER).unwrap_or(FALLBACK_LANGUAGE));
    let words = protocol.text(language, "callback", "");
    twiml_response(&Twiml::new().say(voices::say(language, words)).hangup())
}

/// Whether a called line was answered.
pub(crate) fn reached(status: &CallStatus) -> bool {
    matches!(status, CallStatus::Completed | CallStatus::InProgress)
}

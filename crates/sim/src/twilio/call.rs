//! One telephone call: a single task that owns the line, the TwiML engine, the patient and the media streams.
//!
//! Every 20 ms, against absolute deadlines, the patient hears a frame and speaks one. Everything else (documents, socket
//! messages, REST commands) is an event between two frames.

use super::call_streams;
use super::callbacks::Callbacks;
use super::caller::{CallReport, Caller, EndedBy, TimelineEntry, Violation};
use super::checker::Checker;
use super::engine::{Engine, Fetch, Outcome};
use super::gather::Gathering;
use super::impair::HangUpStyle;
use super::playback::Playback;
use super::socket::{FromSocket, INCOMING, ToSocket};
use super::stream::StreamWriter;
use super::twiml::{StreamSpec, Twiml, Verb, parse, parse_document};
use super::webhook::{Failure, Fields, Reply, Sender, field, iso8601, rfc2822};
use crate::SimError;
use crate::patient::Patient;
use crate::rng::Rng;
use crate::sound::Activity;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One frame of the line.
const FRAME: Duration = Duration::from_millis(20);
/// Its bytes.
const FRAME_BYTES: usize = 160;

/// What REST can do to a call.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Redirect { url: String, method: String },
    Twiml(String),
    HangUp,
    StartFork(StreamSpec),
    StopFork(String),
}

/// Where the first document comes from.
#[derive(Debug, Clone)]
pub(super) enum First {
    Url { url: String, method: String },
    Twiml(String),
}

/// A call about to begin.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) caller: Caller,
    pub(super) call_sid: String,
    pub(super) direction: &'static str,
    pub(super) first: First,
    /// Whether the telephone was already answered when the first document is asked for.
    pub(super) answered: bool,
    /// Fields added to every voice request, such as `AnsweredBy`.
    pub(super) extra_fields: Fields,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Follows the call's status.
    pub(super) status: watch::Sender<String>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Ask the engine what is next.
    Ready,
    Fetching,
    /// Until everything queued was played.
    Playing,
    Until(u64),
    Gathering(Box<Gathering>),
    OnStream(u32),
    Dialing {
        until: u64,
    },
    Recording {
        since: u64,
        ear: Activity,
        timeout: Duration,
        max: Duration,
    },
}

/// A media stream of the call.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) sid: String,
    pub(super) spec: StreamSpec,
    pub(super) is_fork: bool,
    pub(super) live: bool,
    pub(super) writer: StreamWriter,
    pub(super) checker: Checker,
    pub(super) socket: mpsc::Sender<ToSocket>,
}

/// A call in progress.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) cfg: Caller,
    pub(super) call_sid: String,
    direction: &'static str,
    pub(super) engine: Engine,
    pub(super) patient: Patient,
    pub(super) playback: Playback,
    pub(super) phase: Phase,
    pub(super) streams: Vec<Stream>,
    pub(super) next_stream: u32,
    pub(super) socket_events: mpsc::Sender<(u32, FromSocket)>,
    webhooks: Arc<Sender>,
    pub(super) callbacks: Callbacks,
    pub(super) report: CallReport,
    pub(super) rng: Rng,
    began: Instant,
    frames: u64,
    pub(super) fetch: Option<Fetch>,
    /// The document that is awaited stands in for one that failed.
    on_fallback: bool,
    on_local: bool,
    asked_once: bool,
    answered: bool,
    extra_fields: Fields,
    pub(super) ended: Option<EndedBy>,
    status: watch::Sender<String>,
}

/// Makes the call and reports when it is over.
pub(super) async fn run(setup: Setup) -> Result<CallReport, SimError> {
    let Setup { caller, call_sid, direction, first, answered, extra_fields, mut commands, status } = setup;
    let webhooks = Arc::new(Sender::new(&caller.auth_token, &caller.impairments, caller.seed)?);
    let callbacks = Callbacks::new(Arc::clone(&webhooks), &caller.impairments);
    let (socket_events, mut sockets) = mpsc::channel(INCOMING);
    let engine = match &first {
        First::Url { url, method } => Engine::new(url, method),
        First::Twiml(_) => Engine::new(&caller.voice_url, "POST"),
    };
    let mut call = Call {
        patient: Patient::new(caller.behaviour.clone()),
        rng: Rng::named(caller.seed, "call"),
        report: CallReport { call_sid: call_sid.clone(), ..CallReport::default() },
        cfg: caller,
        call_sid,
        direction,
        engine,
        playback: Playback::default(),
        phase: Phase::Ready,
        streams: Vec::new(),
        next_stream: 1,
        socket_events,
        webhooks,
        callbacks,
        began: Instant::now(),
        frames: 0,
        fetch: None,
        on_fallback: false,
        on_local: false,
        asked_once: false,
        answered,
        extra_fields,
        ended: None,
        status,
    };
    if let First::Twiml(body) = &first {
        let url = call.cfg.voice_url.clone();
        call.load(&url, body, parse_document(body));
    }
    call.set_status(if answered { "in-progress" } else { "ringing" });
    let mut fetching: Option<JoinHandle<Result<Reply, Failure>>> = None;
    while call.ended.is_none() {
        call.proceed();
        if let Some(fetch) = call.fetch.take() {
            if let Some(old) = fetching.take() {
                old.abort();
            }
            fetching = Some(call.spawn_fetch(fetch));
        }
        if call.ended.is_some() {
            break;
        }
        let frame_at = call.began + FRAME * u32::try_from(call.frames).unwrap_or(u32::MAX);
        tokio::select! {
            () = tokio::time::sleep_until(frame_at) => call.frame(),
            event = sockets.recv() => if let Some((id, event)) = event { call.socket_event(id, event) },
            command = commands.recv(), if !commands.is_closed() || !commands.is_empty() => {
                if let Some(command) = command {
                    if matches!(command, Command::Redirect { .. } | Command::Twiml(_))
                        && let Some(old) = fetching.take()
                    {
                        old.abort();
                    }
                    call.command(command);
                }
            }
            fetched = async { match &mut fetching { Some(task) => task.await, None => std::future::pending().await } } => {
                fetching = None;
                match fetched {
                    Ok(result) => call.fetched(result),
                    Err(error) => tracing::debug!(%error, "document abandoned"),
                }
            }
        }
    }
    if let Some(old) = fetching {
        old.abort();
    }
    Ok(call.finish().await)
}

impl Call {
    /// Milliseconds since the call began.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.report.timeline.push(TimelineEntry { at_ms: self.now(), what: what.into() });
    }

    pub(super) fn violation(&mut self, code: u32, detail: impl Into<String>) {
        let violation = Violation { code, detail: detail.into(), at_ms: self.now() };
        tracing::debug!(call = self.call_sid, violation.code, violation.detail, "violation");
        self.report.violations.push(violation);
    }

    fn set_status(&self, status: &str) {
        self.status.send_replace(status.to_owned());
    }

    /// The fields every voice request has.
    fn standard_fields(&self, call_status: &str) -> Fields {
        let (from, to) = (self.cfg.from.as_str(), self.cfg.to.as_str());
        [
            ("CallSid", self.call_sid.as_str()),
            ("AccountSid", &self.cfg.account_sid),
            ("From", from),
            ("To", to),
            ("Caller", from),
            ("Called", to),
            ("CallStatus", call_status),
            ("ApiVersion", "2010-04-01"),
            ("Direction", self.direction),
            ("FromCity", ""),
            ("FromState", "CA"),
            ("FromCountry", "US"),
        ]
        .map(|(name, value)| field(name, value))
        .to_vec()
    }

    fn spawn_fetch(&mut self, fetch: Fetch) -> JoinHandle<Result<Reply, Failure>> {
        let ringing = !self.asked_once && !self.answered;
        self.asked_once = true;
        let mut fields = self.standard_fields(if ringing { "ringing" } else { "in-progress" });
        fields.extend(self.extra_fields.iter().cloned());
        fields.extend(fetch.fields);
        self.note(format!("{} {}", fetch.method, fetch.url));
        let webhooks = Arc::clone(&self.webhooks);
        tokio::spawn(async move { webhooks.send(&fetch.url, &fetch.method, &fields).await })
    }

    fn fetched(&mut self, result: Result<Reply, Failure>) {
        let (url, problem) = match result {
            Ok(reply) if reply.status.is_success() => {
                let document = parse(&reply.body, &reply.content_type);
                return self.load(&reply.url, &reply.body, document);
            }
            Ok(reply) => (reply.url, Failure { code: 11200, detail: format!("HTTP {}", reply.status.as_u16()) }),
            Err(failure) => (String::new(), failure),
        };
        self.document_failed(&url, problem);
    }

    fn load(&mut self, url: &str, body: &str, document: Result<Twiml, super::twiml::Problem>) {
        self.report.twiml_seen.push(body.to_owned());
        match document {
            Ok(twiml) => {
                for warning in twiml.warnings {
                    self.violation(warning.code, warning.detail);
                }
                if !matches!(twiml.verbs.first(), Some(Verb::Reject { .. })) {
                    self.set_status("in-progress");
                }
                self.engine.load(url, twiml.verbs);
                self.on_fallback = false;
                self.phase = Phase::Ready;
            }
            Err(problem) => {
                self.document_failed(url, Failure { code: problem.code, detail: problem.detail });
            }
        }
    }

    /// The number's fallback answers for a document that cannot be had; what it gives in turn is not asked for twice.
    fn document_failed(&mut self, url: &str, failure: Failure) {
        self.violation(failure.code, failure.detail);
        if self.on_fallback {
            return match self.cfg.fallback_twiml.clone() {
                Some(body) if !self.on_local => self.load_local(&body),
                _ => self.ended = Some(EndedBy::Error),
            };
        }
        self.on_fallback = true;
        match (self.cfg.fallback_url.clone(), self.cfg.fallback_twiml.clone()) {
            (Some(fallback), _) => {
                let fields = vec![field("ErrorCode", failure.code.to_string()), field("ErrorUrl", url)];
                self.fetch = Some(Fetch { url: fallback, method: "POST".to_owned(), fields });
                self.phase = Phase::Fetching;
            }
            (None, Some(body)) => self.load_local(&body),
            (None, None) => self.ended = Some(EndedBy::Error),
        }
    }

    /// Goes on with the document that is kept at the phone company itself.
    fn load_local(&mut self, body: &str) {
        self.on_local = true;
        let url = self.cfg.voice_url.clone();
        self.load(&url, body, parse_document(body));
    }

    fn command(&mut self, command: Command) {
        self.note(format!("rest {command:?}").chars().take(100).collect::<String>());
        match command {
            Command::HangUp => self.ended = Some(EndedBy::Rest),
            Command::Redirect { url, method } => {
                self.leave_stream();
                self.engine.redirect(&url, &method);
                self.phase = Phase::Ready;
            }
            Command::Twiml(body) => {
                self.leave_stream();
                let url = self.cfg.voice_url.clone();
                self.load(&url, &body, parse_document(&body));
            }
            Command::StartFork(spec) => self.open_stream(spec, true),
            Command::StopFork(name) => self.stop_fork(&name),
        }
    }

    /// 20 ms of the line.
    fn frame(&mut self) {
        let now = self.frames * FRAME.as_millis() as u64;
        self.frames += 1;
        let heard = self.playback.tick(now, FRAME_BYTES);
        // Words that are not over yet, and the moment in which the next ones are fetched.
        let words = matches!(self.phase, Phase::Playing | Phase::Gathering(_)) && self.playback.queued_ms() > 0;
        self.patient.being_told(words || matches!(self.phase, Phase::Fetching));
        let spoken = self.patient.tick(now, &heard);
        self.report.heard.extend_from_slice(&heard);
        if let Some(clip) = &spoken.began {
            self.report.spoke.push((now, clip.text.to_string()));
            self.note(format!("patient: {}", clip.text));
        }
        if let Some(digit) = spoken.digit {
            self.report.digits.push(digit);
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.live) {
            let mut messages = stream.writer.frame(&spoken.ulaw, &heard);
            if !stream.is_fork {
                self.report.heard_on_stream.extend_from_slice(&heard);
                messages.extend(spoken.digit.map(|digit| stream.writer.dtmf(digit)));
            }
            for text in messages {
                if call_streams::is_too_slow(&stream.socket, text) && stream.checker.report(31930) {
                    let detail = "the server reads too slowly, audio dropped".to_owned();
                    self.report.violations.push(Violation { code: 31930, detail, at_ms: now });
                }
            }
        }
        self.return_marks(now);
        self.advance_phase(now, &spoken);
        if spoken.hung_up {
            self.ended = Some(EndedBy::Caller);
        }
        if Duration::from_millis(now) >= self.cfg.time_limit {
            self.ended = Some(EndedBy::TimeLimit);
        }
    }

    fn advance_phase(&mut self, now: u64, spoken: &crate::patient::PatientFrame) {
        let playing = self.playback.queued_ms() > 0;
        let outcome = match &mut self.phase {
            Phase::Playing if !playing => Outcome::Done,
            Phase::Until(until) if now >= *until => Outcome::Done,
            Phase::Dialing { until } if now >= *until => {
                let (status, duration) = (self.cfg.dial_status.clone(), "2");
                let mut fields = vec![field("DialCallStatus", status.as_str())];
                if status == "completed" {
                    fields.push(field("DialCallDuration", duration));
                }
                Outcome::Fields(fields)
            }
            Phase::Recording { since, ear, timeout, max } => {
                ear.push(&spoken.ulaw);
                let length = Duration::from_millis(now.saturating_sub(*since));
                if Duration::from_millis(ear.silence_ms()) < *timeout && length < *max {
                    return;
                }
                let sid = format!("RE{}", self.rng.hex(32));
                let url =
                    format!("https://api.twilio.com/2010-04-01/Accounts/{}/Recordings/{sid}", self.cfg.account_sid);
                Outcome::Fields(vec![
                    field("RecordingUrl", url),
                    field("RecordingSid", sid),
                    field("RecordingDuration", length.as_secs().to_string()),
                ])
            }
            Phase::Gathering(gathering) => match gathering.frame(now, spoken, playing) {
                Some(outcome) => outcome,
                None => {
                    if gathering.stops_prompt() {
                        self.playback.reset();
                    }
                    return;
                }
            },
            _ => return,
        };
        self.playback.reset();
        self.engine.finished(outcome);
        self.phase = Phase::Ready;
    }

    /// Ends the streams and tells everybody who asked.
    async fn finish(mut self) -> CallReport {
        let ended_by = self.ended.clone().unwrap_or_default();
        self.note(format!("ended by {ended_by:?}"));
        let style = match ended_by {
            EndedBy::Caller => self.cfg.impairments.hang_up,
            _ => HangUpStyle::StopAndClose,
        };
        for stream in std::mem::take(&mut self.streams) {
            self.end_stream(stream, style);
        }
        self.report.unplayed_ms += self.playback.reset();
        self.report.ended_by = ended_by;
        self.report.duration_ms = self.now();
        self.set_status("completed");
        let mut fields = self.standard_fields("completed");
        let seconds = self.report.duration_ms.div_ceil(1_000);
        fields.extend([
            field("Timestamp", rfc2822()),
            field("CallbackSource", "call-progress-events"),
            field("SequenceNumber", self.cfg.status_sequence.to_string()),
            field("CallDuration", seconds.to_string()),
            field("Duration", seconds.div_ceil(60).to_string()),
        ]);
        self.callbacks.send(self.cfg.status_callback.as_deref(), fields);
        self.callbacks.finish().await;
        self.report
    }

    /// A stream status callback.
    pub(super) fn stream_callback(&self, stream_sid: &str, spec: &StreamSpec, event: &str, error: Option<&str>) {
        let name = if spec.name.is_empty() { stream_sid } else { &spec.name };
        let mut fields = vec![
            field("AccountSid", self.cfg.account_sid.as_str()),
            field("CallSid", self.call_sid.as_str()),
            field("StreamSid", stream_sid),
            field("StreamName", name),
            field("StreamEvent", event),
            field("Timestamp", iso8601()),
        ];
        fields.extend(error.map(|text| field("StreamError", text)));
        self.callbacks.send(spec.status_callback.as_deref(), fields);
    }
}

//! One task per call: it owns both sockets and the engine, and does what the engine says.
//!
//! Whatever wakes the task (a message, a timer, an answer) is given to the engine with the time; what comes out is
//! written to the sockets' outboxes or handed to the recorder, the analysis and the journal, none of which is ever
//! waited for while the call lives.

mod ending;

use crate::agent_link::AgentSocket;
use crate::analysis::Analysis;
use crate::app::App;
use crate::closing::{close_call, close_recording, unstarted};
use crate::fallback;
use crate::journal::Journal;
use crate::lag::Load;
use crate::limits;
use crate::link::{Link, Received, Wire};
use crate::media::PhoneSocket;
use crate::metrics;
use crate::outgoing;
use crate::paperwork;
use crate::recorder::Recorder;
use crate::registry::{Command, Inbox};
use crate::scripted::{Forks, PageRequest};
use crate::twilio_rest::spread;
use crate::visits;
use crate::voices::Voices;
use crate::webhook::paths;
use axum::extract::ws;
use call::agent::breaker::FailureClass;
use call::agent::{AgentClose, Chain, ConnectFailure, Member};
use call::engine::{Alert, AnalysisStep, Capture, Measure, Summary};
use call::twilio::CallSid;
use call::{Act, CallConfig, Encounter, Input, Output, Tick};
use clinic::fallback::Why;
use clinic::visit::Setup;
use clinic::{CallOutcome, Direction, PatientId, Segment, TimelineKind};
use std::future::Future;
use std::hash::{Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use store::CallHandle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

type PhoneLink = Link<ws::WebSocket, ws::Message>;
type AgentLink = Link<AgentSocket, tungstenite::Message>;
type Dial = Pin<Box<dyn Future<Output = Result<AgentSocket, ConnectFailure>> + Send>>;

/// Reason code of a service that was not even tried.
const SKIPPED: &str = "skipped";

/// What a new session starts with.
pub(crate) struct NewSession {
    pub(crate) sid: CallSid,
    pub(crate) handle: CallHandle,
    pub(crate) direction: Direction,
    pub(crate) chain: Chain,
    pub(crate) patient: PatientId,
    pub(crate) setup: Setup,
    pub(crate) inbox: Inbox,
    pub(crate) announced: Instant,
    /// False when no disk takes a recording: the call goes on without one.
    pub(crate) recorded: bool,
}

/// Runs a call to its end, records included. A panic inside is caught, and the call closed as one that was interrupted,
/// paperwork included.
pub(crate) async fn run(app: Arc<App>, new: NewSession) {
    let (sid, handle, direction) = (new.sid.clone(), new.handle.clone(), new.direction);
    let (id, patient) = (handle.id.clone(), new.patient.clone());
    let (journal, journalled) = Journal::start_heard(app.places(), handle.clone());
    let session = crate::tasks::spawn(Session::run(app.clone(), new, journal));
    let outcome = match session.await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::error!(call_id = %id, "the call's task panicked");
            app.registry.ended(&sid, false);
            let recording = crate::tasks::spawn(close_recording(app.recorder.clone(), id.clone(), Vec::new()));
            let _ = tokio::time::timeout(limits::RECORDING_WAIT, recording).await;
            app.analysis.forget_for_certain(&id).await;
            // What it had handed over is part of what is completed.
            let _ = tokio::time::timeout(limits::JOURNAL_WAIT, journalled).await;
            close_call(&app, &handle, unstarted(CallOutcome::Interrupted)).await;
            app.calls.spawn(paperwork::resume(app.clone()));
            Ended { outcome: CallOutcome::Interrupted, contact: false }
        }
    };
    let Ended { outcome, contact } = outcome;
    if direction == Direction::Outbound {
        outgoing::conversation_ended(&app, &sid, outcome).await;
    }
    app.registry.remove(&sid);
    if contact {
        fallback::contact_later(&app, id, patient, Why::Failed);
    }
    app.recordings_ended.notify_one();
    let direction = match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    metrics::call_ended(direction, outcome.as_str());
}

/// How a session ended.
struct Ended {
    outcome: CallOutcome,
    /// The patient has to be contacted.
    contact: bool,
}

enum Wake {
    Phone(Received<ws::Message>),
    Agent(Received<tungstenite::Message>),
    Attached(Option<Box<PhoneSocket>>),
    /// A stream that only listens.
    Forked(Box<PhoneSocket>),
    Page(PageRequest),
    Dialed(Result<Box<AgentSocket>, ConnectFailure>),
    Command(Command),
    TransferFailed,
    Segment(Segment),
    Due,
}

struct Session {
    app: Arc<App>,
    sid: CallSid,
    handle: CallHandle,
    encounter: Encounter,
    patient: PatientId,
    began: Instant,
    phone: Option<PhoneLink>,
    agent: Option<AgentLink>,
    dial: Option<Dial>,
    commands: mpsc::Receiver<Command>,
    attached: Option<oneshot::Receiver<PhoneSocket>>,
    pages: mpsc::Receiver<PageRequest>,
    forked: mpsc::Receiver<PhoneSocket>,
    forks: Forks,
    /// Tells that the nurse could not be reached.
    transfer: mpsc::Sender<()>,
    transfer_failures: mpsc::Receiver<()>,
    recording_erased: bool,
    segment_sender: mpsc::Sender<Segment>,
    segments: mpsc::Receiver<Segment>,
    voices: Voices,
    /// Frames that are in no recording, where there is none.
    unrecorded: Option<u64>,
    journal: Journal,
    batch: Batch,
    deadline: Instant,
    /// When both legs are asked for a sign of life again.
    ping_at: Instant,
    /// When Twilio, which has not asked for the next step of a call by then, is told it.
    redirect_at: Option<Instant>,
    phone_closing: bool,
    /// Set when a socket broke while the engine was being served; told to it in the next round.
    agent_stalled: bool,
    summary: Option<Summary>,
}

/// Audio on its way to the recorder and the analysis.
struct Batch {
    captures: Vec<Capture>,
    steps: Vec<AnalysisStep>,
    hand_over_at: Option<Instant>,
}

impl Session {
    async fn run(app: Arc<App>, new: NewSession, journal: Journal) -> Ended {
        let (transfer, transfer_failures) = mpsc::channel(limits::CALL_ANSWERS);
        let (segment_sender, segments) = mpsc::channel(limits::CALL_ANSWERS);
        let mut session = Self {
            encounter: Encounter::new(config_of(&app, &new.handle), new.chain, new.setup),
            patient: new.patient,
            journal,
            app,
            sid: new.sid,
            handle: new.handle,
            began: new.announced,
            phone: None,
            agent: None,
            dial: None,
            commands: new.inbox.commands,
            attached: Some(new.inbox.attached),
            pages: new.inbox.pages,
            forked: new.inbox.forks,
            forks: Forks::default(),
            transfer,
            transfer_failures,
            recording_erased: false,
            segment_sender,
            segments,
            voices: Voices::default(),
            unrecorded: (!new.recorded).then_some(0),
            batch: Batch { captures: Vec::new(), steps: Vec::new(), hand_over_at: None },
            deadline: new.announced,
            ping_at: new.announced + limits::PING_EVERY,
            redirect_at: None,
            phone_closing: false,
            agent_stalled: false,
            summary: None,
        };
        session.serve();
        while session.summary.is_none() {
            let wake = session.wait().await;
            session.take(wake);
        }
        Box::pin(session.finish()).await
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Wake {
        let due = self.batch.hand_over_at.map_or(self.deadline, |at| at.min(self.deadline)).min(self.ping_at);
        let due = self.redirect_at.map_or(due, |at| at.min(due));
        tokio::select! {
            received = next(&mut self.phone) => Wake::Phone(received),
            received = next(&mut self.agent) => Wake::Agent(received),
            Some(dialed) = maybe(&mut self.dial) => {
                self.dial = None;
                Wake::Dialed(dialed.map(Box::new))
            }
            Some(socket) = maybe(&mut self.attached) => {
                self.attached = None;
                Wake::Attached(socket.ok().map(Box::new))
            }
            Some(socket) = self.forked.recv() => Wake::Forked(Box::new(socket)),
            Some(request) = self.pages.recv() => Wake::Page(request),
            Some(command) = self.commands.recv() => Wake::Command(command),
            Some(()) = self.transfer_failures.recv() => Wake::TransferFailed,
            Some(segment) = self.segments.recv() => Wake::Segment(segment),
            () = tokio::time::sleep_until(due) => Wake::Due,
        }
    }

    fn tick(&self) -> Tick {
        Tick::from_us(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, wake: Wake) {
        let read_at = Instant::now();
        let now = self.tick();
        match wake {
            Wake::Phone(Received::Text(message)) => {
                self.encounter.handle(now, Input::PhoneText(message.text()));
                self.serve();
                metrics::added_latency("to_agent", read_at.elapsed());
                return;
            }
            Wake::Agent(Received::Text(message)) => {
                self.encounter.handle(now, Input::AgentText(message.text()));
                self.serve();
                metrics::added_latency("to_caller", read_at.elapsed());
                return;
            }
            Wake::Phone(Received::Pong(sent_us)) => self.round_trip(now, false, sent_us),
            Wake::Agent(Received::Pong(sent_us)) => self.round_trip(now, true, sent_us),
            Wake::Phone(Received::Binary) => self.encounter.handle(now, Input::PhoneBinary),
            Wake::Phone(Received::Closed(_)) => {
                if self.encounter.is_scripted() {
                    // Another one may come.
                    self.phone = None;
                }
                self.encounter.handle(now, Input::PhoneClosed);
            }
            Wake::Agent(Received::Binary) => self.encounter.handle(now, Input::AgentBinary),
            Wake::Agent(Received::Closed(frame)) => {
                let close = frame.map_or(AgentClose::NoFrame, |(code, reason)| AgentClose::Frame { code, reason });
                if let Some(link) = self.agent.take() {
                    crate::tasks::spawn(link.close(1000, ""));
                }
                self.encounter.handle(now, Input::AgentClosed(close));
            }
            Wake::Dialed(Ok(socket)) => {
                self.agent = Some(Link::new(*socket, limits::AGENT_OUTBOX));
                self.encounter.handle(now, Input::AgentOpen);
            }
            Wake::Dialed(Err(failure)) => {
                self.encounter.handle(now, Input::AgentConnectFailed(failure));
            }
            Wake::Attached(Some(socket)) if self.encounter.is_scripted() => {
                // Nobody will speak on it: while it lasts, Twilio obeys no page.
                let link: PhoneLink = Link::new(*socket.socket, limits::PHONE_OUTBOX);
                crate::tasks::spawn(link.close(1000, ""));
                self.redirect_at = Some(Instant::now() + limits::NEXT_STEP_WAIT);
            }
            Wake::Attached(Some(socket)) | Wake::Forked(socket) => {
                metrics::setup("stream", self.began.elapsed());
                let PhoneSocket { socket, start } = *socket;
                self.phone = Some(Link::new(*socket, limits::PHONE_OUTBOX));
                self.encounter.handle(now, Input::PhoneText(&start));
            }
            Wake::Attached(None) => {}
            Wake::Page(request) => {
                if request.is_first() && !self.encounter.is_scripted() {
                    // Whatever our socket says, Twilio is done with the stream.
                    self.encounter.handle(now, Input::StreamGone);
                    self.serve();
                }
                self.redirect_at = None;
                request.serve(&mut self.encounter, now, &mut self.forks, self.phone.is_some());
            }
            Wake::Command(Command::StreamStopped) => self.encounter.handle(now, Input::StreamStopped),
            Wake::Command(Command::StreamFailed) => self.encounter.handle(now, Input::StreamFailed),
            Wake::Command(Command::CallEnded) => self.encounter.handle(now, Input::CallEnded),
            Wake::Command(Command::HangUp) => self.encounter.handle(now, Input::HangUp),
            Wake::Command(Command::Voicemail) => {
                self.encounter.answering_machine(now);
                if !self.encounter.is_over() {
                    self.app.registry.person_answered(&self.sid);
                }
            }
            Wake::TransferFailed => {
                self.encounter.handle(now, Input::HandedOver(false));
                self.encounter.transfer_failed(now);
            }
            Wake::Segment(segment) => {
                self.voices.done(&segment);
                self.encounter.segment(now, &segment);
                self.journal.segment(segment);
            }
            Wake::Due => {
                self.ping(now);
                self.redirect();
                self.encounter.handle(now, Input::Timeout);
            }
        }
        self.serve();
    }

    /// Measures the round trips of both legs.
    fn ping(&mut self, now: Tick) {
        if Instant::now() < self.ping_at {
            return;
        }
        self.ping_at = Instant::now() + limits::PING_EVERY;
        if let Some(link) = self.phone.as_mut().filter(|_| !self.encounter.is_scripted()) {
            link.ping(now.as_us());
        }
        if let Some(link) = &mut self.agent {
            link.ping(now.as_us());
        }
    }

    /// Tells Twilio to go on with the script, when it has not asked what comes next. One way at a time: an answer to the
    /// question and an order of ours would run two documents against each other.
    fn redirect(&mut self) {
        if self.redirect_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.redirect_at = None;
        let (app, sid, id) = (self.app.clone(), self.sid.clone(), self.handle.id.clone());
        crate::tasks::spawn(async move {
            let url = app.settings.public_url(paths::SCRIPT);
            for (attempt, wait) in (0..).zip(limits::REDIRECT_RETRIES) {
                tokio::time::sleep(spread(wait, sid.as_str(), attempt)).await;
                match app.twilio.post(&format!("/Calls/{}.json", sid.as_str()), &[("Url", &url)]).await {
                    Ok(_) => return,
                    Err(error) => tracing::warn!(call_id = %id, %error, "the call could not be sent to the script"),
                }
            }
            tracing::error!(call_id = %id, "the call could not be sent to the script: Twilio does not take the order");
        });
    }

    fn round_trip(&mut self, now: Tick, of_agent: bool, sent_us: u64) {
        let us = now.as_us().saturating_sub(sent_us);
        metrics::round_trip(if of_agent { "agent" } else { "phone" }, us);
        self.encounter.handle(now, Input::RoundTrip { of_agent, us });
    }

    /// Does everything the engine wants done, then writes to both sockets what they take.
    fn serve(&mut self) {
        loop {
            match self.encounter.poll_output() {
                Act::Call(Output::Timeout(tick)) => {
                    self.deadline = self.began + std::time::Duration::from_micros(tick.as_us().min(1 << 45));
                    break;
                }
                Act::Call(output) => self.obey(output),
                Act::RedFlag(flag) => visits::red_flag(&self.app, &self.handle.id, &self.patient, &flag),
                Act::Transfer { .. } => self.transfer(),
                Act::ConsentGiven => visits::consent_given(&self.app, &self.patient),
                Act::EraseRecording => self.erase_recording(),
            }
        }
        flush(&mut self.phone);
        flush(&mut self.agent);
        if std::mem::take(&mut self.agent_stalled) {
            let now = self.tick();
            self.encounter.handle(now, Input::AgentClosed(AgentClose::NoFrame));
            self.serve();
        }
        self.hand_over();
    }

    fn obey(&mut self, output: Output) {
        match output {
            // A stream that only listens takes no word from us.
            Output::ToPhone(_) if self.encounter.is_scripted() => {}
            Output::ToPhone(text) => {
                if let Some(link) = &mut self.phone
                    && link.send(text).is_err()
                {
                    tracing::warn!(call_id = %self.handle.id, "the phone does not read any more");
                    metrics::dropped("phone_stalled", 1);
                    self.phone = None;
                    let now = self.tick();
                    self.encounter.handle(now, Input::PhoneClosed);
                }
            }
            Output::ToAgent(text) => {
                if let Some(link) = &mut self.agent
                    && link.send(text).is_err()
                {
                    tracing::warn!(call_id = %self.handle.id, "the agent does not read any more");
                    metrics::dropped("agent_stalled", 1);
                    self.agent = None;
                    self.agent_stalled = true;
                }
            }
            Output::Capture(capture) => match &mut self.unrecorded {
                Some(frames) => *frames += 1,
                None => self.batch.captures.push(capture),
            },
            Output::Analyze(step) => {
                let begins = matches!(step, AnalysisStep::Open { .. });
                if begins && self.unrecorded.is_none() && self.app.lag.load() >= Load::Shedding {
                    self.analyse_later("lag");
                }
                self.batch.steps.extend(self.voices.note(step));
            }
            Output::Record(event) => {
                self.note_failure(&event.kind);
                if let TimelineKind::AudioQuality(quality) = &event.kind {
                    metrics::audio_quality(quality);
                }
                self.journal.event(event);
            }
            Output::Measure(Measure::AgentSpoke) => self.app.agents.succeeded(self.encounter.member()),
            Output::Measure(measure) => metrics::measure(measure),
            Output::ConnectAgent { member, attempt, not_before } => {
                let not_before = self.began + std::time::Duration::from_micros(not_before.as_us());
                tracing::debug!(call_id = %self.handle.id, service = member.as_str(), attempt, "reaching the agent");
                self.dial = Some(Box::pin(dial(self.app.clone(), member, not_before)));
            }
            Output::ToScript => {
                tracing::warn!(call_id = %self.handle.id, "no agent can carry the call on: the script does");
                if let Some(link) = self.phone.take() {
                    crate::tasks::spawn(link.close(1000, ""));
                    self.redirect_at = Some(Instant::now() + limits::NEXT_STEP_WAIT);
                }
            }
            Output::CloseAgent => {
                self.dial = None;
                if let Some(link) = self.agent.take() {
                    crate::tasks::spawn(link.close(1000, "call ended"));
                }
            }
            Output::ClosePhone => self.phone_closing = true,
            Output::Alert(Alert::AgentConfiguration { service, reason }) => {
                tracing::error!(call_id = %self.handle.id, service, reason,
                    "no call can use the agent until this is mended: check its identifier, key, audio formats, overrides and variables");
                if let Some(member) = Member::parse(service) {
                    self.app.agents.failed(member, FailureClass::Configuration);
                }
                visits::agent_configuration(&self.app, &self.handle.id);
            }
            Output::Done(summary) => self.summary = Some(summary),
            // The encounter answers these itself.
            Output::RunTool { .. } | Output::Keys(_) | Output::SystemTool(_) | Output::Timeout(_) => {}
        }
    }

    /// What a failed conversation says about its service is of use to all calls.
    fn note_failure(&self, kind: &TimelineKind) {
        if let TimelineKind::AgentFailed { service, reason, action } = kind {
            tracing::warn!(call_id = %self.handle.id, service, reason, action, "the agent failed");
            metrics::agent_failure(reason, action);
            if let Some(member) = Member::parse(service).filter(|_| reason != SKIPPED) {
                self.app.agents.failed(member, FailureClass::Passing);
            }
        }
    }

    /// Has the phone company connect the caller with the nurse; the media stream then ends by itself.
    fn transfer(&mut self) {
        let now = self.tick();
        self.encounter.handle(now, Input::HandedOver(true));
        let (app, sid, failed) = (self.app.clone(), self.sid.clone(), self.transfer.clone());
        let language = self.encounter.language().to_owned();
        // Also while the server stops: the caller is not with us any more, and not with the nurse yet.
        self.app.calls.spawn(async move {
            if visits::connect_nurse(&app, &sid, &language).await {
                visits::await_nurse(&app, &sid);
            } else {
                let _ = failed.send(()).await;
            }
        });
    }

    /// The patient does not want to be recorded: what there is goes, and nothing more comes.
    fn erase_recording(&mut self) {
        self.recording_erased = true;
        self.batch.captures.clear();
        // The voice was not to be measured either.
        self.batch.steps.clear();
        self.app.analysis.forget(&self.handle.id);
        self.voices.forget();
        let (app, id) = (self.app.clone(), self.handle.id.clone());
        self.app.calls.spawn(async move { visits::erase_recording(&app, &id).await });
    }

    /// Hands audio over when it is time to, or when there is much of it.
    fn hand_over(&mut self) {
        self.journal.push();
        let batch = &mut self.batch;
        if batch.captures.is_empty() && batch.steps.is_empty() {
            batch.hand_over_at = None;
            return;
        }
        let now = Instant::now();
        if now < *batch.hand_over_at.get_or_insert(now + limits::AUDIO_BATCH) {
            return;
        }
        batch.hand_over_at = Some(now + limits::AUDIO_BATCH);
        offer(batch, &self.app.recorder, &self.app.analysis, &self.handle, &self.segment_sender);
        if batch.captures.len() > limits::AUDIO_BACKLOG {
            let excess = batch.captures.len() - limits::AUDIO_BACKLOG;
            batch.captures.drain(..excess);
            metrics::dropped("recorder_full", excess as u64);
        }
        if batch.steps.len() > limits::AUDIO_BACKLOG {
            // Nothing may be measured of sound with pieces missing.
            self.analyse_later("queue_full");
        }
    }

    /// Gives the live analysis of this call up: it is done after the call, from the recording.
    fn analyse_later(&mut self, why: &'static str) {
        if self.voices.give_up() {
            tracing::info!(call_id = %self.handle.id, why, "the voice is analysed after the call");
            metrics::analysis_shed(why);
            self.batch.steps.clear();
            self.app.analysis.forget(&self.handle.id);
        }
    }
}

fn offer(
    batch: &mut Batch,
    recorder: &Recorder,
    analysis: &Analysis,
    handle: &CallHandle,
    finished: &mpsc::Sender<Segment>,
) {
    let captures = std::mem::take(&mut batch.captures);
    if !captures.is_empty() {
        batch.captures = recorder.frames(&handle.id, captures).err().unwrap_or_default();
    }
    let steps = std::mem::take(&mut batch.steps);
    if !steps.is_empty() {
        batch.steps = analysis.steps(&handle.id, steps, finished).err().unwrap_or_default();
    }
}

async fn dial(app: Arc<App>, member: Member, not_before: Instant) -> Result<AgentSocket, ConnectFailure> {
    tokio::time::sleep_until(not_before).await;
    app.agents.dial(member, app.agents.has_no_backup()).await
}

/// The limits of a call, with what makes its attempts fall elsewhere than those of other calls.
fn config_of(app: &App, call: &CallHandle) -> CallConfig {
    let mut hasher = std::hash::DefaultHasher::new();
    call.id.as_str().hash(&mut hasher);
    CallConfig { jitter_seed: hasher.finish() | 1, ..app.settings.call.clone() }
}

/// The next thing a socket yields; never, when there is no socket.
async fn next<S, M, E>(link: &mut Option<Link<S, M>>) -> Received<M>
where
    S: futures_util::Stream<Item = Result<M, E>> + futures_util::Sink<M, Error = E> + Unpin,
    M: Wire,
{
    std::future::poll_fn(|cx| match link {
        Some(link) => link.poll(cx),
        None => Poll::Pending,
    })
    .await
}

/// The result of a future that may be absent; `None` never comes out.
async fn maybe<F: Future + Unpin>(future: &mut Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

/// Writes what the socket takes right now; the rest goes out when the socket is polled next.
fn flush<S, M, E>(link: &mut Option<Link<S, M>>)
where
    S: futures_util::Stream<Item = Result<M, E>> + futures_util::Sink<M, Error = E> + Unpin,
    M: Wire,
{
    if let Some(link) = link {
        link.flush_now();
    }
}

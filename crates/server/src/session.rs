//! One task per call: it owns both sockets and the engine, and does what the engine says.
//!
//! Whatever wakes the task (a message, a timer, an answer) is given to the engine with the time; what comes out is
//! written to the sockets' outboxes or handed to the recorder, the analysis and the journal, none of which is ever
//! waited for while the call lives.

use crate::agent_link::{AgentDialer, AgentSocket};
use crate::analysis::Analysis;
use crate::app::App;
use crate::closing::{Results, close_call, close_recording, unstarted};
use crate::journal::Journal;
use crate::limits;
use crate::link::{Link, Received, Wire};
use crate::media::PhoneSocket;
use crate::metrics;
use crate::outgoing;
use crate::recorder::Recorder;
use crate::registry::{Command, Inbox};
use crate::visits;
use axum::extract::ws;
use call::agent::{AgentClose, AgentLeg, ConnectFailure};
use call::engine::{Alert, AnalysisStep, Capture, Summary};
use call::twilio::CallSid;
use call::{Act, Encounter, Input, Output, Tick};
use clinic::visit::Setup;
use clinic::{CallOutcome, Direction, EndCause, PatientId, Segment};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use store::{CallHandle, FinishCall};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

type PhoneLink = Link<ws::WebSocket, ws::Message>;
type AgentLink = Link<AgentSocket, tungstenite::Message>;
type Dial = Pin<Box<dyn Future<Output = Result<AgentSocket, ConnectFailure>> + Send>>;

/// What a new session starts with.
pub(crate) struct NewSession {
    pub(crate) sid: CallSid,
    pub(crate) handle: CallHandle,
    pub(crate) direction: Direction,
    pub(crate) leg: AgentLeg,
    pub(crate) patient: PatientId,
    pub(crate) setup: Setup,
    pub(crate) inbox: Inbox,
    pub(crate) announced: Instant,
}

/// Runs a call to its end, records included. A panic inside is caught, and the call closed as failed.
pub(crate) async fn run(app: Arc<App>, new: NewSession) {
    let (sid, id, direction) = (new.sid.clone(), new.handle.id.clone(), new.direction);
    let session = crate::tasks::spawn(Session::run(app.clone(), new));
    let outcome = match session.await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::error!(call_id = %id, "the call's task panicked");
            app.registry.ended(&sid, false);
            app.analysis.forget(&id);
            let recording = crate::tasks::spawn(close_recording(app.recorder.clone(), id.clone(), Vec::new()));
            let _ = tokio::time::timeout(limits::RECORDING_WAIT, recording).await;
            close_call(&app, &id, unstarted(CallOutcome::Failed)).await;
            CallOutcome::Failed
        }
    };
    if direction == Direction::Outbound {
        outgoing::conversation_ended(&app, &sid, outcome).await;
    }
    app.registry.remove(&sid);
    app.recordings_ended.notify_one();
    let direction = match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    metrics::call_ended(direction, outcome.as_str());
}

enum Wake {
    Phone(Received<ws::Message>),
    Agent(Received<tungstenite::Message>),
    Attached(Option<Box<PhoneSocket>>),
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
    /// Tells that the nurse could not be reached.
    transfer: mpsc::Sender<()>,
    transfer_failures: mpsc::Receiver<()>,
    recording_erased: bool,
    segment_sender: mpsc::Sender<Segment>,
    segments: mpsc::Receiver<Segment>,
    segments_due: usize,
    journal: Journal,
    batch: Batch,
    deadline: Instant,
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
    async fn run(app: Arc<App>, new: NewSession) -> CallOutcome {
        let (transfer, transfer_failures) = mpsc::channel(limits::CALL_ANSWERS);
        let (segment_sender, segments) = mpsc::channel(limits::CALL_ANSWERS);
        let mut session = Self {
            encounter: Encounter::new(app.settings.call.clone(), new.leg, new.setup),
            patient: new.patient,
            journal: Journal::start(app.store.clone(), new.handle.clone()),
            app,
            sid: new.sid,
            handle: new.handle,
            began: new.announced,
            phone: None,
            agent: None,
            dial: None,
            commands: new.inbox.commands,
            attached: Some(new.inbox.attached),
            transfer,
            transfer_failures,
            recording_erased: false,
            segment_sender,
            segments,
            segments_due: 0,
            batch: Batch { captures: Vec::new(), steps: Vec::new(), hand_over_at: None },
            deadline: new.announced,
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
        let due = self.batch.hand_over_at.map_or(self.deadline, |at| at.min(self.deadline));
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
            Wake::Phone(Received::Binary) => self.encounter.handle(now, Input::PhoneBinary),
            Wake::Phone(Received::Closed(_)) => self.encounter.handle(now, Input::PhoneClosed),
            Wake::Agent(Received::Binary) => self.encounter.handle(now, Input::AgentBinary),
            Wake::Agent(Received::Closed(frame)) => {
                let close = frame.map_or(AgentClose::NoFrame, |(code, reason)| AgentClose::Frame { code, reason });
                if let Some(link) = self.agent.take() {
                    crate::tasks::spawn(link.close(1000, ""));
                }
                self.encounter.handle(now, Input::AgentClosed(close));
            }
            Wake::Dialed(Ok(socket)) => {
                metrics::agent_connection("elevenlabs", "connected");
                self.agent = Some(Link::new(*socket, limits::AGENT_OUTBOX));
                self.encounter.handle(now, Input::AgentOpen);
            }
            Wake::Dialed(Err(failure)) => {
                metrics::agent_connection("elevenlabs", "failed");
                self.encounter.handle(now, Input::AgentConnectFailed(failure));
            }
            Wake::Attached(Some(socket)) => {
                metrics::setup("stream", self.began.elapsed());
                let PhoneSocket { socket, start } = *socket;
                self.phone = Some(Link::new(*socket, limits::PHONE_OUTBOX));
                self.encounter.handle(now, Input::PhoneText(&start));
            }
            Wake::Attached(None) => {}
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
                self.segments_due = self.segments_due.saturating_sub(1);
                self.encounter.segment(now, &segment);
                self.journal.segment(segment);
            }
            Wake::Due => self.encounter.handle(now, Input::Timeout),
        }
        self.serve();
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
            Output::Capture(capture) => self.batch.captures.push(capture),
            Output::Analyze(step) => {
                self.segments_due += usize::from(matches!(step, AnalysisStep::Open { .. }));
                self.batch.steps.push(step);
            }
            Output::Record(event) => self.journal.event(event),
            Output::Measure(measure) => metrics::measure(measure),
            Output::ConnectAgent { attempt, not_before } => {
                let (dialer, began) = (self.app.dialer.clone(), self.began);
                tracing::debug!(call_id = %self.handle.id, attempt, "reaching the agent");
                self.dial = Some(Box::pin(dial(dialer, began + std::time::Duration::from_micros(not_before.as_us()))));
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
                visits::agent_configuration(&self.app, &self.handle.id);
            }
            Output::Done(summary) => self.summary = Some(summary),
            // The encounter answers these itself.
            Output::RunTool { .. } | Output::Keys(_) | Output::SystemTool(_) | Output::Timeout(_) => {}
        }
    }

    /// Has the phone company connect the caller with the nurse; the media stream then ends by itself.
    fn transfer(&mut self) {
        let now = self.tick();
        self.encounter.handle(now, Input::HandedOver(true));
        let (app, sid, failed) = (self.app.clone(), self.sid.clone(), self.transfer.clone());
        let language = self.encounter.language().to_owned();
        crate::tasks::spawn(async move {
            if !visits::connect_nurse(&app, &sid, &language).await {
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
        self.segments_due = 0;
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
            // Only audio is dropped; the steps that open and close segments stay.
            let before = batch.steps.len();
            batch.steps.retain(|step| !matches!(step, AnalysisStep::Push { .. } | AnalysisStep::Gap { .. }));
            metrics::dropped("analysis_full", (before - batch.steps.len()) as u64);
        }
    }

    /// Everything after the last word: sockets, recording, analysis, records.
    async fn finish(mut self) -> CallOutcome {
        let Some(summary) = self.summary.take() else { return CallOutcome::Failed };
        // Before the socket closes, because Twilio asks at once what to do next.
        self.app.registry.ended(&self.sid, summary.cause == EndCause::AgentFinished);
        if let Some(link) = self.phone.take() {
            crate::tasks::spawn(link.close(1000, ""));
        }
        self.turn_away();
        let id = self.handle.id.clone();
        let complete = self.store_rest(&summary).await;
        tracing::info!(
            call_id = %id,
            outcome = summary.outcome.as_str(),
            cause = ?summary.cause,
            duration_ms = summary.duration_us / 1_000,
            turns = summary.turns,
            interruptions = summary.interruptions,
            frames = summary.frames_in,
            to_agent_dropped_ms = summary.to_agent_dropped_ms,
            complete,
            "call ended"
        );
        summary.outcome
    }

    /// A stream that comes now is too late: its caller must be told what comes next, not kept waiting in silence.
    fn turn_away(&mut self) {
        if let Some(mut attached) = self.attached.take() {
            attached.close();
            if let Ok(PhoneSocket { socket, .. }) = attached.try_recv() {
                let link: PhoneLink = Link::new(*socket, limits::PHONE_OUTBOX);
                crate::tasks::spawn(link.close(1000, ""));
            }
        }
    }

    /// True when all of the call is in the store. Every part has a time of its own, because none of them may keep the
    /// call from being closed: one that looks as if it still went on would hide from everybody who has to read it.
    async fn store_rest(mut self, summary: &Summary) -> bool {
        let Batch { captures, steps, .. } = self.batch;
        let recording =
            crate::tasks::spawn(close_recording(self.app.recorder.clone(), self.handle.id.clone(), captures));
        // With the last steps goes our own way of sending segments, so that a dead analysis ends the waiting.
        let (analysis, call) = (self.app.analysis.clone(), self.handle.id.clone());
        crate::tasks::spawn(async move { analysis.last_steps(&call, steps, self.segment_sender).await });
        let mut results = Results { segments: self.segments, due: self.segments_due };
        let _ = tokio::time::timeout(limits::ANALYSIS_WAIT, results.collect(&mut self.journal)).await;
        let mut journal = self.app.calls.spawn(self.journal.finish());
        let journalled = tokio::time::timeout(limits::JOURNAL_WAIT, &mut journal).await;
        let late_journal = journalled.is_err().then_some(journal);
        let recorded = tokio::time::timeout(limits::RECORDING_WAIT, recording).await;
        // Before the call is closed, as long as the store answers: whoever sees it closed finds its assessment. While it
        // does not, this goes on in the background, where a shutdown waits for it.
        let record = self.encounter.record();
        let mut concluding = {
            let (app, call, patient) = (self.app.clone(), self.handle.clone(), self.patient.clone());
            let (record, outcome) = (record.clone(), summary.outcome);
            self.app.calls.spawn(async move {
                let concluded = visits::conclude(&app, &call, &patient, &record, outcome).await;
                let Some(journal) = late_journal else { return concluded };
                let _ = journal.await;
                // What came late changes what is known.
                visits::conclude(&app, &call, &patient, &record, outcome).await
            })
        };
        let concluded = tokio::time::timeout(limits::ASSESSMENT_WAIT, &mut concluding).await;
        let unconcluded = concluded.is_err().then_some(concluding);
        let end = FinishCall {
            outcome: summary.outcome,
            end_cause: Some(summary.cause),
            ended_at_us: crate::clock::unix_us(),
            agents: summary.agents.clone(),
            turns: summary.turns,
            interruptions: summary.interruptions,
        };
        let closed = close_call(&self.app, &self.handle.id, end).await;
        let analysed = results.due == 0;
        if analysed {
            self.app.analysis.forget(&self.handle.id);
        } else {
            let (app, outcome) = (self.app.clone(), summary.outcome);
            self.app.calls.spawn(async move {
                results.collect_late(&app, self.handle.clone()).await;
                if let Some(concluding) = unconcluded {
                    let _ = concluding.await;
                }
                // What came late changes what is known.
                visits::conclude(&app, &self.handle, &self.patient, &record, outcome).await;
            });
        }
        let recorded = if self.recording_erased { Ok(Ok(true)) } else { recorded };
        let all_well = matches!((journalled, recorded, concluded), (Ok(Ok(true)), Ok(Ok(true)), Ok(Ok(true))));
        closed && analysed && all_well
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

async fn dial(dialer: AgentDialer, not_before: Instant) -> Result<AgentSocket, ConnectFailure> {
    tokio::time::sleep_until(not_before).await;
    dialer.connect().await
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

//! A call together with its visit: the phone call carries words and sounds, the visit knows what they mean.
//!
//! [`Call`] knows nothing of medicine, and [`Visit`] nothing of sockets. An [`Encounter`] hands what the one learns to
//! the other: transcripts, tool requests, keys and results of the analysis to the visit; its answers, contextual updates
//! and voice windows back to the call. It has the contract of the call: one `handle`, then `poll_output` until
//! [`Output::Timeout`].

mod script;

use crate::agent::{Chain, Member};
use crate::engine::{AnalysisStep, STREAM_LOST, Tell};
use crate::script::Script;
use crate::{Call, CallConfig, Input, Output, Tick};
use clinic::alerts::Severity;
use clinic::red_flags::RedFlag;
use clinic::tools::{Effect, ToolOutcome};
use clinic::visit::{Setup, Visit, VisitInput, VisitOutput, VisitRecord};
use clinic::{Degradation, DegradationKind, Segment, TimelineEvent, TimelineKind};
use std::collections::VecDeque;

/// What gave way is noted so often, at most.
const DEGRADATIONS_MAX: usize = 16;

/// Something an encounter wants done, beside what its call wants.
#[derive(Debug)]
pub enum Act {
    /// What the call wants.
    Call(Output),
    /// Tell the staff at once.
    RedFlag(RedFlag),
    /// Connect the caller with the nurse.
    Transfer {
        /// Why. PHI.
        reason: String,
    },
    /// The patient agreed to recording: need not be asked again.
    ConsentGiven,
    /// The patient refused to be recorded: what there is has to go.
    EraseRecording,
}

/// A call and its visit.
#[derive(Debug)]
pub struct Encounter {
    call: Call,
    visit: Visit,
    /// Plays the agent's part where there is none.
    script: Script,
    acts: VecDeque<Act>,
    degradations: Vec<Degradation>,
    /// The next window that the call opens is one the visit asked for.
    opening: bool,
    /// The next window that the call closes is one the visit closed.
    closing: bool,
    /// The patient has changed the language.
    language_changed: bool,
    deadline: Tick,
    now: Tick,
}

impl Encounter {
    /// An encounter whose call was just announced.
    #[must_use]
    pub fn new(config: CallConfig, chain: impl Into<Chain>, setup: Setup) -> Self {
        let config = CallConfig { resumes: true, ..config };
        let mut call = Call::new(config, chain);
        call.speak(&setup.language);
        let mut encounter = Self {
            call,
            visit: Visit::new(setup),
            script: Script::new(),
            acts: VecDeque::new(),
            degradations: Vec::new(),
            opening: false,
            closing: false,
            language_changed: false,
            deadline: Tick::FAR,
            now: Tick::ZERO,
        };
        encounter.exchange();
        encounter
    }

    /// Takes in one thing that happened to the call.
    pub fn handle(&mut self, now: Tick, input: Input<'_>) {
        self.now = self.now.max(now);
        self.call.set_unfinished(self.visit.is_unfinished());
        if matches!(input, Input::AgentOpen) {
            // Since it was called, a task may have turned out well, or keys may have been pressed.
            self.prepare_agent();
        }
        self.call.handle(self.now, input);
        self.visit_due();
        self.exchange();
    }

    /// The analysis of a segment is done.
    pub fn segment(&mut self, now: Tick, segment: &Segment) {
        self.now = self.now.max(now);
        let (usable, reasons) = verdict(segment);
        let input = VisitInput::TaskResult { segment: segment.index, usable, reasons: &reasons };
        self.visit.handle(self.now.as_ms(), input);
        self.exchange();
    }

    /// The phone company found a machine on the line. It is sometimes wrong, and then the call goes on.
    pub fn answering_machine(&mut self, now: Tick) {
        self.now = self.now.max(now);
        self.visit.handle(self.now.as_ms(), VisitInput::AnsweringMachine);
        if self.visit.is_machine() {
            self.call.handle(self.now, Input::MachineAnswered);
        }
        self.exchange();
    }

    /// The nurse could not be reached; the call goes on.
    pub fn transfer_failed(&mut self, now: Tick) {
        self.now = self.now.max(now);
        self.visit.handle(self.now.as_ms(), VisitInput::TransferFailed);
        self.exchange();
    }

    /// The next thing to do; the call's [`Output::Timeout`] when there is nothing more before that moment.
    pub fn poll_output(&mut self) -> Act {
        self.acts.pop_front().unwrap_or(Act::Call(Output::Timeout(self.deadline)))
    }

    /// The member of the chain that carries the call, or is being called.
    #[must_use]
    pub fn member(&self) -> Member {
        self.call.member()
    }

    /// True once the script carries the call.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        self.call.is_scripted()
    }

    /// True once the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.call.is_over()
    }

    /// The language that is spoken now.
    #[must_use]
    pub fn language(&self) -> &str {
        self.visit.language()
    }

    /// What is known of the visit.
    #[must_use]
    pub fn record(&self) -> VisitRecord {
        let mut record = self.visit.record();
        record.degradations.clone_from(&self.degradations);
        record
    }

    /// Where the visit stands, for the agent that is being called.
    fn prepare_agent(&mut self) {
        if self.language_changed {
            self.call.set_language(self.visit.language());
        }
        if !self.call.open_with(self.visit.opening()) {
            self.visit.opening_refused();
        }
    }

    fn visit_due(&mut self) {
        let now_ms = self.now.as_ms();
        if self.visit.deadline().is_some_and(|due| due <= now_ms) {
            self.visit.handle(now_ms, VisitInput::Timeout);
        }
    }

    /// Lets call and visit talk until neither has anything to say.
    fn exchange(&mut self) {
        loop {
            match self.call.poll_output() {
                Output::Timeout(deadline) => {
                    let visit =
                        self.visit.deadline().map_or(Tick::FAR, |due| Tick::from_ms(due).max(self.now.plus_ms(1)));
                    self.deadline = deadline.min(visit);
                    match self.visit.poll() {
                        Some(output) => self.obey(output),
                        None => return,
                    }
                }
                output => self.pass_on(output),
            }
        }
    }

    /// Does what the visit wants.
    fn obey(&mut self, output: VisitOutput) {
        let now = self.now;
        match output {
            VisitOutput::ToolResult { id, result, is_error } => {
                let outcome = ToolOutcome { result, is_error, effect: None };
                self.call.handle(now, Input::ToolDone { id: &id, outcome });
            }
            VisitOutput::Context { id, text } => {
                self.call.handle(now, Input::Tell(Tell::Context { id, text: &text }));
            }
            VisitOutput::Prompt(text) => self.call.handle(now, Input::Tell(Tell::Caller(&text))),
            VisitOutput::OpenWindow(task) => {
                (self.opening, self.closing) = (true, false);
                self.call.handle(now, Input::Task(Effect::StartTask(task)));
            }
            VisitOutput::CloseWindow => {
                self.closing = true;
                self.call.handle(now, Input::Task(Effect::EndTask));
            }
            VisitOutput::Record(kind) => self.record_event(kind),
            VisitOutput::RedFlag(flag) => self.acts.push_back(Act::RedFlag(flag)),
            VisitOutput::Transfer { reason } => self.acts.push_back(Act::Transfer { reason }),
            VisitOutput::ConsentGiven => self.acts.push_back(Act::ConsentGiven),
            VisitOutput::EraseRecording => {
                self.call.handle(now, Input::StopRecording);
                self.record_event(TimelineKind::RecordingErased);
                self.acts.push_back(Act::EraseRecording);
            }
        }
    }

    /// Something gave way around the call.
    pub fn note_degradation(&mut self, degradation: Degradation) {
        if self.degradations.len() < DEGRADATIONS_MAX {
            self.degradations.push(degradation);
        }
    }

    fn record_event(&mut self, kind: TimelineKind) {
        if let TimelineKind::LanguageChanged { language } = &kind {
            self.call.speak(language);
            self.language_changed = true;
        }
        self.acts.push_back(Act::Call(Output::Record(TimelineEvent { at_us: self.now.as_us(), kind })));
    }

    /// Passes on what the call wants, and tells the visit what it has to know of it.
    fn pass_on(&mut self, output: Output) {
        let now_ms = self.now.as_ms();
        match output {
            Output::RunTool { id, name, parameters } => {
                self.visit.handle(now_ms, VisitInput::Tool { id: &id, name: &name, parameters: &parameters });
            }
            Output::Keys(digits) => self.visit.handle(now_ms, VisitInput::Keys(&digits)),
            Output::SystemTool(name) => self.visit.handle(now_ms, VisitInput::SystemTool(&name)),
            Output::Record(event) => {
                match &event.kind {
                    TimelineKind::UserTranscript { text } => self.visit.handle(now_ms, VisitInput::PatientSaid(text)),
                    TimelineKind::AgentFailed { service, reason, action } => {
                        let next = self.call.member();
                        self.note_degradation(agent_failure(now_ms, service, reason, action, next));
                        self.visit.handle(now_ms, VisitInput::AgentLost);
                    }
                    TimelineKind::PeerProblem { problem, count: 1, .. } if problem == STREAM_LOST => {
                        let done = "the media stream broke; the script took over";
                        let kind = DegradationKind::Phone;
                        self.note_degradation(Degradation::new(kind, Severity::Review, now_ms, "nothing", done));
                        self.visit.handle(now_ms, VisitInput::AgentLost);
                    }
                    TimelineKind::AgentResponse { text, .. } => self.visit.handle(now_ms, VisitInput::AgentSaid(text)),
                    TimelineKind::AgentCorrection { corrected, .. } => {
                        self.visit.handle(now_ms, VisitInput::AgentCutShort(corrected));
                    }
                    TimelineKind::AgentTurnPlayed { heard_ms: 1.., .. } => {
                        self.visit.handle(now_ms, VisitInput::AgentHeard);
                    }
                    TimelineKind::AgentConnected { .. } => self.visit.handle(now_ms, VisitInput::AgentConnected),
                    TimelineKind::TaskEnded { .. } if !std::mem::take(&mut self.closing) => {
                        self.visit.handle(now_ms, VisitInput::WindowClosed);
                    }
                    _ => {}
                }
                self.acts.push_back(Act::Call(Output::Record(event)));
            }
            Output::Analyze(AnalysisStep::Open { segment, task }) => {
                if std::mem::take(&mut self.opening) {
                    self.visit.handle(now_ms, VisitInput::WindowOpened { segment });
                }
                self.acts.push_back(Act::Call(Output::Analyze(AnalysisStep::Open { segment, task })));
            }
            Output::ConnectAgent { member, attempt, not_before } => {
                self.prepare_agent();
                self.acts.push_back(Act::Call(Output::ConnectAgent { member, attempt, not_before }));
            }
            Output::Done(summary) => {
                self.visit.handle(now_ms, VisitInput::Ended);
                while let Some(output) = self.visit.poll() {
                    if let VisitOutput::Record(kind) = output {
                        self.record_event(kind);
                    }
                }
                self.acts.push_back(Act::Call(Output::Done(summary)));
            }
            other => self.acts.push_back(Act::Call(other)),
        }
    }
}

/// What staff is told of an agent that failed.
fn agent_failure(at_ms: u64, service: &str, reason: &str, action: &str, next: Member) -> Degradation {
    let (severity, lost, what) = match action {
        "retry" => (Severity::Info, "nothing", "the conversation was opened anew".to_owned()),
        "switch" => (Severity::Review, "nothing", format!("{next} took over")),
        "handed_over" => (Severity::Info, "nothing", "the caller was being connected with a person".to_owned()),
        "script" => (Severity::Review, "nothing", "the script took over".to_owned()),
        _ => (Severity::Urgent, "the rest of the visit", "nobody could take over".to_owned()),
    };
    let done = format!("{service} failed ({reason}); {what}");
    Degradation::new(DegradationKind::Agent, severity, at_ms, lost, &done)
}

/// Whether a segment's quality gates passed, and why not.
fn verdict(segment: &Segment) -> (bool, Vec<String>) {
    let quality = segment.report.get("quality");
    let usable = quality.and_then(|quality| quality.get("usable")?.as_bool()).unwrap_or(false);
    let reasons = quality.and_then(|quality| quality.get("reasons")?.as_array()).into_iter().flatten();
    (usable, reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect())
}

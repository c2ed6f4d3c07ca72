//! A call together with its visit: the phone call carries words and sounds, the visit knows what they mean.
//!
//! [`Call`] knows nothing of medicine, and [`Visit`] nothing of sockets. An [`Encounter`] hands what the one learns to
//! the other: transcripts, tool requests, keys and results of the analysis to the visit; its answers, contextual updates
//! and voice windows back to the call. It has the contract of the call: one `handle`, then `poll_output` until
//! [`Output::Timeout`].

use crate::agent::AgentLeg;
use crate::engine::{AnalysisStep, Tell};
use crate::{Call, CallConfig, Input, Output, Tick};
use clinic::red_flags::RedFlag;
use clinic::tools::{Effect, ToolOutcome};
use clinic::visit::{Setup, Visit, VisitInput, VisitOutput, VisitRecord};
use clinic::{Segment, TimelineEvent, TimelineKind};
use std::collections::VecDeque;

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
    acts: VecDeque<Act>,
    /// The next window that the call opens is one the visit asked for.
    opening: bool,
    /// The next window that the call closes is one the visit closed.
    closing: bool,
    deadline: Tick,
    now: Tick,
}

impl Encounter {
    /// An encounter whose call was just announced.
    #[must_use]
    pub fn new(config: CallConfig, leg: AgentLeg, setup: Setup) -> Self {
        let mut encounter = Self {
            call: Call::new(config, leg),
            visit: Visit::new(setup),
            acts: VecDeque::new(),
            opening: false,
            closing: false,
            deadline: Tick::FAR,
            now: Tick::ZERO,
        };
        encounter.exchange();
        encounter
    }

    /// Takes in one thing that happened to the call.
    pub fn handle(&mut self, now: Tick, input: Input<'_>) {
        self.now = self.now.max(now);
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
        self.visit.record()
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

    fn record_event(&mut self, kind: TimelineKind) {
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
                    TimelineKind::AgentResponse { text, .. } => self.visit.handle(now_ms, VisitInput::AgentSaid(text)),
                    TimelineKind::AgentCorrection { corrected, .. } => {
                        self.visit.handle(now_ms, VisitInput::AgentCutShort(corrected));
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

/// Whether a segment's quality gates passed, and why not.
fn verdict(segment: &Segment) -> (bool, Vec<String>) {
    let quality = segment.report.get("quality");
    let usable = quality.and_then(|quality| quality.get("usable")?.as_bool()).unwrap_or(false);
    let reasons = quality.and_then(|quality| quality.get("reasons")?.as_array()).into_iter().flatten();
    (usable, reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect())
}

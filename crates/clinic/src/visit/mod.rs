//! A visit: one conversation with a patient, as a state machine.
//!
//! The voice agent leads the conversation, and a language model leads the agent; both may err. The visit listens to
//! everything (transcripts, tool calls, keys, results of the voice analysis), keeps what is known, and tells the agent
//! what comes next: in the answer to every tool call and, where something happens between them, as a contextual update.
//! It relies on no tool call for what matters most: red flags are found in the words, answers are read from the
//! transcript, and a voice task that the agent forgets to announce is listened to all the same.
//!
//! ```text
//! VisitInput ──► Visit::handle ──► Visit::poll ──► VisitOutput
//!                                  Visit::deadline   the next moment at which silence means something
//! Visit::record                    what is known, at any time
//! ```

mod hearing;
mod items;
mod keypad;
mod prompts;
mod record;
mod replay;
mod scripted;
mod steps;
mod tasks;
mod tools;
mod vocabulary;

pub use record::{IdentityRecord, IdentityStatus, TaskRecord, VisitRecord};
pub use replay::replay;
pub use steps::{KeyHelp, KeyLayout, NextStep, StepKind};
pub use vocabulary::{RaisedFlag, Setup, VisitInput, VisitOutput};

use crate::protocol::Protocol;
use crate::record::TimelineKind;
use items::ItemState;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tasks::{PendingEnd, Window};

/// Attempts at saying who one is.
const IDENTITY_ATTEMPTS: u32 = 3;
/// Silence after a question before the agent is told of it.
const SILENCE_MS: u64 = 25_000;
/// Questions in a row that may stay without any word from the patient.
const SILENT_QUESTIONS_MAX: u32 = 3;
/// How long an agent may take to speak the words of a red flag before it is told again, and how often it is told.
const RED_FLAG_WORDS_MS: u64 = 5_000;
const RED_FLAG_TOLD_MAX: u32 = 3;
/// Red flags kept per visit; codes are few.
const RED_FLAGS_MAX: usize = 32;

/// What the visit wants of the agent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Identify,
    Consent,
    Item(usize),
    Emergency,
    Closing,
    /// Nothing about health: one of the neutral texts, then the end.
    Neutral(&'static str),
}

/// How sure we are of who is speaking.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identification {
    status: IdentityStatus,
    how: Option<&'static str>,
    heard: u32,
    told: u32,
    keyed: u32,
    /// Keys pressed so far by somebody who types slowly, and when the last of them came.
    typed: String,
    typed_at_ms: u64,
}

impl Identification {
    fn attempts(&self) -> u32 {
        // One utterance is judged twice, by its words and by the agent's tool call.
        self.heard.max(self.told) + self.keyed
    }
}

/// Where we stand with a red flag's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct FlagWords {
    told: u32,
    spoken: bool,
    /// They were in what the agent said last, and so may yet be cut short.
    in_last: bool,
    due_ms: Option<u64>,
}

/// One visit. Times are milliseconds since the call began.
#[derive(Debug)]
pub struct Visit {
    setup: Setup,
    protocol: Arc<Protocol>,
    now_ms: u64,
    outputs: VecDeque<VisitOutput>,
    language: String,
    languages: Vec<String>,
    /// The agent may have changed its language: its next words tell.
    language_may_change: bool,
    last_guess: Option<&'static str>,
    identification: Identification,
    consent: Option<bool>,
    items: Vec<ItemState>,
    /// The item whose prompt the agent spoke last, and when.
    asked: Option<usize>,
    asked_at_ms: Option<u64>,
    silent_questions: u32,
    /// Pages of the script in a row, at one step, that brought no answer: for silence, and for words that were none.
    stuck: scripted::Stuck,
    /// What was said last told which keys answer it.
    keys_told: bool,
    /// Somebody has greeted the patient, who has heard it.
    greeted: bool,
    /// The agent is about to say something, or has.
    agent_spoke: bool,
    window: Option<Window>,
    tasks: Vec<TaskRecord>,
    pending_end: Option<PendingEnd>,
    flags: Vec<RaisedFlag>,
    flag_codes: BTreeSet<String>,
    flag_words: FlagWords,
    /// The language the patient fell back into when they spoke of the emergency.
    flag_language: Option<&'static str>,
    transfer: Option<bool>,
    /// The patient was offered the nurse and does not want to be connected.
    nurse_declined: bool,
    neutral: Option<&'static str>,
    closing_said: bool,
    last_told: Option<Step>,
    /// The step whose words the agent that is being called begins with.
    opened_with: Option<Step>,
    over: bool,
}

impl Visit {
    /// A visit that is about to begin.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let protocol = setup.protocol.clone();
        let language = setup.language.clone();
        Self {
            now_ms: 0,
            outputs: VecDeque::new(),
            languages: vec![language.clone()],
            language,
            language_may_change: false,
            last_guess: None,
            identification: Identification {
                status: IdentityStatus::NotIdentified,
                how: None,
                heard: 0,
                told: 0,
                keyed: 0,
                typed: String::new(),
                typed_at_ms: 0,
            },
            consent: setup.consent_on_file.then_some(true),
            items: protocol.items.iter().map(|_| ItemState::default()).collect(),
            asked: None,
            asked_at_ms: None,
            silent_questions: 0,
            stuck: scripted::Stuck::default(),
            keys_told: false,
            greeted: false,
            agent_spoke: false,
            window: None,
            tasks: Vec::new(),
            pending_end: None,
            flags: Vec::new(),
            flag_codes: BTreeSet::new(),
            flag_words: FlagWords::default(),
            flag_language: None,
            transfer: None,
            nurse_declined: false,
            neutral: None,
            closing_said: false,
            last_told: None,
            opened_with: None,
            over: false,
            protocol,
            setup,
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now_ms: u64, input: VisitInput<'_>) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.over {
            if let VisitInput::TaskResult { segment, usable, .. } = input {
                self.late_result(segment, usable);
            }
            return;
        }
        if matches!(input, VisitInput::PatientSaid(_) | VisitInput::Keys(_) | VisitInput::Tool { .. }) {
            // Whoever answers has heard something.
            self.greeted |= self.agent_spoke;
        }
        match input {
            VisitInput::AgentConnected => self.agent_connected(),
            VisitInput::PatientSaid(text) => self.patient_said(text),
            VisitInput::AgentSaid(text) => self.agent_said(text),
            VisitInput::AgentHeard => self.greeted |= self.agent_spoke,
            VisitInput::AgentCutShort(heard) => self.agent_cut_short(heard),
            VisitInput::Tool { id, name, parameters } => self.tool(id, name, parameters),
            VisitInput::SystemTool(name) => self.system_tool(name),
            VisitInput::Keys(digits) => self.keys(digits),
            VisitInput::WindowOpened { segment } => self.window_opened(segment),
            VisitInput::WindowClosed => self.window_closed_by_call(),
            VisitInput::TaskResult { segment, usable, reasons } => self.task_result(segment, usable, reasons),
            VisitInput::AnsweringMachine => self.machine_answered(),
            VisitInput::TransferFailed => self.transfer_failed(),
            VisitInput::AgentLost => self.agent_lost(),
            VisitInput::ScriptSaid(text) => self.script_said(text),
            VisitInput::Silence => self.nobody_answered(),
            VisitInput::Unclear => self.answer_unclear(),
            VisitInput::TaskBegins => self.task_begins(),
            VisitInput::TaskOver => self.close_window(),
            VisitInput::Nurse(wanted) => self.nurse_answer(wanted),
            VisitInput::Ended => return self.end(),
            VisitInput::Timeout => {}
        }
        self.on_time();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<VisitOutput> {
        self.outputs.pop_front()
    }

    /// When [`Visit::handle`] has to be called again at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.over {
            return None;
        }
        let pending = self.pending_end.as_ref().map(|pending| pending.until_ms);
        let window = self.window.as_ref().map(|window| window.until_ms);
        [pending, window, self.flag_words.due_ms, self.silence_deadline()].into_iter().flatten().min()
    }

    /// Who the patient is known to be, and everything else that was learned.
    #[must_use]
    pub fn record(&self) -> VisitRecord {
        record::of(self)
    }

    /// The language that is spoken now.
    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }

    /// False once the patient refused to be recorded.
    #[must_use]
    pub fn may_record(&self) -> bool {
        self.consent != Some(false)
    }

    /// Whether a machine is on the line, as far as can be told. False once somebody was identified or spoke of an
    /// emergency, whatever the phone company says: such a call must not be hung up.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.identification.status == IdentityStatus::Voicemail
    }

    /// Whether there is more to ask or to say than was: a conversation that ends now ends too early.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        !self.over && !matches!(self.step(), Step::Closing | Step::Neutral(_))
    }

    /// Whether the patient's voice may be measured: it is the patient, and they agreed.
    fn may_measure(&self) -> bool {
        self.is_identified() && self.consent == Some(true) && self.flags.is_empty()
    }

    fn is_identified(&self) -> bool {
        self.identification.status == IdentityStatus::Identified
    }

    /// What comes next.
    fn step(&self) -> Step {
        // An emergency comes before everything else: whoever is on the line has to hear which number to call.
        if !self.flags.is_empty() && self.identification.status != IdentityStatus::Voicemail {
            let told = self.flag_words.spoken;
            let settled =
                self.transfer.is_some() || self.nurse_declined || self.silent_questions >= SILENT_QUESTIONS_MAX;
            return if told && settled { Step::Closing } else { Step::Emergency };
        }
        if let Some(text) = self.neutral {
            return Step::Neutral(text);
        }
        if !self.is_identified() {
            return Step::Identify;
        }
        if self.silent_questions >= SILENT_QUESTIONS_MAX {
            return Step::Closing;
        }
        if self.consent.is_none() {
            return Step::Consent;
        }
        self.next_item().map_or(Step::Closing, Step::Item)
    }

    fn on_time(&mut self) {
        if self.pending_end.as_ref().is_some_and(|pending| pending.until_ms <= self.now_ms) {
            self.answer_pending_end();
        }
        if self.window.as_ref().is_some_and(|window| window.until_ms <= self.now_ms) {
            self.close_window();
        }
        if self.flag_words.due_ms.is_some_and(|due| due <= self.now_ms) {
            self.insist_on_flag_words();
        }
        if self.silence_deadline().is_some_and(|due| due <= self.now_ms) {
            self.patient_silent();
        }
    }

    fn end(&mut self) {
        if self.window.is_some() {
            self.close_window();
        }
        self.answer_pending_end();
        self.over = true;
    }

    /// A new agent knows nothing of what the one before it was told.
    fn agent_connected(&mut self) {
        self.tell_newcomer();
        if !self.flags.is_empty() && !self.flag_words.spoken {
            self.flag_words.due_ms = Some(self.now_ms + RED_FLAG_WORDS_MS);
        }
    }

    /// A machine is on the line, as the phone company or the agent thinks. Both may be wrong: a machine neither knows a
    /// date of birth nor has an emergency.
    fn machine_answered(&mut self) {
        if self.is_identified() || !self.flags.is_empty() {
            return;
        }
        self.identification.status = IdentityStatus::Voicemail;
        self.neutral = Some("voicemail");
        self.tell_next();
    }

    fn emit(&mut self, output: VisitOutput) {
        self.outputs.push_back(output);
    }

    fn note(&mut self, kind: TimelineKind) {
        self.emit(VisitOutput::Record(kind));
    }
}

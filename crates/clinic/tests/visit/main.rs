//! Scenes of visits: an agent and a patient who do what they should not, in simulated time.
//!
//! [`Told`] plays both of them and keeps everything that the visit said. It checks on the way what must hold in every
//! scene: windows open and close in turn, and no tool call is answered twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod conversation;
mod emergencies;
mod identity;
mod properties;
mod scripted;
mod tasks;

use clinic::TimelineKind;
use clinic::answers::{Answer, WeightUnit};
use clinic::identity::Identity;
use clinic::protocol::Protocol;
use clinic::visit::{Setup, Visit, VisitInput, VisitOutput, VisitRecord};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) fn setup() -> Setup {
    Setup {
        protocol: Protocol::shipped(),
        language: "en".to_owned(),
        given_name: "Ada".to_owned(),
        identity: Identity { birth_date: jiff::civil::date(1948, 4, 1), pin: Some("4711".to_owned()) },
        consent_on_file: false,
        nurse_line: true,
        weight_unit: WeightUnit::Lb,
    }
}

/// A visit, who takes part in it, and what came of it so far.
pub(crate) struct Told {
    pub(crate) visit: Visit,
    pub(crate) now_ms: u64,
    pub(crate) outputs: Vec<(u64, VisitOutput)>,
    calls: u32,
    answered: BTreeSet<String>,
    segments: u32,
    open: bool,
}

impl Told {
    /// The agent is on the line.
    pub(crate) fn new(setup: Setup) -> Self {
        let visit = Visit::new(setup);
        let (outputs, answered) = (Vec::new(), BTreeSet::new());
        let mut told = Self { visit, now_ms: 0, outputs, calls: 0, answered, segments: 0, open: false };
        told.input(VisitInput::AgentConnected);
        told
    }

    /// Identified and agreed: the first question is due.
    pub(crate) fn begun() -> Self {
        Self::begun_with(setup())
    }

    pub(crate) fn begun_with(setup: Setup) -> Self {
        let mut told = Self::new(setup);
        told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
        told.tool("record_consent", json!({"given": true}));
        told
    }

    pub(crate) fn input(&mut self, input: VisitInput<'_>) {
        self.visit.handle(self.now_ms, input);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.visit.poll() {
            let opened = matches!(output, VisitOutput::OpenWindow(_));
            match &output {
                VisitOutput::OpenWindow(_) => {
                    assert!(!std::mem::replace(&mut self.open, true), "a window opened in an open one");
                }
                VisitOutput::CloseWindow => {
                    assert!(std::mem::replace(&mut self.open, false), "a window closed that was not open");
                }
                VisitOutput::ToolResult { id, .. } => assert!(self.answered.insert(id.clone()), "{id} answered twice"),
                _ => {}
            }
            self.outputs.push((self.now_ms, output));
            if opened {
                let segment = self.segments;
                self.segments += 1;
                self.visit.handle(self.now_ms, VisitInput::WindowOpened { segment });
            }
        }
    }

    /// Lets time pass, and the visit wake where it wants to.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        let mut wakings = 0;
        while let Some(due) = self.visit.deadline().filter(|due| *due <= until) {
            self.now_ms = self.now_ms.max(due);
            self.input(VisitInput::Timeout);
            wakings += 1;
            assert!(wakings < 1_000, "the visit wakes without end");
        }
        self.now_ms = until;
    }

    pub(crate) fn patient(&mut self, text: &str) {
        self.wait(1_000);
        self.input(VisitInput::PatientSaid(text));
    }

    pub(crate) fn agent(&mut self, text: &str) {
        self.wait(1_000);
        self.input(VisitInput::AgentSaid(text));
    }

    /// The agent asks for an item in the protocol's words.
    pub(crate) fn ask(&mut self, item: &str) {
        let prompt = Protocol::shipped().prompt(self.visit.language(), item).to_owned();
        self.agent(&prompt);
    }

    pub(crate) fn keys(&mut self, digits: &str) {
        self.wait(1_000);
        self.input(VisitInput::Keys(digits));
    }

    /// Calls a tool; the answer, where it came at once.
    pub(crate) fn tool(&mut self, name: &str, parameters: Value) -> Value {
        self.raw_tool(name, &parameters.to_string())
    }

    pub(crate) fn raw_tool(&mut self, name: &str, parameters: &str) -> Value {
        self.wait(200);
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.input(VisitInput::Tool { id: &id, name, parameters });
        self.answer_to(&id)
    }

    /// The answer to a tool call, if it came.
    pub(crate) fn answer_to(&self, wanted: &str) -> Value {
        let found = self.outputs.iter().find_map(|(_, output)| match output {
            VisitOutput::ToolResult { id, result, .. } if id == wanted => Some(serde_json::from_str(result).unwrap()),
            _ => None,
        });
        found.unwrap_or(Value::Null)
    }

    pub(crate) fn last_call(&self) -> String {
        format!("call-{}", self.calls)
    }

    /// The analysis of the last window is done.
    pub(crate) fn result(&mut self, usable: bool) {
        let reasons = if usable { Vec::new() } else { vec!["too_noisy".to_owned()] };
        let segment = self.segments - 1;
        self.input(VisitInput::TaskResult { segment, usable, reasons: &reasons });
    }

    pub(crate) fn record(&self) -> VisitRecord {
        self.visit.record()
    }

    pub(crate) fn known(&self, question: &str) -> Answer {
        let answers = self.record().answers;
        answers.into_iter().find(|answer| answer.question == question).unwrap_or_else(|| panic!("no {question}"))
    }

    /// Everything the agent was told, in words.
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts = self.outputs.iter().filter_map(|(_, output)| match output {
            VisitOutput::ToolResult { result, .. } => Some(result.clone()),
            VisitOutput::Context { text, .. } | VisitOutput::Prompt(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn last_text(&self) -> String {
        self.texts().pop().unwrap_or_default()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&VisitOutput) -> bool) -> usize {
        self.outputs.iter().filter(|(_, output)| wanted(output)).count()
    }

    pub(crate) fn flags(&self) -> Vec<String> {
        let codes = self.outputs.iter().filter_map(|(_, output)| match output {
            VisitOutput::RedFlag(flag) => Some(flag.code.clone()),
            _ => None,
        });
        codes.collect()
    }

    pub(crate) fn prompts(&self) -> usize {
        self.count(|output| matches!(output, VisitOutput::Prompt(_)))
    }

    pub(crate) fn windows(&self) -> usize {
        self.count(|output| matches!(output, VisitOutput::OpenWindow(_)))
    }

    pub(crate) fn noted(&self, wanted: impl Fn(&TimelineKind) -> bool) -> usize {
        self.count(|output| matches!(output, VisitOutput::Record(kind) if wanted(kind)))
    }
}

/// The step an answer names.
pub(crate) fn next_of(reply: &Value) -> String {
    let next = &reply["next"];
    next["item"].as_str().or_else(|| next["step"].as_str()).unwrap_or_default().to_owned()
}

//! What comes next, as data: one source for the agent, which is told in words, and for the script, which plays the
//! agent's part where there is none.

use super::{Step, Visit};
use crate::answers::{Topic, WeightUnit};
use crate::protocol::{ItemKind, values_of};
use crate::tools::VoiceTask;
use serde_json::{Value, json};

/// Most keys of an answer that is a number: no weight and no count in this protocol has more digits.
pub(super) const ANSWER_KEYS_MAX: usize = 3;
/// Keys of a date of birth.
pub(super) const DATE_KEYS: usize = 8;

/// The next step of a visit.
#[derive(Debug, Clone, PartialEq)]
pub struct NextStep {
    /// What is to be done.
    pub kind: StepKind,
    /// What is to be said, exactly. May hold the patient's name: PHI.
    pub say: String,
    /// Code of the language it is in, as in the protocol.
    pub language: String,
    /// How it is answered by keys; `None` where nothing is asked or only the voice will do.
    pub keys: Option<KeyHelp>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// Asks who is on the line.
    Identify,
    /// Asks whether the call may be recorded.
    Consent,
    /// Asks a question.
    Item {
        /// Its place in the protocol.
        index: usize,
        /// Its identifier.
        id: String,
        /// What an answer is about.
        topic: Topic,
    },
    /// Asks for the voice.
    Task {
        /// Its place in the protocol.
        index: usize,
        /// Its identifier.
        id: String,
        /// What is done with the voice.
        task: VoiceTask,
        /// Longest time for it, in milliseconds.
        window_ms: u64,
    },
    /// Says whom to call now; asks whether a nurse is wanted where `offers_nurse`.
    Emergency {
        /// A nurse can be reached, and nobody has tried.
        offers_nurse: bool,
    },
    /// Says goodbye to the patient.
    Closing,
    /// Says goodbye to somebody who was not identified: nothing about health.
    Neutral,
}

/// How a step is answered by keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHelp {
    /// The words that say so; empty in a language whose draft has none, where keys count all the same.
    pub say: String,
    /// Which keys they are.
    pub layout: KeyLayout,
}

/// Which keys answer a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLayout {
    /// One key, from 1 to this.
    Choice(u8),
    /// A number of at most this many keys; 0 means that the patient does not know.
    Number {
        /// Most keys.
        digits: u8,
    },
    /// A PIN, or a date of birth as eight digits.
    Identity,
}

impl Visit {
    /// The next step. Whoever asks is taken to act upon it: the visit tells it again only when it changes.
    pub fn next_step(&mut self) -> NextStep {
        let step = self.step();
        self.last_told = Some(step);
        self.describe(step)
    }

    /// What the next step would be, without taking it for told.
    #[must_use]
    pub fn peek_step(&self) -> NextStep {
        self.describe(self.step())
    }

    fn describe(&self, step: Step) -> NextStep {
        let (kind, say) = match step {
            Step::Identify => {
                let text = if self.identification.attempts() == 0 { "identify" } else { "identify_again" };
                (StepKind::Identify, self.text(text))
            }
            Step::Consent => (StepKind::Consent, self.text("consent")),
            Step::Emergency => {
                let offers_nurse = self.setup.nurse_line && self.transfer.is_none() && !self.nurse_declined;
                let mut say = self.flag_text();
                if offers_nurse {
                    say = format!("{say} {}", self.emergency_text("offer_nurse"));
                }
                (StepKind::Emergency { offers_nurse }, say)
            }
            Step::Closing if self.flags.is_empty() => (StepKind::Closing, self.text("closing")),
            Step::Closing => (StepKind::Closing, self.flag_text()),
            Step::Neutral(text) => (StepKind::Neutral, self.text(text)),
            Step::Item(index) => match self.item_step(index) {
                Some(found) => found,
                // `step` names only items that are there.
                None => (StepKind::Closing, self.text("closing")),
            },
        };
        let language = if self.flags.is_empty() { &self.language } else { self.emergency_language() };
        let language = self.protocol.spoken(language).to_owned();
        let keys = self.key_help(&kind, &language);
        NextStep { kind, say, language, keys }
    }

    fn item_step(&self, index: usize) -> Option<(StepKind, String)> {
        let item = self.protocol.items.get(index)?;
        let state = self.items.get(index)?;
        let prompt = self.protocol.prompt(&self.language, &item.id);
        let id = item.id.clone();
        let (kind, again) = match item.kind {
            ItemKind::Task { task, window_ms, .. } => {
                (StepKind::Task { index, id, task, window_ms }, (state.attempts > 0).then_some("repeat_task"))
            }
            ItemKind::Open { topic } | ItemKind::Question { topic, .. } => {
                (StepKind::Item { index, id, topic }, (state.asked > 0).then_some("repeat"))
            }
        };
        let say = again.map_or_else(|| prompt.to_owned(), |text| format!("{} {prompt}", self.text(text)));
        Some((kind, say))
    }

    fn key_help(&self, kind: &StepKind, language: &str) -> Option<KeyHelp> {
        let (name, layout) = match kind {
            StepKind::Identify => ("identify", KeyLayout::Identity),
            StepKind::Consent => ("consent", KeyLayout::Choice(2)),
            StepKind::Emergency { offers_nurse: true } => ("offer_nurse", KeyLayout::Choice(2)),
            StepKind::Item { index, id, topic } => (id.as_str(), self.layout_of(*index, *topic)?),
            _ => return None,
        };
        let unit = match self.setup.weight_unit {
            WeightUnit::Lb => "pounds",
            WeightUnit::Kg => "kilograms",
        };
        Some(KeyHelp { say: self.protocol.key_words(language, name, unit), layout })
    }

    fn layout_of(&self, index: usize, topic: Topic) -> Option<KeyLayout> {
        match topic {
            Topic::Weight => Some(KeyLayout::Number { digits: ANSWER_KEYS_MAX as u8 }),
            Topic::Number => match self.protocol.items.get(index)?.kind {
                ItemKind::Question { range: Some(_), .. } => Some(KeyLayout::Number { digits: ANSWER_KEYS_MAX as u8 }),
                _ => None,
            },
            topic => match values_of(topic).len() {
                0 => None,
                choices => u8::try_from(choices).ok().map(KeyLayout::Choice),
            },
        }
    }

    /// The next step for the agent: what to say, and which tool belongs to it.
    pub(super) fn next_json(&mut self) -> Value {
        let NextStep { kind, say, .. } = self.next_step();
        match kind {
            StepKind::Identify => json!({"step": "identify", "say": say, "then": "verify_identity"}),
            StepKind::Consent => json!({"step": "consent", "say": say, "then": "record_consent"}),
            StepKind::Emergency { .. } => json!({"step": "emergency", "say": say,
                "then": "transfer_to_nurse if the patient wants it, otherwise end the call"}),
            StepKind::Closing | StepKind::Neutral => json!({"step": "close", "say": say, "then": "end_call"}),
            StepKind::Task { id, task, .. } => json!({"step": "task", "item": id, "task": task.as_str(), "say": say,
                "then": "start_task before you say it, end_task when the patient has finished"}),
            StepKind::Item { id, .. } => {
                json!({"step": "question", "item": id, "say": say, "then": "record_answer"})
            }
        }
    }
}

//! Answers of patients: what can be asked, what an answer may be, and where it came from.
//!
//! A question has a [`Topic`]; the topic fixes which values exist, so that the risk model can give each of them a
//! meaning. A value comes from the agent's tool call, from our own reading of the transcript, from keys, or from the
//! service's analysis after the call. Several sources may speak about one question: [`Answer`] keeps the most trusted
//! value and shows the others where they differ.
//!
//! [`validate`] reads what a language model wrote into a tool parameter; [`extract()`] reads what the patient said.

mod cues;
mod extract;
mod medications;
pub(crate) mod speech;
mod validate;
mod weight;

pub use extract::{ExtractOptions, Extracted, extract};
pub use validate::{NumberLimits, Refusal, validate};
pub(crate) use weight::weight_without_unit;
pub use weight::{MAX_CHANGE_KG, MAX_DAYS, MAX_WEIGHT_KG, MIN_WEIGHT_KG, WeightUnit};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a question is about, and with it the values an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// How the patient feels: `better`, `same`, `worse`.
    Feeling,
    /// Breathlessness: `none`, `usual` (no more than always), `exertion` (new or worse on exertion), `rest`.
    Dyspnea,
    /// Cannot lie flat, or needs more pillows than usual: yes or no.
    Orthopnea,
    /// Woke at night short of breath: yes or no.
    NocturnalDyspnea,
    /// Swelling of legs, ankles, feet: `none`, `usual`, `worse`.
    Swelling,
    /// Bloating or early fullness: yes or no.
    Bloating,
    /// Dizziness: yes or no.
    Dizziness,
    /// Weight, or its change in the past days.
    Weight,
    /// Medicines: `as_prescribed`, `missed_1_2` (doses), `missed_3_plus`.
    Medications,
    /// Any other question answered by yes or no.
    YesNo,
    /// Any other question answered by a number.
    Number,
    /// Any other question.
    Text,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 12] = [
        Self::Feeling,
        Self::Dyspnea,
        Self::Orthopnea,
        Self::NocturnalDyspnea,
        Self::Swelling,
        Self::Bloating,
        Self::Dizziness,
        Self::Weight,
        Self::Medications,
        Self::YesNo,
        Self::Number,
        Self::Text,
    ];

    /// The name used in protocol files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feeling => "feeling",
            Self::Dyspnea => "dyspnea",
            Self::Orthopnea => "orthopnea",
            Self::NocturnalDyspnea => "nocturnal_dyspnea",
            Self::Swelling => "swelling",
            Self::Bloating => "bloating",
            Self::Dizziness => "dizziness",
            Self::Weight => "weight",
            Self::Medications => "medications",
            Self::YesNo => "yes_no",
            Self::Number => "number",
            Self::Text => "text",
        }
    }

    /// The topic with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text)
    }

    /// The names an answer may have, for topics answered by choice; empty for others.
    #[must_use]
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Feeling => &["better", "same", "worse"],
            Self::Dyspnea => &["none", "usual", "exertion", "rest"],
            Self::Swelling => &["none", "usual", "worse"],
            Self::Medications => &["as_prescribed", "missed_1_2", "missed_3_plus"],
            _ => &[],
        }
    }

    /// True for topics answered by yes or no.
    #[must_use]
    pub fn is_yes_no(self) -> bool {
        matches!(self, Self::Orthopnea | Self::NocturnalDyspnea | Self::Bloating | Self::Dizziness | Self::YesNo)
    }
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerValue {
    /// Yes or no.
    YesNo(bool),
    /// A number in the unit of its question.
    Number(f64),
    /// One of the topic's choices, or free text for [`Topic::Text`].
    Text(String),
    /// Weight, its change, or both.
    Weight(WeightReport),
}

/// What a patient says about their weight, in kilograms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightReport {
    /// Weight today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_kg: Option<f64>,
    /// Change; positive is gain. 0 when the patient says there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_kg: Option<f64>,
    /// Days over which the change happened, where the patient says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// Kilograms of an international pound.
pub const KG_PER_LB: f64 = 0.453_592_37;

/// Where a value came from, most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Keys the patient pressed.
    Dtmf,
    /// The agent's tool call.
    AgentTool,
    /// Our own reading of the transcript.
    Transcript,
    /// The service's analysis after the call.
    PostCall,
}

/// A value with its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sourced {
    /// The value.
    pub value: AnswerValue,
    /// Where it came from.
    pub source: Source,
}

/// What is known of one question after a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Identifier of the protocol's item.
    pub question: String,
    /// What the question is about.
    pub topic: Topic,
    /// Whether there is any value.
    pub answered: bool,
    /// The most trusted value.
    pub value: Option<AnswerValue>,
    /// Its source.
    pub source: Option<Source>,
    /// Other sources that say something else. Shown, never merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Sourced>,
}

impl Answer {
    /// A question nobody answered.
    #[must_use]
    pub fn unanswered(question: &str, topic: Topic) -> Self {
        Self { question: question.to_owned(), topic, answered: false, value: None, source: None, conflicts: Vec::new() }
    }

    /// The most trusted of `values`, with every other one that disagrees with it.
    ///
    /// Of one source the last value counts: a patient who corrects themself means the correction.
    #[must_use]
    pub fn from_sources(question: &str, topic: Topic, values: &[Sourced]) -> Self {
        let mut latest: Vec<Sourced> = Vec::new();
        for sourced in values {
            latest.retain(|known| known.source != sourced.source);
            latest.push(sourced.clone());
        }
        latest.sort_by_key(|sourced| sourced.source);
        let mut latest = latest.into_iter();
        let Some(best) = latest.next() else { return Self::unanswered(question, topic) };
        let conflicts = latest.filter(|other| !agree(&best.value, &other.value)).collect();
        Self {
            question: question.to_owned(),
            topic,
            answered: true,
            value: Some(best.value),
            source: Some(best.source),
            conflicts,
        }
    }

    /// Adds a value of a less trusted source: it fills an empty answer, or stands beside one it contradicts. True when
    /// that changed anything.
    pub fn add(&mut self, sourced: &Sourced) -> bool {
        match &self.value {
            None => {
                (self.answered, self.value) = (true, Some(sourced.value.clone()));
                self.source = Some(sourced.source);
                true
            }
            Some(value) if agree(value, &sourced.value) || self.conflicts.contains(sourced) => false,
            Some(_) => {
                self.conflicts.push(sourced.clone());
                true
            }
        }
    }

    /// The value as a choice or text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Some(AnswerValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value as yes or no.
    #[must_use]
    pub fn yes(&self) -> Option<bool> {
        match self.value {
            Some(AnswerValue::YesNo(yes)) => Some(yes),
            _ => None,
        }
    }

    /// The value as a weight.
    #[must_use]
    pub fn weight(&self) -> Option<WeightReport> {
        match self.value {
            Some(AnswerValue::Weight(weight)) => Some(weight),
            _ => None,
        }
    }

    /// The form of the outer contract.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "question": self.question,
            "topic": self.topic,
            "answered": self.answered,
            "value": self.value,
            "source": self.source,
        });
        if !self.conflicts.is_empty()
            && let Some(map) = object.as_object_mut()
        {
            map.insert("conflicts".to_owned(), json!(self.conflicts));
        }
        object
    }
}

/// Two weights within this of each other are the same: people round, and units differ.
const WEIGHT_TOLERANCE_KG: f64 = 0.3;

/// Whether two values say the same. A weight without a change does not contradict a change without a weight.
#[must_use]
pub fn agree(a: &AnswerValue, b: &AnswerValue) -> bool {
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= WEIGHT_TOLERANCE_KG,
        _ => true,
    };
    match (a, b) {
        (AnswerValue::Weight(a), AnswerValue::Weight(b)) => {
            near(a.weight_kg, b.weight_kg) && near(a.change_kg, b.change_kg)
        }
        (AnswerValue::Number(a), AnswerValue::Number(b)) => (a - b).abs() < 1e-9,
        (a, b) => a == b,
    }
}

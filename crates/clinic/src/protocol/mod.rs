//! The clinical protocol as data: what is asked, in which order, in which words.
//!
//! A protocol is a TOML file (the shipped one explains every key). [`Protocol::parse`] accepts it only when it is whole:
//! every rule known, every text there in every language, every identifier used once; each fault names its line.

mod fault;
mod file;
pub mod languages;

pub use fault::Fault;
pub(crate) use file::TELLING_WORDS;

use crate::answers::{AnswerValue, Topic};
use crate::red_flags::ExtraRule;
use crate::tools::VoiceTask;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The protocol that is used unless the site has its own.
pub const DEFAULT_TEXT: &str = include_str!("../../protocols/heart-failure.toml");

static DEFAULT: LazyLock<Option<Arc<Protocol>>> = LazyLock::new(|| Protocol::parse(DEFAULT_TEXT).ok().map(Arc::new));

/// A checked protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    /// Name.
    pub name: String,
    /// Version; part of every record.
    pub version: String,
    /// Number of the emergency service.
    pub emergency_number: String,
    /// Number of the crisis line.
    pub crisis_number: String,
    /// Steps in order, follow-ups behind what they follow.
    pub items: Vec<Item>,
    /// Red-flag phrases of the site.
    pub red_flags: Vec<ExtraRule>,
    /// Texts by language code.
    pub languages: BTreeMap<String, Language>,
}

/// One step of the visit.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Identifier, unique in the protocol.
    pub id: String,
    /// What is done.
    pub kind: ItemKind,
    /// How often it may be asked again.
    pub retries: u32,
    /// The answer that has to be given before this is asked.
    pub follows: Option<Condition>,
    /// Answers that are red flags.
    pub red_flags: Vec<AnswerRule>,
}

/// What an item does.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// Asks for an answer in the patient's own words.
    Open {
        /// What the answer is about.
        topic: Topic,
    },
    /// Asks for an answer of a schema.
    Question {
        /// What the answer is about, and so its values.
        topic: Topic,
        /// Smallest and largest number, for [`Topic::Number`].
        range: Option<(f64, f64)>,
    },
    /// Asks the patient to use their voice.
    Task {
        /// What is done with the voice.
        task: VoiceTask,
        /// Longest time, in milliseconds.
        window_ms: u64,
        /// Whether sound that fails the quality gates is asked for again.
        needs_usable: bool,
    },
}

impl Item {
    /// What an answer is about; `None` for voice tasks.
    #[must_use]
    pub fn topic(&self) -> Option<Topic> {
        match self.kind {
            ItemKind::Open { topic } | ItemKind::Question { topic, .. } => Some(topic),
            ItemKind::Task { .. } => None,
        }
    }

    /// The voice task, for items that are one.
    #[must_use]
    pub fn task(&self) -> Option<VoiceTask> {
        match self.kind {
            ItemKind::Task { task, .. } => Some(task),
            _ => None,
        }
    }
}

/// A follow-up's condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The item that has to be answered.
    pub item: String,
    /// The answers after which the follow-up is asked.
    pub when: Vec<String>,
}

/// An answer that is a red flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRule {
    /// The answers.
    pub when: Vec<String>,
    /// Code of the red flag.
    pub code: String,
}

/// How far a language's texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LanguageStatus {
    /// Texts are complete, and answers and red flags are understood from the words.
    Complete,
    /// Translated, to be reviewed; answers come from the agent's tools alone.
    Draft,
}

/// The texts of a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// Its own name.
    pub name: String,
    /// How far it is.
    pub status: LanguageStatus,
    /// Who reviewed the texts, and when.
    pub reviewed: Option<(String, jiff::civil::Date)>,
    /// Texts outside of items, by name.
    say: BTreeMap<String, String>,
    /// Prompts by item.
    items: BTreeMap<String, String>,
    /// Which keys answer what, in words: by item, and by the names of [`KEY_TEXTS`].
    keys: BTreeMap<String, String>,
}

impl Language {
    /// What has to be shown wherever the language is offered; `None` when there is nothing to warn of.
    #[must_use]
    pub fn mark(&self) -> Option<&'static str> {
        (self.status == LanguageStatus::Draft && self.reviewed.is_none()).then_some(NOT_REVIEWED)
    }
}

const NOT_REVIEWED: &str = "not clinically reviewed";

/// Texts every language must have outside of items.
pub const TEXTS: [&str; 18] = [
    "greeting",
    "identify",
    "identify_again",
    "consent",
    "wrong_person",
    "voicemail",
    "not_identified",
    "repeat",
    "repeat_task",
    "red_flag",
    "self_harm",
    "offer_nurse",
    "transfer",
    "closing",
    "script_intro",
    "bridge",
    "sorry_continue",
    "callback",
];

/// What is said about keys outside of items: how to prove who one is, to agree, to want a nurse, to say that a voice task
/// is done; and the words for the units of weight.
pub const KEY_TEXTS: [&str; 6] = ["identify", "consent", "offer_nurse", "task", "pounds", "kilograms"];

/// Texts that are heard before it is known who listens.
pub const NEUTRAL_TEXTS: [&str; 10] = [
    "greeting",
    "identify",
    "identify_again",
    "wrong_person",
    "voicemail",
    "not_identified",
    "script_intro",
    "bridge",
    "sorry_continue",
    "callback",
];

/// The language that every protocol must have, and that is spoken when a patient's own is missing.
pub const FALLBACK_LANGUAGE: &str = "en";

/// Values of a topic as they are written in protocol files: choices, or `yes` and `no`.
#[must_use]
pub fn values_of(topic: Topic) -> &'static [&'static str] {
    if topic.is_yes_no() { &["yes", "no"] } else { topic.choices() }
}

/// The name of a value as it is written in protocol files; `None` for values that have none.
#[must_use]
pub fn name_of(value: &AnswerValue) -> Option<&str> {
    match value {
        AnswerValue::Text(text) => Some(text),
        AnswerValue::YesNo(true) => Some("yes"),
        AnswerValue::YesNo(false) => Some("no"),
        _ => None,
    }
}

impl Protocol {
    /// Reads and checks a protocol.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        file::read(text)
    }

    /// The shipped protocol.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        // It parses, as a test shows; the empty one stands only where the type wants a value.
        DEFAULT.clone().unwrap_or_else(|| Arc::new(Self::empty()))
    }

    fn empty() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            emergency_number: String::new(),
            crisis_number: String::new(),
            items: Vec::new(),
            red_flags: Vec::new(),
            languages: BTreeMap::new(),
        }
    }

    /// The item with that identifier.
    #[must_use]
    pub fn item(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    /// The language whose texts are used for a patient who speaks `code`: their own, its base (`pt` for `pt-br`), or
    /// the fallback.
    #[must_use]
    pub fn spoken<'a>(&'a self, code: &'a str) -> &'a str {
        let base = code.split('-').next().unwrap_or(code);
        [code, base].into_iter().find(|code| self.languages.contains_key(*code)).unwrap_or(FALLBACK_LANGUAGE)
    }

    /// What has to be shown beside the language of a patient who speaks `code`: the mark of its texts, also where there
    /// are none and the agent has only the fallback's to translate from.
    #[must_use]
    pub fn mark(&self, code: &str) -> Option<&'static str> {
        let base = code.split('-').next().unwrap_or(code);
        match [code, base].into_iter().find_map(|code| self.languages.get(code)) {
            Some(texts) => texts.mark(),
            None => Some(NOT_REVIEWED),
        }
    }

    /// A text outside of items, with its variables filled in. Empty only for a name that is not in [`TEXTS`].
    #[must_use]
    pub fn text(&self, language: &str, name: &str, patient_name: &str) -> String {
        let texts = self.languages.get(self.spoken(language));
        let text = texts.and_then(|texts| texts.say.get(name)).map_or("", String::as_str);
        text.replace("{patient_name}", patient_name)
            .replace("{emergency_number}", &spaced(&self.emergency_number))
            .replace("{crisis_number}", &spaced(&self.crisis_number))
    }

    /// A text as it stands in the file, variables included.
    #[must_use]
    pub fn raw_text(&self, language: &str, name: &str) -> Option<&str> {
        self.languages.get(language)?.say.get(name).map(String::as_str)
    }

    /// The words that say which keys answer an item, or one of [`KEY_TEXTS`]; empty where a draft has none. `unit` names
    /// the entry for the unit of weight.
    #[must_use]
    pub fn key_words(&self, language: &str, name: &str, unit: &str) -> String {
        let Some(texts) = self.languages.get(self.spoken(language)) else { return String::new() };
        let unit = texts.keys.get(unit).map_or("", String::as_str);
        texts.keys.get(name).map(|text| text.replace("{weight_unit}", unit)).unwrap_or_default()
    }

    /// The words about keys as they stand in the file, variables included.
    #[must_use]
    pub fn raw_key_words(&self, language: &str, name: &str) -> Option<&str> {
        self.languages.get(language)?.keys.get(name).map(String::as_str)
    }

    /// The prompt of an item.
    #[must_use]
    pub fn prompt(&self, language: &str, item: &str) -> &str {
        let texts = self.languages.get(self.spoken(language));
        texts.and_then(|texts| texts.items.get(item)).map_or("", String::as_str)
    }
}

/// Digits apart, so that 911 is spoken digit by digit.
fn spaced(number: &str) -> String {
    let digits: Vec<String> = number.chars().map(String::from).collect();
    digits.join(" ")
}

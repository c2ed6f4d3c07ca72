//! The settings an ElevenLabs agent needs for this protocol, as the service's JSON.
//!
//! The agent lives in the service's account and can be changed there by hand. [`desired`] says what it must look like so
//! that calls work and nothing about a patient stays with the service; [`diff`] compares that with what it looks like.
//! Only what is set here is compared: the service has many more settings, and their defaults are its own business.

mod collected;
mod diff;
mod from_protocol;
mod prompt;
mod realtime;
mod settings;
mod tools;

pub use collected::{collected_answers, collection};
pub use diff::{Change, diff};
pub use prompt::system_prompt;
pub use realtime::{FunctionTool, realtime_instructions, realtime_tools};
pub use settings::{CLIENT_EVENTS, LLMS_WITHOUT_RETENTION};
pub use tools::TOOL_MARK;

use crate::answers::Topic;
use crate::protocol::{TELLING_WORDS, languages};
use crate::tools::VoiceTask;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The language the agent is set to; the others are presets of it.
const BASE_LANGUAGE: &str = "en";
/// Items of a protocol; each costs the patient time and the model attention.
const MAX_ITEMS: usize = 64;
/// What a protocol says, as far as the agent has to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentText {
    /// Name of the protocol.
    pub name: String,
    /// Its version; part of the agent's tags, so that the account shows which one is in force.
    pub version: String,
    /// Questions and voice tasks, in the order in which they are asked.
    pub items: Vec<ItemText>,
    /// First words, by language. Somebody else may hear them: neutral.
    pub greeting: BTreeMap<String, String>,
    /// Last words, by language.
    pub closing: BTreeMap<String, String>,
    /// What is left on an answering machine, by language: neutral.
    pub voicemail: BTreeMap<String, String>,
    /// Said when a call reaches its longest duration, by language: neutral, because nobody may have been identified.
    pub time_over: BTreeMap<String, String>,
    /// Languages a call may be held in; `en` among them.
    pub languages: Vec<String>,
    /// Languages whose wordings stand in the agent's own instructions; `en` among them. In the others our answers to its
    /// tools bring the words.
    pub prompt_languages: Vec<String>,
    /// Red flags the agent may report: code and what it means.
    pub red_flags: Vec<(String, String)>,
    /// Words the patient is likely to use that are hard to recognise, such as names of medicines.
    pub keywords: Vec<String>,
}

/// One question or voice task.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemText {
    /// Identifier of the protocol's item.
    pub id: String,
    /// What the question is about; `None` for a voice task.
    pub topic: Option<Topic>,
    /// The voice task; `None` for a question.
    pub task: Option<VoiceTask>,
    /// What the agent says, by language.
    pub prompts: BTreeMap<String, String>,
    /// The values an answer may have, where it is one of several.
    pub choices: Vec<String>,
}

/// What differs between installations.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentOptions {
    /// Name of the language model.
    pub llm: String,
    /// The voice; the service's own default when `None`.
    pub voice_id: Option<String>,
    /// Voices of other languages than English.
    pub voices: BTreeMap<String, String>,
    /// Longest conversation, in seconds.
    pub max_duration_s: u32,
    /// How long the agent waits for a patient who says nothing, in seconds: 10 to 15.
    pub turn_timeout_s: u32,
    /// Speed of the voice, 0.7 to 1.2.
    pub speed: f64,
    /// How many conversations this agent may hold at once; -1 leaves it to the account.
    pub concurrency_limit: i32,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            llm: "gemini-2.5-flash".to_owned(),
            voice_id: None,
            voices: BTreeMap::new(),
            max_duration_s: 900,
            turn_timeout_s: 12,
            speed: 0.95,
            concurrency_limit: -1,
        }
    }
}

/// Why there are no settings for a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentTextError {
    /// A part is missing.
    #[error("{part} is missing in language {language}: add it to the protocol")]
    Missing {
        /// The part.
        part: String,
        /// The language.
        language: String,
    },
    /// A language the service does not have, or English missing.
    #[error("language {0} is not one an agent can be set to; the first must be en")]
    Language(String),
    /// Words that anybody may hear tell what the call is about.
    #[error("{part} in language {language} says {word:?}, but somebody else may hear it: say it neutrally")]
    NotNeutral {
        /// The part.
        part: &'static str,
        /// The language.
        language: String,
        /// The word.
        word: &'static str,
    },
    /// No items, too many, or two with one name.
    #[error("items: expected 1 to 64 with names of their own, of a-z, 0-9 and _")]
    Items,
    /// A model that would keep what patients say.
    #[error("language model {0} is not among those that keep nothing: choose one of {list}", list = LLMS_WITHOUT_RETENTION.join(", "))]
    Llm(String),
    /// An option out of its range.
    #[error("{option}: expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// What the service gave identifiers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bound {
    /// Identifiers of the client tools.
    pub tool_ids: Vec<String>,
    /// Documents of the knowledge base: identifier and name.
    pub documents: Vec<(String, String)>,
    /// The workspace's webhook for post-call messages.
    pub post_call_webhook_id: Option<String>,
}

/// An agent as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredAgent {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Client tools, each the service's `tool_config`.
    pub tools: Vec<Value>,
    conversation_config: Value,
    platform_settings: Value,
}

/// The settings for a protocol.
///
/// # Errors
/// [`AgentTextError`] for a protocol or options that would make calls fail, or that would keep what patients say.
pub fn desired(text: &AgentText, options: &AgentOptions) -> Result<DesiredAgent, AgentTextError> {
    check_text(text)?;
    check_options(options)?;
    Ok(DesiredAgent {
        name: format!("HeartVoice {}", text.name),
        tags: vec!["heartvoice".to_owned(), format!("protocol {}", text.version)],
        tools: tools::client_tools(text),
        conversation_config: settings::conversation_config(text, options),
        platform_settings: settings::platform_settings(text, options),
    })
}

impl DesiredAgent {
    /// The body of a request that creates or changes the agent, once tools and documents have identifiers.
    #[must_use]
    pub fn body(&self, bound: &Bound) -> Value {
        let (mut conversation, mut platform) = (self.conversation_config.clone(), self.platform_settings.clone());
        let documents = bound
            .documents
            .iter()
            .map(|(id, name)| json!({"type": "text", "name": name, "id": id, "usage_mode": "auto"}));
        put(&mut conversation, "/agent/prompt", "tool_ids", json!(bound.tool_ids));
        put(&mut conversation, "/agent/prompt", "knowledge_base", documents.collect());
        if let Some(id) = &bound.post_call_webhook_id {
            let webhooks = json!({"post_call_webhook_id": id, "events": settings::WEBHOOK_EVENTS,
                "transcript_format": "json", "exclude_transcript": false});
            put(&mut platform, "", "workspace_overrides", json!({"webhooks": webhooks}));
        }
        json!({
            "name": self.name,
            "tags": self.tags,
            "conversation_config": conversation,
            "platform_settings": platform,
        })
    }
}

fn put(target: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(object) = target.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(key.to_owned(), value);
    }
}

fn check_text(text: &AgentText) -> Result<(), AgentTextError> {
    if text.languages.first().map(String::as_str) != Some(BASE_LANGUAGE) {
        return Err(AgentTextError::Language(text.languages.first().cloned().unwrap_or_default()));
    }
    if let Some(unknown) = text.languages.iter().find(|language| !languages::is_agent_language(language)) {
        return Err(AgentTextError::Language(unknown.clone()));
    }
    let mut ids: Vec<&str> = text.items.iter().map(|item| item.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let good =
        |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if ids.is_empty() || ids.len() != text.items.len() || ids.len() > MAX_ITEMS || !ids.iter().all(|id| good(id)) {
        return Err(AgentTextError::Items);
    }
    for language in &text.languages {
        let missing = |part: &str| AgentTextError::Missing { part: part.to_owned(), language: language.clone() };
        for (part, texts) in
            [("greeting", &text.greeting), ("voicemail", &text.voicemail), ("time_over", &text.time_over)]
        {
            let words = texts.get(language).filter(|words| !words.trim().is_empty()).ok_or_else(|| missing(part))?;
            let lower = words.to_lowercase();
            if let Some(word) = TELLING_WORDS.into_iter().find(|word| lower.contains(word)) {
                return Err(AgentTextError::NotNeutral { part, language: language.clone(), word });
            }
        }
        text.closing.get(language).ok_or_else(|| missing("closing"))?;
        for item in &text.items {
            item.prompts.get(language).ok_or_else(|| missing(&format!("the text of {}", item.id)))?;
        }
    }
    Ok(())
}

fn check_options(options: &AgentOptions) -> Result<(), AgentTextError> {
    if !LLMS_WITHOUT_RETENTION.contains(&options.llm.as_str()) {
        return Err(AgentTextError::Llm(options.llm.clone()));
    }
    let ranges = [
        ("turn_timeout_s", (10..=15).contains(&options.turn_timeout_s), "10 to 15 seconds"),
        ("max_duration_s", (60..=7_200).contains(&options.max_duration_s), "60 to 7200 seconds"),
        ("speed", (0.7..=1.2).contains(&options.speed), "0.7 to 1.2"),
        ("concurrency_limit", options.concurrency_limit >= -1, "-1 or more"),
    ];
    match ranges.into_iter().find(|(_, fits, _)| !fits) {
        Some((option, _, expected)) => Err(AgentTextError::Option { option, expected }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! What differs between an agent as it is and as it should be, and what a call loses by it.

use serde_json::Value;
use std::collections::BTreeSet;

/// A setting that is not what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where it stands, such as `conversation_config.tts.agent_output_audio_format`.
    pub path: String,
    /// What it is; `None` when it is not set.
    pub live: Option<Value>,
    /// What it should be.
    pub desired: Value,
    /// What does not work, or happens, while it is not.
    pub breaks: &'static str,
    /// True when calls fail, patients come to harm, or what they said stays with the service.
    pub serious: bool,
}

/// Lists whose order means nothing.
const SETS: [&str; 8] = [
    "parameters.required",
    "tags",
    "conversation_config.conversation.client_events",
    "conversation_config.agent.prompt.tool_ids",
    "conversation_config.asr.keywords",
    "conversation_config.turn.interruption_ignore_terms",
    "platform_settings.auth.allowlist",
    "platform_settings.workspace_overrides.webhooks.events",
];

/// Lists of objects that are known by their `id`.
const BY_ID: [&str; 2] = ["conversation_config.agent.prompt.knowledge_base", "platform_settings.evaluation.criteria"];

/// Calls fail, patients come to harm, or what they said stays with the service.
const SERIOUS: bool = true;
const MINOR: bool = false;

/// Beginnings of paths and what depends on them; the longest that fits counts.
const BREAKS: [(&str, bool, &str); 38] = [
    ("", MINOR, "the agent is not the one this version was made for"),
    ("name", MINOR, "nothing; the account shows another name"),
    ("tags", MINOR, "the account does not show which protocol is in force"),
    (
        "conversation_config.agent.first_message",
        SERIOUS,
        "the patient hears other first words, which may tell strangers too much",
    ),
    ("conversation_config.agent.language", MINOR, "calls begin in another language"),
    (
        "conversation_config.agent.disable_first_message_interruptions",
        MINOR,
        "a \"hello?\" of the patient cuts off the greeting",
    ),
    (
        "conversation_config.agent.max_conversation_duration_message",
        MINOR,
        "a call that reaches its time limit ends without a word",
    ),
    ("conversation_config.agent.dynamic_variables", MINOR, "the agent cannot be tried out in the account"),
    (
        "conversation_config.agent.prompt.prompt",
        SERIOUS,
        "the agent does not follow the protocol: questions, identity check and red flags",
    ),
    (
        "conversation_config.agent.prompt.llm",
        SERIOUS,
        "another model may keep what patients say, or follow the protocol worse",
    ),
    (
        "conversation_config.agent.prompt.backup_llm_config",
        SERIOUS,
        "when the model fails, one may take over that keeps what patients say",
    ),
    (
        "conversation_config.agent.prompt.tool_ids",
        SERIOUS,
        "answers are not recorded, voice tasks not measured, red flags not reported",
    ),
    (
        "conversation_config.agent.prompt.built_in_tools.end_call",
        SERIOUS,
        "the agent cannot hang up: calls run until their time limit",
    ),
    (
        "conversation_config.agent.prompt.built_in_tools.voicemail_detection",
        MINOR,
        "the agent talks to answering machines",
    ),
    (
        "conversation_config.agent.prompt.built_in_tools.skip_turn",
        MINOR,
        "the agent talks into counting and into walks to the scale",
    ),
    (
        "conversation_config.agent.prompt.built_in_tools.language_detection",
        MINOR,
        "a patient who speaks another language is not followed",
    ),
    (
        "conversation_config.agent.prompt.knowledge_base",
        MINOR,
        "the agent answers questions of patients from its own general knowledge",
    ),
    ("conversation_config.agent.prompt.rag", MINOR, "the agent does not look into the documents it was given"),
    ("conversation_config.agent.prompt", MINOR, "the agent behaves differently from call to call"),
    ("conversation_config.asr.user_input_audio_format", SERIOUS, "the agent hears noise: every call fails"),
    ("conversation_config.asr", MINOR, "more words are misunderstood, names of medicines first"),
    ("conversation_config.tts.agent_output_audio_format", SERIOUS, "the patient hears noise: every call fails"),
    ("conversation_config.tts.model_id", SERIOUS, "speech comes later, or not at all in this language"),
    ("conversation_config.tts", MINOR, "the voice is faster or less steady than older patients need"),
    ("conversation_config.turn", MINOR, "the agent interrupts slow speakers or lets calls hang"),
    (
        "conversation_config.conversation.max_duration_seconds",
        MINOR,
        "long calls are cut off, or stuck ones cost for hours",
    ),
    ("conversation_config.conversation.client_events", SERIOUS, "transcripts, tools or interruptions do not reach us"),
    ("conversation_config.language_presets", SERIOUS, "calls in other languages are refused or held in English"),
    ("platform_settings.auth", SERIOUS, "anybody who learns the agent's identifier can talk to it"),
    ("platform_settings.overrides", SERIOUS, "calls end at once: the service refuses what we set for each patient"),
    ("platform_settings.evaluation", MINOR, "the service does not judge whether the protocol was followed"),
    ("platform_settings.data_collection", MINOR, "answers the agent forgot to record are not found after the call"),
    ("platform_settings.privacy", SERIOUS, "the service keeps recordings or transcripts of patients"),
    ("platform_settings.call_limits", MINOR, "calls beyond the limit cost double and answer slowly, or are refused"),
    ("platform_settings.queueing_config", SERIOUS, "patients hear nothing while their conversation waits"),
    ("platform_settings.guardrails", MINOR, "the agent can be talked out of its role, or its questions are blocked"),
    ("platform_settings.workspace_overrides.webhooks", MINOR, "transcript and analysis never reach us after the call"),
    (
        "platform_settings.analysis_llm",
        SERIOUS,
        "the analysis after the call may use a model that keeps what patients say",
    ),
];

/// Compares everything that is set in `desired` with `live`, both as the service's agent. Whatever else `live` has is
/// left alone.
#[must_use]
pub fn diff(live: &Value, desired: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), Some(live), desired, &mut changes);
    changes
}

fn compare(path: String, live: Option<&Value>, desired: &Value, changes: &mut Vec<Change>) {
    let live = live.filter(|value| !value.is_null());
    let same = match (live, desired) {
        (_, Value::Object(wanted)) => {
            if let (None, true) = (live, wanted.is_empty()) {
                return;
            }
            for (key, wanted) in wanted {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(below, live.and_then(|live| live.get(key)), wanted, changes);
            }
            return;
        }
        // An empty text stands for the service's own words, which it may fill in.
        (_, Value::String(wanted)) if wanted.is_empty() => true,
        // Nothing and an empty list are what the service makes of a field nobody set.
        (None, wanted) => is_nothing(wanted),
        (Some(Value::Array(live)), Value::Array(wanted)) if BY_ID.contains(&path.as_str()) => {
            return compare_by_id(&path, live, wanted, changes);
        }
        (Some(Value::Array(live)), Value::Array(wanted)) if SETS.contains(&path.as_str()) => {
            as_set(live) == as_set(wanted)
        }
        (Some(live), wanted) => equal(live, wanted),
    };
    if !same {
        let (serious, breaks) = breaks(&path);
        changes.push(Change { path, live: live.cloned(), desired: desired.clone(), breaks, serious });
    }
}

/// Compares lists of objects with identifiers: the same ones, each as it should be. One too many is a change of the list.
fn compare_by_id(path: &str, live: &[Value], wanted: &[Value], changes: &mut Vec<Change>) {
    let id = |value: &Value| value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ids = |values: &[Value]| values.iter().map(id).collect::<BTreeSet<_>>();
    if ids(live) != ids(wanted) || live.len() != wanted.len() {
        let (serious, breaks) = breaks(path);
        changes.push(Change {
            path: path.to_owned(),
            live: Some(Value::Array(live.to_vec())),
            desired: Value::Array(wanted.to_vec()),
            breaks,
            serious,
        });
        return;
    }
    for wanted in wanted {
        let found = live.iter().find(|live| id(live) == id(wanted));
        compare(format!("{path}[{}]", id(wanted)), found, wanted, changes);
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn as_set(values: &[Value]) -> BTreeSet<String> {
    values.iter().map(Value::to_string).collect()
}

fn equal(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        // 12 and 12.0 are one setting, and so are 0.95 and what single precision makes of it.
        (Value::Number(live), Value::Number(wanted)) => match (live.as_f64(), wanted.as_f64()) {
            (Some(live), Some(wanted)) => (live - wanted).abs() <= 1e-6 * wanted.abs().max(1.0),
            _ => live == wanted,
        },
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| equal(live, wanted))
        }
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).map_or_else(|| is_nothing(wanted), |live| equal(live, wanted))),
        (live, wanted) => live == wanted,
    }
}

fn breaks(path: &str) -> (bool, &'static str) {
    let fits = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let known = BREAKS.iter().filter(|(prefix, ..)| fits(prefix));
    known.max_by_key(|(prefix, ..)| prefix.len()).map_or((MINOR, ""), |(_, serious, breaks)| (*serious, breaks))
}

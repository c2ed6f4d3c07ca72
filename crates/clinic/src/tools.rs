//! The tools an agent may call in a conversation.
//!
//! A tool request is written by a language model: names may be invented and parameters may be anything. [`run`] checks
//! them and answers with JSON for the agent plus, where the call itself has to change, an [`Effect`].

use serde_json::{Map, Value, json};

/// Longest text of an answer that is taken from a tool parameter, in characters.
const MAX_VALUE_CHARS: usize = 500;

/// A voice task with a window of its own in the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoiceTask {
    /// Open speech.
    Speech,
    /// Counting from 1 to 20.
    Counting,
    /// A sustained "ahhh".
    SustainedVowel,
}

impl VoiceTask {
    /// The name used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Counting => "counting",
            Self::SustainedVowel => "sustained-vowel",
        }
    }

    /// The task with that name; `_` is taken for `-`, because models mix them up.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "speech" => Some(Self::Speech),
            "counting" => Some(Self::Counting),
            "sustained-vowel" => Some(Self::SustainedVowel),
            _ => None,
        }
    }
}

/// What a tool asks the call to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Open the window of a voice task now.
    StartTask(VoiceTask),
    /// Close the window of the running voice task now.
    EndTask,
}

/// The answer to a tool request.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutcome {
    /// JSON text for the agent; never empty.
    pub result: String,
    /// True when the tool refused or is unknown.
    pub is_error: bool,
    /// What the call has to do.
    pub effect: Option<Effect>,
}

impl ToolOutcome {
    fn ok(value: &Value, effect: Option<Effect>) -> Self {
        Self { result: value.to_string(), is_error: false, effect }
    }

    fn refused(why: &str) -> Self {
        Self { result: json!({"error": why}).to_string(), is_error: true, effect: None }
    }
}

/// Runs the tool `name` with parameters as JSON text.
///
/// Unknown tools and unusable parameters are answered with `is_error`, because an agent waits for an answer to every
/// request.
#[must_use]
pub fn run(name: &str, parameters: &str) -> ToolOutcome {
    let empty = Map::new();
    let parsed: Value = match serde_json::from_str(parameters) {
        Ok(value) => value,
        Err(_) => return ToolOutcome::refused("parameters are not JSON"),
    };
    let parameters = match &parsed {
        Value::Object(map) => map,
        Value::Null => &empty,
        _ => return ToolOutcome::refused("parameters must be an object"),
    };
    match name {
        "start_task" => match parameters.get("task").and_then(Value::as_str).and_then(VoiceTask::parse) {
            Some(task) => ToolOutcome::ok(
                &json!({"started": task.as_str(), "say": "now ask the patient to begin"}),
                Some(Effect::StartTask(task)),
            ),
            None => ToolOutcome::refused("task must be speech, counting or sustained-vowel"),
        },
        "end_task" => ToolOutcome::ok(&json!({"ended": true}), Some(Effect::EndTask)),
        "record_answer" => record_answer(parameters),
        _ => ToolOutcome::refused("unknown tool"),
    }
}

/// Checks an answer. The store keeps the request itself, so nothing else has to happen here.
fn record_answer(parameters: &Map<String, Value>) -> ToolOutcome {
    let Some(question) = parameters.get("question").and_then(Value::as_str).filter(|q| !q.trim().is_empty()) else {
        return ToolOutcome::refused("question must be a text");
    };
    if question.chars().count() > MAX_VALUE_CHARS {
        return ToolOutcome::refused("question is too long");
    }
    match parameters.get("value") {
        Some(Value::String(text)) if text.chars().count() <= MAX_VALUE_CHARS => {
            ToolOutcome::ok(&json!({"recorded": true}), None)
        }
        Some(Value::Number(_) | Value::Bool(_)) => ToolOutcome::ok(&json!({"recorded": true}), None),
        Some(Value::String(_)) => ToolOutcome::refused("value is too long"),
        _ => ToolOutcome::refused("value must be a text, a number or true/false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tasks_open_and_close_windows() {
        let started = run("start_task", r#"{"task":"sustained_vowel"}"#);
        assert_eq!(started.effect, Some(Effect::StartTask(VoiceTask::SustainedVowel)));
        assert_eq!(run("end_task", "{}").effect, Some(Effect::EndTask));
    }

    #[test]
    fn nonsense_is_answered_not_obeyed() {
        for (name, parameters) in [
            ("start_task", r#"{"task":"sing"}"#),
            ("start_task", "[]"),
            ("record_answer", r#"{"question":"weight"}"#),
            ("record_answer", r#"{"question":"","value":1}"#),
            ("record_answer", "not json"),
            ("delete_everything", "{}"),
        ] {
            let outcome = run(name, parameters);
            assert!(outcome.is_error, "{name} {parameters}");
            assert_eq!(outcome.effect, None);
        }
    }

    proptest! {
        #[test]
        fn every_request_gets_a_non_empty_answer(name in ".{0,20}", parameters in ".{0,60}") {
            prop_assert!(!run(&name, &parameters).result.is_empty());
        }
    }
}

//! The first message of a client: what it may ask for, and what is refused.

use super::SimConfig;
use serde_json::{Map, Value};

/// Why a conversation is refused with close 1008.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `error_type` of the error event.
    pub error_type: &'static str,
    /// Close reason.
    pub reason: String,
}

/// What the init message asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Init {
    /// Words to begin with instead of the agent's own.
    pub first_message: Option<String>,
    /// Language to speak instead of the agent's own.
    pub language: Option<String>,
    /// A conversation without audio.
    pub text_only: bool,
    /// Dynamic variables.
    pub variables: Map<String, Value>,
}

impl Init {
    /// Reads an init message.
    ///
    /// # Errors
    /// A field that may not be overridden, or a variable that is missing.
    pub fn read(message: &Value, config: &SimConfig) -> Result<Self, Refusal> {
        let overrides = message.get("conversation_config_override");
        if let (Some(allowed), Some(overrides)) = (&config.allowed_overrides, overrides) {
            let mut used = Vec::new();
            leaves(overrides, &mut used);
            if let Some(field) = used.iter().find(|field| !allowed.iter().any(|a| a == *field)) {
                return Err(Refusal {
                    error_type: "override_error",
                    reason: format!("Override for field '{field}' is not allowed by config."),
                });
            }
        }
        let variables = message.get("dynamic_variables").and_then(Value::as_object).cloned().unwrap_or_default();
        let missing: Vec<String> = config
            .required_variables
            .iter()
            .filter(|v| !variables.contains_key(*v))
            .map(|v| format!("'{v}'"))
            .collect();
        if !missing.is_empty() {
            return Err(Refusal {
                error_type: "missing_dynamic_variable",
                reason: format!("Missing required dynamic variables in first message: {{{}}}", missing.join(", ")),
            });
        }
        let at = |pointer: &str| overrides.and_then(|o| o.pointer(pointer));
        let is_true = |pointer: &str| at(pointer).and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            first_message: at("/agent/first_message").and_then(Value::as_str).map(|text| fill(text, &variables)),
            language: at("/agent/language").and_then(Value::as_str).map(str::to_owned),
            // The Python SDK puts text_only one level too high.
            text_only: is_true("/conversation/text_only") || is_true("/text_only"),
            variables,
        })
    }
}

/// Names of the fields that are really set. Empty objects, nulls and `text_only: false` ask for nothing.
fn leaves(value: &Value, out: &mut Vec<String>) {
    let Some(map) = value.as_object() else { return };
    for (name, value) in map {
        match value {
            Value::Object(_) => leaves(value, out),
            Value::Null => {}
            Value::Bool(false) if name == "text_only" => {}
            _ => out.push(name.clone()),
        }
    }
}

/// Replaces `{{name}}` by the variable.
fn fill(text: &str, variables: &Map<String, Value>) -> String {
    variables.iter().fold(text.to_owned(), |text, (name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.replace(&format!("{{{{{name}}}}}"), &value)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use serde_json::json;

    fn strict() -> SimConfig {
        SimConfig {
            allowed_overrides: Some(vec!["language".to_owned()]),
            required_variables: vec!["patient_name".to_owned()],
            ..SimConfig::default()
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused_with_its_name() {
        let message = json!({"dynamic_variables": {"patient_name": "Ada"},
            "conversation_config_override": {"agent": {"first_message": "Hi", "language": "en"}}});
        let refusal = Init::read(&message, &strict()).unwrap_err();
        assert_eq!(refusal.reason, "Override for field 'first_message' is not allowed by config.");
        let missing = Init::read(&json!({}), &strict()).unwrap_err();
        assert_eq!(missing.reason, "Missing required dynamic variables in first message: {'patient_name'}");
        assert_eq!(missing.error_type, "missing_dynamic_variable");
    }

    #[test]
    fn empty_objects_are_no_overrides_and_variables_fill_in() {
        let message = json!({"dynamic_variables": {"patient_name": "Ada", "kg": 82.5},
            "conversation_config_override": {"agent": {}, "tts": {}, "conversation": {"text_only": false}}});
        assert_eq!(Init::read(&message, &strict()).unwrap().first_message, None);
        let message = json!({"dynamic_variables": {"patient_name": "Ada", "kg": 82.5},
            "conversation_config_override": {"agent": {"first_message": "Hi {{patient_name}}, {{kg}}"}, "text_only": true}});
        let init = Init::read(&message, &SimConfig::default()).unwrap();
        assert_eq!(init.first_message.as_deref(), Some("Hi Ada, 82.5"));
        assert!(init.text_only);
    }
}

//! The same agent for a service that keeps no agents: OpenAI's Realtime API is given everything when a call begins.
//!
//! Prompt and tools are those of the ElevenLabs agent. What that service does by itself (hanging up, recognising
//! answering machines, following another language) are functions of ours here, and the variables of the prompt are
//! filled in, since there is nobody else to do it.

use super::prompt::system_prompt;
use super::tools::{TOOL_MARK, client_tools};
use super::{AgentText, BASE_LANGUAGE};
use serde_json::{Value, json};

/// A function of ours that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionTool {
    /// Its name.
    pub name: String,
    /// What it is for, for the model.
    pub description: String,
    /// Its parameters as a JSON schema.
    pub parameters: Value,
}

/// What the model is told that ElevenLabs' own tools and settings know by themselves.
const LINE: &str = "\
# This telephone line
- You are on the telephone: speak calmly and a little slower than usual. Noise on the line is not speech; ignore it.
- Never answer \"mhm\", \"okay\" or a cough. Wait for the rest.
- While a voice task runs you say nothing at all, not even between the numbers, until the person has plainly ended.
- Only a call of end_call ends the call. Say your last words first, then call it, and say nothing after it.
- If the person speaks another language than yours, call language_detection with its code and go on in that language.";

/// The system prompt for one patient, with every variable filled in. Names the patient.
#[must_use]
pub fn realtime_instructions(text: &AgentText, patient_name: &str, language: &str) -> String {
    let known = text.prompt_languages.iter().any(|known| known == language);
    let languages = if known { text.prompt_languages.clone() } else { vec![language.to_owned()] };
    let mut out = system_prompt(text, &languages);
    out.push_str("\n\n");
    out.push_str(LINE);
    let message = text.voicemail.get(language).or_else(|| text.voicemail.get(BASE_LANGUAGE));
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        out.push_str(
            "\n- If an answering machine or a voicemail picks up, call voicemail_detection, say only these words, ",
        );
        out.push_str(&format!("then call end_call: {message}\n"));
    }
    // A name is data: it must not end a line of the prompt and begin one of its own.
    let name: String = patient_name.chars().map(|c| if c.is_control() || "{}".contains(c) { ' ' } else { c }).collect();
    let name = if name.trim().is_empty() { "the patient" } else { name.trim() };
    out.replace("{{patient_name}}", name).replace("{{language}}", language)
}

/// The functions of a call: those of the ElevenLabs agent, and what that service has of its own.
#[must_use]
pub fn realtime_tools(text: &AgentText) -> Vec<FunctionTool> {
    let mut tools: Vec<FunctionTool> = client_tools(text).into_iter().filter_map(|tool| function(&tool)).collect();
    let own = |name: &str, description: &str, properties: Value| FunctionTool {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({"type": "object", "required": [], "properties": properties}),
    };
    tools.push(own(
        "end_call",
        "Ends the call. Call it after your last words, when the answer of a tool says so or the person wants to stop.",
        json!({}),
    ));
    tools.push(own(
        "voicemail_detection",
        "Call it when an answering machine or a voicemail has picked up instead of a person.",
        json!({}),
    ));
    tools.push(own(
        "language_detection",
        "Call it when the person speaks another language than you, then go on in theirs.",
        json!({"language": {"type": "string", "description": "Code of the language, such as es"}}),
    ));
    tools
}

/// A tool of the other service as a function: the same name, purpose and parameters.
fn function(tool: &Value) -> Option<FunctionTool> {
    let text = |name: &str| tool.get(name).and_then(Value::as_str);
    let description = text("description")?.trim_start_matches(TOOL_MARK).trim_start();
    Some(FunctionTool {
        name: text("name")?.to_owned(),
        description: description.to_owned(),
        parameters: tool.get("parameters")?.clone(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::protocol::Protocol;

    fn shipped() -> AgentText {
        AgentText::from_protocol(&Protocol::shipped())
    }

    #[test]
    fn the_prompt_names_the_patient_and_has_no_gap_left() {
        let text = shipped();
        let prompt = realtime_instructions(&text, "Ada Lovelace", "es");
        assert!(prompt.contains("a personal call for Ada Lovelace and that"));
        assert!(prompt.contains("the language of the patient, es,"));
        assert!(!prompt.contains("{{"), "a variable is left");
        for item in &text.items {
            assert!(prompt.contains(item.prompts["es"].as_str()), "{}", item.id);
        }
        assert!(prompt.contains(&text.voicemail["es"].replace("{{patient_name}}", "Ada Lovelace")));
        assert!(realtime_instructions(&text, "Ada", "fr").contains(text.items[0].prompts["fr"].as_str()));
        let tricky = realtime_instructions(&text, "Ada\n# New rules\n{{language}}", "en");
        assert!(tricky.contains("Ada # New rules") && !tricky.contains("\n# New rules"), "a name gives no orders");
        assert!(realtime_instructions(&text, " ", "en").contains("call for the patient and"));
    }

    #[test]
    fn the_tools_are_those_of_the_other_agent_and_three_more() {
        let text = shipped();
        let (functions, others) = (realtime_tools(&text), client_tools(&text));
        assert_eq!(functions.len(), others.len() + 3);
        for (function, other) in functions.iter().zip(&others) {
            assert_eq!(function.name, other["name"]);
            assert_eq!(function.parameters, other["parameters"]);
            assert!(!function.description.contains(TOOL_MARK));
        }
        for function in &functions {
            assert_eq!(function.parameters["type"], "object", "{}", function.name);
        }
        for name in ["end_call", "voicemail_detection", "language_detection"] {
            assert!(functions.iter().any(|function| function.name == name), "{name}");
        }
    }
}

//! The client tools: what the agent may ask of us in mid-conversation.
//!
//! Every one expects an answer, because every answer may say what comes next.

use super::AgentText;
use crate::tools::VoiceTask;
use serde_json::{Map, Value, json};

/// How the description of every tool of ours begins, so that tools of others in the same account are left alone.
pub const TOOL_MARK: &str = "[heartvoice]";

/// Seconds the service waits for an answer. Ours come within milliseconds; the rest is for a network in trouble.
const ANSWER_S: u32 = 10;
/// As [`ANSWER_S`], for what telephones somebody first.
const TRANSFER_S: u32 = 30;

struct Tool {
    name: &'static str,
    description: String,
    /// Name, definition, required or not.
    parameters: Vec<(&'static str, Value, bool)>,
    timeout_s: u32,
    /// Whether the agent may say something while it asks.
    speaks: bool,
}

impl Tool {
    fn new(name: &'static str, description: impl Into<String>) -> Self {
        Self { name, description: description.into(), parameters: Vec::new(), timeout_s: ANSWER_S, speaks: true }
    }

    fn takes(mut self, name: &'static str, definition: Value, required: bool) -> Self {
        self.parameters.push((name, definition, required));
        self
    }

    fn silent(mut self) -> Self {
        self.speaks = false;
        self
    }

    fn timeout(mut self, seconds: u32) -> Self {
        self.timeout_s = seconds;
        self
    }

    fn config(self) -> Value {
        let required: Vec<&str> = self.parameters.iter().filter(|p| p.2).map(|p| p.0).collect();
        let properties: Map<String, Value> =
            self.parameters.iter().map(|(name, definition, _)| ((*name).to_owned(), definition.clone())).collect();
        json!({
            "type": "client",
            "name": self.name,
            "description": format!("{TOOL_MARK} {}", self.description),
            "expects_response": true,
            "response_timeout_secs": self.timeout_s,
            "interruption_mode": "allow",
            "pre_tool_speech": if self.speaks { "auto" } else { "off" },
            "execution_mode": "immediate",
            "parameters": {"type": "object", "required": required, "properties": properties},
        })
    }
}

/// All client tools as the service's `tool_config`.
pub(super) fn client_tools(text: &AgentText) -> Vec<Value> {
    let questions: Vec<&str> =
        text.items.iter().filter(|item| item.task.is_none()).map(|item| item.id.as_str()).collect();
    let mut tasks: Vec<&str> = text.items.iter().filter_map(|item| item.task.map(VoiceTask::as_str)).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let codes: Vec<&str> = text.red_flags.iter().map(|(code, _)| code.as_str()).collect();
    let mut tools = vec![
        Tool::new(
            "verify_identity",
            "Checks who is on the telephone. Call it with the date of birth or the PIN as soon as the person has said \
             one of them. Only after it answered that the person is verified may you speak about the check-in.",
        )
        .takes("birth_date", text_parameter("Date of birth as YYYY-MM-DD, if that was said"), false)
        .takes("pin", text_parameter("Digits of the PIN, if that was said instead"), false),
        Tool::new("record_consent", "Stores whether the person agrees to the check-in and to its recording.").takes(
            "given",
            json!({"type": "boolean", "description": "true if the person agreed, false if they refused"}),
            true,
        ),
        Tool::new(
            "transfer_to_nurse",
            "Connects the person with a nurse. Call it when the person asks for a human, when they need help you cannot \
             give, or when the answer of another tool says so.",
        )
        .takes("reason", text_parameter("Why, in a few words"), true)
        .timeout(TRANSFER_S),
        Tool::new(
            "mark_wrong_person",
            "Call it when the person says that they are somebody else, or that we dialled a wrong number. Then say a \
             neutral goodbye.",
        ),
    ];
    if !questions.is_empty() {
        tools.push(
            Tool::new(
                "record_answer",
                "Stores an answer. Call it after every answer, before you ask anything else; if the person corrects \
                 themselves, call it again.",
            )
            .takes(
                "question",
                json!({"type": "string", "enum": questions, "description": "Which question was answered"}),
                true,
            )
            .takes(
                "value",
                text_parameter(
                    "The answer: one of the choices where the question has choices, yes or no, or a number with its \
                     unit as the person said it",
                ),
                true,
            ),
        );
    }
    if !tasks.is_empty() {
        let task = json!({"type": "string", "enum": tasks, "description": "Which task"});
        tools.push(
            Tool::new(
                "start_task",
                "Begins a voice task. Call it right before you ask the person to begin, then be silent until they are \
                 done.",
            )
            .takes("task", task, true)
            .silent(),
        );
        tools.push(Tool::new("end_task", "Ends the running voice task, as soon as the person is done.").silent());
    }
    if !codes.is_empty() {
        tools.push(
            Tool::new(
                "report_red_flag",
                "Reports an emergency. Call it at once when the person describes one, then say exactly what the \
                 answer tells you to say.",
            )
            .takes("code", json!({"type": "string", "enum": codes, "description": "What was described"}), true)
            .takes("evidence", text_parameter("The person's own words"), true),
        );
    }
    tools.into_iter().map(Tool::config).collect()
}

fn text_parameter(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

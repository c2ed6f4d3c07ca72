//! An agent that follows its client: it does what the answers to its tool calls say comes next.
//!
//! A real agent is told the same by its prompt. This one obeys to the letter, which is what a test of the client needs:
//! whatever is heard on the line was decided by the client.

use super::conversation::Conversation;
use super::script::{Beat, Listen};
use serde_json::{Value, json};

/// Silence that ends a turn in which a patient uses their voice; counting has pauses in it.
const TASK_SILENCE_MS: u64 = 1_400;
const ANSWER_SILENCE_MS: u64 = 600;
/// Questions in a row without an answer before the agent gives up.
const UNANSWERED_MAX: u32 = 6;
/// Thinking between an answer and the next words.
const THINK_MS: u64 = 100;

/// What the client last told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The step of the last tool result or contextual update.
    pub(super) next: Option<Value>,
    /// Something that cannot wait.
    pub(super) urgent: Option<String>,
    asked: u32,
}

impl Conversation {
    /// Takes in the answer to a tool call.
    pub(super) fn note_tool_result(&mut self, result: &str) {
        if let Ok(result) = serde_json::from_str::<Value>(result)
            && let Some(next) = result.get("next").filter(|next| next.is_object())
        {
            self.told.next = Some(next.clone());
        }
    }

    /// Takes in a contextual update or a message: `Say: "..."`, or `exactly: "..."` when it cannot wait.
    pub(super) fn note_context(&mut self, id: &str, text: &str) {
        let quoted = |marker: &str| {
            let (_, rest) = text.split_once(marker)?;
            rest.rsplit_once('"').map(|(said, _)| said.split("\" Then:").next().unwrap_or(said).to_owned())
        };
        if id == "red_flag" {
            self.told.urgent = quoted("exactly: \"");
        } else if let (Some(say), Some(step)) =
            (quoted("Say: \""), text.strip_prefix("Next: ").and_then(|rest| rest.split(' ').next()))
            && self.told.next.is_none()
        {
            self.told.next = Some(json!({"step": step, "say": say}));
        }
    }

    /// The beats of the next step, followed by another look at what comes next.
    pub(super) fn follow(&mut self) -> Vec<Beat> {
        if let Some(say) = self.told.urgent.take() {
            self.told.next = None;
            return self.emergency(say);
        }
        let Some(next) = self.told.next.take() else {
            // Nothing was told: wait a moment, and end when it stays so.
            self.told.asked += 1;
            return if self.told.asked > UNANSWERED_MAX {
                vec![Beat::EndCall]
            } else {
                vec![Beat::Wait(500), Beat::Follow]
            };
        };
        self.told.asked = 0;
        let text = |name: &str| next.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (say, item) = (text("say"), text("item"));
        match text("step").as_str() {
            "identify" => ask(say, ANSWER_SILENCE_MS, "verify_identity", json!({"birth_date": "$answer"})),
            "consent" => ask(say, ANSWER_SILENCE_MS, "record_consent", json!({"given": "$answer"})),
            "question" => ask(say, ANSWER_SILENCE_MS, "record_answer", json!({"question": item, "value": "$answer"})),
            "task" => {
                let mut beats = vec![tool("start_task", json!({"task": text("task")}))];
                beats.extend(ask(say, TASK_SILENCE_MS, "end_task", json!({})));
                beats
            }
            "emergency" => self.emergency(say),
            _ => vec![speak(say, false), Beat::EndCall],
        }
    }

    /// The words of an emergency, then the nurse, if there is one and the patient wants it.
    fn emergency(&mut self, say: String) -> Vec<Beat> {
        let offers = say.trim_end().ends_with('?');
        let mut beats = vec![speak(say, false)];
        if offers {
            beats.push(listen(ANSWER_SILENCE_MS));
            beats.push(Beat::IfYes(Box::new(tool("transfer_to_nurse", json!({"reason": "red flag"})))));
            // A client that connects the caller closes the line.
            beats.push(Beat::Wait(4_000));
        }
        beats.push(Beat::EndCall);
        beats
    }
}

fn speak(text: String, interruptible: bool) -> Beat {
    Beat::Say { text, clip: None, interruptible }
}

fn tool(name: &str, parameters: Value) -> Beat {
    Beat::Tool { name: name.to_owned(), parameters }
}

fn listen(end_silence_ms: u64) -> Beat {
    Beat::Listen(Listen { end_silence_ms, ..Listen::default() })
}

fn ask(say: String, end_silence_ms: u64, name: &str, parameters: Value) -> Vec<Beat> {
    vec![speak(say, true), listen(end_silence_ms), Beat::Wait(THINK_MS), tool(name, parameters), Beat::Follow]
}

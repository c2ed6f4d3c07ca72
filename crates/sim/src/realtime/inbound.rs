//! What a client may send, and what is refused.

use super::Fault;
use super::conversation::Conversation;
use super::{events, settings};
use crate::elevenlabs::speech::{AudioFormat, ToUlaw};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Longest identifier a client may give to an item.
const ID_MAX: usize = 32;
/// Fields of a request for a response.
const RESPONSE_FIELDS: [&str; 13] = [
    "audio",
    "conversation",
    "input",
    "instructions",
    "max_output_tokens",
    "metadata",
    "output_modalities",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
    "modalities",
];

impl Conversation {
    /// A text frame of the client.
    pub fn handle_text(&mut self, now: u64, text: &str) {
        self.begin(now);
        if self.ending || self.has_ended() {
            return;
        }
        let Ok(message @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
            self.stats.protocol_errors.push("not a JSON object".to_owned());
            return self.refuse(now, None, "invalid_json", "We could not parse the JSON body of your request.", None);
        };
        let field = |name: &str| message.get(name).and_then(Value::as_str);
        let (kind, id) = (field("type").unwrap_or_default(), field("event_id"));
        *self.stats.received.entry(kind.to_owned()).or_default() += 1;
        match kind {
            "session.update" => self.update(now, id, &message),
            "input_audio_buffer.append" => match field("audio").map(|audio| STANDARD.decode(audio)) {
                Some(Ok(bytes)) => {
                    let ulaw = self.to_ulaw.push(&bytes);
                    self.hear(now, &ulaw);
                }
                _ => {
                    self.refuse(
                        now,
                        id,
                        "invalid_value",
                        "Invalid 'audio'. Expected base64-encoded audio.",
                        Some("audio"),
                    );
                }
            },
            "input_audio_buffer.clear" => self.event(now, json!({"type": "input_audio_buffer.cleared"})),
            "input_audio_buffer.commit" => {
                let text = "Error committing input audio buffer: buffer too small.";
                self.refuse(now, id, "input_audio_buffer_commit_empty", text, None);
            }
            "conversation.item.create" => self.create_item(now, id, &message),
            "conversation.item.delete" => self.delete_item(now, id, field("item_id").unwrap_or_default()),
            "conversation.item.truncate" => self.truncate_item(now, id, &message),
            "response.create" => self.create_response(now, id, message.get("response")),
            "response.cancel" if self.response.is_some() => self.cancel(now, "client_cancelled"),
            "response.cancel" => {
                let text = "Cancellation failed: no active response found";
                self.refuse(now, id, "response_cancel_not_active", text, None);
            }
            _ => {
                self.stats.protocol_errors.push(format!("unknown message type '{kind}'"));
                self.refuse(now, id, "invalid_value", &format!("Invalid value: '{kind}'."), Some("type"));
            }
        }
    }

    /// A binary frame of the client, which the protocol does not know.
    pub fn handle_binary(&mut self, now: u64) {
        self.stats.protocol_errors.push("binary frame".to_owned());
        self.refuse(now, None, "invalid_json", "Binary messages are not understood.", None);
    }

    fn refuse(&mut self, now: u64, id: Option<&str>, code: &str, message: &str, param: Option<&str>) {
        self.error(now, "invalid_request_error", Some(code), message, param, id);
    }

    fn update(&mut self, now: u64, id: Option<&str>, message: &Value) {
        if self.faults.has(&Fault::NoSession) {
            return;
        }
        let wanted = message.get("session").unwrap_or(&Value::Null);
        match settings::updated(&self.session, wanted, self.has_spoken) {
            Ok(mut session) => {
                if self.faults.has(&Fault::KeepsPcm) {
                    for way in ["/audio/input/format", "/audio/output/format"] {
                        if let Some(format) = session.pointer_mut(way) {
                            *format = json!({"type": "audio/pcm", "rate": 24_000});
                        }
                    }
                }
                let is_ulaw = |session: &Value| {
                    session.pointer("/audio/input/format/type").and_then(Value::as_str) == Some("audio/pcmu")
                };
                if is_ulaw(&session) != is_ulaw(&self.session) {
                    let format = if is_ulaw(&session) { AudioFormat::Ulaw8000 } else { AudioFormat::Pcm24000 };
                    self.to_ulaw = ToUlaw::new(format);
                }
                self.stats.init.get_or_insert_with(|| message.clone());
                self.session = session;
                let updated = events::session("session.updated", &self.session);
                self.event(now, updated);
            }
            Err((code, text, param)) => {
                self.stats.protocol_errors.push(format!("session.update: {code} {param}"));
                self.refuse(now, id, code, &text, Some(&param));
            }
        }
    }

    fn create_item(&mut self, now: u64, id: Option<&str>, message: &Value) {
        let mut item = message.get("item").cloned().unwrap_or_default();
        let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, role, own_id) = (text("/type"), text("/role"), text("/id"));
        if own_id.len() > ID_MAX {
            let text = format!("Invalid 'item.id': string too long. Expected at most {ID_MAX} characters.");
            return self.refuse(now, id, "string_above_max_length", &text, Some("item.id"));
        }
        if !own_id.is_empty() && self.items.contains(&own_id) {
            return self.refuse(now, id, "item_create_duplicate_id", "Item already exists.", Some("item.id"));
        }
        match (kind.as_str(), role.as_str()) {
            ("message", "user" | "system") => {
                let said = text("/content/0/text");
                if text("/content/0/type") != "input_text" || said.is_empty() {
                    let text = "Invalid value for 'item.content'. Expected 'input_text'.";
                    return self.refuse(now, id, "invalid_value", text, Some("item.content[0]"));
                }
                if role == "user" {
                    self.unread.texts.push(said);
                } else {
                    self.agent.told(now, "contextual_update", &said);
                }
            }
            ("message", "assistant") => {}
            ("function_call_output", _) => {
                let call_id = text("/call_id");
                if !self.calls.contains(&call_id) {
                    let text = format!("Tool call ID '{call_id}' not found in conversation.");
                    self.stats.protocol_errors.push("result for a call nobody made".to_owned());
                    return self.refuse(now, id, "invalid_tool_call_id", &text, Some("item.call_id"));
                }
                self.unread.results.push((call_id, text("/output")));
            }
            _ => return self.refuse(now, id, "invalid_value", "Invalid value for 'item.type'.", Some("item.type")),
        }
        let item_id = if own_id.is_empty() { self.new_id("item") } else { own_id };
        if let Some(item) = item.as_object_mut() {
            item.insert("id".to_owned(), json!(item_id));
            item.insert("object".to_owned(), json!("realtime.item"));
            item.insert("status".to_owned(), json!("completed"));
        }
        self.add_item(now, &item);
    }

    fn delete_item(&mut self, now: u64, id: Option<&str>, item_id: &str) {
        let Some(place) = self.items.iter().position(|known| known == item_id) else {
            let text = format!("Error deleting item: the item with id '{item_id}' does not exist.");
            return self.refuse(now, id, "item_delete_invalid_item_id", &text, Some("item_id"));
        };
        self.items.remove(place);
        self.event(now, json!({"type": "conversation.item.deleted", "item_id": item_id}));
    }

    fn truncate_item(&mut self, now: u64, id: Option<&str>, message: &Value) {
        let item_id = message.get("item_id").and_then(Value::as_str).unwrap_or_default();
        let Some(length_ms) = self.spoken_ms.get(item_id).copied() else {
            let text = format!("Error truncating item: the item with id '{item_id}' does not exist.");
            return self.refuse(now, id, "item_truncate_invalid_item_id", &text, Some("item_id"));
        };
        let (end, index) = (message.get("audio_end_ms"), message.get("content_index"));
        let Some(end_ms) = end.and_then(Value::as_u64).filter(|_| index.and_then(Value::as_u64) == Some(0)) else {
            return self.refuse(
                now,
                id,
                "invalid_value",
                "Only audio content can be truncated.",
                Some("content_index"),
            );
        };
        if end_ms > length_ms {
            let text = format!("Audio content of {length_ms}ms is already shorter than {end_ms}ms");
            self.stats.protocol_errors.push("truncated beyond the end".to_owned());
            return self.refuse(now, id, "invalid_value", &text, Some("audio_end_ms"));
        }
        self.spoken_ms.insert(item_id.to_owned(), end_ms);
        self.event(
            now,
            json!({"type": "conversation.item.truncated", "item_id": item_id, "content_index": 0,
                "audio_end_ms": end_ms}),
        );
    }

    fn create_response(&mut self, now: u64, id: Option<&str>, wanted: Option<&Value>) {
        if let Some(active) = self.active_id() {
            let text = format!(
                "Conversation already has an active response in progress: {active}. Wait until the response is finished \
                 before creating a new one."
            );
            return self.refuse(now, id, "conversation_already_has_active_response", &text, None);
        }
        let fields = wanted.and_then(Value::as_object);
        if let Some(field) =
            fields.into_iter().flatten().map(|(name, _)| name).find(|name| !RESPONSE_FIELDS.contains(&name.as_str()))
        {
            let param = format!("response.{field}");
            let text = format!("Unknown parameter: '{param}'.");
            return self.refuse(now, id, "unknown_parameter", &text, Some(&param));
        }
        let instructions = wanted.and_then(|wanted| wanted.get("instructions")).and_then(Value::as_str);
        // Words in quotes are to be said as they stand; a model makes something of its own of all others.
        let quoted = instructions.and_then(|text| Some(text.split_once('"')?.1.rsplit_once('"')?.0.to_owned()));
        if quoted.is_some() {
            self.unread.words = quoted;
        }
        self.respond(now);
    }
}

//! The events the service sends, as JSON: every field its own client requires, and nothing of ours. The identifier of
//! the event itself is put in when it is sent.

use serde_json::{Value, json};

pub(super) fn session(kind: &str, session: &Value) -> Value {
    json!({"type": kind, "session": session})
}

pub(super) fn error(
    kind: &str,
    code: Option<&str>,
    message: &str,
    param: Option<&str>,
    caused_by: Option<&str>,
) -> Value {
    json!({"type": "error", "error": {"type": kind, "code": code, "message": message, "param": param,
        "event_id": caused_by}})
}

pub(super) fn item(kind: &str, previous: Option<&str>, item: &Value) -> Value {
    json!({"type": kind, "previous_item_id": previous, "item": item})
}

pub(super) fn speech_started(item_id: &str, audio_ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": audio_ms, "item_id": item_id})
}

pub(super) fn speech_stopped(item_id: &str, audio_ms: u64) -> Value {
    json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": audio_ms, "item_id": item_id})
}

pub(super) fn committed(item_id: &str, previous: Option<&str>) -> Value {
    json!({"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id})
}

pub(super) fn timed_out(item_id: &str, start_ms: u64, end_ms: u64) -> Value {
    json!({"type": "input_audio_buffer.timeout_triggered", "item_id": item_id, "audio_start_ms": start_ms,
        "audio_end_ms": end_ms})
}

pub(super) fn transcribed(item_id: &str, text: &str, seconds: u64) -> Value {
    json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": item_id, "content_index": 0,
        "transcript": text, "usage": {"type": "duration", "seconds": seconds}})
}

pub(super) fn rate_limits() -> Value {
    json!({"type": "rate_limits.updated", "rate_limits": [
        {"name": "requests", "limit": 1_000, "remaining": 999, "reset_seconds": 0.06},
        {"name": "tokens", "limit": 50_000, "remaining": 49_950, "reset_seconds": 0.06}]})
}

/// Where in a response something stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) response_id: String,
    pub(super) item_id: String,
    pub(super) output_index: usize,
}

impl Place {
    /// An event about the item as a whole.
    pub(super) fn of_item(&self, kind: &str, item: &Value) -> Value {
        json!({"type": kind, "response_id": self.response_id, "output_index": self.output_index, "item": item})
    }

    /// An event about its only content.
    pub(super) fn of_content(&self, kind: &str, name: &str, value: &Value) -> Value {
        let mut event = json!({"type": kind, "response_id": self.response_id, "item_id": self.item_id,
            "output_index": self.output_index, "content_index": 0});
        if let Some(map) = event.as_object_mut().filter(|_| !name.is_empty()) {
            map.insert(name.to_owned(), value.clone());
        }
        event
    }

    /// An event about the arguments of a function call.
    pub(super) fn of_call(&self, kind: &str, call_id: &str, name: &str, value: &str) -> Value {
        let mut event = json!({"type": kind, "response_id": self.response_id, "item_id": self.item_id,
            "output_index": self.output_index, "call_id": call_id});
        if let Some(map) = event.as_object_mut() {
            map.insert(name.to_owned(), json!(value));
        }
        event
    }
}

pub(super) fn message_item(id: &str, status: &str, transcript: Option<&str>) -> Value {
    let content = transcript.map(|text| json!({"type": "output_audio", "transcript": text}));
    json!({"id": id, "object": "realtime.item", "type": "message", "status": status, "role": "assistant",
        "content": content.into_iter().collect::<Vec<_>>()})
}

pub(super) fn call_item(id: &str, status: &str, call_id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "object": "realtime.item", "type": "function_call", "status": status, "call_id": call_id,
        "name": name, "arguments": arguments})
}

pub(super) fn caller_item(id: &str) -> Value {
    json!({"id": id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_audio", "transcript": null}]})
}

/// The event names from before the interface was generally available.
pub(super) fn old_name(kind: &str) -> &str {
    match kind {
        "response.output_audio.delta" => "response.audio.delta",
        "response.output_audio.done" => "response.audio.done",
        "response.output_audio_transcript.delta" => "response.audio_transcript.delta",
        "response.output_audio_transcript.done" => "response.audio_transcript.done",
        "conversation.item.added" => "conversation.item.created",
        other => other,
    }
}

//! The events a server sends, as JSON (every required field, nothing of our own).

use serde_json::{Value, json};

pub(super) fn metadata(conversation_id: &str, output: &str, input: &str) -> Value {
    json!({"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {
        "conversation_id": conversation_id, "agent_output_audio_format": output, "user_input_audio_format": input}})
}

/// `rtt_ms` is null before the first pong; `None` leaves the key out, which breaks some clients.
pub(super) fn ping(event_id: u64, rtt_ms: Option<Option<u64>>) -> Value {
    match rtt_ms {
        Some(ms) => json!({"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": ms}}),
        None => json!({"type": "ping", "ping_event": {"event_id": event_id}}),
    }
}

pub(super) fn audio(event_id: u64, base64: &str, alignment: bool, is_final: bool) -> Value {
    let mut event = json!({"audio_base_64": base64, "event_id": event_id});
    if let Some(event) = event.as_object_mut() {
        if alignment {
            let alignment =
                json!({"chars": ["H", "i"], "char_start_times_ms": [0, 90], "char_durations_ms": [90, 110]});
            event.insert("alignment".to_owned(), alignment);
        }
        if is_final {
            event.insert("is_final".to_owned(), Value::Bool(true));
        }
    }
    json!({"type": "audio", "audio_event": event})
}

pub(super) fn agent_response(event_id: u64, text: &str) -> Value {
    json!({"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}})
}

pub(super) fn agent_response_complete(event_id: u64) -> Value {
    json!({"type": "agent_response_complete", "agent_response_complete_event": {"event_id": event_id}})
}

pub(super) fn agent_response_correction(event_id: u64, original: &str, corrected: &str) -> Value {
    json!({"type": "agent_response_correction", "agent_response_correction_event": {
        "original_agent_response": original, "corrected_agent_response": corrected, "event_id": event_id}})
}

pub(super) fn chat_part(event_id: u64, kind: &str, text: &str) -> Value {
    json!({"type": "agent_chat_response_part",
        "text_response_part": {"text": text, "type": kind, "event_id": event_id}})
}

pub(super) fn tentative_user_transcript(event_id: u64, text: &str) -> Value {
    json!({"type": "tentative_user_transcript",
        "tentative_user_transcription_event": {"user_transcript": text, "event_id": event_id}})
}

pub(super) fn user_transcript(event_id: u64, text: &str) -> Value {
    json!({"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}})
}

pub(super) fn interruption(event_id: u64) -> Value {
    json!({"type": "interruption", "interruption_event": {"event_id": event_id}})
}

pub(super) fn client_tool_call(event_id: u64, id: &str, name: &str, parameters: &Value) -> Value {
    json!({"type": "client_tool_call", "client_tool_call": {
        "tool_name": name, "tool_call_id": id, "parameters": parameters, "event_id": event_id}})
}

pub(super) fn agent_tool_request(event_id: u64, id: &str, name: &str, kind: &str) -> Value {
    json!({"type": "agent_tool_request", "agent_tool_request": {
        "tool_name": name, "tool_call_id": id, "tool_type": kind, "event_id": event_id}})
}

pub(super) fn agent_tool_response(event_id: u64, id: &str, name: &str, kind: &str, is_error: bool) -> Value {
    json!({"type": "agent_tool_response", "agent_tool_response": {
        "tool_name": name, "tool_call_id": id, "tool_type": kind, "is_error": is_error, "is_called": true,
        "event_id": event_id}})
}

pub(super) fn queue_status(status: &str) -> Value {
    json!({"type": "queue_status", "queue_status_event": {"status": status}})
}

pub(super) fn vad_score(score: f64) -> Value {
    json!({"type": "vad_score", "vad_score_event": {"vad_score": score}})
}

pub(super) fn error(code: u16, error_type: &str, reason: &str) -> Value {
    json!({"type": "error", "error_event": {
        "code": code, "error_type": error_type, "message": reason, "reason": reason}})
}

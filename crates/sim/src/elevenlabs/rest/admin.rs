//! The REST interface for settings over HTTP: who asks, what for, and what a conversation takes from it.

use super::account::{Account, Request};
use crate::elevenlabs::{AudioFormat, SimConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Reads a request and has the account answer it; `None` for an address nobody knows.
pub(crate) fn answer(
    account: &mut Account,
    method: &str,
    path: &str,
    query: HashMap<String, String>,
    content_type: &str,
    body: &[u8],
    now_unix_s: u64,
) -> Option<(u16, Value)> {
    let path = path.strip_prefix("/v1/")?.trim_end_matches('/');
    let body = if body.is_empty() {
        Value::Null
    } else if let Some(boundary) = content_type.strip_prefix("multipart/form-data; boundary=") {
        multipart(body, boundary.trim_matches('"'))
    } else {
        match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => {
                return Some(super::account::invalid(&["body"], "JSON decode error", "json_invalid"));
            }
        }
    };
    account.handle(&Request { method, path, query: BTreeMap::from_iter(query), body, now_unix_s })
}

/// The parts of an uploaded file that matter: its name and its text.
fn multipart(body: &[u8], boundary: &str) -> Value {
    let text = String::from_utf8_lossy(body);
    let mut found = json!({});
    for part in text.split(&format!("--{boundary}")) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        let head = head.to_ascii_lowercase();
        let key = if head.contains("name=\"file\"") {
            "text"
        } else if head.contains("name=\"name\"") {
            "name"
        } else {
            continue;
        };
        found[key] = json!(content);
    }
    found
}

/// What a conversation with an agent of the account is like: as the simulator was told, with what the agent's settings
/// say about formats, events, permissions and length.
pub(crate) fn conversation_config(told: &SimConfig, agent: &Value) -> SimConfig {
    let at = |pointer: &str| agent.pointer(pointer);
    let format = |pointer: &str| at(pointer).and_then(Value::as_str).and_then(AudioFormat::parse);
    let mut config = told.clone();
    if let Some(format) = format("/conversation_config/tts/agent_output_audio_format") {
        config.output_format = format;
    }
    if let Some(format) = format("/conversation_config/asr/user_input_audio_format") {
        config.input_format = format;
    }
    if let Some(events) = at("/conversation_config/conversation/client_events").and_then(Value::as_array) {
        config.client_events = Some(events.iter().filter_map(|event| event.as_str().map(str::to_owned)).collect());
    }
    if let Some(seconds) = at("/conversation_config/conversation/max_duration_seconds").and_then(Value::as_u64) {
        config.max_duration = Duration::from_secs(seconds);
    }
    let mut allowed = Vec::new();
    if let Some(permissions) = at("/platform_settings/overrides/conversation_config_override") {
        permitted(permissions, &mut allowed);
    }
    config.allowed_overrides = Some(allowed);
    config
}

/// Names of the fields whose override is switched on.
fn permitted(value: &Value, out: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Bool(true) => out.push(name.clone()),
            Value::Object(_) => permitted(value, out),
            _ => {}
        }
    }
}

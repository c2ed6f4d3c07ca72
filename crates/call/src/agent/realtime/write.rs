//! Writing messages to the service, and the addresses it is reached at.

use super::RealtimeSetup;
use crate::json::push_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The name we give to the message that configures the session, so that an error about it can be told from others.
pub(super) const SESSION_EVENT: &str = "hv_session";
/// The name we give to every request for a response.
pub(super) const CREATE_EVENT: &str = "hv_create";

/// The name we give to messages that put the conversation in order. If one fails, the call loses nothing by it.
pub(super) const TIDY_EVENT: &str = "hv_tidy";

/// Silence that ends the caller's turn, in milliseconds. Older patients pause within a sentence; the service's own 500
/// would cut them short.
const TURN_SILENCE_MS: u32 = 900;
/// Audio before the detected beginning of speech that belongs to it, in milliseconds: the service's own value.
const TURN_PREFIX_MS: u32 = 300;
/// How sure the service has to be that it hears speech, 0 to 1; its own value is 0.5. Somewhat deaf, because every
/// detection silences the agent, and telephone lines crackle.
const TURN_THRESHOLD: f64 = 0.6;

/// How long nobody may speak before the model asks whether somebody is there, in milliseconds; the service takes 5 to 30
/// seconds. As long as our ElevenLabs agents wait: a patient walks to the scale.
const IDLE_TIMEOUT_MS: u32 = 12_000;

/// The message that configures a session.
pub(super) fn session_update(setup: &RealtimeSetup) -> String {
    let tools: Vec<_> = setup
        .tools
        .iter()
        .map(|tool| {
            json!({"type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters})
        })
        .collect();
    let mut session = json!({
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": setup.instructions,
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": setup.transcription_model, "language": setup.language},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": TURN_THRESHOLD,
                    "prefix_padding_ms": TURN_PREFIX_MS,
                    "silence_duration_ms": TURN_SILENCE_MS,
                    "idle_timeout_ms": IDLE_TIMEOUT_MS,
                    "create_response": true,
                    "interrupt_response": true,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": setup.voice},
        },
        "tools": tools,
        "tool_choice": "auto",
        // A trace would keep what patients say in the account.
        "tracing": null,
    });
    if setup.language.is_empty()
        && let Some(transcription) = session.pointer_mut("/audio/input/transcription").and_then(|t| t.as_object_mut())
    {
        transcription.remove("language");
    }
    json!({"type": "session.update", "event_id": SESSION_EVENT, "session": session}).to_string()
}

/// Appends a piece of the caller's voice: mu-law, as it came from the telephone. The hot path, so by hand.
pub fn write_audio(out: &mut String, ulaw: &[u8]) {
    out.push_str(r#"{"type":"input_audio_buffer.append","audio":""#);
    STANDARD.encode_string(ulaw, out);
    out.push_str(r#""}"#);
}

/// A message of the conversation: `role` is `user` or `system`.
pub(super) fn message_item(item_id: &str, role: &'static str, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 160);
    out.push_str(r#"{"type":"conversation.item.create","item":{"type":"message","id":"#);
    push_string(&mut out, item_id);
    out.push_str(r#","role":""#);
    out.push_str(role);
    out.push_str(r#"","content":[{"type":"input_text","text":"#);
    push_string(&mut out, text);
    out.push_str("}]}}");
    out
}

/// The answer to a function call.
pub(super) fn function_output(item_id: &str, call_id: &str, output: &str) -> String {
    let mut out = String::with_capacity(output.len() + 160);
    out.push_str(r#"{"type":"conversation.item.create","item":{"type":"function_call_output","id":"#);
    push_string(&mut out, item_id);
    out.push_str(r#","call_id":"#);
    push_string(&mut out, call_id);
    out.push_str(r#","output":"#);
    push_string(&mut out, output);
    out.push_str("}}");
    out
}

/// Takes an item out of the conversation.
pub(super) fn delete_item(item_id: &str) -> String {
    let mut out = format!(r#"{{"type":"conversation.item.delete","event_id":"{TIDY_EVENT}","item_id":"#);
    push_string(&mut out, item_id);
    out.push('}');
    out
}

/// Tells how much of an item the caller heard, in milliseconds.
pub(super) fn truncate_item(item_id: &str, content_index: u32, audio_end_ms: u64) -> String {
    let mut out = format!(r#"{{"type":"conversation.item.truncate","event_id":"{TIDY_EVENT}","item_id":"#);
    push_string(&mut out, item_id);
    out.push_str(&format!(r#","content_index":{content_index},"audio_end_ms":{audio_end_ms}}}"#));
    out
}

/// Asks the model to speak. With words, it is to say these and nothing else, so it may not call a function instead.
pub(super) fn response_create(words: Option<&str>) -> String {
    let mut out = format!(r#"{{"type":"response.create","event_id":"{CREATE_EVENT}""#);
    if let Some(words) = words {
        out.push_str(r#","response":{"tool_choice":"none","instructions":"#);
        push_string(&mut out, &say_exactly(words));
        out.push('}');
    }
    out.push('}');
    out
}

/// How the model is told to say these words.
pub(super) fn say_exactly(words: &str) -> String {
    format!("Say exactly these words now, adding and leaving out nothing: \"{words}\"")
}

/// The address of a session: `base` is that of the REST interface with its version, such as `https://api.openai.com/v1`;
/// `https` gives `wss` and `http` gives `ws`.
#[must_use]
pub fn session_url(base: &str, model: &str) -> String {
    let base = base.trim_end_matches('/');
    let mut url = match base.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        _ => base.to_owned(),
    };
    url.push_str("/realtime?model=");
    push_percent_encoded(&mut url, model);
    url
}

/// The address that describes a model: the cheapest way to see whether the service takes our key and has the model.
#[must_use]
pub fn model_url(base: &str, model: &str) -> String {
    let mut url = format!("{}/models/", base.trim_end_matches('/'));
    push_percent_encoded(&mut url, model);
    url
}

/// Appends `text` with every byte but the unreserved ones of RFC 3986 percent-encoded.
fn push_percent_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

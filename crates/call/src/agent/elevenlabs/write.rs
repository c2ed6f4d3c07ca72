//! Writing messages to an agent, and the addresses it is reached at.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json;

/// What the agent is told before the conversation begins (ElevenLabs Agents, conversation_initiation_client_data).
///
/// Overrides are sent only when set: one the agent does not permit ends the conversation.
#[derive(Clone, PartialEq, Default)]
pub struct Init {
    /// Values for the `{{name}}` places in the agent's prompt and first message. All that are used must be given.
    pub dynamic_variables: BTreeMap<String, DynamicValue>,
    /// A pseudonym of the patient, for the vendor's records.
    pub user_id: Option<String>,
    /// Override of the agent's language; empty counts as not set.
    pub language: Option<String>,
    /// Override of the greeting; empty counts as not set.
    pub first_message: Option<String>,
}

impl fmt::Debug for Init {
    /// Leaves all values out: they are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("dynamic_variables", &self.dynamic_variables.len())
            .field("language", &self.language)
            .field("first_message", &self.first_message.is_some())
            .finish_non_exhaustive()
    }
}

/// The value of a dynamic variable.
#[derive(Debug, Clone, PartialEq)]
pub enum DynamicValue {
    /// A text.
    Text(String),
    /// A number. One that JSON cannot express (infinite or not a number) is sent as the text `unknown`.
    Number(f64),
    /// A truth value.
    Bool(bool),
}

impl From<&str> for DynamicValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for DynamicValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for DynamicValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for DynamicValue {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// Appends the first message of a conversation.
pub fn write_init(out: &mut String, init: &Init) {
    out.push_str(r#"{"type":"conversation_initiation_client_data""#);
    let language = init.language.as_deref().filter(|text| !text.is_empty());
    let first_message = init.first_message.as_deref().filter(|text| !text.is_empty());
    if language.is_some() || first_message.is_some() {
        out.push_str(r#","conversation_config_override":{"agent":{"#);
        if let Some(text) = first_message {
            out.push_str(r#""first_message":"#);
            json::push_string(out, text);
        }
        if let Some(text) = language {
            out.push_str(if first_message.is_some() { r#","language":"# } else { r#""language":"# });
            json::push_string(out, text);
        }
        out.push_str("}}");
    }
    if !init.dynamic_variables.is_empty() {
        out.push_str(r#","dynamic_variables":{"#);
        for (index, (name, value)) in init.dynamic_variables.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            json::push_string(out, name);
            out.push(':');
            push_value(out, value);
        }
        out.push('}');
    }
    if let Some(user_id) = &init.user_id {
        out.push_str(r#","user_id":"#);
        json::push_string(out, user_id);
    }
    out.push('}');
}

fn push_value(out: &mut String, value: &DynamicValue) {
    match value {
        DynamicValue::Text(text) => json::push_string(out, text),
        DynamicValue::Number(number) if number.is_finite() => out.push_str(&number.to_string()),
        DynamicValue::Number(_) => out.push_str(r#""unknown""#),
        DynamicValue::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
    }
}

/// Appends a piece of the caller's voice, in the format the metadata named. This message has no `type`.
pub fn write_audio(out: &mut String, bytes: &[u8]) {
    out.push_str(r#"{"user_audio_chunk":""#);
    STANDARD.encode_string(bytes, out);
    out.push_str(r#""}"#);
}

/// Appends the answer to a ping.
pub fn write_pong(out: &mut String, event_id: i64) {
    out.push_str(r#"{"type":"pong","event_id":"#);
    out.push_str(&event_id.to_string());
    out.push('}');
}

/// Appends the answer to a tool call. An empty result is sent as `ok` or `error`, because clients of the protocol
/// replace empty ones by sentences of their own.
pub fn write_tool_result(out: &mut String, id: &str, result: &str, is_error: bool) {
    let result = match (result, is_error) {
        ("", true) => "error",
        ("", false) => "ok",
        (text, _) => text,
    };
    out.push_str(r#"{"type":"client_tool_result","tool_call_id":"#);
    json::push_string(out, id);
    out.push_str(r#","result":"#);
    json::push_string(out, result);
    out.push_str(if is_error { r#","is_error":true}"# } else { r#","is_error":false}"# });
}

/// Appends background information that does not interrupt. A later text with the same `context_id` replaces the
/// earlier one in the agent's view.
pub fn write_contextual_update(out: &mut String, text: &str, context_id: Option<&str>) {
    out.push_str(r#"{"type":"contextual_update","text":"#);
    json::push_string(out, text);
    if let Some(id) = context_id {
        out.push_str(r#","context_id":"#);
        json::push_string(out, id);
    }
    out.push('}');
}

/// Appends a text that counts as a turn of the caller and triggers a reply.
pub fn write_user_message(out: &mut String, text: &str) {
    out.push_str(r#"{"type":"user_message","text":"#);
    json::push_string(out, text);
    out.push('}');
}

/// Appends a sign of life of the caller. It holds the agent's speech for about two seconds: never send it on a timer.
pub fn write_user_activity(out: &mut String) {
    out.push_str(r#"{"type":"user_activity"}"#);
}

/// Appends the decision about a remote tool in the state `awaiting_approval`.
pub fn write_mcp_approval(out: &mut String, tool_call_id: &str, is_approved: bool) {
    out.push_str(r#"{"type":"mcp_tool_approval_result","tool_call_id":"#);
    json::push_string(out, tool_call_id);
    out.push_str(if is_approved { r#","is_approved":true}"# } else { r#","is_approved":false}"# });
}

/// The address of a conversation: `base` with `https` turned into `wss` and `http` into `ws`.
///
/// `base` is scheme, host and optional port or path prefix, such as `https://api.elevenlabs.io`.
#[must_use]
pub fn conversation_url(base: &str, agent_id: &str) -> String {
    let base = base.trim_end_matches('/');
    let mut url = match base.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        _ => base.to_owned(),
    };
    url.push_str("/v1/convai/conversation?agent_id=");
    push_percent_encoded(&mut url, agent_id);
    url
}

/// The address that hands out a signed URL for one conversation. To be fetched once per call with the API key in the
/// header `xi-api-key`; the signed URL it returns must be used unchanged.
#[must_use]
pub fn signed_url_request(base: &str, agent_id: &str) -> String {
    let mut url = format!("{}/v1/convai/conversation/get-signed-url?agent_id=", base.trim_end_matches('/'));
    push_percent_encoded(&mut url, agent_id);
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

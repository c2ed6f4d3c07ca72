//! Messages of a conversation with an ElevenLabs agent (ElevenLabs Agents over WebSocket).
//!
//! Reading is tolerant: unknown events and fields, numbers as strings and missing optional values are no error. Writing
//! is exact: one unknown field may end the conversation.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::MessageError;
use crate::json::{self, Loose, Object};

/// Largest message accepted, in bytes: a long piece of speech arrives as one message (ElevenLabs Agents, Handshake
/// details).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// An event from the agent (ElevenLabs Agents, Server to client events).
///
/// `event_id` is one counter that grows through the conversation; 0 is valid. Texts are what was said: personal data,
/// which is why `Debug` leaves them out.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// The conversation is open. Normally the first event.
    Metadata {
        /// Joins our call to the vendor's records.
        conversation_id: String,
        /// Name of the format of the agent's speech.
        agent_output: String,
        /// Name of the format expected from us. Older servers leave it out.
        user_input: Option<String>,
    },
    /// A piece of the agent's speech.
    Audio {
        /// Audio in standard base64. May be empty.
        base64: Cow<'a, str>,
        /// The reply this piece belongs to.
        event_id: i64,
        /// Whether the server marked it as the last piece.
        is_final: bool,
    },
    /// What the caller said in one turn. `...` when nothing was understood.
    UserTranscript {
        /// The text, trimmed.
        text: Cow<'a, str>,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// What the caller seems to be saying; a later event replaces it.
    TentativeUserTranscript {
        /// The text, trimmed.
        text: Cow<'a, str>,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// A whole reply, sent before it was spoken.
    AgentResponse {
        /// The text, trimmed.
        text: Cow<'a, str>,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// An interrupted reply, cut down to what was spoken.
    AgentResponseCorrection {
        /// The reply as announced, trimmed.
        original: Cow<'a, str>,
        /// The reply as spoken, trimmed.
        corrected: Cow<'a, str>,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// A reply is completely generated; its playback may go on.
    AgentResponseComplete {
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// The caller spoke over the agent: audio of smaller ids is void.
    Interruption {
        /// Counter of the conversation.
        event_id: Option<i64>,
        /// The server's explanation.
        reason: Option<Cow<'a, str>>,
    },
    /// To be answered at once with the same id.
    Ping {
        /// The id to answer with.
        event_id: i64,
        /// The server's estimate of the round trip in milliseconds.
        ping_ms: Option<i64>,
    },
    /// The agent asks our program to do something; to be answered exactly once.
    ToolCall {
        /// Name of the tool.
        name: Cow<'a, str>,
        /// The id to answer with.
        id: Cow<'a, str>,
        /// JSON text written by a language model: to be validated. `{}` when absent.
        parameters: String,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// The agent is about to use any of its tools.
    AgentToolRequest {
        /// Name of the tool.
        tool_name: Cow<'a, str>,
        /// Identifies the use.
        tool_call_id: Cow<'a, str>,
        /// `client`, `system`, `webhook`, `mcp` or another word.
        tool_type: Option<Cow<'a, str>>,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// The agent used any of its tools. The name `end_call` announces the end of the conversation.
    AgentToolResponse {
        /// Name of the tool.
        tool_name: Cow<'a, str>,
        /// Identifies the use.
        tool_call_id: Cow<'a, str>,
        /// `client`, `system`, `webhook`, `mcp` or another word.
        tool_type: Option<Cow<'a, str>>,
        /// Whether it failed.
        is_error: bool,
        /// Whether it ran at all; true when not stated.
        is_called: bool,
        /// Counter of the conversation.
        event_id: Option<i64>,
    },
    /// A tool of a remote server; one in the state `awaiting_approval` waits for our consent.
    McpToolCall {
        /// The id to answer with.
        tool_call_id: Cow<'a, str>,
        /// Name of the tool.
        tool_name: Option<Cow<'a, str>>,
        /// `loading`, `awaiting_approval`, `success`, `failure` or another word.
        state: Option<Cow<'a, str>>,
    },
    /// How likely the caller is speaking, 0 to 1.
    VadScore(f64),
    /// Something went wrong; often, not always, followed by a close.
    Error {
        /// A WebSocket close code.
        code: Option<i64>,
        /// A stable word.
        error_type: Option<String>,
        /// For people. May quote configuration.
        message: Option<String>,
        /// For people. May quote configuration.
        reason: Option<String>,
    },
    /// The conversation waits for capacity, or no longer does.
    QueueStatus(QueueStatus),
    /// The vendor's safety check stepped in.
    GuardrailTriggered,
    /// An event that is documented but of no consequence for a phone call.
    Secondary(SecondaryEvent),
    /// An event this crate does not know. To be ignored.
    Other {
        /// Its type, cut to 64 characters.
        kind: String,
    },
}

/// Where a conversation stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStatus {
    /// Not admitted yet: the server discards what we send.
    Waiting,
    /// Admitted: the conversation proper begins.
    Admitted,
    /// Never admitted: the server is about to close.
    TimedOut,
    /// An undocumented word.
    Other,
}

/// Documented events without consequence for a phone call, recognised by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SecondaryEvent {
    AgentResponseMetadata,
    AgentChatResponsePart,
    AgentReasoningResponsePart,
    AgentToolResponseFullPayload,
    InternalTentativeAgentResponse,
    InternalTurnProbability,
    ContextUsage,
    AsrInitiationMetadata,
    AgentTyping,
    ExternalAgentConnected,
    ExternalAgentDisconnected,
    RichContent,
    McpConnectionStatus,
    DtmfRequest,
    ClientError,
}

impl SecondaryEvent {
    fn named(kind: &str) -> Option<Self> {
        Some(match kind {
            "agent_response_metadata" => Self::AgentResponseMetadata,
            "agent_chat_response_part" => Self::AgentChatResponsePart,
            "agent_reasoning_response_part" => Self::AgentReasoningResponsePart,
            "agent_tool_response_full_payload" => Self::AgentToolResponseFullPayload,
            "internal_tentative_agent_response" => Self::InternalTentativeAgentResponse,
            "internal_turn_probability" => Self::InternalTurnProbability,
            "context_usage" => Self::ContextUsage,
            "asr_initiation_metadata" => Self::AsrInitiationMetadata,
            "agent_typing" => Self::AgentTyping,
            "external_agent_connected" => Self::ExternalAgentConnected,
            "external_agent_disconnected" => Self::ExternalAgentDisconnected,
            "rich_content" => Self::RichContent,
            "mcp_connection_status" => Self::McpConnectionStatus,
            "dtmf_request" => Self::DtmfRequest,
            "client_error" => Self::ClientError,
            _ => return None,
        })
    }

    /// The event's type on the wire.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::AgentResponseMetadata => "agent_response_metadata",
            Self::AgentChatResponsePart => "agent_chat_response_part",
            Self::AgentReasoningResponsePart => "agent_reasoning_response_part",
            Self::AgentToolResponseFullPayload => "agent_tool_response_full_payload",
            Self::InternalTentativeAgentResponse => "internal_tentative_agent_response",
            Self::InternalTurnProbability => "internal_turn_probability",
            Self::ContextUsage => "context_usage",
            Self::AsrInitiationMetadata => "asr_initiation_metadata",
            Self::AgentTyping => "agent_typing",
            Self::ExternalAgentConnected => "external_agent_connected",
            Self::ExternalAgentDisconnected => "external_agent_disconnected",
            Self::RichContent => "rich_content",
            Self::McpConnectionStatus => "mcp_connection_status",
            Self::DtmfRequest => "dtmf_request",
            Self::ClientError => "client_error",
        }
    }
}

impl ServerEvent<'_> {
    /// The event's type on the wire, for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Metadata { .. } => "conversation_initiation_metadata",
            Self::Audio { .. } => "audio",
            Self::UserTranscript { .. } => "user_transcript",
            Self::TentativeUserTranscript { .. } => "tentative_user_transcript",
            Self::AgentResponse { .. } => "agent_response",
            Self::AgentResponseCorrection { .. } => "agent_response_correction",
            Self::AgentResponseComplete { .. } => "agent_response_complete",
            Self::Interruption { .. } => "interruption",
            Self::Ping { .. } => "ping",
            Self::ToolCall { .. } => "client_tool_call",
            Self::AgentToolRequest { .. } => "agent_tool_request",
            Self::AgentToolResponse { .. } => "agent_tool_response",
            Self::McpToolCall { .. } => "mcp_tool_call",
            Self::VadScore(_) => "vad_score",
            Self::Error { .. } => "error",
            Self::QueueStatus(_) => "queue_status",
            Self::GuardrailTriggered => "guardrail_triggered",
            Self::Secondary(event) => event.kind(),
            Self::Other { kind } => kind,
        }
    }

    /// The event's place in the conversation, when it has one.
    #[must_use]
    pub fn event_id(&self) -> Option<i64> {
        match self {
            Self::Audio { event_id, .. } | Self::Ping { event_id, .. } => Some(*event_id),
            Self::UserTranscript { event_id, .. }
            | Self::TentativeUserTranscript { event_id, .. }
            | Self::AgentResponse { event_id, .. }
            | Self::AgentResponseCorrection { event_id, .. }
            | Self::AgentResponseComplete { event_id }
            | Self::Interruption { event_id, .. }
            | Self::ToolCall { event_id, .. }
            | Self::AgentToolRequest { event_id, .. }
            | Self::AgentToolResponse { event_id, .. } => *event_id,
            _ => None,
        }
    }
}

impl fmt::Debug for ServerEvent<'_> {
    /// Type and id only: the rest is what patients say, or may quote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent")
            .field("kind", &self.kind())
            .field("event_id", &self.event_id())
            .finish_non_exhaustive()
    }
}

/// What every event has, plus the bodies of the frequent ones.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<'a>,
    #[serde(borrow, default)]
    audio_event: Object<AudioBody<'a>>,
    #[serde(borrow, default)]
    ping_event: Object<PingBody<'a>>,
}

#[derive(Deserialize)]
struct AudioBody<'a> {
    #[serde(borrow, default)]
    audio_base_64: Loose<'a>,
    #[serde(borrow, default)]
    event_id: Loose<'a>,
    #[serde(borrow, default)]
    is_final: Loose<'a>,
}

#[derive(Deserialize)]
struct PingBody<'a> {
    #[serde(borrow, default)]
    event_id: Loose<'a>,
    #[serde(borrow, default)]
    ping_ms: Loose<'a>,
}

/// All fields of the remaining events except tool parameters; each event reads its own.
#[derive(Deserialize, Default)]
struct Body<'a> {
    #[serde(borrow, default)]
    event_id: Loose<'a>,
    #[serde(borrow, default)]
    conversation_id: Loose<'a>,
    #[serde(borrow, default)]
    agent_output_audio_format: Loose<'a>,
    #[serde(borrow, default)]
    user_input_audio_format: Loose<'a>,
    #[serde(borrow, default)]
    user_transcript: Loose<'a>,
    #[serde(borrow, default)]
    agent_response: Loose<'a>,
    #[serde(borrow, default)]
    original_agent_response: Loose<'a>,
    #[serde(borrow, default)]
    corrected_agent_response: Loose<'a>,
    #[serde(borrow, default)]
    reason: Loose<'a>,
    #[serde(borrow, default)]
    tool_name: Loose<'a>,
    #[serde(borrow, default)]
    tool_call_id: Loose<'a>,
    #[serde(borrow, default)]
    tool_type: Loose<'a>,
    #[serde(borrow, default)]
    is_error: Loose<'a>,
    #[serde(borrow, default)]
    is_called: Loose<'a>,
    #[serde(borrow, default)]
    state: Loose<'a>,
    #[serde(borrow, default)]
    vad_score: Loose<'a>,
    #[serde(borrow, default)]
    code: Loose<'a>,
    #[serde(borrow, default)]
    error_type: Loose<'a>,
    #[serde(borrow, default)]
    message: Loose<'a>,
    #[serde(borrow, default)]
    status: Loose<'a>,
}

#[derive(Deserialize)]
struct ToolCallBody<'a> {
    #[serde(borrow, default)]
    tool_name: Loose<'a>,
    #[serde(borrow, default)]
    tool_call_id: Loose<'a>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event_id: Loose<'a>,
}

/// Reads one text frame.
///
/// # Errors
/// [`MessageError`] when the frame is not a JSON object, too large, or lacks what its type is about. The frame is then
/// to be counted and skipped.
pub fn parse(text: &str) -> Result<ServerEvent<'_>, MessageError> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge);
    }
    let envelope: Envelope<'_> = json::read(text)?;
    let kind = envelope.kind.required_text("type")?;
    match &*kind {
        "audio" => audio(envelope.audio_event.required("audio_event")?),
        "ping" => {
            let ping = envelope.ping_event.required("ping_event")?;
            Ok(ServerEvent::Ping { event_id: required_id(&ping.event_id)?, ping_ms: ping.ping_ms.integer() })
        }
        "conversation_initiation_metadata" => metadata(body(text, "conversation_initiation_metadata_event")?),
        "user_transcript" => user_transcript(body(text, "user_transcription_event")?),
        "tentative_user_transcript" => tentative_user_transcript(body(text, "tentative_user_transcription_event")?),
        "agent_response" => agent_response(body(text, "agent_response_event")?),
        "agent_response_correction" => correction(body(text, "agent_response_correction_event")?),
        "agent_response_complete" => {
            let event_id = optional_body(text, "agent_response_complete_event")?.event_id.integer();
            Ok(ServerEvent::AgentResponseComplete { event_id })
        }
        "interruption" => {
            let body = optional_body(text, "interruption_event")?;
            Ok(ServerEvent::Interruption { event_id: body.event_id.integer(), reason: body.reason.optional_text() })
        }
        "client_tool_call" => tool_call(text),
        "agent_tool_request" => tool_request(body(text, "agent_tool_request")?),
        "agent_tool_response" => tool_response(body(text, "agent_tool_response")?),
        "mcp_tool_call" => mcp_tool_call(body(text, "mcp_tool_call")?),
        "vad_score" => vad_score(&body(text, "vad_score_event")?),
        "error" => Ok(error(optional_body(text, "error_event")?)),
        "queue_status" => Ok(queue_status(optional_body(text, "queue_status_event")?)),
        "guardrail_triggered" => Ok(ServerEvent::GuardrailTriggered),
        other => Ok(SecondaryEvent::named(other)
            .map_or_else(|| ServerEvent::Other { kind: other.chars().take(64).collect() }, ServerEvent::Secondary)),
    }
}

fn body<'a>(text: &'a str, key: &'static str) -> Result<Body<'a>, MessageError> {
    json::member(text, key)?.required(key)
}

/// The body of an event that means something even without one.
fn optional_body<'a>(text: &'a str, key: &'static str) -> Result<Body<'a>, MessageError> {
    Ok(json::member(text, key)?.optional().unwrap_or_default())
}

fn required_id(id: &Loose<'_>) -> Result<i64, MessageError> {
    match id {
        Loose::Null => Err(MessageError::MissingField { field: "event_id" }),
        other => other.integer().ok_or(MessageError::Invalid { field: "event_id" }),
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn audio(body: AudioBody<'_>) -> Result<ServerEvent<'_>, MessageError> {
    let event_id = required_id(&body.event_id)?;
    let is_final = body.is_final.truth().unwrap_or(false);
    let base64 = match body.audio_base_64.text("audio_base_64")? {
        Some(base64) => base64,
        None if is_final => Cow::Borrowed(""),
        None => return Err(MessageError::MissingField { field: "audio_base_64" }),
    };
    Ok(ServerEvent::Audio { base64, event_id, is_final })
}

fn metadata(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    Ok(ServerEvent::Metadata {
        conversation_id: body.conversation_id.required_text("conversation_id")?.into_owned(),
        agent_output: body.agent_output_audio_format.required_text("agent_output_audio_format")?.into_owned(),
        user_input: body.user_input_audio_format.optional_text().map(Cow::into_owned),
    })
}

fn user_transcript(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    let event_id = body.event_id.integer();
    let text = trimmed(body.user_transcript.required_text("user_transcript")?);
    Ok(ServerEvent::UserTranscript { text, event_id })
}

fn tentative_user_transcript(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    let event_id = body.event_id.integer();
    let text = trimmed(body.user_transcript.required_text("user_transcript")?);
    Ok(ServerEvent::TentativeUserTranscript { text, event_id })
}

fn agent_response(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    let event_id = body.event_id.integer();
    let text = trimmed(body.agent_response.required_text("agent_response")?);
    Ok(ServerEvent::AgentResponse { text, event_id })
}

fn correction(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    Ok(ServerEvent::AgentResponseCorrection {
        event_id: body.event_id.integer(),
        original: trimmed(body.original_agent_response.optional_text().unwrap_or_default()),
        corrected: trimmed(body.corrected_agent_response.required_text("corrected_agent_response")?),
    })
}

fn tool_call(text: &str) -> Result<ServerEvent<'_>, MessageError> {
    let body: ToolCallBody<'_> = json::member(text, "client_tool_call")?.required("client_tool_call")?;
    Ok(ServerEvent::ToolCall {
        event_id: body.event_id.integer(),
        name: body.tool_name.required_text("tool_name")?,
        id: body.tool_call_id.required_text("tool_call_id")?,
        parameters: body.parameters.map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
    })
}

fn tool_request(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    Ok(ServerEvent::AgentToolRequest {
        event_id: body.event_id.integer(),
        tool_name: body.tool_name.required_text("tool_name")?,
        tool_call_id: body.tool_call_id.optional_text().unwrap_or_default(),
        tool_type: body.tool_type.optional_text(),
    })
}

fn tool_response(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    Ok(ServerEvent::AgentToolResponse {
        event_id: body.event_id.integer(),
        is_error: body.is_error.truth().unwrap_or(false),
        is_called: body.is_called.truth().unwrap_or(true),
        tool_name: body.tool_name.required_text("tool_name")?,
        tool_call_id: body.tool_call_id.optional_text().unwrap_or_default(),
        tool_type: body.tool_type.optional_text(),
    })
}

fn mcp_tool_call(body: Body<'_>) -> Result<ServerEvent<'_>, MessageError> {
    Ok(ServerEvent::McpToolCall {
        tool_call_id: body.tool_call_id.required_text("tool_call_id")?,
        tool_name: body.tool_name.optional_text(),
        state: body.state.optional_text(),
    })
}

fn vad_score(body: &Body<'_>) -> Result<ServerEvent<'static>, MessageError> {
    match body.vad_score {
        Loose::Null => Err(MessageError::MissingField { field: "vad_score" }),
        ref score => score.number().map(ServerEvent::VadScore).ok_or(MessageError::Invalid { field: "vad_score" }),
    }
}

fn error(body: Body<'_>) -> ServerEvent<'static> {
    let owned = |text: Loose<'_>| text.optional_text().map(Cow::into_owned);
    ServerEvent::Error {
        code: body.code.integer(),
        error_type: owned(body.error_type),
        message: owned(body.message),
        reason: owned(body.reason),
    }
}

fn queue_status(body: Body<'_>) -> ServerEvent<'static> {
    ServerEvent::QueueStatus(match body.status.optional_text().as_deref() {
        Some("waiting") => QueueStatus::Waiting,
        Some("admitted") => QueueStatus::Admitted,
        Some("timed_out") => QueueStatus::TimedOut,
        _ => QueueStatus::Other,
    })
}

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

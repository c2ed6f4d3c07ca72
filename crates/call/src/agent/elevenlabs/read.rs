//! Reading an agent's messages.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{QueueStatus, SecondaryEvent, ServerEvent};
use crate::MessageError;
use crate::json::{self, Loose, Object};

/// Largest message accepted, in bytes: a long piece of speech arrives as one message (ElevenLabs Agents, Handshake
/// details).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

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

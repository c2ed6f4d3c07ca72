//! The events an agent sends.

use std::borrow::Cow;
use std::fmt;

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
    pub(super) fn named(kind: &str) -> Option<Self> {
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

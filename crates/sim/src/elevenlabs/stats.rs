//! What the simulated agents service saw, for tests.

use std::collections::BTreeMap;

/// One conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConversationStats {
    /// `conv_...`
    pub conversation_id: String,
    /// Value of `agent_id` in the URL.
    pub agent_id: String,
    /// How the client authenticated: `none`, `signed-url`, `api-key` or `bearer`.
    pub authorization: String,
    /// The init message, if one came.
    pub init: Option<serde_json::Value>,
    /// Frames received, by type (`user_audio_chunk` for audio).
    pub received: BTreeMap<String, u64>,
    /// Frames sent, by type.
    pub sent: BTreeMap<String, u64>,
    /// Caller audio as received, in the input format.
    pub caller_audio: Vec<u8>,
    /// When audio came: milliseconds since the conversation began, and bytes.
    pub arrivals: Vec<(u64, usize)>,
    /// Bytes of agent audio sent, in the output format.
    pub agent_audio_bytes: u64,
    /// Tool results received: id, result text, is_error.
    pub tool_results: Vec<(String, String, bool)>,
    /// Transcripts sent: `("agent" | "user", text)`.
    pub transcript: Vec<(String, String)>,
    /// Event ids of interruptions.
    pub interruptions: Vec<u64>,
    /// Longest time from a ping to its pong, in milliseconds.
    pub slowest_pong_ms: u64,
    /// Messages of the client that break the contract.
    pub protocol_errors: Vec<String>,
    /// Close code: ours, or the client's; `None` while open or when the connection was lost.
    pub close_code: Option<u16>,
    /// `server`, `client` or `lost`; empty while open.
    pub closed_by: String,
    /// Length in milliseconds.
    pub duration_ms: u64,
}

/// Everything seen since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Signed URLs issued.
    pub signed_urls: u64,
    /// Requests refused before a conversation began.
    pub refused: u64,
    /// Conversations, in order of their beginning.
    pub conversations: Vec<ConversationStats>,
}

//! What the end of the agent's socket means for the call (ElevenLabs Agents, Errors and close codes).

use super::realtime::{Failing, failing};

/// How the agent's socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentClose {
    /// The agent sent a close frame. A frame without a code counts as 1005.
    Frame {
        /// The WebSocket close code.
        code: u16,
        /// The agent's explanation, at most 123 bytes; empty when absent.
        reason: String,
    },
    /// The connection broke without a close frame (locally reported as 1006).
    NoFrame,
    /// We closed first.
    WeClosed,
}

/// Why no conversation could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The signed-URL request or the upgrade was answered with this HTTP status.
    Http {
        /// HTTP status code.
        status: u16,
    },
    /// No answer in time.
    Timeout,
    /// Name resolution, TCP or TLS failed.
    Network,
    /// The socket was accepted and closed before any event.
    ClosedAtOnce {
        /// The WebSocket close code; 1006 without a close frame.
        code: u16,
    },
    /// The answer was successful but made no sense.
    BadResponse,
    /// Not tried: the service has been failing, or is not configured.
    Skipped,
}

impl ConnectFailure {
    /// Stable reason code, as in the table of detectors.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Http { status } => format!("http_{status}"),
            Self::Timeout => "connect_timeout".to_owned(),
            Self::Network => "network".to_owned(),
            Self::ClosedAtOnce { code } => format!("close_{code}"),
            Self::BadResponse => "bad_response".to_owned(),
            Self::Skipped => "skipped".to_owned(),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReaction {
    /// The conversation is over: play what is queued, then hang up.
    Finished,
    /// A passing failure: one quick reconnect is reasonable, but only before any clinical content.
    Retry,
    /// The agent is over capacity: connect again only later.
    BackOff,
    /// A configuration error: do not retry, tell the operator.
    Alert,
    /// This service cannot carry the call on, and trying again at once would not help: the next one's turn.
    Next,
}

/// Judges the end of a conversation.
#[must_use]
pub fn classify_close(close: &AgentClose) -> CloseReaction {
    match close {
        AgentClose::WeClosed => CloseReaction::Finished,
        AgentClose::NoFrame => CloseReaction::Retry,
        // Older servers end at the maximum duration with 1011 and a text about it.
        AgentClose::Frame { code: 1011, reason } if mentions_duration(reason) => CloseReaction::Finished,
        AgentClose::Frame { code, .. } => classify_code(*code),
    }
}

/// Judges a failed attempt to open a conversation.
#[must_use]
pub fn classify_connect(failure: &ConnectFailure) -> CloseReaction {
    match failure {
        ConnectFailure::Timeout | ConnectFailure::Network | ConnectFailure::BadResponse => CloseReaction::Retry,
        ConnectFailure::Skipped => CloseReaction::Next,
        ConnectFailure::Http { status: 429 } => CloseReaction::BackOff,
        ConnectFailure::Http { status: 408 | 425 | 500.. } => CloseReaction::Retry,
        ConnectFailure::Http { .. } => CloseReaction::Alert,
        // A conversation that ends normally before it began was no conversation.
        ConnectFailure::ClosedAtOnce { code: 1000 } => CloseReaction::Retry,
        ConnectFailure::ClosedAtOnce { code } => classify_code(*code),
    }
}

/// Judges an error the service reported within a conversation, by its stable word. `None` for one without consequence.
/// These are the words of OpenAI's Realtime API, which reports most of its refusals after the socket was opened.
#[must_use]
pub fn classify_error(error_type: &str) -> Option<CloseReaction> {
    match failing(error_type) {
        Failing::Harmless => None,
        Failing::Passing | Failing::Expired => Some(CloseReaction::Retry),
        Failing::Busy => Some(CloseReaction::BackOff),
        Failing::Configuration => Some(CloseReaction::Alert),
    }
}

/// Judges a close code, be it of a close frame or announced in an error event.
#[must_use]
pub fn classify_code(code: u16) -> CloseReaction {
    match code {
        1000 => CloseReaction::Finished,
        // Violations of the contract (1008) or of the protocol (1003, 1007, 1009, 1010): the next attempt fails alike.
        // 3000 and 3003 are the registered codes for "unauthorized" and "forbidden".
        1003 | 1007..=1010 | 3000 | 3003 => CloseReaction::Alert,
        // 1013 "try again later"; 3008 over the concurrency limit; 4300 after a time-out in the queue.
        1013 | 3008 | 4300 => CloseReaction::BackOff,
        _ => CloseReaction::Retry,
    }
}

fn mentions_duration(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("max") && reason.contains("duration")
}

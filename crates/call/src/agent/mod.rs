//! The voice agent at the other end of the bridge.
//!
//! [`AgentLeg`] is the one place that knows which service is spoken to: the engine asks it to write messages and to
//! read events and otherwise treats all services alike. A further service is a further variant, and the compiler lists
//! what it has to answer.

pub mod close;
pub mod elevenlabs;
pub mod format;

pub use close::{AgentClose, CloseReaction, ConnectFailure};
pub use elevenlabs::{Init, ServerEvent as AgentEvent};
pub use format::{AudioFormat, UnsupportedFormat};

use crate::MessageError;

/// A service that can carry the conversation.
#[derive(Debug, Clone)]
pub enum AgentLeg {
    /// An ElevenLabs agent over its raw WebSocket.
    ElevenLabs {
        /// What the conversation is opened with.
        init: Init,
    },
}

impl AgentLeg {
    /// The name of the service in the agent chain, in records and in metrics.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self {
            Self::ElevenLabs { .. } => "elevenlabs",
        }
    }

    /// The format of what we send, where the service leaves it unsaid. ElevenLabs' own client then takes `pcm_16000`.
    #[must_use]
    pub fn default_input_format(&self) -> &'static str {
        match self {
            Self::ElevenLabs { .. } => "pcm_16000",
        }
    }

    /// True when the service tells us that the caller talks over it. Otherwise our own detector has to decide.
    #[must_use]
    pub fn detects_interruptions(&self) -> bool {
        match self {
            Self::ElevenLabs { .. } => true,
        }
    }

    /// Reads one message of the service.
    ///
    /// # Errors
    /// [`MessageError`] when it is not a message of the service's protocol; the call goes on.
    pub fn parse<'a>(&self, text: &'a str) -> Result<AgentEvent<'a>, MessageError> {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::parse(text),
        }
    }

    /// Writes the first message after the socket opened.
    pub fn write_hello(&self, out: &mut String) {
        match self {
            Self::ElevenLabs { init } => elevenlabs::write_init(out, init),
        }
    }

    /// Writes caller audio, already in the service's input format.
    pub fn write_audio(&self, out: &mut String, bytes: &[u8]) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_audio(out, bytes),
        }
    }

    /// Writes the answer to a ping.
    pub fn write_pong(&self, out: &mut String, event_id: i64) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_pong(out, event_id),
        }
    }

    /// Writes the answer to a tool request.
    pub fn write_tool_result(&self, out: &mut String, id: &str, result: &str, is_error: bool) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_tool_result(out, id, result, is_error),
        }
    }

    /// Writes something the caller said by other means than voice, such as keys pressed.
    pub fn write_user_message(&self, out: &mut String, text: &str) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_user_message(out, text),
        }
    }

    /// Writes something the agent should know without being interrupted by it.
    pub fn write_context(&self, out: &mut String, id: &str, text: &str) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_contextual_update(out, text, Some(id)),
        }
    }
}

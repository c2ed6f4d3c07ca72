//! The voice agent at the other end of the bridge.
//!
//! [`AgentLeg`] is the one place that knows which service is spoken to: the engine asks it to write messages and to
//! read events and otherwise treats all services alike. A further service is a further variant, and the compiler lists
//! what it has to answer.

pub mod breaker;
mod chain;
pub mod close;
pub mod elevenlabs;
pub mod format;
mod member;
pub mod realtime;

pub use chain::Chain;
pub use close::{AgentClose, CloseReaction, ConnectFailure};
pub use elevenlabs::{Init, ServerEvent as AgentEvent};
pub use format::{AudioFormat, UnsupportedFormat};
pub use member::Member;
pub use realtime::{RealtimeLeg, RealtimeSession, RealtimeSetup, RealtimeTool};

use crate::MessageError;

/// The language that an ElevenLabs agent speaks unless it is told another one.
const ELEVENLABS_BASE_LANGUAGE: &str = "en";

/// A service that can carry the conversation, and what is kept of the conversation with it.
#[derive(Debug, Clone)]
pub enum AgentLeg {
    /// An ElevenLabs agent over its raw WebSocket.
    ElevenLabs {
        /// Which of the endpoints.
        member: Member,
        /// What the conversation is opened with.
        init: Init,
    },
    /// A model of the OpenAI Realtime API.
    Realtime(Box<RealtimeLeg>),
    /// Nobody: the questions are call instructions, and the media stream only listens.
    Script,
}

impl AgentLeg {
    /// The ElevenLabs agent that carries calls normally.
    #[must_use]
    pub fn elevenlabs(init: Init) -> Self {
        Self::ElevenLabs { member: Member::ElevenLabs, init }
    }

    /// Which member of the chain it is.
    #[must_use]
    pub fn member(&self) -> Member {
        match self {
            Self::ElevenLabs { member, .. } => *member,
            Self::Realtime(_) => Member::OpenAi,
            Self::Script => Member::Script,
        }
    }

    /// The name of the service in the agent chain, in records and in metrics.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.member().as_str()
    }

    /// The format of what we send, where the service leaves it unsaid. ElevenLabs' own client then takes `pcm_16000`.
    #[must_use]
    pub fn default_input_format(&self) -> &'static str {
        match self {
            Self::ElevenLabs { .. } => "pcm_16000",
            Self::Realtime(_) => "ulaw_8000",
            Self::Script => "ulaw_8000",
        }
    }

    /// True when the service tells us that the caller talks over it. Otherwise our own detector has to decide.
    #[must_use]
    pub fn detects_interruptions(&self) -> bool {
        match self {
            Self::Realtime(_) => true,
            Self::ElevenLabs { .. } | Self::Script => true,
        }
    }

    /// Has the agent begin with these words instead of its greeting, because the visit goes on where another agent left
    /// it. `None` takes it back.
    pub fn open_with(&mut self, words: Option<String>) {
        match self {
            Self::ElevenLabs { init, .. } => init.first_message = words,
            Self::Realtime(leg) => leg.open_with(words),
            Self::Script => {}
        }
    }

    /// True while the agent is to begin with words of ours, which it may not permit.
    #[must_use]
    pub fn opens_with_words(&self) -> bool {
        match self {
            Self::ElevenLabs { init, .. } => init.first_message.is_some(),
            Self::Realtime(_) => false,
            Self::Script => false,
        }
    }

    /// A new socket is about to be opened: nothing of an earlier conversation counts.
    pub fn begin(&mut self) {
        match self {
            Self::Realtime(leg) => leg.begin(),
            Self::ElevenLabs { .. } | Self::Script => {}
        }
    }

    /// Reads one message of the service.
    ///
    /// # Errors
    /// [`MessageError`] when it is not a message of the service's protocol; the call goes on.
    pub fn parse<'a>(&mut self, text: &'a str) -> Result<AgentEvent<'a>, MessageError> {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::parse(text),
            Self::Realtime(leg) => leg.session().parse(text),
            Self::Script => Err(MessageError::NotJson),
        }
    }

    /// Messages that the service has to be sent because of what it said; to be asked for after every [`Self::parse`].
    pub fn next_message(&mut self) -> Option<String> {
        match self {
            Self::Realtime(leg) => leg.next_message(),
            Self::ElevenLabs { .. } | Self::Script => None,
        }
    }

    /// The first message after the socket opened.
    pub fn hello(&mut self) -> Option<String> {
        match self {
            Self::ElevenLabs { init, .. } => Some(written(|out| elevenlabs::write_init(out, init))),
            Self::Realtime(leg) => {
                leg.hello();
                None
            }
            Self::Script => None,
        }
    }

    /// Writes caller audio, already in the service's input format.
    pub fn write_audio(&self, out: &mut String, bytes: &[u8]) {
        match self {
            Self::ElevenLabs { .. } => elevenlabs::write_audio(out, bytes),
            Self::Realtime(leg) => leg.session_ref().write_audio(out, bytes),
            Self::Script => {}
        }
    }

    /// The answer to a ping.
    pub fn pong(&mut self, event_id: i64) -> Option<String> {
        match self {
            Self::ElevenLabs { .. } => Some(written(|out| elevenlabs::write_pong(out, event_id))),
            Self::Realtime(_) => None,
            Self::Script => None,
        }
    }

    /// The answer to a tool request.
    pub fn tool_result(&mut self, id: &str, result: &str, is_error: bool) -> Option<String> {
        match self {
            Self::ElevenLabs { .. } => Some(written(|out| elevenlabs::write_tool_result(out, id, result, is_error))),
            Self::Realtime(leg) => {
                leg.session().tool_result(id, result, is_error);
                None
            }
            Self::Script => None,
        }
    }

    /// Something the caller said by other means than voice, such as keys pressed.
    pub fn user_message(&mut self, text: &str) -> Option<String> {
        match self {
            Self::ElevenLabs { .. } => Some(written(|out| elevenlabs::write_user_message(out, text))),
            Self::Realtime(leg) => {
                leg.session().user_message(text);
                None
            }
            Self::Script => None,
        }
    }

    /// Something the agent should know without being interrupted by it.
    pub fn context(&mut self, id: &str, text: &str) -> Option<String> {
        match self {
            Self::ElevenLabs { .. } => Some(written(|out| elevenlabs::write_contextual_update(out, text, Some(id)))),
            Self::Realtime(leg) => {
                leg.session().context(id, text);
                None
            }
            Self::Script => None,
        }
    }

    /// The caller talked over the reply that was being spoken, and heard so much of it. Its words and what was heard of
    /// them, where the service does not tell that by itself.
    pub fn interrupted(&mut self, heard_ms: u64) -> Option<(String, String)> {
        match self {
            Self::Realtime(leg) => leg.session().interrupted(heard_ms),
            Self::ElevenLabs { .. } | Self::Script => None,
        }
    }

    /// Whether something the caller said is still to be written down by the service, so that words of the agent that come
    /// now may be the answer to it.
    #[must_use]
    pub fn awaits_transcript(&self) -> bool {
        matches!(self, Self::Realtime(leg) if leg.session_ref().awaits_transcript())
    }

    /// The language the conversation goes on in, when it is not the one it began in.
    pub fn set_language(&mut self, language: &str) {
        match self {
            Self::ElevenLabs { init, .. } => {
                let base = language == ELEVENLABS_BASE_LANGUAGE;
                init.language = (!base).then(|| language.to_owned());
            }
            Self::Realtime(leg) => leg.set_language(language),
            Self::Script => {}
        }
    }

    /// Whether a tool that the agent calls is one of the service's own, which here is a function like the others.
    #[must_use]
    pub fn owns_tool(&self, name: &str) -> bool {
        matches!(self, Self::Realtime(_)) && RealtimeLeg::owns(name)
    }

    /// What an error that the service announced means.
    #[must_use]
    pub fn judge_error(&self, code: Option<i64>, error_type: Option<&str>) -> CloseReaction {
        match self {
            Self::Realtime(_) => {
                close::classify_error(error_type.unwrap_or_default()).unwrap_or(CloseReaction::Finished)
            }
            Self::ElevenLabs { .. } | Self::Script if error_type == Some("max_duration_exceeded") => {
                CloseReaction::Finished
            }
            Self::ElevenLabs { .. } | Self::Script => {
                let code = code.and_then(|code| u16::try_from(code).ok());
                code.map_or(CloseReaction::Retry, close::classify_code)
            }
        }
    }
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

//! The client side of OpenAI's Realtime API, in the shapes it has had since it became generally available.
//!
//! Unlike ElevenLabs, this service knows nothing of our agent beforehand: instructions and tools are sent when the
//! socket opens. A conversation is a list of *items* (what was said, what a tool was asked, what it answered), and the
//! model speaks when a *response* is created: by the service itself after the caller's turn, by us after everything else.
//! There is only ever one response at a time, and asking for a second one is an error. [`RealtimeSession`] keeps track of
//! that, so that the engine can treat both services alike: it reads [`super::AgentEvent`]s and says what it wants to say;
//! what has to be sent for it, and when, comes out of [`RealtimeSession::frames`].

mod leg;
mod read;
mod reply;
mod session;
mod write;

pub use leg::RealtimeLeg;
pub use read::{Failing, failing};
pub use session::RealtimeSession;
pub use write::{model_url, session_url, write_audio};

use std::fmt;

/// A function the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct RealtimeTool {
    /// Its name.
    pub name: String,
    /// What it is for, for the model.
    pub description: String,
    /// Its parameters as a JSON schema.
    pub parameters: serde_json::Value,
}

impl From<clinic::agent::FunctionTool> for RealtimeTool {
    fn from(tool: clinic::agent::FunctionTool) -> Self {
        Self { name: tool.name, description: tool.description, parameters: tool.parameters }
    }
}

/// What a conversation is opened with.
#[derive(Clone, PartialEq)]
pub struct RealtimeSetup {
    /// The system prompt. May name the patient.
    pub instructions: String,
    /// What the model may ask of us.
    pub tools: Vec<RealtimeTool>,
    /// Language of the call, such as `en`: helps the transcription.
    pub language: String,
    /// Name of the service's voice, such as `marin`.
    pub voice: String,
    /// The model that writes down what the caller says, such as `gpt-4o-mini-transcribe`.
    pub transcription_model: String,
}

impl fmt::Debug for RealtimeSetup {
    /// Leaves the instructions out: they name the patient.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealtimeSetup")
            .field("tools", &self.tools.len())
            .field("language", &self.language)
            .field("voice", &self.voice)
            .finish_non_exhaustive()
    }
}

//! Voice tasks, and what a tool request of an agent may come to. The [`visit`](crate::visit) answers the requests.

/// A voice task with a window of its own in the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoiceTask {
    /// Open speech.
    Speech,
    /// Counting from 1 to 20.
    Counting,
    /// A sustained "ahhh".
    SustainedVowel,
}

impl VoiceTask {
    /// The name used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Counting => "counting",
            Self::SustainedVowel => "sustained-vowel",
        }
    }

    /// The task with that name; `_` is taken for `-`, because models mix them up.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "speech" => Some(Self::Speech),
            "counting" => Some(Self::Counting),
            "sustained-vowel" => Some(Self::SustainedVowel),
            _ => None,
        }
    }
}

/// What a tool asks the call to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Open the window of a voice task now.
    StartTask(VoiceTask),
    /// Close the window of the running voice task now.
    EndTask,
}

/// The answer to a tool request.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutcome {
    /// JSON text for the agent; never empty.
    pub result: String,
    /// True when the tool refused or is unknown.
    pub is_error: bool,
    /// What the call has to do.
    pub effect: Option<Effect>,
}

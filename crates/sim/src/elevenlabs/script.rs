//! What the simulated agent says and does, as a list of beats.

use serde_json::Value;

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Beat {
    /// Say something: `agent_response`, then audio in bursts.
    Say {
        /// The words.
        text: String,
        /// Name of an embedded clip to speak with; synthetic babble of fitting length without one.
        clip: Option<String>,
        /// Whether the caller may interrupt.
        interruptible: bool,
    },
    /// Wait until the agent's words have been played and the caller has answered.
    Listen(Listen),
    /// Call a tool of the client and wait for its result.
    Tool {
        /// Tool name.
        name: String,
        /// Parameters. The text `$answer` as a value is replaced by what the caller's last words mean, see [`Listen`].
        parameters: Value,
    },
    /// Do nothing for a while, in milliseconds.
    Wait(u64),
    /// Send an event as it stands; `"$id"` is replaced by the current event id.
    Event(Value),
    /// Interrupt oneself as if the caller had spoken: `interruption`, correction and what faults ask for.
    Interrupt,
    /// Audio of silence: milliseconds, and how far its event id is from the current one.
    Audio {
        /// Length.
        ms: u64,
        /// Added to the current event id.
        id_offset: i64,
        /// Whether to add `alignment`.
        alignment: bool,
        /// Whether to add `is_final`, which real servers send though their contract does not have it.
        is_final: bool,
    },
    /// End the call as the `end_call` tool does: request, response, close 1000.
    EndCall,
}

/// How long to wait for the caller, and what to make of what was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// Transcript when the words are not recognised.
    pub transcript: String,
    /// Meaning of the answer when the words are not recognised; goes into `$answer`.
    pub meaning: String,
    /// Silence that ends the caller's turn, in milliseconds.
    pub end_silence_ms: u64,
    /// How long to wait for the caller to begin, in milliseconds.
    pub patience_ms: u64,
}

impl Default for Listen {
    fn default() -> Self {
        Self { transcript: "...".to_owned(), meaning: "unclear".to_owned(), end_silence_ms: 700, patience_ms: 6_000 }
    }
}

/// A conversation: beats in order, then close 1000.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Name of the script.
    pub name: String,
    /// What the agent does.
    pub beats: Vec<Beat>,
}

impl Script {
    /// The check-in: greeting and breathing, weight, reading, counting, sustained vowel, goodbye.
    #[must_use]
    pub fn check_in() -> Self {
        Self { name: "check-in".to_owned(), beats: Vec::new() }
    }

    /// A conversation of about five seconds that touches every event the official clients know.
    #[must_use]
    pub fn sdk_check() -> Self {
        Self { name: "sdk-check".to_owned(), beats: Vec::new() }
    }

    /// The script with that name: `check-in` or `sdk-check`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "check-in" => Some(Self::check_in()),
            "sdk-check" => Some(Self::sdk_check()),
            _ => None,
        }
    }
}

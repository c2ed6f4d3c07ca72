//! What went wrong around a call although the call went on, or why it did not: told to staff in words that name neither
//! the patient nor what they said.

use crate::alerts::Severity;
use serde::{Deserialize, Serialize};

/// What gave way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DegradationKind {
    /// The voice agent, or the way to it.
    Agent,
    /// The telephone line or its media stream.
    Phone,
    /// The database.
    Database,
    /// The disk of the recordings.
    Disk,
    /// There was more to do than could be done.
    Overload,
    /// Our own process ended in mid-call.
    Crash,
    /// The analysis of the voice.
    Analysis,
    /// Something of ours that is none of the others.
    Internal,
}

impl DegradationKind {
    /// The name used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Phone => "phone",
            Self::Database => "database",
            Self::Disk => "disk",
            Self::Overload => "overload",
            Self::Crash => "crash",
            Self::Analysis => "analysis",
            Self::Internal => "internal",
        }
    }
}

/// Something that gave way during a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// What gave way.
    pub kind: DegradationKind,
    /// How soon a person has to look.
    pub severity: Severity,
    /// Milliseconds since the call began; 0 where that is not known.
    pub at_ms: u64,
    /// What was lost by it, in words without PHI.
    pub lost: String,
    /// What was done about it, in words without PHI.
    pub done: String,
}

impl Degradation {
    /// What gave way at this moment of the call.
    #[must_use]
    pub fn new(kind: DegradationKind, severity: Severity, at_ms: u64, lost: &str, done: &str) -> Self {
        Self { kind, severity, at_ms, lost: lost.to_owned(), done: done.to_owned() }
    }
}

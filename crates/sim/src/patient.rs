//! Synthetic patients: what somebody on the telephone does, driven by what they hear and by time.

use crate::assets::Clip;

/// What a simulated patient does with one turn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Wait until the agent has spoken and then been silent for `pause_ms`, recognise what it asked, and answer.
    Respond {
        /// Silence to wait for after the agent, in milliseconds.
        pause_ms: u64,
    },
    /// Wait until the agent has spoken and then been silent for `pause_ms`, then say `clip`.
    AfterAgent {
        /// Silence to wait for after the agent, in milliseconds.
        pause_ms: u64,
        /// What to say.
        clip: Clip,
    },
    /// Wait until the agent speaks, and talk over it.
    SpeakOver {
        /// How far into the agent's speech, in milliseconds.
        after_ms: u64,
        /// What to say.
        clip: Clip,
    },
    /// Say `clip` now.
    Speak(Clip),
    /// Press keys, one every 250 ms.
    Dtmf(String),
    /// Say nothing for this long, in milliseconds.
    Silence(u64),
    /// Put the telephone down.
    HangUp,
}

/// A patient's behaviour on one call: steps in order, then silence until somebody hangs up.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientScript {
    /// Name of the scenario.
    pub name: String,
    /// What the patient does, in order.
    pub steps: Vec<Step>,
    /// Answers given by [`Step::Respond`].
    pub answers: Answers,
}

/// What a patient says to each question; `None` means silence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// "How is your breathing?"
    pub breathing: Option<Clip>,
    /// "What did you weigh?"
    pub weight: Option<Clip>,
    /// "Are your legs swollen?"
    pub swelling: Option<Clip>,
    /// "Please count from one to twenty."
    pub counting: Option<Clip>,
    /// "Please say ahhh."
    pub vowel: Option<Clip>,
    /// "Please read the sentence on your card."
    pub reading: Option<Clip>,
    /// Anything else that is a question.
    pub other: Option<Clip>,
}

/// Names of the scenarios [`PatientScript::scenario`] knows.
pub const SCENARIOS: &[&str] =
    &["stable", "worsening", "short-of-breath", "interrupting", "keypad", "silent", "hangs-up-early"];

impl PatientScript {
    /// The scenario with that name, see [`SCENARIOS`].
    #[must_use]
    pub fn scenario(name: &str) -> Option<Self> {
        SCENARIOS.contains(&name).then(|| Self {
            name: name.to_owned(),
            steps: Vec::new(),
            answers: Answers::default(),
        })
    }
}

impl Default for PatientScript {
    fn default() -> Self {
        Self::scenario("stable").unwrap_or_else(|| Self {
            name: String::new(),
            steps: Vec::new(),
            answers: Answers::default(),
        })
    }
}

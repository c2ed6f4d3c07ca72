//! The agent's ear: caller audio in, turns out.

use super::speech::{AudioFormat, ToUlaw};
use crate::sound::{Activity, recognise};

/// Sound kept per turn: 60 seconds, enough for every task.
const TURN_BYTES: usize = 480_000;

/// What was said in a turn.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Words {
    pub(super) text: Option<String>,
    pub(super) meaning: Option<String>,
}

/// Listens to one caller.
#[derive(Debug)]
pub(super) struct Ear {
    convert: ToUlaw,
    activity: Activity,
    turn: Vec<u8>,
    tentative_sent: bool,
}

impl Ear {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self { convert: ToUlaw::new(format), activity: Activity::default(), turn: Vec::new(), tentative_sent: false }
    }

    pub(super) fn push(&mut self, audio: &[u8]) {
        let ulaw = self.convert.push(audio);
        self.activity.push(&ulaw);
        let room = TURN_BYTES.saturating_sub(self.turn.len());
        self.turn.extend(ulaw.iter().take(room));
    }

    /// Forgets the turn.
    pub(super) fn reset(&mut self) {
        self.activity.reset();
        self.turn.clear();
        self.tentative_sent = false;
    }

    /// Speech so far that is long enough to be an interruption.
    pub(super) fn is_barging_in(&self) -> bool {
        self.activity.speech_ms() >= 240
    }

    /// Whether a turn was begun.
    pub(super) fn has_speech(&self) -> bool {
        self.activity.total_speech_ms() >= 200
    }

    pub(super) fn is_speaking(&self) -> bool {
        self.activity.is_speaking()
    }

    pub(super) fn silence_ms(&self) -> u64 {
        self.activity.silence_ms()
    }

    /// True once per turn, when enough was said for a tentative transcript.
    pub(super) fn tentative_due(&mut self) -> bool {
        let due = !self.tentative_sent && self.activity.total_speech_ms() >= 800;
        self.tentative_sent |= due;
        due
    }

    /// The words of the turn, as far as they are known ones.
    pub(super) fn words(&self) -> Words {
        // A line echo of the agent's own words is not what the caller said.
        let clips: Vec<_> = recognise(&self.turn).into_iter().filter(|clip| !clip.name.starts_with("agent_")).collect();
        if clips.is_empty() {
            return Words::default();
        }
        let text = clips.iter().map(|clip| clip.text.as_ref()).collect::<Vec<_>>().join(" ");
        Words { text: Some(text), meaning: clips.last().map(|clip| clip.meaning.to_string()) }
    }
}

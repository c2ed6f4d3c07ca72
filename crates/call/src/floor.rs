//! Who holds the floor: whether the caller speaks, since when, and whether that interrupts the agent.
//!
//! Services with turn detection of their own decide about interruptions themselves, because they know the words: a
//! cough or "mhm" must not cut a sentence about breathlessness in half while the service believes it was heard. For
//! them this module only measures how quickly we react. For other services, and where configured, it decides.

use crate::Tick;
use voice::activity::ActivityDetector;

/// Speech this long over the agent is an interruption: longer than a cough or a click, shorter than a word or two.
const INTERRUPTS_AFTER_MS: u64 = 240;

#[derive(Debug)]
pub(crate) struct Floor {
    detector: ActivityDetector,
    speaking_since: Option<Tick>,
    /// The present stretch of speech was already taken for an interruption.
    spent: bool,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self { detector: ActivityDetector::new(), speaking_since: None, spent: false }
    }

    /// Listens to a frame of the caller. True when the caller has been talking over the agent for long enough to
    /// interrupt it; once per stretch of speech.
    pub(crate) fn hear(&mut self, now: Tick, ulaw: &[u8], agent_speaks: bool) -> bool {
        if !self.detector.push_ulaw(ulaw).speech {
            self.speaking_since = None;
            self.spent = false;
            return false;
        }
        let since = *self.speaking_since.get_or_insert(now);
        let interrupts = agent_speaks && !self.spent && now.ms_since(since) >= INTERRUPTS_AFTER_MS;
        self.spent |= interrupts;
        interrupts
    }

    /// How long the caller has been speaking, if they are.
    pub(crate) fn speaking_ms(&self, now: Tick) -> Option<u64> {
        self.speaking_since.map(|since| now.ms_since(since))
    }
}

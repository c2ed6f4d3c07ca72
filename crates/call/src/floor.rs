//! Who holds the floor: whether the caller speaks, since when, and whether that interrupts the agent.
//!
//! Services with turn detection of their own decide about interruptions themselves, because they know the words: a
//! cough or "mhm" must not cut a sentence about breathlessness in half while the service believes it was heard. For
//! them this module only measures how quickly we react. For other services, and where configured, it decides.

use crate::Tick;
use voice::activity::ActivityDetector;

/// Shorter stretches are a cough or a click, and no words.
pub(crate) const WORDS_MIN_MS: u64 = 400;

/// Speech this long over the agent is an interruption: longer than a cough or a click, shorter than a word or two.
const INTERRUPTS_AFTER_MS: u64 = 240;

#[derive(Debug)]
pub(crate) struct Floor {
    detector: ActivityDetector,
    speaking_since: Option<Tick>,
    /// The present stretch of speech was already taken for an interruption.
    spent: bool,
    /// The last stretch that is over: how long it was, and when it ended.
    last: Option<(u64, Tick)>,
    /// When the last stretch ended that was long enough for words.
    last_words: Option<Tick>,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self { detector: ActivityDetector::new(), speaking_since: None, spent: false, last: None, last_words: None }
    }

    /// Listens to a frame of the caller. True when the caller has been talking over the agent for long enough to
    /// interrupt it; once per stretch of speech.
    pub(crate) fn hear(&mut self, now: Tick, ulaw: &[u8], agent_speaks: bool) -> bool {
        if !self.detector.push_ulaw(ulaw).speech {
            self.pause(now);
            return false;
        }
        let since = *self.speaking_since.get_or_insert(now);
        let interrupts = agent_speaks && !self.spent && now.ms_since(since) >= INTERRUPTS_AFTER_MS;
        self.spent |= interrupts;
        interrupts
    }

    /// The caller pauses, or nothing comes from them any more: a stretch of speech is over.
    pub(crate) fn pause(&mut self, now: Tick) {
        if let Some(since) = self.speaking_since.take() {
            self.last = Some((now.ms_since(since), now));
            if now.ms_since(since) >= WORDS_MIN_MS {
                self.last_words = Some(now);
            }
        }
        self.spent = false;
    }

    /// When the caller's last words ended.
    pub(crate) fn last_words(&self) -> Option<Tick> {
        self.last_words
    }

    /// Whether the caller speaks.
    pub(crate) fn is_speaking(&self) -> bool {
        self.speaking_since.is_some()
    }

    /// The last stretch of speech that is over: its length in milliseconds, and when it ended.
    pub(crate) fn last_speech(&self) -> Option<(u64, Tick)> {
        self.last
    }

    /// How long the caller has been speaking, if they are.
    pub(crate) fn speaking_ms(&self, now: Tick) -> Option<u64> {
        self.speaking_since.map(|since| now.ms_since(since))
    }
}

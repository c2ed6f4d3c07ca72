//! What the patient says: red flags first, then identity, consent, answers.

use super::{Step, Visit};
use crate::answers::{ExtractOptions, Source, Topic, extract};
use crate::identity::{self, Verdict};
use crate::protocol::languages;
use crate::red_flags;

/// Languages in which red flags are understood.
const FLAG_LANGUAGES: [&str; 6] = ["en", "es", "fr", "de", "pt", "it"];
/// Words of an utterance that are looked at one by one.
const WORDS_MAX: usize = 200;

impl Visit {
    pub(super) fn patient_said(&mut self, text: &str) {
        if !text.chars().any(char::is_alphanumeric) {
            return;
        }
        self.asked_at_ms = None;
        self.silent_questions = 0;
        if let Some(window) = &mut self.window {
            window.heard = true;
        }
        // What raises a flag may be an answer as well: to what was asked before.
        let asked = self.asked.filter(|_| self.takes_answers());
        self.hear_red_flags(text);
        match self.step() {
            Step::Identify => self.hear_identity(text),
            // Once the agent has asked for an item, "yes" and "no" are answers to that and no longer to this.
            Step::Consent if self.asked.is_none() => {
                if let Some(given) = identity::consent(&self.language, text) {
                    self.consent_given(given);
                    self.tell_next();
                }
            }
            _ if self.is_identified() => self.hear_answer(text, asked),
            // In an emergency nobody is asked who they are, but may say it.
            Step::Emergency | Step::Closing
                if self.neutral.is_none()
                    && self.setup.identity.check_spoken(&self.language, text) == Verdict::Match =>
            {
                self.identified("spoken");
            }
            _ => {}
        }
        if self.last_told == Some(Step::Closing) {
            // Somebody who was silent is back.
            self.tell_next();
        }
    }

    /// In the language of the visit, and in every other one: who is afraid falls back into their first.
    fn hear_red_flags(&mut self, text: &str) {
        let protocol = self.protocol.clone();
        for flag in red_flags::detect(&self.language, text, &protocol.red_flags) {
            self.raise(&flag.code, &flag.evidence, "transcript");
        }
        let mut others: Vec<&'static str> = FLAG_LANGUAGES.to_vec();
        others.extend(languages::guess(text).filter(|guess| !FLAG_LANGUAGES.contains(guess)));
        others.retain(|other| self.language.split('-').next() != Some(*other));
        for other in others {
            for flag in red_flags::detect(other, text, &protocol.red_flags) {
                if self.knows_the_word(text, &flag.code) {
                    continue;
                }
                if self.flags.is_empty() && self.protocol.languages.contains_key(other) {
                    self.flag_language = Some(other);
                }
                self.raise(&flag.code, &flag.evidence, "transcript");
            }
        }
    }

    /// Whether one of the words alone means the red flag in the visit's own language, such as "angina", which is a word
    /// of many. Whether it was denied is then for that language to say.
    fn knows_the_word(&self, text: &str, code: &str) -> bool {
        let alone = |word: &str| red_flags::detect(&self.language, word, &[]);
        text.split_whitespace().take(WORDS_MAX).any(|word| alone(word).iter().any(|own| own.code == code))
    }

    fn hear_identity(&mut self, text: &str) {
        if identity::wrong_person(&self.language, text) {
            self.wrong_person();
            return self.tell_next();
        }
        match self.setup.identity.check_spoken(&self.language, text) {
            Verdict::Match => {
                self.identified("spoken");
                self.tell_next();
            }
            Verdict::Mismatch => {
                self.identification.heard += 1;
                self.check_attempts();
                self.tell_next();
            }
            Verdict::Unclear => {}
        }
    }

    fn hear_answer(&mut self, text: &str, asked: Option<usize>) {
        if self.window.is_some() {
            return;
        }
        let options = ExtractOptions { default_weight_unit: self.setup.weight_unit };
        if let Some((index, topic)) = asked.and_then(|index| Some((index, self.protocol.items.get(index)?.topic()?)))
            && let Some(extracted) = extract(topic, &self.language, text, &options)
            && (extracted.certain || !self.was_heard(index))
        {
            self.learn(index, extracted.value, Source::Transcript);
        }
        // A weight with its unit is understood wherever it is said.
        let weight = self.protocol.items.iter().position(|item| item.topic() == Some(Topic::Weight));
        if let Some(index) =
            weight.filter(|index| self.is_identified() && asked != Some(*index) && !self.is_done(*index))
            && let Some(extracted) = extract(Topic::Weight, &self.language, text, &options)
            && extracted.certain
            && names_a_unit(text)
        {
            self.learn(index, extracted.value, Source::Transcript);
        }
    }

    /// Whether a value was read from the words before: a bare "yes" does not undo it.
    fn was_heard(&self, index: usize) -> bool {
        let values = self.items.get(index).map(|state| state.values.as_slice()).unwrap_or_default();
        values.iter().any(|known| known.source == Source::Transcript)
    }
}

/// Whether a text names a unit of weight.
fn names_a_unit(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["pound", "lbs", "kilo", "kg", "libra"].iter().any(|unit| lower.contains(unit))
}

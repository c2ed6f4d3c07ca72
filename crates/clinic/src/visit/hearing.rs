//! What the patient says and keys in: red flags first, then identity, consent, answers.

use super::{Step, Visit, VisitOutput};
use crate::answers::{AnswerValue, ExtractOptions, Source, Topic, WeightReport, extract};
use crate::identity::{self, Verdict};
use crate::protocol::{ItemKind, languages};
use crate::red_flags;

/// Languages in which red flags are understood.
const FLAG_LANGUAGES: [&str; 6] = ["en", "es", "fr", "de", "pt", "it"];
/// Words of an utterance that are looked at one by one.
const WORDS_MAX: usize = 200;
/// Fewest keys that are taken for a whole PIN, and keys after which somebody must be through with a date of birth.
const PIN_KEYS_MIN: usize = 4;
const DATE_KEYS: usize = 8;
/// Keys within this time of each other belong together: old hands look for each one.
const TYPING_MS: u64 = 10_000;
/// Keys one may press, at most, to be taken for an answer.
const ANSWER_KEYS_MAX: usize = 3;

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

    pub(super) fn keys(&mut self, digits: &str) {
        self.asked_at_ms = None;
        self.silent_questions = 0;
        if digits == self.protocol.emergency_number || digits == self.protocol.crisis_number {
            return self.dialled_for_help(digits);
        }
        if !self.is_identified() && matches!(self.step(), Step::Identify | Step::Emergency) {
            return self.keyed_identity(digits);
        }
        match self.step() {
            Step::Consent if matches!(digits, "1" | "2") => {
                self.consent_given(digits == "1");
                self.prompt_next("The caller answered on the keypad.");
            }
            Step::Item(due) => {
                let index = self.asked.unwrap_or(due);
                match self.keyed_value(index, digits) {
                    Some(value) => {
                        self.learn(index, value, Source::Dtmf);
                        self.prompt_next("The caller answered on the keypad, and it was recorded.");
                    }
                    None => self.forward_keys(digits),
                }
            }
            _ => self.forward_keys(digits),
        }
    }

    /// Told to call a number, or in need of it, somebody dials it without hanging up.
    fn dialled_for_help(&mut self, digits: &str) {
        self.raise("dialled_for_help", digits, "keys");
        let say = self.flag_text();
        self.emit(VisitOutput::Prompt(format!(
            "(Automatic notice, not the patient: an emergency number was dialled on the keypad without hanging up. Say: \"{say}\")"
        )));
    }

    /// The keys themselves are a secret between the patient and us.
    fn keyed_identity(&mut self, digits: &str) {
        let identification = &mut self.identification;
        if self.now_ms.saturating_sub(identification.typed_at_ms) > TYPING_MS {
            identification.typed.clear();
        }
        identification.typed_at_ms = self.now_ms;
        identification.typed.push_str(digits);
        let typed = identification.typed.clone();
        let matches = |keys: &str| self.setup.identity.check_keys(keys) == Verdict::Match;
        if matches(digits) || matches(&typed) {
            self.identified("dtmf");
        } else if digits.len() < PIN_KEYS_MIN && typed.len() < DATE_KEYS {
            // Still typing; silence after it counts from here.
            self.asked_at_ms = Some(self.now_ms);
            return;
        } else if self.step() == Step::Identify {
            self.identification.keyed += 1;
            self.check_attempts();
        }
        if typed.len() >= DATE_KEYS {
            self.identification.typed.clear();
        }
        self.prompt_next("The caller used the keypad.");
    }

    /// Long numbers are secrets rather than answers, and stay here.
    fn forward_keys(&mut self, digits: &str) {
        if digits.len() > ANSWER_KEYS_MAX || self.neutral.is_some() {
            return;
        }
        let spaced: Vec<String> = digits.chars().map(String::from).collect();
        self.emit(VisitOutput::Prompt(format!("The caller pressed {} on the telephone keypad.", spaced.join(" "))));
    }

    fn prompt_next(&mut self, notice: &str) {
        let next = self.next_json();
        let say = next.get("say").and_then(serde_json::Value::as_str).unwrap_or_default();
        self.emit(VisitOutput::Prompt(format!("{notice} Say: \"{say}\"")));
    }

    /// Keys as an answer: 1 yes, 2 no; a number; a weight.
    fn keyed_value(&self, index: usize, digits: &str) -> Option<AnswerValue> {
        let item = self.protocol.items.get(index)?;
        let number: u32 = digits.parse().ok().filter(|_| digits.len() <= ANSWER_KEYS_MAX)?;
        match (item.topic()?, &item.kind) {
            (topic, _) if topic.is_yes_no() => match number {
                1 => Some(AnswerValue::YesNo(true)),
                2 => Some(AnswerValue::YesNo(false)),
                _ => None,
            },
            (Topic::Weight, _) => {
                let weight_kg = f64::from(number) * self.setup.weight_unit.kilograms();
                let plausible = (20.0..=350.0).contains(&weight_kg);
                plausible.then(|| {
                    AnswerValue::Weight(WeightReport { weight_kg: Some(weight_kg), ..WeightReport::default() })
                })
            }
            (Topic::Number, ItemKind::Question { range: Some((low, high)), .. }) => {
                (*low..=*high).contains(&f64::from(number)).then(|| AnswerValue::Number(f64::from(number)))
            }
            _ => None,
        }
    }
}

/// Whether a text names a unit of weight.
fn names_a_unit(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["pound", "lbs", "kilo", "kg", "libra"].iter().any(|unit| lower.contains(unit))
}

//! What the patient keys in: calls for help first, then identity, consent, answers.

use super::steps::{ANSWER_KEYS_MAX, DATE_KEYS};
use super::{Step, Visit, VisitOutput};
use crate::answers::{AnswerValue, Source, Topic, WeightReport, weight_without_unit};
use crate::identity::Verdict;
use crate::protocol::{Item, ItemKind, values_of};

/// Fewest keys that are taken for a whole PIN.
const PIN_KEYS_MIN: usize = 4;
/// Keys within this time of each other belong together: old hands look for each one.
const TYPING_MS: u64 = 10_000;

impl Visit {
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
                    None if self.keyed_not_known(index, digits) => {
                        if let Some(state) = self.items.get_mut(index) {
                            (state.given_up, state.asked_last) = (true, false);
                        }
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

    /// Keys as an answer: 1 yes, 2 no; a number; a weight. Choices are numbered as [`values_of`] lists them, and count
    /// only where the words said which key means what: to somebody who was not told, 1 is yes, and "no breathlessness"
    /// is the first choice.
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
                // As for a weight that is said without its unit. What the usual unit does not explain is asked again.
                let read = weight_without_unit(f64::from(number), self.setup.weight_unit);
                let (weight_kg, _) = read.filter(|(_, certain)| *certain)?;
                Some(AnswerValue::Weight(WeightReport { weight_kg: Some(weight_kg), ..WeightReport::default() }))
            }
            (Topic::Number, ItemKind::Question { range: Some((low, high)), .. }) => {
                (*low..=*high).contains(&f64::from(number)).then(|| AnswerValue::Number(f64::from(number)))
            }
            (topic, _) if self.keys_told && digits.len() == 1 => {
                let place = usize::try_from(number).ok()?.checked_sub(1)?;
                values_of(topic).get(place).map(|name| AnswerValue::Text((*name).to_owned()))
            }
            _ => None,
        }
    }

    /// 0 where a number was asked for, and the words said that it means "I do not know".
    fn keyed_not_known(&self, index: usize, digits: &str) -> bool {
        let topic = self.protocol.items.get(index).and_then(Item::topic);
        self.keys_told && digits == "0" && matches!(topic, Some(Topic::Weight | Topic::Number))
    }
}

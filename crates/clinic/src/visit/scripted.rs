//! The visit as the script sees it, which asks by pages instead of talking.
//!
//! An agent hears silence as time that passes; the script is told of it by an empty page. An agent asks in its own words
//! and the visit has to guess which question that was; the script asks what [`Visit::next_step`] gave. Everything else,
//! from red flags to retries, is the same visit, and it goes on where the agent stopped.

use super::{Step, StepKind, Visit};
use crate::identity;
use crate::record::TimelineKind;

/// Empty pages in a row for one question before it is left unanswered.
const SILENT_PAGES_MAX: u32 = 2;
/// Answers in a row that are none to the same question, where the protocol sets no limit of its own.
const UNCLEAR_MAX: u32 = 3;

/// Pages in a row without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stuck {
    step: Option<Step>,
    silent: u32,
    unclear: u32,
}

impl Stuck {
    fn at(&mut self, step: Step) -> &mut Self {
        if self.step != Some(step) {
            *self = Self { step: Some(step), silent: 0, unclear: 0 };
        }
        self
    }
}

/// Words of somebody who wants the nurse they are offered.
const WANTS_HELP: [&str; 18] = [
    "yes",
    "yeah",
    "yep",
    "please",
    "connect",
    "nurse",
    "help",
    "sí",
    "si",
    "claro",
    "favor",
    "ayuda",
    "enfermera",
    "enfermero",
    "conecte",
    "conécteme",
    "conecteme",
    "ayúdeme",
];
/// More words than that are not looked at.
const NURSE_WORDS_MAX: usize = 60;

impl Visit {
    /// Whether somebody, agent or script, has spoken to the patient in this call.
    #[must_use]
    pub fn was_greeted(&self) -> bool {
        self.greeted
    }

    /// A text of the protocol outside of items, after the code of its language: that of the visit or, in an emergency,
    /// the one the patient fell back into. May hold the patient's name: PHI.
    #[must_use]
    pub fn protocol_text(&self, name: &str) -> (String, String) {
        (self.protocol.spoken(self.emergency_language()).to_owned(), self.emergency_text(name))
    }

    /// The words that say how a voice task is ended by a key; empty in a draft that has none.
    #[must_use]
    pub fn task_key_words(&self) -> String {
        self.protocol.key_words(&self.language, "task", "")
    }

    /// Whether the patient wants to be connected with the nurse, and nobody has failed at it.
    #[must_use]
    pub fn wants_nurse(&self) -> bool {
        self.transfer == Some(true)
    }

    /// Numbers that somebody dials who needs help and does not hang up: emergency service, crisis line.
    #[must_use]
    pub fn numbers_for_help(&self) -> [&str; 2] {
        [&self.protocol.emergency_number, &self.protocol.crisis_number]
    }

    /// Whether the window of a voice task is open.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.window.is_some()
    }

    /// Whether the analysis of the last voice task may yet ask for it again.
    #[must_use]
    pub fn awaits_result(&self) -> bool {
        let Some(task) = self.tasks.last().filter(|task| task.usable.is_none() && task.segment.is_some()) else {
            return false;
        };
        let index = self.protocol.items.iter().position(|item| Some(&item.id) == task.item.as_ref());
        self.window.is_none() && index.is_some_and(|index| self.wants_result(index))
    }

    /// Whether words are a yes or a no to the offer of a nurse. Whoever says yes or names help wants it, whatever else is
    /// in their words ("yes, something is not right"): nobody in an emergency is refused because of a phrase.
    #[must_use]
    pub fn nurse_wanted(&self, text: &str) -> Option<bool> {
        let words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .take(NURSE_WORDS_MAX)
            .collect();
        let begins_with_no = words.first().is_some_and(|word| matches!(word.as_str(), "no" | "nope" | "nah"));
        if !begins_with_no && words.iter().any(|word| WANTS_HELP.contains(&word.as_str())) {
            return Some(true);
        }
        let flagged = identity::consent(self.emergency_language(), text);
        flagged.or_else(|| identity::consent(&self.language, text))
    }

    /// What the agent asked and nobody answered has not been asked. A voice task it had begun is over, and asked again
    /// unless the sound that came suffices.
    pub(super) fn agent_lost(&mut self) {
        self.asked_at_ms = None;
        self.keys_told = false;
        self.last_told = None;
        if let Some(item) = self.window.as_ref().map(|window| window.item) {
            self.close_window();
            if let Some(state) = item.and_then(|index| self.items.get_mut(index)) {
                state.task_done = false;
                state.attempts = state.attempts.saturating_sub(1);
            }
        }
        if let Some(state) = self.asked.take().and_then(|index| self.items.get_mut(index))
            && state.values.is_empty()
        {
            state.asked = state.asked.saturating_sub(1);
            if std::mem::take(&mut state.asked_last) {
                // The last time of asking has not been one either: an answer to it must not be taken for another's.
                state.given_up = false;
            }
        }
    }

    pub(super) fn script_said(&mut self, text: &str) {
        (self.greeted, self.keys_told) = (true, true);
        self.asked_at_ms = None;
        self.notice_flag_words(text);
        match self.last_told {
            Some(Step::Item(index)) => {
                if let Some(state) = self.items.get_mut(index) {
                    state.asked = state.asked.saturating_add(1);
                }
                self.asked = Some(index);
            }
            Some(Step::Closing) => {
                self.closing_said = true;
                self.asked = None;
            }
            _ => self.asked = None,
        }
    }

    pub(super) fn nobody_answered(&mut self) {
        self.asked_at_ms = None;
        let step = self.step();
        self.silent_questions += 1;
        self.last_told = None;
        let stuck = self.stuck.at(step);
        stuck.silent += 1;
        let silent = stuck.silent;
        match step {
            Step::Item(index) => {
                self.give_up_if_asked_enough(index);
                if silent >= SILENT_PAGES_MAX
                    && let Some(state) = self.items.get_mut(index)
                {
                    state.given_up = true;
                }
            }
            Step::Identify if silent > SILENT_PAGES_MAX => self.neutral = Some("not_identified"),
            // Somebody who has named an emergency and says nothing may no longer be able to.
            Step::Emergency if silent >= SILENT_PAGES_MAX => self.nurse_answer(true),
            _ => {}
        }
    }

    pub(super) fn answer_unclear(&mut self) {
        self.asked_at_ms = None;
        let step = self.step();
        self.last_told = None;
        let stuck = self.stuck.at(step);
        stuck.unclear += 1;
        stuck.silent = 0;
        let often = stuck.unclear >= UNCLEAR_MAX;
        match step {
            Step::Item(index) => self.give_up_if_asked_enough(index),
            Step::Identify if often => self.neutral = Some("not_identified"),
            // An agreement that nobody can understand is none.
            Step::Consent if often => self.consent_given(false),
            Step::Emergency if often => self.nurse_answer(true),
            _ => {}
        }
    }

    pub(super) fn task_begins(&mut self) {
        let StepKind::Task { index, task, .. } = self.peek_step().kind else { return };
        let opened = self.may_measure() && self.open_window(task, false);
        if !opened && let Some(state) = self.items.get_mut(index) {
            // There is nothing to listen with, and asking again would not change that.
            state.given_up = true;
        }
    }

    /// Noted as a transfer asked for through the agent is; the script connects by itself.
    pub(super) fn nurse_answer(&mut self, wanted: bool) {
        self.silent_questions = 0;
        if self.transfer.is_some() {
            return;
        }
        if wanted && self.setup.nurse_line {
            self.transfer = Some(true);
            self.note(TimelineKind::TransferRequested);
        } else {
            self.nurse_declined = true;
        }
    }
}

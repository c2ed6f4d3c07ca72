//! The items of a visit: which are done, which comes next, what is known of each.

use super::{IDENTITY_ATTEMPTS, SILENCE_MS, Step, Visit};
use crate::answers::{Answer, AnswerValue, Source, Sourced};
use crate::protocol::{Item, ItemKind, name_of};
use crate::record::TimelineKind;

/// Values kept per item; a patient does not correct themself more often.
const VALUES_MAX: usize = 16;

/// What is known of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ItemState {
    /// Values, in the order in which they came.
    pub(super) values: Vec<Sourced>,
    /// How often the agent asked.
    pub(super) asked: u32,
    /// How often the agent wrote down what cannot be an answer.
    pub(super) refused: u32,
    /// It was asked often enough, or the patient cannot do it.
    pub(super) given_up: bool,
    /// It was given up in the moment in which the agent asked it once more: that question may still be answered.
    pub(super) asked_last: bool,
    /// Attempts at the voice task that were listened to.
    pub(super) attempts: u32,
    /// The voice task is done.
    pub(super) task_done: bool,
}

impl Visit {
    /// Whether an item applies, by the answers so far. Where sources differ, one of them is enough: to ask too much is
    /// the smaller error.
    pub(super) fn applies(&self, item: &Item) -> bool {
        let Some(condition) = &item.follows else { return true };
        let index = self.protocol.items.iter().position(|other| other.id == condition.item);
        let Some(answer) = index.and_then(|index| self.answer(index)) else { return false };
        let others = answer.conflicts.iter().map(|other| &other.value);
        let mut names = answer.value.iter().chain(others).filter_map(name_of);
        names.any(|name| condition.when.iter().any(|when| when == name))
    }

    pub(super) fn is_done(&self, index: usize) -> bool {
        let (Some(item), Some(state)) = (self.protocol.items.get(index), self.items.get(index)) else { return true };
        match item.kind {
            ItemKind::Task { .. } => state.task_done || state.given_up || self.consent == Some(false),
            _ => !state.values.is_empty() || state.given_up,
        }
    }

    /// The first item that applies and is not done.
    pub(super) fn next_item(&self) -> Option<usize> {
        let open = |(index, item): (usize, &Item)| (self.applies(item) && !self.is_done(index)).then_some(index);
        self.protocol.items.iter().enumerate().find_map(open)
    }

    /// What is known of a question; `None` for voice tasks.
    pub(super) fn answer(&self, index: usize) -> Option<Answer> {
        let (item, state) = (self.protocol.items.get(index)?, self.items.get(index)?);
        Some(Answer::from_sources(&item.id, item.topic()?, &state.values))
    }

    /// Notes a value; a red flag among the answers is raised at once.
    pub(super) fn learn(&mut self, index: usize, value: AnswerValue, source: Source) {
        let Some(item) = self.protocol.items.get(index).cloned() else { return };
        let Some(state) = self.items.get_mut(index) else { return };
        let sourced = Sourced { value, source };
        if state.values.last() == Some(&sourced) {
            return;
        }
        if state.values.len() >= VALUES_MAX {
            state.values.remove(0);
        }
        state.values.push(sourced.clone());
        self.silent_questions = 0;
        self.note(TimelineKind::AnswerNoted {
            question: item.id.clone(),
            value: sourced.value.clone(),
            source: sourced.source,
        });
        let Some(name) = name_of(&sourced.value) else { return };
        let codes: Vec<String> = item
            .red_flags
            .iter()
            .filter(|rule| rule.when.iter().any(|when| when == name))
            .map(|rule| rule.code.clone())
            .collect();
        for code in codes {
            self.raise(&code, &format!("{}: {name}", item.id), "answer");
        }
    }

    /// When the silence after a question is long enough to mean something.
    pub(super) fn silence_deadline(&self) -> Option<u64> {
        let waiting = self.window.is_none() && !matches!(self.step(), Step::Closing | Step::Neutral(_));
        self.asked_at_ms.filter(|_| waiting).map(|at| at + SILENCE_MS)
    }

    pub(super) fn patient_silent(&mut self) {
        self.asked_at_ms = None;
        self.silent_questions += 1;
        if let Step::Item(index) = self.step() {
            self.give_up_if_asked_enough(index);
        } else if self.step() == Step::Identify && self.silent_questions >= IDENTITY_ATTEMPTS {
            self.neutral = Some("not_identified");
        }
        self.last_told = None;
        self.tell_next();
    }

    /// An item that was asked as often as it may be is left unanswered.
    pub(super) fn give_up_if_asked_enough(&mut self, index: usize) {
        let retries = self.protocol.items.get(index).map_or(0, |item| item.retries);
        if let Some(state) = self.items.get_mut(index)
            && state.asked.max(state.refused) > retries
        {
            state.given_up = true;
        }
    }
}

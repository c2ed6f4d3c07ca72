//! Voice tasks: windows in which the patient's voice is listened to, and a second chance where the sound was poor.

use super::{TaskRecord, Visit, VisitOutput};
use crate::protocol::ItemKind;
use crate::record::TimelineKind;
use crate::tools::VoiceTask;
use serde_json::json;

/// How long the answer to `end_task` waits for the analysis, so that it can say whether to ask again.
const RESULT_WAIT_MS: u64 = 1_500;
/// Longest window of a task that is no item of the protocol.
const LOOSE_WINDOW_MS: u64 = 60_000;
/// Windows per visit.
const WINDOWS_MAX: usize = 32;

/// An open window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// The item it belongs to; `None` for a task the protocol does not ask for.
    pub(super) item: Option<usize>,
    pub(super) task: VoiceTask,
    pub(super) opened_ms: u64,
    pub(super) until_ms: u64,
    /// Opened because the agent spoke the prompt and announced nothing.
    pub(super) by_prompt: bool,
    /// The patient said something since.
    pub(super) heard: bool,
}

/// An `end_task` whose answer waits for the analysis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingEnd {
    pub(super) id: String,
    pub(super) until_ms: u64,
    /// The attempt it waits for, as its place in the record.
    task: usize,
}

impl Visit {
    /// The item a task belongs to: the one that is due, or else the last one of its kind.
    fn item_of(&self, task: VoiceTask) -> Option<usize> {
        let of_kind = |index: &usize| self.protocol.items.get(*index).is_some_and(|item| item.task() == Some(task));
        let all = 0..self.protocol.items.len();
        all.clone().filter(of_kind).find(|index| !self.is_done(*index)).or_else(|| all.rev().find(of_kind))
    }

    /// Opens the window of a task; false when there can be none.
    pub(super) fn open_window(&mut self, task: VoiceTask, by_prompt: bool) -> bool {
        if self.window.as_ref().is_some_and(|window| window.task == task) {
            return true;
        }
        if self.consent == Some(false) || !self.flags.is_empty() || self.tasks.len() >= WINDOWS_MAX {
            return false;
        }
        if self.window.is_some() {
            self.close_window();
        }
        let item = self.item_of(task);
        let longest_ms = item.and_then(|index| self.protocol.items.get(index)).map_or(LOOSE_WINDOW_MS, |item| {
            if let ItemKind::Task { window_ms, .. } = item.kind { window_ms } else { LOOSE_WINDOW_MS }
        });
        if let Some(state) = item.and_then(|index| self.items.get_mut(index)) {
            state.attempts = state.attempts.saturating_add(1);
        }
        let attempt = item.and_then(|index| self.items.get(index)).map_or(1, |state| state.attempts);
        self.tasks.push(TaskRecord {
            item: item.and_then(|index| self.protocol.items.get(index)).map(|item| item.id.clone()),
            task: task.as_str().to_owned(),
            attempt,
            segment: None,
            usable: None,
        });
        let (opened_ms, until_ms) = (self.now_ms, self.now_ms + longest_ms);
        self.window = Some(Window { item, task, opened_ms, until_ms, by_prompt, heard: false });
        self.asked_at_ms = None;
        self.emit(VisitOutput::OpenWindow(task));
        true
    }

    /// The agent spoke the prompt of a task and announced no window: it is listened to all the same.
    pub(super) fn open_forgotten_window(&mut self, index: usize) {
        let task = self.protocol.items.get(index).and_then(crate::protocol::Item::task);
        if let Some(task) = task.filter(|_| self.window.is_none() && self.may_measure() && !self.is_done(index)) {
            self.open_window(task, true);
        }
    }

    pub(super) fn window_opened(&mut self, segment: u32) {
        if let Some(task) = self.tasks.last_mut().filter(|task| task.segment.is_none()) {
            task.segment = Some(segment);
        }
    }

    pub(super) fn close_window(&mut self) {
        if self.window.is_some() {
            self.window_over();
            self.emit(VisitOutput::CloseWindow);
        }
    }

    /// However a window ended, the visit goes on; a poor result asks for the task again when it comes.
    fn window_over(&mut self) {
        let Some(window) = self.window.take() else { return };
        if let Some(state) = window.item.and_then(|index| self.items.get_mut(index)) {
            state.task_done = true;
        }
    }

    /// The call closed the window without being asked.
    pub(super) fn window_closed_by_call(&mut self) {
        self.window_over();
    }

    /// The agent says that the patient has finished.
    pub(super) fn end_task(&mut self, id: &str) {
        let Some(window) = self.window.clone() else {
            // The window may have ended by itself a moment ago; the agent only wants to go on.
            let next = self.next_json();
            return self.reply(id, &json!({"ended": true, "next": next}), false);
        };
        self.close_window();
        let waits = window.item.is_some_and(|index| self.wants_result(index));
        if waits {
            self.answer_pending_end();
            let task = self.tasks.len().saturating_sub(1);
            self.pending_end = Some(PendingEnd { id: id.to_owned(), until_ms: self.now_ms + RESULT_WAIT_MS, task });
        } else {
            let next = self.next_json();
            self.reply(id, &json!({"ended": true, "next": next}), false);
        }
    }

    /// Whether the result may lead to another attempt.
    pub(super) fn wants_result(&self, index: usize) -> bool {
        let (Some(item), Some(state)) = (self.protocol.items.get(index), self.items.get(index)) else { return false };
        matches!(item.kind, ItemKind::Task { needs_usable: true, .. }) && state.attempts <= item.retries
    }

    pub(super) fn answer_pending_end(&mut self) {
        let Some(pending) = self.pending_end.take() else { return };
        let next = self.next_json();
        self.reply(&pending.id, &json!({"ended": true, "next": next}), false);
    }

    /// The analysis of a segment is done.
    pub(super) fn task_result(&mut self, segment: u32, usable: bool, reasons: &[String]) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.segment == Some(segment)) else { return };
        if task.usable.is_some() {
            return;
        }
        task.usable = Some(usable);
        let (item, attempt) = (task.item.clone(), task.attempt);
        let index = self.protocol.items.iter().position(|known| Some(&known.id) == item.as_ref());
        let Some(index) = index else { return };
        // Nobody is asked again after the goodbye.
        let again = !usable && self.wants_result(index) && self.may_measure() && !self.closing_said;
        if let Some(state) = self.items.get_mut(index) {
            state.task_done = !again;
        }
        if again {
            self.note(TimelineKind::TaskRetry {
                item: item.unwrap_or_default(),
                attempt,
                reasons: reasons.iter().take(8).cloned().collect(),
            });
            self.last_told = None;
        }
        let awaited = self.pending_end.as_ref().and_then(|pending| self.tasks.get(pending.task));
        if awaited.is_some_and(|task| task.usable.is_some()) {
            self.answer_pending_end();
        } else {
            self.tell_next();
        }
    }

    /// A result that came after the call is part of the record all the same.
    pub(super) fn late_result(&mut self, segment: u32, usable: bool) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.segment == Some(segment)) {
            task.usable.get_or_insert(usable);
        }
    }
}

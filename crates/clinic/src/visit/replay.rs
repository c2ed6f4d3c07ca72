//! What was learned in a visit, once more from its timeline: for calls whose process did not live to write it down.
//!
//! The timeline holds what a visit hears (words, keys, tool calls) and what it concluded (who was identified, which answers
//! and red flags there were). It is fed with the first as in the live call, at the same times; what it concluded then is
//! authoritative and is taken over where the second hearing comes to less, as it can where the program has changed or the
//! end of the timeline is missing. Nothing of what the visit wants done leaves this module.

use super::{IdentityStatus, Setup, Visit, VisitInput, VisitOutput, VisitRecord};
use crate::answers::{Source, Sourced};
use crate::record::{EndCause, Segment, TimelineEvent, TimelineKind};
use serde_json::Value;

/// Keys further apart than this do not belong together, as in the live call.
const KEYS_PAUSE_MS: u64 = 1_500;
/// Most keys taken together.
const KEYS_MAX: usize = 32;
/// Steps in time between two entries, at most: a visit has few moments at which silence means something.
const TIMEOUTS_MAX: usize = 64;

/// The record of the visit that this timeline tells of, as far as it goes. `segments` are those analysed of the call, which
/// say whether its voice tasks could be used.
#[must_use]
pub fn replay(setup: Setup, events: &[TimelineEvent], segments: &[Segment]) -> VisitRecord {
    let mut tasks: Vec<&Segment> = segments.iter().filter(|segment| segment.task != "speech").collect();
    tasks.sort_by_key(|segment| segment.index);
    let mut replayed =
        Replayed { visit: Visit::new(setup), tasks, begun: 0, keys: String::new(), keys_until_ms: u64::MAX };
    for event in events {
        let now_ms = event.at_us / 1_000;
        replayed.wait_until(now_ms);
        replayed.take(now_ms, &event.kind);
    }
    let last_ms = events.last().map_or(0, |event| event.at_us / 1_000);
    replayed.press(last_ms);
    replayed.feed(last_ms, VisitInput::Ended);
    for segment in segments {
        let (segment, usable) = (segment.index, is_usable(segment));
        replayed.feed(last_ms, VisitInput::TaskResult { segment, usable, reasons: &[] });
    }
    let mut record = replayed.visit.record();
    let ended = events.iter().any(|event| matches!(event.kind, TimelineKind::Ended { .. }));
    if !ended && record.transferred == Some(true) {
        // It was asked for, and nobody knows whether it came about.
        record.transferred = None;
    }
    record
}

struct Replayed<'a> {
    visit: Visit,
    /// The segments of voice tasks, in the order in which their windows were opened.
    tasks: Vec<&'a Segment>,
    /// Windows opened so far.
    begun: usize,
    keys: String,
    keys_until_ms: u64,
}

impl Replayed<'_> {
    fn feed(&mut self, now_ms: u64, input: VisitInput<'_>) {
        self.visit.handle(now_ms, input);
        // What it wants done was done, or cannot be any more.
        while let Some(output) = self.visit.poll() {
            if let VisitOutput::OpenWindow(_) = output {
                self.window_opened(now_ms);
            }
        }
    }

    fn window_opened(&mut self, now_ms: u64) {
        let segment = self.tasks.get(self.begun).map(|segment| segment.index);
        self.begun += 1;
        if let Some(segment) = segment {
            self.visit.handle(now_ms, VisitInput::WindowOpened { segment });
        }
    }

    /// Lets the visit notice the silence before the next entry.
    fn wait_until(&mut self, now_ms: u64) {
        if self.keys_until_ms < now_ms {
            self.press(self.keys_until_ms);
        }
        for _ in 0..TIMEOUTS_MAX {
            let Some(due_ms) = self.visit.deadline().filter(|due| *due < now_ms) else { break };
            self.feed(due_ms, VisitInput::Timeout);
        }
    }

    fn press(&mut self, now_ms: u64) {
        self.keys_until_ms = u64::MAX;
        let keys = std::mem::take(&mut self.keys);
        if !keys.is_empty() {
            self.feed(now_ms, VisitInput::Keys(&keys));
        }
    }

    fn take(&mut self, now_ms: u64, kind: &TimelineKind) {
        match kind {
            TimelineKind::AgentConnected { .. } => self.feed(now_ms, VisitInput::AgentConnected),
            TimelineKind::UserTranscript { text } => self.feed(now_ms, VisitInput::PatientSaid(text)),
            TimelineKind::AgentResponse { text, event_id } => {
                if event_id.is_none() {
                    // A page of the script: keys before it were the answer to the page before.
                    self.press(now_ms);
                }
                self.feed(now_ms, VisitInput::AgentSaid(text));
            }
            // What keys have led to is concluded, and they must not be taken for the answer to another question as well.
            TimelineKind::AnswerNoted { source: Source::Dtmf, .. }
            | TimelineKind::Identified { .. }
            | TimelineKind::Consent { .. }
            | TimelineKind::TransferRequested => {
                self.keys.clear();
                self.keys_until_ms = u64::MAX;
                self.conclude(kind);
            }
            TimelineKind::AgentCorrection { corrected, .. } => self.feed(now_ms, VisitInput::AgentCutShort(corrected)),
            TimelineKind::ToolCall { tool_call_id, name, parameters } => {
                self.feed(now_ms, VisitInput::Tool { id: tool_call_id, name, parameters });
            }
            TimelineKind::Dtmf { digit } => {
                if *digit != '#' && self.keys.len() < KEYS_MAX {
                    self.keys.push(*digit);
                }
                self.keys_until_ms = now_ms + KEYS_PAUSE_MS;
                if *digit == '#' {
                    self.press(now_ms);
                }
            }
            // Closed by the call where the visit has not closed it.
            TimelineKind::TaskEnded { task } => {
                if self.visit.window.as_ref().is_some_and(|window| window.task.as_str() == task) {
                    self.feed(now_ms, VisitInput::WindowClosed);
                }
            }
            TimelineKind::TaskRetry { item, attempt, reasons } => {
                let known =
                    self.visit.tasks.iter().find(|task| {
                        task.item.as_ref() == Some(item) && task.attempt == *attempt && task.usable.is_none()
                    });
                if let Some(segment) = known.and_then(|task| task.segment) {
                    self.feed(now_ms, VisitInput::TaskResult { segment, usable: false, reasons });
                }
            }
            TimelineKind::Ended { cause: EndCause::MachineAnswered } => {
                self.feed(now_ms, VisitInput::AnsweringMachine);
            }
            TimelineKind::LanguageChanged { language } => self.speak(language),
            TimelineKind::TransferFailed => {
                if self.visit.transfer != Some(false) {
                    self.feed(now_ms, VisitInput::TransferFailed);
                }
            }
            concluded => self.conclude(concluded),
        }
    }

    fn speak(&mut self, language: &str) {
        if self.visit.language != language {
            self.visit.language = language.to_owned();
            self.visit.languages.push(language.to_owned());
        }
    }

    /// Takes over what the visit concluded in the live call, where it did not come to it again.
    fn conclude(&mut self, kind: &TimelineKind) {
        let visit = &mut self.visit;
        match kind {
            TimelineKind::Identified { how } if !visit.is_identified() => {
                let how = ["spoken", "dtmf", "agent_tool"].into_iter().find(|known| known == how);
                visit.neutral = None;
                visit.identification.status = IdentityStatus::NotIdentified;
                visit.identified(how.unwrap_or("spoken"));
            }
            TimelineKind::Consent { given } => visit.consent_given(*given),
            TimelineKind::AnswerNoted { question, value, source } => {
                let noted = Sourced { value: value.clone(), source: *source };
                let index = visit.protocol.items.iter().position(|item| item.id == *question);
                let known = |index: &usize| visit.items.get(*index).is_some_and(|state| state.values.contains(&noted));
                if let Some(index) = index.filter(|index| !known(index)) {
                    visit.learn(index, noted.value, noted.source);
                }
            }
            TimelineKind::RedFlag { code, evidence, noticed_by } => visit.raise(code, evidence, noticed_by),
            TimelineKind::TransferRequested => visit.transfer = Some(true),
            _ => {}
        }
        while self.visit.poll().is_some() {}
    }
}

fn is_usable(segment: &Segment) -> bool {
    segment.report.pointer("/quality/usable").and_then(Value::as_bool) == Some(true)
}

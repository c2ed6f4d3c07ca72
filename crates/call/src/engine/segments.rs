//! Which part of the caller's voice is analysed as what.
//!
//! A voice task asked for by the agent has a window of its own. Everything else the caller says while the agent is
//! silent belongs to the open-speech segment of the call; what arrives while the agent speaks is listening, echo or
//! an interruption, and would spoil pauses and levels.

use super::{AnalysisStep, Call, Output};
use crate::Tick;
use crate::uplink::{Placement, SAMPLES_PER_MS};
use clinic::tools::{Effect, VoiceTask};
use clinic::{Span, TimelineKind};

/// A task window that nobody closes ends by itself: longer than any breath or count.
const TASK_MAX_MS: u64 = 120_000;

/// Stretches of speech kept per segment; beyond that the last one is extended.
const SPANS_MAX: usize = 4_096;

/// Two pieces of audio this close belong to one stretch: a gap in transmission inside it is part of it.
const SPAN_JOIN_MS: u64 = 1;

#[derive(Debug)]
struct Open {
    segment: u32,
    task: VoiceTask,
    spans: Vec<Span>,
    opened: Tick,
}

impl Open {
    fn extend(&mut self, placement: Placement, length: u64) {
        let start_ms = (placement.position_samples - placement.gap_samples) / SAMPLES_PER_MS;
        let end_ms = (placement.position_samples + length).div_ceil(SAMPLES_PER_MS);
        let full = self.spans.len() >= SPANS_MAX;
        match self.spans.last_mut() {
            Some(last) if full || start_ms <= last.end_ms + SPAN_JOIN_MS => last.end_ms = end_ms.max(last.end_ms),
            _ => self.spans.push(Span { start_ms, end_ms }),
        }
    }
}

/// The segments of a call.
#[derive(Debug)]
pub(super) struct Segments {
    next: u32,
    speech: Option<Open>,
    task: Option<Open>,
}

impl Segments {
    pub(super) fn new() -> Self {
        Self { next: 0, speech: None, task: None }
    }

    fn open(&mut self, now: Tick, task: VoiceTask) -> Open {
        let segment = self.next;
        self.next += 1;
        Open { segment, task, spans: Vec::new(), opened: now }
    }

    /// The segment that a frame of `length` samples belongs to.
    pub(super) fn place(&mut self, placement: Placement, length: u64, agent_speaks: bool) -> Option<u32> {
        let open = match (&mut self.task, agent_speaks) {
            (Some(task), _) => task,
            (None, false) => self.speech.as_mut()?,
            (None, true) => return None,
        };
        open.extend(placement, length);
        Some(open.segment)
    }

    /// Closes the open-speech segment.
    pub(super) fn close_speech(&mut self) -> Option<(u32, Vec<Span>)> {
        self.speech.take().map(|open| (open.segment, open.spans))
    }

    /// What was collected belongs to nobody any more.
    pub(super) fn abandon(&mut self) {
        (self.speech, self.task) = (None, None);
    }

    /// True while open speech is listened to.
    pub(super) fn has_speech(&self) -> bool {
        self.speech.is_some()
    }

    /// When the window of the voice task that is listened to was opened.
    pub(super) fn task_opened(&self) -> Option<Tick> {
        self.task.as_ref().map(|open| open.opened)
    }

    fn overdue(&self, now: Tick) -> bool {
        self.task.as_ref().is_some_and(|task| task.opened.plus_ms(TASK_MAX_MS) <= now)
    }
}

impl Call {
    pub(super) fn open_speech_segment(&mut self) {
        let open = self.segments.open(self.now, VoiceTask::Speech);
        self.outputs.push_back(Output::Analyze(AnalysisStep::Open { segment: open.segment, task: open.task }));
        self.segments.speech = Some(open);
    }

    pub(super) fn apply_effect(&mut self, effect: Effect) {
        match effect {
            Effect::StartTask(task) => {
                self.close_task();
                if !self.reached || !self.may_record {
                    return;
                }
                let open = self.segments.open(self.now, task);
                self.outputs.push_back(Output::Analyze(AnalysisStep::Open { segment: open.segment, task }));
                self.segments.task = Some(open);
                self.record(TimelineKind::TaskStarted { task: task.as_str().into() });
            }
            Effect::EndTask => self.close_task(),
        }
    }

    /// Closes the window of the running voice task, if there is one.
    pub(super) fn close_task(&mut self) {
        if let Some(open) = self.segments.task.take() {
            self.record(TimelineKind::TaskEnded { task: open.task.as_str().into() });
            self.outputs.push_back(Output::Analyze(AnalysisStep::Close { segment: open.segment, spans: open.spans }));
        }
    }

    pub(super) fn segments_on_time(&mut self) {
        if self.segments.overdue(self.now) {
            self.close_task();
        }
    }

    pub(super) fn segments_deadline(&self) -> Option<Tick> {
        self.segments.task.as_ref().map(|task| task.opened.plus_ms(TASK_MAX_MS))
    }
}

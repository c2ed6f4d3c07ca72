//! The voice of a call on its way to the analysis: live, or after the call and from its recording, where the machine has
//! too much to do.
//!
//! Media never gives way, so the analysis does. What a segment is made of is known in both cases: its stretches are noted
//! while the call lives, and the recording holds the same frames, so the same is measured. A call is analysed in one way
//! only from the moment on that its live analysis is given up: nothing is ever measured of sound with pieces missing.

use crate::app::App;
use crate::closing::Results;
use crate::journal::{Journal, Patience};
use crate::lag::Load;
use crate::limits;
use crate::metrics;
use crate::rebuild::{self, RebuildError};
use crate::visits;
use call::engine::AnalysisStep;
use call::{Encounter, Tick};
use clinic::{CallOutcome, Degradation, PatientId, Segment};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{CallHandle, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The segments of a call that were begun and have no result yet.
#[derive(Debug, Default)]
pub(crate) struct Voices {
    /// By number, and whether they were closed.
    begun: BTreeMap<u32, (Segment, bool)>,
    /// They are analysed after the call.
    later: bool,
}

impl Voices {
    /// Takes note of a step; gives it back when it is for the live analysis.
    pub(crate) fn note(&mut self, step: AnalysisStep) -> Option<AnalysisStep> {
        match &step {
            AnalysisStep::Open { segment, task } => {
                let (index, task) = (*segment, task.as_str().to_owned());
                self.begun.insert(index, (Segment { index, task, spans: Vec::new(), report: Value::Null }, false));
            }
            AnalysisStep::Close { segment, spans } => {
                if let Some((known, closed)) = self.begun.get_mut(segment) {
                    known.spans.clone_from(spans);
                    *closed = true;
                }
            }
            AnalysisStep::Push { .. } | AnalysisStep::Gap { .. } => {}
        }
        (!self.later).then_some(step)
    }

    /// The live analysis is given up. False when it was already.
    pub(crate) fn give_up(&mut self) -> bool {
        !std::mem::replace(&mut self.later, true)
    }

    /// Results that the live analysis still owes.
    pub(crate) fn due(&self) -> usize {
        if self.later { 0 } else { self.begun.len() }
    }

    /// A result came.
    pub(crate) fn done(&mut self, segment: &Segment) {
        self.begun.remove(&segment.index);
    }

    /// The voice is not to be measured.
    pub(crate) fn forget(&mut self) {
        self.begun.clear();
    }

    /// True when there is nothing left to measure.
    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// What has no result.
    fn rest(self) -> Vec<Segment> {
        self.begun.into_values().filter(|(_, closed)| *closed).map(|(segment, _)| segment).collect()
    }
}

/// A call that is closed, and whose voice is not analysed yet.
pub(crate) struct Unanalysed {
    pub(crate) app: Arc<App>,
    pub(crate) call: CallHandle,
    pub(crate) patient: PatientId,
    pub(crate) encounter: Encounter,
    pub(crate) ended: Tick,
    pub(crate) outcome: CallOutcome,
    /// What gave way after its end.
    pub(crate) gave_way: Vec<Degradation>,
    /// There is a recording.
    pub(crate) recorded: bool,
    /// An earlier look at the visit that has not come to its end.
    pub(crate) concluding: Option<JoinHandle<bool>>,
}

impl Unanalysed {
    /// Takes late results of the live analysis, then computes what is missing from the recording.
    pub(crate) async fn analyse(mut self, mut results: Results) {
        let owed = results.voices.due();
        if owed > 0 {
            let mut found = Vec::new();
            let collecting = results.collect(|segment| found.push(segment));
            let _ = tokio::time::timeout(limits::ANALYSIS_PATIENCE, collecting).await;
            if !found.is_empty() {
                self.take_in(found).await;
            }
        }
        self.app.analysis.forget_for_certain(&self.call.id).await;
        let rest = results.voices.rest();
        if rest.is_empty() {
            return;
        }
        let (call, segments) = (self.call.id.clone(), rest.len());
        let failed = match self.read_recording(rest).await {
            Ok(found) => {
                tracing::info!(call_id = %call, segments, "the voice was analysed from the recording");
                return self.take_in(found).await;
            }
            Err(failed) => failed,
        };
        tracing::error!(call_id = %call, segments, why = %failed, "the voice was not analysed");
        metrics::dropped("analysis", segments as u64);
    }

    /// Stores results, and looks at the visit again with them.
    async fn take_in(&mut self, found: Vec<Segment>) {
        let mut journal = Journal::start(self.app.places(), self.call.clone());
        for segment in found {
            self.encounter.segment(self.ended, &segment);
            journal.segment(segment);
        }
        journal.finish().await;
        if let Some(concluding) = self.concluding.take() {
            let _ = concluding.await;
        }
        let mut record = self.encounter.record();
        record.degradations.extend(self.gave_way.iter().cloned());
        visits::conclude(&self.app, &self.call, &self.patient, &record, self.outcome).await;
    }

    /// The segments with what is measured of them, one call after the other.
    async fn read_recording(&self, segments: Vec<Segment>) -> Result<Vec<Segment>, Failed> {
        if !self.recorded {
            return Err(Failed::NotRecorded);
        }
        let app = &self.app;
        let _place = app.analyse_later.clone().try_acquire_owned().map_err(|_| Failed::TooMany)?;
        let _turn = app.analysing_later.acquire().await.map_err(|_| Failed::TooMany)?;
        self.quiet_moment().await;
        let mut patience = Patience::new();
        let mut recording = loop {
            self.join_parts().await;
            match app.store.open_recording(&self.call.id).await {
                Err(error) if patience.is_left(&error) => patience.wait().await,
                opened => break opened.map_err(RebuildError::Store)?,
            }
        };
        let work = move || {
            let reports = rebuild::segment_reports(&mut recording, &segments)?;
            let whole = |(segment, report)| Segment { report, ..segment };
            Ok(segments.into_iter().zip(reports).map(whole).collect())
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Failed::Stopped)?
    }

    /// Waits while live calls need the machine, but not for ever.
    async fn quiet_moment(&self) {
        let until = Instant::now() + limits::ANALYSE_LATER_WAIT;
        while self.app.lag.measured() >= Load::Shedding && !self.app.is_draining() && Instant::now() < until {
            tokio::time::sleep(limits::ANALYSE_LATER_LOOK).await;
        }
    }

    /// A recording that went on in the spool is read as one.
    async fn join_parts(&self) {
        let Some(spool) = &self.app.spool else { return };
        if let Err(error) = self.app.store.join_recordings(spool).await {
            tracing::warn!(code = error.code(), "a recording in the spool could not be put together yet");
        }
    }
}

/// Why a voice could not be analysed after its call.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("there is no recording")]
    NotRecorded,
    #[error("too many calls wait for it")]
    TooMany,
    #[error("the analysis stopped")]
    Stopped,
    #[error(transparent)]
    Recording(#[from] RebuildError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Recording(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinic::Span;
    use clinic::tools::VoiceTask;

    #[test]
    fn what_was_closed_without_a_result_is_analysed_later() {
        let mut voices = Voices::default();
        let open = |segment, task| AnalysisStep::Open { segment, task };
        assert!(voices.note(open(0, VoiceTask::Speech)).is_some());
        assert!(voices.note(open(1, VoiceTask::SustainedVowel)).is_some());
        let spans = vec![Span { start_ms: 0, end_ms: 40 }];
        assert!(voices.note(AnalysisStep::Close { segment: 1, spans: spans.clone() }).is_some());
        let result = Segment { index: 1, task: "sustained-vowel".to_owned(), spans, report: Value::Null };
        voices.done(&result);
        assert_eq!(voices.due(), 1);
        assert!(voices.give_up() && !voices.give_up());
        assert_eq!(voices.due(), 0, "nobody waits for the live analysis");
        assert!(voices.note(AnalysisStep::Gap { segment: 0, samples: 8 }).is_none());
        assert!(voices.note(AnalysisStep::Close { segment: 0, spans: Vec::new() }).is_none());
        let rest: Vec<u32> = voices.rest().iter().map(|segment| segment.index).collect();
        assert_eq!(rest, [0], "also what nobody spoke in");
    }
}

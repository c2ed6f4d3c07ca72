//! Everything after a call's last word: its sockets, its recording, its analysis, its records, and what gave way.

use super::{Batch, Ended, PhoneLink, Session};
use crate::app::App;
use crate::closing::{Results, close_call, close_recording};
use crate::fallback;
use crate::journal::Journalled;
use crate::limits;
use crate::link::Link;
use crate::media::PhoneSocket;
use crate::metrics;
use crate::recorder::Recorded;
use crate::visits;
use crate::voices::Unanalysed;
use call::engine::Summary;
use clinic::alerts::Severity;
use clinic::fallback::Why;
use clinic::{CallId, CallOutcome, Degradation, DegradationKind, EndCause, PatientId};
use std::sync::Arc;
use store::FinishCall;

impl Session {
    /// Everything after the last word: sockets, recording, analysis, records.
    pub(super) async fn finish(mut self) -> Ended {
        let failed = Ended { outcome: CallOutcome::Failed, contact: true };
        let Some(summary) = self.summary.take() else { return failed };
        // Before the socket closes, because Twilio asks at once what to do next.
        self.app.registry.ended(&self.sid, summary.cause == EndCause::AgentFinished);
        if let Some(link) = self.phone.take() {
            crate::tasks::spawn(link.close(1000, ""));
        }
        self.turn_away();
        // Whoever asks for a page now is told that the call is over; nobody waits for its records in silence.
        self.pages.close();
        while self.pages.try_recv().is_ok() {}
        let id = self.handle.id.clone();
        let contact = clinic::fallback::is_needed(summary.outcome, Some(&self.encounter.record()));
        let complete = Box::pin(self.store_rest(&summary, contact)).await;
        tracing::info!(
            call_id = %id,
            outcome = summary.outcome.as_str(),
            cause = ?summary.cause,
            duration_ms = summary.duration_us / 1_000,
            turns = summary.turns,
            interruptions = summary.interruptions,
            frames = summary.frames_in,
            to_agent_dropped_ms = summary.to_agent_dropped_ms,
            complete,
            "call ended"
        );
        Ended { outcome: summary.outcome, contact }
    }

    /// A stream that comes now is too late: its caller must be told what comes next, not kept waiting in silence.
    fn turn_away(&mut self) {
        if let Some(mut attached) = self.attached.take() {
            attached.close();
            if let Ok(PhoneSocket { socket, .. }) = attached.try_recv() {
                let link: PhoneLink = Link::new(*socket, limits::PHONE_OUTBOX);
                crate::tasks::spawn(link.close(1000, ""));
            }
        }
    }

    /// True when all of the call is in the store. Every part has a time of its own, because none of them may keep the
    /// call from being closed: one that looks as if it still went on would hide from everybody who has to read it.
    async fn store_rest(mut self, summary: &Summary, contact: bool) -> bool {
        let ended = self.tick();
        let Batch { captures, steps, .. } = self.batch;
        let recording =
            crate::tasks::spawn(close_recording(self.app.recorder.clone(), self.handle.id.clone(), captures));
        // With the last steps goes our own way of sending segments, so that a dead analysis ends the waiting.
        let (analysis, call) = (self.app.analysis.clone(), self.handle.id.clone());
        crate::tasks::spawn(async move { analysis.last_steps(&call, steps, self.segment_sender).await });
        let mut results = Results { segments: self.segments, voices: self.voices };
        let (encounter, mut journal) = (&mut self.encounter, self.journal);
        let collecting = results.collect(|segment| {
            encounter.segment(ended, &segment);
            journal.segment(segment);
        });
        let _ = tokio::time::timeout(limits::ANALYSIS_WAIT, collecting).await;
        let mut journal = self.app.calls.spawn(journal.finish());
        let journalled = tokio::time::timeout(limits::JOURNAL_WAIT, &mut journal).await;
        let late_journal = journalled.is_err().then_some(journal);
        let recorded = tokio::time::timeout(limits::RECORDING_WAIT, recording).await;
        let kept = (journalled.as_ref().ok(), recorded.as_ref().ok());
        let mut gave_way =
            degradations(kept.0.and_then(|kept| kept.as_ref().ok()), kept.1.and_then(|kept| kept.as_ref().ok()));
        if let Some(frames) = self.unrecorded {
            metrics::dropped("recording", frames);
            let (lost, done) = ("the recording", "the conversation went on without it");
            gave_way.push(Degradation::new(DegradationKind::Disk, Severity::Review, 0, lost, done));
        }
        // Before the call is closed, as long as the store answers: whoever sees it closed finds its assessment. While it
        // does not, this goes on in the background, where a shutdown waits for it.
        let mut record = self.encounter.record();
        record.degradations.extend(gave_way.iter().cloned());
        let mut concluding = {
            let (app, call, patient) = (self.app.clone(), self.handle.clone(), self.patient.clone());
            let (record, outcome) = (record.clone(), summary.outcome);
            self.app.calls.spawn(async move {
                let concluded = visits::conclude(&app, &call, &patient, &record, outcome).await;
                let Some(journal) = late_journal else { return concluded };
                let _ = journal.await;
                // What came late changes what is known.
                visits::conclude(&app, &call, &patient, &record, outcome).await
            })
        };
        let concluded = tokio::time::timeout(limits::ASSESSMENT_WAIT, &mut concluding).await;
        let unconcluded = concluded.is_err().then_some(concluding);
        let end = FinishCall {
            outcome: summary.outcome,
            end_cause: Some(summary.cause),
            ended_at_us: crate::clock::unix_us(),
            agents: summary.agents.clone(),
            turns: summary.turns,
            interruptions: summary.interruptions,
        };
        if contact {
            // Before the call is closed: a process that is killed in between leaves one that others look at.
            contact_soon(&self.app, &self.handle.id, &self.patient).await;
        }
        let closed = close_call(&self.app, &self.handle, end).await;
        let analysed = results.voices.is_empty();
        if analysed {
            self.app.analysis.forget(&self.handle.id);
        } else {
            let unanalysed = Unanalysed {
                app: self.app.clone(),
                call: self.handle,
                patient: self.patient,
                encounter: self.encounter,
                ended,
                outcome: summary.outcome,
                gave_way,
                recorded: self.unrecorded.is_none() && !self.recording_erased,
                concluding: unconcluded,
            };
            self.app.calls.spawn(unanalysed.analyse(results));
        }
        let recorded = self.recording_erased || matches!(recorded, Ok(Ok(Recorded { whole: true, .. })));
        let journalled = matches!(journalled, Ok(Ok(journalled)) if journalled.is_whole());
        closed && analysed && recorded && journalled && matches!(concluded, Ok(Ok(true)))
    }
}

/// Contacts the patient, if the store answers soon; otherwise that follows.
async fn contact_soon(app: &Arc<App>, call: &CallId, patient: &PatientId) {
    let (owned, call, patient) = (app.clone(), call.clone(), patient.clone());
    let contacted = app.calls.spawn(async move {
        if let Err(error) = fallback::contact(&owned, &call, &patient, Why::Failed).await {
            tracing::warn!(call_id = %call, code = error.code(), "the patient is contacted after the call is closed");
        }
    });
    let _ = tokio::time::timeout(limits::ANSWER_WAIT, contacted).await;
}

/// What gave way while a call was kept, in words for staff.
fn degradations(journalled: Option<&Journalled>, recorded: Option<&Recorded>) -> Vec<Degradation> {
    let mut found = Vec::new();
    let mut add = |kind, severity, lost: &str, done: &str| found.push(Degradation::new(kind, severity, 0, lost, done));
    match journalled {
        Some(Journalled { spooled: 1.., dropped: 0, .. }) => {
            add(DegradationKind::Database, Severity::Info, "nothing", "records waited in the spool");
        }
        Some(Journalled { dropped: 1.., .. }) => {
            add(DegradationKind::Database, Severity::Review, "entries of the timeline", "the rest was stored");
        }
        _ => {}
    }
    match recorded {
        Some(Recorded { moved: true, lost: 0, .. }) => {
            add(DegradationKind::Disk, Severity::Info, "nothing", "the recording went on in the spool");
        }
        Some(Recorded { lost: 1.., .. }) => {
            add(DegradationKind::Disk, Severity::Review, "a part of the recording", "the rest was recorded");
        }
        _ => {}
    }
    found
}

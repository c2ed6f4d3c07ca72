//! Calls that took place in simulated time: stored and assessed like our own, on the day they stand for.
//!
//! A demonstration shows two weeks in a minute; whoever looks at the records finds the same things in the same places
//! as after two weeks of telephoning. Nobody is alerted of the past.

use crate::Server;
use crate::analysis::{self, Open};
use crate::visits;
use call::engine::{AnalysisStep, Capture, Summary};
use clinic::visit::{Setup, VisitRecord};
use clinic::{CallId, Direction, Patient, PatientId, Segment, TimelineEvent};
use store::{CallHandle, FinishCall, Frame, MAX_BATCH, NewCall, Store, StoreError};

/// A call that is over.
#[derive(Debug)]
pub struct PastCall {
    /// Identifier of the call, unlike that of any other.
    pub call_sid: String,
    /// The patient.
    pub patient: PatientId,
    /// When it began, in microseconds since the Unix epoch.
    pub started_at_us: i64,
    /// What happened.
    pub events: Vec<TimelineEvent>,
    /// What was recorded.
    pub captures: Vec<Capture>,
    /// What the analysis found.
    pub segments: Vec<Segment>,
    /// What was learned.
    pub record: VisitRecord,
    /// How it ended.
    pub summary: Summary,
}

/// The analysis of one call's voice, step by step, as a live call has it.
#[derive(Debug, Default)]
pub struct VoiceAnalysis(Open);

impl VoiceAnalysis {
    /// Takes the next step; gives a segment back when it is complete.
    pub fn step(&mut self, call: &CallId, step: AnalysisStep) -> Option<Segment> {
        analysis::take_step(&mut self.0, call, step)
    }
}

impl Server {
    /// What a visit with this patient starts with.
    ///
    /// # Errors
    /// [`StoreError`] when the patient's profile cannot be read.
    pub async fn visit_setup(&self, patient: &Patient) -> Result<Setup, StoreError> {
        visits::setup(&self.app, patient).await
    }

    /// Stores and assesses a call that took place in simulated time.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not take a part of it.
    pub async fn keep_past_call(&self, past: PastCall) -> Result<CallId, StoreError> {
        let store = &self.app.store;
        let new = NewCall {
            call_sid: &past.call_sid,
            patient_id: Some(past.patient.clone()),
            direction: Direction::Inbound,
            started_at_us: past.started_at_us,
        };
        let call = store.begin_call(new).await?;
        let mut seq = 0;
        for batch in past.events.chunks(MAX_BATCH) {
            store.append_events(&call, seq, batch).await?;
            seq += batch.len() as u64;
        }
        record(store, &call, past.captures).await?;
        for segment in &past.segments {
            store.add_segment(&call, segment).await?;
        }
        let facts = past.record.facts(&call.id, past.started_at_us, past.summary.outcome, &past.segments);
        let visit = visits::assessed(&self.app, &past.patient, past.record, facts).await?;
        store.save_visit(&call, &visit).await?;
        let duration_us = i64::try_from(past.summary.duration_us).unwrap_or(0);
        let end = FinishCall {
            outcome: past.summary.outcome,
            end_cause: Some(past.summary.cause),
            ended_at_us: past.started_at_us.saturating_add(duration_us),
            agents: past.summary.agents,
            turns: past.summary.turns,
            interruptions: past.summary.interruptions,
        };
        store.finish_call(&call.id, end).await?;
        Ok(call.id)
    }
}

async fn record(store: &Store, call: &CallHandle, captures: Vec<Capture>) -> Result<(), StoreError> {
    let (store, call) = (store.clone(), call.clone());
    let written = tokio::task::spawn_blocking(move || {
        let mut writer = store.recording_writer(&call)?;
        for capture in &captures {
            writer.append(&match capture {
                Capture::Patient { position_samples, arrived, ulaw } => {
                    Frame::Patient { position_samples: *position_samples, arrived_us: arrived.as_us(), ulaw }
                }
                Capture::Agent { play_at, ulaw } => Frame::Agent { play_at_us: play_at.as_us(), ulaw },
                Capture::AgentCleared { at } => Frame::AgentCleared { at_us: at.as_us() },
            })?;
        }
        writer.finish()
    });
    written
        .await
        .unwrap_or_else(|_| Err(StoreError::Invalid { what: "recording", expected: "one that can be written" }))
}

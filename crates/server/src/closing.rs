//! What is left to do after a call's last word: its recording, late results of the analysis, and the note in the store
//! that it is over.

use crate::app::App;
use crate::journal;
use crate::limits;
use crate::recorder::{Recorded, Recorder};
use crate::voices::Voices;
use call::engine::Capture;
use clinic::{CallId, CallOutcome, Segment};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use store::{CallHandle, FinishCall, SpoolEntry, StoreError};
use tokio::sync::mpsc;

/// The segments a call still waits for after its end.
pub(crate) struct Results {
    pub(crate) segments: mpsc::Receiver<Segment>,
    pub(crate) voices: Voices,
}

impl Results {
    /// Waits for all of them, or until it is certain that no more will come.
    pub(crate) async fn collect(&mut self, mut keep: impl FnMut(Segment)) {
        while self.voices.due() > 0
            && let Some(segment) = self.segments.recv().await
        {
            self.voices.done(&segment);
            keep(segment);
        }
    }
}

/// Gives a recording its last frames and completes it.
pub(crate) async fn close_recording(recorder: Recorder, id: CallId, last: Vec<Capture>) -> Recorded {
    recorder.close(id, last).await
}

/// The end of a call of which there is nothing to tell.
pub(crate) fn unstarted(outcome: CallOutcome) -> FinishCall {
    FinishCall {
        outcome,
        end_cause: None,
        ended_at_us: crate::clock::unix_us(),
        agents: Vec::new(),
        turns: 0,
        interruptions: 0,
    }
}

/// Ends of calls that the store did not take in time, until it does.
#[derive(Debug, Default)]
pub(crate) struct Unclosed {
    ends: Mutex<VecDeque<(CallId, FinishCall)>>,
    /// Calls that nobody carried when last looked.
    suspects: Mutex<HashSet<CallId>>,
}

impl Unclosed {
    /// The lock is held for a few lines only, and none of them panics.
    fn ends(&self) -> MutexGuard<'_, VecDeque<(CallId, FinishCall)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of these calls that were here the last time, too. One that is being written down at this moment, as a
    /// simulated past is, is not.
    fn still(&self, open: Vec<CallId>) -> Vec<CallId> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let (still, new): (Vec<CallId>, Vec<CallId>) = open.into_iter().partition(|id| suspects.contains(id));
        *suspects = new.into_iter().collect();
        still
    }

    fn keep(&self, id: CallId, end: FinishCall) {
        let mut ends = self.ends();
        if ends.len() >= limits::UNCLOSED_CALLS {
            ends.pop_front();
        }
        ends.push_back((id, end));
    }

    fn all(&self) -> Vec<(CallId, FinishCall)> {
        self.ends().iter().cloned().collect()
    }

    fn forget(&self, id: &CallId) {
        self.ends().retain(|(known, _)| known != id);
    }
}

/// Closes in the store what stayed open there: calls whose end it did not take, and calls of this process that nobody
/// carries any more. One that looks as if it went on would keep its patient from being called, and from being erased. Says
/// how many were marked as interrupted, whose paperwork is to be done.
pub(crate) async fn close_left_open(app: &App) -> Result<usize, StoreError> {
    for (id, end) in app.unclosed.all() {
        match app.store.finish_call(&id, end).await {
            Ok(()) => tracing::info!(call_id = %id, "the call was closed in the store, late"),
            Err(error) if journal::is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::error!(call_id = %id, code = error.code(), "the call could not be closed in the store");
            }
        }
        app.unclosed.forget(&id);
    }
    let now_us = crate::clock::unix_us();
    let age_us = i64::try_from(limits::LEFT_OPEN_AFTER.as_micros()).unwrap_or(i64::MAX);
    let mut open = app.store.own_unfinished_calls(now_us.saturating_sub(age_us)).await?;
    // In this order: a call leaves the registry after its end was noted or kept.
    let live: HashSet<CallId> = app.registry.live_calls().into_iter().map(|(id, _, _)| id).collect();
    let ended: HashSet<CallId> = app.unclosed.all().into_iter().map(|(id, _)| id).collect();
    let places = app.places();
    open.retain(|id| !live.contains(id) && !ended.contains(id) && !places.waits(id));
    let open = app.unclosed.still(open);
    if open.is_empty() {
        return Ok(0);
    }
    let interrupted = app.store.interrupt_calls(open, now_us).await?;
    for id in &interrupted {
        tracing::warn!(call_id = %id, "nobody carries the call any more: it was marked as interrupted");
    }
    Ok(interrupted.len())
}

/// Notes that a call is over: in the store, or in the spool where the store does not take it or something of the call waits
/// there already. Without a spool it is tried for longer, and what is not taken in time is kept for [`close_left_open`].
pub(crate) async fn close_call(app: &App, call: &CallHandle, end: FinishCall) -> bool {
    let (id, places) = (&call.id, app.places());
    let mut waits = limits::STORE_RETRIES.into_iter().chain(std::iter::repeat(std::time::Duration::from_secs(5)));
    let spooled = || places.spool(call, SpoolEntry::End { end: end.clone() });
    if places.waits(id) && spooled().await.is_ok() {
        return true;
    }
    let closing = async {
        loop {
            let closed = places.attempt("finish a call", app.store.finish_call(id, end.clone())).await;
            match closed {
                Ok(()) => return true,
                Err(error) if journal::is_passing(&error) => {
                    tracing::warn!(call_id = %id, code = error.code(), "the call could not be closed in the store yet");
                    tokio::time::sleep(waits.next().unwrap_or_default()).await;
                }
                Err(error) => {
                    tracing::error!(call_id = %id, code = error.code(), "the call could not be closed in the store");
                    return false;
                }
            }
        }
    };
    let patience = if places.spool.is_some() { limits::SPOOL_AFTER } else { limits::CLOSE_CALL_WAIT };
    match tokio::time::timeout(patience, closing).await {
        Ok(closed) => closed,
        Err(_) if spooled().await.is_ok() => true,
        Err(_) => {
            tracing::error!(call_id = %id, "the call stays open in the store until it can be written to again");
            app.unclosed.keep(id.clone(), end.clone());
            false
        }
    }
}

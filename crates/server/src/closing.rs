//! What is left to do after a call's last word: its recording, late results of the analysis, and the note in the store
//! that it is over.

use crate::app::App;
use crate::journal::{self, Journal};
use crate::limits;
use crate::metrics;
use crate::recorder::Recorder;
use call::engine::Capture;
use clinic::{CallId, CallOutcome, Segment};
use store::{CallHandle, FinishCall};
use tokio::sync::mpsc;

/// The segments a call still waits for after its end.
pub(crate) struct Results {
    pub(crate) segments: mpsc::Receiver<Segment>,
    pub(crate) due: usize,
}

impl Results {
    /// Waits for all of them, or until it is certain that no more will come.
    pub(crate) async fn collect(&mut self, journal: &mut Journal) {
        while self.due > 0
            && let Some(segment) = self.segments.recv().await
        {
            self.due -= 1;
            journal.segment(segment);
        }
    }

    /// An analysis that lags behind adds its results to a call that is closed already.
    pub(crate) async fn collect_late(mut self, app: &App, call: CallHandle) {
        let mut journal = Journal::start(app.store.clone(), call.clone());
        let _ = tokio::time::timeout(limits::ANALYSIS_PATIENCE, self.collect(&mut journal)).await;
        journal.finish().await;
        app.analysis.forget(&call.id);
        if self.due > 0 {
            tracing::error!(call_id = %call.id, segments = self.due, "the voice was not analysed");
            metrics::dropped("analysis", self.due as u64);
        }
    }
}

/// Gives a recording its last frames and completes it; true when all of it is on disk.
pub(crate) async fn close_recording(recorder: Recorder, id: CallId, last: Vec<Capture>) -> bool {
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

/// Notes in the store that a call is over, and tries again while the store does not take it. A call that stays open is
/// closed when the server starts next.
pub(crate) async fn close_call(app: &App, id: &CallId, end: FinishCall) -> bool {
    let mut waits = limits::STORE_RETRIES.into_iter().chain(std::iter::repeat(std::time::Duration::from_secs(5)));
    let closing = async {
        loop {
            match app.store.finish_call(id, end.clone()).await {
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
    let closed = tokio::time::timeout(limits::CLOSE_CALL_WAIT, closing).await;
    if closed.is_err() {
        tracing::error!(call_id = %id, "the call stays open in the store until the next start");
    }
    closed.unwrap_or(false)
}

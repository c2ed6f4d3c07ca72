//! The recording of calls, away from their audio path.
//!
//! Calls hand over batches of frames; one thread seals them with the call's key and appends them to the call's file.
//! A full queue makes the call keep its batch, never wait.

use crate::limits;
use crate::metrics;
use call::engine::Capture;
use clinic::CallId;
use std::collections::HashMap;
use store::{Frame, RecordingWriter};
use tokio::sync::{mpsc, oneshot};

enum Job {
    Open(CallId, Box<RecordingWriter>),
    Frames(CallId, Vec<Capture>),
    Close(CallId, oneshot::Sender<bool>),
}

/// Hands recordings to the recording thread; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    jobs: mpsc::Sender<Job>,
}

impl Recorder {
    /// Starts the thread; it ends when the last handle is gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(limits::AUDIO_QUEUE);
        std::thread::Builder::new().name("recorder".into()).spawn(move || run(queue))?;
        Ok(Self { jobs })
    }

    /// Begins the recording of a call. False when the queue is full: there is no room for another call.
    pub(crate) fn open(&self, id: CallId, writer: RecordingWriter) -> bool {
        self.jobs.try_send(Job::Open(id, Box::new(writer))).is_ok()
    }

    /// Hands over frames; gives them back when the queue is full.
    pub(crate) fn frames(&self, id: &CallId, frames: Vec<Capture>) -> Result<(), Vec<Capture>> {
        self.jobs.try_send(Job::Frames(id.clone(), frames)).map_err(|error| match error.into_inner() {
            Job::Frames(_, frames) => frames,
            _ => Vec::new(),
        })
    }

    /// Ends the recording of a call; true when all of it is on disk.
    pub(crate) async fn close(&self, id: CallId) -> bool {
        let (done, finished) = oneshot::channel();
        self.jobs.send(Job::Close(id, done)).await.is_ok() && finished.await.unwrap_or(false)
    }
}

fn run(mut queue: mpsc::Receiver<Job>) {
    // `None` marks a recording that failed; the call goes on, and its end reports it as not stored.
    let mut writers: HashMap<CallId, Option<RecordingWriter>> = HashMap::new();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Open(id, writer) => {
                writers.insert(id, Some(*writer));
            }
            Job::Frames(id, frames) => {
                let Some(slot) = writers.get_mut(&id) else { continue };
                let Some(writer) = slot else { continue };
                if let Err(error) = append(writer, &frames) {
                    tracing::error!(call_id = %id, code = error.code(), "recording failed");
                    metrics::recording_failed();
                    *slot = None;
                }
            }
            Job::Close(id, done) => {
                let stored = match writers.remove(&id).flatten() {
                    Some(mut writer) => match writer.finish() {
                        Ok(_) => true,
                        Err(error) => {
                            tracing::error!(call_id = %id, code = error.code(), "recording could not be closed");
                            metrics::recording_failed();
                            false
                        }
                    },
                    None => false,
                };
                let _ = done.send(stored);
            }
        }
    }
}

fn append(writer: &mut RecordingWriter, frames: &[Capture]) -> Result<(), store::StoreError> {
    for capture in frames {
        match capture {
            Capture::Patient { position_samples, arrived, ulaw } => writer.append(&Frame::Patient {
                position_samples: *position_samples,
                arrived_us: arrived.as_us(),
                ulaw,
            })?,
            Capture::Agent { play_at, ulaw } => {
                writer.append(&Frame::Agent { play_at_us: play_at.as_us(), ulaw })?;
            }
            Capture::AgentCleared { at } => writer.append(&Frame::AgentCleared { at_us: at.as_us() })?,
        }
    }
    writer.flush()
}

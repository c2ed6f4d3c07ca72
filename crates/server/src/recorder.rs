//! The recording of calls, away from their audio path.
//!
//! Calls hand over batches of frames; one thread seals them with the call's key and appends them to the call's file. A
//! full queue makes the call keep its batch, never wait. A second thread completes the files of ended calls, because
//! waiting for the disk there would hold up the recordings of calls that live.

use crate::limits;
use crate::metrics;
use call::engine::Capture;
use clinic::CallId;
use std::collections::HashMap;
use store::{Frame, RecordingWriter, StoreError};
use tokio::sync::{mpsc, oneshot};

/// Where the frames of a call go. After an error the track keeps what it has and may be tried again.
trait Track: Send + 'static {
    fn append(&mut self, capture: &Capture) -> Result<(), StoreError>;
    fn flush(&mut self) -> Result<(), StoreError>;
    fn finish(&mut self) -> Result<(), StoreError>;
    /// True once it goes on in the spool.
    fn has_moved(&self) -> bool;
}

impl Track for RecordingWriter {
    fn append(&mut self, capture: &Capture) -> Result<(), StoreError> {
        let frame = match capture {
            Capture::Patient { position_samples, arrived, ulaw } => {
                Frame::Patient { position_samples: *position_samples, arrived_us: arrived.as_us(), ulaw }
            }
            Capture::Agent { play_at, ulaw } => Frame::Agent { play_at_us: play_at.as_us(), ulaw },
            Capture::AgentCleared { at } => Frame::AgentCleared { at_us: at.as_us() },
        };
        Self::append(self, &frame)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Self::flush(self)
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Self::finish(self)
    }

    fn has_moved(&self) -> bool {
        Self::has_moved(self)
    }
}

/// What became of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Recorded {
    /// It was completed, and no frame is missing.
    pub(crate) whole: bool,
    /// Its disk took nothing any more, and it went on in the spool.
    pub(crate) moved: bool,
    /// Frames that no disk took.
    pub(crate) lost: u64,
}

enum Job<T> {
    Open(CallId, Box<T>),
    Frames(CallId, Vec<Capture>),
    Close(CallId, oneshot::Sender<Recorded>),
    /// Proves that the thread is alive.
    Ping(oneshot::Sender<()>),
}

/// A recording that grows.
struct Recording<T> {
    track: Box<T>,
    /// Frames the disk did not take for so long that there was no room left for them.
    lost: u64,
    failing: bool,
}

/// A recording of an ended call, and who waits for its completion.
struct Closing<T> {
    id: CallId,
    recording: Recording<T>,
    done: oneshot::Sender<Recorded>,
}

/// Hands recordings to the recording thread; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    jobs: mpsc::Sender<Job<RecordingWriter>>,
}

impl Recorder {
    /// Starts the threads; they end when the last handle is gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        Ok(Self { jobs: start_threads()? })
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

    /// Ends the recording of a call with its last frames, and says what became of it.
    pub(crate) async fn close(&self, id: CallId, last: Vec<Capture>) -> Recorded {
        if !last.is_empty() && self.jobs.send(Job::Frames(id.clone(), last)).await.is_err() {
            return Recorded::default();
        }
        let (done, finished) = oneshot::channel();
        if self.jobs.send(Job::Close(id, done)).await.is_err() {
            return Recorded::default();
        }
        finished.await.unwrap_or_default()
    }

    /// True when the recording thread answers in time.
    pub(crate) async fn is_alive(&self) -> bool {
        let (pong, answer) = oneshot::channel();
        let asked = async { self.jobs.send(Job::Ping(pong)).await.is_ok() && answer.await.is_ok() };
        tokio::time::timeout(limits::HEALTH_WAIT, asked).await.unwrap_or(false)
    }
}

fn start_threads<T: Track>() -> std::io::Result<mpsc::Sender<Job<T>>> {
    let (jobs, queue) = mpsc::channel(limits::AUDIO_QUEUE);
    let (closings, ended) = mpsc::channel(limits::CALLS_MAX);
    std::thread::Builder::new().name("recorder".into()).spawn(move || run(queue, &closings))?;
    std::thread::Builder::new().name("recorder-close".into()).spawn(move || complete(ended))?;
    Ok(jobs)
}

fn run<T: Track>(mut queue: mpsc::Receiver<Job<T>>, closings: &mpsc::Sender<Closing<T>>) {
    let mut recordings: HashMap<CallId, Recording<T>> = HashMap::new();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Open(id, track) => {
                if track.has_moved() {
                    note_moved(&id);
                }
                recordings.insert(id, Recording { track, lost: 0, failing: false });
            }
            Job::Frames(id, frames) => {
                if let Some(recording) = recordings.get_mut(&id) {
                    append(&id, recording, &frames);
                }
            }
            Job::Close(id, done) => match recordings.remove(&id) {
                Some(recording) => {
                    if let Err(lost) = closings.blocking_send(Closing { id, recording, done }) {
                        let _ = lost.0.done.send(Recorded::default());
                    }
                }
                None => {
                    let _ = done.send(Recorded::default());
                }
            },
            Job::Ping(pong) => {
                let _ = pong.send(());
            }
        }
    }
}

/// Keeps frames. While the disk refuses, the track holds about a minute of them, so a passing failure costs nothing.
fn append<T: Track>(id: &CallId, recording: &mut Recording<T>, frames: &[Capture]) {
    let lost = frames.iter().filter(|capture| recording.track.append(capture).is_err()).count() as u64;
    if lost > 0 {
        recording.lost += lost;
        metrics::dropped("recording", lost);
    }
    let moved = recording.track.has_moved();
    match recording.track.flush() {
        Ok(()) => {
            recording.failing = false;
            if !moved && recording.track.has_moved() {
                note_moved(id);
            }
        }
        Err(error) => {
            if !std::mem::replace(&mut recording.failing, true) {
                tracing::error!(call_id = %id, code = error.code(), "the recording cannot be written");
                metrics::recording_failed();
            }
        }
    }
}

fn note_moved(id: &CallId) {
    tracing::error!(call_id = %id, "the disk of the recordings takes nothing: the recording goes on in the spool");
    metrics::recording_failed();
}

/// Completes the recordings of ended calls, one after the other.
fn complete<T: Track>(mut ended: mpsc::Receiver<Closing<T>>) {
    while let Some(Closing { id, mut recording, done }) = ended.blocking_recv() {
        let mut finished = recording.track.finish();
        for wait in limits::RECORDING_RETRIES {
            if finished.is_ok() {
                break;
            }
            std::thread::sleep(wait);
            finished = recording.track.finish();
        }
        if let Err(error) = &finished {
            tracing::error!(call_id = %id, code = error.code(), "recording could not be closed");
            metrics::recording_failed();
        }
        let (moved, lost) = (recording.track.has_moved(), recording.lost);
        let recorded = Recorded { whole: finished.is_ok() && lost == 0, moved, lost };
        // Whoever waits may want to move the file, which its writer holds.
        drop(recording);
        let _ = done.send(recorded);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// A disk that can be full.
    #[derive(Default)]
    struct Disk {
        full: AtomicBool,
        refusals_left: AtomicUsize,
        written: Mutex<Vec<Capture>>,
    }

    struct Tape(Arc<Disk>, Vec<Capture>);

    impl Track for Tape {
        fn append(&mut self, capture: &Capture) -> Result<(), StoreError> {
            self.1.push(capture.clone());
            Ok(())
        }
        fn flush(&mut self) -> Result<(), StoreError> {
            if self.0.full.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable { doing: "write", source: "disk full".into() });
            }
            self.0.written.lock().unwrap().append(&mut self.1);
            Ok(())
        }
        fn finish(&mut self) -> Result<(), StoreError> {
            if self.0.refusals_left.load(Ordering::SeqCst) > 0 {
                self.0.refusals_left.fetch_sub(1, Ordering::SeqCst);
                return Err(StoreError::Unavailable { doing: "write", source: "disk full".into() });
            }
            self.flush()
        }
        fn has_moved(&self) -> bool {
            false
        }
    }

    fn frame(n: u64) -> Capture {
        Capture::Patient { position_samples: n * 160, arrived: call::Tick::ZERO, ulaw: vec![n as u8; 160].into() }
    }

    #[test]
    fn a_disk_that_is_full_for_a_moment_costs_not_one_frame() {
        let disk = Arc::new(Disk::default());
        let jobs = start_threads::<Tape>().unwrap();
        let id = CallId::parse("c1").unwrap();
        let send = |job| jobs.blocking_send(job).map_err(drop).unwrap();
        let sync = || {
            let (pong, answer) = oneshot::channel();
            send(Job::Ping(pong));
            answer.blocking_recv().unwrap();
        };
        send(Job::Open(id.clone(), Box::new(Tape(disk.clone(), Vec::new()))));
        for n in 0..6 {
            disk.full.store((2..4).contains(&n), Ordering::SeqCst);
            send(Job::Frames(id.clone(), vec![frame(n)]));
            sync();
        }
        disk.refusals_left.store(2, Ordering::SeqCst);
        let (done, finished) = oneshot::channel();
        send(Job::Close(id, done));
        assert!(finished.blocking_recv().unwrap().whole, "closing is tried again");
        assert_eq!(*disk.written.lock().unwrap(), (0..6).map(frame).collect::<Vec<_>>());
    }
}

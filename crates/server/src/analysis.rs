//! The analysis of voices, away from the audio path.
//!
//! A few plain threads own the analyzers. Every call belongs to one thread, so its steps stay in order; a full queue
//! makes the call keep its batch, never wait. The recording holds the same audio, so a result can always be computed
//! again.

use crate::limits;
use crate::metrics;
use call::engine::AnalysisStep;
use clinic::tools::VoiceTask;
use clinic::{CallId, Segment, Span};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use voice::{Analyzer, AnalyzerConfig, Channel, Task};

/// A finished segment on its way back to its call.
pub(crate) type Finished = mpsc::Sender<Segment>;

enum Job {
    Steps {
        call: CallId,
        steps: Vec<AnalysisStep>,
        finished: Finished,
    },
    /// The call is gone: whatever is still open is dropped.
    Forget(CallId),
    /// Proves that the thread is alive.
    Ping(oneshot::Sender<()>),
}

/// Hands audio to the analysis threads; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Analysis {
    threads: Vec<mpsc::Sender<Job>>,
}

impl Analysis {
    /// Starts one thread per core; they end when the last handle is gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores)
            .map(|index| {
                let (jobs, queue) = mpsc::channel(limits::AUDIO_QUEUE);
                std::thread::Builder::new().name(format!("analysis-{index}")).spawn(move || run(queue))?;
                Ok(jobs)
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { threads })
    }

    /// Hands over steps in order; gives them back when the queue is full.
    pub(crate) fn steps(
        &self,
        call: &CallId,
        steps: Vec<AnalysisStep>,
        finished: &Finished,
    ) -> Result<(), Vec<AnalysisStep>> {
        let Some(thread) = self.thread_of(call) else { return Err(steps) };
        let job = Job::Steps { call: call.clone(), steps, finished: finished.clone() };
        thread.try_send(job).map_err(|error| match error.into_inner() {
            Job::Steps { steps, .. } => steps,
            _ => Vec::new(),
        })
    }

    /// Drops what is still open of a call that has ended.
    pub(crate) fn forget(&self, call: &CallId) {
        if let Some(thread) = self.thread_of(call) {
            let _ = thread.try_send(Job::Forget(call.clone()));
        }
    }

    /// True when every thread answers in time.
    pub(crate) async fn is_alive(&self) -> bool {
        for thread in &self.threads {
            let (pong, answer) = oneshot::channel();
            let asked = tokio::time::timeout(limits::HEALTH_WAIT, async {
                thread.send(Job::Ping(pong)).await.is_ok() && answer.await.is_ok()
            });
            if !asked.await.unwrap_or(false) {
                return false;
            }
        }
        !self.threads.is_empty()
    }

    fn thread_of(&self, call: &CallId) -> Option<&mpsc::Sender<Job>> {
        let mut hasher = DefaultHasher::new();
        call.hash(&mut hasher);
        let index = hasher.finish() as usize % self.threads.len().max(1);
        self.threads.get(index)
    }
}

fn run(mut queue: mpsc::Receiver<Job>) {
    let mut open: HashMap<(CallId, u32), (VoiceTask, Analyzer)> = HashMap::new();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Steps { call, steps, finished } => {
                for step in steps {
                    if let Some(segment) = take_step(&mut open, &call, step) {
                        // The call listens until it has all its segments; if it is gone, so is the need.
                        let _ = finished.blocking_send(segment);
                    }
                }
            }
            Job::Forget(call) => open.retain(|(id, _), _| *id != call),
            Job::Ping(pong) => {
                let _ = pong.send(());
            }
        }
    }
}

fn take_step(
    open: &mut HashMap<(CallId, u32), (VoiceTask, Analyzer)>,
    call: &CallId,
    step: AnalysisStep,
) -> Option<Segment> {
    match step {
        AnalysisStep::Open { segment, task } => {
            open.insert((call.clone(), segment), (task, new_analyzer(task)));
            None
        }
        AnalysisStep::Push { segment, ulaw } => {
            if let Some((_, analyzer)) = open.get_mut(&(call.clone(), segment)) {
                analyzer.push_ulaw(&ulaw);
            }
            None
        }
        AnalysisStep::Gap { segment, samples } => {
            if let Some((_, analyzer)) = open.get_mut(&(call.clone(), segment)) {
                analyzer.push_gap(usize::try_from(samples).unwrap_or(usize::MAX));
            }
            None
        }
        AnalysisStep::Close { segment, spans } => {
            let (task, analyzer) = open.remove(&(call.clone(), segment))?;
            let began = Instant::now();
            let finished = finish(segment, task, spans, analyzer);
            metrics::analysis_done(task.as_str(), began.elapsed());
            Some(finished)
        }
    }
}

fn new_analyzer(task: VoiceTask) -> Analyzer {
    let task = match task {
        VoiceTask::Speech => Task::Speech,
        VoiceTask::Counting => Task::Counting,
        VoiceTask::SustainedVowel => Task::SustainedVowel,
    };
    Analyzer::new(AnalyzerConfig { task, channel: Channel::Telephone })
}

/// The segment with its result; a voice that cannot be measured is a result too, with its reason.
fn finish(index: u32, task: VoiceTask, spans: Vec<Span>, analyzer: Analyzer) -> Segment {
    let duration_s = analyzer.duration_s();
    let report = match analyzer.finish() {
        Ok(report) => serde_json::to_value(&report).unwrap_or_default(),
        Err(error) => serde_json::json!({
            "engine_version": voice::analyzer::ENGINE_VERSION,
            "task": task.as_str(),
            "channel": "telephone",
            "sample_rate_hz": 8000,
            "start_s": 0.0,
            "duration_s": duration_s,
            "measures": voice::Measures::default(),
            "pauses": [],
            "quality": { "usable": false, "snr_db": null, "clipped_fraction": null, "voiced_s": null,
                         "reasons": [error.to_string()] },
            "validity": {},
        }),
    };
    Segment { index, task: task.as_str().to_owned(), spans, report }
}

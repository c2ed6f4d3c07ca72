//! The analysis of voices, away from the audio path.
//!
//! A few plain threads own the analyzers. Every call belongs to one thread, so its steps stay in order; a full queue
//! makes the call keep its batch, never wait. The recording holds the same audio, so a result can always be computed
//! again.

use crate::limits;
use crate::metrics;
use call::engine::AnalysisStep;
use clinic::tools::VoiceTask;
use clinic::{CallId, Segment};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    threads: Vec<Thread>,
}

#[derive(Debug, Clone)]
struct Thread {
    jobs: mpsc::Sender<Job>,
    /// Steps taken so far.
    steps: Arc<AtomicU64>,
    /// The count that the last check saw, and since when.
    seen: Arc<Mutex<(u64, Instant)>>,
}

/// How the analysis gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It answers at once.
    Ready,
    /// It works, but later than it is asked to. Calls do not suffer; their results come later.
    Behind,
    /// It does not get on, or its thread is gone.
    Stuck,
}

impl Analysis {
    /// Starts one thread per core; they end when the last handle is gone.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores)
            .map(|index| {
                let (jobs, queue) = mpsc::channel(limits::AUDIO_QUEUE);
                let steps = Arc::new(AtomicU64::new(0));
                let counter = steps.clone();
                let name = format!("analysis-{index}");
                std::thread::Builder::new().name(name).spawn(move || run(queue, &counter))?;
                Ok(Thread { jobs, steps, seen: Arc::new(Mutex::new((0, Instant::now()))) })
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
        thread.jobs.try_send(job).map_err(|error| match error.into_inner() {
            Job::Steps { steps, .. } => steps,
            _ => Vec::new(),
        })
    }

    /// Hands over the last steps of a call, waiting for room. `finished` is gone when nothing will come of them.
    pub(crate) async fn last_steps(&self, call: &CallId, steps: Vec<AnalysisStep>, finished: Finished) {
        if let Some(thread) = self.thread_of(call)
            && !steps.is_empty()
        {
            let _ = thread.jobs.send(Job::Steps { call: call.clone(), steps, finished }).await;
        }
    }

    /// Drops what is still open of a call that has ended.
    pub(crate) fn forget(&self, call: &CallId) {
        if let Some(thread) = self.thread_of(call) {
            let _ = thread.jobs.try_send(Job::Forget(call.clone()));
        }
    }

    /// As [`Self::forget`], waiting for room: what is left behind would stay for ever.
    pub(crate) async fn forget_for_certain(&self, call: &CallId) {
        if let Some(thread) = self.thread_of(call) {
            let _ = thread.jobs.send(Job::Forget(call.clone())).await;
        }
    }

    /// How the thread in the worst condition gets on.
    pub(crate) async fn condition(&self) -> Condition {
        let mut behind = self.threads.is_empty().then_some(Condition::Stuck);
        for thread in &self.threads {
            match thread.condition().await {
                Condition::Ready => {}
                Condition::Behind => behind = behind.or(Some(Condition::Behind)),
                Condition::Stuck => return Condition::Stuck,
            }
        }
        behind.unwrap_or(Condition::Ready)
    }

    fn thread_of(&self, call: &CallId) -> Option<&Thread> {
        let mut hasher = DefaultHasher::new();
        call.hash(&mut hasher);
        let index = hasher.finish() as usize % self.threads.len().max(1);
        self.threads.get(index)
    }
}

impl Thread {
    async fn condition(&self) -> Condition {
        let (pong, answer) = oneshot::channel();
        let asked = async { self.jobs.send(Job::Ping(pong)).await.is_ok() && answer.await.is_ok() };
        match tokio::time::timeout(limits::HEALTH_WAIT, asked).await {
            Ok(true) => return Condition::Ready,
            Ok(false) => return Condition::Stuck,
            Err(_) => {}
        }
        let steps = self.steps.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != steps {
            *seen = (steps, Instant::now());
        }
        if seen.1.elapsed() < limits::ANALYSIS_STUCK { Condition::Behind } else { Condition::Stuck }
    }
}

/// A segment that is being collected; no analyzer means that it failed.
pub(crate) type Open = HashMap<(CallId, u32), (VoiceTask, Option<Analyzer>)>;

fn run(mut queue: mpsc::Receiver<Job>, counter: &AtomicU64) {
    let mut open = Open::new();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Steps { call, steps, finished } => {
                for step in steps {
                    if let Some(segment) = take_step(&mut open, &call, step) {
                        // The call listens until it has all its segments; if it is gone, so is the need.
                        let _ = finished.blocking_send(segment);
                    }
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            Job::Forget(call) => open.retain(|(id, _), _| *id != call),
            Job::Ping(pong) => {
                let _ = pong.send(());
            }
        }
    }
}

pub(crate) fn take_step(open: &mut Open, call: &CallId, step: AnalysisStep) -> Option<Segment> {
    match step {
        AnalysisStep::Open { segment, task } => {
            open.insert((call.clone(), segment), (task, Some(new_analyzer(task))));
            None
        }
        AnalysisStep::Push { segment, ulaw } => {
            if let Some((_, analyzer)) = open.get_mut(&(call.clone(), segment)) {
                collect(call, analyzer, |analyzer| analyzer.push_ulaw(&ulaw));
            }
            None
        }
        AnalysisStep::Gap { segment, samples } => {
            if let Some((_, analyzer)) = open.get_mut(&(call.clone(), segment)) {
                let samples = usize::try_from(samples).unwrap_or(usize::MAX);
                collect(call, analyzer, |analyzer| analyzer.push_gap(samples));
            }
            None
        }
        AnalysisStep::Close { segment, spans } => {
            let (task, analyzer) = open.remove(&(call.clone(), segment))?;
            let began = Instant::now();
            let report = guard(call, || report_of(task, analyzer)).unwrap_or_else(|| unusable(task, 0.0, FAILED));
            metrics::analysis_done(task.as_str(), began.elapsed());
            Some(Segment { index: segment, task: task.as_str().to_owned(), spans, report })
        }
    }
}

/// The reason in the report of a segment whose analysis failed.
const FAILED: &str = "the analysis failed";

fn collect(call: &CallId, analyzer: &mut Option<Analyzer>, step: impl FnOnce(&mut Analyzer)) {
    if let Some(present) = analyzer
        && guard(call, || step(present)).is_none()
    {
        *analyzer = None;
    }
}

/// Runs a part of the analysis so that a defect in it costs one segment, not the thread and the voices of all other
/// calls.
fn guard<T>(call: &CallId, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        tracing::error!(call_id = %call, "the analysis panicked");
        metrics::dropped("analysis", 1);
    }
    done.ok()
}

fn new_analyzer(task: VoiceTask) -> Analyzer {
    let task = match task {
        VoiceTask::Speech => Task::Speech,
        VoiceTask::Counting => Task::Counting,
        VoiceTask::SustainedVowel => Task::SustainedVowel,
    };
    Analyzer::new(AnalyzerConfig { task, channel: Channel::Telephone })
}

/// The report of a segment of a call whose audio `feed` pushes: exactly what a live call stores of the same audio.
pub fn segment_report(task: VoiceTask, feed: impl FnOnce(&mut Analyzer)) -> serde_json::Value {
    let mut analyzer = new_analyzer(task);
    feed(&mut analyzer);
    report_of(task, Some(analyzer))
}

/// The result; a voice that cannot be measured is a result too, with its reason.
fn report_of(task: VoiceTask, analyzer: Option<Analyzer>) -> serde_json::Value {
    let Some(analyzer) = analyzer else { return unusable(task, 0.0, FAILED) };
    let duration_s = analyzer.duration_s();
    match analyzer.finish() {
        Ok(report) => serde_json::to_value(&report).unwrap_or_default(),
        Err(error) => unusable(task, duration_s, &error.to_string()),
    }
}

fn unusable(task: VoiceTask, duration_s: f64, reason: &str) -> serde_json::Value {
    serde_json::json!({
        "engine_version": voice::analyzer::ENGINE_VERSION,
        "task": task.as_str(),
        "channel": "telephone",
        "sample_rate_hz": 8000,
        "start_s": 0.0,
        "duration_s": duration_s,
        "measures": voice::Measures::default(),
        "pauses": [],
        "quality": { "usable": false, "snr_db": null, "clipped_fraction": null, "voiced_s": null,
                     "reasons": [reason] },
        "validity": {},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_defect_in_the_analysis_costs_one_segment() {
        let call = CallId::parse("c1").unwrap();
        let mut open = Open::new();
        for segment in 0..2 {
            assert!(take_step(&mut open, &call, AnalysisStep::Open { segment, task: VoiceTask::Speech }).is_none());
        }
        let (_, analyzer) = open.get_mut(&(call.clone(), 0)).unwrap();
        collect(&call, analyzer, |_| panic!("a defect"));
        let mut close =
            |segment| take_step(&mut open, &call, AnalysisStep::Close { segment, spans: Vec::new() }).unwrap();
        assert_eq!(close(0).report["quality"]["reasons"][0], FAILED);
        assert_ne!(close(1).report["quality"]["reasons"][0], FAILED);
    }
}

//! How a call ends: by whichever signal comes first, exactly once, with the goodbye played out where there is one.

use super::{AnalysisStep, Call, CallConfig, Output, Summary};
use crate::Tick;
use clinic::{CallOutcome, EndCause, TimelineKind};

/// Time beyond the audio still queued that the last mark may take to come back.
const DRAIN_GRACE_MS: u64 = 3_000;

/// How long an agent that announced the end may take to close its socket: after what it had said until then was
/// played, and in silence.
const GOODBYE_MAX_MS: u64 = 30_000;
const GOODBYE_QUIET_MS: u64 = 4_000;

/// Where the call stands with its end.
#[derive(Debug)]
pub(super) struct Ending {
    over: bool,
    longest: Tick,
    /// The agent is gone and its goodbye is played out until then.
    drain_until: Option<Tick>,
    /// When the agent announced the end, and by when it has to have closed its socket at the latest.
    goodbye: Option<(Tick, Tick)>,
}

impl Ending {
    pub(super) fn new(config: &CallConfig) -> Self {
        Self { over: false, longest: Tick::from_ms(config.max_call_ms), drain_until: None, goodbye: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// True once the agent has begun to end the call.
    pub(super) fn is_ending(&self) -> bool {
        self.drain_until.is_some() || self.goodbye.is_some()
    }

    /// The agent announced the end while audio of `remaining_ms` was still to be played.
    pub(super) fn agent_said_goodbye(&mut self, now: Tick, remaining_ms: u64) {
        self.goodbye.get_or_insert((now, now.plus_ms(remaining_ms + GOODBYE_MAX_MS)));
    }

    /// The caller had more to say.
    pub(super) fn goodbye_withdrawn(&mut self) {
        self.goodbye = None;
    }

    pub(super) fn drain(&mut self, now: Tick, remaining_ms: u64) {
        self.drain_until.get_or_insert(now.plus_ms(remaining_ms + DRAIN_GRACE_MS));
    }
}

impl Call {
    pub(super) fn ending_on_time(&mut self) {
        if let Some(until) = self.ending.drain_until
            && (until <= self.now || (self.playout.is_drained() && self.stream.is_some()))
        {
            return self.finish(EndCause::AgentFinished);
        }
        if self.goodbye_deadline().is_some_and(|until| until <= self.now) {
            return self.finish(EndCause::AgentFinished);
        }
        if self.ending.longest <= self.now {
            self.finish(EndCause::MaximumDuration);
        }
    }

    pub(super) fn ending_deadline(&self) -> Option<Tick> {
        [Some(self.ending.longest), self.ending.drain_until, self.goodbye_deadline()].into_iter().flatten().min()
    }

    /// When an agent that announced the end has had enough time to close by itself.
    fn goodbye_deadline(&self) -> Option<Tick> {
        if self.ending.drain_until.is_some() {
            return None; // It did close, and the drain knows how long there is to play.
        }
        let (since, latest) = self.ending.goodbye?;
        if self.floor.is_speaking() {
            return Some(latest);
        }
        let spoken = self.floor.last_words().unwrap_or(since);
        let quiet = self.playout.quiet_at().map(|at| at.max(since).max(spoken).plus_ms(GOODBYE_QUIET_MS));
        Some(quiet.unwrap_or(Tick::FAR).min(latest))
    }

    /// Ends the call. Later signals of its end find it over and change nothing.
    pub(super) fn finish(&mut self, cause: EndCause) {
        if self.ending.over {
            return;
        }
        self.ending.over = true;
        for played in self.playout.take_played(self.now) {
            self.record_played(played);
        }
        // What is left was cut off; `interrupt` knows how much of it was heard.
        for played in self.playout.interrupt(self.now, Some(i64::MAX)) {
            self.record_played(played);
        }
        self.close_task();
        if let Some((segment, spans)) = self.segments.close_speech() {
            self.outputs.push_back(Output::Analyze(AnalysisStep::Close { segment, spans }));
        }
        let unreported: Vec<_> = self.problems.iter().filter(|(_, count)| **count > 1).map(|(k, v)| (*k, *v)).collect();
        for ((peer, problem), count) in unreported {
            self.record(TimelineKind::PeerProblem { peer: peer.into(), problem: problem.into(), count });
        }
        if self.uplink.dropped_ms() > 0 {
            let milliseconds = self.uplink.dropped_ms();
            self.record(TimelineKind::AudioDropped { direction: "to_agent".into(), milliseconds });
        }
        self.record_quality();
        self.record(TimelineKind::Ended { cause });
        self.outputs.push_back(Output::CloseAgent);
        self.outputs.push_back(Output::ClosePhone);
        self.outputs.push_back(Output::Done(Summary {
            outcome: self.outcome(cause),
            cause,
            duration_us: self.now.as_us(),
            agents: self.agents.clone(),
            turns: self.playout.turns_begun(),
            interruptions: self.counts.interruptions,
            transcript_turns: self.counts.transcript_turns,
            frames_in: self.counts.frames_in,
            to_agent_dropped_ms: self.uplink.dropped_ms(),
            to_phone_dropped_ms: self.playout.dropped_ms(),
        }));
    }

    fn outcome(&self, cause: EndCause) -> CallOutcome {
        match cause {
            _ if self.handed_over => CallOutcome::HandedOver,
            EndCause::NeverConnected => CallOutcome::NoAnswer,
            EndCause::AgentFailed | EndCause::StreamIdle | EndCause::StreamFailed => CallOutcome::Failed,
            EndCause::HungUpByUs => CallOutcome::Interrupted,
            EndCause::MachineAnswered => CallOutcome::Voicemail,
            // The caller was there, and the stream was not.
            EndCause::StreamStopped if !self.reached => CallOutcome::Failed,
            _ if !self.reached => CallOutcome::NoAnswer,
            // Whoever hung up was waiting for somebody to go on with the visit.
            _ if self.unfinished && self.switch.is_under_way() && !self.script.carries() => CallOutcome::Failed,
            _ if self.agent_joined() => CallOutcome::Completed,
            _ => CallOutcome::Failed,
        }
    }
}

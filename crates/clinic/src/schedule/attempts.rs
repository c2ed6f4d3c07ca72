//! What became of the attempts at a planned call, and what to do next.

use super::RetryAfter;
use crate::{PatientId, PlannedCallId};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

const MINUTE_US: i64 = 60_000_000;

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// It is about to be placed, or was: the answer to the request is not known.
    Claimed,
    /// Twilio has taken it.
    Placed,
    /// Somebody answered and was spoken to.
    Answered,
    /// The line was engaged.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// A machine answered.
    Voicemail,
    /// It could not be placed, or broke for a technical reason.
    Failed,
    /// Nobody can say whether it was placed. It counts as if it had been.
    Unknown,
}

impl AttemptState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Placed,
        Self::Answered,
        Self::Busy,
        Self::NoAnswer,
        Self::Voicemail,
        Self::Failed,
        Self::Unknown,
    ];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Placed => "placed",
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Voicemail => "voicemail",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True while the telephone may be ringing or in use.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Claimed | Self::Placed)
    }

    /// Whether news that say `next` change what is known. News come from several sources in any order: the end of the
    /// conversation is a better witness than the telephone network, which takes a machine for an answer. That somebody was
    /// spoken to is said by the conversation only, and stands against a failure that was noted because the server that held
    /// it was taken for lost.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Claimed | Self::Placed => next != Self::Claimed && next != self,
            Self::Answered => next == Self::Voicemail,
            Self::Failed => next == Self::Answered,
            Self::Unknown => !matches!(next, Self::Claimed | Self::Placed | Self::Unknown),
            Self::Busy | Self::NoAnswer | Self::Voicemail => false,
        }
    }

    /// Why a call is missed whose last attempt ended like this.
    fn missed(self) -> MissedReason {
        match self {
            Self::Busy => MissedReason::Busy,
            Self::NoAnswer => MissedReason::NoAnswer,
            Self::Voicemail => MissedReason::Voicemail,
            Self::Failed => MissedReason::Failed,
            Self::Claimed | Self::Placed | Self::Answered | Self::Unknown => MissedReason::Unknown,
        }
    }
}

impl RetryAfter {
    /// Minutes to wait after an attempt that ended like this.
    #[must_use]
    pub fn minutes(self, state: AttemptState) -> u32 {
        match state {
            AttemptState::Busy => self.busy_min,
            AttemptState::Voicemail => self.voicemail_min,
            AttemptState::Failed => self.failed_min,
            _ => self.no_answer_min,
        }
    }
}

/// An attempt, as far as the next decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What is known of it.
    pub state: AttemptState,
    /// When it ended, or when it was claimed while it has not. Microseconds since the Unix epoch.
    pub at_us: i64,
}

/// Why a planned call may have to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It goes on.
    None,
    /// Its schedule is paused.
    Paused,
    /// Its schedule was removed.
    Removed,
}

/// A planned call and what was done about it. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// First moment at which a call may be placed.
    pub opens_at_us: i64,
    /// The moment from which on none may be placed.
    pub closes_at_us: i64,
    /// When the first attempt is due.
    pub first_due_us: i64,
    /// Attempts, at most.
    pub max_attempts: u32,
    /// How long to wait between them.
    pub retry_after: RetryAfter,
    /// The attempts so far, in order.
    pub attempts: &'a [Attempt],
    /// Whether its schedule lets it go on.
    pub hold: Hold,
}

/// What to do about a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Place the attempt with this number, now.
    Place {
        /// From 1.
        attempt: u32,
    },
    /// Nothing before this moment.
    Wait {
        /// Microseconds since the Unix epoch.
        until_us: i64,
    },
    /// Nothing until it is known what becomes of the attempt in flight.
    AwaitOutcome,
    /// The patient was reached.
    Done,
    /// The patient was not reached and will not be telephoned again for this day.
    Missed(MissedReason),
    /// Nobody wants the call any more.
    Cancelled,
}

impl Progress<'_> {
    /// What to do at `now_us`.
    #[must_use]
    pub fn decide(&self, now_us: i64) -> Decision {
        if self.attempts.iter().any(|attempt| attempt.state == AttemptState::Answered) {
            return Decision::Done;
        }
        if self.attempts.iter().any(|attempt| attempt.state.is_in_flight()) {
            return Decision::AwaitOutcome;
        }
        match self.hold {
            Hold::Removed => return Decision::Cancelled,
            Hold::Paused if now_us >= self.closes_at_us => return Decision::Cancelled,
            Hold::Paused => return Decision::Wait { until_us: self.closes_at_us },
            Hold::None => {}
        }
        let last = self.attempts.last();
        let due_us = last.map_or(self.first_due_us, |attempt| {
            attempt.at_us.saturating_add(i64::from(self.retry_after.minutes(attempt.state)) * MINUTE_US)
        });
        let made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        if made >= self.max_attempts || due_us.max(now_us) >= self.closes_at_us {
            return Decision::Missed(last.map_or(MissedReason::NotPlaced, |attempt| attempt.state.missed()));
        }
        let due_us = due_us.max(self.opens_at_us);
        if now_us < due_us { Decision::Wait { until_us: due_us } } else { Decision::Place { attempt: made + 1 } }
    }
}

/// Why a patient was not reached, by the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedReason {
    /// The line was engaged.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// A machine answered.
    Voicemail,
    /// It could not be placed, or broke for a technical reason.
    Failed,
    /// Nobody can say what became of it.
    Unknown,
    /// No attempt was made before the window closed: the server was down, or too busy.
    NotPlaced,
}

impl MissedReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Busy, Self::NoAnswer, Self::Voicemail, Self::Failed, Self::Unknown, Self::NotPlaced];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Voicemail => "voicemail",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotPlaced => "not_placed",
        }
    }

    /// The reason with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A patient who was to be telephoned on a day and was not reached. A nurse has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedCall {
    /// The planned call. Whoever takes this in twice knows it by this.
    pub planned_call_id: PlannedCallId,
    /// The patient.
    pub patient_id: PatientId,
    /// The day by the patient's calendar.
    pub planned_for: Date,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed.
    pub reason: MissedReason,
}

//! What waits in the spool.

use crate::FinishCall;
use clinic::visit::VisitRecord;
use clinic::{CallOutcome, PatientId, PhoneNumber, Segment, TimelineEvent};
use serde::{Deserialize, Serialize};

/// Something of a call that the database did not take. PHI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SpoolEntry {
    /// Entries of the timeline, numbered from `first_seq`.
    Events {
        /// Number of the first one.
        first_seq: u64,
        /// The entries.
        events: Vec<TimelineEvent>,
    },
    /// An analysed segment.
    Segment {
        /// The segment.
        segment: Box<Segment>,
    },
    /// What was learned in the visit; it is to be assessed when it is stored.
    Visit {
        /// Whose visit.
        patient: PatientId,
        /// What was learned.
        record: Box<VisitRecord>,
        /// How the call ended up.
        outcome: CallOutcome,
    },
    /// How the call ended.
    End {
        /// How.
        end: FinishCall,
    },
}

/// Somebody called while we could not look up who it is, and was promised a call. PHI.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBackWish {
    /// The number that called.
    pub phone: String,
    /// Microseconds since the Unix epoch.
    pub at_us: i64,
    /// Why the call could not be held, as a stable code.
    pub why: String,
}

impl CallBackWish {
    /// A wish of whoever has this number.
    #[must_use]
    pub fn new(phone: &PhoneNumber, at_us: i64, why: &str) -> Self {
        Self { phone: phone.expose().to_owned(), at_us, why: why.to_owned() }
    }
}

impl std::fmt::Debug for CallBackWish {
    /// Leaves the number out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallBackWish").field("at_us", &self.at_us).field("why", &self.why).finish_non_exhaustive()
    }
}

/// A message of the agents service after a call, which the database did not take. PHI.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateMessage {
    /// What is kept of the message, as it came.
    pub body: String,
}

impl std::fmt::Debug for LateMessage {
    /// Leaves what it says out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LateMessage").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

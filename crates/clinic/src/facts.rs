//! What one call contributed: the input of the risk model, of trends and of later calls' baselines.

use crate::answers::Answer;
use crate::red_flags::RedFlag;
use crate::{CallId, CallOutcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A voice task of a visit and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Identifier of the protocol's item; `None` for the open speech of the whole call.
    pub item: Option<String>,
    /// `speech`, `counting` or `sustained-vowel`.
    pub task: String,
    /// Number of the analysed segment.
    pub segment: u32,
    /// Which attempt at the item this was, from 1.
    pub attempt: u32,
    /// Whether the quality gates passed.
    pub usable: bool,
    /// The whole report of the analysis, as in the outer contract (section 4).
    pub report: Value,
}

/// What one call contributed. PHI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallFacts {
    /// The call.
    pub call_id: CallId,
    /// When it began, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// How it ended up.
    pub outcome: CallOutcome,
    /// Language it was held in.
    pub language: String,
    /// Whether the patient was identified; nothing of a call with somebody else belongs to the patient.
    pub identified: bool,
    /// Every question of the protocol, answered or not.
    pub answers: Vec<Answer>,
    /// Red flags raised, in order.
    pub red_flags: Vec<RedFlag>,
    /// Analysed voice tasks.
    pub tasks: Vec<TaskFacts>,
    /// A clinician confirmed that the patient was free of congestion at this call.
    #[serde(default)]
    pub dry_confirmed: bool,
    /// An alert of the patient was open when the call ended, so that it must not move the baseline.
    #[serde(default)]
    pub alert_open: bool,
}

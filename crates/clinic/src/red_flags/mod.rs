//! Red flags: words of a patient that mean an emergency, found in the transcript while the patient speaks.
//!
//! A red flag needs no tool call of the agent and no arithmetic. It errs towards raising: a nurse who looks in vain loses
//! a minute.

use serde::{Deserialize, Serialize};

/// A red flag that was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedFlag {
    /// Stable code, such as `chest_pain`.
    pub code: String,
    /// The words that raised it, as the patient said them, or what else did. PHI.
    pub evidence: String,
}

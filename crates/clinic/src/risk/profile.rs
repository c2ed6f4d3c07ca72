//! What is known of a patient beside the calls.

use crate::Sex;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Microseconds of a day.
pub(crate) const DAY_US: f64 = 86_400e6;

/// What is known of a patient beside the calls. PHI.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Sex as recorded; voice norms differ by it.
    pub sex: Sex,
    /// Date of birth. Kept for reports by age; no constant of the model depends on it.
    pub birth_date: Option<Date>,
    /// Weight without congestion, as the clinic set it.
    pub dry_weight_kg: Option<f64>,
    /// When the patient last left hospital.
    pub discharged_on: Option<Date>,
    /// The day of the call that is assessed, where the patient lives.
    pub today: Date,
}

impl Profile {
    /// Days between discharge and the day `days_ago` before today; `None` without a discharge.
    pub(crate) fn days_since_discharge(&self, days_ago: f64) -> Option<i32> {
        let since = self.today.since(self.discharged_on?).ok()?.get_days();
        Some(since - days_ago.round().clamp(0.0, 1e6) as i32)
    }
}

//! Change detection on the composite of the day: a moving average for what is now, a cumulative sum for what lasts.

use super::model::ChangeRules;

/// The cumulative sum is kept below this many of its limits, so that a long illness does not outlast its cure.
const CUSUM_CEILING_LIMITS: f64 = 2.0;

/// A moving average (EWMA) and a one-sided cumulative sum (CUSUM), both starting at 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChangeDetector {
    /// Exponentially weighted moving average.
    pub ewma: f64,
    /// Sum of what exceeded the slack.
    pub cusum: f64,
}

impl ChangeDetector {
    /// Takes in the composite of a day.
    pub fn step(&mut self, rules: &ChangeRules, z: f64) {
        if z.is_finite() {
            self.ewma += rules.ewma_lambda * (z - self.ewma);
            let ceiling = CUSUM_CEILING_LIMITS * rules.cusum_limit;
            self.cusum = (self.cusum + z - rules.cusum_slack).clamp(0.0, ceiling);
        }
    }

    /// Whether the moving average is above its limit.
    #[must_use]
    pub fn ewma_alarm(&self, rules: &ChangeRules) -> bool {
        self.ewma > rules.ewma_limit()
    }

    /// Whether the cumulative sum is above its limit.
    #[must_use]
    pub fn cusum_alarm(&self, rules: &ChangeRules) -> bool {
        self.cusum > rules.cusum_limit
    }
}

//! Parts of a model that were fitted to outcomes of a site.
//!
//! Both turn a sum of log-odds into a probability, shown as 0 to 100. What each term contributes in points is its
//! log-odds times the mean slope of the curve between the base rate and the result: so the points add up exactly, and
//! terms that pull in opposite directions cannot blow each other up.

use super::feature::{Feature, Features};
use super::model::{ModelError, field, require};
use serde::{Deserialize, Serialize};

/// Scores are kept this far from 0 and 100 before the logit is taken.
const SCORE_MARGIN: f64 = 0.5;

/// A penalised logistic regression on the features of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    /// Log-odds of an average call.
    pub intercept: f64,
    /// One for each feature.
    pub terms: Vec<Term>,
}

/// A term of a logistic regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Which feature.
    pub feature: Feature,
    /// Log-odds of one standard deviation.
    pub coefficient: f64,
    /// Mean of the feature in training.
    pub mean: f64,
    /// Its standard deviation.
    pub sd: f64,
    /// Log-odds when the feature is missing.
    pub missing: f64,
}

/// The score of the rules, brought to the frequency of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Log-odds at a score of 50.
    pub intercept: f64,
    /// How log-odds follow the logit of the score.
    pub slope: f64,
}

impl Term {
    /// Log-odds for a value.
    #[must_use]
    pub fn log_odds(&self, value: Option<f64>) -> f64 {
        value.map_or(self.missing, |value| self.coefficient * (value - self.mean) / self.sd)
    }
}

impl Logistic {
    /// Log-odds of each term for a call.
    #[must_use]
    pub fn terms(&self, features: &Features) -> Vec<(Feature, f64)> {
        let of = |term: &Term| term.log_odds(features.get(&term.feature).copied().flatten());
        self.terms.iter().map(|term| (term.feature, of(term))).collect()
    }

    /// Probability of the outcome.
    #[must_use]
    pub fn probability(&self, features: &Features) -> f64 {
        sigmoid(self.intercept + self.terms(features).iter().map(|(_, log_odds)| log_odds).sum::<f64>())
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        require(bounded(self.intercept), "logistic.intercept", "-100 to 100")?;
        require((1..=100).contains(&self.terms.len()), "logistic.terms", "1 to 100 terms")?;
        for (index, term) in self.terms.iter().enumerate() {
            let fits = bounded(term.coefficient)
                && bounded(term.missing)
                && term.mean.abs() < 1e6
                && (1e-9..1e6).contains(&term.sd)
                && self.terms.iter().filter(|other| other.feature == term.feature).count() == 1;
            // A model that rewards a symptom must not be used, however well it fits.
            let rewards = !term.feature.is_voice() && term.coefficient < 0.0;
            require(!rewards, &format!("logistic.terms[{index}].coefficient"), "0 or more for a symptom")?;
            if !fits {
                return Err(field(
                    &format!("logistic.terms[{index}]"),
                    "each feature once, with a finite coefficient, mean and missing, and a positive sd",
                ));
            }
        }
        Ok(())
    }
}

impl Calibration {
    /// Probability of the outcome at a score of the rules.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.intercept + self.slope * score_logit(score))
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        require(bounded(self.intercept), "calibration.intercept", "-100 to 100")?;
        let rising = self.slope > 0.0 && bounded(self.slope);
        require(rising, "calibration.slope", "above 0, at most 100: a higher score must not mean less risk")
    }
}

/// The logit of a score of 0 to 100, with both ends kept finite.
#[must_use]
pub fn score_logit(score: f64) -> f64 {
    let p = score.clamp(SCORE_MARGIN, 100.0 - SCORE_MARGIN) / 100.0;
    (p / (1.0 - p)).ln()
}

/// The logistic function.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// Mean slope of [`sigmoid`] between `from` and `from + by`: never below 0, never above a quarter.
pub(super) fn mean_slope(from: f64, by: f64) -> f64 {
    if by.abs() < 1e-9 {
        let p = sigmoid(from);
        p * (1.0 - p)
    } else {
        (sigmoid(from + by) - sigmoid(from)) / by
    }
}

fn bounded(value: f64) -> bool {
    value.is_finite() && value.abs() <= 100.0
}

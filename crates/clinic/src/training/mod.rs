//! Fitting the risk model to the outcomes of a site.
//!
//! A site writes a CSV of patient-days: the inputs that assessments carry ([`crate::risk::Features`]), the score, and
//! whether the outcome followed. [`Table::parse`] reads it, [`evaluate()`] says how well a model orders and predicts,
//! [`train()`] makes a candidate: a penalised logistic regression where there are events enough, else only an intercept
//! and a slope for the score. Everything is split by patient, so that no person sits on both sides. A candidate holds
//! counts and coefficients, never data of a patient.

mod design;
mod evaluate;
mod fit;
mod metrics;
pub mod random;
pub mod synthetic;
mod table;
mod train;

#[cfg(test)]
mod tests;

pub use evaluate::{Evaluation, evaluate};
pub use metrics::{AlertBurden, CalibrationBin, Estimate, NetBenefit, Performance};
pub use table::{REQUIRED_COLUMNS, Row, Table, TableError};
pub use train::{Candidate, Kind, TrainError, TrainingReport, train};

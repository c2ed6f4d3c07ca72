//! How good a model is on a table.

use super::metrics::{Performance, Prediction};
use super::table::{Row, Table};
use super::train::{TrainError, rules};
use crate::risk::{Features, Model};
use serde::Serialize;

/// How good a model is on a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// What was taken for a prediction, in words.
    pub predicted_by: &'static str,
    /// Rows without a prediction, which are not counted.
    pub rows_left_out: usize,
    /// The figures.
    pub performance: Performance,
    /// The score of the rules on the same table, for comparison; `None` when that is what was evaluated.
    pub rules: Option<Performance>,
    /// What to look at.
    pub warnings: Vec<String>,
}

/// Evaluates `model`: by its features where it was fitted, else by the column `score`.
///
/// # Errors
/// [`TrainError::OneClass`] unless both outcomes occur among rows with a prediction.
pub fn evaluate(model: &Model, table: &Table, seed: u64) -> Result<Evaluation, TrainError> {
    let fitted = model.logistic.is_some();
    let probability = |row: &Row| match (&model.logistic, model.calibration) {
        (Some(logistic), _) => Some(logistic.probability(&features(table, row))),
        (None, Some(calibration)) => Some(calibration.probability(row.score?)),
        (None, None) => Some(row.score? / 100.0),
    };
    let predictions: Vec<Prediction> = table
        .rows
        .iter()
        .filter_map(|row| {
            Some(Prediction { patient: row.patient, probability: probability(row)?, outcome: row.outcome })
        })
        .collect();
    let outcome = u8::from(predictions.first().is_some_and(|p| p.outcome));
    let performance = Performance::of(&predictions, seed).ok_or(TrainError::OneClass { outcome })?;
    let mut warnings = Vec::new();
    for term in model.logistic.iter().flat_map(|logistic| &logistic.terms) {
        if table.column(term.feature).is_none() {
            warnings.push(format!("{}: no such column; taken as missing in every row", term.feature));
        }
    }
    if !fitted && model.calibration.is_none() {
        warnings.push("the score is not a probability: its order means something, its calibration does not".to_owned());
    }
    Ok(Evaluation {
        model: model.name.clone(),
        version: model.version.clone(),
        predicted_by: match (fitted, model.calibration.is_some()) {
            (true, _) => "the fitted features",
            (false, true) => "the recalibrated score",
            (false, false) => "the score",
        },
        rows_left_out: table.rows.len() - predictions.len(),
        performance,
        rules: if fitted || model.calibration.is_some() { rules(table, seed) } else { None },
        warnings,
    })
}

fn features(table: &Table, row: &Row) -> Features {
    table.features.iter().copied().zip(row.values.iter().copied()).collect()
}

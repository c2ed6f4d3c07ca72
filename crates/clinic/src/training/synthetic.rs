//! A made-up cohort whose truth is known: to try the commands, and to test that training finds what is there.
//!
//! It says nothing about heart failure. Congestion comes and goes slowly in each patient and moves symptoms and voice;
//! whether the outcome follows a day is drawn with exactly the probability that the known coefficients give.

use super::metrics::{Prediction, areas};
use super::random::Random;
use crate::risk::logistic::sigmoid;
use crate::risk::{Feature, Measure, Model};
use jiff::civil::{Date, date};

/// First day of every cohort.
const FIRST_DAY: Date = date(2026, 1, 1);
/// Share of days without a usable voice.
const SILENT_DAYS: f64 = 0.08;
/// Share of days without answers.
const UNANSWERED_DAYS: f64 = 0.03;
/// How much of yesterday's congestion is there today.
const PERSISTENCE: f64 = 0.9;

/// The log-odds the outcomes are drawn with, for one unit of each feature.
pub const TRUE_INTERCEPT: f64 = -3.8;
/// See [`TRUE_INTERCEPT`].
pub const TRUE_COEFFICIENTS: [(Feature, f64); 6] = [
    (Feature::SymptomPoints, 0.05),
    (Feature::VoiceEwma, 0.5),
    (Feature::Z(Measure::PauseFraction), 0.3),
    (Feature::Z(Measure::SpeechRate), 0.2),
    (Feature::Z(Measure::Cpps), 0.0),
    (Feature::Z(Measure::Hnr), 0.0),
];

/// A made-up patient on a made-up day.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticRow {
    /// Number of the patient, from 0.
    pub patient: usize,
    /// The day.
    pub date: Date,
    /// Whether the outcome followed.
    pub outcome: bool,
    /// Probability it was drawn with.
    pub probability: f64,
    /// Score of the rules.
    pub score: Option<f64>,
    /// In the order of [`TRUE_COEFFICIENTS`].
    pub values: Vec<Option<f64>>,
}

/// A made-up cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticCohort {
    /// All rows, patient by patient.
    pub rows: Vec<SyntheticRow>,
}

/// Makes a cohort; equal arguments give equal cohorts.
#[must_use]
pub fn synthetic_cohort(seed: u64, patients: usize, days: usize) -> SyntheticCohort {
    let mut random = Random::new(seed);
    let model = Model::default();
    let mut rows = Vec::new();
    for patient in 0..patients {
        let frailty = random.normal();
        let mut congestion = random.normal();
        let mut ewma = 0.0;
        let mut day = FIRST_DAY;
        for _ in 0..days {
            congestion = PERSISTENCE * congestion + (1.0 - PERSISTENCE * PERSISTENCE).sqrt() * random.normal();
            let state = 0.7 * congestion + 0.5 * frailty;
            ewma += 0.25 * (0.8 * state + random.normal() - ewma);
            rows.push(make_row(&model, patient, day, state, ewma, &mut random));
            day = day.tomorrow().unwrap_or(day);
        }
    }
    SyntheticCohort { rows }
}

fn make_row(model: &Model, patient: usize, date: Date, state: f64, ewma: f64, random: &mut Random) -> SyntheticRow {
    let symptoms = (12.0 * (state - 0.3) + 10.0 * random.normal()).clamp(0.0, 100.0).round();
    let z = |random: &mut Random, pull: f64| (pull * state + random.normal()).clamp(-4.0, 4.0);
    let measured = [symptoms, ewma, z(random, 0.6), z(random, 0.5), z(random, 0.4), z(random, 0.3)];
    let log_odds: f64 =
        TRUE_COEFFICIENTS.iter().zip(measured).map(|((_, coefficient), value)| coefficient * value).sum();
    let probability = sigmoid(TRUE_INTERCEPT + log_odds);
    let outcome = random.chance(probability);
    let (silent, unanswered) = (random.chance(SILENT_DAYS), random.chance(UNANSWERED_DAYS));
    let values: Vec<Option<f64>> = TRUE_COEFFICIENTS
        .iter()
        .zip(measured)
        .map(|((feature, _), value)| {
            let missing = if feature.is_voice() { silent } else { unanswered };
            (!missing).then_some((value * 1000.0).round() / 1000.0)
        })
        .collect();
    let (k, v) = (&model.combination, &model.voice_score);
    let said = if unanswered { 0.0 } else { symptoms / 100.0 };
    let heard = if silent { 0.0 } else { ((ewma - v.ewma_from) / v.ewma_span).clamp(0.0, 1.0) };
    let score = 100.0 * (1.0 - (1.0 - said) * (1.0 - k.voice_weight * heard));
    let score = (!(silent && unanswered)).then_some((score * 10.0).round() / 10.0);
    SyntheticRow { patient, date, outcome, probability, score, values }
}

impl SyntheticCohort {
    /// Area under the ROC curve of the probabilities the outcomes were drawn with: no model does better but by luck.
    #[must_use]
    pub fn true_auroc(&self) -> Option<f64> {
        let mut predictions: Vec<Prediction> = self
            .rows
            .iter()
            .map(|row| Prediction { patient: row.patient, probability: row.probability, outcome: row.outcome })
            .collect();
        predictions.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let patients = self.rows.last().map_or(0, |row| row.patient + 1);
        areas(&predictions, &vec![1.0; patients]).map(|(roc, _)| roc)
    }

    /// The cohort as a training file.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = super::REQUIRED_COLUMNS.join(",");
        for (feature, _) in TRUE_COEFFICIENTS {
            text.push(',');
            text.push_str(&feature.name());
        }
        text.push('\n');
        for row in &self.rows {
            let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let (patient, outcome) = (row.patient + 1, u8::from(row.outcome));
            text.push_str(&format!("S{patient:04},{},{outcome},{}", row.date, number(row.score)));
            for &value in &row.values {
                text.push(',');
                text.push_str(&number(value));
            }
            text.push('\n');
        }
        text
    }
}

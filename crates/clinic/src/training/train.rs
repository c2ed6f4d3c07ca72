//! Making a candidate model, with an honest account of how good it is.

use super::design::Design;
use super::fit::{self, Matrix};
use super::metrics::{Performance, Prediction};
use super::random::Random;
use super::table::{Row, Table};
use crate::risk::logistic::{Calibration, Logistic, score_logit};
use crate::risk::{Bands, Feature, Model};
use serde::Serialize;
use serde_json::json;

/// Fewer events than this teach nothing, not even an intercept.
const MIN_EVENTS: usize = 10;
/// Fewer patients with an event than this cannot be split.
const MIN_PATIENTS_WITH_EVENTS: usize = 5;
/// Fewer events than this only recalibrate the score: about ten for each coefficient of the smallest useful model.
const FIT_EVENTS: usize = 60;
/// Events for each coefficient below which a warning is given.
const EVENTS_PER_COEFFICIENT: usize = 10;
/// Folds by which performance is measured, and inside of each those by which the penalty is chosen.
const OUTER_FOLDS: usize = 5;
const INNER_FOLDS: usize = 3;
/// Penalties that are tried, on standardised features.
const LAMBDAS: [f64; 6] = [100.0, 30.0, 10.0, 3.0, 1.0, 0.3];
/// Bands of a fitted model: alerts for each patient and month at which watch, review and urgent begin.
const BAND_BURDENS: [f64; 3] = [4.0, 1.0, 0.25];

/// Why nothing could be trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Only one outcome occurs.
    #[error("column outcome: every row is {outcome}; training needs both 0 and 1")]
    OneClass {
        /// Which.
        outcome: u8,
    },
    /// Too few events.
    #[error(
        "{found} rows with outcome 1 (and a score); at least {MIN_EVENTS} are needed to recalibrate, {FIT_EVENTS} to fit"
    )]
    TooFewEvents {
        /// How many there are.
        found: usize,
    },
    /// Too few patients with events.
    #[error(
        "{found} patients with outcome 1; at least {MIN_PATIENTS_WITH_EVENTS} are needed to test on others than were trained on"
    )]
    TooFewPatients {
        /// How many there are.
        found: usize,
    },
    /// Higher scores go with fewer events.
    #[error("column score: outcomes do not become more frequent with it; check that 1 means that the outcome followed")]
    ScoreDoesNotRise,
    /// No feature is of use.
    #[error("no feature varies, or every symptom works against its meaning; check the columns")]
    NothingToFit,
    /// The arithmetic did not settle.
    #[error("the fit did not settle; look for columns with extreme values")]
    NotSettled,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A logistic regression on the features.
    Logistic,
    /// An intercept and a slope for the score of the rules.
    Recalibration,
}

/// How good a candidate is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingReport {
    /// What was made.
    pub kind: Kind,
    /// Rows read.
    pub rows: usize,
    /// Patients.
    pub patients: usize,
    /// Rows the outcome followed.
    pub events: usize,
    /// Penalty of the final fit.
    pub lambda: Option<f64>,
    /// Fitted numbers beside the intercept.
    pub coefficients: usize,
    /// On patients that were not trained on.
    pub performance: Performance,
    /// The same without anything of the voice: what the voice adds is the difference.
    pub without_voice: Option<Performance>,
    /// The score of the rules on the same rows.
    pub rules: Option<Performance>,
    /// What to look at.
    pub warnings: Vec<String>,
    /// Seed of splits and intervals.
    pub seed: u64,
}

/// A model to be looked at, and tried in the shadow, before anybody uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The model.
    pub model: Model,
    /// How good it is; a copy stands in the model.
    pub report: TrainingReport,
}

/// Makes a candidate from `base`, whose rules it keeps for everything that is not fitted.
///
/// # Errors
/// [`TrainError`] when the table does not hold enough to learn from.
pub fn train(base: &Model, table: &Table, seed: u64) -> Result<Candidate, TrainError> {
    let events = table.events();
    if events == 0 || events == table.rows.len() {
        return Err(TrainError::OneClass { outcome: u8::from(events > 0) });
    }
    let folds = Folds::new(table, OUTER_FOLDS, seed)?;
    let (mut model, mut report) = if events < FIT_EVENTS {
        recalibrate(base, table, &folds, seed)?
    } else {
        fit_features(base, table, &folds, seed)?
    };
    report.rules = rules(table, seed);
    model.training = Some(json!({
        "base": {"name": base.name, "version": base.version},
        "report": report,
    }));
    Ok(Candidate { model, report })
}

/// Performance of the score of the rules, taken as a probability.
pub(super) fn rules(table: &Table, seed: u64) -> Option<Performance> {
    let predictions: Vec<Prediction> = table
        .rows
        .iter()
        .filter_map(|row| {
            Some(Prediction { patient: row.patient, probability: row.score? / 100.0, outcome: row.outcome })
        })
        .collect();
    Performance::of(&predictions, seed)
}

fn fit_features(base: &Model, table: &Table, folds: &Folds, seed: u64) -> Result<(Model, TrainingReport), TrainError> {
    let everything: Vec<usize> = (0..table.rows.len()).collect();
    let (design, beta, lambda) = best_fit(table, &everything, &table.features, seed)?;
    let predictions = cross_validated(table, folds, &table.features, seed)?;
    let performance = Performance::of(&predictions, seed).ok_or(TrainError::NotSettled)?;
    let silent: Vec<Feature> = table.features.iter().copied().filter(|feature| !feature.is_voice()).collect();
    let both = !silent.is_empty() && silent.len() < table.features.len();
    let without_voice = if both { cross_validated(table, folds, &silent, seed).ok() } else { None };
    let logistic = design.model(&beta);
    let mut model = fresh(base, "fitted", &format!("{logistic:?}"));
    let mut warnings = warnings(table, &design, &logistic);
    match bands(&performance) {
        Some(bands) => model.bands = bands,
        None => {
            warnings.push("bands: too few rows to place them by numbers of alerts; those of the rules stand".into())
        }
    }
    model.logistic = Some(logistic);
    let report = TrainingReport {
        kind: Kind::Logistic,
        rows: table.rows.len(),
        patients: table.patients,
        events: table.events(),
        lambda: Some(lambda),
        coefficients: design.coefficients(),
        performance,
        without_voice: without_voice.and_then(|predictions| Performance::of(&predictions, seed)),
        rules: None,
        warnings,
        seed,
    };
    Ok((model, report))
}

fn warnings(table: &Table, design: &Design, logistic: &Logistic) -> Vec<String> {
    let mut warnings = Vec::new();
    let kept = design.features();
    for feature in table.features.iter().filter(|feature| !kept.contains(feature)) {
        warnings.push(format!("{feature}: left out: it does not vary, or it worked against its meaning"));
    }
    for term in logistic.terms.iter().filter(|term| term.coefficient < 0.0) {
        warnings.push(format!("{}: a higher value lowers the risk", term.feature));
    }
    let needed = EVENTS_PER_COEFFICIENT * design.coefficients();
    if table.events() < needed {
        warnings.push(format!(
            "{} events for {} coefficients: fewer than {EVENTS_PER_COEFFICIENT} each; expect performance to fall",
            table.events(),
            design.coefficients()
        ));
    }
    warnings
}

/// Bands at fixed numbers of alerts, of predictions on patients that were not trained on.
fn bands(performance: &Performance) -> Option<Bands> {
    let at = |burden: f64| {
        let found = performance.alert_burden.iter().find(|known| known.alerts_per_patient_month == burden)?;
        Some(100.0 * found.threshold)
    };
    let [watch, review, urgent] = BAND_BURDENS.map(at);
    let bands = Bands { watch: watch?, review: review?, urgent: urgent? };
    let rising = 0.0 < bands.watch && bands.watch < bands.review && bands.review < bands.urgent;
    (rising && bands.urgent <= 100.0).then_some(bands)
}

/// Predictions for every row by a model that never saw its patient, neither to fit nor to choose the penalty.
fn cross_validated(
    table: &Table,
    folds: &Folds,
    features: &[Feature],
    seed: u64,
) -> Result<Vec<Prediction>, TrainError> {
    let mut predictions = Vec::with_capacity(table.rows.len());
    for fold in 0..folds.count {
        let (inside, outside) = folds.split(table, fold);
        let (design, beta, _) = best_fit(table, &inside, features, seed)?;
        let matrix = design.matrix(table, &outside);
        let rows = outside.iter().filter_map(|&row| table.rows.get(row));
        predictions.extend(rows.zip(matrix.rows()).map(|(row, x)| predict(row, fit::predictor(x, &beta))));
    }
    Ok(predictions)
}

fn predict(row: &Row, log_odds: f64) -> Prediction {
    let probability = crate::risk::logistic::sigmoid(log_odds);
    Prediction { patient: row.patient, probability, outcome: row.outcome }
}

/// The fit on `rows` with the penalty that predicts left-out patients of these rows best.
fn best_fit(
    table: &Table,
    rows: &[usize],
    features: &[Feature],
    seed: u64,
) -> Result<(Design, Vec<f64>, f64), TrainError> {
    let chosen: Vec<Row> = rows.iter().filter_map(|&row| table.rows.get(row)).cloned().collect();
    let inner = Table { features: table.features.clone(), rows: chosen, patients: table.patients };
    let everything: Vec<usize> = (0..inner.rows.len()).collect();
    let folds = Folds::new(&inner, INNER_FOLDS, seed.wrapping_add(1))?;
    let mut losses = LAMBDAS.map(|_| 0.0);
    for fold in 0..folds.count {
        let (inside, outside) = folds.split(&inner, fold);
        let outcomes = outcomes(&inner, &outside);
        let mut start = Vec::new();
        for (lambda, loss) in LAMBDAS.iter().zip(&mut losses) {
            let (design, beta) = fit_once(&inner, &inside, features, *lambda, &start)?;
            *loss += fit::log_loss(&design.matrix(&inner, &outside), &outcomes, &beta) * outcomes.len() as f64;
            start = beta;
        }
    }
    let best = LAMBDAS.iter().zip(losses).min_by(|a, b| a.1.total_cmp(&b.1));
    let lambda = best.map_or(1.0, |(&lambda, _)| lambda);
    let (design, beta) = fit_once(&inner, &everything, features, lambda, &[])?;
    Ok((design, beta, lambda))
}

/// Fits; a symptom that would lower the risk is left out, the worst one first: no model may reward a symptom.
fn fit_once(
    table: &Table,
    rows: &[usize],
    features: &[Feature],
    lambda: f64,
    start: &[f64],
) -> Result<(Design, Vec<f64>), TrainError> {
    let mut features = features.to_vec();
    let outcomes = outcomes(table, rows);
    loop {
        let design = Design::learn(table, rows, &features);
        if design.coefficients() == 0 {
            return Err(TrainError::NothingToFit);
        }
        let beta =
            fit::logistic_from(&design.matrix(table, rows), &outcomes, lambda, start).ok_or(TrainError::NotSettled)?;
        let terms = design.model(&beta).terms;
        let worst = terms
            .iter()
            .filter(|term| !term.feature.is_voice() && term.coefficient < 0.0)
            .min_by(|a, b| a.coefficient.total_cmp(&b.coefficient));
        match worst {
            Some(term) => features.retain(|&feature| feature != term.feature),
            None => return Ok((design, beta)),
        }
    }
}

fn outcomes(table: &Table, rows: &[usize]) -> Vec<f64> {
    rows.iter().filter_map(|&row| table.rows.get(row)).map(|row| f64::from(u8::from(row.outcome))).collect()
}

fn recalibrate(base: &Model, table: &Table, folds: &Folds, seed: u64) -> Result<(Model, TrainingReport), TrainError> {
    let scored: Vec<usize> =
        (0..table.rows.len()).filter(|&row| table.rows.get(row).is_some_and(|row| row.score.is_some())).collect();
    let events = outcomes(table, &scored).iter().sum::<f64>() as usize;
    if events < MIN_EVENTS {
        return Err(TrainError::TooFewEvents { found: events });
    }
    let calibration = fit_calibration(table, &scored)?;
    let mut predictions = Vec::new();
    for fold in 0..folds.count {
        let (inside, outside) = folds.split(table, fold);
        let keep = |rows: Vec<usize>| -> Vec<usize> {
            rows.into_iter().filter(|&row| table.rows.get(row).is_some_and(|row| row.score.is_some())).collect()
        };
        let fitted = fit_calibration(table, &keep(inside))?;
        for row in outside.iter().filter_map(|&row| table.rows.get(row)) {
            if let Some(score) = row.score {
                predictions.push(predict(row, fitted.intercept + fitted.slope * score_logit(score)));
            }
        }
    }
    let performance = Performance::of(&predictions, seed).ok_or(TrainError::NotSettled)?;
    let mut model = fresh(base, "recalibrated", &format!("{calibration:?}"));
    let moved = |score: f64| 100.0 * calibration.probability(score);
    let b = base.bands;
    model.bands = Bands { watch: moved(b.watch), review: moved(b.review), urgent: moved(b.urgent) };
    model.calibration = Some(calibration);
    let note = format!(
        "{events} events: fewer than {FIT_EVENTS}, so that only intercept and slope of the score were fitted; its order is unchanged"
    );
    let report = TrainingReport {
        kind: Kind::Recalibration,
        rows: table.rows.len(),
        patients: table.patients,
        events: table.events(),
        lambda: None,
        coefficients: 1,
        performance,
        without_voice: None,
        rules: None,
        warnings: vec![note],
        seed,
    };
    Ok((model, report))
}

fn fit_calibration(table: &Table, rows: &[usize]) -> Result<Calibration, TrainError> {
    let chosen = rows.iter().filter_map(|&row| table.rows.get(row));
    let data = chosen.flat_map(|row| [1.0, score_logit(row.score.unwrap_or(0.0))]).collect();
    let beta = fit::logistic(&Matrix { width: 2, data }, &outcomes(table, rows), 1e-3).ok_or(TrainError::NotSettled)?;
    match beta[..] {
        [intercept, slope] if slope > 1e-3 => Ok(Calibration { intercept, slope }),
        _ => Err(TrainError::ScoreDoesNotRise),
    }
}

/// The base with another name, and a version that changes with what was fitted.
fn fresh(base: &Model, suffix: &str, fitted: &str) -> Model {
    let mut model = base.clone();
    let root = base.name.strip_suffix("-fitted").or_else(|| base.name.strip_suffix("-recalibrated"));
    let root: String = root.unwrap_or(&base.name).chars().take(48).collect();
    model.name = format!("{root}-{suffix}");
    // FNV-1a: the same fit has the same version.
    let hash = fitted.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let version = base.version.split('+').next().unwrap_or("1");
    let version: String = version.chars().take(48).collect();
    model.version = format!("{version}+{hash:08x}");
    (model.logistic, model.calibration, model.training) = (None, None, None);
    model
}

/// Patients dealt out to folds, those with events evenly.
struct Folds {
    count: usize,
    of_patient: Vec<usize>,
}

impl Folds {
    fn new(table: &Table, wanted: usize, seed: u64) -> Result<Self, TrainError> {
        let mut with_events = vec![false; table.patients];
        let mut present = vec![false; table.patients];
        for row in &table.rows {
            if let (Some(event), Some(seen)) = (with_events.get_mut(row.patient), present.get_mut(row.patient)) {
                *event |= row.outcome;
                *seen = true;
            }
        }
        let having = |wanted: bool| -> Vec<usize> {
            let both = with_events.iter().zip(&present).enumerate();
            both.filter(|(_, (event, seen))| **seen && **event == wanted).map(|(patient, _)| patient).collect()
        };
        let (mut ill, mut well) = (having(true), having(false));
        if ill.len() < MIN_PATIENTS_WITH_EVENTS.min(wanted) {
            return Err(TrainError::TooFewPatients { found: ill.len() });
        }
        let mut random = Random::new(seed);
        random.shuffle(&mut ill);
        random.shuffle(&mut well);
        let mut of_patient = vec![0; table.patients];
        for (place, &patient) in ill.iter().chain(&well).enumerate() {
            if let Some(fold) = of_patient.get_mut(patient) {
                *fold = place % wanted;
            }
        }
        Ok(Self { count: wanted, of_patient })
    }

    /// Rows outside of the fold, to train on, and inside, to test on.
    fn split(&self, table: &Table, fold: usize) -> (Vec<usize>, Vec<usize>) {
        let fold_of = |row: usize| {
            let patient = table.rows.get(row).map_or(0, |row| row.patient);
            self.of_patient.get(patient).copied().unwrap_or(0)
        };
        (0..table.rows.len()).partition(|&row| fold_of(row) != fold)
    }
}

//! How well predictions order patients, and how far they mean what they say.

use super::fit::{self, Matrix};
use super::random::Random;
use serde::Serialize;

/// Patients are drawn with replacement so many times.
const RESAMPLES: usize = 400;
/// Groups of equal size in the calibration curve.
const BINS: usize = 10;
/// Days of an average month.
const DAYS_PER_MONTH: f64 = 30.44;
/// Alerts for each patient and month at which sensitivity is given.
const BURDENS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
/// Probabilities at which somebody might act.
const DECISION_THRESHOLDS: [f64; 9] = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5];

/// One prediction and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    pub(super) patient: usize,
    pub(super) probability: f64,
    pub(super) outcome: bool,
}

/// A value with its 95 % interval by resampling patients; no interval when too few patients had events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// A group of similar predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Rows.
    pub rows: usize,
    /// Mean prediction.
    pub predicted: f64,
    /// How often the outcome followed.
    pub observed: f64,
}

/// Net benefit of acting above a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NetBenefit {
    /// The probability.
    pub threshold: f64,
    /// Acting on the predictions.
    pub model: f64,
    /// Acting on everybody. Acting on nobody has 0.
    pub everybody: f64,
}

/// What a number of alerts buys.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AlertBurden {
    /// Alerts for each patient and month that were allowed.
    pub alerts_per_patient_month: f64,
    /// The prediction at and above which an alert is raised.
    pub threshold: f64,
    /// Alerts for each patient and month that come of it; fewer than allowed where predictions are equal.
    pub actual_alerts_per_patient_month: f64,
    /// Share of events with an alert.
    pub sensitivity: f64,
    /// Share of alerts with an event.
    pub positive_predictive_value: f64,
}

/// Performance of predictions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Performance {
    /// Rows with a prediction.
    pub rows: usize,
    /// Patients among them.
    pub patients: usize,
    /// Rows the outcome followed.
    pub events: usize,
    /// Area under the ROC curve.
    pub auroc: Estimate,
    /// Area under the precision-recall curve; without skill it is the share of events.
    pub auprc: Estimate,
    /// Mean squared error of the probabilities.
    pub brier: f64,
    /// Log-odds to add on average; 0 is right.
    pub calibration_intercept: Option<f64>,
    /// How outcomes follow predictions; 1 is right, below 1 predictions are too extreme.
    pub calibration_slope: Option<f64>,
    /// Calibration curve.
    pub calibration_curve: Vec<CalibrationBin>,
    /// Decision curve.
    pub decision_curve: Vec<NetBenefit>,
    /// Sensitivity at numbers of alerts.
    pub alert_burden: Vec<AlertBurden>,
}

impl Performance {
    /// Measures `predictions`; `None` unless both outcomes occur.
    pub(super) fn of(predictions: &[Prediction], seed: u64) -> Option<Self> {
        let events = predictions.iter().filter(|p| p.outcome).count();
        if events == 0 || events == predictions.len() {
            return None;
        }
        let mut sorted = predictions.to_vec();
        sorted.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.patient.cmp(&b.patient)));
        let patients = sorted.iter().map(|p| p.patient).max().unwrap_or(0) + 1;
        let everybody = vec![1.0; patients];
        let (auroc, auprc) = areas(&sorted, &everybody)?;
        let mut seen = vec![false; patients];
        sorted.iter().for_each(|p| {
            if let Some(slot) = seen.get_mut(p.patient) {
                *slot = true;
            }
        });
        let present: Vec<usize> = (0..patients).filter(|&patient| seen.get(patient) == Some(&true)).collect();
        let (rocs, prcs) = resample(&sorted, &present, patients, seed);
        let n = sorted.len() as f64;
        let (intercept, slope) = calibration(&sorted);
        Some(Self {
            rows: sorted.len(),
            patients: present.len(),
            events,
            auroc: estimate(auroc, rocs),
            auprc: estimate(auprc, prcs),
            brier: sorted.iter().map(|p| (p.probability - truth(p)).powi(2)).sum::<f64>() / n,
            calibration_intercept: intercept,
            calibration_slope: slope,
            calibration_curve: curve(&sorted),
            decision_curve: DECISION_THRESHOLDS.map(|threshold| net_benefit(&sorted, threshold)).to_vec(),
            alert_burden: BURDENS.iter().filter_map(|&burden| alert_burden(&sorted, burden)).collect(),
        })
    }
}

fn truth(prediction: &Prediction) -> f64 {
    f64::from(u8::from(prediction.outcome))
}

/// Areas under the ROC and the precision-recall curve of predictions sorted downwards, each patient counted as often
/// as `weights` says. `None` unless both outcomes occur.
pub(super) fn areas(sorted: &[Prediction], weights: &[f64]) -> Option<(f64, f64)> {
    let weight = |p: &Prediction| weights.get(p.patient).copied().unwrap_or(0.0);
    let events: f64 = sorted.iter().filter(|p| p.outcome).map(weight).sum();
    let others: f64 = sorted.iter().filter(|p| !p.outcome).map(weight).sum();
    if events <= 0.0 || others <= 0.0 {
        return None;
    }
    let (mut hits, mut misses, mut roc, mut precision) = (0.0, 0.0, 0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.probability == b.probability) {
        let hit: f64 = ties.iter().filter(|p| p.outcome).map(weight).sum();
        let miss: f64 = ties.iter().filter(|p| !p.outcome).map(weight).sum();
        roc += miss * (hits + 0.5 * hit);
        (hits, misses) = (hits + hit, misses + miss);
        if hit > 0.0 {
            precision += hit * hits / (hits + misses);
        }
    }
    Some((roc / (events * others), precision / events))
}

fn resample(sorted: &[Prediction], present: &[usize], patients: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Random::new(seed);
    let mut rocs = Vec::new();
    let mut prcs = Vec::new();
    for _ in 0..RESAMPLES {
        let mut weights = vec![0.0; patients];
        for _ in present {
            let drawn = present.get(random.below(present.len())).copied().unwrap_or(0);
            if let Some(weight) = weights.get_mut(drawn) {
                *weight += 1.0;
            }
        }
        if let Some((roc, prc)) = areas(sorted, &weights) {
            rocs.push(roc);
            prcs.push(prc);
        }
    }
    (rocs, prcs)
}

fn estimate(value: f64, mut resampled: Vec<f64>) -> Estimate {
    resampled.sort_by(f64::total_cmp);
    // Resamples without any event say nothing; if that is most of them, neither does the interval.
    if resampled.len() < RESAMPLES / 2 {
        return Estimate { value, low: None, high: None };
    }
    let at = |share: f64| resampled.get((share * (resampled.len() - 1) as f64).round() as usize).copied();
    Estimate { value, low: at(0.025), high: at(0.975) }
}

/// Intercept (with the slope held at 1) and slope of outcomes on the log-odds of predictions.
fn calibration(sorted: &[Prediction]) -> (Option<f64>, Option<f64>) {
    let logit = |p: &Prediction| {
        let p = p.probability.clamp(1e-6, 1.0 - 1e-6);
        (p / (1.0 - p)).ln()
    };
    let outcomes: Vec<f64> = sorted.iter().map(truth).collect();
    let x = Matrix { width: 2, data: sorted.iter().flat_map(|p| [1.0, logit(p)]).collect() };
    let slope = fit::logistic(&x, &outcomes, 1e-6).and_then(|beta| beta.get(1).copied());
    (calibration_in_the_large(&sorted.iter().map(logit).collect::<Vec<_>>(), &outcomes), slope)
}

/// The shift of all log-odds that makes the mean prediction equal to the mean outcome.
fn calibration_in_the_large(log_odds: &[f64], outcomes: &[f64]) -> Option<f64> {
    let mean: f64 = outcomes.iter().sum::<f64>();
    let (mut low, mut high) = (-30.0, 30.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let predicted: f64 = log_odds.iter().map(|x| crate::risk::logistic::sigmoid(x + middle)).sum();
        if predicted < mean { low = middle } else { high = middle }
    }
    let found: f64 = 0.5 * (low + high);
    (found.abs() < 29.0).then_some(found)
}

fn curve(sorted: &[Prediction]) -> Vec<CalibrationBin> {
    let size = sorted.len().div_ceil(BINS).max(1);
    let mut bins: Vec<CalibrationBin> = sorted
        .chunks(size)
        .map(|bin| {
            let n = bin.len() as f64;
            CalibrationBin {
                rows: bin.len(),
                predicted: bin.iter().map(|p| p.probability).sum::<f64>() / n,
                observed: bin.iter().map(truth).sum::<f64>() / n,
            }
        })
        .collect();
    bins.reverse();
    bins
}

fn net_benefit(sorted: &[Prediction], threshold: f64) -> NetBenefit {
    let n = sorted.len() as f64;
    let odds = threshold / (1.0 - threshold);
    let benefit = |acted: &[Prediction]| {
        let hits = acted.iter().filter(|p| p.outcome).count() as f64;
        (hits - odds * (acted.len() as f64 - hits)) / n
    };
    let above = sorted.partition_point(|p| p.probability >= threshold);
    NetBenefit { threshold, model: benefit(sorted.get(..above).unwrap_or_default()), everybody: benefit(sorted) }
}

/// The lowest threshold that keeps within `burden` alerts for each patient and month; rows are patient-days.
pub(super) fn alert_burden(sorted: &[Prediction], burden: f64) -> Option<AlertBurden> {
    let months = sorted.len() as f64 / DAYS_PER_MONTH;
    let allowed = (burden * months).floor() as usize;
    let mut count = 0;
    for ties in sorted.chunk_by(|a, b| a.probability == b.probability) {
        if count + ties.len() > allowed {
            break;
        }
        count += ties.len();
    }
    let alerts = sorted.get(..count)?;
    let threshold = alerts.last()?.probability;
    let events = sorted.iter().filter(|p| p.outcome).count() as f64;
    let hits = alerts.iter().filter(|p| p.outcome).count() as f64;
    Some(AlertBurden {
        alerts_per_patient_month: burden,
        threshold,
        actual_alerts_per_patient_month: count as f64 / months,
        sensitivity: hits / events,
        positive_predictive_value: hits / count as f64,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn predictions(values: &[(f64, bool)]) -> Vec<Prediction> {
        let make =
            |(patient, &(probability, outcome)): (usize, &(f64, bool))| Prediction { patient, probability, outcome };
        values.iter().enumerate().map(make).collect()
    }

    #[test]
    fn areas_agree_with_counting_by_hand() {
        // Pairs of an event and another row: 0.9 beats all three, 0.4 beats one, ties one, loses one.
        let list = predictions(&[(0.9, true), (0.5, false), (0.4, true), (0.4, false), (0.1, false)]);
        let (roc, prc) = areas(&list, &[1.0; 5]).unwrap();
        assert!((roc - (3.0 + 1.5) / 6.0).abs() < 1e-12, "{roc}");
        assert!((prc - 0.5 * (1.0 + 2.0 / 4.0)).abs() < 1e-12, "{prc}");
        assert_eq!(areas(&list[..1], &[1.0; 5]), None);
    }

    #[test]
    fn honest_probabilities_are_seen_as_honest() {
        let mut random = Random::new(1);
        let list: Vec<Prediction> = (0..20_000)
            .map(|row| {
                let probability = random.unit();
                Prediction { patient: row % 200, probability, outcome: random.chance(probability) }
            })
            .collect();
        let p = Performance::of(&list, 1).unwrap();
        assert!((p.calibration_slope.unwrap() - 1.0).abs() < 0.05 && p.calibration_intercept.unwrap().abs() < 0.05);
        // Of uniform honest probabilities: Brier 1/6, AUROC 5/6.
        assert!((p.brier - 1.0 / 6.0).abs() < 0.01 && (p.auroc.value - 5.0 / 6.0).abs() < 0.01);
        assert!(p.auroc.low.unwrap() < p.auroc.value && p.auroc.value < p.auroc.high.unwrap());
        assert!(p.calibration_curve.iter().all(|bin| (bin.predicted - bin.observed).abs() < 0.04));
        let doubled: Vec<Prediction> =
            list.iter().map(|p| Prediction { probability: p.probability.powi(2), ..*p }).collect();
        assert!(Performance::of(&doubled, 1).unwrap().calibration_intercept.unwrap() > 0.3);
    }

    #[test]
    fn alerts_stay_within_their_number() {
        // 304 days are ten months: one alert a month allows ten.
        let list: Vec<Prediction> = (0..304)
            .map(|row| Prediction { patient: 0, probability: 1.0 - f64::from(row) / 400.0, outcome: row % 4 == 0 })
            .collect();
        let burden = alert_burden(&list, 1.0).unwrap();
        assert!(burden.actual_alerts_per_patient_month <= 1.0);
        assert!((burden.sensitivity - 3.0 / 76.0).abs() < 1e-12, "{burden:?}");
        let equal = predictions(&[(0.5, true), (0.5, false)]);
        assert_eq!(alert_burden(&equal, 1.0), None);
    }
}

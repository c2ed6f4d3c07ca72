//! Training finds what is there, and says when there is too little.
#![allow(clippy::unwrap_used)]

use super::synthetic::{SyntheticCohort, TRUE_COEFFICIENTS, synthetic_cohort};
use super::*;
use crate::risk::Model;

fn table(cohort: &SyntheticCohort) -> Table {
    Table::parse(cohort.to_csv().as_bytes()).unwrap()
}

fn trained(seed: u64, patients: usize, days: usize) -> (SyntheticCohort, Candidate) {
    let cohort = synthetic_cohort(seed, patients, days);
    let candidate = train(&Model::default(), &table(&cohort), 7).unwrap();
    (cohort, candidate)
}

#[test]
fn training_recovers_the_coefficients_the_outcomes_were_drawn_with() {
    let (cohort, candidate) = trained(1, 100, 60);
    let logistic = candidate.model.logistic.as_ref().unwrap();
    for (feature, truth) in TRUE_COEFFICIENTS {
        let term = logistic.terms.iter().find(|term| term.feature == feature).unwrap();
        let found = term.coefficient / term.sd;
        println!("{feature}: {found:.3}, truth {truth}");
        let tolerance = if truth > 0.0 && truth < 0.1 { 0.015 } else { 0.16 };
        assert!((found - truth).abs() < tolerance, "{feature}: {found:.3}, truth {truth}");
        assert!(truth == 0.0 || found > 0.0, "{feature} has the wrong sign");
    }
    let performance = &candidate.report.performance;
    let (auroc, truth) = (performance.auroc, cohort.true_auroc().unwrap());
    println!("{auroc:?} truth {truth:.3} slope {:?} events {}", performance.calibration_slope, performance.events);
    assert!(auroc.low.unwrap() <= truth && truth <= auroc.high.unwrap(), "{auroc:?} {truth}");
    assert!((performance.calibration_slope.unwrap() - 1.0).abs() < 0.15);
    // The voice was made to matter, so that leaving it out must cost something.
    let silent = candidate.report.without_voice.as_ref().unwrap().auroc.value;
    println!("without voice {silent:.3}, rules {:.3}", candidate.report.rules.as_ref().unwrap().auroc.value);
    assert!(silent < auroc.value - 0.01);
}

#[test]
fn a_candidate_is_a_model_that_loads_and_evaluates_like_its_report() {
    let (_, candidate) = trained(2, 60, 40);
    assert_eq!(candidate.report.kind, Kind::Logistic);
    let text = candidate.model.to_json();
    assert!(!text.contains("S0001"), "an identifier of a patient");
    let loaded = Model::from_json(&text).unwrap();
    assert_eq!(loaded, candidate.model);
    let fresh = table(&synthetic_cohort(3, 60, 40));
    let evaluation = evaluate(&loaded, &fresh, 1).unwrap();
    let (there, here) = (evaluation.performance.auroc.value, candidate.report.performance.auroc);
    assert!((there - here.value).abs() < 0.08, "{there} {here:?}");
    assert_eq!(evaluation.predicted_by, "the fitted features");
    assert_eq!(train(&Model::default(), &table(&synthetic_cohort(2, 60, 40)), 7).unwrap(), candidate);
}

#[test]
fn few_events_only_recalibrate_and_say_so() {
    let (_, candidate) = trained(4, 40, 20);
    assert!((10..60).contains(&candidate.report.events), "{}", candidate.report.events);
    assert_eq!(candidate.report.kind, Kind::Recalibration);
    assert!(candidate.report.warnings[0].contains("only intercept and slope"));
    let loaded = Model::from_json(&candidate.model.to_json()).unwrap();
    let (old, new) = (Model::default().bands, loaded.bands);
    let calibration = loaded.calibration.unwrap();
    assert!((100.0 * calibration.probability(old.review) - new.review).abs() < 1e-9);
    // Probabilities now mean something: on average they are as frequent as the outcome.
    let intercept = candidate.report.performance.calibration_intercept.unwrap();
    assert!(intercept.abs() < 0.4, "{intercept}");
}

#[test]
fn too_little_is_refused_with_the_count() {
    let mut few = table(&synthetic_cohort(5, 40, 20));
    let mut kept = 0;
    for row in &mut few.rows {
        kept += usize::from(row.outcome);
        row.outcome &= kept <= 7;
    }
    few.rows.iter_mut().filter(|row| row.outcome).for_each(|row| row.score = Some(30.0));
    assert_eq!(train(&Model::default(), &few, 1).unwrap_err(), TrainError::TooFewEvents { found: 7 });
    few.rows.iter_mut().for_each(|row| row.outcome = false);
    assert_eq!(train(&Model::default(), &few, 1).unwrap_err(), TrainError::OneClass { outcome: 0 });
    let mut one = table(&synthetic_cohort(6, 30, 40));
    one.rows.iter_mut().for_each(|row| row.outcome = row.patient < 2);
    assert_eq!(train(&Model::default(), &one, 1).unwrap_err(), TrainError::TooFewPatients { found: 2 });
}

#[test]
fn outcomes_written_the_wrong_way_round_are_noticed() {
    let mut table = table(&synthetic_cohort(8, 60, 10));
    // Few events, all of them on the calmest days.
    let mut days: Vec<usize> = (0..table.rows.len()).collect();
    days.sort_by(|&a, &b| table.rows[a].score.unwrap_or(50.0).total_cmp(&table.rows[b].score.unwrap_or(50.0)));
    for (rank, &row) in days.iter().enumerate() {
        table.rows[row].outcome = rank < 300 && rank % 10 == 0;
    }
    assert_eq!(train(&Model::default(), &table, 1).unwrap_err(), TrainError::ScoreDoesNotRise);
}

#[test]
fn a_symptom_that_would_lower_the_risk_is_left_out() {
    let mut table = table(&synthetic_cohort(9, 60, 40));
    let column = table.column(crate::risk::Feature::SymptomPoints).unwrap();
    for row in &mut table.rows {
        row.values[column] = row.values[column].map(|points| 100.0 - points);
    }
    let candidate = train(&Model::default(), &table, 1).unwrap();
    let terms = &candidate.model.logistic.as_ref().unwrap().terms;
    assert!(terms.iter().all(|term| term.feature != crate::risk::Feature::SymptomPoints));
    assert!(candidate.report.warnings.iter().any(|warning| warning.starts_with("symptom_points: left out")));
    assert!(Model::from_json(&candidate.model.to_json()).is_ok());
}

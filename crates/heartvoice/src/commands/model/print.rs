//! Models and their figures as tables.

use crate::output::{line, number, table};
use clinic::risk::Model;
use clinic::training::{Candidate, Estimate, Evaluation, Performance};
use serde_json::Value;

/// Parts of a model that are shown in tables of their own, or not at all.
const OWN_TABLE: [&str; 6] = ["format", "name", "version", "measures", "logistic", "training"];

/// Every constant.
pub(super) fn model(model: &Model) -> anyhow::Result<()> {
    line(&format!("{} {}\n", model.name, model.version))?;
    let whole = serde_json::to_value(model)?;
    let mut rows = Vec::new();
    for (name, value) in whole.as_object().into_iter().flatten() {
        if !OWN_TABLE.contains(&name.as_str()) {
            flatten(name, value, &mut rows);
        }
    }
    table(["constant", "value"], rows)?;
    line("")?;
    let measures = model.measures.iter().map(|spec| {
        let norm = |norm: clinic::risk::model::Norm| format!("{} ± {}", norm.centre, norm.spread);
        let sign = if spec.sign > 0.0 { "higher" } else { "lower" };
        [
            spec.measure.as_str().to_owned(),
            spec.weight.to_string(),
            sign.to_owned(),
            word(&spec.scale),
            spec.noise.to_string(),
            spec.sources.iter().map(word).collect::<Vec<_>>().join(", "),
            norm(spec.norm.female),
            norm(spec.norm.male),
        ]
    });
    let header = ["measure", "weight", "congestion", "scale", "noise", "taken from", "norm women", "norm men"];
    table(header, measures.collect())?;
    if let Some(logistic) = &model.logistic {
        line(&format!("\nlogistic regression in place of the combination, intercept {:.3}\n", logistic.intercept))?;
        let rows = logistic.terms.iter().map(|term| {
            [
                term.feature.name(),
                format!("{:.3}", term.coefficient),
                format!("{:.3}", term.mean),
                format!("{:.3}", term.sd),
                format!("{:.3}", term.missing),
            ]
        });
        table(["feature", "log-odds per sd", "mean", "sd", "log-odds if missing"], rows.collect())?;
    }
    Ok(())
}

/// How good a model is.
pub(super) fn evaluation(evaluation: &Evaluation) -> anyhow::Result<()> {
    line(&format!("{} {}, by {}", evaluation.model, evaluation.version, evaluation.predicted_by))?;
    if evaluation.rows_left_out > 0 {
        line(&format!("{} rows without a prediction were left out", evaluation.rows_left_out))?;
    }
    line("")?;
    figures(&evaluation.performance, None, evaluation.rules.as_ref())?;
    curves(&evaluation.performance)?;
    warnings(&evaluation.warnings)
}

/// What was trained, and how good it is.
pub(super) fn training(candidate: &Candidate) -> anyhow::Result<()> {
    let report = &candidate.report;
    line(&format!("{} {}: {}", candidate.model.name, candidate.model.version, word(&report.kind)))?;
    let penalty = report.lambda.map(|lambda| format!(", penalty {lambda}")).unwrap_or_default();
    line(&format!(
        "{} rows, {} patients, {} events, {} coefficients{penalty}; figures are of patients not trained on\n",
        report.rows, report.patients, report.events, report.coefficients
    ))?;
    figures(&report.performance, report.without_voice.as_ref(), report.rules.as_ref())?;
    curves(&report.performance)?;
    warnings(&report.warnings)
}

fn figures(model: &Performance, silent: Option<&Performance>, rules: Option<&Performance>) -> anyhow::Result<()> {
    let rows = [
        ("rows", (|p| p.rows.to_string()) as fn(&Performance) -> String),
        ("patients", |p| p.patients.to_string()),
        ("events", |p| p.events.to_string()),
        ("AUROC", |p| estimate(p.auroc)),
        ("AUPRC", |p| estimate(p.auprc)),
        ("Brier score", |p| format!("{:.4}", p.brier)),
        ("calibration slope", |p| number(p.calibration_slope, 2)),
        ("calibration intercept", |p| number(p.calibration_intercept, 2)),
    ];
    let show =
        |given: Option<&Performance>, figure: fn(&Performance) -> String| given.map_or_else(|| "-".to_owned(), figure);
    let rows = rows.map(|(name, figure)| [name.to_owned(), figure(model), show(silent, figure), show(rules, figure)]);
    table(["figure", "model", "without voice", "score of the rules"], rows.to_vec())
}

fn curves(performance: &Performance) -> anyhow::Result<()> {
    line("")?;
    let rows = performance.alert_burden.iter().map(|burden| {
        [
            format!("{}", burden.alerts_per_patient_month),
            format!("{:.2}", burden.actual_alerts_per_patient_month),
            format!("{:.4}", burden.threshold),
            format!("{:.1} %", 100.0 * burden.sensitivity),
            format!("{:.1} %", 100.0 * burden.positive_predictive_value),
        ]
    });
    table(
        ["alerts per patient-month", "actual", "threshold", "sensitivity", "alerts that were right"],
        rows.collect(),
    )?;
    line("")?;
    let bins = performance.calibration_curve.iter();
    let rows = bins.map(|bin| [bin.rows.to_string(), format!("{:.4}", bin.predicted), format!("{:.4}", bin.observed)]);
    table(["rows", "predicted", "observed"], rows.collect())?;
    line("")?;
    let rows = performance.decision_curve.iter().map(|point| {
        [format!("{}", point.threshold), format!("{:.4}", point.model), format!("{:.4}", point.everybody)]
    });
    table(["act above", "net benefit", "of acting on everybody"], rows.collect())
}

fn warnings(warnings: &[String]) -> anyhow::Result<()> {
    if !warnings.is_empty() {
        line("")?;
    }
    warnings.iter().try_for_each(|warning| line(&format!("note: {warning}")))
}

fn estimate(estimate: Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{:.3} ({low:.3} to {high:.3})", estimate.value),
        _ => format!("{:.3}", estimate.value),
    }
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, rows)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&format!("{path}[{index}]"), item, rows));
        }
        Value::String(text) => rows.push([path.to_owned(), text.clone()]),
        other => rows.push([path.to_owned(), other.to_string()]),
    }
}

/// The name a value has in JSON.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

//! Results of the analysis on standard output.

use super::{AnalysisFormat, Outcome};
use crate::output;
use serde_json::{Value, json};
use voice::{Measures, Report};

pub(super) fn all(outcomes: &[Outcome], format: AnalysisFormat) -> anyhow::Result<()> {
    match format {
        AnalysisFormat::Json => output::json(&outcomes.iter().map(object).collect::<anyhow::Result<Vec<_>>>()?),
        AnalysisFormat::Jsonl => outcomes.iter().try_for_each(|outcome| output::line(&object(outcome)?.to_string())),
        AnalysisFormat::Csv => csv(outcomes),
        AnalysisFormat::Table => {
            for (number, outcome) in outcomes.iter().enumerate() {
                if let Ok(report) = &outcome.result {
                    if number > 0 {
                        output::line("")?;
                    }
                    table(&outcome.file, report)?;
                }
            }
            Ok(())
        }
    }
}

/// The report with the file's name, or the reason why there is none.
fn object(outcome: &Outcome) -> anyhow::Result<Value> {
    Ok(match &outcome.result {
        Err(reason) => json!({"file": outcome.file, "error": reason}),
        Ok(report) => {
            let mut value = serde_json::to_value(report)?;
            if let Some(object) = value.as_object_mut() {
                object.insert("file".to_owned(), json!(outcome.file));
            }
            value
        }
    })
}

fn csv(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut header = vec![
        "file",
        "error",
        "task",
        "channel",
        "sample_rate_hz",
        "start_s",
        "duration_s",
        "usable",
        "snr_db",
        "reasons",
    ];
    header.extend(Measures::default().entries().into_iter().map(|(name, _)| name));
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| {
            let mut row = vec![outcome.file.clone()];
            match &outcome.result {
                Err(reason) => {
                    row.push(reason.clone());
                    row.resize(header.len(), String::new());
                }
                Ok(report) => {
                    row.extend([
                        String::new(),
                        report.task.to_string(),
                        report.channel.to_string(),
                        report.sample_rate_hz.to_string(),
                        report.start_s.to_string(),
                        report.duration_s.to_string(),
                        report.quality.usable.to_string(),
                        number(report.quality.snr_db),
                        report.quality.reasons.join("; "),
                    ]);
                    row.extend(report.measures.entries().into_iter().map(|(_, value)| number(value)));
                }
            }
            row
        })
        .collect();
    output::csv(&header, &rows)
}

fn table(file: &str, report: &Report) -> anyhow::Result<()> {
    let detected = if report.task_detected { " (detected)" } else { "" };
    output::line(&format!(
        "{file}: {}{detected}, {} at {} Hz, {:.2} s from {:.2} s",
        report.task, report.channel, report.sample_rate_hz, report.duration_s, report.start_s
    ))?;
    if let Some(window) = &report.window {
        output::line(&format!("measured: the steady part from {:.2} to {:.2} s", window.start_s, window.end_s))?;
    }
    let usable = if report.quality.usable { "usable" } else { "not usable" };
    let snr = report.quality.snr_db.map_or_else(|| "unknown".to_owned(), |snr| format!("{snr:.1} dB"));
    output::line(&format!("quality: {usable}; signal to noise {snr}, {:.2} s voiced", report.quality.voiced_s))?;
    for reason in &report.quality.reasons {
        output::line(&format!("  {reason}"))?;
    }
    let entries = report.measures.entries();
    let rows: Vec<_> = entries
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(name, value)| {
            let remark = report.validity.get(*name).cloned().unwrap_or_default();
            [(*name).to_owned(), output::number(*value, decimals(name)), remark]
        })
        .collect();
    if !rows.is_empty() {
        output::table(["measure", "value", "remark"], rows)?;
    }
    let missing: Vec<&str> = entries.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    if missing.len() == entries.len() {
        output::line("nothing was measured")
    } else if missing.is_empty() {
        Ok(())
    } else {
        output::line(&format!("not measured: {}", missing.join(", ")))
    }
}

/// Decimals that mean something for a measure.
fn decimals(name: &str) -> usize {
    match name {
        "jitter_local_absolute_s" => 7,
        "voice_breaks" | "syllables" | "pause_count" | "breathiness" | "voice_quality" => 0,
        name if name.ends_with("_percent") || name.ends_with("_s") || name.ends_with("fraction") => 3,
        _ => 2,
    }
}

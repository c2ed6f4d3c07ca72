//! Results of the analysis on standard output, one after the other.

use super::AnalysisFormat;
use super::measure::Outcome;
use crate::output;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use voice::{Measures, Report};

/// Columns of the CSV before those of the measures, and after them.
const BEFORE: [&str; 14] = [
    "file",
    "error",
    "task",
    "channel",
    "sample_rate_hz",
    "start_s",
    "duration_s",
    "window_start_s",
    "window_end_s",
    "usable",
    "snr_db",
    "clipped_fraction",
    "voiced_s",
    "reasons",
];
const AFTER: [&str; 3] = ["validity", "notes", "engine_version"];

/// Prints results in the order in which they come.
#[derive(Debug)]
pub(super) struct Printer {
    format: AnalysisFormat,
    printed: usize,
}

/// A result as JSON: the report, with what belongs to the file.
#[derive(Serialize)]
struct Measured<'a> {
    file: &'a str,
    #[serde(flatten)]
    report: &'a Report,
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    figure: Option<String>,
}

/// What stands in the place of a result that there is not.
#[derive(Serialize)]
struct Failed<'a> {
    file: &'a str,
    error: &'a str,
}

impl Printer {
    pub(super) fn new(format: AnalysisFormat) -> Self {
        Self { format, printed: 0 }
    }

    /// Prints a result; breaks off when nobody reads any more (`| head`), which is not an error.
    pub(super) fn print(&mut self, outcome: &Outcome) -> anyhow::Result<ControlFlow<()>> {
        let first = self.printed == 0;
        let text = match self.format {
            AnalysisFormat::Json => {
                let object = json(outcome, true)?.replace('\n', "\n  ");
                format!("{}\n  {object}", if first { "[" } else { "," })
            }
            AnalysisFormat::Jsonl => json(outcome, false)? + "\n",
            AnalysisFormat::Csv => csv(outcome, first)?,
            AnalysisFormat::Table => match &outcome.result {
                Ok(report) => format!("{}{}", if first { "" } else { "\n" }, table(outcome, report)?),
                // Standard error has it.
                Err(_) => return Ok(ControlFlow::Continue(())),
            },
        };
        self.printed += 1;
        write(&text)
    }

    /// Prints what comes after the last result.
    pub(super) fn end(&self) -> anyhow::Result<()> {
        if self.format == AnalysisFormat::Json && self.printed > 0 {
            let _ = write("\n]\n")?;
        }
        Ok(())
    }
}

fn write(text: &str) -> anyhow::Result<ControlFlow<()>> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(anyhow::Error::from(error).context("cannot write the results")),
    }
}

fn json(outcome: &Outcome, indented: bool) -> anyhow::Result<String> {
    fn text<T: Serialize>(value: &T, indented: bool) -> serde_json::Result<String> {
        if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }
    }
    let Outcome { file, notes, figure, result } = outcome;
    Ok(match result {
        Err(error) => text(&Failed { file, error }, indented)?,
        Ok(report) => {
            let figure = figure.as_ref().map(|path| path.display().to_string());
            text(&Measured { file, report, notes, figure }, indented)?
        }
    })
}

fn csv(outcome: &Outcome, with_header: bool) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names: Vec<&str> = Measures::default().entries().into_iter().map(|(name, _)| name).collect();
    if with_header {
        writer.write_record(BEFORE.iter().chain(&names).chain(&AFTER))?;
    }
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut row = vec![outcome.file.clone()];
    match &outcome.result {
        Err(reason) => {
            row.push(reason.clone());
            row.resize(BEFORE.len() + names.len() + AFTER.len(), String::new());
        }
        Ok(report) => {
            row.extend([
                String::new(),
                report.task.to_string(),
                report.channel.to_string(),
                report.sample_rate_hz.to_string(),
                report.start_s.to_string(),
                report.duration_s.to_string(),
                number(report.window.map(|window| window.start_s)),
                number(report.window.map(|window| window.end_s)),
                report.quality.usable.to_string(),
                number(report.quality.snr_db),
                report.quality.clipped_fraction.to_string(),
                report.quality.voiced_s.to_string(),
                report.quality.reasons.join("; "),
            ]);
            row.extend(report.measures.entries().into_iter().map(|(_, value)| number(value)));
            let marks: Vec<String> = report.validity.iter().map(|(name, mark)| format!("{name}={mark}")).collect();
            row.extend([marks.join("; "), outcome.notes.join("; "), report.engine_version.clone()]);
        }
    }
    writer.write_record(&row)?;
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write CSV: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn table(outcome: &Outcome, report: &Report) -> anyhow::Result<String> {
    let mut out = String::new();
    let detected = if report.task_detected { " (detected)" } else { "" };
    writeln!(
        out,
        "{}: {}{detected}, {} at {} Hz, {:.2} s from {:.2} s",
        outcome.file, report.task, report.channel, report.sample_rate_hz, report.duration_s, report.start_s
    )?;
    for note in &outcome.notes {
        writeln!(out, "note: {note}")?;
    }
    if let Some(window) = &report.window {
        writeln!(out, "measured: the steady part from {:.2} to {:.2} s", window.start_s, window.end_s)?;
    }
    let usable = if report.quality.usable { "usable" } else { "not usable" };
    let snr = report.quality.snr_db.map_or_else(|| "unknown".to_owned(), |snr| format!("{snr:.1} dB"));
    writeln!(out, "quality: {usable}; signal to noise {snr}, {:.2} s voiced", report.quality.voiced_s)?;
    for reason in &report.quality.reasons {
        writeln!(out, "  {reason}")?;
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
        writeln!(out, "{}", output::table_text(["measure", "value", "remark"], rows))?;
    }
    let missing: Vec<&str> = entries.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    if missing.len() == entries.len() {
        writeln!(out, "nothing was measured")?;
    } else if !missing.is_empty() {
        writeln!(out, "not measured: {}", missing.join(", "))?;
    }
    if let Some(figure) = &outcome.figure {
        writeln!(out, "figure: {}", figure.display())?;
    }
    Ok(out)
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

//! `heartvoice patient trends`: how a patient has been over their calls.

use super::{Clinic, patient_id};
use crate::failure::bad_input;
use crate::output::{self, RowFormat};
use clinic::trends::{Trend, TrendBand, TrendPoint};
use serde::Serialize;
use serde_json::json;
use server::TrendsError;

pub(super) async fn run(clinic: &Clinic<'_>, id: &str, measure: Option<&str>, format: RowFormat) -> anyhow::Result<()> {
    let id = patient_id(id)?;
    let found = server::patient_trends(clinic.store, &clinic.model, &id, measure).await;
    let found = found.map_err(|error| match error {
        TrendsError::Measure(_) => bad_input(error.to_string()),
        error => error.into(),
    })?;
    match (format, found.as_slice()) {
        (RowFormat::Json, found) => {
            output::json(&json!({"patient_id": id, "items": found.iter().map(Trend::to_json).collect::<Vec<_>>()}))
        }
        (RowFormat::Csv, found) => {
            let header = ["measure", "time", "call_id", "value", "usable", "source", "line", "change"];
            let rows: Vec<_> =
                found.iter().flat_map(|trend| trend.points.iter().map(|point| row(trend, point))).collect();
            output::csv(&header, &rows)
        }
        (RowFormat::Table, [trend]) if measure.is_some() => one(trend),
        (RowFormat::Table, found) => {
            let header = ["measure", "what", "calls", "latest", "normal", "last change"];
            output::table(header, found.iter().map(summary).collect())
        }
    }
}

/// One measure, call by call.
fn one(trend: &Trend) -> anyhow::Result<()> {
    let (measure, label) = (trend.measure, trend.label);
    output::line(&format!("{measure}: {label}; normal for this patient: {}", band(trend.baseline)))?;
    if trend.points.is_empty() {
        return output::line("no calls yet");
    }
    let cells = trend.points.iter().map(|point| {
        let [_, time, call, _, usable, source, line, change] = row(trend, point);
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [time, call, point.value.map_or_else(|| "-".to_owned(), number), usable, dash(source), dash(line), dash(change)]
    });
    output::table(["time", "call", "value", "usable", "source", "line", "change"], cells.collect())
}

/// One call of a measure; what is not known is empty.
fn row(trend: &Trend, point: &TrendPoint) -> [String; 8] {
    let found = trend.changes.iter().filter(|change| change.call_id == point.call_id);
    let changes: Vec<String> = found.map(|change| word(&change.kind)).collect();
    [
        trend.measure.to_owned(),
        output::time(point.at_us),
        point.call_id.to_string(),
        point.value.map(|value| value.to_string()).unwrap_or_default(),
        if point.usable { "yes" } else { "no" }.to_owned(),
        point.source.as_ref().map(word).unwrap_or_default(),
        point.line.clone().unwrap_or_default(),
        changes.join(" "),
    ]
}

fn summary(trend: &Trend) -> [String; 6] {
    let latest = trend.points.iter().rev().find_map(|point| point.value);
    let change = trend.changes.last().map(|change| format!("{} {}", output::time(change.at_us), word(&change.kind)));
    [
        trend.measure.to_owned(),
        trend.label.to_owned(),
        trend.points.len().to_string(),
        latest.map_or_else(|| "-".to_owned(), number),
        band(trend.baseline),
        change.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn band(band: Option<TrendBand>) -> String {
    band.map_or_else(|| "-".to_owned(), |band| format!("{} to {}", number(band.low), number(band.high)))
}

/// As many decimals as the size of the number makes worth reading.
fn number(value: f64) -> String {
    let decimals = if value.abs() < 1.0 { 3 } else { 1 };
    output::number(Some(value), decimals)
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

//! What commands print on standard output: tables for people, JSON and CSV for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// How rows of data are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum RowFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON array.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// Prints text and a line break. A reader that has seen enough (`| head`) is not an error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints rows under a header, without borders.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> anyhow::Result<()> {
    line(&table_text(header, rows))
}

/// Rows under a header, without borders, as text.
pub(crate) fn table_text<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// Prints rows as CSV.
pub(crate) fn csv<R: AsRef<[String]>>(header: &[&str], rows: &[R]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row.as_ref())?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write CSV: {error}"))?;
    line(String::from_utf8_lossy(&bytes).trim_end())
}

/// A point in time, RFC 3339 in UTC.
pub(crate) fn time(unix_us: i64) -> String {
    jiff::Timestamp::from_microsecond(unix_us).map_or_else(|_| "?".into(), |time| format!("{time:.3}"))
}

/// A number with so many decimals, or a dash for an undefined one.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_700_000_000_123_456), "2023-11-14T22:13:20.123Z");
        assert_eq!(number(Some(1.2345), 2), "1.23");
        assert_eq!(number(None, 2), "-");
    }
}

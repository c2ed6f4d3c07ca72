//! The training file: one row for each patient and day.
//!
//! Errors name lines and columns and never repeat a value: a header may be missing, and then the first line holds data
//! of a patient.

use crate::risk::Feature;
use jiff::civil::Date;
use std::collections::HashMap;

/// Columns every file has; any of the features may follow, in any order.
pub const REQUIRED_COLUMNS: [&str; 4] = ["patient_id", "date", "outcome", "score"];

/// More rows than this are not read: five hundred patients for two and a half years.
const MAX_ROWS: usize = 500_000;
/// Values beyond this are not features of a call.
const LARGEST_VALUE: f64 = 1e6;

/// What is wrong with a training file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// No row below the header.
    #[error("no rows: expected a header and one line for each patient and day")]
    Empty,
    /// A required column is not there.
    #[error("line 1: column {name} is missing; required are patient_id, date, outcome, score")]
    MissingColumn {
        /// Its name.
        name: &'static str,
    },
    /// A column nobody knows.
    #[error("line 1, column {column}: not a known name; beside the required columns there may be {known}")]
    UnknownColumn {
        /// Its number, from 1.
        column: usize,
        /// What there may be.
        known: String,
    },
    /// A column twice.
    #[error("line 1, column {column}: a name that stands there already")]
    RepeatedColumn {
        /// Its number, from 1.
        column: usize,
    },
    /// No column with a feature.
    #[error("line 1: no feature; there may be {known}")]
    NoFeatures {
        /// What there may be.
        known: String,
    },
    /// Not CSV, not UTF-8, or too few or too many fields.
    #[error("line {line}: expected {expected}")]
    Malformed {
        /// The line.
        line: u64,
        /// What would have been accepted.
        expected: String,
    },
    /// A field that cannot be read.
    #[error("line {line}, column {column}: expected {expected}")]
    Value {
        /// The line.
        line: u64,
        /// Name of the column.
        column: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// The same patient and day twice.
    #[error("line {line}: the same patient and day as line {first}; expected one line for each")]
    Duplicate {
        /// The second line.
        line: u64,
        /// The first.
        first: u64,
    },
    /// Too large.
    #[error("more than {MAX_ROWS} rows: split the file")]
    TooManyRows,
}

/// A patient on a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of the patient in order of appearance; the identifier itself is not kept.
    pub patient: usize,
    /// Whether the outcome followed.
    pub outcome: bool,
    /// The score of the rules.
    pub score: Option<f64>,
    /// One for each feature of the table.
    pub values: Vec<Option<f64>>,
}

/// A training file.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The feature columns.
    pub features: Vec<Feature>,
    /// All rows.
    pub rows: Vec<Row>,
    /// How many patients.
    pub patients: usize,
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Column {
    Patient,
    Date,
    Outcome,
    Score,
    Feature,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TableError`] for the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
        let header = reader.headers().map_err(|_| malformed(1, "a header in UTF-8"))?.clone();
        let (columns, features) = read_header(&header)?;
        let mut table = Self { features, rows: Vec::new(), patients: 0 };
        let mut patients: HashMap<String, usize> = HashMap::new();
        let mut days: HashMap<(usize, Date), u64> = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| {
                malformed(error.position().map_or(0, csv::Position::line), "comma-separated values in UTF-8")
            })?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != columns.len() {
                return Err(malformed(line, &format!("{} fields, as in the header", columns.len())));
            }
            if table.rows.len() >= MAX_ROWS {
                return Err(TableError::TooManyRows);
            }
            let (patient, date, row) = read_row(line, &record, &columns, &header, &mut patients)?;
            if let Some(&first) = days.get(&(patient, date)) {
                return Err(TableError::Duplicate { line, first });
            }
            days.insert((patient, date), line);
            table.rows.push(row);
        }
        table.patients = patients.len();
        if table.rows.is_empty() { Err(TableError::Empty) } else { Ok(table) }
    }

    /// How many rows the outcome followed.
    #[must_use]
    pub fn events(&self) -> usize {
        self.rows.iter().filter(|row| row.outcome).count()
    }

    /// Place of a feature among the columns.
    #[must_use]
    pub fn column(&self, feature: Feature) -> Option<usize> {
        self.features.iter().position(|&known| known == feature)
    }
}

fn read_header(header: &csv::StringRecord) -> Result<(Vec<Column>, Vec<Feature>), TableError> {
    let mut columns = Vec::new();
    let mut features = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for name in REQUIRED_COLUMNS {
        if !header.iter().any(|given| given == name) {
            return Err(TableError::MissingColumn { name });
        }
    }
    for (index, name) in header.iter().enumerate() {
        if names.contains(&name) {
            return Err(TableError::RepeatedColumn { column: index + 1 });
        }
        names.push(name);
        columns.push(match name {
            "patient_id" => Column::Patient,
            "date" => Column::Date,
            "outcome" => Column::Outcome,
            "score" => Column::Score,
            _ => {
                let unknown = || TableError::UnknownColumn { column: index + 1, known: known() };
                features.push(Feature::parse(name).ok_or_else(unknown)?);
                Column::Feature
            }
        });
    }
    if features.is_empty() { Err(TableError::NoFeatures { known: known() }) } else { Ok((columns, features)) }
}

fn read_row(
    line: u64,
    record: &csv::StringRecord,
    columns: &[Column],
    header: &csv::StringRecord,
    patients: &mut HashMap<String, usize>,
) -> Result<(usize, Date, Row), TableError> {
    let mut row = Row { patient: 0, outcome: false, score: None, values: Vec::new() };
    let mut date = Date::ZERO;
    for ((column, text), name) in columns.iter().zip(record).zip(header) {
        let wrong = |expected| TableError::Value { line, column: name.to_owned(), expected };
        match column {
            Column::Patient => {
                if text.is_empty() || text.len() > 100 {
                    return Err(wrong("an identifier of 1 to 100 characters"));
                }
                let next = patients.len();
                row.patient = *patients.entry(text.to_owned()).or_insert(next);
            }
            Column::Date => date = text.parse().map_err(|_| wrong("a date such as 2026-03-01"))?,
            Column::Outcome => {
                row.outcome = match text {
                    "1" => true,
                    "0" => false,
                    _ => return Err(wrong("1 when the outcome followed, else 0")),
                }
            }
            Column::Score => {
                let expected = "a number from 0 to 100, or nothing when the call could not be interpreted";
                row.score = number(text, 0.0..=100.0).ok_or_else(|| wrong(expected))?;
            }
            Column::Feature => {
                let value = number(text, -LARGEST_VALUE..=LARGEST_VALUE);
                row.values.push(value.ok_or_else(|| wrong("a number, or nothing when it is not known"))?);
            }
        }
    }
    Ok((row.patient, date, row))
}

/// `None` for what is not a number; `Some(None)` for an empty field.
fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().filter(|value| range.contains(value)).map(Some)
}

fn malformed(line: u64, expected: &str) -> TableError {
    TableError::Malformed { line, expected: expected.to_owned() }
}

fn known() -> String {
    Feature::all().into_iter().map(Feature::name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "patient_id,date,outcome,score,symptom_points,voice_ewma\n";

    fn parse(rows: &str) -> Result<Table, TableError> {
        Table::parse(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn rows_are_read_and_empty_fields_are_missing() {
        let table = parse("A,2026-01-01,0,12.5,8,0.3\nB,2026-01-01,1,,,-1\nA,2026-01-02,1,3,0,\n").unwrap();
        assert_eq!((table.patients, table.rows.len(), table.events()), (2, 3, 2));
        let [_, second, third] = &table.rows[..] else { unreachable!() };
        assert_eq!((second.patient, second.score, &second.values[..]), (1, None, &[None, Some(-1.0)][..]));
        assert_eq!(third.patient, 0);
    }

    #[test]
    fn every_mistake_is_named_by_line_and_column_and_never_by_value() {
        let cases = [
            ("", "no rows"),
            ("SECRET,2026-01-01,0,1,2\n", "line 2: expected 6 fields"),
            ("SECRET,01.02.2026,0,1,2,3\n", "line 2, column date"),
            ("SECRET,2026-01-01,SECRET,1,2,3\n", "line 2, column outcome"),
            ("SECRET,2026-01-01,0,101,2,3\n", "line 2, column score"),
            ("A,2026-01-01,0,1,2,3\nSECRET,2026-01-02,0,1,SECRET,3\n", "line 3, column symptom_points"),
            ("A,2026-01-01,0,1,NaN,3\n", "line 2, column symptom_points"),
            (",2026-01-01,0,1,2,3\n", "line 2, column patient_id"),
            (
                "SECRET,2026-01-01,0,1,2,3\nB,2026-01-01,0,1,2,3\nSECRET,2026-01-01,0,1,2,3\n",
                "line 4: the same patient",
            ),
        ];
        for (rows, said) in cases {
            let error = parse(rows).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn the_header_is_checked_without_repeating_it() {
        let cases = [
            ("SECRET,2026-01-01,0,1\n", "column patient_id is missing"),
            ("patient_id,date,outcome,voice_ewma\n", "column score is missing"),
            ("patient_id,date,outcome,score,SECRET\n", "column 5: not a known name"),
            ("patient_id,date,outcome,score,voice_ewma,voice_ewma\n", "column 6: a name that stands there"),
            ("patient_id,date,outcome,score\n", "no feature"),
        ];
        for (header, said) in cases {
            let error = Table::parse(header.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("SECRET"), "{error}");
        }
        assert!(matches!(Table::parse(b"patient_id\xff,date\n"), Err(TableError::Malformed { line: 1, .. })));
    }
}

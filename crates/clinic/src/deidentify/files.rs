//! The files of an export: a CSV and a JSON-lines file for each table, the dictionary, and a text to read first.

use super::columns::Table;
use super::measures::LEFT_OUT;
use super::{Dataset, people};
use serde::Serialize;
use serde_json::{Map, Value};

/// The form of the export; changes with tables, columns and treatments.
pub const METHOD_VERSION: u32 = 1;

/// One file of an export. All of it is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub content: String,
}

impl Dataset {
    /// Every file of the export.
    #[must_use]
    pub fn files(&self) -> Vec<ExportFile> {
        let mut files = Vec::with_capacity(2 * Table::ALL.len() + 2);
        for table in Table::ALL {
            let rows = self.rows(table);
            let names: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
            let cells = rows.iter().map(|row| names.iter().map(|name| cell(row.get(*name))).collect());
            files.push(file(table, "csv", csv_text(&names, cells)));
            let lines = rows.iter().map(|row| {
                let kept: Vec<String> =
                    names.iter().map(|name| format!("\"{name}\":{}", row.get(*name).unwrap_or(&Value::Null))).collect();
                format!("{{{}}}\n", kept.join(","))
            });
            files.push(file(table, "jsonl", lines.collect()));
        }
        files.push(ExportFile { name: "dictionary.csv".to_owned(), content: dictionary() });
        files.push(ExportFile { name: "README.txt".to_owned(), content: self.readme() });
        files
    }

    fn rows(&self, table: Table) -> Vec<Map<String, Value>> {
        match table {
            Table::Patients => objects(&self.patients),
            Table::Calls => objects(&self.calls),
            Table::Answers => objects(&self.answers),
            Table::RedFlags => objects(&self.red_flags),
            Table::Assessments => objects(&self.assessments),
            Table::Contributions => objects(&self.contributions),
            Table::Features => objects(&self.features),
            Table::Voice => objects(&self.voice),
            Table::Alerts => objects(&self.alerts),
        }
    }

    fn readme(&self) -> String {
        let left_out: String = LEFT_OUT.iter().map(|(name, why)| format!("  {name}: {why}\n")).collect();
        let cell = self.options.smallest_cell;
        format!(
            "De-identified data of a voice monitoring programme for heart failure\n\
             \n\
             Year of the export: {year}. Patients: {patients}. Calls: {calls}. Form of the export: {METHOD_VERSION}. \
             Program version: {version}.\n\
             \n\
             Method\n\
             Safe Harbor, 45 CFR 164.514(b)(2). Every table and column is described in dictionary.csv; only fields named\n\
             there were taken out of the records. Each table is given twice, as CSV and as JSON lines. An empty cell, or\n\
             null, means not known; it never means zero.\n\
             - Patients have random pseudonyms, made for this export and kept nowhere. Calls are numbered.\n\
             - Days count from enrolment and are moved by 0 to 364 random days, one number for each patient. Within a\n\
             \x20 patient differences are true; between patients nothing can be compared by date, season or weekday.\n\
             - Ages of 90 and more are 90. Fundamental frequency is rounded to 5 Hz, formants to 50 Hz.\n\
             - Languages and sexes that fewer than {cell} patients share are not told.\n\
             - Patients whom nobody else in this export equals in age, sex and language: {alone}.\n\
             \n\
             Left out\n\
             Names, places of any size, dates and clock times, telephone numbers, e-mail and network addresses, record,\n\
             account and device numbers, identifiers of calls and services, recordings of voices, transcripts, answers in\n\
             own words, notes, names of staff, and calls in which somebody else was on the line. Contours and positions in\n\
             time of pitch and pauses. Of the measures:\n\
             {left_out}\
             \n\
             Scores order attention; they are no probabilities and no diagnoses. Do not try to find out whose data this\n\
             is, and do not join it with other data about persons.\n",
            year = self.options.year,
            patients = self.patients.len(),
            calls = self.calls.len(),
            version = env!("CARGO_PKG_VERSION"),
            alone = people::alone(&self.patients),
        )
    }
}

fn file(table: Table, ending: &str, content: String) -> ExportFile {
    ExportFile { name: format!("{}.{ending}", table.as_str()), content }
}

/// Rows as objects. A row is a struct of plain values, so that it always is one.
fn objects<R: Serialize>(rows: &[R]) -> Vec<Map<String, Value>> {
    let object = |row| match serde_json::to_value(row) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    };
    rows.iter().filter_map(object).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn csv_text(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(header);
    for row in rows {
        let _ = writer.write_record(&row);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Every column of every table.
#[must_use]
pub fn dictionary() -> String {
    let rows = Table::ALL.into_iter().flat_map(|table| {
        table.columns().into_iter().map(move |column| {
            let name = |text: &str| text.to_owned();
            vec![
                name(table.as_str()),
                name(column.name),
                name(column.kind.as_str()),
                name(column.unit),
                name(column.meaning),
                column.treatment,
            ]
        })
    });
    csv_text(&["table", "column", "kind", "unit", "meaning", "treatment"], rows)
}

//! `heartvoice patient`: who may call.

use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use anyhow::Context;
use clap::Subcommand;
use clinic::{NewPatient, Patient, PatientId};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use store::Store;

/// The header of an import file.
const HEADER: [&str; 7] = ["external_id", "name", "phone", "birth_date", "sex", "language", "timezone"];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Adds a patient
    #[command(
        after_help = "Example:\n  heartvoice patient add --external-id MRN-1 --name 'Ada Example' --phone +12025550123 \\\n    --birth-date 1948-04-01 --sex female --timezone America/New_York"
    )]
    Add(AddArgs),
    /// Lists all patients
    #[command(after_help = "Example:\n  heartvoice patient list --format json")]
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Shows one patient
    #[command(after_help = "Example:\n  heartvoice patient show 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Show {
        /// Identifier, as `patient list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Adds the patients of a CSV file: all rows or none
    ///
    /// The header is external_id,name,phone,birth_date,sex,language,timezone. Rows that are stored already change
    /// nothing, so a file may be imported again.
    #[command(after_help = "Example:\n  heartvoice patient import patients.csv")]
    Import {
        /// The file; `-` reads standard input
        file: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The clinic's own number for the patient
    #[arg(long, value_name = "ID")]
    external_id: String,
    /// Full name
    #[arg(long)]
    name: String,
    /// Telephone number in E.164 form
    #[arg(long)]
    phone: String,
    /// Date of birth, such as 1948-04-01
    #[arg(long, value_name = "DATE")]
    birth_date: String,
    /// female, male, other or unknown
    #[arg(long, default_value = "unknown")]
    sex: String,
    /// Language code
    #[arg(long, default_value = "en")]
    language: String,
    /// IANA time zone
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let done = match command {
        Command::Add(args) => add(store, &args).await,
        Command::List { format } => list(store, format).await,
        Command::Show { id, format } => show(store, &id, format).await,
        Command::Import { file, format } => import(store, &file, format).await,
    };
    store.close().await;
    done
}

async fn add(store: &Store, args: &AddArgs) -> anyhow::Result<()> {
    let new = NewPatient::from_fields(
        &args.external_id,
        &args.name,
        &args.phone,
        &args.birth_date,
        &args.sex,
        &args.language,
        &args.timezone,
    );
    let patient = store.add_patient(&new.map_err(|invalid| bad_input(invalid.to_string()))?).await?;
    match args.format {
        Format::Table => output::line(&format!("added patient {}", patient.id)),
        Format::Json => output::json(&patient),
    }
}

async fn list(store: &Store, format: RowFormat) -> anyhow::Result<()> {
    let patients = store.list_patients().await?;
    let row = |patient: &Patient| {
        let details = &patient.details;
        [
            patient.id.to_string(),
            details.external_id.clone(),
            details.name.clone(),
            details.phone.expose().to_owned(),
            details.birth_date.to_string(),
            sex(patient),
            details.language.clone(),
            details.timezone.clone(),
        ]
    };
    let header = ["id", "external_id", "name", "phone", "birth_date", "sex", "language", "timezone"];
    match format {
        RowFormat::Table => output::table(header, patients.iter().map(row).collect()),
        RowFormat::Json => output::json(&patients),
        RowFormat::Csv => output::csv(&header, &patients.iter().map(row).collect::<Vec<_>>()),
    }
}

async fn show(store: &Store, id: &str, format: Format) -> anyhow::Result<()> {
    let id = PatientId::parse(id).map_err(|invalid| bad_input(invalid.to_string()))?;
    let patient = store.get_patient(&id).await?;
    if format == Format::Json {
        return output::json(&patient);
    }
    let details = &patient.details;
    let rows = [
        ("id", patient.id.to_string()),
        ("external id", details.external_id.clone()),
        ("name", details.name.clone()),
        ("phone", details.phone.expose().to_owned()),
        ("birth date", details.birth_date.to_string()),
        ("sex", sex(&patient)),
        ("language", details.language.clone()),
        ("time zone", details.timezone.clone()),
    ];
    output::table(["field", "value"], rows.map(|(name, value)| [name.to_owned(), value]).into())
}

fn sex(patient: &Patient) -> String {
    serde_json::to_value(patient.details.sex).ok().and_then(|sex| sex.as_str().map(str::to_owned)).unwrap_or_default()
}

async fn import(store: &Store, file: &Path, format: Format) -> anyhow::Result<()> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read(file).map_err(|error| bad_input(format!("cannot read {}: {error}", file.display())))?;
    }
    let rows = read_rows(&text)
        .map_err(|problem| bad_input(format!("{}: {problem}; nothing was imported", file.display())))?;
    let patients: Vec<NewPatient> = rows.iter().map(|(_, patient)| patient.clone()).collect();
    let summary = store.import_patients(&patients).await?;
    if !summary.conflicts.is_empty() {
        let taken: Vec<String> =
            summary.conflicts.iter().filter_map(|at| rows.get(*at)).map(|(place, _)| place.clone()).collect();
        return Err(bad_input(format!(
            "{}: {}: external_id: expected one that no other patient has; nothing was imported",
            file.display(),
            taken.join(", ")
        )));
    }
    match format {
        Format::Table => {
            output::line(&format!("{} patients added, {} known already", summary.added, summary.unchanged))
        }
        Format::Json => output::json(&json!({"added": summary.added, "unchanged": summary.unchanged})),
    }
}

/// Reads the rows of an import file, each with the place where it stands. Errors name place and field, never a value.
fn read_rows(text: &[u8]) -> Result<Vec<(String, NewPatient)>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
    let header = reader.headers().map_err(|_| "the header cannot be read: expected UTF-8 text".to_owned())?;
    if header != HEADER.as_slice() {
        return Err(format!("row 1 (line 1): expected the header {}", HEADER.join(",")));
    }
    let mut rows = Vec::new();
    for (row, record) in (2..).zip(reader.records()) {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            format!("row {row} (line {line}): cannot be read: expected UTF-8 text with closed quotes")
        })?;
        let place = format!("row {row} (line {})", record.position().map_or(0, csv::Position::line));
        if record.len() != HEADER.len() {
            return Err(format!("{place}: expected {} fields, got {}", HEADER.len(), record.len()));
        }
        let field = |index| record.get(index).unwrap_or_default();
        let patient = NewPatient::from_fields(field(0), field(1), field(2), field(3), field(4), field(5), field(6))
            .map_err(|invalid| format!("{place}: {invalid}"))?;
        rows.push((place, patient));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "external_id,name,phone,birth_date,sex,language,timezone\n\
        A-1,\"Example, Ada\",+12025550101,1948-04-01,female,en,America/New_York\n";

    #[test]
    fn a_good_file_is_read_also_with_a_byte_order_mark_and_crlf() {
        let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
        let rows = read_rows(text.as_bytes()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].1.name, "Example, Ada");
    }

    #[test]
    fn mistakes_are_placed_and_values_not_repeated() {
        for (from, to, said) in [
            ("+12025550101", "12025550101", "row 2 (line 2): phone: expected"),
            ("1948-04-01", "April", "birth_date"),
            (",en,", ",", "expected 7 fields, got 6"),
            ("external_id", "id", "row 1 (line 1): expected the header external_id,name"),
            ("female", "f\u{fffd}", "sex"),
        ] {
            let problem = read_rows(GOOD.replace(from, to).as_bytes()).unwrap_err();
            assert!(problem.contains(said), "{problem}");
            assert!(!problem.contains("Ada") && !problem.contains("2025550101") && !problem.contains("April"));
        }
        assert!(read_rows(b"").is_err());
        assert!(read_rows(b"\xff\xfe\x00").is_err());
    }
}

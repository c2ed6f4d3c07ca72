//! `heartvoice patient import`: patients from a CSV file.

use crate::failure::bad_input;
use crate::output::{self, Format};
use anyhow::Context;
use clinic::NewPatient;
use clinic::care::CareProfile;
use serde_json::json;
use std::io::Read;
use std::path::Path;
use store::Store;

/// The columns every import file has.
const HEADER: [&str; 7] = ["external_id", "name", "phone", "birth_date", "sex", "language", "timezone"];

/// A row with the place where it stands.
type Row = (String, (NewPatient, CareProfile));

pub(super) async fn run(store: &Store, file: &Path, format: Format) -> anyhow::Result<()> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read(file).map_err(|error| bad_input(format!("cannot read {}: {error}", file.display())))?;
    }
    let rows = read_rows(&text)
        .map_err(|problem| bad_input(format!("{}: {problem}; nothing was imported", file.display())))?;
    let (places, patients): (Vec<String>, Vec<(NewPatient, CareProfile)>) = rows.into_iter().unzip();
    let summary = store.import_patients_with_care(&patients).await?;
    if !summary.conflicts.is_empty() {
        let taken: Vec<&str> = summary.conflicts.iter().filter_map(|at| places.get(*at)).map(String::as_str).collect();
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
fn read_rows(text: &[u8]) -> Result<Vec<Row>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
    let header = reader.headers().map_err(|_| "the header cannot be read: expected UTF-8 text".to_owned())?;
    let further = further_columns(header)?;
    let columns = HEADER.len() + further.len();
    let mut rows = Vec::new();
    for (row, record) in (2..).zip(reader.records()) {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            format!("row {row} (line {line}): cannot be read: expected UTF-8 text with closed quotes")
        })?;
        let place = format!("row {row} (line {})", record.position().map_or(0, csv::Position::line));
        if record.len() != columns {
            return Err(format!("{place}: expected {columns} fields, got {}", record.len()));
        }
        let field = |index| record.get(index).unwrap_or_default();
        let patient = NewPatient::from_fields(field(0), field(1), field(2), field(3), field(4), field(5), field(6))
            .map_err(|invalid| format!("{place}: {invalid}"))?;
        let mut care = CareProfile::default();
        for (name, text) in further.iter().zip(record.iter().skip(HEADER.len())) {
            care.set(name, text).map_err(|invalid| format!("{place}: {invalid}"))?;
        }
        rows.push((place, (patient, care)));
    }
    Ok(rows)
}

/// The columns behind the fixed ones.
fn further_columns(header: &csv::StringRecord) -> Result<Vec<String>, String> {
    let expected = || {
        let (fixed, further) = (HEADER.join(","), CareProfile::FIELDS.join(", "));
        format!("row 1 (line 1): expected the header {fixed} and behind it none or some of {further}, each once")
    };
    let further: Vec<String> = header.iter().skip(HEADER.len()).map(str::to_owned).collect();
    let is_known = |name: &String| CareProfile::FIELDS.contains(&name.as_str());
    let is_once = |name: &String| further.iter().filter(|other| *other == name).count() == 1;
    let is_fixed = header.iter().take(HEADER.len()).eq(HEADER);
    if is_fixed && further.iter().all(|name| is_known(name) && is_once(name)) { Ok(further) } else { Err(expected()) }
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
        assert_eq!(rows[0].1.0.name, "Example, Ada");
        assert!(rows[0].1.1 == CareProfile::default());
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

    #[test]
    fn further_columns_may_come_in_any_order_once() {
        let text = |columns: &str, cells: &str| {
            GOOD.replace("timezone", &format!("timezone,{columns}")).replace("New_York", &format!("New_York,{cells}"))
        };
        let rows = read_rows(text("weight_unit,pin,dry_weight_kg", "kg,4711,").as_bytes()).unwrap();
        let care = &rows[0].1.1;
        assert_eq!((care.pin.as_deref(), care.dry_weight_kg), (Some("4711"), None));
        assert_eq!(care.weight_unit, Some(clinic::answers::WeightUnit::Kg));
        for (columns, cells, said) in [
            ("pin,pin", "4711,4711", "each once"),
            ("shoe_size", "43", "expected the header"),
            ("pin", "47x1", "row 2 (line 2): pin: expected 4 to 8 digits"),
            ("discharged_on", "Monday", "row 2 (line 2): discharged_on: expected a date"),
            ("pin,weight_unit", "4711", "expected 9 fields, got 8"),
        ] {
            let problem = read_rows(text(columns, cells).as_bytes()).unwrap_err();
            assert!(problem.contains(said) && !problem.contains("47x1") && !problem.contains("Monday"), "{problem}");
        }
    }
}

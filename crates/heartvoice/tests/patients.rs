//! Patients on the command line: what goes in comes out, and bad files change nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, fails, json, succeeds};
use std::path::Path;
use tempfile::{TempDir, tempdir};

const HEADER: &str = "external_id,name,phone,birth_date,sex,language,timezone\n";

fn import_dir(csv: &str) -> TempDir {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("patients.csv"), csv).unwrap();
    dir
}

fn settings() -> [(&'static str, &'static str); 1] {
    [("ENCRYPTION_KEY", KEY)]
}

fn count(dir: &Path) -> usize {
    json(dir, &["patient", "list", "--format", "json"], &settings()).as_array().unwrap().len()
}

#[test]
fn import_list_show_and_repeat() {
    let csv = format!(
        "{HEADER}A-1,\"Example, Ada\",+1 (202) 555-0101,1948-04-01,female,en,America/New_York\r\n\
         A-2,Bruno Ünïcode,+12025550102,1950-12-31,m,pt-BR,America/Sao_Paulo\r\n"
    );
    let dir = import_dir(&csv);
    let done = json(dir.path(), &["patient", "import", "patients.csv", "--format", "json"], &settings());
    assert_eq!(done, serde_json::json!({"added": 2, "unchanged": 0}));
    let again = succeeds(dir.path(), &["patient", "import", "patients.csv"], &settings());
    assert_eq!(again.trim(), "0 patients added, 2 known already");

    let list = json(dir.path(), &["patient", "list", "--format", "json"], &settings());
    let find = |id: &str| list.as_array().unwrap().iter().find(|patient| patient["external_id"] == id).unwrap();
    let (ada, bruno) = (find("A-1"), find("A-2"));
    assert_eq!(ada["name"], "Example, Ada");
    assert_eq!(ada["phone"], "+12025550101");
    assert_eq!(bruno["sex"], "male");
    assert_eq!(bruno["language"], "pt-br");
    let id = bruno["id"].as_str().unwrap();
    let shown = json(dir.path(), &["patient", "show", id, "--format", "json"], &settings());
    for (name, value) in bruno.as_object().unwrap() {
        assert_eq!(&shown[name], value);
    }
    let table = succeeds(dir.path(), &["patient", "list"], &settings());
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("Bruno Ünïcode").contains("pt-br (not clinically reviewed)"), "{table}");
    assert!(!line("Ada").contains("reviewed"), "{table}");
    let rows = succeeds(dir.path(), &["patient", "list", "--format", "csv"], &settings());
    assert!(rows.starts_with("id,external_id,name,phone") && rows.contains("\"Example, Ada\""), "{rows}");
}

#[test]
fn one_bad_row_stops_the_whole_import_and_is_named_without_its_value() {
    let good = "A-1,Ada Example,+12025550101,1948-04-01,female,en,America/New_York\n";
    for (row, place) in [
        ("A-2,Secret Name,2025550199,1948-04-01,female,en,America/New_York\n", "row 3 (line 3): phone"),
        ("A-2,Secret Name,+12025550199,01.04.1948,female,en,America/New_York\n", "row 3 (line 3): birth_date"),
        ("A-2,Secret Name,+12025550199,1948-04-01,female,en\n", "row 3 (line 3): expected 7 fields, got 6"),
        ("A-1,Secret Name,+12025550199,1948-04-01,female,en,America/New_York\n", "row 3 (line 3): external_id"),
        ("A-2,Secret Name,+12025550199,1948-04-01,female,en,Moon/Base\n", "row 3 (line 3): timezone"),
        ("A-2,Secret Name,+12025550199,1948-04-01,female,tlh,America/New_York\n", "row 3 (line 3): language"),
    ] {
        let dir = import_dir(&format!("{HEADER}{good}{row}"));
        let reason = fails(dir.path(), &["patient", "import", "patients.csv"], &settings(), 2);
        assert!(reason.contains(place), "{reason}");
        for value in ["Secret", "5550199", "01.04.1948", "Moon"] {
            assert!(!reason.contains(value), "{reason}");
        }
        assert_eq!(count(dir.path()), 0);
    }
}

#[test]
fn the_header_must_be_right_and_the_file_there() {
    let dir = import_dir("name,phone\nAda,+12025550101\n");
    let reason = fails(dir.path(), &["patient", "import", "patients.csv"], &settings(), 2);
    assert!(reason.contains("external_id,name,phone,birth_date,sex,language,timezone"), "{reason}");
    assert!(fails(dir.path(), &["patient", "import", "nowhere.csv"], &settings(), 2).contains("nowhere.csv"));
}

#[test]
fn add_and_its_refusals() {
    let dir = tempdir().unwrap();
    let add = |phone: &str, format: &str| {
        [
            "patient",
            "add",
            "--external-id",
            "B-1",
            "--name",
            "Carla Specimen",
            "--phone",
            phone,
            "--birth-date",
            "1950-01-01",
            "--format",
            format,
        ]
        .map(str::to_owned)
    };
    let args = add("+12025550103", "json");
    let added = json(dir.path(), &args.each_ref().map(String::as_str), &settings());
    assert_eq!(added["name"], "Carla Specimen");
    let reason = fails(dir.path(), &args.each_ref().map(String::as_str), &settings(), 1);
    assert!(reason.contains("external_id"), "{reason}");
    let reason = fails(dir.path(), &add("0815", "table").each_ref().map(String::as_str), &settings(), 2);
    assert!(reason.contains("phone") && !reason.contains("0815"), "{reason}");
    let other = ["patient", "add", "--external-id", "B-2", "--name", "D", "--phone", "+12025550104"];
    let rest = ["--birth-date", "1950-01-01", "--language", "tlh"];
    let reason = fails(dir.path(), &[&other[..], &rest[..]].concat(), &settings(), 2);
    assert!(reason.contains("language: expected the code of a language an agent speaks"), "{reason}");
    assert!(fails(dir.path(), &["patient", "show", "no/such"], &settings(), 2).contains("identifier"));
    assert!(fails(dir.path(), &["patient", "show", "nobody"], &settings(), 1).contains("patient"));
}

#[test]
fn further_columns_of_an_import_become_the_profile_of_new_patients() {
    let header = HEADER.trim_end();
    let dir = import_dir(&format!(
        "{header},pin,dry_weight_kg,recording_consent_on,discharged_on,weight_unit\n\
         A-1,Ada Example,+12025550101,1948-04-01,female,en,America/New_York,0417,72.5,2026-01-02,2026-01-01,kg\n\
         A-2,Bruno Example,+12025550102,1948-04-01,male,en,America/New_York,,,,,\n"
    ));
    let dir = dir.path();
    let import = || json(dir, &["patient", "import", "patients.csv", "--format", "json"], &settings());
    assert_eq!(import(), serde_json::json!({"added": 2, "unchanged": 0}));
    let list = json(dir, &["patient", "list", "--format", "json"], &settings());
    let id = |at: usize| list[at]["id"].as_str().unwrap().to_owned();
    let care = |id: &str| json(dir, &["patient", "show", id, "--format", "json"], &settings())["care"].clone();
    let ada = serde_json::json!({"pin_set": true, "dry_weight_kg": 72.5, "recording_consent_on": "2026-01-02",
        "discharged_on": "2026-01-01", "weight_unit": "kg"});
    assert_eq!(care(&id(0)), ada);
    assert_eq!(care(&id(1))["pin_set"], false);
    // What was noted since then is newer than the file.
    succeeds(dir, &["patient", "set", &id(0), "--dry-weight-kg", "71"], &settings());
    assert_eq!(import(), serde_json::json!({"added": 0, "unchanged": 2}));
    assert_eq!(care(&id(0))["dry_weight_kg"], 71.0);

    let bad = format!("{header},pin\nA-9,Ada,+12025550109,1948-04-01,female,en,UTC,47x1\n");
    std::fs::write(dir.join("bad.csv"), bad).unwrap();
    let reason = fails(dir, &["patient", "import", "bad.csv"], &settings(), 2);
    assert!(reason.contains("row 2 (line 2): pin: expected 4 to 8 digits") && !reason.contains("47x1"), "{reason}");
    assert_eq!(count(dir), 2);
}

#[test]
fn a_profile_is_noted_shown_without_its_pin_and_removed() {
    let dir = import_dir(&format!("{HEADER}A-1,Ada Example,+12025550101,1948-04-01,female,en,Europe/Berlin\n"));
    let dir = dir.path();
    succeeds(dir, &["patient", "import", "patients.csv"], &settings());
    let list = json(dir, &["patient", "list", "--format", "json"], &settings());
    let id = list[0]["id"].as_str().unwrap();
    let field = |name: &str| {
        let shown = succeeds(dir, &["patient", "show", id], &settings());
        assert!(!shown.contains("0417"), "{shown}");
        let line = shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap().trim().to_owned();
        line[name.len()..].trim().to_owned()
    };
    assert_eq!((field("pin"), field("weight unit")), ("not set".to_owned(), "kg (by time zone)".to_owned()));
    let first = ["patient", "set", id, "--pin", "0417", "--dry-weight-kg", "72.5", "--weight-unit", "lb"];
    let rest = ["--consent", "yes", "--discharged-on", "2026-01-31"];
    let said = succeeds(dir, &[&first[..], &rest[..]].concat(), &settings());
    assert!(said.contains("72.5") && !said.contains("0417"), "{said}");
    assert_eq!(
        (field("pin"), field("dry weight kg"), field("weight unit")),
        ("set".into(), "72.5".into(), "lb".into())
    );
    assert_eq!(field("discharged on"), "2026-01-31");
    assert!(field("agreed to recording").parse::<jiff::civil::Date>().is_ok());
    let none = ["patient", "set", id, "--pin", "none", "--consent", "no", "--format", "json"];
    let left = json(dir, &none, &settings());
    assert_eq!(left["care"]["pin_set"], false);
    assert_eq!(left["care"]["recording_consent_on"], serde_json::Value::Null);
    assert_eq!(left["care"]["dry_weight_kg"], 72.5, "what is not named stays");

    for (arguments, said) in [
        (["--pin", "12"], "pin: expected 4 to 8 digits"),
        (["--dry-weight-kg", "720"], "dry_weight_kg: expected 25 to 300 kg"),
        (["--weight-unit", "stone"], "weight_unit: expected kg or lb"),
        (["--discharged-on", "2199-01-01"], "discharged_on: expected a day that is not in the future"),
        (["--discharged-on", "soon"], "discharged_on: expected a date"),
        (["--pin", ""], "pin: expected a value"),
    ] {
        let reason = fails(dir, &[&["patient", "set", id], &arguments[..]].concat(), &settings(), 2);
        assert!(reason.contains(said), "{reason}");
    }
    assert!(fails(dir, &["patient", "set", "nobody", "--pin", "4711"], &settings(), 1).contains("no such patient"));
}

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
    assert_eq!(&shown, bruno);
    assert!(succeeds(dir.path(), &["patient", "list"], &settings()).contains("Bruno Ünïcode"));
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
    assert!(fails(dir.path(), &["patient", "show", "no/such"], &settings(), 2).contains("identifier"));
    assert!(fails(dir.path(), &["patient", "show", "nobody"], &settings(), 1).contains("patient"));
}

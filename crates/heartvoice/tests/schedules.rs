//! Schedules and calls on the command line.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, fails, json, succeeds};
use std::path::Path;
use tempfile::tempdir;

fn settings() -> [(&'static str, &'static str); 1] {
    [("ENCRYPTION_KEY", KEY)]
}

/// Adds a patient in that zone and gives the identifier.
fn patient(dir: &Path, external_id: &str, zone: &str) -> String {
    let args = ["patient", "add", "--external-id", external_id, "--name", "Ada Example", "--phone", "+12025550101"];
    let rest = ["--birth-date", "1948-04-01", "--timezone", zone, "--format", "json"];
    let added = json(dir, &[&args[..], &rest[..]].concat(), &settings());
    added["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_schedule_is_added_paused_resumed_and_removed() {
    let dir = tempdir().unwrap();
    let patient = patient(dir.path(), "A-1", "America/New_York");
    let add = ["schedule", "add", "--patient", &patient, "--days", "mon,wed,fri", "--from", "10:00", "--to", "16:00"];
    let rest = ["--holiday", "2030-12-25", "--max-attempts", "4", "--retry-busy", "20", "--format", "json"];
    let added = json(dir.path(), &[&add[..], &rest[..]].concat(), &settings());
    assert_eq!((&added["days"], &added["timezone"]), (&"mon,wed,fri".into(), &"America/New_York".into()));
    assert_eq!(added["window"], serde_json::json!({"start": "10:00", "end": "16:00"}));
    assert_eq!((&added["max_attempts"], &added["retry_after"]["busy_min"]), (&4.into(), &20.into()));
    assert_eq!(added["holidays"], serde_json::json!(["2030-12-25"]));
    assert!(added["next_call_at"].as_str().unwrap().ends_with('Z'));
    let id = added["id"].as_str().unwrap();

    assert_eq!(succeeds(dir.path(), &["schedule", "pause", id], &settings()).trim(), "paused");
    let list = json(dir.path(), &["schedule", "list", "--patient", &patient, "--format", "json"], &settings());
    assert_eq!((&list[0]["id"], &list[0]["paused"], &list[0]["next_call_at"]), (&id.into(), &true.into(), &().into()));
    assert!(succeeds(dir.path(), &["schedule", "resume", id], &settings()).starts_with("resumed; next call 2"));
    let shown = succeeds(dir.path(), &["schedule", "show", id], &settings());
    assert!(shown.contains("10:00 to 16:00 America/New_York") && shown.contains("active"), "{shown}");
    succeeds(dir.path(), &["schedule", "remove", id], &settings());
    assert!(fails(dir.path(), &["schedule", "show", id], &settings(), 1).contains("no such schedule"));
    let rows = succeeds(dir.path(), &["schedule", "list", "--format", "csv"], &settings());
    assert_eq!(rows.trim(), "id,patient_id,days,from,to,timezone,attempts,state,next_call");
}

#[test]
fn mistakes_in_a_schedule_are_named() {
    let dir = tempdir().unwrap();
    let patient = patient(dir.path(), "A-1", "America/New_York");
    for (arguments, said) in [
        (["--days", "mo"], "days: expected daily, weekdays"),
        (["--from", "20:45"], "window: expected at least 30 minutes between 08:00 and 21:00"),
        (["--max-attempts", "11"], "max_attempts: expected 1 to 10"),
        (["--retry-busy", "1"], "busy_min: expected 5 to 720 minutes"),
        (["--timezone", "Moon/Base"], "timezone: expected an IANA time zone"),
        (["--ends-on", "2001-01-01"], "ends_on: expected a day that is not before"),
        (["--holiday", "christmas"], "--holiday"),
    ] {
        let args = [&["schedule", "add", "--patient", &patient][..], &arguments[..]].concat();
        let reason = fails(dir.path(), &args, &settings(), 2);
        assert!(reason.contains(said), "{reason}");
    }
    assert!(fails(dir.path(), &["schedule", "add", "--patient", "nobody"], &settings(), 1).contains("no such patient"));
}

#[test]
fn a_call_is_taken_back_when_no_server_is_there_and_refused_at_night() {
    let dir = tempdir().unwrap();
    // POSIX turns the sign around: GMT-3 is three hours ahead of Greenwich.
    let hour = i32::from(jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour());
    let (noon, night) = (format!("Etc/GMT{:+}", hour - 12), format!("Etc/GMT{:+}", (hour - 2).min(12)));
    let awake = patient(dir.path(), "A-1", &noon);
    let reason = fails(dir.path(), &["call", "place", "--patient", &awake, "--wait", "1"], &settings(), 1);
    assert!(reason.contains("no server placed the call within 1 s, and it was taken back"), "{reason}");
    // It can be asked for again: nothing is left waiting.
    let again = fails(dir.path(), &["call", "place", "--patient", &awake, "--wait", "1"], &settings(), 1);
    assert!(again.contains("taken back"), "{again}");
    if (0..=14).contains(&hour) {
        let asleep = patient(dir.path(), "A-2", &night);
        let reason = fails(dir.path(), &["call", "place", "--patient", &asleep], &settings(), 2);
        assert!(reason.contains("calls are legal from 08:00 to 21:00 local time"), "{reason}");
        assert!(!reason.contains("Ada") && !reason.contains("5550101"));
    }
}

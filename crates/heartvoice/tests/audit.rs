//! The audit trail on the command line: what commands show and change is on record, and tampering is named.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, command, fails, json, run, succeeds};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::tempdir;

fn settings() -> [(&'static str, &'static str); 1] {
    [("ENCRYPTION_KEY", KEY)]
}

fn add(dir: &Path, number: u32) -> String {
    let phone = format!("+1202555{number:04}");
    let external = format!("MRN-{number}");
    let birth = "1948-04-01";
    let name = "Ada Example";
    let args = ["patient", "add", "--external-id", &external, "--name", name, "--phone", &phone, "--birth-date", birth];
    let added = succeeds(dir, &args, &settings());
    added.trim().rsplit(' ').next().unwrap().to_owned()
}

fn actions(dir: &Path, args: &[&str]) -> Vec<String> {
    let args = [&["audit", "list", "--format", "json"], args].concat();
    let listed = json(dir, &args, &settings());
    listed.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_looked_at_a_patient_is_on_record() {
    let dir = tempdir().unwrap();
    let (ada, other) = (add(dir.path(), 1), add(dir.path(), 2));
    succeeds(dir.path(), &["patient", "show", &ada], &settings());
    succeeds(dir.path(), &["patient", "trends", &ada], &settings());
    succeeds(dir.path(), &["patient", "list"], &settings());
    succeeds(dir.path(), &["call", "list", "--patient", &ada], &settings());
    fails(dir.path(), &["patient", "show", "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b"], &settings(), 1);
    let about = actions(dir.path(), &["--patient", &ada]);
    assert_eq!(about, ["audit.list", "call.list", "trend.read", "patient.read", "patient.add"]);
    assert_eq!(actions(dir.path(), &["--patient", &other]), ["audit.list", "patient.add"]);
    assert_eq!(actions(dir.path(), &["--action", "patient.list"]), ["patient.list"]);
    assert_eq!(actions(dir.path(), &["--until", "2020-01-01"]), [""; 0]);
    let all = json(dir.path(), &["audit", "list", "--format", "json"], &settings());
    for entry in all.as_array().unwrap() {
        assert_eq!(entry["actor"]["kind"], "operator");
        assert_ne!(entry["actor"]["id"], "unknown");
    }
    let table = succeeds(dir.path(), &["audit", "list"], &settings());
    // The digits of a time may be any; only the number itself must not stand there.
    assert!(!table.contains("Ada") && !table.contains("MRN") && !table.contains("202555"), "{table}");
}

#[test]
fn an_export_stands_for_itself() {
    let dir = tempdir().unwrap();
    let ada = add(dir.path(), 1);
    succeeds(dir.path(), &["patient", "show", &ada], &settings());
    succeeds(dir.path(), &["audit", "checkpoint", "--to", "kept.jsonl"], &settings());
    succeeds(dir.path(), &["audit", "export", "--out", "trail.jsonl"], &settings());
    fails(dir.path(), &["audit", "export", "--out", "trail.jsonl"], &settings(), 2);
    let key = succeeds(dir.path(), &["audit", "key"], &settings());
    let key = key.trim();
    // Without settings, and where no database is.
    let elsewhere = tempdir().unwrap();
    for name in ["trail.jsonl", "kept.jsonl"] {
        std::fs::copy(dir.path().join(name), elsewhere.path().join(name)).unwrap();
    }
    let verify = ["audit", "verify", "--file", "trail.jsonl", "--key", key, "--checkpoint", "kept.jsonl"];
    let found = json(elsewhere.path(), &[&verify[..], &["--format", "json"]].concat(), &[]);
    assert_eq!((&found["verified"], &found["entries"], &found["checkpoints"]), (&true.into(), &3.into(), &2.into()));
    assert!(!elsewhere.path().join("heartvoice.db").exists());
    let good = std::fs::read_to_string(elsewhere.path().join("trail.jsonl")).unwrap();
    std::fs::write(elsewhere.path().join("trail.jsonl"), good.replace("patient.read", "patient.list")).unwrap();
    let output = run(elsewhere.path(), &verify, &[]);
    let reason = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(reason.contains("error: the audit trail is not as it was written: entry 2 does not fit"), "{reason}");
    let other = "07".repeat(32);
    let output = run(dir.path(), &["audit", "verify", "--file", "trail.jsonl", "--key", &other], &[]);
    assert_eq!(output.status.code(), Some(1));
    fails(dir.path(), &["audit", "verify", "--file", "trail.jsonl", "--key", "abc"], &[], 2);
    fails(dir.path(), &["audit", "verify", "--checkpoint", "none.jsonl"], &settings(), 2);
}

#[test]
fn events_of_fhir_are_written_line_by_line() {
    let dir = tempdir().unwrap();
    let ada = add(dir.path(), 1);
    succeeds(dir.path(), &["patient", "show", &ada], &settings());
    succeeds(dir.path(), &["audit", "export", "--fhir", "--out", "events.ndjson"], &settings());
    let text = std::fs::read_to_string(dir.path().join("events.ndjson")).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let letters: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(letters, ["C", "R", "R"]);
    assert_eq!(events[1]["entity"][0]["what"]["reference"], format!("Patient/{ada}"));
    assert_eq!(events[1]["resourceType"], "AuditEvent");
}

/// Runs the server until it listens, and ends it as an operator would.
fn serve(dir: &Path, extra: &[(&str, &str)]) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut settings = vec![("ENCRYPTION_KEY", KEY), ("BIND_ADDR", "127.0.0.1"), ("PORT", port.as_str())];
    settings.extend_from_slice(extra);
    let mut server = command(dir, &["serve", "--grace", "1"], &settings).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening")));
    let reader = std::thread::spawn(move || lines.count());
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert!(server.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn starts_stops_and_changed_settings_are_on_record() {
    let dir = tempdir().unwrap();
    let kept = dir.path().join("kept.jsonl");
    let file = [("AUDIT_CHECKPOINT_FILE", kept.to_str().unwrap())];
    serve(dir.path(), &file);
    let secret = "A-Secret-Of-The-Clinic";
    serve(dir.path(), &[file[0], ("TWILIO_AUTH_TOKEN", secret)]);
    let told = actions(dir.path(), &[]);
    assert_eq!(told[1..], ["server.stop", "config.change", "server.start", "server.stop", "server.start"]);
    let change = json(dir.path(), &["audit", "list", "--action", "config.change", "--format", "json"], &settings());
    let details = change[0]["details"].as_object().unwrap();
    assert_eq!(details["TWILIO_AUTH_TOKEN"], "added");
    assert_eq!(details["PORT"], "changed");
    assert!(!details.contains_key("ENCRYPTION_KEY"));
    assert!(!change.to_string().contains(secret));
    // The last checkpoint covers the last stop.
    let kept_lines = std::fs::read_to_string(&kept).unwrap();
    let last: serde_json::Value = serde_json::from_str(kept_lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["seq"], 5);
    let verify = ["audit", "verify", "--checkpoint", kept.to_str().unwrap(), "--format", "json"];
    assert_eq!(json(dir.path(), &verify, &settings())["verified"], true);
}

//! Protocols on the command line: a good one is described, and every fault of a bad one is named with its line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use clinic::protocol::DEFAULT_TEXT;
use common::{fails, json, run, succeeds};
use std::path::Path;
use tempfile::tempdir;

/// The line of the shipped file that contains `words`.
fn line_of(words: &str) -> usize {
    DEFAULT_TEXT.lines().position(|line| line.contains(words)).expect(words) + 1
}

/// What `protocol check` says about `text` on standard error, line by line. It must exit with 2 and print nothing else.
fn complaints(text: &str) -> Vec<String> {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("p.toml"), text).unwrap();
    let output = run(dir.path(), &["protocol", "check", "p.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect()
}

/// The same about the shipped file after one replacement.
fn complaints_after(from: &str, to: &str) -> Vec<String> {
    let text = DEFAULT_TEXT.replacen(from, to, 1);
    assert_ne!(text, DEFAULT_TEXT, "the shipped file has no {from:?}");
    complaints(&text)
}

#[test]
fn a_good_file_is_described_with_what_is_not_reviewed() {
    let dir = tempdir().unwrap();
    // A site's copy, saved by an editor that marks the encoding; one of its translations is reviewed.
    let reviewed = "status = \"draft\"\nreviewed_by = \"A. Clinician\"\nreviewed_on = \"2026-05-01\"";
    let text = DEFAULT_TEXT.replacen("status = \"draft\"", reviewed, 1).replace("1.0.0", "1.0.0-site");
    std::fs::write(dir.path().join("site.toml"), format!("\u{feff}{text}")).unwrap();
    let said = succeeds(dir.path(), &["protocol", "check", "site.toml"], &[]);
    assert!(said.starts_with("OK heart-failure-check-in 1.0.0-site\n"), "{said}");
    assert!(said.contains("9 items: feeling, dyspnea, orthopnea,"), "{said}");
    let row = |code: &str| said.lines().find(|line| line.trim_start().starts_with(code)).expect(code).to_owned();
    assert!(row("es ").contains("complete") && !row("es ").contains("not clinically reviewed"), "{said}");
    assert!(row("de ").contains("draft") && row("de ").contains("not clinically reviewed"), "{said}");
    assert!(row("fr ").contains("draft") && row("fr ").contains("reviewed by A. Clinician on 2026-05-01"), "{said}");

    let report = json(dir.path(), &["protocol", "check", "site.toml", "--format", "json"], &[]);
    assert_eq!((&report["ok"], report["items"].as_array().unwrap().len()), (&true.into(), 9));
    let marks: Vec<&str> = report["languages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|language| language["mark"] == "not clinically reviewed")
        .map(|language| language["code"].as_str().unwrap())
        .collect();
    assert_eq!(marks, ["ar", "de", "hi", "ko", "pt", "ru", "tl", "vi", "zh"]);
}

#[test]
fn an_unknown_rule_is_named_with_its_line() {
    let line = line_of("red_flags = [{ when = [\"rest\"]");
    let said = complaints_after("red_flags = [{ when = [\"rest\"]", "red_flags = [{ when = [\"sitting\"]");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(&format!("p.toml:{line}: ")) && said[0].contains("\"sitting\" is no answer"),
        "{said:?}"
    );
    let said = complaints_after("minimum_quality = \"usable\"", "loudness = \"high\"");
    assert_eq!(said.len(), 1, "{said:?}");
    let line = line_of("minimum_quality = \"usable\"");
    assert!(said[0].starts_with(&format!("p.toml:{line}: ")) && said[0].contains("loudness"), "{said:?}");
}

#[test]
fn a_missing_translation_is_named_with_its_language() {
    let prompt = DEFAULT_TEXT.lines().find(|line| line.starts_with("weight = \"Hat")).unwrap();
    let said = complaints_after(&format!("{prompt}\n"), "");
    let line = line_of("[language.de]");
    assert_eq!(said, [format!("p.toml:{line}: language.de.items: the translation of \"weight\" is missing")]);
}

#[test]
fn a_duplicate_step_is_named_and_every_fault_has_a_line_of_its_own() {
    let text = DEFAULT_TEXT
        .replacen("id = \"swelling\"", "id = \"dyspnea\"", 1)
        .replacen("retries = 0", "retries = 7", 1)
        .replacen("version = \"1.0.0\"", "version = \"\"", 1);
    let said = complaints(&text);
    for (words, reason) in
        [("id = \"swelling\"", "\"dyspnea\" is used twice"), ("retries = 0", "at most 3"), ("version = ", "version")]
    {
        let place = format!("p.toml:{}: ", line_of(words));
        assert!(said.iter().any(|line| line.starts_with(&place) && line.contains(reason)), "{place}{reason}: {said:?}");
    }
    assert!(said.iter().all(|line| line.starts_with("p.toml:")), "{said:?}");
}

#[test]
fn what_cannot_be_read_is_said_on_one_line() {
    let dir = tempdir().unwrap();
    assert!(fails(dir.path(), &["protocol", "check", "nowhere.toml"], &[], 2).contains("nowhere.toml"));
    assert!(fails(dir.path(), &["protocol", "check", "."], &[], 2).contains("cannot read the protocol"));
    assert!(fails(dir.path(), &["protocol", "show", "nowhere.toml"], &[], 2).contains("nowhere.toml"));
    // A file without an end must not take the machine with it.
    let said = String::from_utf8(run(dir.path(), &["protocol", "check", "/dev/zero"], &[]).stderr).unwrap();
    assert!(said.starts_with("/dev/zero:1: ") && said.lines().count() == 1, "{said}");
    check_bytes(dir.path(), b"# one\n# two\nname = \"\xff\"\n", "p.toml:3: not UTF-8");
    check_bytes(dir.path(), b"", "p.toml:1: ");
    check_bytes(dir.path(), b"[protocol]\nname = 'x\n", "p.toml:2: ");
}

fn check_bytes(dir: &Path, bytes: &[u8], expected: &str) {
    std::fs::write(dir.join("p.toml"), bytes).unwrap();
    let output = run(dir, &["protocol", "check", "p.toml", "--format", "json"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.starts_with(expected), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["faults"].as_array().unwrap().len(), 1);
}

#[test]
fn the_shipped_protocol_is_shown_in_any_of_its_languages() {
    let dir = tempdir().unwrap();
    let said = succeeds(dir.path(), &["protocol", "show"], &[]);
    assert!(said.contains("How are you feeling today?") && said.contains("not clinically reviewed"), "{said}");
    let said = succeeds(dir.path(), &["protocol", "show", "--language", "PT-BR"], &[]);
    assert!(said.contains("Como está se sentindo hoje?") && said.contains("{emergency_number}"), "{said}");
    assert!(!said.contains("How are you feeling"), "{said}");
    let reason = fails(dir.path(), &["protocol", "show", "--language", "sw"], &[], 2);
    assert!(reason.contains("sw") && reason.contains("zh"), "{reason}");

    let shown = json(dir.path(), &["protocol", "show", "--language", "es", "--format", "json"], &[]);
    assert_eq!(shown["languages"].as_array().unwrap().len(), 1);
    assert_eq!(shown["languages"][0]["items"]["feeling"], "¿Cómo se siente hoy?");
    let items = shown["items"].as_array().unwrap();
    let find = |id: &str| items.iter().find(|item| item["id"] == id).unwrap();
    assert_eq!(find("counting")["window_s"], 60);
    assert_eq!(find("orthopnea")["follows"], "dyspnea");
    assert_eq!(find("dyspnea")["red_flags"][0]["code"], "breathless_at_rest");
    let all = json(dir.path(), &["protocol", "show", "--format", "json"], &[]);
    assert_eq!(all["languages"].as_array().unwrap().len(), 12);
    // What is shown of a file is what is in the file.
    std::fs::write(dir.path().join("p.toml"), DEFAULT_TEXT.replace("heart-failure-check-in", "our-check-in")).unwrap();
    let said = succeeds(dir.path(), &["protocol", "show", "p.toml"], &[]);
    assert!(said.starts_with("our-check-in 1.0.0\n"), "{said}");
}

//! Protocol files: the shipped one is whole, and what is wrong with another is said with its line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clinic::protocol::{DEFAULT_TEXT, LanguageStatus, NEUTRAL_TEXTS, Protocol};

/// The faults of the shipped file after one replacement, as `line reason`.
fn faults(from: &str, to: &str) -> Vec<String> {
    assert!(DEFAULT_TEXT.contains(from), "the shipped file has no {from:?}");
    let text = DEFAULT_TEXT.replacen(from, to, 1);
    let found = Protocol::parse(&text).expect_err("accepted");
    for fault in &found {
        assert!(fault.line >= 1 && fault.line <= text.lines().count(), "{fault}");
    }
    found.iter().map(ToString::to_string).collect()
}

fn line_of(words: &str) -> usize {
    DEFAULT_TEXT.lines().position(|line| line.contains(words)).unwrap() + 1
}

#[test]
fn the_seven_prompts_come_in_their_order() {
    let protocol = Protocol::shipped();
    let main: Vec<&str> =
        protocol.items.iter().filter(|item| item.follows.is_none()).map(|item| item.id.as_str()).collect();
    assert_eq!(main, ["feeling", "dyspnea", "swelling", "counting", "vowel", "weight", "medications"]);
}

#[test]
fn every_language_has_every_text_and_drafts_are_marked() {
    let protocol = Protocol::shipped();
    for code in ["en", "es"] {
        let language = protocol.languages.get(code).unwrap();
        assert_eq!((language.status, language.mark()), (LanguageStatus::Complete, None), "{code}");
    }
    for code in ["fr", "de", "pt", "zh", "vi", "ar", "hi", "ko", "ru", "tl"] {
        let language = protocol.languages.get(code).unwrap_or_else(|| panic!("{code} is missing"));
        assert_eq!(language.mark(), Some("not clinically reviewed"), "{code}");
        for item in &protocol.items {
            assert_ne!(protocol.prompt(code, &item.id), protocol.prompt("en", &item.id), "{code} {}", item.id);
        }
    }
    assert_eq!(protocol.spoken("pt-br"), "pt");
    assert_eq!(protocol.spoken("sw"), "en");
}

#[test]
fn a_review_takes_the_mark_away() {
    let with = "status = \"draft\"\nreviewed_by = \"A. Clinician\"\nreviewed_on = \"2026-05-01\"";
    let text = DEFAULT_TEXT.replacen("status = \"draft\"", with, 1);
    assert_ne!(text, DEFAULT_TEXT);
    let protocol = Protocol::parse(&text).unwrap();
    assert_eq!(protocol.languages.values().filter(|language| language.reviewed.is_some()).count(), 1);
    assert!(protocol.languages.values().filter(|language| language.reviewed.is_some()).all(|l| l.mark().is_none()));
}

#[test]
fn variables_are_filled_in_and_numbers_spelled_out() {
    let protocol = Protocol::shipped();
    assert!(protocol.text("en", "greeting", "Ada").starts_with("Hello Ada,"));
    assert!(protocol.text("es", "red_flag", "Ada").contains("9 1 1"));
    for code in protocol.languages.keys() {
        for name in clinic::protocol::TEXTS {
            let text = protocol.text(code, name, "Ada");
            assert!(!text.contains('{') && !text.is_empty(), "{code} {name}: {text}");
        }
    }
    assert!(NEUTRAL_TEXTS.iter().all(|name| protocol.raw_text("en", name).is_some()));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (from, to, needle, reason) in [
        ("id = \"swelling\"", "id = \"dyspnea\"", "id = \"swelling\"", "\"dyspnea\" is used twice"),
        ("topic = \"swelling\"", "topic = \"edema\"", "topic = \"swelling\"", "\"edema\" is unknown"),
        ("kind = \"task\"", "kind = \"song\"", "kind = \"task\"", "\"song\" is unknown"),
        ("task = \"counting\"", "task = \"singing\"", "task = \"counting\"", "\"singing\" is unknown"),
        ("when = [\"rest\"]", "when = [\"resting\"]", "when = [\"rest\"]", "no answer of this item"),
        (
            "follows = \"dyspnea\"",
            "follows = \"medications\"",
            "follows = \"dyspnea\"",
            "no item \"medications\" before",
        ),
        ("window_s = 60", "window_s = 600", "window_s = 60", "expected 3 to 120 seconds"),
        ("retries = 1", "retries = 9", "retries = 1", "at most 3"),
        (
            "minimum_quality = \"usable\"",
            "minimum_quality = \"good\"",
            "minimum_quality = \"usable\"",
            "expected usable or any",
        ),
        ("emergency_number = \"911\"", "emergency_number = \"nine\"", "emergency_number = ", "digits"),
        ("status = \"complete\"", "status = \"perfect\"", "status = \"complete\"", "expected complete or draft"),
        ("{patient_name}, this is", "{name}, this is", "{patient_name}, this is", "variable {name} is unknown"),
    ] {
        let found = faults(from, to);
        let line = line_of(needle);
        let fits = |fault: &String| fault.starts_with(&format!("line {line}: ")) && fault.contains(reason);
        assert!(found.iter().any(fits), "{from} -> {to}: line {line} in {found:?}");
    }
}

#[test]
fn a_missing_translation_is_named_with_its_language() {
    let prompt = DEFAULT_TEXT.lines().find(|line| line.starts_with("vowel = ") && line.contains("aaah")).unwrap();
    let found = faults(&format!("{prompt}\n"), "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("language.es.items") && found[0].contains("\"vowel\" is missing"), "{found:?}");
}

#[test]
fn a_language_the_agent_does_not_have_is_refused() {
    let found = Protocol::parse(&DEFAULT_TEXT.replace("[language.es", "[language.xx")).expect_err("accepted");
    assert_eq!((found[0].line, found.len()), (line_of("[language.es]"), 1), "{found:?}");
}

#[test]
fn unknown_keys_and_broken_files_are_refused() {
    let found = faults("[[item]]\nid = \"feeling\"", "[[item]]\nshout = true\nid = \"feeling\"");
    assert!(found[0].contains("shout"), "{found:?}");
    assert!(found[0].starts_with(&format!("line {}: ", line_of("id = \"feeling\""))), "{found:?}");
    for text in ["", "[protocol", "item = 3", "\u{0}", &"#".repeat(600_000)] {
        assert!(Protocol::parse(text).is_err());
    }
}

#[test]
fn what_is_said_to_strangers_tells_no_illness() {
    let found = faults("this is your automated check-in call", "this is your heart failure check-in call");
    assert!(found[0].contains("before the patient is identified"), "{found:?}");
}

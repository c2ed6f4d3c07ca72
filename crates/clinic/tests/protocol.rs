//! Protocol files: the shipped one is whole, and what is wrong with another is said with its line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clinic::protocol::languages::guess;
use clinic::protocol::{DEFAULT_TEXT, LanguageStatus, NEUTRAL_TEXTS, Protocol, TEXTS};

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
fn a_patients_language_is_marked_unless_its_texts_are_complete() {
    let protocol = Protocol::shipped();
    for code in ["en", "es"] {
        assert_eq!(protocol.mark(code), None, "{code}");
    }
    for code in ["fr", "pt-br", "sw"] {
        assert_eq!(protocol.mark(code), Some("not clinically reviewed"), "{code}");
    }
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
        for name in TEXTS {
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

/// Variables of a text, sorted: a translation that loses one loses a name or a number.
fn variables(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> =
        text.split('{').skip(1).map(|rest| rest.split_once('}').expect("a brace is open").0).collect();
    found.sort_unstable();
    found
}

#[test]
fn translations_keep_the_variables_of_the_english_texts() {
    let protocol = Protocol::shipped();
    for code in protocol.languages.keys() {
        for name in TEXTS {
            let (text, english) = (protocol.raw_text(code, name).unwrap(), protocol.raw_text("en", name).unwrap());
            assert_eq!(variables(text), variables(english), "{code} {name}: {text}");
        }
    }
}

#[test]
fn an_emergency_without_its_number_is_refused() {
    let found = faults("call {emergency_number} now, or have", "call for help now, or have");
    let line = line_of("red_flag = \"What you tell me");
    assert_eq!(found, [format!("line {line}: red_flag: has to name {{emergency_number}}")]);
    let found = faults("al {crisis_number} ahora", "a alguien ahora");
    assert!(found.len() == 1 && found[0].contains("self_harm: has to name {crisis_number}"), "{found:?}");
}

/// A translation left in another language is heard as gibberish: the scripts have to fit, and no text occurs twice.
#[test]
fn texts_are_in_their_own_language_and_short_enough_to_follow() {
    let protocol = Protocol::shipped();
    let mut seen = std::collections::BTreeMap::new();
    for code in protocol.languages.keys() {
        let texts = TEXTS.iter().map(|name| (*name, protocol.raw_text(code, name).unwrap()));
        let prompts = protocol.items.iter().map(|item| (item.id.as_str(), protocol.prompt(code, &item.id)));
        for (name, text) in texts.chain(prompts) {
            if let Some(other) = seen.insert(text, code) {
                panic!("{code} and {other} share {name}: {text}");
            }
            let guess = guess(text);
            let own_script = ["zh", "vi", "ar", "hi", "ko", "ru"].contains(&code.as_str());
            assert!(
                guess == Some(code) || (guess.is_none() && !own_script),
                "{code} {name} looks like {guess:?}: {text}"
            );
            assert!(text.chars().count() <= 260, "{code} {name} is too long to listen to: {text}");
        }
        for item in &protocol.items {
            let prompt = protocol.prompt(code, &item.id);
            let questions = prompt.matches(['?', '？', '؟']).count();
            assert_eq!(
                questions,
                usize::from(item.task().is_none()),
                "{code} {}: one question at a time: {prompt}",
                item.id
            );
        }
    }
}

#[test]
fn what_is_said_to_strangers_tells_no_illness() {
    let found = faults("this is your automated check-in call", "this is your heart failure check-in call");
    assert!(found[0].contains("before the patient is identified"), "{found:?}");
    let found = faults("这是给您的自动问候电话", "这是给您的心脏随访电话");
    assert!(found[0].contains("before the patient is identified"), "{found:?}");
}

#[test]
fn a_complete_language_says_which_keys_to_press_and_a_draft_may_be_silent() {
    let line = DEFAULT_TEXT.lines().find(|line| line.starts_with("swelling = \"Marque")).unwrap();
    let found = faults(&format!("{line}\n"), "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("language.es.keys") && found[0].contains("\"swelling\" is missing"), "{found:?}");
    let line = DEFAULT_TEXT.lines().find(|line| line.starts_with("swelling = \"Tapez")).unwrap();
    let protocol = Protocol::parse(&DEFAULT_TEXT.replace(&format!("{line}\n"), "")).unwrap();
    assert_eq!(protocol.key_words("fr", "swelling", ""), "");
    let found = faults("weigh today in {weight_unit}", "weigh today in pounds");
    assert!(found.len() == 1 && found[0].contains("weight: has to name {weight_unit}"), "{found:?}");
    let found = faults("id = \"swelling\"", "id = \"consent\"");
    assert!(found.iter().any(|fault| fault.contains("the name of a text about keys")), "{found:?}");
}

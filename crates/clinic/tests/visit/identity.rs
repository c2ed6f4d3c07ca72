//! Who is on the line, whether they agree, and keys.

use super::{Told, next_of, setup};
use clinic::visit::{IdentityStatus, Setup, VisitInput, VisitOutput};
use serde_json::{Value, json};

/// Words that tell an illness.
pub(crate) const TELLING: [&str; 12] = [
    "heart",
    "cardi",
    "breath",
    "dyspnea",
    "orthopnea",
    "swelling",
    "swollen",
    "medic",
    "weight",
    "chest",
    "illness",
    "clinic",
];

pub(crate) fn assert_tells_nothing(told: &Told) {
    for text in told.texts() {
        let lower = text.to_lowercase();
        let telling = TELLING.iter().find(|word| lower.contains(**word));
        assert_eq!(telling, None, "{text}");
    }
}

#[test]
fn spoken_keyed_and_reported_dates_identify() {
    let mut told = Told::new(setup());
    told.patient("April first nineteen forty eight.");
    assert_eq!(told.record().identity.how.as_deref(), Some("spoken"));
    for keys in ["04011948", "4711"] {
        let mut told = Told::new(setup());
        told.keys(keys);
        assert_eq!(told.record().identity.how.as_deref(), Some("dtmf"), "{keys}");
        assert!(told.texts().iter().all(|text| !text.replace(' ', "").contains(keys)), "secrets stay here");
    }
    for parameters in [json!({"birth_date": "1948-04-01"}), json!({"pin": "4711"})] {
        let mut told = Told::new(setup());
        assert_eq!(told.tool("verify_identity", parameters)["identified"], true);
        assert_eq!(told.record().identity.how.as_deref(), Some("agent_tool"));
    }
}

#[test]
fn slow_fingers_are_waited_for() {
    for groups in
        [&["04", "01", "1948"][..], &["0", "4", "0", "1", "1", "9", "4", "8"], &["0401", "1948"], &["47", "11"]]
    {
        let mut told = Told::new(setup());
        for keys in groups {
            told.wait(2_000);
            told.keys(keys);
        }
        assert_eq!(told.record().identity.how.as_deref(), Some("dtmf"), "{groups:?}");
    }
    // A cheek on the keys is no attempt.
    let mut told = Told::new(setup());
    for _ in 0..5 {
        told.keys("5");
        told.wait(15_000);
    }
    assert_eq!(told.record().identity.failed_attempts, 0);
}

#[test]
fn typing_on_and_on_is_guessing() {
    let mut told = Told::new(setup());
    for _ in 0..24 {
        told.keys("9");
    }
    assert!(told.last_text().contains("cannot go on"), "{}", told.last_text());
    told.keys("4711");
    assert_eq!(told.record().identity.status, IdentityStatus::NotIdentified);
    assert!(told.texts().iter().all(|text| !text.contains("4 7 1 1")));
}

#[test]
fn three_wrong_dates_end_neutrally_and_nothing_helps_after_that() {
    let mut told = Told::new(setup());
    for year in [1950, 1951, 1952] {
        told.tool("verify_identity", json!({"birth_date": format!("{year}-01-01")}));
    }
    assert!(told.last_text().contains("cannot go on"), "{}", told.last_text());
    let reply = told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
    assert_eq!(reply["identified"], false, "{reply}");
    told.patient("April first nineteen forty eight.");
    let record = told.record();
    assert_eq!((record.identity.status, record.identity.failed_attempts), (IdentityStatus::NotIdentified, 3));
    assert_tells_nothing(&told);
}

#[test]
fn one_utterance_judged_twice_is_one_attempt() {
    let mut told = Told::new(setup());
    for _ in 0..2 {
        told.patient("March third nineteen fifty.");
        told.tool("verify_identity", json!({"birth_date": "1950-03-03"}));
    }
    assert_eq!(told.record().identity.failed_attempts, 2);
    told.patient("April first nineteen forty eight.");
    assert_eq!(told.record().identity.status, IdentityStatus::Identified);
}

#[test]
fn a_date_that_cannot_be_read_is_no_attempt() {
    let mut told = Told::new(setup());
    for parameters in [json!({}), json!({"birth_date": "a spring day"}), json!({"birth_date": 7})] {
        let reply = told.tool("verify_identity", parameters);
        assert_eq!((reply["identified"].clone(), next_of(&reply)), (Value::Bool(false), "identify".to_owned()));
    }
    assert_eq!(told.record().identity.failed_attempts, 0);
    assert!(told.texts().iter().all(|text| !text.contains("1948")));
}

#[test]
fn somebody_else_and_machines_hear_nothing() {
    let mut said = Told::new(setup());
    said.patient("You have the wrong number.");
    assert_eq!(said.record().identity.status, IdentityStatus::WrongPerson);
    let mut marked = Told::new(setup());
    marked.tool("mark_wrong_person", json!({}));
    assert_eq!(marked.record().identity.status, IdentityStatus::WrongPerson);
    let mut detected = Told::new(setup());
    detected.input(VisitInput::AnsweringMachine);
    assert_eq!(detected.record().identity.status, IdentityStatus::Voicemail);
    assert!(detected.visit.is_machine());
    assert!(detected.last_text().contains("automated call for Ada"), "{}", detected.last_text());
    let mut noticed = Told::new(setup());
    noticed.input(VisitInput::SystemTool("voicemail_detection"));
    assert_eq!(noticed.record().identity.status, IdentityStatus::Voicemail);
    for told in [&mut said, &mut marked, &mut detected, &mut noticed] {
        told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
        told.tool("record_answer", json!({"question": "weight", "value": 180}));
        told.tool("transfer_to_nurse", json!({"reason": "curious"}));
        told.tool("start_task", json!({"task": "counting"}));
        told.keys("4711");
        told.wait(120_000);
        assert_tells_nothing(told);
        assert_eq!(told.windows(), 0);
        assert_eq!(told.count(|output| matches!(output, VisitOutput::Transfer { .. })), 0);
        assert!(told.record().answers.iter().all(|answer| !answer.answered));
        assert_ne!(told.record().identity.status, IdentityStatus::Identified);
    }
}

#[test]
fn an_identified_patient_does_not_become_a_machine() {
    let mut told = Told::begun();
    told.input(VisitInput::SystemTool("voicemail_detection"));
    told.input(VisitInput::AnsweringMachine);
    assert!(!told.visit.is_machine());
    assert!(told.tool("mark_wrong_person", json!({}))["error"].is_string());
    assert_eq!(told.record().identity.status, IdentityStatus::Identified);
}

#[test]
fn before_identification_no_tool_tells_an_illness_or_takes_an_answer() {
    let mut told = Told::new(setup());
    for (name, parameters) in [
        ("record_answer", json!({"question": "weight", "value": 18_000})),
        ("record_answer", json!({"question": "nonsense", "value": 1})),
        ("record_answer", json!({"question": "dyspnea", "value": "rest"})),
        ("record_consent", json!({"given": true})),
        ("start_task", json!({"task": "speech"})),
        ("end_task", json!({})),
        ("verify_identity", json!({})),
        ("anything", json!({})),
    ] {
        told.tool(name, parameters);
    }
    told.patient("Who is this? I gained ten pounds.");
    assert_tells_nothing(&told);
    let record = told.record();
    assert_eq!(record.recording_consent, None, "nobody agrees for the patient");
    assert_eq!(told.count(|output| *output == VisitOutput::ConsentGiven), 0);
    assert!(record.answers.iter().all(|answer| !answer.answered));
    assert_eq!(told.windows(), 0);
}

#[test]
fn consent_is_asked_once_noted_and_kept() {
    let mut told = Told::new(setup());
    let reply = told.tool("verify_identity", json!({"pin": "4711"}));
    assert_eq!(next_of(&reply), "consent");
    told.patient("Yes, that is fine.");
    assert_eq!(told.count(|output| *output == VisitOutput::ConsentGiven), 1);
    told.tool("record_consent", json!({"given": "yes"}));
    assert_eq!(told.count(|output| *output == VisitOutput::ConsentGiven), 1);
    let mut told = Told::new(Setup { consent_on_file: true, ..setup() });
    let reply = told.tool("verify_identity", json!({"pin": "4711"}));
    assert_eq!(next_of(&reply), "feeling");
}

#[test]
fn refusing_erases_and_can_be_done_at_any_time() {
    let mut told = Told::new(setup());
    told.tool("verify_identity", json!({"pin": "4711"}));
    told.patient("No, I don't want that.");
    assert_eq!(told.record().recording_consent, Some(false));
    assert_eq!(told.count(|output| *output == VisitOutput::EraseRecording), 1);
    assert!(!told.visit.may_record());
    let mut told = Told::begun();
    told.tool("start_task", json!({"task": "counting"}));
    told.tool("record_consent", json!({"given": false}));
    assert_eq!(told.count(|output| *output == VisitOutput::CloseWindow), 1);
    assert_eq!(told.count(|output| *output == VisitOutput::EraseRecording), 1);
}

#[test]
fn no_to_a_question_of_an_impatient_agent_is_no_refusal() {
    let mut told = Told::new(setup());
    told.tool("verify_identity", json!({"pin": "4711"}));
    // The agent forgets to ask for consent.
    told.ask("swelling");
    told.patient("No, no swelling.");
    assert_eq!(told.record().recording_consent, None);
    assert_eq!(told.known("swelling").text(), Some("none"));
    told.agent("We record this call and measure your voice for your care team. Is that all right with you?");
    told.patient("Yes.");
    assert_eq!(told.record().recording_consent, Some(true));
    assert_eq!(told.known("swelling").text(), Some("none"));
}

#[test]
fn keys_answer_consent_and_questions() {
    let mut told = Told::new(setup());
    told.keys("4711");
    told.keys("1");
    assert_eq!(told.record().recording_consent, Some(true));
    told.tool("record_answer", json!({"question": "feeling", "value": "same"}));
    told.tool("record_answer", json!({"question": "dyspnea", "value": "usual"}));
    told.ask("orthopnea");
    told.keys("2");
    assert_eq!(told.known("orthopnea").yes(), Some(false));
    told.ask("weight");
    told.keys("182");
    assert!((told.known("weight").weight().unwrap().weight_kg.unwrap() - 82.55).abs() < 0.1);
    // What is no answer goes to the agent, and what may be a secret does not.
    told.ask("feeling");
    told.keys("5");
    assert!(told.last_text().contains("pressed 5"), "{}", told.last_text());
    let before = told.texts().len();
    told.keys("04011948");
    assert_eq!(told.texts().len(), before);
}

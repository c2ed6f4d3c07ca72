//! Order, silence, language, the end: a conversation that does not go by the book.

use super::{Told, next_of, setup};
use clinic::answers::Source;
use clinic::visit::{IdentityStatus, VisitInput, VisitOutput};
use serde_json::json;

#[test]
fn a_visit_by_the_book_is_complete() {
    let mut told = Told::begun();
    let answers = [("feeling", "same"), ("dyspnea", "none"), ("swelling", "none")];
    for (item, value) in answers {
        told.ask(item);
        told.tool("record_answer", json!({"question": item, "value": value}));
    }
    for task in ["counting", "sustained-vowel"] {
        told.tool("start_task", json!({"task": task}));
        told.wait(8_000);
        told.tool("end_task", json!({}));
        told.result(true);
    }
    told.tool("record_answer", json!({"question": "weight", "value": "182 lb"}));
    let last = told.tool("record_answer", json!({"question": "medications", "value": "as_prescribed"}));
    assert_eq!(next_of(&last), "close");
    let record = told.record();
    assert!(record.complete, "{record:?}");
    assert!(record.answers.iter().all(|answer| answer.answered));
    assert!(told.flags().is_empty());
}

#[test]
fn another_order_loses_nothing() {
    let mut told = Told::begun();
    told.ask("medications");
    told.patient("Yes, all of them, every day.");
    told.ask("swelling");
    told.patient("No, no swelling.");
    let reply = told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    assert_eq!(next_of(&reply), "dyspnea");
    let reply = told.tool("record_answer", json!({"question": "dyspnea", "value": "none"}));
    assert_eq!(next_of(&reply), "counting", "what was answered is not asked again");
    assert_eq!(told.known("medications").text(), Some("as_prescribed"));
    assert_eq!(told.known("swelling").text(), Some("none"));
}

#[test]
fn a_weight_is_understood_before_it_is_asked() {
    let mut told = Told::begun();
    told.ask("feeling");
    told.patient("About the same. I was 182 pounds this morning.");
    let weight = told.known("weight").weight().unwrap();
    assert!((weight.weight_kg.unwrap() - 82.55).abs() < 0.1, "{weight:?}");
    assert_eq!(told.known("weight").source, Some(Source::Transcript));
}

#[test]
fn three_silent_questions_end_the_visit() {
    let mut told = Told::begun();
    for _ in 0..3 {
        told.ask("feeling");
        told.wait(24_000);
        told.wait(2_000);
    }
    assert!(told.last_text().starts_with("Next: close"), "{}", told.last_text());
    let record = told.record();
    assert!(record.answers.iter().all(|answer| !answer.answered), "silence is no answer");
    assert!(!record.complete);
}

#[test]
fn silence_is_noticed_after_25_seconds_and_the_question_repeated() {
    let mut told = Told::begun();
    told.ask("dyspnea");
    let before = told.texts().len();
    told.wait(24_900);
    assert_eq!(told.texts().len(), before);
    told.wait(200);
    assert_eq!(told.texts().len(), before + 1);
}

#[test]
fn who_was_silent_and_is_back_is_asked_on() {
    let mut told = Told::begun();
    for _ in 0..3 {
        told.ask("feeling");
        told.wait(26_000);
    }
    told.patient("Hello? I am sorry, somebody was at the door.");
    assert!(told.last_text().starts_with("Next: question"), "{}", told.last_text());
}

#[test]
fn silence_while_asked_for_consent_ends_too() {
    let mut told = Told::new(setup());
    told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
    for _ in 0..3 {
        told.agent("We record this call and measure your voice for your care team. Is that all right with you?");
        told.wait(26_000);
    }
    assert!(told.last_text().starts_with("Next: close"), "{}", told.last_text());
}

#[test]
fn silence_before_identification_ends_neutrally() {
    let mut told = Told::new(setup());
    for _ in 0..3 {
        told.agent("Before we begin, please tell me your date of birth.");
        told.wait(26_000);
    }
    assert!(told.last_text().contains("cannot go on without knowing"), "{}", told.last_text());
    assert_eq!(told.record().identity.status, IdentityStatus::NotIdentified);
}

#[test]
fn the_visit_follows_the_agent_into_spanish_and_back() {
    let mut told = Told::begun();
    told.input(VisitInput::SystemTool("language_detection"));
    told.agent("Claro, hablamos en español, usted y yo. ¿Cómo se siente hoy? Le escucho.");
    assert_eq!(told.visit.language(), "es");
    assert!(told.last_text().contains("¿Cómo se siente hoy?"), "the next prompt is Spanish: {}", told.last_text());
    told.ask("swelling");
    told.patient("No, no tengo hinchazón.");
    assert_eq!(told.known("swelling").text(), Some("none"));
    // Without the tool, one sentence is a quotation, two are the language.
    told.agent("That is fine, I understand what you are saying.");
    assert_eq!(told.visit.language(), "es");
    told.agent("What is the weight you have on your scale?");
    assert_eq!(told.visit.language(), "en");
    assert_eq!(told.record().languages, ["en", "es", "en"]);
}

#[test]
fn changing_languages_for_ever_is_bounded() {
    let mut told = Told::begun();
    for _ in 0..200 {
        told.input(VisitInput::SystemTool("language_detection"));
        told.agent("Estoy bien, pero usted y los pies, muy bien hoy.");
        told.input(VisitInput::SystemTool("language_detection"));
        told.agent("It is what it is, and the weight is fine.");
    }
    assert_eq!(told.visit.language(), "en");
    let languages = told.record().languages;
    assert!(languages.len() <= 16 && languages.last().unwrap() == "en", "{languages:?}");
}

#[test]
fn a_call_that_breaks_off_keeps_what_was_known() {
    let mut told = Told::begun();
    told.ask("feeling");
    told.patient("Worse than yesterday.");
    told.tool("start_task", json!({"task": "counting"}));
    told.wait(3_000);
    told.input(VisitInput::Ended);
    let closed = told.count(|output| *output == VisitOutput::CloseWindow);
    assert_eq!((told.windows(), closed), (1, 1));
    let record = told.record();
    assert_eq!(told.known("feeling").text(), Some("worse"));
    let open: Vec<&str> = record.answers.iter().filter(|a| !a.answered).map(|a| a.question.as_str()).collect();
    assert_eq!(open, ["dyspnea", "swelling", "weight", "medications"]);
    assert!(!record.complete);
    assert_eq!(told.visit.deadline(), None);
}

#[test]
fn an_end_task_that_waits_when_the_call_ends_is_answered() {
    let mut told = Told::begun();
    told.tool("start_task", json!({"task": "counting"}));
    told.wait(5_000);
    told.tool("end_task", json!({}));
    told.input(VisitInput::Ended);
    assert_eq!(told.answer_to(&told.last_call())["ended"], true);
}

#[test]
fn a_new_agent_is_told_where_the_visit_stands() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "same"}));
    let before = told.texts().len();
    told.input(VisitInput::AgentConnected);
    assert_eq!(told.texts().len(), before + 1);
    assert!(told.last_text().contains("shortness of breath"), "{}", told.last_text());
    told.patient("My chest hurts.");
    let before = told.texts().len();
    told.input(VisitInput::AgentConnected);
    assert_eq!(told.texts().len(), before + 1);
    assert!(told.last_text().contains("9 1 1"), "{}", told.last_text());
}

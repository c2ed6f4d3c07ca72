//! Answers: repeated, changed, absurd, contradicted; and what follows from them.

use super::{Told, next_of};
use clinic::TimelineKind;
use clinic::answers::{AnswerValue, Source};
use serde_json::{Value, json};

fn noted(told: &Told) -> usize {
    told.noted(|kind| matches!(kind, TimelineKind::AnswerNoted { .. }))
}

#[test]
fn the_same_answer_twice_is_noted_once_and_a_changed_one_counts() {
    let mut told = Told::begun();
    let same = json!({"question": "swelling", "value": "none"});
    told.tool("record_answer", same.clone());
    let again = told.tool("record_answer", same);
    assert_eq!(again["recorded"], true);
    assert_eq!(noted(&told), 1);
    told.tool("record_answer", json!({"question": "swelling", "value": "worse"}));
    assert_eq!(told.known("swelling").text(), Some("worse"));
    assert!(told.known("swelling").conflicts.is_empty(), "a correction is no contradiction");
}

#[test]
fn an_absurd_weight_is_asked_again_and_then_left_open() {
    let mut told = Told::begun();
    for (question, value) in [("feeling", "same"), ("dyspnea", "none"), ("swelling", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    for task in ["counting", "sustained-vowel"] {
        told.tool("start_task", json!({"task": task}));
        told.tool("end_task", json!({}));
        told.result(true);
    }
    // The agent asks in its own words, so that only its tool calls show that it asked.
    told.agent("And what did the scale show?");
    let first = told.tool("record_answer", json!({"question": "weight", "value": 18_000}));
    assert_eq!((first["recorded"].clone(), next_of(&first)), (Value::Bool(false), "weight".to_owned()));
    assert!(!first["error"].as_str().unwrap().contains("18000"), "{first}");
    let second = told.tool("record_answer", json!({"question": "weight", "value": -5}));
    assert_eq!(next_of(&second), "medications", "a patient is not pestered: {second}");
    assert!(!told.known("weight").answered);
    // What comes after all is taken.
    told.tool("record_answer", json!({"question": "weight", "value": "182 lb"}));
    assert!(told.known("weight").answered);
}

#[test]
fn whatever_a_model_writes_is_answered_and_changes_nothing() {
    let mut told = Told::begun();
    let before = told.record();
    let long = format!("{{\"question\":\"feeling\",\"value\":\"{}\"}}", "a".repeat(20_000));
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for parameters in [
        "",
        "null",
        "[]",
        "7",
        "\"feeling\"",
        "{",
        "{}",
        "{\"question\":7}",
        "{\"question\":\"heart\",\"value\":1}",
        "{\"question\":\"feeling\"}",
        "{\"question\":\"feeling\",\"value\":{}}",
        "{\"question\":\"dyspnea\",\"value\":\"purple\"}",
        "{\"question\":\"counting\",\"value\":\"yes\"}",
        &long,
        &deep,
    ] {
        let reply = told.raw_tool("record_answer", parameters);
        assert!(reply["error"].is_string(), "{parameters:.40}: {reply}");
        assert!(!next_of(&reply).is_empty(), "{parameters:.40}: {reply}");
    }
    assert!(told.raw_tool("order_pizza", "{}")["error"].is_string());
    assert_eq!(told.record().answers, before.answers);
}

#[test]
fn what_the_agent_records_and_what_the_patient_said_are_both_shown() {
    let mut told = Told::begun();
    told.ask("swelling");
    told.patient("My ankles are more swollen than usual.");
    told.tool("record_answer", json!({"question": "swelling", "value": "none"}));
    let answer = told.known("swelling");
    assert_eq!((answer.text(), answer.source), (Some("none"), Some(Source::AgentTool)));
    assert_eq!(answer.conflicts.len(), 1);
    assert_eq!(answer.conflicts[0].value, AnswerValue::Text("worse".to_owned()));
}

#[test]
fn follow_ups_are_asked_when_they_apply_and_only_then() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "same"}));
    let reply = told.tool("record_answer", json!({"question": "dyspnea", "value": "exertion"}));
    assert_eq!(next_of(&reply), "orthopnea");
    let reply = told.tool("record_answer", json!({"question": "orthopnea", "value": "yes"}));
    assert_eq!(next_of(&reply), "nocturnal_dyspnea");
    // Corrected: the second follow-up is not asked any more, and the answer to the first is not lost.
    let reply = told.tool("record_answer", json!({"question": "dyspnea", "value": "none"}));
    assert_eq!(next_of(&reply), "swelling");
    assert_eq!(told.known("orthopnea").yes(), Some(true));
    assert!(told.record().answers.iter().all(|answer| answer.question != "nocturnal_dyspnea"));
}

#[test]
fn a_breathlessness_that_only_the_words_tell_is_followed_up() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "same"}));
    told.ask("dyspnea");
    told.patient("I get short of breath when I climb the stairs.");
    assert_eq!(told.known("dyspnea").text(), Some("exertion"));
    let reply = told.tool("record_answer", json!({"question": "dyspnea", "value": "none"}));
    assert_eq!(next_of(&reply), "orthopnea");
}

#[test]
fn no_to_another_question_does_not_undo_an_answer() {
    let mut told = Told::begun();
    told.ask("dyspnea");
    told.patient("I get short of breath when I climb the stairs.");
    told.agent("I see. And do you cough at all?");
    told.patient("No.");
    assert_eq!(told.known("dyspnea").text(), Some("exertion"));
}

#[test]
fn a_bare_yes_does_not_undo_clear_words() {
    let mut told = Told::begun();
    told.ask("swelling");
    told.patient("Just the usual swelling, same as always.");
    told.patient("Yes.");
    assert_eq!(told.known("swelling").text(), Some("usual"));
}

#[test]
fn the_goodbye_is_no_answer() {
    let mut told = Told::begun();
    told.ask("dyspnea");
    told.patient("I get short of breath when I climb the stairs.");
    let closing = clinic::protocol::Protocol::shipped().text("en", "closing", "Ada");
    told.agent(&closing);
    told.patient("No.");
    assert_eq!(told.known("dyspnea").text(), Some("exertion"));
}

#[test]
fn an_agent_without_tools_still_brings_answers_and_windows_home() {
    let mut told = Told::new(super::setup());
    told.agent("Hello Ada. Before we begin, please tell me your date of birth.");
    told.patient("April first nineteen forty eight.");
    told.agent("We record this call and measure your voice for your care team. Is that all right with you?");
    told.patient("Yes, that is fine.");
    for (item, words) in
        [("feeling", "About the same as yesterday."), ("dyspnea", "No, none at all."), ("swelling", "No, no swelling.")]
    {
        told.ask(item);
        told.patient(words);
    }
    told.ask("counting");
    told.agent("Take your time.");
    told.wait(9_000);
    told.patient("One two three four five six seven eight nine ten.");
    told.ask("vowel");
    told.agent("Go ahead.");
    told.wait(6_000);
    told.agent("Thank you. Now to your scale.");
    told.ask("weight");
    told.patient("I am a hundred and eighty two pounds.");
    told.ask("medications");
    told.patient("Yes, every day.");
    let record = told.record();
    let open: Vec<&str> = record.answers.iter().filter(|a| !a.answered).map(|a| a.question.as_str()).collect();
    assert!(open.is_empty(), "unanswered: {open:?}");
    let tasks: Vec<_> = record.tasks.iter().map(|task| (task.item.as_deref().unwrap(), task.attempt)).collect();
    assert_eq!(tasks, [("counting", 1), ("vowel", 1)]);
    assert!(record.complete);
}

#[test]
fn a_question_asked_too_often_is_left() {
    let mut told = Told::begun();
    for _ in 0..3 {
        told.ask("feeling");
        told.patient("Who is this calling?");
    }
    assert!(told.texts().last().unwrap().contains("shortness of breath"), "{}", told.last_text());
}

//! Voice tasks: windows, poor sound, forgotten and doubled tool calls.

use super::{Told, next_of, setup};
use clinic::TimelineKind;
use clinic::visit::{VisitInput, VisitOutput};
use serde_json::{Value, json};

/// The counting is due.
fn counting_due() -> Told {
    let mut told = Told::begun();
    for (question, value) in [("feeling", "same"), ("dyspnea", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    let reply = told.tool("record_answer", json!({"question": "swelling", "value": "none"}));
    assert_eq!(next_of(&reply), "counting");
    told
}

fn count(told: &mut Told) {
    told.tool("start_task", json!({"task": "counting"}));
    told.wait(8_000);
}

fn retries(told: &Told) -> usize {
    told.noted(|kind| matches!(kind, TimelineKind::TaskRetry { .. }))
}

#[test]
fn poor_sound_is_asked_for_again_exactly_once() {
    let mut told = counting_due();
    count(&mut told);
    assert_eq!(told.tool("end_task", json!({})), Value::Null, "the answer waits for the analysis");
    told.result(false);
    let reply = told.answer_to(&told.last_call());
    assert_eq!(next_of(&reply), "counting");
    assert!(reply["next"]["say"].as_str().unwrap().starts_with("The sound was not clear enough"), "{reply}");
    count(&mut told);
    let reply = told.tool("end_task", json!({}));
    assert_eq!(next_of(&reply), "vowel", "the second attempt is the last");
    told.result(false);
    assert_eq!(retries(&told), 1);
    let record = told.record();
    let attempts: Vec<_> = record.tasks.iter().map(|task| (task.attempt, task.usable)).collect();
    assert_eq!(attempts, [(1, Some(false)), (2, Some(false))]);
}

#[test]
fn good_sound_is_not_asked_for_again() {
    let mut told = counting_due();
    count(&mut told);
    told.tool("end_task", json!({}));
    told.result(true);
    assert_eq!(next_of(&told.answer_to(&told.last_call())), "vowel");
    assert_eq!(retries(&told), 0);
}

#[test]
fn a_result_that_takes_too_long_holds_nobody_up() {
    let mut told = counting_due();
    count(&mut told);
    told.tool("end_task", json!({}));
    told.wait(1_400);
    assert_eq!(told.answer_to(&told.last_call()), Value::Null);
    told.wait(200);
    assert_eq!(next_of(&told.answer_to(&told.last_call())), "vowel");
    told.result(false);
    assert!(told.last_text().contains("count from one to twenty"), "{}", told.last_text());
    assert_eq!(retries(&told), 1);
}

#[test]
fn a_result_after_the_call_is_kept() {
    let mut told = counting_due();
    count(&mut told);
    told.input(VisitInput::Ended);
    told.result(true);
    assert_eq!(told.record().tasks[0].usable, Some(true));
}

#[test]
fn an_analysis_that_never_answers_does_not_make_the_patient_count_for_ever() {
    let mut told = counting_due();
    told.ask("counting");
    told.patient("One two three four five.");
    told.wait(61_000);
    let reply = told.tool("record_answer", json!({"question": "swelling", "value": "none"}));
    assert_eq!(next_of(&reply), "vowel");
}

#[test]
fn nobody_is_asked_again_after_the_goodbye() {
    let mut told = counting_due();
    count(&mut told);
    told.tool("end_task", json!({}));
    told.wait(2_000);
    let closing = clinic::protocol::Protocol::shipped().text("en", "closing", "Ada");
    told.agent(&closing);
    told.result(false);
    assert_eq!(retries(&told), 0);
}

#[test]
fn who_refuses_recording_has_no_tasks() {
    let mut told = Told::new(setup());
    told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
    told.tool("record_consent", json!({"given": false}));
    assert_eq!(told.count(|output| *output == VisitOutput::EraseRecording), 1);
    for (question, value) in [("feeling", "same"), ("dyspnea", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    let reply = told.tool("record_answer", json!({"question": "swelling", "value": "none"}));
    assert_eq!(next_of(&reply), "weight");
    assert_eq!(told.tool("start_task", json!({"task": "counting"}))["started"], false);
    told.ask("counting");
    assert_eq!(told.windows(), 0);
}

#[test]
fn nothing_is_measured_before_the_patient_agreed() {
    let mut told = Told::new(setup());
    assert_eq!(told.tool("start_task", json!({"task": "counting"}))["started"], false);
    told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
    let reply = told.tool("start_task", json!({"task": "counting"}));
    assert_eq!((reply["started"].clone(), next_of(&reply)), (Value::Bool(false), "consent".to_owned()));
    told.ask("vowel");
    assert_eq!(told.windows(), 0);
}

#[test]
fn a_task_started_twice_has_one_window() {
    let mut told = counting_due();
    count(&mut told);
    assert_eq!(told.tool("start_task", json!({"task": "counting"}))["started"], "counting");
    assert_eq!((told.windows(), told.record().tasks.len()), (1, 1));
}

#[test]
fn a_task_ended_twice_goes_on_once() {
    let mut told = counting_due();
    count(&mut told);
    told.tool("end_task", json!({}));
    let first = told.last_call();
    let second = told.tool("end_task", json!({}));
    assert_eq!(next_of(&second), "vowel", "the first attempt is still being looked at: {second}");
    told.result(true);
    assert_eq!(told.answer_to(&first)["ended"], true);
}

#[test]
fn an_end_without_a_beginning_is_answered() {
    let mut told = counting_due();
    let reply = told.tool("end_task", json!({}));
    assert_eq!(next_of(&reply), "counting");
    assert_eq!(told.count(|output| *output == VisitOutput::CloseWindow), 0);
}

#[test]
fn the_next_task_is_not_done_because_the_one_before_it_ends() {
    let mut told = counting_due();
    count(&mut told);
    told.tool("end_task", json!({}));
    let ended = told.last_call();
    told.tool("start_task", json!({"task": "sustained_vowel"}));
    told.input(VisitInput::TaskResult { segment: 0, usable: false, reasons: &["clipped".to_owned()] });
    assert_eq!(next_of(&told.answer_to(&ended)), "counting");
    told.wait(2_000);
    told.tool("end_task", json!({}));
    told.result(false);
    assert_eq!(next_of(&told.answer_to(&told.last_call())), "counting", "both are asked for again");
    assert_eq!(retries(&told), 2);
}

#[test]
fn a_forgotten_end_does_not_swallow_the_next_answer() {
    let mut told = counting_due();
    count(&mut told);
    told.patient("One two three four five.");
    told.ask("weight");
    told.patient("182 pounds.");
    assert!(told.known("weight").answered);
    assert_eq!(told.count(|output| *output == VisitOutput::CloseWindow), 1);
}

#[test]
fn encouragement_does_not_end_a_task_and_going_on_does() {
    let mut told = counting_due();
    told.ask("counting");
    told.agent("Take your time, I am listening.");
    told.agent("Whenever you are ready.");
    let closed = |told: &Told| told.count(|output| *output == VisitOutput::CloseWindow);
    assert_eq!((told.windows(), closed(&told)), (1, 0));
    told.patient("One two three four five.");
    told.agent("Thank you, that was good.");
    assert_eq!(closed(&told), 1);
    // A held vowel gives no words; time tells.
    told.result(true);
    told.ask("vowel");
    told.wait(8_000);
    told.agent("Thank you. And what does your scale say?");
    assert_eq!((told.windows(), closed(&told)), (2, 2));
}

#[test]
fn a_window_does_not_stay_open_for_ever() {
    let mut told = counting_due();
    count(&mut told);
    told.wait(60_000);
    assert_eq!(told.count(|output| *output == VisitOutput::CloseWindow), 1);
}

#[test]
fn a_window_the_call_closed_is_not_closed_again() {
    let mut told = counting_due();
    count(&mut told);
    told.visit.handle(told.now_ms, VisitInput::WindowClosed);
    told.wait(120_000);
    assert_eq!(told.count(|output| *output == VisitOutput::CloseWindow), 0);
}

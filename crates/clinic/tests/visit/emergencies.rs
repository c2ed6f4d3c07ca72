//! Red flags: from words, answers, keys and the agent, in every part of a visit.

use super::{Told, next_of, setup};
use clinic::TimelineKind;
use clinic::visit::{Setup, VisitInput, VisitOutput};
use serde_json::json;

const WORDS: &str =
    "What you tell me can be an emergency. Please hang up and call 9 1 1 now, or have someone call for you.";

#[test]
fn chest_pain_is_told_to_the_staff_at_the_same_instant_in_every_phase() {
    let before = |_: &mut Told| {};
    let consent = |told: &mut Told| {
        told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
    };
    let question = |told: &mut Told| {
        told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
        told.tool("record_consent", json!({"given": true}));
        told.ask("swelling");
    };
    let task = |told: &mut Told| {
        told.tool("verify_identity", json!({"birth_date": "1948-04-01"}));
        told.tool("record_consent", json!({"given": true}));
        told.tool("start_task", json!({"task": "counting"}));
    };
    let wrong_person = |told: &mut Told| {
        told.tool("mark_wrong_person", json!({}));
    };
    let phases: [&dyn Fn(&mut Told); 5] = [&before, &consent, &question, &task, &wrong_person];
    for (number, phase) in phases.iter().enumerate() {
        let mut told = Told::new(setup());
        phase(&mut told);
        told.patient("One, two... my chest hurts.");
        assert_eq!(told.flags(), ["chest_pain"], "phase {number}");
        let at = told.outputs.iter().find(|(_, output)| matches!(output, VisitOutput::RedFlag(_))).unwrap().0;
        assert_eq!(at, told.now_ms, "phase {number}");
        assert!(told.last_text().contains("call 9 1 1 now"), "phase {number}: {}", told.last_text());
        let closed = told.count(|output| *output == VisitOutput::CloseWindow);
        assert_eq!(told.windows(), closed, "phase {number}: the window is closed");
    }
}

#[test]
fn a_red_flag_is_raised_once_whoever_notices_it() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.patient("My chest hurts, I tell you.");
    told.tool("report_red_flag", json!({"code": "Chest pain", "evidence": "my chest hurts"}));
    assert_eq!(told.flags(), ["chest_pain"]);
    told.tool("report_red_flag", json!({"code": "!", "evidence": "he sounds drunk"}));
    assert_eq!(told.flags(), ["chest_pain", "other"], "an agent that saw something is believed");
    let noted = told.noted(|kind| matches!(kind, TimelineKind::RedFlag { .. }));
    assert_eq!((noted, told.record().red_flags.len()), (2, 2));
}

#[test]
fn an_answer_can_be_a_red_flag() {
    let mut told = Told::begun();
    let reply = told.tool("record_answer", json!({"question": "dyspnea", "value": "rest"}));
    assert_eq!(told.flags(), ["breathless_at_rest"]);
    assert_eq!(next_of(&reply), "emergency");
    assert_eq!(told.record().red_flags[0].noticed_by, "answer");
}

#[test]
fn words_that_are_flag_and_answer_are_both() {
    let mut told = Told::begun();
    told.ask("dyspnea");
    told.patient("I am short of breath even sitting still.");
    assert_eq!(told.flags(), ["breathless_at_rest"]);
    assert_eq!(told.known("dyspnea").text(), Some("rest"));
    // "No" is about the nurse now.
    told.agent(WORDS);
    told.patient("No, no.");
    assert_eq!(told.known("dyspnea").text(), Some("rest"));
}

#[test]
fn no_more_questions_after_a_red_flag() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    for (question, value) in [("feeling", "worse"), ("swelling", "none")] {
        let reply = told.tool("record_answer", json!({"question": question, "value": value}));
        assert_eq!(next_of(&reply), "emergency");
    }
    assert_eq!(told.tool("start_task", json!({"task": "counting"}))["started"], false);
    told.ask("counting");
    assert_eq!(told.windows(), 0);
}

#[test]
fn an_agent_that_keeps_quiet_is_told_again_three_times_and_no_more() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.agent("Oh, I am sorry to hear that. Have you taken your pills?");
    told.wait(120_000);
    assert_eq!(told.prompts(), 3);
    assert!(told.texts().iter().filter(|text| text.contains("9 1 1")).count() >= 4);
}

#[test]
fn an_agent_that_says_the_words_is_left_alone() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.agent(WORDS);
    told.wait(20_000);
    assert_eq!(told.prompts(), 0);
    for (said, enough) in [
        (WORDS.replace("9 1 1", "911"), true),
        (WORDS.replace("9 1 1", "nine one one"), true),
        (WORDS.replace("9 1 1", "your doctor"), false),
        (WORDS.replace("call 9 1 1 now", "wait"), false),
    ] {
        let mut told = Told::begun();
        told.patient("My chest hurts.");
        told.agent(&said);
        told.wait(6_000);
        assert_eq!(told.prompts() == 0, enough, "{said}");
    }
}

#[test]
fn words_that_the_patient_talked_over_were_not_heard() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.agent(WORDS);
    assert_eq!(told.record().emergency_words_spoken, Some(true));
    told.input(VisitInput::AgentCutShort("What you tell me can"));
    assert_eq!(told.record().emergency_words_spoken, Some(false));
    told.patient("What? What did you say?");
    told.wait(6_000);
    assert_eq!(told.prompts(), 1);
    told.agent(WORDS);
    told.input(VisitInput::AgentCutShort(WORDS));
    told.wait(20_000);
    assert_eq!(told.prompts(), 1, "cut short after its last word");
}

#[test]
fn a_second_emergency_wants_its_own_words() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.agent(WORDS);
    told.patient("I don't want to live anymore.");
    assert_eq!(told.flags(), ["chest_pain", "self_harm"]);
    let text = told.last_text();
    assert!(text.contains("9 8 8") && text.contains("hang up and call 9 1 1"), "{text}");
    told.agent(WORDS);
    told.wait(6_000);
    assert_eq!(told.prompts(), 1, "the crisis line has to be named as well");
}

#[test]
fn who_is_afraid_in_another_language_is_heard_and_answered_in_it() {
    let mut told = Told::begun();
    told.ask("feeling");
    told.patient("Ay, me duele el pecho.");
    assert_eq!(told.flags(), ["chest_pain"]);
    assert!(told.last_text().contains("llame ahora al 9 1 1"), "{}", told.last_text());
    told.agent("Lo que me cuenta puede ser una emergencia. Por favor cuelgue y llame ahora al 911, o pida que alguien llame por usted.");
    told.wait(20_000);
    assert_eq!(told.prompts(), 0);
}

#[test]
fn to_hear_every_language_raises_nothing_that_the_own_one_does_not() {
    let sets = [("en", include_str!("../data/red_flags_en.jsonl")), ("es", include_str!("../data/red_flags_es.jsonl"))];
    let mut others = Vec::new();
    for (language, lines) in sets {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            let own = clinic::red_flags::detect(language, text, &[]);
            let mut told = Told::begun_with(Setup { language: language.to_owned(), ..setup() });
            told.patient(text);
            let own: Vec<String> = own.into_iter().map(|flag| flag.code).collect();
            if told.flags() != own {
                others.push((text.to_owned(), told.flags(), own));
            }
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn an_emergency_number_dialled_in_the_call_is_a_red_flag() {
    let mut told = Told::begun();
    told.ask("weight");
    told.keys("911");
    assert_eq!(told.flags(), ["dialled_for_help"]);
    assert!(told.last_text().contains("hang up"), "{}", told.last_text());
    told.keys("911");
    assert_eq!(told.flags().len(), 1);
    assert_eq!(told.prompts(), 2, "told each time, because it does not help to dial it again");
    assert!(!told.known("weight").answered);
}

#[test]
fn a_nurse_is_offered_called_refused_and_missed() {
    // Offered and wanted.
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    assert!(told.last_text().contains("connect you with a nurse"), "{}", told.last_text());
    let reply = told.tool("transfer_to_nurse", json!({"reason": "he wants it"}));
    assert_eq!(reply["transferring"], true);
    told.tool("transfer_to_nurse", json!({"reason": "again"}));
    let reasons: Vec<&str> = told
        .outputs
        .iter()
        .filter_map(|(_, output)| match output {
            VisitOutput::Transfer { reason } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["chest_pain"]);
    assert_eq!(told.record().transferred, Some(true));
    // Missed: the patient hears the number to call again, and no second offer.
    told.agent(WORDS);
    told.input(VisitInput::TransferFailed);
    let text = told.last_text();
    assert!(text.contains("9 1 1") && !text.contains("nurse"), "{text}");
    assert_eq!(told.record().transferred, Some(false));
    told.agent(WORDS);
    let reply = told.tool("record_answer", json!({"question": "feeling", "value": "worse"}));
    assert_eq!(next_of(&reply), "close");
    // Refused.
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    told.agent(WORDS);
    told.patient("No, no nurse, I just want to rest.");
    assert_eq!(told.count(|output| matches!(output, VisitOutput::Transfer { .. })), 0);
    // None there.
    let mut told = Told::begun_with(Setup { nurse_line: false, ..setup() });
    told.patient("My chest hurts.");
    assert!(!told.last_text().contains("nurse"));
    assert_eq!(told.tool("transfer_to_nurse", json!({}))["transferring"], false);
    assert_eq!(told.count(|output| matches!(output, VisitOutput::Transfer { .. })), 0);
}

#[test]
fn silence_after_an_emergency_comes_to_an_end() {
    let mut told = Told::begun();
    told.patient("My chest hurts.");
    for _ in 0..3 {
        told.agent(WORDS);
        told.wait(26_000);
    }
    assert!(told.last_text().starts_with("Next: close"), "{}", told.last_text());
    assert!(told.last_text().contains("9 1 1"));
}

#[test]
fn somebody_with_an_emergency_is_no_machine() {
    let mut told = Told::new(setup());
    told.patient("Hello? Hello? My chest hurts.");
    told.input(VisitInput::AnsweringMachine);
    told.input(VisitInput::SystemTool("voicemail_detection"));
    assert!(!told.visit.is_machine());
    let reply = told.tool("end_task", json!({}));
    assert_eq!(next_of(&reply), "emergency");
}

#[test]
fn a_flagged_caller_may_still_say_who_they_are() {
    let mut told = Told::new(setup());
    told.patient("My chest hurts.");
    told.patient("April first nineteen forty eight.");
    assert_eq!(told.record().identity.how.as_deref(), Some("spoken"));
    let mut told = Told::new(setup());
    told.patient("My chest hurts.");
    told.keys("4711");
    assert_eq!(told.record().identity.how.as_deref(), Some("dtmf"));
    assert!(told.texts().iter().all(|text| !text.contains("4 7 1 1")));
}

//! A visit led by a script: silence told by pages, answers by keys, and going on where an agent stopped.

use super::*;
use clinic::answers::{AnswerValue, Source, Topic};
use clinic::visit::{IdentityStatus, KeyLayout, StepKind};

impl Told {
    /// The script says what comes next; what that is.
    fn page(&mut self) -> StepKind {
        let step = self.visit.next_step();
        let keys = step.keys.as_ref().map(|keys| keys.say.clone()).unwrap_or_default();
        self.now_ms += 4_000;
        self.input(VisitInput::ScriptSaid(&format!("{} {keys}", step.say)));
        step.kind
    }

    /// The script asks, and the patient presses keys.
    fn page_keys(&mut self, digits: &str) -> StepKind {
        let kind = self.page();
        self.keys(digits);
        kind
    }

    fn page_of(&mut self, wanted: &str) {
        let kind = self.page();
        assert!(matches!(&kind, StepKind::Item { id, .. } if id == wanted), "{kind:?} and not {wanted}");
    }

    fn due(&self) -> StepKind {
        self.visit.peek_step().kind
    }

    fn value(&self, question: &str) -> Option<AnswerValue> {
        self.known(question).value
    }
}

/// Identified and agreed, all by keys.
fn begun_by_keys(setup: Setup) -> Told {
    let mut told = Told::new(setup);
    assert_eq!(told.page_keys("04011948"), StepKind::Identify);
    assert_eq!(told.page_keys("1"), StepKind::Consent);
    told
}

#[test]
fn the_typed_step_and_what_the_agent_is_told_are_one() {
    let mut told = Told::begun();
    let reply = told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    let step = told.visit.next_step();
    assert_eq!(reply["next"]["say"], step.say);
    assert_eq!(reply["next"]["item"], "dyspnea");
    assert_eq!(step.language, "en");
    assert!(matches!(step.kind, StepKind::Item { index: 1, topic: Topic::Dyspnea, .. }), "{:?}", step.kind);
    let keys = step.keys.unwrap();
    assert_eq!(keys.layout, KeyLayout::Choice(4));
    assert!(keys.say.starts_with("Press 1"), "{}", keys.say);
}

#[test]
fn every_question_is_answered_by_keys() {
    for (language, weight_unit, weight, kilograms) in
        [("en", WeightUnit::Lb, "182", 82.55), ("es", WeightUnit::Kg, "83", 83.0)]
    {
        let mut told = begun_by_keys(Setup { language: language.to_owned(), weight_unit, ..setup() });
        assert_eq!(told.record().identity.how.as_deref(), Some("dtmf"));
        for (item, key) in
            [("feeling", "3"), ("dyspnea", "3"), ("orthopnea", "1"), ("nocturnal_dyspnea", "2"), ("swelling", "1")]
        {
            told.page_of(item);
            told.keys(key);
        }
        for task in ["counting", "sustained-vowel"] {
            let kind = told.page();
            assert!(matches!(&kind, StepKind::Task { task: due, .. } if due.as_str() == task), "{kind:?}");
            told.input(VisitInput::TaskBegins);
            assert!(told.visit.is_listening());
            told.input(VisitInput::TaskOver);
            told.result(true);
        }
        let help = told.visit.next_step().keys.unwrap();
        assert_eq!(help.layout, KeyLayout::Number { digits: 3 });
        let unit = if weight_unit == WeightUnit::Lb { "pounds" } else { "kilos" };
        assert!(help.say.contains(unit), "{}", help.say);
        told.page_of("weight");
        told.keys(weight);
        told.page_of("medications");
        told.keys("2");
        assert_eq!(told.page(), StepKind::Closing);
        let record = told.record();
        assert!(record.complete && record.red_flags.is_empty());
        assert!(record.answers.iter().all(|answer| answer.source == Some(Source::Dtmf)), "{:?}", record.answers);
        assert_eq!(told.value("feeling"), Some(AnswerValue::Text("worse".to_owned())));
        assert_eq!(told.value("dyspnea"), Some(AnswerValue::Text("exertion".to_owned())));
        assert_eq!(told.value("orthopnea"), Some(AnswerValue::YesNo(true)));
        assert_eq!(told.value("nocturnal_dyspnea"), Some(AnswerValue::YesNo(false)));
        assert_eq!(told.value("swelling"), Some(AnswerValue::Text("none".to_owned())));
        assert_eq!(told.value("medications"), Some(AnswerValue::Text("missed_1_2".to_owned())));
        let weight_kg = told.known("weight").weight().unwrap().weight_kg.unwrap();
        assert!((weight_kg - kilograms).abs() < 0.01, "{weight_kg}");
        assert_eq!(told.windows(), 2);
    }
}

#[test]
fn a_choice_by_keys_counts_only_where_the_keys_were_explained() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    told.ask("dyspnea");
    // To somebody who was told nothing about keys, 1 means yes; the first choice is "none".
    told.keys("1");
    assert!(!told.known("dyspnea").answered);
    told.page_of("dyspnea");
    told.keys("1");
    assert_eq!(told.value("dyspnea"), Some(AnswerValue::Text("none".to_owned())));
}

#[test]
fn four_on_the_breathing_question_is_an_emergency() {
    let mut told = begun_by_keys(setup());
    told.page_of("feeling");
    told.keys("2");
    told.page_of("dyspnea");
    told.keys("4");
    assert_eq!(told.flags(), ["breathless_at_rest"]);
    assert_eq!(told.page(), StepKind::Emergency { offers_nurse: true });
    assert!(told.record().emergency_words_spoken.unwrap());
    told.input(VisitInput::Nurse(true));
    assert!(told.visit.wants_nurse());
    assert_eq!(told.noted(|kind| matches!(kind, TimelineKind::TransferRequested)), 1);
    assert_eq!(told.count(|output| matches!(output, VisitOutput::Transfer { .. })), 0, "the script connects by itself");
    told.input(VisitInput::TransferFailed);
    assert_eq!(told.page(), StepKind::Emergency { offers_nurse: false }, "the words are said once more");
    assert_eq!(told.page(), StepKind::Closing);
}

#[test]
fn who_says_nothing_in_an_emergency_is_connected() {
    let mut told = begun_by_keys(setup());
    told.page_of("feeling");
    told.patient("I have terrible chest pain");
    for _ in 0..2 {
        assert_eq!(told.page(), StepKind::Emergency { offers_nurse: true });
        assert!(!told.visit.wants_nurse());
        told.input(VisitInput::Silence);
    }
    assert!(told.visit.wants_nurse());
}

#[test]
fn two_silent_pages_leave_a_question_and_three_end_the_visit() {
    let mut told = begun_by_keys(setup());
    for _ in 0..2 {
        told.page_of("feeling");
        told.input(VisitInput::Silence);
    }
    told.page_of("dyspnea");
    told.input(VisitInput::Silence);
    assert_eq!(told.page(), StepKind::Closing);
    assert!(!told.record().complete);
    // A word in between begins the count anew.
    let mut told = begun_by_keys(setup());
    for item in ["feeling", "dyspnea", "swelling"] {
        for key in ["", "1"] {
            told.page_of(item);
            if key.is_empty() { told.input(VisitInput::Silence) } else { told.keys(key) }
        }
    }
    assert!(matches!(told.due(), StepKind::Task { .. }));
}

#[test]
fn time_alone_means_nothing_to_a_script() {
    let mut told = begun_by_keys(setup());
    told.page_of("feeling");
    told.wait(120_000);
    assert!(matches!(told.due(), StepKind::Item { id, .. } if id == "feeling"));
    told.keys("1");
    assert_eq!(told.value("feeling"), Some(AnswerValue::Text("better".to_owned())));
}

#[test]
fn nobody_asks_for_ever() {
    // Unclear answers at each step in turn: who is on the line, agreement, a question.
    let mut told = Told::new(setup());
    for _ in 0..3 {
        assert_eq!(told.page(), StepKind::Identify);
        told.input(VisitInput::Unclear);
    }
    assert_eq!(told.page(), StepKind::Neutral);
    assert_eq!(told.record().identity.status, IdentityStatus::NotIdentified);
    let mut told = Told::new(setup());
    told.page_keys("04011948");
    for _ in 0..3 {
        assert_eq!(told.page(), StepKind::Consent);
        told.patient("the weather is nice");
        told.input(VisitInput::Unclear);
    }
    assert_eq!(told.record().recording_consent, Some(false), "an agreement that nobody understands is none");
    for _ in 0..2 {
        told.page_of("feeling");
        told.input(VisitInput::Unclear);
    }
    told.page_of("dyspnea");
}

#[test]
fn zero_means_that_the_weight_is_not_known() {
    let mut told = begun_by_keys(setup());
    told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    for (question, value) in [("dyspnea", "none"), ("swelling", "none"), ("medications", "as_prescribed")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    for _ in 0..2 {
        told.page();
        told.input(VisitInput::TaskBegins);
        told.input(VisitInput::TaskOver);
        told.result(true);
    }
    told.page_of("weight");
    told.keys("0");
    assert_eq!(told.page(), StepKind::Closing);
    assert!(!told.known("weight").answered && told.record().complete);
}

#[test]
fn the_script_goes_on_where_the_agent_stopped() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    told.ask("dyspnea");
    told.input(VisitInput::AgentLost);
    let step = told.visit.next_step();
    assert!(matches!(&step.kind, StepKind::Item { id, .. } if id == "dyspnea"));
    assert!(!step.say.contains("did not quite get"), "nobody has misheard the patient: {}", step.say);
    told.page_of("dyspnea");
    told.keys("1");
    told.page_of("swelling");
    let answered = told.known("feeling");
    assert_eq!(answered.source, Some(Source::AgentTool));
}

#[test]
fn a_question_that_was_given_up_as_the_agent_went_is_asked_once_more() {
    let mut told = Told::begun();
    for _ in 0..3 {
        told.ask("feeling");
    }
    assert!(told.last_text().contains("shortness of breath"), "the agent is told to go on: {}", told.last_text());
    told.input(VisitInput::AgentLost);
    let step = told.visit.next_step();
    assert!(matches!(&step.kind, StepKind::Item { id, .. } if id == "feeling"), "{:?}", step.kind);
    // A patient who was answering is understood.
    told.ask("feeling");
    told.patient("About the same as always.");
    assert!(told.known("feeling").answered);
    assert!(!told.known("dyspnea").answered);
}

#[test]
fn a_question_whose_answer_is_not_known_stays_given_up_when_an_agent_comes_and_goes() {
    let mut told = begun_by_keys(setup());
    for (question, value) in [("feeling", "better"), ("dyspnea", "none"), ("swelling", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    for _ in 0..2 {
        told.page();
        told.input(VisitInput::TaskBegins);
        told.input(VisitInput::TaskOver);
        told.result(true);
    }
    told.page_of("weight");
    told.keys("0");
    told.input(VisitInput::AgentConnected);
    told.input(VisitInput::AgentLost);
    assert!(matches!(told.due(), StepKind::Item { id, .. } if id == "medications"), "{:?}", told.due());
}

#[test]
fn a_voice_task_that_the_agent_left_is_asked_again() {
    let mut told = Told::begun();
    for (question, value) in [("feeling", "better"), ("dyspnea", "none"), ("swelling", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    told.tool("start_task", json!({"task": "counting"}));
    told.input(VisitInput::AgentLost);
    assert_eq!(told.count(|output| matches!(output, VisitOutput::CloseWindow)), 1);
    let step = told.visit.next_step();
    assert!(matches!(&step.kind, StepKind::Task { id, .. } if id == "counting"));
    assert!(!step.say.contains("not clear"), "{}", step.say);
    // A patient who had counted to the end before the agent went is not asked again.
    told.result(true);
    assert!(matches!(told.due(), StepKind::Task { id, .. } if id == "vowel"));
}

#[test]
fn a_new_agent_restarts_nothing() {
    let mut told = Told::begun();
    told.tool("record_answer", json!({"question": "feeling", "value": "better"}));
    told.input(VisitInput::AgentLost);
    told.input(VisitInput::AgentConnected);
    assert!(told.last_text().contains("shortness of breath"), "{}", told.last_text());
    assert_eq!(told.record().recording_consent, Some(true));
}

#[test]
fn poor_sound_is_asked_for_again_by_the_script() {
    let mut told = begun_by_keys(setup());
    for (question, value) in [("feeling", "better"), ("dyspnea", "none"), ("swelling", "none")] {
        told.tool("record_answer", json!({"question": question, "value": value}));
    }
    told.page();
    told.input(VisitInput::TaskBegins);
    told.input(VisitInput::TaskOver);
    assert!(told.visit.awaits_result());
    told.result(false);
    assert!(!told.visit.awaits_result());
    let step = told.visit.next_step();
    assert!(matches!(&step.kind, StepKind::Task { id, .. } if id == "counting"));
    assert!(step.say.contains("not clear enough"), "{}", step.say);
}

#[test]
fn every_language_says_which_keys_to_press() {
    let protocol = Protocol::shipped();
    for code in protocol.languages.keys() {
        let texts = protocol.items.iter().filter(|item| item.topic().is_some()).map(|item| item.id.as_str());
        for name in texts.chain(["consent", "offer_nurse"]) {
            let words = protocol.key_words(code, name, "pounds");
            assert!(words.chars().any(|c| c.is_ascii_digit()), "{code} {name}: {words}");
            assert!(!words.contains('{') && words.chars().count() < 160, "{code} {name}: {words}");
        }
        for name in ["identify", "task"] {
            assert!(!protocol.key_words(code, name, "").is_empty(), "{code} {name}");
        }
    }
}

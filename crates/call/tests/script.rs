//! The script against a visit: pages in order, nothing counted twice, and documents as the phone company reads them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use call::script::{Addresses, Heard, NurseLine, Page, Script, Then};
use call::twilio::twiml::Stream;
use clinic::answers::WeightUnit;
use clinic::identity::{Identity, birth_date};
use clinic::protocol::Protocol;
use clinic::visit::{Setup, Visit, VisitInput, VisitOutput, replay};
use clinic::{TimelineEvent, TimelineKind};
use proptest::prelude::*;

fn setup(language: &str, nurse_line: bool) -> Setup {
    Setup {
        protocol: Protocol::shipped(),
        language: language.to_owned(),
        given_name: "Ada".to_owned(),
        identity: Identity { birth_date: birth_date("en", "1948-04-01").unwrap(), pin: Some("4711".to_owned()) },
        consent_on_file: false,
        nurse_line,
        weight_unit: WeightUnit::Lb,
    }
}

/// A call led by the script alone.
struct Line {
    script: Script,
    visit: Visit,
    now_ms: u64,
    page: Page,
    timeline: Vec<TimelineKind>,
    /// What is kept of the call, in the order and at the times of a real one.
    events: Vec<TimelineEvent>,
    outputs: Vec<VisitOutput>,
    segments: u32,
}

impl Line {
    fn begin(setup: Setup) -> Self {
        let (mut script, mut visit) = (Script::new(), Visit::new(setup));
        let page = script.next(&mut visit, 0, 0, Heard::Begin).page;
        let mut line = Self {
            script,
            visit,
            now_ms: 0,
            page,
            timeline: Vec::new(),
            events: Vec::new(),
            outputs: Vec::new(),
            segments: 0,
        };
        line.collect();
        line
    }

    fn collect(&mut self) {
        while let Some(output) = self.visit.poll() {
            if matches!(output, VisitOutput::OpenWindow(_)) {
                self.visit.handle(self.now_ms, VisitInput::WindowOpened { segment: self.segments });
                self.segments += 1;
            }
            self.outputs.push(output);
        }
    }

    fn post(&mut self, page: u64, heard: Heard<'_>) -> Page {
        self.now_ms += 5_000;
        let turn = self.script.next(&mut self.visit, self.now_ms, page, heard);
        let known = self.outputs.len();
        self.collect();
        let at_us = self.now_ms * 1_000;
        let mut keep = |kind: &TimelineKind| self.events.push(TimelineEvent { at_us, kind: kind.clone() });
        turn.heard.iter().for_each(&mut keep);
        for output in &self.outputs[known..] {
            if let VisitOutput::Record(kind) = output {
                keep(kind);
            }
        }
        turn.said.iter().for_each(&mut keep);
        self.timeline.extend(turn.heard);
        self.timeline.extend(turn.said);
        turn.page
    }

    fn answer(&mut self, heard: Heard<'_>) -> &Page {
        self.page = self.post(self.page.number, heard);
        &self.page
    }

    fn says(&self) -> String {
        self.page.say.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn keys(&mut self, keys: &str) {
        self.answer(Heard::Keys(keys));
    }

    fn speak(&mut self, text: &str) {
        self.answer(Heard::Speech { text, confidence: Some(0.9) });
    }

    fn task(&mut self) {
        assert_eq!(self.page.then, Then::Redirect, "{}", self.says());
        self.answer(Heard::Nothing);
        assert!(matches!(self.page.then, Then::Listen { .. }), "{:?}", self.page);
        assert!(self.visit.is_listening());
        self.answer(Heard::Nothing);
        assert!(!self.visit.is_listening());
        assert_eq!(self.page.then, Then::Wait { seconds: 1 });
        let segment = self.segments - 1;
        self.visit.handle(self.now_ms, VisitInput::TaskResult { segment, usable: true, reasons: &[] });
        self.collect();
        self.answer(Heard::Nothing);
    }
}

#[test]
fn a_whole_visit_by_voice() {
    let mut line = Line::begin(setup("en", false));
    assert!(line.says().starts_with("Hello Ada") && line.says().contains("date of birth"), "{}", line.says());
    line.speak("April first nineteen forty eight");
    line.speak("yes");
    line.speak("about the same as always");
    line.speak("no not at all");
    line.speak("no swelling");
    line.task();
    line.task();
    line.speak("182 pounds");
    line.speak("yes I am");
    assert_eq!(line.page.then, Then::Hangup, "{}", line.says());
    assert!(line.says().contains("that is all for today"));
    let record = line.visit.record();
    assert!(record.complete && record.answers.iter().all(|answer| answer.answered), "{record:?}");
    let said = line.timeline.iter().filter(|kind| matches!(kind, TimelineKind::AgentResponse { .. })).count();
    let heard = line.timeline.iter().filter(|kind| matches!(kind, TimelineKind::UserTranscript { .. })).count();
    assert_eq!((said, heard), (10 - 1, 7), "the transcript is whole, but for the first page that this test drops");
}

#[test]
fn a_whole_visit_by_keys_in_spanish() {
    let mut line = Line::begin(setup("es", false));
    assert!(line.page.say.iter().all(|(language, _)| language == "es"));
    for keys in ["4711", "1", "2", "1", "1"] {
        line.keys(keys);
    }
    line.task();
    line.task();
    line.keys("182");
    line.keys("1");
    assert_eq!(line.page.then, Then::Hangup, "{}", line.says());
    assert!(line.visit.record().complete);
    let digits = line.timeline.iter().filter(|kind| matches!(kind, TimelineKind::Dtmf { .. })).count();
    assert_eq!(digits, 4 + 1 + 3 + 3 + 1);
}

#[test]
fn a_page_that_is_posted_again_counts_once() {
    let mut line = Line::begin(setup("en", false));
    let first = line.page.clone();
    let second = line.post(1, Heard::Keys("4711"));
    assert_eq!(second.number, 2);
    // The same answer, another answer, and the beginning again, all late.
    let known = (line.timeline.len(), line.outputs.len());
    for heard in [Heard::Keys("4711"), Heard::Keys("9999"), Heard::Nothing, Heard::Begin] {
        assert_eq!(line.post(1, heard), second);
    }
    assert_eq!(line.post(0, Heard::Begin), second);
    assert_eq!(line.post(77, Heard::Keys("2")), second, "a page that never was");
    assert_eq!((line.timeline.len(), line.outputs.len()), known);
    assert_ne!(first, second);
    assert!(line.visit.record().identity.how.is_some());
}

#[test]
fn silence_gives_up_a_question_and_then_the_visit() {
    let mut line = Line::begin(setup("en", false));
    line.keys("4711");
    line.keys("1");
    assert!(line.says().contains("feeling"));
    line.answer(Heard::Nothing);
    assert!(line.says().contains("feeling"));
    line.answer(Heard::Nothing);
    assert!(line.says().contains("shortness of breath"));
    line.answer(Heard::Nothing);
    assert_eq!(line.page.then, Then::Hangup);
    assert!(line.says().contains("Goodbye"));
}

#[test]
fn who_is_not_identified_hears_nothing_of_health() {
    for wrong in ["01021950", "", "0000"] {
        let mut line = Line::begin(setup("en", true));
        let mut heard = line.says();
        for _ in 0..4 {
            line.answer(if wrong.is_empty() { Heard::Nothing } else { Heard::Keys(wrong) });
            heard += &line.says();
        }
        assert_eq!(line.page.then, Then::Hangup);
        for word in ["heart", "breath", "swelling", "weight", "medic", "nurse"] {
            assert!(!heard.to_lowercase().contains(word), "{word}: {heard}");
        }
    }
}

fn emergency(nurse_line: bool) -> Line {
    let mut line = Line::begin(setup("en", nurse_line));
    line.keys("4711");
    line.keys("1");
    line.speak("I have a crushing pain in my chest");
    assert!(line.outputs.iter().any(|output| matches!(output, VisitOutput::RedFlag(_))));
    assert!(line.says().contains("9 1 1"), "{}", line.says());
    line
}

#[test]
fn an_emergency_is_answered_at_once_and_connected_if_wanted() {
    let mut line = emergency(true);
    assert!(line.says().contains("nurse"));
    line.speak("yes please");
    assert_eq!(line.page.then, Then::DialNurse);
    line.answer(Heard::NurseResult { answered: true });
    assert_eq!(line.page.then, Then::Hangup);
    assert_eq!(line.visit.record().transferred, Some(true));

    let mut line = emergency(true);
    line.keys("1");
    line.answer(Heard::NurseResult { answered: false });
    assert!(line.says().contains("9 1 1"), "nobody came: {}", line.says());
    line.answer(Heard::Nothing);
    assert_eq!(line.page.then, Then::Hangup);
    assert_eq!(line.visit.record().transferred, Some(false));

    let mut line = emergency(true);
    line.speak("no");
    assert_eq!(line.page.then, Then::Hangup);
    assert!(line.says().contains("9 1 1"));
}

#[test]
fn whoever_wants_the_nurse_is_connected_whatever_else_they_say() {
    for text in [
        "yes, please, something is not right",
        "yes I'm not okay",
        "I don't want to hang up, yes, connect me",
        "please help me",
        "yeah not now later no wait yes",
    ] {
        let mut line = emergency(true);
        line.speak(text);
        assert_eq!(line.page.then, Then::DialNurse, "{text}");
    }
    for text in ["no", "no thank you", "no, I don't need a nurse"] {
        let mut line = emergency(true);
        line.speak(text);
        assert_eq!(line.page.then, Then::Hangup, "{text}");
    }
}

#[test]
fn in_an_emergency_the_number_comes_before_any_explanation() {
    let mut visit = Visit::new(setup("en", false));
    visit.handle(0, VisitInput::AgentConnected);
    visit.handle(1_000, VisitInput::PatientSaid("April first 1948"));
    visit.handle(2_000, VisitInput::PatientSaid("I have a crushing pain in my chest"));
    visit.handle(3_000, VisitInput::AgentLost);
    let page = Script::new().next(&mut visit, 4_000, 0, Heard::Begin).page;
    let said = page.say.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
    assert!(said.starts_with("What you tell me can be an emergency"), "{said}");
}

#[test]
fn a_weight_that_its_unit_does_not_explain_is_asked_again() {
    let mut line = Line::begin(setup("en", false));
    line.keys("4711");
    line.keys("1");
    for _ in 0..3 {
        line.keys("1");
    }
    line.task();
    line.task();
    assert!(line.says().contains("weigh"), "{}", line.says());
    line.keys("82");
    assert!(line.says().contains("weigh"), "82 lb is a child, 82 kg another unit: {}", line.says());
    line.keys("182");
    let record = line.visit.record();
    let weight = record.answers.iter().find(|answer| answer.question == "weight").unwrap();
    assert!(weight.answered, "{weight:?}");
}

#[test]
fn after_a_crash_keys_answer_the_question_they_were_pressed_for_and_no_other() {
    let mut line = Line::begin(setup("en", false));
    line.keys("4711");
    line.keys("1");
    line.keys("2");
    line.keys("2");
    let asked = line.says();
    line.speak("yes");
    let live = line.visit.record();
    let again = replay(setup("en", false), &line.events, &[]);
    let answers = |record: &clinic::visit::VisitRecord| {
        let values = record.answers.iter().map(|answer| (answer.question.clone(), format!("{:?}", answer.value)));
        values.collect::<Vec<_>>()
    };
    assert_eq!(answers(&again), answers(&live), "{asked}");
}

#[test]
fn without_a_nurse_the_number_is_said_twice() {
    let mut line = emergency(false);
    assert_eq!(line.page.then, Then::Redirect);
    line.answer(Heard::Nothing);
    assert_eq!(line.page.then, Then::Hangup);
    assert!(line.says().contains("9 1 1"));
    assert_eq!(line.visit.record().emergency_words_spoken, Some(true));
}

#[test]
fn somebody_dials_for_help_where_one_key_is_asked_for() {
    let mut line = Line::begin(setup("en", false));
    line.keys("4711");
    line.keys("1");
    line.page = line.post(line.page.number, Heard::Keys("9"));
    assert!(line.page.say.is_empty() && matches!(&line.page.then, Then::Gather(ask) if !ask.speech), "{:?}", line.page);
    line.keys("11");
    assert!(line.visit.record().red_flags.iter().any(|raised| raised.flag.code == "dialled_for_help"));
    assert!(line.says().contains("9 1 1"));
    // A slip of the finger is one.
    let mut line = Line::begin(setup("en", false));
    line.keys("4711");
    line.keys("1");
    line.keys("9");
    line.answer(Heard::Nothing);
    assert!(line.says().contains("feeling"), "{}", line.says());
    line.keys("1");
    assert!(line.says().contains("shortness"), "{}", line.says());
    assert!(line.visit.record().red_flags.is_empty());
}

#[test]
fn it_goes_on_where_the_agent_stopped() {
    let mut visit = Visit::new(setup("en", false));
    visit.handle(0, VisitInput::AgentConnected);
    visit.handle(
        1_000,
        VisitInput::AgentSaid("Hello Ada, this is your automated check-in call. What is your date of birth?"),
    );
    visit.handle(2_000, VisitInput::PatientSaid("April first 1948"));
    visit.handle(3_000, VisitInput::Tool { id: "1", name: "record_consent", parameters: r#"{"given":true}"# });
    let feeling = r#"{"question":"feeling","value":"better"}"#;
    visit.handle(4_000, VisitInput::Tool { id: "2", name: "record_answer", parameters: feeling });
    visit.handle(5_000, VisitInput::AgentLost);
    let page = Script::new().next(&mut visit, 6_000, 0, Heard::Begin).page;
    let texts: Vec<&str> = page.say.iter().map(|(_, text)| text.as_str()).collect();
    assert!(texts[0].contains("sorry for the interruption"), "{texts:?}");
    assert!(texts[2].contains("shortness of breath"), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("Hello")));
}

fn addresses() -> Addresses {
    Addresses {
        script: "https://hv.example.org/twilio/script".to_owned(),
        nurse: Some(NurseLine {
            number: "+15005550020".to_owned(),
            caller_id: Some("+15005550010".to_owned()),
            timeout_s: 20,
        }),
        fork: None,
        running: None,
    }
}

#[test]
fn pages_are_documents() {
    let mut line = Line::begin(setup("es", true));
    let fork = Some(Stream::new("wss://hv.example.org/twilio/fork").name("fork-1").parameter("ticket", "t"));
    let xml = line.page.document(&Addresses { fork, ..addresses() }).render().unwrap();
    let start = r##"<?xml version="1.0" encoding="UTF-8"?><Response><Start><Stream name="fork-1" url="wss://hv.example.org/twilio/fork" track="inbound_track"><Parameter name="ticket" value="t"/></Stream></Start><Gather input="speech dtmf" action="https://hv.example.org/twilio/script?page=1" method="POST" language="es-US" timeout="10" speechTimeout="2" finishOnKey="#" actionOnEmptyResult="true" profanityFilter="false"><Say language="es-US" voice="Polly.Lupe-Neural">Hola Ada"##;
    assert!(xml.starts_with(start), "{xml}");
    assert!(xml.ends_with("</Say></Gather></Response>"), "{xml}");
    for keys in ["4711", "1", "2", "1", "1"] {
        line.keys(keys);
    }
    let xml = line.page.document(&addresses()).render().unwrap();
    assert!(
        xml.ends_with(r#"<Redirect method="POST">https://hv.example.org/twilio/script?page=6</Redirect></Response>"#),
        "{xml}"
    );
    line.answer(Heard::Nothing);
    let listen = r#"<Response><Gather input="dtmf" action="https://hv.example.org/twilio/script?page=7" method="POST" timeout="60" numDigits="1" finishOnKey="" actionOnEmptyResult="true" profanityFilter="false"></Gather></Response>"#;
    assert!(line.page.document(&addresses()).render().unwrap().ends_with(listen));
    let mut line = emergency(true);
    line.keys("1");
    let dial = r#"<Dial action="https://hv.example.org/twilio/script?page=5" method="POST" timeout="20" answerOnBridge="true" callerId="+15005550010"><Number>+15005550020</Number></Dial></Response>"#;
    let xml = line.page.document(&addresses()).render().unwrap();
    assert!(xml.ends_with(dial), "{xml}");
    let running = Some("listen-1".to_owned());
    let xml = line.page.document(&Addresses { running, ..addresses() }).render().unwrap();
    assert!(xml.contains(r#"<Stop><Stream name="listen-1"/></Stop><Dial "#), "the nurse is not listened to: {xml}");
    let xml = line.page.document(&Addresses { nurse: None, ..addresses() }).render().unwrap();
    assert!(xml.contains("<Redirect"), "{xml}");
}

fn any_heard() -> impl Strategy<Value = (u64, u8, String)> {
    (0_u64..40, 0_u8..7, "[0-9#*]{0,9}|yes|no|worse|my chest hurts|182 pounds")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_conversation_ends(turns in prop::collection::vec(any_heard(), 0..80), nurse in any::<bool>()) {
        let mut line = Line::begin(setup("en", nurse));
        for (page, kind, text) in &turns {
            let heard = match kind {
                0 => Heard::Begin,
                1 => Heard::Speech { text, confidence: None },
                2 => Heard::Keys(text),
                3 => Heard::Listened,
                4 => Heard::NurseResult { answered: false },
                5 => Heard::NurseResult { answered: true },
                _ => Heard::Nothing,
            };
            // Half of what comes answers the current page, the rest is late or was never asked for.
            let number = if page % 2 == 0 { line.page.number } else { *page };
            line.page = line.post(number, heard);
            prop_assert!(line.page.document(&addresses()).render().is_ok(), "{:?}", line.page);
        }
        let mut left = 0;
        while line.page.then != Then::Hangup {
            line.answer(Heard::Nothing);
            left += 1;
            prop_assert!(left < 60, "{:?}", line.page);
        }
    }
}

//! Whatever happens, in whatever order.

use super::{Told, setup};
use clinic::protocol::Protocol;
use clinic::visit::{Setup, VisitInput, VisitOutput};
use proptest::prelude::*;

const SAID: [&str; 12] = [
    "yes",
    "no",
    "April first nineteen forty eight",
    "March third nineteen fifty",
    "my chest hurts",
    "I passed out in the kitchen",
    "182 pounds",
    "I get short of breath on the stairs",
    "wrong number",
    "me duele el pecho",
    "...",
    "one two three four five",
];
const CALLS: [(&str, &str); 18] = [
    ("verify_identity", r#"{"birth_date":"1948-04-01"}"#),
    ("verify_identity", r#"{"birth_date":"1950-01-01"}"#),
    ("record_consent", r#"{"given":true}"#),
    ("record_consent", r#"{"given":false}"#),
    ("record_answer", r#"{"question":"dyspnea","value":"exertion"}"#),
    ("record_answer", r#"{"question":"dyspnea","value":"rest"}"#),
    ("record_answer", r#"{"question":"weight","value":18000}"#),
    ("record_answer", r#"{"question":"feeling","value":"same"}"#),
    ("start_task", r#"{"task":"counting"}"#),
    ("start_task", r#"{"task":"sustained-vowel"}"#),
    ("start_task", r#"{"task":"speech"}"#),
    ("end_task", "{}"),
    ("end_task", "{}"),
    ("report_red_flag", r#"{"code":"fainting","evidence":"x"}"#),
    ("transfer_to_nurse", r#"{"reason":"x"}"#),
    ("mark_wrong_person", "{}"),
    ("nonsense", "{{{"),
    ("record_answer", "[]"),
];
const KEYS: [&str; 7] = ["1", "2", "4711", "0401", "1948", "911", "*"];
const ITEMS: [&str; 9] =
    ["feeling", "dyspnea", "orthopnea", "nocturnal_dyspnea", "swelling", "counting", "vowel", "weight", "medications"];
const OTHER: [&str; 4] = [
    "We record this call and measure your voice for your care team. Is that all right with you?",
    "What you tell me can be an emergency. Please hang up and call 911 now, or have someone call for you.",
    "Thank you, that is all for today. Your care team can see your answers. If you feel worse, do not wait: call your care team, or 911 in an emergency. Goodbye.",
    "Estoy bien, pero usted y los pies, muy bien hoy.",
];

#[derive(Debug, Clone)]
enum Event {
    Patient(usize),
    Asks(usize),
    Agent(usize),
    CutShort,
    Tool(usize),
    Keys(usize),
    System(bool),
    Result(u32, bool),
    WindowClosed,
    Machine,
    TransferFailed,
    Connected,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..SAID.len()).prop_map(Event::Patient),
        4 => (0..ITEMS.len()).prop_map(Event::Asks),
        2 => (0..OTHER.len()).prop_map(Event::Agent),
        1 => Just(Event::CutShort),
        8 => (0..CALLS.len()).prop_map(Event::Tool),
        2 => (0..KEYS.len()).prop_map(Event::Keys),
        1 => any::<bool>().prop_map(Event::System),
        3 => ((0..6u32), any::<bool>()).prop_map(|(segment, usable)| Event::Result(segment, usable)),
        1 => Just(Event::WindowClosed),
        1 => Just(Event::Machine),
        1 => Just(Event::TransferFailed),
        1 => Just(Event::Connected),
        3 => prop_oneof![Just(500), Just(1_500), Just(6_000), Just(26_000), Just(70_000)].prop_map(Event::Wait),
    ]
}

fn play(told: &mut Told, event: &Event) {
    match event {
        Event::Patient(index) => told.patient(SAID[*index]),
        Event::Asks(index) => told.ask(ITEMS[*index]),
        Event::Agent(index) => told.agent(OTHER[*index]),
        Event::CutShort => told.input(VisitInput::AgentCutShort("What you")),
        Event::Tool(index) => {
            let (name, parameters) = CALLS[*index];
            told.raw_tool(name, parameters);
        }
        Event::Keys(index) => told.keys(KEYS[*index]),
        Event::System(voicemail) => {
            told.input(VisitInput::SystemTool(if *voicemail { "voicemail_detection" } else { "language_detection" }));
        }
        Event::Result(segment, usable) => {
            told.input(VisitInput::TaskResult { segment: *segment, usable: *usable, reasons: &[] });
        }
        Event::WindowClosed => {
            // The call says so only of a window that is open.
            if told.open {
                told.open = false;
                told.input(VisitInput::WindowClosed);
            }
        }
        Event::Machine => told.input(VisitInput::AnsweringMachine),
        Event::TransferFailed => told.input(VisitInput::TransferFailed),
        Event::Connected => told.input(VisitInput::AgentConnected),
        Event::Wait(ms) => told.wait(*ms),
    }
}

proptest! {
    #[test]
    fn any_course_of_events_is_survived(events in prop::collection::vec(event(), 1..80), nurse_line: bool, consent_on_file: bool, begun: bool) {
        let setup = Setup { nurse_line, consent_on_file, ..setup() };
        let mut told = if begun { Told::begun_with(setup) } else { Told::new(setup) };
        for event in &events {
            let before = told.outputs.len();
            play(&mut told, event);
            prop_assert!(told.outputs.len() - before <= 40, "too much at once: {event:?}");
            // A window is open only while the patient is known, has agreed, and is in no emergency.
            let record = told.record();
            if told.open {
                prop_assert!(record.identity.how.is_some() && record.recording_consent == Some(true) && record.red_flags.is_empty());
            }
            // Until somebody is identified or speaks of an emergency, nothing tells what the call is about.
            if record.identity.how.is_none() && record.red_flags.is_empty() {
                super::identity::assert_tells_nothing(&told);
                prop_assert!(record.answers.iter().all(|answer| !answer.answered));
            }
            prop_assert!(record.tasks.len() <= 32 && record.red_flags.len() <= 32 && record.languages.len() <= 16);
        }
        let codes: Vec<String> = told.record().red_flags.iter().map(|raised| raised.flag.code.clone()).collect();
        prop_assert_eq!(&codes, &told.flags(), "every red flag reaches the staff, once");
        // Left alone, it comes to rest.
        told.wait(3_600_000);
        prop_assert!(told.visit.deadline().is_none_or(|due| due > told.now_ms));
        let (asked, answered) = (told.calls as usize, told.answered.len());
        prop_assert_eq!(asked, answered, "every tool call is answered");
        told.input(VisitInput::Ended);
        prop_assert!(!told.open);
        prop_assert!(told.visit.deadline().is_none());
    }

    #[test]
    fn who_says_the_chest_hurts_is_never_asked_a_question_after_it(events in prop::collection::vec(event(), 0..40)) {
        let mut told = Told::begun();
        for event in &events {
            play(&mut told, event);
        }
        told.patient("My chest hurts.");
        prop_assert!(told.flags().iter().any(|code| code == "chest_pain"));
        let from = told.outputs.len();
        for index in 0..CALLS.len() {
            play(&mut told, &Event::Tool(index));
        }
        for (_, output) in &told.outputs[from..] {
            let text = match output {
                VisitOutput::ToolResult { result, .. } => result,
                VisitOutput::Context { text, .. } | VisitOutput::Prompt(text) => text,
                VisitOutput::OpenWindow(_) => return Err(TestCaseError::fail("a window opened")),
                _ => continue,
            };
            for item in ITEMS {
                for language in ["en", "es"] {
                    prop_assert!(!text.contains(Protocol::shipped().prompt(language, item)), "{}", text);
                }
            }
        }
    }

    #[test]
    fn any_text_and_any_parameters_are_survived(said: String, name in "[a-z_]{0,20}", parameters: String, digits in "[0-9*A-D]{0,20}") {
        let mut told = Told::begun();
        told.patient(&said);
        told.agent(&said);
        told.raw_tool(&name, &parameters);
        told.raw_tool("record_answer", &parameters);
        told.keys(&digits);
        told.wait(200_000);
        prop_assert_eq!(told.calls as usize, told.answered.len());
    }
}

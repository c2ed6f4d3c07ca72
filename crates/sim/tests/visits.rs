//! Whole visits in simulated time: the shipped protocol, an agent that follows it, patients with voices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use call::agent::{AgentLeg, Init};
use call::engine::AnalysisStep;
use clinic::answers::WeightUnit;
use clinic::identity::Identity;
use clinic::protocol::Protocol;
use clinic::tools::VoiceTask;
use clinic::visit::{IdentityStatus, Setup};
use clinic::{CallOutcome, Segment, TimelineKind};
use sim::elevenlabs::{Script, SimConfig};
use sim::fast::{FastCall, FastReport, run};
use sim::patient::PatientScript;
use std::collections::HashMap;
use voice::{Analyzer, AnalyzerConfig, Channel, Task};

fn setup(language: &str) -> Setup {
    Setup {
        protocol: Protocol::shipped(),
        language: language.to_owned(),
        given_name: "Ada".to_owned(),
        identity: Identity { birth_date: jiff::civil::date(1948, 4, 1), pin: Some("4711".to_owned()) },
        consent_on_file: false,
        nurse_line: true,
        weight_unit: WeightUnit::Lb,
    }
}

fn visit(patient: PatientScript, setup: Setup) -> FastReport {
    let mut init = Init { user_id: Some("patient-7".into()), ..Init::default() };
    init.dynamic_variables.insert("patient_name".into(), setup.given_name.clone().into());
    init.dynamic_variables.insert("language".into(), setup.language.clone().into());
    let agent = SimConfig { script: Script::visit(), ..SimConfig::default() };
    let call = FastCall {
        agent,
        leg: AgentLeg::elevenlabs(init),
        config: call::CallConfig::default(),
        setup,
        patient,
        seed: 5,
    };
    let mut open: HashMap<u32, (VoiceTask, Analyzer)> = HashMap::new();
    run(call, move |step| analyze(&mut open, step))
}

fn analyze(open: &mut HashMap<u32, (VoiceTask, Analyzer)>, step: AnalysisStep) -> Option<Segment> {
    match step {
        AnalysisStep::Open { segment, task } => {
            let kind = match task {
                VoiceTask::Speech => Task::Speech,
                VoiceTask::Counting => Task::Counting,
                VoiceTask::SustainedVowel => Task::SustainedVowel,
            };
            let analyzer = Analyzer::new(AnalyzerConfig { task: kind, channel: Channel::Telephone });
            open.insert(segment, (task, analyzer));
            None
        }
        AnalysisStep::Push { segment, ulaw } => {
            open.get_mut(&segment).unwrap().1.push_ulaw(&ulaw);
            None
        }
        AnalysisStep::Gap { segment, samples } => {
            open.get_mut(&segment).unwrap().1.push_gap(samples as usize);
            None
        }
        AnalysisStep::Close { segment, spans } => {
            let (task, analyzer) = open.remove(&segment).unwrap();
            let report = serde_json::to_value(analyzer.finish().unwrap()).unwrap();
            Some(Segment { index: segment, task: task.as_str().to_owned(), spans, report })
        }
    }
}

/// The course of a visit, for whoever has to see why one went wrong.
fn transcript(report: &FastReport) -> String {
    let lines = report.events.iter().map(|event| {
        let what = match &event.kind {
            TimelineKind::UserTranscript { text } => format!("P: {text}"),
            TimelineKind::AgentResponse { text, .. } => format!("A: {text}"),
            TimelineKind::ToolCall { name, parameters, .. } => format!("   {name} {parameters}"),
            TimelineKind::ToolResult { result, .. } => format!("     -> {result}"),
            other => format!("   [{other:?}]"),
        };
        format!("{:>7} {what}", event.at_us / 1_000)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn scenario(name: &str, setup: Setup) -> FastReport {
    let report = visit(PatientScript::scenario(name).unwrap(), setup);
    // Shown where a test fails.
    println!("{}", transcript(&report));
    report
}

fn value(report: &FastReport, question: &str) -> String {
    let answer = report.record.answers.iter().find(|answer| answer.question == question);
    answer.map_or_else(String::new, |answer| serde_json::to_string(&answer.value).unwrap())
}

#[test]
fn a_stable_patient_completes_the_visit() {
    let report = scenario("stable", setup("en"));
    assert_eq!(report.summary.as_ref().unwrap().outcome, CallOutcome::Completed);
    assert_eq!(report.record.identity.status, IdentityStatus::Identified);
    assert_eq!(report.record.recording_consent, Some(true));
    assert!(report.record.complete && report.red_flags.is_empty(), "{:?}", report.record);
    assert_eq!(value(&report, "dyspnea"), "\"none\"");
    assert_eq!(value(&report, "swelling"), "\"none\"");
    assert_eq!(value(&report, "medications"), "\"as_prescribed\"");
    assert!(value(&report, "weight").contains("82.5"), "{}", value(&report, "weight"));
    let usable = report.record.tasks.iter().filter(|task| task.usable == Some(true)).count();
    assert_eq!((report.record.tasks.len(), usable), (2, 2), "{:?}", report.record.tasks);
}

#[test]
fn chest_pain_reaches_the_staff_and_the_nurse_takes_over() {
    let report = scenario("red-flag", setup("en"));
    let (at_ms, flag) = report.red_flags.first().unwrap();
    assert_eq!(flag.code, "chest_pain");
    let said = report
        .events
        .iter()
        .find(|event| matches!(&event.kind, TimelineKind::UserTranscript { text } if text.contains("chest pain")));
    assert_eq!(*at_ms, said.unwrap().at_us / 1_000, "at the very words");
    assert!(report.transferred_ms.unwrap() > *at_ms);
    assert_eq!(report.summary.as_ref().unwrap().outcome, CallOutcome::HandedOver);
    assert_eq!(report.record.emergency_words_spoken, Some(true));
    let asked = report.events.iter().filter(|event| {
        event.at_us / 1_000 > *at_ms
            && matches!(&event.kind, TimelineKind::AgentResponse { text, .. } if text.contains("shortness of breath"))
    });
    assert_eq!(asked.count(), 0, "no more questions");
}

#[test]
fn a_spanish_speaker_is_understood_in_spanish() {
    let report = scenario("spanish", setup("es"));
    assert!(report.record.complete, "{:?}", report.record);
    assert_eq!(report.record.languages, ["es"]);
    assert_eq!(value(&report, "swelling"), "\"none\"");
    assert!(value(&report, "weight").contains("72"), "{}", value(&report, "weight"));
    let agent: Vec<&str> = report
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            TimelineKind::AgentResponse { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(agent.iter().any(|text| text.contains("veinte")), "{agent:?}");
    assert!(agent.iter().all(|text| !text.contains("twenty")), "{agent:?}");
}

#[test]
fn poor_sound_is_asked_for_again_once_and_then_named() {
    let report = scenario("unusable-line", setup("en"));
    for task in ["counting", "sustained-vowel"] {
        let attempts: Vec<_> = report.record.tasks.iter().filter(|known| known.task == task).collect();
        assert_eq!(attempts.len(), 2, "{task}");
        assert!(attempts.iter().all(|attempt| attempt.usable == Some(false)), "{task}");
    }
    assert!(report.record.complete && value(&report, "medications").contains("as_prescribed"));
}

#[test]
fn a_wrong_number_learns_nothing() {
    let report = scenario("wrong-person", setup("en"));
    assert_eq!(report.record.identity.status, IdentityStatus::WrongPerson);
    for text in &report.to_agent {
        let lower = text.to_lowercase();
        for word in ["heart", "breath", "swelling", "medic", "weight"] {
            assert!(!lower.contains(word), "{word} in {text}");
        }
    }
    assert!(report.record.answers.iter().all(|answer| !answer.answered) && report.segments.len() <= 1);
}

#[test]
fn a_worsening_patient_sounds_and_says_worse_every_few_days() {
    let early = visit(PatientScript::worsening(14), setup("en"));
    let late = visit(PatientScript::worsening(1), setup("en"));
    println!("{}", transcript(&late));
    assert_eq!((value(&early, "dyspnea"), value(&late, "dyspnea")), ("\"none\"".into(), "\"exertion\"".into()));
    assert_eq!((value(&early, "orthopnea"), value(&late, "orthopnea")), (String::new(), "true".into()));
    let hnr = |report: &FastReport| {
        let vowel = report.segments.iter().find(|segment| segment.task == "sustained-vowel").unwrap();
        vowel.report.pointer("/measures/hnr_mean_db").and_then(serde_json::Value::as_f64).unwrap()
    };
    assert!(hnr(&late) < hnr(&early) - 3.0, "{} {}", hnr(&late), hnr(&early));
    assert!(late.red_flags.is_empty(), "{:?}", late.red_flags);
}

#[test]
fn the_timeline_alone_gives_the_same_record() {
    let names = ["stable", "worsening", "red-flag"];
    for name in names {
        let patient = PatientScript::scenario(name).unwrap();
        let report = visit(patient, setup("en"));
        let mut events = report.events.clone();
        let again = clinic::visit::replay(setup("en"), &events, &report.segments);
        let live = &report.record;
        assert_eq!(again.identity, live.identity, "{name}");
        assert_eq!(again.recording_consent, live.recording_consent, "{name}");
        assert_eq!(again.answers, live.answers, "{name}");
        let flags = |record: &clinic::visit::VisitRecord| {
            record.red_flags.iter().map(|raised| raised.flag.code.clone()).collect::<Vec<_>>()
        };
        assert_eq!(flags(&again), flags(live), "{name}");
        assert_eq!((again.complete, again.transferred), (live.complete, live.transferred), "{name}");
        assert_eq!(again.tasks, live.tasks, "{name}");

        // Cut off at any place it gives what was known there, and never more answers than the whole.
        while events.len() > 4 {
            events.truncate(events.len() * 2 / 3);
            let cut = clinic::visit::replay(setup("en"), &events, &report.segments);
            let noted = |kind: &TimelineKind| matches!(kind, TimelineKind::Identified { .. });
            let identified = events.iter().any(|event| noted(&event.kind));
            assert!(!identified || cut.identity.status == IdentityStatus::Identified, "{name}");
        }

        // What was concluded stays, where the words it came from are gone.
        let concluded = report.events.iter().filter(|event| {
            use TimelineKind::{AnswerNoted, Consent, Identified, RedFlag};
            matches!(event.kind, AnswerNoted { .. } | Identified { .. } | Consent { .. } | RedFlag { .. })
        });
        let concluded: Vec<_> = concluded.cloned().collect();
        let from_notes = clinic::visit::replay(setup("en"), &concluded, &[]);
        assert_eq!(from_notes.identity.status, live.identity.status, "{name}");
        assert_eq!(flags(&from_notes), flags(live), "{name}");
        for answer in live.answers.iter().filter(|answer| answer.value.is_some()) {
            let same = from_notes.answers.iter().find(|other| other.question == answer.question);
            assert_eq!(same.map(|other| &other.value), Some(&answer.value), "{name}");
        }
    }
}

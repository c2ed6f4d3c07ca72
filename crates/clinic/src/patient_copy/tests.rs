//! A hostile record: markup in every text there is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::answers::{Answer, AnswerValue, Source, Sourced, Topic, WeightReport};
use crate::red_flags::RedFlag;
use crate::schedule::Timetable;
use crate::visit::{IdentityRecord, IdentityStatus, RaisedFlag};
use crate::{CallId, CallOutcome, Direction, NewPatient, PatientId, ScheduleId};
use proptest::prelude::*;

const HOSTILE: &str = "</td><script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;\u{202e}";
const AT_US: i64 = 1_768_482_000_000_000; // 2026-01-15T13:00:00Z, eight in the morning in New York

fn record(text: &str) -> PatientRecord {
    let fields = ["MRN-1", "Ada Example", "+15005550006", "1948-04-01", "female", "en", "America/New_York"];
    let [number, name, phone, born, sex, language, zone] = fields;
    let mut details = NewPatient::from_fields(number, name, phone, born, sex, language, zone).unwrap();
    details.name = format!("Ada {text}");
    details.external_id = text.to_owned();
    let mut profile = CareProfile::default();
    profile.set("pin", "40417").unwrap();
    let id = PatientId::parse("p1").unwrap();
    let said = |value: &str| Sourced { value: AnswerValue::Text(value.to_owned()), source: Source::AgentTool };
    let weight = WeightReport { weight_kg: Some(73.0), change_kg: Some(1.5), days: Some(3) };
    let weight = Sourced { value: AnswerValue::Weight(weight), source: Source::AgentTool };
    let visit = VisitRecord {
        protocol: text.to_owned(),
        protocol_version: text.to_owned(),
        languages: vec!["en".to_owned()],
        identity: IdentityRecord { status: IdentityStatus::Identified, how: None, failed_attempts: 0 },
        recording_consent: Some(true),
        answers: vec![
            Answer::from_sources("dyspnea", Topic::Dyspnea, &[said("rest")]),
            Answer::from_sources(text, Topic::Text, &[said(text)]),
            Answer::from_sources("weight", Topic::Weight, &[weight]),
            Answer::unanswered("dizziness", Topic::Dizziness),
        ],
        tasks: Vec::new(),
        red_flags: vec![RaisedFlag {
            flag: RedFlag { code: "chest_pain".to_owned(), evidence: text.to_owned() },
            at_ms: 1,
            noticed_by: "transcript".to_owned(),
        }],
        emergency_words_spoken: Some(true),
        transferred: None,
        complete: true,
        degradations: Vec::new(),
    };
    let call = CallCopy {
        record: CallRecord {
            id: CallId::parse("call1").unwrap(),
            patient_id: Some(id.clone()),
            direction: Direction::Outbound,
            outcome: CallOutcome::Completed,
            end_cause: None,
            started_at_us: AT_US,
            ended_at_us: Some(AT_US + 187_000_000),
            agents: vec![text.to_owned()],
            turns: 4,
            interruptions: 0,
        },
        transcript: vec![SaidTurn { at_s: 61.0, is_agent: false, text: text.to_owned() }],
        visit: Some(visit),
        assessment: Some(json!({"overall_risk": 41.2, "risk_band": "review", "fluid_retention_risk": null,
            "contributions": [{"score": "overall", "factor": "weight_gain", "points": 18.0, "explanation": text}],
            "recommendations": [{"code": "x", "text": text}]})),
        segments: vec![Segment {
            index: 0,
            task: "sustained-vowel".to_owned(),
            spans: Vec::new(),
            report: json!({"measures": {"hnr_mean_db": 17.345, "cpps_db": null, text: 1}, "quality": {"usable": true}}),
        }],
        audio_files: vec![text.to_owned()],
    };
    let some = Some(text.to_owned());
    PatientRecord {
        prepared_at_us: AT_US + 3_600_000_000,
        profile,
        calls: vec![call],
        alerts: vec![AlertCopy {
            id: AlertId::parse("a1").unwrap(),
            kind: AlertKind::RedFlag,
            code: some.clone(),
            severity: Severity::Critical,
            status: AlertStatus::Resolved,
            summary: some.clone(),
            raised_at_us: AT_US,
            acknowledged_at_us: Some(AT_US),
            acknowledged_note: some.clone(),
            resolved_at_us: None,
            resolved_note: some.clone(),
        }],
        schedules: vec![Schedule {
            id: ScheduleId::parse("s1").unwrap(),
            patient_id: id.clone(),
            timetable: Timetable::daily(text, "2026-01-01".parse().unwrap()),
            paused: false,
        }],
        consents: vec![ConsentCopy { purpose: text.to_owned(), given: true, at_us: AT_US }],
        disclosures: vec![Disclosure {
            at_us: AT_US,
            who: text.to_owned(),
            role: some.clone(),
            action: text.to_owned(),
            reason: some,
        }],
        patient: Patient { id, details },
    }
}

/// Tags in the order of the page; attributes are not looked at.
fn tags(html: &str) -> Vec<&str> {
    let ends = |rest: &str| rest.find([' ', '>', '\n']).unwrap_or(rest.len());
    html.split('<').skip(1).map(|rest| &rest[..ends(rest)]).collect()
}

#[test]
fn markup_in_a_record_is_text_on_the_page() {
    for language in [CopyLanguage::English, CopyLanguage::Spanish] {
        let (hostile, harmless) = (record(HOSTILE).to_html(language), record("harmless").to_html(language));
        assert_eq!(tags(&hostile), tags(&harmless), "a text became markup");
        assert!(hostile.contains("&lt;script&gt;alert(&#39;x&#39;)") && !hostile.contains('\u{202e}'));
    }
}

proptest! {
    #[test]
    fn no_text_becomes_markup(text in "[<>&\"'a-z/!-]{1,40}") {
        let (page, plain) = (record(&text).to_html(CopyLanguage::English), record("x").to_html(CopyLanguage::English));
        prop_assert_eq!(tags(&page), tags(&plain));
    }
}

#[test]
fn the_page_opens_and_closes_every_element_and_names_its_language() {
    for (language, lang) in [(CopyLanguage::English, "en"), (CopyLanguage::Spanish, "es")] {
        let html = record("word").to_html(language);
        assert!(html.contains(&format!("<html lang=\"{lang}\">")));
        let mut open: Vec<&str> = Vec::new();
        for tag in tags(&html) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if matches!(tag, "meta" | "!DOCTYPE") => {}
                None => open.push(tag),
            }
        }
        assert_eq!(open, [] as [&str; 0]);
        assert_eq!(html.matches("<table>").count(), html.matches("<caption>").count());
        assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("src="), "nothing is fetched");
    }
}

#[test]
fn a_patient_reads_their_own_words_numbers_and_times() {
    let html = record("word").to_html(CopyLanguage::English);
    for expected in [
        "It is not a diagnosis",
        "Call of 2026-01-15 08:00",
        "3:07 min",
        "<td>Breathlessness</td><td>at rest</td>",
        "<td>Dizziness</td><td>not known</td>",
        "73.0 kg +1.5 kg (3 d)",
        "41 / 100 (review on the same day)",
        "<td>+18.0</td>",
        "<td>hnr mean</td><td>17.34 dB</td><td>How much tone your voice has beside noise; more is clearer.</td>",
        "<td>cpps</td><td>not known</td>",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    let html = record("word").to_html(CopyLanguage::of("es"));
    for expected in
        ["No es un diagnóstico", "<td>Falta de aire</td><td>en reposo</td>", "no se sabe", "<td lang=\"en\">word"]
    {
        assert!(html.contains(expected), "{expected}");
    }
}

#[test]
fn the_pin_is_in_neither_copy_and_everything_else_is_in_the_complete_one() {
    let record = record("word");
    let json = record.to_json();
    assert!(!json.to_string().contains("40417") && !record.to_html(CopyLanguage::English).contains("40417"));
    assert_eq!((&json["schema_version"], &json["profile"]["pin_set"]), (&json!(1), &json!(true)));
    assert_eq!(json["calls"][0]["started_at"], "2026-01-15T13:00:00Z");
    assert_eq!(json["calls"][0]["transcript"][0]["text"], "word");
    assert_eq!(json["calls"][0]["biomarkers"][0]["report"]["measures"]["hnr_mean_db"], 17.345);
    assert_eq!(json["calls"][0]["visit"]["answers"].as_array().unwrap().len(), 4);
    assert_eq!(json["calls"][0]["assessment"]["contributions"][0]["points"], 18.0);
    for part in ["alerts", "schedules", "consents", "disclosures"] {
        assert_eq!(json[part].as_array().unwrap().len(), 1, "{part}");
    }
    assert!(!format!("{record:?}").contains("Ada"));
}

#[test]
fn every_measure_of_the_voice_is_explained() {
    let measures = serde_json::to_value(voice::Measures::default()).unwrap();
    for name in measures.as_object().unwrap().keys() {
        for texts in [&texts::ENGLISH, &texts::SPANISH] {
            let speed = texts.meaning_of(name) == texts.meaning_of("speech_rate_syllables_per_s");
            let about_speed = ["syllables", "speech_rate", "articulation_rate", "words_per"];
            assert_eq!(speed, about_speed.iter().any(|start| name.starts_with(start)), "{name}");
        }
    }
}

//! Identifiers of all eighteen kinds are planted wherever a record has room for text; none may come out.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::answers::{Answer, AnswerValue, Source, Sourced, Topic, WeightReport};
use crate::facts::TaskFacts;
use crate::red_flags::RedFlag;
use crate::visit::{IdentityRecord, IdentityStatus, RaisedFlag};
use crate::{CallOutcome, Direction, EndCause, NewPatient, PatientId};
use proptest::prelude::*;
use serde_json::json;

/// One of each kind of 45 CFR 164.514(b)(2)(i), in its order.
const PLANTED: [&str; 18] = [
    "Quillfeather",
    "Dunwoody-30338",
    "1941-07-23",
    "5005550006",
    "5005550007",
    "ada@mail.test",
    "078-05-1120",
    "MRN-77441",
    "HPLAN-3391",
    "ACCT-88123",
    "LIC-D4410",
    "VIN-1HGCM826",
    "DEV-SN-0042",
    "https://ada.test/home",
    "198.51.100.77",
    "voiceprint-9f3a",
    "portrait-jpg",
    "CA00ffee11",
];
const ENROLLED_US: i64 = 1_767_614_400_000_000; // 2026-01-05T12:00:00Z
const DAY_US: i64 = 86_400_000_000;

fn planted() -> String {
    PLANTED.join(" ")
}

fn patient(birth_date: &str) -> Patient {
    let id = PatientId::parse("PATID-5512").unwrap();
    let name = format!("Ada {}", PLANTED[0]);
    let details =
        NewPatient::from_fields("MRN-77441", &name, "+15005550006", birth_date, "female", "en", "America/New_York");
    Patient { id, details: details.unwrap() }
}

fn profile() -> CareProfile {
    let mut profile = CareProfile::default();
    for (field, text) in [("pin", "40417"), ("dry_weight_kg", "71.6"), ("discharged_on", "2026-01-02")] {
        profile.set(field, text).unwrap();
    }
    profile
}

fn record(day: i64) -> CallRecord {
    CallRecord {
        id: CallId::parse(&format!("CA00ffee11-{day}")).unwrap(),
        patient_id: Some(PatientId::parse("PATID-5512").unwrap()),
        direction: Direction::Outbound,
        outcome: CallOutcome::Completed,
        end_cause: Some(EndCause::AgentFinished),
        started_at_us: ENROLLED_US + day * DAY_US,
        ended_at_us: Some(ENROLLED_US + day * DAY_US + 247_000_000),
        agents: vec![planted()],
        turns: 9,
        interruptions: 1,
    }
}

fn report() -> Value {
    json!({
        "engine_version": "0.3.0", "task": "sustained-vowel", "task_reason": planted(), "channel": "telephone",
        "sample_rate_hz": 8000, "start_s": 12.34567, "duration_s": 3.21987, "window": {"start_s": 12.9, "end_s": 14.4},
        "measures": {"f0_mean_hz": 187.43, "f0_sd_hz": 2.8431, "jitter_local_percent": 1.04321,
            "jitter_local_absolute_s": 0.00005566, "hnr_mean_db": 17.3456, "f1_mean_hz": 733.7, "pause_count": 3,
            "syllables": 5_005_550_006_i64, "cpps_db": "5005550006"},
        "pauses": [{"start_s": 1.98765, "duration_s": 0.76543}],
        "quality": {"usable": true, "snr_db": 31.2345, "clipped_fraction": 0.0, "voiced_s": 3.0,
            "reasons": ["noisy: 12 dB", planted()]},
        "validity": {"shimmer_local_percent": planted()},
    })
}

fn assessment() -> Value {
    json!({
        "call_id": "CA00ffee11", "patient_id": "PATID-5512", "assessed_at": "2026-01-15T12:05:00Z",
        "model": {"name": planted(), "version": "198.51.100.77"},
        "overall_risk": 41.25, "risk_interval": [30, 52.5], "risk_band": "review", "confidence": planted(),
        "fluid_retention_risk": 5_005_550_006_i64, "breathlessness_score": null,
        "red_flags": [{"code": "chest_pain", "evidence": planted()}],
        "contributions": [{"score": "overall", "factor": "weight_gain", "points": 18, "explanation": planted()},
            {"score": "overall", "factor": PLANTED[0], "points": 2, "explanation": planted()}],
        "score_contributions": [], "answers": [{"question": PLANTED[0], "value": planted()}],
        "baseline": {"calls": 14, "state": "established"}, "missing": [planted()],
        "recommendations": [{"code": PLANTED[0], "text": planted()}],
        "features": {"symptom_points": 18, "z_f0_median_hz": 1.23456, "z_hnr_mean_db": -0.98765, "Quillfeather": 1},
    })
}

fn facts(day: i64, report: Value) -> CallFacts {
    let text = |value: &str, source| Sourced { value: AnswerValue::Text(value.to_owned()), source };
    let weight = WeightReport { weight_kg: Some(73.26), change_kg: Some(1.4), days: Some(3) };
    let weight = Sourced { value: AnswerValue::Weight(weight), source: Source::Transcript };
    let number = Sourced { value: AnswerValue::Number(5_005_550_006.0), source: Source::Dtmf };
    let flag = |code: &str| RedFlag { code: code.to_owned(), evidence: planted() };
    let task = |task: &str| TaskFacts {
        item: Some(planted()),
        task: task.to_owned(),
        segment: 7,
        attempt: 1,
        usable: true,
        report: report.clone(),
    };
    CallFacts {
        call_id: record(day).id,
        at_us: record(day).started_at_us,
        outcome: CallOutcome::Completed,
        language: planted(),
        identified: true,
        answers: vec![
            Answer::from_sources(
                "dyspnea",
                Topic::Dyspnea,
                &[text("rest", Source::Dtmf), text(&planted(), Source::PostCall)],
            ),
            Answer::from_sources(PLANTED[0], Topic::Swelling, &[text(&planted(), Source::AgentTool)]),
            Answer::from_sources(PLANTED[0], Topic::Text, &[text(&planted(), Source::AgentTool)]),
            Answer::from_sources("zip", Topic::Number, &[number]),
            Answer::from_sources("weight", Topic::Weight, &[weight]),
        ],
        red_flags: vec![flag("chest_pain"), flag(PLANTED[0])],
        tasks: vec![task("sustained-vowel"), task(PLANTED[0])],
        dry_confirmed: false,
        alert_open: true,
    }
}

fn visit(facts: &CallFacts) -> VisitRecord {
    let raised = |flag: &RedFlag| RaisedFlag { flag: flag.clone(), at_ms: 4_711, noticed_by: planted() };
    VisitRecord {
        protocol: planted(),
        protocol_version: planted(),
        languages: vec![planted()],
        identity: IdentityRecord { status: IdentityStatus::Identified, how: Some(planted()), failed_attempts: 1 },
        recording_consent: Some(true),
        answers: facts.answers.clone(),
        tasks: Vec::new(),
        red_flags: facts.red_flags.iter().map(raised).collect(),
        emergency_words_spoken: Some(true),
        transferred: Some(false),
        complete: true,
        degradations: Vec::new(),
    }
}

const OPTIONS: Options = Options { smallest_cell: 0, year: 2026 };

/// Exports one patient with a call on day 10.
fn export(birth_date: &str, shift_days: u16, report: Value, assessment: &Value, identified: bool) -> Dataset {
    let (patient, profile, record) = (patient(birth_date), profile(), record(10));
    let mut facts = facts(10, report);
    facts.identified = identified;
    let visit = visit(&facts);
    let call = SubjectCall { record: &record, facts: Some(&facts), visit: Some(&visit), assessment: Some(assessment) };
    let alert = SubjectAlert {
        call_id: Some(&record.id),
        kind: AlertKind::RedFlag,
        code: Some(PLANTED[0]),
        severity: Severity::Critical,
        status: AlertStatus::Resolved,
        raised_at_us: record.started_at_us + 60_000_000,
        occurrences: 2,
        acknowledged_at_us: Some(record.started_at_us + 61 * 60_000_000),
        resolved_at_us: None,
    };
    let subject = Subject {
        pseudonym: Pseudonym::from_random([7; 10]),
        shift_days,
        patient: &patient,
        profile: &profile,
        enrolled_at_us: ENROLLED_US,
        calls: vec![call],
        alerts: vec![alert],
    };
    deidentify(&[subject], OPTIONS).unwrap()
}

fn all_text(dataset: &Dataset) -> String {
    dataset.files().into_iter().map(|file| format!("{}\n{}\n", file.name, file.content)).collect()
}

fn assert_no_identifier(text: &str) {
    for planted in PLANTED.into_iter().chain(["Ada ", "PATID", "40417", "ffee11", "2026-01", "187.4", "0.00005566"]) {
        assert!(!text.contains(planted), "{planted} came out");
    }
}

#[test]
fn no_identifier_comes_out_and_what_research_needs_does() {
    let dataset = export("1941-07-23", 100, report(), &assessment(), true);
    assert_no_identifier(&all_text(&dataset));
    let patient = &dataset.patients[0];
    assert_eq!((patient.age_years, patient.sex, patient.language), (Some(84), Some("female"), Some("en")));
    assert_eq!((patient.dry_weight_kg, patient.discharged_day), (Some(72.0), Some(97)));
    let call = &dataset.calls[0];
    assert_eq!((call.call, call.day, call.time_of_day, call.duration_s), (1, 110, Some("morning"), Some(250.0)));
    assert_eq!(dataset.answers[0].choice, Some("rest"));
    assert_eq!((dataset.answers[1].answered, dataset.answers[1].choice), (true, None));
    assert_eq!(dataset.answers[4].weight_kg, Some(73.3));
    let codes: Vec<&str> = dataset.red_flags.iter().map(|flag| flag.code).collect();
    assert_eq!(codes, ["chest_pain", "other"]);
    let assessed = &dataset.assessments[0];
    assert_eq!((assessed.overall_risk, assessed.risk_band), (Some(41.3), Some("review")));
    assert_eq!((assessed.fluid_retention_risk, assessed.confidence, &assessed.model_version), (None, None, &None));
    let factors: Vec<&str> = dataset.contributions.iter().map(|part| part.factor).collect();
    assert_eq!(factors, ["weight_gain", "other"]);
    assert_eq!(dataset.voice.len(), 1, "a task that is none is left out");
    let voice = &dataset.voice[0];
    assert_eq!(voice.engine_version.as_deref(), Some("0.3.0"));
    assert_eq!((voice.measures["f0_mean_hz"], voice.measures["f1_mean_hz"]), (Some(185.0), Some(750.0)));
    assert_eq!((voice.measures["hnr_mean_db"], voice.measures["pause_count"]), (Some(17.3), Some(3.0)));
    assert_eq!((voice.measures["syllables"], voice.measures["cpps_db"]), (None, None));
    assert_eq!(voice.quality_reasons, "noisy other");
    let features: Vec<&str> = dataset.features.iter().map(|row| row.feature.as_str()).collect();
    assert_eq!(features, ["symptom_points", "z_hnr_mean_db"]);
    let alert = &dataset.alerts[0];
    assert_eq!((alert.day, alert.call, alert.code), (110, Some(1), Some("other")));
    assert_eq!((alert.acknowledged_after_min, alert.resolved_after_min), (Some(60), None));
}

#[test]
fn of_somebody_else_on_the_line_only_the_call_is_told() {
    let dataset = export("1941-07-23", 0, report(), &assessment(), false);
    assert_eq!(dataset.calls[0].identified, Some(false));
    assert!(dataset.answers.is_empty() && dataset.voice.is_empty() && dataset.assessments.is_empty());
    assert!(dataset.red_flags.is_empty() && dataset.features.is_empty());
}

#[test]
fn nobody_is_older_than_ninety_and_nobody_becomes_it_by_counting_days() {
    let age = |birth: &str| export(birth, 3, report(), &assessment(), true).patients[0].age_years;
    assert_eq!(age("1936-01-16"), Some(89), "the call is one day before the birthday");
    assert_eq!(age("1936-01-15"), Some(90), "turns 90 on the day of the call");
    assert_eq!(age("1920-05-05"), Some(90));
    assert_eq!(age("1936-01-05"), Some(90));
    assert_eq!(age("2030-01-01"), None, "born after enrolment");
}

#[test]
fn every_measure_is_either_told_or_left_out_on_purpose() {
    let report = serde_json::to_value(voice::Measures::default()).unwrap();
    let known: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let told = measures::ALLOWED.iter().map(|measure| measure.name);
    let decided: BTreeSet<&str> = told.chain(measures::LEFT_OUT.iter().map(|(name, _)| *name)).collect();
    assert_eq!(decided, known);
}

#[test]
fn every_value_has_a_column_and_every_column_a_meaning() {
    let dataset = export("1941-07-23", 1, report(), &assessment(), true);
    let files = dataset.files();
    for table in Table::ALL {
        let content = |ending: &str| {
            let name = format!("{}.{ending}", table.as_str());
            files.iter().find(|file| file.name == name).unwrap().content.clone()
        };
        let columns: BTreeSet<String> = table.columns().iter().map(|column| column.name.to_owned()).collect();
        assert!(table.columns().iter().all(|column| !column.meaning.is_empty()));
        assert_eq!(columns.len(), table.columns().len(), "{table:?}: a column twice");
        let mut reader = csv::Reader::from_reader(content("csv").into_bytes().leak() as &[u8]);
        let header: BTreeSet<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(header, columns);
        let rows = reader.records().count();
        assert_eq!(rows, content("jsonl").lines().count());
        assert!(rows > 0, "{table:?} is not covered");
        for line in content("jsonl").lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(row.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), columns);
        }
    }
    // What rows hold is what columns tell: nothing is dropped silently either.
    for (table, row) in [
        (Table::Patients, serde_json::to_value(&dataset.patients[0]).unwrap()),
        (Table::Calls, serde_json::to_value(&dataset.calls[0]).unwrap()),
        (Table::Voice, serde_json::to_value(&dataset.voice[0]).unwrap()),
        (Table::Alerts, serde_json::to_value(&dataset.alerts[0]).unwrap()),
    ] {
        let columns: BTreeSet<String> = table.columns().iter().map(|column| column.name.to_owned()).collect();
        assert_eq!(row.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), columns);
    }
    assert!(dictionary().lines().count() > 80);
}

#[test]
fn rare_languages_and_sexes_are_not_told() {
    let mut rows: Vec<PatientRow> = Vec::new();
    for (language, sex) in [("en", "female"), ("en", "female"), ("en", "male"), ("cy", "female")] {
        let mut row = export("1941-07-23", 1, report(), &assessment(), true).patients.remove(0);
        (row.language, row.sex) = (Some(language), Some(sex));
        rows.push(row);
    }
    people::hide_small_cells(&mut rows, 2);
    let told: Vec<_> = rows.iter().map(|row| (row.language, row.sex)).collect();
    let expected = [
        (Some("en"), Some("female")),
        (Some("en"), Some("female")),
        (Some("en"), None),
        (Some("other"), Some("female")),
    ];
    assert_eq!(told, expected);
    assert_eq!(people::alone(&rows), 2);
}

#[test]
fn two_patients_with_one_name_are_refused() {
    let (patient, profile) = (patient("1941-07-23"), profile());
    let subject = Subject {
        pseudonym: Pseudonym::from_random([1; 10]),
        shift_days: 0,
        patient: &patient,
        profile: &profile,
        enrolled_at_us: ENROLLED_US,
        calls: Vec::new(),
        alerts: Vec::new(),
    };
    let twice = [subject.clone(), subject.clone()];
    assert_eq!(deidentify(&twice, OPTIONS), Err(DeidentifyError::SamePseudonym));
    let far = Subject { shift_days: 365, ..subject };
    assert_eq!(deidentify(&[far], OPTIONS), Err(DeidentifyError::Shift { given: 365 }));
}

/// Puts `planted` at a place of `value`: instead of a leaf, or under a new name.
fn plant(value: &mut Value, path: &[usize], planted: &str, instead: bool) {
    let Some((step, rest)) = path.split_first() else {
        match value {
            Value::Object(map) if !instead => {
                map.insert(planted.to_owned(), json!(planted));
                map.insert("note".to_owned(), json!({"text": planted}));
            }
            Value::Array(items) if !instead => items.push(json!(planted)),
            other => *other = json!(planted),
        }
        return;
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let at = step % map.len();
            plant(map.values_mut().nth(at).unwrap(), rest, planted, instead);
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            plant(&mut items[at], rest, planted, instead);
        }
        other => *other = json!(planted),
    }
}

proptest! {
    #[test]
    fn whatever_is_written_into_a_record_does_not_come_out(
        path in prop::collection::vec(0_usize..40, 0..4),
        instead in any::<bool>(),
        into_report in any::<bool>(),
        which in 0_usize..18,
    ) {
        let (mut report, mut assessment) = (report(), assessment());
        plant(if into_report { &mut report } else { &mut assessment }, &path, PLANTED[which], instead);
        assert_no_identifier(&all_text(&export("1941-07-23", 200, report, &assessment, true)));
    }

    #[test]
    fn days_keep_their_distances_and_lose_their_dates(shift in 0_u16..365, bytes in any::<[u8; 10]>()) {
        let day = |shift| export("1941-07-23", shift, report(), &assessment(), true).calls[0].day;
        prop_assert_eq!(day(shift), 10 + i64::from(shift));
        prop_assert_eq!(Pseudonym::from_random(bytes).as_str().len(), 17);
    }
}

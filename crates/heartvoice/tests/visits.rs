//! Visits and trends on the command line.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::answers::{Answer, AnswerValue, Source, Sourced, Topic, WeightReport};
use clinic::risk::{self, Model};
use clinic::visit::VisitRecord;
use clinic::{CallId, CallOutcome, Direction, NewPatient, PatientId};
use common::{KEY, fails, json, succeeds};
use serde_json::{Value, json};
use std::path::Path;
use store::{MasterKey, NewCall, Store, StoreConfig, StoredVisit};
use tempfile::tempdir;

const STARTED_US: i64 = 1_767_225_600_000_000;
const DAY_US: i64 = 86_400_000_000;

fn settings() -> [(&'static str, &'static str); 1] {
    [("ENCRYPTION_KEY", KEY)]
}

/// A clinic with one patient who was called on so many days and gained weight on the last; a call without a visit is
/// the last of the calls.
fn clinic(dir: &Path, days: i64) -> (PatientId, Vec<CallId>) {
    let config = StoreConfig {
        database_url: format!("sqlite://{}", dir.join("heartvoice.db").display()),
        audio_dir: dir.join("heartvoice-audio"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap();
        let new = NewPatient::from_fields("A-1", "Ada Example", "+12025550101", "1948-04-01", "female", "en", "UTC");
        let patient = store.add_patient(&new.unwrap()).await.unwrap().id;
        let mut calls = Vec::new();
        for day in 0..=days {
            let new = NewCall {
                call_sid: &format!("CA{day}"),
                patient_id: Some(patient.clone()),
                direction: Direction::Outbound,
                started_at_us: STARTED_US + day * DAY_US,
            };
            let call = store.begin_call(new).await.unwrap();
            if day < days {
                let weight_kg = if day + 1 == days { 72.5 } else { 70.0 };
                store.save_visit(&call, &visit(&call.id, day, weight_kg)).await.unwrap();
            }
            calls.push(call.id);
        }
        store.close().await;
        (patient, calls)
    })
}

fn visit(call: &CallId, day: i64, weight_kg: f64) -> StoredVisit {
    let text = |word: &str, source| Sourced { value: AnswerValue::Text(word.into()), source };
    let weight = AnswerValue::Weight(WeightReport { weight_kg: Some(weight_kg), change_kg: None, days: None });
    let dyspnea = [text("rest", Source::AgentTool), text("usual", Source::Transcript)];
    let answers = vec![
        Answer::from_sources("dyspnea", Topic::Dyspnea, &dyspnea),
        Answer::from_sources("weight", Topic::Weight, &[Sourced { value: weight, source: Source::Dtmf }]),
        Answer::unanswered("swelling", Topic::Swelling),
    ];
    let flag = json!({"code": "chest_pain", "evidence": "an elephant", "at_ms": 9_000, "noticed_by": "transcript"});
    let record: VisitRecord = serde_json::from_value(json!({
        "protocol": "heart-failure", "protocol_version": "7", "languages": ["en"],
        "identity": {"status": "identified", "how": "dtmf", "failed_attempts": 0}, "recording_consent": true,
        "answers": answers, "tasks": [], "red_flags": if day == 0 { json!([flag]) } else { json!([]) },
        "emergency_words_spoken": null, "transferred": null, "complete": false}))
    .unwrap();
    let facts = record.facts(call, STARTED_US + day * DAY_US, CallOutcome::Completed, &[]);
    let profile = risk::Profile {
        sex: clinic::Sex::Female,
        birth_date: None,
        dry_weight_kg: None,
        discharged_on: None,
        today: jiff::civil::date(2026, 1, 1),
    };
    let at = jiff::Timestamp::from_microsecond(STARTED_US).unwrap();
    let assessment = Some(risk::assess(&Model::default(), &profile, &[], &facts).to_json(None, at));
    StoredVisit { record, facts, assessment, shadow: None }
}

#[test]
fn a_call_shows_what_was_learned_and_what_it_means() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (_, calls) = clinic(dir, 2);
    let (first, second, without) = (calls[0].as_str(), calls[1].as_str(), calls[2].as_str());
    let whole = json(dir, &["call", "show", second, "--format", "json"], &settings());
    assert_eq!((&whole["visit"]["call_id"], &whole["assessment"]["call_id"]), (&json!(second), &json!(second)));
    assert_eq!(whole["visit"]["answers"][0]["conflicts"], json!([{"value": "usual", "source": "transcript"}]));
    let risk = whole["assessment"]["overall_risk"].as_f64().unwrap();
    let band = whole["assessment"]["risk_band"].as_str().unwrap();

    let shown = succeeds(dir, &["call", "show", second], &settings());
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("dyspnea "), "dyspnea rest agent_tool usual (transcript)", "{shown}");
    assert_eq!(row("weight "), "weight 72.5 kg dtmf -");
    assert_eq!(row("swelling "), "swelling not answered - -");
    assert_eq!(row("identity"), "identity identified (dtmf)");
    assert_eq!((row("band"), row("overall risk")), (format!("band {band}"), format!("overall risk {risk:.0}")));
    assert!(row("missing").contains("swelling") && row("confidence").len() > "confidence".len(), "{shown}");
    for part in whole["assessment"]["contributions"].as_array().unwrap() {
        assert!(shown.contains(part["explanation"].as_str().unwrap()), "{part}");
    }
    for recommendation in whole["assessment"]["recommendations"].as_array().unwrap() {
        assert!(shown.contains(&format!("recommended: {}", recommendation["text"].as_str().unwrap())), "{shown}");
    }
    let flagged = succeeds(dir, &["call", "show", first], &settings());
    assert!(flagged.contains("chest_pain: \"an elephant\" (transcript)") && flagged.contains("emergency"), "{flagged}");

    let none = json(dir, &["call", "show", without, "--format", "json"], &settings());
    assert_eq!((&none["visit"], &none["assessment"]), (&Value::Null, &Value::Null));
    assert!(!succeeds(dir, &["call", "show", without], &settings()).contains("ASSESSMENT"));
}

#[test]
fn trends_are_a_table_of_all_or_the_calls_of_one() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (patient, calls) = clinic(dir, 4);
    let patient = patient.as_str();
    succeeds(dir, &["patient", "set", patient, "--dry-weight-kg", "70"], &settings());
    let all = succeeds(dir, &["patient", "trends", patient], &settings());
    let line = all.lines().find(|line| line.trim_start().starts_with("weight_kg")).unwrap();
    assert!(line.contains("72.5") && line.contains("69.0 to 71.0") && line.contains("weight_rule"), "{line}");
    let one = succeeds(dir, &["patient", "trends", patient, "--measure", "weight_kg"], &settings());
    assert!(one.starts_with("weight_kg: weight; normal for this patient: 69.0 to 71.0"), "{one}");
    assert_eq!(one.lines().filter(|line| line.contains("70.0")).count(), 3, "{one}");

    let args = ["patient", "trends", patient, "--measure", "weight_kg", "--format"];
    let csv = succeeds(dir, &[&args[..], &["csv"]].concat(), &settings());
    let lines: Vec<&str> = csv.trim().lines().collect();
    assert_eq!(lines[0], "measure,time,call_id,value,usable,source,line,change");
    assert_eq!(lines[4], format!("weight_kg,2026-01-04T00:00:00.000Z,{},72.5,yes,,,weight_rule", calls[3]));
    let found = json(dir, &[&args[..], &["json"]].concat(), &settings());
    assert_eq!((&found["patient_id"], &found["items"][0]["points"][3]["value"]), (&json!(patient), &json!(72.5)));
    let every = json(dir, &["patient", "trends", patient, "--format", "json"], &settings());
    assert_eq!(every["items"].as_array().unwrap().len(), clinic::trends::names().len());

    let reason = fails(dir, &["patient", "trends", patient, "--measure", "mood"], &settings(), 2);
    assert!(reason.contains("measure: no such measure; there are risk, weight_kg"), "{reason}");
    assert!(fails(dir, &["patient", "trends", "nobody"], &settings(), 1).contains("no such patient"));
}

#[test]
fn a_call_without_congestion_is_confirmed_and_taken_back() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let (_, calls) = clinic(dir, 1);
    let call = calls[0].as_str();
    let dry = || json(dir, &["call", "show", call, "--format", "json"], &settings())["visit"]["dry_confirmed"].clone();
    assert_eq!(dry(), false);
    succeeds(dir, &["patient", "confirm-dry", call], &settings());
    assert_eq!(dry(), true);
    assert!(succeeds(dir, &["call", "show", call], &settings()).contains("no congestion"));
    succeeds(dir, &["patient", "confirm-dry", call, "--undo"], &settings());
    assert_eq!(dry(), false);
    assert!(fails(dir, &["patient", "confirm-dry", calls[1].as_str()], &settings(), 1).contains("no such visit"));
}

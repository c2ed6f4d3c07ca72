//! What was learned in calls, by the programming interface.

use crate::client::{Client, STARTED};
use clinic::answers::{Answer, AnswerValue, Source, Sourced, Topic, WeightReport};
use clinic::risk::{self, Model};
use clinic::visit::VisitRecord;
use clinic::{CallId, CallOutcome, Direction};
use serde_json::{Value, json};
use store::{NewCall, StoredVisit};

const DAY_US: i64 = 86_400_000_000;

fn answers(weight_kg: f64, dyspnea: &str) -> Vec<Answer> {
    let text = |word: &str| AnswerValue::Text(word.into());
    let heard = |value, source| Sourced { value, source };
    let weight = AnswerValue::Weight(WeightReport { weight_kg: Some(weight_kg), change_kg: None, days: None });
    vec![
        Answer::from_sources(
            "dyspnea",
            Topic::Dyspnea,
            &[heard(text(dyspnea), Source::AgentTool), heard(text("usual"), Source::Transcript)],
        ),
        Answer::from_sources("weight", Topic::Weight, &[heard(weight, Source::Dtmf)]),
        Answer::unanswered("swelling", Topic::Swelling),
    ]
}

/// A visit on a day, assessed as the server does.
async fn visit(client: &Client, day: i64, weight_kg: f64, dyspnea: &str) -> CallId {
    let store = client.house.store();
    let new = NewCall {
        call_sid: &format!("CA{day}"),
        patient_id: Some(client.house.patient().clone()),
        direction: Direction::Outbound,
        started_at_us: STARTED + day * DAY_US,
    };
    let call = store.begin_call(new).await.unwrap();
    let record: VisitRecord = serde_json::from_value(json!({
        "protocol": "heart-failure", "protocol_version": "1", "languages": ["en"],
        "identity": {"status": "identified", "how": "spoken", "failed_attempts": 1}, "recording_consent": true,
        "answers": answers(weight_kg, dyspnea),
        "tasks": [{"item": "vowel", "task": "sustained-vowel", "attempt": 2, "segment": 1, "usable": true}],
        "red_flags": [], "emergency_words_spoken": null, "transferred": null, "complete": true}))
    .unwrap();
    let facts = record.facts(&call.id, STARTED + day * DAY_US, CallOutcome::Completed, &[]);
    let today = jiff::civil::date(2026, 1, 1) + jiff::Span::new().days(day);
    let sex = clinic::Sex::Female;
    let profile = risk::Profile { sex, birth_date: None, dry_weight_kg: None, discharged_on: None, today };
    let at = jiff::Timestamp::from_microsecond(STARTED).unwrap();
    let assessment = risk::assess(&Model::default(), &profile, &[], &facts);
    let assessment = Some(assessment.to_json(Some(client.house.patient()), at));
    store.save_visit(&call, &StoredVisit { record, facts, assessment, shadow: None }).await.unwrap();
    call.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_shows_answers_with_sources_and_contradictions_and_its_assessment() {
    let client = Client::new().await;
    let id = visit(&client, 0, 72.5, "rest").await;
    let (status, seen) = client.get(&format!("/calls/{id}/visit")).await;
    assert_eq!((status, &seen["call_id"], &seen["complete"]), (200, &json!(id), &json!(true)));
    assert_eq!(seen["identity"], json!({"status": "identified", "how": "spoken", "failed_attempts": 1}));
    assert_eq!(
        seen["answers"][0],
        json!({"question": "dyspnea", "topic": "dyspnea", "answered": true, "value": "rest", "source": "agent_tool",
            "conflicts": [{"value": "usual", "source": "transcript"}]})
    );
    assert_eq!(seen["answers"][1]["value"], json!({"weight_kg": 72.5}));
    assert_eq!((&seen["answers"][2]["answered"], &seen["answers"][2]["value"]), (&json!(false), &Value::Null));
    assert_eq!((&seen["tasks"][0]["attempt"], &seen["red_flags"]), (&json!(2), &json!([])));
    assert_eq!(seen["dry_confirmed"], false);

    let (status, assessment) = client.get(&format!("/calls/{id}/assessment")).await;
    assert_eq!((status, &assessment["call_id"]), (200, &json!(id)));
    assert_eq!(assessment["patient_id"], json!(client.house.patient()));
    let risk = assessment["overall_risk"].as_f64().unwrap();
    assert!(risk > 0.0 && assessment["risk_interval"][1].as_f64().unwrap() >= risk, "{assessment}");
    assert!(
        assessment["contributions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|part| part["explanation"].as_str().unwrap().contains("rest"))
    );
    assert!(assessment["missing"].as_array().unwrap().contains(&json!("swelling")));

    client.house.store().confirm_dry(&id, true).await.unwrap();
    assert_eq!(client.get(&format!("/calls/{id}/visit")).await.1["dry_confirmed"], true);
    client.house.store().confirm_dry(&id, false).await.unwrap();
    assert_eq!(client.get(&format!("/calls/{id}/visit")).await.1, seen, "nothing else was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_visit_says_so() {
    let client = Client::new().await;
    let new = NewCall { call_sid: "CA1", patient_id: None, direction: Direction::Inbound, started_at_us: STARTED };
    let call = client.house.store().begin_call(new).await.unwrap();
    for what in ["visit", "assessment"] {
        let (status, problem) = client.get(&format!("/calls/{}/{what}", call.id)).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
        assert!(problem["detail"].as_str().unwrap().starts_with(&format!("no such {what}")), "{problem}");
    }
    assert_eq!(client.house.store().confirm_dry(&call.id, true).await.unwrap_err().code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_show_the_course_what_is_normal_and_where_it_changed() {
    let client = Client::new().await;
    let patient = client.house.patient().clone();
    let path = format!("/patients/{patient}/trends");
    let (status, none) = client.get(&format!("{path}?measure=weight_kg")).await;
    assert_eq!((status, &none["items"][0]["points"]), (200, &json!([])));

    let mut care = clinic::care::CareProfile::default();
    care.set("dry_weight_kg", "70").unwrap();
    client.house.store().set_care_profile(&patient, &care).await.unwrap();
    let mut calls = Vec::new();
    for day in 0..4 {
        calls.push(visit(&client, day, 70.0, "none").await);
    }
    calls.push(visit(&client, 4, 72.5, "none").await);
    let (status, found) = client.get(&format!("{path}?measure=weight_kg")).await;
    assert_eq!((status, &found["patient_id"]), (200, &json!(patient)));
    let [trend] = found["items"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(trend["baseline"], json!({"centre": 70.0, "low": 69.0, "high": 71.0, "calls": 0}));
    let values: Vec<_> =
        trend["points"].as_array().unwrap().iter().map(|point| (&point["call_id"], &point["value"])).collect();
    assert_eq!((values.len(), values[4]), (5, (&json!(calls[4]), &json!(72.5))));
    assert_eq!(trend["points"][0]["time"], "2026-01-01T00:00:00Z");
    let [change] = trend["changes"].as_array().unwrap().as_slice() else { panic!("{trend}") };
    assert_eq!((&change["kind"], &change["call_id"]), (&json!("weight_rule"), &json!(calls[4])));

    let (_, all) = client.get(&path).await;
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|trend| trend["measure"].clone()).collect();
    assert_eq!(json!(names), json!(clinic::trends::names()));
    assert_eq!(&all["items"][1], trend);

    let (status, problem) = client.get(&format!("{path}?measure=Zelda")).await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(detail.contains("weight_kg, voice_composite") && !detail.contains("Zelda"), "{detail}");
}

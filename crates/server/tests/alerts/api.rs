//! The programming interface.

use crate::client::{Client, STARTED};
use crate::house::alert;
use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::{CallOutcome, Direction, Segment, TimelineEvent, TimelineKind};
use serde_json::{Value, json};
use store::{FinishCall, NewCall};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_a_valid_token() {
    let client = Client::new().await;
    let house = &client.house;
    let revoked = house.store().create_token("old", None, STARTED).await.unwrap();
    house.store().revoke_token(&revoked.record.id, STARTED).await.unwrap();
    let expired = house.store().create_token("past", Some(STARTED + 1), STARTED).await.unwrap();
    let wrong = format!("hv_{}", "0".repeat(64));
    for shown in [
        None,
        Some("Bearer".to_owned()),
        Some(format!("Bearer {wrong}")),
        Some(format!("Basic {}", client.token)),
        Some(format!("Bearer {}", *revoked.token)),
        Some(format!("Bearer {}", *expired.token)),
    ] {
        for path in ["/alerts", "/patients", "/calls", "/nothing"] {
            let mut request = house.http.get(format!("{}/api/v1{path}", house.base));
            if let Some(shown) = &shown {
                request = request.header("Authorization", shown);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{shown:?} {path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_eq!(response.json::<Value>().await.unwrap()["code"], "unauthorized");
        }
    }
    assert_eq!(client.get("/alerts").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_listed_taken_up_and_resolved() {
    let client = Client::new().await;
    let id = client.house.raise(Severity::Critical).await;
    let (status, list) = client.get("/alerts?status=unresolved&severity=urgent").await;
    assert_eq!(status, 200);
    assert_eq!(list["items"][0]["id"], id.as_str());
    assert_eq!(list["items"][0]["code"], "chest_pain");
    assert_eq!(list["next_cursor"], Value::Null);
    let raised_at = list["items"][0]["raised_at"].as_str().unwrap();
    assert!(raised_at.ends_with('Z') && raised_at.parse::<jiff::Timestamp>().is_ok(), "{raised_at}");
    let (status, taken) = client.post(&format!("/alerts/{id}/acknowledge"), r#"{"by":"Joy","note":"ringing"}"#).await;
    assert_eq!((status, &taken["status"]), (200, &json!("acknowledged")));
    assert_eq!(taken["acknowledged"]["by"], "Joy (tests)");
    let (status, again) = client.post(&format!("/alerts/{id}/acknowledge"), "").await;
    assert_eq!((status, &again["acknowledged"]["by"]), (200, &json!("Joy (tests)")));
    let (status, done) = client.post(&format!("/alerts/{id}/resolve"), r#"{"note":"ambulance"}"#).await;
    assert_eq!((status, &done["status"], &done["resolved"]["note"]), (200, &json!("resolved"), &json!("ambulance")));
    assert_eq!(client.post(&format!("/alerts/{id}/acknowledge"), "").await.0, 409);
    assert_eq!(client.get("/alerts?status=open").await.1["items"], json!([]));
    let (_, whole) = client.get(&format!("/alerts/{id}")).await;
    assert_eq!(whole["history"].as_array().unwrap().len(), 1);
    assert_eq!(whole["deliveries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_and_nothing_sent_is_repeated() {
    let client = Client::new().await;
    let id = client.house.raise(Severity::Critical).await;
    for path in [
        "/alerts?limit=0",
        "/alerts?limit=201",
        "/alerts?limit=Zelda",
        "/alerts?status=Zelda",
        "/alerts?severity=Zelda",
        "/alerts?cursor=Zelda%20Z",
        "/calls?cursor=Zelda",
        "/schedules?cursor=Zelda%20Z",
    ] {
        let (status, problem) = client.get(path).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{path}");
        assert!(!problem.to_string().contains("Zelda"), "{problem}");
    }
    for body in ["{", "[]", r#"{"note":5}"#, r#"{"nurse":"Zelda"}"#, &format!(r#"{{"by":"{}"}}"#, "Z".repeat(61))] {
        let (status, problem) = client.post(&format!("/alerts/{id}/resolve"), body).await;
        assert_eq!(status, 400, "{body}");
        assert!(!problem.to_string().contains("Zelda"));
    }
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(20_000));
    let (status, problem) = client.post(&format!("/alerts/{id}/resolve"), &long).await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")));
    for path in [
        "/alerts/none",
        "/alerts/Zelda%20Quagmire",
        "/patients/none",
        "/patients/none/calls",
        "/calls/none",
        "/calls/none/events",
        "/calls/none/biomarkers",
        "/calls/none/transcript",
        "/calls/none/assessment",
        "/calls/none/visit",
        "/patients/none/trends",
        "/schedules/none",
        "/schedules/Zelda%20Quagmire",
        "/nothing",
    ] {
        let (status, problem) = client.get(path).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{path}");
        assert!(!problem.to_string().contains("Zelda"));
    }
    assert_eq!(client.post("/alerts", "").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_every_list_holds_each_item_once() {
    let client = Client::new().await;
    let store = client.house.store();
    let mut patients = vec![client.house.patient().to_string()];
    for n in 2..=7 {
        let (mrn, phone) = (format!("MRN-{n}"), format!("+1500555{n:04}"));
        let new = clinic::NewPatient::from_fields(&mrn, "B", &phone, "1950-01-01", "male", "en", "UTC").unwrap();
        patients.push(store.add_patient(&new).await.unwrap().id.to_string());
    }
    let (mut calls, mut alerts) = (Vec::new(), Vec::new());
    for n in 0..5_i64 {
        let new = NewCall {
            call_sid: &format!("CA{n}"),
            patient_id: Some(client.house.patient().clone()),
            direction: Direction::Inbound,
            started_at_us: STARTED + n * 1_000_000,
        };
        calls.insert(0, store.begin_call(new).await.unwrap().id.to_string());
        let new = NewAlert {
            code: format!("flag_{n}"),
            kind: AlertKind::RedFlag,
            ..alert(client.house.patient(), Severity::Info)
        };
        alerts.insert(0, store.raise_alert(&new, STARTED + n * 1_000).await.unwrap().id.to_string());
    }
    for limit in [1, 2, 5, 7, 200] {
        assert_eq!(client.walk("/patients", limit).await, patients, "{limit}");
        assert_eq!(client.walk("/calls", limit).await, calls, "{limit}");
        assert_eq!(client.walk(&format!("/patients/{}/calls", patients[0]), limit).await, calls, "{limit}");
        assert_eq!(client.walk(&format!("/patients/{}/calls", patients[1]), limit).await, [""; 0], "{limit}");
        assert_eq!(client.walk("/alerts", limit).await, alerts, "{limit}");
    }
    let (_, patient) = client.get(&format!("/patients/{}", patients[0])).await;
    assert_eq!((&patient["name"], &patient["external_id"]), (&json!("Ada Example"), &json!("MRN-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_shows_its_biomarkers_timeline_and_words() {
    let client = Client::new().await;
    let store = client.house.store();
    let new = NewCall {
        call_sid: "CA1",
        patient_id: Some(client.house.patient().clone()),
        direction: Direction::Outbound,
        started_at_us: STARTED,
    };
    let call = store.begin_call(new).await.unwrap();
    let kinds = [
        TimelineKind::PhoneConnected,
        TimelineKind::AgentResponse { text: "How are you?".into(), event_id: Some(1) },
        TimelineKind::UserTranscript { text: "Well, thank you.".into() },
    ];
    let events: Vec<_> = (1..).zip(kinds).map(|(s, kind)| TimelineEvent { at_us: s * 500_000, kind }).collect();
    store.append_events(&call, 0, &events).await.unwrap();
    let report =
        json!({"task": "sustained-vowel", "measures": {"jitter_local_percent": 0.5, "shimmer_local_db": null}});
    store
        .add_segment(&call, &Segment { index: 0, task: "sustained-vowel".into(), spans: vec![], report })
        .await
        .unwrap();
    let end = FinishCall {
        outcome: CallOutcome::Completed,
        end_cause: None,
        ended_at_us: STARTED + 90_500_000,
        agents: vec!["elevenlabs".into()],
        turns: 1,
        interruptions: 0,
    };
    store.finish_call(&call.id, end).await.unwrap();
    let path = format!("/calls/{}", call.id);
    let (_, shown) = client.get(&path).await;
    assert_eq!((&shown["outcome"], &shown["duration_s"]), (&json!("completed"), &json!(90.5)));
    assert_eq!(shown["started_at"], "2026-01-01T00:00:00.000Z");
    let (_, biomarkers) = client.get(&format!("{path}/biomarkers")).await;
    assert_eq!(biomarkers["items"][0]["measures"]["jitter_local_percent"], 0.5);
    assert_eq!(biomarkers["items"][0]["measures"]["shimmer_local_db"], Value::Null);
    let (_, transcript) = client.get(&format!("{path}/transcript")).await;
    let words: Vec<_> =
        transcript["items"].as_array().unwrap().iter().map(|turn| (&turn["role"], &turn["text"])).collect();
    assert_eq!(words, [(&json!("agent"), &json!("How are you?")), (&json!("patient"), &json!("Well, thank you."))]);
    let (_, first) = client.get(&format!("{path}/events?limit=2")).await;
    assert_eq!(first["items"][0], json!({"at_us": 500_000, "event": "phone_connected"}));
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, rest) = client.get(&format!("{path}/events?limit=2&cursor={cursor}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!((&rest["items"][0]["event"], &rest["next_cursor"]), (&json!("user_transcript"), &Value::Null));
}

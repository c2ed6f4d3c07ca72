//! What all of the interface has in common: tags, safe repetition, and requests that say what they are.

use crate::client::{Client, STARTED};
use clinic::alerts::Severity;
use clinic::{CallOutcome, Direction};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::time::Duration;
use store::{FinishCall, Frame, NewCall};

/// A request with headers of its own.
async fn send(client: &Client, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Response {
    let url = format!("{}/api/v1{path}", client.house.base);
    let mut request = client.house.http.request(method, url).bearer_auth(&client.token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn someone(mrn: &str) -> Value {
    json!({"external_id": mrn, "name": "Zelda Quagmire", "phone": "+15005550042", "birth_date": "1950-02-03"})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_already_is_not_sent_again() {
    let client = Client::new().await;
    let path = format!("/patients/{}", client.house.patient());
    let first = send(&client, Method::GET, &path, &[], None).await;
    let tag = header(&first, "etag");
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    let again = send(&client, Method::GET, &path, &[("if-none-match", &tag)], None).await;
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.clone()));
    assert!(!header(&again, "x-request-id").is_empty());
    assert_eq!(again.bytes().await.unwrap().len(), 0);
    let other = send(&client, Method::GET, &path, &[("if-none-match", "W/\"other\"")], None).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_decided_on_by_an_old_state_is_refused() {
    let client = Client::new().await;
    let path = format!("/patients/{}/care", client.house.patient());
    let change = json!({"dry_weight_kg": 72.5, "weight_unit": "kg", "pin": "4711"});
    let unsaid = send(&client, Method::PATCH, &path, &[], Some(change.clone())).await;
    assert_eq!(unsaid.status(), 428);
    let seen = send(&client, Method::GET, &path, &[], None).await;
    let tag = header(&seen, "etag");
    let done = send(&client, Method::PATCH, &path, &[("if-match", &tag)], Some(change.clone())).await;
    assert_eq!(done.status(), 200);
    let new_tag = header(&done, "etag");
    let body: Value = done.json().await.unwrap();
    assert_eq!((&body["dry_weight_kg"], &body["pin_set"]), (&json!(72.5), &json!(true)));
    assert!(!body.to_string().contains("4711"));
    let stale = send(&client, Method::PATCH, &path, &[("if-match", &tag)], Some(json!({"pin": null}))).await;
    assert_eq!(stale.status(), 412);
    let removed = send(&client, Method::PATCH, &path, &[("if-match", &new_tag)], Some(json!({"pin": null}))).await;
    let body: Value = removed.json().await.unwrap();
    assert_eq!(
        (&body["dry_weight_kg"], &body["pin_set"]),
        (&json!(72.5), &json!(false)),
        "only what was named changes"
    );
    for (field, value) in [
        ("dry_weight_kg", json!(7)),
        ("dry_weight_kg", json!("72")),
        ("pin", json!("Zelda")),
        ("discharged_on", json!("")),
        ("shoe", json!(1)),
    ] {
        let wrong = send(&client, Method::PATCH, &path, &[("if-match", "*")], Some(json!({field: value}))).await;
        assert_eq!(wrong.status(), 400, "{field}");
        let problem: Value = wrong.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(if field == "shoe" { "body" } else { field }), "{detail}");
        assert!(!detail.contains("Zelda"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_taken_up_by_the_state_that_was_seen_if_one_is_named() {
    let client = Client::new().await;
    let id = client.house.raise(Severity::Critical).await;
    let (path, take) = (format!("/alerts/{id}"), format!("/alerts/{id}/acknowledge"));
    let tag = header(&send(&client, Method::GET, &path, &[], None).await, "etag");
    let taken = send(&client, Method::POST, &take, &[("if-match", &tag)], None).await;
    assert_eq!(taken.status(), 200);
    let stale = send(&client, Method::POST, &format!("/alerts/{id}/resolve"), &[("if-match", &tag)], None).await;
    assert_eq!(stale.status(), 412);
    assert_eq!(client.get(&path).await.1["status"], "acknowledged");
    let now = header(&taken, "etag");
    let done = send(&client, Method::POST, &format!("/alerts/{id}/resolve"), &[("if-match", &now)], None).await;
    assert_eq!(done.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_is_added_once_however_often_it_is_asked() {
    let client = Client::new().await;
    let keyed = [("idempotency-key", "3f0c-1")];
    let first = send(&client, Method::POST, "/patients", &keyed, Some(someone("MRN-2"))).await;
    assert_eq!(first.status(), 201);
    let (place, tag, id) = (header(&first, "location"), header(&first, "etag"), header(&first, "x-request-id"));
    let added: Value = first.json().await.unwrap();
    assert_eq!(place, format!("/api/v1/patients/{}", added["id"].as_str().unwrap()));
    assert_eq!(
        (&added["sex"], &added["language"], &added["timezone"]),
        (&json!("unknown"), &json!("en"), &json!("UTC"))
    );
    let again = send(&client, Method::POST, "/patients", &keyed, Some(someone("MRN-2"))).await;
    assert_eq!((again.status().as_u16(), header(&again, "location"), header(&again, "etag")), (201, place, tag));
    assert_eq!(header(&again, "idempotency-replayed"), "true");
    assert_ne!(header(&again, "x-request-id"), id, "a request of its own");
    assert_eq!(again.json::<Value>().await.unwrap(), added);
    let other = send(&client, Method::POST, "/patients", &keyed, Some(someone("MRN-3"))).await;
    assert_eq!(other.status(), 422);
    assert!(!other.text().await.unwrap().contains("Zelda"));
    let unkeyed = send(&client, Method::POST, "/patients", &[], Some(someone("MRN-2"))).await;
    assert_eq!(unkeyed.status(), 409, "the clinic's number is taken");
    assert_eq!(client.get("/patients").await.1["items"].as_array().unwrap().len(), 2);

    // What was refused is looked at again, also when it is meant differently by then.
    let refused = [("idempotency-key", "3f0c-2")];
    let mut wrong = someone("MRN-3");
    wrong["phone"] = json!("12");
    assert_eq!(send(&client, Method::POST, "/patients", &refused, Some(wrong)).await.status(), 400);
    assert_eq!(send(&client, Method::POST, "/patients", &refused, Some(someone("MRN-3"))).await.status(), 201);

    // The same key of somebody else is another key.
    let token = client.house.store().create_token("others", None, STARTED).await.unwrap().token.to_string();
    let url = format!("{}/api/v1/patients", client.house.base);
    let theirs = client.house.http.post(url).bearer_auth(token).header("idempotency-key", "3f0c-1");
    assert_eq!(theirs.json(&someone("MRN-4")).send().await.unwrap().status(), 201);
    let bad = send(&client, Method::POST, "/patients", &[("idempotency-key", "a b")], Some(someone("MRN-5"))).await;
    assert_eq!(bad.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_with_one_key_do_it_once() {
    let client = Client::new().await;
    let body = json!({"patient_id": client.house.patient()});
    let asked =
        (0..12).map(|_| send(&client, Method::POST, "/schedules", &[("idempotency-key", "k")], Some(body.clone())));
    let mut ids = Vec::new();
    for response in futures_util::future::join_all(asked).await {
        match response.status().as_u16() {
            201 => ids.push(response.json::<Value>().await.unwrap()["id"].clone()),
            status => assert_eq!(status, 409),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(client.get("/schedules").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_say_too_much_or_the_wrong_thing_are_refused() {
    let client = Client::new().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(send(&client, Method::POST, "/schedules", &form, None).await.status(), 415);
    for (path, said) in [
        ("/patients?name=Zelda", "limit, cursor"),
        ("/calls?limit=1&limit=2", "limit"),
        ("/calls?Limit=Zelda", "limit, cursor"),
        ("/live?x=Zelda", ""),
    ] {
        let (status, problem) = if path.starts_with("/live") { continue } else { client.get(path).await };
        assert_eq!(status, 400, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said) && !detail.contains("Zelda"), "{detail}");
    }
    for (field, value) in [
        ("name", json!("")),
        ("phone", json!("Zelda")),
        ("birth_date", json!("Zelda")),
        ("sex", json!("Zelda")),
        ("language", json!("Zelda")),
        ("timezone", json!("Zelda")),
        ("external_id", json!(7)),
    ] {
        let mut body = someone("MRN-9");
        body[field] = value;
        let wrong = send(&client, Method::POST, "/patients", &[], Some(body)).await;
        assert_eq!(wrong.status(), 400, "{field}");
        let detail = wrong.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("{field}: expected")) && !detail.contains("Zelda"), "{detail}");
    }
    let response = send(&client, Method::PUT, "/patients", &[], None).await;
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "GET, POST".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_placed_in_legal_hours_only() {
    let client = Client::new().await;
    // Somewhere it is noon, and somewhere else it is midnight.
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let noon = (12 - i32::from(hour) + 36) % 24 - 12;
    for (mrn, offset, expected) in [("MRN-N", noon, 202), ("MRN-M", if noon > 0 { noon - 12 } else { noon + 12 }, 409)]
    {
        // The names of these zones count westwards.
        let zone = if offset == 0 { "Etc/GMT".to_owned() } else { format!("Etc/GMT{:+}", -offset) };
        let mut body = someone(mrn);
        body["timezone"] = json!(zone);
        let added: Value = send(&client, Method::POST, "/patients", &[], Some(body)).await.json().await.unwrap();
        let wish = json!({"patient_id": added["id"]});
        let response = send(&client, Method::POST, "/calls", &[], Some(wish)).await;
        assert_eq!(response.status(), expected, "{zone}");
        let answer: Value = response.json().await.unwrap();
        if expected == 202 {
            assert_eq!((&answer["patient_id"], &answer["state"]), (&added["id"], &json!("open")));
            let id = clinic::PlannedCallId::parse(answer["planned_call_id"].as_str().unwrap()).unwrap();
            assert_eq!(client.house.store().get_planned_call(&id).await.unwrap().schedule_id, None);
        }
    }
    assert_eq!(client.post("/calls", r#"{"patient_id":"none"}"#).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_played_whole_and_in_parts() {
    let client = Client::new().await;
    let store = client.house.store();
    let patient_id = Some(client.house.patient().clone());
    let new = NewCall { call_sid: "CA1", patient_id, direction: Direction::Inbound, started_at_us: STARTED };
    let call = store.begin_call(new).await.unwrap();
    let path = format!("/calls/{}/audio", call.id);
    assert_eq!(client.get(&path).await.0, 404, "no recording yet");
    let mut writer = store.recording_writer(&call).unwrap();
    let ulaw: Vec<u8> = (0..160_u8).collect();
    writer.append(&Frame::Patient { position_samples: 0, arrived_us: 0, ulaw: &ulaw }).unwrap();
    writer.append(&Frame::Agent { play_at_us: 10_000, ulaw: &ulaw }).unwrap();
    writer.finish().unwrap();
    let end = FinishCall {
        outcome: CallOutcome::Completed,
        end_cause: None,
        ended_at_us: STARTED + 1,
        agents: vec![],
        turns: 0,
        interruptions: 0,
    };
    store.finish_call(&call.id, end).await.unwrap();
    let whole = send(&client, Method::GET, &path, &[], None).await;
    assert_eq!((whole.status().as_u16(), header(&whole, "content-type")), (200, "audio/wav".to_owned()));
    assert_eq!(header(&whole, "content-length"), (44 + 240 * 4).to_string());
    let whole = whole.bytes().await.unwrap();
    let parsed = voice::Wav::parse(&whole).unwrap();
    assert_eq!((parsed.channels, parsed.samples.len()), (2, 240));
    let part = send(&client, Method::GET, &path, &[("range", "bytes=40-99")], None).await;
    let length = whole.len();
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, format!("bytes 40-99/{length}")));
    assert_eq!(part.bytes().await.unwrap(), whole[40..100]);
    let beyond = send(&client, Method::GET, &path, &[("range", "bytes=5000-")], None).await;
    assert_eq!(beyond.status(), 416);
    let one = send(&client, Method::GET, &format!("{path}?track=patient"), &[], None).await.bytes().await.unwrap();
    assert_eq!((one.len(), voice::Wav::parse(&one).unwrap().channels), (44 + 160 * 2, 1));
    assert_eq!(client.get(&format!("{path}?track=Zelda")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_calls_are_followed_from_the_first_moment() {
    let client = Client::new().await;
    let mut response = send(&client, Method::GET, "/live", &[], None).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "text/event-stream".to_owned()));
    let first = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, "event: calls\ndata: {\"items\":[]}\n\n");
}

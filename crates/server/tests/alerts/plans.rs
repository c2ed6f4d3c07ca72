//! Schedules by the programming interface.

use crate::client::Client;
use serde_json::{Value, json};

async fn create(client: &Client, body: Value) -> (u16, Value) {
    client.post("/schedules", &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_added_paused_resumed_and_removed() {
    let client = Client::new().await;
    let patient = client.house.patient().to_string();
    // Far enough away that nothing is planned by it while we look.
    let first_day = "2090-02-01";
    let (status, added) = create(
        &client,
        json!({"patient_id": patient, "days": "mon,wed", "window": {"start": "10:00", "end": "16:30"},
            "timezone": "America/New_York", "holidays": ["2090-12-25"], "max_attempts": 4,
            "retry_after": {"busy_min": 20}, "starts_on": first_day, "ends_on": null}),
    )
    .await;
    assert_eq!(status, 201, "{added}");
    assert_eq!((&added["patient_id"], &added["days"]), (&json!(patient), &json!("mon,wed")));
    assert_eq!(added["window"], json!({"start": "10:00", "end": "16:30"}));
    assert_eq!((&added["timezone"], &added["starts_on"]), (&json!("America/New_York"), &json!(first_day)));
    assert_eq!((&added["holidays"], &added["max_attempts"]), (&json!(["2090-12-25"]), &json!(4)));
    assert_eq!(added["retry_after"]["busy_min"], 20);
    assert_eq!(added["retry_after"]["no_answer_min"], 60, "what is not said is as usual");
    assert!(added["next_call_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let path = format!("/schedules/{}", added["id"].as_str().unwrap());

    let (_, paused) = client.post(&format!("{path}/pause"), "").await;
    assert_eq!((&paused["paused"], &paused["next_call_at"]), (&json!(true), &Value::Null));
    assert_eq!(client.post(&format!("{path}/pause"), "").await.0, 200, "again changes nothing");
    let (_, shown) = client.get(&path).await;
    assert_eq!((&shown["paused"], &shown["calls"]), (&json!(true), &json!([])));
    let (status, resumed) = client.post(&format!("{path}/resume"), "").await;
    assert_eq!((status, &resumed), (200, &added));

    assert_eq!(client.ask(reqwest::Method::DELETE, &path, None).await.0, 204);
    for (method, path) in [("DELETE", path.clone()), ("GET", path.clone()), ("POST", format!("{path}/resume"))] {
        let (status, problem) = client.ask(method.parse().unwrap(), &path, None).await;
        assert_eq!((status, &problem["detail"]), (404, &json!("no such schedule")), "{method}");
    }
    assert_eq!(client.get("/schedules").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_alone_makes_a_usual_schedule() {
    let client = Client::new().await;
    let (status, added) = create(&client, json!({"patient_id": client.house.patient()})).await;
    assert_eq!((status, &added["days"], &added["timezone"]), (201, &json!("daily"), &json!("UTC")));
    assert_eq!(added["window"], json!({"start": "09:00", "end": "17:00"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_is_named_and_nothing_is_stored() {
    let client = Client::new().await;
    for (field, value, said) in [
        ("patient_id", json!(7), "patient_id: expected a text"),
        ("days", json!("Zelda"), "days: expected daily, weekdays"),
        ("days", json!({"every": 2}), "days: expected a text"),
        ("window", json!("10:00"), "window: expected a JSON object"),
        ("window", json!({"start": "ten"}), "start: expected a time such as 10:00"),
        ("window", json!({"start": "20:45", "end": "23:00"}), "window: expected at least 30 minutes between 08:00"),
        ("window", json!({"from": "10:00"}), "no other fields than"),
        ("timezone", json!("Zelda/Base"), "timezone: expected an IANA time zone"),
        ("holidays", json!(["christmas"]), "holidays: expected a list of dates"),
        ("max_attempts", json!(0), "max_attempts: expected 1 to 10"),
        ("max_attempts", json!(2.5), "max_attempts: expected a whole number"),
        ("max_attempts", json!(-1), "max_attempts: expected a whole number"),
        ("retry_after", json!({"busy_min": 1}), "busy_min: expected 5 to 720 minutes"),
        ("starts_on", json!("2026-02-30"), "starts_on: expected a date"),
        ("ends_on", json!("2001-01-01"), "ends_on: expected a day that is not before starts_on"),
        ("max_atempts", json!(3), "no other fields than"),
    ] {
        let mut body = json!({"patient_id": client.house.patient()});
        body[field] = value;
        let (status, problem) = create(&client, body).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{field}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said) && !detail.contains("Zelda"), "{field}: {detail}");
    }
    for body in ["", "[]", "{", "7"] {
        assert_eq!(client.post("/schedules", body).await.0, 400, "{body}");
    }
    let (status, problem) = create(&client, json!({"days": "daily"})).await;
    assert_eq!((status, &problem["detail"]), (400, &json!("patient_id: expected the identifier of a patient")));
    let (status, problem) = create(&client, json!({"patient_id": "nobody"})).await;
    assert_eq!((status, &problem["detail"]), (404, &json!("no such patient")));
    assert_eq!(client.get("/schedules").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_holds_each_schedule_once_and_of_one_patient_only_theirs() {
    let client = Client::new().await;
    let new = clinic::NewPatient::from_fields("MRN-2", "B", "+15005550002", "1950-01-01", "male", "en", "UTC").unwrap();
    let other = client.house.store().add_patient(&new).await.unwrap().id;
    let (mut all, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let patient = if number % 2 == 0 { client.house.patient() } else { &other };
        let (_, added) = create(&client, json!({"patient_id": patient})).await;
        let id = added["id"].as_str().unwrap().to_owned();
        if patient == &other {
            theirs.push(id.clone());
        }
        all.push(id);
    }
    for limit in [1, 2, 3, 6, 200] {
        assert_eq!(client.walk("/schedules", limit).await, all, "{limit}");
        assert_eq!(client.walk(&format!("/schedules?patient={other}"), limit).await, theirs, "{limit}");
        assert_eq!(client.walk(&format!("/schedules?patient_id={other}"), limit).await, theirs, "{limit}");
    }
}

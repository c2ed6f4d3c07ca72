//! The gate of the interface: what it lets through, what it remembers, and what it does when it cannot write it down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod people;

use clinic::Direction;
use clinic::access::{Role, Scopes};
use clinic::alerts::{AlertKind, NewAlert, Severity};
use people::{Person, Scene, now_us};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};
use store::audit::{Actor, AuditEntry, AuditFilter, AuditOutcome};
use store::{Frame, NewCall};

async fn trail(scene: &Scene, action: &str) -> Vec<AuditEntry> {
    let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
    scene.store.find_audit(&filter, 200, None).await.unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn joy(scene: &Scene) -> Person {
    scene.person("clinician", "joy", Role::Clinician).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clinician_sees_their_patients_and_nobody_elses() {
    let scene = Scene::new().await;
    let joy = joy(&scene).await;
    let (mine, other) = (scene.patient(1, None).await, scene.patient(2, None).await);
    scene.store.assign_patient(joy.user.as_ref().unwrap(), &mine, now_us()).await.unwrap();
    assert_eq!(ids(&joy.get(&scene, "/patients").await.1), [mine.to_string()]);
    let (status, hidden) = joy.get(&scene, &format!("/patients/{other}")).await;
    let (_, missing) = joy.get(&scene, "/patients/0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b").await;
    assert_eq!((status, &hidden["detail"]), (404, &missing["detail"]), "nothing tells the two apart");
    let (status, _) = joy.get(&scene, &format!("/alerts?patient_id={other}")).await;
    assert_eq!(status, 404);

    // Whoever adds a patient looks after them.
    let new = json!({"external_id": "M", "name": "Zelda", "phone": "+15005550042", "birth_date": "1950-02-03"});
    let (status, added) = joy.post(&scene, "/patients", new).await;
    assert_eq!(status, 201, "{added}");
    assert_eq!(joy.get(&scene, &format!("/patients/{}", added["id"].as_str().unwrap())).await.0, 200);

    // It ends at once.
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let seat = format!("/patients/{mine}/care-team/{}", joy.id);
    let (status, team) = ann.json(&scene, Method::DELETE, &seat, None).await;
    assert_eq!((status, &team["items"]), (200, &json!([])));
    assert_eq!(joy.get(&scene, &format!("/patients/{mine}")).await.0, 404);
    let (status, team) = ann.json(&scene, Method::PUT, &seat, None).await;
    assert_eq!((status, &team["items"][0]["name"]), (200, &json!("joy")));
    assert_eq!(joy.get(&scene, &format!("/patients/{mine}")).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn breaking_the_glass_opens_a_record_tells_people_and_is_looked_at() {
    let scene = Scene::new().await;
    let joy = joy(&scene).await;
    let eve = scene.person("auditor", "eve", Role::Auditor).await;
    let (patient, another) = (scene.patient(1, None).await, scene.patient(2, None).await);
    let path = format!("/patients/{patient}");
    assert_eq!(joy.get(&scene, &path).await.0, 404);
    for bad in [json!({"code": "curious", "reason": "what is the matter"}), json!({"code": "emergency", "reason": "x"})]
    {
        assert_eq!(joy.post(&scene, &format!("{path}/break-glass"), bad).await.0, 400);
    }
    assert_eq!(joy.get(&scene, &path).await.0, 404, "a refused attempt opens nothing");
    let reason = json!({"code": "emergency", "reason": "brought in unconscious"});
    let (status, opened) = joy.post(&scene, &format!("{path}/break-glass"), reason).await;
    assert_eq!(status, 201, "{opened}");
    assert_eq!(joy.get(&scene, &path).await.0, 200);
    assert_eq!(ids(&joy.get(&scene, "/patients").await.1), [patient.to_string()]);
    assert_eq!(joy.get(&scene, &format!("/patients/{another}")).await.0, 404, "that one record only");
    // It closes by itself, and nobody who opened it makes it stay open, or silences the alert about it.
    for (method, member) in [(Method::PUT, &joy.id), (Method::DELETE, &eve.id)] {
        let seat = format!("{path}/care-team/{member}");
        assert_eq!(joy.json(&scene, method, &seat, None).await.0, 403);
    }
    let (_, alerts) = joy.get(&scene, "/alerts").await;
    for what in ["acknowledge", "resolve"] {
        let alert = format!("/alerts/{}/{what}", ids(&alerts)[0]);
        assert_eq!(joy.json(&scene, Method::POST, &alert, None).await.0, 409);
    }
    let done = trail(&scene, "patient.break_glass").await;
    let done: Vec<_> = done.iter().filter(|entry| entry.entry.outcome == AuditOutcome::Success).collect();
    assert_eq!((done.len(), done[0].entry.reason.as_deref()), (1, Some("emergency")));
    assert_eq!(done[0].entry.patient.as_ref(), Some(&patient));
    let alerts = scene.store.list_alerts(&store::AlertFilter::default(), 10, None).await.unwrap();
    assert_eq!((alerts.len(), alerts[0].kind.as_str(), alerts[0].severity.as_str()), (1, "break_glass", "urgent"));

    let (_, seen) = eve.get(&scene, "/break-glass?review=open").await;
    assert_eq!(
        (&seen["items"][0]["reason"], &seen["items"][0]["user_id"]),
        (&json!("brought in unconscious"), &json!(joy.id))
    );
    let review = format!("/break-glass/{}/review", opened["id"].as_str().unwrap());
    assert_eq!(eve.json(&scene, Method::POST, &review, None).await.0, 204);
    assert_eq!(eve.json(&scene, Method::POST, &review, None).await.0, 409, "once");
    assert_eq!(eve.get(&scene, "/break-glass?review=open").await.1["items"], json!([]));
    let text = serde_json::to_string(&trail(&scene, "patient.break_glass").await).unwrap();
    assert!(!text.contains("unconscious"), "what is said of a patient is not for the trail");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_entry_nothing_is_done_and_nothing_is_told() {
    let scene = Scene::new().await;
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let patient = scene.patient(1, None).await;
    let mut raw = SqliteConnection::connect(&format!("sqlite://{}", scene.database.display())).await.unwrap();
    raw.execute("CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await
        .unwrap();
    let (status, answer) = ann.get(&scene, &format!("/patients/{patient}")).await;
    assert_eq!(status, 503, "{answer}");
    assert!(!answer.to_string().contains("Ada"), "{answer}");
    let new = json!({"external_id": "M", "name": "Zelda", "phone": "+15005550042", "birth_date": "1950-02-03"});
    assert_eq!(ann.post(&scene, "/patients", new).await.0, 503);
    assert_eq!(scene.store.list_patients().await.unwrap().len(), 1);
    for path in [format!("/patients/{patient}/disclosures"), "/exports/research".into(), "/live".into()] {
        let (status, answer) = ann.get(&scene, &path).await;
        assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{path}");
    }
    let erase = format!("/patients/{patient}?reason=patient-request");
    assert_eq!(ann.json(&scene, Method::DELETE, &erase, None).await.0, 503);
    raw.execute("DROP TRIGGER full").await.unwrap();
    assert_eq!(ann.get(&scene, &format!("/patients/{patient}")).await.0, 200);
    assert_eq!(scene.store.verify_audit(&[]).await.unwrap().broken, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_alone_changes_nothing() {
    let scene = Scene::new().await;
    let mut ann = scene.person("admin", "ann", Role::Admin).await;
    let (_, me) = ann.get(&scene, "/me").await;
    assert_eq!((&me["name"], &me["role"]), (&json!("ann"), &json!("admin")));
    assert_eq!(me["csrf_token"], json!(ann.headers[1].1));
    let new = || json!({"name": "bob", "role": "clinician"});
    for (name, value) in [("origin", "https://evil.example"), ("x-csrf-token", "AAAA"), ("x-csrf-token", "")] {
        let good = ann.headers.clone();
        ann.headers.iter_mut().find(|header| header.0 == name).unwrap().1 = value.to_owned();
        let (status, problem) = ann.post(&scene, "/users", new()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forged")), "{name}: {value}");
        assert_eq!(ann.get(&scene, "/users").await.0, 200, "reading needs neither");
        ann.headers = good;
    }
    let refused = trail(&scene, "user.add").await;
    assert!(refused.iter().all(|entry| entry.entry.outcome == AuditOutcome::Denied), "{refused:?}");
    assert_eq!(refused.len(), 3);
    let (status, added) = ann.post(&scene, "/users", new()).await;
    assert_eq!(status, 201);
    assert!(added["set_up_url"].as_str().unwrap().starts_with(&format!("{}/set-up/", scene.base)), "{added}");
    let (_, sessions) = ann.get(&scene, "/sessions").await;
    assert_eq!(
        (ids(&sessions), &sessions["items"][0]["this"]),
        (vec![ann.session.clone().unwrap().to_string()], &json!(true))
    );
    let own = format!("/sessions/{}", ann.session.clone().unwrap());
    assert_eq!(ann.json(&scene, Method::DELETE, &own, None).await.0, 204);
    assert_eq!(ann.get(&scene, "/me").await.0, 401, "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_fills_the_trail_by_failing() {
    let scene = Scene::new().await;
    let nobody = scene.nobody();
    for _ in 0..200 {
        assert_eq!(nobody.get(&scene, "/patients").await.0, 401);
    }
    let written = trail(&scene, "patient.list").await.len();
    // The minute may have changed meanwhile.
    assert!((60..=120).contains(&written), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_too_fast_has_to_wait_and_others_do_not() {
    let scene = Scene::new().await;
    let (fast, slow) = (scene.program("token", Scopes::all()).await, scene.program("token", Scopes::all()).await);
    let url = format!("{}/api/v1/nowhere", scene.base);
    let (begun, mut served, mut refused) = (std::time::Instant::now(), 0, 0);
    while refused == 0 && served < 5_000 {
        let asked = (0..100).map(|_| fast.ask(&scene, Method::GET, &url, None));
        for response in futures_util::future::join_all(asked).await {
            let is_refused = response.status() == 429;
            assert_eq!(is_refused, response.headers().contains_key("retry-after"));
            refused += u32::from(is_refused);
            served += u32::from(!is_refused);
        }
    }
    // A burst, and what was earned back meanwhile.
    let earned = (begun.elapsed().as_secs_f64() * 10.0) as u32 + 1;
    assert!(
        refused > 0 && (200..=200 + earned).contains(&served),
        "{served} served, {refused} refused, {earned} earned"
    );
    assert_eq!(slow.get(&scene, "/patients").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_repeated_to_somebody_who_may_not_see_it_any_more() {
    let scene = Scene::new().await;
    let mut joy = joy(&scene).await;
    joy.headers.push(("idempotency-key", "k-1".to_owned()));
    let new = || json!({"external_id": "M", "name": "Zelda", "phone": "+15005550042", "birth_date": "1950-02-03"});
    let (status, added) = joy.post(&scene, "/patients", new()).await;
    assert_eq!((status, joy.post(&scene, "/patients", new()).await.1), (201, added.clone()));
    let entries = trail(&scene, "patient.add").await;
    assert_eq!(entries.len(), 2, "the repetition is data too");
    assert_eq!(entries[0].entry.details.get("repeated").map(String::as_str), Some("true"));
    let id = clinic::PatientId::parse(added["id"].as_str().unwrap()).unwrap();
    scene.store.unassign_patient(joy.user.as_ref().unwrap(), &id).await.unwrap();
    assert_eq!(joy.post(&scene, "/patients", new()).await.0, 404);
    assert_eq!(trail(&scene, "patient.add").await[0].entry.outcome, AuditOutcome::Denied);
    // What is kept is sealed.
    let mut raw = SqliteConnection::connect(&format!("sqlite://{}", scene.database.display())).await.unwrap();
    let kept: Vec<u8> = sqlx::query_scalar("SELECT body FROM idempotency_keys").fetch_one(&mut raw).await.unwrap();
    assert!(kept.len() > 100 && !kept.windows(5).any(|part| part == b"Zelda"));
    // An erasure destroys answers, and not the knowledge that requests were served.
    scene.store.erase_patient(&id, &Actor::system(), "patient-request", now_us()).await.unwrap();
    let kept: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT body FROM idempotency_keys").fetch_one(&mut raw).await.unwrap();
    assert_eq!((kept, joy.post(&scene, "/patients", new()).await.0), (None, 409));
    assert_eq!(scene.store.list_patients().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_does_not_give_away_the_pin() {
    let scene = Scene::new().await;
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let patient = scene.patient(1, None).await;
    let mut profile = scene.store.care_profile(&patient).await.unwrap();
    profile.set("pin", "730194").unwrap();
    scene.store.set_care_profile(&patient, &profile).await.unwrap();
    let url = format!("{}/api/v1/patients/{patient}/care", scene.base);
    let response = ann.ask(&scene, Method::GET, &url, None).await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let shown = response.text().await.unwrap();
    assert!(shown.contains("\"pin_set\":true"), "{shown}");
    let digest = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &digest.as_ref()[..12])
    };
    assert!(tag.contains(&digest(shown.as_bytes())), "as tags are made: {tag}");
    assert!(!tag.contains(&digest(&serde_json::to_vec(&profile).unwrap())), "{tag}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_given_after_all_is_told_as_such() {
    let scene = Scene::new().await;
    let mut joy = joy(&scene).await;
    let patient = scene.patient(1, None).await;
    scene.store.assign_patient(joy.user.as_ref().unwrap(), &patient, now_us()).await.unwrap();
    let new = NewCall {
        call_sid: "CA1",
        patient_id: Some(patient.clone()),
        direction: Direction::Inbound,
        started_at_us: now_us(),
    };
    let call = scene.store.begin_call(new).await.unwrap();
    let path = format!("/calls/{}/audio", call.id);
    assert_eq!(joy.get(&scene, &path).await.0, 404, "nothing was recorded");
    let mut writer = scene.store.recording_writer(&call).unwrap();
    writer.append(&Frame::Patient { position_samples: 0, arrived_us: 0, ulaw: &[0x7f; 160] }).unwrap();
    writer.finish().unwrap();
    joy.headers.push(("range", "bytes=999999-".to_owned()));
    assert_eq!(joy.get(&scene, &path).await.0, 416);
    let told: Vec<_> = trail(&scene, "audio.listen").await.into_iter().map(|entry| entry.entry.outcome).collect();
    let twice = [AuditOutcome::Failed, AuditOutcome::Success];
    assert_eq!(told, [twice, twice].concat());
    let disclosures = format!("/patients/{patient}/disclosures");
    assert!(!joy.get(&scene, &disclosures).await.1.to_string().contains("audio.listen"), "nobody heard anything");
    joy.headers.pop();
    let url = format!("{}/api/v1{path}", scene.base);
    assert_eq!(joy.ask(&scene, Method::GET, &url, None).await.bytes().await.unwrap().len(), 44 + 2 * 2 * 160);
    assert!(joy.get(&scene, &disclosures).await.1.to_string().contains("audio.listen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_shown_as_json_and_as_fhir_and_to_the_patient() {
    let scene = Scene::new().await;
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let mut eve = scene.person("auditor", "eve", Role::Auditor).await;
    let patient = scene.patient(1, None).await;
    assert_eq!(ann.get(&scene, &format!("/patients/{patient}")).await.0, 200);
    let (status, list) = eve.get(&scene, &format!("/audit?patient_id={patient}")).await;
    let entry = &list["items"][0];
    assert_eq!((status, &entry["action"], &entry["actor"]["id"]), (200, &json!("patient.read"), &json!(ann.id)));
    assert_eq!((&entry["patient_id"], &entry["outcome"]), (&json!(patient), &json!("success")));
    let (_, seen) = ann.get(&scene, &format!("/patients/{patient}/disclosures")).await;
    assert_eq!((&seen["items"][0]["who"], &seen["items"][0]["action"]), (&json!("ann"), &json!("patient.read")));
    let url = format!("{}/fhir/R4/AuditEvent?_count=1&patient=Patient/{patient}", scene.base);
    let response = eve.ask(&scene, Method::GET, &url, None).await;
    assert_eq!(response.headers()["content-type"], "application/fhir+json");
    let bundle: Value = response.json().await.unwrap();
    assert_eq!(
        (&bundle["resourceType"], &bundle["entry"][0]["resource"]["resourceType"]),
        (&json!("Bundle"), &json!("AuditEvent"))
    );
    let next = bundle["link"][0]["url"].as_str().unwrap().to_owned();
    assert!(next.contains("_cursor=") && next.contains(patient.as_str()), "{next}");
    let older: Value = eve.ask(&scene, Method::GET, &next, None).await.json().await.unwrap();
    assert_ne!(older["entry"][0]["resource"]["id"], bundle["entry"][0]["resource"]["id"]);
    eve.headers.push(("accept", "application/fhir+json".to_owned()));
    assert_eq!(eve.get(&scene, "/audit").await.1["resourceType"], "Bundle");
    let asked = format!("/audit?limit=1&patient_id={patient}&actor={}&since=2026-01-01T00:00:00Z", ann.id);
    let page = eve.get(&scene, &asked).await.1;
    let next = page["link"][0]["url"].as_str().unwrap().to_owned();
    for part in [patient.as_str(), &ann.id, "since=2026-01-01T00:00:00"] {
        assert!(next.contains(part), "the next page is of the same search: {next}");
    }
    let older: Value = eve.ask(&scene, Method::GET, &next, None).await.json().await.unwrap();
    assert_eq!(older["entry"][0]["resource"]["resourceType"], "AuditEvent", "{older}");
    assert_eq!(eve.get(&scene, "/audit?actor=%00").await.0, 400);
    let (status, found) = eve.json(&scene, Method::POST, "/audit/verify", None).await;
    assert_eq!((status, &found["intact"], &found["broken"]), (200, &json!(true), &Value::Null));
    assert!(found["entries"].as_u64().unwrap() >= 6, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_hold_what_they_should_and_research_nobodys_name() {
    let scene = Scene::new().await;
    let joy = joy(&scene).await;
    let rob = scene.person("researcher", "rob", Role::Researcher).await;
    let patient = scene.patient(1, None).await;
    scene.store.assign_patient(joy.user.as_ref().unwrap(), &patient, now_us()).await.unwrap();
    let (status, copy) = joy.get(&scene, &format!("/patients/{patient}/export")).await;
    assert_eq!((status, &copy["patient"]["name"]), (200, &json!("Ada Example")));
    assert_eq!(copy["disclosures"][0]["action"], "patient.export", "the export itself is told of");
    let response = rob.ask(&scene, Method::GET, &format!("{}/api/v1/exports/research", scene.base), None).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/jsonl".parse().unwrap())
    );
    let text = response.text().await.unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().filter(|row| row["table"] == "patients").count(), 1, "{text}");
    for secret in ["Ada", "P-1", "5550001", "1948", patient.as_str()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_patient_is_seen_by_every_clinician() {
    let scene = Scene::new().await;
    let joy = joy(&scene).await;
    let other = scene.patient(1, None).await;
    let new = NewCall { call_sid: "CA1", patient_id: None, direction: Direction::Inbound, started_at_us: now_us() };
    let call = scene.store.begin_call(new).await.unwrap();
    for patient_id in [None, Some(other)] {
        let alert = NewAlert {
            call_id: patient_id.is_none().then(|| call.id.clone()),
            patient_id,
            kind: AlertKind::Technical,
            code: "agent_configuration".into(),
            severity: Severity::Urgent,
            summary: "The agent refuses calls".into(),
        };
        scene.store.raise_alert(&alert, now_us()).await.unwrap();
    }
    let (status, list) = joy.get(&scene, "/alerts").await;
    assert_eq!((status, list["items"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list["items"][0]["call_id"], json!(call.id));
    assert_eq!(joy.get(&scene, &format!("/calls/{}", call.id)).await.0, 200);
    let (status, alert) = joy.json(&scene, Method::POST, &format!("/alerts/{id}/acknowledge"), None).await;
    assert_eq!((status, &alert["status"]), (200, &json!("acknowledged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_patient_is_gone_with_everything_and_a_certificate_stays() {
    let scene = Scene::new().await;
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let patient = scene.patient(1, None).await;
    let (path, by) = (format!("/patients/{patient}"), Actor::system());
    let (status, problem) = ann.json(&scene, Method::DELETE, &path, None).await;
    assert_eq!((status, problem["detail"].as_str().is_some_and(|detail| detail.contains("reason"))), (400, true));
    let path = format!("{path}?reason=patient-request");
    scene.store.set_hold(&patient, "case-1", &by, now_us()).await.unwrap();
    assert_eq!(ann.json(&scene, Method::DELETE, &path, None).await.0, 409);
    scene.store.clear_hold(&patient, &by).await.unwrap();
    let (status, certificate) = ann.json(&scene, Method::DELETE, &path, None).await;
    assert_eq!((status, &certificate["counts"]["patients"]), (200, &json!(1)), "{certificate}");
    assert_eq!(ann.json(&scene, Method::DELETE, &path, None).await.0, 404);
    assert_eq!(ann.get(&scene, &format!("/patients/{patient}")).await.0, 404);
    let kept = scene.store.certificates(10, None).await.unwrap();
    assert_eq!((kept.len(), json!(kept[0].signature)), (1, certificate["signature"].clone()));
    let filter = AuditFilter { patient: Some(patient), ..AuditFilter::default() };
    let found = scene.store.find_audit(&filter, 50, None).await.unwrap();
    let erased = found.iter().filter(|found| found.entry.action == "patient.erase");
    let told: Vec<_> = erased.map(|found| (found.entry.outcome, found.entry.reason.as_deref().unwrap())).collect();
    assert_eq!(told.iter().filter(|told| **told == (AuditOutcome::Success, "patient-request")).count(), 1, "{told:?}");
    assert!(found.iter().all(|found| found.entry.actor.id != ann.id || found.entry.address.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_does_not_lock_themself_out_and_ends_others_at_once() {
    let scene = Scene::new().await;
    let ann = scene.person("admin", "ann", Role::Admin).await;
    let joy = joy(&scene).await;
    for what in ["disable", "reset"] {
        assert_eq!(ann.json(&scene, Method::POST, &format!("/users/{}/{what}", ann.id), None).await.0, 409);
    }
    assert_eq!(joy.get(&scene, "/patients").await.0, 200);
    let (status, user) = ann.json(&scene, Method::POST, &format!("/users/{}/disable", joy.id), None).await;
    assert!(status == 200 && user["disabled_at"].is_string(), "{user}");
    assert_eq!(joy.get(&scene, "/patients").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_live_calls_ends_with_the_session() {
    let scene = Scene::new().await;
    let joy = joy(&scene).await;
    let mut response = joy.ask(&scene, Method::GET, &format!("{}/api/v1/live", scene.base), None).await;
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("event: calls"), "{first:?}");
    scene.store.disable_user(joy.user.as_ref().unwrap(), now_us()).await.unwrap();
    let rest = tokio::time::timeout(std::time::Duration::from_secs(10), response.chunk()).await.unwrap().unwrap();
    assert!(rest.is_none(), "{rest:?}");
}

//! Every operation of the interface, by everybody, for their own patients and for those of others.
//!
//! What is expected stands in `access_matrix.csv`, written by people and not taken from the code. An operation that the
//! table does not have fails the test, and so does a row without an operation: whoever adds a route decides there who may
//! use it. For every request the audit trail must hold exactly the entries that tell of it.
//!
//! A cell is `own/other`, or one word where it is about no patient. `allow`: served. `deny`: refused, 401 for strangers and
//! 403 for all others. `hidden`: answered as if there were no such thing. `missing`: there is no such thing for them.
//! `conflict`: they need not. `anyone`: open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod people;

use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::schedule::Timetable;
use clinic::visit::VisitRecord;
use clinic::{CallOutcome, Direction, PatientId, ScheduleId, UserId};
use people::{Person, Scene, now_us};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::audit::{ActorKind, AuditEntry, AuditFilter, AuditOutcome};
use store::{FinishCall, Frame, NewCall, NewGlassBreak, StoredVisit};

const TABLE: &str = include_str!("access_matrix.csv");

/// What the table says of one operation: the name in the audit trail, and a cell for each kind of caller.
struct Row {
    audit: String,
    cells: Vec<(String, String)>,
}

fn table() -> BTreeMap<String, Row> {
    let mut lines = TABLE.lines();
    let kinds: Vec<&str> = lines.next().unwrap().split(',').skip(2).collect();
    let mut rows = BTreeMap::new();
    for line in lines {
        let mut cells = line.split(',');
        let (operation, audit) = (cells.next().unwrap(), cells.next().unwrap().to_owned());
        let cells: Vec<_> = kinds.iter().map(|kind| (*kind).to_owned()).zip(cells.map(str::to_owned)).collect();
        assert_eq!(cells.len(), kinds.len(), "{line}");
        assert!(rows.insert(operation.to_owned(), Row { audit, cells }).is_none(), "{operation} stands there twice");
    }
    rows
}

/// A patient with something of every kind.
struct Case {
    patient: PatientId,
    call: String,
    alert: String,
}

async fn case(scene: &Scene, number: u32) -> Case {
    let store = &scene.store;
    let patient = scene.patient(number, None).await;
    scene.keep_schedule(&patient).await;
    let started_at_us = now_us() - 3_600_000_000;
    let sid = format!("CA{number}");
    let new =
        NewCall { call_sid: &sid, patient_id: Some(patient.clone()), direction: Direction::Inbound, started_at_us };
    let call = store.begin_call(new).await.unwrap();
    let mut writer = store.recording_writer(&call).unwrap();
    writer.append(&Frame::Patient { position_samples: 0, arrived_us: 0, ulaw: &[0x7f; 160] }).unwrap();
    writer.finish().unwrap();
    let record: VisitRecord = serde_json::from_value(json!({
        "protocol": "heart-failure", "protocol_version": "1", "languages": ["en"],
        "identity": {"status": "identified", "how": "spoken", "failed_attempts": 0}, "recording_consent": true,
        "answers": [], "tasks": [], "red_flags": [], "emergency_words_spoken": null, "transferred": null,
        "complete": true}))
    .unwrap();
    let facts = record.facts(&call.id, started_at_us, CallOutcome::Completed, &[]);
    let assessment = Some(json!({"call_id": call.id, "overall_risk": 0}));
    store.save_visit(&call, &StoredVisit { record, facts, assessment, shadow: None }).await.unwrap();
    let end = FinishCall {
        outcome: CallOutcome::Completed,
        end_cause: None,
        ended_at_us: started_at_us + 1,
        agents: vec![],
        turns: 0,
        interruptions: 0,
    };
    store.finish_call(&call.id, end).await.unwrap();
    let alert = NewAlert {
        patient_id: Some(patient.clone()),
        call_id: None,
        kind: AlertKind::Risk,
        code: "risk".into(),
        severity: Severity::Review,
        summary: "Risk".into(),
    };
    let alert = store.raise_alert(&alert, now_us()).await.unwrap().id.to_string();
    Case { patient, call: call.id.to_string(), alert }
}

/// One operation of the document.
struct Operation<'a> {
    id: &'a str,
    method: Method,
    path: &'a str,
    base: &'a str,
    described: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            found.push(Operation {
                id: described["operationId"].as_str().unwrap(),
                method: method.to_uppercase().parse().unwrap(),
                path,
                base: described["servers"][0]["url"].as_str().unwrap_or("/api/v1"),
                described,
            });
        }
    }
    found
}

/// A body of what its schema gives as examples.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return example(document, document.pointer(&reference[1..]).unwrap());
    }
    for part in schema["oneOf"].as_array().into_iter().flatten() {
        if part["type"] != "null" {
            return example(document, part);
        }
    }
    if let Some(value) = schema.get("example") {
        return value.clone();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    let mut object = serde_json::Map::new();
    let needed = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let is_needed = needed.is_some_and(|needed| needed.contains(&json!(name)));
        if is_needed || (needed.is_none() && field.get("example").is_some()) {
            object.insert(name.clone(), example(document, field));
        }
    }
    Value::Object(object)
}

/// A request made ready: where, with what, and whose record it is about.
struct Ready {
    url: String,
    body: Option<Value>,
    patient: Option<PatientId>,
    schedule: Option<ScheduleId>,
}

/// Everything for one request, made anew where it is used up.
async fn ready(
    scene: &Scene,
    document: &Value,
    operation: &Operation<'_>,
    caller: &Person,
    case: &Case,
    own: bool,
    n: u32,
) -> Ready {
    let store = &scene.store;
    let (mut patient, mut schedule) = (case.patient.clone(), None);
    if ["placeCall", "createSchedule", "breakGlass", "erasePatient"].contains(&operation.id) {
        patient = scene.patient(n, Some(people::noon_zone())).await;
        if own && let Some(user) = caller.user.as_ref().filter(|_| caller.kind == "clinician") {
            store.assign_patient(user, &patient, now_us()).await.unwrap();
        }
    }
    let clinician =
        async || store.add_user(&format!("member{n}"), clinic::access::Role::Clinician, now_us()).await.unwrap().id;
    let id = match operation.path.split('/').nth(1).unwrap() {
        "patients" => patient.to_string(),
        "calls" => case.call.clone(),
        "alerts" => case.alert.clone(),
        "schedules" if operation.path.contains("{id}") => {
            let today = jiff::Zoned::now().date();
            let table = Timetable::daily("UTC", today + jiff::Span::new().days(300));
            schedule = Some(store.add_schedule(&patient, &table, now_us()).await.unwrap().id);
            schedule.as_ref().unwrap().to_string()
        }
        "users" if operation.path.contains("{id}") => clinician().await.to_string(),
        "break-glass" if operation.path.contains("{id}") => {
            let (user, patient) = (clinician().await, scene.patient(n, None).await);
            let new =
                NewGlassBreak { user: &user, patient: &patient, code: "covering", reason: "for a test of reviews" };
            store.break_glass(&new, now_us()).await.unwrap().id.to_string()
        }
        "sessions" if operation.path.contains("{id}") => {
            let owner: &UserId = caller.user.as_ref().filter(|_| own).unwrap_or(&scene.stranger);
            scene.session_of(owner).await.0.to_string()
        }
        _ => String::new(),
    };
    let mut path = operation.path.replace("{id}", &id);
    if path.contains("{user_id}") {
        path = path.replace("{user_id}", clinician().await.as_str());
    }
    for parameter in operation.described["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "query" && parameter["required"] == true {
            let value = parameter.get("example").or_else(|| parameter["schema"].get("example")).unwrap();
            path += &format!("?{}={}", parameter["name"].as_str().unwrap(), value.as_str().unwrap());
        }
    }
    let schema = &operation.described["requestBody"]["content"]["application/json"]["schema"];
    let body = schema.is_object().then(|| {
        let mut body = example(document, schema);
        for (name, value) in [
            ("patient_id", json!(patient)),
            ("external_id", json!(format!("MRN-{n}"))),
            ("name", json!(format!("name{n}"))),
            ("timezone", json!("UTC")),
        ] {
            if body.get(name).is_some() && !(name == "timezone" && operation.id == "createPatient") {
                body[name] = value;
            }
        }
        body
    });
    let is_of_patient =
        ["patient", "call", "alert", "schedule"].contains(&operation.described["x-subject"].as_str().unwrap());
    Ready {
        url: format!("{}{}{path}", scene.base, operation.base),
        body,
        patient: is_of_patient.then_some(patient),
        schedule,
    }
}

/// The entries about a request.
async fn entries(scene: &Scene, response: &Response) -> Vec<AuditEntry> {
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let found = scene.store.find_audit(&AuditFilter::default(), 200, None).await.unwrap();
    found.into_iter().filter(|entry| entry.entry.request.as_deref() == Some(&id)).collect()
}

fn check(
    what: &str,
    word: &str,
    caller: &Person,
    row: &Row,
    ready: &Ready,
    status: u16,
    found: &[AuditEntry],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, said: String| {
        if !holds {
            wrong.push(format!("{what}: {said}"));
        }
    };
    let (statuses, outcome): (&[u16], _) = match word {
        "anyone" => (&[200], None),
        "allow" => (&[200, 201, 202, 204], Some(AuditOutcome::Success)),
        "deny" if caller.kind == "anonymous" => (&[401], Some(AuditOutcome::Denied)),
        "deny" => (&[403], Some(AuditOutcome::Denied)),
        "hidden" => (&[404], Some(AuditOutcome::Denied)),
        "missing" => (&[404], Some(AuditOutcome::Failed)),
        "conflict" => (&[409], Some(AuditOutcome::Failed)),
        other => panic!("{what}: what is {other}?"),
    };
    expect(statuses.contains(&status), format!("{word}, but the answer was {status}"));
    let Some(outcome) = outcome else {
        expect(found.is_empty(), "there is an entry about it".into());
        return wrong;
    };
    let is_list_of_subjects = row.audit == "break_glass.list" && word == "allow";
    expect(found.len() == 1 || (is_list_of_subjects && !found.is_empty()), format!("{} entries", found.len()));
    for AuditEntry { entry, .. } in found {
        let told = (entry.action.as_str(), entry.outcome);
        expect(told == (row.audit.as_str(), outcome), format!("{word}, but the entry says {told:?}"));
        expect(entry.actor.id == caller.id, format!("the entry says {} did it", entry.actor.id));
        expect((entry.actor.kind == ActorKind::Anonymous) == (caller.kind == "anonymous"), "of another kind".into());
        expect(entry.address.is_some(), "the entry does not say from where".into());
        // Whoever has no right is turned away before anybody looks whom it is about.
        if ready.patient.is_some() && word != "deny" {
            expect(entry.patient == ready.patient, format!("the entry is about {:?}", entry.patient));
        }
        if word == "hidden" {
            expect(entry.reason.as_deref() == Some("care_team"), format!("for {:?}", entry.reason));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_the_trail_tells_of_it() {
    let scene = Scene::new().await;
    let document = server::openapi_document();
    let (operations, table) = (operations(&document), table());
    let there: BTreeSet<&str> = operations.iter().map(|operation| operation.id).collect();
    let listed: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    assert_eq!(there, listed, "operations on the left, rows of access_matrix.csv on the right");
    let callers = scene.callers().await;
    let (own, other) = (case(&scene, 1).await, case(&scene, 2).await);
    for caller in callers.iter().filter(|caller| caller.kind == "clinician") {
        let user = caller.user.as_ref().unwrap();
        scene.store.assign_patient(user, &own.patient, now_us()).await.unwrap();
    }
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for operation in &operations {
        let row = &table[operation.id];
        for (kind, cell) in &row.cells {
            let caller = callers.iter().find(|caller| caller.kind == *kind).unwrap();
            let words: Vec<&str> = cell.split('/').collect();
            for (index, word) in words.iter().enumerate() {
                asked += 1;
                let (is_own, case) = (index == 0, if index == 0 { &own } else { &other });
                let ready = ready(&scene, &document, operation, caller, case, is_own, 100 + asked).await;
                let response = caller.ask(&scene, operation.method.clone(), &ready.url, ready.body.as_ref()).await;
                let status = response.status().as_u16();
                let found = entries(&scene, &response).await;
                let what = format!("{} by {kind} {}", operation.id, if is_own { "own" } else { "other" });
                wrong.extend(check(&what, word, caller, row, &ready, status, &found));
                let is_shown = kind == "clinician" && *word == "allow" && operation.described["x-subject"] == "list";
                if is_shown && operation.id != "followLiveCalls" {
                    let text = response.text().await.unwrap();
                    if !text.contains(own.patient.as_str()) || text.contains(other.patient.as_str()) {
                        wrong.push(format!("{what}: the list is not narrowed to their patients"));
                    }
                }
                if let Some(schedule) = &ready.schedule {
                    let _ = scene.store.remove_schedule(schedule, now_us()).await;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 400, "{asked}");
    assert_eq!(scene.store.verify_audit(&[]).await.unwrap().broken, None);
    println!("{asked} requests, {} operations", operations.len());
}

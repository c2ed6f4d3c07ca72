//! A patient with something in every table.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use super::raw::Raw;
use super::{STARTED, call, finish, patient, said, segment};
use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::care::CareProfile;
use clinic::facts::CallFacts;
use clinic::schedule::Timetable;
use clinic::visit::{IdentityRecord, IdentityStatus, VisitRecord};
use clinic::{AlertId, CallId, CallOutcome, PatientId};
use serde_json::json;
use std::path::Path;
use store::audit::Actor;
use store::{Frame, NewPostCall, Store};

/// A patient and what belongs to them.
pub struct Known {
    pub id: PatientId,
    pub call: CallId,
    pub alert: AlertId,
    /// Every identifier of theirs.
    pub ids: Vec<String>,
}

pub fn tester() -> Actor {
    Actor::operator("tester")
}

/// Adds a patient with a finished call, a recording, an alert, a schedule, and so on.
pub async fn settle(dir: &Path, store: &Store, number: u32) -> Known {
    let id = store.add_patient(&patient(number)).await.unwrap().id;
    store.set_care_profile(&id, &CareProfile { dry_weight_kg: Some(72.5), ..CareProfile::default() }).await.unwrap();
    let call = finished_call(store, Some(&id), &format!("CA{number}"), STARTED).await;
    let alert = store.raise_alert(&alert(Some(&id), Some(&call)), STARTED).await.unwrap().id;
    let table = Timetable::daily("America/New_York", "2026-01-01".parse().unwrap());
    let schedule = store.add_schedule(&id, &table, STARTED).await.unwrap();
    let (planned, attempt) = (format!("planned-{number}"), format!("attempt-{number}"));
    let mut raw = Raw::open(dir).await;
    raw.run(&format!(
        "INSERT INTO planned_calls (id, patient_id, schedule_id, planned_for, opens_at_us, closes_at_us, first_due_us, \
         max_attempts, retry_after, state, next_at_us, created_at_us) VALUES ('{planned}', '{id}', '{}', '2026-01-01', 1, \
         {STARTED}, 1, 3, '{{}}', 'done', 1, 1)",
        schedule.id
    ))
    .await;
    raw.run(&format!(
        "INSERT INTO call_attempts (id, planned_call_id, patient_id, number, state, claimed_at_us, check_at_us, \
         line_free_us) VALUES ('{attempt}', '{planned}', '{id}', 1, 'settled', 1, 1, 1)"
    ))
    .await;
    raw.run(&format!(
        "INSERT INTO deliveries (id, alert_id, climb, step, contact, channel, state, attempts, unsure, next_try_us, \
         made_at_us) VALUES ('delivery-{number}', '{alert}', 1, 1, 0, 'sms', 'sent', 1, 0, 0, 1)"
    ))
    .await;
    let user = format!("user-{number}");
    raw.run(&format!(
        "INSERT INTO users (id, name, role, created_at_us) VALUES ('{user}', 'nurse{number}', 'clinician', 1)"
    ))
    .await;
    raw.run(&format!("INSERT INTO care_teams (patient_id, user_id, since_us) VALUES ('{id}', '{user}', 1)")).await;
    let reason = if super::on_postgres() { "decode('00', 'hex')" } else { "x'00'" };
    raw.run(&format!(
        "INSERT INTO glass_breaks (id, user_id, patient_id, code, reason, from_us, until_us) \
         VALUES ('break-{number}', '{user}', '{id}', 'emergency', {reason}, 1, {STARTED})"
    ))
    .await;
    let mut ids: Vec<String> = vec![id.to_string(), call.to_string(), alert.to_string(), schedule.id.to_string()];
    ids.extend([planned, attempt]);
    Known { id, call, alert, ids }
}

/// A call that is over, with everything a call can have.
pub async fn finished_call(store: &Store, patient: Option<&PatientId>, sid: &str, started_at_us: i64) -> CallId {
    let new = store::NewCall { started_at_us, ..call(sid, patient.cloned()) };
    let handle = store.begin_call(new).await.unwrap();
    store.append_events(&handle, 0, &[said(0, "my ankles are swollen"), said(9, "three pillows")]).await.unwrap();
    store.add_segment(&handle, &segment(0, json!({"measures": {"f0_mean_hz": 123.4}}))).await.unwrap();
    store.link_conversation(&handle, &format!("conv_{sid}")).await.unwrap();
    let conversation_id = format!("conv_{sid}");
    let message = NewPostCall {
        conversation_id: &conversation_id,
        kind: "post_call_transcription",
        received_at_us: started_at_us + 70_000_000,
        payload: b"{\"said\":\"swollen\"}",
    };
    store.save_post_call(&handle, message).await.unwrap();
    let visit = store::StoredVisit {
        record: record(),
        facts: facts(&handle.id, started_at_us),
        assessment: Some(json!({"overall_risk": 42})),
        shadow: None,
    };
    store.save_visit(&handle, &visit).await.unwrap();
    let mut recording = store.recording_writer(&handle).unwrap();
    for at in 0..50u64 {
        let ulaw = [(at as u8) ^ 0x55; 160];
        recording.append(&Frame::Patient { position_samples: at * 160, arrived_us: at, ulaw: &ulaw }).unwrap();
        recording.flush().unwrap();
    }
    recording.finish().unwrap();
    let end = store::FinishCall { ended_at_us: started_at_us + 60_000_000, ..finish() };
    store.finish_call(&handle.id, end).await.unwrap();
    handle.id
}

fn record() -> VisitRecord {
    VisitRecord {
        protocol: "heart-failure".into(),
        protocol_version: "1".into(),
        languages: vec!["en".into()],
        identity: IdentityRecord { status: IdentityStatus::Identified, how: Some("dtmf".into()), failed_attempts: 0 },
        recording_consent: Some(true),
        answers: Vec::new(),
        tasks: Vec::new(),
        red_flags: Vec::new(),
        emergency_words_spoken: None,
        transferred: None,
        complete: true,
        degradations: Vec::new(),
    }
}

fn facts(call: &CallId, at_us: i64) -> CallFacts {
    CallFacts {
        call_id: call.clone(),
        at_us,
        outcome: CallOutcome::Completed,
        language: "en".into(),
        identified: true,
        answers: Vec::new(),
        red_flags: Vec::new(),
        tasks: Vec::new(),
        dry_confirmed: false,
        alert_open: false,
    }
}

pub fn alert(patient: Option<&PatientId>, call: Option<&CallId>) -> NewAlert {
    NewAlert {
        patient_id: patient.cloned(),
        call_id: call.cloned(),
        kind: AlertKind::RedFlag,
        code: "chest_pain".into(),
        severity: Severity::Critical,
        summary: "an elephant on my chest".into(),
    }
}

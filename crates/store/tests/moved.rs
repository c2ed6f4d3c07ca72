//! A sealed value opens at its own place only.
//!
//! The places come from the schema: every column of bytes is either known to be no ciphertext, or is moved here (to another
//! row, and to another column of the same row) and must then be refused. A new sealed column without a line here fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use clinic::access::Role;
use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::care::CareProfile;
use clinic::schedule::{Pace, Timetable};
use clinic::visit::VisitRecord;
use clinic::{AlertId, CallId, CallOutcome, PatientId, ScheduleId, UserId};
use common::{KEY, STARTED, call, config, on_postgres, open, patient, said, segment, try_open};
use jiff::civil::date;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::collections::BTreeSet;
use std::path::Path;
use store::{CallHandle, NewGlassBreak, NewPostCall, Store, StoreError, StoredVisit};

/// Bytes that are no ciphertext: keyed hashes, hashes of the audit trail, signatures, and what has no secret in it.
const IN_CLEAR: [(&str, &str); 3] = [("_sqlx_migrations", "checksum"), ("meta", "value"), ("audit_head", "mac")];
/// Names of requests that were answered, and the answers' statuses.
const REPEATS: [([u8; 32], u16); 2] = [([1; 32], 200), ([2; 32], 201)];

/// A connection behind the store's back.
enum Beside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Beside {
    async fn connect(dir: &Path) -> Self {
        let url = config(dir).database_url;
        if on_postgres() {
            Self::Postgres(PgConnection::connect(&url).await.unwrap())
        } else {
            Self::Sqlite(SqliteConnection::connect(&url).await.unwrap())
        }
    }

    /// Every column of bytes.
    async fn columns(&mut self) -> BTreeSet<(String, String)> {
        let columns: Vec<(String, String)> = match self {
            Self::Sqlite(conn) => sqlx::query_as(
                "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p \
                 WHERE m.type = 'table' AND p.type = 'BLOB'",
            )
            .fetch_all(conn)
            .await
            .unwrap(),
            Self::Postgres(conn) => sqlx::query_as(
                "SELECT table_name::text, column_name::text FROM information_schema.columns \
                 WHERE table_schema = 'public' AND data_type = 'bytea'",
            )
            .fetch_all(conn)
            .await
            .unwrap(),
        };
        columns.into_iter().collect()
    }

    async fn bytes(&mut self, table: &str, column: &str, row: &str) -> Vec<u8> {
        let text = AssertSqlSafe(format!("SELECT {column} FROM {table} WHERE {row}"));
        match self {
            Self::Sqlite(conn) => sqlx::query_scalar(text).fetch_one(conn).await.unwrap(),
            Self::Postgres(conn) => sqlx::query_scalar(text).fetch_one(conn).await.unwrap(),
        }
    }

    async fn set(&mut self, table: &str, column: &str, row: &str, bytes: Vec<u8>) {
        let text = AssertSqlSafe(format!("UPDATE {table} SET {column} = $1 WHERE {row}"));
        let changed = match self {
            Self::Sqlite(conn) => sqlx::query(text).bind(bytes).execute(conn).await.unwrap().rows_affected(),
            Self::Postgres(conn) => sqlx::query(text).bind(bytes).execute(conn).await.unwrap().rows_affected(),
        };
        assert_eq!(changed, 1, "{table}.{column} of {row}");
    }
}

/// A clinic that has at least two of everything, under the same key wherever that is possible.
struct Clinic {
    patients: [PatientId; 2],
    calls: [CallHandle; 2],
    alerts: [AlertId; 2],
    schedules: [ScheduleId; 2],
    attempt: clinic::AttemptId,
    sids: [String; 2],
    users: [UserId; 2],
}

async fn fill(store: &Store) -> Clinic {
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let bob = store.add_patient(&patient(2)).await.unwrap().id;
    for id in [&ada, &bob] {
        store.set_care_profile(id, &CareProfile::default()).await.unwrap();
    }
    // Before there are calls: somebody who is on the line is not called.
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let (midnight, evening) = (at("2026-06-01T00:00:00Z"), at("2026-06-01T20:00:00Z"));
    let table = Timetable::daily("America/New_York", date(2026, 6, 1));
    let one = store.add_schedule(&ada, &table, midnight).await.unwrap().id;
    let two = store.add_schedule(&ada, &table, midnight).await.unwrap().id;
    store.add_schedule(&bob, &table, midnight).await.unwrap();
    store.plan_calls(evening, 10).await.unwrap();
    let mut attempts = Vec::new();
    for number in 0..2 {
        let now = evening + number * 10_000_000;
        let claim = store.claim_attempt(now, now + 60_000_000, Some(&Pace::new(20, 1))).await.unwrap().unwrap();
        store.attempt_placed(&claim.id, &format!("CAplaced{number}"), now).await.unwrap();
        attempts.push(claim.id);
    }
    let sids = ["CAfirst".to_owned(), "CAsecond".to_owned()];
    let first = store.begin_call(call(&sids[0], Some(ada.clone()))).await.unwrap();
    let second = store.begin_call(call(&sids[1], Some(ada.clone()))).await.unwrap();
    store.append_events(&first, 0, &[said(1, "one"), said(1, "two")]).await.unwrap();
    for index in 0..2 {
        store.add_segment(&first, &segment(index, json!({"of": index}))).await.unwrap();
    }
    for handle in [&first, &second] {
        store.save_visit(handle, &visit(&handle.id)).await.unwrap();
    }
    for kind in ["post_call_transcription", "post_call_audio"] {
        let new = NewPostCall { conversation_id: "conv_1", kind, received_at_us: 7, payload: b"{}" };
        store.save_post_call(&first, new).await.unwrap();
    }
    let flag = |code: &str, of: &CallId| NewAlert {
        patient_id: Some(ada.clone()),
        call_id: Some(of.clone()),
        kind: AlertKind::RedFlag,
        code: code.into(),
        severity: Severity::Critical,
        summary: format!("said {code}"),
    };
    let mut users = Vec::new();
    for (name, secret) in [("joy", [7; 20]), ("sam", [9; 20])] {
        let id = store.add_user(name, Role::Clinician, STARTED).await.unwrap().id;
        store.set_totp(&id, &secret, 1).await.unwrap();
        let new = NewGlassBreak { user: &id, patient: &ada, code: "emergency", reason: "brought in unconscious" };
        store.break_glass(&new, STARTED).await.unwrap();
        users.push(id);
    }
    for (key, status) in REPEATS {
        store.begin_request(&key, &key, STARTED).await.unwrap();
        store.complete_request(&key, status, b"{}").await.unwrap();
    }
    let mut alerts = Vec::new();
    for code in ["chest_pain", "syncope"] {
        let id = store.raise_alert(&flag(code, &first.id), STARTED).await.unwrap().id;
        store.raise_alert(&flag(code, &second.id), STARTED + 1).await.unwrap();
        store.acknowledge_alert(&id, "nurse", Some("on my way"), STARTED + 2).await.unwrap();
        store.resolve_alert(&id, "nurse", Some("rang her"), STARTED + 3).await.unwrap();
        alerts.push(id);
    }
    Clinic {
        patients: [ada, bob],
        calls: [first, second],
        alerts: [alerts[0].clone(), alerts[1].clone()],
        schedules: [one, two],
        attempt: attempts[0].clone(),
        sids,
        users: [users[0].clone(), users[1].clone()],
    }
}

fn visit(id: &CallId) -> StoredVisit {
    let record: VisitRecord = serde_json::from_value(json!({
        "protocol": "heart-failure", "protocol_version": "7", "languages": ["en"],
        "identity": {"status": "identified", "how": "dtmf", "failed_attempts": 0}, "recording_consent": true,
        "answers": [], "tasks": [], "red_flags": [], "emergency_words_spoken": null, "transferred": null,
        "complete": false}))
    .unwrap();
    let facts = record.facts(id, STARTED, CallOutcome::Completed, &[]);
    StoredVisit { record, facts, assessment: Some(json!({"risk": 1})), shadow: Some(json!({"risk": 2})) }
}

impl Clinic {
    /// The rows of the two values that are exchanged.
    fn rows(&self, table: &str, column: &str) -> [String; 2] {
        let by = |name: &str, ids: [&str; 2]| ids.map(|id| format!("{name} = '{id}'"));
        let calls = [self.calls[0].id.as_str(), self.calls[1].id.as_str()];
        let alerts = [self.alerts[0].as_str(), self.alerts[1].as_str()];
        let first = calls[0];
        match (table, column) {
            ("patients", _) => by("id", [self.patients[0].as_str(), self.patients[1].as_str()]),
            ("profiles", _) => by("patient_id", [self.patients[0].as_str(), self.patients[1].as_str()]),
            ("data_keys", _) => by("id", [self.patients[0].as_str(), self.patients[1].as_str()])
                .map(|row| format!("kind = 'patient' AND {row}")),
            ("calls", _) => by("id", calls),
            ("visits", _) => by("call_id", calls),
            ("events", _) => ["0", "1"].map(|seq| format!("call_id = '{first}' AND seq = {seq}")),
            ("segments", _) => ["0", "1"].map(|index| format!("call_id = '{first}' AND idx = {index}")),
            ("post_calls", _) => ["post_call_transcription", "post_call_audio"].map(|kind| format!("kind = '{kind}'")),
            ("alerts", _) => by("id", alerts),
            ("alert_occurrences", _) => ["1", "2"].map(|seq| format!("alert_id = '{}' AND seq = {seq}", alerts[0])),
            ("schedules", _) => by("id", [self.schedules[0].as_str(), self.schedules[1].as_str()]),
            ("call_attempts", _) => {
                let id = self.attempt.as_str();
                [format!("id = '{id}'"), format!("id <> '{id}'")]
            }
            ("users", _) => by("id", [self.users[0].as_str(), self.users[1].as_str()]),
            ("glass_breaks", _) => by("user_id", [self.users[0].as_str(), self.users[1].as_str()]),
            ("idempotency_keys", _) => REPEATS.map(|(_, status)| format!("status = {status}")),
            ("root_keys", _) => ["index", "audit"].map(|purpose| format!("purpose = '{purpose}'")),
            _ => panic!("{table}.{column} holds bytes that nothing here knows: are they sealed to their place?"),
        }
    }

    /// Reads the first of the two values the way the program does.
    async fn read(&self, dir: &Path, store: &Store, table: &str, column: &str) -> Result<(), StoreError> {
        let [first, _] = &self.calls;
        match (table, column) {
            ("patients" | "data_keys", _) => store.get_patient(&self.patients[0]).await.map(drop),
            ("profiles", _) => store.care_profile(&self.patients[0]).await.map(drop),
            ("calls", "call_sid") => store.call_sid(first).await.map(|sid| assert_eq!(sid, self.sids[0])),
            ("calls", _) => store.call_handle(&first.id).await.map(drop),
            ("visits", _) => store.visit(&first.id).await.map(drop),
            ("events", _) => store.call_events(&first.id).await.map(drop),
            ("segments", _) => store.call_segments(&first.id).await.map(drop),
            ("post_calls", _) => store.post_calls(&first.id).await.map(drop),
            ("alerts", _) => store.get_alert(&self.alerts[0]).await.map(drop),
            ("alert_occurrences", _) => store.alert_occurrences(&self.alerts[0]).await.map(drop),
            ("schedules", _) => store.get_schedule(&self.schedules[0]).await.map(drop),
            ("call_attempts", _) => store.get_attempt(&self.attempt).await.map(drop),
            ("users", _) => store.credentials(&self.users[0]).await.map(drop),
            ("glass_breaks", _) => store.glass_breaks(false, 10, None).await.map(drop),
            ("idempotency_keys", _) => store.begin_request(&REPEATS[0].0, &REPEATS[0].0, STARTED).await.map(drop),
            ("root_keys", _) => try_open(dir, KEY).await.map(drop),
            _ => panic!("{table}.{column} is read by nothing here"),
        }
    }
}

fn is_in_clear(table: &str, column: &str) -> bool {
    column == "hash" || column.ends_with("_hash") || column == "signature" || IN_CLEAR.contains(&(table, column))
}

#[tokio::test]
async fn every_sealed_value_opens_at_its_own_place_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let store = open(dir).await;
    let clinic = fill(&store).await;
    let mut beside = Beside::connect(dir).await;
    let mut sealed = beside.columns().await;
    sealed.retain(|(table, column)| !is_in_clear(table, column));
    assert!(sealed.len() >= 21, "{sealed:?}");
    let mut moves = 0;
    for (table, column) in &sealed {
        let [here, there] = clinic.rows(table, column);
        let own = beside.bytes(table, column, &here).await;
        let mut foreign = vec![(format!("{table}.{column} of another row"), beside.bytes(table, column, &there).await)];
        for (_, other) in sealed.iter().filter(|(of, other)| of == table && other != column) {
            foreign.push((format!("{table}.{other}"), beside.bytes(table, other, &here).await));
        }
        let mut cut = own.clone();
        cut.pop();
        foreign.push(("all but the last byte".to_owned(), cut));
        clinic.read(dir, &store, table, column).await.unwrap();
        for (what, bytes) in foreign {
            beside.set(table, column, &here, bytes).await;
            let read = clinic.read(dir, &store, table, column).await;
            assert_eq!(read.unwrap_err().code(), "corrupt", "{what} was taken for {table}.{column}");
            moves += 1;
        }
        beside.set(table, column, &here, own).await;
        clinic.read(dir, &store, table, column).await.unwrap();
    }
    assert!(moves >= 2 * sealed.len());
}

#[tokio::test]
async fn a_recording_opens_as_its_own_call_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clinic = fill(&store).await;
    for handle in &clinic.calls {
        store.recording_writer(handle).unwrap().finish().unwrap();
        assert!(store.open_recording(&handle.id).await.unwrap().patient_track().is_ok());
    }
    let file = |handle: &CallHandle| store.audio_dir().join(format!("{}.hvr", handle.id));
    std::fs::copy(file(&clinic.calls[1]), file(&clinic.calls[0])).unwrap();
    let read = store.open_recording(&clinic.calls[0].id).await;
    assert!(read.is_err() || read.unwrap().patient_track().is_err());
}

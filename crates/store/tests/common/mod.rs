//! What the store's tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use clinic::{CallOutcome, Direction, EndCause, NewPatient, PatientId, Segment, Span, TimelineEvent, TimelineKind};
use std::path::Path;
use store::{FinishCall, MasterKey, NewCall, Store, StoreConfig, StoreError};

pub const KEY: &str = "4f1c8e0b7a2d5936c1e8f40a9b3d7c5562718293a4b5c6d7e8f90a1b2c3d4e5f";
pub const STARTED: i64 = 1_767_225_600_000_000;

pub fn config(dir: &Path) -> StoreConfig {
    let database_url = format!("sqlite://{}", dir.join("data/heartvoice.db").display());
    StoreConfig { database_url, audio_dir: dir.join("audio") }
}

pub async fn open(dir: &Path) -> Store {
    try_open(dir, KEY).await.unwrap()
}

pub async fn try_open(dir: &Path, key: &str) -> Result<Store, StoreError> {
    Store::open(config(dir), MasterKey::from_hex(key).unwrap()).await
}

pub fn patient(number: u32) -> NewPatient {
    let phone = format!("+1500555{number:04}");
    let external_id = format!("MRN-{number}");
    NewPatient::from_fields(&external_id, "Ada Example", &phone, "1948-04-01", "female", "en", "America/New_York")
        .unwrap()
}

pub fn call(sid: &str, patient_id: Option<PatientId>) -> NewCall<'_> {
    NewCall { call_sid: sid, patient_id, direction: Direction::Inbound, started_at_us: STARTED }
}

pub fn said(at_us: u64, text: &str) -> TimelineEvent {
    TimelineEvent { at_us, kind: TimelineKind::UserTranscript { text: text.to_owned() } }
}

pub fn segment(index: u32, report: serde_json::Value) -> Segment {
    let spans = vec![Span { start_ms: 100, end_ms: 3_100 }, Span { start_ms: 5_000, end_ms: 6_000 }];
    Segment { index, task: "sustained-vowel".to_owned(), spans, report }
}

pub fn finish() -> FinishCall {
    FinishCall {
        outcome: CallOutcome::Completed,
        end_cause: Some(EndCause::StreamStopped),
        ended_at_us: STARTED + 60_000_000,
        agents: vec!["elevenlabs".to_owned(), "script".to_owned()],
        turns: 7,
        interruptions: 2,
    }
}

/// The database itself, past the store.
pub async fn raw(dir: &Path) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    sqlx::SqliteConnection::connect(&config(dir).database_url).await.unwrap()
}

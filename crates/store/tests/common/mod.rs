//! What the store's tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod raw;
pub mod world;

use clinic::{CallOutcome, Direction, EndCause, NewPatient, PatientId, Segment, Span, TimelineEvent, TimelineKind};
use std::path::Path;
use store::{FinishCall, MasterKey, NewCall, Store, StoreConfig, StoreError};

pub const KEY: &str = "4f1c8e0b7a2d5936c1e8f40a9b3d7c5562718293a4b5c6d7e8f90a1b2c3d4e5f";
pub const STARTED: i64 = 1_767_225_600_000_000;

/// Where a PostgreSQL for tests is, such as `postgresql://postgres@127.0.0.1:5432`; without it tests use SQLite. Every
/// test has a database of its own there.
pub fn postgres() -> Option<String> {
    std::env::var("HEARTVOICE_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// True when the tests run on PostgreSQL.
pub fn on_postgres() -> bool {
    postgres().is_some()
}

pub fn config(dir: &Path) -> StoreConfig {
    let database_url = match postgres() {
        Some(server) => format!("{server}/{}", database_name(dir)),
        None => format!("sqlite://{}", dir.join("data/heartvoice.db").display()),
    };
    StoreConfig { database_url, audio_dir: dir.join("audio") }
}

/// The same directory means the same database.
fn database_name(dir: &Path) -> String {
    let name: String = dir.to_string_lossy().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("t{}", name.to_ascii_lowercase())
}

/// Makes the directory's database on the test server, if it is not there yet.
pub async fn create_database(dir: &Path) {
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    let Some(server) = postgres() else { return };
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let made = admin.execute(AssertSqlSafe(format!("CREATE DATABASE {}", database_name(dir)))).await;
    // It is there, or somebody else is making it at this moment.
    let exists = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| ["42P04", "23505"].contains(&code.as_ref()))
    };
    assert!(made.as_ref().err().is_none_or(exists), "{made:?}");
}

pub async fn open(dir: &Path) -> Store {
    try_open(dir, KEY).await.unwrap()
}

pub async fn try_open(dir: &Path, key: &str) -> Result<Store, StoreError> {
    create_database(dir).await;
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

/// On PostgreSQL, writes every value of every column as it is stored to a file where an SQLite database would be, for
/// tests that look for words in it.
pub async fn dump(dir: &Path) {
    use sqlx::{AssertSqlSafe, Connection, PgConnection};
    use std::io::Write;
    if !on_postgres() {
        return;
    }
    std::fs::create_dir_all(dir.join("data")).unwrap();
    let mut file = std::fs::File::create(dir.join("data/heartvoice.db")).unwrap();
    let mut connection = PgConnection::connect(&config(dir).database_url).await.unwrap();
    let columns = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
        WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
    let columns: Vec<(String, String, String)> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();
    for (table, column, kind) in columns {
        let value = if kind == "bytea" { column } else { format!("convert_to({column}::text, 'UTF8')") };
        let values = format!("SELECT COALESCE({value}, ''::bytea) FROM {table}");
        let values: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(values)).fetch_all(&mut connection).await.unwrap();
        for value in values {
            file.write_all(&value).unwrap();
            file.write_all(b"\n").unwrap();
        }
    }
}

/// Changes the database behind the store's back; returns the rows that were changed.
pub async fn tamper(dir: &Path, statement: &'static str) -> u64 {
    use sqlx::{Connection, PgConnection, SqliteConnection};
    let url = config(dir).database_url;
    if on_postgres() {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        return sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected();
    }
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected()
}

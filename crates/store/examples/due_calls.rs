//! Calls that are due, for trying several servers on one database: `due_calls fill` adds patients and plans a call to each
//! of them for now, `due_calls list` prints what became of them as JSON.
//!
//! ```text
//! ENCRYPTION_KEY=... due_calls fill DATABASE_URL AUDIO_DIR COUNT
//! ENCRYPTION_KEY=... due_calls list DATABASE_URL AUDIO_DIR
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use clinic::NewPatient;
use clinic::schedule::on_demand;
use serde_json::json;
use store::{MasterKey, Store, StoreConfig};

/// How long the calls may be placed.
const MINUTES: u32 = 60;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, what, database_url, audio_dir, rest @ ..] = &words[..] else {
        panic!("expected: due_calls fill|list DATABASE_URL AUDIO_DIR ...")
    };
    let key = std::env::var("ENCRYPTION_KEY").expect("ENCRYPTION_KEY");
    let config = StoreConfig { database_url: database_url.clone(), audio_dir: audio_dir.into() };
    let store = Store::open(config, MasterKey::from_hex(&key).unwrap()).await.unwrap();
    match (what.as_str(), rest) {
        ("fill", [count]) => fill(&store, count.parse().unwrap()).await,
        ("list", []) => list(&store).await,
        _ => panic!("expected fill COUNT or list"),
    }
}

async fn fill(store: &Store, count: u32) {
    let now = jiff::Timestamp::now();
    // Where it is noon now; POSIX turns the sign around.
    let zone = format!("Etc/GMT{:+}", i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).hour()) - 12);
    let row = |number: u32| {
        let (id, phone) = (format!("D-{number}"), format!("+1202{}", 2_000_000 + number));
        NewPatient::from_fields(&id, "Ada Example", &phone, "1948-04-01", "female", "en", &zone).unwrap()
    };
    let rows: Vec<_> = (0..count).map(row).collect();
    store.import_patients(&rows).await.unwrap();
    for patient in store.list_patients().await.unwrap() {
        let now_us = jiff::Timestamp::now().as_microsecond();
        let day = on_demand(&zone, now_us, MINUTES).unwrap();
        store.plan_call_now(&patient.id, day, now_us).await.unwrap();
    }
}

async fn list(store: &Store) {
    let mut rows = Vec::new();
    for patient in store.list_patients().await.unwrap() {
        let planned = store.list_planned_calls(&patient.id, 10).await.unwrap();
        let mut attempts = Vec::new();
        for attempt in planned.iter().flat_map(|call| &call.attempts) {
            let known = store.get_attempt(&attempt.id).await.unwrap();
            attempts.push(json!({ "state": known.state.as_str(), "call_sid": known.call_sid }));
        }
        rows.push(json!({ "phone": patient.details.phone.expose(), "planned": planned.len(), "attempts": attempts }));
    }
    println!("{}", serde_json::Value::from(rows));
}

//! A running server holds proof of what it signed: a trail that was changed past it is told of.

use crate::house::until;
use clinic::NewPatient;
use clinic::alerts::{AlertKind, Severity};
use server::{Server, Settings};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use std::future::ready;
use std::path::Path;
use std::time::Duration;
use store::audit::{Actor, AuditFilter, Checkpoint, NewEntry};
use store::{AlertFilter, MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;

const KEY: &str = "4f1c8e0b7a2d5936c1e8f40a9b3d7c5562718293a4b5c6d7e8f90a1b2c3d4e5f";

async fn open(dir: &Path) -> Store {
    let database_url = format!("sqlite://{}", dir.join("test.db").display());
    Store::open(StoreConfig { database_url, audio_dir: dir.join("audio") }, MasterKey::from_hex(KEY).unwrap())
        .await
        .unwrap()
}

fn kept(file: &Path) -> Vec<Checkpoint> {
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is found after a server signed, the trail was tampered with like this, and it signed again.
async fn after(tampering: &[&str], more: u64) -> (Store, Vec<Checkpoint>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let new = NewPatient::from_fields("MRN-1", "Ada Example", "+15005550006", "1948-04-01", "female", "en", "UTC");
    store.add_patient(&new.unwrap()).await.unwrap();
    let file = dir.path().join("checkpoints.jsonl");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::local(listener.local_addr().unwrap());
    settings.audit_checkpoint_file = Some(file.clone());
    let server = Server::start_on(listener, settings, open(dir.path()).await).unwrap();
    until("the first checkpoint", async || !kept(&file).is_empty()).await;
    let database = format!("sqlite://{}", dir.path().join("test.db").display());
    let mut raw = SqliteConnection::connect(&database).await.unwrap();
    for statement in tampering {
        sqlx::query(AssertSqlSafe((*statement).to_owned())).execute(&mut raw).await.unwrap();
    }
    for number in 0..more {
        let entry = NewEntry::new(Actor::operator("tester"), "test.act").detail("number", number);
        store.record(&[entry]).await.unwrap();
    }
    server.shutdown(Duration::ZERO, ready(())).await;
    (store, kept(&file), dir)
}

const EMPTY: [&str; 4] = [
    "DROP TRIGGER audit_entries_remain",
    "DELETE FROM audit_entries",
    "DELETE FROM audit_head",
    "DELETE FROM audit_checkpoints",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_was_emptied_is_told_of_and_signed_on() {
    // Also when the new trail has outgrown the old one before the next signature.
    for more in [0, 1, 20] {
        let (store, kept, _dir) = after(&EMPTY, more).await;
        let alerts = store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap();
        assert_eq!(alerts.len(), 1, "after {more} entries");
        let alert = &alerts[0];
        assert_eq!((alert.kind, alert.severity, alert.occurrences), (AlertKind::Technical, Severity::Urgent, 1));
        assert_eq!(alert.content.as_ref().unwrap().code, "audit_trail_changed");
        // What the server knew is in the new trail, which is signed, and does not verify.
        let filter = AuditFilter { action: Some("audit.contradict".into()), ..AuditFilter::default() };
        let told = store.find_audit(&filter, 10, None).await.unwrap();
        assert_eq!(told.len(), 1);
        let first = kept.first().unwrap();
        assert_eq!(told[0].entry.details["hash"], first.hash);
        assert_eq!(store.verify_audit(&[]).await.unwrap().broken.unwrap().seq, 1);
        let last = kept.last().unwrap();
        assert_eq!(store.last_audit_checkpoint().await.unwrap().as_ref(), Some(last));
        assert!(last.seq > told[0].seq && store.holds_audit_checkpoint(last).await.unwrap());
    }
    let counted = server::metrics::install().unwrap().render();
    assert!(counted.contains("heartvoice_audit_changes_total 3"), "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_a_trail_that_only_grew() {
    let (store, kept, _dir) = after(&[], 5).await;
    assert_eq!(store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap(), []);
    assert_eq!(kept.len(), 2);
    assert_eq!(store.verify_audit(&kept).await.unwrap().broken, None);
}

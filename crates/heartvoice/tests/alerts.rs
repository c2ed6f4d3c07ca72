//! Alerts and tokens on the command line.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::alerts::{AlertKind, NewAlert, Severity};
use common::{KEY, fails, json, succeeds};
use std::path::Path;
use store::{MasterKey, Store, StoreConfig};
use tempfile::tempdir;

fn settings() -> [(&'static str, &'static str); 1] {
    [("ENCRYPTION_KEY", KEY)]
}

/// The store as the command line finds it in this folder.
fn in_store<T>(dir: &Path, work: impl AsyncFnOnce(&Store) -> T) -> T {
    let config = StoreConfig {
        database_url: format!("sqlite://{}", dir.join("heartvoice.db").display()),
        audio_dir: dir.join("heartvoice-audio"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap();
        let done = work(&store).await;
        store.close().await;
        done
    })
}

fn raise(dir: &Path, severity: Severity) -> String {
    let new = NewAlert {
        patient_id: None,
        call_id: None,
        kind: AlertKind::Technical,
        code: format!("failure_{}", severity.as_str()),
        severity,
        summary: "Technical failure: agent configuration".into(),
    };
    in_store(dir, async |store| store.raise_alert(&new, 1_767_225_600_000_000).await.unwrap().id.to_string())
}

#[test]
fn an_alert_is_listed_taken_up_and_resolved() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let urgent = raise(dir, Severity::Urgent);
    let info = raise(dir, Severity::Info);
    let ids = |args: &[&str]| {
        let list = json(dir, &[&["alert", "list", "--format", "json"], args].concat(), &settings());
        list.as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]).len(), 2);
    assert_eq!(ids(&["--severity", "review"]), [urgent.as_str()]);
    let table = succeeds(dir, &["alert", "list"], &settings());
    assert!(table.contains(&info) && table.contains("agent configuration"), "{table}");

    let args = ["alert", "acknowledge", &urgent, "--by", "Nurse Joy", "--note", "restarting", "--format", "json"];
    let taken = json(dir, &args, &settings());
    assert_eq!((&taken["status"], &taken["acknowledged"]["by"]), (&"acknowledged".into(), &"Nurse Joy".into()));
    assert_eq!(ids(&["--status", "open"]), [info.as_str()]);
    let done = succeeds(dir, &["alert", "resolve", &urgent, "--by", "Nurse Joy"], &settings());
    assert_eq!(done.trim(), format!("alert {urgent} is resolved"));
    assert_eq!(ids(&[]), [info]);
    assert_eq!(ids(&["--status", "resolved"]), [urgent.as_str()]);
    let shown = succeeds(dir, &["alert", "show", &urgent], &settings());
    assert!(shown.contains("Nurse Joy: restarting"), "{shown}");
    assert!(fails(dir, &["alert", "acknowledge", &urgent, "--by", "x"], &settings(), 1).contains("resolved"));
    assert!(fails(dir, &["alert", "show", "none"], &settings(), 1).contains("no such alert"));
    fails(dir, &["alert", "acknowledge", &urgent], &settings(), 2);
}

#[test]
fn a_token_is_shown_once_and_ends_when_it_is_revoked() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let token = succeeds(dir, &["token", "create", "--name", "dashboard", "--days", "90"], &settings());
    let knows = |token: &str| {
        let now_us = jiff::Timestamp::now().as_microsecond();
        in_store(dir, async |store| store.check_token(token, now_us).await.unwrap().is_some())
    };
    assert!(knows(token.trim()));
    let list = json(dir, &["token", "list", "--format", "json"], &settings());
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&"dashboard".into(), &"valid".into()));
    assert!(!list.to_string().contains(token.trim()));
    succeeds(dir, &["token", "revoke", list[0]["id"].as_str().unwrap()], &settings());
    assert!(!knows(token.trim()));
    assert!(succeeds(dir, &["token", "list"], &settings()).contains("revoked"));
    assert!(fails(dir, &["token", "revoke", "none"], &settings(), 1).contains("no such token"));
    fails(dir, &["token", "create", "--name", " "], &settings(), 2);
}

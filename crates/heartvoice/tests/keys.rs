//! Keys on the command line: exchanged, listed, and never shown.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KEY, fails, json, run, succeeds};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

const NEXT: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9f0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn add_patient(dir: &Path, number: u32) {
    let (id, phone) = (format!("MRN-{number}"), format!("+1500555{number:04}"));
    let args = [
        "patient",
        "add",
        "--external-id",
        &id,
        "--name",
        "Ada Example",
        "--phone",
        &phone,
        "--birth-date",
        "1948-04-01",
    ];
    succeeds(dir, &args, &[("ENCRYPTION_KEY", KEY)]);
}

fn keks(dir: &Path, key: &str) -> Vec<(String, String, u64)> {
    let keys = json(dir, &["keys", "status", "--format", "json"], &[("ENCRYPTION_KEY", key)]);
    let keks = keys.as_array().unwrap().iter().filter(|key| key["purpose"] == "kek");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    keks.map(|key| (text(&key["id"]), text(&key["state"]), key["data_keys"].as_u64().unwrap())).collect()
}

#[test]
fn keys_are_rotated_and_listed() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    (1..=3).for_each(|number| add_patient(dir, number));
    let before = keks(dir, KEY);
    assert_eq!((before.len(), before[0].1.as_str(), before[0].2), (1, "active", 3));
    let done = json(dir, &["keys", "rotate", "--format", "json"], &[("ENCRYPTION_KEY", KEY)]);
    assert_eq!((done["rewrapped"].as_u64(), done["destroyed"][0].as_str()), (Some(3), Some(before[0].0.as_str())));
    let after = keks(dir, KEY);
    assert_eq!((after[0].1.as_str(), after[1].1.as_str(), after[1].2), ("destroyed", "active", 3));
    assert_eq!(done["active"], after[1].0);
    let table = succeeds(dir, &["keys", "status"], &[("ENCRYPTION_KEY", KEY)]);
    for word in ["kek", "index", "audit", "destroyed", "local:", "DATA KEYS"] {
        assert!(table.contains(word), "{word} is missing: {table}");
    }
    assert!(!table.contains(&KEY[..16]));
    let patients = json(dir, &["patient", "list", "--format", "json"], &[("ENCRYPTION_KEY", KEY)]);
    assert_eq!(patients.as_array().unwrap().len(), 3);
}

#[test]
fn another_master_key_takes_the_place_of_the_old_one() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    add_patient(dir, 1);
    let rotate = ["keys", "rotate", "--master", "--format", "json"];
    let missing = fails(dir, &rotate, &[("ENCRYPTION_KEY", KEY)], 2);
    assert!(missing.contains("ENCRYPTION_KEY_NEXT"), "{missing}");
    let both = [("ENCRYPTION_KEY", KEY), ("ENCRYPTION_KEY_NEXT", NEXT)];
    let same = fails(dir, &rotate, &[("ENCRYPTION_KEY", KEY), ("ENCRYPTION_KEY_NEXT", KEY)], 1);
    assert!(same.contains("the one in use"), "{same}");
    let done = json(dir, &rotate, &both);
    assert_eq!(done["keys"], 3);
    let refused = fails(dir, &["patient", "list"], &[("ENCRYPTION_KEY", KEY)], 2);
    assert!(refused.contains(done["wrapped_by"].as_str().unwrap()), "{refused}");
    assert_eq!(keks(dir, NEXT).len(), 1);
    let again = fails(dir, &rotate, &both, 1);
    assert!(again.contains("already"), "{again}");
    for output in [run(dir, &rotate, &both), run(dir, &["config", "check"], &both)] {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains(&NEXT[..12]) && !said.contains(&KEY[..12]), "{said}");
    }
}

#[test]
fn the_backup_of_the_keys_follows_the_master_key() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    add_patient(dir, 1);
    std::fs::create_dir(dir.join("backups")).unwrap();
    let old = [("ENCRYPTION_KEY", KEY), ("KEY_BACKUP_FILE", "kept.keys")];
    let made = json(dir, &["backup", "create", "--to", "backups", "--format", "json"], &old);
    let both = [old[0], old[1], ("ENCRYPTION_KEY_NEXT", NEXT)];
    let done = json(dir, &["keys", "rotate", "--master", "--format", "json"], &both);
    assert_eq!(done["keys_file"], "kept.keys");
    assert_eq!(store::backup_wrapped_by(&dir.join("kept.keys")).unwrap(), done["wrapped_by"].as_str().unwrap());
    // The archive of before and the keys of after: each opens with its own.
    let archive = made["file"].as_str().unwrap();
    let restore = ["backup", "restore", "--from", archive, "--keys", "kept.keys", "--to-database"];
    let restore =
        [restore.as_slice(), &["sqlite://again/one.db", "--audio", "again/audio", "--format", "json"]].concat();
    let new = [("ENCRYPTION_KEY", NEXT)];
    assert!(fails(dir, &restore, &new, 2).contains("encryption key"));
    assert_eq!(json(dir, &restore, &both)["keys"], 4);
    let there = [("ENCRYPTION_KEY", NEXT), ("DATABASE_URL", "sqlite://again/one.db"), ("AUDIO_STORE", "again/audio")];
    let patients = json(dir, &["patient", "list", "--format", "json"], &there);
    assert_eq!(patients.as_array().unwrap().len(), 1);
}

#[test]
fn a_key_and_a_key_service_at_once_are_refused() {
    let dir = tempdir().unwrap();
    let settings = [
        ("ENCRYPTION_KEY", KEY),
        ("VAULT_ADDR", "https://vault.example.org"),
        ("VAULT_TRANSIT_KEY", "heartvoice"),
        ("VAULT_TOKEN", "planted-token"),
    ];
    let refused = fails(dir.path(), &["keys", "status"], &settings, 2);
    assert!(refused.contains("ENCRYPTION_KEY and VAULT_TRANSIT_KEY") && !refused.contains("planted"), "{refused}");
}

//! Backups: made while calls are written, restored to the same records, refused when anything was changed; and who was
//! erased stays erased.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::PatientId;
use common::raw::Raw;
use common::world::{Known, settle, tester};
use common::{KEY, STARTED, call, config, create_database, finish, on_postgres, open, patient, said, tamper, try_open};
use std::path::{Path, PathBuf};
use store::{
    KeyService, MasterKey, RestorePlan, Restored, Store, StoreConfig, StoreError, backup_wrapped_by, restore_backup,
    restore_keys, verify_backup,
};

const OTHER_KEY: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9f0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const NOW: i64 = STARTED + 86_400_000_000;

fn service() -> KeyService {
    KeyService::Local(MasterKey::from_hex(KEY).unwrap())
}

fn files(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{name}.backup")), dir.join(format!("{name}.keys")))
}

async fn back_up(store: &Store, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (archive, keys) = files(dir, name);
    store.create_backup(&archive, &keys, true, &tester(), NOW).await.unwrap();
    (archive, keys)
}

fn place(dir: &Path, archive: &Path, keys: &Path) -> RestorePlan {
    RestorePlan {
        archive: archive.to_owned(),
        keys: keys.to_owned(),
        database: dir.join("data/restored.db"),
        audio_dir: dir.join("audio"),
    }
}

async fn restore(dir: &Path, archive: &Path, keys: &Path) -> (Restored, Store) {
    let plan = place(dir, archive, keys);
    let restored = restore_backup(&plan, &service(), &service()).await.unwrap();
    let database_url = format!("sqlite://{}", plan.database.display());
    let config = StoreConfig { database_url, audio_dir: plan.audio_dir };
    (restored, Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap())
}

/// Everything there is to read about a patient, as text.
async fn everything(store: &Store, known: &Known) -> String {
    let mut text = format!("{:?}", store.get_patient(&known.id).await.unwrap().details);
    text += &format!("{:?}", store.care_profile(&known.id).await.unwrap().to_json());
    text += &format!("{:?}", store.list_schedules(Some(&known.id)).await.unwrap());
    text += &format!("{:?}", store.get_call(&known.call).await.unwrap());
    text += &format!("{:?}", store.call_events(&known.call).await.unwrap());
    text += &format!("{:?}", store.call_segments(&known.call).await.unwrap());
    text += &format!("{:?}", store.visit(&known.call).await.unwrap());
    let messages = store.post_calls(&known.call).await.unwrap();
    text += &format!("{:?}", messages.iter().map(|message| message.payload.to_vec()).collect::<Vec<_>>());
    text += &format!("{:?}", store.get_alert(&known.alert).await.unwrap());
    text += &format!("{:?}", store.open_recording(&known.call).await.unwrap().patient_track().unwrap());
    text
}

#[tokio::test]
async fn a_backup_restores_every_record() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    assert_eq!(store.last_backup_us().await.unwrap(), None);
    let (archive, keys) = back_up(&store, dir.path(), "one").await;
    assert_eq!(store.last_backup_us().await.unwrap(), Some(NOW));
    let summary = verify_backup(&archive, &service()).await.unwrap();
    assert_eq!((summary.recordings, summary.tables["patients"], summary.tables["events"]), (2, 2, 4));
    // Nothing readable, no key and no scratch file beside.
    let left: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    // Database, recordings, the two files, and by what others would wait for their turn to write the keys.
    assert_eq!(left.len(), 5, "{left:?}");
    for file in [&archive, &keys] {
        let bytes = std::fs::read(file).unwrap();
        for text in ["CREATE TABLE", "in_progress", "data_keys", ada.id.as_str(), "completed"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        }
    }
    // A second one does not write over the first.
    let again = store.create_backup(&archive, &keys, true, &tester(), NOW).await;
    assert_eq!(again.unwrap_err().code(), "conflict");

    let there = tempfile::tempdir().unwrap();
    let (restored, copy) = restore(there.path(), &archive, &keys).await;
    assert_eq!((restored.summary, restored.erased_since), (summary, 0));
    for known in [&ada, &ben] {
        assert_eq!(everything(&copy, known).await, everything(&store, known).await);
    }
    assert_eq!(copy.verify_audit(&[]).await.unwrap().broken, None);
    assert_eq!(copy.audit_public_key(), store.audit_public_key());
    // It is a store like any other.
    copy.add_patient(&patient(3)).await.unwrap();
    copy.close().await;
    // Nothing that is there is written over.
    let plan = place(there.path(), &archive, &keys);
    assert_eq!(restore_backup(&plan, &service(), &service()).await.unwrap_err().code(), "conflict");
    let plan = RestorePlan { database: there.path().join("other.db"), ..plan };
    assert_eq!(restore_backup(&plan, &service(), &service()).await.unwrap_err().code(), "conflict");
    assert!(!plan.database.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_during_a_storm_of_writes_is_of_one_moment() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..u32::MAX {
                // Patient, call and entry, one after the other: none without the one before.
                let Ok(ada) = store.add_patient(&patient(number % 10_000)).await else { return };
                let Ok(handle) = store.begin_call(call(&format!("CA{number}"), Some(ada.id))).await else { return };
                if store.append_events(&handle, 0, &[said(0, "words")]).await.is_err() {
                    return;
                }
                let _ = store.finish_call(&handle.id, finish()).await;
            }
        }
    });
    let mut sizes = Vec::new();
    for number in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let (archive, keys) = back_up(&store, dir.path(), &format!("storm{number}")).await;
        let there = tempfile::tempdir().unwrap();
        let (restored, copy) = restore(there.path(), &archive, &keys).await;
        let tables = &restored.summary.tables;
        assert!(tables["patients"] >= tables["calls"] && tables["patients"] <= tables["calls"] + 1, "{tables:?}");
        assert!(tables["calls"] >= tables["events"] && tables["calls"] <= tables["events"] + 1, "{tables:?}");
        assert_eq!(copy.verify_audit(&[]).await.unwrap().broken, None);
        // Every key is of that moment too.
        assert_eq!(copy.list_patients().await.unwrap().len() as u64, tables["patients"]);
        for record in copy.list_calls(1_000, None).await.unwrap() {
            assert!(copy.call_events(&record.id).await.unwrap().len() <= 1);
        }
        copy.close().await;
        sizes.push(tables["calls"]);
    }
    store.close().await;
    writer.await.unwrap();
    assert!(sizes[0] > 0 && sizes[2] > sizes[0], "{sizes:?}");
}

#[tokio::test]
async fn an_erased_patient_cannot_be_read_from_the_backup_of_yesterday() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let kept = dir.path().join("kept.keys");
    store.keep_key_backup(kept.clone());
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let (archive, old_keys) = back_up(&store, dir.path(), "yesterday").await;
    store.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    let of_ben = everything(&store, &ben).await;
    // The archive itself holds no key at all: the file that was written with it is replaced by that of today.
    let there = tempfile::tempdir().unwrap();
    let (restored, copy) = restore(there.path(), &archive, &kept).await;
    assert_eq!(restored.erased_since, 1);
    assert_eq!(everything(&copy, &ben).await, of_ben);
    let code = |error: StoreError| error.code();
    assert_eq!(copy.get_patient(&ada.id).await.map_err(code), Err("sealed"));
    assert_eq!(copy.call_events(&ada.call).await.map_err(code), Err("sealed"));
    assert_eq!(copy.call_segments(&ada.call).await.map_err(code), Err("sealed"));
    assert_eq!(copy.open_recording(&ada.call).await.map(|_| ()).map_err(code), Err("sealed"));
    assert_eq!(copy.get_alert(&ada.alert).await.unwrap().content, None);
    assert_eq!(copy.care_profile(&ada.id).await.map(|_| ()).map_err(code), Err("sealed"));
    // The erasure is made up for, so that not even sealed values stay.
    assert_eq!(copy.erase_keyless_patients(&tester(), NOW).await.unwrap(), 1);
    let mut raw = Raw::Sqlite(connect(&there.path().join("data/restored.db")).await);
    assert_eq!(raw.tables_with(&ada.ids).await, ["audit_entries".to_owned()].into());
    assert!(!there.path().join(format!("audio/{}.hvr", ada.call)).exists());
    assert_eq!(everything(&copy, &ben).await, of_ben);
    // That this is the doing of the keys: with those of yesterday everything is there.
    let before = tempfile::tempdir().unwrap();
    let (restored, copy) = restore(before.path(), &archive, &old_keys).await;
    assert_eq!(restored.erased_since, 0);
    everything(&copy, &ada).await;
}

async fn connect(path: &Path) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_backup_that_was_changed_is_refused_wherever_it_was() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    settle(dir.path(), &store, 1).await;
    let (archive, keys) = back_up(&store, dir.path(), "one").await;
    let there = tempfile::tempdir().unwrap();
    let bad = there.path().join("bad");
    for good in [&archive, &keys] {
        let bytes = std::fs::read(good).unwrap();
        let is_keys = good == &keys;
        // All of the beginning, then here and there, and all of the end.
        let places = (0..700).chain((700..bytes.len()).step_by(bytes.len() / 97)).chain(bytes.len() - 40..bytes.len());
        for at in places.filter(|at| *at < bytes.len()) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&bad, &changed).unwrap();
            refuse(there.path(), &bad, is_keys, &archive, &keys, &format!("byte {at}")).await;
        }
        for length in [0, 7, 12, 400, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&bad, &bytes[..length]).unwrap();
            refuse(there.path(), &bad, is_keys, &archive, &keys, &format!("{length} bytes")).await;
        }
        std::fs::write(&bad, [bytes.as_slice(), b"x"].concat()).unwrap();
        refuse(there.path(), &bad, is_keys, &archive, &keys, "a byte more").await;
    }
    assert!(!there.path().join("data").exists() && !there.path().join("audio").exists());
    let other = KeyService::Local(MasterKey::random().unwrap());
    assert_eq!(verify_backup(&archive, &other).await.unwrap_err().code(), "wrong_key");
    // The two files are not taken for each other.
    assert_eq!(verify_backup(&keys, &service()).await.unwrap_err().code(), "invalid");
    verify_backup(&archive, &service()).await.unwrap();
}

async fn refuse(there: &Path, bad: &Path, is_keys: bool, archive: &Path, keys: &Path, what: &str) {
    let plan = if is_keys { place(there, archive, bad) } else { place(there, bad, keys) };
    assert!(restore_backup(&plan, &service(), &service()).await.is_err(), "{what} (keys: {is_keys})");
    assert!(!plan.database.exists() && !plan.audio_dir.exists(), "{what}");
}

/// As a database is after a restore without keys.
async fn forget_keys(dir: &Path) {
    assert!(tamper(dir, "DELETE FROM root_keys").await > 0);
    tamper(dir, "DELETE FROM data_keys").await;
}

#[tokio::test]
async fn keys_are_put_back_into_a_database_that_was_restored_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let url = config(dir.path()).database_url;
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let (of_ada, of_ben) = (everything(&store, &ada).await, everything(&store, &ben).await);
    store.record(&[store::audit::NewEntry::new(tester(), "server.start")]).await.unwrap();
    let (keys, later) = (dir.path().join("all.keys"), dir.path().join("later.keys"));
    assert_eq!(store.export_keys(&keys).await.unwrap(), 5);
    assert_eq!(restore_keys(&url, &keys, &service()).await.unwrap_err().code(), "conflict");
    store.close().await;
    forget_keys(dir.path()).await;
    // No server begins anew on what others have written.
    let refused = open_error(dir.path()).await;
    assert_eq!(refused.code(), "keys_missing");
    assert!(refused.to_string().contains("backup restore-keys"), "{refused}");
    let mut raw = Raw::open(dir.path()).await;
    assert_eq!(raw.count("SELECT COUNT(*) FROM root_keys").await, 0);
    // Neither another master key nor the keys of another clinic.
    let other = KeyService::Local(MasterKey::from_hex(OTHER_KEY).unwrap());
    assert_eq!(restore_keys(&url, &keys, &other).await.unwrap_err().code(), "wrong_key");
    let elsewhere = tempfile::tempdir().unwrap();
    let another = open(elsewhere.path()).await;
    another.add_patient(&patient(1)).await.unwrap();
    another.export_keys(&later).await.unwrap();
    another.close().await;
    assert_eq!(restore_keys(&url, &later, &service()).await.unwrap_err().code(), "invalid");
    assert_eq!(raw.count("SELECT COUNT(*) FROM root_keys").await, 0);
    let restored = restore_keys(&url, &keys, &service()).await.unwrap();
    assert_eq!((restored.keys, restored.erased_since), (5, 0));
    let store = open(dir.path()).await;
    assert_eq!((everything(&store, &ada).await, everything(&store, &ben).await), (of_ada, of_ben.clone()));
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
    // Half of them are not none: what there is may be newer.
    store.close().await;
    tamper(dir.path(), "DELETE FROM root_keys").await;
    assert_eq!(open_error(dir.path()).await.code(), "keys_missing");
    assert_eq!(restore_keys(&url, &keys, &service()).await.unwrap_err().code(), "conflict");
    // Into an empty database there is nothing to put them for.
    let empty = tempfile::tempdir().unwrap();
    create_database(empty.path()).await;
    let nowhere = config(empty.path()).database_url;
    assert_eq!(restore_keys(&nowhere, &keys, &service()).await.unwrap_err().code(), "conflict");
    open(empty.path()).await;
}

async fn open_error(dir: &Path) -> StoreError {
    try_open(dir, KEY).await.unwrap_err()
}

#[tokio::test]
async fn an_installation_of_which_only_entries_are_left_is_no_new_one() {
    for record in ["audit", "patient", "call"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        match record {
            "audit" => store.record(&[store::audit::NewEntry::new(tester(), "server.start")]).await.unwrap(),
            "patient" => drop(store.add_patient(&patient(1)).await.unwrap()),
            _ => drop(store.begin_call(call("CA1", None)).await.unwrap()),
        }
        store.close().await;
        forget_keys(dir.path()).await;
        assert_eq!(open_error(dir.path()).await.code(), "keys_missing", "{record}");
    }
}

#[tokio::test]
async fn the_file_of_the_keys_opens_under_the_new_master_key_while_servers_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.keys");
    let (server, command) = (open(dir.path()).await, open(dir.path()).await);
    server.keep_key_backup(kept.clone());
    command.keep_key_backup(kept.clone());
    let ada = settle(dir.path(), &server, 1).await;
    let ben = settle(dir.path(), &server, 2).await;
    let of_ben = everything(&server, &ben).await;
    assert!(server.renew_key_backup().await.unwrap());
    assert_eq!(backup_wrapped_by(&kept).unwrap(), service().id());
    let (archive, unused) = files(dir.path(), "before");
    if !on_postgres() {
        command.create_backup(&archive, &unused, true, &tester(), NOW).await.unwrap();
    }
    let next = KeyService::Local(MasterKey::from_hex(OTHER_KEY).unwrap());
    command.change_master(&next, tester()).await.unwrap();
    assert_eq!(backup_wrapped_by(&kept).unwrap(), next.id());
    let written = std::fs::read(&kept).unwrap();
    // What the server could write would open under neither.
    let elsewhere = dir.path().join("elsewhere.keys");
    for refused in [server.renew_key_backup().await.map(drop), server.export_keys(&elsewhere).await.map(drop)] {
        assert_eq!(refused.unwrap_err().code(), "wrong_key");
    }
    // It goes on with all else, erasing included. The file is made up for by the next process that can.
    server.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    assert!(std::fs::read(&kept).unwrap() == written && !elsewhere.exists());
    let restarted = try_open(dir.path(), OTHER_KEY).await.unwrap();
    restarted.keep_key_backup(kept.clone());
    restarted.finish_erasures().await.unwrap();
    assert_ne!(std::fs::read(&kept).unwrap(), written);
    for store in [server, command, restarted] {
        store.close().await;
    }
    // The disaster.
    forget_keys(dir.path()).await;
    let url = config(dir.path()).database_url;
    assert_eq!(restore_keys(&url, &kept, &service()).await.unwrap_err().code(), "wrong_key");
    assert_eq!(restore_keys(&url, &kept, &next).await.unwrap().keys, 4);
    let store = try_open(dir.path(), OTHER_KEY).await.unwrap();
    assert_eq!(everything(&store, &ben).await, of_ben);
    // An archive of before the exchange needs the former master key, and goes with the keys of after it.
    if !on_postgres() {
        let there = tempfile::tempdir().unwrap();
        let plan = place(there.path(), &archive, &kept);
        assert_eq!(restore_backup(&plan, &next, &next).await.unwrap_err().code(), "wrong_key");
        assert_eq!(restore_backup(&plan, &service(), &next).await.unwrap().erased_since, 1);
        let database_url = format!("sqlite://{}", plan.database.display());
        let config = StoreConfig { database_url, audio_dir: plan.audio_dir };
        let copy = Store::open(config, MasterKey::from_hex(OTHER_KEY).unwrap()).await.unwrap();
        assert_eq!(everything(&copy, &ben).await, of_ben);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_erased_while_a_backup_is_made_is_not_in_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, command) = (open(dir.path()).await, open(dir.path()).await);
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let of_ben = everything(&store, &ben).await;
    let (archive, keys) = files(dir.path(), "one");
    // Somebody else is writing the keys.
    let lock = std::fs::File::create(dir.path().join("one.keys.lock")).unwrap();
    lock.lock().unwrap();
    let backup = tokio::spawn({
        let (store, archive, keys) = (store.clone(), archive.clone(), keys.clone());
        async move {
            if on_postgres() {
                return store.export_keys(&keys).await.map(drop);
            }
            store.create_backup(&archive, &keys, true, &tester(), NOW).await.map(drop)
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert!(!backup.is_finished() && !keys.exists());
    command.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    drop(lock);
    backup.await.unwrap().unwrap();
    if on_postgres() {
        store.close().await;
        forget_keys(dir.path()).await;
        assert_eq!(restore_keys(&config(dir.path()).database_url, &keys, &service()).await.unwrap().keys, 4);
        assert_eq!(everything(&open(dir.path()).await, &ben).await, of_ben);
        return;
    }
    let there = tempfile::tempdir().unwrap();
    let (restored, copy) = restore(there.path(), &archive, &keys).await;
    // The archive is of before the erasure, its keys are of after it.
    assert_eq!((restored.summary.tables["patients"], restored.erased_since, restored.keys), (2, 1, 4));
    assert_eq!(copy.get_patient(&ada.id).await.unwrap_err().code(), "sealed");
    assert_eq!(everything(&copy, &ben).await, of_ben);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_file_of_keys_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    let to = dir.path().join("all.keys");
    // What interrupted ones left, and what is none of theirs.
    for name in
        ["all.keys.partial", "all.keys.0199aaaa-0000-7000-8000-000000000000.partial", "all.keys.old", "b.partial"]
    {
        std::fs::write(dir.path().join(name), "left").unwrap();
    }
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let (store, to) = (if number % 2 == 0 { one.clone() } else { other.clone() }, to.clone());
            tokio::spawn(async move {
                for turn in 0..5 {
                    store.add_patient(&patient(number * 10 + turn)).await.unwrap();
                    store.export_keys(&to).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let names: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let there = |name: &str| names.iter().any(|found| found == name);
    assert!(there("all.keys.old") && there("b.partial"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("all.keys.") && name.ends_with(".partial")), "{names:?}");
    // The last one to write had seen all that were added before.
    one.close().await;
    other.close().await;
    forget_keys(dir.path()).await;
    assert_eq!(restore_keys(&config(dir.path()).database_url, &to, &service()).await.unwrap().keys, 43);
    assert_eq!(open(dir.path()).await.list_patients().await.unwrap().len(), 40);
}

#[tokio::test]
async fn keys_are_exported_on_either_engine() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ids: Vec<PatientId> = {
        store.import_patients(&[patient(1), patient(2)]).await.unwrap();
        store.list_patients().await.unwrap().into_iter().map(|patient| patient.id).collect()
    };
    let to = dir.path().join("all.keys");
    // Two patients and the three keys of the installation.
    assert_eq!(store.export_keys(&to).await.unwrap(), 5);
    assert!(!store.renew_key_backup().await.unwrap());
    store.keep_key_backup(to.clone());
    let before = std::fs::read(&to).unwrap();
    store.erase_patient(&ids[0], &tester(), "patient-request", NOW).await.unwrap();
    assert_ne!(std::fs::read(&to).unwrap(), before);
    assert_eq!(store.export_keys(&to).await.unwrap(), 4);
    if on_postgres() {
        let (archive, keys) = files(dir.path(), "no");
        let refused = store.create_backup(&archive, &keys, true, &tester(), NOW).await.unwrap_err();
        assert!(refused.to_string().contains("pg_dump"), "{refused}");
        assert!(!archive.exists() && !keys.exists());
    }
}

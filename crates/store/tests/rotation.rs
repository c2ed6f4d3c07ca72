//! Exchanging keys: what was sealed before stays readable, and what wrapped it is gone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::{CallId, PatientId};
use common::{KEY, STARTED, call, config, finish, on_postgres, open, patient, said, segment, tamper, try_open};
use serde_json::json;
use std::path::Path;
use store::audit::{Actor, AuditFilter};
use store::{Frame, KeyService, MasterKey, Rotation, RotationStep, Store};

const OTHER_KEY: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9f0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const SECOND: i64 = 1_000_000;

/// What a clinic might have stored.
struct Clinic {
    patients: Vec<PatientId>,
    calls: Vec<CallId>,
}

async fn fill(store: &Store, patients: u32) -> Clinic {
    let (mut ids, mut calls) = (Vec::new(), Vec::new());
    for number in 0..patients {
        let id = store.add_patient(&patient(number)).await.unwrap().id;
        // Every third call is of somebody nobody knows.
        let of = (number % 3 != 2).then(|| id.clone());
        let handle = store.begin_call(call(&format!("CA{number:032}"), of)).await.unwrap();
        store.append_events(&handle, 0, &[said(1, &format!("words {number}"))]).await.unwrap();
        store.add_segment(&handle, &segment(0, json!({"number": number}))).await.unwrap();
        let mut writer = store.recording_writer(&handle).unwrap();
        let ulaw = [u8::try_from(number % 251).unwrap(); 160];
        writer.append(&Frame::Patient { position_samples: 0, arrived_us: 0, ulaw: &ulaw }).unwrap();
        writer.finish().unwrap();
        store.finish_call(&handle.id, finish()).await.unwrap();
        ids.push(id);
        calls.push(handle.id);
    }
    Clinic { patients: ids, calls }
}

async fn check(store: &Store, clinic: &Clinic) {
    assert_eq!(store.list_patients().await.unwrap().len(), clinic.patients.len());
    for (number, id) in clinic.calls.iter().enumerate() {
        let events = format!("{:?}", store.call_events(id).await.unwrap());
        assert!(events.contains(&format!("words {number}")));
        assert_eq!(store.call_segments(id).await.unwrap()[0].report["number"], number);
        let audio = store.open_recording(id).await.unwrap().patient_track().unwrap();
        assert!(audio.len() == 160 && audio[0] == (number % 251) as u8);
    }
}

/// Steps until it is done or `steps` are taken.
async fn run(store: &Store, rotation: &mut Rotation, steps: usize) -> Vec<RotationStep> {
    let mut done = Vec::new();
    while done.len() < steps && done.last() != Some(&RotationStep::Done) {
        done.push(store.rotate_step(rotation, STARTED).await.unwrap());
    }
    done
}

async fn rotate(store: &Store) -> Vec<RotationStep> {
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    run(store, &mut rotation, 1_000).await
}

async fn states(store: &Store) -> Vec<String> {
    let keys = store.root_keys().await.unwrap();
    keys.into_iter().filter(|key| key.purpose == "kek").map(|key| key.state).collect()
}

#[tokio::test]
async fn everything_is_readable_after_a_rotation_and_the_old_key_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clinic = fill(&store, 12).await;
    let old = store.root_keys().await.unwrap().into_iter().find(|key| key.purpose == "kek").unwrap();
    assert_eq!((old.state.as_str(), old.data_keys), ("active", 16), "12 patients, and 4 calls of nobody we know");
    assert!(old.wrapped_by.starts_with("local:") && old.wrapped_version.is_none());
    let steps = rotate(&store).await;
    let RotationStep::Announced { key_id } = &steps[0] else { panic!("{steps:?}") };
    let expected = [
        RotationStep::Announced { key_id: key_id.clone() },
        RotationStep::Activated { key_id: key_id.clone() },
        RotationStep::Rewrapped { data_keys: 16 },
        RotationStep::Destroyed { key_id: old.id.clone() },
        RotationStep::Done,
    ];
    assert_eq!(steps, expected);
    assert_eq!(states(&store).await, ["destroyed", "active"]);
    let keys = store.root_keys().await.unwrap();
    let (old, new) = (keys.iter().find(|k| k.id == old.id).unwrap(), keys.iter().find(|k| k.id == *key_id).unwrap());
    assert!(old.ended_at_us.is_some() && old.data_keys == 0);
    assert!(new.ended_at_us.is_none() && new.data_keys == 16);
    assert_eq!(store.active_key_since_us().await.unwrap(), new.created_at_us);
    check(&store, &clinic).await;
    // A process that starts now has never seen the old key.
    check(&open(dir.path()).await, &clinic).await;
    let trail = store.find_audit(&AuditFilter::default(), 500, None).await.unwrap();
    let told: Vec<_> = trail.iter().filter(|e| e.entry.action.starts_with("key.")).collect();
    let mut actions: Vec<_> = told.iter().map(|e| (e.seq, e.entry.action.as_str())).collect();
    actions.sort_unstable();
    assert_eq!(
        actions.iter().map(|(_, action)| *action).collect::<Vec<_>>(),
        ["key.announce", "key.activate", "key.destroy"]
    );
}

#[tokio::test]
async fn a_rotation_that_is_killed_after_any_step_goes_on() {
    for kill_after in 1..=5 {
        let dir = tempfile::tempdir().unwrap();
        let clinic = {
            let store = open(dir.path()).await;
            let clinic = fill(&store, 6).await;
            let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
            assert!(!rotation.goes_on());
            assert_eq!(run(&store, &mut rotation, kill_after).await.len(), kill_after);
            clinic
        };
        let store = open(dir.path()).await;
        check(&store, &clinic).await;
        let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
        assert_eq!(rotation.goes_on(), kill_after < 4, "after step {kill_after}");
        if rotation.goes_on() {
            run(&store, &mut rotation, 1_000).await;
        }
        assert_eq!(states(&store).await, ["destroyed", "active"], "after step {kill_after}");
        check(&store, &clinic).await;
    }
}

#[tokio::test]
async fn a_rotation_waits_for_every_server_that_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (server, dead, command) = (open(dir.path()).await, open(dir.path()).await, open(dir.path()).await);
    server.announce_server(STARTED).await.unwrap();
    dead.announce_server(STARTED - 20 * SECOND).await.unwrap();
    let clinic = fill(&server, 3).await;
    let mut rotation = command.begin_rotation(Actor::operator("tests")).await.unwrap();
    let mut step = async || command.rotate_step(&mut rotation, STARTED).await.unwrap();
    assert!(matches!(step().await, RotationStep::Announced { .. }));
    let RotationStep::Waiting { servers } = step().await else { panic!("it did not wait") };
    assert_eq!(servers.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), [server.server_id()]);
    server.beat(STARTED).await.unwrap();
    assert!(matches!(step().await, RotationStep::Activated { .. }));
    // Before it writes it looks what is active; the rotation waits nevertheless until it has said so.
    let late = server.add_patient(&patient(77)).await.unwrap().id;
    assert!(matches!(step().await, RotationStep::Waiting { .. }));
    server.beat(STARTED).await.unwrap();
    assert!(matches!(step().await, RotationStep::Rewrapped { data_keys: 4 }));
    assert!(matches!(step().await, RotationStep::Destroyed { .. }));
    assert_eq!(step().await, RotationStep::Done);
    server.beat(STARTED).await.unwrap();
    assert!(server.get_patient(&late).await.is_ok());
    for (number, id) in clinic.calls.iter().enumerate() {
        assert!(format!("{:?}", server.call_events(id).await.unwrap()).contains(&format!("words {number}")));
    }
}

#[tokio::test]
async fn two_rotations_at_once_do_the_same_work_together() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    let clinic = fill(&one, 9).await;
    let (first, second) = tokio::join!(rotate(&one), rotate(&other));
    let destroyed = |steps: &[RotationStep]| steps.iter().any(|step| matches!(step, RotationStep::Destroyed { .. }));
    assert!(destroyed(&first) || destroyed(&second));
    let states = states(&one).await;
    assert_eq!(states.iter().filter(|state| *state == "active").count(), 1);
    assert!(states.iter().all(|state| state == "active" || state == "destroyed"), "{states:?}");
    check(&open(dir.path()).await, &clinic).await;
}

#[tokio::test]
async fn writing_goes_on_while_keys_are_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let (server, command) = (open(dir.path()).await, open(dir.path()).await);
    server.announce_server(STARTED).await.unwrap();
    let writing = tokio::spawn({
        let server = server.clone();
        async move { fill(&server, 60).await }
    });
    let beating = tokio::spawn({
        let server = server.clone();
        async move {
            loop {
                assert!(server.beat(STARTED).await.unwrap().keys_behind.is_none());
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    });
    let mut rotations = 0;
    while !writing.is_finished() {
        rotate_patiently(&command).await;
        rotations += 1;
    }
    let clinic = writing.await.unwrap();
    assert!(rotations >= 2, "{rotations}");
    assert!(!beating.is_finished());
    beating.abort();
    check(&server, &clinic).await;
    check(&open(dir.path()).await, &clinic).await;
}

async fn rotate_patiently(store: &Store) {
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    loop {
        match store.rotate_step(&mut rotation, STARTED).await.unwrap() {
            RotationStep::Done => return,
            RotationStep::Waiting { .. } => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_damaged_data_key_keeps_the_old_key_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clinic = fill(&store, 4).await;
    assert_eq!(
        tamper(
            dir.path(),
            "UPDATE data_keys SET wrapped_key = (SELECT wrapped_key FROM data_keys d \
        WHERE d.kind = 'call') WHERE kind = 'patient' AND id = (SELECT MAX(id) FROM patients)"
        )
        .await,
        1
    );
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    let error = loop {
        match store.rotate_step(&mut rotation, STARTED).await {
            Ok(RotationStep::Done) => panic!("the damaged key was lost"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "corrupt");
    assert!(error.to_string().contains(clinic.patients[3].as_str()), "{error}");
    assert_eq!(states(&store).await, ["retiring", "active"]);
    // All the others have moved on.
    assert!(rotation.rewrapped() == 4 && rotation.found_only_damage());
    // Without the damaged record the rotation ends.
    assert_eq!(tamper(dir.path(), "DELETE FROM data_keys WHERE id = (SELECT MAX(id) FROM patients)").await, 1);
    rotate(&store).await;
    assert_eq!(states(&store).await, ["destroyed", "active"]);
}

/// Rotates to the end, which is a report of damage.
async fn rotate_with_damage(store: &Store) -> (Vec<RotationStep>, String) {
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    let mut steps = Vec::new();
    loop {
        match store.rotate_step(&mut rotation, STARTED).await {
            Ok(RotationStep::Done) => panic!("the damage was not reported"),
            Ok(step) => steps.push(step),
            Err(error) => {
                assert!(error.code() == "corrupt" && rotation.found_only_damage(), "{error}");
                return (steps, error.to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_data_key_does_not_stop_the_rotations_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let kept = dir.path().join("kept.keys");
    store.keep_key_backup(kept.clone());
    let clinic = fill(&store, 5).await;
    let damage = "UPDATE data_keys SET wrapped_key = (SELECT wrapped_key FROM data_keys d WHERE d.kind = 'call') \
        WHERE kind = 'patient' AND id = (SELECT MAX(id) FROM patients)";
    assert_eq!(tamper(dir.path(), damage).await, 1);
    let lost = clinic.patients[4].as_str();
    let (_, error) = rotate_with_damage(&store).await;
    assert!(error.contains(lost), "{error}");
    assert_eq!(states(&store).await, ["retiring", "active"]);
    let mut written = std::fs::read(&kept).unwrap();
    // Each run that begins with that exchanges the active key nevertheless, and says again what does not open.
    for run in 2..5 {
        let active =
            store.root_keys().await.unwrap().into_iter().find(|key| key.state == "active" && key.purpose == "kek");
        let active = active.unwrap().id;
        let (steps, error) = rotate_with_damage(&store).await;
        assert!(error.contains(lost) && error.contains("0 more"), "{error}");
        let is_new = |step: &&RotationStep| matches!(step, RotationStep::Announced { .. });
        assert_eq!(steps.iter().filter(is_new).count(), 1, "{steps:?}");
        assert!(steps.contains(&RotationStep::Destroyed { key_id: active }), "{steps:?}");
        let states = states(&store).await;
        assert_eq!((states.len(), states[0].as_str(), states[run].as_str()), (run + 1, "retiring", "active"));
        assert!(states[1..run].iter().all(|state| state == "destroyed"), "{states:?}");
        let now = std::fs::read(&kept).unwrap();
        assert_ne!(now, written);
        written = now;
    }
    for (id, number) in clinic.calls.iter().zip(0..).take(4) {
        assert!(format!("{:?}", store.call_events(id).await.unwrap()).contains(&format!("words {number}")));
    }
    // Without the damaged record all the old keys go.
    assert_eq!(tamper(dir.path(), "DELETE FROM data_keys WHERE id = (SELECT MAX(id) FROM patients)").await, 1);
    rotate(&store).await;
    assert!(states(&store).await.iter().all(|state| state != "retiring"));
}

#[tokio::test]
async fn a_rotation_that_began_before_the_master_key_was_exchanged_adds_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (rotating, changing) = (open(dir.path()).await, open(dir.path()).await);
    let clinic = fill(&rotating, 3).await;
    let mut rotation = rotating.begin_rotation(Actor::operator("tests")).await.unwrap();
    let next = KeyService::Local(MasterKey::from_hex(OTHER_KEY).unwrap());
    changing.change_master(&next, Actor::operator("tests")).await.unwrap();
    let refused = rotating.rotate_step(&mut rotation, STARTED).await.unwrap_err();
    assert_eq!(refused.code(), "wrong_key");
    assert!(refused.to_string().contains(&next.id()), "{refused}");
    assert_eq!(states(&rotating).await, ["active"]);
    assert!(rotating.root_keys().await.unwrap().iter().all(|key| key.wrapped_by == next.id()));
    // Begun again under the new one, it ends.
    let reopened = try_open(dir.path(), OTHER_KEY).await.unwrap();
    rotate(&reopened).await;
    assert_eq!(states(&reopened).await, ["destroyed", "active"]);
    check(&try_open(dir.path(), OTHER_KEY).await.unwrap(), &clinic).await;
}

/// All bytes of the folder's files.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn no_copy_of_an_old_key_stays_in_the_file_or_its_log() {
    use sqlx::{Connection, SqliteConnection};
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    fill(&store, 4).await;
    let mut beside = SqliteConnection::connect(&config(dir.path()).database_url).await.unwrap();
    let old: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT wrapped FROM root_keys WHERE purpose = 'kek' UNION ALL SELECT wrapped_key FROM data_keys",
    )
    .fetch_all(&mut beside)
    .await
    .unwrap();
    beside.close().await.unwrap();
    let data = dir.path().join("data");
    let is_there = |what: &[u8]| bytes_of(&data).windows(what.len()).any(|window| window == what);
    assert!(old.len() == 6 && old.iter().all(|wrapped| is_there(wrapped)), "the search finds what is there");
    rotate(&store).await;
    assert!(!old.iter().any(|wrapped| is_there(wrapped)), "also while the store is open");
}

#[tokio::test]
async fn a_new_master_key_opens_the_store_and_the_old_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clinic = fill(&store, 3).await;
    let same = KeyService::Local(MasterKey::from_hex(KEY).unwrap());
    assert_eq!(store.change_master(&same, Actor::system()).await.unwrap_err().code(), "conflict");
    let next = KeyService::Local(MasterKey::from_hex(OTHER_KEY).unwrap());
    assert_eq!(store.change_master(&next, Actor::operator("tests")).await.unwrap(), 3);
    let error = try_open(dir.path(), KEY).await.unwrap_err();
    assert_eq!(error.code(), "wrong_key");
    let told = error.to_string();
    assert!(told.contains(&same.id()) && told.contains(&next.id()), "{told}");
    let reopened = try_open(dir.path(), OTHER_KEY).await.unwrap();
    check(&reopened, &clinic).await;
    // The process that was running goes on, reading and writing.
    check(&store, &clinic).await;
    store.announce_server(STARTED).await.unwrap();
    assert!(store.beat(STARTED).await.unwrap().keys_behind.is_none());
    let added = store.add_patient(&patient(50)).await.unwrap().id;
    assert!(reopened.get_patient(&added).await.is_ok());
    // It cannot load a key that the new master wraps, says so, and holds a rotation up until it is restarted.
    let mut rotation = reopened.begin_rotation(Actor::operator("tests")).await.unwrap();
    reopened.rotate_step(&mut rotation, STARTED).await.unwrap();
    let beat = store.beat(STARTED).await.unwrap();
    assert_eq!(beat.keys_behind.unwrap().code(), "wrong_key");
    assert!(matches!(reopened.rotate_step(&mut rotation, STARTED).await.unwrap(), RotationStep::Waiting { .. }));
    assert!(store.get_patient(&added).await.is_ok());
    // And back again: now it can load that key, and the rotation ends.
    let first = KeyService::Local(MasterKey::from_hex(KEY).unwrap());
    reopened.change_master(&first, Actor::operator("tests")).await.unwrap();
    assert!(store.beat(STARTED).await.unwrap().keys_behind.is_none());
    let command = open(dir.path()).await;
    let mut rotation = command.begin_rotation(Actor::operator("tests")).await.unwrap();
    assert!(rotation.goes_on());
    while run(&command, &mut rotation, 1).await != [RotationStep::Done] {
        store.beat(STARTED).await.unwrap();
    }
    let clinic = Clinic { patients: [clinic.patients, vec![added]].concat(), calls: clinic.calls };
    check(&open(dir.path()).await, &clinic).await;
}

#[tokio::test]
async fn an_erased_record_stays_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let clinic = fill(&store, 3).await;
    assert_eq!(tamper(dir.path(), "DELETE FROM data_keys WHERE id = (SELECT MIN(id) FROM patients)").await, 1);
    rotate(&store).await;
    assert_eq!(store.get_patient(&clinic.patients[0]).await.unwrap_err().code(), "sealed");
    assert_eq!(store.call_events(&clinic.calls[0]).await.unwrap_err().code(), "sealed");
    assert!(store.get_patient(&clinic.patients[1]).await.is_ok());
}

#[tokio::test]
async fn alerts_of_nobody_move_on_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let raised = store.raise_alert(&technical_alert(), STARTED).await.unwrap();
    rotate(&store).await;
    store.get_alert(&raised.id).await.unwrap();
}

fn technical_alert() -> NewAlert {
    NewAlert {
        patient_id: None,
        call_id: None,
        kind: AlertKind::Technical,
        severity: Severity::Critical,
        code: "agent_configuration".to_owned(),
        summary: "the agents service does not answer".to_owned(),
    }
}

//! A database that version 0.3.0 made, with the program of that version (`tests/data/0.3.0`): its simulated patients, calls
//! and alerts, a schedule and a token. It opens, everything in it is readable, and its keys can be exchanged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use clinic::{CallId, PhoneNumber};
use common::{KEY, STARTED};
use std::path::Path;
use store::audit::Actor;
use store::{AlertFilter, KeyService, MasterKey, RotationStep, Store, StoreConfig, StoreError};

/// A call with a long timeline, and one with a recording that ends in the middle, as after a power cut.
const LONG: &str = "01a1feec-55d5-7000-a1c8-ba364bbd9083";
const RECORDED: &str = "01a2093b-8062-7000-aaa3-da1d249da586";
/// What version 0.3.0 named the key.
const OLD_NAME: &str = "a569a2d092c2989f";
const OTHER_KEY: &str = "a0b1c2d3e4f5061728394a5b6c7d8e9f0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn unpack(dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/0.3.0");
    std::fs::create_dir(dir.join("audio")).unwrap();
    std::fs::copy(from.join("heartvoice.sqlite"), dir.join("heartvoice.db")).unwrap();
    let recording = format!("audio/{RECORDED}.hvr");
    std::fs::copy(from.join(&recording), dir.join(&recording)).unwrap();
}

async fn open(dir: &Path, key: &str) -> Result<Store, StoreError> {
    let database_url = format!("sqlite://{}", dir.join("heartvoice.db").display());
    Store::open(StoreConfig { database_url, audio_dir: dir.join("audio") }, MasterKey::from_hex(key).unwrap()).await
}

/// Everything there is, compared with what the old program showed.
async fn check(store: &Store) {
    let patients = store.list_patients().await.unwrap();
    let names: Vec<_> = patients.iter().map(|patient| patient.details.name.as_str()).collect();
    assert_eq!(names, ["Ada Example", "Bruno Sample", "Carla Specimen"]);
    let phone = PhoneNumber::parse(patients[1].details.phone.expose()).unwrap();
    assert_eq!(store.find_patients_by_phone(&phone).await.unwrap()[0].id, patients[1].id);
    let calls = store.list_calls(100, None).await.unwrap();
    assert_eq!(calls.len(), 4);
    let (mut events, mut segments) = (0, 0);
    for call in &calls {
        let handle = store.call_handle(&call.id).await.unwrap();
        let sid = store.call_sid(&handle).await.unwrap();
        assert_eq!(store.find_call_by_sid(&sid).await.unwrap().unwrap().id, call.id);
        events += store.call_events(&call.id).await.unwrap().len();
        segments += store.call_segments(&call.id).await.unwrap().len();
        assert!(store.visit(&call.id).await.unwrap().unwrap().assessment.is_some());
    }
    assert_eq!((events, segments), (79, 6));
    let long = store.visit(&CallId::parse(LONG).unwrap()).await.unwrap().unwrap();
    let composite = long.assessment.unwrap()["acoustic"]["composite"].as_f64().unwrap();
    assert!((composite - 0.088_014_360_483_396_45).abs() < 1e-12);
    let alerts = store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap();
    assert_eq!(alerts.len(), 3);
    for alert in alerts {
        assert!(alert.content.is_some());
        assert_eq!(store.alert_occurrences(&alert.id).await.unwrap().len(), 1);
    }
    for patient in &patients {
        store.care_profile(&patient.id).await.unwrap();
    }
    assert_eq!(store.list_schedules(Some(&patients[0].id)).await.unwrap().len(), 1);
    let token = format!("hv_{}", "b14c902364a1287be7ac5b0f0974ed015f417e5ec263707f64b77dbaeb46550f");
    assert_eq!(store.check_token(&token, STARTED).await.unwrap().unwrap().name, "upgrade");
    let mut recording = store.open_recording(&CallId::parse(RECORDED).unwrap()).await.unwrap();
    assert!(!recording.patient_track().unwrap().is_empty());
}

#[tokio::test]
async fn everything_in_a_database_of_version_0_3_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path());
    let error = open(dir.path(), OTHER_KEY).await.unwrap_err();
    assert_eq!(error.code(), "wrong_key");
    assert!(error.to_string().contains(OLD_NAME), "{error}");
    check(&open(dir.path(), KEY).await.unwrap()).await;
    // The trail begins with the keys that the first opening made, and never again.
    let store = open(dir.path(), KEY).await.unwrap();
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
    // They are derived once. A database that lost them later is not taken for one of that version again.
    let lost = tempfile::tempdir().unwrap();
    unpack(lost.path());
    open(lost.path(), KEY).await.unwrap().close().await;
    let url = format!("sqlite://{}", lost.path().join("heartvoice.db").display());
    let mut raw = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("DELETE FROM root_keys").execute(&mut raw).await.unwrap();
    assert_eq!(open(lost.path(), KEY).await.unwrap_err().code(), "keys_missing");
    // The second opening finds the keys that the first one made.
    let store = open(dir.path(), KEY).await.unwrap();
    check(&store).await;
    let keys = store.root_keys().await.unwrap();
    assert_eq!(keys.len(), 3);
    let kek = keys.iter().find(|key| key.purpose == "kek").unwrap();
    use sqlx::{Connection, SqliteConnection};
    let database = format!("sqlite://{}", dir.path().join("heartvoice.db").display());
    let mut raw = SqliteConnection::connect(&database).await.unwrap();
    sqlx::query("DELETE FROM audit_head").execute(&mut raw).await.unwrap();
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken.unwrap().seq, 1);
    // Three patients and four calls; alerts of patients are sealed under their patient's key.
    assert_eq!((kek.id.as_str(), kek.data_keys), (OLD_NAME, 7));
}

#[tokio::test]
async fn the_keys_of_a_database_of_version_0_3_are_rotated() {
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path());
    let store = open(dir.path(), KEY).await.unwrap();
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    while store.rotate_step(&mut rotation, STARTED).await.unwrap() != RotationStep::Done {}
    assert_eq!(rotation.rewrapped(), 7);
    let keys = store.root_keys().await.unwrap();
    assert_eq!(keys.iter().find(|key| key.id == OLD_NAME).unwrap().state, "destroyed");
    let next = KeyService::Local(MasterKey::from_hex(OTHER_KEY).unwrap());
    store.change_master(&next, Actor::operator("tests")).await.unwrap();
    assert_eq!(open(dir.path(), KEY).await.unwrap_err().code(), "wrong_key");
    check(&open(dir.path(), OTHER_KEY).await.unwrap()).await;
    // New calls of its patients are sealed and found like any other.
    let store = open(dir.path(), OTHER_KEY).await.unwrap();
    let ada = store.list_patients().await.unwrap().remove(0);
    let handle = store.begin_call(common::call("CAnew", Some(ada.id))).await.unwrap();
    store.append_events(&handle, 0, &[common::said(1, "hello")]).await.unwrap();
    assert!(format!("{:?}", store.call_events(&handle.id).await.unwrap()).contains("hello"));
}

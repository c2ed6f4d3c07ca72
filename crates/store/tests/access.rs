//! An access is one transaction: what was done in it and the entries of the audit trail that tell of it stand or fall
//! together.
#![allow(clippy::unwrap_used)]

mod common;

use common::{call, open, patient};
use store::audit::{Actor, AuditFilter, NewEntry};

fn entry(action: &str) -> NewEntry {
    NewEntry::new(Actor::operator("tester"), action)
}

#[tokio::test]
async fn entries_and_changes_become_durable_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let access = store.begin_access().await.unwrap();
    let added = access.store().add_patient(&patient(1)).await.unwrap();
    let told = entry("patient.add").object("patient", &added.id).patient(Some(&added.id));
    access.commit(&[told]).await.unwrap();
    assert_eq!(store.get_patient(&added.id).await.unwrap(), added);
    let found = store.find_audit(&AuditFilter::default(), 10, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].seq, found[0].entry.patient.as_ref()), (1, Some(&added.id)));
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
}

#[tokio::test]
async fn without_an_entry_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let access = store.begin_access().await.unwrap();
    let added = access.store().add_patient(&patient(1)).await.unwrap();
    // An entry that the trail does not take.
    let refused = entry("patient.add").detail("much", "x".repeat(10_000));
    assert_eq!(access.commit(&[refused]).await.unwrap_err().code(), "invalid");
    assert_eq!(store.get_patient(&added.id).await.unwrap_err().code(), "not_found");
    assert_eq!(store.find_audit(&AuditFilter::default(), 10, None).await.unwrap(), []);
    // And the database is free for others.
    store.add_patient(&patient(1)).await.unwrap();
}

#[tokio::test]
async fn an_access_that_is_dropped_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let access = store.begin_access().await.unwrap();
    access.store().add_patient(&patient(1)).await.unwrap();
    drop(access);
    assert_eq!(store.list_patients().await.unwrap(), []);
}

#[tokio::test]
async fn a_part_that_fails_undoes_itself_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let access = store.begin_access().await.unwrap();
    let inside = access.store();
    inside.add_patient(&patient(1)).await.unwrap();
    assert_eq!(inside.add_patient(&patient(1)).await.unwrap_err().code(), "conflict");
    let mut changed = patient(1);
    changed.name = "Somebody Else".to_owned();
    let import = inside.import_patients(&[patient(2), changed]).await.unwrap();
    assert_eq!((import.added, import.conflicts), (0, vec![1]));
    inside.begin_call(call("CA1", None)).await.unwrap();
    assert_eq!(inside.begin_call(call("CA1", None)).await.unwrap_err().code(), "conflict");
    access.commit(&[entry("test.mixed")]).await.unwrap();
    let names: Vec<String> = store.list_patients().await.unwrap().into_iter().map(|p| p.details.external_id).collect();
    assert_eq!(names, ["MRN-1"]);
    let actions = store.find_audit(&AuditFilter::default(), 10, None).await.unwrap();
    let actions: Vec<&str> = actions.iter().map(|entry| entry.entry.action.as_str()).collect();
    assert_eq!(actions, ["test.mixed", "call.begin"]);
}

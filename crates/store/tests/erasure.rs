//! An erased patient is gone: from every table, from the bytes of every file, and for whoever has the keys that are left.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::PatientId;
use clinic::alerts::{AlertKind, AlertStatus, NewAlert, Severity};
use clinic::{AlertId, CallId};
use common::raw::{Raw, found_in_files};
use common::world::{Known, finished_call, settle, tester};
use common::{STARTED, call, on_postgres, open, patient};
use std::collections::BTreeSet;
use store::audit::{AuditFilter, NewEntry};
use store::{DestructionKind, Erased, Store};

const NOW: i64 = STARTED + 86_400_000_000;

async fn erase(store: &Store, id: &PatientId) {
    store.erase_patient(id, &tester(), "patient-request", NOW).await.unwrap();
}

/// Sealed values and wrapped keys of a patient, as they are in the database.
async fn sealed_of(raw: &mut Raw, known: &Known) -> Vec<Vec<u8>> {
    let (id, call, alert) = (&known.id, &known.call, &known.alert);
    let mut values = Vec::new();
    for text in [
        format!("SELECT wrapped_key FROM data_keys WHERE id IN ('{id}', '{call}', '{alert}')"),
        format!("SELECT wrapped_key FROM calls WHERE id = '{call}'"),
        format!("SELECT call_sid FROM calls WHERE id = '{call}'"),
        format!("SELECT details FROM patients WHERE id = '{id}'"),
        format!("SELECT profile FROM profiles WHERE patient_id = '{id}'"),
        format!("SELECT payload FROM events WHERE call_id = '{call}'"),
        format!("SELECT report FROM segments WHERE call_id = '{call}'"),
        format!("SELECT facts FROM visits WHERE call_id = '{call}'"),
        format!("SELECT payload FROM post_calls WHERE call_id = '{call}'"),
        format!("SELECT content FROM alerts WHERE id = '{alert}'"),
        format!("SELECT content FROM alert_occurrences WHERE alert_id = '{alert}'"),
        format!("SELECT definition FROM schedules WHERE patient_id = '{id}'"),
    ] {
        let found = raw.blobs(&text).await;
        assert!(!found.is_empty(), "{text}");
        values.extend(found);
    }
    values
}

#[tokio::test]
async fn nothing_of_an_erased_patient_is_left_in_any_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let nobody = finished_call(&store, None, "CAnobody", STARTED).await;
    let mut raw = Raw::open(dir.path()).await;
    let before = raw.tables_with(&ada.ids).await;
    // A new table that concerns patients, calls or alerts has to be erased too: fill it in `common::world`, and erase it.
    let references = ["patient_id", "call_id", "alert_id", "planned_call_id", "schedule_id"];
    let columns = raw.columns().await;
    let concerned = columns.iter().filter(|(_, column)| references.contains(&column.as_str()));
    let concerned: BTreeSet<String> = concerned.map(|(table, _)| table.clone()).collect();
    // A hold forbids to erase; removals are made by erasing.
    let empty: BTreeSet<String> = ["legal_holds", "audio_removals"].map(str::to_owned).into();
    let missing: Vec<&String> = concerned.difference(&before).filter(|table| !empty.contains(*table)).collect();
    assert!(missing.is_empty(), "nothing of the patient is in {missing:?}");
    assert!(concerned.len() > 12, "{concerned:?}");
    let of_ben = raw.tables_with(&ben.ids).await;

    let certificate = store.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    // The trail tells what was done, by identifiers; so does the certificate, inside its text.
    assert_eq!(raw.tables_with(&ada.ids).await, ["audit_entries".to_owned()].into());
    assert_eq!(raw.tables_with(&ben.ids).await, of_ben);
    assert_eq!(store.get_patient(&ada.id).await.unwrap_err().code(), "not_found");
    assert_eq!(store.open_recording(&ada.call).await.unwrap_err().code(), "not_found");
    assert!(!dir.path().join(format!("audio/{}.hvr", ada.call)).exists());
    for call in [&ben.call, &nobody] {
        assert_eq!(store.call_events(call).await.unwrap().len(), 2);
        assert_eq!(store.open_recording(call).await.unwrap().patient_track().unwrap().len(), 8_000);
    }

    let said = certificate.destruction().unwrap();
    assert_eq!(
        (said.kind, said.rule.as_str(), said.patient.as_ref()),
        (DestructionKind::Patient, "request", Some(&ada.id))
    );
    assert_eq!(said.keys, [format!("patient/{}", ada.id)]);
    for (name, count) in [("patients", 1), ("calls", 1), ("events", 2), ("recordings", 1), ("keys", 1), ("alerts", 1)] {
        assert_eq!(said.counts.get(name), Some(&count), "{name}: {:?}", said.counts);
    }
    assert!(certificate.is_signed_by(&store.audit_public_key().1));
    let mut forged = certificate.clone();
    forged.content = forged.content.replace("\"calls\":1", "\"calls\":2");
    assert_ne!(forged, certificate);
    assert!(!forged.is_signed_by(&store.audit_public_key().1));
    assert_eq!(store.certificates(10, None).await.unwrap(), [certificate]);
    let filter = AuditFilter { action: Some("patient.erase".into()), ..AuditFilter::default() };
    let found = store.find_audit(&filter, 10, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].entry.object, Some(("certificate".to_owned(), said.id)));
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
    // The clinic's number is free again.
    store.add_patient(&patient(1)).await.unwrap();
}

#[tokio::test]
async fn the_bytes_of_an_erased_patient_are_in_no_file() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let mut raw = Raw::open(dir.path()).await;
    let (of_ada, of_ben) = (sealed_of(&mut raw, &ada).await, sealed_of(&mut raw, &ben).await);
    drop(raw);
    let audio = std::fs::read(dir.path().join(format!("audio/{}.hvr", ada.call))).unwrap();
    let blocks: Vec<Vec<u8>> = audio.chunks(100).skip(1).map(<[u8]>::to_vec).collect();
    assert!(of_ada.len() >= 12 && blocks.len() > 50);
    assert_eq!(found_in_files(dir.path(), &of_ada), of_ada.len());
    assert_eq!(found_in_files(dir.path(), &blocks), blocks.len());
    erase(&store, &ada.id).await;
    assert_eq!(found_in_files(dir.path(), &of_ada), 0);
    assert_eq!(found_in_files(dir.path(), &blocks), 0);
    assert_eq!(found_in_files(dir.path(), &of_ben), of_ben.len());
    store.close().await;
    assert_eq!(found_in_files(dir.path(), &of_ada), 0);
}

#[tokio::test]
async fn of_many_patients_the_keys_of_the_erased_ones_are_in_no_file() {
    if on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let rows: Vec<_> = (0..200).map(patient).collect();
    store.import_patients(&rows).await.unwrap();
    let mut ids: Vec<PatientId> = store.list_patients().await.unwrap().into_iter().map(|patient| patient.id).collect();
    let mut raw = Raw::open(dir.path()).await;
    // An order that has nothing to do with that of the pages.
    ids.sort_by_key(|id| id.as_str().bytes().rev().collect::<Vec<u8>>());
    let (gone, kept) = ids.split_at(150);
    let mut keys = Vec::new();
    for id in gone {
        keys.extend(raw.blobs(&format!("SELECT wrapped_key FROM data_keys WHERE id = '{id}'")).await);
    }
    drop(raw);
    assert_eq!(found_in_files(dir.path(), &keys), 150);
    for id in gone {
        erase(&store, id).await;
    }
    assert_eq!(found_in_files(dir.path(), &keys), 0);
    assert_eq!(store.list_patients().await.unwrap().len(), kept.len());
}

#[tokio::test]
async fn a_hold_and_a_running_call_forbid_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let by = tester();
    store.set_hold(&ada, "case-2026-17", &by, NOW).await.unwrap();
    assert_eq!(store.set_hold(&ada, "case-2026-18", &by, NOW).await.unwrap_err().code(), "conflict");
    let refused = store.erase_patient(&ada, &by, "patient-request", NOW).await.unwrap_err();
    assert!(refused.to_string().contains("legal hold"), "{refused}");
    assert_eq!(store.holds().await.unwrap()[0].code, "case-2026-17");
    store.clear_hold(&ada, &by).await.unwrap();
    assert_eq!(store.clear_hold(&ada, &by).await.unwrap_err().code(), "not_found");
    let handle = store.begin_call(call("CA1", Some(ada.clone()))).await.unwrap();
    let refused = store.erase_patient(&ada, &by, "patient-request", NOW).await.unwrap_err();
    assert!(refused.to_string().contains("in progress"), "{refused}");
    store.get_patient(&ada).await.unwrap();
    store.finish_call(&handle.id, common::finish()).await.unwrap();
    for reason in ["", "Ada Example", "x".repeat(65).as_str()] {
        assert_eq!(store.erase_patient(&ada, &by, reason, NOW).await.unwrap_err().code(), "invalid");
        assert_eq!(store.set_hold(&ada, reason, &by, NOW).await.unwrap_err().code(), "invalid");
    }
    erase(&store, &ada).await;
    assert_eq!(store.erase_patient(&ada, &by, "patient-request", NOW).await.unwrap_err().code(), "not_found");
    assert_eq!(store.set_hold(&ada, "case", &by, NOW).await.unwrap_err().code(), "not_found");
    let filter = AuditFilter { actor: Some("tester".into()), ..AuditFilter::default() };
    let found = store.find_audit(&filter, 10, None).await.unwrap();
    let actions: Vec<String> = found.into_iter().map(|entry| entry.entry.action).collect();
    assert_eq!(actions, ["patient.erase", "hold.clear", "hold.set"]);
}

/// A matter of all calls, found during this one.
async fn for_everybody(store: &Store, code: &str, call: &CallId) -> AlertId {
    let alert = NewAlert {
        patient_id: None,
        call_id: Some(call.clone()),
        kind: AlertKind::Technical,
        code: code.into(),
        severity: Severity::Urgent,
        summary: "Technical failure: agent configuration".into(),
    };
    store.raise_alert(&alert, STARTED).await.unwrap().id
}

#[tokio::test]
async fn an_alert_about_the_calls_of_many_stays_without_those_of_the_erased() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    // The latest occurrence is of the patient who is erased.
    let shared = for_everybody(&store, "agent_configuration", &ben.call).await;
    assert_eq!(for_everybody(&store, "agent_configuration", &ada.call).await, shared);
    // Here an earlier one.
    let earlier = for_everybody(&store, "agent_unavailable", &ada.call).await;
    for_everybody(&store, "agent_unavailable", &ben.call).await;
    let alone = for_everybody(&store, "recording_failed", &ada.call).await;
    let mut raw = Raw::open(dir.path()).await;
    raw.run(&format!(
        "INSERT INTO deliveries (id, alert_id, climb, step, contact, channel, state, attempts, unsure, next_try_us, \
         made_at_us) VALUES ('delivery-shared', '{shared}', 1, 1, 0, 'sms', 'waiting', 0, 0, 1, 1)"
    ))
    .await;
    let certificate = store.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    let said = certificate.destruction().unwrap();
    assert_eq!(said.keys, [format!("alert/{alone}"), format!("patient/{}", ada.id)]);
    // What was said of the patient's call in an alert that stays is sealed under a key that stays.
    assert!(said.method.contains("deletion of the rest"), "{}", said.method);
    assert_eq!(said.counts.get("alerts"), Some(&2), "{:?}", said.counts);
    for (alert, call) in [(&shared, None), (&earlier, Some(&ben.call))] {
        let left = store.get_alert(alert).await.unwrap();
        assert_eq!((left.status, left.call_id.as_ref()), (AlertStatus::Open, call));
        assert!(left.content.is_some());
        let occurrences = store.alert_occurrences(alert).await.unwrap();
        let of: Vec<Option<&CallId>> = occurrences.iter().map(|occurrence| occurrence.call_id.as_ref()).collect();
        assert_eq!(of, [Some(&ben.call)]);
    }
    let sent = "SELECT COUNT(*) FROM deliveries WHERE id = 'delivery-shared' AND state = 'waiting'";
    assert_eq!(raw.count(sent).await, 1);
    assert_eq!(store.get_alert(&alone).await.unwrap_err().code(), "not_found");
    assert_eq!(raw.count(&format!("SELECT COUNT(*) FROM data_keys WHERE id = '{alone}'")).await, 0);
    // It goes on, and ends with the last patient it was about.
    assert_eq!(for_everybody(&store, "agent_configuration", &ben.call).await, shared);
    erase(&store, &ben.id).await;
    assert_eq!(store.get_alert(&shared).await.unwrap_err().code(), "not_found");
    assert_eq!(raw.count("SELECT COUNT(*) FROM data_keys").await, 0);
    assert_eq!(raw.count("SELECT COUNT(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn a_certificate_counts_no_recording_that_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let refused = finished_call(&store, Some(&ada.id), "CArefused", STARTED).await;
    assert_eq!(store.erase_recording(&refused).await.unwrap(), Erased::Everything { copies: 1 });
    assert_eq!(store.erase_recording(&refused).await.unwrap(), Erased::Everything { copies: 0 });
    assert_eq!(store.open_recording(&refused).await.unwrap_err().code(), "not_found");
    assert_eq!(store.finish_erasures().await.unwrap(), 0);
    let certificate = store.erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    let said = certificate.destruction().unwrap();
    assert_eq!((said.counts.get("calls"), said.counts.get("recordings")), (Some(&2), Some(&1)));
    assert!(said.method.starts_with("cryptographic erase: the keys"), "{}", said.method);
}

#[tokio::test]
async fn a_recording_that_cannot_be_removed_stands_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let ben = settle(dir.path(), &store, 2).await;
    let refused = finished_call(&store, None, "CArefused", STARTED).await;
    let file = |call: &CallId| dir.path().join(format!("audio/{call}.hvr"));
    // What is in the way cannot be removed as a file.
    let block = |call: &CallId| {
        std::fs::remove_file(file(call)).unwrap();
        std::fs::create_dir(file(call)).unwrap();
    };
    block(&ada.call);
    block(&refused);
    assert_eq!(store.erase_recording(&refused).await.unwrap_err().code(), "unavailable");
    let mut raw = Raw::open(dir.path()).await;
    let keys = raw.blobs(&format!("SELECT wrapped_key FROM data_keys WHERE id = '{}'", ada.id)).await;
    for known in [&ada, &ben] {
        let erased = store.erase_patient(&known.id, &tester(), "patient-request", NOW).await;
        assert_eq!(erased.unwrap_err().code(), "unavailable");
        assert_eq!(store.get_patient(&known.id).await.unwrap_err().code(), "not_found");
    }
    assert!(!file(&ben.call).exists());
    assert_eq!(raw.count("SELECT COUNT(*) FROM audio_removals").await, 2);
    assert_eq!(raw.count("SELECT COUNT(*) FROM meta WHERE name = 'scrub_keys'").await, 0);
    drop(raw);
    if !on_postgres() {
        assert_eq!(found_in_files(dir.path(), &keys), 0);
    }
    for call in [&ada.call, &refused] {
        std::fs::remove_dir(file(call)).unwrap();
    }
    assert_eq!(store.finish_erasures().await.unwrap(), 2);
}

#[tokio::test]
async fn where_nothing_can_be_removed_it_is_given_up_soon_and_others_come_first_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut raw = Raw::open(dir.path()).await;
    for number in 0..9 {
        if number < 6 {
            std::fs::create_dir(dir.path().join(format!("audio/gone-{number}.hvr"))).unwrap();
        }
        raw.run(&format!("INSERT INTO audio_removals (call_id, since_us) VALUES ('gone-{number}', {number})")).await;
    }
    let left = "SELECT call_id FROM audio_removals ORDER BY since_us, call_id";
    assert_eq!(store.finish_erasures().await.unwrap_err().code(), "unavailable");
    let waiting = raw.texts(left).await;
    assert_eq!((waiting.len(), waiting[0].as_str()), (9, "gone-5"));
    assert_eq!(store.finish_erasures().await.unwrap_err().code(), "unavailable");
    assert_eq!(raw.texts(left).await.len(), 6);
}

#[tokio::test]
async fn what_an_access_erases_is_gone_when_it_ends_and_files_follow_even_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let file = dir.path().join(format!("audio/{}.hvr", ada.call));
    let access = store.begin_access().await.unwrap();
    access.store().erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    assert_eq!(access.store().finish_erasures().await.unwrap_err().code(), "conflict");
    drop(access);
    assert_eq!(store.call_events(&ada.call).await.unwrap().len(), 2);
    assert_eq!(store.certificates(10, None).await.unwrap(), []);

    let access = store.begin_access().await.unwrap();
    access.store().erase_patient(&ada.id, &tester(), "patient-request", NOW).await.unwrap();
    access.commit(&[NewEntry::new(tester(), "patient.erase")]).await.unwrap();
    assert!(file.exists());
    // As after a crash: another process takes it up. A file that is gone already is no trouble.
    store.close().await;
    let store = open(dir.path()).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(store.finish_erasures().await.unwrap(), 1);
    assert_eq!(store.finish_erasures().await.unwrap(), 0);
    assert_eq!(store.certificates(10, None).await.unwrap().len(), 1);
}

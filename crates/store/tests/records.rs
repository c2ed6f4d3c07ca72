//! Patients and calls: what is put in comes out, and what must not happen is refused by name.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::care::CareProfile;
use clinic::{CallId, CallOutcome, EndCause, PatientId, PhoneNumber, TimelineEvent, TimelineKind};
use common::{KEY, STARTED, call, finish, open, patient, said, segment, try_open};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use store::{FinishCall, ImportSummary, MasterKey, NewCall, Store, StoreConfig};

#[tokio::test]
async fn patients_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap();
    let ben = store.add_patient(&patient(2)).await.unwrap();
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!(store.get_patient(&ada.id).await.unwrap(), ada);
    assert_eq!(store.list_patients().await.unwrap(), [ada.clone(), ben.clone()]);
    assert_eq!(store.find_patients_by_phone(&ben.details.phone).await.unwrap(), [ben]);
    let nobody = PhoneNumber::parse("+15005559999").unwrap();
    assert_eq!(store.find_patients_by_phone(&nobody).await.unwrap(), []);
    let unknown = PatientId::parse("unknown").unwrap();
    assert_eq!(store.get_patient(&unknown).await.unwrap_err().code(), "not_found");
    assert_eq!(store.add_patient(&patient(1)).await.unwrap_err().code(), "conflict");
}

#[tokio::test]
async fn a_couple_may_share_a_telephone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut both = [patient(1), patient(2)];
    both[1].phone = both[0].phone.clone();
    for person in &both {
        store.add_patient(person).await.unwrap();
    }
    let found = store.find_patients_by_phone(&both[0].phone).await.unwrap();
    assert_eq!(found.into_iter().map(|p| p.details).collect::<Vec<_>>(), both);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let long = clinic::NewPatient { name: "x".repeat(9_000), ..patient(1) };
    assert_eq!(store.add_patient(&long).await.unwrap_err().code(), "invalid");
    assert_eq!(store.list_patients().await.unwrap(), []);
}

#[tokio::test]
async fn an_import_adds_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.add_patient(&patient(1)).await.unwrap();
    let rows: Vec<_> = [1, 2, 3, 3].map(patient).into();
    let summary = store.import_patients(&rows).await.unwrap();
    assert_eq!(summary, ImportSummary { added: 2, unchanged: 2, conflicts: vec![] });
    let again = store.import_patients(&rows).await.unwrap();
    assert_eq!(again, ImportSummary { added: 0, unchanged: 4, conflicts: vec![] });

    let other = clinic::NewPatient { name: "Somebody Else".to_owned(), ..patient(2) };
    let contradicting = store.import_patients(&[patient(4), other.clone(), patient(1)]).await.unwrap();
    assert_eq!(contradicting, ImportSummary { added: 0, unchanged: 1, conflicts: vec![1] });
    let within = clinic::NewPatient { name: "Somebody Else".to_owned(), ..patient(5) };
    assert_eq!(store.import_patients(&[patient(5), within]).await.unwrap().conflicts, [1]);
    let long = clinic::NewPatient { name: "x".repeat(9_000), ..patient(7) };
    assert_eq!(store.import_patients(&[patient(6), long]).await.unwrap_err().code(), "invalid");
    assert_eq!(store.list_patients().await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_import_gives_new_patients_their_profile_and_leaves_that_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let known = store.add_patient(&patient(1)).await.unwrap().id;
    let noted = |pin: &str| {
        let mut care = CareProfile::default();
        care.set("pin", pin).unwrap();
        care
    };
    let rows = [(patient(1), noted("1111")), (patient(2), noted("80472913")), (patient(3), CareProfile::default())];
    let summary = store.import_patients_with_care(&rows).await.unwrap();
    assert_eq!(summary, ImportSummary { added: 2, unchanged: 1, conflicts: vec![] });
    let patients = store.list_patients().await.unwrap();
    let mut pins = Vec::new();
    for patient in &patients {
        pins.push(store.care_profile(&patient.id).await.unwrap().pin);
    }
    assert_eq!((&patients[0].id, pins), (&known, vec![None, Some("80472913".to_owned()), None]));

    let wrong = CareProfile { dry_weight_kg: Some(-1.0), ..CareProfile::default() };
    let rows = [(patient(4), CareProfile::default()), (patient(5), wrong)];
    assert_eq!(store.import_patients_with_care(&rows).await.unwrap_err().code(), "invalid");
    assert_eq!(store.list_patients().await.unwrap().len(), 3, "all rows or none");
    store.close().await;
    common::dump(dir.path()).await;
    for file in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"80472913"), "the PIN is readable");
    }
}

#[tokio::test]
async fn a_call_comes_back_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap();
    let handle = store.begin_call(call("CA1", Some(ada.id.clone()))).await.unwrap();
    let running = store.get_call(&handle.id).await.unwrap();
    assert_eq!((running.outcome, running.ended_at_us, running.turns), (CallOutcome::InProgress, None, 0));
    let events = [said(0, "one"), said(1_000_000, "two"), said(1_000_000, "three")];
    store.append_events(&handle, 0, &events[..2]).await.unwrap();
    store.append_events(&handle, 2, &events[2..]).await.unwrap();
    store.append_events(&handle, 3, &[]).await.unwrap();
    let report = json!({"measures": {"f0_mean_hz": 0.1 + 0.2, "jitter_local_percent": 1.0 / 3.0, "cpps_db": null}});
    store.add_segment(&handle, &segment(0, report.clone())).await.unwrap();
    store.finish_call(&handle.id, finish()).await.unwrap();
    // Analysis of the last words may end after the call.
    store.add_segment(&handle, &segment(1, json!({}))).await.unwrap();
    store.close().await;

    let store = open(dir.path()).await;
    let record = store.get_call(&handle.id).await.unwrap();
    assert_eq!((record.outcome, record.end_cause), (CallOutcome::Completed, Some(EndCause::StreamStopped)));
    assert_eq!((record.patient_id.as_ref(), record.turns, record.interruptions), (Some(&ada.id), 7, 2));
    assert_eq!((record.agents.len(), record.ended_at_us), (2, Some(STARTED + 60_000_000)));
    assert_eq!(store.find_call_by_sid("CA1").await.unwrap(), Some(record));
    assert_eq!(store.find_call_by_sid("CA2").await.unwrap(), None);
    assert_eq!(store.call_events(&handle.id).await.unwrap(), events);
    assert_eq!(store.call_segments(&handle.id).await.unwrap(), [segment(0, report), segment(1, json!({}))]);
    let handle = store.call_handle(&handle.id).await.unwrap();
    assert_eq!(store.call_sid(&handle).await.unwrap(), "CA1");
}

#[tokio::test]
async fn what_cannot_be_a_call_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.begin_call(call("CA1", None)).await.unwrap();
    assert_eq!(store.begin_call(call("CA1", None)).await.unwrap_err().code(), "conflict");
    let stranger = PatientId::parse("stranger").unwrap();
    assert_eq!(store.begin_call(call("CA2", Some(stranger))).await.unwrap_err().code(), "not_found");
    for sid in ["", "CA 2", "é", &"x".repeat(129)] {
        assert_eq!(store.begin_call(call(sid, None)).await.unwrap_err().code(), "invalid");
    }
    let early = NewCall { started_at_us: -5_000, ..call("CA3", None) };
    assert_eq!(store.begin_call(early).await.unwrap_err().code(), "invalid");
    assert_eq!(store.list_calls(10, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_is_finished_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = store.begin_call(call("CA1", None)).await.unwrap();
    let unfinished = FinishCall { outcome: CallOutcome::InProgress, ..finish() };
    assert_eq!(store.finish_call(&handle.id, unfinished).await.unwrap_err().code(), "invalid");

    let ends = (0..8).map(|turns| FinishCall { turns, ..finish() });
    let tasks: Vec<_> = ends
        .map(|end| {
            let (store, id) = (store.clone(), handle.id.clone());
            tokio::spawn(async move { (end.turns, store.finish_call(&id, end).await.map_err(|e| e.code())) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (turns, Ok(())) => winners.push(turns),
            (_, Err(code)) => assert_eq!(code, "conflict"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get_call(&handle.id).await.unwrap().turns, winners[0]);
    let unknown = CallId::parse("unknown").unwrap();
    assert_eq!(store.finish_call(&unknown, finish()).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn events_may_be_sent_again_but_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = store.begin_call(call("CA1", None)).await.unwrap();
    let events = [said(1, "a"), said(2, "b"), said(3, "c"), said(4, "d")];
    store.append_events(&handle, 0, &events[..2]).await.unwrap();
    // Overlapping: the first is known, the second is new.
    store.append_events(&handle, 1, &events[1..3]).await.unwrap();
    store.append_events(&handle, 0, &events[..3]).await.unwrap();
    let changed = [said(3, "c"), said(4, "x")];
    store.append_events(&handle, 3, &events[3..]).await.unwrap();
    assert_eq!(store.append_events(&handle, 2, &changed).await.unwrap_err().code(), "conflict");
    let partly_new = [said(9, "other"), said(10, "new")];
    assert_eq!(store.append_events(&handle, 3, &partly_new).await.unwrap_err().code(), "conflict");
    assert_eq!(store.call_events(&handle.id).await.unwrap(), events);

    store.add_segment(&handle, &segment(0, json!({"a": 1.5}))).await.unwrap();
    store.add_segment(&handle, &segment(0, json!({"a": 1.5}))).await.unwrap();
    let other = store.add_segment(&handle, &segment(0, json!({"a": 2}))).await;
    assert_eq!(other.unwrap_err().code(), "conflict");
}

#[tokio::test]
async fn batches_and_entries_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = store.begin_call(call("CA1", None)).await.unwrap();
    let long = said(0, &"x".repeat(300_000));
    assert_eq!(store.append_events(&handle, 0, &[long]).await.unwrap_err().code(), "invalid");
    let many = vec![said(0, "x"); store::MAX_BATCH + 1];
    assert_eq!(store.append_events(&handle, 0, &many).await.unwrap_err().code(), "invalid");
    for seq in [store::MAX_CALL_EVENTS, u64::MAX] {
        assert_eq!(store.append_events(&handle, seq, &[said(0, "x")]).await.unwrap_err().code(), "invalid");
    }
    assert_eq!(store.append_events(&handle, 0, &[said(u64::MAX, "x")]).await.unwrap_err().code(), "invalid");
    let huge = segment(0, json!({"x": "x".repeat(1_100_000)}));
    assert_eq!(store.add_segment(&handle, &huge).await.unwrap_err().code(), "invalid");
    assert_eq!(store.call_events(&handle.id).await.unwrap(), []);
}

#[tokio::test]
async fn calls_are_listed_newest_first_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..10i64 {
        let sid = format!("CA{number}");
        let patient_id = (number % 3 == 0).then(|| ada.id.clone());
        // Pairs of calls begin in the same microsecond.
        let new = NewCall { started_at_us: STARTED + number / 2, ..call(&sid, patient_id) };
        expected.push((STARTED + number / 2, store.begin_call(new).await.unwrap().id));
    }
    expected.sort();
    expected.reverse();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.list_calls(3, before.as_ref()).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id.clone());
        seen.extend(page.into_iter().map(|call| (call.started_at_us, call.id)));
    }
    assert_eq!(seen, expected);
    let of_ada = store.list_patient_calls(&ada.id, 100, None).await.unwrap();
    assert_eq!(of_ada.len(), 4);
    assert_eq!(store.list_patient_calls(&ada.id, 100, Some(&of_ada[1].id)).await.unwrap(), of_ada[2..]);
    let unknown = CallId::parse("unknown").unwrap();
    assert_eq!(store.list_calls(3, Some(&unknown)).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn calls_that_nobody_finished_are_interrupted_at_start_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let silent = store.begin_call(call("CA1", None)).await.unwrap();
    let talked = store.begin_call(call("CA2", None)).await.unwrap();
    let done = store.begin_call(call("CA3", None)).await.unwrap();
    let connected = |service: &str| TimelineKind::AgentConnected {
        service: service.to_owned(),
        conversation_id: "c".to_owned(),
        input_format: "ulaw_8000".to_owned(),
        output_format: "ulaw_8000".to_owned(),
    };
    let turn = |turn| TimelineKind::AgentTurnPlayed { turn, sent_ms: 1, heard_ms: 1, interrupted: turn == 2 };
    let interruption = TimelineKind::Interruption { event_id: None, reaction_ms: None, decided_by: "agent".to_owned() };
    let kinds = [connected("elevenlabs"), turn(1), turn(2), interruption, connected("script"), turn(3)];
    let events: Vec<_> = kinds.into_iter().map(|kind| TimelineEvent { at_us: 8_000_000, kind }).collect();
    store.append_events(&talked, 0, &events).await.unwrap();
    store.finish_call(&done.id, finish()).await.unwrap();
    drop(store);

    let store = open(dir.path()).await;
    let mut recovered = store.recover(STARTED + 7_000_000).await.unwrap();
    recovered.sort();
    let mut expected = vec![silent.id.clone(), talked.id.clone()];
    expected.sort();
    assert_eq!(recovered, expected);
    let record = store.get_call(&talked.id).await.unwrap();
    assert_eq!((record.outcome, record.ended_at_us), (CallOutcome::Interrupted, Some(STARTED + 7_000_000)));
    assert_eq!((record.agents, record.turns, record.interruptions), (vec!["elevenlabs".into(), "script".into()], 3, 1));
    assert_eq!(store.get_call(&silent.id).await.unwrap().ended_at_us, Some(STARTED));
    assert_eq!(store.get_call(&done.id).await.unwrap().outcome, CallOutcome::Completed);
    assert_eq!(store.recover(STARTED).await.unwrap(), []);
    assert_eq!(store.finish_call(&talked.id, finish()).await.unwrap_err().code(), "conflict");
}

#[tokio::test]
async fn an_interrupted_call_ended_with_its_last_recorded_word() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = store.begin_call(call("CA1", None)).await.unwrap();
    let mut recording = store.recording_writer(&handle).unwrap();
    for n in 0..100 {
        let frame = store::Frame::Patient { position_samples: n * 160, arrived_us: n * 20_000, ulaw: &[0xFF; 160] };
        recording.append(&frame).unwrap();
    }
    recording.flush().unwrap();
    drop((recording, store));
    let store = open(dir.path()).await;
    store.recover(STARTED + 60_000_000).await.unwrap();
    assert_eq!(store.get_call(&handle.id).await.unwrap().ended_at_us, Some(STARTED + 99 * 20_000));
}

#[tokio::test]
async fn another_key_is_named_as_the_problem() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.close().await;
    let other = KEY.replace("4f1c", "4f1d");
    let error = try_open(dir.path(), &other).await.unwrap_err();
    assert_eq!(error.code(), "wrong_key");
    assert!(error.to_string().contains("ENCRYPTION_KEY"), "{error}");
    assert!(!error.to_string().contains(&KEY[..16]) && !error.to_string().contains(&other[..16]));
    open(dir.path()).await.ping().await.unwrap();
}

#[tokio::test]
async fn addresses_this_version_cannot_serve_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let try_address = |url: &str, audio: &str| {
        let config = StoreConfig { database_url: url.to_owned(), audio_dir: audio.into() };
        Store::open(config, MasterKey::random().unwrap())
    };
    let audio = dir.path().join("audio");
    let audio = audio.to_str().unwrap();
    for (url, audio, code) in [
        ("postgresql://127.0.0.1:1/x", audio, "unavailable"),
        ("postgres://127.0.0.1:none/x", audio, "invalid"),
        ("sqlite::memory:", "s3://bucket/prefix", "unsupported"),
        ("heartvoice.db", audio, "invalid"),
        ("mysql://localhost/x", audio, "invalid"),
        ("sqlite://", audio, "invalid"),
        ("sqlite:///proc/nowhere/x.db", audio, "unavailable"),
        ("sqlite::memory:", "/proc/nowhere", "unavailable"),
    ] {
        assert_eq!(try_address(url, audio).await.unwrap_err().code(), code, "{url} {audio}");
    }
    let store = try_address("sqlite::memory:", audio).await.unwrap();
    store.ping().await.unwrap();
    store.add_patient(&patient(1)).await.unwrap();
    assert_eq!(store.list_patients().await.unwrap().len(), 1);
}

#[tokio::test]
async fn files_belong_to_this_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let handle = store.begin_call(call("CA1", None)).await.unwrap();
    store.recording_writer(&handle).unwrap().finish().unwrap();
    let mut seen = 0;
    let folders: &[&str] = if common::on_postgres() { &["audio"] } else { &["data", "audio"] };
    for folder in folders {
        let folder = dir.path().join(folder);
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for file in folder.read_dir().unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
            seen += 1;
        }
    }
    let expected = if common::on_postgres() { 1 } else { 4 };
    assert_eq!(seen, expected, "database, -wal, -shm (where there is a file) and one recording");
}

#[tokio::test]
async fn a_process_interrupts_calls_of_its_own_that_nobody_carries() {
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (open(dir.path()).await, open(dir.path()).await);
    let left = store.begin_call(call("CA1", None)).await.unwrap();
    let done = store.begin_call(call("CA2", None)).await.unwrap();
    let foreign = other.begin_call(call("CA3", None)).await.unwrap();
    store.append_events(&left, 0, &[said(3_000_000, "Good morning.")]).await.unwrap();
    store.finish_call(&done.id, finish()).await.unwrap();
    assert_eq!(store.own_unfinished_calls(STARTED).await.unwrap(), [], "it began just now");
    assert_eq!(store.own_unfinished_calls(STARTED + 1).await.unwrap(), std::slice::from_ref(&left.id));
    let interrupted = store.interrupt_calls(vec![left.id.clone(), done.id.clone()], STARTED + 9_000_000).await.unwrap();
    assert_eq!(interrupted, std::slice::from_ref(&left.id));
    let record = store.get_call(&left.id).await.unwrap();
    assert_eq!((record.outcome, record.ended_at_us), (CallOutcome::Interrupted, Some(STARTED + 3_000_000)));
    assert_eq!(store.get_call(&done.id).await.unwrap().outcome, CallOutcome::Completed);
    assert_eq!(store.get_call(&foreign.id).await.unwrap().outcome, CallOutcome::InProgress);
    assert_eq!(store.own_unfinished_calls(STARTED + 1).await.unwrap(), []);
}

//! A storm of writes, for being killed in: `storm write` writes until somebody ends it and prints a line for everything
//! the store has acknowledged; `storm check` reads such lines and looks whether all of it is there.
//!
//! ```text
//! ENCRYPTION_KEY=... storm write DATABASE_URL AUDIO_DIR RUN
//! ENCRYPTION_KEY=... storm check DATABASE_URL AUDIO_DIR [whole] < LINES
//! ```
//!
//! With `whole`, also nothing may be there by halves: no access without its entry in the trail, no entry without what it
//! tells of, no part of a batch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::{
    AlertId, CallId, CallOutcome, Direction, NewPatient, PatientId, Segment, Span, TimelineEvent, TimelineKind,
};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};
use store::audit::{Actor, NewEntry};
use store::{FinishCall, MasterKey, NewCall, Store, StoreConfig};

const WRITERS: u64 = 6;
const PER_BATCH: u64 = 5;
const BATCHES: u64 = 3;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, what, database_url, audio_dir, rest @ ..] = &words[..] else {
        panic!("expected: storm write|check DATABASE_URL AUDIO_DIR ...")
    };
    let key = std::env::var("ENCRYPTION_KEY").expect("ENCRYPTION_KEY");
    let config = StoreConfig { database_url: database_url.clone(), audio_dir: audio_dir.into() };
    let store = Store::open(config, MasterKey::from_hex(&key).unwrap()).await.unwrap();
    match (what.as_str(), rest) {
        ("write", [run]) => write(&store, run).await,
        ("check", rest) => check(&store, rest.first().is_some_and(|word| word == "whole")).await,
        _ => panic!("expected write RUN or check"),
    }
}

/// One line, which cannot be lost in a buffer of ours.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn write(store: &Store, run: &str) {
    say("ready");
    let tasks: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(one_writer(store.clone(), run.to_owned(), writer))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn one_writer(store: Store, run: String, writer: u64) {
    for number in 0u64.. {
        let patient = add(&store, &format!("S-{run}-{writer}-{number}"), writer * 1_000 + number % 1_000).await;
        say(&format!("patient {patient}"));
        let new = NewCall {
            call_sid: &format!("CA{run}x{writer}x{number}"),
            patient_id: Some(patient.clone()),
            direction: Direction::Outbound,
            started_at_us: now_us(),
        };
        let handle = store.begin_call(new).await.unwrap();
        say(&format!("call {}", handle.id));
        for batch in 0..BATCHES {
            let first = batch * PER_BATCH;
            store.append_events(&handle, first, &events(&handle.id, first)).await.unwrap();
            say(&format!("events {} {}", handle.id, first + PER_BATCH));
        }
        let report = serde_json::json!({ "of": handle.id.as_str() });
        let spans = vec![Span { start_ms: 0, end_ms: 1_000 }];
        store.add_segment(&handle, &Segment { index: 0, task: "speech".into(), spans, report }).await.unwrap();
        say(&format!("segment {} 0", handle.id));
        let alert = NewAlert {
            patient_id: Some(patient.clone()),
            call_id: Some(handle.id.clone()),
            kind: AlertKind::Risk,
            code: "urgent".into(),
            severity: Severity::Urgent,
            summary: "something to read".into(),
        };
        let raised = store.raise_alert(&alert, now_us()).await.unwrap();
        say(&format!("alert {}", raised.id));
        store.finish_call(&handle.id, finish()).await.unwrap();
        say(&format!("finished {}", handle.id));
        read(&store, &patient).await;
        say(&format!("read {patient}"));
    }
}

/// A change and its entry, in one transaction.
async fn add(store: &Store, external_id: &str, number: u64) -> PatientId {
    let phone = format!("+1202555{number:04}");
    let new =
        NewPatient::from_fields(external_id, "Ada Example", &phone, "1948-04-01", "female", "en", "America/New_York");
    let access = store.begin_access().await.unwrap();
    let id = access.store().add_patient(&new.unwrap()).await.unwrap().id;
    let entry = NewEntry::new(Actor::operator("storm"), "storm.add").patient(Some(&id));
    access.commit(&[entry]).await.unwrap();
    id
}

async fn read(store: &Store, id: &PatientId) {
    let access = store.begin_access().await.unwrap();
    access.store().get_patient(id).await.unwrap();
    let entry = NewEntry::new(Actor::operator("storm"), "storm.read").patient(Some(id));
    access.commit(&[entry]).await.unwrap();
}

fn events(call: &CallId, first: u64) -> Vec<TimelineEvent> {
    let event = |seq: u64| TimelineEvent {
        at_us: seq * 1_000,
        kind: TimelineKind::UserTranscript { text: format!("{call} says {seq}") },
    };
    (first..first + PER_BATCH).map(event).collect()
}

fn finish() -> FinishCall {
    FinishCall {
        outcome: CallOutcome::Completed,
        end_cause: None,
        ended_at_us: now_us(),
        agents: Vec::new(),
        turns: 1,
        interruptions: 0,
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// What the trail tells.
#[derive(Default)]
struct Trail {
    added: HashSet<String>,
    read: HashMap<String, usize>,
    begun: HashSet<String>,
    last: u64,
}

impl Trail {
    async fn of(store: &Store) -> Self {
        let mut trail = Self::default();
        loop {
            let links = store.audit_links(trail.last).await.unwrap();
            let Some(last) = links.last() else { break trail };
            trail.last = last.seq;
            for link in &links {
                let entry: serde_json::Value = serde_json::from_str(&link.text).unwrap();
                let patient = || entry["patient"].as_str().unwrap().to_owned();
                match entry["action"].as_str() {
                    Some("storm.add") => drop(trail.added.insert(patient())),
                    Some("storm.read") => *trail.read.entry(patient()).or_default() += 1,
                    Some("call.begin") => drop(trail.begun.insert(entry["object"][1].as_str().unwrap().to_owned())),
                    _ => {}
                }
            }
        }
    }
}

async fn check(store: &Store, whole: bool) {
    let verified = store.verify_audit(&[]).await.unwrap();
    assert_eq!(verified.broken, None, "the audit trail");
    let trail = Trail::of(store).await;
    let mut promises = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        kept(store, &trail, &words).await;
        promises += 1;
    }
    let calls = if whole { nothing_by_halves(store, &trail).await } else { 0 };
    say(&serde_json::json!({ "promises": promises, "entries": verified.entries, "calls": calls }).to_string());
}

/// One promise.
async fn kept(store: &Store, trail: &Trail, words: &[&str]) {
    let call = |id: &str| CallId::parse(id).unwrap();
    match words {
        ["ready"] => {}
        ["patient", id] => {
            store.get_patient(&PatientId::parse(id).unwrap()).await.unwrap();
            assert!(trail.added.contains(*id), "patient {id} without an entry");
        }
        ["call", id] => {
            let handle = store.call_handle(&call(id)).await.unwrap();
            assert!(store.call_sid(&handle).await.unwrap().starts_with("CA"));
            assert!(trail.begun.contains(*id), "call {id} without an entry");
        }
        ["events", id, count] => {
            let stored = store.call_events(&call(id)).await.unwrap();
            assert!(stored.len() >= count.parse().unwrap(), "events of {id}: {} of {count}", stored.len());
        }
        ["segment", id, index] => {
            let segments = store.call_segments(&call(id)).await.unwrap();
            assert_eq!(segments[index.parse::<usize>().unwrap()].report["of"], *id);
        }
        ["alert", id] => {
            let alert = store.get_alert(&AlertId::parse(id).unwrap()).await.unwrap();
            assert_eq!(alert.content.unwrap().summary, "something to read");
        }
        ["finished", id] => assert_eq!(store.get_call(&call(id)).await.unwrap().outcome, CallOutcome::Completed),
        ["read", id] => assert!(trail.read.contains_key(*id), "an access of {id} without an entry"),
        other => panic!("not a promise: {other:?}"),
    }
}

async fn nothing_by_halves(store: &Store, trail: &Trail) -> usize {
    let patients: HashSet<String> =
        store.list_patients().await.unwrap().into_iter().map(|patient| patient.id.to_string()).collect();
    assert_eq!(patients, trail.added, "patients and the entries that tell of them");
    let (mut calls, mut before) = (HashSet::new(), None);
    loop {
        let page = store.list_calls(1_000, before.as_ref()).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id.clone());
        for record in page {
            let stored = store.call_events(&record.id).await.unwrap();
            assert_eq!(stored.len() as u64 % PER_BATCH, 0, "part of a batch of {}", record.id);
            let expected: Vec<_> =
                (0..stored.len() as u64 / PER_BATCH).flat_map(|batch| events(&record.id, batch * PER_BATCH)).collect();
            assert_eq!(stored, expected);
            calls.insert(record.id.to_string());
        }
    }
    assert_eq!(calls, trail.begun, "calls and the entries that tell of them");
    calls.len()
}

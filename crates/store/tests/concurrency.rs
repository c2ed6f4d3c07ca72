//! Many calls at once, cancelled writers, and a process that is killed.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::{CallId, CallOutcome, TimelineEvent};
use common::{STARTED, call, finish, open, said};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{CallHandle, Frame, Store};

const PER_BATCH: u64 = 5;

fn batch(call: u64, first: u64) -> Vec<TimelineEvent> {
    (first..first + PER_BATCH).map(|seq| said(seq * 1_000, &format!("call {call} event {seq}"))).collect()
}

async fn one_call(store: Store, number: u64, batches: u64) -> CallHandle {
    let handle = store.begin_call(call(&format!("CA{number}"), None)).await.unwrap();
    for index in 0..batches {
        let first = index * PER_BATCH;
        store.append_events(&handle, first, &batch(number, first)).await.unwrap();
    }
    handle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_at_once_lose_nothing_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let tasks: Vec<_> = (0..50).map(|number| tokio::spawn(one_call(store.clone(), number, 40))).collect();
    for (number, task) in (0u64..).zip(tasks) {
        let handle = task.await.unwrap();
        let expected: Vec<_> = (0..40).flat_map(|index| batch(number, index * PER_BATCH)).collect();
        assert_eq!(store.call_events(&handle.id).await.unwrap(), expected);
        store.finish_call(&handle.id, finish()).await.unwrap();
    }
    assert_eq!(store.list_calls(100, None).await.unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_conflict_or_vanished_call_among_many_writers_hurts_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let other_dir = tempfile::tempdir().unwrap();
    // A handle of another database: its call does not exist here.
    let vanished = open(other_dir.path()).await.begin_call(call("CA", None)).await.unwrap();
    let contested = store.begin_call(call("contested", None)).await.unwrap();
    store.append_events(&contested, 0, &[said(0, "truth")]).await.unwrap();
    let good: Vec<_> = (0..20).map(|number| tokio::spawn(one_call(store.clone(), number, 10))).collect();
    let bad: Vec<_> = (0..20)
        .map(|number| {
            let (store, vanished, contested) = (store.clone(), vanished.clone(), contested.clone());
            tokio::spawn(async move {
                let handle = if number % 2 == 0 { vanished } else { contested };
                store.append_events(&handle, 0, &[said(0, "lie"), said(1, "lie")]).await.unwrap_err().code()
            })
        })
        .collect();
    for (number, task) in bad.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), if number % 2 == 0 { "not_found" } else { "conflict" });
    }
    for task in good {
        let handle = task.await.unwrap();
        assert_eq!(store.call_events(&handle.id).await.unwrap().len(), 50);
    }
    assert_eq!(store.call_events(&contested.id).await.unwrap(), [said(0, "truth")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_writer_does_not_take_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let tasks: Vec<_> = (0..20).map(|number| tokio::spawn(one_call(store.clone(), number, 30))).collect();
    let cancelled = store.begin_call(call("cancelled", None)).await.unwrap();
    for round in 0..200u64 {
        let events = [said(round, "perhaps")];
        let write = store.append_events(&cancelled, round, &events);
        // From not even begun to written: the moment varies with the load.
        let _ = tokio::time::timeout(Duration::from_micros(round * 37 % 3_000), write).await;
    }
    for (number, task) in (0u64..).zip(tasks) {
        let handle = task.await.unwrap();
        let expected: Vec<_> = (0..30).flat_map(|index| batch(number, index * PER_BATCH)).collect();
        assert_eq!(store.call_events(&handle.id).await.unwrap(), expected);
    }
    // Sending everything again settles what the cancelled writer left open.
    let all: Vec<_> = (0..200).map(|round| said(round, "perhaps")).collect();
    store.append_events(&cancelled, 0, &all).await.unwrap();
    assert_eq!(store.call_events(&cancelled.id).await.unwrap(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_open_one_database() {
    let dir = tempfile::tempdir().unwrap();
    // Opening at once: creation, migration and canary must not collide.
    let path = dir.path().to_owned();
    let (one, two) = tokio::join!(tokio::spawn(async move { open(&path).await }), open(dir.path()));
    let one = one.unwrap();
    let tasks: Vec<_> = (0..10)
        .map(|number| tokio::spawn(one_call(if number % 2 == 0 { one.clone() } else { two.clone() }, number, 20)))
        .collect();
    for task in tasks {
        let handle = task.await.unwrap();
        assert_eq!(one.call_events(&handle.id).await.unwrap().len(), 100);
        assert_eq!(two.call_events(&handle.id).await.unwrap().len(), 100);
    }
}

/// Set for the process that is going to be killed: where it writes.
const VICTIM: &str = "HEARTVOICE_TEST_VICTIM_DIR";

fn ulaw(call: usize, number: u64) -> Vec<u8> {
    (0..160u64).map(|at| (at * 7 + number * 13 + call as u64) as u8).collect()
}

/// Not a test by itself: it is run by the next one, in a process of its own, and writes until it is killed. Every line it
/// prints is a promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(dir) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let store = open(&dir).await;
    let mut tasks = Vec::new();
    for number in 0..4usize {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let handle = store.begin_call(call(&format!("CA{number}"), None)).await.unwrap();
            let mut recording = store.recording_writer(&handle).unwrap();
            for round in 0u64.. {
                for frame in round * 3..round * 3 + 3 {
                    let ulaw = ulaw(number, frame);
                    let position_samples = frame * 160;
                    recording.append(&Frame::Patient { position_samples, arrived_us: frame, ulaw: &ulaw }).unwrap();
                }
                recording.flush().unwrap();
                say(&format!("frames {} {}", handle.id, round * 3 + 3));
                store
                    .append_events(&handle, round * PER_BATCH, &batch(number as u64, round * PER_BATCH))
                    .await
                    .unwrap();
                say(&format!("events {} {}", handle.id, (round + 1) * PER_BATCH));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[tokio::test]
async fn what_was_promised_before_a_kill_is_there_after_it() {
    for lines in [1, 9, 150, 600] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut promises: HashMap<(String, String), u64> = HashMap::new();
        let mut output = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut note = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            let [what @ ("frames" | "events"), id, count] = words[..] else { return };
            promises.insert((what.to_owned(), id.to_owned()), count.parse().unwrap());
        };
        for line in output.by_ref().take(lines) {
            note(line.unwrap());
        }
        // SIGKILL: no destructor runs, no buffer is written.
        child.kill().unwrap();
        child.wait().unwrap();
        for line in output {
            note(line.unwrap());
        }
        assert!(!promises.is_empty());

        let store = open(dir.path()).await;
        let recovered = store.recover(STARTED + 3_600_000_000).await.unwrap();
        for ((what, id), promised) in promises {
            let id = CallId::parse(&id).unwrap();
            assert!(recovered.contains(&id));
            let record = store.get_call(&id).await.unwrap();
            assert_eq!(record.outcome, CallOutcome::Interrupted);
            let sid = store.call_sid(&store.call_handle(&id).await.unwrap()).await.unwrap();
            let number: usize = sid.trim_start_matches("CA").parse().unwrap();
            if what == "events" {
                let events = store.call_events(&id).await.unwrap();
                assert!(events.len() as u64 >= promised);
                let expected: Vec<_> = (0..events.len() as u64 / PER_BATCH)
                    .flat_map(|index| batch(number as u64, index * PER_BATCH))
                    .collect();
                assert_eq!(events, expected, "whole batches, in order");
            } else {
                let track = store.open_recording(&id).await.unwrap().patient_track().unwrap();
                assert!(track.len() as u64 >= promised * 160 && track.len() % 160 == 0);
                let expected: Vec<u8> = (0..track.len() as u64 / 160).flat_map(|frame| ulaw(number, frame)).collect();
                assert!(track == expected);
            }
        }
    }
}

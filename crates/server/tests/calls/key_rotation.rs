//! Keys are exchanged while calls run: not one call fails, everything is readable afterwards, and the old keys are gone.

use crate::house::{Building, House, STREAM};
use clinic::{CallOutcome, NewPatient};
use serde_json::json;
use sim::elevenlabs::{Script, SimConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::audit::Actor;
use store::{RotationStep, Store};

const CALLS: u16 = 50;
/// Calls begin this far apart, so that there are some that begin before, between and during the rotations.
const APART: Duration = Duration::from_millis(120);
const NO_TWILIO: &str = "http://127.0.0.1:9";
const ROTATIONS: usize = 2;

/// A frame of one call that no other frame equals.
fn frame(call: u16, n: u16) -> Vec<u8> {
    (0..160_u16).map(|i| (call.wrapping_mul(97) ^ n.wrapping_mul(31)).wrapping_add(i * 7) as u8).collect()
}

fn sid(call: u16) -> String {
    format!("CAfedcba9876543210fedcba98765{call:05}")
}

fn number(call: u16) -> String {
    format!("+1500555{:04}", 1_000 + call)
}

/// Talks until it is told to stop; returns what was said.
async fn talk(house: Arc<House>, call: u16, enough: Arc<AtomicBool>) -> Vec<u8> {
    let ticket = house.announce_from(&sid(call), &number(call)).await;
    let mut phone = house.phone(&sid(call), &ticket).await;
    let mut said = Vec::new();
    for n in 0.. {
        phone.frame(&frame(call, n)).await;
        said.extend(frame(call, n));
        assert_eq!(phone.listen_ms(20).await, None, "call {call} was cut after {n} frames");
        if enough.load(Ordering::Relaxed) && n >= 25 {
            break;
        }
    }
    phone.say(json!({"event": "stop", "stop": {}, "streamSid": STREAM})).await;
    said
}

/// As `heartvoice keys rotate` does it.
async fn rotate(store: &Store) -> usize {
    let mut rotation = store.begin_rotation(Actor::operator("tests")).await.unwrap();
    let mut waits = 0;
    loop {
        let now_us = jiff::Timestamp::now().as_microsecond();
        match store.rotate_step(&mut rotation, now_us).await.unwrap() {
            RotationStep::Done => return waits,
            RotationStep::Waiting { servers } => {
                assert_eq!(servers.len(), 1, "there is one server");
                waits += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_run_while_the_keys_are_rotated_twice() {
    let building = Building::new().await;
    let house =
        House::build(&building, SimConfig { script: Script::parrot(), ..SimConfig::default() }, NO_TWILIO, 64).await;
    for call in 0..CALLS {
        let id = format!("MRN-{}", 100 + call);
        let patient = NewPatient::from_fields(
            &id,
            "Ada Example",
            &number(call),
            "1948-04-01",
            "female",
            "en",
            "America/New_York",
        );
        house.store.add_patient(&patient.unwrap()).await.unwrap();
    }
    let house = Arc::new(house);
    let enough = Arc::new(AtomicBool::new(false));
    let mut calls = Vec::new();
    let (first_half, second_half) = (0..CALLS / 2, CALLS / 2..CALLS);
    for call in first_half {
        calls.push(tokio::spawn(talk(house.clone(), call, enough.clone())));
        tokio::time::sleep(APART).await;
    }
    // What `heartvoice keys rotate` opens beside the server.
    let command = building.open().await;
    let rotating = tokio::spawn(async move {
        let mut waits = Vec::new();
        for _ in 0..ROTATIONS {
            waits.push(rotate(&command).await);
        }
        command.close().await;
        waits
    });
    for call in second_half {
        calls.push(tokio::spawn(talk(house.clone(), call, enough.clone())));
        tokio::time::sleep(APART).await;
    }
    let waits = rotating.await.unwrap();
    assert!(waits.iter().all(|waits| *waits > 0), "each rotation waited for the server's beat: {waits:?}");
    assert_eq!(house.server.live_calls(), usize::from(CALLS), "every call outlived both rotations");
    enough.store(true, Ordering::Relaxed);
    let mut said = Vec::new();
    for call in calls {
        said.push(call.await.unwrap());
    }
    for call in 0..CALLS {
        let record = house.finished(&sid(call)).await;
        assert_eq!(record.outcome, CallOutcome::Completed, "call {call}");
    }
    // A process that starts now has only the newest key.
    let later = building.open().await;
    for (call, said) in (0..CALLS).zip(&said) {
        let record = later.find_call_by_sid(&sid(call)).await.unwrap().unwrap();
        let mut recording = later.open_recording(&record.id).await.unwrap();
        assert!(recording.patient_track().unwrap() == *said, "call {call}: every frame, bit for bit");
        assert!(recording.finished() && !recording.truncated(), "call {call}");
        assert!(later.call_events(&record.id).await.unwrap().len() >= 3, "call {call}");
        assert!(!later.call_segments(&record.id).await.unwrap().is_empty(), "call {call}");
        assert!(later.get_patient(&record.patient_id.unwrap()).await.is_ok());
    }
    let keys = later.root_keys().await.unwrap();
    let keks: Vec<_> = keys.iter().filter(|key| key.purpose == "kek").collect();
    let states: Vec<_> = keks.iter().map(|key| key.state.as_str()).collect();
    assert_eq!(states, ["destroyed", "destroyed", "active"]);
    assert_eq!(keks.iter().map(|key| key.data_keys).collect::<Vec<_>>(), [0, 0, u64::from(CALLS) + 1]);
    assert!(later.verify_audit(&[]).await.is_ok());
}

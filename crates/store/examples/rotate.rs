//! How fast data keys are wrapped anew: `cargo run --release -p store --example rotate -- [PATIENTS]`. With
//! `HEARTVOICE_TEST_POSTGRES` naming an empty database of PostgreSQL, there.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use clinic::NewPatient;
use std::time::Instant;
use store::audit::Actor;
use store::{MasterKey, RotationStep, Store, StoreConfig};

/// Rows of one import.
const BATCH: u32 = 10_000;

#[tokio::main]
async fn main() {
    let patients: u32 = std::env::args().nth(1).map_or(20_000, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let database_url = std::env::var("HEARTVOICE_TEST_POSTGRES")
        .unwrap_or_else(|_| format!("sqlite://{}", dir.path().join("rotate.db").display()));
    let config = StoreConfig { database_url, audio_dir: dir.path().join("audio") };
    let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
    let row = |number: u32| {
        let (id, phone) = (format!("MRN-{number}"), format!("+1{:010}", 2_000_000_000_u64 + u64::from(number)));
        NewPatient::from_fields(&id, "Ada Example", &phone, "1948-04-01", "female", "en", "America/New_York").unwrap()
    };
    for from in (0..patients).step_by(BATCH as usize) {
        let rows: Vec<_> = (from..patients.min(from + BATCH)).map(row).collect();
        store.import_patients(&rows).await.unwrap();
    }
    let mut rotation = store.begin_rotation(Actor::operator("example")).await.unwrap();
    let (mut rewrapping, mut longest) = (0.0, 0.0_f64);
    let began = Instant::now();
    loop {
        let step = Instant::now();
        let done = store.rotate_step(&mut rotation, 0).await.unwrap();
        let took = step.elapsed().as_secs_f64();
        match done {
            RotationStep::Rewrapped { .. } => {
                rewrapping += took;
                longest = longest.max(took);
            }
            RotationStep::Done => break,
            _ => {}
        }
    }
    println!(
        "{} data keys on {:?}: {:.0} a second, longest transaction {:.0} ms, whole rotation {:.2} s",
        rotation.rewrapped(),
        store.engine(),
        f64::from(patients) / rewrapping,
        longest * 1e3,
        began.elapsed().as_secs_f64(),
    );
}

//! Prints what storing costs on this machine:
//! `cargo run --release -p store --example figures [calls] [seconds of audio]`
#![allow(clippy::unwrap_used)]

use clinic::{Direction, TimelineEvent, TimelineKind};
use std::time::{Duration, Instant};
use store::{Frame, MasterKey, NewCall, Store, StoreConfig};

const BATCH: u64 = 8;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (calls, seconds) = (arguments.next().unwrap_or(100), arguments.next().unwrap_or(600));
    let dir = tempfile::tempdir_in(".").unwrap();
    let database_url = format!("sqlite://{}", dir.path().join("heartvoice.db").display());
    let config = StoreConfig { database_url, audio_dir: dir.path().join("audio") };
    let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
    for (label, calls) in [("one call", 1), ("all calls at once", calls)] {
        events(&store, label, calls).await;
    }
    tokio::task::spawn_blocking(move || recording(dir.path(), seconds)).await.unwrap();
}

/// Every call appends batch after batch, each durable before the next.
async fn events(store: &Store, label: &str, calls: u64) {
    let began = Instant::now();
    let tasks: Vec<_> = (0..calls)
        .map(|number| {
            let (store, sid) = (store.clone(), format!("CA-{label}-{number}").replace(' ', "-"));
            tokio::spawn(async move {
                let new =
                    NewCall { call_sid: &sid, patient_id: None, direction: Direction::Inbound, started_at_us: 1 << 50 };
                let call = store.begin_call(new).await.unwrap();
                let mut waits = Vec::new();
                for first in (0..100 * BATCH).step_by(BATCH as usize) {
                    let batch: Vec<_> = (first..first + BATCH).map(said).collect();
                    let before = Instant::now();
                    store.append_events(&call, first, &batch).await.unwrap();
                    waits.push(before.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits: Vec<Duration> = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let took = began.elapsed().as_secs_f64();
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!(
        "{label} ({calls}): {:.0} batches/s, {:.0} events/s durable; a batch of {BATCH} waits {:.1?} (median), {:.1?} (99 %)",
        waits.len() as f64 / took,
        waits.len() as f64 * BATCH as f64 / took,
        at(0.5),
        at(0.99),
    );
}

fn said(seq: u64) -> TimelineEvent {
    let text = format!("sentence number {seq} of an ordinary length, as people speak them");
    TimelineEvent { at_us: seq, kind: TimelineKind::UserTranscript { text } }
}

/// Both sides of one call in frames of 20 ms, flushed every half second.
fn recording(dir: &std::path::Path, seconds: u64) {
    let (id, key) = (clinic::CallId::parse("figures").unwrap(), store::DataKey::random().unwrap());
    let mut writer = store::RecordingWriter::create(dir, &id, key.clone()).unwrap();
    let ulaw = [0x7e; 160];
    let (mut appending, mut flushing, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for frame in 0..seconds * 50 {
        let before = Instant::now();
        writer
            .append(&Frame::Patient { position_samples: frame * 160, arrived_us: frame * 20_000, ulaw: &ulaw })
            .unwrap();
        writer.append(&Frame::Agent { play_at_us: frame * 20_000, ulaw: &ulaw }).unwrap();
        appending += before.elapsed();
        if frame % 25 == 24 {
            let before = Instant::now();
            writer.flush().unwrap();
            flushing += before.elapsed();
            slowest = slowest.max(before.elapsed());
        }
    }
    let before = Instant::now();
    writer.finish().unwrap();
    let finishing = before.elapsed();
    let frames = (seconds * 50 * 2) as u32;
    println!(
        "recording: {:.0?} per 20 ms frame to append, {:.0?} to seal and write its share; a flush of half a second takes \
         {:.1?} (slowest {slowest:.1?}), finishing {finishing:.1?}",
        appending / frames,
        flushing / frames,
        flushing / (seconds * 2) as u32,
    );
    let before = Instant::now();
    let samples = store::RecordingReader::open(dir, &id, key).unwrap().patient_track().unwrap().len();
    println!("reading back: {samples} samples in {:.1?}", before.elapsed());
}

//! Prints how fast the audit trail is verified, and what an entry costs.
//!
//! `cargo run --release -p store --example audit_speed [ENTRIES ...]`, in a new SQLite database, or in the empty one that
//! `DATABASE_URL` names.

use clinic::{CallOutcome, Direction};
use std::time::{Duration, Instant};
use store::audit::{Actor, NewEntry};
use store::{FinishCall, MasterKey, NewCall, Store, StoreConfig};

/// Entries of one transaction while the trail is filled.
const BATCH: u64 = 1_000;
/// Entries and calls that are timed one by one.
const SINGLE: usize = 500;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<u64>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    let dir = tempfile::tempdir()?;
    let file = format!("sqlite://{}", dir.path().join("speed.db").display());
    let database_url = std::env::var("DATABASE_URL").unwrap_or(file);
    let audio_dir = dir.path().join("audio");
    let store = Store::open(StoreConfig { database_url, audio_dir }, MasterKey::random()?).await?;
    calls(&store).await?;
    singles(&store).await?;
    for size in sizes {
        fill(&store, size).await?;
        let began = Instant::now();
        let found = store.verify_audit(&[]).await?;
        let spent = began.elapsed();
        if let Some(fault) = found.broken {
            return Err(format!("entry {} {}", fault.seq, fault.what).into());
        }
        let rate = found.entries as f64 / spent.as_secs_f64();
        println!("verify {} entries: {:.2} s, {rate:.0} entries/s", found.entries, spent.as_secs_f64());
        let began = Instant::now();
        let mut out = std::io::BufWriter::new(std::fs::File::create(dir.path().join("export.jsonl"))?);
        let count = store.export_audit(&mut out).await?;
        println!("export {count} entries: {:.2} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

fn entry() -> NewEntry {
    NewEntry::new(Actor::operator("speed"), "call.read").object("call", "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")
}

async fn fill(store: &Store, size: u64) -> Outcome {
    let mut count = store.audit_entry_count().await?;
    while count < size {
        let batch = BATCH.min(size - count);
        store.record(&vec![entry(); usize::try_from(batch)?]).await?;
        count += batch;
    }
    store.checkpoint_audit().await?;
    Ok(())
}

async fn singles(store: &Store) -> Outcome {
    let mut times = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        let began = Instant::now();
        store.record(&[entry()]).await?;
        times.push(began.elapsed());
    }
    report("append and commit one entry", times);
    Ok(())
}

async fn calls(store: &Store) -> Outcome {
    let (mut begins, mut ends, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SINGLE {
        let call_sid = format!("CA{number:032}");
        let started_at_us = 1_767_225_600_000_000;
        let new = NewCall { call_sid: &call_sid, patient_id: None, direction: Direction::Inbound, started_at_us };
        let began = Instant::now();
        let call = store.begin_call(new).await?;
        begins.push(began.elapsed());
        let began = Instant::now();
        store.link_conversation(&call, &format!("conv_{number}")).await?;
        plain.push(began.elapsed());
        let end = FinishCall {
            outcome: CallOutcome::Completed,
            end_cause: None,
            ended_at_us: started_at_us + 60_000_000,
            agents: Vec::new(),
            turns: 1,
            interruptions: 0,
        };
        let began = Instant::now();
        store.finish_call(&call.id, end).await?;
        ends.push(began.elapsed());
    }
    report("begin a call", begins);
    report("finish a call", ends);
    report("a write without an entry", plain);
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

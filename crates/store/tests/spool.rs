//! The spool: what it keeps outlives kills, damage and other processes, in order and once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use clinic::{TimelineEvent, TimelineKind};
use common::{call, finish, open as store};
use proptest::prelude::*;
use std::path::Path;
use store::spool::{SpoolTail, read};
use store::{CallHandle, LateMessage, Spool, SpoolEntry, SpoolLimits, SpoolName, Store};

const LIMITS: SpoolLimits = SpoolLimits { total_bytes: 1 << 20, call_bytes: 1 << 16 };
const SECRET: [u8; 32] = [7; 32];

fn open(dir: &Path) -> Spool {
    Spool::open(dir, &SECRET, LIMITS).unwrap()
}

fn said(number: u64) -> TimelineEvent {
    let text = format!("the {number}th thing that Ada said");
    TimelineEvent { at_us: number, kind: TimelineKind::UserTranscript { text } }
}

fn events(first_seq: u64, count: u64) -> SpoolEntry {
    SpoolEntry::Events { first_seq, events: (first_seq..first_seq + count).map(said).collect() }
}

async fn begun(store: &Store, sid: &str) -> CallHandle {
    store.begin_call(call(sid, None)).await.unwrap()
}

/// Gives everything that waits to the database, as a server does.
async fn replay(store: &Store, spool: &Spool, handle: &CallHandle) {
    let waiting = spool.of_call(handle).unwrap();
    for entry in waiting.entries {
        match entry {
            SpoolEntry::Events { first_seq, events } => store.append_events(handle, first_seq, &events).await.unwrap(),
            SpoolEntry::Segment { segment } => store.add_segment(handle, &segment).await.unwrap(),
            SpoolEntry::End { end } => drop(store.finish_call_late(&handle.id, end).await),
            SpoolEntry::Visit { .. } => {}
        }
    }
    assert!(spool.forget(&SpoolName::Call(handle.id.clone()), waiting.records).unwrap());
}

#[tokio::test]
async fn what_was_kept_is_there_for_the_next_process_in_order_and_unreadable_on_the_disk() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let dir = data.path().join("spool");
    let spool = open(&dir);
    assert!(!spool.holds(&handle.id));
    let kept = [events(0, 3), events(3, 1), SpoolEntry::End { end: finish() }];
    for entry in &kept {
        spool.append(&handle, entry).unwrap();
    }
    assert!(spool.holds(&handle.id) && spool.counts().entries == 3);
    // Another process finds the file in use for as long as this one lives.
    assert_eq!(open(&dir).waiting(), []);
    let file = dir.join(format!("records/{}.hvs", handle.id));
    let bytes = std::fs::read(&file).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("Ada"));
    assert_eq!(read(&bytes).unwrap().records.len(), 3);
    drop(spool);
    let next = open(&dir);
    assert_eq!(next.waiting(), [SpoolName::Call(handle.id.clone())]);
    assert_eq!(next.of_call(&handle).unwrap().entries, kept);
    assert_eq!(next.counts().bytes, bytes.len() as u64);
    replay(&store, &next, &handle).await;
    assert!(!file.exists() && !next.holds(&handle.id));
    assert_eq!((next.counts().entries, next.counts().bytes, next.counts().replayed), (0, 0, 3));
    assert_eq!(store.call_events(&handle.id).await.unwrap(), (0..4).map(said).collect::<Vec<_>>());
    assert_eq!(store.get_call(&handle.id).await.unwrap().outcome, finish().outcome);
}

#[tokio::test]
async fn a_torn_record_is_ignored_and_written_over_and_damage_is_named_and_kept() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let dir = data.path().join("spool");
    let file = dir.join(format!("records/{}.hvs", handle.id));
    let spool = open(&dir);
    spool.append(&handle, &events(0, 1)).unwrap();
    let one = std::fs::read(&file).unwrap().len();
    spool.append(&handle, &events(1, 1)).unwrap();
    drop(spool);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(read(&std::fs::read(&file).unwrap()).unwrap().tail, SpoolTail::Torn);
    let spool = open(&dir);
    assert_eq!(spool.of_call(&handle).unwrap().entries, [events(0, 1)]);
    spool.append(&handle, &events(1, 2)).unwrap();
    assert_eq!(spool.of_call(&handle).unwrap().entries, [events(0, 1), events(1, 2)]);
    drop(spool);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[one - 3] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let spool = open(&dir);
    let waiting = spool.of_call(&handle).unwrap();
    assert!(waiting.entries.is_empty() && waiting.damaged);
    assert!(spool.forget(&SpoolName::Call(handle.id.clone()), waiting.records).unwrap());
    assert!(!spool.holds(&handle.id) && spool.counts().bytes == 0 && !file.exists());
    assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap(), bytes);
}

#[tokio::test]
async fn what_stands_before_damage_is_given_and_what_comes_later_too() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let dir = data.path().join("spool");
    let file = dir.join(format!("records/{}.hvs", handle.id));
    let damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
        let _ = std::fs::remove_file(&file);
        let spool = open(&dir);
        spool.append(&handle, &events(0, 1)).unwrap();
        let one = std::fs::read(&file).unwrap().len();
        spool.append(&handle, &events(1, 1)).unwrap();
        drop(spool);
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, &bytes).unwrap();
        (one, bytes)
    };
    for at in [0, 20] {
        // The length of the second record, or what it holds.
        let (_, bytes) = damaged(&|bytes: &mut Vec<u8>| {
            let second = read(bytes).unwrap().records[1].as_ptr() as usize - bytes.as_ptr() as usize;
            bytes[second + at - if at == 0 { 10 } else { 0 }] ^= 1;
        });
        let spool = open(&dir);
        let waiting = spool.of_call(&handle).unwrap();
        assert_eq!((waiting.entries.as_slice(), waiting.damaged), ([events(0, 1)].as_slice(), true), "{at}");
        assert!(spool.forget(&SpoolName::Call(handle.id.clone()), waiting.records).unwrap());
        assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap(), bytes);
    }
    // Not even the beginning can be read; the call goes on all the same.
    let (_, bytes) = damaged(&|bytes: &mut Vec<u8>| bytes[0] = 0);
    let spool = open(&dir);
    spool.append(&handle, &events(2, 1)).unwrap();
    assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap(), bytes);
    let waiting = spool.of_call(&handle).unwrap();
    assert_eq!((waiting.entries.as_slice(), waiting.damaged), ([events(2, 1)].as_slice(), true));
    assert!(spool.forget(&SpoolName::Call(handle.id.clone()), waiting.records).unwrap());
    assert!(!file.exists() && spool.counts().bytes == 0);
}

#[tokio::test]
async fn what_did_not_reach_the_disk_for_certain_is_not_read() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let (other, dir) = (data.path().join("other"), data.path().join("spool"));
    let name = format!("records/{}.hvs", handle.id);
    let both = open(&other);
    both.append(&handle, &events(0, 1)).unwrap();
    both.append(&handle, &events(1, 1)).unwrap();
    let spool = open(&dir);
    spool.append(&handle, &events(0, 1)).unwrap();
    // As a write leaves it whose way to the disk was not confirmed, where nothing could be cut off either.
    let first = std::fs::read(dir.join(&name)).unwrap();
    let second = std::fs::read(other.join(&name)).unwrap().split_off(first.len());
    std::fs::write(dir.join(&name), [first, second].concat()).unwrap();
    let waiting = spool.of_call(&handle).unwrap();
    // The second record is that of another file: what counts is that nobody looks at it.
    assert_eq!((waiting.entries.as_slice(), waiting.damaged), ([events(0, 1)].as_slice(), false));
    assert!(spool.forget(&SpoolName::Call(handle.id.clone()), waiting.records).unwrap(), "it is let go of");
}

#[tokio::test]
async fn what_belongs_to_an_unknown_call_is_kept_aside() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let dir = data.path().join("spool");
    let spool = open(&dir);
    spool.append(&handle, &events(0, 1)).unwrap();
    let file = dir.join(format!("records/{}.hvs", handle.id));
    let bytes = std::fs::read(&file).unwrap();
    spool.set_apart(&SpoolName::Call(handle.id.clone())).unwrap();
    assert_eq!((spool.waiting(), spool.counts().bytes), (Vec::new(), 0));
    assert_eq!(std::fs::read(file.with_extension("orphan")).unwrap(), bytes);
}

#[tokio::test]
async fn a_message_waits_unreadable_and_is_there_for_the_next_process() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("spool");
    let spool = open(&dir);
    let message = LateMessage { body: r#"{"said": "Ada feels dizzy"}"#.to_owned() };
    spool.message(&message).unwrap();
    let names = spool.waiting();
    let [name @ SpoolName::Message(text)] = names.as_slice() else { panic!("{names:?}") };
    let bytes = std::fs::read(dir.join(format!("records/{text}.hvs"))).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("dizzy") && !format!("{message:?}").contains("dizzy"));
    drop(spool);
    let next = open(&dir);
    let waiting = next.message_of(text).unwrap();
    assert_eq!(waiting.entries, [message]);
    assert!(next.forget(name, waiting.records).unwrap());
    assert_eq!(next.waiting(), []);
}

#[tokio::test]
async fn records_of_another_call_do_not_open_here() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let (one, other) = (begun(&store, "CA1").await, begun(&store, "CA2").await);
    let dir = data.path().join("spool");
    let spool = open(&dir);
    spool.append(&one, &events(0, 1)).unwrap();
    drop(spool);
    let file = |handle: &CallHandle| dir.join(format!("records/{}.hvs", handle.id));
    std::fs::rename(file(&one), file(&other)).unwrap();
    let spool = open(&dir);
    let waiting = spool.of_call(&other).unwrap();
    assert!(waiting.entries.is_empty() && waiting.damaged);
}

#[tokio::test]
async fn the_room_is_bounded_for_each_call_and_for_all_and_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let spool = open(&data.path().join("spool"));
    let mut kept = Vec::new();
    'calls: for number in 0.. {
        let handle = begun(&store, &format!("CA{number}")).await;
        let mut seq = 0;
        while let Ok(()) = spool.append(&handle, &events(seq, 50)) {
            seq += 50;
        }
        let full = spool.counts().bytes + 8_000 > LIMITS.total_bytes;
        if seq > 0 {
            kept.push(handle);
        }
        if full {
            break 'calls;
        }
        assert!(number < 40, "each call takes its part only");
    }
    assert!(kept.len() > 10 && spool.counts().bytes <= LIMITS.total_bytes);
    let stranger = begun(&store, "CAlast").await;
    for _ in 0..3 {
        assert_eq!(spool.append(&stranger, &events(0, 200)).unwrap_err().code(), "unavailable");
        assert!(!spool.holds(&stranger.id), "what was not kept holds up nobody");
    }
    for handle in &kept {
        replay(&store, &spool, handle).await;
    }
    assert_eq!((spool.counts().bytes, spool.counts().entries), (0, 0));
    spool.append(&stranger, &events(0, 200)).unwrap();
}

#[tokio::test]
async fn what_comes_while_it_is_given_away_is_not_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path()).await;
    let handle = begun(&store, "CA1").await;
    let spool = open(&data.path().join("spool"));
    spool.append(&handle, &events(0, 1)).unwrap();
    let waiting = spool.of_call(&handle).unwrap();
    spool.append(&handle, &events(1, 1)).unwrap();
    let name = SpoolName::Call(handle.id.clone());
    assert!(!spool.forget(&name, waiting.records).unwrap());
    assert_eq!(spool.of_call(&handle).unwrap().records, 2);
    replay(&store, &spool, &handle).await;
    assert_eq!(store.call_events(&handle.id).await.unwrap().len(), 2);
}

#[test]
fn a_directory_that_takes_nothing_is_refused_at_once() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("spool"), b"a file").unwrap();
    assert_eq!(Spool::open(&data.path().join("spool"), &SECRET, LIMITS).unwrap_err().code(), "unavailable");
}

/// What happens to a call and its spool.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// So many entries come while the database is away.
    Spooled(u64),
    /// So many come while it is there, and nothing waits.
    Direct(u64),
    /// All that waits is given to it; it dies after so many records the first time.
    Replayed(usize),
    /// The process is killed and another begins.
    Killed,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_arrives_once_and_in_order(steps in proptest::collection::vec(prop_oneof![
        (1u64..5).prop_map(Happens::Spooled),
        (1u64..5).prop_map(Happens::Direct),
        (0usize..4).prop_map(Happens::Replayed),
        Just(Happens::Killed),
    ], 1..12)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
            let data = tempfile::tempdir().unwrap();
            let store = store(data.path()).await;
            let handle = begun(&store, "CA1").await;
            let dir = data.path().join("spool");
            let (mut spool, mut seq) = (open(&dir), 0);
            for step in steps {
                match step {
                    Happens::Direct(count) if !spool.holds(&handle.id) => {
                        let events: Vec<TimelineEvent> = (seq..seq + count).map(said).collect();
                        store.append_events(&handle, seq, &events).await.unwrap();
                        seq += count;
                    }
                    Happens::Spooled(count) | Happens::Direct(count) => {
                        spool.append(&handle, &events(seq, count)).unwrap();
                        seq += count;
                    }
                    Happens::Replayed(dies_after) if spool.holds(&handle.id) => {
                        for entry in spool.of_call(&handle).unwrap().entries.into_iter().take(dies_after) {
                            let SpoolEntry::Events { first_seq, events } = entry else { continue };
                            store.append_events(&handle, first_seq, &events).await.unwrap();
                        }
                        replay(&store, &spool, &handle).await;
                    }
                    Happens::Replayed(_) => {}
                    Happens::Killed => {
                        drop(spool);
                        spool = open(&dir);
                    }
                }
            }
            if spool.holds(&handle.id) {
                replay(&store, &spool, &handle).await;
            }
            let stored = store.call_events(&handle.id).await.unwrap();
            assert_eq!(stored, (0..seq).map(said).collect::<Vec<_>>());
        });
    }
}

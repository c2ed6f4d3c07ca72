//! What is kept: a model of the database, of the spool that takes what the database does not, and of the memory before
//! them. An entry counts as acknowledged once it is in the database or on the disk; from then on it must not get lost.

use clinic::TimelineEvent;
use std::collections::{BTreeMap, VecDeque};

/// Entries that may wait in memory, in the spool, and be carried over in one go.
const MEMORY_MAX: usize = 8_192;
const SPOOL_MAX: usize = 20_000;
const BATCH: usize = 256;
/// How often entries are written.
const FLUSH_MS: u64 = 200;

/// An entry: the call, and its place in the call's timeline.
type Entry = (usize, usize);

/// The timeline entries of all calls, and where each of them is.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// All that was ever handed over, by call.
    pub(super) events: BTreeMap<usize, Vec<TimelineEvent>>,
    memory: VecDeque<Entry>,
    spool: VecDeque<Entry>,
    /// What the database has, by call: the places, in the order in which they came.
    database: BTreeMap<usize, Vec<usize>>,
    acknowledged: BTreeMap<usize, usize>,
    pub(super) database_out: bool,
    pub(super) disk_full: bool,
    next_flush: u64,
    /// Entries that found no room.
    pub(super) dropped: u64,
    /// Loses an entry of the spool on its way: for showing that it is noticed.
    pub(super) loses_one: bool,
}

impl Journal {
    pub(super) fn take(&mut self, call: usize, event: TimelineEvent) {
        let events = self.events.entry(call).or_default();
        events.push(event);
        if self.memory.len() >= MEMORY_MAX {
            self.dropped += 1;
            return;
        }
        self.memory.push_back((call, events.len() - 1));
    }

    pub(super) fn step(&mut self, now: u64) {
        if now < self.next_flush {
            return;
        }
        self.next_flush = now + FLUSH_MS;
        if !self.database_out {
            for _ in 0..BATCH {
                let Some(entry) = self.spool.pop_front() else { break };
                if std::mem::take(&mut self.loses_one) {
                    continue;
                }
                self.database.entry(entry.0).or_default().push(entry.1);
            }
        }
        while let Some(entry) = self.memory.front().copied() {
            if !self.database_out && self.spool.is_empty() {
                self.database.entry(entry.0).or_default().push(entry.1);
            } else if !self.disk_full && self.spool.len() < SPOOL_MAX {
                self.spool.push_back(entry);
            } else {
                break;
            }
            *self.acknowledged.entry(entry.0).or_default() = entry.1 + 1;
            self.memory.pop_front();
        }
    }

    /// The process is gone, and its memory with it.
    pub(super) fn kill(&mut self) {
        self.memory.clear();
    }

    /// Waits until everything is where it belongs, if it can be.
    pub(super) fn settle(&mut self, now: u64) {
        (self.database_out, self.disk_full) = (false, false);
        let mut at = now;
        while !self.memory.is_empty() || !self.spool.is_empty() {
            at += FLUSH_MS;
            self.step(at);
        }
    }

    /// What is on the disk or in the database of a call.
    pub(super) fn durable(&self, call: usize) -> Vec<TimelineEvent> {
        let kept = self.acknowledged.get(&call).copied().unwrap_or(0);
        self.events.get(&call).map(|events| events.iter().take(kept).cloned().collect()).unwrap_or_default()
    }

    /// What is wrong with what is kept.
    pub(super) fn check(&self, settled: bool) -> Option<String> {
        if self.memory.len() > MEMORY_MAX || self.spool.len() > SPOOL_MAX {
            return Some("a queue of the journal is longer than its bound".to_owned());
        }
        for (call, places) in &self.database {
            let wrong = places.windows(2).any(|pair| pair.first() >= pair.get(1));
            if wrong {
                return Some(format!("call {call}: entries twice or out of order"));
            }
            let expected = self.acknowledged.get(call).copied().unwrap_or(0);
            if settled && places.len() != expected && self.dropped == 0 {
                return Some(format!("call {call}: {} of {expected} acknowledged entries", places.len()));
            }
        }
        None
    }
}

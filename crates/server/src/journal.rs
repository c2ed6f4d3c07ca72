//! The timeline of a call on its way to the store, away from its audio path.
//!
//! Each call has a writer task that appends entries in batches. A call never waits for it; while the store is slow,
//! entries wait in the call, and the few that do not fit even there are counted.

use crate::limits;
use crate::metrics;
use clinic::{Segment, TimelineEvent};
use std::collections::VecDeque;
use store::{CallHandle, Store};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Something to store of a call.
#[derive(Debug)]
enum Entry {
    Event(TimelineEvent),
    Segment(Box<Segment>),
}

/// The way from a call to its stored timeline.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: mpsc::Sender<Entry>,
    waiting: VecDeque<Entry>,
    dropped: u64,
    writer: JoinHandle<bool>,
}

impl Journal {
    /// Starts the writer of a call.
    pub(crate) fn start(store: Store, call: CallHandle) -> Self {
        let (entries, queue) = mpsc::channel(limits::JOURNAL_QUEUE);
        let writer = crate::tasks::spawn(write(store, call, queue));
        Self { entries, waiting: VecDeque::new(), dropped: 0, writer }
    }

    /// Adds an entry to the timeline; never waits.
    pub(crate) fn event(&mut self, event: TimelineEvent) {
        self.add(Entry::Event(event));
    }

    /// Adds an analysed segment; never waits.
    pub(crate) fn segment(&mut self, segment: Segment) {
        self.add(Entry::Segment(Box::new(segment)));
    }

    fn add(&mut self, entry: Entry) {
        if self.waiting.len() >= limits::JOURNAL_BACKLOG {
            self.dropped += 1;
            metrics::dropped("journal", 1);
            return;
        }
        self.waiting.push_back(entry);
        self.push();
    }

    /// Hands over what waits, as far as there is room.
    pub(crate) fn push(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(error) = self.entries.try_send(event) {
                self.waiting.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Writes what is left; true when everything is in the store.
    pub(crate) async fn finish(mut self) -> bool {
        for event in self.waiting.drain(..) {
            if self.entries.send(event).await.is_err() {
                break;
            }
        }
        drop(self.entries);
        self.writer.await.unwrap_or(false) && self.dropped == 0
    }
}

async fn write(store: Store, call: CallHandle, mut queue: mpsc::Receiver<Entry>) -> bool {
    let mut next_seq = 0;
    let mut all_stored = true;
    let mut batch = Vec::with_capacity(limits::JOURNAL_BATCH);
    while queue.recv_many(&mut batch, limits::JOURNAL_BATCH).await > 0 {
        let mut events = Vec::with_capacity(batch.len());
        let mut segments = Vec::new();
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event) => events.push(event),
                Entry::Segment(segment) => segments.push(segment),
            }
        }
        let count = events.len() as u64;
        if count > 0 {
            all_stored &= keep(&store, &call, Work::Events(next_seq, events)).await;
            next_seq += count;
        }
        for segment in segments {
            all_stored &= keep(&store, &call, Work::Segment(segment)).await;
        }
    }
    all_stored
}

enum Work {
    Events(u64, Vec<TimelineEvent>),
    Segment(Box<Segment>),
}

/// Stores one batch. A busy database is worth a few tries; entries are keyed by number, so a repeated write changes
/// nothing.
async fn keep(store: &Store, call: &CallHandle, work: Work) -> bool {
    for wait_ms in [50, 500, 2_000] {
        let written = match &work {
            Work::Events(first_seq, events) => store.append_events(call, *first_seq, events).await,
            Work::Segment(segment) => store.add_segment(call, segment).await,
        };
        match written {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(call_id = %call.id, code = error.code(), "records could not be stored yet");
                tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
            }
        }
    }
    metrics::dropped("journal", 1);
    false
}

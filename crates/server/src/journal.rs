//! The timeline of a call on its way to the store, away from its audio path.
//!
//! Each call has a writer task that appends entries in batches. A call never waits for it; while the store is slow,
//! entries wait in the call, and the few that do not fit even there are counted.

use crate::limits;
use crate::metrics;
use clinic::{Segment, TimelineEvent};
use std::collections::VecDeque;
use std::time::Duration;
use store::{CallHandle, Store, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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

impl Work {
    async fn write(&self, store: &Store, call: &CallHandle) -> Result<(), StoreError> {
        match self {
            Self::Events(first_seq, events) => store.append_events(call, *first_seq, events).await,
            Self::Segment(segment) => store.add_segment(call, segment).await,
        }
    }
}

/// Stores one batch, and waits for a store that does not take it: entries are keyed by number, so a repeated write
/// changes nothing. A batch with an entry that will never be taken is stored without it.
async fn keep(store: &Store, call: &CallHandle, work: Work) -> bool {
    let error = match keep_trying(store, call, &work).await {
        Ok(()) => return true,
        Err(error) => error,
    };
    match work {
        Work::Events(first_seq, events) if events.len() > 1 && !is_passing(&error) => {
            let mut all_stored = true;
            for (seq, event) in (first_seq..).zip(events) {
                let alone = Work::Events(seq, vec![event]);
                all_stored &= keep_trying(store, call, &alone).await.map_err(|error| lose(call, &error, 1)).is_ok();
            }
            all_stored
        }
        Work::Events(_, events) => {
            lose(call, &error, events.len() as u64);
            false
        }
        Work::Segment(_) => {
            lose(call, &error, 1);
            false
        }
    }
}

async fn keep_trying(store: &Store, call: &CallHandle, work: &Work) -> Result<(), StoreError> {
    let mut patience = Patience::new();
    loop {
        match work.write(store, call).await {
            Err(error) if patience.is_left(&error) => {
                tracing::warn!(call_id = %call.id, code = error.code(), "records could not be stored yet");
                patience.wait().await;
            }
            result => return result,
        }
    }
}

/// Between attempts to use a store that does not answer, for as long as it is waited for.
pub(crate) struct Patience {
    until: Instant,
    waits: std::array::IntoIter<Duration, 4>,
    wait: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let waits = limits::STORE_RETRIES.into_iter();
        Self { until: Instant::now() + limits::STORE_PATIENCE, waits, wait: Duration::ZERO }
    }

    /// True when it is worth trying again after this failure.
    pub(crate) fn is_left(&self, error: &StoreError) -> bool {
        is_passing(error) && Instant::now() < self.until
    }

    /// Waits for the time of the next attempt.
    pub(crate) async fn wait(&mut self) {
        self.wait = self.waits.next().unwrap_or(self.wait);
        tokio::time::sleep(self.wait).await;
    }
}

/// True for failures that may be over at the next attempt.
pub(crate) fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}

fn lose(call: &CallHandle, error: &StoreError, entries: u64) {
    tracing::error!(call_id = %call.id, code = error.code(), entries, "records were not stored");
    metrics::dropped("journal", entries);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clinic::{Direction, TimelineKind};
    use store::{MasterKey, NewCall, StoreConfig};

    #[tokio::test]
    async fn an_entry_too_large_to_store_does_not_take_its_neighbours_along() {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let new =
            NewCall { call_sid: "CA1", patient_id: None, direction: Direction::Inbound, started_at_us: 1_000_000 };
        let call = store.begin_call(new).await.unwrap();
        let mut journal = Journal::start(store.clone(), call.clone());
        let said =
            |at_us, text: &str| TimelineEvent { at_us, kind: TimelineKind::UserTranscript { text: text.into() } };
        journal.event(said(1, "I feel dizzy."));
        journal.event(said(2, &"x".repeat(300_000)));
        journal.event(said(3, "Since Tuesday."));
        assert!(!journal.finish().await, "what is missing is reported");
        let stored = store.call_events(&call.id).await.unwrap();
        assert_eq!(stored, [said(1, "I feel dizzy."), said(3, "Since Tuesday.")]);
    }
}

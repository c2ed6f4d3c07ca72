//! The timeline of a call on its way to the store, away from its audio path.
//!
//! Each call has a writer task that appends entries in batches. A call never waits for it; while the store is slow,
//! entries wait in the call, and the few that do not fit even there are counted. What the database does not take within
//! two seconds goes into the spool, and with it everything of this call that follows, until the spool was given away: an
//! entry counts as kept when it is durable in one of the two.

use crate::app::App;
use crate::limits;
use crate::metrics;
use clinic::{Segment, TimelineEvent};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{CallHandle, Spool, SpoolEntry, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
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
    counts: Arc<Counts>,
    writer: JoinHandle<()>,
}

/// What became of the entries of a call.
#[derive(Debug, Default)]
struct Counts {
    stored: AtomicU64,
    spooled: AtomicU64,
    dropped: AtomicU64,
}

/// What became of the entries of a call, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Journalled {
    /// In the database.
    pub(crate) stored: u64,
    /// Durable in the spool, from which the database gets them.
    pub(crate) spooled: u64,
    /// In neither.
    pub(crate) dropped: u64,
}

impl Journalled {
    /// Whether every entry is durable.
    pub(crate) fn is_whole(self) -> bool {
        self.dropped == 0
    }
}

/// The two places of what belongs to calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) store: Store,
    pub(crate) spool: Option<Spool>,
}

impl App {
    /// Where what belongs to calls is kept.
    pub(crate) fn places(&self) -> Places {
        Places { store: self.store.clone(), spool: self.spool.clone() }
    }
}

impl Places {
    /// True while something of the call waits in the spool, so that the rest has to wait behind it.
    pub(crate) fn waits(&self, call: &clinic::CallId) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.holds(call))
    }

    /// Keeps an entry in the spool.
    pub(crate) async fn spool(&self, call: &CallHandle, entry: SpoolEntry) -> Result<(), StoreError> {
        let none = || StoreError::Unavailable { doing: "keep a record in the spool", source: "there is none".into() };
        let Some(spool) = self.spool.clone() else { return Err(none()) };
        let call = call.clone();
        // It waits for the disk, for which a thread that carries audio must not.
        tokio::task::spawn_blocking(move || spool.append(&call, &entry)).await.unwrap_or_else(|_| Err(none()))
    }

    /// Patience with the database: short where there is a spool.
    pub(crate) fn patience(&self) -> Patience {
        if self.spool.is_some() { Patience::until(limits::SPOOL_AFTER) } else { Patience::new() }
    }

    /// One attempt to use the database. Where there is a spool, one that says nothing is as good as none.
    pub(crate) async fn attempt<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.spool.is_none() {
            return work.await;
        }
        let silent = |_| Err(StoreError::Unavailable { doing, source: "no answer".into() });
        tokio::time::timeout(limits::SPOOL_ANSWER, work).await.unwrap_or_else(silent)
    }
}

impl Journal {
    /// Starts the writer of a call.
    pub(crate) fn start(places: Places, call: CallHandle) -> Self {
        Self::start_heard(places, call).0
    }

    /// As [`Self::start`], with somebody who hears (by an error) that everything that reached the writer was kept, also when
    /// the call's task did not live to finish it.
    pub(crate) fn start_heard(places: Places, call: CallHandle) -> (Self, oneshot::Receiver<()>) {
        let (entries, queue) = mpsc::channel(limits::JOURNAL_QUEUE);
        let counts = Arc::new(Counts::default());
        let (heard, done) = oneshot::channel();
        let counted = counts.clone();
        let writer = crate::tasks::spawn(async move {
            let _told_when_dropped: oneshot::Sender<()> = heard;
            write(places, call, queue, counted).await;
        });
        (Self { entries, waiting: VecDeque::new(), counts, writer }, done)
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
            self.counts.add(&self.counts.dropped, 1);
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

    /// Keeps what is left, and says what became of all entries.
    pub(crate) async fn finish(mut self) -> Journalled {
        for event in self.waiting.drain(..) {
            if self.entries.send(event).await.is_err() {
                break;
            }
        }
        drop(self.entries);
        if self.writer.await.is_err() {
            self.counts.add(&self.counts.dropped, 1);
        }
        self.counts.now()
    }
}

impl Counts {
    fn add(&self, count: &AtomicU64, entries: u64) {
        count.fetch_add(entries, Ordering::Relaxed);
    }

    fn now(&self) -> Journalled {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Journalled { stored: now(&self.stored), spooled: now(&self.spooled), dropped: now(&self.dropped) }
    }
}

async fn write(places: Places, call: CallHandle, mut queue: mpsc::Receiver<Entry>, counts: Arc<Counts>) {
    let mut next_seq = 0;
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
            keep(&places, &call, SpoolEntry::Events { first_seq: next_seq, events }, &counts).await;
            next_seq += count;
        }
        for segment in segments {
            keep(&places, &call, SpoolEntry::Segment { segment }, &counts).await;
        }
    }
}

/// Gives an entry to the database. Entries are keyed by number, so a repeated write changes nothing.
pub(crate) async fn give(store: &Store, call: &CallHandle, entry: &SpoolEntry) -> Result<(), StoreError> {
    match entry {
        SpoolEntry::Events { first_seq, events } => store.append_events(call, *first_seq, events).await,
        SpoolEntry::Segment { segment } => store.add_segment(call, segment).await,
        SpoolEntry::End { end } => match store.finish_call_late(&call.id, end.clone()).await {
            // It was given before.
            Err(StoreError::Conflict { .. }) => Ok(()),
            result => result,
        },
        SpoolEntry::Visit { .. } => Ok(()),
    }
}

/// Makes one entry durable, in the database or in the spool. Where neither takes it the database is waited for. A batch with
/// an entry that will never be taken is kept without it.
async fn keep(places: &Places, call: &CallHandle, entry: SpoolEntry, counts: &Counts) {
    let size = size_of(&entry);
    // Asked once: the spool may be given away at any moment.
    let waits = places.waits(&call.id);
    let refused = if waits { None } else { keep_trying(places, call, &entry, places.patience()).await.err() };
    let refused = match refused {
        None if !waits => return counts.add(&counts.stored, size),
        Some(error) if !is_passing(&error) => Some(error),
        _ => match places.spool(call, entry.clone()).await {
            Ok(()) => return counts.add(&counts.spooled, size),
            Err(error @ StoreError::Invalid { .. }) => Some(error),
            // Neither takes it: as long as the call's records are waited for.
            Err(_) => keep_trying(places, call, &entry, Patience::new()).await.err(),
        },
    };
    let Some(error) = refused else { return counts.add(&counts.stored, size) };
    match entry {
        SpoolEntry::Events { first_seq, events } if events.len() > 1 && !is_passing(&error) => {
            for (seq, event) in (first_seq..).zip(events) {
                Box::pin(keep(places, call, SpoolEntry::Events { first_seq: seq, events: vec![event] }, counts)).await;
            }
        }
        _ => {
            lose(call, &error, size);
            if places.spool.is_some() {
                metrics::spool_dropped(size);
            }
            counts.add(&counts.dropped, size);
        }
    }
}

fn size_of(entry: &SpoolEntry) -> u64 {
    if let SpoolEntry::Events { events, .. } = entry { events.len() as u64 } else { 1 }
}

async fn keep_trying(
    places: &Places,
    call: &CallHandle,
    entry: &SpoolEntry,
    mut patience: Patience,
) -> Result<(), StoreError> {
    loop {
        match places.attempt("save entries of a call", give(&places.store, call, entry)).await {
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
        Self::until(limits::STORE_PATIENCE)
    }

    fn until(longest: Duration) -> Self {
        Self { until: Instant::now() + longest, waits: limits::STORE_RETRIES.into_iter(), wait: Duration::ZERO }
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
        let mut journal = Journal::start(Places { store: store.clone(), spool: None }, call.clone());
        let said =
            |at_us, text: &str| TimelineEvent { at_us, kind: TimelineKind::UserTranscript { text: text.into() } };
        journal.event(said(1, "I feel dizzy."));
        journal.event(said(2, &"x".repeat(300_000)));
        journal.event(said(3, "Since Tuesday."));
        let journalled = journal.finish().await;
        assert_eq!((journalled.stored, journalled.dropped), (2, 1), "what is missing is reported");
        let stored = store.call_events(&call.id).await.unwrap();
        assert_eq!(stored, [said(1, "I feel dizzy."), said(3, "Since Tuesday.")]);
    }
}

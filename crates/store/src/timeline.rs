//! What happened in a call and what was measured in it: numbered entries, written in batches, each sealed.

use crate::calls::{CallHandle, KIND};
use crate::db::{Conn, Domain, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError, conversations};
use clinic::{CallId, Segment, Span, TimelineEvent, TimelineKind};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Entries of one batch, at most.
pub const MAX_BATCH: usize = 4_096;
/// Entries of one call, at most: 14 a second for four hours.
pub const MAX_CALL_EVENTS: u64 = 200_000;
/// Segments of one call, at most.
pub const MAX_CALL_SEGMENTS: u32 = 10_000;
/// Bytes of one entry as JSON. A tool's answer or a long reply stays far below it.
const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Bytes of one segment as JSON: a report with a few thousand pauses.
const MAX_SEGMENT_BYTES: usize = 1024 * 1024;

const EVENTS_IN_RANGE: &str = "SELECT seq, payload FROM events WHERE call_id = $1 AND seq >= $2 AND seq < $3";
const EVENT_INSERT: &str = "INSERT INTO events (call_id, seq, at_us, kind, payload) VALUES ($1, $2, $3, $4, $5)";
const EVENTS_OF_CALL: &str = "SELECT seq, payload FROM events WHERE call_id = $1 ORDER BY seq";
const SEGMENT_GET: &str = "SELECT report FROM segments WHERE call_id = $1 AND idx = $2";
const SEGMENT_INSERT: &str = "INSERT INTO segments (call_id, idx, task, report) VALUES ($1, $2, $3, $4)";
const SEGMENT_REPLACE: &str = "UPDATE segments SET task = $1, report = $2 WHERE call_id = $3 AND idx = $4";
const SEGMENTS_OF_CALL: &str = "SELECT idx, task, report FROM segments WHERE call_id = $1 ORDER BY idx";

/// The sealed part of a segment.
#[derive(Serialize, Deserialize)]
struct SealedSegment {
    spans: Vec<Span>,
    report: serde_json::Value,
    /// It was made from what is there of the recording of a call that nobody finished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rebuilt: bool,
}

/// Entries of one call, ready to be written.
pub(crate) struct Batch {
    call: CallHandle,
    pub(crate) rows: Vec<EventRow>,
}

/// An entry ready to be written.
pub(crate) struct EventRow {
    seq: i64,
    at_us: i64,
    kind: &'static str,
    plain: Zeroizing<Vec<u8>>,
    sealed: Vec<u8>,
    /// Keyed hash of the conversation this entry tells of.
    conversation: Option<Vec<u8>>,
}

impl Store {
    /// Adds entries numbered from `first_seq`, all or none; they are durable when this returns.
    ///
    /// Repeating entries that are stored already changes nothing, so a batch may be sent again after an error. Different
    /// content under a known number is a conflict.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::NotFound`] when the call is gone, [`StoreError::Invalid`] for a batch or
    /// an entry that is too large, [`StoreError::Unavailable`].
    pub async fn append_events(&self, call: &CallHandle, first_seq: u64, events: &[TimelineEvent]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut rows = event_rows(call, first_seq, events)?;
        for (row, event) in rows.iter_mut().zip(events) {
            if let TimelineKind::AgentConnected { conversation_id, .. } = &event.kind
                && conversations::is_conversation_id(conversation_id)
            {
                row.conversation = Some(self.inner.vault.conversation_hash(conversation_id));
            }
        }
        self.inner.events.write(self, Batch { call: call.clone(), rows }).await
    }

    /// The timeline of a call, in order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn call_events(&self, id: &CallId) -> Result<Vec<TimelineEvent>> {
        let call = self.call_handle(id).await?;
        let doing = "read events";
        let rows = query(EVENTS_OF_CALL).bind(id.as_str()).fetch_all(self.read()).await.doing(doing)?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let seq: i64 = row.try_get("seq").doing(doing)?;
            let sealed: Vec<u8> = row.try_get("payload").doing(doing)?;
            let name = entry_name(id, seq);
            let plain = open_at(call.data_key(), event_place(&name), &sealed)?;
            events.push(serde_json::from_slice(&plain).map_err(|_| StoreError::corrupt(format!("event {name}")))?);
        }
        Ok(events)
    }

    /// Adds an analysed segment; durable when this returns. Repeating a stored segment changes nothing. It takes the place
    /// of one that was rebuilt.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the index holds another segment, otherwise as [`Store::append_events`].
    pub async fn add_segment(&self, call: &CallHandle, segment: &Segment) -> Result<()> {
        self.put_segment(call, segment, false).await
    }

    /// Adds a segment that somebody else made from what is there of a recording. One that the call's own process sends
    /// later takes its place, and one that is there stays.
    ///
    /// # Errors
    /// As [`Store::append_events`].
    pub async fn add_rebuilt_segment(&self, call: &CallHandle, segment: &Segment) -> Result<()> {
        self.put_segment(call, segment, true).await
    }

    async fn put_segment(&self, call: &CallHandle, segment: &Segment, rebuilt: bool) -> Result<()> {
        let content = SealedSegment { spans: segment.spans.clone(), report: segment.report.clone(), rebuilt };
        let plain = Zeroizing::new(serde_json::to_vec(&content).doing("write a segment as JSON")?);
        if plain.len() > MAX_SEGMENT_BYTES || segment.index >= MAX_CALL_SEGMENTS || segment.task.len() > 64 {
            return Err(StoreError::Invalid {
                what: "segment",
                expected: "at most 1 MiB of JSON and an index below 10,000",
            });
        }
        let name = entry_name(&call.id, segment.index.into());
        let place = segment_place(&name);
        let sealed = seal_at(call.data_key(), place, &plain)?;
        let mut tx = self.begin(Domain::Calls).await?;
        let known = query_scalar(SEGMENT_GET).bind(call.id.as_str()).bind(i64::from(segment.index));
        let known: Option<Vec<u8>> = known.fetch_optional(&mut *tx).await.doing("read a segment")?;
        if let Some(known) = known {
            let known = open_at(call.data_key(), place, &known)?;
            if rebuilt || *known == *plain {
                return Ok(());
            }
            let damaged = |_| StoreError::corrupt(format!("segment {name}"));
            if !serde_json::from_slice::<SealedSegment>(&known).map_err(damaged)?.rebuilt {
                return Err(StoreError::Conflict { what: "another segment has this index" });
            }
            let replace = query(SEGMENT_REPLACE).bind(&segment.task).bind(sealed);
            let replace = replace.bind(call.id.as_str()).bind(i64::from(segment.index));
            replace.execute(&mut *tx).await.doing("save a segment")?;
            return tx.commit().await.doing("save a segment");
        }
        let insert = query(SEGMENT_INSERT).bind(call.id.as_str()).bind(i64::from(segment.index));
        insert.bind(&segment.task).bind(sealed).execute(&mut *tx).await.map_err(missing_call)?;
        tx.commit().await.doing("save a segment")
    }

    /// The analysed segments of a call, in order.
    ///
    /// # Errors
    /// As [`Store::call_events`].
    pub async fn call_segments(&self, id: &CallId) -> Result<Vec<Segment>> {
        let call = self.call_handle(id).await?;
        let doing = "read segments";
        let rows = query(SEGMENTS_OF_CALL).bind(id.as_str()).fetch_all(self.read()).await.doing(doing)?;
        let mut segments = Vec::with_capacity(rows.len());
        for row in rows {
            let index: i64 = row.try_get("idx").doing(doing)?;
            let task: String = row.try_get("task").doing(doing)?;
            let sealed: Vec<u8> = row.try_get("report").doing(doing)?;
            let name = entry_name(id, index);
            let damaged = || StoreError::corrupt(format!("segment {name}"));
            let plain = open_at(call.data_key(), segment_place(&name), &sealed)?;
            let content: SealedSegment = serde_json::from_slice(&plain).map_err(|_| damaged())?;
            let index = u32::try_from(index).map_err(|_| damaged())?;
            segments.push(Segment { index, task, spans: content.spans, report: content.report });
        }
        Ok(segments)
    }
}

fn event_rows(call: &CallHandle, first_seq: u64, events: &[TimelineEvent]) -> Result<Vec<EventRow>> {
    let last = first_seq.saturating_add(events.len() as u64);
    if events.len() > MAX_BATCH || last > MAX_CALL_EVENTS {
        return Err(StoreError::Invalid { what: "events", expected: "at most 4,096 in a batch and 200,000 in a call" });
    }
    let mut rows = Vec::with_capacity(events.len());
    for (seq, event) in (first_seq..).zip(events) {
        let invalid = StoreError::Invalid { what: "event", expected: "at most 256 KiB of JSON and a time of the call" };
        let plain = Zeroizing::new(serde_json::to_vec(event).doing("write an event as JSON")?);
        let (Ok(seq), Ok(at_us)) = (i64::try_from(seq), i64::try_from(event.at_us)) else { return Err(invalid) };
        if plain.len() > MAX_EVENT_BYTES {
            return Err(invalid);
        }
        let sealed = seal_at(call.data_key(), event_place(&entry_name(&call.id, seq)), &plain)?;
        rows.push(EventRow { seq, at_us, kind: event.kind.name(), plain, sealed, conversation: None });
    }
    Ok(rows)
}

/// Writes the entries that are not there yet. Looks before it writes, so that a conflict leaves the transaction
/// untouched.
pub(crate) async fn write_events(tx: &mut Conn, batch: &Batch) -> Result<()> {
    let Batch { call, rows } = batch;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
    let range = query(EVENTS_IN_RANGE).bind(call.id.as_str()).bind(first.seq).bind(last.seq + 1);
    let known = range.fetch_all(&mut *tx).await.doing("read events")?;
    let mut known_seqs = Vec::with_capacity(known.len());
    for stored in known {
        let seq: i64 = stored.try_get("seq").doing("read events")?;
        let sealed: Vec<u8> = stored.try_get("payload").doing("read events")?;
        let plain = open_at(call.data_key(), event_place(&entry_name(&call.id, seq)), &sealed)?;
        if rows.iter().any(|row| row.seq == seq && *row.plain != *plain) {
            return Err(StoreError::Conflict { what: "another event has this number" });
        }
        known_seqs.push(seq);
    }
    for row in rows.iter().filter(|row| !known_seqs.contains(&row.seq)) {
        let insert = query(EVENT_INSERT).bind(call.id.as_str()).bind(row.seq).bind(row.at_us).bind(row.kind);
        insert.bind(row.sealed.as_slice()).execute(&mut *tx).await.map_err(missing_call)?;
        if let Some(hash) = &row.conversation {
            conversations::link(tx, hash, &call.id).await?;
        }
    }
    Ok(())
}

fn missing_call(error: sqlx::Error) -> StoreError {
    match violation(&error) {
        Some(Violation::ForeignKey) => StoreError::NotFound { what: KIND },
        _ => StoreError::Unavailable { doing: "save an entry of a call", source: Box::new(error) },
    }
}

/// The row's name in the associated data. Identifiers hold no `/`.
fn entry_name(id: &CallId, number: i64) -> String {
    format!("{id}/{number}")
}

fn event_place(name: &str) -> Place<'_> {
    Place { table: "events", row: name, column: "payload" }
}

fn segment_place(name: &str) -> Place<'_> {
    Place { table: "segments", row: name, column: "report" }
}

//! Conversations of an agent service: which call each belongs to, and what the service sent about it after the call.
//!
//! The service knows our calls by its own identifiers only. They are kept as keyed hashes, so that the database alone
//! does not tell which of the service's records is whose.

use crate::calls::{CallHandle, KIND};
use crate::db::{Conn, Domain, Row, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::CallId;
use zeroize::Zeroizing;

/// Bytes of a conversation's identifier.
const MAX_CONVERSATION_ID_BYTES: usize = 128;
/// Bytes of a message after the call, recordings left out.
const MAX_POST_CALL_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of the name of a message's kind.
const MAX_KIND_BYTES: usize = 128;
/// Messages handed out at once for being reconciled.
const MAX_WAITING: i64 = 256;

const LINK: &str = "INSERT INTO conversations (conversation_hash, call_id) VALUES ($1, $2) \
     ON CONFLICT (conversation_hash) DO NOTHING";
const LINKED: &str = "SELECT call_id FROM conversations WHERE conversation_hash = $1";
const SAVE: &str = "INSERT INTO post_calls (call_id, conversation_hash, kind, received_at_us, payload) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (conversation_hash, kind) DO NOTHING";
const RECONCILED: &str = "UPDATE post_calls SET reconciled_at_us = $1 WHERE call_id = $2 AND kind = $3 \
     AND reconciled_at_us IS NULL";
const OF_CALL: &str =
    "SELECT conversation_hash, kind, payload FROM post_calls WHERE call_id = $1 ORDER BY received_at_us, kind";
const WAITING: &str = "SELECT call_id, kind FROM post_calls WHERE reconciled_at_us IS NULL \
     AND received_at_us <= $2 AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.id = post_calls.call_id \
     AND c.patient_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM visits v WHERE v.call_id = c.id)) \
     ORDER BY received_at_us, call_id, kind LIMIT $1";

/// A message of the service about a call that is over.
#[derive(Debug, Clone, Copy)]
pub struct NewPostCall<'a> {
    /// The service's identifier of the conversation.
    pub conversation_id: &'a str,
    /// The service's name of the kind of message.
    pub kind: &'a str,
    /// When it came, in microseconds since the Unix epoch.
    pub received_at_us: i64,
    /// The message as JSON. PHI.
    pub payload: &'a [u8],
}

/// A stored message of the service. PHI.
#[derive(Clone)]
pub struct PostCallMessage {
    /// The service's name of the kind of message.
    pub kind: String,
    /// The message as JSON.
    pub payload: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PostCallMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostCallMessage").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is stored now.
    New,
    /// One of this conversation and kind was stored before; nothing was changed.
    Repeated,
}

impl Store {
    /// Notes that a conversation belongs to a call. Done by [`Store::append_events`] for every `agent_connected` too, so
    /// that only what has to be found before then needs it. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for what cannot be an identifier, [`StoreError::Conflict`] when the conversation belongs to
    /// another call, [`StoreError::NotFound`] when the call is gone, [`StoreError::Unavailable`].
    pub async fn link_conversation(&self, call: &CallHandle, conversation_id: &str) -> Result<()> {
        let hash = self.conversation_hash(conversation_id)?;
        let mut tx = self.begin(Domain::Calls).await?;
        link(&mut tx, &hash, &call.id).await?;
        let linked: String =
            query_scalar(LINKED).bind(&hash).fetch_one(&mut *tx).await.doing("look up a conversation")?;
        if linked != call.id.as_str() {
            return Err(StoreError::Conflict { what: "the conversation belongs to another call" });
        }
        tx.commit().await.doing("save a conversation")
    }

    /// The call a conversation belongs to, if it is one of ours.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn call_of_conversation(&self, conversation_id: &str) -> Result<Option<CallId>> {
        let Ok(hash) = self.conversation_hash(conversation_id) else { return Ok(None) };
        let found: Option<String> =
            query_scalar(LINKED).bind(hash).fetch_optional(self.read()).await.doing("look up a conversation")?;
        found.map(|id| CallId::parse(&id).map_err(|_| StoreError::corrupt("a call identifier"))).transpose()
    }

    /// Stores a message about a call, once per conversation and kind; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a message that is too large, [`StoreError::NotFound`] when the call is gone,
    /// [`StoreError::Unavailable`].
    pub async fn save_post_call(&self, call: &CallHandle, new: NewPostCall<'_>) -> Result<Saved> {
        let hash = self.conversation_hash(new.conversation_id)?;
        if new.payload.len() > MAX_POST_CALL_BYTES || new.kind.is_empty() || new.kind.len() > MAX_KIND_BYTES {
            return Err(StoreError::Invalid {
                what: "post-call message",
                expected: "at most 2 MiB of JSON and a kind",
            });
        }
        let row = row_name(&call.id, &hash, new.kind);
        let sealed = seal_at(call.data_key(), place(&row), new.payload)?;
        let insert = query(SAVE).bind(call.id.as_str()).bind(hash).bind(new.kind).bind(new.received_at_us);
        match insert.bind(sealed).execute(self.write()).await {
            Ok(done) => Ok(if done.rows_affected() == 1 { Saved::New } else { Saved::Repeated }),
            Err(error) => Err(missing_call(error)),
        }
    }

    /// Notes that a message has been worked into the call's record.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn post_call_reconciled(&self, call: &CallId, kind: &str, at_us: i64) -> Result<()> {
        let update = query(RECONCILED).bind(at_us).bind(call.as_str()).bind(kind);
        update.execute(self.write()).await.doing("note that a message was worked in").map(drop)
    }

    /// Messages that came but were not worked in, oldest first: call and kind. A process that ended in between leaves
    /// some; at most 256 are handed out at once. What came about a call of a patient waits until there is a visit to work
    /// it into, and is not handed out before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn waiting_post_calls(&self) -> Result<Vec<(CallId, String)>> {
        self.waiting_post_calls_until(i64::MAX).await
    }

    /// As [`Store::waiting_post_calls`], of those that came until `until_us`. Younger ones may be in work elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn waiting_post_calls_until(&self, until_us: i64) -> Result<Vec<(CallId, String)>> {
        let doing = "list messages that wait";
        let rows = query(WAITING).bind(MAX_WAITING).bind(until_us).fetch_all(self.read()).await.doing(doing)?;
        let read = |row: &Row| {
            let id: String = row.try_get("call_id").doing(doing)?;
            let id = CallId::parse(&id).map_err(|_| StoreError::corrupt("a call identifier"))?;
            Ok((id, row.try_get("kind").doing(doing)?))
        };
        rows.iter().map(read).collect()
    }

    /// Everything the service sent about a call, in order of arrival.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn post_calls(&self, id: &CallId) -> Result<Vec<PostCallMessage>> {
        let call = self.call_handle(id).await?;
        let doing = "read messages about a call";
        let rows = query(OF_CALL).bind(id.as_str()).fetch_all(self.read()).await.doing(doing)?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let hash: Vec<u8> = row.try_get("conversation_hash").doing(doing)?;
            let kind: String = row.try_get("kind").doing(doing)?;
            let sealed: Vec<u8> = row.try_get("payload").doing(doing)?;
            let payload = open_at(call.data_key(), place(&row_name(id, &hash, &kind)), &sealed)?;
            messages.push(PostCallMessage { kind, payload });
        }
        Ok(messages)
    }

    fn conversation_hash(&self, conversation_id: &str) -> Result<Vec<u8>> {
        if is_conversation_id(conversation_id) {
            Ok(self.inner.vault.conversation_hash(conversation_id))
        } else {
            Err(StoreError::Invalid { what: "conversation_id", expected: "1 to 128 printable ASCII characters" })
        }
    }
}

/// Whether a text can be an identifier of a conversation.
pub(crate) fn is_conversation_id(text: &str) -> bool {
    (1..=MAX_CONVERSATION_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Notes a conversation in a running transaction. The first call to name it keeps it: an entry of a timeline must not
/// fail because an agent service gave one identifier twice.
pub(crate) async fn link(tx: &mut Conn, hash: &[u8], call: &CallId) -> Result<()> {
    query(LINK).bind(hash).bind(call.as_str()).execute(tx).await.map(drop).map_err(missing_call)
}

fn missing_call(error: sqlx::Error) -> StoreError {
    match violation(&error) {
        Some(Violation::ForeignKey) => StoreError::NotFound { what: KIND },
        _ => StoreError::Unavailable { doing: "save what belongs to a call", source: Box::new(error) },
    }
}

/// The row's name in the associated data. Identifiers hold no `/`, and the kind comes last.
fn row_name(call: &CallId, hash: &[u8], kind: &str) -> String {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{call}/{hash}/{kind}")
}

fn place(row: &str) -> Place<'_> {
    Place { table: "post_calls", row, column: "payload" }
}

//! Calls: begun once, finished once, and recovered when the process did not live to finish them.

use crate::Frame;
use crate::db::Db;
use crate::error::Doing;
use crate::ids::new_id;
use crate::keys::DataKey;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::{CallId, CallOutcome, CallRecord, Direction, EndCause, PatientId, TimelineEvent, TimelineKind};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// Calls of one page, at most.
pub const MAX_PAGE: u32 = 1_000;
/// Bytes of a call SID; Twilio's have 34.
const MAX_SID_BYTES: usize = 128;
/// Members of the agent chain that one call can have gone through.
const MAX_AGENTS: usize = 64;

pub(crate) const KIND: &str = "call";
const INSERT: &str = "INSERT INTO calls (id, patient_id, call_sid_hash, call_sid, direction, outcome, started_at_us, \
     agents, turns, interruptions, recording, key_id, wrapped_key) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', 0, 0, $8, $9, $10)";
const FINISH: &str = "UPDATE calls SET outcome = $1, end_cause = $2, ended_at_us = $3, agents = $4, turns = $5, \
     interruptions = $6 WHERE id = $7 AND outcome = $8";
const EXISTS: &str = "SELECT COUNT(*) FROM calls WHERE id = $1";
const GET: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, turns, \
     interruptions FROM calls WHERE id = $1";
const GET_BY_SID: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, \
     turns, interruptions FROM calls WHERE call_sid_hash = $1";
const LIST: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, turns, \
     interruptions FROM calls WHERE (started_at_us, id) < ($1, $2) ORDER BY started_at_us DESC, id DESC LIMIT $3";
const LIST_OF_PATIENT: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, \
     agents, turns, interruptions FROM calls WHERE patient_id = $4 AND (started_at_us, id) < ($1, $2) \
     ORDER BY started_at_us DESC, id DESC LIMIT $3";
const GET_KEY: &str = "SELECT key_id, wrapped_key FROM calls WHERE id = $1";
const GET_SID: &str = "SELECT call_sid FROM calls WHERE id = $1";
const UNFINISHED: &str = "SELECT id FROM calls WHERE outcome = $1 ORDER BY id";
// A call that nobody finished ended, as far as is known, with the last thing that was recorded of it.
const INTERRUPT: &str = "UPDATE calls SET outcome = $1, ended_at_us = started_at_us + COALESCE(\
     (SELECT MAX(at_us) FROM events WHERE events.call_id = calls.id), 0) WHERE id = $2 AND outcome = $3";
const COUNTS: &str = "UPDATE calls SET agents = $1, turns = $2, interruptions = $3 WHERE id = $4 AND outcome = $5";
// The recording usually goes on for longer than the last entry of the timeline.
const EXTEND_END: &str = "UPDATE calls SET ended_at_us = started_at_us + $1 WHERE id = $2 AND outcome = $3 \
     AND ended_at_us < started_at_us + $1 AND started_at_us + $1 <= $4";
const CAP_END: &str = "UPDATE calls SET ended_at_us = $1 WHERE id = $2 AND ended_at_us > $1 AND started_at_us <= $1";

/// A call that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall<'a> {
    /// Twilio's identifier of the call. Kept sealed, found by keyed hash.
    pub call_sid: &'a str,
    /// The patient, when known.
    pub patient_id: Option<PatientId>,
    /// Who telephoned whom.
    pub direction: Direction,
    /// Microseconds since the Unix epoch.
    pub started_at_us: i64,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishCall {
    /// How it ended up; anything but `InProgress`.
    pub outcome: CallOutcome,
    /// Which signal ended it.
    pub end_cause: Option<EndCause>,
    /// Microseconds since the Unix epoch.
    pub ended_at_us: i64,
    /// Members of the agent chain that carried the call, in order.
    pub agents: Vec<String>,
    /// Replies the agent began to speak.
    pub turns: u32,
    /// Times the caller talked over the agent and the agent stopped.
    pub interruptions: u32,
}

/// A call and the key its content is sealed with. Cheap to clone; never shows the key.
#[derive(Debug, Clone)]
pub struct CallHandle {
    /// Opaque identifier.
    pub id: CallId,
    data_key: DataKey,
}

impl CallHandle {
    /// The key of the call's recording and timeline.
    #[must_use]
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }
}

impl Store {
    /// Begins a call; it is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the call SID is known, [`StoreError::NotFound`] when the patient is not,
    /// [`StoreError::Invalid`] for a SID that cannot be one.
    pub async fn begin_call(&self, new: NewCall<'_>) -> Result<CallHandle> {
        let (Db::Sqlite(db), vault) = (&self.inner.db, &self.inner.vault);
        check_sid(new.call_sid)?;
        let started_ms = u64::try_from(new.started_at_us / 1_000)
            .map_err(|_| StoreError::Invalid { what: "started_at_us", expected: "a time after 1970" })?;
        let id = CallId::parse(&new_id(started_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        let fresh = vault.fresh_key(KIND, id.as_str())?;
        let sid = seal_at(&fresh.key, sid_place(&id), new.call_sid.as_bytes())?;
        let inserted = sqlx::query(INSERT)
            .bind(id.as_str())
            .bind(new.patient_id.as_ref().map(PatientId::as_str))
            .bind(vault.call_sid_hash(new.call_sid))
            .bind(sid)
            .bind(name_of(&new.direction)?)
            .bind(CallOutcome::InProgress.as_str())
            .bind(new.started_at_us)
            .bind(crate::recording::file_name(&id))
            .bind(vault.key_id())
            .bind(fresh.wrapped)
            .execute(&db.writer)
            .await;
        match inserted {
            Ok(_) => Ok(CallHandle { id, data_key: fresh.key }),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::Conflict { what: "a call with this call SID exists already" })
            }
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                Err(StoreError::NotFound { what: "patient" })
            }
            Err(error) => Err(error).doing("save a call"),
        }
    }

    /// Finishes a call: exactly once. Events and segments may still be added afterwards, because analysis may end later.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is finished already, [`StoreError::NotFound`], [`StoreError::Invalid`].
    pub async fn finish_call(&self, id: &CallId, end: FinishCall) -> Result<()> {
        let Db::Sqlite(db) = &self.inner.db;
        if end.outcome == CallOutcome::InProgress {
            return Err(StoreError::Invalid { what: "outcome", expected: "an outcome of a call that is over" });
        }
        if end.agents.len() > MAX_AGENTS || end.agents.iter().any(|name| name.len() > MAX_SID_BYTES) {
            return Err(StoreError::Invalid { what: "agents", expected: "at most 64 names of at most 128 bytes" });
        }
        let finished = sqlx::query(FINISH)
            .bind(end.outcome.as_str())
            .bind(end.end_cause.as_ref().map(name_of).transpose()?)
            .bind(end.ended_at_us)
            .bind(serde_json::to_string(&end.agents).doing("write names as JSON")?)
            .bind(i64::from(end.turns))
            .bind(i64::from(end.interruptions))
            .bind(id.as_str())
            .bind(CallOutcome::InProgress.as_str())
            .execute(&db.writer)
            .await
            .doing("finish a call")?;
        if finished.rows_affected() == 1 {
            return Ok(());
        }
        let known: i64 =
            sqlx::query_scalar(EXISTS).bind(id.as_str()).fetch_one(&db.writer).await.doing("read a call")?;
        if known == 0 {
            Err(StoreError::NotFound { what: KIND })
        } else {
            Err(StoreError::Conflict { what: "the call is finished already" })
        }
    }

    /// Marks every call that is still in progress as interrupted and names them. To be called once, by the server, when
    /// it starts and before it takes calls: anybody else would interrupt calls that are running.
    ///
    /// Such a call ends where its timeline does, and never after `now_us` (microseconds since the Unix epoch). Its agents
    /// and counts are taken from the timeline too; where that cannot be read they stay empty.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; calling it again is harmless.
    pub async fn recover(&self, now_us: i64) -> Result<Vec<CallId>> {
        let Db::Sqlite(db) = &self.inner.db;
        let doing = "recover interrupted calls";
        let (running, interrupted) = (CallOutcome::InProgress.as_str(), CallOutcome::Interrupted.as_str());
        let ids: Vec<String> = sqlx::query_scalar(UNFINISHED).bind(running).fetch_all(&db.writer).await.doing(doing)?;
        let ids = ids.iter().map(|id| CallId::parse(id).map_err(|_| StoreError::corrupt("a call identifier")));
        let ids = ids.collect::<Result<Vec<CallId>>>()?;
        let mut tx = db.begin().await?;
        for id in &ids {
            let update = sqlx::query(INTERRUPT).bind(interrupted).bind(id.as_str()).bind(running);
            update.execute(&mut *tx).await.doing(doing)?;
            sqlx::query(CAP_END).bind(now_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)?;
        for id in &ids {
            if let Some(end_us) = self.recorded_until(id).await {
                let update = sqlx::query(EXTEND_END).bind(end_us).bind(id.as_str()).bind(interrupted).bind(now_us);
                update.execute(&db.writer).await.doing(doing)?;
            }
            // That the call is known to be over matters more than these; they are left out rather than fail the start.
            let Ok(events) = self.call_events(id).await else { continue };
            let (agents, turns, interruptions) = summarise(&events);
            let update = sqlx::query(COUNTS).bind(serde_json::to_string(&agents).doing("write names as JSON")?);
            let update = update.bind(turns).bind(interruptions).bind(id.as_str()).bind(interrupted);
            update.execute(&db.writer).await.doing(doing)?;
        }
        Ok(ids)
    }

    /// Microseconds from the announcement of a call to the last caller audio in its recording.
    async fn recorded_until(&self, id: &CallId) -> Option<i64> {
        let mut recording = self.open_recording(id).await.ok()?;
        let mut until = None;
        while let Ok(Some(frame)) = recording.next_frame() {
            if let Frame::Patient { arrived_us, .. } = frame {
                until = until.max(Some(arrived_us));
            }
        }
        until.and_then(|us| i64::try_from(us).ok())
    }

    /// One call.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn get_call(&self, id: &CallId) -> Result<CallRecord> {
        let Db::Sqlite(db) = &self.inner.db;
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(&db.readers).await.doing("read a call")?;
        read_call(&row.ok_or(StoreError::NotFound { what: KIND })?)
    }

    /// The call with this SID, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_call_by_sid(&self, call_sid: &str) -> Result<Option<CallRecord>> {
        let Db::Sqlite(db) = &self.inner.db;
        let hash = self.inner.vault.call_sid_hash(call_sid);
        let row = sqlx::query(GET_BY_SID).bind(hash).fetch_optional(&db.readers).await.doing("look up a call")?;
        row.map(|row| read_call(&row)).transpose()
    }

    /// Calls, newest first: at most `limit` (and [`MAX_PAGE`]) of those that come after the call `before` in this order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when `before` is unknown, [`StoreError::Corrupt`].
    pub async fn list_calls(&self, limit: u32, before: Option<&CallId>) -> Result<Vec<CallRecord>> {
        let Db::Sqlite(db) = &self.inner.db;
        let (time, id) = self.page_start(before).await?;
        let query = sqlx::query(LIST).bind(time).bind(id).bind(i64::from(limit.min(MAX_PAGE)));
        let rows = query.fetch_all(&db.readers).await.doing("list the calls")?;
        rows.iter().map(read_call).collect()
    }

    /// As [`Store::list_calls`], of one patient.
    ///
    /// # Errors
    /// As [`Store::list_calls`].
    pub async fn list_patient_calls(
        &self,
        patient: &PatientId,
        limit: u32,
        before: Option<&CallId>,
    ) -> Result<Vec<CallRecord>> {
        let Db::Sqlite(db) = &self.inner.db;
        let (time, id) = self.page_start(before).await?;
        let query = sqlx::query(LIST_OF_PATIENT).bind(time).bind(id).bind(i64::from(limit.min(MAX_PAGE)));
        let rows = query.bind(patient.as_str()).fetch_all(&db.readers).await.doing("list the calls of a patient")?;
        rows.iter().map(read_call).collect()
    }

    /// The call's key, for adding to a call or reading from it later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn call_handle(&self, id: &CallId) -> Result<CallHandle> {
        let Db::Sqlite(db) = &self.inner.db;
        let doing = "read the key of a call";
        let row = sqlx::query(GET_KEY).bind(id.as_str()).fetch_optional(&db.readers).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: KIND })?;
        let key_id: String = row.try_get("key_id").doing(doing)?;
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing(doing)?;
        let data_key = self.inner.vault.unwrap_key(KIND, id.as_str(), &key_id, wrapped.as_deref())?;
        Ok(CallHandle { id: id.clone(), data_key })
    }

    /// Twilio's identifier of the call.
    ///
    /// # Errors
    /// As [`Store::call_handle`].
    pub async fn call_sid(&self, call: &CallHandle) -> Result<String> {
        let Db::Sqlite(db) = &self.inner.db;
        let row = sqlx::query_scalar(GET_SID).bind(call.id.as_str()).fetch_optional(&db.readers).await;
        let sealed: Vec<u8> = row.doing("read a call")?.ok_or(StoreError::NotFound { what: KIND })?;
        let sid = open_at(&call.data_key, sid_place(&call.id), &sealed)?;
        String::from_utf8(sid.to_vec()).map_err(|_| StoreError::corrupt(format!("call_sid of calls {}", call.id)))
    }

    /// Where a page begins: after `before`, or at the newest call. `~` sorts after every identifier.
    async fn page_start(&self, before: Option<&CallId>) -> Result<(i64, String)> {
        match before {
            None => Ok((i64::MAX, "~".to_owned())),
            Some(id) => Ok((self.get_call(id).await?.started_at_us, id.to_string())),
        }
    }
}

/// What the timeline tells about the call as a whole: agents in order, replies and interruptions.
fn summarise(events: &[TimelineEvent]) -> (Vec<&str>, i64, i64) {
    let (mut agents, mut turns, mut interruptions) = (Vec::new(), 0, 0);
    for event in events {
        match &event.kind {
            TimelineKind::AgentConnected { service, .. } if agents.last() != Some(&service.as_str()) => {
                agents.push(service.as_str());
            }
            TimelineKind::AgentTurnPlayed { .. } => turns += 1,
            TimelineKind::Interruption { .. } => interruptions += 1,
            _ => {}
        }
    }
    agents.truncate(MAX_AGENTS);
    (agents, turns, interruptions)
}

fn read_call(row: &SqliteRow) -> Result<CallRecord> {
    let doing = "read a call";
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |column: &str| StoreError::corrupt(format!("{column} of call {id}"));
    let text = |column: &'static str| row.try_get::<String, _>(column).doing(doing);
    let count = |column| u32::try_from(row.try_get::<i64, _>(column).doing(doing)?).map_err(|_| damaged(column));
    let patient_id: Option<String> = row.try_get("patient_id").doing(doing)?;
    let end_cause: Option<String> = row.try_get("end_cause").doing(doing)?;
    Ok(CallRecord {
        id: CallId::parse(&id).map_err(|_| damaged("id"))?,
        patient_id: patient_id.map(|id| PatientId::parse(&id)).transpose().map_err(|_| damaged("patient_id"))?,
        direction: from_name(text("direction")?).ok_or_else(|| damaged("direction"))?,
        outcome: CallOutcome::parse(&text("outcome")?).ok_or_else(|| damaged("outcome"))?,
        end_cause: match end_cause {
            None => None,
            Some(name) => Some(from_name(name).ok_or_else(|| damaged("end_cause"))?),
        },
        started_at_us: row.try_get("started_at_us").doing(doing)?,
        ended_at_us: row.try_get("ended_at_us").doing(doing)?,
        agents: serde_json::from_str(&text("agents")?).map_err(|_| damaged("agents"))?,
        turns: count("turns")?,
        interruptions: count("interruptions")?,
    })
}

fn check_sid(call_sid: &str) -> Result<()> {
    let fits = (1..=MAX_SID_BYTES).contains(&call_sid.len()) && call_sid.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(StoreError::Invalid { what: "call_sid", expected: "1 to 128 printable ASCII characters" })
    }
}

fn sid_place(id: &CallId) -> Place<'_> {
    Place { table: "calls", row: id.as_str(), column: "call_sid" }
}

/// The JSON name of a plain enum, which is also its name in the database.
fn name_of<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value).doing("write a name")? {
        serde_json::Value::String(name) => Ok(name),
        _ => Err(StoreError::corrupt("the name of a value")),
    }
}

fn from_name<T: DeserializeOwned>(name: String) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name)).ok()
}

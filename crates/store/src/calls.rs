//! Calls: begun once, finished once, and recovered when the process did not live to finish them.

use crate::Frame;
use crate::audit;
use crate::db::{Conn, Domain, Engine, Row, Tx, query, query_scalar};
use crate::db::{Violation, violation};
use crate::error::Doing;
use crate::ids::new_id;
use crate::keys::DataKey;
use crate::reach::{CareTeam, at_of, user_of, within_or_nobodys};
use crate::root_keys::put_data_key;
use crate::schedules::cancel_call_back;
use crate::store::off_the_runtime;
use crate::vault::{Place, fresh_key_under, open_at, seal_at, unwrap_under};
use crate::{Result, Store, StoreError};
use clinic::{CallId, CallOutcome, CallRecord, Direction, EndCause, PatientId, TimelineEvent, TimelineKind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Calls of one page, at most.
pub const MAX_PAGE: u32 = 1_000;
/// Bytes of a call SID; Twilio's have 34.
const MAX_SID_BYTES: usize = 128;
/// Members of the agent chain that one call can have gone through.
const MAX_AGENTS: usize = 64;

pub(crate) const KIND: &str = "call";
const INSERT: &str = "INSERT INTO calls (id, patient_id, call_sid_hash, call_sid, direction, outcome, started_at_us, \
     agents, turns, interruptions, recording, wrapped_key, server_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', 0, 0, $8, $9, $10)";
const FINISH: &str = "UPDATE calls SET outcome = $1, end_cause = $2, ended_at_us = $3, agents = $4, turns = $5, \
     interruptions = $6 WHERE id = $7 AND (outcome = $8 \
     OR (outcome = $9 AND end_cause IS NULL AND server_id = $10))";
const FINISH_LATE: &str = "UPDATE calls SET outcome = $1, end_cause = $2, ended_at_us = $3, agents = $4, turns = $5, \
     interruptions = $6 WHERE id = $7 AND (outcome = $8 OR (outcome = $9 AND end_cause IS NULL AND $10 <> ''))";
const PATIENT_OF: &str = "SELECT patient_id FROM calls WHERE id = $1";
const GET: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, turns, \
     interruptions FROM calls WHERE id = $1";
const GET_BY_SID: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, \
     turns, interruptions FROM calls WHERE call_sid_hash = $1";
const LIST: &str = concat!(
    "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, agents, turns, interruptions \
     FROM calls WHERE (started_at_us, id) < ($1, $2) AND ",
    within_or_nobodys!("patient_id", "$4", "$5"),
    " ORDER BY started_at_us DESC, id DESC LIMIT $3"
);
const LIST_OF_PATIENT: &str = "SELECT id, patient_id, direction, outcome, end_cause, started_at_us, ended_at_us, \
     agents, turns, interruptions FROM calls WHERE patient_id = $4 AND (started_at_us, id) < ($1, $2) \
     ORDER BY started_at_us DESC, id DESC LIMIT $3";
const GET_KEY: &str = "SELECT c.patient_id, c.wrapped_key AS inner_key, p.key_id AS outer_id, p.wrapped_key AS outer_key, \
     o.key_id, o.wrapped_key FROM calls c LEFT JOIN data_keys p ON p.kind = 'patient' AND p.id = c.patient_id \
     LEFT JOIN data_keys o ON o.kind = 'call' AND o.id = c.id WHERE c.id = $1";
const GET_SID: &str = "SELECT call_sid FROM calls WHERE id = $1";
const UNFINISHED: &str =
    "SELECT id FROM calls WHERE outcome = $1 AND (server_id IS NULL OR server_id <> $2) ORDER BY id";
const ABANDONED: &str = "SELECT id FROM calls WHERE outcome = $1 AND (server_id IS NULL OR (server_id <> $2 AND NOT EXISTS \
     (SELECT 1 FROM servers WHERE servers.id = calls.server_id AND servers.seen_at_us > $3))) ORDER BY id";
const OWN_UNFINISHED: &str =
    "SELECT id FROM calls WHERE outcome = $1 AND server_id = $2 AND started_at_us < $3 ORDER BY id";
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        let vault = &self.inner.vault;
        check_sid(new.call_sid)?;
        let started_ms = u64::try_from(new.started_at_us / 1_000)
            .map_err(|_| StoreError::Invalid { what: "started_at_us", expected: "a time after 1970" })?;
        let id = CallId::parse(&new_id(started_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        self.follow_keys().await?;
        let mut tx = self.begin(Domain::None).await?;
        // A patient's calls are destroyed with the patient's key; a call of nobody we know has a key of its own.
        let (data_key, inner, own) = match &new.patient_id {
            Some(patient) => {
                let (key, wrapped) = fresh_key_under(&self.patient_key(&mut tx, patient).await?, KIND, id.as_str())?;
                (key, Some(wrapped), None)
            }
            None => {
                let fresh = vault.fresh_key(KIND, id.as_str())?;
                (fresh.key.clone(), None, Some(fresh))
            }
        };
        let sid = seal_at(&data_key, sid_place(&id), new.call_sid.as_bytes())?;
        let inserted = query(INSERT)
            .bind(id.as_str())
            .bind(new.patient_id.as_ref().map(PatientId::as_str))
            .bind(vault.call_sid_hash(new.call_sid))
            .bind(sid)
            .bind(name_of(&new.direction)?)
            .bind(CallOutcome::InProgress.as_str())
            .bind(new.started_at_us)
            .bind(crate::recording::file_name(&id))
            .bind(inner)
            .bind(self.server_id())
            .execute(&mut tx)
            .await;
        match inserted {
            Ok(_) => {}
            Err(error) => {
                return match violation(&error) {
                    Some(Violation::Unique) => {
                        Err(StoreError::Conflict { what: "a call with this call SID exists already" })
                    }
                    Some(Violation::ForeignKey) => Err(StoreError::NotFound { what: "patient" }),
                    None => Err(error).doing("save a call"),
                };
            }
        }
        if let Some(own) = own {
            put_data_key(&mut tx, KIND, id.as_str(), &own.key_id, &own.wrapped).await?;
        }
        let entry = self.entry("call.begin").object(KIND, &id);
        audit::append(&mut tx, &self.inner.vault, &[entry.patient(new.patient_id.as_ref())]).await?;
        tx.commit().await.doing("save a call")?;
        Ok(CallHandle { id, data_key })
    }

    /// Finishes a call: exactly once. Events and segments may still be added afterwards, because analysis may end later.
    ///
    /// A call of this process that was marked as interrupted meanwhile, because this process was taken for lost, is
    /// finished as well: whoever carried it knows better how it ended.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is finished already, [`StoreError::NotFound`], [`StoreError::Invalid`].
    pub async fn finish_call(&self, id: &CallId, end: FinishCall) -> Result<()> {
        self.finish(FINISH, id, end).await
    }

    /// As [`Store::finish_call`], of a call whose end waited in the spool: whichever process carried it, and whoever took it
    /// for interrupted meanwhile, this is how it ended.
    ///
    /// # Errors
    /// As [`Store::finish_call`].
    pub async fn finish_call_late(&self, id: &CallId, end: FinishCall) -> Result<()> {
        self.finish(FINISH_LATE, id, end).await
    }

    async fn finish(&self, statement: &'static str, id: &CallId, end: FinishCall) -> Result<()> {
        if end.outcome == CallOutcome::InProgress {
            return Err(StoreError::Invalid { what: "outcome", expected: "an outcome of a call that is over" });
        }
        if end.agents.len() > MAX_AGENTS || end.agents.iter().any(|name| name.len() > MAX_SID_BYTES) {
            return Err(StoreError::Invalid { what: "agents", expected: "at most 64 names of at most 128 bytes" });
        }
        let doing = "finish a call";
        let mut tx = self.begin(Domain::None).await?;
        let finished = query(statement)
            .bind(end.outcome.as_str())
            .bind(end.end_cause.as_ref().map(name_of).transpose()?)
            .bind(end.ended_at_us)
            .bind(serde_json::to_string(&end.agents).doing("write names as JSON")?)
            .bind(i64::from(end.turns))
            .bind(i64::from(end.interruptions))
            .bind(id.as_str())
            .bind(CallOutcome::InProgress.as_str())
            .bind(CallOutcome::Interrupted.as_str())
            .bind(self.server_id())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        let patient = query(PATIENT_OF).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let Some(patient) = patient else { return Err(StoreError::NotFound { what: KIND }) };
        if finished.rows_affected() == 0 {
            return Err(StoreError::Conflict { what: "the call is finished already" });
        }
        let entry = self.entry("call.finish").object(KIND, id).patient(patient_in(&patient)?.as_ref());
        let mut entries = vec![entry.detail("outcome", end.outcome.as_str())];
        // Whoever took it for lost may have planned to make up for it.
        if matches!(end.outcome, CallOutcome::Completed | CallOutcome::HandedOver)
            && let Some(planned) = cancel_call_back(&mut tx, id).await?
        {
            let entry = self.entry("call.cancel").object("planned_call", &planned);
            entries.push(entry.patient(patient_in(&patient)?.as_ref()).detail("because", "not_needed"));
        }
        self.tell(&mut tx, &entries).await?;
        tx.commit().await.doing(doing)
    }

    /// Marks calls that are in progress but carried by nobody as interrupted, and names those that this process marked. On
    /// SQLite these are all calls of other processes, because there is one server: it calls this once, when it starts. On
    /// PostgreSQL they are the calls of servers that are gone or were not seen for [`crate::SERVER_LEASE_US`]: any
    /// server calls this at any time.
    ///
    /// Such a call ends where its timeline does, and never after `now_us` (microseconds since the Unix epoch). Its agents
    /// and counts are taken from the timeline too; where that cannot be read they stay empty.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; calling it again is harmless.
    pub async fn recover(&self, now_us: i64) -> Result<Vec<CallId>> {
        let running = CallOutcome::InProgress.as_str();
        let mut tx = self.begin(Domain::Calls).await?;
        let unfinished = match tx.engine() {
            Engine::Sqlite => query_scalar(UNFINISHED).bind(running).bind(self.server_id()),
            Engine::Postgres => {
                let seen_us = now_us.saturating_sub(crate::SERVER_LEASE_US);
                query_scalar(ABANDONED).bind(running).bind(self.server_id()).bind(seen_us)
            }
        };
        let found: Vec<String> = unfinished.fetch_all(&mut *tx).await.doing("recover interrupted calls")?;
        self.interrupt(tx, parse_ids(&found)?, now_us).await
    }

    /// Calls of this process that began before `before_us` and are still in progress, as far as the store knows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn own_unfinished_calls(&self, before_us: i64) -> Result<Vec<CallId>> {
        let statement = query_scalar(OWN_UNFINISHED).bind(CallOutcome::InProgress.as_str());
        let statement = statement.bind(self.server_id()).bind(before_us);
        let found: Vec<String> = statement.fetch_all(self.read()).await.doing("list the calls in progress")?;
        parse_ids(&found)
    }

    /// Marks those of these calls that are in progress as interrupted, as [`Store::recover`] does, and names them. For
    /// calls of which this process knows that it does not carry them any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; calling it again is harmless.
    pub async fn interrupt_calls(&self, ids: Vec<CallId>, now_us: i64) -> Result<Vec<CallId>> {
        let tx = self.begin(Domain::Calls).await?;
        self.interrupt(tx, ids, now_us).await
    }

    async fn interrupt(&self, mut tx: Tx, found: Vec<CallId>, now_us: i64) -> Result<Vec<CallId>> {
        let doing = "recover interrupted calls";
        let (running, interrupted) = (CallOutcome::InProgress.as_str(), CallOutcome::Interrupted.as_str());
        let (mut ids, mut entries) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for id in found {
            let update = query(INTERRUPT).bind(interrupted).bind(id.as_str()).bind(running);
            // Whoever carried it may have finished it at this very moment.
            if update.execute(&mut *tx).await.doing(doing)?.rows_affected() == 1 {
                query(CAP_END).bind(now_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
                let patient = query(PATIENT_OF).bind(id.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
                let entry = self.entry("call.interrupt").object(KIND, &id);
                entries.push(entry.patient(patient_in(&patient)?.as_ref()));
                ids.push(id);
            }
        }
        self.tell(&mut tx, &entries).await?;
        tx.commit().await.doing(doing)?;
        for id in &ids {
            if let Some(end_us) = self.recorded_until(id).await {
                let update = query(EXTEND_END).bind(end_us).bind(id.as_str()).bind(interrupted).bind(now_us);
                update.execute(self.write()).await.doing(doing)?;
            }
            // That the call is known to be over matters more than these; they are left out rather than fail the start.
            let Ok(events) = self.call_events(id).await else { continue };
            let (agents, turns, interruptions) = summarise(&events);
            let update = query(COUNTS).bind(serde_json::to_string(&agents).doing("write names as JSON")?);
            let update = update.bind(turns).bind(interruptions).bind(id.as_str()).bind(interrupted);
            update.execute(self.write()).await.doing(doing)?;
        }
        Ok(ids)
    }

    /// Microseconds from the announcement of a call to the last caller audio in its recording.
    async fn recorded_until(&self, id: &CallId) -> Option<i64> {
        let mut recording = self.open_recording(id).await.ok()?;
        // The whole of it is read and opened, which must not hold up a thread that carries the audio of calls.
        let last = move || {
            let mut until = None;
            while let Ok(Some(frame)) = recording.next_frame() {
                if let Frame::Patient { arrived_us, .. } = frame {
                    until = until.max(Some(arrived_us));
                }
            }
            Ok(until)
        };
        let until: Option<u64> = off_the_runtime(last).await.ok()?;
        until.and_then(|us| i64::try_from(us).ok())
    }

    /// One call.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn get_call(&self, id: &CallId) -> Result<CallRecord> {
        let row = query(GET).bind(id.as_str()).fetch_optional(self.read()).await.doing("read a call")?;
        read_call(&row.ok_or(StoreError::NotFound { what: KIND })?)
    }

    /// The call with this SID, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_call_by_sid(&self, call_sid: &str) -> Result<Option<CallRecord>> {
        let hash = self.inner.vault.call_sid_hash(call_sid);
        let row = query(GET_BY_SID).bind(hash).fetch_optional(self.read()).await.doing("look up a call")?;
        row.map(|row| read_call(&row)).transpose()
    }

    /// Calls, newest first: at most `limit` (and [`MAX_PAGE`]) of those that come after the call `before` in this order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when `before` is unknown, [`StoreError::Corrupt`].
    pub async fn list_calls(&self, limit: u32, before: Option<&CallId>) -> Result<Vec<CallRecord>> {
        self.list_calls_within(None, limit, before).await
    }

    /// As [`Store::list_calls`], of the patients of a care team.
    ///
    /// # Errors
    /// As [`Store::list_calls`].
    pub async fn list_calls_within(
        &self,
        team: Option<&CareTeam>,
        limit: u32,
        before: Option<&CallId>,
    ) -> Result<Vec<CallRecord>> {
        let (time, id) = self.page_start(before).await?;
        let statement = query(LIST).bind(time).bind(id).bind(i64::from(limit.min(MAX_PAGE)));
        let statement = statement.bind(user_of(team)).bind(at_of(team));
        let rows = statement.fetch_all(self.read()).await.doing("list the calls")?;
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
        let (time, id) = self.page_start(before).await?;
        let statement = query(LIST_OF_PATIENT).bind(time).bind(id).bind(i64::from(limit.min(MAX_PAGE)));
        let rows =
            statement.bind(patient.as_str()).fetch_all(self.read()).await.doing("list the calls of a patient")?;
        rows.iter().map(read_call).collect()
    }

    /// The call's key, for adding to a call or reading from it later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn call_handle(&self, id: &CallId) -> Result<CallHandle> {
        self.call_handle_on(&mut *self.reader().await?, id).await
    }

    /// As [`Store::call_handle`], on this connection.
    pub(crate) async fn call_handle_on(&self, conn: &mut Conn, id: &CallId) -> Result<CallHandle> {
        let doing = "read the key of a call";
        let row = query(GET_KEY).bind(id.as_str()).fetch_optional(conn).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: KIND })?;
        let data_key = self.key_in_call_row(&row, id.as_str())?;
        Ok(CallHandle { id: id.clone(), data_key })
    }

    /// The call's key from a row with the columns of its key and its patient's.
    pub(crate) fn key_in_call_row(&self, row: &Row, id: &str) -> Result<DataKey> {
        let doing = "read the key of a call";
        let text = |column| row.try_get::<Option<String>>(column).doing(doing);
        let bytes = |column| row.try_get::<Option<Vec<u8>>>(column).doing(doing);
        let Some(inner) = bytes("inner_key")? else {
            let (under, wrapped) = (text("key_id")?, bytes("wrapped_key")?);
            return self.inner.vault.unwrap_key(KIND, id, under.as_deref(), wrapped.as_deref());
        };
        let patient = text("patient_id")?.unwrap_or_default();
        let (under, wrapped) = (text("outer_id")?, bytes("outer_key")?);
        let sealed = |error| match error {
            StoreError::Sealed { .. } => StoreError::Sealed { what: KIND },
            error => error,
        };
        let outer = self.inner.vault.unwrap_key(crate::patients::KIND, &patient, under.as_deref(), wrapped.as_deref());
        unwrap_under(&outer.map_err(sealed)?, KIND, id, &inner)
    }

    /// Twilio's identifier of the call.
    ///
    /// # Errors
    /// As [`Store::call_handle`].
    pub async fn call_sid(&self, call: &CallHandle) -> Result<String> {
        let row = query_scalar(GET_SID).bind(call.id.as_str()).fetch_optional(self.read()).await;
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

fn parse_ids(ids: &[String]) -> Result<Vec<CallId>> {
    ids.iter().map(|id| CallId::parse(id).map_err(|_| StoreError::corrupt("a call identifier"))).collect()
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

/// The patient in a row with their identifier.
pub(crate) fn patient_in(row: &Row) -> Result<Option<PatientId>> {
    let id: Option<String> = row.try_get("patient_id").doing("read a call")?;
    id.map(|id| PatientId::parse(&id)).transpose().map_err(|_| StoreError::corrupt("the patient of a call"))
}

fn read_call(row: &Row) -> Result<CallRecord> {
    let doing = "read a call";
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |column: &str| StoreError::corrupt(format!("{column} of call {id}"));
    let text = |column: &'static str| row.try_get::<String>(column).doing(doing);
    let count = |column| u32::try_from(row.try_get::<i64>(column).doing(doing)?).map_err(|_| damaged(column));
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

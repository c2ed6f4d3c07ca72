//! Planned calls: one patient, one day, and what is still to be done about it.

use super::FAR_US;
use super::attempts::{self, AttemptRecord};
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::new_id;
use crate::{Result, Store, StoreError};
use clinic::schedule::{Attempt, CallingDay, Decision, Hold, MissedCall, MissedReason, Progress, RetryAfter};
use clinic::{CallId, PatientId, PlannedCallId, ScheduleId};
use jiff::civil::Date;

const KIND: &str = "planned call";
const INSERT: &str = "INSERT INTO planned_calls (id, patient_id, schedule_id, planned_for, opens_at_us, closes_at_us, \
     first_due_us, max_attempts, retry_after, state, next_at_us, created_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $11) ON CONFLICT DO NOTHING";
const GET: &str = "SELECT c.id, c.patient_id, c.schedule_id, c.planned_for, c.opens_at_us, c.closes_at_us, \
     c.first_due_us, c.max_attempts, c.retry_after, c.state, c.reason, c.reported_at_us, \
     COALESCE(s.paused, 0) AS paused, COALESCE(s.removed, 0) AS removed \
     FROM planned_calls c LEFT JOIN schedules s ON s.id = c.schedule_id WHERE c.id = $1";
const LIST: &str = "SELECT id FROM planned_calls WHERE patient_id = $1 ORDER BY opens_at_us DESC, id DESC LIMIT $2";
const OPEN_OF_SCHEDULE: &str = "SELECT id FROM planned_calls WHERE schedule_id = $1 AND state = 'open' ORDER BY id";
const UPDATE: &str = "UPDATE planned_calls SET state = $1, reason = $2, next_at_us = $3 WHERE id = $4";
const MISSED: &str =
    "SELECT id FROM planned_calls WHERE state = 'missed' AND reported_at_us IS NULL ORDER BY id LIMIT $1";
const REPORTED: &str = "UPDATE planned_calls SET reported_at_us = $1 \
     WHERE id = $2 AND state = 'missed' AND reported_at_us IS NULL";

/// How the identifier of a call-back begins; the identifier of the call that broke off follows.
const CALL_BACK: &str = "back-";

/// What came of the wish to call a patient back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallBack {
    /// It is planned now.
    Planned,
    /// It was planned before, for the same call.
    Known(PlannedState),
    /// Another call to the patient is waiting, which will do.
    OtherWaits,
}

/// Where a planned call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedState {
    /// There is or will be something to do.
    Open,
    /// The patient was reached.
    Done,
    /// The patient was not reached.
    Missed,
    /// Nobody wanted it any more.
    Cancelled,
}

impl PlannedState {
    const ALL: [Self; 4] = [Self::Open, Self::Done, Self::Missed, Self::Cancelled];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A planned call with its attempts. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCall {
    /// Opaque identifier.
    pub id: PlannedCallId,
    /// Whom it is for.
    pub patient_id: PatientId,
    /// By which schedule; `None` when somebody asked for it by hand.
    pub schedule_id: Option<ScheduleId>,
    /// The day by the patient's calendar.
    pub planned_for: Date,
    /// First moment at which a call may be placed.
    pub opens_at_us: i64,
    /// The moment from which on none may be placed.
    pub closes_at_us: i64,
    /// When the first attempt is due.
    pub first_due_us: i64,
    /// Attempts, at most.
    pub max_attempts: u32,
    /// How long to wait between them.
    pub retry_after: RetryAfter,
    /// Where it stands.
    pub state: PlannedState,
    /// Why it was missed, if it was.
    pub reason: Option<MissedReason>,
    /// The attempts so far, in order.
    pub attempts: Vec<AttemptRecord>,
    pub(super) hold: Hold,
    pub(super) is_reported: bool,
}

impl PlannedCall {
    /// The call after which the patient is called back; `None` when this is no call-back.
    #[must_use]
    pub fn call_back_after(&self) -> Option<CallId> {
        call_back_after(&self.id)
    }

    /// What to do about it at `now_us`.
    #[must_use]
    pub fn decide(&self, now_us: i64) -> Decision {
        let attempts: Vec<Attempt> = self.attempts.iter().map(AttemptRecord::progress).collect();
        let progress = Progress {
            opens_at_us: self.opens_at_us,
            closes_at_us: self.closes_at_us,
            first_due_us: self.first_due_us,
            max_attempts: self.max_attempts,
            retry_after: self.retry_after,
            attempts: &attempts,
            hold: self.hold,
        };
        progress.decide(now_us)
    }
}

/// The call after which the patient is called back by the planned call with this identifier; `None` when that is no
/// call-back.
#[must_use]
pub fn call_back_after(id: &PlannedCallId) -> Option<CallId> {
    CallId::parse(id.as_str().strip_prefix(CALL_BACK)?).ok()
}

pub(super) struct NewPlannedCall<'a> {
    pub(super) patient_id: &'a PatientId,
    pub(super) schedule_id: Option<&'a ScheduleId>,
    pub(super) day: CallingDay,
    pub(super) max_attempts: u32,
    pub(super) retry_after: RetryAfter,
}

/// Adds a planned call; `None` when there is one for that day already.
pub(super) async fn insert(tx: &mut Conn, new: &NewPlannedCall<'_>, now_us: i64) -> Result<Option<PlannedCallId>> {
    let now_ms = u64::try_from(now_us / 1_000).unwrap_or_default();
    let id = PlannedCallId::parse(&new_id(now_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
    Ok(insert_as(tx, &id, new, now_us).await?.then_some(id))
}

/// Adds a planned call with this identifier; false when there is one for that day already, or with that identifier.
async fn insert_as(tx: &mut Conn, id: &PlannedCallId, new: &NewPlannedCall<'_>, now_us: i64) -> Result<bool> {
    let inserted = query(INSERT)
        .bind(id.as_str())
        .bind(new.patient_id.as_str())
        .bind(new.schedule_id.map(ScheduleId::as_str))
        .bind(new.day.date.to_string())
        .bind(new.day.opens_at_us)
        .bind(new.day.closes_at_us)
        .bind(new.day.first_due_us)
        .bind(i64::from(new.max_attempts))
        .bind(serde_json::to_string(&new.retry_after).doing("write a planned call")?)
        .bind(new.day.first_due_us)
        .bind(now_us)
        .execute(tx)
        .await
        .doing("plan a call")?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) fn call_back_id(call: &CallId) -> Result<PlannedCallId> {
    let id = format!("{CALL_BACK}{call}");
    PlannedCallId::parse(&id).map_err(|_| StoreError::Invalid { what: "call", expected: "the identifier of a call" })
}

impl Store {
    /// Plans a call that somebody asks for by hand: one attempt, as soon as possible within `day`, which
    /// [`clinic::schedule::on_demand`] makes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when such a call is waiting already, [`StoreError::NotFound`] for the patient.
    pub async fn plan_call_now(&self, patient: &PatientId, day: CallingDay, now_us: i64) -> Result<PlannedCallId> {
        let mut tx = self.begin(Domain::Schedules).await?;
        self.patient_key(&mut tx, patient).await?;
        let (schedule_id, retry_after) = (None, RetryAfter::default());
        let new = NewPlannedCall { patient_id: patient, schedule_id, day, max_attempts: 1, retry_after };
        let id = insert(&mut tx, &new, now_us).await?;
        let id = id.ok_or(StoreError::Conflict { what: "a call to this patient is being placed already" })?;
        let entry = self.entry("call.place").object("planned_call", &id).patient(Some(patient));
        self.tell(&mut tx, &[entry]).await?;
        tx.commit().await.doing("plan a call")?;
        Ok(id)
    }

    /// Plans that a patient is called back after `call`, which broke off, in `day`, with so many attempts. Once for each
    /// call, and never while another call that somebody asked for waits for the patient. `why` is a code for the audit
    /// trail.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the patient, [`StoreError::Unavailable`].
    pub async fn plan_call_back(
        &self,
        call: &CallId,
        patient: &PatientId,
        day: CallingDay,
        attempts: u32,
        why: &str,
        now_us: i64,
    ) -> Result<CallBack> {
        let id = call_back_id(call)?;
        let mut tx = self.begin(Domain::Schedules).await?;
        self.patient_key(&mut tx, patient).await?;
        match load(&mut tx, &id).await {
            Ok(known) => return Ok(CallBack::Known(known.state)),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let retry_after = RetryAfter { busy_min: 5, no_answer_min: 15, voicemail_min: 30, failed_min: 5 };
        let new = NewPlannedCall { patient_id: patient, schedule_id: None, day, max_attempts: attempts, retry_after };
        if !insert_as(&mut tx, &id, &new, now_us).await? {
            return Ok(CallBack::OtherWaits);
        }
        let entry = self.entry("call.place").object("planned_call", &id).patient(Some(patient));
        self.tell(&mut tx, &[entry.detail("call_back", why)]).await?;
        tx.commit().await.doing("plan a call")?;
        Ok(CallBack::Planned)
    }

    /// The call-back after a call, if one was planned.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn call_back_of(&self, call: &CallId) -> Result<Option<PlannedCall>> {
        match self.get_planned_call(&call_back_id(call)?).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Takes back a planned call of which no attempt was made. False when it is too late.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn cancel_planned_call(&self, id: &PlannedCallId) -> Result<bool> {
        let mut tx = self.begin(Domain::Schedules).await?;
        let call = load(&mut tx, id).await?;
        if call.state != PlannedState::Open || !call.attempts.is_empty() {
            return Ok(false);
        }
        update(&mut tx, id, PlannedState::Cancelled, None, FAR_US).await?;
        let entry = self.entry("call.cancel").object("planned_call", id).patient(Some(&call.patient_id));
        self.tell(&mut tx, &[entry]).await?;
        tx.commit().await.doing("cancel a planned call")?;
        Ok(true)
    }

    /// One planned call.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn get_planned_call(&self, id: &PlannedCallId) -> Result<PlannedCall> {
        let mut connection = self.reader().await?;
        load(&mut connection, id).await
    }

    /// Planned calls of a patient, newest first; at most `limit` and [`crate::MAX_PAGE`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_planned_calls(&self, patient: &PatientId, limit: u32) -> Result<Vec<PlannedCall>> {
        let mut connection = self.reader().await?;
        let statement = query_scalar(LIST).bind(patient.as_str()).bind(i64::from(limit.min(crate::MAX_PAGE)));
        let ids: Vec<String> = statement.fetch_all(&mut *connection).await.doing("list planned calls")?;
        let mut calls = Vec::with_capacity(ids.len());
        for id in &ids {
            calls.push(load(&mut connection, &parse_id(id)?).await?);
        }
        Ok(calls)
    }

    /// Missed calls nobody was told about, oldest first.
    ///
    /// Whoever tells somebody notes it with [`Store::missed_call_reported`] afterwards. A process that dies in between
    /// will tell it again: `planned_call_id` is the same then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn unreported_missed_calls(&self, limit: u32) -> Result<Vec<MissedCall>> {
        let mut connection = self.reader().await?;
        let statement = query_scalar(MISSED).bind(i64::from(limit.min(crate::MAX_PAGE)));
        let ids: Vec<String> = statement.fetch_all(&mut *connection).await.doing("list missed calls")?;
        let mut missed = Vec::with_capacity(ids.len());
        for id in &ids {
            let call = load(&mut connection, &parse_id(id)?).await?;
            missed.push(MissedCall {
                planned_call_id: call.id,
                patient_id: call.patient_id,
                planned_for: call.planned_for,
                attempts: u32::try_from(call.attempts.len()).unwrap_or(u32::MAX),
                reason: call.reason.unwrap_or(MissedReason::Unknown),
            });
        }
        Ok(missed)
    }

    /// Notes that somebody was told of a missed call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; calling it again is harmless.
    pub async fn missed_call_reported(&self, id: &PlannedCallId, now_us: i64) -> Result<()> {
        let doing = "note a reported call";
        let mut tx = self.begin(Domain::Schedules).await?;
        query(REPORTED).bind(now_us).bind(id.as_str()).execute(&mut tx).await.doing(doing)?;
        tx.commit().await.doing(doing)
    }
}

/// Decides about a call again and writes down what follows. The decision comes back.
pub(super) async fn decide(tx: &mut Conn, call: &PlannedCall, now_us: i64) -> Result<Decision> {
    let decision = call.decide(now_us);
    let (state, reason, next_at_us) = match decision {
        Decision::Place { .. } => (PlannedState::Open, None, now_us),
        Decision::Wait { until_us } => (PlannedState::Open, None, until_us),
        Decision::AwaitOutcome => (PlannedState::Open, None, FAR_US),
        Decision::Done => (PlannedState::Done, None, FAR_US),
        Decision::Missed(reason) => (PlannedState::Missed, Some(reason), FAR_US),
        Decision::Cancelled => (PlannedState::Cancelled, None, FAR_US),
    };
    // A call that is due keeps its place in the queue.
    if !matches!(decision, Decision::Place { .. }) || call.state != PlannedState::Open {
        update(tx, &call.id, state, reason, next_at_us).await?;
    }
    if state == PlannedState::Missed && call.schedule_id.is_none() && call.call_back_after().is_none() {
        // Whoever asked for it by hand sees what became of it.
        query(REPORTED).bind(now_us).bind(call.id.as_str()).execute(tx).await.doing("note a missed call")?;
    }
    Ok(decision)
}

/// Decides again about the open calls of a schedule that was paused, resumed or removed.
pub(super) async fn decide_open_calls(tx: &mut Conn, schedule: &ScheduleId, now_us: i64) -> Result<()> {
    let statement = query_scalar(OPEN_OF_SCHEDULE).bind(schedule.as_str());
    let ids: Vec<String> = statement.fetch_all(&mut *tx).await.doing("list planned calls")?;
    for id in &ids {
        let call = load(tx, &parse_id(id)?).await?;
        if let Decision::Place { .. } = decide(tx, &call, now_us).await? {
            set_next(tx, &call.id, now_us).await?;
        }
    }
    Ok(())
}

/// Says when there is something to decide about an open call.
pub(super) async fn set_next(tx: &mut Conn, id: &PlannedCallId, next_at_us: i64) -> Result<()> {
    update(tx, id, PlannedState::Open, None, next_at_us).await
}

/// Nobody wants an open call any more.
pub(super) async fn cancel(tx: &mut Conn, id: &PlannedCallId) -> Result<()> {
    update(tx, id, PlannedState::Cancelled, None, FAR_US).await
}

async fn update(
    tx: &mut Conn,
    id: &PlannedCallId,
    state: PlannedState,
    reason: Option<MissedReason>,
    next_at_us: i64,
) -> Result<()> {
    let statement = query(UPDATE).bind(state.as_str()).bind(reason.map(MissedReason::as_str));
    statement.bind(next_at_us).bind(id.as_str()).execute(tx).await.doing("note what became of a call").map(drop)
}

/// A planned call with its attempts.
pub(super) async fn load(connection: &mut Conn, id: &PlannedCallId) -> Result<PlannedCall> {
    let row = query(GET).bind(id.as_str()).fetch_optional(&mut *connection).await.doing("read a planned call")?;
    let mut call = read(&row.ok_or(StoreError::NotFound { what: KIND })?)?;
    call.attempts = attempts::of_planned_call(connection, id).await?;
    Ok(call)
}

pub(super) fn parse_id(id: &str) -> Result<PlannedCallId> {
    PlannedCallId::parse(id).map_err(|_| StoreError::corrupt("the identifier of a planned call"))
}

fn read(row: &Row) -> Result<PlannedCall> {
    let doing = "read a planned call";
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |column: &str| StoreError::corrupt(format!("{column} of planned call {id}"));
    let text = |column: &'static str| row.try_get::<String>(column).doing(doing);
    let schedule_id: Option<String> = row.try_get("schedule_id").doing(doing)?;
    let reason: Option<String> = row.try_get("reason").doing(doing)?;
    let flag = |column| row.try_get::<i64>(column).doing(doing).map(|value| value != 0);
    let state = text("state")?;
    Ok(PlannedCall {
        id: parse_id(&id)?,
        patient_id: PatientId::parse(&text("patient_id")?).map_err(|_| damaged("patient_id"))?,
        schedule_id: schedule_id.map(|id| ScheduleId::parse(&id)).transpose().map_err(|_| damaged("schedule_id"))?,
        planned_for: text("planned_for")?.parse().map_err(|_| damaged("planned_for"))?,
        opens_at_us: row.try_get("opens_at_us").doing(doing)?,
        closes_at_us: row.try_get("closes_at_us").doing(doing)?,
        first_due_us: row.try_get("first_due_us").doing(doing)?,
        max_attempts: u32::try_from(row.try_get::<i64>("max_attempts").doing(doing)?)
            .map_err(|_| damaged("max_attempts"))?,
        retry_after: serde_json::from_str(&text("retry_after")?).map_err(|_| damaged("retry_after"))?,
        state: PlannedState::ALL.into_iter().find(|s| s.as_str() == state).ok_or_else(|| damaged("state"))?,
        reason: reason.map(|name| MissedReason::parse(&name).ok_or_else(|| damaged("reason"))).transpose()?,
        attempts: Vec::new(),
        hold: match (flag("removed")?, flag("paused")?) {
            (true, _) => Hold::Removed,
            (_, true) => Hold::Paused,
            _ => Hold::None,
        },
        is_reported: row.try_get::<Option<i64>>("reported_at_us").doing(doing)?.is_some(),
    })
}

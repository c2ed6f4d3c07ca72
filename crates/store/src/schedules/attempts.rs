//! Attempts: noted before the call is placed, settled once it is known what became of it.

use super::FAR_US;
use super::planned::{self, PlannedCall, PlannedState};
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::new_id;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::schedule::{Attempt, AttemptState, Decision, Pace};
use clinic::{AttemptId, PatientId, PlannedCallId};

/// Planned calls that one [`Store::claim_attempt`] looks at.
const LOOK_AT: i64 = 50;
/// When to look again at a call whose number is in use by another one.
const LINE_IN_USE_AGAIN_US: i64 = 60_000_000;
/// Bytes of a call SID; Twilio's have 34.
const MAX_SID_BYTES: usize = 128;

const KIND: &str = "attempt";
const DUE: &str = "SELECT id FROM planned_calls WHERE state = 'open' AND next_at_us <= $1 \
     ORDER BY next_at_us, id LIMIT $2";
const CLOSED: &str = "SELECT id FROM planned_calls WHERE state = 'open' AND next_at_us <= $1 AND closes_at_us <= $1 \
     ORDER BY next_at_us, id LIMIT $2";
const INSERT: &str = "INSERT INTO call_attempts (id, planned_call_id, patient_id, number, state, claimed_at_us, \
     check_at_us, line_free_us) VALUES ($1, $2, $3, $4, 'claimed', $5, $6, 0)";
// A couple may share a telephone, and a patient may be calling us: a call would find the line engaged.
const LINE_IN_USE: &str = "SELECT (SELECT COUNT(*) FROM call_attempts a JOIN patients p ON p.id = a.patient_id \
     WHERE a.state IN ('claimed', 'placed') AND p.phone_hash = (SELECT phone_hash FROM patients WHERE id = $1)) \
     + (SELECT COUNT(*) FROM call_attempts a JOIN patients p ON p.id = a.patient_id \
     WHERE a.line_free_us > $2 AND p.phone_hash = (SELECT phone_hash FROM patients WHERE id = $1)) \
     + (SELECT COUNT(*) FROM calls WHERE outcome = 'in_progress' AND patient_id = $1)";
const BY_ID: &str = "SELECT a.id, a.planned_call_id, a.patient_id, a.number, a.state, a.claimed_at_us, a.settled_at_us, \
     a.call_sid, k.key_id, k.wrapped_key FROM call_attempts a \
     LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = a.patient_id WHERE a.id = $1";
const BY_SID: &str = "SELECT id FROM call_attempts WHERE call_sid_hash = $1";
const OF_PLANNED: &str = "SELECT a.id, a.planned_call_id, a.patient_id, a.number, a.state, a.claimed_at_us, \
     a.settled_at_us, NULL AS call_sid FROM call_attempts a WHERE a.planned_call_id = $1 ORDER BY a.number";
const TO_CHECK: &str = "SELECT a.id, a.planned_call_id, a.patient_id, a.number, a.state, a.claimed_at_us, \
     a.settled_at_us, a.call_sid, k.key_id, k.wrapped_key FROM call_attempts a \
     LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = a.patient_id \
     WHERE a.state IN ('claimed', 'placed') AND a.check_at_us <= $1 ORDER BY a.check_at_us, a.id LIMIT $2";
const SET_SID: &str =
    "UPDATE call_attempts SET call_sid_hash = $1, call_sid = $2 WHERE id = $3 AND call_sid_hash IS NULL";
const SET_PLACED: &str = "UPDATE call_attempts SET state = 'placed', check_at_us = $1 WHERE id = $2";
const SET_STATE: &str = "UPDATE call_attempts SET state = $1, settled_at_us = $2, check_at_us = $3, line_free_us = $4 \
     WHERE id = $5";
const SET_CHECK: &str = "UPDATE call_attempts SET check_at_us = $1 WHERE id = $2 AND check_at_us <= $3 \
     AND state IN ('claimed', 'placed')";
const RELEASE: &str = "DELETE FROM call_attempts WHERE id = $1 AND state = 'claimed' AND call_sid_hash IS NULL";
const UNDER_WAY: &str = "SELECT (SELECT COUNT(*) FROM call_attempts WHERE state IN ('claimed', 'placed')) \
     + (SELECT COUNT(*) FROM call_attempts WHERE line_free_us > $1) AS in_flight, \
     (SELECT MAX(claimed_at_us) FROM call_attempts WHERE claimed_at_us <= $2) AS last_claim";
const OUTGOING: &str = "SELECT (SELECT COUNT(*) FROM call_attempts WHERE state IN ('claimed', 'placed')) \
     + (SELECT COUNT(*) FROM call_attempts WHERE line_free_us > $1) AS in_flight, \
     (SELECT MAX(claimed_at_us) FROM call_attempts WHERE claimed_at_us <= $2) AS last_claim, \
     (SELECT MIN(next_at_us) FROM planned_calls WHERE state = 'open') AS next_call, \
     (SELECT MIN(next_plan_us) FROM schedules WHERE paused = 0 AND removed = 0) AS next_plan, \
     (SELECT MIN(check_at_us) FROM call_attempts WHERE state IN ('claimed', 'placed')) AS next_check, \
     (SELECT COUNT(*) FROM planned_calls WHERE state = 'missed' AND reported_at_us IS NULL) AS unreported";

/// An attempt that may now be placed, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Opaque identifier.
    pub id: AttemptId,
    /// The planned call.
    pub planned_call_id: PlannedCallId,
    /// Whom to telephone.
    pub patient_id: PatientId,
    /// Which attempt, from 1.
    pub number: u32,
}

/// An attempt as it is stored. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Opaque identifier.
    pub id: AttemptId,
    /// The planned call.
    pub planned_call_id: PlannedCallId,
    /// Who is telephoned.
    pub patient_id: PatientId,
    /// Which attempt, from 1.
    pub number: u32,
    /// What is known of it.
    pub state: AttemptState,
    /// When it was claimed.
    pub claimed_at_us: i64,
    /// When it was known what became of it.
    pub settled_at_us: Option<i64>,
    /// Twilio's identifier of the call, once known. Not read where attempts are listed with their planned call.
    pub call_sid: Option<String>,
}

impl AttemptRecord {
    pub(super) fn progress(&self) -> Attempt {
        Attempt { state: self.state, at_us: self.settled_at_us.unwrap_or(self.claimed_at_us) }
    }
}

/// What there is to do about outgoing calls, and when. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutgoingState {
    /// Attempts that take up a line: the telephone may be ringing or in use.
    pub in_flight: usize,
    /// When the last attempt was claimed.
    pub last_claim_us: Option<i64>,
    /// When there is something to decide about a planned call.
    pub next_call_us: Option<i64>,
    /// When there is a call to plan.
    pub next_plan_us: Option<i64>,
    /// When to ask what became of an attempt.
    pub next_check_us: Option<i64>,
    /// Missed calls nobody was told about.
    pub unreported: usize,
}

impl Store {
    /// Claims the attempt that has been due for longest; its claim is durable when this returns. Calls that are missed or
    /// cancelled are noted as such on the way, and call-backs that nobody needs any more are cancelled. Nothing is claimed beyond the pace, which all servers of a database keep
    /// together, nor without one.
    ///
    /// `check_at_us` is when to ask what became of it, should nobody say.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn claim_attempt(&self, now_us: i64, check_at_us: i64, pace: Option<&Pace>) -> Result<Option<Claim>> {
        let doing = "claim an attempt";
        // Not row by row with SKIP LOCKED: the pace is of all claims, so that they have to be made one after the other.
        let mut tx = self.begin(Domain::Schedules).await?;
        let may_place = match pace {
            None => false,
            Some(pace) => {
                let statement = query(UNDER_WAY).bind(now_us).bind(Pace::newest_us(now_us));
                let row = statement.fetch_one(&mut *tx).await.doing(doing)?;
                let in_flight: i64 = row.try_get("in_flight").doing(doing)?;
                let last_us: Option<i64> = row.try_get("last_claim").doing(doing)?;
                let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
                pace.has_room(in_flight) && pace.wait_until(last_us, now_us).is_none()
            }
        };
        // While nothing may be placed, what waits to be must not hide calls whose time is over.
        let statement = query_scalar(if may_place { DUE } else { CLOSED }).bind(now_us).bind(LOOK_AT);
        let due: Vec<String> = statement.fetch_all(&mut *tx).await.doing(doing)?;
        let (mut claim, mut entries) = (None, Vec::new());
        for id in &due {
            let call = planned::load(&mut tx, &planned::parse_id(id)?).await?;
            let Decision::Place { attempt } = planned::decide(&mut tx, &call, now_us).await? else { continue };
            if self.is_moot(&mut tx, &call).await? {
                planned::cancel(&mut tx, &call.id).await?;
                let entry = self.entry("call.cancel").object("planned_call", &call.id).patient(Some(&call.patient_id));
                entries.push(entry.detail("because", "not_needed"));
                continue;
            }
            let in_use: i64 = query_scalar(LINE_IN_USE)
                .bind(call.patient_id.as_str())
                .bind(now_us)
                .fetch_one(&mut *tx)
                .await
                .doing(doing)?;
            if in_use > 0 {
                let again_us = now_us.saturating_add(LINE_IN_USE_AGAIN_US).min(call.closes_at_us);
                planned::set_next(&mut tx, &call.id, again_us).await?;
                continue;
            }
            claim = Some(insert(&mut tx, &call, attempt, now_us, check_at_us).await?);
            break;
        }
        if !entries.is_empty() {
            self.tell(&mut tx, &entries).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(claim)
    }

    /// Notes Twilio's identifier of the call that an attempt became. False when it is known already.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the attempt has another identifier, or the identifier another attempt;
    /// [`StoreError::NotFound`], [`StoreError::Sealed`].
    pub async fn attempt_placed(&self, id: &AttemptId, call_sid: &str, check_at_us: i64) -> Result<bool> {
        let vault = &self.inner.vault;
        let doing = "note the identifier of a call";
        if !(1..=MAX_SID_BYTES).contains(&call_sid.len()) || !call_sid.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(StoreError::Invalid { what: "call_sid", expected: "1 to 128 printable ASCII characters" });
        }
        // Several callbacks of every call come here, and an identifier that is noted stays: no need to wait for a turn.
        if self.get_attempt(id).await?.call_sid.as_deref() == Some(call_sid) {
            return Ok(false);
        }
        let mut tx = self.begin(Domain::Schedules).await?;
        let row = query(BY_ID).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: KIND })?;
        let attempt = self.read_attempt(&row)?;
        match &attempt.call_sid {
            Some(known) if known == call_sid => return Ok(false),
            Some(_) => return Err(StoreError::Conflict { what: "the attempt became another call already" }),
            None => {}
        }
        let hash = vault.call_sid_hash(call_sid);
        let other: Option<String> = query_scalar(BY_SID).bind(&hash).fetch_optional(&mut *tx).await.doing(doing)?;
        if other.is_some() {
            return Err(StoreError::Conflict { what: "the call belongs to another attempt" });
        }
        let key = self.key_in_row(&row, attempt.patient_id.as_str())?;
        let sealed = seal_at(&key, sid_place(id), call_sid.as_bytes())?;
        query(SET_SID).bind(hash).bind(sealed).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        if attempt.state == AttemptState::Claimed {
            query(SET_PLACED).bind(check_at_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Notes what became of an attempt, and decides what follows for its planned call. False when something better was
    /// known already. Its line counts as in use until `line_free_us`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn settle_attempt(
        &self,
        id: &AttemptId,
        state: AttemptState,
        now_us: i64,
        line_free_us: i64,
    ) -> Result<bool> {
        let doing = "note what became of an attempt";
        let mut tx = self.begin(Domain::Schedules).await?;
        let row = query(BY_ID).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let attempt = read(&row.ok_or(StoreError::NotFound { what: KIND })?)?;
        if state.is_in_flight() || !attempt.state.may_become(state) {
            return Ok(false);
        }
        let update = query(SET_STATE).bind(state.as_str()).bind(now_us).bind(FAR_US).bind(line_free_us);
        update.bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        let call = planned::load(&mut tx, &attempt.planned_call_id).await?;
        let may_change = match call.state {
            PlannedState::Open | PlannedState::Done => true,
            // Nobody is called again of whom the staff knows already; that they were reached after all is noted.
            PlannedState::Missed => !call.is_reported || state == AttemptState::Answered,
            PlannedState::Cancelled => false,
        };
        if may_change && let Decision::Place { .. } = planned::decide(&mut tx, &call, now_us).await? {
            planned::set_next(&mut tx, &call.id, now_us).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Takes back a claim of which it is certain that no call came of it. False when one did. The same attempt is due
    /// again at `again_us`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn release_attempt(&self, id: &AttemptId, again_us: i64) -> Result<bool> {
        let doing = "release an attempt";
        let mut tx = self.begin(Domain::Schedules).await?;
        let row = query(BY_ID).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let attempt = read(&row.ok_or(StoreError::NotFound { what: KIND })?)?;
        let released = query(RELEASE).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        if released.rows_affected() == 0 {
            return Ok(false);
        }
        let call = planned::load(&mut tx, &attempt.planned_call_id).await?;
        planned::set_next(&mut tx, &call.id, again_us.min(call.closes_at_us)).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when its patient was erased, [`StoreError::Corrupt`].
    pub async fn get_attempt(&self, id: &AttemptId) -> Result<AttemptRecord> {
        let row = query(BY_ID).bind(id.as_str()).fetch_optional(self.read()).await.doing("read an attempt")?;
        self.read_attempt(&row.ok_or(StoreError::NotFound { what: KIND })?)
    }

    /// The attempt that became the call with this SID, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_attempt_by_sid(&self, call_sid: &str) -> Result<Option<AttemptId>> {
        let hash = self.inner.vault.call_sid_hash(call_sid);
        let id: Option<String> =
            query_scalar(BY_SID).bind(hash).fetch_optional(self.read()).await.doing("look up an attempt")?;
        id.map(|id| parse_id(&id)).transpose()
    }

    /// Attempts in flight of which it is time to ask what became of them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn attempts_to_check(&self, now_us: i64, limit: u32) -> Result<Vec<AttemptRecord>> {
        let statement = query(TO_CHECK).bind(now_us).bind(i64::from(limit));
        let rows = statement.fetch_all(self.read()).await.doing("list attempts")?;
        let attempt = |row| match self.read_attempt(row) {
            // The patient was erased; what became of the call does not matter any more, but the attempt has to end.
            Err(StoreError::Sealed { .. }) => read(row),
            other => other,
        };
        rows.iter().map(attempt).collect()
    }

    /// Says when to ask again, for somebody who is about to ask at `now_us`. False when another process asks already, or
    /// nothing is to be asked any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn check_attempt_at(&self, id: &AttemptId, now_us: i64, check_at_us: i64) -> Result<bool> {
        let update = query(SET_CHECK).bind(check_at_us).bind(id.as_str()).bind(now_us).execute(self.write()).await;
        Ok(update.doing("postpone a question")?.rows_affected() == 1)
    }

    /// What there is to do about outgoing calls, and when.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn outgoing_state(&self, now_us: i64) -> Result<OutgoingState> {
        let doing = "read what calls are due";
        let statement = query(OUTGOING).bind(now_us).bind(Pace::newest_us(now_us));
        let row = statement.fetch_one(self.read()).await.doing(doing)?;
        let time = |column| {
            let time: Option<i64> = row.try_get(column).doing(doing)?;
            Ok::<_, StoreError>(time.filter(|time| *time < FAR_US))
        };
        let count = |column| {
            let count: i64 = row.try_get(column).doing(doing)?;
            Ok::<_, StoreError>(usize::try_from(count).unwrap_or_default())
        };
        Ok(OutgoingState {
            in_flight: count("in_flight")?,
            last_claim_us: time("last_claim")?,
            next_call_us: time("next_call")?,
            next_plan_us: time("next_plan")?,
            next_check_us: time("next_check")?,
            unreported: count("unreported")?,
        })
    }

    fn read_attempt(&self, row: &Row) -> Result<AttemptRecord> {
        let mut attempt = read(row)?;
        let sealed: Option<Vec<u8>> = row.try_get("call_sid").doing("read an attempt")?;
        if let Some(sealed) = sealed {
            let key = self.key_in_row(row, attempt.patient_id.as_str())?;
            let sid = open_at(&key, sid_place(&attempt.id), &sealed)?;
            let damaged = |_| StoreError::corrupt(format!("call_sid of attempt {}", attempt.id));
            attempt.call_sid = Some(String::from_utf8(sid.to_vec()).map_err(damaged)?);
        }
        Ok(attempt)
    }
}

async fn insert(tx: &mut Conn, call: &PlannedCall, number: u32, now_us: i64, check_at_us: i64) -> Result<Claim> {
    let now_ms = u64::try_from(now_us / 1_000).unwrap_or_default();
    let id = parse_id(&new_id(now_ms)?)?;
    query(INSERT)
        .bind(id.as_str())
        .bind(call.id.as_str())
        .bind(call.patient_id.as_str())
        .bind(i64::from(number))
        .bind(now_us)
        .bind(check_at_us)
        .execute(&mut *tx)
        .await
        .doing("claim an attempt")?;
    planned::set_next(tx, &call.id, FAR_US).await?;
    Ok(Claim { id, planned_call_id: call.id.clone(), patient_id: call.patient_id.clone(), number })
}

/// The attempts of a planned call, in order, without the identifiers of their calls.
pub(super) async fn of_planned_call(connection: &mut Conn, id: &PlannedCallId) -> Result<Vec<AttemptRecord>> {
    let rows = query(OF_PLANNED).bind(id.as_str()).fetch_all(connection).await.doing("read attempts")?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AttemptRecord> {
    let doing = "read an attempt";
    let id: String = row.try_get("id").doing(doing)?;
    let damaged = |column: &str| StoreError::corrupt(format!("{column} of attempt {id}"));
    let text = |column: &'static str| row.try_get::<String>(column).doing(doing);
    Ok(AttemptRecord {
        id: parse_id(&id)?,
        planned_call_id: planned::parse_id(&text("planned_call_id")?)?,
        patient_id: PatientId::parse(&text("patient_id")?).map_err(|_| damaged("patient_id"))?,
        number: u32::try_from(row.try_get::<i64>("number").doing(doing)?).map_err(|_| damaged("number"))?,
        state: AttemptState::parse(&text("state")?).ok_or_else(|| damaged("state"))?,
        claimed_at_us: row.try_get("claimed_at_us").doing(doing)?,
        settled_at_us: row.try_get("settled_at_us").doing(doing)?,
        call_sid: None,
    })
}

fn parse_id(id: &str) -> Result<AttemptId> {
    AttemptId::parse(id).map_err(|_| StoreError::corrupt("the identifier of an attempt"))
}

fn sid_place(id: &AttemptId) -> Place<'_> {
    Place { table: "call_attempts", row: id.as_str(), column: "call_sid" }
}

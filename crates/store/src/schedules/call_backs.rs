//! Whether a patient whose call broke off still has to be called back, and what was tried for them already.

use super::FAR_US;
use super::planned::{self, PlannedCall, PlannedState, call_back_after, call_back_id};
use crate::db::{Conn, query, query_scalar};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::{CallId, CallOutcome, PatientId, PlannedCallId};

/// Call-backs that follow each other, at most, where one was planned for the call of another. Today none is.
const MAX_CHAIN: usize = 16;
/// Later calls of a patient that are looked at for one that replaces the one that broke off.
const LATER_CALLS: i64 = 20;

const PLANNED_OF_CALL: &str = "SELECT a.planned_call_id FROM calls c \
     JOIN call_attempts a ON a.call_sid_hash = c.call_sid_hash WHERE c.id = $1";
const LATER: &str = "SELECT id FROM calls WHERE patient_id = $1 AND started_at_us > $2 \
     AND outcome IN ('completed', 'handed_over') ORDER BY started_at_us DESC, id DESC LIMIT $3";
const ORIGINAL: &str = "SELECT outcome, started_at_us FROM calls WHERE id = $1";
const CREATED: &str = "SELECT created_at_us FROM planned_calls WHERE id = $1";
const TRIED: &str = "SELECT p.id FROM planned_calls p WHERE p.patient_id = $1 AND p.id LIKE 'back-%' AND EXISTS \
     (SELECT 1 FROM call_attempts a WHERE a.planned_call_id = p.id AND a.claimed_at_us >= $2) \
     ORDER BY p.opens_at_us DESC, p.id DESC LIMIT 1";
const CANCEL: &str = "UPDATE planned_calls SET state = 'cancelled', reason = NULL, next_at_us = $1 WHERE id = $2 \
     AND state = 'open' AND NOT EXISTS (SELECT 1 FROM call_attempts a WHERE a.planned_call_id = planned_calls.id \
     AND a.state IN ('claimed', 'placed'))";
// Attempts at a call-back are calls of their own: what follows from them is decided about the call they make up for.
const TO_MAKE_UP_FOR: &str = "SELECT c.id FROM calls c WHERE c.outcome IN ('failed', 'interrupted') \
     AND c.patient_id IS NOT NULL AND c.started_at_us > $1 AND c.ended_at_us <= $2 \
     AND NOT EXISTS (SELECT 1 FROM planned_calls p WHERE p.id = 'back-' || c.id) \
     AND NOT EXISTS (SELECT 1 FROM call_attempts a WHERE a.call_sid_hash = c.call_sid_hash \
     AND a.planned_call_id LIKE 'back-%') ORDER BY c.started_at_us DESC, c.id DESC LIMIT $3";

impl Store {
    /// The call that a call makes up for: where it was an attempt at a call-back, the one that broke off in the first
    /// place. Otherwise the call itself.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn original_call(&self, call: &CallId) -> Result<CallId> {
        let mut original = call.clone();
        for _ in 0..MAX_CHAIN {
            let planned = self.planned_of(&original).await?;
            let Some(before) = planned.and_then(|id| call_back_after(&id)) else { break };
            original = before;
        }
        Ok(original)
    }

    /// The planned call as an attempt at which this call was made; `None` for a call that nobody planned.
    ///
    /// # Errors
    /// As [`Store::original_call`].
    pub async fn planned_call_of(&self, call: &CallId) -> Result<Option<PlannedCall>> {
        match self.planned_of(call).await? {
            Some(id) => self.get_planned_call(&id).await.map(Some),
            None => Ok(None),
        }
    }

    async fn planned_of(&self, call: &CallId) -> Result<Option<PlannedCallId>> {
        let statement = query_scalar::<String>(PLANNED_OF_CALL).bind(call.as_str());
        let id = statement.fetch_optional(self.read()).await.doing("look up the planned call of a call")?;
        id.map(|id| planned::parse_id(&id)).transpose()
    }

    /// Whether the patient has had a whole check-in, or was handed over to a person, in a call that began after
    /// `since_us` (microseconds since the Unix epoch).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn was_reached_since(&self, patient: &PatientId, since_us: i64) -> Result<bool> {
        let mut reader = self.reader().await?;
        self.reached_since(&mut reader, patient, since_us).await
    }

    async fn reached_since(&self, conn: &mut Conn, patient: &PatientId, since_us: i64) -> Result<bool> {
        let statement = query_scalar::<String>(LATER).bind(patient.as_str()).bind(since_us).bind(LATER_CALLS);
        let later = statement.fetch_all(&mut *conn).await.doing("look for a later call of a patient")?;
        for id in later {
            let id = CallId::parse(&id).map_err(|_| StoreError::corrupt("a call identifier"))?;
            match self.visit_record_on(conn, &id).await {
                Ok(Some(record)) if record.complete || record.transferred == Some(true) => return Ok(true),
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                // One that cannot be read is no reason to leave the patient without a call.
                _ => {}
            }
        }
        Ok(false)
    }

    /// Where the newest call-back stands at which the patient was telephoned after `since_us` (microseconds since the
    /// Unix epoch), whatever call it was planned for; `None` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn call_back_tried_since(&self, patient: &PatientId, since_us: i64) -> Result<Option<PlannedState>> {
        let statement = query_scalar::<String>(TRIED).bind(patient.as_str()).bind(since_us);
        let id = statement.fetch_optional(self.read()).await.doing("look for call-backs of a patient")?;
        let Some(id) = id else { return Ok(None) };
        self.get_planned_call(&planned::parse_id(&id)?).await.map(|call| Some(call.state))
    }

    /// Calls of patients that broke off after `since_us`, were over at `until_us` (microseconds since the Unix epoch),
    /// and for which no call-back is on record; newest first, at most `limit`. Whether one is needed is another matter.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn calls_without_call_back(&self, since_us: i64, until_us: i64, limit: usize) -> Result<Vec<CallId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = query_scalar::<String>(TO_MAKE_UP_FOR).bind(since_us).bind(until_us).bind(limit);
        let ids = statement.fetch_all(self.read()).await.doing("look for calls that broke off")?;
        ids.iter().map(|id| CallId::parse(id).map_err(|_| StoreError::corrupt("a call identifier"))).collect()
    }

    /// Whether a planned call is a call-back that nobody needs any more: the call it makes up for did not break off after
    /// all, or the patient was reached meanwhile.
    pub(super) async fn is_moot(&self, tx: &mut Conn, planned: &PlannedCall) -> Result<bool> {
        let doing = "look at the call that broke off";
        let Some(original) = planned.call_back_after() else { return Ok(false) };
        let row = query(ORIGINAL).bind(original.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let since_us = match row {
            Some(row) => {
                let outcome = CallOutcome::parse(&row.try_get::<String>("outcome").doing(doing)?);
                if outcome.is_some_and(|outcome| !broke_off(outcome)) {
                    return Ok(true);
                }
                row.try_get("started_at_us").doing(doing)?
            }
            // A caller who could not be looked up left no call.
            None => query_scalar(CREATED).bind(planned.id.as_str()).fetch_one(&mut *tx).await.doing(doing)?,
        };
        self.reached_since(tx, &planned.patient_id, since_us).await
    }
}

/// Whether a call with this outcome may have to be made up for. One in progress is about to break off, or nobody has noted
/// yet that it did.
fn broke_off(outcome: CallOutcome) -> bool {
    matches!(outcome, CallOutcome::Failed | CallOutcome::Interrupted | CallOutcome::InProgress)
}

/// Takes back the call-back of a call that ended otherwise than it seemed, unless the telephone is ringing already. Names
/// it when there was one.
pub(crate) async fn cancel_call_back(tx: &mut Conn, call: &CallId) -> Result<Option<PlannedCallId>> {
    let id = call_back_id(call)?;
    let cancel = query(CANCEL).bind(FAR_US).bind(id.as_str());
    let cancelled = cancel.execute(tx).await.doing("take back a call-back")?;
    Ok((cancelled.rows_affected() == 1).then_some(id))
}

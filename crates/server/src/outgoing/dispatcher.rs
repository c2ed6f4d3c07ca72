//! What to do next about outgoing calls. It reads and writes the store, is told the time, and asks others to talk to
//! Twilio, so that months of calls can be tried out in seconds.
//!
//! Everything that must survive, or that other servers of the same account have to know, is in the store; what is kept here
//! (how long to leave Twilio alone) can be forgotten at any moment.

use super::hearing;
use super::line::{Answer, CallView, Question};
use crate::twilio_rest::{TwilioError, spread};
use clinic::schedule::{AttemptState, MissedCall, Pace};
use clinic::{AttemptId, PatientId};
use std::time::Duration;
use store::{AttemptRecord, OutgoingState, Store, StoreError};

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;

/// When to look for the call of a claim that nobody heard of again: longer than a request may take.
const FIND_AFTER_US: i64 = 30 * SECOND_US;
/// Between two looks.
const FIND_EVERY_US: i64 = MINUTE_US;
/// How long a call may take to show up in Twilio's list before nobody can say whether it was placed.
const FIND_WITHIN_US: i64 = 10 * MINUTE_US;
/// How long Twilio may be out of reach before the same is said.
const FIND_PATIENCE_US: i64 = 60 * MINUTE_US;
/// Twilio's clock and ours may differ by so much.
const CLOCKS_DIFFER_US: i64 = MINUTE_US;
/// When to ask about a call that was placed, in case that a callback gets lost.
pub(super) const FIRST_READ_US: i64 = 3 * MINUTE_US;
/// Between two such questions.
const READ_EVERY_US: i64 = 2 * MINUTE_US;
/// No call lasts that long: Twilio was told a shorter limit.
const READ_WITHIN_US: i64 = 180 * MINUTE_US;
/// Calls planned, questions asked and missed calls reported in one turn. More wait for the next one.
const PLAN_AT_ONCE: u32 = 200;
const CHECK_AT_ONCE: u32 = 16;
const REPORT_AT_ONCE: u32 = 50;
/// How long Twilio is left alone after it could not be reached; doubled each time, up to [`BACK_OFF_MAX_US`].
const BACK_OFF_US: i64 = 5 * SECOND_US;
const BACK_OFF_MAX_US: i64 = 5 * MINUTE_US;
/// When to look again for a free line.
const NO_ROOM_US: i64 = 5 * SECOND_US;
/// When to try again to report what could not be reported.
const REPORT_AGAIN_US: i64 = 5 * SECOND_US;
/// One server at a time reports missed calls; it has so long to note that it did.
const REPORT_LEASE: &str = "missed calls";
const REPORT_LEASE_US: i64 = 30 * SECOND_US;

/// Something to do.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask Twilio; the answer goes to [`Dispatcher::take`].
    Ask(Question),
    /// Tell the staff, then say so to [`Dispatcher::reported`].
    Report(MissedCall),
}

/// What one turn came to.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) actions: Vec<Action>,
    /// When the next turn is due, microseconds since the Unix epoch. An earlier one does no harm.
    pub(super) wake_at_us: i64,
    pub(super) in_flight: usize,
}

/// Decides what to do about outgoing calls.
#[derive(Debug)]
pub(super) struct Dispatcher {
    store: Store,
    pace: Pace,
    /// Nothing is placed before.
    not_before_us: i64,
    back_off_us: i64,
}

impl Dispatcher {
    /// Goes on where an earlier process stopped.
    pub(super) fn new(store: Store, pace: Pace) -> Self {
        Self { store, pace, not_before_us: i64::MIN, back_off_us: BACK_OFF_US }
    }

    /// Everything that is to be done at `now_us`. `lines` are free for calls of ours.
    pub(super) async fn turn(&mut self, now_us: i64, lines: usize) -> Result<Turn, StoreError> {
        let mut state = self.store.outgoing_state(now_us).await?;
        let is_due = |time: Option<i64>| time.is_some_and(|time| time <= now_us);
        if is_due(state.next_plan_us) {
            let planned = self.store.plan_calls(now_us, PLAN_AT_ONCE).await?;
            for id in planned.damaged {
                tracing::error!(schedule_id = %id, "a schedule cannot be read: nobody is called by it");
            }
            state = self.store.outgoing_state(now_us).await?;
        }
        let mut actions = Vec::new();
        let blocked_until = self.blocked_until(now_us, &state, lines);
        if is_due(state.next_call_us) {
            if let Some(question) = self.claim(now_us, blocked_until.is_none()).await? {
                actions.push(Action::Ask(question));
            }
            state = self.store.outgoing_state(now_us).await?;
        }
        if is_due(state.next_check_us) {
            for attempt in self.store.attempts_to_check(now_us, CHECK_AT_ONCE).await? {
                actions.extend(self.check(now_us, attempt).await?.map(Action::Ask));
            }
            state = self.store.outgoing_state(now_us).await?;
        }
        if state.unreported > 0 && self.store.take_lease(REPORT_LEASE, now_us, REPORT_LEASE_US).await? {
            let missed = self.store.unreported_missed_calls(REPORT_AT_ONCE).await?;
            actions.extend(missed.into_iter().map(Action::Report));
        }
        let wake_at_us = self.wake_at(now_us, &state, lines);
        Ok(Turn { actions, wake_at_us, in_flight: state.in_flight })
    }

    /// Until when nothing may be placed, where something stands in the way.
    fn blocked_until(&self, now_us: i64, state: &OutgoingState, lines: usize) -> Option<i64> {
        let no_room = lines == 0 || !self.pace.has_room(state.in_flight);
        let waits = [
            no_room.then_some(now_us.saturating_add(NO_ROOM_US)),
            self.pace.wait_until(state.last_claim_us, now_us),
            (now_us < self.not_before_us).then_some(self.not_before_us),
        ];
        waits.into_iter().flatten().max()
    }

    fn wake_at(&self, now_us: i64, state: &OutgoingState, lines: usize) -> i64 {
        let next_call_us = match state.next_call_us {
            Some(time) if time <= now_us => self.blocked_until(now_us, state, lines).or(Some(now_us)),
            later => later,
        };
        let report_us = (state.unreported > 0).then_some(now_us.saturating_add(REPORT_AGAIN_US));
        [next_call_us, state.next_plan_us, state.next_check_us, report_us]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(i64::MAX)
    }

    async fn claim(&self, now_us: i64, may_place: bool) -> Result<Option<Question>, StoreError> {
        let check_at_us = now_us.saturating_add(FIND_AFTER_US);
        let pace = may_place.then_some(&self.pace);
        let Some(claim) = self.store.claim_attempt(now_us, check_at_us, pace).await? else { return Ok(None) };
        match self.number_of(&claim.patient_id).await {
            Ok(to) => {
                tracing::info!(attempt_id = %claim.id, patient_id = %claim.patient_id, number = claim.number, "calling");
                Ok(Some(Question::Place { attempt: claim.id, to }))
            }
            Err(error) => {
                tracing::error!(attempt_id = %claim.id, code = error.code(), "there is no number to call");
                hearing::settle(&self.store, &claim.id, AttemptState::Failed, now_us).await?;
                Ok(None)
            }
        }
    }

    async fn number_of(&self, patient: &PatientId) -> Result<clinic::PhoneNumber, StoreError> {
        Ok(self.store.get_patient(patient).await?.details.phone)
    }

    /// What to ask about an attempt of which nothing was heard for too long.
    async fn check(&self, now_us: i64, attempt: AttemptRecord) -> Result<Option<Question>, StoreError> {
        let age_us = now_us.saturating_sub(attempt.claimed_at_us);
        let (question, every_us, patience_us) = match attempt.call_sid {
            Some(call_sid) => {
                (Some(Question::Read { attempt: attempt.id.clone(), call_sid }), READ_EVERY_US, READ_WITHIN_US)
            }
            None => {
                let to = self.number_of(&attempt.patient_id).await.ok();
                let find = to.map(|to| Question::Find { attempt: attempt.id.clone(), to });
                (find, FIND_EVERY_US, FIND_PATIENCE_US)
            }
        };
        if question.is_none() || age_us > patience_us {
            self.give_up(&attempt.id, now_us).await?;
            return Ok(None);
        }
        // Set before the answer comes, so that nobody asks twice meanwhile.
        let is_ours = self.store.check_attempt_at(&attempt.id, now_us, now_us.saturating_add(every_us)).await?;
        Ok(question.filter(|_| is_ours))
    }

    /// Nobody can say what became of an attempt: it counts as if it had been placed.
    async fn give_up(&self, id: &AttemptId, now_us: i64) -> Result<(), StoreError> {
        tracing::warn!(attempt_id = %id, "nobody can say what became of an attempt");
        hearing::settle(&self.store, id, AttemptState::Unknown, now_us).await.map(drop)
    }

    /// Takes in what Twilio answered.
    pub(super) async fn take(&mut self, now_us: i64, answer: Answer) -> Result<(), StoreError> {
        match answer {
            Answer::Placed(id, result) => self.placed(now_us, &id, result).await,
            Answer::Found(id, result) => self.found(now_us, &id, result).await,
            Answer::Read(id, Ok(call)) => self.note(now_us, &id, &call).await,
            Answer::Read(id, Err(error)) => {
                tracing::debug!(attempt_id = %id, %error, "a call could not be asked about; it is asked again");
                Ok(())
            }
        }
    }

    async fn placed(
        &mut self,
        now_us: i64,
        id: &AttemptId,
        result: Result<CallView, TwilioError>,
    ) -> Result<(), StoreError> {
        match result {
            Ok(call) => {
                self.back_off_us = BACK_OFF_US;
                self.bind(now_us, id, &call).await
            }
            Err(error) if is_nobodys_call(&error) => {
                tracing::warn!(attempt_id = %id, %error, wait_ms = self.back_off_us / 1_000, "no calls can be placed");
                let back_off = Duration::from_micros(self.back_off_us.unsigned_abs());
                let spread_us = i64::try_from(spread(back_off, id.as_str(), 0).as_micros()).unwrap_or(self.back_off_us);
                self.not_before_us = now_us.saturating_add(spread_us);
                self.back_off_us = (self.back_off_us * 2).min(BACK_OFF_MAX_US);
                self.store.release_attempt(id, self.not_before_us).await.map(drop)
            }
            Err(error @ TwilioError::Refused { .. }) => {
                tracing::warn!(attempt_id = %id, %error, "a call was refused");
                hearing::settle(&self.store, id, AttemptState::Failed, now_us).await.map(drop)
            }
            // It may have been placed. Its callbacks will say so, or the list of calls.
            Err(error) => {
                tracing::warn!(attempt_id = %id, %error, "it is not known whether a call was placed");
                Ok(())
            }
        }
    }

    /// Looks for the call of a claim among the calls to its number.
    async fn found(
        &mut self,
        now_us: i64,
        id: &AttemptId,
        result: Result<Vec<CallView>, TwilioError>,
    ) -> Result<(), StoreError> {
        let calls = match result {
            Ok(calls) => calls,
            Err(error) => {
                tracing::debug!(attempt_id = %id, %error, "the list of calls could not be read; it is read again");
                return Ok(());
            }
        };
        let attempt = self.store.get_attempt(id).await?;
        if attempt.state != AttemptState::Claimed {
            return Ok(());
        }
        let since_us = attempt.claimed_at_us - CLOCKS_DIFFER_US;
        for call in calls.iter().filter(|call| call.is_outgoing && call.created_us.is_none_or(|at| at >= since_us)) {
            // Another attempt's call, an earlier one of the same patient for example.
            if self.store.find_attempt_by_sid(&call.sid).await?.is_none() {
                tracing::info!(attempt_id = %id, "the call of an attempt was found");
                return self.bind(now_us, id, call).await;
            }
        }
        if now_us.saturating_sub(attempt.claimed_at_us) > FIND_WITHIN_US {
            return self.give_up(id, now_us).await;
        }
        Ok(())
    }

    /// Notes which call an attempt became.
    async fn bind(&self, now_us: i64, id: &AttemptId, call: &CallView) -> Result<(), StoreError> {
        match self.store.attempt_placed(id, &call.sid, now_us.saturating_add(FIRST_READ_US)).await {
            Ok(_) => {}
            Err(error @ (StoreError::Conflict { .. } | StoreError::Sealed { .. })) => {
                tracing::error!(attempt_id = %id, code = error.code(), "the call of an attempt was not noted");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.note(now_us, id, call).await
    }

    async fn note(&self, now_us: i64, id: &AttemptId, call: &CallView) -> Result<(), StoreError> {
        let said = (&call.status, call.answered_by.as_ref());
        hearing::note_status(&self.store, id, &call.sid, said, now_us).await.map(drop)
    }

    /// The staff know of a missed call.
    pub(super) async fn reported(&mut self, now_us: i64, missed: &MissedCall) -> Result<(), StoreError> {
        self.store.missed_call_reported(&missed.planned_call_id, now_us).await
    }
}

/// True when no call came of the request, and none would come of another patient's: Twilio cannot be reached, does not
/// know us, or takes no more requests. The attempt is not used up.
fn is_nobodys_call(error: &TwilioError) -> bool {
    match error {
        TwilioError::NotConfigured | TwilioError::Unreachable | TwilioError::Busy => true,
        TwilioError::Refused { status, .. } => matches!(status, 401 | 403 | 404),
        TwilioError::Unknown => false,
    }
}

//! Call-backs: of which call they are, and that nobody is called back who was reached meanwhile.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::alerts::rules;
use clinic::schedule::{AttemptState, Pace, call_back};
use clinic::{CallId, CallOutcome, PatientId};
use common::{STARTED, call, finish, open, patient, segment};
use serde_json::json;
use store::audit::{Actor, NewEntry};
use store::{CallBack, FinishCall, NewCall, PlannedCall, PlannedState, Store};

const MINUTE: i64 = 60_000_000;

/// A call of a patient that began so many minutes after the first one, and how it ended.
async fn a_call(store: &Store, patient: &PatientId, sid: &str, minute: i64, outcome: CallOutcome) -> CallId {
    let new = NewCall { started_at_us: STARTED + minute * MINUTE, ..call(sid, Some(patient.clone())) };
    let id = store.begin_call(new).await.unwrap().id;
    let end = FinishCall { outcome, end_cause: None, ended_at_us: STARTED + (minute + 1) * MINUTE, ..finish() };
    store.finish_call(&id, end).await.unwrap();
    id
}

/// Plans to make up for a call, in a zone where calls may be made at that time.
async fn plan(store: &Store, call: &CallId, patient: &PatientId) -> PlannedCall {
    let hour = jiff::Timestamp::from_microsecond(STARTED).unwrap().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let zone = format!("Etc/GMT{:+}", i32::from(hour) - 11);
    let day = call_back(&zone, STARTED + 5 * MINUTE, 120).unwrap();
    let done = store.plan_call_back(call, patient, day, 2, "failed", STARTED + 2 * MINUTE).await.unwrap();
    assert_eq!(done, CallBack::Planned);
    store.call_back_of(call).await.unwrap().unwrap()
}

async fn claim(store: &Store, minute: i64) -> Option<store::Claim> {
    let now = STARTED + minute * MINUTE;
    store.claim_attempt(now, now + MINUTE, Some(&Pace::new(20, 1_000))).await.unwrap()
}

async fn save_visit(store: &Store, dir: &std::path::Path, call: &CallId, complete: bool) {
    let known = common::world::settle(dir, store, 99).await;
    let mut visit = store.visit(&known.call).await.unwrap().unwrap();
    visit.record.complete = complete;
    store.save_visit(&store.call_handle(call).await.unwrap(), &visit).await.unwrap();
}

#[tokio::test]
async fn an_attempt_at_a_call_back_makes_up_for_the_call_that_broke_off_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let first = a_call(&store, &ada, "CA1", 0, CallOutcome::Failed).await;
    assert_eq!(store.original_call(&first).await.unwrap(), first);
    assert_eq!(
        store.calls_without_call_back(STARTED - 1, STARTED + MINUTE, 10).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let planned = plan(&store, &first, &ada).await;
    let claimed = claim(&store, 6).await.unwrap();
    assert_eq!(claimed.planned_call_id, planned.id);
    store.attempt_placed(&claimed.id, "CA2", STARTED + 7 * MINUTE).await.unwrap();
    let second = a_call(&store, &ada, "CA2", 6, CallOutcome::Failed).await;
    store.settle_attempt(&claimed.id, AttemptState::Failed, STARTED + 8 * MINUTE, 0).await.unwrap();
    assert_eq!(store.original_call(&second).await.unwrap(), first);
    assert_eq!(store.planned_call_of(&second).await.unwrap().unwrap().id, planned.id);
    assert!(store.calls_without_call_back(STARTED - 1, STARTED + 60 * MINUTE, 10).await.unwrap().is_empty());
    assert_eq!(store.call_back_tried_since(&ada, STARTED).await.unwrap(), Some(PlannedState::Open));
    assert_eq!(store.call_back_tried_since(&ada, STARTED + 7 * MINUTE).await.unwrap(), None);
    let of_wish = CallId::parse("w1-ada").unwrap();
    assert_eq!(store.original_call(&of_wish).await.unwrap(), of_wish);
}

#[tokio::test]
async fn who_was_reached_after_the_call_that_broke_off_is_not_called_back() {
    for (complete, reached) in [(true, true), (false, false)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let ada = store.add_patient(&patient(1)).await.unwrap().id;
        let first = a_call(&store, &ada, "CA1", 0, CallOutcome::Failed).await;
        let planned = plan(&store, &first, &ada).await;
        // They telephoned by themselves.
        let again = a_call(&store, &ada, "CA2", 1, CallOutcome::Completed).await;
        save_visit(&store, dir.path(), &again, complete).await;
        assert_eq!(store.was_reached_since(&ada, STARTED).await.unwrap(), reached);
        assert!(!store.was_reached_since(&ada, STARTED + MINUTE).await.unwrap(), "what came before does not count");
        assert_eq!(claim(&store, 6).await.is_none(), reached, "whole check-in: {complete}");
        let state = store.get_planned_call(&planned.id).await.unwrap().state;
        assert_eq!(state, if reached { PlannedState::Cancelled } else { PlannedState::Open });
    }
}

#[tokio::test]
async fn a_call_that_was_taken_for_lost_and_came_to_its_end_is_not_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let id = store.begin_call(call("CA1", Some(ada.clone()))).await.unwrap().id;
    store.interrupt_calls(vec![id.clone()], STARTED + MINUTE).await.unwrap();
    let planned = plan(&store, &id, &ada).await;
    let end = FinishCall { ended_at_us: STARTED + 3 * MINUTE, ..finish() };
    store.finish_call_late(&id, end).await.unwrap();
    assert_eq!(store.get_planned_call(&planned.id).await.unwrap().state, PlannedState::Cancelled);
    assert_eq!(claim(&store, 6).await, None);
}

#[tokio::test]
async fn a_call_back_that_failed_stays_open_when_its_call_broke_off_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let id = store.begin_call(call("CA1", Some(ada.clone()))).await.unwrap().id;
    let planned = plan(&store, &id, &ada).await;
    let end = FinishCall { outcome: CallOutcome::Failed, ..finish() };
    store.finish_call(&id, end).await.unwrap();
    assert_eq!(claim(&store, 6).await.unwrap().planned_call_id, planned.id);
}

#[tokio::test]
async fn the_real_segment_takes_the_place_of_one_that_was_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let call = store.begin_call(call("CA1", None)).await.unwrap();
    let (part, whole) = (segment(0, json!({"f0": 1})), segment(0, json!({"f0": 2})));
    store.add_rebuilt_segment(&call, &part).await.unwrap();
    assert_eq!(store.call_segments(&call.id).await.unwrap(), std::slice::from_ref(&part));
    store.add_segment(&call, &whole).await.unwrap();
    store.add_segment(&call, &whole).await.unwrap();
    store.add_rebuilt_segment(&call, &part).await.unwrap();
    assert_eq!(store.call_segments(&call.id).await.unwrap(), [whole]);
    assert_eq!(store.add_segment(&call, &part).await.unwrap_err().code(), "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_may_do_what_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let other = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let entry =
        |object: &str| NewEntry::new(Actor::system(), "patient.text").object("call", object).patient(Some(&ada));
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let (store, entry) = (if n % 2 == 0 { store.clone() } else { other.clone() }, entry("c1"));
            tokio::spawn(async move { store.record_once(&entry).await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for task in tasks {
        first += usize::from(task.await.unwrap());
    }
    assert_eq!(first, 1);
    assert!(store.record_once(&entry("c2")).await.unwrap(), "about another call");
    assert!(store.record_once(&NewEntry::new(Actor::system(), "patient.text")).await.is_err());
}

#[tokio::test]
async fn what_people_were_told_of_a_call_is_known_also_when_it_is_done_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let one = a_call(&store, &ada, "CA1", 0, CallOutcome::Failed).await;
    let two = a_call(&store, &ada, "CA2", 5, CallOutcome::Failed).await;
    let alert = rules::call_back_needed(&ada, Some(&one));
    assert!(!store.was_alert_raised(&alert).await.unwrap());
    let raised = store.raise_alert(&alert, STARTED).await.unwrap();
    store.resolve_alert(&raised.id, "nurse", None, STARTED).await.unwrap();
    assert!(store.was_alert_raised(&alert).await.unwrap());
    assert!(!store.was_alert_raised(&rules::call_back_needed(&ada, Some(&two))).await.unwrap());
    assert!(!store.was_alert_raised(&rules::missed_call(&ada, Some(&one), 1)).await.unwrap());
}

//! Schedules, planned calls and attempts: noted before they are placed, counted once, and readable to nobody else.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::schedule::{AttemptState, MissedReason, Pace, Timetable, on_demand};
use clinic::{Patient, PatientId, ScheduleId};
use common::{call, open, patient};
use jiff::civil::{Date, date};
use store::{PlannedState, Store, StoreError};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: Date = date(2026, 6, 1);
const SID: &str = "CA0123456789abcdef0123456789abcdef";

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

/// A store with one patient, who is called daily from 09:00 to 17:00 in New York (13:00 to 21:00 UTC).
async fn with_schedule(dir: &std::path::Path) -> (Store, Patient, ScheduleId) {
    let store = open(dir).await;
    let ada = store.add_patient(&patient(1)).await.unwrap();
    let table = Timetable::daily("America/New_York", DAY);
    let schedule = store.add_schedule(&ada.id, &table, at("2026-06-01T00:00:00Z")).await.unwrap();
    (store, ada, schedule.id)
}

/// Claims what is due at the end of the second hour after the opening; by then the first attempt is.
async fn claim(store: &Store, now: i64) -> Option<store::Claim> {
    store.plan_calls(now, 10).await.unwrap();
    store.claim_attempt(now, now + MINUTE, Some(&Pace::new(20, 1_000))).await.unwrap()
}

async fn settle(store: &Store, claim: &store::Claim, state: AttemptState, now: i64) -> bool {
    store.settle_attempt(&claim.id, state, now, now).await.unwrap()
}

#[tokio::test]
async fn a_schedule_comes_back_as_it_went_in_and_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, id) = with_schedule(dir.path()).await;
    store.close().await;
    let store = open(dir.path()).await;
    let schedule = store.get_schedule(&id).await.unwrap();
    assert_eq!(schedule.timetable, Timetable::daily("America/New_York", DAY));
    assert_eq!(store.list_schedules(Some(&ada.id)).await.unwrap(), [schedule]);
    let nobody = PatientId::parse("nobody").unwrap();
    assert!(store.list_schedules(Some(&nobody)).await.unwrap().is_empty());
    let now = at("2026-06-01T20:00:00Z");
    let claimed = claim(&store, now).await.unwrap();
    store.attempt_placed(&claimed.id, SID, now).await.unwrap();
    store.close().await;
    common::dump(dir.path()).await;
    for file in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in ["America/New_York", SID] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is readable");
        }
    }
}

#[tokio::test]
async fn timetables_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, _) = with_schedule(dir.path()).await;
    let table = Timetable::daily("America/New_York", DAY);
    let bad = Timetable { max_attempts: 0, ..table.clone() };
    let error = store.add_schedule(&ada.id, &bad, 0).await.unwrap_err();
    assert_eq!(error.to_string(), "max_attempts: expected 1 to 10");
    let nobody = PatientId::parse("nobody").unwrap();
    assert_eq!(store.add_schedule(&nobody, &table, 0).await.unwrap_err().code(), "not_found");
    for _ in 1..store::MAX_SCHEDULES_OF_PATIENT {
        store.add_schedule(&ada.id, &table, 0).await.unwrap();
    }
    assert_eq!(store.add_schedule(&ada.id, &table, 0).await.unwrap_err().code(), "invalid");
}

#[tokio::test]
async fn an_attempt_is_claimed_once_also_by_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, _) = with_schedule(dir.path()).await;
    let other = open(dir.path()).await;
    let now = at("2026-06-01T17:30:00Z");
    store.plan_calls(now, 10).await.unwrap();
    other.plan_calls(now, 10).await.unwrap();
    let (mut claims, pace) = (Vec::new(), Pace::new(20, 1_000));
    for round in 0..10 {
        let (one, two) = tokio::join!(
            store.claim_attempt(now + round, now, Some(&pace)),
            other.claim_attempt(now + round, now, Some(&pace))
        );
        claims.extend(one.unwrap());
        claims.extend(two.unwrap());
    }
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].number, &claims[0].patient_id), (1, &ada.id));
    assert_eq!(store.list_planned_calls(&ada.id, 10).await.unwrap().len(), 1, "the day was planned twice");
}

#[tokio::test]
async fn attempts_go_on_until_the_patient_is_reached_or_none_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, _) = with_schedule(dir.path()).await;
    let mut now = at("2026-06-01T17:30:00Z");
    for (number, state) in [(1, AttemptState::Busy), (2, AttemptState::Failed), (3, AttemptState::NoAnswer)] {
        let claimed = claim(&store, now).await.unwrap();
        assert_eq!(claimed.number, number);
        assert!(settle(&store, &claimed, state, now).await);
        assert!(!settle(&store, &claimed, AttemptState::NoAnswer, now).await, "what is known does not change");
        assert_eq!(claim(&store, now + 14 * MINUTE).await, None, "too soon");
        now += 15 * MINUTE;
    }
    let planned = store.list_planned_calls(&ada.id, 10).await.unwrap().remove(0);
    assert_eq!((planned.state, planned.reason), (PlannedState::Missed, Some(MissedReason::NoAnswer)));
    let missed = store.unreported_missed_calls(10).await.unwrap();
    assert_eq!((missed.len(), missed[0].attempts, missed[0].planned_for), (1, 3, DAY));
    store.missed_call_reported(&missed[0].planned_call_id, now).await.unwrap();
    assert!(store.unreported_missed_calls(10).await.unwrap().is_empty());
    // The next day begins anew, and ends with an answer.
    let claimed = claim(&store, at("2026-06-02T17:30:00Z")).await.unwrap();
    assert_eq!(claimed.number, 1);
    settle(&store, &claimed, AttemptState::Answered, now + 24 * HOUR).await;
    let planned = store.list_planned_calls(&ada.id, 10).await.unwrap();
    assert_eq!((planned.len(), planned[0].state), (2, PlannedState::Done));
}

#[tokio::test]
async fn a_call_belongs_to_one_attempt_and_is_found_by_its_sid() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = with_schedule(dir.path()).await;
    let now = at("2026-06-01T17:30:00Z");
    let first = claim(&store, now).await.unwrap();
    assert!(store.attempt_placed(&first.id, SID, now + MINUTE).await.unwrap());
    assert!(!store.attempt_placed(&first.id, SID, now + MINUTE).await.unwrap(), "known already");
    assert_eq!(store.find_attempt_by_sid(SID).await.unwrap(), Some(first.id.clone()));
    assert_eq!(store.get_attempt(&first.id).await.unwrap().call_sid.as_deref(), Some(SID));
    let other = format!("{}0", &SID[..33]);
    assert_eq!(store.attempt_placed(&first.id, &other, now).await.unwrap_err().code(), "conflict");
    assert!(!store.release_attempt(&first.id, now).await.unwrap(), "a call came of it");
    settle(&store, &first, AttemptState::Busy, now).await;
    let second = claim(&store, now + 15 * MINUTE).await.unwrap();
    assert_eq!(store.attempt_placed(&second.id, SID, now).await.unwrap_err().code(), "conflict");
    assert!(store.release_attempt(&second.id, now + 20 * MINUTE).await.unwrap());
    let again = claim(&store, now + 20 * MINUTE).await.unwrap();
    assert_eq!(again.number, 2, "a released attempt is not used up");
}

#[tokio::test]
async fn a_line_that_is_in_use_is_not_called() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = with_schedule(dir.path()).await;
    // A partner with the same telephone.
    let shared = clinic::NewPatient { phone: patient(1).phone, ..patient(2) };
    let ben = store.add_patient(&shared).await.unwrap();
    let now = at("2026-06-01T17:30:00Z");
    let table = Timetable::daily("America/New_York", DAY);
    store.add_schedule(&ben.id, &table, now).await.unwrap();
    let first = claim(&store, now).await.unwrap();
    assert_eq!(claim(&store, now + 1).await, None);
    store.settle_attempt(&first.id, AttemptState::Answered, now, now + 2 * MINUTE).await.unwrap();
    assert_eq!(claim(&store, now + MINUTE + 1).await, None, "the last words are being said");
    let second = claim(&store, now + 3 * MINUTE).await.unwrap();
    assert_ne!(second.patient_id, first.patient_id);
    settle(&store, &second, AttemptState::Busy, now + 3 * MINUTE).await;
    // The patient is calling us.
    store.begin_call(call("CA1", Some(second.patient_id.clone()))).await.unwrap();
    assert_eq!(claim(&store, now + 30 * MINUTE).await, None);
}

#[tokio::test]
async fn days_without_a_server_are_missed_and_days_of_a_pause_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, id) = with_schedule(dir.path()).await;
    let plan_all = async |now| while store.plan_calls(now, 10).await.unwrap().schedules > 0 {};
    // Nobody looked for three days.
    let now = at("2026-06-04T00:00:00Z");
    plan_all(now).await;
    assert_eq!(store.claim_attempt(now, now, None).await.unwrap(), None);
    let missed = store.unreported_missed_calls(10).await.unwrap();
    let days: Vec<String> = missed.iter().map(|missed| missed.planned_for.to_string()).collect();
    assert_eq!(days, ["2026-06-01", "2026-06-02", "2026-06-03"]);
    assert!(missed.iter().all(|missed| missed.reason == MissedReason::NotPlaced && missed.attempts == 0));
    // Paused from the middle of the fourth to the middle of the seventh.
    plan_all(at("2026-06-04T17:30:00Z")).await;
    store.pause_schedule(&id, at("2026-06-04T17:30:00Z")).await.unwrap();
    assert_eq!(claim(&store, at("2026-06-04T17:31:00Z")).await, None);
    assert_eq!(claim(&store, at("2026-06-05T17:30:00Z")).await, None);
    store.resume_schedule(&id, at("2026-06-07T17:30:00Z")).await.unwrap();
    assert_eq!(claim(&store, at("2026-06-07T17:30:00Z")).await.unwrap().number, 1);
    let calls = store.list_planned_calls(&ada.id, 2).await.unwrap();
    assert_eq!((calls[0].planned_for, calls[1].planned_for), (date(2026, 6, 7), date(2026, 6, 4)));
    assert_eq!(calls[1].state, PlannedState::Cancelled);
    assert_eq!(store.unreported_missed_calls(10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_removed_schedule_calls_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, id) = with_schedule(dir.path()).await;
    let now = at("2026-06-01T17:30:00Z");
    store.plan_calls(now, 10).await.unwrap();
    store.remove_schedule(&id, now).await.unwrap();
    assert_eq!(claim(&store, now).await, None);
    assert_eq!(store.list_planned_calls(&ada.id, 10).await.unwrap()[0].state, PlannedState::Cancelled);
    assert!(matches!(store.get_schedule(&id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.remove_schedule(&id, now).await.unwrap_err().code(), "not_found");
    assert_eq!(store.outgoing_state(now).await.unwrap().next_plan_us, None);
}

#[tokio::test]
async fn a_call_by_hand_has_one_attempt_and_is_no_missed_call() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, _) = with_schedule(dir.path()).await;
    let now = at("2026-05-30T15:00:00Z");
    let day = on_demand("America/New_York", now, 5).unwrap();
    let id = store.plan_call_now(&ada.id, day, now).await.unwrap();
    assert_eq!(store.plan_call_now(&ada.id, day, now).await.unwrap_err().code(), "conflict");
    let claimed = claim(&store, now).await.unwrap();
    assert!(!store.cancel_planned_call(&id).await.unwrap(), "too late");
    settle(&store, &claimed, AttemptState::Busy, now).await;
    assert_eq!(store.get_planned_call(&id).await.unwrap().state, PlannedState::Missed);
    assert!(store.unreported_missed_calls(10).await.unwrap().is_empty());
    // Nobody took the next one in time.
    let id = store.plan_call_now(&ada.id, day, now).await.unwrap();
    assert_eq!(claim(&store, now + 5 * MINUTE).await, None);
    assert_eq!(store.get_planned_call(&id).await.unwrap().state, PlannedState::Missed);
    let id = store.plan_call_now(&ada.id, day, now).await.unwrap();
    assert!(store.cancel_planned_call(&id).await.unwrap());
    assert_eq!(claim(&store, now).await, None);
}

#[tokio::test]
async fn a_machine_that_passed_for_a_person_opens_the_day_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = with_schedule(dir.path()).await;
    let now = at("2026-06-01T17:00:00Z");
    let first = claim(&store, now).await.unwrap();
    settle(&store, &first, AttemptState::Answered, now).await;
    assert_eq!(store.get_planned_call(&first.planned_call_id).await.unwrap().state, PlannedState::Done);
    assert!(settle(&store, &first, AttemptState::Voicemail, now + MINUTE).await);
    assert_eq!(claim(&store, now + 60 * MINUTE).await, None, "a machine is given two hours");
    assert_eq!(claim(&store, now + 121 * MINUTE).await.unwrap().number, 2);
}

#[tokio::test]
async fn who_was_spoken_to_is_not_called_again_though_the_call_was_taken_for_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = with_schedule(dir.path()).await;
    let now = at("2026-06-01T17:00:00Z");
    let first = claim(&store, now).await.unwrap();
    assert!(settle(&store, &first, AttemptState::Failed, now).await);
    assert_eq!(store.get_planned_call(&first.planned_call_id).await.unwrap().state, PlannedState::Open);
    assert!(settle(&store, &first, AttemptState::Answered, now + MINUTE).await);
    assert!(!settle(&store, &first, AttemptState::Failed, now + MINUTE).await, "the conversation knows better");
    assert_eq!(store.get_planned_call(&first.planned_call_id).await.unwrap().state, PlannedState::Done);
    assert_eq!(claim(&store, now + 60 * MINUTE).await, None);
}

#[tokio::test]
async fn a_missed_call_of_which_the_staff_knows_is_done_when_the_patient_was_reached_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ada, _) = with_schedule(dir.path()).await;
    let now = at("2026-06-01T17:00:00Z");
    let day = on_demand("America/New_York", now, 60).unwrap();
    let by_hand = store.plan_call_now(&ada.id, day, now).await.unwrap();
    let mut attempt = claim(&store, now).await.unwrap();
    if attempt.planned_call_id != by_hand {
        settle(&store, &attempt, AttemptState::Answered, now).await;
        attempt = claim(&store, now + 2 * MINUTE).await.unwrap();
    }
    settle(&store, &attempt, AttemptState::Failed, now + 3 * MINUTE).await;
    assert_eq!(store.get_planned_call(&by_hand).await.unwrap().state, PlannedState::Missed);
    settle(&store, &attempt, AttemptState::Answered, now + 4 * MINUTE).await;
    assert_eq!(store.get_planned_call(&by_hand).await.unwrap().state, PlannedState::Done);
}

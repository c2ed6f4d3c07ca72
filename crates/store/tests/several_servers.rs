//! Two server processes on one database, each with connections of its own: whatever both try at once is done once.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::alerts::{AlertKind, Channel, Contact, NewAlert, Policy, Severity, next_actions};
use clinic::schedule::{AttemptState, Pace, Timetable, on_demand};
use clinic::{CallOutcome, PatientId};
use common::{STARTED, call, finish, open, patient};
use jiff::civil::date;
use std::collections::HashSet;
use std::future::Future;
use store::audit::{Actor, NewEntry};
use store::{Engine, Result, SERVER_LEASE_US, Store};

const TASKS: usize = 20;
const SECOND: i64 = 1_000_000;
/// Noon in New York.
const NOON: &str = "2026-06-01T16:00:00Z";

struct Pair {
    stores: [Store; 2],
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let one = open(dir.path()).await;
        Self { stores: [one, open(dir.path()).await], _dir: dir }
    }

    fn one(&self) -> &Store {
        &self.stores[0]
    }

    /// Twenty tasks at once, ten in each process.
    async fn all<T, F>(&self, work: impl Fn(usize, Store) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let start = std::sync::Arc::new(tokio::sync::Barrier::new(TASKS));
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let (start, work) = (start.clone(), work(number, self.stores[number % 2].clone()));
                tokio::spawn(async move {
                    start.wait().await;
                    work.await
                })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    }
}

fn codes<T>(results: &[Result<T>]) -> (usize, HashSet<&'static str>) {
    let done = results.iter().filter(|result| result.is_ok()).count();
    (done, results.iter().filter_map(|result| result.as_ref().err()).map(store::StoreError::code).collect())
}

fn noon() -> i64 {
    NOON.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_is_added_once() {
    let pair = Pair::open().await;
    let added = pair.all(|_, store| async move { store.add_patient(&patient(1)).await }).await;
    assert_eq!(codes(&added), (1, HashSet::from(["conflict"])));
    let imported = pair.all(|_, store| async move { store.import_patients(&[patient(1), patient(2)]).await }).await;
    let summaries: Vec<_> = imported.into_iter().map(|summary| summary.unwrap()).collect();
    assert_eq!(summaries.iter().map(|summary| summary.added).sum::<usize>(), 1);
    assert_eq!(summaries.iter().map(|summary| summary.unchanged).sum::<usize>(), 2 * TASKS - 1);
    assert_eq!(pair.one().list_patients().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_begins_and_ends_once() {
    let pair = Pair::open().await;
    let begun = pair.all(|_, store| async move { store.begin_call(call("CA1", None)).await }).await;
    assert_eq!(codes(&begun), (1, HashSet::from(["conflict"])));
    let handle = begun.into_iter().find_map(Result::ok).unwrap();
    let ended = pair
        .all(|_, store| {
            let id = handle.id.clone();
            async move { store.finish_call(&id, finish()).await }
        })
        .await;
    assert_eq!(codes(&ended), (1, HashSet::from(["conflict"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_matter_raised_everywhere_at_once_is_one_alert_told_once() {
    let pair = Pair::open().await;
    let ada = pair.one().add_patient(&patient(1)).await.unwrap().id;
    let call = pair.one().begin_call(call("CA1", Some(ada.clone()))).await.unwrap().id;
    let new = NewAlert {
        patient_id: Some(ada),
        call_id: Some(call),
        kind: AlertKind::RedFlag,
        code: "chest_pain".into(),
        severity: Severity::Critical,
        summary: "words".into(),
    };
    let raised = pair
        .all(|number, store| {
            let new = new.clone();
            async move { store.raise_alert(&new, STARTED + number as i64).await.unwrap() }
        })
        .await;
    assert_eq!(raised.iter().filter(|raised| raised.is_new).count(), 1);
    let ids: HashSet<_> = raised.iter().map(|raised| raised.id.clone()).collect();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    assert_eq!(pair.one().get_alert(&id).await.unwrap().occurrences, 1);
    let reports = pair
        .all(|_, store| async move {
            let contacts = [Contact { channels: vec![Channel::Sms] }];
            let policy = Policy::default();
            let now_us = STARTED + SECOND;
            let decide = |alert: &_, so_far: &[_]| next_actions(alert, so_far, &contacts, &policy, now_us);
            store.climb_alerts(now_us, 10, decide).await.unwrap().made
        })
        .await;
    assert_eq!(reports.into_iter().sum::<usize>(), 1);
    assert_eq!(pair.one().alert_deliveries(&id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_claimed_by_one_process() {
    let pair = Pair::open().await;
    const ALERTS: usize = 30;
    for number in 0..ALERTS {
        let new = NewAlert {
            patient_id: None,
            call_id: None,
            kind: AlertKind::Technical,
            code: format!("code-{number}"),
            severity: Severity::Urgent,
            summary: "words".into(),
        };
        pair.one().raise_alert(&new, STARTED).await.unwrap();
    }
    let (contacts, policy) = ([Contact { channels: vec![Channel::Sms] }], Policy::default());
    let decide = |alert: &_, so_far: &[_]| next_actions(alert, so_far, &contacts, &policy, STARTED);
    assert_eq!(pair.one().climb_alerts(STARTED, 100, decide).await.unwrap().made, ALERTS);
    let now_us = STARTED + SECOND;
    let claims = pair
        .all(|_, store| async move {
            let mut mine = Vec::new();
            loop {
                let claimed = store.claim_deliveries(Channel::Sms, now_us, 60 * SECOND, 3).await.unwrap();
                if claimed.is_empty() {
                    break mine;
                }
                mine.extend(claimed.into_iter().map(|delivery| delivery.id));
            }
        })
        .await;
    let claims: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(claims.len(), ALERTS, "every message once");
    assert_eq!(claims.into_iter().collect::<HashSet<_>>().len(), ALERTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_planned_once() {
    let pair = Pair::open().await;
    let ada = pair.one().add_patient(&patient(1)).await.unwrap().id;
    let table = Timetable::daily("America/New_York", date(2026, 6, 1));
    pair.one().add_schedule(&ada, &table, noon() - 12 * 3_600 * SECOND).await.unwrap();
    pair.all(|_, store| async move { store.plan_calls(noon(), 10).await.unwrap() }).await;
    assert_eq!(pair.one().list_planned_calls(&ada, 10).await.unwrap().len(), 1);
    let by_hand = pair
        .all(|_, store| {
            let ada = ada.clone();
            async move { store.plan_call_now(&ada, on_demand("America/New_York", noon(), 10).unwrap(), noon()).await }
        })
        .await;
    assert_eq!(codes(&by_hand), (1, HashSet::from(["conflict"])));
}

async fn due_patients(store: &Store, count: u32) -> Vec<PatientId> {
    let rows: Vec<_> = (0..count).map(patient).collect();
    store.import_patients(&rows).await.unwrap();
    let ids: Vec<_> = store.list_patients().await.unwrap().into_iter().map(|patient| patient.id).collect();
    for id in &ids {
        store.plan_call_now(id, on_demand("America/New_York", noon(), 60).unwrap(), noon()).await.unwrap();
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_processes_keep_one_pace_and_place_no_call_twice() {
    let pair = Pair::open().await;
    due_patients(pair.one(), 12).await;
    let pace = Pace::new(5, 2);
    let mut claimed = Vec::new();
    // Ten moments, a fifth of a second apart; everybody wants to place a call at each.
    for moment in 0..10 {
        let now_us = noon() + moment * SECOND / 5;
        let claims = pair
            .all(
                |_, store| async move { store.claim_attempt(now_us, now_us + 60 * SECOND, Some(&pace)).await.unwrap() },
            )
            .await;
        let claims: Vec<_> = claims.into_iter().flatten().collect();
        assert!(claims.len() <= 1, "{} calls at one moment", claims.len());
        claimed.extend(claims.into_iter().map(|claim| (now_us, claim)));
    }
    // Half a second between two, at moments of a fifth: 0, 0.6, 1.2 and 1.8 seconds.
    assert_eq!(claimed.len(), 4);
    assert!(claimed.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SECOND / 2));
    let mut now_us = noon() + 10 * SECOND;
    assert!(pair.one().claim_attempt(now_us, now_us, Some(&pace)).await.unwrap().is_some());
    now_us += 10 * SECOND;
    assert_eq!(pair.stores[1].claim_attempt(now_us, now_us, Some(&pace)).await.unwrap(), None, "five are under way");
    let patients: HashSet<_> = claimed.iter().map(|(_, claim)| claim.patient_id.clone()).collect();
    assert_eq!(patients.len(), claimed.len());
    // A line that became free is taken once.
    let (_, first) = &claimed[0];
    assert!(pair.one().settle_attempt(&first.id, AttemptState::Busy, now_us, now_us).await.unwrap());
    let next = pair
        .all(|_, store| async move { store.claim_attempt(now_us, now_us, Some(&pace)).await.unwrap().is_some() })
        .await;
    assert_eq!(next.into_iter().filter(|claimed| *claimed).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_asks_what_became_of_an_attempt() {
    let pair = Pair::open().await;
    due_patients(pair.one(), 1).await;
    let pace = Pace::new(5, 1);
    let claim = pair.one().claim_attempt(noon(), noon() + SECOND, Some(&pace)).await.unwrap().unwrap();
    let now_us = noon() + 30 * SECOND;
    let asks = pair
        .all(|_, store| {
            let id = claim.id.clone();
            async move { store.check_attempt_at(&id, now_us, now_us + 60 * SECOND).await.unwrap() }
        })
        .await;
    assert_eq!(asks.into_iter().filter(|asks| *asks).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accesses_of_both_make_one_trail() {
    let pair = Pair::open().await;
    let secrets = |purpose| pair.stores.each_ref().map(|store| store.shared_secret(purpose));
    let [one, other] = secrets("tickets");
    assert!(one == other && one != secrets("something else")[0]);
    pair.all(|number, store| async move {
        let access = store.begin_access().await.unwrap();
        let added = access.store().add_patient(&patient(number as u32)).await.unwrap();
        let entry = NewEntry::new(Actor::operator("tester"), "patient.add").patient(Some(&added.id));
        access.commit(&[entry]).await.unwrap();
    })
    .await;
    for store in &pair.stores {
        let verified = store.verify_audit(&[]).await.unwrap();
        assert_eq!((verified.broken, verified.entries), (None, TASKS as u64));
    }
    let signed = pair.all(|_, store| async move { store.checkpoint_audit().await.unwrap().is_some() }).await;
    assert_eq!(signed.into_iter().filter(|signed| *signed).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_lost_server_are_interrupted_once_and_those_of_a_living_one_never() {
    let pair = Pair::open().await;
    let [one, other] = &pair.stores;
    one.announce_server(STARTED).await.unwrap();
    other.announce_server(STARTED).await.unwrap();
    let running = one.begin_call(call("CA1", None)).await.unwrap().id;
    let own = other.begin_call(call("CA2", None)).await.unwrap().id;
    if one.engine() == Engine::Postgres {
        assert_eq!(other.recover(STARTED + SERVER_LEASE_US - SECOND).await.unwrap(), []);
    }
    // The first one falls silent; the second one beats on.
    let later = STARTED + SERVER_LEASE_US + SECOND;
    other.beat(later).await.unwrap();
    let (first, second) = tokio::join!(other.recover(later), other.recover(later));
    let mut interrupted = first.unwrap();
    interrupted.extend(second.unwrap());
    assert_eq!(interrupted, std::slice::from_ref(&running));
    assert_eq!(one.get_call(&running).await.unwrap().outcome, CallOutcome::Interrupted);
    assert_eq!(one.get_call(&own).await.unwrap().outcome, CallOutcome::InProgress);
    assert_eq!(other.finish_call(&running, finish()).await.unwrap_err().code(), "conflict", "it is not its own");
    // The first one lives after all, and has carried the call to its end.
    one.finish_call(&running, finish()).await.unwrap();
    let call = one.get_call(&running).await.unwrap();
    assert_eq!((call.outcome, call.end_cause), (CallOutcome::Completed, finish().end_cause));
    assert_eq!((call.ended_at_us, call.turns), (Some(finish().ended_at_us), finish().turns));
    assert_eq!(one.finish_call(&running, finish()).await.unwrap_err().code(), "conflict", "once");
}

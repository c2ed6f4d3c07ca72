//! Retention: nothing younger than its limit is deleted, nothing older stays, and who is under a legal hold loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::{AlertId, CallId, PatientId};
use common::raw::Raw;
use common::world::{alert, finished_call, settle, tester};
use common::{open, patient};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use store::{RetentionRules, RetentionRun, Store};

const DAY: i64 = 86_400_000_000;
const MINUTE: i64 = 60_000_000;

/// The real time: patients are added at it, so simulated years begin there.
fn beginning() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

async fn run(store: &Store, rules: &RetentionRules, now_us: i64, limit: u32) -> Vec<RetentionRun> {
    let mut runs = Vec::new();
    loop {
        runs.push(store.run_retention(rules, &tester(), now_us, limit).await.unwrap());
        if runs.last().unwrap().complete {
            return runs;
        }
        assert!(runs.len() < 1_000);
    }
}

#[tokio::test]
async fn rules_that_cannot_be_meant_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let all = RetentionRules::all(2_555);
    for rules in [
        RetentionRules::all(0),
        RetentionRules::all(40_000),
        RetentionRules { audio_days: 0, ..all },
        RetentionRules { audio_days: 2_556, ..all },
        RetentionRules { transcript_days: 3_000, ..all },
        RetentionRules { measures_days: 3_000, ..all },
        RetentionRules { alert_days: 0, ..all },
    ] {
        assert_eq!(store.plan_retention(&rules, beginning()).await.unwrap_err().code(), "invalid");
        assert_eq!(store.run_retention(&rules, &tester(), beginning(), 10).await.unwrap_err().code(), "invalid");
    }
    assert_eq!(RetentionRules { audio_days: 90, ..all }.text(), "PHI_RETENTION_DAYS=2555 RETENTION_AUDIO_DAYS=90");
}

#[tokio::test]
async fn a_plan_is_what_a_run_does_and_the_certificate_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let start = beginning();
    let ada = store.add_patient(&patient(1)).await.unwrap().id;
    let ben = store.add_patient(&patient(2)).await.unwrap().id;
    let old = finished_call(&store, Some(&ada), "CA1", start).await;
    let held = finished_call(&store, Some(&ben), "CA2", start).await;
    let nobody = finished_call(&store, None, "CA3", start).await;
    let recent = finished_call(&store, Some(&ada), "CA4", start + 90 * DAY).await;
    let raised = store.raise_alert(&alert(Some(&ada), Some(&old)), start).await.unwrap().id;
    store.resolve_alert(&raised, "nurse", None, start + DAY).await.unwrap();
    let open_alert = store.raise_alert(&alert(None, Some(&nobody)), start).await.unwrap().id;
    store.set_hold(&ben, "case-1", &tester(), start).await.unwrap();

    let audio = RetentionRules { audio_days: 30, alert_days: 20, ..RetentionRules::all(365) };
    let now = start + 40 * DAY;
    let plan = store.plan_retention(&audio, now).await.unwrap();
    let expected = BTreeMap::from([("recordings".to_owned(), 2), ("alerts".to_owned(), 1)]);
    let planned: BTreeMap<String, u64> = plan.counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!((planned, plan.held_calls), (expected.clone(), 0));
    let runs = run(&store, &audio, now, 100).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].counts, expected);
    let certificate = runs[0].certificate.clone().unwrap();
    assert!(certificate.is_signed_by(&store.audit_public_key().1));
    let said = certificate.destruction().unwrap();
    assert_eq!(said.rule, "PHI_RETENTION_DAYS=365 RETENTION_AUDIO_DAYS=30 RETENTION_ALERT_DAYS=20");
    // The patient's key is still there, and in an archive of before opens what was deleted: nothing was erased by keys.
    assert_eq!((said.counts, said.keys), (expected, Vec::new()));
    assert!(said.method.starts_with("deletion: ") && said.method.contains("archives"), "{}", said.method);
    for call in [&old, &nobody] {
        assert_eq!(store.open_recording(call).await.unwrap_err().code(), "not_found");
        assert!(!dir.path().join(format!("audio/{call}.hvr")).exists());
        assert_eq!(store.call_events(call).await.unwrap().len(), 2);
        assert_eq!(store.call_segments(call).await.unwrap().len(), 1);
    }
    for call in [&held, &recent] {
        assert_eq!(store.open_recording(call).await.unwrap().patient_track().unwrap().len(), 8_000);
    }
    // Nothing more to do: no certificate about nothing.
    assert_eq!(run(&store, &audio, now, 100).await, [RetentionRun { complete: true, ..RetentionRun::default() }]);

    // Two years on only who is held is left, and whom nobody has looked after.
    let later = start + 800 * DAY;
    let plan = store.plan_retention(&audio, later).await.unwrap();
    assert_eq!((plan.counts["calls"], plan.counts["patients"], plan.held_calls), (3, 1, 1));
    let runs = run(&store, &audio, later, 2).await;
    let total: u64 = runs.iter().filter_map(|run| run.counts.get("calls")).sum();
    assert!(runs.len() > 2 && total == 3, "{runs:?}");
    let certificates = runs.iter().filter_map(|run| run.certificate.as_ref());
    let said: Vec<_> = certificates.map(|certificate| certificate.destruction().unwrap()).collect();
    let mut keys: Vec<String> = said.iter().flat_map(|said| said.keys.clone()).collect();
    keys.sort();
    // Not those of the patient's calls, which stood in their rows.
    assert_eq!(keys, [format!("alert/{open_alert}"), format!("call/{nobody}"), format!("patient/{ada}")]);
    for said in &said {
        let calls_of_ada = said.counts.get("calls").copied().unwrap_or(0)
            - said.keys.iter().filter(|key| key.starts_with("call/")).count() as u64;
        let parts = ["recordings", "transcripts", "measures"].iter().any(|name| said.counts.contains_key(*name));
        let expected = match (said.keys.is_empty(), calls_of_ada > 0 || parts) {
            (true, _) => "deletion: ",
            (false, true) => "cryptographic erase of what the keys listed here sealed; deletion of the rest",
            (false, false) => "cryptographic erase: the keys were destroyed",
        };
        assert!(said.method.starts_with(expected), "{said:?}");
    }
    assert_eq!(store.get_patient(&ada).await.unwrap_err().code(), "not_found");
    assert_eq!(store.get_alert(&open_alert).await.unwrap_err().code(), "not_found");
    for call in [&old, &nobody, &recent] {
        assert_eq!(store.get_call(call).await.unwrap_err().code(), "not_found");
    }
    store.get_patient(&ben).await.unwrap();
    assert_eq!(store.call_events(&held).await.unwrap().len(), 2);
    store.open_recording(&held).await.unwrap();
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
}

#[tokio::test]
async fn what_is_past_its_limit_is_gone_from_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ada = settle(dir.path(), &store, 1).await;
    let mut raw = Raw::open(dir.path()).await;
    assert!(raw.tables_with(&ada.ids).await.len() > 12);
    // An active timetable says that the patient is still cared for.
    let far = beginning() + 4_000 * DAY;
    run(&store, &RetentionRules::all(2_555), far, 100).await;
    store.get_patient(&ada.id).await.unwrap();
    assert_eq!(store.get_call(&ada.call).await.unwrap_err().code(), "not_found");
    let schedules = store.list_schedules(Some(&ada.id)).await.unwrap();
    store.remove_schedule(&schedules[0].id, far).await.unwrap();
    run(&store, &RetentionRules::all(2_555), far, 100).await;
    let left = raw.tables_with(&ada.ids).await;
    assert_eq!(left, ["audit_entries".to_owned()].into());
    for table in ["events", "post_calls", "conversations", "call_attempts", "deliveries", "data_keys"] {
        assert_eq!(raw.count(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
}

/// Polls a future so many times and no more, as a process that ends in the middle does.
async fn interrupted<F: Future>(work: F, polls: usize) -> Option<F::Output> {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_run_that_ends_anywhere_is_taken_up_by_the_next_one() {
    let (mut cut, mut polls) = (0, 1);
    loop {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let start = beginning();
        let ada = store.add_patient(&patient(1)).await.unwrap().id;
        finished_call(&store, Some(&ada), "CA1", start).await;
        finished_call(&store, None, "CA2", start).await;
        store.raise_alert(&alert(Some(&ada), None), start).await.unwrap();
        let (rules, by, now) = (RetentionRules::all(10), tester(), start + 20 * DAY);
        let first = interrupted(store.run_retention(&rules, &by, now, 100), polls).await;
        assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
        run(&store, &rules, now, 100).await;
        // Every item is in exactly one certificate.
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for certificate in store.certificates(100, None).await.unwrap() {
            assert!(certificate.is_signed_by(&store.audit_public_key().1));
            for (name, count) in certificate.destruction().unwrap().counts {
                *counts.entry(name).or_default() += count;
            }
        }
        for (name, count) in [("recordings", 2), ("transcripts", 2), ("measures", 2), ("calls", 2), ("patients", 1)] {
            assert_eq!(counts.get(name), Some(&count), "after {polls} polls: {counts:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path().join("audio")).unwrap().count(), 0, "after {polls} polls");
        assert_eq!(store.list_patients().await.unwrap(), []);
        if first.is_some() {
            break;
        }
        cut += 1;
        // A database of its own each time, which takes PostgreSQL seconds.
        polls += if common::on_postgres() { 61 } else { 17 };
    }
    assert!(cut > 2, "{cut}");
}

/// What the model of the test knows of an item.
struct Item<T> {
    id: T,
    patient: Option<usize>,
    at_us: i64,
    /// A run had it past the limit: it may be gone; a complete one: it must be.
    may: bool,
    must: bool,
}

impl<T> Item<T> {
    fn past(&mut self, now_us: i64, days: u32, held: &[bool]) {
        let free = self.patient.is_none_or(|patient| !held[patient]);
        if free && self.at_us < now_us - i64::from(days) * DAY {
            (self.may, self.must) = (true, true);
        }
    }

    fn check(&self, what: &str, present: bool) {
        assert!(present || self.may, "{what} is gone before its time");
        assert!(!present || !self.must, "{what} outlived its time");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Call { patient: usize },
    CallOfNobody,
    Alert { patient: usize },
    Hold { patient: usize },
    Retention { phi: u32, parts: [u32; 4], limit: u32 },
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        4 => (0usize..3).prop_map(|patient| Step::Call { patient }),
        1 => Just(Step::CallOfNobody),
        2 => (0usize..3).prop_map(|patient| Step::Alert { patient }),
        1 => (0usize..3).prop_map(|patient| Step::Hold { patient }),
        3 => (30u32..2_000, prop::array::uniform4(1u32..2_000), 1u32..40)
            .prop_map(|(phi, parts, limit)| Step::Retention { phi, parts: parts.map(|days| days.min(phi)), limit }),
    ];
    prop::collection::vec((0i64..200, step), 10..30)
}

async fn simulate(steps: Vec<(i64, Step)>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut now = beginning();
    let created = now;
    let mut patients: Vec<PatientId> = Vec::new();
    for number in 0..3 {
        patients.push(store.add_patient(&patient(number)).await.unwrap().id);
    }
    let (mut held, mut gone) = ([false; 3], [false; 3]);
    let mut calls: Vec<[Item<CallId>; 4]> = Vec::new();
    let mut alerts: Vec<Item<AlertId>> = Vec::new();
    for (number, (days, step)) in steps.into_iter().enumerate() {
        now += days * DAY + MINUTE;
        match step {
            Step::Call { patient } if store.get_patient(&patients[patient]).await.is_ok() => {
                let id = finished_call(&store, Some(&patients[patient]), &format!("CA{number}"), now).await;
                calls.push(parts(&id, Some(patient), now + MINUTE));
            }
            Step::CallOfNobody => {
                let id = finished_call(&store, None, &format!("CA{number}"), now).await;
                calls.push(parts(&id, None, now + MINUTE));
            }
            Step::Alert { patient } if store.get_patient(&patients[patient]).await.is_ok() => {
                let id = store.raise_alert(&alert(Some(&patients[patient]), None), now).await.unwrap().id;
                store.resolve_alert(&id, "nurse", None, now).await.unwrap();
                alerts.push(Item { id, patient: Some(patient), at_us: now, may: false, must: false });
            }
            Step::Hold { patient } if store.get_patient(&patients[patient]).await.is_ok() => {
                held[patient] = !held[patient];
                if held[patient] {
                    store.set_hold(&patients[patient], "case", &tester(), now).await.unwrap();
                } else {
                    store.clear_hold(&patients[patient], &tester()).await.unwrap();
                }
            }
            Step::Retention { phi, parts: [audio, transcript, measures, alert], limit } => {
                let rules = RetentionRules {
                    phi_days: phi,
                    audio_days: audio,
                    transcript_days: transcript,
                    measures_days: measures,
                    alert_days: alert,
                };
                run(&store, &rules, now, limit).await;
                for call in &mut calls {
                    for (item, days) in call.iter_mut().zip([audio, transcript, measures, phi]) {
                        item.past(now, days, &held);
                    }
                }
                for item in &mut alerts {
                    item.past(now, alert, &held);
                }
                check(&store, &calls, &alerts).await;
                for (number, id) in patients.iter().enumerate() {
                    let here = store.get_patient(id).await.is_ok();
                    let cared_for = held[number]
                        || now - created <= i64::from(phi) * DAY
                        || calls.iter().any(|[.., call]| call.patient == Some(number) && !call.must)
                        || alerts.iter().any(|item| {
                            item.patient == Some(number) && item.at_us >= now - i64::from(phi) * DAY && !item.must
                        });
                    assert!(here || gone[number] || !cared_for, "patient {number} is gone before their time");
                    gone[number] = !here;
                }
            }
            _ => {}
        }
    }
    check(&store, &calls, &alerts).await;
    assert_eq!(store.verify_audit(&[]).await.unwrap().broken, None);
}

/// Recording, transcript, measures, and the call itself.
fn parts(id: &CallId, patient: Option<usize>, at_us: i64) -> [Item<CallId>; 4] {
    std::array::from_fn(|_| Item { id: id.clone(), patient, at_us, may: false, must: false })
}

async fn check(store: &Store, calls: &[[Item<CallId>; 4]], alerts: &[Item<AlertId>]) {
    for [audio, transcript, measures, call] in calls {
        let id = &call.id;
        call.check("a call", store.get_call(id).await.is_ok());
        audio.check("a recording", store.open_recording(id).await.is_ok());
        transcript.check("a transcript", store.call_events(id).await.is_ok_and(|events| events.len() == 2));
        measures.check("measures", store.call_segments(id).await.is_ok_and(|segments| segments.len() == 1));
    }
    for item in alerts {
        item.check("an alert", store.get_alert(&item.id).await.is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if common::on_postgres() { 3 } else { 12 }, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn in_simulated_years_nothing_goes_early_and_nothing_stays_late(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(simulate(steps));
    }
}

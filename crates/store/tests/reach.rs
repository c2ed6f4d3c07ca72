//! Lists narrowed to a care team, and answers kept for requests that are repeated; on both engines.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::PatientId;
use clinic::access::Role;
use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::schedule::Timetable;
use common::{STARTED, call, open, patient};
use store::{
    AlertFilter, CareTeam, GLASS_LIFETIME_US, NewGlassBreak, REPEATS_KEPT_US, REPEATS_LEASE_US, Repeat, Store,
};

/// All of this was made in the same moment, and so has no order of its own.
fn in_order(mut ids: Vec<Option<PatientId>>) -> Vec<Option<PatientId>> {
    ids.sort_by_key(|id| id.as_ref().map(ToString::to_string));
    ids
}

/// What somebody sees of patients, calls, alerts and schedules: whose they are.
async fn seen(store: &Store, team: Option<&CareTeam>) -> [Vec<Option<PatientId>>; 4] {
    let filter = AlertFilter { care_team: team.cloned(), ..AlertFilter::default() };
    let patients = store.list_patients_within(team, 10, None).await.unwrap();
    let calls = store.list_calls_within(team, 10, None).await.unwrap();
    let alerts = store.list_alerts(&filter, 10, None).await.unwrap();
    let schedules = store.list_schedules_within(team, None, 10, None).await.unwrap();
    let lists = [
        patients.into_iter().map(|patient| Some(patient.id)).collect(),
        calls.into_iter().map(|call| call.patient_id).collect(),
        alerts.into_iter().map(|alert| alert.patient_id).collect(),
        schedules.into_iter().map(|schedule| Some(schedule.patient_id)).collect(),
    ];
    lists.map(|list: Vec<Option<PatientId>>| in_order(list))
}

#[tokio::test]
async fn a_list_holds_the_patients_of_the_team_and_those_opened_for_as_long_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        let id = store.add_patient(&patient(number)).await.unwrap().id;
        let sid = format!("CA{number}");
        store.begin_call(call(&sid, Some(id.clone()))).await.unwrap();
        let alert = NewAlert {
            patient_id: Some(id.clone()),
            call_id: None,
            kind: AlertKind::Risk,
            code: "risk".into(),
            severity: Severity::Review,
            summary: "Risk".into(),
        };
        store.raise_alert(&alert, STARTED).await.unwrap();
        let table = Timetable::daily("UTC", jiff::civil::date(2030, 1, 1));
        store.add_schedule(&id, &table, STARTED).await.unwrap();
        ids.push(id);
    }
    store.begin_call(call("CA9", None)).await.unwrap();
    let user = store.add_user("joy", Role::Clinician, STARTED).await.unwrap().id;
    let at = |at_us| CareTeam { user: user.clone(), at_us };
    let own = |ids: &[PatientId]| in_order(ids.iter().cloned().map(Some).collect());
    let everything = seen(&store, None).await;
    assert_eq!((&everything[0], everything[1].len()), (&own(&ids), 4));
    // The call of somebody unknown belongs to no care team, and so to all of them.
    let with_strangers = |patients: &[Option<PatientId>]| {
        let with_stranger = in_order(patients.iter().cloned().chain([None]).collect());
        [patients.to_vec(), with_stranger, patients.to_vec(), patients.to_vec()]
    };
    assert_eq!(seen(&store, Some(&at(STARTED))).await, with_strangers(&[]), "of nobody's team there is nobody");
    store.assign_patient(&user, &ids[0], STARTED).await.unwrap();
    assert_eq!(seen(&store, Some(&at(STARTED))).await, with_strangers(&own(&ids[..1])));
    let new = NewGlassBreak { user: &user, patient: &ids[2], code: "emergency", reason: "brought in unconscious" };
    store.break_glass(&new, STARTED).await.unwrap();
    let both = own(&[ids[0].clone(), ids[2].clone()]);
    for (at_us, expected) in [
        (STARTED, &both),
        (STARTED + GLASS_LIFETIME_US - 1, &both),
        (STARTED + GLASS_LIFETIME_US, &own(&ids[..1])),
        (STARTED - 1, &own(&ids[..1])),
    ] {
        assert_eq!(seen(&store, Some(&at(at_us))).await, with_strangers(expected));
        assert_eq!(store.reaches(&at(at_us), &ids[2]).await.unwrap(), expected.len() == 2);
    }
    assert!(store.reaches(&at(STARTED), &ids[0]).await.unwrap());
    assert!(!store.reaches(&at(STARTED), &ids[1]).await.unwrap());
    let nobody = PatientId::parse("0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b").unwrap();
    assert!(!store.reaches(&at(STARTED), &nobody).await.unwrap());
    // Narrowed in the database: a page is full although others stand between.
    store.assign_patient(&user, &ids[2], STARTED).await.unwrap();
    let page = store.list_patients_within(Some(&at(STARTED + GLASS_LIFETIME_US)), 2, None).await.unwrap();
    assert_eq!(page.len(), 2);
}

#[tokio::test]
async fn a_request_goes_from_new_to_answered_and_is_forgotten_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (key, request, other) = ([1; 32], [2; 32], [3; 32]);
    let begin = async |request, at_us| store.begin_request(&key, request, at_us).await.unwrap();
    assert_eq!(begin(&request, STARTED).await, Repeat::New);
    assert_eq!(begin(&request, STARTED + 1).await, Repeat::InProgress);
    assert_eq!(begin(&other, STARTED + 1).await, Repeat::Reused);
    // The answer stands or falls with the access it is kept in.
    let access = store.begin_access().await.unwrap();
    access.store().complete_request(&key, 201, b"Ada").await.unwrap();
    access.abandon();
    assert_eq!(begin(&request, STARTED + 1).await, Repeat::InProgress);
    let access = store.begin_access().await.unwrap();
    access.store().complete_request(&key, 201, b"Ada").await.unwrap();
    access.commit(&[]).await.unwrap();
    assert_eq!(begin(&request, STARTED + REPEATS_KEPT_US - 1).await, Repeat::Answered(201, b"Ada".to_vec()));
    assert_eq!(begin(&other, STARTED + REPEATS_KEPT_US - 1).await, Repeat::Reused);
    assert_eq!(begin(&other, STARTED + REPEATS_KEPT_US).await, Repeat::New);
}

#[tokio::test]
async fn what_was_given_up_or_died_is_served_again_and_keeps_no_late_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (key, request) = ([1; 32], [2; 32]);
    let begin = async |at_us| store.begin_request(&key, &request, at_us).await.unwrap();
    assert_eq!(begin(STARTED).await, Repeat::New);
    store.abandon_request(&key).await.unwrap();
    assert_eq!(store.complete_request(&key, 200, b"late").await.unwrap_err().code(), "conflict");
    assert_eq!(begin(STARTED + 1).await, Repeat::New);
    assert_eq!(begin(STARTED + REPEATS_LEASE_US).await, Repeat::InProgress);
    assert_eq!(begin(STARTED + REPEATS_LEASE_US + 1).await, Repeat::New);
}

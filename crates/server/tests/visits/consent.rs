//! Recording: refused, it leaves nothing; agreed to, it is not asked again.

use crate::house::{House, Plan, hangs_up_after, stable_but, text};
use clinic::CallOutcome;
use clinic::protocol::Protocol;
use sim::patient::{PatientScript, Topic};
use store::StoreError;

const SHORT: &[&str] = &["dyspnea"];

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recording_is_gone_and_the_visit_goes_on() {
    let house = House::open(Plan { items: SHORT, ..Plan::default() }).await;
    // Date of birth, no, breathing.
    let refuses = PatientScript { answers: stable_but(Topic::Consent, "patient_m_no").answers, ..hangs_up_after(3) };
    let (_, call) = house.call(house.caller(1, refuses)).await;
    assert_eq!(call.outcome, CallOutcome::Completed);
    assert_eq!(house.recordings(), Vec::<std::path::PathBuf>::new());
    let opened = house.store.open_recording(&call.id).await.map(drop);
    assert!(matches!(opened, Err(StoreError::NotFound { .. })), "{opened:?}");
    let visit = house.visit(&call).await;
    assert_eq!((visit.record.recording_consent, visit.record.complete), (Some(false), true));
    let breathing = visit.record.answers.iter().find(|answer| answer.question == "dyspnea").unwrap();
    assert_eq!(breathing.text(), Some("none"));
    assert_eq!(visit.assessment.unwrap()["risk_band"], "routine");
    let profile = house.store.care_profile(&house.patient).await.unwrap();
    assert_eq!(profile.recording_consent_on, None, "who said no is asked again");
    crate::log::assert_discreet();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_agreed_to_recording_is_not_asked_in_the_next_call() {
    let house = House::open(Plan { items: SHORT, ..Plan::default() }).await;
    let question = Protocol::shipped().text("en", "consent", "");
    let asked = || house.conversation().transcript.iter().filter(|(_, said)| said.contains(&question)).count();
    let (_, first) = house.call(house.caller(1, hangs_up_after(2))).await;
    assert_eq!(asked(), 1);
    let agreed = house.store.care_profile(&house.patient).await.unwrap().recording_consent_on;
    assert!(agreed.is_some());
    assert!(house.store.open_recording(&first.id).await.is_ok());
    let (_, second) = house.call(house.caller(2, hangs_up_after(2))).await;
    assert_eq!(asked(), 0);
    assert!(!house.told_the_agent().iter().rev().take(3).any(|message| text(message, "/result").contains("consent")));
    let visit = house.visit(&second).await;
    assert_eq!(visit.record.recording_consent, Some(true));
    assert!(visit.record.complete);
    assert!(house.store.open_recording(&second.id).await.is_ok());
    crate::log::assert_discreet();
}

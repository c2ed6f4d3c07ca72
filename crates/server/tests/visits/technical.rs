//! What an operator has to mend is told to a person.

use crate::house::{House, Plan};
use clinic::CallOutcome;
use clinic::alerts::{AlertKind, Severity};
use sim::elevenlabs::{Faults, Script, SimConfig};
use sim::patient::PatientScript;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_refuses_every_call_is_one_matter_for_the_operator() {
    let faults = Faults::parse(["close-1008"]).unwrap();
    let agent = SimConfig { faults, script: Script::visit(), ..SimConfig::default() };
    let house = House::open(Plan { agent, ..Plan::default() }).await;
    for n in 1..=2 {
        let (report, call) = house.call(house.caller(n, PatientScript::default())).await;
        assert_eq!(call.outcome, CallOutcome::Failed);
        assert_eq!(report.said.len(), 1, "an apology");
    }
    assert_eq!(house.alert_codes().await, ["agent_configuration", "call_failed", "not-interpretable"]);
    let alerts = house.alerts().await;
    let matter = alerts.iter().find(|alert| alert.content.as_ref().unwrap().code == "agent_configuration").unwrap();
    assert_eq!((matter.kind, matter.severity, matter.occurrences), (AlertKind::Technical, Severity::Urgent, 2));
    assert_eq!(matter.patient_id, None);
    crate::log::assert_discreet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_whose_call_failed_is_called_again_once() {
    let faults = Faults::parse(["close-1008"]).unwrap();
    let agent = SimConfig { faults, script: Script::visit(), ..SimConfig::default() };
    let house = House::open(Plan { agent, ..Plan::default() }).await;
    for n in 1..=2 {
        let (_, call) = house.call(house.caller(n, PatientScript::default())).await;
        assert_eq!(call.outcome, CallOutcome::Failed);
    }
    let mut planned = Vec::new();
    crate::house::until("a call-back is planned", async || {
        planned = house.store.list_planned_calls(&house.patient, 10).await.unwrap();
        !planned.is_empty()
    })
    .await;
    assert_eq!(planned.len(), 1, "one that waits is enough");
    assert_eq!((planned[0].max_attempts, planned[0].call_back_after().is_some()), (2, true));
    let alerts = house.alerts().await;
    let told = alerts.iter().find(|alert| alert.content.as_ref().unwrap().code == "call_failed").unwrap();
    let summary = &told.content.as_ref().unwrap().summary;
    assert!(summary.contains("the patient will be called again") && !summary.contains("Wilhelmina"), "{summary}");
    assert_eq!(told.occurrences, 2, "once for each call");
}

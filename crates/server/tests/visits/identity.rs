//! Somebody else answers: they learn nothing, and nothing they say becomes the patient's.

use crate::house::{House, Plan};
use clinic::visit::IdentityStatus;
use sim::patient::PatientScript;

/// Words that would tell a stranger what the calls are about.
const TELLING: [&str; 14] = [
    "heart",
    "breath",
    "weight",
    "swell",
    "medic",
    "pill",
    "chest",
    "voice",
    "nurse",
    "clinic",
    "doctor",
    "care team",
    "feeling",
    "9 1 1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_number_ends_without_a_word_about_health() {
    let house = House::open(Plan::default()).await;
    let caller = house.caller(1, PatientScript::scenario("wrong-person").unwrap());
    let (_, call) = house.call(caller).await;
    let told = house.told_the_agent();
    assert!(told.len() >= 3, "{told:?}");
    for message in &told {
        let message = message.to_string().to_lowercase();
        for word in TELLING {
            assert!(!message.contains(word), "{word} in {message}");
        }
    }
    let visit = house.visit(&call).await;
    assert_eq!(visit.record.identity.status, IdentityStatus::WrongPerson);
    assert!(visit.record.answers.iter().all(|answer| !answer.answered), "{:?}", visit.record.answers);
    assert!(!visit.facts.identified);
    let assessment = visit.assessment.clone().unwrap();
    assert_eq!(assessment["risk_band"], "not-interpretable");
    assert!(assessment["overall_risk"].is_null());

    // Nor does what the agents service makes of that conversation.
    assert_eq!(house.report_found(&[("dyspnea", "rest"), ("swelling", "worse")]).await, 200);
    assert_eq!(house.visit(&call).await, visit);
    crate::log::assert_discreet();
}

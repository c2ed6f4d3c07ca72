//! What a call leaves: an assessment also of half a visit, later findings, and the opinion of a candidate model.

use crate::house::{House, Plan, hangs_up_after, text};
use clinic::CallOutcome;
use clinic::answers::{AnswerValue, Source};
use clinic::risk::Model;

/// A model to which every call is urgent.
fn frightened() -> Model {
    let mut candidate = Model { name: "candidate".into(), ..Model::default() };
    (candidate.bands.watch, candidate.bands.review, candidate.bands.urgent) = (0.0, 0.0, 0.0);
    candidate
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_broken_off_is_assessed_and_what_the_service_found_completes_it() {
    let plan = Plan { items: &["dyspnea", "swelling", "weight", "medications"], ..Plan::default() };
    let house = House::open(Plan { shadow_model: Some(frightened()), ..plan }).await;
    // Date of birth, consent, breathing.
    let (_, call) = house.call(house.caller(1, hangs_up_after(3))).await;
    assert_eq!(call.outcome, CallOutcome::Completed);
    let before = house.visit(&call).await;
    assert!(!before.record.complete);
    let assessment = before.assessment.clone().unwrap();
    let missing: Vec<&str> = assessment["missing"].as_array().unwrap().iter().filter_map(|m| m.as_str()).collect();
    for question in ["swelling", "weight", "medications"] {
        assert!(missing.contains(&question), "{missing:?}");
    }
    assert!(!missing.contains(&"dyspnea"), "{missing:?}");
    // A candidate model that takes everything for urgent is heard, and alerts nobody.
    let shadow = before.shadow.clone().unwrap();
    assert_eq!((text(&shadow, "/risk_band"), text(&shadow, "/model/name")), ("urgent".into(), "candidate".into()));
    assert_eq!(text(&assessment, "/risk_band"), "routine");
    assert_eq!(house.alert_codes().await, Vec::<String>::new());
    assert!(house.twilio.messages().is_empty());

    let found = [("swelling", "worse"), ("dyspnea", "exertion")];
    assert_eq!(house.report_found(&found).await, 200);
    let after = house.visit(&call).await;
    let answer = |question: &str| after.record.answers.iter().find(|answer| answer.question == question).unwrap();
    assert_eq!((answer("swelling").text(), answer("swelling").source), (Some("worse"), Some(Source::PostCall)));
    let breathing = answer("dyspnea");
    assert_eq!(breathing.text(), Some("none"), "what the patient said stands");
    assert_eq!(breathing.conflicts.len(), 1);
    assert_eq!(breathing.conflicts[0].source, Source::PostCall);
    assert_eq!(breathing.conflicts[0].value, AnswerValue::Text("exertion".into()));
    let assessed = after.assessment.clone().unwrap();
    let risk = |assessment: &serde_json::Value| assessment["overall_risk"].as_f64().unwrap_or(0.0);
    assert!(risk(&assessed) > risk(&assessment), "{assessed}");
    assert!(!assessed["missing"].to_string().contains("swelling"), "{}", assessed["missing"]);
    assert_eq!(after.facts.outcome, CallOutcome::Completed);

    let alerts = house.alerts().await;
    assert_eq!(house.report_found(&found).await, 200);
    assert_eq!(house.visit(&call).await, after, "the second time changes nothing");
    assert_eq!(house.alerts().await, alerts);
    crate::log::assert_discreet();
}

//! A patient in an emergency: the staff is told at once, whatever the agent does.

use crate::house::{House, NURSE, Plan, STAFF, deaf_agent, says, until};
use clinic::CallOutcome;
use clinic::alerts::{AlertKind, Severity};
use clinic::care::CareProfile;
use clinic::protocol::Protocol;
use jiff::civil::date;
use sim::elevenlabs::Beat;
use sim::patient::PatientScript;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn the_staff_is_texted_while_the_patient_still_speaks_though_the_agent_calls_no_tool() {
    let agent = deaf_agent(vec![Beat::Wait(4_000), Beat::EndCall]);
    let house = House::open(Plan { agent, ..Plan::default() }).await;
    let caller = house.caller(1, says("patient_m_chest_pain"));
    let sid = caller.call_sid();
    let scene = async {
        until("the words", async || {
            let conversations = house.agent.stats().conversations;
            conversations.iter().any(|chat| chat.transcript.iter().any(|(who, _)| who == "user"))
        })
        .await;
        let heard = Instant::now();
        until("a text", async || !house.twilio.messages().is_empty()).await;
        assert!(heard.elapsed() < Duration::from_secs(3), "{:?}", heard.elapsed());
        assert_eq!(house.server.live_calls(), 1, "while the call goes on");
    };
    let (report, ()) = tokio::join!(house.twilio.inbound(caller), scene);
    assert_eq!(report.unwrap().call_sid, sid);
    let call = house.finished(&sid).await;

    let texts = house.twilio.messages();
    assert!(texts.iter().all(|text| text.to == STAFF));
    for text in &texts {
        for word in ["Wilhelmina", "Sandoval", "chest", "pain", "pressure", "5550006", "MRN"] {
            assert!(!text.body.contains(word), "{}", text.body);
        }
    }
    assert!(house.conversation().tool_results.is_empty(), "the agent asked for nothing");
    let alerts = house.alerts().await;
    // That nobody told the patient whom to call is a matter of its own.
    assert_eq!(house.alert_codes().await, ["chest_pain", "emergency_words_not_spoken"]);
    let flag = alerts.iter().find(|alert| alert.kind == AlertKind::RedFlag).unwrap();
    assert_eq!(flag.severity, Severity::Critical);
    assert_eq!(flag.occurrences, 1, "the end of the call finds nothing new");
    let visit = house.visit(&call).await;
    assert_eq!(visit.record.red_flags[0].noticed_by, "transcript");
    assert_eq!(visit.record.emergency_words_spoken, Some(false), "the agent never said whom to call");
    assert_eq!(visit.assessment.unwrap()["risk_band"], "emergency");
    crate::log::assert_discreet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_who_wants_it_is_connected_with_the_nurse() {
    let house = House::open(Plan::default()).await;
    let agreed = CareProfile { recording_consent_on: Some(date(2026, 1, 2)), ..CareProfile::default() };
    house.store.set_care_profile(&house.patient, &agreed).await.unwrap();
    let caller = house.caller(1, PatientScript::scenario("red-flag").unwrap());
    let (report, call) = house.call(caller).await;
    assert_eq!(call.outcome, CallOutcome::HandedOver, "{:?}", report.timeline);
    let happened: Vec<&str> = report.timeline.iter().map(|entry| entry.what.as_str()).collect();
    assert!(happened.iter().any(|what| what.starts_with("rest Twiml")), "{happened:?}");
    assert!(happened.contains(&format!("dial {NURSE}").as_str()), "{happened:?}");
    let protocol = Protocol::shipped();
    assert_eq!(report.said, [protocol.text("en", "transfer", "")], "and nothing of an emergency after the nurse");

    let visit = house.visit(&call).await;
    let assessment = visit.assessment.unwrap();
    assert_eq!((&assessment["risk_band"], assessment["overall_risk"].as_f64()), (&"emergency".into(), Some(100.0)));
    assert_eq!(visit.record.transferred, Some(true));
    assert_eq!(visit.record.emergency_words_spoken, Some(true));
    assert_eq!(house.alert_codes().await, ["chest_pain"]);
    assert_eq!(report.violations, []);
    crate::log::assert_discreet();
}

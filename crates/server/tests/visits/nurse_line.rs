//! The nurse cannot be reached: nobody is left without knowing whom to call.

use crate::house::{House, Plan, deaf_agent, says, text, until};
use axum::http::StatusCode;
use clinic::CallOutcome;
use clinic::alerts::{AlertKind, Severity};
use clinic::protocol::Protocol;
use serde_json::json;
use sim::elevenlabs::Beat;
use tokio::net::TcpListener;

/// An agent that has the caller connected with the nurse, and is still there a while.
fn transferring() -> Plan {
    let transfer = Beat::Tool { name: "transfer_to_nurse".into(), parameters: json!({"reason": "asked for"}) };
    Plan { agent: deaf_agent(vec![transfer, Beat::Wait(2_000), Beat::EndCall]), ..Plan::default() }
}

/// A phone company whose interface fails.
async fn broken_twilio() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(|| async { StatusCode::INTERNAL_SERVER_ERROR });
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn unanswered(language: &'static str, dial_status: &str) {
    let house = House::open(Plan { language, ..transferring() }).await;
    let mut caller = house.caller(1, says("patient_m_chest_pain"));
    caller.dial_status = dial_status.to_owned();
    let (report, _) = house.call(caller).await;
    let protocol = Protocol::shipped();
    let words = ["transfer", "red_flag"].map(|name| protocol.text(language, name, ""));
    assert_eq!(report.said, words, "in the language of the visit");
    assert!(report.said[1].contains("9 1 1"), "{}", report.said[1]);
    until("the alerts", async || house.alert_codes().await.len() >= 3).await;
    // This agent does not say whom to call either.
    assert_eq!(house.alert_codes().await, ["chest_pain", "emergency_words_not_spoken", "nurse_not_reached"]);
    for alert in house.alerts().await.iter().filter(|alert| alert.kind == AlertKind::Technical) {
        assert_eq!((alert.severity, alert.patient_id.as_ref()), (Severity::Urgent, Some(&house.patient)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_nurse_does_not_answer_the_caller_hears_whom_to_call() {
    tokio::join!(unanswered("en", "no-answer"), unanswered("es", "busy"));
    crate::log::assert_discreet();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_call_cannot_be_redirected_the_agent_says_once_more_whom_to_call() {
    let house = House::open(Plan { twilio_base: Some(broken_twilio().await), ..transferring() }).await;
    let (report, call) = house.call(house.caller(1, says("patient_m_chest_pain"))).await;
    assert_eq!(call.outcome, CallOutcome::Completed, "nobody was handed over");
    assert!(!report.timeline.iter().any(|entry| entry.what.starts_with("dial")), "{:?}", report.timeline);
    let told = house.told_the_agent();
    let transferring = told.iter().position(|message| text(message, "/result").contains("transferring")).unwrap();
    let again = told[transferring..].iter().find(|message| message["type"] == "user_message");
    let again = again.unwrap_or_else(|| panic!("the agent was not told: {told:?}"));
    assert!(text(again, "/text").contains(&Protocol::shipped().text("en", "red_flag", "")), "{again}");
    let visit = house.visit(&call).await;
    assert_eq!(visit.record.transferred, Some(false));
    assert_eq!(house.alert_codes().await, ["chest_pain", "emergency_words_not_spoken", "nurse_not_reached"]);
    crate::log::assert_discreet();
}

//! A database that takes nothing: the call goes on, and nothing that was acknowledged is lost.

use crate::house::{Building, House, NUMBER};
use clinic::fallback::Policy;
use clinic::{CallOutcome, EndCause};
use serde_json::json;
use sim::elevenlabs::SimConfig;
use std::time::Duration;

const CALL: &str = "CAfedcba9876543210fedcba98765432e0";
const AWAY: [&str; 4] = [
    "CREATE TRIGGER away_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'away'); END",
    "CREATE TRIGGER away_segments BEFORE INSERT ON segments BEGIN SELECT RAISE(ABORT, 'away'); END",
    "CREATE TRIGGER away_visits BEFORE INSERT ON visits BEGIN SELECT RAISE(ABORT, 'away'); END",
    "CREATE TRIGGER away_ends BEFORE UPDATE OF outcome ON calls BEGIN SELECT RAISE(ABORT, 'away'); END",
];
const BACK: [&str; 4] =
    ["DROP TRIGGER away_events", "DROP TRIGGER away_segments", "DROP TRIGGER away_visits", "DROP TRIGGER away_ends"];

async fn each(building: &Building, statements: [&'static str; 4]) {
    for statement in statements {
        building.execute(statement).await;
    }
}

/// A call in whose middle the database goes away, until after its end.
async fn call_through_an_outage(house: &House, building: &Building) {
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for frame in 0..100 {
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(20).await;
        if frame == 20 {
            each(building, AWAY).await;
        }
    }
    phone.say(json!({"event": "stop", "stop": {}})).await;
    while house.server.live_calls() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The timeline as it is known to be complete: from the connection to the end.
async fn assert_whole(house: &House) {
    let call = house.finished(CALL).await;
    assert_eq!((call.outcome, call.end_cause), (CallOutcome::Completed, Some(EndCause::StreamStopped)));
    for _ in 0..400 {
        if house.store.visit(&call.id).await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let events = house.store.call_events(&call.id).await.unwrap();
    let names: Vec<&str> = events.iter().map(|event| event.kind.name()).collect();
    for name in ["phone_connected", "agent_connected", "ended"] {
        assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name} in {names:?}");
    }
    assert_eq!(names.last(), Some(&"ended"));
    assert!(house.store.visit(&call.id).await.unwrap().is_some(), "the visit is assessed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_an_outage_is_complete_when_the_database_is_back() {
    let building = Building::on_sqlite();
    let house = House::build_with_spool(&building, SimConfig::default()).await;
    call_through_an_outage(&house, &building).await;
    let call = house.store.find_call_by_sid(CALL).await.unwrap().unwrap();
    assert_eq!(call.outcome, CallOutcome::InProgress, "the database took nothing");
    each(&building, BACK).await;
    assert_whole(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_the_process() {
    let building = Building::on_sqlite();
    // A runtime of its own that ends in mid-work: as good as a killed process.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let house = House::build_with_spool(&building, SimConfig::default()).await;
                call_through_an_outage(&house, &building).await;
                assert!(house.store.find_call_by_sid(CALL).await.unwrap().unwrap().ended_at_us.is_none());
            });
            runtime.shutdown_background();
        });
    });
    each(&building, BACK).await;
    let next = House::again_with_spool(&building).await;
    assert_whole(&next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_while_nobody_can_be_looked_up_is_called_back() {
    let building = Building::on_sqlite();
    let house = House::build_with_spool(&building, SimConfig::default()).await;
    building.execute("ALTER TABLE patients RENAME TO elsewhere").await;
    let answer = house.post("/twilio/voice", &House::call_form(CALL, NUMBER)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("we will call you back") && answer.body.contains("<Hangup"), "{}", answer.body);
    building.execute("ALTER TABLE elsewhere RENAME TO patients").await;
    let patient = house.store.list_patients().await.unwrap().remove(0).id;
    let mut planned = Vec::new();
    for _ in 0..400 {
        planned = house.store.list_planned_calls(&patient, 10).await.unwrap();
        if !planned.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(planned.len(), 1);
    assert_eq!((planned[0].max_attempts, planned[0].schedule_id.is_none()), (Policy::default().attempts, true));
    assert!(planned[0].call_back_after().is_some());
}

//! Calls that are over while the store takes them for live: they are closed without a restart.

use crate::house::{Building, House};
use clinic::{CallOutcome, Direction, EndCause};
use serde_json::json;
use sim::elevenlabs::SimConfig;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{NewCall, Store};

const CALL: &str = "CAfedcba9876543210fedcba98765432d0";

fn minutes_ago(minutes: i64) -> i64 {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    now_us - minutes * 60_000_000
}

#[tokio::test]
async fn a_call_whose_end_the_store_did_not_take_is_closed_with_that_end_when_it_does() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for _ in 0..100 {
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(20).await;
    }
    building
        .execute("CREATE TRIGGER away BEFORE UPDATE OF outcome ON calls BEGIN SELECT RAISE(ABORT, 'away'); END")
        .await;
    phone.say(json!({"event": "stop", "stop": {}})).await;
    // It leaves the registry when the store was waited for long enough.
    while house.server.live_calls() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let call = house.store.find_call_by_sid(CALL).await.unwrap().unwrap();
    assert_eq!(call.outcome, CallOutcome::InProgress, "nobody could say so yet");
    building.execute("DROP TRIGGER away").await;
    let call = house.finished(CALL).await;
    assert_eq!((call.outcome, call.end_cause), (CallOutcome::Completed, Some(EndCause::StreamStopped)));
    assert_eq!(call.agents, ["elevenlabs"]);
}

#[tokio::test]
async fn a_call_that_nobody_carries_is_closed_and_one_that_goes_on_is_not() {
    let house = House::open(SimConfig::default()).await;
    let begin = async |store: &Store, call_sid, minutes| {
        let started_at_us = minutes_ago(minutes);
        let new = NewCall { call_sid, patient_id: None, direction: Direction::Inbound, started_at_us };
        store.begin_call(new).await.unwrap().id
    };
    let left = begin(&house.store, "CAleft", 2).await;
    let young = begin(&house.store, "CAyoung", 0).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for _ in 0..900 {
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(20).await;
        if house.store.get_call(&left).await.unwrap().outcome != CallOutcome::InProgress {
            break;
        }
    }
    assert_eq!(house.store.get_call(&left).await.unwrap().outcome, CallOutcome::Interrupted);
    assert_eq!(house.store.get_call(&young).await.unwrap().outcome, CallOutcome::InProgress);
    let live = house.store.find_call_by_sid(CALL).await.unwrap().unwrap();
    assert_eq!(live.outcome, CallOutcome::InProgress);
}

//! Calls that are over while the store takes them for live: they are closed without a restart.

use crate::house::{Building, House};
use clinic::answers::{AnswerValue, Source};
use clinic::visit::IdentityStatus;
use clinic::{CallOutcome, DegradationKind, Direction, EndCause, TimelineEvent, TimelineKind};
use serde_json::json;
use sim::elevenlabs::SimConfig;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Frame, NewCall, Store};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_paperwork_of_a_call_whose_process_died_is_done_by_the_next_start() {
    let house = House::open(SimConfig::default()).await;
    let patient = house.store.list_patients().await.unwrap().remove(0).id;
    let started_at_us = minutes_ago(1);
    let new =
        NewCall { call_sid: "CAdied", patient_id: Some(patient.clone()), direction: Direction::Inbound, started_at_us };
    let call = house.store.begin_call(new).await.unwrap();
    let noted = TimelineKind::AnswerNoted {
        question: "dyspnea".to_owned(),
        value: AnswerValue::Text("none".to_owned()),
        source: Source::AgentTool,
    };
    let kinds = [
        TimelineKind::PhoneConnected,
        TimelineKind::Identified { how: "spoken".to_owned() },
        TimelineKind::Consent { given: true },
        noted,
        TimelineKind::TaskStarted { task: "sustained-vowel".to_owned() },
    ];
    let events: Vec<TimelineEvent> =
        (0..).zip(kinds).map(|(n, kind)| TimelineEvent { at_us: n * 500_000, kind }).collect();
    house.store.append_events(&call, 0, &events).await.unwrap();
    let mut recording = house.store.recording_writer(&call).unwrap();
    for frame in 0..250 {
        let (position_samples, arrived_us) = (frame * 160, frame * 20_000);
        recording.append(&Frame::Patient { position_samples, arrived_us, ulaw: &[0x80; 160] }).unwrap();
    }
    // Killed: not finished.
    recording.flush().unwrap();
    drop(recording);
    house.store.interrupt_calls(vec![call.id.clone()], minutes_ago(0)).await.unwrap();

    let (next, _) = house.beside().await;
    let mut visit = None;
    for _ in 0..400 {
        visit = house.store.visit(&call.id).await.unwrap();
        if visit.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let record = visit.expect("the next start completes it").record;
    assert_eq!((record.identity.status, record.recording_consent), (IdentityStatus::Identified, Some(true)));
    let answer = record.answers.iter().find(|answer| answer.question == "dyspnea").unwrap();
    assert_eq!(answer.value, Some(AnswerValue::Text("none".to_owned())));
    assert_eq!(record.degradations.iter().map(|known| known.kind).collect::<Vec<_>>(), [DegradationKind::Crash]);
    let segments = house.store.call_segments(&call.id).await.unwrap();
    let tasks: Vec<&str> = segments.iter().map(|segment| segment.task.as_str()).collect();
    assert_eq!(tasks, ["speech", "sustained-vowel"], "the voice is analysed from the recording");
    let planned = house.store.list_planned_calls(&patient, 10).await.unwrap();
    assert_eq!(planned.iter().map(|call| call.call_back_after()).collect::<Vec<_>>(), [Some(call.id.clone())]);

    // Another start, as after a second crash, finds nothing left to do.
    let (third, _) = house.beside().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(house.store.list_planned_calls(&patient, 10).await.unwrap().len(), 1);
    drop((next, third));
}

//! Calls that we make, over real sockets: the job places them with a simulated Twilio, which rings simulated people and
//! machines.

use crate::house::{ACCOUNT, Building, House, NUMBER, TOKEN};
use clinic::schedule::{AttemptState, MissedReason, on_demand};
use clinic::{CallOutcome, Direction, PhoneNumber, PlannedCallId, words};
use jiff::Timestamp;
use sim::elevenlabs::SimConfig;
use sim::patient::{PatientScript, Step};
use sim::twilio::{CalleeAnswer, TwilioConfig, TwilioRunning, TwilioSim};
use std::time::Duration;
use store::{PlannedCall, PlannedState};

async fn twilio(callee: CalleeAnswer, lose_answer_every: Option<u64>) -> TwilioRunning {
    let config = TwilioConfig {
        account_sid: ACCOUNT.into(),
        auth_token: TOKEN.into(),
        default_callee: callee,
        ring: Duration::from_millis(200),
        say_speed: 0.2,
        lose_answer_every,
        ..TwilioConfig::default()
    };
    TwilioSim::start(config).await.unwrap()
}

/// Somebody who answers, listens for a while and hangs up.
fn somebody() -> CalleeAnswer {
    let script = PatientScript::scenario("silent").unwrap();
    CalleeAnswer::Human(PatientScript { steps: vec![Step::Silence(3_000), Step::HangUp], ..script })
}

/// Asks for a call to our patient, in a zone where it is about noon.
async fn call_now(house: &House) -> PlannedCallId {
    let patients = house.store.find_patients_by_phone(&PhoneNumber::parse(NUMBER).unwrap()).await.unwrap();
    let now = Timestamp::now();
    // POSIX turns the sign around: GMT-3 is three hours ahead of Greenwich.
    let hour = i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).hour());
    let zone = format!("Etc/GMT{:+}", hour - 12);
    let day = on_demand(&zone, now.as_microsecond(), 10).unwrap();
    house.store.plan_call_now(&patients[0].id, day, now.as_microsecond()).await.unwrap()
}

/// The planned call, once it is settled.
async fn settled(house: &House, id: &PlannedCallId) -> PlannedCall {
    for _ in 0..600 {
        let call = house.store.get_planned_call(id).await.unwrap();
        if call.state != PlannedState::Open {
            return call;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nothing became of the call within fifteen seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_answers_and_talks_to_the_agent() {
    let twilio = twilio(somebody(), None).await;
    let house = House::open_with(SimConfig::default(), &twilio.base_url()).await;
    let planned = call_now(&house).await;
    let call = settled(&house, &planned).await;
    assert_eq!(call.state, PlannedState::Done);
    assert_eq!(call.attempts[0].state, AttemptState::Answered);
    let calls = twilio.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((calls[0].to.as_str(), calls[0].from.as_str()), (NUMBER, "+15005550010"));
    let record = house.finished(&calls[0].sid).await;
    assert_eq!((record.direction, record.outcome), (Direction::Outbound, CallOutcome::Completed));
    assert_eq!(record.patient_id.as_ref(), Some(&call.patient_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engaged_and_unreachable_lines_are_missed_calls() {
    for (callee, state, reason) in [
        (CalleeAnswer::Busy, AttemptState::Busy, MissedReason::Busy),
        (CalleeAnswer::Failed, AttemptState::Failed, MissedReason::Failed),
    ] {
        let twilio = twilio(callee, None).await;
        let house = House::open_with(SimConfig::default(), &twilio.base_url()).await;
        let call = settled(&house, &call_now(&house).await).await;
        assert_eq!((call.state, call.reason), (PlannedState::Missed, Some(reason)));
        assert_eq!(call.attempts[0].state, state);
        assert!(house.store.list_calls(10, None).await.unwrap().is_empty(), "nobody was spoken to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_hears_a_neutral_message_and_nothing_from_the_agent_after_it() {
    let twilio = twilio(CalleeAnswer::Machine, None).await;
    let house = House::open_with(SimConfig::default(), &twilio.base_url()).await;
    let call = settled(&house, &call_now(&house).await).await;
    assert_eq!((call.state, call.reason), (PlannedState::Missed, Some(MissedReason::Voicemail)));
    let sid = twilio.calls()[0].sid.clone();
    let record = house.finished(&sid).await;
    assert_eq!(record.outcome, CallOutcome::Voicemail);
    for _ in 0..400 {
        if !twilio.reports().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let report = twilio.reports().remove(0);
    assert_eq!(report.said, [words::NEUTRAL_MESSAGE]);
    assert!(!words::NEUTRAL_MESSAGE.to_lowercase().contains("clinic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_was_lost_is_known_by_its_callbacks_and_not_made_again() {
    let twilio = twilio(somebody(), Some(1)).await;
    let house = House::open_with(SimConfig::default(), &twilio.base_url()).await;
    let call = settled(&house, &call_now(&house).await).await;
    assert_eq!((call.state, call.attempts.len()), (PlannedState::Done, 1));
    assert_eq!(call.attempts[0].state, AttemptState::Answered);
    // Another turn of the job has passed.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(twilio.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_nobody_can_place_yet_is_placed_later() {
    // Nobody listens at the address of Twilio's interface: the attempt is not used up.
    let house = House::open(SimConfig::default()).await;
    let planned = call_now(&house).await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let call = house.store.get_planned_call(&planned).await.unwrap();
    assert_eq!((call.state, call.attempts.len()), (PlannedState::Open, 0));
    assert!(house.store.cancel_planned_call(&planned).await.unwrap());
    assert_eq!(house.store.get_planned_call(&planned).await.unwrap().state, PlannedState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_spoken_to_while_their_call_is_taken_for_lost_is_not_called_again() {
    let twilio = twilio(somebody(), None).await;
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), &twilio.base_url(), 8).await;
    let planned = call_now(&house).await;
    let call = async || match twilio.calls().first() {
        Some(call) => house.store.find_call_by_sid(&call.sid).await.unwrap(),
        None => None,
    };
    while call().await.is_none() {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // As a second server would do that knows nothing of the first.
    let other = building.open().await;
    let marked = other.recover(Timestamp::now().as_microsecond()).await.unwrap();
    assert_eq!(marked, [call().await.unwrap().id]);
    assert_eq!(call().await.unwrap().outcome, CallOutcome::Interrupted);

    let done = async || house.store.get_planned_call(&planned).await.unwrap().state == PlannedState::Done;
    for _ in 0..600 {
        if done().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let attempts = house.store.get_planned_call(&planned).await.unwrap().attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.state).collect::<Vec<_>>(), [AttemptState::Answered]);
    assert!(done().await, "they were reached");
    let record = call().await.unwrap();
    assert_eq!((record.outcome, record.end_cause.is_some()), (CallOutcome::Completed, true));
    assert_eq!(twilio.calls().len(), 1);
}

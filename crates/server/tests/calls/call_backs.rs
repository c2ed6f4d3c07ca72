//! Patients whose calls broke off: they are called again, but not for ever, not when they were reached meanwhile, and by
//! whichever process comes to know of it.

use crate::house::{ACCOUNT, Building, House, NUMBER, TOKEN, zone_at};
use clinic::alerts::AlertKind;
use clinic::fallback::{Policy, Step};
use clinic::schedule::on_demand;
use clinic::{CallId, CallOutcome, Direction, PatientId, words};
use jiff::Timestamp;
use serde_json::json;
use server::Settings;
use sim::elevenlabs::{ElevenLabsSim, Faults, SimConfig};
use sim::patient::{PatientScript, Step as Doing};
use sim::twilio::{CalleeAnswer, TwilioConfig, TwilioRunning, TwilioSim};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{AlertFilter, FinishCall, NewCall, PlannedCall, PlannedState, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CALL: &str = "CAfedcba9876543210fedcba98765432f0";

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

fn minutes_ago(minutes: i64) -> i64 {
    now_us() - minutes * 60_000_000
}

fn policy(steps: &[Step]) -> Policy {
    Policy { steps: steps.to_vec(), after_min: 0, attempts: 1 }
}

async fn twilio(callee: CalleeAnswer) -> TwilioRunning {
    let config = TwilioConfig {
        account_sid: ACCOUNT.into(),
        auth_token: TOKEN.into(),
        default_callee: callee,
        ring: Duration::from_millis(200),
        say_speed: 0.05,
        ..TwilioConfig::default()
    };
    TwilioSim::start(config).await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within thirty seconds");
}

async fn patient(store: &Store) -> PatientId {
    store.list_patients().await.unwrap().remove(0).id
}

async fn planned(store: &Store) -> Vec<PlannedCall> {
    store.list_planned_calls(&patient(store).await, 10).await.unwrap()
}

/// Codes of the alerts, in alphabetical order.
async fn codes(store: &Store) -> Vec<String> {
    let alerts = store.list_alerts(&AlertFilter::default(), 100, None).await.unwrap();
    let mut codes: Vec<String> = alerts.into_iter().filter_map(|alert| Some(alert.content?.code)).collect();
    codes.sort();
    codes
}

/// A call that another process began so many minutes ago.
async fn begun(store: &Store, call_sid: &str, minutes: i64) -> CallId {
    let patient_id = Some(patient(store).await);
    let new = NewCall { call_sid, patient_id, direction: Direction::Inbound, started_at_us: minutes_ago(minutes) };
    store.begin_call(new).await.unwrap().id
}

/// One that it also noted as ended, a minute later, and then ended itself.
async fn ended(store: &Store, call_sid: &str, minutes: i64, outcome: CallOutcome) -> CallId {
    let id = begun(store, call_sid, minutes).await;
    let ended_at_us = minutes_ago(minutes - 1);
    let end = FinishCall { outcome, end_cause: None, ended_at_us, agents: Vec::new(), turns: 0, interruptions: 0 };
    store.finish_call(&id, end).await.unwrap();
    id
}

/// The next process in the building.
async fn next(building: &Building, change: impl FnOnce(&mut Settings)) -> House {
    let agent = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    House::next_in(building, building.open().await, agent, change).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_back_that_breaks_off_too_is_the_nurses_and_not_made_up_for_again() {
    let script = PatientScript::scenario("silent").unwrap();
    let twilio = twilio(CalleeAnswer::Human(PatientScript { steps: vec![Doing::Silence(20_000)], ..script })).await;
    let building = Building::on_sqlite();
    let agent = SimConfig { faults: Faults::parse(["close-1008"]).unwrap(), ..SimConfig::default() };
    let house = House::build_at(&building, agent, 12, |settings| {
        settings.fallback = policy(&[Step::CallAgain, Step::Nurse]);
        settings.twilio.base_url = twilio.base_url();
    })
    .await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    while phone.listen_ms(100).await.is_none() {
        phone.frame(&[0xFF; 160]).await;
    }
    let first = house.finished(CALL).await;
    assert_eq!(first.outcome, CallOutcome::Failed);
    until("a nurse is asked", async || codes(&house.store).await.contains(&"call_back_needed".to_owned())).await;
    // Long enough for whatever else was to be planned and placed.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let planned = planned(&house.store).await;
    assert_eq!(planned.iter().map(PlannedCall::call_back_after).collect::<Vec<_>>(), [Some(first.id.clone())]);
    assert_eq!((planned[0].state, planned[0].attempts.len()), (PlannedState::Missed, 1));
    assert_eq!(twilio.calls().len(), 1, "the patient is telephoned once");
    let alerts = house.store.list_alerts(&AlertFilter::default(), 100, None).await.unwrap();
    let asked = alerts.iter().find(|alert| alert.content.as_ref().unwrap().code == "call_back_needed").unwrap();
    assert_eq!((asked.occurrences, asked.call_id.as_ref()), (1, Some(&first.id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_nobody_contacted_before_the_process_ended_is_contacted_by_the_next() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    let refused = ended(&house.store, "CArefused", 5, CallOutcome::Failed).await;
    ended(&house.store, "CAfine", 7, CallOutcome::Completed).await;
    ended(&house.store, "CAold", 3 * 24 * 60, CallOutcome::Failed).await;
    let _next = next(&building, |_| {}).await;
    until("a call-back is planned", async || !planned(&house.store).await.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let planned = planned(&house.store).await;
    assert_eq!(planned.iter().map(PlannedCall::call_back_after).collect::<Vec<_>>(), [Some(refused)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_is_asked_once_however_often_a_server_starts() {
    let building = Building::on_sqlite();
    let nurse = |settings: &mut Settings| settings.fallback = policy(&[Step::Nurse]);
    let house = House::build_at(&building, SimConfig::default(), 12, nurse).await;
    ended(&house.store, "CArefused", 5, CallOutcome::Failed).await;
    let _second = next(&building, nurse).await;
    until("a nurse is asked", async || !codes(&house.store).await.is_empty()).await;
    let alert = house.store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap().remove(0);
    house.store.resolve_alert(&alert.id, "nurse", None, now_us()).await.unwrap();
    let _third = next(&building, nurse).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(codes(&house.store).await, ["call_back_needed"], "what was done with is not begun anew");
    assert!(planned(&house.store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_nurse_is_to_be_asked_staff_see_that_a_patient_was_not_reached() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    ended(&house.store, "CArefused", 5, CallOutcome::Failed).await;
    // Without a number of ours nobody can be called.
    let _next = next(&building, |settings| {
        settings.fallback = policy(&[Step::CallAgain, Step::Sms]);
        settings.twilio.phone_number = None;
    })
    .await;
    until("staff are told", async || !codes(&house.store).await.is_empty()).await;
    let alert = house.store.list_alerts(&AlertFilter::default(), 10, None).await.unwrap().remove(0);
    assert_eq!((alert.kind, alert.content.unwrap().code.as_str()), (AlertKind::MissedCall, "missed_call"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_sent_once_and_by_day_only() {
    for (hour, texts) in [(12, 1), (2, 0)] {
        let twilio = twilio(CalleeAnswer::Busy).await;
        let building = Building::on_sqlite();
        let sms = |settings: &mut Settings| {
            settings.fallback = policy(&[Step::Sms, Step::Nurse]);
            settings.twilio.base_url = twilio.base_url();
        };
        let house = House::build_at(&building, SimConfig::default(), hour, sms).await;
        ended(&house.store, "CArefused", 5, CallOutcome::Failed).await;
        let _two = (next(&building, sms).await, next(&building, sms).await);
        until("a nurse is asked as well", async || !codes(&house.store).await.is_empty()).await;
        until("the text", async || twilio.messages().len() >= texts).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(twilio.messages().len(), texts, "at {hour} o'clock");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_days_old_is_written_down_and_wakes_nobody() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    let old = begun(&house.store, "CAold", 3 * 24 * 60).await;
    house.store.interrupt_calls(vec![old.clone()], now_us()).await.unwrap();
    let _next = next(&building, |_| {}).await;
    until("the visit is stored", async || house.store.visit(&old).await.unwrap().is_some()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(codes(&house.store).await.is_empty());
    assert!(planned(&house.store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paperwork_of_a_call_that_this_process_lost_is_done_without_a_restart() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    let lost = begun(&house.store, "CAlost", 2).await;
    until("the visit is stored", async || house.store.visit(&lost).await.unwrap().is_some()).await;
    assert_eq!(house.store.get_call(&lost).await.unwrap().outcome, CallOutcome::Interrupted);
    assert_eq!(planned(&house.store).await[0].call_back_after(), Some(lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_another_server_lost_hears_polite_words_and_is_made_up_for() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    let lost = begun(&house.store, CALL, 0).await;
    let form = House::call_form(CALL, NUMBER);
    for path in ["/twilio/voice", "/twilio/voice/after-agent", "/twilio/script?page=3&language=en"] {
        let answer = house.post(path, &form).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains("We will call you again") && answer.body.contains("<Hangup"), "{}", answer.body);
    }
    assert!(planned(&house.store).await.is_empty(), "nobody has said yet that it broke off");
    house.store.interrupt_calls(vec![lost.clone()], now_us()).await.unwrap();
    assert_eq!(house.post("/twilio/voice/after-agent", &form).await.status, 200);
    until("a call-back is planned", async || !planned(&house.store).await.is_empty()).await;
    assert_eq!(planned(&house.store).await[0].call_back_after(), Some(lost));
    let mut ended = form.clone();
    ended[4].1 = "completed".into();
    assert_eq!(house.post("/twilio/status", &ended).await.status, 204);
    // One that came to its end is over.
    ended_well(&house).await;
}

async fn ended_well(house: &House) {
    ended(&house.store, "CAwell", 2, CallOutcome::Completed).await;
    let answer = house.post("/twilio/voice/after-agent", &House::call_form("CAwell", NUMBER)).await;
    assert!(!answer.body.contains("<Say") && answer.body.contains("<Hangup"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_picks_up_while_the_database_is_away_hears_words_and_no_error() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |_| {}).await;
    building.execute("ALTER TABLE patients RENAME TO elsewhere").await;
    let mut form = House::call_form(CALL, "+15005550010");
    form[3].1 = NUMBER.into();
    form[6].1 = "outbound-api".into();
    let answer = house.post("/twilio/voice", &form).await;
    assert_eq!(answer.status, 200);
    let first_words = words::NEUTRAL_MESSAGE.split('.').next().unwrap();
    assert!(answer.body.contains(first_words) && answer.body.contains("<Hangup"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_turned_away_while_the_database_is_away_is_called_back_when_it_is_there() {
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |settings| settings.max_calls = 0).await;
    building.execute("ALTER TABLE patients RENAME TO elsewhere").await;
    let answer = house.post("/twilio/voice", &House::call_form(CALL, NUMBER)).await;
    assert!(answer.body.contains("busy"), "{}", answer.body);
    tokio::time::sleep(Duration::from_millis(500)).await;
    building.execute("ALTER TABLE elsewhere RENAME TO patients").await;
    until("a call-back is planned", async || !planned(&house.store).await.is_empty()).await;
    assert!(planned(&house.store).await[0].call_back_after().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_could_not_be_looked_up_is_contacted_as_the_clinic_wants() {
    let building = Building::on_sqlite();
    let house =
        House::build_at(&building, SimConfig::default(), 12, |settings| settings.fallback = policy(&[Step::Nurse]))
            .await;
    building.execute("ALTER TABLE patients RENAME TO elsewhere").await;
    assert_eq!(house.post("/twilio/voice", &House::call_form(CALL, NUMBER)).await.status, 200);
    building.execute("ALTER TABLE elsewhere RENAME TO patients").await;
    until("a nurse is asked", async || !codes(&house.store).await.is_empty()).await;
    assert_eq!(codes(&house.store).await, ["call_back_needed"]);
    assert!(planned(&house.store).await.is_empty(), "the clinic wants no call by the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_ours_name_the_address_that_twilio_asks_when_we_do_not_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let mut length = 0;
            while !String::from_utf8_lossy(&request[..length]).contains("StatusCallbackEvent=completed") {
                match socket.read(&mut request[length..]).await {
                    Ok(1..) if String::from_utf8_lossy(&request[..length]).starts_with("GET") => break,
                    Ok(read @ 1..) => length += read,
                    _ => break,
                }
            }
            let _ = socket.write_all(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            if text.starts_with("POST") {
                return text;
            }
        }
    });
    let building = Building::on_sqlite();
    let house = House::build_at(&building, SimConfig::default(), 12, |settings| {
        settings.twilio.base_url = address;
        settings.voice_fallback_url = Some("https://fallback.example.org/voice".into());
    })
    .await;
    let day = on_demand(&zone_at(12), now_us(), 10).unwrap();
    house.store.plan_call_now(&patient(&house.store).await, day, now_us()).await.unwrap();
    let form = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap().unwrap();
    assert!(form.contains("FallbackUrl=https%3A%2F%2Ffallback.example.org%2Fvoice&FallbackMethod=POST"), "{form}");
}

/// Twilio's word on every call it is asked about.
async fn twilio_that_says(status: Arc<Mutex<&'static str>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = move || {
        let status = *status.lock().unwrap();
        async move { axum::Json(json!({"sid": CALL, "status": status, "direction": "inbound"})) }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_patient_of_a_lost_server_is_on_the_line_nothing_is_concluded() {
    if std::env::var("HEARTVOICE_TEST_POSTGRES").is_ok_and(|url| !url.is_empty()) {
        let building = Building::new().await;
        let status = Arc::new(Mutex::new("in-progress"));
        let base_url = twilio_that_says(status.clone()).await;
        let house =
            House::build_at(&building, SimConfig::default(), 12, |settings| settings.twilio.base_url = base_url).await;
        // A server that the database does not see any more.
        let silent = building.open().await;
        let id = begun(&silent, CALL, 1).await;
        let outcome = async || house.store.get_call(&id).await.unwrap().outcome;
        until("it is taken for lost", async || outcome().await == CallOutcome::Interrupted).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(house.store.visit(&id).await.unwrap().is_none() && planned(&house.store).await.is_empty());
        assert!(codes(&house.store).await.is_empty(), "nobody is told of a crash");
        *status.lock().unwrap() = "completed";
        // The next look comes within half a minute.
        tokio::time::sleep(Duration::from_secs(15)).await;
        until("the paperwork is done", async || house.store.visit(&id).await.unwrap().is_some()).await;
        assert_eq!(planned(&house.store).await[0].call_back_after(), Some(id.clone()));
        // It had only lost the database.
        let ended_at_us = now_us();
        let end = FinishCall {
            outcome: CallOutcome::Completed,
            end_cause: None,
            ended_at_us,
            agents: Vec::new(),
            turns: 3,
            interruptions: 0,
        };
        silent.finish_call_late(&id, end).await.unwrap();
        assert_eq!(planned(&house.store).await[0].state, PlannedState::Cancelled);
    }
}

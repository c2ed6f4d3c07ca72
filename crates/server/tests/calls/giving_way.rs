//! Something of ours gives way: the caller does not notice, and what can be made up for is.

use crate::house::{Building, House, NUMBER, TOKEN, ticket_in};
use clinic::alerts::AlertKind;
use clinic::{CallOutcome, DegradationKind, Segment, TimelineKind};
use serde_json::{Value, json};
use sim::elevenlabs::{Beat, Script, SimConfig};
use std::time::Duration;
use store::{AlertFilter, Store};

const CALL: &str = "CAfedcba9876543210fedcba98765432f0";

/// An agent that listens and says nothing.
fn silent_agent() -> SimConfig {
    SimConfig { script: Script { name: "silent".to_owned(), beats: vec![Beat::Wait(60_000)] }, ..SimConfig::default() }
}

/// Twenty milliseconds of something like a voice.
fn voice(n: u64) -> Vec<u8> {
    let sample = |i: u64| {
        let t = (n * 160 + i) as f64 / 8_000.0;
        let tone = |hertz: f64| (t * hertz * std::f64::consts::TAU).sin();
        voice::g711::ulaw_encode((6_000.0 * (tone(150.0) + 0.5 * tone(300.0) + 0.3 * tone(450.0))) as i16)
    };
    (0..160).map(sample).collect()
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

async fn alert_codes(store: &Store) -> Vec<String> {
    let alerts = store.list_alerts(&AlertFilter::default(), 100, None).await.unwrap();
    alerts.into_iter().filter_map(|alert| Some(alert.content?.code)).collect()
}

/// A call of two seconds of voice, and what was measured of it.
async fn measured(house: &House, call_sid: &str) -> Vec<Segment> {
    let ticket = house.announce(call_sid).await;
    let mut phone = house.phone(call_sid, &ticket).await;
    for n in 0..100 {
        phone.frame(&voice(n)).await;
        phone.listen_ms(20).await;
    }
    phone.say(json!({"event": "stop", "stop": {}})).await;
    let call = house.finished(call_sid).await;
    let mut segments = Vec::new();
    until("the segments", async || {
        segments = house.store.call_segments(&call.id).await.unwrap();
        !segments.is_empty()
    })
    .await;
    until("the visit", async || house.store.visit(&call.id).await.unwrap().is_some()).await;
    segments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_is_analysed_after_its_call_is_measured_as_if_live() {
    let house = House::open(silent_agent()).await;
    let live = measured(&house, &format!("{CALL}0")).await;
    house.server.analyse_after_calls(true);
    let later = measured(&house, &format!("{CALL}1")).await;
    assert_eq!(later, live);
    assert_eq!(later.len(), 1);
    assert!(later[0].report["duration_s"].as_f64().unwrap() > 1.9, "all of it: {}", later[0].report);
    assert!(house.metric(r#"heartvoice_analysis_shed_total{reason="lag"}"#).await.unwrap() >= 1.0);
    // The assessment was made again, with the measures.
    let call = house.finished(&format!("{CALL}1")).await;
    until("the facts", async || {
        let facts = house.store.visit(&call.id).await.unwrap().unwrap().facts;
        serde_json::to_value(&facts).unwrap().to_string().contains("speech")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_any_disk_for_its_recording_goes_on_and_staff_hears_of_it() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    building.lose_the_audio_disk();
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for n in 0..100 {
        phone.frame(&voice(n)).await;
        phone.listen_ms(20).await;
    }
    assert!(phone.received.iter().any(|message| message["event"] == "media"), "the agent is heard");
    phone.say(json!({"event": "stop", "stop": {}})).await;
    let call = house.finished(CALL).await;
    assert_eq!(call.outcome, CallOutcome::Completed);
    until("the visit", async || house.store.visit(&call.id).await.unwrap().is_some()).await;
    let record = house.store.visit(&call.id).await.unwrap().unwrap().record;
    assert!(record.degradations.iter().any(|known| known.kind == DegradationKind::Disk), "{:?}", record.degradations);
    until("an alert", async || alert_codes(&house.store).await.contains(&"call_degraded".to_owned())).await;
    assert_eq!(house.store.call_segments(&call.id).await.unwrap().len(), 1, "the voice is measured live");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_died_unheard_ends_in_an_apology_an_alert_and_a_call_back() {
    for came in [true, false] {
        let house = House::open(SimConfig::default()).await;
        let ticket = house.announce(CALL).await;
        let mut phone = if came { Some(house.phone(CALL, &ticket).await) } else { None };
        if let Some(phone) = &mut phone {
            phone.frame(&[0xFF; 160]).await;
            phone.listen_ms(500).await;
        }
        // Our socket is as alive as ever, says our side.
        let next = house.post("/twilio/voice/after-agent", &House::call_form(CALL, NUMBER)).await;
        assert!(next.body.contains("<Say") && next.body.contains("<Hangup"), "{}", next.body);
        let call = house.finished(CALL).await;
        assert_eq!(call.outcome, CallOutcome::Failed, "{came}");
        until("the alert", async || alert_codes(&house.store).await.contains(&"call_failed".to_owned())).await;
        let patient = call.patient_id.unwrap();
        let planned = async || house.store.list_planned_calls(&patient, 10).await.unwrap();
        until("the call-back", async || !planned().await.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_silence_while_the_records_of_a_call_are_written() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    phone.frame(&[0xFF; 160]).await;
    phone.listen_ms(500).await;
    let away = "CREATE TRIGGER away_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'away'); END";
    building.execute(away).await;
    phone.say(json!({"event": "stop", "stop": {}})).await;
    phone.listen_ms(300).await;
    assert_eq!(house.server.live_calls(), 1, "its records are not written yet");
    let next = house.post("/twilio/voice/after-agent", &House::call_form(CALL, NUMBER)).await;
    assert!(next.body.contains("<Hangup") && !next.body.contains("<Pause"), "{}", next.body);
    building.execute("DROP TRIGGER away_events").await;
    house.finished(CALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_being_announced_is_waited_for_by_a_shutdown() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    let hold = building.hold_the_database().await;
    let (base, http) = (house.base.clone(), house.http.clone());
    let form = House::call_form(CALL, NUMBER);
    let announcing = tokio::spawn(async move {
        let url = format!("{base}/twilio/voice");
        let signed = call::twilio::signature::sign(TOKEN, &url, &form);
        http.post(&url).header("X-Twilio-Signature", signed).form(&form).send().await.unwrap().text().await.unwrap()
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let House { server, store, .. } = house;
    let stopping = tokio::spawn(server.shutdown(Duration::from_secs(3), std::future::pending()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    hold.release().await;
    let twiml = announcing.await.unwrap();
    assert!(!ticket_in(&twiml).is_empty(), "the caller gets a call: {twiml}");
    assert_eq!(stopping.await.unwrap(), 1, "which the end of the grace cuts");
    drop(store);
    let call = building.open().await.find_call_by_sid(CALL).await.unwrap().unwrap();
    assert!(call.ended_at_us.is_some(), "and which is closed properly: {call:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_database_stays_with_the_load_balancer() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    building.execute("ALTER TABLE meta RENAME TO elsewhere").await;
    let (_beside, base) = house.beside().await;
    let mut health = Value::Null;
    until("the first check", async || {
        let answer = house.http.get(format!("{base}/health")).send().await.unwrap();
        health = answer.json().await.unwrap();
        health["services"]["database"] != "unknown"
    })
    .await;
    assert_eq!((&health["services"]["database"], &health["status"]), (&json!("failing"), &json!("unhealthy")));
    assert_eq!(house.http.get(format!("{base}/ready")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_nurse_did_not_answer_is_told_though_the_records_were_away() {
    let building = Building::on_sqlite();
    let house = House::build(&building, SimConfig::default(), "http://127.0.0.1:9", 8).await;
    let ticket = house.announce(CALL).await;
    let _phone = house.phone(CALL, &ticket).await;
    let patient = house.store.list_patients().await.unwrap().remove(0).id;
    building.execute("ALTER TABLE calls RENAME TO elsewhere").await;
    building.execute("ALTER TABLE alerts RENAME TO nowhere").await;
    let mut form = House::call_form(CALL, NUMBER);
    form.push(("DialCallStatus".to_owned(), "no-answer".to_owned()));
    let answer = house.post("/twilio/dial-result?language=en", &form).await;
    assert!(answer.body.contains("9 1 1") || answer.body.contains("911"), "whom to call: {}", answer.body);
    tokio::time::sleep(Duration::from_secs(1)).await;
    building.execute("ALTER TABLE nowhere RENAME TO alerts").await;
    building.execute("ALTER TABLE elsewhere RENAME TO calls").await;
    until("the alert", async || alert_codes(&house.store).await.contains(&"nurse_not_reached".to_owned())).await;
    let alerts = house.store.list_alerts(&AlertFilter::default(), 100, None).await.unwrap();
    let alert = alerts.iter().find(|alert| alert.content.as_ref().unwrap().code == "nurse_not_reached").unwrap();
    assert_eq!((alert.kind, alert.patient_id.as_ref()), (AlertKind::Technical, Some(&patient)));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_restored_database_does_not_know_are_kept_and_told_of() {
    let building = Building::on_sqlite();
    let file = {
        let house = House::build_with_spool(&building, SimConfig::default()).await;
        let away = "CREATE TRIGGER away_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'away'); END";
        building.execute(away).await;
        let ticket = house.announce(CALL).await;
        let mut phone = house.phone(CALL, &ticket).await;
        phone.frame(&[0xFF; 160]).await;
        let id = house.store.find_call_by_sid(CALL).await.unwrap().unwrap().id;
        let file = building.spool_dir().join(format!("records/{id}.hvs"));
        until("a record in the spool", async || {
            phone.listen_ms(20).await;
            std::fs::metadata(&file).is_ok_and(|file| file.len() > 200)
        })
        .await;
        let House { server, .. } = house;
        server.shutdown(Duration::ZERO, std::future::pending()).await;
        file
    };
    assert!(file.exists(), "the database took nothing to the last");
    let audio = building.spool_dir().join("audio/0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b.hvr");
    std::fs::write(&audio, b"the end of a recording").unwrap();
    let older = building.restored();
    let next = House::again_with_spool(&older).await;
    until("the alert", async || alert_codes(&next.store).await.contains(&"spool_orphaned".to_owned())).await;
    until("both are kept aside", async || {
        file.with_extension("orphan").exists() && audio.with_extension("orphan").exists()
    })
    .await;
    assert!(!file.exists() && !audio.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_damage_reaches_the_database_and_staff_hears_of_the_rest() {
    let building = Building::on_sqlite();
    let (file, id) = {
        let house = House::build_with_spool(&building, SimConfig::default()).await;
        let away = "CREATE TRIGGER away_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'away'); END";
        building.execute(away).await;
        let ticket = house.announce(CALL).await;
        let mut phone = house.phone(CALL, &ticket).await;
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(300).await;
        let House { server, store, .. } = house;
        let id = store.find_call_by_sid(CALL).await.unwrap().unwrap().id;
        server.shutdown(Duration::ZERO, std::future::pending()).await;
        (building.spool_dir().join(format!("records/{id}.hvs")), id)
    };
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    building.execute("DROP TRIGGER away_events").await;
    let next = House::again_with_spool(&building).await;
    until("the alert", async || alert_codes(&next.store).await.contains(&"spool_damaged".to_owned())).await;
    until("the file is kept aside", async || file.with_extension("damaged").exists() && !file.exists()).await;
    let events = next.store.call_events(&id).await.unwrap();
    assert!(events.iter().any(|event| matches!(event.kind, TimelineKind::PhoneConnected)), "{events:?}");
}

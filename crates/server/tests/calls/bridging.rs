//! Whole calls over real sockets.

use crate::house::House;
use clinic::{CallOutcome, EndCause, TimelineKind};
use serde_json::json;
use sim::elevenlabs::{Fault, Faults, Script, SimConfig};
use std::time::Duration;

const CALL: &str = "CAfedcba9876543210fedcba98765432c0";

/// A frame no other frame equals.
fn frame(n: u16) -> Vec<u8> {
    (0..160_u16).map(|i| (n.wrapping_mul(31).wrapping_add(i * 7) % 251) as u8).collect()
}

#[tokio::test]
async fn not_one_frame_is_lost_while_the_agent_takes_300_ms_to_accept() {
    let config =
        SimConfig { accept_delay: Duration::from_millis(300), script: Script::parrot(), ..SimConfig::default() };
    let house = House::open(config).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    let mut spoken = Vec::new();
    for n in 0..100 {
        phone.frame(&frame(n)).await;
        spoken.extend(frame(n));
        phone.listen_ms(20).await;
    }
    phone.listen_ms(300).await;
    let heard = house.agent.stats().conversations[0].caller_audio.clone();
    assert!(heard.len() >= spoken.len(), "{} of {}", heard.len(), spoken.len());
    assert!(heard.starts_with(&spoken), "every frame, in order, from the first");
    phone.say(json!({"event": "stop", "stop": {}})).await;
    let call = house.finished(CALL).await;
    assert_eq!((call.outcome, call.end_cause), (CallOutcome::Completed, Some(EndCause::StreamStopped)));
    let mut recording = house.store.open_recording(&call.id).await.unwrap();
    assert_eq!(recording.patient_track().unwrap(), spoken, "kept bit for bit");
}

#[tokio::test]
async fn the_agents_words_and_audio_are_kept() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for _ in 0..150 {
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(20).await;
    }
    drop(phone);
    let call = house.finished(CALL).await;
    assert_eq!(call.end_cause, Some(EndCause::StreamClosed));
    assert_eq!(call.agents, ["elevenlabs"]);
    assert!(call.turns >= 1);
    let events = house.store.call_events(&call.id).await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    assert!(
        events.iter().any(|e| matches!(&e.kind, TimelineKind::AgentResponse { text, .. } if text.contains("check-in")))
    );
    assert!(matches!(events.last().unwrap().kind, TimelineKind::Ended { .. }));
    let mut recording = house.store.open_recording(&call.id).await.unwrap();
    let agent = recording.agent_track().unwrap();
    let loud = agent.iter().filter(|b| voice::g711::ulaw_decode(**b).abs() > 500).count();
    assert!(loud > 4_000, "the greeting is audible in the agent's track");
    let segments = house.store.call_segments(&call.id).await.unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].report["quality"]["usable"], false, "silence is not a voice");
}

#[tokio::test]
async fn every_end_signal_ends_the_call_once() {
    let house = House::open(SimConfig::default()).await;
    for (n, signal) in ["stop", "close", "status", "stream"].into_iter().enumerate() {
        let sid = format!("{CALL}{n}");
        let ticket = house.announce(&sid).await;
        let mut phone = house.phone(&sid, &ticket).await;
        phone.frame(&[0xFF; 160]).await;
        phone.listen_ms(300).await;
        let mut form = House::call_form(&sid, crate::house::NUMBER);
        match signal {
            "stop" => phone.say(json!({"event": "stop", "stop": {}})).await,
            "close" => drop(phone.socket.close(None).await),
            "status" => {
                form[4].1 = "completed".into();
                for _ in 0..2 {
                    assert_eq!(house.post("/twilio/status", &form).await.status, 204);
                }
            }
            _ => {
                form.push(("StreamSid".into(), crate::house::STREAM.into()));
                form.push(("StreamEvent".into(), "stream-stopped".into()));
                assert_eq!(house.post("/twilio/stream/status", &form).await.status, 204);
            }
        }
        let call = house.finished(&sid).await;
        let cause = match signal {
            "stop" | "stream" => EndCause::StreamStopped,
            "close" => EndCause::StreamClosed,
            _ => EndCause::CallStatus,
        };
        assert_eq!(call.end_cause, Some(cause), "{signal}");
        let events = house.store.call_events(&call.id).await.unwrap();
        assert_eq!(events.iter().filter(|e| matches!(e.kind, TimelineKind::Ended { .. })).count(), 1);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.server.live_calls(), 0);
}

#[tokio::test]
async fn an_agent_that_refuses_us_ends_in_an_apology() {
    let faults = Faults::one(Fault::Reject401);
    let house = House::open(SimConfig { faults, ..SimConfig::default() }).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    assert_eq!(phone.listen_ms(3_000).await, Some(1000), "our side closes, so that the call goes on");
    let form = House::call_form(CALL, crate::house::NUMBER);
    let next = house.post("/twilio/voice/after-agent", &form).await;
    assert!(next.body.contains("<Say") && next.body.contains("<Hangup"), "{}", next.body);
    assert_eq!(house.finished(CALL).await.outcome, CallOutcome::Failed);
}

#[tokio::test]
async fn a_caller_who_gives_up_while_it_rings_is_no_answer() {
    let house = House::open(SimConfig::default()).await;
    house.announce(CALL).await;
    let mut form = House::call_form(CALL, crate::house::NUMBER);
    form[4].1 = "completed".into();
    assert_eq!(house.post("/twilio/status", &form).await.status, 204);
    let call = house.finished(CALL).await;
    assert_eq!(call.outcome, CallOutcome::NoAnswer);
    assert!(house.agent.stats().conversations.len() <= 1);
}

#[tokio::test]
async fn a_shutdown_finishes_the_records_of_live_calls() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for n in 0..20 {
        phone.frame(&frame(n)).await;
        phone.listen_ms(20).await;
    }
    let House { server, store, .. } = house;
    assert_eq!(server.shutdown(Duration::from_millis(100), std::future::pending()).await, 1);
    drop(store);
}

#[tokio::test]
async fn a_caller_cut_off_by_a_shutdown_hears_an_apology() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    phone.listen_ms(300).await;
    let House { server, base, http, .. } = house;
    let stopping = tokio::spawn(server.shutdown(Duration::from_millis(100), std::future::pending()));
    assert_eq!(phone.listen_ms(3_000).await, Some(1000));
    // As long as a request from Twilio takes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let url = format!("{base}/twilio/voice/after-agent");
    let form = House::call_form(CALL, crate::house::NUMBER);
    let signed = call::twilio::signature::sign(crate::house::TOKEN, &url, &form);
    let answer = http.post(&url).header("X-Twilio-Signature", signed).form(&form).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("<Say"));
    assert_eq!(stopping.await.unwrap(), 1);
}

#[tokio::test]
async fn a_second_wish_to_stop_ends_live_calls_at_once_and_keeps_their_records() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    for n in 0..20 {
        phone.frame(&frame(n)).await;
        phone.listen_ms(20).await;
    }
    let began = std::time::Instant::now();
    let House { server, .. } = house;
    let second_wish = tokio::time::sleep(Duration::from_millis(200));
    assert_eq!(server.shutdown(Duration::from_secs(600), second_wish).await, 1);
    assert!(began.elapsed() < Duration::from_secs(20), "not the ten minutes it could have taken");
}

#[tokio::test]
async fn a_caller_whose_line_broke_in_mid_conversation_hears_an_apology() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    phone.frame(&frame(1)).await;
    phone.listen_ms(500).await;
    drop(phone);
    house.finished(CALL).await;
    let next = house.post("/twilio/voice/after-agent", &House::call_form(CALL, crate::house::NUMBER)).await;
    assert!(next.body.contains("<Say"), "{}", next.body);
}

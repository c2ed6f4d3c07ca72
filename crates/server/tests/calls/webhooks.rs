//! What a webhook has to prove, and that a refused one leaves nothing behind.

use crate::house::{ACCOUNT, House, NUMBER, TOKEN};
use sim::elevenlabs::SimConfig;

const CALL: &str = "CAfedcba9876543210fedcba98765432a0";

async fn stored_calls(house: &House) -> usize {
    house.store.list_calls(100, None).await.unwrap().len()
}

#[tokio::test]
async fn unsigned_and_wrongly_signed_requests_are_refused_and_leave_nothing() {
    let house = House::open(SimConfig::default()).await;
    let form = House::call_form(CALL, NUMBER);
    let url = format!("{}/twilio/voice", house.base);
    let unsigned = house.http.post(&url).form(&form).send().await.unwrap();
    assert_eq!(unsigned.status(), 403);
    assert_eq!(unsigned.text().await.unwrap(), "");
    assert_eq!(house.post_as("another token", "/twilio/voice", &form).await.status, 403);
    let signed = call::twilio::signature::sign(TOKEN, &url, &form);
    let mut changed = form.clone();
    changed[2].1 = "+15005550009".into();
    let tampered = house.http.post(&url).header("X-Twilio-Signature", signed).form(&changed).send().await.unwrap();
    assert_eq!(tampered.status(), 403);
    assert_eq!(stored_calls(&house).await, 0);
    assert!(house.agent.stats().conversations.is_empty(), "no agent was reached for any of them");
    assert!(house.metric(r#"heartvoice_webhooks_total{route="voice",result="signature"}"#).await.unwrap() >= 3.0);
}

#[tokio::test]
async fn a_replayed_announcement_is_refused_while_the_call_lives_and_after() {
    let house = House::open(SimConfig::default()).await;
    let form = House::call_form(CALL, NUMBER);
    assert_eq!(house.post("/twilio/voice", &form).await.status, 200);
    assert_eq!(house.post("/twilio/voice", &form).await.status, 403);
    let mut ended = form.clone();
    ended[4].1 = "completed".into();
    assert_eq!(house.post("/twilio/status", &ended).await.status, 204);
    house.finished(CALL).await;
    assert_eq!(house.post("/twilio/voice", &form).await.status, 403);
    assert_eq!(stored_calls(&house).await, 1);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_leave_nothing() {
    let house = House::open(SimConfig::default()).await;
    let url = format!("{}/twilio/voice", house.base);
    for body in ["CallSid=%zz", "CallSid=%ff%fe", "", "just text"] {
        let form = call::twilio::signature::decode_form(body.as_bytes()).unwrap_or_default();
        let signed = call::twilio::signature::sign(TOKEN, &url, &form);
        let response = house
            .http
            .post(&url)
            .header("X-Twilio-Signature", signed)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{body:?}");
    }
    let without_sid: Vec<_> = House::call_form(CALL, NUMBER).into_iter().skip(1).collect();
    assert_eq!(house.post("/twilio/voice", &without_sid).await.status, 400);
    let huge = vec![("CallSid".to_owned(), "x".repeat(100_000))];
    assert_eq!(house.post("/twilio/voice", &huge).await.status, 413);
    assert_eq!(house.http.get(&url).send().await.unwrap().status(), 405);
    assert_eq!(stored_calls(&house).await, 0);
}

#[tokio::test]
async fn another_accounts_call_is_refused() {
    let house = House::open(SimConfig::default()).await;
    let mut form = House::call_form(CALL, NUMBER);
    form[1].1 = ACCOUNT.replace('0', "9");
    assert_eq!(house.post("/twilio/voice", &form).await.status, 403);
    assert_eq!(stored_calls(&house).await, 0);
}

#[tokio::test]
async fn an_unknown_caller_hears_a_polite_refusal_and_is_not_bridged() {
    let house = House::open(SimConfig::default()).await;
    let signed_urls = house.agent.stats().conversations.len();
    for (n, from) in ["+15005559999", "anonymous", "client:ada", ""].into_iter().enumerate() {
        let answer = house.post("/twilio/voice", &House::call_form(&format!("{CALL}{n}"), from)).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.starts_with("<?xml") && answer.body.contains("<Say") && answer.body.contains("<Hangup"));
        assert!(!answer.body.contains("<Stream"), "{}", answer.body);
    }
    assert_eq!(house.agent.stats().conversations.len(), signed_urls);
    let calls = house.store.list_calls(10, None).await.unwrap();
    assert!(calls.iter().all(|call| call.outcome == clinic::CallOutcome::Refused && call.patient_id.is_none()));
    assert_eq!(house.server.live_calls(), 0);
}

#[tokio::test]
async fn when_all_lines_are_taken_the_caller_is_told_so() {
    let house = House::open(SimConfig::default()).await;
    for n in 0..8 {
        house.announce(&format!("{CALL}{n}")).await;
    }
    let answer = house.post("/twilio/voice", &House::call_form(&format!("{CALL}9"), NUMBER)).await;
    assert!(answer.body.contains("busy") && !answer.body.contains("<Stream"));
}

#[tokio::test]
async fn the_next_step_after_a_failed_stream_is_an_apology() {
    let house = House::open(SimConfig::default()).await;
    house.announce(CALL).await;
    let answer = house.post("/twilio/voice/after-agent", &House::call_form(CALL, NUMBER)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("<Say") && answer.body.contains("<Hangup"));
}

#[tokio::test]
async fn health_says_what_is_true() {
    let house = House::open(SimConfig::default()).await;
    let mut body = serde_json::Value::Null;
    for _ in 0..100 {
        let response = house.http.get(format!("{}/health", house.base)).send().await.unwrap();
        let status = response.status();
        body = response.json().await.unwrap();
        if body["services"]["twilio"] != "unknown" {
            assert_eq!(status, 200);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(body["services"]["elevenLabs"], "connected");
    assert_eq!(body["services"]["database"], "ready");
    assert_eq!(body["services"]["voiceAnalysis"], "ready");
    assert_eq!(body["services"]["twilio"], "unreachable", "nothing listens where the tests say Twilio is");
    assert_eq!(body["status"], "degraded");
    let page = house.http.get(&house.base).send().await.unwrap().text().await.unwrap();
    for service in body["services"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("id=\"{service}\"")), "the page at / shows {service}");
    }
    assert_eq!(house.http.get(format!("{}/ready", house.base)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_is_given_up_does_not_leave_a_call_open_for_ever() {
    use tokio::io::AsyncWriteExt;
    let house = House::open(SimConfig::default()).await;
    let address = house.base.trim_start_matches("http://").to_owned();
    for n in 0..6 {
        let form = House::call_form(&format!("{CALL}{n}"), NUMBER);
        let signed = call::twilio::signature::sign(TOKEN, &format!("{}/twilio/voice", house.base), &form);
        let body: String = form
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('+', "%2B")))
            .collect::<Vec<_>>()
            .join("&");
        let head = format!(
            "POST /twilio/voice HTTP/1.1\r\nHost: {address}\r\nX-Twilio-Signature: {signed}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_micros(500 * n)).await;
        drop(socket);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    let open = house.store.list_calls(10, None).await.unwrap();
    let open = open.iter().filter(|call| call.outcome == clinic::CallOutcome::InProgress).count();
    assert_eq!(open, house.server.live_calls(), "every open call has a task that will end it");
}

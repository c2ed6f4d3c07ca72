//! What the agents service says after a call is believed only when signed, kept once, and never lost by being answered
//! too early.

use crate::house::{House, WEBHOOK_SECRET};
use call::agent::elevenlabs::webhook::sign;
use clinic::answers::{Answer, Topic};
use clinic::visit::VisitRecord;
use clinic::{CallId, CallOutcome, Direction};
use serde_json::{Value, json};
use server::{Server, Settings};
use sim::elevenlabs::SimConfig;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{NewCall, NewPostCall, StoredVisit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONVERSATION: &str = "conv_tests";
const KIND: &str = "post_call_transcription";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn transcription(conversation: &str) -> Value {
    json!({"type": KIND, "event_timestamp": now(), "data": {"agent_id": "agent_1", "conversation_id": conversation,
        "status": "done", "transcript": [{"role": "user", "message": "I am short of breath."}],
        "metadata": {"call_duration_secs": 95}, "analysis": {"data_collection_results": {"dyspnea": {"value": "rest"}}}}})
}

async fn send(house: &House, header: Option<String>, body: impl Into<reqwest::Body>) -> u16 {
    let mut request = house.http.post(format!("{}/elevenlabs/post-call", house.base)).body(body);
    if let Some(header) = header {
        request = request.header("ElevenLabs-Signature", header);
    }
    request.send().await.unwrap().status().as_u16()
}

async fn send_signed(house: &House, body: &Value) -> u16 {
    let body = body.to_string();
    send(house, Some(sign(WEBHOOK_SECRET, body.as_bytes(), now())), body).await
}

async fn call_of(house: &House, conversation: &str) -> CallId {
    let new = NewCall {
        call_sid: conversation,
        patient_id: None,
        direction: Direction::Outbound,
        started_at_us: now() as i64 * 1_000_000,
    };
    let handle = house.store.begin_call(new).await.unwrap();
    house.store.link_conversation(&handle, conversation).await.unwrap();
    handle.id
}

/// Sends a body without its length, as the service does with recordings; gives the first line of the answer.
async fn send_in_chunks(house: &House, header: &str, body: &[u8]) -> String {
    let address = house.server.address();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /elevenlabs/post-call HTTP/1.1\r\nHost: {address}\r\nElevenLabs-Signature: {header}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(60_000) {
        socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        socket.write_all(piece).await.unwrap();
        socket.write_all(b"\r\n").await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn counted(house: &House, result: &str) -> f64 {
    let line = format!(r#"heartvoice_webhooks_total{{route="post_call",result="{result}"}}"#);
    house.metric(&line).await.unwrap_or(0.0)
}

#[tokio::test]
async fn a_signed_message_is_kept_once_and_worked_in() {
    let house = House::open(SimConfig::default()).await;
    let call = call_of(&house, CONVERSATION).await;
    let repeated = counted(&house, "repeated").await;
    for _ in 0..3 {
        assert_eq!(send_signed(&house, &transcription(CONVERSATION)).await, 200);
    }
    assert_eq!(counted(&house, "repeated").await - repeated, 2.0);
    let failure =
        json!({"type": "call_initiation_failure", "data": {"conversation_id": CONVERSATION, "failure_reason": "busy"}});
    assert_eq!(send_signed(&house, &failure).await, 200);
    let kept = house.store.post_calls(&call).await.unwrap();
    let kinds: Vec<&str> = kept.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, [KIND, "call_initiation_failure"]);
    let words: Value = serde_json::from_slice(&kept[0].payload).unwrap();
    assert_eq!(words["data"]["transcript"][0]["message"], "I am short of breath.");
    for _ in 0..100 {
        if house.store.waiting_post_calls().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the message was not worked in");
}

#[tokio::test]
async fn what_a_clinician_confirmed_outlives_the_report_that_fills_in_an_answer() {
    let house = House::open(SimConfig::default()).await;
    let patient = house.store.list_patients().await.unwrap()[0].id.clone();
    let new = NewCall {
        call_sid: "CAconfirmed",
        patient_id: Some(patient),
        direction: Direction::Outbound,
        started_at_us: now() as i64 * 1_000_000,
    };
    let handle = house.store.begin_call(new).await.unwrap();
    house.store.link_conversation(&handle, CONVERSATION).await.unwrap();
    let record: VisitRecord = serde_json::from_value(json!({
        "protocol": "heart-failure", "protocol_version": "1", "languages": ["en"],
        "identity": {"status": "identified", "how": "spoken", "failed_attempts": 0}, "recording_consent": true,
        "answers": [Answer::unanswered("dyspnea", Topic::Dyspnea)], "tasks": [], "red_flags": [],
        "transferred": null, "complete": true}))
    .unwrap();
    let facts = record.facts(&handle.id, now() as i64 * 1_000_000, CallOutcome::Completed, &[]);
    let visit = StoredVisit { record, facts, assessment: None, shadow: None };
    house.store.save_visit(&handle, &visit).await.unwrap();
    house.store.confirm_dry(&handle.id, true).await.unwrap();
    assert_eq!(send_signed(&house, &transcription(CONVERSATION)).await, 200);
    for _ in 0..200 {
        let visit = house.store.visit(&handle.id).await.unwrap().unwrap();
        if visit.assessment.is_some() {
            assert_eq!(visit.record.answers[0].text(), Some("rest"));
            assert!(visit.facts.dry_confirmed);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the answer was not worked in");
}

#[tokio::test]
async fn what_a_process_stored_and_did_not_work_in_is_taken_up_by_the_next() {
    let house = House::open(SimConfig::default()).await;
    let call = call_of(&house, CONVERSATION).await;
    let handle = house.store.call_handle(&call).await.unwrap();
    let payload = transcription(CONVERSATION).to_string();
    let new = NewPostCall { conversation_id: CONVERSATION, kind: KIND, received_at_us: 1, payload: payload.as_bytes() };
    house.store.save_post_call(&handle, new).await.unwrap();
    assert_eq!(house.store.waiting_post_calls().await.unwrap().len(), 1);
    let settings = Settings::local(([127, 0, 0, 1], 0).into());
    let next = Server::start(settings, house.store.clone()).await.unwrap();
    for _ in 0..100 {
        if house.store.waiting_post_calls().await.unwrap().is_empty() {
            next.shutdown(Duration::ZERO, std::future::ready(())).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the message still waits");
}

#[tokio::test]
async fn what_is_not_signed_now_with_our_secret_leaves_nothing() {
    let house = House::open(SimConfig::default()).await;
    let call = call_of(&house, CONVERSATION).await;
    let body = transcription(CONVERSATION).to_string();
    let signed = |secret, at| Some(sign(secret, body.as_bytes(), at));
    let good = signed(WEBHOOK_SECRET, now()).unwrap();
    for (why, header, expected) in [
        ("unsigned", None, 403),
        ("another secret", signed("wsec_other", now()), 403),
        ("too old", signed(WEBHOOK_SECRET, now() - 31 * 60), 403),
        ("from the future", signed(WEBHOOK_SECRET, now() + 600), 403),
        ("no time", Some(good.split_once(',').unwrap().1.to_owned()), 400),
        ("a word for a time", Some(good.replacen(|c: char| c.is_ascii_digit(), "x", 1)), 400),
        ("not even text", Some("t=1,v0=\u{e9}".to_owned()), 400),
    ] {
        assert_eq!(send(&house, header, body.clone()).await, expected, "{why}");
    }
    assert_eq!(send(&house, Some(good), body.replace("rest", "none")).await, 403, "changed on the way");
    assert_eq!(house.store.post_calls(&call).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_what_is_not_ours_is_answered() {
    let house = House::open(SimConfig::default()).await;
    for body in [json!([]), json!({"type": KIND}), json!({"data": {"conversation_id": "c"}}), json!("text")] {
        assert_eq!(send_signed(&house, &body).await, 400, "{body}");
    }
    let unknown = counted(&house, "unknown_conversation").await;
    assert_eq!(send_signed(&house, &transcription("conv_of_somebody_else")).await, 200);
    assert!(counted(&house, "unknown_conversation").await > unknown);
    let url = format!("{}/elevenlabs/post-call", house.base);
    assert_eq!(house.http.get(url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn a_recording_in_pieces_is_taken_and_not_kept_and_nothing_larger_is() {
    let house = House::open(SimConfig::default()).await;
    let call = call_of(&house, CONVERSATION).await;
    let audio = |letters: usize| {
        json!({"type": "post_call_audio", "data": {"full_audio": "Q".repeat(letters), "conversation_id": CONVERSATION}})
            .to_string()
    };
    let body = audio(8_000_000);
    let header = sign(WEBHOOK_SECRET, body.as_bytes(), now());
    assert!(send_in_chunks(&house, &header, body.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    let kept = house.store.post_calls(&call).await.unwrap();
    assert!(kept.len() == 1 && kept[0].payload.len() < 200, "only a note of it");
    let words = json!({"type": KIND, "data": {"conversation_id": CONVERSATION, "transcript": "x".repeat(3_000_000)}});
    assert_eq!(send_signed(&house, &words).await, 413, "words are never that many");
    let huge = audio(26 * 1024 * 1024);
    let header = sign(WEBHOOK_SECRET, huge.as_bytes(), now());
    let refused =
        house.http.post(format!("{}/elevenlabs/post-call", house.base)).header("ElevenLabs-Signature", header);
    // The connection may be closed while we still send.
    if let Ok(answer) = refused.body(huge).send().await {
        assert_eq!(answer.status(), 413);
    }
    assert_eq!(house.store.post_calls(&call).await.unwrap().len(), 1);
}

#[tokio::test]
async fn while_the_store_is_down_the_service_is_asked_to_come_again() {
    let house = House::open(SimConfig::default()).await;
    call_of(&house, CONVERSATION).await;
    house.store.close().await;
    assert_eq!(send_signed(&house, &transcription(CONVERSATION)).await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_in_an_outage_is_taken_and_stored_when_it_is_over() {
    let building = crate::house::Building::on_sqlite();
    let house = House::build_with_spool(&building, SimConfig::default()).await;
    let call = call_of(&house, CONVERSATION).await;
    building
        .execute("CREATE TRIGGER away_posts BEFORE INSERT ON post_calls BEGIN SELECT RAISE(ABORT, 'away'); END")
        .await;
    assert_eq!(send_signed(&house, &transcription(CONVERSATION)).await, 200, "it may be sent only once");
    assert!(house.store.post_calls(&call).await.unwrap().is_empty());
    building.execute("DROP TRIGGER away_posts").await;
    for _ in 0..1_200 {
        if !house.store.post_calls(&call).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let messages = house.store.post_calls(&call).await.unwrap();
    assert_eq!(messages.iter().map(|message| message.kind.as_str()).collect::<Vec<_>>(), [KIND]);
}

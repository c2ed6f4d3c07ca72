//! The simulated agents service over real sockets: handshakes, signed URLs, closes, and no frame lost.

#![allow(clippy::unwrap_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sim::elevenlabs::{ElevenLabsSim, Faults, Running, Script, SimConfig};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

async fn signed_url(sim: &Running, key: &str, query: &str) -> (u16, Value) {
    let url = format!("{}/v1/convai/conversation/get-signed-url?{query}", sim.base_url());
    let response = reqwest::Client::new().get(url).header("xi-api-key", key).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn ws(sim: &Running) -> String {
    format!("ws://{}/v1/convai/conversation?agent_id=agent_1", sim.addr())
}

/// Connects, sends init and then nothing; gives the frame types and the close code.
async fn watch(url: &str) -> (Vec<String>, Option<u16>) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let init = json!({"type": "conversation_initiation_client_data"}).to_string();
    socket.send(Message::text(init)).await.unwrap();
    let mut kinds = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(8), socket.next()).await {
        match message {
            Ok(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                kinds.push(frame["type"].as_str().unwrap_or_default().to_owned());
            }
            Ok(Message::Close(frame)) => return (kinds, frame.map(|f| f.code.into())),
            Ok(_) => {}
            Err(_) => return (kinds, None),
        }
    }
    (kinds, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_urls_are_needed_and_checked() {
    let config = SimConfig {
        api_key: Some("key".to_owned()),
        agent_id: Some("agent_1".to_owned()),
        faults: Faults::parse(["close-3008"]).unwrap(),
        ..SimConfig::default()
    };
    let sim = ElevenLabsSim::start(config).await.unwrap();
    let (status, body) = signed_url(&sim, "wrong", "agent_id=agent_1").await;
    assert_eq!((status, &body["detail"]["status"]), (401, &"invalid_api_key".into()));
    assert_eq!(signed_url(&sim, "key", "agent_id=agent_2").await.1["detail"]["status"], "agent_not_found");
    assert_eq!(signed_url(&sim, "key", "x=1").await.1["detail"][0]["loc"][1], "agent_id");
    let (status, body) = signed_url(&sim, "key", "agent_id=agent_1&include_conversation_id=true").await;
    let url = body["signed_url"].as_str().unwrap().to_owned();
    assert!(status == 200 && url.contains("conversation_signature=cvtkn_"), "{url}");
    let http = |error: Error| if let Error::Http(response) = error { response.status().as_u16() } else { 0 };
    // Without a signature, or with a wrong one, there is no conversation.
    assert_eq!(tokio_tungstenite::connect_async(ws(&sim)).await.map(|_| ()).map_err(http), Err(401));
    let forged = format!("{}&conversation_signature=cvtkn_stub", ws(&sim));
    assert_eq!(tokio_tungstenite::connect_async(forged).await.map(|_| ()).map_err(http), Err(401));
    assert_eq!(watch(&url).await.1, Some(3008));
    // This one was for a single use.
    assert_eq!(tokio_tungstenite::connect_async(&url).await.map(|_| ()).map_err(http), Err(401));
    let mut request = ws(&sim).into_client_request().unwrap();
    request.headers_mut().insert("xi-api-key", "key".parse().unwrap());
    assert!(tokio_tungstenite::connect_async(request).await.is_ok());
    let stats = sim.stats();
    assert!(url.contains(&stats.conversations[0].conversation_id));
    assert_eq!((stats.signed_urls, stats.conversations[0].authorization.as_str()), (1, "signed-url"));
    assert_eq!((stats.refused, stats.conversations[1].authorization.as_str()), (6, "api-key"));
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subprotocol_is_selected_only_if_offered() {
    let sim = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    let (_, response) = tokio_tungstenite::connect_async(ws(&sim)).await.unwrap();
    assert!(response.headers().get("sec-websocket-protocol").is_none());
    let mut request = ws(&sim).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "convai, bearer.tok".parse().unwrap());
    let (_, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "convai");
    assert_eq!(sim.stats().conversations[1].authorization, "bearer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_is_counted_to_the_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    let config = SimConfig { frame_log: Some(dir.path().to_owned()), ..SimConfig::default() };
    let sim = ElevenLabsSim::start(config).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(ws(&sim)).await.unwrap();
    socket.send(Message::text(r#"{"type":"conversation_initiation_client_data"}"#)).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..100_u8 {
        let frame = [n.wrapping_mul(7); 160];
        sent.extend(frame);
        let text = json!({"user_audio_chunk": STANDARD.encode(frame)}).to_string();
        socket.send(Message::text(text)).await.unwrap();
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    let stats = sim.stats().conversations.remove(0);
    assert!(stats.caller_audio == sent);
    assert_eq!((stats.received["user_audio_chunk"], stats.arrivals.len()), (100, 100));
    assert_eq!((stats.closed_by.as_str(), stats.close_code), ("client", Some(1005)));
    sim.shutdown().await;
    let log = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(log("received.jsonl").lines().count(), 101);
    assert!(log("sent.jsonl").starts_with("{\"conversation_initiation_metadata_event\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_over_the_wire() {
    for (fault, status) in [("reject-401", 401), ("reject-404", 404), ("http-500", 500)] {
        let config = SimConfig { faults: Faults::parse([fault]).unwrap(), ..SimConfig::default() };
        let sim = ElevenLabsSim::start(config).await.unwrap();
        let refused = tokio_tungstenite::connect_async(ws(&sim)).await.unwrap_err();
        assert!(matches!(refused, Error::Http(response) if response.status().as_u16() == status));
        assert_eq!(signed_url(&sim, "k", "agent_id=agent_1").await.0, status);
    }
    for (fault, code) in [("close-1008", Some(1008)), ("close-1002=200", Some(1002)), ("drop=200", None)] {
        let config = SimConfig {
            faults: Faults::parse([fault]).unwrap(),
            faulty_conversations: Some(1),
            script: Script::sdk_check(),
            ..SimConfig::default()
        };
        let sim = ElevenLabsSim::start(config).await.unwrap();
        assert_eq!(watch(&ws(&sim)).await.1, code, "{fault}");
        if code.is_some() {
            continue;
        }
        // Only the first conversation was faulty. Tools are not answered here, so this ends by itself later.
        let (mut second, _) = tokio_tungstenite::connect_async(ws(&sim)).await.unwrap();
        second.send(Message::text(r#"{"type":"conversation_initiation_client_data"}"#)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(sim.stats().conversations[1].closed_by.is_empty());
    }
    let delayed = SimConfig { faults: Faults::parse(["accept-delay=300"]).unwrap(), ..SimConfig::default() };
    let sim = ElevenLabsSim::start(delayed).await.unwrap();
    let began = tokio::time::Instant::now();
    tokio_tungstenite::connect_async(ws(&sim)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    let full = SimConfig { max_conversations: Some(0), ..SimConfig::default() };
    let sim = ElevenLabsSim::start(full).await.unwrap();
    assert_eq!(watch(&ws(&sim)).await, (Vec::new(), Some(3008)));
}

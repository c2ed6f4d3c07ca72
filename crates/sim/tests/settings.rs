//! The simulated account: what the service would refuse is refused, and what an agent's settings say holds for its
//! conversations.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sim::elevenlabs::{ElevenLabsSim, Running, SimConfig};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

async fn ask(sim: &Running, method: &str, path: &str, body: Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request =
        reqwest::Client::new().request(method, format!("{}{path}", sim.base_url())).header("xi-api-key", "key");
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn new_agent(sim: &Running, config: Value, platform: Value) -> (u16, Value) {
    let body = json!({"conversation_config": config, "platform_settings": platform, "name": "Test"});
    ask(sim, "POST", "/v1/convai/agents/create", body).await
}

#[tokio::test]
async fn an_agent_is_made_changed_and_deleted() {
    let sim = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    let (status, made) = new_agent(&sim, json!({"agent": {"first_message": "Hi"}}), json!({})).await;
    assert_eq!(status, 200);
    let path = format!("/v1/convai/agents/{}", made["agent_id"].as_str().unwrap());
    let change =
        json!({"conversation_config": {"conversation": {"client_events": ["audio"]}, "agent": {"language": "en"}}});
    let (_, changed) = ask(&sim, "PATCH", &path, change).await;
    assert_eq!(changed["conversation_config"]["conversation"]["client_events"], json!(["audio"]), "lists are replaced");
    assert_eq!(changed["conversation_config"]["conversation"]["max_duration_seconds"], 600, "objects are merged");
    assert_eq!(changed["conversation_config"]["agent"]["first_message"], "Hi");
    let (_, list) = ask(&sim, "GET", "/v1/convai/agents?page_size=1", Value::Null).await;
    assert_eq!((&list["agents"][0]["name"], &list["has_more"]), (&json!("Test"), &json!(false)));
    assert_eq!(ask(&sim, "DELETE", &path, Value::Null).await.0, 200);
    let (status, gone) = ask(&sim, "GET", &path, Value::Null).await;
    assert_eq!((status, &gone["detail"]["status"]), (404, &json!("agent_not_found")));
    assert_eq!(sim.settings_changed(), 3);
    let stranger = reqwest::get(format!("{}/v1/convai/agents", sim.base_url())).await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused() {
    let sim = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    let zero = json!({"privacy": {"zero_retention_mode": true}});
    for (config, platform, status, word) in [
        (json!({"tts": {"model_id": "eleven_flash_v2_5"}}), json!({}), 400, "English"),
        (json!({"agent": {"language": "es"}}), json!({}), 400, "v2_5"),
        (json!({"agent": {"prompt": {"llm": "gpt-4o"}}}), zero.clone(), 400, "zero retention"),
        (json!({"agent": {"prompt": {"backup_llm_config": {"order": ["gpt-5"]}}}}), zero, 400, "zero retention"),
        (json!({"agent": {"prompt": {"llm": "no-such"}}}), json!({}), 422, "Unknown LLM"),
        (json!({"agent": {"prompt": {"tool_ids": ["tool_none"]}}}), json!({}), 404, "tool_not_found"),
        (json!({"asr": {"user_input_audio_format": "mp3"}}), json!({}), 422, "user_input_audio_format"),
        (json!({"conversation": {"client_events": ["audio", "sound"]}}), json!({}), 422, "client_events"),
        (json!({"turn": {"turn_timeout": 31}}), json!({}), 422, "turn_timeout"),
    ] {
        let (got, body) = new_agent(&sim, config.clone(), platform).await;
        assert!(got == status && body.to_string().contains(word), "{config}: {got} {body}");
    }
    assert_eq!(ask(&sim, "POST", "/v1/convai/agents/create", json!({"name": "x"})).await.0, 422);
    for (property, why) in [
        (json!({"type": "number", "description": "d", "constant_value": 1}), "two sources"),
        (json!({"type": "number"}), "no source"),
        (json!({"type": "number", "description": "d", "enum": ["1"]}), "numbers cannot be enumerated"),
    ] {
        let config =
            json!({"type": "client", "name": "t", "description": "d", "parameters": {"properties": {"p": property}}});
        assert_eq!(ask(&sim, "POST", "/v1/convai/tools", json!({"tool_config": config})).await.0, 422, "{why}");
    }
    assert_eq!(sim.settings_changed(), 0);
}

#[tokio::test]
async fn documents_are_indexed_step_by_step_and_kept_while_they_are_used() {
    let sim = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    let text = |length: usize| json!({"text": "words ".repeat(length), "name": "N"});
    let (_, document) = ask(&sim, "POST", "/v1/convai/knowledge-base/text", text(200)).await;
    let path = format!("/v1/convai/knowledge-base/{}", document["id"].as_str().unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let model = json!({"model": "e5_mistral_7b_instruct"});
        seen.push(ask(&sim, "POST", &format!("{path}/rag-index"), model).await.1["status"].clone());
    }
    assert_eq!(seen, ["created", "processing", "succeeded"]);
    let (_, small) = ask(&sim, "POST", "/v1/convai/knowledge-base/text", text(2)).await;
    let small = format!("/v1/convai/knowledge-base/{}/rag-index", small["id"].as_str().unwrap());
    let (_, index) = ask(&sim, "POST", &small, json!({"model": "e5_mistral_7b_instruct"})).await;
    assert_eq!(index["status"], "document_too_small");
    let used = json!({"agent": {"prompt": {"knowledge_base": [{"type": "text", "name": "N", "id": document["id"]}]}}});
    assert_eq!(new_agent(&sim, used, json!({})).await.0, 200);
    assert_eq!(ask(&sim, "DELETE", &path, Value::Null).await.0, 400, "an agent needs it");
    let (_, webhook) = ask(
        &sim,
        "POST",
        "/v1/workspace/webhooks",
        json!({"settings": {"auth_type": "hmac", "name": "post-call", "webhook_url": "https://hv.example.org/x"}}),
    )
    .await;
    assert!(webhook["webhook_secret"].as_str().unwrap().starts_with("wsec_"));
    let (_, list) = ask(&sim, "GET", "/v1/workspace/webhooks", Value::Null).await;
    assert!(list["webhooks"][0]["webhook_id"] == webhook["webhook_id"] && !list.to_string().contains("wsec_"));
}

/// The first frame, and the close reason if there is one, of a conversation that asks for `first_message`.
async fn converse(sim: &Running, agent: &str, first_message: bool) -> (Value, String) {
    let url = format!("ws://{}/v1/convai/conversation?agent_id={agent}", sim.addr());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("xi-api-key", "key".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let overrides = if first_message { json!({"agent": {"first_message": "Hello"}}) } else { json!({}) };
    let init = json!({"type": "conversation_initiation_client_data", "conversation_config_override": overrides});
    socket.send(Message::text(init.to_string())).await.unwrap();
    let mut first = Value::Null;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if first.is_null() => {
                first = serde_json::from_str(&text).unwrap();
                if first["type"] == "conversation_initiation_metadata" {
                    return (first, String::new());
                }
            }
            Message::Close(frame) => return (first, frame.map(|frame| frame.reason.to_string()).unwrap_or_default()),
            _ => {}
        }
    }
    (first, String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_held_as_the_agents_settings_say() {
    let sim = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
    let platform = json!({"auth": {"enable_auth": true}});
    let (_, made) = new_agent(&sim, json!({"asr": {"user_input_audio_format": "ulaw_8000"}}), platform).await;
    let id = made["agent_id"].as_str().unwrap();
    let (metadata, _) = converse(&sim, id, false).await;
    let metadata = &metadata["conversation_initiation_metadata_event"];
    assert_eq!(
        (&metadata["user_input_audio_format"], &metadata["agent_output_audio_format"]),
        (&json!("ulaw_8000"), &json!("pcm_16000"))
    );
    let (_, reason) = converse(&sim, id, true).await;
    assert_eq!(reason, "Override for field 'first_message' is not allowed by config.");
    let permission = json!({"platform_settings": {"overrides": {"conversation_config_override": {"agent": {"first_message": true}}}}});
    assert_eq!(ask(&sim, "PATCH", &format!("/v1/convai/agents/{id}"), permission).await.0, 200);
    assert_eq!(converse(&sim, id, true).await.1, "");
    let bare = format!("ws://{}/v1/convai/conversation?agent_id={id}", sim.addr());
    assert!(tokio_tungstenite::connect_async(bare).await.is_err(), "without proof nobody is let in");
}

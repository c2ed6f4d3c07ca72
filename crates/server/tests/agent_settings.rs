//! Keeping an agent equal to the protocol, against a simulated account.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use clinic::agent::{AgentOptions, AgentText};
use clinic::protocol::Protocol;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use server::agent_admin::{Account, AdminError, Step, Wanted, apply, documents, plan};
use sim::elevenlabs::{ElevenLabsSim, Fault, Faults, Running, SimConfig};

fn wanted() -> Wanted {
    Wanted {
        text: AgentText::from_protocol(&Protocol::shipped()),
        options: AgentOptions::default(),
        webhook_url: Some("https://hv.example.org/elevenlabs/post-call".into()),
    }
}

async fn account(config: SimConfig) -> (Running, Account) {
    let sim = ElevenLabsSim::start(config).await.unwrap();
    let account = Account::new(&sim.base_url(), SecretString::from("key")).unwrap();
    (sim, account)
}

async fn ask(sim: &Running, method: &str, path: &str, body: Value) -> Value {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request =
        reqwest::Client::new().request(method, format!("{}{path}", sim.base_url())).header("xi-api-key", "key");
    request.json(&body).send().await.unwrap().json().await.unwrap()
}

/// Pushes until the agent is there; its identifier.
async fn pushed(account: &Account) -> String {
    apply(account, plan(account, None, &wanted()).await.unwrap()).await.unwrap().agent_id
}

#[tokio::test]
async fn the_first_push_makes_everything_and_the_second_nothing() {
    let (sim, account) = account(SimConfig::default()).await;
    let first = plan(&account, None, &wanted()).await.unwrap();
    assert_eq!(sim.settings_changed(), 0, "a plan changes nothing");
    let applied = apply(&account, first).await.unwrap();
    assert!(applied.created && applied.left.is_empty());
    assert!(applied.webhook_secret.unwrap().expose_secret().starts_with("wsec_"));
    let changed = sim.settings_changed();
    let tools = standard_tools();
    // Tools, documents, webhook, agent.
    assert_eq!(changed as usize, tools + documents().len() + 2);
    let second = plan(&account, Some(&applied.agent_id), &wanted()).await.unwrap();
    assert!(second.is_done(), "{:#?}", second.steps);
    let again = apply(&account, second).await.unwrap();
    assert!(again.done.is_empty() && again.webhook_secret.is_none() && !again.created);
    assert_eq!(sim.settings_changed(), changed);
    let live = account.agent(&applied.agent_id).await.unwrap();
    assert_eq!(live["conversation_config"]["agent"]["prompt"]["tool_ids"].as_array().unwrap().len(), tools);
    assert!(live["platform_settings"]["workspace_overrides"]["webhooks"]["post_call_webhook_id"].is_string());
}

fn standard_tools() -> usize {
    clinic::agent::desired(&AgentText::from_protocol(&Protocol::shipped()), &AgentOptions::default())
        .unwrap()
        .tools
        .len()
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_named_and_put_back() {
    let (sim, account) = account(SimConfig::default()).await;
    let id = pushed(&account).await;
    let by_hand = json!({"conversation_config": {"tts": {"agent_output_audio_format": "pcm_16000"},
        "conversation": {"client_events": ["audio"]}}, "platform_settings": {"privacy": {"record_voice": true}}});
    ask(&sim, "PATCH", &format!("/v1/convai/agents/{id}"), by_hand).await;
    let tools = ask(&sim, "GET", "/v1/convai/tools?page_size=100", Value::Null).await;
    let tool = tools["tools"].as_array().unwrap().iter().find(|t| t["tool_config"]["name"] == "record_answer").unwrap();
    let mut config = tool["tool_config"].clone();
    config["expects_response"] = json!(false);
    let path = format!("/v1/convai/tools/{}", tool["id"].as_str().unwrap());
    ask(&sim, "PATCH", &path, json!({"tool_config": config})).await;

    let found = plan(&account, Some(&id), &wanted()).await.unwrap();
    let mut paths: Vec<String> = found.changes().into_iter().map(|change| change.path).collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "conversation_config.conversation.client_events",
            "conversation_config.tts.agent_output_audio_format",
            "platform_settings.privacy.record_voice",
            "tools[record_answer].expects_response",
        ]
    );
    assert!(found.changes().iter().all(|change| change.serious && !change.breaks.is_empty()));
    let done = apply(&account, found).await.unwrap().done;
    assert_eq!(done, ["change tool record_answer".to_owned(), format!("change agent {id}")]);
    assert!(plan(&account, Some(&id), &wanted()).await.unwrap().is_done());
}

#[tokio::test]
async fn a_document_in_an_older_version_is_replaced_and_then_deleted() {
    let (sim, account) = account(SimConfig::default()).await;
    let id = pushed(&account).await;
    let old = json!({"text": "Old words. ".repeat(60), "name": "heartvoice privacy 000000000000"});
    let old = ask(&sim, "POST", "/v1/convai/knowledge-base/text", old).await["id"].clone();
    let foreign = json!({"text": "Other words. ".repeat(60), "name": "opening hours"});
    ask(&sim, "POST", "/v1/convai/knowledge-base/text", foreign).await;
    let live = account.agent(&id).await.unwrap();
    let mut list = live["conversation_config"]["agent"]["prompt"]["knowledge_base"].as_array().unwrap().clone();
    list.retain(|row| !row["name"].as_str().unwrap().contains("privacy"));
    list.push(json!({"type": "text", "name": "heartvoice privacy 000000000000", "id": old}));
    let change = json!({"conversation_config": {"agent": {"prompt": {"knowledge_base": list}}}});
    ask(&sim, "PATCH", &format!("/v1/convai/agents/{id}"), change).await;

    let found = plan(&account, Some(&id), &wanted()).await.unwrap();
    assert!(
        matches!(&found.steps[..], [Step::UpdateAgent { .. }, Step::DeleteDocument { name, .. }] if name.ends_with("000000000000")),
        "{:#?}",
        found.steps
    );
    let applied = apply(&account, found).await.unwrap();
    assert_eq!(applied.left, [""; 0]);
    let names = ask(&sim, "GET", "/v1/convai/knowledge-base?page_size=100", Value::Null).await.to_string();
    assert!(!names.contains("000000000000") && names.contains("opening hours"), "only our own are touched");
}

#[tokio::test]
async fn tools_of_others_are_left_alone_even_with_the_same_name() {
    let (sim, account) = account(SimConfig::default()).await;
    let foreign = json!({"tool_config": {"type": "client", "name": "record_answer", "description": "Somebody else's"}});
    let foreign = ask(&sim, "POST", "/v1/convai/tools", foreign).await;
    let id = pushed(&account).await;
    let live = account.agent(&id).await.unwrap();
    let used = live["conversation_config"]["agent"]["prompt"]["tool_ids"].as_array().unwrap().clone();
    assert!(!used.contains(&foreign["id"]));
    let kept = ask(&sim, "GET", &format!("/v1/convai/tools/{}", foreign["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(kept["tool_config"]["description"], "Somebody else's");
}

#[tokio::test]
async fn a_push_that_broke_off_is_completed_by_the_next() {
    let (sim, account) = account(SimConfig::default()).await;
    let whole = plan(&account, None, &wanted()).await.unwrap();
    let mut half = whole.clone();
    half.steps.truncate(6);
    half.steps.push(Step::UpdateAgent { id: "agent_gone".into(), changes: Vec::new() });
    assert!(matches!(apply(&account, half).await, Err(AdminError::Refused { .. } | AdminError::NotFound { .. })));
    let changed = sim.settings_changed();
    assert_eq!(changed, 6);
    let rest = plan(&account, None, &wanted()).await.unwrap();
    assert_eq!(rest.steps.len() + 6, whole.steps.len());
    apply(&account, rest).await.unwrap();
    assert_eq!(sim.settings_changed() as usize, whole.steps.len());
}

#[tokio::test]
async fn errors_say_what_to_do_and_never_the_key() {
    let locked = SimConfig { api_key: Some("another".into()), ..SimConfig::default() };
    let (_sim, locked) = account(locked).await;
    let error = plan(&locked, None, &wanted()).await.unwrap_err();
    assert!(matches!(error, AdminError::Unauthorized { .. }) && error.to_string().contains("ELEVENLABS_API_KEY"));
    let (_sim, open) = account(SimConfig::default()).await;
    let error = plan(&open, Some("agent_none"), &wanted()).await.unwrap_err();
    assert!(error.to_string().contains("ELEVENLABS_AGENT_ID"), "{error}");
    let broken = SimConfig { faults: Faults::one(Fault::Http500), ..SimConfig::default() };
    let (_sim, broken) = account(broken).await;
    assert!(matches!(plan(&broken, None, &wanted()).await, Err(AdminError::Refused { status: 500, .. })));
    let nowhere = Account::new("http://127.0.0.1:9", SecretString::from("key")).unwrap();
    assert_eq!(plan(&nowhere, None, &wanted()).await.unwrap_err(), AdminError::Unreachable);
    let mut keeps = wanted();
    keeps.options.llm = "gpt-4o".into();
    assert!(plan(&open, None, &keeps).await.unwrap_err().to_string().contains("gpt-4o"));
}

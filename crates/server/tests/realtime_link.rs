//! Reaching the Realtime service over a real socket: who gets in, and why others do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::agent::close::classify_connect;
use call::agent::{AgentEvent, CloseReaction, ConnectFailure, RealtimeSession, RealtimeSetup};
use futures_util::{SinkExt, StreamExt};
use server::OpenAiSettings;
use server::realtime_link::{connect_realtime, probe, probe_client};
use sim::realtime::{Fault, Faults, RealtimeConfig, RealtimeSim, Running};
use tokio_tungstenite::tungstenite::Message;

async fn service(faults: Faults) -> (Running, OpenAiSettings) {
    let config = RealtimeConfig { api_key: Some("sk-check".into()), faults, ..RealtimeConfig::default() };
    let running = RealtimeSim::start(config).await.unwrap();
    let settings = OpenAiSettings {
        base_url: running.base_url(),
        api_key: "sk-check".into(),
        model: "gpt-realtime".into(),
        voice: "marin".into(),
    };
    (running, settings)
}

#[tokio::test]
async fn a_session_opens_with_our_settings_and_speaks() {
    let (running, settings) = service(Faults::none()).await;
    assert_eq!(probe(&settings, &probe_client().unwrap()).await, Ok(()));
    let mut socket = connect_realtime(&settings).await.unwrap();
    let mut session = RealtimeSession::new(RealtimeSetup {
        instructions: "Be kind.".into(),
        tools: Vec::new(),
        language: "en".into(),
        voice: settings.voice.clone(),
        transcription_model: server::realtime_link::TRANSCRIPTION_MODEL.into(),
    });
    session.hello();
    session.open_with("Hello.");
    let (mut formats, mut said) = (None, None);
    while said.is_none() {
        for frame in session.frames().collect::<Vec<_>>() {
            socket.send(Message::Text(frame.into())).await.unwrap();
        }
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the service has gone") };
        match session.parse(&text).unwrap() {
            AgentEvent::Metadata { agent_output, user_input, .. } => {
                formats = Some((user_input.unwrap(), agent_output))
            }
            AgentEvent::AgentResponse { text, .. } => said = Some(text.into_owned()),
            _ => {}
        }
    }
    assert_eq!(formats, Some(("ulaw_8000".into(), "ulaw_8000".into())));
    assert_eq!(said.as_deref(), Some("Hello."));
    socket.close(None).await.unwrap();
    assert_eq!(running.stats().models_shown, 1);
    running.shutdown().await;
}

#[tokio::test]
async fn who_is_refused_knows_why_and_whether_to_try_again() {
    let http = probe_client().unwrap();
    for (status, reaction) in [
        (401, CloseReaction::Alert),
        (403, CloseReaction::Alert),
        (404, CloseReaction::Alert),
        (429, CloseReaction::BackOff),
        (500, CloseReaction::Retry),
        (503, CloseReaction::Retry),
    ] {
        let (running, settings) = service(Faults::one(Fault::Reject(status))).await;
        let failure = connect_realtime(&settings).await.err().unwrap();
        assert_eq!(failure, ConnectFailure::Http { status });
        assert_eq!(probe(&settings, &http).await, Err(failure));
        assert_eq!(classify_connect(&failure), reaction, "{status}");
        running.shutdown().await;
    }
    let (running, settings) = service(Faults::none()).await;
    for (wrong, status) in [
        (OpenAiSettings { api_key: "sk-other".into(), ..settings.clone() }, 401),
        (OpenAiSettings { api_key: "sk\nother".into(), ..settings.clone() }, 401),
        (OpenAiSettings { model: "gpt-nothing".into(), ..settings.clone() }, 404),
    ] {
        assert_eq!(connect_realtime(&wrong).await.err(), Some(ConnectFailure::Http { status }));
        assert_eq!(probe(&wrong, &http).await, Err(ConnectFailure::Http { status }));
    }
    running.shutdown().await;
    assert_eq!(connect_realtime(&settings).await.err(), Some(ConnectFailure::Network), "nobody is there any more");
}

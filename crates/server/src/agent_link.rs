//! Reaching an ElevenLabs agent: a fresh signed URL by REST, then its WebSocket.

use crate::limits;
use crate::settings::ElevenLabsSettings;
use call::agent::{ConnectFailure, elevenlabs};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// An open socket to an agent.
pub(crate) type AgentSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Reaches agents; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AgentDialer {
    settings: Option<ElevenLabsSettings>,
    http: reqwest::Client,
}

#[derive(serde::Deserialize)]
struct SignedUrl {
    signed_url: String,
}

impl AgentDialer {
    /// # Errors
    /// When the HTTP client cannot be built (no TLS provider, for example).
    pub(crate) fn new(settings: Option<ElevenLabsSettings>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(limits::AGENT_CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { settings, http })
    }

    pub(crate) fn is_configured(&self) -> bool {
        self.settings.is_some()
    }

    /// Fetches a signed URL, good for one conversation that starts within a quarter of an hour.
    pub(crate) async fn signed_url(&self) -> Result<String, ConnectFailure> {
        // Nothing to dial is a matter of configuration, like a refusal of our key.
        let settings = self.settings.as_ref().ok_or(ConnectFailure::Http { status: 401 })?;
        let response = self
            .http
            .get(elevenlabs::signed_url_request(&settings.base_url, &settings.agent_id))
            .header("xi-api-key", settings.api_key.expose_secret())
            .send()
            .await
            .map_err(|error| if error.is_timeout() { ConnectFailure::Timeout } else { ConnectFailure::Network })?;
        let status = response.status();
        if !status.is_success() {
            return Err(ConnectFailure::Http { status: status.as_u16() });
        }
        let body = response.bytes().await.map_err(|_| ConnectFailure::Network)?;
        serde_json::from_slice::<SignedUrl>(&body).map(|url| url.signed_url).map_err(|_| ConnectFailure::BadResponse)
    }

    /// One attempt, bounded in time.
    pub(crate) async fn connect(&self) -> Result<AgentSocket, ConnectFailure> {
        tokio::time::timeout(limits::AGENT_CONNECT, self.connect_unbounded())
            .await
            .unwrap_or(Err(ConnectFailure::Timeout))
    }

    async fn connect_unbounded(&self) -> Result<AgentSocket, ConnectFailure> {
        let url = self.signed_url().await?;
        // No subprotocol is offered: a server that does not select an offered one would fail the handshake.
        let request = url.as_str().into_client_request().map_err(|_| ConnectFailure::BadResponse)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(limits::WS_READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(limits::AGENT_MESSAGE_MAX))
            .max_frame_size(Some(limits::AGENT_MESSAGE_MAX));
        let dialed = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
        dialed.map(|(socket, _)| socket).map_err(|error| failure_of(&error))
    }
}

fn failure_of(error: &WsError) -> ConnectFailure {
    match error {
        WsError::Http(response) => ConnectFailure::Http { status: response.status().as_u16() },
        WsError::Url(_) | WsError::Protocol(_) => ConnectFailure::BadResponse,
        _ => ConnectFailure::Network,
    }
}

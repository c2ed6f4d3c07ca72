//! Reaching an ElevenLabs agent: a fresh signed URL by REST, then its WebSocket.

use crate::limits;
use crate::settings::ElevenLabsSettings;
use axum::http::Uri;
use call::agent::{ConnectFailure, elevenlabs};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// An open socket to an agent.
pub type AgentSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Reaches agents; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AgentDialer {
    settings: ElevenLabsSettings,
    http: reqwest::Client,
}

#[derive(serde::Deserialize)]
struct SignedUrl {
    signed_url: String,
}

impl AgentDialer {
    /// # Errors
    /// When the HTTP client cannot be built (no TLS provider, for example).
    pub(crate) fn new(settings: ElevenLabsSettings) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(limits::AGENT_CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { settings, http })
    }

    /// Fetches a signed URL, good for one conversation that starts within a quarter of an hour.
    pub(crate) async fn signed_url(&self) -> Result<String, ConnectFailure> {
        let settings = &self.settings;
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
        open(request).await
    }
}

/// Opens a socket to an agent, with our limits. Every step is bounded by the caller's time limit.
pub(crate) async fn open(request: Request) -> Result<AgentSocket, ConnectFailure> {
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::WS_READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limits::AGENT_MESSAGE_MAX))
        .max_frame_size(Some(limits::AGENT_MESSAGE_MAX));
    let stream = reach(request.uri()).await?;
    let dialed = tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), None).await;
    dialed.map(|(socket, _)| socket).map_err(|error| failure_of(&error))
}

/// Connects with a small send buffer. The system's own would take minutes of audio for an agent whose network is gone,
/// and all that time the caller would talk to a dead line; this way the outbox fills and tells.
async fn reach(uri: &Uri) -> Result<TcpStream, ConnectFailure> {
    let host = uri.host().ok_or(ConnectFailure::BadResponse)?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("ws") { 80 } else { 443 });
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|_| ConnectFailure::Network)?;
    for address in addresses {
        if let Ok(stream) = connect(address).await {
            return Ok(stream);
        }
    }
    Err(ConnectFailure::Network)
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(limits::AGENT_SEND_BUFFER)?;
    // Frames of 300 bytes must not wait for company.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

fn failure_of(error: &WsError) -> ConnectFailure {
    match error {
        WsError::Http(response) => ConnectFailure::Http { status: response.status().as_u16() },
        WsError::Url(_) | WsError::Protocol(_) => ConnectFailure::BadResponse,
        _ => ConnectFailure::Network,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_agent_that_does_not_read_is_noticed_within_seconds_of_audio() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("ws://{}/x", listener.local_addr().unwrap()).parse().unwrap();
        let stream = reach(&uri).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        let mut taken = 0;
        // A frame of 20 ms as it travels.
        while tokio::time::timeout(Duration::from_millis(200), stream.writable()).await.is_ok() {
            taken += stream.try_write(&[b'x'; 250]).unwrap_or_default();
        }
        let audio_s = taken / (50 * 250);
        assert!(audio_s < 30, "{audio_s} s of audio went into the system's buffers");
    }
}

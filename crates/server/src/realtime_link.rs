//! Reaching a model of OpenAI: one WebSocket with the key in its handshake, and a cheap question whether it would work.
//!
//! There is no signed address as with ElevenLabs, since the socket is opened by us and the key never leaves the server.

use crate::agent_link;
pub use crate::agent_link::AgentSocket;
use crate::limits;
use crate::settings::OpenAiSettings;
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use call::agent::{ConnectFailure, realtime};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// The model that writes down what callers say.
pub const TRANSCRIPTION_MODEL: &str = "gpt-4o-mini-transcribe";

/// One attempt to open a session, bounded by [`limits::AGENT_CONNECT`]. What is said in it is
/// [`call::agent::RealtimeSession`]'s business.
///
/// # Errors
/// Why there is no socket: the service's status, the network, or time.
pub async fn connect_realtime(settings: &OpenAiSettings) -> Result<AgentSocket, ConnectFailure> {
    let mut request = realtime::session_url(&settings.base_url, &settings.model)
        .into_client_request()
        .map_err(|_| ConnectFailure::BadResponse)?;
    request.headers_mut().insert(AUTHORIZATION, authorization(settings)?);
    tokio::time::timeout(limits::AGENT_CONNECT, agent_link::open(request)).await.unwrap_or(Err(ConnectFailure::Timeout))
}

/// Asks whether the service is there, takes our key and has the model. Costs nothing and says nothing about anybody.
///
/// # Errors
/// Why a session could not be opened now.
pub async fn probe(settings: &OpenAiSettings, http: &reqwest::Client) -> Result<(), ConnectFailure> {
    let response = http
        .get(realtime::model_url(&settings.base_url, &settings.model))
        .header(AUTHORIZATION, authorization(settings)?)
        .timeout(limits::AGENT_CONNECT)
        .send()
        .await
        .map_err(|error| if error.is_timeout() { ConnectFailure::Timeout } else { ConnectFailure::Network })?;
    let status = response.status();
    if !status.is_success() {
        return Err(ConnectFailure::Http { status: status.as_u16() });
    }
    // Some gateway that answers everything kindly is no service.
    let described: Described = response.json().await.map_err(|_| ConnectFailure::BadResponse)?;
    if described.id == settings.model { Ok(()) } else { Err(ConnectFailure::BadResponse) }
}

/// A client for [`probe`].
///
/// # Errors
/// When it cannot be built (no TLS provider, for example).
pub fn probe_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

#[derive(serde::Deserialize)]
struct Described {
    id: String,
}

fn authorization(settings: &OpenAiSettings) -> Result<HeaderValue, ConnectFailure> {
    // A key that is no header value is a wrong key.
    let mut value = HeaderValue::from_str(&format!("Bearer {}", settings.api_key.expose_secret()))
        .map_err(|_| ConnectFailure::Http { status: 401 })?;
    value.set_sensitive(true);
    Ok(value)
}

//! What an operator can set. The binary reads these from the environment, a `.env` file or TOML; the server only uses
//! them.

use secrecy::SecretString;
use std::net::SocketAddr;

/// Effective settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub bind: SocketAddr,
    /// The address Twilio reaches us at, without a final `/`. Signatures are checked against it.
    pub public_base_url: String,
    /// The ElevenLabs agent; `None` when not configured.
    pub elevenlabs: Option<ElevenLabsSettings>,
    /// The Twilio account.
    pub twilio: TwilioSettings,
    /// Limits of a single call.
    pub call: call::CallConfig,
    /// Calls at once.
    pub max_calls: usize,
}

/// Access to an ElevenLabs agent.
#[derive(Debug, Clone)]
pub struct ElevenLabsSettings {
    /// REST and WebSocket base, such as `https://api.elevenlabs.io`.
    pub base_url: String,
    /// API key.
    pub api_key: SecretString,
    /// Agent identifier.
    pub agent_id: String,
}

/// Access to a Twilio account.
#[derive(Debug, Clone, Default)]
pub struct TwilioSettings {
    /// Account SID; a request of another account is refused.
    pub account_sid: Option<String>,
    /// The token that Twilio signs with. Without it no webhook is accepted.
    pub auth_token: Option<SecretString>,
    /// API key for REST, preferred over the token: SID and secret.
    pub api_key: Option<(String, SecretString)>,
    /// REST base, such as `https://api.twilio.com`.
    pub base_url: String,
}

impl Settings {
    /// The public address of `path`.
    #[must_use]
    pub fn public_url(&self, path: &str) -> String {
        format!("{}{path}", self.public_base_url.trim_end_matches('/'))
    }

    /// The public WebSocket address of `path`: `https` gives `wss`, `http` (local use) gives `ws`.
    #[must_use]
    pub fn public_ws_url(&self, path: &str) -> String {
        let url = self.public_url(path);
        match url.strip_prefix("http") {
            Some(rest) => format!("ws{rest}"),
            None => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websocket_addresses_follow_the_public_base() {
        let settings = |base: &str| Settings {
            bind: ([127, 0, 0, 1], 0).into(),
            public_base_url: base.into(),
            elevenlabs: None,
            twilio: TwilioSettings::default(),
            call: call::CallConfig::default(),
            max_calls: 1,
        };
        assert_eq!(settings("https://hv.example.org/").public_ws_url("/x"), "wss://hv.example.org/x");
        assert_eq!(settings("http://127.0.0.1:3000").public_ws_url("/x"), "ws://127.0.0.1:3000/x");
    }
}

//! What an operator can set. The binary reads these from the environment, a `.env` file or TOML; the server only uses
//! them.

use crate::client_address::TrustedProxies;
use crate::tls::TlsSettings;
use call::agent::Member;
use clinic::PhoneNumber;
use clinic::alerts::Policy;
use clinic::protocol::Protocol;
use clinic::risk::Model;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Effective settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub bind: SocketAddr,
    /// TLS on our own port; `None` when plain HTTP is spoken there, for local use or behind a proxy.
    pub tls: Option<TlsSettings>,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// How long a connection may go without an answer; see [`crate::limits::IDLE_CONNECTION`].
    pub idle_connection: Duration,
    /// The address Twilio reaches us at, without a final `/`. Signatures are checked against it.
    pub public_base_url: String,
    /// The ElevenLabs agent; `None` when not configured.
    pub elevenlabs: Option<ElevenLabsSettings>,
    /// A second ElevenLabs agent, for when the first does not answer; `None` when not configured.
    pub elevenlabs_backup: Option<ElevenLabsSettings>,
    /// A model of OpenAI, for when ElevenLabs does not answer; `None` when not configured.
    pub openai: Option<OpenAiSettings>,
    /// Who stands in when the agent fails, in order. Members that are not configured are passed over; nobody stands in
    /// after the script.
    pub backup_chain: Vec<Member>,
    /// The secret ElevenLabs signs its post-call messages with. Without it none is accepted.
    pub elevenlabs_webhook_secret: Option<SecretString>,
    /// The Twilio account.
    pub twilio: TwilioSettings,
    /// What Twilio asks about a call of ours when this server does not answer; an `https` address. Without it whoever picked
    /// up then hears an error.
    pub voice_fallback_url: Option<String>,
    /// The clinic's own identity provider, through which people may sign in.
    pub identity_provider: Option<IdentityProvider>,
    /// Where alerts go.
    pub staff: StaffSettings,
    /// Limits of a single call.
    pub call: call::CallConfig,
    /// Calls at once.
    pub max_calls: usize,
    /// What is asked.
    pub protocol: Arc<Protocol>,
    /// How what was learned is judged.
    pub model: Arc<Model>,
    /// A candidate that judges in the background; nobody is alerted by it.
    pub shadow_model: Option<Arc<Model>>,
    /// Where checkpoints of the audit trail are kept besides the database.
    pub audit_checkpoint_file: Option<PathBuf>,
    /// Calls that we make at once, all servers of a database together; see [`crate::limits::OUTGOING_CALLS`].
    pub max_outgoing_calls: usize,
    /// Calls that we begin in a second, all servers of a database together.
    pub outgoing_per_second: u32,
    /// Where records wait that the database does not take; `None` when nothing waits anywhere but in memory.
    pub spool_dir: Option<PathBuf>,
    /// What is done for a patient whose call broke off for a technical reason.
    pub fallback: clinic::fallback::Policy,
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

/// Access to OpenAI's Realtime API.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// REST and WebSocket base with its version, such as `https://api.openai.com/v1`; `http` means `ws`.
    pub base_url: String,
    /// API key.
    pub api_key: SecretString,
    /// The model, such as `gpt-realtime`.
    pub model: String,
    /// The service's voice, such as `marin`.
    pub voice: String,
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
    /// Our number: what calls and text messages come from. Without it neither is made.
    pub phone_number: Option<PhoneNumber>,
}

/// Sign-in through the clinic's own identity provider.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our password there; none for a public client.
    pub client_secret: Option<SecretString>,
    /// Whether the provider always asks for a second factor, so that we need not. Otherwise we ask, unless the provider
    /// says that it did.
    pub trust_second_factor: bool,
}

/// Whom to tell of alerts, how, and how patiently.
#[derive(Debug, Clone)]
pub struct StaffSettings {
    /// In the order in which they are told.
    pub contacts: Vec<StaffContact>,
    /// A program of the clinic that is told.
    pub webhook: Option<StaffWebhook>,
    /// The way out for mail.
    pub smtp: Option<SmtpSettings>,
    /// How long to wait for an acknowledgement, and when to be quiet.
    pub policy: Policy,
    /// Before a message that did not get out is tried for the second time; each further wait is three times as long.
    pub first_retry: Duration,
    /// Number for a warm transfer of a call to a person.
    pub nurse_line: Option<PhoneNumber>,
}

impl Default for StaffSettings {
    fn default() -> Self {
        Self {
            contacts: Vec::new(),
            webhook: None,
            smtp: None,
            policy: Policy::default(),
            first_retry: Duration::from_secs(2),
            nurse_line: None,
        }
    }
}

/// Somebody to be told, on every way that is set.
#[derive(Clone, Default)]
pub struct StaffContact {
    /// By text message.
    pub phone: Option<PhoneNumber>,
    /// By mail.
    pub email: Option<String>,
    /// By the webhook.
    pub webhook: bool,
}

impl std::fmt::Debug for StaffContact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StaffContact(redacted)")
    }
}

/// A program of the clinic that is told of alerts.
#[derive(Debug, Clone)]
pub struct StaffWebhook {
    /// Its address, which may hold a token.
    pub url: SecretString,
    /// The key of the signatures. Without it requests are not signed.
    pub secret: Option<SecretString>,
}

/// The way out for mail.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    /// `smtp://…` or `smtps://…`, with name and password.
    pub url: SecretString,
    /// The sender's address.
    pub from: String,
}

impl Settings {
    /// A server on this address with nothing configured: the shipped protocol and model, no agent, no Twilio, no staff.
    #[must_use]
    pub fn local(bind: SocketAddr) -> Self {
        Self {
            bind,
            tls: None,
            trusted_proxies: TrustedProxies::default(),
            idle_connection: crate::limits::IDLE_CONNECTION,
            public_base_url: format!("http://{bind}"),
            elevenlabs: None,
            elevenlabs_backup: None,
            openai: None,
            backup_chain: Vec::new(),
            elevenlabs_webhook_secret: None,
            twilio: TwilioSettings::default(),
            voice_fallback_url: None,
            identity_provider: None,
            staff: StaffSettings::default(),
            call: call::CallConfig::default(),
            max_calls: crate::limits::CALLS_MAX,
            max_outgoing_calls: crate::limits::OUTGOING_CALLS,
            outgoing_per_second: crate::limits::OUTGOING_PER_SECOND,
            protocol: Protocol::shipped(),
            model: Arc::default(),
            shadow_model: None,
            audit_checkpoint_file: None,
            spool_dir: None,
            fallback: clinic::fallback::Policy::default(),
        }
    }

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
        let settings =
            |base: &str| Settings { public_base_url: base.into(), ..Settings::local(([127, 0, 0, 1], 0).into()) };
        assert_eq!(settings("https://hv.example.org/").public_ws_url("/x"), "wss://hv.example.org/x");
        assert_eq!(settings("http://127.0.0.1:3000").public_ws_url("/x"), "ws://127.0.0.1:3000/x");
    }
}

//! Sign-in through a clinic's own identity provider: OpenID Connect, authorization code flow with PKCE.
//!
//! [`OidcClient::start`] gives the address to send the browser to and a sealed cookie; the provider sends the browser back
//! with a code, and [`OidcClient::finish`] exchanges that for an ID token, checks it, and says whom it names. Whether that
//! person is a user here, and with which role, is not the provider's to say: the caller looks up issuer and subject, which
//! together name a person for ever. A mail address is only good for showing it, or for a first link that an admin made.
//!
//! Everything that comes from outside is bounded: answers in bytes, requests in time, exchanges in number, and the
//! provider's keys are asked for again at most twice a minute, however many tokens name unknown ones.

mod flow;
mod http;
mod token;

pub use flow::FLOW_LIFETIME_S;
pub use token::{SKEW_MAX_S, TokenFault};

use super::NoRandomness;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flow::{Flow, Flows};
use http::{Http, Provider};
use secrecy::SecretString;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use token::{Expected, Keys};
use tokio::sync::{Mutex, Semaphore};

/// Exchanges at once; each holds a connection for seconds at most. Full: [`OidcError::Busy`].
const EXCHANGES: usize = 16;
/// How long what the provider says about itself, and its keys, are believed without asking again. A key that the provider
/// withdraws is refused after this time at the latest.
const LIFETIME_US: i64 = 3_600 * 1_000_000;
/// Least time between two requests for the keys, or for the description after a failure.
const ASK_AGAIN_US: i64 = 30 * 1_000_000;
/// Longest code that is passed on.
const CODE_MAX_BYTES: usize = 2_048;

/// Access to an identity provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The provider's issuer identifier, exactly as it writes it itself, such as `https://login.clinic.example/realm`.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our password there; none for a public client, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    /// Where the browser comes back to, as registered there: `PUBLIC_BASE_URL` and the route.
    pub redirect_uri: String,
}

/// Whom the provider signed in.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person there; unique together with the issuer and never given to another person.
    pub subject: String,
    /// Their mail address, if the provider tells it. Not an identity: addresses are handed on.
    pub email: Option<String>,
    /// Whether the provider has checked that the address is theirs.
    pub email_verified: bool,
    /// Whether the provider says that they showed more than one factor (`amr` holds `mfa`).
    pub several_factors: bool,
}

/// Shows no subject and no address.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Where to send a browser that wants to sign in.
pub struct Start {
    /// For the header `Location`, with status 303.
    pub location: String,
    /// Value for [`super::cookie::Cookies::set_flow`], with [`FLOW_LIFETIME_S`].
    pub sealed: String,
}

/// What a browser brings back, as query of the redirect address.
#[derive(Clone, Default, Deserialize)]
pub struct Answer {
    /// To be exchanged for the ID token.
    pub code: Option<String>,
    /// Names the flow.
    pub state: Option<String>,
    /// Instead of a code.
    pub error: Option<String>,
    /// The provider, if it follows RFC 9207.
    pub iss: Option<String>,
}

/// A finished sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub identity: Identity,
    /// The path of ours that they wanted.
    pub return_to: String,
}

/// Why a sign-in at the provider did not succeed. Tells neither names nor codes nor what the provider wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The settings cannot work.
    #[error("sign-in through the identity provider cannot be set up: {0}")]
    Setup(&'static str),
    /// No answer, or none in time.
    #[error("the identity provider cannot be reached; check its address and the network")]
    Unreachable,
    /// Too many exchanges at once: answer 503.
    #[error("too many sign-ins at once; try again in a second")]
    Busy,
    /// The provider's description or keys make no sense.
    #[error("the identity provider's {0} cannot be used")]
    Provider(&'static str),
    /// The person did not agree, or the provider does not let them in here.
    #[error("the identity provider did not sign you in")]
    Denied,
    /// No cookie, one of another browser, or one that was used: begin again.
    #[error("this answer belongs to no sign-in of this browser; begin again")]
    Flow,
    /// More than ten minutes: begin again.
    #[error("the sign-in took too long; begin again")]
    TooLate,
    /// The provider does not take the code.
    #[error(
        "the identity provider refused the exchange with status {status}; check client id, secret and redirect address"
    )]
    Exchange {
        /// HTTP status.
        status: u16,
    },
    /// The ID token is not believed.
    #[error("the ID token is refused: {0}")]
    Token(#[from] TokenFault),
    /// No random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The client of one provider; one for the process, shared.
pub struct OidcClient {
    settings: OidcSettings,
    http: Http,
    flows: Flows,
    known: Mutex<Known>,
    exchanges: Semaphore,
}

impl fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What we know of the provider, and since when.
#[derive(Default)]
struct Known {
    provider: Option<(Arc<Provider>, i64)>,
    failed_us: Option<i64>,
    keys: Option<(Keys, i64)>,
    asked_keys_us: Option<i64>,
}

impl OidcClient {
    /// Asks nobody yet: a provider that is down keeps no server from starting. `flow_key` seals what the browser keeps
    /// meanwhile; all processes behind one address need the same, derived from the master key for this purpose alone.
    ///
    /// # Errors
    /// [`OidcError::Setup`] when an address is neither https nor a loopback address, or the HTTP client cannot be built.
    pub fn new(settings: OidcSettings, flow_key: &[u8; 32]) -> Result<Self, OidcError> {
        http::endpoint(&settings.issuer).ok_or(OidcError::Setup("expected an issuer that is an https address"))?;
        http::endpoint(&settings.redirect_uri)
            .ok_or(OidcError::Setup("expected a redirect address with https (PUBLIC_BASE_URL)"))?;
        if settings.client_id.is_empty() {
            return Err(OidcError::Setup("expected a client id"));
        }
        Ok(Self {
            http: Http::new()?,
            flows: Flows::new(flow_key)?,
            known: Mutex::default(),
            exchanges: Semaphore::new(EXCHANGES),
            settings,
        })
    }

    /// Begins a sign-in. `return_to` is where the person wanted to go; anything but a path of ours becomes `/`.
    ///
    /// # Errors
    /// [`OidcError`] when the provider cannot be asked where it is.
    pub async fn start(&self, return_to: &str, now_us: i64) -> Result<Start, OidcError> {
        let provider = self.provider(now_us).await?;
        let flow = Flow::begin(return_to, now_us)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, flow.verifier.as_bytes()).as_ref());
        let mut location = provider.authorization.clone();
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.settings.redirect_uri)
            .append_pair("scope", "openid email")
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Start { location: location.into(), sealed: self.flows.seal(&flow)? })
    }

    /// Ends a sign-in: `sealed` is the cookie of [`super::cookie::Cookies::flow`]. Whatever comes out, the caller clears
    /// that cookie.
    ///
    /// # Errors
    /// [`OidcError`]; nobody is signed in then.
    pub async fn finish(&self, answer: &Answer, sealed: &str, now_us: i64) -> Result<SignedIn, OidcError> {
        let flow = self.flows.take(sealed, answer.state.as_deref().unwrap_or_default(), now_us)?;
        if answer.iss.as_deref().is_some_and(|iss| iss != self.settings.issuer) {
            return Err(OidcError::Token(TokenFault::Issuer));
        }
        if answer.error.is_some() {
            return Err(OidcError::Denied);
        }
        let code = answer.code.as_deref().filter(|code| !code.is_empty() && code.len() <= CODE_MAX_BYTES);
        let code = code.ok_or(OidcError::Denied)?;
        let _place = self.exchanges.try_acquire().map_err(|_| OidcError::Busy)?;
        let provider = self.provider(now_us).await?;
        let token = self.http.exchange(&provider, &self.settings, code, &flow.verifier).await?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &flow.nonce,
            began_s: flow.began_us / 1_000_000,
            now_s: now_us / 1_000_000,
        };
        let mut checked = token::check(&token, &self.keys(&provider, now_us, false).await?, &expected);
        if checked == Err(TokenFault::UnknownKey) {
            // The provider has changed its keys since we asked.
            checked = token::check(&token, &self.keys(&provider, now_us, true).await?, &expected);
        }
        Ok(SignedIn { identity: checked?, return_to: flow.return_to })
    }

    /// What the provider says about itself; asked for when it is not known or too old. Those who need it meanwhile wait
    /// for the one request, and after a failure nobody asks for a while.
    async fn provider(&self, now_us: i64) -> Result<Arc<Provider>, OidcError> {
        let mut known = self.known.lock().await;
        if let Some((provider, since_us)) = &known.provider
            && is_within(*since_us, now_us, LIFETIME_US)
        {
            return Ok(provider.clone());
        }
        if known.failed_us.is_some_and(|failed_us| is_within(failed_us, now_us, ASK_AGAIN_US)) {
            return Err(OidcError::Unreachable);
        }
        let found = self.http.discover(&self.settings.issuer).await;
        known.failed_us = found.is_err().then_some(now_us);
        let provider = Arc::new(found?);
        known.provider = Some((provider.clone(), now_us));
        Ok(provider)
    }

    /// The provider's keys; `changed` when those that we have do not fit.
    async fn keys(&self, provider: &Provider, now_us: i64, changed: bool) -> Result<Keys, OidcError> {
        let mut known = self.known.lock().await;
        let asked = known.asked_keys_us.is_some_and(|asked_us| is_within(asked_us, now_us, ASK_AGAIN_US));
        if let Some((keys, since_us)) = &known.keys
            && (asked || (!changed && is_within(*since_us, now_us, LIFETIME_US)))
        {
            return Ok(keys.clone());
        }
        if asked {
            return Err(OidcError::Unreachable);
        }
        known.asked_keys_us = Some(now_us);
        let keys = self.http.keys(provider).await?;
        known.keys = Some((keys.clone(), now_us));
        Ok(keys)
    }
}

/// Whether something is at most so old. What comes from the future (a clock was set back) is too old.
fn is_within(since_us: i64, now_us: i64, lifetime_us: i64) -> bool {
    (0..=lifetime_us).contains(&now_us.saturating_sub(since_us))
}

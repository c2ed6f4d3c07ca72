//! A stand-in identity provider: OpenID Connect with the authorization code flow, PKCE, and the faults that a real one,
//! or somebody in its place, may show.
//!
//! Whoever arrives at `/authorize` is signed in as the one test user at once. Tokens are made here by hand from the
//! primitives, not with the library that the server checks them with, so a mistake in one is not repeated by the other.

use crate::SimError;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Codes remembered; more than any test asks for.
const CODES_MAX: usize = 1_000;

/// Which kind of key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signing {
    /// ECDSA on P-256.
    #[default]
    Es256,
    /// RSA with 2048 bits.
    Rs256,
}

/// What the provider does wrong from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The token carries another nonce than the one asked for.
    WrongNonce,
    /// The token carries none.
    NoNonce,
    /// The token is for another client.
    WrongAudience,
    /// The token is for us and for another client, and made for the other.
    ForeignParty,
    /// The token names another issuer.
    WrongIssuer,
    /// The token has expired six minutes ago.
    Expired,
    /// The token was issued six minutes from now.
    FromTheFuture,
    /// The token is not signed and says so.
    AlgNone,
    /// The token is signed by HMAC with the public key as the secret.
    HmacWithPublicKey,
    /// The token is signed with a key of the right name that is not the published one.
    WrongKey,
    /// The token is signed with a key that is not published, under its own name.
    UnpublishedKey,
    /// The browser is sent back with a code that was exchanged before.
    ReplayedCode,
    /// The browser is sent back with another state.
    WrongState,
    /// The browser is sent back with the name of another provider.
    MixUp,
    /// The person says no.
    Denied,
    /// The answer to the exchange has no end.
    HugeAnswer,
    /// The exchange fails.
    ServerError,
    /// The description names another issuer.
    WrongDescription,
    /// The description has an address with plain http to elsewhere.
    PlainEndpoint,
}

/// Settings of the provider.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The client that is registered.
    pub client_id: String,
    /// Its secret; `None`: a public client.
    pub client_secret: Option<String>,
    /// Where browsers may be sent back to.
    pub redirect_uri: String,
    /// Subject of the test user.
    pub subject: String,
    /// Mail address of the test user.
    pub email: String,
    /// Kind of key.
    pub signing: Signing,
    /// The secret is wanted in the form instead of the header.
    pub secret_in_form: bool,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_id: "heartvoice".to_owned(),
            client_secret: Some("secret: 100% & more".to_owned()),
            redirect_uri: "http://127.0.0.1/auth/oidc/callback".to_owned(),
            subject: "user-1".to_owned(),
            email: "nurse@clinic.example".to_owned(),
            signing: Signing::Es256,
            secret_in_form: false,
        }
    }
}

/// How often each address was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OidcStats {
    /// The description.
    pub descriptions: u64,
    /// The keys.
    pub keys: u64,
    /// Exchanges, whatever their end.
    pub exchanges: u64,
    /// Exchanges that gave a token.
    pub tokens: u64,
}

/// A running provider; it stops when dropped.
#[derive(Debug)]
pub struct OidcSim {
    provider: Arc<Provider>,
    stop: CancellationToken,
}

impl Drop for OidcSim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Debug)]
struct Provider {
    config: OidcConfig,
    base: String,
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    fault: Fault,
    key: SigningKey,
    keys_made: u32,
    codes: BTreeMap<String, Granted>,
    last_used: Option<String>,
    stats: OidcStats,
}

/// What a code stands for.
#[derive(Debug, Clone)]
struct Granted {
    challenge: String,
    nonce: Option<String>,
}

impl OidcSim {
    /// Starts listening.
    ///
    /// # Errors
    /// [`SimError`] when the address is taken or no key can be made.
    pub async fn start(config: OidcConfig) -> Result<Self, SimError> {
        let listen = |source| SimError::Listen { addr: config.listen, source };
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let state = Mutex::new(Inner {
            fault: Fault::None,
            key: SigningKey::generate(config.signing, "key-1".to_owned())?,
            keys_made: 1,
            codes: BTreeMap::new(),
            last_used: None,
            stats: OidcStats::default(),
        });
        let provider = Arc::new(Provider { base: format!("http://{address}"), config, state });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(description))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(provider.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { provider, stop })
    }

    /// The issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.provider.base.clone()
    }

    /// What to do wrong from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.provider.state().fault = fault;
    }

    /// Signs with a new key from now on; the old one is no longer published.
    ///
    /// # Errors
    /// [`SimError`] when no key can be made.
    pub fn rotate_keys(&self) -> Result<(), SimError> {
        let mut state = self.provider.state();
        state.keys_made += 1;
        state.key = SigningKey::generate(self.provider.config.signing, format!("key-{}", state.keys_made))?;
        Ok(())
    }

    /// What was asked so far.
    #[must_use]
    pub fn stats(&self) -> OidcStats {
        self.provider.state().stats
    }
}

impl Provider {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn description(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let mut state = provider.state();
    state.stats.descriptions += 1;
    let base = &provider.base;
    let issuer = if state.fault == Fault::WrongDescription { "https://other.example" } else { base };
    let token = if state.fault == Fault::PlainEndpoint { "http://other.example" } else { base };
    let method = if provider.config.secret_in_form { "client_secret_post" } else { "client_secret_basic" };
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/authorize?tenant=1"),
        "token_endpoint": format!("{token}/token"),
        "jwks_uri": format!("{base}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [state.key.algorithm()],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [method],
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let mut state = provider.state();
    state.stats.keys += 1;
    // Real key sets hold keys for other purposes too.
    let other =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    Json(json!({"keys": [other, state.key.published()]}))
}

#[derive(Deserialize)]
struct Authorize {
    tenant: Option<String>,
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: String,
    nonce: Option<String>,
    code_challenge: String,
    code_challenge_method: String,
}

async fn authorize(State(provider): State<Arc<Provider>>, Query(query): Query<Authorize>) -> Response {
    let config = &provider.config;
    let fits = query.response_type == "code"
        && query.tenant.as_deref() == Some("1")
        && query.client_id == config.client_id
        && query.redirect_uri == config.redirect_uri
        && query.code_challenge_method == "S256"
        && query.code_challenge.len() == 43
        && query.state.len() >= 22
        && query.scope.split(' ').any(|scope| scope == "openid");
    let Some(code) = random_text().filter(|_| fits) else {
        return (StatusCode::BAD_REQUEST, "the request for authorization is wrong").into_response();
    };
    let mut state = provider.state();
    if state.codes.len() >= CODES_MAX {
        state.codes.pop_first();
    }
    state.codes.insert(code.clone(), Granted { challenge: query.code_challenge, nonce: query.nonce });
    let code = match (state.fault, &state.last_used) {
        (Fault::ReplayedCode, Some(used)) => used.clone(),
        _ => code,
    };
    let issuer = if state.fault == Fault::MixUp { "https://other.example" } else { provider.base.as_str() };
    let returned = if state.fault == Fault::WrongState { "another" } else { query.state.as_str() };
    let mut back = match reqwest::Url::parse(&config.redirect_uri) {
        Ok(back) => back,
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    match state.fault {
        Fault::Denied => back.query_pairs_mut().append_pair("error", "access_denied"),
        _ => back.query_pairs_mut().append_pair("code", &code),
    };
    back.query_pairs_mut().append_pair("state", returned).append_pair("iss", issuer);
    (StatusCode::SEE_OTHER, [(header::LOCATION, back.to_string())]).into_response()
}

#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    code: String,
    redirect_uri: String,
    code_verifier: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, Form(form): Form<Exchange>) -> Response {
    let refuse = |status: StatusCode, error: &str| (status, Json(json!({ "error": error }))).into_response();
    let mut state = provider.state();
    state.stats.exchanges += 1;
    if !knows_client(&provider.config, &headers, &form) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    match state.fault {
        Fault::HugeAnswer => return "x".repeat(4 * 1024 * 1024).into_response(),
        Fault::ServerError => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => {}
    }
    // A code counts once, also when the rest of the request is wrong.
    let Some(granted) = state.codes.remove(&form.code) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    state.last_used = Some(form.code.clone());
    let verifier = form.code_verifier.unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
    let fits = form.grant_type == "authorization_code"
        && form.redirect_uri == provider.config.redirect_uri
        && (43..=128).contains(&verifier.len())
        && challenge == granted.challenge;
    if !fits {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let claims = claims(&provider, state.fault, granted.nonce);
    match state.key.token(&claims, state.fault) {
        Ok(token) => {
            state.stats.tokens += 1;
            let answer = json!({"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token});
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether the client shows its secret in the way that was described.
fn knows_client(config: &OidcConfig, headers: &HeaderMap, form: &Exchange) -> bool {
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    match (&config.client_secret, config.secret_in_form) {
        (None, _) => basic.is_none() && form.client_id.as_ref() == Some(&config.client_id),
        (Some(secret), true) => {
            basic.is_none()
                && form.client_id.as_ref() == Some(&config.client_id)
                && form.client_secret.as_ref() == Some(secret)
        }
        (Some(secret), false) => {
            let shown = basic.and_then(|basic| String::from_utf8(STANDARD.decode(basic).ok()?).ok());
            // What stands behind the colon is form-encoded once more, as a field of a form would be.
            let shown = shown.and_then(|shown| {
                let (id, secret) = shown.split_once(':')?;
                let url = reqwest::Url::parse(&format!("http://x/?id={id}&secret={secret}")).ok()?;
                Some(url.query_pairs().map(|(_, value)| value.into_owned()).collect::<Vec<_>>())
            });
            form.client_secret.is_none() && shown == Some(vec![config.client_id.clone(), secret.clone()])
        }
    }
}

fn claims(provider: &Provider, fault: Fault, nonce: Option<String>) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let client = &provider.config.client_id;
    let mut claims = json!({
        "iss": provider.base, "sub": provider.config.subject, "aud": client, "iat": now, "exp": now + 300,
        "nonce": nonce, "email": provider.config.email, "email_verified": true,
    });
    let changes = match fault {
        Fault::WrongNonce => json!({"nonce": "another"}),
        Fault::NoNonce => json!({"nonce": null}),
        Fault::WrongAudience => json!({"aud": "another"}),
        Fault::ForeignParty => json!({"aud": [client, "another"], "azp": "another"}),
        Fault::WrongIssuer => json!({"iss": "https://other.example"}),
        Fault::Expired => json!({"iat": now.saturating_sub(420), "exp": now.saturating_sub(360)}),
        Fault::FromTheFuture => json!({"iat": now + 360, "exp": now + 720}),
        _ => json!({}),
    };
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

#[derive(Debug)]
struct SigningKey {
    id: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    fn generate(signing: Signing, id: String) -> Result<Self, SimError> {
        let failed = || SimError::Config("no signing key could be made".to_owned());
        let pair = match signing {
            Signing::Es256 => {
                Pair::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| failed())?))
            }
            Signing::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?)),
        };
        Ok(Self { id, pair })
    }

    fn signing(&self) -> Signing {
        match self.pair {
            Pair::Ec(_) => Signing::Es256,
            Pair::Rsa(_) => Signing::Rs256,
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The bytes of the public key: an uncompressed point, or the structure `RSAPublicKey` of RFC 8017.
    fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn published(&self) -> Value {
        let part = |from: usize, length: usize| {
            let bytes = self.public().get(from..from + length).unwrap_or_default();
            URL_SAFE_NO_PAD.encode(bytes)
        };
        match self.pair {
            Pair::Ec(_) => json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
                                  "x": part(1, 32), "y": part(33, 32)}),
            // With 2048 bits and the exponent 65537 every field of the structure has a fixed place: the modulus follows
            // nine bytes of headers and a zero, the exponent two more.
            Pair::Rsa(_) => json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
                                   "n": part(9, 256), "e": part(267, 3)}),
        }
    }

    fn token(&self, claims: &Value, fault: Fault) -> Result<String, SimError> {
        let (algorithm, id) = match fault {
            Fault::AlgNone => ("none", self.id.as_str()),
            Fault::HmacWithPublicKey => ("HS256", self.id.as_str()),
            Fault::UnpublishedKey => (self.algorithm(), "key-of-nobody"),
            _ => (self.algorithm(), self.id.as_str()),
        };
        let header = json!({"typ": "JWT", "alg": algorithm, "kid": id});
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = match fault {
            Fault::AlgNone => Vec::new(),
            Fault::HmacWithPublicKey => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.public()), text.as_bytes()).as_ref().to_vec()
            }
            Fault::WrongKey | Fault::UnpublishedKey => {
                Self::generate(self.signing(), String::new())?.sign(text.as_bytes())?
            }
            _ => self.sign(text.as_bytes())?,
        };
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimError> {
        let random = SystemRandom::new();
        let failed = |_| SimError::Config("the token could not be signed".to_owned());
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn random_text() -> Option<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

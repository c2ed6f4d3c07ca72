//! Vault's Transit engine over HTTP: encrypt, decrypt and look at one named key.
//!
//! Requests are JSON with base64 inside; a ciphertext reads `vault:v2:...`, where the number is the version of the key.
//! Every request has a time limit, answers have a size limit, and what may pass in a moment (no connection, a sealed or
//! busy service) is tried a few times. The service's explanations are looked at and thrown away: they may repeat what
//! was sent.

use super::{KEY_LEN, KeyServiceError, is_loopback, key_of, local};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// How to reach Vault and which of its keys to use.
#[derive(Debug, Clone)]
pub struct TransitConfig {
    /// `VAULT_ADDR`: `https://HOST:PORT`; http only on this machine itself.
    pub address: String,
    /// `VAULT_TRANSIT_MOUNT`: where the engine is mounted, usually `transit`.
    pub mount: String,
    /// `VAULT_TRANSIT_KEY`: name of the key.
    pub key: String,
    /// `VAULT_NAMESPACE`, where there are namespaces.
    pub namespace: Option<String>,
    /// Who we are.
    pub token: VaultToken,
    /// `VAULT_CACERT`: a PEM file of certificates to be trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Pause before the first repetition of a failed request; it doubles each time.
    pub retry_pause: Duration,
}

/// Where the token comes from.
#[derive(Debug, Clone)]
pub enum VaultToken {
    /// `VAULT_TOKEN`.
    Fixed(SecretString),
    /// `VAULT_TOKEN_FILE`, kept fresh by somebody else (such as Vault Agent); read before every request.
    File(PathBuf),
}

/// What Vault says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransitKey {
    /// The version that wraps now.
    pub latest_version: u64,
    /// The oldest version that still unwraps.
    pub min_decryption_version: u64,
    /// Whether keys are derived per context; both kinds can be used.
    pub derived: bool,
}

/// A key of Vault's Transit engine.
pub struct VaultTransit {
    http: Client,
    config: TransitConfig,
}

/// How often a request is made, at most.
const ATTEMPTS: u32 = 5;
const PAUSE_MAX: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer, at most: a key with a thousand versions takes half of it.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// A token file, at most; tokens have about a hundred characters.
const TOKEN_MAX_BYTES: u64 = 4096;
const WRAPPED_MAX_BYTES: usize = 1024;
/// Types of keys that bind a ciphertext to associated data.
const TYPES: [&str; 3] = ["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305"];

impl TransitConfig {
    /// Reads the settings by the names of their environment variables; `None` when `VAULT_TRANSIT_KEY` is not set.
    ///
    /// # Errors
    /// [`KeyServiceError::Invalid`] naming the setting and what was expected.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, KeyServiceError> {
        let given = |name| setting(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(key) = given("VAULT_TRANSIT_KEY") else { return Ok(None) };
        let invalid = |what, expected| KeyServiceError::Invalid { what, expected };
        let address =
            given("VAULT_ADDR").ok_or_else(|| invalid("VAULT_ADDR", "https://HOST:PORT of the Vault server"))?;
        let token = match (given("VAULT_TOKEN_FILE"), given("VAULT_TOKEN")) {
            (Some(file), _) => VaultToken::File(file.into()),
            (None, Some(token)) => VaultToken::Fixed(SecretString::from(token)),
            (None, None) => return Err(invalid("VAULT_TOKEN", "a token (or VAULT_TOKEN_FILE, a file that holds one)")),
        };
        Ok(Some(Self {
            address,
            mount: given("VAULT_TRANSIT_MOUNT").unwrap_or_else(|| "transit".to_owned()),
            key,
            namespace: given("VAULT_NAMESPACE"),
            token,
            ca_file: given("VAULT_CACERT").map(PathBuf::from),
            retry_pause: RETRY_PAUSE,
        }))
    }
}

impl VaultTransit {
    /// Sets the connection up; nothing is sent. Reads the file of certificates, if there is one.
    ///
    /// # Errors
    /// [`KeyServiceError::Invalid`] for settings that cannot be used.
    pub fn new(mut config: TransitConfig) -> Result<Self, KeyServiceError> {
        let invalid = |what, expected| KeyServiceError::Invalid { what, expected };
        let address = || invalid("VAULT_ADDR", "https://HOST:PORT without a path; http only on this machine itself");
        let url = Url::parse(&config.address).map_err(|_| address())?;
        let encrypted = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if !encrypted || url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err(address());
        }
        config.address.truncate(config.address.trim_end_matches('/').len());
        config.mount = config.mount.trim_matches('/').to_owned();
        if !config.mount.split('/').all(is_name) {
            return Err(invalid("VAULT_TRANSIT_MOUNT", "the path of the engine: letters, digits, _, -, . and /"));
        }
        if !is_name(&config.key) {
            return Err(invalid("VAULT_TRANSIT_KEY", "the name of a key: letters, digits, _, - and ."));
        }
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &config.ca_file {
            let certificates = std::fs::read(file).ok().and_then(|pem| Certificate::from_pem_bundle(&pem).ok());
            let certificates = certificates.filter(|found| !found.is_empty());
            let certificates = certificates.ok_or_else(|| invalid("VAULT_CACERT", "a file of PEM certificates"))?;
            client = client.tls_certs_only(certificates);
        }
        let http = client.build().map_err(|source| local("set up an HTTP client", source.without_url()))?;
        Ok(Self { http, config })
    }

    /// What Vault says about the key.
    ///
    /// # Errors
    /// [`KeyServiceError::NoSuchKey`], [`KeyServiceError::Unsuitable`], or what else went wrong.
    pub async fn key(&self) -> Result<TransitKey, KeyServiceError> {
        let doing = "looking at the key";
        let answer = self.ask(Method::GET, "keys", None, doing).await?;
        let data = answer.get("data").unwrap_or(&Value::Null);
        let number = |name| data.get(name).and_then(Value::as_u64);
        let kind = data.get("type").and_then(Value::as_str);
        let (Some(kind), Some(latest_version), Some(min_decryption_version)) =
            (kind, number("latest_version"), number("min_decryption_version"))
        else {
            return Err(KeyServiceError::Unreadable { doing });
        };
        if !TYPES.contains(&kind) {
            return Err(KeyServiceError::Unsuitable { why: "is of another type than aes256-gcm96" });
        }
        if data.get("exportable").and_then(Value::as_bool) == Some(true) {
            return Err(KeyServiceError::Unsuitable { why: "may be exported; create one that may not" });
        }
        let derived = data.get("derived").and_then(Value::as_bool).unwrap_or(false);
        Ok(TransitKey { latest_version, min_decryption_version, derived })
    }

    pub(super) fn id(&self) -> String {
        format!("vault:{}/{}", self.config.mount, self.config.key)
    }

    pub(super) async fn wrap(&self, plain: &[u8; KEY_LEN], context: &str) -> Result<Vec<u8>, KeyServiceError> {
        let doing = "wrapping a key";
        let context = STANDARD.encode(context);
        let plaintext = Zeroizing::new(STANDARD.encode(plain));
        // A derived key wants the context; any key takes it as associated data.
        let mut body = json!({"plaintext": *plaintext, "context": context, "associated_data": context});
        let answer = self.ask(Method::POST, "encrypt", Some(&body), doing).await;
        wipe(&mut body, "plaintext");
        let answer = answer?;
        let wrapped = answer.pointer("/data/ciphertext").and_then(Value::as_str).unwrap_or_default();
        if version_of(wrapped.as_bytes()).is_none() {
            return Err(KeyServiceError::Unreadable { doing });
        }
        Ok(wrapped.as_bytes().to_vec())
    }

    pub(super) async fn unwrap(
        &self,
        wrapped: &[u8],
        context: &str,
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyServiceError> {
        let doing = "unwrapping a key";
        let ciphertext = std::str::from_utf8(wrapped).ok().filter(|_| version_of(wrapped).is_some());
        let ciphertext = ciphertext.ok_or(KeyServiceError::DoesNotOpen)?;
        let context = STANDARD.encode(context);
        let body = json!({"ciphertext": ciphertext, "context": context, "associated_data": context});
        let mut answer = self.ask(Method::POST, "decrypt", Some(&body), doing).await?;
        let plaintext = answer.pointer("/data/plaintext").and_then(Value::as_str);
        let plain = plaintext.and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
        if let Some(data) = answer.get_mut("data") {
            wipe(data, "plaintext");
        }
        key_of(&plain.ok_or(KeyServiceError::Unreadable { doing })?)
    }

    /// Makes a request until it is answered for good, a few times at most.
    async fn ask(
        &self,
        method: Method,
        verb: &'static str,
        body: Option<&Value>,
        doing: &'static str,
    ) -> Result<Value, KeyServiceError> {
        let mut pause = self.config.retry_pause;
        let mut attempt = 1;
        loop {
            match self.ask_once(method.clone(), verb, body, doing).await {
                Err(KeyServiceError::Unreachable { .. } | KeyServiceError::Unavailable { .. })
                    if attempt < ATTEMPTS =>
                {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once(
        &self,
        method: Method,
        verb: &'static str,
        body: Option<&Value>,
        doing: &'static str,
    ) -> Result<Value, KeyServiceError> {
        let url = format!("{}/v1/{}/{verb}/{}", self.config.address, self.config.mount, self.config.key);
        let mut request = self.http.request(method, url).headers(self.headers(doing).await?);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |source: reqwest::Error| KeyServiceError::Unreachable { doing, source: source.without_url() };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Zeroizing::new(Vec::with_capacity(1024));
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(KeyServiceError::Unreadable { doing });
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|_| KeyServiceError::Unreadable { doing });
        }
        Err(refusal(status, &answer, verb, doing))
    }

    async fn headers(&self, doing: &'static str) -> Result<HeaderMap, KeyServiceError> {
        let token = match &self.config.token {
            VaultToken::Fixed(token) => token.clone(),
            VaultToken::File(path) => read_token(path.clone()).await?,
        };
        let mut headers = HeaderMap::new();
        let mut token =
            HeaderValue::from_str(token.expose_secret()).map_err(|_| KeyServiceError::Forbidden { doing })?;
        token.set_sensitive(true);
        headers.insert("x-vault-token", token);
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.config.namespace {
            let namespace = HeaderValue::from_str(namespace);
            let expected = "letters, digits, _, -, . and /";
            let invalid = |_| KeyServiceError::Invalid { what: "VAULT_NAMESPACE", expected };
            headers.insert("x-vault-namespace", namespace.map_err(invalid)?);
        }
        Ok(headers)
    }
}

impl std::fmt::Debug for VaultTransit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultTransit").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Sorts a refusal by what can be done about it. For a 400 Vault explains itself in words only.
fn refusal(status: StatusCode, answer: &[u8], verb: &str, doing: &'static str) -> KeyServiceError {
    let explained = |words: &str| {
        let answer: Option<Value> = serde_json::from_slice(answer).ok();
        let errors = answer.as_ref().and_then(|answer| answer.get("errors")).and_then(Value::as_array);
        errors.into_iter().flatten().filter_map(Value::as_str).any(|error| error.contains(words))
    };
    match status.as_u16() {
        401 | 403 => KeyServiceError::Forbidden { doing },
        404 => KeyServiceError::NoSuchKey,
        400 if explained("key not found") => KeyServiceError::NoSuchKey,
        // In all versions a refused version is told in these words: "disallowed by policy (too old)".
        400 | 500 if explained("too old") => KeyServiceError::Retired,
        400 if verb == "decrypt" => KeyServiceError::DoesNotOpen,
        // 412: this server has not yet heard of what another one of its cluster did. 473: a standby.
        408 | 412 | 429 | 473 | 500..=599 => KeyServiceError::Unavailable { doing, status: status.as_u16() },
        status => KeyServiceError::Refused { doing, status },
    }
}

/// The version of the key in a ciphertext `vault:v3:BASE64`; `None` when it is none.
pub(super) fn version_of(wrapped: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(wrapped).ok().filter(|text| text.len() <= WRAPPED_MAX_BYTES)?;
    let (version, sealed) = text.strip_prefix("vault:v")?.split_once(':')?;
    let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    if digits && STANDARD.decode(sealed).is_ok_and(|sealed| !sealed.is_empty()) { version.parse().ok() } else { None }
}

/// A part of a path that stands for itself.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=128).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(plain)
}

async fn read_token(path: PathBuf) -> Result<SecretString, KeyServiceError> {
    let doing = "read VAULT_TOKEN_FILE";
    let read = move || {
        use std::io::Read;
        let mut text = Zeroizing::new(String::new());
        std::fs::File::open(path)?.take(TOKEN_MAX_BYTES).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(SecretString::from(text.trim()))
    };
    let text = tokio::task::spawn_blocking(read).await.map_err(|source| local(doing, source))?;
    text.map_err(|source| local(doing, source))
}

/// Overwrites a secret in a JSON object before its memory is given back.
fn wipe(value: &mut Value, name: &str) {
    if let Some(Value::String(secret)) = value.get_mut(name) {
        secret.zeroize();
    }
}

//! The three requests to an identity provider: its description, its keys, and the exchange of a code. Short waits, small
//! answers, no redirects, and https except to this machine itself.

use super::token::Keys;
use super::{OidcError, OidcSettings};
use crate::auth::cookie::is_loopback;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::time::Duration;
use url::Url;
use url::form_urlencoded::byte_serialize;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer. Key sets with certificates have some tens of kilobytes.
const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// What we need of a provider's description.
pub(super) struct Provider {
    pub(super) authorization: Url,
    token: Url,
    keys: Url,
    /// The provider wants the secret in the form instead of the header.
    secret_in_form: bool,
}

/// OpenID Connect Discovery 1.0, section 3.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// An address that secrets may go to: https, or plain http within this machine; no name, password or fragment in it.
pub(super) fn endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (safe && plain && url.has_host()).then_some(url)
}

pub(super) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new() -> Result<Self, OidcError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build()
            .map_err(|_| OidcError::Setup("the HTTP client cannot be built"))?;
        Ok(Self(client))
    }

    pub(super) async fn discover(&self, issuer: &str) -> Result<Provider, OidcError> {
        let bad = OidcError::Provider("description");
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let (status, body) = send(self.0.get(address)).await?;
        if status != StatusCode::OK {
            return Err(bad);
        }
        let found: Description = serde_json::from_slice(&body).map_err(|_| bad)?;
        // The description must be that of the issuer we asked, or another one could answer in its name.
        if found.issuer != issuer {
            return Err(OidcError::Provider("issuer"));
        }
        if found.code_challenge_methods_supported.is_some_and(|methods| !methods.iter().any(|one| one == "S256")) {
            return Err(OidcError::Provider("description (it does not support PKCE with S256)"));
        }
        let methods = found.token_endpoint_auth_methods_supported.unwrap_or_default();
        let supports = |name: &str| methods.iter().any(|one| one == name);
        Ok(Provider {
            authorization: endpoint(&found.authorization_endpoint).ok_or(bad)?,
            token: endpoint(&found.token_endpoint).ok_or(bad)?,
            keys: endpoint(&found.jwks_uri).ok_or(bad)?,
            secret_in_form: supports("client_secret_post") && !supports("client_secret_basic"),
        })
    }

    pub(super) async fn keys(&self, provider: &Provider) -> Result<Keys, OidcError> {
        let bad = OidcError::Provider("key set");
        let (status, body) = send(self.0.get(provider.keys.clone())).await?;
        if status != StatusCode::OK {
            return Err(bad);
        }
        Keys::read(&body).ok_or(bad)
    }

    /// The ID token for a code.
    pub(super) async fn exchange(
        &self,
        provider: &Provider,
        settings: &OidcSettings,
        code: &str,
        verifier: &str,
    ) -> Result<String, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", settings.redirect_uri.as_str()),
            ("code_verifier", verifier),
        ];
        let mut request = self.0.post(provider.token.clone());
        match &settings.client_secret {
            Some(secret) if !provider.secret_in_form => {
                // RFC 6749, section 2.3.1: both are form-encoded before they are put together.
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(encoded(&settings.client_id), Some(encoded(secret.expose_secret())));
            }
            Some(secret) => {
                form.extend([("client_id", settings.client_id.as_str()), ("client_secret", secret.expose_secret())]);
            }
            None => form.push(("client_id", &settings.client_id)),
        }
        let (status, body) = send(request.form(&form)).await?;
        if status != StatusCode::OK {
            return Err(OidcError::Exchange { status: status.as_u16() });
        }
        let tokens: Tokens =
            serde_json::from_slice(&body).map_err(|_| OidcError::Provider("answer to the exchange"))?;
        Ok(tokens.id_token)
    }
}

/// Status and body of an answer that is not too long.
async fn send(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), OidcError> {
    let unreachable = |_: reqwest::Error| OidcError::Unreachable;
    let mut response = request.header("Accept", "application/json").send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(OidcError::Provider("answer (it is too long)"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_https_or_to_this_machine() {
        for good in ["https://id.example", "https://id.example/realm?x=y", "http://127.0.0.1:9", "http://localhost/x"] {
            assert!(endpoint(good).is_some(), "{good}");
        }
        for bad in [
            "http://id.example",
            "http://localhost.evil.example",
            "https://user@id.example",
            "https://:pw@id.example",
            "https://id.example#x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "id.example",
            "",
        ] {
            assert!(endpoint(bad).is_none(), "{bad}");
        }
    }
}

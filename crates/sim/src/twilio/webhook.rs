//! Webhooks as Twilio sends them: signed, retried once when the connection fails, redirects followed with GET.
//!
//! The signature is made here from its published description, apart from the code that checks it in the server, so that
//! one mistake cannot hide in both.

use super::Impairments;
use crate::SimError;
use crate::rng::Rng;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode, Url};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Twilio waits this long for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// And this long in all.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 10;
/// Form fields: names and values.
pub(super) type Fields = Vec<(String, String)>;

/// The `X-Twilio-Signature` of a request: HMAC-SHA1 over the URL and the sorted fields.
#[must_use]
pub fn sign(auth_token: &str, url: &str, fields: &[(String, String)]) -> String {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in fields {
        sorted.entry(name).or_default().insert(value);
    }
    let mut text = url.to_owned();
    for (name, values) in sorted {
        for value in values {
            text.push_str(name);
            text.push_str(value);
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// What is signed for a webhook at `url`: no fragment, no user info, and over HTTPS no port.
#[must_use]
pub fn signed_url(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if scheme == "https" && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    format!("{scheme}://{host}{path}")
}

/// A response that arrived.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: String,
    /// Where it came from, after redirects.
    pub(super) url: String,
}

/// A request that got no response.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// 11200 or 11205.
    pub(super) code: u32,
    pub(super) detail: String,
}

/// Sends webhooks for one account.
#[derive(Debug)]
pub(super) struct Sender {
    client: reqwest::Client,
    token: String,
    rng: Mutex<Rng>,
}

impl Sender {
    pub(super) fn new(auth_token: &str, impairments: &Impairments, seed: u64) -> Result<Self, SimError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("TwilioProxy/1.1")
            .no_proxy()
            .build()?;
        let wrong = if impairments.bad_webhook_signature { "-wrong" } else { "" };
        Ok(Self { client, token: format!("{auth_token}{wrong}"), rng: Mutex::new(Rng::named(seed, "webhook")) })
    }

    /// Sends `fields` to `url` and gives the response, whatever its status.
    pub(super) async fn send(&self, url: &str, method: &str, fields: &Fields) -> Result<Reply, Failure> {
        let fail = |detail: String| Failure { code: 11200, detail };
        let token = self.idempotency_token();
        let (mut url, mut post, mut fields) = (url.to_owned(), method != "GET", fields.clone());
        for _ in 0..MAX_REDIRECTS {
            let bare = url.split('#').next().unwrap_or_default().to_owned();
            let mut target = Url::parse(&bare).map_err(|error| fail(format!("{bare}: {error}")))?;
            let mut signed = signed_url(&url);
            if !post && !fields.is_empty() {
                target.query_pairs_mut().extend_pairs(&fields);
                let query = target.query().unwrap_or_default();
                signed = format!("{}?{query}", signed.split('?').next().unwrap_or_default());
            }
            let signature = sign(&self.token, &signed, if post { &fields } else { &[] });
            let request = |client: &reqwest::Client| {
                let request = client
                    .request(if post { Method::POST } else { Method::GET }, target.clone())
                    .header("Accept", "*/*")
                    .header("X-Twilio-Signature", &signature)
                    .header("I-Twilio-Idempotency-Token", &token);
                if post { request.form(&fields) } else { request }
            };
            let mut response = request(&self.client).send().await;
            if response.as_ref().is_err_and(reqwest::Error::is_connect) {
                response = request(&self.client).send().await;
            }
            let response = response.map_err(|error| Failure {
                code: if error.is_connect() { 11205 } else { 11200 },
                detail: format!("{bare}: {error}"),
            })?;
            let status = response.status();
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status.as_u16(), header("location")) {
                url = target.join(&location).map(String::from).map_err(|error| fail(error.to_string()))?;
                if status.as_u16() <= 303 {
                    (post, fields) = (false, Vec::new());
                }
                continue;
            }
            let content_type = header("content-type").unwrap_or_default();
            let body = response.text().await.map_err(|error| fail(error.to_string()))?;
            return Ok(Reply { status, content_type, body, url });
        }
        Err(fail("too many redirects".to_owned()))
    }

    fn idempotency_token(&self) -> String {
        let hex = self.rng.lock().unwrap_or_else(PoisonError::into_inner).hex(32);
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }
}

/// The current time as Twilio writes it in call status callbacks and REST: RFC 2822, UTC.
pub(super) fn rfc2822() -> String {
    jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The current time as Twilio writes it in stream callbacks: ISO 8601, UTC.
pub(super) fn iso8601() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// One field.
pub(super) fn field(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn signatures_equal_those_of_the_official_libraries() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/signatures.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() > 20);
        for vector in vectors {
            let fields: Fields = serde_json::from_value(vector["params"].clone()).unwrap();
            let signature = sign(vector["auth_token"].as_str().unwrap(), vector["url"].as_str().unwrap(), &fields);
            assert_eq!(signature, vector["x_twilio_signature"].as_str().unwrap(), "{}", vector["id"]);
        }
    }

    #[test]
    fn what_is_signed_has_no_port_over_https_and_never_a_fragment() {
        for (url, signed) in [
            ("https://u:p@h.example:8443/a?b=c#rc=2", "https://h.example/a?b=c"),
            ("http://127.0.0.1:3000/a", "http://127.0.0.1:3000/a"),
            ("https://h.example", "https://h.example"),
            ("https://[::1]:8443/a", "https://[::1]/a"),
            ("https://[::1]/a", "https://[::1]/a"),
        ] {
            assert_eq!(signed_url(url), signed);
        }
    }
}

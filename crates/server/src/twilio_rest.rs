//! Twilio's REST interface, as far as we use it: placing and changing calls, sending text messages.
//!
//! A request that may have reached Twilio without our hearing the answer is never repeated blindly: there is no
//! idempotency key, and a patient must not be telephoned twice. Whoever meets [`TwilioError::Unknown`] looks first.

use crate::settings::TwilioSettings;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// Why a request did not succeed. Never repeats numbers or texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TwilioError {
    /// No credentials.
    #[error("Twilio is not configured: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN or an API key")]
    NotConfigured,
    /// Twilio never got the request; it may be repeated.
    #[error("Twilio cannot be reached")]
    Unreachable,
    /// Too many requests at once; nothing was done, and it may be repeated later.
    #[error("Twilio takes no more requests right now")]
    Busy,
    /// Twilio refused.
    #[error("Twilio refused with status {status}, code {code}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Twilio's error code; 0 when it named none.
        code: i64,
    },
    /// The request was sent and no usable answer came: it may or may not have been done.
    #[error("Twilio's answer did not arrive: the request may have been carried out")]
    Unknown,
}

/// Access to the REST interface; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TwilioRest {
    http: reqwest::Client,
    access: Option<Access>,
}

#[derive(Debug, Clone)]
struct Access {
    base: String,
    account: String,
    user: String,
    password: SecretString,
}

impl TwilioRest {
    /// # Errors
    /// When the HTTP client cannot be built.
    pub(crate) fn new(settings: &TwilioSettings) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let credentials = match (&settings.api_key, &settings.account_sid, &settings.auth_token) {
            (Some((sid, secret)), _, _) => Some((sid.clone(), secret.clone())),
            (None, Some(account), Some(token)) => Some((account.clone(), token.clone())),
            _ => None,
        };
        let access = settings.account_sid.clone().zip(credentials).map(|(account, (user, password))| Access {
            base: settings.base_url.trim_end_matches('/').to_owned(),
            account,
            user,
            password,
        });
        Ok(Self { http, access })
    }

    /// True when there are credentials.
    pub(crate) fn is_configured(&self) -> bool {
        self.access.is_some()
    }

    /// Sends a form to `path` below the account, such as `/Calls.json`.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, TwilioError> {
        self.request(Method::POST, path, form).await
    }

    /// Reads `path` below the account, with a query.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, TwilioError> {
        self.request(Method::GET, path, query).await
    }

    async fn request(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Result<Value, TwilioError> {
        let access = self.access.as_ref().ok_or(TwilioError::NotConfigured)?;
        let url = format!("{}/2010-04-01/Accounts/{}{path}", access.base, access.account);
        let request = self
            .http
            .request(method.clone(), url)
            .basic_auth(&access.user, Some(access.password.expose_secret()))
            .header("Accept", "application/json");
        let request = if method == Method::GET { request.query(fields) } else { request.form(fields) };
        let response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() { TwilioError::Unreachable } else { TwilioError::Unknown }
        })?;
        let status = response.status();
        let body = read(response).await;
        if status.is_success() {
            return body.ok_or(TwilioError::Unknown);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(TwilioError::Busy);
        }
        let code = body.as_ref().and_then(|body| body.get("code")?.as_i64()).unwrap_or(0);
        if status.is_server_error() {
            return Err(TwilioError::Unknown);
        }
        Err(TwilioError::Refused { status: status.as_u16(), code })
    }
}

/// A wait before something is tried again, between half and one and a half times as long: calls that met the same refusal
/// must not all come again at the same moment. The same for the same `seed`, which says who waits, and `attempt`.
pub(crate) fn spread(wait: Duration, seed: &str, attempt: u32) -> Duration {
    // FNV-1a, mixed as by Stafford: identifiers made one after another differ in a few bits only.
    let bytes = seed.bytes().chain(attempt.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let per_mille = u32::try_from((hash >> 31) % 1_001).unwrap_or(500);
    wait * (500 + per_mille) / 1_000
}

/// The body as JSON, if it is that and not too long.
async fn read(mut response: reqwest::Response) -> Option<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn those_who_were_refused_together_come_again_one_by_one() {
        let wait = Duration::from_secs(10);
        let waits: Vec<Duration> = (0..100).map(|n| spread(wait, &format!("CA{n:032}"), 1)).collect();
        assert!(waits.iter().all(|spread| (wait / 2..=wait * 3 / 2).contains(spread)));
        assert!(waits.iter().collect::<HashSet<_>>().len() > 80, "they are spread");
        assert!(waits.iter().any(|spread| *spread < wait) && waits.iter().any(|spread| *spread > wait));
        assert_eq!(spread(wait, "CA1", 1), spread(wait, "CA1", 1));
        assert_ne!(spread(wait, "CA1", 1), spread(wait, "CA1", 2));
        assert_eq!(spread(Duration::ZERO, "CA1", 1), Duration::ZERO);
    }
}

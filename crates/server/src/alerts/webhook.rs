//! Alerts told to a program of the clinic: a signed JSON request.
//!
//! `HeartVoice-Signature: t=UNIX_SECONDS,v1=HEX` is HMAC-SHA256 over `t`, a dot and the body; a receiver refuses what is
//! older than five minutes. `Idempotency-Key` is the same in every attempt of one message.

use super::Attempt;
use crate::clock;
use crate::limits;
use crate::settings::StaffWebhook;
use aws_lc_rs::hmac;
use clinic::AlertId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::time::Duration;
use store::ClaimedDelivery;

/// Name of the header with the signature.
const SIGNATURE: &str = "HeartVoice-Signature";

/// Access to the clinic's program.
#[derive(Debug)]
pub(super) struct StaffHook {
    http: reqwest::Client,
    url: SecretString,
    secret: Option<SecretString>,
}

/// What is sent.
#[derive(Debug, Serialize)]
struct Message<'a> {
    r#type: &'static str,
    id: &'a str,
    alert_id: &'a AlertId,
    severity: &'static str,
    kind: &'static str,
    raised_at: String,
    occurrences: u32,
    /// How far the alert has climbed, from 0.
    escalation: u32,
    url: &'a str,
}

impl StaffHook {
    pub(super) fn new(settings: StaffWebhook) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(limits::ALERT_ATTEMPT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("HeartVoice/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url: settings.url, secret: settings.secret })
    }

    pub(super) async fn send(&self, delivery: &ClaimedDelivery, alert_url: &str) -> Attempt {
        let message = Message {
            r#type: "alert",
            id: delivery.id.as_str(),
            alert_id: &delivery.alert_id,
            severity: delivery.severity.as_str(),
            kind: delivery.kind.as_str(),
            raised_at: clock::rfc3339(delivery.raised_at_us),
            occurrences: delivery.occurrences,
            escalation: delivery.step,
            url: alert_url,
        };
        let Ok(body) = serde_json::to_vec(&message) else { return Attempt::Never("message".to_owned()) };
        let mut request = self
            .http
            .post(self.url.expose_secret())
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", delivery.id.as_str());
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, sign(secret.expose_secret(), clock::unix_s(), &body));
        }
        match request.body(body).send().await.map(|response| response.status().as_u16()) {
            Ok(200..=299) => Attempt::Delivered,
            // The receiver knows a repetition by its key, so there is no harm in one.
            Ok(408 | 425 | 429 | 500..=599) => Attempt::Later("status"),
            Ok(status) => Attempt::Never(format!("status_{status}")),
            Err(error) if error.is_builder() => Attempt::Never("address".to_owned()),
            Err(_) => Attempt::Later("unreachable"),
        }
    }
}

/// The value of the signature header.
fn sign(secret: &str, unix_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{unix_s}.").as_bytes());
    signed.update(body);
    let hex: String = signed.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_s},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest was computed with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn the_signature_is_over_time_and_body() {
        assert_eq!(
            sign("secret", 1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}

//! What has to be remembered between the way to the identity provider and the way back: sealed in a cookie of the
//! person's own browser.
//!
//! A cookie, because any server process can then take the answer, and because it ties the answer to the browser that
//! asked: nobody can be signed in to a stranger's account by a link. It is sealed with AES-256-GCM, lives ten minutes, and
//! is good for one answer in each process; across processes the provider's own rule holds, a code counts once.

use super::OidcError;
use crate::auth::{random, same};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How long a person may take at the identity provider.
pub const FLOW_LIFETIME_S: u64 = 600;
/// Answers remembered as used. When there are more in ten minutes the oldest is forgotten; its code is used up anyway.
const USED_MAX: usize = 10_000;
/// Longest sealed state; ours have about 500 characters.
const SEALED_MAX_BYTES: usize = 3_072;
/// Longest address to return to.
const RETURN_TO_MAX_BYTES: usize = 512;
/// Ties a sealed text to this use and form.
const PURPOSE: &[u8] = b"heartvoice oidc flow 1";

/// One attempt to sign in. All three texts are 256 random bits in base64url, as RFC 7636 wants its verifier.
#[derive(Serialize, Deserialize)]
pub(super) struct Flow {
    /// Comes back with the answer.
    pub(super) state: String,
    /// Comes back inside the ID token.
    pub(super) nonce: String,
    /// Proves to the token endpoint that we are who began.
    pub(super) verifier: String,
    /// When it began.
    pub(super) began_us: i64,
    /// A path of ours.
    pub(super) return_to: String,
}

impl Flow {
    pub(super) fn begin(return_to: &str, now_us: i64) -> Result<Self, OidcError> {
        let text = || Ok::<_, OidcError>(URL_SAFE_NO_PAD.encode(random::<32>()?));
        let return_to = if is_own_path(return_to) { return_to } else { "/" };
        Ok(Self {
            state: text()?,
            nonce: text()?,
            verifier: text()?,
            began_us: now_us,
            return_to: return_to.to_owned(),
        })
    }
}

/// Whether a browser that is sent there stays with us: `//host` and `/\host` are other hosts.
fn is_own_path(path: &str) -> bool {
    let second = path.as_bytes().get(1);
    path.starts_with('/')
        && !matches!(second, Some(b'/' | b'\\'))
        && path.len() <= RETURN_TO_MAX_BYTES
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Seals and opens flows, and remembers which were used.
pub(super) struct Flows {
    key: LessSafeKey,
    used: Mutex<BTreeSet<(i64, String)>>,
}

impl Flows {
    pub(super) fn new(key: &[u8; 32]) -> Result<Self, OidcError> {
        let key =
            UnboundKey::new(&AES_256_GCM, key).map_err(|_| OidcError::Setup("the key for flows cannot be used"))?;
        Ok(Self { key: LessSafeKey::new(key), used: Mutex::default() })
    }

    pub(super) fn seal(&self, flow: &Flow) -> Result<String, OidcError> {
        let nonce = random::<NONCE_LEN>()?;
        let mut text = serde_json::to_vec(flow).map_err(|_| OidcError::Flow)?;
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(PURPOSE), &mut text)
            .map_err(|_| OidcError::Flow)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The flow that a cookie holds and an answer names, once.
    pub(super) fn take(&self, sealed: &str, state: &str, now_us: i64) -> Result<Flow, OidcError> {
        let flow = self.open(sealed).ok_or(OidcError::Flow)?;
        let age_us = now_us.saturating_sub(flow.began_us);
        let lifetime_us = FLOW_LIFETIME_S.saturating_mul(1_000_000).cast_signed();
        if !(0..=lifetime_us).contains(&age_us) {
            return Err(OidcError::TooLate);
        }
        if !same(flow.state.as_bytes(), state.as_bytes()) {
            return Err(OidcError::Flow);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while used.first().is_some_and(|(began_us, _)| now_us.saturating_sub(*began_us) > lifetime_us)
            || used.len() >= USED_MAX
        {
            used.pop_first();
        }
        if !used.insert((flow.began_us, flow.state.clone())) {
            return Err(OidcError::Flow);
        }
        Ok(flow)
    }

    fn open(&self, sealed: &str) -> Option<Flow> {
        if sealed.len() > SEALED_MAX_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.key.open_in_place(nonce, Aad::from(PURPOSE), text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: i64 = 1_790_000_000_000_000;

    #[test]
    fn a_flow_is_taken_once_and_in_time() {
        let flows = Flows::new(&[7; 32]).unwrap();
        let flow = Flow::begin("/alerts/1?x=y", NOW).unwrap();
        let sealed = flows.seal(&flow).unwrap();
        assert!(!sealed.contains(&flow.state) && sealed.len() < SEALED_MAX_BYTES);
        let late = NOW + 600_000_001;
        assert!(matches!(flows.take(&sealed, &flow.state, late), Err(OidcError::TooLate)));
        assert!(matches!(flows.take(&sealed, &flow.state, NOW - 1), Err(OidcError::TooLate)));
        assert!(matches!(flows.take(&sealed, "other", NOW), Err(OidcError::Flow)));
        let taken = flows.take(&sealed, &flow.state, NOW + 600_000_000).unwrap();
        assert_eq!((taken.nonce, taken.verifier, taken.return_to), (flow.nonce, flow.verifier, "/alerts/1?x=y".into()));
        assert!(matches!(flows.take(&sealed, &flow.state, NOW), Err(OidcError::Flow)), "a second time");
    }

    #[test]
    fn a_changed_or_foreign_cookie_is_refused() {
        let flows = Flows::new(&[7; 32]).unwrap();
        let flow = Flow::begin("/", NOW).unwrap();
        let sealed = flows.seal(&flow).unwrap();
        let foreign = Flows::new(&[8; 32]).unwrap().seal(&flow).unwrap();
        let mut changed = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        changed[NONCE_LEN + 3] ^= 1;
        for cookie in [foreign.as_str(), &URL_SAFE_NO_PAD.encode(changed), &sealed[..sealed.len() - 4], "", "AAAA", "ä"]
        {
            assert!(matches!(flows.take(cookie, &flow.state, NOW), Err(OidcError::Flow)), "{cookie:.20}");
        }
        assert!(flows.take(&"A".repeat(100_000), &flow.state, NOW).is_err());
    }

    #[test]
    fn nobody_is_sent_to_another_host() {
        for (path, expected) in [
            ("/", "/"),
            ("/patients/1", "/patients/1"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("/a\t/evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(Flow::begin(path, NOW).unwrap().return_to, expected, "{path:?}");
        }
        assert_eq!(Flow::begin(&format!("/{}", "a".repeat(600)), NOW).unwrap().return_to, "/");
    }

    #[test]
    fn used_flows_take_bounded_memory() {
        let flows = Flows::new(&[7; 32]).unwrap();
        for i in 0..200 {
            let flow = Flow::begin("/", NOW + i).unwrap();
            flows.take(&flows.seal(&flow).unwrap(), &flow.state, NOW + i).unwrap();
        }
        assert_eq!(flows.used.lock().unwrap().len(), 200);
        let flow = Flow::begin("/", NOW + 700_000_000).unwrap();
        flows.take(&flows.seal(&flow).unwrap(), &flow.state, NOW + 700_000_000).unwrap();
        assert_eq!(flows.used.lock().unwrap().len(), 1, "the others are past their time");
    }
}

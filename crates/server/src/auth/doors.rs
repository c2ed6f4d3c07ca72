//! What all sign-ins of a server share: the computation of passwords, the brake on addresses, the form of cookies, and
//! the identity provider, if there is one.

use super::cookie::Cookies;
use super::oidc::{OidcClient, OidcSettings};
use super::password::Passwords;
use super::throttle::{AddressBrake, Wait};
use super::totp::{SECRET_BYTES, TotpSecret};
use crate::StartError;
use crate::settings::Settings;
use aws_lc_rs::hmac;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use store::Store;

/// Where the identity provider sends people back to.
pub(crate) const OIDC_CALLBACK: &str = "/auth/oidc/callback";

/// How people come in.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) passwords: Passwords,
    pub(crate) cookies: Cookies,
    pub(crate) provider: Option<OidcClient>,
    /// The provider always asks for a second factor.
    pub(crate) provider_has_second_factor: bool,
    addresses: Mutex<AddressBrake>,
    /// Attempts so far, for tidying up every now and then.
    attempts: AtomicU32,
    set_up_key: [u8; 32],
}

impl Doors {
    pub(crate) fn new(settings: &Settings, store: &Store) -> Result<Self, StartError> {
        let provider = settings.identity_provider.as_ref().map(|provider| {
            let settings = OidcSettings {
                issuer: provider.issuer.clone(),
                client_id: provider.client_id.clone(),
                client_secret: provider.client_secret.clone(),
                redirect_uri: settings.public_url(OIDC_CALLBACK),
            };
            OidcClient::new(settings, &store.shared_secret("oidc flow"))
        });
        Ok(Self {
            passwords: Passwords::new()?,
            cookies: Cookies::for_base_url(&settings.public_base_url),
            provider: provider.transpose()?,
            provider_has_second_factor: settings.identity_provider.as_ref().is_some_and(|one| one.trust_second_factor),
            addresses: Mutex::default(),
            attempts: AtomicU32::new(0),
            set_up_key: store.shared_secret("second factor of a set-up"),
        })
    }

    /// Counts an attempt of an address.
    pub(crate) fn attempt_from(&self, address: Option<IpAddr>, now_us: i64) -> Result<(), Wait> {
        let Some(address) = address else { return Ok(()) };
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).attempt(address, now_us)
    }

    /// True with every sixty-fourth attempt.
    pub(crate) fn is_time_to_tidy(&self) -> bool {
        self.attempts.fetch_add(1, Ordering::Relaxed) % 64 == 63
    }

    /// The secret of the second factor that a set-up link proposes: always the same for one link, so that nothing has to be
    /// remembered until it is confirmed, and unknown to whoever has only the link or only the database.
    pub(crate) fn proposed_secret(&self, link: &str) -> Option<TotpSecret> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.set_up_key), link.as_bytes());
        TotpSecret::from_bytes(tag.as_ref().get(..SECRET_BYTES)?)
    }
}

//! Who keeps the key above all others: this installation itself, or a key service.
//!
//! Records are sealed under data keys, data keys are wrapped by a few key-encryption keys, and those are wrapped here. With
//! [`KeyService::Local`] the wrapping key is derived from the master key of the environment. With [`KeyService::Transit`]
//! it never leaves HashiCorp Vault (or OpenBao): stealing database and environment of the server is then not enough, and
//! every unwrapping is in Vault's own audit log.
//!
//! The token needs `update` on `MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY` and `read` on `MOUNT/keys/KEY`, and nothing
//! else: without `create` a misspelt name cannot become a key.
//!
//! A wrapped key is bound to a *context*, the place it belongs to: under another context it does not open.

use crate::StoreError;
use crate::keys::{DataKey, KEY_LEN, MasterKey, random_bytes};
use crate::vault::{NONCE_LEN, TAG_LEN};
use aws_lc_rs::aead;
use reqwest::Url;
use zeroize::Zeroizing;

mod transit;

pub use transit::{TransitConfig, TransitKey, VaultToken, VaultTransit};

/// What the local wrapping key is derived for.
const PURPOSE: &str = "wrap key-encryption keys";
/// What names of local keys begin with.
const LOCAL: &str = "local:";
/// Format of locally wrapped keys; part of the associated data. Vault's begin with its own prefix instead.
const VERSION: u8 = 1;
/// Bytes of a context, at most. One is never longer than a table's name and an identifier.
const CONTEXT_MAX_BYTES: usize = 256;

/// Why a key could not be wrapped or unwrapped. No message holds a key, a token or what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyServiceError {
    /// A setting cannot be used.
    #[error("{what}: expected {expected}")]
    Invalid {
        /// The setting.
        what: &'static str,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// There was no answer.
    #[error("{doing}: the key service does not answer; check VAULT_ADDR, VAULT_CACERT and the network")]
    Unreachable {
        /// The step.
        doing: &'static str,
        /// What the network said; without the path that was asked for.
        #[source]
        source: reqwest::Error,
    },
    /// The service is there, but cannot work at the moment.
    #[error("{doing}: the key service is not available (status {status}); if it is sealed, unseal it")]
    Unavailable {
        /// The step.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// The token is missing, has expired, or does not permit this.
    #[error("{doing}: the key service refused the token; renew VAULT_TOKEN or VAULT_TOKEN_FILE, or widen its policy")]
    Forbidden {
        /// The step.
        doing: &'static str,
    },
    /// The service has no key of this name.
    #[error("the key service has no such key; create it (type aes256-gcm96) or correct VAULT_TRANSIT_KEY")]
    NoSuchKey,
    /// The key exists but cannot be used here.
    #[error("the key of the key service cannot be used: it {why}")]
    Unsuitable {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The version a key was wrapped under has been retired or destroyed.
    #[error(
        "the version of the service's key that wrapped this one is no longer permitted; lower min_decryption_version \
         to wrap it anew, or take it as erased"
    )]
    Retired,
    /// Wrong context, another key, or damage: the three cannot be told apart.
    #[error("a wrapped key does not open: it is damaged, was moved, or was wrapped by another key")]
    DoesNotOpen,
    /// The service refused for another reason.
    #[error("{doing}: the key service refused with status {status}")]
    Refused {
        /// The step.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// The answer was none of this interface, or too long.
    #[error("{doing}: the key service gave an answer that is none; check VAULT_ADDR and VAULT_TRANSIT_MOUNT")]
    Unreadable {
        /// The step.
        doing: &'static str,
    },
    /// This machine did not do its part.
    #[error("could not {doing}")]
    Local {
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl KeyServiceError {
    /// A name of the variant that stays the same across versions, for metrics and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Unreachable { .. } => "unreachable",
            Self::Unavailable { .. } => "unavailable",
            Self::Forbidden { .. } => "forbidden",
            Self::NoSuchKey => "no_such_key",
            Self::Unsuitable { .. } => "unsuitable",
            Self::Retired => "retired",
            Self::DoesNotOpen => "does_not_open",
            Self::Refused { .. } => "refused",
            Self::Unreadable { .. } => "unreadable",
            Self::Local { .. } => "local",
        }
    }
}

impl From<KeyServiceError> for StoreError {
    fn from(error: KeyServiceError) -> Self {
        match error {
            KeyServiceError::Invalid { what, expected } => Self::Invalid { what, expected },
            KeyServiceError::DoesNotOpen => Self::corrupt("a wrapped key-encryption key"),
            other => Self::Unavailable { doing: "use the key service", source: Box::new(other) },
        }
    }
}

/// What wraps the installation's key-encryption keys.
#[derive(Debug)]
pub enum KeyService {
    /// A key derived from the master key.
    Local(MasterKey),
    /// A key of Vault's Transit engine.
    Transit(VaultTransit),
}

impl KeyService {
    /// Wraps a key for one context.
    ///
    /// # Errors
    /// [`KeyServiceError`]; nothing is lost, and it may be tried again.
    pub async fn wrap(&self, plain: &[u8; 32], context: &str) -> Result<Vec<u8>, KeyServiceError> {
        check_context(context)?;
        match self {
            Self::Local(master) => wrap_locally(master, plain, context),
            Self::Transit(transit) => transit.wrap(plain, context).await,
        }
    }

    /// Unwraps a key. The context must be the one it was wrapped for.
    ///
    /// # Errors
    /// [`KeyServiceError::DoesNotOpen`] for another context or key, [`KeyServiceError::Retired`] when the service's key has
    /// moved on, others when the service is not to be had.
    pub async fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Zeroizing<[u8; 32]>, KeyServiceError> {
        check_context(context)?;
        match self {
            Self::Local(master) => unwrap_locally(master, wrapped, context),
            Self::Transit(transit) => transit.unwrap(wrapped, context).await,
        }
    }

    /// Wraps a wrapped key anew, under the newest version of the service's key. To be done with every key before old
    /// versions are retired.
    ///
    /// # Errors
    /// As [`KeyService::wrap`] and [`KeyService::unwrap`]; the old wrapping stays good.
    pub async fn rewrap(&self, wrapped: &[u8], context: &str) -> Result<Vec<u8>, KeyServiceError> {
        // Vault can do this in one step, but its interface for it knows no associated data, to which ours are bound.
        let plain = self.unwrap(wrapped, context).await?;
        self.wrap(&plain, context).await
    }

    /// A public name of the wrapping key, to be stored beside what it wraps. It does not change when Vault rotates its key.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Local(master) => format!("{LOCAL}{}", master.key_id()),
            Self::Transit(transit) => transit.id(),
        }
    }

    /// Which version of the service's key wrapped this; `None` when that cannot be told (a local key has no versions).
    #[must_use]
    pub fn wrapped_version(&self, wrapped: &[u8]) -> Option<u64> {
        match self {
            Self::Local(_) => None,
            Self::Transit(_) => transit::version_of(wrapped),
        }
    }

    /// Checks that the service is there, lets us use its key, and binds what it wraps to its context. To be called before
    /// the first key is wrapped: an unknown key would be created by Vault without a word if our token permits it.
    ///
    /// # Errors
    /// [`KeyServiceError`], naming what to mend.
    pub async fn check(&self) -> Result<(), KeyServiceError> {
        if let Self::Transit(transit) = self {
            transit.key().await?;
        }
        let doing = "draw random bytes";
        let plain = random_bytes::<KEY_LEN>().map_err(|source| local(doing, source))?;
        let wrapped = self.wrap(&plain, "check|one").await?;
        if *self.unwrap(&wrapped, "check|one").await? != *plain {
            return Err(KeyServiceError::Unsuitable { why: "does not give back what it wrapped" });
        }
        match self.unwrap(&wrapped, "check|other").await {
            Err(KeyServiceError::DoesNotOpen) => Ok(()),
            Ok(_) => Err(KeyServiceError::Unsuitable {
                why: "does not bind a wrapped key to its context; use type aes256-gcm96 and Vault 1.9 or newer",
            }),
            Err(error) => Err(error),
        }
    }
}

impl KeyService {
    /// The keys that versions before 0.4 derived from the master key: what wraps data keys, and what indexes. `name` is the
    /// public name of that master key.
    pub(crate) fn legacy(&self, name: &str) -> Result<(KeyBytes, KeyBytes), StoreError> {
        match self {
            Self::Local(master) if master.key_id() == name => Ok((master.derive_own("key encryption"), master.bytes())),
            _ => Err(StoreError::WrongKey { given: self.id(), expected: format!("{LOCAL}{name}") }),
        }
    }
}

impl From<MasterKey> for KeyService {
    fn from(master: MasterKey) -> Self {
        Self::Local(master)
    }
}

impl From<VaultTransit> for KeyService {
    fn from(transit: VaultTransit) -> Self {
        Self::Transit(transit)
    }
}

/// A key in the open, wiped when it is dropped.
type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

fn check_context(context: &str) -> Result<(), KeyServiceError> {
    if (1..=CONTEXT_MAX_BYTES).contains(&context.len()) {
        Ok(())
    } else {
        Err(KeyServiceError::Invalid { what: "context of a key", expected: "1 to 256 bytes" })
    }
}

/// `version (1) | nonce (12) | ciphertext (32) | tag (16)`, AES-256-GCM. One key wraps a handful of others, so random
/// nonces do not meet.
fn wrap_locally(master: &MasterKey, plain: &[u8; KEY_LEN], context: &str) -> Result<Vec<u8>, KeyServiceError> {
    let (key, aad) = local_key(master, context)?;
    let nonce = *random_bytes::<NONCE_LEN>().map_err(|source| local("draw random bytes", source))?;
    let mut body = Zeroizing::new(*plain);
    let tag = key
        .cipher()
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(&aad),
            body.as_mut_slice(),
        )
        .map_err(|source| local("wrap a key", source))?;
    Ok([&[VERSION], nonce.as_slice(), body.as_slice(), tag.as_ref()].concat())
}

fn unwrap_locally(
    master: &MasterKey,
    wrapped: &[u8],
    context: &str,
) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyServiceError> {
    let (key, aad) = local_key(master, context)?;
    let parts = wrapped.split_first().and_then(|(version, rest)| {
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        (*version == VERSION && body.len() == KEY_LEN + TAG_LEN).then_some((*nonce, body))
    });
    let (nonce, body) = parts.ok_or(KeyServiceError::DoesNotOpen)?;
    let mut body = Zeroizing::new(body.to_vec());
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let plain = key.cipher().open_in_place(nonce, aead::Aad::from(&aad), &mut body);
    key_of(plain.map_err(|_| KeyServiceError::DoesNotOpen)?)
}

fn local_key(master: &MasterKey, context: &str) -> Result<(DataKey, Vec<u8>), KeyServiceError> {
    let key = DataKey::from_bytes(&master.derive_own(PURPOSE)).map_err(|source| local("set up a cipher", source))?;
    Ok((key, [b"kek|", context.as_bytes(), &[VERSION]].concat()))
}

fn key_of(bytes: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyServiceError> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    if bytes.len() != KEY_LEN {
        return Err(KeyServiceError::DoesNotOpen);
    }
    key.copy_from_slice(bytes);
    Ok(key)
}

fn local(doing: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> KeyServiceError {
    KeyServiceError::Local { doing, source: Box::new(source) }
}

/// Whether an address is this machine itself, where nothing can listen on the line.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn local_service() -> KeyService {
        KeyService::Local(MasterKey::random().unwrap())
    }

    #[tokio::test]
    async fn a_local_key_opens_for_its_context_and_under_its_master_only() {
        let (service, other) = (local_service(), local_service());
        let wrapped = service.wrap(&[7; 32], "kek|1").await.unwrap();
        assert_eq!(*service.unwrap(&wrapped, "kek|1").await.unwrap(), [7; 32]);
        assert_eq!(service.unwrap(&wrapped, "kek|2").await.unwrap_err().code(), "does_not_open");
        assert_eq!(other.unwrap(&wrapped, "kek|1").await.unwrap_err().code(), "does_not_open");
        assert_eq!(service.unwrap(b"vault:v1:AAAA", "kek|1").await.unwrap_err().code(), "does_not_open");
        assert_ne!(service.id(), other.id());
        service.check().await.unwrap();
        let again = service.rewrap(&wrapped, "kek|1").await.unwrap();
        assert_ne!(again, wrapped);
        assert_eq!(*service.unwrap(&again, "kek|1").await.unwrap(), [7; 32]);
    }

    #[tokio::test]
    async fn every_flipped_bit_and_every_cut_of_a_wrapped_key_is_noticed() {
        let service = local_service();
        let wrapped = service.wrap(&[7; 32], "kek|1").await.unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut damaged = wrapped.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(service.unwrap(&damaged, "kek|1").await.is_err());
        }
        for length in 0..wrapped.len() {
            assert!(service.unwrap(&wrapped[..length], "kek|1").await.is_err());
        }
    }

    #[tokio::test]
    async fn a_context_has_a_bound() {
        let service = local_service();
        assert_eq!(service.wrap(&[7; 32], "").await.unwrap_err().code(), "invalid");
        assert_eq!(service.wrap(&[7; 32], &"x".repeat(257)).await.unwrap_err().code(), "invalid");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(loopback("http://localhost:1") && loopback("http://127.8.8.8") && loopback("http://[::1]:8200"));
        assert!(!loopback("http://127.0.0.1.example.org") && !loopback("http://10.0.0.1"));
    }
}

//! Envelope encryption: data keys wrapped by a key-encryption key, column values sealed by data keys, and keyed hashes
//! to find a sealed value again.
//!
//! A sealed value is `version (1) | nonce (12) | ciphertext | tag (16)`, AES-256-GCM with a random nonce. Its associated
//! data names the place it belongs to, so a ciphertext copied to another row, column or table does not open. Random
//! 96-bit nonces are safe up to 2^32 uses of a key (NIST SP 800-38D, 8.3); a data key serves one call or one patient.

use crate::keys::{DataKey, KEY_LEN, MasterKey, random_bytes};
use crate::root_keys::{Keks, RootKeys};
use crate::{Result, StoreError, error::Doing};
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{aead, hmac};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Format of sealed values; part of the associated data.
const VERSION: u8 = 1;
/// Bytes of a GCM nonce.
pub(crate) const NONCE_LEN: usize = aead::NONCE_LEN;
/// Bytes of a GCM tag.
pub(crate) const TAG_LEN: usize = 16;

/// Where a sealed value belongs. Identifiers hold no `|`, so the joined text is unambiguous.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
    pub(crate) column: &'static str,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        format!("{}|{}|{}|{VERSION}", self.table, self.row, self.column).into_bytes()
    }
}

/// The keys in memory, one per purpose.
pub(crate) struct Vault {
    keyring: RwLock<Keyring>,
    /// What is sealed for accounts of people and for answers kept for a day.
    office: DataKey,
    signing: (String, Ed25519KeyPair),
    phone_index: hmac::Key,
    external_id_index: hmac::Key,
    call_sid_index: hmac::Key,
    alert_index: hmac::Key,
    token_index: hmac::Key,
    conversation_index: hmac::Key,
    secret_index: hmac::Key,
    trail_end: hmac::Key,
    shared: MasterKey,
}

/// The key-encryption keys.
struct Keyring {
    keks: HashMap<String, DataKey>,
    active: String,
    newest: String,
    /// Keys that were destroyed a moment ago, and when that was noticed.
    destroyed: HashMap<String, (DataKey, Instant)>,
}

/// How long a destroyed key-encryption key is kept in memory: what was read before the data keys were wrapped anew may
/// still have to be unwrapped.
const LAST_READS: Duration = Duration::from_secs(60);

/// A data key and its wrapped form.
pub(crate) struct FreshKey {
    pub(crate) key: DataKey,
    pub(crate) wrapped: Vec<u8>,
    /// What it is wrapped by.
    pub(crate) key_id: String,
}

/// What guards the end of the audit trail. The trail begins with the keys, before there is a vault.
pub(crate) fn trail_end_key(index: &MasterKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, index.derive_own("end of the audit trail").as_slice())
}

/// Shows that whoever has this key wrote where the audit trail ends.
pub(crate) fn trail_end_mac(key: &hmac::Key, seq: u64, hash: &[u8], checkpoint: u64) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(&seq.to_be_bytes());
    context.update(&checkpoint.to_be_bytes());
    context.update(hash);
    context.sign().as_ref().to_vec()
}

impl Vault {
    pub(crate) fn new(roots: RootKeys) -> Result<Self> {
        let index = |purpose| hmac::Key::new(hmac::HMAC_SHA256, roots.index.derive_own(purpose).as_slice());
        let signing = Ed25519KeyPair::from_seed_unchecked(roots.audit.1.as_slice()).doing("set up the signing key")?;
        Ok(Self {
            office: DataKey::from_bytes(&roots.index.derive_own("office"))?,
            signing: (roots.audit.0.clone(), signing),
            phone_index: index("phone index"),
            external_id_index: index("external id index"),
            call_sid_index: index("call sid index"),
            alert_index: index("alert index"),
            token_index: index("token index"),
            conversation_index: index("conversation index"),
            secret_index: index("secret index"),
            trail_end: trail_end_key(&roots.index),
            keyring: RwLock::new(Keyring {
                keks: roots.keks.keks,
                active: roots.keks.active,
                newest: roots.keks.newest,
                destroyed: HashMap::new(),
            }),
            shared: roots.index,
        })
    }

    /// Takes over the key-encryption keys as they are now.
    pub(crate) fn renew(&self, now: Keks) {
        let mut ring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut ring.keks, now.keks);
        (ring.active, ring.newest) = (now.active, now.newest);
        for (id, key) in before {
            if !ring.keks.contains_key(&id) {
                ring.destroyed.insert(id, (key, Instant::now()));
            }
        }
    }

    /// Lets go of keys that were destroyed a while ago.
    pub(crate) fn drop_destroyed(&self) {
        if self.ring().destroyed.values().any(|(_, since)| since.elapsed() >= LAST_READS) {
            let mut ring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
            ring.destroyed.retain(|_, (_, since)| since.elapsed() < LAST_READS);
        }
    }

    /// The key-encryption keys in memory, by identifier.
    pub(crate) fn known(&self) -> HashMap<String, DataKey> {
        self.ring().keks.clone()
    }

    /// Whether the key-encryption keys in memory are these.
    pub(crate) fn has_exactly(&self, ids: &[String]) -> bool {
        let ring = self.ring();
        ring.keks.len() == ids.len() && ids.iter().all(|id| ring.keks.contains_key(id))
    }

    /// The key-encryption key that new data keys are wrapped by, as far as this process knows.
    pub(crate) fn active(&self) -> String {
        self.ring().active.clone()
    }

    /// The newest key-encryption key this process knows.
    pub(crate) fn newest(&self) -> String {
        self.ring().newest.clone()
    }

    fn ring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals what belongs to the installation rather than to a patient.
    pub(crate) fn office(&self) -> &DataKey {
        &self.office
    }

    /// The key that signs checkpoints and certificates, with its identifier.
    pub(crate) fn signing(&self) -> (&str, &Ed25519KeyPair) {
        (&self.signing.0, &self.signing.1)
    }

    /// A secret that all servers of one database share, for a purpose.
    pub(crate) fn shared_secret(&self, purpose: &str) -> [u8; 32] {
        self.shared.derive_32(purpose)
    }

    /// Makes a data key for the record `id` of `kind`, wrapped by the active key-encryption key.
    pub(crate) fn fresh_key(&self, kind: &'static str, id: &str) -> Result<FreshKey> {
        let bytes = random_bytes::<KEY_LEN>()?;
        let ring = self.ring();
        let kek =
            ring.keks.get(&ring.active).ok_or_else(|| StoreError::corrupt("the set of the installation's keys"))?;
        let wrapped = seal(kek, &wrap_aad(kind, id), bytes.as_slice())?;
        Ok(FreshKey { key: DataKey::from_bytes(&bytes)?, wrapped, key_id: ring.active.clone() })
    }

    /// Unwraps the data key of a record; `None` stands for a key that was destroyed.
    pub(crate) fn unwrap_key(
        &self,
        kind: &'static str,
        id: &str,
        wrapped_under: Option<&str>,
        wrapped: Option<&[u8]>,
    ) -> Result<DataKey> {
        let (Some(under), Some(wrapped)) = (wrapped_under, wrapped) else {
            return Err(StoreError::Sealed { what: kind });
        };
        DataKey::from_bytes(&*self.unwrap_bytes(kind, id, under, wrapped)?)
    }

    fn unwrap_bytes(&self, kind: &str, id: &str, under: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>> {
        let ring = self.ring();
        let kek = ring.keks.get(under).or_else(|| ring.destroyed.get(under).map(|(key, _)| key));
        let kek = kek.ok_or(StoreError::Busy { what: "the keys are being rotated" })?;
        unwrap(kek, kind, id, wrapped)
    }

    /// Wraps a data key anew under the active key-encryption key.
    pub(crate) fn rewrap(&self, kind: &str, id: &str, under: &str, wrapped: &[u8]) -> Result<(String, Vec<u8>)> {
        let bytes = self.unwrap_bytes(kind, id, under, wrapped)?;
        let ring = self.ring();
        let kek =
            ring.keks.get(&ring.active).ok_or_else(|| StoreError::corrupt("the set of the installation's keys"))?;
        Ok((ring.active.clone(), seal(kek, &wrap_aad(kind, id), bytes.as_slice())?))
    }

    /// Finds a session, an invitation, a recovery code or a repeated request again by what its owner shows.
    pub(crate) fn secret_hash(&self, kind: &str, secret: &str) -> Vec<u8> {
        hmac::sign(&self.secret_index, format!("{kind}|{secret}").as_bytes()).as_ref().to_vec()
    }

    /// Shows that this installation wrote where the audit trail ends.
    pub(crate) fn trail_end_mac(&self, seq: u64, hash: &[u8], checkpoint: u64) -> Vec<u8> {
        trail_end_mac(&self.trail_end, seq, hash, checkpoint)
    }

    pub(crate) fn phone_hash(&self, phone: &clinic::PhoneNumber) -> Vec<u8> {
        hmac::sign(&self.phone_index, phone.expose().as_bytes()).as_ref().to_vec()
    }

    pub(crate) fn external_id_hash(&self, external_id: &str) -> Vec<u8> {
        hmac::sign(&self.external_id_index, external_id.as_bytes()).as_ref().to_vec()
    }

    pub(crate) fn call_sid_hash(&self, call_sid: &str) -> Vec<u8> {
        hmac::sign(&self.call_sid_index, call_sid.as_bytes()).as_ref().to_vec()
    }

    /// Finds an alert, or an occurrence of one, again without telling what it is about. Identifiers, kinds and codes hold
    /// no `|`, so the joined text is unambiguous.
    pub(crate) fn alert_hash(&self, parts: &[&str]) -> Vec<u8> {
        hmac::sign(&self.alert_index, parts.join("|").as_bytes()).as_ref().to_vec()
    }

    pub(crate) fn token_hash(&self, token: &str) -> Vec<u8> {
        hmac::sign(&self.token_index, token.as_bytes()).as_ref().to_vec()
    }

    pub(crate) fn conversation_hash(&self, conversation_id: &str) -> Vec<u8> {
        hmac::sign(&self.conversation_index, conversation_id.as_bytes()).as_ref().to_vec()
    }
}

/// Seals a column value for one place.
pub(crate) fn seal_at(key: &DataKey, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>> {
    seal(key, &place.aad(), plaintext)
}

/// Opens a column value; damage and displacement are the same thing here.
pub(crate) fn open_at(key: &DataKey, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    open(key, &place.aad(), sealed)
        .ok_or_else(|| StoreError::corrupt(format!("{} of {} {}", place.column, place.table, place.row)))
}

/// Makes a data key wrapped by another one: a call's by its patient's, so that both are destroyed together.
pub(crate) fn fresh_key_under(parent: &DataKey, kind: &str, id: &str) -> Result<(DataKey, Vec<u8>)> {
    let bytes = random_bytes::<KEY_LEN>()?;
    Ok((DataKey::from_bytes(&bytes)?, seal(parent, &wrap_aad(kind, id), bytes.as_slice())?))
}

/// Unwraps a data key that another one wraps.
pub(crate) fn unwrap_under(parent: &DataKey, kind: &str, id: &str, wrapped: &[u8]) -> Result<DataKey> {
    DataKey::from_bytes(&*unwrap(parent, kind, id, wrapped)?)
}

fn unwrap(parent: &DataKey, kind: &str, id: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>> {
    let damaged = || StoreError::corrupt(format!("the key of {kind} {id}"));
    let bytes = open(parent, &wrap_aad(kind, id), wrapped).ok_or_else(damaged)?;
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| damaged())?))
}

fn wrap_aad(kind: &str, id: &str) -> Vec<u8> {
    format!("key|{kind}|{id}|{VERSION}").into_bytes()
}

pub(crate) fn seal(key: &DataKey, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    const BODY: usize = 1 + NONCE_LEN;
    let nonce = *random_bytes::<NONCE_LEN>()?;
    let mut out = Vec::with_capacity(BODY + plaintext.len() + TAG_LEN);
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    let body = out.get_mut(BODY..).unwrap_or_default();
    let tag = key
        .cipher()
        .seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), body)
        .doing("encrypt a value")?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

pub(crate) fn open(key: &DataKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (version, rest) = sealed.split_first()?;
    let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
    if *version != VERSION {
        return None;
    }
    let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = Zeroizing::new(body.to_vec());
    let length = key.cipher().open_in_place(nonce, aead::Aad::from(aad), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PLACE: Place<'static> = Place { table: "events", row: "call/1", column: "payload" };

    #[test]
    fn a_sealed_value_opens_at_its_place_only() {
        let key = DataKey::random().unwrap();
        let sealed = seal_at(&key, PLACE, b"words").unwrap();
        assert_eq!(open_at(&key, PLACE, &sealed).unwrap().as_slice(), b"words");
        for place in [
            Place { row: "call/2", ..PLACE },
            Place { table: "segments", ..PLACE },
            Place { column: "report", ..PLACE },
        ] {
            assert_eq!(open_at(&key, place, &sealed).unwrap_err().code(), "corrupt");
        }
        assert!(open_at(&DataKey::random().unwrap(), PLACE, &sealed).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let key = DataKey::random().unwrap();
        let sealed = seal_at(&key, PLACE, b"words").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open_at(&key, PLACE, &damaged).is_err());
        }
        for length in 0..sealed.len() {
            assert!(open_at(&key, PLACE, &sealed[..length]).is_err());
        }
    }

    fn vault() -> Vault {
        let kek = || DataKey::random().unwrap();
        let keks = HashMap::from([("k1".to_owned(), kek()), ("k2".to_owned(), kek())]);
        let audit = ("a".to_owned(), random_bytes().unwrap());
        let (active, newest, index) = ("k1".to_owned(), "k2".to_owned(), MasterKey::random().unwrap());
        Vault::new(RootKeys { keks: Keks { keks, active, newest }, index, audit }).unwrap()
    }

    #[test]
    fn a_wrapped_key_belongs_to_one_record_and_one_key() {
        let vault = vault();
        let fresh = vault.fresh_key("call", "a").unwrap();
        assert_eq!(fresh.key_id, "k1");
        assert!(vault.unwrap_key("call", "a", Some("k1"), Some(&fresh.wrapped)).is_ok());
        let code = |kind, id, under, wrapped| vault.unwrap_key(kind, id, under, wrapped).unwrap_err().code();
        assert_eq!(code("call", "b", Some("k1"), Some(&fresh.wrapped)), "corrupt");
        assert_eq!(code("patient", "a", Some("k1"), Some(&fresh.wrapped)), "corrupt");
        assert_eq!(code("call", "a", Some("k2"), Some(&fresh.wrapped)), "corrupt");
        assert_eq!(code("call", "a", Some("k3"), Some(&fresh.wrapped)), "busy");
        assert_eq!(code("call", "a", None, None), "sealed");
        let (inner, wrapped) = fresh_key_under(&fresh.key, "call", "b").unwrap();
        let sealed = seal_at(&inner, PLACE, b"words").unwrap();
        assert!(open_at(&unwrap_under(&fresh.key, "call", "b", &wrapped).unwrap(), PLACE, &sealed).is_ok());
        assert!(unwrap_under(&fresh.key, "call", "c", &wrapped).is_err());
        assert!(unwrap_under(&DataKey::random().unwrap(), "call", "b", &wrapped).is_err());
    }

    #[test]
    fn a_key_wrapped_anew_is_the_same_key() {
        let vault = vault();
        let fresh = vault.fresh_key("patient", "a").unwrap();
        let sealed = seal_at(&fresh.key, PLACE, b"words").unwrap();
        vault.keyring.write().unwrap().active = "k2".to_owned();
        let (under, wrapped) = vault.rewrap("patient", "a", "k1", &fresh.wrapped).unwrap();
        assert_eq!(under, "k2");
        let key = vault.unwrap_key("patient", "a", Some("k2"), Some(&wrapped)).unwrap();
        assert_eq!(open_at(&key, PLACE, &sealed).unwrap().as_slice(), b"words");
    }

    #[test]
    fn a_destroyed_key_serves_the_last_reads() {
        let vault = vault();
        let fresh = vault.fresh_key("patient", "a").unwrap();
        let mut keks = vault.known();
        keks.remove("k1");
        vault.renew(Keks { keks, active: "k2".to_owned(), newest: "k2".to_owned() });
        assert!(vault.has_exactly(&["k2".to_owned()]) && vault.active() == "k2");
        assert!(vault.unwrap_key("patient", "a", Some("k1"), Some(&fresh.wrapped)).is_ok());
        vault.keyring.write().unwrap().destroyed.get_mut("k1").unwrap().1 -= LAST_READS;
        vault.drop_destroyed();
        assert_eq!(vault.unwrap_key("patient", "a", Some("k1"), Some(&fresh.wrapped)).unwrap_err().code(), "busy");
    }

    #[test]
    fn indexes_are_keyed_and_kept_apart() {
        let (vault, other) = (vault(), vault());
        assert_eq!(vault.call_sid_hash("x"), vault.call_sid_hash("x"));
        assert_ne!(vault.call_sid_hash("x"), other.call_sid_hash("x"));
        assert_ne!(vault.call_sid_hash("x"), vault.external_id_hash("x"));
        assert_ne!(vault.secret_hash("session", "x"), vault.secret_hash("invitation", "x"));
    }
}

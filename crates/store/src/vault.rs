//! Envelope encryption: data keys wrapped by a key-encryption key, column values sealed by data keys, and keyed hashes
//! to find a sealed value again.
//!
//! A sealed value is `version (1) | nonce (12) | ciphertext | tag (16)`, AES-256-GCM with a random nonce. Its associated
//! data names the place it belongs to, so a ciphertext copied to another row, column or table does not open. Random
//! 96-bit nonces are safe up to 2^32 uses of a key (NIST SP 800-38D, 8.3); a data key serves one call or one patient.

use crate::keys::{DataKey, KEY_LEN, MasterKey, random_bytes};
use crate::{Result, StoreError, error::Doing};
use aws_lc_rs::{aead, hmac};
use zeroize::Zeroizing;

/// Format of sealed values; part of the associated data.
const VERSION: u8 = 1;
/// Bytes of a GCM nonce.
pub(crate) const NONCE_LEN: usize = aead::NONCE_LEN;
/// Bytes of a GCM tag.
pub(crate) const TAG_LEN: usize = 16;
/// What the canary holds. Its content does not matter, only that it opens.
const CANARY: &[u8] = b"this database belongs to this key";

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

/// Keys derived from the master key, one per purpose.
pub(crate) struct Vault {
    key_id: String,
    kek: DataKey,
    canary: DataKey,
    phone_index: hmac::Key,
    external_id_index: hmac::Key,
    call_sid_index: hmac::Key,
    alert_index: hmac::Key,
    token_index: hmac::Key,
    conversation_index: hmac::Key,
}

/// A data key and its wrapped form.
pub(crate) struct FreshKey {
    pub(crate) key: DataKey,
    pub(crate) wrapped: Vec<u8>,
}

impl Vault {
    pub(crate) fn new(master: &MasterKey) -> Result<Self> {
        let cipher = |purpose| DataKey::from_bytes(&master.derive_own(purpose));
        let index = |purpose| hmac::Key::new(hmac::HMAC_SHA256, master.derive_own(purpose).as_slice());
        Ok(Self {
            key_id: master.key_id(),
            kek: cipher("key encryption")?,
            canary: cipher("canary")?,
            phone_index: index("phone index"),
            external_id_index: index("external id index"),
            call_sid_index: index("call sid index"),
            alert_index: index("alert index"),
            token_index: index("token index"),
            conversation_index: index("conversation index"),
        })
    }

    /// Public name of the master key, stored beside everything it wraps.
    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn seal_canary(&self) -> Result<Vec<u8>> {
        seal(&self.canary, &Place { table: "meta", row: "canary", column: "value" }.aad(), CANARY)
    }

    pub(crate) fn canary_opens(&self, sealed: &[u8]) -> bool {
        open(&self.canary, &Place { table: "meta", row: "canary", column: "value" }.aad(), sealed)
            .is_some_and(|text| text.as_slice() == CANARY)
    }

    /// Makes a data key for the record `id` of `kind`.
    pub(crate) fn fresh_key(&self, kind: &'static str, id: &str) -> Result<FreshKey> {
        let bytes = random_bytes::<KEY_LEN>()?;
        let wrapped = seal(&self.kek, &wrap_aad(kind, id), bytes.as_slice())?;
        Ok(FreshKey { key: DataKey::from_bytes(&bytes)?, wrapped })
    }

    /// Unwraps the data key of a record; `None` stands for a key that was destroyed.
    pub(crate) fn unwrap_key(
        &self,
        kind: &'static str,
        id: &str,
        wrapped_under: &str,
        wrapped: Option<&[u8]>,
    ) -> Result<DataKey> {
        let wrapped = wrapped.ok_or(StoreError::Sealed { what: kind })?;
        if wrapped_under != self.key_id {
            return Err(StoreError::WrongKey { given: self.key_id.clone(), expected: wrapped_under.to_owned() });
        }
        let damaged = || StoreError::corrupt(format!("the key of {kind} {id}"));
        let bytes = open(&self.kek, &wrap_aad(kind, id), wrapped).ok_or_else(damaged)?;
        DataKey::from_bytes(bytes.as_slice().try_into().map_err(|_| damaged())?)
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

fn wrap_aad(kind: &'static str, id: &str) -> Vec<u8> {
    format!("key|{kind}|{id}|{VERSION}").into_bytes()
}

fn seal(key: &DataKey, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
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

fn open(key: &DataKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
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

    #[test]
    fn a_wrapped_key_belongs_to_one_record_and_one_master_key() {
        let vault = Vault::new(&MasterKey::random().unwrap()).unwrap();
        let fresh = vault.fresh_key("call", "a").unwrap();
        assert!(vault.unwrap_key("call", "a", vault.key_id(), Some(&fresh.wrapped)).is_ok());
        let code = |kind, id, under: &str, wrapped| vault.unwrap_key(kind, id, under, wrapped).unwrap_err().code();
        assert_eq!(code("call", "b", vault.key_id(), Some(&fresh.wrapped)), "corrupt");
        assert_eq!(code("patient", "a", vault.key_id(), Some(&fresh.wrapped)), "corrupt");
        assert_eq!(code("call", "a", "0000", Some(&fresh.wrapped)), "wrong_key");
        assert_eq!(code("call", "a", vault.key_id(), None), "sealed");
    }

    #[test]
    fn indexes_are_keyed_and_kept_apart() {
        let vault = Vault::new(&MasterKey::random().unwrap()).unwrap();
        let other = Vault::new(&MasterKey::random().unwrap()).unwrap();
        assert_eq!(vault.call_sid_hash("x"), vault.call_sid_hash("x"));
        assert_ne!(vault.call_sid_hash("x"), other.call_sid_hash("x"));
        assert_ne!(vault.call_sid_hash("x"), vault.external_id_hash("x"));
    }
}

//! The two kinds of keys: the installation's master key, and a random data key per call and per patient.
//!
//! The master key never encrypts anything itself. Keys with one purpose each are derived from it (HKDF-SHA256, RFC
//! 5869), so that what leaks from one use says nothing about another.

use crate::{Result, StoreError, error::Doing};
use aws_lc_rs::{aead, hmac, rand};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// Bytes of every symmetric key here (AES-256, HMAC-SHA256).
pub(crate) const KEY_LEN: usize = 32;

/// The public salt of all derivations: it keeps our keys apart from other software fed with the same secret.
const DERIVATION_SALT: &[u8] = b"heartvoice store v1";

/// The installation's secret, from `ENCRYPTION_KEY`. Wiped from memory when dropped, hidden from `Debug`.
pub struct MasterKey(Zeroizing<[u8; KEY_LEN]>);

impl MasterKey {
    /// Reads 64 hexadecimal digits, as `ENCRYPTION_KEY` holds them.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for anything else; the text is never repeated.
    pub fn from_hex(text: &str) -> Result<Self> {
        let invalid =
            StoreError::Invalid { what: "encryption key", expected: "64 hexadecimal digits (32 random bytes)" };
        let digits = text.trim().as_bytes();
        let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != KEY_LEN || !rest.is_empty() {
            return Err(invalid);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else { return Err(invalid) };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// Makes a fresh random key, for demonstrations and tests: what it seals is lost with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the system has no randomness to give.
    pub fn random() -> Result<Self> {
        Ok(Self(random_bytes()?))
    }

    /// Derives a key for another purpose, such as signing tickets. Equal purposes give equal keys; no purpose gives a
    /// key that the store itself uses.
    #[must_use]
    pub fn derive_32(&self, purpose: &str) -> [u8; 32] {
        *self.derive(&["use", purpose])
    }

    /// A short public name of this key, safe to store and to log: knowing it does not help to find the key.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.derive(&["store", "key id"]).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        self.0.clone()
    }

    /// A key for a purpose of the store itself.
    pub(crate) fn derive_own(&self, purpose: &str) -> Zeroizing<[u8; KEY_LEN]> {
        self.derive(&["store", purpose])
    }

    /// HKDF for exactly one output block, written out because the general form can fail (on outputs over 255 blocks) and
    /// a key derivation that might fail would put an error into every caller. A test compares it with the library's.
    fn derive(&self, path: &[&str]) -> Zeroizing<[u8; KEY_LEN]> {
        let sign = |key: &[u8], text: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
            let mut out = Zeroizing::new([0u8; KEY_LEN]);
            for (to, from) in out.iter_mut().zip(tag.as_ref()) {
                *to = *from;
            }
            out
        };
        let mut info = derivation_info(path);
        info.push(1);
        sign(sign(DERIVATION_SALT, self.0.as_slice()).as_slice(), &info)
    }
}

/// The purpose as bytes. Each part is preceded by its length, so that no two paths read the same.
fn derivation_info(path: &[&str]) -> Vec<u8> {
    path.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes())).collect()
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// A random AES-256-GCM key of one call or one patient. Destroying its wrapped copy erases everything sealed with it.
#[derive(Clone)]
pub struct DataKey(Arc<aead::LessSafeKey>);

impl DataKey {
    /// Makes a fresh random key that is stored nowhere.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the system has no randomness to give.
    pub fn random() -> Result<Self> {
        Self::from_bytes(&*random_bytes()?)
    }

    pub(crate) fn from_bytes(bytes: &[u8; KEY_LEN]) -> Result<Self> {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, bytes).doing("set up a cipher")?;
        Ok(Self(Arc::new(aead::LessSafeKey::new(key))))
    }

    pub(crate) fn cipher(&self) -> &aead::LessSafeKey {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

/// Random bytes from the one crypto provider.
pub(crate) fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0u8; N]);
    rand::fill(bytes.as_mut_slice()).doing("draw random bytes")?;
    Ok(bytes)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    #[test]
    fn a_key_is_64_hex_digits() {
        assert_eq!(MasterKey::from_hex(HEX).unwrap().0[31], 0x1f);
        for bad in ["", "00", &HEX[1..], &format!("{HEX}0"), &HEX.replace('a', "g"), &HEX.replace("00", "é")] {
            let error = MasterKey::from_hex(bad).unwrap_err();
            assert_eq!(error.code(), "invalid");
            assert!(bad.len() < 8 || !error.to_string().contains(bad));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?} {:?}", MasterKey::from_hex(HEX).unwrap(), DataKey::random().unwrap());
        assert_eq!(shown, "MasterKey(redacted) DataKey(redacted)");
    }

    #[test]
    fn derivation_is_hkdf() {
        use aws_lc_rs::hkdf;
        let key = MasterKey::from_hex(HEX).unwrap();
        let mut expected = [0u8; 32];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVATION_SALT).extract(key.0.as_slice());
        let info = derivation_info(&["use", "ticket"]);
        prk.expand(&[&info], hkdf::HKDF_SHA256).unwrap().fill(&mut expected).unwrap();
        assert_eq!(key.derive_32("ticket"), expected);
        assert_ne!(derivation_info(&["use", "ticket"]), derivation_info(&["uset", "icket"]));
    }

    #[test]
    fn purposes_give_unrelated_stable_keys() {
        let key = MasterKey::from_hex(HEX).unwrap();
        assert_eq!(key.derive_32("ticket"), MasterKey::from_hex(HEX).unwrap().derive_32("ticket"));
        assert_ne!(key.derive_32("ticket"), key.derive_32("cookie"));
        assert_ne!(key.derive_32("kek"), *key.derive_own("kek"));
        assert_ne!(key.derive_32("ticket"), MasterKey::random().unwrap().derive_32("ticket"));
        assert_eq!(key.key_id().len(), 16);
    }
}

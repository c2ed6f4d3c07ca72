//! The second factor: six digits from an authenticator app, after RFC 6238 with the values that every app supports
//! (SHA-1, 30 seconds, six digits).
//!
//! The code of the step before and of the step after is accepted too: telephones run a little wrong and people type
//! slowly. Whoever looks over a shoulder must not use the same code again, so an accepted code is reported as its step,
//! the caller stores that with the account, and no step up to it counts any more.

use super::{NoRandomness, random, same};
use aws_lc_rs::hmac;
use std::fmt;
use zeroize::Zeroizing;

/// Seconds for which a code is shown.
pub const STEP_S: u64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Steps before and after the present one that are accepted.
const STEPS_ASIDE: u64 = 1;
/// Bytes of a secret: as many as SHA-1 gives, as RFC 4226 recommends.
pub const SECRET_BYTES: usize = 20;

/// What the server and the app of one person share. Seal it before it is stored.
pub struct TotpSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The stored one; `None` when the length is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// What to seal and store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// For those who type it into their app: base32, 32 letters and digits without padding.
    #[must_use]
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32(self.as_bytes()))
    }

    /// The address that a QR code shows to an app. It holds the secret: shown once, never logged, never stored.
    #[must_use]
    pub fn otpauth_uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (percent(issuer), percent(account));
        let secret = self.base32();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            secret.as_str()
        ))
    }

    /// Checks what was typed. Some(step): right, and of that step, which the caller stores as the new `last_step` in the
    /// same transaction that lets the person in. `None`: wrong, or used before.
    ///
    /// Spaces are let pass, because apps show `123 456`.
    #[must_use]
    pub fn accept(&self, typed: &str, unix_s: u64, last_step: Option<u64>) -> Option<u64> {
        let digits: Vec<u8> = typed.bytes().filter(|b| *b != b' ').take(DIGITS + 1).collect();
        if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let now = unix_s / STEP_S;
        let mut accepted = None;
        // All are computed whichever fits, so that time does not tell.
        for step in now.saturating_sub(STEPS_ASIDE)..=now.saturating_add(STEPS_ASIDE) {
            let fits = same(self.code(step).as_bytes(), &digits);
            if fits && last_step.is_none_or(|last| step > last) {
                accepted = accepted.or(Some(step));
            }
        }
        accepted
    }

    /// The code of a step, that is of `unix_s / 30`.
    #[must_use]
    pub fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.as_bytes());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, section 5.3: the low half of the last byte says where the number begins; its sign bit is dropped.
        let from = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
        let four = tag.get(from..from + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
        let number = u32::from_be_bytes(four) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

/// RFC 4648 base32 without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    for group in bytes.chunks(5) {
        let mut padded = [0; 8];
        for (to, from) in padded.iter_mut().skip(3).zip(group) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(padded);
        let letters = (group.len() * 8).div_ceil(5);
        for place in (0..8).rev().take(letters) {
            let index = usize::try_from(bits >> (place * 5) & 31).unwrap_or_default();
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'A')));
        }
    }
    text
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The secret of the examples of RFC 4226 and RFC 6238.
    fn of_the_rfc() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfcs() {
        // RFC 4226, appendix D.
        let hotp = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (counter, code) in hotp.iter().enumerate() {
            assert_eq!(of_the_rfc().code(counter as u64), *code);
        }
        // RFC 6238, appendix B: the table has eight digits, of which an app with six shows the last.
        let totp = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (unix_s, code) in totp {
            assert_eq!(of_the_rfc().code(unix_s / STEP_S), code[2..], "{unix_s}");
            assert_eq!(of_the_rfc().accept(&code[2..], unix_s, None), Some(unix_s / STEP_S));
        }
    }

    #[test]
    fn one_step_aside_is_accepted_and_two_are_not() {
        let secret = of_the_rfc();
        let code = secret.code(1_000);
        for (step, expected) in
            [(998, None), (999, Some(1_000)), (1_000, Some(1_000)), (1_001, Some(1_000)), (1_002, None)]
        {
            assert_eq!(secret.accept(&code, step * STEP_S, None), expected, "{step}");
            assert_eq!(secret.accept(&code, step * STEP_S + STEP_S - 1, None), expected, "{step}");
        }
        assert_eq!(secret.accept(&secret.code(0), 0, None), Some(0), "no step before the first");
    }

    #[test]
    fn a_code_counts_once() {
        let secret = of_the_rfc();
        let now = 1_000 * STEP_S;
        let step = secret.accept(&secret.code(1_000), now, None);
        assert_eq!(step, Some(1_000));
        assert_eq!(secret.accept(&secret.code(1_000), now, step), None, "the same again");
        assert_eq!(secret.accept(&secret.code(999), now, step), None, "nor an earlier one");
        assert_eq!(secret.accept(&secret.code(1_001), now, step), Some(1_001));
    }

    #[test]
    fn only_six_digits_are_a_code() {
        let secret = of_the_rfc();
        assert_eq!(secret.accept("287 082", 59, None), Some(1));
        for typed in ["", "28708", "2870822", "28708a", "-87082", "２８７０８２", "287082\0", &"1".repeat(10_000)]
        {
            assert_eq!(secret.accept(typed, 59, None), None, "{typed:.20}");
        }
    }

    #[test]
    fn the_secret_is_written_as_apps_read_it() {
        // RFC 4648, section 10, without padding.
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert_eq!(of_the_rfc().base32().as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            of_the_rfc().otpauth_uri("St. Mary's", "ada@clinic.example").as_str(),
            "otpauth://totp/St.%20Mary%27s:ada%40clinic.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=St.%20Mary%27s&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn secrets_are_random_and_do_not_show() {
        let (one, other) = (TotpSecret::generate().unwrap(), TotpSecret::generate().unwrap());
        assert_ne!(one.as_bytes(), other.as_bytes());
        assert_eq!(format!("{one:?}"), "TotpSecret(..)");
        assert!(TotpSecret::from_bytes(b"short").is_none());
    }
}

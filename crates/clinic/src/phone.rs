//! Telephone numbers in E.164 form. A number is PHI: its `Debug` shows nothing of it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A telephone number in E.164 form: `+`, country code, subscriber number, 8 to 15 digits (ITU-T E.164).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

/// Why a text is not a telephone number. The text itself is never repeated, because it may be somebody's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a telephone number in E.164 form: expected '+' and 8 to 15 digits, such as +15005550006")]
pub struct InvalidPhoneNumber;

impl PhoneNumber {
    /// Accepts E.164, with blanks, dots, dashes, slashes and brackets between the digits ignored.
    ///
    /// A number without `+` is refused rather than guessed at: the country is not known.
    ///
    /// # Errors
    /// [`InvalidPhoneNumber`] for anything else, among it Twilio's `anonymous`, `client:…` and `sip:…`.
    pub fn parse(text: &str) -> Result<Self, InvalidPhoneNumber> {
        let rest = text.trim().strip_prefix('+').ok_or(InvalidPhoneNumber)?;
        let mut number = String::with_capacity(16);
        number.push('+');
        for c in rest.chars() {
            match c {
                '0'..='9' => number.push(c),
                ' ' | '.' | '-' | '/' | '(' | ')' | '\u{a0}' => {}
                _ => return Err(InvalidPhoneNumber),
            }
        }
        let digits = number.len() - 1;
        let leading_zero = number.as_bytes().get(1) == Some(&b'0');
        if (8..=15).contains(&digits) && !leading_zero { Ok(Self(number)) } else { Err(InvalidPhoneNumber) }
    }

    /// The number as `+` and digits. Name it only where it must leave the process (a call, a screen with a right to it).
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(redacted)")
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = InvalidPhoneNumber;
    fn try_from(text: String) -> Result<Self, InvalidPhoneNumber> {
        Self::parse(&text)
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn punctuation_does_not_matter() {
        let plain = PhoneNumber::parse("+15005550006").unwrap();
        assert_eq!(PhoneNumber::parse(" +1 (500) 555-0006 ").unwrap(), plain);
        assert_eq!(plain.expose(), "+15005550006");
    }

    #[test]
    fn what_twilio_sends_for_hidden_callers_is_not_a_number() {
        for text in [
            "anonymous",
            "unknown",
            "client:ada",
            "sip:ada@example.org",
            "+266696687",
            "",
            "+",
            "5005550006",
            "+0123456789",
        ] {
            // +266696687 spells ANONYMOUS and has nine digits: it is well-formed, and matches nobody.
            assert_eq!(PhoneNumber::parse(text).is_ok(), text == "+266696687", "{text}");
        }
    }

    #[test]
    fn a_number_does_not_show_in_debug_output() {
        let number = PhoneNumber::parse("+15005550006").unwrap();
        assert!(!format!("{number:?}").contains("5550006"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in ".{0,40}") {
            if let Ok(number) = PhoneNumber::parse(&text) {
                prop_assert_eq!(PhoneNumber::parse(number.expose()), Ok(number.clone()));
            }
        }
    }
}

//! Opaque identifiers.
//!
//! They carry no meaning (never a phone number or a record number), so they may appear in URLs, logs and file names.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest identifier accepted from outside.
const MAX_ID_LENGTH: usize = 64;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected 1 to 64 letters, digits, '-' or '_'")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to 64 letters, digits, `-` or `_`.
            ///
            /// # Errors
            /// [`InvalidId`] for anything else.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let fits = !text.is_empty()
                    && text.len() <= MAX_ID_LENGTH
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                if fits { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
    };
}

id!(
    /// Identifies a patient within one installation.
    PatientId
);
id!(
    /// Identifies one phone call within one installation (not Twilio's call SID).
    CallId
);
id!(
    /// Identifies one alert within one installation.
    AlertId
);
id!(
    /// Identifies one message about an alert to one contact on one channel; the receiver of a webhook gets it as the
    /// idempotency key.
    DeliveryId
);
id!(
    /// Identifies a token of the programming interface. It is not the token.
    TokenId
);
id!(
    /// Identifies a person with an account. Never given to anybody else, also not after the account has ended.
    UserId
);
id!(
    /// Identifies a signed-in session of a person. It is not the secret in the cookie.
    SessionId
);
id!(
    /// Identifies one opening of a record by somebody who is not of the patient's care team.
    GlassBreakId
);
id!(
    /// Identifies a schedule: when a patient is to be telephoned, again and again.
    ScheduleId
);
id!(
    /// Identifies a planned call: one patient on one day, with all its attempts.
    PlannedCallId
);
id!(
    /// Identifies one attempt at a planned call.
    AttemptId
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_letters_digits_dashes() {
        assert!(PatientId::parse("01890f7e-aa_1").is_ok());
        for bad in ["", "a b", "../x", "é", &"x".repeat(65)] {
            assert_eq!(PatientId::parse(bad), Err(InvalidId), "{bad:?}");
        }
    }
}

//! Twilio: media stream messages, webhooks, signatures and call instructions.
//!
//! Nothing here performs IO. Types carry what Twilio sent, with personal data hidden from `Debug`.

use std::fmt;

pub mod message;
pub mod signature;
pub mod twiml;
pub mod voices;
pub mod webhook;

/// Longest identifier accepted, in characters. Twilio's own have 34; some clients send UUIDs.
pub const MAX_SID_CHARS: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected 1 to 128 characters, none of them a control character")]
pub struct InvalidSid;

macro_rules! sid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// An opaque text: its form is documented by Twilio but not relied upon.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to [`MAX_SID_CHARS`] characters, none of them a control character.
            ///
            /// # Errors
            /// [`InvalidSid`] for anything else.
            pub fn parse(text: &str) -> Result<Self, InvalidSid> {
                let fits = !text.is_empty()
                    && text.chars().count() <= MAX_SID_CHARS
                    && !text.chars().any(char::is_control);
                if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSid) }
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

        impl std::str::FromStr for $name {
            type Err = InvalidSid;

            fn from_str(text: &str) -> Result<Self, InvalidSid> {
                Self::parse(text)
            }
        }
    };
}

sid!(
    /// Identifies one media stream (`MZ…`).
    StreamSid
);
sid!(
    /// Identifies one phone call at Twilio (`CA…`).
    CallSid
);
sid!(
    /// Identifies a Twilio account (`AC…`).
    AccountSid
);
sid!(
    /// Identifies one text message (`SM…`).
    MessageSid
);

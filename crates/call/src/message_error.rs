//! Why a message from a peer cannot be used.

/// Why one message from Twilio or from the voice agent cannot be used.
///
/// The text never contains any part of the message, so it may be logged. A message that fails is counted and skipped;
/// it never ends a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The text is not one JSON object.
    #[error("message is not a json object")]
    NotJson,
    /// A field without which the message has no meaning is absent or null.
    #[error("message lacks field {field}")]
    MissingField {
        /// Name of the field in the protocol.
        field: &'static str,
    },
    /// A field is present but has a type or value without meaning.
    #[error("message has an invalid field {field}")]
    Invalid {
        /// Name of the field in the protocol.
        field: &'static str,
    },
    /// The message exceeds a documented bound of this crate.
    #[error("message is too large")]
    TooLarge,
}

impl MessageError {
    /// A stable word for metrics and clients.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::MissingField { .. } => "missing_field",
            Self::Invalid { .. } => "invalid_field",
            Self::TooLarge => "too_large",
        }
    }
}

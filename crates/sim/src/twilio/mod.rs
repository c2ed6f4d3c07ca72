//! Simulated Twilio: callers with media streams, the TwiML engine, webhooks and the REST interface.
//!
//! [`Caller`] makes one incoming call to a server; [`TwilioSim`] is the REST side, whose calls run the same engine.

pub mod caller;
pub mod checker;
pub mod engine;
pub mod impair;
pub mod playback;
pub mod rest;
pub mod twiml;

pub use caller::{CallReport, Caller, EndedBy, TimelineEntry, Violation};
pub use impair::{HandshakeSignature, HangUpStyle, Impairments, Malformed};
pub use rest::{CallSnapshot, CalleeAnswer, MessageSnapshot, TwilioConfig, TwilioRunning, TwilioSim};

/// Account of the simulated Twilio unless another is set.
pub const TEST_ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";

/// Its token.
pub const TEST_AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

//! Simulated Twilio: callers with media streams, the TwiML engine, webhooks and the REST interface.
//!
//! [`Caller`] makes one incoming call to a server; [`TwilioSim`] is the REST side, whose calls run the same engine.

mod call;
mod call_streams;
mod callbacks;
pub mod caller;
pub mod checker;
pub mod engine;
mod gather;
pub mod impair;
pub mod playback;
pub mod rest;
mod rest_calls;
mod rest_json;
mod rest_messages;
mod socket;
pub mod stream;
pub mod twiml;
pub mod webhook;

pub use caller::{CallReport, Caller, EndedBy, TimelineEntry, Violation};
pub use impair::{HandshakeSignature, HangUpStyle, Impairments, Malformed};
pub use rest::{CallSnapshot, CalleeAnswer, MessageSnapshot, TwilioConfig, TwilioRunning, TwilioSim};

/// Account of the simulated Twilio unless another is set.
pub const TEST_ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";

/// Its token.
pub const TEST_AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

//! One phone call as a state machine without IO: protocol messages and the passing of time go in, messages, captured
//! audio and records come out.
//!
//! The crate opens no socket, reads no clock, starts no task and writes no log; a call can therefore be replayed to the
//! last bit, and an hour of telephoning is tested in milliseconds. Read [`engine::Call`] first, then the two
//! vocabularies it speaks: [`twilio::message`] towards the phone and [`agent::elevenlabs`] towards the voice agent.

pub mod agent;
pub mod bridge;
pub mod encounter;
pub mod engine;
mod floor;
mod json;
mod message_error;
mod playout;
pub mod script;
pub mod ticket;
pub mod time;
pub mod twilio;
mod uplink;

pub use encounter::{Act, Encounter};
pub use engine::{Call, CallConfig, Input, Output};
pub use message_error::MessageError;
pub use time::Tick;

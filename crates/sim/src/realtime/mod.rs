//! Simulated OpenAI Realtime service: sessions over WebSocket, and the description of a model over REST.
//!
//! [`RealtimeSim::start`] opens a listener; [`Conversation`] is a session, free of IO. Who speaks there is the agent of
//! [`crate::elevenlabs`], with its script, its ear and its voice; this module is the protocol around it: items,
//! responses, turns of the caller, and everything the service is known to refuse.

pub mod config;
pub mod conversation;
mod events;
pub mod faults;
mod inbound;
mod response;
mod server;
mod settings;

pub use crate::elevenlabs::{ConversationStats, Out};
pub use config::RealtimeConfig;
pub use conversation::Conversation;
pub use faults::{Fault, Faults};
pub use server::{RealtimeSim, Running, Stats};

#[cfg(test)]
mod conversation_tests;

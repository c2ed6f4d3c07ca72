//! Simulated ElevenLabs agents service: signed URLs over REST and conversations over WebSocket.
//!
//! [`ElevenLabsSim::start`] opens a listener; [`Conversation`] is the agent itself, free of IO.

pub mod config;
pub mod conversation;
mod driven;
mod ear;
mod events;
pub mod faults;
mod follow;
mod hearing;
pub mod init;
mod rest;
pub mod script;
mod server;
pub mod speech;
pub mod stats;

pub use config::SimConfig;
pub use conversation::{Conversation, LATE_TONE_HZ, Out};
pub use faults::{Fault, FaultError, Faults, LateAudio};
pub use script::{Beat, Listen, Script};
pub use server::{ElevenLabsSim, Running};
pub use speech::AudioFormat;
pub use stats::{ConversationStats, Stats};

#[cfg(test)]
mod conversation_tests;

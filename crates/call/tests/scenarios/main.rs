//! The engine in simulated time: each test is a behaviour, none of them sleeps.
//!
//! The phone of these tests has Twilio's playback clock (marks come back when the audio before them was played, all of
//! them at once after a `clear`); the agent is whatever the test says it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent_formats;
mod connecting;
mod ending;
mod failing;
mod gaps;
mod interrupting;
mod phone_troubles;
mod properties;
mod speaking;
mod tools_and_tasks;
mod world;

//! Whole visits over real sockets: a patient who speaks, an agent, the phone company, and what the staff sees of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod after_the_call;
mod away;
mod consent;
mod emergencies;
mod house;
mod identity;
mod log;
mod nurse_line;
mod technical;

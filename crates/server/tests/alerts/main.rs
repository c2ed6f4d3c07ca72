//! Alerts on their way to people, and the programming interface, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod client;
mod clinic_side;
mod conventions;
mod described;
mod house;
mod messages;
mod plans;
mod restarts;
mod trail;
mod visits;
mod webhook_and_mail;

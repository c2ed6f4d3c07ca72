//! The server over real sockets: webhooks, tickets, media streams and whole calls against a simulated agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bridging;
mod call_backs;
mod giving_way;
mod house;
mod key_rotation;
mod left_open;
mod media_sockets;
mod outgoing;
mod post_call;
mod spooled;
mod webhooks;

//! The server's edge over raw sockets: requests that no client of ours sends, connections that only take up room, TLS,
//! and the headers of every answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bodies;
mod headers;
mod heads;
mod house;
mod tls;

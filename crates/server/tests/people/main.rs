//! People at the door, over real sockets: setting up, signing in and out, guessing, forging, being thrown out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod account;
mod browser;
mod forgery;
mod guessing;
mod house;
mod provider;
mod set_up;
mod sign_in;

//! Keeping the agent in the service's account equal to what the protocol needs.
//!
//! [`plan`] looks and changes nothing; [`apply`] carries a plan out. Both go by names and contents, not by anything
//! remembered here, so a push that broke off half-way is completed by the next one, and a second push does nothing.

mod account;
mod apply;
mod documents;
mod plan;

pub use account::{Account, AdminError};
pub use apply::{Applied, apply};
pub use documents::{Document, documents};
pub use plan::{Plan, Step, Wanted, plan};

//! People: accounts, how they sign in, whose patients they look after, and records opened in an emergency.
//!
//! What lets somebody in is never stored as it is: passwords as Argon2id, secrets of sessions, links and recovery codes as
//! keyed hashes, the secret of the second factor sealed. Whatever may count only once (a code, a link, a step of the second
//! factor) is taken by one statement that changes the row only if nobody took it before. Times are handed in, so that
//! what is too old does not depend on any clock of this crate.

mod care_team;
mod glass;
mod invitations;
mod sessions;
mod sign_in;
mod users;

pub use care_team::MAX_CARE_TEAM_PATIENTS;
pub use glass::{GLASS_CODES, GLASS_LIFETIME_US, GlassBreak, NewGlassBreak};
pub use invitations::INVITATION_LIFETIME_US;
pub use sessions::{
    LiveSession, NewSession, PASSWORD_STAGE_LIFETIME_US, SESSION_IDLE_US, SESSION_LIFETIME_US, SessionRecord,
    SessionStage,
};
pub use sign_in::{BrakeState, Credentials, SignIn};
pub use users::UserRecord;

use crate::{Result, StoreError, audit::hex, ids::new_id};

/// A new identifier for something that begins now.
fn id_at(now_us: i64) -> Result<String> {
    new_id(u64::try_from(now_us / 1_000).unwrap_or(0))
}

/// Reads an identifier that we wrote.
fn stored_id<T: TryFrom<String>>(text: String, what: &'static str) -> Result<T> {
    T::try_from(text).map_err(|_| StoreError::corrupt(what))
}

/// The text under which a hash that the caller made is hashed again, with our key.
fn shown(hash: &[u8; 32]) -> String {
    hex(hash)
}

//! Signing in. First the parts that need no database: passwords, the second factor, recovery codes, the session cookie,
//! brakes against guessing, and the protocol of a clinic's own identity provider.
//!
//! Each of these files is one part and knows nothing of the others. All but [`password`] and [`oidc`] are plain functions
//! that are handed the time; what has to be remembered (hashes, the last accepted step, failures of an account) is plain
//! data that the caller stores. Secrets live in types whose `Debug` shows nothing and whose memory is wiped when they go.
//!
//! They are put together with the store in `doors` (what all sign-ins share), `principal` (whose request it is) and the
//! pages of the folder `pages`; `first_run` lets the first administrator in.

mod attempt;
pub mod cookie;
mod doors;
mod first_run;
pub mod oidc;
mod pages;
pub mod password;
pub(crate) mod principal;
pub mod recovery;
pub mod throttle;
pub mod totp;
mod visit;

pub use first_run::{first_link, set_up_address};

pub(crate) use doors::Doors;
pub(crate) use pages::router;
pub(crate) use principal::{Principal, principal};

/// The system gave no random numbers: nothing secret can be made, and nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers; check the entropy source of the machine")]
pub struct NoRandomness;

/// Unpredictable bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Compares without telling by its time where two secrets differ. Their lengths are no secret.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

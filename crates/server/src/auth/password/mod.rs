//! Passwords: Argon2id with the first set of parameters that OWASP's password storage sheet names, as PHC strings.
//!
//! Hashing is slow and takes 19 MiB on purpose, so it runs on threads of its own behind two counters: how many at once,
//! and how many may wait. Beyond that the answer is [`PasswordError::Busy`] at once, and a flood of sign-ins costs memory
//! and processor time up to a known limit only. A user who does not exist costs the same as one who does.
//!
//! A password is the bytes that were typed. No Unicode normalisation is done: the keyboards of one person give the same
//! bytes, and the rules of [`policy`] look at nothing that normalising would change for the worse.

pub mod policy;

use super::{NoRandomness, random};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Memory of one computation (OWASP: 19 MiB with two passes and one lane).
pub const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
pub const PASSES: u32 = 2;
/// Lanes; one computation uses one thread.
pub const LANES: u32 = 1;
/// Bytes of salt, random for each hash.
const SALT_BYTES: usize = 16;
/// Bytes of the result.
const HASH_BYTES: usize = 32;

/// Computations at once. Two keep 40 MiB busy and leave the other processors of a small machine to the calls.
pub const AT_ONCE: usize = 2;
/// Computations that may wait for one of those. Each takes some 20 ms, so the last of them waits a third of a second;
/// one more is answered as busy.
pub const WAITING: usize = 32;

/// Memory that a stored hash may ask for: room for stronger parameters later, none for a forged or damaged row that
/// would take the machine down.
const STORED_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Passes that a stored hash may ask for.
const STORED_PASSES_MAX: u32 = 16;
/// Longest PHC string that is looked at; ours have 97 characters.
const PHC_MAX_BYTES: usize = 512;

/// Why a password was neither accepted nor refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// As many passwords are being checked as may be: answer 503 and let the person try again.
    #[error("too many sign-ins at once; try again in a second")]
    Busy,
    /// What the database holds is no hash of ours.
    #[error("the stored password hash cannot be read: expected a PHC string of Argon2id; give the user a new password")]
    StoredHash,
    /// Longer than any password is; not hashed.
    #[error("a password has at most {max} bytes", max = policy::LENGTH_MAX_BYTES)]
    TooLong,
    /// No salt.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The computation itself failed, for want of memory or because the process ends.
    #[error("the password could not be computed; is the machine out of memory?")]
    Failed,
}

/// Hashes and checks passwords; cheap to clone, one for the process.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Computations that were let in, running or waiting.
    places: Arc<Semaphore>,
    /// Computations that run.
    running: Arc<Semaphore>,
    /// The hash that stands in for users who do not exist: of the cost of every new one, of a password nobody has.
    nobody: Arc<str>,
    /// Comparisons with a hash that were computed to the end.
    #[cfg(test)]
    compared: Arc<std::sync::atomic::AtomicUsize>,
}

impl Passwords {
    /// Computes one hash, some 20 ms.
    ///
    /// # Errors
    /// [`PasswordError`] when the system has no randomness or no memory.
    pub fn new() -> Result<Self, PasswordError> {
        let nobody = compute_hash(&random::<32>()?)?;
        Ok(Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            running: Arc::new(Semaphore::new(AT_ONCE)),
            nobody: nobody.into(),
            #[cfg(test)]
            compared: Arc::default(),
        })
    }

    /// The PHC string to store for a new password, which [`policy::check`] has seen before.
    ///
    /// # Errors
    /// [`PasswordError`]; nothing is stored then.
    pub async fn hash(&self, password: &SecretString) -> Result<String, PasswordError> {
        if password.expose_secret().len() > policy::LENGTH_MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        let password = password.clone();
        self.compute(move || compute_hash(password.expose_secret().as_bytes())).await
    }

    /// Whether a password is the one of a stored hash.
    ///
    /// # Errors
    /// [`PasswordError`] when that cannot be said.
    pub async fn verify(&self, password: &SecretString, phc: &str) -> Result<bool, PasswordError> {
        self.verify_or_dummy(password, Some(phc)).await
    }

    /// As [`Self::verify`]; without a stored hash (no such user, or one who signs in otherwise) the same work is done in
    /// vain and the answer is no, so that neither the answer nor its time tells which users exist.
    ///
    /// # Errors
    /// [`PasswordError`] when it cannot be said.
    pub async fn verify_or_dummy(&self, password: &SecretString, phc: Option<&str>) -> Result<bool, PasswordError> {
        // Nobody has such a password, and whether there is a user makes no difference here.
        if password.expose_secret().len() > policy::LENGTH_MAX_BYTES {
            return Ok(false);
        }
        let exists = phc.is_some();
        let phc: Arc<str> = phc.map_or_else(|| self.nobody.clone(), Arc::from);
        let password = password.clone();
        #[cfg(test)]
        let compared = self.compared.clone();
        let fits = self
            .compute(move || {
                let fits = compute_verify(password.expose_secret().as_bytes(), &phc);
                #[cfg(test)]
                compared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                fits
            })
            .await?;
        Ok(fits && exists)
    }

    /// Runs one computation on a thread of its own. Its places are held by the thread, not by the request: a client that
    /// goes away does not make room for another before the work is really over.
    ///
    /// Not on the pool of blocking threads: each of its many threads would keep the memory of the last hash it computed
    /// (19 MiB) for itself. A thread that ends leaves it to the next one.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = self.running.clone().acquire_owned().await.map_err(|_| PasswordError::Failed)?;
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("password".to_owned()).spawn(move || {
            let result = work();
            drop((turn, place));
            // Nobody may be waiting any more.
            let _ = tell.send(result);
        });
        thread.map_err(|_| PasswordError::Failed)?;
        told.await.map_err(|_| PasswordError::Failed)?
    }
}

/// Whether a stored hash is of another algorithm or other parameters than new ones get. After a sign-in with the right
/// password the caller then stores a new one; until then its check may take another time than that of a missing user.
#[must_use]
pub fn needs_rehash(phc: &str) -> bool {
    let Ok((hash, params)) = read(phc) else { return true };
    let strong = params.m_cost() == MEMORY_KIB && params.t_cost() == PASSES && params.p_cost() == LANES;
    let current = hash.version == Some(u32::from(Version::V0x13)) && hash.hash.is_some_and(|h| h.len() == HASH_BYTES);
    !(strong && current)
}

/// Argon2id as new hashes use it.
fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(|_| PasswordError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn compute_hash(password: &[u8]) -> Result<String, PasswordError> {
    let salt = random::<SALT_BYTES>()?;
    let hash: PasswordHash = hasher()?.hash_password_with_salt(password, &salt).map_err(|_| PasswordError::Failed)?;
    Ok(hash.to_string())
}

fn compute_verify(password: &[u8], phc: &str) -> Result<bool, PasswordError> {
    let (hash, _) = read(phc)?;
    // The parameters are those of the hash.
    match hasher()?.verify_password(password, &hash) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordError::StoredHash),
    }
}

/// A stored hash whose cost is bearable.
fn read(phc: &str) -> Result<(PasswordHash, Params), PasswordError> {
    if phc.len() > PHC_MAX_BYTES {
        return Err(PasswordError::StoredHash);
    }
    let hash = PasswordHash::new(phc).map_err(|_| PasswordError::StoredHash)?;
    let params = Params::try_from(&hash).map_err(|_| PasswordError::StoredHash)?;
    let bearable = params.m_cost() <= STORED_MEMORY_KIB_MAX && params.t_cost() <= STORED_PASSES_MAX;
    if hash.algorithm.as_str() != "argon2id" || !bearable || hash.salt.is_none() || hash.hash.is_none() {
        return Err(PasswordError::StoredHash);
    }
    Ok((hash, params))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::time::Duration;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn the_right_password_fits_and_any_other_does_not() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash(&secret("ein Löwe am Fenster")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(!phc.contains("Fenster"));
        assert!(passwords.verify(&secret("ein Löwe am Fenster"), &phc).await.unwrap());
        for wrong in ["ein Löwe am Fenster ", "ein löwe am Fenster", "", "\0"] {
            assert!(!passwords.verify(&secret(wrong), &phc).await.unwrap(), "{wrong:?}");
        }
        assert_ne!(phc, passwords.hash(&secret("ein Löwe am Fenster")).await.unwrap(), "each hash has its own salt");
        assert!(!needs_rehash(&phc));
    }

    /// Vector of the Argon2 reference program: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1`.
    #[tokio::test]
    async fn hashes_of_the_reference_program_are_read() {
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let passwords = Passwords::new().unwrap();
        assert!(passwords.verify(&secret("password"), phc).await.unwrap());
        assert!(!passwords.verify(&secret("Password"), phc).await.unwrap());
        assert!(needs_rehash(phc), "other parameters than ours");
    }

    #[tokio::test]
    async fn a_forged_row_cannot_ask_for_all_memory() {
        let passwords = Passwords::new().unwrap();
        let tail = "c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for phc in [
            format!("$argon2id$v=19$m=4000000,t=2,p=1${tail}"),
            format!("$argon2id$v=19$m=65536,t=4000000,p=1${tail}"),
            format!("$argon2d$v=19$m=65536,t=2,p=1${tail}"),
            "$argon2id$v=19$m=65536,t=2,p=1".to_owned(),
            "$2b$10$abcdefghijklmnopqrstuv".to_owned(),
            "plain".to_owned(),
            "x".repeat(10_000),
        ] {
            let found = passwords.verify(&secret("password"), &phc).await;
            assert_eq!(found, Err(PasswordError::StoredHash), "{phc:.60}");
            assert!(needs_rehash(&phc));
        }
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::new().unwrap();
        assert!(!passwords.verify_or_dummy(&secret("whatever it is"), None).await.unwrap());
        let long = "a".repeat(policy::LENGTH_MAX_BYTES + 1);
        assert!(!passwords.verify_or_dummy(&secret(&long), None).await.unwrap());
        assert_eq!(passwords.hash(&secret(&long)).await, Err(PasswordError::TooLong));
    }

    /// How long both take is for `examples/sign_in_timing.rs` to measure; here it is shown that both do the same work.
    #[tokio::test]
    async fn a_missing_user_costs_what_an_existing_one_does() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash(&secret("the right password")).await.unwrap();
        let cost = |phc: &str| {
            let (hash, params) = read(phc).unwrap();
            let lengths = (hash.salt.map(|salt| salt.len()), hash.hash.map(|hash| hash.len()));
            (params.m_cost(), params.t_cost(), params.p_cost(), hash.version, lengths)
        };
        assert_eq!(cost(&passwords.nobody), cost(&phc));
        assert!(!needs_rehash(&passwords.nobody), "the stand-in costs what a new hash costs");
        for (stored, compared) in [(Some(phc.as_str()), 1), (None, 2)] {
            assert!(!passwords.verify_or_dummy(&secret("a wrong password"), stored).await.unwrap());
            assert_eq!(passwords.compared.load(std::sync::atomic::Ordering::SeqCst), compared);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_is_answered_as_busy_and_passes() {
        let passwords = Passwords::new().unwrap();
        let attempts = (0..AT_ONCE + WAITING + 20).map(|_| {
            let passwords = passwords.clone();
            async move { passwords.verify_or_dummy(&secret("a wrong password"), None).await }
        });
        let answers = futures_util::future::join_all(attempts).await;
        let busy = answers.iter().filter(|answer| **answer == Err(PasswordError::Busy)).count();
        assert!((1..=20).contains(&busy), "{busy} of {} were busy", answers.len());
        assert!(answers.iter().all(|answer| matches!(answer, Ok(false) | Err(PasswordError::Busy))));
        assert_eq!(passwords.verify_or_dummy(&secret("a wrong password"), None).await, Ok(false), "room again");
    }

    #[tokio::test]
    async fn a_client_that_goes_away_keeps_its_place_until_the_work_is_over() {
        let passwords = Passwords::new().unwrap();
        let password = secret("a wrong password");
        {
            let attempt = std::pin::pin!(passwords.verify_or_dummy(&password, None));
            assert!(futures_util::poll!(attempt).is_pending());
        }
        assert_eq!(passwords.places.available_permits(), AT_ONCE + WAITING - 1);
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if passwords.places.available_permits() == AT_ONCE + WAITING {
                return;
            }
        }
        panic!("the place was never given back");
    }
}

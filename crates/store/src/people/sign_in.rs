//! Signing in: what is compared with what somebody typed, the brake against guessing, the second factor, recovery codes.
//!
//! Everything is done for names that nobody has just as for those that somebody has, with statements of the same cost:
//! neither answers nor times are to tell which is which.

use super::users::{known, read_user, user_name};
use super::{UserRecord, shown};
use crate::db::{Domain, query, query_scalar};
use crate::error::Doing;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::UserId;
use zeroize::Zeroizing;

/// Recovery codes of one account, at most.
const MAX_RECOVERY_CODES: usize = 20;
/// Longest secret of a second factor.
const MAX_TOTP_BYTES: usize = 64;
/// Names that nobody has whose failures are remembered.
const MAX_UNKNOWN_NAMES: i64 = 10_000;
/// How long failures, and what has ended, are kept.
const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const ENDED_KEPT_US: i64 = 90 * DAY_US;

const SECRETS: &str = "SELECT id, name, role, CASE WHEN totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, oidc_linked_at_us, failures, locked_until_us, \
     created_at_us, password_set_at_us, signed_in_at_us, disabled_at_us, password, totp, totp_step \
     FROM users WHERE name = $1 OR id = $2";
const UNKNOWN: &str = "SELECT failures, locked_until_us FROM unknown_names WHERE name_hash = $1";
const NOTE_KNOWN: &str = "UPDATE users SET failures = $1, locked_until_us = $2 \
     WHERE id = $3 AND failures = $4 AND locked_until_us = $5";
const NOTE_UNKNOWN: &str = "INSERT INTO unknown_names (name_hash, failures, locked_until_us) VALUES ($3, $1, $2) \
     ON CONFLICT (name_hash) DO UPDATE SET failures = $1, locked_until_us = $2 \
     WHERE unknown_names.failures = $4 AND unknown_names.locked_until_us = $5";
const SUCCESS: &str = "UPDATE users SET failures = 0, locked_until_us = 0, \
     signed_in_at_us = COALESCE($1, signed_in_at_us) WHERE id = $2";
const SET_TOTP: &str = "UPDATE users SET totp = $1, totp_step = CASE WHEN totp_step > $2 THEN totp_step ELSE $2 END \
     WHERE id = $3";
const TAKE_STEP: &str = "UPDATE users SET totp_step = $1 WHERE id = $2 AND totp_step < $1 AND totp IS NOT NULL";
const FORGET_CODES: &str = "DELETE FROM recovery_codes WHERE user_id = $1";
const ADD_CODE: &str = "INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)";
const USE_CODE: &str =
    "UPDATE recovery_codes SET used_at_us = $1 WHERE user_id = $2 AND code_hash = $3 AND used_at_us IS NULL";
const CODES_LEFT: &str = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND used_at_us IS NULL";
const PRUNE_NAMES: &str = "DELETE FROM unknown_names WHERE locked_until_us < $1 OR locked_until_us < \
     (SELECT MIN(locked_until_us) FROM (SELECT locked_until_us FROM unknown_names \
      ORDER BY locked_until_us DESC LIMIT $2) AS newest)";
const PRUNE_SESSIONS: &str = "DELETE FROM sessions WHERE expires_at_us < $1";
const PRUNE_INVITATIONS: &str = "DELETE FROM invitations WHERE expires_at_us < $1";

/// Failures in a row, and until when nobody may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrakeState {
    /// Failures in a row.
    pub failures: u32,
    /// No attempt before this time, in microseconds since the Unix epoch.
    pub locked_until_us: i64,
}

/// What an account lets somebody in by. `Debug` shows none of it.
pub struct Credentials {
    /// Whose they are.
    pub user: UserRecord,
    /// PHC string; `None`: no password is set.
    pub password: Option<String>,
    /// Secret of the second factor; `None`: not set up.
    pub totp: Option<Zeroizing<Vec<u8>>>,
    /// The last step of it that was used.
    pub totp_step: u64,
}

/// An attempt to sign in under a name, whether or not anybody has it.
#[derive(Debug)]
pub struct SignIn {
    /// `None`: nobody of that name, or disabled.
    pub credentials: Option<Credentials>,
    /// Its failures so far.
    pub brake: BrakeState,
    braked: Braked,
}

/// Where the failures are noted.
#[derive(Debug)]
enum Braked {
    User(UserId),
    Name(Vec<u8>),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user.id).finish_non_exhaustive()
    }
}

fn totp_place(id: &UserId) -> Place<'_> {
    Place { table: "users", row: id.as_str(), column: "totp" }
}

impl Store {
    /// What is known about a name that somebody wants to sign in under.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn sign_in_under(&self, name: &str) -> Result<SignIn> {
        // What cannot be a name is treated as one that nobody has; it is hashed, but never part of a statement.
        let known_form = user_name(name);
        let typed: String = name.trim().chars().take(256).collect();
        let hash = self.inner.vault.secret_hash("sign-in name", known_form.as_ref().unwrap_or(&typed));
        let credentials = self.read_credentials(known_form.as_deref().unwrap_or_default(), "").await?;
        let unknown = query(UNKNOWN).bind(&hash).fetch_optional(self.read()).await.doing("look up a name")?;
        Ok(match credentials {
            Some(found) => {
                let brake = BrakeState { failures: found.user.failures, locked_until_us: found.user.locked_until_us };
                let braked = Braked::User(found.user.id.clone());
                SignIn { credentials: Some(found).filter(|found| found.user.disabled_at_us.is_none()), brake, braked }
            }
            None => {
                let brake = match unknown {
                    None => BrakeState::default(),
                    Some(row) => BrakeState {
                        failures: u32::try_from(row.try_get::<i64>("failures").doing("look up a name")?).unwrap_or(0),
                        locked_until_us: row.try_get("locked_until_us").doing("look up a name")?,
                    },
                };
                SignIn { credentials: None, brake, braked: Braked::Name(hash) }
            }
        })
    }

    /// What an account lets its owner in by, for the second step and for changes; `None` when it is disabled.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`].
    pub async fn credentials(&self, id: &UserId) -> Result<Option<Credentials>> {
        let found = self.read_credentials("", id.as_str()).await?.ok_or(StoreError::NotFound { what: "user" })?;
        Ok(Some(found).filter(|found| found.user.disabled_at_us.is_none()))
    }

    /// As [`Store::sign_in_under`] for an account that is known already.
    ///
    /// # Errors
    /// As [`Store::credentials`].
    pub async fn sign_in_of(&self, id: &UserId) -> Result<SignIn> {
        let found = self.read_credentials("", id.as_str()).await?.ok_or(StoreError::NotFound { what: "user" })?;
        let brake = BrakeState { failures: found.user.failures, locked_until_us: found.user.locked_until_us };
        let credentials = Some(found).filter(|found| found.user.disabled_at_us.is_none());
        Ok(SignIn { credentials, brake, braked: Braked::User(id.clone()) })
    }

    async fn read_credentials(&self, name: &str, id: &str) -> Result<Option<Credentials>> {
        let doing = "read a user";
        let row = query(SECRETS).bind(name).bind(id).fetch_optional(self.read()).await.doing(doing)?;
        let Some(row) = row else { return Ok(None) };
        let user = read_user(&row)?;
        let totp: Option<Vec<u8>> = row.try_get("totp").doing(doing)?;
        let totp = totp.map(|sealed| open_at(self.inner.vault.office(), totp_place(&user.id), &sealed)).transpose()?;
        let step: i64 = row.try_get("totp_step").doing(doing)?;
        let totp_step = u64::try_from(step).unwrap_or(0);
        Ok(Some(Credentials { user, password: row.try_get("password").doing(doing)?, totp, totp_step }))
    }

    /// Counts an attempt, before anything is compared: `next` becomes the state, unless another attempt was faster. False:
    /// it was; read the state again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_attempt(&self, attempt: &SignIn, next: BrakeState) -> Result<bool> {
        let statement = match attempt.braked {
            Braked::User(_) => query(NOTE_KNOWN),
            Braked::Name(_) => query(NOTE_UNKNOWN),
        };
        let statement = statement.bind(i64::from(next.failures)).bind(next.locked_until_us);
        let statement = match &attempt.braked {
            Braked::User(id) => statement.bind(id.as_str()),
            Braked::Name(hash) => statement.bind(hash),
        };
        let seen = attempt.brake;
        let statement = statement.bind(i64::from(seen.failures)).bind(seen.locked_until_us);
        Ok(statement.execute(self.write()).await.doing("count an attempt")?.rows_affected() > 0)
    }

    /// Somebody has shown who they are: earlier failures are forgotten. With a time when that was to sign in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn note_success(&self, id: &UserId, signed_in_at_us: Option<i64>) -> Result<()> {
        let noted = query(SUCCESS).bind(signed_in_at_us).bind(id.as_str()).execute(self.write()).await;
        known(noted.doing("note a sign-in")?.rows_affected())
    }

    /// Sets the secret of the second factor. `step` is the one by which its owner has shown to have it; it is used up.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`].
    pub async fn set_totp(&self, id: &UserId, secret: &[u8], step: u64) -> Result<()> {
        if secret.is_empty() || secret.len() > MAX_TOTP_BYTES {
            return Err(StoreError::Invalid { what: "secret of the second factor", expected: "1 to 64 bytes" });
        }
        let sealed = seal_at(self.inner.vault.office(), totp_place(id), secret)?;
        let set = query(SET_TOTP).bind(sealed).bind(i64::try_from(step).unwrap_or(i64::MAX)).bind(id.as_str());
        known(set.execute(self.write()).await.doing("save the second factor")?.rows_affected())
    }

    /// Uses up a step of the second factor. False: it, or a later one, was used before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn take_totp_step(&self, id: &UserId, step: u64) -> Result<bool> {
        let Ok(step) = i64::try_from(step) else { return Ok(false) };
        let taken = query(TAKE_STEP).bind(step).bind(id.as_str()).execute(self.write()).await;
        Ok(taken.doing("use a code")?.rows_affected() == 1)
    }

    /// Replaces the recovery codes, given as hashes.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for more than twenty.
    pub async fn set_recovery_codes(&self, id: &UserId, codes: &[[u8; 32]]) -> Result<()> {
        let doing = "save recovery codes";
        if codes.len() > MAX_RECOVERY_CODES {
            return Err(StoreError::Invalid { what: "number of recovery codes", expected: "at most 20" });
        }
        let mut tx = self.begin(Domain::People).await?;
        query(FORGET_CODES).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        for code in codes {
            let hash = self.inner.vault.secret_hash("recovery code", &shown(code));
            query(ADD_CODE).bind(id.as_str()).bind(hash).execute(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)
    }

    /// Uses up a recovery code, given as its hash. False: it is none of this account, or was used before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_recovery_code(&self, id: &UserId, code: &[u8; 32], now_us: i64) -> Result<bool> {
        let hash = self.inner.vault.secret_hash("recovery code", &shown(code));
        let used = query(USE_CODE).bind(now_us).bind(id.as_str()).bind(hash).execute(self.write()).await;
        Ok(used.doing("use a recovery code")?.rows_affected() == 1)
    }

    /// Recovery codes that are left.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn recovery_codes_left(&self, id: &UserId) -> Result<u32> {
        let left = query_scalar::<i64>(CODES_LEFT).bind(id.as_str()).fetch_one(self.read()).await;
        Ok(u32::try_from(left.doing("count the recovery codes")?).unwrap_or(u32::MAX))
    }

    /// Forgets failures under names that nobody has after a day, and beyond ten thousand names; sessions and links that
    /// ended ninety days ago.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn prune_people(&self, now_us: i64) -> Result<()> {
        let doing = "tidy up after sign-ins";
        let names = query(PRUNE_NAMES).bind(now_us.saturating_sub(DAY_US)).bind(MAX_UNKNOWN_NAMES);
        names.execute(self.write()).await.doing(doing)?;
        for text in [PRUNE_SESSIONS, PRUNE_INVITATIONS] {
            query(text).bind(now_us.saturating_sub(ENDED_KEPT_US)).execute(self.write()).await.doing(doing)?;
        }
        Ok(())
    }
}

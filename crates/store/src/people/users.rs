//! Accounts: who there is, in which role, and what ends with them.

use super::{id_at, stored_id};
use crate::db::{Conn, Domain, Row, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::UserId;
use clinic::access::Role;

/// Accounts of one installation, at most.
const MAX_USERS: i64 = 10_000;
/// Bytes of a name, and of a mail address at an identity provider.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 2..=64;
const MAX_MAIL_BYTES: usize = 254;
/// Longest PHC string; those of Argon2id have about 100 characters.
const MAX_PASSWORD_HASH_BYTES: usize = 512;

const COUNT: &str = "SELECT COUNT(*) FROM users";
const INSERT: &str = "INSERT INTO users (id, name, role, created_at_us) VALUES ($1, $2, $3, $4)";
const ALL: &str = "SELECT id, name, role, CASE WHEN totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, oidc_linked_at_us, failures, locked_until_us, \
     created_at_us, password_set_at_us, signed_in_at_us, disabled_at_us FROM users ORDER BY name LIMIT 10000";
const BY_ID: &str = "SELECT id, name, role, CASE WHEN totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, oidc_linked_at_us, failures, locked_until_us, \
     created_at_us, password_set_at_us, signed_in_at_us, disabled_at_us FROM users WHERE id = $1";
const BY_NAME: &str = "SELECT id, name, role, CASE WHEN totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, oidc_linked_at_us, failures, locked_until_us, \
     created_at_us, password_set_at_us, signed_in_at_us, disabled_at_us FROM users WHERE name = $1";
const BY_PROVIDER: &str = "SELECT id, name, role, CASE WHEN totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, oidc_linked_at_us, failures, locked_until_us, \
     created_at_us, password_set_at_us, signed_in_at_us, disabled_at_us FROM users WHERE oidc_hash = $1";
const SET_PASSWORD: &str = "UPDATE users SET password = $1, password_set_at_us = $2 WHERE id = $3";
const EXPECT_PROVIDER: &str = "UPDATE users SET oidc_hash = $1, oidc_linked_at_us = NULL WHERE id = $2";
const LINK_PROVIDER: &str = "UPDATE users SET oidc_hash = $1, oidc_linked_at_us = $2 \
     WHERE oidc_hash = $3 AND oidc_linked_at_us IS NULL AND disabled_at_us IS NULL";
const DISABLE: &str = "UPDATE users SET disabled_at_us = $1 WHERE id = $2 AND disabled_at_us IS NULL";
const ENABLE: &str = "UPDATE users SET disabled_at_us = NULL, failures = 0, locked_until_us = 0 WHERE id = $1";
const RESET: &str = "UPDATE users SET password = NULL, password_set_at_us = NULL, totp = NULL, oidc_hash = NULL, \
     oidc_linked_at_us = NULL, failures = 0, locked_until_us = 0 WHERE id = $1";
const END_SESSIONS: &str = "UPDATE sessions SET ended_at_us = $1 WHERE user_id = $2 AND ended_at_us IS NULL";
const REVOKE_TOKENS: &str = "UPDATE api_tokens SET revoked_at_us = $1 WHERE created_by = $2 AND revoked_at_us IS NULL";
const VOID_INVITATIONS: &str = "DELETE FROM invitations WHERE user_id = $1";
const FORGET_CODES: &str = "DELETE FROM recovery_codes WHERE user_id = $1";

/// An account as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Opaque identifier; it may be logged.
    pub id: UserId,
    /// What they sign in with, in lower case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at_us: i64,
    /// When the password was set; `None`: there is none.
    pub password_set_at_us: Option<i64>,
    /// Whether the second factor is set up.
    pub has_second_factor: bool,
    /// Whether they may sign in through the clinic's identity provider.
    pub has_provider: bool,
    /// When they did so for the first time.
    pub provider_linked_at_us: Option<i64>,
    /// When they signed in last.
    pub signed_in_at_us: Option<i64>,
    /// Failed attempts in a row.
    pub failures: u32,
    /// No attempt before this time.
    pub locked_until_us: i64,
    /// When it was disabled.
    pub disabled_at_us: Option<i64>,
}

impl Store {
    /// Adds an account. Nobody can sign in to it yet.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken, [`StoreError::Invalid`] for a name that cannot be one and for the
    /// role of programs.
    pub async fn add_user(&self, name: &str, role: Role, now_us: i64) -> Result<UserRecord> {
        let doing = "save a user";
        let name = user_name(name).ok_or(StoreError::Invalid {
            what: "name of a user",
            expected: "2 to 64 letters, digits and . _ @ + -, beginning with a letter or digit",
        })?;
        if !role.signs_in() {
            return Err(StoreError::Invalid {
                what: "role of a user",
                expected: "a role of people: programs get tokens",
            });
        }
        let id: UserId = stored_id(id_at(now_us)?, "a new identifier")?;
        let mut tx = self.begin(Domain::People).await?;
        let count: i64 = query_scalar(COUNT).fetch_one(&mut *tx).await.doing(doing)?;
        if count >= MAX_USERS {
            return Err(StoreError::Invalid { what: "number of users", expected: "at most 10,000" });
        }
        let insert = query(INSERT).bind(id.as_str()).bind(&name).bind(role.as_str()).bind(now_us);
        insert.execute(&mut *tx).await.map_err(|error| match violation(&error) {
            Some(Violation::Unique) => StoreError::Conflict { what: "a user of this name exists already" },
            _ => StoreError::Unavailable { doing, source: Box::new(error) },
        })?;
        let user = read(&mut tx, &id).await?;
        tx.commit().await.doing(doing)?;
        Ok(user)
    }

    /// Whether anybody has an account.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_users(&self) -> Result<bool> {
        let count: i64 = query_scalar(COUNT).fetch_one(self.read()).await.doing("count the users")?;
        Ok(count > 0)
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn users(&self) -> Result<Vec<UserRecord>> {
        query(ALL).fetch_all(self.read()).await.doing("list the users")?.iter().map(read_user).collect()
    }

    /// One account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn user(&self, id: &UserId) -> Result<UserRecord> {
        let row = query(BY_ID).bind(id.as_str()).fetch_optional(self.read()).await.doing("read a user")?;
        read_user(&row.ok_or(StoreError::NotFound { what: "user" })?)
    }

    /// The account of that name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>> {
        let Some(name) = user_name(name) else { return Ok(None) };
        let row = query(BY_NAME).bind(name).fetch_optional(self.read()).await.doing("read a user")?;
        row.as_ref().map(read_user).transpose()
    }

    /// Sets the password, as a PHC string of Argon2id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_password(&self, id: &UserId, phc: &str, now_us: i64) -> Result<()> {
        if !phc.starts_with("$argon2id$") || phc.len() > MAX_PASSWORD_HASH_BYTES {
            return Err(StoreError::Invalid { what: "password hash", expected: "a PHC string of Argon2id" });
        }
        let set = query(SET_PASSWORD).bind(phc).bind(now_us).bind(id.as_str()).execute(self.write()).await;
        known(set.doing("save a password")?.rows_affected())
    }

    /// Lets somebody sign in through the clinic's identity provider: whoever comes from there with this mail address,
    /// checked by the provider, for the first time. From then on the provider's own name for that person counts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when another account expects that address.
    pub async fn expect_provider(&self, id: &UserId, mail: &str) -> Result<()> {
        let doing = "save a user";
        let hash = self.mail_hash(mail).ok_or(StoreError::Invalid {
            what: "mail address at the identity provider",
            expected: "an address such as ada@clinic.example",
        })?;
        let set = query(EXPECT_PROVIDER).bind(hash).bind(id.as_str()).execute(self.write()).await;
        let set = set.map_err(|error| match violation(&error) {
            Some(Violation::Unique) => StoreError::Conflict { what: "another user expects this mail address" },
            _ => StoreError::Unavailable { doing, source: Box::new(error) },
        })?;
        known(set.rows_affected())
    }

    /// Whom the identity provider sent: the account that is linked to issuer and subject, or else the one that waits for
    /// this mail address, which is linked by that. Hand in only addresses that the provider has checked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn user_of_provider(
        &self,
        issuer: &str,
        subject: &str,
        checked_mail: Option<&str>,
        now_us: i64,
    ) -> Result<Option<UserRecord>> {
        let doing = "look up a user of the identity provider";
        let hash = self.inner.vault.secret_hash("oidc subject", &format!("{}|{issuer}|{subject}", issuer.len()));
        let mut tx = self.begin(Domain::People).await?;
        let mut row = query(BY_PROVIDER).bind(&hash).fetch_optional(&mut *tx).await.doing(doing)?;
        if row.is_none()
            && let Some(mail) = checked_mail.and_then(|mail| self.mail_hash(mail))
        {
            query(LINK_PROVIDER).bind(&hash).bind(now_us).bind(mail).execute(&mut *tx).await.doing(doing)?;
            row = query(BY_PROVIDER).bind(&hash).fetch_optional(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)?;
        row.as_ref().map(read_user).transpose()
    }

    fn mail_hash(&self, mail: &str) -> Option<Vec<u8>> {
        let mail = mail.trim().to_lowercase();
        let fits = mail.len() <= MAX_MAIL_BYTES
            && !mail.contains(char::is_whitespace)
            && mail.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        fits.then(|| self.inner.vault.secret_hash("oidc mail", &mail))
    }

    /// Ends an account at once: nobody signs in to it, its sessions are over, tokens it made are revoked, links to set it
    /// up are void. Disabling a disabled one changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn disable_user(&self, id: &UserId, now_us: i64) -> Result<()> {
        let doing = "disable a user";
        let mut tx = self.begin(Domain::People).await?;
        read(&mut tx, id).await?;
        for text in [DISABLE, END_SESSIONS, REVOKE_TOKENS] {
            query(text).bind(now_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        query(VOID_INVITATIONS).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Takes a disabled account into use again, as it was. Tokens stay revoked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn enable_user(&self, id: &UserId) -> Result<()> {
        let enabled = query(ENABLE).bind(id.as_str()).execute(self.write()).await.doing("enable a user")?;
        known(enabled.rows_affected())
    }

    /// Takes away password, second factor, recovery codes and the link to the identity provider, and ends the sessions:
    /// the account has to be set up anew. Which steps of the second factor were used is not forgotten.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn reset_user(&self, id: &UserId, now_us: i64) -> Result<()> {
        let doing = "reset a user";
        let mut tx = self.begin(Domain::People).await?;
        known(query(RESET).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?.rows_affected())?;
        query(END_SESSIONS).bind(now_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        for text in [FORGET_CODES, VOID_INVITATIONS] {
            query(text).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)
    }
}

/// A name as it is stored; `None` for what cannot be one.
pub(super) fn user_name(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = NAME_BYTES.contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| name.to_ascii_lowercase())
}

pub(super) async fn read(tx: &mut Conn, id: &UserId) -> Result<UserRecord> {
    let row = query(BY_ID).bind(id.as_str()).fetch_optional(tx).await.doing("read a user")?;
    read_user(&row.ok_or(StoreError::NotFound { what: "user" })?)
}

/// Whether the account that a statement was to change exists.
pub(super) fn known(rows: u64) -> Result<()> {
    if rows == 0 { Err(StoreError::NotFound { what: "user" }) } else { Ok(()) }
}

pub(super) fn read_user(row: &Row) -> Result<UserRecord> {
    let doing = "read a user";
    let role: String = row.try_get("role").doing(doing)?;
    let failures: i64 = row.try_get("failures").doing(doing)?;
    Ok(UserRecord {
        id: stored_id(row.try_get("id").doing(doing)?, "the identifier of a user")?,
        name: row.try_get("name").doing(doing)?,
        role: Role::parse(&role).ok_or_else(|| StoreError::corrupt("the role of a user"))?,
        created_at_us: row.try_get("created_at_us").doing(doing)?,
        password_set_at_us: row.try_get("password_set_at_us").doing(doing)?,
        has_second_factor: row.try_get::<i32>("second").doing(doing)? != 0,
        has_provider: row.try_get::<i32>("provider").doing(doing)? != 0,
        provider_linked_at_us: row.try_get("oidc_linked_at_us").doing(doing)?,
        signed_in_at_us: row.try_get("signed_in_at_us").doing(doing)?,
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        locked_until_us: row.try_get("locked_until_us").doing(doing)?,
        disabled_at_us: row.try_get("disabled_at_us").doing(doing)?,
    })
}

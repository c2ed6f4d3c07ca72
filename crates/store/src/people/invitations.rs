//! One-time links with which somebody sets up an account: password and second factor.

use super::users::{read, read_user};
use super::{UserRecord, stored_id};
use crate::audit::hex;
use crate::db::{Domain, query};
use crate::error::Doing;
use crate::keys::random_bytes;
use crate::{Result, Store, StoreError};
use clinic::UserId;
use zeroize::Zeroizing;

/// How long a link is good for.
pub const INVITATION_LIFETIME_US: i64 = 24 * 3_600 * 1_000_000;
const TOKEN_BYTES: usize = 32;

const VOID: &str = "DELETE FROM invitations WHERE user_id = $1";
const INSERT: &str =
    "INSERT INTO invitations (token_hash, user_id, created_at_us, expires_at_us) VALUES ($1, $2, $3, $4)";
const FIND: &str = "SELECT u.id, u.name, u.role, CASE WHEN u.totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN u.oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, u.oidc_linked_at_us, u.failures, u.locked_until_us, \
     u.created_at_us, u.password_set_at_us, u.signed_in_at_us, u.disabled_at_us \
     FROM invitations i JOIN users u ON u.id = i.user_id \
     WHERE i.token_hash = $1 AND i.used_at_us IS NULL AND i.expires_at_us > $2 AND u.disabled_at_us IS NULL";
const USE: &str = "UPDATE invitations SET used_at_us = $2 WHERE token_hash = $1 AND used_at_us IS NULL \
     AND expires_at_us > $2 AND user_id IN (SELECT id FROM users WHERE disabled_at_us IS NULL)";
const WHOSE: &str = "SELECT user_id FROM invitations WHERE token_hash = $1";

impl Store {
    /// Makes a link for an account; earlier ones are void. What is answered is the secret part of it, known to nobody else.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] for a disabled account.
    pub async fn invite(&self, id: &UserId, now_us: i64) -> Result<Zeroizing<String>> {
        let doing = "save a link";
        let token = Zeroizing::new(hex(random_bytes::<TOKEN_BYTES>()?.as_slice()));
        let mut tx = self.begin(Domain::People).await?;
        if read(&mut tx, id).await?.disabled_at_us.is_some() {
            return Err(StoreError::Conflict { what: "the user is disabled: enable them first" });
        }
        query(VOID).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        let insert = query(INSERT).bind(self.invitation_hash(&token)).bind(id.as_str()).bind(now_us);
        insert.bind(now_us.saturating_add(INVITATION_LIFETIME_US)).execute(&mut *tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(token)
    }

    /// Whom a link is for; `None` when it is none, too old or used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn invited(&self, token: &str, now_us: i64) -> Result<Option<UserRecord>> {
        let row = query(FIND).bind(self.invitation_hash(token)).bind(now_us).fetch_optional(self.read()).await;
        row.doing("look up a link")?.as_ref().map(read_user).transpose()
    }

    /// Uses a link up. `None`: it was not good (any more).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn use_invitation(&self, token: &str, now_us: i64) -> Result<Option<UserId>> {
        let doing = "use a link";
        let hash = self.invitation_hash(token);
        let mut tx = self.begin(Domain::People).await?;
        let used = query(USE).bind(&hash).bind(now_us).execute(&mut *tx).await.doing(doing)?.rows_affected();
        let row = query(WHOSE).bind(&hash).fetch_optional(&mut *tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        match row {
            Some(row) if used == 1 => {
                Ok(Some(stored_id(row.try_get("user_id").doing(doing)?, "the identifier of a user")?))
            }
            _ => Ok(None),
        }
    }

    fn invitation_hash(&self, token: &str) -> Vec<u8> {
        let fits = token.len() == 2 * TOKEN_BYTES;
        self.inner.vault.secret_hash("invitation", if fits { token } else { "" })
    }
}

//! Sessions: from the password on, to the second factor, to their end by the person, by idleness or by age.

use super::users::{UserRecord, read_user};
use super::{id_at, shown, stored_id};
use crate::db::{Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::{SessionId, UserId};

/// A session ends when nothing was done in it for so long.
pub const SESSION_IDLE_US: i64 = 15 * 60 * 1_000_000;
/// A session ends after this time, whatever was done in it.
pub const SESSION_LIFETIME_US: i64 = 12 * 3_600 * 1_000_000;
/// How long the second factor may be waited for.
pub const PASSWORD_STAGE_LIFETIME_US: i64 = 10 * 60 * 1_000_000;
/// How exactly it is known when something was done last: a write for every request would be dear. A session may end by
/// this much too early for idleness, never too late.
const SEEN_STEP_US: i64 = 20 * 1_000_000;
/// Sessions of one person at once; the oldest ends when there is one more.
const MAX_SESSIONS: i64 = 20;
/// Bytes of a network address.
const MAX_ADDRESS_BYTES: usize = 64;

const INSERT: &str = "INSERT INTO sessions (id, secret_hash, user_id, stage, address, created_at_us, seen_at_us, \
     expires_at_us) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
const LIVE: &str = "SELECT COUNT(*) FROM sessions WHERE user_id = $1 AND ended_at_us IS NULL AND expires_at_us > $2";
const END_OLDEST: &str = "UPDATE sessions SET ended_at_us = $1 WHERE id IN (SELECT id FROM sessions \
     WHERE user_id = $2 AND ended_at_us IS NULL AND expires_at_us > $1 ORDER BY seen_at_us, id LIMIT 1)";
const UPGRADE: &str = "UPDATE sessions SET stage = 'full', secret_hash = $1, seen_at_us = $2, expires_at_us = $3 \
     WHERE id = $4 AND stage = 'password' AND ended_at_us IS NULL AND expires_at_us > $2";
const RENEW: &str = "UPDATE sessions SET secret_hash = $1 WHERE id = $2 AND ended_at_us IS NULL";
const FIND: &str = "SELECT s.id AS session_id, s.stage, s.address, s.created_at_us AS began_us, s.seen_at_us, \
     s.expires_at_us, s.ended_at_us, u.id, u.name, u.role, CASE WHEN u.totp IS NULL THEN 0 ELSE 1 END AS second, \
     CASE WHEN u.oidc_hash IS NULL THEN 0 ELSE 1 END AS provider, u.oidc_linked_at_us, u.failures, u.locked_until_us, \
     u.created_at_us, u.password_set_at_us, u.signed_in_at_us, u.disabled_at_us \
     FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.secret_hash = $1";
const TOUCH: &str = "UPDATE sessions SET seen_at_us = $1 WHERE id = $2 AND ended_at_us IS NULL AND seen_at_us < $1";
const LIST: &str = "SELECT id AS session_id, user_id, stage, address, created_at_us AS began_us, seen_at_us, \
     expires_at_us, ended_at_us FROM sessions WHERE user_id = $1 AND stage = 'full' AND ended_at_us IS NULL \
     AND expires_at_us > $2 AND seen_at_us > $3 ORDER BY id DESC LIMIT 100";
const END: &str = "UPDATE sessions SET ended_at_us = $1 WHERE id = $2 AND user_id = $3 AND ended_at_us IS NULL";
const END_OTHERS: &str = "UPDATE sessions SET ended_at_us = $1 WHERE user_id = $2 AND id <> $3 AND ended_at_us IS NULL";

/// How far somebody has shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStage {
    /// The password was right; nothing is open yet.
    Password,
    /// The second factor too.
    Full,
}

impl SessionStage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Full => "full",
        }
    }
}

/// A session that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// Hash of the secret in the cookie.
    pub secret_hash: &'a [u8; 32],
    /// How far they are.
    pub stage: SessionStage,
    /// Network address it begins from.
    pub address: &'a str,
}

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Opaque identifier; it lets nobody in.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// How far they are.
    pub stage: SessionStage,
    /// Network address it began from.
    pub address: String,
    /// When it began.
    pub created_at_us: i64,
    /// When something was done in it last, to twenty seconds.
    pub seen_at_us: i64,
    /// When it ends at the latest.
    pub expires_at_us: i64,
}

/// A session that is good now, with the account as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The session.
    pub session: SessionRecord,
    /// Its owner.
    pub user: UserRecord,
}

impl Store {
    /// Begins a session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_session(&self, new: &NewSession<'_>, now_us: i64) -> Result<SessionId> {
        let doing = "begin a session";
        let id: SessionId = stored_id(id_at(now_us)?, "a new identifier")?;
        let mut tx = self.begin(Domain::People).await?;
        let live = query_scalar::<i64>(LIVE).bind(new.user.as_str()).bind(now_us);
        if live.fetch_one(&mut *tx).await.doing(doing)? >= MAX_SESSIONS {
            query(END_OLDEST).bind(now_us).bind(new.user.as_str()).execute(&mut *tx).await.doing(doing)?;
        }
        let address: String = new.address.chars().filter(char::is_ascii_graphic).take(MAX_ADDRESS_BYTES).collect();
        let lifetime_us = match new.stage {
            SessionStage::Password => PASSWORD_STAGE_LIFETIME_US,
            SessionStage::Full => SESSION_LIFETIME_US,
        };
        query(INSERT)
            .bind(id.as_str())
            .bind(self.session_hash(new.secret_hash))
            .bind(new.user.as_str())
            .bind(new.stage.as_str())
            .bind(address)
            .bind(now_us)
            .bind(now_us.saturating_add(lifetime_us))
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(id)
    }

    /// The second factor was right: the session becomes a full one, under a new secret, so that whoever knew the old one
    /// gains nothing. False: it ended meanwhile, or is full already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn upgrade_session(&self, id: &SessionId, new_secret_hash: &[u8; 32], now_us: i64) -> Result<bool> {
        let statement = query(UPGRADE).bind(self.session_hash(new_secret_hash)).bind(now_us);
        let statement = statement.bind(now_us.saturating_add(SESSION_LIFETIME_US)).bind(id.as_str());
        Ok(statement.execute(self.write()).await.doing("go on with a session")?.rows_affected() == 1)
    }

    /// Gives a session a new secret, as after a change of the password. False: it ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn renew_session(&self, id: &SessionId, new_secret_hash: &[u8; 32]) -> Result<bool> {
        let statement = query(RENEW).bind(self.session_hash(new_secret_hash)).bind(id.as_str());
        Ok(statement.execute(self.write()).await.doing("go on with a session")?.rows_affected() == 1)
    }

    /// The session of a secret, if it is good now: not ended, not idle for [`SESSION_IDLE_US`], not too old, its owner not
    /// disabled. That it was used is noted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn check_session(&self, secret_hash: &[u8; 32], now_us: i64) -> Result<Option<LiveSession>> {
        let doing = "look up a session";
        // Looking up a keyed hash tells nothing by the time it takes.
        let row = query(FIND).bind(self.session_hash(secret_hash)).fetch_optional(self.read()).await.doing(doing)?;
        let Some(row) = row else { return Ok(None) };
        let user = read_user(&row)?;
        let session = read_session(&row, user.id.clone())?;
        let ended: Option<i64> = row.try_get("ended_at_us").doing(doing)?;
        let idle_us = now_us.saturating_sub(session.seen_at_us);
        let is_good = ended.is_none()
            && user.disabled_at_us.is_none()
            && now_us < session.expires_at_us
            && idle_us < SESSION_IDLE_US
            // A clock that was set back far must not make a session last.
            && idle_us > -SESSION_LIFETIME_US;
        if !is_good {
            return Ok(None);
        }
        if idle_us >= SEEN_STEP_US {
            query(TOUCH).bind(now_us).bind(session.id.as_str()).execute(self.write()).await.doing(doing)?;
        }
        Ok(Some(LiveSession { session, user }))
    }

    /// The sessions of a person that are good now, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions_of(&self, user: &UserId, now_us: i64) -> Result<Vec<SessionRecord>> {
        let statement = query(LIST).bind(user.as_str()).bind(now_us).bind(now_us.saturating_sub(SESSION_IDLE_US));
        let rows = statement.fetch_all(self.read()).await.doing("list the sessions")?;
        rows.iter().map(|row| read_session(row, user.clone())).collect()
    }

    /// Ends a session of a person at once. False: there is none of them that had not ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_session(&self, user: &UserId, id: &SessionId, now_us: i64) -> Result<bool> {
        let ended = query(END).bind(now_us).bind(id.as_str()).bind(user.as_str()).execute(self.write()).await;
        Ok(ended.doing("end a session")?.rows_affected() == 1)
    }

    /// Ends all sessions of a person at once, but for one. Answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn end_sessions_of(&self, user: &UserId, but: Option<&SessionId>, now_us: i64) -> Result<u64> {
        let statement = query(END_OTHERS).bind(now_us).bind(user.as_str()).bind(but.map_or("", SessionId::as_str));
        Ok(statement.execute(self.write()).await.doing("end the sessions of a user")?.rows_affected())
    }

    fn session_hash(&self, secret_hash: &[u8; 32]) -> Vec<u8> {
        self.inner.vault.secret_hash("session", &shown(secret_hash))
    }
}

fn read_session(row: &Row, user: UserId) -> Result<SessionRecord> {
    let doing = "read a session";
    let stage: String = row.try_get("stage").doing(doing)?;
    Ok(SessionRecord {
        id: stored_id(row.try_get("session_id").doing(doing)?, "the identifier of a session")?,
        user,
        stage: match stage.as_str() {
            "full" => SessionStage::Full,
            "password" => SessionStage::Password,
            _ => return Err(StoreError::corrupt("the stage of a session")),
        },
        address: row.try_get("address").doing(doing)?,
        created_at_us: row.try_get("began_us").doing(doing)?,
        seen_at_us: row.try_get("seen_at_us").doing(doing)?,
        expires_at_us: row.try_get("expires_at_us").doing(doing)?,
    })
}

//! Tokens of the programming interface. A token is shown once, when it is made; what is kept is a keyed hash of it, so
//! that neither the database nor a copy of it lets anybody in.

use crate::db::{Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::new_id;
use crate::keys::random_bytes;
use crate::{Result, Store, StoreError};
use clinic::access::Scopes;
use clinic::{TokenId, UserId};
use zeroize::Zeroizing;

/// What every token begins with, so that people and scanners of source code recognise one.
const PREFIX: &str = "hv_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Tokens of one installation, at most.
const MAX_TOKENS: i64 = 1_000;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 64;
/// How exactly it is known when a token was used last: a write for every request would be dear.
const USED_STEP_US: i64 = 60 * 1_000_000;

const COUNT: &str = "SELECT COUNT(*) FROM api_tokens WHERE revoked_at_us IS NULL";
const INSERT: &str = "INSERT INTO api_tokens (id, name, token_hash, created_at_us, expires_at_us, scopes, created_by) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const LIST: &str = "SELECT id, name, created_at_us, expires_at_us, revoked_at_us, scopes, created_by, used_at_us \
     FROM api_tokens ORDER BY id LIMIT 10000";
const FIND: &str = "SELECT id, name, created_at_us, expires_at_us, revoked_at_us, scopes, created_by, used_at_us \
     FROM api_tokens WHERE token_hash = $1 AND revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $2)";
const REVOKE: &str = "UPDATE api_tokens SET revoked_at_us = $1 WHERE id = $2 AND revoked_at_us IS NULL";
const USED: &str = "UPDATE api_tokens SET used_at_us = $1 WHERE id = $2";
const EXISTS: &str = "SELECT COUNT(*) FROM api_tokens WHERE id = $1";

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Opaque identifier; it lets nobody in and may be logged.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at_us: i64,
    /// From when on it is refused.
    pub expires_at_us: Option<i64>,
    /// When it was revoked.
    pub revoked_at_us: Option<i64>,
    /// What it permits.
    pub scopes: Scopes,
    /// Whose it is: the account that made it. It ends with that account. `None`: made by a command at the machine.
    pub created_by: Option<UserId>,
    /// When it was last used, to the minute.
    pub used_at_us: Option<i64>,
}

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest<'a> {
    /// What it is for: 1 to 64 bytes.
    pub name: &'a str,
    /// What it permits.
    pub scopes: Scopes,
    /// The account it ends with.
    pub created_by: Option<&'a UserId>,
    /// From when on it is refused.
    pub expires_at_us: Option<i64>,
}

/// A token that was just made. `Debug` does not show it.
pub struct NewToken {
    /// How it is listed from now on.
    pub record: TokenRecord,
    /// The token itself, known to nobody else.
    pub token: Zeroizing<String>,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a token that permits all that a program may do.
    ///
    /// # Errors
    /// As [`Store::create_token_for`].
    pub async fn create_token(&self, name: &str, expires_at_us: Option<i64>, now_us: i64) -> Result<NewToken> {
        let request = TokenRequest { name, scopes: Scopes::all(), created_by: None, expires_at_us };
        self.create_token_for(&request, now_us).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a name that is empty or too long, or when there are too many tokens.
    pub async fn create_token_for(&self, request: &TokenRequest<'_>, now_us: i64) -> Result<NewToken> {
        let doing = "save a token";
        let (name, expires_at_us) = (request.name.trim(), request.expires_at_us);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(StoreError::Invalid { what: "name of a token", expected: "1 to 64 bytes" });
        }
        let now_ms = u64::try_from(now_us / 1_000).unwrap_or(0);
        let id = TokenId::parse(&new_id(now_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        let mut token = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * TOKEN_BYTES));
        token.push_str(PREFIX);
        for byte in random_bytes::<TOKEN_BYTES>()?.iter() {
            for digit in [byte >> 4, byte & 15] {
                token.extend(char::from_digit(digit.into(), 16));
            }
        }
        let mut tx = self.begin(Domain::People).await?;
        let count: i64 = query_scalar(COUNT).fetch_one(&mut *tx).await.doing(doing)?;
        if count >= MAX_TOKENS {
            return Err(StoreError::Invalid { what: "number of tokens", expected: "at most 1,000: revoke some" });
        }
        let insert = query(INSERT).bind(id.as_str()).bind(name).bind(self.inner.vault.token_hash(&token));
        let insert = insert.bind(now_us).bind(expires_at_us).bind(request.scopes.to_string());
        insert.bind(request.created_by.map(UserId::as_str)).execute(&mut *tx).await.doing(doing)?;
        self.tell(&mut tx, &[self.entry("token.add").object("token", &id)]).await?;
        tx.commit().await.doing(doing)?;
        let record = TokenRecord {
            id,
            name: name.to_owned(),
            created_at_us: now_us,
            expires_at_us,
            revoked_at_us: None,
            scopes: request.scopes.clone(),
            created_by: request.created_by.cloned(),
            used_at_us: None,
        };
        Ok(NewToken { record, token })
    }

    /// Every token there ever was, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_tokens(&self) -> Result<Vec<TokenRecord>> {
        let rows = query(LIST).fetch_all(self.read()).await.doing("list the tokens")?;
        rows.iter().map(read_token).collect()
    }

    /// Whose token this is; `None` when it is nobody's, expired or revoked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn check_token(&self, token: &str, now_us: i64) -> Result<Option<TokenRecord>> {
        if !token.starts_with(PREFIX) || token.len() != PREFIX.len() + 2 * TOKEN_BYTES {
            return Ok(None);
        }
        // Looking up a keyed hash tells nothing by the time it takes.
        let statement = query(FIND).bind(self.inner.vault.token_hash(token)).bind(now_us);
        let row = statement.fetch_optional(self.read()).await.doing("check a token")?;
        let Some(token) = row.as_ref().map(read_token).transpose()? else { return Ok(None) };
        if token.used_at_us.is_none_or(|used_us| now_us.saturating_sub(used_us) >= USED_STEP_US) {
            query(USED).bind(now_us).bind(token.id.as_str()).execute(self.write()).await.doing("check a token")?;
        }
        Ok(Some(token))
    }

    /// Ends a token at once. Revoking a revoked one changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_token(&self, id: &TokenId, now_us: i64) -> Result<()> {
        let doing = "revoke a token";
        let mut tx = self.begin(Domain::People).await?;
        let revoked = query(REVOKE).bind(now_us).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        if revoked.rows_affected() > 0 {
            self.tell(&mut tx, &[self.entry("token.revoke").object("token", id)]).await?;
        }
        let known: i64 = query_scalar(EXISTS).bind(id.as_str()).fetch_one(&mut *tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        if known == 0 { Err(StoreError::NotFound { what: "token" }) } else { Ok(()) }
    }
}

fn read_token(row: &Row) -> Result<TokenRecord> {
    let doing = "read a token";
    let id: String = row.try_get("id").doing(doing)?;
    let scopes: String = row.try_get("scopes").doing(doing)?;
    let created_by: Option<String> = row.try_get("created_by").doing(doing)?;
    let created_by = created_by.map(UserId::try_from).transpose();
    Ok(TokenRecord {
        id: TokenId::parse(&id).map_err(|_| StoreError::corrupt("the identifier of a token"))?,
        name: row.try_get("name").doing(doing)?,
        created_at_us: row.try_get("created_at_us").doing(doing)?,
        expires_at_us: row.try_get("expires_at_us").doing(doing)?,
        revoked_at_us: row.try_get("revoked_at_us").doing(doing)?,
        scopes: Scopes::parse(&scopes).map_err(|_| StoreError::corrupt("the scopes of a token"))?,
        created_by: created_by.map_err(|_| StoreError::corrupt("the account of a token"))?,
        used_at_us: row.try_get("used_at_us").doing(doing)?,
    })
}

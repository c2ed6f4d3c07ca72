//! Who makes a request: a person with a session cookie, or a program with a token.
//!
//! A header `Authorization` decides alone: a request that shows a bad token is nobody's, whatever cookie comes with it. A
//! session counts once its second factor was shown. What either may do is said elsewhere.

use crate::app::App;
use axum::http::{HeaderMap, header};
use clinic::access::{Role, Scopes};
use clinic::{SessionId, TokenId, UserId};
use store::{SessionStage, StoreError};

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A person.
    User {
        /// Their account.
        id: UserId,
        /// What they sign in with.
        name: String,
        /// What they are.
        role: Role,
        /// In which session.
        session: SessionId,
        /// Whether the request is believed to come from our own pages; always true for one that changes nothing.
        csrf_ok: bool,
    },
    /// A program.
    Token {
        /// The token's identifier.
        id: TokenId,
        /// What it is for.
        name: String,
        /// What it permits.
        scopes: Scopes,
    },
}

/// Who makes a request with these headers; `None`: nobody we know.
pub(crate) async fn principal(
    app: &App,
    headers: &HeaderMap,
    unsafe_method: bool,
    now_us: i64,
) -> Result<Option<Principal>, StoreError> {
    if let Some(shown) = headers.get(header::AUTHORIZATION) {
        let shown = shown.to_str().unwrap_or_default();
        let token = shown.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else { return Ok(None) };
        let found = app.store.check_token(token.trim(), now_us).await?;
        return Ok(found.map(|token| Principal::Token { id: token.id, name: token.name, scopes: token.scopes }));
    }
    let Some(secret) = app.doors.cookies.session(headers) else { return Ok(None) };
    let live = app.store.check_session(&secret.hash(), now_us).await?;
    let Some(live) = live.filter(|live| live.session.stage == SessionStage::Full) else { return Ok(None) };
    let csrf_ok = !unsafe_method || app.doors.cookies.check_shown(headers, &secret).is_ok();
    Ok(Some(Principal::User {
        id: live.user.id,
        name: live.user.name,
        role: live.user.role,
        session: live.session.id,
        csrf_ok,
    }))
}

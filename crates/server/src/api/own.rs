//! One's own account: who one is, and one's sessions.

use super::caller::Who;
use super::desk::Desk;
use super::fields::Ask;
use super::ok;
use super::page::Listing;
use super::problem::Problem;
use super::users::Nothing;
use super::words;
use crate::clock;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use clinic::access::{Right, Role};
use clinic::{SessionId, UserId};
use serde::Serialize;
use store::SessionRecord;
use utoipa::ToSchema;

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    #[schema(value_type = String)]
    id: UserId,
    /// What they sign in with.
    name: String,
    #[schema(value_type = words::Role)]
    role: Role,
    /// What they may do.
    rights: Vec<Permitted>,
    /// For the header `x-csrf-token` of requests that change something.
    #[schema(required)]
    csrf_token: Option<String>,
}

/// Something one may do.
#[derive(Serialize, ToSchema)]
pub(super) struct Permitted {
    right: &'static str,
    /// `all` patients, or those of one's `care-team`.
    #[schema(pattern = "^(all|care-team)$")]
    reach: &'static str,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    #[schema(value_type = String)]
    id: SessionId,
    /// Network address it began from.
    address: String,
    #[schema(format = DateTime)]
    began_at: String,
    /// When something was done in it last, roughly.
    #[schema(format = DateTime)]
    seen_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    /// It is the one that asks.
    this: bool,
}

/// Says who asks
#[utoipa::path(get, path = "/me", operation_id = "getMe", tag = "account",
    responses((status = 200, description = "Who asks, and what they may do", body = Me)))]
pub(super) async fn me(desk: Desk, Ask(_): Ask<Nothing>, headers: HeaderMap) -> Result<Response, Problem> {
    let Who::User { id, role, .. } = desk.caller().who.clone() else { return Err(Problem::forbidden()) };
    let permitted = |right: &Right| {
        let reach = match role.reach(*right)? {
            clinic::access::Reach::All => "all",
            clinic::access::Reach::CareTeam => "care-team",
        };
        Some(Permitted { right: right.as_str(), reach })
    };
    let secret = desk.app().doors.cookies.session(&headers);
    Ok(ok(Me {
        id,
        name: desk.caller().name.clone(),
        role,
        rights: Right::ALL.iter().filter_map(permitted).collect(),
        csrf_token: secret.map(|secret| secret.csrf_token()),
    }))
}

/// Lists one's own sessions
#[utoipa::path(get, path = "/sessions", operation_id = "listSessions", tag = "account",
    responses((status = 200, description = "One's sessions", body = Listing<Session>)))]
pub(super) async fn sessions(desk: Desk, Ask(_): Ask<Nothing>) -> Result<Response, Problem> {
    let Who::User { id, session, .. } = desk.caller().who.clone() else { return Err(Problem::forbidden()) };
    let found = desk.store().sessions_of(&id, desk.now_us()).await?;
    desk.listed(found.len());
    let items = found.iter().map(|one| Session::of(one, &session)).collect();
    Ok(ok(Listing { items, next_cursor: None }))
}

/// Ends one of one's own sessions at once
#[utoipa::path(delete, path = "/sessions/{id}", operation_id = "endSession", tag = "account",
    params(("id" = String, Path)), responses((status = 204, description = "It has ended")))]
pub(super) async fn end_session(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = SessionId::parse(&id).map_err(|_| Problem::not_found("session"))?;
    desk.object("session", &id);
    let user = desk.caller().user().cloned().ok_or_else(Problem::forbidden)?;
    if !desk.store().end_session(&user, &id, desk.now_us()).await? {
        return Err(Problem::not_found("session"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Session {
    fn of(session: &SessionRecord, this: &SessionId) -> Self {
        Self {
            id: session.id.clone(),
            address: session.address.clone(),
            began_at: clock::rfc3339(session.created_at_us),
            seen_at: clock::rfc3339(session.seen_at_us),
            ends_at: clock::rfc3339(session.expires_at_us),
            this: session.id == *this,
        }
    }
}

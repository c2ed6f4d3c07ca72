//! `users`: who has an account. Passwords and second factors are set by their owners alone, with a link that is shown
//! here once.

use super::desk::Desk;
use super::fields::{Ask, Fields, wrong};
use super::page::Listing;
use super::problem::Problem;
use super::{created, ok, words};
use crate::clock;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use clinic::UserId;
use clinic::access::Role;
use serde::{Deserialize, Serialize};
use store::{INVITATION_LIFETIME_US, UserRecord};
use utoipa::{IntoParams, ToSchema};

/// An account.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    #[schema(value_type = String)]
    id: UserId,
    /// What they sign in with.
    name: String,
    #[schema(value_type = words::Role)]
    role: Role,
    #[schema(format = DateTime)]
    created_at: String,
    /// Whether they have set up a password or the clinic's identity provider.
    set_up: bool,
    second_factor: bool,
    #[schema(format = DateTime, required)]
    signed_in_at: Option<String>,
    /// No attempt to sign in before this time.
    #[schema(format = DateTime, required)]
    locked_until: Option<String>,
    #[schema(format = DateTime, required)]
    disabled_at: Option<String>,
}

/// An account to add.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
pub(super) struct NewUser {
    /// What they sign in with.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{1,63}$", example = "joy")]
    name: String,
    #[schema(value_type = words::SignInRole)]
    role: String,
}

/// An account with the link to set it up. The link is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitedUser {
    user: User,
    /// One-time link for the person: choose a password, set up the second factor.
    set_up_url: String,
    #[schema(format = DateTime)]
    set_up_until: String,
}

/// There is nothing to ask for.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Nothing {}

/// Lists accounts, by name
#[utoipa::path(get, path = "/users", operation_id = "listUsers", tag = "people",
    responses((status = 200, description = "All accounts", body = Listing<User>)))]
pub(super) async fn list(desk: Desk, Ask(_): Ask<Nothing>) -> Result<Response, Problem> {
    let users = desk.store().users().await?;
    desk.listed(users.len());
    let now_us = desk.now_us();
    Ok(ok(Listing { items: users.iter().map(|user| User::of(user, now_us)).collect(), next_cursor: None }))
}

/// Adds an account
#[utoipa::path(post, path = "/users", operation_id = "createUser", tag = "people", request_body = NewUser,
    responses((status = 201, description = "The account", body = InvitedUser,
            headers(("location" = String, description = "Where it is"))),
        (status = 409, description = "Somebody has this name", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn create(desk: Desk, body: Bytes) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(&body, "name, role")?;
    let name = fields.needed("name", "what the person signs in with")?;
    let expected = "admin, clinician, researcher or auditor";
    let role = Role::parse(&fields.needed("role", expected)?).filter(|role| role.signs_in());
    let role = role.ok_or_else(|| wrong("role", expected))?;
    fields.nothing_left()?;
    let user = desk.store().add_user(&name, role, desk.now_us()).await?;
    desk.object("user", &user.id);
    desk.detail("role", role.as_str());
    let place = format!("users/{}", user.id);
    Ok(created(&place, invite(&desk, user).await?))
}

/// Shows an account
#[utoipa::path(get, path = "/users/{id}", operation_id = "getUser", tag = "people", params(("id" = String, Path)),
    responses((status = 200, description = "The account", body = User)))]
pub(super) async fn get(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = user_id(&id)?;
    desk.object("user", &id);
    Ok(ok(User::of(&desk.store().user(&id).await?, desk.now_us())))
}

/// Ends an account at once, with its sessions and tokens. Again: nothing changes
#[utoipa::path(post, path = "/users/{id}/disable", operation_id = "disableUser", tag = "people",
    params(("id" = String, Path)),
    responses((status = 200, description = "The account as it is now", body = User),
        (status = 409, description = "It is one's own", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn disable(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = user_id(&id)?;
    desk.object("user", &id);
    not_oneself(&desk, &id)?;
    desk.store().disable_user(&id, desk.now_us()).await?;
    Ok(ok(User::of(&desk.store().user(&id).await?, desk.now_us())))
}

/// Takes a disabled account into use again. Again: nothing changes
#[utoipa::path(post, path = "/users/{id}/enable", operation_id = "enableUser", tag = "people",
    params(("id" = String, Path)), responses((status = 200, description = "The account as it is now", body = User)))]
pub(super) async fn enable(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = user_id(&id)?;
    desk.object("user", &id);
    desk.store().enable_user(&id).await?;
    Ok(ok(User::of(&desk.store().user(&id).await?, desk.now_us())))
}

/// Takes away password, second factor and sessions: the account has to be set up anew
#[utoipa::path(post, path = "/users/{id}/reset", operation_id = "resetUser", tag = "people",
    params(("id" = String, Path)),
    responses((status = 200, description = "The account, and the link to set it up", body = InvitedUser),
        (status = 409, description = "It is one's own, or disabled", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn reset(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = user_id(&id)?;
    desk.object("user", &id);
    not_oneself(&desk, &id)?;
    desk.store().reset_user(&id, desk.now_us()).await?;
    let user = desk.store().user(&id).await?;
    Ok(ok(invite(&desk, user).await?))
}

async fn invite(desk: &Desk, user: UserRecord) -> Result<InvitedUser, Problem> {
    let token = desk.store().invite(&user.id, desk.now_us()).await?;
    Ok(InvitedUser {
        set_up_url: desk.app().settings.public_url(&format!("/set-up/{}", token.as_str())),
        set_up_until: clock::rfc3339(desk.now_us().saturating_add(INVITATION_LIFETIME_US)),
        user: User::of(&user, desk.now_us()),
    })
}

/// An administrator who locks themself out may leave nobody who can let them in again.
fn not_oneself(desk: &Desk, id: &UserId) -> Result<(), Problem> {
    if desk.caller().user() == Some(id) {
        return Err(Problem::conflict("nobody disables or resets their own account: ask another administrator"));
    }
    Ok(())
}

pub(super) fn user_id(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|_| Problem::not_found("user"))
}

impl User {
    fn of(user: &UserRecord, now_us: i64) -> Self {
        Self {
            id: user.id.clone(),
            name: user.name.clone(),
            role: user.role,
            created_at: clock::rfc3339(user.created_at_us),
            set_up: user.password_set_at_us.is_some() || user.provider_linked_at_us.is_some(),
            second_factor: user.has_second_factor,
            signed_in_at: user.signed_in_at_us.map(clock::rfc3339),
            locked_until: Some(user.locked_until_us).filter(|until| *until > now_us).map(clock::rfc3339),
            disabled_at: user.disabled_at_us.map(clock::rfc3339),
        }
    }
}

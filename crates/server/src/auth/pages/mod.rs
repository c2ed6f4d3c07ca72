//! The pages on which people sign in, set up their account and look after it: plain HTML forms without scripts.
//!
//! A form that changes something carries the session's token in a field, and its request must come from a page of ours.
//! Answers never say which part of what was typed was wrong.

mod account;
mod html;
mod provider;
mod set_up;
mod sign_in;

use super::attempt::Refused;
use super::cookie::{Forged, SessionSecret};
use super::doors::OIDC_CALLBACK;
use crate::app::App;
use crate::limits;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;
use store::{LiveSession, SessionStage, StoreError};

/// The routes.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/set-up/{link}", get(set_up::page).post(set_up::submit))
        .route("/account", get(account::page))
        .route("/account/password", post(account::change_password))
        .route("/account/recovery-codes", post(account::new_recovery_codes))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/account/sessions/end-others", post(account::end_other_sessions))
        .route("/auth/oidc/start", get(provider::start))
        .route(OIDC_CALLBACK, get(provider::callback))
        .route(html::STYLE, get(html::style))
        .layer(DefaultBodyLimit::max(limits::FORM_BODY_MAX))
}

/// Somebody in a session.
struct Visitor {
    live: LiveSession,
    secret: SessionSecret,
}

/// Whose session a browser shows, if it is good.
async fn visitor(app: &App, headers: &HeaderMap, now_us: i64) -> Result<Option<Visitor>, StoreError> {
    let Some(secret) = app.doors.cookies.session(headers) else { return Ok(None) };
    let live = app.store.check_session(&secret.hash(), now_us).await?;
    Ok(live.map(|live| Visitor { live, secret }))
}

/// As [`visitor`], signed in with both steps.
async fn member(app: &App, headers: &HeaderMap, now_us: i64) -> Result<Visitor, Response> {
    match visitor(app, headers, now_us).await {
        Ok(Some(visitor)) if visitor.live.session.stage == SessionStage::Full => Ok(visitor),
        Ok(_) => Err(html::see_other("/sign-in")),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Whether a form was sent from a page of ours in this session.
fn believe(app: &App, headers: &HeaderMap, secret: &SessionSecret, token: &str) -> Result<(), Forged> {
    let token_fits = if secret.csrf_fits(token) { Ok(()) } else { Err(Forged::Token) };
    app.doors.cookies.check_origin(headers).and(token_fits)
}

fn forged(reason: Forged) -> Response {
    tracing::warn!(%reason, "a form is not believed");
    let body = "<h1>Not accepted</h1><p>This form was not sent from a page of this server in your session. \
        <a href=\"/sign-in\">Begin again</a>, at the address that the administrator gave you.</p>";
    html::page(StatusCode::FORBIDDEN, "Not accepted", body)
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(%error, "a page cannot be served");
    busy("The server cannot do this at the moment.")
}

fn busy(text: &str) -> Response {
    let body = format!("<h1>Try again</h1><p role=\"alert\">{}</p>", html::escape(text));
    with_retry(html::page(StatusCode::SERVICE_UNAVAILABLE, "Try again", &body), 1)
}

fn with_retry(mut response: Response, seconds: u64) -> Response {
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Status and words for a refusal; `wrong` says what may have been wrong.
fn say(refused: &Refused, wrong: &str) -> (StatusCode, String, Option<u64>) {
    match refused {
        Refused::Wrong => (StatusCode::UNAUTHORIZED, wrong.to_owned(), None),
        Refused::Wait(wait) => (StatusCode::TOO_MANY_REQUESTS, wait.to_string(), Some(wait.retry_after_s())),
        Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, refused.to_string(), Some(1)),
        Refused::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, refused.to_string(), Some(5)),
    }
}

/// The recovery codes, shown once.
fn codes_list(codes: &[super::recovery::NewCode]) -> String {
    use secrecy::ExposeSecret;
    let items: String = codes.iter().map(|code| format!("<li>{}</li>", code.code.expose_secret())).collect();
    format!(
        "<p>Each of these codes lets you in once when you do not have your telephone. Write them down or print them \
         now: they are not shown again.</p><ol class=\"codes\">{items}</ol>"
    )
}

//! The page behind a one-time link: password and second factor of an account, and its recovery codes, shown once.
//!
//! Nothing is remembered between showing the page and confirming it: the secret of the second factor follows from the
//! link. The link is used up in the transaction that sets all three.

use super::html::{self, escape};
use super::{busy, codes_list, forged, unavailable, with_retry};
use crate::app::App;
use crate::auth::password::{PasswordError, policy};
use crate::auth::recovery;
use crate::auth::totp::TotpSecret;
use crate::auth::visit::Visit;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;
use store::audit::Actor;
use store::{StoreError, UserRecord};

/// Who we are in an authenticator app.
const ISSUER: &str = "HeartVoice Monitor";
/// Longest link that is looked at.
const LINK_MAX_BYTES: usize = 128;

/// What the form sends.
#[derive(Deserialize)]
pub(in crate::auth) struct Typed {
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
    #[serde(default)]
    code: String,
}

/// `GET /set-up/{link}`
pub(in crate::auth) async fn page(State(app): State<Arc<App>>, visit: Visit, Path(link): Path<String>) -> Response {
    if let Err(wait) = app.doors.attempt_from(visit.address, visit.now_us) {
        return wait_page(&wait.to_string(), wait.retry_after_s());
    }
    match invited(&app, &link, visit.now_us).await {
        Err(error) => unavailable(&error),
        Ok(None) => gone(),
        Ok(Some((user, secret))) => form(&user, &secret, &link, StatusCode::OK, None),
    }
}

/// `POST /set-up/{link}`
pub(in crate::auth) async fn submit(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Path(link): Path<String>,
    Form(typed): Form<Typed>,
) -> Response {
    if let Err(reason) = app.doors.cookies.check_origin(&headers) {
        return forged(reason);
    }
    if let Err(wait) = app.doors.attempt_from(visit.address, visit.now_us) {
        return wait_page(&wait.to_string(), wait.retry_after_s());
    }
    let (user, secret) = match invited(&app, &link, visit.now_us).await {
        Err(error) => return unavailable(&error),
        Ok(None) => return gone(),
        Ok(Some(found)) => found,
    };
    let again = |text: &str| form(&user, &secret, &link, StatusCode::UNPROCESSABLE_ENTITY, Some(text));
    // Whoever always comes through the identity provider needs no password here.
    let without_password = user.has_provider && typed.password.is_empty() && typed.again.is_empty();
    if !without_password {
        if typed.password != typed.again {
            return again("The two passwords are not the same.");
        }
        if let Err(weak) = policy::check(&typed.password, &user.name) {
            return again(&weak.to_string());
        }
    }
    let unix_s = u64::try_from(visit.now_us / 1_000_000).unwrap_or(0);
    let Some(step) = secret.accept(&typed.code, unix_s, None) else {
        return again("The code is not the one that the app should show now. Check the clock of the telephone.");
    };
    let hash = if without_password {
        None
    } else {
        match app.doors.passwords.hash(&SecretString::from(typed.password)).await {
            Ok(hash) => Some(hash),
            Err(PasswordError::Busy) => return busy("Too many sign-ins at once."),
            Err(error) => {
                tracing::error!(%error, "a password cannot be set");
                return busy("The server cannot do this at the moment.");
            }
        }
    };
    let Ok(codes) = recovery::generate() else { return busy("The server cannot do this at the moment.") };
    let hashes: Vec<_> = codes.iter().map(|code| code.hash).collect();
    match set_up(&app, &visit, &link, &user, hash.as_deref(), &secret, step, &hashes).await {
        Err(error) => unavailable(&error),
        Ok(false) => gone(),
        Ok(true) => {
            let body = format!(
                "<h1>Your recovery codes</h1>{}<p><a class=\"button\" href=\"/sign-in\">Sign in</a></p>",
                codes_list(&codes)
            );
            html::page(StatusCode::OK, "Your recovery codes", &body)
        }
    }
}

/// Whom a link is for, and the second factor that it proposes.
async fn invited(app: &App, link: &str, now_us: i64) -> Result<Option<(UserRecord, TotpSecret)>, StoreError> {
    if link.len() > LINK_MAX_BYTES {
        return Ok(None);
    }
    let user = app.store.invited(link, now_us).await?;
    Ok(user.zip(app.doors.proposed_secret(link)))
}

/// Everything or nothing. False: somebody used the link meanwhile.
#[expect(clippy::too_many_arguments, reason = "they are what an account consists of")]
async fn set_up(
    app: &App,
    visit: &Visit,
    link: &str,
    user: &UserRecord,
    password: Option<&str>,
    secret: &TotpSecret,
    step: u64,
    codes: &[recovery::CodeHash],
) -> Result<bool, StoreError> {
    let access = app.store.begin_access().await?;
    let store = access.store();
    if store.use_invitation(link, visit.now_us).await?.as_ref() != Some(&user.id) {
        return Ok(false);
    }
    if let Some(password) = password {
        store.set_password(&user.id, password, visit.now_us).await?;
    }
    store.set_totp(&user.id, secret.as_bytes(), step).await?;
    store.set_recovery_codes(&user.id, codes).await?;
    store.note_success(&user.id, None).await?;
    store.end_sessions_of(&user.id, None, visit.now_us).await?;
    let entry = visit.entry(Actor::user(&user.id, user.role), "user.set_up").object("user", &user.id);
    access.commit(&[entry.detail("password", password.is_some())]).await?;
    Ok(true)
}

fn gone() -> Response {
    let body = "<h1>This link is not good any more</h1><p>A link works once and for a day. Ask an administrator for a \
        new one.</p><p><a href=\"/sign-in\">Sign in</a></p>";
    html::page(StatusCode::NOT_FOUND, "This link is not good any more", body)
}

fn wait_page(text: &str, seconds: u64) -> Response {
    let body = format!("<h1>Too many attempts</h1><p role=\"alert\">{}</p>", escape(text));
    with_retry(html::page(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", &body), seconds)
}

fn form(user: &UserRecord, secret: &TotpSecret, link: &str, status: StatusCode, error: Option<&str>) -> Response {
    let uri = secret.otpauth_uri(ISSUER, &user.name);
    let image = html::qr_code(&uri, "QR code for the authenticator app; the same as the key in words below");
    let key: Vec<String> =
        secret.base32().as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
    let (required, hint) = match user.has_provider {
        true => ("", " Leave both empty to sign in with the clinic's account only."),
        false => (" required", ""),
    };
    let body = format!(
        "<h1>Set up your account</h1>{}<p>User name: <strong>{}</strong></p>\
         <form method=\"post\" action=\"/set-up/{}\">\
         <input type=\"hidden\" name=\"username\" autocomplete=\"username\" value=\"{}\">\
         <h2>1. Password</h2>\
         <p class=\"quiet\" id=\"rules\">At least {} characters. A few words in a row are good and easy to remember.{hint}</p>\
         <label for=\"password\">New password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"new-password\" maxlength=\"256\" \
         aria-describedby=\"rules\"{required}>\
         <label for=\"again\">The same again</label>\
         <input id=\"again\" name=\"again\" type=\"password\" autocomplete=\"new-password\" maxlength=\"256\"{required}>\
         <h2>2. Authenticator app</h2>\
         <p>Scan this with an authenticator app, or type the key into it.</p>{}\
         <p>Key: <code>{}</code></p>\
         <label for=\"code\">Six digits that the app shows now</label>\
         <input id=\"code\" name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"10\" required>\
         <button>Set up</button></form>",
        html::error(error),
        escape(&user.name),
        escape(link),
        escape(&user.name),
        policy::LENGTH_MIN_CHARS,
        image.unwrap_or_default(),
        key.join(" "),
    );
    let title = if error.is_some() { "Error: Set up your account" } else { "Set up your account" };
    html::page(status, title, &body)
}

//! Signing in, in two steps on one address, and out.

use super::html::{self, escape};
use super::{believe, busy, forged, say, unavailable, visitor, with_retry};
use crate::app::App;
use crate::auth::attempt::{self, Refused};
use crate::auth::cookie::SessionSecret;
use crate::auth::visit::Visit;
use crate::tasks;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;
use store::SessionStage;
use store::audit::Actor;

const WRONG_PASSWORD: &str = "Name or password is wrong.";
const WRONG_CODE: &str = "This code is wrong or was used before. Wait for the next one.";

/// What either form sends.
#[derive(Deserialize)]
pub(in crate::auth) struct Typed {
    name: Option<String>,
    password: Option<String>,
    code: Option<String>,
    csrf: Option<String>,
}

/// `GET /sign-in`: the step that comes next.
pub(in crate::auth) async fn page(State(app): State<Arc<App>>, visit: Visit, headers: HeaderMap) -> Response {
    match visitor(&app, &headers, visit.now_us).await {
        Err(error) => unavailable(&error),
        Ok(None) => password_form(&app, StatusCode::OK, None),
        Ok(Some(visitor)) => match visitor.live.session.stage {
            SessionStage::Full => html::see_other("/account"),
            SessionStage::Password => code_form(&visitor.secret, StatusCode::OK, None),
        },
    }
}

/// `POST /sign-in`
pub(in crate::auth) async fn submit(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Response {
    if let Err(reason) = app.doors.cookies.check_origin(&headers) {
        return forged(reason);
    }
    if app.doors.is_time_to_tidy() {
        let app = app.clone();
        drop(tasks::spawn(async move {
            if let Err(error) = app.store.prune_people(visit.now_us).await {
                tracing::warn!(%error, "cannot tidy up after sign-ins");
            }
        }));
    }
    match typed.code {
        Some(code) => second_step(&app, &visit, &headers, &code, typed.csrf.as_deref().unwrap_or_default()).await,
        None => first_step(&app, &visit, &typed.name.unwrap_or_default(), typed.password.unwrap_or_default()).await,
    }
}

async fn first_step(app: &App, visit: &Visit, name: &str, password: String) -> Response {
    match attempt::by_password(app, visit, name, &SecretString::from(password)).await {
        Ok(secret) => html::with_cookie(html::see_other("/sign-in"), &app.doors.cookies.set(&secret)),
        Err(refused) => {
            let (status, text, seconds) = say(&refused, WRONG_PASSWORD);
            retry(password_form(app, status, Some(&text)), seconds)
        }
    }
}

async fn second_step(app: &App, visit: &Visit, headers: &HeaderMap, code: &str, csrf: &str) -> Response {
    let visitor = match visitor(app, headers, visit.now_us).await {
        Ok(Some(visitor)) if visitor.live.session.stage == SessionStage::Password => visitor,
        Ok(_) => return password_form(app, StatusCode::UNAUTHORIZED, Some("It took too long. Begin again.")),
        Err(error) => return unavailable(&error),
    };
    if let Err(reason) = believe(app, headers, &visitor.secret, csrf) {
        return forged(reason);
    }
    match attempt::by_second_factor(app, visit, &visitor.live, code).await {
        Ok(secret) => html::with_cookie(html::see_other("/account"), &app.doors.cookies.set(&secret)),
        Err(refused) => {
            let (status, text, seconds) = say(&refused, WRONG_CODE);
            retry(code_form(&visitor.secret, status, Some(&text)), seconds)
        }
    }
}

/// The field that every form of a session carries.
#[derive(Deserialize)]
pub(in crate::auth) struct Token {
    #[serde(default)]
    pub(super) csrf: String,
}

/// `POST /sign-out`: ends the session, at whichever step it is.
pub(in crate::auth) async fn sign_out(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<Token>,
) -> Response {
    let out = || html::with_cookie(html::see_other("/sign-in"), &app.doors.cookies.clear());
    let visitor = match visitor(&app, &headers, visit.now_us).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return out(),
        Err(error) => return unavailable(&error),
    };
    if let Err(reason) = believe(&app, &headers, &visitor.secret, &form.csrf) {
        return forged(reason);
    }
    let (user, session) = (&visitor.live.user, &visitor.live.session.id);
    let ended = async {
        let access = app.store.begin_access().await?;
        access.store().end_session(&user.id, session, visit.now_us).await?;
        let entry = visit.entry(Actor::user(&user.id, user.role), "session.end").object("session", session);
        access.commit(&[entry.reason("sign_out")]).await
    };
    match ended.await {
        Ok(()) => out(),
        Err(error) => unavailable(&error),
    }
}

fn retry(response: Response, seconds: Option<u64>) -> Response {
    match seconds {
        Some(seconds) => with_retry(response, seconds),
        None => response,
    }
}

fn title(error: Option<&str>, title: &str) -> String {
    if error.is_some() { format!("Error: {title}") } else { title.to_owned() }
}

fn password_form(app: &App, status: StatusCode, error: Option<&str>) -> Response {
    let provider = match &app.doors.provider {
        Some(_) => "<p><a class=\"button\" href=\"/auth/oidc/start\">Sign in with the clinic's account</a></p>",
        None => "",
    };
    let body = format!(
        "<h1>Sign in</h1>{}{provider}\
         <form method=\"post\" action=\"/sign-in\">\
         <label for=\"name\">User name</label>\
         <input id=\"name\" name=\"name\" autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\" \
         maxlength=\"64\" required autofocus>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" \
         required>\
         <button>Go on</button></form>\
         <p class=\"quiet\">Nobody can read your password here. If you cannot get in, an administrator can send you a \
         new link.</p>",
        html::error(error)
    );
    html::page(status, &title(error, "Sign in"), &body)
}

fn code_form(secret: &SessionSecret, status: StatusCode, error: Option<&str>) -> Response {
    let csrf = escape(&secret.csrf_token());
    let body = format!(
        "<h1>Second step</h1>{}\
         <form method=\"post\" action=\"/sign-in\"><input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
         <label for=\"code\">Code of your authenticator app</label>\
         <input id=\"code\" name=\"code\" autocomplete=\"one-time-code\" spellcheck=\"false\" maxlength=\"40\" \
         aria-describedby=\"hint\" required autofocus>\
         <p class=\"quiet\" id=\"hint\">Six digits. Without your telephone: one of your recovery codes.</p>\
         <button>Sign in</button></form>\
         <form method=\"post\" action=\"/sign-out\"><input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
         <button>Begin again</button></form>",
        html::error(error)
    );
    html::page(status, &title(error, "Second step"), &body)
}

/// For those who come through the identity provider and go no further.
pub(super) fn refused_page(app: &App, refused: &Refused) -> Response {
    match say(refused, "You cannot sign in here with this account. Ask an administrator.") {
        (status @ StatusCode::UNAUTHORIZED, text, _) => password_form(app, status, Some(&text)),
        (_, text, _) => busy(&text),
    }
}

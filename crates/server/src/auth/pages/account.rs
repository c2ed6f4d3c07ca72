//! One's own account: where one is signed in, the password, new recovery codes. Whatever lets somebody in is changed only
//! by whoever shows again that they are its owner.

use super::html::{self, escape};
use super::sign_in::Token;
use super::{Visitor, believe, busy, codes_list, forged, member, say, unavailable, with_retry};
use crate::app::App;
use crate::auth::attempt::{self, Refused, Shown};
use crate::auth::cookie::SessionSecret;
use crate::auth::password::policy;
use crate::auth::recovery;
use crate::auth::visit::Visit;
use crate::clock;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clinic::SessionId;
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;
use store::StoreError;
use store::audit::Actor;

/// `GET /account`
pub(in crate::auth) async fn page(State(app): State<Arc<App>>, visit: Visit, headers: HeaderMap) -> Response {
    match member(&app, &headers, visit.now_us).await {
        Ok(visitor) => show(&app, &visit, &visitor, StatusCode::OK, None).await,
        Err(answer) => answer,
    }
}

/// `POST /account/sessions/{id}/end`
pub(in crate::auth) async fn end_session(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(form): Form<Token>,
) -> Response {
    let visitor = match sender(&app, &visit, &headers, &form.csrf).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let user = &visitor.live.user;
    let ended = async {
        let Ok(id) = SessionId::parse(&id) else { return Ok(()) };
        let access = app.store.begin_access().await?;
        if !access.store().end_session(&user.id, &id, visit.now_us).await? {
            return Ok(());
        }
        let entry = visit.entry(Actor::user(&user.id, user.role), "session.end").object("session", id);
        access.commit(&[entry.reason("by_owner")]).await
    };
    answer(ended.await)
}

/// `POST /account/sessions/end-others`
pub(in crate::auth) async fn end_other_sessions(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<Token>,
) -> Response {
    let visitor = match sender(&app, &visit, &headers, &form.csrf).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let (user, own) = (&visitor.live.user, &visitor.live.session.id);
    let ended = async {
        let access = app.store.begin_access().await?;
        let count = access.store().end_sessions_of(&user.id, Some(own), visit.now_us).await?;
        let entry = visit.entry(Actor::user(&user.id, user.role), "session.end").object("user", &user.id);
        access.commit(&[entry.reason("by_owner").detail("count", count)]).await
    };
    answer(ended.await)
}

/// What the form of a new password sends.
#[derive(Deserialize)]
pub(in crate::auth) struct NewPassword {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    current: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

/// `POST /account/password`: ends all other sessions, and gives this one a new secret.
pub(in crate::auth) async fn change_password(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<NewPassword>,
) -> Response {
    let visitor = match sender(&app, &visit, &headers, &form.csrf).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let user = &visitor.live.user;
    let wrong = if form.password != form.again {
        Some("The two new passwords are not the same.".to_owned())
    } else {
        policy::check(&form.password, &user.name).err().map(|weak| weak.to_string())
    };
    if let Some(wrong) = wrong {
        return show(&app, &visit, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(&wrong)).await;
    }
    let current = SecretString::from(form.current);
    if let Err(refused) = attempt::again(&app, &visit, &visitor.live, Shown::Password(&current)).await {
        return refuse(&app, &visit, &visitor, &refused, "The present password is wrong.").await;
    }
    let hash = match app.doors.passwords.hash(&SecretString::from(form.password)).await {
        Ok(hash) => hash,
        Err(error) => return refuse(&app, &visit, &visitor, &error.into(), "").await,
    };
    let Ok(secret) = SessionSecret::generate() else { return busy("The server cannot do this at the moment.") };
    let changed = async {
        let access = app.store.begin_access().await?;
        let (store, own) = (access.store(), &visitor.live.session.id);
        store.set_password(&user.id, &hash, visit.now_us).await?;
        let count = store.end_sessions_of(&user.id, Some(own), visit.now_us).await?;
        if !store.renew_session(own, &secret.hash()).await? {
            return Ok(false);
        }
        let entry = visit.entry(Actor::user(&user.id, user.role), "user.password").object("user", &user.id);
        access.commit(&[entry.detail("sessions_ended", count)]).await.map(|()| true)
    };
    match changed.await {
        Ok(true) => html::with_cookie(html::see_other("/account"), &app.doors.cookies.set(&secret)),
        // The session was ended a moment ago: nothing is changed for whoever holds it.
        Ok(false) => html::see_other("/sign-in"),
        Err(error) => unavailable(&error),
    }
}

/// What the form for new recovery codes sends.
#[derive(Deserialize)]
pub(in crate::auth) struct NewCodes {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    code: String,
}

/// `POST /account/recovery-codes`
pub(in crate::auth) async fn new_recovery_codes(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Form(form): Form<NewCodes>,
) -> Response {
    let visitor = match sender(&app, &visit, &headers, &form.csrf).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let user = &visitor.live.user;
    if let Err(refused) = attempt::again(&app, &visit, &visitor.live, Shown::Code(&form.code)).await {
        let wrong = "This code is wrong or was used before. Wait for the next one.";
        return refuse(&app, &visit, &visitor, &refused, wrong).await;
    }
    let Ok(codes) = recovery::generate() else { return busy("The server cannot do this at the moment.") };
    let hashes: Vec<_> = codes.iter().map(|code| code.hash).collect();
    let changed = async {
        let access = app.store.begin_access().await?;
        access.store().set_recovery_codes(&user.id, &hashes).await?;
        let entry = visit.entry(Actor::user(&user.id, user.role), "user.recovery_codes").object("user", &user.id);
        access.commit(&[entry.detail("count", hashes.len())]).await
    };
    if let Err(error) = changed.await {
        return unavailable(&error);
    }
    let body = format!(
        "<h1>Your new recovery codes</h1>{}<p>Earlier ones do not work any more.</p>\
         <p><a class=\"button\" href=\"/account\">Done</a></p>",
        codes_list(&codes)
    );
    html::page(StatusCode::OK, "Your new recovery codes", &body)
}

/// Who sent a form, if it is to be believed.
async fn sender(app: &App, visit: &Visit, headers: &HeaderMap, csrf: &str) -> Result<Visitor, Response> {
    let visitor = member(app, headers, visit.now_us).await?;
    believe(app, headers, &visitor.secret, csrf).map_err(forged)?;
    Ok(visitor)
}

fn answer(done: Result<(), StoreError>) -> Response {
    match done {
        Ok(()) => html::see_other("/account"),
        Err(error) => unavailable(&error),
    }
}

async fn refuse(app: &App, visit: &Visit, visitor: &Visitor, refused: &Refused, wrong: &str) -> Response {
    let (status, text, seconds) = say(refused, wrong);
    let response = show(app, visit, visitor, status, Some(&text)).await;
    match seconds {
        Some(seconds) => with_retry(response, seconds),
        None => response,
    }
}

/// The page.
async fn show(app: &App, visit: &Visit, visitor: &Visitor, status: StatusCode, error: Option<&str>) -> Response {
    let user = &visitor.live.user;
    let found = async {
        let sessions = app.store.sessions_of(&user.id, visit.now_us).await?;
        Ok::<_, StoreError>((sessions, app.store.recovery_codes_left(&user.id).await?))
    };
    let (sessions, codes_left) = match found.await {
        Ok(found) => found,
        Err(error) => return unavailable(&error),
    };
    let csrf = format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">", escape(&visitor.secret.csrf_token()));
    let rows: String = sessions
        .iter()
        .map(|session| {
            let own = if session.id == visitor.live.session.id { " (this one)" } else { "" };
            let (began, seen) = (clock::for_people(session.created_at_us), clock::for_people(session.seen_at_us));
            format!(
                "<tr><td>{}{own}</td><td>{began}</td><td>{seen}</td><td><form method=\"post\" \
                 action=\"/account/sessions/{}/end\">{csrf}<button aria-label=\"End the session that began {began}\">\
                 End</button></form></td></tr>",
                escape(&session.address),
                escape(session.id.as_str()),
            )
        })
        .collect();
    let body = format!(
        "<h1>Your account</h1>{}<p>Signed in as <strong>{}</strong>, {}. <a href=\"/\">To the start page</a></p>\
         <form method=\"post\" action=\"/sign-out\">{csrf}<button>Sign out</button></form>\
         <h2>Where you are signed in</h2>\
         <table><thead><tr><th scope=\"col\">Address</th><th scope=\"col\">Since (UTC)</th>\
         <th scope=\"col\">Last used (UTC)</th><th scope=\"col\">End</th></tr></thead><tbody>{rows}</tbody></table>\
         <form method=\"post\" action=\"/account/sessions/end-others\">{csrf}<button>End all others</button></form>\
         <h2>Change the password</h2>\
         <form method=\"post\" action=\"/account/password\">{csrf}\
         <label for=\"current\">Present password</label>\
         <input id=\"current\" name=\"current\" type=\"password\" autocomplete=\"current-password\" maxlength=\"256\" required>\
         <label for=\"password\">New password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"new-password\" maxlength=\"256\" required>\
         <label for=\"again\">The same again</label>\
         <input id=\"again\" name=\"again\" type=\"password\" autocomplete=\"new-password\" maxlength=\"256\" required>\
         <button>Change</button></form>\
         <h2>Recovery codes</h2><p>{codes_left} are left. New ones make all earlier ones worthless.</p>\
         <form method=\"post\" action=\"/account/recovery-codes\">{csrf}\
         <label for=\"code\">Code of your authenticator app</label>\
         <input id=\"code\" name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"40\" required>\
         <button>Make new codes</button></form>",
        html::error(error),
        escape(&user.name),
        user.role.as_str(),
    );
    let title = if error.is_some() { "Error: Your account" } else { "Your account" };
    html::page(status, title, &body)
}

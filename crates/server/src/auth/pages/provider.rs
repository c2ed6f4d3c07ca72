//! Signing in through the clinic's identity provider. Who may come in that way was said by an administrator here
//! (`user add --oidc-email`); the provider only says who somebody is.

use super::sign_in::refused_page;
use super::{busy, html};
use crate::app::App;
use crate::auth::attempt::Refused;
use crate::auth::cookie::SessionSecret;
use crate::auth::oidc::{Answer, FLOW_LIFETIME_S, OidcError, SignedIn};
use crate::auth::visit::Visit;
use crate::metrics;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use store::audit::{Actor, AuditOutcome};
use store::{NewSession, SessionStage};

/// `GET /auth/oidc/start`
pub(in crate::auth) async fn start(State(app): State<Arc<App>>, visit: Visit) -> Response {
    let Some(provider) = &app.doors.provider else { return StatusCode::NOT_FOUND.into_response() };
    if let Err(wait) = app.doors.attempt_from(visit.address, visit.now_us) {
        return refused_page(&app, &wait.into());
    }
    let start = match provider.start("/account", visit.now_us).await {
        Ok(start) => start,
        Err(error) => {
            tracing::warn!(%error, "sign-in through the identity provider cannot begin");
            return busy(&error.to_string());
        }
    };
    let Ok(location) = HeaderValue::from_str(&start.location) else {
        return busy("The identity provider's address cannot be used.");
    };
    let response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    html::with_cookie(response, &app.doors.cookies.set_flow(&start.sealed, FLOW_LIFETIME_S))
}

/// `GET /auth/oidc/callback`
pub(in crate::auth) async fn callback(
    State(app): State<Arc<App>>,
    visit: Visit,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Response {
    let Some(provider) = &app.doors.provider else { return StatusCode::NOT_FOUND.into_response() };
    let response = match app.doors.attempt_from(visit.address, visit.now_us) {
        Err(wait) => refused_page(&app, &wait.into()),
        Ok(()) => {
            let sealed = app.doors.cookies.flow(&headers).unwrap_or_default();
            match provider.finish(&answer, sealed, visit.now_us).await {
                Ok(signed_in) => {
                    arrive(&app, &visit, &signed_in).await.unwrap_or_else(|refused| refused_page(&app, &refused))
                }
                Err(error) => not_signed_in(&app, &visit, error).await,
            }
        }
    };
    html::with_cookie(response, &app.doors.cookies.clear_flow())
}

/// The provider has said who it is.
async fn arrive(app: &App, visit: &Visit, signed_in: &SignedIn) -> Result<Response, Refused> {
    let who = &signed_in.identity;
    let mail = who.email.as_deref().filter(|_| who.email_verified);
    let secret = SessionSecret::generate()?;
    let access = app.store.begin_access().await?;
    let store = access.store();
    let found = store.user_of_provider(&who.issuer, &who.subject, mail, visit.now_us).await?;
    let trusted = app.doors.provider_has_second_factor || who.several_factors;
    let refusal = match &found {
        None => Some("unknown"),
        Some(user) if user.disabled_at_us.is_some() => Some("disabled"),
        Some(user) if !trusted && !user.has_second_factor => Some("no_second_factor"),
        Some(_) => None,
    };
    let entry = |actor, action| visit.entry(actor, action).detail("attempted", "provider");
    let (Some(user), None) = (&found, refusal) else {
        access.abandon();
        let mut entry = entry(Actor::anonymous(), "session.refuse").outcome(AuditOutcome::Denied);
        entry = entry.reason(refusal.unwrap_or("unknown"));
        if let Some(user) = &found {
            entry = entry.object("user", &user.id);
        }
        app.store.record(&[entry]).await?;
        metrics::sign_in("provider", refusal.unwrap_or("unknown"));
        return Err(Refused::Wrong);
    };
    let stage = if trusted { SessionStage::Full } else { SessionStage::Password };
    let address = visit.address_text();
    let new = NewSession { user: &user.id, secret_hash: &secret.hash(), stage, address: &address };
    let session = store.begin_session(&new, visit.now_us).await?;
    let actor = Actor::user(&user.id, user.role);
    let told = if trusted {
        store.note_success(&user.id, Some(visit.now_us)).await?;
        entry(actor, "session.begin").detail("second_factor", "provider")
    } else {
        entry(actor, "session.password")
    };
    let mut entries = vec![told.object("session", session)];
    if user.provider_linked_at_us == Some(visit.now_us) {
        entries.insert(0, visit.entry(Actor::user(&user.id, user.role), "user.link").object("user", &user.id));
    }
    access.commit(&entries).await?;
    metrics::sign_in("provider", "right");
    let to = if trusted { signed_in.return_to.as_str() } else { "/sign-in" };
    Ok(html::with_cookie(html::leads_on(to), &app.doors.cookies.set(&secret)))
}

async fn not_signed_in(app: &App, visit: &Visit, error: OidcError) -> Response {
    tracing::warn!(%error, "sign-in through the identity provider failed");
    metrics::sign_in("provider", "failed");
    let entry = visit.entry(Actor::anonymous(), "session.refuse").outcome(AuditOutcome::Denied).reason("provider");
    if let Err(error) = app.store.record(&[entry.detail("attempted", "provider")]).await {
        return super::unavailable(&error);
    }
    let status = match error {
        OidcError::Busy | OidcError::Unreachable | OidcError::Provider(_) => StatusCode::SERVICE_UNAVAILABLE,
        OidcError::Exchange { .. } | OidcError::Setup(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::UNAUTHORIZED,
    };
    let body = format!(
        "<h1>Not signed in</h1><p role=\"alert\">{}.</p><p><a href=\"/sign-in\">Begin again</a></p>",
        html::escape(&error.to_string())
    );
    html::page(status, "Not signed in", &body)
}

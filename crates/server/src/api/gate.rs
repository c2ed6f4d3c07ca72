//! What happens around every handler: who asks, may they, and the entry of the audit trail about it.
//!
//! Nobody may do anything unless a rule says so. In this order: the route has a rule; the caller is known, and a browser
//! sends what our own pages asked for; the caller is not too fast; their role or their token has the right; the body has
//! arrived. Only then an access begins, which is one transaction: the handler works inside, at its desk, which turns away
//! callers who do not reach the patient. The entries about what was done are written in the same transaction, and only
//! when it is durable the answer leaves. Whatever is refused or fails is undone, and an entry tells of the attempt.
//!
//! Nothing here logs a query, a body or a path as it was sent: people paste names and numbers into all three.

use super::caller::Caller;
use super::desk::{Notes, Pass};
use super::idempotency::{self, Kept, Keyed, Turn};
use super::later::{is_later, made};
use super::problem::{self, Problem};
use super::routes::{Rule, Ruling};
use super::{Api, REQUEST_ID, tags};
use crate::app::App;
use crate::auth::principal;
use crate::client_address::ClientAddr;
use crate::hardening::RequestId;
use crate::{clock, limits, metrics, tasks};
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clinic::access::Reach;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use store::audit::{Actor, AuditOutcome, NewEntry};
use store::{CareTeam, Store};

/// What is known of a request before anybody has looked at it.
struct Asked {
    request_id: String,
    address: Option<IpAddr>,
    now_us: i64,
    /// The registered path that it matched.
    route: Option<String>,
    /// Opaque identifier of the caller, for the log.
    caller: String,
}

/// The layer around all handlers.
pub(super) async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map_or_else(uuid::Uuid::new_v4, |id| id.0).to_string();
    let address = request.extensions().get::<ClientAddr>().map(|address| address.0);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let ids = route.as_deref().map(|route| opaque_ids(route, request.uri().path())).unwrap_or_default();
    let mut asked = Asked { request_id, address, now_us: clock::unix_us(), route, caller: "-".to_owned() };
    let rule = rule_of(&app.api, &method, asked.route.as_deref());
    let right = rule.as_ref().map_or("-", |rule| rule.as_ref().map_or("-", Rule::right_name));
    let is_open = matches!(&rule, Ok(Some(rule)) if rule.right.is_none());
    let response = if is_open {
        run(request, next).await
    } else {
        let headers = request.headers().clone();
        match admit(&app, &mut asked, &method, &headers, rule).await {
            Ok(admitted) => serve(&app, &asked, admitted, request, next).await,
            Err(refused) => refused,
        }
    };
    let mut response = problem::render(response, &asked.request_id);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&asked.request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let route = asked.route.as_deref().unwrap_or("unmatched");
    metrics::api_request(route, status);
    tracing::info!(request_id = asked.request_id, caller = asked.caller, %method, route, right, ids, status, "access");
    response
}

/// Somebody who may do what they ask, as far as that is known without looking at a patient.
struct Admitted {
    caller: Caller,
    /// `None` for a path that leads nowhere.
    rule: Option<(Rule, Option<CareTeam>)>,
}

/// Lets a request in, or says why not.
async fn admit(
    app: &Arc<App>,
    asked: &mut Asked,
    method: &Method,
    headers: &HeaderMap,
    rule: Result<Option<Rule>, Response>,
) -> Result<Admitted, Response> {
    let found = principal(app, headers, !method.is_safe(), asked.now_us).await;
    let Some(found) = found.map_err(|error| Problem::from(error).into_response())? else {
        let action = rule.ok().flatten().map_or("request.refuse", |rule| rule.action);
        refuse_stranger(app, asked, action).await;
        return Err(Problem::unauthorized().into_response());
    };
    let (caller, is_ours) = Caller::of(found);
    asked.caller = caller.id().to_owned();
    app.api.pace(caller.id(), asked.now_us).map_err(|wait_s| {
        metrics::api_throttled();
        Problem::too_many(wait_s).into_response()
    })?;
    let Some(rule) = rule? else { return Ok(Admitted { caller, rule: None }) };
    let entry = asked.entry(caller.actor(), rule.action);
    let reach = rule.right.and_then(|right| caller.reach(right));
    let team = match (reach, caller.user()) {
        _ if !is_ours => Err("forged"),
        (None, _) => Err("right"),
        (Some(Reach::All), _) => Ok(None),
        (Some(Reach::CareTeam), Some(user)) => Ok(Some(CareTeam { user: user.clone(), at_us: asked.now_us })),
        (Some(Reach::CareTeam), None) => Err("right"),
    };
    match team {
        Ok(_) if !is_json_or_none(method, headers) => {
            record(app, &[entry.outcome(AuditOutcome::Failed).reason("not_json")]).await;
            Err(Problem::not_json().into_response())
        }
        Ok(team) => Ok(Admitted { caller, rule: Some((rule, team)) }),
        Err(reason) => {
            record(app, &[entry.outcome(AuditOutcome::Denied).reason(reason)]).await;
            let problem = if reason == "forged" { Problem::forged() } else { Problem::forbidden() };
            Err(problem.into_response())
        }
    }
}

/// The rule of a request; none for a path that leads nowhere. A route that nobody made a rule for is closed.
#[expect(clippy::result_large_err, reason = "a response is what the gate needs then, and at once")]
fn rule_of(api: &Api, method: &Method, matched: Option<&str>) -> Result<Option<Rule>, Response> {
    let Some(matched) = matched else { return Ok(None) };
    match api.rules.find(method, matched) {
        Ruling::Rule(rule) => Ok(Some(rule.clone())),
        Ruling::OtherMethods(methods) => {
            let mut response = Problem::method_not_allowed().into_response();
            if let Ok(allow) = HeaderValue::from_str(&methods) {
                response.headers_mut().insert(header::ALLOW, allow);
            }
            Err(response)
        }
        Ruling::Unknown => {
            tracing::error!(%method, route = matched, "a route without a rule is closed");
            Err(Problem::forbidden().into_response())
        }
    }
}

/// Notes that somebody unknown asked, unless too many are noted already.
async fn refuse_stranger(app: &App, asked: &Asked, action: &str) {
    let noted = app.api.refusals().note(asked.address, asked.now_us);
    metrics::api_refused();
    let Some(unwritten) = noted else { return };
    let mut entry = asked.entry(Actor::anonymous(), action).outcome(AuditOutcome::Denied).reason("unauthorized");
    if unwritten > 0 {
        entry = entry.detail("unwritten", unwritten);
    }
    record(app, &[entry]).await;
}

/// Writes entries about what was refused. The refusal stands even if the trail cannot be written: nothing was given.
async fn record(app: &App, entries: &[NewEntry]) {
    if let Err(error) = app.store.record(entries).await {
        metrics::audit_lost();
        tracing::error!(code = error.code(), "a refused request could not be noted in the audit trail");
    }
}

/// Serves somebody who was let in.
async fn serve(app: &Arc<App>, asked: &Asked, admitted: Admitted, request: Request, next: Next) -> Response {
    let Admitted { caller, rule } = admitted;
    let Some((rule, team)) = rule else { return run(request, next).await };
    let (parts, body) = request.into_parts();
    // All of it, before the access: a slow client must not keep others from writing.
    let body = match tokio::time::timeout(limits::API_BODY_WAIT, to_bytes(body, limits::API_BODY_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(if is_too_long(&error) { Problem::too_large() } else { Problem::unreadable() }),
        Err(_) => Err(Problem::too_slow()),
    };
    let keyed = body.and_then(|body| Ok((idempotency::keyed(caller.id(), &parts, &body)?, body)));
    let work =
        Work { app: app.clone(), entry: asked.entry(caller.actor(), rule.action), now_us: asked.now_us, caller, team };
    let (keyed, body) = match keyed {
        Ok(read) => read,
        Err(problem) => {
            record(app, &[work.entry.outcome(AuditOutcome::Failed).reason(problem.code())]).await;
            return problem.into_response();
        }
    };
    let is_safe = parts.method.is_safe();
    let request = Request::from_parts(parts, Body::from(body));
    if is_safe {
        return work.once(keyed, request, next).await;
    }
    // A client that goes away must not stop it half way: nobody could say then whether it was done.
    let working = tasks::spawn(async move { work.once(keyed, request, next).await });
    working.await.unwrap_or_else(|_| Problem::internal().into_response())
}

/// What the trail says of an answer that is made after its access.
#[derive(Clone)]
struct Told(Vec<NewEntry>);

/// Makes what was put off. The trail says already that it was given: when it cannot be, another entry says so.
async fn made_and_told(app: &App, mut response: Response) -> Response {
    let told = response.extensions_mut().remove::<Told>();
    let response = made(response).await;
    if let (Some(Told(entries)), Some(problem)) = (told, problem_of(&response)) {
        let failed = |entry: NewEntry| entry.outcome(AuditOutcome::Failed).reason(problem);
        record(app, &entries.into_iter().map(failed).collect::<Vec<_>>()).await;
    }
    response
}

/// What one request does.
struct Work {
    app: Arc<App>,
    caller: Caller,
    team: Option<CareTeam>,
    entry: NewEntry,
    now_us: i64,
}

impl Work {
    /// Does it, or gives the answer of the first time.
    async fn once(self, keyed: Option<Keyed>, request: Request, next: Next) -> Response {
        let app = self.app.clone();
        let turn = match keyed {
            None => Ok(Turn::First),
            Some(keyed) => keyed.begin(&app.store, self.now_us).await,
        };
        match turn {
            Ok(Turn::Again(kept)) => self.again(kept).await,
            Ok(Turn::First) => {
                let response = self.perform(keyed, request, next).await;
                if let Some(keyed) = keyed.filter(|_| !response.status().is_success())
                    && let Err(error) = keyed.give_up(&app.store).await
                {
                    tracing::warn!(code = error.code(), "a request that failed counts as being served for a while");
                }
                made_and_told(&app, response).await
            }
            Err(problem) => {
                record(&app, &[self.entry.outcome(AuditOutcome::Failed).reason(problem.code())]).await;
                problem.into_response()
            }
        }
    }

    /// Gives an answer that was given before: it is data, and so there is an entry.
    async fn again(self, kept: Kept) -> Response {
        let entry = self.entry.detail("repeated", true);
        let told = async {
            let access = self.app.store.begin_access().await?;
            for patient in &kept.subjects {
                if let Some(team) = &self.team
                    && !access.store().reaches(team, patient).await?
                {
                    access.abandon();
                    let denied = entry.clone().patient(Some(patient)).outcome(AuditOutcome::Denied);
                    record(&self.app, &[denied.reason("care_team")]).await;
                    return Ok(Problem::not_found("patient").into_response());
                }
            }
            access.commit(&of_subjects(entry.clone(), &kept.subjects)).await?;
            Ok::<_, store::StoreError>(kept.again())
        };
        told.await.unwrap_or_else(|error| Problem::from(error).into_response())
    }

    /// Does it, in one access with the entries about it.
    async fn perform(self, keyed: Option<Keyed>, mut request: Request, next: Next) -> Response {
        let access = match self.app.store.begin_access().await {
            Ok(access) => access,
            Err(error) => return Problem::from(error).into_response(),
        };
        let if_match = request.headers().get(header::IF_MATCH);
        let pass = Arc::new(Pass {
            app: self.app.clone(),
            store: access.store().clone(),
            now_us: self.now_us,
            caller: self.caller,
            team: self.team,
            if_match: if_match.map(|tag| tag.to_str().unwrap_or_default().to_owned()),
            entry: self.entry.clone(),
            notes: Notes::default().into(),
        });
        request.extensions_mut().insert(pass.clone());
        let response = match tokio::time::timeout(limits::API_WORK, run(request, next)).await {
            Ok(response) => response,
            Err(_) => Problem::busy("it took too long").into_response(),
        };
        // Whoever kept something of the desk could go on working in a transaction that has ended.
        let Some(pass) = Arc::into_inner(pass) else {
            tracing::error!(action = self.entry.action, "a handler kept its desk: what it did is undone");
            return Problem::internal().into_response();
        };
        let Pass { store, notes, .. } = pass;
        let mut notes = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem_of(&response) {
            drop(store);
            access.abandon();
            record(&self.app, &refused(self.entry, notes, &response, problem)).await;
            return response;
        }
        let mut response = match keep(keyed, &store, response, &notes).await {
            Ok(response) => response,
            Err(problem) => {
                drop(store);
                access.abandon();
                record(&self.app, &refused(self.entry, notes, &problem.clone().into_response(), problem.code())).await;
                return problem.into_response();
            }
        };
        drop(store);
        let (outgoing, alerts) = (notes.wakes_outgoing, notes.wakes_alerts);
        let entries = done(self.entry, &mut notes);
        if let Err(error) = access.commit(&entries).await {
            metrics::audit_lost();
            tracing::error!(code = error.code(), "no entry of the audit trail, and so no answer");
            return Problem::busy("what was asked could not be recorded, and so was not done").into_response();
        }
        if outgoing {
            self.app.outgoing.notify_one();
        }
        if alerts {
            self.app.alerts.wake();
        }
        if is_later(&response) {
            response.extensions_mut().insert(Told(entries));
        }
        response
    }
}

async fn keep(keyed: Option<Keyed>, store: &Store, response: Response, notes: &Notes) -> Result<Response, Problem> {
    match keyed {
        None => Ok(response),
        // What is made later changes nothing, and may as well be made again.
        Some(keyed) if is_later(&response) => Ok(keyed.give_up(store).await.map(|()| response)?),
        Some(keyed) => keyed.keep(store, response, &notes.subjects).await,
    }
}

/// What went wrong, as a code; `None` when nothing did.
fn problem_of(response: &Response) -> Option<&'static str> {
    let status = response.status();
    let code = response.extensions().get::<Problem>().map(Problem::code);
    code.or_else(|| (status.is_client_error() || status.is_server_error()).then_some("error"))
}

/// The entries about a request that was refused or failed.
fn refused(entry: NewEntry, mut notes: Notes, response: &Response, problem: &'static str) -> Vec<NewEntry> {
    let is_denied = notes.out_of_reach || response.status() == StatusCode::FORBIDDEN;
    let outcome = if is_denied { AuditOutcome::Denied } else { AuditOutcome::Failed };
    notes.reason = Some(if notes.out_of_reach { "care_team" } else { problem }.to_owned());
    // What a list would have held was not given.
    notes.details.remove("count");
    done(entry.outcome(outcome), &mut notes)
}

/// The entries about what was done: one for each patient, or a single one.
fn done(mut entry: NewEntry, notes: &mut Notes) -> Vec<NewEntry> {
    if let Some((kind, id)) = notes.object.take() {
        entry = entry.object(kind, id);
    }
    if let Some(reason) = notes.reason.take() {
        entry = entry.reason(&reason);
    }
    for (name, value) in std::mem::take(&mut notes.details) {
        entry = entry.detail(name, value);
    }
    of_subjects(entry, &notes.subjects)
}

fn of_subjects(entry: NewEntry, subjects: &[clinic::PatientId]) -> Vec<NewEntry> {
    if subjects.is_empty() {
        return vec![entry];
    }
    subjects.iter().map(|patient| entry.clone().patient(Some(patient))).collect()
}

impl Asked {
    /// An entry that says who asks, from where and in which request.
    fn entry(&self, actor: Actor, action: &str) -> NewEntry {
        let mut entry = NewEntry::new(actor, action);
        entry.address = self.address.map(|address| address.to_string());
        entry.request = Some(self.request_id.clone());
        entry
    }
}

/// Serves a request and tags the answer.
async fn run(request: Request, next: Next) -> Response {
    let (method, asked) = (request.method().clone(), request.headers().clone());
    let response = next.run(request).await;
    tags::tag(&method, &asked, response).await
}

/// Whether the body is JSON, as far as the request says what it is.
fn is_json_or_none(method: &Method, headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let has_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    !has_body || kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Whether a body could not be read because it is too long, or because it never came.
fn is_too_long(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit") {
            return true;
        }
        source = error.source();
    }
    false
}

/// The identifiers in a path, as far as they are ours: whatever else somebody wrote there is not repeated. The route is
/// the whole one, the path may lack its beginning.
fn opaque_ids(route: &str, path: &str) -> String {
    let parts = route.rsplit('/').zip(path.rsplit('/'));
    let ids = parts.filter(|(name, id)| name.starts_with('{') && uuid::Uuid::parse_str(id).is_ok()).map(|(_, id)| id);
    let mut ids: Vec<&str> = ids.collect();
    ids.reverse();
    ids.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identifiers_of_ours_are_logged() {
        let id = "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b";
        assert_eq!(opaque_ids("/api/v1/calls/{id}/events", &format!("/api/v1/calls/{id}/events")), id);
        assert_eq!(opaque_ids("/api/v1/calls/{id}/events", &format!("/calls/{id}/events")), id);
        assert_eq!(opaque_ids("/api/v1/calls/{id}", "/api/v1/calls/15005550006"), "");
        assert_eq!(opaque_ids("/api/v1/patients/{id}", "/api/v1/patients/Ada%20Example"), "");
    }

    #[test]
    fn a_body_that_is_too_long_is_told_from_one_that_is_cut() {
        let read = futures_util::FutureExt::now_or_never(to_bytes(Body::from("12345"), 4));
        assert!(read.is_some_and(|read| read.is_err_and(|error| is_too_long(&error))));
        assert!(!is_too_long(&axum::Error::new(std::io::Error::other("reset"))));
    }
}

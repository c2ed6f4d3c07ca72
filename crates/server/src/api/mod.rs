//! The programming interface below `/api/v1`: JSON for programs that show a bearer token.
//!
//! Each resource is a file. What all have in common stands here and runs before and after every handler: the token, a
//! request identifier, errors as RFC 9457 problems, `no-store`, and one log line per access with opaque identifiers only.
//! Nothing here logs a query, a body or a path as it was sent: people paste names and numbers into all three.

mod alerts;
mod calls;
mod page;
mod patients;
mod problem;
mod schedules;

pub use alerts::alert_json;
pub use calls::visit_json;
pub use schedules::{planned_call_json, schedule_json};

use crate::app::App;
use crate::clock;
use crate::limits;
use crate::metrics;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clinic::TokenId;
use problem::Problem;
use std::sync::Arc;

/// Where the interface is.
pub(crate) const BASE: &str = "/api/v1";
/// Header with the identifier of a request, also in every problem and in the log.
const REQUEST_ID: &str = "x-request-id";

/// Whose request it is.
#[derive(Debug, Clone)]
struct Caller {
    token_id: TokenId,
    name: String,
}

/// The routes. A resource of a call or a patient joins its neighbours here.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/alerts", get(alerts::list))
        .route("/alerts/{id}", get(alerts::get))
        .route("/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/alerts/{id}/resolve", post(alerts::resolve))
        .route("/patients", get(patients::list))
        .route("/patients/{id}", get(patients::get))
        .route("/patients/{id}/calls", get(calls::list_of_patient))
        .route("/patients/{id}/trends", get(patients::trends))
        .route("/schedules", get(schedules::list).post(schedules::create))
        .route("/schedules/{id}", get(schedules::get).delete(schedules::remove))
        .route("/schedules/{id}/pause", post(schedules::pause))
        .route("/schedules/{id}/resume", post(schedules::resume))
        .route("/calls", get(calls::list))
        .route("/calls/{id}", get(calls::get))
        .route("/calls/{id}/assessment", get(calls::assessment))
        .route("/calls/{id}/biomarkers", get(calls::biomarkers))
        .route("/calls/{id}/events", get(calls::events))
        .route("/calls/{id}/transcript", get(calls::transcript))
        .route("/calls/{id}/visit", get(calls::visit))
        .fallback(async || Problem::not_found("resource"))
        .layer(DefaultBodyLimit::max(limits::API_BODY_MAX))
        .layer(from_fn_with_state(app.clone(), gate))
}

/// What happens around every handler.
async fn gate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let request_id = uuid::Uuid::new_v4().to_string();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let ids = matched.as_deref().map(|route| opaque_ids(route, request.uri().path())).unwrap_or_default();
    let route = matched.unwrap_or_else(|| "unmatched".to_owned());
    let (token_id, response) = match authorise(&app, request.headers()).await {
        Ok(caller) => {
            let token_id = caller.token_id.to_string();
            request.extensions_mut().insert(caller);
            (token_id, next.run(request).await)
        }
        Err(problem) => ("-".to_owned(), problem.into_response()),
    };
    let mut response = problem::render(response, &request_id);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    metrics::api_request(&route, status);
    tracing::info!(%request_id, token_id, %method, route, ids, status, "access");
    response
}

/// Who shows this token.
async fn authorise(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|shown| shown.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else { return Err(Problem::unauthorized()) };
    match app.store.check_token(token.trim(), clock::unix_us()).await {
        Ok(Some(record)) => Ok(Caller { token_id: record.id, name: record.name }),
        Ok(None) => Err(Problem::unauthorized()),
        Err(error) => Err(error.into()),
    }
}

/// The identifiers in a path, as far as they are ours: whatever else somebody wrote there is not repeated.
fn opaque_ids(route: &str, path: &str) -> String {
    let parts = route.split('/').zip(path.split('/'));
    let ids = parts.filter(|(name, id)| name.starts_with('{') && uuid::Uuid::parse_str(id).is_ok()).map(|(_, id)| id);
    ids.collect::<Vec<_>>().join(" ")
}

/// JSON with a status of success.
fn ok(value: serde_json::Value) -> Response {
    (StatusCode::OK, axum::Json(value)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identifiers_of_ours_are_logged() {
        let id = "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b";
        assert_eq!(opaque_ids("/api/v1/calls/{id}/events", &format!("/api/v1/calls/{id}/events")), id);
        assert_eq!(opaque_ids("/api/v1/calls/{id}", "/api/v1/calls/15005550006"), "");
        assert_eq!(opaque_ids("/api/v1/patients/{id}", "/api/v1/patients/Ada%20Example"), "");
    }
}

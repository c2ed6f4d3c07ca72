//! Errors as RFC 9457 problem documents. `code` (and with it `type`) stays the same across versions; `detail` is for
//! people and never repeats what was sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::StoreError;

/// After so many seconds a client may try again what failed for want of a service.
const RETRY_AFTER_S: &str = "2";

/// Why a request was not served. Rendered by [`render`], which knows the request's identifier.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn unauthorized() -> Self {
        let detail = "show a token of `heartvoice token create` in the header `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who is asking?", detail)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("no such {what}"))
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood", detail)
    }

    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into() }
    }

    /// For an answer of the web framework itself, such as a body that is too large.
    fn of_status(status: StatusCode) -> Self {
        let (code, title, detail) = match status {
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "Method not allowed", "see the header `Allow`"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The body is too large", "at most 16 KiB"),
            StatusCode::NOT_FOUND => ("not_found", "Not found", "no such resource"),
            status if status.is_client_error() => {
                ("bad_request", "The request cannot be understood", "check the query and the body")
            }
            _ => ("internal", "Something went wrong here", "the log of the server has more under this request_id"),
        };
        Self::new(status, code, title, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The texts of the store name kinds of records and identifiers, never contents.
        let detail = error.to_string();
        match error {
            StoreError::NotFound { what } => Self::not_found(what),
            StoreError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", "Not in this state", detail),
            StoreError::Invalid { .. } => Self::bad_request(detail),
            StoreError::Sealed { .. } => Self::new(StatusCode::GONE, "erased", "Erased", detail),
            StoreError::Unavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again later", detail)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem that `response` carries, or that its status stands for. Other responses pass.
pub(super) fn render(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    if problem.is_none() && !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = problem.unwrap_or_else(|| Problem::of_status(status));
    if problem.status.is_server_error() {
        tracing::error!(request_id, code = problem.code, detail = problem.detail, "request failed");
    }
    let body = json!({
        "type": format!("urn:heartvoice:problem:{}", problem.code),
        "title": problem.title,
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    });
    let mut rendered = (problem.status, Json(body)).into_response();
    let headers = rendered.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(allow) = response.headers().get(header::ALLOW) {
        headers.insert(header::ALLOW, allow.clone());
    }
    match problem.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        _ => {}
    }
    rendered
}

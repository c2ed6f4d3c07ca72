//! Errors as RFC 9457 problem documents. `code` (and with it `type`) stays the same across versions; `detail` is for
//! people and never repeats what was sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use store::StoreError;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// After so many seconds a client may try again what failed for want of a service.
const RETRY_AFTER_S: &str = "2";

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
struct Rendered<'a> {
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:heartvoice:problem:[a-z_]+$")]
    kind: String,
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For people; it never repeats what was sent.
    detail: &'a str,
    /// Stays the same across versions.
    code: &'a str,
    /// As in the header `x-request-id`.
    request_id: &'a str,
}

/// The schema of every problem.
pub(super) fn schema() -> Value {
    json!(Rendered::schema())
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Rendered::schema()
    }
}

impl ToSchema for Problem {}

/// Why a request was not served. Rendered by [`render`], which knows the request's identifier.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// Stays the same across versions.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn unauthorized() -> Self {
        let detail =
            "sign in, or show a token of `heartvoice token create` in the header `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who is asking?", detail)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("no such {what}"))
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood", detail)
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not permitted", "this needs a right that you do not have")
    }

    pub(super) fn forged() -> Self {
        let detail =
            "a request by cookie that changes something must come from our own pages, with the header x-csrf-token";
        Self::new(StatusCode::FORBIDDEN, "forged", "Not from our own pages", detail)
    }

    pub(super) fn too_many(retry_after_s: u64) -> Self {
        let detail = "too many requests: see the header Retry-After";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Slow down", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    pub(super) fn too_slow() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "The request took too long", detail)
    }

    pub(super) fn unreadable() -> Self {
        Self::of_status(StatusCode::BAD_REQUEST)
    }

    pub(super) fn conflict(detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Not in this state", detail)
    }

    pub(super) fn in_progress() -> Self {
        let detail = "a request with this Idempotency-Key is still being served: ask again in a moment";
        Self::new(StatusCode::CONFLICT, "in_progress", "Still being served", detail)
    }

    pub(super) fn key_reused() -> Self {
        let detail = "this Idempotency-Key was used for another request: choose a new one";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "The key was used before", detail)
    }

    pub(super) fn precondition_failed() -> Self {
        let detail = "it changed since: read it again, and decide again";
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", "It changed meanwhile", detail)
    }

    pub(super) fn precondition_required() -> Self {
        let detail = "send the header If-Match with the ETag of what the change was decided by";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", "By which state?", detail)
    }

    pub(super) fn not_json() -> Self {
        let detail = "content-type: expected application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "The body is not JSON", detail)
    }

    pub(super) fn too_large() -> Self {
        Self::of_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::of_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(super) fn bad_range() -> Self {
        let detail = "range: expected one range of bytes that begins within the recording";
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", "Not in the recording", detail)
    }

    /// For want of room, which there will be again.
    pub(super) fn busy(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again later", detail)
    }

    pub(super) fn internal() -> Self {
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after_s: None }
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
            StoreError::Unavailable { .. } | StoreError::Busy { .. } => {
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
    let body = Rendered {
        kind: format!("urn:heartvoice:problem:{}", problem.code),
        title: problem.title,
        status: problem.status.as_u16(),
        detail: &problem.detail,
        code: problem.code,
        request_id,
    };
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
        StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(problem.retry_after_s.unwrap_or(1)));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        _ => {}
    }
    rendered
}

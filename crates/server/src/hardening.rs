//! What holds for every request and every answer, whichever route: requests that no client of ours sends are refused
//! before a handler sees them, errors are problem documents, and browsers are told to allow nothing that we do not need.
//!
//! No answer ever carries an `Access-Control` header: pages of other origins get nothing from us.

use crate::limits;
use crate::metrics;
use crate::webhook::paths;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::Instrument;
use uuid::Uuid;

/// The header with the identifier of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The identifier of a request: the client's own if it is a UUID, else a new one. Every request carries it as an
/// extension, every answer in `X-Request-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// The trace that a request belongs to, if its `traceparent` names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceId(pub String);

/// What depends on how the server is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardening {
    /// Clients reach us by TLS only, here or at a proxy: they may remember that.
    pub(crate) https_only: bool,
}

/// A year, as browsers want it before they believe that we mean it. Not for other names of the domain: those are not
/// ours to decide about.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// For answers that set no policy of their own: nothing may be loaded, and nobody may frame them.
const NO_CONTENT_AT_ALL: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

/// Headers of every answer, unless the handler knows better.
const ALWAYS: [(HeaderName, HeaderValue); 8] = [
    (header::CONTENT_SECURITY_POLICY, NO_CONTENT_AT_ALL),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
             microphone=(), payment=(), usb=()",
        ),
    ),
];

/// Paths below which every answer is about somebody's health.
const CLINICAL: [&str; 2] = ["/api/", "/fhir/"];

/// Paths below which services call us. Whoever forges such a call is told nothing but the status.
const CALLBACKS: [&str; 2] = ["/twilio/", "/elevenlabs/"];

/// A request that is refused unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    detail: &'static str,
}

/// The layer around all routes.
pub(crate) async fn harden(State(hardening): State<Hardening>, mut request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(request_id));
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let clinical = CLINICAL.iter().any(|base| request.uri().path().starts_with(base));
    let callback = CALLBACKS.iter().any(|base| request.uri().path().starts_with(base));
    let trace = request.headers().get(TRACE_PARENT).and_then(|value| value.to_str().ok()).and_then(trace_id);
    let mut response = match examine(&request) {
        Err(refusal) => {
            metrics::request_refused(refusal.reason);
            tracing::debug!(%request_id, reason = refusal.reason, "request refused");
            problem(refusal.status, refusal.reason, refusal.detail, request_id)
        }
        Ok(()) => match trace {
            Some(trace_id) => {
                let span = tracing::info_span!("request", trace_id);
                request.extensions_mut().insert(TraceId(trace_id));
                next.run(request).instrument(span).await
            }
            None => next.run(request).await,
        },
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    response = explain(response, callback, request_id);
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    if clinical {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if hardening.https_only {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
    if chunked {
        // A proxy in front of us may have believed a length that came with it, and take for the next request what we
        // took for a part of this one. Nothing follows on this connection.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
        headers.entry(REQUEST_ID).or_insert(value);
    }
    response
}

/// `404` for whatever has no route.
pub(crate) async fn unknown_route(Extension(RequestId(id)): Extension<RequestId>) -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address", id)
}

/// Refuses what no client of ours sends.
fn examine(request: &Request) -> Result<(), Refusal> {
    let refuse = |status, reason, detail| Err(Refusal { status, reason, detail });
    let (uri, headers) = (request.uri(), request.headers());
    if uri_length(uri) > limits::URI_MAX {
        return refuse(StatusCode::URI_TOO_LONG, "uri_too_long", "the address may have 8 KiB");
    }
    if headers.len() > limits::HEADERS_MAX {
        let detail = "at most 64 header lines are read";
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers", detail);
    }
    if !is_plain_path(uri.path()) {
        let detail = "the path has an empty, relative or disguised part";
        return refuse(StatusCode::BAD_REQUEST, "bad_path", detail);
    }
    // The extractors would wait for what is too much; a length that is announced can be refused at once.
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if uri.path() != paths::POST_CALL && length.is_some_and(|length| length > limits::WEBHOOK_BODY_MAX as u64) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than any that is read here");
    }
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return refuse(StatusCode::BAD_REQUEST, "bad_host", "exactly one Host header is expected");
    }
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if headers.get_all(&name).iter().count() > 1 {
            let detail = "Authorization and Content-Type may be given once";
            return refuse(StatusCode::BAD_REQUEST, "repeated_header", detail);
        }
    }
    Ok(())
}

fn uri_length(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, |query| query.len() + 1)
}

/// True for paths that mean to everybody what they say: no empty or dotted segments, nothing encoded that would separate
/// segments or end a text, and UTF-8 when decoded.
fn is_plain_path(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return false };
            let meant = u8::try_from(high * 16 + low).unwrap_or_default();
            if matches!(meant, b'.' | b'/' | b'\\' | b'%') {
                return false;
            }
            meant
        } else {
            byte
        };
        if byte.is_ascii_control() || byte == b'\\' {
            return false;
        }
        decoded.push(byte);
    }
    let Ok(decoded) = std::str::from_utf8(&decoded) else { return false };
    // `OPTIONS *` has no path.
    let Some(segments) = decoded.strip_prefix('/') else { return decoded == "*" };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// The client's identifier of the request, if it is one that cannot say anything about anybody.
fn request_id(headers: &HeaderMap) -> Uuid {
    let shown = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    shown.filter(|text| text.len() == 36).and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_else(Uuid::new_v4)
}

/// The trace of a `traceparent` as W3C Trace Context defines it: version, trace, parent and flags in lower-case
/// hexadecimal digits, neither identifier zero. Versions to come may append more.
fn trace_id(text: &str) -> Option<String> {
    let hex = |part: Option<&str>, length: usize| {
        let is_hex =
            |part: &&str| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        part.filter(is_hex).map(str::to_owned)
    };
    let mut parts = text.split('-');
    let version = hex(parts.next(), 2)?;
    let trace = hex(parts.next(), 32)?;
    let parent = hex(parts.next(), 16)?;
    hex(parts.next(), 2)?;
    let more = parts.next().is_some();
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let is_wrong = version == "ff" || (version == "00" && more) || is_zero(&trace) || is_zero(&parent);
    (!is_wrong).then_some(trace)
}

/// Gives an error without a document of its own one. What the framework would say can repeat what was sent.
fn explain(response: Response, callback: bool, request_id: Uuid) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_explained = kind.map_or(callback, |kind| !kind.starts_with(b"text/plain"));
    if is_explained {
        return response;
    }
    let (code, detail) = match status {
        StatusCode::UNAUTHORIZED => ("unauthorized", "who is asking?"),
        StatusCode::FORBIDDEN => ("forbidden", "the request is not signed by whom it should be"),
        StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "see the header Allow"),
        StatusCode::REQUEST_TIMEOUT => ("too_slow", "the body did not arrive in time"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "see the header Content-Type"),
        StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "try again later"),
        status if status.is_client_error() => ("bad_request", "the request cannot be understood"),
        _ => ("internal", "something went wrong here; the log of the server has more under this X-Request-Id"),
    };
    let mut explained = problem(status, code, detail, request_id);
    let own = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    for (name, value) in response.headers() {
        if !own.contains(name) {
            explained.headers_mut().append(name, value.clone());
        }
    }
    explained
}

/// An RFC 9457 problem document. None of its parts is taken from the request, unless its identifier was a UUID already.
fn problem(status: StatusCode, code: &str, detail: &str, request_id: Uuid) -> Response {
    let body = json!({
        "type": format!("urn:heartvoice:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
        "request_id": request_id.to_string(),
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
    (status, kind, Body::from(body.to_string())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_mean_something_else_than_they_say() {
        for bad in [
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/../etc/passwd",
            "/%2e%2e/a",
            "/a/%2E./b",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a%c0%ae",
            "/%252e%252e/a",
            "a",
            "/a%7f",
        ] {
            assert!(!is_plain_path(bad), "{bad}");
        }
        for good in ["/", "*", "/api/v1/calls/", "/a/b.c", "/a/..b", "/Ada%20Example", "/caf%C3%A9", "/caf\u{e9}"] {
            assert!(is_plain_path(good), "{good}");
        }
    }

    #[test]
    fn traces_are_taken_only_when_well_formed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        assert_eq!(trace_id(&format!("00-{trace}-{parent}-01")).as_deref(), Some(trace));
        assert_eq!(trace_id(&format!("cc-{trace}-{parent}-01-later")).as_deref(), Some(trace));
        for bad in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}0-{parent}-01"),
            format!("00-{trace}-{parent}-01\nforged log line"),
        ] {
            assert_eq!(trace_id(&bad), None, "{bad}");
        }
    }

    #[test]
    fn identifiers_of_requests_say_nothing_about_anybody() {
        let own = "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b";
        let shown = |text: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(text))])).to_string()
        };
        assert_eq!(shown(own), own);
        assert_ne!(shown("Ada Example"), shown("Ada Example"));
        assert_eq!(shown("{0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b}").len(), own.len());
    }
}

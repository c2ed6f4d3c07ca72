//! The page at `/`: is everything in order, and where to look. It shows nothing about any patient, so it needs no login.

use axum::http::header;
use axum::response::IntoResponse;

/// Nothing but our own two files, and nobody may frame them.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub(crate) async fn page() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("home.html"))
}

/// `GET /alerts/{id}`: where the links in messages to the staff lead. It shows nothing about the alert, only how to see it
/// with one's own rights; the identifier is in the address already.
pub(crate) async fn alert() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("alert.html"))
}

/// `GET /home.js`
pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("home.js"))
}

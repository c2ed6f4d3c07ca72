//! The page at `/api/docs`, on which people read the description and try requests. It shows nothing about any patient, so
//! it needs no login; requests made from it need one like any others.

use crate::app::App;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

/// Scripts, connections and images of this server only. The viewer writes style attributes.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = include_str!("../../assets/docs/index.html");
/// Compressed as it was published; every browser takes it so.
const VIEWER: &[u8] = include_bytes!("../../assets/docs/rapidoc-9.3.8.min.js.gz");

/// The page and its script.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new().route("/api/docs", get(page)).route("/api/docs/rapidoc.js", get(viewer))
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE)
}

async fn viewer() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CONTENT_ENCODING, "gzip"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, VIEWER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    #[test]
    fn the_viewer_is_the_one_that_was_published() {
        let hash: String = digest(&SHA256, VIEWER).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(include_str!("../../assets/docs/README.md").contains(&hash));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_has_no_script_of_its_own() {
        assert!(!PAGE.contains("http:") && !PAGE.contains("https:") && !PAGE.contains("//"));
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script src=\"/api/docs/").count());
        assert!(!POLICY.contains("script-src 'self' ") && !POLICY.contains("unsafe-eval"));
    }
}

//! How the pages look: one frame, no scripts, nothing from elsewhere, everything that came from outside escaped.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;

/// Only our own style sheet; forms go to us; nobody may frame a page on which passwords are typed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// Where the style sheet is.
pub(super) const STYLE: &str = "/people.css";

/// `GET /people.css`
pub(super) async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, include_str!("people.css"))
}

/// A page. `body` is HTML whose parts were escaped.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    framed(status, title, "", body)
}

/// A page that leads on by itself: a browser that follows a redirect of another site keeps our cookie to itself, one that
/// goes on from a page of ours does not.
pub(super) fn leads_on(to: &str) -> Response {
    let head = format!("<meta http-equiv=\"refresh\" content=\"0; url={}\">", escape(to));
    let body = format!("<h1>Signed in</h1><p><a href=\"{}\">Go on</a></p>", escape(to));
    framed(StatusCode::OK, "Signed in", &head, &body)
}

fn framed(status: StatusCode, title: &str, head: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} - HeartVoice Monitor</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"{STYLE}\">\n{head}\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        escape(title)
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (status, headers, text).into_response()
}

/// To another page of ours, by GET.
pub(super) fn see_other(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static(to))]).into_response()
}

/// Adds a `Set-Cookie`.
pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// What went wrong, said so that screen readers say it first.
pub(super) fn error(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("<p class=\"error\" id=\"error\" role=\"alert\">{}</p>", escape(text)))
}

/// Text that means only itself in HTML, in attributes too.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A QR code as an image in the page; `None` for a text that is too long for one.
pub(super) fn qr_code(text: &str, label: &str) -> Option<String> {
    /// Light border that readers need.
    const QUIET: usize = 4;
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::M).ok()?;
    let width = code.width();
    let mut dark = String::new();
    for (place, colour) in code.to_colors().into_iter().enumerate() {
        if colour == qrcode::Color::Dark {
            let _ = write!(dark, "M{} {}h1v1h-1z", place % width + QUIET, place / width + QUIET);
        }
    }
    let size = width + 2 * QUIET;
    Some(format!(
        "<svg class=\"code\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#ffffff\" d=\"M0 0h{size}v{size}H0z\"/><path fill=\"#000000\" d=\"{dark}\"/></svg>",
        escape(label)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(escape("<a href=\"x\" title='y'>&"), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;");
        assert!(error(Some("<script>")).contains("&lt;script&gt;"));
    }

    #[test]
    fn a_qr_code_has_its_three_eyes_and_a_border() {
        let svg = qr_code("otpauth://totp/x", "code").unwrap();
        let size: usize = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        // Top left, top right and bottom left corners of the eyes are dark; nothing is in the border.
        for (x, y) in [(4, 4), (size - 5, 4), (4, size - 5)] {
            assert!(svg.contains(&format!("M{x} {y}h1")), "{x} {y}");
        }
        assert!(!svg.contains("M3 ") && !svg.contains(&format!("M{} ", size - 4)));
        assert!(qr_code(&"x".repeat(5_000), "code").is_none());
    }
}

//! Entity tags: whether an answer is still what it was, and whether a change was decided on by what is there now.
//!
//! A tag is `W/"REVISION.BODY"`. The second part is a hash of the answer, so that `If-None-Match` notices every change.
//! The first is a hash of what a change would be decided on: of an alert that is its state and not what became of the
//! messages about it, which goes on changing by itself. `If-Match` compares that part only. Tags are compared as written,
//! weak or not: proxies that compress an answer weaken its tag.

use super::problem::Problem;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// Bytes of a hash that are shown.
const SHOWN: usize = 12;
/// Longest answer that gets a tag; lists of 200 items have less.
const TAGGED_MAX: u64 = 4 * 1024 * 1024;

/// The state of a record that changes are decided on. Put on a response, it becomes the first part of the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision(String);

impl Revision {
    /// The revision of what `record` says.
    pub(super) fn of(record: &impl Serialize) -> Self {
        Self(hash(&serde_json::to_vec(record).unwrap_or_default()))
    }

    /// The same of a record that says more than is shown: whoever does not know `key` cannot try out what it says.
    pub(super) fn keyed(key: &[u8; 32], record: &impl Serialize) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &serde_json::to_vec(record).unwrap_or_default());
        Self(shown(tag.as_ref()))
    }

    /// Marks a response as showing this revision.
    pub(super) fn on(self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn hash(bytes: &[u8]) -> String {
    shown(digest(&SHA256, bytes).as_ref())
}

fn shown(hash: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hash.get(..SHOWN).unwrap_or_default())
}

/// Whether `If-Match` with this value lets a change of this revision pass. `*` lets it pass whatever the revision is.
pub(super) fn names_revision(if_match: &str, revision: &Revision) -> bool {
    tags(if_match).any(|tag| tag == "*" || tag.split('.').next() == Some(revision.0.as_str()))
}

/// The tags of a header, without their marks.
fn tags(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
    })
}

/// Tags a JSON answer, and makes it 304 when the client has it already.
pub(super) async fn tag(method: &Method, asked: &HeaderMap, response: Response) -> Response {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_short = response.body().size_hint().upper().is_some_and(|most| most <= TAGGED_MAX);
    let revision = response.extensions().get::<Revision>().cloned();
    if !response.status().is_success() || !is_json || !is_short || !(is_read || revision.is_some()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let most = usize::try_from(TAGGED_MAX).unwrap_or(usize::MAX);
    let Ok(bytes) = axum::body::to_bytes(body, most).await else { return Problem::internal().into_response() };
    let body = hash(&bytes);
    let tag = format!("{}.{body}", revision.map_or_else(|| body.clone(), |revision| revision.0));
    if let Ok(value) = HeaderValue::from_str(&format!("W/\"{tag}\"")) {
        parts.headers.insert(header::ETAG, value);
    }
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if is_read && known.is_some_and(|known| tags(known).any(|known| known == "*" || known == tag)) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_compared_by_the_revision_alone() {
        let revision = Revision::of(&"open");
        let with = |rest: &str| format!("W/\"{}.{rest}\"", revision.0);
        assert!(names_revision(&with("body"), &revision));
        assert!(names_revision(&format!("\"other\", {}", with("x")), &revision));
        assert!(names_revision("*", &revision));
        assert!(!names_revision("W/\"body.body\"", &revision));
        assert!(!names_revision("", &revision));
        assert_ne!(revision, Revision::of(&"resolved"));
        let keyed = Revision::keyed(&[7; 32], &"open");
        assert_eq!(keyed, Revision::keyed(&[7; 32], &"open"));
        assert!(keyed != revision && keyed != Revision::keyed(&[8; 32], &"open"));
    }
}

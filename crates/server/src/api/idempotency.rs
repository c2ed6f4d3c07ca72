//! Requests that may be repeated: a `POST` with an `Idempotency-Key` is served once, and asked again it gets the same
//! answer.
//!
//! A client that lost the answer cannot know whether its patient was added or its call placed; with a key of its own
//! choice it may simply ask again. The key belongs to the caller and to one request: the same key with another request
//! is a mistake of the client (422), and while the first is still being served the second has to wait (409). What was
//! refused or failed is not kept: it is to be tried again.
//!
//! The store keeps answers, sealed, for a day. An answer is kept in the access that did the work, so that neither is
//! there without the other. It is given again only to a caller who could still see the patients it is about.

use super::openapi::KEY_PATTERN;
use super::problem::Problem;
use crate::limits;
use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clinic::PatientId;
use serde::{Deserialize, Serialize};
use store::{Repeat, Store, StoreError};

/// The header.
const KEY: &str = "idempotency-key";
/// Longest key.
const KEY_MAX: usize = 128;
/// On an answer that was given before.
const REPLAYED: &str = "idempotency-replayed";
/// Headers that are part of an answer.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// A SHA-256 hash.
type Hash = [u8; 32];

/// A request with a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    key: Hash,
    request: Hash,
}

/// How a request with a key is to be served.
pub(super) enum Turn {
    /// For the first time.
    First,
    /// As it was answered before.
    Again(Kept),
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    headers: Vec<(String, String)>,
    body: String,
    /// The patients it is about.
    pub(super) subjects: Vec<PatientId>,
    #[serde(skip)]
    status: u16,
}

/// The key of a request, if it has one that counts.
pub(super) fn keyed(caller: &str, parts: &Parts, body: &[u8]) -> Result<Option<Keyed>, Problem> {
    let Some(key) = parts.headers.get(KEY).filter(|_| parts.method == Method::POST) else { return Ok(None) };
    let key = key.as_bytes();
    if key.is_empty() || key.len() > KEY_MAX || !key.iter().all(u8::is_ascii_graphic) {
        return Err(Problem::bad_request(format!("idempotency-key: expected {KEY_PATTERN}")));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let if_match = parts.headers.get(header::IF_MATCH).map_or(&[][..], HeaderValue::as_bytes);
    let request = hash([target.as_bytes(), if_match, body]);
    Ok(Some(Keyed { key: hash([caller.as_bytes(), key]), request }))
}

impl Keyed {
    /// Begins to serve the request, outside of any access. After [`Turn::First`], [`Keyed::keep`] or [`Keyed::give_up`]
    /// has to follow.
    pub(super) async fn begin(self, store: &Store, now_us: i64) -> Result<Turn, Problem> {
        match store.begin_request(&self.key, &self.request, now_us).await? {
            Repeat::New => Ok(Turn::First),
            Repeat::Answered(status, kept) => match serde_json::from_slice::<Kept>(&kept) {
                Ok(kept) => Ok(Turn::Again(Kept { status, ..kept })),
                Err(_) => Err(Problem::internal()),
            },
            Repeat::Forgotten => Err(Problem::conflict(
                "the request was served; its answer was destroyed together with answers about an erased patient",
            )),
            Repeat::InProgress => Err(Problem::in_progress()),
            Repeat::Reused => Err(Problem::key_reused()),
            Repeat::Full => Err(Problem::busy("too many requests with an Idempotency-Key in a day")),
        }
    }

    /// Keeps an answer of success, with the store of the access that did the work.
    pub(super) async fn keep(
        self,
        store: &Store,
        response: Response,
        subjects: &[PatientId],
    ) -> Result<Response, Problem> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, limits::API_ANSWER_MAX).await.map_err(|_| Problem::internal())?;
        let kept = |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()));
        let kept = Kept {
            headers: KEPT_HEADERS.iter().filter_map(kept).collect(),
            body: STANDARD.encode(&body),
            subjects: subjects.to_vec(),
            status: parts.status.as_u16(),
        };
        let text = serde_json::to_vec(&kept).map_err(|_| Problem::internal())?;
        store.complete_request(&self.key, kept.status, &text).await?;
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// What was refused changed nothing, so it may as well be looked at again.
    pub(super) async fn give_up(self, store: &Store) -> Result<(), StoreError> {
        store.abandon_request(&self.key).await
    }
}

impl Kept {
    /// The answer, again.
    pub(super) fn again(self) -> Response {
        let status = StatusCode::from_u16(self.status).ok();
        let (Some(status), Ok(body)) = (status, STANDARD.decode(&self.body)) else {
            return Problem::internal().into_response();
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.insert(name, value);
            }
        }
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        let mut response = (status, Bytes::from(body)).into_response();
        *response.headers_mut() = headers;
        response
    }
}

/// The hash of several texts, each with its length, so that none can pass for a part of its neighbour.
fn hash<const N: usize>(parts: [&[u8]; N]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

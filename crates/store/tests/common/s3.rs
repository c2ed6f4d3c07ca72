//! A stand-in for an S3-compatible store: one bucket in memory, with versions, parts, pages and faults.
//!
//! It recomputes the signature of every request from what arrived on the wire, and refuses a request whose signature or
//! body hash is not right, as the real one does. Lists have two entries a page, so that whoever does not ask for the next
//! page is found out.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use aws_lc_rs::{digest, hmac};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const BUCKET: &str = "clinic-audio";
pub const ACCESS_KEY: &str = "AKIDSTANDIN";
pub const SECRET_KEY: &str = "a secret of the stand-in";
const PAGE: usize = 2;

/// One version of an object; `None` is the mark of a deletion.
#[derive(Clone)]
struct Version {
    id: String,
    content: Option<(Bytes, Option<String>)>,
}

/// The parts of an upload, by number.
type Parts = BTreeMap<u32, Bytes>;

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<Version>>,
    parts: BTreeMap<String, (String, Option<String>, Parts)>,
    counter: u32,
}

#[derive(Default)]
struct Inner {
    bucket: Mutex<Bucket>,
    seen: Mutex<Vec<String>>,
    fail_next: AtomicU32,
    lose_answers: AtomicU32,
    lose_completion: AtomicBool,
    deny_versions: AtomicBool,
    truncate: AtomicBool,
    part_pause_ms: AtomicU32,
}

#[derive(Clone)]
pub struct S3 {
    pub endpoint: String,
    inner: Arc<Inner>,
}

impl S3 {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let app = Router::new().fallback(answer).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, inner }
    }

    /// The next requests are answered with 503.
    pub fn fail_next(&self, count: u32) {
        self.inner.fail_next.store(count, Ordering::SeqCst);
    }

    /// The next requests are carried out and then answered with 500, as if the answer were lost.
    pub fn lose_answers(&self, count: u32) {
        self.inner.lose_answers.store(count, Ordering::SeqCst);
    }

    /// The next completion of parts is carried out and then answered with 500.
    pub fn lose_completion(&self) {
        self.inner.lose_completion.store(true, Ordering::SeqCst);
    }

    /// Whoever asks for versions is refused.
    pub fn deny_versions(&self) {
        self.inner.deny_versions.store(true, Ordering::SeqCst);
    }

    /// What is stored lacks its last byte.
    pub fn truncate(&self, on: bool) {
        self.inner.truncate.store(on, Ordering::SeqCst);
    }

    /// Parts take their time.
    pub fn slow_parts(&self, pause_ms: u32) {
        self.inner.part_pause_ms.store(pause_ms, Ordering::SeqCst);
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        let bucket = self.inner.bucket.lock().unwrap();
        bucket.objects.get(key)?.last()?.content.as_ref().map(|(body, _)| body.clone())
    }

    pub fn put(&self, key: &str, body: &[u8]) {
        self.inner.bucket.lock().unwrap().store(key, Bytes::copy_from_slice(body), None);
    }

    /// Versions and marks of deletion of an object.
    pub fn versions(&self, key: &str) -> usize {
        self.inner.bucket.lock().unwrap().objects.get(key).map_or(0, Vec::len)
    }

    /// Uploads in parts that were begun and neither completed nor given up.
    pub fn begun(&self) -> usize {
        self.inner.bucket.lock().unwrap().parts.len()
    }

    /// Methods and paths with queries so far.
    pub fn seen(&self) -> Vec<String> {
        self.inner.seen.lock().unwrap().clone()
    }
}

impl Bucket {
    fn store(&mut self, key: &str, body: Bytes, sha256: Option<String>) {
        self.counter += 1;
        let version = Version { id: format!("v/{}+=", self.counter), content: Some((body, sha256)) };
        self.objects.entry(key.to_owned()).or_default().push(version);
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    inner.seen.lock().unwrap().push(format!("{} {path}?{query}", parts.method));
    if let Err(code) = check_signature(&parts.method, &path, &query, &parts.headers, &body) {
        return error(StatusCode::FORBIDDEN, code);
    }
    if take(&inner.fail_next) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    if query.starts_with("partNumber=") {
        tokio::time::sleep(Duration::from_millis(inner.part_pause_ms.load(Ordering::SeqCst).into())).await;
    }
    let answer = carry_out(&inner, &parts.method, &path, &query, &parts.headers, body);
    let completes = parts.method == Method::POST && query.starts_with("uploadId=");
    let lost = completes && inner.lose_completion.swap(false, Ordering::SeqCst);
    if lost || take(&inner.lose_answers) { error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError") } else { answer }
}

fn take(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

fn carry_out(inner: &Inner, method: &Method, path: &str, query: &str, headers: &HeaderMap, body: Bytes) -> Response {
    let bucket_path = format!("/{BUCKET}");
    let Some(rest) = path.strip_prefix(&bucket_path) else { return error(StatusCode::NOT_FOUND, "NoSuchBucket") };
    let key = rest.trim_start_matches('/');
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect();
    let has = |name: &str| query.contains_key(name);
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    let sha256 = headers.get("x-amz-meta-sha256").map(|value| value.to_str().unwrap().to_owned());
    let mut bucket = inner.bucket.lock().unwrap();
    if key.is_empty() {
        return if has("versions") && inner.deny_versions.load(Ordering::SeqCst) {
            error(StatusCode::FORBIDDEN, "AccessDenied")
        } else {
            list(&bucket, &query)
        };
    }
    match (method.as_str(), has("uploadId"), has("versionId")) {
        ("PUT", false, _) => {
            let cut = usize::from(inner.truncate.load(Ordering::SeqCst));
            bucket.store(key, body.slice(..body.len() - cut), sha256);
            ([("etag", etag(&body))], "").into_response()
        }
        ("POST", false, _) if has("uploads") => {
            bucket.counter += 1;
            let id = format!("upload/{}==", bucket.counter);
            bucket.parts.insert(id.clone(), (key.to_owned(), sha256, BTreeMap::new()));
            format!("<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><UploadId>{id}</UploadId></R>")
                .into_response()
        }
        ("PUT", true, _) => match bucket.parts.get_mut(&text("uploadId")) {
            Some((_, _, parts)) => {
                let tag = etag(&body);
                parts.insert(text("partNumber").parse().unwrap(), body);
                ([("etag", tag)], "").into_response()
            }
            None => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
        },
        ("POST", true, _) => match bucket.parts.remove(&text("uploadId")) {
            Some((key, sha256, parts)) => {
                let given = String::from_utf8(body.to_vec()).unwrap();
                let right = parts.values().all(|part| given.contains(&etag(part).replace('"', "&quot;")))
                    && given.matches("<Part>").count() == parts.len();
                if !right {
                    return error(StatusCode::BAD_REQUEST, "InvalidPart");
                }
                bucket.store(&key, parts.values().flatten().copied().collect::<Vec<u8>>().into(), sha256);
                "<CompleteMultipartUploadResult/>".into_response()
            }
            None => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
        },
        ("DELETE", true, _) => {
            bucket.parts.remove(&text("uploadId"));
            StatusCode::NO_CONTENT.into_response()
        }
        ("DELETE", _, true) => {
            if let Some(versions) = bucket.objects.get_mut(key) {
                versions.retain(|version| version.id != text("versionId"));
            }
            StatusCode::NO_CONTENT.into_response()
        }
        ("DELETE", ..) => {
            bucket.counter += 1;
            let id = format!("d{}", bucket.counter);
            if let Some(versions) = bucket.objects.get_mut(key) {
                versions.push(Version { id, content: None });
            }
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET" | "HEAD", ..) => {
            let content = bucket.objects.get(key).and_then(|versions| versions.last()?.content.clone());
            let Some((content, sha256)) = content else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
            read(&content, sha256, headers)
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn read(content: &Bytes, sha256: Option<String>, headers: &HeaderMap) -> Response {
    let tag = etag(content);
    if headers.get("if-match").is_some_and(|wanted| wanted.to_str().unwrap() != tag) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let range = headers.get("range").map(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (start, end) = range.split_once('-').unwrap();
        (start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap().min(content.len() - 1))
    });
    let (status, body) = match range {
        Some((start, end)) => (StatusCode::PARTIAL_CONTENT, content.slice(start..=end)),
        None => (StatusCode::OK, content.clone()),
    };
    let mut response = (status, [("etag", tag)], body).into_response();
    if let Some(sha256) = sha256 {
        response.headers_mut().insert("x-amz-meta-sha256", sha256.parse().unwrap());
    }
    response
}

/// All three lists, a page at a time. Markers are numbers here: callers must hand them back as they are.
fn list(bucket: &Bucket, query: &BTreeMap<String, String>) -> Response {
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let prefix = text("prefix");
    let (entries, marker, names): (Vec<String>, &str, [&str; 2]) = if query.contains_key("versions") {
        let versions = bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let versions = versions.flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)));
        let entries = versions.map(|(key, version)| {
            let name = if version.content.is_some() { "Version" } else { "DeleteMarker" };
            format!("<{name}><Key>{key}</Key><VersionId>{}</VersionId></{name}>", version.id)
        });
        (entries.collect(), "version-id-marker", ["NextKeyMarker", "NextVersionIdMarker"])
    } else if query.contains_key("uploads") {
        let uploads = bucket.parts.iter().filter(|(_, (key, ..))| key.starts_with(prefix));
        let entries =
            uploads.map(|(id, (key, ..))| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"));
        (entries.collect(), "upload-id-marker", ["NextKeyMarker", "NextUploadIdMarker"])
    } else {
        let current = bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let entries = current.filter_map(|(key, versions)| {
            let (content, _) = versions.last()?.content.as_ref()?;
            Some(format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", content.len()))
        });
        (entries.collect(), "continuation-token", ["NextContinuationToken", "Unused"])
    };
    let start: usize = text(marker).trim_start_matches("at ").parse().unwrap_or(0);
    // Versions and uploads are deleted while they are listed, so a page begins with the first that is left.
    let start = if query.contains_key("list-type") { start } else { 0 };
    let page: Vec<_> = entries.iter().skip(start).take(PAGE).cloned().collect();
    let more = entries.len() > start + PAGE;
    let next = if more {
        let at = format!("at {}", start + PAGE);
        format!("<IsTruncated>true</IsTruncated><{0}>{at}</{0}><{1}>{at}</{1}>", names[0], names[1])
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    format!("<List xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{next}{}</List>", page.concat()).into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code><Message>something about Ada Example</Message></Error>"))
        .into_response()
}

fn etag(body: &[u8]) -> String {
    format!("\"{}\"", &hex(digest::digest(&digest::SHA256, body).as_ref())[..32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

/// Signature Version 4, from the request as it arrived.
fn check_signature(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), &'static str> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let authorization = value("authorization");
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("AccessDenied")?;
    let field = |name: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).ok_or("AuthorizationHeaderMalformed")
    };
    let credential = field("Credential")?;
    let (id, scope) = credential.split_once('/').ok_or("AuthorizationHeaderMalformed")?;
    if id != ACCESS_KEY {
        return Err("InvalidAccessKeyId");
    }
    let body_hash = hex(digest::digest(&digest::SHA256, body).as_ref());
    if value("x-amz-content-sha256") != body_hash {
        return Err("XAmzContentSHA256Mismatch");
    }
    let mut sorted: Vec<&str> = query.split('&').collect();
    sorted.sort_unstable();
    let names = field("SignedHeaders")?;
    let unsigned = headers.keys().map(|name| name.as_str()).find(|name| {
        (name.starts_with("x-amz-") || *name == "host") && !names.split(';').any(|signed| signed == *name)
    });
    if unsigned.is_some() {
        return Err("AccessDenied");
    }
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
    let canonical = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{body_hash}", sorted.join("&"));
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", value("x-amz-date"));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in scope.split('/') {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let right = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref());
    if field("Signature")? == right { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

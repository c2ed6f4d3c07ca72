//! The S3 interface, as far as recordings need it: put, parts, ranges, lists, versions, deletion.
//!
//! Every request is signed, bounded in time and size, and repeated a few times when the network or the store has a bad
//! moment; all of them may be repeated without harm. Error texts name the step and the store's error code, never a key
//! of the account and never the name of an object.

use super::answers::{self, Begun, Listed, Page, Version};
use super::sign::{Signed, Signer, canonical_query, sha256_hex};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Where the recordings are kept, and as whom we come.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region, as `AWS_REGION` names it.
    pub region: String,
    /// Another address than Amazon's, as `AWS_ENDPOINT_URL` names it. The bucket is then the first part of the path.
    pub endpoint: Option<String>,
    /// Public half of the credentials.
    pub access_key_id: String,
    /// Secret half of the credentials.
    pub secret_access_key: SecretString,
    /// The third part of temporary credentials.
    pub session_token: Option<SecretString>,
    /// Pause before the first repetition of a failed request; it doubles each time.
    pub retry_pause: Duration,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// There was no answer.
    #[error("{doing}: the audio store does not answer; check AWS_ENDPOINT_URL, AWS_REGION and the network")]
    Unreachable {
        /// The step.
        doing: &'static str,
        /// What the network said; without the path that was asked for.
        #[source]
        source: reqwest::Error,
    },
    /// The answer was no.
    #[error(
        "{doing}: the audio store refused with status {status} {code}; check the credentials, the bucket and what \
         they permit"
    )]
    Refused {
        /// The step.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// The store's own code, such as `AccessDenied`.
        code: String,
    },
    /// The answer was not one of this interface, or too long.
    #[error("{doing}: the audio store gave an answer that is none; check that AWS_ENDPOINT_URL is an S3 interface")]
    Unreadable {
        /// The step.
        doing: &'static str,
    },
    /// What the store holds is not what was sent.
    #[error("{doing}: the audio store does not hold what was sent; the local file was kept")]
    Differs {
        /// The step.
        doing: &'static str,
    },
}

impl S3Error {
    /// True when there is no such object.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// True when we may not do this, or the store cannot.
    pub(super) fn is_not_permitted(&self) -> bool {
        matches!(self, Self::Refused { status: 403 | 405 | 501, .. })
    }
}

/// How often a request is made, at most.
const ATTEMPTS: u32 = 5;
/// Pause between two attempts, at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A part of 8 MiB passes a line of 600 kbit/s in this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// An answer in XML, at most: a thousand objects take a third of it.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// What the metadata of an object calls the hash of its content.
const SHA256_HEADER: &str = "x-amz-meta-sha256";

/// A connection to one bucket.
#[derive(Debug)]
pub(super) struct S3 {
    http: Client,
    config: S3Config,
    /// Scheme and host, without a slash at the end.
    base: String,
    host: String,
    /// `/bucket` when the bucket is part of the path.
    bucket_path: String,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) bytes: u64,
    pub(super) etag: String,
    pub(super) sha256: Option<String>,
}

/// One request. Its headers, name and query hold nothing that would have to be kept out of a signature.
struct Ask<'a> {
    method: Method,
    /// `None` stands for the bucket itself.
    key: Option<&'a str>,
    query: &'a [(&'a str, &'a str)],
    headers: &'a [(&'static str, &'a str)],
    body: &'a [u8],
    answer_max_bytes: usize,
    doing: &'static str,
}

struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl S3 {
    /// Sets the connection up; nothing is sent. `Err` names the setting that cannot be used and what was expected.
    pub(super) fn new(config: S3Config) -> Result<Self, (&'static str, &'static str)> {
        let in_path = config.endpoint.is_some() || config.bucket.contains('.');
        let address = match &config.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None if in_path => format!("https://s3.{}.amazonaws.com", config.region),
            None => format!("https://{}.s3.{}.amazonaws.com", config.bucket, config.region),
        };
        let expected = ("AWS_ENDPOINT_URL", "https://HOST[:PORT] without a path; http only on this machine itself");
        let url = Url::parse(&address).map_err(|_| expected)?;
        let name = url.host_str().ok_or(expected)?;
        let encrypted = url.scheme() == "https" || (url.scheme() == "http" && crate::kms::is_loopback(&url));
        if !encrypted || url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err(expected);
        }
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| ("HTTP client", "the certificates of this machine to be readable"))?;
        let bucket_path = if in_path { format!("/{}", config.bucket) } else { String::new() };
        Ok(Self { http, base: format!("{}://{host}", url.scheme()), host, bucket_path, config })
    }

    /// The full name of an object.
    pub(super) fn key(&self, name: &str) -> String {
        if self.config.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.config.prefix) }
    }

    /// What [`S3::key`] put before a name.
    pub(super) fn key_prefix(&self) -> String {
        self.key("")
    }

    /// Stores an object in one request.
    pub(super) async fn put(&self, key: &str, sha256: &str, body: &[u8]) -> Result<(), S3Error> {
        let headers = [(SHA256_HEADER, sha256)];
        let ask = Ask { method: Method::PUT, headers: &headers, body, ..Self::ask(Some(key), "storing a recording") };
        self.send(&ask).await.map(drop)
    }

    /// Begins an object in parts and answers with the identifier of the upload.
    pub(super) async fn begin_parts(&self, key: &str, sha256: &str) -> Result<String, S3Error> {
        let doing = "beginning to store a recording in parts";
        let headers = [(SHA256_HEADER, sha256)];
        let ask =
            Ask { method: Method::POST, query: &[("uploads", "")], headers: &headers, ..Self::ask(Some(key), doing) };
        answers::upload_id(&self.send(&ask).await?.body).ok_or(S3Error::Unreadable { doing })
    }

    /// Stores a part and answers with its entity tag. Parts are counted from one.
    pub(super) async fn put_part(&self, key: &str, upload: &str, part: u32, body: &[u8]) -> Result<String, S3Error> {
        let doing = "storing a part of a recording";
        let number = part.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let ask = Ask { method: Method::PUT, query: &query, body, ..Self::ask(Some(key), doing) };
        header(&self.send(&ask).await?.headers, "etag").ok_or(S3Error::Unreadable { doing })
    }

    /// Makes an object of its parts.
    pub(super) async fn complete_parts(&self, key: &str, upload: &str, etags: &[String]) -> Result<(), S3Error> {
        let doing = "completing a recording in parts";
        let mut body = String::from("<CompleteMultipartUpload>");
        for (number, etag) in (1..).zip(etags) {
            let etag = etag.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = [("uploadId", upload)];
        let ask = Ask { method: Method::POST, query: &query, body: body.as_bytes(), ..Self::ask(Some(key), doing) };
        let answer = self.send(&ask).await?;
        // The store may find out that it cannot after it has said 200.
        match answers::error_code(&answer.body) {
            Some(code) => Err(S3Error::Refused { doing, status: 200, code }),
            None => Ok(()),
        }
    }

    /// Gives up an object in parts, so that its parts are not kept (and paid for).
    pub(super) async fn abort_parts(&self, key: &str, upload: &str) -> Result<(), S3Error> {
        let query = [("uploadId", upload)];
        let doing = "giving up a recording in parts";
        self.send(&Ask { method: Method::DELETE, query: &query, ..Self::ask(Some(key), doing) }).await.map(drop)
    }

    /// A page of uploads in parts that were begun.
    pub(super) async fn begun_parts(&self, prefix: &str, from: &(String, String)) -> Result<Page<Begun>, S3Error> {
        let doing = "listing recordings in parts";
        let mut query = vec![("uploads", ""), ("prefix", prefix)];
        if !from.0.is_empty() {
            query.extend([("key-marker", from.0.as_str()), ("upload-id-marker", from.1.as_str())]);
        }
        let answer = self.send(&Ask { query: &query, ..Self::ask(None, doing) }).await?;
        answers::begun(&answer.body).ok_or(S3Error::Unreadable { doing })
    }

    /// Looks at an object without reading it.
    pub(super) async fn head(&self, key: &str) -> Result<Head, S3Error> {
        let doing = "looking at a recording";
        let answer = self.send(&Ask { method: Method::HEAD, ..Self::ask(Some(key), doing) }).await?;
        let bytes = header(&answer.headers, "content-length").and_then(|length| length.parse().ok());
        let (Some(bytes), Some(etag)) = (bytes, header(&answer.headers, "etag")) else {
            return Err(S3Error::Unreadable { doing });
        };
        Ok(Head { bytes, etag, sha256: header(&answer.headers, SHA256_HEADER) })
    }

    /// Reads `length` bytes of an object that must still be the one with this entity tag.
    pub(super) async fn get_range(&self, key: &str, etag: &str, start: u64, length: usize) -> Result<Vec<u8>, S3Error> {
        let doing = "reading a recording";
        let range = format!("bytes={start}-{}", start + (length as u64).saturating_sub(1));
        let headers = [("range", range.as_str()), ("if-match", etag)];
        let ask = Ask { headers: &headers, answer_max_bytes: length, ..Self::ask(Some(key), doing) };
        let body = self.send(&ask).await?.body;
        if body.len() == length { Ok(body) } else { Err(S3Error::Unreadable { doing }) }
    }

    /// Deletes one version of an object, or its current state.
    pub(super) async fn delete(&self, key: &str, version: Option<&str>) -> Result<(), S3Error> {
        let query: Vec<_> = version.map(|version| ("versionId", version)).into_iter().collect();
        let ask = Ask { method: Method::DELETE, query: &query, ..Self::ask(Some(key), "deleting a recording") };
        match self.send(&ask).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// A page of versions of the objects whose names begin with `prefix`.
    pub(super) async fn versions(&self, prefix: &str, from: &(String, String)) -> Result<Page<Version>, S3Error> {
        let doing = "listing versions of a recording";
        let mut query = vec![("versions", ""), ("prefix", prefix)];
        if !from.0.is_empty() {
            query.push(("key-marker", &from.0));
        }
        if !from.1.is_empty() {
            query.push(("version-id-marker", &from.1));
        }
        let answer = self.send(&Ask { query: &query, ..Self::ask(None, doing) }).await?;
        answers::versions(&answer.body).ok_or(S3Error::Unreadable { doing })
    }

    /// A page of the objects whose names begin with `prefix`.
    pub(super) async fn objects(&self, prefix: &str, from: &str, most: Option<&str>) -> Result<Page<Listed>, S3Error> {
        let doing = "listing recordings";
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        if !from.is_empty() {
            query.push(("continuation-token", from));
        }
        query.extend(most.map(|most| ("max-keys", most)));
        let answer = self.send(&Ask { query: &query, ..Self::ask(None, doing) }).await?;
        answers::objects(&answer.body).ok_or(S3Error::Unreadable { doing })
    }

    /// A request to read, to be changed into others.
    fn ask<'a>(key: Option<&'a str>, doing: &'static str) -> Ask<'a> {
        let answer_max_bytes = ANSWER_MAX_BYTES;
        Ask { method: Method::GET, key, query: &[], headers: &[], body: &[], answer_max_bytes, doing }
    }

    /// Sends a request until it is answered for good, a few times at most.
    async fn send(&self, ask: &Ask<'_>) -> Result<Answer, S3Error> {
        let mut pause = self.config.retry_pause;
        let mut attempt = 1;
        loop {
            match self.send_once(ask).await {
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn send_once(&self, ask: &Ask<'_>) -> Result<Answer, S3Error> {
        let doing = ask.doing;
        let path = match ask.key {
            Some(key) => format!("{}/{key}", self.bucket_path),
            None if self.bucket_path.is_empty() => "/".to_owned(),
            None => self.bucket_path.clone(),
        };
        let query = canonical_query(ask.query);
        let separator = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{separator}{query}", self.base);
        let unreachable = |source: reqwest::Error| S3Error::Unreachable { doing, source: source.without_url() };
        let request = self.http.request(ask.method.clone(), url).headers(self.headers(ask, &path, &query)?);
        let mut response = request.body(ask.body.to_vec()).send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let most = if status.is_success() { ask.answer_max_bytes } else { ANSWER_MAX_BYTES };
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > most {
                return Err(S3Error::Unreadable { doing });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        let code = answers::error_code(&body).unwrap_or_default();
        Err(S3Error::Refused { doing, status: status.as_u16(), code })
    }

    /// All headers of a request, its signature among them.
    fn headers(&self, ask: &Ask<'_>, path: &str, query: &str) -> Result<HeaderMap, S3Error> {
        let doing = ask.doing;
        let timestamp = timestamp().ok_or(S3Error::Unreadable { doing })?;
        let body_sha256 = sha256_hex(ask.body);
        let mut signed = BTreeMap::from([
            ("host", self.host.clone()),
            ("x-amz-content-sha256", body_sha256.clone()),
            ("x-amz-date", timestamp.clone()),
        ]);
        if let Some(token) = &self.config.session_token {
            signed.insert("x-amz-security-token", token.expose_secret().to_owned());
        }
        signed.extend(ask.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let signer = Signer {
            access_key_id: &self.config.access_key_id,
            secret_access_key: self.config.secret_access_key.expose_secret(),
            region: &self.config.region,
        };
        let authorization = signer.authorization(&Signed {
            method: ask.method.as_str(),
            path,
            query,
            headers: &signed,
            body_sha256: &body_sha256,
            timestamp: &timestamp,
        });
        signed.insert("authorization", authorization);
        let mut headers = HeaderMap::new();
        for (name, value) in &signed {
            let mut value = HeaderValue::from_str(value).map_err(|_| S3Error::Unreadable { doing })?;
            value.set_sensitive(matches!(*name, "authorization" | "x-amz-security-token"));
            headers.insert(*name, value);
        }
        Ok(headers)
    }
}

/// Whether the same request may succeed in a moment.
fn may_pass(error: &S3Error) -> bool {
    match error {
        S3Error::Unreachable { .. } => true,
        S3Error::Refused { status, code, .. } => {
            matches!(status, 408 | 429 | 500..=599) && *status != 501
                || matches!(code.as_str(), "RequestTimeout" | "SlowDown" | "InternalError")
        }
        _ => false,
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The present moment as `20130524T000000Z`.
fn timestamp() -> Option<String> {
    let now = jiff::Timestamp::try_from(SystemTime::now()).ok()?;
    Some(now.strftime("%Y%m%dT%H%M%SZ").to_string())
}

//! Whether a request really comes from Twilio (Twilio, Validating requests).
//!
//! The signed text is the exact URL Twilio was told, followed by all form fields. Because Twilio drops or adds ports
//! depending on the product, a few spellings of the same URL are tried. A request that fails is answered with 403 and
//! an empty body.

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::MessageError;

/// Largest number of fields accepted in a form. Twilio's longest has about 40.
pub const MAX_FORM_FIELDS: usize = 256;

/// Largest form accepted, in bytes.
pub const MAX_FORM_BYTES: usize = 64 * 1024;

/// Why a request is not accepted as Twilio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Our own secret is empty: with it anybody could sign.
    #[error("no auth token is configured")]
    NoAuthToken,
    /// No signature header.
    #[error("request has no signature")]
    Missing,
    /// The signature is not padded standard base64.
    #[error("signature is not valid base64")]
    Malformed,
    /// The settings header names an algorithm other than HMAC_SHA1 and HMAC_SHA256, or none.
    #[error("signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// The signature belongs to another URL, other fields or another secret.
    #[error("signature does not match")]
    Mismatch,
    /// The URL of a JSON request lacks `bodySHA256`.
    #[error("request url lacks the hash of its body")]
    NoBodyHash,
    /// The body is not the one whose hash is in the URL.
    #[error("body does not match its hash")]
    BodyMismatch,
}

impl SignatureError {
    /// A stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAuthToken => "no_auth_token",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::Mismatch => "mismatch",
            Self::NoBodyHash => "no_body_hash",
            Self::BodyMismatch => "body_mismatch",
        }
    }
}

/// Verifies a form request (Twilio, Validating requests, algorithm).
///
/// * `url`: configured public base plus the raw request target, never rebuilt from request headers.
/// * `params`: all decoded fields in any order; empty for GET.
/// * `header`: the value of `X-Twilio-Signature`.
/// * `settings_header`: the value of `X-Twilio-Webhooks-Signature-Settings`, normally absent.
///
/// # Errors
/// [`SignatureError`] when the request must be refused.
pub fn verify_form(
    auth_token: &str,
    url: &str,
    params: &[(String, String)],
    header: Option<&str>,
    settings_header: Option<&str>,
) -> Result<(), SignatureError> {
    verify_any(auth_token, &candidates(url, Slash::Exact), &signed_fields(params), header, settings_header)
}

/// Verifies a JSON request: the signature covers the URL, and the URL carries the hash of the body
/// (Twilio, Validating requests, JSON bodies).
///
/// # Errors
/// [`SignatureError`] when the request must be refused.
pub fn verify_json(
    auth_token: &str,
    url: &str,
    body: &[u8],
    header: Option<&str>,
    settings_header: Option<&str>,
) -> Result<(), SignatureError> {
    let hash = query_value(url, "bodySHA256").ok_or(SignatureError::NoBodyHash)?;
    verify_any(auth_token, &candidates(url, Slash::Exact), "", header, settings_header)?;
    if hash == lower_hex(digest::digest(&SHA256, body).as_ref()) { Ok(()) } else { Err(SignatureError::BodyMismatch) }
}

/// Verifies the upgrade request of a media stream. `wss_url` is the address of the stream as given in the call
/// instructions, scheme included; a final slash may have been added or removed (Twilio, WebSocket handshake).
///
/// # Errors
/// [`SignatureError`] when the request must be refused before the upgrade.
pub fn verify_handshake(
    auth_token: &str,
    wss_url: &str,
    header: Option<&str>,
    settings_header: Option<&str>,
) -> Result<(), SignatureError> {
    verify_any(auth_token, &candidates(wss_url, Slash::Either), "", header, settings_header)
}

/// The signature of a request to exactly this URL with these fields, as Twilio would send it in `X-Twilio-Signature`.
///
/// Twilio does not always sign the configured URL as it is: see [`url_twilio_signs`].
#[must_use]
pub fn sign(auth_token: &str, url: &str, params: &[(String, String)]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.as_bytes());
    let text = format!("{url}{}", signed_fields(params));
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// The Twilio product that sends a request. It decides how ports are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Calls and media streams.
    Voice,
    /// Text messages.
    Messaging,
}

/// The URL Twilio signs when this one is configured: without user information and fragment, and, for voice over
/// `https`, without the port (Twilio, Validating requests, ports and user info).
#[must_use]
pub fn url_twilio_signs(configured: &str, product: Product) -> String {
    let Some(url) = UrlParts::split(configured) else { return configured.to_owned() };
    let port = if product == Product::Voice && url.scheme == "https" { None } else { url.port };
    url.with(port, url.target)
}

/// Decodes an `application/x-www-form-urlencoded` body. Order and repetitions are kept, nothing is trimmed: the
/// signature covers every character.
///
/// # Errors
/// [`MessageError::TooLarge`] beyond [`MAX_FORM_BYTES`] or [`MAX_FORM_FIELDS`], [`MessageError::Invalid`] for a broken
/// percent code or text that is not UTF-8.
pub fn decode_form(body: &[u8]) -> Result<Vec<(String, String)>, MessageError> {
    if body.len() > MAX_FORM_BYTES {
        return Err(MessageError::TooLarge);
    }
    let mut fields = Vec::new();
    for piece in body.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()) {
        if fields.len() == MAX_FORM_FIELDS {
            return Err(MessageError::TooLarge);
        }
        let mut halves = piece.splitn(2, |&byte| byte == b'=');
        let name = decode_text(halves.next().unwrap_or_default())?;
        let value = decode_text(halves.next().unwrap_or_default())?;
        fields.push((name, value));
    }
    Ok(fields)
}

fn decode_text(raw: &[u8]) -> Result<String, MessageError> {
    const BROKEN: MessageError = MessageError::Invalid { field: "form" };
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes.next().copied().and_then(hex_digit).ok_or(BROKEN)?;
                let low = bytes.next().copied().and_then(hex_digit).ok_or(BROKEN)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| BROKEN)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The fields as they are signed: sorted by name, then value; identical pairs once; no separators.
fn signed_fields(params: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = params.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::new();
    for (name, value) in sorted {
        text.push_str(name);
        text.push_str(value);
    }
    text
}

fn verify_any(
    auth_token: &str,
    urls: &[String],
    fields: &str,
    header: Option<&str>,
    settings_header: Option<&str>,
) -> Result<(), SignatureError> {
    if auth_token.is_empty() {
        return Err(SignatureError::NoAuthToken);
    }
    let algorithm = settings_header.map_or(Ok(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY), named_algorithm)?;
    let header = header.filter(|text| !text.is_empty()).ok_or(SignatureError::Missing)?;
    let given = STANDARD.decode(header).map_err(|_| SignatureError::Malformed)?;
    let key = hmac::Key::new(algorithm, auth_token.as_bytes());
    // `verify` compares in constant time; which spelling of a public URL matched is no secret.
    let matches = urls.iter().any(|url| hmac::verify(&key, format!("{url}{fields}").as_bytes(), &given).is_ok());
    if matches { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Reads `key=…,algorithm=…` (Twilio, SharedKey signatures). The key id is not needed: there is one secret.
fn named_algorithm(settings: &str) -> Result<hmac::Algorithm, SignatureError> {
    let mut names = settings.split(',').filter_map(|part| part.trim().strip_prefix("algorithm="));
    match (names.next(), names.next()) {
        (Some("HMAC_SHA1"), None) => Ok(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (Some("HMAC_SHA256"), None) => Ok(hmac::HMAC_SHA256),
        _ => Err(SignatureError::UnsupportedAlgorithm),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Slash {
    /// The path is as we know it.
    Exact,
    /// The path may have gained or lost a final slash.
    Either,
}

/// The spellings of a URL that may have been signed, without repetitions: as given, then with the port dropped or the
/// scheme's own port added, each (for sockets) with and without a final slash.
fn candidates(url: &str, slash: Slash) -> Vec<String> {
    let Some(parts) = UrlParts::split(url) else { return vec![url.to_owned()] };
    let own_port = match parts.scheme {
        "https" | "wss" => Some("443"),
        "http" | "ws" => Some("80"),
        _ => None,
    };
    let ports = match parts.port {
        Some(port) => [Some(port), None],
        None => [None, own_port],
    };
    let toggled = toggle_final_slash(parts.target);
    let mut urls = Vec::with_capacity(4);
    for port in ports {
        urls.push(parts.with(port, parts.target));
        if slash == Slash::Either {
            urls.push(parts.with(port, &toggled));
        }
    }
    urls.dedup();
    urls
}

/// Adds or removes the slash at the end of the path, before any query.
fn toggle_final_slash(target: &str) -> String {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    match path.strip_suffix('/') {
        Some(shorter) => format!("{shorter}{query}"),
        None => format!("{path}/{query}"),
    }
}

/// A URL cut where Twilio changes it.
struct UrlParts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    /// Path and query, without fragment.
    target: &'a str,
}

impl<'a> UrlParts<'a> {
    fn split(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, target) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // The colons of an IPv6 literal are inside brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        Some(Self { scheme, host, port, target })
    }

    fn with(&self, port: Option<&str>, target: &str) -> String {
        match port {
            Some(port) => format!("{}://{}:{port}{target}", self.scheme, self.host),
            None => format!("{}://{}{target}", self.scheme, self.host),
        }
    }
}

/// The raw value of a query parameter; the first when repeated.
fn query_value<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

//! The service's word after a call: the signed post-call webhook.
//!
//! Under zero retention the service keeps nothing and sends this once, so it must neither be lost nor be believed too
//! easily. [`Verifier`] checks the signature over the raw bytes while they arrive, [`Condenser`] keeps a body small
//! whose recording nobody wants, [`parse`] reads what is left. Reading is tolerant (fields come and go without notice),
//! verifying is not.

use aws_lc_rs::{constant_time, hmac};
use serde_json::{Map, Value};

/// Name of the signature's header.
pub const SIGNATURE_HEADER: &str = "elevenlabs-signature";
/// Older than this a request is a replay.
pub const MAX_AGE_S: u64 = 30 * 60;
/// Further ahead than this a request was not signed now, whatever the two clocks say.
pub const MAX_AHEAD_S: u64 = 5 * 60;
/// Longest body with a recording in it.
pub const MAX_AUDIO_BODY_BYTES: usize = 25 * 1024 * 1024;
/// Longest body of any other kind, and the most that is kept of one.
pub const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// Longest header that is looked at.
const MAX_HEADER_BYTES: usize = 2 * 1024;
/// Signatures of one header; more than one stand there only while a secret is being exchanged.
const MAX_SIGNATURES: usize = 8;
/// Lower-case hexadecimal digits of an HMAC-SHA256.
const SIGNATURE_DIGITS: usize = 64;
/// Turns of a conversation that are taken over.
const MAX_TURNS: usize = 2_000;
/// Collected values that are taken over.
const MAX_COLLECTED: usize = 256;
/// Longest name of a conversation, an agent or a collected value.
const MAX_NAME_BYTES: usize = 128;

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// Our own secret is empty: with it anybody could sign.
    #[error("no webhook secret is configured: set ELEVENLABS_WEBHOOK_SECRET")]
    NoSecret,
    /// No signature header.
    #[error("request has no signature")]
    Missing,
    /// The header is not of the form `t=SECONDS,v0=HEX`.
    #[error("signature header is malformed: expected t=SECONDS,v0=HEX")]
    Malformed,
    /// Signed too long ago.
    #[error("signature is older than 30 minutes")]
    TooOld,
    /// Signed in the future.
    #[error("signature is more than 5 minutes ahead of our clock")]
    TooFarAhead,
    /// Signed over another body, at another time or with another secret.
    #[error("signature does not match")]
    Mismatch,
}

impl WebhookError {
    /// A stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::Missing => "unsigned",
            Self::Malformed => "malformed_signature",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::Mismatch => "signature",
        }
    }
}

/// Verifies a whole body: `header` is the value of [`SIGNATURE_HEADER`], `body` the raw bytes as they came.
///
/// # Errors
/// [`WebhookError`] when the request must be refused.
pub fn verify(secret: &str, header: Option<&str>, body: &[u8], now_unix_s: u64) -> Result<(), WebhookError> {
    let mut verifier = Verifier::begin(secret, header, now_unix_s)?;
    verifier.update(body);
    verifier.finish()
}

/// The header the service would send with this body; for simulators and tests.
#[must_use]
pub fn sign(secret: &str, body: &[u8], at_unix_s: u64) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{at_unix_s}.").as_bytes());
    context.update(body);
    format!("t={at_unix_s},v0={}", lower_hex(context.sign().as_ref()))
}

/// Verifies a body piece by piece, so that a recording of many megabytes never has to be held.
pub struct Verifier {
    context: hmac::Context,
    signatures: Vec<String>,
}

impl Verifier {
    /// Checks all of the header that can be checked before the body.
    ///
    /// # Errors
    /// Every [`WebhookError`] but [`WebhookError::Mismatch`].
    pub fn begin(secret: &str, header: Option<&str>, now_unix_s: u64) -> Result<Self, WebhookError> {
        if secret.is_empty() {
            return Err(WebhookError::NoSecret);
        }
        let header = header.filter(|text| !text.is_empty()).ok_or(WebhookError::Missing)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(WebhookError::Malformed);
        }
        // Blanks are not trimmed: the service sends none, and its own verifiers do not either.
        let (mut times, mut signatures) = (Vec::new(), Vec::new());
        for part in header.split(',') {
            if let Some(time) = part.strip_prefix("t=") {
                times.push(time);
            } else if let Some(signature) = part.strip_prefix("v0=") {
                signatures.push(signature.to_owned());
            }
        }
        let [time] = times.as_slice() else { return Err(WebhookError::Malformed) };
        if time.is_empty() || !time.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(WebhookError::Malformed);
        }
        let signed_at: u64 = time.parse().map_err(|_| WebhookError::Malformed)?;
        if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
            return Err(WebhookError::Malformed);
        }
        if now_unix_s.saturating_sub(signed_at) > MAX_AGE_S {
            return Err(WebhookError::TooOld);
        }
        if signed_at.saturating_sub(now_unix_s) > MAX_AHEAD_S {
            return Err(WebhookError::TooFarAhead);
        }
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        context.update(time.as_bytes());
        context.update(b".");
        Ok(Self { context, signatures })
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
    }

    /// Says whether one of the signatures belongs to the body.
    ///
    /// # Errors
    /// [`WebhookError::Mismatch`].
    pub fn finish(self) -> Result<(), WebhookError> {
        let expected = lower_hex(self.context.sign().as_ref());
        debug_assert_eq!(expected.len(), SIGNATURE_DIGITS);
        // Every one is compared, and each in constant time.
        let matches = self
            .signatures
            .iter()
            .filter(|given| constant_time::verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok())
            .count();
        if matches > 0 { Ok(()) } else { Err(WebhookError::Mismatch) }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Copies JSON and leaves out the rest of any string that is too long to be words, such as a recording in base64.
///
/// What comes out is as good as what went in: a string is cut between two characters, and nothing outside of strings is
/// touched.
#[derive(Debug, Default)]
pub struct Condenser {
    kept: Vec<u8>,
    total: usize,
    in_string: bool,
    /// The next byte belongs to an escape sequence.
    escaped: bool,
    /// Bytes of the present string so far.
    string_bytes: usize,
    /// Its rest is left out.
    cutting: bool,
    overflow: bool,
}

/// Longest string that is kept whole; ten minutes of speech are about 10 kB.
const MAX_STRING_BYTES: usize = 64 * 1024;

impl Condenser {
    /// Takes the next piece; false once there was too much of it, in all or of what has to be kept.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        self.total = self.total.saturating_add(piece.len());
        if self.total > MAX_AUDIO_BODY_BYTES {
            self.overflow = true;
        }
        for &byte in piece {
            if self.overflow {
                return false;
            }
            self.push_byte(byte);
        }
        true
    }

    fn push_byte(&mut self, byte: u8) {
        if !self.in_string {
            self.in_string = byte == b'"';
            (self.string_bytes, self.cutting, self.escaped) = (0, false, false);
            return self.keep(byte);
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'"' {
            self.in_string = false;
            return self.keep(byte);
        } else {
            // A cut is made before a plain character only: never inside of an escape or of a longer UTF-8 sequence.
            if self.string_bytes >= MAX_STRING_BYTES && byte.is_ascii() && byte != b'\\' && !self.after_escape() {
                self.cutting = true;
            }
            self.escaped = byte == b'\\';
        }
        self.string_bytes += 1;
        if !self.cutting {
            self.keep(byte);
        }
    }

    /// True while the digits of a `\uXXXX` (or of its second half) may still be coming.
    fn after_escape(&self) -> bool {
        let tail = self.kept.get(self.kept.len().saturating_sub(12)..).unwrap_or_default();
        tail.contains(&b'\\')
    }

    fn keep(&mut self, byte: u8) {
        if self.kept.len() >= MAX_BODY_BYTES {
            self.overflow = true;
        } else {
            self.kept.push(byte);
        }
    }

    /// Bytes that went in.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// What was kept.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.kept
    }
}

/// What a verified request says. PHI.
#[derive(Debug, Clone, PartialEq)]
pub struct PostCallEvent {
    /// The conversation it is about.
    pub conversation_id: String,
    /// The agent that held it.
    pub agent_id: Option<String>,
    /// When the service sent it, in seconds since the Unix epoch.
    pub sent_unix_s: Option<i64>,
    /// What it says.
    pub content: PostCallContent,
}

/// The kinds of post-call messages.
#[derive(Debug, Clone, PartialEq)]
pub enum PostCallContent {
    /// Transcript and analysis.
    Transcription(Box<PostCall>),
    /// The recording; we have our own, so it is not kept.
    Audio,
    /// The service could not place a call of its own. Ours are placed by us.
    InitiationFailure {
        /// `busy`, `no-answer` or `unknown`.
        reason: String,
    },
    /// A kind we do not know.
    Other {
        /// Its name.
        kind: String,
    },
}

/// Transcript and analysis of a conversation. PHI.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostCall {
    /// `done` or `failed`.
    pub status: Option<String>,
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// Values the service's analysis found in the conversation: identifier and value, as the agent's settings name them.
    pub data_collection: Vec<(String, Value)>,
    /// How the criteria of the agent's settings came out: identifier and `success`, `failure` or `unknown`.
    pub evaluation: Vec<(String, String)>,
    /// Why the conversation ended, in the service's words.
    pub termination_reason: Option<String>,
    /// How long it was, in seconds.
    pub duration_s: Option<f64>,
    /// The close code, when the conversation failed.
    pub error_code: Option<i64>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// `agent` or `user`.
    pub role: String,
    /// The words; `None` where only tools were used.
    pub message: Option<String>,
    /// Seconds since the conversation began.
    pub at_s: Option<f64>,
    /// Whether it was cut short.
    pub interrupted: bool,
}

/// Why a verified body cannot be used. Never repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostCallError {
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// No kind.
    #[error("the body has no type")]
    NoType,
    /// No conversation that could be looked up.
    #[error("the body names no conversation")]
    NoConversation,
}

impl PostCallEvent {
    /// The service's name of the kind; of an unknown one the first characters.
    #[must_use]
    pub fn kind(&self) -> &str {
        match &self.content {
            PostCallContent::Transcription(_) => "post_call_transcription",
            PostCallContent::Audio => "post_call_audio",
            PostCallContent::InitiationFailure { .. } => "call_initiation_failure",
            PostCallContent::Other { kind } => kind,
        }
    }
}

/// Reads a verified body.
///
/// # Errors
/// [`PostCallError`] when it is not a message about a conversation; any other oddity counts as absent.
pub fn parse(body: &[u8]) -> Result<PostCallEvent, PostCallError> {
    let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(body) else { return Err(PostCallError::NotJson) };
    let kind = name(message.get("type")).ok_or(PostCallError::NoType)?;
    let empty = Map::new();
    let data = object(message.get("data")).unwrap_or(&empty);
    let conversation_id = name(data.get("conversation_id")).ok_or(PostCallError::NoConversation)?;
    let content = match kind.as_str() {
        "post_call_transcription" => PostCallContent::Transcription(Box::new(transcription(data))),
        "post_call_audio" => PostCallContent::Audio,
        "call_initiation_failure" => PostCallContent::InitiationFailure {
            reason: name(data.get("failure_reason")).unwrap_or_else(|| "unknown".to_owned()),
        },
        _ => PostCallContent::Other { kind },
    };
    Ok(PostCallEvent {
        conversation_id,
        agent_id: name(data.get("agent_id")),
        sent_unix_s: message.get("event_timestamp").and_then(Value::as_i64),
        content,
    })
}

fn transcription(data: &Map<String, Value>) -> PostCall {
    let turns = data.get("transcript").and_then(Value::as_array).into_iter().flatten();
    let metadata = object(data.get("metadata"));
    let analysis = object(data.get("analysis"));
    let results = |key| analysis.and_then(|a| object(a.get(key))).into_iter().flatten().take(MAX_COLLECTED);
    PostCall {
        status: name(data.get("status")),
        turns: turns.filter_map(turn).take(MAX_TURNS).collect(),
        data_collection: results("data_collection_results")
            .filter(|(id, _)| id.len() <= MAX_NAME_BYTES)
            .map(|(id, result)| (id.clone(), result.get("value").cloned().unwrap_or(Value::Null)))
            .collect(),
        evaluation: results("evaluation_criteria_results")
            .filter_map(|(id, result)| Some((id.clone(), name(result.get("result"))?)))
            .collect(),
        termination_reason: metadata.and_then(|m| m.get("termination_reason")?.as_str().map(str::to_owned)),
        duration_s: metadata.and_then(|m| m.get("call_duration_secs")?.as_f64()),
        error_code: metadata.and_then(|m| m.get("error")?.get("code")?.as_i64()),
    }
}

fn turn(turn: &Value) -> Option<Turn> {
    Some(Turn {
        role: name(turn.get("role"))?,
        message: turn.get("message").and_then(Value::as_str).map(|text| text.trim().to_owned()),
        at_s: turn.get("time_in_call_secs").and_then(Value::as_f64),
        interrupted: turn.get("interrupted").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// A short text without blanks at its ends.
fn name(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= MAX_NAME_BYTES).then(|| text.to_owned())
}

fn lower_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

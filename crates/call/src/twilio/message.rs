//! Messages of a Twilio media stream (Twilio Media Streams, WebSocket messages).
//!
//! Reading is tolerant: numbers may be strings or numbers or absent, unknown events and fields are no error. Writing is
//! exact, because Twilio rejects a message with one field too many.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{AccountSid, CallSid, StreamSid};
use crate::MessageError;
use crate::json::{self, Loose, LooseMap, Object};

/// Largest message accepted, in bytes. A media message has about 420; 64 KiB leaves room for any documented content.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A message from Twilio.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FromTwilio<'a> {
    /// The socket is open; carries nothing of use.
    Connected,
    /// The stream begins.
    Start(Box<Start>),
    /// A piece of audio.
    Media(Media<'a>),
    /// The caller pressed a key: one of `0`-`9`, `*`, `#`, `A`-`D`.
    Dtmf {
        /// The key.
        digit: char,
    },
    /// Everything queued before our mark was played or cleared.
    Mark {
        /// The name we gave.
        name: Cow<'a, str>,
    },
    /// The stream was stopped or the call ended.
    Stop,
    /// An event this crate does not know. To be ignored.
    Unknown,
}

/// The beginning of a stream.
#[derive(Clone, PartialEq)]
pub struct Start {
    /// The stream all our messages must name.
    pub stream_sid: StreamSid,
    /// The account; compare with the configured one.
    pub account_sid: Option<AccountSid>,
    /// The call this stream belongs to.
    pub call_sid: Option<CallSid>,
    /// What the call instructions passed in `<Parameter>`.
    pub custom_parameters: BTreeMap<String, String>,
    /// The format of the audio in both directions.
    pub media_format: MediaFormat,
    /// Position of this message in the stream, normally 1.
    pub sequence: Option<u64>,
}

impl fmt::Debug for Start {
    /// Leaves the values of the custom parameters out: they may be secret or personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("stream_sid", &self.stream_sid)
            .field("account_sid", &self.account_sid)
            .field("call_sid", &self.call_sid)
            .field("custom_parameters", &self.custom_parameters.len())
            .field("media_format", &self.media_format)
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// The format of a stream's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFormat {
    /// MIME type.
    pub encoding: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u32,
}

impl MediaFormat {
    /// The one format Twilio documents.
    #[must_use]
    pub fn ulaw_8000() -> Self {
        Self { encoding: "audio/x-mulaw".to_owned(), sample_rate: 8000, channels: 1 }
    }

    /// Whether this is G.711 mu-law, 8000 Hz, one channel: the only format this crate decodes.
    #[must_use]
    pub fn is_ulaw_8000(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("audio/x-mulaw") && self.sample_rate == 8000 && self.channels == 1
    }
}

impl Default for MediaFormat {
    fn default() -> Self {
        Self::ulaw_8000()
    }
}

/// A piece of audio. Its length in milliseconds is its number of bytes divided by 8; its size is not fixed.
#[derive(Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// Whether this is the caller's voice (as opposed to what the caller hears).
    pub inbound: bool,
    /// Position of this message in the stream.
    pub sequence: Option<u64>,
    /// Position among the media messages.
    pub chunk: Option<u64>,
    /// Time of the first sample in milliseconds since the stream began. The first one need not be 0.
    pub timestamp_ms: Option<u64>,
    /// Mu-law bytes in standard base64.
    pub payload: Cow<'a, str>,
}

impl fmt::Debug for Media<'_> {
    /// Leaves the audio out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("inbound", &self.inbound)
            .field("sequence", &self.sequence)
            .field("chunk", &self.chunk)
            .field("timestamp_ms", &self.timestamp_ms)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// What every message has, plus the body of the frequent one.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    event: Loose<'a>,
    #[serde(borrow, default, rename = "sequenceNumber")]
    sequence: Loose<'a>,
    #[serde(borrow, default, rename = "streamSid")]
    stream_sid: Loose<'a>,
    #[serde(borrow, default)]
    media: Object<MediaBody<'a>>,
}

#[derive(Deserialize)]
struct MediaBody<'a> {
    #[serde(borrow, default)]
    track: Loose<'a>,
    #[serde(borrow, default)]
    chunk: Loose<'a>,
    #[serde(borrow, default)]
    timestamp: Loose<'a>,
    #[serde(borrow, default)]
    payload: Loose<'a>,
}

#[derive(Deserialize, Default)]
struct StartBody<'a> {
    #[serde(borrow, default, rename = "accountSid")]
    account_sid: Loose<'a>,
    #[serde(borrow, default, rename = "streamSid")]
    stream_sid: Loose<'a>,
    #[serde(borrow, default, rename = "callSid")]
    call_sid: Loose<'a>,
    #[serde(borrow, default, rename = "mediaFormat")]
    media_format: Object<FormatBody<'a>>,
    #[serde(borrow, default, rename = "customParameters")]
    custom_parameters: Object<LooseMap<'a>>,
}

#[derive(Deserialize)]
struct FormatBody<'a> {
    #[serde(borrow, default)]
    encoding: Loose<'a>,
    #[serde(borrow, default, rename = "sampleRate")]
    sample_rate: Loose<'a>,
    #[serde(borrow, default)]
    channels: Loose<'a>,
}

#[derive(Deserialize)]
struct DtmfBody<'a> {
    #[serde(borrow, default)]
    digit: Loose<'a>,
}

#[derive(Deserialize)]
struct MarkBody<'a> {
    #[serde(borrow, default)]
    name: Loose<'a>,
}

/// Reads one text frame.
///
/// # Errors
/// [`MessageError`] when the frame is not a JSON object, too large, or lacks what its event is about. The frame is then
/// to be counted and skipped.
pub fn parse(text: &str) -> Result<FromTwilio<'_>, MessageError> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge);
    }
    let envelope: Envelope<'_> = json::read(text)?;
    let event = envelope.event.required_text("event")?;
    match &*event {
        "media" => media(envelope.media.required("media")?, envelope.sequence.unsigned()),
        "connected" => Ok(FromTwilio::Connected),
        "start" => start(text, envelope.stream_sid, envelope.sequence.unsigned()),
        "dtmf" => {
            let body: DtmfBody<'_> = json::member(text, "dtmf")?.required("dtmf")?;
            dtmf(body.digit)
        }
        "mark" => {
            let body: MarkBody<'_> = json::member(text, "mark")?.required("mark")?;
            Ok(FromTwilio::Mark { name: body.name.required_text("mark.name")? })
        }
        "stop" => Ok(FromTwilio::Stop),
        _ => Ok(FromTwilio::Unknown),
    }
}

fn media(body: MediaBody<'_>, sequence: Option<u64>) -> Result<FromTwilio<'_>, MessageError> {
    // Media messages name their track `inbound` or `outbound`, key presses and call instructions `inbound_track`.
    let outbound = body.track.optional_text().is_some_and(|track| track.starts_with("outbound"));
    Ok(FromTwilio::Media(Media {
        inbound: !outbound,
        sequence,
        chunk: body.chunk.unsigned(),
        timestamp_ms: body.timestamp.unsigned(),
        payload: body.payload.required_text("media.payload")?,
    }))
}

fn start<'a>(text: &'a str, outer_sid: Loose<'a>, sequence: Option<u64>) -> Result<FromTwilio<'a>, MessageError> {
    let body = match json::member::<StartBody<'_>>(text, "start")? {
        Object::Value(body) => body,
        Object::Absent => StartBody::default(),
        Object::Wrong => return Err(MessageError::Invalid { field: "start" }),
    };
    let sid = match body.stream_sid.text("streamSid")? {
        Some(sid) => sid,
        None => outer_sid.required_text("streamSid")?,
    };
    let stream_sid = StreamSid::parse(&sid).map_err(|_| MessageError::Invalid { field: "streamSid" })?;
    let account_sid = body
        .account_sid
        .text("accountSid")?
        .map(|sid| AccountSid::parse(&sid).map_err(|_| MessageError::Invalid { field: "accountSid" }))
        .transpose()?;
    let call_sid = body
        .call_sid
        .text("callSid")?
        .map(|sid| CallSid::parse(&sid).map_err(|_| MessageError::Invalid { field: "callSid" }))
        .transpose()?;
    let custom_parameters = body
        .custom_parameters
        .optional()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.printed()?)))
        .collect();
    Ok(FromTwilio::Start(Box::new(Start {
        stream_sid,
        account_sid,
        call_sid,
        custom_parameters,
        media_format: media_format(body.media_format),
        sequence,
    })))
}

/// Absent values mean the documented format; values of a wrong type mean one we cannot decode.
fn media_format(body: Object<FormatBody<'_>>) -> MediaFormat {
    let number = |value: &Loose<'_>, default: u32| match value {
        Loose::Null => default,
        other => other.unsigned().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
    };
    let standard = MediaFormat::ulaw_8000();
    match body {
        Object::Absent => standard,
        Object::Wrong => MediaFormat { encoding: String::new(), sample_rate: 0, channels: 0 },
        Object::Value(body) => MediaFormat {
            sample_rate: number(&body.sample_rate, standard.sample_rate),
            channels: number(&body.channels, standard.channels),
            encoding: match body.encoding {
                Loose::Null => standard.encoding,
                other => other.optional_text().map(Cow::into_owned).unwrap_or_default(),
            },
        },
    }
}

fn dtmf(digit: Loose<'_>) -> Result<FromTwilio<'_>, MessageError> {
    let text = digit.printed().ok_or(MessageError::MissingField { field: "dtmf.digit" })?;
    let mut keys = text.chars();
    match (keys.next().map(|key| key.to_ascii_uppercase()), keys.next()) {
        (Some(digit @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Ok(FromTwilio::Dtmf { digit }),
        _ => Err(MessageError::Invalid { field: "dtmf.digit" }),
    }
}

/// Appends a message that queues audio for the caller: `ulaw` is raw G.711 mu-law at 8000 Hz, without any header.
///
/// Any length is accepted by Twilio; callers send 20 to 100 ms (160 to 800 bytes) and never zero bytes.
pub fn write_media(out: &mut String, sid: &StreamSid, ulaw: &[u8]) {
    out.push_str(r#"{"event":"media","streamSid":"#);
    json::push_string(out, sid.as_str());
    out.push_str(r#","media":{"payload":""#);
    STANDARD.encode_string(ulaw, out);
    out.push_str(r#""}}"#);
}

/// Appends a message that asks for an echo once all audio queued so far was played. `name` must be unique in the stream.
pub fn write_mark(out: &mut String, sid: &StreamSid, name: &str) {
    out.push_str(r#"{"event":"mark","streamSid":"#);
    json::push_string(out, sid.as_str());
    out.push_str(r#","mark":{"name":"#);
    json::push_string(out, name);
    out.push_str("}}");
}

/// Appends a message that drops all queued audio. Twilio then echoes all outstanding marks at once.
pub fn write_clear(out: &mut String, sid: &StreamSid) {
    out.push_str(r#"{"event":"clear","streamSid":"#);
    json::push_string(out, sid.as_str());
    out.push('}');
}

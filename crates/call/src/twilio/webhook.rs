//! Typed views of the forms Twilio posts (Twilio, Webhooks). The forms are decoded by
//! [`signature::decode_form`](super::signature::decode_form) and must have been verified.
//!
//! All views are tolerant: fields may be missing or new, and only the identifiers are required. When a field is
//! repeated the first value counts.

use std::fmt;

use super::{AccountSid, CallSid, MessageSid, StreamSid};
use crate::MessageError;

/// Decoded form fields with look-up by name.
struct Form<'a>(&'a [(String, String)]);

impl<'a> Form<'a> {
    /// A value as sent; `None` when absent or empty.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    fn required<T>(&self, field: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, MessageError> {
        let text = self.text(field).ok_or(MessageError::MissingField { field })?;
        parse(text).ok_or(MessageError::Invalid { field })
    }

    fn call_sid(&self) -> Result<CallSid, MessageError> {
        self.required("CallSid", |text| CallSid::parse(text).ok())
    }

    fn account_sid(&self) -> Result<AccountSid, MessageError> {
        self.required("AccountSid", |text| AccountSid::parse(text).ok())
    }
}

/// The state of a call (Twilio, Call status callback).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// Accepted, not dialled yet.
    Queued,
    /// Dialling begins.
    Initiated,
    /// The phone rings.
    Ringing,
    /// Somebody or something answered.
    InProgress,
    /// Ended after an answer.
    Completed,
    /// Ended: the line was busy.
    Busy,
    /// Ended: nobody answered in time.
    NoAnswer,
    /// Ended: the number could not be reached.
    Failed,
    /// Ended: cancelled before an answer.
    Canceled,
    /// An undocumented word.
    Other(String),
}

impl CallStatus {
    /// Reads a status word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "queued" => Self::Queued,
            "initiated" => Self::Initiated,
            "ringing" => Self::Ringing,
            "in-progress" => Self::InProgress,
            "completed" => Self::Completed,
            "busy" => Self::Busy,
            "no-answer" => Self::NoAnswer,
            "failed" => Self::Failed,
            "canceled" => Self::Canceled,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Other(word) => word,
        }
    }

    /// Whether the call is over. No other status follows, except repetitions and late arrivals.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Busy | Self::NoAnswer | Self::Failed | Self::Canceled)
    }
}

/// Who started a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// The patient called us.
    Inbound,
    /// We called through the REST API.
    OutboundApi,
    /// A leg made by `<Dial>`.
    OutboundDial,
    /// An undocumented word.
    Other(String),
}

impl Direction {
    /// Reads a direction word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "inbound" => Self::Inbound,
            "outbound-api" => Self::OutboundApi,
            "outbound-dial" => Self::OutboundDial,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Who picked up (Twilio, Answering-machine detection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnsweredBy {
    /// A person.
    Human,
    /// A machine; its greeting is still playing.
    MachineStart,
    /// A machine; its greeting ended with a beep.
    MachineEndBeep,
    /// A machine; its greeting ended with silence.
    MachineEndSilence,
    /// A machine; its greeting ended otherwise.
    MachineEndOther,
    /// A fax machine.
    Fax,
    /// Not decided, or an undocumented word.
    Unknown,
}

impl AnsweredBy {
    /// Reads a verdict word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "human" => Self::Human,
            "machine_start" => Self::MachineStart,
            "machine_end_beep" => Self::MachineEndBeep,
            "machine_end_silence" => Self::MachineEndSilence,
            "machine_end_other" => Self::MachineEndOther,
            "fax" => Self::Fax,
            // An undocumented machine must not be taken for a person.
            other if other.starts_with("machine") => Self::MachineEndOther,
            _ => Self::Unknown,
        }
    }

    /// Whether no person is listening.
    #[must_use]
    pub const fn is_machine(&self) -> bool {
        !matches!(self, Self::Human | Self::Unknown)
    }
}

/// A request for call instructions: an incoming call, or the continuation after a verb with `action`
/// (Twilio, Voice request).
#[derive(Clone, PartialEq)]
pub struct VoiceRequest {
    /// The call.
    pub call_sid: CallSid,
    /// The account; compare with the configured one.
    pub account_sid: AccountSid,
    /// The calling number, or `anonymous`, `unknown`, `client:…`, `sip:…`. Personal data.
    pub from: Option<String>,
    /// The called number. Personal data.
    pub to: Option<String>,
    /// State of the call.
    pub call_status: Option<CallStatus>,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// Verdict of synchronous answering-machine detection.
    pub answered_by: Option<AnsweredBy>,
    /// Keys pressed during `<Gather>` or `<Record>`. Personal data.
    pub digits: Option<String>,
    /// What was said during `<Gather>`. Personal data.
    pub speech_result: Option<String>,
    /// How sure the recogniser is, 0 to 1. Not always sent.
    pub confidence: Option<f64>,
    /// How the nurse's leg of a `<Dial>` ended.
    pub dial_call_status: Option<CallStatus>,
    /// How long the nurse's leg lasted, in seconds.
    pub dial_call_duration_s: Option<u64>,
    /// Error that made Twilio use the fallback address.
    pub error_code: Option<u64>,
}

impl VoiceRequest {
    /// Reads a decoded form.
    ///
    /// # Errors
    /// [`MessageError`] when `CallSid` or `AccountSid` is missing or no identifier.
    pub fn from_form(fields: &[(String, String)]) -> Result<Self, MessageError> {
        let form = Form(fields);
        Ok(Self {
            call_sid: form.call_sid()?,
            account_sid: form.account_sid()?,
            from: form.owned("From"),
            to: form.owned("To"),
            call_status: form.text("CallStatus").map(CallStatus::parse),
            direction: form.text("Direction").map(Direction::parse),
            answered_by: form.text("AnsweredBy").map(AnsweredBy::parse),
            digits: form.owned("Digits"),
            speech_result: form.owned("SpeechResult"),
            confidence: form
                .text("Confidence")
                .and_then(|text| text.trim().parse::<f64>().ok())
                .filter(|confidence| (0.0..=1.0).contains(confidence)),
            dial_call_status: form.text("DialCallStatus").map(CallStatus::parse),
            dial_call_duration_s: form.number("DialCallDuration"),
            error_code: form.number("ErrorCode"),
        })
    }
}

impl fmt::Debug for VoiceRequest {
    /// Leaves numbers, keys and speech out: they are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceRequest")
            .field("call_sid", &self.call_sid)
            .field("account_sid", &self.account_sid)
            .field("call_status", &self.call_status)
            .field("direction", &self.direction)
            .field("answered_by", &self.answered_by)
            .field("has_digits", &self.digits.is_some())
            .field("has_speech", &self.speech_result.is_some())
            .field("dial_call_status", &self.dial_call_status)
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// A report about the progress of a call (Twilio, Call status callback). Reports may arrive twice and out of order:
/// sort by `sequence_number`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCallback {
    /// The call.
    pub call_sid: CallSid,
    /// The account; compare with the configured one.
    pub account_sid: AccountSid,
    /// State of the call.
    pub status: CallStatus,
    /// Order of the reports, from 0.
    pub sequence_number: Option<u64>,
    /// Length of the call in seconds; with terminal states only.
    pub duration_s: Option<u64>,
    /// The telephone network's final answer, such as 486 for busy.
    pub sip_response_code: Option<u64>,
    /// Verdict of answering-machine detection.
    pub answered_by: Option<AnsweredBy>,
}

impl StatusCallback {
    /// Reads a decoded form.
    ///
    /// # Errors
    /// [`MessageError`] when `CallSid`, `AccountSid` or `CallStatus` is missing, or one of the first two no identifier.
    pub fn from_form(fields: &[(String, String)]) -> Result<Self, MessageError> {
        let form = Form(fields);
        Ok(Self {
            call_sid: form.call_sid()?,
            account_sid: form.account_sid()?,
            status: form.required("CallStatus", |word| Some(CallStatus::parse(word)))?,
            sequence_number: form.number("SequenceNumber"),
            duration_s: form.number("CallDuration"),
            sip_response_code: form.number("SipResponseCode"),
            answered_by: form.text("AnsweredBy").map(AnsweredBy::parse),
        })
    }
}

/// The verdict of asynchronous answering-machine detection (Twilio, Answering-machine detection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmdResult {
    /// The call.
    pub call_sid: CallSid,
    /// The account; compare with the configured one.
    pub account_sid: AccountSid,
    /// Who picked up.
    pub answered_by: AnsweredBy,
    /// How long the detection took, in milliseconds.
    pub detection_ms: Option<u64>,
}

impl AmdResult {
    /// Reads a decoded form.
    ///
    /// # Errors
    /// [`MessageError`] when `CallSid`, `AccountSid` or `AnsweredBy` is missing, or one of the first two no identifier.
    pub fn from_form(fields: &[(String, String)]) -> Result<Self, MessageError> {
        let form = Form(fields);
        Ok(Self {
            call_sid: form.call_sid()?,
            account_sid: form.account_sid()?,
            answered_by: form.required("AnsweredBy", |word| Some(AnsweredBy::parse(word)))?,
            detection_ms: form.number("MachineDetectionDuration"),
        })
    }
}

/// What happened to a media stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The socket is open.
    Started,
    /// The stream ended.
    Stopped,
    /// The stream could not be opened or broke.
    Error,
    /// An undocumented word.
    Other(String),
}

impl StreamEvent {
    /// Reads an event word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "stream-started" => Self::Started,
            "stream-stopped" => Self::Stopped,
            "stream-error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A report about a media stream (Twilio, Stream status callback). Its order relative to the socket is not guaranteed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// The call.
    pub call_sid: CallSid,
    /// The account; compare with the configured one.
    pub account_sid: AccountSid,
    /// The stream.
    pub stream_sid: StreamSid,
    /// What happened.
    pub event: StreamEvent,
    /// Twilio's explanation of an error.
    pub error: Option<String>,
    /// The name given in the call instructions; equals the identifier when none was given.
    pub stream_name: Option<String>,
}

impl StreamStatus {
    /// Reads a decoded form.
    ///
    /// # Errors
    /// [`MessageError`] when an identifier or `StreamEvent` is missing.
    pub fn from_form(fields: &[(String, String)]) -> Result<Self, MessageError> {
        let form = Form(fields);
        Ok(Self {
            call_sid: form.call_sid()?,
            account_sid: form.account_sid()?,
            stream_sid: form.required("StreamSid", |text| StreamSid::parse(text).ok())?,
            event: form.required("StreamEvent", |word| Some(StreamEvent::parse(word)))?,
            error: form.owned("StreamError"),
            stream_name: form.owned("StreamName"),
        })
    }
}

/// The state of a text message (Twilio, SMS status callback). States only move forward; repetitions happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageStatus {
    /// The message.
    pub message_sid: MessageSid,
    /// The account; compare with the configured one.
    pub account_sid: Option<AccountSid>,
    /// `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed` or another word.
    pub status: String,
    /// Twilio's error number for `undelivered` and `failed`.
    pub error_code: Option<u64>,
}

impl MessageStatus {
    /// Reads a decoded form.
    ///
    /// # Errors
    /// [`MessageError`] when the message's identifier or status is missing.
    pub fn from_form(fields: &[(String, String)]) -> Result<Self, MessageError> {
        let form = Form(fields);
        let sid = form.text("MessageSid").or_else(|| form.text("SmsSid"));
        let sid = sid.ok_or(MessageError::MissingField { field: "MessageSid" })?;
        let status = form.text("MessageStatus").or_else(|| form.text("SmsStatus"));
        Ok(Self {
            message_sid: MessageSid::parse(sid).map_err(|_| MessageError::Invalid { field: "MessageSid" })?,
            account_sid: form.account_sid().ok(),
            status: status.ok_or(MessageError::MissingField { field: "MessageStatus" })?.to_owned(),
            error_code: form.number("ErrorCode"),
        })
    }

    /// Whether the message will never arrive.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self.status.as_str(), "undelivered" | "failed" | "canceled")
    }
}

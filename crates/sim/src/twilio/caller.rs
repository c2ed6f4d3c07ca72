//! One simulated telephone call, from the voice webhook to the end.

use super::Impairments;
use super::call::{self, Command, First, Setup};
use crate::SimError;
use crate::patient::PatientScript;
use crate::rng::Rng;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A rule of the media stream protocol the server broke, as Twilio would report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Twilio's error code: 31950, 31951, 31924, 12100, 11200, ...
    pub code: u32,
    /// What was wrong.
    pub detail: String,
    /// Milliseconds since the call began.
    pub at_ms: u64,
}

/// Who or what ended the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EndedBy {
    /// The caller hung up.
    Caller,
    /// `<Hangup/>` or `<Reject/>`.
    Verb,
    /// The document had no verbs left.
    #[default]
    EndOfDocument,
    /// REST: `Status=completed` or `canceled`.
    Rest,
    /// A document could not be fetched or parsed.
    Error,
    /// The call was longer than allowed.
    TimeLimit,
}

/// Something that happened in the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Milliseconds since the call began.
    pub at_ms: u64,
    /// Short text, such as `say`, `stream-started` or `mark t7:640`.
    pub what: String,
}

/// What happened in a call, as seen from the telephone.
#[derive(Debug, Clone, Default)]
pub struct CallReport {
    /// `CA...`
    pub call_sid: String,
    /// `MZ...` of the last bidirectional stream; empty without one.
    pub stream_sid: String,
    /// Every TwiML document fetched, in order.
    pub twiml_seen: Vec<String>,
    /// What the caller heard, mu-law, from the beginning of the call.
    pub heard: Vec<u8>,
    /// What the caller heard while the bidirectional stream was open.
    pub heard_on_stream: Vec<u8>,
    /// Bytes of caller audio sent on the bidirectional stream.
    pub spoken_bytes_sent: u64,
    /// The same audio, in order.
    pub spoken: Vec<u8>,
    /// Media messages sent on the bidirectional stream.
    pub frames_sent: u64,
    /// Media messages sent on forks.
    pub fork_frames_sent: u64,
    /// Media messages received on the bidirectional stream.
    pub media_received: u64,
    /// What the server did wrong.
    pub violations: Vec<Violation>,
    /// Mark names received, in order.
    pub marks: Vec<String>,
    /// `clear` messages received.
    pub clears: u64,
    /// Milliseconds of queued audio each `clear` threw away.
    pub cleared_ms: Vec<u64>,
    /// Milliseconds of audio that were queued but not yet played when a stream or the call ended.
    pub unplayed_ms: u64,
    /// When the first audio came from the server, in milliseconds since the call began.
    pub first_audio_ms: Option<u64>,
    /// Every message that broke the protocol, reported or not.
    pub breaches: u64,
    /// Close code of the server on the last stream it closed.
    pub server_close_code: Option<u16>,
    /// What ended the call.
    pub ended_by: EndedBy,
    /// Texts of `<Say>`.
    pub said: Vec<String>,
    /// Texts of the clips the patient spoke, with the time each began.
    pub spoke: Vec<(u64, String)>,
    /// Digits pressed.
    pub digits: String,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Status of the response to the last failed media handshake.
    pub handshake_refused: Option<u16>,
    /// What happened when.
    pub timeline: Vec<TimelineEntry>,
}

/// A simulated caller: what Twilio does for one incoming call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `AC...`
    pub account_sid: String,
    /// Key of the signatures.
    pub auth_token: String,
    /// The patient's number.
    pub from: String,
    /// The clinic's number.
    pub to: String,
    /// The number's voice webhook.
    pub voice_url: String,
    /// The number's fallback URL.
    pub fallback_url: Option<String>,
    /// A document kept at the phone company for when the fallback URL is not set or fails as well.
    pub fallback_twiml: Option<String>,
    /// The number's status callback.
    pub status_callback: Option<String>,
    /// What the patient does.
    pub behaviour: PatientScript,
    /// What is wrong with the line.
    pub impairments: Impairments,
    /// Seed of identifiers and of everything that varies.
    pub seed: u64,
    /// The call is ended after this long.
    pub time_limit: Duration,
    /// Length of spoken `<Say>` texts relative to a usual voice; below 1 for impatient tests.
    pub say_speed: f64,
    /// `DialCallStatus` of every `<Dial>`.
    pub dial_status: String,
    /// `SequenceNumber` of the final status callback.
    pub status_sequence: u64,
}

impl Caller {
    /// A caller with the `stable` patient on a clean line, test credentials and test numbers.
    #[must_use]
    pub fn new(voice_url: impl Into<String>) -> Self {
        Self {
            account_sid: super::TEST_ACCOUNT_SID.to_owned(),
            auth_token: super::TEST_AUTH_TOKEN.to_owned(),
            from: "+15005550006".to_owned(),
            to: "+15005550010".to_owned(),
            voice_url: voice_url.into(),
            fallback_url: None,
            fallback_twiml: None,
            status_callback: None,
            behaviour: PatientScript::default(),
            impairments: Impairments::default(),
            seed: 1,
            time_limit: Duration::from_secs(600),
            say_speed: 1.0,
            dial_status: "completed".to_owned(),
            status_sequence: 0,
        }
    }

    /// Rings the number, runs whatever TwiML comes back, and reports when the call is over.
    ///
    /// # Errors
    /// Only when the simulator itself cannot work; what the server does wrong is in the report.
    pub async fn run(self) -> Result<CallReport, SimError> {
        let (_commands, receiver) = mpsc::channel(1);
        let (status, _) = watch::channel("ringing".to_owned());
        call::run(self.into_setup(receiver, status)).await
    }

    /// The sid this caller's call will have.
    #[must_use]
    pub fn call_sid(&self) -> String {
        format!("CA{}", Rng::named(self.seed, &self.from).hex(32))
    }

    pub(super) fn into_setup(self, commands: mpsc::Receiver<Command>, status: watch::Sender<String>) -> Setup {
        Setup {
            call_sid: self.call_sid(),
            direction: "inbound",
            first: First::Url { url: self.voice_url.clone(), method: "POST".to_owned() },
            answered: false,
            extra_fields: Vec::new(),
            commands,
            status,
            caller: self,
        }
    }
}

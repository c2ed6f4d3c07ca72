//! Faults of the simulated agents service, selectable by name.

use super::speech::AudioFormat;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which event id the audio carries that still arrives after an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateAudio {
    /// Below the interrupted id: must not be heard.
    Below,
    /// Equal to it: must be heard.
    Equal,
    /// Above it: must be heard.
    Above,
}

/// One thing that goes wrong; see [`FAULT_NAMES`] for the names on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answer every request this much later.
    AcceptDelay(Duration),
    /// 401 to every request.
    Reject401,
    /// 404 to every request.
    Reject404,
    /// 500 to every request.
    Http500,
    /// Close the conversation with this code, this long after it began.
    Close {
        /// 1002, 1008, 1011 or 3008.
        code: u16,
        /// Time since the init message.
        at: Duration,
    },
    /// Drop the connection without a close frame, this long after the conversation began.
    Drop(Duration),
    /// A late chunk of audio after every interruption.
    Late(LateAudio),
    /// Report `queue_status` waiting for this long, then admitted.
    QueueWaiting(Duration),
    /// Leave `ping_ms` out of pings.
    NoPingMs,
    /// Send event types nobody knows.
    UnknownEvent,
    /// Send frames that are not JSON or lack their fields.
    MalformedJson,
    /// Audio arrives unevenly, about as fast as it is spoken.
    Trickle,
    /// Speak in another format than configured.
    Format(AudioFormat),
    /// Never send `conversation_initiation_metadata`.
    NoMetadata,
    /// Accept, send metadata and pings, and never speak.
    Silent,
    /// Send every client tool call twice with the same id.
    DuplicateToolCall,
    /// Think this long after every tool result before going on.
    SlowTool(Duration),
    /// Send one frame far larger than usual (2 MiB of silence).
    Oversized,
}

/// Every name with what it does, for help texts.
pub const FAULT_NAMES: &[(&str, &str)] = &[
    ("accept-delay=MS", "answer the handshake and REST later (default 3000)"),
    ("reject-401", "401 to every request"),
    ("reject-404", "404 to every request"),
    ("http-500", "500 to every request"),
    ("close-1008[=MS]", "close 1008 after MS (default 0: right after init)"),
    ("close-1002[=MS]", "close 1002 after MS (default 5000)"),
    ("close-1011[=MS]", "close 1011 after MS (default 5000)"),
    ("close-3008[=MS]", "close 3008 after MS (default 0)"),
    ("drop[=MS]", "drop the connection without a close frame (default 5000)"),
    ("late-audio-below", "after an interruption, audio with a smaller event id"),
    ("late-audio-equal", "after an interruption, audio with the same event id"),
    ("late-audio-above", "after an interruption, audio with a larger event id"),
    ("queue-waiting[=MS]", "queue_status waiting, then admitted (default 2000)"),
    ("no-ping-ms", "pings without ping_ms"),
    ("unknown-event", "event types nobody knows"),
    ("malformed-json", "frames that are not valid"),
    ("trickle", "audio in real time with jitter instead of bursts"),
    ("format=NAME", "speak in another format than configured, e.g. pcm_16000"),
    ("no-metadata", "no conversation_initiation_metadata"),
    ("silent", "accepts and never speaks"),
    ("duplicate-tool-call", "every client tool call twice"),
    ("slow-tool[=MS]", "thinks long after a tool result (default 3000)"),
    ("oversized", "one frame of 2 MiB of audio"),
];

/// A fault name that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault '{given}': {problem}")]
pub struct FaultError {
    /// What was given.
    pub given: String,
    /// What is wrong with it, with the names that are known.
    pub problem: String,
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let fail = |problem: String| FaultError { given: text.to_owned(), problem };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let millis =
            |default: u64| match value.map(|v| v.trim_start_matches("at=").trim_end_matches("ms").parse::<u64>()) {
                None => Ok(Duration::from_millis(default)),
                Some(Ok(ms)) => Ok(Duration::from_millis(ms)),
                Some(Err(_)) => Err(fail("the value must be a number of milliseconds".to_owned())),
            };
        let close = |code, default| Ok(Fault::Close { code, at: millis(default)? });
        match name {
            "accept-delay" => Ok(Fault::AcceptDelay(millis(3_000)?)),
            "reject-401" => Ok(Fault::Reject401),
            "reject-404" => Ok(Fault::Reject404),
            "http-500" => Ok(Fault::Http500),
            "close-1008" => close(1008, 0),
            "close-1002" => close(1002, 5_000),
            "close-1011" => close(1011, 5_000),
            "close-3008" => close(3008, 0),
            "drop" => Ok(Fault::Drop(millis(5_000)?)),
            "late-audio-below" => Ok(Fault::Late(LateAudio::Below)),
            "late-audio-equal" => Ok(Fault::Late(LateAudio::Equal)),
            "late-audio-above" => Ok(Fault::Late(LateAudio::Above)),
            "queue-waiting" => Ok(Fault::QueueWaiting(millis(2_000)?)),
            "no-ping-ms" => Ok(Fault::NoPingMs),
            "unknown-event" => Ok(Fault::UnknownEvent),
            "malformed-json" => Ok(Fault::MalformedJson),
            "trickle" => Ok(Fault::Trickle),
            "format" => match value.and_then(AudioFormat::parse) {
                Some(format) => Ok(Fault::Format(format)),
                None => Err(fail(format!("the format must be one of {}", AudioFormat::names().join(", ")))),
            },
            "no-metadata" => Ok(Fault::NoMetadata),
            "silent" => Ok(Fault::Silent),
            "duplicate-tool-call" => Ok(Fault::DuplicateToolCall),
            "slow-tool" => Ok(Fault::SlowTool(millis(3_000)?)),
            "oversized" => Ok(Fault::Oversized),
            _ => {
                let names: Vec<&str> = FAULT_NAMES.iter().map(|(name, _)| *name).collect();
                Err(fail(format!("expected one of {}", names.join(", "))))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::AcceptDelay(d) => write!(f, "accept-delay={}", d.as_millis()),
            Fault::Reject401 => f.write_str("reject-401"),
            Fault::Reject404 => f.write_str("reject-404"),
            Fault::Http500 => f.write_str("http-500"),
            Fault::Close { code, at } => write!(f, "close-{code}={}", at.as_millis()),
            Fault::Drop(at) => write!(f, "drop={}", at.as_millis()),
            Fault::Late(LateAudio::Below) => f.write_str("late-audio-below"),
            Fault::Late(LateAudio::Equal) => f.write_str("late-audio-equal"),
            Fault::Late(LateAudio::Above) => f.write_str("late-audio-above"),
            Fault::QueueWaiting(d) => write!(f, "queue-waiting={}", d.as_millis()),
            Fault::NoPingMs => f.write_str("no-ping-ms"),
            Fault::UnknownEvent => f.write_str("unknown-event"),
            Fault::MalformedJson => f.write_str("malformed-json"),
            Fault::Trickle => f.write_str("trickle"),
            Fault::Format(format) => write!(f, "format={}", format.name()),
            Fault::NoMetadata => f.write_str("no-metadata"),
            Fault::Silent => f.write_str("silent"),
            Fault::DuplicateToolCall => f.write_str("duplicate-tool-call"),
            Fault::SlowTool(d) => write!(f, "slow-tool={}", d.as_millis()),
            Fault::Oversized => f.write_str("oversized"),
        }
    }
}

/// The faults of one simulated service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One fault.
    #[must_use]
    pub fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// Reads fault names.
    ///
    /// # Errors
    /// The first name that is not understood.
    pub fn parse<I: IntoIterator<Item = S>, S: AsRef<str>>(names: I) -> Result<Self, FaultError> {
        names.into_iter().map(|name| name.as_ref().parse()).collect::<Result<Vec<_>, _>>().map(Self)
    }

    pub(crate) fn find<T>(&self, pick: impl Fn(Fault) -> Option<T>) -> Option<T> {
        self.0.iter().copied().find_map(pick)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_documented_name_is_understood_and_written_back() {
        for (name, _) in FAULT_NAMES {
            let plain = name.split(['=', '[']).next().unwrap();
            let text = match *name {
                "format=NAME" => "format=pcm_16000".to_owned(),
                other if other.contains("=MS") => format!("{plain}=250"),
                _ => plain.to_owned(),
            };
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn values_have_defaults_and_limits() {
        assert_eq!("close-1008".parse(), Ok(Fault::Close { code: 1008, at: Duration::ZERO }));
        assert_eq!("drop=at=700".parse(), Ok(Fault::Drop(Duration::from_millis(700))));
        assert!("drop=soon".parse::<Fault>().is_err());
        assert!("format=mp3".parse::<Fault>().unwrap_err().to_string().contains("ulaw_8000"));
        assert!("explode".parse::<Fault>().unwrap_err().to_string().contains("reject-401"));
    }
}

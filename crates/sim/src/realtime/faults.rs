//! Faults of the simulated Realtime service, selectable by name.

use crate::elevenlabs::FaultError;
use std::str::FromStr;
use std::time::Duration;

/// One thing that goes wrong; see [`FAULT_NAMES`] for the names on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answer every request this much later.
    AcceptDelay(Duration),
    /// This status to every request.
    Reject(u16),
    /// Accept the socket, then send the error of a wrong key and close with 3000, as the service also does.
    LateReject,
    /// Close with 1011, this long after the session began.
    Close(Duration),
    /// Drop the connection without a close frame, this long after the session began.
    Drop(Duration),
    /// The session expires this long after it began.
    Expire(Duration),
    /// An error event of the service's own, this long after the session began; it then goes on.
    ErrorEvent(Duration),
    /// Every response fails with this code.
    FailResponses(&'static str),
    /// Begin responses, and never say anything in them.
    Silent,
    /// Never answer `session.update`.
    NoSession,
    /// Send frames that are not JSON or lack their fields.
    Malformed,
    /// Think this long before every response.
    Slow(Duration),
    /// Audio arrives unevenly, about as fast as it is spoken.
    Trickle,
    /// Keep to 24 kHz PCM whatever is asked for.
    KeepsPcm,
    /// Send event types nobody knows.
    UnknownEvent,
    /// Use the event names from before the interface was generally available.
    OldNames,
    /// Announce every function call twice.
    DuplicateToolCall,
}

/// Every name with what it does, for help texts.
pub const FAULT_NAMES: &[(&str, &str)] = &[
    ("accept-delay=MS", "answer the handshake and REST later (default 3000)"),
    ("reject-401", "401 to every request: a wrong key"),
    ("reject-403", "403 to every request: a region or project without access"),
    ("reject-404", "404 to every request: no such model"),
    ("reject-429", "429 to every request: over the rate limit"),
    ("http-500", "500 to every request"),
    ("http-503", "503 to every request"),
    ("late-401", "accepts, then an error event about the key and close 3000"),
    ("close[=MS]", "close 1011 after MS (default 5000)"),
    ("drop[=MS]", "drop the connection without a close frame (default 5000)"),
    ("expire[=MS]", "the session expires (default 5000)"),
    ("error-event[=MS]", "an error event of type server_error (default 3000)"),
    ("quota", "every response fails: insufficient_quota"),
    ("rate-limit", "every response fails: rate_limit_exceeded"),
    ("fail-responses", "every response fails: server_error"),
    ("silent", "begins responses and never speaks"),
    ("no-session", "never answers session.update"),
    ("malformed", "frames that are not valid"),
    ("slow[=MS]", "thinks long before every response (default 3000)"),
    ("trickle", "audio in real time with jitter instead of bursts"),
    ("keeps-pcm", "keeps to 24 kHz PCM whatever is asked for"),
    ("unknown-event", "event types nobody knows"),
    ("old-names", "event names from before general availability"),
    ("duplicate-tool-call", "every function call announced twice"),
];

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let fail = |problem: String| FaultError { given: text.to_owned(), problem };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let takes_value = matches!(name, "accept-delay" | "close" | "drop" | "expire" | "error-event" | "slow");
        if value.is_some() && !takes_value {
            return Err(fail("expected a known name without a value".to_owned()));
        }
        let millis = |default: u64| match value.map(|v| v.trim_end_matches("ms").parse::<u64>()) {
            None => Ok(Duration::from_millis(default)),
            Some(Ok(ms)) => Ok(Duration::from_millis(ms)),
            Some(Err(_)) => Err(fail("the value must be a number of milliseconds".to_owned())),
        };
        Ok(match name {
            "accept-delay" => Self::AcceptDelay(millis(3_000)?),
            "reject-401" => Self::Reject(401),
            "reject-403" => Self::Reject(403),
            "reject-404" => Self::Reject(404),
            "reject-429" => Self::Reject(429),
            "http-500" => Self::Reject(500),
            "http-503" => Self::Reject(503),
            "late-401" => Self::LateReject,
            "close" => Self::Close(millis(5_000)?),
            "drop" => Self::Drop(millis(5_000)?),
            "expire" => Self::Expire(millis(5_000)?),
            "error-event" => Self::ErrorEvent(millis(3_000)?),
            "quota" => Self::FailResponses("insufficient_quota"),
            "rate-limit" => Self::FailResponses("rate_limit_exceeded"),
            "fail-responses" => Self::FailResponses("server_error"),
            "silent" => Self::Silent,
            "no-session" => Self::NoSession,
            "malformed" => Self::Malformed,
            "slow" => Self::Slow(millis(3_000)?),
            "trickle" => Self::Trickle,
            "keeps-pcm" => Self::KeepsPcm,
            "unknown-event" => Self::UnknownEvent,
            "old-names" => Self::OldNames,
            "duplicate-tool-call" => Self::DuplicateToolCall,
            _ => {
                let names: Vec<&str> = FAULT_NAMES.iter().map(|(name, _)| *name).collect();
                return Err(fail(format!("expected one of {}", names.join(", "))));
            }
        })
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

    pub(super) fn find<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    pub(super) fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_documented_name_is_understood_and_mistakes_are_named() {
        let mut seen = Vec::new();
        for (name, _) in FAULT_NAMES {
            let plain = name.split(['=', '[']).next().unwrap();
            let text = if name.contains("=MS") { format!("{plain}=250") } else { plain.to_owned() };
            let fault: Fault = text.parse().unwrap();
            assert!(!seen.contains(&fault), "{text}");
            seen.push(fault);
        }
        assert_eq!("drop".parse(), Ok(Fault::Drop(Duration::from_secs(5))));
        assert!("drop=soon".parse::<Fault>().unwrap_err().to_string().contains("milliseconds"));
        assert!("silent=5".parse::<Fault>().is_err());
        assert!("explode".parse::<Fault>().unwrap_err().to_string().contains("reject-401"));
    }
}

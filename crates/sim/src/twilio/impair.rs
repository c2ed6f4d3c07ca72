//! What can be wrong with a simulated telephone line.

use std::time::Duration;

/// How the simulated Twilio ends a media stream when the caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HangUpStyle {
    /// `stop`, then a close frame without status (1005 for the reader), as real calls do.
    #[default]
    StopAndClose,
    /// Close frame, but no `stop` before it.
    CloseWithoutStop,
    /// `stop`, and then the socket simply stays open.
    StopWithoutClose,
    /// TCP reset in mid-stream, no `stop` and no close frame.
    Reset,
}

/// How the upgrade request of a media stream is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeSignature {
    /// Over the URL as given in the TwiML.
    #[default]
    Valid,
    /// No signature header.
    Absent,
    /// Made with a wrong token.
    WrongToken,
    /// Over the URL with the final slash toggled.
    SlashToggled,
    /// Over the URL with its port written out (`:443` for `wss`, `:80` for `ws`).
    PortAdded,
}

/// A malformed message to slip into the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Before which media frame, counted from 0.
    pub before_frame: u64,
    /// The text sent as is.
    pub text: String,
}

/// Faults of the line; the default is a clean line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impairments {
    /// Bytes per media message (160 is 20 ms).
    pub frame_bytes: usize,
    /// Leave out media for this many milliseconds, starting at this stream time: `(at_ms, for_ms)`.
    /// Timestamps jump, and what the caller said meanwhile is lost.
    pub gaps: Vec<(u64, u64)>,
    /// Hold frames back for this many milliseconds and then send them all at once: `(at_ms, for_ms)`.
    pub bursts: Vec<(u64, u64)>,
    /// Leave `sequenceNumber` out of every message.
    pub no_sequence_number: bool,
    /// Messages that are not what they should be.
    pub malformed: Vec<Malformed>,
    /// Delay before each message from the server is read.
    pub slow_reader: Option<Duration>,
    /// How the stream ends when the caller hangs up.
    pub hang_up: HangUpStyle,
    /// How the upgrade request is signed.
    pub signature: HandshakeSignature,
    /// Sign webhooks with a wrong token.
    pub bad_webhook_signature: bool,
    /// Send every callback twice.
    pub duplicate_callbacks: bool,
    /// Send status callbacks in reverse order of their `SequenceNumber` where they are close together.
    pub out_of_order_callbacks: bool,
    /// Delay between the TwiML and the media socket.
    pub connect_delay: Duration,
}

impl Default for Impairments {
    fn default() -> Self {
        Self {
            frame_bytes: 160,
            gaps: Vec::new(),
            bursts: Vec::new(),
            no_sequence_number: false,
            malformed: Vec::new(),
            slow_reader: None,
            hang_up: HangUpStyle::default(),
            signature: HandshakeSignature::default(),
            bad_webhook_signature: false,
            duplicate_callbacks: false,
            out_of_order_callbacks: false,
            connect_delay: Duration::ZERO,
        }
    }
}

//! Sounds that tell who makes them, so that no recogniser is needed: the patient's utterances and the agents' replies
//! carry their number in the bytes of the mu-law itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::LazyLock;

/// Length of a step of the simulation and of a frame of the phone.
pub(super) const STEP_MS: u64 = 100;
const FRAME_BYTES: usize = 800;
/// Utterances that can be told apart.
const VOICES: usize = 40;
/// Loud mu-law codes from here on are an utterance's.
const VOICE_CODE: u8 = 0x04;
/// Codes from here on are a reply's.
const REPLY_CODE: u8 = 0x40;
const REPLIES: u64 = 56;

static FRAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let voice = |n: usize| {
        let code = VOICE_CODE + n as u8;
        let wave = |i: usize| if (i / 4).is_multiple_of(2) { code } else { code | 0x80 };
        STANDARD.encode((0..FRAME_BYTES).map(wave).collect::<Vec<u8>>())
    };
    (0..VOICES).map(voice).collect()
});
static SILENCE: LazyLock<String> = LazyLock::new(|| STANDARD.encode([0xFF_u8; FRAME_BYTES]));

/// A frame of the patient's utterance of this number, or of silence, as base64.
pub(super) fn frame(utterance: Option<usize>) -> &'static str {
    utterance.and_then(|n| FRAMES.get(n % VOICES)).unwrap_or(&SILENCE)
}

/// The utterance that is in this base64, if it is one; numbers repeat after [`VOICES`].
pub(super) fn utterance_in(base64: &str) -> Option<usize> {
    if base64.bytes().take(64).all(|b| b == b'/') && base64.bytes().rev().take(64).all(|b| b == b'/' || b == b'=') {
        return None;
    }
    let bytes = STANDARD.decode(base64).ok()?;
    let loud = bytes.iter().step_by(4).find(|b| (VOICE_CODE..VOICE_CODE + VOICES as u8).contains(&(**b & 0x7F)));
    loud.map(|b| usize::from((b & 0x7F) - VOICE_CODE))
}

/// Whether utterance `number` sounds as `heard`.
pub(super) fn is_utterance(number: usize, heard: usize) -> bool {
    number % VOICES == heard
}

/// The byte of which the reply `number` consists.
pub(super) fn reply_byte(number: u64) -> u8 {
    REPLY_CODE + (number % REPLIES) as u8
}

/// `ms` of a reply as base64.
pub(super) fn reply(byte: u8, ms: u64) -> String {
    STANDARD.encode(vec![byte; ms as usize * 8])
}

/// What a piece of audio for the phone is: its length in milliseconds, and the reply's byte unless it is something else.
pub(super) fn piece(base64: &str) -> (u64, Option<u8>) {
    let bytes = base64.len() / 4 * 3;
    let padding = base64.bytes().rev().take(2).filter(|b| *b == b'=').count();
    let first = base64.get(..8).and_then(|head| STANDARD.decode(head).ok()).unwrap_or_default();
    let byte = first
        .first()
        .copied()
        .filter(|byte| first.iter().all(|b| b == byte) && (REPLY_CODE..REPLY_CODE + REPLIES as u8).contains(byte));
    ((bytes - padding.min(bytes)) as u64 / 8, byte)
}

/// How long words take to be said.
pub(super) fn spoken_ms(text: &str) -> u64 {
    (text.chars().count() as u64 * 62).clamp(600, 20_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_say_whose_they_are() {
        assert_eq!(utterance_in(frame(None)), None);
        assert_eq!(utterance_in(frame(Some(3))), Some(3));
        assert!(is_utterance(43, 3));
        assert_eq!(piece(&reply(reply_byte(7), 100)), (100, Some(reply_byte(7))));
        assert_eq!(piece(frame(Some(1))).1, None);
    }
}

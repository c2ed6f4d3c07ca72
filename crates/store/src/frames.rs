//! Frames of a recording and their bytes.
//!
//! A record is one tag byte and then numbers as LEB128 (seven bits a byte, low bits first) and audio as a length and
//! that many bytes:
//!
//! | tag | record | fields |
//! |---|---|---|
//! | 0 | end of recording | none; nothing follows |
//! | 1 | patient | position in samples, arrival in microseconds, length, bytes |
//! | 2 | agent | start of playback in microseconds, length, bytes |
//! | 3 | agent cleared | time in microseconds |

/// Bytes of audio in one frame, at most: over two minutes, far more than any peer sends at once.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// Bytes a frame's record takes beside its audio, at most: a tag and three numbers.
pub(crate) const MAX_FRAME_OVERHEAD: usize = 1 + 3 * MAX_NUMBER_BYTES;

/// Bytes of a `u64` as LEB128.
const MAX_NUMBER_BYTES: usize = 10;
const TAG_END: u8 = 0;
const TAG_PATIENT: u8 = 1;
const TAG_AGENT: u8 = 2;
const TAG_CLEARED: u8 = 3;

/// One thing that was heard or played. Audio is mu-law at 8 kHz, bit for bit as it was on the wire. Microseconds count
/// from the beginning of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Audio from the patient.
    Patient {
        /// Its place on the patient's track, in samples.
        position_samples: u64,
        /// When it arrived.
        arrived_us: u64,
        /// The audio, of any length up to [`MAX_FRAME_BYTES`].
        ulaw: &'a [u8],
    },
    /// Audio of the agent that was sent to the phone.
    Agent {
        /// When it begins to play.
        play_at_us: u64,
        /// The audio, of any length up to [`MAX_FRAME_BYTES`].
        ulaw: &'a [u8],
    },
    /// The phone was told to drop what it had not played yet.
    AgentCleared {
        /// When playback was cut.
        at_us: u64,
    },
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Frame(Frame<'a>),
    End,
}

impl Frame<'_> {
    /// Appends the frame's record; allocates only if `out` lacks room.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Frame::Patient { position_samples, arrived_us, ulaw } => {
                out.push(TAG_PATIENT);
                put_number(out, position_samples);
                put_number(out, arrived_us);
                put_bytes(out, ulaw);
            }
            Frame::Agent { play_at_us, ulaw } => {
                out.push(TAG_AGENT);
                put_number(out, play_at_us);
                put_bytes(out, ulaw);
            }
            Frame::AgentCleared { at_us } => {
                out.push(TAG_CLEARED);
                put_number(out, at_us);
            }
        }
    }

    /// Bytes of audio.
    pub(crate) fn audio_len(&self) -> usize {
        match self {
            Frame::Patient { ulaw, .. } | Frame::Agent { ulaw, .. } => ulaw.len(),
            Frame::AgentCleared { .. } => 0,
        }
    }
}

pub(crate) fn encode_end(out: &mut Vec<u8>) {
    out.push(TAG_END);
}

/// Reads the first record of `bytes` and what follows it; `None` when that is not a record.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (tag, mut rest) = bytes.split_first()?;
    let record = match *tag {
        TAG_END => Record::End,
        TAG_PATIENT => {
            let position_samples = take_number(&mut rest)?;
            let arrived_us = take_number(&mut rest)?;
            Record::Frame(Frame::Patient { position_samples, arrived_us, ulaw: take_bytes(&mut rest)? })
        }
        TAG_AGENT => {
            let play_at_us = take_number(&mut rest)?;
            Record::Frame(Frame::Agent { play_at_us, ulaw: take_bytes(&mut rest)? })
        }
        TAG_CLEARED => Record::Frame(Frame::AgentCleared { at_us: take_number(&mut rest)? }),
        _ => return None,
    };
    Some((record, rest))
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for index in 0..MAX_NUMBER_BYTES {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        // The tenth byte has room for one bit only.
        if shifted >> (7 * index) != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    if length > MAX_FRAME_BYTES {
        return None;
    }
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn frame_of(kind: u8, a: u64, b: u64, ulaw: &[u8]) -> Frame<'_> {
        match kind {
            0 => Frame::Patient { position_samples: a, arrived_us: b, ulaw },
            1 => Frame::Agent { play_at_us: a, ulaw },
            _ => Frame::AgentCleared { at_us: a },
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            parts in prop::collection::vec((0u8..3, any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20)
        ) {
            let mut bytes = Vec::new();
            for (kind, a, b, ulaw) in &parts {
                let frame = frame_of(*kind, *a, *b, ulaw);
                let before = bytes.len();
                frame.encode(&mut bytes);
                prop_assert!(bytes.len() - before <= frame.audio_len() + MAX_FRAME_OVERHEAD);
            }
            encode_end(&mut bytes);
            let mut rest = bytes.as_slice();
            for (kind, a, b, ulaw) in &parts {
                let (record, after) = decode(rest).unwrap();
                prop_assert_eq!(record, Record::Frame(frame_of(*kind, *a, *b, ulaw)));
                rest = after;
            }
            prop_assert_eq!(decode(rest), Some((Record::End, &[][..])));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((Record::Frame(frame), rest)) = decode(&bytes) {
                prop_assert!(rest.len() < bytes.len());
                prop_assert!(frame.audio_len() <= bytes.len());
            }
        }

        #[test]
        fn a_cut_record_is_refused(a: u64, b: u64, ulaw in prop::collection::vec(any::<u8>(), 0..50), kind in 0u8..3) {
            let mut bytes = Vec::new();
            frame_of(kind, a, b, &ulaw).encode(&mut bytes);
            for length in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..length]), None);
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let too_large = [TAG_CLEARED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(decode(&too_large), None);
        assert_eq!(decode(&[TAG_CLEARED, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(decode(&[4]), None);
    }
}

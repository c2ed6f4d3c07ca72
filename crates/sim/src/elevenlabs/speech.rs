//! Audio formats of the agents service, conversion to and from mu-law, and the cutting of speech into chunks.

use crate::rng::Rng;
use voice::Resampler;
use voice::g711::{ulaw_decode, ulaw_encode};

/// An audio format an agent can be set to, by its ElevenLabs name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum AudioFormat {
    #[default]
    Ulaw8000,
    Pcm8000,
    Pcm16000,
    Pcm22050,
    Pcm24000,
    Pcm44100,
    Pcm48000,
}

const ALL: [(AudioFormat, &str, u32); 7] = [
    (AudioFormat::Ulaw8000, "ulaw_8000", 8_000),
    (AudioFormat::Pcm8000, "pcm_8000", 8_000),
    (AudioFormat::Pcm16000, "pcm_16000", 16_000),
    (AudioFormat::Pcm22050, "pcm_22050", 22_050),
    (AudioFormat::Pcm24000, "pcm_24000", 24_000),
    (AudioFormat::Pcm44100, "pcm_44100", 44_100),
    (AudioFormat::Pcm48000, "pcm_48000", 48_000),
];

impl AudioFormat {
    /// The format with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, n, _)| *n == name).map(|(format, _, _)| *format)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(f, _, _)| *f == self).map_or("ulaw_8000", |(_, name, _)| name)
    }

    /// All names.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        ALL.iter().map(|(_, name, _)| *name).collect()
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(self) -> u32 {
        ALL.iter().find(|(f, _, _)| *f == self).map_or(8_000, |(_, _, rate)| *rate)
    }

    /// Bytes per sample.
    #[must_use]
    pub fn sample_bytes(self) -> usize {
        if self == Self::Ulaw8000 { 1 } else { 2 }
    }

    /// Bytes that last `ms`, a whole number of samples.
    #[must_use]
    pub fn bytes_for(self, ms: u64) -> usize {
        (ms * u64::from(self.rate()) / 1_000) as usize * self.sample_bytes()
    }

    /// How long `bytes` last, in milliseconds.
    #[must_use]
    pub fn duration_ms(self, bytes: usize) -> u64 {
        (bytes / self.sample_bytes()) as u64 * 1_000 / u64::from(self.rate())
    }

    /// `ms` of silence.
    #[must_use]
    pub fn silence(self, ms: u64) -> Vec<u8> {
        vec![if self == Self::Ulaw8000 { 0xFF } else { 0 }; self.bytes_for(ms)]
    }

    /// A whole utterance in mu-law, converted to this format.
    #[must_use]
    pub fn from_ulaw(self, ulaw: &[u8]) -> Vec<u8> {
        if self == Self::Ulaw8000 {
            return ulaw.to_vec();
        }
        let samples: Vec<i16> = ulaw.iter().map(|&b| ulaw_decode(b)).collect();
        let mut out = Vec::new();
        match Resampler::new(8_000, self.rate()) {
            Ok(mut resampler) => {
                resampler.process(&samples, &mut out);
                resampler.flush(&mut out);
            }
            Err(_) => out = samples,
        }
        out.into_iter().flat_map(i16::to_le_bytes).collect()
    }
}

/// Converts incoming caller audio to mu-law, keeping state between chunks.
#[derive(Debug)]
pub struct ToUlaw {
    format: AudioFormat,
    resampler: Option<Resampler>,
    half: Option<u8>,
}

impl ToUlaw {
    /// A converter from `format`.
    #[must_use]
    pub fn new(format: AudioFormat) -> Self {
        Self { format, resampler: Resampler::new(format.rate(), 8_000).ok(), half: None }
    }

    /// The next bytes as mu-law.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.format == AudioFormat::Ulaw8000 {
            return bytes.to_vec();
        }
        let joined: Vec<u8> = self.half.take().into_iter().chain(bytes.iter().copied()).collect();
        let pairs = joined.chunks_exact(2);
        self.half = pairs.remainder().first().copied();
        let samples: Vec<i16> = pairs.filter_map(|p| p.try_into().ok().map(i16::from_le_bytes)).collect();
        let mut out = Vec::new();
        match &mut self.resampler {
            Some(resampler) => resampler.process(&samples, &mut out),
            None => out = samples,
        }
        out.into_iter().map(ulaw_encode).collect()
    }
}

/// A piece of an utterance: when to send it after the first, and the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Milliseconds after the first chunk.
    pub due_ms: u64,
    /// The audio, in the agent's format.
    pub bytes: Vec<u8>,
}

/// Cuts an utterance into chunks of varying length. They are due ten times faster than they are spoken, or, with
/// `trickle`, about as fast as they are spoken, unevenly.
#[must_use]
pub fn cut(audio: &[u8], format: AudioFormat, trickle: bool, rng: &mut Rng) -> Vec<Chunk> {
    let (mut rest, mut at_ms, mut last_due, mut chunks) = (audio, 0, 0, Vec::new());
    while !rest.is_empty() {
        let ms = if trickle { rng.between(20, 120) } else { rng.between(60, 400) };
        let (bytes, after) = rest.split_at(format.bytes_for(ms).clamp(1, rest.len()));
        let due_ms = if trickle {
            // Never late by more than the jitter, but sometimes a quarter of a second comes at once.
            let stall = if rng.chance(0.08) { 250 } else { 0 };
            (at_ms + rng.between(0, 60) + stall).max(last_due)
        } else {
            at_ms / 10
        };
        last_due = due_ms;
        chunks.push(Chunk { due_ms, bytes: bytes.to_vec() });
        at_ms += ms;
        rest = after;
    }
    chunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn formats_convert_there_and_back() {
        let clip = crate::assets::clip("patient_yes").unwrap();
        for (format, ..) in ALL {
            let there = format.from_ulaw(&clip.ulaw);
            assert_eq!(there.len() % format.sample_bytes(), 0);
            assert!(format.duration_ms(there.len()).abs_diff(clip.duration_ms()) <= 2, "{format:?}");
            let mut back = ToUlaw::new(format);
            // Chunks of an odd number of bytes must not break samples apart.
            let ulaw: Vec<u8> = there.chunks(333).flat_map(|part| back.push(part)).collect();
            assert!(ulaw.len().abs_diff(clip.ulaw.len()) <= 64, "{format:?}");
            if format.rate() == 8_000 {
                assert_eq!(ulaw, clip.ulaw.as_ref());
            }
        }
    }

    #[test]
    fn chunks_are_the_whole_utterance_faster_than_real_time() {
        let audio = vec![7_u8; 40_000];
        let chunks = cut(&audio, AudioFormat::Ulaw8000, false, &mut Rng::new(4));
        assert_eq!(chunks.iter().map(|c| c.bytes.len()).sum::<usize>(), audio.len());
        assert!(chunks.last().unwrap().due_ms <= 500);
        assert!(chunks.iter().any(|c| c.bytes.len() != chunks[0].bytes.len()));
        let slow = cut(&audio, AudioFormat::Ulaw8000, true, &mut Rng::new(4));
        assert!((4_500..6_000).contains(&slow.last().unwrap().due_ms));
        assert!(slow.windows(2).all(|w| w[0].due_ms <= w[1].due_ms));
    }
}

//! Audio between the telephone's format and the agent's.

use super::TELEPHONE;
use crate::agent::AudioFormat;
use voice::g711;
use voice::resample::Resampler;

/// Sample rate of a telephone.
const TELEPHONE_HZ: u32 = 8_000;

/// One direction of audio between the telephone's format and the agent's, with its state across chunks.
#[derive(Debug)]
pub(super) struct Transcode {
    format: AudioFormat,
    resampler: Option<Resampler>,
    /// First byte of a 16-bit sample whose second byte has not come yet.
    half_sample: Option<u8>,
    samples: Vec<i16>,
    resampled: Vec<i16>,
}

impl Transcode {
    pub(super) fn none() -> Self {
        Self { format: TELEPHONE, resampler: None, half_sample: None, samples: Vec::new(), resampled: Vec::new() }
    }

    /// From telephone audio to what the agent hears.
    pub(super) fn to_agent(format: AudioFormat) -> Option<Self> {
        Self::between(format, |agent, phone| (phone, agent))
    }

    /// From what the agent says to telephone audio.
    pub(super) fn from_agent(format: AudioFormat) -> Option<Self> {
        Self::between(format, |agent, phone| (agent, phone))
    }

    fn between(format: AudioFormat, direction: impl Fn(u32, u32) -> (u32, u32)) -> Option<Self> {
        let resampler = match format {
            AudioFormat::Pcm16 { rate } if rate != TELEPHONE_HZ => {
                let (from, to) = direction(rate, TELEPHONE_HZ);
                Some(Resampler::new(from, to).ok()?)
            }
            _ => None,
        };
        Some(Self { format, resampler, ..Self::none() })
    }

    /// What `self.samples` are at the rate of the other side.
    fn resample(&mut self) -> &[i16] {
        match &mut self.resampler {
            Some(resampler) => {
                self.resampled.clear();
                resampler.process(&self.samples, &mut self.resampled);
                &self.resampled
            }
            None => &self.samples,
        }
    }

    /// Mu-law in, the agent's bytes out.
    pub(super) fn encode(&mut self, ulaw: &[u8], out: &mut Vec<u8>) {
        if self.format == AudioFormat::Ulaw8000 {
            out.extend_from_slice(ulaw);
            return;
        }
        self.samples.clear();
        self.samples.extend(ulaw.iter().map(|byte| g711::ulaw_decode(*byte)));
        out.extend(self.resample().iter().flat_map(|sample| sample.to_le_bytes()));
    }

    /// The agent's bytes in, mu-law out.
    pub(super) fn decode(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.format == AudioFormat::Ulaw8000 {
            return bytes;
        }
        self.samples.clear();
        let mut rest = bytes.as_slice();
        if let Some(low) = self.half_sample.take() {
            if let Some((high, tail)) = rest.split_first() {
                self.samples.push(i16::from_le_bytes([low, *high]));
                rest = tail;
            } else {
                self.half_sample = Some(low);
            }
        }
        let pairs = rest.chunks_exact(2);
        self.half_sample = self.half_sample.or(pairs.remainder().first().copied());
        self.samples.extend(pairs.map(|pair| match pair {
            [low, high] => i16::from_le_bytes([*low, *high]),
            _ => 0,
        }));
        self.resample().iter().map(|sample| g711::ulaw_encode(*sample)).collect()
    }

    /// A reply begins: half a sample left over from the one before must not shift all of its samples into noise.
    pub(super) fn begin_reply(&mut self) {
        self.half_sample = None;
    }

    /// Forgets what is still inside, so that nothing of an interrupted reply comes out with the next.
    pub(super) fn reset(&mut self) {
        self.half_sample = None;
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
    }
}

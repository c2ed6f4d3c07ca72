//! WAV files: a tolerant reader of what recorders really write, and two small writers.
//!
//! [`Wav::parse`] reads a file that is in memory. For a file that is too large for that, [`WavScanner`] finds out from
//! a few headers where its audio lies, and [`WavLayout`] decodes any part of it; neither of them touches the file
//! itself, whoever holds it does.

mod layout;

pub use layout::{WavLayout, WavScanner};

use crate::units::SampleRate;

const TAG_PCM: u16 = 0x0001;
const TAG_FLOAT: u16 = 0x0003;
const TAG_ALAW: u16 = 0x0006;
const TAG_ULAW: u16 = 0x0007;
const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// Most samples per channel that are read: two hours at 8 kHz, one at 16 kHz, 480 MB of memory.
pub const MAX_SAMPLES: usize = 60_000_000;

/// Why bytes were not accepted as a WAV file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// The bytes do not start with `RIFF....WAVE`.
    #[error("not a WAV file: it does not start with RIFF and WAVE")]
    NotWav,
    /// The file ends inside a header or before any chunk that is needed.
    #[error("the WAV file is cut off: it ends inside {0}")]
    Truncated(&'static str),
    /// No `fmt ` chunk came before the audio.
    #[error("the WAV file has no format chunk before its audio")]
    NoFormat,
    /// There is no `data` chunk.
    #[error("the WAV file has no data chunk")]
    NoData,
    /// The `data` chunk holds not even one sample.
    #[error("the WAV file holds no audio")]
    Empty,
    /// The header says there are no channels.
    #[error("the WAV file says it has 0 channels")]
    NoChannels,
    /// The sample rate is outside the range of [`SampleRate`].
    #[error("the WAV file says its sample rate is {0} Hz; 4000 to 384000 Hz is supported")]
    SampleRate(u32),
    /// A format that is not PCM, float, mu-law or A-law, or has an unusual width.
    #[error("WAV format {tag:#06x} with {bits} bits per sample is not supported")]
    Unsupported {
        /// Format tag, resolved through `WAVE_FORMAT_EXTENSIBLE`.
        tag: u16,
        /// Bits per sample as written in the header.
        bits: u16,
    },
    /// There are more than [`MAX_SAMPLES`] samples per channel.
    #[error("the WAV file is too long: {samples} samples per channel, at most 60000000 are read")]
    TooLong {
        /// Samples per channel in the file.
        samples: usize,
    },
    /// A float sample is infinite or not a number.
    #[error("sample {0} of the WAV file is not a finite number")]
    NotFinite(usize),
}

/// The first channel of a WAV file.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav {
    /// Samples per second.
    pub sample_rate: SampleRate,
    /// Number of channels in the file; only the first is kept.
    pub channels: u16,
    /// First channel; integers are divided by their full scale, so -1..1 (floats are as written).
    pub samples: Vec<f64>,
}

impl Wav {
    /// Reads a WAV file: PCM of 8, 16, 24 or 32 bits, float of 32 or 64, mu-law or A-law, plain
    /// or `WAVE_FORMAT_EXTENSIBLE`.
    ///
    /// A data chunk that claims more than there is (streamed files write `0xFFFFFFFF`) yields
    /// what is there. Memory is bounded: at most 8 bytes per input byte and 8 per [`MAX_SAMPLES`].
    ///
    /// # Errors
    /// A [`WavError`] naming what is wrong; no input makes it panic.
    pub fn parse(bytes: &[u8]) -> Result<Self, WavError> {
        let layout = WavLayout::find(bytes)?;
        let count = usize::try_from(layout.samples()).unwrap_or(usize::MAX);
        if count > MAX_SAMPLES {
            return Err(WavError::TooLong { samples: count });
        }
        let mut samples = Vec::with_capacity(count);
        let (from, to) = layout.bytes_of(0, layout.samples());
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        layout.decode(bytes.get(place(from)..place(to)).unwrap_or_default(), 0, &mut samples)?;
        Ok(Self { sample_rate: layout.sample_rate(), channels: layout.channels(), samples })
    }
}

/// Makes a mono 16-bit PCM WAV file.
#[must_use]
pub fn write_pcm16(samples: &[i16], rate: u32) -> Vec<u8> {
    let mut out = header(TAG_PCM, 16, rate, samples.len() * 2);
    out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    out
}

/// Makes a mono mu-law WAV file from raw mu-law bytes.
#[must_use]
pub fn write_ulaw(bytes: &[u8], rate: u32) -> Vec<u8> {
    let mut out = header(TAG_ULAW, 8, rate, bytes.len());
    out.extend_from_slice(bytes);
    if bytes.len() % 2 == 1 {
        out.push(0);
    }
    out
}

/// The header of a mono file; sizes beyond 4 GiB saturate, as streaming writers do.
fn header(tag: u16, bits: u16, rate: u32, data_len: usize) -> Vec<u8> {
    // Anything but PCM carries an extension size and a `fact` chunk with the sample count.
    let plain = tag == TAG_PCM;
    let fmt_len: u32 = if plain { 16 } else { 18 };
    let width = bits / 8;
    let data = u32::try_from(data_len).unwrap_or(u32::MAX);
    let around = 4 + 8 + fmt_len + if plain { 0 } else { 12 } + 8 + (data & 1);
    let mut out = Vec::with_capacity(data_len.saturating_add(64));
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&data.saturating_add(around).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&fmt_len.to_le_bytes());
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&rate.saturating_mul(u32::from(width)).to_le_bytes());
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&bits.to_le_bytes());
    if !plain {
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(b"fact");
        out.extend_from_slice(&4_u32.to_le_bytes());
        out.extend_from_slice(&(data / u32::from(width)).to_le_bytes());
    }
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    out
}

#[cfg(test)]
#[path = "wav_tests.rs"]
mod tests;

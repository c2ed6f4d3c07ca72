//! WAV files in memory: a tolerant reader of what recorders really write, and two small writers.

use crate::g711;
use crate::units::SampleRate;

const TAG_PCM: u16 = 0x0001;
const TAG_FLOAT: u16 = 0x0003;
const TAG_ALAW: u16 = 0x0006;
const TAG_ULAW: u16 = 0x0007;
const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// Tail of every `SubFormat` GUID whose first two bytes are an ordinary format tag
/// (Microsoft, multichannel WAVE format definition).
const GUID_TAIL: [u8; 14] = [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71];

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
        if bytes.len() < 12 {
            return Err(if bytes.starts_with(b"RIFF") {
                WavError::Truncated("the RIFF header")
            } else {
                WavError::NotWav
            });
        }
        if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WAVE".as_slice()) {
            return Err(WavError::NotWav);
        }
        let mut format = None;
        let mut rest = bytes.get(12..).unwrap_or_default();
        while let Some((id, claimed, body)) = next_chunk(rest) {
            let size = usize::try_from(claimed).unwrap_or(usize::MAX);
            let content = body.get(..size).unwrap_or(body);
            match id {
                b"fmt " => {
                    if content.len() < size {
                        return Err(WavError::Truncated("the format chunk"));
                    }
                    format = Some(Format::parse(content)?);
                }
                b"data" => return format.ok_or(WavError::NoFormat)?.decode(content),
                _ => {}
            }
            // Chunks are padded to an even length.
            let step = size.saturating_add(size & 1);
            rest = body.get(step..).unwrap_or_default();
        }
        if rest.is_empty() || format.is_some() {
            Err(if format.is_some() { WavError::NoData } else { WavError::NoFormat })
        } else {
            Err(WavError::Truncated("a chunk header"))
        }
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

fn next_chunk(rest: &[u8]) -> Option<(&[u8; 4], u32, &[u8])> {
    let (id, after) = rest.split_first_chunk::<4>()?;
    let (size, body) = after.split_first_chunk::<4>()?;
    Some((id, u32::from_le_bytes(*size), body))
}

/// How one sample is stored.
#[derive(Debug, Clone, Copy)]
enum Coding {
    Unsigned8,
    Signed(usize),
    Float32,
    Float64,
    Ulaw,
    Alaw,
}

#[derive(Debug, Clone, Copy)]
struct Format {
    coding: Coding,
    channels: u16,
    sample_rate: SampleRate,
    /// Bytes from one sample of the first channel to the next.
    stride: usize,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, WavError> {
        let cut = WavError::Truncated("the format chunk");
        let mut tag = u16_at(chunk, 0).ok_or_else(|| cut.clone())?;
        let channels = u16_at(chunk, 2).ok_or_else(|| cut.clone())?;
        let rate = u32_at(chunk, 4).ok_or_else(|| cut.clone())?;
        let align = u16_at(chunk, 12).ok_or_else(|| cut.clone())?;
        let bits = u16_at(chunk, 14).ok_or_else(|| cut.clone())?;
        if tag == TAG_EXTENSIBLE {
            let guid = chunk.get(24..40).ok_or(cut)?;
            if guid.get(2..) == Some(GUID_TAIL.as_slice()) {
                tag = u16_at(guid, 0).unwrap_or(TAG_EXTENSIBLE);
            }
        }
        if channels == 0 {
            return Err(WavError::NoChannels);
        }
        let sample_rate = SampleRate::new(rate).ok_or(WavError::SampleRate(rate))?;
        // A width of 12 or 20 bits is stored left-justified in whole bytes.
        let coding = match (tag, bits) {
            (TAG_PCM, 1..=8) => Coding::Unsigned8,
            (TAG_PCM, 9..=32) => Coding::Signed(usize::from(bits.div_ceil(8))),
            (TAG_FLOAT, 32) => Coding::Float32,
            (TAG_FLOAT, 64) => Coding::Float64,
            (TAG_ULAW, 8) => Coding::Ulaw,
            (TAG_ALAW, 8) => Coding::Alaw,
            _ => return Err(WavError::Unsupported { tag, bits }),
        };
        let packed = coding.width() * usize::from(channels);
        // Some writers leave the block size 0 or wrong; it can only be larger than the samples.
        let stride = usize::from(align).max(packed);
        Ok(Self { coding, channels, sample_rate, stride })
    }

    fn decode(self, data: &[u8]) -> Result<Wav, WavError> {
        let width = self.coding.width();
        let frames = data.len() / self.stride;
        if frames > MAX_SAMPLES {
            return Err(WavError::TooLong { samples: frames });
        }
        let samples: Vec<f64> = data
            .chunks(self.stride)
            .filter_map(|frame| frame.get(..width))
            .map(|sample| self.coding.decode(sample))
            .collect();
        if samples.is_empty() {
            return Err(WavError::Empty);
        }
        if let Some(bad) = samples.iter().position(|s| !s.is_finite()) {
            return Err(WavError::NotFinite(bad));
        }
        Ok(Wav { sample_rate: self.sample_rate, channels: self.channels, samples })
    }
}

impl Coding {
    const fn width(self) -> usize {
        match self {
            Self::Unsigned8 | Self::Ulaw | Self::Alaw => 1,
            Self::Signed(width) => width,
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> f64 {
        match self {
            Self::Unsigned8 => (f64::from(first(bytes)) - 128.0) / 128.0,
            Self::Ulaw => f64::from(g711::ulaw_decode(first(bytes))) / g711::FULL_SCALE,
            Self::Alaw => f64::from(g711::alaw_decode(first(bytes))) / g711::FULL_SCALE,
            Self::Signed(_) => {
                // Placing the bytes at the top of an i32 extends the sign for every width.
                let mut wide = [0_u8; 4];
                for (to, from) in wide.iter_mut().rev().zip(bytes.iter().rev()) {
                    *to = *from;
                }
                f64::from(i32::from_le_bytes(wide)) / 2_147_483_648.0
            }
            Self::Float32 => bytes.first_chunk::<4>().map_or(0.0, |b| f64::from(f32::from_le_bytes(*b))),
            Self::Float64 => bytes.first_chunk::<8>().map_or(0.0, |b| f64::from_le_bytes(*b)),
        }
    }
}

fn first(bytes: &[u8]) -> u8 {
    bytes.first().copied().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let tail = bytes.get(at..)?;
    tail.first_chunk::<2>().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let tail = bytes.get(at..)?;
    tail.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
#[path = "wav_tests.rs"]
mod tests;

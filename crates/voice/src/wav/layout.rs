//! Where the audio of a WAV file lies and how it is stored, found from its headers alone.
//!
//! A WAV file is a row of chunks, each a name, a size and that many bytes; `fmt ` says how samples are stored and
//! `data` holds them. [`WavScanner`] walks from header to header: it says which bytes it wants to see next and is given
//! them, so hours of audio cost a few dozen bytes of reading. Files beyond 4 GiB (`RF64`, EBU Tech 3306) are walked
//! the same way; their sizes stand in a chunk of their own.

use super::{TAG_ALAW, TAG_EXTENSIBLE, TAG_FLOAT, TAG_PCM, TAG_ULAW, WavError};
use crate::g711;
use crate::units::SampleRate;

/// Tail of every `SubFormat` GUID whose first two bytes are an ordinary format tag
/// (Microsoft, multichannel WAVE format definition).
pub(super) const GUID_TAIL: [u8; 14] =
    [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71];

const RIFF_HEADER: u64 = 12;
const CHUNK_HEADER: u64 = 8;

/// Bytes of a format chunk that are looked at: all of `WAVE_FORMAT_EXTENSIBLE`.
const FORMAT_BYTES: u64 = 40;
/// Bytes of the size chunk of an RF64 file that are looked at: the sizes of the file and of its audio.
const SIZES_BYTES: u64 = 16;

/// Most chunks that are walked over in search of the audio. Real files have a handful; without a limit a file full of
/// empty chunks would be read 8 bytes at a time.
const MAX_CHUNKS: u32 = 10_000;

/// Sizes from here on are what programs write that do not know the size yet, such as recorders into a pipe.
const UNKNOWN_SIZE: u64 = 0x7FFF_0000;

/// Walks over the headers of a WAV file.
///
/// Ask [`WavScanner::wants`] for a place and a length, read there (the end of the file may cut it short), hand the
/// bytes to [`WavScanner::take`], and so on until that gives a [`WavLayout`].
#[derive(Debug, Clone)]
pub struct WavScanner {
    file_bytes: u64,
    at: u64,
    next: Next,
    format: Option<Format>,
    /// Size of the audio from an RF64 file's own chunk.
    long_size: Option<u64>,
    chunks: u32,
}

/// What stands at the scanner's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Riff,
    Chunk,
    Format(u64),
    Sizes(u64),
}

impl WavScanner {
    /// A scanner of a file of so many bytes.
    #[must_use]
    pub fn new(file_bytes: u64) -> Self {
        Self { file_bytes, at: 0, next: Next::Riff, format: None, long_size: None, chunks: 0 }
    }

    /// The place in the file and the number of bytes wanted next, cut to what the file has.
    #[must_use]
    pub fn wants(&self) -> (u64, usize) {
        let count = match self.next {
            Next::Riff => RIFF_HEADER,
            Next::Chunk => CHUNK_HEADER,
            Next::Format(size) => size.min(FORMAT_BYTES),
            Next::Sizes(size) => size.min(SIZES_BYTES),
        };
        (self.at, count.min(self.left()) as usize)
    }

    /// Takes the bytes that were wanted; `Some` when the audio was found.
    ///
    /// # Errors
    /// A [`WavError`] naming what is wrong with the file.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<WavLayout>, WavError> {
        match self.next {
            Next::Riff => self.riff(bytes)?,
            Next::Chunk => return self.chunk(bytes),
            Next::Format(size) => {
                if self.left() < size {
                    return Err(WavError::Truncated("the format chunk"));
                }
                self.format = Some(Format::parse(bytes)?);
                self.skip(size);
            }
            Next::Sizes(size) => {
                self.long_size =
                    bytes.get(8..).and_then(|tail| tail.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b));
                self.skip(size);
            }
        }
        Ok(None)
    }

    fn riff(&mut self, bytes: &[u8]) -> Result<(), WavError> {
        let named = [b"RIFF", b"RF64", b"BW64"].iter().any(|name| bytes.starts_with(*name));
        if !named {
            return Err(WavError::NotWav);
        }
        if (bytes.len() as u64) < RIFF_HEADER {
            return Err(WavError::Truncated("the RIFF header"));
        }
        if bytes.get(8..12) != Some(b"WAVE".as_slice()) {
            return Err(WavError::NotWav);
        }
        self.at = RIFF_HEADER;
        self.next = Next::Chunk;
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<Option<WavLayout>, WavError> {
        self.chunks += 1;
        let header = bytes.split_first_chunk::<4>().and_then(|(id, rest)| Some((id, rest.first_chunk::<4>()?)));
        let Some((id, size)) = header.filter(|_| self.chunks <= MAX_CHUNKS) else {
            return Err(match &self.format {
                Some(_) => WavError::NoData,
                None if bytes.is_empty() || self.chunks > MAX_CHUNKS => WavError::NoFormat,
                None => WavError::Truncated("a chunk header"),
            });
        };
        let claimed = u64::from(u32::from_le_bytes(*size));
        self.at += CHUNK_HEADER;
        match id {
            b"fmt " => self.next = Next::Format(claimed),
            b"ds64" => self.next = Next::Sizes(claimed),
            b"data" => {
                // The largest size stands for one that does not fit, or was not known.
                let unbounded = claimed == u64::from(u32::MAX);
                let claimed = if unbounded { self.long_size.unwrap_or_else(|| self.left()) } else { claimed };
                let format = self.format.ok_or(WavError::NoFormat)?;
                return WavLayout::new(format, self.at, claimed, self.left()).map(Some);
            }
            _ => self.skip(claimed),
        }
        Ok(None)
    }

    /// Goes to the next chunk header; chunks are padded to an even length.
    fn skip(&mut self, size: u64) {
        self.at = self.at.saturating_add(size).saturating_add(size & 1).min(self.file_bytes);
        self.next = Next::Chunk;
    }

    fn left(&self) -> u64 {
        self.file_bytes.saturating_sub(self.at)
    }
}

/// Where the audio of a WAV file lies and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavLayout {
    format: Format,
    start: u64,
    /// Samples of one channel that the file has, and that its header promises.
    samples: u64,
    promised: u64,
}

impl WavLayout {
    fn new(format: Format, start: u64, claimed: u64, there: u64) -> Result<Self, WavError> {
        let samples = format.samples_in(claimed.min(there));
        if samples == 0 {
            return Err(WavError::Empty);
        }
        let promised = if claimed < UNKNOWN_SIZE || claimed <= there { format.samples_in(claimed) } else { samples };
        Ok(Self { format, start, samples, promised })
    }

    /// Finds the audio of a file in memory.
    pub(super) fn find(bytes: &[u8]) -> Result<Self, WavError> {
        let mut scanner = WavScanner::new(bytes.len() as u64);
        loop {
            let (at, count) = scanner.wants();
            let wanted = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..count)).unwrap_or_default();
            if let Some(layout) = scanner.take(wanted)? {
                return Ok(layout);
            }
        }
    }

    /// Samples per second.
    #[must_use]
    pub fn sample_rate(&self) -> SampleRate {
        self.format.sample_rate
    }

    /// Number of channels in the file.
    #[must_use]
    pub fn channels(&self) -> u16 {
        self.format.channels
    }

    /// Samples of one channel; at least 1.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples of one channel that the header promises but the file does not have: it was cut off. 0 for the sizes that
    /// stand for "not known yet".
    #[must_use]
    pub fn missing_samples(&self) -> u64 {
        self.promised.saturating_sub(self.samples)
    }

    /// First byte and one past the last byte in the file of the samples `from..to`.
    #[must_use]
    pub fn bytes_of(&self, from: u64, to: u64) -> (u64, u64) {
        let (to, stride) = (to.min(self.samples), self.format.stride as u64);
        let from = from.min(to);
        let first = self.start + from * stride;
        // The last frame of a cut file may lack its other channels.
        let end = if to == from { first } else { self.start + (to - 1) * stride + self.format.coding.width() as u64 };
        (first, end)
    }

    /// Bytes from one sample of the first channel to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.format.stride
    }

    /// Decodes the first channel of `bytes`, which begin with sample `first` of the file, and appends it to `out`:
    /// integers divided by their full scale, so -1..1, floats as written.
    ///
    /// # Errors
    /// [`WavError::NotFinite`] with the place in the file; `out` then holds what came before it.
    pub fn decode(&self, bytes: &[u8], first: u64, out: &mut Vec<f64>) -> Result<(), WavError> {
        let Format { coding, stride, .. } = self.format;
        let frames = bytes.chunks(stride).filter_map(|frame| frame.get(..coding.width()));
        for (place, sample) in (first..).zip(frames) {
            let value = coding.decode(sample);
            if !value.is_finite() {
                return Err(WavError::NotFinite(usize::try_from(place).unwrap_or(usize::MAX)));
            }
            out.push(value);
        }
        Ok(())
    }
}

/// How one sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Unsigned8,
    Signed(usize),
    Float32,
    Float64,
    Ulaw,
    Alaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Samples of the first channel in so many bytes of audio.
    fn samples_in(&self, bytes: u64) -> u64 {
        let stride = self.stride as u64;
        bytes / stride + u64::from(bytes % stride >= self.coding.width() as u64)
    }
}

impl Coding {
    fn width(self) -> usize {
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

//! Audio formats a voice agent may use.

use std::fmt;

/// An audio format as named by ElevenLabs (ElevenLabs Agents, Audio).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioFormat {
    /// G.711 mu-law, 8000 Hz, one channel, one byte per sample, no header: what the telephone network carries.
    Ulaw8000,
    /// Signed 16-bit little-endian samples, one channel.
    Pcm16 {
        /// Samples per second: 8000, 16000, 22050, 24000, 44100 or 48000.
        rate: u32,
    },
}

/// The agent uses an audio format this crate cannot convert. A configuration error of the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported audio format")]
pub struct UnsupportedFormat;

impl AudioFormat {
    /// Reads a format name such as `ulaw_8000` or `pcm_16000`.
    ///
    /// # Errors
    /// [`UnsupportedFormat`] for any name not documented.
    pub fn parse(name: &str) -> Result<Self, UnsupportedFormat> {
        match name {
            "ulaw_8000" => Ok(Self::Ulaw8000),
            "pcm_8000" => Ok(Self::Pcm16 { rate: 8_000 }),
            "pcm_16000" => Ok(Self::Pcm16 { rate: 16_000 }),
            "pcm_22050" => Ok(Self::Pcm16 { rate: 22_050 }),
            "pcm_24000" => Ok(Self::Pcm16 { rate: 24_000 }),
            "pcm_44100" => Ok(Self::Pcm16 { rate: 44_100 }),
            "pcm_48000" => Ok(Self::Pcm16 { rate: 48_000 }),
            _ => Err(UnsupportedFormat),
        }
    }

    /// The name on the wire. For a rate [`AudioFormat::parse`] would refuse it is `pcm`, which no peer accepts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ulaw8000 => "ulaw_8000",
            Self::Pcm16 { rate } => match rate {
                8_000 => "pcm_8000",
                16_000 => "pcm_16000",
                22_050 => "pcm_22050",
                24_000 => "pcm_24000",
                44_100 => "pcm_44100",
                48_000 => "pcm_48000",
                _ => "pcm",
            },
        }
    }

    /// Samples per second.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Ulaw8000 => 8_000,
            Self::Pcm16 { rate } => rate,
        }
    }

    /// Bytes per sample.
    #[must_use]
    pub const fn sample_bytes(self) -> usize {
        match self {
            Self::Ulaw8000 => 1,
            Self::Pcm16 { .. } => 2,
        }
    }
}

impl fmt::Display for AudioFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for AudioFormat {
    type Err = UnsupportedFormat;

    fn from_str(name: &str) -> Result<Self, UnsupportedFormat> {
        Self::parse(name)
    }
}

//! Newtypes that carry units, so that a frequency is never mistaken for a level.

use serde::{Deserialize, Serialize};

/// A frequency in hertz.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hz(pub f64);

/// A level or ratio in decibel.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Db(pub f64);

/// A time or duration in seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Hz {
    /// The value in hertz.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Db {
    /// The value in decibel.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Seconds {
    /// The value in seconds.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A sampling frequency in samples per second, known to lie in [`SampleRate::MIN`]..=[`SampleRate::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SampleRate(u32);

impl SampleRate {
    /// Lowest accepted rate: below it not even the second harmonic of a child's voice is left.
    pub const MIN: u32 = 4_000;
    /// Highest accepted rate: twice the fastest studio converter.
    pub const MAX: u32 = 384_000;
    /// The rate of the telephone network.
    pub const TELEPHONE: Self = Self(8_000);

    /// Accepts a rate within the range, or returns `None`.
    #[must_use]
    pub const fn new(rate: u32) -> Option<Self> {
        if rate >= Self::MIN && rate <= Self::MAX { Some(Self(rate)) } else { None }
    }

    /// The rate in samples per second.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The rate as a float, for arithmetic.
    #[must_use]
    pub fn hz(self) -> f64 {
        f64::from(self.0)
    }
}

impl TryFrom<u32> for SampleRate {
    type Error = SampleRateError;

    fn try_from(rate: u32) -> Result<Self, SampleRateError> {
        Self::new(rate).ok_or(SampleRateError(rate))
    }
}

impl From<SampleRate> for u32 {
    fn from(rate: SampleRate) -> Self {
        rate.0
    }
}

/// A sample rate outside the accepted range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sample rate {0} is outside 4000 to 384000 Hz")]
pub struct SampleRateError(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_rate_accepts_only_its_range() {
        assert_eq!(SampleRate::new(3_999), None);
        assert_eq!(SampleRate::new(384_001), None);
        assert_eq!(SampleRate::new(8_000), Some(SampleRate::TELEPHONE));
        assert_eq!(SampleRate::try_from(1), Err(SampleRateError(1)));
    }
}

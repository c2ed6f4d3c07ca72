//! Time inside a call.

use std::fmt;

/// Microseconds since the call began.
///
/// The engine never reads a clock; the shell passes the present as a `Tick`. Logs read `+12.340s`, and a recorded call
/// replays bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The beginning of the call.
    pub const ZERO: Self = Self(0);
    /// Later than any deadline.
    pub const FAR: Self = Self(u64::MAX);

    /// `us` microseconds after the beginning.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// `ms` milliseconds after the beginning.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the beginning.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// This moment plus `us` microseconds.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// This moment plus `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this moment; 0 when `earlier` is later.
    #[must_use]
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds from `earlier` to this moment; 0 when `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.us_since(earlier) / 1_000
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}.{:03}s", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_print_as_offsets_and_never_underflow() {
        assert_eq!(Tick::from_ms(12_340).to_string(), "+12.340s");
        assert_eq!(Tick::from_ms(1).ms_since(Tick::from_ms(5)), 0);
        assert_eq!(Tick::FAR.plus_ms(1), Tick::FAR);
    }
}

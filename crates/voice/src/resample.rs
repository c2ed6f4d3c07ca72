//! Streaming band-limited conversion between the telephone's 8 kHz and the rates agents speak at.
//!
//! A polyphase windowed-sinc filter (Kaiser window; Kaiser and Schafer 1980 for the length and
//! shape formulas). The kernel spans 2 ms either side of the output instant, so the only delay is
//! 2 ms of look-ahead. The pass-band is flat to 3.4 kHz; from 4.4 kHz on, aliases and images are
//! down by more than 60 dB. Between 3.6 and 4.4 kHz the filter is on its slope: that sliver is the
//! price of the short delay and lies above what a telephone carries.

/// The narrow side of every conversion.
const TELEPHONE_RATE: u32 = 8_000;

/// Rates that can be converted to and from 8 kHz.
pub const SUPPORTED_RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

/// Half the kernel in seconds: with a 1 kHz transition Kaiser's rule gives 65 dB for 2 ms.
const HALF_SPAN_S: f64 = 0.002;

/// The -6 dB point, the middle of the transition between 3.4 and 4.4 kHz.
const CUTOFF_HZ: f64 = 3_900.0;

/// Kaiser shape for 65 dB: 0.1102 * (65 - 8.7).
const KAISER_BETA: f64 = 6.2;

/// Input samples taken into the work buffer at a time.
const BLOCK: usize = 512;

/// Why a [`Resampler`] could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// Neither side is 8 kHz, or the other side is not in [`SUPPORTED_RATES`].
    #[error(
        "cannot resample from {from} to {to} Hz: one side must be 8000 Hz and the other 8000, 16000, 22050, 24000, 44100 or 48000 Hz"
    )]
    UnsupportedRates {
        /// Requested input rate in Hz.
        from: u32,
        /// Requested output rate in Hz.
        to: u32,
    },
}

/// Converts a stream of 16-bit mono samples from one rate to another, keeping state between chunks.
///
/// The output does not depend on how the input is cut into chunks. Output sample `m` stands for
/// the instant `m / to`, exactly as input sample `n` stands for `n / from`: nothing is shifted.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: u32,
    to: u32,
    /// Interpolation factor: number of distinct fractional phases.
    up: usize,
    /// Decimation factor.
    down: usize,
    /// Samples either side of the output instant that the kernel reaches.
    reach: usize,
    /// `up` rows of `2 * reach` taps, each with unit gain at 0 Hz.
    taps: Vec<f64>,
    /// Input window; its first sample lies `reach - 1` before the current output instant at most.
    window: Vec<f64>,
    /// Where in `window` the taps of the next output begin.
    start: usize,
    phase: usize,
    samples_in: u64,
    samples_out: u64,
}

impl Resampler {
    /// Plans a conversion; equal rates (8000 to 8000) pass samples through unchanged.
    ///
    /// # Errors
    /// [`ResampleError::UnsupportedRates`] unless one side is 8000 Hz and the other is one of
    /// [`SUPPORTED_RATES`].
    pub fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        let other = match (from, to) {
            (TELEPHONE_RATE, other) | (other, TELEPHONE_RATE) => other,
            _ => return Err(ResampleError::UnsupportedRates { from, to }),
        };
        if !SUPPORTED_RATES.contains(&other) {
            return Err(ResampleError::UnsupportedRates { from, to });
        }
        let divisor = greatest_common_divisor(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        let reach = if from == to { 0 } else { (HALF_SPAN_S * f64::from(from)).ceil() as usize };
        let mut this = Self {
            from,
            to,
            up,
            down,
            reach,
            taps: design(f64::from(from), up, reach),
            window: Vec::with_capacity(BLOCK + 2 * reach),
            start: 0,
            phase: 0,
            samples_in: 0,
            samples_out: 0,
        };
        this.reset();
        Ok(this)
    }

    /// Forgets all audio, as if freshly made.
    pub fn reset(&mut self) {
        self.window.clear();
        // Before the first sample there was silence.
        self.window.resize(self.reach.saturating_sub(1), 0.0);
        self.start = 0;
        self.phase = 0;
        self.samples_in = 0;
        self.samples_out = 0;
    }

    /// Takes the next samples, of any number, and appends what is ready to `out`.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        self.samples_in += input.len() as u64;
        if self.from == self.to {
            self.samples_out += input.len() as u64;
            out.extend_from_slice(input);
            return;
        }
        for block in input.chunks(BLOCK) {
            self.window.extend(block.iter().map(|&s| f64::from(s)));
            self.drain(out, u64::MAX);
        }
    }

    /// Ends the stream: appends the tail so that `round(n * to / from)` samples have come out for
    /// `n` that went in, then resets for the next stream.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        if self.from != self.to {
            let (from, to) = (u64::from(self.from), u64::from(self.to));
            let total = (self.samples_in * to + from / 2) / from;
            let mut silence = 2 * self.reach + self.down;
            while self.samples_out < total && silence > 0 {
                let part = silence.min(BLOCK);
                self.window.resize(self.window.len() + part, 0.0);
                silence -= part;
                self.drain(out, total);
            }
        }
        self.reset();
    }

    /// Input samples that must follow an instant before its output comes out.
    #[must_use]
    pub fn latency_samples_in(&self) -> usize {
        self.reach
    }

    /// The same look-ahead in milliseconds: 0 for equal rates, otherwise 2.0 to 2.05.
    #[must_use]
    pub fn latency_ms(&self) -> f64 {
        self.reach as f64 * 1000.0 / f64::from(self.from)
    }

    /// Emits every output whose taps lie inside the window, up to `limit` outputs since the start.
    fn drain(&mut self, out: &mut Vec<i16>, limit: u64) {
        let width = 2 * self.reach;
        while self.samples_out < limit {
            let row = self.phase * width;
            let (Some(samples), Some(taps)) =
                (self.window.get(self.start..self.start + width), self.taps.get(row..row + width))
            else {
                break;
            };
            out.push(to_i16(crate::math::dot(samples, taps)));
            self.samples_out += 1;
            self.phase += self.down;
            self.start += self.phase / self.up;
            self.phase %= self.up;
        }
        let used = self.start.min(self.window.len());
        self.window.copy_within(used.., 0);
        self.window.truncate(self.window.len() - used);
        self.start -= used;
    }
}

/// The polyphase table: row `p` holds the kernel sampled for an output `p / up` of an input
/// period after input sample `reach - 1` of the window.
fn design(from: f64, up: usize, reach: usize) -> Vec<f64> {
    let mut taps = Vec::with_capacity(up * 2 * reach);
    let mut row = Vec::with_capacity(2 * reach);
    for phase in 0..up {
        row.clear();
        for k in 0..2 * reach {
            let distance = k as f64 - (reach as f64 - 1.0) - phase as f64 / up as f64;
            row.push(kernel(distance / from));
        }
        // Unit gain in every phase, or a constant input would come out with a ripple.
        let gain: f64 = row.iter().sum();
        taps.extend(row.iter().map(|tap| tap / gain));
    }
    taps
}

/// Ideal low-pass at [`CUTOFF_HZ`] under a Kaiser window of +-[`HALF_SPAN_S`], unnormalised.
fn kernel(t: f64) -> f64 {
    let position = t / HALF_SPAN_S;
    if position.abs() >= 1.0 {
        return 0.0;
    }
    let angle = 2.0 * std::f64::consts::PI * CUTOFF_HZ * t;
    let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
    sinc * crate::math::bessel_i0(KAISER_BETA * (1.0 - position * position).sqrt())
}

fn to_i16(value: f64) -> i16 {
    // `as` saturates, so an overshoot clips instead of wrapping.
    value.round() as i16
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;

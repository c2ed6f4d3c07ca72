//! Conversion of a whole recording to another sampling rate, as Praat's "Resample..." does it with
//! precision 50, because cepstra and formants are defined on the resampled sound.
//!
//! Every new sample is the windowed-sinc interpolation of the old ones, 50 samples to each side.
//! Before the rate is lowered one Fourier transform of the whole recording removes everything above
//! the new Nyquist frequency (a brick wall). Doubling the rate is done in the spectrum alone.
//! Between two whole rates only a few positions between samples occur (five from 8 to 10 kHz), so
//! their weights are computed once and a new sample costs one short sum of products.
//! For the conversion of live call audio see [`crate::resample`]; it trades exactness for delay.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::interpolate;
use crate::sound::Sound;

/// Samples to each side that a new sample is made of (Praat's "precision").
const DEPTH: usize = 50;
/// Taps per stored row of weights: two times the depth, filled up with zeros to whole chunks.
const ROW: usize = 112;
/// Partial sums of the sum of products; fixes the order of addition on every processor.
const LANES: usize = 16;
/// Zeros around the recording, so that the ends do not meet in the cyclic transform.
const PADDING: usize = 1000;
/// Distinct positions between samples up to which their weights are kept (under 4 MB).
const MAX_PHASES: usize = 4096;
/// A position this close to a source sample is that sample.
const WHOLE: f64 = 1e-10;
/// Share of the spectrum left alone when the rate is doubled; the rest fades to zero.
const DOUBLING_PASS: f64 = 0.95;
/// Highest rate that makes sense: twice the fastest accepted sound.
const MAX_RATE_HZ: f64 = 2.0 * crate::SampleRate::MAX as f64;

/// A sound after a change of its sampling rate; its samples no longer start half a period after 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    samples: Vec<f64>,
    x1: f64,
    dx: f64,
}

impl Resampled {
    /// The samples, on the scale of the original.
    #[must_use]
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// Time of the first sample in seconds.
    #[must_use]
    pub fn x1(&self) -> f64 {
        self.x1
    }

    /// Sample period in seconds.
    #[must_use]
    pub fn dx(&self) -> f64 {
        self.dx
    }

    /// Real-valued sample index, counted from 1, at a time in seconds.
    #[must_use]
    pub fn index(&self, time_s: f64) -> f64 {
        (time_s - self.x1) / self.dx + 1.0
    }
}

/// Converts `sound` to `rate_hz` samples per second; `None` when the rate is absurd or the sound
/// too short to leave a sample.
#[must_use]
pub fn resample(sound: &Sound<'_>, rate_hz: f64) -> Option<Resampled> {
    if !(rate_hz > 0.0 && rate_hz <= MAX_RATE_HZ) || sound.samples().is_empty() {
        return None;
    }
    let ratio = rate_hz * sound.dx();
    let x1 = sound.time_of(1);
    if (ratio - 1.0).abs() < 1e-6 {
        return Some(Resampled { samples: sound.samples().to_vec(), x1, dx: sound.dx() });
    }
    if (ratio - 2.0).abs() < 1e-6 {
        let samples = doubled(sound.samples())?;
        return Some(Resampled { samples, x1: x1 - 0.25 * sound.dx(), dx: 0.5 * sound.dx() });
    }
    let end = sound.end();
    let count = (end * rate_hz + 0.5).floor();
    if count < 1.0 {
        return None;
    }
    let dx = 1.0 / rate_hz;
    let x1 = 0.5 * (end - (count - 1.0) / rate_hz);
    let filtered = if ratio < 1.0 { Some(low_passed(sound.samples(), ratio)?) } else { None };
    let source = filtered.as_deref().unwrap_or(sound.samples());
    let phases = Phases::new(sound, rate_hz, x1, dx);
    let mut samples = vec![0.0; count as usize];
    pulp::Arch::new().dispatch(Interpolate { source, phases: &phases, output: &mut samples });
    Some(Resampled { samples, x1, dx })
}

/// Which positions in the source the new samples lie at.
#[derive(Debug)]
struct Phases<'a> {
    sound: &'a Sound<'a>,
    x1: f64,
    dx: f64,
    /// New samples after which the position between source samples repeats, and the source samples
    /// passed meanwhile; `None` when it does not repeat soon.
    cycle: Option<(usize, usize)>,
}

impl<'a> Phases<'a> {
    fn new(sound: &'a Sound<'a>, rate_hz: f64, x1: f64, dx: f64) -> Self {
        let whole = (rate_hz.fract() == 0.0).then_some(rate_hz as u32);
        let cycle = whole.and_then(|rate| {
            let common = greatest_common_divisor(sound.rate().get(), rate);
            let phases = usize::try_from(rate / common).ok()?;
            let advance = usize::try_from(sound.rate().get() / common).ok()?;
            (phases <= MAX_PHASES).then_some((phases, advance))
        });
        Self { sound, x1, dx, cycle }
    }

    /// Real-valued position, counted from 1, of new sample `k`, counted from 0.
    fn position(&self, k: usize) -> f64 {
        self.sound.index(self.x1 + k as f64 * self.dx)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The interpolation, as a job that is compiled for every vector width.
struct Interpolate<'a> {
    source: &'a [f64],
    phases: &'a Phases<'a>,
    output: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Interpolate<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { source, phases, output } = self;
        let count = output.len();
        let (cycle, advance) = phases.cycle.unwrap_or((count, 0));
        let mut rows = [[0.0; ROW]; 2];
        // Phase by phase, so that one row of weights serves all samples that use it.
        for phase in 0..cycle.min(count) {
            let (mut left, fraction) = split(phases.position(phase));
            weights_and_slopes(fraction, &mut rows);
            for (turn, out) in output.iter_mut().skip(phase).step_by(cycle.max(1)).enumerate() {
                // Rounding of times displaces every sample a little; where the spectrum is empty
                // even that can be seen, so it is kept.
                let displaced = (phases.position(phase + turn * cycle) - left as f64) - fraction;
                *out = match window(source, left) {
                    Some(window) => {
                        let [value, slope] = dots(&rows, window);
                        value + slope * displaced
                    }
                    None => interpolate::sinc(source, left as f64 + fraction, DEPTH),
                };
                left += advance as i64;
            }
        }
    }
}

/// The source sample at or before a position (counted from 1) and the rest of the way.
///
/// Rounding moves positions by some 1e-11 of a sample; those meant to be whole are made whole, for
/// just below a whole number the sine of the kernel would lose all its digits.
fn split(position: f64) -> (i64, f64) {
    let nearest = position.round();
    if (position - nearest).abs() < WHOLE {
        return (nearest as i64, 0.0);
    }
    (position.floor() as i64, position - position.floor())
}

/// The source samples around `left` (counted from 1) that a full-depth interpolation needs, if
/// they all exist.
#[inline(always)]
fn window(source: &[f64], left: i64) -> Option<&[f64; ROW]> {
    let start = usize::try_from(left).ok()?.checked_sub(DEPTH)?;
    source.get(start..)?.first_chunk()
}

#[inline(always)]
fn dots(rows: &[[f64; ROW]; 2], b: &[f64; ROW]) -> [f64; 2] {
    let [a0, a1] = rows;
    let mut sums = [[0.0; LANES]; 2];
    let chunks = a0.as_chunks::<LANES>().0.iter().zip(a1.as_chunks::<LANES>().0).zip(b.as_chunks::<LANES>().0);
    for ((a0, a1), b) in chunks {
        for (lane, b) in b.iter().enumerate() {
            sums[0][lane] += a0[lane] * b;
            sums[1][lane] += a1[lane] * b;
        }
    }
    sums.map(|sums| {
        let (low, high) = sums.split_at(LANES / 2);
        low.iter().zip(high).map(|(a, b)| a + b).sum()
    })
}

/// The weights at a position and how fast they change when it moves.
fn weights_and_slopes(fraction: f64, rows: &mut [[f64; ROW]; 2]) {
    /// Small against a sample, large against rounding.
    const STEP: f64 = 1e-5;
    let [row, slopes] = rows;
    weights(fraction, row);
    let towards = if fraction < 0.5 { STEP } else { -STEP };
    weights(fraction + towards, slopes);
    for (slope, weight) in slopes.iter_mut().zip(row) {
        *slope = (*slope - *weight) / towards;
    }
}

/// Weights of the 50 samples before and the 50 after a position `fraction` of a sample after the
/// last one before it.
fn weights(fraction: f64, row: &mut [f64; ROW]) {
    row.fill(0.0);
    let (before, rest) = row.split_at_mut(DEPTH);
    let after = rest.get_mut(..DEPTH).unwrap_or_default();
    if fraction == 0.0 {
        if let Some(same) = before.last_mut() {
            *same = 1.0;
        }
        return;
    }
    let sine = (std::f64::consts::PI * fraction.min(1.0 - fraction)).sin();
    side(before.iter_mut().rev(), fraction, sine);
    side(after.iter_mut(), 1.0 - fraction, sine);
}

/// One side of the kernel: sinc under a raised cosine that reaches zero one sample further out.
fn side<'a>(row: impl Iterator<Item = &'a mut f64>, distance: f64, sine: f64) {
    use std::f64::consts::PI;
    let step = PI / (distance + DEPTH as f64);
    let (step_sin, step_cos) = step.sin_cos();
    let (mut taper_sin, mut taper_cos) = (step * distance).sin_cos();
    let mut distance = distance;
    let mut scale = sine / PI;
    for weight in row {
        *weight = scale * (0.5 + 0.5 * taper_cos) / distance;
        scale = -scale;
        distance += 1.0;
        (taper_sin, taper_cos) =
            (taper_sin * step_cos + taper_cos * step_sin, taper_cos * step_cos - taper_sin * step_sin);
    }
}

/// The recording in a zero-padded buffer of a power of two, and its spectrum.
fn padded_spectrum(samples: &[f64], planner: &mut RealFftPlanner<f64>) -> Option<(Vec<f64>, Vec<Complex<f64>>)> {
    let length = (samples.len() + 2 * PADDING).next_power_of_two();
    let plan = planner.plan_fft_forward(length);
    let mut buffer = vec![0.0; length];
    buffer.get_mut(PADDING..PADDING + samples.len())?.copy_from_slice(samples);
    let mut spectrum = plan.make_output_vec();
    plan.process(&mut buffer, &mut spectrum).ok()?;
    Some((buffer, spectrum))
}

/// Scales the numbers of the spectrum by a function of their place, counted from 1, in the order
/// Re0, Nyquist, Re1, Im1, Re2, ... The Nyquist frequency is removed.
fn shape(spectrum: &mut [Complex<f64>], gain: impl Fn(f64) -> f64) {
    for (k, bin) in spectrum.iter_mut().enumerate() {
        let place = 2.0 * k as f64 + 1.0;
        *bin = Complex::new(bin.re * gain(place), if k == 0 { 0.0 } else { bin.im * gain(place + 1.0) });
    }
    if let Some(nyquist) = spectrum.last_mut() {
        *nyquist = Complex::new(0.0, 0.0);
    }
}

/// Removes everything above `ratio` times the Nyquist frequency.
fn low_passed(samples: &[f64], ratio: f64) -> Option<Vec<f64>> {
    let mut planner = RealFftPlanner::new();
    let (mut buffer, mut spectrum) = padded_spectrum(samples, &mut planner)?;
    let length = buffer.len();
    let first_removed = (ratio * length as f64).floor();
    shape(&mut spectrum, |place| if place >= first_removed { 0.0 } else { 1.0 });
    planner.plan_fft_inverse(length).process(&mut spectrum, &mut buffer).ok()?;
    buffer.truncate(PADDING + samples.len());
    buffer.drain(..PADDING);
    let scale = 1.0 / length as f64;
    for sample in &mut buffer {
        *sample *= scale;
    }
    Some(buffer)
}

/// Twice as many samples, by an inverse transform of twice the length.
fn doubled(samples: &[f64]) -> Option<Vec<f64>> {
    let mut planner = RealFftPlanner::new();
    let (buffer, mut spectrum) = padded_spectrum(samples, &mut planner)?;
    let length = buffer.len();
    let passed = (length as f64 * DOUBLING_PASS).floor();
    let fade = length as f64 - passed;
    shape(&mut spectrum, |place| if place > passed { (length as f64 - place) / fade } else { 1.0 });
    let plan = planner.plan_fft_inverse(2 * length);
    let mut wide = plan.make_output_vec();
    spectrum.resize(length + 1, Complex::new(0.0, 0.0));
    plan.process(&mut spectrum, &mut wide).ok()?;
    let scale = 1.0 / length as f64;
    let from = 2 * PADDING;
    Some(wide.get(from..from + 2 * samples.len())?.iter().map(|sample| sample * scale).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SampleRate;

    fn noise(count: usize) -> Vec<f64> {
        let mut state = 12_345_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    fn sound(samples: &[f64], rate: u32) -> Sound<'_> {
        Sound::new(samples, SampleRate::new(rate).unwrap_or(SampleRate::TELEPHONE))
    }

    #[test]
    fn table_and_direct_interpolation_agree() {
        for (from, to) in [(8000, 10_000.0), (8000, 7992.0), (8000, 10_000.5), (44_100, 48_000.0), (4000, 11_025.0)] {
            for count in [1, 2, 40, 101, 1507] {
                let samples = noise(count);
                let sound = sound(&samples, from);
                let Some(out) = resample(&sound, to) else { continue };
                let source = if to < f64::from(from) { low_passed(&samples, to / f64::from(from)) } else { None };
                let source = source.unwrap_or(samples.clone());
                for (k, value) in out.samples().iter().enumerate() {
                    let x = sound.index(out.x1() + k as f64 * out.dx());
                    let (left, fraction) = split(x);
                    let direct = interpolate::sinc(&source, left as f64 + fraction, DEPTH);
                    assert!((value - direct).abs() < 1e-9, "{from} {to} {count} {k}: {value} {direct}");
                }
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_place_in_time() {
        let tone = |t: f64| (2.0 * std::f64::consts::PI * 440.0 * t).sin();
        for (from, to) in [(8000, 10_000.0), (16_000, 7992.0), (48_000, 10_000.0)] {
            let samples: Vec<f64> = (0..from).map(|k| tone((f64::from(k) + 0.5) / f64::from(from))).collect();
            let out = resample(&sound(&samples, from), to).map(|r| (r.samples().to_vec(), r.x1(), r.dx()));
            let (values, x1, dx) = out.unwrap_or_default();
            assert_eq!(values.len(), to as usize);
            for (k, value) in values.iter().enumerate().take(values.len() - 1000).skip(1000) {
                assert!((value - tone(x1 + k as f64 * dx)).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn absurd_requests_are_refused() {
        let samples = noise(3);
        let sound = sound(&samples, 8000);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9, 10.0] {
            assert_eq!(resample(&sound, rate), None, "{rate}");
        }
        assert_eq!(resample(&Sound::new(&[], SampleRate::TELEPHONE), 10_000.0), None);
        assert_eq!(resample(&sound, 8000.0).map(|r| r.samples().to_vec()), Some(samples.clone()));
    }
}

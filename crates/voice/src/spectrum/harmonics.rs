//! H1-H2: how much stronger the first harmonic of the voice is than the second.
//!
//! In a breathy voice the vocal folds move almost like a sine, so that the first harmonic towers
//! above the second; in a pressed voice it sinks below it. Every 50 ms of voice a spectrum of
//! 50 ms is taken, the highest level within 10 % of f0 and of 2 f0 is read off, and the differences
//! are averaged. A line that cuts off the low frequencies (300 Hz for most voices) removes the
//! first harmonic and with it the meaning.

use std::f64::consts::PI;

use crate::pitch::PitchTrack;
use crate::sound::Sound;
use crate::stats;

/// Distance of the spectra in seconds.
const STEP_S: f64 = 0.05;
/// Half the length of the stretch under one spectrum in seconds.
const HALF_S: f64 = 0.025;
/// No spectrum is taken this close to the beginning and the end.
const MARGIN_S: f64 = 0.03;
/// Keeps the logarithm of nothing finite.
const TINY: f64 = 1e-12;

/// Frequencies computed together; their recurrences are independent, so they fill vector registers
/// and hide each other's latency.
const LANES: usize = 16;

/// Mean level difference of first and second harmonic in dB, at the voiced times of `pitch`.
///
/// `None` when no spectrum lies in a voiced stretch.
#[must_use]
pub fn h1_h2_db(sound: &Sound<'_>, pitch: &PitchTrack) -> Option<f64> {
    // One bin per hertz; rates whose period is not exact in binary miss it by a hair, as the
    // reference does.
    let size = (1.0 / sound.dx()) as usize;
    let mut frame = Frame::default();
    let mut differences = Vec::new();
    let mut time = pitch.frames().t1;
    while time < sound.end() - MARGIN_S {
        if let Some(f0) = pitch.value_at(time).filter(|_| time > MARGIN_S) {
            frame.cut(sound, time);
            let first = frame.peak_power(size, 0.9 * f0, 1.1 * f0);
            let second = frame.peak_power(size, 1.8 * f0, 2.2 * f0);
            if let (Some(first), Some(second)) = (first, second) {
                differences.push(level_db(first) - level_db(second));
            }
        }
        time += STEP_S;
    }
    stats::mean(&differences)
}

fn level_db(power: f64) -> f64 {
    20.0 * (power.sqrt() + TINY).log10()
}

/// A windowed stretch folded about its middle: the real part of its transform is the cosine sum of
/// the even half, the imaginary part the sine sum of the odd half.
#[derive(Debug, Default)]
struct Frame {
    window: Vec<f64>,
    /// Sums and differences of the samples equally far to the right and left of the middle.
    folded: Vec<[f64; 2]>,
    /// Distance of the first pair from the middle in samples: 0.5 or 1.
    offset: f64,
    /// The middle sample, if the count is odd.
    middle: f64,
}

impl Frame {
    fn cut(&mut self, sound: &Sound<'_>, time: f64) {
        let first = sound.high_index(time - HALF_S);
        let last = sound.low_index(time + HALF_S);
        let count = usize::try_from(last - first + 1).unwrap_or(0);
        if self.window.len() != count {
            self.window = window(count);
        }
        // The margin keeps the stretch inside the sound except for rounding at its edges.
        let samples = sound.between(first, last);
        let skipped = usize::try_from(1 - first).unwrap_or(0);
        let at = |k: usize| {
            let sample = k.checked_sub(skipped).and_then(|k| samples.get(k)).copied().unwrap_or(0.0);
            sample * self.window.get(k).copied().unwrap_or(0.0)
        };
        let half = count / 2;
        self.folded.clear();
        self.folded.extend((0..half).map(|j| {
            let (right, left) = (at(count - half + j), at(half - 1 - j));
            [right + left, right - left]
        }));
        let odd = count % 2 == 1;
        self.middle = if odd { at(half) } else { 0.0 };
        self.offset = if odd { 1.0 } else { 0.5 };
    }

    /// Largest power among the bins nearest to `low_hz..=high_hz` of a transform of `size` points.
    fn peak_power(&self, size: usize, low_hz: f64, high_hz: f64) -> Option<f64> {
        let first = low_hz.round_ties_even().max(0.0) as usize;
        let last = (high_hz.round_ties_even().max(0.0) as usize).min(size / 2);
        let mut peak: Option<f64> = None;
        for from in (first..=last).step_by(LANES) {
            let powers = self.powers(size, from);
            let wanted = (last - from + 1).min(LANES);
            peak = powers.iter().take(wanted).fold(peak, |peak, &p| Some(peak.map_or(p, |q| q.max(p))));
        }
        peak
    }

    /// Powers of [`LANES`] bins from `first` on.
    fn powers(&self, size: usize, first: usize) -> [f64; LANES] {
        pulp::Arch::new().dispatch(FoldedTransform { frame: self, size, first })
    }
}

struct FoldedTransform<'a> {
    frame: &'a Frame,
    size: usize,
    first: usize,
}

impl pulp::NullaryFnOnce for FoldedTransform<'_> {
    type Output = [f64; LANES];

    /// Cosines and sines come from the recurrence c(j+1) = 2 cos(w) c(j) - c(j-1), accurate to
    /// about 1e-11 for the frequencies of a voice.
    #[inline(always)]
    fn call(self) -> [f64; LANES] {
        let Self { frame, size, first } = self;
        let mut double = [0.0; LANES];
        let (mut cosine, mut cosine_before) = ([0.0; LANES], [0.0; LANES]);
        let (mut sine, mut sine_before) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let angle = 2.0 * PI * (first + lane) as f64 / size as f64;
            double[lane] = 2.0 * angle.cos();
            (sine[lane], cosine[lane]) = (angle * frame.offset).sin_cos();
            (sine_before[lane], cosine_before[lane]) = (angle * (frame.offset - 1.0)).sin_cos();
        }
        let (mut real, mut imaginary) = ([frame.middle; LANES], [0.0; LANES]);
        for &[even, odd] in &frame.folded {
            for lane in 0..LANES {
                real[lane] += even * cosine[lane];
                imaginary[lane] += odd * sine[lane];
                let cosine_next = double[lane] * cosine[lane] - cosine_before[lane];
                let sine_next = double[lane] * sine[lane] - sine_before[lane];
                cosine_before[lane] = cosine[lane];
                sine_before[lane] = sine[lane];
                cosine[lane] = cosine_next;
                sine[lane] = sine_next;
            }
        }
        let mut powers = [0.0; LANES];
        for lane in 0..LANES {
            powers[lane] = real[lane] * real[lane] + imaginary[lane] * imaginary[lane];
        }
        powers
    }
}

/// Gaussian window of twice the usual width that falls to exactly zero just outside its ends
/// (Praat's "Gaussian2").
fn window(count: usize) -> Vec<f64> {
    let edge = (-12.0_f64).exp();
    let middle = 0.5 * (count as f64 + 1.0);
    (1..=count)
        .map(|k| {
            let phase = (k as f64 - middle) / count as f64;
            ((-48.0 * phase * phase).exp() - edge) / (1.0 - edge)
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pitch::{self, PitchMethod, PitchSettings};
    use crate::units::SampleRate;

    #[test]
    fn the_difference_of_two_sines_is_read_back() {
        for (f0, ratio_db) in [(120.0, 6.0), (205.0, -3.0), (330.0, 12.0)] {
            for rate in [8_000, 11_025, 44_100] {
                let second = 0.3 * 10_f64.powf(-ratio_db / 20.0);
                let samples: Vec<f64> = (0..rate)
                    .map(|n| {
                        let angle = 2.0 * PI * f0 * f64::from(n) / f64::from(rate);
                        0.3 * angle.sin() + second * (2.0 * angle + 0.7).sin()
                    })
                    .collect();
                let sound = Sound::new(&samples, SampleRate::new(rate).unwrap_or(SampleRate::TELEPHONE));
                let settings = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
                let track = pitch::track(&sound, &settings).unwrap();
                let measured = h1_h2_db(&sound, &track).unwrap();
                assert!((measured - ratio_db).abs() < 0.1, "{f0} Hz, {rate}: {measured} for {ratio_db}");
            }
        }
    }

    #[test]
    fn without_voice_there_is_no_difference() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let settings = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
        assert_eq!(h1_h2_db(&sound, &pitch::track(&sound, &settings).unwrap()), None);
    }
}

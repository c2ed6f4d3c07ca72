//! The spectrum of a whole sound, and what is measured or filtered with it.
//!
//! One Fourier transform of the entire, zero-padded sound serves several measures: it is the
//! filter in front of the silence and syllable detectors (a band with soft edges, applied without
//! any delay), and its energies averaged into bands of 1 Hz are the long-term average spectrum,
//! whose slope tells a breathy or hoarse voice from a clear one.
//! The transform costs much more than what is done with it, so make one [`Spectrum`] and hand it
//! to everything that needs it.

mod harmonics;
mod ltas;

use std::f64::consts::PI;

use realfft::num_complex::Complex;

pub use harmonics::h1_h2_db;
pub use ltas::{Ltas, Trend};

use crate::plans;
use crate::sound::Sound;

/// Complex spectrum of a sound that was padded with zeros to a power of two.
#[derive(Debug, Clone)]
pub struct Spectrum {
    /// From 0 Hz to half the sampling frequency; plain sums, not scaled by the sample period.
    bins: Vec<Complex<f64>>,
    /// Samples of the sound before padding.
    samples: usize,
    /// Sample period in seconds.
    dx: f64,
    /// Distance of bins in Hz.
    bin_hz: f64,
}

impl Spectrum {
    /// Transforms the whole sound; a sound without samples has an empty spectrum.
    #[must_use]
    pub fn of(sound: &Sound<'_>) -> Self {
        let samples = sound.samples();
        if samples.is_empty() {
            return Self { bins: Vec::new(), samples: 0, dx: sound.dx(), bin_hz: 0.0 };
        }
        let size = samples.len().next_power_of_two().max(2);
        let forward = plans::forward(size);
        let mut input = samples.to_vec();
        input.resize(size, 0.0);
        let mut bins = forward.make_output_vec();
        let done = forward.process_with_scratch(&mut input, &mut bins, &mut forward.make_scratch_vec());
        debug_assert!(done.is_ok(), "the plan made these buffers");
        Self { bins, samples: samples.len(), dx: sound.dx(), bin_hz: 1.0 / (sound.dx() * size as f64) }
    }

    /// Distance of neighbouring bins in Hz.
    #[must_use]
    pub fn bin_hz(&self) -> f64 {
        self.bin_hz
    }

    /// The sound without what lies outside `low_hz..high_hz`.
    ///
    /// Each edge is a raised cosine that reaches `skirt_hz` to both sides (Praat's "Filter (pass
    /// Hann band)"). An edge at 0 Hz, or at or above half the sampling frequency, is left open.
    #[must_use]
    pub fn band_pass(&self, low_hz: f64, high_hz: f64, skirt_hz: f64) -> Vec<f64> {
        if self.bins.is_empty() {
            return Vec::new();
        }
        let size = 2 * (self.bins.len() - 1);
        let backward = plans::inverse(size);
        let scale = 1.0 / size as f64;
        let gain = BandGain { low_hz, high_hz, skirt_hz, nyquist_hz: 0.5 / self.dx };
        let mut bins: Vec<Complex<f64>> = self
            .bins
            .iter()
            .enumerate()
            .map(|(k, bin)| {
                let gain = gain.at(k as f64 * self.bin_hz) * scale;
                // Factors of exactly zero, so that nothing outside the band can be left.
                if gain == 0.0 { Complex::default() } else { bin * gain }
            })
            .collect();
        // The outermost bins of a real signal have no imaginary part; rounding must not give them one.
        for bin in [0, size / 2] {
            if let Some(bin) = bins.get_mut(bin) {
                bin.im = 0.0;
            }
        }
        let mut output = backward.make_output_vec();
        let done = backward.process_with_scratch(&mut bins, &mut output, &mut backward.make_scratch_vec());
        debug_assert!(done.is_ok(), "the plan made these buffers");
        output.truncate(self.samples);
        output
    }
}

/// The sound without what lies outside `low_hz..high_hz`; see [`Spectrum::band_pass`], which saves
/// a transform when the spectrum is needed for something else too.
#[must_use]
pub fn band_pass(sound: &Sound<'_>, low_hz: f64, high_hz: f64, skirt_hz: f64) -> Vec<f64> {
    Spectrum::of(sound).band_pass(low_hz, high_hz, skirt_hz)
}

struct BandGain {
    low_hz: f64,
    high_hz: f64,
    skirt_hz: f64,
    nyquist_hz: f64,
}

impl BandGain {
    fn at(&self, frequency_hz: f64) -> f64 {
        self.rise(frequency_hz) * self.fall(frequency_hz)
    }

    fn rise(&self, frequency_hz: f64) -> f64 {
        let from = self.low_hz - self.skirt_hz;
        let to = self.low_hz + self.skirt_hz;
        if self.low_hz <= 0.0 || frequency_hz >= to {
            1.0
        } else if frequency_hz < from {
            0.0
        } else {
            0.5 - 0.5 * (PI * (frequency_hz - from) / (to - from)).cos()
        }
    }

    fn fall(&self, frequency_hz: f64) -> f64 {
        let from = self.high_hz - self.skirt_hz;
        let to = self.high_hz + self.skirt_hz;
        if self.high_hz <= 0.0 || self.high_hz >= self.nyquist_hz || frequency_hz <= from {
            1.0
        } else if frequency_hz >= to {
            0.0
        } else {
            0.5 + 0.5 * (PI * (frequency_hz - from) / (to - from)).cos()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    fn tone(frequency_hz: f64, count: usize) -> Vec<f64> {
        (0..count).map(|n| (2.0 * PI * frequency_hz * n as f64 / 8000.0).sin()).collect()
    }

    fn rms(samples: &[f64]) -> f64 {
        (samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn the_band_keeps_its_tones_and_drops_the_others() {
        for (frequency, share) in [(100.0, 0.0), (300.0, 0.5), (1000.0, 1.0), (2500.0, 0.5), (3000.0, 0.0)] {
            let samples = tone(frequency, 8192);
            let out = band_pass(&Sound::new(&samples, SampleRate::TELEPHONE), 300.0, 2500.0, 100.0);
            assert_eq!(out.len(), samples.len());
            let middle = 2000..6000;
            let gain = rms(&out[middle.clone()]) / rms(&samples[middle]);
            assert!((gain - share).abs() < 0.01, "{frequency} Hz: {gain}");
        }
    }

    #[test]
    fn odd_and_tiny_sounds_are_filtered_too() {
        for count in [0, 1, 2, 3, 1001] {
            let samples = tone(500.0, count);
            let sound = Sound::new(&samples, SampleRate::TELEPHONE);
            assert_eq!(band_pass(&sound, 80.0, 8000.0, 80.0).len(), count);
            // With both edges open the sound comes back.
            let same = band_pass(&sound, 0.0, 8000.0, 80.0);
            assert!(same.iter().zip(&samples).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
}

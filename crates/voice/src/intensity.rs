//! Intensity contour: level of the signal under a long smooth window, without pitch ripple.

use crate::math::bessel_i0;
use crate::sound::{Frames, Sound};
use crate::stats;

/// Auditory threshold pressure squared; with samples taken as pascal, 0 dB is 2e-5 Pa.
const REFERENCE: f64 = 4e-10;

/// Value given to frames of digital silence, in dB.
const SILENCE_DB: f64 = -300.0;

/// Level frame by frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Intensity {
    frames: Frames,
    db: Vec<f64>,
}

impl Intensity {
    /// Where the frames are.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// Level of every frame in dB; -300 for digital silence. On a telephone only differences mean
    /// anything.
    #[must_use]
    pub fn db(&self) -> &[f64] {
        &self.db
    }

    /// Level of the mean energy in dB.
    #[must_use]
    pub fn energy_mean_db(&self) -> Option<f64> {
        let powers: Vec<f64> = self.db.iter().map(|db| 10_f64.powf(db / 10.0)).collect();
        let mean = stats::mean(&powers)?;
        // A wholly silent sound has no level.
        (mean > 1e-29).then(|| 10.0 * mean.log10())
    }
}

/// Computes the contour; `floor_hz` is the lowest pitch whose ripple is to be smoothed (100 Hz is
/// usual). The window lasts 6.4 periods of it, the step 0.8. `None` if the sound is shorter.
#[must_use]
pub fn contour(sound: &Sound<'_>, floor_hz: f64) -> Option<Intensity> {
    if floor_hz.is_nan() || floor_hz <= 0.0 {
        return None;
    }
    let half_s = 3.2 / floor_hz;
    let half = (half_s / sound.dx()).floor() as i64;
    let frames = sound.frames(2.0 * half_s, 0.8 / floor_hz)?;
    let window: Vec<f64> = (-half..=half)
        .map(|k| {
            let x = k as f64 * sound.dx() / half_s;
            let shape = 2.0 * std::f64::consts::PI * std::f64::consts::PI + 0.5;
            bessel_i0(shape * (1.0 - x * x).max(0.0).sqrt())
        })
        .collect();
    let db = (0..frames.count)
        .map(|k| {
            let centre = sound.nearest_index(frames.time(k));
            let first = centre - half;
            let samples = sound.between(first, centre + half);
            let skip = usize::try_from(1 - first).unwrap_or(0);
            level(samples, window.get(skip..).unwrap_or_default())
        })
        .collect();
    Some(Intensity { frames, db })
}

fn level(samples: &[f64], window: &[f64]) -> f64 {
    let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    let (mut energy, mut weights) = (0.0, 0.0);
    for (sample, weight) in samples.iter().zip(window) {
        let deviation = sample - mean;
        energy += deviation * deviation * weight;
        weights += weight;
    }
    let power = energy / weights / REFERENCE;
    if power > 1e-30 { 10.0 * power.log10() } else { SILENCE_DB }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    #[test]
    fn a_sine_has_its_rms_level() {
        let samples: Vec<f64> = (0..8000).map(|n| 0.3 + 0.02 * (f64::from(n) * 0.2).sin()).collect();
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let level = contour(&sound, 100.0).and_then(|i| i.energy_mean_db());
        let expected = 10.0 * (0.0002 / REFERENCE).log10();
        assert!(level.is_some_and(|l| (l - expected).abs() < 0.01));
    }

    #[test]
    fn silence_and_short_sounds_have_no_level() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        assert_eq!(contour(&sound, 100.0).and_then(|i| i.energy_mean_db()), None);
        let sound = Sound::new(&samples[..100], SampleRate::TELEPHONE);
        assert_eq!(contour(&sound, 100.0), None);
    }
}

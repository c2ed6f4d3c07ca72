//! Intensity contour: level of the signal under a long smooth window, without pitch ripple.

use crate::math::{self, bessel_i0};
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
    let mut db = vec![0.0; frames.count];
    pulp::Arch::new().dispatch(Levels { sound, frames, half, window: &window, db: &mut db });
    Some(Intensity { frames, db })
}

/// The levels of all frames, as a step that can be compiled for every kind of vector register.
struct Levels<'a> {
    sound: &'a Sound<'a>,
    frames: Frames,
    /// Samples to each side of a frame's centre.
    half: i64,
    window: &'a [f64],
    db: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Levels<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let whole = math::sum(self.window);
        for (k, to) in self.db.iter_mut().enumerate() {
            let centre = self.sound.nearest_index(self.frames.time(k));
            let first = centre - self.half;
            let samples = self.sound.between(first, centre + self.half);
            let skip = usize::try_from(1 - first).unwrap_or(0);
            let window = self.window.get(skip..).unwrap_or_default();
            let window = window.get(..samples.len()).unwrap_or(window);
            let weights = if window.len() == self.window.len() { whole } else { math::sum(window) };
            let mean = math::sum(samples) / samples.len().max(1) as f64;
            let power = math::weighted_energy(samples, mean, window) / weights / REFERENCE;
            *to = if power > 1e-30 { 10.0 * power.log10() } else { SILENCE_DB };
        }
    }
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

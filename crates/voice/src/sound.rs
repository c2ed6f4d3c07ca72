//! A stretch of audio with the exact time arithmetic every measure shares.
//!
//! The order of the floating-point operations here is deliberate: at 8 kHz many frame centres fall
//! exactly between two samples, and an algebraically equal expression rounds some of them to the
//! other side, which moves f0 by up to 5e-4 and HNR frames by half a decibel.

use crate::units::SampleRate;

/// Samples with their rate; sample `i` (from 1) lies at `(i - 0.5) / rate` seconds.
#[derive(Debug, Clone, Copy)]
pub struct Sound<'a> {
    samples: &'a [f64],
    rate: SampleRate,
    dx: f64,
    x1: f64,
}

/// Positions of equally spaced analysis frames, centred on the whole sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frames {
    /// Number of frames.
    pub count: usize,
    /// Time of the first frame centre in seconds.
    pub t1: f64,
    /// Distance of frame centres in seconds.
    pub dt: f64,
}

impl<'a> Sound<'a> {
    /// Wraps samples on the scale -1..1.
    #[must_use]
    pub fn new(samples: &'a [f64], rate: SampleRate) -> Self {
        let dx = 1.0 / rate.hz();
        Self { samples, rate, dx, x1: 0.5 * dx }
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &'a [f64] {
        self.samples
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Sample period in seconds.
    #[must_use]
    pub fn dx(&self) -> f64 {
        self.dx
    }

    /// End of the sound in seconds (its start is 0).
    #[must_use]
    pub fn end(&self) -> f64 {
        self.samples.len() as f64 / self.rate.hz()
    }

    /// Time of sample `index`, counted from 1.
    pub(crate) fn time_of(&self, index: i64) -> f64 {
        self.x1 + (index - 1) as f64 * self.dx
    }

    /// Real-valued sample index, counted from 1, at a time.
    pub(crate) fn index(&self, time: f64) -> f64 {
        (time - self.x1) / self.dx + 1.0
    }

    pub(crate) fn low_index(&self, time: f64) -> i64 {
        self.index(time).floor() as i64
    }

    pub(crate) fn high_index(&self, time: f64) -> i64 {
        self.index(time).ceil() as i64
    }

    pub(crate) fn nearest_index(&self, time: f64) -> i64 {
        (self.index(time) + 0.5).floor() as i64
    }

    /// Samples from `first` to `last` (counted from 1, inclusive), cut to what exists.
    pub(crate) fn between(&self, first: i64, last: i64) -> &'a [f64] {
        let from = usize::try_from(first.max(1) - 1).unwrap_or(0);
        let to = usize::try_from(last.max(0)).unwrap_or(0).min(self.samples.len());
        self.samples.get(from..to).unwrap_or_default()
    }

    /// Places frames whose window lasts `window` seconds every `dt` seconds; `None` if the window
    /// is longer than the sound.
    pub(crate) fn frames(&self, window: f64, dt: f64) -> Option<Frames> {
        self.frames_with(window, dt, Fit::AsReference)
    }

    /// The same, with a say in whether a last frame fits that rounding decides about.
    pub(crate) fn frames_with(&self, window: f64, dt: f64, fit: Fit) -> Option<Frames> {
        let duration = self.dx * self.samples.len() as f64;
        // Also refuses NaN from absurd settings.
        if !(window <= duration && dt > 0.0) {
            return None;
        }
        let slack = match fit {
            Fit::AsReference => 0.0,
            Fit::WholeSteps => 1e-6,
        };
        let count = ((duration - window) / dt + slack).floor() + 1.0;
        let middle = self.x1 - 0.5 * self.dx + 0.5 * duration;
        Some(Frames { count: count as usize, t1: middle - 0.5 * (count * dt) + 0.5 * dt, dt })
    }
}

/// Whether a frame fits that would end with the sound.
///
/// Frames are centred in the sound: one more or less moves all of them by half a step. Telephone audio comes in whole
/// steps, so that the last frame always ends with the sound, and rounding alone decides about it, differently for
/// different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As the reference rounds.
    AsReference,
    /// It fits, so that the frames lie the same whatever number of whole steps is around them.
    WholeSteps,
}

impl Frames {
    /// Centre of frame `k`, counted from 0.
    #[must_use]
    pub fn time(&self, k: usize) -> f64 {
        self.t1 + k as f64 * self.dt
    }

    /// Real-valued frame index, counted from 1, at a time.
    pub(crate) fn index(&self, time: f64) -> f64 {
        (time - self.t1) / self.dt + 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_centred_on_the_sound() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let frames = sound.frames(0.04, 0.01);
        assert!(frames.is_some_and(|f| { f.count == 97 && (f.time(0) + f.time(96) - 1.0).abs() < 1e-12 }));
        assert_eq!(sound.frames(1.1, 0.01), None);
        assert_eq!(sound.frames(0.1, 0.0), None);
    }

    #[test]
    fn whole_steps_of_any_number_put_the_first_frame_at_the_same_time() {
        let mut by_reference = std::collections::BTreeSet::new();
        for steps in 5..2000 {
            let samples = vec![0.0; 80 * steps];
            let sound = Sound::new(&samples, SampleRate::TELEPHONE);
            let first_ms = |fit| sound.frames_with(0.04, 0.01, fit).map(|f| (f.t1 * 1e4).round() as i64);
            assert_eq!(first_ms(Fit::WholeSteps), Some(200), "{steps} steps");
            by_reference.insert(first_ms(Fit::AsReference));
        }
        assert_eq!(by_reference.len(), 2, "rounding decides where the reference begins");
    }

    #[test]
    fn ranges_outside_the_sound_are_cut() {
        let samples = [1.0, 2.0, 3.0];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        assert_eq!(sound.between(-5, 2), [1.0, 2.0]);
        assert_eq!(sound.between(3, 99), [3.0]);
        assert!(sound.between(4, 9).is_empty());
        assert!(sound.between(2, 1).is_empty());
    }
}

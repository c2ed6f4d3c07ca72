//! Where the cepstral frames lie and how large their transforms are.

use crate::resampling::Resampled;
use crate::sound::{Frames, Sound};

/// Three periods of the lowest voice looked for (60 Hz) on each side of the frame's centre.
const WINDOW_S: f64 = 6.0 / LOWEST_HZ;
/// Distance of frames.
const TIME_STEP_S: f64 = 0.002;
/// Lowest fundamental frequency looked for.
pub(super) const LOWEST_HZ: f64 = 60.0;
/// Highest fundamental frequency looked for.
pub(super) const HIGHEST_HZ: f64 = 330.0;

/// Sizes of an analysis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Positions of the frames on the original sound.
    pub(super) frames: Frames,
    /// Length of the window in seconds.
    pub(super) window_s: f64,
    /// Length of the window in samples of the resampled sound.
    pub(super) window_points: usize,
    /// Length of the transform: the next power of two.
    pub(super) fft_points: usize,
    /// First point of the quefrency axis at which a peak is looked for.
    pub(super) first_peak: usize,
    /// Last such point.
    pub(super) last_peak: usize,
}

impl Layout {
    /// `None` when the sound is so short that the lowest voice does not fit on the quefrency axis.
    pub(super) fn new(sound: &Sound<'_>, max_frequency_hz: f64) -> Option<Self> {
        let rate = 2.0 * max_frequency_hz;
        let duration = sound.dx() * sound.samples().len() as f64;
        let window_s = WINDOW_S.min(duration);
        let frames = sound.frames(window_s, TIME_STEP_S)?;
        let window_points = (window_s * rate + 0.5).floor() as usize;
        let fft_points = window_points.next_power_of_two();
        let first_peak = (rate / HIGHEST_HZ).ceil() as usize;
        let last_peak = (rate / LOWEST_HZ).floor() as usize;
        // One more point is needed to tell a maximum from a slope.
        if frames.count == 0 || first_peak < 1 || last_peak + 1 > fft_points / 2 {
            return None;
        }
        Some(Self { frames, window_s, window_points, fft_points, first_peak, last_peak })
    }

    /// Points of the quefrency axis.
    pub(super) fn quefrencies(&self) -> usize {
        self.fft_points / 2 + 1
    }

    /// Place of the first sample of frame `k` (which need not exist) in the resampled sound, counted
    /// from 0; may lie before its start.
    pub(super) fn first_sample(&self, sound: &Resampled, k: i64) -> i64 {
        let start = (self.frames.t1 + k as f64 * self.frames.dt) - 0.5 * self.window_s;
        (sound.index(start) + 0.5).floor() as i64 - 1
    }
}

/// The Gaussian window whose ends are at exp(-12), shifted to reach zero there.
pub(super) fn gauss(points: usize) -> Vec<f64> {
    let edge = (-12.0_f64).exp();
    let middle = 0.5 * (points as f64 + 1.0);
    let width = points as f64 + 1.0;
    (1..=points)
        .map(|i| {
            let distance = (i as f64 - middle) / width;
            ((-48.0 * distance * distance).exp() - edge) / (1.0 - edge)
        })
        .collect()
}

//! Syllables of running speech by the peaks of their loudness: the counter rates are made from.
//!
//! A syllable has a vowel, and a vowel is a voiced peak of energy between 300 and 2500 Hz: nasals,
//! fricatives and the hum of the line lie mostly outside. The idea is de Jong and Wempe's (2009,
//! "Praat script to detect syllable nuclei and measure speech rate automatically", Behavior
//! Research Methods 41, 385-390); the published counter is in [`crate::syllables`]. This one reads
//! a band instead of the whole signal, through a window short enough to see the valleys of fast
//! speech, and wants a valley on both sides of every peak, deeper the closer two peaks are. That
//! keeps it from counting the decay of an isolated word or a glide inside a vowel as a syllable.

use std::f64::consts::TAU;

use crate::intensity;
use crate::pitch::{PitchMethod, PitchSettings, PitchTrack};
use crate::sound::Sound;
use crate::stats;

/// The band vowels are loud in.
const LOW_HZ: f64 = 300.0;
const HIGH_HZ: f64 = 2500.0;

/// Quality factors of the two halves of a Butterworth filter of fourth order.
const HALVES: [f64; 2] = [0.541_196_100_146_197, 1.306_562_964_876_376_4];

/// Sets the window of the loudness contour (6.4 periods: 80 ms) and its step (10 ms). With the
/// published 50 Hz (128 ms) the valleys of speech of five syllables per second fill up.
const INTENSITY_FLOOR_HZ: f64 = 80.0;

/// Peaks further below the loudest ones (99 % quantile) are not vowels.
const BELOW_LOUD_DB: f64 = 25.0;

/// Depth of the valley between two syllables.
const MIN_DIP_DB: f64 = 4.0;

/// The valley's depth times the distance of the peaks: two vowels 0.1 s apart have a consonant of
/// some duration between them, so their valley is 7 dB deep or more. Glides, voiced stops and the
/// wavering of a vowel make shallow valleys between close peaks.
const MIN_DIP_DB_S: f64 = 0.7;

/// The syllables of a recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Nuclei {
    times_s: Vec<f64>,
}

impl Nuclei {
    /// Time of the loudest point of every syllable in seconds, ascending.
    #[must_use]
    pub fn times_s(&self) -> &[f64] {
        &self.times_s
    }

    /// Number of syllables.
    #[must_use]
    pub fn count(&self) -> usize {
        self.times_s.len()
    }

    /// Syllables per second of `duration_s` (pauses included, or the speaking time alone);
    /// `None` without time.
    #[must_use]
    pub fn rate(&self, duration_s: f64) -> Option<f64> {
        (duration_s > 0.0).then(|| self.count() as f64 / duration_s)
    }
}

/// Settings of the contour [`find`] asks for voicing: autocorrelation, 60 to 450 Hz, 20 ms steps.
#[must_use]
pub fn pitch_settings() -> PitchSettings {
    let mut settings = PitchSettings::praat(PitchMethod::Autocorrelation, 60.0, 450.0);
    settings.time_step_s = Some(0.02);
    settings
}

/// Finds the syllables; `pitch` says where there is voice (see [`pitch_settings`]; any contour
/// with a floor near 60 Hz serves). `None` when the sound is shorter than one loudness window.
#[must_use]
pub fn find(sound: &Sound<'_>, pitch: &PitchTrack) -> Option<Nuclei> {
    let band = vowel_band(sound);
    let anchored = band.get(..anchored_length(sound)).unwrap_or(&band);
    let loudness = intensity::contour(&Sound::new(anchored, sound.rate()), INTENSITY_FLOOR_HZ)?;
    let level = loudness.db();
    let loud = stats::quantile_of(level, 0.99)?;
    let frames = loudness.frames();
    let voiced_peaks = (1..level.len().saturating_sub(1)).filter(|&k| match level.get(k - 1..k + 2) {
        Some([before, here, after]) => {
            here > before && here >= after && *here > loud - BELOW_LOUD_DB && pitch.value_at(frames.time(k)).is_some()
        }
        _ => false,
    });
    let kept = prominent(level, voiced_peaks, MIN_DIP_DB_S / frames.dt);
    Some(Nuclei { times_s: kept.into_iter().map(|k| frames.time(k)).collect() })
}

/// Samples from the beginning that put the first frame of the contour at the same time in every sound.
///
/// Frames are centred in what is left of the sound. Telephone audio comes in whole steps, so that rounding alone would
/// decide whether one more frame fits, and all frames would move by half a step with it: silence before or after speech
/// could then add or take a syllable. Less than a step of the end is given up for that.
fn anchored_length(sound: &Sound<'_>) -> usize {
    /// Of the window and of the step, in periods of the floor (see [`intensity::contour`]).
    const WINDOW_PERIODS: f64 = 6.4;
    const STEP_PERIODS: f64 = 0.8;
    /// Room beside the last frame: far from both limits at which a frame would come or go.
    const SPARE_STEPS: f64 = 0.2;
    let length = sound.samples().len();
    let step_s = STEP_PERIODS / INTENSITY_FLOOR_HZ;
    let least_s = WINDOW_PERIODS / INTENSITY_FLOOR_HZ + SPARE_STEPS * step_s;
    let steps = ((length as f64 * sound.dx() - least_s) / step_s + 1e-6).floor();
    if steps < 0.0 {
        return length;
    }
    (((least_s + steps * step_s) / sound.dx()).round() as usize).min(length)
}

/// The sound between [`LOW_HZ`] and [`HIGH_HZ`]: Butterworth edges of 24 dB per octave, which cost
/// a tenth of a transform of the whole sound and need no memory of it.
fn vowel_band(sound: &Sound<'_>) -> Vec<f64> {
    let rate = sound.rate().hz();
    let low = HALVES.map(|q| Section::high_pass(LOW_HZ / rate, q));
    // At the lowest rates there is nothing above the band.
    let high = (HIGH_HZ < 0.45 * rate).then(|| HALVES.map(|q| Section::low_pass(HIGH_HZ / rate, q)));
    match (low, high) {
        ([a, b], Some([c, d])) => filtered(sound.samples(), [a, b, c, d]),
        (low, None) => filtered(sound.samples(), low),
    }
}

fn filtered<const N: usize>(samples: &[f64], mut sections: [Section; N]) -> Vec<f64> {
    samples.iter().map(|&x| sections.iter_mut().fold(x, |x, section| section.step(x))).collect()
}

/// A filter of second order (transposed direct form II).
#[derive(Debug, Clone, Copy)]
struct Section {
    feed: [f64; 3],
    back: [f64; 2],
    state: [f64; 2],
}

impl Section {
    /// Bilinear transform of the analogue low-pass; `frequency` in cycles per sample.
    fn low_pass(frequency: f64, q: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        Self::of(sin, cos, q, [0.5 * (1.0 - cos), 1.0 - cos, 0.5 * (1.0 - cos)])
    }

    fn high_pass(frequency: f64, q: f64) -> Self {
        let (sin, cos) = (TAU * frequency).sin_cos();
        Self::of(sin, cos, q, [0.5 * (1.0 + cos), -1.0 - cos, 0.5 * (1.0 + cos)])
    }

    fn of(sin: f64, cos: f64, q: f64, feed: [f64; 3]) -> Self {
        let alpha = sin / (2.0 * q);
        let scale = 1.0 / (1.0 + alpha);
        Self { feed: feed.map(|b| b * scale), back: [-2.0 * cos * scale, (1.0 - alpha) * scale], state: [0.0; 2] }
    }

    #[inline(always)]
    fn step(&mut self, x: f64) -> f64 {
        let [b0, b1, b2] = self.feed;
        let [a1, a2] = self.back;
        let [s1, s2] = self.state;
        let y = b0 * x + s1;
        self.state = [b1 * x - a1 * y + s2, b2 * x - a2 * y];
        y
    }
}

/// The peaks with a deep enough valley between them; of two with a shallower one the higher.
/// `dip_db_frames` is depth times distance in frames.
fn prominent(level: &[f64], peaks: impl Iterator<Item = usize>, dip_db_frames: f64) -> Vec<usize> {
    let height = |k: usize| level.get(k).copied().unwrap_or(f64::NEG_INFINITY);
    let lowest =
        |from: usize, to: usize| level.get(from..=to).unwrap_or_default().iter().copied().fold(f64::INFINITY, f64::min);
    let mut kept: Vec<usize> = Vec::new();
    for peak in peaks {
        loop {
            let Some(&before) = kept.last() else {
                kept.push(peak);
                break;
            };
            let dip_db = MIN_DIP_DB.max(dip_db_frames / (peak - before).max(1) as f64);
            if height(before).min(height(peak)) - lowest(before, peak) >= dip_db {
                kept.push(peak);
                break;
            }
            if height(peak) <= height(before) {
                break;
            }
            // The newcomer takes the other's place and meets the one before it.
            kept.pop();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shallow_and_close_peaks_merge_into_the_higher() {
        let level = [0.0, 20.0, 17.5, 21.0, 5.0, 18.0, 17.0, 15.0, 10.0];
        // 2.5 dB between the first two, 13 dB to the third.
        assert_eq!(prominent(&level, [1, 3, 5].into_iter(), 8.0), [3, 5]);
        // Two frames apart, 30 dB frames ask for 15 dB.
        assert_eq!(prominent(&level, [1, 3, 5].into_iter(), 30.0), [3]);
        assert!(prominent(&level, std::iter::empty(), 8.0).is_empty());
    }

    #[test]
    fn a_short_or_silent_sound_has_no_syllables() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, crate::SampleRate::TELEPHONE);
        let contour = crate::pitch::track(&sound, &pitch_settings());
        let found = contour.as_ref().and_then(|c| find(&sound, c));
        assert_eq!(found.map(|n| (n.count(), n.rate(1.0), n.rate(0.0))), Some((0, Some(0.0), None)));
        let short = Sound::new(&samples[..300], crate::SampleRate::TELEPHONE);
        assert_eq!(contour.and_then(|c| find(&short, &c)), None);
    }
}

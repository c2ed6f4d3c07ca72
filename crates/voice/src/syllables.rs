//! Syllable nuclei: how many vowel-like peaks of loudness a recording has.
//!
//! [`nuclei`] is the published counter of De Jong and Wempe (2009, "Praat script to detect syllable
//! nuclei and measure speech rate automatically", Behavior Research Methods 41, 385-390): a peak of
//! the intensity contour counts as a syllable when it is loud enough, stands out from the dip that
//! follows, and is voiced. It counts isolated words a fifth too high on average; it is here so that
//! results can be compared with studies that used it.

use crate::intensity;
use crate::pitch::{self, PitchMethod, PitchSettings};
use crate::silences::{self, SilenceSettings};
use crate::sound::Sound;

/// Lowest pitch whose ripple the contour smooths, in Hz.
const INTENSITY_FLOOR_HZ: f64 = 50.0;
/// Peaks are looked for down to this far below the loud level, in dB.
const BELOW_LOUD_DB: f64 = 25.0;
/// The loud level: all but the loudest hundredth of the contour lies below.
const LOUD_QUANTILE: f64 = 0.99;
/// How far a peak has to stand out from the dip that follows, in dB.
const MIN_DIP_DB: f64 = 2.0;
/// Shortest pause and shortest sounding stretch in seconds.
const MIN_PAUSE_S: f64 = 0.3;
const MIN_SOUNDING_S: f64 = 0.1;

/// What the published counter finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Nuclei {
    /// Times of the nuclei in seconds, ascending.
    pub times_s: Vec<f64>,
    /// Number of pauses: gaps between sounding stretches.
    pub pauses: usize,
    /// Total time of the sounding stretches in seconds.
    pub phonation_s: f64,
    /// Length of the sound in seconds.
    pub duration_s: f64,
    /// Lowest level at which a peak was accepted, in dB.
    pub threshold_db: f64,
}

impl Nuclei {
    /// Nuclei per second of the whole sound.
    #[must_use]
    pub fn speech_rate(&self) -> Option<f64> {
        (self.duration_s > 0.0).then(|| self.times_s.len() as f64 / self.duration_s)
    }

    /// Nuclei per second of sounding time; `None` when nothing sounds.
    #[must_use]
    pub fn articulation_rate(&self) -> Option<f64> {
        (self.phonation_s > 0.0).then(|| self.times_s.len() as f64 / self.phonation_s)
    }
}

/// Finds the nuclei; `None` when the sound is shorter than the contour's window (128 ms).
#[must_use]
pub fn nuclei(sound: &Sound<'_>) -> Option<Nuclei> {
    let contour = intensity::contour(sound, INTENSITY_FLOOR_HZ)?;
    let levels = contour.db();
    let loud = loud_level(levels)?;
    let lowest = levels.iter().copied().reduce(f64::min)?;
    let highest = levels.iter().copied().reduce(f64::max)?;
    let threshold_db = (loud - BELOW_LOUD_DB).max(lowest);
    let settings = SilenceSettings {
        threshold_db: -BELOW_LOUD_DB - (highest - loud),
        min_silent_s: MIN_PAUSE_S,
        min_sounding_s: MIN_SOUNDING_S,
    };
    let mut sounding = silences::of_contour(&contour, sound.end(), &settings);
    sounding.retain(|stretch| stretch.sounding);

    let track = pitch::track(sound, &pitch_settings());
    let voiced = |time: f64| track.as_ref().is_some_and(|track| track.value_at(time).is_some());
    let heard = |time: f64| sounding.iter().any(|s| s.start_s <= time && time <= s.end_s);
    let times_s = prominent_peaks(levels, threshold_db)
        .map(|k| contour.frames().time(k))
        .filter(|&time| heard(time) && voiced(time))
        .collect();
    Some(Nuclei {
        times_s,
        pauses: sounding.len().saturating_sub(1),
        phonation_s: sounding.iter().map(|s| s.duration_s()).sum::<f64>() + 0.0,
        duration_s: sound.end(),
        threshold_db,
    })
}

/// The 99 % quantile. In contours of less than 50 frames it lies beyond the highest value, on the
/// line through the two highest ones, as in the reference.
fn loud_level(levels: &[f64]) -> Option<f64> {
    let mut sorted = levels.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = LOUD_QUANTILE * sorted.len() as f64 + 0.5;
    let left = (place.floor() as usize).min(sorted.len().saturating_sub(1)).max(1);
    let low = *sorted.get(left - 1)?;
    let high = sorted.get(left).copied().unwrap_or(low);
    Some(low + (place - left as f64) * (high - low))
}

/// Local maxima above the threshold that stand out from the lowest point before the next one. The
/// last maximum has no next one and never counts; the published script has it so.
fn prominent_peaks(levels: &[f64], threshold_db: f64) -> impl Iterator<Item = usize> {
    let peaks: Vec<usize> = levels
        .windows(3)
        .enumerate()
        .filter(
            |(_, w)| matches!(w, [left, middle, right] if middle > left && middle >= right && *middle > threshold_db),
        )
        .map(|(k, _)| k + 1)
        .collect();
    let prominent: Vec<usize> = peaks
        .windows(2)
        .filter_map(|pair| match *pair {
            [peak, next] => {
                let between = levels.get(peak..=next)?;
                let dip = between.iter().copied().reduce(f64::min)?;
                ((between.first()? - dip).abs() > MIN_DIP_DB).then_some(peak)
            }
            _ => None,
        })
        .collect();
    prominent.into_iter()
}

fn pitch_settings() -> PitchSettings {
    let mut settings = PitchSettings::praat(PitchMethod::Autocorrelation, 30.0, 450.0);
    settings.time_step_s = Some(0.02);
    settings.max_candidates = 4;
    settings.voicing_threshold = 0.25;
    settings.voiced_unvoiced_cost = 0.25;
    settings
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    #[test]
    fn swells_of_a_tone_are_counted() {
        // Eight swells, of which the last is never counted.
        let samples: Vec<f64> = (0..16_000)
            .map(|n| {
                let t = f64::from(n) / 8000.0;
                let swell = (std::f64::consts::PI * 4.0 * t).sin().powi(2);
                (0.02 + swell) * 0.2 * ((t * 900.0).sin() + (t * 1800.0).sin())
            })
            .collect();
        let found = nuclei(&Sound::new(&samples, SampleRate::TELEPHONE)).unwrap();
        assert_eq!(found.times_s.len(), 7, "{found:?}");
        assert_eq!(found.pauses, 0);
        assert!((found.speech_rate().unwrap() - 3.5).abs() < 1e-12);
    }

    #[test]
    fn the_loud_level_of_few_frames_lies_beyond_them() {
        let near = |levels: &[f64], expected: f64| loud_level(levels).is_some_and(|l| (l - expected).abs() < 1e-12);
        assert!(near(&[70.0], 70.0));
        // Place 2.48 on the line through places 1 and 2.
        assert!(near(&[80.0, 82.0], 82.96));
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        assert!(near(&many, 98.5));
        assert_eq!(loud_level(&[]), None);
    }

    #[test]
    fn silence_has_no_syllables() {
        let found = nuclei(&Sound::new(&[0.0; 8000], SampleRate::TELEPHONE)).unwrap();
        assert!(found.times_s.is_empty());
        assert_eq!(nuclei(&Sound::new(&[0.0; 1000], SampleRate::TELEPHONE)), None);
    }
}

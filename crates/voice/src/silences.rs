//! Silent and sounding intervals by a threshold below the loudest moment.
//!
//! This is the classic rule (Praat's "To TextGrid (silences)"): whatever lies more than 25 dB below
//! the maximum of the intensity contour is silent, and intervals that are too short are given to
//! their neighbours. One loud syllable or click shifts the threshold of the whole recording, so the
//! product's own pauses come from [`crate::pauses`]; this one is for comparison with studies, and
//! the published syllable counter builds on it.

use crate::intensity::{self, Intensity};
use crate::interpolate::parabola;
use crate::sound::Sound;
use crate::spectrum::{self, Spectrum};

/// Band whose level counts, and the reach of its edges, in Hz: leaves out hum and rumble.
const BAND_HZ: (f64, f64) = (80.0, 8000.0);
const SKIRT_HZ: f64 = 80.0;
/// Lowest pitch whose ripple the contour smooths, in Hz.
const INTENSITY_FLOOR_HZ: f64 = 100.0;

/// When an interval is silent, and how long it has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SilenceSettings {
    /// Threshold in dB relative to the maximum; negative.
    pub threshold_db: f64,
    /// Shorter silences in seconds count as sounding.
    pub min_silent_s: f64,
    /// Shorter sounds in seconds count as silent.
    pub min_sounding_s: f64,
}

impl Default for SilenceSettings {
    fn default() -> Self {
        Self { threshold_db: -25.0, min_silent_s: 0.1, min_sounding_s: 0.1 }
    }
}

/// A stretch of time that is silent or sounding throughout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds; the next stretch starts here.
    pub end_s: f64,
    /// Whether something sounds.
    pub sounding: bool,
}

impl Stretch {
    /// Length in seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.end_s - self.start_s
    }
}

/// Cuts the whole sound into silent and sounding stretches with the standard settings, after a
/// band-pass of 80-8000 Hz. `None` when the sound is shorter than the contour's window (64 ms).
#[must_use]
pub fn detect(sound: &Sound<'_>) -> Option<Vec<Stretch>> {
    of_filtered(sound, &spectrum::band_pass(sound, BAND_HZ.0, BAND_HZ.1, SKIRT_HZ))
}

/// [`detect`] for a sound whose spectrum is known already.
#[must_use]
pub fn detect_with(sound: &Sound<'_>, spectrum: &Spectrum) -> Option<Vec<Stretch>> {
    of_filtered(sound, &spectrum.band_pass(BAND_HZ.0, BAND_HZ.1, SKIRT_HZ))
}

fn of_filtered(sound: &Sound<'_>, filtered: &[f64]) -> Option<Vec<Stretch>> {
    let contour = intensity::contour(&Sound::new(filtered, sound.rate()), INTENSITY_FLOOR_HZ)?;
    Some(of_contour(&contour, sound.end(), &SilenceSettings::default()))
}

/// Cuts the time from 0 to `end_s` by an intensity contour. When the threshold lies below the
/// quietest moment, all of it is one sounding stretch.
#[must_use]
pub fn of_contour(contour: &Intensity, end_s: f64, settings: &SilenceSettings) -> Vec<Stretch> {
    let levels = contour.db();
    let all = vec![Stretch { start_s: 0.0, end_s, sounding: true }];
    let (Some(max), Some(min)) = (maximum(levels.iter().copied()), maximum(levels.iter().map(|level| -level))) else {
        return all;
    };
    let threshold = max + settings.threshold_db;
    if settings.min_silent_s > end_s || threshold < -min {
        return all;
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for (k, &level) in levels.iter().enumerate() {
        let sounding = level >= threshold;
        let time = contour.frames().time(k);
        match stretches.last_mut() {
            Some(last) if last.sounding == sounding => {}
            Some(last) => {
                last.end_s = time;
                stretches.push(Stretch { start_s: time, end_s, sounding });
            }
            None => stretches.push(Stretch { start_s: 0.0, end_s, sounding }),
        }
    }
    // The order of these steps is part of the definition.
    drop_short(&mut stretches, true, settings.min_sounding_s);
    merge(&mut stretches);
    drop_short(&mut stretches, false, settings.min_silent_s);
    merge(&mut stretches);
    stretches
}

/// Removes stretches of one kind that are too short; their time goes to the stretch before, that of
/// the very first one to the stretch after it.
fn drop_short(stretches: &mut Vec<Stretch>, sounding: bool, min_s: f64) {
    let mut kept: Vec<Stretch> = Vec::with_capacity(stretches.len());
    let mut start_of_next = None;
    let count = stretches.len();
    for (k, mut stretch) in stretches.drain(..).enumerate() {
        if let Some(start_s) = start_of_next.take() {
            stretch.start_s = start_s;
        }
        if stretch.sounding != sounding || stretch.duration_s() >= min_s {
            kept.push(stretch);
            continue;
        }
        match kept.last_mut() {
            Some(before) => before.end_s = stretch.end_s,
            None if k + 1 < count => start_of_next = Some(stretch.start_s),
            // The only one stays, however short.
            None => kept.push(stretch),
        }
    }
    *stretches = kept;
}

fn merge(stretches: &mut Vec<Stretch>) {
    stretches.dedup_by(|next, before| {
        let same = next.sounding == before.sounding;
        if same {
            before.end_s = next.end_s;
        }
        same
    });
}

/// Highest value, refined by a parabola at maxima between two neighbours.
fn maximum(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut highest: Option<f64> = None;
    let (mut left, mut middle): (Option<f64>, Option<f64>) = (None, None);
    for right in values.map(Some).chain([None]) {
        if let Some(middle) = middle {
            let height = match (left, right) {
                (Some(left), Some(right)) if middle > left && middle >= right => parabola(left, middle, right).1,
                _ => middle,
            };
            highest = Some(highest.map_or(height, |h| h.max(height)));
        }
        (left, middle) = (middle, right);
    }
    highest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    fn stretch(start_s: f64, end_s: f64, sounding: bool) -> Stretch {
        Stretch { start_s, end_s, sounding }
    }

    #[test]
    fn bursts_and_gaps_are_found() {
        let on = |t: f64| (0.5..1.2).contains(&t) || (1.7..2.4).contains(&t);
        let samples: Vec<f64> = (0..24_000)
            .map(|n| {
                let t = f64::from(n) / 8000.0;
                if on(t) { 0.3 * (t * 1500.0).sin() } else { 1e-4 * (t * 7000.0).sin() }
            })
            .collect();
        let found = detect(&Sound::new(&samples, SampleRate::TELEPHONE)).unwrap();
        let kinds: Vec<bool> = found.iter().map(|s| s.sounding).collect();
        assert_eq!(kinds, [false, true, false, true, false]);
        for (stretch, (start, end)) in found.iter().zip([(0.0, 0.5), (0.5, 1.2), (1.2, 1.7), (1.7, 2.4), (2.4, 3.0)]) {
            assert!((stretch.start_s - start).abs() < 0.03 && (stretch.end_s - end).abs() < 0.03, "{stretch:?}");
        }
    }

    #[test]
    fn short_stretches_go_to_their_neighbours() {
        let mut stretches = vec![stretch(0.0, 0.05, true), stretch(0.05, 1.0, false), stretch(1.0, 1.05, true)];
        drop_short(&mut stretches, true, 0.1);
        assert_eq!(stretches, [stretch(0.0, 1.05, false)]);
        let mut single = vec![stretch(0.0, 0.05, true)];
        drop_short(&mut single, true, 0.1);
        assert_eq!(single, [stretch(0.0, 0.05, true)]);
    }

    #[test]
    fn an_even_level_is_one_sounding_stretch_and_too_short_a_sound_none() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        assert_eq!(detect(&sound), Some(vec![stretch(0.0, 1.0, true)]));
        assert_eq!(detect(&Sound::new(&samples[..300], SampleRate::TELEPHONE)), None);
    }
}

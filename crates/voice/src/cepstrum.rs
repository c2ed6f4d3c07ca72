//! Cepstral peak prominence (CPP): how strongly the spectrum repeats itself along frequency, which
//! is what a periodic voice does and a breathy or hoarse one does less.
//!
//! The smoothed measure (CPPS) of Praat is followed in the settings of the Acoustic Voice Quality
//! Index: power cepstrogram 60 Hz, 2 ms, maximum frequency 5000 (or 4000) Hz, pre-emphasis from 50
//! Hz; smoothed over 10 ms and 1 ms; peak between 60 and 330 Hz, parabolic; straight robust trend
//! over the whole axis. Method: Hillenbrand and Houde 1996, "Acoustic correlates of breathy vocal
//! quality", JSHR 39, 311-321. Praat changed the rule after version 6.1: see [`CppsRule`].
//!
//! A frame is a column of 513 points every 2 ms, so speed matters: several frames are analysed side
//! by side in vector registers, the cosine transform uses the symmetry of the spectrum, and medians
//! are selected, not sorted.

mod engine;
mod fft;
mod lanes;
mod layout;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod plain;
mod prominence;
mod select;
mod smoothing;
mod transform;

use crate::resampling;
use crate::sound::{Frames, Sound};
use crate::stats;
use layout::Layout;

/// Maximum frequency in Hz of the Acoustic Voice Quality Index.
pub const MAX_FREQUENCY_AVQI_HZ: f64 = 5000.0;
/// Maximum frequency in Hz for telephone audio: no resampling and no empty band, but values 1.5 to
/// 3 dB higher than with 5000 Hz.
pub const MAX_FREQUENCY_TELEPHONE_HZ: f64 = 4000.0;
/// Maximum frequencies that make sense.
const MAX_FREQUENCY_RANGE_HZ: std::ops::RangeInclusive<f64> = 2000.0..=20_000.0;

/// How the prominence of a frame is read off its cepstrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CppsRule {
    /// Praat up to 6.1.38 (and all cut-offs published until 2020): highest point of the cepstrum in
    /// dB, minus the trend line there; quefrency 0 takes part in the trend.
    Praat61,
    /// Praat since 6.3: highest point of the cepstrum minus trend line, floored at 0 dB; quefrency
    /// 0 does not take part. Reads 0.04 to 0.7 dB higher, the more the weaker the voice.
    Praat63,
}

/// What to compute besides the settings that define the measure.
#[derive(Debug, Clone, Copy)]
pub struct CppsOptions<'a> {
    /// Highest frequency of the spectrum in Hz, half the rate the sound is resampled to; see
    /// [`MAX_FREQUENCY_AVQI_HZ`] and [`MAX_FREQUENCY_TELEPHONE_HZ`].
    pub max_frequency_hz: f64,
    /// The rule; `None` computes both, which costs less than one after the other.
    pub rule: Option<CppsRule>,
    /// Only frames whose centre lies in one of these stretches (start and end in seconds, ascending);
    /// `None` means all frames.
    pub within_s: Option<&'a [(f64, f64)]>,
}

/// Cepstral peak prominence, smoothed, frame by frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Cpps {
    frames: Frames,
    numbers: Vec<usize>,
    praat61_db: Vec<f64>,
    praat63_db: Vec<f64>,
}

impl Cpps {
    /// Where the frames of the whole sound lie (every 2 ms).
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// Numbers of the frames that were computed, counted from 0, ascending.
    #[must_use]
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Prominence of every computed frame in dB; empty if the rule was not asked for.
    #[must_use]
    pub fn db(&self, rule: CppsRule) -> &[f64] {
        match rule {
            CppsRule::Praat61 => &self.praat61_db,
            CppsRule::Praat63 => &self.praat63_db,
        }
    }

    /// CPPS in dB: mean over all computed frames.
    #[must_use]
    pub fn mean_db(&self, rule: CppsRule) -> Option<f64> {
        self.mean_db_where(rule, |_| true)
    }

    /// Mean in dB over the computed frames whose time in seconds is accepted, such as the voiced ones.
    #[must_use]
    pub fn mean_db_where(&self, rule: CppsRule, mut accepted: impl FnMut(f64) -> bool) -> Option<f64> {
        stats::mean(&self.db_where(rule, &mut accepted))
    }

    /// Standard deviation (n - 1) in dB over the computed frames whose time in seconds is accepted.
    #[must_use]
    pub fn sd_db_where(&self, rule: CppsRule, mut accepted: impl FnMut(f64) -> bool) -> Option<f64> {
        stats::standard_deviation(&self.db_where(rule, &mut accepted))
    }

    fn db_where(&self, rule: CppsRule, accepted: &mut dyn FnMut(f64) -> bool) -> Vec<f64> {
        let times = self.numbers.iter().map(|k| self.frames.time(*k));
        times.zip(self.db(rule)).filter(|(time, _)| accepted(*time)).map(|(_, db)| *db).collect()
    }
}

/// CPPS of all frames by both rules; `None` when the sound is shorter than about 30 ms or
/// `max_frequency_hz` lies outside 2000 to 20000 Hz.
#[must_use]
pub fn cpps(sound: &Sound<'_>, max_frequency_hz: f64) -> Option<Cpps> {
    cpps_with(sound, &CppsOptions { max_frequency_hz, rule: None, within_s: None })
}

/// CPPS of chosen frames by one or both rules; `None` as for [`cpps`].
///
/// Values do not depend on which frames are chosen: neighbours needed for smoothing are taken along.
#[must_use]
pub fn cpps_with(sound: &Sound<'_>, options: &CppsOptions<'_>) -> Option<Cpps> {
    analyse(pulp::Arch::new(), sound, options)
}

/// The analysis with a given kind of vector registers.
fn analyse(registers: pulp::Arch, sound: &Sound<'_>, options: &CppsOptions<'_>) -> Option<Cpps> {
    if !MAX_FREQUENCY_RANGE_HZ.contains(&options.max_frequency_hz) {
        return None;
    }
    let layout = Layout::new(sound, options.max_frequency_hz)?;
    let numbers = match options.within_s {
        None => (0..layout.frames.count).collect(),
        Some(stretches) => chosen(&layout.frames, stretches),
    };
    let resampled = resampling::resample(sound, 2.0 * options.max_frequency_hz)?;
    let rules = [CppsRule::Praat61, CppsRule::Praat63].map(|rule| options.rule.is_none_or(|only| only == rule));
    let engine = engine::Engine { layout: &layout, sound: &resampled, wanted: &numbers, rules };
    let [praat61_db, praat63_db] = registers.dispatch(engine);
    Some(Cpps { frames: layout.frames, numbers, praat61_db, praat63_db })
}

/// Frames with their centre in one of the stretches.
fn chosen(frames: &Frames, stretches: &[(f64, f64)]) -> Vec<usize> {
    let mut numbers: Vec<usize> = Vec::new();
    for (start, end) in stretches {
        let first = (frames.index(*start).ceil() - 1.0).max(0.0) as usize;
        let next = numbers.last().map_or(0, |last| last + 1);
        let last = frames.index(*end).floor().max(0.0) as usize;
        numbers.extend(first.max(next)..last.min(frames.count));
    }
    numbers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::SampleRate;
    use crate::synth::{self, VoiceSpec};

    fn noise(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    /// A buzz with some noise.
    fn voice(count: usize, rate: u32, noisiness: f64) -> Vec<f64> {
        let step = 2.0 * std::f64::consts::PI * 131.0 / f64::from(rate);
        let buzz = |i: usize| (1..20).map(|h| (step * (h * i) as f64 + h as f64).sin() / h as f64).sum::<f64>();
        noise(count, 7).iter().enumerate().map(|(i, n)| 0.1 * buzz(i) + noisiness * n).collect()
    }

    fn sound(samples: &[f64], rate: u32) -> Sound<'_> {
        Sound::new(samples, SampleRate::new(rate).unwrap())
    }

    #[test]
    fn every_frame_agrees_with_the_plain_formulation() {
        for (count, rate, max_frequency_hz) in [
            (4001, 8000, 5000.0),
            (4000, 8000, 4000.0),
            (700, 8000, 4000.0),
            (500, 8000, 5000.0),
            (807, 8000, 5000.0),
            (850, 8000, 5000.0),
            (8003, 16_000, 4321.0),
            (9000, 44_100, 5000.0),
            (6000, 11_025, 8000.0),
        ] {
            let samples = voice(count, rate, 0.05);
            let sound = sound(&samples, rate);
            let fast = cpps(&sound, max_frequency_hz).unwrap();
            let (old, new) = plain::cpps(&sound, max_frequency_hz).unwrap();
            for (rule, plain) in [(CppsRule::Praat61, old), (CppsRule::Praat63, new)] {
                assert_eq!(fast.db(rule).len(), plain.len());
                for (k, (a, b)) in fast.db(rule).iter().zip(&plain).enumerate() {
                    assert!((a - b).abs() < 1e-8, "{count} {rate} {max_frequency_hz} {rule:?} frame {k}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn chosen_frames_and_single_rules_read_the_same_bits() {
        let samples = voice(12_345, 8000, 0.1);
        let sound = sound(&samples, 8000);
        let all = cpps(&sound, 5000.0).unwrap();
        let stretches = [(-1.0, 0.06), (0.3, 0.301), (0.31, 0.45), (0.4, 0.5), (0.9, 0.95), (1.4, 99.0)];
        let some = CppsOptions { max_frequency_hz: 5000.0, rule: None, within_s: Some(&stretches) };
        let some = cpps_with(&sound, &some).unwrap();
        assert!(some.numbers().len() > 50 && some.numbers().len() < all.numbers().len());
        for rule in [CppsRule::Praat61, CppsRule::Praat63] {
            for (k, db) in some.numbers().iter().zip(some.db(rule)) {
                assert_eq!(*db, all.db(rule)[*k], "frame {k}");
            }
            let one = CppsOptions { max_frequency_hz: 5000.0, rule: Some(rule), within_s: None };
            let one = cpps_with(&sound, &one).unwrap();
            assert_eq!(one.db(rule), all.db(rule));
            let late = all.mean_db_where(rule, |time| time >= 0.9);
            assert!(late.is_some() && late != all.mean_db(rule));
        }
        let only_old = CppsOptions { max_frequency_hz: 5000.0, rule: Some(CppsRule::Praat61), within_s: None };
        assert_eq!(cpps_with(&sound, &only_old).unwrap().mean_db(CppsRule::Praat63), None);
        let nothing = CppsOptions { max_frequency_hz: 5000.0, rule: None, within_s: Some(&[]) };
        assert_eq!(cpps_with(&sound, &nothing).unwrap().mean_db(CppsRule::Praat61), None);
    }

    #[test]
    fn every_processor_reads_the_same_bits() {
        let samples = voice(3001, 8000, 0.1);
        let sound = sound(&samples, 8000);
        for max_frequency_hz in [4000.0, 5000.0] {
            let options = CppsOptions { max_frequency_hz, rule: None, within_s: None };
            let here = cpps_with(&sound, &options);
            assert!(here.is_some());
            assert_eq!(analyse(pulp::Arch::Scalar, &sound, &options), here);
            #[cfg(target_arch = "x86_64")]
            if let Some(narrow) = pulp::x86::V3::try_new() {
                assert_eq!(analyse(pulp::Arch::V3(narrow), &sound, &options), here);
            }
        }
    }

    #[test]
    fn a_clear_voice_stands_out_more_than_a_noisy_one() {
        let level = |noisiness| {
            let samples = voice(8000, 8000, noisiness);
            cpps(&sound(&samples, 8000), 4000.0).unwrap().mean_db(CppsRule::Praat61).unwrap()
        };
        let (clear, breathy, hoarse) = (level(0.001), level(0.1), level(1.0));
        assert!(clear > breathy + 1.0 && breathy > hoarse + 1.0, "{clear} {breathy} {hoarse}");
    }

    #[test]
    fn the_synthetic_voice_has_a_plausible_prominence() {
        let spoken = synth::sustained_vowel(&VoiceSpec::default(), 1.0, SampleRate::TELEPHONE);
        let result = cpps(&Sound::new(&spoken.samples, SampleRate::TELEPHONE), 4000.0).unwrap();
        let db = result.mean_db(CppsRule::Praat61).unwrap();
        assert!(db > 8.0 && db < 25.0, "{db}");
    }

    #[test]
    fn silence_and_constants_are_finite() {
        for value in [0.0, 0.25] {
            let samples = vec![value; 2000];
            let result = cpps(&sound(&samples, 8000), 4000.0).unwrap();
            assert!(result.mean_db(CppsRule::Praat61).is_some_and(f64::is_finite));
            assert!(result.mean_db(CppsRule::Praat63).is_some_and(f64::is_finite));
        }
    }

    #[test]
    fn too_short_or_absurd_is_undefined() {
        let samples = voice(200, 8000, 0.1);
        assert_eq!(cpps(&sound(&samples, 8000), 5000.0), None);
        let samples = voice(4000, 8000, 0.1);
        for frequency in [0.0, 100.0, -1.0, f64::NAN, f64::INFINITY, 1e6] {
            assert_eq!(cpps(&sound(&samples, 8000), frequency), None);
        }
    }
}

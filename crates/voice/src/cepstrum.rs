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
    let [praat61_db, praat63_db] = pulp::Arch::new().dispatch(engine);
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

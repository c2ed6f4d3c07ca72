//! Damage done to single samples: clipping, and packets a receiver made up or left empty.

use crate::pauses::Interval;
use crate::report::Channel;
use crate::sound::Sound;

/// Highest mu-law level on the scale of 1, with a margin for rounding.
const ULAW_FULL_SCALE: f64 = 32_123.5 / 32_768.0;
/// Highest 16-bit level likewise.
const PCM_FULL_SCALE: f64 = 32_766.5 / 32_768.0;

/// A flat top on a microphone recording: this many equal extremes in a row.
const FLAT_TOP: usize = 3;

/// Clipped stretches closer than this are one, so that a window is not threaded between them.
const CLIPPED_GAP_S: f64 = 0.05;

/// Steps of the coarse mu-law scale near full scale: a top this much more frequent than the two
/// steps below it was cut off there before it was coded. A sine has 2.4 times.
const PILED_UP: f64 = 4.0;
/// Such a top must hold this share of all samples, in runs this long on average.
const PILED_UP_SHARE: f64 = 0.001;
const PILED_UP_RUN: f64 = 3.0;

/// Packets a receiver may have repeated, in milliseconds.
const PACKETS_MS: [usize; 3] = [10, 20, 30];
/// Receivers repeat a packet a few times at most; a sound that repeats for longer is periodic.
const MAX_REPEATS: usize = 5;

/// Packets left empty: digital silence of a whole number of 10 ms within this range...
const EMPTY_UNIT_S: f64 = 0.01;
const MIN_EMPTY_S: f64 = 0.02;
const MAX_EMPTY_S: f64 = 0.2;
/// ...with sound on both sides that breaks off: its level in 5 ms within this of the loud level.
const FLANK_S: f64 = 0.005;
const FLANK_BELOW_LOUD_DB: f64 = 20.0;

/// What is wrong with the samples of a recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Damage {
    /// Share of samples at full scale or on flat tops, 0..1.
    pub clipped_fraction: f64,
    /// Where they are.
    pub clipped: Vec<Interval>,
    /// Packets the receiver repeated or left empty.
    pub concealed: Vec<Interval>,
}

impl Damage {
    /// Stretches a vowel should not be measured in, ascending; `gaps` are those the caller knows.
    pub fn spoiled(&self, gaps: &[Interval]) -> Vec<Interval> {
        joined([gaps, &self.concealed, &self.clipped].concat())
    }

    /// Stretches whose audio did not arrive, ascending and apart.
    pub fn spoiled_by_loss(&self, gaps: &[Interval]) -> Vec<Interval> {
        joined([gaps, &self.concealed].concat())
    }
}

/// Looks for damage.
pub fn find(sound: &Sound<'_>, channel: Channel) -> Damage {
    let samples = sound.samples();
    let rate = sound.rate().hz();
    let tops = Tops::of(samples, channel);
    let mut count = 0;
    let mut clipped: Vec<Interval> = Vec::new();
    let mut concealed = Vec::new();
    let loud = loud_power(samples);
    let mut at = 0;
    for run in samples.chunk_by(|a, b| a == b) {
        let next = at + run.len();
        let value = run.first().copied().unwrap_or_default();
        let span = Interval { start_s: at as f64 / rate, end_s: next as f64 / rate };
        if tops.cut_off(value, run.len()) {
            count += run.len();
            match clipped.last_mut() {
                Some(last) if span.start_s - last.end_s < CLIPPED_GAP_S => last.end_s = span.end_s,
                _ => clipped.push(span),
            }
        } else if empty_packets(samples, at, next, rate, loud) {
            concealed.push(span);
        }
        at = next;
    }
    for ms in PACKETS_MS {
        repeats(samples, ms * sound.rate().get() as usize / 1000, rate, &mut concealed);
    }
    Damage { clipped_fraction: count as f64 / samples.len().max(1) as f64, clipped, concealed: joined(concealed) }
}

/// In order of time, overlapping stretches as one.
fn joined(mut stretches: Vec<Interval>) -> Vec<Interval> {
    stretches.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    let mut out: Vec<Interval> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        match out.last_mut() {
            Some(last) if stretch.start_s <= last.end_s => last.end_s = last.end_s.max(stretch.end_s),
            _ => out.push(stretch),
        }
    }
    out
}

/// From which magnitude on a sample is cut off, by sign.
struct Tops {
    full: f64,
    /// Peak of a microphone recording, whose flat tops count wherever they are.
    peak: Option<f64>,
    /// Levels at which a telephone recording was cut off before it was coded.
    piled_up: [Option<f64>; 2],
}

impl Tops {
    fn of(samples: &[f64], channel: Channel) -> Self {
        let peak = samples.iter().fold(0.0, |p: f64, s| p.max(s.abs()));
        match channel {
            Channel::Telephone => {
                let piled_up = if peak > 0.1 { [1.0, -1.0].map(|sign| piled_up(samples, sign)) } else { [None; 2] };
                Self { full: ULAW_FULL_SCALE, peak: None, piled_up }
            }
            Channel::Wideband | Channel::Auto => {
                Self { full: PCM_FULL_SCALE, peak: (peak > 0.1).then_some(peak), piled_up: [None; 2] }
            }
        }
    }

    fn cut_off(&self, value: f64, run: usize) -> bool {
        let piled_up = self.piled_up.iter().flatten().any(|&top| top == value);
        let flat = run >= FLAT_TOP && self.peak == Some(value.abs());
        value.abs() >= self.full || flat || piled_up
    }
}

/// The highest level of a sign, if far more samples lie on it than on the two levels below.
fn piled_up(samples: &[f64], sign: f64) -> Option<f64> {
    // The three highest levels and how many samples they hold; one pass, few insertions.
    let mut levels = [(f64::NEG_INFINITY, 0_usize, 0_usize); 3];
    let mut before = f64::NAN;
    for &sample in samples {
        let height = sign * sample;
        if levels.last().is_some_and(|lowest| height >= lowest.0) {
            if let Some(level) = levels.iter_mut().find(|level| level.0 == height) {
                level.1 += 1;
                level.2 += usize::from(before != height);
            } else if let Some(place) = levels.iter().position(|level| height > level.0)
                && let Some(lower) = levels.get_mut(place..)
            {
                lower.rotate_right(1);
                if let Some(level) = lower.first_mut() {
                    *level = (height, 1, 1);
                }
            }
        }
        before = height;
    }
    let [top, second, third] = levels;
    let enough = top.1 as f64 >= PILED_UP_SHARE * samples.len() as f64;
    let long = top.1 as f64 >= PILED_UP_RUN * top.2 as f64;
    let more = top.1 as f64 >= PILED_UP * second.1.max(third.1).max(1) as f64;
    (enough && long && more && top.0 > 0.0).then_some(sign * top.0)
}

/// Power of the loudest tenth of the recording, from its 20 ms blocks.
fn loud_power(samples: &[f64]) -> f64 {
    let mut powers: Vec<f64> =
        samples.chunks(160).map(|c| c.iter().map(|s| s * s).sum::<f64>() / c.len() as f64).collect();
    let place = powers.len() * 9 / 10;
    if place >= powers.len() {
        return 0.0;
    }
    *powers.select_nth_unstable_by(place, f64::total_cmp).1
}

/// Whether a constant run is packets left empty in the middle of sound.
fn empty_packets(samples: &[f64], from: usize, to: usize, rate: f64, loud: f64) -> bool {
    let seconds = (to - from) as f64 / rate;
    if !(MIN_EMPTY_S - 0.001..=MAX_EMPTY_S).contains(&seconds) {
        return false;
    }
    // A sample beside the gap may have its value by chance.
    let units = (seconds / EMPTY_UNIT_S).round();
    if (seconds - units * EMPTY_UNIT_S).abs() * rate > 2.5 {
        return false;
    }
    let flank = (FLANK_S * rate).round() as usize;
    let least = loud * 10_f64.powf(-FLANK_BELOW_LOUD_DB / 10.0);
    let value = samples.get(from).copied().unwrap_or_default();
    let sounds = |part: Option<&[f64]>| {
        part.is_some_and(|p| p.iter().map(|s| (s - value) * (s - value)).sum::<f64>() / p.len().max(1) as f64 > least)
    };
    sounds(samples.get(from.saturating_sub(flank)..from)) && sounds(samples.get(to..to + flank))
}

/// Stretches in which packets of `packet` samples were repeated.
fn repeats(samples: &[f64], packet: usize, rate: f64, found: &mut Vec<Interval>) {
    // A repeated packet is long, so it is enough to look at some samples and then around them.
    const STRIDE: usize = 16;
    let same = |n: usize| n >= packet && n < samples.len() && samples.get(n) == samples.get(n - packet);
    if packet == 0 {
        return;
    }
    let mut n = packet;
    while n < samples.len() {
        if same(n) && same(n + STRIDE) {
            let from = (0..n).rev().find(|&k| !same(k)).map_or(packet, |k| k + 1);
            let to = (n + 1..samples.len()).find(|&k| !same(k)).unwrap_or(samples.len());
            let stretch = samples.get(from..to).unwrap_or_default();
            let silent = || stretch.iter().all(|s| stretch.first() == Some(s));
            if (packet..=MAX_REPEATS * packet).contains(&stretch.len()) && !silent() {
                found.push(Interval { start_s: from as f64 / rate, end_s: to as f64 / rate });
            }
            n = to;
        }
        n += STRIDE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    fn clipped(samples: &[f64], channel: Channel) -> f64 {
        find(&Sound::new(samples, SampleRate::TELEPHONE), channel).clipped_fraction
    }

    #[test]
    fn clipping_is_seen_at_full_scale_and_on_flat_tops() {
        let mut samples: Vec<f64> = (0..1000).map(|n| 0.5 * (f64::from(n) * 0.3).sin()).collect();
        assert_eq!(clipped(&samples, Channel::Wideband), 0.0);
        assert_eq!(clipped(&samples, Channel::Telephone), 0.0);
        for s in &mut samples {
            *s = s.clamp(-0.4, 0.4);
        }
        assert!(clipped(&samples, Channel::Wideband) > 0.1);
        assert!(clipped(&samples, Channel::Telephone) > 0.1);
        assert_eq!(clipped(&[32_124.0 / 32_768.0, 0.0], Channel::Telephone), 0.5);
        assert_eq!(clipped(&[], Channel::Telephone), 0.0);
    }
}

//! Pauses of running speech by a noise-adaptive level detector.
//!
//! Made for calls: thresholds follow the background of every 10 s, so one loud syllable, comfort
//! noise or a muted stretch does not redefine silence for the whole recording. Leading and
//! trailing silence is not a pause.
//!
//! It looks twice. The first look finds what is clearly speech, 10 ms at a time. The second
//! follows every word into the gap beside it until it cannot be told from that gap's own noise, so
//! that a pause is the time in which nothing of the words is left.

mod breath;
mod classify;
mod edges;
mod levels;

use std::ops::Range;

use crate::pitch::PitchTrack;
use crate::sound::Sound;
use crate::stats;
use levels::{BLOCK_S, Blocks};

/// Level frames: 20 ms long, every 10 ms.
const FRAME_S: f64 = 0.02;
const STEP_S: f64 = 0.01;
/// Blocks per step, and on either side of a frame's centre.
const STEP_BLOCKS: usize = (STEP_S / BLOCK_S) as usize;
const HALF_FRAME_BLOCKS: usize = (0.5 * FRAME_S / BLOCK_S) as usize;

/// Shorter gaps are stop closures, not pauses.
const MIN_GAP_S: f64 = 0.15;
/// Shorter bursts are clicks, not speech.
const MIN_BURST_S: f64 = 0.08;
/// Shortest silence reported as a pause.
pub const MIN_PAUSE_S: f64 = 0.25;
/// A silence may read shorter by this, because its two edges are found to about 5 ms each.
const RESOLUTION_S: f64 = 0.01;

/// Levels are not followed below this: one step of mu-law is -72 dBFS.
pub const QUIETEST_DBFS: f64 = -80.0;

/// A stretch of time in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
}

impl Interval {
    /// Length in seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.end_s - self.start_s
    }
}

/// Where somebody speaks in a recording, and how loud speech and background are.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechMap {
    /// Level of every frame in dBFS.
    levels: Vec<f64>,
    /// Whether the middle of every frame is digital silence: one number throughout.
    constant: Vec<bool>,
    first_centre_s: f64,
    speech: Vec<Interval>,
    pauses: Vec<Interval>,
    noise_dbfs: Option<f64>,
    end_s: f64,
}

/// Pause measures of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PauseSummary {
    /// Number of pauses of at least [`MIN_PAUSE_S`]; `None` when there is no speech.
    pub count: Option<usize>,
    /// Their total in seconds.
    pub total_s: Option<f64>,
    /// Their mean in seconds; `None` without pauses.
    pub mean_s: Option<f64>,
    /// The longest in seconds; `None` without pauses.
    pub longest_s: Option<f64>,
    /// Pause time over pause plus speech time, 0..1.
    pub fraction: Option<f64>,
}

impl SpeechMap {
    /// Stretches of speech, with gaps shorter than 0.15 s bridged.
    #[must_use]
    pub fn speech(&self) -> &[Interval] {
        &self.speech
    }

    /// Silences of at least [`MIN_PAUSE_S`] between stretches of speech.
    #[must_use]
    pub fn pauses(&self) -> &[Interval] {
        &self.pauses
    }

    /// Background level in dBFS: 10th percentile inside silences of at least 0.3 s, leading and
    /// trailing ones included. `None` when there is no such silence.
    #[must_use]
    pub fn noise_dbfs(&self) -> Option<f64> {
        self.noise_dbfs
    }

    /// Level in dBFS of the 20 ms around a time; `None` outside the recording.
    #[must_use]
    pub fn level_at(&self, time: f64) -> Option<f64> {
        let frame = ((time - self.first_centre_s) / STEP_S).round();
        if frame < 0.0 {
            return None;
        }
        self.levels.get(frame as usize).copied()
    }

    /// Total time of speech in seconds.
    #[must_use]
    pub fn speech_s(&self) -> f64 {
        self.speech.iter().map(Interval::duration_s).sum()
    }

    /// Leaves out the pauses that touch one of `gaps`: what was not heard is no pause.
    pub(crate) fn ignore_unheard(&mut self, gaps: &[Interval]) {
        self.pauses.retain(|pause| !gaps.iter().any(|gap| gap.start_s < pause.end_s && gap.end_s > pause.start_s));
    }

    /// Silences of at least 0.3 s, leading and trailing ones included, as ranges of the frames
    /// that keep clear of the words beside them.
    pub(crate) fn silences(&self) -> Vec<Range<usize>> {
        // Half a word's decay on either side is not background.
        const MARGIN_S: f64 = 0.05;
        const MIN_SILENCE_S: f64 = 0.3;
        let mut found = Vec::new();
        let mut from = 0.0;
        let ends = self.speech.iter().map(|s| (s.start_s, s.end_s));
        for (start_s, next) in ends.chain([(self.end_s, self.end_s)]) {
            if start_s - from >= MIN_SILENCE_S {
                let first = ((from + MARGIN_S) / STEP_S).ceil() as usize;
                let last = (((start_s - MARGIN_S) / STEP_S).floor() as usize).min(self.levels.len());
                found.push(first..last.max(first));
            }
            from = next;
        }
        found
    }

    /// Levels of the frames inside a stretch.
    fn levels_in(&self, part: Interval) -> &[f64] {
        let (first, last) = self.frames_in(part);
        self.levels.get(first..last).unwrap_or_default()
    }

    /// Middle of the quietest frame of a stretch.
    fn quietest_in(&self, part: Interval) -> Option<f64> {
        let (first, _) = self.frames_in(part);
        let levels = self.levels_in(part).iter().enumerate();
        levels.min_by(|a, b| a.1.total_cmp(b.1)).map(|(k, _)| self.frame_time(first + k))
    }

    /// Range of the frames whose middle lies in a stretch.
    fn frames_in(&self, part: Interval) -> (usize, usize) {
        let frame = |time: f64| ((time - self.first_centre_s) / STEP_S).ceil().max(0.0) as usize;
        let first = frame(part.start_s).min(self.levels.len());
        (first, frame(part.end_s).min(self.levels.len()).max(first))
    }

    /// Level of every frame of 10 ms in dBFS.
    pub(crate) fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// Whether frame `k` is digital silence.
    pub(crate) fn is_constant(&self, k: usize) -> bool {
        self.constant.get(k).copied().unwrap_or(false)
    }

    /// Time of the middle of frame `k`.
    pub(crate) fn frame_time(&self, k: usize) -> f64 {
        self.first_centre_s + k as f64 * STEP_S
    }

    /// The pause measures.
    #[must_use]
    pub fn summary(&self) -> PauseSummary {
        if self.speech.is_empty() {
            return PauseSummary::default();
        }
        let durations: Vec<f64> = self.pauses.iter().map(Interval::duration_s).collect();
        // An empty sum is negative zero, which would show as -0.0 in the report.
        let total = durations.iter().sum::<f64>() + 0.0;
        PauseSummary {
            count: Some(durations.len()),
            total_s: Some(total),
            mean_s: stats::mean(&durations),
            longest_s: durations.iter().copied().reduce(f64::max),
            fraction: Some(total / (total + self.speech_s())),
        }
    }
}

/// Finds speech and pauses.
#[must_use]
pub fn detect(sound: &Sound<'_>) -> SpeechMap {
    let blocks = Blocks::of(sound);
    let levels = levels(sound, &blocks);
    let constant = (0..levels.len()).map(|k| blocks.constant(k * STEP_BLOCKS, (k + 1) * STEP_BLOCKS)).collect();
    let clear = classify::runs(&classify::classify(&levels), MIN_GAP_S);
    let speech = words(&blocks, &clear, sound.end());
    let pauses = gaps_of(&speech);
    let mut map = SpeechMap {
        levels,
        constant,
        first_centre_s: 0.5 * STEP_S,
        speech,
        pauses,
        noise_dbfs: None,
        end_s: sound.end(),
    };
    map.noise_dbfs = background(&map);
    map
}

/// The same with the contour of the recording at hand: audible breath between words is silence.
#[must_use]
pub fn detect_with(sound: &Sound<'_>, pitch: Option<&PitchTrack>) -> SpeechMap {
    let mut map = detect(sound);
    if let Some(speech) = pitch.and_then(|pitch| breath::without(&map, pitch)) {
        map.pauses = gaps_of(&speech);
        map.speech = speech;
        map.noise_dbfs = background(&map);
    }
    map
}

/// The pauses between stretches of speech.
fn gaps_of(speech: &[Interval]) -> Vec<Interval> {
    speech
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(Interval { start_s: a.end_s, end_s: b.start_s }),
            _ => None,
        })
        .filter(|gap| gap.duration_s() >= MIN_PAUSE_S - RESOLUTION_S)
        .collect()
}

/// Level of the 20 ms around every 10 ms (5, 15, 25 ms, ...) in dBFS.
fn levels(sound: &Sound<'_>, blocks: &Blocks) -> Vec<f64> {
    let count = (sound.end() / STEP_S).floor() as usize;
    (0..count)
        .map(|k| {
            let centre = k * STEP_BLOCKS + STEP_BLOCKS / 2;
            blocks.level(centre.saturating_sub(HALF_FRAME_BLOCKS), centre + HALF_FRAME_BLOCKS)
        })
        .collect()
}

/// Stretches of speech with their exact edges, from the runs of clear frames.
fn words(blocks: &Blocks, clear: &[(usize, usize)], end_s: f64) -> Vec<Interval> {
    let mut scratch = Vec::new();
    let mut words: Vec<Interval> = Vec::with_capacity(clear.len());
    let mut start_s = 0.0;
    let mut next = clear.iter().peekable();
    let Some(&&(first, _)) = next.peek() else {
        return words;
    };
    if let Some(lead) = edges::silence(blocks, 0, first * STEP_BLOCKS, true, false, &mut scratch) {
        start_s = lead.end_s;
    }
    while let Some(&(_, end)) = next.next() {
        let left = (end * STEP_BLOCKS).min(blocks.count());
        let (right, last) = match next.peek() {
            Some(&&(start, _)) => (start * STEP_BLOCKS, false),
            None => (blocks.count(), true),
        };
        let gap = edges::silence(blocks, left, right, false, last, &mut scratch);
        let word_end_s = match gap {
            Some(gap) => gap.start_s,
            None if last => end_s,
            // The weak parts of two words meet.
            None => continue,
        };
        words.push(Interval { start_s, end_s: word_end_s.min(end_s) });
        start_s = gap.map_or(end_s, |gap| gap.end_s);
    }
    words.retain(|word| word.duration_s() >= MIN_BURST_S);
    let mut joined: Vec<Interval> = Vec::with_capacity(words.len());
    for word in words {
        match joined.last_mut() {
            Some(before) if word.start_s - before.end_s < MIN_GAP_S => before.end_s = word.end_s,
            _ => joined.push(word),
        }
    }
    joined
}

/// 10th percentile of the level in silences; digital silence counts only where there is little else.
fn background(map: &SpeechMap) -> Option<f64> {
    let frames = || map.silences().into_iter().flatten();
    let level = |k: usize| map.levels.get(k).copied();
    let noise: Vec<f64> = frames().filter(|&k| !map.is_constant(k)).filter_map(level).collect();
    if 2 * noise.len() >= frames().count() {
        return stats::quantile_of(&noise, 0.1);
    }
    stats::quantile_of(&frames().filter_map(level).collect::<Vec<_>>(), 0.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleRate;

    /// Tone bursts of an amplitude over faint noise.
    fn recording(bursts: &[(f64, f64)], seconds: f64, noise: f64, rate: u32) -> Vec<f64> {
        let mut state = 7_u32;
        (0..(seconds * f64::from(rate)) as usize)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let t = n as f64 / f64::from(rate);
                let on = bursts.iter().any(|b| t >= b.0 && t < b.1);
                let tone = if on { 0.2 * (t * 900.0).sin() } else { 0.0 };
                tone + noise * (f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
            })
            .collect()
    }

    fn map(samples: &[f64], rate: u32) -> SpeechMap {
        SampleRate::new(rate)
            .map_or_else(|| detect(&Sound::new(&[], SampleRate::TELEPHONE)), |rate| detect(&Sound::new(samples, rate)))
    }

    #[test]
    fn pauses_between_bursts_are_found_at_every_noise_level_and_rate() {
        let bursts = [(0.5, 1.2), (1.6, 2.4), (2.5, 3.0), (4.1, 4.6)];
        for rate in [8_000, 22_050, 48_000] {
            for noise in [0.0, 0.001, 0.02] {
                let map = map(&recording(&bursts, 5.5, noise, rate), rate);
                let summary = map.summary();
                assert_eq!(summary.count, Some(2), "{rate} Hz, noise {noise}: {:?}", map.speech());
                assert!(summary.longest_s.is_some_and(|p| (p - 1.1).abs() < 0.03));
                assert!(summary.total_s.is_some_and(|p| (p - 1.5).abs() < 0.06));
            }
        }
    }

    #[test]
    fn silence_has_no_speech_and_a_steady_tone_no_pause() {
        assert_eq!(map(&vec![0.0; 16_000], 8_000).summary(), PauseSummary::default());
        assert_eq!(map(&[], 8_000).summary(), PauseSummary::default());
        let steady = map(&recording(&[(0.0, 3.0)], 3.0, 0.0, 8_000), 8_000);
        assert_eq!(steady.summary().count, Some(0));
        assert_eq!(steady.summary().mean_s, None);
        assert!((steady.speech_s() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn background_that_rises_in_mid_call_is_followed() {
        let mut samples = recording(&[(1.0, 4.0), (5.0, 8.0)], 10.0, 0.0005, 8_000);
        samples.extend(recording(&[(1.0, 4.0), (5.0, 8.0)], 10.0, 0.02, 8_000));
        let map = map(&samples, 8_000);
        assert_eq!(map.summary().count, Some(3), "{:?}", map.speech());
    }

    #[test]
    fn speech_without_pauses_has_plain_zeros() {
        let samples = recording(&[(0.2, 1.8)], 2.0, 0.001, 8_000);
        let summary = detect(&Sound::new(&samples, SampleRate::TELEPHONE)).summary();
        assert_eq!(summary.count, Some(0));
        for zero in [summary.total_s, summary.fraction] {
            assert!(zero.is_some_and(|value| value == 0.0 && value.is_sign_positive()), "{zero:?}");
        }
    }
}

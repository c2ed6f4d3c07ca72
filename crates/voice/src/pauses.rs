//! Pauses of running speech by a noise-adaptive level detector.
//!
//! Made for calls: thresholds follow the background of every 10 s, so one loud syllable, comfort
//! noise or a muted stretch does not redefine silence for the whole recording. Leading and
//! trailing silence is not a pause.

use crate::sound::Sound;
use crate::stats;

/// Level frames: 20 ms long, every 10 ms.
const FRAME_S: f64 = 0.02;
const STEP_S: f64 = 0.01;

/// Stretch over which one background level is assumed, in frames (10 s).
const BLOCK_FRAMES: usize = 1000;

/// Non-speech frames a block needs for its own background level (0.3 s).
const MIN_FLOOR_FRAMES: usize = 30;

/// Speech is this far above the background...
const ABOVE_FLOOR_DB: f64 = 9.0;
/// ...and not further than this below loud speech, whatever the background...
const BELOW_LOUD_DB: f64 = 30.0;
/// ...while anything this close to loud speech is speech: a background estimate that high has
/// caught speech itself.
const NEAR_LOUD_DB: f64 = 10.0;
/// Once begun, speech goes on this far below the threshold.
const HYSTERESIS_DB: f64 = 3.0;

/// Shorter gaps are stop closures, not pauses.
const MIN_GAP_S: f64 = 0.15;
/// Shorter bursts are clicks, not speech.
const MIN_BURST_S: f64 = 0.08;
/// Shortest silence reported as a pause.
pub const MIN_PAUSE_S: f64 = 0.25;

/// Levels are not followed below this: one step of mu-law is -72 dBFS.
pub const QUIETEST_DBFS: f64 = -80.0;

/// With a smaller range between its quiet and loud frames a recording has no pauses to find.
const NO_CONTRAST_DB: f64 = 6.0;
/// In that case it is all speech above this level (the level gate) and none below.
const SPEECH_LEVEL_DBFS: f64 = -42.0;

/// Rounds of classifying and measuring the background again.
const ROUNDS: usize = 4;

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
    first_centre_s: f64,
    speech: Vec<Interval>,
    pauses: Vec<Interval>,
    noise_dbfs: Option<f64>,
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
    let (levels, first_centre_s) = levels(sound);
    let speech = intervals(&classify(&levels), first_centre_s, sound.end());
    let pauses = speech
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some(Interval { start_s: a.end_s, end_s: b.start_s }),
            _ => None,
        })
        .filter(|gap| gap.duration_s() >= MIN_PAUSE_S)
        .collect();
    let mut map = SpeechMap { levels, first_centre_s, speech, pauses, noise_dbfs: None };
    map.noise_dbfs = background(&map, sound.end());
    map
}

/// Level of the 20 ms around every 10 ms in dBFS, without any constant offset, and the time of the
/// first.
fn levels(sound: &Sound<'_>) -> (Vec<f64>, f64) {
    let samples = sound.samples();
    let rate = sound.rate().hz();
    let length = ((FRAME_S * rate).round() as usize).max(1);
    let count = (sound.end() / STEP_S).floor() as usize;
    let mut out = Vec::with_capacity(count);
    for k in 0..count {
        // Centres at 5, 15, 25 ms; rounding keeps 22050 and 44100 Hz from drifting.
        let centre = ((k as f64 + 0.5) * STEP_S * rate).round() as usize;
        let from = centre.saturating_sub(length / 2);
        let to = (centre + length / 2).min(samples.len());
        let frame = samples.get(from..to).unwrap_or_default();
        let n = frame.len().max(1) as f64;
        let mean = frame.iter().sum::<f64>() / n;
        let power = frame.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / n;
        out.push(if power > 0.0 { (10.0 * power.log10()).max(QUIETEST_DBFS) } else { QUIETEST_DBFS });
    }
    (out, 0.5 * STEP_S)
}

/// Whether each frame is speech, before short gaps and bursts are mended.
fn classify(levels: &[f64]) -> Vec<bool> {
    let mut sorted = levels.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(quiet), Some(loud), Some(loudest)) =
        (stats::quantile(&sorted, 0.1), stats::quantile(&sorted, 0.95), stats::quantile(&sorted, 0.99))
    else {
        return Vec::new();
    };
    // When somebody speaks in less than a twentieth of the time, the 95 % level is background.
    let loud = if loudest > loud + 15.0 { loudest } else { loud };
    if loud - quiet < NO_CONTRAST_DB && loudest - stats::quantile(&sorted, 0.01).unwrap_or(quiet) < 2.0 * NO_CONTRAST_DB
    {
        return vec![loud > SPEECH_LEVEL_DBFS; levels.len()];
    }
    let threshold = |floor: f64| (floor + ABOVE_FLOOR_DB).max(loud - BELOW_LOUD_DB).min(loud - NEAR_LOUD_DB);
    // Starting from each block's own quiet frames keeps a louder background from reading as speech.
    let mut floors: Vec<f64> =
        levels.chunks(BLOCK_FRAMES).map(|block| floor_of(block, &vec![false; block.len()]).unwrap_or(quiet)).collect();
    let mut speech = vec![false; levels.len()];
    for _ in 0..ROUNDS {
        let mut before = false;
        for (k, (&level, is_speech)) in levels.iter().zip(&mut speech).enumerate() {
            let threshold = threshold(floors.get(k / BLOCK_FRAMES).copied().unwrap_or(quiet));
            before = level > threshold - if before { HYSTERESIS_DB } else { 0.0 };
            *is_speech = before;
        }
        let overall = floor_of(levels, &speech);
        let blocks = levels.chunks(BLOCK_FRAMES).zip(speech.chunks(BLOCK_FRAMES));
        for (floor, (levels, speech)) in floors.iter_mut().zip(blocks) {
            *floor = floor_of(levels, speech).or(overall).unwrap_or(quiet);
        }
    }
    speech
}

/// 10th percentile of the non-speech frames that are not digital silence.
fn floor_of(levels: &[f64], speech: &[bool]) -> Option<f64> {
    let quiet: Vec<f64> = levels
        .iter()
        .zip(speech)
        .filter(|&(&level, &speech)| !speech && level > QUIETEST_DBFS)
        .map(|(&level, _)| level)
        .collect();
    (quiet.len() >= MIN_FLOOR_FRAMES).then(|| stats::quantile_of(&quiet, 0.1)).flatten()
}

fn intervals(speech: &[bool], first_centre_s: f64, end_s: f64) -> Vec<Interval> {
    let edge = |k: usize| (first_centre_s + (k as f64 - 0.5) * STEP_S).min(end_s);
    let mut found: Vec<Interval> = Vec::new();
    let mut k = 0;
    for run in speech.chunk_by(|a, b| a == b) {
        if run.first() == Some(&true) {
            let (start_s, end_s) = (edge(k), edge(k + run.len()));
            match found.last_mut() {
                Some(last) if start_s - last.end_s < MIN_GAP_S => last.end_s = end_s,
                _ => found.push(Interval { start_s, end_s }),
            }
        }
        k += run.len();
    }
    found.retain(|i| i.duration_s() >= MIN_BURST_S);
    found
}

fn background(map: &SpeechMap, end_s: f64) -> Option<f64> {
    // Half a word's decay on either side is not background.
    const MARGIN_S: f64 = 0.05;
    const MIN_SILENCE_S: f64 = 0.3;
    let mut quiet = Vec::new();
    let mut from = 0.0;
    let ends = map.speech.iter().map(|s| (s.start_s, s.end_s));
    for (start_s, next) in ends.chain([(end_s, end_s)]) {
        if start_s - from >= MIN_SILENCE_S {
            let first = ((from + MARGIN_S) / STEP_S).ceil() as usize;
            let last = ((start_s - MARGIN_S) / STEP_S).floor() as usize;
            quiet.extend(map.levels.get(first..last.min(map.levels.len())).unwrap_or_default());
        }
        from = next;
    }
    stats::quantile_of(&quiet, 0.1)
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

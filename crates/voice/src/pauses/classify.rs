//! First look: which 10 ms frames are surely speech, by level against the background of every 10 s.

use super::{QUIETEST_DBFS, STEP_S};
use crate::stats;

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

/// With a smaller range between its quiet and loud frames a recording has no pauses to find.
const NO_CONTRAST_DB: f64 = 6.0;
/// In that case it is all speech above this level (the level gate) and none below.
const SPEECH_LEVEL_DBFS: f64 = -42.0;

/// Rounds of classifying and measuring the background again.
const ROUNDS: usize = 4;

/// Whether each frame is speech, before short gaps and bursts are mended.
pub(super) fn classify(levels: &[f64]) -> Vec<bool> {
    let mut sorted = levels.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
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
    let mut scratch = Vec::with_capacity(levels.len());
    let mut speech = vec![false; levels.len()];
    let mut floors: Vec<f64> = levels
        .chunks(BLOCK_FRAMES)
        .zip(speech.chunks(BLOCK_FRAMES))
        .map(|(levels, none)| floor_of(levels, none, &mut scratch).unwrap_or(quiet))
        .collect();
    for _ in 0..ROUNDS {
        let mut before = false;
        let mut changed = false;
        for (k, (&level, is_speech)) in levels.iter().zip(&mut speech).enumerate() {
            let threshold = threshold(floors.get(k / BLOCK_FRAMES).copied().unwrap_or(quiet));
            before = level > threshold - if before { HYSTERESIS_DB } else { 0.0 };
            changed |= *is_speech != before;
            *is_speech = before;
        }
        if !changed {
            break;
        }
        let overall = floor_of(levels, &speech, &mut scratch);
        let blocks = levels.chunks(BLOCK_FRAMES).zip(speech.chunks(BLOCK_FRAMES));
        for (floor, (levels, speech)) in floors.iter_mut().zip(blocks) {
            *floor = floor_of(levels, speech, &mut scratch).or(overall).unwrap_or(quiet);
        }
    }
    speech
}

/// 10th percentile of the non-speech frames that are not digital silence.
fn floor_of(levels: &[f64], speech: &[bool], scratch: &mut Vec<f64>) -> Option<f64> {
    scratch.clear();
    scratch.extend(
        levels
            .iter()
            .zip(speech)
            .filter(|&(&level, &speech)| !speech && level > QUIETEST_DBFS)
            .map(|(&level, _)| level),
    );
    scratch.sort_unstable_by(f64::total_cmp);
    (scratch.len() >= MIN_FLOOR_FRAMES).then(|| stats::quantile(scratch, 0.1)).flatten()
}

/// Runs of speech frames as frame ranges, with gaps shorter than `min_gap_s` closed.
pub(super) fn runs(speech: &[bool], min_gap_s: f64) -> Vec<(usize, usize)> {
    let min_gap = (min_gap_s / STEP_S).round() as usize;
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut k = 0;
    for run in speech.chunk_by(|a, b| a == b) {
        let next = k + run.len();
        if run.first() == Some(&true) {
            match found.last_mut() {
                Some(last) if k - last.1 < min_gap => last.1 = next,
                _ => found.push((k, next)),
            }
        }
        k = next;
    }
    found
}

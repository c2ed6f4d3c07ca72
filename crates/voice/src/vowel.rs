//! Sustained phonation: voiced runs and the steadiest part of a vowel.

use crate::pauses::Interval;
use crate::pitch::PitchTrack;
use crate::stats;

/// Voicing gaps shorter than this do not end a run.
const BRIDGED_GAP_S: f64 = 0.1;

/// Onset and offset of the vowel that are left out.
const EDGE_S: f64 = 0.25;

/// Length of the steady part.
const WINDOW_S: f64 = 3.0;

/// Shortest steady part worth measuring.
const MIN_WINDOW_S: f64 = 1.0;

/// Voiced runs, with gaps of at most `bridge_s` closed.
fn runs(pitch: &PitchTrack, bridge_s: f64) -> Vec<Interval> {
    let frames = pitch.frames();
    let mut found: Vec<Interval> = Vec::new();
    for (k, _) in pitch.f0().iter().enumerate().filter(|(_, f0)| f0.is_some()) {
        let start_s = frames.time(k) - 0.5 * frames.dt;
        let end_s = start_s + frames.dt;
        match found.last_mut() {
            // Half a step of slack, because adjacent ends differ by rounding.
            Some(last) if start_s - last.end_s < bridge_s + 0.5 * frames.dt => last.end_s = end_s,
            _ => found.push(Interval { start_s, end_s }),
        }
    }
    found
}

fn longest(runs: &[Interval]) -> Option<Interval> {
    runs.iter().copied().max_by(|a, b| a.duration_s().total_cmp(&b.duration_s()))
}

/// The longest voiced run with gaps below 0.1 s bridged: its length is the phonation time.
pub(crate) fn longest_run(pitch: &PitchTrack) -> Option<Interval> {
    longest(&runs(pitch, BRIDGED_GAP_S))
}

/// Whether a recording looks like a held vowel: one unbroken voiced run of at least half a second
/// that makes up most of the voiced time.
pub(crate) fn is_sustained(pitch: &PitchTrack) -> bool {
    longest(&runs(pitch, 0.0)).is_some_and(|run| run.duration_s() >= 0.5 && run.duration_s() >= 0.6 * pitch.voiced_s())
}

/// The steadiest stretch of the longest phonation: up to 3 s with the smallest standard deviation
/// of f0, a quarter of a second away from onset and offset, clear of `avoid`.
///
/// `None` when less than a second would be left.
pub(crate) fn steady_window(pitch: &PitchTrack, avoid: &[Interval]) -> Option<Interval> {
    let run = clear_part(longest_run(pitch)?, avoid)?;
    // A short vowel gives up less of its edges rather than everything.
    let edge = EDGE_S.min(0.5 * (run.duration_s() - MIN_WINDOW_S));
    if edge < 0.0 {
        return None;
    }
    let (from, to) = (run.start_s + edge, run.end_s - edge);
    if to - from <= WINDOW_S {
        return Some(Interval { start_s: from, end_s: to });
    }
    let frames = pitch.frames();
    let first = frames.index(from).ceil().max(1.0) as usize - 1;
    let last = (frames.index(to).floor().max(0.0) as usize).min(pitch.f0().len());
    let width = (WINDOW_S / frames.dt).round() as usize;
    let candidates = pitch.f0().get(first..last)?;
    let most_voiced = candidates.windows(width).map(|w| w.iter().flatten().count()).max()?;
    let mut best: Option<(f64, usize)> = None;
    let mut voiced = Vec::with_capacity(width);
    for (k, window) in candidates.windows(width).enumerate() {
        voiced.clear();
        voiced.extend(window.iter().flatten());
        // A break is worse than any wobble.
        if voiced.len() < most_voiced {
            continue;
        }
        if let Some(sd) = stats::standard_deviation(&voiced)
            && best.is_none_or(|(b, _)| sd < b)
        {
            best = Some((sd, k));
        }
    }
    let start_s = frames.time(first + best?.1) - 0.5 * frames.dt;
    Some(Interval { start_s: start_s.max(from), end_s: (start_s + WINDOW_S).min(to) })
}

/// The longest part of `run` that no stretch to avoid touches.
fn clear_part(run: Interval, avoid: &[Interval]) -> Option<Interval> {
    let mut parts = Vec::new();
    let mut from = run.start_s;
    for gap in avoid {
        parts.push(Interval { start_s: from, end_s: gap.start_s.min(run.end_s) });
        from = from.max(gap.end_s);
    }
    parts.push(Interval { start_s: from, end_s: run.end_s });
    longest(&parts).filter(|part| part.duration_s() > 0.0)
}

//! Sustained phonation: voiced runs, phonation time and the steadiest part of a vowel.
//!
//! What is measured of a vowel is not the vowel as it was sung but its steadiest part: onset and
//! offset glide, a tired voice breaks or creaks at the end, and people talk before and after.
//! [`steady_window`] finds up to three seconds of one phonation in which f0 strays least.

use crate::pauses::Interval;
use crate::pitch::PitchTrack;
use crate::stats;

/// Voicing gaps shorter than this do not end a run.
const BRIDGED_GAP_S: f64 = 0.1;

/// Onset and offset of the vowel that are left out.
const EDGE_S: f64 = 0.25;

/// What is left out beside lost or spoiled audio: half a pitch window.
const GUARD_S: f64 = 0.03;

/// Lengths of the steady part, best first.
const WINDOWS_S: [f64; 5] = [3.0, 2.5, 2.0, 1.5, 1.0];

/// Shortest steady part worth measuring: a second or this many periods, whichever comes first.
const MIN_WINDOW_S: f64 = 1.0;
const MIN_PERIODS: f64 = 100.0;

/// A held pitch strays by this many semitones (2 %) without being unsteady...
const STEADY_SEMITONES: f64 = 0.35;
/// ...and a longer window may stray by this factor more than the best short one: a singer's
/// vibrato is the same in all windows, a glide is not.
const MORE_UNSTEADY: f64 = 1.5;

/// Windows that differ by this share or less are equally steady. It is rounding that makes them differ: the same voice
/// elsewhere in the sound has other sums.
const EQUALLY_STEADY: f64 = 1e-6;

/// Voiced runs, with gaps of at most `bridge_s` closed; time in `unheard` is not counted as gap.
fn runs(pitch: &PitchTrack, bridge_s: f64, unheard: &[Interval]) -> Vec<Interval> {
    let frames = pitch.frames();
    let mut found: Vec<Interval> = Vec::new();
    for (k, _) in pitch.f0().iter().enumerate().filter(|(_, f0)| f0.is_some()) {
        let start_s = frames.time(k) - 0.5 * frames.dt;
        let end_s = start_s + frames.dt;
        match found.last_mut() {
            // Half a step of slack, because adjacent ends differ by rounding.
            Some(last) if silent_s(last.end_s, start_s, unheard) < bridge_s + 0.5 * frames.dt => last.end_s = end_s,
            _ => found.push(Interval { start_s, end_s }),
        }
    }
    found
}

/// Time from `from` to `to` that was heard.
fn silent_s(from: f64, to: f64, unheard: &[Interval]) -> f64 {
    let overlap = |gap: &Interval| (gap.end_s.min(to) - gap.start_s.max(from)).max(0.0);
    to - from - unheard.iter().map(overlap).sum::<f64>()
}

fn longest(runs: &[Interval]) -> Option<Interval> {
    runs.iter().copied().max_by(|a, b| a.duration_s().total_cmp(&b.duration_s()))
}

/// The longest voiced run with gaps below 0.1 s bridged: its length is the phonation time.
#[must_use]
pub fn longest_run(pitch: &PitchTrack) -> Option<Interval> {
    longest_run_over(pitch, &[])
}

/// The same where some audio never arrived: a voice heard on both sides of `lost` audio went on.
#[must_use]
pub fn longest_run_over(pitch: &PitchTrack, lost: &[Interval]) -> Option<Interval> {
    longest(&runs(pitch, BRIDGED_GAP_S, lost))
}

/// The longest voiced run without any gap.
#[must_use]
pub fn longest_unbroken(pitch: &PitchTrack) -> Option<Interval> {
    longest(&runs(pitch, 0.0, &[]))
}

/// The steadiest stretch of all phonations, a quarter of a second away from onset and offset and
/// clear of `avoid` (lost or spoiled audio): 3 s if such a stretch is steady, less down to 1 s or
/// 100 periods if only less is. Every try at a vowel is a candidate.
///
/// `None` when nothing that long is left.
#[must_use]
pub fn steady_window(pitch: &PitchTrack, avoid: &[Interval]) -> Option<Interval> {
    let melody = Melody::of(pitch)?;
    let shortest = melody.steps(melody.min_window_s);
    let dt_s = pitch.frames().dt;
    let parts: Vec<(usize, usize)> = runs(pitch, BRIDGED_GAP_S, avoid)
        .into_iter()
        .flat_map(|run| clear_parts(inner(run, shortest, dt_s), avoid))
        .map(|part| melody.frames_in(part))
        .collect();
    let lengths = WINDOWS_S.iter().map(|&s| melody.steps(s)).filter(|&n| n > shortest).chain([shortest]);
    // Fewest unvoiced frames first, then the least straying; of equally steady ones the first in time.
    let best = |steps: usize| {
        let places = parts.iter().flat_map(|&(first, last)| first..(last + 1).saturating_sub(steps).max(first));
        let all = places.filter_map(|k| melody.straying(k, steps).map(|(missing, sd)| (missing, sd, k)));
        let least = all.clone().min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))?;
        let equal = |place: &(usize, f64, usize)| place.0 == least.0 && place.1 <= least.1 * (1.0 + EQUALLY_STEADY);
        all.filter(equal).min_by_key(|place| place.2)
    };
    let limit = match best(shortest) {
        Some((0, sd, _)) => Some(STEADY_SEMITONES.max(MORE_UNSTEADY * sd)),
        // A voice that breaks all the time is measured with its breaks.
        _ => None,
    };
    let acceptable = |missing: usize, sd: f64| limit.is_none_or(|limit| missing == 0 && sd <= limit);
    let (first, steps) = lengths
        .filter_map(|n| best(n).map(|found| (found, n)))
        .find_map(|((missing, sd, first), n)| (acceptable(missing, sd) || n == shortest).then_some((first, n)))?;
    Some(melody.interval(first, steps))
}

/// A run without its onset and offset, in whole frames; a short one gives up less rather than
/// everything.
fn inner(run: Interval, shortest: usize, dt_s: f64) -> Interval {
    let steps = (run.duration_s() / dt_s).round() as usize;
    let edge = ((EDGE_S / dt_s).round() as usize).min(steps.saturating_sub(shortest) / 2) as f64 * dt_s;
    Interval { start_s: run.start_s + edge, end_s: run.end_s - edge }
}

/// The parts of `run` that no stretch to avoid comes near.
fn clear_parts(run: Interval, avoid: &[Interval]) -> Vec<Interval> {
    let mut parts = Vec::new();
    let mut from = run.start_s;
    for gap in avoid.iter().filter(|gap| gap.end_s > run.start_s && gap.start_s < run.end_s) {
        parts.push(Interval { start_s: from, end_s: gap.start_s - GUARD_S });
        from = from.max(gap.end_s + GUARD_S);
    }
    parts.push(Interval { start_s: from, end_s: run.end_s });
    parts.retain(|part| part.duration_s() > 0.0);
    parts
}

/// The contour in semitones with running sums, so that every window costs the same.
struct Melody<'a> {
    pitch: &'a PitchTrack,
    /// Voiced frames, semitones and their squares up to and without each frame.
    sums: Vec<(usize, f64, f64)>,
    min_window_s: f64,
}

impl<'a> Melody<'a> {
    /// `None` when nothing is voiced.
    fn of(pitch: &'a PitchTrack) -> Option<Self> {
        let mut voiced: Vec<f64> = pitch.voiced().collect();
        voiced.sort_unstable_by(f64::total_cmp);
        let median = stats::quantile(&voiced, 0.5)?;
        let mut sums = Vec::with_capacity(pitch.f0().len() + 1);
        let mut total = (0, 0.0, 0.0);
        sums.push(total);
        for f0 in pitch.f0() {
            if let Some(f0) = f0 {
                // Relative to the median, so that the squares stay small.
                let semitones = 12.0 * (f0 / median).log2();
                total = (total.0 + 1, total.1 + semitones, total.2 + semitones * semitones);
            }
            sums.push(total);
        }
        Some(Self { pitch, sums, min_window_s: MIN_WINDOW_S.min(MIN_PERIODS / median) })
    }

    fn steps(&self, seconds: f64) -> usize {
        // The shortest window is rounded up, to hold what it has to.
        (seconds / self.pitch.frames().dt - 1e-6).ceil() as usize
    }

    /// Range of the frames whose step lies inside.
    fn frames_in(&self, part: Interval) -> (usize, usize) {
        let frames = self.pitch.frames();
        // Slack for edges that are frame edges themselves.
        let edge = |time: f64| frames.index(time) - 0.5;
        let first = (edge(part.start_s) - 1e-6).ceil().max(0.0) as usize;
        let last = ((edge(part.end_s) + 1e-6).floor().max(0.0) as usize).min(self.pitch.f0().len());
        (first, last.max(first))
    }

    /// Number of unvoiced frames and standard deviation of the semitones of the others among
    /// `steps` frames from `first`; `None` where there are too few.
    fn straying(&self, first: usize, steps: usize) -> Option<(usize, f64)> {
        let (a, b) = (self.sums.get(first)?, self.sums.get(first + steps)?);
        let count = b.0 - a.0;
        if count < 2 {
            return None;
        }
        let n = count as f64;
        let mean = (b.1 - a.1) / n;
        Some((steps - count, (((b.2 - a.2) - n * mean * mean).max(0.0) / (n - 1.0)).sqrt()))
    }

    fn interval(&self, first: usize, steps: usize) -> Interval {
        let frames = self.pitch.frames();
        let start_s = (frames.time(first) - 0.5 * frames.dt).max(0.0);
        Interval { start_s, end_s: (start_s + steps as f64 * frames.dt).min(self.pitch.end_s()) }
    }
}

#[cfg(test)]
#[path = "vowel_tests.rs"]
mod tests;

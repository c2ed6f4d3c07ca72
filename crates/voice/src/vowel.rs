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
/// that makes up most of the voiced time, or one of 1.2 s (a vowel with breaks in it), which words
/// hardly ever reach.
pub(crate) fn is_sustained(pitch: &PitchTrack) -> bool {
    let voiced_s = pitch.voiced_s();
    longest(&runs(pitch, 0.0)).is_some_and(|run| {
        let length = run.duration_s();
        (length >= 0.5 && length >= 0.6 * voiced_s) || (length >= 1.2 && length >= 0.3 * voiced_s)
    })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::pitch::{PitchMethod, PitchSettings, track};
    use crate::sound::Sound;
    use crate::synth::{CountingSpec, VoiceSpec, counting, sustained_vowel};
    use crate::units::SampleRate;

    fn contour(samples: &[f64]) -> PitchTrack {
        let sound = Sound::new(samples, SampleRate::TELEPHONE);
        let settings = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
        track(&sound, &settings).unwrap()
    }

    #[test]
    fn vowels_and_words_are_told_apart() {
        let voice = VoiceSpec::default();
        let rate = SampleRate::TELEPHONE;
        assert!(is_sustained(&contour(&sustained_vowel(&voice, 3.0, rate).samples)));
        let words = counting(&voice, &CountingSpec::default(), rate);
        assert!(!is_sustained(&contour(&words.samples)));
    }

    #[test]
    fn the_window_keeps_clear_of_edges_and_of_lost_audio() {
        let vowel = sustained_vowel(&VoiceSpec::default(), 6.0, SampleRate::TELEPHONE);
        let pitch = contour(&vowel.samples);
        let window = steady_window(&pitch, &[]).unwrap();
        assert!((window.duration_s() - 3.0).abs() < 1e-9);
        assert!(window.start_s > 0.4 && window.end_s < 6.0);
        let lost = Interval { start_s: 2.5, end_s: 2.6 };
        let window = steady_window(&pitch, &[lost]).unwrap();
        assert!(window.start_s > 2.8 && window.end_s < 6.0);
        // Too little is left on either side.
        let lost = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|t| Interval { start_s: t, end_s: t + 0.1 });
        assert_eq!(steady_window(&pitch, &lost), None);
    }

    #[test]
    fn phonation_time_is_the_length_of_the_vowel() {
        let vowel = sustained_vowel(&VoiceSpec::default(), 6.0, SampleRate::TELEPHONE);
        let run = longest_run(&contour(&vowel.samples)).unwrap();
        assert!((run.duration_s() - 6.0).abs() < 0.1);
    }
}

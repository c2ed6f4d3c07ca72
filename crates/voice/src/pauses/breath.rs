//! Breath drawn between words is heard, but it is not speech.
//!
//! People short of breath inhale audibly in their pauses, and just their pauses must not be taken
//! for shorter than they are. A breath is noise without voice, well below the level of the words,
//! and longer than the fricative a word begins with.

use super::{Interval, SpeechMap};
use crate::pitch::PitchTrack;
use crate::stats;

/// A breath is at least this far below loud speech.
const BELOW_LOUD_DB: f64 = 12.0;

/// A word has voice no later than this after its beginning: the longest "s" with some reserve.
const MAX_UNVOICED_LEAD_S: f64 = 0.3;

/// Without voice in this share of its stretches the contour says nothing about this speaker.
const MIN_VOICED_SHARE: f64 = 0.5;

/// Takes the breaths out of the speech of `map`; `None` where nothing changes.
pub(super) fn without(map: &SpeechMap, pitch: &PitchTrack) -> Option<Vec<Interval>> {
    let frames = pitch.frames();
    let voiced: Vec<f64> =
        pitch.f0().iter().enumerate().filter(|(_, f0)| f0.is_some()).map(|(k, _)| frames.time(k)).collect();
    let first_voiced = |stretch: &Interval| {
        let from = voiced.partition_point(|&t| t < stretch.start_s);
        voiced.get(from).copied().filter(|&t| t < stretch.end_s)
    };
    let voices = map.speech.iter().filter(|s| first_voiced(s).is_some()).count();
    if (voices as f64) < MIN_VOICED_SHARE * map.speech.len() as f64 {
        return None;
    }
    let loud = stats::quantile_of(&map.levels, 0.95)?;
    let quiet = |part: Interval| {
        let levels = map.levels_in(part);
        stats::quantile_of(levels, 0.9).is_none_or(|level| level < loud - BELOW_LOUD_DB)
    };
    let mut changed = false;
    let mut speech = Vec::with_capacity(map.speech.len());
    for &stretch in &map.speech {
        let kept = match first_voiced(&stretch) {
            None if quiet(stretch) => None,
            Some(voice_s) if voice_s - stretch.start_s > MAX_UNVOICED_LEAD_S => {
                let lead = Interval { start_s: stretch.start_s, end_s: voice_s - MAX_UNVOICED_LEAD_S };
                // The word begins after the quietest moment between the breath and the voice.
                let between = Interval { start_s: lead.end_s, end_s: voice_s };
                let start_s = map.quietest_in(between).filter(|_| quiet(lead)).unwrap_or(stretch.start_s);
                Some(Interval { start_s, ..stretch })
            }
            _ => Some(stretch),
        };
        changed |= kept != Some(stretch);
        speech.extend(kept);
    }
    changed.then_some(speech)
}

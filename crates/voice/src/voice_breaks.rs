//! Voice breaks: moments of a sustained vowel in which the voice stops or doubles its period.
//!
//! Counted from glottal pulses as in Praat's voice report: two successive pulses further apart than
//! 1.25 periods of the pitch floor are a break. In running speech every unvoiced sound and every
//! pause is such a gap, so there the numbers say nothing about the voice.

use crate::pauses::Interval;

/// Longest distance of pulses that is still a period, in periods of the pitch floor.
const LONGEST_PERIOD: f64 = 1.25;

/// The breaks of one recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VoiceBreaks {
    /// Number of breaks; distances that follow each other immediately are one.
    pub count: usize,
    /// Time in breaks as a share of the recording, 0..1; `None` with fewer than two pulses, when
    /// there is no voice that could break.
    pub degree: Option<f64>,
    /// Where the breaks are, ascending.
    pub events: Vec<Interval>,
}

/// Finds the breaks between `pulses` (times in seconds, ascending) of a recording that lasts
/// `duration_s`, looked for with a pitch floor of `floor_hz`.
///
/// The distance to the very last pulse is left out, as the reference does.
#[must_use]
pub fn voice_breaks(pulses: &[f64], duration_s: f64, floor_hz: f64) -> VoiceBreaks {
    let longest_s = LONGEST_PERIOD / floor_hz;
    let mut breaks = VoiceBreaks::default();
    let inner = pulses.split_last().map_or(pulses, |(_, inner)| inner);
    let mut total_s = 0.0;
    for pair in inner.windows(2) {
        let &[start_s, end_s] = pair else { continue };
        if end_s - start_s > longest_s {
            total_s += end_s - start_s;
            match breaks.events.last_mut() {
                Some(last) if last.end_s == start_s => last.end_s = end_s,
                _ => breaks.events.push(Interval { start_s, end_s }),
            }
        }
    }
    breaks.count = breaks.events.len();
    breaks.degree = (pulses.len() >= 2 && duration_s > 0.0).then(|| total_s / duration_s);
    breaks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn long_distances_are_breaks_and_neighbouring_ones_are_one() {
        let pulses = [0.01, 0.02, 0.03, 0.13, 0.14, 0.15, 0.2, 0.25, 0.26, 0.27, 0.4];
        let found = voice_breaks(&pulses, 1.0, 75.0);
        assert_eq!(found.count, 2);
        assert_eq!(found.events[0], Interval { start_s: 0.03, end_s: 0.13 });
        assert_eq!(found.events[1], Interval { start_s: 0.15, end_s: 0.25 });
        assert!((found.degree.unwrap() - 0.2).abs() < 1e-12);
    }

    #[test]
    fn without_pulses_the_degree_is_undefined() {
        assert_eq!(voice_breaks(&[], 1.0, 75.0), VoiceBreaks::default());
        assert_eq!(voice_breaks(&[0.5], 1.0, 75.0).degree, None);
        assert_eq!(voice_breaks(&[0.5, 0.51], 1.0, 75.0).degree, Some(0.0));
    }
}

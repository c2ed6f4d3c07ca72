//! Cutting long audio into pieces that can be analysed while the rest is still being spoken.
//!
//! Many of the reference's measures look at a whole sound at once: frames are centred on it, the
//! loudest sample sets a threshold. A call cannot wait for its end to begin with minutes of audio,
//! so audio longer than [`LONGEST_S`] is cut where it is quietest, and every piece is measured as a
//! sound of its own. Where to cut depends on the samples alone, never on how they arrived, so a
//! stream and a file give the same pieces and the same numbers.

use crate::units::SampleRate;

/// A piece ends at the latest after this many seconds.
pub(crate) const LONGEST_S: usize = 12;

/// And not before this many.
const SHORTEST_S: usize = 6;

/// Cuts fall on this grid, so that the frames of all pieces lie on one grid of 10 ms.
const GRID_PER_SECOND: usize = 100;

/// The quietest stretch of this length, in grid steps, is cut in its middle (0.3 s).
const STRETCH: usize = 30;

/// Samples that must be there before a piece can be cut off.
pub(crate) fn needed(rate: SampleRate) -> usize {
    LONGEST_S * rate.get() as usize
}

/// Length in samples of the piece that `samples` begins with; `None` while there are fewer than
/// [`needed`], because the quietest place may still come. Only that many are looked at.
pub(crate) fn cut(samples: &[f64], rate: SampleRate) -> Option<usize> {
    let samples = samples.get(..needed(rate))?;
    let at = |step: usize| step * rate.get() as usize / GRID_PER_SECOND;
    let (first, last) = (SHORTEST_S * GRID_PER_SECOND, LONGEST_S * GRID_PER_SECOND);
    let energies: Vec<f64> = (first..last)
        .map(|step| samples.get(at(step)..at(step + 1)).unwrap_or_default().iter().map(|s| s * s).sum())
        .collect();
    // The last of equally quiet places: longer pieces lose less at their edges.
    let quietest = energies
        .windows(STRETCH)
        .enumerate()
        .map(|(k, window)| (k, window.iter().sum::<f64>()))
        .min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    Some(at(first + quietest.0 + STRETCH / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::TELEPHONE;

    fn noisy(seconds: usize, quiet: std::ops::Range<f64>) -> Vec<f64> {
        (0..seconds * 8000)
            .map(|n| {
                let t = n as f64 / 8000.0;
                if quiet.contains(&t) { 0.001 * (t * 3000.0).sin() } else { 0.5 * (t * 3000.0).sin() }
            })
            .collect()
    }

    #[test]
    fn the_cut_falls_into_the_pause_on_the_grid() {
        let samples = noisy(25, 9.2..9.8);
        let cut = cut(&samples, RATE);
        assert!(cut.is_some_and(|c| c % 80 == 0 && (9.3..9.7).contains(&(c as f64 / 8000.0))), "{cut:?}");
        assert_eq!(super::cut(samples.get(..95_999).unwrap_or_default(), RATE), None);
    }

    #[test]
    fn what_comes_later_does_not_matter() {
        let samples = noisy(30, 10.0..10.5);
        assert_eq!(cut(&samples, RATE), cut(samples.get(..96_000).unwrap_or_default(), RATE));
        // A quieter place before the shortest piece does not count.
        assert!(cut(&noisy(30, 2.0..3.0), RATE).is_some_and(|c| c >= 48_000));
    }
}

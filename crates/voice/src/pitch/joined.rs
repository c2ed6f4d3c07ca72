//! One contour for a long sound that was analysed in pieces.

use super::PitchTrack;
use crate::sound::Frames;

impl PitchTrack {
    /// Puts the contours of consecutive pieces on one grid. Each comes with the time in seconds at
    /// which its piece begins; `end_s` is the end of the whole.
    ///
    /// A single contour from time 0 stays as it is. Otherwise frames go to the nearest place of the
    /// first contour's grid. The places between two pieces have no frame: they are voiced only where
    /// both neighbours are, because a piece may end in the middle of a long vowel.
    pub(crate) fn joined(pieces: &[(f64, PitchTrack)], end_s: f64) -> Option<PitchTrack> {
        let (offset, first) = pieces.first()?;
        if pieces.len() == 1 && *offset == 0.0 {
            return Some(PitchTrack { end_s, ..first.clone() });
        }
        let dt = first.frames.dt;
        let t1 = offset + first.frames.t1;
        let mut f0 = Vec::new();
        let mut strength = Vec::new();
        for (start_s, piece) in pieces {
            let place = ((start_s + piece.frames.t1 - t1) / dt).round().max(0.0) as usize;
            let before = (f0.last().copied().flatten(), strength.last().copied().unwrap_or(0.0));
            let after = (piece.f0.first().copied().flatten(), piece.strength.first().copied().unwrap_or(0.0));
            let bridge = match (before, after) {
                // A few frames only; a piece too short for a contour leaves a real hole.
                ((Some(a), s), (Some(b), t)) if place <= f0.len() + 5 => (Some(0.5 * (a + b)), f64::min(s, t)),
                _ => (None, 0.0),
            };
            while f0.len() < place {
                f0.push(bridge.0);
                strength.push(bridge.1);
            }
            f0.extend_from_slice(&piece.f0);
            strength.extend_from_slice(&piece.strength);
        }
        Some(PitchTrack { frames: Frames { count: f0.len(), t1, dt }, f0, strength, end_s })
    }
}

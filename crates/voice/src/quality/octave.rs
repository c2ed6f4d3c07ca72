//! Is the octave right? Two contours of the same voice made differently must agree.

use crate::pitch::PitchTrack;

/// Frequencies further apart than this disagree (a fifth part; an octave is a factor of two).
const RATIO: f64 = 1.2;

/// Frames both contours must have voiced before they can be compared.
const MIN_FRAMES: usize = 20;

/// Share of the frames voiced in both contours in which they disagree; `None` with too few.
pub(super) fn disagreement(one: &PitchTrack, other: &PitchTrack) -> Option<f64> {
    let (mut both, mut apart) = (0_usize, 0_usize);
    for (k, f0) in one.f0().iter().enumerate() {
        if let (Some(a), Some(b)) = (*f0, other.value_at(one.frames().time(k))) {
            both += 1;
            apart += usize::from(a > RATIO * b || b > RATIO * a);
        }
    }
    (both >= MIN_FRAMES).then(|| apart as f64 / both as f64)
}

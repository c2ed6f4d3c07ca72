//! Where a peak of the sampled correlation is highest between its samples.

use super::segment::{Kernel, Segment};
use crate::interpolate::{brent, improve_maximum, parabola};

/// Newton's method doubles the correct digits with every step, so a handful is plenty.
const NEWTON_STEPS: usize = 10;

/// The curves to the left and to the right of a sample meet with slightly different slopes, because
/// they reach to other samples. A maximum this close to the sample may have a twin on the other side.
const NEAR_SAMPLE: f64 = 0.1;

/// With a shorter reach the slopes differ more.
const LONG_REACH: usize = 30;

/// A step (in half samples) this small moves a frequency by less than the reference repeats it.
const CONVERGED: f64 = 1e-7;

/// Position and height of the maximum of the interpolated `y` within one sample of the peak sample
/// `peak` (counted from 1), for a sinc reaching at most `depth` samples.
#[inline(always)]
pub(super) fn summit(y: &[f64], peak: usize, depth: usize) -> (f64, f64) {
    let around = peak.checked_sub(2).and_then(|first| y.get(first..=peak));
    let Some(&[before, here, after]) = around else {
        return improve_maximum(y, peak, depth);
    };
    // The side the parabola points to nearly always holds the maximum.
    let offset = parabola(before, here, after).0.clamp(-1.0, 1.0);
    let (first, start) = if offset >= 0.0 { (peak, offset) } else { (peak - 1, offset + 1.0) };
    let Some(near) = curve(y, first, depth) else {
        return improve_maximum(y, peak, depth);
    };
    let found = only_maximum(&near, start);
    let on_right = first == peak;
    if let Some((phase, height)) = found {
        let from_peak = if on_right { phase } else { 1.0 - phase };
        if from_peak >= NEAR_SAMPLE && near_reach(y, peak, depth) >= LONG_REACH {
            return (first as f64 + phase, height);
        }
    }
    let Some(far) = curve(y, if on_right { peak - 1 } else { peak }, depth) else {
        return improve_maximum(y, peak, depth);
    };
    if let Some((phase, height)) = found {
        let rises_towards_peak = if on_right { far.slope().at(1.0).0 > 0.0 } else { far.slope().at(-1.0).0 < 0.0 };
        if rises_towards_peak {
            return (first as f64 + phase, height);
        }
    }
    let (left, right) = if on_right { (far, near) } else { (near, far) };
    search(&left, &right, peak as f64)
}

/// Reach of the shorter of the two curves that meet at `peak`.
fn near_reach(y: &[f64], peak: usize, depth: usize) -> usize {
    depth.min(peak - 1).min(y.len() - peak)
}

/// The interpolated `y` between samples `left` and `left + 1`, counted from 1.
#[inline(always)]
pub(super) fn curve(y: &[f64], left: usize, depth: usize) -> Option<Segment> {
    Kernel::of(depth.min(left).min(y.len().saturating_sub(left)))?.segment(y, left)
}

/// The maximum of a curve that surely has only one between its samples: `(phase, height)`.
#[inline(always)]
fn only_maximum(curve: &Segment, start: f64) -> Option<(f64, f64)> {
    let slope = curve.slope();
    if slope.certain_bend() <= 0.0 {
        return None;
    }
    let mut t = 2.0 * start - 1.0;
    for _ in 0..NEWTON_STEPS {
        let (rise, bend) = slope.at(t);
        let step = rise / bend;
        t -= step;
        if !(-1.0..=1.0).contains(&t) {
            return None;
        }
        if step.abs() < CONVERGED {
            let phase = 0.5 + 0.5 * t;
            return Some((phase, curve.value(phase)));
        }
    }
    None
}

/// Brent's search over both sides, for curves that may have more than one maximum: which of them
/// it finds is part of the agreement with the reference.
#[inline(always)]
fn search(left: &Segment, right: &Segment, peak: f64) -> (f64, f64) {
    let (x, negative) = brent(
        #[inline(always)]
        |x| {
            let offset = x - peak;
            if offset < 0.0 { -left.value(offset + 1.0) } else { -right.value(offset) }
        },
        peak - 1.0,
        peak + 1.0,
    );
    (x, -negative)
}

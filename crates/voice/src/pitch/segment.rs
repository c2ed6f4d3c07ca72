//! The interpolated correlation between two samples, as one polynomial.
//!
//! Windowed-sinc interpolation costs two products per sample of its reach for every position asked
//! for, and finding a peak asks for a dozen positions. Between two neighbouring samples, however,
//! the interpolated curve is band-limited, so a polynomial of degree 15 is exact to rounding (the
//! first neglected Chebyshev coefficient is about `2 (pi/4)^16 / 16!` = 2e-15). Its coefficients
//! are sums over the samples with weights that depend on the reach only; those are tabulated once
//! per process.

use std::f64::consts::PI;
use std::sync::OnceLock;

/// Coefficients of each parity.
const HALF: usize = 8;
const DEGREES: usize = 2 * HALF;

/// Longest reach that is tabulated; a table takes 128 bytes per sample of reach.
pub(super) const LONGEST_REACH: usize = 256;
/// Below this the interpolation rule is another one than the sinc.
const SHORTEST_REACH: usize = 3;

/// Weights by which samples enter the coefficients.
///
/// Row `j` belongs to the two samples that lie `j` places outside the interval, one to the left and
/// one to the right. Their weights mirror each other, so the even coefficients need only the sum of
/// the two and the odd ones only the difference, which halves the work.
pub(super) struct Kernel {
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    even: [f64; HALF],
    odd: [f64; HALF],
}

static KERNELS: [OnceLock<Kernel>; LONGEST_REACH + 1] = [const { OnceLock::new() }; LONGEST_REACH + 1];

impl Kernel {
    /// The table for a sinc reaching `reach` samples to each side, if there is one.
    pub(super) fn of(reach: usize) -> Option<&'static Self> {
        if reach < SHORTEST_REACH {
            return None;
        }
        Some(KERNELS.get(reach)?.get_or_init(|| Self::new(reach)))
    }

    fn new(reach: usize) -> Self {
        let angle = |m: usize| PI * (m as f64 + 0.5) / DEGREES as f64;
        let powers = chebyshev_powers();
        let rows = (0..reach)
            .map(|j| {
                // Chebyshev coefficients of the left sample's weight over t = -1..1.
                let mut weights = [0.0; DEGREES];
                for (m, weight) in weights.iter_mut().enumerate() {
                    *weight = tapered_sinc(j, 0.5 + 0.5 * angle(m).cos(), reach);
                }
                let mut row = Row { even: [0.0; HALF], odd: [0.0; HALF] };
                for (n, power) in powers.iter().enumerate() {
                    let sum: f64 = weights.iter().enumerate().map(|(m, w)| w * (n as f64 * angle(m)).cos()).sum();
                    let coefficient = if n == 0 { sum } else { 2.0 * sum } / DEGREES as f64;
                    for (pair, (even, odd)) in
                        power.as_chunks::<2>().0.iter().zip(row.even.iter_mut().zip(&mut row.odd))
                    {
                        *even += coefficient * pair[0];
                        *odd += coefficient * pair[1];
                    }
                }
                row
            })
            .collect();
        Self { rows }
    }

    /// The curve between `y[left - 1]` and `y[left]`, that is between samples `left` and
    /// `left + 1` counted from 1. `None` if the reach goes beyond the ends.
    #[inline(always)]
    pub(super) fn segment(&self, y: &[f64], left: usize) -> Option<Segment> {
        let reach = self.rows.len();
        let before = y.get(left.checked_sub(reach)?..left)?;
        let after = y.get(left..left.checked_add(reach)?)?;
        let mut sums = [[[0.0_f64; HALF]; 2]; 2];
        let (pairs, last) = self.rows.as_chunks::<2>();
        let (before_rest, before) = before.as_rchunks::<2>();
        let (after, after_rest) = after.as_chunks::<2>();
        for ((rows, a), b) in pairs.iter().zip(before.iter().rev()).zip(after) {
            add(&mut sums[0], &rows[0], a[1], b[0]);
            add(&mut sums[1], &rows[1], a[0], b[1]);
        }
        if let (Some(row), Some(&a), Some(&b)) = (last.first(), before_rest.first(), after_rest.first()) {
            add(&mut sums[0], row, a, b);
        }
        let [mut total, other] = sums;
        for (total, other) in total.iter_mut().flatten().zip(other.iter().flatten()) {
            *total += other;
        }
        let [even, odd] = total;
        Some(Segment { even, odd })
    }
}

#[inline(always)]
fn add(sums: &mut [[f64; HALF]; 2], row: &Row, left: f64, right: f64) {
    let (sum, difference) = (left + right, left - right);
    let [even, odd] = sums;
    for (total, weight) in even.iter_mut().zip(&row.even) {
        *total += sum * weight;
    }
    for (total, weight) in odd.iter_mut().zip(&row.odd) {
        *total += difference * weight;
    }
}

/// Weight of the sample `j` places to the left of the interval for a position at `phase` (0..1) in
/// it: a sinc under a raised cosine that ends one place beyond the last sample.
fn tapered_sinc(j: usize, phase: f64, reach: usize) -> f64 {
    let distance = j as f64 + phase;
    let sign = if j.is_multiple_of(2) { 1.0 } else { -1.0 };
    let sinc = sign * (PI * phase).sin() / (PI * distance);
    sinc * (0.5 + 0.5 * (PI * distance / (reach as f64 + phase)).cos())
}

/// Coefficients of the powers of `t` in the Chebyshev polynomials of degree 0, 1, ...
fn chebyshev_powers() -> [[f64; DEGREES]; DEGREES] {
    let mut all = [[0.0; DEGREES]; DEGREES];
    let (mut before, mut here) = ([0.0; DEGREES], [0.0; DEGREES]);
    // T(-1) = T(1) = t starts the recurrence T(n + 1) = 2 t T(n) - T(n - 1).
    before[1] = 1.0;
    here[0] = 1.0;
    for polynomial in &mut all {
        *polynomial = here;
        let mut next = [0.0; DEGREES];
        for (to, from) in next.iter_mut().skip(1).zip(&here) {
            *to = 2.0 * from;
        }
        for (to, from) in next.iter_mut().zip(&before) {
            *to -= from;
        }
        (before, here) = (here, next);
    }
    all
}

/// A polynomial in `t`, which runs from -1 at the left sample to 1 at the right one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    even: [f64; HALF],
    odd: [f64; HALF],
}

impl Segment {
    /// Value at `phase` (0 at the left sample, 1 at the right one).
    #[inline(always)]
    pub(super) fn value(&self, phase: f64) -> f64 {
        let t = 2.0 * phase - 1.0;
        let u = t * t;
        sum_of_powers(&self.even, u) + t * sum_of_powers(&self.odd, u)
    }

    /// The derivative by `t`, with its own derivative.
    #[inline(always)]
    pub(super) fn slope(&self) -> Slope {
        let mut slope = Slope { even: [0.0; HALF], odd: [0.0; HALF], bend_even: [0.0; HALF], bend_odd: [0.0; HALF] };
        for (k, (to, from)) in slope.even.iter_mut().zip(&self.odd).enumerate() {
            *to = (2 * k + 1) as f64 * from;
        }
        for (k, (to, from)) in slope.odd.iter_mut().zip(self.even.iter().skip(1)).enumerate() {
            *to = (2 * k + 2) as f64 * from;
        }
        for (k, (to, from)) in slope.bend_even.iter_mut().zip(&slope.odd).enumerate() {
            *to = (2 * k + 1) as f64 * from;
        }
        for (k, (to, from)) in slope.bend_odd.iter_mut().zip(slope.even.iter().skip(1)).enumerate() {
            *to = (2 * k + 2) as f64 * from;
        }
        slope
    }
}

/// First and second derivative of a [`Segment`].
pub(super) struct Slope {
    even: [f64; HALF],
    odd: [f64; HALF],
    bend_even: [f64; HALF],
    bend_odd: [f64; HALF],
}

impl Slope {
    /// First and second derivative at `t`.
    #[inline(always)]
    pub(super) fn at(&self, t: f64) -> (f64, f64) {
        let u = t * t;
        (
            sum_of_powers(&self.even, u) + t * sum_of_powers(&self.odd, u),
            sum_of_powers(&self.bend_even, u) + t * sum_of_powers(&self.bend_odd, u),
        )
    }

    /// How far the curve bends downwards in the middle beyond the most its bend can vary: if
    /// positive, it bends downwards everywhere between the two samples.
    #[inline(always)]
    pub(super) fn certain_bend(&self) -> f64 {
        let all = |c: &[f64; HALF]| c.iter().map(|c| c.abs()).sum::<f64>();
        let middle = self.bend_even[0];
        let varies = all(&self.bend_even) - middle.abs() + all(&self.bend_odd);
        -middle - varies
    }
}

/// `c[0] + c[1] u + c[2] u^2 + ...`, paired so that the processor can overlap the steps.
#[inline(always)]
fn sum_of_powers(c: &[f64; HALF], u: f64) -> f64 {
    let u2 = u * u;
    let low = (c[0] + c[1] * u) + (c[2] + c[3] * u) * u2;
    let high = (c[4] + c[5] * u) + (c[6] + c[7] * u) * u2;
    low + high * (u2 * u2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::interpolate::sinc;

    #[test]
    fn a_segment_is_the_sinc_interpolation() {
        let mut state = 1_u64;
        let y: Vec<f64> = (0..600)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
            })
            .collect();
        for reach in [3, 4, 5, 29, 30, 51, 70, 103, LONGEST_REACH] {
            let kernel = Kernel::of(reach).unwrap();
            for left in [reach, reach + 7, 600 - reach] {
                let segment = kernel.segment(&y, left).unwrap();
                for phase in [0.01, 0.1, 0.37, 0.5, 0.81, 0.99] {
                    let exact = sinc(&y, left as f64 + phase, reach);
                    assert!((segment.value(phase) - exact).abs() < 1e-13, "{reach} {left} {phase}");
                }
                let (slope, bend) = segment.slope().at(0.3);
                let value = |t: f64| segment.value(0.5 + 0.5 * t);
                assert!((slope - (value(0.3001) - value(0.2999)) / 2e-4).abs() < 1e-7);
                assert!((bend - (value(0.301) - 2.0 * value(0.3) + value(0.299)) / 1e-6).abs() < 1e-5);
            }
        }
        assert!(Kernel::of(2).is_none() && Kernel::of(LONGEST_REACH + 1).is_none());
        assert!(Kernel::of(70).unwrap().segment(&y, 69).is_none());
        assert!(Kernel::of(70).unwrap().segment(&y, 531).is_none());
    }
}

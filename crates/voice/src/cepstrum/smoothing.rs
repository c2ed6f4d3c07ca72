//! Averages of the power cepstrum over time (10 ms) and quefrency (1 ms).
//!
//! An average over an interval of a series that is linear between its samples: samples well inside
//! count fully, those at the borders by the share of their surroundings that lies inside. Sums are
//! taken anew for every point: running sums would drown the small values beside the large ones.

use pulp::Simd;

use super::lanes::Lanes;

/// Frames that one smoothed frame is made of.
pub(super) const FRAMES: usize = 7;
/// Frames on each side of it.
pub(super) const REACH: usize = FRAMES / 2;
/// Half the averaging time in frames (5 ms at a frame every 2 ms): two and a half, so the second
/// neighbour counts 7/8 and the third 1/8.
const INNER: f64 = 0.875;
const OUTER: f64 = 0.125;
const HALF_QUEFRENCY_S: f64 = 0.0005;
/// Added to the power before logarithms are taken.
const POWER_FLOOR: f64 = 1e-30;
/// Points smoothed at a time over quefrency.
const BLOCK: usize = 8;

/// Weights of the seven frames around frame `k` of `count`.
pub(super) fn time_weights(k: usize, count: usize) -> [f64; FRAMES] {
    let mut weights = [0.0; FRAMES];
    let mut total = 0.0;
    let (before, after) = weights.split_at_mut(REACH);
    let Some((centre, after)) = after.split_first_mut() else {
        return weights;
    };
    *centre = 1.0;
    for (side, existing) in
        [(before.iter_mut().rev().collect::<Vec<_>>(), k), (after.iter_mut().collect(), count.saturating_sub(k + 1))]
    {
        let pattern: &[f64] = match existing {
            0 => &[],
            1 => &[1.0],
            2 => &[1.0, 1.0],
            _ => &[1.0, INNER, OUTER],
        };
        total += 0.5 + pattern.iter().sum::<f64>().min(2.0);
        for (weight, value) in side.into_iter().zip(pattern) {
            *weight = *value;
        }
    }
    weights.map(|weight| weight / total)
}

/// Weighted sum of seven frames.
#[inline(always)]
pub(super) fn over_time<S: Simd>(
    simd: S,
    frames: [&[S::f64s]; FRAMES],
    weights: &[Lanes<S>; FRAMES],
    out: &mut [S::f64s],
) {
    let [a, b, c, d, e, f, g] = frames;
    let [wa, wb, wc, wd, we, wf, wg] = *weights;
    let rows = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f).zip(g);
    for (out, ((((((a, b), c), d), e), f), g)) in out.iter_mut().zip(rows) {
        let lane = |x: &S::f64s| Lanes::new(simd, *x);
        let outer = lane(a) * wa + lane(g) * wg;
        let inner = lane(b) * wb + lane(f) * wf;
        let middle = (lane(c) * wc + lane(e) * we) + lane(d) * wd;
        *out = (outer + inner + middle).raw();
    }
}

/// Weights of the average over quefrency.
#[derive(Debug)]
pub(super) struct QuefrencySmoothing {
    /// Points on each side that count at least half.
    whole: usize,
    /// Points on each side that count at all.
    reach: usize,
    /// Weights of the points of the inside of the axis.
    kernel: Vec<f64>,
    /// Weights of the points from the start of the axis, for its first `reach` points.
    edge: Vec<Vec<f64>>,
}

impl QuefrencySmoothing {
    pub(super) fn new(step_s: f64) -> Self {
        let half = HALF_QUEFRENCY_S / step_s;
        // Whole but for rounding at the usual rates.
        let half = if (half - half.round()).abs() < 1e-9 { half.round() } else { half };
        let (whole, part) = (half.floor() as usize, half.fract());
        let reach = whole + usize::from(part > 0.0);
        let inner = 0.5 + part - 0.5 * part * part;
        let outer = 0.5 * part * part;
        let side = |distance: usize| match distance.cmp(&whole) {
            std::cmp::Ordering::Less => 1.0,
            std::cmp::Ordering::Equal => inner,
            std::cmp::Ordering::Greater => outer,
        };
        let kernel = (0..=2 * reach).map(|i| side(i.abs_diff(reach)) / (2.0 * half)).collect();
        let edge = (0..reach)
            .map(|k| {
                let length = k as f64 + half;
                // The axis begins at its first point, of which one half is left.
                let weight = |i: usize| if i == 0 && (k as f64) <= half { 0.5 } else { side(i.abs_diff(k)) };
                (0..=k + reach).map(|i| weight(i) / length).collect()
            })
            .collect();
        Self { whole, reach, kernel, edge }
    }

    /// Averages; a small constant is added to every point.
    #[inline(always)]
    pub(super) fn process<S: Simd>(&self, simd: S, row: &[S::f64s], out: &mut [S::f64s]) {
        let count = row.len();
        for (k, weights) in self.edge.iter().enumerate() {
            out[k] = weighted(simd, weights, row.iter());
            out[count - 1 - k] = weighted(simd, weights, row.iter().rev());
        }
        let inside = &mut out[self.reach..count - self.reach];
        match (self.whole, self.reach) {
            (4, 4) => self.inside::<S, 4, { BLOCK + 8 }>(simd, row, inside),
            (5, 5) => self.inside::<S, 5, { BLOCK + 10 }>(simd, row, inside),
            _ => {
                for (out, points) in inside.iter_mut().zip(row.windows(self.kernel.len())) {
                    *out = weighted(simd, &self.kernel, points.iter());
                }
            }
        }
    }

    /// The usual case: `HALF` points on either side, of which the outermost count half. That is a
    /// plain sum of `2 HALF` trapezia, built up from pairs, pairs of pairs and so on.
    #[inline(always)]
    fn inside<S: Simd, const HALF: usize, const SPAN: usize>(&self, simd: S, row: &[S::f64s], out: &mut [S::f64s]) {
        let scale = Lanes::splat(simd, 0.25 / HALF as f64);
        let floor = Lanes::splat(simd, POWER_FLOOR);
        let mut start = 0;
        while start < out.len() {
            // The last block is moved back to be whole; a few points are then computed twice.
            start = start.min(out.len().saturating_sub(BLOCK));
            let (Some(points), Some(out)) =
                (row.get(start..).and_then(|r| r.first_chunk::<SPAN>()), out.get_mut(start..start + BLOCK))
            else {
                return;
            };
            let points = points.map(|point| Lanes::new(simd, point));
            let mut pairs = points;
            for i in 0..SPAN - 1 {
                pairs[i] = points[i] + points[i + 1];
            }
            let mut twos = pairs;
            for i in 0..SPAN - 2 {
                twos[i] = pairs[i] + pairs[i + 1];
            }
            let mut fours = twos;
            for i in 0..SPAN - 4 {
                fours[i] = twos[i] + twos[i + 2];
            }
            for (i, out) in out.iter_mut().enumerate() {
                let eight = fours[i] + fours[i + 4];
                let sum = if HALF == 4 { eight } else { eight + twos[i + 8] };
                *out = (sum * scale + floor).raw();
            }
            start += BLOCK;
        }
    }
}

#[inline(always)]
fn weighted<'a, S: Simd>(simd: S, weights: &[f64], points: impl Iterator<Item = &'a S::f64s>) -> S::f64s {
    let mut sum = Lanes::splat(simd, POWER_FLOOR);
    for (weight, point) in weights.iter().zip(points) {
        sum = sum + Lanes::new(simd, *point) * Lanes::splat(simd, *weight);
    }
    sum.raw()
}

//! How far the cepstral peak stands out of the trend line, by two rules.
//!
//! The trend is Theil's incomplete regression (Theil 1950): the median of the slopes between the
//! points of the first and of the second half, and the median of what is left. Medians and maxima
//! do not care for a monotone function, so they are looked for on the powers; a median of level
//! differences is the logarithm of the median of ratios.

use pulp::Simd;

use super::lanes::{Lanes, any, exp, flat_mut, ln};
use super::layout::{HIGHEST_HZ, LOWEST_HZ, Layout};
use super::select::Selector;

/// Decibels per natural-logarithm unit of power.
const DB: f64 = 10.0 / std::f64::consts::LN_10;

/// Working storage; remembers the medians of the last frames.
#[derive(Debug)]
pub(super) struct Prominence<S: Simd> {
    first: usize,
    last: usize,
    /// Points between which the peak may lie.
    range: [f64; 2],
    work: Vec<S::f64s>,
    levels: Vec<S::f64s>,
    slopes: [Selector<S>; 2],
    intercepts: [Selector<S>; 2],
}

/// A straight line on the logarithm of the power, over points of the quefrency axis.
#[derive(Clone, Copy)]
struct Trend<S: Simd> {
    slope: Lanes<S>,
    intercept: Lanes<S>,
}

impl<S: Simd> Prominence<S> {
    pub(super) fn new(simd: S, layout: &Layout, rate: f64) -> Self {
        let zero = simd.splat_f64s(0.0);
        let points = layout.quefrencies();
        let selector = || Selector::new(simd, points);
        Self {
            first: layout.first_peak,
            last: layout.last_peak,
            range: [rate / HIGHEST_HZ, rate / LOWEST_HZ],
            work: vec![zero; points],
            levels: vec![zero; layout.last_peak - layout.first_peak + 3],
            slopes: [selector(), selector()],
            intercepts: [selector(), selector()],
        }
    }

    /// Prominences in dB by the old and the new rule (those asked for), of smoothed powers, none of
    /// which may be zero.
    #[inline(always)]
    pub(super) fn process(&mut self, simd: S, power: &[S::f64s], rules: [bool; 2]) -> [S::f64s; 2] {
        let mut results = [simd.splat_f64s(0.0); 2];
        let db = Lanes::splat(simd, DB);
        self.levels.copy_from_slice(&power[self.first - 1..=self.last + 1]);
        for level in flat_mut::<S>(&mut self.levels) {
            *level = ln(*level);
        }
        if rules[0] {
            let trend = self.trend(simd, power, 0);
            let (height, place) = self.peak(simd);
            results[0] = ((height - (trend.intercept + trend.slope * place)) * db).raw();
        }
        if rules[1] {
            let trend = self.trend(simd, power, 1);
            let zero = Lanes::splat(simd, 0.0);
            for (i, level) in self.levels.iter_mut().enumerate() {
                let point = Lanes::splat(simd, (self.first - 1 + i) as f64);
                let line = trend.intercept + trend.slope * point;
                *level = (Lanes::new(simd, *level) - line).max(zero).raw();
            }
            let (height, _) = self.peak(simd);
            results[1] = (height * db).raw();
        }
        results
    }

    /// The trend over all points from `start` (0 by the old rule, 1 by the new).
    #[inline(always)]
    fn trend(&mut self, simd: S, power: &[S::f64s], start: usize) -> Trend<S> {
        let points = &power[start..];
        let half = points.len() / 2;
        let distance = points.len() - half;
        let lane = |x: &S::f64s| Lanes::new(simd, *x);
        let ratios = &mut self.work[..half];
        for ((ratio, low), high) in ratios.iter_mut().zip(points).zip(&points[distance..]) {
            *ratio = (lane(high) / lane(low)).raw();
        }
        let (a, b) = self.slopes[start].middle(simd, ratios);
        let mut pair = [a.raw(), b.raw()];
        for value in flat_mut::<S>(&mut pair) {
            *value = ln(*value);
        }
        let slope = (lane(&pair[0]) + lane(&pair[1])) * Lanes::splat(simd, 0.5 / distance as f64);
        // Powers of the decay per point, in four chains so that they need not wait for each other.
        // They count from the middle of the axis, whose level hardly changes between frames.
        let centre = Lanes::splat(simd, (points.len() / 2) as f64);
        let mut decay = [(Lanes::splat(simd, 0.0) - slope).raw(), (slope * centre).raw()];
        for value in flat_mut::<S>(&mut decay) {
            *value = exp(*value);
        }
        let (decay, origin) = (lane(&decay[0]), lane(&decay[1]));
        let decay2 = decay * decay;
        let decay4 = decay2 * decay2;
        let mut chains = [origin, origin * decay, origin * decay2, origin * (decay2 * decay)];
        let rests = &mut self.work[..points.len()];
        let (rest_chunks, rest_tail) = rests.as_chunks_mut::<4>();
        let (point_chunks, point_tail) = points.as_chunks::<4>();
        for (rests, points) in rest_chunks.iter_mut().zip(point_chunks) {
            for i in 0..4 {
                rests[i] = (lane(&points[i]) * chains[i]).raw();
                chains[i] = chains[i] * decay4;
            }
        }
        for ((rest, point), chain) in rest_tail.iter_mut().zip(point_tail).zip(&chains) {
            *rest = (lane(point) * *chain).raw();
        }
        let (a, b) = self.intercepts[start].middle(simd, rests);
        let mut pair = [a.raw(), b.raw()];
        for value in flat_mut::<S>(&mut pair) {
            *value = ln(*value);
        }
        let level = (lane(&pair[0]) + lane(&pair[1])) * Lanes::splat(simd, 0.5);
        Trend { slope, intercept: level - slope * (centre + Lanes::splat(simd, start as f64)) }
    }

    /// Height and place of the largest peak of the levels.
    #[inline(always)]
    fn peak(&self, simd: S) -> (Lanes<S>, Lanes<S>) {
        let lane = |x: &S::f64s| Lanes::new(simd, *x);
        let splat = |x: f64| Lanes::splat(simd, x);
        let (half, two, eighth) = (splat(0.5), splat(2.0), splat(0.125));
        let count = self.levels.len();
        let (at_first, at_last) = (lane(&self.levels[1]), lane(&self.levels[count - 2]));
        let mut height = at_first.max(at_last);
        let mut place = splat(self.last as f64).or_else(at_first.less(at_last), splat(self.first as f64));
        for (i, triple) in self.levels.windows(3).enumerate() {
            let [left, middle, right] = [lane(&triple[0]), lane(&triple[1]), lane(&triple[2])];
            let top = simd.and_m64s(left.less(middle), right.less_or_equal(middle));
            // The parabola rises above its middle point by at most an eighth of the larger step.
            let bound = middle + (middle - left.min(right)) * eighth;
            let promising = simd.and_m64s(top, height.less_or_equal(bound));
            if !any(simd, promising) {
                continue;
            }
            let slope = (right - left) * half;
            let bend = middle * two - left - right;
            let offset = slope / bend;
            let refined = middle + slope * offset * half;
            let better = simd.and_m64s(promising, height.less(refined));
            height = refined.or_else(better, height);
            place = (splat((self.first + i) as f64) + offset).or_else(better, place);
        }
        (height, place.max(splat(self.range[0])).min(splat(self.range[1])))
    }
}

//! Exact medians of many numbers at once, one list per lane.
//!
//! A pivot is moved until the right number of values lies below it; then the largest value below
//! and the smallest above are read off. Consecutive frames are much alike, so the last median is
//! nearly right, and a few counting passes, which are vector code, replace sorting.

use pulp::Simd;

use super::lanes::{Lanes, any, flat};

/// Counting passes before the rest is left to an ordinary selection.
const MAX_PASSES: usize = 14;

/// Remembers where the last median was.
#[derive(Debug)]
pub(super) struct Selector<S: Simd> {
    guess: S::f64s,
    /// Relative distance of the two first pivots from the guess.
    spread: S::f64s,
    scratch: Vec<f64>,
}

impl<S: Simd> Selector<S> {
    pub(super) fn new(simd: S, capacity: usize) -> Self {
        Self { guess: simd.splat_f64s(1.0), spread: simd.splat_f64s(0.05), scratch: Vec::with_capacity(capacity) }
    }

    /// The two middle values of every lane; for an odd count the middle one twice. All values must
    /// be positive and finite.
    #[inline(always)]
    pub(super) fn middle(&mut self, simd: S, values: &[S::f64s]) -> (Lanes<S>, Lanes<S>) {
        let count = values.len();
        // Accepted numbers of values below the pivot.
        let (least, most) = (count / 2, count.div_ceil(2));
        let splat = |x: f64| Lanes::splat(simd, x);
        let (low_target, high_target) = (splat(least as f64), splat(most as f64));
        let target = splat(0.5 * (least + most) as f64);
        let (guess, spread) = (Lanes::new(simd, self.guess), Lanes::new(simd, self.spread));
        let one = splat(1.0);
        let mut low = (splat(0.0), splat(0.0));
        let mut high = (splat(f64::INFINITY), splat(count as f64));
        let mut pivot = guess;
        let mut pending = low_target.less_or_equal(low_target);
        let mut step = spread;
        {
            let (a, b) = (guess * (one - spread), guess * (one + spread));
            let (below_a, below_b) = count_below_two(simd, values, a, b);
            // The next median may be some twenty ranks away: a bracket of about thirty values.
            let held = below_b - below_a;
            let wider = (spread * splat(1.4)).or_else(held.less(splat(20.0)), spread);
            let next = (spread * splat(0.7)).or_else(splat(44.0).less(held), wider);
            self.spread = next.max(splat(1e-7)).min(splat(0.4)).raw();
            for (p, c) in [(a, below_a), (b, below_b)] {
                narrow(simd, p, c, low_target, high_target, &mut low, &mut high, &mut pivot, &mut pending);
            }
        }
        for _ in 0..MAX_PASSES {
            if !any(simd, pending) {
                break;
            }
            step = step * splat(4.0);
            let inside = low.0 + (high.0 - low.0) * ((target - low.1) / (high.1 - low.1));
            let middle = (low.0 + high.0) * splat(0.5);
            // Rounding must not leave the bracket.
            let inside = inside.or_else(low.0.less(inside), middle);
            let inside = inside.or_else(inside.less(high.0), middle);
            let open_above = splat(f64::MAX).less(high.0);
            let open_below = low.0.less_or_equal(splat(0.0));
            let next = (low.0 * (one + step)).or_else(open_above, inside);
            let next = (high.0 / (one + step)).or_else(open_below, next);
            let next = next.or_else(pending, pivot);
            let below = count_below(simd, values, next);
            narrow(simd, next, below, low_target, high_target, &mut low, &mut high, &mut pivot, &mut pending);
        }
        let (below, above, number) = around(simd, values, pivot);
        let least_found = number.less_or_equal(low_target);
        // With an odd count one of the two neighbours of the pivot is the median.
        let (first, second) = if least == most {
            (below, above)
        } else {
            let median = above.or_else(least_found, below);
            (median, median)
        };
        let (first, second) =
            if any(simd, pending) { self.sorted(simd, values, pending, first, second) } else { (first, second) };
        self.guess = ((first + second) * splat(0.5)).raw();
        (first, second)
    }

    /// Lanes whose search did not end (many equal values) by ordinary selection.
    #[cold]
    fn sorted(
        &mut self,
        simd: S,
        values: &[S::f64s],
        pending: S::m64s,
        first: Lanes<S>,
        second: Lanes<S>,
    ) -> (Lanes<S>, Lanes<S>) {
        let lanes = S::F64_LANES;
        let unfinished = Lanes::splat(simd, 1.0).or_else(pending, Lanes::splat(simd, 0.0)).raw();
        let mut pair = [first.raw(), second.raw()];
        for lane in 0..lanes {
            if flat::<S>(&[unfinished])[lane] == 0.0 {
                continue;
            }
            self.scratch.clear();
            self.scratch.extend(flat::<S>(values).iter().skip(lane).step_by(lanes));
            self.scratch.sort_unstable_by(f64::total_cmp);
            let count = self.scratch.len();
            let ranks = [(count - 1) / 2, count / 2];
            for (register, rank) in pair.iter_mut().zip(ranks) {
                super::lanes::flat_mut::<S>(std::slice::from_mut(register))[lane] = self.scratch[rank];
            }
        }
        (Lanes::new(simd, pair[0]), Lanes::new(simd, pair[1]))
    }
}

/// Takes a pivot and its count into the brackets of the lanes still searching.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn narrow<S: Simd>(
    simd: S,
    p: Lanes<S>,
    below: Lanes<S>,
    least: Lanes<S>,
    most: Lanes<S>,
    low: &mut (Lanes<S>, Lanes<S>),
    high: &mut (Lanes<S>, Lanes<S>),
    pivot: &mut Lanes<S>,
    pending: &mut S::m64s,
) {
    let too_low = below.less(least);
    let too_high = most.less(below);
    let raise = simd.and_m64s(too_low, low.0.less(p));
    *low = (p.or_else(raise, low.0), below.or_else(raise, low.1));
    let lower = simd.and_m64s(too_high, p.less(high.0));
    *high = (p.or_else(lower, high.0), below.or_else(lower, high.1));
    let missed = simd.or_m64s(too_low, too_high);
    let found = simd.and_m64s(*pending, simd.not_m64s(missed));
    *pivot = p.or_else(found, *pivot);
    *pending = simd.and_m64s(*pending, missed);
}

/// How many values lie below the pivot.
#[inline(always)]
fn count_below<S: Simd>(simd: S, values: &[S::f64s], pivot: Lanes<S>) -> Lanes<S> {
    let one = Lanes::splat(simd, 1.0);
    let mut counts = [Lanes::splat(simd, 0.0); 4];
    let (chunks, rest) = values.as_chunks::<4>();
    for chunk in chunks {
        for (count, value) in counts.iter_mut().zip(chunk) {
            *count = (*count + one).or_else(Lanes::new(simd, *value).less(pivot), *count);
        }
    }
    for value in rest {
        counts[0] = (counts[0] + one).or_else(Lanes::new(simd, *value).less(pivot), counts[0]);
    }
    (counts[0] + counts[1]) + (counts[2] + counts[3])
}

/// The same for two pivots.
#[inline(always)]
fn count_below_two<S: Simd>(simd: S, values: &[S::f64s], a: Lanes<S>, b: Lanes<S>) -> (Lanes<S>, Lanes<S>) {
    let one = Lanes::splat(simd, 1.0);
    let mut counts = [[Lanes::splat(simd, 0.0); 2]; 2];
    let (chunks, rest) = values.as_chunks::<2>();
    for chunk in chunks {
        for (count, value) in counts.iter_mut().zip(chunk) {
            let value = Lanes::new(simd, *value);
            count[0] = (count[0] + one).or_else(value.less(a), count[0]);
            count[1] = (count[1] + one).or_else(value.less(b), count[1]);
        }
    }
    for value in rest {
        let value = Lanes::new(simd, *value);
        counts[0][0] = (counts[0][0] + one).or_else(value.less(a), counts[0][0]);
        counts[0][1] = (counts[0][1] + one).or_else(value.less(b), counts[0][1]);
    }
    (counts[0][0] + counts[1][0], counts[0][1] + counts[1][1])
}

/// The largest value below the pivot, the smallest not below, and how many are below.
#[inline(always)]
fn around<S: Simd>(simd: S, values: &[S::f64s], pivot: Lanes<S>) -> (Lanes<S>, Lanes<S>, Lanes<S>) {
    let (zero, one, infinite) = (Lanes::splat(simd, 0.0), Lanes::splat(simd, 1.0), Lanes::splat(simd, f64::INFINITY));
    let mut results = [(zero, infinite, zero); 2];
    let mut take = |slot: usize, value: S::f64s| {
        let value = Lanes::new(simd, value);
        let (below, above, number) = results[slot];
        let mask = value.less(pivot);
        results[slot] = (
            below.max(value.or_else(mask, zero)),
            above.min(infinite.or_else(mask, value)),
            (number + one).or_else(mask, number),
        );
    };
    let (chunks, rest) = values.as_chunks::<2>();
    for chunk in chunks {
        take(0, chunk[0]);
        take(1, chunk[1]);
    }
    for value in rest {
        take(0, *value);
    }
    let [a, b] = results;
    (a.0.max(b.0), a.1.min(b.1), a.2 + b.2)
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::cepstrum::lanes::flat_mut;

    struct Check<'a>(&'a [Vec<f64>]);

    impl WithSimd for Check<'_> {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let lists = self.0;
            let mut selector = Selector::new(simd, 600);
            for lists in lists.chunks_exact(S::F64_LANES) {
                let count = lists[0].len();
                let mut values = vec![simd.splat_f64s(0.0); count];
                for (i, x) in flat_mut::<S>(&mut values).iter_mut().enumerate() {
                    *x = lists[i % S::F64_LANES][i / S::F64_LANES];
                }
                let (a, b) = selector.middle(simd, &values);
                let (a, b) = ([a.raw()], [b.raw()]);
                for (lane, list) in lists.iter().enumerate() {
                    let mut sorted = list.clone();
                    sorted.sort_by(f64::total_cmp);
                    assert_eq!(flat::<S>(&a)[lane], sorted[(count - 1) / 2]);
                    assert_eq!(flat::<S>(&b)[lane], sorted[count / 2]);
                }
            }
        }
    }

    #[test]
    fn middle_values_are_exact() {
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for count in [1, 2, 5, 256, 257, 513] {
            for style in 0..5 {
                let lists: Vec<Vec<f64>> = (0..64)
                    .map(|list| {
                        let mut value = || match style {
                            0 => next() + 1e-9,
                            1 => (40.0 * (next() - 0.5)).exp(),
                            2 => (next() * 4.0).floor() + 1.0,
                            3 => 1e-30,
                            // From one list to the next the level jumps by decades.
                            _ => (1.0 + 0.01 * next()) * 10_f64.powi(list % 9 - 4),
                        };
                        (0..count).map(|_| value()).collect()
                    })
                    .collect();
                pulp::Arch::new().dispatch(Check(&lists));
            }
        }
    }
}

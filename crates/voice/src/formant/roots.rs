//! All roots of the predictor polynomials of several frames at once.
//!
//! The method is that of Ehrlich (1967) and Aberth (1973): every approximation takes Newton steps
//! in which the other approximations push it away from their own roots, so that all roots are found
//! together, without deflation and its loss of accuracy. Each lane of the vector registers works on
//! the polynomial of one frame, always from the same starting points, and rests as soon as its own
//! roots are found: the result of a frame depends on nothing but its polynomial.

use std::f64::consts::PI;

/// Polynomials solved side by side.
pub(super) const LANES: usize = 8;

/// Values of the same quantity for all lanes.
type Lanes = [f64; LANES];

/// A correction this small is the last one: convergence is cubic.
const SMALL_STEP: f64 = 1e-11;
/// Ten to fifteen rounds are usual; roots on top of each other take more.
const MAX_ROUNDS: usize = 100;
/// Distance of the starting points from 0: poles of speech lie just inside the unit circle.
const START_RADIUS: f64 = 0.9;
/// Turns the starting points, so that they do not lie symmetrically about the real axis: a
/// symmetric start could never become two different real roots.
const START_ANGLE: f64 = 0.4;
/// A root is accepted when the polynomial there is this small against the sum of its terms.
const RESIDUAL: f64 = 1e-9;
/// Keeps reciprocals of zero finite.
const TINY: f64 = 1e-300;

/// Roots of all lanes.
pub(super) struct Roots<const ORDER: usize> {
    re: [Lanes; ORDER],
    im: [Lanes; ORDER],
    valid: [[bool; LANES]; ORDER],
}

impl<const ORDER: usize> Roots<ORDER> {
    /// Real and imaginary parts of the roots of one lane, without those that were not found.
    pub(super) fn lane(&self, lane: usize) -> [Option<[f64; 2]>; ORDER] {
        std::array::from_fn(|k| {
            let valid = *self.valid.get(k)?.get(lane)?;
            let (re, im) = (*self.re.get(k)?.get(lane)?, *self.im.get(k)?.get(lane)?);
            valid.then_some([re, im])
        })
    }
}

/// Roots of z^n - p1 z^(n-1) - ... - pn, given the predictor coefficients p of every lane.
#[inline(always)]
pub(super) fn solve<const ORDER: usize>(predictors: &[Lanes; ORDER]) -> Roots<ORDER> {
    let (mut re, mut im) = ([[0.0; LANES]; ORDER], [[0.0; LANES]; ORDER]);
    for k in 0..ORDER {
        let (sine, cosine) = (2.0 * PI * k as f64 / ORDER as f64 + START_ANGLE).sin_cos();
        re[k] = [START_RADIUS * cosine; LANES];
        im[k] = [START_RADIUS * sine; LANES];
    }
    let mut active = [1.0; LANES];
    for _ in 0..MAX_ROUNDS {
        let largest = improve(predictors, &mut re, &mut im, &active);
        for lane in 0..LANES {
            // Not a number counts as large.
            if largest[lane] < SMALL_STEP * SMALL_STEP {
                active[lane] = 0.0;
            }
        }
        if active == [0.0; LANES] {
            break;
        }
    }
    let mut valid = [[false; LANES]; ORDER];
    for k in 0..ORDER {
        valid[k] = is_root(predictors, &re[k], &im[k]);
    }
    Roots { re, im, valid }
}

/// One round: moves all roots of the active lanes and gives the largest squared step of each lane.
#[inline(always)]
fn improve<const ORDER: usize>(
    predictors: &[Lanes; ORDER],
    re: &mut [Lanes; ORDER],
    im: &mut [Lanes; ORDER],
    active: &Lanes,
) -> Lanes {
    let (push_re, push_im) = pushes(re, im);
    let mut largest = [0.0; LANES];
    for k in 0..ORDER {
        let value = evaluate(predictors, &re[k], &im[k]);
        for lane in 0..LANES {
            let (p_re, p_im) = (value.re[lane], value.im[lane]);
            // step = p / (p' - p * push)
            let below_re = value.slope_re[lane] - (p_re * push_re[k][lane] - p_im * push_im[k][lane]);
            let below_im = value.slope_im[lane] - (p_re * push_im[k][lane] + p_im * push_re[k][lane]);
            let scale = active[lane] / (below_re * below_re + below_im * below_im + TINY);
            let step_re = (p_re * below_re + p_im * below_im) * scale;
            let step_im = (p_im * below_re - p_re * below_im) * scale;
            re[k][lane] -= step_re;
            im[k][lane] -= step_im;
            let size = step_re * step_re + step_im * step_im;
            largest[lane] = if size <= largest[lane] { largest[lane] } else { size };
        }
    }
    largest
}

/// For every root the sum of the reciprocal distances to all others.
#[inline(always)]
fn pushes<const ORDER: usize>(re: &[Lanes; ORDER], im: &[Lanes; ORDER]) -> ([Lanes; ORDER], [Lanes; ORDER]) {
    let (mut push_re, mut push_im) = ([[0.0; LANES]; ORDER], [[0.0; LANES]; ORDER]);
    for k in 0..ORDER {
        for other in k + 1..ORDER {
            for lane in 0..LANES {
                let away_re = re[k][lane] - re[other][lane];
                let away_im = im[k][lane] - im[other][lane];
                let scale = 1.0 / (away_re * away_re + away_im * away_im + TINY);
                push_re[k][lane] += away_re * scale;
                push_im[k][lane] -= away_im * scale;
                push_re[other][lane] -= away_re * scale;
                push_im[other][lane] += away_im * scale;
            }
        }
    }
    (push_re, push_im)
}

/// A polynomial and its derivative at one point of every lane.
struct Value {
    re: Lanes,
    im: Lanes,
    slope_re: Lanes,
    slope_im: Lanes,
}

/// Divides twice by the real quadratic whose roots are z and its conjugate, which takes half the
/// multiplications of complex Horner steps.
#[inline(always)]
fn evaluate<const ORDER: usize>(predictors: &[Lanes; ORDER], re: &Lanes, im: &Lanes) -> Value {
    let (mut twice, mut square) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        twice[lane] = 2.0 * re[lane];
        square[lane] = re[lane] * re[lane] + im[lane] * im[lane];
    }
    // Quotient coefficients of the first and of the second division: the latest and the one before.
    let (mut b, mut b_before) = ([1.0; LANES], [0.0; LANES]);
    let (mut d, mut d_before) = ([0.0; LANES], [0.0; LANES]);
    for predictor in predictors.iter().take(ORDER - 1) {
        for lane in 0..LANES {
            // The second division runs two coefficients behind the first.
            let d_next = b_before[lane] + twice[lane] * d[lane] - square[lane] * d_before[lane];
            d_before[lane] = d[lane];
            d[lane] = d_next;
            let b_next = twice[lane] * b[lane] - square[lane] * b_before[lane] - predictor[lane];
            b_before[lane] = b[lane];
            b[lane] = b_next;
        }
    }
    let mut value = Value { re: [0.0; LANES], im: [0.0; LANES], slope_re: [0.0; LANES], slope_im: [0.0; LANES] };
    for lane in 0..LANES {
        let (x, y) = (re[lane], im[lane]);
        // p(z) = last remainder, with z in place of one more quadratic step.
        value.re[lane] = x * b[lane] - square[lane] * b_before[lane] - predictors[ORDER - 1][lane];
        value.im[lane] = y * b[lane];
        // The quotient at z, and p'(z) = 2 i y q(z) + b.
        let quotient_re = b_before[lane] + x * d[lane] - square[lane] * d_before[lane];
        let quotient_im = y * d[lane];
        value.slope_re[lane] = b[lane] - 2.0 * y * quotient_im;
        value.slope_im[lane] = 2.0 * y * quotient_re;
    }
    value
}

/// Whether the polynomial vanishes there, up to rounding.
#[inline(always)]
fn is_root<const ORDER: usize>(predictors: &[Lanes; ORDER], re: &Lanes, im: &Lanes) -> [bool; LANES] {
    let value = evaluate(predictors, re, im);
    let mut terms = [1.0; LANES];
    let mut valid = [false; LANES];
    for lane in 0..LANES {
        let radius = (re[lane] * re[lane] + im[lane] * im[lane]).sqrt();
        for predictor in predictors {
            terms[lane] = terms[lane] * radius + predictor[lane].abs();
        }
        let size = (value.re[lane] * value.re[lane] + value.im[lane] * value.im[lane]).sqrt();
        valid[lane] = size <= RESIDUAL * terms[lane];
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictor coefficients of the polynomial with these roots; pairs with imag > 0 get their conjugate.
    fn predictors<const ORDER: usize>(roots: &[[f64; 2]]) -> [f64; ORDER] {
        let mut polynomial = vec![1.0];
        for &[re, im] in roots {
            let factor = if im == 0.0 { vec![1.0, -re] } else { vec![1.0, -2.0 * re, re * re + im * im] };
            let mut product = vec![0.0; polynomial.len() + factor.len() - 1];
            for (i, a) in polynomial.iter().enumerate() {
                for (j, b) in factor.iter().enumerate() {
                    product[i + j] += a * b;
                }
            }
            polynomial = product;
        }
        std::array::from_fn(|k| -polynomial[k + 1])
    }

    fn lanes<const ORDER: usize>(polynomials: &[[f64; ORDER]; LANES]) -> [Lanes; ORDER] {
        std::array::from_fn(|k| std::array::from_fn(|lane| polynomials[lane][k]))
    }

    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn every_root_of_random_filters_is_found() {
        let mut state = 5;
        for round in 0..500 {
            let mut expected: Vec<Vec<[f64; 2]>> = Vec::new();
            let polynomials: [[f64; 10]; LANES] = std::array::from_fn(|_| {
                let mut roots = Vec::new();
                // Up to three pairs of real roots among the complex ones.
                for _ in 0..round % 4 {
                    roots.push([2.0 * random(&mut state) - 1.0, 0.0]);
                    roots.push([2.0 * random(&mut state) - 1.0, 0.0]);
                }
                while roots.iter().map(|r| if r[1] == 0.0 { 1 } else { 2 }).sum::<usize>() < 10 {
                    let (sine, cosine) = (PI * (0.01 + 0.98 * random(&mut state))).sin_cos();
                    let radius = 0.3 + 0.75 * random(&mut state);
                    roots.push([radius * cosine, radius * sine]);
                }
                expected.push(roots.clone());
                predictors(&roots)
            });
            let found = solve(&lanes(&polynomials));
            for (lane, expected) in expected.iter().enumerate() {
                let found = found.lane(lane);
                for root in expected {
                    let nearest = found.iter().flatten().map(|f| (f[0] - root[0]).hypot(f[1] - root[1]));
                    // Random roots may nearly coincide, which spreads them.
                    assert!(nearest.fold(1.0, f64::min) < 1e-3, "round {round}: {root:?} not in {found:?}");
                }
                assert!(found.iter().all(Option::is_some), "round {round}");
            }
        }
    }

    #[test]
    fn a_lane_does_not_depend_on_its_neighbours() {
        let easy = predictors(&[[0.5, 0.7], [-0.3, 0.8], [0.1, 0.6], [0.9, 0.1]]);
        // Multiple roots take many more rounds.
        let hard = predictors(&[[0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.9, 0.2]]);
        let alone: Roots<8> = solve(&lanes(&[easy; LANES]));
        let mut mixed = [hard; LANES];
        mixed[3] = easy;
        assert_eq!(solve(&lanes(&mixed)).lane(3), alone.lane(0));
        assert!(alone.lane(0).iter().all(Option::is_some));
    }

    #[test]
    fn degenerate_polynomials_do_no_harm() {
        let zero = solve(&[[0.0; LANES]; 8]).lane(0);
        assert!(zero.iter().flatten().all(|root| root[0].hypot(root[1]) < 0.1), "{zero:?}");
        let broken = solve(&[[f64::NAN; LANES]; 8]).lane(0);
        assert_eq!(broken, [None; 8]);
    }
}

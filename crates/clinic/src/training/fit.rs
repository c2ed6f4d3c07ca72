//! Ridge-penalised logistic regression by Newton's method.

use crate::risk::logistic::sigmoid;

/// Newton steps at most; five to ten are usual.
const MAX_STEPS: usize = 60;
/// Halvings of a step that made things worse.
const MAX_HALVINGS: usize = 20;
/// Largest change of a coefficient at which the fit is done.
const TOLERANCE: f64 = 1e-8;

/// Rows of equal length, with a first column of ones for the intercept.
#[derive(Debug, Clone, Default)]
pub(super) struct Matrix {
    pub(super) width: usize,
    pub(super) data: Vec<f64>,
}

impl Matrix {
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks_exact(self.width.max(1))
    }
}

/// Coefficients that make `outcomes` most likely, less `lambda / 2` times the sum of their squares. The first column
/// is the intercept and is not penalised. `None` when it does not settle.
pub(super) fn logistic(x: &Matrix, outcomes: &[f64], lambda: f64) -> Option<Vec<f64>> {
    logistic_from(x, outcomes, lambda, &[])
}

/// The same, begun at coefficients that are near, which saves steps. Others than `x` needs are not used.
pub(super) fn logistic_from(x: &Matrix, outcomes: &[f64], lambda: f64, start: &[f64]) -> Option<Vec<f64>> {
    let mut beta = if start.len() == x.width { start.to_vec() } else { vec![0.0; x.width] };
    let mut value = objective(x, outcomes, lambda, &beta);
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = derivatives(x, outcomes, lambda, &beta);
        let step = solve(&hessian, &gradient)?;
        let mut scale = 1.0;
        let mut next = None;
        for _ in 0..MAX_HALVINGS {
            let candidate: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + scale * s).collect();
            let reached = objective(x, outcomes, lambda, &candidate);
            if reached >= value - 1e-12 * value.abs() {
                next = Some((candidate, reached));
                break;
            }
            scale *= 0.5;
        }
        let (candidate, reached) = next?;
        let moved = step.iter().map(|s| (scale * s).abs()).fold(0.0, f64::max);
        (beta, value) = (candidate, reached);
        if moved < TOLERANCE {
            return beta.iter().all(|b| b.is_finite()).then_some(beta);
        }
    }
    None
}

/// The linear predictor of a row.
pub(super) fn predictor(row: &[f64], beta: &[f64]) -> f64 {
    row.iter().zip(beta).map(|(x, b)| x * b).sum()
}

/// Mean negative log-likelihood, the measure by which a penalty is chosen.
pub(super) fn log_loss(x: &Matrix, outcomes: &[f64], beta: &[f64]) -> f64 {
    let sum: f64 =
        x.rows().zip(outcomes).map(|(row, &y)| softplus(predictor(row, beta)) - y * predictor(row, beta)).sum();
    sum / outcomes.len().max(1) as f64
}

fn objective(x: &Matrix, outcomes: &[f64], lambda: f64, beta: &[f64]) -> f64 {
    let penalty: f64 = beta.iter().skip(1).map(|b| b * b).sum();
    -log_loss(x, outcomes, beta) * outcomes.len() as f64 - 0.5 * lambda * penalty
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Gradient and negative Hessian of the objective; the matrix row by row.
fn derivatives(x: &Matrix, outcomes: &[f64], lambda: f64, beta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let width = x.width;
    let mut gradient = vec![0.0; width];
    let mut hessian = vec![vec![0.0; width]; width];
    for (row, &y) in x.rows().zip(outcomes) {
        let p = sigmoid(predictor(row, beta));
        let weight = p * (1.0 - p);
        for (((g, line), &a), index) in gradient.iter_mut().zip(&mut hessian).zip(row).zip(0..) {
            *g += (y - p) * a;
            let wa = weight * a;
            // The lower half is enough: the matrix is symmetric.
            for (cell, &b) in line.iter_mut().zip(row).take(index + 1) {
                *cell += wa * b;
            }
        }
    }
    for (index, ((g, line), b)) in gradient.iter_mut().zip(&mut hessian).zip(beta).enumerate() {
        let penalty = if index == 0 { 0.0 } else { lambda };
        *g -= penalty * b;
        if let Some(cell) = line.get_mut(index) {
            // A breath of ridge on everything keeps columns that say the same solvable.
            *cell += penalty + 1e-9;
        }
    }
    (gradient, hessian)
}

/// Solves a symmetric positive definite system, of which the lower half is given, by Cholesky's method.
fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    // Row i of the factor has i + 1 entries, the last one on the diagonal; products of rows end with the shorter one.
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(right.len());
    for (index, line) in matrix.iter().enumerate() {
        let mut row = Vec::with_capacity(index + 1);
        for (above, entry) in lower.iter().zip(line) {
            row.push((entry - dot(&row, above)) / above.last()?);
        }
        let rest = line.get(index)? - dot(&row, &row);
        if !(rest > 0.0 && rest.is_finite()) {
            return None;
        }
        row.push(rest.sqrt());
        lower.push(row);
    }
    let mut solution: Vec<f64> = Vec::with_capacity(right.len());
    for (row, value) in lower.iter().zip(right) {
        solution.push((value - dot(row, &solution)) / row.last()?);
    }
    for (index, row) in lower.iter().enumerate().rev() {
        let value = solution.get(index)? / row.last()?;
        for (earlier, factor) in solution.iter_mut().zip(row) {
            *earlier -= factor * value;
        }
        *solution.get_mut(index)? = value;
    }
    Some(solution)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn column(values: &[f64]) -> Matrix {
        Matrix { width: 2, data: values.iter().flat_map(|&value| [1.0, value]).collect() }
    }

    #[test]
    fn a_two_by_two_table_gives_its_log_odds() {
        // 10 exposed with 8 events, 20 not exposed with 5: intercept ln(5/15), slope ln(8/2) - ln(5/15).
        let mut exposed = vec![1.0; 10];
        exposed.extend(vec![0.0; 20]);
        let mut outcomes = vec![1.0; 8];
        outcomes.extend([0.0, 0.0]);
        outcomes.extend(vec![1.0; 5]);
        outcomes.extend(vec![0.0; 15]);
        let beta = logistic(&column(&exposed), &outcomes, 0.0).unwrap();
        assert!((beta[0] - (5.0_f64 / 15.0).ln()).abs() < 1e-6, "{beta:?}");
        assert!((beta[1] - (4.0_f64.ln() - (5.0_f64 / 15.0).ln())).abs() < 1e-6, "{beta:?}");
        let shrunk = logistic(&column(&exposed), &outcomes, 5.0).unwrap();
        assert!(shrunk[1] > 0.0 && shrunk[1] < beta[1]);
    }

    #[test]
    fn a_system_is_solved_from_its_lower_half() {
        let matrix = vec![vec![4.0, 0.0, 0.0], vec![2.0, 5.0, 0.0], vec![1.0, 3.0, 6.0]];
        let solution = solve(&matrix, &[9.0, 18.0, 25.0]).unwrap();
        // Checked by putting it back: the full matrix times the solution.
        let full = [[4.0, 2.0, 1.0], [2.0, 5.0, 3.0], [1.0, 3.0, 6.0]];
        for (row, right) in full.iter().zip([9.0, 18.0, 25.0]) {
            assert!((dot(row, &solution) - right).abs() < 1e-12, "{solution:?}");
        }
        assert_eq!(solve(&[vec![1.0, 0.0], vec![2.0, 1.0]], &[1.0, 1.0]), None);
    }

    #[test]
    fn separated_outcomes_settle_with_a_penalty() {
        let x = column(&[-2.0, -1.0, 1.0, 2.0]);
        let beta = logistic(&x, &[0.0, 0.0, 1.0, 1.0], 0.5).unwrap();
        assert!(beta[1] > 0.5 && beta[1] < 10.0, "{beta:?}");
    }
}

//! From a table to the numbers that are fitted: features on one scale, and a mark for each that is missing.

use super::fit::Matrix;
use super::table::Table;
use crate::risk::Feature;
use crate::risk::logistic::{Logistic, Term};

/// A feature gets a mark for "missing" when at least so many rows lack it.
const MIN_MISSING_ROWS: usize = 10;

/// How one feature is put on the common scale.
#[derive(Debug, Clone, Copy)]
struct Scaling {
    feature: Feature,
    column: usize,
    mean: f64,
    sd: f64,
    marked: bool,
}

/// How a table becomes a matrix. Learned on training rows only.
#[derive(Debug, Clone)]
pub(super) struct Design {
    scalings: Vec<Scaling>,
}

impl Design {
    /// Learns means and spreads of `features` on `rows`. Features that do not vary are left out.
    pub(super) fn learn(table: &Table, rows: &[usize], features: &[Feature]) -> Self {
        let scalings = features.iter().filter_map(|&feature| {
            let column = table.column(feature)?;
            let chosen = rows.iter().filter_map(|&row| table.rows.get(row));
            let values: Vec<f64> = chosen.filter_map(|row| row.values.get(column).copied().flatten()).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
            let marked = rows.len() - values.len() >= MIN_MISSING_ROWS;
            (sd > 1e-6).then_some(Scaling { feature, column, mean, sd, marked })
        });
        Self { scalings: scalings.collect() }
    }

    /// Features that are left.
    pub(super) fn features(&self) -> Vec<Feature> {
        self.scalings.iter().map(|scaling| scaling.feature).collect()
    }

    /// Number of fitted numbers beside the intercept.
    pub(super) fn coefficients(&self) -> usize {
        self.scalings.len() + self.scalings.iter().filter(|scaling| scaling.marked).count()
    }

    /// The matrix of the given rows: ones, then each feature, and after it its mark.
    pub(super) fn matrix(&self, table: &Table, rows: &[usize]) -> Matrix {
        let mut matrix = Matrix { width: 1 + self.coefficients(), data: Vec::new() };
        for row in rows.iter().filter_map(|&row| table.rows.get(row)) {
            matrix.data.push(1.0);
            for scaling in &self.scalings {
                let value = row.values.get(scaling.column).copied().flatten();
                matrix.data.push(value.map_or(0.0, |value| (value - scaling.mean) / scaling.sd));
                if scaling.marked {
                    matrix.data.push(if value.is_none() { 1.0 } else { 0.0 });
                }
            }
        }
        matrix
    }

    /// The fitted model in the form of a file.
    pub(super) fn model(&self, beta: &[f64]) -> Logistic {
        let mut rest = beta.iter().copied();
        let intercept = rest.next().unwrap_or(0.0);
        let mut terms = Vec::new();
        for scaling in &self.scalings {
            let coefficient = rest.next().unwrap_or(0.0);
            let missing = if scaling.marked { rest.next().unwrap_or(0.0) } else { 0.0 };
            let Scaling { feature, mean, sd, .. } = *scaling;
            terms.push(Term { feature, coefficient, mean, sd, missing });
        }
        Logistic { intercept, terms }
    }
}

//! Plain statistics with the conventions of the reference: `None` when there are too few values.

/// Arithmetic mean.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation with n - 1; needs two values.
pub(crate) fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let n = values.len();
    (n >= 2).then(|| {
        let sum: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (sum / (n - 1) as f64).sqrt()
    })
}

/// Quantile of an ascending vector: place `q * n + 0.5`, linear between neighbours.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q * sorted.len() as f64 + 0.5;
    let left = place.floor();
    if left < 1.0 {
        return sorted.first().copied();
    }
    let index = left as usize;
    match (sorted.get(index - 1), sorted.get(index)) {
        (Some(a), Some(b)) => Some(a + (place - left) * (b - a)),
        _ => sorted.last().copied(),
    }
}

/// Quantile of values in any order.
pub(crate) fn quantile_of(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_follow_the_half_sample_convention() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&sorted, 0.5), Some(3.0));
        assert_eq!(quantile(&sorted, 0.0), Some(1.0));
        assert_eq!(quantile(&sorted, 1.0), Some(8.0));
        assert_eq!(quantile(&sorted, 0.25), Some(1.5));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn too_few_values_are_undefined() {
        assert_eq!(mean(&[]), None);
        assert_eq!(standard_deviation(&[1.0]), None);
        assert_eq!(standard_deviation(&[1.0, 3.0]), Some(2.0_f64.sqrt()));
    }
}

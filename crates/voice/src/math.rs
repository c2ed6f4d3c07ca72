//! Small numerical helpers shared by several measures.
//!
//! The loops over eight partial sums let the compiler use vector registers of any width; the order
//! of the additions is written down, so every machine gives the same bits.

/// Partial sums kept side by side: one 512-bit register, or two or four smaller ones.
const LANES: usize = 8;

/// Shifts handled side by side: four 512-bit or eight 256-bit registers of running sums.
const BLOCK: usize = 32;

/// Modified Bessel function of the first kind, order zero, by its power series.
///
/// The series has positive terms only, so it is accurate to rounding for every argument a window
/// needs (|x| up to about 20).
pub(crate) fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    let mut k = 1.0;
    // 200 terms are far more than |x| = 50 takes; the bound only guards against bad input.
    while term > sum * 1e-17 && k < 200.0 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// Sum of products over the shorter length.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (a.get(..length).unwrap_or_default(), b.get(..length).unwrap_or_default());
    let mut sums = [0.0_f64; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a.iter().zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Sum of the values.
#[inline(always)]
pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sums = [0.0_f64; 2 * LANES];
    let (chunks, rest) = values.as_chunks::<{ 2 * LANES }>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().sum::<f64>() + rest.iter().sum::<f64>()
}

/// Largest distance of a value from `middle`; values that are not numbers do not count.
#[inline(always)]
pub(crate) fn largest_deviation(values: &[f64], middle: f64) -> f64 {
    let larger = |peak: f64, x: f64| {
        let deviation = (x - middle).abs();
        if deviation > peak { deviation } else { peak }
    };
    let mut peaks = [0.0_f64; 2 * LANES];
    let (chunks, rest) = values.as_chunks::<{ 2 * LANES }>();
    for chunk in chunks {
        for (peak, &x) in peaks.iter_mut().zip(chunk) {
            *peak = larger(*peak, x);
        }
    }
    let peak = peaks.iter().fold(0.0, |a: f64, &b| if b > a { b } else { a });
    rest.iter().fold(peak, |peak, &x| larger(peak, x))
}

/// Sum of squared distances from `mean`, each times its weight, over the shorter length.
#[inline(always)]
pub(crate) fn weighted_energy(values: &[f64], mean: f64, weights: &[f64]) -> f64 {
    let square = |x: f64, weight: f64| (x - mean) * (x - mean) * weight;
    let mut sums = [0.0_f64; 2 * LANES];
    let (chunks, rest) = values.as_chunks::<{ 2 * LANES }>();
    let (weight_chunks, weight_rest) = weights.as_chunks::<{ 2 * LANES }>();
    for (chunk, weights) in chunks.iter().zip(weight_chunks) {
        for ((sum, &x), &weight) in sums.iter_mut().zip(chunk).zip(weights) {
            *sum += square(x, weight);
        }
    }
    let rest: f64 = rest.iter().zip(weight_rest).map(|(&x, &weight)| square(x, weight)).sum();
    sums.iter().sum::<f64>() + rest
}

/// `out[k] = sum of base[j] * later[j + k]`, many lags at a time so that every sample of `base` is
/// read once per block.
#[inline(always)]
pub(crate) fn sliding_products(base: &[f64], later: &[f64], out: &mut [f64]) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let mut later = later;
    for block in blocks {
        fill_block(base, later, block);
        later = later.get(BLOCK..).unwrap_or_default();
    }
    let (blocks, rest) = rest.as_chunks_mut::<LANES>();
    for block in blocks {
        fill_block(base, later, block);
        later = later.get(LANES..).unwrap_or_default();
    }
    for (k, product) in rest.iter_mut().enumerate() {
        *product = dot(base, later.get(k..).unwrap_or_default());
    }
}

#[inline(always)]
fn fill_block<const LAGS: usize>(base: &[f64], later: &[f64], block: &mut [f64; LAGS]) {
    let mut sums = [0.0_f64; LAGS];
    for (x, lags) in base.iter().zip(later.array_windows::<LAGS>()) {
        for (sum, y) in sums.iter_mut().zip(lags) {
            *sum += x * y;
        }
    }
    *block = sums;
}

/// [`sum`] as a step that can be compiled for every kind of vector register.
pub(crate) struct Sum<'a>(pub(crate) &'a [f64]);

impl pulp::NullaryFnOnce for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        sum(self.0)
    }
}

/// [`largest_deviation`] as such a step.
pub(crate) struct LargestDeviation<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) middle: f64,
}

impl pulp::NullaryFnOnce for LargestDeviation<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        largest_deviation(self.values, self.middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_i0_matches_tabulated_values() {
        // Abramowitz and Stegun, table 9.8 (unscaled).
        assert!((bessel_i0(0.0) - 1.0).abs() < 1e-15);
        assert!((bessel_i0(1.0) - 1.266_065_877_752_008_4).abs() < 1e-14);
        assert!((bessel_i0(5.0) - 27.239_871_823_604_442).abs() < 1e-11);
    }

    #[test]
    fn vector_registers_do_not_change_the_bits() {
        let x: Vec<f64> = (0..1003).map(|n| (f64::from(n) * 0.7).sin() + 0.1).collect();
        let arch = pulp::Arch::new();
        assert_eq!(arch.dispatch(Sum(&x)).to_bits(), sum(&x).to_bits());
        let peak = arch.dispatch(LargestDeviation { values: &x, middle: 0.1 });
        assert_eq!(peak.to_bits(), largest_deviation(&x, 0.1).to_bits());
    }

    #[test]
    fn sliding_products_are_those_of_each_shift() {
        let x: Vec<f64> = (0..200).map(|n| (f64::from(n) * 1.7).sin()).collect();
        for count in [0, 1, 8, 31, 32, 45, 100] {
            let mut out = vec![0.0; count];
            sliding_products(&x[..60], &x[10..], &mut out);
            for (k, product) in out.iter().enumerate() {
                let expected: f64 = (0..60).map(|j| x[j] * x[10 + k + j]).sum();
                assert!((product - expected).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn sums_and_peaks_take_every_value_once() {
        for length in [0_u32, 1, 7, 8, 15, 16, 17, 50] {
            let values: Vec<f64> = (0..length).map(|n| f64::from(n) - 3.0).collect();
            let n = f64::from(length);
            assert_eq!(sum(&values), n * (n - 1.0) / 2.0 - 3.0 * n);
            assert_eq!(dot(&values, &values), values.iter().map(|v| v * v).sum::<f64>());
            let peak = values.iter().fold(0.0, |p: f64, v| p.max((v - 2.0).abs()));
            assert_eq!(largest_deviation(&values, 2.0), peak);
        }
        assert_eq!(largest_deviation(&[f64::NAN, -2.0], 0.0), 2.0);
    }
}

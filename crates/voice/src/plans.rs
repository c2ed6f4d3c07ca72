//! Fourier transforms of whole recordings: plans that are made once per process.
//!
//! Preparing a long transform takes as long as running it, and recordings are padded to powers of
//! two, so the same few plans serve nearly all of them. What a plan computes does not depend on
//! when it was made.

use std::sync::{Arc, LazyLock, Mutex};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Longest transform whose plan is kept: a minute at 8 kHz. All plans up to here together take
/// about 30 MB; longer recordings are rare and spend their time elsewhere.
const MAX_KEPT: usize = 1 << 19;

static PLANNER: LazyLock<Mutex<RealFftPlanner<f64>>> = LazyLock::new(|| Mutex::new(RealFftPlanner::new()));

/// From `size` real samples to `size / 2 + 1` complex bins.
pub(crate) fn forward(size: usize) -> Arc<dyn RealToComplex<f64>> {
    planned(size, RealFftPlanner::plan_fft_forward)
}

/// From `size / 2 + 1` complex bins to `size` real samples.
pub(crate) fn inverse(size: usize) -> Arc<dyn ComplexToReal<f64>> {
    planned(size, RealFftPlanner::plan_fft_inverse)
}

fn planned<P>(size: usize, plan: impl Fn(&mut RealFftPlanner<f64>, usize) -> P) -> P {
    if size <= MAX_KEPT
        && let Ok(mut kept) = PLANNER.lock()
    {
        return plan(&mut kept, size);
    }
    plan(&mut RealFftPlanner::new(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_plans_have_their_size() {
        for size in [2, 1024, 2 * MAX_KEPT] {
            assert_eq!(forward(size).len(), size);
            assert_eq!(inverse(size).len(), size);
        }
    }
}

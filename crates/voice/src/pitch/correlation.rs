//! The two ways of correlating a frame with itself.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::math;

/// Lags whose correlations are normalised together.
const GROUP: usize = 16;

/// Autocorrelation by FFT, divided by that of the window.
pub(super) struct Autocorrelator {
    window: Vec<f64>,
    /// One over the normalised autocorrelation of the window, from lag 1 on.
    window_share: Vec<f64>,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    real: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch_forward: Vec<Complex<f64>>,
    scratch_inverse: Vec<Complex<f64>>,
}

impl Autocorrelator {
    /// For frames of `points` samples and lags up to `reach`.
    pub(super) fn new(points: usize, reach: usize, gauss: bool) -> Option<Self> {
        let size = transform_size(points + reach + 1);
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(size);
        let inverse = planner.plan_fft_inverse(size);
        let window: Vec<f64> = (1..=points)
            .map(|i| {
                if gauss { gaussian(i, points) } else { 0.5 - 0.5 * (2.0 * PI * i as f64 / (points + 1) as f64).cos() }
            })
            .collect();
        let mut this = Self {
            window_share: Vec::new(),
            real: forward.make_input_vec(),
            spectrum: forward.make_output_vec(),
            scratch_forward: forward.make_scratch_vec(),
            scratch_inverse: inverse.make_scratch_vec(),
            forward,
            inverse,
            window: Vec::new(),
        };
        this.raw(&window);
        let energy = this.real.first().copied()?;
        this.window_share = this.real.iter().skip(1).take(reach).map(|a| energy / a).collect();
        this.window = window;
        Some(this)
    }

    /// The window, as long as a frame.
    pub(super) fn window(&self) -> &[f64] {
        &self.window
    }

    /// Leaves the unnormalised autocorrelation of `frame` in `real`.
    fn raw(&mut self, frame: &[f64]) {
        let length = frame.len().min(self.real.len());
        let (used, unused) = self.real.split_at_mut(length);
        for (to, from) in used.iter_mut().zip(frame) {
            *to = *from;
        }
        unused.fill(0.0);
        // The buffers come from the plans, so a length error cannot happen; if it did, the frame
        // would read as silent.
        let done =
            self.forward.process_with_scratch(&mut self.real, &mut self.spectrum, &mut self.scratch_forward).is_ok();
        for bin in &mut self.spectrum {
            *bin = Complex::new(bin.norm_sqr(), 0.0);
        }
        let done = done
            && self.inverse.process_with_scratch(&mut self.spectrum, &mut self.real, &mut self.scratch_inverse).is_ok();
        if !done {
            self.real.fill(0.0);
        }
    }

    /// Writes the normalised correlation at lags 1, 2, ... to `out`.
    pub(super) fn correlate(&mut self, frame: &[f64], out: &mut [f64]) {
        self.raw(frame);
        let energy = self.real.first().copied().unwrap_or(0.0);
        if energy <= 0.0 {
            out.fill(0.0);
            return;
        }
        let share = 1.0 / energy;
        let lags = self.real.iter().skip(1).zip(&self.window_share);
        for (to, (value, window)) in out.iter_mut().zip(lags) {
            *to = value * share * window;
        }
    }
}

/// The smallest fast transform length that holds `needed` values. The correlation does not depend
/// on it, because everything beyond the values is zero.
fn transform_size(needed: usize) -> usize {
    let power = needed.next_power_of_two();
    [power / 2 + power / 8, power / 2 + power / 4, power]
        .into_iter()
        .find(|&size| size >= needed && size.is_multiple_of(2))
        .unwrap_or(power)
}

/// Gaussian window cut where it has fallen to `exp(-12)` and shifted to end at 0.
fn gaussian(i: usize, points: usize) -> f64 {
    let edge = (-12.0_f64).exp();
    let span = (points + 1) as f64;
    let offset = i as f64 - 0.5 * span;
    ((-48.0 * offset * offset / (span * span)).exp() - edge) / (1.0 - edge)
}

/// Correlation of the first `window` samples of `x` with the stretch `k` later, for k = 1, 2, ...
#[inline(always)]
pub(super) fn cross_correlate(x: &[f64], window: usize, out: &mut [f64]) {
    let lags = x.len().saturating_sub(window).min(out.len());
    let (out, beyond) = out.split_at_mut(lags);
    beyond.fill(0.0);
    let Some(base) = x.get(..window) else {
        out.fill(0.0);
        return;
    };
    math::sliding_products(base, x.get(1..).unwrap_or_default(), out);
    let energy = math::dot(base, base);
    let mut shifted = energy;
    let mut pairs = x.iter().zip(x.iter().skip(window));
    // The running energy is a chain of additions; the divisions are done several at a time.
    for products in out.chunks_mut(GROUP) {
        let mut scales = [0.0; GROUP];
        for (scale, (leaving, entering)) in scales.iter_mut().zip(pairs.by_ref().take(products.len())) {
            shifted += entering * entering - leaving * leaving;
            *scale = energy * shifted;
        }
        for (product, scale) in products.iter_mut().zip(&scales) {
            // Digital silence has no correlation, not an infinite one.
            *product = if *scale > 0.0 { *product / scale.sqrt() } else { 0.0 };
        }
    }
}

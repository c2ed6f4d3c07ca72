//! Linear prediction of one windowed frame by Burg's method.
//!
//! The lattice of Burg (1975): at every order the reflection coefficient is chosen that makes the
//! sum of forward and backward prediction errors smallest, which always gives a stable filter.

use std::f64::consts::PI;

use crate::resampling::Resampled;

/// Frequency in Hz above which pre-emphasis raises the spectrum by 6 dB per octave.
const EMPHASIS_HZ: f64 = 50.0;

/// Partial sums of a sum of products; fixes the order of addition on every processor.
const LANES: usize = 16;

/// The resampled samples with their high frequencies raised, so that the formants stand out from
/// the fall of the voice source.
pub(super) fn emphasised(sound: &Resampled) -> Vec<f64> {
    let factor = (-2.0 * PI * EMPHASIS_HZ * sound.dx()).exp();
    let mut before = 0.0;
    sound
        .samples()
        .iter()
        .map(|&sample| {
            let out = sample - factor * before;
            before = sample;
            out
        })
        .collect()
}

/// Gaussian window of `length_s` seconds.
pub(super) fn window(length_s: f64, dx: f64) -> Vec<f64> {
    let count = (length_s / dx).floor() as usize;
    let middle = 0.5 * (count as f64 + 1.0);
    let width = (count as f64 + 1.0) * (count as f64 + 1.0);
    let edge = (-12.0_f64).exp();
    (1..=count)
        .map(|k| {
            let distance = k as f64 - middle;
            ((-48.0 * distance * distance / width).exp() - edge) / (1.0 - edge)
        })
        .collect()
}

/// The recursion with its buffers, made once per sound.
pub(super) struct Burg<'a, const ORDER: usize> {
    window: &'a [f64],
    /// Forward prediction error; sample `n` at place `n`.
    forward: Vec<f64>,
    /// Backward prediction error; at order `i` sample `n` at place `n - i`, so that the two errors
    /// an order combines are updated where they are.
    backward: Vec<f64>,
}

impl<'a, const ORDER: usize> Burg<'a, ORDER> {
    pub(super) fn new(window: &'a [f64]) -> Self {
        Self { window, forward: vec![0.0; window.len()], backward: vec![0.0; window.len()] }
    }

    /// Coefficients that predict a sample from the [`ORDER`] before it, nearest first, for the
    /// frame around the samples `left` and `left + 1` (counted from 1). `None` in digital silence.
    #[inline(always)]
    pub(super) fn predict(&mut self, samples: &[f64], left: i64) -> Option<[f64; ORDER]> {
        let half = (self.window.len() / 2) as i64;
        let from = usize::try_from((left + 1 - half).max(1) - 1).unwrap_or(0);
        let to = usize::try_from(left + half).unwrap_or(0).min(samples.len());
        let frame = samples.get(from..to)?;
        let count = frame.len().min(self.window.len());
        if count <= ORDER {
            return None;
        }
        let (forward, backward) = (self.forward.get_mut(..count)?, self.backward.get_mut(..count)?);
        let mut peak = 0.0_f64;
        for (((out, copy), sample), weight) in forward.iter_mut().zip(backward.iter_mut()).zip(frame).zip(self.window) {
            peak = peak.max(sample.abs());
            *out = sample * weight;
            *copy = *out;
        }
        if peak == 0.0 {
            return None;
        }
        let mut predictor = [0.0; ORDER];
        for order in 1..=ORDER {
            let (Some(forward), Some(backward)) = (forward.get_mut(order..), backward.get_mut(..count - order)) else {
                break;
            };
            let (product, energy) = sums(forward, backward);
            // Nothing is left to predict.
            if energy.is_nan() || energy <= 0.0 {
                break;
            }
            let reflection = 2.0 * product / energy;
            let previous = predictor;
            for (k, coefficient) in predictor.iter_mut().enumerate().take(order) {
                *coefficient = if k + 1 == order {
                    reflection
                } else {
                    *coefficient - reflection * previous.get(order - 2 - k).copied().unwrap_or(0.0)
                };
            }
            if order < ORDER {
                update(forward, backward, reflection);
            }
        }
        Some(predictor)
    }
}

/// Sums of the products and of the squares of both errors.
#[inline(always)]
fn sums(forward: &[f64], backward: &[f64]) -> (f64, f64) {
    let (mut products, mut energies) = ([0.0; LANES], [0.0; LANES]);
    let (forward, forward_rest) = forward.as_chunks::<LANES>();
    let (backward, backward_rest) = backward.as_chunks::<LANES>();
    for (f, b) in forward.iter().zip(backward) {
        for lane in 0..LANES {
            products[lane] += f[lane] * b[lane];
            energies[lane] += f[lane] * f[lane] + b[lane] * b[lane];
        }
    }
    for (lane, (f, b)) in forward_rest.iter().zip(backward_rest).enumerate().take(LANES) {
        products[lane] += f * b;
        energies[lane] += f * f + b * b;
    }
    (products.iter().sum(), energies.iter().sum())
}

/// Takes out of either error what the other predicts of it.
#[inline(always)]
fn update(forward: &mut [f64], backward: &mut [f64], reflection: f64) {
    for (f, b) in forward.iter_mut().zip(backward.iter_mut()) {
        let (before, after) = (*f, *b);
        *f = before - reflection * after;
        *b = after - reflection * before;
    }
}

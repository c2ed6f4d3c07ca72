//! Several frames side by side: a [`Lanes`] holds one number of each, in one vector register.
//!
//! Every operation is the plain IEEE one per lane, in an order that does not depend on how many
//! lanes a processor has, so the results are the same bits everywhere.

use std::ops::{Add, Div, Mul, Sub};

use pulp::{Simd, bytemuck};

/// One number per lane.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S: Simd> {
    simd: S,
    raw: S::f64s,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, raw: S::f64s) -> Self {
        Self { simd, raw }
    }

    #[inline(always)]
    pub(super) fn splat(simd: S, value: f64) -> Self {
        Self { simd, raw: simd.splat_f64s(value) }
    }

    #[inline(always)]
    pub(super) fn simd(self) -> S {
        self.simd
    }

    #[inline(always)]
    pub(super) fn raw(self) -> S::f64s {
        self.raw
    }

    #[inline(always)]
    pub(super) fn min(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.min_f64s(self.raw, other.raw))
    }

    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.max_f64s(self.raw, other.raw))
    }

    #[inline(always)]
    pub(super) fn less(self, other: Self) -> S::m64s {
        self.simd.less_than_f64s(self.raw, other.raw)
    }

    #[inline(always)]
    pub(super) fn less_or_equal(self, other: Self) -> S::m64s {
        self.simd.less_than_or_equal_f64s(self.raw, other.raw)
    }

    /// Lanes of `self` where the mask is set, else of `other`.
    #[inline(always)]
    pub(super) fn or_else(self, mask: S::m64s, other: Self) -> Self {
        Self::new(self.simd, self.simd.select_f64s(mask, self.raw, other.raw))
    }
}

macro_rules! operator {
    ($name:ident, $method:ident, $function:ident) => {
        impl<S: Simd> $name for Lanes<S> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self::new(self.simd, self.simd.$function(self.raw, other.raw))
            }
        }
    };
}
operator!(Add, add, add_f64s);
operator!(Sub, sub, sub_f64s);
operator!(Mul, mul, mul_f64s);
operator!(Div, div, div_f64s);

/// Whether the mask is set in any lane.
#[inline(always)]
pub(super) fn any<S: Simd>(simd: S, mask: S::m64s) -> bool {
    simd.first_true_m64s(mask) < S::F64_LANES
}

/// The numbers of registers one after the other: lane 0 of the first, lane 1 of the first, ...
#[inline(always)]
pub(super) fn flat<S: Simd>(registers: &[S::f64s]) -> &[f64] {
    bytemuck::cast_slice(registers)
}

/// As [`flat`], for writing.
#[inline(always)]
pub(super) fn flat_mut<S: Simd>(registers: &mut [S::f64s]) -> &mut [f64] {
    bytemuck::cast_slice_mut(registers)
}

/// Natural logarithm of a positive number, within 3e-14 of the true value; without
/// branches, so that a loop over it becomes vector code (not meant for infinities and NaN).
///
/// The number is split into a power of two and a mantissa between the square roots of 1/2 and 2,
/// and ln((1 + s)/(1 - s)) = 2 (s + s^3/3 + s^5/5 + ...) is summed as far as matters.
#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    /// Bits of the square root of 1/2.
    const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    /// 2^52: a number with this exponent shows an integer in its low bits.
    const SHIFTER: f64 = 4_503_599_627_370_496.0;
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// Makes the shifted exponent positive.
    const BIAS: u64 = 1024;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(ROOT_HALF).wrapping_add(BIAS << 52);
    let exponent = f64::from_bits((shifted >> 52) | SHIFTER.to_bits()) - (SHIFTER + BIAS as f64);
    let mantissa = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(ROOT_HALF));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let t = s * s;
    let t2 = t * t;
    // The odd reciprocals, summed in pairs so that the additions need not wait for each other.
    let low = (1.0 / 3.0 + t * (1.0 / 5.0)) + t2 * (1.0 / 7.0 + t * (1.0 / 9.0));
    let high = (1.0 / 11.0 + t * (1.0 / 13.0)) + t2 * (1.0 / 15.0);
    let tail = t * (low + t2 * t2 * high);
    let double = s + s;
    exponent * LN_2_HIGH + (double + (double * tail + exponent * LN_2_LOW))
}

/// Exponential of a number between about -700 and 700, within 4e-15 relative per unit of it.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    // exp(x) = exp(x / 65536)^65536; the Taylor series of the small argument is short. Of a negative
    // number the reciprocal is taken: squaring would cancel.
    const HALVINGS: i32 = 16;
    let small = x.abs() / f64::from(1 << HALVINGS);
    // exp(small) - 1, kept apart from the 1 while it is squared: (1 + e)^2 - 1 = 2e + e^2.
    let mut e = small
        * (1.0 + small * (0.5 + small * (1.0 / 6.0 + small * (1.0 / 24.0 + small * (1.0 / 120.0 + small / 720.0)))));
    for _ in 0..HALVINGS {
        e = e + e + e * e;
    }
    let power = 1.0 + e;
    if x < 0.0 { 1.0 / power } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_agree_with_the_library() {
        for k in -9000_i32..9000 {
            let x = 1.000_37 * f64::from(k) * 0.07;
            let (ours, library) = (exp(x), x.exp());
            assert!((ours / library - 1.0).abs() < 4e-15 * (1.0 + x.abs()), "exp {x}: {ours} {library}");
            let (ours, library) = (ln(library), library.ln());
            assert!((ours - library).abs() < 3e-14 + 3e-16 * library.abs(), "ln {x}: {ours} {library}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!((ln(1e-300) + 300.0 * std::f64::consts::LN_10).abs() < 1e-12);
    }
}

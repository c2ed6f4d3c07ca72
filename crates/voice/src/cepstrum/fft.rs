//! Complex Fourier transforms of several frames at once, one per lane.
//!
//! Decimation in frequency with radix 8 (Gentleman and Sande 1966), in place. The result comes in
//! digit-reversed order; who reads it looks the place up in [`LaneFft::place`], which is cheaper
//! than sorting, because every complex number fills whole registers anyway. After the first pass
//! the eight parts are finished one after the other, so they stay in the nearest cache.

use pulp::Simd;

use super::lanes::Lanes;

/// Real and imaginary part, one register each.
pub(super) type Complex<S> = [<S as Simd>::f64s; 2];

/// A plan for one length.
#[derive(Debug)]
pub(super) struct LaneFft {
    passes: Vec<Pass>,
    places: Vec<usize>,
}

#[derive(Debug)]
struct Pass {
    /// Length of the blocks this pass splits.
    length: usize,
    radix: usize,
    /// For each position in a part: the twiddle factors of the parts after the first.
    twiddles: Vec<[f64; 14]>,
}

impl LaneFft {
    /// A plan for `length` complex numbers, a power of two.
    pub(super) fn new(length: usize) -> Self {
        let mut passes = Vec::new();
        let mut rest = length;
        while rest > 1 {
            let radix = rest.min(8);
            let part = rest / radix;
            let twiddles = (0..part)
                .map(|j| {
                    let mut row = [0.0; 14];
                    for (s, pair) in row.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        let angle = -2.0 * std::f64::consts::PI * (j * (s + 1)) as f64 / rest as f64;
                        *pair = [angle.cos(), angle.sin()];
                    }
                    row
                })
                .collect();
            passes.push(Pass { length: rest, radix, twiddles });
            rest = part;
        }
        let places = (0..length)
            .map(|k| {
                let (mut place, mut index) = (0, k);
                for pass in &passes {
                    place += (index % pass.radix) * (pass.length / pass.radix);
                    index /= pass.radix;
                }
                place
            })
            .collect();
        Self { passes, places }
    }

    /// Where the bins lie after the transform.
    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Transforms every lane of `data` (forward, unscaled).
    #[inline(always)]
    pub(super) fn process<S: Simd>(&self, simd: S, data: &mut [Complex<S>]) {
        let Some((first, rest)) = self.passes.split_first() else {
            return;
        };
        first.process(simd, data);
        let part = (first.length / first.radix).max(1);
        for chunk in data.chunks_exact_mut(part) {
            for pass in rest {
                for block in chunk.chunks_exact_mut(pass.length) {
                    pass.process(simd, block);
                }
            }
        }
    }
}

impl Pass {
    #[inline(always)]
    fn process<S: Simd>(&self, simd: S, block: &mut [Complex<S>]) {
        let part = self.twiddles.len();
        match self.radix {
            8 => {
                let (a, b) = block.split_at_mut(4 * part);
                let (a0, a2) = a.split_at_mut(2 * part);
                let (b0, b2) = b.split_at_mut(2 * part);
                let (x0, x1) = a0.split_at_mut(part);
                let (x2, x3) = a2.split_at_mut(part);
                let (x4, x5) = b0.split_at_mut(part);
                let (x6, x7) = b2.split_at_mut(part);
                let parts = x0.iter_mut().zip(x1).zip(x2).zip(x3).zip(x4).zip(x5).zip(x6).zip(x7);
                for ((((((((x0, x1), x2), x3), x4), x5), x6), x7), w) in parts.zip(&self.twiddles) {
                    let column = [*x0, *x1, *x2, *x3, *x4, *x5, *x6, *x7];
                    let y = radix8(column.map(|x| Z::load(simd, x)));
                    *x0 = y[0].store();
                    *x1 = y[1].times(simd, w[0], w[1]).store();
                    *x2 = y[2].times(simd, w[2], w[3]).store();
                    *x3 = y[3].times(simd, w[4], w[5]).store();
                    *x4 = y[4].times(simd, w[6], w[7]).store();
                    *x5 = y[5].times(simd, w[8], w[9]).store();
                    *x6 = y[6].times(simd, w[10], w[11]).store();
                    *x7 = y[7].times(simd, w[12], w[13]).store();
                }
            }
            // Shorter radices occur only in the last pass, where all factors are 1.
            4 => {
                if let [x0, x1, x2, x3] = block {
                    let y = radix4([*x0, *x1, *x2, *x3].map(|x| Z::load(simd, x)));
                    [*x0, *x1, *x2, *x3] = y.map(Z::store);
                }
            }
            _ => {
                if let [x0, x1] = block {
                    let (a, b) = (Z::load(simd, *x0), Z::load(simd, *x1));
                    [*x0, *x1] = [a.plus(b).store(), a.minus(b).store()];
                }
            }
        }
    }
}

/// A complex number per lane.
#[derive(Clone, Copy)]
pub(super) struct Z<S: Simd> {
    pub(super) re: Lanes<S>,
    pub(super) im: Lanes<S>,
}

impl<S: Simd> Z<S> {
    #[inline(always)]
    pub(super) fn load(simd: S, raw: Complex<S>) -> Self {
        Self { re: Lanes::new(simd, raw[0]), im: Lanes::new(simd, raw[1]) }
    }

    #[inline(always)]
    fn store(self) -> Complex<S> {
        [self.re.raw(), self.im.raw()]
    }

    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }

    #[inline(always)]
    pub(super) fn minus(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }

    /// `self - i other`.
    #[inline(always)]
    fn minus_i(self, other: Self) -> Self {
        Self { re: self.re + other.im, im: self.im - other.re }
    }

    /// `self + i other`.
    #[inline(always)]
    fn plus_i(self, other: Self) -> Self {
        Self { re: self.re - other.im, im: self.im + other.re }
    }

    #[inline(always)]
    pub(super) fn times(self, simd: S, re: f64, im: f64) -> Self {
        let (re, im) = (Lanes::splat(simd, re), Lanes::splat(simd, im));
        Self { re: self.re * re - self.im * im, im: self.re * im + self.im * re }
    }
}

#[inline(always)]
fn radix4<S: Simd>([a, b, c, d]: [Z<S>; 4]) -> [Z<S>; 4] {
    let (even, odd) = (a.plus(c), a.minus(c));
    let (sum, difference) = (b.plus(d), b.minus(d));
    [even.plus(sum), odd.minus_i(difference), even.minus(sum), odd.plus_i(difference)]
}

#[inline(always)]
fn radix8<S: Simd>([x0, x1, x2, x3, x4, x5, x6, x7]: [Z<S>; 8]) -> [Z<S>; 8] {
    let simd = x0.re.simd();
    let even = radix4([x0.plus(x4), x1.plus(x5), x2.plus(x6), x3.plus(x7)]);
    // Odd bins: the differences times the powers of exp(-i pi/4).
    let (d1, d3) = (x1.minus(x5), x3.minus(x7));
    let half = Lanes::splat(simd, std::f64::consts::FRAC_1_SQRT_2);
    let e1 = Z { re: (d1.re + d1.im) * half, im: (d1.im - d1.re) * half };
    let e3 = Z { re: (d3.im - d3.re) * half, im: Lanes::splat(simd, 0.0) - (d3.re + d3.im) * half };
    let d2 = x2.minus(x6);
    let e2 = Z { re: d2.im, im: Lanes::splat(simd, 0.0) - d2.re };
    let odd = radix4([x0.minus(x4), e1, e2, e3]);
    [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::cepstrum::lanes::{flat, flat_mut};

    struct Check(usize);

    impl WithSimd for Check {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let length = self.0;
            let fft = LaneFft::new(length);
            let value = |i: usize| (i as f64 * 0.7 + (i * i) as f64 * 0.013).sin();
            let mut data = vec![[simd.splat_f64s(0.0); 2]; length];
            for (i, number) in data.iter_mut().enumerate() {
                for (l, x) in flat_mut::<S>(number).iter_mut().enumerate() {
                    *x = value(i + 1000 * l);
                }
            }
            let input: Vec<Vec<f64>> = data.iter().map(|number| flat::<S>(number).to_vec()).collect();
            fft.process(simd, &mut data);
            for lane in 0..S::F64_LANES {
                for k in (0..length).step_by(1 + length / 16) {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (i, number) in input.iter().enumerate() {
                        let (sin, cos) =
                            (-2.0 * std::f64::consts::PI * (k * i % length) as f64 / length as f64).sin_cos();
                        let (x, y) = (number[lane], number[S::F64_LANES + lane]);
                        re += x * cos - y * sin;
                        im += x * sin + y * cos;
                    }
                    let ours = flat::<S>(&data[fft.places()[k]]);
                    assert!((ours[lane] - re).abs() < 1e-10 && (ours[S::F64_LANES + lane] - im).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn transforms_of_all_lengths_agree_with_the_definition() {
        for length in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
            pulp::Arch::new().dispatch(Check(length));
        }
        pulp::Arch::Scalar.dispatch(Check(256));
    }
}

//! From a windowed frame to its power cepstrum, several frames side by side.
//!
//! The logarithm of the power spectrum is real and even, so its inverse transform is a cosine
//! transform of half the length; that in turn is a real Fourier transform of the folded sequence
//! (Cooley, Lewis and Welch 1970) and a running sum for the odd points.

use pulp::{Simd, bytemuck};

use super::fft::{Complex, LaneFft, Z};
use super::lanes::{Lanes, flat_mut, ln};

/// Keeps the logarithm of an empty bin finite.
const POWER_FLOOR: f64 = 1e-300;

/// Tables for one length of frame.
#[derive(Debug)]
pub(super) struct Transform {
    forward: LaneFft,
    backward: LaneFft,
    /// cos and sin of -2 pi k / points, to take a real transform out of a complex one.
    forward_turns: Vec<[f64; 2]>,
    /// The same for the folded sequence of half the length.
    backward_turns: Vec<[f64; 2]>,
    /// cos and sin of pi j / (points / 2).
    fold: Vec<[f64; 2]>,
    /// Distance of spectral bins in Hz: the scale of the inverse transform.
    bin_hz: f64,
}

/// Working storage of [`Transform::process`].
#[derive(Debug)]
pub(super) struct Buffers<S: Simd> {
    /// The windowed frames; sample `i` of lane `l` is number `i * lanes + l`.
    pub(super) frame: Vec<S::f64s>,
    log: Vec<S::f64s>,
    folded: Vec<S::f64s>,
}

impl<S: Simd> Buffers<S> {
    pub(super) fn new(simd: S, fft_points: usize) -> Self {
        let zeros = |count| vec![simd.splat_f64s(0.0); count];
        Self { frame: zeros(fft_points), log: zeros(fft_points / 2 + 1), folded: zeros(fft_points / 2) }
    }
}

fn turns(count: usize, length: usize) -> Vec<[f64; 2]> {
    let angle = |k: usize| 2.0 * std::f64::consts::PI * k as f64 / length as f64;
    (0..count).map(|k| [angle(k).cos(), angle(k).sin()]).collect()
}

impl Transform {
    /// What the samples must be multiplied by besides the window.
    pub(super) fn sample_scale(rate: f64) -> f64 {
        // The half belongs to the separation of the real transform.
        0.5 / rate
    }

    /// For frames of `fft_points` samples, a power of two of at least 8.
    pub(super) fn new(fft_points: usize, rate: f64) -> Self {
        let half = fft_points / 2;
        Self {
            forward: LaneFft::new(half),
            backward: LaneFft::new(half / 2),
            forward_turns: turns(half / 2 + 1, fft_points),
            backward_turns: turns(half / 4 + 1, half),
            fold: turns(half / 2, fft_points),
            bin_hz: rate / fft_points as f64,
        }
    }

    /// Turns the frames into power cepstra of `fft_points / 2 + 1` points.
    #[inline(always)]
    pub(super) fn process<S: Simd>(&self, simd: S, buffers: &mut Buffers<S>, power: &mut [S::f64s]) {
        let Buffers { frame, log, folded } = buffers;
        let frame: &mut [Complex<S>] = bytemuck::cast_slice_mut(frame);
        self.forward.process(simd, frame);
        self.log_power(simd, frame, log);
        let odd = self.fold(simd, log, folded);
        let folded: &mut [Complex<S>] = bytemuck::cast_slice_mut(folded);
        self.backward.process(simd, folded);
        self.unfold(simd, folded, odd, power);
    }

    #[inline(always)]
    fn log_power<S: Simd>(&self, simd: S, bins: &[Complex<S>], log: &mut [S::f64s]) {
        let places = self.forward.places();
        let count = bins.len();
        for (k, turn) in self.forward_turns.iter().enumerate() {
            let (even, odd) = separate(simd, bins[places[k]], bins[places[(count - k) % count]], *turn);
            let (above, below) = (even.plus(odd), even.minus(odd));
            log[k] = (above.re * above.re + above.im * above.im).raw();
            log[count - k] = (below.re * below.re + below.im * below.im).raw();
        }
        for value in flat_mut::<S>(log) {
            *value = ln(*value + POWER_FLOOR);
        }
    }

    /// Prepares the cosine transform; returns its point 1, from which the odd points are summed.
    #[inline(always)]
    fn fold<S: Simd>(&self, simd: S, log: &[S::f64s], folded: &mut [S::f64s]) -> Lanes<S> {
        let count = folded.len();
        let at = |j: usize| Lanes::new(simd, log[j]);
        let half = Lanes::splat(simd, 0.5);
        folded[0] = ((at(0) + at(count)) * half).raw();
        folded[count / 2] = at(count / 2).raw();
        let mut sums = [Lanes::splat(simd, 0.0); 2];
        for (j, [cos, sin]) in self.fold.iter().enumerate().skip(1) {
            let (low, high) = (at(j), at(count - j));
            let (mean, difference) = ((low + high) * half, low - high);
            let turned = difference * Lanes::splat(simd, *sin);
            folded[j] = (mean - turned).raw();
            folded[count - j] = (mean + turned).raw();
            sums[j % 2] = sums[j % 2] + difference * Lanes::splat(simd, *cos);
        }
        at(0) - at(count) + (sums[0] + sums[1]) * Lanes::splat(simd, 2.0)
    }

    #[inline(always)]
    fn unfold<S: Simd>(&self, simd: S, bins: &[Complex<S>], first_odd: Lanes<S>, power: &mut [S::f64s]) {
        let places = self.backward.places();
        let count = bins.len();
        let scale = Lanes::splat(simd, self.bin_hz * self.bin_hz);
        for (k, turn) in self.backward_turns.iter().enumerate() {
            let mirror = count - k;
            let (even, odd) = separate(simd, bins[places[k]], bins[places[mirror % count]], *turn);
            let (above, below) = (even.plus(odd), even.minus(odd));
            power[2 * k] = (above.re * above.re * scale).raw();
            power[2 * mirror] = (below.re * below.re * scale).raw();
            if k > 0 {
                power[2 * k + 1] = above.im.raw();
                power[2 * mirror + 1] = (Lanes::splat(simd, 0.0) - below.im).raw();
            }
        }
        let mut odd = first_odd;
        power[1] = (odd * odd * scale).raw();
        for point in power.iter_mut().skip(3).step_by(2) {
            odd = odd - Lanes::new(simd, *point);
            *point = (odd * odd * scale).raw();
        }
    }
}

/// Splits a bin and its mirror into the transforms of the even and of the (turned) odd samples of
/// the real sequence, both twice as large as they should be.
#[inline(always)]
fn separate<S: Simd>(simd: S, bin: Complex<S>, mirror: Complex<S>, [cos, sin]: [f64; 2]) -> (Z<S>, Z<S>) {
    let (a, b) = (Z::load(simd, bin), Z::load(simd, mirror));
    let even = Z { re: a.re + b.re, im: a.im - b.im };
    // -i (a - conj b)
    let odd = Z { re: a.im + b.im, im: b.re - a.re };
    (even, odd.times(simd, cos, -sin))
}

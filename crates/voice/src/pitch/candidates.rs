//! Pitch candidates of one frame: peaks of a normalised correlation, placed between samples.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::{PitchMethod, PitchSettings};
use crate::interpolate::{SINC_70, SINC_700, improve_maximum, parabola, sinc};
use crate::sound::{Frames, Sound};

/// Depth of the first, coarse reading of a peak's height.
const COARSE_DEPTH: usize = 30;

/// Rounding noise of the correlation. Inside digital silence it is flat to the last bits, and
/// without this allowance those bits would make peaks.
const PLATEAU: f64 = 1e-12;

/// When only the winner matters: peaks within this of the best coarse height can still win.
const WINNING_MARGIN: f64 = 0.1;

/// When only the winner matters: the coarse height of peaks at shorter lags is not to be trusted.
const SHORT_LAG: usize = 12;

/// One possible frequency of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// In Hz; 0 for the unvoiced candidate.
    pub(crate) frequency: f64,
    /// Normalised correlation, 0..1.
    pub(crate) strength: f64,
    lag: usize,
}

impl Candidate {
    pub(crate) const UNVOICED: Self = Self { frequency: 0.0, strength: 0.0, lag: 0 };
}

/// Which candidates get the expensive refinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refinement {
    /// Every one: a path finder will weigh them.
    All,
    /// Those that could be the strongest.
    Winners,
}

enum Engine {
    Auto(Box<Autocorrelator>),
    /// Holds the length in seconds from the start of the first stretch to the end of the last.
    Cross {
        span_s: f64,
        stretch: Vec<f64>,
    },
}

/// Correlates frames and finds their peaks; all buffers are made once.
pub(crate) struct CandidateFinder<'a> {
    sound: Sound<'a>,
    settings: PitchSettings,
    refinement: Refinement,
    frames: Frames,
    ceiling: f64,
    max_candidates: usize,
    /// Samples in the longest period.
    period: i64,
    half_period: usize,
    window: usize,
    max_lag: usize,
    /// Longest lag for which the correlation is known.
    reach: usize,
    final_depth: usize,
    global_peak: f64,
    engine: Engine,
    frame: Vec<f64>,
    time: f64,
    local_mean: f64,
    local_peak: f64,
    /// Correlation at lags -reach..=reach, so that peaks near lag 0 are interpolated well.
    correlation: Vec<f64>,
}

impl<'a> CandidateFinder<'a> {
    /// Sizes everything; `None` if the sound is too short or the settings make no sense.
    pub(crate) fn new(sound: &Sound<'a>, settings: &PitchSettings, refinement: Refinement) -> Option<Self> {
        let dx = sound.dx();
        let floor = settings.floor_hz;
        let base = settings.periods_per_window;
        if !(floor > 0.0 && base > 0.0 && settings.ceiling_hz > 0.0) {
            return None;
        }
        let (periods, depth_factor, final_depth) = match settings.method {
            PitchMethod::Autocorrelation => (base, 0.5, SINC_70),
            PitchMethod::AutocorrelationGauss => (2.0 * base, 0.25, SINC_700),
            PitchMethod::CrossCorrelation => (base, 1.0, SINC_70),
            PitchMethod::CrossCorrelationAccurate => (base, 1.0, SINC_700),
        };
        let ceiling = settings.ceiling_hz.min(0.5 / dx);
        let dt = settings.time_step_s.unwrap_or(base / floor / 4.0);
        let max_candidates = settings.max_candidates.max((ceiling / floor).floor() as usize);
        let period = (1.0 / dx / floor).floor() as usize;
        let window_s = periods / floor;
        // Always even: a few samples short of the window asked for.
        let half_window = ((window_s / dx).floor() as usize / 2).checked_sub(1)?;
        let window = 2 * half_window;
        if window < 4 || period < 2 {
            return None;
        }
        let max_lag = ((window as f64 / periods).floor() as usize + 2).min(window);
        let reach = (window as f64 * depth_factor).floor() as usize;
        let cross = matches!(settings.method, PitchMethod::CrossCorrelation | PitchMethod::CrossCorrelationAccurate);
        let span_s = 1.0 / floor + window_s;
        let frames = sound.frames(if cross { span_s } else { window_s }, dt)?;
        let engine = if cross {
            Engine::Cross { span_s, stretch: Vec::with_capacity(2 * window) }
        } else {
            let gauss = settings.method == PitchMethod::AutocorrelationGauss;
            Engine::Auto(Box::new(Autocorrelator::new(window, depth_factor, gauss)?))
        };
        let mut correlation = vec![0.0; 2 * reach + 1];
        *correlation.get_mut(reach)? = 1.0;
        Some(Self {
            sound: *sound,
            settings: *settings,
            refinement,
            frames,
            ceiling,
            max_candidates,
            period: i64::try_from(period).ok()?,
            half_period: period / 2 + 1,
            window,
            max_lag,
            reach,
            final_depth,
            global_peak: peak_around_mean(sound.samples()),
            engine,
            frame: vec![0.0; window],
            time: 0.0,
            local_mean: 0.0,
            local_peak: 0.0,
            correlation,
        })
    }

    pub(crate) fn frames(&self) -> Frames {
        self.frames
    }

    /// The ceiling in Hz, limited to half the sampling rate.
    pub(crate) fn ceiling_hz(&self) -> f64 {
        self.ceiling
    }

    /// Cuts out the frame at `time` and returns its peak relative to the whole sound's, 0..=1.
    pub(crate) fn intensity(&mut self, time: f64) -> f64 {
        self.time = time;
        if self.global_peak <= 0.0 {
            self.local_peak = 0.0;
            return 0.0;
        }
        let left = self.sound.low_index(time);
        let right = left + 1;
        let around = self.sound.between(right - self.period, left + self.period);
        self.local_mean = around.iter().sum::<f64>() / (2 * self.period) as f64;

        let half = (self.window / 2) as i64;
        let samples = self.sound.between(right - half, left + half);
        // At the very ends rounding may ask for a sample that is not there.
        let missing = usize::try_from(half - right + 1).unwrap_or(0).min(self.window);
        self.frame.fill(0.0);
        for (to, from) in self.frame.iter_mut().skip(missing).zip(samples) {
            *to = from - self.local_mean;
        }
        if let Engine::Auto(auto) = &self.engine {
            for (value, weight) in self.frame.iter_mut().zip(&auto.window) {
                *value *= weight;
            }
        }
        let half = self.window / 2;
        let first = half.saturating_sub(self.half_period);
        let last = (half + self.half_period).min(self.window);
        let middle = self.frame.get(first..last).unwrap_or_default();
        self.local_peak = middle.iter().fold(0.0, |peak, v| v.abs().max(peak));
        (self.local_peak / self.global_peak).min(1.0)
    }

    /// Appends the voiced candidates of the frame last given to [`Self::intensity`].
    pub(crate) fn find(&mut self, out: &mut Vec<Candidate>) {
        if self.local_peak <= 0.0 {
            return;
        }
        self.correlate();
        let first = out.len();
        self.coarse_peaks(out, first);
        let threshold = match self.refinement {
            Refinement::All => f64::NEG_INFINITY,
            Refinement::Winners => {
                let best = out.iter().fold(0.0, |b: f64, c| b.max(c.strength));
                best - WINNING_MARGIN
            }
        };
        let dx = self.sound.dx();
        for candidate in out.iter_mut().skip(first) {
            if candidate.strength < threshold && candidate.lag >= SHORT_LAG {
                continue;
            }
            let depth = if candidate.frequency > 0.3 / dx { SINC_700 } else { self.final_depth };
            let centre = self.reach + 1;
            let (position, height) = improve_maximum(&self.correlation, centre + candidate.lag, depth);
            candidate.frequency = 1.0 / dx / (position - centre as f64);
            candidate.strength = reflect(height);
        }
    }

    /// Peaks with parabolic lag and coarse height, at most `max_candidates` with the unvoiced one.
    fn coarse_peaks(&self, out: &mut Vec<Candidate>, first: usize) {
        let dx = self.sound.dx();
        let centre = self.reach + 1;
        let forward = self.correlation.get(self.reach..).unwrap_or_default();
        // Without the octave's share the weakest could be a good low candidate.
        let weakness =
            |c: &Candidate| c.strength - self.settings.octave_cost * (self.settings.floor_hz / c.frequency).log2();
        for (k, around) in forward.windows(3).enumerate().skip(1) {
            let lag = k + 1;
            if lag >= self.max_lag || lag >= self.reach {
                break;
            }
            let &[before, here, after] = around else {
                break;
            };
            if here <= 0.5 * self.settings.voicing_threshold || here <= before + PLATEAU || here < after - PLATEAU {
                continue;
            }
            let position = lag as f64 + parabola(before, here, after).0;
            let height = sinc(&self.correlation, centre as f64 + position, COARSE_DEPTH);
            let candidate = Candidate { frequency: 1.0 / dx / position, strength: reflect(height), lag };
            if out.len() < self.max_candidates {
                out.push(candidate);
                continue;
            }
            let mut weakest: Option<(usize, f64)> = None;
            for (place, stored) in out.iter().enumerate().skip(first) {
                let value = weakness(stored);
                if weakest.is_none_or(|(_, w)| value < w) {
                    weakest = Some((place, value));
                }
            }
            if let Some((place, value)) = weakest
                && weakness(&candidate) > value
                && let Some(slot) = out.get_mut(place)
            {
                *slot = candidate;
            }
        }
    }

    fn correlate(&mut self) {
        let (negative, positive) = self.correlation.split_at_mut(self.reach + 1);
        match &mut self.engine {
            Engine::Auto(auto) => auto.correlate(&self.frame, positive),
            Engine::Cross { span_s, stretch } => {
                let start = self.sound.low_index(self.time - 0.5 * *span_s).max(1);
                let end = start + (self.max_lag + self.window) as i64 - 1;
                stretch.clear();
                let samples = self.sound.between(start, end);
                stretch.extend(samples.iter().map(|s| s - self.local_mean));
                cross_correlate(stretch, self.window, positive);
            }
        }
        for (mirrored, value) in negative.iter_mut().rev().skip(1).zip(positive.iter()) {
            *mirrored = *value;
        }
    }
}

/// Autocorrelation by FFT, divided by that of the window.
struct Autocorrelator {
    window: Vec<f64>,
    /// Normalised autocorrelation of the window from lag 1 on.
    window_correlation: Vec<f64>,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    real: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch_forward: Vec<Complex<f64>>,
    scratch_inverse: Vec<Complex<f64>>,
}

impl Autocorrelator {
    fn new(points: usize, depth_factor: f64, gauss: bool) -> Option<Self> {
        let needed = (points as f64 * (1.0 + depth_factor)).ceil() as usize;
        let size = needed.next_power_of_two();
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(size);
        let inverse = planner.plan_fft_inverse(size);
        let window: Vec<f64> = (1..=points)
            .map(|i| {
                if gauss { gaussian(i, points) } else { 0.5 - 0.5 * (2.0 * PI * i as f64 / (points + 1) as f64).cos() }
            })
            .collect();
        let mut this = Self {
            window_correlation: Vec::new(),
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
        this.window_correlation = this.real.iter().skip(1).map(|a| a / energy).collect();
        this.window = window;
        Some(this)
    }

    /// Leaves the unnormalised autocorrelation of `frame` in `real`.
    fn raw(&mut self, frame: &[f64]) {
        self.real.fill(0.0);
        for (to, from) in self.real.iter_mut().zip(frame) {
            *to = *from;
        }
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
    fn correlate(&mut self, frame: &[f64], out: &mut [f64]) {
        self.raw(frame);
        let energy = self.real.first().copied().unwrap_or(0.0);
        let lags = self.real.iter().skip(1).zip(&self.window_correlation);
        for (to, (value, window)) in out.iter_mut().zip(lags) {
            *to = if energy > 0.0 { value / (energy * window) } else { 0.0 };
        }
    }
}

/// Gaussian window cut where it has fallen to `exp(-12)` and shifted to end at 0.
fn gaussian(i: usize, points: usize) -> f64 {
    let edge = (-12.0_f64).exp();
    let span = (points + 1) as f64;
    let offset = i as f64 - 0.5 * span;
    ((-48.0 * offset * offset / (span * span)).exp() - edge) / (1.0 - edge)
}

/// Correlation of the first `window` samples of `x` with the stretch `k` later, for k = 1, 2, ...
fn cross_correlate(x: &[f64], window: usize, out: &mut [f64]) {
    out.fill(0.0);
    let Some(base) = x.get(..window) else {
        return;
    };
    let energy: f64 = base.iter().map(|v| v * v).sum();
    let mut shifted = energy;
    let pairs = x.iter().zip(x.iter().skip(window));
    for (k, (to, (leaving, entering))) in out.iter_mut().zip(pairs).enumerate() {
        shifted += entering * entering - leaving * leaving;
        let later = x.get(k + 1..k + 1 + window).unwrap_or_default();
        let product = crate::math::dot(base, later);
        let scale = energy * shifted;
        // Digital silence has no correlation, not an infinite one.
        *to = if scale > 0.0 { product / scale.sqrt() } else { 0.0 };
    }
}

/// Interpolation may overshoot 1 slightly; the excess is mirrored.
fn reflect(strength: f64) -> f64 {
    if strength > 1.0 { 1.0 / strength } else { strength }
}

fn peak_around_mean(samples: &[f64]) -> f64 {
    let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    samples.iter().fold(0.0, |peak, s| (s - mean).abs().max(peak))
}

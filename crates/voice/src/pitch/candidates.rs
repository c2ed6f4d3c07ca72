//! Pitch candidates of one frame: peaks of a normalised correlation, placed between samples.
//!
//! Finding the peaks is cheap; placing one exactly is not. So [`CandidateFinder::find`] only lists
//! them, and whoever weighs them asks [`CandidateFinder::refine`] for those that matter.

use super::correlation::{Autocorrelator, cross_correlate};
use super::summit::{curve, summit};
use super::{PitchMethod, PitchSettings};
use crate::interpolate::{SINC_70, SINC_700, parabola, sinc};
use crate::math;
use crate::sound::{Fit, Frames, Sound};

/// Depth of the coarse reading of a peak's height.
const COARSE_DEPTH: usize = 30;

/// Rounding noise of the correlation. Inside digital silence it is flat to the last bits, and
/// without this allowance those bits would make peaks.
const PLATEAU: f64 = 1e-12;

/// How much higher than its parabola a peak can turn out to be, as a share of the largest third
/// difference of the correlation around it.
///
/// A third difference is what a parabola cannot follow. Over 99,488 peaks of speech, synthetic
/// voices, music and noise (of bands up to the Nyquist frequency too) the largest share was 0.14;
/// a pure tone just below the Nyquist frequency can need 0.3.
const ROUGHNESS_SHARE: f64 = 0.4;

/// Added to that for curves so smooth that rounding and the sinc's own ripple matter.
const HEIGHT_ALLOWANCE: f64 = 2e-3;

/// Third differences are summed up in groups of so many lags, and looked at so far around a peak,
/// because high-frequency ripple comes and goes in beats.
const ROUGHNESS_GROUP: usize = 8;
const ROUGHNESS_SPAN: usize = 18;

/// One possible frequency of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// In Hz.
    pub(crate) frequency: f64,
    /// Normalised correlation, 0..1.
    pub(crate) strength: f64,
}

/// A maximum among the samples of the correlation. The true one is within a sample of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Peak {
    /// In samples.
    pub(crate) lag: usize,
    /// Vertex of the parabola through the three highest samples, in samples.
    pub(crate) position: f64,
    /// The refined strength is never more than this; see [`ROUGHNESS_SHARE`].
    pub(crate) most: f64,
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
    arch: pulp::Arch,
    frames: Frames,
    ceiling: f64,
    /// Without the unvoiced one.
    max_peaks: usize,
    floor: f64,
    octave_cost: f64,
    /// Correlation a peak has to exceed.
    least_correlation: f64,
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
    /// Largest third difference in every group of lags, from lag -2 on.
    roughness: Vec<f64>,
    peaks: Vec<Peak>,
    /// Weakness of every peak, where they are too many.
    weakness: Vec<f64>,
}

impl<'a> CandidateFinder<'a> {
    /// Sizes everything; `None` if the sound is too short or the settings make no sense.
    pub(crate) fn new(sound: &Sound<'a>, settings: &PitchSettings) -> Option<Self> {
        Self::with_fit(sound, settings, Fit::AsReference)
    }

    /// The same, with a say in where the frames lie.
    pub(crate) fn with_fit(sound: &Sound<'a>, settings: &PitchSettings, fit: Fit) -> Option<Self> {
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
        let frames = sound.frames_with(if cross { span_s } else { window_s }, dt, fit)?;
        let engine = if cross {
            Engine::Cross { span_s, stretch: Vec::with_capacity(2 * window + 2) }
        } else {
            let gauss = settings.method == PitchMethod::AutocorrelationGauss;
            Engine::Auto(Box::new(Autocorrelator::new(window, reach, gauss)?))
        };
        let mut correlation = vec![0.0; 2 * reach + 1];
        *correlation.get_mut(reach)? = 1.0;
        let arch = pulp::Arch::new();
        let samples = sound.samples();
        let mean = arch.dispatch(math::Sum(samples)) / samples.len().max(1) as f64;
        Some(Self {
            sound: *sound,
            arch,
            frames,
            ceiling,
            max_peaks: max_candidates.saturating_sub(1),
            floor,
            octave_cost: settings.octave_cost,
            least_correlation: 0.5 * settings.voicing_threshold,
            period: i64::try_from(period).ok()?,
            half_period: period / 2 + 1,
            window,
            max_lag,
            reach,
            final_depth,
            global_peak: arch.dispatch(math::LargestDeviation { values: samples, middle: mean }),
            engine,
            frame: vec![0.0; window],
            time: 0.0,
            local_mean: 0.0,
            local_peak: 0.0,
            correlation,
            roughness: Vec::with_capacity(reach / ROUGHNESS_GROUP + 1),
            peaks: Vec::with_capacity(max_lag / 2 + 1),
            weakness: Vec::with_capacity(max_lag / 2 + 1),
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
        let arch = self.arch;
        arch.dispatch(Cut(self));
        (self.local_peak / self.global_peak).min(1.0)
    }

    #[inline(always)]
    fn cut(&mut self) {
        let left = self.sound.low_index(self.time);
        let right = left + 1;
        let around = self.sound.between(right - self.period, left + self.period);
        self.local_mean = math::sum(around) / (2 * self.period) as f64;

        let half = (self.window / 2) as i64;
        let samples = self.sound.between(right - half, left + half);
        // At the very ends rounding may ask for a sample that is not there.
        let missing = usize::try_from(half - right + 1).unwrap_or(0).min(self.window);
        let mean = self.local_mean;
        let middle = |window: usize, half_period: usize| {
            let half = window / 2;
            half.saturating_sub(half_period)..(half + half_period).min(window)
        };
        let middle = middle(self.window, self.half_period);
        self.local_peak = match &self.engine {
            Engine::Auto(auto) => {
                if samples.len() < self.window {
                    self.frame.fill(0.0);
                }
                let to = self.frame.get_mut(missing..).unwrap_or_default();
                let window = auto.window().get(missing..).unwrap_or_default();
                for ((to, from), weight) in to.iter_mut().zip(samples).zip(window) {
                    *to = (from - mean) * weight;
                }
                math::largest_deviation(self.frame.get(middle).unwrap_or_default(), 0.0)
            }
            // The samples themselves are correlated, so only their peak is needed.
            Engine::Cross { .. } => {
                let first = middle.start.saturating_sub(missing);
                let last = middle.end.saturating_sub(missing).min(samples.len());
                math::largest_deviation(samples.get(first..last).unwrap_or_default(), mean)
            }
        };
    }

    /// Lists the peaks of the frame last given to [`Self::intensity`], shortest lag first unless
    /// there are too many of them.
    pub(crate) fn find(&mut self) {
        self.peaks.clear();
        if self.local_peak > 0.0 {
            let arch = self.arch;
            if let Engine::Auto(auto) = &mut self.engine {
                let positive = self.correlation.get_mut(self.reach + 1..).unwrap_or_default();
                auto.correlate(&self.frame, positive);
            }
            arch.dispatch(ListPeaks(self));
        }
    }

    /// What [`Self::find`] listed.
    pub(crate) fn peaks(&self) -> &[Peak] {
        &self.peaks
    }

    /// Samples per second and the longest lag any peak can have.
    pub(crate) fn lags(&self) -> (f64, usize) {
        (1.0 / self.sound.dx(), self.max_lag)
    }

    #[inline(always)]
    fn list_peaks(&mut self) {
        let (negative, positive) = self.correlation.split_at_mut(self.reach + 1);
        if let Engine::Cross { span_s, stretch } = &mut self.engine {
            let start = self.sound.low_index(self.time - 0.5 * *span_s).max(1);
            let end = start + (self.max_lag + self.window) as i64 - 1;
            stretch.clear();
            let mean = self.local_mean;
            stretch.extend(self.sound.between(start, end).iter().map(|s| s - mean));
            cross_correlate(stretch, self.window, positive);
        }
        for (mirrored, value) in negative.iter_mut().rev().skip(1).zip(positive.iter()) {
            *mirrored = *value;
        }
        let last = self.max_lag.min(self.reach);
        let least = self.least_correlation;
        for (k, &[before, here, after]) in positive.array_windows::<3>().enumerate() {
            // The first window stands around lag 2.
            let lag = k + 2;
            if lag >= last {
                break;
            }
            if here > least && here > before + PLATEAU && here >= after - PLATEAU {
                let (offset, height) = parabola(before, here, after);
                self.peaks.push(Peak { lag, position: lag as f64 + offset, most: height });
            }
        }
        self.bound_heights();
        if self.peaks.len() > self.max_peaks {
            self.keep_strongest();
        }
    }

    /// Raises what the parabola says to what the peaks can be at most.
    #[inline(always)]
    fn bound_heights(&mut self) {
        if self.peaks.is_empty() {
            return;
        }
        self.roughness.clear();
        let from_lag_minus_2 = self.correlation.get(self.reach.saturating_sub(2)..).unwrap_or_default();
        for samples in from_lag_minus_2.array_windows::<{ ROUGHNESS_GROUP + 3 }>().step_by(ROUGHNESS_GROUP) {
            let mut largest = 0.0;
            for &[a, b, c, d] in samples.array_windows::<4>() {
                let difference = ((d - a) - 3.0 * (c - b)).abs();
                largest = if difference > largest { difference } else { largest };
            }
            self.roughness.push(largest);
        }
        for peak in &mut self.peaks {
            let first = peak.lag.saturating_sub(ROUGHNESS_SPAN) / ROUGHNESS_GROUP;
            let around = self.roughness.iter().skip(first).take(2 * ROUGHNESS_SPAN / ROUGHNESS_GROUP + 1);
            // Where nothing is known around the peak, nothing is claimed.
            let rough = around.copied().reduce(|a, b| if b > a { b } else { a }).unwrap_or(f64::INFINITY);
            peak.most = (peak.most + ROUGHNESS_SHARE * rough + HEIGHT_ALLOWANCE).min(1.0);
        }
    }

    /// The reference fills its list and then lets every newcomer that is stronger replace the
    /// weakest, where strength is read off coarsely and low frequencies are preferred a little.
    #[inline(always)]
    fn keep_strongest(&mut self) {
        self.weakness.clear();
        for k in 0..self.peaks.len() {
            let Some(&peak) = self.peaks.get(k) else {
                break;
            };
            // Without the octave's share the weakest could be a good low candidate.
            let frequency = 1.0 / self.sound.dx() / peak.position;
            let value = self.coarse_strength(&peak) - self.octave_cost * (self.floor / frequency).log2();
            if k < self.max_peaks {
                self.weakness.push(value);
                continue;
            }
            let mut weakest: Option<(usize, f64)> = None;
            for (place, &stored) in self.weakness.iter().enumerate() {
                if weakest.is_none_or(|(_, w)| stored < w) {
                    weakest = Some((place, stored));
                }
            }
            if let Some((place, stored)) = weakest
                && value > stored
                && let (Some(slot), Some(to)) = (self.weakness.get_mut(place), self.peaks.get_mut(place))
            {
                *slot = value;
                *to = peak;
            }
        }
        self.peaks.truncate(self.max_peaks);
    }

    /// Height of a peak at the vertex of its parabola, by a shorter sinc.
    #[inline(always)]
    pub(crate) fn coarse_strength(&self, peak: &Peak) -> f64 {
        let y = &self.correlation;
        let x = (self.reach + 1) as f64 + peak.position;
        let left = x.floor() as usize;
        reflect(match curve(y, left, COARSE_DEPTH) {
            Some(curve) => curve.value(x - left as f64),
            None => sinc(y, x, COARSE_DEPTH),
        })
    }

    /// Frequency and strength of a peak that [`Self::find`] listed.
    pub(crate) fn refine(&self, peak: &Peak) -> Candidate {
        self.arch.dispatch(Refine(self, peak))
    }

    #[inline(always)]
    fn refined(&self, peak: &Peak) -> Candidate {
        let dx = self.sound.dx();
        let depth = if 1.0 / dx / peak.position > 0.3 / dx { SINC_700 } else { self.final_depth };
        let centre = self.reach + 1;
        let (position, height) = summit(&self.correlation, centre + peak.lag, depth);
        Candidate { frequency: 1.0 / dx / (position - centre as f64), strength: reflect(height) }
    }

    /// The strongest candidate below the ceiling of the peaks listed last, for callers that do not
    /// weigh frames against each other.
    pub(crate) fn strongest(&mut self) -> Option<Candidate> {
        let arch = self.arch;
        arch.dispatch(Strongest(self))
    }

    #[inline(always)]
    fn strongest_refined(&mut self) -> Option<Candidate> {
        let mut strongest: Option<Candidate> = None;
        // The most promising first, so that it settles most of the others unseen.
        self.peaks.sort_unstable_by(|a, b| b.most.total_cmp(&a.most).then(a.lag.cmp(&b.lag)));
        for peak in &self.peaks {
            if strongest.is_some_and(|s| s.strength > peak.most) {
                break;
            }
            let candidate = self.refined(peak);
            let stronger = strongest.is_none_or(|s| candidate.strength > s.strength);
            if candidate.frequency < self.ceiling && stronger {
                strongest = Some(candidate);
            }
        }
        strongest
    }
}

/// The steps of an analysis that are compiled for every kind of vector register.
struct Cut<'f, 'a>(&'f mut CandidateFinder<'a>);
struct ListPeaks<'f, 'a>(&'f mut CandidateFinder<'a>);
struct Refine<'f, 'a>(&'f CandidateFinder<'a>, &'f Peak);
struct Strongest<'f, 'a>(&'f mut CandidateFinder<'a>);

impl pulp::NullaryFnOnce for Cut<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.cut();
    }
}

impl pulp::NullaryFnOnce for ListPeaks<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.list_peaks();
    }
}

impl pulp::NullaryFnOnce for Refine<'_, '_> {
    type Output = Candidate;

    #[inline(always)]
    fn call(self) -> Candidate {
        self.0.refined(self.1)
    }
}

impl pulp::NullaryFnOnce for Strongest<'_, '_> {
    type Output = Option<Candidate>;

    #[inline(always)]
    fn call(self) -> Option<Candidate> {
        self.0.strongest_refined()
    }
}

/// Interpolation may overshoot 1 slightly; the excess is mirrored.
fn reflect(strength: f64) -> f64 {
    if strength > 1.0 { 1.0 / strength } else { strength }
}

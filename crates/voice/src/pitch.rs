//! Fundamental frequency: autocorrelation and forward cross-correlation with a path finder.
//!
//! The method is Boersma's (1993, "Accurate short-term analysis of the fundamental frequency and
//! the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17, 97-110): candidates are
//! maxima of the normalised correlation, interpolated between samples, and a Viterbi search picks
//! one per frame by strength, octave and transition costs.

mod candidates;
mod correlation;
mod joined;
mod path;
mod segment;
mod summit;

pub(crate) use candidates::CandidateFinder;

use crate::sound::{Fit, Frames, Sound};
use crate::stats;

/// How the periodicity of a frame is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PitchMethod {
    /// Autocorrelation of a Hann-windowed frame, usually 3 periods of the floor long.
    Autocorrelation,
    /// Autocorrelation of a Gaussian-windowed frame of twice the stated length.
    AutocorrelationGauss,
    /// Correlation of one stretch with later ones, unwindowed.
    CrossCorrelation,
    /// The same with the finest interpolation of peaks.
    CrossCorrelationAccurate,
}

/// Settings of the pitch analysis; [`PitchSettings::praat`] gives Praat's standard values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PitchSettings {
    /// Engine.
    pub method: PitchMethod,
    /// Lowest frequency looked for, in Hz; sets the window length.
    pub floor_hz: f64,
    /// Highest frequency accepted as voiced, in Hz.
    pub ceiling_hz: f64,
    /// Distance of frames in seconds; `None` means a quarter of the window.
    pub time_step_s: Option<f64>,
    /// Periods of the floor per window (before the doubling of the Gaussian window).
    pub periods_per_window: f64,
    /// Candidates kept per frame, the unvoiced one included.
    pub max_candidates: usize,
    /// Frames whose peak is below this share of the loudest peak tend to be unvoiced.
    pub silence_threshold: f64,
    /// Strength of the unvoiced candidate.
    pub voicing_threshold: f64,
    /// Penalty per octave below the ceiling.
    pub octave_cost: f64,
    /// Penalty per octave of jump between frames 10 ms apart.
    pub octave_jump_cost: f64,
    /// Penalty of a voicing change between frames 10 ms apart.
    pub voiced_unvoiced_cost: f64,
}

impl PitchSettings {
    /// Praat's standard settings (threshold 0.03/0.45, costs 0.01/0.35/0.14, 15 candidates).
    #[must_use]
    pub fn praat(method: PitchMethod, floor_hz: f64, ceiling_hz: f64) -> Self {
        let periods_per_window = match method {
            PitchMethod::Autocorrelation | PitchMethod::AutocorrelationGauss => 3.0,
            PitchMethod::CrossCorrelation | PitchMethod::CrossCorrelationAccurate => 1.0,
        };
        Self {
            method,
            floor_hz,
            ceiling_hz,
            time_step_s: None,
            periods_per_window,
            max_candidates: 15,
            silence_threshold: 0.03,
            voicing_threshold: 0.45,
            octave_cost: 0.01,
            octave_jump_cost: 0.35,
            voiced_unvoiced_cost: 0.14,
        }
    }
}

/// A fundamental-frequency contour.
#[derive(Debug, Clone, PartialEq)]
pub struct PitchTrack {
    frames: Frames,
    f0: Vec<Option<f64>>,
    strength: Vec<f64>,
    end_s: f64,
}

impl PitchTrack {
    /// Where the frames are.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// Fundamental frequency of every frame in Hz, `None` where unvoiced.
    #[must_use]
    pub fn f0(&self) -> &[Option<f64>] {
        &self.f0
    }

    /// Strength of the chosen candidate of every frame: correlation 0..1, 0 where unvoiced.
    #[must_use]
    pub fn strength(&self) -> &[f64] {
        &self.strength
    }

    /// End of the analysed sound in seconds.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.end_s
    }

    /// Frequencies of the voiced frames in Hz, in order of time.
    pub fn voiced(&self) -> impl Iterator<Item = f64> + '_ {
        self.f0.iter().copied().flatten()
    }

    /// Frequency in Hz at any time, linear between voiced frames; `None` where the nearer frame is
    /// unvoiced or the time lies outside the sound.
    #[must_use]
    pub fn value_at(&self, time: f64) -> Option<f64> {
        if !(time >= 0.0 && time <= self.end_s) {
            return None;
        }
        let index = self.frames.index(time);
        let left = index.floor();
        let phase = index - left;
        let (near, far, weight) = if phase < 0.5 { (left, left + 1.0, phase) } else { (left + 1.0, left, 1.0 - phase) };
        let near = self.frame_from_one(near)?;
        match self.frame_from_one(far) {
            Some(far) => Some(near + weight * (far - near)),
            None => Some(near),
        }
    }

    /// Voiced frames in seconds: their number times the step.
    #[must_use]
    pub fn voiced_s(&self) -> f64 {
        self.voiced().count() as f64 * self.frames.dt
    }

    /// Statistics of the voiced frames.
    #[must_use]
    pub fn summary(&self) -> PitchSummary {
        let mut sorted: Vec<f64> = self.voiced().collect();
        let mean = stats::mean(&sorted);
        let sd = stats::standard_deviation(&sorted);
        let semitones: Vec<f64> = sorted.iter().map(|f| 12.0 * (f / 100.0).log2()).collect();
        sorted.sort_by(f64::total_cmp);
        PitchSummary {
            mean_hz: mean,
            sd_hz: sd,
            sd_semitones: stats::standard_deviation(&semitones),
            median_hz: stats::quantile(&sorted, 0.5),
            min_hz: self.extremum(-1.0),
            max_hz: self.extremum(1.0),
            voiced_fraction: (!self.f0.is_empty()).then(|| sorted.len() as f64 / self.f0.len() as f64),
        }
    }

    fn frame_from_one(&self, index: f64) -> Option<f64> {
        if index < 1.0 {
            return None;
        }
        self.f0.get(index as usize - 1).copied().flatten()
    }

    /// Largest (sign 1) or smallest (sign -1) value, refined by a parabola where both neighbours
    /// of a local extremum are voiced.
    fn extremum(&self, sign: f64) -> Option<f64> {
        let value = |k: Option<usize>| k.and_then(|k| self.f0.get(k)).copied().flatten();
        let mut best: Option<f64> = None;
        for k in 0..self.f0.len() {
            let Some(middle) = value(Some(k)).map(|v| sign * v) else {
                continue;
            };
            let height = match (value(k.checked_sub(1)), value(Some(k + 1))) {
                (Some(left), Some(right)) => {
                    let (left, right) = (sign * left, sign * right);
                    if middle > left && middle >= right {
                        crate::interpolate::parabola(left, middle, right).1
                    } else {
                        middle
                    }
                }
                _ => middle,
            };
            best = Some(best.map_or(height, |b| b.max(height)));
        }
        best.map(|b| sign * b)
    }
}

/// Statistics of a contour over its voiced frames; `None` where there are too few.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PitchSummary {
    /// Mean in Hz.
    pub mean_hz: Option<f64>,
    /// Standard deviation (n - 1) in Hz.
    pub sd_hz: Option<f64>,
    /// Standard deviation (n - 1) in semitones.
    pub sd_semitones: Option<f64>,
    /// Median in Hz.
    pub median_hz: Option<f64>,
    /// Minimum in Hz, refined between frames.
    pub min_hz: Option<f64>,
    /// Maximum in Hz, refined between frames.
    pub max_hz: Option<f64>,
    /// Share of frames that are voiced, 0..1.
    pub voiced_fraction: Option<f64>,
}

/// Finds the contour; `None` when the sound is shorter than one analysis window or the settings
/// leave no room for a period.
#[must_use]
pub fn track(sound: &Sound<'_>, settings: &PitchSettings) -> Option<PitchTrack> {
    track_with(sound, settings, Fit::AsReference)
}

/// The same, with a say in where the frames lie.
pub(crate) fn track_with(sound: &Sound<'_>, settings: &PitchSettings, fit: Fit) -> Option<PitchTrack> {
    let mut finder = CandidateFinder::with_fit(sound, settings, fit)?;
    let frames = finder.frames();
    let mut lattice = path::Lattice::new(settings, &finder);
    for k in 0..frames.count {
        let intensity = finder.intensity(frames.time(k));
        // A frame this quiet is unvoiced whatever its candidates are, so do not look for them.
        if !lattice.surely_unvoiced(intensity) {
            finder.find();
            lattice.push(intensity, finder.peaks(), |peak| finder.refine(peak));
        } else {
            lattice.push(intensity, &[], |peak| finder.refine(peak));
        }
    }
    let (f0, strength) = lattice.best_path();
    Some(PitchTrack { frames, f0, strength, end_s: sound.end() })
}

/// The two-pass contour for running speech: a first pass at 60-500 Hz, then floor and ceiling from
/// its quartiles (max(50, 0.75 Q1) and 1.5 Q3), 10 ms steps.
///
/// It removes the octave jumps a telephone channel provokes (De Looze and Hirst 2008 give the idea
/// of quartile-based ranges). `None` when nothing is voiced or the sound is too short.
#[must_use]
pub fn track_two_pass(sound: &Sound<'_>) -> Option<PitchTrack> {
    let wide = PitchSettings::praat(PitchMethod::Autocorrelation, 60.0, 500.0);
    let first = track(sound, &wide)?;
    let mut sorted: Vec<f64> = first.voiced().collect();
    sorted.sort_by(f64::total_cmp);
    let floor = (0.75 * stats::quantile(&sorted, 0.25)?).max(50.0);
    let ceiling = 1.5 * stats::quantile(&sorted, 0.75)?;
    let mut narrow = PitchSettings::praat(PitchMethod::Autocorrelation, floor, ceiling);
    narrow.time_step_s = Some(0.01);
    track(sound, &narrow)
}

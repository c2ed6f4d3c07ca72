//! Formants: the resonances of the vocal tract, by linear prediction.
//!
//! A stretch of 50 ms is described as the output of an all-pole filter (Burg's method); the poles
//! close to the unit circle are the formants, their angle is the frequency and their distance from
//! the circle the bandwidth. F1 and F2 move with the vowel, so only averages over much speech, or
//! the same vowel again, can be compared. On a telephone nothing above 4 kHz is left and the codec
//! bends what is below: read F1 and F2 there as trends only.

mod burg;
mod roots;

use std::f64::consts::PI;

use crate::pitch::PitchTrack;
use crate::resampling::{self, Resampled};
use crate::sound::{Frames, Sound};
use crate::stats;

use burg::Burg;
use roots::LANES;

/// Length of the Gaussian window in seconds; its effective length is half of that.
const WINDOW_S: f64 = 0.05;
/// Distance of frames in seconds.
const STEP_S: f64 = 0.025 / 4.0;
/// Formants this close to 0 Hz or to the ceiling belong to the slope of the spectrum.
const MARGIN_HZ: f64 = 50.0;
/// Distance of the times averages are taken over, in seconds.
const GRID_S: f64 = 0.005;
/// Most formants a frame can have.
const MAX_FORMANTS: usize = 5;
/// Formants that are averaged.
pub const REPORTED: usize = 3;

/// How many resonances are assumed, and up to which frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FormantSettings {
    /// Number of formants below the ceiling: 4 or 5.
    pub formants: usize,
    /// The sound is resampled to twice this frequency in Hz.
    pub ceiling_hz: f64,
}

impl FormantSettings {
    /// For wide-band sound of at least 11 kHz: five formants up to 5500 Hz.
    pub const WIDE: Self = Self { formants: 5, ceiling_hz: 5500.0 };
    /// For the telephone: four formants up to just below 4 kHz.
    pub const TELEPHONE: Self = Self { formants: 4, ceiling_hz: 3996.0 };
}

/// One resonance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Formant {
    /// Centre in Hz.
    pub frequency_hz: f64,
    /// Width in Hz.
    pub bandwidth_hz: f64,
}

/// Formants of a sound, frame by frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FormantTrack {
    frames: Frames,
    end_s: f64,
    /// Formants of every frame in ascending order; what does not exist is `None`.
    formants: Vec<[Option<Formant>; MAX_FORMANTS]>,
}

/// Averages over the voiced part of a sound, for F1, F2 and F3; `None` where a formant was never found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FormantAverages {
    /// Mean frequencies in Hz.
    pub mean_hz: [Option<f64>; REPORTED],
    /// Median frequencies in Hz.
    pub median_hz: [Option<f64>; REPORTED],
    /// Median bandwidths in Hz.
    pub bandwidth_median_hz: [Option<f64>; REPORTED],
}

impl FormantTrack {
    /// Where the frames are.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// Formants of every frame, lowest first.
    #[must_use]
    pub fn formants(&self) -> &[[Option<Formant>; MAX_FORMANTS]] {
        &self.formants
    }

    /// Formant `number` (from 1) at any time, linear between frames; `None` where the nearer frame
    /// does not have it or the time lies outside the sound.
    #[must_use]
    pub fn value_at(&self, number: usize, time: f64) -> Option<Formant> {
        if !(time >= 0.0 && time <= self.end_s) {
            return None;
        }
        let index = self.frames.index(time);
        let left = index.floor();
        let phase = index - left;
        let (near, far, weight) = if phase < 0.5 { (left, left + 1.0, phase) } else { (left + 1.0, left, 1.0 - phase) };
        let near = self.in_frame(near, number)?;
        let Some(far) = self.in_frame(far, number) else {
            return Some(near);
        };
        Some(Formant {
            frequency_hz: near.frequency_hz + weight * (far.frequency_hz - near.frequency_hz),
            bandwidth_hz: near.bandwidth_hz + weight * (far.bandwidth_hz - near.bandwidth_hz),
        })
    }

    fn in_frame(&self, index_from_one: f64, number: usize) -> Option<Formant> {
        if index_from_one < 1.0 {
            return None;
        }
        *self.formants.get(index_from_one as usize - 1)?.get(number.checked_sub(1)?)?
    }
}

/// Formants of every frame. `None` when the sound is shorter than the window (50 ms) or the
/// settings make no sense.
#[must_use]
pub fn track(sound: &Sound<'_>, settings: &FormantSettings) -> Option<FormantTrack> {
    track_where(sound, settings, |_, wanted| wanted.fill(true))
}

/// Averages over the times, 5 ms apart, at which `pitch` is voiced.
///
/// Only the frames that a voiced time reads are computed. `None` as for [`track`].
#[must_use]
pub fn voiced_averages(sound: &Sound<'_>, pitch: &PitchTrack, settings: &FormantSettings) -> Option<FormantAverages> {
    let count = (sound.end() / GRID_S).ceil() as usize;
    let times: Vec<f64> =
        (0..count).map(|k| k as f64 * GRID_S).filter(|&time| pitch.value_at(time).is_some()).collect();
    let track = track_where(sound, settings, |frames, wanted| {
        for &time in &times {
            let left = frames.index(time).floor();
            for index in [left, left + 1.0] {
                if index >= 1.0
                    && let Some(wanted) = wanted.get_mut(index as usize - 1)
                {
                    *wanted = true;
                }
            }
        }
    })?;
    let mut averages = FormantAverages::default();
    let (mut frequencies, mut bandwidths) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
    for k in 0..REPORTED {
        frequencies.clear();
        bandwidths.clear();
        for formant in times.iter().filter_map(|&time| track.value_at(k + 1, time)) {
            frequencies.push(formant.frequency_hz);
            bandwidths.push(formant.bandwidth_hz);
        }
        averages.mean_hz[k] = stats::mean(&frequencies);
        averages.median_hz[k] = median(&mut frequencies);
        averages.bandwidth_median_hz[k] = median(&mut bandwidths);
    }
    Some(averages)
}

/// Middle value, or the mean of the two middle ones.
fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let values_are_odd = values.len() % 2 == 1;
    if values.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if values_are_odd {
        return Some(upper);
    }
    let lower = below.iter().copied().reduce(f64::max)?;
    Some(0.5 * (lower + upper))
}

/// Computes the frames that `choose` marks.
fn track_where(
    sound: &Sound<'_>,
    settings: &FormantSettings,
    choose: impl FnOnce(&Frames, &mut [bool]),
) -> Option<FormantTrack> {
    if settings.ceiling_hz.is_nan() || settings.ceiling_hz <= 2.0 * MARGIN_HZ {
        return None;
    }
    let resampled = resampling::resample(sound, 2.0 * settings.ceiling_hz)?;
    let frames = place_frames(&resampled)?;
    let mut wanted = vec![false; frames.count];
    choose(&frames, &mut wanted);
    let samples = burg::emphasised(&resampled);
    let mut formants = vec![[None; MAX_FORMANTS]; frames.count];
    let job = Analysis { frames: &frames, resampled: &resampled, samples: &samples, wanted: &wanted };
    match settings.formants {
        4 => job.run::<8>(&mut formants),
        5 => job.run::<10>(&mut formants),
        _ => return None,
    }
    Some(FormantTrack { frames, end_s: sound.end(), formants })
}

/// Frames are centred on the sound like everywhere, but with this order of operations.
fn place_frames(sound: &Resampled) -> Option<Frames> {
    let duration = sound.dx() * sound.samples().len() as f64;
    if duration < WINDOW_S {
        return None;
    }
    let count = 1.0 + ((duration - WINDOW_S) / STEP_S).floor();
    let t1 = sound.x1() + 0.5 * (duration - sound.dx() - (count - 1.0) * STEP_S);
    Some(Frames { count: count as usize, t1, dt: STEP_S })
}

/// What the analysis of the frames of one sound needs.
struct Analysis<'a> {
    frames: &'a Frames,
    resampled: &'a Resampled,
    /// The resampled samples after pre-emphasis.
    samples: &'a [f64],
    wanted: &'a [bool],
}

impl Analysis<'_> {
    /// Fills in the formants of the wanted frames with `ORDER` poles.
    fn run<const ORDER: usize>(self, formants: &mut [[Option<Formant>; MAX_FORMANTS]]) {
        let window = burg::window(WINDOW_S, self.resampled.dx());
        pulp::Arch::new().dispatch(WantedFrames::<ORDER> { analysis: self, window: &window, formants });
    }
}

/// The analysis, as a job that is compiled for every vector width.
struct WantedFrames<'a, const ORDER: usize> {
    analysis: Analysis<'a>,
    window: &'a [f64],
    formants: &'a mut [[Option<Formant>; MAX_FORMANTS]],
}

impl<const ORDER: usize> pulp::NullaryFnOnce for WantedFrames<'_, ORDER> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { analysis, window, formants } = self;
        let nyquist_hz = 0.5 / analysis.resampled.dx();
        let mut burg = Burg::<ORDER>::new(window);
        // Frames go to the root finder in groups, one to a lane.
        let mut group = Group::<ORDER>::default();
        for (frame, _) in analysis.wanted.iter().enumerate().filter(|&(_, &wanted)| wanted) {
            let left = analysis.resampled.index(analysis.frames.time(frame)).floor() as i64;
            if let Some(predictor) = burg.predict(analysis.samples, left) {
                group.push(frame, predictor);
            }
            if group.is_full() {
                group.solve(nyquist_hz, formants);
            }
        }
        group.solve(nyquist_hz, formants);
    }
}

/// Predictors waiting for their roots.
struct Group<const ORDER: usize> {
    frames: [usize; LANES],
    predictors: [[f64; LANES]; ORDER],
    count: usize,
}

impl<const ORDER: usize> Default for Group<ORDER> {
    fn default() -> Self {
        Self { frames: [0; LANES], predictors: [[0.0; LANES]; ORDER], count: 0 }
    }
}

impl<const ORDER: usize> Group<ORDER> {
    fn is_full(&self) -> bool {
        self.count >= LANES
    }

    fn push(&mut self, frame: usize, predictor: [f64; ORDER]) {
        if let Some(place) = self.frames.get_mut(self.count) {
            *place = frame;
            for (lanes, coefficient) in self.predictors.iter_mut().zip(predictor) {
                if let Some(lane) = lanes.get_mut(self.count) {
                    *lane = coefficient;
                }
            }
            self.count += 1;
        }
    }

    #[inline(always)]
    fn solve(&mut self, nyquist_hz: f64, formants: &mut [[Option<Formant>; MAX_FORMANTS]]) {
        if self.count == 0 {
            return;
        }
        let roots = roots::solve(&self.predictors);
        for (lane, &frame) in self.frames.iter().enumerate().take(self.count) {
            if let Some(found) = formants.get_mut(frame) {
                *found = of_roots(roots.lane(lane), nyquist_hz);
            }
        }
        *self = Self::default();
    }
}

/// Reads the poles of one frame as formants, lowest first.
fn of_roots<const ORDER: usize>(roots: [Option<[f64; 2]>; ORDER], nyquist_hz: f64) -> [Option<Formant>; MAX_FORMANTS] {
    let mut found = [None; MAX_FORMANTS];
    let mut count = 0;
    for [re, im] in roots.into_iter().flatten() {
        // One of each conjugate pair.
        if im < 0.0 {
            continue;
        }
        let frequency_hz = im.atan2(re) * nyquist_hz / PI;
        if !(frequency_hz >= MARGIN_HZ && frequency_hz <= nyquist_hz - MARGIN_HZ) {
            continue;
        }
        // A pole outside the unit circle stands for its mirror image inside, which has the same
        // angle and the inverse distance.
        let bandwidth_hz = (re * re + im * im).ln().abs() * nyquist_hz / PI;
        if let Some(place) = found.get_mut(count) {
            *place = Some(Formant { frequency_hz, bandwidth_hz });
            count += 1;
        }
    }
    found.sort_by(|a, b| match (a, b) {
        (Some(a), Some(b)) => a.frequency_hz.total_cmp(&b.frequency_hz),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pitch::{self, PitchMethod, PitchSettings};
    use crate::units::SampleRate;

    /// Pulses with the spectral fall of a voice through resonators of given frequency and bandwidth.
    fn vowel(formants: &[(f64, f64)], rate: u32, seconds: f64) -> Vec<f64> {
        let dx = 1.0 / f64::from(rate);
        let count = (seconds * f64::from(rate)) as usize;
        let period = rate as usize / 110;
        let mut samples: Vec<f64> = (0..count).map(|n| if n % period == 0 { 0.3 } else { 0.0 }).collect();
        let mut level = 0.0;
        for sample in &mut samples {
            level = *sample + 0.96 * level;
            *sample = level;
        }
        for &(frequency, bandwidth) in formants {
            let radius = (-PI * bandwidth * dx).exp();
            let (a, b) = (2.0 * radius * (2.0 * PI * frequency * dx).cos(), -radius * radius);
            let (mut y1, mut y2) = (0.0, 0.0);
            for sample in &mut samples {
                let y = (1.0 - a - b) * *sample + a * y1 + b * y2;
                (y2, y1) = (y1, y);
                *sample = y;
            }
        }
        samples
    }

    fn contour(sound: &Sound<'_>) -> PitchTrack {
        pitch::track(sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0)).unwrap()
    }

    #[test]
    fn resonances_are_read_back() {
        let truth = [(650.0, 80.0), (1200.0, 90.0), (2500.0, 120.0), (3400.0, 150.0)];
        let samples = vowel(&truth, 8_000, 1.0);
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let found = voiced_averages(&sound, &contour(&sound), &FormantSettings::TELEPHONE).unwrap();
        for (k, (frequency, bandwidth)) in truth.into_iter().take(REPORTED).enumerate() {
            assert!((found.mean_hz[k].unwrap() - frequency).abs() < 0.05 * frequency, "{found:?}");
            assert!((found.median_hz[k].unwrap() - frequency).abs() < 0.05 * frequency, "{found:?}");
            assert!(found.bandwidth_median_hz[k].unwrap() < 3.0 * bandwidth, "{found:?}");
        }
    }

    #[test]
    fn leaving_out_frames_changes_nothing() {
        let mut samples = vowel(&[(500.0, 80.0), (1500.0, 100.0)], 16_000, 0.6);
        samples.extend(vec![0.0; 4_000]);
        samples.extend(vowel(&[(300.0, 60.0), (2200.0, 100.0)], 16_000, 0.613));
        let sound = Sound::new(&samples, SampleRate::new(16_000).unwrap());
        let pitch = contour(&sound);
        for settings in [FormantSettings::TELEPHONE, FormantSettings::WIDE] {
            let all = track(&sound, &settings).unwrap();
            let frequencies: Vec<f64> = (0..(sound.end() / GRID_S).ceil() as usize)
                .map(|k| k as f64 * GRID_S)
                .filter(|&time| pitch.value_at(time).is_some())
                .filter_map(|time| all.value_at(1, time))
                .map(|formant| formant.frequency_hz)
                .collect();
            let averages = voiced_averages(&sound, &pitch, &settings).unwrap();
            assert_eq!(averages.mean_hz[0], stats::mean(&frequencies));
        }
    }

    #[test]
    fn silence_and_short_sounds_have_no_formants() {
        let samples = vec![0.0; 8000];
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let found = track(&sound, &FormantSettings::TELEPHONE).unwrap();
        assert!(found.formants().iter().flatten().all(Option::is_none));
        assert_eq!(found.value_at(1, 0.5), None);
        let averages = voiced_averages(&sound, &contour(&sound), &FormantSettings::TELEPHONE);
        assert_eq!(averages, Some(FormantAverages::default()));
        assert_eq!(track(&Sound::new(&samples[..390], SampleRate::TELEPHONE), &FormantSettings::TELEPHONE), None);
        assert_eq!(track(&sound, &FormantSettings { formants: 7, ceiling_hz: 3996.0 }), None);
        assert_eq!(track(&sound, &FormantSettings { formants: 4, ceiling_hz: f64::NAN }), None);
    }

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}

//! Runs the analysis: frames are dealt out to vector lanes, every lane walking through its own
//! stretch of the recording, so that neighbours in time are the steps before and after.

use pulp::{Simd, WithSimd};

use super::lanes::{Lanes, flat_mut};
use super::layout::{Layout, gauss};
use super::prominence::Prominence;
use super::smoothing::{self, FRAMES, QuefrencySmoothing, REACH};
use super::transform::{Buffers, Transform};
use crate::resampling::Resampled;

/// Pre-emphasis starts here: 6 dB per octave above.
const PRE_EMPHASIS_HZ: f64 = 50.0;

/// One analysis, ready to run on whatever vector registers there are.
pub(super) struct Engine<'a> {
    pub(super) layout: &'a Layout,
    pub(super) sound: &'a Resampled,
    /// The wanted frames in ascending order.
    pub(super) wanted: &'a [usize],
    /// Whether the values by the old rule and by the new rule are wanted.
    pub(super) rules: [bool; 2],
}

/// One step of one lane.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Frame transformed now; may lie outside the recording, where it counts nothing.
    input: i64,
    /// Place among the wanted frames of the one completed by it, which is `REACH` frames earlier.
    output: Option<usize>,
}

impl WithSimd for Engine<'_> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { layout, sound, wanted, rules } = self;
        let rate = 1.0 / sound.dx();
        let plans = plan(wanted, S::F64_LANES);
        let steps = plans.iter().map(Vec::len).max().unwrap_or(0);
        let padded = Padded::new(layout, sound);
        let mut window = gauss(layout.window_points);
        for weight in &mut window {
            *weight *= Transform::sample_scale(rate);
        }
        let transform = Transform::new(layout.fft_points, rate);
        let smoothing = QuefrencySmoothing::new(sound.dx());
        let zero = simd.splat_f64s(0.0);
        let points = layout.quefrencies();
        let mut buffers = Buffers::new(simd, layout.fft_points);
        let mut ring: [Vec<S::f64s>; FRAMES] = std::array::from_fn(|_| vec![zero; points]);
        let (mut over_time, mut smooth) = (vec![zero; points], vec![zero; points]);
        let mut prominence = Prominence::new(simd, layout, rate);
        let mut results = rules.map(|wanted_rule| vec![0.0; if wanted_rule { wanted.len() } else { 0 }]);
        let usual = smoothing::time_weights(REACH, FRAMES).map(|w| Lanes::splat(simd, w));
        for step in 0..steps {
            let now = |lane: usize| plans.get(lane).and_then(|plan| plan.get(step).or(plan.last())).copied();
            for lane in 0..S::F64_LANES {
                if let Some(now) = now(lane) {
                    let start = layout.first_sample(sound, now.input.clamp(0, layout.frames.count as i64 - 1) as usize);
                    fill_lane::<S>(&mut buffers.frame, lane, padded.frame(start), &window);
                }
            }
            for sample in buffers.frame.iter_mut().skip(layout.window_points) {
                *sample = zero;
            }
            let slot = step % FRAMES;
            transform.process(simd, &mut buffers, &mut ring[slot]);
            let outputs: [Option<usize>; 8] = std::array::from_fn(|lane| {
                now(lane).filter(|_| plans.get(lane).is_some_and(|p| step < p.len())).and_then(|now| now.output)
            });
            if outputs.iter().all(Option::is_none) {
                continue;
            }
            // Oldest first.
            let frames: [&[S::f64s]; FRAMES] = std::array::from_fn(|i| ring[(slot + 1 + i) % FRAMES].as_slice());
            let weights = weights(simd, &outputs, wanted, layout.frames.count).unwrap_or(usual);
            smoothing::over_time(simd, frames, &weights, &mut over_time);
            smoothing.process(simd, &over_time, &mut smooth);
            let mut values = prominence.process(simd, &smooth, rules);
            for (result, value) in results.iter_mut().zip(&mut values) {
                let lanes = flat_mut::<S>(std::slice::from_mut(value));
                for (value, place) in lanes.iter().zip(&outputs) {
                    if let Some(slot) = place.and_then(|place| result.get_mut(place)) {
                        *slot = *value;
                    }
                }
            }
        }
        results
    }
}

/// Deals the wanted frames out to lanes in equal shares of consecutive ones, and adds the
/// neighbours that smoothing needs.
fn plan(wanted: &[usize], lanes: usize) -> Vec<Vec<Step>> {
    let share = wanted.len().div_ceil(lanes.max(1)).max(1);
    let reach = REACH as i64;
    wanted
        .chunks(share)
        .enumerate()
        .map(|(lane, chunk)| {
            let mut steps: Vec<Step> = Vec::with_capacity(chunk.len() + 2 * REACH);
            for (i, frame) in chunk.iter().enumerate() {
                let last = *frame as i64 + reach;
                let first = steps.last().map_or(last - 2 * reach, |step| (step.input + 1).max(last - 2 * reach));
                steps.extend((first..=last).map(|input| Step { input, output: None }));
                if let Some(step) = steps.last_mut() {
                    step.output = Some(lane * share + i);
                }
            }
            steps
        })
        .collect()
}

/// Weights over time when some lane is near an end of the recording.
#[inline(always)]
fn weights<S: Simd>(
    simd: S,
    outputs: &[Option<usize>; 8],
    wanted: &[usize],
    count: usize,
) -> Option<[Lanes<S>; FRAMES]> {
    let frame = |lane: usize| outputs.get(lane).copied().flatten().and_then(|place| wanted.get(place)).copied();
    let at_end = |lane| frame(lane).is_some_and(|k| k < REACH || k + REACH >= count);
    if !(0..S::F64_LANES).any(at_end) {
        return None;
    }
    let mut table = [simd.splat_f64s(0.0); FRAMES];
    for lane in 0..S::F64_LANES {
        let weights = match frame(lane) {
            Some(k) => smoothing::time_weights(k, count),
            None => smoothing::time_weights(REACH, FRAMES),
        };
        for (register, weight) in flat_mut::<S>(&mut table).iter_mut().skip(lane).step_by(S::F64_LANES).zip(weights) {
            *register = weight;
        }
    }
    Some(table.map(|raw| Lanes::new(simd, raw)))
}

/// The pre-emphasised sound with silence around it, so that every frame is a plain slice.
struct Padded {
    samples: Vec<f64>,
    margin: usize,
    window: usize,
}

impl Padded {
    fn new(layout: &Layout, sound: &Resampled) -> Self {
        let factor = (-2.0 * std::f64::consts::PI * PRE_EMPHASIS_HZ * sound.dx()).exp();
        let margin = layout.window_points;
        let mut samples = Vec::with_capacity(sound.samples().len() + 2 * margin);
        samples.resize(margin, 0.0);
        let mut previous = 0.0;
        for sample in sound.samples() {
            samples.push(sample - factor * previous);
            previous = *sample;
        }
        samples.resize(samples.len() + margin, 0.0);
        Self { samples, margin, window: layout.window_points }
    }

    /// The samples of a frame from `start`, counted from 0 at the start of the sound.
    #[inline(always)]
    fn frame(&self, start: i64) -> &[f64] {
        let last = self.samples.len() - self.window;
        let start = usize::try_from(start + self.margin as i64).unwrap_or(0).min(last);
        self.samples.get(start..start + self.window).unwrap_or_default()
    }
}

/// Subtracts the mean of a frame, applies the window, and puts it into its lane.
#[inline(always)]
fn fill_lane<S: Simd>(frame: &mut [S::f64s], lane: usize, samples: &[f64], window: &[f64]) {
    let mut sums = [0.0; 8];
    let (chunks, rest) = samples.as_chunks::<8>();
    for chunk in chunks {
        for (sum, sample) in sums.iter_mut().zip(chunk) {
            *sum += sample;
        }
    }
    let mean = (sums.iter().sum::<f64>() + rest.iter().sum::<f64>()) / samples.len() as f64;
    let places = flat_mut::<S>(frame).iter_mut().skip(lane).step_by(S::F64_LANES);
    for ((place, sample), weight) in places.zip(samples).zip(window) {
        *place = (sample - mean) * weight;
    }
}

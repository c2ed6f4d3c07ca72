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
/// Lanes of the widest registers there are.
const MAX_LANES: usize = 8;
/// Samples of all lanes brought side by side at a time.
const TILE: usize = 8;

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
        let streams = Streams::new(simd, layout, sound, &padded, &plans);
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
            let now = |lane: usize| plans.get(lane).and_then(|plan| step_of(plan, step));
            let starts: [i64; MAX_LANES] =
                std::array::from_fn(|lane| layout.first_sample(sound, now(lane).map_or(0, |now| now.input)));
            let sources = starts.map(|start| padded.frame(start));
            let mean = means(simd, &sources);
            if !streams.fill(simd, &mut buffers.frame, &starts, mean, &window) {
                fill(simd, &mut buffers.frame, &sources, mean, &window);
            }
            for sample in buffers.frame.iter_mut().skip(layout.window_points) {
                *sample = zero;
            }
            let slot = step % FRAMES;
            transform.process(simd, &mut buffers, &mut ring[slot]);
            let outputs: [Option<usize>; MAX_LANES] = std::array::from_fn(|lane| now(lane)?.output);
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

/// A step of a lane; one that is done walks on without output.
fn step_of(plan: &[Step], step: usize) -> Option<Step> {
    let last = plan.last()?;
    let beyond = || Step { input: last.input + (step + 1 - plan.len()) as i64, output: None };
    Some(plan.get(step).copied().unwrap_or_else(beyond))
}

/// Weights over time when some lane is near an end of the recording.
#[inline(always)]
fn weights<S: Simd>(
    simd: S,
    outputs: &[Option<usize>; MAX_LANES],
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

    /// The sample at a place counted from 0 at the start of the sound.
    fn sample(&self, place: i64) -> f64 {
        usize::try_from(place + self.margin as i64).ok().and_then(|i| self.samples.get(i)).copied().unwrap_or(0.0)
    }

    /// The samples of a frame from `start`, counted from 0 at the start of the sound.
    #[inline(always)]
    fn frame(&self, start: i64) -> &[f64] {
        let last = self.samples.len() - self.window;
        let start = usize::try_from(start + self.margin as i64).unwrap_or(0).min(last);
        self.samples.get(start..start + self.window).unwrap_or_default()
    }
}

/// The parts of the sound that the lanes walk through, side by side, so that a frame of all lanes
/// is a run of registers.
struct Streams<S: Simd> {
    samples: Vec<S::f64s>,
    /// Place in the sound of the first sample of every lane.
    origins: [i64; MAX_LANES],
}

impl<S: Simd> Streams<S> {
    fn new(simd: S, layout: &Layout, sound: &Resampled, padded: &Padded, plans: &[Vec<Step>]) -> Self {
        let hop = layout.frames.dt / sound.dx();
        let advance = |step: usize| (step as f64 * hop + 1e-6).floor() as i64;
        let steps = plans.iter().map(Vec::len).max().unwrap_or(0);
        let mut origins = [0; MAX_LANES];
        let mut spread_out = false;
        for (origin, plan) in origins.iter_mut().zip(plans) {
            let offsets = plan.iter().enumerate().map(|(k, step)| layout.first_sample(sound, step.input) - advance(k));
            *origin = offsets.clone().min().unwrap_or(0);
            // Stretches far apart cannot be read like this.
            spread_out |= offsets.max().unwrap_or(0) > *origin + 2;
        }
        // Two more samples, because rounding may place a lane after the others.
        let length = if spread_out { 0 } else { advance(steps) as usize + layout.window_points + 2 };
        let mut samples = vec![simd.splat_f64s(0.0); length];
        for (lane, origin) in origins.iter().enumerate().take(S::F64_LANES) {
            let places = flat_mut::<S>(&mut samples).iter_mut().skip(lane).step_by(S::F64_LANES);
            for (i, place) in places.enumerate() {
                *place = padded.sample(origin + i as i64);
            }
        }
        Self { samples, origins }
    }

    /// Subtracts the mean of every frame and applies the window; refuses when the lanes are not
    /// (but for one sample, which rounding may make) equally far in their streams.
    #[inline(always)]
    fn fill(&self, simd: S, frame: &mut [S::f64s], starts: &[i64; MAX_LANES], mean: Lanes<S>, window: &[f64]) -> bool {
        let mut offsets: [i64; MAX_LANES] = std::array::from_fn(|lane| starts[lane] - self.origins[lane]);
        let least = offsets.iter().take(S::F64_LANES).copied().min().unwrap_or(0);
        let mut late = [simd.splat_f64s(0.0)];
        for (late, offset) in flat_mut::<S>(&mut late).iter_mut().zip(&mut offsets) {
            *offset -= least;
            *late = *offset as f64;
        }
        let most = offsets.iter().take(S::F64_LANES).copied().max().unwrap_or(0);
        let count = window.len();
        let run = usize::try_from(least).ok().and_then(|first| self.samples.get(first..first + count + 1));
        let Some(run) = run.filter(|_| most <= 1) else {
            return false;
        };
        let lane = |raw: S::f64s| Lanes::new(simd, raw);
        let late = Lanes::splat(simd, 0.5).less(lane(late[0]));
        let pairs = run.windows(2);
        if most == 0 {
            for ((out, sample), weight) in frame.iter_mut().zip(run).zip(window) {
                *out = ((lane(*sample) - mean) * Lanes::splat(simd, *weight)).raw();
            }
        } else {
            for ((out, pair), weight) in frame.iter_mut().zip(pairs).zip(window) {
                let sample = lane(pair[1]).or_else(late, lane(pair[0]));
                *out = ((sample - mean) * Lanes::splat(simd, *weight)).raw();
            }
        }
        true
    }
}

/// Subtracts the mean of every frame, applies the window, and puts the frames side by side.
#[inline(always)]
fn fill<S: Simd>(simd: S, frame: &mut [S::f64s], sources: &[&[f64]; MAX_LANES], mean: Lanes<S>, window: &[f64]) {
    for (block, (frame, window)) in frame.chunks_mut(TILE).zip(window.chunks(TILE)).enumerate() {
        // A tile small enough to stay in the nearest cache while it is filled lane by lane.
        let mut tile = [simd.splat_f64s(0.0); TILE];
        for (lane, source) in sources.iter().enumerate().take(S::F64_LANES) {
            let samples = source.get(block * TILE..).unwrap_or_default();
            let places = flat_mut::<S>(&mut tile).iter_mut().skip(lane).step_by(S::F64_LANES);
            for (place, sample) in places.zip(samples) {
                *place = *sample;
            }
        }
        for ((out, sample), weight) in frame.iter_mut().zip(tile).zip(window) {
            *out = ((Lanes::new(simd, sample) - mean) * Lanes::splat(simd, *weight)).raw();
        }
    }
}

/// Mean of the samples of every lane; always summed in the same order, however frames are dealt out.
#[inline(always)]
fn means<S: Simd>(simd: S, sources: &[&[f64]; MAX_LANES]) -> Lanes<S> {
    let mut means = [simd.splat_f64s(0.0)];
    for (mean, source) in flat_mut::<S>(&mut means).iter_mut().zip(sources) {
        *mean = mean_of(source);
    }
    Lanes::new(simd, means[0])
}

#[inline(always)]
fn mean_of(samples: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let (chunks, rest) = samples.as_chunks::<16>();
    for chunk in chunks {
        for (sum, sample) in sums.iter_mut().zip(chunk) {
            *sum += sample;
        }
    }
    (sums.iter().sum::<f64>() + rest.iter().sum::<f64>()) / samples.len() as f64
}

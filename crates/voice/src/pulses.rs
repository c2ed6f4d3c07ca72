//! Glottal pulses by waveform matching: from period to period, the shift that correlates best.
//!
//! Each voiced stretch of the pitch contour is started at the largest sample of its middle period
//! and walked to the left and to the right (the "periodic, cc" point process of Praat).

use crate::interpolate::parabola;
use crate::math::{dot, largest_deviation, sliding_products};
use crate::pitch::PitchTrack;
use crate::sound::Sound;

/// The next pulse is searched 0.8 to 1.25 periods away, and never closer than 0.8 to another walk's.
const NEAREST: f64 = 0.8;
const FARTHEST: f64 = 1.25;

/// Correlation and peak (as a share of the loudest sample) a pulse needs inside a voiced stretch.
const INSIDE_CORRELATION: f64 = 0.3;
const INSIDE_PEAK: f64 = 0.01;

/// What the one pulse beyond the edge of a stretch needs.
const EDGE_CORRELATION: f64 = 0.7;
const EDGE_PEAK: f64 = 0.023_333;

/// Times of the glottal pulses in seconds, ascending.
///
/// Empty when nothing is voiced; very dysphonic voices give few pulses, which is a finding.
#[must_use]
pub fn find(sound: &Sound<'_>, pitch: &PitchTrack) -> Vec<f64> {
    let peak = sound.samples().iter().fold(0.0, |p: f64, s| p.max(s.abs()));
    let mut walker = Walker {
        sound,
        pitch,
        global_peak: peak,
        pulses: Vec::new(),
        last_right: f64::NEG_INFINITY,
        correlations: Vec::new(),
    };
    let mut time = 0.0;
    while let Some((from, to)) = next_voiced_stretch(pitch, time) {
        if to <= time {
            break;
        }
        walker.stretch(from, to);
        time = to;
    }
    walker.pulses
}

/// Start and end of the next voiced stretch after `time`, half a frame beyond its frames.
fn next_voiced_stretch(pitch: &PitchTrack, time: f64) -> Option<(f64, f64)> {
    let frames = pitch.frames();
    let f0 = pitch.f0();
    let from = frames.index(time).ceil().max(1.0) as usize - 1;
    let first = from + f0.get(from..)?.iter().position(Option::is_some)?;
    let voiced = f0.get(first..)?.iter().take_while(|f| f.is_some()).count();
    let left = frames.time(first) - 0.5 * frames.dt;
    let right = frames.time(first + voiced - 1) + 0.5 * frames.dt;
    let end = pitch.end_s();
    (left < end - 0.5 * frames.dt).then(|| (left.max(0.0), right.min(end)))
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Left,
    Right,
}

/// Where the best shift leads, how well it matches, and the peak of the matched stretch.
struct Match {
    time: f64,
    correlation: f64,
    peak: f64,
}

struct Walker<'a> {
    sound: &'a Sound<'a>,
    pitch: &'a PitchTrack,
    global_peak: f64,
    pulses: Vec<f64>,
    /// Last pulse added on a walk to the right; a later walk to the left must not run into it.
    last_right: f64,
    /// Correlation at every shift that is tried.
    correlations: Vec<f64>,
}

impl Walker<'_> {
    fn stretch(&mut self, from: f64, to: f64) {
        let middle = 0.5 * (from + to);
        let Some(f0) = self.pitch.value_at(middle) else {
            return;
        };
        let start = self.extremum(middle - 0.5 / f0, middle + 0.5 / f0);
        self.add(start);
        self.walk(start, from, Direction::Left);
        self.walk(start, to, Direction::Right);
    }

    fn walk(&mut self, start: f64, edge: f64, direction: Direction) {
        let mut time = start;
        // Every step moves by about a period, so there are fewer steps than samples.
        for _ in 0..self.sound.samples().len() {
            let Some(f0) = self.pitch.value_at(time) else {
                return;
            };
            let found = self.best_shift(time, f0, direction);
            let (correlation, peak) = match found {
                Some(m) => {
                    time = m.time;
                    (m.correlation, m.peak)
                }
                None => {
                    // This one period drops out, but the walk goes on.
                    time += match direction {
                        Direction::Left => -1.0 / f0,
                        Direction::Right => 1.0 / f0,
                    };
                    (-1.0, 0.0)
                }
            };
            let passed = match direction {
                Direction::Left => time < edge,
                Direction::Right => time > edge,
            };
            let good = if passed {
                correlation > EDGE_CORRELATION && peak > EDGE_PEAK * self.global_peak
            } else {
                correlation > INSIDE_CORRELATION && (peak == 0.0 || peak > INSIDE_PEAK * self.global_peak)
            };
            if good {
                match direction {
                    Direction::Left => {
                        if time - self.last_right > NEAREST / f0 {
                            self.add(time);
                        }
                    }
                    Direction::Right => {
                        self.add(time);
                        self.last_right = time;
                    }
                }
            }
            if passed {
                return;
            }
        }
    }

    /// Keeps the list sorted and free of duplicates.
    fn add(&mut self, time: f64) {
        let place = self.pulses.partition_point(|&t| t < time);
        if self.pulses.get(place) != Some(&time) {
            self.pulses.insert(place, time);
        }
    }

    /// Time of the largest absolute value in an interval, refined by a parabola.
    fn extremum(&self, from: f64, to: f64) -> f64 {
        let first = self.sound.low_index(from).max(1);
        let samples = self.sound.between(first, self.sound.high_index(to));
        let (mut low, mut high) = (0, 0);
        for (k, s) in samples.iter().enumerate() {
            if samples.get(low).is_some_and(|v| s < v) {
                low = k;
            }
            if samples.get(high).is_some_and(|v| s > v) {
                high = k;
            }
        }
        let (Some(&minimum), Some(&maximum)) = (samples.get(low), samples.get(high)) else {
            return 0.5 * (from + to);
        };
        let (place, sign) = if minimum.abs() > maximum.abs() { (low, -1.0) } else { (high, 1.0) };
        let offset = if minimum == maximum {
            // Nothing sticks out: the middle of the interval.
            0.5 * (samples.len() - 1) as f64
        } else if place == 0 || place + 1 == samples.len() {
            place as f64
        } else {
            let value = |k: usize| samples.get(k).map_or(0.0, |s| sign * s);
            place as f64 + parabola(value(place - 1), value(place), value(place + 1)).0
        };
        self.sound.time_of(first) + offset * self.sound.dx()
    }

    /// The shift of one period's worth of signal around `time` that matches best.
    fn best_shift(&mut self, time: f64, f0: f64, direction: Direction) -> Option<Match> {
        let sound = self.sound;
        let half = 0.5 / f0;
        let (near, far) = match direction {
            Direction::Left => (time - FARTHEST / f0, time - NEAREST / f0),
            Direction::Right => (time + NEAREST / f0, time + FARTHEST / f0),
        };
        let fixed = sound.nearest_index(time - half);
        let last = sound.nearest_index(time + half);
        let first = sound.low_index(near - half);
        let end = sound.high_index(far - half) + last - fixed;
        self.correlations.clear();
        self.correlations.resize(usize::try_from(end - first - last + fixed + 1).ok()?, 0.0);
        if fixed.min(first) >= 1 && last.max(end) <= sound.samples().len() as i64 {
            let (base, moving) = (sound.between(fixed, last), sound.between(first, end));
            pulp::Arch::new().dispatch(Correlate { base, moving, out: &mut self.correlations });
        } else {
            // At the ends of the sound every shift has another overlap.
            for (moved, to) in (first..).zip(&mut self.correlations) {
                let (a, b) = overlap(sound, fixed, last, moved);
                let product = dot(a, b);
                *to = if product == 0.0 { 0.0 } else { product / (dot(a, a) * dot(b, b)).sqrt() };
            }
        }
        let (mut r2, mut r3) = (0.0, 0.0);
        let mut best: Option<([f64; 3], i64)> = None;
        for (moved, &correlation) in (first..).zip(&self.correlations) {
            let r1 = r2;
            r2 = r3;
            r3 = correlation;
            if r2 > best.map_or(-1.0, |(triple, _)| triple[1]) && r2 >= r1 && r2 >= r3 {
                best = Some(([r1, r2, r3], moved));
            }
        }
        let ([r1, r2, r3], after) = best?;
        // The peak is that of the stretch one step after the maximum; see the traps of the
        // reference implementation.
        let peak = largest_deviation(overlap(sound, fixed, last, after).1, 0.0);
        let (offset, correlation) = parabola(r1, r2, r3);
        let shift = (after - 1) as f64 + offset - fixed as f64;
        Some(Match { time: time + shift * sound.dx(), correlation, peak })
    }
}

/// The fixed stretch `fixed..=last` and the one that starts at `moved`, cut to the samples that
/// exist in both places.
fn overlap<'a>(sound: &Sound<'a>, fixed: i64, last: i64, moved: i64) -> (&'a [f64], &'a [f64]) {
    let count = sound.samples().len() as i64;
    let skip = 0.max(1 - fixed).max(1 - moved);
    let end = (last - fixed).min(count - fixed).min(count - moved);
    (sound.between(fixed + skip, fixed + end), sound.between(moved + skip, moved + end))
}

/// Where the energy of a moving stretch has fallen to this share of its largest, the running sum
/// has lost digits and is made anew.
const RUNNING_ENERGY_SHARE: f64 = 1e-6;

/// Shifts whose correlations are normalised together.
const GROUP: usize = 16;

/// Normalised correlation of a stretch with one of the same length that moves sample by sample.
struct Correlate<'a> {
    base: &'a [f64],
    moving: &'a [f64],
    out: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { base, moving, out } = self;
        sliding_products(base, moving, out);
        let fixed_energy = dot(base, base);
        let mut energy = dot(moving.get(..base.len()).unwrap_or_default(), moving);
        let mut largest = energy;
        let mut edges = moving.iter().zip(moving.iter().skip(base.len()).chain(std::iter::once(&0.0))).enumerate();
        // The running energy is a chain of additions; the divisions are done several at a time.
        for products in out.chunks_mut(GROUP) {
            let mut scales = [0.0; GROUP];
            for (scale, (k, (leaving, entering))) in scales.iter_mut().zip(edges.by_ref().take(products.len())) {
                *scale = fixed_energy * energy;
                energy += entering * entering - leaving * leaving;
                if energy > largest {
                    largest = energy;
                } else if energy <= RUNNING_ENERGY_SHARE * largest {
                    let stretch = moving.get(k + 1..).unwrap_or_default();
                    let stretch = stretch.get(..base.len()).unwrap_or_default();
                    energy = dot(stretch, stretch);
                }
            }
            for (product, scale) in products.iter_mut().zip(&scales) {
                // Without signal on one side there is no correlation.
                *product = if *product == 0.0 { 0.0 } else { *product / scale.sqrt() };
            }
        }
    }
}

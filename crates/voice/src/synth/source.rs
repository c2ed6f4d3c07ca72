//! Pulses, formants and noise.

use std::f64::consts::PI;

use super::random::Random;
use super::{Tract, VoiceSpec};
use crate::pauses::Interval;
use crate::units::SampleRate;

/// Number of vowels to choose from.
pub(super) const VOWELS: usize = 5;

/// First three formants of /a e i o u/ in Hz (Peterson and Barney 1952, rounded).
const FORMANTS_MALE: [[f64; 3]; VOWELS] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [300.0, 2290.0, 3010.0],
    [570.0, 840.0, 2410.0],
    [330.0, 870.0, 2240.0],
];
const FORMANTS_FEMALE: [[f64; 3]; VOWELS] = [
    [850.0, 1220.0, 2810.0],
    [610.0, 2330.0, 2990.0],
    [370.0, 2670.0, 3310.0],
    [590.0, 920.0, 2710.0],
    [400.0, 950.0, 2670.0],
];
const BANDWIDTHS: [f64; 3] = [80.0, 90.0, 140.0];

/// The pulse is computed this much finer than the output and then low-passed.
const OVERSAMPLING: usize = 8;

/// Rise and fall of every syllable in seconds.
const RAMP_S: f64 = 0.03;

/// Share of the mean period in which the glottis is open, and the part of that in which it opens.
const OPEN: f64 = 0.6;
const OPENING: f64 = 0.67;

/// One syllable to be voiced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syllable {
    pub(super) span: Interval,
    pub(super) vowel: usize,
    /// f0 relative to the voice's mean, at the start and at the end.
    pub(super) f0_factor: (f64, f64),
    pub(super) loudness: f64,
}

/// One glottal cycle that was drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cycle {
    pub(super) period_s: f64,
    pub(super) amplitude: f64,
}

/// Voices the syllables and returns the samples and every cycle.
pub(super) fn render(
    voice: &VoiceSpec,
    syllables: &[Syllable],
    seconds: f64,
    rate: SampleRate,
) -> (Vec<f64>, Vec<Cycle>) {
    let mut random = Random::new(voice.seed);
    let fs = rate.hz();
    let count = (seconds * fs).round() as usize;
    let fine_rate = fs * OVERSAMPLING as f64;
    let mut fine = vec![0.0; count * OVERSAMPLING];
    let mut cycles = Vec::new();
    let f0 = voice.f0_hz.clamp(60.0, 450.0);
    for syllable in syllables {
        place_pulses(voice, f0, syllable, fine_rate, &mut fine, &mut random, &mut cycles);
    }
    let mut voiced = decimate(&fine);
    let mut noise: Vec<f64> = (0..count).map(|_| random.gauss()).collect();
    shape(&mut voiced, &mut noise, voice, syllables, fs);
    mix(&mut voiced, &noise, voice, &mut random);
    (voiced, cycles)
}

/// Adds the derivative of glottal flow, one pulse per cycle, each ending at its instant of closure.
///
/// The pulse length does not follow the cycle, so that the instants of closure carry exactly the
/// jitter drawn for the cycles.
fn place_pulses(
    voice: &VoiceSpec,
    f0: f64,
    syllable: &Syllable,
    fine_rate: f64,
    fine: &mut [f64],
    random: &mut Random,
    cycles: &mut Vec<Cycle>,
) {
    // Independent normal deviates differ by 2/sqrt(pi) standard deviations on average.
    let spread = |percent: f64, most: f64| percent.clamp(0.0, most) / 100.0 * PI.sqrt() / 2.0;
    let jitter = spread(voice.jitter_percent, 10.0);
    let shimmer = spread(voice.shimmer_percent, 30.0);
    let span = syllable.span;
    let (from, to) = syllable.f0_factor;
    let open_s = OPEN / f0;
    let mut closure = span.start_s + open_s;
    while closure < span.end_s {
        let place = (closure - span.start_s) / span.duration_s();
        let local_f0 = (f0 * (from + (to - from) * place)).clamp(50.0, 500.0);
        let amplitude = (1.0 + shimmer * random.gauss()).clamp(0.1, 2.0);
        let period_s = (1.0 + jitter * random.gauss()).clamp(0.5, 1.5) / local_f0;
        cycles.push(Cycle { period_s, amplitude });
        let start = (closure - open_s) * fine_rate;
        let length = open_s * fine_rate;
        let first = start.ceil().max(0.0) as usize;
        let last = ((start + length + 0.5).ceil().max(0.0) as usize).min(fine.len());
        for (value, n) in fine.get_mut(first..last).unwrap_or_default().iter_mut().zip(first..) {
            let phase = (n as f64 - start) / length;
            // Rosenberg (1971), pulse C: half a cosine up, a quarter down.
            let slope = if phase < OPENING {
                0.5 * PI / OPENING * (PI * phase / OPENING).sin()
            } else {
                let closing = 1.0 - OPENING;
                -0.5 * PI / closing * (0.5 * PI * (phase - OPENING) / closing).sin()
            };
            // The flow's derivative breaks off at closure. Giving the last sample its share of the
            // step places the closure between samples instead of on one.
            let share = (start + length - n as f64 + 0.5).clamp(0.0, 1.0);
            *value += amplitude * share * slope;
        }
        closure += period_s;
    }
}

/// Low-pass at 0.45 of the output rate (Kaiser window) and keep every eighth sample.
fn decimate(fine: &[f64]) -> Vec<f64> {
    const HALF: usize = 16 * OVERSAMPLING;
    let taps: Vec<f64> = (0..=2 * HALF)
        .map(|k| {
            let x = (k as f64 - HALF as f64) / OVERSAMPLING as f64;
            let window = (k as f64 - HALF as f64) / (HALF as f64 + 1.0);
            let angle = 2.0 * PI * 0.45 * x;
            let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
            sinc * crate::math::bessel_i0(7.0 * (1.0 - window * window).sqrt())
        })
        .collect();
    let gain: f64 = taps.iter().sum();
    (0..fine.len() / OVERSAMPLING)
        .map(|n| {
            let centre = n * OVERSAMPLING;
            let skip = HALF.saturating_sub(centre);
            let from = centre.saturating_sub(HALF);
            let to = (centre + HALF + 1).min(fine.len());
            let samples = fine.get(from..to).unwrap_or_default();
            crate::math::dot(samples, taps.get(skip..).unwrap_or_default()) / gain
        })
        .collect()
}

/// Runs both parts through the vocal tract and gives every syllable its rise and fall.
fn shape(voiced: &mut [f64], noise: &mut [f64], voice: &VoiceSpec, syllables: &[Syllable], fs: f64) {
    let mut tracts = (Resonators::new(fs), Resonators::new(fs));
    let mut upcoming = syllables.iter().peekable();
    let mut previous_noise = 0.0;
    for (n, (v, w)) in voiced.iter_mut().zip(noise.iter_mut()).enumerate() {
        let t = n as f64 / fs;
        while upcoming.next_if(|s| s.span.end_s < t).is_some() {}
        let mut envelope = 0.0;
        if let Some(syllable) = upcoming.peek().filter(|s| s.span.start_s <= t) {
            if tracts.0.vowel != Some(syllable.vowel) {
                tracts.0.tune(syllable.vowel, voice.tract);
                tracts.1.tune(syllable.vowel, voice.tract);
            }
            let inside = (t - syllable.span.start_s).min(syllable.span.end_s - t);
            let ramp = (inside / RAMP_S).clamp(0.0, 1.0);
            envelope = syllable.loudness * (0.5 - 0.5 * (PI * ramp).cos());
        }
        // Aspiration rises with frequency.
        let white = *w;
        let hiss = white - 0.9 * previous_noise;
        previous_noise = white;
        *v = envelope * tracts.0.step(*v);
        *w = envelope * tracts.1.step(hiss);
    }
}

/// Sets HNR and level and adds the background.
fn mix(voiced: &mut [f64], noise: &[f64], voice: &VoiceSpec, random: &mut Random) {
    let energy = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
    if let Some(hnr) = voice.hnr_db {
        let wanted = energy(voiced) / 10_f64.powf(hnr.clamp(-20.0, 100.0) / 10.0);
        let gain = (wanted / energy(noise).max(f64::MIN_POSITIVE)).sqrt();
        for (v, w) in voiced.iter_mut().zip(noise) {
            *v += gain * w;
        }
    }
    let peak = voiced.iter().fold(0.0, |p: f64, v| p.max(v.abs()));
    let level = |dbfs: f64| 10_f64.powf(dbfs.clamp(-120.0, 0.0) / 20.0);
    let gain = if peak > 0.0 { level(voice.peak_dbfs) / peak } else { 0.0 };
    let background = voice.background_dbfs.map_or(0.0, level);
    for v in voiced.iter_mut() {
        *v = (gain * *v + background * random.gauss()).clamp(-1.0, 1.0);
    }
}

/// Formants in cascade, each a two-pole resonator with unit gain at 0 Hz.
struct Resonators {
    fs: f64,
    vowel: Option<usize>,
    poles: [Pole; 3],
}

#[derive(Clone, Copy, Default)]
struct Pole {
    gain: f64,
    first: f64,
    second: f64,
    y1: f64,
    y2: f64,
}

impl Resonators {
    fn new(fs: f64) -> Self {
        Self { fs, vowel: None, poles: [Pole::default(); 3] }
    }

    fn tune(&mut self, vowel: usize, tract: Tract) {
        let table = match tract {
            Tract::Male => &FORMANTS_MALE,
            Tract::Female => &FORMANTS_FEMALE,
        };
        let formants = table.get(vowel).or(table.first()).copied().unwrap_or_default();
        for ((pole, f), b) in self.poles.iter_mut().zip(formants).zip(BANDWIDTHS) {
            let radius = (-PI * b / self.fs).exp();
            pole.first = 2.0 * radius * (2.0 * PI * f / self.fs).cos();
            pole.second = radius * radius;
            pole.gain = 1.0 - pole.first + pole.second;
        }
        self.vowel = Some(vowel);
    }

    fn step(&mut self, input: f64) -> f64 {
        let mut value = input;
        for pole in &mut self.poles {
            let y = pole.gain * value + pole.first * pole.y1 - pole.second * pole.y2;
            (pole.y2, pole.y1) = (pole.y1, y);
            value = y;
        }
        value
    }
}

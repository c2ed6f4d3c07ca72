//! Synthetic voices with known truth, for tests and simulated callers.
//!
//! A source-filter model: glottal pulses placed one by one at exact (real-valued) instants of
//! closure, a cascade of formant resonators, and aspiration noise through the same resonators. So
//! period and amplitude of every cycle and the harmonics-to-noise ratio are known. Deterministic:
//! equal settings give equal samples on every machine with IEEE arithmetic.
//!
//! Not a model of any patient or disease.

mod random;
mod source;
mod truth;

use random::Random;
use source::{Syllable, render};
pub use truth::{SpeechTruth, VowelTruth};

use crate::g711;
use crate::pauses::Interval;
use crate::units::SampleRate;

/// Longest recording that is made, in seconds.
pub const MAX_SECONDS: f64 = 600.0;

/// Size of the vocal tract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tract {
    /// Formants of an average man.
    #[default]
    Male,
    /// Formants of an average woman.
    Female,
}

/// A voice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoiceSpec {
    /// Mean fundamental frequency in Hz, limited to 60..=450.
    pub f0_hz: f64,
    /// Expected local jitter of the instants of closure in percent, limited to 0..=10.
    pub jitter_percent: f64,
    /// Expected local shimmer of the pulse amplitudes in percent, limited to 0..=30.
    pub shimmer_percent: f64,
    /// Ratio of voice to aspiration noise in dB; `None` for no noise at all.
    pub hnr_db: Option<f64>,
    /// Size of the vocal tract.
    pub tract: Tract,
    /// Peak of the recording in dBFS.
    pub peak_dbfs: f64,
    /// RMS level of steady background noise in dBFS; `None` for digital silence.
    pub background_dbfs: Option<f64>,
    /// Another seed gives another utterance of the same voice.
    pub seed: u64,
}

impl Default for VoiceSpec {
    /// A healthy man's voice on a quiet line.
    fn default() -> Self {
        Self {
            f0_hz: 120.0,
            jitter_percent: 0.4,
            shimmer_percent: 2.5,
            hnr_db: Some(22.0),
            tract: Tract::Male,
            peak_dbfs: -9.0,
            background_dbfs: Some(-62.0),
            seed: 1,
        }
    }
}

/// How somebody counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountingSpec {
    /// Numbers spoken, 1, 2, 3, ...
    pub numbers: usize,
    /// Syllables per second within a number.
    pub syllables_per_s: f64,
    /// Pause between numbers in seconds.
    pub pause_s: f64,
    /// Numbers per breath; 0 for a single breath.
    pub numbers_per_breath: usize,
    /// Pause for breath in seconds.
    pub breath_pause_s: f64,
}

impl Default for CountingSpec {
    fn default() -> Self {
        Self { numbers: 20, syllables_per_s: 4.0, pause_s: 0.3, numbers_per_breath: 10, breath_pause_s: 0.7 }
    }
}

/// How somebody talks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TalkSpec {
    /// Length of the recording in seconds.
    pub seconds: f64,
    /// Syllables per second within a phrase.
    pub syllables_per_s: f64,
    /// Syllables between pauses for breath, about.
    pub syllables_per_breath: usize,
    /// Pause for breath in seconds, about.
    pub breath_pause_s: f64,
}

impl Default for TalkSpec {
    fn default() -> Self {
        Self { seconds: 30.0, syllables_per_s: 4.5, syllables_per_breath: 14, breath_pause_s: 0.6 }
    }
}

/// A recording and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording<T> {
    /// Samples on the scale -1..1.
    pub samples: Vec<f64>,
    /// What a perfect analysis would find.
    pub truth: T,
}

impl<T> Recording<T> {
    /// The samples as 16-bit integers.
    #[must_use]
    pub fn to_pcm16(&self) -> Vec<i16> {
        // `as` saturates.
        self.samples.iter().map(|s| (s * g711::FULL_SCALE).round() as i16).collect()
    }

    /// The samples as mu-law.
    #[must_use]
    pub fn to_ulaw(&self) -> Vec<u8> {
        self.to_pcm16().into_iter().map(g711::ulaw_encode).collect()
    }
}

/// A held vowel "ah" with 0.2 s of background before and after.
#[must_use]
pub fn sustained_vowel(voice: &VoiceSpec, seconds: f64, rate: SampleRate) -> Recording<VowelTruth> {
    const MARGIN_S: f64 = 0.2;
    let seconds = seconds.clamp(0.1, MAX_SECONDS);
    let syllable = Syllable {
        span: Interval { start_s: MARGIN_S, end_s: MARGIN_S + seconds },
        vowel: 0,
        f0_factor: (1.0, 1.0),
        loudness: 1.0,
    };
    let (samples, cycles) = render(voice, &[syllable], seconds + 2.0 * MARGIN_S, rate);
    Recording { samples, truth: VowelTruth::of(voice, &cycles) }
}

/// Counting: numbers of one to three syllables with pauses of known place and length.
#[must_use]
pub fn counting(voice: &VoiceSpec, spec: &CountingSpec, rate: SampleRate) -> Recording<SpeechTruth> {
    let mut random = Random::new(voice.seed ^ 0xC0_0417);
    let mut plan = Plan::new(0.3, spec.syllables_per_s);
    for number in 1..=spec.numbers.min(200) {
        plan.phrase(syllables_of(number), false, &mut random);
        let breath = spec.numbers_per_breath > 0 && number % spec.numbers_per_breath == 0;
        plan.pause(if breath { spec.breath_pause_s } else { spec.pause_s });
    }
    plan.finish(voice, None, rate)
}

/// Running speech: phrases of varied length and melody with pauses for breath.
#[must_use]
pub fn talk(voice: &VoiceSpec, spec: &TalkSpec, rate: SampleRate) -> Recording<SpeechTruth> {
    let mut random = Random::new(voice.seed ^ 0x7A_1C00);
    let mut plan = Plan::new(0.3, spec.syllables_per_s);
    let seconds = spec.seconds.clamp(1.0, MAX_SECONDS);
    let mean = spec.syllables_per_breath.clamp(2, 100) as f64;
    while plan.time < seconds {
        let length = (mean * (0.7 + 0.6 * random.unit())).round().max(1.0);
        plan.phrase(length as usize, true, &mut random);
        plan.pause(spec.breath_pause_s * (0.8 + 0.4 * random.unit()));
    }
    plan.finish(voice, Some(seconds), rate)
}

/// Syllables of the English numbers.
fn syllables_of(number: usize) -> usize {
    match number {
        7 | 13..=16 | 18..=20 | 30 | 40 | 50 | 60 | 80 | 90 => 2,
        11 | 17 | 70 => 3,
        n if n > 20 => syllables_of(n / 10 % 10 * 10) + syllables_of(n % 10),
        _ => 1,
    }
}

/// Syllables being laid out in time.
struct Plan {
    time: f64,
    syllable_s: f64,
    syllables: Vec<Syllable>,
    phrases: Vec<Interval>,
}

impl Plan {
    fn new(lead_s: f64, syllables_per_s: f64) -> Self {
        Self {
            time: lead_s,
            syllable_s: 1.0 / syllables_per_s.clamp(0.5, 12.0),
            syllables: Vec::new(),
            phrases: Vec::new(),
        }
    }

    fn phrase(&mut self, syllables: usize, melody: bool, random: &mut Random) {
        let start_s = self.time;
        for k in 0..syllables {
            let place = k as f64 / syllables as f64;
            // Speech drifts down by some three semitones per breath, with accents.
            let fall = |place: f64| 2_f64.powf((1.5 - 3.0 * place) / 12.0);
            let accent = if melody { 2_f64.powf(1.2 * random.gauss() / 12.0) } else { 1.0 };
            let next = place + 1.0 / syllables as f64;
            self.syllables.push(Syllable {
                span: Interval { start_s: self.time, end_s: self.time + self.syllable_s },
                vowel: random.below(source::VOWELS),
                f0_factor: (accent * fall(place), accent * fall(next)),
                loudness: 0.75 + 0.25 * random.unit(),
            });
            self.time += self.syllable_s;
        }
        self.phrases.push(Interval { start_s, end_s: self.time });
    }

    fn pause(&mut self, seconds: f64) {
        self.time += seconds.clamp(0.0, 30.0);
    }

    fn finish(mut self, voice: &VoiceSpec, seconds: Option<f64>, rate: SampleRate) -> Recording<SpeechTruth> {
        let seconds = seconds.unwrap_or(self.time).min(MAX_SECONDS);
        self.syllables.retain(|s| s.span.end_s <= seconds);
        self.phrases.retain(|p| p.start_s + self.syllable_s <= seconds);
        if let (Some(phrase), Some(syllable)) = (self.phrases.last_mut(), self.syllables.last()) {
            phrase.end_s = phrase.end_s.min(syllable.span.end_s);
        }
        let (samples, cycles) = render(voice, &self.syllables, seconds, rate);
        Recording { samples, truth: SpeechTruth::of(self.syllables.len(), self.phrases, &cycles) }
    }
}

#[cfg(test)]
#[path = "synth_tests.rs"]
mod tests;

//! Voices made from nothing: a sustained vowel, babble that sounds like speech, and plain tones, all 8 kHz mu-law.

use crate::rng::Rng;
use std::f64::consts::TAU;
use voice::g711::ulaw_encode;

const RATE: f64 = 8_000.0;
/// Formants of "ah": frequency and bandwidth in hertz (Peterson and Barney 1952, men).
const AH: [(f64, f64); 3] = [(730.0, 90.0), (1_090.0, 110.0), (2_440.0, 170.0)];
/// Formant sets babble wanders through.
const BABBLE: [[(f64, f64); 3]; 4] = [
    AH,
    [(270.0, 60.0), (2_290.0, 150.0), (3_010.0, 200.0)],
    [(300.0, 70.0), (870.0, 100.0), (2_240.0, 170.0)],
    [(530.0, 80.0), (1_840.0, 130.0), (2_480.0, 180.0)],
];
/// Peak level, about -10 dBFS.
const PEAK: f64 = 10_000.0;

/// How a synthetic voice sounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Voice {
    /// Pitch in hertz.
    pub f0_hz: f64,
    /// Variation of the period from cycle to cycle, as a fraction.
    pub jitter: f64,
    /// Variation of the amplitude from cycle to cycle, as a fraction.
    pub shimmer: f64,
    /// Share of breath noise.
    pub breath: f64,
}

/// A sustained "ah".
#[must_use]
pub fn vowel(voice: &Voice, ms: u64, seed: u64) -> Vec<u8> {
    let mut rng = Rng::named(seed, "vowel");
    let mut samples = voiced(voice, ms as usize * 8, &AH, &mut rng);
    fade(&mut samples, 240);
    encode(&samples)
}

/// Something like speech, as long as the text takes to say: syllables with pauses between words.
#[must_use]
pub fn babble(text: &str, seed: u64) -> Vec<u8> {
    let mut rng = Rng::named(seed ^ text.len() as u64, "babble");
    let base = 90.0 + 120.0 * rng.unit();
    let mut samples = Vec::new();
    for word in text.split_whitespace() {
        let syllables = word.chars().filter(|c| "aeiouyAEIOUY".contains(*c)).count().clamp(1, 4);
        for _ in 0..syllables {
            let f0_hz = base * (0.9 + 0.25 * rng.unit());
            let voice = Voice { f0_hz, jitter: 0.01, shimmer: 0.05, breath: 0.03 };
            let formants = BABBLE.get(rng.between(0, 3) as usize).unwrap_or(&AH);
            let mut syllable = voiced(&voice, rng.between(120, 190) as usize * 8, formants, &mut rng);
            fade(&mut syllable, 160);
            samples.extend(syllable);
        }
        let pause = if word.ends_with(['.', '?', '!', ',']) { 180 } else { 45 };
        samples.resize(samples.len() + pause * 8, 0.0);
    }
    encode(&samples)
}

/// A sine tone.
#[must_use]
pub fn tone(hz: f64, ms: u64) -> Vec<u8> {
    (0..ms * 8).map(|n| ulaw_encode((8_000.0 * (TAU * hz * n as f64 / RATE).sin()) as i16)).collect()
}

/// How long a text-to-speech voice takes for `text`: about 15 characters per second.
#[must_use]
pub fn speaking_ms(text: &str) -> u64 {
    250 + 65 * text.chars().count() as u64
}

/// A pulse train with jitter, shimmer and breath through second-order resonators.
fn voiced(voice: &Voice, len: usize, formants: &[(f64, f64); 3], rng: &mut Rng) -> Vec<f64> {
    let mut source = vec![0.0; len];
    let mut at = 0.0;
    while (at as usize) < len {
        let amplitude = 1.0 + voice.shimmer * (2.0 * rng.unit() - 1.0);
        if let Some(sample) = source.get_mut(at as usize) {
            *sample = amplitude;
        }
        at += RATE / voice.f0_hz * (1.0 + voice.jitter * (2.0 * rng.unit() - 1.0));
    }
    let mut out = vec![0.0; len];
    for (frequency, bandwidth) in formants {
        let r = (-std::f64::consts::PI * bandwidth / RATE).exp();
        let (a1, a2) = (2.0 * r * (TAU * frequency / RATE).cos(), -r * r);
        let gain = 1.0 - r;
        let (mut y1, mut y2) = (0.0, 0.0);
        for (sample, pulse) in out.iter_mut().zip(&source) {
            let noise = voice.breath * (2.0 * rng.unit() - 1.0) * 0.3;
            let y = gain * (pulse + noise) + a1 * y1 + a2 * y2;
            (y2, y1) = (y1, y);
            *sample += y;
        }
    }
    let peak = out.iter().fold(1e-9_f64, |max, s| max.max(s.abs()));
    out.iter_mut().for_each(|s| *s *= PEAK / peak);
    out
}

fn fade(samples: &mut [f64], len: usize) {
    let total = samples.len();
    for (n, sample) in samples.iter_mut().enumerate() {
        let edge = n.min(total - 1 - n);
        if edge < len {
            *sample *= edge as f64 / len as f64;
        }
    }
}

fn encode(samples: &[f64]) -> Vec<u8> {
    samples.iter().map(|&s| ulaw_encode(s as i16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_voices_have_the_right_length_and_are_reproducible() {
        let voice = Voice { f0_hz: 120.0, jitter: 0.01, shimmer: 0.02, breath: 0.02 };
        assert_eq!(vowel(&voice, 1_000, 3).len(), 8_000);
        assert_eq!(vowel(&voice, 500, 3), vowel(&voice, 500, 3));
        assert_ne!(babble("hello there", 3), babble("hello there", 4));
        assert!(babble("", 1).is_empty());
        assert_eq!(tone(1_000.0, 20).len(), 160);
    }
}

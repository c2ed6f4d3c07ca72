//! Voices made from nothing: speech without words, as long as a text takes to say, and plain tones; 8 kHz mu-law.

use crate::rng::Rng;
use std::f64::consts::TAU;
use voice::SampleRate;
use voice::g711::ulaw_encode;
use voice::synth::{TalkSpec, Tract, VoiceSpec, sustained_vowel, talk};

/// Background before the first syllable, which is cut off.
const LEAD_BYTES: usize = 2_240;

/// Something like speech, as long as the text takes to say.
#[must_use]
pub fn babble(text: &str, seed: u64) -> Vec<u8> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut rng = Rng::named(seed ^ text.len() as u64, "babble");
    let voice = VoiceSpec { f0_hz: 100.0 + 110.0 * rng.unit(), seed: rng.next_u64(), ..VoiceSpec::default() };
    let seconds = speaking_ms(text) as f64 / 1_000.0;
    let spec = TalkSpec { seconds: seconds + LEAD_BYTES as f64 / 8_000.0, ..TalkSpec::default() };
    talk(&voice, &spec, SampleRate::TELEPHONE).to_ulaw().split_off(LEAD_BYTES)
}

/// A held "ah" of this length, with a margin of background before and after.
#[must_use]
pub fn vowel(f0_hz: f64, jitter_percent: f64, shimmer_percent: f64, hnr_db: f64, ms: u64) -> Vec<u8> {
    let tract = if f0_hz > 160.0 { Tract::Female } else { Tract::Male };
    let voice =
        VoiceSpec { f0_hz, jitter_percent, shimmer_percent, hnr_db: Some(hnr_db), tract, ..VoiceSpec::default() };
    sustained_vowel(&voice, ms as f64 / 1_000.0, SampleRate::TELEPHONE).to_ulaw()
}

/// A sine tone.
#[must_use]
pub fn tone(hz: f64, ms: u64) -> Vec<u8> {
    (0..ms * 8).map(|n| ulaw_encode((8_000.0 * (TAU * hz * n as f64 / 8_000.0).sin()) as i16)).collect()
}

/// How long a text-to-speech voice takes for `text`: about 15 characters per second.
#[must_use]
pub fn speaking_ms(text: &str) -> u64 {
    250 + 65 * text.chars().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_voices_have_the_right_length_and_are_reproducible() {
        assert!(vowel(120.0, 0.5, 2.0, 20.0, 1_000).len() >= 8_000);
        assert_eq!(babble("hello there", 3), babble("hello there", 3));
        assert_ne!(babble("hello there", 3), babble("hello there", 4));
        let text = "How have you been since we last spoke?";
        assert!((babble(text, 1).len() as u64 / 8).abs_diff(speaking_ms(text)) < 400);
        assert!(babble("", 1).is_empty());
        assert_eq!(tone(1_000.0, 20).len(), 160);
    }
}

//! What a patient hears while one agent stands in for another: never silence, never half a sentence.

use std::sync::LazyLock;
use voice::g711;

/// "One moment, please. I am still here.", made by `assets/bridge/make.sh` from the protocol's words.
const EN: &[u8] = include_bytes!("../assets/bridge/en.ulaw");
const ES: &[u8] = include_bytes!("../assets/bridge/es.ulaw");

/// A short phrase in the language (`es` also for `es-mx`), or a soft tone where there is none; 8 kHz mu-law.
#[must_use]
pub fn phrase(language: &str) -> &'static [u8] {
    match language.split('-').next() {
        Some("en") => EN,
        Some("es") => ES,
        _ => comfort_tone(),
    }
}

/// Two soft tones, for languages without a phrase; 8 kHz mu-law.
#[must_use]
pub fn comfort_tone() -> &'static [u8] {
    static TONE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let tone = |hertz: f64| {
            (0..2_400_u32).map(move |n| {
                let seconds = f64::from(n) / 8_000.0;
                let fade = (f64::from(n).min(f64::from(2_400 - n)) / 400.0).min(1.0);
                ((seconds * hertz * std::f64::consts::TAU).sin() * fade * 5_000.0) as i16
            })
        };
        tone(440.0).chain(tone(554.0)).map(g711::ulaw_encode).collect()
    });
    &TONE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use voice::activity::ActivityDetector;

    /// Milliseconds in which our own detector hears somebody speak.
    fn speech_ms(ulaw: &[u8]) -> u64 {
        let mut detector = ActivityDetector::new();
        ulaw.chunks(160).filter(|piece| detector.push_ulaw(piece).speech).count() as u64 * 20
    }

    #[test]
    fn phrases_are_short_loud_enough_and_speech() {
        for language in ["en", "es", "es-mx"] {
            let ulaw = phrase(language);
            let ms = ulaw.len() / 8;
            assert!((1_500..=2_600).contains(&ms), "{language}: {ms} ms");
            let peak = ulaw.iter().map(|&code| i32::from(g711::ulaw_decode(code)).abs()).max().unwrap_or(0);
            // -3 dBFS, as near as mu-law comes to it.
            assert!((21_000..=24_500).contains(&peak), "{language}: {peak}");
            let speech = speech_ms(ulaw);
            assert!(speech > 1_000, "{language}: speech in {speech} ms of {ms}");
            // Nothing of it begins or ends with a click.
            for edge in [&ulaw[..80], &ulaw[ulaw.len() - 80..]] {
                assert!(edge.iter().all(|&code| g711::ulaw_decode(code).abs() < 1_000), "{language}");
            }
        }
        assert_ne!(phrase("en"), phrase("es"));
    }

    #[test]
    fn other_languages_hear_a_soft_tone() {
        let tone = phrase("vi");
        assert_eq!(tone, comfort_tone());
        assert_eq!(tone.len(), 4_800);
        let peak = tone.iter().map(|&code| i32::from(g711::ulaw_decode(code)).abs()).max().unwrap_or(0);
        assert!((4_000..=6_000).contains(&peak), "{peak}");
    }
}

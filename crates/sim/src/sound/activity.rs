//! Who is speaking: an energy detector on mu-law sound.

use voice::g711::ulaw_decode;

/// Bytes judged together: 20 ms.
const FRAME: usize = 160;
/// A frame whose RMS is above this counts as loud. Line noise is below 60, soft speech above 400 on the 16-bit scale.
const LOUD_RMS: f64 = 250.0;
/// Loud frames in a row before it counts as speech (60 ms), so that a click does not.
const ONSET_FRAMES: u64 = 3;
/// Gaps up to this do not end speech, in milliseconds.
const HANGOVER_MS: u64 = 200;

/// Tells speech from silence as sound streams in, in time counted by the sound itself.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    partial: Vec<u8>,
    loud_run: u64,
    speaking: bool,
    speech_ms: u64,
    silence_ms: u64,
    total_speech_ms: u64,
}

impl Activity {
    /// Takes the next bytes, of any number.
    pub fn push(&mut self, ulaw: &[u8]) {
        self.partial.extend_from_slice(ulaw);
        let whole = self.partial.len() / FRAME * FRAME;
        let frames: Vec<u8> = self.partial.drain(..whole).collect();
        for frame in frames.chunks_exact(FRAME) {
            self.frame(frame);
        }
    }

    fn frame(&mut self, frame: &[u8]) {
        let loud = rms(frame) > LOUD_RMS;
        self.loud_run = if loud { self.loud_run + 1 } else { 0 };
        if loud {
            if self.speaking {
                self.speech_ms += 20 + self.silence_ms;
                self.total_speech_ms += 20;
                self.silence_ms = 0;
            } else if self.loud_run >= ONSET_FRAMES {
                self.speaking = true;
                self.speech_ms = 20 * ONSET_FRAMES;
                self.total_speech_ms += 20 * ONSET_FRAMES;
                self.silence_ms = 0;
            } else {
                self.silence_ms += 20;
            }
        } else {
            self.silence_ms += 20;
            if self.speaking && self.silence_ms > HANGOVER_MS {
                self.speaking = false;
            }
        }
    }

    /// Whether somebody is speaking now (short gaps included).
    #[must_use]
    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Length of the current stretch of speech; 0 in silence.
    #[must_use]
    pub fn speech_ms(&self) -> u64 {
        if self.speaking { self.speech_ms } else { 0 }
    }

    /// Silence since the last loud sound.
    #[must_use]
    pub fn silence_ms(&self) -> u64 {
        self.silence_ms
    }

    /// Speech heard since the last [`Activity::reset`].
    #[must_use]
    pub fn total_speech_ms(&self) -> u64 {
        self.total_speech_ms
    }

    /// Forgets what was heard, as at the start of a turn.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn rms(frame: &[u8]) -> f64 {
    let sum: f64 = frame.iter().map(|&b| f64::from(ulaw_decode(b)).powi(2)).sum();
    (sum / frame.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::sound::synth;

    #[test]
    fn speech_silence_and_clicks() {
        let mut activity = Activity::default();
        activity.push(&[0xFF; 1600]);
        assert!(!activity.is_speaking());
        assert_eq!(activity.silence_ms(), 200);
        // A 20 ms click is not speech.
        activity.push(&synth::tone(800.0, 20));
        assert!(!activity.is_speaking());
        activity.push(&[0xFF; 800]);
        activity.push(&synth::tone(800.0, 400));
        assert!(activity.is_speaking());
        assert!((380..=400).contains(&activity.speech_ms()), "{}", activity.speech_ms());
        // Bytes may come in any pieces.
        for byte in [0xFF_u8; 5_600] {
            activity.push(&[byte]);
        }
        assert!(!activity.is_speaking());
        assert_eq!(activity.silence_ms(), 700);
    }

    #[test]
    fn clips_are_heard_from_start_to_end() {
        for name in ["patient_weight_182", "librivox_0880", "vowel_steady", "agent_greeting"] {
            let clip = crate::assets::clip(name).unwrap();
            let mut activity = Activity::default();
            activity.push(&clip.ulaw);
            assert!(activity.total_speech_ms() * 10 > clip.duration_ms() * 6, "{name}: {}", activity.total_speech_ms());
        }
    }
}

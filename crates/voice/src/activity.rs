//! Live speech detection on the telephone line: one decision per media frame, no allocation.
//!
//! Meant for barge-in and turn-taking, where a decision is needed within a few frames. Pauses that
//! are *measured* come from [`crate::pauses`], which sees the whole recording.
//!
//! Method: frame energy against an adaptive noise floor (fall fast, rise slowly), with separate
//! thresholds to start and to go on, a short confirmation before onset and a hangover after it.

use crate::g711;

/// Decisions are made on stretches of this many samples (20 ms at 8 kHz).
const STEP: usize = 160;

/// Level given to digital silence; one code step of mu-law is already -72 dBFS.
const SILENCE_DBFS: f64 = -96.0;

/// The floor never goes below this, so that digital silence does not make comfort noise speech.
const LOWEST_FLOOR_DBFS: f64 = -65.0;

/// The floor never goes above this: louder than that is somebody talking, whatever the trend.
const HIGHEST_FLOOR_DBFS: f64 = -25.0;

/// Where the floor starts before anything was heard: an ordinary quiet line.
const INITIAL_FLOOR_DBFS: f64 = -55.0;

/// Speech starts this far above the floor and goes on until it is only `KEEP_DB` above.
const START_DB: f64 = 10.0;
const KEEP_DB: f64 = 6.0;

/// Nothing quieter than this starts speech (the level gate for usable speech is -42 dBFS peak).
const START_GATE_DBFS: f64 = -50.0;

/// Two consecutive loud steps confirm an onset; one alone is a click.
const CONFIRM_STEPS: u32 = 2;

/// Steps speech is held after the last loud one (200 ms), bridging stop closures inside words.
const HANGOVER_STEPS: u32 = 10;

/// Share of the distance the floor falls per step towards a quieter level.
const FALL_RATE: f64 = 0.25;

/// Rise of the floor in dB per step: between words, in noise-like sound, and in voice-like sound.
///
/// The last is so slow (0.5 dB/s) because a sustained vowel must stay speech for half a minute.
const RISE_QUIET_DB: f64 = 0.1;
const RISE_NOISE_DB: f64 = 0.06;
const RISE_VOICE_DB: f64 = 0.01;

/// Zero crossings per sample above which a step is noise-like rather than voiced.
const NOISE_CROSSINGS: f64 = 0.3;

/// What the detector says about the frame just pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Activity {
    /// Whether somebody is speaking, with hangover.
    pub speech: bool,
    /// RMS level of the frame in dB re full scale, -96 for digital silence.
    pub level_dbfs: f64,
}

/// Frame-level speech detector for one direction of one 8 kHz call.
#[derive(Debug, Clone)]
pub struct ActivityDetector {
    floor_dbfs: f64,
    speech: bool,
    loud_steps: u32,
    hangover: u32,
    /// The step being filled, so that frames of any size give the same decisions.
    filled: usize,
    energy: f64,
    sum: f64,
    crossings: u32,
    last_negative: bool,
}

impl Default for ActivityDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl ActivityDetector {
    /// A detector that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            floor_dbfs: INITIAL_FLOOR_DBFS,
            speech: false,
            loud_steps: 0,
            hangover: 0,
            filled: 0,
            energy: 0.0,
            sum: 0.0,
            crossings: 0,
            last_negative: false,
        }
    }

    /// Takes one mu-law frame of any size and says what the line carries now.
    ///
    /// Speech begins 40 ms after its onset and ends 200 ms after the last loud step.
    pub fn push_ulaw(&mut self, frame: &[u8]) -> Activity {
        let mut heard = false;
        let mut frame_energy = 0.0;
        let mut decided = false;
        for &code in frame {
            let sample = f64::from(g711::ulaw_decode(code)) / g711::FULL_SCALE;
            frame_energy += sample * sample;
            self.take(sample);
            if self.filled == STEP {
                self.decide();
                decided = true;
                heard |= self.speech;
            }
        }
        Activity { speech: if decided { heard } else { self.speech }, level_dbfs: level(frame_energy, frame.len()) }
    }

    /// The present estimate of the background level in dB re full scale.
    #[must_use]
    pub fn noise_floor_dbfs(&self) -> f64 {
        self.floor_dbfs
    }

    fn take(&mut self, sample: f64) {
        self.energy += sample * sample;
        self.sum += sample;
        let negative = sample < 0.0;
        self.crossings += u32::from(negative != self.last_negative);
        self.last_negative = negative;
        self.filled += 1;
    }

    fn decide(&mut self) {
        let count = self.filled as f64;
        // A constant offset (mu-law silence decoding to +-8) is not sound.
        let energy = (self.energy - self.sum * self.sum / count).max(0.0);
        let dbfs = level(energy, self.filled);
        let noise_like = f64::from(self.crossings) > NOISE_CROSSINGS * count;
        self.filled = 0;
        self.energy = 0.0;
        self.sum = 0.0;
        self.crossings = 0;

        let margin = if self.speech { KEEP_DB } else { START_DB };
        let loud = dbfs > self.floor_dbfs + margin && (self.speech || dbfs > START_GATE_DBFS);
        self.loud_steps = if loud { self.loud_steps + 1 } else { 0 };
        if loud && (self.speech || self.loud_steps >= CONFIRM_STEPS) {
            self.speech = true;
            self.hangover = HANGOVER_STEPS;
        } else if self.hangover > 0 {
            self.hangover -= 1;
        } else {
            self.speech = false;
        }
        self.follow(dbfs, loud, noise_like);
    }

    fn follow(&mut self, dbfs: f64, loud: bool, noise_like: bool) {
        let difference = dbfs - self.floor_dbfs;
        self.floor_dbfs += if difference < 0.0 {
            FALL_RATE * difference
        } else {
            let rise = match (loud, noise_like) {
                (false, _) => RISE_QUIET_DB,
                (true, true) => RISE_NOISE_DB,
                (true, false) => RISE_VOICE_DB,
            };
            rise.min(difference)
        };
        self.floor_dbfs = self.floor_dbfs.clamp(LOWEST_FLOOR_DBFS, HIGHEST_FLOOR_DBFS);
    }
}

fn level(energy: f64, samples: usize) -> f64 {
    if samples == 0 || energy <= 0.0 {
        return SILENCE_DBFS;
    }
    (10.0 * (energy / samples as f64).log10()).max(SILENCE_DBFS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Buzz of `seconds` at an amplitude, as mu-law; amplitude 0 is silence.
    fn buzz(seconds: f64, amplitude: f64) -> Vec<u8> {
        (0..(seconds * 8000.0) as usize)
            .map(|n| {
                let phase = std::f64::consts::TAU * n as f64 / 8000.0;
                let value: f64 = (1..6).map(|k| (phase * 130.0 * f64::from(k)).sin()).sum();
                g711::ulaw_encode((value * amplitude) as i16)
            })
            .collect()
    }

    fn noise(seconds: f64, amplitude: f64) -> Vec<u8> {
        let mut state = 1_u32;
        (0..(seconds * 8000.0) as usize)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let unit = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
                g711::ulaw_encode((unit * amplitude) as i16)
            })
            .collect()
    }

    fn run(detector: &mut ActivityDetector, bytes: &[u8]) -> Vec<bool> {
        bytes.chunks(STEP).map(|f| detector.push_ulaw(f).speech).collect()
    }

    #[test]
    fn silence_is_not_speech_and_has_the_lowest_level() {
        let mut detector = ActivityDetector::new();
        let activity = detector.push_ulaw(&[g711::ULAW_SILENCE; 160]);
        assert_eq!(activity, Activity { speech: false, level_dbfs: SILENCE_DBFS });
        assert!(!detector.push_ulaw(&[]).speech);
    }

    #[test]
    fn onset_takes_40_ms_and_the_end_200_ms() {
        let mut detector = ActivityDetector::new();
        run(&mut detector, &noise(1.0, 20.0));
        assert_eq!(run(&mut detector, &buzz(0.06, 2000.0)), [false, true, true]);
        run(&mut detector, &buzz(1.0, 2000.0));
        let after = run(&mut detector, &noise(0.3, 20.0));
        assert_eq!(after.iter().filter(|&&s| s).count(), 10);
    }

    #[test]
    fn a_click_is_not_speech() {
        let mut detector = ActivityDetector::new();
        run(&mut detector, &noise(0.5, 20.0));
        let mut click = noise(0.02, 20.0);
        click[80] = 0x00;
        assert_eq!(run(&mut detector, &click), [false]);
        assert!(run(&mut detector, &noise(0.5, 20.0)).iter().all(|s| !s));
    }

    #[test]
    fn a_sustained_vowel_stays_speech_for_25_seconds() {
        let mut detector = ActivityDetector::new();
        run(&mut detector, &noise(1.0, 30.0));
        let states = run(&mut detector, &buzz(25.0, 1000.0));
        assert!(states[2..].iter().all(|&s| s));
    }

    #[test]
    fn steady_background_noise_stops_being_speech() {
        let mut detector = ActivityDetector::new();
        run(&mut detector, &noise(1.0, 20.0));
        let states = run(&mut detector, &noise(12.0, 600.0));
        assert!(states.last().is_some_and(|s| !s), "floor {}", detector.noise_floor_dbfs());
        // And speech above that noise is still heard.
        assert!(run(&mut detector, &buzz(0.1, 4000.0)).last().unwrap());
    }

    #[test]
    fn digital_silence_does_not_make_comfort_noise_speech() {
        let mut detector = ActivityDetector::new();
        run(&mut detector, &[g711::ULAW_SILENCE; 16_000]);
        assert!(run(&mut detector, &noise(2.0, 60.0)).iter().all(|s| !s));
    }

    #[test]
    fn frame_size_does_not_change_the_outcome() {
        let bytes = [noise(0.4, 30.0), buzz(0.7, 2500.0), noise(0.5, 30.0)].concat();
        let mut whole = ActivityDetector::new();
        bytes.chunks(STEP).for_each(|f| {
            whole.push_ulaw(f);
        });
        for size in [1, 7, 80, 240, 4000] {
            let mut other = ActivityDetector::new();
            bytes.chunks(size).for_each(|f| {
                other.push_ulaw(f);
            });
            assert_eq!(other.noise_floor_dbfs(), whole.noise_floor_dbfs());
            assert_eq!(other.speech, whole.speech);
        }
    }
}

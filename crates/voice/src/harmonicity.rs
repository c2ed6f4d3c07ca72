//! Harmonics-to-noise ratio by correlation (Boersma 1993).
//!
//! The strongest correlation peak of a frame, `r`, is read as the harmonic share of its energy:
//! HNR = 10 log10(r / (1 - r)).

use crate::pitch::{CandidateFinder, PitchMethod, PitchSettings};
use crate::sound::{Frames, Sound};
use crate::stats;

/// Frames quieter than this share of the loudest peak are not sounding.
const SILENCE_THRESHOLD: f64 = 0.1;

/// Lowest frequency whose period is looked for, in Hz.
const FLOOR_HZ: f64 = 75.0;

const TIME_STEP_S: f64 = 0.01;

/// HNR frame by frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Harmonicity {
    frames: Frames,
    db: Vec<Option<f64>>,
}

impl Harmonicity {
    /// Where the frames are.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// HNR of every frame in dB (-150..=150), `None` where nothing sounds.
    #[must_use]
    pub fn db(&self) -> &[Option<f64>] {
        &self.db
    }

    /// Mean over the sounding frames in dB.
    #[must_use]
    pub fn mean_db(&self) -> Option<f64> {
        stats::mean(&self.sounding())
    }

    /// Standard deviation (n - 1) over the sounding frames in dB.
    #[must_use]
    pub fn sd_db(&self) -> Option<f64> {
        stats::standard_deviation(&self.sounding())
    }

    fn sounding(&self) -> Vec<f64> {
        self.db.iter().copied().flatten().collect()
    }
}

/// Harmonicity with Praat's standard settings: cross-correlation, step 0.01 s, floor 75 Hz,
/// silence threshold 0.1, one period per window. `None` if the sound is too short.
#[must_use]
pub fn cross_correlation(sound: &Sound<'_>) -> Option<Harmonicity> {
    measure(sound, PitchMethod::CrossCorrelationAccurate, 1.0)
}

/// Harmonicity by autocorrelation with Praat's standard settings: step 0.01 s, floor 75 Hz, silence
/// threshold 0.1, 4.5 periods per window. The window (120 ms) smooths over more periods than that
/// of [`cross_correlation`], so a voice that moves reads lower. `None` if the sound is too short.
#[must_use]
pub fn autocorrelation(sound: &Sound<'_>) -> Option<Harmonicity> {
    measure(sound, PitchMethod::AutocorrelationGauss, 4.5)
}

fn measure(sound: &Sound<'_>, method: PitchMethod, periods_per_window: f64) -> Option<Harmonicity> {
    let nyquist = 0.5 / sound.dx();
    let mut settings = PitchSettings::praat(method, FLOOR_HZ, nyquist);
    settings.periods_per_window = periods_per_window;
    settings.time_step_s = Some(TIME_STEP_S);
    settings.silence_threshold = SILENCE_THRESHOLD;
    settings.voicing_threshold = 0.0;
    // Without costs the path finder would just take the strongest candidate of every frame, so it
    // is not needed, and only peaks that can be the strongest have to be refined.
    settings.octave_cost = 0.0;
    let mut finder = CandidateFinder::new(sound, &settings)?;
    let frames = finder.frames();
    let mut db = Vec::with_capacity(frames.count);
    for k in 0..frames.count {
        let intensity = finder.intensity(frames.time(k));
        let unvoiced = (2.0 - intensity / SILENCE_THRESHOLD).max(0.0);
        let mut strongest = None;
        // No correlation exceeds 1.
        if unvoiced < 1.0 {
            finder.find();
            strongest = finder.strongest().map(|c| c.strength).filter(|&strength| strength > unvoiced);
        }
        db.push(strongest.map(ratio_db));
    }
    Some(Harmonicity { frames, db })
}

fn ratio_db(r: f64) -> f64 {
    if r <= 1e-15 {
        -150.0
    } else if r > 1.0 - 1e-15 {
        150.0
    } else {
        10.0 * (r / (1.0 - r)).log10()
    }
}

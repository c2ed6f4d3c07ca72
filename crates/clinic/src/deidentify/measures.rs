//! Which measures of the voice leave, in which range, and how exactly.
//!
//! Perturbation, noise, rates and pauses say how a person speaks today. The pitch and the formants say who speaks, beside
//! age and sex, so they are rounded coarsely, and what gives them back is left out: jitter in seconds over jitter in
//! percent is the length of a period.

use super::vocabulary::{number, to_digits, to_step};
use serde_json::Value;
use std::collections::BTreeMap;

/// How a value is made less exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    /// To a multiple of this.
    Step(f64),
    /// To three significant digits.
    ThreeDigits,
    /// As it is: a count.
    Count,
}

impl Rounding {
    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Step(step) => to_step(value, step),
            Self::ThreeDigits => to_digits(value, 3),
            Self::Count => value.round(),
        }
    }
}

/// A measure that leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) rounding: Rounding,
    pub(super) meaning: &'static str,
}

const fn allowed(
    name: &'static str,
    unit: &'static str,
    (least, most): (f64, f64),
    rounding: Rounding,
    meaning: &'static str,
) -> Allowed {
    Allowed { name, unit, least, most, rounding, meaning }
}

const PITCH: Rounding = Rounding::Step(5.0);
const FORMANT: Rounding = Rounding::Step(50.0);
const DIGITS: Rounding = Rounding::ThreeDigits;

/// Every measure that leaves, by its name in reports, in the order of columns.
pub(super) const ALLOWED: [Allowed; 40] = [
    allowed("f0_mean_hz", "Hz", (50.0, 600.0), PITCH, "mean fundamental frequency"),
    allowed("f0_median_hz", "Hz", (50.0, 600.0), PITCH, "median fundamental frequency"),
    allowed("f0_sd_semitones", "semitones", (0.0, 48.0), DIGITS, "spread of the fundamental frequency"),
    allowed("f0_min_hz", "Hz", (50.0, 600.0), PITCH, "lowest fundamental frequency"),
    allowed("f0_max_hz", "Hz", (50.0, 600.0), PITCH, "highest fundamental frequency"),
    allowed("voiced_fraction", "1", (0.0, 1.0), DIGITS, "share of frames that are voiced"),
    allowed("jitter_local_percent", "%", (0.0, 100.0), DIGITS, "jitter (local)"),
    allowed("jitter_rap_percent", "%", (0.0, 100.0), DIGITS, "jitter (rap)"),
    allowed("jitter_ppq5_percent", "%", (0.0, 100.0), DIGITS, "jitter (ppq5)"),
    allowed("jitter_ddp_percent", "%", (0.0, 300.0), DIGITS, "jitter (ddp)"),
    allowed("shimmer_local_percent", "%", (0.0, 100.0), DIGITS, "shimmer (local)"),
    allowed("shimmer_local_db", "dB", (0.0, 20.0), DIGITS, "shimmer (local) as a level"),
    allowed("shimmer_apq3_percent", "%", (0.0, 100.0), DIGITS, "shimmer (apq3)"),
    allowed("shimmer_apq5_percent", "%", (0.0, 100.0), DIGITS, "shimmer (apq5)"),
    allowed("shimmer_apq11_percent", "%", (0.0, 100.0), DIGITS, "shimmer (apq11)"),
    allowed("shimmer_dda_percent", "%", (0.0, 300.0), DIGITS, "shimmer (dda)"),
    allowed("hnr_mean_db", "dB", (-100.0, 100.0), DIGITS, "mean harmonics-to-noise ratio"),
    allowed("hnr_sd_db", "dB", (0.0, 100.0), DIGITS, "spread of the harmonics-to-noise ratio"),
    allowed("cpps_db", "dB", (-100.0, 100.0), DIGITS, "smoothed cepstral peak prominence"),
    allowed("cpps_praat63_db", "dB", (-100.0, 100.0), DIGITS, "the same by the later rule"),
    allowed("cpps_4khz_db", "dB", (-100.0, 100.0), DIGITS, "the same up to 4 kHz"),
    allowed("spectral_tilt_db", "dB", (-100.0, 100.0), DIGITS, "tilt of the long-term spectrum"),
    allowed("h1_h2_db", "dB", (-100.0, 100.0), DIGITS, "level of the first over the second harmonic"),
    allowed("f1_mean_hz", "Hz", (50.0, 2_000.0), FORMANT, "mean first formant"),
    allowed("f2_mean_hz", "Hz", (200.0, 4_000.0), FORMANT, "mean second formant"),
    allowed(
        "intensity_mean_db",
        "dB",
        (-200.0, 200.0),
        DIGITS,
        "level of the mean energy; only differences mean anything",
    ),
    allowed("voice_breaks", "1", (0.0, 9_999.0), Rounding::Count, "number of voice breaks"),
    allowed("degree_of_voice_breaks_percent", "%", (0.0, 100.0), DIGITS, "share of the span taken by voice breaks"),
    allowed("maximum_phonation_time_s", "s", (0.0, 600.0), DIGITS, "longest voiced run"),
    allowed("syllables", "1", (0.0, 9_999.0), Rounding::Count, "number of syllables"),
    allowed("speech_rate_syllables_per_s", "1/s", (0.0, 20.0), DIGITS, "syllables over the span"),
    allowed("articulation_rate_syllables_per_s", "1/s", (0.0, 20.0), DIGITS, "syllables over speaking time"),
    allowed("words_per_minute", "1/min", (0.0, 999.0), DIGITS, "words per minute"),
    allowed("pause_count", "1", (0.0, 9_999.0), Rounding::Count, "number of pauses"),
    allowed("pause_total_s", "s", (0.0, 3_600.0), DIGITS, "total length of pauses"),
    allowed("pause_mean_s", "s", (0.0, 600.0), DIGITS, "mean length of pauses"),
    allowed("pause_longest_s", "s", (0.0, 600.0), DIGITS, "longest pause"),
    allowed("pause_fraction", "1", (0.0, 1.0), DIGITS, "pause time over pause and speech time"),
    allowed("breathiness", "1", (0.0, 100.0), DIGITS, "breathiness, 0 to 100"),
    allowed("voice_quality", "1", (0.0, 100.0), DIGITS, "voice quality, 0 to 100"),
];

/// Measures that do not leave, and why.
pub(super) const LEFT_OUT: [(&str, &str); 2] = [
    ("f0_sd_hz", "over the spread in semitones it gives the fundamental frequency"),
    ("jitter_local_absolute_s", "over jitter in percent it gives the fundamental frequency"),
];

/// The measures of a report, rounded; what is not known or cannot be is `None`.
pub(super) fn of(report: &Value) -> BTreeMap<&'static str, Option<f64>> {
    let Some(measures) = report.get("measures") else { return ALLOWED.iter().map(|m| (m.name, None)).collect() };
    let value = |m: &Allowed| {
        let found = number(measures, &format!("/{}", m.name), m.least, m.most)?;
        Some(m.rounding.apply(found))
    };
    ALLOWED.iter().map(|m| (m.name, value(m))).collect()
}

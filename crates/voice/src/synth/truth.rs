//! What is known about a synthetic recording.

use super::VoiceSpec;
use super::source::Cycle;
use crate::pauses::Interval;
use crate::stats;

/// Truth of a held vowel, from the cycles that were really drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct VowelTruth {
    /// Mean fundamental frequency in Hz.
    pub f0_mean_hz: Option<f64>,
    /// Local jitter of the instants of closure in percent.
    pub jitter_local_percent: Option<f64>,
    /// Local shimmer of the pulse amplitudes in percent.
    pub shimmer_local_percent: Option<f64>,
    /// Voice over aspiration noise in dB.
    pub hnr_db: Option<f64>,
    /// Number of glottal cycles.
    pub cycles: usize,
}

/// Truth of counting or talking.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechTruth {
    /// Stretches without a pause.
    pub phrases: Vec<Interval>,
    /// Silences between them.
    pub pauses: Vec<Interval>,
    /// Number of syllables.
    pub syllables: usize,
    /// Mean fundamental frequency in Hz.
    pub f0_mean_hz: Option<f64>,
}

impl VowelTruth {
    pub(super) fn of(voice: &VoiceSpec, cycles: &[Cycle]) -> Self {
        let periods: Vec<f64> = cycles.iter().map(|c| c.period_s).collect();
        let amplitudes: Vec<f64> = cycles.iter().map(|c| c.amplitude).collect();
        Self {
            f0_mean_hz: stats::mean(&periods).map(|p| 1.0 / p),
            jitter_local_percent: local_percent(&periods),
            shimmer_local_percent: local_percent(&amplitudes),
            hnr_db: voice.hnr_db,
            cycles: cycles.len(),
        }
    }
}

impl SpeechTruth {
    pub(super) fn of(syllables: usize, phrases: Vec<Interval>, cycles: &[Cycle]) -> Self {
        let periods: Vec<f64> = cycles.iter().map(|c| c.period_s).collect();
        let pauses = phrases
            .windows(2)
            .filter_map(|pair| match pair {
                [a, b] => Some(Interval { start_s: a.end_s, end_s: b.start_s }),
                _ => None,
            })
            .collect();
        Self { phrases, pauses, syllables, f0_mean_hz: stats::mean(&periods).map(|p| 1.0 / p) }
    }
}

fn local_percent(values: &[f64]) -> Option<f64> {
    let steps: Vec<f64> = values.iter().zip(values.iter().skip(1)).map(|(a, b)| (a - b).abs()).collect();
    Some(100.0 * stats::mean(&steps)? / stats::mean(values)?)
}

//! What a researcher compares with Praat beyond the report: other contours, Praat's silences, the
//! published syllable counter, formant bandwidths. Always of the entire span, as Praat would.

use serde::{Deserialize, Serialize};

use crate::formant::{self, FormantSettings};
use crate::harmonicity;
use crate::measure::{CEILING_HZ, FLOOR_HZ, contour};
use crate::pitch::{self, PitchMethod, PitchSettings, PitchTrack};
use crate::silences;
use crate::sound::Sound;
use crate::spectrum::Spectrum;
use crate::stats;
use crate::syllables;

/// Statistics of one pitch contour.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContourDetails {
    /// Number of frames, voiced or not.
    pub frames: u64,
    /// Number of voiced frames.
    pub voiced_frames: u64,
    /// Mean in Hz.
    pub mean_hz: Option<f64>,
    /// Standard deviation in Hz.
    pub sd_hz: Option<f64>,
    /// Median in Hz.
    pub median_hz: Option<f64>,
    /// 10 % quantile in Hz.
    pub q10_hz: Option<f64>,
    /// 90 % quantile in Hz.
    pub q90_hz: Option<f64>,
}

impl ContourDetails {
    fn of(track: &PitchTrack) -> Self {
        let mut sorted: Vec<f64> = track.voiced().collect();
        sorted.sort_by(f64::total_cmp);
        let summary = track.summary();
        Self {
            frames: track.f0().len() as u64,
            voiced_frames: sorted.len() as u64,
            mean_hz: summary.mean_hz,
            sd_hz: summary.sd_hz,
            median_hz: summary.median_hz,
            q10_hz: stats::quantile(&sorted, 0.1),
            q90_hz: stats::quantile(&sorted, 0.9),
        }
    }
}

/// One stretch of Praat's "To TextGrid (silences)".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilenceDetails {
    /// `silent` or `sounding`.
    pub label: String,
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
}

/// The published syllable counter (de Jong and Wempe 2009). It over-counts isolated words; the
/// report's own count does not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NucleiDetails {
    /// Number of nuclei.
    pub count: u64,
    /// Nuclei per second of the span.
    pub speech_rate_syllables_per_s: Option<f64>,
    /// Nuclei per second of sounding time.
    pub articulation_rate_syllables_per_s: Option<f64>,
    /// Gaps of at least 0.3 s between sounding stretches.
    pub pauses: u64,
    /// Sounding time in seconds.
    pub phonation_s: f64,
}

/// Everything in addition to a report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Autocorrelation, 75-500 Hz: the contour of the report.
    pub pitch_ac_75_500: Option<ContourDetails>,
    /// Cross-correlation, 75-500 Hz.
    pub pitch_cc_75_500: Option<ContourDetails>,
    /// Autocorrelation, 50-500 Hz, which also sees creak.
    pub pitch_ac_50_500: Option<ContourDetails>,
    /// Mean of Harmonicity (ac) in dB; reads lower than (cc).
    pub hnr_ac_mean_db: Option<f64>,
    /// Means of F1 to F3 in Hz.
    pub formant_means_hz: [Option<f64>; formant::REPORTED],
    /// Median bandwidths of F1 to F3 in Hz.
    pub formant_bandwidths_hz: [Option<f64>; formant::REPORTED],
    /// Level above 1 kHz minus level below, telephone band (to 4 kHz), in dB.
    pub ltas_slope_tel_db: Option<f64>,
    /// The same to 10 kHz, at 20 kHz and above.
    pub ltas_slope_avqi_db: Option<f64>,
    /// Praat's silences: 100 Hz, -25 dB, 0.1 s, 0.1 s.
    pub silences: Vec<SilenceDetails>,
    /// The published syllable counter.
    pub syllable_nuclei: Option<NucleiDetails>,
}

/// Details of an entire sound.
#[must_use]
pub fn details(sound: &Sound<'_>) -> Details {
    let ac = contour(sound);
    let other = |method, floor| {
        pitch::track(sound, &PitchSettings::praat(method, floor, CEILING_HZ)).map(|t| ContourDetails::of(&t))
    };
    let settings = if sound.rate().hz() >= 11_000.0 { FormantSettings::WIDE } else { FormantSettings::TELEPHONE };
    let formants = ac.as_ref().and_then(|track| formant::voiced_averages(sound, track, &settings));
    let spectrum = Spectrum::of(sound);
    let ltas = spectrum.ltas();
    let label = |sounding| if sounding { "sounding" } else { "silent" };
    Details {
        pitch_ac_75_500: ac.as_ref().map(ContourDetails::of),
        pitch_cc_75_500: other(PitchMethod::CrossCorrelation, FLOOR_HZ),
        pitch_ac_50_500: other(PitchMethod::Autocorrelation, 50.0),
        hnr_ac_mean_db: harmonicity::autocorrelation(sound).and_then(|h| h.mean_db()),
        formant_means_hz: formants.as_ref().map(|f| f.mean_hz).unwrap_or_default(),
        formant_bandwidths_hz: formants.map(|f| f.bandwidth_median_hz).unwrap_or_default(),
        ltas_slope_tel_db: ltas.as_ref().and_then(|l| l.slope_tel_db()),
        ltas_slope_avqi_db: ltas.as_ref().and_then(|l| l.slope_avqi_db()),
        silences: silences::detect_with(sound, &spectrum)
            .unwrap_or_default()
            .into_iter()
            .map(|s| SilenceDetails { label: label(s.sounding).to_owned(), start_s: s.start_s, end_s: s.end_s })
            .collect(),
        syllable_nuclei: syllables::nuclei(sound).map(|n| NucleiDetails {
            count: n.times_s.len() as u64,
            speech_rate_syllables_per_s: n.speech_rate(),
            articulation_rate_syllables_per_s: n.articulation_rate(),
            pauses: n.pauses as u64,
            phonation_s: n.phonation_s,
        }),
    }
}

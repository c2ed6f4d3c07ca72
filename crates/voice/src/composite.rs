//! Two composite scores of a held vowel: voice quality and breathiness, each 0 to 100.
//!
//! Both are plain weighted sums of clipped measures, bounded and explained by their parts. They are
//! our own, with provisional anchors taken from healthy and disordered vowels behind mu-law; they
//! are not AVQI or any other published index, and running speech has none.

use crate::report::Measures;

/// One part of a score: the measure's value mapped to 0 (at `worst`) .. 1 (at `best`).
fn part(value: Option<f64>, worst: f64, best: f64) -> Option<f64> {
    value.map(|v| ((v - worst) / (best - worst)).clamp(0.0, 1.0))
}

fn cpps_part(measures: &Measures) -> Option<f64> {
    part(measures.cpps_4khz_db, 6.0, 16.0)
}

fn hnr_part(measures: &Measures) -> Option<f64> {
    part(measures.hnr_mean_db, 8.0, 25.0)
}

/// Weighted mean of the parts that are there.
fn mean(parts: &[(Option<f64>, f64)]) -> Option<f64> {
    let (sum, weights) = parts
        .iter()
        .filter_map(|&(value, weight)| Some((value? * weight, weight)))
        .fold((0.0, 0.0), |(s, w), (value, weight)| (s + value, w + weight));
    (weights > 0.0).then(|| sum / weights)
}

/// Voice quality, 0 (worst) to 100 (best): CPPS (4 kHz) 6..16 dB weighs 0.45, HNR 8..25 dB 0.25,
/// jitter (ppq5) 1.5..0.2 % 0.15, shimmer (apq11) 12..2.5 % 0.15. Weights are renormalised over what
/// was measured; `None` without both CPPS and HNR.
pub(crate) fn voice_quality(measures: &Measures) -> Option<f64> {
    let (cpps, hnr) = (cpps_part(measures), hnr_part(measures));
    cpps.or(hnr)?;
    let score = mean(&[
        (cpps, 0.45),
        (hnr, 0.25),
        (part(measures.jitter_ppq5_percent, 1.5, 0.2), 0.15),
        (part(measures.shimmer_apq11_percent, 12.0, 2.5), 0.15),
    ])?;
    Some(100.0 * score)
}

/// Breathiness, 0 to 100 (most breathy): 0.6 of the CPPS (4 kHz) part missing, 0.4 of the HNR part
/// missing, and 0.2 for H1-H2 between 4 and 14 dB, renormalised over what was measured. H1-H2 only
/// counts where the band carries the first harmonic (`low_band`). A rough voice raises it too, so it
/// is to be read beside jitter. `None` without both CPPS and HNR.
pub(crate) fn breathiness(measures: &Measures, low_band: bool) -> Option<f64> {
    let (cpps, hnr) = (cpps_part(measures), hnr_part(measures));
    cpps.or(hnr)?;
    let h1_h2 = measures.h1_h2_db.filter(|_| low_band);
    let score = mean(&[(cpps.map(|c| 1.0 - c), 0.6), (hnr.map(|h| 1.0 - h), 0.4), (part(h1_h2, 4.0, 14.0), 0.2)])?;
    Some(100.0 * score)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn near(value: Option<f64>, expected: f64) {
        assert!((value.unwrap() - expected).abs() < 1e-9, "{value:?}");
    }

    #[test]
    fn scores_follow_their_anchors() {
        let clear = Measures {
            cpps_4khz_db: Some(18.0),
            hnr_mean_db: Some(26.0),
            jitter_ppq5_percent: Some(0.1),
            shimmer_apq11_percent: Some(2.0),
            h1_h2_db: Some(2.0),
            ..Measures::default()
        };
        near(voice_quality(&clear), 100.0);
        near(breathiness(&clear, true), 0.0);
        let halfway = Measures { cpps_4khz_db: Some(11.0), hnr_mean_db: Some(16.5), ..Measures::default() };
        near(voice_quality(&halfway), 50.0);
        near(breathiness(&halfway, true), 50.0);
        // Only a channel that carries the first harmonic lets H1-H2 speak.
        let leaky = Measures { h1_h2_db: Some(14.0), ..halfway };
        near(breathiness(&leaky, false), 50.0);
        near(breathiness(&leaky, true), 100.0 * (0.3 + 0.2 + 0.2) / 1.2);
    }

    #[test]
    fn nothing_measured_is_no_score() {
        let only_jitter = Measures { jitter_ppq5_percent: Some(0.3), ..Measures::default() };
        assert_eq!(voice_quality(&only_jitter), None);
        assert_eq!(breathiness(&only_jitter, true), None);
    }
}

//! The measures as a compact table, the verdict on the recording, and how everything was computed.

use super::notes::wrap;
use super::spectrogram::{RANGE_DB, WINDOW_S};
use super::svg::{Anchor, Svg, Text};
use super::{CEILING_HZ, FAINT, FLOOR_HZ, INK, INTENSITY_FLOOR_HZ, Subject, WIDTH};
use voice::Report;

const SIZE: f64 = 6.8;
const ROW: f64 = 8.9;

/// Signs for measures that the channel or the noise weakens.
const MARKS: [(&str, &str); 4] =
    [("telephone-limited", "†"), ("codec-limited", "‡"), ("noise-limited", "§"), ("wideband-only", "¶")];

/// A measure in the table: its name in the report, what people call it, its unit, and what to multiply it with and how
/// many decimals to show in that unit.
struct Row(&'static str, &'static str, &'static str, f64, usize);

/// A heading and what stands below it.
type Group = (&'static str, &'static [Row]);

/// The columns of the table.
const COLUMNS: [&[Group]; 3] = [
    &[
        (
            "Fundamental frequency",
            &[
                Row("f0_mean_hz", "Mean", "Hz", 1.0, 2),
                Row("f0_median_hz", "Median", "Hz", 1.0, 2),
                Row("f0_sd_hz", "Standard deviation", "Hz", 1.0, 2),
                Row("f0_sd_semitones", "Standard deviation", "semitones", 1.0, 2),
                Row("f0_min_hz", "Minimum", "Hz", 1.0, 2),
                Row("f0_max_hz", "Maximum", "Hz", 1.0, 2),
                Row("voiced_fraction", "Voiced frames", "%", 100.0, 1),
            ],
        ),
        (
            "Jitter",
            &[
                Row("jitter_local_percent", "Local", "%", 1.0, 3),
                Row("jitter_local_absolute_s", "Local, absolute", "µs", 1e6, 2),
                Row("jitter_rap_percent", "RAP", "%", 1.0, 3),
                Row("jitter_ppq5_percent", "PPQ5", "%", 1.0, 3),
                Row("jitter_ddp_percent", "DDP", "%", 1.0, 3),
            ],
        ),
        (
            "Scores (0 to 100)",
            &[Row("breathiness", "Breathiness", "", 1.0, 0), Row("voice_quality", "Voice quality", "", 1.0, 0)],
        ),
    ],
    &[
        (
            "Shimmer",
            &[
                Row("shimmer_local_percent", "Local", "%", 1.0, 2),
                Row("shimmer_local_db", "Local", "dB", 1.0, 3),
                Row("shimmer_apq3_percent", "APQ3", "%", 1.0, 2),
                Row("shimmer_apq5_percent", "APQ5", "%", 1.0, 2),
                Row("shimmer_apq11_percent", "APQ11", "%", 1.0, 2),
                Row("shimmer_dda_percent", "DDA", "%", 1.0, 2),
            ],
        ),
        (
            "Noise and spectrum",
            &[
                Row("hnr_mean_db", "Harmonics-to-noise, mean", "dB", 1.0, 2),
                Row("hnr_sd_db", "Harmonics-to-noise, SD", "dB", 1.0, 2),
                Row("cpps_db", "CPPS", "dB", 1.0, 2),
                Row("cpps_praat63_db", "CPPS, Praat 6.3 rule", "dB", 1.0, 2),
                Row("cpps_4khz_db", "CPPS up to 4 kHz", "dB", 1.0, 2),
                Row("spectral_tilt_db", "Spectral tilt", "dB", 1.0, 2),
                Row("h1_h2_db", "H1\u{2212}H2", "dB", 1.0, 2),
                Row("f1_mean_hz", "First formant, mean", "Hz", 1.0, 0),
                Row("f2_mean_hz", "Second formant, mean", "Hz", 1.0, 0),
                Row("intensity_mean_db", "Intensity, energy mean", "dB", 1.0, 2),
            ],
        ),
    ],
    &[
        (
            "Phonation",
            &[
                Row("maximum_phonation_time_s", "Longest phonation", "s", 1.0, 2),
                Row("voice_breaks", "Voice breaks", "", 1.0, 0),
                Row("degree_of_voice_breaks_percent", "Degree of voice breaks", "%", 1.0, 1),
            ],
        ),
        (
            "Tempo",
            &[
                Row("syllables", "Syllables", "", 1.0, 0),
                Row("speech_rate_syllables_per_s", "Speech rate", "syll./s", 1.0, 2),
                Row("articulation_rate_syllables_per_s", "Articulation rate", "syll./s", 1.0, 2),
                Row("words_per_minute", "Words per minute", "", 1.0, 1),
            ],
        ),
        (
            "Pauses",
            &[
                Row("pause_count", "Number", "", 1.0, 0),
                Row("pause_total_s", "Total", "s", 1.0, 2),
                Row("pause_mean_s", "Mean", "s", 1.0, 2),
                Row("pause_longest_s", "Longest", "s", 1.0, 2),
                Row("pause_fraction", "Share of the time", "%", 100.0, 1),
            ],
        ),
    ],
];

/// Draws everything from `top` down and says where it ends.
pub(super) fn draw(svg: &mut Svg, top: f64, subject: &Subject<'_>, long: bool) -> f64 {
    let report = subject.report;
    svg.text(6.0, top + 3.0, "(d)", Text::bold(8.5));
    let mut bottom = top;
    let width = (WIDTH - 34.0) / COLUMNS.len() as f64;
    for (place, groups) in COLUMNS.iter().enumerate() {
        let x = 28.0 + place as f64 * width;
        bottom = bottom.max(column(svg, x, width - 14.0, top, groups, report));
    }
    let mut y = bottom + 5.0;
    svg.line(6.0, y - 6.5, WIDTH - 6.0, y - 6.5, &format!("stroke=\"{INK}\" stroke-width=\"0.5\""));
    y += 2.5;
    for (text, colour) in lines(subject, long) {
        for line in wrap(&text, SIZE, WIDTH - 12.0) {
            svg.text(6.0, y, &line, Text::plain(SIZE).colour(colour));
            y += ROW;
        }
    }
    y
}

fn column(svg: &mut Svg, x: f64, width: f64, top: f64, groups: &[Group], report: &Report) -> f64 {
    let entries = report.measures.entries();
    // Values end where the longest unit still has room after them.
    let value_end = x + width - 36.0;
    let mut y = top + 3.0;
    for (heading, rows) in groups {
        svg.text(x, y, heading, Text::bold(SIZE + 0.2));
        svg.line(x, y + 2.4, x + width, y + 2.4, &format!("stroke=\"{FAINT}\" stroke-width=\"0.4\""));
        y += ROW + 1.6;
        for Row(name, label, unit, times, decimals) in *rows {
            let value = entries.iter().find(|(entry, _)| entry == name).and_then(|(_, value)| *value);
            svg.text(x, y, label, Text::plain(SIZE));
            let shown = value.map_or_else(|| "\u{2013}".to_owned(), |value| decimal(value * times, *decimals));
            svg.text(value_end, y, &shown, Text::plain(SIZE).anchor(Anchor::End));
            if value.is_some() {
                let mark = report.validity.get(*name).map_or("", |mark| sign(mark));
                svg.text(value_end + 3.5, y, &format!("{unit}{}{mark}", gap(unit, mark)), Text::plain(SIZE));
            }
            y += ROW;
        }
        y += 4.0;
    }
    y
}

fn gap(unit: &str, mark: &str) -> &'static str {
    if unit.is_empty() || mark.is_empty() { "" } else { "\u{2009}" }
}

fn sign(mark: &str) -> &'static str {
    MARKS.iter().find(|(name, _)| *name == mark).map_or("*", |(_, sign)| sign)
}

/// A number with a real minus sign.
fn decimal(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}").replace('-', "\u{2212}")
}

/// What stands below the table.
fn lines(subject: &Subject<'_>, long: bool) -> Vec<(String, &'static str)> {
    let report = subject.report;
    let mut lines = Vec::new();
    let mut marks: Vec<&str> = report.validity.values().map(String::as_str).collect();
    marks.sort_unstable();
    marks.dedup();
    if !marks.is_empty() {
        let named: Vec<String> = marks.iter().map(|mark| format!("{} {mark}", sign(mark))).collect();
        lines.push((format!("{}.", named.join(", ")), INK));
    }
    let quality = &report.quality;
    let snr = quality.snr_db.map_or_else(|| "unknown".to_owned(), |snr| format!("{snr:.1} dB"));
    let verdict = match (quality.usable, subject.whole) {
        (true, _) => "usable",
        (false, true) => "NOT USABLE",
        (false, false) => "NOT USABLE, so measures are withheld",
    };
    lines.push((
        format!(
            "Quality: {verdict}; signal to noise {snr}; {:.2} % of samples clipped; {:.2} s voiced.",
            100.0 * quality.clipped_fraction,
            quality.voiced_s
        ),
        INK,
    ));
    lines.extend(quality.reasons.iter().map(|reason| (format!("\u{2022} {reason}"), INK)));
    let measured = match report.window {
        Some(window) => format!("{:.2} to {:.2} s, the steadiest stretch", window.start_s, window.end_s),
        None => "the whole span".to_owned(),
    };
    lines.push((
        format!(
            "Measured: {measured}. Voice engine {}. Contour of f0: autocorrelation, {FLOOR_HZ} to {CEILING_HZ} Hz; \
             pulses: cross-correlation; intensity: floor {INTENSITY_FLOOR_HZ} Hz, full scale taken as 1 Pa. \
             Spectrogram: Gaussian window of {:.0} ms, +6 dB per octave, {RANGE_DB} dB from white to black.{}",
            report.engine_version,
            1_000.0 * WINDOW_S,
            if long { " At this length (c) shows medians and ranges of f0 and means of the intensity." } else { "" }
        ),
        FAINT,
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_its_place_once() {
        let rows: Vec<&str> = COLUMNS
            .iter()
            .flat_map(|groups| groups.iter())
            .flat_map(|(_, rows)| rows.iter())
            .map(|row| row.0)
            .collect();
        for (name, _) in voice::Measures::default().entries() {
            assert_eq!(rows.iter().filter(|row| **row == name).count(), 1, "{name}");
        }
        assert_eq!(rows.len(), voice::Measures::default().entries().len());
    }

    #[test]
    fn numbers_and_signs() {
        assert_eq!(decimal(-1.005, 1), "\u{2212}1.0");
        assert_eq!((sign("noise-limited"), sign("something new")), ("§", "*"));
    }
}

//! Agreement with Praat 6.1.38 of formants, spectral slopes, H1-H2, silences, syllable nuclei and
//! voice breaks on the shared reference recordings, where they are present.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use voice::formant::{self, FormantAverages, FormantSettings};
use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::sound::Sound;
use voice::spectrum::{self, Spectrum};
use voice::wav::Wav;
use voice::{pulses, silences, syllables, voice_breaks};

fn folder() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/voice");
    path.is_dir().then_some(path)
}

/// Deviations of one measure over all files.
#[derive(Default)]
struct Column {
    deviations: Vec<(f64, String)>,
    /// Files where one side is defined and the other is not.
    mismatches: Vec<String>,
    tolerance: f64,
}

#[derive(Default)]
struct Table(BTreeMap<String, Column>);

impl Table {
    fn add(&mut self, measure: &str, ours: Option<f64>, praat: &Value, tolerance: f64, file: &str) {
        let column = self.0.entry(measure.to_owned()).or_default();
        column.tolerance = tolerance;
        match (ours, praat.as_f64()) {
            (Some(ours), Some(praat)) => column.deviations.push(((ours - praat).abs(), file.to_owned())),
            (None, None) => {}
            (ours, praat) => column.mismatches.push(format!("{file} ({ours:?} against {praat:?})")),
        }
    }

    fn print(&mut self) -> Vec<String> {
        println!("{:<26} {:>5} {:>10} {:>10} {:>8}  worst file", "measure", "files", "median", "worst", "allowed");
        let mut failures = Vec::new();
        for (name, column) in &mut self.0 {
            column.deviations.sort_by(|a, b| a.0.total_cmp(&b.0));
            let count = column.deviations.len();
            let median = column.deviations.get(count / 2).map_or(0.0, |d| d.0);
            let (worst, file) = column.deviations.last().cloned().unwrap_or_default();
            println!("{name:<26} {count:>5} {median:>10.1e} {worst:>10.1e} {:>8.0e}  {file}", column.tolerance);
            for (deviation, file) in column.deviations.iter().filter(|d| d.0.is_nan() || d.0 > column.tolerance) {
                failures.push(format!("{name}: {file} deviates by {deviation:.3e}"));
            }
            failures.extend(column.mismatches.iter().map(|m| format!("{name}: undefined on one side: {m}")));
        }
        failures
    }
}

fn compare(table: &mut Table, file: &str, wav: &Wav, praat: &Value) {
    let sound = Sound::new(&wav.samples, wav.sample_rate);
    let track = pitch::track(&sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0)).unwrap();
    let spectrum = Spectrum::of(&sound);
    compare_spectrum(table, file, &spectrum, praat);
    table.add("h1-h2", spectrum::h1_h2_db(&sound, &track), &praat["h1h2_db"], 1e-6, file);
    compare_silences(table, file, &silences::detect_with(&sound, &spectrum), &praat["silences"]);
    compare_nuclei(table, file, &syllables::nuclei(&sound), &praat["syllable_nuclei"]);

    for (key, settings) in
        [("formants_tel_4_3996", FormantSettings::TELEPHONE), ("formants_5_5500", FormantSettings::WIDE)]
    {
        if sound.rate().get() >= 11_000 || settings == FormantSettings::TELEPHONE {
            compare_formants(
                table,
                file,
                key,
                &formant::voiced_averages(&sound, &track, &settings).unwrap(),
                &praat[key],
            );
        }
    }

    let cc = pitch::track(&sound, &PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0)).unwrap();
    let breaks = voice_breaks::voice_breaks(&pulses::find(&sound, &cc), sound.end(), 75.0);
    let report = &praat["voice_report"];
    table.add("voice breaks", Some(breaks.count as f64), &report["voice_breaks"], 0.0, file);
    // The voice report is text with three decimals.
    let percent = breaks.degree.map(|degree| 100.0 * degree);
    table.add("voice breaks %", percent, &report["voice_break_degree_pct"], 5.01e-4, file);
}

fn compare_spectrum(table: &mut Table, file: &str, spectrum: &Spectrum, praat: &Value) {
    let ltas = spectrum.ltas();
    let praat = &praat["ltas"];
    table.add("ltas bandwidth", ltas.as_ref().map(|l| l.bandwidth_hz()), &praat["bandwidth"], 0.0, file);
    for (name, ours) in [
        ("slope_tel", ltas.as_ref().and_then(|l| l.slope_tel_db())),
        ("tilt_tel", ltas.as_ref().and_then(|l| l.tilt_tel_db())),
        ("slope_avqi", ltas.as_ref().and_then(|l| l.slope_avqi_db())),
        ("tilt_avqi", ltas.as_ref().and_then(|l| l.tilt_avqi_db())),
    ] {
        table.add(name, ours, &praat[name], 1e-6, file);
    }
}

fn compare_formants(table: &mut Table, file: &str, key: &str, ours: &FormantAverages, praat: &Value) {
    for k in 0..formant::REPORTED {
        for (name, ours) in [
            (format!("F{}_mean", k + 1), ours.mean_hz[k]),
            (format!("F{}_median", k + 1), ours.median_hz[k]),
            (format!("B{}_median", k + 1), ours.bandwidth_median_hz[k]),
        ] {
            table.add(&format!("{name} {}", &key[9..]), ours, &praat[&name], 1e-5, file);
        }
    }
}

fn compare_silences(table: &mut Table, file: &str, ours: &Option<Vec<silences::Stretch>>, praat: &Value) {
    let ours = ours.as_ref().unwrap();
    let intervals = praat["intervals"].as_array().unwrap();
    table.add("silences: intervals", Some(ours.len() as f64), &Value::from(intervals.len()), 0.0, file);
    for (ours, praat) in ours.iter().zip(intervals) {
        let label = if ours.sounding { "sounding" } else { "silent" };
        assert_eq!(praat[0], label, "{file}");
        // The file gives six decimals.
        table.add("silences: times", Some(ours.start_s), &praat[1], 5.1e-7, file);
        table.add("silences: times", Some(ours.end_s), &praat[2], 5.1e-7, file);
    }
}

fn compare_nuclei(table: &mut Table, file: &str, ours: &Option<syllables::Nuclei>, praat: &Value) {
    let get = |f: &dyn Fn(&syllables::Nuclei) -> f64| ours.as_ref().map(f);
    table.add("nuclei", get(&|n| n.times_s.len() as f64), &praat["nsyll"], 0.0, file);
    table.add("nuclei: pauses", get(&|n| n.pauses as f64), &praat["npause"], 0.0, file);
    table.add("nuclei: phonation", get(&|n| n.phonation_s), &praat["phonation_time"], 1e-9, file);
    table.add("nuclei: threshold", get(&|n| n.threshold_db), &praat["threshold_db"], 1e-5, file);
    if let (Some(ours), Some(times)) = (ours, praat["nuclei"].as_array()) {
        for (ours, praat) in ours.times_s.iter().zip(times) {
            // The file gives four decimals.
            table.add("nuclei: times", Some(*ours), praat, 5.01e-5, file);
        }
    }
}

#[test]
fn all_reference_recordings_agree() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("praat_reference_dev.json")).unwrap()).unwrap();
    let mut failures = Vec::new();
    for set in ["wide", "ulaw8k"] {
        let mut table = Table::default();
        for (name, praat) in reference[set].as_object().unwrap() {
            let path = folder.join("audio").join(set).join(format!("{name}.wav"));
            let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
            compare(&mut table, &format!("{set}/{name}"), &wav, praat);
        }
        println!("{set}");
        failures.extend(table.print());
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

//! Agreement with Praat 6.1.38 on the shared reference recordings, where they are present.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use voice::harmonicity;
use voice::intensity;
use voice::perturbation::{self, Limits};
use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::pulses;
use voice::sound::Sound;
use voice::wav::Wav;

fn folder() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/voice");
    path.is_dir().then_some(path)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().unwrap().join(name)).unwrap()).unwrap()
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
struct Table(BTreeMap<&'static str, Column>);

enum Scale {
    Relative,
    Absolute,
}

impl Table {
    fn add(
        &mut self,
        measure: &'static str,
        ours: Option<f64>,
        praat: &Value,
        scale: Scale,
        tolerance: f64,
        file: &str,
    ) {
        let column = self.0.entry(measure).or_default();
        column.tolerance = tolerance;
        match (ours, praat.as_f64()) {
            (Some(ours), Some(praat)) => {
                let deviation = match scale {
                    Scale::Relative if praat != 0.0 => ((ours - praat) / praat).abs(),
                    _ => (ours - praat).abs(),
                };
                column.deviations.push((deviation, file.to_owned()));
            }
            (None, None) => {}
            (ours, praat) => column.mismatches.push(format!("{file} ({ours:?} against {praat:?})")),
        }
    }

    fn print_and_check(mut self) {
        println!("{:<23} {:>5} {:>10} {:>10} {:>8}  worst file", "measure", "files", "median", "worst", "allowed");
        let mut failures = Vec::new();
        for (name, column) in &mut self.0 {
            column.deviations.sort_by(|a, b| a.0.total_cmp(&b.0));
            let count = column.deviations.len();
            let median = column.deviations.get(count / 2).map_or(0.0, |d| d.0);
            let (worst, file) = column.deviations.last().cloned().unwrap_or_default();
            println!("{name:<23} {count:>5} {median:>10.1e} {worst:>10.1e} {:>8.0e}  {file}", column.tolerance);
            for (deviation, file) in column.deviations.iter().filter(|d| d.0.is_nan() || d.0 > column.tolerance) {
                failures.push(format!("{name}: {file} deviates by {deviation:.3e}"));
            }
            failures.extend(column.mismatches.iter().map(|m| format!("{name}: undefined on one side: {m}")));
        }
        assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    }
}

fn compare(table: &mut Table, name: &str, wav: &Wav, praat: &Value) {
    use Scale::{Absolute, Relative};
    let sound = Sound::new(&wav.samples, wav.sample_rate);
    let ac = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
    let cc = PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0);
    let low = PitchSettings::praat(PitchMethod::Autocorrelation, 50.0, 500.0);
    let track = pitch::track(&sound, &ac).unwrap();
    for (label, settings, key) in
        [("ac", ac, "pitch_ac_75_500"), ("cc", cc, "pitch_cc_75_500"), ("ac50", low, "pitch_ac_50_500")]
    {
        let Some(track) = pitch::track(&sound, &settings) else {
            assert!(praat[key].is_null());
            continue;
        };
        let reference = &praat[key];
        let summary = track.summary();
        let names: [&'static str; 7] = match label {
            "ac" => [
                "f0 ac frames",
                "f0 ac voiced frames",
                "f0 ac mean",
                "f0 ac sd",
                "f0 ac median",
                "f0 ac min",
                "f0 ac max",
            ],
            "cc" => [
                "f0 cc frames",
                "f0 cc voiced frames",
                "f0 cc mean",
                "f0 cc sd",
                "f0 cc median",
                "f0 cc min",
                "f0 cc max",
            ],
            _ => [
                "f0 ac50 frames",
                "f0 ac50 voiced frames",
                "f0 ac50 mean",
                "f0 ac50 sd",
                "f0 ac50 median",
                "f0 ac50 min",
                "f0 ac50 max",
            ],
        };
        table.add(names[0], Some(track.f0().len() as f64), &reference["frames"], Absolute, 0.0, name);
        table.add(names[1], Some(track.voiced().count() as f64), &reference["voiced_frames"], Absolute, 0.0, name);
        table.add(names[2], summary.mean_hz, &reference["mean"], Relative, 1e-6, name);
        table.add(names[3], summary.sd_hz, &reference["sd"], Relative, 1e-5, name);
        table.add(names[4], summary.median_hz, &reference["median"], Relative, 1e-6, name);
        // With cross-correlation many frames sit exactly on the longest lag searched; which of
        // those ties counts as a local minimum is rounding, so only the product contour's extremes
        // are compared.
        if label != "ac" {
            continue;
        }
        table.add(names[5], summary.min_hz, &reference["min"], Relative, 1e-6, name);
        table.add(names[6], summary.max_hz, &reference["max"], Relative, 1e-6, name);
    }
    let times = pulses::find(&sound, &track);
    table.add("pulses", Some(times.len() as f64), &praat["pulses"]["count"], Absolute, 0.0, name);
    let limits = Limits::default();
    let jitter = perturbation::jitter(&times, &limits);
    table.add("mean period", jitter.mean_period_s, &praat["pulses"]["mean_period"], Relative, 1e-9, name);
    for (label, ours, key) in [
        ("jitter local", jitter.local, "local"),
        ("jitter absolute", jitter.local_absolute_s, "local_absolute"),
        ("jitter rap", jitter.rap, "rap"),
        ("jitter ppq5", jitter.ppq5, "ppq5"),
        ("jitter ddp", jitter.ddp, "ddp"),
    ] {
        table.add(label, ours, &praat["jitter"][key], Relative, 1e-8, name);
    }
    let shimmer = perturbation::shimmer(&sound, &times, &limits);
    for (label, ours, key) in [
        ("shimmer local", shimmer.local, "local"),
        ("shimmer dB", shimmer.local_db, "local_dB"),
        ("shimmer apq3", shimmer.apq3, "apq3"),
        ("shimmer apq5", shimmer.apq5, "apq5"),
        ("shimmer apq11", shimmer.apq11, "apq11"),
        ("shimmer dda", shimmer.dda, "dda"),
    ] {
        table.add(label, ours, &praat["shimmer"][key], Relative, 1e-8, name);
    }
    let hnr = harmonicity::cross_correlation(&sound);
    let sounding = hnr.as_ref().map(|h| h.db().iter().flatten().count() as f64);
    table.add("hnr sounding frames", sounding, &praat["hnr_cc"]["sounding"], Absolute, 0.0, name);
    table.add("hnr mean", hnr.as_ref().and_then(|h| h.mean_db()), &praat["hnr_cc"]["mean"], Absolute, 1e-6, name);
    table.add("hnr sd", hnr.as_ref().and_then(|h| h.sd_db()), &praat["hnr_cc"]["sd"], Absolute, 1e-6, name);
    let hnr = harmonicity::autocorrelation(&sound);
    let sounding = hnr.as_ref().map(|h| h.db().iter().flatten().count() as f64);
    table.add("hnr ac sounding frames", sounding, &praat["hnr_ac"]["sounding"], Absolute, 0.0, name);
    table.add("hnr ac mean", hnr.as_ref().and_then(|h| h.mean_db()), &praat["hnr_ac"]["mean"], Absolute, 1e-6, name);
    table.add("hnr ac sd", hnr.as_ref().and_then(|h| h.sd_db()), &praat["hnr_ac"]["sd"], Absolute, 1e-6, name);
    let level = intensity::contour(&sound, 100.0).and_then(|i| i.energy_mean_db());
    table.add("intensity mean", level, &praat["intensity"]["mean_energy"], Absolute, 1e-5, name);
}

#[test]
fn all_reference_recordings_agree() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let reference = json("praat_reference_dev.json");
    let mut table = Table::default();
    let mut files = 0;
    for set in ["wide", "ulaw8k"] {
        for (name, praat) in reference[set].as_object().unwrap() {
            let path = folder.join("audio").join(set).join(format!("{name}.wav"));
            let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
            compare(&mut table, &format!("{set}/{name}"), &wav, praat);
            files += 1;
        }
    }
    println!("{files} recordings");
    table.print_and_check();
}

#[test]
fn every_frame_of_the_track_recordings_agrees() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let tracks = json("praat_tracks_dev.json");
    let averages = json("praat_reference_dev.json");
    for (name, reference) in tracks["files"].as_object().unwrap() {
        // The tracks do not say which version of the recording they belong to; the frames do.
        let t1 = reference["pitch_ac_75_500"]["t1"].as_f64().unwrap();
        let set = ["ulaw8k", "wide"]
            .into_iter()
            .find(|set| {
                let other = averages[set][name]["pitch_ac_75_500"]["t1"].as_f64().unwrap();
                (other - t1).abs() < 1e-9
            })
            .unwrap();
        let path = folder.join("audio").join(set).join(format!("{name}.wav"));
        let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
        let sound = Sound::new(&wav.samples, wav.sample_rate);
        let numbers =
            |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
        let mut contour = None;
        for (key, method) in
            [("pitch_ac_75_500", PitchMethod::Autocorrelation), ("pitch_cc_75_500", PitchMethod::CrossCorrelation)]
        {
            let track = pitch::track(&sound, &PitchSettings::praat(method, 75.0, 500.0)).unwrap();
            let expected = numbers(&reference[key]["f0"]);
            assert_eq!(track.f0().len(), expected.len(), "{name} {key}");
            let t1 = reference[key]["t1"].as_f64().unwrap();
            assert!((track.frames().t1 - t1).abs() < 1e-12);
            for (k, (ours, praat)) in track.f0().iter().zip(&expected).enumerate() {
                // The file gives six decimals.
                let same = (ours.unwrap_or(0.0) - praat).abs() <= 1e-6 * praat + 6e-7;
                assert!(ours.is_some() == (*praat > 0.0) && same, "{name} {key} frame {k}: {ours:?} {praat}");
            }
            contour.get_or_insert(track);
        }
        let pulses = pulses::find(&sound, &contour.unwrap());
        let expected = numbers(&reference["pulses"]);
        assert_eq!(pulses.len(), expected.len(), "{name}");
        for (ours, praat) in pulses.iter().zip(&expected) {
            assert!((ours - praat).abs() < 6e-9, "{name}: pulse {ours} {praat}");
        }
        for (key, hnr) in
            [("hnr_cc", harmonicity::cross_correlation(&sound)), ("hnr_ac", harmonicity::autocorrelation(&sound))]
        {
            let (ours, expected) = (hnr.as_ref().map_or(&[][..], |h| h.db()), numbers(&reference[key]["db"]));
            assert_eq!(ours.len(), expected.len(), "{name} {key}");
            for (k, (ours, praat)) in ours.iter().zip(expected).enumerate() {
                assert!((ours.unwrap_or(-200.0) - praat).abs() < 1.6e-5, "{name}: {key} frame {k} {ours:?} {praat}");
            }
        }
        let level = intensity::contour(&sound, 100.0).unwrap();
        for (ours, praat) in level.db().iter().zip(numbers(&reference["intensity_100"]["db"])) {
            assert!((ours - praat).abs() < 1.6e-5, "{name}: intensity {ours} {praat}");
        }
    }
}

#[test]
fn counted_pauses_match_the_recordings_marks() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let manifest = json("audio/manifest.json");
    for file in manifest["files"].as_array().unwrap() {
        let (id, truth) = (file["id"].as_str().unwrap(), &file["truth"]);
        let Some(pauses) = truth["pauses"].as_array() else { continue };
        let path = folder.join("audio").join(file["ulaw8k"].as_str().unwrap());
        let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
        let summary = voice::pauses::detect(&Sound::new(&wav.samples, wav.sample_rate)).summary();
        let total: f64 = pauses.iter().map(|p| p.as_f64().unwrap()).sum();
        println!(
            "{id}: {:?} pauses for {}, {:.2} s for {total:.2} s (the marks leave out decays)",
            summary.count,
            pauses.len(),
            summary.total_s.unwrap()
        );
    }
}

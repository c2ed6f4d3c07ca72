//! `analyze`: the shape of its output, and bad files.
#![allow(clippy::unwrap_used)]

mod common;

use common::{fails, json, run, succeeds};
use std::f64::consts::TAU;
use std::path::Path;
use tempfile::tempdir;

/// Every measure of the documented format.
const MEASURES: [&str; 42] = [
    "f0_mean_hz",
    "f0_median_hz",
    "f0_sd_hz",
    "f0_sd_semitones",
    "f0_min_hz",
    "f0_max_hz",
    "voiced_fraction",
    "jitter_local_percent",
    "jitter_local_absolute_s",
    "jitter_rap_percent",
    "jitter_ppq5_percent",
    "jitter_ddp_percent",
    "shimmer_local_percent",
    "shimmer_local_db",
    "shimmer_apq3_percent",
    "shimmer_apq5_percent",
    "shimmer_apq11_percent",
    "shimmer_dda_percent",
    "hnr_mean_db",
    "hnr_sd_db",
    "cpps_db",
    "cpps_praat63_db",
    "cpps_4khz_db",
    "spectral_tilt_db",
    "h1_h2_db",
    "f1_mean_hz",
    "f2_mean_hz",
    "intensity_mean_db",
    "voice_breaks",
    "degree_of_voice_breaks_percent",
    "maximum_phonation_time_s",
    "syllables",
    "speech_rate_syllables_per_s",
    "articulation_rate_syllables_per_s",
    "words_per_minute",
    "pause_count",
    "pause_total_s",
    "pause_mean_s",
    "pause_longest_s",
    "pause_fraction",
    "breathiness",
    "voice_quality",
];

/// A voice-like sound: a few harmonics of 140 Hz, faded in and out.
fn voice(rate: u32, seconds: f64) -> Vec<i16> {
    let samples = (seconds * f64::from(rate)) as usize;
    (0..samples)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            let fade = (t / 0.1).min((seconds - t) / 0.1).clamp(0.0, 1.0);
            let sound: f64 = (1..=8).map(|k| (TAU * 140.0 * f64::from(k) * t).sin() / f64::from(k)).sum();
            (sound * fade * 8_000.0) as i16
        })
        .collect()
}

fn write_wav(path: &Path, rate: u32, seconds: f64) {
    std::fs::write(path, voice::wav::write_pcm16(&voice(rate, seconds), rate)).unwrap();
}

#[test]
fn the_json_has_every_documented_name() {
    let dir = tempdir().unwrap();
    write_wav(&dir.path().join("a.wav"), 16_000, 3.0);
    let ulaw: Vec<u8> = voice(8_000, 3.0).into_iter().map(voice::g711::ulaw_encode).collect();
    std::fs::write(dir.path().join("b.ulaw"), ulaw).unwrap();
    let args = ["analyze", "a.wav", "b.ulaw", "--task", "sustained-vowel", "--format", "json"];
    let all = json(dir.path(), &args, &[]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    for (object, file, rate, channel) in
        [(&all[0], "a.wav", 16_000, "wideband"), (&all[1], "b.ulaw", 8_000, "telephone")]
    {
        assert_eq!((object["file"].as_str(), object["sample_rate_hz"].as_u64()), (Some(file), Some(rate)));
        assert_eq!((object["task"].as_str(), object["channel"].as_str()), (Some("sustained-vowel"), Some(channel)));
        let measures = object["measures"].as_object().unwrap();
        for name in MEASURES {
            assert!(measures.contains_key(name), "{name} is missing");
        }
        for name in ["engine_version", "start_s", "duration_s", "window", "pauses", "quality", "validity"] {
            assert!(object.get(name).is_some(), "{name} is missing");
        }
        for name in ["usable", "snr_db", "clipped_fraction", "voiced_s", "reasons"] {
            assert!(object["quality"].get(name).is_some(), "quality.{name} is missing");
        }
        let f0 = measures["f0_median_hz"].as_f64().unwrap();
        assert!((f0 - 140.0).abs() < 1.0, "{f0}");
    }
}

#[test]
fn other_formats_and_folders() {
    let dir = tempdir().unwrap();
    std::fs::create_dir(dir.path().join("calls")).unwrap();
    write_wav(&dir.path().join("calls/b.wav"), 8_000, 2.0);
    write_wav(&dir.path().join("calls/a.wav"), 8_000, 2.0);
    std::fs::write(dir.path().join("calls/notes.txt"), "not audio").unwrap();
    let lines = succeeds(dir.path(), &["analyze", "calls", "--format", "jsonl", "--whole"], &[]);
    let files: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        files.iter().map(|file| file["file"].as_str().unwrap()).collect::<Vec<_>>(),
        ["calls/a.wav", "calls/b.wav"]
    );
    let csv = succeeds(dir.path(), &["analyze", "calls", "--format", "csv"], &[]);
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.starts_with("file,error,task") && csv.contains("jitter_local_percent"), "{csv}");
    let table = succeeds(dir.path(), &["analyze", "calls/a.wav", "--whole", "--transcript", "one two three"], &[]);
    assert!(table.contains("f0_median_hz") && !table.contains('\u{1b}'), "{table}");
}

#[test]
fn a_bad_file_alone_is_bad_input() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("bad.wav"), b"RIFF....WAVEjunk").unwrap();
    std::fs::write(dir.path().join("text.wav"), b"hello").unwrap();
    std::fs::write(dir.path().join("empty.ulaw"), b"").unwrap();
    write_wav(&dir.path().join("short.wav"), 8_000, 0.02);
    for file in ["bad.wav", "text.wav", "empty.ulaw", "short.wav", "missing.wav"] {
        let reason = fails(dir.path(), &["analyze", file], &[], 2);
        assert!(reason.contains(file), "{reason}");
    }
    write_wav(&dir.path().join("a.wav"), 8_000, 1.0);
    for args in [
        &["analyze", "a.wav", "--start", "2", "--end", "1"][..],
        &["analyze", "a.wav", "--start", "x"],
        &["analyze", "a.wav", "--start", "5"],
        &["analyze", "a.wav", "--task", "singing"],
    ] {
        fails(dir.path(), args, &[], 2);
    }
}

#[test]
fn bad_files_among_good_ones_are_named_and_the_good_ones_printed() {
    let dir = tempdir().unwrap();
    write_wav(&dir.path().join("a.wav"), 8_000, 1.5);
    std::fs::write(dir.path().join("bad.wav"), b"junk").unwrap();
    let output = run(dir.path(), &["analyze", "a.wav", "bad.wav", "--format", "json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("bad.wav: not a WAV file"));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(all[0]["measures"].is_object());
    assert!(all[1]["error"].as_str().unwrap().contains("bad.wav"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    let dir = tempdir().unwrap();
    write_wav(&dir.path().join("a.wav"), 8_000, 1.0);
    let mut child = common::command(dir.path(), &["analyze", "a.wav", "a.wav", "a.wav"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

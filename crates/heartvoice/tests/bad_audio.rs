//! `analyze` and what people hand it: every coding a recorder writes, and everything that is no recording at all.
//!
//! A file that cannot be analysed gives one line that names it and says what is wrong, exit code 2, and no panic. Audio
//! that is merely bad gives a result that says so.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::audio::{self, ALAW, FLOAT, PCM, ULAW};
use common::{fails, json, run, succeeds};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

/// The result of a single file.
fn analyze(dir: &Path, args: &[&str]) -> Value {
    let args = [&["analyze"], args, &["--format", "json"]].concat();
    json(dir, &args, &[])[0].take()
}

fn reasons(result: &Value) -> String {
    result["quality"]["reasons"].to_string()
}

#[test]
fn every_coding_gives_the_same_voice() {
    let dir = tempdir().unwrap();
    let samples = audio::vowel(16_000, 3.0, 1);
    let mut files: Vec<(String, Vec<u8>)> =
        [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64), (ALAW, 8), (ULAW, 8)]
            .iter()
            .map(|(tag, bits)| (format!("{tag}-{bits}.wav"), audio::coded(*tag, *bits, 16_000, &samples)))
            .collect();
    files.push(("extensible.wav".to_owned(), audio::extensible(16_000, &samples)));
    for (name, bytes) in files {
        std::fs::write(dir.path().join(&name), bytes).unwrap();
        let result = analyze(dir.path(), &[&name, "--whole", "--task", "sustained-vowel"]);
        let measure = |measure: &str| result["measures"][measure].as_f64().unwrap();
        assert!((measure("f0_median_hz") - 120.0).abs() < 0.5, "{name}");
        assert!(measure("hnr_mean_db") > 12.0, "{name}");
        assert_eq!(result["notes"], serde_json::json!([]), "{name}");
    }
    let codes: Vec<u8> = audio::pcm16(&audio::vowel(8_000, 3.0, 1)).into_iter().map(voice::g711::ulaw_encode).collect();
    std::fs::write(dir.path().join("raw.ulaw"), codes).unwrap();
    let result = analyze(dir.path(), &["raw.ulaw"]);
    assert_eq!((result["channel"].as_str(), result["sample_rate_hz"].as_u64()), (Some("telephone"), Some(8_000)));
}

#[test]
fn of_several_channels_the_first_counts_and_a_note_says_so() {
    let dir = tempdir().unwrap();
    let (left, right) = (audio::vowel(8_000, 3.0, 1), vec![0.0; 40_000]);
    std::fs::write(dir.path().join("two.wav"), audio::stereo(8_000, &left, &right)).unwrap();
    audio::write_wav(&dir.path().join("one.wav"), 8_000, &left);
    let (two, one) = (analyze(dir.path(), &["two.wav"]), analyze(dir.path(), &["one.wav"]));
    assert_eq!(two["measures"], one["measures"]);
    assert!(two["notes"][0].as_str().unwrap().contains("2 channels"), "{two}");
    assert!(succeeds(dir.path(), &["analyze", "two.wav"], &[]).contains("note: the file has 2 channels"));
    assert!(succeeds(dir.path(), &["analyze", "two.wav", "--format", "csv"], &[]).contains("2 channels"));
}

#[test]
fn what_is_no_audio_is_refused_on_one_line() {
    let dir = tempdir().unwrap();
    let good = voice::wav::write_pcm16(&audio::pcm16(&audio::vowel(8_000, 1.0, 1)), 8_000);
    let mut infinite = audio::vowel(8_000, 1.0, 1);
    infinite[5_000] = f64::INFINITY;
    let mut not_a_number = infinite.clone();
    not_a_number[5_000] = f64::NAN;
    let files: [(&str, Vec<u8>, &str); 14] = [
        ("empty.wav", Vec::new(), "the file is empty"),
        ("empty.ulaw", Vec::new(), "the file is empty"),
        ("text.wav", b"Dear Sir or Madam".to_vec(), "not a WAV file"),
        ("header.wav", good[..30].to_vec(), "cut off"),
        ("no-audio.wav", good[..44].to_vec(), "holds no audio"),
        ("slow.wav", audio::header(PCM, 16, 1, 1, 1_000).into_iter().chain([0; 1_000]).collect(), "1 Hz"),
        ("fast.wav", audio::header(PCM, 16, 1, 1_000_000, 1_000).into_iter().chain([0; 1_000]).collect(), "1000000 Hz"),
        ("no-channels.wav", audio::header(PCM, 16, 0, 8_000, 100).into_iter().chain([0; 100]).collect(), "0 channels"),
        ("mp3.wav", audio::header(0x55, 16, 1, 8_000, 100).into_iter().chain([0; 100]).collect(), "0x0055"),
        ("nan.wav", audio::coded(FLOAT, 32, 8_000, &not_a_number), "sample 5000"),
        ("inf.wav", audio::coded(FLOAT, 64, 8_000, &infinite), "sample 5000"),
        ("huge.wav", audio::coded(FLOAT, 64, 8_000, &[1e300; 9_000]), "sample 0"),
        ("short.wav", audio::coded(PCM, 16, 8_000, &[0.1; 700]), "too short"),
        ("a\nb.wav", b"text".to_vec(), "not a WAV file"),
    ];
    for (name, bytes, said) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let reason = fails(dir.path(), &["analyze", name], &[], 2);
        assert!(reason.contains(said) && reason.contains(name.split('\n').next().unwrap()), "{name}: {reason}");
    }
}

#[test]
fn what_is_no_file_is_refused_on_one_line() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("folder/sub")).unwrap();
    std::fs::write(at("folder/sub/notes.txt"), "no audio").unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe.wav")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", at("device.wav")).unwrap();
    std::os::unix::fs::symlink(at("gone"), at("dangling.wav")).unwrap();
    for (name, said) in [
        ("missing.wav", "no such file"),
        ("dangling.wav", "no such file"),
        ("folder", "no .wav or .ulaw files"),
        ("pipe.wav", "pipe or a device"),
        ("device.wav", "pipe or a device"),
        ("/dev/null", "pipe or a device"),
    ] {
        let reason = fails(dir.path(), &["analyze", name], &[], 2);
        assert!(reason.contains(said) && reason.contains(name), "{reason}");
    }
    // In a folder, too, a pipe must not be waited for.
    let output = run(dir.path(), &["analyze", "."], &[]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let path = dir.path().join("secret.wav");
    audio::write_wav(&path, 8_000, &audio::vowel(8_000, 1.0, 1));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("not tested: this user may read everything");
        return;
    }
    let reason = fails(dir.path(), &["analyze", "secret.wav"], &[], 2);
    assert!(reason.contains("secret.wav: cannot be read: permission denied"), "{reason}");
}

#[test]
fn bad_sound_is_a_result_that_says_so() {
    let dir = tempdir().unwrap();
    for (name, samples, said) in
        [("silent.wav", vec![0.0; 24_000], "too-little-voice"), ("dc.wav", vec![0.5; 24_000], "too-little-voice")]
    {
        audio::write_wav(&dir.path().join(name), 8_000, &samples);
        let result = analyze(dir.path(), &[name, "--task", "sustained-vowel"]);
        assert_eq!(result["quality"]["usable"], false, "{name}: {result}");
        assert!(reasons(&result).contains(said), "{name}: {}", reasons(&result));
        let measured = result["measures"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        assert_eq!(measured.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        // The same with nothing withheld must not stumble either.
        let whole = analyze(dir.path(), &[name, "--whole"]);
        assert!(whole["measures"].is_object(), "{name}");
    }
}

#[test]
fn sound_that_was_clipped_all_the_way_says_so_and_has_no_shimmer() {
    let dir = tempdir().unwrap();
    let square: Vec<f64> = (0..24_000).map(|n| if n / 40 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    audio::write_wav(&dir.path().join("square.wav"), 8_000, &square);
    let result = analyze(dir.path(), &["square.wav", "--task", "sustained-vowel"]);
    assert!(reasons(&result).contains("clipped"), "{}", reasons(&result));
    assert!(result["measures"]["shimmer_local_percent"].is_null(), "{result}");
}

#[test]
fn a_recording_that_was_cut_off_is_analysed_as_far_as_it_goes() {
    let dir = tempdir().unwrap();
    let bytes = voice::wav::write_pcm16(&audio::pcm16(&audio::vowel(8_000, 6.0, 1)), 8_000);
    std::fs::write(dir.path().join("cut.wav"), &bytes[..44 + 2 * 8_000 * 4]).unwrap();
    let result = analyze(dir.path(), &["cut.wav", "--task", "sustained-vowel"]);
    assert_eq!(result["duration_s"], 4.0);
    assert!(result["notes"][0].as_str().unwrap().contains("promises 6.40 s of audio, 4.00 s are there"), "{result}");
    assert_eq!(result["quality"]["usable"], true);
}

#[test]
fn of_a_file_of_hours_only_the_wanted_part_is_read() {
    let dir = tempdir().unwrap();
    let samples = audio::vowel(16_000, 3.0, 1);
    // The second has more bytes than its header can say.
    for (name, hours) in [("day.wav", 6), ("week.wav", 48)] {
        audio::long_file(&dir.path().join(name), 16_000, hours, 7_200, &samples);
        let reason = fails(dir.path(), &["analyze", name], &[], 2);
        assert!(reason.contains("too long to analyse at once") && reason.contains("--start"), "{reason}");
        assert!(reason.contains(&format!("{}.0 minutes", hours * 60)), "{reason}");
        let args = ["analyze", name, "--start", "7200", "--end", "7203.4", "--format", "json"];
        let began = std::time::Instant::now();
        let result = json(dir.path(), &args, &[])[0].take();
        assert!(began.elapsed().as_secs() < 20, "the whole file was read");
        assert!((result["measures"]["f0_median_hz"].as_f64().unwrap() - 120.0).abs() < 1.0);
        assert_eq!(result["start_s"], 7_200.0);
        assert!(result["window"]["start_s"].as_f64().unwrap() > 7_200.0);
    }
    let reason = fails(dir.path(), &["analyze", "day.wav", "--start", "90000"], &[], 2);
    assert!(reason.contains("the file ends at 21600.000 s"), "{reason}");
}

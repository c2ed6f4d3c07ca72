//! `analyze` with many files: order, threads, formats, exit codes.
#![allow(clippy::unwrap_used)]

mod common;

use common::audio;
use common::{fails, json, run, succeeds};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A folder of recordings of different lengths, two folders deep, one of them broken.
fn recordings() -> TempDir {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join("study").join(name);
    std::fs::create_dir_all(at("b/deep")).unwrap();
    for (seed, (name, seconds)) in
        [("a.wav", 4.0), ("b/1.wav", 0.5), ("b/deep/x.WAV", 1.0), ("b/z.wav", 0.3), ("c.wav", 2.0)]
            .into_iter()
            .enumerate()
    {
        audio::write_wav(&at(name), 8_000, &audio::vowel(8_000, seconds, seed as u64));
    }
    audio::write_wav(&at("d.wav"), 16_000, &audio::count(16_000, 6));
    std::fs::write(at("b/broken.wav"), "text").unwrap();
    std::fs::write(at("b/.hidden.wav"), "text").unwrap();
    std::fs::write(at("notes.txt"), "text").unwrap();
    dir
}

/// Standard output of a run in which one file fails.
fn partly(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.starts_with("error: study/b/broken.wav: not a WAV file"), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn threads_change_nothing() {
    let dir = recordings();
    for format in ["table", "json", "jsonl", "csv"] {
        let with = |jobs: &str| partly(dir.path(), &["analyze", "study", "--format", format, "--jobs", jobs]);
        let one = with("1");
        assert!(!one.is_empty() && one == with("2") && one == with("16"), "{format}");
        assert_eq!(one, partly(dir.path(), &["analyze", "study", "--format", format]), "{format}");
    }
}

#[test]
fn folders_are_searched_to_the_bottom_and_printed_in_order() {
    let dir = recordings();
    let lines = partly(dir.path(), &["analyze", "study", "study/c.wav", "--format", "jsonl"]);
    let files = lines.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["file"].as_str().unwrap().trim_start_matches("study/").to_owned()
    });
    let expected = ["a.wav", "b/1.wav", "b/broken.wav", "b/deep/x.WAV", "b/z.wav", "c.wav", "d.wav", "c.wav"];
    assert_eq!(files.collect::<Vec<_>>(), expected);
}

#[test]
fn csv_has_a_row_for_every_file_and_a_column_for_everything() {
    let dir = recordings();
    let text = partly(dir.path(), &["analyze", "study", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    for name in ["file", "error", "usable", "reasons", "window_start_s", "validity", "notes", "engine_version"] {
        column(name);
    }
    for (name, _) in voice::Measures::default().entries() {
        column(name);
    }
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.len() == header.len()));
    let broken = &rows[2];
    assert!(broken[column("error")].contains("not a WAV file") && broken[column("usable")].is_empty());
    assert!(rows[0][column("error")].is_empty() && !rows[0][column("f0_median_hz")].is_empty());
    assert!(rows[0][column("validity")].contains("shimmer_local_percent=telephone-limited"));
}

#[test]
fn numbers_are_the_same_in_every_format_to_the_last_digit() {
    let dir = recordings();
    let args = |format| ["analyze", "study/a.wav", "study/c.wav", "--format", format];
    let all = json(dir.path(), &args("json"), &[]);
    let lines = succeeds(dir.path(), &args("jsonl"), &[]);
    for (line, object) in lines.lines().zip(all.as_array().unwrap()) {
        assert_eq!(&serde_json::from_str::<serde_json::Value>(line).unwrap(), object);
    }
    let text = succeeds(dir.path(), &args("csv"), &[]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    for (row, object) in reader.records().map(Result::unwrap).zip(all.as_array().unwrap()) {
        for (name, value) in header.iter().zip(&row).filter(|(_, value)| !value.is_empty()) {
            if let Some(number) = object["measures"][name].as_f64() {
                assert_eq!(value.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{name}");
            }
        }
    }
}

#[test]
fn a_span_is_cut_out_of_every_file() {
    let dir = recordings();
    let args = ["analyze", "study/a.wav", "study/d.wav", "--start", "0.5", "--end", "2.5", "--format", "json"];
    let all = json(dir.path(), &args, &[]);
    for (object, file, rate) in [(&all[0], "a.wav", 8_000), (&all[1], "d.wav", 16_000)] {
        assert_eq!((object["start_s"].as_f64(), object["duration_s"].as_f64()), (Some(0.5), Some(2.0)));
        let wav = voice::Wav::parse(&std::fs::read(dir.path().join("study").join(file)).unwrap()).unwrap();
        assert_eq!(wav.sample_rate.get(), rate);
        let options = voice::AnalyzeOptions { start_s: Some(0.5), end_s: Some(2.5), ..Default::default() };
        let report = voice::analyze(&wav.samples, wav.sample_rate, &options).unwrap();
        let expected = serde_json::to_value(&report).unwrap();
        for name in ["measures", "pauses", "window", "quality", "validity"] {
            assert_eq!(object[name], expected[name], "{file}: {name}");
        }
    }
}

#[test]
fn all_files_may_be_bad_and_the_rest_of_the_rules_hold() {
    let dir = recordings();
    let output = run(dir.path(), &["analyze", "study/b/broken.wav", "none.wav", "--format", "json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 2);
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(all[0]["error"].is_string() && all[1]["error"].as_str().unwrap().contains("no such file"));
    for jobs in ["0", "257", "-1", "x"] {
        fails(dir.path(), &["analyze", "study", "--jobs", jobs], &[], 2);
    }
}

#[test]
fn a_reader_that_stops_early_stops_the_work() {
    use std::process::Stdio;
    let dir = tempdir().unwrap();
    audio::write_wav(&dir.path().join("a.wav"), 8_000, &audio::vowel(8_000, 2.0, 1));
    let args: Vec<&str> =
        ["analyze", "--format", "jsonl"].into_iter().chain(std::iter::repeat_n("a.wav", 3_000)).collect();
    let mut child =
        common::command(dir.path(), &args, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

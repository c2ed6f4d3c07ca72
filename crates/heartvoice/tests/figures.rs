//! `analyze --plot`: a figure per file that is well-formed, complete, small, and never another file's.
#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine as _;
use common::audio;
use common::{fails, json, succeeds};
use std::path::Path;
use tempfile::tempdir;

fn texts(path: &Path) -> Vec<String> {
    let svg = std::fs::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts = document.descendants().filter(|node| node.has_tag_name("text")).filter_map(|node| node.text());
    texts.map(str::to_owned).collect()
}

#[test]
fn a_figure_shows_what_was_measured() {
    let dir = tempdir().unwrap();
    audio::write_wav(&dir.path().join("vowel <1>.wav"), 8_000, &audio::vowel(8_000, 4.0, 1));
    let args = ["analyze", "vowel <1>.wav", "--task", "sustained-vowel", "--plot", "out/figures", "--format", "json"];
    let result = json(dir.path(), &args, &[])[0].take();
    assert_eq!(result["figure"], "out/figures/vowel <1>.svg");
    let path = dir.path().join("out/figures/vowel <1>.svg");
    let texts = texts(&path);
    let has = |text: &str| texts.iter().any(|found| found.contains(text));
    for text in [
        "vowel <1>.wav",
        "Time (s)",
        "Amplitude",
        "Frequency (kHz)",
        "f0 (Hz)",
        "Intensity (dB)",
        "† telephone-limited",
    ] {
        assert!(has(text), "{text} is missing in {texts:?}");
    }
    let f0 = result["measures"]["f0_mean_hz"].as_f64().unwrap();
    assert!(has(&format!("{f0:.2}")) && has(result["engine_version"].as_str().unwrap()));
    assert!(has("measured stretch") && has("Quality: usable"));
    // The folder it lies in may name a person; the figure must not.
    assert!(!texts.iter().any(|text| text.contains("out/") || text.contains('/') && text.contains("tmp")));
    let svg = std::fs::read_to_string(&path).unwrap();
    let picture = svg.split("base64,").nth(1).unwrap().split('"').next().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(picture).unwrap();
    let info = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap().info().size();
    assert!(info.0 > 1_000 && info.1 > 100, "{info:?}");
    assert!(
        succeeds(dir.path(), &["analyze", "vowel <1>.wav", "--plot", "p"], &[]).contains("figure: p/vowel <1>.svg")
    );
}

#[test]
fn sounds_of_all_kinds_can_be_drawn_and_stay_small() {
    let dir = tempdir().unwrap();
    let minutes: Vec<f64> = audio::count(8_000, 20).repeat(25);
    for (name, rate, samples) in [
        ("silent.wav", 8_000, vec![0.0; 16_000]),
        ("dc.wav", 8_000, vec![0.9; 16_000]),
        ("short.wav", 44_100, audio::vowel(44_100, 0.3, 1)[8_000..].to_vec()),
        ("counting.wav", 16_000, audio::count(16_000, 20)),
        ("slow.wav", 4_000, audio::vowel(8_000, 1.0, 1)),
        ("fast.wav", 384_000, vec![0.01; 60_000]),
        ("minutes.wav", 8_000, minutes),
    ] {
        audio::write_wav(&dir.path().join(name), rate, &samples);
    }
    let began = std::time::Instant::now();
    let all = json(dir.path(), &["analyze", ".", "--plot", "out", "--format", "json"], &[]);
    assert!(began.elapsed().as_secs() < 120);
    for object in all.as_array().unwrap() {
        let path = dir.path().join(object["figure"].as_str().unwrap());
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.len() < 600_000, "{}: {} bytes", path.display(), svg.len());
        let numbers = roxmltree::Document::parse(&svg).unwrap();
        let numbers = numbers.descendants().flat_map(|node| node.attributes()).filter(|a| a.name() != "href");
        assert!(numbers.clone().count() > 100 && !numbers.into_iter().any(|a| a.value().contains("NaN")));
    }
    let silent = texts(&dir.path().join("out/silent.svg"));
    assert!(silent.iter().any(|text| text == "no voice was found"));
    assert!(silent.iter().any(|text| text.contains("NOT USABLE")));
}

#[test]
fn no_figure_takes_the_place_of_another_and_threads_change_nothing() {
    let dir = tempdir().unwrap();
    for (seed, name) in ["a/x.wav", "b/x.wav", "b/y.wav"].into_iter().enumerate() {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        audio::write_wav(&path, 8_000, &audio::vowel(8_000, 1.0, seed as u64));
    }
    std::fs::write(dir.path().join("b/bad.wav"), "text").unwrap();
    let read = |folder: &str| {
        let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    for (folder, jobs) in [("one", "1"), ("many", "4")] {
        common::run(dir.path(), &["analyze", "a", "b", "--plot", folder, "--jobs", jobs], &[]);
    }
    assert_eq!(read("one").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a-x.svg", "b-x.svg", "y.svg"]);
    assert_eq!(read("one"), read("many"));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_anything_is_measured() {
    let dir = tempdir().unwrap();
    audio::write_wav(&dir.path().join("a.wav"), 8_000, &audio::vowel(8_000, 1.0, 1));
    std::fs::write(dir.path().join("taken"), "a file").unwrap();
    for folder in ["taken", "taken/below", "/proc/figures"] {
        let reason = fails(dir.path(), &["analyze", "a.wav", "a.wav", "--plot", folder], &[], 2);
        assert!(reason.contains("--plot: cannot write to") && reason.contains(folder), "{reason}");
    }
}

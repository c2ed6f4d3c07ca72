//! Detectors against what is known about recordings: pauses, syllables, vowel windows, tasks.
//! Tables are printed; run with `--nocapture` to read them. `VOICE_REFERENCE` names another folder
//! of recordings with a manifest of the same form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use voice::g711;
use voice::nuclei;
use voice::pauses::{self, Interval};
use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::quality::{self, Evidence, Verdict};
use voice::sound::Sound;
use voice::synth::{CountingSpec, TalkSpec, Tract, VoiceSpec, counting, talk};
use voice::task;
use voice::wav::Wav;
use voice::{Channel, SampleRate, Task};

fn folder() -> Option<PathBuf> {
    let path = std::env::var_os("VOICE_REFERENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/voice"),
        PathBuf::from,
    );
    path.is_dir().then_some(path)
}

fn manifest(folder: &Path) -> Vec<Value> {
    let bytes = std::fs::read(folder.join("audio/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["files"].as_array().unwrap().clone()
}

fn recording(folder: &Path, file: &Value, set: &str) -> Wav {
    let key = if set == "wide" { "file" } else { "ulaw8k" };
    let path = folder.join("audio").join(file[key].as_str().unwrap());
    Wav::parse(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn counted_pauses_match_the_marks() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let mut failures = Vec::new();
    for file in manifest(&folder) {
        let Some(marks) = file["truth"]["marks"].as_array() else { continue };
        let id = file["id"].as_str().unwrap();
        for set in ["wide", "ulaw8k"] {
            let wav = recording(&folder, &file, set);
            let sound = Sound::new(&wav.samples, wav.sample_rate);
            let map = pauses::detect_with(&sound, contour(&sound).as_ref());
            let at = |k: usize, end: usize| marks[k][end].as_f64().unwrap();
            let truth: Vec<(f64, f64)> = (1..marks.len()).map(|k| (at(k - 1, 1), at(k, 0))).collect();
            let (mut worst, mut sum): (f64, f64) = (0.0, 0.0);
            let found = map.pauses();
            for (start, end) in &truth {
                let nearest = found
                    .iter()
                    .map(|p| (p.start_s - start, p.end_s - end))
                    .min_by(|a, b| (a.0.abs() + a.1.abs()).total_cmp(&(b.0.abs() + b.1.abs())))
                    .unwrap_or((9.0, 9.0));
                let error = if nearest.0.abs() > nearest.1.abs() { nearest.0 } else { nearest.1 };
                if error.abs() > worst.abs() {
                    worst = error;
                }
                sum += error.abs();
                if std::env::var_os("VERBOSE").is_some() && error.abs() > 0.03 {
                    println!("   {id} {set}: {start:.3}-{end:.3} off by {:+.3} {:+.3}", nearest.0, nearest.1);
                }
            }
            println!(
                "{id:<26} {set:<7} pauses {:>2} of {:>2}  worst edge {:+5.0} ms, mean {:4.1} ms",
                found.len(),
                truth.len(),
                1e3 * worst,
                1e3 * sum / truth.len() as f64
            );
            if found.len() != truth.len() || worst.abs() > 0.03 {
                failures.push(format!("{id} {set}: {} of {}, {worst:+.3}", found.len(), truth.len()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn syllables_are_counted_within_a_fifth() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let mut failures = Vec::new();
    for file in manifest(&folder) {
        let Some(truth) = file["truth"]["syllables"].as_f64() else { continue };
        let id = file["id"].as_str().unwrap();
        for set in ["wide", "ulaw8k"] {
            let wav = recording(&folder, &file, set);
            let sound = Sound::new(&wav.samples, wav.sample_rate);
            let contour = pitch::track(&sound, &nuclei::pitch_settings()).unwrap();
            let found = nuclei::find(&sound, &contour).unwrap();
            let map = pauses::detect(&sound);
            let error = found.count() as f64 / truth - 1.0;
            println!(
                "{id:<26} {set:<7} syllables {:>3} of {truth:>3} ({:+5.1} %)  speech rate {:.2}/s, articulation {:.2}/s",
                found.count(),
                100.0 * error,
                found.rate(sound.end()).unwrap(),
                found.rate(map.speech_s()).unwrap(),
            );
            if error.abs() > 0.2 {
                failures.push(format!("{id} {set}: {} of {truth}", found.count()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn synthetic_syllables_are_counted_at_every_rate() {
    let mut failures = Vec::new();
    for rate in [2.0, 3.0, 4.0, 5.0, 6.0, 7.0] {
        for (f0_hz, tract) in [(85.0, Tract::Male), (120.0, Tract::Male), (210.0, Tract::Female)] {
            for background in [-62.0, -40.0] {
                let voice = VoiceSpec { f0_hz, tract, background_dbfs: Some(background), ..VoiceSpec::default() };
                let spec = TalkSpec { syllables_per_s: rate, ..TalkSpec::default() };
                let recording = talk(&voice, &spec, SampleRate::TELEPHONE);
                let sound = Sound::new(&recording.samples, SampleRate::TELEPHONE);
                let contour = pitch::track(&sound, &nuclei::pitch_settings()).unwrap();
                let found = nuclei::find(&sound, &contour).unwrap().count() as f64;
                let error = found / recording.truth.syllables as f64 - 1.0;
                println!("synthetic {rate} per s, {f0_hz} Hz, {background} dBFS: {:+.1} %", 100.0 * error);
                if error.abs() > 0.2 {
                    failures.push(format!("{rate} {f0_hz} {background}: {error:+.3}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

fn contour(sound: &Sound<'_>) -> Option<pitch::PitchTrack> {
    pitch::track(sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0))
}

#[test]
fn tasks_are_told_apart() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let mut table = BTreeMap::<(String, &str), BTreeMap<&str, usize>>::new();
    let mut failures = Vec::new();
    for file in manifest(&folder) {
        let id = file["id"].as_str().unwrap();
        let kind = file["kind"].as_str().unwrap();
        for set in ["wide", "ulaw8k"] {
            let wav = recording(&folder, &file, set);
            let sound = Sound::new(&wav.samples, wav.sample_rate);
            let track = contour(&sound);
            let map = pauses::detect(&sound);
            let syllables = track.as_ref().and_then(|t| nuclei::find(&sound, t)).map(|n| n.count());
            let decision = task::decide(&sound, track.as_ref(), &map, syllables);
            *table.entry((kind.to_owned(), set)).or_default().entry(decision.task.as_str()).or_default() += 1;
            // Without any voice nobody could tell a vowel from noise.
            let voiceless = track.as_ref().is_none_or(|t| t.voiced_s() == 0.0);
            let expected = match kind {
                _ if voiceless => Task::Speech,
                "vowel" | "vowel_synth" => Task::SustainedVowel,
                // Ten digits in one breath are not isolated words.
                "counting" if id == "c_cmu_numbers" => Task::Speech,
                "speech_synth" if id == "e_espeak_count" => Task::Counting,
                "counting" => Task::Counting,
                _ => Task::Speech,
            };
            if decision.task != expected {
                failures.push(format!("{id} {set}: {} because {}", decision.task, decision.reason));
            }
        }
    }
    for ((kind, set), decisions) in table {
        println!("{kind:<13} {set:<7} {decisions:?}");
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_gate_on_every_recording() {
    let Some(folder) = folder() else {
        println!("reference recordings are not here: skipped");
        return;
    };
    let mut table = BTreeMap::<String, BTreeMap<String, usize>>::new();
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for file in manifest(&folder) {
        let id = file["id"].as_str().unwrap();
        let kind = file["kind"].as_str().unwrap();
        for set in ["wide", "ulaw8k"] {
            let wav = recording(&folder, &file, set);
            let sound = Sound::new(&wav.samples, wav.sample_rate);
            let (task, channel) = match (kind, set) {
                ("vowel" | "vowel_synth", "wide") => (Task::SustainedVowel, Channel::Wideband),
                ("vowel" | "vowel_synth", _) => (Task::SustainedVowel, Channel::Telephone),
                ("counting", "wide") => (Task::Counting, Channel::Wideband),
                ("counting", _) => (Task::Counting, Channel::Telephone),
                (_, "wide") => (Task::Speech, Channel::Wideband),
                _ => (Task::Speech, Channel::Telephone),
            };
            let verdict = gate(&sound, task, channel, &[]);
            let row = table.entry(format!("{kind} {set}")).or_default();
            *row.entry("(recordings)".to_owned()).or_default() += 1;
            for reason in &verdict.quality.reasons {
                let code = reason.split(':').next().unwrap().to_owned();
                *row.entry(code.clone()).or_default() += 1;
                names.entry(code).or_default().push(format!("{id} {set} ({reason})"));
            }
        }
    }
    for (row, counts) in table {
        println!("{row:<20} {counts:?}");
    }
    // Nothing of this is in these recordings; what else is found is printed.
    for (code, where_found) in &names {
        if !code.starts_with("too-") {
            println!("{code}: {}", where_found.join(", "));
        }
    }
    for code in ["background-voice-or-music", "gain-control", "lost-audio", "clipped", "some-clipping"] {
        assert!(!names.contains_key(code), "{code}: {:?}", names.get(code));
    }
}

fn gate(sound: &Sound<'_>, task: Task, channel: Channel, gaps: &[Interval]) -> Verdict {
    let pitch = contour(sound);
    let cross = pitch::track(sound, &PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0));
    let low_floor = pitch::track(sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 50.0, 500.0));
    let speech = pauses::detect(sound);
    let damage = quality::damage(sound, channel);
    quality::assess(&Evidence {
        sound,
        pitch: pitch.as_ref(),
        cross: cross.as_ref(),
        low_floor: low_floor.as_ref(),
        speech: &speech,
        task,
        gaps,
        damage: &damage,
    })
}

/// White noise of an RMS level in dBFS.
fn noise(count: usize, dbfs: f64, mut state: u32) -> Vec<f64> {
    let amplitude = 3_f64.sqrt() * 10_f64.powf(dbfs / 20.0);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            amplitude * (f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
        })
        .collect()
}

fn through_ulaw(samples: &[f64]) -> Vec<f64> {
    let code = |s: &f64| g711::ulaw_encode((s * 32_768.0) as i16);
    samples.iter().map(|s| f64::from(g711::ulaw_decode(code(s))) / 32_768.0).collect()
}

/// Largest deviation of the edges of found pauses from the true ones; `None` if the number differs.
fn worst_edge(found: &[Interval], truth: &[Interval]) -> Option<f64> {
    (found.len() == truth.len()).then(|| {
        let deviations =
            found.iter().zip(truth).map(|(a, b)| (a.start_s - b.start_s).abs().max((a.end_s - b.end_s).abs()));
        deviations.fold(0.0, f64::max)
    })
}

#[test]
fn synthetic_pauses_are_exact_in_every_noise_and_at_every_rate() {
    for rate in [8_000, 16_000, 22_050, 44_100] {
        let rate = SampleRate::new(rate).unwrap();
        for (f0_hz, tract) in [(95.0, Tract::Male), (210.0, Tract::Female)] {
            for (background_dbfs, allowed_s) in
                [(None, 0.03), (Some(-70.0), 0.03), (Some(-60.0), 0.03), (Some(-45.0), 0.03)]
            {
                let voice = VoiceSpec { f0_hz, tract, background_dbfs, ..VoiceSpec::default() };
                let spec = CountingSpec { pause_s: 0.25, ..CountingSpec::default() };
                let recording = counting(&voice, &spec, rate);
                let mut versions = vec![recording.samples.clone()];
                if rate == SampleRate::TELEPHONE {
                    versions.push(through_ulaw(&recording.samples));
                }
                for samples in versions {
                    let map = pauses::detect(&Sound::new(&samples, rate));
                    let worst = worst_edge(map.pauses(), &recording.truth.pauses);
                    assert!(
                        worst.is_some_and(|w| w <= allowed_s),
                        "{rate:?} {f0_hz} Hz {background_dbfs:?}: {worst:?}, {} of {}",
                        map.pauses().len(),
                        recording.truth.pauses.len()
                    );
                }
            }
        }
    }
}

#[test]
fn audible_breath_does_not_shorten_pauses() {
    for breath_dbfs in [-45.0, -38.0] {
        let spec = CountingSpec { numbers_per_breath: 2, breath_pause_s: 1.1, ..CountingSpec::default() };
        let recording = counting(&VoiceSpec::default(), &spec, SampleRate::TELEPHONE);
        let mut samples = recording.samples.clone();
        // Drawn in for 0.6 s, ending 0.1 s before the next word.
        let breath = noise(4800, breath_dbfs, 5);
        for pause in recording.truth.pauses.iter().filter(|p| p.duration_s() > 1.0) {
            let from = ((pause.end_s - 0.7) * 8000.0) as usize;
            for (n, sample) in breath.iter().enumerate() {
                let ramp = (n.min(4799 - n) as f64 / 800.0).min(1.0);
                samples[from + n] += ramp * sample;
            }
        }
        let samples = through_ulaw(&samples);
        let sound = Sound::new(&samples, SampleRate::TELEPHONE);
        let map = pauses::detect_with(&sound, contour(&sound).as_ref());
        let worst = worst_edge(map.pauses(), &recording.truth.pauses);
        assert!(worst.is_some_and(|w| w < 0.15), "{breath_dbfs}: {worst:?} {:?}", map.pauses());
        // Plain words are left as they are.
        let sound = Sound::new(&recording.samples, SampleRate::TELEPHONE);
        assert_eq!(pauses::detect_with(&sound, contour(&sound).as_ref()), pauses::detect(&sound));
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{AnalyzeOptions, Task, analyze};

const RATE: SampleRate = SampleRate::TELEPHONE;

fn measured(voice: &VoiceSpec) -> (crate::Measures, VowelTruth) {
    let vowel = sustained_vowel(voice, 4.0, RATE);
    let options = AnalyzeOptions { task: Task::SustainedVowel, ..AnalyzeOptions::default() };
    let report = analyze(&vowel.samples, RATE, &options).unwrap();
    assert!(report.quality.usable, "{:?}", report.quality);
    (report.measures, vowel.truth)
}

fn clean() -> VoiceSpec {
    VoiceSpec { jitter_percent: 0.0, shimmer_percent: 0.0, hnr_db: None, background_dbfs: None, ..VoiceSpec::default() }
}

#[test]
fn equal_settings_give_equal_samples() {
    let voice = VoiceSpec::default();
    let first = talk(&voice, &TalkSpec::default(), RATE);
    assert_eq!(first, talk(&voice, &TalkSpec::default(), RATE));
    let other = VoiceSpec { seed: 2, ..voice };
    assert_ne!(first, talk(&other, &TalkSpec::default(), RATE));
}

#[test]
fn a_perfect_voice_measures_as_perfect() {
    let (measures, truth) = measured(&clean());
    assert!((measures.f0_mean_hz.unwrap() - truth.f0_mean_hz.unwrap()).abs() < 0.05);
    // At 8 kHz the parabola through the correlation leaves a little.
    let jitter = measures.jitter_local_percent.unwrap();
    assert!(jitter < 0.05, "{jitter}");
    assert!(measures.shimmer_local_percent.unwrap() < 0.5);
    assert!(measures.hnr_mean_db.unwrap() > 35.0);
}

#[test]
fn jitter_is_measured_as_drawn() {
    for jitter_percent in [0.5, 1.0, 2.0] {
        let voice = VoiceSpec { jitter_percent, ..clean() };
        let (measures, truth) = measured(&voice);
        // The report measures the steadiest 3 of the 4 s, so it reads a little low.
        let ratio = measures.jitter_local_percent.unwrap() / truth.jitter_local_percent.unwrap();
        assert!((0.75..1.15).contains(&ratio), "{jitter_percent}: {ratio}");
    }
}

#[test]
fn shimmer_follows_what_was_drawn() {
    for shimmer_percent in [4.0, 8.0] {
        let voice = VoiceSpec { shimmer_percent, ..clean() };
        let (measures, truth) = measured(&voice);
        let ratio = measures.shimmer_local_percent.unwrap() / truth.shimmer_local_percent.unwrap();
        // Formants ring on from cycle to cycle, which evens amplitudes out.
        assert!((0.6..1.2).contains(&ratio), "{shimmer_percent}: {ratio}");
    }
}

#[test]
fn noise_is_measured_as_mixed() {
    for hnr in [10.0, 15.0, 20.0, 25.0] {
        for (f0_hz, tract) in [(110.0, Tract::Male), (210.0, Tract::Female)] {
            let voice = VoiceSpec { hnr_db: Some(hnr), f0_hz, tract, ..clean() };
            let (measures, _) = measured(&voice);
            let error = measures.hnr_mean_db.unwrap() - hnr;
            assert!(error.abs() < 2.0, "{hnr} dB at {f0_hz} Hz reads {error:+.2}");
        }
    }
}

#[test]
fn counting_has_the_pauses_it_was_given() {
    let spec = CountingSpec { pause_s: 0.4, breath_pause_s: 1.0, numbers_per_breath: 5, ..CountingSpec::default() };
    let recording = counting(&VoiceSpec::default(), &spec, RATE);
    assert_eq!(recording.truth.syllables, 32);
    assert_eq!(recording.truth.pauses.len(), 19);
    let options = AnalyzeOptions { task: Task::Counting, ..AnalyzeOptions::default() };
    let report = analyze(&recording.samples, RATE, &options).unwrap();
    assert!(report.quality.usable, "{:?}", report.quality);
    assert_eq!(report.measures.pause_count, Some(19));
    for (found, truth) in report.pauses.iter().zip(&recording.truth.pauses) {
        assert!((found.start_s - truth.start_s).abs() < 0.06, "{found:?} {truth:?}");
        assert!((found.duration_s - truth.duration_s()).abs() < 0.1);
    }
}

#[test]
fn talk_passes_the_gate_for_open_speech() {
    for seed in 0..3 {
        let voice = VoiceSpec { seed, f0_hz: 190.0, tract: Tract::Female, ..VoiceSpec::default() };
        let recording = talk(&voice, &TalkSpec::default(), RATE);
        assert_eq!(recording.samples.len(), 240_000);
        let report = analyze(&recording.samples, RATE, &AnalyzeOptions::default()).unwrap();
        assert_eq!(report.task, Task::Speech);
        assert!(report.quality.usable, "{:?}", report.quality);
        let found = report.measures.pause_count.unwrap() as usize;
        assert_eq!(found, recording.truth.pauses.len());
    }
}

#[test]
fn numbers_have_their_english_syllables() {
    assert_eq!((1..=20).map(syllables_of).sum::<usize>(), 32);
    assert_eq!(syllables_of(77), 5);
}

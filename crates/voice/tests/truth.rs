//! The useful range of the main measures: synthetic vowels whose every glottal cycle is known are
//! measured as the product measures them, wide-band and through a telephone, and must come out
//! within stated bounds of the truth. The bounds are the ones the documentation promises
//! (`docs/measures/curves.md`); the voices are not those of the curves there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use voice::synth::{self, Recording, TalkSpec, Tract, VoiceSpec, VowelTruth};
use voice::{AnalyzeOptions, Measures, Resampler, SampleRate, Sound, Task, analyze, g711, pauses};

/// Men's voices: higher up, what is read of jitter and shimmer depends ever more on how harmonics and
/// formants meet, see the curves.
const LOW_F0_HZ: [f64; 4] = [97.0, 113.0, 127.0, 148.0];

fn voice(f0_hz: f64, seed: u64) -> VoiceSpec {
    VoiceSpec {
        f0_hz,
        tract: if f0_hz < 165.0 { Tract::Male } else { Tract::Female },
        jitter_percent: 0.0,
        shimmer_percent: 0.0,
        hnr_db: None,
        background_dbfs: None,
        seed,
        ..VoiceSpec::default()
    }
}

fn wideband() -> SampleRate {
    SampleRate::new(16_000).unwrap()
}

/// What arrives of a wide-band recording over the telephone.
fn telephoned<T>(recording: &Recording<T>) -> Vec<f64> {
    let mut narrow = Vec::new();
    let mut resampler = Resampler::new(16_000, 8_000).unwrap();
    resampler.process(&recording.to_pcm16(), &mut narrow);
    resampler.flush(&mut narrow);
    let codes: Vec<u8> = narrow.into_iter().map(g711::ulaw_encode).collect();
    let mut decoded = Vec::new();
    g711::ulaw_decode_slice(&codes, &mut decoded);
    decoded
}

/// Measures wide-band and over the telephone, and the truth.
fn measured(voice: &VoiceSpec) -> ([(&'static str, Measures); 2], VowelTruth) {
    let vowel = synth::sustained_vowel(voice, 3.5, wideband());
    let decoded = telephoned(&vowel);
    let options = AnalyzeOptions { task: Task::SustainedVowel, ..AnalyzeOptions::default() };
    let of = |samples: &[f64], rate: u32| {
        let report = analyze(samples, SampleRate::new(rate).unwrap(), &options).unwrap();
        assert!(report.quality.usable, "{voice:?}: {:?}", report.quality);
        report.measures
    };
    ([("wide-band", of(&vowel.samples, 16_000)), ("telephone", of(&decoded, 8_000))], vowel.truth)
}

/// Measured over true must lie in the range, for every level, voice and channel.
fn holds(
    levels: &[f64],
    range: std::ops::Range<f64>,
    voice_of: impl Fn(f64, f64, u64) -> VoiceSpec,
    ratio: impl Fn(&Measures, &VowelTruth) -> f64,
) {
    for (k, &level) in levels.iter().enumerate() {
        for (n, &f0_hz) in LOW_F0_HZ.iter().enumerate() {
            let seed = 1_000 + 10 * k as u64 + n as u64;
            let (channels, truth) = measured(&voice_of(level, f0_hz, seed));
            for (channel, measures) in channels {
                let ratio = ratio(&measures, &truth);
                println!("{level:>5} at {f0_hz} Hz, {channel}: {ratio:.4}");
                assert!(range.contains(&ratio), "{level} at {f0_hz} Hz, {channel}: {ratio}");
            }
        }
    }
}

#[test]
fn jitter_is_at_most_a_quarter_above_and_a_third_below_the_truth() {
    holds(
        &[0.2, 1.0, 3.0],
        0.65..1.25,
        |jitter_percent, f0_hz, seed| VoiceSpec { jitter_percent, ..voice(f0_hz, seed) },
        |m, truth| m.jitter_local_percent.unwrap() / truth.jitter_local_percent.unwrap(),
    );
}

#[test]
fn shimmer_is_at_most_a_quarter_above_and_a_third_below_the_truth() {
    holds(
        &[2.0, 10.0],
        0.70..1.25,
        |shimmer_percent, f0_hz, seed| VoiceSpec { shimmer_percent, ..voice(f0_hz, seed) },
        |m, truth| m.shimmer_local_percent.unwrap() / truth.shimmer_local_percent.unwrap(),
    );
}

#[test]
fn harmonicity_is_within_three_and_a_half_decibel_of_the_truth() {
    for (k, hnr) in [5.0, 15.0, 30.0].into_iter().enumerate() {
        for (n, f0_hz) in [97.0, 127.0, 190.0, 290.0].into_iter().enumerate() {
            let seed = 2_000 + 10 * k as u64 + n as u64;
            let (channels, _) = measured(&VoiceSpec { hnr_db: Some(hnr), ..voice(f0_hz, seed) });
            for (channel, measures) in channels {
                let error = measures.hnr_mean_db.unwrap() - hnr;
                println!("{hnr:>4} dB at {f0_hz} Hz, {channel}: {error:+.2} dB");
                assert!(error.abs() < 3.5, "{hnr} dB at {f0_hz} Hz, {channel}: {error:+.2} dB");
            }
        }
    }
}

#[test]
fn fundamental_frequency_is_within_a_tenth_of_a_percent() {
    for (k, f0_hz) in [83.0, 133.0, 226.0, 391.0].into_iter().enumerate() {
        let perfect = voice(f0_hz, 3_000 + k as u64);
        let ordinary = VoiceSpec { f0_hz, tract: perfect.tract, seed: perfect.seed, ..VoiceSpec::default() };
        for voice in [perfect, ordinary] {
            let (channels, truth) = measured(&voice);
            for (channel, measures) in channels {
                let error = measures.f0_mean_hz.unwrap() / truth.f0_mean_hz.unwrap() - 1.0;
                println!("{f0_hz} Hz, {channel}: {:+.4} %", 100.0 * error);
                assert!(error.abs() < 1e-3, "{f0_hz} Hz, {channel}: {:+.4} %", 100.0 * error);
            }
        }
    }
}

/// RMS level in dBFS of what is spoken in a recording without background.
fn spoken_dbfs(voice: &VoiceSpec, spec: &TalkSpec) -> f64 {
    let quiet = synth::talk(&VoiceSpec { background_dbfs: None, ..*voice }, spec, wideband());
    let index = |t: f64| ((t * 16_000.0) as usize).min(quiet.samples.len());
    let spoken: Vec<f64> =
        quiet.truth.phrases.iter().flat_map(|p| quiet.samples[index(p.start_s)..index(p.end_s)].to_vec()).collect();
    10.0 * (spoken.iter().map(|s| s * s).sum::<f64>() / spoken.len() as f64).log10()
}

#[test]
fn every_pause_is_found_within_thirty_milliseconds() {
    for (k, snr) in [12.0, 18.0, 30.0].into_iter().enumerate() {
        let spec = TalkSpec { seconds: 20.0, syllables_per_breath: 7, ..TalkSpec::default() };
        let voice = VoiceSpec { seed: 4_000 + k as u64, f0_hz: 105.0 + 50.0 * k as f64, ..VoiceSpec::default() };
        let background_dbfs = Some(spoken_dbfs(&voice, &spec) - snr);
        let recording = synth::talk(&VoiceSpec { background_dbfs, ..voice }, &spec, wideband());
        let decoded = telephoned(&recording);
        for (samples, rate) in [(&recording.samples, wideband()), (&decoded, SampleRate::TELEPHONE)] {
            let map = pauses::detect(&Sound::new(samples, rate));
            let (found, truth) = (map.pauses(), &recording.truth.pauses);
            assert_eq!(found.len(), truth.len(), "{snr} dB, {} Hz: {found:?} {truth:?}", rate.get());
            for (found, truth) in found.iter().zip(truth) {
                let worst = (found.start_s - truth.start_s).abs().max((found.end_s - truth.end_s).abs());
                println!("{snr} dB, {} Hz: {:.1} ms", rate.get(), 1000.0 * worst);
                assert!(worst < 0.03, "{snr} dB, {} Hz: {found:?} {truth:?}", rate.get());
            }
        }
    }
}

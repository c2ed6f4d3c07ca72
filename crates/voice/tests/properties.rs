//! What must hold for any audio.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use voice::synth::{self, CountingSpec, VoiceSpec};
use voice::{AnalyzeError, AnalyzeOptions, Analyzer, AnalyzerConfig, Channel, Report, SampleRate, Task, analyze, g711};

const RATE: SampleRate = SampleRate::TELEPHONE;

fn tasks() -> impl Strategy<Value = Task> {
    prop::sample::select(vec![Task::Speech, Task::Counting, Task::SustainedVowel, Task::Auto])
}

fn assert_sane(report: &Report) {
    for (name, value) in report.measures.entries() {
        assert!(value.is_none_or(f64::is_finite), "{name}: {value:?}");
    }
    let quality = &report.quality;
    assert!(quality.snr_db.is_none_or(f64::is_finite));
    assert!((0.0..=1.0).contains(&quality.clipped_fraction));
    assert!(quality.usable || !quality.reasons.is_empty());
    let end = report.start_s + report.duration_s;
    for pause in &report.pauses {
        assert!(pause.duration_s >= 0.249 && pause.start_s >= report.start_s);
        assert!(pause.start_s + pause.duration_s <= end + 1e-9);
    }
    if let Some(window) = report.window {
        assert!(window.start_s >= report.start_s && window.end_s <= end + 1e-9);
    }
    for name in report.validity.keys() {
        let known = report.measures.entries().iter().any(|(n, v)| n == name && v.is_some());
        assert!(known, "{name} is marked but was not measured");
    }
    let json = serde_json::to_string(report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.task, report.task);
}

/// A short counting recording with everything an analysis meets.
fn sample_call(seed: u64) -> Vec<u8> {
    let voice = VoiceSpec { seed, ..VoiceSpec::default() };
    let spec = CountingSpec { numbers: 6, ..CountingSpec::default() };
    synth::counting(&voice, &spec, RATE).to_ulaw()
}

#[test]
fn gaps_are_neither_pause_nor_vowel() {
    let voice = VoiceSpec::default();
    let vowel = synth::sustained_vowel(&voice, 7.0, RATE).to_ulaw();
    let mut analyzer = Analyzer::new(AnalyzerConfig { task: Task::SustainedVowel, channel: Channel::Auto });
    analyzer.push_ulaw(&vowel[..24_000]);
    analyzer.push_gap(400);
    analyzer.push_gap(400);
    analyzer.push_ulaw(&vowel[24_800..]);
    let report = analyzer.finish().unwrap();
    let window = report.window.unwrap();
    assert!(window.start_s >= 3.1 || window.end_s <= 3.0, "{window:?}");
    assert!(report.quality.reasons.iter().any(|r| r.starts_with("lost-audio")));

    let call = synth::counting(&voice, &CountingSpec::default(), RATE).to_ulaw();
    let mut whole = Analyzer::new(AnalyzerConfig { task: Task::Counting, channel: Channel::Auto });
    whole.push_ulaw(&call);
    let before = whole.clone().finish().unwrap().measures.pause_count.unwrap();
    whole.push_gap(16_000);
    whole.push_ulaw(&call);
    let after = whole.finish().unwrap().measures.pause_count.unwrap();
    assert_eq!(after, 2 * before);
}

#[test]
fn audio_beyond_the_longest_segment_is_counted_not_kept() {
    let mut analyzer = Analyzer::new(AnalyzerConfig { task: Task::Speech, channel: Channel::Auto });
    for _ in 0..910 {
        analyzer.push_ulaw(&[g711::ULAW_SILENCE; 8_000]);
    }
    assert_eq!(analyzer.duration_s(), 900.0);
    let report = analyzer.finish().unwrap();
    assert!(report.quality.reasons.iter().any(|r| r.starts_with("dropped: 10.0 s")));
    assert!(!report.quality.usable);
}

#[test]
fn spans_outside_the_audio_are_refused() {
    let samples = vec![0.1; 8_000];
    let with = |start_s, end_s| {
        let options = AnalyzeOptions { start_s, end_s, ..AnalyzeOptions::default() };
        analyze(&samples, RATE, &options)
    };
    assert!(with(Some(0.2), Some(9.0)).is_ok_and(|r| (r.duration_s - 0.8).abs() < 1e-9));
    for (start, end) in [
        (Some(-1.0), None),
        (Some(2.0), None),
        (Some(0.5), Some(0.4)),
        (Some(f64::NAN), None),
        (None, Some(f64::NAN)),
        (None, Some(0.0)),
    ] {
        let outcome = with(start, end);
        if end.is_some_and(f64::is_nan) {
            // NaN as an end reads as the end of the audio.
            continue;
        }
        assert!(matches!(outcome, Err(AnalyzeError::Unsupported { .. })), "{start:?} {end:?}");
    }
    assert!(matches!(with(Some(0.5), Some(0.51)), Err(AnalyzeError::TooShort { .. })));
    let mut broken = samples.clone();
    broken[77] = f64::INFINITY;
    assert_eq!(analyze(&broken, RATE, &AnalyzeOptions::default()), Err(AnalyzeError::Malformed(77)));
    assert!(matches!(analyze(&[], RATE, &AnalyzeOptions::default()), Err(AnalyzeError::TooShort { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pushes_of_any_size_give_the_report_of_the_whole(
        seed in 0_u64..1000,
        cuts in prop::collection::vec(1_usize..3000, 1..8),
        task in tasks(),
    ) {
        let codes = sample_call(seed);
        let mut samples = Vec::new();
        g711::ulaw_decode_slice(&codes, &mut samples);
        let options = AnalyzeOptions { task, ..AnalyzeOptions::default() };
        let whole = analyze(&samples, RATE, &options).unwrap();

        let mut analyzer = Analyzer::new(AnalyzerConfig { task, channel: Channel::Auto });
        let mut rest = codes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            analyzer.push_ulaw(head);
            rest = tail;
        }
        prop_assert_eq!(analyzer.finish().unwrap(), whole);
    }

    #[test]
    fn gain_changes_neither_jitter_nor_hnr(seed in 0_u64..1000, exponent in -6_i32..3) {
        let voice = VoiceSpec { seed, ..VoiceSpec::default() };
        let samples = synth::sustained_vowel(&voice, 1.2, RATE).samples;
        // Powers of two scale without rounding.
        let scaled: Vec<f64> = samples.iter().map(|s| s * 2_f64.powi(exponent)).collect();
        let options = AnalyzeOptions { whole: true, task: Task::SustainedVowel, ..AnalyzeOptions::default() };
        let (a, b) = (analyze(&samples, RATE, &options).unwrap(), analyze(&scaled, RATE, &options).unwrap());
        prop_assert!(a.measures.jitter_local_percent.is_some());
        for ((name, a), (_, b)) in a.measures.entries().into_iter().zip(b.measures.entries()) {
            if name.starts_with("jitter") || name.starts_with("shimmer") || name.starts_with("f0") || name.starts_with("hnr") {
                let (a, b) = (a.unwrap(), b.unwrap());
                prop_assert!((a - b).abs() <= 1e-6 * a.abs(), "{}: {} {}", name, a, b);
            }
        }
    }

    #[test]
    fn random_codes_give_finite_measures_or_none(
        codes in prop::collection::vec(any::<u8>(), 0..6000),
        repeats in 1_usize..6,
        task in tasks(),
    ) {
        let mut analyzer = Analyzer::new(AnalyzerConfig { task, channel: Channel::Auto });
        for k in 0..repeats {
            analyzer.push_ulaw(&codes);
            if k % 2 == 1 { analyzer.push_gap(codes.len() / 3); }
        }
        match analyzer.finish() {
            Ok(report) => assert_sane(&report),
            Err(error) => prop_assert!(matches!(error, AnalyzeError::TooShort { .. } | AnalyzeError::Malformed(_)), "{}", error),
        }
    }

    #[test]
    fn odd_signals_never_panic(
        kind in 0_u8..6,
        length in 0_usize..12_000,
        period in 1_usize..400,
        height in prop::sample::select(vec![0.0, 1e-300, 1e-9, 0.01, 0.98, 1.0, 3.0, 32_768.0, 1e200]),
        rate in prop::sample::select(vec![4_000, 8_000, 11_025, 16_000, 44_100, 96_000]),
        task in tasks(),
        whole in any::<bool>(),
    ) {
        let samples: Vec<f64> = (0..length).map(|n| match kind {
            0 => height,
            1 => if n % period == 0 { height } else { 0.0 },
            2 => if n / period % 2 == 0 { height } else { -height },
            3 => height * (n % period) as f64,
            4 => if n > length / 2 { height * ((n * n % 1013) as f64 / 1013.0 - 0.5) } else { 0.0 },
            _ => height * (n as f64 / period as f64).sin(),
        }).collect();
        let options = AnalyzeOptions { task, whole, ..AnalyzeOptions::default() };
        match analyze(&samples, SampleRate::new(rate).unwrap(), &options) {
            Ok(report) => assert_sane(&report),
            Err(error) => prop_assert!(matches!(error, AnalyzeError::TooShort { .. } | AnalyzeError::Malformed(_)), "{}", error),
        }
    }
}

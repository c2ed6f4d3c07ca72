//! The whole analysis against Praat's numbers on two public-domain recordings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::{AnalyzeOptions, Sound, Task, Wav, analyze, pulses};

const FILES: [(&str, &[u8]); 2] = [
    ("s_librivox_0880", include_bytes!("data/s_librivox_0880.wav")),
    ("s_librivox_0930", include_bytes!("data/s_librivox_0930.wav")),
];

#[test]
fn the_report_agrees_with_praat() {
    let reference: Value = serde_json::from_str(include_str!("data/praat_librivox.json")).unwrap();
    for (name, bytes) in FILES {
        let praat = &reference["files"][name];
        let wav = Wav::parse(bytes).unwrap();
        let options = AnalyzeOptions { task: Task::Speech, whole: true, ..AnalyzeOptions::default() };
        let report = analyze(&wav.samples, wav.sample_rate, &options).unwrap();
        let json = serde_json::to_value(&report.measures).unwrap();
        let number = |value: &Value| value.as_f64().unwrap();
        for (measure, group, key, scale, relative) in [
            ("f0_mean_hz", "pitch_ac_75_500", "mean", 1.0, 1e-6),
            ("f0_median_hz", "pitch_ac_75_500", "median", 1.0, 1e-6),
            ("f0_sd_hz", "pitch_ac_75_500", "sd", 1.0, 1e-5),
            ("f0_min_hz", "pitch_ac_75_500", "min", 1.0, 1e-6),
            ("f0_max_hz", "pitch_ac_75_500", "max", 1.0, 1e-6),
            ("jitter_local_percent", "jitter", "local", 100.0, 1e-8),
            ("jitter_local_absolute_s", "jitter", "local_absolute", 1.0, 1e-8),
            ("jitter_rap_percent", "jitter", "rap", 100.0, 1e-8),
            ("jitter_ppq5_percent", "jitter", "ppq5", 100.0, 1e-8),
            ("jitter_ddp_percent", "jitter", "ddp", 100.0, 1e-8),
            ("shimmer_local_percent", "shimmer", "local", 100.0, 1e-8),
            ("shimmer_local_db", "shimmer", "local_dB", 1.0, 1e-8),
            ("shimmer_apq3_percent", "shimmer", "apq3", 100.0, 1e-8),
            ("shimmer_apq5_percent", "shimmer", "apq5", 100.0, 1e-8),
            ("shimmer_apq11_percent", "shimmer", "apq11", 100.0, 1e-8),
            ("shimmer_dda_percent", "shimmer", "dda", 100.0, 1e-8),
            ("hnr_mean_db", "hnr_cc", "mean", 1.0, 1e-7),
            ("hnr_sd_db", "hnr_cc", "sd", 1.0, 1e-7),
            ("intensity_mean_db", "intensity", "mean_energy", 1.0, 1e-7),
        ] {
            let (ours, theirs) = (number(&json[measure]), scale * number(&praat[group][key]));
            assert!((ours / theirs - 1.0).abs() < relative, "{name} {measure}: {ours} against {theirs}");
        }
        let frames = number(&praat["pitch_ac_75_500"]["frames"]);
        let voiced = number(&praat["pitch_ac_75_500"]["voiced_frames"]);
        assert_eq!(number(&json["voiced_fraction"]), voiced / frames);

        let sound = Sound::new(&wav.samples, wav.sample_rate);
        let ac = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
        let found = pulses::find(&sound, &pitch::track(&sound, &ac).unwrap());
        assert_eq!(found.len() as f64, number(&praat["pulses"]["count"]));
        let cc = PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0);
        let summary = pitch::track(&sound, &cc).unwrap().summary();
        let mean = number(&praat["pitch_cc_75_500"]["mean"]);
        assert!((summary.mean_hz.unwrap() / mean - 1.0).abs() < 1e-6);
    }
}

//! Agreement of CPPS with Praat on the shared reference recordings, where they are present: the old
//! rule with version 6.1.38, the new one with 6.3.07.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use serde_json::Value;
use voice::cepstrum::{CppsRule, MAX_FREQUENCY_AVQI_HZ, MAX_FREQUENCY_TELEPHONE_HZ, cpps};
use voice::sound::Sound;
use voice::wav::Wav;

/// In dB, of the mean over all frames.
const TOLERANCE: f64 = 1e-6;
/// Recordings with stretches of digital silence at more than 10 kHz: low-passing fills them with
/// the rounding noise of the Fourier transform, whose cepstrum means nothing and differs between
/// two transforms.
const SILENT: [&str; 5] = [
    "wide/e_espeak_count",
    "wide/e_espeak_rainbow_110",
    "wide/e_espeak_rainbow_160",
    "wide/s_voicelab_male_hi",
    "wide/v_syn_breaks",
];
const TOLERANCE_SILENT: f64 = 2e-4;

#[test]
fn all_original_recordings_agree() {
    compare("wide");
}

#[test]
fn all_telephone_recordings_agree() {
    compare("ulaw8k");
}

fn compare(set: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/voice");
    if !folder.is_dir() {
        println!("reference recordings are not here: skipped");
        return;
    }
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("praat_reference_dev.json")).unwrap()).unwrap();
    let columns = [
        (MAX_FREQUENCY_AVQI_HZ, CppsRule::Praat61, "cpps_avqi"),
        (MAX_FREQUENCY_AVQI_HZ, CppsRule::Praat63, "cpps_avqi_praat63"),
        (MAX_FREQUENCY_TELEPHONE_HZ, CppsRule::Praat61, "cpps_avqi_4k"),
        (MAX_FREQUENCY_TELEPHONE_HZ, CppsRule::Praat63, "cpps_avqi_4k_praat63"),
    ];
    let mut deviations: [Vec<(f64, String)>; 4] = Default::default();
    let mut failures = Vec::new();
    for (name, praat) in reference[set].as_object().unwrap() {
        let path = folder.join("audio").join(set).join(format!("{name}.wav"));
        let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
        let sound = Sound::new(&wav.samples, wav.sample_rate);
        let name = format!("{set}/{name}");
        let allowed = if SILENT.contains(&name.as_str()) { TOLERANCE_SILENT } else { TOLERANCE };
        let both = [MAX_FREQUENCY_AVQI_HZ, MAX_FREQUENCY_TELEPHONE_HZ].map(|frequency| cpps(&sound, frequency));
        for ((frequency, rule, key), list) in columns.iter().zip(&mut deviations) {
            let ours = both[usize::from(*frequency < 4500.0)].as_ref().and_then(|cpps| cpps.mean_db(*rule));
            let (Some(ours), Some(praat)) = (ours, praat[*key].as_f64()) else {
                failures.push(format!("{name} {key}: {ours:?} against {}", praat[*key]));
                continue;
            };
            let deviation = (ours - praat).abs();
            if deviation.is_nan() || deviation > allowed {
                failures.push(format!("{name} {key}: {ours} against {praat}"));
            }
            if allowed == TOLERANCE {
                list.push((deviation, name.clone()));
            }
        }
    }
    for ((_, _, key), list) in columns.iter().zip(&mut deviations) {
        list.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (worst, file) = list.last().cloned().unwrap();
        println!(
            "{key:<22} {} files, median {:.1e} dB, worst {worst:.1e} dB {file}",
            list.len(),
            list[list.len() / 2].0
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

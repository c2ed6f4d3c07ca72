//! Processor time of CPPS and of resampling per second of audio, one thread.
//!
//! `cargo run --release -p voice --example cepstrum_bench [FILE.wav]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::Instant;

use voice::cepstrum::{CppsOptions, CppsRule, cpps, cpps_with};
use voice::resampling::resample;
use voice::synth::{self, TalkSpec, VoiceSpec};
use voice::{SampleRate, Sound, Wav};

/// Fastest and median of 41 warm runs: on a busy machine the fastest is nearest to the truth.
fn time<T>(name: &str, seconds: f64, mut work: impl FnMut() -> T) {
    black_box(work());
    let mut runs: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1000.0 / seconds
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{name:<34} {:>8.3} ms/s fastest {:>8.3} median", runs[0], runs[runs.len() / 2]);
}

fn main() {
    let (samples, rate) = match std::env::args().nth(1) {
        Some(path) => {
            let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
            (wav.samples, wav.sample_rate)
        }
        None => {
            let rate = SampleRate::TELEPHONE;
            (synth::talk(&VoiceSpec::default(), &TalkSpec::default(), rate).samples, rate)
        }
    };
    let seconds = samples.len() as f64 / rate.hz();
    println!("{seconds:.1} s at {} Hz", rate.get());
    let sound = Sound::new(&samples, rate);
    for to in [10_000.0, 8000.0, 7992.0, 11_000.0] {
        time(&format!("resampling to {to} Hz"), seconds, || resample(&sound, to));
    }
    for max_frequency_hz in [5000.0, 4000.0] {
        time(&format!("CPPS {max_frequency_hz} Hz, both rules"), seconds, || cpps(&sound, max_frequency_hz));
        for rule in [CppsRule::Praat61, CppsRule::Praat63] {
            let options = CppsOptions { max_frequency_hz, rule: Some(rule), within_s: None };
            time(&format!("CPPS {max_frequency_hz} Hz, {rule:?}"), seconds, || cpps_with(&sound, &options));
        }
    }
}

//! Processor time of the analysis per second of audio.
//!
//! `cargo run --release -p voice --example bench [FILE.wav]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::Instant;

use voice::pitch::{self, PitchMethod, PitchSettings};
use voice::synth::{self, TalkSpec, VoiceSpec};
use voice::{
    ActivityDetector, AnalyzeOptions, Resampler, SampleRate, Sound, Task, Wav, analyze, g711, harmonicity, intensity,
    pauses, perturbation, pulses,
};

/// Median of nine warm runs, in milliseconds per second of audio.
fn time<T>(name: &str, seconds: f64, mut work: impl FnMut() -> T) {
    black_box(work());
    let mut runs: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1000.0 / seconds
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    let median = runs[4];
    println!("{name:<34} {median:>9.4} ms/s  {:>9.0} x real time", 1000.0 / median);
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
    let ac = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
    let cc = PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0);
    let track = pitch::track(&sound, &ac).unwrap();
    let found = pulses::find(&sound, &track);
    let limits = perturbation::Limits::default();
    time("pitch, autocorrelation", seconds, || pitch::track(&sound, &ac));
    time("pitch, cross-correlation", seconds, || pitch::track(&sound, &cc));
    time("pitch, two passes", seconds, || pitch::track_two_pass(&sound));
    time("pulses", seconds, || pulses::find(&sound, &track));
    let cc_track = pitch::track(&sound, &cc).unwrap();
    time("pulses, cross-correlation", seconds, || pulses::find(&sound, &cc_track));
    time("jitter", seconds, || perturbation::jitter(&found, &limits));
    time("shimmer", seconds, || perturbation::shimmer(&sound, &found, &limits));
    time("harmonicity", seconds, || harmonicity::cross_correlation(&sound));
    time("harmonicity, autocorrelation", seconds, || harmonicity::autocorrelation(&sound));
    time("intensity", seconds, || intensity::contour(&sound, 100.0));
    time("pauses", seconds, || pauses::detect(&sound));
    let whole = AnalyzeOptions { task: Task::Speech, whole: true, ..AnalyzeOptions::default() };
    time("whole report", seconds, || analyze(&samples, rate, &whole));

    let codes: Vec<u8> = samples.iter().map(|s| g711::ulaw_encode((s * 32_768.0) as i16)).collect();
    let live = codes.len() as f64 / 8_000.0;
    time("live: speech detector", live, || {
        let mut detector = ActivityDetector::new();
        codes.chunks(160).filter(|f| detector.push_ulaw(f).speech).count()
    });
    let pcm: Vec<i16> = codes.iter().map(|&c| g711::ulaw_decode(c)).collect();
    for (from, to) in [(8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (44_100, 8_000)] {
        let seconds = pcm.len() as f64 / f64::from(from);
        time(&format!("live: resampler {from} to {to}"), seconds, || {
            let mut resampler = Resampler::new(from, to).unwrap();
            let mut out = Vec::with_capacity(pcm.len() * 2 + 8);
            for chunk in pcm.chunks(320) {
                resampler.process(chunk, &mut out);
            }
            out.len()
        });
    }
}

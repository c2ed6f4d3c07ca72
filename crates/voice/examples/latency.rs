//! How long a caller waits for a result, and what the analysis costs, measured inside one process.
//!
//! `cargo run --release -p voice --example latency` feeds segments of a call in frames of 20 ms and prints the time
//! from the last frame to the report, and the slowest single push.
//! `cargo run --release -p voice --example latency -- FILE.wav 9` measures a whole file nine times and prints the
//! milliseconds of processor time of each run, as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use voice::synth::{self, CountingSpec, TalkSpec, VoiceSpec};
use voice::{AnalyzeOptions, Analyzer, AnalyzerConfig, Channel, SampleRate, Task, Wav, analyze};

const RATE: SampleRate = SampleRate::TELEPHONE;
const FRAME: usize = 160;
const REPEATS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(path), Some(runs)) => whole_file(&path, runs.parse().unwrap()),
        _ => segments(),
    }
}

/// Processor time of this thread; the wall clock where the system does not say.
fn cpu_now() -> Duration {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = schedule.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGAN.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

fn whole_file(path: &str, runs: usize) {
    let wav = Wav::parse(&std::fs::read(path).unwrap()).unwrap();
    let options = AnalyzeOptions { task: Task::Speech, whole: true, ..AnalyzeOptions::default() };
    // The first run makes tables; it is not counted.
    black_box(analyze(&wav.samples, wav.sample_rate, &options).unwrap());
    let milliseconds: Vec<f64> = (0..runs)
        .map(|_| {
            let began = cpu_now();
            black_box(analyze(black_box(&wav.samples), wav.sample_rate, &options).unwrap());
            (cpu_now() - began).as_secs_f64() * 1000.0
        })
        .collect();
    println!("{}", serde_json::to_string(&milliseconds).unwrap());
}

/// So many seconds of a task as a call delivers them.
fn segment(task: Task, seconds: usize) -> Vec<u8> {
    let mut codes = Vec::new();
    for seed in 1.. {
        let voice = VoiceSpec { seed, ..VoiceSpec::default() };
        codes.extend(match task {
            Task::SustainedVowel => synth::sustained_vowel(&voice, seconds as f64, RATE).to_ulaw(),
            Task::Counting => synth::counting(&voice, &CountingSpec::default(), RATE).to_ulaw(),
            _ => synth::talk(&voice, &TalkSpec::default(), RATE).to_ulaw(),
        });
        if codes.len() >= seconds * 8_000 {
            break;
        }
    }
    codes.truncate(seconds * 8_000);
    codes
}

fn segments() {
    println!("{:<16} {:>7} {:>14} {:>14} {:>14}", "segment", "seconds", "result after", "at most", "slowest push");
    for task in [Task::Speech, Task::Counting, Task::SustainedVowel] {
        for seconds in [3, 30, 300] {
            let codes = segment(task, seconds);
            let mut waits = Vec::new();
            let mut slowest = Vec::new();
            for _ in 0..REPEATS {
                let mut analyzer = Analyzer::new(AnalyzerConfig { task, channel: Channel::Telephone });
                let mut push = Duration::ZERO;
                for frame in codes.chunks(FRAME) {
                    let began = Instant::now();
                    analyzer.push_ulaw(frame);
                    push = push.max(began.elapsed());
                }
                let began = Instant::now();
                black_box(analyzer.finish().unwrap());
                waits.push(began.elapsed());
                slowest.push(push);
            }
            waits.sort();
            slowest.sort();
            let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
            let (middle, most) = (waits[REPEATS / 2], waits[REPEATS - 1]);
            let push = slowest[REPEATS / 2];
            println!("{:<16} {seconds:>7} {:>14} {:>14} {:>14}", task.as_str(), ms(middle), ms(most), ms(push));
        }
    }
}

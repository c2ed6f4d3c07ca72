//! Inputs nobody thought of: a bounded run of mutated inputs through every target, on stable Rust.
//!
//! Every file under `data/fuzzing/<target>` is run first: small seeds, and inputs that once failed (`failed-*`). Then
//! mutations of them for [`Settings::seconds`] per target. An input that reaches something no earlier one did joins
//! the corpus of this run, which takes the place of coverage. The same seed makes the same inputs.
//!
//! An input that fails is written to a file named in the message. To look into it:
//! `FUZZ_INPUT=that-file cargo test -p voice --test fuzzing <target>`; when it is mended, move the file to
//! `data/fuzzing/<target>/failed-what-it-was`.
//!
//! `FUZZ_SECONDS` (per target) and `FUZZ_SEED` change the run. Long runs with coverage: see `fuzz/` at the top.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mutate;
mod targets;

use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mutate::{Random, mutate};
use targets::{ALL, Target, Trace};

/// An input that takes longer than this is a finding of its own, even on a busy machine: the slowest take a second.
const LONGEST_ALLOWED: Duration = Duration::from_secs(90);

/// What takes longer than this has no offspring.
const WORTH_KEEPING: Duration = Duration::from_millis(100);

/// More memory than this at any time is one as well: the inputs are a few kilobytes.
const MOST_MEMORY_KB: u64 = 1_000_000;

struct Settings {
    seconds: f64,
    seed: u64,
}

impl Settings {
    fn new() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<f64>().unwrap());
        Self { seconds: number("FUZZ_SECONDS").unwrap_or(1.5), seed: number("FUZZ_SEED").map_or(1, |seed| seed as u64) }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzzing").join(name)
}

/// The input in work and since when.
type InWork = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// Ends the process when an input does not end. Its thread ends with the process.
fn watch(name: &'static str) -> InWork {
    let in_work = InWork::default();
    let seen = Arc::clone(&in_work);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Some((began, input)) = &*seen.lock().unwrap_or_else(PoisonError::into_inner)
                && began.elapsed() > LONGEST_ALLOWED
            {
                eprintln!("{name}: no end after {LONGEST_ALLOWED:?}: {}", keep(name, input).display());
                std::process::exit(101);
            }
        }
    });
    in_work
}

/// Runs one input; a failure is written down before it ends the test.
fn run((name, target): Target, input: &[u8], in_work: &InWork) -> (Trace, Duration) {
    let note = |now: Option<(Instant, Vec<u8>)>| *in_work.lock().unwrap_or_else(PoisonError::into_inner) = now;
    let began = Instant::now();
    note(Some((began, input.to_vec())));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| target(input)));
    note(None);
    let trace = outcome.unwrap_or_else(|cause| {
        eprintln!("{name}: this input failed: {}", keep(name, input).display());
        panic::resume_unwind(cause)
    });
    (trace, began.elapsed())
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    for byte in input {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failed-{name}-{sum:016x}"));
    std::fs::write(&path, input).unwrap();
    path
}

fn fuzz(name: &str) {
    let target = *ALL.iter().find(|(known, _)| *known == name).unwrap();
    let in_work = watch(target.0);
    if let Ok(path) = std::env::var("FUZZ_INPUT") {
        let (trace, took) = run(target, &std::fs::read(&path).unwrap(), &in_work);
        println!("{name}: {path} gives {trace:016x} in {took:?}");
        return;
    }
    let settings = Settings::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no seeds");
    let mut corpus: Vec<(Vec<u8>, Duration)> = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut seen = HashSet::new();
    for path in &files {
        let input = std::fs::read(path).unwrap();
        let (trace, took) = run(target, &input, &in_work);
        seen.insert(trace);
        corpus.push((input, took));
        slowest = slowest.max(took);
    }
    let seeds = corpus.len();
    let mut random = Random::new(settings.seed);
    let mut executions = seeds;
    let end = Instant::now() + Duration::from_secs_f64(settings.seconds);
    while Instant::now() < end {
        let (first, second) = (&corpus[random.below(corpus.len())], &corpus[random.below(corpus.len())]);
        // Mostly the quicker of two: its offspring is quick as well, and there will be more of it.
        let turn = random.below(4) > 0 && second.1 < first.1;
        let (parent, other) = if turn { (second, first) } else { (first, second) };
        let mut input = parent.0.clone();
        mutate(&mut input, &other.0, &mut random);
        let (trace, took) = run(target, &input, &in_work);
        slowest = slowest.max(took);
        executions += 1;
        // Slow inputs are kept as seeds only: their offspring would take all the time.
        if seen.insert(trace) && took < WORTH_KEEPING {
            corpus.push((input, took));
        }
    }
    println!(
        "{name:<9} {executions:>8} inputs from {seeds} seeds, {:>5} kinds of behaviour, slowest {:.0} ms",
        seen.len(),
        slowest.as_secs_f64() * 1000.0
    );
    if let Some(peak) = peak_memory_kb() {
        assert!(peak < MOST_MEMORY_KB, "{peak} kB of memory at the most");
    }
}

/// Most memory this process had so far; only Linux says.
fn peak_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn wav() {
    fuzz("wav");
}

#[test]
fn analyzer() {
    fuzz("analyzer");
}

#[test]
fn analyze() {
    fuzz("analyze");
}

#[test]
fn stream() {
    fuzz("stream");
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let make = || {
        let (mut random, mut input) = (Random::new(7), b"RIFF of a kind".to_vec());
        (0..100).for_each(|_| mutate(&mut input, b"other", &mut random));
        input
    };
    assert_eq!(make(), make());
}

//! Messages nobody thought of: a bounded run of mutated messages through every reader that faces the network, on stable
//! Rust. Seeds are under `data/fuzzing/<target>`; an input that fails is written to the folder that the message names, and
//! is kept as `failed-what-it-was` once it is mended. `FUZZ_SECONDS` (per target) and `FUZZ_SEED` change the run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../voice/tests/fuzzing/mutate.rs"]
mod mutate;
mod targets;

use mutate::{Random, mutate};
use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};
use targets::{ALL, Target, Trace};

/// Inputs that are kept as parents of others.
const CORPUS_MAX: usize = 2_000;

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok().map(|text| text.parse::<f64>().unwrap())
}

/// Runs one input; a failure is written down before it ends the test.
fn run((name, target): Target, input: &[u8]) -> Trace {
    panic::catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|cause| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failed-{name}"));
        std::fs::write(&path, input).unwrap();
        eprintln!("{name}: this input failed: {}", path.display());
        panic::resume_unwind(cause)
    })
}

fn fuzz(name: &str) {
    let target = *ALL.iter().find(|(known, _)| *known == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzzing").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut corpus: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "no seeds");
    let mut seen: HashSet<Trace> = corpus.iter().map(|input| run(target, input)).collect();
    let mut random = Random::new(number("FUZZ_SEED").map_or(1, |seed| seed as u64));
    let (mut executions, seeds) = (corpus.len(), corpus.len());
    let end = Instant::now() + Duration::from_secs_f64(number("FUZZ_SECONDS").unwrap_or(1.0));
    while Instant::now() < end {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        mutate(&mut input, other, &mut random);
        executions += 1;
        if seen.insert(run(target, &input)) && corpus.len() < CORPUS_MAX {
            corpus.push(input);
        }
    }
    println!("{name:<9} {executions:>8} inputs from {seeds} seeds, {:>5} kinds of behaviour", seen.len());
}

#[test]
fn media() {
    fuzz("media");
}

#[test]
fn events() {
    fuzz("events");
}

#[test]
fn realtime() {
    fuzz("realtime");
}

#[test]
fn forms() {
    fuzz("forms");
}

#[test]
fn tickets() {
    fuzz("tickets");
}

#[test]
fn whole_call() {
    fuzz("call");
}

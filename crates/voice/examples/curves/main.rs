//! Truth curves: what is measured against what is true, for synthetic voices whose every glottal
//! cycle is known, wide-band and through a telephone. Writes one SVG per curve and all numbers as
//! CSV; equal versions write equal files.
//!
//! `cargo run --release -p voice --example curves -- docs/measures/curves`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chart;
mod pauses;
mod sweep;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chart::{Axis, Ideal, Panel, Series};
use sweep::{CARRIERS, F0_HZ, perfect, point, vowel};
use voice::Measures;
use voice::synth::{VoiceSpec, VowelTruth};

/// Repetitions of every voice.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=7;

const JITTER_PERCENT: [f64; 8] = [0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0];
const SHIMMER_PERCENT: [f64; 8] = [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0];
const HNR_DB: [f64; 8] = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0];
const TRUE_F0_HZ: [f64; 13] = [75.0, 80.0, 90.0, 100.0, 120.0, 140.0, 170.0, 200.0, 240.0, 280.0, 320.0, 360.0, 400.0];

/// What one voice gave over both carriers.
type Outcome = ([Measures; 2], VowelTruth);

/// A voice of a fundamental frequency, drawn with a seed.
type Draw = fn(f64, u64) -> VoiceSpec;

/// All repetitions of one voice at each level of a sweep.
type Row = Vec<(f64, Vec<Outcome>)>;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("docs/measures/curves"), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let mut csv = "curve,channel,series,x,median,low,high\n".to_owned();

    let made = "Synthetic vowels of 3.5 s. Points: median of seven voices drawn at random; bars: smallest to largest.";

    let rows = sweep(&JITTER_PERCENT, |x, f0, seed| VoiceSpec { jitter_percent: x, ..perfect(f0, seed) });
    let axis = |label| Axis::logarithmic(label, 0.05, 10.0, &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
    let panels = compare(
        &rows,
        (axis("True local jitter (%)"), axis("Measured local jitter (%)")),
        Ideal::Identity,
        |x, m, t| Some(x * m.jitter_local_percent? / t.jitter_local_percent?),
    );
    let note =
        [made, "Only the period varies: no shimmer, no noise. Truth: intervals between instants of glottal closure."];
    write(&folder, &mut csv, "jitter", "Local jitter: measured against true", &note, &panels);

    let rows = sweep(&SHIMMER_PERCENT, |x, f0, seed| VoiceSpec { shimmer_percent: x, ..perfect(f0, seed) });
    let axis = |label| Axis::logarithmic(label, 0.2, 40.0, &[0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0]);
    let panels = compare(
        &rows,
        (axis("True local shimmer (%)"), axis("Measured local shimmer (%)")),
        Ideal::Identity,
        |x, m, t| Some(x * m.shimmer_local_percent? / t.shimmer_local_percent?),
    );
    let note = [made, "Only the amplitude of the glottal pulses varies: no jitter, no noise."];
    write(&folder, &mut csv, "shimmer", "Local shimmer: measured against true", &note, &panels);

    let rows = sweep(&HNR_DB, |x, f0, seed| VoiceSpec { hnr_db: Some(x), ..perfect(f0, seed) });
    let axis = |label| Axis::linear(label, 0.0, 40.0, 5.0);
    let panels =
        compare(&rows, (axis("True HNR (dB)"), axis("Measured HNR (dB)")), Ideal::Identity, |_, m, _| m.hnr_mean_db);
    let note =
        [made, "Aspiration noise only: no jitter, no shimmer. Truth: energy of the voice over energy of the noise."];
    write(&folder, &mut csv, "hnr", "Harmonics-to-noise ratio: measured against true", &note, &panels);

    let note = [made, "The voices have neither jitter nor shimmer: everything shown here is made by noise."];
    let axes = |label, y: &[f64]| (axis("True HNR (dB)"), Axis::logarithmic(label, y[0], y[y.len() - 1], y));
    let panels = compare(
        &rows,
        axes("Measured local jitter (%)", &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]),
        Ideal::Nothing,
        |_, m, _| m.jitter_local_percent,
    );
    write(&folder, &mut csv, "noise-jitter", "Jitter that noise alone makes", &note, &panels);
    let panels = compare(
        &rows,
        axes("Measured local shimmer (%)", &[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0]),
        Ideal::Nothing,
        |_, m, _| m.shimmer_local_percent,
    );
    write(&folder, &mut csv, "noise-shimmer", "Shimmer that noise alone makes", &note, &panels);

    let note = [
        made,
        "Jitter: true 1 %, nothing else. Shimmer: true 5 %, nothing else. A man's formants below 165 Hz, a woman's above.",
    ];
    write(
        &folder,
        &mut csv,
        "pitch",
        "What is read of jitter and shimmer at each fundamental frequency",
        &note,
        &by_pitch(),
    );

    write(&folder, &mut csv, "f0", "Fundamental frequency: error of the mean", &[made, F0_NOTE], &f0());

    let (edges, counts) = pauses::panels();
    let note =
        [pauses::NOTE, "Points: median over all pauses; bars: 5 to 95 % of them. Above 0: the pause is found later."];
    write(&folder, &mut csv, "pause-edges", "Pauses: error of their boundaries", &note, &edges);
    let note = [pauses::NOTE, "Points: median over recordings; bars: smallest to largest."];
    write(&folder, &mut csv, "pause-count", "Pauses: found and invented", &note, &counts);

    std::fs::write(folder.join("curves.csv"), csv).unwrap();
}

const F0_NOTE: &str = "Perfect: no irregularity. Ordinary: jitter 0.4 %, shimmer 2.5 %, HNR 22 dB, background noise.";

/// Every fundamental frequency at every level; frequencies in parallel, results in order.
fn sweep(levels: &[f64], voice: impl Fn(f64, f64, u64) -> VoiceSpec + Sync) -> Vec<(f64, Row)> {
    let voice = &voice;
    std::thread::scope(|scope| {
        let threads: Vec<_> = F0_HZ
            .iter()
            .map(|&f0| {
                scope.spawn(move || {
                    let row = levels.iter().map(|&x| (x, SEEDS.map(|seed| vowel(&voice(x, f0, seed))).collect()));
                    (f0, row.collect())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// One panel per carrier, one series per fundamental frequency.
fn compare(
    rows: &[(f64, Row)],
    (x, y): (Axis, Axis),
    ideal: Ideal,
    value: impl Fn(f64, &Measures, &VowelTruth) -> Option<f64>,
) -> Vec<Panel> {
    let panel = |(k, (_, title)): (usize, &(_, &'static str))| Panel {
        title,
        x: x.clone(),
        y: y.clone(),
        ideal,
        series: rows
            .iter()
            .map(|(f0, row)| Series {
                name: format!("f0 {f0} Hz"),
                points: row
                    .iter()
                    .filter_map(|(x, outcomes)| {
                        let values: Vec<_> = outcomes.iter().map(|(m, truth)| value(*x, &m[k], truth)).collect();
                        point(*x, &values)
                    })
                    .collect(),
            })
            .collect(),
    };
    CARRIERS.iter().enumerate().map(panel).collect()
}

/// Share of the true jitter and shimmer that is read, over the range of voices.
fn by_pitch() -> Vec<Panel> {
    let read = |name: &str, voice: Draw, share: fn(&Measures, &VowelTruth) -> Option<f64>| {
        let outcomes: Row = (0..27)
            .map(|k| 80.0 + 10.0 * f64::from(k))
            .map(|f0| (f0, SEEDS.map(|seed| vowel(&voice(f0, seed))).collect()))
            .collect();
        [0, 1].map(|k| Series {
            name: name.to_owned(),
            points: outcomes
                .iter()
                .filter_map(|(f0, row)| {
                    point(*f0, &row.iter().map(|(m, truth)| Some(100.0 * share(&m[k], truth)?)).collect::<Vec<_>>())
                })
                .collect(),
        })
    };
    let (jitter, shimmer) = std::thread::scope(|scope| {
        let jitter = scope.spawn(|| {
            read(
                "jitter",
                |f0, seed| VoiceSpec { jitter_percent: 1.0, ..perfect(f0, seed) },
                |m, t| Some(m.jitter_local_percent? / t.jitter_local_percent?),
            )
        });
        let shimmer = read(
            "shimmer",
            |f0, seed| VoiceSpec { shimmer_percent: 5.0, ..perfect(f0, seed) },
            |m, t| Some(m.shimmer_local_percent? / t.shimmer_local_percent?),
        );
        (jitter.join().unwrap(), shimmer)
    });
    CARRIERS
        .iter()
        .zip(jitter.into_iter().zip(shimmer))
        .map(|((_, title), (jitter, shimmer))| Panel {
            title,
            x: Axis::linear("f0 (Hz)", 50.0, 350.0, 50.0),
            y: Axis::linear("Measured over true (%)", 0.0, 200.0, 25.0),
            ideal: Ideal::Level(100.0, "perfect"),
            series: vec![jitter, shimmer],
        })
        .collect()
}

fn f0() -> Vec<Panel> {
    let voices: [(&str, Draw); 2] = [
        ("perfect voice", perfect),
        ("ordinary voice", |f0_hz, seed| VoiceSpec {
            f0_hz,
            tract: perfect(f0_hz, seed).tract,
            seed,
            ..VoiceSpec::default()
        }),
    ];
    let mut series: [Vec<Series>; 2] = [Vec::new(), Vec::new()];
    for (name, voice) in voices {
        let outcomes: Row =
            TRUE_F0_HZ.iter().map(|&f0| (f0, SEEDS.map(|seed| vowel(&voice(f0, seed))).collect())).collect();
        for (k, series) in series.iter_mut().enumerate() {
            let error = |(m, truth): &Outcome| Some(100.0 * (m[k].f0_mean_hz? / truth.f0_mean_hz? - 1.0));
            let points = outcomes
                .iter()
                .filter_map(|(f0, row)| point(*f0, &row.iter().map(error).collect::<Vec<_>>()))
                .collect();
            series.push(Series { name: name.to_owned(), points });
        }
    }
    CARRIERS
        .iter()
        .zip(series)
        .map(|((_, title), series)| Panel {
            title,
            x: Axis::linear("True f0 (Hz)", 50.0, 400.0, 50.0),
            y: Axis::linear("Error of the mean (%)", -0.1, 0.1, 0.05),
            ideal: Ideal::Level(0.0, "no error"),
            series,
        })
        .collect()
}

/// Writes a figure and adds its numbers to the table.
fn write(folder: &Path, csv: &mut String, name: &str, title: &str, note: &[&str], panels: &[Panel]) {
    std::fs::write(folder.join(format!("{name}.svg")), chart::figure(title, note, panels)).unwrap();
    for (panel, (carrier, _)) in panels.iter().zip(["wideband", "telephone"].iter().zip(0..)) {
        for series in &panel.series {
            for p in &series.points {
                let _ = writeln!(
                    csv,
                    "{name},{carrier},{},{},{:.4},{:.4},{:.4}",
                    series.name, p.x, p.median, p.low, p.high
                );
            }
        }
    }
    println!("{name}.svg");
}

//! Pauses of synthetic talk in background noise: where they are found, and whether they exist.

use voice::Sound;
use voice::pauses::{self, Interval};
use voice::synth::{self, TalkSpec, VoiceSpec};

use crate::chart::{Axis, Ideal, Panel, Point, Series};
use crate::sweep::{CARRIERS, carried, point, wideband_rate};

/// Speech over background in dB; a quiet line has the last.
const SNR_DB: [f64; 10] = [4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0];

const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;

pub(crate) const NOTE: &str = "Synthetic talk, eight voices of 30 s, pauses of 0.3 to 0.9 s; SNR: level of the speech over white background noise.";

/// What one recording gave: errors of starts and ends in ms, shares found and invented in percent.
#[derive(Default)]
struct Outcome {
    starts_ms: Vec<f64>,
    ends_ms: Vec<f64>,
    found_percent: f64,
    invented_percent: f64,
}

/// Panels of the boundary errors, and of the numbers found.
pub(crate) fn panels() -> (Vec<Panel>, Vec<Panel>) {
    let outcomes: Vec<(f64, Vec<[Outcome; 2]>)> =
        SNR_DB.iter().map(|&snr| (snr, SEEDS.map(|seed| talk(snr, seed)).collect())).collect();
    let x = Axis::linear("Signal-to-noise ratio (dB)", 0.0, 45.0, 5.0);
    let panel = |title, y: &Axis, ideal, series| Panel { title, x: x.clone(), y: y.clone(), ideal, series };
    let error = Axis::linear("Error of the boundary (ms)", -60.0, 60.0, 20.0);
    let share = Axis::linear("Share of the true pauses (%)", 0.0, 120.0, 20.0);
    let edges = CARRIERS.iter().enumerate().map(|(k, (_, title))| {
        let errors = |of: fn(&Outcome) -> &Vec<f64>| -> Vec<Point> {
            let all = |row: &[[Outcome; 2]]| row.iter().flat_map(|o| of(&o[k]).clone()).collect::<Vec<f64>>();
            outcomes.iter().filter_map(|(snr, row)| spread(*snr, all(row))).collect()
        };
        let series = vec![
            Series { name: "start of the pause".to_owned(), points: errors(|o| &o.starts_ms) },
            Series { name: "end of the pause".to_owned(), points: errors(|o| &o.ends_ms) },
        ];
        panel(title, &error, Ideal::Level(0.0, "no error"), series)
    });
    let counts = CARRIERS.iter().enumerate().map(|(k, (_, title))| {
        let shares = |of: fn(&Outcome) -> f64| -> Vec<Point> {
            let values = |row: &[[Outcome; 2]]| row.iter().map(|o| Some(of(&o[k]))).collect::<Vec<_>>();
            outcomes.iter().filter_map(|(snr, row)| point(*snr, &values(row))).collect()
        };
        let series = vec![
            Series { name: "found".to_owned(), points: shares(|o| o.found_percent) },
            Series { name: "invented".to_owned(), points: shares(|o| o.invented_percent) },
        ];
        panel(title, &share, Ideal::Level(100.0, "all of them"), series)
    });
    (edges.collect(), counts.collect())
}

fn talk(snr_db: f64, seed: u64) -> [Outcome; 2] {
    let man = seed.is_multiple_of(2);
    let voice = VoiceSpec {
        seed,
        f0_hz: if man { 110.0 } else { 200.0 },
        tract: if man { synth::Tract::Male } else { synth::Tract::Female },
        background_dbfs: None,
        ..VoiceSpec::default()
    };
    let spec = TalkSpec { syllables_per_breath: 8, breath_pause_s: 0.35 + 0.05 * seed as f64, ..TalkSpec::default() };
    let rate = wideband_rate();
    let quiet = synth::talk(&voice, &spec, rate);
    let index = |t: f64| ((t * rate.hz()) as usize).min(quiet.samples.len());
    let spoken: Vec<f64> = (quiet.truth.phrases.iter())
        .flat_map(|p| quiet.samples[index(p.start_s)..index(p.end_s)].iter().copied())
        .collect();
    let power = spoken.iter().map(|s| s * s).sum::<f64>() / spoken.len() as f64;
    let background_dbfs = Some(10.0 * power.log10() - snr_db);
    let recording = synth::talk(&VoiceSpec { background_dbfs, ..voice }, &spec, rate);
    CARRIERS.map(|(carrier, _)| {
        let (samples, rate) = carried(&recording, carrier);
        compare(pauses::detect(&Sound::new(&samples, rate)).pauses(), &recording.truth.pauses)
    })
}

/// A pause is found by the first one that overlaps it and nothing else before.
fn compare(found: &[Interval], truth: &[Interval]) -> Outcome {
    let overlap = |a: &Interval, b: &Interval| a.start_s < b.end_s && b.start_s < a.end_s;
    let mut outcome = Outcome::default();
    let mut matched = vec![false; found.len()];
    for pause in truth {
        if let Some(k) = found.iter().position(|f| overlap(f, pause)).filter(|&k| !matched[k]) {
            matched[k] = true;
            outcome.starts_ms.push(1000.0 * (found[k].start_s - pause.start_s));
            outcome.ends_ms.push(1000.0 * (found[k].end_s - pause.end_s));
        }
    }
    let share = |count: usize| 100.0 * count as f64 / truth.len() as f64;
    outcome.found_percent = share(outcome.starts_ms.len());
    outcome.invented_percent = share(matched.iter().filter(|m| !**m).count());
    outcome
}

/// Median and the middle 90 %.
fn spread(x: f64, mut values: Vec<f64>) -> Option<Point> {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values.get(((values.len() as f64 - 1.0) * q).round().max(0.0) as usize).copied();
    Some(Point { x, median: at(0.5)?, low: at(0.05)?, high: at(0.95)? })
}

//! How often healthy voices raise an alarm, and how soon changed ones do.

use super::*;
use crate::risk::change::ChangeDetector;

/// Mean number of steps to an alarm over many runs.
fn mean_run(seed: u64, shift: f64, alarm: impl Fn(&ChangeDetector) -> bool) -> f64 {
    const RUNS: u32 = 3000;
    let rules = model().change;
    let mut random = Random::new(seed);
    let mut steps = 0u64;
    for _ in 0..RUNS {
        let mut detector = ChangeDetector::default();
        loop {
            detector.step(&rules, shift + random.normal());
            steps += 1;
            if alarm(&detector) {
                break;
            }
        }
    }
    steps as f64 / f64::from(RUNS)
}

/// With composites that are normal and independent: 332 and 454 calls between false alarms, 8 and 9 to a shift of one.
#[test]
fn alarms_come_as_rarely_and_as_soon_as_designed() {
    let rules = model().change;
    let cusum = |detector: &ChangeDetector| detector.cusum_alarm(&rules);
    let ewma = |detector: &ChangeDetector| detector.ewma_alarm(&rules);
    for (name, expected, tolerance, run) in [
        ("cusum, healthy", 332.0, 25.0, mean_run(11, 0.0, cusum)),
        ("ewma, healthy", 454.0, 35.0, mean_run(12, 0.0, ewma)),
        ("cusum, shifted", 8.0, 1.0, mean_run(13, 1.0, cusum)),
        ("ewma, shifted", 9.0, 1.5, mean_run(14, 1.0, ewma)),
    ] {
        println!("{name}: {run:.1}");
        assert!((run - expected).abs() < tolerance, "{name}: {run:.1}, expected {expected}");
    }
}

/// The whole way from reports: own baseline of ten calls, ten measures with noise of their own.
#[test]
fn whole_histories_of_healthy_voices_seldom_reach_watch_and_changed_ones_do() {
    const PATIENTS: u64 = 40;
    const HEALTHY: i64 = 90;
    let (model, profile) = (model(), profile());
    let (mut alarms, mut watched, mut days) = (0u32, 0u32, 0u32);
    let mut delays = Vec::new();
    for seed in 0..PATIENTS {
        let mut random = Random::new(1000 + seed);
        let mut calls = healthy(HEALTHY, &mut random);
        // One deviation of the composite: with ten independent measures of these weights, 0.364 of one in each.
        calls.extend((HEALTHY..HEALTHY + 40).map(|day| voiced(call(day), 0.364, &mut random)));
        let calls: Vec<&CallFacts> = calls.iter().collect();
        let entries = history::walk(&model, &profile, &calls);
        let mut before = false;
        let mut caught = None;
        for (day, entry) in entries.iter().enumerate() {
            let Some(acoustic) = entry.step.acoustic.as_ref().filter(|acoustic| acoustic.personal) else { continue };
            let alarm = acoustic.ewma_alarm || acoustic.cusum_alarm;
            if day < HEALTHY as usize {
                days += 1;
                alarms += u32::from(alarm && !before);
                watched += u32::from(entry.combined.as_ref().is_some_and(|c| c.score >= model.bands.watch));
            } else if alarm && caught.is_none() {
                caught = Some(day + 1 - HEALTHY as usize);
            }
            before = alarm;
        }
        delays.push(caught.unwrap_or(41));
    }
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    let run = f64::from(days) / f64::from(alarms.max(1));
    println!("{run:.0} calls between alarms, {watched} of {days} calls watched, caught after {median}: {delays:?}");
    // A baseline of ten calls knows its own middle only roughly, so that alarms come sooner than in theory.
    assert!(run > 45.0, "{run:.0} calls between false alarms");
    assert!(f64::from(watched) / f64::from(days) < 0.04, "{watched} of {days} healthy calls watched");
    assert!((4..=11).contains(&median), "caught after {median}");
}

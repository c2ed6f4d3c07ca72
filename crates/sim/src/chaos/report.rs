//! Many worlds: the table of faults, the storm, and random seeds, each with its numbers.

use super::fault::{Fault, Scope};
use super::server::Sabotage;
use super::world::{Plan, Verdict, names, random_plan, run, storm_plan};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Worlds are run side by side on so many threads.
const THREADS: usize = 2;

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// The fault and its moment.
    pub fault: String,
    /// Worlds that were run.
    pub seeds: u64,
    /// Worlds in which everything went wrong that was to: the moment of a fault may never come.
    pub struck: u64,
    /// Visits in them.
    pub visits: usize,
    /// Visits that were completed.
    pub completed: usize,
    /// Visits that were handed over to a person.
    pub handed_over: usize,
    /// Visits that the patient ended.
    pub by_patient: usize,
    /// Visits that took a call-back.
    pub called_back: usize,
    /// Calls that the script carried on.
    pub scripted: usize,
    /// Longest silence in seconds that a patient heard while the system had to speak.
    pub dead_air_s: f64,
    /// Speech of patients in seconds that was not recorded.
    pub audio_lost_s: f64,
    /// Answers that were noted and not kept.
    pub answers_lost: usize,
    /// Calls with a technical failure.
    pub failures: usize,
    /// How many of these the staff were told of, once each.
    pub told: usize,
    /// What did not hold, with the seed.
    pub broken: Vec<String>,
}

/// What came of many random worlds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Random {
    /// Worlds that were run.
    pub seeds: u64,
    /// Hours of calls in them.
    pub call_hours: f64,
    /// All of them together, as a row.
    pub total: Row,
    /// What did not hold: by seed, with how to see it again.
    pub broken: Vec<String>,
}

impl Row {
    fn add(&mut self, seed: u64, verdict: &Verdict) {
        self.seeds += 1;
        self.struck += u64::from(verdict.struck);
        self.visits += verdict.visits;
        self.completed += verdict.completed;
        self.handed_over += verdict.handed_over;
        self.by_patient += verdict.by_patient;
        self.called_back += verdict.called_back;
        self.scripted += verdict.scripted;
        self.dead_air_s = self.dead_air_s.max(verdict.dead_air_ms as f64 / 1_000.0);
        self.audio_lost_s += verdict.audio_lost_ms as f64 / 1_000.0;
        self.answers_lost += verdict.answers_lost;
        self.failures += verdict.failures;
        self.told += verdict.told;
        self.broken.extend(verdict.broken.iter().map(|what| format!("seed {seed}: {what}")));
    }
}

/// Runs `work` for the numbers below `count`, side by side, and gives the results in order.
fn side_by_side<T: Send>(count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let result = work(n);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((n, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The table: each fault with the seeds from 1 on. Patients do what they are asked, so that every visit can be completed.
#[must_use]
pub fn table(faults: &[Fault], seeds: u64) -> Vec<Row> {
    let worlds = side_by_side(faults.len() as u64 * seeds, |n| {
        let (row, seed) = ((n / seeds.max(1)) as usize, n % seeds.max(1) + 1);
        let faults = faults.get(row).cloned().into_iter().collect();
        (row, seed, run(&Plan { seed, calls: 1, faults, willing: true, sabotage: Sabotage::Nothing, trace: false }))
    });
    let mut rows: Vec<Row> = faults.iter().map(|fault| Row { fault: fault.name.clone(), ..Row::default() }).collect();
    for (row, seed, verdict) in worlds {
        if let Some(row) = rows.get_mut(row) {
            row.add(seed, &verdict);
        }
    }
    rows
}

/// `calls` at once whose primary agent dies in the same second, and again when all agents do.
#[must_use]
pub fn storm(calls: usize, seeds: u64) -> Vec<Row> {
    let kinds = [("primary dies for everybody", Scope::Primary), ("all agents die for everybody", Scope::All)];
    let of = |(name, scope): (&str, Scope)| {
        let mut row = Row { fault: format!("{calls} calls, {name}"), ..Row::default() };
        let verdicts = side_by_side(seeds, |n| run(&storm_plan(n + 1, calls, scope)));
        for (n, verdict) in verdicts.iter().enumerate() {
            row.add(n as u64 + 1, verdict);
        }
        row
    };
    kinds.map(of).into()
}

/// What happens in every call of one random world, a line each.
#[must_use]
pub fn trace(seed: u64) -> Vec<String> {
    let verdict = run(&Plan { trace: true, ..random_plan(seed) });
    let mut lines = verdict.trace;
    lines.extend(verdict.broken);
    lines
}

/// `count` random worlds from seed `from` on.
#[must_use]
pub fn random(from: u64, count: u64) -> Random {
    let worlds = side_by_side(count, |n| {
        let seed = from.wrapping_add(n);
        let plan = random_plan(seed);
        let verdict = run(&plan);
        let faults = verdict.broken.is_some().then(|| names(&plan).join(", "));
        (seed, verdict, faults)
    });
    let mut found = Random { seeds: count, ..Random::default() };
    found.total.fault = "random".to_owned();
    for (seed, verdict, faults) in worlds {
        found.call_hours += verdict.call_ms as f64 / 3_600_000.0;
        found.total.add(seed, &verdict);
        if let (Some(what), Some(faults)) = (&verdict.broken, faults) {
            let again = format!("reproduce with: heartvoice simulate chaos --random 1 --from {seed}");
            found.broken.push(format!("seed {seed}: {what} [{faults}]; {again}"));
        }
    }
    found
}

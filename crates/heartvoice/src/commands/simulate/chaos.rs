//! `heartvoice simulate chaos`: whole calls in virtual time, with something that breaks in each.

use crate::failure::{FAILED, Reported, bad_input};
use crate::output::{self, Format};
use crate::progress;
use serde_json::json;
use sim::chaos::{self, Fault, Random, Row};
use std::time::Instant;

/// Seeds of a storm: it is one long call for many patients, so a few tell enough.
const STORM_SEEDS: u64 = 3;

/// Breaks things in simulated calls and says what patients and staff noticed.
///
/// Nothing is contacted and nothing is kept: agents, telephones, database and clock are simulated, and the same seed
/// gives the same calls on every machine. Exit code 1 when something does not hold that always must.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice simulate chaos --seeds 5 --faults agent-mute,process-kill@question\n  \
                        heartvoice simulate chaos --random 1000 --from 1")]
pub(crate) struct Args {
    /// Seeds for each row of the table
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u64,
    /// Rows of the table: names with or without `@moment`, or `all` for everything at every moment
    #[arg(long, value_name = "NAME,...")]
    faults: Option<String>,
    /// So many calls at once, whose agent dies for all of them in the same second
    #[arg(long, value_name = "CALLS", conflicts_with_all = ["faults", "random"])]
    storm: Option<usize>,
    /// So many random worlds: any number of patients of any kind, any faults
    #[arg(long, value_name = "N", conflicts_with = "faults")]
    random: Option<u64>,
    /// First seed of the random worlds
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "random")]
    from: u64,
    /// Write down what happens in every call of the world of `--from`
    #[arg(long, requires = "from", conflicts_with = "format")]
    trace: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let busy = progress::spinner("simulating calls".to_owned());
    if args.trace {
        let lines = tokio::task::spawn_blocking(move || chaos::trace(args.from)).await?;
        busy.finish_and_clear();
        return output::line(&lines.join("\n"));
    }
    let format = args.format;
    let began = Instant::now();
    let (rows, random) = tokio::task::spawn_blocking(move || simulate(&args)).await??;
    let wall_s = began.elapsed().as_secs_f64();
    busy.finish_and_clear();
    let mut broken: Vec<String> = rows.iter().flat_map(broken_of).collect();
    if let Some(random) = &random {
        broken.clone_from(&random.broken);
    }
    match (format, &random) {
        (Format::Json, Some(random)) => {
            let per_s = random.call_hours / wall_s.max(1e-9);
            output::json(&json!({"random": random, "wall_s": wall_s, "call_hours_per_s": per_s}))?;
        }
        (Format::Json, None) => output::json(&json!({"rows": rows, "wall_s": wall_s}))?,
        (Format::Table, Some(random)) => print_random(random, wall_s)?,
        (Format::Table, None) => print_rows(&rows)?,
    }
    for what in &broken {
        eprintln!("{what}");
    }
    if broken.is_empty() { Ok(()) } else { Err(anyhow::Error::new(Reported(FAILED))) }
}

fn simulate(args: &Args) -> anyhow::Result<(Vec<Row>, Option<Random>)> {
    if let Some(count) = args.random {
        return Ok((Vec::new(), Some(chaos::random(args.from, count))));
    }
    if let Some(calls) = args.storm {
        return Ok((chaos::storm(calls, args.seeds.min(STORM_SEEDS)), None));
    }
    let faults = match &args.faults {
        Some(names) => Fault::choose(names).map_err(|name| {
            let known: Vec<String> = Fault::usual().into_iter().map(|fault| fault.name).collect();
            bad_input(format!("--faults: nothing is called {name}; expected some of {}", known.join(", ")))
        })?,
        None => Fault::usual(),
    };
    Ok((chaos::table(&faults, args.seeds), None))
}

fn broken_of(row: &Row) -> Vec<String> {
    row.broken.iter().map(|what| format!("{}: {what}", row.fault)).collect()
}

fn print_rows(rows: &[Row]) -> anyhow::Result<()> {
    let cells = |row: &Row| {
        [
            row.fault.clone(),
            row.struck.to_string(),
            row.visits.to_string(),
            row.completed.to_string(),
            row.handed_over.to_string(),
            row.scripted.to_string(),
            row.called_back.to_string(),
            format!("{:.1}", row.dead_air_s),
            format!("{:.1}", row.audio_lost_s),
            row.answers_lost.to_string(),
            format!("{} of {}", row.told, row.failures),
            row.broken.len().to_string(),
        ]
    };
    let header = [
        "fault",
        "struck",
        "visits",
        "completed",
        "handed over",
        "by script",
        "called back",
        "dead air s",
        "audio lost s",
        "answers lost",
        "staff told",
        "broken",
    ];
    output::table(header, rows.iter().map(cells).collect())
}

fn print_random(random: &Random, wall_s: f64) -> anyhow::Result<()> {
    let total = &random.total;
    let per_s = random.call_hours / wall_s.max(1e-9);
    let rows = [
        ("seeds", random.seeds.to_string()),
        ("simulated call-hours", format!("{:.1}", random.call_hours)),
        ("wall time s", format!("{wall_s:.1}")),
        ("call-hours per second", format!("{per_s:.2}")),
        ("seeds in which every fault struck", total.struck.to_string()),
        ("visits", total.visits.to_string()),
        ("completed", total.completed.to_string()),
        ("handed over", total.handed_over.to_string()),
        ("ended by the patient", total.by_patient.to_string()),
        ("called back", total.called_back.to_string()),
        ("longest dead air s", format!("{:.1}", total.dead_air_s)),
        ("staff told of failures", format!("{} of {}", total.told, total.failures)),
        ("seeds with a broken rule", random.broken.len().to_string()),
    ];
    output::table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]).into())
}

//! `heartvoice demo`: the whole system in one process, with simulated telephones, agent and patients.

mod cast;
mod check;
mod history;
mod print;
mod world;

use crate::failure::{FAILED, Reported, bad_input};
use crate::output::{self, Format};
use crate::progress;
use crate::signals::StopRequests;
use check::Finished;
use clap::builder::RangedU64ValueParser;
use history::Course;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use world::World;

/// Between two calls once the first ones are over.
const CALL_EVERY: Duration = Duration::from_secs(20);
/// How long running calls may take to end when the demo is stopped.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Most calls at once.
const MAX_CALLS: u64 = 100;

/// Shows everything with simulated telephones, agent and patients.
///
/// Patients with made-up names telephone the server with real speech, an agent talks with them, their voices are
/// measured, and everything is stored encrypted. Needs no account and no network. One row is printed per finished call.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  heartvoice demo --once\n  heartvoice demo --once --calls 8 --format json\n  heartvoice demo --data-dir demo-data"
)]
pub(crate) struct Args {
    /// Make the calls, print what came of them, and exit: 0 only if every call went well
    #[arg(long)]
    once: bool,
    /// Calls at the same time
    #[arg(long, default_value_t = 6, value_parser = RangedU64ValueParser::<u32>::new().range(1..=MAX_CALLS))]
    calls: u32,
    /// Port of the server [default: 3000, or another with --once when that is taken]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Keep the data in this folder; its key is in the file demo.key there
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = StopRequests::listen()?;
    let world = World::start(args.port, args.once, args.data_dir.as_deref(), args.calls).await?;
    if args.format == Format::Table {
        print::welcome(&world)?;
        if !args.once {
            print::first_link(&world).await?;
        }
    }
    let spinner = progress::spinner("calls of the past weeks, in simulated time".to_owned());
    let courses = tokio::select! {
        courses = world.pasts() => courses?,
        () = stop.next() => return Err(anyhow::anyhow!("stopped before the calls were over")),
    };
    spinner.finish_and_clear();
    if args.format == Format::Table {
        print::courses(&courses)?;
        print::header(args.calls)?;
    }
    let (world, mut calls) = (Arc::new(world), JoinSet::new());
    let outcome = if args.once {
        tokio::select! {
            outcome = once(&world, &mut calls, &args, &courses) => outcome,
            () = stop.next() => Err(anyhow::anyhow!("stopped before the calls were over")),
        }
    } else {
        tokio::select! {
            outcome = for_ever(&world, &mut calls, &args) => outcome,
            () = stop.next() => Ok(()),
        }
    };
    calls.shutdown().await;
    // Every call has given its share back, so the world is ours again.
    if let Some(world) = Arc::into_inner(world) {
        world.stop(STOP_GRACE).await;
    }
    outcome
}

/// Makes the calls and reports.
async fn once(
    world: &Arc<World>,
    calls: &mut JoinSet<Finished>,
    args: &Args,
    courses: &[Course],
) -> anyhow::Result<()> {
    for number in 0..args.calls {
        calls.spawn(one_call(world.clone(), number));
    }
    let spinner = progress::spinner(format!("{} calls", args.calls));
    let mut finished = Vec::new();
    while let Some(call) = calls.join_next().await {
        let call = call?;
        if args.format == Format::Table {
            spinner.suspend(|| print::row(&call))?;
        }
        finished.push(call);
    }
    spinner.finish_and_clear();
    finished.sort_by_key(|call| call.number);
    let mut problems: Vec<String> = finished.iter().flat_map(Finished::named_problems).collect();
    problems.extend(check::courses(courses));
    problems.extend(check::staff_told(&finished, world.staff_messages()));
    let ok = problems.is_empty();
    match args.format {
        Format::Json => output::json(&print::report(&finished, courses, ok))?,
        Format::Table => print::summary(&finished, world.staff_messages())?,
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    if ok { Ok(()) } else { Err(Reported(FAILED).into()) }
}

/// Makes the first calls, then another one every now and then.
async fn for_ever(world: &Arc<World>, calls: &mut JoinSet<Finished>, args: &Args) -> anyhow::Result<()> {
    let mut next = args.calls;
    for number in 0..next {
        calls.spawn(one_call(world.clone(), number));
    }
    let mut tick = tokio::time::interval(CALL_EVERY);
    tick.tick().await;
    loop {
        tokio::select! {
            Some(call) = calls.join_next() => {
                let call = call?;
                match args.format {
                    Format::Table => print::row(&call)?,
                    Format::Json => output::line(&print::object(&call).to_string())?,
                }
                for problem in call.named_problems() {
                    eprintln!("error: {problem}");
                }
            }
            _ = tick.tick() => {
                if calls.len() < args.calls as usize {
                    calls.spawn(one_call(world.clone(), next));
                    next = next.wrapping_add(1);
                }
            }
        }
    }
}

async fn one_call(world: Arc<World>, number: u32) -> Finished {
    let report = world.call(number).await;
    let role = world.role(number).map_or_else(|| cast::Role::of(number), |(_, role)| *role);
    check::finished(&world.store, number, role, report).await
}

/// The port that was asked for, if the text is one.
fn port_of_environment() -> anyhow::Result<Option<u16>> {
    match std::env::var("PORT") {
        Ok(text) if !text.trim().is_empty() => match text.trim().parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(bad_input("PORT: expected a port number 1-65535 (from environment)")),
        },
        _ => Ok(None),
    }
}

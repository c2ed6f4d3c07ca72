//! `heartvoice analyze`: biomarkers of audio files.
//!
//! Files are measured side by side on all cores and printed in the order in which they were named, each as soon as it
//! and all before it are done. Nothing about a file's result depends on the others or on how many there are.

mod figures;
mod input;
mod measure;
mod pool;
mod print;

use crate::failure::{FAILED, Reported, bad_input};
use crate::progress;
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use figures::Figures;
use input::Item;
use measure::Request;
use pool::Room;
use print::Printer;
use std::ops::ControlFlow;
use std::path::PathBuf;
use voice::AnalyzeOptions;

/// Most files that are measured at the same time, however many cores there are.
const MAX_JOBS: u64 = 256;

/// Measures voices in audio files.
///
/// Reads WAV (PCM, float, mu-law, A-law; the first of several channels) and headerless `.ulaw` (mu-law at 8 kHz). A
/// folder stands for the audio files in it and in its subfolders. Percentages are in percent; a dash or null means that
/// a measure is not defined or was withheld because the recording is not good enough.
///
/// Exit codes: 0 every file was measured, 1 some of several files were not, 2 bad use or a single bad file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  heartvoice analyze vowel.wav --task sustained-vowel\n  heartvoice analyze recordings/ --format csv > measures.csv\n  heartvoice analyze interview.wav --start 60 --end 120 --plot figures"
)]
pub(crate) struct Args {
    /// Audio files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the person was asked to do: speech, counting, sustained-vowel or auto
    #[arg(long, default_value = "auto")]
    task: voice::Task,
    /// Begin at this time of each file
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    start: Option<f64>,
    /// End at this time of each file
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    end: Option<f64>,
    /// Measure the entire span with Praat's standard settings: no choice of window, nothing withheld
    #[arg(long)]
    whole: bool,
    /// Add what else Praat would say of the entire span: other pitch contours, Harmonicity (ac), silences, the published
    /// syllable counter, formant bandwidths (JSON only)
    #[arg(long)]
    details: bool,
    /// The words that were spoken, for the measures that need them
    #[arg(long, value_name = "TEXT")]
    transcript: Option<String>,
    /// What carried the voice: wideband, telephone or auto
    #[arg(long, default_value = "auto")]
    channel: voice::Channel,
    /// Draw a figure of each file into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Measure so many files at the same time [default: one per core]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_JOBS))]
    jobs: Option<usize>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: AnalysisFormat,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum AnalysisFormat {
    /// For people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("expected a number of seconds".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let (Some(start), Some(end)) = (args.start, args.end)
        && end <= start
    {
        return Err(bad_input("--end: expected a time after --start"));
    }
    if args.details && !matches!(args.format, AnalysisFormat::Json | AnalysisFormat::Jsonl) {
        return Err(bad_input("--details: expected --format json or --format jsonl beside it"));
    }
    let items = input::expand(&args.files);
    let figures = args.plot.as_deref().map(|dir| Figures::prepare(dir, &items)).transpose()?;
    let request = Request {
        options: AnalyzeOptions {
            task: args.task,
            channel: args.channel,
            start_s: None,
            end_s: None,
            whole: args.whole,
        },
        start_s: args.start,
        end_s: args.end,
        words: args.transcript.as_deref().map_or(0, |text| text.split_whitespace().count()),
        details: args.details,
        figures: figures.as_ref(),
    };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    match items.as_slice() {
        [item] => one(item, &request, args.format),
        items => several(items, &request, jobs.min(MAX_JOBS as usize), args.format),
    }
}

/// A single file that cannot be measured is bad input.
fn one(item: &Item, request: &Request<'_>, format: AnalysisFormat) -> anyhow::Result<()> {
    let outcome = request.fulfil(0, item, &Room::new());
    if let Err(reason) = &outcome.result {
        return Err(bad_input(reason.as_str()));
    }
    let mut printer = Printer::new(format);
    if printer.print(&outcome)?.is_continue() {
        printer.end()?;
    }
    Ok(())
}

/// Of several files, those that cannot be measured are named and the others printed.
fn several(items: &[Item], request: &Request<'_>, jobs: usize, format: AnalysisFormat) -> anyhow::Result<()> {
    let bar = progress::bar(items.len() as u64, "analysing");
    let room = Room::new();
    let mut printer = Printer::new(format);
    let (mut failed, mut broken) = (false, None);
    let flow = pool::in_order(
        items,
        jobs,
        |index, item| request.fulfil(index, item, &room),
        |outcome| {
            bar.inc(1);
            bar.suspend(|| {
                if let Err(reason) = &outcome.result {
                    failed = true;
                    eprintln!("error: {}", one_line(reason));
                }
                printer.print(&outcome).unwrap_or_else(|error| {
                    broken = Some(error);
                    ControlFlow::Break(())
                })
            })
        },
    )?;
    bar.finish_and_clear();
    if let Some(error) = broken {
        return Err(error);
    }
    if flow.is_continue() {
        printer.end()?;
    }
    if failed { Err(Reported(FAILED).into()) } else { Ok(()) }
}

/// File names may hold line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

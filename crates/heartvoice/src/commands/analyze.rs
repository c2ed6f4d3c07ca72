//! `heartvoice analyze`: biomarkers of audio files.

mod input;
mod print;

use crate::failure::{FAILED, Reported, bad_input};
use crate::progress;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use voice::{AnalyzeOptions, Report, SampleRate};

/// Measures voices in audio files.
///
/// Reads WAV (PCM, float, mu-law, A-law) and headerless `.ulaw` (mu-law at 8 kHz). A folder stands for the audio files
/// in it. Percentages are in percent; a dash or null means that a measure is not defined or was withheld because the
/// recording is not good enough.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  heartvoice analyze vowel.wav --task sustained-vowel\n  heartvoice analyze recordings/ --format csv > measures.csv"
)]
pub(crate) struct Args {
    /// Audio files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the person was asked to do: speech, counting, sustained-vowel or auto
    #[arg(long, default_value = "auto")]
    task: voice::Task,
    /// Begin at this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    start: Option<f64>,
    /// End at this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    end: Option<f64>,
    /// Measure the entire span with Praat's standard settings: no choice of window, nothing withheld
    #[arg(long)]
    whole: bool,
    /// The words that were spoken, for the measures that need them
    #[arg(long, value_name = "TEXT")]
    transcript: Option<String>,
    /// What carried the voice: wideband, telephone or auto
    #[arg(long, default_value = "auto")]
    channel: voice::Channel,
    /// Not in this version
    #[arg(long, value_name = "DIR", hide = true)]
    plot: Option<PathBuf>,
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

/// The result for one file.
#[derive(Debug)]
struct Outcome {
    file: String,
    result: Result<Report, String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.plot.is_some() {
        return Err(bad_input("--plot is not in this version: use --format json and plot the values"));
    }
    if let (Some(start), Some(end)) = (args.start, args.end)
        && end <= start
    {
        return Err(bad_input("--end: expected a time after --start"));
    }
    let files = input::expand(&args.files).map_err(bad_input)?;
    let options = AnalyzeOptions {
        task: args.task,
        channel: args.channel,
        start_s: args.start,
        end_s: args.end,
        whole: args.whole,
    };
    if let [file] = files.as_slice() {
        let report = analyze(file, &options, args.transcript.as_deref()).map_err(bad_input)?;
        return print::all(&[Outcome { file: file.display().to_string(), result: Ok(report) }], args.format);
    }
    let bar = progress::bar(files.len() as u64, "analysing");
    let mut outcomes = Vec::with_capacity(files.len());
    for file in &files {
        let result = analyze(file, &options, args.transcript.as_deref());
        if let Err(reason) = &result {
            bar.suspend(|| eprintln!("error: {reason}"));
        }
        outcomes.push(Outcome { file: file.display().to_string(), result });
        bar.inc(1);
    }
    bar.finish_and_clear();
    print::all(&outcomes, args.format)?;
    if outcomes.iter().any(|outcome| outcome.result.is_err()) {
        return Err(Reported(FAILED).into());
    }
    Ok(())
}

/// Measures one file; the error names it.
fn analyze(file: &Path, options: &AnalyzeOptions, transcript: Option<&str>) -> Result<Report, String> {
    let named = |reason: String| format!("{}: {reason}", file.display());
    let (samples, rate): (Vec<f64>, SampleRate) = input::read(file).map_err(named)?;
    let mut report = voice::analyze(&samples, rate, options).map_err(|error| named(error.to_string()))?;
    let words = transcript.map(|text| text.split_whitespace().count()).filter(|words| *words > 0);
    if let Some(words) = words
        && report.measures.words_per_minute.is_none()
        && (report.quality.usable || options.whole)
    {
        report.measures.words_per_minute = Some(words as f64 * 60.0 / report.duration_s);
    }
    Ok(report)
}

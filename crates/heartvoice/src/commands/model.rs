//! `heartvoice model`: the risk model: what it consists of, how good it is on a site's outcomes, and a candidate.
//!
//! Nothing here changes the model in use. A candidate is a file for people to read, and to try in the shadow.

mod print;

use crate::failure::bad_input;
use crate::output::{self, Format};
use crate::progress;
use anyhow::Context;
use clap::Subcommand;
use clinic::risk::Model;
use clinic::training::{self, Table};
use serde_json::json;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Larger files are not read.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows every constant of a model
    #[command(after_help = "Examples:\n  heartvoice model show\n  heartvoice model show candidate.json --format json")]
    Show {
        /// The model; without it the built-in one
        file: Option<PathBuf>,
        /// How to print; `json` is the form a model file has
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Measures how well a model orders and predicts outcomes
    ///
    /// The file has the columns patient_id, date, outcome (1 when it followed), score, and any features an assessment
    /// carries; one line for each patient and day, empty where a value is not known. The built-in model is judged by
    /// the column score, a fitted one by its features.
    #[command(
        after_help = "Examples:\n  heartvoice model evaluate --data outcomes.csv\n  heartvoice model evaluate --data outcomes.csv --model candidate.json --format json"
    )]
    Evaluate {
        /// Outcomes in CSV; `-` reads standard input
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
        /// The model; without it the built-in one
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// Seed of the intervals
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Makes a candidate model from outcomes
    ///
    /// With 60 events or more it fits the features, with fewer only an intercept and a slope for the score. Figures
    /// are of patients that were not trained on, also without the voice. Nothing uses a candidate by itself.
    #[command(
        after_help = "Examples:\n  heartvoice model train --data outcomes.csv --output candidate.json\n  heartvoice model synthetic --patients 100 --days 60 | heartvoice model train --data - --output candidate.json"
    )]
    Train {
        /// Outcomes in CSV; `-` reads standard input
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
        /// Where the candidate goes; a file that is there is replaced
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// The model whose rules the candidate keeps; without it the built-in one
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// Seed of splits and intervals
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Prints a made-up file of outcomes, to try the other commands
    #[command(after_help = "Example:\n  heartvoice model synthetic --patients 100 --days 60 --seed 7 > outcomes.csv")]
    Synthetic {
        /// Made-up patients
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
        patients: u16,
        /// Days of each
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=365))]
        days: u16,
        /// Equal seeds give equal files
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Show { file, format } => show(&load(file.as_deref())?, *format),
        Command::Evaluate { data, model, seed, format } => evaluate(data, &load(model.as_deref())?, *seed, *format),
        Command::Train { data, output, model, seed, format } => {
            train(data, output, &load(model.as_deref())?, *seed, *format)
        }
        Command::Synthetic { patients, days, seed } => {
            let cohort = training::synthetic::synthetic_cohort(*seed, usize::from(*patients), usize::from(*days));
            output::line(cohort.to_csv().trim_end())
        }
    }
}

fn show(model: &Model, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::line(&model.to_json()),
        Format::Table => print::model(model),
    }
}

fn evaluate(data: &Path, model: &Model, seed: u64, format: Format) -> anyhow::Result<()> {
    let table = read_table(data)?;
    let working = progress::spinner(format!("evaluating on {} rows", table.rows.len()));
    let evaluation = training::evaluate(model, &table, seed).map_err(|error| refused(data, &error))?;
    working.finish_and_clear();
    match format {
        Format::Json => output::json(&evaluation),
        Format::Table => print::evaluation(&evaluation),
    }
}

fn train(data: &Path, file: &Path, base: &Model, seed: u64, format: Format) -> anyhow::Result<()> {
    let table = read_table(data)?;
    // Opened first: training for minutes and then not being able to write would be a waste.
    let cannot = || format!("cannot write {}", file.display());
    let mut whole = tempfile::NamedTempFile::new_in(folder(file)).with_context(cannot)?;
    let working = progress::spinner(format!("training on {} rows", table.rows.len()));
    let candidate = training::train(base, &table, seed).map_err(|error| refused(data, &error))?;
    working.finish_and_clear();
    // A whole file or none: a reader never sees half a model.
    writeln!(whole, "{}", candidate.model.to_json()).with_context(cannot)?;
    whole.as_file().sync_all().with_context(cannot)?;
    whole.persist(file).with_context(cannot)?;
    match format {
        Format::Json => output::json(&json!({
            "file": file,
            "model": {"name": candidate.model.name, "version": candidate.model.version},
            "report": candidate.report,
        })),
        Format::Table => {
            print::training(&candidate)?;
            output::line(&format!("\nThe candidate is in {}. Nothing uses it by itself.", file.display()))
        }
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn load(file: Option<&Path>) -> anyhow::Result<Model> {
    let Some(file) = file else { return Ok(Model::default()) };
    let bytes = read(file)?;
    let text = String::from_utf8(bytes).map_err(|_| bad_input(format!("{}: expected UTF-8", file.display())))?;
    Model::from_json(&text).map_err(|error| bad_input(format!("{}: {error}", file.display())))
}

fn read_table(file: &Path) -> anyhow::Result<Table> {
    Table::parse(&read(file)?).map_err(|error| bad_input(format!("{}: {error}", file.display())))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES + 1;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| bad_input(format!("cannot read {}: {error}", file.display())))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad_input(format!("{}: larger than 256 MB", file.display())));
    }
    Ok(bytes)
}

fn refused(data: &Path, error: &training::TrainError) -> anyhow::Error {
    bad_input(format!("{}: {error}", data.display()))
}

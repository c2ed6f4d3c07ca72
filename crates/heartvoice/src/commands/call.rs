//! `heartvoice call`: a call now, and what is stored of calls.

mod export;
mod place;
mod replay;
mod show;

use super::operator::{on_record, operator};
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::{Subcommand, ValueEnum};
use clinic::{CallId, CallRecord, PatientId};
use serde_json::{Value, json};
use std::path::PathBuf;
use store::Store;
use store::audit::NewEntry;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Has the running server call a patient now
    ///
    /// The wish goes into the database, where the server finds it within seconds; this command waits and says what
    /// became of it. Nobody is called before 08:00 or after 21:00 of their local time. When no server takes the call
    /// while this command waits, it is taken back. Exit code 1 when the patient was not reached.
    #[command(after_help = "Example:\n  heartvoice call place --patient 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Place {
        /// Identifier, as `patient list` prints it
        #[arg(long, value_name = "ID")]
        patient: String,
        /// How long to wait for what becomes of it
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=240))]
        wait: u64,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists calls, newest first
    #[command(after_help = "Example:\n  heartvoice call list --limit 20 --format json")]
    List {
        /// Only calls of this patient
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only calls older than this one: for the next page
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Shows a call: its timeline and what was measured
    #[command(after_help = "Example:\n  heartvoice call show 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Show {
        /// Identifier, as `call list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Analyses the stored audio of a call again and compares
    ///
    /// The same version of the voice engine has to give the same numbers, bit for bit; if it does not, the differences
    /// are listed and the exit code is 1. Another version than the one that measured the call may differ: then every
    /// measure is listed as it was stored and as it is now. Nothing is changed.
    #[command(
        after_help = "Examples:\n  heartvoice call replay 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b\n  heartvoice call replay ID --format json"
    )]
    Replay {
        /// Identifier, as `call list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Writes the audio and the records of a call to files
    ///
    /// The files are not encrypted any more: keep them as safe as the records they come from.
    #[command(
        after_help = "Examples:\n  heartvoice call export ID --output call-folder\n  heartvoice call export ID --track patient --output patient.wav"
    )]
    Export {
        /// Identifier, as `call list` prints it
        id: String,
        /// A folder for patient.wav, agent.wav, call.wav and call.json; or one file ending in .wav or .json
        #[arg(long, value_name = "PATH")]
        output: PathBuf,
        /// Only this audio; `both` is stereo with the patient on the left
        #[arg(long, value_enum)]
        track: Option<Track>,
        /// How to print what was written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Audio of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Track {
    Patient,
    Agent,
    Both,
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let done = match command {
        Command::Place { patient, wait, format } => {
            let patient = PatientId::parse(&patient).map_err(|invalid| bad_input(invalid.to_string()))?;
            place::run(store, &patient, wait, format).await
        }
        Command::List { patient, limit, before, format } => {
            let of = patient.as_deref().map(PatientId::parse).transpose();
            let of = of.map_err(|invalid| bad_input(invalid.to_string()))?;
            let entry = NewEntry::new(operator(), "call.list").patient(of.as_ref());
            on_record(store, entry, list(store, patient, limit, before, format)).await
        }
        Command::Show { id, format } => {
            let id = call_id(&id)?;
            on_record(store, about(store, "call.read", &id).await?, show::run(store, &id, format)).await
        }
        Command::Replay { id, format } => {
            let id = call_id(&id)?;
            on_record(store, about(store, "call.replay", &id).await?, replay::run(store, &id, format)).await
        }
        Command::Export { id, output, track, format } => {
            let id = call_id(&id)?;
            let entry = about(store, "call.export", &id).await?;
            on_record(store, entry, export::run(store, &id, &output, track, format)).await
        }
    };
    store.close().await;
    done
}

/// What the trail says about looking at a call there is.
async fn about(store: &Store, action: &str, id: &CallId) -> anyhow::Result<NewEntry> {
    let call = store.get_call(id).await?;
    Ok(NewEntry::new(operator(), action).object("call", id).patient(call.patient_id.as_ref()))
}

fn call_id(text: &str) -> anyhow::Result<CallId> {
    CallId::parse(text).map_err(|invalid| bad_input(invalid.to_string()))
}

async fn list(
    store: &Store,
    patient: Option<String>,
    limit: u32,
    before: Option<String>,
    format: RowFormat,
) -> anyhow::Result<()> {
    let before = before.as_deref().map(call_id).transpose()?;
    let calls = match patient {
        Some(patient) => {
            let patient = PatientId::parse(&patient).map_err(|invalid| bad_input(invalid.to_string()))?;
            store.list_patient_calls(&patient, limit, before.as_ref()).await?
        }
        None => store.list_calls(limit, before.as_ref()).await?,
    };
    let header =
        ["id", "patient_id", "direction", "outcome", "started_at", "duration_s", "agents", "turns", "interruptions"];
    match format {
        RowFormat::Json => output::json(&calls.iter().map(object).collect::<Vec<_>>()),
        RowFormat::Table => output::table(header, calls.iter().map(row).collect()),
        RowFormat::Csv => output::csv(&header, &calls.iter().map(row).collect::<Vec<_>>()),
    }
}

fn row(call: &CallRecord) -> [String; 9] {
    [
        call.id.to_string(),
        call.patient_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        word(&call.direction),
        call.outcome.as_str().to_owned(),
        output::time(call.started_at_us),
        output::number(duration_s(call), 1),
        call.agents.join(" "),
        call.turns.to_string(),
        call.interruptions.to_string(),
    ]
}

/// Length of a call that has ended.
fn duration_s(call: &CallRecord) -> Option<f64> {
    call.ended_at_us.map(|end| (end - call.started_at_us) as f64 / 1e6)
}

/// A call as JSON, with times as the outside world writes them.
fn object(call: &CallRecord) -> Value {
    json!({
        "id": call.id,
        "patient_id": call.patient_id,
        "direction": call.direction,
        "outcome": call.outcome,
        "end_cause": call.end_cause,
        "started_at": output::time(call.started_at_us),
        "ended_at": call.ended_at_us.map(output::time),
        "duration_s": duration_s(call),
        "agents": call.agents,
        "turns": call.turns,
        "interruptions": call.interruptions,
    })
}

/// The name that a unit variant has in JSON.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

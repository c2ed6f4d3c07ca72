//! `heartvoice schedule`: when patients are telephoned.

use super::operator::{on_record, operator};
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::Subcommand;
use clinic::schedule::{Days, RetryAfter, Schedule, Timetable, Window};
use clinic::{PatientId, ScheduleId};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use serde_json::Value;
use store::audit::NewEntry;
use store::{PlannedCall, Store};

/// Planned calls that `show` lists.
const SHOWN_CALLS: u32 = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Adds a schedule: on its days the server calls the patient, and tries again when nobody answers
    ///
    /// Whatever the window says, no call begins before 08:00 or after 21:00 of the patient's local time.
    #[command(
        after_help = "Examples:\n  heartvoice schedule add --patient ID --days mon,wed,fri --from 10:00 --to 16:00\n  heartvoice schedule add --patient ID --days every-2-days --holiday 2026-12-25 --max-attempts 4"
    )]
    Add(Box<AddArgs>),
    /// Lists schedules
    #[command(after_help = "Example:\n  heartvoice schedule list --format json")]
    List {
        /// Only those of this patient
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Shows a schedule and the calls planned by it lately
    #[command(after_help = "Example:\n  heartvoice schedule show 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Show {
        /// Identifier, as `schedule list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Makes no more calls by a schedule until it is resumed; days that pass meanwhile are not missed calls
    #[command(after_help = "Example:\n  heartvoice schedule pause 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Pause {
        /// Identifier, as `schedule list` prints it
        id: String,
    },
    /// Goes on with a paused schedule
    #[command(after_help = "Example:\n  heartvoice schedule resume 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Resume {
        /// Identifier, as `schedule list` prints it
        id: String,
    },
    /// Removes a schedule; what was done by it stays on record
    #[command(after_help = "Example:\n  heartvoice schedule remove 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Remove {
        /// Identifier, as `schedule list` prints it
        id: String,
    },
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        !matches!(self, Self::Add(_))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Identifier, as `patient list` prints it
    #[arg(long, value_name = "ID")]
    patient: String,
    /// daily, weekdays, every-2-days (1 to 90), or names such as mon,wed,fri
    #[arg(long, default_value = "daily")]
    days: String,
    /// First moment of the window, local time
    #[arg(long, value_name = "TIME", default_value = "09:00")]
    from: Time,
    /// End of the window, local time
    #[arg(long, value_name = "TIME", default_value = "17:00")]
    to: Time,
    /// IANA time zone; the patient's own when not given
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// A day without calls; may be given several times
    #[arg(long, value_name = "DATE")]
    holiday: Vec<Date>,
    /// Attempts on one day
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_attempts: u32,
    /// Minutes until the next attempt after a busy line
    #[arg(long, value_name = "MINUTES", default_value_t = RetryAfter::default().busy_min)]
    retry_busy: u32,
    /// Minutes until the next attempt when nobody answered
    #[arg(long, value_name = "MINUTES", default_value_t = RetryAfter::default().no_answer_min)]
    retry_no_answer: u32,
    /// Minutes until the next attempt after an answering machine
    #[arg(long, value_name = "MINUTES", default_value_t = RetryAfter::default().voicemail_min)]
    retry_voicemail: u32,
    /// Minutes until the next attempt after a technical failure
    #[arg(long, value_name = "MINUTES", default_value_t = RetryAfter::default().failed_min)]
    retry_failed: u32,
    /// First day; today when not given
    #[arg(long, value_name = "DATE")]
    starts_on: Option<Date>,
    /// Last day
    #[arg(long, value_name = "DATE")]
    ends_on: Option<Date>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let done = match command {
        Command::Add(args) => add(store, &args).await,
        Command::List { patient, format } => {
            let of = patient.as_deref().map(patient_id).transpose()?;
            let entry = NewEntry::new(operator(), "schedule.list").patient(of.as_ref());
            on_record(store, entry, list(store, patient.as_deref(), format)).await
        }
        Command::Show { id, format } => {
            let id = schedule_id(&id)?;
            let patient = store.get_schedule(&id).await?.patient_id;
            let entry = NewEntry::new(operator(), "schedule.read").object("schedule", &id).patient(Some(&patient));
            on_record(store, entry, show(store, &id, format)).await
        }
        Command::Pause { id } => pause(store, &id).await,
        Command::Resume { id } => resume(store, &id).await,
        Command::Remove { id } => remove(store, &id).await,
    };
    store.close().await;
    done
}

async fn add(store: &Store, args: &AddArgs) -> anyhow::Result<()> {
    let patient = patient_id(&args.patient)?;
    let zone = match &args.timezone {
        Some(zone) => zone.clone(),
        None => store.get_patient(&patient).await?.details.timezone,
    };
    let today = || Timestamp::now().in_tz(&zone).map(|now| now.date());
    let starts_on = match args.starts_on {
        Some(date) => date,
        None => today().map_err(|_| bad_input("timezone: expected an IANA time zone such as America/New_York"))?,
    };
    let table = Timetable {
        days: args.days.parse::<Days>().map_err(|wrong| bad_input(wrong.to_string()))?,
        window: Window { start: args.from, end: args.to },
        timezone: zone,
        holidays: args.holiday.clone(),
        max_attempts: args.max_attempts,
        retry_after: RetryAfter {
            busy_min: args.retry_busy,
            no_answer_min: args.retry_no_answer,
            voicemail_min: args.retry_voicemail,
            failed_min: args.retry_failed,
        },
        starts_on,
        ends_on: args.ends_on,
    };
    let schedule = store.add_schedule(&patient, &table, now_us()).await?;
    match args.format {
        Format::Table => {
            output::line(&format!("added schedule {}; next call {}", schedule.id, or_dash(next_call(&schedule))))
        }
        Format::Json => output::json(&object(&schedule)),
    }
}

async fn list(store: &Store, patient: Option<&str>, format: RowFormat) -> anyhow::Result<()> {
    let patient = patient.map(patient_id).transpose()?;
    let schedules = store.list_schedules(patient.as_ref()).await?;
    let header = ["id", "patient_id", "days", "from", "to", "timezone", "attempts", "state", "next_call"];
    match format {
        RowFormat::Table => output::table(header, schedules.iter().map(row).collect()),
        RowFormat::Json => output::json(&schedules.iter().map(object).collect::<Vec<_>>()),
        RowFormat::Csv => output::csv(&header, &schedules.iter().map(row).collect::<Vec<_>>()),
    }
}

async fn show(store: &Store, id: &ScheduleId, format: Format) -> anyhow::Result<()> {
    let schedule = store.get_schedule(id).await?;
    let mut calls = store.list_planned_calls(&schedule.patient_id, SHOWN_CALLS).await?;
    calls.retain(|call| call.schedule_id.as_ref() == Some(id));
    if format == Format::Json {
        let mut value = object(&schedule);
        value["calls"] = calls.iter().map(server::planned_call_json).collect();
        return output::json(&value);
    }
    let table = &schedule.timetable;
    let retry = table.retry_after;
    let minutes = format!(
        "busy {}, no answer {}, voicemail {}, failed {}",
        retry.busy_min, retry.no_answer_min, retry.voicemail_min, retry.failed_min
    );
    let holidays: Vec<String> = table.holidays.iter().map(Date::to_string).collect();
    let rows = [
        ("id", schedule.id.to_string()),
        ("patient", schedule.patient_id.to_string()),
        ("days", table.days.to_string()),
        ("window", format!("{} to {} {}", clock(table.window.start), clock(table.window.end), table.timezone)),
        ("no calls on", or_dash(Some(holidays.join(", ")).filter(|text| !text.is_empty()))),
        ("attempts", table.max_attempts.to_string()),
        ("minutes between them", minutes),
        ("first day", table.starts_on.to_string()),
        ("last day", or_dash(table.ends_on.map(|date| date.to_string()))),
        ("state", state(&schedule).to_owned()),
        ("next call", or_dash(next_call(&schedule))),
    ];
    output::table(["field", "value"], rows.map(|(name, value)| [name.to_owned(), value]).into())?;
    if calls.is_empty() {
        return Ok(());
    }
    let row = |call: &PlannedCall| {
        let attempts: Vec<&str> = call.attempts.iter().map(|attempt| attempt.state.as_str()).collect();
        [call.planned_for.to_string(), call.state.as_str().to_owned(), attempts.join(", ")]
    };
    output::line("")?;
    output::table(["day", "state", "attempts"], calls.iter().map(row).collect())
}

async fn pause(store: &Store, id: &str) -> anyhow::Result<()> {
    store.pause_schedule(&schedule_id(id)?, now_us()).await?;
    output::line("paused")
}

async fn resume(store: &Store, id: &str) -> anyhow::Result<()> {
    let id = schedule_id(id)?;
    store.resume_schedule(&id, now_us()).await?;
    let schedule = store.get_schedule(&id).await?;
    output::line(&format!("resumed; next call {}", or_dash(next_call(&schedule))))
}

async fn remove(store: &Store, id: &str) -> anyhow::Result<()> {
    store.remove_schedule(&schedule_id(id)?, now_us()).await?;
    output::line("removed")
}

fn row(schedule: &Schedule) -> [String; 9] {
    let table = &schedule.timetable;
    [
        schedule.id.to_string(),
        schedule.patient_id.to_string(),
        table.days.to_string(),
        clock(table.window.start),
        clock(table.window.end),
        table.timezone.clone(),
        table.max_attempts.to_string(),
        state(schedule).to_owned(),
        or_dash(next_call(schedule)),
    ]
}

fn object(schedule: &Schedule) -> Value {
    server::schedule_json(schedule, now_us())
}

/// When the first attempt of the next calling day is due, RFC 3339. That of today may have been made already.
fn next_call(schedule: &Schedule) -> Option<String> {
    let day = schedule.calling_day_from(now_us()).filter(|_| !schedule.paused)?;
    Some(output::time(day.first_due_us))
}

fn state(schedule: &Schedule) -> &'static str {
    if schedule.paused { "paused" } else { "active" }
}

fn clock(time: Time) -> String {
    time.strftime("%H:%M").to_string()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn schedule_id(text: &str) -> anyhow::Result<ScheduleId> {
    ScheduleId::parse(text).map_err(|invalid| bad_input(invalid.to_string()))
}

fn patient_id(text: &str) -> anyhow::Result<PatientId> {
    PatientId::parse(text).map_err(|invalid| bad_input(invalid.to_string()))
}

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

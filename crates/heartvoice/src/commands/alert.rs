//! `heartvoice alert`: what a person has to look at, and taking it up where there is no dashboard at hand.

use super::operator::{on_record, operator};
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::{Subcommand, ValueEnum};
use clinic::alerts::{AlertStatus, Severity};
use clinic::{AlertId, PatientId};
use serde_json::json;
use store::audit::NewEntry;
use store::{AlertFilter, AlertRecord, DeliveryRecord, Handled, Store};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists alerts, newest first
    #[command(after_help = "Example:\n  heartvoice alert list --status unresolved --severity urgent")]
    List {
        /// Only these
        #[arg(long, value_enum, default_value_t)]
        status: Status,
        /// Only this urgent or more
        #[arg(long, value_enum)]
        severity: Option<Urgency>,
        /// Only of this patient
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only alerts older than this one: for the next page
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Shows an alert and every message about it
    #[command(after_help = "Example:\n  heartvoice alert show 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Show {
        /// Identifier, as `alert list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Takes an alert up, so that nobody else is told
    #[command(
        after_help = "Example:\n  heartvoice alert acknowledge 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b --by 'Nurse Joy' --note 'calling her'"
    )]
    Acknowledge(Remark),
    /// Notes that an alert is done with
    #[command(
        after_help = "Example:\n  heartvoice alert resolve 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b --by 'Nurse Joy' --note 'diuretic doubled'"
    )]
    Resolve(Remark),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remark {
    /// Identifier, as `alert list` prints it
    id: String,
    /// Who does it
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Anything worth remembering; stored encrypted
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which alerts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum Status {
    #[default]
    Unresolved,
    Open,
    Acknowledged,
    Resolved,
    All,
}

/// How urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Urgency {
    Info,
    Review,
    Urgent,
    Critical,
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. })
    }
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let done = match command {
        Command::List { status, severity, patient, limit, before, format } => {
            let filter = filter(status, severity, patient.as_deref())?;
            let entry = NewEntry::new(operator(), "alert.list").patient(filter.patient_id.as_ref());
            on_record(store, entry, list(store, filter, limit, before.as_deref(), format)).await
        }
        Command::Show { id, format } => {
            let id = alert_id(&id)?;
            let patient = store.get_alert(&id).await?.patient_id;
            let entry = NewEntry::new(operator(), "alert.read").object("alert", &id).patient(patient.as_ref());
            on_record(store, entry, show(store, &id, format)).await
        }
        Command::Acknowledge(remark) => {
            let id = alert_id(&remark.id)?;
            let alert = store.acknowledge_alert(&id, &remark.by, remark.note.as_deref(), now_us).await;
            told(&alert?, remark.format)
        }
        Command::Resolve(remark) => {
            let id = alert_id(&remark.id)?;
            let alert = store.resolve_alert(&id, &remark.by, remark.note.as_deref(), now_us).await;
            told(&alert?, remark.format)
        }
    };
    store.close().await;
    done
}

fn filter(status: Status, severity: Option<Urgency>, patient: Option<&str>) -> anyhow::Result<AlertFilter> {
    let patient_id = patient.map(PatientId::parse).transpose().map_err(|invalid| bad_input(invalid.to_string()))?;
    let statuses = match status {
        Status::Unresolved => vec![AlertStatus::Open, AlertStatus::Acknowledged],
        Status::Open => vec![AlertStatus::Open],
        Status::Acknowledged => vec![AlertStatus::Acknowledged],
        Status::Resolved => vec![AlertStatus::Resolved],
        Status::All => Vec::new(),
    };
    let at_least = severity.map(|urgency| match urgency {
        Urgency::Info => Severity::Info,
        Urgency::Review => Severity::Review,
        Urgency::Urgent => Severity::Urgent,
        Urgency::Critical => Severity::Critical,
    });
    Ok(AlertFilter { statuses, at_least, patient_id, care_team: None })
}

fn alert_id(text: &str) -> anyhow::Result<AlertId> {
    AlertId::parse(text).map_err(|invalid| bad_input(invalid.to_string()))
}

async fn list(
    store: &Store,
    filter: AlertFilter,
    limit: u32,
    before: Option<&str>,
    format: RowFormat,
) -> anyhow::Result<()> {
    let before = before.map(alert_id).transpose()?;
    let alerts = store.list_alerts(&filter, limit, before.as_ref()).await?;
    let header = ["id", "severity", "status", "kind", "raised_at", "times", "patient_id", "summary"];
    match format {
        RowFormat::Json => output::json(&alerts.iter().map(server::alert_json).collect::<Vec<_>>()),
        RowFormat::Table => output::table(header, alerts.iter().map(row).collect()),
        RowFormat::Csv => output::csv(&header, &alerts.iter().map(row).collect::<Vec<_>>()),
    }
}

fn row(alert: &AlertRecord) -> [String; 8] {
    [
        alert.id.to_string(),
        alert.severity.as_str().to_owned(),
        alert.status.as_str().to_owned(),
        alert.kind.as_str().to_owned(),
        output::time(alert.raised_at_us),
        alert.occurrences.to_string(),
        alert.patient_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        summary(alert),
    ]
}

fn summary(alert: &AlertRecord) -> String {
    alert.content.as_ref().map_or_else(|| "(erased)".to_owned(), |content| content.summary.clone())
}

async fn show(store: &Store, id: &AlertId, format: Format) -> anyhow::Result<()> {
    let alert = store.get_alert(id).await?;
    let messages = store.alert_deliveries(id).await?;
    if format == Format::Json {
        let mut object = server::alert_json(&alert);
        if let Some(map) = object.as_object_mut() {
            map.insert("deliveries".to_owned(), messages.iter().map(message_json).collect());
        }
        return output::json(&object);
    }
    let handled = |handled: &Option<Handled>| match handled {
        None => "-".to_owned(),
        Some(handled) => {
            let note = handled.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
            format!("{} by {}{note}", output::time(handled.at_us), handled.by)
        }
    };
    let or_dash = |id: Option<String>| id.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("id", alert.id.to_string()),
        ("severity", alert.severity.as_str().to_owned()),
        ("status", alert.status.as_str().to_owned()),
        ("kind", alert.kind.as_str().to_owned()),
        ("summary", summary(&alert)),
        ("patient", or_dash(alert.patient_id.as_ref().map(ToString::to_string))),
        ("call", or_dash(alert.call_id.as_ref().map(ToString::to_string))),
        ("raised", output::time(alert.raised_at_us)),
        ("last found", output::time(alert.last_at_us)),
        ("times found", alert.occurrences.to_string()),
        ("acknowledged", handled(&alert.acknowledged)),
        ("resolved", handled(&alert.resolved)),
    ];
    output::table(["field", "value"], rows.map(|(name, value)| [name.to_owned(), value]).into())?;
    if messages.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let rows = messages.iter().map(|message| {
        let delivery = &message.delivery;
        [
            output::time(delivery.made_at_us),
            delivery.contact.saturating_add(1).to_string(),
            delivery.channel.as_str().to_owned(),
            delivery.state.as_str().to_owned(),
            message.attempts.to_string(),
            message.error.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    output::table(["decided_at", "contact", "channel", "state", "attempts", "error"], rows.collect())
}

fn message_json(message: &DeliveryRecord) -> serde_json::Value {
    let delivery = &message.delivery;
    json!({
        "id": message.id,
        "contact": delivery.contact.saturating_add(1),
        "channel": delivery.channel,
        "state": delivery.state,
        "attempts": message.attempts,
        "error": message.error,
        "decided_at": output::time(delivery.made_at_us),
        "settled_at": delivery.settled_at_us.map(output::time),
    })
}

fn told(alert: &AlertRecord, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table => output::line(&format!("alert {} is {}", alert.id, alert.status.as_str())),
        Format::Json => output::json(&server::alert_json(alert)),
    }
}

//! `heartvoice audit list`.

use crate::commands::operator::{on_record, operator};
use crate::failure::bad_input;
use crate::output::{self, RowFormat};
use clinic::PatientId;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use store::audit::{AuditEntry, AuditFilter, NewEntry};
use store::{MAX_PAGE, Store};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only about this patient
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Only by this user, token or system account
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only this action, such as call.read
    #[arg(long)]
    action: Option<String>,
    /// Not before this time, such as 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only entries before this one: for the next page
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: RowFormat,
}

pub(super) async fn run(store: &Store, args: &Args) -> anyhow::Result<()> {
    let time = |name: &str, text: &Option<String>| text.as_deref().map(|text| instant(name, text)).transpose();
    let patient = args.patient.as_deref().map(PatientId::parse).transpose();
    let filter = AuditFilter {
        patient: patient.map_err(|invalid| bad_input(invalid.to_string()))?,
        actor: args.actor.clone(),
        action: args.action.clone(),
        from_us: time("since", &args.since)?,
        until_us: time("until", &args.until)?,
    };
    let entry = NewEntry::new(operator(), "audit.list").patient(filter.patient.as_ref());
    on_record(store, entry, print(store, args, &filter)).await
}

async fn print(store: &Store, args: &Args, filter: &AuditFilter) -> anyhow::Result<()> {
    let (mut found, mut before) = (Vec::new(), args.before);
    while let Some(left) = usize::try_from(args.limit)?.checked_sub(found.len()).filter(|left| *left > 0) {
        let limit = u32::try_from(left)?.min(MAX_PAGE);
        let page = store.find_audit(filter, limit, before).await?;
        before = page.last().map(|entry| entry.seq);
        let ended = page.len() < usize::try_from(limit)?;
        found.extend(page);
        if ended {
            break;
        }
    }
    let header = ["seq", "time", "actor", "role", "action", "object", "patient_id", "outcome", "reason"];
    match args.format {
        RowFormat::Json => output::json(&found.iter().map(object).collect::<Vec<_>>()),
        RowFormat::Table => output::table(header, found.iter().map(row).collect()),
        RowFormat::Csv => output::csv(&header, &found.iter().map(row).collect::<Vec<_>>()),
    }
}

fn row(full: &AuditEntry) -> [String; 9] {
    let entry = &full.entry;
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        full.seq.to_string(),
        output::time(full.at_us),
        format!("{} {}", word(&entry.actor.kind), entry.actor.id),
        dash(entry.actor.role.as_ref().map(word)),
        entry.action.clone(),
        dash(entry.object.as_ref().map(|(kind, id)| format!("{kind} {id}"))),
        dash(entry.patient.as_ref().map(ToString::to_string)),
        word(&entry.outcome),
        dash(entry.reason.clone()),
    ]
}

fn object(full: &AuditEntry) -> Value {
    let mut object = serde_json::to_value(&full.entry).unwrap_or_default();
    if let Some(map) = object.as_object_mut() {
        map.insert("seq".to_owned(), json!(full.seq));
        map.insert("at".to_owned(), json!(output::time(full.at_us)));
    }
    object
}

/// The name that a unit variant has in JSON.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A point in time; a date alone is its beginning in UTC.
fn instant(name: &str, text: &str) -> anyhow::Result<i64> {
    let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|start| start.timestamp());
    let found = text.parse::<Timestamp>().ok().or_else(date);
    let expected = "a time such as 2026-03-01 or 2026-03-01T08:00:00Z";
    found.map(Timestamp::as_microsecond).ok_or_else(|| bad_input(format!("--{name}: expected {expected}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_days_or_instants() {
        assert_eq!(instant("since", "1970-01-02").unwrap(), 86_400_000_000);
        assert_eq!(instant("since", "1970-01-01T01:00:00+01:00").unwrap(), 0);
        assert!(instant("since", "yesterday").unwrap_err().to_string().contains("--since"));
    }
}

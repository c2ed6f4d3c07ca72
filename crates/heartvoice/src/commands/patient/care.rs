//! `heartvoice patient set` and `confirm-dry`: what the clinic notes beside the record.

use super::patient_id;
use crate::failure::bad_input;
use crate::output::{self, Format};
use anyhow::Context;
use clap::ValueEnum;
use clinic::answers::WeightUnit;
use clinic::care::CareProfile;
use clinic::{CallId, Patient};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;
use std::io::BufRead;
use store::Store;

/// Removes what was noted.
const NONE: &str = "none";

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true, args = ["pin", "dry_weight_kg", "weight_unit", "consent", "discharged_on"])]
pub(crate) struct SetArgs {
    /// Identifier, as `patient list` prints it
    id: String,
    /// 4 to 8 digits to press on the keypad instead of saying the date of birth; `-` reads them from standard input
    #[arg(long, value_name = "DIGITS")]
    pin: Option<String>,
    /// Weight without congestion
    #[arg(long, value_name = "KG")]
    dry_weight_kg: Option<String>,
    /// Unit of weights the patient names without one; by time zone when nothing is noted
    #[arg(long, value_name = "kg|lb")]
    weight_unit: Option<String>,
    /// Whether the patient agreed to being recorded, from today on; with `no` they are asked in the next call
    #[arg(long, value_enum)]
    consent: Option<Consent>,
    /// Day of the last discharge from hospital
    #[arg(long, value_name = "DATE")]
    discharged_on: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Consent {
    Yes,
    No,
}

pub(super) async fn set(store: &Store, args: &SetArgs) -> anyhow::Result<()> {
    let id = patient_id(&args.id)?;
    let patient = store.get_patient(&id).await?;
    let today = today(&patient);
    let mut profile = store.care_profile(&id).await?;
    let pin = match args.pin.as_deref() {
        Some("-") => Some(one_line()?),
        pin => pin.map(str::to_owned),
    };
    let consent = match args.consent {
        // The day of an agreement that is on record already stays.
        Some(Consent::Yes) => Some(profile.recording_consent_on.unwrap_or(today).to_string()),
        Some(Consent::No) => Some(NONE.to_owned()),
        None => None,
    };
    for (field, text) in [
        ("pin", pin.as_deref()),
        ("dry_weight_kg", args.dry_weight_kg.as_deref()),
        ("weight_unit", args.weight_unit.as_deref()),
        ("recording_consent_on", consent.as_deref()),
        ("discharged_on", args.discharged_on.as_deref()),
    ] {
        let Some(text) = text else { continue };
        if text.trim().is_empty() {
            return Err(bad_input(format!("{field}: expected a value, or the word none to remove it")));
        }
        let text = if text == NONE { "" } else { text };
        profile.set(field, text).map_err(|invalid| bad_input(invalid.to_string()))?;
    }
    if args.discharged_on.is_some() && profile.discharged_on.is_some_and(|day| day > today) {
        return Err(bad_input("discharged_on: expected a day that is not in the future"));
    }
    store.set_care_profile(&id, &profile).await?;
    match args.format {
        Format::Json => output::json(&json!({"id": id, "care": profile.to_json()})),
        Format::Table => {
            let rows = rows(&profile, &patient).map(|(name, value)| [name.to_owned(), value]);
            output::table(["field", "value"], rows.into())
        }
    }
}

/// The profile for people. The PIN stays hidden.
pub(super) fn rows(profile: &CareProfile, patient: &Patient) -> [(&'static str, String); 5] {
    let date = |date: Option<Date>| date.map_or_else(|| "-".to_owned(), |date| date.to_string());
    let unit = match profile.unit(patient) {
        WeightUnit::Kg => "kg",
        WeightUnit::Lb => "lb",
    };
    let unit = if profile.weight_unit.is_some() { unit.to_owned() } else { format!("{unit} (by time zone)") };
    [
        ("pin", if profile.pin.is_some() { "set" } else { "not set" }.to_owned()),
        ("dry weight kg", output::number(profile.dry_weight_kg, 1)),
        ("weight unit", unit),
        ("agreed to recording", date(profile.recording_consent_on)),
        ("discharged on", date(profile.discharged_on)),
    ]
}

pub(super) async fn confirm_dry(store: &Store, call: &str, confirmed: bool) -> anyhow::Result<()> {
    let id = CallId::parse(call).map_err(|invalid| bad_input(invalid.to_string()))?;
    store.confirm_dry(&id, confirmed).await?;
    output::line(if confirmed { "confirmed: no congestion at this call" } else { "taken back" })
}

/// The day it is where the patient lives.
fn today(patient: &Patient) -> Date {
    let zone = TimeZone::get(&patient.details.timezone).unwrap_or(TimeZone::UTC);
    Timestamp::now().to_zoned(zone).date()
}

fn one_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
    Ok(line.trim().to_owned())
}

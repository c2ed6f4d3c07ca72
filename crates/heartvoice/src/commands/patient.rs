//! `heartvoice patient`: who may call, what the clinic notes about them, and how they have been.

mod care;
mod copy;
mod destroy;
mod import;
mod trends;

use super::operator::{on_record, operator};
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::Subcommand;
use clinic::protocol::Protocol;
use clinic::risk::Model;
use clinic::{NewPatient, Patient, PatientId};
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;
use store::audit::NewEntry;

/// What the commands about patients work with.
pub(crate) struct Clinic<'a> {
    pub(super) store: &'a Store,
    /// What is asked, and in which languages.
    pub(super) protocol: Arc<Protocol>,
    /// What trends are judged by.
    pub(super) model: Arc<Model>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Adds a patient
    #[command(
        after_help = "Example:\n  heartvoice patient add --external-id MRN-1 --name 'Ada Example' --phone +12025550123 \\\n    --birth-date 1948-04-01 --sex female --timezone America/New_York"
    )]
    Add(AddArgs),
    /// Lists all patients
    #[command(after_help = "Example:\n  heartvoice patient list --format json")]
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Shows one patient
    #[command(after_help = "Example:\n  heartvoice patient show 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Show {
        /// Identifier, as `patient list` prints it
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Notes what the clinic knows beside the record: PIN, dry weight, unit, agreement to recording, discharge
    ///
    /// What is not named stays as it is; the word `none` removes what was noted.
    #[command(
        after_help = "Examples:\n  heartvoice patient set ID --dry-weight-kg 72.5 --weight-unit kg --discharged-on 2026-02-01\n  heartvoice patient set ID --pin - <pin.txt\n  heartvoice patient set ID --pin none --consent no"
    )]
    Set(care::SetArgs),
    /// Shows how risk, weight and voice of a patient went over their calls
    ///
    /// Without --measure, a table has one row for each of them; JSON and CSV have every call of each.
    #[command(
        after_help = "Examples:\n  heartvoice patient trends ID\n  heartvoice patient trends ID --measure weight_kg --format csv"
    )]
    Trends {
        /// Identifier, as `patient list` prints it
        id: String,
        /// Only this one, call by call, such as risk, weight_kg or pause_fraction
        #[arg(long, value_name = "NAME")]
        measure: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Notes that a clinician found the patient free of congestion at a call, for later calls to be compared with
    #[command(after_help = "Example:\n  heartvoice patient confirm-dry 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    ConfirmDry {
        /// Identifier of the call, as `call list` prints it
        call_id: String,
        /// Takes it back
        #[arg(long)]
        undo: bool,
    },
    /// Adds the patients of a CSV file: all rows or none
    ///
    /// The header is external_id,name,phone,birth_date,sex,language,timezone. After these, any of pin, dry_weight_kg,
    /// recording_consent_on, discharged_on and weight_unit may follow. Rows that are stored already change nothing, so a
    /// file may be imported again; what the further columns say counts for new patients only (see `patient set`).
    #[command(after_help = "Example:\n  heartvoice patient import patients.csv")]
    Import {
        /// The file; `-` reads standard input
        file: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Destroys everything about a patient: keys, records, recordings, for good
    ///
    /// Refused under a legal hold and while a call with the patient is in progress. What the audit trail says stays; it
    /// holds identifiers only.
    #[command(
        after_help = "Example:\n  heartvoice patient erase 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b --reason patient-request"
    )]
    Erase {
        /// Identifier, as `patient list` prints it
        id: String,
        /// Why, as a code such as patient-request; it goes into the audit trail
        #[arg(long, value_name = "CODE")]
        reason: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Forbids that anything about a patient is deleted
    #[command(subcommand)]
    Hold(destroy::Hold),
    /// Writes a patient's own copy of everything that is kept about them
    ///
    /// record.json for programs, record.html for reading and printing, and the recordings as WAV. The files are not
    /// encrypted any more.
    #[command(
        after_help = "Example:\n  heartvoice patient export 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b --out copy-for-ada"
    )]
    Export {
        /// Identifier, as `patient list` prints it
        id: String,
        /// A folder that is not there yet, or empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How to print what was written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. } | Self::Trends { .. })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The clinic's own number for the patient
    #[arg(long, value_name = "ID")]
    external_id: String,
    /// Full name
    #[arg(long)]
    name: String,
    /// Telephone number in E.164 form
    #[arg(long)]
    phone: String,
    /// Date of birth, such as 1948-04-01
    #[arg(long, value_name = "DATE")]
    birth_date: String,
    /// female, male, other or unknown
    #[arg(long, default_value = "unknown")]
    sex: String,
    /// Language code
    #[arg(long, default_value = "en")]
    language: String,
    /// IANA time zone
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(clinic: &Clinic<'_>, command: Command) -> anyhow::Result<()> {
    let store = clinic.store;
    let done = match command {
        Command::Add(args) => add(store, &args).await,
        Command::List { format } => {
            let entry = NewEntry::new(operator(), "patient.list");
            on_record(store, entry, list(clinic, format)).await
        }
        Command::Show { id, format } => {
            on_record(store, about(store, "patient.read", &id).await?, show(clinic, &id, format)).await
        }
        Command::Set(args) => care::set(store, &args).await,
        Command::Trends { id, measure, format } => {
            let entry = about(store, "trend.read", &id).await?;
            on_record(store, entry, trends::run(clinic, &id, measure.as_deref(), format)).await
        }
        Command::ConfirmDry { call_id, undo } => care::confirm_dry(store, &call_id, !undo).await,
        Command::Import { file, format } => import::run(store, &file, format).await,
        Command::Erase { id, reason, yes, format } => destroy::erase(store, &id, &reason, yes, format).await,
        Command::Hold(command) => destroy::hold(store, command).await,
        Command::Export { id, out, format } => copy::run(store, &id, &out, format).await,
    };
    store.close().await;
    done
}

/// What the trail says about looking at a patient there is.
async fn about(store: &Store, action: &str, id: &str) -> anyhow::Result<NewEntry> {
    let id = store.get_patient(&patient_id(id)?).await?.id;
    Ok(NewEntry::new(operator(), action).object("patient", &id).patient(Some(&id)))
}

async fn add(store: &Store, args: &AddArgs) -> anyhow::Result<()> {
    let new = NewPatient::from_fields(
        &args.external_id,
        &args.name,
        &args.phone,
        &args.birth_date,
        &args.sex,
        &args.language,
        &args.timezone,
    );
    let patient = store.add_patient(&new.map_err(|invalid| bad_input(invalid.to_string()))?).await?;
    match args.format {
        Format::Table => output::line(&format!("added patient {}", patient.id)),
        Format::Json => output::json(&patient),
    }
}

async fn list(clinic: &Clinic<'_>, format: RowFormat) -> anyhow::Result<()> {
    let patients = clinic.store.list_patients().await?;
    let row = |patient: &Patient| {
        let details = &patient.details;
        [
            patient.id.to_string(),
            details.external_id.clone(),
            details.name.clone(),
            details.phone.expose().to_owned(),
            details.birth_date.to_string(),
            sex(patient),
            details.language.clone(),
            details.timezone.clone(),
        ]
    };
    let header = ["id", "external_id", "name", "phone", "birth_date", "sex", "language", "timezone"];
    match format {
        RowFormat::Table => {
            let marked = |patient: &Patient| {
                let mut row = row(patient);
                row[6] = language(clinic, patient);
                row
            };
            output::table(header, patients.iter().map(marked).collect())
        }
        RowFormat::Json => output::json(&patients),
        RowFormat::Csv => output::csv(&header, &patients.iter().map(row).collect::<Vec<_>>()),
    }
}

async fn show(clinic: &Clinic<'_>, id: &str, format: Format) -> anyhow::Result<()> {
    let id = patient_id(id)?;
    let patient = clinic.store.get_patient(&id).await?;
    let profile = clinic.store.care_profile(&id).await?;
    if format == Format::Json {
        let mut object = serde_json::to_value(&patient)?;
        if let Some(map) = object.as_object_mut() {
            map.insert("care".to_owned(), profile.to_json());
        }
        return output::json(&object);
    }
    let details = &patient.details;
    let rows = [
        ("id", patient.id.to_string()),
        ("external id", details.external_id.clone()),
        ("name", details.name.clone()),
        ("phone", details.phone.expose().to_owned()),
        ("birth date", details.birth_date.to_string()),
        ("sex", sex(&patient)),
        ("language", language(clinic, &patient)),
        ("time zone", details.timezone.clone()),
    ];
    let rows = rows.into_iter().chain(care::rows(&profile, &patient));
    output::table(["field", "value"], rows.map(|(name, value)| [name.to_owned(), value]).collect())
}

/// The language with a warning where nobody with clinical training has seen the texts that are spoken in it.
fn language(clinic: &Clinic<'_>, patient: &Patient) -> String {
    let code = &patient.details.language;
    clinic.protocol.mark(code).map_or_else(|| code.clone(), |mark| format!("{code} ({mark})"))
}

fn patient_id(text: &str) -> anyhow::Result<PatientId> {
    PatientId::parse(text).map_err(|invalid| bad_input(invalid.to_string()))
}

fn sex(patient: &Patient) -> String {
    serde_json::to_value(patient.details.sex).ok().and_then(|sex| sex.as_str().map(str::to_owned)).unwrap_or_default()
}

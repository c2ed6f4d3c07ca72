//! `heartvoice patient erase` and `patient hold`: destroying a record for good, and forbidding to.

use crate::commands::operator;
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::Subcommand;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use store::{LegalHold, Store};

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Keeps everything about a patient, whatever retention or anybody says
    #[command(after_help = "Example:\n  heartvoice patient hold set ID --code case-2026-17")]
    Set {
        /// Identifier, as `patient list` prints it
        id: String,
        /// What it is for, such as the number of a case; no name
        #[arg(long)]
        code: String,
    },
    /// Ends a hold
    #[command(after_help = "Example:\n  heartvoice patient hold clear 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Clear {
        /// Identifier, as `patient list` prints it
        id: String,
    },
    /// Lists the holds, oldest first
    #[command(after_help = "Example:\n  heartvoice patient hold list --format json")]
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
}

pub(super) async fn hold(store: &Store, command: Hold) -> anyhow::Result<()> {
    match command {
        Hold::Set { id, code } => {
            let id = super::patient_id(&id)?;
            store.set_hold(&id, &code, &operator(), jiff::Timestamp::now().as_microsecond()).await?;
            output::line(&format!("nothing of patient {id} is deleted until the hold is cleared"))
        }
        Hold::Clear { id } => {
            let id = super::patient_id(&id)?;
            store.clear_hold(&id, &operator()).await?;
            output::line(&format!("the hold on patient {id} is cleared"))
        }
        Hold::List { format } => {
            let holds = store.holds().await?;
            let header = ["patient_id", "code", "set_by", "set_at"];
            let row = |hold: &LegalHold| {
                [hold.patient_id.to_string(), hold.code.clone(), hold.set_by.clone(), output::time(hold.set_at_us)]
            };
            match format {
                RowFormat::Table => output::table(header, holds.iter().map(row).collect()),
                RowFormat::Csv => output::csv(&header, &holds.iter().map(row).collect::<Vec<_>>()),
                RowFormat::Json => {
                    let object = |hold: &LegalHold| {
                        let at = output::time(hold.set_at_us);
                        json!({"patient_id": hold.patient_id, "code": hold.code, "set_by": hold.set_by, "set_at": at})
                    };
                    output::json(&holds.iter().map(object).collect::<Vec<_>>())
                }
            }
        }
    }
}

pub(super) async fn erase(store: &Store, id: &str, reason: &str, yes: bool, format: Format) -> anyhow::Result<()> {
    let id = super::patient_id(id)?;
    if !yes {
        confirm(id.as_str())?;
    }
    let now_us = jiff::Timestamp::now().as_microsecond();
    let certificate = store.erase_patient(&id, &operator(), reason, now_us).await?;
    let said = certificate.destruction()?;
    match format {
        Format::Json => output::json(
            &json!({"destruction": said, "key_id": certificate.key_id, "signature": certificate.signature}),
        ),
        Format::Table => {
            output::table(
                ["kind", "count"],
                said.counts.iter().map(|(name, n)| [name.clone(), n.to_string()]).collect(),
            )?;
            output::line(&format!("patient {id} is erased; certificate {}", said.id))
        }
    }
}

/// Nobody erases by a slip of the hand: the identifier is to be typed again.
fn confirm(id: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(bad_input("--yes: expected it where nobody can be asked, because this cannot be undone"));
    }
    eprint!("This destroys everything about the patient and cannot be undone. Type the identifier again: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() == id { Ok(()) } else { Err(bad_input("the identifier is another one; nothing was erased")) }
}

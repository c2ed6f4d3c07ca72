//! `heartvoice export`: records for others, without who they belong to.

use super::operator;
use crate::failure::bad_input;
use crate::output::{self, Format};
use crate::progress;
use anyhow::Context;
use clap::Subcommand;
use clinic::deidentify::{
    Options, PSEUDONYM_BYTES, Pseudonym, Subject, SubjectAlert, SubjectCall, deidentify, shift_days,
};
use clinic::{CallRecord, Patient};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use store::audit::NewEntry;
use store::{AlertFilter, AlertRecord, MAX_PAGE, MasterKey, Store, StoreError, StoredVisit};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes de-identified tables for research (Safe Harbor, 45 CFR 164.514(b)(2))
    ///
    /// Names, numbers, dates, texts and recordings are not in them. Every export has new random pseudonyms and moves each
    /// patient's days by a random number; the link back is kept nowhere. The folder has a dictionary of all columns.
    #[command(after_help = "Example:\n  heartvoice export research --out research-2026")]
    Research {
        /// A folder that is not there yet, or empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Languages and sexes that fewer patients share are not told
        #[arg(long, value_name = "PATIENTS", default_value_t = 5)]
        smallest_cell: usize,
        /// How to print what was written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Everything of one patient that an export looks at.
struct Loaded {
    patient: Patient,
    profile: clinic::care::CareProfile,
    enrolled_at_us: i64,
    calls: Vec<(CallRecord, Option<StoredVisit>)>,
    alerts: Vec<AlertRecord>,
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let done = match command {
        Command::Research { out, smallest_cell, format } => research(store, &out, smallest_cell, format).await,
    };
    store.close().await;
    done
}

async fn research(store: &Store, out: &Path, smallest_cell: usize, format: Format) -> anyhow::Result<()> {
    empty_folder(out)?;
    let patients = store.list_patients().await?;
    let bar = progress::bar(patients.len() as u64, "reading");
    let mut loaded = Vec::with_capacity(patients.len());
    for patient in patients {
        match load(store, patient).await {
            Ok(one) => loaded.push(one),
            // Erased while we read.
            Err(StoreError::NotFound { .. } | StoreError::Sealed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let subjects = loaded.iter().map(subject).collect::<anyhow::Result<Vec<_>>>()?;
    let options = Options { smallest_cell, year: jiff::Zoned::now().year() };
    let files = deidentify(&subjects, options)?.files();
    let calls: usize = loaded.iter().map(|one| one.calls.len()).sum();
    // The entry first: without it nothing leaves.
    let entry = NewEntry::new(operator(), "export.research").detail("patients", loaded.len()).detail("calls", calls);
    store.record(&[entry.detail("method", "safe_harbor")]).await?;
    let mut written = Vec::with_capacity(files.len());
    for file in files {
        write_private(&out.join(&file.name), file.content.as_bytes())
            .with_context(|| format!("cannot write {}", out.join(&file.name).display()))?;
        written.push((file.name, file.content.len()));
    }
    match format {
        Format::Table => output::table(
            ["file", "bytes"],
            written.into_iter().map(|(name, bytes)| [name, bytes.to_string()]).collect(),
        ),
        Format::Json => {
            let names: Vec<String> = written.into_iter().map(|(name, _)| name).collect();
            output::json(&json!({"out": out, "patients": loaded.len(), "calls": calls, "files": names}))
        }
    }
}

async fn load(store: &Store, patient: Patient) -> Result<Loaded, StoreError> {
    let profile = store.care_profile(&patient.id).await?;
    let enrolled_at_us = store.enrolled_at_us(&patient.id).await?;
    let mut calls = Vec::new();
    for record in all_calls(store, &patient.id).await? {
        let visit = store.visit(&record.id).await?;
        calls.push((record, visit));
    }
    let alerts = all_alerts(store, &patient.id).await?;
    Ok(Loaded { patient, profile, enrolled_at_us, calls, alerts })
}

fn subject(one: &Loaded) -> anyhow::Result<Subject<'_>> {
    let (pseudonym, shift_days) = random_names()?;
    let calls = one.calls.iter().map(|(record, visit)| SubjectCall {
        record,
        facts: visit.as_ref().map(|visit| &visit.facts),
        visit: visit.as_ref().map(|visit| &visit.record),
        assessment: visit.as_ref().and_then(|visit| visit.assessment.as_ref()),
    });
    let alerts = one.alerts.iter().map(|alert| SubjectAlert {
        call_id: alert.call_id.as_ref(),
        kind: alert.kind,
        code: alert.content.as_ref().map(|content| content.code.as_str()),
        severity: alert.severity,
        status: alert.status,
        raised_at_us: alert.raised_at_us,
        occurrences: alert.occurrences,
        acknowledged_at_us: alert.acknowledged.as_ref().map(|handled| handled.at_us),
        resolved_at_us: alert.resolved.as_ref().map(|handled| handled.at_us),
    });
    Ok(Subject {
        pseudonym,
        shift_days,
        patient: &one.patient,
        profile: &one.profile,
        enrolled_at_us: one.enrolled_at_us,
        calls: calls.collect(),
        alerts: alerts.collect(),
    })
}

/// Drawn anew for each patient and export, and kept nowhere.
fn random_names() -> anyhow::Result<(Pseudonym, u16)> {
    let random = MasterKey::random()?.derive_32("pseudonym of an export");
    let name = random.first_chunk::<PSEUDONYM_BYTES>().context("too few random bytes")?;
    let days = random.last_chunk::<8>().context("too few random bytes")?;
    Ok((Pseudonym::from_random(*name), shift_days(u64::from_le_bytes(*days))))
}

/// Every call of a patient, newest first.
pub(super) async fn all_calls(store: &Store, id: &clinic::PatientId) -> Result<Vec<CallRecord>, StoreError> {
    let mut calls: Vec<CallRecord> = Vec::new();
    loop {
        let page = store.list_patient_calls(id, MAX_PAGE, calls.last().map(|call| &call.id)).await?;
        if page.is_empty() {
            return Ok(calls);
        }
        calls.extend(page);
    }
}

/// Every alert about a patient, newest first.
pub(super) async fn all_alerts(store: &Store, id: &clinic::PatientId) -> Result<Vec<AlertRecord>, StoreError> {
    let filter = AlertFilter { patient_id: Some(id.clone()), ..AlertFilter::default() };
    let mut alerts: Vec<AlertRecord> = Vec::new();
    loop {
        let page = store.list_alerts(&filter, MAX_PAGE, alerts.last().map(|alert| &alert.id)).await?;
        if page.is_empty() {
            return Ok(alerts);
        }
        alerts.extend(page);
    }
}

/// Makes the folder, for this user only. One with something in it is refused: files of two exports must not mix.
pub(super) fn empty_folder(out: &Path) -> anyhow::Result<()> {
    let unusable = |error: std::io::Error| bad_input(format!("--out: cannot create {}: {error}", out.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(unusable)?;
    if std::fs::read_dir(out).map_err(unusable)?.next().is_some() {
        return Err(bad_input(format!("--out: expected an empty folder, but there is something in {}", out.display())));
    }
    Ok(())
}

/// Writes a file that only this user can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

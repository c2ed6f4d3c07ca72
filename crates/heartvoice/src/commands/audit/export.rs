//! `heartvoice audit export`.

use crate::commands::operator::operator;
use crate::failure::bad_input;
use crate::output;
use anyhow::Context;
use clinic::fhir::{AuditFacts, AuditOutcome as Came, AuditSource, audit_event};
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use store::Store;
use store::audit::{AuditEntry, AuditOutcome, NewEntry};

/// The program, as a Device of FHIR.
const DEVICE: &str = "heartvoice";

/// The trail itself, which can be verified.
pub(super) async fn lines(store: &Store, path: &Path) -> anyhow::Result<()> {
    let mut out = create(path)?;
    store.record(&[NewEntry::new(operator(), "audit.export")]).await?;
    let count = store.export_audit(&mut out).await?;
    finish(out, path)?;
    output::line(&format!("{count} entries written to {}", path.display()))
}

/// The trail as AuditEvents.
pub(super) async fn fhir(store: &Store, path: &Path, site: &str) -> anyhow::Result<()> {
    let mut out = create(path)?;
    store.record(&[NewEntry::new(operator(), "audit.export").detail("form", "fhir")]).await?;
    let until = store.audit_entry_count().await?;
    let source = AuditSource { site, device_id: DEVICE };
    let mut last = 0;
    while last < until {
        let links = store.audit_links(last).await?;
        let Some(end) = links.last().map(|link| link.seq) else { break };
        for link in links.iter().take_while(|link| link.seq <= until) {
            let entry: AuditEntry = serde_json::from_str(&link.text)
                .with_context(|| format!("entry {} cannot be read: see `heartvoice audit verify`", link.seq))?;
            let recorded = jiff::Timestamp::from_microsecond(entry.at_us)?.to_string();
            writeln!(out, "{}", event(&entry, &recorded, &source))?;
        }
        last = end;
    }
    finish(out, path)?;
    output::line(&format!("{until} events written to {}", path.display()))
}

fn event(full: &AuditEntry, recorded: &str, source: &AuditSource<'_>) -> serde_json::Value {
    let entry = &full.entry;
    let (kind, role) = (word(&entry.actor.kind), entry.actor.role.as_ref().map(word));
    let facts = AuditFacts {
        sequence: full.seq,
        at_us: full.at_us,
        actor_kind: &kind,
        actor_id: &entry.actor.id,
        role: role.as_deref(),
        action: &entry.action,
        object_kind: entry.object.as_ref().map(|(kind, _)| kind.as_str()),
        object_id: entry.object.as_ref().map(|(_, id)| id.as_str()),
        patient_id: entry.patient.as_ref().map(clinic::PatientId::as_str),
        outcome: match entry.outcome {
            AuditOutcome::Success => Came::Success,
            AuditOutcome::Denied => Came::Denied,
            AuditOutcome::Failed => Came::Failed,
        },
        reason: entry.reason.as_deref(),
        address: entry.address.as_deref(),
        request_id: entry.request.as_deref(),
    };
    audit_event(&facts, recorded, source)
}

/// The name that a unit variant has in JSON.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A new file, for its owner only.
fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.map(BufWriter::new).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => bad_input(format!("--out: {} exists already", path.display())),
        _ => bad_input(format!("--out: cannot write {}: {error}", path.display())),
    })
}

fn finish(out: BufWriter<File>, path: &Path) -> anyhow::Result<()> {
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).with_context(|| format!("cannot write {}", path.display()))
}

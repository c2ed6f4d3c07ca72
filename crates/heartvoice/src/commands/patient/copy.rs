//! `heartvoice patient export`: a patient's own copy of everything that is kept about them (45 CFR 164.524).

use crate::commands::export::{all_alerts, all_calls, empty_folder, write_private};
use crate::commands::operator;
use crate::output::{self, Format};
use anyhow::Context;
use clinic::patient_copy::{AlertCopy, CallCopy, ConsentCopy, CopyLanguage, Disclosure, PatientRecord, SaidTurn};
use clinic::{CallRecord, PatientId, TimelineEvent, TimelineKind};
use serde_json::json;
use std::path::{Path, PathBuf};
use store::audit::{ActorKind, AuditEntry, AuditFilter, NewEntry};
use store::{AlertRecord, MAX_PAGE, Store, StoreError};
use voice::g711;

const RATE: u32 = 8_000;

pub(super) async fn run(store: &Store, id: &str, out: &Path, format: Format) -> anyhow::Result<()> {
    let id = super::patient_id(id)?;
    let patient = store.get_patient(&id).await?;
    empty_folder(out)?;
    // The entry first: without it nothing leaves. The copy then names itself among the disclosures.
    store.record(&[NewEntry::new(operator(), "patient.export").object("patient", &id).patient(Some(&id))]).await?;
    let language = CopyLanguage::of(&patient.details.language);
    let (mut calls, mut consents, mut written) = (Vec::new(), Vec::new(), Vec::<PathBuf>::new());
    for record in all_calls(store, &id).await? {
        let audio_files = write_audio(store, &record, out, &mut written).await?;
        let visit = store.visit(&record.id).await?;
        if let Some(given) = visit.as_ref().and_then(|visit| visit.record.recording_consent) {
            consents.push(ConsentCopy { purpose: "recording".to_owned(), given, at_us: record.started_at_us });
        }
        calls.push(CallCopy {
            transcript: store.call_events(&record.id).await?.iter().filter_map(said).collect(),
            segments: store.call_segments(&record.id).await?,
            assessment: visit.as_ref().and_then(|visit| visit.assessment.clone()),
            visit: visit.map(|visit| visit.record),
            audio_files,
            record,
        });
    }
    consents.sort_by_key(|consent| consent.at_us);
    let record = PatientRecord {
        prepared_at_us: jiff::Timestamp::now().as_microsecond(),
        profile: store.care_profile(&id).await?,
        alerts: all_alerts(store, &id).await?.into_iter().map(alert).collect(),
        schedules: store.list_schedules(Some(&id)).await?,
        disclosures: disclosures(store, &id).await?,
        patient,
        calls,
        consents,
    };
    for (name, text) in
        [("record.json", serde_json::to_string_pretty(&record.to_json())?), ("record.html", record.to_html(language))]
    {
        write(out, name, text.as_bytes(), &mut written)?;
    }
    match format {
        Format::Table => output::table(["file"], written.iter().map(|path| [path.display().to_string()]).collect()),
        Format::Json => output::json(&json!({"patient_id": id, "calls": record.calls.len(), "files": written})),
    }
}

fn write(out: &Path, name: &str, bytes: &[u8], written: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let path = out.join(name);
    write_private(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    written.push(path);
    Ok(())
}

/// The two sides of a recording as WAV files: the names of those on which anything was recorded.
async fn write_audio(
    store: &Store,
    call: &CallRecord,
    out: &Path,
    written: &mut Vec<PathBuf>,
) -> anyhow::Result<Vec<String>> {
    let mut reader = match store.open_recording(&call.id).await {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let tracks = tokio::task::block_in_place(|| Ok::<_, StoreError>([reader.patient_track()?, reader.agent_track()?]))?;
    let mut names = Vec::new();
    for (side, track) in ["patient", "agent"].into_iter().zip(tracks) {
        if track.is_empty() {
            continue;
        }
        let samples: Vec<i16> = track.iter().map(|code| g711::ulaw_decode(*code)).collect();
        let name = format!("call-{}-{side}.wav", call.id);
        write(out, &name, &voice::wav::write_pcm16(&samples, RATE), written)?;
        names.push(name);
    }
    Ok(names)
}

fn said(event: &TimelineEvent) -> Option<SaidTurn> {
    let at_s = event.at_us as f64 / 1e6;
    match &event.kind {
        TimelineKind::UserTranscript { text } => Some(SaidTurn { at_s, is_agent: false, text: text.clone() }),
        TimelineKind::AgentResponse { text, .. } => Some(SaidTurn { at_s, is_agent: true, text: text.clone() }),
        _ => None,
    }
}

fn alert(alert: AlertRecord) -> AlertCopy {
    let (code, summary) = alert.content.map(|content| (content.code, content.summary)).unzip();
    let (acknowledged_at_us, acknowledged_note) =
        alert.acknowledged.map(|handled| (handled.at_us, handled.note)).unzip();
    let (resolved_at_us, resolved_note) = alert.resolved.map(|handled| (handled.at_us, handled.note)).unzip();
    AlertCopy {
        id: alert.id,
        kind: alert.kind,
        code,
        severity: alert.severity,
        status: alert.status,
        summary,
        raised_at_us: alert.raised_at_us,
        acknowledged_at_us,
        acknowledged_note: acknowledged_note.flatten(),
        resolved_at_us,
        resolved_note: resolved_note.flatten(),
    }
}

/// Who saw the record, oldest first. What the server does by itself for the patient's own calls is no disclosure.
async fn disclosures(store: &Store, id: &PatientId) -> Result<Vec<Disclosure>, StoreError> {
    let filter = AuditFilter { patient: Some(id.clone()), ..AuditFilter::default() };
    let mut found: Vec<AuditEntry> = Vec::new();
    loop {
        let page = store.find_audit(&filter, MAX_PAGE, found.last().map(|entry| entry.seq)).await?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let by_people = found.into_iter().rev().filter(|entry| entry.entry.actor.kind != ActorKind::System);
    Ok(by_people.map(disclosure).collect())
}

fn disclosure(entry: AuditEntry) -> Disclosure {
    let (at_us, entry) = (entry.at_us, entry.entry);
    let who = match entry.actor.kind {
        ActorKind::User => format!("user {}", entry.actor.id),
        ActorKind::Token => format!("program {}", entry.actor.id),
        ActorKind::Operator => format!("operator {}", entry.actor.id),
        ActorKind::System | ActorKind::Anonymous => entry.actor.id,
    };
    let role = entry.actor.role.and_then(|role| serde_json::to_value(role).ok());
    let role = role.and_then(|role| role.as_str().map(str::to_owned));
    Disclosure { at_us, who, role, action: entry.action, reason: entry.reason }
}

//! `heartvoice patient export`: a patient's own copy of everything that is kept about them (45 CFR 164.524).

use crate::commands::export::{empty_folder, write_private};
use crate::commands::operator;
use crate::output::{self, Format};
use anyhow::Context;
use clinic::CallRecord;
use clinic::patient_copy::CopyLanguage;
use serde_json::json;
use std::path::{Path, PathBuf};
use store::audit::NewEntry;
use store::{Store, StoreError};
use voice::g711;

const RATE: u32 = 8_000;

pub(super) async fn run(store: &Store, id: &str, out: &Path, format: Format) -> anyhow::Result<()> {
    let id = super::patient_id(id)?;
    let patient = store.get_patient(&id).await?;
    empty_folder(out)?;
    // The entry first: without it nothing leaves. The copy then names itself among the disclosures.
    store.record(&[NewEntry::new(operator(), "patient.export").object("patient", &id).patient(Some(&id))]).await?;
    let language = CopyLanguage::of(&patient.details.language);
    let mut record = server::patient_record(store, &id, usize::MAX, jiff::Timestamp::now().as_microsecond()).await?;
    let mut written = Vec::<PathBuf>::new();
    for call in &mut record.calls {
        call.audio_files = write_audio(store, &call.record, out, &mut written).await?;
    }
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

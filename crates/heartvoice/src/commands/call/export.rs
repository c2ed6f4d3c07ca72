//! `heartvoice call export`: a call as ordinary files.

use super::{Track, show};
use crate::failure::bad_input;
use crate::output::{self, Format};
use anyhow::Context;
use clinic::CallId;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use store::{Store, StoreError};
use voice::g711;

const RATE: u32 = 8_000;

/// What is written where.
enum Part {
    Audio(Track),
    Records,
}

pub(super) async fn run(
    store: &Store,
    id: &CallId,
    output: &Path,
    track: Option<Track>,
    format: Format,
) -> anyhow::Result<()> {
    let parts = plan(output, track)?;
    let records = show::whole(store, id).await?;
    let recording = match store.open_recording(id).await {
        Ok(reader) => Some(reader),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let tracks = tokio::task::block_in_place(|| match recording {
        Some(mut reader) => Ok::<_, StoreError>(Some((reader.patient_track()?, reader.agent_track()?))),
        None => Ok(None),
    })?;
    let mut written = Vec::new();
    for (path, part) in parts {
        let (bytes, seconds) = match (part, &tracks) {
            (Part::Records, _) => (serde_json::to_vec_pretty(&records)?, None),
            (Part::Audio(track), Some((patient, agent))) => {
                let samples = match track {
                    Track::Patient => patient.len(),
                    Track::Agent => agent.len(),
                    Track::Both => patient.len().max(agent.len()),
                };
                (wav(track, patient, agent), Some(samples as f64 / f64::from(RATE)))
            }
            (Part::Audio(_), None) if output.extension().is_none() => continue,
            (Part::Audio(_), None) => anyhow::bail!("this call has no recording"),
        };
        write_private(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        written.push((path, bytes.len(), seconds));
    }
    match format {
        Format::Table => output::table(
            ["file", "bytes", "seconds"],
            written
                .iter()
                .map(|(path, bytes, s)| [path.display().to_string(), bytes.to_string(), output::number(*s, 2)])
                .collect(),
        ),
        Format::Json => {
            let files = written.iter().map(|(path, bytes, s)| json!({"file": path, "bytes": bytes, "duration_s": s}));
            output::json(&json!({"call_id": id, "files": files.collect::<Vec<_>>()}))
        }
    }
}

/// The files to write; creates the folder when it is one.
fn plan(output: &Path, track: Option<Track>) -> anyhow::Result<Vec<(PathBuf, Part)>> {
    match output.extension().and_then(|extension| extension.to_str()).filter(|_| !output.is_dir()) {
        Some("wav") => Ok(vec![(output.to_owned(), Part::Audio(track.unwrap_or(Track::Both)))]),
        Some("json") if track.is_none() => Ok(vec![(output.to_owned(), Part::Records)]),
        Some("json") => Err(bad_input("--track: expected an --output that ends in .wav or is a folder")),
        _ => {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(output)
                .map_err(|error| bad_input(format!("--output: cannot create {}: {error}", output.display())))?;
            let audio = [(Track::Patient, "patient.wav"), (Track::Agent, "agent.wav"), (Track::Both, "call.wav")];
            let wanted = audio.into_iter().filter(|(kind, _)| track.is_none_or(|only| only == *kind));
            let mut parts: Vec<_> = wanted.map(|(kind, name)| (output.join(name), Part::Audio(kind))).collect();
            if track.is_none() {
                parts.push((output.join("call.json"), Part::Records));
            }
            Ok(parts)
        }
    }
}

/// 16-bit WAV; every mu-law value has its place there, so nothing is lost.
fn wav(track: Track, patient: &[u8], agent: &[u8]) -> Vec<u8> {
    let decode = |track: &[u8]| track.iter().map(|code| g711::ulaw_decode(*code)).collect::<Vec<_>>();
    match track {
        Track::Patient => voice::wav::write_pcm16(&decode(patient), RATE),
        Track::Agent => voice::wav::write_pcm16(&decode(agent), RATE),
        Track::Both => stereo(&decode(patient), &decode(agent)),
    }
}

/// A stereo WAV file; the shorter side ends in silence.
fn stereo(left: &[i16], right: &[i16]) -> Vec<u8> {
    let frames = left.len().max(right.len());
    let data = u32::try_from(frames * 4).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(44 + frames * 4);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&data.saturating_add(36).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&RATE.to_le_bytes());
    out.extend_from_slice(&(RATE * 4).to_le_bytes());
    out.extend_from_slice(&4_u16.to_le_bytes());
    out.extend_from_slice(&16_u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    for frame in 0..frames {
        for side in [left, right] {
            out.extend_from_slice(&side.get(frame).copied().unwrap_or(0).to_le_bytes());
        }
    }
    out
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stereo_keeps_both_sides() {
        let bytes = stereo(&[1, 2, 3], &[-1]);
        assert_eq!(bytes.len(), 44 + 12);
        assert_eq!(bytes[44..48], [1, 0, 0xff, 0xff]);
        assert_eq!(bytes[52..56], [3, 0, 0, 0]);
        let parsed = voice::Wav::parse(&bytes).unwrap();
        assert_eq!((parsed.channels, parsed.samples.len()), (2, 3));
    }
}

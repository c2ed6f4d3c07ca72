//! The recording of a call as a WAV file: 16 bits, 8 kHz, the patient on the left and the agent on the right, or one of
//! them alone.
//!
//! The two tracks are read as they are stored (mu-law, a byte a sample) and made into WAV piece by piece while they are
//! sent, so that a long call does not stand in memory four times over. Any byte of the file can be computed by itself,
//! which is what players need to jump about.

use super::calls::call_id;
use super::desk::Desk;
use super::fields::{Ask, wrong};
use super::later::later;
use super::places::Place;
use super::problem::Problem;
use super::words;
use crate::tasks;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;
use store::{CallHandle, Store, StoreError};
use utoipa::IntoParams;
use voice::g711;

const RATE: u32 = 8_000;
const HEADER_LEN: u64 = 44;
/// Bytes that are made at once.
const PIECE: u64 = 64 * 1024;

/// Which audio is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Which side; `both`, as usual, is stereo with the patient on the left.
    #[param(inline, value_type = Option<words::Track>)]
    track: Option<String>,
}

/// A WAV file that is made while it is read.
struct Recording {
    /// One or two tracks of mu-law samples.
    tracks: Vec<Vec<u8>>,
    /// Keeps the memory accounted for until the last byte is sent.
    _room: Place,
}

/// Plays the recording of a call
#[utoipa::path(get, path = "/calls/{id}/audio", operation_id = "getAudio", tag = "calls",
    params(("id" = String, Path), Which,
        ("Range" = Option<String>, Header, description = "One range of bytes", example = "bytes=0-65535")),
    responses((status = 200, description = "16-bit WAV at 8 kHz", body = Vec<u8>, content_type = "audio/wav"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "audio/wav"),
        (status = 416, description = "The range is not in the recording", body = super::problem::Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get(
    mut desk: Desk,
    Path(id): Path<String>,
    Ask(which): Ask<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (patient, agent) = match which.track.as_deref() {
        None | Some("both") => (true, true),
        Some("patient") => (true, false),
        Some("agent") => (false, true),
        Some(_) => return Err(wrong("track", "both, patient or agent")),
    };
    let id = desk.call(&call_id(&id)?).await?.id;
    // What opens it is read inside the access. The recording itself, which may have to be fetched from far away, is not:
    // nobody could write meanwhile.
    let missing = |error| match error {
        StoreError::NotFound { .. } => Problem::not_found("recording"),
        error => error.into(),
    };
    let call = desk.store().recorded_call(&id).await.map_err(missing)?;
    let room = desk.app().api.recordings.take(desk.caller().id());
    let room = room.ok_or_else(|| Problem::busy("too many recordings are being played at once"))?;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
    let app = desk.app().clone();
    // On a task of its own: a client that goes away must not make room for another while the work goes on.
    Ok(later(async move {
        let playing = tasks::spawn(async move { play(&app.store, &call, (patient, agent), range, room).await });
        playing.await.unwrap_or_else(|_| Err(Problem::internal()))
    }))
}

async fn play(
    store: &Store,
    call: &CallHandle,
    (patient, agent): (bool, bool),
    range: Option<String>,
    room: Place,
) -> Result<Response, Problem> {
    let opened = store.open_recording_of(call).await.map_err(|error| match error {
        StoreError::NotFound { .. } => Problem::not_found("recording"),
        error => error.into(),
    });
    let mut reader = opened?;
    let read = tokio::task::spawn_blocking(move || {
        let mut tracks = Vec::new();
        if patient {
            tracks.push(reader.patient_track()?);
        }
        if agent {
            tracks.push(reader.agent_track()?);
        }
        Ok::<_, StoreError>(tracks)
    });
    let tracks = read.await.map_err(|_| Problem::internal())??;
    let recording = Arc::new(Recording { tracks, _room: room });
    let length = recording.len();
    let range = range.map(|range| parse_range(&range, length)).transpose()?.flatten();
    let (status, bytes) = match &range {
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
        None => (StatusCode::OK, 0..length),
    };
    let sent = bytes.end - bytes.start;
    let mut response = (status, Body::from_stream(recording.stream(bytes))).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("audio/wav"));
    out.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_LENGTH, header::HeaderValue::from(sent));
    if let Some(Range { start, end }) = range
        && let Ok(value) = header::HeaderValue::from_str(&format!("bytes {start}-{}/{length}", end.saturating_sub(1)))
    {
        out.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// The bytes a `Range` asks for. `None`: more than one range or another unit, which a server may ignore.
fn parse_range(text: &str, length: u64) -> Result<Option<Range<u64>>, Problem> {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.trim().is_empty() => first..length,
        (None, Some(most)) if first.trim().is_empty() => length.saturating_sub(most)..length,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(Problem::bad_range()) }
}

impl Recording {
    fn frames(&self) -> usize {
        self.tracks.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Bytes of one sample of every track.
    fn frame_len(&self) -> u64 {
        self.tracks.len() as u64 * 2
    }

    /// Bytes of the file.
    fn len(&self) -> u64 {
        HEADER_LEN + self.frames() as u64 * self.frame_len()
    }

    fn header(&self) -> Vec<u8> {
        let data = u32::try_from(self.len() - HEADER_LEN).unwrap_or(u32::MAX);
        let channels = u16::try_from(self.tracks.len()).unwrap_or(u16::MAX);
        let frame_len = channels.saturating_mul(2);
        let mut out = Vec::with_capacity(44);
        out.extend_from_slice(b"RIFF");
        out.extend_from_slice(&data.saturating_add(36).to_le_bytes());
        out.extend_from_slice(b"WAVEfmt ");
        out.extend_from_slice(&16_u32.to_le_bytes());
        out.extend_from_slice(&1_u16.to_le_bytes());
        out.extend_from_slice(&channels.to_le_bytes());
        out.extend_from_slice(&RATE.to_le_bytes());
        out.extend_from_slice(&RATE.saturating_mul(u32::from(frame_len)).to_le_bytes());
        out.extend_from_slice(&frame_len.to_le_bytes());
        out.extend_from_slice(&16_u16.to_le_bytes());
        out.extend_from_slice(b"data");
        out.extend_from_slice(&data.to_le_bytes());
        out
    }

    /// Some bytes of the file. Every mu-law value has its place in 16 bits, so nothing is lost; the shorter side ends in
    /// silence.
    fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0) + 8);
        let mut skip = range.start;
        if range.start < HEADER_LEN {
            out.extend_from_slice(&self.header());
        } else {
            let first = (range.start - HEADER_LEN) / self.frame_len();
            skip = range.start - HEADER_LEN - first * self.frame_len();
            self.samples(first, range.end, &mut out);
        }
        if range.start < HEADER_LEN && range.end > HEADER_LEN {
            self.samples(0, range.end, &mut out);
        }
        out.drain(..usize::try_from(skip).unwrap_or(usize::MAX).min(out.len()));
        out.truncate(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX));
        out
    }

    /// Samples of all tracks from one on, at least up to this byte of the file.
    fn samples(&self, first: u64, end: u64, out: &mut Vec<u8>) {
        let last = end.saturating_sub(HEADER_LEN).div_ceil(self.frame_len()).min(self.frames() as u64);
        for frame in first..last {
            let at = usize::try_from(frame).unwrap_or(usize::MAX);
            for track in &self.tracks {
                let sample = track.get(at).map_or(0, |code| g711::ulaw_decode(*code));
                out.extend_from_slice(&sample.to_le_bytes());
            }
        }
    }

    /// The bytes of a range, piece by piece.
    fn stream(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
        futures_util::stream::unfold((self, range), async |(recording, range)| {
            if range.start >= range.end {
                return None;
            }
            let end = range.start.saturating_add(PIECE).min(range.end);
            let piece = Bytes::from(recording.bytes(range.start..end));
            Some((Ok(piece), (recording, end..range.end)))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::places::Places;

    fn recording(tracks: Vec<Vec<u8>>) -> Recording {
        Recording { tracks, _room: Places::new(1, 1).take("joy").unwrap() }
    }

    #[test]
    fn every_range_is_a_part_of_the_whole_which_is_a_wav_file() {
        for tracks in [vec![vec![1, 2, 3], vec![0x80]], vec![vec![7; 5]], vec![vec![], vec![]]] {
            let channels = tracks.len();
            let recording = recording(tracks);
            let whole = recording.bytes(0..recording.len());
            assert_eq!(whole.len() as u64, recording.len());
            let parsed = voice::Wav::parse(&whole);
            if recording.frames() > 0 {
                let parsed = parsed.unwrap();
                assert_eq!((usize::from(parsed.channels), parsed.samples.len()), (channels, recording.frames()));
            }
            for start in 0..whole.len() {
                for end in start..=whole.len() {
                    assert_eq!(recording.bytes(start as u64..end as u64), whole[start..end], "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=90-", Some(90..100)),
            ("bytes=-10", Some(90..100)),
            ("bytes=-1000", Some(0..100)),
            ("bytes=5-1000", Some(5..100)),
            ("bytes=9-5", None),
            ("bytes=0-1,5-6", None),
            ("frames=0-1", None),
        ] {
            assert_eq!(parse_range(text, 100).unwrap(), expected, "{text}");
        }
        assert!(parse_range("bytes=100-", 100).is_err());
        assert!(parse_range("bytes=-0", 100).is_err());
    }
}

//! The two sides of a call as continuous audio, laid out from the frames of its recording.

use crate::{Frame, RecordingReader, Result};

/// Longest track, in samples at 8 kHz: four hours (115 MB). Frames that lie beyond it are left out.
pub const MAX_TRACK_SAMPLES: usize = 4 * 3600 * 8000;
/// Microseconds of one sample at 8 kHz.
const MICROS_PER_SAMPLE: u64 = 125;
/// Silence in mu-law (ITU-T G.711: positive zero).
const SILENCE: u8 = 0xff;

impl RecordingReader {
    /// The patient's audio, mu-law at 8 kHz: each frame at its place, silence (`0xff`) where nothing arrived. Where
    /// frames overlap, the later one counts. Reads the whole recording from its beginning.
    ///
    /// # Errors
    /// As [`RecordingReader::next_frame`].
    pub fn patient_track(&mut self) -> Result<Vec<u8>> {
        let mut track = Vec::new();
        self.rewind()?;
        while let Some(frame) = self.next_frame()? {
            if let Frame::Patient { position_samples, ulaw, .. } = frame {
                place(&mut track, position_samples, ulaw);
            }
        }
        Ok(track)
    }

    /// What the phone played of the agent, mu-law at 8 kHz, on the timeline of the call (sample 0 is microsecond 0). As
    /// on the phone, audio that was due before the audio ahead of it had ended begins when that ends, and a clear drops
    /// what was not played by then. Reads the whole recording from its beginning.
    ///
    /// # Errors
    /// As [`RecordingReader::next_frame`].
    pub fn agent_track(&mut self) -> Result<Vec<u8>> {
        let mut track: Vec<u8> = Vec::new();
        self.rewind()?;
        while let Some(frame) = self.next_frame()? {
            match frame {
                Frame::Agent { play_at_us, ulaw } => {
                    let start = (play_at_us / MICROS_PER_SAMPLE).max(track.len() as u64);
                    place(&mut track, start, ulaw);
                }
                Frame::AgentCleared { at_us } => {
                    track.truncate(usize::try_from(at_us / MICROS_PER_SAMPLE).unwrap_or(usize::MAX));
                }
                Frame::Patient { .. } => {}
            }
        }
        Ok(track)
    }
}

/// Lays audio at a place of the track, lengthening it with silence as needed.
fn place(track: &mut Vec<u8>, start: u64, ulaw: &[u8]) {
    let Some(start) = usize::try_from(start).ok().filter(|start| *start < MAX_TRACK_SAMPLES) else { return };
    let ulaw = ulaw.get(..ulaw.len().min(MAX_TRACK_SAMPLES - start)).unwrap_or(ulaw);
    let end = start + ulaw.len();
    if track.len() < end {
        track.resize(end, SILENCE);
    }
    if let Some(room) = track.get_mut(start..end) {
        room.copy_from_slice(ulaw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_beyond_the_longest_track_is_left_out() {
        let mut track = vec![1];
        place(&mut track, MAX_TRACK_SAMPLES as u64, &[1]);
        place(&mut track, u64::MAX, &[1]);
        assert_eq!(track, [1]);
    }

    #[test]
    fn gaps_are_silent_and_the_later_frame_counts() {
        let mut track = Vec::new();
        place(&mut track, 2, &[1, 2]);
        place(&mut track, 3, &[9, 9]);
        assert_eq!(track, [SILENCE, SILENCE, 1, 9, 9]);
    }
}

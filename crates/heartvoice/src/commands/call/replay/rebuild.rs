//! The segments of a call, fed once more from its recording.
//!
//! A live call gives each frame of the caller to at most one segment, whole, preceded by the gap that the stream's
//! timestamps showed. All of that can be found again: frames are recorded with their places, so a gap is what lies
//! between the end of one and the beginning of the next; and a frame belonged to the segment in one of whose stretches
//! it lies, gap included. Stretches are kept in whole milliseconds, so only frames shorter than 3 ms, which no telephone
//! service sends, could be taken for a neighbour's.

use anyhow::Context;
use clinic::tools::VoiceTask;
use clinic::{Segment, Span};
use serde_json::Value;
use store::{Frame, RecordingReader};
use voice::Analyzer;

/// Samples of telephone audio in a millisecond.
const SAMPLES_PER_MS: u64 = 8;

/// A frame of the caller on the patient track, in samples.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Where the audio before it ended.
    gap_start: u64,
    start: u64,
    end: u64,
}

/// A segment that is being fed.
struct Open<'a> {
    spans: &'a [Span],
    task: VoiceTask,
    pieces: Vec<Piece>,
}

/// What a segment was fed with.
enum Piece {
    Audio(Vec<u8>),
    Gap(u64),
}

/// The reports of the segments as they are computed now, in the same order.
pub(super) fn reports(recording: &mut RecordingReader, segments: &[Segment]) -> anyhow::Result<Vec<Value>> {
    let mut open = segments
        .iter()
        .map(|segment| {
            let task = VoiceTask::parse(&segment.task)
                .with_context(|| format!("segment {} has the unknown task {:?}", segment.index, segment.task))?;
            Ok(Open { spans: &segment.spans, task, pieces: Vec::new() })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    recording.rewind()?;
    let mut end = 0;
    while let Some(frame) = recording.next_frame()? {
        let Frame::Patient { position_samples, ulaw, .. } = frame else { continue };
        let place = Place {
            gap_start: end.min(position_samples),
            start: position_samples,
            end: position_samples.saturating_add(ulaw.len() as u64),
        };
        end = place.end;
        if let Some(segment) = owner(&mut open, place) {
            if place.start > place.gap_start {
                segment.pieces.push(Piece::Gap(place.start - place.gap_start));
            }
            segment.pieces.push(Piece::Audio(ulaw.to_vec()));
        }
    }
    Ok(open.into_iter().map(Open::report).collect())
}

/// The segment a frame belonged to. A voice task takes everything while it runs, so it comes before open speech.
fn owner<'a, 'b>(open: &'b mut [Open<'a>], place: Place) -> Option<&'b mut Open<'a>> {
    let found = |task: bool| {
        open.iter().position(|segment| (segment.task != VoiceTask::Speech) == task && segment.holds(place))
    };
    let index = found(true).or_else(|| found(false))?;
    open.get_mut(index)
}

impl Open<'_> {
    /// Whether the frame lies in one of the stretches, which are in order and apart.
    fn holds(&self, place: Place) -> bool {
        let (start_ms, end_ms) = (place.gap_start / SAMPLES_PER_MS, place.end.div_ceil(SAMPLES_PER_MS));
        let begun = self.spans.partition_point(|span| span.start_ms <= start_ms);
        begun.checked_sub(1).and_then(|last| self.spans.get(last)).is_some_and(|span| end_ms <= span.end_ms)
    }

    fn report(self) -> Value {
        server::segment_report(self.task, |analyzer: &mut Analyzer| {
            for piece in self.pieces {
                match piece {
                    Piece::Audio(ulaw) => analyzer.push_ulaw(&ulaw),
                    Piece::Gap(samples) => analyzer.push_gap(usize::try_from(samples).unwrap_or(usize::MAX)),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(task: VoiceTask, spans: &[Span]) -> Open<'_> {
        Open { spans, task, pieces: Vec::new() }
    }

    #[test]
    fn a_frame_goes_to_the_segment_in_whose_stretch_it_lies() {
        let speech = [Span { start_ms: 0, end_ms: 13 }, Span { start_ms: 60, end_ms: 100 }];
        let vowel = [Span { start_ms: 12, end_ms: 60 }];
        let mut open = [open(VoiceTask::Speech, &speech), open(VoiceTask::SustainedVowel, &vowel)];
        let mut of = |gap_start: u64, start: u64, end: u64| {
            owner(&mut open, Place { gap_start, start, end }).map(|segment| segment.task.as_str())
        };
        assert_eq!(of(0, 0, 100), Some("speech"), "12.5 ms, the last half millisecond shared");
        assert_eq!(of(100, 100, 260), Some("sustained-vowel"));
        assert_eq!(of(100, 320, 480), Some("sustained-vowel"), "with the gap before it");
        assert_eq!(of(480, 480, 640), Some("speech"));
        assert_eq!(of(480, 799, 801), None, "beyond the end");
    }
}

//! The segments of a call, fed once more from its recording.
//!
//! A live call gives each frame of the caller to at most one segment, whole, preceded by the gap that the stream's
//! timestamps showed. All of that can be found again: frames are recorded with their places, so a gap is what lies
//! between the end of one and the beginning of the next; and a frame belonged to the segment in one of whose stretches
//! it lies, gap included. Stretches are kept in whole milliseconds, so only frames shorter than 3 ms, which no telephone
//! service sends, could be taken for a neighbour's.
//!
//! Of a segment that was not finished, because its process died or had too much to do, nothing is stored. Its windows are
//! then read from the timeline, and its frames are those that arrived in them.

use crate::analysis::segment_report;
use clinic::tools::VoiceTask;
use clinic::{Segment, Span, TimelineEvent, TimelineKind};
use serde_json::Value;
use store::{Frame, RecordingReader, StoreError};
use voice::Analyzer;

/// Why segments could not be analysed from a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// A stored segment is of a task that this version does not know.
    #[error("segment {index} has the unknown task {task:?}")]
    UnknownTask {
        /// Number of the segment within the call.
        index: u32,
        /// Its task.
        task: String,
    },
    /// The recording cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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
///
/// # Errors
/// [`RebuildError`].
pub fn segment_reports(recording: &mut RecordingReader, segments: &[Segment]) -> Result<Vec<Value>, RebuildError> {
    let mut open = segments
        .iter()
        .map(|segment| {
            let unknown = || RebuildError::UnknownTask { index: segment.index, task: segment.task.clone() };
            let task = VoiceTask::parse(&segment.task).ok_or_else(unknown)?;
            Ok(Open { spans: &segment.spans, task, pieces: Vec::new() })
        })
        .collect::<Result<Vec<_>, RebuildError>>()?;
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

/// A window of a voice task, in microseconds since the call began.
struct Window {
    index: u32,
    task: VoiceTask,
    from_us: u64,
    until_us: u64,
}

/// The segments that a call began and of which none is among `known`, as far as its recording goes.
///
/// # Errors
/// [`RebuildError::Store`] when the recording cannot be read.
pub(crate) fn missing(
    recording: &mut RecordingReader,
    events: &[TimelineEvent],
    known: &[Segment],
) -> Result<Vec<Segment>, RebuildError> {
    let windows = windows(events);
    let speaking = agent_speaks(recording)?;
    // Open speech begins with the stream and has the first number.
    let mut found: Vec<(u32, VoiceTask, Vec<Span>)> = vec![(0, VoiceTask::Speech, Vec::new())];
    found.extend(windows.iter().map(|window| (window.index, window.task, Vec::new())));
    found.retain(|(index, _, _)| known.iter().all(|segment| segment.index != *index));
    recording.rewind()?;
    let mut end = 0;
    while let Some(frame) = next_readable(recording) {
        let Frame::Patient { position_samples, arrived_us, ulaw } = frame else { continue };
        let start_ms = end.min(position_samples) / SAMPLES_PER_MS;
        end = position_samples.saturating_add(ulaw.len() as u64);
        let window = windows.iter().find(|window| (window.from_us..window.until_us).contains(&arrived_us));
        let index = match window {
            Some(window) => window.index,
            None if is_in(&speaking, arrived_us) => continue,
            None => 0,
        };
        if let Some((_, _, spans)) = found.iter_mut().find(|(number, _, _)| *number == index) {
            let span = Span { start_ms, end_ms: end.div_ceil(SAMPLES_PER_MS) };
            match spans.last_mut() {
                Some(last) if span.start_ms <= last.end_ms + 1 => last.end_ms = span.end_ms,
                _ => spans.push(span),
            }
        }
    }
    found.retain(|(_, _, spans)| !spans.is_empty());
    let segment = |(index, task, spans): (u32, VoiceTask, Vec<Span>)| Segment {
        index,
        task: task.as_str().to_owned(),
        spans,
        report: Value::Null,
    };
    let mut segments: Vec<Segment> = found.into_iter().map(segment).collect();
    let reports = segment_reports(recording, &segments)?;
    for (segment, report) in segments.iter_mut().zip(reports) {
        segment.report = report;
    }
    Ok(segments)
}

/// The windows of voice tasks in a timeline; one that was not closed goes on to the end.
fn windows(events: &[TimelineEvent]) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for TimelineEvent { at_us, kind } in events {
        match kind {
            TimelineKind::TaskStarted { task } => {
                let Some(task) = VoiceTask::parse(task) else { continue };
                let index = u32::try_from(windows.len() + 1).unwrap_or(u32::MAX);
                windows.push(Window { index, task, from_us: *at_us, until_us: u64::MAX });
            }
            TimelineKind::TaskEnded { .. } => {
                if let Some(window) = windows.last_mut().filter(|window| window.until_us == u64::MAX) {
                    window.until_us = *at_us;
                }
            }
            _ => {}
        }
    }
    windows
}

/// When the agent was heard, in microseconds since the call began, in order.
fn agent_speaks(recording: &mut RecordingReader) -> Result<Vec<(u64, u64)>, StoreError> {
    recording.rewind()?;
    let mut speaks: Vec<(u64, u64)> = Vec::new();
    while let Some(frame) = next_readable(recording) {
        match frame {
            Frame::Agent { play_at_us, ulaw } => {
                let until_us = play_at_us.saturating_add(ulaw.len() as u64 * 1_000 / SAMPLES_PER_MS);
                match speaks.last_mut() {
                    Some(last) if play_at_us <= last.1 => last.1 = last.1.max(until_us),
                    _ => speaks.push((play_at_us, until_us)),
                }
            }
            Frame::AgentCleared { at_us } => {
                for span in &mut speaks {
                    span.1 = span.1.min(at_us.max(span.0));
                }
            }
            Frame::Patient { .. } => {}
        }
    }
    Ok(speaks)
}

fn is_in(spans: &[(u64, u64)], at_us: u64) -> bool {
    let begun = spans.partition_point(|(from_us, _)| *from_us <= at_us);
    begun.checked_sub(1).and_then(|last| spans.get(last)).is_some_and(|(_, until_us)| at_us < *until_us)
}

/// The next frame; none where the recording is damaged: what comes before that is genuine.
fn next_readable(recording: &mut RecordingReader) -> Option<Frame<'_>> {
    recording.next_frame().ok().flatten()
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
        segment_report(self.task, |analyzer: &mut Analyzer| {
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

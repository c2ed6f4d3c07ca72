//! Recordings: bit for bit, whatever happens to the file.
#![allow(clippy::unwrap_used)]

use clinic::CallId;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use store::{DataKey, Frame, MAX_FRAME_BYTES, MAX_TRACK_SAMPLES, RecordingReader, RecordingWriter, StoreError};

/// A frame that owns its audio.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Patient(u64, u64, Vec<u8>),
    Agent(u64, Vec<u8>),
    Cleared(u64),
}

impl Owned {
    fn of(frame: &Frame<'_>) -> Self {
        match *frame {
            Frame::Patient { position_samples, arrived_us, ulaw } => {
                Self::Patient(position_samples, arrived_us, ulaw.into())
            }
            Frame::Agent { play_at_us, ulaw } => Self::Agent(play_at_us, ulaw.into()),
            Frame::AgentCleared { at_us } => Self::Cleared(at_us),
        }
    }

    fn lend(&self) -> Frame<'_> {
        match self {
            Self::Patient(position_samples, arrived_us, ulaw) => {
                Frame::Patient { position_samples: *position_samples, arrived_us: *arrived_us, ulaw }
            }
            Self::Agent(play_at_us, ulaw) => Frame::Agent { play_at_us: *play_at_us, ulaw },
            Self::Cleared(at_us) => Frame::AgentCleared { at_us: *at_us },
        }
    }
}

struct Bench {
    dir: tempfile::TempDir,
    id: CallId,
    key: DataKey,
}

impl Bench {
    fn new() -> Self {
        let id = CallId::parse("01890f7e-0000-7000-8000-000000000001").unwrap();
        Self { dir: tempfile::tempdir().unwrap(), id, key: DataKey::random().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.hvr", self.id))
    }

    fn writer(&self) -> RecordingWriter {
        RecordingWriter::create(self.dir.path(), &self.id, self.key.clone()).unwrap()
    }

    fn reader(&self) -> Result<RecordingReader, StoreError> {
        RecordingReader::open(self.dir.path(), &self.id, self.key.clone())
    }

    /// Everything readable, and how reading ended.
    fn read(&self) -> (Vec<Owned>, Result<(bool, bool), StoreError>) {
        let mut frames = Vec::new();
        let mut reader = match self.reader() {
            Ok(reader) => reader,
            Err(error) => return (frames, Err(error)),
        };
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(Owned::of(&frame)),
                Ok(None) => return (frames, Ok((reader.finished(), reader.truncated()))),
                Err(error) => {
                    assert_eq!(reader.next_frame().unwrap_err().code(), error.code(), "an error stays an error");
                    return (frames, Err(error));
                }
            }
        }
    }
}

/// Some blocks with some frames each, finished.
fn write_small(bench: &Bench) -> Vec<Owned> {
    let mut writer = bench.writer();
    let mut frames = Vec::new();
    for block in 0..3u64 {
        for frame in [
            Owned::Patient(block * 320, block * 40_000, vec![block as u8 + 1; 9]),
            Owned::Agent(block * 40_000 + 7, vec![0x80 + block as u8; 11]),
            Owned::Cleared(block * 40_000 + 20_000),
        ] {
            writer.append(&frame.lend()).unwrap();
            frames.push(frame);
        }
        writer.flush().unwrap();
    }
    writer.finish().unwrap();
    frames
}

#[test]
fn frames_come_back_bit_for_bit() {
    let bench = Bench::new();
    let mut writer = bench.writer();
    let mut frames = Vec::new();
    for number in 0..2_000u64 {
        let length = [160, 0, 1, 159, 161, 8_000][number as usize % 6];
        let ulaw: Vec<u8> = (0..length).map(|at| (at as u64 * 31 + number * 7) as u8).collect();
        let frame = match number % 7 {
            6 => Owned::Cleared(number),
            n if n % 2 == 0 => Owned::Patient(number * 160, number * 20_000, ulaw),
            _ => Owned::Agent(u64::MAX - number, ulaw),
        };
        writer.append(&frame.lend()).unwrap();
        frames.push(frame);
    }
    let largest = Owned::Agent(0, vec![0x55; MAX_FRAME_BYTES]);
    writer.append(&largest.lend()).unwrap();
    frames.push(largest);
    let too_large = vec![0; MAX_FRAME_BYTES + 1];
    assert_eq!(writer.append(&Frame::Agent { play_at_us: 0, ulaw: &too_large }).unwrap_err().code(), "invalid");
    writer.finish().unwrap();
    writer.finish().unwrap();
    assert_eq!(writer.append(&Frame::AgentCleared { at_us: 0 }).unwrap_err().code(), "conflict");
    let (read, end) = bench.read();
    assert!(read == frames);
    assert_eq!(end.unwrap(), (true, false));
}

#[test]
fn a_call_has_one_recording_and_it_is_its_own() {
    let bench = Bench::new();
    assert_eq!(bench.reader().unwrap_err().code(), "not_found");
    write_small(&bench);
    let again = RecordingWriter::create(bench.dir.path(), &bench.id, bench.key.clone());
    assert_eq!(again.unwrap_err().code(), "conflict");

    let other = CallId::parse("01890f7e-0000-7000-8000-000000000002").unwrap();
    fs::copy(bench.path(), bench.dir.path().join(format!("{other}.hvr"))).unwrap();
    let moved = RecordingReader::open(bench.dir.path(), &other, bench.key.clone());
    assert_eq!(moved.unwrap_err().code(), "corrupt");
    // Renamed inside as well: the header fits, the blocks do not.
    let bytes = fs::read(bench.path()).unwrap();
    let at = bytes.windows(36).position(|window| window == bench.id.as_str().as_bytes()).unwrap();
    let mut forged = bytes;
    forged[at..at + 36].copy_from_slice(other.as_str().as_bytes());
    fs::write(bench.dir.path().join(format!("{other}.hvr")), forged).unwrap();
    let mut reader = RecordingReader::open(bench.dir.path(), &other, bench.key.clone()).unwrap();
    assert_eq!(reader.next_frame().unwrap_err().code(), "corrupt");

    let mut wrong_key = RecordingReader::open(bench.dir.path(), &bench.id, DataKey::random().unwrap()).unwrap();
    assert_eq!(wrong_key.next_frame().unwrap_err().code(), "corrupt");
}

#[test]
fn any_changed_byte_is_an_error_and_what_came_before_it_is_genuine() {
    let bench = Bench::new();
    let frames = write_small(&bench);
    let whole = fs::read(bench.path()).unwrap();
    for position in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            fs::write(bench.path(), damaged).unwrap();
            let (read, end) = bench.read();
            assert!(frames.starts_with(&read), "byte {position}");
            let code = end.unwrap_err().code();
            assert!(code == "corrupt" || (code == "unsupported" && position == 7), "byte {position}: {code}");
        }
    }
}

#[test]
fn a_damaged_block_is_named() {
    let bench = Bench::new();
    let frames = write_small(&bench);
    let mut bytes = fs::read(bench.path()).unwrap();
    let blocks = blocks_of(&bytes, &bench.id);
    bytes[blocks[1].end - 1] ^= 1;
    fs::write(bench.path(), bytes).unwrap();
    let (read, end) = bench.read();
    assert_eq!(read, frames[..3]);
    assert!(end.unwrap_err().to_string().contains("block 1 of recording"));
}

#[test]
fn a_file_cut_anywhere_yields_the_frames_before_the_cut() {
    let bench = Bench::new();
    let frames = write_small(&bench);
    let whole = fs::read(bench.path()).unwrap();
    let blocks = blocks_of(&whole, &bench.id);
    for length in 0..=whole.len() {
        fs::write(bench.path(), &whole[..length]).unwrap();
        let (read, end) = bench.read();
        let whole_blocks = blocks.iter().filter(|block| block.end <= length).count();
        assert_eq!(read, frames[..(3 * whole_blocks).min(9)], "cut at {length}");
        let between_blocks = length == blocks[0].start || blocks.iter().any(|block| block.end == length);
        assert_eq!(end.unwrap(), (length == whole.len(), !between_blocks), "cut at {length}");
        // What a power cut may leave: the length was noted, the content was not.
        if length >= blocks[0].start && between_blocks && length < whole.len() {
            let mut hollow = whole[..length].to_vec();
            hollow.resize(length + 5_000, 0);
            fs::write(bench.path(), hollow).unwrap();
            assert_eq!(bench.read().1.unwrap(), (false, true));
        }
    }
}

#[test]
fn blocks_cannot_be_dropped_swapped_repeated_or_added() {
    let bench = Bench::new();
    write_small(&bench);
    let whole = fs::read(bench.path()).unwrap();
    let blocks = blocks_of(&whole, &bench.id);
    assert_eq!(blocks.len(), 4);
    let head = &whole[..blocks[0].start];
    for (order, readable) in [
        (vec![1, 2, 3], 0),
        (vec![0, 2, 3], 3),
        (vec![0, 1, 3], 6),
        (vec![1, 0, 2, 3], 0),
        (vec![0, 0, 1, 2, 3], 3),
        (vec![0, 1, 2, 3, 3], 9),
        (vec![0, 1, 2, 3, 0], 9),
    ] {
        let mut bytes = head.to_vec();
        for block in &order {
            bytes.extend_from_slice(&whole[blocks[*block].clone()]);
        }
        fs::write(bench.path(), bytes).unwrap();
        let (read, end) = bench.read();
        assert_eq!((read.len(), end.unwrap_err().code()), (readable, "corrupt"), "{order:?}");
    }
}

#[test]
fn dropping_the_writer_keeps_what_it_had() {
    let bench = Bench::new();
    let mut writer = bench.writer();
    let frame = Owned::Patient(0, 0, vec![1, 2, 3]);
    writer.append(&frame.lend()).unwrap();
    assert_eq!(bench.read().0, [], "not flushed yet");
    drop(writer);
    let (read, end) = bench.read();
    assert_eq!((read, end.unwrap()), (vec![frame], (false, false)));
}

#[test]
fn a_recording_is_readable_while_it_grows() {
    let bench = Bench::new();
    let mut writer = bench.writer();
    for number in 0..5u64 {
        writer.append(&Frame::AgentCleared { at_us: number }).unwrap();
        writer.flush().unwrap();
        writer.flush().unwrap();
        let (read, end) = bench.read();
        assert_eq!((read.len() as u64, end.unwrap()), (number + 1, (false, false)));
    }
}

#[test]
fn tracks_lie_on_the_timeline() {
    let bench = Bench::new();
    let mut writer = bench.writer();
    for frame in [
        Owned::Patient(2, 0, vec![1, 2]),
        Owned::Patient(6, 0, vec![3]),
        Owned::Patient(3, 0, vec![9]),
        Owned::Patient(u64::MAX, 0, vec![7]),
        // Starts at sample 1; the next is due before that has ended and queues up behind it.
        Owned::Agent(125, vec![10, 11, 12]),
        Owned::Agent(250, vec![13, 14, 15]),
        // Cut at sample 5: two samples of the second were played.
        Owned::Cleared(5 * 125),
        // A clear after everything has been played changes nothing.
        Owned::Cleared(100 * 125),
        Owned::Agent(7 * 125, vec![16]),
        Owned::Agent(u64::MAX, vec![7]),
    ] {
        writer.append(&frame.lend()).unwrap();
    }
    writer.finish().unwrap();
    let mut reader = bench.reader().unwrap();
    assert_eq!(reader.patient_track().unwrap(), [255, 255, 1, 9, 255, 255, 3]);
    assert_eq!(reader.agent_track().unwrap(), [255, 10, 11, 12, 13, 255, 255, 16]);
    assert_eq!(reader.patient_track().unwrap().len(), 7, "tracks may be asked for again");
}

#[test]
fn a_track_is_bounded() {
    let bench = Bench::new();
    let mut writer = bench.writer();
    let position_samples = MAX_TRACK_SAMPLES as u64 - 2;
    writer.append(&Frame::Patient { position_samples, arrived_us: 0, ulaw: &[1, 2, 3, 4] }).unwrap();
    writer.finish().unwrap();
    let track = bench.reader().unwrap().patient_track().unwrap();
    assert_eq!((track.len(), &track[track.len() - 3..]), (MAX_TRACK_SAMPLES, &[255, 1, 2][..]));
}

#[test]
fn a_link_in_the_way_is_not_followed() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/dev/full", bench.path()).unwrap();
    let refused = RecordingWriter::create(bench.dir.path(), &bench.id, bench.key.clone());
    assert_eq!(refused.unwrap_err().code(), "conflict");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_frames_in_any_blocks_survive_any_cut(
        parts in prop::collection::vec((0u8..3, any::<u64>(), prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 0..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let bench = Bench::new();
        let mut writer = bench.writer();
        let mut frames = Vec::new();
        for (kind, number, ulaw, flush) in parts {
            let frame = match kind {
                0 => Owned::Patient(number, !number, ulaw),
                1 => Owned::Agent(number, ulaw),
                _ => Owned::Cleared(number),
            };
            writer.append(&frame.lend()).unwrap();
            frames.push(frame);
            if flush {
                writer.flush().unwrap();
            }
        }
        writer.finish().unwrap();
        let (read, end) = bench.read();
        prop_assert_eq!(&read, &frames);
        prop_assert_eq!(end.unwrap(), (true, false));
        let bytes = fs::read(bench.path()).unwrap();
        fs::write(bench.path(), &bytes[..cut.index(bytes.len())]).unwrap();
        let (read, end) = bench.read();
        prop_assert!(frames.starts_with(&read));
        prop_assert!(!end.unwrap().0);
    }
}

/// Where the blocks lie, by the documented layout.
fn blocks_of(bytes: &[u8], id: &CallId) -> Vec<std::ops::Range<usize>> {
    let mut at = 9 + id.as_str().len();
    let mut blocks = Vec::new();
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        blocks.push(at..at + 28 + length);
        at += 28 + length;
    }
    blocks
}

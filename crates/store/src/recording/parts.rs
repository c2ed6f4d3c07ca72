//! Putting a recording together again whose second part was written elsewhere, because its disk took nothing any more.
//!
//! No key is needed: blocks carry their numbers in clear. The second part begins with the first block that the disk
//! refused, whatever that left behind; from there on the second part counts. Whoever is killed in the middle begins anew,
//! and the result is the same.

use super::reader::read_up_to;
use super::{BLOCK_HEADER, BlockHeader, MAX_SEALED, file_header, file_name};
use crate::error::Doing;
use crate::{Result, StoreError};
use clinic::CallId;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What became of a second part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The recording is one file again.
    Whole,
    /// It is still being written.
    InUse,
    /// There is none.
    Nothing,
}

/// A file that is read block by block, header first.
struct Blocks {
    file: File,
    /// Where the next block begins.
    at: u64,
}

impl Blocks {
    /// `None` when the file does not begin like the recording of this call: its header was cut off.
    fn open(mut file: File, id: &CallId) -> std::io::Result<Option<Self>> {
        let expected = file_header(id);
        let mut header = vec![0; expected.len()];
        let length = read_up_to(&mut file, &mut header)?;
        Ok((length == expected.len() && header == expected).then_some(Self { file, at: expected.len() as u64 }))
    }

    /// Number and bytes of the next whole block; `None` at the end of what can be read.
    fn next(&mut self) -> std::io::Result<Option<(u64, Vec<u8>)>> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut block = vec![0; BLOCK_HEADER];
        if read_up_to(&mut self.file, &mut block)? < BLOCK_HEADER {
            return Ok(None);
        }
        let Some(header) = block.first_chunk().and_then(BlockHeader::decode) else { return Ok(None) };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > MAX_SEALED {
            return Ok(None);
        }
        block.resize(BLOCK_HEADER + length, 0);
        let body = block.get_mut(BLOCK_HEADER..).unwrap_or_default();
        if read_up_to(&mut self.file, body)? < length {
            return Ok(None);
        }
        self.at += block.len() as u64;
        Ok(Some((header.index, block)))
    }
}

/// Puts the part in `spare` behind what `dir` has of the recording, through to the disk, and removes it.
///
/// # Errors
/// [`StoreError::Unavailable`] while the disk of `dir` takes nothing; [`StoreError::Corrupt`] when blocks between the two
/// are missing: both stay as they are.
pub(crate) fn join(dir: &Path, spare: &Path, id: &CallId) -> Result<Joined> {
    let doing = "put a recording together";
    let (path, part) = (dir.join(file_name(id)), spare.join(file_name(id)));
    let file = match File::open(&part) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Joined::Nothing),
        file => file.doing(doing)?,
    };
    if file.try_lock().is_err() {
        return Ok(Joined::InUse);
    }
    let lock = file.try_clone().doing(doing)?;
    let mut rest = Blocks::open(file, id).doing(doing)?;
    let mut block = match &mut rest {
        Some(rest) => rest.next().doing(doing)?,
        None => None,
    };
    if let (Some(rest), Some((first, _))) = (&mut rest, &block) {
        let mut whole = beginning(&path, id, *first)
            .doing(doing)?
            .ok_or_else(|| StoreError::corrupt(format!("recording {id}: blocks before block {first} are missing")))?;
        while let Some((_, bytes)) = block.take() {
            whole.write_all(&bytes).doing(doing)?;
            block = rest.next().doing(doing)?;
        }
        whole.sync_all().and_then(|()| File::open(dir)?.sync_all()).doing(doing)?;
    }
    std::fs::remove_file(&part).and_then(|()| File::open(spare)?.sync_all()).doing(doing)?;
    drop(lock);
    Ok(Joined::Whole)
}

/// The recording, cut off before the block `first` and open for what follows; `None` when it ends before that.
fn beginning(path: &Path, id: &CallId, first: u64) -> std::io::Result<Option<File>> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // Uploaders keep away while it is not whole.
    let _ = file.lock();
    let header = file_header(id);
    let end = match Blocks::open(file.try_clone()?, id)? {
        Some(mut blocks) => {
            let (mut next, mut end) = (0, blocks.at);
            while next < first
                && let Some((index, _)) = blocks.next()?
            {
                if index != next {
                    break;
                }
                (next, end) = (index + 1, blocks.at);
            }
            if next < first {
                return Ok(None);
            }
            end
        }
        None if first > 0 => return Ok(None),
        None => {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            header.len() as u64
        }
    };
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{DataKey, Frame, RecordingReader, RecordingWriter};
    use std::path::PathBuf;

    struct Disks {
        _home: tempfile::TempDir,
        main: PathBuf,
        spare: PathBuf,
        id: CallId,
        key: DataKey,
    }

    impl Disks {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let (main, spare) = (home.path().join("main"), home.path().join("spare"));
            Self { _home: home, main, spare, id: CallId::parse("c1").unwrap(), key: DataKey::random().unwrap() }
        }

        /// A recording whose disk is full from frame `full_at` on, after it took so many bytes of the refused block.
        fn record(&self, frames: u64, full_at: u64, left: usize, finish: bool) {
            let (id, key) = (&self.id, self.key.clone());
            let mut writer = RecordingWriter::create_with_spare(&self.main, &self.spare, id, key).unwrap();
            for number in 0..frames {
                if number == full_at {
                    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
                    let good = std::mem::replace(&mut writer.file, full);
                    std::os::unix::fs::FileExt::write_all_at(&good, &vec![0xaa; left], writer.offset).unwrap();
                }
                writer.append(&frame(number)).unwrap();
                writer.flush().unwrap();
            }
            assert_eq!(writer.has_moved(), full_at < frames);
            assert_eq!(join(&self.main, &self.spare, id).unwrap() == Joined::InUse, full_at < frames);
            if finish {
                writer.finish().unwrap();
            }
        }

        fn frames(&self) -> (u64, bool) {
            let mut reader = RecordingReader::open(&self.main, &self.id, self.key.clone()).unwrap();
            let mut next = 0;
            while let Some(read) = reader.next_frame().unwrap() {
                assert_eq!(read, frame(next));
                next += 1;
            }
            (next, reader.finished())
        }
    }

    fn frame(number: u64) -> Frame<'static> {
        Frame::Patient { position_samples: number, arrived_us: number, ulaw: &[0x55; 160] }
    }

    #[test]
    fn a_recording_that_went_on_elsewhere_is_one_again_and_has_every_frame_once() {
        for (full_at, left, finish) in [(3, 0, true), (3, 10, true), (1, 150, false), (0, 0, true), (9, 0, true)] {
            let disks = Disks::new();
            disks.record(6, full_at, left, finish);
            for _ in 0..2 {
                join(&disks.main, &disks.spare, &disks.id).unwrap();
                assert_eq!(disks.frames(), (6, finish), "{full_at} {left}");
            }
        }
    }

    #[test]
    fn whoever_is_killed_while_putting_it_together_begins_anew() {
        let disks = Disks::new();
        disks.record(6, 2, 5, true);
        let (main, part) = (disks.main.join("c1.hvr"), disks.spare.join("c1.hvr"));
        let (cut, rest) = (std::fs::read(&main).unwrap(), std::fs::read(&part).unwrap());
        join(&disks.main, &disks.spare, &disks.id).unwrap();
        let whole = std::fs::read(&main).unwrap();
        for length in (cut.len() - 5..=whole.len()).step_by(7) {
            std::fs::write(&main, &whole[..length]).unwrap();
            std::fs::write(&part, &rest).unwrap();
            assert_eq!(join(&disks.main, &disks.spare, &disks.id).unwrap(), Joined::Whole);
            assert_eq!(std::fs::read(&main).unwrap(), whole);
        }
        assert_eq!(join(&disks.main, &disks.spare, &disks.id).unwrap(), Joined::Nothing);
    }

    #[test]
    fn a_recording_without_its_beginning_is_named_and_kept() {
        let disks = Disks::new();
        disks.record(6, 3, 0, true);
        std::fs::remove_file(disks.main.join("c1.hvr")).unwrap();
        assert_eq!(join(&disks.main, &disks.spare, &disks.id).unwrap_err().code(), "corrupt");
        assert!(disks.spare.join("c1.hvr").exists());
    }
}

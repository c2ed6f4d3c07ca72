//! The recording of a call: one file, written block by block and sealed before it touches the disk.
//!
//! ```text
//! header  "HVREC\r\n" | format version (1) | length of the call id (1) | call id
//! block   length of what is sealed (4) | block index (8) | nonce (12) | check (4) | ciphertext | tag (16)
//! ```
//!
//! Numbers are little-endian. A block is sealed with AES-256-GCM under the call's data key; its associated data names the
//! call, the block's index and the format version, so a block that was dropped, repeated, moved or taken from another
//! call does not open. The check (FNV-1a over the fields before it) tells a damaged length from a block that was cut off.
//! The plaintext of a block is a row of frame records (see `frames`); the last block of a finished recording holds
//! nothing but the end record.
//!
//! A process that is killed loses what it had not flushed and leaves at most one torn block at the end; everything before
//! it is read as usual. Everything here is synchronous, for a plain thread.
//!
//! A disk that takes nothing any more is left for another one, where there is a place for that: the recording goes on
//! there in a file of its own, with the block that was refused and the numbers after it. [`parts`] puts the two together.

use crate::db::create_private_dir;
use crate::error::Doing;
use crate::frames::{MAX_FRAME_OVERHEAD, encode_end};
use crate::keys::random_bytes;
use crate::vault::{NONCE_LEN, TAG_LEN};
use crate::{DataKey, Frame, MAX_FRAME_BYTES, Result, StoreError};
use aws_lc_rs::aead;
use clinic::CallId;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

mod parts;
mod reader;
pub(crate) use parts::{Joined, join};
pub use reader::RecordingReader;

const MAGIC: &[u8; 7] = b"HVREC\r\n";
const VERSION: u8 = 1;
/// Bytes before a block's ciphertext.
const BLOCK_HEADER: usize = 4 + 8 + NONCE_LEN + 4;
/// Buffered bytes at which a block is written without being asked: four seconds of both sides.
const FLUSH_AT: usize = 64 * 1024;
/// Buffered bytes at which frames are refused while the disk takes nothing: a minute of both sides.
const MAX_WAITING: usize = 1024 * 1024;
/// First size of a buffer: half a second of both sides fits.
const BUFFER: usize = 16 * 1024;
/// Bytes of ciphertext and tag of one block, at most.
const MAX_SEALED: usize = MAX_WAITING + MAX_FRAME_OVERHEAD + MAX_FRAME_BYTES + TAG_LEN;

/// Writes the recording of one call.
///
/// Dropping it without [`RecordingWriter::finish`] writes what is buffered, as far as that succeeds.
pub struct RecordingWriter {
    file: File,
    dir: PathBuf,
    /// Where the recording goes on when `dir` takes nothing any more.
    spare: Option<PathBuf>,
    /// The beginning of the recording, when it goes on elsewhere. Kept open, because its lock keeps uploaders away.
    before: Option<File>,
    /// It goes on in the other directory, or began there.
    moved: bool,
    id: CallId,
    key: DataKey,
    /// Room for a block header, then records in plaintext.
    open: Vec<u8>,
    /// A sealed block that the disk has not taken yet; empty if there is none.
    sealed: Vec<u8>,
    aad: Vec<u8>,
    offset: u64,
    next_block: u64,
    finished: bool,
}

impl RecordingWriter {
    /// Creates the file (readable by this user only) and writes its header.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the call has a recording already, [`StoreError::Unavailable`] when the file cannot
    /// be made.
    pub fn create(dir: &Path, id: &CallId, key: DataKey) -> Result<Self> {
        let (file, offset) = new_file(dir, id)?;
        let mut open = Vec::with_capacity(BUFFER);
        open.resize(BLOCK_HEADER, 0);
        Ok(Self {
            file,
            dir: dir.to_owned(),
            spare: None,
            before: None,
            moved: false,
            id: id.clone(),
            key,
            open,
            sealed: Vec::with_capacity(BUFFER),
            aad: Vec::new(),
            offset,
            next_block: 0,
            finished: false,
        })
    }

    /// As [`RecordingWriter::create`], with a directory on another disk for when this one takes nothing: from the beginning,
    /// or later.
    ///
    /// # Errors
    /// As [`RecordingWriter::create`], when neither of them can be written to.
    pub fn create_with_spare(dir: &Path, spare: &Path, id: &CallId, key: DataKey) -> Result<Self> {
        match Self::create(dir, id, key.clone()) {
            Ok(mut writer) => {
                writer.spare = Some(spare.to_owned());
                Ok(writer)
            }
            Err(StoreError::Unavailable { .. }) => {
                let mut writer = Self::create(spare, id, key)?;
                writer.moved = true;
                Ok(writer)
            }
            Err(error) => Err(error),
        }
    }

    /// True once the recording goes on in the other directory, or where it began there.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Takes a frame into the buffer; writes only when the buffer is full. Does not allocate in steady state.
    ///
    /// # Errors
    /// The frame is not taken: [`StoreError::Invalid`] when it is too long, [`StoreError::Conflict`] after
    /// [`RecordingWriter::finish`], [`StoreError::Unavailable`] when the disk has taken nothing for about a minute.
    pub fn append(&mut self, frame: &Frame<'_>) -> Result<()> {
        if self.finished {
            return Err(StoreError::Conflict { what: "the recording is finished" });
        }
        if frame.audio_len() > MAX_FRAME_BYTES {
            return Err(StoreError::Invalid { what: "frame", expected: "at most 1 MiB of audio" });
        }
        if self.open.len() >= FLUSH_AT {
            let flushed = self.flush();
            // While there is room the frame is safe; whoever flushes next learns of the error.
            if self.open.len() >= MAX_WAITING {
                flushed?;
            }
        }
        frame.encode(&mut self.open);
        Ok(())
    }

    /// Seals what is buffered and hands it to the system: from then on it survives the death of this process (not yet a
    /// power cut). To be called at least twice a second. After an error nothing is lost, and the next flush tries again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the disk does not take it.
    pub fn flush(&mut self) -> Result<()> {
        self.write_sealed()?;
        if self.open.len() > BLOCK_HEADER {
            self.seal_block()?;
            self.write_sealed()?;
        }
        Ok(())
    }

    /// Flushes, marks the recording as complete and waits until it is on the disk. Calling it again does nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be called again.
    pub fn finish(&mut self) -> Result<()> {
        if !self.finished {
            self.flush()?;
            encode_end(&mut self.open);
            self.finished = true;
        }
        self.flush()?;
        // What was written before the disk gave up is as much on it as it can be.
        let _ = self.before.as_ref().map(File::sync_all);
        self.file.sync_all().doing("write a recording through to the disk")?;
        // The file's name must last as well as its content.
        File::open(&self.dir).and_then(|dir| dir.sync_all()).doing("write the audio directory through to the disk")?;
        let _ = self.file.unlock();
        Ok(())
    }

    /// Turns the buffered records into a sealed block and leaves an empty buffer.
    fn seal_block(&mut self) -> Result<()> {
        let nonce = *random_bytes::<NONCE_LEN>()?;
        block_aad(&mut self.aad, &self.id, self.next_block);
        let Some((header, body)) = self.open.split_at_mut_checked(BLOCK_HEADER) else { return Ok(()) };
        let length = u32::try_from(body.len() + TAG_LEN).doing("size a block of a recording")?;
        header.copy_from_slice(&BlockHeader { length, index: self.next_block, nonce }.encode());
        let tag = self
            .key
            .cipher()
            .seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(&self.aad), body)
            .doing("encrypt a recording")?;
        self.open.extend_from_slice(tag.as_ref());
        std::mem::swap(&mut self.open, &mut self.sealed);
        self.open.clear();
        self.open.resize(BLOCK_HEADER, 0);
        self.next_block += 1;
        Ok(())
    }

    /// Writes at a fixed place, so that a retry covers what an interrupted attempt left.
    fn write_sealed(&mut self) -> Result<()> {
        if self.sealed.is_empty() {
            return Ok(());
        }
        if let Err(refused) = self.file.write_all_at(&self.sealed, self.offset) {
            self.move_on(refused)?;
            self.file.write_all_at(&self.sealed, self.offset).doing("write a recording")?;
        }
        self.offset += self.sealed.len() as u64;
        self.sealed.clear();
        Ok(())
    }

    /// Goes on in the other directory, once.
    fn move_on(&mut self, refused: std::io::Error) -> Result<()> {
        let Some(spare) = self.spare.clone() else { return Err(refused).doing("write a recording") };
        let (file, offset) = new_file(&spare, &self.id)?;
        self.before = Some(std::mem::replace(&mut self.file, file));
        (self.dir, self.offset, self.spare, self.moved) = (spare, offset, None, true);
        Ok(())
    }
}

impl Drop for RecordingWriter {
    fn drop(&mut self) {
        // There is nobody left to tell. Without this, a call whose task panicked would lose its last half second.
        let _ = self.flush();
    }
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter")
            .field("id", &self.id)
            .field("blocks", &self.next_block)
            .finish_non_exhaustive()
    }
}

/// A new file with the header of this call's recording, and where its first block goes.
fn new_file(dir: &Path, id: &CallId) -> Result<(File, u64)> {
    create_private_dir(dir).doing("create the audio directory")?;
    let path = dir.join(file_name(id));
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Conflict { what: "the call has a recording already" });
        }
        file => file.doing("create a recording")?,
    };
    // Tells uploaders, in whatever process, that the recording is not theirs yet. The lock goes with the writer, also when
    // its process is killed. A file system without locks can hold a directory of recordings, but no spool.
    let _ = file.lock();
    let header = file_header(id);
    if let Err(error) = file.write_all(&header) {
        // A name without a recording would keep the next attempt away.
        let _ = std::fs::remove_file(&path);
        return Err(error).doing("write a recording");
    }
    Ok((file, header.len() as u64))
}

/// Name of a call's recording inside the audio directory.
pub(crate) fn file_name(id: &CallId) -> String {
    format!("{id}.hvr")
}

fn file_header(id: &CallId) -> Vec<u8> {
    // Identifiers have at most 64 bytes.
    [MAGIC.as_slice(), &[VERSION, id.as_str().len() as u8], id.as_str().as_bytes()].concat()
}

/// Writes the associated data of a block into a buffer that is used again and again.
fn block_aad(aad: &mut Vec<u8>, id: &CallId, index: u64) {
    aad.clear();
    aad.extend_from_slice(b"recording|");
    aad.extend_from_slice(id.as_str().as_bytes());
    aad.push(b'|');
    aad.extend_from_slice(&index.to_le_bytes());
    aad.push(VERSION);
}

/// What stands in clear before a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockHeader {
    length: u32,
    index: u64,
    nonce: [u8; NONCE_LEN],
}

impl BlockHeader {
    fn encode(&self) -> [u8; BLOCK_HEADER] {
        let mut out = [0u8; BLOCK_HEADER];
        let fields = self.length.to_le_bytes().into_iter().chain(self.index.to_le_bytes()).chain(self.nonce);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        if let Some((fields, check)) = out.split_last_chunk_mut::<4>() {
            *check = fnv1a(fields).to_le_bytes();
        }
        out
    }

    /// `None` when the check does not match.
    fn decode(bytes: &[u8; BLOCK_HEADER]) -> Option<Self> {
        let (fields, check) = bytes.split_last_chunk::<4>()?;
        if fnv1a(fields).to_le_bytes() != *check {
            return None;
        }
        let (length, rest) = fields.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let nonce = rest.first_chunk::<NONCE_LEN>()?;
        Some(Self { length: u32::from_le_bytes(*length), index: u64::from_le_bytes(*index), nonce: *nonce })
    }
}

/// 32-bit FNV-1a (draft-eastlake-fnv). Against accidents only; tampering is caught by the tag.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn frame(number: u64) -> Frame<'static> {
        Frame::Patient { position_samples: number, arrived_us: number, ulaw: &[0x55; 160] }
    }

    fn count(dir: &Path, id: &CallId, key: &DataKey) -> u64 {
        let mut reader = RecordingReader::open(dir, id, key.clone()).unwrap();
        let mut next = 0;
        while let Some(read) = reader.next_frame().unwrap() {
            assert_eq!(read, frame(next));
            next += 1;
        }
        next
    }

    #[test]
    fn a_full_disk_costs_nothing_while_it_is_short_and_is_bounded_while_it_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let (id, key) = (CallId::parse("c1").unwrap(), DataKey::random().unwrap());
        let mut writer = RecordingWriter::create(dir.path(), &id, key.clone()).unwrap();
        writer.append(&frame(0)).unwrap();
        writer.flush().unwrap();

        // A device that refuses every byte stands in for the full disk.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut writer.file, full);
        let mut taken = 1;
        writer.append(&frame(taken)).unwrap();
        assert_eq!(writer.flush().unwrap_err().code(), "unavailable");
        taken += 1;
        let refused = loop {
            match writer.append(&frame(taken)) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code(), "unavailable");
        assert!((5_000..10_000).contains(&taken), "{taken} frames were kept");
        assert_eq!(writer.finish().unwrap_err().code(), "unavailable");
        // An attempt that got half-way.
        good.write_all_at(&[0xaa; 1_000], writer.offset).unwrap();
        assert!(RecordingReader::open(dir.path(), &id, key.clone()).unwrap().next_frame().is_ok());

        writer.file = good;
        writer.append(&frame(taken)).unwrap();
        writer.finish().unwrap();
        assert_eq!(count(dir.path(), &id, &key), taken + 1);
    }

    #[test]
    fn appending_does_not_allocate_in_steady_state() {
        let dir = tempfile::tempdir().unwrap();
        let (id, key) = (CallId::parse("c1").unwrap(), DataKey::random().unwrap());
        let mut writer = RecordingWriter::create(dir.path(), &id, key).unwrap();
        for number in 0..1_000 {
            writer.append(&frame(number)).unwrap();
            if number % 25 == 24 {
                writer.flush().unwrap();
            }
        }
        // Both buffers, whichever is in use, still have their first size.
        assert_eq!((writer.open.capacity(), writer.sealed.capacity()), (BUFFER, BUFFER));
    }

    #[test]
    fn a_block_header_that_was_changed_is_refused() {
        let header = BlockHeader { length: 77, index: 3, nonce: [9; NONCE_LEN] };
        let bytes = header.encode();
        assert_eq!(BlockHeader::decode(&bytes), Some(header));
        for bit in 0..BLOCK_HEADER * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&changed), None);
        }
    }
}

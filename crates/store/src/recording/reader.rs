//! Reading a recording back, also one that is still being written or whose writer was killed.

use super::{BLOCK_HEADER, BlockHeader, MAX_SEALED, VERSION, block_aad, file_header, file_name};
use crate::error::Doing;
use crate::frames::{Record, decode, encode_end};
use crate::vault::TAG_LEN;
use crate::{DataKey, Frame, Result, StoreError};
use aws_lc_rs::aead;
use clinic::CallId;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Where the version stands in the file header.
const VERSION_AT: usize = super::MAGIC.len();

/// What a recording is read from: a file in the audio directory, or a copy fetched from elsewhere.
trait Source: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Source for T {}

/// Reads the recording of one call, frame by frame.
pub struct RecordingReader {
    source: Box<dyn Source>,
    id: CallId,
    key: DataKey,
    header_len: u64,
    /// The current block in plaintext.
    block: Vec<u8>,
    /// How much of it was handed out.
    used: usize,
    aad: Vec<u8>,
    next_block: u64,
    state: State,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The end record was read.
    Finished,
    /// The file ends between two blocks, without an end record.
    Unfinished,
    /// The file ends inside a block.
    Torn,
    /// This block is damaged.
    Damaged(u64),
}

impl RecordingReader {
    /// Opens the recording of a call.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the call has none, [`StoreError::Corrupt`] when it is not the recording of this
    /// call, [`StoreError::Unsupported`] when a newer version wrote it.
    pub fn open(dir: &Path, id: &CallId, key: DataKey) -> Result<Self> {
        match File::open(dir.join(file_name(id))) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::NotFound { what: "recording" }),
            file => Self::from_source(file.doing("open a recording")?, id, key),
        }
    }

    /// Reads the recording of a call from anything that holds its bytes, from the first on.
    ///
    /// # Errors
    /// As [`RecordingReader::open`], except that there is something to read.
    pub fn from_source(
        mut source: impl Read + Seek + Send + Sync + 'static,
        id: &CallId,
        key: DataKey,
    ) -> Result<Self> {
        let expected = file_header(id);
        let mut header = vec![0u8; expected.len()];
        let length = read_up_to(&mut source, &mut header).doing("read a recording")?;
        header.truncate(length);
        if !expected.starts_with(&header) {
            let other_version = header.get(..VERSION_AT) == expected.get(..VERSION_AT)
                && header.get(VERSION_AT).is_some_and(|version| *version > VERSION)
                && header.get(VERSION_AT + 1..) == expected.get(VERSION_AT + 1..);
            return Err(if other_version {
                StoreError::Unsupported {
                    what: "the format of this recording",
                    instead: "use the version that wrote it",
                }
            } else {
                StoreError::corrupt(format!("the header of recording {id}"))
            });
        }
        // A writer killed before its header was whole left no frames.
        let state = if length < expected.len() { State::Torn } else { State::Reading };
        Ok(Self {
            source: Box::new(source),
            id: id.clone(),
            key,
            header_len: expected.len() as u64,
            block: Vec::new(),
            used: 0,
            aad: Vec::new(),
            next_block: 0,
            state,
        })
    }

    /// The next frame, or `None` at the end of what can be read.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] naming the damaged block, again and again: what follows it cannot be trusted. All frames
    /// before it were genuine.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        while self.used >= self.block.len() {
            if !self.read_block()? {
                return Ok(None);
            }
        }
        match self.block.get(self.used..).and_then(decode) {
            Some((Record::Frame(frame), rest)) => {
                self.used = self.block.len() - rest.len();
                Ok(Some(frame))
            }
            // The block is genuine, so only a faulty writer can have caused this.
            _ => {
                self.state = State::Damaged(self.next_block - 1);
                Err(damaged(&self.id, self.next_block - 1))
            }
        }
    }

    /// Starts again at the first frame.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub fn rewind(&mut self) -> Result<()> {
        let length = self.source.seek(SeekFrom::End(0)).doing("read a recording")?;
        self.source.seek(SeekFrom::Start(self.header_len)).doing("read a recording")?;
        self.block.clear();
        self.used = 0;
        self.next_block = 0;
        self.state = if length < self.header_len { State::Torn } else { State::Reading };
        Ok(())
    }

    /// True once reading met the mark that the writer sets when it finishes. False at the end of a recording that is
    /// still being written or whose end was lost.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.state == State::Finished
    }

    /// True once reading met a block that was cut off, as a killed writer leaves it. Its frames are lost.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.state == State::Torn
    }

    /// Reads and opens the next block; `false` at the end.
    fn read_block(&mut self) -> Result<bool> {
        match self.state {
            State::Reading => {}
            State::Damaged(index) => return Err(damaged(&self.id, index)),
            State::Finished | State::Unfinished | State::Torn => return Ok(false),
        }
        let index = self.next_block;
        self.block.clear();
        self.used = 0;
        self.state = self.open_block(index).doing("read a recording")?;
        if let State::Damaged(index) = self.state {
            self.block.clear();
            return Err(damaged(&self.id, index));
        }
        if self.state == State::Reading {
            self.next_block += 1;
            return Ok(true);
        }
        self.block.clear();
        Ok(false)
    }

    /// Fills `self.block` with the plaintext of the block at the current place, and says how things stand.
    fn open_block(&mut self, index: u64) -> std::io::Result<State> {
        let mut header = [0u8; BLOCK_HEADER];
        match read_up_to(&mut self.source, &mut header)? {
            0 => return Ok(State::Unfinished),
            BLOCK_HEADER => {}
            _ => return Ok(State::Torn),
        }
        let Some(fields) = BlockHeader::decode(&header) else {
            // After a power cut a file system may have lengthened the file without filling it.
            let hollow = header == [0u8; BLOCK_HEADER] && rest_is_zero(&mut self.source)?;
            return Ok(if hollow { State::Torn } else { State::Damaged(index) });
        };
        let length = usize::try_from(fields.length).unwrap_or(usize::MAX);
        if fields.index != index || length <= TAG_LEN || length > MAX_SEALED {
            return Ok(State::Damaged(index));
        }
        self.block.resize(length, 0);
        if read_up_to(&mut self.source, &mut self.block)? < length {
            return Ok(State::Torn);
        }
        block_aad(&mut self.aad, &self.id, index);
        let nonce = aead::Nonce::assume_unique_for_key(fields.nonce);
        match self.key.cipher().open_in_place(nonce, aead::Aad::from(&self.aad), &mut self.block) {
            Ok(plain) => {
                let length = plain.len();
                self.block.truncate(length);
            }
            Err(_) => return Ok(State::Damaged(index)),
        }
        let mut end = Vec::with_capacity(1);
        encode_end(&mut end);
        if self.block != end {
            return Ok(State::Reading);
        }
        // Nothing may follow the end: it would never be noticed as missing either.
        Ok(if read_up_to(&mut self.source, &mut [0u8; 1])? == 0 { State::Finished } else { State::Damaged(index + 1) })
    }
}

impl std::fmt::Debug for RecordingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingReader").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

fn damaged(id: &CallId, block: u64) -> StoreError {
    StoreError::corrupt(format!("block {block} of recording {id}"))
}

/// Reads until `buffer` is full or the file ends, and says how many bytes came.
pub(super) fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn rest_is_zero(file: &mut impl Read) -> std::io::Result<bool> {
    let mut chunk = [0u8; 4096];
    loop {
        let length = read_up_to(file, &mut chunk)?;
        if chunk.iter().take(length).any(|byte| *byte != 0) {
            return Ok(false);
        }
        if length < chunk.len() {
            return Ok(true);
        }
    }
}

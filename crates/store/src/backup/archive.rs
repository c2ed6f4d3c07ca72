//! The file of a backup: one encrypted stream of named entries.
//!
//! ```text
//! file    "HVBACKUP" | version (1) | length of the header (4) | header (JSON: what wraps the key, and the wrapped key)
//! chunk   0, or 1 in the last one (1) | length of what is sealed (4) | ciphertext | tag (16)
//! entry   length of its name (1) | name | pieces, each with its length (4) | 0 (4) | SHA-256 (32)      inside the chunks
//! ```
//!
//! Numbers are little-endian. A chunk is sealed with AES-256-GCM under a random key of this file; its nonce is its number,
//! and its associated data names the header, its number and whether it is the last: what was cut off, repeated, moved or
//! taken from another file does not open. The last entry is the manifest. Reading and writing hold one chunk in memory.

use crate::audit::{hex, unhex};
use crate::error::Doing;
use crate::ids::{new_id, now_ms};
use crate::keys::{DataKey, KEY_LEN, random_bytes};
use crate::kms::KeyService;
use crate::vault::{NONCE_LEN, TAG_LEN};
use crate::{Result, StoreError};
use aws_lc_rs::aead;
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"HVBACKUP";
const VERSION: u8 = 1;
/// Bytes of plaintext in a chunk.
const CHUNK: usize = 128 * 1024;
/// Bytes of a header, at most.
const MAX_HEADER: usize = 16 * 1024;
/// Bytes of an entry's name.
const MAX_NAME: usize = 200;
const HASH_LEN: usize = 32;
/// What the name of a file that is not complete ends with.
const PARTIAL: &str = ".partial";
const WRITING: &str = "write a backup";
const READING: &str = "read a backup";

/// What stands in clear before the chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    /// `records` or `keys`.
    kind: String,
    id: String,
    /// What wraps the key of this file.
    service: String,
    wrapped: String,
}

impl Header {
    fn context(kind: &str, id: &str) -> String {
        format!("heartvoice backup|{kind}|{id}")
    }
}

/// Writes a backup under a temporary name; it gets its own when it is complete.
pub(super) struct ArchiveWriter {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    replace: bool,
    cipher: Cipher,
    chunk: Vec<u8>,
    digest: Context,
    entries: u64,
    bytes: u64,
    complete: bool,
}

/// Reads a backup, entry by entry.
pub(super) struct ArchiveReader {
    file: BufReader<File>,
    cipher: Cipher,
    chunk: Vec<u8>,
    used: usize,
    last: bool,
    digest: Context,
    entries: u64,
    bytes: u64,
}

/// What all entries of an archive add up to; the manifest repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// SHA-256 over the names, sizes and hashes of all entries.
    pub(super) digest: String,
}

struct Cipher {
    key: DataKey,
    header: [u8; HASH_LEN],
    next: u64,
}

impl Cipher {
    fn nonce(&self) -> aead::Nonce {
        let mut nonce = [0u8; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(self.next.to_le_bytes()) {
            *to = from;
        }
        aead::Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, last: bool) -> Vec<u8> {
        let mut aad = b"backup|".to_vec();
        aad.extend_from_slice(&self.header);
        aad.extend_from_slice(&self.next.to_le_bytes());
        aad.push(u8::from(last));
        aad
    }
}

impl ArchiveWriter {
    /// Begins a file that only this user may read. There must be none of this name, unless it is to be replaced.
    pub(super) async fn create(path: &Path, kind: &str, service: &KeyService, replace: bool) -> Result<Self> {
        if !replace {
            refuse_existing(path)?;
        }
        let bytes = random_bytes::<KEY_LEN>()?;
        let id = new_id(now_ms())?;
        let wrapped = service.wrap(&bytes, &Header::context(kind, &id)).await?;
        let header = Header { kind: kind.to_owned(), id, service: service.id(), wrapped: hex(&wrapped) };
        let header = serde_json::to_vec(&header).doing(WRITING)?;
        let (partial, file) = create_beside(path, PARTIAL)?;
        let mut file = BufWriter::new(file);
        let length = u32::try_from(header.len()).doing(WRITING)?.to_le_bytes();
        let start = [MAGIC.as_slice(), &[VERSION], &length, &header].concat();
        file.write_all(&start).doing(WRITING)?;
        Ok(Self {
            file,
            partial,
            path: path.to_owned(),
            replace,
            cipher: Cipher { key: DataKey::from_bytes(&bytes)?, header: sha256(&start), next: 0 },
            chunk: Vec::with_capacity(CHUNK + TAG_LEN),
            digest: Context::new(&SHA256),
            entries: 0,
            bytes: 0,
            complete: false,
        })
    }

    /// Writes an entry from what can be read.
    pub(super) fn entry(&mut self, name: &str, mut from: impl Read) -> Result<()> {
        let mut piece = vec![0u8; CHUNK];
        let mut entry = self.begin(name)?;
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.doing("read what is to be backed up")?,
            };
            self.piece(&mut entry, piece.get(..length).unwrap_or_default())?;
        }
        self.end(entry)
    }

    pub(super) fn begin(&mut self, name: &str) -> Result<Entry> {
        let length = u8::try_from(name.len()).ok().filter(|length| (1..=MAX_NAME).contains(&usize::from(*length)));
        let length = length.ok_or(StoreError::Invalid { what: "name in a backup", expected: "1 to 200 bytes" })?;
        self.put(&[length])?;
        self.put(name.as_bytes())?;
        Ok(Entry { name: name.to_owned(), bytes: 0, hash: Context::new(&SHA256) })
    }

    pub(super) fn piece(&mut self, entry: &mut Entry, piece: &[u8]) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        entry.bytes += piece.len() as u64;
        entry.hash.update(piece);
        self.put(&u32::try_from(piece.len()).doing(WRITING)?.to_le_bytes())?;
        self.put(piece)
    }

    pub(super) fn end(&mut self, entry: Entry) -> Result<()> {
        self.put(&0u32.to_le_bytes())?;
        let Entry { name, bytes, hash } = entry;
        let hash = bytes_of(hash);
        self.put(&hash)?;
        add(&mut self.digest, &name, bytes, &hash);
        self.entries += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// What was written so far.
    pub(super) fn sum(&self) -> Sum {
        Sum { entries: self.entries, bytes: self.bytes, digest: hex(&bytes_of(self.digest.clone())) }
    }

    /// Ends the file, waits until it is on the disk, and gives it its name.
    pub(super) fn finish(mut self) -> Result<()> {
        self.seal(true)?;
        self.file.flush().doing(WRITING)?;
        self.file.get_ref().sync_all().doing(WRITING)?;
        if !self.replace {
            refuse_existing(&self.path)?;
        }
        std::fs::rename(&self.partial, &self.path).doing(WRITING)?;
        self.complete = true;
        sync_folder(&self.path).doing(WRITING)
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = CHUNK.saturating_sub(self.chunk.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() >= CHUNK {
                self.seal(false)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, last: bool) -> Result<()> {
        let (nonce, aad) = (self.cipher.nonce(), self.cipher.aad(last));
        let sealed = self.cipher.key.cipher().seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut self.chunk);
        sealed.doing(WRITING)?;
        self.file.write_all(&[u8::from(last)]).doing(WRITING)?;
        self.file.write_all(&u32::try_from(self.chunk.len()).doing(WRITING)?.to_le_bytes()).doing(WRITING)?;
        self.file.write_all(&self.chunk).doing(WRITING)?;
        self.chunk.clear();
        self.cipher.next += 1;
        Ok(())
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.complete {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    if path.exists() {
        return Err(StoreError::Conflict { what: "a file of this name exists already" });
    }
    Ok(())
}

/// Makes a file beside another, for this process alone: its name is random, and nobody else has made it.
pub(super) fn create_beside(path: &Path, ending: &str) -> Result<(PathBuf, File)> {
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(format!(".{}{ending}", new_id(now_ms())?));
    let beside = path.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).doing(WRITING)?;
    Ok((beside, file))
}

/// Removes what interrupted writers of this file left beside it. Nobody may be writing it.
pub(super) fn remove_leftovers(path: &Path) -> Result<()> {
    let doing = "remove what an interrupted backup left";
    let Some(name) = path.file_name() else { return Ok(()) };
    for entry in std::fs::read_dir(folder_of(path)).doing(doing)? {
        let entry = entry.doing(doing)?;
        let (of, found) = (name.as_encoded_bytes(), entry.file_name());
        // `NAME.IDENTIFIER.partial`, or `NAME.partial` as the first versions of this called it.
        let rest = found.as_encoded_bytes().strip_prefix(of).and_then(|rest| rest.strip_suffix(PARTIAL.as_bytes()));
        let is_ours =
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(b".").is_some_and(|id| !id.contains(&b'.')));
        if is_ours {
            std::fs::remove_file(entry.path()).doing(doing)?;
        }
    }
    Ok(())
}

/// An entry that is being written or read.
pub(super) struct Entry {
    pub(super) name: String,
    bytes: u64,
    hash: Context,
}

impl ArchiveReader {
    /// Opens a backup of this kind.
    pub(super) async fn open(path: &Path, kind: &'static str, service: &KeyService) -> Result<Self> {
        let (file, header, start) = read_header(path)?;
        if header.kind != kind {
            return Err(StoreError::Invalid {
                what: "backup",
                expected: "the archive as the backup, and the file of its keys as the keys",
            });
        }
        if header.service != service.id() {
            return Err(StoreError::WrongKey { given: service.id(), expected: header.service });
        }
        let wrapped = unhex(&header.wrapped).ok_or_else(not_a_beginning)?;
        let key = service.unwrap(&wrapped, &Header::context(&header.kind, &header.id)).await?;
        Ok(Self {
            file,
            cipher: Cipher { key: DataKey::from_bytes(&key)?, header: sha256(&start), next: 0 },
            chunk: Vec::new(),
            used: 0,
            last: false,
            digest: Context::new(&SHA256),
            entries: 0,
            bytes: 0,
        })
    }

    /// The next entry; `None` at the end of the file. What an entry holds must be read before the next one.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        if self.used >= self.chunk.len() && !self.more()? {
            return Ok(None);
        }
        let mut length = [0u8; 1];
        self.take(&mut length)?;
        let mut name = vec![0u8; usize::from(length[0])];
        self.take(&mut name)?;
        let name = String::from_utf8(name).map_err(|_| self.damaged())?;
        Ok(Some(Entry { name, bytes: 0, hash: Context::new(&SHA256) }))
    }

    /// The next piece of an entry; `false` at its end, after its hash was compared.
    pub(super) fn piece(&mut self, entry: &mut Entry, piece: &mut Vec<u8>) -> Result<bool> {
        let mut length = [0u8; 4];
        self.take(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > CHUNK {
            return Err(self.damaged());
        }
        piece.resize(length, 0);
        if length > 0 {
            self.take(piece)?;
            entry.hash.update(piece);
            entry.bytes += length as u64;
            return Ok(true);
        }
        let mut hash = [0u8; HASH_LEN];
        self.take(&mut hash)?;
        if bytes_of(entry.hash.clone()) != hash {
            return Err(self.damaged());
        }
        add(&mut self.digest, &entry.name, entry.bytes, &hash);
        self.entries += 1;
        self.bytes += entry.bytes;
        Ok(false)
    }

    /// What was read so far.
    pub(super) fn sum(&self) -> Sum {
        Sum { entries: self.entries, bytes: self.bytes, digest: hex(&bytes_of(self.digest.clone())) }
    }

    pub(super) fn damaged(&self) -> StoreError {
        StoreError::corrupt(format!("part {} of the backup", self.cipher.next))
    }

    fn take(&mut self, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let ready = self.chunk.get(self.used..).unwrap_or_default();
            if ready.is_empty() {
                if !self.more()? {
                    return Err(self.damaged());
                }
                continue;
            }
            let length = ready.len().min(out.len());
            let (now, later) = out.split_at_mut(length);
            now.copy_from_slice(ready.get(..length).unwrap_or_default());
            self.used += length;
            out = later;
        }
        Ok(())
    }

    /// Opens the next chunk; `false` after the last one.
    fn more(&mut self) -> Result<bool> {
        while self.used >= self.chunk.len() {
            if self.last {
                // Whatever follows would never be missed either.
                let mut one = [0u8; 1];
                return match self.file.read(&mut one) {
                    Ok(0) => Ok(false),
                    Ok(_) => Err(self.damaged()),
                    Err(error) => Err(error).doing(READING),
                };
            }
            let mut start = [0u8; 5];
            read_exact(&mut self.file, &mut start)?;
            let [flag, length @ ..] = start;
            let length = u32::from_le_bytes(length) as usize;
            if flag > 1 || !(TAG_LEN..=CHUNK + TAG_LEN).contains(&length) {
                return Err(self.damaged());
            }
            self.last = flag == 1;
            self.chunk.resize(length, 0);
            read_exact(&mut self.file, &mut self.chunk)?;
            let (nonce, aad) = (self.cipher.nonce(), self.cipher.aad(self.last));
            let opened = self.cipher.key.cipher().open_in_place(nonce, aead::Aad::from(aad), &mut self.chunk);
            let length =
                opened.map_err(|_| StoreError::corrupt(format!("part {} of the backup", self.cipher.next)))?.len();
            self.chunk.truncate(length);
            self.used = 0;
            self.cipher.next += 1;
        }
        Ok(true)
    }
}

/// Opens a file, and reads what stands in clear: the header, and its bytes from the first on.
fn read_header(path: &Path) -> Result<(BufReader<File>, Header, Vec<u8>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::NotFound { what: "file of a backup" });
        }
        file => BufReader::new(file.doing(READING)?),
    };
    let mut start = [0u8; MAGIC.len() + 1 + 4];
    read_exact(&mut file, &mut start)?;
    let (magic, rest) = start.split_first_chunk::<8>().ok_or_else(not_a_beginning)?;
    let (version, length) = rest.split_first().ok_or_else(not_a_beginning)?;
    let length = u32::from_le_bytes(length.try_into().map_err(|_| not_a_beginning())?) as usize;
    if magic != MAGIC || length > MAX_HEADER {
        return Err(not_a_beginning());
    }
    if *version != VERSION {
        return Err(StoreError::Unsupported {
            what: "this backup",
            instead: "restore it with the version that made it",
        });
    }
    let mut text = vec![0u8; length];
    read_exact(&mut file, &mut text)?;
    let header = serde_json::from_slice(&text).map_err(|_| not_a_beginning())?;
    Ok((file, header, [start.as_slice(), &text].concat()))
}

/// What wraps the key of a file.
pub(super) fn wrapped_by(path: &Path) -> Result<String> {
    read_header(path).map(|(_, header, _)| header.service)
}

fn not_a_beginning() -> StoreError {
    StoreError::corrupt("the beginning of the backup")
}

fn read_exact(file: &mut impl Read, out: &mut [u8]) -> Result<()> {
    match file.read_exact(out) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(StoreError::corrupt("the backup was cut off: its end"))
        }
        read => read.doing(READING),
    }
}

fn add(digest: &mut Context, name: &str, bytes: u64, hash: &[u8]) {
    digest.update(&(name.len() as u64).to_le_bytes());
    digest.update(name.as_bytes());
    digest.update(&bytes.to_le_bytes());
    digest.update(hash);
}

fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    bytes_of(context)
}

fn bytes_of(context: Context) -> [u8; HASH_LEN] {
    let mut out = [0u8; HASH_LEN];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// A file's name must last as well as its content.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

//! The spool: where what belongs to calls waits while the database does not take it.
//!
//! Each call has a file of its own, `records/<call id>.hvs` below the spool's directory, made when the database first
//! refuses something of that call. What is appended is on the disk before it counts as kept, and is given to the database
//! in the same order once that is back; then the file goes. Everything that is given a second time, because a process was
//! killed in between, changes nothing: entries of a timeline are keyed by number, segments by index, and the end of a call
//! is taken once. A caller whom we could not even look up leaves a file of its own, with the wish to be called back, and a
//! message of the agents service after a call one with the message.
//!
//! ```text
//! header  "HVSPL\r\n" | format version (1) | length of the name (1) | name
//! record  length of what is sealed (4) | record index (8) | check (4) | sealed
//! ```
//!
//! Numbers are little-endian. `name` is the call's identifier, or that of the wish. A record is sealed as values in the
//! database are, under the call's data key (a wish under a key that follows from the installation's), and bound to name and
//! index; with the patient's key goes what waits here. The check (FNV-1a over the fields before it) tells a damaged length
//! from a record that was cut off. A killed process leaves at most one torn record at the end, which was not acknowledged:
//! it is ignored. After anything else what stands before it is given all the same, and the file kept aside as
//! `<name>.damaged`; one of a call that the database does not know (it is older than the file) as `<name>.orphan`.
//!
//! A file is locked by the process that uses it, so several servers may share a directory. Everything here blocks on the
//! file system: it is for a thread that may.

mod entry;
mod format;
mod writer;

pub use entry::{CallBackWish, LateMessage, SpoolEntry};
pub use format::{SpoolContent, SpoolTail, read};

use crate::db::create_private_dir;
use crate::error::Doing;
use crate::ids::{new_id, now_ms};
use crate::vault::open;
use crate::{CallHandle, DataKey, Result, StoreError};
use clinic::CallId;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use writer::Writer;

/// How the name of a wish begins. Identifiers of calls are UUIDs and never do.
const WISH: &str = "call-back-";
/// How the name of a message after a call begins.
const MESSAGE: &str = "post-call-";
const SUFFIX: &str = ".hvs";
/// Ending of what belongs to a call that the database does not know.
const ORPHAN: &str = "orphan";

/// How much a spool takes, in bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Of all calls together. Beyond it nothing is taken until the database has taken something.
    pub total_bytes: u64,
    /// Of one call, so that one cannot use up the room of all.
    pub call_bytes: u64,
}

/// What a spool holds, and what became of what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolCounts {
    /// Records that wait.
    pub entries: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Records that the database has taken since this process began.
    pub replayed: u64,
}

/// Something that waits: what is told apart when it is given to the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpoolName {
    /// Of a call.
    Call(CallId),
    /// Of a caller whom we could not look up.
    Wish(String),
    /// A message of the agents service after a call.
    Message(String),
}

/// What waits of one call, a wish or a message, in order.
#[derive(Debug)]
pub struct Waiting<T> {
    /// The entries; where something is damaged, those before it.
    pub entries: Vec<T>,
    /// How many records there are, for [`Spool::forget`].
    pub records: u64,
    /// Whether there is more that cannot be read. The file is kept aside when it is let go of.
    pub damaged: bool,
}

/// A file of the spool, which is made and used under its own lock: nobody waits for the disk because of another call.
#[derive(Debug)]
enum File {
    /// It is about to be made.
    New,
    Open(Writer),
    /// It was taken away, or could not be made: whoever finds it so looks it up again.
    Gone,
}

type Shared = Arc<Mutex<File>>;

/// A directory for what the database does not take. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    records: PathBuf,
    audio: PathBuf,
    key: DataKey,
    limits: SpoolLimits,
    files: Mutex<HashMap<String, Shared>>,
    bytes: AtomicU64,
    entries: AtomicU64,
    replayed: AtomicU64,
}

impl Spool {
    /// Opens the spool in `dir`, which is made for this user only where it is missing, and takes up what an earlier process
    /// left there. `secret` is the installation's for this purpose.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when nothing can be written there.
    pub fn open(dir: &Path, secret: &[u8; 32], limits: SpoolLimits) -> Result<Self> {
        let doing = "use the spool's directory";
        let (records, audio) = (dir.join("records"), dir.join("audio"));
        for folder in [dir, &records, &audio] {
            create_private_dir(folder).doing(doing)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).doing(doing)?;
        }
        // Better to hear of it at the start than in the first outage.
        let probe = records.join(format!("{}.probe", std::process::id()));
        std::fs::write(&probe, b"probe").doing(doing)?;
        std::fs::remove_file(&probe).doing(doing)?;
        let zero = || AtomicU64::new(0);
        let inner = Inner {
            dir: dir.to_owned(),
            records,
            audio,
            key: DataKey::from_bytes(secret)?,
            limits,
            files: Mutex::default(),
            bytes: zero(),
            entries: zero(),
            replayed: zero(),
        };
        let spool = Self { inner: Arc::new(inner) };
        spool.look();
        Ok(spool)
    }

    /// Where the spool is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Where recordings are continued that the disk of the recordings does not take.
    #[must_use]
    pub fn audio_dir(&self) -> &Path {
        &self.inner.audio
    }

    /// Keeps an entry of a call: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the spool is full or cannot be written to, [`StoreError::Invalid`] for an entry that
    /// is too large. It is not kept then.
    pub fn append(&self, call: &CallHandle, entry: &SpoolEntry) -> Result<()> {
        self.keep(call.id.as_str(), call.data_key(), entry)
    }

    /// Keeps the wish to be called back of a caller whom we could not look up.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn wish(&self, wish: &CallBackWish) -> Result<()> {
        let name = format!("{WISH}{}", new_id(now_ms())?);
        self.keep(&name, &self.inner.key, wish)
    }

    /// Keeps a message of the agents service about a call, which it may send only once.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn message(&self, message: &LateMessage) -> Result<()> {
        let name = format!("{MESSAGE}{}", new_id(now_ms())?);
        self.keep(&name, &self.inner.key, message)
    }

    /// True while something of the call waits. Whatever else belongs to it has to wait behind it.
    #[must_use]
    pub fn holds(&self, call: &CallId) -> bool {
        self.files().contains_key(call.as_str())
    }

    /// Everything that waits, also what a process left that is gone by now.
    #[must_use]
    pub fn waiting(&self) -> Vec<SpoolName> {
        self.look();
        let mut names: Vec<SpoolName> = self.files().keys().filter_map(|name| named(name)).collect();
        names.sort();
        names
    }

    /// What waits of a call.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing waits, [`StoreError::Unavailable`] when it cannot be read now.
    pub fn of_call(&self, call: &CallHandle) -> Result<Waiting<SpoolEntry>> {
        self.entries(call.id.as_str(), call.data_key())
    }

    /// A wish to be called back.
    ///
    /// # Errors
    /// As [`Spool::of_call`].
    pub fn wished(&self, name: &str) -> Result<Waiting<CallBackWish>> {
        self.entries(name, &self.inner.key)
    }

    /// A message of the agents service.
    ///
    /// # Errors
    /// As [`Spool::of_call`].
    pub fn message_of(&self, name: &str) -> Result<Waiting<LateMessage>> {
        self.entries(name, &self.inner.key)
    }

    /// Lets go of what the database has taken. False when more came meanwhile: the whole is to be read again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be removed; what is in it will be given once more.
    pub fn forget(&self, name: &SpoolName, records: u64) -> Result<bool> {
        let gone = self.take_away(name.as_str(), Some(records), Writer::remove)?;
        if gone {
            self.inner.replayed.fetch_add(records, Ordering::Relaxed);
        }
        Ok(gone)
    }

    /// Lets go of what nobody may read any more: its call was erased.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be removed.
    pub fn discard(&self, name: &SpoolName) -> Result<()> {
        self.take_away(name.as_str(), None, Writer::erase).map(drop)
    }

    /// Keeps aside what belongs to a call that the database does not know: where an older database was restored, this is
    /// what it lacks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be renamed.
    pub fn set_apart(&self, name: &SpoolName) -> Result<()> {
        let rename = |writer: &Writer| writer.rename(&writer.path().with_extension(ORPHAN));
        self.take_away(name.as_str(), None, rename).map(drop)
    }

    /// As [`Spool::set_apart`], for the part of a recording that went on here.
    ///
    /// # Errors
    /// As [`Spool::set_apart`].
    pub fn set_recording_apart(&self, call: &CallId) -> Result<()> {
        let path = self.inner.audio.join(crate::recording::file_name(call));
        std::fs::rename(&path, path.with_extension(ORPHAN)).doing("rename a file of the spool")
    }

    /// What there is.
    #[must_use]
    pub fn counts(&self) -> SpoolCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Inner { entries, bytes, replayed, .. } = &*self.inner;
        SpoolCounts { entries: get(entries), bytes: get(bytes), replayed: get(replayed) }
    }

    /// The lock is held for a few lines only, and none of them panics.
    fn files(&self) -> MutexGuard<'_, HashMap<String, Shared>> {
        self.inner.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.records.join(format!("{name}{SUFFIX}"))
    }

    fn keep<T: Serialize>(&self, name: &str, key: &DataKey, entry: &T) -> Result<()> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(entry).doing("write a record of the spool as JSON")?);
        if plain.len() > format::MAX_PLAIN {
            return Err(StoreError::Invalid { what: "record of the spool", expected: "at most 4 MiB of JSON" });
        }
        let shared = self.shared(name);
        let mut file = lock(&shared);
        if matches!(*file, File::New) {
            // Under the lock of this file only: making it waits for the disk.
            match Writer::create(&self.path(name), &self.inner.records, name) {
                Ok(writer) => {
                    self.inner.bytes.fetch_add(writer.size(), Ordering::Relaxed);
                    *file = File::Open(writer);
                }
                Err(error) => {
                    *file = File::Gone;
                    self.files().remove(name);
                    return Err(error);
                }
            }
        }
        let File::Open(writer) = &mut *file else {
            // It was taken by the database between our finding and our locking it.
            drop(file);
            return self.keep(name, key, entry);
        };
        let size = format::record_size(plain.len());
        let Inner { limits, bytes, entries, .. } = &*self.inner;
        let total = bytes.fetch_add(size, Ordering::Relaxed);
        let has_room = total + size <= limits.total_bytes && writer.size() + size <= limits.call_bytes;
        let before = writer.size();
        let kept = if has_room { writer.append(name, key, &plain) } else { Err(full()) };
        // Normally what it grew by is what was set aside for it.
        bytes.fetch_add(writer.size() - before, Ordering::Relaxed);
        bytes.fetch_sub(size, Ordering::Relaxed);
        if kept.is_ok() {
            entries.fetch_add(1, Ordering::Relaxed);
        }
        if kept.is_err() && writer.records() == 0 && !writer.is_damaged() {
            // A file without a record would hold up its call.
            self.files().remove(name);
            bytes.fetch_sub(writer.size(), Ordering::Relaxed);
            let _ = writer.erase();
            *file = File::Gone;
        }
        kept
    }

    /// The file with that name, to be made where there is none.
    fn shared(&self, name: &str) -> Shared {
        let mut files = self.files();
        if let Some(file) = files.get(name) {
            return file.clone();
        }
        let file = Arc::new(Mutex::new(File::New));
        files.insert(name.to_owned(), file.clone());
        file
    }

    fn known(&self, name: &str) -> Option<Shared> {
        self.files().get(name).cloned()
    }

    fn entries<T: DeserializeOwned>(&self, name: &str, key: &DataKey) -> Result<Waiting<T>> {
        let none = || StoreError::NotFound { what: "entry of the spool" };
        let shared = self.known(name).ok_or_else(none)?;
        let mut file = lock(&shared);
        let File::Open(writer) = &mut *file else { return Err(none()) };
        let bytes = writer.read()?;
        let sealed = format::read(&bytes).map(|content| content.records).unwrap_or_default();
        let open = |(index, sealed): (usize, &[u8])| {
            let plain = open(key, &format::aad(name, index as u64), sealed)?;
            serde_json::from_slice(&plain).ok()
        };
        let entries: Vec<T> = sealed.into_iter().enumerate().map_while(open).collect();
        if (entries.len() as u64) < writer.records() {
            writer.note_damage();
        }
        Ok(Waiting { entries, records: writer.records(), damaged: writer.is_damaged() })
    }

    /// Takes a file away by `work`, unless it does not hold as many records as were read.
    fn take_away(
        &self,
        name: &str,
        records: Option<u64>,
        work: impl FnOnce(&Writer) -> std::io::Result<()>,
    ) -> Result<bool> {
        let Some(shared) = self.known(name) else { return Ok(true) };
        let mut file = lock(&shared);
        let File::Open(writer) = &*file else { return Ok(true) };
        if records.is_some_and(|records| records != writer.records()) {
            return Ok(false);
        }
        work(writer).doing("remove a file of the spool")?;
        self.files().remove(name);
        self.inner.bytes.fetch_sub(writer.size(), Ordering::Relaxed);
        self.inner.entries.fetch_sub(writer.records(), Ordering::Relaxed);
        *file = File::Gone;
        Ok(true)
    }

    /// Takes up the files of processes that are gone. What cannot be read now is looked at again the next time.
    fn look(&self) {
        let Ok(found) = std::fs::read_dir(&self.inner.records) else { return };
        for path in found.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
            let Some(name) = name.filter(|name| named(name).is_some()) else { continue };
            if self.known(name).is_none()
                && let Some(writer) = adopt(&path, name)
                && let Entry::Vacant(place) = self.files().entry(name.to_owned())
            {
                self.inner.bytes.fetch_add(writer.size(), Ordering::Relaxed);
                self.inner.entries.fetch_add(writer.records(), Ordering::Relaxed);
                place.insert(Arc::new(Mutex::new(File::Open(writer))));
            }
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl SpoolName {
    /// The name of the file, without its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Call(id) => id.as_str(),
            Self::Wish(name) | Self::Message(name) => name,
        }
    }
}

fn named(name: &str) -> Option<SpoolName> {
    let id = CallId::parse(name).ok()?;
    Some(match name {
        _ if name.starts_with(WISH) => SpoolName::Wish(name.to_owned()),
        _ if name.starts_with(MESSAGE) => SpoolName::Message(name.to_owned()),
        _ => SpoolName::Call(id),
    })
}

fn lock(file: &Mutex<File>) -> MutexGuard<'_, File> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full() -> StoreError {
    StoreError::Unavailable { doing: "keep a record in the spool", source: "the spool is full".into() }
}

/// The file of a process that is gone; `None` while its process lives, or when it cannot be read.
fn adopt(path: &Path, name: &str) -> Option<Writer> {
    let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path).ok()?;
    file.try_lock().ok()?;
    // Removed by its process just now.
    if file.metadata().ok()?.nlink() == 0 {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    // One that is damaged is taken up as well, so that what can be read is given and the rest named.
    Some(match format::read(&bytes) {
        Ok(content) if content.name == name => {
            let damaged = content.tail == SpoolTail::Damaged;
            Writer::adopt(file, path, content.end, content.records.len() as u64, damaged)
        }
        _ => Writer::adopt(file, path, 0, 0, true),
    })
}

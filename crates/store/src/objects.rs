//! Where the recordings of calls live: in a directory, or in an S3-compatible store.
//!
//! A recording grows by a block or two a second while the call runs, and an object store cannot append. So a recording is
//! always written to a local directory first. When that directory is the store, this is all. Otherwise it is a *spool*:
//! [`AudioStore::finish`] uploads the finished file, checks that the store holds what was sent, and only then deletes the
//! local copy. A failed upload leaves the file where it is; [`AudioStore::resume_uploads`] takes up whatever is in the
//! spool, after a restart and now and then. Nothing but sealed bytes ever gets here: the keys stay with the database.
//!
//! The credentials need `s3:ListBucket`, `s3:GetObject`, `s3:PutObject`, `s3:AbortMultipartUpload`,
//! `s3:ListBucketMultipartUploads` and `s3:DeleteObject`, and in a bucket with versions `s3:ListBucketVersions` and
//! `s3:DeleteObjectVersion` as well.
//!
//! Writers hold a lock on their file (see `recording`), so no upload takes a recording that still grows, whichever
//! process writes it.

use crate::db::create_private_dir;
use crate::error::Doing;
use crate::recording::file_name;
use crate::{DataKey, RecordingReader, RecordingWriter, Result, StoreError};
use clinic::CallId;
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod answers;
mod config;
mod remote;
mod s3;
mod sign;

pub use config::{AudioConfig, AudioLocation};
pub use remote::{Resumed, UploadCounts};
pub use s3::{S3Config, S3Error};

use remote::Remote;

/// What recordings are called after their call.
const SUFFIX: &str = ".hvr";
/// Recordings listed at once, at most: a thousand calls a day for well over two years.
pub(crate) const MAX_LISTED: usize = 1_000_000;

/// The recordings of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub enum AudioStore {
    /// Files in a directory.
    Directory(PathBuf),
    /// Objects in an S3-compatible store, with a local spool.
    S3(Arc<Remote>),
}

/// Where a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioPlace {
    /// A file of this machine: in the audio directory, or in the spool, not uploaded yet.
    Local,
    /// An object in the store.
    Store,
}

/// A recording as [`AudioStore::list`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAudio {
    /// The call.
    pub call_id: CallId,
    /// Size of the sealed recording.
    pub bytes: u64,
    /// Where it is. A recording that is uploaded at this moment may be at both places; it is listed once, as local.
    pub place: AudioPlace,
}

/// Whoever knows which recordings are still to be kept: this module knows no calls. Asked before an upload, because the
/// recording may have been erased by a machine that does not see this spool, and after it, because it may have been
/// erased meanwhile.
pub(crate) trait Wanted: Sync {
    fn is_wanted(&self, id: &CallId) -> impl Future<Output = Result<bool>> + Send;
}

/// Every recording is to be kept.
struct All;

impl Wanted for All {
    async fn is_wanted(&self, _: &CallId) -> Result<bool> {
        Ok(true)
    }
}

/// What [`AudioStore::delete`] could reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// No copy is left that the store knows of.
    Everything {
        /// Files, objects and old versions that were removed.
        copies: u64,
    },
    /// The recording is gone from sight, but the store does not let us list (or remove) older versions. They are unreadable
    /// once the key of the call is destroyed; to remove them too, permit `s3:ListBucketVersions` and
    /// `s3:DeleteObjectVersion`.
    VersionsMayRemain,
}

impl AudioStore {
    /// Creates the local directory (for this user only). Nothing is sent yet; [`AudioStore::check`] does that. Blocks
    /// briefly on the file system.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for settings that cannot be used, [`StoreError::Unavailable`] when the directory cannot be
    /// made.
    pub fn open(config: AudioConfig) -> Result<Self> {
        match config.location {
            AudioLocation::Directory(path) => {
                create_private_dir(&path).doing("create the audio directory")?;
                Ok(Self::Directory(path))
            }
            AudioLocation::S3(s3) => {
                create_private_dir(&config.spool).doing("create the audio spool")?;
                Ok(Self::S3(Arc::new(Remote::new(s3, config.spool)?)))
            }
        }
    }

    /// Checks that recordings can be kept: that the directory is one, or that the object store answers and knows us.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], whose source says why.
    pub async fn check(&self) -> Result<()> {
        std::fs::read_dir(self.local_dir()).doing("read the audio directory")?;
        match self {
            Self::Directory(_) => Ok(()),
            Self::S3(remote) => remote.check().await,
        }
    }

    /// The directory in which recordings are written: the audio directory, or the spool.
    #[must_use]
    pub fn local_dir(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::S3(remote) => remote.spool(),
        }
    }

    /// Tells where recordings go on whose disk takes nothing: until both parts are one, nothing of them is uploaded.
    pub(crate) fn set_spare(&self, dir: &Path) {
        if let Self::S3(remote) = self {
            remote.set_spare(dir);
        }
    }

    /// Starts the recording of a call. Blocks briefly on the file system.
    ///
    /// # Errors
    /// As [`RecordingWriter::create`].
    pub fn create(&self, id: &CallId, key: DataKey) -> Result<RecordingWriter> {
        RecordingWriter::create(self.local_dir(), id, key)
    }

    /// To be called when the writer of a recording has finished or was dropped: brings it to where it is kept. May take
    /// minutes on a slow line, so nobody should wait for it. Does nothing when there is no such recording here.
    ///
    /// # Errors
    /// The recording stays in the spool: [`StoreError::Conflict`] while it is still being written or already being
    /// uploaded, [`StoreError::Unavailable`] after a few attempts.
    pub async fn finish(&self, id: &CallId) -> Result<()> {
        self.finish_wanted(id, &All).await
    }

    /// As [`AudioStore::finish`], if the recording is wanted; otherwise it is removed, here and from the store.
    pub(crate) async fn finish_wanted(&self, id: &CallId, wanted: &impl Wanted) -> Result<()> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::S3(remote) => remote.finish(id, wanted).await,
        }
    }

    /// Uploads what is left in the spool: at start, and now and then. Recordings that are being written are passed over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the spool cannot be read. Uploads that fail are counted in the answer and stay in
    /// the spool.
    pub async fn resume_uploads(&self) -> Result<Resumed> {
        self.resume_wanted(&All).await
    }

    /// As [`AudioStore::resume_uploads`], of the recordings that are wanted; the others are removed, here and from the
    /// store.
    pub(crate) async fn resume_wanted(&self, wanted: &impl Wanted) -> Result<Resumed> {
        match self {
            Self::Directory(_) => Ok(Resumed::default()),
            Self::S3(remote) => remote.resume_uploads(wanted).await,
        }
    }

    /// Opens the recording of a call, also while it is being written. A recording in the object store is first fetched
    /// into a nameless file of the spool, which vanishes with the reader. Reading on blocks on the file system.
    ///
    /// # Errors
    /// As [`RecordingReader::open`]; [`StoreError::Unavailable`] when the store does not answer.
    pub async fn read(&self, id: &CallId, key: DataKey) -> Result<RecordingReader> {
        RecordingReader::from_source(self.read_sealed(id).await?, id, key)
    }

    /// The sealed bytes of a recording, for a backup: a file to be read from its beginning.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the call has no recording, [`StoreError::Unavailable`] when it cannot be had.
    pub async fn read_sealed(&self, id: &CallId) -> Result<File> {
        match (open_local(self.local_dir(), id)?, self) {
            (Some(file), _) => Ok(file),
            (None, Self::Directory(_)) => Err(StoreError::NotFound { what: "recording" }),
            (None, Self::S3(remote)) => match remote.fetch(id).await {
                // A call whose upload ended between the two looks is in the store; one that was never there is in neither.
                Err(StoreError::NotFound { what }) => {
                    open_local(remote.spool(), id)?.ok_or(StoreError::NotFound { what })
                }
                file => file,
            },
        }
    }

    /// Removes the recording of a call, wherever it is and in all its versions; harmless when there is none. An upload that
    /// is under way is stopped or undone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: something may be left, and the deletion is to be repeated.
    pub async fn delete(&self, id: &CallId) -> Result<Erased> {
        let copies = remove_local(self.local_dir(), id)?;
        match self {
            Self::Directory(_) => Ok(Erased::Everything { copies }),
            Self::S3(remote) => remote.delete(id, copies).await,
        }
    }

    /// All recordings, by call, for a backup or to look for some that belong to no call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when directory or store cannot be read, [`StoreError::Unsupported`] when there are more
    /// than a million.
    pub async fn list(&self) -> Result<Vec<StoredAudio>> {
        // The store first: a recording that moves meanwhile is then seen at least once.
        let mut found = match self {
            Self::Directory(_) => BTreeMap::new(),
            Self::S3(remote) => remote.list().await?,
        };
        for (id, bytes) in local_recordings(self.local_dir())? {
            found.insert(id.as_str().to_owned(), StoredAudio { call_id: id, bytes, place: AudioPlace::Local });
        }
        Ok(found.into_values().collect())
    }

    /// What became of uploads since the program started; `None` for a directory.
    #[must_use]
    pub fn upload_counts(&self) -> Option<UploadCounts> {
        match self {
            Self::Directory(_) => None,
            Self::S3(remote) => Some(remote.counts()),
        }
    }

    /// How many recordings, and how many bytes, lie in the spool (also those being written); `None` for a directory.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the spool cannot be read.
    pub fn spooled(&self) -> Result<Option<(u64, u64)>> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::S3(remote) => {
                let waiting = local_recordings(remote.spool())?;
                Ok(Some((waiting.len() as u64, waiting.iter().map(|(_, bytes)| bytes).sum())))
            }
        }
    }
}

/// The call a recording belongs to, by the name of its file or object.
fn call_of(name: &str) -> Option<CallId> {
    name.strip_suffix(SUFFIX).and_then(|id| CallId::parse(id).ok())
}

fn open_local(dir: &Path, id: &CallId) -> Result<Option<File>> {
    match File::open(dir.join(file_name(id))) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some).doing("open a recording"),
    }
}

/// Removes a local recording for good and says how many files that were.
pub(crate) fn remove_local(dir: &Path, id: &CallId) -> Result<u64> {
    let removed = match std::fs::remove_file(dir.join(file_name(id))) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        removed => removed.map(|()| 1).doing("erase a recording")?,
    };
    // Without this the name might come back after a power cut.
    File::open(dir).and_then(|dir| dir.sync_all()).doing("erase a recording")?;
    Ok(removed)
}

/// The recordings in a directory and their sizes. Other files are none of ours.
pub(crate) fn local_recordings(dir: &Path) -> Result<Vec<(CallId, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).doing("list recordings")? {
        let entry = entry.doing("list recordings")?;
        let Some(id) = entry.file_name().to_str().and_then(call_of) else { continue };
        // It may have been uploaded or erased since.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            found.push((id, metadata.len()));
        }
        if found.len() > MAX_LISTED {
            return Err(too_many());
        }
    }
    Ok(found)
}

fn too_many() -> StoreError {
    StoreError::Unsupported { what: "listing more than a million recordings", instead: "split the installation" }
}

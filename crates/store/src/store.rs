//! The store itself: opening it with the right key, and what is common to all records.

use crate::db::{Db, Domain, Engine, On, Scope, Tx, query, query_scalar};
use crate::error::Doing;
use crate::group::GroupCommit;
use crate::ids::{new_id, now_ms};
use crate::kms::KeyService;
use crate::objects::{AudioConfig, AudioLocation, AudioStore, Erased, Resumed, Wanted, local_recordings, remove_local};
use crate::recording::{Joined, join};
use crate::root_keys;
use crate::vault::Vault;
use crate::{CallHandle, RecordingReader, RecordingWriter, Result, Spool, SpoolLimits, StoreError};
use clinic::CallId;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where the store keeps things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `sqlite://PATH`, or `sqlite::memory:` for tests. Missing files and directories are created, for this user only.
    pub database_url: String,
    /// Directory of the recordings; created when missing. For an object store see [`StorePlaces`].
    pub audio_dir: PathBuf,
}

/// As [`StoreConfig`], with recordings in a directory or in an object store.
#[derive(Debug, Clone)]
pub struct StorePlaces {
    /// `sqlite://PATH`, `sqlite::memory:` for tests, or `postgresql://...`.
    pub database_url: String,
    /// Where recordings are kept.
    pub audio: AudioConfig,
}

impl From<StoreConfig> for StorePlaces {
    fn from(config: StoreConfig) -> Self {
        let location = AudioLocation::Directory(config.audio_dir.clone());
        Self { database_url: config.database_url, audio: AudioConfig { location, spool: config.audio_dir } }
    }
}

/// Encrypted records and recordings. Cheap to clone: clones share the same database.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    /// The access it is used in.
    pub(crate) scope: Option<Scope>,
    /// On whose behalf it is used, where that is not the server's.
    pub(crate) actor: Option<crate::audit::Actor>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) service: KeyService,
    pub(crate) vault: Vault,
    pub(crate) events: GroupCommit,
    pub(crate) server_id: String,
    pub(crate) audio: AudioStore,
    /// Where a backup of the keys is kept.
    pub(crate) key_backup: OnceLock<PathBuf>,
    /// Where recordings go on when their disk takes nothing.
    pub(crate) spare_audio: OnceLock<PathBuf>,
}

/// What became of recordings that went on in the spool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinedRecordings {
    /// How many are one file again.
    pub whole: u64,
    /// Calls that the database does not know, of which the spool has a recording.
    pub orphans: Vec<CallId>,
}

const PING: &str = "SELECT COUNT(*) FROM meta";
const WANTED: &str = "SELECT COUNT(*) FROM calls WHERE id = $1 AND recording <> ''";
const REFUSED: &str = "INSERT INTO audio_removals (call_id, since_us) SELECT id, $2 FROM calls \
     WHERE id = $1 AND recording <> '' ON CONFLICT (call_id) DO NOTHING";
const NOT_RECORDED: &str = "UPDATE calls SET recording = '' WHERE id = $1 AND recording <> ''";
const REMOVED: &str = "DELETE FROM audio_removals WHERE call_id = $1";

impl Store {
    /// Opens the store, creating or migrating it as needed. `keys` is the master key or a key service. Blocks briefly on
    /// the file system.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when the database's keys are wrapped by another master key or service,
    /// [`StoreError::Invalid`] for an address that is none, [`StoreError::Unavailable`] when files cannot be created or
    /// opened, or a server or a key service does not answer.
    pub async fn open(places: impl Into<StorePlaces>, keys: impl Into<KeyService>) -> Result<Self> {
        let StorePlaces { database_url, audio } = places.into();
        if let AudioLocation::Directory(path) = &audio.location
            && path.to_str().is_some_and(|path| path.starts_with("s3:"))
        {
            return Err(StoreError::Unsupported {
                what: "an s3:// address as a directory",
                instead: "give the settings of the object store",
            });
        }
        let audio = AudioStore::open(audio)?;
        let db = Db::open(&database_url).await?;
        let service = keys.into();
        let vault = Vault::new(root_keys::load(&db, &service).await?)?;
        let server_id = new_id(now_ms())?;
        let events = GroupCommit::default();
        let (key_backup, spare_audio) = (OnceLock::new(), OnceLock::new());
        let inner = Inner { db, service, vault, events, server_id, audio, key_backup, spare_audio };
        Ok(Self { inner: Arc::new(inner), scope: None, actor: None })
    }

    /// Takes over key-encryption keys that another process has made or destroyed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::WrongKey`].
    pub async fn refresh_keys(&self) -> Result<()> {
        let vault = &self.inner.vault;
        let mut conn = self.reader().await?;
        let keks = root_keys::keks(&mut conn, &self.inner.service, &vault.known()).await?;
        conn.commit().await.doing("read the installation's keys")?;
        vault.renew(keks);
        Ok(())
    }

    /// Makes sure that new data keys are wrapped by the key that is active now.
    pub(crate) async fn follow_keys(&self) -> Result<()> {
        if root_keys::active(self.read()).await? != self.inner.vault.active() {
            self.refresh_keys().await?;
        }
        Ok(())
    }

    /// Where a statement that only reads runs.
    pub(crate) fn read(&self) -> On<'_> {
        On::Read(&self.inner.db, self.scope.as_ref())
    }

    /// Where a single statement that changes something runs.
    pub(crate) fn write(&self) -> On<'_> {
        On::Write(&self.inner.db, self.scope.as_ref())
    }

    /// A connection to read several things on.
    pub(crate) async fn reader(&self) -> Result<Tx> {
        self.inner.db.read(self.scope.as_ref()).await
    }

    /// A transaction; inside an access a part of it.
    pub(crate) async fn begin(&self, domain: Domain) -> Result<Tx> {
        self.inner.db.begin(self.scope.as_ref(), domain).await
    }

    /// Which process this is: a new identifier for each time the store is opened.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.inner.server_id
    }

    /// Which engine the records are in.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.inner.db.engine()
    }

    /// A secret that all servers of this database share, for one purpose, such as signing tickets.
    #[must_use]
    pub fn shared_secret(&self, purpose: &str) -> [u8; 32] {
        self.inner.vault.shared_secret(purpose)
    }

    /// Checks that the database answers, for a health report.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<()> {
        query_scalar::<i64>(PING).fetch_one(self.read()).await.doing("read the database").map(drop)
    }

    /// Waits for running requests and closes the database. Everything acknowledged is durable without it too; closing
    /// tidies the write-ahead log into the main file.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    /// The directory in which recordings are written: where they stay, or the spool from which they are uploaded.
    #[must_use]
    pub fn audio_dir(&self) -> &Path {
        self.inner.audio.local_dir()
    }

    /// Where recordings are kept. What became of uploads, and what is left in the spool, is asked there.
    #[must_use]
    pub fn audio(&self) -> &AudioStore {
        &self.inner.audio
    }

    /// Starts the recording of a call. Blocks briefly on the file system. When the writer is gone, call
    /// [`Store::finish_recording`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the call has a recording, [`StoreError::Unavailable`] when the file cannot be made.
    pub fn recording_writer(&self, call: &CallHandle) -> Result<RecordingWriter> {
        self.inner.audio.create(&call.id, call.data_key().clone())
    }

    /// As [`Store::recording_writer`], which goes on in the spool when the disk of the recordings takes nothing. When the
    /// writer is gone, and now and then, call [`Store::join_recordings`].
    ///
    /// # Errors
    /// As [`Store::recording_writer`], when the spool takes nothing either.
    pub fn recording_writer_with(&self, call: &CallHandle, spool: &Spool) -> Result<RecordingWriter> {
        let _ = self.inner.spare_audio.set(spool.audio_dir().to_owned());
        let (dir, key) = (self.audio_dir(), call.data_key().clone());
        RecordingWriter::create_with_spare(dir, spool.audio_dir(), &call.id, key)
    }

    /// Opens the spool of this installation in `dir`.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_spool(&self, dir: &Path, limits: SpoolLimits) -> Result<Spool> {
        let spool = Spool::open(dir, &self.shared_secret("spool"), limits)?;
        let _ = self.inner.spare_audio.set(spool.audio_dir().to_owned());
        self.inner.audio.set_spare(spool.audio_dir());
        Ok(spool)
    }

    /// Puts recordings together again that went on in the spool; those that are not wanted any more are removed. Says how
    /// many are whole now, and which belong to calls that the database does not know: these stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the disk of the recordings or the database takes nothing; what is left is looked
    /// at again. [`StoreError::Corrupt`] names a recording of which something is missing.
    pub async fn join_recordings(&self, spool: &Spool) -> Result<JoinedRecordings> {
        let (mut joined, mut failed) = (JoinedRecordings::default(), None);
        let spare = spool.audio_dir().to_owned();
        let listed = spare.clone();
        for (id, _) in off_the_runtime(move || local_recordings(&listed)).await? {
            let wanted = match self.call_handle(&id).await {
                Ok(_) => self.is_wanted(&id).await?,
                Err(StoreError::Sealed { .. }) => false,
                Err(StoreError::NotFound { .. }) => {
                    joined.orphans.push(id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (dir, spare) = (self.audio_dir().to_owned(), spare.clone());
            let work = move || {
                if wanted { join(&dir, &spare, &id) } else { remove_local(&spare, &id).map(|_| Joined::Nothing) }
            };
            match off_the_runtime(work).await {
                Ok(Joined::Whole) => joined.whole += 1,
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(joined), Err)
    }

    /// Removes what the spool has of a recording; harmless when that is nothing.
    pub(crate) fn remove_spare(&self, id: &CallId) -> Result<()> {
        match self.inner.spare_audio.get() {
            Some(dir) => remove_local(dir, id).map(drop),
            None => Ok(()),
        }
    }

    /// Brings the recording of an ended call to where it is kept; see [`AudioStore::finish`]. One that was erased
    /// meanwhile, also by another machine, is removed instead.
    ///
    /// # Errors
    /// As [`AudioStore::finish`]; [`Store::resume_uploads`] tries again.
    pub async fn finish_recording(&self, id: &CallId) -> Result<()> {
        self.inner.audio.finish_wanted(id, self).await
    }

    /// Brings recordings that were left in the spool to where they are kept: at start, and now and then. Those that were
    /// erased meanwhile, also by another machine, are removed instead.
    ///
    /// # Errors
    /// As [`AudioStore::resume_uploads`].
    pub async fn resume_uploads(&self) -> Result<Resumed> {
        self.inner.audio.resume_wanted(self).await
    }

    /// Removes the recording of a call whose patient did not want one; harmless when there is none. From then on the call
    /// has none, and what cannot be removed now is tried again by [`Store::finish_erasures`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be removed; repeat it.
    pub async fn erase_recording(&self, id: &CallId) -> Result<Erased> {
        // A database that does not answer is no reason to keep what was refused.
        let noted = self.note_refusal(id).await;
        self.remove_spare(id)?;
        let erased = self.inner.audio.delete(id).await?;
        noted?;
        query(REMOVED).bind(id.as_str()).execute(self.write()).await.doing("erase a recording")?;
        Ok(erased)
    }

    async fn note_refusal(&self, id: &CallId) -> Result<()> {
        let doing = "erase a recording";
        let now_us = i64::try_from(now_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
        let mut tx = self.begin(Domain::None).await?;
        query(REFUSED).bind(id.as_str()).bind(now_us).execute(&mut tx).await.doing(doing)?;
        query(NOT_RECORDED).bind(id.as_str()).execute(&mut tx).await.doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Opens the recording of a call, also while it is being written. Reading on blocks on the file system.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such call or it has no recording, [`StoreError::Sealed`] when it was
    /// erased, [`StoreError::Unavailable`] when the object store does not answer.
    pub async fn open_recording(&self, id: &CallId) -> Result<RecordingReader> {
        self.open_recording_of(&self.recorded_call(id).await?).await
    }

    /// The handle of a call whose recording is kept.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such call or its recording is not wanted (any more),
    /// [`StoreError::Sealed`] when the patient was erased.
    pub async fn recorded_call(&self, id: &CallId) -> Result<CallHandle> {
        let call = self.call_handle(id).await?;
        if !self.is_wanted(id).await? {
            return Err(StoreError::NotFound { what: "recording" });
        }
        Ok(call)
    }

    /// As [`Store::open_recording`], of a call from [`Store::recorded_call`]: nothing is asked of the database.
    ///
    /// # Errors
    /// As [`Store::open_recording`].
    pub async fn open_recording_of(&self, call: &CallHandle) -> Result<RecordingReader> {
        self.inner.audio.read(&call.id, call.data_key().clone()).await
    }
}

/// Does what waits for the disk on a thread that may.
pub(crate) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |_| Err(StoreError::Unavailable { doing: "use the disk", source: "the thread ended".into() });
    tokio::task::spawn_blocking(work).await.unwrap_or_else(stopped)
}

impl Wanted for Store {
    async fn is_wanted(&self, id: &CallId) -> Result<bool> {
        let there = query_scalar(WANTED).bind(id.as_str()).fetch_one(self.read()).await;
        there.doing("look whether a recording is kept").map(|there: i64| there > 0)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("key_id", &self.inner.vault.active()).finish_non_exhaustive()
    }
}

//! The store itself: opening it with the right key, and what is common to all records.

use crate::db::{Db, create_private_dir};
use crate::error::Doing;
use crate::group::GroupCommit;
use crate::vault::Vault;
use crate::{CallHandle, MasterKey, RecordingReader, RecordingWriter, Result, StoreError};
use clinic::CallId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the store keeps things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `sqlite://PATH`, or `sqlite::memory:` for tests. Missing files and directories are created, for this user only.
    pub database_url: String,
    /// Directory of the recordings; created when missing.
    pub audio_dir: PathBuf,
}

/// Encrypted records and recordings. Cheap to clone: clones share the same database.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) vault: Vault,
    pub(crate) events: GroupCommit,
    pub(crate) audio_dir: PathBuf,
}

const META_PUT: &str = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const META_GET: &str = "SELECT value FROM meta WHERE name = $1";
const PING: &str = "SELECT COUNT(*) FROM meta";

impl Store {
    /// Opens the store, creating or migrating it as needed. Blocks briefly on the file system.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when the database was created under another master key, [`StoreError::Unsupported`] for
    /// engines and audio stores that this version does not have, [`StoreError::Invalid`] for an address that is none,
    /// [`StoreError::Unavailable`] when files cannot be created or opened.
    pub async fn open(config: StoreConfig, master: MasterKey) -> Result<Self> {
        if config.audio_dir.to_str().is_some_and(|path| path.starts_with("s3:")) {
            return Err(StoreError::Unsupported {
                what: "an s3:// AUDIO_STORE",
                instead: "set AUDIO_STORE to a directory",
            });
        }
        create_private_dir(&config.audio_dir).doing("create the audio directory")?;
        let vault = Vault::new(&master)?;
        let db = Db::open(&config.database_url).await?;
        let store =
            Self { inner: Arc::new(Inner { db, vault, events: GroupCommit::default(), audio_dir: config.audio_dir }) };
        store.check_key().await?;
        Ok(store)
    }

    /// Refuses a key that is not the database's own. The first key ever used becomes it.
    async fn check_key(&self) -> Result<()> {
        let (Db::Sqlite(db), vault) = (&self.inner.db, &self.inner.vault);
        let mut tx = db.begin().await?;
        for (name, value) in [("key_id", vault.key_id().as_bytes().to_vec()), ("canary", vault.seal_canary()?)] {
            sqlx::query(META_PUT).bind(name).bind(value).execute(&mut *tx).await.doing("write the key's canary")?;
        }
        let mut stored = Vec::with_capacity(2);
        for name in ["key_id", "canary"] {
            let value: Vec<u8> =
                sqlx::query_scalar(META_GET).bind(name).fetch_one(&mut *tx).await.doing("read the key's canary")?;
            stored.push(value);
        }
        tx.commit().await.doing("write the key's canary")?;
        let (key_id, canary) =
            (stored.first().map_or(&[][..], Vec::as_slice), stored.last().map_or(&[][..], Vec::as_slice));
        if key_id != vault.key_id().as_bytes() {
            return Err(StoreError::WrongKey {
                given: vault.key_id().to_owned(),
                expected: String::from_utf8_lossy(key_id).into_owned(),
            });
        }
        if vault.canary_opens(canary) { Ok(()) } else { Err(StoreError::corrupt("the key's canary")) }
    }

    /// Checks that the database answers, for a health report.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<()> {
        let Db::Sqlite(db) = &self.inner.db;
        sqlx::query_scalar::<_, i64>(PING).fetch_one(&db.readers).await.doing("read the database").map(drop)
    }

    /// Waits for running requests and closes the database. Everything acknowledged is durable without it too; closing
    /// tidies the write-ahead log into the main file.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    /// The directory of the recordings.
    #[must_use]
    pub fn audio_dir(&self) -> &Path {
        &self.inner.audio_dir
    }

    /// Starts the recording of a call. Blocks briefly on the file system.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the call has a recording, [`StoreError::Unavailable`] when the file cannot be made.
    pub fn recording_writer(&self, call: &CallHandle) -> Result<RecordingWriter> {
        RecordingWriter::create(&self.inner.audio_dir, &call.id, call.data_key().clone())
    }

    /// Removes the recording of a call whose patient did not want one; harmless when there is none. Blocks briefly on the
    /// file system.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be removed.
    pub fn erase_recording(&self, id: &CallId) -> Result<()> {
        let path = self.inner.audio_dir.join(crate::recording::file_name(id));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing("erase a recording"),
            _ => std::fs::File::open(&self.inner.audio_dir).and_then(|dir| dir.sync_all()).doing("erase a recording"),
        }
    }

    /// Opens the recording of a call, also while it is being written. Reading on blocks on the file system.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such call or it has no recording, [`StoreError::Sealed`] when it was
    /// erased.
    pub async fn open_recording(&self, id: &CallId) -> Result<RecordingReader> {
        let call = self.call_handle(id).await?;
        RecordingReader::open(&self.inner.audio_dir, id, call.data_key().clone())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("key_id", &self.inner.vault.key_id()).finish_non_exhaustive()
    }
}

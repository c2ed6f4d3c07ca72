//! Backups of the embedded store: made while the server runs, consistent, encrypted, and without the keys of the records.
//!
//! A backup is two files. The *archive* holds a copy of the database as it was at one moment, and the recordings (sealed,
//! as they are). It holds no keys: if it did, restoring it would bring back everybody who was erased since. The *file of
//! the keys* holds the wrapped data keys and the installation's own keys; it is small, is written anew whenever somebody is
//! erased or the keys are rotated ([`Store::keep_key_backup`]), and of it the newest copy alone is to be kept. Yesterday's
//! archive and today's keys restore everything but what was erased in between. One process writes it at a time, and reads
//! the keys when its turn has come: what was destroyed before is not in it.
//!
//! Both are encrypted once more, each under a random key that the key service wraps (see [`archive`]), so that the copies
//! show neither when who was called nor that there was a backup of theirs at all.
//!
//! PostgreSQL brings its own tools for the database; for its keys there are [`Store::export_keys`] and [`restore_keys`].

mod archive;
mod keys;
mod restore;

pub use restore::{
    RestorePlan, Restored, RestoredKeys, backup_wrapped_by, restore_backup, restore_keys, verify_backup,
};

use crate::audit::{Actor, NewEntry};
use crate::db::{Engine, migrate_copy, query, query_scalar};
use crate::error::Doing;
use crate::kms::KeyService;
use crate::{Result, Store, StoreError};
use archive::{ArchiveWriter, Sum, create_beside};
use clinic::CallId;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Names of entries; recordings are called by the names of their files.
const DATABASE: &str = "database";
const MANIFEST: &str = "manifest";
/// Keys are backed up apart. Sessions, one-time links and answers to repeated requests end with a restore; servers and
/// their leases are of the moment.
const LEFT_OUT: [&str; 7] =
    ["data_keys", "root_keys", "sessions", "invitations", "idempotency_keys", "servers", "leases"];
const RECORDINGS_PAGE: i64 = 1_000;
const LIVE_FILE: &str = "SELECT file FROM pragma_database_list WHERE name = 'main'";
const LAST_SET: &str = "INSERT INTO meta (name, value) VALUES ('last_backup_us', $1) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const LAST: &str = "SELECT value FROM meta WHERE name = 'last_backup_us'";

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// When it was made, in microseconds since the Unix epoch.
    pub made_at_us: i64,
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// Recordings.
    pub recordings: u64,
    /// Recordings that calls name but that were not there, as of a call without any sound.
    pub without_recording: u64,
    /// Number of the last entry of the audit trail, and its hash.
    pub audit: (u64, String),
    /// Bytes of database and recordings.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    v: u32,
    program_version: String,
    summary: BackupSummary,
    sum: Sum,
}

impl Store {
    /// Makes a backup of the embedded store in `archive`, and of its keys in `keys`, which is replaced if it is there.
    /// Calls go on meanwhile. Needs room for one copy of the database beside the archive; blocks on the file system.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] on PostgreSQL and in memory, [`StoreError::Conflict`] when `archive` exists,
    /// [`StoreError::Unavailable`]; then no file of that name is left.
    pub async fn create_backup(
        &self,
        archive: &Path,
        keys: &Path,
        with_recordings: bool,
        by: &Actor,
        now_us: i64,
    ) -> Result<BackupSummary> {
        if self.engine() == Engine::Postgres {
            return Err(StoreError::Unsupported {
                what: "a backup of PostgreSQL",
                instead: "use pg_dump with --exclude-table-data for data_keys, root_keys and idempotency_keys, and \
                          `heartvoice backup keys --to FILE` beside it; back come the keys by `heartvoice backup \
                          restore-keys`",
            });
        }
        let live: String = query_scalar(LIVE_FILE).fetch_one(self.read()).await.doing("find the database file")?;
        if live.is_empty() {
            return Err(StoreError::Unsupported {
                what: "a backup of a database in memory",
                instead: "set DATABASE_URL to a file",
            });
        }
        let mut writer = ArchiveWriter::create(archive, "records", &self.inner.service, false).await?;
        let scratch = Scratch::create(archive)?;
        let mut copy = copy_database(&scratch.0, &live).await?;
        let mut summary = BackupSummary {
            made_at_us: now_us,
            tables: tables_of(&mut copy).await?,
            recordings: 0,
            without_recording: 0,
            audit: audit_head(&mut copy).await?,
            bytes: 0,
        };
        writer.entry(DATABASE, File::open(&scratch.0).doing("read the copy of the database")?)?;
        if with_recordings {
            self.add_recordings(&mut writer, &mut copy, &mut summary).await?;
        }
        copy.close().await.doing("close the copy of the database")?;
        summary.bytes = writer.sum().bytes;
        let program_version = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { v: 1, program_version, summary, sum: writer.sum() };
        writer.entry(MANIFEST, serde_json::to_vec(&manifest).doing("write a backup")?.as_slice())?;
        // As late as can be: who was erased while the recordings were copied is not to come back, and keys that are newer
        // than the archive open all that is in it.
        self.export_keys(keys).await?;
        writer.finish()?;
        drop(scratch);
        let stamp = now_us.to_string().into_bytes();
        query(LAST_SET).bind(stamp).execute(self.write()).await.doing("note the backup")?;
        let summary = manifest.summary;
        let entry = NewEntry::new(by.clone(), "backup.create").detail("recordings", summary.recordings);
        self.record(&[entry.detail("calls", summary.tables.get("calls").copied().unwrap_or(0))]).await?;
        Ok(summary)
    }

    async fn add_recordings(
        &self,
        writer: &mut ArchiveWriter,
        copy: &mut SqliteConnection,
        summary: &mut BackupSummary,
    ) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = sqlx::query("SELECT id FROM calls WHERE recording <> '' AND id > $1 ORDER BY id LIMIT $2");
            let page = page.bind(&after).bind(RECORDINGS_PAGE).fetch_all(&mut *copy).await;
            let page = page.doing("list the recordings")?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.try_get(0).doing("list the recordings")?;
            for row in &page {
                let id: String = row.try_get(0).doing("list the recordings")?;
                let id = CallId::parse(&id).map_err(|_| StoreError::corrupt("a call identifier"))?;
                match self.sealed_recording(&id).await? {
                    Some(file) => {
                        writer.entry(&crate::recording::file_name(&id), file)?;
                        summary.recordings += 1;
                    }
                    None => summary.without_recording += 1,
                }
            }
        }
    }

    /// The sealed bytes of a recording as they are, if there is one.
    async fn sealed_recording(&self, id: &CallId) -> Result<Option<File>> {
        match self.inner.audio.read_sealed(id).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            file => file.map(Some),
        }
    }

    /// Writes the keys of the records to a file of their own, in place of the one before; says how many. On either engine.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Busy`] when others write it for long, [`StoreError::WrongKey`] when the
    /// master key was exchanged since this store was opened: open it again under the new one. Then the file is as it was.
    pub async fn export_keys(&self, to: &Path) -> Result<u64> {
        self.export_keys_under(to, &self.inner.service).await
    }

    async fn export_keys_under(&self, to: &Path, service: &KeyService) -> Result<u64> {
        let turn = keys::Turn::wait(to).await?;
        let rows = keys::read_all(self.read()).await?;
        keys::write(&turn, service, &rows).await
    }

    /// From now on keeps a backup of the keys in this file: it is written when somebody is erased and when the keys are
    /// rotated, so that no copy of a destroyed key stays behind. Only the first call counts.
    pub fn keep_key_backup(&self, to: PathBuf) {
        let _ = self.inner.key_backup.set(to);
    }

    /// Writes the backup of the keys anew, where one is kept; says whether there is one.
    ///
    /// # Errors
    /// As [`Store::export_keys`].
    pub async fn renew_key_backup(&self) -> Result<bool> {
        self.renew_key_backup_under(&self.inner.service).await
    }

    pub(crate) async fn renew_key_backup_under(&self, service: &KeyService) -> Result<bool> {
        match self.inner.key_backup.get() {
            Some(to) => self.export_keys_under(to, service).await.map(|_| true),
            None => Ok(false),
        }
    }

    /// When the last backup was made, in microseconds since the Unix epoch; `None` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn last_backup_us(&self) -> Result<Option<i64>> {
        let value: Option<Vec<u8>> =
            query_scalar(LAST).fetch_optional(self.read()).await.doing("read the last backup")?;
        Ok(value.and_then(|value| String::from_utf8(value).ok()).and_then(|text| text.parse().ok()))
    }
}

/// The copy of the database on its way into the archive. It holds sealed values only, and no keys.
struct Scratch(PathBuf);

impl Scratch {
    fn create(archive: &Path) -> Result<Self> {
        create_beside(archive, ".copying").map(|(path, _)| Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Copies everything but the keys into an empty database, as of one moment.
async fn copy_database(scratch: &Path, live: &str) -> Result<SqliteConnection> {
    let doing = "copy the database";
    let options = SqliteConnectOptions::new()
        .filename(scratch)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    let mut copy = SqliteConnection::connect_with(&options).await.doing(doing)?;
    migrate_copy(&mut copy).await?;
    sqlx::query("ATTACH DATABASE $1 AS live").bind(live).execute(&mut copy).await.doing(doing)?;
    // All reads of one transaction see the database as it was at the first; in WAL mode nobody waits for them.
    sqlx::query("BEGIN").execute(&mut copy).await.doing(doing)?;
    let names = sqlx::query(
        "SELECT name FROM live.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' \
         ESCAPE '\\' ORDER BY name",
    );
    for row in names.fetch_all(&mut copy).await.doing(doing)? {
        let table: String = row.try_get(0).doing(doing)?;
        if LEFT_OUT.contains(&table.as_str()) || !is_plain(&table) {
            continue;
        }
        let text = format!("INSERT INTO main.{table} SELECT * FROM live.{table}");
        sqlx::query(AssertSqlSafe(text)).execute(&mut copy).await.doing(doing)?;
    }
    sqlx::query("COMMIT").execute(&mut copy).await.doing(doing)?;
    sqlx::query("DETACH DATABASE live").execute(&mut copy).await.doing(doing)?;
    Ok(copy)
}

/// Names of tables come from our own schema; nothing else gets into a statement.
fn is_plain(table: &str) -> bool {
    table.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Rows of each table of ours that a backup holds.
async fn tables_of(conn: &mut SqliteConnection) -> Result<BTreeMap<String, u64>> {
    let doing = "count the rows of a backup";
    let names = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'");
    let mut tables = BTreeMap::new();
    for row in names.fetch_all(&mut *conn).await.doing(doing)? {
        let table: String = row.try_get(0).doing(doing)?;
        if table.starts_with('_') || LEFT_OUT.contains(&table.as_str()) || !is_plain(&table) {
            continue;
        }
        let text = format!("SELECT COUNT(*) FROM {table}");
        let count: i64 =
            sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *conn).await.and_then(|r| r.try_get(0)).doing(doing)?;
        tables.insert(table, u64::try_from(count).unwrap_or(0));
    }
    Ok(tables)
}

async fn audit_head(conn: &mut SqliteConnection) -> Result<(u64, String)> {
    let doing = "read the audit trail";
    let head =
        sqlx::query("SELECT seq, hash FROM audit_head WHERE name = 'head'").fetch_optional(conn).await.doing(doing)?;
    let Some(head) = head else { return Ok((0, String::new())) };
    let seq: i64 = head.try_get("seq").doing(doing)?;
    let hash: Vec<u8> = head.try_get("hash").doing(doing)?;
    Ok((u64::try_from(seq).unwrap_or(0), crate::audit::hex(&hash)))
}

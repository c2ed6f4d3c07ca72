//! SQLite: one file on this machine, write-ahead log, one writer.

use super::invalid_address;
use crate::{Result, error::Doing};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// Connections for reading. Readers never wait for the writer in WAL mode; four are enough for a dashboard beside calls.
const READERS: u32 = 4;
/// How long a statement waits for another process (a command beside the server) to release the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for its turn. A thousand calls writing at once are served well within it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// SQLite allows one writer at a time, so there is one connection for it: requests queue here in order, rather than
/// collide in the file.
pub(crate) struct SqliteDb {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
}

impl SqliteDb {
    pub(super) async fn open(database_url: &str) -> Result<Self> {
        if !database_url.starts_with("sqlite:") {
            return Err(invalid_address());
        }
        let Ok(options) = SqliteConnectOptions::from_str(database_url) else { return Err(invalid_address()) };
        let path = database_url.trim_start_matches("sqlite:").trim_start_matches("//");
        let in_memory = path == ":memory:" || database_url.contains("mode=memory");
        if path.is_empty() {
            return Err(invalid_address());
        }
        if !in_memory {
            create_private_file(options.get_filename()).doing("create the database file")?;
        }
        let options = options
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            // Freed pages are overwritten: the remains of a destroyed key must not linger in the file.
            .pragma("secure_delete", "ON")
            .pragma("temp_store", "MEMORY");
        // No idle time-out and no longest life: an in-memory database would end with its last connection.
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(ACQUIRE_TIMEOUT)
        };
        if in_memory {
            let both = pool(1).connect_with(options).await.doing("open the database")?;
            return Ok(Self { writer: both.clone(), readers: both });
        }
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1).connect_with(options.clone()).await.doing("open the database")?;
        let readers =
            pool(READERS).connect_with(options.pragma("query_only", "ON")).await.doing("open the database")?;
        Ok(Self { writer, readers })
    }

    /// Begins a transaction that already holds the write lock: one that read first and asked for it later could be refused
    /// half-way when another process writes in between.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.doing("begin a transaction")
    }
}

/// Creates a directory (and those above it) that only this user may enter.
pub(crate) fn create_private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates the file before SQLite does, because SQLite would let everybody read it. Its side files inherit the mode.
fn create_private_file(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_private_dir(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

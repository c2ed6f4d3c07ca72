//! The file of the keys: every data key and every key of the installation, wrapped as they are in the database.

use super::archive::{ArchiveReader, ArchiveWriter, remove_leftovers};
use crate::audit::{hex, unhex};
use crate::db::{Conn, On, query};
use crate::error::Doing;
use crate::kms::KeyService;
use crate::root_keys::check_wrapped_by;
use crate::{Result, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) const KIND: &str = "keys";
const RESTORING: &str = "restore the keys";
const ENTRY: &str = "keys";
/// Bytes of one line, at most.
const MAX_LINE: usize = 16 * 1024;
/// Lines are handed on in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;

// One statement, so that the keys are those of one moment: a rotation changes both tables.
const ALL: &str = "SELECT 'root' AS kept_in, purpose AS kind, id, wrapped_by AS key_id, wrapped AS wrapped_key, state, \
     created_at_us FROM root_keys WHERE wrapped IS NOT NULL \
     UNION ALL SELECT 'data', kind, id, key_id, wrapped_key, '', 0 FROM data_keys";
const PUT_ROOT: &str = "INSERT INTO root_keys (purpose, id, wrapped_by, wrapped, state, created_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const PUT_DATA: &str = "INSERT INTO data_keys (kind, id, key_id, wrapped_key) VALUES ($1, $2, $3, $4)";

/// What the name of the file ends with that says whose turn it is.
const LOCK: &str = ".lock";
/// How long others are waited for who write the same file, and between two looks. Writing takes seconds at most.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A row of `root_keys` or `data_keys`.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyRow {
    kept_in: String,
    kind: String,
    id: String,
    key_id: String,
    /// In hexadecimal.
    wrapped: String,
    state: String,
    created_at_us: i64,
}

impl KeyRow {
    fn is_root(&self) -> bool {
        self.kept_in == "root"
    }

    fn wrapped(&self) -> Result<Vec<u8>> {
        unhex(&self.wrapped).ok_or_else(|| StoreError::corrupt("a key in the file of the keys"))
    }
}

/// Reads all keys of the store.
pub(super) async fn read_all(on: On<'_>) -> Result<Vec<KeyRow>> {
    let doing = "read the keys";
    let rows = query(ALL).fetch_all(on).await.doing(doing)?;
    let read = |row: &crate::db::Row| {
        let text = |column| row.try_get::<String>(column).doing(doing);
        Ok(KeyRow {
            kept_in: text("kept_in")?,
            kind: text("kind")?,
            id: text("id")?,
            key_id: text("key_id")?,
            wrapped: hex(&row.try_get::<Vec<u8>>("wrapped_key").doing(doing)?),
            state: text("state")?,
            created_at_us: row.try_get("created_at_us").doing(doing)?,
        })
    };
    rows.iter().map(read).collect()
}

/// The turn to write a file of keys. Processes (a server, a command beside it) and tasks take turns by a lock on a file
/// beside it, which stays: whoever reads the keys later writes them later.
pub(super) struct Turn {
    to: PathBuf,
    /// Released when it is closed.
    _lock: File,
}

impl Turn {
    pub(super) async fn wait(to: &Path) -> Result<Self> {
        let doing = "lock the file of the keys";
        let lock = open_lock(to).doing(doing)?;
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if since.elapsed() < LOCK_WAIT => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy { what: "others are writing the file of the keys" });
                }
                Err(TryLockError::Error(error)) => return Err(error).doing(doing),
            }
        }
        remove_leftovers(to)?;
        Ok(Self { to: to.to_owned(), _lock: lock })
    }
}

/// The server and whoever gives commands may be different accounts: both must be able to open it. There is nothing in it.
fn open_lock(to: &Path) -> std::io::Result<File> {
    let mut name = to.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(LOCK);
    let path = to.with_file_name(name);
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(made) => {
            made.set_permissions(Permissions::from_mode(0o644))?;
            Ok(made)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&path).or_else(|_| File::open(&path))
        }
        Err(error) => Err(error),
    }
}

/// Writes the file of the keys, in place of the one before.
pub(super) async fn write(turn: &Turn, service: &KeyService, rows: &[KeyRow]) -> Result<u64> {
    // Under the former master key it could not be opened, nor what is in it.
    for row in rows.iter().filter(|row| row.is_root()) {
        check_wrapped_by(&row.key_id, service)?;
    }
    let mut writer = ArchiveWriter::create(&turn.to, KIND, service, true).await?;
    let mut entry = writer.begin(ENTRY)?;
    let mut piece = Vec::with_capacity(PIECE + MAX_LINE);
    for row in rows {
        serde_json::to_writer(&mut piece, row).doing("write the keys")?;
        piece.push(b'\n');
        if piece.len() >= PIECE {
            writer.piece(&mut entry, &piece)?;
            piece.clear();
        }
    }
    writer.piece(&mut entry, &piece)?;
    writer.end(entry)?;
    writer.finish()?;
    Ok(rows.len() as u64)
}

/// Reads the file of the keys to its end.
pub(super) async fn read(from: &Path, service: &KeyService) -> Result<Vec<KeyRow>> {
    let mut reader = ArchiveReader::open(from, KIND, service).await?;
    let mut entry = reader.next()?.filter(|entry| entry.name == ENTRY).ok_or_else(|| reader.damaged())?;
    let (mut rows, mut piece, mut line) = (Vec::new(), Vec::new(), Vec::new());
    while reader.piece(&mut entry, &mut piece)? {
        for byte in &piece {
            if *byte != b'\n' {
                line.push(*byte);
                if line.len() > MAX_LINE {
                    return Err(reader.damaged());
                }
                continue;
            }
            rows.push(serde_json::from_slice(&line).map_err(|_| reader.damaged())?);
            line.clear();
        }
    }
    if !line.is_empty() || reader.next()?.is_some() {
        return Err(reader.damaged());
    }
    Ok(rows)
}

/// Puts the keys into a copy that has none.
pub(super) async fn put_into_copy(conn: &mut SqliteConnection, rows: &[KeyRow]) -> Result<()> {
    for row in rows {
        let wrapped = row.wrapped()?;
        let put = sqlx::query(if row.is_root() { PUT_ROOT } else { PUT_DATA });
        let put = put.bind(&row.kind).bind(&row.id).bind(&row.key_id).bind(wrapped);
        let put = if row.is_root() { put.bind(&row.state).bind(row.created_at_us) } else { put };
        put.execute(&mut *conn).await.doing(RESTORING)?;
    }
    Ok(())
}

/// Puts the keys into a database that has none, on either engine.
pub(super) async fn put(tx: &mut Conn, rows: &[KeyRow]) -> Result<()> {
    for row in rows {
        let wrapped = row.wrapped()?;
        let put = query(if row.is_root() { PUT_ROOT } else { PUT_DATA });
        let put = put.bind(&row.kind).bind(&row.id).bind(&row.key_id).bind(wrapped);
        let put = if row.is_root() { put.bind(&row.state).bind(row.created_at_us) } else { put };
        put.execute(&mut *tx).await.doing(RESTORING)?;
    }
    Ok(())
}

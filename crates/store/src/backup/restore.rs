//! Checking a backup, and restoring it to where there is nothing yet.

use super::archive::{self, ArchiveReader, Entry, sync_folder};
use super::{BackupSummary, DATABASE, MANIFEST, Manifest, audit_head, keys, tables_of};
use crate::audit::Head;
use crate::db::{Db, Domain, create_private_dir, query_scalar};
use crate::error::Doing;
use crate::kms::KeyService;
use crate::vault::Vault;
use crate::{Result, StoreError, root_keys};
use clinic::CallId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{Connection, Row};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a manifest, at most.
const MAX_MANIFEST: usize = 64 * 1024;
const DOING: &str = "restore a backup";
const COUNT_KEYS: &str = "SELECT (SELECT COUNT(*) FROM root_keys) + (SELECT COUNT(*) FROM data_keys)";
const COUNT_OPENED: &str = "SELECT COUNT(*) FROM patients p WHERE EXISTS \
     (SELECT 1 FROM data_keys k WHERE k.kind = 'patient' AND k.id = p.id)";
const COUNT_ERASED: &str = "SELECT COUNT(*) FROM patients p WHERE NOT EXISTS \
     (SELECT 1 FROM data_keys k WHERE k.kind = 'patient' AND k.id = p.id)";

/// From where to where.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    /// The archive.
    pub archive: PathBuf,
    /// The file of the keys: the newest there is.
    pub keys: PathBuf,
    /// The database file to be made; there must be none.
    pub database: PathBuf,
    /// Directory of the recordings; it must hold none.
    pub audio_dir: PathBuf,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup holds.
    pub summary: BackupSummary,
    /// Data keys that were put back.
    pub keys: u64,
    /// Patients whose keys were destroyed after the backup was made: they stay erased.
    pub erased_since: u64,
}

/// What was put back by [`restore_keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredKeys {
    /// Keys.
    pub keys: u64,
    /// Patients in the database who have none any more: they were erased after it was backed up.
    pub erased_since: u64,
}

/// What wraps the key of an archive or of a file of keys, as [`KeyService::id`] names it.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::Corrupt`] for a file that is none of ours.
pub fn backup_wrapped_by(file: &Path) -> Result<String> {
    archive::wrapped_by(file)
}

/// Reads a backup to its end and says what it holds. Nothing is written.
///
/// # Errors
/// [`StoreError::Corrupt`] for a file that is damaged, was cut off or is none, [`StoreError::WrongKey`] when another key
/// is needed.
pub async fn verify_backup(archive: &Path, service: &KeyService) -> Result<BackupSummary> {
    walk(archive, service, |_, _| Ok(())).await
}

/// Restores a backup: the database gets its name only when everything else is in its place. Archive and keys may have been
/// made under different master keys; afterwards that of the keys opens the database.
///
/// # Errors
/// [`StoreError::Conflict`] when there is a database or a recording already, and what [`verify_backup`] finds; then
/// nothing was written.
pub async fn restore_backup(plan: &RestorePlan, of_archive: &KeyService, of_keys: &KeyService) -> Result<Restored> {
    if plan.database.exists() || side_file(&plan.database, "-wal").exists() {
        return Err(StoreError::Conflict { what: "there is a database at that place already" });
    }
    if plan.audio_dir.is_dir() && std::fs::read_dir(&plan.audio_dir).doing(DOING)?.next().is_some() {
        return Err(StoreError::Conflict { what: "the directory for the recordings is not empty" });
    }
    let summary = verify_backup(&plan.archive, of_archive).await?;
    let rows = keys::read(&plan.keys, of_keys).await?;
    create_private_dir(&plan.audio_dir).doing(DOING)?;
    if let Some(folder) = plan.database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_private_dir(folder).doing(DOING)?;
    }
    let restoring = side_file(&plan.database, ".restoring");
    let mut files = Files { database: &restoring, audio_dir: &plan.audio_dir, open: None };
    walk(&plan.archive, of_archive, |name, piece| files.take(name, piece)).await?;
    files.close()?;
    let options = SqliteConnectOptions::new().filename(&restoring).journal_mode(SqliteJournalMode::Delete);
    let mut conn = SqliteConnection::connect_with(&options).await.doing(DOING)?;
    let mut tx = conn.begin().await.doing(DOING)?;
    keys::put_into_copy(&mut tx, &rows).await?;
    let erased_since = sqlx::query(COUNT_ERASED).fetch_one(&mut *tx).await;
    let erased_since: i64 = erased_since.and_then(|row| row.try_get(0)).doing(DOING)?;
    tx.commit().await.doing(DOING)?;
    if tables_of(&mut conn).await? != summary.tables || audit_head(&mut conn).await? != summary.audit {
        return Err(StoreError::corrupt("the restored database, which is not what was backed up,"));
    }
    conn.close().await.doing(DOING)?;
    File::open(&restoring).and_then(|file| file.sync_all()).doing(DOING)?;
    std::fs::rename(&restoring, &plan.database).and_then(|()| sync_folder(&plan.database)).doing(DOING)?;
    let erased_since = u64::try_from(erased_since).unwrap_or(0);
    Ok(Restored { summary, keys: rows.len() as u64, erased_since })
}

/// Puts the keys into a database that was restored without them, as one of PostgreSQL by `pg_restore`. On either engine.
///
/// # Errors
/// [`StoreError::Conflict`] when the database has keys already or holds nothing yet, [`StoreError::Invalid`] when the keys
/// are those of another database, [`StoreError::WrongKey`] when another master key is needed, [`StoreError::Corrupt`],
/// [`StoreError::Unavailable`]. Then no key was written.
pub async fn restore_keys(database_url: &str, from: &Path, service: &KeyService) -> Result<RestoredKeys> {
    let rows = keys::read(from, service).await?;
    let db = Db::open(database_url).await?;
    let restored = put_keys(&db, &rows, service).await;
    db.close().await;
    restored
}

async fn put_keys(db: &Db, rows: &[keys::KeyRow], service: &KeyService) -> Result<RestoredKeys> {
    let doing = "restore the keys";
    // A server that starts at this moment waits here, and finds the keys.
    let mut tx = db.begin(None, Domain::Keys).await?;
    let present: i64 = query_scalar(COUNT_KEYS).fetch_one(&mut tx).await.doing(doing)?;
    if present > 0 {
        return Err(StoreError::Conflict { what: "the database has keys already, in root_keys or data_keys" });
    }
    if !root_keys::has_records(&mut tx).await? {
        return Err(StoreError::Conflict {
            what: "the database is empty: it is to be restored first, and then its keys",
        });
    }
    keys::put(&mut tx, rows).await?;
    let stored = root_keys::stored(&mut tx).await?;
    let vault = Vault::new(root_keys::open(&stored, service).await?)?;
    // Under the keys of another installation everybody would look erased, and what is left of them would be removed.
    let opened: i64 = query_scalar(COUNT_OPENED).fetch_one(&mut tx).await.doing(doing)?;
    let head = Head::read(&mut tx, false).await?;
    if opened == 0 && !head.is_some_and(|head| head.is_ours(&vault)) {
        return Err(StoreError::Invalid { what: "file of the keys", expected: "that of this database" });
    }
    let erased_since: i64 = query_scalar(COUNT_ERASED).fetch_one(&mut tx).await.doing(doing)?;
    tx.commit().await.doing(doing)?;
    Ok(RestoredKeys { keys: rows.len() as u64, erased_since: u64::try_from(erased_since).unwrap_or(0) })
}

/// Reads every entry and compares the manifest with what was read. `take` gets each piece, and an empty one at the
/// beginning of each entry.
async fn walk(
    archive: &Path,
    service: &KeyService,
    mut take: impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<BackupSummary> {
    let mut reader = ArchiveReader::open(archive, "records", service).await?;
    let (mut piece, mut manifest) = (Vec::new(), None);
    loop {
        let sum = reader.sum();
        let Some(mut entry) = reader.next()? else { break };
        if manifest.is_some() {
            return Err(reader.damaged());
        }
        if entry.name == MANIFEST {
            let text = read_small(&mut reader, &mut entry)?;
            let said: Manifest = serde_json::from_slice(&text).map_err(|_| reader.damaged())?;
            if said.sum != sum {
                return Err(reader.damaged());
            }
            manifest = Some(said.summary);
            continue;
        }
        if entry.name != DATABASE && call_of(&entry.name).is_none() {
            return Err(reader.damaged());
        }
        take(&entry.name, &[])?;
        while reader.piece(&mut entry, &mut piece)? {
            take(&entry.name, &piece)?;
        }
    }
    manifest.ok_or_else(|| StoreError::corrupt("the end of the backup"))
}

fn read_small(reader: &mut ArchiveReader, entry: &mut Entry) -> Result<Vec<u8>> {
    let (mut text, mut piece) = (Vec::new(), Vec::new());
    while reader.piece(entry, &mut piece)? {
        text.extend_from_slice(&piece);
        if text.len() > MAX_MANIFEST {
            return Err(reader.damaged());
        }
    }
    Ok(text)
}

/// The files that a restore writes, one after the other.
struct Files<'a> {
    database: &'a Path,
    audio_dir: &'a Path,
    open: Option<File>,
}

impl Files<'_> {
    fn take(&mut self, name: &str, piece: &[u8]) -> Result<()> {
        if piece.is_empty() {
            self.close()?;
            // Names were checked: the database, or an identifier, which holds no separator.
            let path = if name == DATABASE { self.database.to_owned() } else { self.audio_dir.join(name) };
            let mut options = OpenOptions::new();
            options.write(true).mode(0o600);
            // A database that an interrupted restore left is worth nothing.
            let options = if name == DATABASE { options.create(true).truncate(true) } else { options.create_new(true) };
            self.open = Some(options.open(path).doing(DOING)?);
            return Ok(());
        }
        match &mut self.open {
            Some(file) => file.write_all(piece).doing(DOING),
            None => Err(StoreError::corrupt("the backup")),
        }
    }

    fn close(&mut self) -> Result<()> {
        match self.open.take() {
            Some(file) => file.sync_all().doing(DOING),
            None => Ok(()),
        }
    }
}

/// The call that a recording's name says it belongs to.
fn call_of(name: &str) -> Option<CallId> {
    let id = CallId::parse(name.strip_suffix(".hvr")?).ok()?;
    (crate::recording::file_name(&id) == name).then_some(id)
}

fn side_file(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

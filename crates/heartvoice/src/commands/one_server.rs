//! An SQLite database has one server: a second one would take the calls of the first for left over, and end them.

use super::database_file;
use anyhow::Context;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;

/// What is added to the name of the database file.
const SUFFIX: &str = ".server";

/// Being the one server of a database, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct OnlyServer {
    /// Locked; that it exists, or what is in it, says nothing. `None` for a database that takes several servers,
    /// or is in memory.
    _file: Option<File>,
}

impl OnlyServer {
    /// Makes this process the one server of a database, which exists already. Other commands do not ask.
    pub(super) fn of(database_url: &str) -> anyhow::Result<Self> {
        let Some(path) = database_file(database_url) else { return Ok(Self { _file: None }) };
        // Under another name it is the same database.
        let path = path.canonicalize().with_context(|| format!("cannot look at the database {}", path.display()))?;
        let mut name = path.clone().into_os_string();
        name.push(SUFFIX);
        let file = private(&name).with_context(|| format!("cannot open {}", name.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another server is using the database {}: stop that one first; several servers need PostgreSQL",
                path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", name.display())),
        }
    }
}

/// Opens a file for this user only, and makes it when it is not there.
fn private(name: &std::ffi::OsStr) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(name)
}

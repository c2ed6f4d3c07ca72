//! Appending to one file of the spool.

use super::format;
use crate::error::Doing;
use crate::vault::seal;
use crate::{DataKey, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that grows record by record.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    /// Where the next record goes.
    offset: u64,
    records: u64,
    /// An attempt to append may have left something behind the end.
    ragged: bool,
    /// What stood behind the end when the file was taken up is no record, or one of the records does not open.
    damaged: bool,
    /// The damaged file was kept as it was found, beside this one.
    copied: bool,
}

impl Writer {
    /// Makes the file, for this user only.
    pub(super) fn create(path: &Path, dir: &Path, name: &str) -> Result<Self> {
        let doing = "make a file of the spool";
        let header = format::file_header(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.doing(doing)?;
        // Tells other processes that this one uses it. Without locks on this file system a directory is for one server.
        let _ = file.try_lock();
        let written = file.write_all(&header).and_then(|()| file.sync_all());
        // The file's name must last as well as its content.
        let written = written.and_then(|()| File::open(dir)?.sync_all());
        if written.is_err() {
            let _ = std::fs::remove_file(path);
        }
        written.doing(doing)?;
        let offset = header.len() as u64;
        Ok(Self { file, path: path.to_owned(), offset, records: 0, ragged: false, damaged: false, copied: false })
    }

    /// Goes on with the file of a process that is gone, after its last whole record; anew where `end` is 0.
    pub(super) fn adopt(file: File, path: &Path, end: u64, records: u64, damaged: bool) -> Self {
        Self { file, path: path.to_owned(), offset: end, records, ragged: true, damaged, copied: false }
    }

    /// Seals an entry and writes it through to the disk. After an error it is as if it had not been tried.
    pub(super) fn append(&mut self, name: &str, key: &DataKey, plain: &[u8]) -> Result<()> {
        let doing = "write to the spool";
        if self.damaged && !self.copied {
            // What follows the damage is written over: whoever can read more of it finds it in the copy.
            std::fs::copy(&self.path, damaged_name(&self.path)).doing(doing)?;
            self.copied = true;
        }
        if self.offset == 0 {
            // Not even its beginning could be read.
            let header = format::file_header(name);
            self.file.set_len(0).and_then(|()| self.file.write_all_at(&header, 0)).doing(doing)?;
            self.offset = header.len() as u64;
        }
        let sealed = seal(key, &format::aad(name, self.records), plain)?;
        let record = format::record(self.records, &sealed);
        if self.ragged {
            self.file.set_len(self.offset).doing(doing)?;
        }
        self.ragged = true;
        let written = self.file.write_all_at(&record, self.offset).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // What did not reach the disk for certain was not kept, and must not be read as if it had been. Where it cannot
            // be cut off now, reading stops before it, and the next attempt cuts it off.
            self.ragged = self.file.set_len(self.offset).is_err();
        } else {
            self.ragged = false;
            self.offset += record.len() as u64;
            self.records += 1;
        }
        written.doing(doing)
    }

    /// The bytes of what was kept: what stands behind that was never acknowledged, or is damaged.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = std::fs::read(&self.path).doing("read the spool")?;
        bytes.truncate(usize::try_from(self.offset).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    /// Bytes of the whole records and what stands before them.
    pub(super) fn size(&self) -> u64 {
        self.offset
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// True when something in the file cannot be read.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Notes that something in the file cannot be read, so that it is kept when the rest was taken.
    pub(super) fn note_damage(&mut self) {
        self.damaged = true;
    }

    /// Takes the file away; one that is damaged is kept aside, for whoever can read more of it.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        if self.damaged && !self.copied { self.rename(&damaged_name(&self.path)) } else { self.erase() }
    }

    /// Takes the file out of the way under another name.
    pub(super) fn rename(&self, to: &Path) -> std::io::Result<()> {
        gone_is_well(std::fs::rename(&self.path, to))
    }

    /// Removes the file, whatever is in it.
    pub(super) fn erase(&self) -> std::io::Result<()> {
        gone_is_well(std::fs::remove_file(&self.path))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn damaged_name(path: &Path) -> PathBuf {
    path.with_extension("damaged")
}

fn gone_is_well(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

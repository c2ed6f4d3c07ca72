//! Recordings in an S3-compatible store: uploading from the spool, fetching, deleting every version.

use super::s3::{S3, S3Config, S3Error};
use super::sign::hex;
use super::{
    AudioPlace, Erased, MAX_LISTED, StoredAudio, Wanted, call_of, local_recordings, open_local, remove_local, too_many,
};
use crate::error::Doing;
use crate::keys::random_bytes;
use crate::recording::file_name;
use crate::{Result, StoreError};
use aws_lc_rs::digest;
use clinic::CallId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Up to this size a recording goes in one request, and beyond it in parts of this size. At 8 kB a second and direction a
/// call of eight minutes is one request.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Size of a recording, at most; the longest call makes about 230 MB.
const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Uploads and fetches at the same time, at most: each holds two parts in memory.
const TRANSFERS: usize = 4;
/// Pages of an answer in pages, at most.
const PAGES: usize = 2_000;
/// How long a deletion waits for an upload of the same recording to notice it.
const UPLOAD_STOPS: Duration = Duration::from_secs(30);

/// An object store and the spool before it.
#[derive(Debug)]
pub struct Remote {
    s3: S3,
    spool: PathBuf,
    /// Where recordings go on whose disk takes nothing.
    spare: OnceLock<PathBuf>,
    transfers: Semaphore,
    /// Calls whose recordings are being uploaded by this process.
    uploading: Mutex<BTreeSet<String>>,
    uploaded: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// What became of uploads since the program started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// Recordings that reached the store.
    pub uploaded: u64,
    /// Uploads that were given up for the time being, each after several attempts.
    pub failed: u64,
    /// Bytes of the recordings that reached the store.
    pub bytes: u64,
}

/// What [`super::AudioStore::resume_uploads`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Recordings that reached the store.
    pub uploaded: u64,
    /// Recordings that stay in the spool because their upload failed.
    pub failed: u64,
    /// Recordings that are still being written, or uploaded by somebody else.
    pub busy: u64,
    /// Recordings that were removed instead: they had been erased, or were past their retention.
    pub unwanted: u64,
}

/// How an upload ended.
enum Upload {
    /// So many bytes reached the store.
    Done(u64),
    /// Somebody writes or uploads it.
    Busy,
    /// There is no such file (any more), or nothing in it.
    Nothing,
    /// It is not to be kept, and was removed.
    Unwanted,
}

impl Remote {
    pub(super) fn new(config: S3Config, spool: PathBuf) -> Result<Self> {
        let s3 = S3::new(config).map_err(|(what, expected)| StoreError::Invalid { what, expected })?;
        Ok(Self {
            s3,
            spool,
            spare: OnceLock::new(),
            transfers: Semaphore::new(TRANSFERS),
            uploading: Mutex::default(),
            uploaded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub(super) fn spool(&self) -> &Path {
        &self.spool
    }

    pub(super) fn set_spare(&self, dir: &Path) {
        let _ = self.spare.set(dir.to_owned());
    }

    pub(super) fn counts(&self) -> UploadCounts {
        UploadCounts {
            uploaded: self.uploaded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn check(&self) -> Result<()> {
        let page = self.s3.objects(&self.s3.key_prefix(), "", Some("1")).await;
        page.map(drop).map_err(|error| unavailable("reach the audio store", error))
    }

    pub(super) async fn finish(&self, id: &CallId, wanted: &impl Wanted) -> Result<()> {
        match self.upload(id, wanted).await? {
            Upload::Done(_) | Upload::Nothing | Upload::Unwanted => Ok(()),
            Upload::Busy => Err(StoreError::Conflict { what: "the recording is still being written or uploaded" }),
        }
    }

    pub(super) async fn resume_uploads(&self, wanted: &impl Wanted) -> Result<Resumed> {
        let mut resumed = Resumed::default();
        for (id, _) in local_recordings(&self.spool)? {
            match self.upload(&id, wanted).await {
                Ok(Upload::Done(_)) => resumed.uploaded += 1,
                Ok(Upload::Unwanted) => resumed.unwanted += 1,
                Ok(Upload::Busy) => resumed.busy += 1,
                Ok(Upload::Nothing) => {}
                Err(_) => resumed.failed += 1,
            }
        }
        Ok(resumed)
    }

    /// Uploads a recording of the spool and deletes it there.
    async fn upload(&self, id: &CallId, wanted: &impl Wanted) -> Result<Upload> {
        let Some(_mark) = Mark::set(&self.uploading, id) else { return Ok(Upload::Busy) };
        let Ok(_permit) = self.transfers.acquire().await else { return Ok(Upload::Busy) };
        let Some(file) = open_local(&self.spool, id)? else { return Ok(Upload::Nothing) };
        if self.spare.get().is_some_and(|spare| spare.join(file_name(id)).exists()) {
            // Its end is still to be put behind it.
            return Ok(Upload::Busy);
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Upload::Busy),
            Err(TryLockError::Error(error)) => return Err(error).doing("lock a recording in the spool"),
        }
        let outcome = self.upload_locked(id, file, wanted).await;
        match &outcome {
            Ok(Upload::Done(bytes)) => {
                self.uploaded.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(*bytes, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }

    /// The upload itself; the lock on the file keeps others away until the file is dropped.
    async fn upload_locked(&self, id: &CallId, file: File, wanted: &impl Wanted) -> Result<Upload> {
        let key = self.s3.key(&file_name(id));
        if !wanted.is_wanted(id).await? {
            return self.drop_unwanted(id, &key).await;
        }
        let (file, sha256, bytes) = hash(file).await?;
        if bytes == 0 {
            // A writer that was killed before its first byte. It takes no room, and a deletion finds it.
            return Ok(Upload::Nothing);
        }
        if bytes > MAX_BYTES {
            return Err(StoreError::Unsupported { what: "a recording over 2 GiB", instead: "it stays in the spool" });
        }
        let sent = if bytes > PART_BYTES as u64 {
            self.send_parts(id, &key, &sha256, file).await?
        } else {
            let (file, body) = read_part(file).await?;
            let sent = self.s3.put(&key, &sha256, &body).await.map(|()| Some(file));
            sent.map_err(|error| unavailable("upload a recording", error))?
        };
        let Some(_locked) = sent else { return Ok(Upload::Nothing) };
        let head = self.s3.head(&key).await.map_err(|error| unavailable("check an uploaded recording", error))?;
        if head.bytes != bytes || head.sha256.as_deref() != Some(sha256.as_str()) {
            let differs = S3Error::Differs { doing: "checking an uploaded recording" };
            return Err(unavailable("upload a recording", differs));
        }
        // Whoever erases it from now on finds it in the store.
        if !wanted.is_wanted(id).await? {
            return self.drop_unwanted(id, &key).await;
        }
        // Whoever deletes a recording takes its file away first. Then what was uploaded must not stay either.
        if remove_local(&self.spool, id)? == 0 {
            self.purge(&key).await?;
            return Ok(Upload::Nothing);
        }
        Ok(Upload::Done(bytes))
    }

    /// Removes what must not be kept. The file last: as long as it is there, it is tried again.
    async fn drop_unwanted(&self, id: &CallId, key: &str) -> Result<Upload> {
        self.purge(key).await?;
        remove_local(&self.spool, id)?;
        Ok(Upload::Unwanted)
    }

    /// Uploads a long recording part by part; `None` when it was deleted meanwhile.
    async fn send_parts(&self, id: &CallId, key: &str, sha256: &str, file: File) -> Result<Option<File>> {
        let failed = |error| unavailable("upload a recording", error);
        // What an earlier attempt left. A store that does not let us look will expire it by its own rules.
        let _ = self.abort_begun(key).await;
        let upload = self.s3.begin_parts(key, sha256).await.map_err(failed)?;
        let sent = self.send_each_part(id, key, &upload, file).await;
        let (file, etags) = match sent {
            Ok(Some(sent)) => sent,
            given_up => {
                // The reason for giving up is worth more than what this says.
                let _ = self.s3.abort_parts(key, &upload).await;
                return given_up.map(|_| None);
            }
        };
        match self.s3.complete_parts(key, &upload, &etags).await {
            // The answer to a completion may be lost, and the next attempt then finds no such upload. The check that
            // follows tells whether the object is there.
            Err(error) if !error.is_missing() => {
                let _ = self.s3.abort_parts(key, &upload).await;
                Err(failed(error))
            }
            _ => {
                // A beginning whose answer was lost.
                let _ = self.abort_begun(key).await;
                Ok(Some(file))
            }
        }
    }

    async fn send_each_part(
        &self,
        id: &CallId,
        key: &str,
        upload: &str,
        mut file: File,
    ) -> Result<Option<(File, Vec<String>)>> {
        let mut etags = Vec::new();
        for part in 1.. {
            let (rest, body) = read_part(file).await?;
            file = rest;
            if body.is_empty() {
                break;
            }
            if open_local(&self.spool, id)?.is_none() {
                return Ok(None);
            }
            let etag = self.s3.put_part(key, upload, part, &body).await;
            etags.push(etag.map_err(|error| unavailable("upload a recording", error))?);
        }
        Ok(Some((file, etags)))
    }

    /// Fetches a recording into a nameless file and returns it, ready to be read.
    pub(super) async fn fetch(&self, id: &CallId) -> Result<File> {
        let Ok(_permit) = self.transfers.acquire().await else {
            return Err(StoreError::NotFound { what: "recording" });
        };
        let failed = |error: S3Error| {
            if error.is_missing() {
                StoreError::NotFound { what: "recording" }
            } else {
                unavailable("fetch a recording", error)
            }
        };
        let key = self.s3.key(&file_name(id));
        let head = self.s3.head(&key).await.map_err(failed)?;
        if head.bytes > MAX_BYTES {
            return Err(StoreError::corrupt(format!("the size of recording {id}")));
        }
        let mut file = nameless_file(&self.spool)?;
        let mut start = 0;
        while start < head.bytes {
            let length = usize::try_from(head.bytes - start).map_or(PART_BYTES, |rest| rest.min(PART_BYTES));
            let part = self.s3.get_range(&key, &head.etag, start, length).await.map_err(failed)?;
            start += part.len() as u64;
            file = blocking("fetch a recording", move || file.write_all(&part).map(|()| file)).await?;
        }
        file.rewind().doing("fetch a recording")?;
        Ok(file)
    }

    /// Deletes the object in all its versions. The local file is gone already, which stops an upload.
    pub(super) async fn delete(&self, id: &CallId, local_copies: u64) -> Result<Erased> {
        let stopped = async {
            while self.uploading.lock().unwrap_or_else(PoisonError::into_inner).contains(id.as_str()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // An upload that does not stop in time undoes itself when it ends.
        let _ = tokio::time::timeout(UPLOAD_STOPS, stopped).await;
        let erased = self.purge(&self.s3.key(&file_name(id))).await?;
        Ok(match erased {
            Erased::Everything { copies } => Erased::Everything { copies: copies + local_copies },
            Erased::VersionsMayRemain => Erased::VersionsMayRemain,
        })
    }

    /// Removes an object: its versions, the marks of earlier deletions, and parts that never became an object.
    async fn purge(&self, key: &str) -> Result<Erased> {
        let failed = |error| unavailable("delete a recording", error);
        let parts_known = match self.abort_begun(key).await {
            Ok(()) => true,
            Err(error) if error.is_not_permitted() => false,
            Err(error) => return Err(failed(error)),
        };
        match self.delete_versions(key).await {
            Ok(copies) if parts_known => Ok(Erased::Everything { copies }),
            Ok(_) => Ok(Erased::VersionsMayRemain),
            Err(error) if error.is_not_permitted() => {
                self.s3.delete(key, None).await.map_err(failed)?;
                match self.s3.head(key).await {
                    Err(error) if error.is_missing() => Ok(Erased::VersionsMayRemain),
                    Err(error) => Err(failed(error)),
                    Ok(_) => Err(failed(S3Error::Differs { doing: "checking that a recording is gone" })),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Deletes every version of exactly this object, and looks again until there is none.
    async fn delete_versions(&self, key: &str) -> std::result::Result<u64, S3Error> {
        let mut copies = 0;
        let mut from = (String::new(), String::new());
        for _ in 0..PAGES {
            let page = self.s3.versions(key, &from).await?;
            for version in page.items.iter().filter(|version| version.key == key) {
                self.s3.delete(key, Some(&version.version_id)).await?;
                copies += 1;
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(copies),
            }
        }
        Err(S3Error::Unreadable { doing: "listing versions of a recording" })
    }

    /// Gives up the parts of uploads of exactly this object that were never completed.
    async fn abort_begun(&self, key: &str) -> std::result::Result<(), S3Error> {
        let mut from = (String::new(), String::new());
        for _ in 0..PAGES {
            let page = self.s3.begun_parts(key, &from).await?;
            for begun in page.items.iter().filter(|begun| begun.key == key) {
                match self.s3.abort_parts(key, &begun.upload_id).await {
                    Err(error) if !error.is_missing() => return Err(error),
                    _ => {}
                }
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
        Err(S3Error::Unreadable { doing: "listing recordings in parts" })
    }

    pub(super) async fn list(&self) -> Result<BTreeMap<String, StoredAudio>> {
        let failed = |error| unavailable("list recordings", error);
        let prefix = self.s3.key_prefix();
        let mut found = BTreeMap::new();
        let mut from = String::new();
        for _ in 0..PAGES {
            let page = self.s3.objects(&prefix, &from, None).await.map_err(failed)?;
            for object in page.items {
                let Some(id) = object.key.strip_prefix(&prefix).and_then(call_of) else { continue };
                let audio = StoredAudio { call_id: id.clone(), bytes: object.bytes, place: AudioPlace::Store };
                found.insert(id.as_str().to_owned(), audio);
            }
            if found.len() > MAX_LISTED {
                return Err(too_many());
            }
            match page.next {
                Some((next, _)) => from = next,
                None => return Ok(found),
            }
        }
        Err(too_many())
    }
}

/// The sign that an upload is under way, taken down whatever becomes of it.
struct Mark<'a> {
    set: &'a Mutex<BTreeSet<String>>,
    id: String,
}

impl<'a> Mark<'a> {
    fn set(set: &'a Mutex<BTreeSet<String>>, id: &CallId) -> Option<Self> {
        let id = id.as_str().to_owned();
        set.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()).then_some(Self { set, id })
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Hashes a file and leaves it at its beginning.
async fn hash(mut file: File) -> Result<(File, String, u64)> {
    blocking("read a recording in the spool", move || {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut chunk = vec![0u8; 256 * 1024];
        let mut bytes = 0;
        file.rewind()?;
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                length => {
                    context.update(chunk.get(..length).unwrap_or_default());
                    bytes += length as u64;
                }
            }
        }
        file.rewind()?;
        Ok((file, hex(context.finish().as_ref()), bytes))
    })
    .await
}

/// The next part of a file; empty at its end.
async fn read_part(file: File) -> Result<(File, Vec<u8>)> {
    blocking("read a recording in the spool", move || {
        let mut part = Vec::new();
        (&file).take(PART_BYTES as u64).read_to_end(&mut part)?;
        Ok((file, part))
    })
    .await
}

/// Does a piece of work on the file system where it holds nobody up.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.doing(doing)?.doing(doing)
}

/// A file for this user only that loses its name at once: it is gone when it is closed, also by a crash.
fn nameless_file(dir: &Path) -> Result<File> {
    let path = dir.join(format!("fetched-{}", hex(random_bytes::<16>()?.as_slice())));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path).doing("fetch a recording")?;
    std::fs::remove_file(&path).doing("fetch a recording")?;
    Ok(file)
}

fn unavailable(doing: &'static str, error: S3Error) -> StoreError {
    StoreError::Unavailable { doing, source: Box::new(error) }
}

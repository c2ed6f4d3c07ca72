//! Recordings in a directory and in an S3-compatible store: nothing is lost, nothing is left, nothing is mistaken.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/s3.rs"]
mod s3;

use clinic::CallId;
use s3::S3;
use secrecy::SecretString;
use std::io::Read;
use std::time::Duration;
use store::{
    AudioConfig, AudioLocation, AudioPlace, AudioStore, DataKey, Erased, Frame, Resumed, S3Config, StoreError,
    UploadCounts,
};
use tempfile::TempDir;

struct Bench {
    store: AudioStore,
    s3: S3,
    key: DataKey,
    dir: TempDir,
}

fn config(s3: &S3, dir: &TempDir) -> AudioConfig {
    let location = AudioLocation::S3(S3Config {
        bucket: s3::BUCKET.to_owned(),
        prefix: "site/one".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some(s3.endpoint.clone()),
        access_key_id: s3::ACCESS_KEY.to_owned(),
        secret_access_key: SecretString::from(s3::SECRET_KEY),
        session_token: Some(SecretString::from("a session")),
        retry_pause: Duration::from_millis(1),
    });
    AudioConfig { location, spool: dir.path().join("spool") }
}

impl Bench {
    async fn new() -> Self {
        let (s3, dir) = (S3::start().await, tempfile::tempdir().unwrap());
        let store = AudioStore::open(config(&s3, &dir)).unwrap();
        Self { store, s3, key: DataKey::random().unwrap(), dir }
    }

    /// Another process on the same spool and bucket.
    fn again(&self) -> AudioStore {
        AudioStore::open(config(&self.s3, &self.dir)).unwrap()
    }

    /// Writes a recording of about this many bytes.
    fn write(&self, id: &CallId, bytes: usize) {
        let mut writer = self.store.create(id, self.key.clone()).unwrap();
        for number in 0..bytes.div_ceil(CHUNK) as u64 {
            writer.append(&frame(number)).unwrap();
        }
        writer.finish().unwrap();
    }

    async fn frames(&self, store: &AudioStore, id: &CallId) -> u64 {
        let mut reader = store.read(id, self.key.clone()).await.unwrap();
        let mut next = 0;
        while let Some(read) = reader.next_frame().unwrap() {
            assert_eq!(read, frame(next));
            next += 1;
        }
        assert!(reader.finished());
        reader.rewind().unwrap();
        assert!(next == 0 || reader.next_frame().unwrap().is_some());
        next
    }

    fn spooled(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.store.local_dir()).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

const CHUNK: usize = 60_000;
const LONG: usize = 20 * 1024 * 1024;

fn frame(number: u64) -> Frame<'static> {
    Frame::Patient { position_samples: number, arrived_us: number, ulaw: &[0x55; CHUNK] }
}

fn id(text: &str) -> CallId {
    CallId::parse(text).unwrap()
}

fn object(id: &CallId) -> String {
    format!("site/one/{id}.hvr")
}

fn counts(uploaded: u64, failed: u64) -> impl Fn(Option<UploadCounts>) -> bool {
    move |counts| counts.is_some_and(|counts| (counts.uploaded, counts.failed) == (uploaded, failed))
}

#[tokio::test]
async fn a_finished_recording_moves_to_the_store_and_is_read_from_there() {
    let bench = Bench::new().await;
    bench.store.check().await.unwrap();
    let call = id("call-1");
    bench.write(&call, 100_000);
    let local = std::fs::read(bench.store.local_dir().join("call-1.hvr")).unwrap();
    assert_eq!(bench.frames(&bench.store, &call).await, 2);

    bench.store.finish(&call).await.unwrap();
    assert_eq!(bench.s3.object(&object(&call)).unwrap(), local);
    assert!(bench.spooled().is_empty());
    assert_eq!(bench.frames(&bench.store, &call).await, 2);
    // What was fetched leaves nothing behind.
    assert!(bench.spooled().is_empty());
    let mut sealed = Vec::new();
    bench.store.read_sealed(&call).await.unwrap().read_to_end(&mut sealed).unwrap();
    assert_eq!(sealed, local);
    assert!(counts(1, 0)(bench.store.upload_counts()));
    // Once more does nothing.
    bench.store.finish(&call).await.unwrap();
    assert_eq!(bench.s3.versions(&object(&call)), 1);
}

#[tokio::test]
async fn a_long_recording_goes_in_parts_and_comes_back_in_ranges() {
    let bench = Bench::new().await;
    let call = id("long");
    bench.write(&call, LONG);
    let local = std::fs::read(bench.store.local_dir().join("long.hvr")).unwrap();
    bench.s3.fail_next(3);
    bench.store.finish(&call).await.unwrap();
    assert!(bench.s3.object(&object(&call)).unwrap() == local, "the object differs from the file");
    assert_eq!(bench.s3.seen().iter().filter(|seen| seen.contains("partNumber=3")).count(), 1);
    assert_eq!(bench.frames(&bench.store, &call).await, LONG.div_ceil(CHUNK) as u64);
    assert_eq!((bench.s3.begun(), bench.s3.versions(&object(&call))), (0, 1));
}

#[tokio::test]
async fn a_recording_stays_in_the_spool_while_the_store_is_away_and_is_taken_up_later() {
    let bench = Bench::new().await;
    let call = id("call-1");
    bench.write(&call, 1);
    bench.s3.fail_next(5);
    let error = bench.store.finish(&call).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("503 SlowDown") && !source.contains("call-1") && !source.contains("Ada"), "{source}");
    assert_eq!(bench.spooled(), ["call-1.hvr"]);
    assert_eq!(bench.store.spooled().unwrap().unwrap().0, 1);
    assert_eq!(bench.frames(&bench.store, &call).await, 1);
    assert!(counts(0, 1)(bench.store.upload_counts()));

    // A new process finds it.
    let again = bench.again();
    assert_eq!(again.resume_uploads().await.unwrap(), Resumed { uploaded: 1, ..Resumed::default() });
    assert!(bench.spooled().is_empty());
    assert_eq!(bench.frames(&again, &call).await, 1);
}

#[tokio::test]
async fn a_recording_that_is_being_written_is_nobodys_to_upload() {
    let bench = Bench::new().await;
    let call = id("live");
    let mut writer = bench.store.create(&call, bench.key.clone()).unwrap();
    writer.append(&frame(0)).unwrap();
    writer.flush().unwrap();
    assert_eq!(bench.store.finish(&call).await.unwrap_err().code(), "conflict");
    assert_eq!(bench.again().resume_uploads().await.unwrap(), Resumed { busy: 1, ..Resumed::default() });
    assert_eq!(bench.spooled(), ["live.hvr"]);
    // Its writer dies; the torn recording is as good as it gets.
    drop(writer);
    assert_eq!(bench.again().resume_uploads().await.unwrap().uploaded, 1);
    let mut reader = bench.store.read(&call, bench.key.clone()).await.unwrap();
    assert_eq!(reader.next_frame().unwrap(), Some(frame(0)));
    assert!(reader.next_frame().unwrap().is_none() && !reader.finished());
}

#[tokio::test]
async fn the_local_file_is_kept_until_the_store_holds_all_of_it() {
    let bench = Bench::new().await;
    let call = id("call-1");
    bench.write(&call, 100_000);
    bench.s3.truncate(true);
    let error = bench.store.finish(&call).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("does not hold what was sent"));
    assert_eq!(bench.spooled(), ["call-1.hvr"]);
    bench.s3.truncate(false);
    assert_eq!(bench.store.resume_uploads().await.unwrap().uploaded, 1);
    assert_eq!(bench.frames(&bench.store, &call).await, 2);
}

#[tokio::test]
async fn lost_answers_lose_no_recording_and_leave_no_parts() {
    let bench = Bench::new().await;
    let call = id("long");
    bench.write(&call, LONG);
    // Five looks at what was begun, and one beginning that nobody hears of.
    bench.s3.lose_answers(6);
    // And the object is there before we learn of it.
    bench.s3.lose_completion();
    bench.store.finish(&call).await.unwrap();
    assert_eq!(
        bench.s3.seen().iter().filter(|seen| seen.starts_with("POST") && seen.ends_with("?uploads=")).count(),
        2
    );
    assert_eq!((bench.s3.begun(), bench.s3.versions(&object(&call))), (0, 1));
    assert!(bench.spooled().is_empty());
    assert_eq!(bench.frames(&bench.store, &call).await, LONG.div_ceil(CHUNK) as u64);
}

#[tokio::test]
async fn parts_that_a_killed_process_left_are_given_up_by_the_next() {
    let bench = Bench::new().await;
    let call = id("long");
    bench.write(&call, LONG);
    bench.s3.slow_parts(200);
    let store = bench.store.clone();
    let upload = tokio::spawn({
        let call = call.clone();
        async move { store.finish(&call).await }
    });
    while !bench.s3.seen().iter().any(|seen| seen.contains("partNumber=2")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    upload.abort();
    let _ = upload.await;
    assert_eq!(bench.s3.begun(), 1);
    bench.s3.slow_parts(0);
    // The file may be held for an instant by the work that was cut off.
    let again = bench.again();
    let mut resumed = again.resume_uploads().await.unwrap();
    for _ in 0..100 {
        if resumed.busy == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        resumed = again.resume_uploads().await.unwrap();
    }
    assert_eq!(resumed, Resumed { uploaded: 1, ..Resumed::default() });
    assert_eq!((bench.s3.begun(), bench.s3.versions(&object(&call))), (0, 1));
    assert_eq!(bench.frames(&again, &call).await, LONG.div_ceil(CHUNK) as u64);
}

#[tokio::test]
async fn deleting_removes_every_version_of_this_recording_and_of_no_other() {
    let bench = Bench::new().await;
    let (call, longer_name) = (id("call-1"), id("call-10"));
    for _ in 0..5 {
        bench.s3.put(&object(&call), b"old");
    }
    bench.s3.put(&object(&longer_name), b"another call");
    bench.s3.put("site/one/call-1.hvr.bak", b"none of ours");
    bench.write(&call, 1);
    assert_eq!(bench.store.delete(&call).await.unwrap(), Erased::Everything { copies: 6 });
    assert_eq!(bench.s3.versions(&object(&call)), 0);
    assert!(bench.spooled().is_empty());
    assert_eq!(bench.s3.versions(&object(&longer_name)), 1);
    assert_eq!(bench.s3.versions("site/one/call-1.hvr.bak"), 1);
    let gone = bench.store.read(&call, bench.key.clone()).await.unwrap_err();
    assert_eq!(gone.code(), "not_found");
    assert_eq!(bench.store.delete(&call).await.unwrap(), Erased::Everything { copies: 0 });
}

#[tokio::test]
async fn versions_that_may_not_be_listed_are_told() {
    let bench = Bench::new().await;
    let call = id("call-1");
    bench.s3.put(&object(&call), b"old");
    bench.write(&call, 1);
    bench.store.finish(&call).await.unwrap();
    bench.s3.deny_versions();
    assert_eq!(bench.store.delete(&call).await.unwrap(), Erased::VersionsMayRemain);
    assert_eq!(bench.s3.object(&object(&call)), None);
    assert_eq!(bench.store.read(&call, bench.key.clone()).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_recording_deleted_during_its_upload_does_not_come_back() {
    let bench = Bench::new().await;
    let call = id("long");
    bench.write(&call, LONG);
    bench.s3.slow_parts(150);
    let upload = tokio::spawn({
        let (store, call) = (bench.store.clone(), call.clone());
        async move { store.finish(&call).await }
    });
    while bench.s3.begun() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(bench.store.delete(&call).await.unwrap(), Erased::Everything { .. }));
    assert_eq!((bench.s3.begun(), bench.s3.versions(&object(&call))), (0, 0));
    upload.await.unwrap().unwrap();
    assert_eq!((bench.s3.begun(), bench.s3.versions(&object(&call))), (0, 0));
    assert!(bench.spooled().is_empty() && counts(0, 0)(bench.store.upload_counts()));
}

#[tokio::test]
async fn everything_is_listed_once() {
    let bench = Bench::new().await;
    for number in 0..5 {
        bench.write(&id(&format!("call-{number}")), 1);
        bench.store.finish(&id(&format!("call-{number}"))).await.unwrap();
    }
    bench.s3.put("site/one/notes.txt", b"none of ours");
    bench.s3.put("site/other/call-9.hvr", b"another site's");
    bench.write(&id("call-5"), 1);
    bench.write(&id("call-0"), 1);
    let found = bench.store.list().await.unwrap();
    let found: Vec<_> = found.iter().map(|audio| (audio.call_id.as_str(), audio.place, audio.bytes > 60_000)).collect();
    let expected = [
        ("call-0", AudioPlace::Local, true),
        ("call-1", AudioPlace::Store, true),
        ("call-2", AudioPlace::Store, true),
        ("call-3", AudioPlace::Store, true),
        ("call-4", AudioPlace::Store, true),
        ("call-5", AudioPlace::Local, true),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn another_calls_object_under_this_name_does_not_open() {
    let bench = Bench::new().await;
    bench.write(&id("call-1"), 1);
    bench.store.finish(&id("call-1")).await.unwrap();
    let moved = bench.s3.object(&object(&id("call-1"))).unwrap();
    bench.s3.put(&object(&id("call-2")), &moved);
    assert_eq!(bench.store.read(&id("call-2"), bench.key.clone()).await.unwrap_err().code(), "corrupt");
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_not_repeated_to_anybody() {
    let bench = Bench::new().await;
    let mut config = config(&bench.s3, &bench.dir);
    let AudioLocation::S3(s3) = &mut config.location else { panic!() };
    s3.secret_access_key = SecretString::from("another secret");
    let shown = format!("{s3:?}");
    let store = AudioStore::open(config).unwrap();
    let error = store.check().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("403 SignatureDoesNotMatch"), "{source}");
    assert_eq!(bench.s3.seen().len(), 1);
    for text in [shown, format!("{error:?} {source} {store:?}")] {
        assert!(!text.contains("another secret") && !text.contains("a session"), "{text}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_encrypted_is_refused() {
    let bench = Bench::new().await;
    for endpoint in ["http://minio.example.org:9000", "ftp://localhost", "https://host/path", "nonsense"] {
        let mut config = config(&bench.s3, &bench.dir);
        let AudioLocation::S3(s3) = &mut config.location else { panic!() };
        s3.endpoint = Some(endpoint.to_owned());
        let refused = AudioStore::open(config).unwrap_err();
        assert!(matches!(refused, StoreError::Invalid { what: "AWS_ENDPOINT_URL", .. }), "{endpoint}: {refused}");
    }
}

#[tokio::test]
async fn a_directory_is_a_store_without_further_ado() {
    let dir = tempfile::tempdir().unwrap();
    let location = AudioLocation::Directory(dir.path().join("audio"));
    let store = AudioStore::open(AudioConfig { location, spool: dir.path().join("unused") }).unwrap();
    let (call, key) = (id("call-1"), DataKey::random().unwrap());
    let mut writer = store.create(&call, key.clone()).unwrap();
    writer.append(&frame(0)).unwrap();
    writer.finish().unwrap();
    store.check().await.unwrap();
    store.finish(&call).await.unwrap();
    assert_eq!(store.resume_uploads().await.unwrap(), Resumed::default());
    assert_eq!(store.list().await.unwrap().len(), 1);
    assert_eq!(store.read(&call, key.clone()).await.unwrap().next_frame().unwrap(), Some(frame(0)));
    assert_eq!(store.delete(&call).await.unwrap(), Erased::Everything { copies: 1 });
    assert_eq!(store.read(&call, key).await.unwrap_err().code(), "not_found");
    assert!(!dir.path().join("unused").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn the_spool_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new().await;
    let mode = std::fs::metadata(bench.store.local_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

//! Several servers with a spool each and one object store: what was erased on one machine never leaves another's spool.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/s3.rs"]
mod s3;

use clinic::{CallId, PatientId};
use common::world::{finished_call, settle, tester};
use common::{KEY, STARTED, call, create_database, finish, patient};
use s3::S3;
use secrecy::SecretString;
use std::time::Duration;
use store::audit::NewEntry;
use store::{AudioConfig, AudioLocation, Frame, MasterKey, Resumed, RetentionRules, S3Config, Store, StorePlaces};
use tempfile::TempDir;

const DAY: i64 = 86_400_000_000;
const CHUNK: usize = 60_000;

struct Site {
    s3: S3,
    /// Holds the recordings in its spool.
    one: Store,
    other: Store,
    dir: TempDir,
}

impl Site {
    async fn new() -> Self {
        let (s3, dir) = (S3::start().await, tempfile::tempdir().unwrap());
        create_database(dir.path()).await;
        let server = async |spool: &str| {
            let location = AudioLocation::S3(S3Config {
                bucket: s3::BUCKET.to_owned(),
                prefix: "site".to_owned(),
                region: "eu-central-1".to_owned(),
                endpoint: Some(s3.endpoint.clone()),
                access_key_id: s3::ACCESS_KEY.to_owned(),
                secret_access_key: SecretString::from(s3::SECRET_KEY),
                session_token: Some(SecretString::from("a session")),
                retry_pause: Duration::from_millis(1),
            });
            let audio = AudioConfig { location, spool: dir.path().join(spool) };
            let places = StorePlaces { database_url: common::config(dir.path()).database_url, audio };
            Store::open(places, MasterKey::from_hex(KEY).unwrap()).await.unwrap()
        };
        let (one, other) = (server("one").await, server("other").await);
        Self { s3, one, other, dir }
    }

    fn copies(&self, call: &CallId) -> (usize, bool) {
        let spooled = self.dir.path().join(format!("one/{call}.hvr")).exists();
        (self.s3.versions(&format!("site/{call}.hvr")), spooled)
    }

    async fn erase(&self, id: &PatientId) {
        self.other.erase_patient(id, &tester(), "patient-request", STARTED + DAY).await.unwrap();
    }
}

fn unwanted(count: u64) -> Resumed {
    Resumed { unwanted: count, ..Resumed::default() }
}

#[tokio::test]
async fn what_another_server_erased_is_not_uploaded() {
    let site = Site::new().await;
    let ada = settle(site.dir.path(), &site.one, 1).await;
    let refused = finished_call(&site.one, None, "CArefused", STARTED).await;
    let kept = finished_call(&site.one, None, "CAkept", STARTED).await;
    // An attempt whose answer was lost: the object is there, and so is the file.
    site.s3.put(&format!("site/{}.hvr", ada.call), b"an attempt");
    site.erase(&ada.id).await;
    assert_eq!(site.other.erase_recording(&refused).await.map(drop).ok(), Some(()));
    site.s3.put(&format!("site/{}.hvr", ada.call), b"an attempt that arrived late");
    assert_eq!((site.copies(&ada.call), site.copies(&refused)), ((1, true), (0, true)));

    // While the object store is away the file stays, so that it is tried again.
    site.s3.fail_next(5);
    site.one.finish_recording(&ada.call).await.unwrap_err();
    assert_eq!(site.copies(&ada.call), (1, true));
    site.one.finish_recording(&ada.call).await.unwrap();
    assert_eq!(site.copies(&ada.call), (0, false));
    assert_eq!(site.one.resume_uploads().await.unwrap(), Resumed { uploaded: 1, unwanted: 1, ..Resumed::default() });
    assert_eq!((site.copies(&refused), site.copies(&kept)), ((0, false), (1, false)));
    assert_eq!(site.other.open_recording(&kept).await.unwrap().patient_track().unwrap().len(), 8_000);
    assert_eq!(site.one.resume_uploads().await.unwrap(), Resumed::default());
}

#[tokio::test]
async fn what_is_past_its_retention_does_not_come_back_from_a_spool() {
    let site = Site::new().await;
    let ada = settle(site.dir.path(), &site.one, 1).await;
    let rules = RetentionRules { audio_days: 30, ..RetentionRules::all(36_000) };
    let run = site.other.run_retention(&rules, &tester(), STARTED + 40 * DAY, 100).await.unwrap();
    assert_eq!(run.counts.get("recordings"), Some(&1));
    // Not from the machine that still has it either.
    assert_eq!(site.copies(&ada.call), (0, true));
    for store in [&site.one, &site.other] {
        assert_eq!(store.open_recording(&ada.call).await.unwrap_err().code(), "not_found");
    }
    assert_eq!(site.one.resume_uploads().await.unwrap(), unwanted(1));
    assert_eq!(site.copies(&ada.call), (0, false));
    assert_eq!(site.one.call_events(&ada.call).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_erased_during_its_upload_is_gone_when_the_upload_ends() {
    for erased_to_the_end in [false, true] {
        let site = Site::new().await;
        let ada = site.one.add_patient(&patient(1)).await.unwrap().id;
        let handle = site.one.begin_call(call("CA1", Some(ada.clone()))).await.unwrap();
        let mut writer = site.one.recording_writer(&handle).unwrap();
        for number in 0..350 {
            let frame = Frame::Patient { position_samples: number, arrived_us: number, ulaw: &[0x55; CHUNK] };
            writer.append(&frame).unwrap();
        }
        writer.finish().unwrap();
        site.one.finish_call(&handle.id, finish()).await.unwrap();
        site.s3.slow_parts(150);
        let upload = tokio::spawn({
            let (store, id) = (site.one.clone(), handle.id.clone());
            async move { store.finish_recording(&id).await }
        });
        while site.s3.begun() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if erased_to_the_end {
            // The other server has done everything it can before the upload ends.
            site.erase(&ada).await;
            let _ = upload.await.unwrap();
            site.one.resume_uploads().await.unwrap();
        } else {
            // The other server has not come to the recordings yet.
            let access = site.other.begin_access().await.unwrap();
            access.store().erase_patient(&ada, &tester(), "patient-request", STARTED + DAY).await.unwrap();
            access.commit(&[NewEntry::new(tester(), "patient.erase")]).await.unwrap();
            upload.await.unwrap().unwrap();
        }
        assert_eq!((site.copies(&handle.id), site.s3.begun()), ((0, false), 0), "{erased_to_the_end}");
        site.other.finish_erasures().await.unwrap();
    }
}

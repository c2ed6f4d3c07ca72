//! Erasing, retention, backups and exports from the command line: what is said to be gone is gone, what is backed up comes
//! back, and what leaves for research names nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use clinic::{CallOutcome, Direction, EndCause, NewPatient, PatientId, TimelineEvent, TimelineKind};
use common::{KEY, fails, json, succeeds};
use serde_json::json;
use std::path::Path;
use store::{FinishCall, Frame, MasterKey, NewCall, Store, StoreConfig};
use tempfile::tempdir;

const WORDS: &str = "my planted ankles are swollen";

fn settings() -> [(&'static str, &'static str); 2] {
    // Who gives a command is the account of the system, not what the environment says.
    [("ENCRYPTION_KEY", KEY), ("USER", "grace")]
}

/// The name of the account that the tests run under.
fn me() -> String {
    let name = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(name).unwrap().trim().to_owned()
}

/// A database with one patient, who called in 2001 and was heard.
fn seed(dir: &Path) -> PatientId {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database_url = format!("sqlite://{}", dir.join("heartvoice.db").display());
        let config = StoreConfig { database_url, audio_dir: dir.join("heartvoice-audio") };
        let store = Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap();
        let new = NewPatient::from_fields(
            "MRN-PLANTED",
            "Zebulon Quagmire",
            "+12025550177",
            "1931-12-29",
            "male",
            "es",
            "America/Anchorage",
        );
        let id = store.add_patient(&new.unwrap()).await.unwrap().id;
        let started_at_us = 1_000_000_000_000_000;
        let direction = Direction::Inbound;
        let new = NewCall { call_sid: "CA1", patient_id: Some(id.clone()), direction, started_at_us };
        let call = store.begin_call(new).await.unwrap();
        let kind = TimelineKind::UserTranscript { text: WORDS.to_owned() };
        let (meant, heard) = ("Thank you. One more thing: did you sleep?", "Thank you.");
        let reply = TimelineKind::AgentResponse { text: meant.to_owned(), event_id: Some(4) };
        let cut = TimelineKind::AgentCorrection {
            original: meant.to_owned(),
            corrected: heard.to_owned(),
            event_id: Some(4),
        };
        let events = [kind, reply, cut].map(|kind| TimelineEvent { at_us: 5, kind });
        store.append_events(&call, 0, &events).await.unwrap();
        let mut recording = store.recording_writer(&call).unwrap();
        recording.append(&Frame::Patient { position_samples: 0, arrived_us: 0, ulaw: &[0x11; 800] }).unwrap();
        recording.finish().unwrap();
        let end = FinishCall {
            outcome: CallOutcome::Completed,
            end_cause: Some(EndCause::StreamStopped),
            ended_at_us: started_at_us + 60_000_000,
            agents: vec!["elevenlabs".to_owned()],
            turns: 3,
            interruptions: 0,
        };
        store.finish_call(&call.id, end).await.unwrap();
        store.close().await;
        id
    })
}

#[test]
fn a_patient_is_erased_with_a_certificate_unless_there_is_a_hold() {
    let dir = tempdir().unwrap();
    let id = seed(dir.path()).to_string();
    let at = dir.path();
    succeeds(at, &["patient", "hold", "set", &id, "--code", "case-7"], &settings());
    let holds = json(at, &["patient", "hold", "list", "--format", "json"], &settings());
    assert_eq!((&holds[0]["patient_id"], &holds[0]["set_by"]), (&json!(id), &json!(me())));
    let erase = ["patient", "erase", &id, "--reason", "patient-request", "--format", "json"];
    let said = fails(at, &erase, &settings(), 2);
    assert!(said.contains("--yes"), "{said}");
    let erase = [erase.as_slice(), &["--yes"]].concat();
    assert!(fails(at, &erase, &settings(), 1).contains("legal hold"));
    succeeds(at, &["patient", "hold", "clear", &id], &settings());
    let done = json(at, &erase, &settings());
    assert_eq!(done["destruction"]["counts"]["recordings"], 1);
    assert_eq!(done["destruction"]["by"], json!({"kind": "operator", "id": me()}));
    assert_eq!(json(at, &["patient", "list", "--format", "json"], &settings()), json!([]));
    assert_eq!(at.join("heartvoice-audio").read_dir().unwrap().count(), 0);
    let certificates = json(at, &["retention", "certificates", "--format", "json"], &settings());
    assert_eq!((&certificates[0]["destruction"]["patient"], &certificates[0]["valid"]), (&json!(id), &json!(true)));
    fails(at, &erase, &settings(), 1);
}

#[test]
fn retention_says_first_what_it_deletes_and_then_deletes_it() {
    let dir = tempdir().unwrap();
    let id = seed(dir.path()).to_string();
    let at = dir.path();
    let audio = [("ENCRYPTION_KEY", KEY), ("PHI_RETENTION_DAYS", "20000"), ("RETENTION_AUDIO_DAYS", "30")];
    let plan = json(at, &["retention", "run", "--dry-run", "--format", "json"], &audio);
    assert_eq!((&plan["counts"]["recordings"], &plan["counts"]["calls"]), (&json!(1), &json!(0)));
    assert_eq!(at.join("heartvoice-audio").read_dir().unwrap().count(), 1);
    let done = json(at, &["retention", "run", "--format", "json"], &audio);
    assert_eq!(done["counts"], json!({"recordings": 1}));
    assert_eq!(done["rule"], "PHI_RETENTION_DAYS=20000 RETENTION_AUDIO_DAYS=30");
    assert_eq!(at.join("heartvoice-audio").read_dir().unwrap().count(), 0);
    let table = succeeds(at, &["retention", "run"], &settings());
    assert!(table.contains("calls") && table.contains("PHI_RETENTION_DAYS=2555"), "{table}");
    assert_eq!(json(at, &["call", "list", "--format", "json"], &settings()), json!([]));
    // Added today: the patient is not old.
    succeeds(at, &["patient", "show", &id], &settings());
    let longer = [("ENCRYPTION_KEY", KEY), ("PHI_RETENTION_DAYS", "30"), ("RETENTION_AUDIO_DAYS", "31")];
    assert!(fails(at, &["retention", "run"], &longer, 2).contains("RETENTION_AUDIO_DAYS"));
    let none = [("ENCRYPTION_KEY", KEY), ("PHI_RETENTION_DAYS", "0")];
    assert!(fails(at, &["retention", "run"], &none, 2).contains("PHI_RETENTION_DAYS"));
}

#[test]
fn a_backup_comes_back_without_whom_was_erased_since() {
    let dir = tempdir().unwrap();
    let id = seed(dir.path()).to_string();
    let at = dir.path();
    std::fs::create_dir(at.join("backups")).unwrap();
    let kept = [("ENCRYPTION_KEY", KEY), ("KEY_BACKUP_FILE", "kept.keys")];
    let made = json(at, &["backup", "create", "--to", "backups", "--format", "json"], &settings());
    assert_eq!((&made["recordings"], &made["tables"]["patients"]), (&json!(1), &json!(1)));
    let (archive, keys) = (made["file"].as_str().unwrap(), made["keys_file"].as_str().unwrap());
    let read = json(at, &["backup", "verify", archive, "--format", "json"], &kept);
    assert_eq!(read["tables"], made["tables"]);
    fn restore<'a>(archive: &'a str, keys: &'a str, database: &'a str, audio: &'a str) -> [&'a str; 12] {
        [
            "backup",
            "restore",
            "--from",
            archive,
            "--keys",
            keys,
            "--to-database",
            database,
            "--audio",
            audio,
            "--format",
            "json",
        ]
    }
    let back = json(at, &restore(archive, keys, "sqlite://restored/one.db", "restored/audio"), &kept);
    assert_eq!((&back["erased_since"], &back["keys"]), (&json!(0), &json!(4)));
    let there =
        [("ENCRYPTION_KEY", KEY), ("DATABASE_URL", "sqlite://restored/one.db"), ("AUDIO_STORE", "restored/audio")];
    let was = json(at, &["patient", "show", &id, "--format", "json"], &kept);
    assert_eq!(json(at, &["patient", "show", &id, "--format", "json"], &there), was);
    fails(at, &restore(archive, keys, "sqlite://restored/one.db", "restored/audio"), &kept, 1);

    succeeds(at, &["patient", "erase", &id, "--reason", "patient-request", "--yes"], &kept);
    let back = json(at, &restore(archive, "kept.keys", "sqlite://again/two.db", "again/audio"), &kept);
    assert_eq!(back["erased_since"], 1);
    assert_eq!(at.join("again/audio").read_dir().unwrap().count(), 0);
    let other = [("ENCRYPTION_KEY", "1f1c6a0b7de24835f0e1b7c25d93a846e2c4f81790ab3d5c6e7f8091a2b3c4d5")];
    assert!(fails(at, &["backup", "verify", archive], &other, 2).contains("encryption key"));
    assert!(fails(at, &["backup", "create", "--to", "nowhere"], &kept, 2).contains("--to"));
}

#[test]
fn keys_are_put_back_only_where_there_are_none() {
    let dir = tempdir().unwrap();
    seed(dir.path());
    let at = dir.path();
    succeeds(at, &["backup", "keys", "--to", "all.keys"], &settings());
    let back = ["backup", "restore-keys", "--keys", "all.keys"];
    assert!(fails(at, &back, &settings(), 1).contains("has keys already"));
    let mistyped = [settings()[0], ("DATABASE_URL", "sqlite://heartvioce.db")];
    assert!(fails(at, &back, &mistyped, 2).contains("there is no database"));
    assert!(!at.join("heartvioce.db").exists());
    fails(at, &["backup", "restore-keys", "--keys", "none.keys"], &settings(), 1);
}

/// As the runbook says, with PostgreSQL's own programs; only where there is a PostgreSQL for tests.
#[test]
fn a_dump_of_postgresql_and_the_file_of_the_keys_are_restored() {
    let of = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some((server, programs)) = of("HEARTVOICE_TEST_POSTGRES").zip(of("PGBIN")) else { return };
    let dir = tempdir().unwrap();
    let at = dir.path();
    let program = |name: &str, args: &[&str]| {
        let ran =
            std::process::Command::new(Path::new(&programs).join(name)).args(args).current_dir(at).output().unwrap();
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let suffix = std::process::id();
    let (first, second) = (format!("{server}/dumped{suffix}"), format!("{server}/restored{suffix}"));
    for name in ["dumped", "restored"] {
        let create = format!("CREATE DATABASE {name}{suffix}");
        program("psql", &["--quiet", "--dbname", &format!("{server}/postgres"), "--command", &create]);
    }
    let old = [("ENCRYPTION_KEY", KEY), ("DATABASE_URL", first.as_str()), ("KEY_BACKUP_FILE", "heartvoice.keys")];
    let new = [old[0], ("DATABASE_URL", second.as_str())];
    let add = |number: &str| {
        let (id, phone) = (format!("MRN-{number}"), format!("+1202555010{number}"));
        let name = format!("Patient {number}");
        let who = ["--external-id", &id, "--name", &name, "--phone", &phone, "--birth-date", "1948-04-01"];
        json(at, &[["patient", "add"].as_slice(), &who, &["--format", "json"]].concat(), &old)
    };
    let (ada, ben) = (add("1"), add("2"));
    let dump = ["--format=custom", "--exclude-table-data=data_keys", "--exclude-table-data=root_keys"];
    let volatile = ["idempotency_keys", "sessions", "invitations", "servers", "leases"];
    let volatile: Vec<String> = volatile.iter().map(|table| format!("--exclude-table-data={table}")).collect();
    let volatile: Vec<&str> = volatile.iter().map(String::as_str).collect();
    program("pg_dump", &[&dump, volatile.as_slice(), &["--file=heartvoice.dump", &first]].concat());
    succeeds(at, &["backup", "keys", "--to", "heartvoice.keys"], &old);
    succeeds(at, &["patient", "erase", ada["id"].as_str().unwrap(), "--reason", "patient-request", "--yes"], &old);

    program("pg_restore", &["--exit-on-error", "--no-owner", "--dbname", &second, "heartvoice.dump"]);
    let refused = fails(at, &["patient", "list"], &new, 2);
    assert!(refused.contains("backup restore-keys"), "{refused}");
    let back = ["backup", "restore-keys", "--keys", "heartvoice.keys", "--format", "json"];
    let done = json(at, &back, &new);
    assert_eq!((&done["keys"], &done["erased_since"]), (&json!(4), &json!(1)));
    let patients = json(at, &["patient", "list", "--format", "json"], &new);
    let names: Vec<_> = patients.as_array().unwrap().iter().map(|patient| &patient["id"]).collect();
    assert_eq!(names, [&ben["id"]]);
    succeeds(at, &["audit", "verify"], &new);
    assert!(fails(at, &back, &new, 1).contains("has keys already"));
}

#[test]
fn a_patients_own_copy_is_complete_and_an_export_for_research_names_nobody() {
    let dir = tempdir().unwrap();
    let id = seed(dir.path()).to_string();
    let at = dir.path();
    let copied = json(at, &["patient", "export", &id, "--out", "copy", "--format", "json"], &settings());
    assert_eq!(copied["files"].as_array().unwrap().len(), 3, "record, page, and the side on which there is sound");
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join("copy/record.json")).unwrap()).unwrap();
    assert_eq!(record["patient"]["name"], "Zebulon Quagmire");
    assert_eq!(record["calls"][0]["transcript"][0]["text"], WORDS);
    assert_eq!(record["calls"][0]["transcript"][1]["text"], "Thank you.", "a reply cut short stands as it was heard");
    assert_eq!(record["disclosures"][0]["who"], format!("operator {}", me()).as_str());
    let html = std::fs::read_to_string(at.join("copy/record.html")).unwrap();
    assert!(html.contains("lang=\"es\"") && html.contains(WORDS));
    let audio = record["calls"][0]["audio_files"].as_array().unwrap();
    assert_eq!(audio.len(), 1);
    for name in audio {
        let wav = std::fs::read(at.join("copy").join(name.as_str().unwrap())).unwrap();
        assert_eq!(voice::Wav::parse(&wav).unwrap().samples.len(), 800);
    }
    assert!(fails(at, &["patient", "export", &id, "--out", "copy"], &settings(), 2).contains("empty folder"));

    let done = json(at, &["export", "research", "--out", "research", "--format", "json"], &settings());
    assert_eq!((&done["patients"], &done["calls"]), (&json!(1), &json!(1)));
    let mut bytes = 0;
    for file in at.join("research").read_dir().unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        bytes += text.len();
        for planted in ["Zebulon", "Quagmire", "PLANTED", "2025550177", "1931", "Anchorage", "swollen like", WORDS, &id]
        {
            assert!(!text.contains(planted), "{planted}");
        }
    }
    assert!(bytes > 1_000 && done["files"].as_array().unwrap().len() > 5);
    let first = std::fs::read_to_string(at.join("research/patients.csv")).unwrap();
    succeeds(at, &["export", "research", "--out", "research2"], &settings());
    assert_ne!(std::fs::read_to_string(at.join("research2/patients.csv")).unwrap(), first, "pseudonyms are drawn anew");
}

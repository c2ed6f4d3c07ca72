//! What can be checked on this machine.

use super::Check;
use crate::commands::database_file;
use crate::config::Config;
use std::path::Path;
use std::time::Duration;
use store::{AudioConfig, AudioLocation, AudioStore, KeyService, Store, StoreError};

/// Longest time for opening the database; it may have to wait for a running server.
const DATABASE_WAIT: Duration = Duration::from_secs(15);
/// Longest time for the key service, its own repetitions included.
const KEY_SERVICE_WAIT: Duration = Duration::from_secs(20);
/// Longest time for the object store, its own repetitions included.
const OBJECT_STORE_WAIT: Duration = Duration::from_secs(20);

pub(super) fn settings(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for problem in &config.problems {
        checks.push(Check::fail("settings", problem.clone(), "correct the value where it stands"));
    }
    for warning in &config.warnings {
        checks.push(Check::warn("settings", warning.clone(), "set both, or neither"));
    }
    if checks.is_empty() {
        let kind = if config.is_production() { "production" } else { "development" };
        checks.push(Check::ok("settings", format!("all are valid, for {kind}")));
    }
    if config.get("ENCRYPTION_KEY").is_none() && config.get("VAULT_TRANSIT_KEY").is_none() {
        let mend = "`heartvoice keys generate` makes one; keep it safe; or set VAULT_ADDR and VAULT_TRANSIT_KEY";
        checks.push(Check::fail("settings", "ENCRYPTION_KEY is not set: nothing can be stored", mend));
    }
    let needed = [("TWILIO_AUTH_TOKEN", "every webhook of Twilio is refused", "copy it from the Twilio console")];
    for (name, effect, mend) in needed.into_iter().filter(|(name, ..)| config.get(name).is_none()) {
        checks.push(Check::fail("settings", format!("{name} is not set: {effect}"), mend));
    }
    let useful = [
        ("TWILIO_PHONE_NUMBER", "no patient can be telephoned", "set it to a number of the Twilio account"),
        ("NURSE_LINE", "no call can be passed on to a nurse", "set it to the nurses' number"),
    ];
    for (name, effect, mend) in useful.into_iter().filter(|(name, ..)| config.get(name).is_none()) {
        checks.push(Check::warn("settings", format!("{name} is not set: {effect}"), mend));
    }
    let staff = ["STAFF_PHONE", "STAFF_WEBHOOK_URL", "STAFF_EMAIL"];
    if staff.iter().all(|name| config.get(name).is_none()) {
        checks.push(Check::warn(
            "settings",
            "nobody is told when a patient needs attention",
            "set STAFF_PHONE, STAFF_WEBHOOK_URL or STAFF_EMAIL",
        ));
    }
    checks
}

pub(super) async fn database(config: &Config) -> Check {
    const NAME: &str = "database";
    let Ok(key) = config.key_service() else {
        let found = "not looked at without a valid ENCRYPTION_KEY or key service";
        return Check::warn(NAME, found, "set ENCRYPTION_KEY, or VAULT_ADDR and VAULT_TRANSIT_KEY");
    };
    let settings = config.store();
    if let Some(path) = database_file(&settings.database_url)
        && !path.exists()
    {
        // Opening would create it, and with the wrong key or address that would be one too many.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return match try_write(folder) {
            Ok(()) => Check::ok(NAME, "none yet; it is made at the first start"),
            Err(error) => {
                Check::fail(NAME, format!("none yet, and its folder cannot be written: {error}"), mend_folder(folder))
            }
        };
    }
    let looked = async {
        let store = Store::open(settings, key).await?;
        let answered = store.ping().await;
        store.close().await;
        answered
    };
    match tokio::time::timeout(DATABASE_WAIT, looked).await {
        Ok(Ok(())) => Check::ok(NAME, "it opens with the key and answers"),
        Ok(Err(error)) => {
            let mend = match error {
                StoreError::KeysMissing => {
                    "run `heartvoice backup restore-keys --keys FILE` with the newest file of the keys"
                }
                StoreError::WrongKey { .. } => "set ENCRYPTION_KEY (or the key of Vault) to the one that is named",
                StoreError::Corrupt { .. } => "restore it from a backup",
                _ => "check DATABASE_URL, the disk and its permissions",
            };
            Check::fail(NAME, error.to_string(), mend)
        }
        Err(_) => Check::fail(NAME, "it does not answer", "is another program holding it? check the disk"),
    }
}

/// The key service, where one keeps the keys.
pub(super) async fn key_service(config: &Config) -> Option<Check> {
    const NAME: &str = "key service";
    let service = config.key_service().ok().filter(|service| matches!(service, KeyService::Transit(_)))?;
    Some(match tokio::time::timeout(KEY_SERVICE_WAIT, service.check()).await {
        Ok(Ok(())) => Check::ok(NAME, format!("{} wraps and unwraps", service.id())),
        Ok(Err(error)) => Check::fail(NAME, error.to_string(), "see the permissions in docs/operations.md"),
        Err(_) => Check::fail(NAME, "it does not answer", "check VAULT_ADDR and the network"),
    })
}

/// Where recordings are kept, and where they are written.
pub(super) async fn audio(config: &Config) -> Vec<Check> {
    let audio = config.store().audio;
    let folder = |name, folder: &Path| {
        // It is made at the first start; until then the folder above it counts.
        let existing = folder.ancestors().find(|path| path.exists() || path.as_os_str().is_empty());
        let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match try_write(existing) {
            Ok(()) => Check::ok(name, if folder.exists() { "it can be written" } else { "none yet; it can be made" }),
            Err(error) => Check::fail(name, format!("cannot be written: {error}"), mend_folder(existing)),
        }
    };
    match &audio.location {
        AudioLocation::Directory(path) => vec![folder("audio folder", path)],
        AudioLocation::S3(_) => vec![folder("audio spool", &audio.spool), object_store(audio.clone()).await],
    }
}

async fn object_store(audio: AudioConfig) -> Check {
    const NAME: &str = "object store";
    let checked = async { AudioStore::open(audio)?.check().await };
    match tokio::time::timeout(OBJECT_STORE_WAIT, checked).await {
        Ok(Ok(())) => Check::ok(NAME, "it answers and knows us"),
        Ok(Err(error)) => {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Check::fail(NAME, why, "check AUDIO_STORE, AWS_REGION and the credentials")
        }
        Err(_) => Check::fail(NAME, "it does not answer", "check AWS_ENDPOINT_URL and the network"),
    }
}

fn mend_folder(folder: &Path) -> String {
    format!("give this user the right to write in {}, and check the free space", folder.display())
}

/// Writes a block, so that a full disk is noticed too, and removes it.
fn try_write(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".heartvoice-doctor-{}", std::process::id()));
    let written = std::fs::write(&path, [0u8; 64 * 1024]);
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

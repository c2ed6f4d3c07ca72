//! What can be checked on this machine.

use super::Check;
use crate::commands::database_file;
use crate::config::Config;
use std::path::Path;
use std::time::Duration;
use store::{Store, StoreError};

/// Longest time for opening the database; it may have to wait for a running server.
const DATABASE_WAIT: Duration = Duration::from_secs(15);

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
    let needed = [
        ("ENCRYPTION_KEY", "nothing can be stored", "`heartvoice keys generate` makes one; keep it safe"),
        ("TWILIO_AUTH_TOKEN", "every webhook of Twilio is refused", "copy it from the Twilio console"),
    ];
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
    let Ok(key) = config.master_key() else {
        return Check::warn(NAME, "not looked at without a valid ENCRYPTION_KEY", "set ENCRYPTION_KEY");
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
                StoreError::WrongKey { .. } => "set ENCRYPTION_KEY to the key it was created with",
                StoreError::Corrupt { .. } => "restore it from a backup",
                _ => "check DATABASE_URL, the disk and its permissions",
            };
            Check::fail(NAME, error.to_string(), mend)
        }
        Err(_) => Check::fail(NAME, "it does not answer", "is another program holding it? check the disk"),
    }
}

pub(super) fn audio_folder(config: &Config) -> Check {
    const NAME: &str = "audio folder";
    let folder = config.store().audio_dir;
    if folder.to_str().is_some_and(|path| path.starts_with("s3:")) {
        return Check::fail(NAME, "s3:// is not supported in this version", "set AUDIO_STORE to a directory");
    }
    // It is made at the first start; until then the folder above it counts.
    let existing = folder.ancestors().find(|path| path.exists() || path.as_os_str().is_empty());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match try_write(existing) {
        Ok(()) => Check::ok(NAME, if folder.exists() { "it can be written" } else { "none yet; it can be made" }),
        Err(error) => Check::fail(NAME, format!("cannot be written: {error}"), mend_folder(existing)),
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

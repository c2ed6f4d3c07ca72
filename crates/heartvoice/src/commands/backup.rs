//! `heartvoice backup`: copies of the embedded store, and putting them back.

use super::{database_file, load_config, open_configured, operator};
use crate::config::Config;
use crate::failure::bad_input;
use crate::output::{self, Format};
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use store::audit::{NewEntry, Verified};
use store::{BackupSummary, KeyService, RestorePlan, Store, StoreConfig};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copies database and recordings into one encrypted file, while the server runs
    ///
    /// The keys of the records go into a second file, because a copy that holds keys would bring back patients who were
    /// erased since: keep only its newest version, and apart from the first. Both can be opened with ENCRYPTION_KEY alone.
    /// For PostgreSQL use pg_dump, leaving out the data of data_keys, root_keys and idempotency_keys, and `backup keys`;
    /// to restore, pg_restore and `backup restore-keys`.
    #[command(
        after_help = "Examples:\n  heartvoice backup create --to /backups\n  heartvoice backup create --to /backups --keys-to /other-disk/heartvoice.keys"
    )]
    Create {
        /// Directory for the file; its name says when it was made
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// File of the keys, replaced if it is there; without this KEY_BACKUP_FILE, or a file beside the backup
        #[arg(long, value_name = "FILE")]
        keys_to: Option<PathBuf>,
        /// Leaves out the recordings, where they are kept safe otherwise
        #[arg(long)]
        no_recordings: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Writes the keys of the records to a file, in place of the one before; on PostgreSQL too
    #[command(after_help = "Example:\n  heartvoice backup keys --to /other-disk/heartvoice.keys")]
    Keys {
        /// The file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Reads a backup to its end and says what is in it
    #[command(after_help = "Example:\n  heartvoice backup verify /backups/heartvoice-20260301T020000Z.backup")]
    Verify {
        /// The backup
        file: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Puts a backup to where there is nothing yet
    ///
    /// Whoever was erased after the backup was made stays erased, provided that the keys are the newest. Where the master
    /// key was exchanged between the two files, set both, the former as ENCRYPTION_KEY and the new one as
    /// ENCRYPTION_KEY_NEXT: each file is opened with the one it needs.
    #[command(
        after_help = "Example:\n  heartvoice backup restore --from /backups/heartvoice-20260301T020000Z.backup \\\n    --keys /other-disk/heartvoice.keys --to-database sqlite:///srv/heartvoice/heartvoice.db --audio /srv/heartvoice/audio"
    )]
    Restore {
        /// The backup
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The newest file of the keys
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// Address of the database to make
        #[arg(long, value_name = "sqlite://PATH")]
        to_database: String,
        /// Directory for the recordings
        #[arg(long, value_name = "DIR")]
        audio: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Puts the keys into the database of DATABASE_URL, which was restored without them; for PostgreSQL, after pg_restore
    ///
    /// Only into a database that holds records and no key. Whoever was erased after the database was backed up stays erased:
    /// what is left of them is removed. Until the keys are there, a server refuses to start.
    #[command(
        name = "restore-keys",
        after_help = "Example:\n  pg_restore --no-owner --dbname \"$DATABASE_URL\" heartvoice.dump\n  heartvoice backup restore-keys --keys /other-disk/heartvoice.keys"
    )]
    RestoreKeys {
        /// The newest file of the keys
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let config = load_config(file)?;
    match command {
        Command::Create { to, keys_to, no_recordings, format } => {
            create(&config, &to, keys_to, !no_recordings, format).await
        }
        Command::Keys { to, format } => {
            let store = open_configured(&config, true).await?;
            let keys = store.export_keys(&to).await;
            store.close().await;
            let keys = keys?;
            match format {
                Format::Table => output::line(&format!("{keys} keys written to {}", to.display())),
                Format::Json => output::json(&json!({"keys_file": to, "keys": keys})),
            }
        }
        Command::Verify { file, format } => {
            let summary = store::verify_backup(&file, &service_of(&config, &file)?).await?;
            print(&summary, json!({"file": file}), format)
        }
        Command::Restore { from, keys, to_database, audio, format } => {
            restore(&config, from, keys, &to_database, audio, format).await
        }
        Command::RestoreKeys { keys, format } => restore_keys(&config, &keys, format).await,
    }
}

/// The master key or key service that a file was made under: the one in use or, around an exchange, the next one.
fn service_of(config: &Config, file: &Path) -> anyhow::Result<KeyService> {
    let service = config.key_service()?;
    // A file that cannot be read is told of by whoever opens it.
    match store::backup_wrapped_by(file) {
        Ok(needed) if needed != service.id() => {
            Ok(config.next_key_service().ok().filter(|next| next.id() == needed).unwrap_or(service))
        }
        _ => Ok(service),
    }
}

async fn create(
    config: &Config,
    to: &Path,
    keys_to: Option<PathBuf>,
    with_recordings: bool,
    format: Format,
) -> anyhow::Result<()> {
    if !to.is_dir() {
        return Err(bad_input(format!("--to: expected a directory, got {}", to.display())));
    }
    let now = jiff::Timestamp::now();
    let archive = to.join(format!("heartvoice-{}.backup", now.strftime("%Y%m%dT%H%M%SZ")));
    let keys = keys_to.or_else(|| config.get("KEY_BACKUP_FILE").map(PathBuf::from)).unwrap_or_else(|| {
        let mut name = archive.clone().into_os_string();
        name.push(".keys");
        PathBuf::from(name)
    });
    let store = open_configured(config, true).await?;
    let made = store.create_backup(&archive, &keys, with_recordings, &operator(), now.as_microsecond()).await;
    store.close().await;
    print(&made?, json!({"file": archive, "keys_file": keys}), format)
}

async fn restore(
    config: &Config,
    archive: PathBuf,
    keys: PathBuf,
    to_database: &str,
    audio_dir: PathBuf,
    format: Format,
) -> anyhow::Result<()> {
    let expected = "--to-database: expected sqlite://PATH; into PostgreSQL restore with its own tools";
    let database = database_file(to_database).ok_or_else(|| bad_input(expected))?;
    let plan = RestorePlan { archive, keys, database, audio_dir };
    let (of_archive, of_keys) = (service_of(config, &plan.archive)?, service_of(config, &plan.keys)?);
    let restored = store::restore_backup(&plan, &of_archive, &of_keys).await?;
    let store_config = StoreConfig { database_url: to_database.to_owned(), audio_dir: plan.audio_dir.clone() };
    let store = Store::open(store_config, of_keys).await.context("cannot open what was restored")?;
    let by = NewEntry::new(operator(), "backup.restore").detail("made_at_us", restored.summary.made_at_us);
    let tidied = tidy(&store, by).await;
    store.close().await;
    let (verified, erased) = tidied?;
    if let Some(fault) = &verified.broken {
        anyhow::bail!("the audit trail of the backup is broken at entry {}: {}", fault.seq, fault.what);
    }
    let beside = json!({
        "database": plan.database, "audio": plan.audio_dir, "keys": restored.keys,
        "erased_since": erased, "audit_entries": verified.entries,
    });
    print(&restored.summary, beside, format)
}

/// Checks the audit trail of what was restored, and removes what is left of patients who were erased since; says how many.
async fn tidy(store: &Store, entry: NewEntry) -> anyhow::Result<(Verified, u64)> {
    let verified = store.verify_audit(&[]).await?;
    let erased = store.erase_keyless_patients(&operator(), jiff::Timestamp::now().as_microsecond()).await?;
    store.record(&[entry.detail("erased_since", erased)]).await?;
    Ok((verified, erased))
}

async fn restore_keys(config: &Config, keys: &Path, format: Format) -> anyhow::Result<()> {
    let places = config.store();
    if let Some(path) = database_file(&places.database_url)
        && !path.exists()
    {
        let missing = format!("there is no database at {}: restore it first, and then its keys", path.display());
        return Err(bad_input(missing));
    }
    let service = service_of(config, keys)?;
    let restored = store::restore_keys(&places.database_url, keys, &service).await?;
    let store = Store::open(places, service).await.context("cannot open the store with the keys that were put back")?;
    config.keep_key_backup(&store);
    let tidied = tidy(&store, NewEntry::new(operator(), "backup.restore_keys").detail("keys", restored.keys)).await;
    store.close().await;
    let (verified, erased) = tidied?;
    if let Some(fault) = &verified.broken {
        anyhow::bail!("the keys are in place, but the audit trail is broken at entry {}: {}", fault.seq, fault.what);
    }
    match format {
        Format::Table => output::line(&format!(
            "{} keys put back; patients who were erased since the backup and stay so: {erased}; entries of the audit trail, \
             all in order: {}",
            restored.keys, verified.entries
        )),
        Format::Json => {
            output::json(&json!({"keys": restored.keys, "erased_since": erased, "audit_entries": verified.entries}))
        }
    }
}

/// Prints what is in a backup, after what else is known of it.
fn print(summary: &BackupSummary, beside: Value, format: Format) -> anyhow::Result<()> {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut object = beside;
    if let Some(map) = object.as_object_mut() {
        map.insert("made_at".to_owned(), json!(output::time(summary.made_at_us)));
        map.insert("recordings".to_owned(), json!(summary.recordings));
        map.insert("bytes".to_owned(), json!(summary.bytes));
        rows.extend(map.iter().map(|(name, value)| [name.clone(), plain(value)]));
        map.insert("tables".to_owned(), json!(summary.tables));
    }
    match format {
        Format::Json => output::json(&object),
        Format::Table => {
            rows.extend(summary.tables.iter().map(|(table, count)| [format!("rows of {table}"), count.to_string()]));
            output::table(["what", "value"], rows)
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! `heartvoice keys`: keys for the records.

use super::{load_config, open_configured};
use crate::config::Config;
use crate::output::{self, Format, RowFormat};
use crate::progress;
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use store::audit::Actor;
use store::{RootKeyRecord, Rotation, RotationStep, ServerRecord, Store, StoreError};

/// Between two looks at servers that have not loaded the new key.
const PAUSE: Duration = Duration::from_millis(200);
/// How long servers are waited for. They look every second; one that is silent for fifteen is not waited for.
const SERVERS_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints a fresh random ENCRYPTION_KEY
    #[command(after_help = "Example:\n  echo \"ENCRYPTION_KEY=$(heartvoice keys generate)\" >> .env")]
    Generate,
    /// Exchanges the key that wraps the keys of patients and calls, while servers run
    ///
    /// The new key is announced, used when every server has loaded it, and the keys of all patients and calls are wrapped
    /// anew; then the old one is destroyed. Stopped at any point and run again, it goes on.
    #[command(
        after_help = "Example:\n  heartvoice keys rotate\n  ENCRYPTION_KEY_NEXT=$(heartvoice keys generate) heartvoice keys rotate --master"
    )]
    Rotate {
        /// Wraps the installation's keys under ENCRYPTION_KEY_NEXT or VAULT_TRANSIT_KEY_NEXT, or under the newest version of
        /// VAULT_TRANSIT_KEY, instead
        #[arg(long)]
        master: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists the installation's keys; their content is never shown
    #[command(after_help = "Example:\n  heartvoice keys status --format json")]
    Status {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
}

pub(crate) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Generate => {
            // The provider's own generator, through the one function that gives key material out.
            let key = store::MasterKey::random()?.derive_32("fresh installation key");
            output::line(&hex(&key))
        }
        Command::Rotate { master, format } => {
            let config = load_config(file)?;
            if master { change_master(&config, format).await } else { rotate(&config, format).await }
        }
        Command::Status { format } => {
            let store = open_configured(&load_config(file)?, true).await?;
            let shown = status(&store, format).await;
            store.close().await;
            shown
        }
    }
}

async fn rotate(config: &Config, format: Format) -> anyhow::Result<()> {
    let store = open_configured(config, true).await?;
    let done = rotate_in(&store, format).await;
    store.close().await;
    done
}

async fn rotate_in(store: &Store, format: Format) -> anyhow::Result<()> {
    let mut rotation = store.begin_rotation(operator()).await?;
    if rotation.goes_on() {
        eprintln!("an earlier rotation was not finished; it goes on");
    }
    let total = store.root_keys().await?.iter().map(|key| key.data_keys).sum();
    let bar = progress::bar(total, "keys");
    let (mut active, mut destroyed) = (None, Vec::new());
    let mut waiting_since = None;
    loop {
        let step = store.rotate_step(&mut rotation, jiff::Timestamp::now().as_microsecond()).await;
        let step = step.with_context(|| unfinished(&rotation))?;
        if !matches!(step, RotationStep::Waiting { .. }) {
            waiting_since = None;
        }
        match step {
            RotationStep::Waiting { servers } => {
                let since = *waiting_since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > SERVERS_WAIT {
                    anyhow::bail!("{}", unloaded(&servers));
                }
                tokio::time::sleep(PAUSE).await;
            }
            RotationStep::Rewrapped { data_keys: 0 } => tokio::time::sleep(PAUSE).await,
            RotationStep::Rewrapped { .. } => bar.set_position(rotation.rewrapped()),
            RotationStep::Activated { key_id } => active = Some(key_id),
            RotationStep::Destroyed { key_id } => destroyed.push(key_id),
            RotationStep::Done => break,
            _ => {}
        }
    }
    bar.finish_and_clear();
    if active.is_none() {
        let keys = store.root_keys().await?;
        active = keys.into_iter().find(|key| key.purpose == "kek" && key.state == "active").map(|key| key.id);
    }
    let active = active.unwrap_or_default();
    match format {
        Format::Json => {
            output::json(&json!({"active": active, "destroyed": destroyed, "rewrapped": rotation.rewrapped()}))
        }
        Format::Table => output::line(&format!(
            "key {active} is in use; {} keys of patients and calls were wrapped anew; destroyed: {}",
            rotation.rewrapped(),
            if destroyed.is_empty() { "none".to_owned() } else { destroyed.join(", ") },
        )),
    }
}

/// What goes before the reason why a rotation ended early, or with damage.
fn unfinished(rotation: &Rotation) -> &'static str {
    if rotation.found_only_damage() {
        "the keys were exchanged, but for data keys that do not open; what wraps those is kept, retiring"
    } else {
        "the rotation is not finished; run it again when this is mended, and it goes on"
    }
}

fn unloaded(servers: &[ServerRecord]) -> String {
    let who: Vec<_> = servers
        .iter()
        .map(|server| format!("{} (started {})", server.id, output::time(server.started_at_us)))
        .collect();
    format!(
        "these servers have not loaded the new key: {}; restart them (with the present master key or key service) and run \
         `heartvoice keys rotate` again; it goes on",
        who.join(", ")
    )
}

async fn change_master(config: &Config, format: Format) -> anyhow::Result<()> {
    let next = config.next_key_service()?;
    let store = match Store::open(config.store(), config.key_service()?).await {
        Err(StoreError::WrongKey { expected, .. }) if expected == next.id() => {
            anyhow::bail!(
                "the keys are wrapped by {expected} already: set it as ENCRYPTION_KEY or VAULT_TRANSIT_KEY now"
            );
        }
        store => store.context("cannot open the store")?,
    };
    config.keep_key_backup(&store);
    let changed = store.change_master(&next, operator()).await;
    store.close().await;
    let keys = changed?;
    let written = config.get("KEY_BACKUP_FILE");
    match format {
        Format::Json => output::json(&json!({"wrapped_by": next.id(), "keys": keys, "keys_file": written})),
        Format::Table => output::line(&format!(
            "{keys} keys are now wrapped by {}; set it as ENCRYPTION_KEY or VAULT_TRANSIT_KEY and restart the servers soon: \
             they go on, but until then they do not renew the backup of the keys; {}",
            next.id(),
            match written {
                Some(file) => format!("it was written to {file} under the new master key"),
                None => "write it now, with `heartvoice backup keys --to FILE`".to_owned(),
            }
        )),
    }
}

async fn status(store: &Store, format: RowFormat) -> anyhow::Result<()> {
    let keys = store.root_keys().await?;
    let header = ["id", "purpose", "state", "wrapped by", "since", "until", "data keys"];
    let row = |key: &RootKeyRecord| {
        [
            key.id.clone(),
            key.purpose.clone(),
            key.state.clone(),
            match key.wrapped_version {
                Some(version) => format!("{} v{version}", key.wrapped_by),
                None => key.wrapped_by.clone(),
            },
            output::time(key.created_at_us),
            key.ended_at_us.map_or_else(|| "-".to_owned(), output::time),
            key.data_keys.to_string(),
        ]
    };
    match format {
        RowFormat::Json => output::json(&keys.iter().map(object).collect::<Vec<_>>()),
        RowFormat::Table => output::table(header, keys.iter().map(row).collect()),
        RowFormat::Csv => output::csv(
            &["id", "purpose", "state", "wrapped_by", "since", "until", "data_keys"],
            &keys.iter().map(row).collect::<Vec<_>>(),
        ),
    }
}

fn object(key: &RootKeyRecord) -> Value {
    json!({
        "id": key.id,
        "purpose": key.purpose,
        "state": key.state,
        "wrapped_by": key.wrapped_by,
        "wrapped_version": key.wrapped_version,
        "created_at": output::time(key.created_at_us),
        "ended_at": key.ended_at_us.map(output::time),
        "data_keys": key.data_keys,
    })
}

/// Whoever runs the command, by the name of their system account.
fn operator() -> Actor {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    Actor::operator(&name.unwrap_or_else(|| "operator".to_owned()))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

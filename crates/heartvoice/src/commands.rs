//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod alert;
pub(crate) mod analyze;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod call;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod healthcheck;
pub(crate) mod keys;
pub(crate) mod model;
mod one_server;
pub(crate) mod openapi;
pub(crate) mod operator;
pub(crate) mod patient;
pub(crate) mod protocol;
pub(crate) mod retention;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod token;
pub(crate) mod twiml_bin;
pub(crate) mod user;

use crate::cli::{Cli, Command};
use crate::config::{Config, Overrides};
use crate::logging::{self, LogFormat};
use anyhow::Context;
use std::path::{Path, PathBuf};
use store::Store;

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Demo(args) => {
            log_by_environment("warn")?;
            demo::run(args).await
        }
        Command::Serve(args) => serve::run(file, args).await,
        Command::Analyze(args) => {
            log_by_environment("warn")?;
            tokio::task::block_in_place(|| analyze::run(&args))
        }
        Command::Simulate(command) => {
            log_by_environment("warn")?;
            simulate::run(command).await
        }
        Command::Patient(command) => {
            let config = load_config(file)?;
            let clinic = patient::Clinic {
                store: &open_configured(&config, command.only_reads()).await?,
                protocol: config.protocol(),
                model: config.model("RISK_MODEL").unwrap_or_default(),
            };
            patient::run(&clinic, command).await
        }
        Command::Schedule(command) => {
            let store = open_store(file, command.only_reads()).await?;
            schedule::run(&store, command).await
        }
        Command::Call(command) => Box::pin(call::run(&open_store(file, true).await?, command)).await,
        Command::Agent(command) => agent::run(file, command).await,
        Command::Doctor(args) => doctor::run(file, &args).await,
        Command::Healthcheck(args) => healthcheck::run(file, &args).await,
        Command::Protocol(command) => protocol::run(&command),
        Command::Alert(command) => {
            let store = open_store(file, command.only_reads()).await?;
            Box::pin(alert::run(&store, command)).await
        }
        Command::Audit(command) => audit::run(file, command).await,
        Command::Token(command) => {
            let store = open_store(file, command.only_reads()).await?;
            token::run(&store, command).await
        }
        Command::Keys(command) => keys::run(file, command).await,
        Command::Openapi(args) => openapi::run(&args),
        Command::TwimlBin(args) => twiml_bin::run(&args),
        Command::User(command) => {
            let config = load_config(file)?;
            let store = open_configured(&config, command.only_reads()).await?;
            user::run(&store, &config.public_base_url(), command).await
        }
        Command::Retention(command) => {
            let config = load_config(file)?;
            let store = open_configured(&config, command.only_reads()).await?;
            retention::run(&config, &store, command).await
        }
        Command::Backup(command) => backup::run(file, command).await,
        Command::Export(command) => export::run(&open_store(file, true).await?, command).await,
        Command::Model(command) => tokio::task::block_in_place(|| model::run(&command)),
        Command::Config(command) => config::run(file, &command),
    }
}

/// Starts logging for commands that read no other settings.
fn log_by_environment(default_filter: &str) -> anyhow::Result<()> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let json = set("HEARTVOICE_LOG_FORMAT").as_deref() == Some("json");
    let format = if json { LogFormat::Json } else { LogFormat::Text };
    logging::init(set("HEARTVOICE_LOG").as_deref().unwrap_or(default_filter), format)
}

/// Opens the store for administration.
async fn open_store(file: Option<&Path>, only_reads: bool) -> anyhow::Result<Store> {
    open_configured(&load_config(file)?, only_reads).await
}

/// Reads the settings for administration and starts logging by them.
fn load_config(file: Option<&Path>) -> anyhow::Result<Config> {
    let config = Config::load(file, &Overrides::default());
    config.require_valid()?;
    config.init_logging("warn")?;
    Ok(config)
}

async fn open_configured(config: &Config, only_reads: bool) -> anyhow::Result<Store> {
    let key = config.key_service()?;
    if only_reads
        && let Some(path) = database_file(&config.store().database_url)
        && !path.exists()
    {
        // A mistyped address would otherwise look like an empty clinic.
        eprintln!("note: there is no database at {} yet; a new one is made", path.display());
    }
    let store = Store::open(config.store(), key).await.context("cannot open the store")?;
    config.keep_key_backup(&store);
    Ok(store.acting_as(operator::operator()))
}

/// Whoever is at this machine, for the audit trail.
fn operator() -> store::audit::Actor {
    operator::operator()
}

/// A seed that no earlier run had, for what must be new each time.
fn fresh_seed() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default()
}

/// The file of an SQLite address, if it is one.
fn database_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    (!path.starts_with(':')).then(|| PathBuf::from(path))
}

//! `heartvoice serve`: the server, until it is asked to stop.

mod trail;

use super::database_file;
use super::one_server::OnlyServer;
use crate::config::{Config, Overrides};
use crate::signals::StopRequests;
use anyhow::Context;
use server::Server;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use store::Store;

/// Runs the server until SIGTERM or Ctrl-C.
///
/// Then it takes no new calls and lets running ones end; a second signal, or the end of the grace period, cuts them.
/// Exit code 1 when calls were cut.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=$(heartvoice keys generate) heartvoice serve --port 3000")]
pub(crate) struct Args {
    /// Port to listen on (setting PORT)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Address to listen on (setting BIND_ADDR)
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Longest time that running calls may take to end after a request to stop
    #[arg(long, value_name = "SECONDS", default_value_t = server::limits::DRAIN_WAIT.as_secs())]
    grace: u64,
}

pub(crate) async fn run(file: Option<&Path>, args: Args) -> anyhow::Result<()> {
    let mut config = Config::load(file, &Overrides { port: args.port, bind: args.bind });
    config.check_tls_files();
    config.require_valid()?;
    let key = config.key_service()?;
    config.init_logging("info")?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.get("TWILIO_AUTH_TOKEN").is_none() {
        tracing::warn!("TWILIO_AUTH_TOKEN is not set: every webhook will be refused");
    }
    if ["STAFF_PHONE", "STAFF_EMAIL", "STAFF_WEBHOOK_URL"].iter().all(|name| config.get(name).is_none()) {
        tracing::warn!("neither STAFF_PHONE, STAFF_EMAIL nor STAFF_WEBHOOK_URL is set: nobody is told of alerts");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), production = config.is_production(), "starting");
    let mut stop = StopRequests::listen()?;
    let store_config = config.store();
    let database_url = store_config.database_url.clone();
    if let Some(path) = database_file(&store_config.database_url) {
        tracing::info!(database = %path.display(), audio = config.get("AUDIO_STORE").unwrap_or_default(), "opening the store");
    }
    let store = Store::open(store_config, key).await.context("cannot open the store")?;
    config.keep_key_backup(&store);
    // Before what an earlier run left is tidied up: a server that cannot start must not end the calls of one that runs.
    let only_server = OnlyServer::of(&database_url)?;
    let settings = config.server();
    let listener = Server::listen(&settings).await?;
    // Before anything else: other servers of the database must not take ours for lost.
    store.announce_server(unix_us()).await.context("cannot tell the database of this server")?;
    let interrupted = Server::tidy_up(&settings, &store).await.context("cannot tidy up after the last run")?;
    if !interrupted.is_empty() {
        tracing::warn!(calls = interrupted.len(), "calls of an earlier run were marked as interrupted");
        for id in &interrupted {
            tracing::info!(call_id = %id, "marked as interrupted");
        }
    }
    trail::started(&store, &config).await.context("cannot note the start in the audit trail")?;
    offer_first_link(&store, &config.public_base_url()).await?;
    let mut server = Server::start_on(listener, settings, store)?;
    server.keep_retention(config.retention()?);
    stop.next().await;
    tracing::info!(live_calls = server.live_calls(), "stopping; a second signal cuts running calls");
    let cut = server.shutdown(Duration::from_secs(args.grace), stop.next()).await;
    drop(only_server);
    anyhow::ensure!(cut == 0, "{cut} calls had to be cut");
    tracing::info!("stopped");
    Ok(())
}

/// As long as nobody has an account, whoever is at the terminal may make themselves the administrator. The link is a
/// secret, so it goes to no log: where there is no terminal, it is asked for by a command.
async fn offer_first_link(store: &Store, base_url: &str) -> anyhow::Result<()> {
    if !std::io::stderr().is_terminal() {
        if !store.has_users().await? {
            tracing::warn!("nobody has an account: run `heartvoice user add --name NAME --role admin` for a link");
        }
        return Ok(());
    }
    if let Some(link) = server::auth::first_link(store, base_url, unix_us()).await? {
        eprintln!("\nSet up the first administrator, within 24 hours and once:\n  {}\n", link.as_str());
    }
    Ok(())
}

/// Microseconds since the Unix epoch.
fn unix_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

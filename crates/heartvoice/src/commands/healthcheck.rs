//! `heartvoice healthcheck`: asks a running server for its health, so that a container needs no other program for it.

use crate::config::{Config, Overrides};
use crate::failure::bad_input;
use anyhow::Context;
use reqwest::{Certificate, Client, Url};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Asks a running server whether it can serve calls: exit code 0 if so, 1 if not or if nobody answers.
///
/// Without --url it asks the server that the settings describe, on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice healthcheck --url http://127.0.0.1:3000/health")]
pub(crate) struct Args {
    /// What to ask instead
    #[arg(long)]
    url: Option<Url>,
    /// Longest time to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(crate) async fn run(file: Option<&Path>, args: &Args) -> anyhow::Result<()> {
    // A proxy of the environment is for the way out, never for ourselves.
    let client = Client::builder().timeout(Duration::from_secs(args.timeout)).no_proxy();
    let (client, url) = match &args.url {
        Some(url) => (client, url.clone()),
        None => {
            let config = Config::load(file, &Overrides::default());
            config.require_valid()?;
            local(&config, client)?
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad_input("--url: expected an address starting with http:// or https://"));
    }
    let answer = client.build()?.get(url).send().await.map_err(reqwest::Error::without_url).context("no answer")?;
    anyhow::ensure!(answer.status().is_success(), "the server answers {}", answer.status());
    Ok(())
}

/// The server of the settings, asked directly and not through the public address. With TLS it is asked by its public
/// name, and must show a certificate from its own file or one that this machine trusts.
fn local(config: &Config, client: reqwest::ClientBuilder) -> anyhow::Result<(reqwest::ClientBuilder, Url)> {
    let bind = config.bind();
    let address = SocketAddr::new(reachable(bind.ip()), bind.port());
    let Some(tls) = config.tls() else { return Ok((client, Url::parse(&format!("http://{address}/health"))?)) };
    let public = Url::parse(&config.public_base_url()).context("PUBLIC_BASE_URL")?;
    let name = public.host_str().unwrap_or("localhost");
    let chain = std::fs::read(&tls.certificate)
        .map_err(|error| bad_input(format!("TLS_CERT_FILE: cannot read {}: {error}", tls.certificate.display())))?;
    let own = Certificate::from_pem_bundle(&chain).context("TLS_CERT_FILE")?;
    let client = client.resolve(name, address).tls_certs_merge(own);
    Ok((client, Url::parse(&format!("https://{name}:{}/health", bind.port()))?))
}

/// Where a server that listens on `bind` can be reached from this machine.
fn reachable(bind: IpAddr) -> IpAddr {
    match bind {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

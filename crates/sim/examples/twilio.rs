//! The simulated Twilio REST interface on its own, for trying other clients against it.
//!
//! `cargo run -p sim --example twilio -- 127.0.0.1:8902`

use sim::twilio::{TwilioConfig, TwilioSim};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = TwilioConfig::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--throttle-every" => config.throttle_every = Some(value()?.parse()?),
            "--api-key" => {
                let key = value()?;
                let (sid, secret) = key.split_once(':').ok_or("--api-key wants SK...:secret")?;
                config.api_key = Some((sid.to_owned(), secret.to_owned()));
            }
            addr => config.listen = addr.parse()?,
        }
    }
    let running = TwilioSim::start(config).await?;
    println!("listening on {}", running.base_url());
    tokio::signal::ctrl_c().await?;
    println!("{:#?}\n{:#?}", running.calls(), running.messages());
    running.shutdown().await;
    Ok(())
}

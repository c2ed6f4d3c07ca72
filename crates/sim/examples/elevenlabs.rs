//! The simulated agents service on its own, for trying other clients against it.
//!
//! `cargo run -p sim --example elevenlabs -- 127.0.0.1:8901 --script sdk-check --fault trickle --log /tmp/frames`

use sim::elevenlabs::{AudioFormat, ElevenLabsSim, Faults, Script, SimConfig};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = SimConfig { script: Script::sdk_check(), ..SimConfig::default() };
    let mut faults = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--script" => config.script = Script::named(&value()?).ok_or("unknown script")?,
            "--fault" => faults.push(value()?),
            "--seed" => config.seed = value()?.parse()?,
            "--api-key" => config.api_key = Some(value()?),
            "--format" => {
                let format = AudioFormat::parse(&value()?).ok_or("unknown format")?;
                (config.output_format, config.input_format) = (format, format);
            }
            "--log" => config.frame_log = Some(value()?.into()),
            addr => config.listen = addr.parse()?,
        }
    }
    config.faults = Faults::parse(&faults)?;
    let running = ElevenLabsSim::start(config).await?;
    println!("listening on {}", running.base_url());
    tokio::signal::ctrl_c().await?;
    for conversation in running.stats().conversations {
        println!("{conversation:?}");
    }
    running.shutdown().await;
    Ok(())
}

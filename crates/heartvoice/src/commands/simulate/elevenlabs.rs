//! `heartvoice simulate elevenlabs`: the simulated agents service, until it is asked to stop.

use crate::failure::bad_input;
use crate::output::{self, Format};
use crate::signals::StopRequests;
use serde_json::json;
use sim::elevenlabs::{AudioFormat, ElevenLabsSim, Faults, Script, SimConfig};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs a simulated ElevenLabs agents service.
///
/// Set ELEVENLABS_BASE_URL to the address it prints. With --format json, the address goes to standard error, and the
/// conversations it had are printed at its end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice simulate elevenlabs --listen 127.0.0.1:8901 --fault drop=5000")]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8901")]
    listen: SocketAddr,
    /// Something that goes wrong; may be repeated, `--fault help` lists all
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<String>,
    /// Seed of everything that varies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the agent says: visit (what the server tells it), check-in (always the same), sdk-check or parrot
    #[arg(long, value_name = "NAME", default_value = "visit")]
    script: String,
    /// Accept only this API key
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Know only this agent
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    /// Audio format of both directions, such as ulaw_8000 or pcm_16000
    #[arg(long, value_name = "NAME", default_value = "ulaw_8000")]
    audio_format: String,
    /// Write every frame as a line of JSON to sent.jsonl and received.jsonl in this folder
    #[arg(long, value_name = "DIR")]
    log_frames: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.faults.iter().any(|name| name == "help") {
        return super::faults::list(sim::elevenlabs::faults::FAULT_NAMES);
    }
    let script = Script::named(&args.script)
        .ok_or_else(|| bad_input("--script: expected visit, check-in, sdk-check or parrot"))?;
    let audio = AudioFormat::parse(&args.audio_format)
        .ok_or_else(|| bad_input(format!("--audio-format: expected one of {}", AudioFormat::names().join(", "))))?;
    let config = SimConfig {
        listen: args.listen,
        seed: args.seed,
        script,
        api_key: args.api_key,
        agent_id: args.agent_id,
        faults: Faults::parse(&args.faults).map_err(|error| bad_input(format!("--fault: {error}")))?,
        output_format: audio,
        input_format: audio,
        frame_log: args.log_frames,
        ..SimConfig::default()
    };
    let mut stop = StopRequests::listen()?;
    let running = ElevenLabsSim::start(config).await?;
    match args.format {
        Format::Table => output::line(&format!("listening on {}", running.base_url()))?,
        Format::Json => eprintln!("listening on {}", running.base_url()),
    }
    stop.next().await;
    let stats = running.stats();
    running.shutdown().await;
    if args.format == Format::Table {
        return Ok(());
    }
    let conversations = stats.conversations.iter().map(|chat| {
        json!({
            "conversation_id": chat.conversation_id,
            "agent_id": chat.agent_id,
            "authorization": chat.authorization,
            "received": chat.received,
            "sent": chat.sent,
            "caller_audio_bytes": chat.caller_audio.len(),
            "agent_audio_bytes": chat.agent_audio_bytes,
            "slowest_pong_ms": chat.slowest_pong_ms,
            "protocol_errors": chat.protocol_errors,
            "close_code": chat.close_code,
            "closed_by": chat.closed_by,
            "duration_ms": chat.duration_ms,
        })
    });
    output::json(&json!({
        "signed_urls": stats.signed_urls,
        "refused": stats.refused,
        "conversations": conversations.collect::<Vec<_>>(),
    }))
}

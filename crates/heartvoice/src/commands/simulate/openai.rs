//! `heartvoice simulate openai`: the simulated Realtime service, until it is asked to stop.

use crate::failure::bad_input;
use crate::output::{self, Format};
use crate::signals::StopRequests;
use serde_json::json;
use sim::elevenlabs::Script;
use sim::realtime::{Faults, RealtimeConfig, RealtimeSim};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs a simulated OpenAI Realtime service.
///
/// Set OPENAI_BASE_URL to the address it prints. With --format json, the address goes to standard error, and the
/// sessions it had are printed at its end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice simulate openai --listen 127.0.0.1:8903 --fault drop=5000")]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8903")]
    listen: SocketAddr,
    /// Something that goes wrong; may be repeated, `--fault help` lists all
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<String>,
    /// Seed of everything that varies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the model says: visit (what the server tells it) or check-in (always the same)
    #[arg(long, value_name = "NAME", default_value = "visit")]
    script: String,
    /// Accept only this API key
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Write every frame as a line of JSON to sent.jsonl and received.jsonl in this folder
    #[arg(long, value_name = "DIR")]
    log_frames: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.faults.iter().any(|name| name == "help") {
        return super::faults::list(sim::realtime::faults::FAULT_NAMES);
    }
    let script = match args.script.as_str() {
        "visit" => Script::visit(),
        "check-in" => Script::check_in(),
        _ => return Err(bad_input("--script: expected visit or check-in")),
    };
    let config = RealtimeConfig {
        listen: args.listen,
        seed: args.seed,
        script,
        api_key: args.api_key,
        faults: Faults::parse(&args.faults).map_err(|error| bad_input(format!("--fault: {error}")))?,
        frame_log: args.log_frames,
        ..RealtimeConfig::default()
    };
    let mut stop = StopRequests::listen()?;
    let running = RealtimeSim::start(config).await?;
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
            "session_id": chat.conversation_id,
            "model": chat.agent_id,
            "received": chat.received,
            "sent": chat.sent,
            "caller_audio_bytes": chat.caller_audio.len(),
            "agent_audio_bytes": chat.agent_audio_bytes,
            "protocol_errors": chat.protocol_errors,
            "close_code": chat.close_code,
            "closed_by": chat.closed_by,
            "duration_ms": chat.duration_ms,
        })
    });
    output::json(&json!({
        "models_shown": stats.models_shown,
        "refused": stats.refused,
        "conversations": conversations.collect::<Vec<_>>(),
    }))
}

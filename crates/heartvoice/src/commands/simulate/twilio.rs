//! `heartvoice simulate twilio`: Twilio's REST interface, until it is asked to stop.

use super::faults;
use crate::failure::bad_input;
use crate::output;
use crate::signals::StopRequests;
use sim::patient::{PatientScript, SCENARIOS};
use sim::twilio::{CalleeAnswer, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioSim};
use std::net::SocketAddr;

/// Runs a simulated Twilio REST interface.
///
/// Calls made by it ring simulated people, run the call instructions of the given address, and send signed callbacks.
/// Set TWILIO_BASE_URL to the address it prints.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice simulate twilio --listen 127.0.0.1:8902 --callee machine")]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8902")]
    listen: SocketAddr,
    /// Something that goes wrong on the lines; may be repeated, `--fault help` lists all
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<String>,
    /// Seed of everything that varies
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Account SID
    #[arg(long, value_name = "SID", default_value = TEST_ACCOUNT_SID)]
    account_sid: String,
    /// Token: password of the REST interface and key of signatures
    #[arg(long, value_name = "TOKEN", default_value = TEST_AUTH_TOKEN)]
    auth_token: String,
    /// Who answers: a patient scenario (stable, worsening, ...), machine, busy, no-answer or failed
    #[arg(long, value_name = "WHO", default_value = "stable")]
    callee: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.faults.iter().any(|name| name == "help") {
        return faults::list(faults::LINE_FAULTS);
    }
    let default_callee = match args.callee.as_str() {
        "machine" => CalleeAnswer::Machine,
        "busy" => CalleeAnswer::Busy,
        "no-answer" => CalleeAnswer::NoAnswer,
        "failed" => CalleeAnswer::Failed,
        name => CalleeAnswer::Human(PatientScript::scenario(name).ok_or_else(|| {
            bad_input(format!("--callee: expected machine, busy, no-answer, failed, {}", SCENARIOS.join(", ")))
        })?),
    };
    let config = TwilioConfig {
        listen: args.listen,
        account_sid: args.account_sid,
        auth_token: args.auth_token,
        default_callee,
        impairments: faults::line(&args.faults).map_err(|problem| bad_input(format!("--fault: {problem}")))?,
        seed: args.seed,
        ..TwilioConfig::default()
    };
    let mut stop = StopRequests::listen()?;
    let running = TwilioSim::start(config).await?;
    output::line(&format!("listening on {}", running.base_url()))?;
    stop.next().await;
    running.shutdown().await;
    Ok(())
}

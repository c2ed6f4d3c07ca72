//! The HTTP and WebSocket shells around the call engine: Twilio's webhooks and media streams, the agents' sockets,
//! recording, analysis and storage of running calls.
//!
//! Nothing here decides anything about a call; that is the `call` crate's. This crate owns sockets, clocks and threads,
//! bounds every queue (see [`limits`]), and keeps the audio path free of everything slow. Read [`Server`] first, then
//! the `session` module.

pub mod agent_admin;
mod agent_link;
mod alerts;
mod analysis;
mod api;
mod app;
mod clock;
mod closing;
mod health;
mod home;
mod journal;
pub mod limits;
mod link;
mod media;
pub mod metrics;
mod outgoing;
mod past;
mod patience;
mod post_call;
mod recorder;
mod registry;
mod session;
mod settings;
mod tasks;
mod trends;
mod twilio_rest;
mod visits;
mod webhook;

pub use analysis::segment_report;
pub use api::{alert_json, planned_call_json, schedule_json, visit_json};
pub use past::{PastCall, VoiceAnalysis};
pub use settings::{
    ElevenLabsSettings, Settings, SmtpSettings, StaffContact, StaffSettings, StaffWebhook, TwilioSettings,
};
pub use trends::{TrendsError, patient_trends};

use crate::agent_link::AgentDialer;
use crate::alerts::AlertDesk;
use crate::analysis::Analysis;
use crate::app::App;
use crate::health::Health;
use crate::patience::Patient;
use crate::recorder::Recorder;
use crate::registry::{Command, Registry};
use crate::twilio_rest::TwilioRest;
use crate::webhook::paths;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use call::ticket::TicketKey;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the agents service sends its word after a call.
pub const POST_CALL_PATH: &str = paths::POST_CALL;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using the port?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a worker thread: {0}")]
    Thread(std::io::Error),
    /// The HTTP client could not be built.
    #[error("cannot set up the HTTP client: {0}")]
    Http(reqwest::Error),
    /// The metrics could not be installed.
    #[error("cannot set up metrics: {0}")]
    Metrics(String),
    /// The mail address or the mail server of the settings cannot be used.
    #[error("cannot set up mail: expected SMTP_URL such as smtps://name:password@mail.example.org and mail addresses")]
    Mail,
    /// No randomness from the system.
    #[error("the system gives no random numbers")]
    Random,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
    stop: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
    watch: JoinHandle<()>,
    deliver: JoinHandle<()>,
    placing: JoinHandle<()>,
}

impl Server {
    /// Listens on `settings.bind` and serves.
    ///
    /// Calls that an earlier process left unfinished are marked as interrupted by the store's `recover`, which the
    /// caller runs first.
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or the system refuses threads or randomness.
    pub async fn start(settings: Settings, store: Store) -> Result<Self, StartError> {
        let bind = settings.bind;
        let listener = TcpListener::bind(bind).await.map_err(|source| StartError::Bind { address: bind, source })?;
        Self::start_on(listener, settings, store)
    }

    /// Serves on a listener that exists already.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_on(listener: TcpListener, settings: Settings, store: Store) -> Result<Self, StartError> {
        let bind = settings.bind;
        let address = listener.local_addr().map_err(|source| StartError::Bind { address: bind, source })?;
        let rendered = metrics::install().map_err(StartError::Metrics)?;
        let mut ticket_key = [0; 32];
        aws_lc_rs::rand::fill(&mut ticket_key).map_err(|_| StartError::Random)?;
        let twilio = TwilioRest::new(&settings.twilio).map_err(StartError::Http)?;
        let app = Arc::new(App {
            dialer: AgentDialer::new(settings.elevenlabs.clone()).map_err(StartError::Http)?,
            alerts: AlertDesk::new(&settings, &twilio)?,
            twilio,
            recorder: Recorder::start().map_err(StartError::Thread)?,
            analysis: Analysis::start().map_err(StartError::Thread)?,
            registry: Registry::new(settings.max_calls.min(limits::CALLS_MAX)),
            ticket_key: TicketKey::new(ticket_key),
            health: Health::new(),
            draining: AtomicBool::new(false),
            outgoing: tokio::sync::Notify::new(),
            anonymous_sockets: Arc::new(Semaphore::new(limits::ANONYMOUS_SOCKETS)),
            post_calls: Arc::new(Semaphore::new(limits::POST_CALLS)),
            calls: TaskTracker::new(),
            settings,
            store,
        });
        let router = Router::new()
            .route(paths::VOICE, post(webhook::voice))
            .route(paths::AFTER_STREAM, post(webhook::after_stream))
            .route(paths::DIAL_RESULT, post(webhook::dial_result))
            .route(paths::CALL_STATUS, post(webhook::call_status))
            .route(paths::STREAM_STATUS, post(webhook::stream_status))
            .route(paths::SMS_STATUS, post(alerts::sms_status))
            .route(paths::AMD, post(outgoing::machine_detection))
            .route(paths::MEDIA, get(media::upgrade))
            .route(paths::POST_CALL, post(post_call::receive))
            .route("/", get(home::page))
            .route("/alerts/{id}", get(home::alert))
            .route("/home.js", get(home::script))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .route("/metrics", get(move || async move { rendered.render() }))
            .nest(api::BASE, api::router(&app))
            .layer(DefaultBodyLimit::max(limits::WEBHOOK_BODY_MAX))
            .layer(tower_http::catch_panic::CatchPanicLayer::new())
            .with_state(app.clone());
        let stop = CancellationToken::new();
        let http = {
            let stop = stop.clone();
            let serve =
                axum::serve(Patient(listener), router).with_graceful_shutdown(async move { stop.cancelled().await });
            tasks::spawn(async move { serve.await })
        };
        app.calls.spawn(post_call::resume(app.clone()));
        let client = reqwest::Client::builder().build().map_err(StartError::Http)?;
        let watch = tasks::spawn(health::watch(app.clone(), client));
        let deliver = tasks::spawn(alerts::deliver(app.clone(), stop.clone()));
        let placing = tasks::spawn(outgoing::run(app.clone()));
        tracing::info!(%address, "listening");
        Ok(Self { address, app, stop, http, watch, deliver, placing })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls in progress.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.app.registry.live()
    }

    /// Raises an alert: stored, and the people it concerns told without delay.
    ///
    /// # Errors
    /// [`store::StoreError`] when the store does not take it, after some attempts.
    pub async fn raise(&self, new: &clinic::alerts::NewAlert) -> Result<store::Raised, store::StoreError> {
        self.app.raise(new).await
    }

    /// Stops: no new calls, live ones may go on for `grace` or until `cut_now`, then they are ended; records are
    /// completed.
    ///
    /// Returns the number of calls that had to be cut.
    pub async fn shutdown(self, grace: Duration, cut_now: impl Future<Output = ()>) -> usize {
        self.app.draining.store(true, Ordering::Relaxed);
        self.app.calls.close();
        self.app.outgoing.notify_one();
        let had_calls = self.app.registry.live() > 0;
        tokio::select! {
            () = self.app.calls.wait() => {}
            () = tokio::time::sleep(grace) => {}
            () = cut_now => {}
        }
        let cut = self.app.registry.live();
        if cut > 0 {
            tracing::warn!(cut, "ending calls that did not end in time");
            self.app.registry.command_all(Command::HangUp);
            let _ = tokio::time::timeout(limits::FINISH_WAIT, self.app.calls.wait()).await;
        }
        if had_calls {
            // Twilio asks what comes next when a stream ended: its callers are to hear us, not an error.
            tokio::time::sleep(limits::CLOSE_WAIT).await;
        }
        // What Twilio answers to the last request to call somebody has to be noted.
        let _ = tokio::time::timeout(limits::FINISH_REQUESTS_WAIT, self.placing).await;
        self.watch.abort();
        self.stop.cancel();
        let _ = tokio::time::timeout(limits::CLOSE_WAIT, self.http).await;
        // A message that is not out by then is found by the next start.
        let _ = tokio::time::timeout(limits::ALERT_ATTEMPT, self.deliver).await;
        self.app.store.close().await;
        cut
    }
}

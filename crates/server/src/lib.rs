//! The HTTP and WebSocket shells around the call engine: Twilio's webhooks and media streams, the agents' sockets,
//! recording, analysis and storage of running calls.
//!
//! Nothing here decides anything about a call; that is the `call` crate's. This crate owns sockets, clocks and threads,
//! bounds every queue (see [`limits`]), and keeps the audio path free of everything slow. Read [`Server`] first, then
//! the `session` module.

mod agent_link;
mod analysis;
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
mod patience;
mod recorder;
mod registry;
mod session;
mod settings;
mod tasks;
mod twilio_rest;
mod webhook;

pub use analysis::segment_report;
pub use settings::{ElevenLabsSettings, Settings, TwilioSettings};

use crate::agent_link::AgentDialer;
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
        let app = Arc::new(App {
            dialer: AgentDialer::new(settings.elevenlabs.clone()).map_err(StartError::Http)?,
            twilio: TwilioRest::new(&settings.twilio).map_err(StartError::Http)?,
            recorder: Recorder::start().map_err(StartError::Thread)?,
            analysis: Analysis::start().map_err(StartError::Thread)?,
            registry: Registry::new(settings.max_calls.min(limits::CALLS_MAX)),
            ticket_key: TicketKey::new(ticket_key),
            health: Health::new(),
            draining: AtomicBool::new(false),
            anonymous_sockets: Arc::new(Semaphore::new(limits::ANONYMOUS_SOCKETS)),
            calls: TaskTracker::new(),
            settings,
            store,
        });
        let router = Router::new()
            .route(paths::VOICE, post(webhook::voice))
            .route(paths::AFTER_STREAM, post(webhook::after_stream))
            .route(paths::CALL_STATUS, post(webhook::call_status))
            .route(paths::STREAM_STATUS, post(webhook::stream_status))
            .route(paths::MEDIA, get(media::upgrade))
            .route("/", get(home::page))
            .route("/home.js", get(home::script))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .route("/metrics", get(move || async move { rendered.render() }))
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
        let client = reqwest::Client::builder().build().map_err(StartError::Http)?;
        let watch = tasks::spawn(health::watch(app.clone(), client));
        tracing::info!(%address, "listening");
        Ok(Self { address, app, stop, http, watch })
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

    /// Stops: no new calls, live ones may go on for `grace` or until `cut_now`, then they are ended; records are
    /// completed.
    ///
    /// Returns the number of calls that had to be cut.
    pub async fn shutdown(self, grace: Duration, cut_now: impl Future<Output = ()>) -> usize {
        self.app.draining.store(true, Ordering::Relaxed);
        self.app.calls.close();
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
        self.watch.abort();
        self.stop.cancel();
        let _ = tokio::time::timeout(limits::CLOSE_WAIT, self.http).await;
        self.app.store.close().await;
        cut
    }
}

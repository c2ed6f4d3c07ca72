//! The HTTP and WebSocket shells around the call engine: Twilio's webhooks and media streams, the agents' sockets,
//! recording, analysis and storage of running calls.
//!
//! Nothing here decides anything about a call; that is the `call` crate's. This crate owns sockets, clocks and threads,
//! bounds every queue (see [`limits`]), and keeps the audio path free of everything slow. Read [`Server`] first, then
//! the `session` module.

pub mod agent_admin;
mod agent_link;
mod agents;
mod alerts;
mod analysis;
mod api;
mod app;
pub mod audit;
pub mod auth;
mod client_address;
mod clock;
mod closing;
mod door;
mod fallback;
mod hardening;
mod health;
mod heartbeat;
mod home;
mod journal;
mod lag;
pub mod limits;
mod link;
mod media;
pub mod metrics;
mod outgoing;
mod paperwork;
mod past;
mod patience;
mod post_call;
pub mod realtime_link;
mod rebuild;
mod recorder;
mod records;
mod registry;
mod retention;
mod scripted;
mod session;
mod settings;
mod spool;
mod tasks;
mod tls;
mod trends;
mod twilio_rest;
mod uploads;
mod visits;
mod voices;
mod webhook;

pub use analysis::segment_report;
pub use api::{alert_json, openapi_document, planned_call_json, schedule_json, visit_json};
pub use client_address::{ClientAddr, NotProxies, TrustedProxies, client_ip};
pub use hardening::{RequestId, TraceId};
pub use past::{PastCall, VoiceAnalysis};
pub use rebuild::{RebuildError, segment_reports};
pub use records::{Cohort, RecordsError, ResearchError, patient_record};
pub use settings::{
    ElevenLabsSettings, IdentityProvider, OpenAiSettings, Settings, SmtpSettings, StaffContact, StaffSettings,
    StaffWebhook, TwilioSettings,
};
pub use tls::{TlsError, TlsSettings};
pub use trends::{TrendsError, patient_trends};

use crate::agents::Agents;
use crate::alerts::AlertDesk;
use crate::analysis::Analysis;
use crate::app::App;
use crate::auth::Doors;
use crate::door::Door;
use crate::hardening::Hardening;
use crate::health::Health;
use crate::recorder::Recorder;
use crate::registry::{Command, Registry};
use crate::tls::Tls;
use crate::twilio_rest::TwilioRest;
use crate::webhook::paths;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use call::ticket::TicketKey;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Store;
use store::audit::{Actor, NewEntry};
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
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Sign-in through the identity provider cannot be set up.
    #[error(transparent)]
    IdentityProvider(#[from] auth::oidc::OidcError),
    /// The password hash cannot be computed.
    #[error(transparent)]
    Passwords(#[from] auth::password::PasswordError),
    /// The database does not take what has to be noted at a start.
    #[error(transparent)]
    Store(store::StoreError),
    /// The spool cannot be used.
    #[error("SPOOL_DIR: expected a directory that can be written to: {0}")]
    Spool(store::StoreError),
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
    http: JoinHandle<()>,
    watch: JoinHandle<()>,
    deliver: JoinHandle<()>,
    placing: JoinHandle<()>,
    beating: JoinHandle<()>,
    retention: Option<JoinHandle<()>>,
    signing: JoinHandle<()>,
    stop_signing: CancellationToken,
}

impl Server {
    /// Listens on `settings.bind` and serves.
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or the system refuses threads or randomness.
    pub async fn start(settings: Settings, store: Store) -> Result<Self, StartError> {
        Self::start_on(Self::listen(&settings).await?, settings, store)
    }

    /// Takes the address of `settings.bind`, for [`Self::start_on`].
    ///
    /// Calls that an earlier process left unfinished are marked as interrupted by the store's `recover`, which the caller
    /// runs in between: whoever cannot serve must not end the calls of somebody who does.
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or the certificate cannot be used.
    pub async fn listen(settings: &Settings) -> Result<TcpListener, StartError> {
        if let Some(tls) = &settings.tls {
            tls.check()?;
        }
        let address = settings.bind;
        TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
    }

    /// Tidies up after an earlier process, before anything is served: what waits in the spool is given to the database,
    /// recordings that went on there are put together, and calls that nobody carries are marked as interrupted. Names
    /// those.
    ///
    /// # Errors
    /// [`StartError::Spool`] when the spool cannot be used, [`StartError::Store`] when the database takes nothing.
    pub async fn tidy_up(settings: &Settings, store: &Store) -> Result<Vec<clinic::CallId>, StartError> {
        if let Some(spool) = spool::open(settings, store).map_err(StartError::Spool)? {
            spool::before_start(store, &spool).await.map_err(StartError::Store)?;
        }
        store.recover(clock::unix_us()).await.map_err(StartError::Store)
    }

    /// Serves on a listener that exists already.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_on(listener: TcpListener, settings: Settings, store: Store) -> Result<Self, StartError> {
        let bind = settings.bind;
        let address = listener.local_addr().map_err(|source| StartError::Bind { address: bind, source })?;
        let tls = settings.tls.as_ref().map(Tls::load).transpose()?;
        let has_tls = tls.is_some();
        let https_only = has_tls || settings.public_base_url.starts_with("https://");
        let (trusted, patience) = (Arc::new(settings.trusted_proxies.clone()), settings.idle_connection);
        let rendered = metrics::install().map_err(StartError::Metrics)?;
        let twilio = TwilioRest::new(&settings.twilio).map_err(StartError::Http)?;
        let doors = Doors::new(&settings, &store)?;
        let spool = spool::open(&settings, &store).map_err(StartError::Spool)?;
        let app = Arc::new(App {
            doors,
            agents: Agents::new(&settings).map_err(StartError::Http)?,
            alerts: AlertDesk::new(&settings, &twilio)?,
            api: api::Api::new(),
            twilio,
            recorder: Recorder::start().map_err(StartError::Thread)?,
            analysis: Analysis::start().map_err(StartError::Thread)?,
            registry: Registry::new(settings.max_calls.min(limits::CALLS_MAX)),
            lag: Arc::default(),
            analyse_later: Arc::new(Semaphore::new(limits::ANALYSE_LATER)),
            analysing_later: Semaphore::new(1),
            unclosed: closing::Unclosed::default(),
            paperwork: paperwork::Desk::default(),
            ticket_key: TicketKey::new(store.shared_secret("media ticket")),
            health: Health::new(),
            draining: AtomicBool::new(false),
            outgoing: tokio::sync::Notify::new(),
            recordings_ended: tokio::sync::Notify::new(),
            anonymous_sockets: Arc::new(Semaphore::new(limits::ANONYMOUS_SOCKETS)),
            post_calls: Arc::new(Semaphore::new(limits::POST_CALLS)),
            calls: TaskTracker::new(),
            spool,
            turned_away: Arc::new(Semaphore::new(limits::TURNED_AWAY)),
            settings,
            store,
        });
        let router = Router::new()
            .route(paths::VOICE, post(webhook::voice))
            .route(paths::AFTER_STREAM, post(webhook::after_stream))
            .route(paths::SCRIPT, post(scripted::script))
            .route(paths::DIAL_RESULT, post(webhook::dial_result))
            .route(paths::CALL_STATUS, post(webhook::call_status))
            .route(paths::STREAM_STATUS, post(webhook::stream_status))
            .route(paths::SMS_STATUS, post(alerts::sms_status))
            .route(paths::AMD, post(outgoing::machine_detection))
            .route(paths::MEDIA, get(media::upgrade))
            .route(paths::FORK, get(media::fork))
            .route(paths::POST_CALL, post(post_call::receive))
            .route("/", get(home::page))
            .route("/alerts/{id}", get(home::alert))
            .route("/home.js", get(home::script))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .route("/metrics", get(move || async move { rendered.render() }))
            .merge(api::docs())
            .merge(auth::router())
            .nest(api::BASE, api::router(&app))
            .nest(api::FHIR, api::fhir_router(&app))
            .fallback(hardening::unknown_route)
            .layer(DefaultBodyLimit::max(limits::WEBHOOK_BODY_MAX))
            .layer(tower_http::catch_panic::CatchPanicLayer::new())
            .layer(from_fn_with_state(Hardening { https_only }, hardening::harden))
            .with_state(app.clone());
        let stop = CancellationToken::new();
        let door = Door { router, trusted, patience, tls: tls.as_ref().map(Tls::config) };
        let http = tasks::spawn(door.serve(listener, stop.clone()));
        if let Some(tls) = tls {
            tasks::spawn(tls.watch(stop.clone()));
        }
        app.calls.spawn(paperwork::resume(app.clone()));
        app.calls.spawn(post_call::resume(app.clone(), post_call::Left::ByEarlierProcess));
        let client = reqwest::Client::builder().build().map_err(StartError::Http)?;
        let watch = tasks::spawn(health::watch(app.clone(), client));
        let deliver = tasks::spawn(alerts::deliver(app.clone(), stop.clone()));
        let placing = tasks::spawn(outgoing::run(app.clone()));
        tasks::spawn(lag::watch(app.lag.clone(), stop.clone()));
        tasks::spawn(uploads::run(app.clone(), stop.clone()));
        let beating = tasks::spawn(heartbeat::beat(app.clone(), stop.clone()));
        let stop_signing = CancellationToken::new();
        let signing = tasks::spawn(audit::watch(app.clone(), stop_signing.clone()));
        tracing::info!(%address, tls = has_tls, "listening");
        Ok(Self { address, app, stop, http, watch, deliver, placing, beating, retention: None, signing, stop_signing })
    }

    /// From now on deletes, once a day, what is past its retention. Several servers of one database may do so: what one has
    /// deleted the others do not find.
    pub fn keep_retention(&mut self, rules: store::RetentionRules) {
        let work = retention::run(self.app.store.clone(), rules, self.stop.clone());
        self.retention = Some(tasks::spawn(work));
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

    /// From now on analyses the voices of all calls after the calls, from their recordings, as a machine does that has too
    /// much to do; with `false` only when it has. For drills.
    pub fn analyse_after_calls(&self, on: bool) {
        self.app.lag.drill(on);
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
        // Also of a caller whom a nurse is being found for.
        let had_calls = self.app.registry.live() > 0 || self.app.registry.dialling() > 0;
        tokio::select! {
            () = self.app.calls.wait() => {}
            () = tokio::time::sleep(grace) => {}
            () = cut_now => {}
        }
        let cut = self.app.registry.live();
        if cut > 0 {
            tracing::warn!(cut, "ending calls that did not end in time");
            self.app.registry.command_all(Command::HangUp);
        }
        // Also of calls that ended by themselves something may still wait for the store.
        let _ = tokio::time::timeout(limits::FINISH_WAIT, self.app.calls.wait()).await;
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
        let _ = tokio::time::timeout(limits::CLOSE_WAIT, self.beating).await;
        if let Some(retention) = self.retention {
            let _ = tokio::time::timeout(limits::CLOSE_WAIT, retention).await;
        }
        let stopped = NewEntry::new(Actor::system(), "server.stop").detail("calls_cut", cut);
        if let Err(error) = self.app.store.record(&[stopped]).await {
            tracing::error!(code = error.code(), "the end could not be noted in the audit trail");
        }
        self.stop_signing.cancel();
        let _ = tokio::time::timeout(limits::FINISH_WAIT, self.signing).await;
        self.app.store.close().await;
        cut
    }
}

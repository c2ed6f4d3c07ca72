//! The listener, the handshakes and the task of each conversation.

use super::conversation::Conversation;
use super::rest::account::Account;
use super::rest::{self, Signatures, admin};
use super::{ConversationStats, Fault, Faults, SimConfig, Stats};
use crate::SimError;
use crate::rng::Rng;
use crate::socket::{self, CLOSE_TIMEOUT, FrameLog, MAX_MESSAGE, lock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest body of a request, far above the settings of an agent.
const MAX_BODY: usize = 4 << 20;

/// The simulated service.
#[derive(Debug)]
pub struct ElevenLabsSim;

impl ElevenLabsSim {
    /// Opens the listener and serves until [`Running::shutdown`].
    ///
    /// # Errors
    /// When the address cannot be bound or the frame log cannot be opened.
    pub async fn start(config: SimConfig) -> Result<Running, SimError> {
        let fail = |source| SimError::Listen { addr: config.listen, source };
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        let log = config.frame_log.as_deref().map(FrameLog::open).transpose()?;
        let service = Arc::new(Service {
            addr,
            began: Instant::now(),
            signatures: Mutex::new(Signatures::new(config.seed, config.api_key.is_some())),
            account: Mutex::new(Account::new(config.seed)),
            conversations: Mutex::default(),
            live: AtomicU64::new(0),
            counted: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            log,
            config: Arc::new(config),
        });
        let router = Router::new()
            .route("/v1/convai/conversation/get-signed-url", get(signed_url))
            .route("/v1/convai/conversation/get_signed_url", get(signed_url))
            .route("/v1/convai/conversation", get(conversation))
            .fallback(settings)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(&service));
        let stop = service.stop.clone();
        service.tasks.spawn(async move {
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
            });
            let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::warn!(%error, "simulated agents service stopped");
            }
        });
        Ok(Running { service })
    }
}

/// A running simulated service.
#[derive(Debug)]
pub struct Running {
    service: Arc<Service>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.service.addr
    }

    /// Base URL for `ELEVENLABS_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.service.addr)
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (signed_urls, refused) = *lock(&self.service.counted);
        let conversations = lock(&self.service.conversations).iter().map(|c| lock(c).stats().clone()).collect();
        Stats { signed_urls, refused, conversations }
    }

    /// How many requests changed something in the account: agents, tools, documents, webhooks, settings.
    #[must_use]
    pub fn settings_changed(&self) -> u64 {
        lock(&self.service.account).writes()
    }

    /// Closes the listener and drops every conversation.
    pub async fn shutdown(self) {
        self.service.stop.cancel();
        self.service.tasks.close();
        // A client that never reads cannot hold us up.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.service.tasks.wait()).await;
    }
}

#[derive(Debug)]
struct Service {
    addr: SocketAddr,
    config: Arc<SimConfig>,
    began: Instant,
    signatures: Mutex<Signatures>,
    account: Mutex<Account>,
    conversations: Mutex<Vec<Arc<Mutex<Conversation>>>>,
    live: AtomicU64,
    /// Signed URLs issued, requests refused.
    counted: Mutex<(u64, u64)>,
    stop: CancellationToken,
    tasks: TaskTracker,
    log: Option<FrameLog>,
}

impl Service {
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// The faults of the next conversation.
    fn faults(&self) -> Faults {
        let begun = lock(&self.conversations).len() as u64;
        match self.config.faulty_conversations {
            Some(limit) if begun >= limit => Faults::none(),
            _ => self.config.faults.clone(),
        }
    }

    fn refuse(&self, status: StatusCode, body: serde_json::Value) -> Response {
        lock(&self.counted).1 += 1;
        (status, Json(body)).into_response()
    }

    /// Faults that answer any request with an error.
    async fn fault_response(&self) -> Option<Response> {
        let faults = self.faults();
        if let Some(delay) = faults.find(|f| if let Fault::AcceptDelay(d) = f { Some(d) } else { None }) {
            tokio::time::sleep(delay).await;
        }
        if faults.has(Fault::Reject401) {
            return Some(self.refuse(StatusCode::UNAUTHORIZED, rest::unauthorized()));
        }
        if faults.has(Fault::Reject404) {
            return Some(self.refuse(StatusCode::NOT_FOUND, rest::agent_not_found("?")));
        }
        if faults.has(Fault::Http500) {
            let body = serde_json::json!({"detail": {"status": "internal_error", "message": "simulated"}});
            return Some(self.refuse(StatusCode::INTERNAL_SERVER_ERROR, body));
        }
        None
    }

    /// True for an agent whose settings let nobody in without a signed URL or a key.
    fn needs_proof(&self, agent_id: &str) -> bool {
        let account = lock(&self.account);
        account.agent(agent_id).and_then(|agent| agent.pointer("/platform_settings/auth/enable_auth")?.as_bool())
            == Some(true)
    }

    fn key_is_good(&self, headers: &HeaderMap) -> bool {
        let given = headers.get("xi-api-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.config.api_key.as_deref().map_or(!given.is_empty(), |key| key == given)
    }
}

async fn signed_url(
    State(service): State<Arc<Service>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(response) = service.fault_response().await {
        return response;
    }
    if !service.key_is_good(&headers) {
        return service.refuse(StatusCode::UNAUTHORIZED, rest::unauthorized());
    }
    let Some(agent_id) = query.get("agent_id").filter(|id| !id.is_empty()) else {
        return service.refuse(StatusCode::UNPROCESSABLE_ENTITY, rest::missing_parameter("agent_id"));
    };
    if service.config.agent_id.as_ref().is_some_and(|known| known != agent_id) {
        return service.refuse(StatusCode::NOT_FOUND, rest::agent_not_found(agent_id));
    }
    let with_id = query.get("include_conversation_id").is_some_and(|v| v == "true");
    let number = {
        let mut counted = lock(&service.counted);
        counted.0 += 1;
        counted.0
    };
    let conversation_id =
        with_id.then(|| format!("conv_{}", Rng::named(service.config.seed ^ (number << 32), "signed").hex(26)));
    let signature = lock(&service.signatures).issue(agent_id, conversation_id.clone(), service.now_ms());
    let mut url = format!(
        "ws://{}/v1/convai/conversation?agent_id={agent_id}&conversation_signature={signature}",
        headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default()
    );
    if let Some(id) = conversation_id {
        url.push_str(&format!("&conversation_id={id}"));
    }
    Json(serde_json::json!({"signed_url": url})).into_response()
}

/// Everything below `/v1` that is not about a conversation.
async fn settings(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(response) = service.fault_response().await {
        return response;
    }
    if !service.key_is_good(&headers) {
        return service.refuse(StatusCode::UNAUTHORIZED, rest::unauthorized());
    }
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut account = lock(&service.account);
    match admin::answer(&mut account, method.as_str(), uri.path(), query, content_type, &body, now_unix_s) {
        Some((status, body)) => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
        }
        None => (StatusCode::NOT_FOUND, Json(serde_json::json!({"detail": "Not Found"}))).into_response(),
    }
}

async fn conversation(
    State(service): State<Arc<Service>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    tokio::time::sleep(service.config.accept_delay).await;
    if let Some(response) = service.fault_response().await {
        return response;
    }
    let agent_id = query.get("agent_id").cloned().unwrap_or_default();
    if agent_id.is_empty() {
        return service.refuse(StatusCode::UNPROCESSABLE_ENTITY, rest::missing_parameter("agent_id"));
    }
    if service.config.agent_id.as_ref().is_some_and(|known| *known != agent_id) {
        return service.refuse(StatusCode::NOT_FOUND, rest::agent_not_found(&agent_id));
    }
    let bearer = headers
        .get("sec-websocket-protocol")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|offered| offered.split(',').any(|p| p.trim().starts_with("bearer.")));
    let (authorization, signed_id) = match query.get("conversation_signature") {
        Some(signature) => match lock(&service.signatures).redeem(signature, &agent_id, service.now_ms()) {
            Ok(id) => ("signed-url", id),
            Err(problem) => {
                let body = serde_json::json!({"detail": {"status": "invalid_signature", "message": problem}});
                return service.refuse(StatusCode::UNAUTHORIZED, body);
            }
        },
        None if headers.contains_key("xi-api-key") => {
            if !service.key_is_good(&headers) {
                return service.refuse(StatusCode::UNAUTHORIZED, rest::unauthorized());
            }
            ("api-key", None)
        }
        None if bearer => ("bearer", None),
        None if service.config.api_key.is_some() || service.needs_proof(&agent_id) => {
            return service.refuse(StatusCode::UNAUTHORIZED, rest::unauthorized());
        }
        None => ("none", None),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            lock(&service.counted).1 += 1;
            return rejection.into_response();
        }
    };
    let faults = service.faults();
    let config = match lock(&service.account).agent(&agent_id) {
        Some(agent) => Arc::new(admin::conversation_config(&service.config, agent)),
        None => Arc::clone(&service.config),
    };
    let live = service.live.fetch_add(1, Ordering::Relaxed);
    let full = service.config.max_conversations.is_some_and(|most| live >= most);
    let (chat, socket_number) = {
        let mut all = lock(&service.conversations);
        let number = all.len() as u64;
        let seed = service.config.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9));
        let id = signed_id.unwrap_or_else(|| format!("conv_{}", Rng::named(seed, "conversation-id").hex(26)));
        let stats = ConversationStats {
            conversation_id: id,
            agent_id,
            authorization: authorization.to_owned(),
            ..ConversationStats::default()
        };
        let chat = Arc::new(Mutex::new(Conversation::new(config, faults, stats, seed)));
        all.push(Arc::clone(&chat));
        (chat, number)
    };
    let task_service = Arc::clone(&service);
    upgrade
        .protocols(["convai"])
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move {
            let service = task_service;
            let tracker = service.tasks.clone();
            let done = tracker.spawn(async move {
                if full {
                    socket::refuse(socket, 3008, "too many concurrent connections").await;
                    lock(&chat).closed(0, Some(3008));
                } else {
                    socket::run(socket, &*chat, service.log.as_ref(), &service.stop).await;
                }
                service.live.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(socket_number, "conversation over");
            });
            if let Err(error) = done.await {
                tracing::warn!(%error, "conversation task failed");
            }
        })
}

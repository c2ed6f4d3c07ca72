//! The listener, the handshake and the task of each session.

use super::{Conversation, ConversationStats, Fault, Faults, RealtimeConfig};
use crate::SimError;
use crate::socket::{self, CLOSE_TIMEOUT, FrameLog, MAX_MESSAGE, lock};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The simulated service.
#[derive(Debug)]
pub struct RealtimeSim;

/// Everything seen since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Descriptions of models given.
    pub models_shown: u64,
    /// Requests refused before a session began.
    pub refused: u64,
    /// Sessions, in order of their beginning.
    pub conversations: Vec<ConversationStats>,
}

impl RealtimeSim {
    /// Opens the listener and serves until [`Running::shutdown`].
    ///
    /// # Errors
    /// When the address cannot be bound or the frame log cannot be opened.
    pub async fn start(config: RealtimeConfig) -> Result<Running, SimError> {
        let fail = |source| SimError::Listen { addr: config.listen, source };
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        let log = config.frame_log.as_deref().map(FrameLog::open).transpose()?;
        let service = Arc::new(Service {
            addr,
            conversations: Mutex::default(),
            counted: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            log,
            config: Arc::new(config),
        });
        let router = Router::new()
            .route("/v1/realtime", get(session))
            .route("/v1/models/{model}", get(model))
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
                tracing::warn!(%error, "simulated Realtime service stopped");
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

    /// Base URL for `OPENAI_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.service.addr)
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (models_shown, refused) = *lock(&self.service.counted);
        let conversations = lock(&self.service.conversations).iter().map(|c| lock(c).stats()).collect();
        Stats { models_shown, refused, conversations }
    }

    /// Closes the listener and drops every session.
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
    config: Arc<RealtimeConfig>,
    conversations: Mutex<Vec<Arc<Mutex<Conversation>>>>,
    /// Descriptions of models given, requests refused.
    counted: Mutex<(u64, u64)>,
    stop: CancellationToken,
    tasks: TaskTracker,
    log: Option<FrameLog>,
}

impl Service {
    /// The faults of the next session.
    fn faults(&self) -> Faults {
        let begun = lock(&self.conversations).len() as u64;
        match self.config.faulty_conversations {
            Some(limit) if begun >= limit => Faults::none(),
            _ => self.config.faults.clone(),
        }
    }

    fn refuse(&self, status: u16, kind: &str, code: Option<&str>, message: &str) -> Response {
        lock(&self.counted).1 += 1;
        let body: Value = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
    }

    /// What is refused whatever is asked for: by a fault, or for want of a key.
    async fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let faults = self.faults();
        if let Some(delay) = faults.find(|f| if let Fault::AcceptDelay(d) = f { Some(*d) } else { None }) {
            tokio::time::sleep(delay).await;
        }
        if let Some(status) = faults.find(|f| if let Fault::Reject(status) = f { Some(*status) } else { None }) {
            let (kind, code) = match status {
                401 => ("invalid_request_error", Some("invalid_api_key")),
                403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
                404 => ("invalid_request_error", Some("model_not_found")),
                429 => ("requests", Some("rate_limit_exceeded")),
                _ => ("server_error", None),
            };
            return Some(self.refuse(status, kind, code, "simulated"));
        }
        let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = given.strip_prefix("Bearer ").unwrap_or_default();
        let is_good = self.config.api_key.as_deref().map_or(!key.is_empty(), |known| known == key);
        let text = "Incorrect API key provided.";
        (!is_good).then(|| self.refuse(401, "invalid_request_error", Some("invalid_api_key"), text))
    }

    fn no_model(&self, model: &str) -> Option<Response> {
        let is_known = self.config.models.iter().any(|known| known == model);
        let text = format!("The model '{model}' does not exist or you do not have access to it.");
        (!is_known).then(|| self.refuse(404, "invalid_request_error", Some("model_not_found"), &text))
    }
}

async fn model(State(service): State<Arc<Service>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refusal) = service.refusal(&headers).await.or_else(|| service.no_model(&name)) {
        return refusal;
    }
    lock(&service.counted).0 += 1;
    Json(json!({"id": name, "object": "model", "created": 1_756_271_701, "owned_by": "system"})).into_response()
}

async fn session(
    State(service): State<Arc<Service>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Some(refusal) = service.refusal(&headers).await {
        return refusal;
    }
    let Some(model) = query.get("model").filter(|model| !model.is_empty()) else {
        return service.refuse(
            400,
            "invalid_request_error",
            Some("missing_model"),
            "You must provide a model parameter.",
        );
    };
    if let Some(refusal) = service.no_model(model) {
        return refusal;
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            lock(&service.counted).1 += 1;
            return rejection.into_response();
        }
    };
    let faults = service.faults();
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let chat = {
        let mut all = lock(&service.conversations);
        let seed = service.config.seed.wrapping_add((all.len() as u64).wrapping_mul(0x9e37_79b9));
        let chat = Conversation::new(Arc::clone(&service.config), faults, model, seed, now_unix_s);
        let chat = Arc::new(Mutex::new(chat));
        all.push(Arc::clone(&chat));
        chat
    };
    let tasks = Arc::clone(&service);
    upgrade
        .protocols(["realtime"])
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move {
            let tracker = tasks.tasks.clone();
            let done = tracker.spawn(async move {
                socket::run(socket, &*chat, tasks.log.as_ref(), &tasks.stop).await;
            });
            if let Err(error) = done.await {
                tracing::warn!(%error, "session task failed");
            }
        })
}

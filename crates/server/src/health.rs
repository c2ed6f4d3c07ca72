//! Is everything there that a call needs? Checked in the background, so that asking costs nothing and a slow service
//! cannot slow the answer.

use crate::analysis::Condition;
use crate::app::App;
use crate::limits;
use crate::settings::TwilioSettings;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use call::agent::Member;
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// What the last check found, a word per service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Findings {
    eleven_labs: &'static str,
    twilio: &'static str,
    voice_analysis: &'static str,
    database: &'static str,
    recording: &'static str,
}

/// Nobody has looked yet.
const UNKNOWN: &str = "unknown";

/// The state of the services a call needs.
#[derive(Debug)]
pub(crate) struct Health {
    findings: Mutex<Findings>,
}

impl Health {
    pub(crate) fn new() -> Self {
        let findings = Findings {
            eleven_labs: UNKNOWN,
            twilio: UNKNOWN,
            voice_analysis: UNKNOWN,
            database: UNKNOWN,
            recording: UNKNOWN,
        };
        Self { findings: Mutex::new(findings) }
    }

    fn findings(&self) -> Findings {
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once the services were looked at for the first time.
    fn is_checked(&self) -> bool {
        self.findings().database != UNKNOWN
    }

    fn is_usable(&self) -> bool {
        let found = self.findings();
        // An analysis that lags behind costs no call anything.
        found.database == "ready" && found.recording == "ready" && matches!(found.voice_analysis, "ready" | "behind")
    }
}

/// Checks for ever.
pub(crate) async fn watch(app: Arc<App>, http: reqwest::Client) {
    loop {
        crate::metrics::upkeep();
        app.agents.probe().await;
        let before = app.health.findings();
        let found = check(&app, &http).await;
        if found != before {
            tracing::info!(
                elevenlabs = found.eleven_labs,
                twilio = found.twilio,
                voice_analysis = found.voice_analysis,
                database = found.database,
                recording = found.recording,
                "services checked"
            );
        }
        *app.health.findings.lock().unwrap_or_else(PoisonError::into_inner) = found;
        if let Ok(since_us) = app.store.active_key_since_us().await {
            crate::metrics::key_age(crate::clock::unix_us().saturating_sub(since_us));
        }
        tokio::time::sleep(limits::HEALTH_EVERY).await;
    }
}

async fn check(app: &App, http: &reqwest::Client) -> Findings {
    let database = async {
        match tokio::time::timeout(limits::HEALTH_WAIT, app.store.ping()).await {
            Ok(Ok(())) => "ready",
            Ok(Err(_)) => "failing",
            Err(_) => "timeout",
        }
    };
    let analysis = async {
        match app.analysis.condition().await {
            Condition::Ready => "ready",
            Condition::Behind => "behind",
            Condition::Stuck => "stuck",
        }
    };
    let recording = async { if app.recorder.is_alive().await { "ready" } else { "stuck" } };
    // Asks for a signed URL, which needs everything a call needs: the network, the key and the agent.
    let agent = app.agents.check(Member::ElevenLabs);
    let twilio = check_twilio(&app.settings.twilio, http);
    let (eleven_labs, twilio, voice_analysis, database, recording) =
        tokio::join!(agent, twilio, analysis, database, recording);
    Findings { eleven_labs, twilio, voice_analysis, database, recording }
}

/// Reads our own account, which needs the network and valid credentials.
async fn check_twilio(settings: &TwilioSettings, http: &reqwest::Client) -> &'static str {
    let (Some(account), Some(token)) = (&settings.account_sid, &settings.auth_token) else { return "not configured" };
    let (user, secret) = match &settings.api_key {
        Some((sid, secret)) => (sid, secret),
        None => (account, token),
    };
    let base = settings.base_url.trim_end_matches('/');
    let request = http
        .get(format!("{base}/2010-04-01/Accounts/{account}.json"))
        .basic_auth(user, Some(secret.expose_secret()))
        .timeout(limits::HEALTH_WAIT);
    match request.send().await {
        Ok(response) if response.status().is_success() => "ready",
        Ok(response) if matches!(response.status().as_u16(), 401 | 403) => "unauthorized",
        Ok(_) => "failing",
        Err(error) if error.is_timeout() => "timeout",
        Err(_) => "unreachable",
    }
}

/// `GET /health`
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let found = app.health.findings();
    let usable = app.health.is_usable();
    let prompt = found.voice_analysis == "ready";
    let complete = usable && prompt && found.eleven_labs == "connected" && found.twilio == "ready";
    let (code, status) = match (usable, complete) {
        (true, true) => (StatusCode::OK, "healthy"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let body = json!({
        "status": status,
        "services": {
            "elevenLabs": found.eleven_labs,
            "twilio": found.twilio,
            "voiceAnalysis": found.voice_analysis,
            "database": found.database,
            "recording": found.recording,
        },
        "agents": app.agents.states().into_iter().map(|(member, breaker)| json!({"member": member.as_str(), "breaker": breaker})).collect::<Vec<_>>(),
        "calls": { "active": app.registry.live(), "maximum": app.registry.most() },
        "version": env!("CARGO_PKG_VERSION"),
    });
    (code, [(axum::http::header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// `GET /ready`: whether a load balancer may send us something. What does not work is told by `/health`: in an outage of
/// the database, which all servers see, calls that live and their pages still have to reach the server that carries them.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = app.health.is_checked() && !app.is_draining();
    let (code, status) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(json!({ "status": status }))).into_response()
}

//! What can only be checked by asking others: Twilio, the agents service, and our own address from the outside.

use super::Check;
use crate::commands::agent::agent_text;
use crate::config::{Config, is_loopback};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use server::agent_admin::{self, AdminError};
use std::time::{Duration, Instant};

/// Longest time for one request.
const WAIT: Duration = Duration::from_secs(10);
/// A call is answered by the agent within about a second; from here on the signed URL alone takes too much of it.
const SLOW: Duration = Duration::from_millis(1_000);
/// Requests whose median is the latency.
const SAMPLES: usize = 3;
/// A clock this far off is worth a look; signatures of webhooks are refused from five minutes on.
const CLOCK_WARN_S: i64 = 30;
const CLOCK_FAIL_S: i64 = 240;
/// Differences of the agent that are named one by one.
const MAX_DIFFERENCES: usize = 20;

/// An answer: its status, how long it took, and how far our clock is ahead of its sender's, in seconds.
struct Answer {
    status: StatusCode,
    took: Duration,
    clock_ahead_s: Option<i64>,
}

pub(super) async fn all(config: &Config) -> Vec<Check> {
    let http = Client::builder().timeout(WAIT).redirect(reqwest::redirect::Policy::none()).build();
    let Ok(http) = http else {
        return vec![Check::fail("network", "the HTTP client cannot be set up", "check the system's certificates")];
    };
    let (public, twilio, agent, settings) = tokio::join!(
        public_address(config, &http),
        twilio(config, &http),
        agents_service(config, &http),
        Box::pin(agent_settings(config)),
    );
    let ahead = [public.1, twilio.1, agent.1].into_iter().flatten().collect::<Vec<_>>();
    let mut checks = vec![clock(&ahead)];
    checks.extend(public.0);
    checks.push(twilio.0);
    checks.extend(agent.0);
    checks.extend(settings);
    checks.push(webhook_secret(config));
    checks
}

async fn ask(request: RequestBuilder) -> Result<Answer, &'static str> {
    let began = Instant::now();
    let response = request.send().await.map_err(|error| {
        if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "no usable answer"
        }
    })?;
    let date = response.headers().get("date").and_then(|value| value.to_str().ok());
    let theirs = date.and_then(|text| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
    let clock_ahead_s = theirs.map(|theirs| jiff::Timestamp::now().as_second() - theirs.as_second());
    Ok(Answer { status: response.status(), took: began.elapsed(), clock_ahead_s })
}

fn clock(ahead_s: &[i64]) -> Check {
    const NAME: &str = "clock";
    // The service that agrees most with us: another one may itself be wrong.
    let Some(ahead) = ahead_s.iter().min_by_key(|ahead| ahead.abs()) else {
        return Check::warn(NAME, "nobody to compare it with", "mend the network checks first");
    };
    let found =
        format!("{} s {} the time of the services", ahead.abs(), if *ahead < 0 { "behind" } else { "ahead of" });
    match ahead.abs() {
        0..CLOCK_WARN_S => Check::ok(NAME, found),
        CLOCK_WARN_S..CLOCK_FAIL_S => Check::warn(NAME, found, "switch time synchronisation on (NTP)"),
        _ => Check::fail(NAME, found, "switch time synchronisation on (NTP): signed requests will be refused"),
    }
}

async fn public_address(config: &Config, http: &Client) -> (Vec<Check>, Option<i64>) {
    const NAME: &str = "public address";
    let base = config.public_base_url();
    let mut checks = Vec::new();
    if is_loopback(&base) {
        checks.push(Check::warn(
            NAME,
            "PUBLIC_BASE_URL is an address of this machine",
            "set the https:// address Twilio can reach",
        ));
    } else if !base.starts_with("https://") {
        checks.push(Check::warn(NAME, "PUBLIC_BASE_URL is not encrypted", "put a TLS proxy in front and use https://"));
    }
    let answer = ask(http.get(format!("{base}/ready"))).await;
    let ahead = answer.as_ref().ok().and_then(|answer| answer.clock_ahead_s);
    checks.push(match answer {
        Ok(answer) if answer.status == StatusCode::OK => {
            Check::ok(NAME, format!("the server answers in {} ms", answer.took.as_millis()))
        }
        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
            Check::warn(NAME, "the server answers that it is not ready", "see its /health")
        }
        Ok(answer) => Check::fail(
            NAME,
            format!("something else answers there, with status {}", answer.status.as_u16()),
            "lead PUBLIC_BASE_URL to this server",
        ),
        Err(why) if is_loopback(&base) => {
            Check::warn(NAME, format!("{why}: the server does not run"), "start `heartvoice serve`")
        }
        Err(why) => Check::fail(
            NAME,
            format!("{why}: Twilio cannot reach the server either"),
            "start the server, and check DNS, proxy and firewall",
        ),
    });
    (checks, ahead)
}

async fn twilio(config: &Config, http: &Client) -> (Check, Option<i64>) {
    const NAME: &str = "twilio";
    let settings = config.server().twilio;
    let Some(account) = &settings.account_sid else {
        return (Check::fail(NAME, "TWILIO_ACCOUNT_SID is not set", "copy it from the Twilio console"), None);
    };
    let (user, secret) = match (&settings.api_key, &settings.auth_token) {
        (Some((sid, secret)), _) => (sid, secret),
        (None, Some(token)) => (account, token),
        (None, None) => return (Check::fail(NAME, "no credentials are set", "set TWILIO_AUTH_TOKEN"), None),
    };
    let url = format!("{}/2010-04-01/Accounts/{account}.json", settings.base_url.trim_end_matches('/'));
    let answer = ask(http.get(url).basic_auth(user, Some(secret.expose_secret()))).await;
    let ahead = answer.as_ref().ok().and_then(|answer| answer.clock_ahead_s);
    let check = match answer {
        Ok(answer) if answer.status.is_success() => {
            Check::ok(NAME, format!("the account answers in {} ms", answer.took.as_millis()))
        }
        Ok(answer) if matches!(answer.status.as_u16(), 401 | 403) => Check::fail(
            NAME,
            "the credentials are refused",
            "check TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN, or the API key and its secret",
        ),
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
            Check::fail(NAME, "there is no such account", "check TWILIO_ACCOUNT_SID and TWILIO_BASE_URL")
        }
        Ok(answer) => Check::fail(
            NAME,
            format!("it answers with status {}", answer.status.as_u16()),
            "look at Twilio's status page",
        ),
        Err(why) => Check::fail(NAME, why, "check the network, the firewall and TWILIO_BASE_URL"),
    };
    (check, ahead)
}

/// Asks for a signed URL, which is what every call begins with.
async fn agents_service(config: &Config, http: &Client) -> (Vec<Check>, Option<i64>) {
    const NAME: &str = "elevenlabs";
    let Some(settings) = config.server().elevenlabs else {
        let mend = "set ELEVENLABS_API_KEY, then `heartvoice agent push` makes the agent";
        return (vec![Check::warn(NAME, "not configured: calls are held by the backup", mend)], None);
    };
    let url = call::agent::elevenlabs::signed_url_request(&settings.base_url, &settings.agent_id);
    let (mut took, mut ahead) = (Vec::new(), None);
    for _ in 0..SAMPLES {
        let answer = match ask(http.get(&url).header("xi-api-key", settings.api_key.expose_secret())).await {
            Ok(answer) => answer,
            Err(why) => {
                let mend = "check the network, the firewall and ELEVENLABS_BASE_URL";
                return (vec![Check::fail(NAME, why, mend)], ahead);
            }
        };
        ahead = answer.clock_ahead_s;
        let failed = match answer.status.as_u16() {
            200 => None,
            401 | 403 => Some(("the key is refused".to_owned(), "check ELEVENLABS_API_KEY and its permissions")),
            404 => Some(("there is no such agent".to_owned(), "check ELEVENLABS_AGENT_ID and ELEVENLABS_BASE_URL")),
            status => Some((format!("it answers with status {status}"), "look at the service's status page")),
        };
        if let Some((found, mend)) = failed {
            return (vec![Check::fail(NAME, found, mend)], ahead);
        }
        took.push(answer.took);
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let found = format!("{} ms for the signed URL of a call", median.as_millis());
    let latency = if median < SLOW {
        Check::ok("latency", found)
    } else {
        Check::warn("latency", found, "choose the region of ELEVENLABS_BASE_URL nearest to this server")
    };
    (vec![Check::ok(NAME, "key and agent are accepted"), latency], ahead)
}

/// Compares the agent with what the protocol needs.
async fn agent_settings(config: &Config) -> Vec<Check> {
    const NAME: &str = "agent settings";
    const MEND: &str = "`heartvoice agent push`";
    let (Some(id), Ok(account)) = (config.get("ELEVENLABS_AGENT_ID"), config.agents_account()) else {
        return Vec::new();
    };
    let mut wanted = config.wanted_agent(agent_text(config));
    let mut checks = Vec::new();
    let mut planned = agent_admin::plan(&account, Some(id), &wanted).await;
    let can_be_called = wanted.webhook_url.is_some();
    if matches!(planned, Err(AdminError::Unauthorized { .. })) && can_be_called {
        // Webhooks belong to the workspace; a key for agents may not see them.
        wanted.webhook_url = None;
        planned = agent_admin::plan(&account, Some(id), &wanted).await;
        if planned.is_ok() {
            let mend = "run this with a key that may read the workspace's webhooks";
            checks.push(Check::warn("post-call webhook", "the key may not look at it", mend));
        }
    }
    let plan = match planned {
        Ok(plan) => plan,
        // A key for calls alone is good practice; the settings are then for somebody else to check.
        Err(error @ AdminError::Unauthorized { .. }) => {
            return vec![Check::warn(NAME, error.to_string(), "run this with a key that may read agents")];
        }
        Err(error) => return vec![Check::fail(NAME, error.to_string(), MEND)],
    };
    let changes = plan.changes();
    for change in changes.iter().take(MAX_DIFFERENCES) {
        let found = format!("{} is not as it should be: {}", change.path, change.breaks);
        checks.push(if change.serious { Check::fail(NAME, found, MEND) } else { Check::warn(NAME, found, MEND) });
    }
    if changes.len() > MAX_DIFFERENCES {
        let more = changes.len() - MAX_DIFFERENCES;
        let serious = changes.iter().skip(MAX_DIFFERENCES).any(|change| change.serious);
        let found = format!("{more} more differences");
        let mend = "`heartvoice agent diff` shows all";
        checks.push(if serious { Check::fail(NAME, found, mend) } else { Check::warn(NAME, found, mend) });
    }
    if changes.is_empty() && !plan.is_done() {
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        checks.push(Check::warn(NAME, format!("still to do: {}", steps.join(", ")), MEND));
    }
    if plan.is_done() {
        checks.push(Check::ok(NAME, "they are what the protocol needs"));
    }
    if !can_be_called {
        checks.push(Check::warn(
            "post-call webhook",
            "the service cannot reach PUBLIC_BASE_URL: its analysis after calls is lost",
            "set PUBLIC_BASE_URL to an https:// address, then `heartvoice agent push`",
        ));
    }
    checks
}

fn webhook_secret(config: &Config) -> Check {
    const NAME: &str = "webhook secret";
    if config.get("ELEVENLABS_WEBHOOK_SECRET").is_some() {
        return Check::ok(NAME, "it is set");
    }
    Check::warn(
        NAME,
        "ELEVENLABS_WEBHOOK_SECRET is not set: the service's messages after calls are refused",
        "set it to what `heartvoice agent push` printed when it made the webhook; if that is lost, delete the webhook in \
         the account and push again",
    )
}

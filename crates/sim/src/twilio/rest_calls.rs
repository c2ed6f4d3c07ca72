//! REST: calls and their streams. A call that is created really rings somebody and runs.

use super::call::{self, Command, First, Setup};
use super::callbacks::Callbacks;
use super::rest::{COMMANDS, CallEntry, CalleeAnswer, Form, Hub, answer, lock};
use super::rest_json::{ApiError, is_number};
use super::twiml::StreamSpec;
use super::webhook::{field, rfc2822};
use super::{Caller, Impairments};
use crate::assets::Clip;
use crate::patient::PatientScript;
use crate::sound::synth;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Time between two calls that are started, where calls per second are limited.
const ONE_PER_SECOND: Duration = Duration::from_secs(1);
/// How long answering-machine detection takes.
const DETECTION: Duration = Duration::from_millis(1_200);
/// `Twiml` may be this long.
const MAX_TWIML: usize = 4_000;

/// Calls of one page, at most.
const MAX_PAGE: usize = 1_000;

type Result = std::result::Result<(u16, Value), ApiError>;

pub(super) async fn create(
    State(hub): State<Arc<Hub>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let begun = hub.admit(&headers, &account).and_then(|()| begin(&hub, &Form::parse(&body)));
    let number = hub.created.load(Ordering::Relaxed);
    if begun.is_ok() && hub.config.lose_answer_every.is_some_and(|every| every > 0 && number.is_multiple_of(every)) {
        // What a proxy in between says when the answer does not get through.
        return (StatusCode::BAD_GATEWAY, "bad gateway").into_response();
    }
    answer(begun)
}

/// The calls, newest first, filtered by `To`, `From` and `Status`.
pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    Path(account): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(hub.admit(&headers, &account).map(|()| {
        let wanted = Form::parse(&Bytes::from(uri.query().unwrap_or_default().to_owned()));
        let most = wanted.get("PageSize").and_then(|size| size.parse().ok()).unwrap_or(50_usize).min(MAX_PAGE);
        let calls = lock(&hub.calls);
        let is_wanted = |name: &str, value: &str| wanted.get(name).is_none_or(|wanted| wanted == value);
        let mut found: Vec<&CallEntry> = calls
            .values()
            .filter(|call| is_wanted("To", &call.to) && is_wanted("From", &call.from))
            .filter(|call| is_wanted("Status", &call.status.borrow()))
            .collect();
        found.sort_by_key(|call| std::cmp::Reverse(call.number));
        let list: Vec<Value> = found.into_iter().take(most).map(|call| call.json(&hub.config.account_sid)).collect();
        (200, json!({"calls": list, "page": 0, "page_size": most, "next_page_uri": null}))
    }))
}

fn begin(hub: &Arc<Hub>, form: &Form) -> Result {
    let to = form.get("To").ok_or_else(|| ApiError::missing("To"))?;
    let from = form.get("From").ok_or_else(|| ApiError::missing("From"))?;
    // A test number that is never valid.
    if !is_number(to) || to == "+15005550001" {
        return Err(ApiError::bad_to(to));
    }
    if !is_number(from) {
        return Err(ApiError::new(400, 21212, format!("The 'From' number {from} is not a valid phone number.")));
    }
    let first = document(form)?.ok_or_else(|| ApiError::missing("Url"))?;
    let sid = hub.new_sid("CA");
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (status, watched) = watch::channel("queued".to_owned());
    let number = hub.created.fetch_add(1, Ordering::Relaxed);
    let entry = CallEntry {
        number,
        sid: sid.clone(),
        to: to.to_owned(),
        from: from.to_owned(),
        direction: "outbound-api",
        created: rfc2822(),
        status: watched,
        commands,
        duration_s: None,
        answered_by: None,
    };
    let body = entry.json(&hub.config.account_sid);
    hub.add_call(entry);
    let outbound = Outbound { sid, form: form.clone(), first, number, receiver, status };
    let task_hub = Arc::clone(hub);
    hub.tasks.spawn(async move { outbound.run(&task_hub).await });
    Ok((201, body))
}

/// `Twiml` or `Url` of a request; with both, `Url` counts, as on the real service.
fn document(form: &Form) -> std::result::Result<Option<First>, ApiError> {
    if let Some(url) = form.get("Url") {
        let method = form.get("Method").unwrap_or("POST").to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ApiError::new(400, 21205, format!("Url is not a valid URL: {url}")));
        }
        return Ok(Some(First::Url { url: url.to_owned(), method }));
    }
    let Some(twiml) = form.get("Twiml") else { return Ok(None) };
    if twiml.chars().count() > MAX_TWIML {
        return Err(ApiError::new(400, 21218, "Twiml is longer than 4000 characters"));
    }
    Ok(Some(First::Twiml(twiml.to_owned())))
}

/// A call made by REST, from the queue to its end.
struct Outbound {
    sid: String,
    form: Form,
    first: First,
    number: u64,
    receiver: mpsc::Receiver<Command>,
    status: watch::Sender<String>,
}

impl Outbound {
    async fn run(mut self, hub: &Arc<Hub>) {
        if hub.config.one_call_per_second {
            let turn = ONE_PER_SECOND * u32::try_from(self.number).unwrap_or(u32::MAX);
            if self.cancelled_within(turn).await {
                // Cancelled while queued: no callback at all.
                self.status.send_replace("canceled".to_owned());
                return;
            }
        }
        let impairments: &Impairments = &hub.config.impairments;
        let callbacks = Callbacks::new(Arc::clone(&hub.webhooks), impairments);
        let mut sequence = 0;
        let to = self.form.get("To").unwrap_or_default().to_owned();
        let callee = hub.config.callees.iter().find(|(number, _)| *number == to).map(|(_, callee)| callee.clone());
        let callee = callee.unwrap_or_else(|| hub.config.default_callee.clone());
        self.report(hub, &callbacks, "initiated", "initiated", &mut sequence, None);
        if callee == CalleeAnswer::Failed {
            self.status.send_replace("failed".to_owned());
            self.report(hub, &callbacks, "completed", "failed", &mut sequence, Some("404"));
            return callbacks.finish().await;
        }
        self.status.send_replace("ringing".to_owned());
        self.report(hub, &callbacks, "ringing", "ringing", &mut sequence, None);
        let patience =
            self.form.get("Timeout").and_then(|t| t.parse().ok()).map_or(Duration::from_secs(60), Duration::from_secs);
        let ring = if callee == CalleeAnswer::NoAnswer { patience } else { hub.config.ring };
        let cancelled = self.cancelled_within(ring.min(patience)).await;
        let outcome = match (&callee, cancelled) {
            (_, true) => Some(("canceled", "487")),
            (CalleeAnswer::Busy, _) => Some(("busy", "486")),
            (CalleeAnswer::NoAnswer, _) => Some(("no-answer", "487")),
            _ if ring > patience => Some(("no-answer", "487")),
            _ => None,
        };
        if let Some((status, sip)) = outcome {
            self.status.send_replace(status.to_owned());
            self.report(hub, &callbacks, "completed", status, &mut sequence, Some(sip));
            return callbacks.finish().await;
        }
        self.report(hub, &callbacks, "answered", "in-progress", &mut sequence, None);
        callbacks.finish().await;
        self.talk(hub, callee, sequence).await;
    }

    async fn talk(self, hub: &Arc<Hub>, callee: CalleeAnswer, status_sequence: u64) {
        let (behaviour, answered_by) = match callee {
            CalleeAnswer::Human(script) => (script, "human"),
            _ => (machine(), "machine_start"),
        };
        let get = |name: &str| self.form.get(name).map(str::to_owned);
        let events = self.events();
        let mut extra_fields = Vec::new();
        if get("MachineDetection").is_some_and(|value| value != "None") {
            if let Some(entry) = lock(&hub.calls).get_mut(&self.sid) {
                entry.answered_by = Some(answered_by);
            }
            if get("AsyncAmd").as_deref() == Some("true") {
                self.detect_later(hub, answered_by);
            } else {
                tokio::time::sleep(DETECTION).await;
                extra_fields.push(field("AnsweredBy", answered_by));
            }
        }
        let limit = get("TimeLimit").and_then(|t| t.parse().ok()).map_or(Duration::from_secs(600), Duration::from_secs);
        let voice_url = match &self.first {
            First::Url { url, .. } => url.clone(),
            First::Twiml(_) => String::new(),
        };
        let caller = Caller {
            account_sid: hub.config.account_sid.clone(),
            auth_token: hub.config.auth_token.clone(),
            from: get("From").unwrap_or_default(),
            to: get("To").unwrap_or_default(),
            fallback_url: get("FallbackUrl"),
            status_callback: get("StatusCallback").filter(|_| events.iter().any(|event| event == "completed")),
            behaviour,
            impairments: hub.config.impairments.clone(),
            seed: hub.config.seed.wrapping_add(self.number.wrapping_mul(7_919)),
            time_limit: limit,
            status_sequence,
            say_speed: hub.config.say_speed,
            ..Caller::new(voice_url)
        };
        let setup = Setup {
            caller,
            call_sid: self.sid,
            direction: "outbound-api",
            first: self.first,
            answered: true,
            extra_fields,
            commands: self.receiver,
            status: self.status,
        };
        let ended = tokio::select! {
            ended = Box::pin(call::run(setup)) => ended,
            () = hub.stop.cancelled() => return,
        };
        match ended {
            Ok(report) => hub.add_report(&report),
            Err(error) => tracing::warn!(%error, "simulated call failed"),
        }
    }

    fn detect_later(&self, hub: &Arc<Hub>, answered_by: &'static str) {
        let Some(url) = self.form.get("AsyncAmdStatusCallback").map(str::to_owned) else { return };
        let fields = vec![
            field("CallSid", self.sid.as_str()),
            field("AccountSid", hub.config.account_sid.as_str()),
            field("AnsweredBy", answered_by),
            field("MachineDetectionDuration", DETECTION.as_millis().to_string()),
        ];
        let webhooks = Arc::clone(&hub.webhooks);
        hub.tasks.spawn(async move {
            tokio::time::sleep(DETECTION).await;
            if let Err(failure) = webhooks.send(&url, "POST", &fields).await {
                tracing::warn!(failure.detail, "detection callback failed");
            }
        });
    }

    /// Waits; true when the call was cancelled meanwhile.
    async fn cancelled_within(&mut self, time: Duration) -> bool {
        let cancelled = async {
            while let Some(command) = self.receiver.recv().await {
                if matches!(command, Command::HangUp) {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::time::timeout(time, cancelled).await.is_ok()
    }

    fn events(&self) -> Vec<String> {
        let listed = self.form.all("StatusCallbackEvent");
        let mut events: Vec<String> =
            listed.iter().flat_map(|text| text.split(' ')).filter(|text| !text.is_empty()).map(str::to_owned).collect();
        if events.is_empty() {
            events.push("completed".to_owned());
        }
        events
    }

    fn report(
        &self,
        hub: &Hub,
        callbacks: &Callbacks,
        event: &str,
        status: &str,
        sequence: &mut u64,
        sip: Option<&str>,
    ) {
        if !self.events().iter().any(|wanted| wanted == event) {
            return;
        }
        let get = |name: &str| self.form.get(name).unwrap_or_default();
        let mut fields = vec![
            field("CallSid", self.sid.as_str()),
            field("AccountSid", hub.config.account_sid.as_str()),
            field("From", get("From")),
            field("To", get("To")),
            field("Caller", get("From")),
            field("Called", get("To")),
            field("CallStatus", status),
            field("ApiVersion", "2010-04-01"),
            field("Direction", "outbound-api"),
            field("Timestamp", rfc2822()),
            field("CallbackSource", "call-progress-events"),
            field("SequenceNumber", sequence.to_string()),
        ];
        if let Some(sip) = sip {
            fields.extend([field("SipResponseCode", sip), field("CallDuration", "0")]);
        }
        *sequence += 1;
        callbacks.send(self.form.get("StatusCallback"), fields);
    }
}

/// A machine that says something, beeps, and listens.
fn machine() -> PatientScript {
    let text = "You have reached my voicemail. Please leave a message after the tone.";
    let mut sound = synth::babble(text, 3);
    sound.extend(synth::tone(1_000.0, 400));
    PatientScript::monologue(vec![Clip::new("voicemail", text, sound)])
}

pub(super) async fn read(
    State(hub): State<Arc<Hub>>,
    Path((account, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| {
        let calls = lock(&hub.calls);
        let call = find(&calls, &file)?;
        Ok((200, call.json(&hub.config.account_sid)))
    }))
}

pub(super) async fn update(
    State(hub): State<Arc<Hub>>,
    Path((account, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| change(&hub, &file, &Form::parse(&body))))
}

fn change(hub: &Hub, file: &str, form: &Form) -> Result {
    let calls = lock(&hub.calls);
    let call = find(&calls, file)?;
    let status = call.status.borrow().clone();
    let command = match form.get("Status") {
        Some("completed" | "canceled") => Command::HangUp,
        Some(other) => return Err(ApiError::new(400, 20001, format!("Invalid Status '{other}'"))),
        None => match document(form)? {
            Some(First::Url { url, method }) => Command::Redirect { url, method },
            Some(First::Twiml(body)) => Command::Twiml(body),
            None => return Ok((200, call.json(&hub.config.account_sid))),
        },
    };
    let live = matches!(status.as_str(), "queued" | "ringing" | "in-progress");
    if !live || (status != "in-progress" && !matches!(command, Command::HangUp)) {
        return Err(ApiError::new(400, 21220, "Call is not in-progress. Cannot redirect."));
    }
    send(call, command)?;
    Ok((200, call.json(&hub.config.account_sid)))
}

pub(super) async fn start_stream(
    State(hub): State<Arc<Hub>>,
    Path((account, sid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| {
        let form = Form::parse(&body);
        let get = |name: &str| form.get(name).unwrap_or_default().to_owned();
        let parameters = (1..=99)
            .map_while(|n| form.get(&format!("Parameter{n}.Name")).map(|name| (n, name.to_owned())))
            .map(|(n, name)| (name, get(&format!("Parameter{n}.Value"))))
            .collect();
        let spec = StreamSpec {
            url: form.get("Url").ok_or_else(|| ApiError::missing("Url"))?.to_owned(),
            name: get("Name"),
            track: get("Track"),
            status_callback: form.get("StatusCallback").map(str::to_owned),
            parameters,
        };
        let name = spec.name.clone();
        let calls = lock(&hub.calls);
        let call = find(&calls, &sid)?;
        send(call, Command::StartFork(spec))?;
        Ok((201, stream_json(&hub, &sid, &hub.new_sid("MZ"), &name, "in-progress")))
    }))
}

pub(super) async fn stop_stream(
    State(hub): State<Arc<Hub>>,
    Path((account, sid, file)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| {
        let name = file.trim_end_matches(".json");
        if Form::parse(&body).get("Status") != Some("stopped") {
            return Err(ApiError::new(400, 20001, "Status must be stopped"));
        }
        let calls = lock(&hub.calls);
        let call = find(&calls, &sid)?;
        send(call, Command::StopFork(name.to_owned()))?;
        Ok((200, stream_json(&hub, &sid, name, name, "stopped")))
    }))
}

pub(super) async fn record(
    State(hub): State<Arc<Hub>>,
    Path((account, sid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| {
        find(&lock(&hub.calls), &sid)?;
        let recording = hub.new_sid("RE");
        Ok((
            201,
            json!({"sid": recording, "call_sid": sid, "account_sid": hub.config.account_sid, "status": "in-progress",
                "channels": 1, "source": "StartCallRecordingAPI", "date_created": rfc2822()}),
        ))
    }))
}

fn stream_json(hub: &Hub, call_sid: &str, sid: &str, name: &str, status: &str) -> Value {
    json!({"sid": sid, "account_sid": hub.config.account_sid, "call_sid": call_sid, "name": name, "status": status,
        "date_updated": rfc2822(),
        "uri": format!("/2010-04-01/Accounts/{}/Calls/{call_sid}/Streams/{sid}.json", hub.config.account_sid)})
}

fn find<'a>(
    calls: &'a std::collections::BTreeMap<String, CallEntry>,
    file: &str,
) -> std::result::Result<&'a CallEntry, ApiError> {
    let sid = file.trim_end_matches(".json");
    calls.get(sid).ok_or_else(|| ApiError::not_found(&format!("/Calls/{sid}.json")))
}

fn send(call: &CallEntry, command: Command) -> std::result::Result<(), ApiError> {
    call.commands.try_send(command).map_err(|_| ApiError::new(400, 21220, "Call is not in-progress. Cannot redirect."))
}

//! The REST interface: what it accepts and refuses, and the calls and messages it sets in motion.

#![allow(clippy::unwrap_used, clippy::panic)]

use axum::Router;
use axum::extract::{Form, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::Value;
use sim::patient::PatientScript;
use sim::twilio::{
    CalleeAnswer, Caller, EndedBy, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioRunning, TwilioSim,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Log = Arc<Mutex<Vec<(String, HashMap<String, String>)>>>;

/// A server that logs webhooks; `/voice` pauses, `/script` speaks and hangs up.
async fn webhooks() -> (String, Log) {
    let log = Log::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let route = |name: &'static str, body: &'static str| {
        post(move |State(log): State<Log>, Form(form): Form<HashMap<String, String>>| async move {
            log.lock().unwrap().push((name.to_owned(), form));
            ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
        })
    };
    let router = Router::new()
        .route("/voice", route("voice", r#"<Response><Pause length="30"/></Response>"#))
        .route("/short", route("short", "<Response><Say>Hello.</Say></Response>"))
        .route("/script", route("script", "<Response><Say>Goodbye.</Say><Hangup/></Response>"))
        .route("/status", route("status", ""))
        .route("/amd", route("amd", ""))
        .with_state(Arc::clone(&log));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (base, log)
}

struct Client {
    http: reqwest::Client,
    base: String,
    user: String,
    password: String,
}

impl Client {
    fn new(twilio: &TwilioRunning) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: format!("{}/2010-04-01/Accounts/{TEST_ACCOUNT_SID}", twilio.base_url()),
            user: TEST_ACCOUNT_SID.to_owned(),
            password: TEST_AUTH_TOKEN.to_owned(),
        }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).basic_auth(&self.user, Some(&self.password));
        let response = request.form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.base)).basic_auth(&self.user, Some(&self.password));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..400 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

fn quick() -> TwilioConfig {
    TwilioConfig {
        ring: Duration::from_millis(100),
        message_step: Duration::from_millis(20),
        say_speed: 0.2,
        default_callee: CalleeAnswer::Human(PatientScript::scenario("silent").unwrap()),
        ..TwilioConfig::default()
    }
}

fn statuses(log: &Log, field: &str) -> Vec<String> {
    log.lock().unwrap().iter().filter(|(n, _)| n == "status").filter_map(|(_, f)| f.get(field).cloned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_ask_and_for_what() {
    let config = TwilioConfig { api_key: Some(("SK1".to_owned(), "secret".to_owned())), ..quick() };
    let twilio = TwilioSim::start(config).await.unwrap();
    let mut client = Client::new(&twilio);
    assert_eq!(client.get(".json").await.1["status"], "active");
    let call = [("To", "+1bad"), ("From", "+15005550010"), ("Url", "http://127.0.0.1:9/")];
    let (status, body) = client.post("/Calls.json", &call).await;
    assert_eq!((status, &body["code"], &body["status"]), (400, &21211.into(), &400.into()));
    assert_eq!(body["message"], "The 'To' number +1bad is not a valid phone number.");
    assert_eq!(client.post("/Calls.json", &[("From", "+15005550010")]).await.1["code"], 21201);
    let (status, body) = client.get("/Calls/CA00000000000000000000000000000000.json").await;
    assert_eq!((status, &body["code"]), (404, &20404.into()));
    assert_eq!(client.get("/Nothing.json").await.0, 404);
    client.password = "wrong".to_owned();
    let (status, body) = client.get("/Messages/SM1.json").await;
    assert_eq!((status, &body["code"]), (401, &20003.into()));
    (client.user, client.password) = ("SK1".to_owned(), "secret".to_owned());
    assert_eq!(client.get(".json").await.0, 200);
    client.base = client.base.replace("AC0", "AC1");
    assert_eq!(client.get(".json").await.0, 404);
    twilio.shutdown().await;
    let throttled = TwilioSim::start(TwilioConfig { throttle_every: Some(2), ..quick() }).await.unwrap();
    let client = Client::new(&throttled);
    assert_eq!(client.get(".json").await.0, 200);
    assert_eq!(client.get(".json").await.1["code"], 20429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_rings_runs_is_redirected_and_ends() {
    let (base, log) = webhooks().await;
    let twilio = TwilioSim::start(quick()).await.unwrap();
    let client = Client::new(&twilio);
    let (url, status_url, amd) = (format!("{base}/voice"), format!("{base}/status"), format!("{base}/amd"));
    let mut form = vec![("To", "+15005550006"), ("From", "+15005550010"), ("Url", &url)];
    form.extend([("StatusCallback", status_url.as_str()), ("MachineDetection", "Enable"), ("AsyncAmd", "true")]);
    form.push(("AsyncAmdStatusCallback", &amd));
    for event in ["initiated", "ringing", "answered", "completed"] {
        form.push(("StatusCallbackEvent", event));
    }
    let (status, body) = client.post("/Calls.json", &form).await;
    assert_eq!((status, &body["status"], &body["direction"]), (201, &"queued".into(), &"outbound-api".into()));
    let path = format!("/Calls/{}.json", body["sid"].as_str().unwrap());
    until("voice webhook", || log.lock().unwrap().iter().any(|(n, _)| n == "voice")).await;
    let voice = log.lock().unwrap().iter().find(|(n, _)| n == "voice").unwrap().1.clone();
    assert_eq!((voice["CallStatus"].as_str(), voice["Direction"].as_str()), ("in-progress", "outbound-api"));
    assert_eq!(client.get(&path).await.1["status"], "in-progress");
    until("detection", || log.lock().unwrap().iter().any(|(n, f)| n == "amd" && f["AnsweredBy"] == "human")).await;
    let script = format!("{base}/script");
    assert_eq!(client.post(&path, &[("Url", script.as_str()), ("Method", "POST")]).await.0, 200);
    until("the end", || !twilio.reports().is_empty()).await;
    let report = twilio.reports().remove(0);
    assert_eq!((report.said, report.ended_by), (vec!["Goodbye.".to_owned()], EndedBy::Verb));
    assert_eq!(statuses(&log, "CallStatus"), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(statuses(&log, "SequenceNumber"), ["0", "1", "2", "3"]);
    let (_, body) = client.get(&path).await;
    assert_eq!((&body["status"], &body["answered_by"]), (&"completed".into(), &"human".into()));
    assert!(body["duration"].is_string());
    // Too late now.
    assert_eq!(client.post(&path, &[("Status", "completed")]).await.1["code"], 21220);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_nobody_answers() {
    let (base, log) = webhooks().await;
    let callees = [("+15005550021", CalleeAnswer::Busy), ("+15005550022", CalleeAnswer::NoAnswer)];
    let mut callees: Vec<_> = callees.map(|(n, a)| (n.to_owned(), a)).to_vec();
    callees.push(("+15005550023".to_owned(), CalleeAnswer::Failed));
    let twilio = TwilioSim::start(TwilioConfig { callees, ..quick() }).await.unwrap();
    let client = Client::new(&twilio);
    let (url, status) = (format!("{base}/voice"), format!("{base}/status"));
    for to in ["+15005550021", "+15005550022", "+15005550023"] {
        let form = [("To", to), ("From", "+15005550010"), ("Url", &url), ("StatusCallback", &status), ("Timeout", "1")];
        assert_eq!(client.post("/Calls.json", &form).await.0, 201);
    }
    until("three callbacks", || statuses(&log, "CallStatus").len() == 3).await;
    let mut seen = statuses(&log, "CallStatus");
    seen.sort();
    assert_eq!(seen, ["busy", "failed", "no-answer"]);
    assert!(log.lock().unwrap().iter().all(|(name, _)| name == "status"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_cancelled_queued_and_given_as_text() {
    let (base, log) = webhooks().await;
    let config = TwilioConfig { one_call_per_second: true, ring: Duration::from_millis(300), ..quick() };
    let twilio = TwilioSim::start(config).await.unwrap();
    let client = Client::new(&twilio);
    let url = format!("{base}/short");
    let form = [("To", "+15005550006"), ("From", "+15005550010"), ("Url", url.as_str())];
    let twiml = [
        ("To", "+15005550006"),
        ("From", "+15005550010"),
        ("Twiml", "<Response><Say>Bonjour à tous &amp; merci</Say></Response>"),
    ];
    let (first, second) = (client.post("/Calls.json", &twiml).await.1, client.post("/Calls.json", &form).await.1);
    // The second waits for its second; it is cancelled in the queue.
    let path = format!("/Calls/{}.json", second["sid"].as_str().unwrap());
    assert_eq!(client.post(&path, &[("Status", "canceled")]).await.0, 200);
    until("first call", || twilio.reports().len() == 1).await;
    assert_eq!(twilio.reports()[0].said, ["Bonjour à tous & merci"]);
    until("second call", || twilio.calls().iter().any(|c| c.status == "canceled")).await;
    assert_eq!(client.get(&format!("/Calls/{}.json", first["sid"].as_str().unwrap())).await.1["status"], "completed");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incoming_calls_are_seen_and_hung_up_by_rest() {
    let (base, _) = webhooks().await;
    let twilio = Arc::new(TwilioSim::start(quick()).await.unwrap());
    let caller = Caller::new(format!("{base}/voice"));
    let sid = caller.call_sid();
    let running = Arc::clone(&twilio);
    let call = tokio::spawn(async move { running.inbound(caller).await.unwrap() });
    until("in progress", || twilio.calls().iter().any(|c| c.sid == sid && c.status == "in-progress")).await;
    let client = Client::new(&twilio);
    assert_eq!(client.post(&format!("/Calls/{sid}.json"), &[("Status", "completed")]).await.0, 200);
    let report = call.await.unwrap();
    assert_eq!((report.call_sid, report.ended_by), (sid, EndedBy::Rest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_or_do_not() {
    let (base, log) = webhooks().await;
    let undeliverable = vec![("+15005550009".to_owned(), 30003)];
    let twilio = TwilioSim::start(TwilioConfig { undeliverable, ..quick() }).await.unwrap();
    let client = Client::new(&twilio);
    let callback = format!("{base}/status");
    for to in ["+15005550006", "+15005550009"] {
        let form = [("To", to), ("From", "+15005550010"), ("Body", "Alert ❤ +2,3 kg"), ("StatusCallback", &callback)];
        let (status, body) = client.post("/Messages.json", &form).await;
        assert_eq!((status, &body["status"], &body["num_segments"]), (201, &"queued".into(), &"1".into()));
        until("end", || twilio.messages().iter().all(|m| m.status.ends_with("delivered"))).await;
    }
    until("callbacks", || statuses(&log, "MessageStatus").len() == 4).await;
    assert_eq!(statuses(&log, "MessageStatus"), ["sent", "delivered", "sent", "undelivered"]);
    let lost = twilio.messages()[1].sid.clone();
    assert_eq!(client.get(&format!("/Messages/{lost}.json")).await.1["error_code"], 30003);
    assert_eq!(twilio.messages()[0].body, "Alert ❤ +2,3 kg");
    assert_eq!(
        client.post("/Messages.json", &[("To", "+15005550006"), ("From", "+15005550010")]).await.1["code"],
        21602
    );
}

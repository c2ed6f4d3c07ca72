//! Simulated calls against a tiny server: what reaches it, what it may send, and how calls end.

#![allow(clippy::unwrap_used, clippy::panic)]

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sim::assets::clip;
use sim::patient::{PatientScript, Step};
use sim::twilio::webhook::sign;
use sim::twilio::{Caller, EndedBy, HandshakeSignature, HangUpStyle, Impairments, Malformed, TEST_AUTH_TOKEN};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the tiny server does on its media socket once `start` has come.
#[derive(Clone, Default)]
struct Plan {
    /// Messages sent after `start`; `SID` stands for the stream's sid, `@greeting` for audio of the greeting.
    after_start: Vec<String>,
    /// Messages sent before `start` is read.
    early: Vec<String>,
    /// Send a binary message.
    binary: bool,
    /// Close with this code after so many media messages.
    close_after: Option<(usize, u16)>,
    /// Send `clear` after so many media messages.
    clear_after: Option<usize>,
    /// TwiML of the voice webhook; `HOST` stands for the address.
    voice: String,
    /// Status instead of 101.
    refuse: Option<u16>,
}

#[derive(Default)]
struct Seen {
    messages: Vec<(Duration, Value)>,
    raw: Vec<String>,
    audio: Vec<u8>,
    webhooks: Vec<(String, HashMap<String, String>)>,
    bad_signatures: usize,
    upgrade: HeaderMap,
    closed: Option<Option<u16>>,
    broken: bool,
}

struct App {
    plan: Plan,
    addr: String,
    seen: Mutex<Seen>,
}

impl App {
    async fn start(plan: Plan) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let app = Arc::new(Self { plan, addr, seen: Mutex::default() });
        let router = Router::new()
            .route("/voice", post(voice))
            .route("/after", post(after))
            .route("/status", post(status))
            .route("/media", get(media))
            .with_state(Arc::clone(&app));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        app
    }

    fn caller(&self, scenario: &str) -> Caller {
        Caller {
            behaviour: PatientScript::scenario(scenario).unwrap(),
            status_callback: Some(format!("http://{}/status", self.addr)),
            time_limit: Duration::from_secs(20),
            say_speed: 0.2,
            ..Caller::new(format!("http://{}/voice", self.addr))
        }
    }

    fn check(&self, path: &str, headers: &HeaderMap, fields: &HashMap<String, String>) {
        let fields_: Vec<(String, String)> = fields.clone().into_iter().collect();
        let expected = sign(TEST_AUTH_TOKEN, &format!("http://{}{path}", self.addr), &fields_);
        let mut seen = self.seen.lock().unwrap();
        seen.bad_signatures += usize::from(headers["x-twilio-signature"] != expected);
        seen.webhooks.push((path.to_owned(), fields.clone()));
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.messages.iter().map(|(_, m)| m.clone()).filter(|m| m["event"] == event).collect()
    }

    fn webhooks(&self, path: &str) -> Vec<HashMap<String, String>> {
        let seen = self.seen.lock().unwrap();
        seen.webhooks.iter().filter(|(p, _)| p == path).map(|(_, fields)| fields.clone()).collect()
    }
}

fn xml(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

async fn voice(State(app): State<Arc<App>>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    app.check("/voice", &headers, &form);
    let default = r#"<?xml version="1.0"?><Response><Connect action="/after"><Stream url="ws://HOST/media" name="agent" statusCallback="http://HOST/status"><Parameter name="visit" value="42"/></Stream></Connect></Response>"#;
    let body = if app.plan.voice.is_empty() { default } else { &app.plan.voice };
    xml(body.replace("HOST", &app.addr))
}

async fn after(State(app): State<Arc<App>>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    app.check("/after", &headers, &form);
    xml("<Response><Say>Thank you.</Say><Hangup/></Response>".to_owned())
}

async fn status(State(app): State<Arc<App>>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) {
    app.check("/status", &headers, &form);
}

async fn media(State(app): State<Arc<App>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let expected = sign(TEST_AUTH_TOKEN, &format!("ws://{}/media", app.addr), &[]);
    let signed = headers.get("x-twilio-signature").is_some_and(|value| *value == *expected);
    app.seen.lock().unwrap().upgrade = headers;
    if let Some(status) = app.plan.refuse {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if !signed {
        return StatusCode::FORBIDDEN.into_response();
    }
    upgrade.on_upgrade(move |socket| serve(app, socket))
}

async fn serve(app: Arc<App>, mut socket: WebSocket) {
    let began = tokio::time::Instant::now();
    for text in &app.plan.early {
        socket.send(Message::Text(text.clone().into())).await.unwrap();
    }
    let mut media = 0;
    let mut sid = String::new();
    while let Some(message) = socket.recv().await {
        let text = match message {
            Ok(Message::Text(text)) => text.to_string(),
            Ok(Message::Close(frame)) => {
                app.seen.lock().unwrap().closed = Some(frame.map(|f| f.code));
                break;
            }
            Ok(_) => continue,
            Err(_) => {
                app.seen.lock().unwrap().broken = true;
                break;
            }
        };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            app.seen.lock().unwrap().raw.push(text);
            continue;
        };
        let event = value["event"].as_str().unwrap_or_default().to_owned();
        {
            let mut seen = app.seen.lock().unwrap();
            if event == "media" {
                seen.audio.extend(STANDARD.decode(value["media"]["payload"].as_str().unwrap()).unwrap());
            }
            seen.messages.push((began.elapsed(), value.clone()));
        }
        if event == "start" {
            sid = value["streamSid"].as_str().unwrap().to_owned();
            for text in &app.plan.after_start {
                let greeting = STANDARD.encode(&clip("agent_greeting").unwrap().ulaw);
                let text = text.replace("SID", &sid).replace("@greeting", &greeting);
                socket.send(Message::Text(text.into())).await.unwrap();
            }
            if app.plan.binary {
                socket.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
            }
        }
        media += usize::from(event == "media");
        if event == "media" && app.plan.clear_after == Some(media) {
            socket.send(Message::Text(json!({"event": "clear", "streamSid": sid}).to_string().into())).await.unwrap();
        }
        if let Some((_, code)) = app.plan.close_after.filter(|(after, _)| event == "media" && *after == media) {
            let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
        }
    }
}

fn greeting() -> Vec<String> {
    [
        r#"{"event":"media","streamSid":"SID","media":{"payload":"@greeting"}}"#,
        r#"{"event":"mark","streamSid":"SID","mark":{"name":"t1:1"}}"#,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_carries_sound_both_ways_without_loss() {
    let app = App::start(Plan { after_start: greeting(), close_after: Some((330, 1000)), ..Plan::default() }).await;
    let report = app.caller("stable").run().await.unwrap();
    assert_eq!(report.violations, []);
    assert_eq!(report.ended_by, EndedBy::Verb);
    assert_eq!(report.said, ["Thank you."]);
    assert_eq!(report.twiml_seen.len(), 2);
    assert_eq!(report.server_close_code, Some(1000));
    // What was heard is what was sent, byte for byte.
    let sound = clip("agent_greeting").unwrap().ulaw;
    assert!(report.heard_on_stream.windows(sound.len()).any(|window| window == &sound[..]));
    assert_eq!(report.spoke.len(), 1);
    assert!(report.spoke[0].0 > clip("agent_greeting").unwrap().duration_ms());
    let seen = app.seen.lock().unwrap();
    assert_eq!(seen.bad_signatures, 0);
    // What was spoken is what arrived.
    assert!(report.spoken.starts_with(&seen.audio) && report.spoken.len() - seen.audio.len() <= 20 * 160);
    assert_eq!(seen.upgrade["user-agent"], "Twilio.TmeWs/1.0");
    assert_eq!(seen.upgrade["accept-encoding"], "gzip");
    assert!(!seen.upgrade.contains_key("sec-websocket-extensions"));
    assert_eq!(seen.messages[0].1, json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
    let start = &seen.messages[1].1;
    assert_eq!(start["start"]["customParameters"], json!({"visit": "42"}));
    assert_eq!((&start["start"]["callSid"], &start["sequenceNumber"]), (&json!(report.call_sid), &json!("1")));
    // The mark came back when the greeting had been played.
    let mark = seen.messages.iter().find(|(_, m)| m["event"] == "mark").unwrap();
    let (from, played) = (seen.messages[1].0, clip("agent_greeting").unwrap().duration_ms() + 35);
    let took = (mark.0 - from).as_millis() as u64;
    assert!((played - 60..played + 200).contains(&took), "{took} {played}");
    // Sequence numbers have no holes; frames come at 50 per second.
    let numbers: Vec<u64> =
        seen.messages[1..].iter().map(|(_, m)| m["sequenceNumber"].as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1));
    let media: Vec<&(Duration, Value)> = seen.messages.iter().filter(|(_, m)| m["event"] == "media").collect();
    let rate = media.len() as f64 / (media.last().unwrap().0 - media[0].0).as_secs_f64();
    assert!((48.0..53.0).contains(&rate), "{rate}");
    let first: u64 = media[0].1["media"]["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((40..=60).contains(&first));
    drop(seen);
    let voice = &app.webhooks("/voice")[0];
    assert_eq!((voice["CallStatus"].as_str(), voice["Direction"].as_str()), ("ringing", "inbound"));
    assert_eq!(app.webhooks("/after")[0]["CallStatus"], "in-progress");
    let statuses = app.webhooks("/status");
    let events: Vec<&str> = statuses.iter().filter_map(|f| f.get("StreamEvent").map(String::as_str)).collect();
    assert_eq!(events, ["stream-started", "stream-stopped"]);
    assert_eq!(statuses.last().unwrap()["CallStatus"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_silences_the_line_and_returns_marks() {
    let mut after_start = greeting();
    after_start.push(r#"{"event":"mark","streamSid":"SID","mark":{"name":"t1:2"}}"#.to_owned());
    let plan = Plan { after_start, clear_after: Some(20), close_after: Some((60, 1000)), ..Plan::default() };
    let app = App::start(plan).await;
    let report = app.caller("silent").run().await.unwrap();
    assert_eq!((report.clears, report.violations.len()), (1, 0));
    assert!(report.cleared_ms[0] > 2_000);
    let names: Vec<Value> = app.events("mark").iter().map(|m| m["mark"]["name"].clone()).collect();
    assert_eq!(names, ["t1:1", "t1:2"]);
    let silent = report.heard_on_stream.iter().rev().take_while(|b| **b == 0xFF).count();
    assert!(silent > 500 * 8, "{silent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaking_the_protocol_is_reported_once_per_stream() {
    let bad = r#"{"event":"clear","streamSid":"SID","extra":1}"#.to_owned();
    let plan =
        Plan { after_start: vec![bad.clone(), bad], binary: true, close_after: Some((20, 1000)), ..Plan::default() };
    let report = App::start(plan).await.caller("silent").run().await.unwrap();
    let codes: Vec<u32> = report.violations.iter().map(|v| v.code).collect();
    assert_eq!(codes, [31951, 31950]);
    assert_eq!((report.breaches, report.clears), (3, 0));
    let early = r#"{"event":"clear","streamSid":"MZ0"}"#.to_owned();
    let app = App::start(Plan { early: vec![early], close_after: Some((20, 1000)), ..Plan::default() }).await;
    let report = app.caller("silent").run().await.unwrap();
    assert!(report.violations[0].detail.contains("before start"), "{:?}", report.violations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_hang_up_in_four_ways() {
    for style in
        [HangUpStyle::StopAndClose, HangUpStyle::CloseWithoutStop, HangUpStyle::StopWithoutClose, HangUpStyle::Reset]
    {
        let app = App::start(Plan::default()).await;
        let mut caller = app.caller("silent");
        caller.behaviour.steps = vec![Step::Silence(600), Step::Dtmf("5".to_owned()), Step::HangUp];
        caller.behaviour.steps[1] = Step::Speak(clip("patient_yes").unwrap());
        caller.impairments.hang_up = style;
        let report = caller.run().await.unwrap();
        assert_eq!(report.ended_by, EndedBy::Caller);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let seen = app.seen.lock().unwrap();
        let stopped = seen.messages.last().unwrap().1["event"] == "stop";
        let expected = match style {
            HangUpStyle::StopAndClose => (true, true, false),
            HangUpStyle::CloseWithoutStop => (false, true, false),
            HangUpStyle::StopWithoutClose => (true, false, false),
            HangUpStyle::Reset => (false, false, true),
        };
        // A close without status reads as 1005, which the library shows as no frame.
        assert_eq!((stopped, seen.closed == Some(None), seen.broken), expected, "{style:?}");
        assert!(seen.audio.windows(2_000).any(|w| w == &clip("patient_yes").unwrap().ulaw[..2_000]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_can_be_wrong_and_refused() {
    for signature in [HandshakeSignature::Absent, HandshakeSignature::WrongToken, HandshakeSignature::SlashToggled] {
        let app = App::start(Plan::default()).await;
        let mut caller = app.caller("silent");
        caller.impairments.signature = signature;
        let report = caller.run().await.unwrap();
        assert_eq!((report.handshake_refused, report.violations[0].code), (Some(403), 31920), "{signature:?}");
        // The call goes on with the action.
        assert_eq!((report.said.len(), report.ended_by), (1, EndedBy::Verb));
        assert_eq!(app.webhooks("/status")[0]["StreamEvent"], "stream-error");
    }
    let app = App::start(Plan { refuse: Some(503), ..Plan::default() }).await;
    assert_eq!(app.caller("silent").run().await.unwrap().handshake_refused, Some(503));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_get_both_sides_and_may_not_be_answered() {
    let voice = r#"<Response><Start><Stream url="ws://HOST/media" name="f1" track="both_tracks"/></Start><Say>Please wait for a moment.</Say><Stop><Stream name="f1"/></Stop><Pause length="1"/></Response>"#;
    let plan = Plan {
        voice: voice.to_owned(),
        after_start: vec![r#"{"event":"clear","streamSid":"SID"}"#.to_owned()],
        ..Plan::default()
    };
    let app = App::start(plan).await;
    let mut caller = app.caller("silent");
    caller.say_speed = 1.0;
    let report = caller.run().await.unwrap();
    assert_eq!(report.violations.iter().map(|v| v.code).collect::<Vec<_>>(), [31924]);
    assert_eq!(report.ended_by, EndedBy::EndOfDocument);
    let tracks: Vec<Value> = app.events("media").iter().map(|m| m["media"]["track"].clone()).collect();
    assert!(tracks.len() > 80 && tracks.iter().filter(|t| **t == "outbound").count() == tracks.len() / 2);
    assert_eq!(app.events("start")[0]["start"]["tracks"], json!(["inbound", "outbound"]));
    assert_eq!(app.events("stop").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathers_collect_speech_and_keys() {
    let gather = |attributes: &str| {
        format!(
            r#"<Response><Gather input="speech dtmf" action="/after" {attributes}><Say>What did you weigh in pounds?</Say></Gather><Hangup/></Response>"#
        )
    };
    let voice = gather(r#"timeout="3" speechTimeout="1""#);
    let app = App::start(Plan { voice, ..Plan::default() }).await;
    app.caller("stable").run().await.unwrap();
    assert_eq!(app.webhooks("/after")[0]["SpeechResult"], "The same as last week. One hundred and eighty two pounds.");
    let app = App::start(Plan { voice: gather(r#"timeout="2" numDigits="1""#), ..Plan::default() }).await;
    let mut caller = app.caller("silent");
    caller.behaviour.steps = vec![Step::Dtmf("7".to_owned())];
    let report = caller.run().await.unwrap();
    assert_eq!((app.webhooks("/after")[0]["Digits"].as_str(), report.digits.as_str()), ("7", "7"));
    let voice = gather(r#"timeout="1" actionOnEmptyResult="true""#);
    let app = App::start(Plan { voice, ..Plan::default() }).await;
    app.caller("silent").run().await.unwrap();
    assert!(!app.webhooks("/after")[0].contains_key("Digits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_documents_end_the_call_or_go_to_the_fallback() {
    let app = App::start(Plan { voice: "\n<Response/>".to_owned(), ..Plan::default() }).await;
    let mut caller = app.caller("silent");
    caller.fallback_url = Some(format!("http://{}/after", app.addr));
    let report = caller.run().await.unwrap();
    assert_eq!(report.violations[0].code, 12100);
    assert_eq!(app.webhooks("/after")[0]["ErrorCode"], "12100");
    assert_eq!(report.ended_by, EndedBy::Verb);
    let mut nowhere = app.caller("silent");
    nowhere.voice_url = "http://127.0.0.1:9/voice".to_owned();
    let report = nowhere.run().await.unwrap();
    assert_eq!((report.ended_by, report.violations[0].code), (EndedBy::Error, 11205));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_at_the_phone_company_is_the_last_resort() {
    // The server is gone, and so is the address that should stand in for it.
    let app = App::start(Plan::default()).await;
    let mut caller = app.caller("silent");
    caller.voice_url = "http://127.0.0.1:9/voice".to_owned();
    caller.fallback_url = Some("http://127.0.0.1:9/fallback".to_owned());
    caller.fallback_twiml = Some("<Response><Say>We will call you again.</Say><Hangup/></Response>".to_owned());
    let report = caller.run().await.unwrap();
    assert_eq!((report.said, report.ended_by), (vec!["We will call you again.".to_owned()], EndedBy::Verb));
    assert_eq!(report.violations.iter().map(|violation| violation.code).collect::<Vec<_>>(), [11205, 11205]);
    // In the middle of a call, when an answer cannot be delivered.
    let voice = r#"<Response><Gather input="dtmf" timeout="1" action="http://127.0.0.1:9/next" actionOnEmptyResult="true"><Say>Hello?</Say></Gather></Response>"#;
    let app = App::start(Plan { voice: voice.to_owned(), ..Plan::default() }).await;
    let mut caller = app.caller("silent");
    caller.fallback_url = Some(format!("http://{}/after", app.addr));
    let report = caller.run().await.unwrap();
    assert_eq!((app.webhooks("/after")[0]["ErrorCode"].as_str(), report.ended_by), ("11205", EndedBy::Verb));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_with_the_hands_presses_keys() {
    let ask = |words: &str| {
        format!(
            r#"<Response><Gather input="speech dtmf" action="/after" numDigits="1"><Say>{words}</Say></Gather></Response>"#
        )
    };
    for (words, key) in [
        ("Are you having any shortness of breath? Press 1 for none, 2 for the same as always, 3 if it is worse.", "1"),
        ("¿Cómo se siente hoy? Marque 1 si está mejor, 2 si está igual que siempre, 3 si está peor.", "2"),
    ] {
        let app = App::start(Plan { voice: ask(words), ..Plan::default() }).await;
        let mut caller = app.caller("stable");
        caller.behaviour = caller.behaviour.by_keys();
        caller.run().await.unwrap();
        let answer = &app.webhooks("/after")[0];
        assert_eq!(answer.get("Digits").map(String::as_str), Some(key), "{words}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impaired_lines_reach_the_server_as_described() {
    let app = App::start(Plan { close_after: Some((60, 1000)), ..Plan::default() }).await;
    let mut caller = app.caller("silent");
    caller.impairments = Impairments {
        frame_bytes: 80,
        gaps: vec![(100, 100)],
        bursts: vec![(300, 100)],
        no_sequence_number: true,
        malformed: vec![Malformed { before_frame: 3, text: "{oops".to_owned() }],
        duplicate_callbacks: true,
        ..Impairments::default()
    };
    caller.run().await.unwrap();
    let media = app.events("media");
    let times: Vec<u64> = media.iter().map(|m| m["media"]["timestamp"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.windows(2).all(|w| w[1] - w[0] == 10 || w[1] - w[0] == 110), "{times:?}");
    assert_eq!(times.windows(2).filter(|w| w[1] - w[0] == 110).count(), 1);
    assert!(media[0].get("sequenceNumber").is_none());
    assert_eq!(app.seen.lock().unwrap().raw, ["{oops"]);
    assert_eq!(app.webhooks("/status").len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_gives_the_same_call() {
    let run = |seed| async move {
        let app = App::start(Plan { after_start: greeting(), close_after: Some((40, 1000)), ..Plan::default() }).await;
        let report = Caller { seed, ..app.caller("stable") }.run().await.unwrap();
        (report.call_sid, report.stream_sid, app.events("media")[0]["media"]["timestamp"].clone())
    };
    let (first, again, other) = tokio::join!(run(5), run(5), run(6));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}

//! What the bridge costs: added delay per 20 ms frame in both directions, and CPU per call.
//!
//! ```text
//! cargo bench -p server --bench bridge -- [--calls 100] [--seconds 20]
//! ```
//!
//! Two processes: this one runs the server with its store, recording and analysis; the other runs both peers of every
//! call (phones and agent), so that sending and receiving share a clock. The same peers then talk to each other
//! without the server, over as many sockets at the same rate: that is the baseline of this machine in the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message as AxumMessage, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::twilio::signature;
use clinic::NewPatient;
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use server::{ElevenLabsSettings, Server, Settings, TwilioSettings};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "token-of-the-bench";
const FRAME: usize = 160;
/// Frames before this many are warm-up.
const WARM_UP: u32 = 100;

fn argument(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == "--peers") {
        runtime.block_on(peers());
    } else if !std::env::args().any(|argument| argument == "--test") {
        runtime.block_on(bridge());
    }
}

/// User and system time of this process in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

async fn bridge() {
    let (calls, seconds) = (argument("--calls", 100), argument("--seconds", 20));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--peers", "--calls", &calls.to_string(), "--seconds", &seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let agent_base = lines.next().unwrap().unwrap();

    let data = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", data.path().join("bench.db").display());
    let config = StoreConfig { database_url, audio_dir: data.path().join("audio") };
    let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
    for n in 0..calls {
        let (number, id) = (format!("+1500{n:07}"), format!("MRN-{n}"));
        let patient = NewPatient::from_fields(&id, "Ada Example", &number, "1948-04-01", "female", "en", "UTC");
        store.add_patient(&patient.unwrap()).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let settings = Settings {
        bind: listener.local_addr().unwrap(),
        public_base_url: base.clone(),
        elevenlabs: Some(ElevenLabsSettings {
            base_url: agent_base,
            api_key: SecretString::from("key"),
            agent_id: "agent_1".into(),
        }),
        elevenlabs_webhook_secret: None,
        twilio: TwilioSettings {
            account_sid: Some(ACCOUNT.into()),
            auth_token: Some(SecretString::from(TOKEN)),
            api_key: None,
            base_url: "http://127.0.0.1:9".into(),
            phone_number: None,
        },
        max_calls: calls as usize,
        max_outgoing_calls: 1,
        outgoing_per_second: 1,
        ..Settings::local(listener.local_addr().unwrap())
    };
    let server = Server::start_on(listener, settings, store).unwrap();
    writeln!(child.stdin.take().unwrap(), "{base}").unwrap();

    let mut cpu_before = 0.0;
    let mut result = Value::Null;
    for line in lines {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["phase"].as_str() {
            Some("bridged") => cpu_before = cpu_seconds(),
            Some("measured") => {
                let cpu = cpu_seconds() - cpu_before;
                let span = line["seconds"].as_f64().unwrap();
                println!(
                    "server CPU: {:.1} % of one core, {:.2} ms per call-second",
                    cpu / span * 100.0,
                    cpu * 1e3 / span / f64::from(calls)
                );
            }
            _ => result = line,
        }
    }
    let _ = child.wait();
    println!("{calls} calls at once, {} frames each way measured", result["frames"]);
    println!("{:<28}{:>10}{:>10}{:>10}{:>12}", "microseconds", "p50", "p99", "max", "lost frames");
    for (name, key) in [
        ("phone to agent, bridged", "up"),
        ("phone to agent, direct", "direct_up"),
        ("agent to phone, bridged", "down"),
        ("agent to phone, direct", "direct_down"),
    ] {
        let row = &result[key];
        let cell = |key: &str| row[key].to_string();
        println!("{name:<28}{:>10}{:>10}{:>10}{:>12}", cell("p50"), cell("p99"), cell("max"), cell("lost"));
    }
    for (name, with, without) in
        [("added, phone to agent", "up", "direct_up"), ("added, agent to phone", "down", "direct_down")]
    {
        let added = |q: &str| result[with][q].as_i64().unwrap_or(0) - result[without][q].as_i64().unwrap_or(0);
        println!("{name:<28}{:>10}{:>10}", added("p50"), added("p99"));
    }
    let cut = server.shutdown(Duration::from_secs(30), std::future::pending()).await;
    assert_eq!(cut, 0, "every call ended by itself");
}

/// Delays seen, in microseconds, one list per direction.
#[derive(Default)]
struct Seen {
    up: Vec<u32>,
    down: Vec<u32>,
}

struct Peers {
    /// When each frame was sent, by lane (call) and number; one table per direction.
    up_sent: Vec<Mutex<Vec<Option<Instant>>>>,
    down_sent: Vec<Mutex<Vec<Option<Instant>>>>,
    seen: Mutex<Seen>,
    frames: u32,
}

/// A frame that names its lane and number in its first bytes.
fn frame(lane: u32, number: u32) -> Vec<u8> {
    let mut bytes = vec![0xD5; FRAME];
    bytes[..4].copy_from_slice(&lane.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0xA7;
    bytes
}

fn read_frames(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    bytes.chunks_exact(FRAME).filter(|chunk| chunk[8] == 0xA7).map(|chunk| {
        let number = |at: usize| u32::from_be_bytes([chunk[at], chunk[at + 1], chunk[at + 2], chunk[at + 3]]) as usize;
        (number(0), number(4))
    })
}

impl Peers {
    fn new(lanes: u32, frames: u32) -> Arc<Self> {
        let table = || (0..lanes).map(|_| Mutex::new(vec![None; frames as usize])).collect();
        Arc::new(Self { up_sent: table(), down_sent: table(), seen: Mutex::default(), frames })
    }

    fn note(&self, table: &[Mutex<Vec<Option<Instant>>>], pick: fn(&mut Seen) -> &mut Vec<u32>, bytes: &[u8]) {
        let now = Instant::now();
        for (lane, number) in read_frames(bytes) {
            let sent = table.get(lane).and_then(|lane| lane.lock().unwrap().get_mut(number).and_then(Option::take));
            if let Some(sent) = sent
                && number >= WARM_UP as usize
            {
                pick(&mut self.seen.lock().unwrap()).push(now.duration_since(sent).as_micros() as u32);
            }
        }
    }

    fn report(&self) -> (Value, Value) {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let lost = |table: &[Mutex<Vec<Option<Instant>>>]| {
            table.iter().map(|lane| lane.lock().unwrap()[WARM_UP as usize..].iter().flatten().count()).sum::<usize>()
        };
        let row = |delays: &mut Vec<u32>, lost: usize| {
            delays.sort_unstable();
            let at = |q: f64| delays.get((delays.len() as f64 * q) as usize).copied();
            json!({"p50": at(0.5), "p99": at(0.99), "max": delays.last(), "lost": lost})
        };
        (row(&mut seen.up, lost(&self.up_sent)), row(&mut seen.down, lost(&self.down_sent)))
    }
}

/// Frames at 20 ms on absolute deadlines, the lanes spread over the 20 ms.
async fn pace(lane: u32, number: u32, began: tokio::time::Instant) {
    let offset = Duration::from_micros(u64::from(lane % 100) * 200);
    tokio::time::sleep_until(began + offset + Duration::from_millis(20) * number).await;
}

#[derive(Clone)]
struct AgentState {
    base: String,
    peers: Arc<Mutex<Arc<Peers>>>,
}

async fn signed_url(State(state): State<AgentState>) -> impl IntoResponse {
    let url = format!("{}/v1/convai/conversation?agent_id=a", state.base.replace("http", "ws"));
    axum::Json(json!({ "signed_url": url }))
}

async fn conversation(State(state): State<AgentState>, upgrade: WebSocketUpgrade) -> impl IntoResponse {
    let peers = state.peers.lock().unwrap().clone();
    upgrade.read_buffer_size(4_096).write_buffer_size(0).on_upgrade(move |socket| agent(socket, peers))
}

/// The agent's side: learns its lane from the first frame it hears, then speaks as steadily as it listens.
async fn agent(socket: WebSocket, peers: Arc<Peers>) {
    let (mut sink, mut stream) = socket.split();
    let _ = stream.next().await;
    let metadata = json!({"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {
        "conversation_id": "c", "agent_output_audio_format": "ulaw_8000", "user_input_audio_format": "ulaw_8000"}});
    let _ = sink.send(AxumMessage::Text(metadata.to_string().into())).await;
    let (lane_sender, lane) = tokio::sync::oneshot::channel();
    let mut lane_sender = Some(lane_sender);
    let speaker = {
        let peers = peers.clone();
        tokio::spawn(async move {
            let Ok(lane) = lane.await else { return };
            let began = tokio::time::Instant::now();
            let audio = |bytes: &[u8]| {
                let event = json!({"audio_base_64": STANDARD.encode(bytes), "event_id": 1});
                AxumMessage::Text(json!({"type": "audio", "audio_event": event}).to_string().into())
            };
            // A cushion, so that the playout never runs dry and its smoothing does not count as delay.
            let _ = sink.send(audio(&[0xFF; 8 * 120])).await;
            for number in 0..peers.frames {
                pace(lane, number, began).await;
                let message = audio(&frame(lane, number));
                peers.down_sent[lane as usize].lock().unwrap()[number as usize] = Some(Instant::now());
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            let _ = sink.close().await;
        })
    };
    while let Some(Ok(message)) = stream.next().await {
        let AxumMessage::Text(text) = message else { continue };
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        let Some(chunk) = value["user_audio_chunk"].as_str() else { continue };
        let bytes = STANDARD.decode(chunk).unwrap_or_default();
        peers.note(&peers.up_sent, |seen| &mut seen.up, &bytes);
        if let Some((lane, _)) = read_frames(&bytes).next()
            && let Some(sender) = lane_sender.take()
        {
            let _ = sender.send(lane as u32);
        }
    }
    speaker.abort();
}

async fn phone(base: String, lane: u32, peers: Arc<Peers>) {
    let call_sid = format!("CA{lane:032x}");
    let form: Vec<(String, String)> = [
        ("CallSid", call_sid.as_str()),
        ("AccountSid", ACCOUNT),
        ("From", &format!("+1500{lane:07}")),
        ("To", "+15005550010"),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let url = format!("{base}/twilio/voice");
    let signed = signature::sign(TOKEN, &url, &form);
    let answer = reqwest::Client::new().post(&url).header("X-Twilio-Signature", signed).form(&form).send().await;
    let twiml = answer.unwrap().text().await.unwrap();
    let ticket = twiml.split_once(r#"name="ticket" value=""#).unwrap().1.split_once('"').unwrap().0.to_owned();
    let ws = format!("{}/twilio/media-stream", base.replace("http", "ws"));
    let mut request = ws.as_str().into_client_request().unwrap();
    request.headers_mut().insert("X-Twilio-Signature", signature::sign(TOKEN, &ws, &[]).parse().unwrap());
    let start = json!({"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1", "accountSid": ACCOUNT,
        "callSid": call_sid, "customParameters": {"ticket": ticket},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}});
    let media = |bytes: &[u8], number: u32| {
        json!({"event": "media", "streamSid": "MZ1", "sequenceNumber": number.to_string(), "media": {"track": "inbound",
            "chunk": number.to_string(), "timestamp": (number * 20).to_string(), "payload": STANDARD.encode(bytes)}})
        .to_string()
    };
    talk(request, Some(start.to_string()), lane, peers, media).await;
}

/// A phone without a server: straight to an agent that listens and speaks the same way.
async fn direct(base: String, lane: u32, peers: Arc<Peers>) {
    let ws = format!("{}/v1/convai/conversation", base.replace("http", "ws"));
    let media = |bytes: &[u8], _| json!({"user_audio_chunk": STANDARD.encode(bytes)}).to_string();
    talk(ws.as_str().into_client_request().unwrap(), Some("{}".into()), lane, peers, media).await;
}

async fn talk(
    request: tokio_tungstenite::tungstenite::handshake::client::Request,
    first: Option<String>,
    lane: u32,
    peers: Arc<Peers>,
    media: impl Fn(&[u8], u32) -> String + Send + 'static,
) {
    let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
        .read_buffer_size(4_096)
        .write_buffer_size(0);
    let (socket, _) = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    if let Some(first) = first {
        sink.send(Message::text(first)).await.unwrap();
    }
    let (marks, mut marks_sent) = tokio::sync::mpsc::channel::<(Instant, String)>(256);
    let listener = {
        let peers = peers.clone();
        tokio::spawn(async move {
            // Twilio's playback clock: a mark comes back when the audio before it was played.
            let mut play_end = Instant::now();
            while let Some(Ok(message)) = stream.next().await {
                let Message::Text(text) = message else { continue };
                let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
                let payload = value["media"]["payload"].as_str().or(value["audio_event"]["audio_base_64"].as_str());
                if let Some(payload) = payload {
                    let bytes = STANDARD.decode(payload).unwrap_or_default();
                    play_end = play_end.max(Instant::now()) + Duration::from_micros(bytes.len() as u64 * 125);
                    // The cushion may share a message with frames: they follow each other without gaps.
                    let skip = bytes.len() % FRAME;
                    peers.note(&peers.down_sent, |seen| &mut seen.down, &bytes[skip..]);
                } else if value["event"] == "mark" {
                    let name = value["mark"]["name"].as_str().unwrap_or("").to_owned();
                    let _ = marks.try_send((play_end, name));
                }
            }
        })
    };
    let mut marks_due = std::collections::VecDeque::new();
    let began = tokio::time::Instant::now();
    for number in 0..peers.frames {
        pace(lane, number, began).await;
        while let Ok((due, name)) = marks_sent.try_recv() {
            marks_due.push_back((due, name));
        }
        while marks_due.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, name)) = marks_due.pop_front() else { break };
            let echo = json!({"event": "mark", "streamSid": "MZ1", "mark": {"name": name}}).to_string();
            let _ = sink.send(Message::text(echo)).await;
        }
        let text = media(&frame(lane, number), number);
        peers.up_sent[lane as usize].lock().unwrap()[number as usize] = Some(Instant::now());
        if sink.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let _ = sink.close().await;
    listener.abort();
}

async fn peers() {
    let (calls, seconds) = (argument("--calls", 100), argument("--seconds", 20));
    let frames = WARM_UP + seconds * 50;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let current = Peers::new(calls, frames);
    let state = AgentState { base: base.clone(), peers: Arc::new(Mutex::new(current.clone())) };
    let router = Router::new()
        .route("/v1/convai/conversation/get-signed-url", get(signed_url))
        .route("/v1/convai/conversation", get(conversation))
        .with_state(state.clone());
    tokio::spawn(async move {
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).await
    });
    println!("{base}");
    let mut server = String::new();
    std::io::stdin().read_line(&mut server).unwrap();
    let server = server.trim().to_owned();

    let began = Instant::now();
    let phones: Vec<_> = (0..calls).map(|lane| tokio::spawn(phone(server.clone(), lane, current.clone()))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{}", json!({"phase": "bridged"}));
    let measured = Instant::now();
    tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    println!("{}", json!({"phase": "measured", "seconds": measured.elapsed().as_secs_f64()}));
    for phone in phones {
        phone.await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(u64::from(seconds) + 60));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (up, down) = current.report();

    let current = Peers::new(calls, frames);
    *state.peers.lock().unwrap() = current.clone();
    let phones: Vec<_> = (0..calls).map(|lane| tokio::spawn(direct(base.clone(), lane, current.clone()))).collect();
    for phone in phones {
        phone.await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (direct_up, direct_down) = current.report();
    println!(
        "{}",
        json!({"frames": calls * seconds * 50, "up": up, "down": down, "direct_up": direct_up, "direct_down": direct_down})
    );
}

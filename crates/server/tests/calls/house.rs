//! A server with its store, a simulated agent and a hand-driven phone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::twilio::signature;
use clinic::{CallRecord, NewPatient, PhoneNumber};
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use server::{ElevenLabsSettings, Server, Settings, TwilioSettings};
use sim::elevenlabs::{ElevenLabsSim, Running, SimConfig};
use std::time::Duration;
use store::{MasterKey, Store, StoreConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub(crate) const TOKEN: &str = "token-of-the-tests";
pub(crate) const WEBHOOK_SECRET: &str = "wsec_of-the-tests";
pub(crate) const NUMBER: &str = "+15005550006";
pub(crate) const STREAM: &str = "MZ00112233445566778899aabbccddeeff";

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) agent: Running,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    _building: Option<Building>,
}

/// Where a house keeps its records.
pub(crate) struct Building {
    data: tempfile::TempDir,
    database_url: String,
    key: String,
}

impl Building {
    /// On SQLite.
    pub(crate) fn on_sqlite() -> Self {
        let data = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", data.path().join("test.db").display());
        let key = MasterKey::random().unwrap().derive_32("tests").iter().map(|byte| format!("{byte:02x}")).collect();
        Self { data, database_url, key }
    }

    /// On the PostgreSQL that `HEARTVOICE_TEST_POSTGRES` names, if it does, with a database of its own.
    pub(crate) async fn new() -> Self {
        use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
        let building = Self::on_sqlite();
        let Some(server) = std::env::var("HEARTVOICE_TEST_POSTGRES").ok().filter(|url| !url.is_empty()) else {
            return building;
        };
        let name: String = building.key.chars().take(24).collect();
        let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE calls_{name}"))).await.unwrap();
        Self { database_url: format!("{server}/calls_{name}"), ..building }
    }

    /// Runs a statement behind the server's back. On SQLite.
    pub(crate) async fn execute(&self, statement: &'static str) {
        use sqlx::{Connection, Executor, SqliteConnection};
        let mut database = SqliteConnection::connect(&self.database_url).await.unwrap();
        database.execute(statement).await.unwrap();
    }

    /// No recording can be begun any more: where they were there is a file.
    pub(crate) fn lose_the_audio_disk(&self) {
        let audio = self.data.path().join("audio");
        let _ = std::fs::remove_dir_all(&audio);
        std::fs::write(audio, b"no directory").unwrap();
    }

    /// Where the spool is.
    pub(crate) fn spool_dir(&self) -> std::path::PathBuf {
        self.data.path().join("spool")
    }

    /// The same installation with a database that knows nothing of the last calls. On SQLite.
    pub(crate) fn restored(self) -> Self {
        let database_url = format!("sqlite://{}", self.data.path().join("restored.db").display());
        Self { database_url, ..self }
    }

    /// Keeps all writers waiting. On SQLite.
    pub(crate) async fn hold_the_database(&self) -> Hold {
        use sqlx::{Connection, Executor, SqliteConnection};
        let mut database = SqliteConnection::connect(&self.database_url).await.unwrap();
        database.execute("BEGIN IMMEDIATE").await.unwrap();
        Hold { database }
    }

    /// Opens the store, as one more process.
    pub(crate) async fn open(&self) -> Store {
        let config = StoreConfig { database_url: self.database_url.clone(), audio_dir: self.data.path().join("audio") };
        Store::open(config, MasterKey::from_hex(&self.key).unwrap()).await.unwrap()
    }
}

/// A lock on the database of a building.
pub(crate) struct Hold {
    database: sqlx::SqliteConnection,
}

impl Hold {
    pub(crate) async fn release(mut self) {
        use sqlx::Executor;
        self.database.execute("COMMIT").await.unwrap();
    }
}

/// What a webhook answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl House {
    pub(crate) async fn open(agent: SimConfig) -> Self {
        Self::open_with(agent, "http://127.0.0.1:9").await
    }

    /// As [`Self::open`], with Twilio's REST interface at `twilio`.
    pub(crate) async fn open_with(agent: SimConfig, twilio: &str) -> Self {
        let building = Building::on_sqlite();
        let house = Self::build(&building, agent, twilio, 8).await;
        Self { _building: Some(building), ..house }
    }

    /// In a building that stands already, with so many lines.
    pub(crate) async fn build(building: &Building, agent: SimConfig, twilio: &str, lines: usize) -> Self {
        let store = building.open().await;
        let patient =
            NewPatient::from_fields("MRN-1", "Ada Example", NUMBER, "1948-04-01", "female", "en", "America/New_York");
        store.add_patient(&patient.unwrap()).await.unwrap();
        let agent = ElevenLabsSim::start(agent).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let settings = Settings { max_calls: lines, ..settings(&listener, &agent, twilio) };
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { server, store, agent, base, http: reqwest::Client::new(), _building: None }
    }

    /// For one patient, where it is about this hour of the day, with other settings and a spool in the building.
    pub(crate) async fn build_at(
        building: &Building,
        agent: SimConfig,
        hour: i8,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let store = building.open().await;
        let zone = zone_at(hour);
        let patient = NewPatient::from_fields("MRN-1", "Ada Example", NUMBER, "1948-04-01", "female", "en", &zone);
        store.add_patient(&patient.unwrap()).await.unwrap();
        Self::next_in(building, store, ElevenLabsSim::start(agent).await.unwrap(), change).await
    }

    /// The next process in the building, after another one that ended.
    pub(crate) async fn next_in(
        building: &Building,
        store: Store,
        agent: Running,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut settings = settings(&listener, &agent, "http://127.0.0.1:9");
        settings.spool_dir = Some(building.data.path().join("spool"));
        change(&mut settings);
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { server, store, agent, base, http: reqwest::Client::new(), _building: None }
    }

    /// As [`Self::build`], with a spool in the building.
    pub(crate) async fn build_with_spool(building: &Building, agent: SimConfig) -> Self {
        let store = building.open().await;
        let patient = NewPatient::from_fields("MRN-1", "Ada Example", NUMBER, "1948-04-01", "female", "en", "UTC");
        store.add_patient(&patient.unwrap()).await.unwrap();
        Self::with_spool(building, store, ElevenLabsSim::start(agent).await.unwrap()).await
    }

    /// The next process in the building, after one that left something in the spool.
    pub(crate) async fn again_with_spool(building: &Building) -> Self {
        let agent = ElevenLabsSim::start(SimConfig::default()).await.unwrap();
        Self::with_spool(building, building.open().await, agent).await
    }

    async fn with_spool(building: &Building, store: Store, agent: Running) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let spool_dir = Some(building.data.path().join("spool"));
        let settings = Settings { spool_dir, ..settings(&listener, &agent, "http://127.0.0.1:9") };
        Server::tidy_up(&settings, &store).await.unwrap();
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { server, store, agent, base, http: reqwest::Client::new(), _building: None }
    }

    /// Another server of the same database, with its own address.
    pub(crate) async fn beside(&self) -> (Server, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let settings = settings(&listener, &self.agent, "http://127.0.0.1:9");
        (Server::start_on(listener, settings, self.store.clone()).unwrap(), base)
    }

    /// The form of an incoming call.
    pub(crate) fn call_form(call_sid: &str, from: &str) -> Vec<(String, String)> {
        [
            ("CallSid", call_sid),
            ("AccountSid", ACCOUNT),
            ("From", from),
            ("To", "+15005550010"),
            ("CallStatus", "ringing"),
            ("ApiVersion", "2010-04-01"),
            ("Direction", "inbound"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Posts a form signed with `token`.
    pub(crate) async fn post_as(&self, token: &str, path: &str, form: &[(String, String)]) -> Answer {
        let url = format!("{}{path}", self.base);
        let signed = signature::sign(token, &url, form);
        let response = self.http.post(&url).header("X-Twilio-Signature", signed).form(form).send().await.unwrap();
        Answer { status: response.status().as_u16(), body: response.text().await.unwrap() }
    }

    /// Posts a form as Twilio does.
    pub(crate) async fn post(&self, path: &str, form: &[(String, String)]) -> Answer {
        self.post_as(TOKEN, path, form).await
    }

    /// Announces a call of our patient; returns the ticket.
    pub(crate) async fn announce(&self, call_sid: &str) -> String {
        self.announce_from(call_sid, NUMBER).await
    }

    /// Announces a call from a number; returns the ticket.
    pub(crate) async fn announce_from(&self, call_sid: &str, from: &str) -> String {
        let answer = self.post("/twilio/voice", &Self::call_form(call_sid, from)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.starts_with('<'));
        ticket_in(&answer.body)
    }

    /// Opens a media socket with a signature made with `token` over `signed_url`, or none.
    pub(crate) async fn socket(&self, token: Option<&str>, signed_url: Option<&str>) -> Result<Phone, u16> {
        Self::socket_at(&self.base, token, signed_url).await
    }

    /// As [`Self::socket`], at another server.
    pub(crate) async fn socket_at(base: &str, token: Option<&str>, signed_url: Option<&str>) -> Result<Phone, u16> {
        let url = format!("{}/twilio/media-stream", base.replace("http", "ws"));
        let mut request = url.as_str().into_client_request().unwrap();
        if let Some(token) = token {
            let signed = signature::sign(token, signed_url.unwrap_or(&url), &[]);
            request.headers_mut().insert("X-Twilio-Signature", signed.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Phone { socket, sequence: 0, timestamp_ms: 52, received: Vec::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A media socket bound to an announced call.
    pub(crate) async fn phone(&self, call_sid: &str, ticket: &str) -> Phone {
        let mut phone = self.socket(Some(TOKEN), None).await.unwrap();
        phone.start(ACCOUNT, call_sid, ticket).await;
        phone
    }

    /// The stored call, once it is complete.
    pub(crate) async fn finished(&self, call_sid: &str) -> CallRecord {
        for _ in 0..400 {
            let call = self.store.find_call_by_sid(call_sid).await.unwrap();
            if let Some(call) = call.filter(|call| call.ended_at_us.is_some()) {
                return call;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the call did not finish within ten seconds");
    }

    pub(crate) async fn metric(&self, line_start: &str) -> Option<f64> {
        let text = self.http.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap();
        text.lines().find(|line| line.starts_with(line_start)).and_then(|line| line.rsplit(' ').next()?.parse().ok())
    }
}

fn settings(listener: &TcpListener, agent: &Running, twilio: &str) -> Settings {
    let address = listener.local_addr().unwrap();
    Settings {
        public_base_url: format!("http://{address}"),
        elevenlabs: Some(ElevenLabsSettings {
            base_url: agent.base_url(),
            api_key: SecretString::from("key"),
            agent_id: "agent_1".into(),
        }),
        elevenlabs_webhook_secret: Some(SecretString::from(WEBHOOK_SECRET)),
        twilio: TwilioSettings {
            account_sid: Some(ACCOUNT.into()),
            auth_token: Some(SecretString::from(TOKEN)),
            api_key: None,
            phone_number: PhoneNumber::parse("+15005550010").ok(),
            base_url: twilio.into(),
        },
        max_calls: 8,
        max_outgoing_calls: 4,
        ..Settings::local(address)
    }
}

/// A time zone in which it is now about this hour of the day.
pub(crate) fn zone_at(hour: i8) -> String {
    let now = i32::from(jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour());
    // POSIX turns the sign around: GMT-3 is three hours ahead of Greenwich. There are zones from -14 to +12.
    let behind = (now - i32::from(hour) + 12).rem_euclid(24) - 12;
    if behind == 0 { "Etc/GMT".to_owned() } else { format!("Etc/GMT{behind:+}") }
}

/// The ticket in call instructions.
pub(crate) fn ticket_in(twiml: &str) -> String {
    let (_, rest) = twiml.split_once(r#"name="ticket" value=""#).unwrap_or_else(|| panic!("no ticket in {twiml}"));
    rest.split_once('"').unwrap().0.to_owned()
}

/// Our end of a media stream.
pub(crate) struct Phone {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sequence: u64,
    timestamp_ms: u64,
    pub(crate) received: Vec<Value>,
}

impl Phone {
    pub(crate) async fn say(&mut self, mut message: Value) {
        self.sequence += 1;
        message["streamSid"] = STREAM.into();
        message["sequenceNumber"] = self.sequence.to_string().into();
        // A refused socket may be closed already; the test finds out by reading.
        let _ = self.socket.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn start(&mut self, account: &str, call_sid: &str, ticket: &str) {
        let _ = self.socket.send(Message::text(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#)).await;
        self.say(json!({"event": "start", "start": {"accountSid": account, "streamSid": STREAM, "callSid": call_sid,
            "tracks": ["inbound"], "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"ticket": ticket}}}))
            .await;
    }

    pub(crate) async fn frame(&mut self, ulaw: &[u8]) {
        let at = self.timestamp_ms;
        self.timestamp_ms += ulaw.len() as u64 / 8;
        self.say(json!({"event": "media", "media": {"track": "inbound", "chunk": "1",
            "timestamp": at.to_string(), "payload": STANDARD.encode(ulaw)}}))
            .await;
    }

    /// Reads what comes within `ms`; marks are echoed at once. `Some(code)` when the socket closed.
    pub(crate) async fn listen_ms(&mut self, ms: u64) -> Option<u16> {
        let until = tokio::time::Instant::now() + Duration::from_millis(ms);
        loop {
            match tokio::time::timeout_at(until, self.socket.next()).await {
                Err(_) => return None,
                Ok(Some(Ok(Message::Text(text)))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["event"] == "mark" {
                        self.say(json!({"event": "mark", "mark": {"name": message["mark"]["name"]}})).await;
                    }
                    self.received.push(message);
                }
                Ok(Some(Ok(Message::Close(frame)))) => return Some(frame.map_or(1005, |frame| frame.code.into())),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Some(1006),
            }
        }
    }
}

//! A server with its store, a simulated agents service, and a simulated phone company with a patient, staff and a nurse.

use call::agent::elevenlabs::webhook::sign;
use clinic::protocol::Protocol;
use clinic::risk::Model;
use clinic::{CallRecord, NewPatient, PatientId, PhoneNumber};
use secrecy::SecretString;
use serde_json::{Value, json};
use server::{ElevenLabsSettings, Server, Settings, StaffContact, StaffSettings, TwilioSettings};
use sim::elevenlabs::{Beat, ConversationStats, ElevenLabsSim, Listen, Running, Script, SimConfig};
use sim::patient::{PatientScript, Step, Topic};
use sim::twilio::{CallReport, Caller, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioRunning, TwilioSim};
use sqlx::{Connection, SqliteConnection};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{AlertFilter, AlertRecord, MasterKey, Store, StoreConfig, StoredVisit};
use tokio::net::TcpListener;

const WEBHOOK_SECRET: &str = "wsec_of-the-tests";
pub(crate) const STAFF: &str = "+15005550011";
pub(crate) const NURSE: &str = "+15005550012";

/// What differs from scene to scene.
pub(crate) struct Plan {
    pub(crate) agent: SimConfig,
    /// Items of the shipped protocol that are asked; all when empty.
    pub(crate) items: &'static [&'static str],
    pub(crate) language: &'static str,
    pub(crate) shadow_model: Option<Model>,
    /// Another REST interface in place of the simulated one.
    pub(crate) twilio_base: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        let agent = SimConfig { script: Script::visit(), ..SimConfig::default() };
        Self { agent, items: &[], language: "en", shadow_model: None, twilio_base: None }
    }
}

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) agent: Running,
    pub(crate) twilio: TwilioRunning,
    pub(crate) patient: PatientId,
    base: String,
    data: tempfile::TempDir,
}

fn number(text: &str) -> Option<PhoneNumber> {
    Some(PhoneNumber::parse(text).unwrap())
}

impl House {
    pub(crate) async fn open(plan: Plan) -> Self {
        crate::log::keep();
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let new = NewPatient::from_fields(
            "MRN-7",
            "Wilhelmina Sandoval",
            "+15005550006",
            "1948-04-01",
            "female",
            plan.language,
            "UTC",
        );
        let patient = store.add_patient(&new.unwrap()).await.unwrap().id;
        let agent = SimConfig { frame_log: Some(data.path().join("frames")), ..plan.agent };
        let agent = ElevenLabsSim::start(agent).await.unwrap();
        let twilio = TwilioSim::start(TwilioConfig::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut protocol = Protocol::clone(&Protocol::shipped());
        protocol.items.retain(|item| plan.items.is_empty() || plan.items.contains(&item.id.as_str()));
        let contact = StaffContact { phone: number(STAFF), ..StaffContact::default() };
        let settings = Settings {
            elevenlabs: Some(ElevenLabsSettings {
                base_url: agent.base_url(),
                api_key: SecretString::from("key"),
                agent_id: "agent_1".into(),
            }),
            elevenlabs_webhook_secret: Some(SecretString::from(WEBHOOK_SECRET)),
            twilio: TwilioSettings {
                account_sid: Some(TEST_ACCOUNT_SID.into()),
                auth_token: Some(SecretString::from(TEST_AUTH_TOKEN)),
                api_key: None,
                phone_number: number("+15005550010"),
                base_url: plan.twilio_base.unwrap_or_else(|| twilio.base_url()),
            },
            staff: StaffSettings { contacts: vec![contact], nurse_line: number(NURSE), ..StaffSettings::default() },
            protocol: Arc::new(protocol),
            shadow_model: plan.shadow_model.map(Arc::new),
            ..Settings::local(listener.local_addr().unwrap())
        };
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { server, store, agent, twilio, patient, base, data }
    }

    /// The patient, about to telephone for the `n`th time.
    pub(crate) fn caller(&self, n: u64, behaviour: PatientScript) -> Caller {
        Caller {
            behaviour,
            seed: n,
            time_limit: Duration::from_secs(75),
            say_speed: 0.05,
            ..Caller::new(format!("{}/twilio/voice", self.base))
        }
    }

    /// The patient telephones; the call as the phone company saw it and as it is stored.
    pub(crate) async fn call(&self, caller: Caller) -> (CallReport, CallRecord) {
        let report = self.twilio.inbound(caller).await.unwrap();
        let call = self.finished(&report.call_sid).await;
        (report, call)
    }

    /// The stored call, once it is complete.
    pub(crate) async fn finished(&self, call_sid: &str) -> CallRecord {
        let mut found = None;
        until("the end of the call", async || {
            found = self.store.find_call_by_sid(call_sid).await.unwrap().filter(|call| call.ended_at_us.is_some());
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) async fn visit(&self, call: &CallRecord) -> StoredVisit {
        self.store.visit(&call.id).await.unwrap().expect("a visit is stored")
    }

    /// Every alert, newest first.
    pub(crate) async fn alerts(&self) -> Vec<AlertRecord> {
        let all = AlertFilter::default();
        self.store.list_alerts(&all, 100, None).await.unwrap()
    }

    /// Codes of the alerts, in alphabetical order.
    pub(crate) async fn alert_codes(&self) -> Vec<String> {
        let mut codes: Vec<String> =
            self.alerts().await.into_iter().filter_map(|alert| Some(alert.content?.code)).collect();
        codes.sort();
        codes
    }

    /// The conversation that the agents service had last.
    pub(crate) fn conversation(&self) -> ConversationStats {
        self.agent.stats().conversations.pop().unwrap()
    }

    /// Every message that was sent to the agent, but for sound and answers to pings.
    pub(crate) fn told_the_agent(&self) -> Vec<Value> {
        let frames = std::fs::read_to_string(self.data.path().join("frames/received.jsonl")).unwrap();
        let messages = frames.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        messages.filter(|message| message.get("user_audio_chunk").is_none() && message["type"] != "pong").collect()
    }

    /// A connection of its own to the database.
    pub(crate) async fn database(&self) -> SqliteConnection {
        let path = self.data.path().join("test.db");
        SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
    }

    /// Files in the folder of recordings.
    pub(crate) fn recordings(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.data.path().join("audio")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Sends what the agents service found in its last conversation, signed; gives the status of the answer.
    pub(crate) async fn report_found(&self, values: &[(&str, &str)]) -> u16 {
        let status = self.send_found(values).await;
        until("the report is worked in", async || self.store.waiting_post_calls().await.unwrap().is_empty()).await;
        status
    }

    /// As [`Self::report_found`], without waiting for the report to be worked in.
    pub(crate) async fn send_found(&self, values: &[(&str, &str)]) -> u16 {
        let found: serde_json::Map<String, Value> =
            values.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let body = json!({"type": "post_call_transcription", "event_timestamp": now, "data": {
            "agent_id": "agent_1", "conversation_id": self.conversation().conversation_id, "status": "done",
            "transcript": [], "metadata": {"call_duration_secs": 20}, "analysis": {"data_collection_results": found}}})
        .to_string();
        let signature = sign(WEBHOOK_SECRET, body.as_bytes(), now);
        let url = format!("{}/elevenlabs/post-call", self.base);
        let request = reqwest::Client::new().post(url).header("ElevenLabs-Signature", signature).body(body);
        request.send().await.unwrap().status().as_u16()
    }
}

/// The stable patient, who answers one topic with another clip.
pub(crate) fn stable_but(topic: Topic, clip: &str) -> PatientScript {
    let stable = PatientScript::default();
    let answers = stable.answers.with(topic, sim::assets::clip(clip).unwrap());
    PatientScript { answers, steps: stable.steps, name: stable.name }
}

/// The stable patient, who hangs up after so many answers.
pub(crate) fn hangs_up_after(answers: usize) -> PatientScript {
    let mut stable = PatientScript::default();
    stable.steps.truncate(answers);
    stable.steps.extend([Step::Silence(1_500), Step::HangUp]);
    stable
}

/// Says one thing when the agent has spoken, then nothing.
pub(crate) fn says(clip: &str) -> PatientScript {
    PatientScript::recordings(vec![sim::assets::clip(clip).unwrap()])
}

/// An agent that does these things whatever it is told, with somebody to greet before.
pub(crate) fn deaf_agent(beats: Vec<Beat>) -> SimConfig {
    let greeting = Beat::Say { text: "Hello. How are you?".to_owned(), clip: None, interruptible: false };
    let mut all = vec![greeting, Beat::Listen(Listen { patience_ms: 1_500, ..Listen::default() })];
    all.extend(beats);
    SimConfig { script: Script { name: "deaf".to_owned(), beats: all }, ..SimConfig::default() }
}

pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within fifteen seconds");
}

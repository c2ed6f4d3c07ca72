//! Whole calls that the script leads, over real sockets: signed requests, the one-way stream of the patient's voice, and
//! what is in the store afterwards. No agent is configured, but for one that dies in the middle of its call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use call::agent::Member;
use clinic::answers::Source;
use clinic::protocol::Protocol;
use clinic::visit::IdentityStatus;
use clinic::{CallOutcome, CallRecord, NewPatient, PhoneNumber, TimelineKind};
use secrecy::SecretString;
use server::{ElevenLabsSettings, Server, Settings, StaffContact, StaffSettings, TwilioSettings};
use sim::elevenlabs::{ElevenLabsSim, Fault, Faults, Running, Script, SimConfig};
use sim::patient::PatientScript;
use sim::twilio::{
    CallReport, Caller, EndedBy, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioRunning, TwilioSim,
};
use std::sync::Arc;
use std::time::Duration;
use store::{AlertFilter, MasterKey, Store, StoreConfig, StoredVisit};
use tokio::net::TcpListener;

const STAFF: &str = "+15005550011";
const NURSE: &str = "+15005550012";

struct House {
    server: Server,
    store: Store,
    twilio: TwilioRunning,
    base: String,
    _data: tempfile::TempDir,
}

fn number(text: &str) -> Option<PhoneNumber> {
    Some(PhoneNumber::parse(text).unwrap())
}

impl House {
    /// A server without any agent, for one patient who speaks `language` and is asked these items; all when empty.
    async fn open(language: &str, items: &[&str], nurse: bool) -> Self {
        Self::open_with(language, items, nurse, None).await
    }

    async fn open_with(language: &str, items: &[&str], nurse: bool, agent: Option<&Running>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let fields = ("MRN-7", "Wilhelmina Sandoval", "+15005550006", "1948-04-01");
        let new = NewPatient::from_fields(fields.0, fields.1, fields.2, fields.3, "female", language, "UTC").unwrap();
        store.add_patient(&new).await.unwrap();
        let twilio = TwilioSim::start(TwilioConfig::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut protocol = Protocol::clone(&Protocol::shipped());
        protocol.items.retain(|item| items.is_empty() || items.contains(&item.id.as_str()));
        let settings = Settings {
            twilio: TwilioSettings {
                account_sid: Some(TEST_ACCOUNT_SID.into()),
                auth_token: Some(SecretString::from(TEST_AUTH_TOKEN)),
                api_key: None,
                phone_number: number("+15005550010"),
                base_url: twilio.base_url(),
            },
            staff: StaffSettings {
                contacts: vec![StaffContact { phone: number(STAFF), ..StaffContact::default() }],
                nurse_line: nurse.then(|| PhoneNumber::parse(NURSE).unwrap()),
                ..StaffSettings::default()
            },
            protocol: Arc::new(protocol),
            elevenlabs: agent.map(|agent| ElevenLabsSettings {
                base_url: agent.base_url(),
                api_key: SecretString::from("key"),
                agent_id: "agent_1".into(),
            }),
            backup_chain: vec![Member::Script],
            ..Settings::local(listener.local_addr().unwrap())
        };
        let server = Server::start_on(listener, settings, store.clone()).unwrap();
        Self { server, store, twilio, base, _data: data }
    }

    fn caller(&self, behaviour: PatientScript) -> Caller {
        Caller {
            behaviour,
            time_limit: Duration::from_secs(120),
            say_speed: 0.05,
            status_callback: Some(format!("{}/twilio/status", self.base)),
            ..Caller::new(format!("{}/twilio/voice", self.base))
        }
    }

    async fn call(&self, caller: Caller) -> (CallReport, CallRecord, StoredVisit) {
        let report = self.twilio.inbound(caller).await.unwrap();
        let mut found = None;
        until("the end of the call", async || {
            let known = self.store.find_call_by_sid(&report.call_sid).await.unwrap();
            found = known.filter(|call| call.ended_at_us.is_some());
            found.is_some()
        })
        .await;
        let call = found.unwrap();
        let visit = self.store.visit(&call.id).await.unwrap().expect("a visit is stored");
        (report, call, visit)
    }

    async fn alert_codes(&self) -> Vec<String> {
        let alerts = self.store.list_alerts(&AlertFilter::default(), 100, None).await.unwrap();
        let mut codes: Vec<String> = alerts.into_iter().filter_map(|alert| Some(alert.content?.code)).collect();
        codes.sort();
        codes
    }

    async fn close(self) {
        self.server.shutdown(Duration::from_secs(5), std::future::pending()).await;
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within thirty seconds");
}

/// A whole check-in; what it left behind must be the same however it was answered.
async fn whole_visit(language: &str, behaviour: PatientScript, by_keys: bool) {
    let house = House::open(language, &[], false).await;
    let (report, call, visit) = house.call(house.caller(behaviour)).await;
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    assert_eq!(report.ended_by, EndedBy::Verb, "{:?}", report.timeline);
    assert!(report.fork_frames_sent > 100 && report.frames_sent == 0, "the voice comes by the fork alone");
    assert!(report.twiml_seen.iter().all(|xml| xml.starts_with('<') && !xml.contains("<Connect")));
    assert_eq!(report.twiml_seen.iter().filter(|xml| xml.contains("<Start>")).count(), 1);
    assert!(report.twiml_seen.iter().any(|xml| xml.contains(if language == "es" { "es-US" } else { "en-US" })));

    assert_eq!((call.outcome, call.agents.as_slice()), (CallOutcome::Completed, ["script".to_owned()].as_slice()));
    let record = &visit.record;
    assert_eq!(record.identity.status, IdentityStatus::Identified);
    assert_eq!(record.identity.how.as_deref(), Some(if by_keys { "dtmf" } else { "spoken" }));
    assert_eq!(record.recording_consent, Some(true));
    assert!(record.complete && record.red_flags.is_empty(), "{record:?}");
    assert_eq!(record.languages, [language]);
    let source = if by_keys { Source::Dtmf } else { Source::Transcript };
    for answer in &record.answers {
        assert_eq!((answer.answered, answer.source), (true, Some(source)), "{answer:?}");
    }
    let questions: Vec<&str> = record.answers.iter().map(|answer| answer.question.as_str()).collect();
    assert_eq!(questions, ["feeling", "dyspnea", "swelling", "weight", "medications"]);

    // Analysed from the fork's audio, and assessed.
    for task in ["counting", "sustained-vowel"] {
        let done = record.tasks.iter().find(|known| known.task == task).unwrap_or_else(|| panic!("no {task}"));
        assert_eq!(done.usable, Some(true), "{task}: {:?}", record.tasks);
    }
    let segments = house.store.call_segments(&call.id).await.unwrap();
    assert!(segments.iter().any(|segment| segment.task == "sustained-vowel"), "{segments:?}");
    assert!(visit.assessment.as_ref().is_some_and(|assessment| assessment["overall_risk"].is_number()));

    // The transcript is whole: every page and every answer.
    let handle = house.store.call_handle(&call.id).await.unwrap();
    let events = house.store.call_events(&handle.id).await.unwrap();
    let count = |wanted: fn(&TimelineKind) -> bool| events.iter().filter(|event| wanted(&event.kind)).count();
    assert_eq!(count(|kind| matches!(kind, TimelineKind::AgentResponse { .. })), 10);
    let heard = count(|kind| matches!(kind, TimelineKind::UserTranscript { .. }));
    assert_eq!(heard, if by_keys { 0 } else { 7 });
    assert!(count(|kind| matches!(kind, TimelineKind::Dtmf { .. })) >= if by_keys { 18 } else { 2 });
    assert!(house.alert_codes().await.is_empty(), "{:?}", house.alert_codes().await);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_in_english_by_voice() {
    whole_visit("en", PatientScript::default(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_in_english_by_keys() {
    whole_visit("en", PatientScript::default().by_keys(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_in_spanish_by_voice() {
    whole_visit("es", PatientScript::scenario("spanish").unwrap(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_in_spanish_by_keys() {
    whole_visit("es", PatientScript::scenario("spanish").unwrap().by_keys(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_goes_on_where_an_agent_died() {
    // Long enough for who is on the line, the agreement, and the first answer; it never comes back.
    let faults = Faults::one(Fault::Close { code: 1011, at: Duration::from_secs(27) });
    let agent = SimConfig { script: Script::visit(), faults, ..SimConfig::default() };
    let agent = ElevenLabsSim::start(agent).await.unwrap();
    let house = House::open_with("en", &["feeling", "dyspnea", "weight", "medications"], false, Some(&agent)).await;
    let mut caller = house.caller(PatientScript::default());
    caller.time_limit = Duration::from_secs(180);
    let (report, call, visit) = house.call(caller).await;
    assert_eq!(call.agents, ["elevenlabs", "script"], "{:?}", report.timeline);
    assert_eq!((call.outcome, report.ended_by), (CallOutcome::Completed, EndedBy::Verb));
    assert!(report.frames_sent > 100 && report.fork_frames_sent > 100);
    assert!(visit.record.complete, "{:?}", visit.record);
    assert!(visit.record.answers.iter().all(|answer| answer.answered), "{:?}", visit.record.answers);
    // Nothing that was answered is asked again; what the script says begins with the interruption.
    let said = report.said.join(" ");
    assert!(report.said[0].contains("interruption"), "{said}");
    assert!(!said.contains("Hello") && !said.contains("date of birth"), "{said}");
    let asked_twice = house.store.call_events(&call.id).await.unwrap().into_iter().filter(|event| match &event.kind {
        TimelineKind::AgentResponse { text, .. } => text.contains("How are you feeling today"),
        _ => false,
    });
    assert_eq!(asked_twice.count(), 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_flag_by_voice_tells_staff_and_connects_the_nurse() {
    let house = House::open("en", &["feeling", "medications"], true).await;
    let (report, call, visit) = house.call(house.caller(PatientScript::scenario("red-flag").unwrap())).await;
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let codes: Vec<&str> = visit.record.red_flags.iter().map(|raised| raised.flag.code.as_str()).collect();
    assert_eq!(codes, ["chest_pain"]);
    assert_eq!(visit.record.emergency_words_spoken, Some(true));
    assert_eq!(visit.record.transferred, Some(true));
    assert_eq!(call.outcome, CallOutcome::HandedOver);
    assert!(report.said.iter().any(|text| text.contains("9 1 1")), "{:?}", report.said);
    assert!(report.timeline.iter().any(|entry| entry.what == format!("dial {NURSE}")), "{:?}", report.timeline);
    let dialling = report.twiml_seen.iter().find(|xml| xml.contains("<Dial")).unwrap();
    assert!(dialling.contains("<Stop>"), "nurse and patient are not listened to: {dialling}");
    assert!(house.alert_codes().await.iter().any(|code| code == "chest_pain"), "{:?}", house.alert_codes().await);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_flag_by_keys_without_a_nurse_says_the_number_twice() {
    let house = House::open("en", &["feeling", "dyspnea"], true).await;
    let mut caller = house.caller(PatientScript::scenario("red-flag").unwrap().by_keys());
    caller.dial_status = "no-answer".to_owned();
    let (report, _, visit) = house.call(caller).await;
    let codes: Vec<&str> = visit.record.red_flags.iter().map(|raised| raised.flag.code.as_str()).collect();
    assert_eq!(codes, ["breathless_at_rest"]);
    assert_eq!(visit.record.transferred, Some(false));
    assert!(report.said.iter().filter(|text| text.contains("9 1 1")).count() >= 3, "{:?}", report.said);
    let codes = house.alert_codes().await;
    for wanted in ["breathless_at_rest", "nurse_not_reached"] {
        assert!(codes.iter().any(|code| code == wanted), "{wanted}: {codes:?}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_politely_and_says_nothing_of_health() {
    let house = House::open("en", &["feeling"], true).await;
    let (report, _, visit) = house.call(house.caller(PatientScript::scenario("silent").unwrap())).await;
    assert_eq!(report.ended_by, EndedBy::Verb);
    assert_eq!(visit.record.identity.status, IdentityStatus::NotIdentified);
    let said = report.said.join(" ").to_lowercase();
    for word in ["heart", "breath", "weight", "swell", "medic", "nurse", "clinic", "care team", "feeling", "9 1 1"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_answers_only_the_phone_company() {
    let house = House::open("en", &["feeling"], false).await;
    let client = reqwest::Client::new();
    let form = [("CallSid", "CA0123456789abcdef0123456789abcdef"), ("AccountSid", TEST_ACCOUNT_SID)];
    let url = format!("{}/twilio/script?language=es&page=3", house.base);
    let unsigned = client.post(&url).form(&form).send().await.unwrap();
    assert_eq!(unsigned.status(), 403);
    let fields: Vec<(String, String)> = form.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let signature = sim::twilio::webhook::sign(TEST_AUTH_TOKEN, &url, &fields);
    let signed = client.post(&url).header("X-Twilio-Signature", signature).form(&form).send().await.unwrap();
    let xml = signed.text().await.unwrap();
    assert!(xml.contains("Le llamaremos otra vez") && xml.contains("<Hangup/>"), "a call that nobody knows: {xml}");
    let socket = client.get(format!("{}/twilio/fork", house.base)).header("Connection", "Upgrade");
    let socket = socket.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    let refused = socket.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_begins_where_the_stream_of_an_agent_never_came() {
    let agent = ElevenLabsSim::start(SimConfig { script: Script::visit(), ..SimConfig::default() }).await.unwrap();
    let house = House::open_with("en", &["feeling"], false, Some(&agent)).await;
    let client = reqwest::Client::new();
    let post = async |path: &str| {
        let sid = "CA0123456789abcdef0123456789abcdee";
        let form = [
            ("CallSid", sid),
            ("AccountSid", TEST_ACCOUNT_SID),
            ("From", "+15005550006"),
            ("To", "+15005550010"),
            ("CallStatus", "in-progress"),
            ("ApiVersion", "2010-04-01"),
            ("Direction", "inbound"),
        ];
        let fields: Vec<(String, String)> =
            form.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let url = format!("{}{path}", house.base);
        let signature = sim::twilio::webhook::sign(TEST_AUTH_TOKEN, &url, &fields);
        let answer = client.post(&url).header("X-Twilio-Signature", signature).form(&form).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let announced = post("/twilio/voice").await;
    assert!(announced.contains("<Connect"), "{announced}");
    // The phone company could not reach our socket, and asks for the next instructions.
    let next = post("/twilio/voice/after-agent").await;
    assert!(next.contains("/twilio/script?") && next.contains("<Say"), "{next}");
    assert_eq!(house.server.live_calls(), 1, "the visit goes on");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_whose_voice_is_analysed_later_ends_with_the_same_measures() {
    let house = House::open("en", &["counting", "vowel", "feeling"], false).await;
    house.server.analyse_after_calls(true);
    let (_, call, _) = house.call(house.caller(PatientScript::default())).await;
    let tasks = async || house.store.visit(&call.id).await.unwrap().unwrap().record.tasks;
    until("the analysis", async || tasks().await.iter().all(|task| task.usable.is_some())).await;
    let tasks = tasks().await;
    for wanted in ["counting", "sustained-vowel"] {
        let done = tasks.iter().find(|known| known.task == wanted).unwrap_or_else(|| panic!("no {wanted}: {tasks:?}"));
        assert_eq!(done.usable, Some(true), "{tasks:?}");
    }
    let segments = house.store.call_segments(&call.id).await.unwrap();
    let mut reader = house.store.open_recording(&call.id).await.unwrap();
    let again = server::segment_reports(&mut reader, &segments).unwrap();
    assert_eq!(segments.iter().map(|segment| segment.report.clone()).collect::<Vec<_>>(), again);
    house.close().await;
}

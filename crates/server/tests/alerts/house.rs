//! A server that tells staff, with its store.

use clinic::alerts::{AlertKind, Channel, DeliveryState, NewAlert, Policy, Severity};
use clinic::{AlertId, NewPatient, PatientId, PhoneNumber};
use secrecy::SecretString;
use server::{Server, Settings, StaffContact, StaffSettings, TwilioSettings};
use std::time::Duration;
use store::{MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;

pub(crate) const ACCOUNT: &str = sim::twilio::TEST_ACCOUNT_SID;
pub(crate) const TOKEN: &str = sim::twilio::TEST_AUTH_TOKEN;
pub(crate) const FIRST: &str = "+15005550011";
pub(crate) const SECOND: &str = "+15005550012";

pub(crate) fn number(text: &str) -> Option<PhoneNumber> {
    Some(PhoneNumber::parse(text).unwrap())
}

/// Contacts with a telephone each.
pub(crate) fn phones(numbers: &[&str]) -> StaffSettings {
    let contact = |text: &&str| StaffContact { phone: number(text), ..StaffContact::default() };
    StaffSettings { contacts: numbers.iter().map(contact).collect(), ..quick() }
}

/// Nobody yet, and no patience between attempts.
pub(crate) fn quick() -> StaffSettings {
    let policy = Policy { critical_wait: Duration::from_secs(60), ..Policy::default() };
    StaffSettings { policy, first_retry: Duration::from_millis(50), ..StaffSettings::default() }
}

/// A store with one patient, before any server.
pub(crate) struct Ground {
    pub(crate) store: Store,
    pub(crate) patient: PatientId,
    data: tempfile::TempDir,
}

impl Ground {
    /// Runs a statement behind the server's back.
    pub(crate) async fn execute(&self, statement: &'static str) {
        use sqlx::{Connection, Executor, SqliteConnection};
        let url = format!("sqlite://{}", self.data.path().join("test.db").display());
        SqliteConnection::connect(&url).await.unwrap().execute(statement).await.unwrap();
    }

    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let new = NewPatient::from_fields("MRN-1", "Ada Example", "+15005550006", "1948-04-01", "female", "en", "UTC");
        let patient = store.add_patient(&new.unwrap()).await.unwrap().id;
        Self { store, patient, data }
    }

    /// Starts a server; `twilio` is the base of Twilio's interface.
    pub(crate) async fn open(self, twilio: &str, staff: StaffSettings) -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let settings = Settings {
            twilio: TwilioSettings {
                account_sid: Some(ACCOUNT.into()),
                auth_token: Some(SecretString::from(TOKEN)),
                api_key: None,
                base_url: twilio.to_owned(),
                phone_number: number("+15005550010"),
            },
            staff,
            ..Settings::local(listener.local_addr().unwrap())
        };
        let server = Server::start_on(listener, settings, self.store.clone()).unwrap();
        House { server, base, http: reqwest::Client::new(), ground: self }
    }
}

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    pub(crate) ground: Ground,
}

impl House {
    pub(crate) fn store(&self) -> &Store {
        &self.ground.store
    }

    pub(crate) fn patient(&self) -> &PatientId {
        &self.ground.patient
    }

    pub(crate) async fn raise(&self, severity: Severity) -> AlertId {
        self.server.raise(&alert(&self.ground.patient, severity)).await.unwrap().id
    }

    /// Every message about the alert: contact, channel, state, attempts.
    pub(crate) async fn messages(&self, id: &AlertId) -> Vec<(u32, Channel, DeliveryState, u32)> {
        let found = self.store().alert_deliveries(id).await.unwrap();
        found.iter().map(|d| (d.delivery.contact, d.delivery.channel, d.delivery.state, d.attempts)).collect()
    }

    /// Waits until the first message is in this state.
    pub(crate) async fn until_first(&self, id: &AlertId, state: DeliveryState) {
        until("the first message", async || self.messages(id).await.first().is_some_and(|message| message.2 == state))
            .await;
    }
}

/// An alert whose words must not leave the house.
pub(crate) fn alert(patient: &PatientId, severity: Severity) -> NewAlert {
    NewAlert {
        patient_id: Some(patient.clone()),
        call_id: None,
        kind: if severity == Severity::Critical { AlertKind::RedFlag } else { AlertKind::Risk },
        code: "chest_pain".into(),
        severity,
        summary: "Red flag chest pain: \"an elephant sits on me\"".into(),
    }
}

/// Nothing of the patient is in what is sent.
pub(crate) fn assert_discreet(text: &str) {
    for word in ["Ada", "Example", "chest", "elephant", "MRN", "5550006"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within ten seconds");
}

//! Everything a demonstration needs: a store with patients, a server, and the simulated world around it.

use super::port_of_environment;
use crate::commands::fresh_seed;
use crate::commands::keys::hex;
use crate::failure::bad_input;
use anyhow::Context;
use clinic::{NewPatient, PhoneNumber};
use secrecy::SecretString;
use server::{ElevenLabsSettings, Server, Settings, TwilioSettings};
use sim::SimError;
use sim::elevenlabs::{ElevenLabsSim, SimConfig};
use sim::patient::PatientScript;
use sim::twilio::{CallReport, Caller, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioSim};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::{MasterKey, Store, StoreConfig};
use tokio::net::TcpListener;

const DEFAULT_PORT: u16 = 3000;
const AGENT: &str = "agent_demo";
const AGENT_KEY: &str = "sk_demo";
/// The clinic's number.
const CLINIC: &str = "+12025550100";

/// Scenarios in which the patient stays to the end, in the order in which they are shown.
const SCENARIOS: [&str; 4] = ["stable", "worsening", "interrupting", "short-of-breath"];

/// Names nobody has, for patients nobody is.
const NAMES: [&str; 8] = [
    "Ada Example",
    "Bruno Sample",
    "Carla Specimen",
    "Dmitri Placeholder",
    "Esther Mockup",
    "Farid Dummy",
    "Greta Template",
    "Hugo Fiction",
];

/// A running demonstration.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Store,
    server: Server,
    agent: sim::elevenlabs::Running,
    twilio: sim::twilio::TwilioRunning,
    data: DataDir,
    patients: u32,
    seed: u64,
}

/// Where the data is, and whether it goes away.
#[derive(Debug)]
enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl World {
    /// Starts everything, with so many patients.
    pub(super) async fn start(
        port: Option<u16>,
        once: bool,
        data_dir: Option<&Path>,
        patients: u32,
    ) -> anyhow::Result<Self> {
        let listener = listen(port, once).await?;
        let address = listener.local_addr().context("cannot listen")?;
        let data = DataDir::open(data_dir)?;
        let key = data.key()?;
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("heartvoice.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, key).await.context("cannot open the store of the demo")?;
        store.recover(jiff::Timestamp::now().as_microsecond()).await.context("cannot tidy up after the last run")?;
        add_patients(&store, patients).await?;

        let agent =
            SimConfig { api_key: Some(AGENT_KEY.to_owned()), agent_id: Some(AGENT.to_owned()), ..SimConfig::default() };
        let agent = ElevenLabsSim::start(agent).await?;
        let twilio = TwilioSim::start(TwilioConfig::default()).await?;
        let settings = Settings {
            bind: address,
            public_base_url: format!("http://{address}"),
            elevenlabs: Some(ElevenLabsSettings {
                base_url: agent.base_url(),
                api_key: SecretString::from(AGENT_KEY),
                agent_id: AGENT.to_owned(),
            }),
            twilio: TwilioSettings {
                account_sid: Some(TEST_ACCOUNT_SID.to_owned()),
                auth_token: Some(SecretString::from(TEST_AUTH_TOKEN)),
                api_key: None,
                base_url: twilio.base_url(),
            },
            call: call::CallConfig::default(),
            max_calls: server::limits::CALLS_MAX,
        };
        let server = Server::start_on(listener, settings, store.clone())?;
        Ok(Self { store, server, agent, twilio, data, patients, seed: fresh_seed() })
    }

    /// Where the server is reached.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The folder of the data, when it is kept.
    pub(super) fn kept_data(&self) -> Option<&Path> {
        match &self.data {
            DataDir::Kept(path) => Some(path),
            DataDir::Temporary(_) => None,
        }
    }

    /// Makes one call, and says what the patient was like and what the telephone noticed.
    pub(super) async fn call(&self, number: u32) -> (&'static str, Result<CallReport, SimError>) {
        let scenario = SCENARIOS.get(number as usize % SCENARIOS.len()).copied().unwrap_or("stable");
        let base = self.base_url();
        let mut caller = Caller::new(format!("{base}/twilio/voice"));
        caller.from = phone(number % self.patients.max(1));
        caller.to = CLINIC.to_owned();
        caller.status_callback = Some(format!("{base}/twilio/status"));
        caller.behaviour = PatientScript::scenario(scenario).unwrap_or_default();
        // A kept store knows the calls of earlier runs, so theirs must not come again.
        caller.seed = self.seed.wrapping_add(u64::from(number));
        (scenario, self.twilio.inbound(caller).await)
    }

    /// Ends everything; a temporary folder is removed.
    pub(super) async fn stop(self, grace: Duration) {
        self.server.shutdown(grace, std::future::pending()).await;
        self.agent.shutdown().await;
        self.twilio.shutdown().await;
        drop(self.data);
    }
}

/// Opens the port, or with `--once` another one when nobody insisted on it.
async fn listen(port: Option<u16>, once: bool) -> anyhow::Result<TcpListener> {
    let wanted = match port {
        Some(port) => Some(port),
        None => port_of_environment()?,
    };
    let open = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match open(wanted.unwrap_or(DEFAULT_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) if once && wanted.is_none() => open(0).await.context("cannot listen on 127.0.0.1"),
        Err(error) => {
            let port = wanted.unwrap_or(DEFAULT_PORT);
            Err(anyhow::anyhow!("cannot listen on 127.0.0.1:{port}: {error}; choose another with --port"))
        }
    }
}

impl DataDir {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        match path {
            None => {
                let made = tempfile::Builder::new().prefix("heartvoice-demo-").tempdir();
                Ok(Self::Temporary(made.context("cannot make a temporary folder")?))
            }
            Some(path) => {
                std::fs::create_dir_all(path)
                    .map_err(|error| bad_input(format!("--data-dir: cannot create {}: {error}", path.display())))?;
                Ok(Self::Kept(path.to_owned()))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// The key of the records: the one given, the one of an earlier run in this folder, or a fresh one.
    fn key(&self) -> anyhow::Result<MasterKey> {
        if let Some(given) = std::env::var("ENCRYPTION_KEY").ok().filter(|text| !text.trim().is_empty()) {
            return MasterKey::from_hex(&given).map_err(|error| bad_input(format!("ENCRYPTION_KEY: {error}")));
        }
        let Self::Kept(path) = self else { return Ok(MasterKey::random()?) };
        let file = path.join("demo.key");
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(MasterKey::from_hex(&text).with_context(|| file.display().to_string())?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = hex(&MasterKey::random()?.derive_32("demo"));
                let mut created = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&file)
                    .with_context(|| format!("cannot write {}", file.display()))?;
                writeln!(created, "{text}").with_context(|| format!("cannot write {}", file.display()))?;
                Ok(MasterKey::from_hex(&text)?)
            }
            Err(error) => Err(anyhow::anyhow!("cannot read {}: {error}", file.display())),
        }
    }
}

/// A number of the range that is set aside for fiction: 555-0101 to 555-0199 in area codes from 202 on.
fn phone(number: u32) -> String {
    format!("+1{}55501{:02}", 202 + number / 99 % 700, number % 99 + 1)
}

/// Adds the patients who are not there yet.
async fn add_patients(store: &Store, count: u32) -> anyhow::Result<()> {
    for number in 0..count {
        let phone = phone(number);
        let known = store.find_patients_by_phone(&PhoneNumber::parse(&phone)?).await?;
        if !known.is_empty() {
            continue;
        }
        let name = NAMES.get(number as usize % NAMES.len()).copied().unwrap_or("Example");
        let name = if number < NAMES.len() as u32 { name.to_owned() } else { format!("{name} {number}") };
        let born = format!("19{:02}-{:02}-{:02}", 35 + number % 30, number % 12 + 1, number % 28 + 1);
        let sex = if number.is_multiple_of(2) { "female" } else { "male" };
        let id = format!("DEMO-{:03}", number + 1);
        let new = NewPatient::from_fields(&id, &name, &phone, &born, sex, "en", "America/New_York")?;
        store.add_patient(&new).await.context("cannot add the patients of the demo")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patient_has_a_number_of_their_own() {
        let numbers: std::collections::BTreeSet<String> = (0..500).map(phone).collect();
        assert_eq!(numbers.len(), 500);
        assert!(numbers.iter().all(|number| PhoneNumber::parse(number).is_ok() && number != CLINIC));
    }

    #[test]
    fn every_scenario_of_the_demo_exists() {
        assert!(SCENARIOS.iter().all(|name| PatientScript::scenario(name).is_some()));
    }
}

//! Everything a demonstration needs: a store with patients, a server, and the simulated world around it.

use super::cast::{BORN, CAST, Past, Role, Way, midday_zone};
use super::history::{self, Course};
use super::port_of_environment;
use crate::commands::fresh_seed;
use crate::commands::keys::hex;
use crate::commands::one_server::OnlyServer;
use crate::failure::bad_input;
use anyhow::Context;
use clinic::{NewPatient, Patient, PhoneNumber, schedule};
use secrecy::SecretString;
use server::{ElevenLabsSettings, Server, Settings, StaffContact, StaffSettings, TwilioSettings};
use sim::elevenlabs::{ElevenLabsSim, Script, SimConfig};
use sim::patient::PatientScript;
use sim::twilio::{CallReport, CalleeAnswer, Caller, TEST_ACCOUNT_SID, TEST_AUTH_TOKEN, TwilioConfig, TwilioSim};
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

/// The nurse's telephone, and that of the member of staff who is told of alerts.
const NURSE: &str = "+12025550150";
const STAFF: &str = "+12025550151";
/// How long an outgoing call may take until it is over.
const OUTGOING_WAIT: Duration = Duration::from_secs(90);

/// A running demonstration.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Store,
    server: Server,
    agent: sim::elevenlabs::Running,
    twilio: sim::twilio::TwilioRunning,
    data: DataDir,
    patients: Vec<(Patient, Role)>,
    seed: u64,
    _only_server: OnlyServer,
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
        let database_url = config.database_url.clone();
        let store = Store::open(config, key).await.context("cannot open the store of the demo")?;
        let only_server = OnlyServer::of(&database_url)?;
        store.recover(jiff::Timestamp::now().as_microsecond()).await.context("cannot tidy up after the last run")?;
        let patients = add_patients(&store, patients).await?;

        let agent = SimConfig {
            api_key: Some(AGENT_KEY.to_owned()),
            agent_id: Some(AGENT.to_owned()),
            script: Script::visit(),
            ..SimConfig::default()
        };
        let agent = ElevenLabsSim::start(agent).await?;
        let voicemail = patients.iter().filter(|(_, role)| role.way == Way::Outbound);
        let callees = voicemail.map(|(patient, _)| (patient.details.phone.expose().to_owned(), CalleeAnswer::Machine));
        let twilio = TwilioConfig { callees: callees.collect(), ..TwilioConfig::default() };
        let twilio = TwilioSim::start(twilio).await?;
        let settings = Settings {
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
                phone_number: PhoneNumber::parse(CLINIC).ok(),
            },
            staff: StaffSettings {
                contacts: vec![StaffContact { phone: PhoneNumber::parse(STAFF).ok(), ..StaffContact::default() }],
                nurse_line: PhoneNumber::parse(NURSE).ok(),
                ..StaffSettings::default()
            },
            ..Settings::local(address)
        };
        let server = Server::start_on(listener, settings, store.clone())?;
        Ok(Self { store, server, agent, twilio, data, patients, seed: fresh_seed(), _only_server: only_server })
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

    /// The role of a call.
    pub(super) fn role(&self, number: u32) -> Option<&(Patient, Role)> {
        self.patients.get(number as usize % self.patients.len().max(1))
    }

    /// Makes the calls of the patients' pasts, unless an earlier run has.
    pub(super) async fn pasts(&self) -> anyhow::Result<Vec<Course>> {
        let now_us = jiff::Timestamp::now().as_microsecond();
        let mut courses = Vec::new();
        for (number, (patient, role)) in (0_u64..).zip(&self.patients) {
            let first = number < CAST.len() as u64 && role.past != Past::Nothing;
            if !first || !self.store.list_patient_calls(&patient.id, 1, None).await?.is_empty() {
                continue;
            }
            let seed = self.seed.wrapping_add(1_000 * (number + 1));
            courses.push(history::make(&self.server, &self.store, patient, *role, now_us, seed).await?);
        }
        Ok(courses)
    }

    /// Makes one call, and says what the telephone noticed.
    pub(super) async fn call(&self, number: u32) -> anyhow::Result<CallReport> {
        let (patient, role) = self.role(number).context("the demo has no patients")?;
        if role.way == Way::Outbound {
            return self.telephone(patient).await;
        }
        let base = self.base_url();
        let mut caller = Caller::new(format!("{base}/twilio/voice"));
        caller.from = patient.details.phone.expose().to_owned();
        caller.to = CLINIC.to_owned();
        caller.status_callback = Some(format!("{base}/twilio/status"));
        caller.behaviour = PatientScript::scenario(role.scenario).unwrap_or_default();
        // A kept store knows the calls of earlier runs, so theirs must not come again.
        caller.seed = self.seed.wrapping_add(u64::from(number));
        Ok(self.twilio.inbound(caller).await?)
    }

    /// Has the server telephone a patient, as `call place` does, and waits for the end.
    async fn telephone(&self, patient: &Patient) -> anyhow::Result<CallReport> {
        let now_us = jiff::Timestamp::now().as_microsecond();
        let day = schedule::on_demand(&patient.details.timezone, now_us, 5).context("no calls at this hour")?;
        let known = self.twilio.reports().len();
        self.store.plan_call_now(&patient.id, day, now_us).await?;
        let number = patient.details.phone.expose();
        let deadline = tokio::time::Instant::now() + OUTGOING_WAIT;
        loop {
            let placed =
                self.twilio.calls().into_iter().filter(|call| call.to == number && call.direction != "inbound");
            let sids: Vec<String> = placed.map(|call| call.sid).collect();
            let report = self.twilio.reports().into_iter().skip(known).find(|report| sids.contains(&report.call_sid));
            if let Some(report) = report {
                return Ok(report);
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "the server did not telephone in time");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Text messages that reached the staff.
    pub(super) fn staff_messages(&self) -> usize {
        self.twilio.messages().iter().filter(|message| message.to == STAFF).count()
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

/// The patients and their roles; those who are not there yet are added.
async fn add_patients(store: &Store, count: u32) -> anyhow::Result<Vec<(Patient, Role)>> {
    let now = jiff::Timestamp::now();
    let zone = midday_zone(now);
    let mut patients = Vec::new();
    for number in 0..count {
        let (phone, role) = (phone(number), Role::of(number));
        let known = store.find_patients_by_phone(&PhoneNumber::parse(&phone)?).await?;
        if let Some(patient) = known.into_iter().next() {
            patients.push((patient, role));
            continue;
        }
        let name = if number < CAST.len() as u32 { role.name.to_owned() } else { format!("{} {number}", role.name) };
        let id = format!("DEMO-{:03}", number + 1);
        let new = NewPatient::from_fields(&id, &name, &phone, BORN, role.sex, role.language, zone)?;
        let patient = store.add_patient(&new).await.context("cannot add the patients of the demo")?;
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        store.set_care_profile(&patient.id, &role.profile(today)).await.context("cannot add a profile of the demo")?;
        patients.push((patient, role));
    }
    Ok(patients)
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
}

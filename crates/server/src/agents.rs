//! The services that can carry a conversation: how each is reached, in which order they stand in for each other, and
//! which of them are worth asking right now.

use crate::agent_link::{AgentDialer, AgentSocket};
use crate::limits;
use crate::metrics;
use crate::realtime_link;
use crate::settings::{OpenAiSettings, Settings};
use call::agent::breaker::{Breaker, BreakerState, FailureClass};
use call::agent::{AgentLeg, Chain, ConnectFailure, Init, Member, RealtimeLeg, RealtimeSetup, RealtimeTool};
use clinic::agent::{AgentText, FunctionTool, realtime_instructions, realtime_tools};
use clinic::protocol::{FALLBACK_LANGUAGE, Protocol};
use clinic::{Patient, words};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::CallHandle;
use tokio::time::Instant;

/// A service of the chain, and what its calls have taught about it.
#[derive(Debug)]
struct Service {
    member: Member,
    endpoint: Endpoint,
    breaker: Mutex<Breaker>,
}

/// How a service is reached.
#[derive(Debug)]
enum Endpoint {
    ElevenLabs(AgentDialer),
    OpenAi { settings: OpenAiSettings, http: reqwest::Client, text: Box<AgentText> },
}

impl Endpoint {
    /// One attempt, bounded in time.
    async fn connect(&self) -> Result<AgentSocket, ConnectFailure> {
        match self {
            Self::ElevenLabs(dialer) => dialer.connect().await,
            Self::OpenAi { settings, .. } => realtime_link::connect_realtime(settings).await,
        }
    }

    /// Asks for what a call needs (the network, the key, the agent) without beginning a conversation.
    async fn probe(&self) -> Result<(), ConnectFailure> {
        match self {
            Self::ElevenLabs(dialer) => dialer.signed_url().await.map(drop),
            Self::OpenAi { settings, http, .. } => realtime_link::probe(settings, http).await,
        }
    }
}

impl Service {
    /// The lock is held for a few lines only, and none of them panics.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All services of the chain that speak, in order.
#[derive(Debug)]
pub(crate) struct Agents {
    services: Vec<Service>,
    script: bool,
    protocol: Arc<Protocol>,
    began: Instant,
}

impl Agents {
    /// # Errors
    /// When an HTTP client cannot be built (no TLS provider, for example).
    pub(crate) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let mut services = Vec::new();
        let mut add = |member: Member, endpoint: Endpoint| {
            services.push(Service { member, endpoint, breaker: Mutex::new(Breaker::default()) });
        };
        if let Some(primary) = &settings.elevenlabs {
            add(Member::ElevenLabs, Endpoint::ElevenLabs(AgentDialer::new(primary.clone())?));
        }
        let mut script = false;
        for member in &settings.backup_chain {
            match member {
                Member::ElevenLabsBackup => {
                    if let Some(backup) = &settings.elevenlabs_backup {
                        add(*member, Endpoint::ElevenLabs(AgentDialer::new(backup.clone())?));
                    }
                }
                Member::OpenAi => {
                    if let Some(openai) = settings.openai.clone() {
                        let text = Box::new(AgentText::from_protocol(&settings.protocol));
                        let http = realtime_link::probe_client()?;
                        add(*member, Endpoint::OpenAi { settings: openai, http, text });
                    }
                }
                Member::Script => {
                    // Nothing speaks after it.
                    script = true;
                    break;
                }
                Member::ElevenLabs => {}
            }
        }
        Ok(Self { services, script, protocol: settings.protocol.clone(), began: Instant::now() })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn service(&self, member: Member) -> Option<&Service> {
        self.services.iter().find(|service| service.member == member)
    }

    /// Who may carry a call that begins now, with what each is opened with. Services that keep failing are left out, as
    /// long as anything is left.
    pub(crate) fn chain(&self, patient: &Patient, call: &CallHandle) -> Chain {
        let usable = |service: &&Service| service.breaker().state() != BreakerState::Open;
        let mut chosen: Vec<&Service> = self.services.iter().filter(usable).collect();
        if chosen.is_empty() && !self.script {
            chosen = self.services.iter().collect();
        }
        Chain::new(chosen.into_iter().map(|service| self.leg(service, patient, call)), self.script)
    }

    /// A service with what its conversation is opened with.
    fn leg(&self, service: &Service, patient: &Patient, call: &CallHandle) -> AgentLeg {
        match &service.endpoint {
            Endpoint::ElevenLabs(_) => elevenlabs(service.member, patient, call),
            Endpoint::OpenAi { settings, text, .. } => {
                AgentLeg::Realtime(Box::new(realtime(settings, text, &self.protocol, patient)))
            }
        }
    }

    /// One attempt to reach a service, bounded in time. While it keeps failing it is not even tried, unless `anyway`.
    pub(crate) async fn dial(&self, member: Member, anyway: bool) -> Result<AgentSocket, ConnectFailure> {
        let Some(service) = self.service(member) else { return Err(ConnectFailure::Skipped) };
        let admitted = service.breaker().admits(self.now_ms());
        if !admitted && !anyway {
            metrics::agent_connection(member.as_str(), "skipped");
            return Err(ConnectFailure::Skipped);
        }
        let dialed = service.endpoint.connect().await;
        metrics::agent_connection(member.as_str(), if dialed.is_ok() { "connected" } else { "failed" });
        dialed
    }

    /// True when nothing could carry a call if services that keep failing were not tried.
    pub(crate) fn has_no_backup(&self) -> bool {
        let failing = |service: &Service| service.breaker().state() != BreakerState::Closed;
        !self.script && (self.services.len() <= 1 || self.services.iter().all(failing))
    }

    /// A conversation with it failed.
    pub(crate) fn failed(&self, member: Member, class: FailureClass) {
        if let Some(service) = self.service(member) {
            service.breaker().failed(self.now_ms(), class);
            self.show();
        }
    }

    /// Its agent was heard.
    pub(crate) fn succeeded(&self, member: Member) {
        if let Some(service) = self.service(member) {
            service.breaker().succeeded();
            self.show();
        }
    }

    fn show(&self) {
        for service in &self.services {
            let state = service.breaker().state();
            metrics::breaker(service.member.as_str(), state.as_str());
        }
    }

    /// Asks the services that calls go past whether they are back, where it is time to.
    pub(crate) async fn probe(&self) {
        for service in &self.services {
            if !service.breaker().wants_probe(self.now_ms()) {
                continue;
            }
            let asked = tokio::time::timeout(limits::HEALTH_WAIT, service.endpoint.probe()).await;
            let well = matches!(asked, Ok(Ok(())));
            service.breaker().probed(self.now_ms(), well);
            if well {
                tracing::info!(service = service.member.as_str(), "a probe succeeded: one call may try the service");
            }
        }
        self.show();
    }

    /// How it is with each service, in the order of the chain: asked, where it is possible.
    pub(crate) async fn check(&self, member: Member) -> &'static str {
        let Some(service) = self.service(member) else { return "not configured" };
        match tokio::time::timeout(limits::HEALTH_WAIT, service.endpoint.probe()).await {
            Ok(Ok(())) => "connected",
            Ok(Err(ConnectFailure::Http { status: 401 | 403 })) => "unauthorized",
            Ok(Err(ConnectFailure::Http { status: 404 })) => "agent not found",
            Ok(Err(ConnectFailure::Http { .. } | ConnectFailure::BadResponse)) => "failing",
            Ok(Err(_)) => "unreachable",
            Err(_) => "timeout",
        }
    }

    /// The members of the chain by name with the state of their breakers, the script included.
    pub(crate) fn states(&self) -> Vec<(Member, &'static str)> {
        let spoken = self.services.iter().map(|service| (service.member, service.breaker().state().as_str()));
        spoken.chain(self.script.then_some((Member::Script, "closed"))).collect()
    }
}

/// What the model of the Realtime API is told, and how it greets.
fn realtime(settings: &OpenAiSettings, text: &AgentText, protocol: &Protocol, patient: &Patient) -> RealtimeLeg {
    let language = protocol.spoken(&patient.details.language);
    let name = patient.given_name();
    let tool = |tool: FunctionTool| RealtimeTool {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters,
    };
    let setup = RealtimeSetup {
        instructions: realtime_instructions(text, name, language),
        tools: realtime_tools(text).into_iter().map(tool).collect(),
        language: language.to_owned(),
        voice: settings.voice.clone(),
        transcription_model: realtime_link::TRANSCRIPTION_MODEL.to_owned(),
    };
    let said = ["greeting", "identify"].map(|part| protocol.text(language, part, name));
    RealtimeLeg::new(setup, said.join(" "))
}

/// An ElevenLabs agent with what its conversation is opened with.
fn elevenlabs(member: Member, patient: &Patient, call: &CallHandle) -> AgentLeg {
    let variables = words::dynamic_variables(patient, &call.id);
    let language = patient.details.language.as_str();
    let init = Init {
        dynamic_variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        // A pseudonym: the name reaches the service only as a variable of this one conversation.
        user_id: Some(patient.id.to_string()),
        // The agent's base language is English; another one needs its permission, which our settings of it give.
        language: (language != FALLBACK_LANGUAGE).then(|| language.to_owned()),
        ..Init::default()
    };
    AgentLeg::ElevenLabs { member, init }
}

//! One call: the real encounter of the server in the middle, a simulated telephone line on one side and a simulated
//! agent on the other. [`Line::step`] lets 100 milliseconds pass.

use super::agent::{Agent, Out, Reply};
use super::fault::Mode;
use super::patient::{Answer, Asked, Patient};
use super::phone::Phone;
use super::server::{Sabotage, Server};
use super::sound::{self, STEP_MS};
use crate::rng::Rng;
use call::agent::breaker::FailureClass;
use call::agent::{AgentClose, AgentLeg, Chain, ConnectFailure, Init, Member};
use call::engine::{AnalysisStep, Capture, Measure, Summary};
use call::{Act, CallConfig, Encounter, Input, Output, Tick};
use clinic::visit::Setup;
use clinic::{EndCause, Segment, TimelineKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long the attempt to reach a service takes that does not answer.
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// How long the analysis of a segment takes.
const ANALYSIS_MS: u64 = 200;
/// Messages that may wait for a phone that does not read.
const PHONE_OUTBOX: usize = 256;
pub(super) const STREAM: &str = "MZ00112233445566778899aabbccddeeff";

/// The service that carries the conversation.
#[derive(Debug)]
struct Link {
    member: Member,
    agent: Agent,
}

/// What the line measures.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    pub(super) dead_air_ms: u64,
    pub(super) spoken_ms: u64,
    pub(super) captured_ms: u64,
    pub(super) flags: BTreeSet<String>,
    pub(super) answered: BTreeMap<usize, u64>,
    pub(super) failures: Vec<String>,
    pub(super) technical: bool,
    pub(super) scripted: bool,
    pub(super) transferred: bool,
    pub(super) interrupted: bool,
}

/// A call.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: usize,
    /// The patient's number, and which attempt at reaching them it is.
    pub(super) patient_id: usize,
    pub(super) attempt: u32,
    pub(super) origin: u64,
    pub(super) setup: Setup,
    pub(super) encounter: Option<Encounter>,
    pub(super) summary: Option<Summary>,
    pub(super) record: Option<clinic::visit::VisitRecord>,
    pub(super) patient: Patient,
    pub(super) phone: Phone,
    pub(super) rng: Rng,
    link: Option<Link>,
    connecting: Option<(u64, Member, bool)>,
    pub(super) replies: Vec<Reply>,
    /// Sound in the phone company's queue: of which reply, and how long.
    pub(super) playing: VecDeque<(Option<u8>, u64)>,
    marks: VecDeque<(u64, String)>,
    echoes: VecDeque<(u64, String)>,
    pub(super) played_ms: u64,
    /// The reply that is played, and how much of it was.
    current: Option<(u8, u64)>,
    pub(super) understood: BTreeSet<u8>,
    pub(super) sees_stream: bool,
    results: VecDeque<(u64, Segment)>,
    pub(super) segments: Vec<Segment>,
    dead: BTreeSet<u64>,
    pub(super) stalled_until: u64,
    pub(super) unread_until: u64,
    pub(super) agent_stalled_until: u64,
    held_in: VecDeque<String>,
    held_out: VecDeque<String>,
    /// The phone reads what waited for it: what is void by now is cleared behind it.
    catching_up: bool,
    held_agent: VecDeque<String>,
    pub(super) tick_back_ms: u64,
    /// The latest time that the engine was told.
    latest: Tick,
    pub(super) marks_lost: bool,
    pub(super) transfer_at: Option<u64>,
    pub(super) status_at: Vec<u64>,
    pub(super) silence_ms: u64,
    pub(super) allowance_ms: u64,
    pub(super) timestamp_ms: u64,
    flag_at: Option<u64>,
    pub(super) questions: u32,
    pub(super) measured: Measured,
    pub(super) broken: Option<String>,
    pub(super) settled: bool,
    usable: f64,
    pub(super) made_sound: bool,
    pub(super) fork: bool,
    pub(super) to_say: Option<Answer>,
    pub(super) last_asked: Asked,
    /// The last reply: until when a second one would come in the same breath, what it asks, in which conversation, and
    /// after how many utterances of the patient.
    pub(super) breath: Option<(u64, (Asked, u64, usize))>,
    /// What happened, where somebody wants to read it.
    pub(super) trace: Option<Vec<String>>,
    /// What was to be heard and what the patient did, when it was last written down.
    pub(super) traced: (Option<Option<u8>>, String),
}

impl Line {
    pub(super) fn new(
        id: usize,
        now: u64,
        who: (usize, u32),
        patient: Patient,
        setup: Setup,
        mut rng: Rng,
        server: &mut Server,
    ) -> Self {
        let mut line = Self {
            id,
            patient_id: who.0,
            attempt: who.1,
            origin: now,
            setup,
            encounter: None,
            summary: None,
            record: None,
            patient,
            phone: Phone::Ringing { until: now + rng.between(5, 60) * STEP_MS },
            link: None,
            connecting: None,
            replies: Vec::new(),
            playing: VecDeque::new(),
            marks: VecDeque::new(),
            echoes: VecDeque::new(),
            played_ms: 0,
            current: None,
            understood: BTreeSet::new(),
            sees_stream: false,
            results: VecDeque::new(),
            segments: Vec::new(),
            dead: BTreeSet::new(),
            stalled_until: 0,
            unread_until: 0,
            agent_stalled_until: 0,
            held_in: VecDeque::new(),
            held_out: VecDeque::new(),
            catching_up: false,
            held_agent: VecDeque::new(),
            tick_back_ms: 0,
            latest: Tick::ZERO,
            marks_lost: false,
            transfer_at: None,
            status_at: Vec::new(),
            silence_ms: 0,
            allowance_ms: 0,
            timestamp_ms: 0,
            flag_at: None,
            questions: 0,
            measured: Measured::default(),
            broken: None,
            settled: false,
            usable: if rng.chance(0.7) { 1.0 } else { 0.5 },
            made_sound: false,
            fork: false,
            to_say: None,
            last_asked: Asked::Nothing,
            breath: None,
            trace: None,
            traced: (None, String::new()),
            rng,
        };
        let leg = |member| AgentLeg::ElevenLabs { member, init: Init { user_id: Some("p".into()), ..Init::default() } };
        // Another service has its place here once there is a leg that speaks its protocol.
        let chain = Chain::new([leg(Member::ElevenLabs), leg(Member::ElevenLabsBackup)], true);
        let config = CallConfig { jitter_seed: line.rng.next_u64() | 1, ..CallConfig::default() };
        line.encounter = Some(Encounter::new(config, chain, line.setup.clone()));
        line.obey(now, server);
        line
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phone, Phone::Over)
            && self.status_at.is_empty()
            && self.encounter.as_ref().is_none_or(Encounter::is_over)
    }

    fn tick(&mut self, now: u64) -> Tick {
        let tick = Tick::from_ms((now - self.origin).saturating_sub(std::mem::take(&mut self.tick_back_ms)));
        self.latest = self.latest.max(tick);
        tick
    }

    pub(super) fn handle(&mut self, now: u64, input: Input<'_>, server: &mut Server) {
        let tick = self.tick(now);
        let Some(encounter) = &mut self.encounter else { return };
        encounter.handle(tick, input);
        self.obey(now, server);
    }

    /// A message of the phone company's stream.
    pub(super) fn phone_says(&mut self, now: u64, text: String, server: &mut Server) {
        if now < self.stalled_until || !self.held_in.is_empty() {
            self.held_in.push_back(text);
            return;
        }
        self.handle(now, Input::PhoneText(&text), server);
    }

    pub(super) fn phone_event(&mut self, now: u64, mut message: Value, server: &mut Server) {
        if let Some(map) = message.as_object_mut() {
            map.insert("streamSid".to_owned(), STREAM.into());
        }
        self.phone_says(now, message.to_string(), server);
    }

    /// Lets 100 milliseconds pass until `now`.
    pub(super) fn step(&mut self, now: u64, server: &mut Server) {
        self.deliver_held(now, server);
        if server.up {
            self.handle(now, Input::Timeout, server);
            self.analysis(now, server);
            self.agent_step(now, server);
        }
        self.phone_step(now, server);
        self.note_changes(now);
        self.watch_silence(now);
    }

    fn deliver_held(&mut self, now: u64, server: &mut Server) {
        if now >= self.stalled_until {
            while let Some(text) = self.held_in.pop_front() {
                self.handle(now, Input::PhoneText(&text), server);
            }
        }
        if now >= self.stalled_until.max(self.unread_until) {
            self.catching_up = true;
            while let Some(text) = self.held_out.pop_front() {
                self.hear(now, &text);
            }
            self.catching_up = false;
        } else if self.held_out.len() > PHONE_OUTBOX {
            self.held_out.clear();
            self.stream_lost(now, server);
        }
    }

    fn analysis(&mut self, now: u64, server: &mut Server) {
        while self.results.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, segment)) = self.results.pop_front() else { break };
            let tick = self.tick(now);
            if let Some(encounter) = &mut self.encounter {
                encounter.segment(tick, &segment);
            }
            self.segments.push(segment);
            self.obey(now, server);
        }
    }

    fn agent_step(&mut self, now: u64, server: &mut Server) {
        if let Some((at, member, admitted)) = self.connecting
            && now >= at
        {
            self.connecting = None;
            let mode = server.mode(member);
            match mode {
                _ if !admitted => self.handle(now, Input::AgentConnectFailed(ConnectFailure::Skipped), server),
                Some(Mode::Refuses(failure)) => self.handle(now, Input::AgentConnectFailed(failure), server),
                mode => {
                    server.conversations += 1;
                    let mut agent = Agent::new(server.conversations, now, mode);
                    agent.asks_again = server.sabotage == Sabotage::AsksAgain;
                    self.link = Some(Link { member, agent });
                    self.handle(now, Input::AgentOpen, server);
                }
            }
        }
        if now < self.agent_stalled_until {
            return;
        }
        while let Some(text) = self.held_agent.pop_front() {
            self.agent_receives(now, &text);
        }
        while let Some(link) = &mut self.link {
            let before = link.agent.replies.len();
            let out = link.agent.poll(now, &self.patient.said);
            let new: Vec<Reply> = link.agent.replies.get(before..).unwrap_or_default().to_vec();
            for reply in new {
                self.reply_decided(now, reply);
            }
            match out {
                Some(Out::Text(text)) => self.handle(now, Input::AgentText(&text), server),
                Some(Out::Close(code)) => {
                    self.link = None;
                    let close = AgentClose::Frame { code, reason: String::new() };
                    self.handle(now, Input::AgentClosed(close), server);
                }
                Some(Out::Drop) => {
                    self.link = None;
                    self.handle(now, Input::AgentClosed(AgentClose::NoFrame), server);
                }
                None => break,
            }
        }
    }

    fn agent_receives(&mut self, now: u64, text: &str) {
        let Some(link) = &mut self.link else { return };
        let before = link.agent.replies.len();
        link.agent.receive(now, text);
        let new: Vec<Reply> = link.agent.replies.get(before..).unwrap_or_default().to_vec();
        for reply in new {
            self.reply_decided(now, reply);
        }
    }

    /// An agent service fails: the conversation with it does.
    pub(super) fn service_fails(&mut self, now: u64, mode: Mode, all: bool) {
        if let Some(link) = self.link.as_mut().filter(|link| all || link.member == Member::ElevenLabs) {
            link.agent.fail(now, mode);
        }
    }

    /// The process is gone.
    pub(super) fn killed(&mut self, now: u64) {
        if self.encounter.as_ref().is_none_or(Encounter::is_over) {
            return;
        }
        self.encounter = None;
        self.link = None;
        self.connecting = None;
        self.results.clear();
        self.held_in.clear();
        self.held_out.clear();
        self.held_agent.clear();
        self.transfer_at = None;
        self.measured.interrupted = true;
        self.sees_stream = false;
        self.phone_lost_server(now);
    }

    /// Does what the encounter wants.
    pub(super) fn obey(&mut self, now: u64, server: &mut Server) {
        loop {
            let Some(encounter) = &mut self.encounter else { return };
            match encounter.poll_output() {
                Act::Call(Output::Timeout(at)) => {
                    let over = encounter.is_over();
                    if !over && at <= self.latest {
                        self.break_rule(now, "a deadline in the past");
                    }
                    return;
                }
                Act::Call(output) => self.do_output(now, output, server),
                Act::RedFlag(flag) => {
                    if !self.measured.flags.insert(flag.code.clone()) {
                        self.break_rule(now, "a red flag raised twice");
                    }
                    self.flag_at.get_or_insert(now);
                    server.tell(now, self.id, &format!("red flag {}", flag.code));
                }
                Act::Transfer { .. } => {
                    self.transfer_at = Some(now + 300);
                    encounter.handle(Tick::from_ms(now - self.origin), Input::HandedOver(true));
                }
                Act::ConsentGiven | Act::EraseRecording => {}
            }
        }
    }

    fn do_output(&mut self, now: u64, output: Output, server: &mut Server) {
        if self.summary.is_some() {
            self.break_rule(now, "something is wanted after the end");
        }
        match output {
            Output::ToPhone(text) => {
                if !self.sees_stream {
                    self.break_rule(now, "a message for a phone that is not there");
                }
                if now < self.stalled_until.max(self.unread_until) || !self.held_out.is_empty() {
                    self.held_out.push_back(text);
                } else if !(server.sabotage == Sabotage::DropsClear && text.contains("\"clear\"")) {
                    self.hear(now, &text);
                }
            }
            Output::ToAgent(text) => {
                if !text.starts_with("{\"user_audio_chunk") {
                    self.note(now, || format!("to agent: {text}"));
                }
                if now < self.agent_stalled_until {
                    self.held_agent.push_back(text);
                } else {
                    self.agent_receives(now, &text);
                }
            }
            Output::ConnectAgent { member, not_before, .. } => {
                self.note(now, || format!("engine: calls {member:?}"));
                self.link = None;
                let from = now.max(self.origin + not_before.as_ms());
                let admitted = server.admits(member, from);
                let takes = match server.mode(member) {
                    _ if !admitted => 0,
                    Some(Mode::Refuses(ConnectFailure::Timeout)) => CONNECT_TIMEOUT_MS,
                    _ => self.rng.between(100, 400),
                };
                self.connecting = Some((from + takes, member, admitted));
            }
            Output::CloseAgent => (self.link, self.connecting) = (None, None),
            Output::ToScript => {
                self.measured.scripted = true;
                self.sees_stream = false;
                self.we_close_stream(now);
            }
            Output::ClosePhone => {
                self.sees_stream = false;
                self.we_close_stream(now);
            }
            Output::Capture(Capture::Patient { ulaw, .. }) if ulaw.first().is_some_and(|byte| *byte != 0xFF) => {
                if server.journal.disk_full {
                    // A part of the recording is missing: that is told like any other failure.
                    self.measured.technical = true;
                } else {
                    self.measured.captured_ms += ulaw.len() as u64 / 8;
                }
            }
            Output::Analyze(AnalysisStep::Close { segment, spans }) => {
                let usable = self.rng.chance(self.usable);
                let reasons = if usable { Vec::new() } else { vec!["noise"] };
                let report = json!({"quality": {"usable": usable, "reasons": reasons}});
                let segment = Segment { index: segment, task: "counting".to_owned(), spans, report };
                self.results.push_back((now + ANALYSIS_MS, segment));
            }
            Output::Record(event) => {
                self.note(now, || format!("engine: {:?}", event.kind));
                self.recorded(now, &event.kind, server);
                server.journal.take(self.id, event);
            }
            Output::Measure(Measure::AgentSpoke) => {
                if let Some(link) = &self.link {
                    server.succeeded(link.member);
                }
            }
            Output::Done(summary) => {
                self.measured.technical |= matches!(
                    summary.cause,
                    EndCause::AgentFailed | EndCause::StreamIdle | EndCause::StreamFailed | EndCause::StreamClosed
                );
                self.record = self.encounter.as_ref().map(Encounter::record);
                self.summary = Some(summary);
            }
            _ => {}
        }
    }

    fn recorded(&mut self, now: u64, kind: &TimelineKind, server: &mut Server) {
        match kind {
            TimelineKind::AgentFailed { service, reason, action } => {
                self.measured.failures.push(format!("{service} {reason} {action}"));
                self.measured.technical |= action != "retry";
                if let Some(member) = Member::parse(service).filter(|_| reason != "skipped") {
                    let settings =
                        reason == "close_1008" || matches!(reason.as_str(), "http_401" | "http_403" | "http_404");
                    let class = if settings { FailureClass::Configuration } else { FailureClass::Passing };
                    server.failed(member, now, class);
                }
                if let Some(last) = self.replies.last() {
                    self.dead.insert(last.conversation);
                }
                let remains = self.playing.iter().any(|(byte, _)| self.is_dead(*byte));
                if remains && self.held_out.is_empty() {
                    self.break_rule(now, "half a sentence of a dead agent plays on");
                }
            }
            TimelineKind::PeerProblem { problem, .. } if problem == "stream_lost" => self.measured.technical = true,
            TimelineKind::AnswerNoted { question, value, .. } => {
                if !self.patient.would_answer(question, value) {
                    self.break_rule(now, &format!("an answer that nobody gave: {question} {value:?}"));
                }
                let index = self.setup.protocol.items.iter().position(|item| item.id == *question);
                if let Some(index) = index {
                    self.measured.answered.entry(index).or_insert(now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn reply_of(&self, byte: Option<u8>) -> Option<&Reply> {
        byte.and_then(|byte| self.replies.iter().rev().find(|reply| reply.byte == byte))
    }

    fn is_dead(&self, byte: Option<u8>) -> bool {
        self.reply_of(byte).is_some_and(|reply| self.dead.contains(&reply.conversation))
    }

    /// What the phone is told to play.
    fn hear(&mut self, now: u64, text: &str) {
        if !matches!(self.phone, Phone::Stream) {
            return;
        }
        if let Some((_, rest)) = text.split_once("\"payload\":\"") {
            let (ms, byte) = sound::piece(rest.split('"').next().unwrap_or_default());
            if self.is_dead(byte) && !self.catching_up {
                self.break_rule(now, "a dead agent is heard");
            }
            self.playing.push_back((byte, ms));
            return;
        }
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        match message.get("event").and_then(Value::as_str) {
            Some("mark") => {
                let name = message.pointer("/mark/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let queued: u64 = self.playing.iter().map(|(_, ms)| ms).sum();
                self.marks.push_back((self.played_ms + queued, name));
            }
            Some("clear") => {
                self.playing.clear();
                let cleared = self.marks.drain(..).map(|(_, name)| (now + 1, name));
                self.echoes.extend(cleared);
            }
            _ => self.break_rule(now, "the phone is told something that it does not know"),
        }
    }

    /// Plays 100 milliseconds; true when something is to be heard.
    pub(super) fn play(&mut self, now: u64, server: &mut Server) -> bool {
        let mut left = STEP_MS;
        let mut sounds = false;
        while left > 0 {
            let Some((byte, ms)) = self.playing.front_mut() else { break };
            let (byte, part) = (*byte, left.min(*ms));
            *ms -= part;
            left -= part;
            self.played_ms += part;
            if *ms == 0 {
                self.playing.pop_front();
            }
            if byte.is_none() && server.sabotage == Sabotage::DeadAir {
                continue;
            }
            sounds = true;
            self.heard_of(byte, part);
        }
        while self.marks.front().is_some_and(|(after, _)| *after <= self.played_ms) {
            let Some((_, name)) = self.marks.pop_front() else { break };
            self.echoes.push_back((now + 40, name));
        }
        while self.echoes.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, name)) = self.echoes.pop_front() else { break };
            if !self.marks_lost {
                self.phone_event(now, json!({"event": "mark", "mark": {"name": name}}), server);
            }
        }
        sounds
    }

    fn heard_of(&mut self, byte: Option<u8>, part: u64) {
        let Some(byte) = byte else { return };
        let heard = match self.current {
            Some((known, heard)) if known == byte => heard + part,
            _ => {
                let asks = self.reply_of(Some(byte)).map(|reply| self.patient.asked_in(&reply.text));
                self.questions += u32::from(matches!(asks, Some(Asked::Item(_))));
                part
            }
        };
        self.current = Some((byte, heard));
        let enough = self.reply_of(Some(byte)).is_some_and(|reply| heard * 10 >= reply.ms * 8);
        if enough && self.understood.insert(byte) {
            let text = self.reply_of(Some(byte)).map(|reply| reply.text.clone()).unwrap_or_default();
            self.patient.hear_words(&text);
        }
    }

    /// The last reply broke off: too little of it was heard to know what it was, and enough to know that there was one.
    pub(super) fn broke_off(&self) -> bool {
        let Some((byte, heard)) = self.current else { return false };
        heard >= 500 && !self.understood.contains(&byte) && self.playing.is_empty()
    }

    /// The text of the reply that is played, and how much of it was, in milliseconds.
    pub(super) fn playing_now(&self) -> Option<(&str, u64)> {
        let (byte, heard) = self.current?;
        let front = self.playing.front()?.0?;
        (front == byte).then_some(())?;
        self.reply_of(Some(byte)).map(|reply| (reply.text.as_str(), heard))
    }

    pub(super) fn flagged_for(&self, now: u64) -> Option<u64> {
        self.flag_at.map(|at| now - at)
    }

    pub(super) fn has_heard_agent(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn is_first_reply(&self) -> bool {
        let first = self.replies.first().map(|reply| reply.byte);
        first.is_some() && self.current.map(|(byte, _)| byte) == first
    }

    /// The answering-machine detection takes the patient for a machine.
    pub(super) fn wrong_machine(&mut self, now: u64, server: &mut Server) {
        let tick = self.tick(now);
        if let Some(encounter) = &mut self.encounter {
            encounter.answering_machine(tick);
        }
        self.obey(now, server);
    }
}

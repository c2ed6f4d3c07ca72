//! A call in simulated time: telephone, agent and patient around an encounter, without sockets and without waiting.
//!
//! Everything is the same as in a call over the wire (the messages of both protocols, the sound, the pauses), only the
//! clock is ours: a visit of two minutes takes about a second. Two weeks of calls can be made while one looks on.

use crate::elevenlabs::{Conversation, ConversationStats, Faults, Out, SimConfig};
use crate::patient::{Patient, PatientScript};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::agent::{AgentClose, AgentLeg};
use call::engine::{AnalysisStep, Capture, Summary};
use call::{Act, CallConfig, Encounter, Input, Output, Tick};
use clinic::red_flags::RedFlag;
use clinic::visit::{Setup, VisitRecord};
use clinic::{Segment, TimelineEvent};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// Length of a frame.
const FRAME_MS: u64 = 20;
const FRAME_BYTES: usize = 160;
/// A call that is not over by then never will be.
const LONGEST_MS: u64 = 30 * 60_000;
/// How much later than the audio before it a mark comes back.
const ECHO_MS: u64 = 40;
/// How long the analysis of a segment takes.
const ANALYSIS_MS: u64 = 60;
const STREAM: &str = "MZ00112233445566778899aabbccddeeff";

/// What a call in simulated time is made of.
#[derive(Debug, Clone)]
pub struct FastCall {
    /// The agent.
    pub agent: SimConfig,
    /// What the agent is opened with.
    pub leg: AgentLeg,
    /// Limits of the call.
    pub config: CallConfig,
    /// What the visit starts with.
    pub setup: Setup,
    /// The patient.
    pub patient: PatientScript,
    /// Seed of everything that varies.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct FastReport {
    /// The timeline.
    pub events: Vec<TimelineEvent>,
    /// What was recorded.
    pub captures: Vec<Capture>,
    /// What the analysis found, in the order in which it was done.
    pub segments: Vec<Segment>,
    /// Red flags, and when they reached the staff, in milliseconds since the call began.
    pub red_flags: Vec<(u64, RedFlag)>,
    /// When the patient was handed to the nurse, in milliseconds since the call began.
    pub transferred_ms: Option<u64>,
    /// The patient refused to be recorded.
    pub erased: bool,
    /// What was learned.
    pub record: VisitRecord,
    /// The end of the call.
    pub summary: Option<Summary>,
    /// Everything the agent was told, as it travelled.
    pub to_agent: Vec<String>,
    /// What the patient's telephone sent.
    pub spoken: Vec<u8>,
}

struct Line {
    encounter: Encounter,
    conversation: Conversation,
    patient: Patient,
    now_ms: u64,
    connected: bool,
    opened_ms: u64,
    /// Sound on its way to the patient's ear, and marks by the byte they follow.
    playing: VecDeque<u8>,
    marks: VecDeque<(usize, String)>,
    echoes: VecDeque<(u64, String)>,
    heard_bytes: usize,
    results: VecDeque<(u64, Segment)>,
    report: FastReport,
    over: bool,
}

/// Makes the call; `analyze` takes the steps of the analysis and gives a segment back when one is complete.
pub fn run(call: FastCall, mut analyze: impl FnMut(AnalysisStep) -> Option<Segment>) -> FastReport {
    let conversation = Conversation::new(
        Arc::new(call.agent),
        Faults::none(),
        ConversationStats { conversation_id: format!("conv_fast_{}", call.seed), ..ConversationStats::default() },
        call.seed,
    );
    let encounter = Encounter::new(call.config, call.leg, call.setup);
    let report = FastReport {
        events: Vec::new(),
        captures: Vec::new(),
        segments: Vec::new(),
        red_flags: Vec::new(),
        transferred_ms: None,
        erased: false,
        record: encounter.record(),
        summary: None,
        to_agent: Vec::new(),
        spoken: Vec::new(),
    };
    let mut line = Line {
        encounter,
        conversation,
        patient: Patient::new(call.patient),
        now_ms: 0,
        connected: false,
        opened_ms: 0,
        playing: VecDeque::new(),
        marks: VecDeque::new(),
        echoes: VecDeque::new(),
        heard_bytes: 0,
        results: VecDeque::new(),
        report,
        over: false,
    };
    line.obey(&mut analyze);
    line.phone(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}), &mut analyze);
    line.phone(
        json!({"event": "start", "start": {
            "accountSid": crate::twilio::TEST_ACCOUNT_SID, "streamSid": STREAM,
            "callSid": "CAfedcba9876543210fedcba9876543210", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {}}}),
        &mut analyze,
    );
    while !line.over && line.now_ms < LONGEST_MS {
        line.tick(&mut analyze);
    }
    line.report.record = line.encounter.record();
    line.report
}

impl Line {
    fn input(&mut self, input: Input<'_>, analyze: &mut impl FnMut(AnalysisStep) -> Option<Segment>) {
        self.encounter.handle(Tick::from_ms(self.now_ms), input);
        self.obey(analyze);
    }

    fn phone(&mut self, mut message: Value, analyze: &mut impl FnMut(AnalysisStep) -> Option<Segment>) {
        if let Some(map) = message.as_object_mut() {
            map.insert("streamSid".to_owned(), STREAM.into());
        }
        self.input(Input::PhoneText(&message.to_string()), analyze);
    }

    fn tick(&mut self, analyze: &mut impl FnMut(AnalysisStep) -> Option<Segment>) {
        self.now_ms += FRAME_MS;
        self.input(Input::Timeout, analyze);
        while self.results.front().is_some_and(|(due, _)| *due <= self.now_ms) {
            let Some((_, segment)) = self.results.pop_front() else { break };
            self.encounter.segment(Tick::from_ms(self.now_ms), &segment);
            self.report.segments.push(segment);
            self.obey(analyze);
        }
        while self.connected && !self.over {
            match self.conversation.poll(self.now_ms - self.opened_ms) {
                Some(Out::Text(text)) => self.input(Input::AgentText(&text), analyze),
                Some(Out::Close { code, reason }) => {
                    self.connected = false;
                    self.input(Input::AgentClosed(AgentClose::Frame { code, reason }), analyze);
                }
                Some(Out::Drop) => {
                    self.connected = false;
                    self.input(Input::AgentClosed(AgentClose::NoFrame), analyze);
                }
                None => break,
            }
        }
        let mut heard: Vec<u8> = self.playing.drain(..FRAME_BYTES.min(self.playing.len())).collect();
        self.heard_bytes += heard.len();
        heard.resize(FRAME_BYTES, 0xFF);
        while self.marks.front().is_some_and(|(after, _)| *after <= self.heard_bytes) {
            let Some((_, name)) = self.marks.pop_front() else { break };
            self.echoes.push_back((self.now_ms + ECHO_MS, name));
        }
        while self.echoes.front().is_some_and(|(due, _)| *due <= self.now_ms) {
            let Some((_, name)) = self.echoes.pop_front() else { break };
            self.phone(json!({"event": "mark", "mark": {"name": name}}), analyze);
        }
        let frame = self.patient.tick(self.now_ms, &heard);
        if let Some(digit) = frame.digit {
            let dtmf = json!({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit.to_string()}});
            self.phone(dtmf, analyze);
        }
        self.report.spoken.extend_from_slice(&frame.ulaw);
        let timestamp = (self.now_ms - FRAME_MS).to_string();
        let media = json!({"track": "inbound", "timestamp": timestamp, "payload": STANDARD.encode(&frame.ulaw)});
        self.phone(json!({"event": "media", "media": media}), analyze);
        if frame.hung_up {
            self.phone(json!({"event": "stop"}), analyze);
        }
    }

    fn obey(&mut self, analyze: &mut impl FnMut(AnalysisStep) -> Option<Segment>) {
        loop {
            match self.encounter.poll_output() {
                Act::Call(Output::Timeout(_)) => return,
                Act::Call(output) => self.do_output(output, analyze),
                Act::RedFlag(flag) => self.report.red_flags.push((self.now_ms, flag)),
                Act::Transfer { .. } => {
                    self.report.transferred_ms = Some(self.now_ms);
                    let now = Tick::from_ms(self.now_ms);
                    self.encounter.handle(now, Input::HandedOver(true));
                    self.encounter.handle(now, Input::StreamStopped);
                }
                Act::ConsentGiven => {}
                Act::EraseRecording => {
                    self.report.erased = true;
                    self.report.captures.clear();
                }
            }
        }
    }

    fn do_output(&mut self, output: Output, analyze: &mut impl FnMut(AnalysisStep) -> Option<Segment>) {
        match output {
            Output::ToPhone(text) => self.hear(&text),
            Output::ToAgent(text) => {
                if self.connected {
                    self.conversation.handle_text(self.now_ms - self.opened_ms, &text);
                }
                if !text.starts_with("{\"user_audio_chunk\"") {
                    self.report.to_agent.push(text);
                }
            }
            Output::ConnectAgent { .. } => {
                self.connected = true;
                self.opened_ms = self.now_ms;
                self.encounter.handle(Tick::from_ms(self.now_ms), Input::AgentOpen);
            }
            Output::CloseAgent if std::mem::take(&mut self.connected) => {
                self.conversation.closed(self.now_ms - self.opened_ms, Some(1000));
            }
            Output::Capture(capture) => self.report.captures.push(capture),
            Output::Analyze(step) => {
                if let Some(segment) = analyze(step) {
                    if self.encounter.is_over() {
                        self.encounter.segment(Tick::from_ms(self.now_ms), &segment);
                        self.report.segments.push(segment);
                    } else {
                        self.results.push_back((self.now_ms + ANALYSIS_MS, segment));
                    }
                }
            }
            Output::Record(event) => self.report.events.push(event),
            Output::Done(summary) => {
                self.report.summary = Some(summary);
                self.over = true;
                let left: Vec<Segment> = self.results.drain(..).map(|(_, segment)| segment).collect();
                for segment in left {
                    self.encounter.segment(Tick::from_ms(self.now_ms), &segment);
                    self.report.segments.push(segment);
                }
            }
            _ => {}
        }
    }

    /// What the telephone is told to play.
    fn hear(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match field("/event") {
            "media" => self.playing.extend(STANDARD.decode(field("/media/payload")).unwrap_or_default()),
            "mark" => self.marks.push_back((self.heard_bytes + self.playing.len(), field("/mark/name").to_owned())),
            "clear" => {
                self.playing.clear();
                let cleared: Vec<String> = self.marks.drain(..).map(|(_, name)| name).collect();
                self.echoes.extend(cleared.into_iter().map(|name| (self.now_ms + 1, name)));
            }
            _ => {}
        }
    }
}

//! A phone, an agent and a clock around one engine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::agent::{AgentClose, AgentLeg, Chain, ConnectFailure, Init};
use call::engine::{Alert, AnalysisStep, Capture, Measure, Summary};
use call::{Call, CallConfig, Input, Output, Tick};
use clinic::tools::{Effect, ToolOutcome, VoiceTask};
use clinic::{EndCause, TimelineEvent, TimelineKind};
use serde_json::{Value, json};
use std::collections::VecDeque;

pub(crate) const SID: &str = "MZ00112233445566778899aabbccddeeff";

/// Twilio's echo of a mark comes about this much after the audio before it was played.
const ECHO_DELAY_MS: u64 = 35;

/// What the engine sent, and when.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Tick,
    pub(crate) message: Value,
}

impl Sent {
    pub(crate) fn event(&self) -> &str {
        self.message["event"].as_str().or(self.message["type"].as_str()).unwrap_or("")
    }

    /// Audio bytes of a message in either direction.
    pub(crate) fn audio(&self) -> Vec<u8> {
        let payload = &self.message["media"]["payload"];
        let text = payload.as_str().or(self.message["user_audio_chunk"].as_str()).unwrap_or("");
        STANDARD.decode(text).unwrap()
    }
}

/// A shell that knows three tools: it opens and closes windows, notes answers, and refuses the rest.
pub(crate) fn run_tool(name: &str, parameters: &str) -> ToolOutcome {
    let parameters: Value = serde_json::from_str(parameters).unwrap_or_default();
    let effect = match name {
        "start_task" => parameters["task"].as_str().and_then(VoiceTask::parse).map(Effect::StartTask),
        "end_task" => Some(Effect::EndTask),
        _ => None,
    };
    let known = effect.is_some() || name == "record_answer" && parameters["question"].is_string();
    ToolOutcome { result: json!({"done": known}).to_string(), is_error: !known, effect }
}

pub(crate) struct World {
    pub(crate) call: Call,
    pub(crate) now: Tick,
    pub(crate) to_phone: Vec<Sent>,
    pub(crate) to_agent: Vec<Sent>,
    pub(crate) captures: Vec<Capture>,
    pub(crate) analysis: Vec<AnalysisStep>,
    pub(crate) records: Vec<TimelineEvent>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) measures: Vec<Measure>,
    pub(crate) connects: Vec<(u32, Tick)>,
    pub(crate) agent_closes: Vec<Tick>,
    pub(crate) phone_closes: Vec<Tick>,
    pub(crate) tool_calls: Vec<(String, String, String)>,
    pub(crate) keys: Vec<String>,
    /// When the script took over.
    pub(crate) to_script: Option<Tick>,
    pub(crate) system_tools: Vec<String>,
    pub(crate) done: Vec<Summary>,
    /// What the caller heard: when it began to play, and the bytes that played.
    pub(crate) heard: Vec<(Tick, Vec<u8>)>,
    /// How long after the audio before it was played a mark comes back.
    pub(crate) echo_delay_ms: u64,
    /// When false, the phone never echoes a mark.
    pub(crate) echoes_marks: bool,
    deadline: Tick,
    play_end: Tick,
    pending_marks: VecDeque<(Tick, String)>,
    started: bool,
    timestamp_ms: u64,
    sequence: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(CallConfig::default())
    }

    pub(crate) fn with(config: CallConfig) -> Self {
        let mut init = Init { user_id: Some("patient-7".into()), ..Init::default() };
        init.dynamic_variables.insert("patient_name".into(), "Ada".to_owned().into());
        Self::of(config, AgentLeg::elevenlabs(init).into())
    }

    pub(crate) fn of(config: CallConfig, chain: Chain) -> Self {
        let mut world = Self {
            call: Call::new(config, chain),
            now: Tick::ZERO,
            to_phone: Vec::new(),
            to_agent: Vec::new(),
            captures: Vec::new(),
            analysis: Vec::new(),
            records: Vec::new(),
            alerts: Vec::new(),
            measures: Vec::new(),
            connects: Vec::new(),
            agent_closes: Vec::new(),
            phone_closes: Vec::new(),
            tool_calls: Vec::new(),
            keys: Vec::new(),
            to_script: None,
            system_tools: Vec::new(),
            done: Vec::new(),
            heard: Vec::new(),
            echo_delay_ms: ECHO_DELAY_MS,
            echoes_marks: true,
            deadline: Tick::FAR,
            play_end: Tick::ZERO,
            pending_marks: VecDeque::new(),
            started: false,
            timestamp_ms: 52,
            sequence: 1,
        };
        world.drain();
        world
    }

    /// A call with phone and agent connected, `ulaw_8000` both ways.
    pub(crate) fn bridged() -> Self {
        let mut world = Self::new();
        world.agent_opens();
        world.metadata("ulaw_8000", "ulaw_8000");
        world.phone_starts();
        world
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.call.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.call.poll_output() {
                Output::ToPhone(text) => self.phone_receives(&text),
                Output::ToAgent(text) => {
                    let message = serde_json::from_str(&text).expect("valid JSON to the agent");
                    self.to_agent.push(Sent { at: self.now, message });
                }
                Output::ClosePhone => self.phone_closes.push(self.now),
                Output::CloseAgent => self.agent_closes.push(self.now),
                Output::ConnectAgent { attempt, not_before, .. } => self.connects.push((attempt, not_before)),
                Output::ToScript => self.to_script = Some(self.now),
                Output::Keys(digits) => self.keys.push(digits),
                Output::SystemTool(name) => self.system_tools.push(name),
                Output::RunTool { id, name, parameters } => self.tool_calls.push((id, name, parameters)),
                Output::Capture(capture) => self.captures.push(capture),
                Output::Analyze(step) => self.analysis.push(step),
                Output::Record(event) => self.records.push(event),
                Output::Alert(alert) => self.alerts.push(alert),
                Output::Measure(measure) => self.measures.push(measure),
                Output::Done(summary) => self.done.push(summary),
                Output::Timeout(at) => {
                    assert!(at > self.now || self.call.is_over(), "a deadline in the past at {} would spin", self.now);
                    self.deadline = at;
                    return;
                }
            }
        }
    }

    fn phone_receives(&mut self, text: &str) {
        assert!(self.started, "nothing may be sent before start: {text}");
        let message: Value = serde_json::from_str(text).expect("valid JSON to the phone");
        assert_eq!(message["streamSid"], SID);
        let sent = Sent { at: self.now, message };
        match sent.event() {
            "media" => {
                let bytes = sent.audio();
                let start = self.play_end.max(self.now);
                self.play_end = start.plus_us(bytes.len() as u64 * 125);
                self.heard.push((start, bytes));
            }
            "mark" => {
                let name = sent.message["mark"]["name"].as_str().unwrap().to_owned();
                let at = if self.play_end > self.now { self.play_end.plus_ms(self.echo_delay_ms) } else { self.now };
                self.pending_marks.push_back((at, name));
            }
            "clear" => {
                let now = self.now;
                self.heard.retain(|(start, _)| *start < now);
                if let Some((start, bytes)) = self.heard.last_mut() {
                    bytes.truncate((now.us_since(*start) / 125) as usize);
                }
                self.play_end = now;
                for (at, _) in &mut self.pending_marks {
                    *at = now.plus_ms(1);
                }
            }
            other => panic!("unknown event {other} to the phone"),
        }
        self.to_phone.push(sent);
    }

    /// Lets time pass, with everything that becomes due in between.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let mark_at = self.pending_marks.front().filter(|_| self.echoes_marks).map_or(Tick::FAR, |(at, _)| *at);
            let next = mark_at.min(self.deadline);
            if next > end || self.call.is_over() {
                break;
            }
            self.now = self.now.max(next);
            if mark_at <= self.deadline {
                let (_, name) = self.pending_marks.pop_front().unwrap();
                self.phone_says(json!({"event": "mark", "mark": {"name": name}}));
            } else {
                self.input(Input::Timeout);
            }
        }
        self.now = end;
    }

    pub(crate) fn phone_text(&mut self, text: &str) {
        self.input(Input::PhoneText(text));
    }

    pub(crate) fn phone_says(&mut self, mut message: Value) {
        self.sequence += 1;
        message["streamSid"] = SID.into();
        message["sequenceNumber"] = self.sequence.to_string().into();
        self.phone_text(&message.to_string());
    }

    pub(crate) fn phone_starts(&mut self) {
        self.started = true;
        self.phone_text(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
        self.phone_says(json!({"event": "start", "start": {
            "accountSid": "AC0123456789abcdef0123456789abcdef", "streamSid": SID,
            "callSid": "CAfedcba9876543210fedcba9876543210", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {}}}));
    }

    /// One frame as Twilio sends it, timestamped right after the one before.
    pub(crate) fn frame(&mut self, ulaw: &[u8]) {
        let at = self.timestamp_ms;
        self.timestamp_ms += ulaw.len() as u64 / 8;
        self.frame_at(Some(at), ulaw);
    }

    pub(crate) fn frame_at(&mut self, timestamp_ms: Option<u64>, ulaw: &[u8]) {
        let mut media = json!({"track": "inbound", "payload": STANDARD.encode(ulaw)});
        if let Some(ms) = timestamp_ms {
            media["timestamp"] = ms.to_string().into();
        }
        self.phone_says(json!({"event": "media", "media": media}));
    }

    /// The stream's clock runs on without frames, as if `ms` of audio were lost.
    pub(crate) fn lose_ms(&mut self, ms: u64) {
        self.timestamp_ms += ms;
        self.run_ms(ms);
    }

    /// `ms` of caller silence in 20 ms frames, in real time.
    pub(crate) fn caller_silent(&mut self, ms: u64) {
        self.caller_sends(ms, |_| 0xFF);
    }

    /// `ms` of a loud 200 Hz tone with harmonics from the caller, in real time.
    pub(crate) fn caller_speaks(&mut self, ms: u64) {
        self.caller_sends(ms, |n| {
            let phase = n as f64 * 200.0 / 8_000.0 * std::f64::consts::TAU;
            let sample = (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (3.0 * phase).sin()) * 6_000.0;
            voice::g711::ulaw_encode(sample as i16)
        });
    }

    fn caller_sends(&mut self, ms: u64, byte: impl Fn(usize) -> u8) {
        for frame in 0..ms / 20 {
            self.run_ms(20);
            let bytes: Vec<u8> = (0..160).map(|i| byte(frame as usize * 160 + i)).collect();
            self.frame(&bytes);
        }
    }

    pub(crate) fn agent_opens(&mut self) {
        self.input(Input::AgentOpen);
    }

    pub(crate) fn agent_says(&mut self, message: &Value) {
        self.input(Input::AgentText(&message.to_string()));
    }

    pub(crate) fn metadata(&mut self, output: &str, input: &str) {
        self.agent_says(&json!({"type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {"conversation_id": "conv_1",
            "agent_output_audio_format": output, "user_input_audio_format": input}}));
    }

    /// Agent audio of one reply: every byte is `fill`, so that a test sees whose audio it was.
    pub(crate) fn agent_audio(&mut self, event_id: i64, ms: u64, fill: u8) {
        self.agent_bytes(event_id, &vec![fill; ms as usize * 8]);
    }

    pub(crate) fn agent_bytes(&mut self, event_id: i64, bytes: &[u8]) {
        self.agent_says(&json!({"type": "audio",
            "audio_event": {"audio_base_64": STANDARD.encode(bytes), "event_id": event_id}}));
    }

    pub(crate) fn interruption(&mut self, event_id: i64) {
        self.agent_says(&json!({"type": "interruption", "interruption_event": {"event_id": event_id}}));
    }

    pub(crate) fn user_transcript(&mut self, text: &str) {
        self.agent_says(&json!({"type": "user_transcript",
            "user_transcription_event": {"user_transcript": text, "event_id": 4}}));
    }

    pub(crate) fn end_call_tool(&mut self) {
        self.agent_says(&json!({"type": "agent_tool_response", "agent_tool_response": {"tool_name": "end_call",
            "tool_call_id": "tc_9", "tool_type": "system", "is_error": false, "is_called": true, "event_id": 9}}));
    }

    pub(crate) fn agent_closes_with(&mut self, code: u16) {
        self.input(Input::AgentClosed(AgentClose::Frame { code, reason: String::new() }));
    }

    pub(crate) fn agent_unreachable(&mut self, failure: ConnectFailure) {
        self.input(Input::AgentConnectFailed(failure));
    }

    /// Caller audio that reached the agent, in order.
    pub(crate) fn agent_heard(&self) -> Vec<u8> {
        self.to_agent
            .iter()
            .filter(|sent| sent.message.get("user_audio_chunk").is_some())
            .flat_map(Sent::audio)
            .collect()
    }

    /// Everything the caller heard, in order.
    pub(crate) fn caller_heard(&self) -> Vec<u8> {
        self.heard.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    pub(crate) fn caller_heard_ms(&self) -> u64 {
        self.caller_heard().len() as u64 / 8
    }

    pub(crate) fn sent_to_phone(&self, event: &str) -> usize {
        self.to_phone.iter().filter(|sent| sent.event() == event).count()
    }

    pub(crate) fn sent_to_agent(&self, kind: &str) -> Vec<&Value> {
        self.to_agent.iter().filter(|sent| sent.event() == kind).map(|sent| &sent.message).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.records.iter().map(|event| event.kind.name()).collect()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|name| **name == kind).count()
    }

    pub(crate) fn ended(&self) -> Option<EndCause> {
        assert!(self.done.len() <= 1, "a call ends once");
        let causes: Vec<_> = self
            .records
            .iter()
            .filter_map(|event| if let TimelineKind::Ended { cause } = event.kind { Some(cause) } else { None })
            .collect();
        assert_eq!(causes.len(), self.done.len());
        self.done.first().map(|summary| summary.cause)
    }

    /// Replies that left the playout: turn, sent, heard, interrupted.
    pub(crate) fn played(&self) -> Vec<(u32, u64, u64, bool)> {
        self.records
            .iter()
            .filter_map(|event| match event.kind {
                TimelineKind::AgentTurnPlayed { turn, sent_ms, heard_ms, interrupted } => {
                    Some((turn, sent_ms, heard_ms, interrupted))
                }
                _ => None,
            })
            .collect()
    }
}

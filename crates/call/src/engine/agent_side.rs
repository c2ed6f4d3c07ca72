//! What the agent does to a call: connecting, speaking, being interrupted, asking for tools, going away.

use super::{Alert, Call, Capture, Measure, Output, Tell};
use crate::Tick;
use crate::agent::close::{classify_close, classify_connect};
use crate::agent::elevenlabs::QueueStatus;
use crate::agent::{AgentClose, AgentEvent, AudioFormat, CloseReaction, ConnectFailure};
use crate::engine::transcode::Transcode;
use crate::playout::Refused;
use crate::twilio::message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clinic::TimelineKind;
use clinic::tools::ToolOutcome;
use std::collections::BTreeMap;

/// Agent audio that may come before its format is known, as base64. A greeting of a minute at 48 kHz.
const EARLY_AUDIO_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Tool requests an agent may have open at once, and in one call altogether.
const TOOLS_OPEN_MAX: usize = 16;
const TOOLS_SEEN_MAX: usize = 512;

/// Wait before the second and the third attempt after a passing failure, and after a refusal for lack of capacity.
const RETRY_AFTER_MS: [u64; 2] = [250, 1_000];
const BACK_OFF_MS: [u64; 2] = [1_000, 3_000];

/// Where we stand with the agent.
#[derive(Debug)]
pub(super) enum AgentState {
    /// Not called yet.
    Absent,
    /// Called; the socket is not open yet.
    Connecting { attempt: u32 },
    /// The socket is open and the first frame sent; formats are not known yet.
    Greeting { attempt: u32, give_up_at: Tick, queued: bool, early: Vec<(i64, String)>, early_bytes: usize },
    /// In conversation.
    Live { attempt: u32, queued: bool },
    /// Ended normally.
    Finished,
    /// Gone for good.
    Failed,
}

/// Tool requests of the agent: each is answered exactly once.
#[derive(Debug, Default)]
pub(super) struct Tools {
    open: BTreeMap<String, (String, Tick)>,
    seen: std::collections::BTreeSet<String>,
}

impl Call {
    /// Asks the shell to reach the agent.
    pub(super) fn connect_agent(&mut self, attempt: u32, wait_ms: u64) {
        self.agent = AgentState::Connecting { attempt };
        // A new conversation has asked for nothing yet, and an answer it did not ask for may end it.
        self.tools = Tools::default();
        self.agent_spoke = false;
        self.decoding = None;
        self.first_word_by = None;
        self.playout.new_conversation();
        self.outputs.push_back(Output::ConnectAgent { attempt, not_before: self.now.plus_ms(wait_ms) });
    }

    pub(super) fn agent_open(&mut self) {
        let AgentState::Connecting { attempt } = self.agent else { return };
        let mut hello = String::new();
        self.leg.write_hello(&mut hello);
        self.outputs.push_back(Output::ToAgent(hello));
        self.agent = AgentState::Greeting {
            attempt,
            give_up_at: self.now.plus_ms(self.config.agent_metadata_ms),
            queued: false,
            early: Vec::new(),
            early_bytes: 0,
        };
    }

    pub(super) fn agent_text(&mut self, text: &str) {
        if !matches!(self.agent, AgentState::Greeting { .. } | AgentState::Live { .. }) {
            return;
        }
        match self.leg.parse(text) {
            Ok(event) => self.agent_event(event),
            Err(error) => self.problem("agent", error.code()),
        }
    }

    fn agent_event(&mut self, event: AgentEvent<'_>) {
        match event {
            AgentEvent::Audio { base64, event_id, .. } => self.agent_audio(event_id, &base64),
            AgentEvent::Ping { event_id, .. } => {
                let mut pong = String::new();
                self.leg.write_pong(&mut pong, event_id);
                self.outputs.push_back(Output::ToAgent(pong));
            }
            AgentEvent::Metadata { conversation_id, agent_output, user_input } => {
                self.agent_metadata(conversation_id, &agent_output, user_input.as_deref());
            }
            AgentEvent::Interruption { event_id, .. } => self.interrupt(event_id, "agent"),
            AgentEvent::UserTranscript { text, .. } => {
                self.counts.transcript_turns += 1;
                // The service writes "..." when it understood nothing.
                self.counts.clinical_content |= text.chars().any(char::is_alphanumeric);
                self.record(TimelineKind::UserTranscript { text: text.into_owned() });
            }
            AgentEvent::AgentResponse { text, event_id } => {
                self.record(TimelineKind::AgentResponse { text: text.into_owned(), event_id });
            }
            AgentEvent::AgentResponseCorrection { original, corrected, event_id } => {
                self.record(TimelineKind::AgentCorrection {
                    original: original.into_owned(),
                    corrected: corrected.into_owned(),
                    event_id,
                });
            }
            AgentEvent::AgentResponseComplete { event_id } => self.playout.complete(event_id),
            AgentEvent::ToolCall { name, id, parameters, .. } => self.tool_call(&id, &name, parameters),
            AgentEvent::AgentToolResponse { tool_name, is_called, is_error, .. } => {
                if tool_name == "end_call" && is_called && !is_error {
                    self.playout.complete(None);
                    self.ending.agent_said_goodbye(self.now, self.playout.remaining_ms(self.now));
                } else if is_called && !is_error {
                    self.outputs.push_back(Output::SystemTool(tool_name.into_owned()));
                }
            }
            AgentEvent::Error { code, error_type, .. } => {
                self.record(TimelineKind::AgentError { code, error_type });
            }
            AgentEvent::QueueStatus(status) => self.agent_queue(&status),
            AgentEvent::McpToolCall { .. }
            | AgentEvent::AgentToolRequest { .. }
            | AgentEvent::TentativeUserTranscript { .. }
            | AgentEvent::VadScore(_)
            | AgentEvent::GuardrailTriggered
            | AgentEvent::Secondary(_)
            | AgentEvent::Other { .. } => {}
        }
    }

    fn agent_metadata(&mut self, conversation_id: String, agent_output: &str, user_input: Option<&str>) {
        let AgentState::Greeting { attempt, queued, .. } = self.agent else {
            self.problem("agent", "metadata_twice");
            return;
        };
        let input = user_input.unwrap_or(self.leg.default_input_format());
        let formats = (AudioFormat::parse(input), AudioFormat::parse(agent_output));
        let transcoders = match formats {
            (Ok(input), Ok(output)) => Transcode::to_agent(input).zip(Transcode::from_agent(output)),
            _ => None,
        };
        let Some((to_agent, from_agent)) = transcoders else {
            // Playing an unknown format would be loud noise in a patient's ear.
            self.outputs.push_back(Output::CloseAgent);
            self.give_up("unsupported_audio_format", true);
            return;
        };
        self.record(TimelineKind::AgentConnected {
            service: self.leg.service().into(),
            conversation_id,
            input_format: input.to_owned(),
            output_format: agent_output.to_owned(),
        });
        self.to_agent = to_agent;
        self.from_agent = from_agent;
        let service = self.leg.service();
        if self.agents.last().is_none_or(|last| last != service) {
            self.agents.push(service.to_owned());
        }
        self.outputs.push_back(Output::Measure(Measure::AgentReady { after_ms: self.now.as_ms() }));
        let before = std::mem::replace(&mut self.agent, AgentState::Live { attempt, queued });
        if !queued {
            self.open_uplink();
        }
        self.expect_first_word();
        if let AgentState::Greeting { early, .. } = before {
            for (event_id, base64) in early {
                self.agent_audio(event_id, &base64);
            }
        }
    }

    /// While a conversation waits for capacity the service discards what we send, so audio is held.
    fn agent_queue(&mut self, status: &QueueStatus) {
        let now_queued = matches!(status, QueueStatus::Waiting);
        match &mut self.agent {
            AgentState::Greeting { queued, .. } => *queued = now_queued,
            AgentState::Live { queued, .. } if *queued != now_queued => {
                *queued = now_queued;
                if now_queued {
                    self.uplink.close();
                } else {
                    self.open_uplink();
                }
                self.expect_first_word();
            }
            _ => {}
        }
    }

    fn open_uplink(&mut self) {
        let (leg, transcode, scratch, outputs) = (&self.leg, &mut self.to_agent, &mut self.scratch, &mut self.outputs);
        self.uplink.open(|ulaw| outputs.push_back(Output::ToAgent(leg.audio_message(transcode, ulaw, scratch))));
    }

    fn agent_audio(&mut self, event_id: i64, base64: &str) {
        match &mut self.agent {
            AgentState::Greeting { early, early_bytes, .. } => {
                if *early_bytes + base64.len() > EARLY_AUDIO_MAX_BYTES {
                    self.outputs.push_back(Output::Measure(Measure::AgentAudioDropped));
                } else {
                    *early_bytes += base64.len();
                    early.push((event_id, base64.to_owned()));
                }
                return;
            }
            AgentState::Live { queued: true, .. } => self.agent_queue(&QueueStatus::Admitted),
            AgentState::Live { .. } => {}
            _ => return,
        }
        let Ok(bytes) = STANDARD.decode(base64) else {
            self.problem("agent", "invalid_base64");
            return;
        };
        if self.playout.is_stale(event_id) {
            self.outputs.push_back(Output::Measure(Measure::AgentAudioDropped));
            return;
        }
        // Of what was decoded, not of what is played: the first pieces of a reply may be too short to yield a sample.
        if self.decoding != Some(event_id) {
            self.decoding = Some(event_id);
            self.from_agent.begin_reply();
        }
        let ulaw = self.from_agent.decode(bytes);
        if ulaw.is_empty() {
            return;
        }
        self.counts.agent_audio_seen = true;
        self.agent_spoke = true;
        self.first_word_by = None;
        match self.playout.push(self.now, event_id, ulaw) {
            Ok(()) => {}
            Err(Refused::Stale) => self.outputs.push_back(Output::Measure(Measure::AgentAudioDropped)),
            Err(Refused::Full) => {
                self.outputs.push_back(Output::Measure(Measure::AgentAudioDropped));
                if !self.counts.playout_drop_recorded {
                    self.counts.playout_drop_recorded = true;
                    let milliseconds = self.playout.dropped_ms();
                    self.record(TimelineKind::AudioDropped { direction: "to_caller".into(), milliseconds });
                }
            }
        }
        if let Some(gap_ms) = self.playout.take_gap_ms() {
            self.outputs.push_back(Output::Measure(Measure::PlayoutGap { gap_ms }));
        }
    }

    /// The caller talks over the agent: what has not been heard never will be.
    pub(super) fn interrupt(&mut self, event_id: Option<i64>, decided_by: &'static str) {
        let was_speaking = self.playout.is_speaking(self.now);
        let local = decided_by == "local";
        // Without an id the service means its newest reply, but not what it may send after this.
        let event_id = if local { None } else { event_id.or_else(|| self.playout.newest_event()) };
        let cut = match (local, event_id) {
            (false, None) => Vec::new(),
            _ => self.playout.interrupt(self.now, event_id),
        };
        self.from_agent.reset();
        if let AgentState::Greeting { early, early_bytes, .. } = &mut self.agent {
            early.clear();
            *early_bytes = 0;
        }
        for played in &cut {
            self.record_played(*played);
        }
        if let Some(sid) = &self.stream {
            let mut clear = String::new();
            message::write_clear(&mut clear, sid);
            self.outputs.push_back(Output::ToPhone(clear));
            self.capture(Capture::AgentCleared { at: self.now });
        }
        self.counts.interruptions += 1;
        let reaction_ms = self.floor.speaking_ms(self.now).filter(|_| was_speaking);
        if let Some(reaction_ms) = reaction_ms {
            self.outputs.push_back(Output::Measure(Measure::BargeIn { reaction_ms }));
        }
        self.record(TimelineKind::Interruption { event_id, reaction_ms, decided_by: decided_by.into() });
    }

    /// Says something to the agent, if there is one to listen.
    pub(super) fn tell(&mut self, tell: Tell<'_>) {
        if !matches!(self.agent, AgentState::Live { .. }) {
            return;
        }
        let mut text = String::new();
        match tell {
            Tell::Context { id, text: told } => self.leg.write_context(&mut text, id, told),
            Tell::Caller(words) => self.leg.write_user_message(&mut text, words),
        }
        self.outputs.push_back(Output::ToAgent(text));
    }

    fn tool_call(&mut self, id: &str, name: &str, parameters: String) {
        if self.tools.seen.contains(id) {
            self.problem("agent", "tool_call_repeated");
            return;
        }
        if self.tools.open.len() >= TOOLS_OPEN_MAX || self.tools.seen.len() >= TOOLS_SEEN_MAX {
            // Not remembered, so not answered twice either: the answer goes out here and now.
            self.problem("agent", "too_many_tool_calls");
            let mut text = String::new();
            self.leg.write_tool_result(&mut text, id, r#"{"error":"too many tool calls"}"#, true);
            self.outputs.push_back(Output::ToAgent(text));
            return;
        }
        self.tools.seen.insert(id.to_owned());
        let give_up_at = self.now.plus_ms(self.config.tool_timeout_ms);
        self.tools.open.insert(id.to_owned(), (name.to_owned(), give_up_at));
        self.record(TimelineKind::ToolCall {
            tool_call_id: id.to_owned(),
            name: name.to_owned(),
            parameters: parameters.clone(),
        });
        self.outputs.push_back(Output::RunTool { id: id.to_owned(), name: name.to_owned(), parameters });
    }

    pub(super) fn tool_done(&mut self, id: &str, outcome: ToolOutcome) {
        let Some((name, _)) = self.tools.open.remove(id) else { return };
        if let Some(effect) = outcome.effect {
            self.apply_effect(effect);
        }
        let mut text = String::new();
        self.leg.write_tool_result(&mut text, id, &outcome.result, outcome.is_error);
        if matches!(self.agent, AgentState::Greeting { .. } | AgentState::Live { .. }) {
            self.outputs.push_back(Output::ToAgent(text));
        }
        self.record(TimelineKind::ToolResult {
            tool_call_id: id.to_owned(),
            name,
            result: outcome.result,
            is_error: outcome.is_error,
        });
    }

    pub(super) fn agent_closed(&mut self, close: &AgentClose) {
        let (attempt, greeting) = match self.agent {
            AgentState::Greeting { attempt, .. } => (attempt, true),
            AgentState::Live { attempt, .. } | AgentState::Connecting { attempt } => (attempt, false),
            _ => return,
        };
        self.uplink.close();
        let code = match close {
            AgentClose::Frame { code, .. } => *code,
            AgentClose::NoFrame => 1006,
            AgentClose::WeClosed => return,
        };
        let mut reaction = classify_close(close);
        let announced = !greeting && self.ending.is_ending();
        let spoken = self.counts.agent_audio_seen || self.counts.clinical_content;
        if announced {
            // The goodbye was said: how the line went down after it makes no failure of the call.
            reaction = CloseReaction::Finished;
        } else if reaction == CloseReaction::Finished && (greeting || !spoken) {
            // It ended "normally" before it began: that is no conversation.
            reaction = CloseReaction::Retry;
        }
        if reaction == CloseReaction::Finished {
            self.agent = AgentState::Finished;
            self.uplink.end();
            self.playout.complete(None);
            self.ending.drain(self.now, self.playout.remaining_ms(self.now));
            return;
        }
        self.agent_lost(attempt, reaction, format!("close_{code}"));
    }

    pub(super) fn agent_connect_failed(&mut self, failure: ConnectFailure) {
        let AgentState::Connecting { attempt } = self.agent else { return };
        let reason = match failure {
            ConnectFailure::Http { status } => format!("http_{status}"),
            ConnectFailure::Timeout => "connect_timeout".to_owned(),
            ConnectFailure::Network => "network".to_owned(),
            ConnectFailure::ClosedAtOnce { code } => format!("close_{code}"),
            ConnectFailure::BadResponse => "bad_response".to_owned(),
        };
        self.agent_lost(attempt, classify_connect(&failure), reason);
    }

    /// Tries again where that is allowed: never after the caller has told something, because a new conversation would
    /// not know it.
    fn agent_lost(&mut self, attempt: u32, reaction: CloseReaction, reason: String) {
        let may_retry =
            !self.counts.clinical_content && attempt < self.config.agent_attempts && !self.ending.is_ending();
        let waits = match reaction {
            CloseReaction::Retry | CloseReaction::Finished => RETRY_AFTER_MS,
            CloseReaction::BackOff => BACK_OFF_MS,
            CloseReaction::Alert => {
                self.give_up(&reason, true);
                return;
            }
        };
        if may_retry {
            let service = self.leg.service().into();
            self.record(TimelineKind::AgentFailed { service, reason, action: "retry".into() });
            self.silence_phone();
            let wait = waits.get(attempt as usize - 1).or(waits.last()).copied().unwrap_or(1_000);
            self.connect_agent(attempt + 1, wait);
        } else {
            self.give_up(&reason, false);
        }
    }

    /// No agent can carry this call on.
    pub(super) fn give_up(&mut self, reason: &str, configuration: bool) {
        self.uplink.close();
        self.agent = AgentState::Failed;
        let service = self.leg.service();
        let action = if configuration { "alert" } else { "give_up" };
        self.record(TimelineKind::AgentFailed {
            service: service.into(),
            reason: reason.into(),
            action: action.into(),
        });
        if configuration {
            let reason = reason.to_owned();
            self.outputs.push_back(Output::Alert(Alert::AgentConfiguration { service, reason }));
        }
        self.silence_phone();
        if self.stream.is_some() {
            self.finish(clinic::EndCause::AgentFailed);
        }
    }

    /// Half a sentence of an agent that is gone must not keep playing.
    fn silence_phone(&mut self) {
        if !self.playout.is_speaking(self.now) {
            return;
        }
        for played in self.playout.interrupt(self.now, Some(i64::MAX)) {
            self.record_played(played);
        }
        if let Some(sid) = &self.stream {
            let mut clear = String::new();
            message::write_clear(&mut clear, sid);
            self.outputs.push_back(Output::ToPhone(clear));
            self.capture(Capture::AgentCleared { at: self.now });
        }
    }

    /// From now on both can hear each other: the agent has to say something within its time.
    pub(super) fn expect_first_word(&mut self) {
        let listening = matches!(self.agent, AgentState::Live { queued: false, .. }) && self.stream.is_some();
        let expected = listening && !self.agent_spoke;
        self.first_word_by = expected.then(|| self.now.plus_ms(self.config.agent_first_word_ms));
    }

    /// What became of a reply.
    pub(super) fn record_played(&mut self, played: crate::playout::Played) {
        self.record(TimelineKind::AgentTurnPlayed {
            turn: played.turn,
            sent_ms: played.sent_ms,
            heard_ms: played.heard_ms,
            interrupted: played.interrupted,
        });
    }

    pub(super) fn agent_on_time(&mut self) {
        if let AgentState::Greeting { attempt, give_up_at, .. } = self.agent
            && give_up_at <= self.now
        {
            self.outputs.push_back(Output::CloseAgent);
            self.agent_lost(attempt, CloseReaction::Retry, "no_metadata".to_owned());
        }
        if let AgentState::Live { attempt, .. } = self.agent
            && self.first_word_by.is_some_and(|by| by <= self.now)
        {
            self.uplink.close();
            self.outputs.push_back(Output::CloseAgent);
            self.agent_lost(attempt, CloseReaction::Retry, "no_first_word".to_owned());
        }
        let now = self.now;
        let late: Vec<String> =
            self.tools.open.iter().filter(|(_, (_, at))| *at <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            let result = r#"{"error":"the tool did not answer in time"}"#.to_owned();
            self.tool_done(&id, ToolOutcome { result, is_error: true, effect: None });
        }
        if self.uplink.dropped_ms() > 0 && !self.counts.uplink_drop_recorded {
            self.counts.uplink_drop_recorded = true;
            let milliseconds = self.uplink.dropped_ms();
            self.record(TimelineKind::AudioDropped { direction: "to_agent".into(), milliseconds });
        }
        for played in self.playout.take_played(self.now) {
            self.record_played(played);
        }
    }

    pub(super) fn agent_deadline(&self) -> Option<Tick> {
        let greeting = match self.agent {
            AgentState::Greeting { give_up_at, .. } => Some(give_up_at),
            _ => None,
        };
        self.tools.open.values().map(|(_, at)| *at).chain(greeting).chain(self.first_word_by).min()
    }

    /// True when an agent ever joined the call.
    pub(super) fn agent_joined(&self) -> bool {
        !self.agents.is_empty()
    }
}

//! What the agent does to a call: connecting, speaking, being interrupted, asking for tools, going away.

use super::{Call, Capture, Measure, Output, Tell};
use crate::Tick;
use crate::agent::close::{classify_close, classify_connect};
use crate::agent::elevenlabs::QueueStatus;
use crate::agent::{AgentClose, AgentEvent, AudioFormat, CloseReaction, ConnectFailure};
use crate::engine::switch::WORDS_REFUSED;
use crate::engine::transcode::Transcode;
use crate::engine::watch::Watch;
use crate::playout::Refused;
use crate::twilio::message;
use crate::uplink::SAMPLES_PER_MS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clinic::TimelineKind;
use clinic::tools::ToolOutcome;
use std::collections::BTreeMap;

/// Agent audio that may come before its format is known, as base64. A greeting of a minute at 48 kHz.
const EARLY_AUDIO_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Replies that wait for what they answer to be written down, and how long. More of them: the oldest wait no longer.
const HELD_MAX: usize = 8;
const HELD_MS: u64 = 3_000;
/// The announced error of a conversation that we may not begin with words of our own.
const OVERRIDE: &str = "error_override_error";

/// Tool requests an agent may have open at once, and in one call altogether.
const TOOLS_OPEN_MAX: usize = 16;
const TOOLS_SEEN_MAX: usize = 512;

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
    /// No agent carries the call: the questions are call instructions.
    Scripted,
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
        self.watch = Watch::default();
        self.leg.begin();
        self.playout.new_conversation();
        let member = self.leg.member();
        self.outputs.push_back(Output::ConnectAgent { member, attempt, not_before: self.now.plus_ms(wait_ms) });
    }

    pub(super) fn agent_open(&mut self) {
        let AgentState::Connecting { attempt } = self.agent else { return };
        let hello = self.leg.hello();
        self.tell_agent(hello);
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
            Ok(event) => {
                self.watch.heard(self.now, matches!(event, AgentEvent::Ping { .. }));
                self.agent_event(event);
            }
            Err(error) => {
                self.watch.garbage();
                self.problem("agent", error.code());
            }
        }
        if !self.leg.awaits_transcript() {
            self.flush_held();
        }
        self.leg_messages();
    }

    /// Words that waited for what they answer are taken for said now.
    pub(super) fn flush_held(&mut self) {
        while let Some((_, text, event_id)) = self.held.pop_front() {
            self.record(TimelineKind::AgentResponse { text, event_id });
        }
    }

    /// Sends what the leg wrote, if anything.
    fn tell_agent(&mut self, message: Option<String>) {
        self.outputs.extend(message.map(Output::ToAgent));
        self.leg_messages();
    }

    /// Sends what the leg has to send by itself.
    fn leg_messages(&mut self) {
        while let Some(message) = self.leg.next_message() {
            self.outputs.push_back(Output::ToAgent(message));
        }
    }

    fn agent_event(&mut self, event: AgentEvent<'_>) {
        match event {
            AgentEvent::Audio { base64, event_id, .. } => self.agent_audio(event_id, &base64),
            AgentEvent::Ping { event_id, .. } => {
                let pong = self.leg.pong(event_id);
                self.tell_agent(pong);
            }
            AgentEvent::Metadata { conversation_id, agent_output, user_input } => {
                self.agent_metadata(conversation_id, &agent_output, user_input.as_deref());
            }
            // A service that only hears the caller speak says so also when there is nothing to interrupt.
            AgentEvent::Interruption { .. }
                if matches!(self.leg, crate::agent::AgentLeg::Realtime(_)) && !self.playout.is_speaking(self.now) =>
            {
                self.watch.nothing_due();
            }
            AgentEvent::Interruption { event_id, .. } => {
                if matches!(self.leg, crate::agent::AgentLeg::Realtime(_)) {
                    // It does not hang up by itself: who still speaks is listened to.
                    self.ending.goodbye_withdrawn();
                }
                self.interrupt(event_id, "agent");
            }
            AgentEvent::UserTranscript { text, .. } => {
                self.counts.transcript_turns += 1;
                // The service writes "..." when it understood nothing.
                let has_words = text.chars().any(char::is_alphanumeric);
                self.counts.clinical_content |= has_words;
                if has_words && !self.watch.has_answered(self.floor.last_words()) {
                    self.watch.answer_due(self.now);
                }
                self.record(TimelineKind::UserTranscript { text: text.into_owned() });
            }
            AgentEvent::AgentResponse { text, event_id } => {
                if !self.playout.is_speaking(self.now) && !text.trim().is_empty() {
                    self.watch.answer_due(self.now);
                }
                self.watch.words(event_id, &text);
                let waits = self.leg.awaits_transcript() && self.held.len() < HELD_MAX;
                if !waits {
                    self.flush_held();
                    self.record(TimelineKind::AgentResponse { text: text.into_owned(), event_id });
                } else {
                    // What the caller said is written down later than the reply to it here, and must come before it.
                    self.held.push_back((self.now.plus_ms(HELD_MS), text.into_owned(), event_id));
                }
            }
            AgentEvent::AgentResponseCorrection { original, corrected, event_id } => {
                self.record(TimelineKind::AgentCorrection {
                    original: original.into_owned(),
                    corrected: corrected.into_owned(),
                    event_id,
                });
            }
            AgentEvent::AgentResponseComplete { event_id } => self.playout.complete(event_id),
            AgentEvent::ToolCall { name, id, .. } if self.leg.owns_tool(&name) => self.own_tool(&id, &name),
            AgentEvent::ToolCall { name, id, parameters, .. } => self.tool_call(&id, &name, parameters),
            AgentEvent::AgentToolResponse { tool_name, is_called, is_error, .. } => {
                if tool_name == "end_call" && is_called && !is_error {
                    self.goodbye();
                } else if is_called && !is_error {
                    if tool_name == "skip_turn" {
                        // It listens on purpose.
                        self.watch.listens(self.now);
                    }
                    self.outputs.push_back(Output::SystemTool(tool_name.into_owned()));
                }
            }
            AgentEvent::Error { code, error_type, .. } => {
                self.agent_error(code, error_type.as_deref());
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

    /// The agent ends the call.
    fn goodbye(&mut self) {
        self.playout.complete(None);
        self.ending.agent_said_goodbye(self.now, self.playout.remaining_ms(self.now));
        self.watch.nothing_due();
    }

    /// A tool that other services have of their own.
    fn own_tool(&mut self, id: &str, name: &str) {
        if name == "end_call" {
            return self.goodbye();
        }
        let answer = self.leg.tool_result(id, "ok", false);
        self.tell_agent(answer);
        self.outputs.push_back(Output::SystemTool(name.to_owned()));
    }

    /// An announced error is mostly followed by a close; where it is not, it counts as one unless the agent goes on.
    fn agent_error(&mut self, code: Option<i64>, error_type: Option<&str>) {
        let reaction = self.leg.judge_error(code, error_type);
        if reaction != CloseReaction::Finished {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            let kind: String = error_type.unwrap_or("unknown").chars().take(48).map(plain).collect();
            self.watch.error(self.now, format!("error_{kind}"), reaction);
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
            self.agent_lost(attempt, CloseReaction::Alert, "unsupported_audio_format");
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
        self.watch.queued(self.now, now_queued);
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
        if !std::mem::replace(&mut self.agent_spoke, true) {
            self.switch.over();
            self.outputs.push_back(Output::Measure(Measure::AgentSpoke));
        }
        self.first_word_by = None;
        self.watch.spoke(self.now, self.config.agent_slow_ms);
        self.watch.sound(self.now, event_id, ulaw.len() as u64 / SAMPLES_PER_MS);
        match self.playout.push(self.now, event_id, ulaw) {
            Ok(()) => self.agent_sound_until = self.now.plus_ms(self.playout.remaining_ms(self.now)),
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
        self.agent_sound_until = self.agent_sound_until.min(self.now);
        self.flush_held();
        let heard_ms = cut.last().map_or(0, |played| played.heard_ms);
        if heard_ms == 0 && !local {
            // Words that nobody has heard are still owed, whatever the service took for an interruption.
            self.watch.answer_due(self.now);
        } else {
            self.watch.nothing_due();
        }
        // Whoever talks over a phrase of ours has heard the agent's last words long before.
        if !cut.is_empty() {
            if let Some((original, corrected)) = self.leg.interrupted(heard_ms) {
                self.record(TimelineKind::AgentCorrection { original, corrected, event_id });
            }
            self.leg_messages();
        }
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
        let message = match tell {
            Tell::Context { id, text } => self.leg.context(id, text),
            Tell::Caller(words) => {
                self.watch.answer_due(self.now);
                self.leg.user_message(words)
            }
        };
        self.tell_agent(message);
    }

    fn tool_call(&mut self, id: &str, name: &str, parameters: String) {
        if self.tools.seen.contains(id) {
            self.problem("agent", "tool_call_repeated");
            return;
        }
        if self.tools.open.len() >= TOOLS_OPEN_MAX || self.tools.seen.len() >= TOOLS_SEEN_MAX {
            // Not remembered, so not answered twice either: the answer goes out here and now.
            self.problem("agent", "too_many_tool_calls");
            let refusal = self.leg.tool_result(id, r#"{"error":"too many tool calls"}"#, true);
            self.tell_agent(refusal);
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
        if matches!(self.agent, AgentState::Greeting { .. } | AgentState::Live { .. }) {
            let result = self.leg.tool_result(id, &outcome.result, outcome.is_error);
            self.tell_agent(result);
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
        // Why it went may stand in the frame, or in an error before it, or in both.
        let announced_error = if announced { None } else { self.watch.worse_error(reaction) };
        if let Some((_, worse)) = &announced_error {
            reaction = *worse;
        }
        if reaction == CloseReaction::Finished && !announced && self.unfinished && self.has_successor() {
            // It thinks that it is through, and the visit is not.
            return self.agent_lost(attempt, CloseReaction::Next, "ended_early");
        }
        if reaction == CloseReaction::Finished {
            self.agent = AgentState::Finished;
            self.uplink.end();
            self.playout.complete(None);
            self.ending.drain(self.now, self.playout.remaining_ms(self.now));
            return;
        }
        let error = announced_error.as_ref().map(|(reason, _)| reason.as_str());
        let refused = reaction == CloseReaction::Alert
            && self.leg.opens_with_words()
            && (refuses_words(close) || error == Some(OVERRIDE));
        if refused {
            // It does not permit us to say how it begins. Then it greets, and learns afterwards where the visit stands.
            self.words_refused = true;
            self.leg.open_with(None);
            reaction = CloseReaction::Retry;
        }
        let reason = match announced_error {
            _ if refused => WORDS_REFUSED.to_owned(),
            Some((reason, _)) => reason,
            None => format!("close_{code}"),
        };
        self.agent_lost(attempt, reaction, &reason);
    }

    pub(super) fn agent_connect_failed(&mut self, failure: ConnectFailure) {
        let AgentState::Connecting { attempt } = self.agent else { return };
        self.agent_lost(attempt, classify_connect(&failure), &failure.reason());
    }

    /// Half a sentence of an agent that is gone must not keep playing.
    pub(super) fn silence_phone(&mut self) {
        self.agent_sound_until = self.agent_sound_until.min(self.now);
        if !self.playout.has_replies() {
            // Nothing, or words of ours, which are no half sentence of anybody's.
            return;
        }
        let sounds = self.playout.is_speaking(self.now);
        for played in self.playout.interrupt(self.now, Some(i64::MAX)) {
            self.record_played(played);
        }
        if let Some(sid) = self.stream.as_ref().filter(|_| sounds) {
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
        if self.held.front().is_some_and(|(until, _, _)| *until <= self.now) {
            self.flush_held();
        }
        if let AgentState::Greeting { attempt, give_up_at, .. } = self.agent
            && give_up_at <= self.now
        {
            self.outputs.push_back(Output::CloseAgent);
            self.agent_lost(attempt, CloseReaction::Retry, "no_metadata");
        }
        if let AgentState::Live { attempt, .. } = self.agent
            && self.first_word_deadline().is_some_and(|by| by <= self.now)
        {
            self.outputs.push_back(Output::CloseAgent);
            self.agent_lost(attempt, CloseReaction::Retry, "no_first_word");
        }
        if let Some((reason, reaction)) = self.failure_found()
            && let AgentState::Greeting { attempt, .. } | AgentState::Live { attempt, .. } = self.agent
        {
            self.outputs.push_back(Output::CloseAgent);
            self.agent_lost(attempt, reaction, &reason);
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
        let tools = self.tools.open.values().map(|(_, at)| *at);
        let held = self.held.front().map(|(until, _, _)| *until);
        tools.chain(held).chain(greeting).chain(self.first_word_deadline()).chain(self.watch_deadline()).min()
    }

    /// True when an agent ever joined the call.
    pub(super) fn agent_joined(&self) -> bool {
        !self.agents.is_empty()
    }
}

/// Whether a conversation was refused because we said how it shall begin.
fn refuses_words(close: &AgentClose) -> bool {
    matches!(close, AgentClose::Frame { reason, .. } if reason.contains("first_message"))
}

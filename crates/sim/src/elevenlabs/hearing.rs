//! The conversation's inbound half: what the client sends, turns of the caller, and timers.

use super::conversation::{Conversation, Out, Planned, State};
use super::init::Init;
use super::script::Beat;
use super::{Fault, events};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

/// Caller audio kept for tests: 20 minutes of mu-law.
const KEPT_AUDIO: usize = 9_600_000;
/// Longest turn of a caller before the agent goes on, in milliseconds.
const LONGEST_TURN_MS: u64 = 40_000;

impl Conversation {
    /// A text frame of the client.
    pub fn handle_text(&mut self, now: u64, text: &str) {
        if matches!(self.state, State::Ending | State::Ended) {
            return;
        }
        let Ok(Value::Object(message)) = serde_json::from_str::<Value>(text) else {
            return self.invalid(now, "not a JSON object");
        };
        let message = Value::Object(message);
        if let Some(audio) = message.get("user_audio_chunk") {
            *self.stats.received.entry("user_audio_chunk".to_owned()).or_default() += 1;
            return match audio.as_str().map(|audio| STANDARD.decode(audio)) {
                Some(Ok(bytes)) => self.handle_audio(now, &bytes),
                _ => self.invalid(now, "user_audio_chunk is not base64"),
            };
        }
        let kind = message.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        *self.stats.received.entry(kind.clone()).or_default() += 1;
        if kind != "pong" {
            self.last_input = now;
        }
        match kind.as_str() {
            "conversation_initiation_client_data" => self.handle_init(now, message),
            "pong" => self.handle_pong(now, &message),
            "client_tool_result" => self.handle_tool_result(now, &message),
            "user_message" | "multimodal_message" => {
                let text = message.pointer("/text/text").or_else(|| message.get("text")).and_then(Value::as_str);
                let Some(text) = text.map(str::to_owned) else { return };
                if self.script.follows() && text.contains("exactly: \"") {
                    self.note_context("red_flag", &text);
                    if matches!(self.state, State::Listening { .. }) {
                        self.script.beats.insert(self.beat, Beat::Follow);
                        self.state = State::Ready;
                    }
                } else if matches!(self.state, State::Listening { .. }) {
                    self.turn_done(now, Some(text));
                }
            }
            "user_activity" => {
                if let State::Listening { since, .. } = &mut self.state {
                    *since = now;
                }
            }
            "contextual_update" => {
                let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
                self.note_context(text("context_id"), text("text"));
            }
            "feedback" | "mcp_tool_approval_result" => {}
            _ => self.invalid(now, &format!("unknown message type '{kind}'")),
        }
    }

    /// A binary frame of the client, which the protocol does not know.
    pub fn handle_binary(&mut self, now: u64) {
        self.invalid(now, "binary frame");
    }

    fn invalid(&mut self, now: u64, what: &str) {
        self.stats.protocol_errors.push(what.to_owned());
        self.fail(now, 1008, "invalid_message", &format!("Invalid message received: {what}"));
    }

    fn handle_init(&mut self, now: u64, message: Value) {
        if !matches!(self.state, State::AwaitInit { .. }) {
            self.stats.protocol_errors.push("init message too late or twice".to_owned());
            return;
        }
        if message.get("conversation_initiation_client_data").is_some() {
            self.stats.protocol_errors.push("init content nested under its type".to_owned());
        }
        let init = Init::read(&message, &self.config);
        self.stats.init = Some(message);
        match init {
            Ok(init) => self.begin(now, init),
            Err(refusal) => {
                self.started = Some(now);
                self.fail(now, 1008, refusal.error_type, &refusal.reason);
            }
        }
    }

    /// A piece of the caller's voice, in the input format.
    pub(crate) fn handle_audio(&mut self, now: u64, bytes: &[u8]) {
        if matches!(self.state, State::AwaitInit { .. }) && !self.held {
            self.stats.protocol_errors.push("audio before the init message".to_owned());
        }
        self.last_input = now;
        let began = self.started.unwrap_or(now);
        self.stats.arrivals.push((now.saturating_sub(began), bytes.len()));
        let room = KEPT_AUDIO.saturating_sub(self.stats.caller_audio.len());
        self.stats.caller_audio.extend(bytes.iter().take(room));
        if self.text_only {
            return;
        }
        self.ear.push(bytes);
        if now >= self.next_vad && self.asks_for("vad_score") {
            self.next_vad = now + 250;
            let score = if self.ear.is_speaking() { 0.93 } else { 0.04 };
            self.event(now, events::vad_score(score));
        }
        let can_interrupt = self.config.client_events.is_none() || self.asks_for("interruption");
        let speaking = now < self.reply.until;
        if speaking && self.reply.interruptible && can_interrupt && self.ear.is_barging_in() {
            self.interrupt(now);
        }
        if matches!(self.state, State::Listening { .. }) && now >= self.reply.until && self.ear.tentative_due() {
            let id = self.new_id();
            let State::Listening { listen, .. } = &self.state else { return };
            let words: Vec<&str> = listen.transcript.split(' ').take(2).collect();
            let text = words.join(" ");
            self.event(now, events::tentative_user_transcript(id, &text));
        }
    }

    fn handle_pong(&mut self, now: u64, message: &Value) {
        let id = message.get("event_id").and_then(Value::as_u64);
        match id.and_then(|id| self.pings.remove(&id)) {
            Some(sent) => {
                let rtt = now.saturating_sub(sent);
                self.rtt = Some(rtt);
                self.stats.slowest_pong_ms = self.stats.slowest_pong_ms.max(rtt);
            }
            None => self.stats.protocol_errors.push("pong without its ping".to_owned()),
        }
    }

    pub(super) fn call_tool(&mut self, now: u64, name: &str, mut parameters: Value) {
        if let Some(map) = parameters.as_object_mut() {
            for value in map.values_mut().filter(|value| *value == "$answer") {
                *value = json!(self.answer);
            }
        }
        let (event_id, id) = (self.new_id(), format!("tc_{}_{}", self.beat, self.rng.hex(8)));
        self.event(now, events::agent_tool_request(event_id, &id, name, "client"));
        let copies = if self.faults.has(Fault::DuplicateToolCall) { 2 } else { 1 };
        for _ in 0..copies {
            self.event(now, events::client_tool_call(event_id, &id, name, &parameters));
        }
        let until = now + self.config.tool_timeout.as_millis() as u64;
        self.state = State::Tool { id, name: name.to_owned(), until };
    }

    fn handle_tool_result(&mut self, now: u64, message: &Value) {
        let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(result), Some(is_error)) =
            (text("tool_call_id"), text("result"), message.get("is_error").and_then(Value::as_bool))
        else {
            self.stats.protocol_errors.push("client_tool_result lacks a field".to_owned());
            return self.fail(now, 1008, "missing_fields", "client_tool_result lacks a field");
        };
        if self.stats.tool_results.iter().any(|(known, ..)| *known == id) {
            self.stats.protocol_errors.push(format!("second result for {id}"));
            return;
        }
        self.note_tool_result(&result);
        self.stats.tool_results.push((id.clone(), result, is_error));
        match &self.state {
            State::Tool { id: open, name, .. } if *open == id => {
                let name = name.clone();
                self.tool_finished(now, &id, &name, is_error);
            }
            _ => self.stats.protocol_errors.push(format!("result for {id}, which nobody waits for")),
        }
    }

    pub(super) fn tool_finished(&mut self, now: u64, id: &str, name: &str, is_error: bool) {
        let event_id = self.new_id();
        self.event(now, events::agent_tool_response(event_id, id, name, "client", is_error));
        let think = self.faults.find(|f| if let Fault::SlowTool(d) = f { Some(d) } else { None });
        self.state = State::Until(now + think.unwrap_or(Duration::ZERO).as_millis() as u64);
    }

    /// Ends the caller's turn, or repeats the question, when it is time.
    pub(super) fn check_turn(&mut self, now: u64) -> bool {
        let State::Listening { listen, since } = self.state.clone() else { return false };
        if now < self.reply.until {
            return false;
        }
        let waited = now.saturating_sub(since.max(self.reply.until));
        if self.ear.has_speech() {
            if self.ear.silence_ms() >= listen.end_silence_ms || waited > LONGEST_TURN_MS {
                self.turn_done(now, None);
                return true;
            }
            return false;
        }
        if self.held || waited < listen.patience_ms || self.ear.is_speaking() {
            return false;
        }
        self.unanswered += 1;
        self.answer = "unanswered".to_owned();
        if self.unanswered >= 2 && self.script.follows() {
            // The client decides what that means.
            self.unanswered = 0;
            self.state = State::Ready;
        } else if self.unanswered >= 2 {
            // Nobody there: say goodbye.
            let last = self.script.beats.iter().rposition(|beat| matches!(beat, Beat::Say { .. }));
            self.beat = last.map_or(self.beat, |last| last.max(self.beat));
            self.state = State::Ready;
        } else {
            let text = crate::assets::clip("agent_repeat").map(|clip| clip.text.into_owned()).unwrap_or_default();
            let beat = self.reply.beat;
            self.say(now, &text, Some("agent_repeat"), true, beat);
            // The same turn is listened to again.
            self.beat -= 1;
        }
        true
    }

    /// The caller has said something.
    fn turn_done(&mut self, now: u64, typed: Option<String>) {
        let State::Listening { listen, .. } = self.state.clone() else { return };
        let words = self.ear.words();
        let known = typed.clone().or(words.text);
        let text = known.unwrap_or_else(|| listen.transcript.clone());
        self.answer = typed.clone().or(words.meaning).unwrap_or(listen.meaning);
        self.unanswered = 0;
        self.stats.transcript.push(("user".to_owned(), text.clone()));
        if typed.is_none() {
            let id = self.new_id();
            self.event(now, events::user_transcript(id, &text));
        }
        // Thinking takes 120 to 280 ms.
        self.state = State::Until(now + self.rng.between(120, 280));
        if self.interrupted && !self.repeated {
            // The question was not heard to its end: ask it again.
            self.repeated = true;
            self.beat = self.reply.beat;
        } else {
            self.repeated = false;
        }
        self.interrupted = false;
        self.ear.reset();
    }

    pub(super) fn check_timers(&mut self, now: u64) {
        let Some(started) = self.started else { return };
        if matches!(self.state, State::Ending | State::Ended) {
            return;
        }
        let age = Duration::from_millis(now.saturating_sub(started));
        if self.faults.find(|f| if let Fault::Drop(at) = f { Some(at) } else { None }).is_some_and(|at| age >= at) {
            return self.end_now(now, Out::Drop);
        }
        let close = self.faults.find(|f| if let Fault::Close { code, at } = f { Some((code, at)) } else { None });
        if let Some((code, at)) = close
            && age >= at
        {
            let (error_type, reason) = match code {
                1008 => ("override_error", "Override for field 'first_message' is not allowed by config."),
                1002 => ("llm_timeout", "LLM did not answer in time"),
                3008 => ("", "too many concurrent connections"),
                _ => ("unknown_websocket_crash", "internal error"),
            };
            return self.fail(now, code, error_type, reason);
        }
        let silent_for = Duration::from_millis(now.saturating_sub(self.last_input));
        if silent_for >= self.config.input_timeout {
            return self.fail(now, 1002, "transport_receive_timeout", "No user input received");
        }
        if age >= self.config.max_duration {
            return self.fail(now, 1000, "max_duration_exceeded", "Maximum duration exceeded");
        }
        if now >= self.next_ping {
            self.next_ping = now + self.config.ping_interval.as_millis().max(20) as u64;
            let id = self.new_id();
            self.pings.insert(id, now);
            let rtt = if self.faults.has(Fault::NoPingMs) { None } else { Some(self.rtt) };
            self.plan(now, Planned::Event(events::ping(id, rtt)));
        }
    }

    /// Ends at once, throwing away what was planned.
    fn end_now(&mut self, now: u64, out: Out) {
        self.clear_outbox();
        self.end(now, out);
    }
}

//! The simulated agent itself: a state machine that is handed messages and the time, and hands out frames.

use super::ear::Ear;
use super::init::Init;
use super::script::{Beat, Listen, Script};
use super::speech::{AudioFormat, cut};
use super::{ConversationStats, Fault, Faults, LateAudio, SimConfig, events};
use crate::rng::Rng;
use crate::sound::synth;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Marks late audio after an interruption: a tone nobody speaks with, so tests can tell whether it was heard.
pub const LATE_TONE_HZ: f64 = 1_000.0;
/// What comes out of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Out {
    /// Send this text frame.
    Text(String),
    /// Send a close frame; nothing follows.
    Close {
        /// Close code.
        code: u16,
        /// Close reason.
        reason: String,
    },
    /// Drop the connection without a close frame; nothing follows.
    Drop,
}

/// A frame waiting for its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Planned {
    Event(Value),
    Raw(String),
    Audio { event_id: u64, bytes: Vec<u8>, alignment: bool, is_final: bool },
    End(Out),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    AwaitInit {
        until: u64,
    },
    /// Ready for the next beat.
    Ready,
    Until(u64),
    Listening {
        listen: Listen,
        since: u64,
    },
    Tool {
        id: String,
        name: String,
        until: u64,
    },
    /// Alive, but nothing more to say.
    Mute,
    /// An end is planned.
    Ending,
    Ended,
}

/// What the agent is saying, or said last.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) text: String,
    pub(super) began: u64,
    /// When it will have been played, as far as the server can know.
    pub(super) until: u64,
    pub(super) interruptible: bool,
    pub(super) beat: usize,
}

/// One conversation with one client. Times are milliseconds since the connection was opened.
#[derive(Debug)]
pub struct Conversation {
    pub(super) config: Arc<SimConfig>,
    pub(super) faults: Faults,
    pub(super) rng: Rng,
    pub(super) stats: ConversationStats,
    pub(super) script: Script,
    pub(super) beat: usize,
    pub(super) state: State,
    outbox: BTreeMap<(u64, u64), Planned>,
    planned: u64,
    next_id: u64,
    pub(super) reply: Reply,
    pub(super) ear: Ear,
    pub(super) started: Option<u64>,
    pub(super) last_input: u64,
    pub(super) text_only: bool,
    pub(super) next_ping: u64,
    pub(super) pings: BTreeMap<u64, u64>,
    pub(super) rtt: Option<u64>,
    pub(super) next_vad: u64,
    pub(super) answer: String,
    pub(super) interrupted: bool,
    pub(super) repeated: bool,
    pub(super) unanswered: u32,
    said_anything: bool,
    /// What the client told, for an agent that follows it.
    pub(super) told: super::follow::Told,
    pub(super) patient_name: String,
    /// Somebody else decides when it may speak and act; see `driven`.
    pub(super) held: bool,
}

impl Conversation {
    /// A conversation that was opened at time 0.
    #[must_use]
    pub fn new(config: Arc<SimConfig>, faults: Faults, stats: ConversationStats, seed: u64) -> Self {
        Self {
            faults,
            rng: Rng::named(seed, "conversation"),
            stats,
            script: config.script.clone(),
            beat: 0,
            state: State::AwaitInit { until: config.init_timeout.as_millis() as u64 },
            outbox: BTreeMap::new(),
            planned: 0,
            next_id: 0,
            reply: Reply::default(),
            ear: Ear::new(config.input_format),
            started: None,
            last_input: 0,
            text_only: false,
            next_ping: u64::MAX,
            pings: BTreeMap::new(),
            rtt: None,
            next_vad: 0,
            answer: String::new(),
            interrupted: false,
            repeated: false,
            unanswered: 0,
            said_anything: false,
            told: super::follow::Told::default(),
            patient_name: String::new(),
            held: false,
            config,
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &ConversationStats {
        &self.stats
    }

    /// True when the last frame was handed out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The next frame that is due; call until `None`.
    pub fn poll(&mut self, now: u64) -> Option<Out> {
        if self.state == State::Ended {
            return None;
        }
        self.check_timers(now);
        while self.advance(now) {}
        let (&key, _) = self.outbox.iter().next().filter(|((due, _), _)| *due <= now)?;
        let planned = self.outbox.remove(&key)?;
        Some(self.emit(now, planned))
    }

    /// When [`Conversation::poll`] has to be called again at the latest.
    #[must_use]
    pub fn next_timeout(&self, now: u64) -> u64 {
        let state = match &self.state {
            State::AwaitInit { until } | State::Until(until) | State::Tool { until, .. } => *until,
            State::Ready if self.held => u64::MAX,
            State::Ready => now,
            State::Listening { .. } if self.held => u64::MAX,
            State::Listening { listen, since } => (*since).max(self.reply.until) + listen.patience_ms,
            State::Mute | State::Ending | State::Ended => u64::MAX,
        };
        let frame = self.outbox.keys().next().map_or(u64::MAX, |(due, _)| *due);
        // Timers of whole seconds need no precision.
        state.min(frame).min(self.next_ping).min(now + 250).max(now + 1)
    }

    /// The connection is gone; `code` if the client sent a close frame.
    pub fn closed(&mut self, now: u64, code: Option<u16>) {
        if self.stats.closed_by.is_empty() {
            self.stats.closed_by = if code.is_some() { "client" } else { "lost" }.to_owned();
            self.stats.close_code = code;
        }
        self.stats.duration_ms = now - self.started.unwrap_or(now).min(now);
        self.state = State::Ended;
        self.outbox.clear();
    }

    pub(super) fn begin(&mut self, now: u64, init: Init) {
        self.started = Some(now);
        self.last_input = now;
        self.text_only = init.text_only;
        let name = init.variables.get("patient_name").and_then(Value::as_str);
        if let Some((_, script)) = self.config.scripts_by_patient.iter().find(|(who, _)| Some(who.as_str()) == name) {
            self.script = script.clone();
        }
        self.patient_name = name.unwrap_or_default().to_owned();
        if self.script.follows() {
            let named = init.language.clone().or_else(|| Some(init.variables.get("language")?.as_str()?.to_owned()));
            self.script.greet(named.as_deref().unwrap_or("en"), &self.patient_name);
        }
        if let (Some(first), Some(Beat::Say { text, clip, .. })) = (init.first_message, self.script.beats.first_mut()) {
            (*text, *clip) = (first, None);
        }
        if !self.faults.has(Fault::NoMetadata) {
            let output = self.output_format().name();
            let id = self.stats.conversation_id.clone();
            self.plan(now, Planned::Event(events::metadata(&id, output, self.config.input_format.name())));
        }
        // The first ping takes id 0. Audio must not: the Python SDK drops audio with id 0 as if interrupted.
        self.next_ping = now;
        self.check_timers(now);
        // The JS client attaches its handlers only after metadata; a real agent takes longer than this to speak.
        self.state = State::Until(now + self.rng.between(120, 250));
        if let Some(wait) = self.faults.find(|f| if let Fault::QueueWaiting(d) = f { Some(d) } else { None }) {
            let until = now + wait.as_millis() as u64;
            self.event(now, events::queue_status("waiting"));
            self.plan(until, Planned::Event(events::queue_status("admitted")));
            self.state = State::Until(until);
        }
        if self.faults.has(Fault::Silent) {
            self.state = State::Mute;
        }
    }

    /// Does the next thing if it is due; false when there is nothing to do now.
    fn advance(&mut self, now: u64) -> bool {
        match &self.state {
            State::AwaitInit { until } if now >= *until => self.begin(now, Init::default()),
            State::Until(until) if now >= *until => self.state = State::Ready,
            State::Ready if self.held && self.would_act() => return false,
            State::Ready => self.perform(now),
            State::Tool { id, name, until } if now >= *until => {
                let (id, name) = (id.clone(), name.clone());
                self.tool_finished(now, &id, &name, true);
            }
            State::Listening { .. } => return self.check_turn(now),
            _ => return false,
        }
        true
    }

    fn perform(&mut self, now: u64) {
        let Some(beat) = self.script.beats.get(self.beat).cloned() else {
            return self.end(now + 100, Out::Close { code: 1000, reason: String::new() });
        };
        let index = self.beat;
        self.beat += 1;
        match beat {
            Beat::Say { text, clip, interruptible } => self.say(now, &text, clip.as_deref(), interruptible, index),
            Beat::Listen(listen) => {
                if !self.interrupted {
                    self.ear.reset();
                }
                self.state = State::Listening { listen, since: now };
            }
            Beat::Tool { name, parameters } => self.call_tool(now, &name, parameters),
            Beat::Wait(ms) => self.state = State::Until(now + ms),
            Beat::Event(event) => {
                let event = self.fill_ids(event);
                self.event(now, event);
            }
            Beat::Interrupt => self.interrupt(now),
            Beat::Audio { ms, id_offset, alignment, is_final } => {
                let event_id = match id_offset {
                    0 => self.reply.id,
                    1.. => self.new_id(),
                    _ => self.reply.id.saturating_sub(id_offset.unsigned_abs()),
                };
                let bytes = self.output_format().silence(ms);
                if !self.text_only {
                    self.plan(now, Planned::Audio { event_id, bytes, alignment, is_final });
                }
            }
            Beat::Follow => {
                let beats = self.follow();
                self.script.beats.splice(self.beat..self.beat, beats);
            }
            Beat::IfYes(then) => {
                if matches!(self.answer.as_str(), "yes" | "true") {
                    self.script.beats.insert(self.beat, *then);
                }
            }
            Beat::EndCall => {
                let (event_id, id) = (self.new_id(), format!("end_call_{}", self.beat));
                self.event(now, events::agent_tool_request(event_id, &id, "end_call", "system"));
                self.event(now, events::agent_tool_response(event_id, &id, "end_call", "system", false));
                self.end(now + 200, Out::Close { code: 1000, reason: String::new() });
            }
        }
    }

    /// Plans a reply: its text first, then its audio in bursts.
    pub(super) fn say(&mut self, now: u64, text: &str, clip: Option<&str>, interruptible: bool, beat: usize) {
        let id = self.new_id();
        self.reply = Reply { id, text: text.to_owned(), began: now, until: now, interruptible, beat };
        self.interrupted = false;
        self.stats.transcript.push(("agent".to_owned(), text.to_owned()));
        if self.text_only {
            self.event(now, events::chat_part(id, "start", ""));
            for word in text.split_inclusive(' ') {
                self.event(now, events::chat_part(id, "delta", word));
            }
            self.event(now, events::chat_part(id, "stop", ""));
            self.event(now, events::agent_response(id, text));
            self.state = State::Ready;
            return;
        }
        self.event(now, events::agent_response(id, text));
        let ulaw = clip.and_then(crate::assets::clip).map(|clip| clip.ulaw.to_vec());
        let ulaw = ulaw.or_else(|| crate::assets::agent_voice(text, &self.patient_name));
        let ulaw = ulaw.unwrap_or_else(|| synth::babble(text, self.config.seed));
        self.reply.until = now + ulaw.len() as u64 / 8;
        let format = self.output_format();
        let chunks = cut(&format.from_ulaw(&ulaw), format, self.faults.has(Fault::Trickle), &mut self.rng);
        let last = chunks.last().map_or(0, |chunk| chunk.due_ms);
        for chunk in chunks {
            let audio = Planned::Audio { event_id: id, bytes: chunk.bytes, alignment: false, is_final: false };
            self.plan(now + chunk.due_ms, audio);
        }
        if !self.said_anything {
            self.said_anything = true;
            self.plan_nonsense(now, id);
        }
        if self.asks_for("agent_response_complete") {
            self.plan(now + last, Planned::Event(events::agent_response_complete(id)));
        }
        self.state = State::Until(now + last + 20);
    }

    /// Faults that put strange frames behind the first words.
    fn plan_nonsense(&mut self, now: u64, id: u64) {
        if self.faults.has(Fault::UnknownEvent) {
            self.plan(now, Planned::Event(serde_json::json!({"type": "some_future_event", "x": {"y": [1, 2, 3]}})));
            self.plan(
                now,
                Planned::Event(serde_json::json!({"type": "rich_content", "rich_content": {
                "rich_content_id": "rc_1", "component": "item_card", "props": {}, "event_id": id}})),
            );
        }
        if self.faults.has(Fault::MalformedJson) {
            for text in [
                "{\"type\":\"audio\",\"audio_ev",
                "[]",
                "null",
                "{\"type\":\"audio\"}",
                "{\"type\":\"audio\",\"audio_event\":{\"audio_base_64\":\"***\",\"event_id\":1}}",
                "{\"type\":\"agent_response\",\"agent_response_event\":{\"agent_response\":7}}",
                "{\"type\":17}",
                "",
            ] {
                self.plan(now, Planned::Raw(text.to_owned()));
            }
        }
        if self.faults.has(Fault::Oversized) {
            let bytes = vec![0xFF; 2 << 20];
            self.plan(now, Planned::Audio { event_id: id, bytes, alignment: false, is_final: false });
        }
    }

    /// The caller spoke over the agent: what was not played yet is void.
    pub(super) fn interrupt(&mut self, now: u64) {
        let id = self.reply.id;
        self.outbox.retain(|_, planned| !matches!(planned, Planned::Audio { event_id, .. } if *event_id == id));
        self.stats.interruptions.push(id);
        self.event(now, events::interruption(id));
        let length = self.reply.until.saturating_sub(self.reply.began).max(1);
        let played = now.saturating_sub(self.reply.began).min(length) as f64 / length as f64;
        let words: Vec<&str> = self.reply.text.split(' ').collect();
        let kept = (words.len() as f64 * played).floor() as usize;
        let corrected =
            format!("{}...", words.get(..kept).unwrap_or_default().join(" ").trim_end_matches(['.', ',', '?', '!']));
        self.event(now, events::agent_response_correction(id, &self.reply.text, &corrected));
        self.reply.until = now;
        self.interrupted = true;
        for late in [LateAudio::Below, LateAudio::Equal, LateAudio::Above] {
            if !self.faults.has(Fault::Late(late)) {
                continue;
            }
            let event_id = match late {
                LateAudio::Below => id.saturating_sub(1),
                LateAudio::Equal => id,
                LateAudio::Above => self.new_id(),
            };
            let bytes = self.output_format().from_ulaw(&synth::tone(LATE_TONE_HZ, 200));
            self.plan(now + 150, Planned::Audio { event_id, bytes, alignment: false, is_final: false });
        }
        if matches!(self.state, State::Until(_)) {
            self.state = State::Ready;
        }
    }

    pub(super) fn has_planned(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Plans the end; nothing else happens until then.
    pub(super) fn end(&mut self, at: u64, out: Out) {
        // Audio on its way still arrives before the end.
        let after = self.outbox.keys().next_back().map_or(at, |(due, _)| (*due).max(at));
        self.plan(after, Planned::End(out));
        self.state = State::Ending;
    }

    /// Ends with an `error` event before it, where configured.
    pub(super) fn fail(&mut self, now: u64, code: u16, error_type: &str, reason: &str) {
        self.outbox.clear();
        if self.config.send_error_event && code < 3000 {
            self.plan(now, Planned::Event(events::error(code, error_type, reason)));
        }
        // A close reason has room for 123 bytes.
        let reason = reason
            .chars()
            .scan(0, |len, c| {
                *len += c.len_utf8();
                (*len <= 123).then_some(c)
            })
            .collect();
        self.end(now, Out::Close { code, reason });
    }

    pub(super) fn plan(&mut self, due: u64, planned: Planned) {
        self.outbox.insert((due, self.planned), planned);
        self.planned += 1;
    }

    /// Plans an event unless the agent's `client_events` leave it out.
    pub(super) fn event(&mut self, now: u64, event: Value) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let always = matches!(kind, "ping" | "conversation_initiation_metadata" | "error" | "queue_status");
        let wanted = self.config.client_events.as_ref().is_none_or(|list| list.iter().any(|name| name == kind));
        if always || wanted {
            self.plan(now, Planned::Event(event));
        }
    }

    /// Whether the agent's `client_events` ask for this event by name.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.config.client_events.as_ref().is_some_and(|list| list.iter().any(|event| event == name))
    }

    pub(super) fn clear_outbox(&mut self) {
        self.outbox.clear();
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn output_format(&self) -> AudioFormat {
        self.faults
            .find(|f| if let Fault::Format(format) = f { Some(format) } else { None })
            .unwrap_or(self.config.output_format)
    }

    fn fill_ids(&mut self, event: Value) -> Value {
        match event {
            Value::String(text) if text == "$id" => self.next_id.saturating_sub(1).into(),
            Value::String(text) if text == "$next" => self.new_id().into(),
            Value::Object(map) => map.into_iter().map(|(k, v)| (k, self.fill_ids(v))).collect(),
            other => other,
        }
    }

    fn emit(&mut self, now: u64, planned: Planned) -> Out {
        let event = match planned {
            Planned::Event(event) => event,
            Planned::Raw(text) => {
                *self.stats.sent.entry("malformed".to_owned()).or_default() += 1;
                return Out::Text(text);
            }
            Planned::Audio { event_id, bytes, alignment, is_final } => {
                self.stats.agent_audio_bytes += bytes.len() as u64;
                events::audio(event_id, &STANDARD.encode(&bytes), alignment, is_final)
            }
            Planned::End(out) => {
                self.stats.closed_by = "server".to_owned();
                self.stats.close_code = if let Out::Close { code, .. } = &out { Some(*code) } else { None };
                self.stats.duration_ms = now - self.started.unwrap_or(now).min(now);
                self.state = State::Ended;
                return out;
            }
        };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        *self.stats.sent.entry(kind).or_default() += 1;
        Out::Text(event.to_string())
    }
}

//! One session: a state machine that is handed messages and the time, and hands out frames.

use super::events::{self, old_name};
use super::response::Active;
use super::{ConversationStats, Fault, Faults, Out, RealtimeConfig, settings};
use crate::elevenlabs::Conversation as Agent;
use crate::elevenlabs::speech::{AudioFormat, ToUlaw};
use crate::rng::Rng;
use crate::sound::Activity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Speech this long begins a turn of the caller, in milliseconds.
const TURN_BEGINS_MS: u64 = 240;
/// A turn the agent makes nothing of ends this long after the silence that should have ended it.
const TURN_LEFT_MS: u64 = 1_500;
/// A response out of which nothing comes ends after this long.
const EMPTY_AFTER_MS: u64 = 40;
/// Between two looks while something is going on.
const LOOK_MS: u64 = 20;

/// A frame waiting for its time.
#[derive(Debug, Clone, PartialEq)]
enum Planned {
    Event(Value),
    Raw(String),
    End(Out),
}

/// What the client added to the conversation and the agent has not been told yet: a model reads it when it next speaks.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Identifiers and results of tools.
    pub(super) results: Vec<(String, String)>,
    /// Texts of the caller's.
    pub(super) texts: Vec<String>,
    /// Words it is to say.
    pub(super) words: Option<String>,
}

/// One session with one client. Times are milliseconds since the connection was opened.
#[derive(Debug)]
pub struct Conversation {
    config: Arc<RealtimeConfig>,
    pub(super) faults: Faults,
    pub(super) agent: Agent,
    pub(super) stats: ConversationStats,
    pub(super) session: Value,
    pub(super) has_spoken: bool,
    outbox: BTreeMap<(u64, u64), Planned>,
    planned: u64,
    pub(super) rng: Rng,
    /// Items of the conversation, in order.
    pub(super) items: Vec<String>,
    /// How long the sound of the model's items is, in milliseconds.
    pub(super) spoken_ms: BTreeMap<String, u64>,
    /// Function calls the client may answer.
    pub(super) calls: Vec<String>,
    pub(super) response: Option<Active>,
    pub(super) unread: Unread,
    pub(super) to_ulaw: ToUlaw,
    activity: Activity,
    /// Caller audio so far, in milliseconds.
    heard_ms: u64,
    /// The item the caller is speaking.
    turn: Option<String>,
    quiet_since: u64,
    begun: bool,
    /// Faults with a moment that have happened.
    erred: bool,
    ended: bool,
    /// The only session that has its end planned accepts nothing more.
    pub(super) ending: bool,
}

impl Conversation {
    /// A session that was opened at time 0. `now_unix_s` only serves to tell when it expires.
    #[must_use]
    pub fn new(config: Arc<RealtimeConfig>, faults: Faults, model: &str, seed: u64, now_unix_s: u64) -> Self {
        let mut rng = Rng::named(seed, "realtime");
        let id = format!("sess_{}", rng.hex(24));
        let expires_at = now_unix_s + config.session_lifetime.as_secs();
        let trickle = faults.has(&Fault::Trickle);
        Self {
            agent: Agent::driven(config.script.clone(), config.scripts_by_patient.clone(), trickle, seed),
            stats: ConversationStats { conversation_id: id.clone(), agent_id: model.to_owned(), ..Default::default() },
            session: settings::fresh(&id, model, expires_at),
            has_spoken: false,
            outbox: BTreeMap::new(),
            planned: 0,
            rng,
            items: Vec::new(),
            spoken_ms: BTreeMap::new(),
            calls: Vec::new(),
            response: None,
            unread: Unread::default(),
            to_ulaw: ToUlaw::new(AudioFormat::Pcm24000),
            activity: Activity::default(),
            heard_ms: 0,
            turn: None,
            quiet_since: 0,
            begun: false,
            erred: false,
            ended: false,
            ending: false,
            faults,
            config,
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> ConversationStats {
        let agent = self.agent.stats();
        let mut stats = self.stats.clone();
        stats.caller_audio.clone_from(&agent.caller_audio);
        stats.arrivals.clone_from(&agent.arrivals);
        stats.transcript.clone_from(&agent.transcript);
        stats.interruptions.clone_from(&agent.interruptions);
        stats.tool_results.clone_from(&agent.tool_results);
        stats.protocol_errors.extend(agent.protocol_errors.iter().cloned());
        stats
    }

    /// True when the last frame was handed out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next frame that is due; call until `None`.
    pub fn poll(&mut self, now: u64) -> Option<Out> {
        if self.ended {
            return None;
        }
        self.begin(now);
        if !self.ending {
            self.timers(now);
            self.end_turn(now);
            self.idle(now);
            self.release(now);
            while let Some(out) = self.agent.poll(now) {
                // That the script is over ends nothing here: the client hangs up.
                if let Out::Text(text) = out {
                    self.translate(now, &serde_json::from_str(&text).unwrap_or_default());
                }
            }
            self.finish_empty(now);
        }
        let (&key, _) = self.outbox.iter().next().filter(|((due, _), _)| *due <= now)?;
        let planned = self.outbox.remove(&key)?;
        Some(self.emit(now, planned))
    }

    /// When [`Conversation::poll`] has to be called again at the latest.
    #[must_use]
    pub fn next_timeout(&self, now: u64) -> u64 {
        let frame = self.outbox.keys().next().map_or(u64::MAX, |(due, _)| *due);
        let look = if self.response.is_some() || self.turn.is_some() { now + LOOK_MS } else { now + 250 };
        self.agent.next_timeout(now).min(frame).min(look).max(now + 1)
    }

    /// The connection is gone; `code` if the client sent a close frame.
    pub fn closed(&mut self, now: u64, code: Option<u16>) {
        if self.stats.closed_by.is_empty() {
            self.stats.closed_by = if code.is_some() { "client" } else { "lost" }.to_owned();
            self.stats.close_code = code;
        }
        self.stats.duration_ms = now;
        self.ended = true;
        self.outbox.clear();
    }

    /// The service speaks first, however quick the client is.
    pub(super) fn begin(&mut self, now: u64) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        if self.faults.has(&Fault::LateReject) {
            let text = "Incorrect API key provided.";
            self.error(now, "invalid_request_error", Some("invalid_api_key"), text, None, None);
            return self.end(now, Out::Close { code: 3000, reason: "invalid_request_error.invalid_api_key".into() });
        }
        let created = events::session("session.created", &self.session);
        self.event(now, created);
        if self.faults.has(&Fault::UnknownEvent) {
            self.event(now, json!({"type": "some.future_event", "x": {"y": [1, 2, 3]}}));
        }
        if self.faults.has(&Fault::Malformed) {
            for text in [
                "{\"type\":\"response.output_au",
                "[]",
                "null",
                "{\"type\":\"response.output_audio.delta\"}",
                "{\"type\":\"response.done\",\"response\":7}",
                "{\"type\":17}",
                "",
            ] {
                self.plan(now, Planned::Raw(text.to_owned()));
            }
        }
    }

    fn timers(&mut self, now: u64) {
        let due = |at: std::time::Duration| (now >= at.as_millis() as u64).then_some(());
        if self.faults.find(|f| if let Fault::Drop(at) = f { due(*at) } else { None }).is_some() {
            return self.end_now(now, Out::Drop);
        }
        if self.faults.find(|f| if let Fault::Close(at) = f { due(*at) } else { None }).is_some() {
            return self.end_now(now, Out::Close { code: 1011, reason: "internal error".to_owned() });
        }
        let expires = self.faults.find(|f| if let Fault::Expire(at) = f { due(*at) } else { None });
        if expires.is_some() || due(self.config.session_lifetime).is_some() {
            self.outbox.clear();
            let text = "Your session hit the maximum duration of 60 minutes.";
            self.error(now, "invalid_request_error", Some("session_expired"), text, None, None);
            return self.end(now, Out::Close { code: 1001, reason: "session expired".to_owned() });
        }
        if !self.erred && self.faults.find(|f| if let Fault::ErrorEvent(at) = f { due(*at) } else { None }).is_some() {
            self.erred = true;
            let text = "The server had an error while processing your request.";
            self.error(now, "server_error", None, text, None, None);
        }
    }

    /// Takes in a piece of the caller's voice, in mu-law.
    pub(super) fn hear(&mut self, now: u64, ulaw: &[u8]) {
        self.agent.handle_audio(now, ulaw);
        self.activity.push(ulaw);
        self.heard_ms += ulaw.len() as u64 / 8;
        if self.turn.is_none() && self.activity.speech_ms() >= TURN_BEGINS_MS {
            self.begin_turn(now);
            if self.vad("interrupt_response").and_then(Value::as_bool).unwrap_or(true) {
                self.agent.cut_off(now);
                self.cancel(now, "turn_detected");
            }
        }
    }

    /// A setting of the turn detection, while there is one.
    fn vad(&self, name: &str) -> Option<&Value> {
        self.session.pointer("/audio/input/turn_detection")?.get(name).filter(|value| !value.is_null())
    }

    fn vad_ms(&self, name: &str) -> Option<u64> {
        self.vad(name).and_then(Value::as_u64)
    }

    fn begin_turn(&mut self, now: u64) {
        let id = self.new_id("item");
        let started = self.heard_ms.saturating_sub(self.activity.speech_ms() + 300);
        self.event(now, events::speech_started(&id, started));
        self.turn = Some(id);
    }

    /// Ends a turn the agent does not wait for.
    fn end_turn(&mut self, now: u64) {
        let silence = self.vad_ms("silence_duration_ms").unwrap_or(500);
        let patience = if self.agent.is_listening() { silence + TURN_LEFT_MS } else { silence };
        if self.turn.is_some() && self.activity.silence_ms() >= patience {
            let words = self.agent.heard_words().unwrap_or_default();
            self.caller_done(now, &words);
        }
    }

    /// The caller has ended their turn.
    pub(super) fn caller_done(&mut self, now: u64, text: &str) {
        if self.turn.is_none() {
            self.begin_turn(now);
        }
        let Some(id) = self.turn.take() else { return };
        self.event(now, events::speech_stopped(&id, self.heard_ms));
        self.commit(now, &id);
        self.activity.reset();
        self.quiet_since = now;
        if self.vad("create_response").and_then(Value::as_bool).unwrap_or(true) && self.response.is_none() {
            self.respond(now);
        }
        if self.session.pointer("/audio/input/transcription").is_some_and(|t| !t.is_null()) {
            self.event(now, events::transcribed(&id, text, 1));
        }
    }

    /// Makes an item of what the caller said.
    fn commit(&mut self, now: u64, id: &str) {
        let previous = self.items.last().cloned();
        self.event(now, events::committed(id, previous.as_deref()));
        self.add_item(now, &events::caller_item(id));
    }

    /// Puts an item at the end of the conversation.
    pub(super) fn add_item(&mut self, now: u64, item: &Value) {
        let previous = self.items.last().cloned();
        self.items.push(item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned());
        self.event(now, events::item("conversation.item.added", previous.as_deref(), item));
        self.event(now, events::item("conversation.item.done", previous.as_deref(), item));
    }

    /// Speaks by itself when nobody has spoken for long, if it is set to.
    fn idle(&mut self, now: u64) {
        let Some(idle_ms) = self.vad_ms("idle_timeout_ms") else { return };
        let since = self.agent.speaks_until().max(self.quiet_since);
        if self.response.is_some() || self.turn.is_some() || !self.agent.is_open() || now < since + idle_ms {
            return;
        }
        self.quiet_since = now;
        let id = self.new_id("item");
        self.event(now, events::timed_out(&id, self.heard_ms.saturating_sub(idle_ms), self.heard_ms));
        self.commit(now, &id);
        self.respond(now);
    }

    fn finish_empty(&mut self, now: u64) {
        let Some(response) = &self.response else { return };
        let is_silent = self.faults.has(&Fault::Silent);
        let waited = response.released.is_some_and(|at| now >= at + EMPTY_AFTER_MS);
        if !is_silent && waited && !response.is_speaking() && self.agent.is_waiting() {
            self.finish(now, "completed", None);
        }
    }

    /// The time from which silence is counted anew.
    pub(super) fn quiet_from(&mut self, now: u64) {
        self.quiet_since = now;
    }

    pub(super) fn new_id(&mut self, kind: &str) -> String {
        format!("{kind}_{}", self.rng.hex(20))
    }

    pub(super) fn error(
        &mut self,
        now: u64,
        kind: &str,
        code: Option<&str>,
        message: &str,
        param: Option<&str>,
        caused_by: Option<&str>,
    ) {
        self.event(now, events::error(kind, code, message, param, caused_by));
    }

    /// Plans an event.
    pub(super) fn event(&mut self, now: u64, mut event: Value) {
        if self.faults.has(&Fault::OldNames)
            && let Some(kind) = event.get_mut("type")
            && let Some(name) = kind.as_str().map(|kind| old_name(kind).to_owned())
        {
            *kind = json!(name);
        }
        let id = self.new_id("event");
        if let Some(event) = event.as_object_mut() {
            event.insert("event_id".to_owned(), json!(id));
        }
        self.plan(now, Planned::Event(event));
    }

    fn plan(&mut self, due: u64, planned: Planned) {
        self.outbox.insert((due, self.planned), planned);
        self.planned += 1;
    }

    fn end(&mut self, now: u64, out: Out) {
        self.plan(now, Planned::End(out));
        self.ending = true;
    }

    fn end_now(&mut self, now: u64, out: Out) {
        self.outbox.clear();
        self.end(now, out);
    }

    fn emit(&mut self, now: u64, planned: Planned) -> Out {
        let event = match planned {
            Planned::Event(event) => event,
            Planned::Raw(text) => {
                *self.stats.sent.entry("malformed".to_owned()).or_default() += 1;
                return Out::Text(text);
            }
            Planned::End(out) => {
                self.stats.closed_by = "server".to_owned();
                self.stats.close_code = if let Out::Close { code, .. } = &out { Some(*code) } else { None };
                self.stats.duration_ms = now;
                self.ended = true;
                return out;
            }
        };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        *self.stats.sent.entry(kind).or_default() += 1;
        Out::Text(event.to_string())
    }
}

impl crate::socket::Talk for Conversation {
    fn poll(&mut self, now: u64) -> Option<Out> {
        Self::poll(self, now)
    }

    fn next_timeout(&self, now: u64) -> u64 {
        Self::next_timeout(self, now)
    }

    fn handle_text(&mut self, now: u64, text: &str) {
        Self::handle_text(self, now, text);
    }

    fn handle_binary(&mut self, now: u64) {
        Self::handle_binary(self, now);
    }

    fn closed(&mut self, now: u64, code: Option<u16>) {
        Self::closed(self, now, code);
    }
}

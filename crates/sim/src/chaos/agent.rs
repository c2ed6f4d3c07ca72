//! A simulated agent that is cheap: real ElevenLabs messages, words instead of recognition, and an obedient mind. It
//! says what the answers to its tool calls and the contextual updates tell it to, as a well-prompted model does.

use super::fault::Mode;
use super::sound;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Silence that ends a turn of the patient's; in a voice task people pause.
const TURN_MS: u64 = 600;
const TASK_TURN_MS: u64 = 1_400;
/// Recognising and thinking.
const THINK_MS: u64 = 500;
/// Without an answer for so long the agent says something again, as often as this.
const PATIENCE_MS: u64 = 9_000;
const NUDGES: u32 = 2;
/// An agent that asks again does it after this.
const ASKS_AGAIN_MS: u64 = 3_500;
const PING_MS: u64 = 2_000;
/// Audio of one message.
const CHUNK_MS: u64 = 1_000;
/// A slow agent takes so long for everything.
const SLOW_MS: u64 = 8_000;

/// What comes out of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Out {
    Text(String),
    Close(u16),
    Drop,
}

/// A reply, for whoever has to know what was said.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) byte: u8,
    pub(super) text: String,
    pub(super) ms: u64,
    /// The conversation it belongs to.
    pub(super) conversation: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// The first message has not come.
    AwaitInit,
    /// Does the next thing then.
    Until(u64),
    /// Waits for the patient.
    Listening {
        since: u64,
    },
    /// Waits for the answer to a tool call.
    Tool {
        id: String,
        since: u64,
    },
    Ended,
}

/// What the agent is to do next.
#[derive(Debug, Clone, Default)]
struct Next {
    step: String,
    say: String,
    item: String,
    task: String,
    /// It was said already.
    said: bool,
}

/// One conversation. Times are milliseconds of the simulation.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) conversation: u64,
    pub(super) mode: Option<Mode>,
    state: State,
    outbox: VecDeque<(u64, Out)>,
    /// The step that is told and not yet done.
    next: Option<Next>,
    /// The step the patient is being asked about.
    asked: Option<Next>,
    /// The task that `start_task` was called for.
    starting: Option<Next>,
    /// What the last first message said.
    opened_with: Option<String>,
    greeted: bool,
    closing: bool,
    event_id: i64,
    tool_id: u64,
    next_ping: u64,
    /// Until when the present reply sounds.
    speaking_until: u64,
    heard: Vec<(usize, u64)>,
    last_loud: Option<u64>,
    nudges: u32,
    mode_since: u64,
    pub(super) replies: Vec<Reply>,
    /// Asks every question twice: for showing that it is noticed.
    pub(super) asks_again: bool,
    again: Option<(u64, Next)>,
}

impl Agent {
    pub(super) fn new(conversation: u64, now: u64, mode: Option<Mode>) -> Self {
        Self {
            conversation,
            mode,
            state: State::AwaitInit,
            outbox: VecDeque::new(),
            next: None,
            asked: None,
            starting: None,
            opened_with: None,
            greeted: false,
            closing: false,
            event_id: 0,
            tool_id: 0,
            next_ping: u64::MAX,
            speaking_until: 0,
            heard: Vec::new(),
            last_loud: None,
            nudges: 0,
            mode_since: now,
            replies: Vec::new(),
            asks_again: false,
            again: None,
        }
    }

    /// It begins to fail.
    pub(super) fn fail(&mut self, now: u64, mode: Mode) {
        self.mode = Some(mode);
        self.mode_since = now;
        match mode {
            Mode::Drop | Mode::Refuses(_) | Mode::NoMetadata => self.end(now, Out::Drop),
            Mode::Close(code) => self.end(now, Out::Close(code)),
            Mode::EndsEarly => self.end(now + 300, Out::Close(1000)),
            Mode::Mute | Mode::Frozen => self.outbox.clear(),
            Mode::Error => {
                self.outbox.clear();
                self.send(now, json!({"type": "error", "error_event": {"code": 1011, "error_type": "llm_timeout", "message": "x"}}));
            }
            Mode::Garbage => {
                self.outbox.clear();
                for n in 0..40 {
                    self.outbox.push_back((now + n * 100, Out::Text("{\"type\":\"aud".to_owned())));
                }
            }
            Mode::Queue => {
                self.outbox.clear();
                self.send(now, json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
            }
            Mode::Slow | Mode::BadAudio => {}
        }
    }

    fn end(&mut self, at: u64, out: Out) {
        self.outbox.retain(|(due, _)| *due < at);
        self.outbox.push_back((at, out));
        self.state = State::Ended;
    }

    fn send(&mut self, at: u64, message: Value) {
        self.outbox.push_back((at, Out::Text(message.to_string())));
    }

    /// True while it is good for nothing but pings, or not even those.
    fn is_useless(&self) -> bool {
        matches!(self.mode, Some(Mode::Mute | Mode::Frozen | Mode::Garbage | Mode::Error | Mode::Queue))
    }

    /// The next message that is due.
    pub(super) fn poll(&mut self, now: u64, texts: &[(String, u64)]) -> Option<Out> {
        if self.state != State::Ended {
            self.advance(now, texts);
        }
        let at = self.outbox.iter().position(|(due, _)| *due <= now)?;
        self.outbox.remove(at).map(|(_, out)| out)
    }

    fn advance(&mut self, now: u64, texts: &[(String, u64)]) {
        if now >= self.next_ping && self.mode != Some(Mode::Frozen) {
            self.next_ping = now + PING_MS;
            self.event_id += 1;
            let id = self.event_id;
            self.send(now, json!({"type": "ping", "ping_event": {"event_id": id, "ping_ms": 20}}));
        }
        if self.is_useless() {
            return;
        }
        self.hear_turn(now, texts);
        match self.state.clone() {
            State::Until(at) if now >= at => self.act(now),
            State::Listening { since } => {
                let quiet = self.last_loud.is_none_or(|at| now >= at + TURN_MS);
                if quiet && now >= since.max(self.speaking_until) + PATIENCE_MS {
                    self.nudge(now);
                }
            }
            State::Tool { since, .. } if now >= since + 10_000 => self.state = State::Until(now),
            _ => {}
        }
    }

    /// The patient has finished speaking.
    fn hear_turn(&mut self, now: u64, texts: &[(String, u64)]) {
        let Some(last) = self.last_loud else { return };
        let task = self.asked.as_ref().is_some_and(|step| step.step == "task");
        let turn_ms = if task { TASK_TURN_MS } else { TURN_MS };
        if now < last + turn_ms || matches!(self.state, State::AwaitInit) {
            return;
        }
        self.last_loud = None;
        let heard = std::mem::take(&mut self.heard);
        let known = |(sound, ms): &(usize, u64)| {
            let (text, whole_ms) =
                texts.iter().enumerate().rev().find(|(n, _)| sound::is_utterance(*n, *sound)).map(|(_, said)| said)?;
            (*ms * 2 >= *whole_ms).then(|| text.clone())
        };
        let words: Vec<String> = heard.iter().filter_map(known).collect();
        let text = if words.is_empty() { "...".to_owned() } else { words.join(" ") };
        let id = self.event_id;
        let transcript = json!({"type": "user_transcript",
            "user_transcription_event": {"user_transcript": text, "event_id": id}});
        self.send(now, transcript);
        if words.is_empty() || matches!(self.state, State::Tool { .. } | State::Ended) {
            return;
        }
        self.nudges = 0;
        self.answered(now, &text);
    }

    fn answered(&mut self, now: u64, text: &str) {
        let Some(step) = self.asked.clone() else {
            // It was said to the greeting, or to nothing: go on with what is due.
            self.state = State::Until(now + THINK_MS);
            return;
        };
        let yes = !text.to_lowercase().starts_with("no");
        let (name, parameters) = match step.step.as_str() {
            "identify" => (
                "verify_identity",
                json!({"birth_date": if text.contains("1948") || text.contains("forty eight") { "1948-04-01" } else { "1950-01-01" }}),
            ),
            "consent" => ("record_consent", json!({"given": yes})),
            "question" => ("record_answer", json!({"question": step.item, "value": value_for(&step.item, text)})),
            "task" => ("end_task", json!({})),
            "emergency" if yes && step.say.trim_end().ends_with('?') => {
                ("transfer_to_nurse", json!({"reason": "red flag"}))
            }
            "emergency" => {
                self.closing = true;
                self.state = State::Until(now + THINK_MS);
                return;
            }
            _ => {
                self.state = State::Until(now + THINK_MS);
                return;
            }
        };
        if self.asks_again && step.step == "question" {
            (self.asks_again, self.again) = (false, Some((now + ASKS_AGAIN_MS, step)));
        }
        self.asked = None;
        let delay = if self.mode == Some(Mode::Slow) { SLOW_MS } else { THINK_MS };
        self.call(now + delay, name, &parameters);
    }

    fn call(&mut self, at: u64, name: &str, parameters: &Value) {
        self.tool_id += 1;
        self.event_id += 1;
        let id = format!("tc_{}_{}", self.conversation, self.tool_id);
        let event_id = self.event_id;
        let call = json!({"type": "client_tool_call", "client_tool_call": {
            "tool_name": name, "tool_call_id": id, "parameters": parameters, "event_id": event_id}});
        self.send(at, call);
        self.state = State::Tool { id, since: at };
    }

    fn nudge(&mut self, now: u64) {
        self.nudges += 1;
        if self.closing || self.nudges > NUDGES * 3 {
            return self.end_call(now);
        }
        if self.asked.as_ref().is_some_and(|step| step.step == "task") {
            // Nothing was heard of the task: it is over.
            self.asked = None;
            return self.call(now, "end_task", &json!({}));
        }
        if self.next.is_some() {
            self.state = State::Until(now);
            return;
        }
        match self.asked.clone() {
            Some(step) => self.say(now, &step.say),
            None => self.state = State::Listening { since: now },
        }
    }

    /// Does what is due.
    fn act(&mut self, now: u64) {
        if self.closing {
            return self.end_call(now);
        }
        if let Some((due, step)) = self.again.take() {
            if now >= due {
                return self.say(now, &step.say);
            }
            self.again = Some((due, step));
            self.state = State::Until(due);
            return;
        }
        if let Some(step) = self.starting.take() {
            if step.said {
                self.state = State::Listening { since: self.speaking_until };
            } else {
                self.say(now, &step.say);
            }
            self.asked = Some(step);
            return;
        }
        let Some(next) = self.next.take() else {
            self.state = State::Listening { since: now };
            return;
        };
        match next.step.as_str() {
            "task" => {
                let parameters = json!({"task": next.task});
                self.starting = Some(next);
                self.call(now, "start_task", &parameters);
            }
            "close" => {
                self.say(now, &next.say);
                self.closing = true;
                self.state = State::Until(self.speaking_until.saturating_sub(200));
            }
            _ => {
                self.say(now, &next.say);
                self.asked = Some(next);
            }
        }
    }

    fn end_call(&mut self, now: u64) {
        self.event_id += 1;
        let (id, tool) = (self.event_id, format!("end_{}", self.conversation));
        self.send(
            now,
            json!({"type": "agent_tool_response", "agent_tool_response": {"tool_name": "end_call",
            "tool_call_id": tool, "tool_type": "system", "is_error": false, "is_called": true, "event_id": id}}),
        );
        self.end(now + 200, Out::Close(1000));
    }

    fn say(&mut self, now: u64, text: &str) {
        self.event_id += 1;
        let event_id = self.event_id;
        let delay = if self.mode == Some(Mode::Slow) { SLOW_MS } else { 200 };
        let ms = sound::spoken_ms(text);
        let number = self.conversation * 13 + self.replies.len() as u64;
        let byte = sound::reply_byte(number);
        let at = now + delay;
        self.replies.push(Reply { byte, text: text.to_owned(), ms, conversation: self.conversation });
        self.send(
            at,
            json!({"type": "agent_response",
            "agent_response_event": {"agent_response": text, "event_id": event_id}}),
        );
        let mut left = ms;
        let mut due = at + 50;
        while left > 0 {
            let part = left.min(CHUNK_MS);
            let audio = if self.mode == Some(Mode::BadAudio) { "***".to_owned() } else { sound::reply(byte, part) };
            self.send(due, json!({"type": "audio", "audio_event": {"audio_base_64": audio, "event_id": event_id}}));
            left -= part;
            due += 150;
        }
        self.speaking_until = at + ms;
        self.state = State::Listening { since: at + ms };
    }

    /// A message of ours.
    pub(super) fn receive(&mut self, now: u64, text: &str) {
        if self.state == State::Ended {
            return;
        }
        if let Some(rest) = text.strip_prefix("{\"user_audio_chunk\":\"") {
            let payload = rest.split('"').next().unwrap_or_default();
            self.hear(now, payload);
            return;
        }
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        match field("type") {
            "conversation_initiation_client_data" => self.begin(now, &message),
            "client_tool_result" => {
                let id = field("tool_call_id").to_owned();
                self.tool_result(now, &id, field("result"));
            }
            "contextual_update" | "user_message" => {
                let text = field("text").to_owned();
                let prompted = field("type") == "user_message";
                self.told(now, &text, prompted);
            }
            _ => {}
        }
    }

    fn hear(&mut self, now: u64, payload: &str) {
        let Some(sound) = sound::utterance_in(payload) else { return };
        let ms = payload.len() as u64 * 3 / 32;
        match self.heard.iter_mut().find(|(known, _)| *known == sound) {
            Some((_, heard)) => *heard += ms,
            None => self.heard.push((sound, ms)),
        }
        self.last_loud = Some(now);
        if now + 300 < self.speaking_until && !self.is_useless() && !self.closing {
            // The patient talks over it: what was not played is void.
            self.outbox.retain(|(_, out)| !matches!(out, Out::Text(text) if is_audio(text)));
            self.speaking_until = now;
            let id = self.event_id;
            self.send(now, json!({"type": "interruption", "interruption_event": {"event_id": id}}));
            self.state = State::Listening { since: now };
        }
    }

    fn begin(&mut self, now: u64, message: &Value) {
        if self.state != State::AwaitInit {
            return;
        }
        if matches!(self.mode, Some(Mode::NoMetadata | Mode::Frozen)) {
            return;
        }
        let conversation = self.conversation;
        self.send(
            now + 100,
            json!({"type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {"conversation_id": format!("conv_{conversation}"),
            "agent_output_audio_format": "ulaw_8000", "user_input_audio_format": "ulaw_8000"}}),
        );
        self.next_ping = now + 100;
        self.state = State::Until(now + 300);
        let first = message.pointer("/conversation_config_override/agent/first_message").and_then(Value::as_str);
        match self.mode {
            Some(Mode::Queue) => {
                self.send(now + 110, json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
                return;
            }
            Some(mode @ (Mode::Close(_) | Mode::Garbage | Mode::Error | Mode::EndsEarly)) => {
                return self.fail(now + 150, mode);
            }
            Some(Mode::Mute) => return,
            _ => {}
        }
        let words = first.unwrap_or("Hello, this is your automated check-in call. The call is recorded.").to_owned();
        self.opened_with = first.map(str::to_owned);
        self.greeted = true;
        self.say(now + 100, &words);
        if self.opened_with.is_none() {
            self.state = State::Until(self.speaking_until + 200);
        } else {
            self.state = State::Until(now + 400);
        }
    }

    fn tool_result(&mut self, now: u64, id: &str, result: &str) {
        let result: Value = serde_json::from_str(result).unwrap_or_default();
        if let Some(next) = result.get("next").filter(|next| next.is_object()) {
            self.next = Some(step_of(next));
        }
        if matches!(&self.state, State::Tool { id: open, .. } if open == id) {
            if result.get("started").is_some_and(|started| started == false) {
                self.starting = None;
            }
            if result.get("transferring").is_some_and(|transferring| transferring == true) {
                let say = result.get("say").and_then(Value::as_str).unwrap_or_default().to_owned();
                return self.say(now, &say);
            }
            self.state = State::Until(now);
        }
    }

    /// A contextual update or a notice.
    fn told(&mut self, now: u64, text: &str, prompted: bool) {
        let quoted = |marker: &str| {
            let (_, rest) = text.split_once(marker)?;
            Some(
                rest.split("\" Then:")
                    .next()?
                    .rsplit_once('"')
                    .map_or(rest.split("\" Then:").next()?, |(said, _)| said)
                    .to_owned(),
            )
        };
        if text.contains("ed flag")
            && let Some(say) = quoted("exactly: \"")
        {
            self.next = Some(Next { step: "emergency".to_owned(), say, ..Next::default() });
            self.asked = None;
            self.starting = None;
            self.closing = false;
            if !self.is_useless() && !matches!(self.state, State::AwaitInit) {
                self.state = State::Until((now + 200).max(self.speaking_until.min(now + 1_500)));
            }
            return;
        }
        let named = text.strip_prefix("Next: ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        let Some(say) = quoted("ay: \"") else { return };
        if let Some(step) = named {
            let (item, task) = item_of(&say);
            let said = text.contains("has just said") && self.opened_with.take().is_some();
            let next = Next { step, say, item, task, said };
            if said && next.step != "task" && self.asked.is_none() {
                self.closing = next.step == "close";
                let over = self.speaking_until;
                let closing = State::Until(over.saturating_sub(200));
                self.state = if self.closing { closing } else { State::Listening { since: over } };
                self.asked = Some(next);
                return;
            }
            if !self.closing {
                self.next = Some(next);
            }
            let idle = matches!(self.state, State::Listening { .. }) && self.asked.is_none();
            if idle && self.greeted {
                self.state = State::Until(now + THINK_MS);
            }
        } else if prompted && !self.is_useless() && self.greeted {
            // The patient answered by keys; the answer to the next step is in its words.
            let (item, task) = item_of(&say);
            let step = step_name(&say, &item, &task);
            self.next = Some(Next { step, say, item, task, said: false });
            self.asked = None;
            self.state = State::Until(now + 200);
        }
    }
}

fn is_audio(text: &str) -> bool {
    text.get(..24).is_some_and(|head| head.contains("\"audio"))
}

fn step_of(next: &Value) -> Next {
    let field = |name: &str| next.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Next { step: field("step"), say: field("say"), item: field("item"), task: field("task"), said: false }
}

/// Item and task that words belong to, as a model knows from its prompt.
fn item_of(say: &str) -> (String, String) {
    let protocol = clinic::protocol::Protocol::shipped();
    let found = protocol.items.iter().find(|item| say.ends_with(protocol.prompt("en", &item.id)));
    let task = found.and_then(clinic::protocol::Item::task).map(|task| task.as_str().to_owned());
    (found.map(|item| item.id.clone()).unwrap_or_default(), task.unwrap_or_default())
}

fn step_name(say: &str, item: &str, task: &str) -> String {
    let name = match (item, task) {
        ("", _) if say.contains("date of birth") => "identify",
        ("", _) if say.contains("Is that all right") => "consent",
        ("", _) if say.contains("Goodbye") => "close",
        ("", _) => "emergency",
        (_, "") => "question",
        _ => "task",
    };
    name.to_owned()
}

/// What a model makes of the patient's words.
fn value_for(item: &str, text: &str) -> Value {
    let no = text.to_lowercase().starts_with("no");
    match item {
        "feeling" if text.contains("Not good") => "worse".into(),
        "feeling" => "same".into(),
        "dyspnea" | "swelling" if no => "none".into(),
        "dyspnea" | "swelling" => "usual".into(),
        "weight" => "182 lb".into(),
        "medications" => "as_prescribed".into(),
        _ => (if no { "no" } else { "yes" }).into(),
    }
}

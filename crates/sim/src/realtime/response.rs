//! What the model says and asks: responses, and the agent's doings as their items.

use super::Fault;
use super::conversation::{Conversation, Unread};
use super::events::{self, Place};
use crate::elevenlabs::speech::AudioFormat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Between the beginning of a response and the agent's, in milliseconds, when it is not slow.
const THINK_MS: u64 = 60;

/// The response that is being made.
#[derive(Debug)]
pub(super) struct Active {
    id: String,
    /// Finished items.
    output: Vec<Value>,
    speech: Option<Speech>,
    /// When the agent may act.
    release_at: u64,
    /// When it was let go.
    pub(super) released: Option<u64>,
}

#[derive(Debug)]
struct Speech {
    place: Place,
    text: String,
    bytes: u64,
}

impl Active {
    pub(super) fn is_speaking(&self) -> bool {
        self.speech.is_some()
    }
}

impl Conversation {
    /// The response that is being made.
    pub(super) fn active_id(&self) -> Option<&str> {
        self.response.as_ref().map(|response| response.id.as_str())
    }

    /// Begins a response.
    pub(super) fn respond(&mut self, now: u64) {
        let id = self.new_id("resp");
        let slow = self.faults.find(|f| if let Fault::Slow(d) = f { Some(d.as_millis() as u64) } else { None });
        let release_at = now + slow.unwrap_or(THINK_MS);
        self.response = Some(Active { id, output: Vec::new(), speech: None, release_at, released: None });
        let response = self.described("in_progress", Value::Null, Value::Null);
        self.event(now, json!({"type": "response.created", "response": response}));
        self.event(now, events::rate_limits());
        if let Some(code) = self.faults.find(|f| if let Fault::FailResponses(code) = f { Some(*code) } else { None }) {
            let kind = if code == "server_error" { "server_error" } else { "invalid_request_error" };
            let error = json!({"type": kind, "code": code, "message": "simulated"});
            self.finish(now, "failed", Some(json!({"type": "failed", "error": error})));
        }
    }

    /// Lets the agent go on when it has thought long enough, with everything the client added meanwhile.
    pub(super) fn release(&mut self, now: u64) {
        let is_silent = self.faults.has(&Fault::Silent);
        let Some(response) = &mut self.response else { return };
        if response.released.is_some() || now < response.release_at {
            return;
        }
        response.released = Some(now);
        if is_silent {
            return;
        }
        let Unread { results, texts, mut words } = std::mem::take(&mut self.unread);
        if !self.agent.is_open() {
            let text = |path: &str| self.session.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let language = text("/audio/input/transcription/language");
            let name = patient_of(&text("/instructions"));
            let language = if language.is_empty() { "en" } else { &language };
            self.agent.open(now, language, &name, words.take());
        }
        if let Some(words) = words {
            self.agent.say_next(&words);
        }
        for (id, result) in results {
            self.agent.tool_answered(now, &id, &result);
        }
        for text in texts {
            self.agent.told(now, "user_message", &text);
        }
        self.agent.hold(false);
    }

    /// What the agent did, in the service's own words.
    pub(super) fn translate(&mut self, now: u64, event: &Value) {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        match text("/type") {
            "agent_response" => {
                let said = text("/agent_response_event/agent_response").to_owned();
                self.speak(now, said);
            }
            "audio" => {
                let sound = STANDARD.decode(text("/audio_event/audio_base_64")).unwrap_or_default();
                self.sound(now, &sound);
            }
            "agent_response_complete" => {
                self.end_speech(now, "completed");
                if !self.agent.acts_next() {
                    self.finish(now, "completed", None);
                }
            }
            "client_tool_call" => {
                let parameters = event.pointer("/client_tool_call/parameters").cloned().unwrap_or(json!({}));
                let (name, id) = (text("/client_tool_call/tool_name"), text("/client_tool_call/tool_call_id"));
                self.call(now, name, id, &parameters.to_string());
            }
            "agent_tool_request" if text("/agent_tool_request/tool_type") == "system" => {
                let (name, id) = (text("/agent_tool_request/tool_name"), text("/agent_tool_request/tool_call_id"));
                self.call(now, name, id, "{}");
            }
            "user_transcript" => {
                let said = text("/user_transcription_event/user_transcript").to_owned();
                self.caller_done(now, &said);
            }
            "interruption" => self.cancel(now, "turn_detected"),
            _ => {}
        }
    }

    fn speak(&mut self, now: u64, text: String) {
        self.end_speech(now, "completed");
        if self.response.is_none() {
            self.respond(now);
        }
        let item_id = self.new_id("item");
        let Some(place) = self.place(&item_id) else { return };
        self.has_spoken = true;
        self.spoken_ms.insert(item_id.clone(), 0);
        let item = events::message_item(&item_id, "in_progress", None);
        let previous = self.items.last().cloned();
        self.event(now, place.of_item("response.output_item.added", &item));
        self.event(now, events::item("conversation.item.added", previous.as_deref(), &item));
        self.items.push(item_id);
        let part = json!({"type": "audio", "transcript": ""});
        self.event(now, place.of_content("response.content_part.added", "part", &part));
        for word in text.split_inclusive(' ') {
            self.event(now, place.of_content("response.output_audio_transcript.delta", "delta", &json!(word)));
        }
        if let Some(response) = &mut self.response {
            response.speech = Some(Speech { place, text, bytes: 0 });
        }
    }

    fn place(&self, item_id: &str) -> Option<Place> {
        let response = self.response.as_ref()?;
        Some(Place {
            response_id: response.id.clone(),
            item_id: item_id.to_owned(),
            output_index: response.output.len(),
        })
    }

    fn sound(&mut self, now: u64, ulaw: &[u8]) {
        let format = self.output_format();
        let Some(speech) = self.response.as_mut().and_then(|response| response.speech.as_mut()) else { return };
        speech.bytes += ulaw.len() as u64;
        self.spoken_ms.insert(speech.place.item_id.clone(), speech.bytes / 8);
        let audio = format.from_ulaw(ulaw);
        let event = speech.place.of_content("response.output_audio.delta", "delta", &json!(STANDARD.encode(&audio)));
        self.stats.agent_audio_bytes += audio.len() as u64;
        self.event(now, event);
    }

    fn output_format(&self) -> AudioFormat {
        match self.session.pointer("/audio/output/format/type").and_then(Value::as_str) {
            Some("audio/pcmu") => AudioFormat::Ulaw8000,
            _ => AudioFormat::Pcm24000,
        }
    }

    fn end_speech(&mut self, now: u64, status: &str) {
        let Some(speech) = self.response.as_mut().and_then(|response| response.speech.take()) else { return };
        let Speech { place, text, .. } = speech;
        let item = events::message_item(&place.item_id, status, Some(&text));
        self.event(now, place.of_content("response.output_audio.done", "", &Value::Null));
        self.event(now, place.of_content("response.output_audio_transcript.done", "transcript", &json!(text)));
        let part = json!({"type": "audio", "transcript": text});
        self.event(now, place.of_content("response.content_part.done", "part", &part));
        let previous = self.items.iter().rev().nth(1).cloned();
        self.event(now, events::item("conversation.item.done", previous.as_deref(), &item));
        self.event(now, place.of_item("response.output_item.done", &item));
        if let Some(response) = &mut self.response {
            response.output.push(item);
        }
    }

    /// A function call, which ends the response.
    fn call(&mut self, now: u64, name: &str, call_id: &str, arguments: &str) {
        let tools = self.session.get("tools").and_then(Value::as_array);
        let is_given = tools.into_iter().flatten().any(|tool| tool.get("name").and_then(Value::as_str) == Some(name));
        if !is_given {
            // What a model was not given it cannot call.
            self.stats.protocol_errors.push(format!("the tool {name} was not given"));
            return self.finish(now, "completed", None);
        }
        self.end_speech(now, "completed");
        if self.response.is_none() {
            self.respond(now);
        }
        let item_id = self.new_id("item");
        let Some(place) = self.place(&item_id) else { return };
        let begun = events::call_item(&item_id, "in_progress", call_id, name, "");
        let item = events::call_item(&item_id, "completed", call_id, name, arguments);
        let previous = self.items.last().cloned();
        self.event(now, place.of_item("response.output_item.added", &begun));
        self.event(now, events::item("conversation.item.added", previous.as_deref(), &begun));
        self.event(now, place.of_call("response.function_call_arguments.delta", call_id, "delta", arguments));
        let copies = if self.faults.has(&Fault::DuplicateToolCall) { 2 } else { 1 };
        for _ in 0..copies {
            let mut done = place.of_call("response.function_call_arguments.done", call_id, "arguments", arguments);
            if let Some(done) = done.as_object_mut() {
                done.insert("name".to_owned(), json!(name));
            }
            self.event(now, done);
        }
        self.event(now, events::item("conversation.item.done", previous.as_deref(), &item));
        self.event(now, place.of_item("response.output_item.done", &item));
        self.items.push(item_id);
        self.calls.push(call_id.to_owned());
        if let Some(response) = &mut self.response {
            response.output.push(item);
        }
        self.finish(now, "completed", None);
    }

    /// Cuts a response off.
    pub(super) fn cancel(&mut self, now: u64, reason: &str) {
        if self.response.is_some() {
            self.end_speech(now, "incomplete");
            self.finish(now, "cancelled", Some(json!({"type": "cancelled", "reason": reason})));
        }
    }

    /// Ends a response; until the next one the agent is held.
    pub(super) fn finish(&mut self, now: u64, status: &str, details: Option<Value>) {
        self.end_speech(now, "completed");
        let usage = json!({"total_tokens": 300, "input_tokens": 200, "output_tokens": 100,
            "input_token_details": {"text_tokens": 120, "audio_tokens": 80, "image_tokens": 0, "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}},
            "output_token_details": {"text_tokens": 20, "audio_tokens": 80}});
        let response = self.described(status, details.unwrap_or(Value::Null), usage);
        if self.response.take().is_some() {
            self.event(now, json!({"type": "response.done", "response": response}));
            self.quiet_from(now);
        }
        self.agent.hold(true);
    }

    fn described(&self, status: &str, details: Value, usage: Value) -> Value {
        let (id, output) = self.response.as_ref().map(|r| (r.id.clone(), r.output.clone())).unwrap_or_default();
        let audio = self.session.pointer("/audio/output").cloned().unwrap_or_default();
        json!({"id": id, "object": "realtime.response", "status": status, "status_details": details, "output": output,
            "conversation_id": format!("conv_{}", self.stats.conversation_id.trim_start_matches("sess_")),
            "output_modalities": self.session.get("output_modalities"), "max_output_tokens": "inf",
            "audio": {"output": {"format": audio.get("format"), "voice": audio.get("voice")}},
            "usage": usage, "metadata": null})
    }
}

/// Whom the instructions speak of.
fn patient_of(instructions: &str) -> String {
    let after = instructions.split_once("personal call for ").map(|(_, rest)| rest);
    after.and_then(|rest| rest.split_once(" and that")).map(|(name, _)| name.to_owned()).unwrap_or_default()
}

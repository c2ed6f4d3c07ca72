//! Our own client against the simulated service, in simulated time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::elevenlabs::{Beat, Listen, Script};
use call::agent::{AgentEvent, RealtimeSession, RealtimeSetup, RealtimeTool};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What came of an event, as far as these tests ask for it.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Open(String, String),
    Sound(i64, usize),
    Said(String),
    Caller(String),
    Interruption,
    Tool(String, String, String),
    Error(String),
    Harmless,
}

struct Line {
    session: RealtimeSession,
    service: Conversation,
    now: u64,
    voice: VecDeque<u8>,
    heard: Vec<Heard>,
    /// Everything the service sent, and everything we sent.
    down: Vec<Value>,
    up: Vec<Value>,
    end: Option<Out>,
}

fn tools() -> Vec<RealtimeTool> {
    ["verify_identity", "record_answer", "start_task", "end_task", "record_consent", "end_call"]
        .map(|name| RealtimeTool {
            name: name.to_owned(),
            description: "x".to_owned(),
            parameters: json!({"type": "object", "properties": {}}),
        })
        .into()
}

impl Line {
    fn new(config: RealtimeConfig) -> Self {
        let faults = config.faults.clone();
        let setup = RealtimeSetup {
            instructions: "Say that it is a personal call for Ada and that you may only speak with them.".to_owned(),
            tools: tools(),
            language: "en".to_owned(),
            voice: "marin".to_owned(),
            transcription_model: "gpt-4o-mini-transcribe".to_owned(),
        };
        let mut session = RealtimeSession::new(setup);
        session.hello();
        Self {
            session,
            service: Conversation::new(Arc::new(config), faults, "gpt-realtime", 7, 1_800_000_000),
            now: 0,
            voice: VecDeque::new(),
            heard: Vec::new(),
            down: Vec::new(),
            up: Vec::new(),
            end: None,
        }
    }

    fn with(fault: Fault) -> Self {
        Self::new(RealtimeConfig { faults: Faults::one(fault), ..RealtimeConfig::default() })
    }

    fn send(&mut self) {
        let frames: Vec<String> = self.session.frames().collect();
        for frame in frames {
            self.up.push(serde_json::from_str(&frame).unwrap());
            self.service.handle_text(self.now, &frame);
        }
    }

    fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until && self.end.is_none() {
            self.send();
            let mut frame: Vec<u8> = self.voice.drain(..160.min(self.voice.len())).collect();
            frame.resize(160, 0xFF);
            let mut audio = String::new();
            self.session.write_audio(&mut audio, &frame);
            self.service.handle_text(self.now, &audio);
            while let Some(out) = self.service.poll(self.now) {
                match out {
                    Out::Text(text) => self.take(&text),
                    end => self.end = Some(end),
                }
            }
            self.now += 20;
        }
        self.send();
    }

    fn take(&mut self, text: &str) {
        self.down.push(serde_json::from_str(text).unwrap_or_default());
        let Ok(event) = self.session.parse(text) else { return };
        self.heard.push(match event {
            AgentEvent::Metadata { agent_output, user_input, .. } => Heard::Open(user_input.unwrap(), agent_output),
            AgentEvent::Audio { base64, event_id, .. } => Heard::Sound(event_id, base64.len() / 4 * 3),
            AgentEvent::AgentResponse { text, .. } => Heard::Said(text.into_owned()),
            AgentEvent::UserTranscript { text, .. } => Heard::Caller(text.into_owned()),
            AgentEvent::Interruption { .. } => Heard::Interruption,
            AgentEvent::ToolCall { name, id, parameters, .. } => {
                Heard::Tool(name.into_owned(), id.into_owned(), parameters)
            }
            AgentEvent::Error { error_type, .. } => Heard::Error(error_type.unwrap()),
            AgentEvent::Secondary(_) => Heard::Harmless,
            _ => return,
        });
    }

    fn until(&mut self, what: &str, mut found: impl FnMut(&Heard) -> bool) -> Heard {
        let mut from = 0;
        for _ in 0..2_000 {
            while from < self.heard.len() {
                from += 1;
                if found(&self.heard[from - 1]) {
                    let heard = self.heard[from - 1].clone();
                    self.heard.drain(..from);
                    return heard;
                }
            }
            self.run(20);
        }
        panic!("no {what}: {:?}", self.service.stats().protocol_errors);
    }

    fn said(&mut self) -> String {
        let Heard::Said(text) = self.until("words", |h| matches!(h, Heard::Said(_))) else { unreachable!() };
        text
    }

    fn tool(&mut self) -> (String, String, String) {
        let Heard::Tool(name, id, with) = self.until("tool", |h| matches!(h, Heard::Tool(..))) else { unreachable!() };
        (name, id, with)
    }

    fn speak(&mut self, clip: &str) {
        self.voice.extend(crate::assets::clip(clip).unwrap().ulaw.iter());
    }

    fn kinds(&self) -> Vec<&str> {
        self.down.iter().filter_map(|event| event["type"].as_str()).collect()
    }
}

/// The numbers of a kind of event.
fn count(line: &Line, kind: &str) -> usize {
    line.kinds().iter().filter(|k| **k == kind).count()
}

#[test]
fn a_visit_goes_on_as_the_client_says() {
    let mut line = Line::new(RealtimeConfig::default());
    line.session.open_with("Hello Ada. What is your date of birth?");
    assert_eq!(
        line.until("metadata", |h| matches!(h, Heard::Open(..))),
        Heard::Open("ulaw_8000".into(), "ulaw_8000".into())
    );
    assert_eq!(line.said(), "Hello Ada. What is your date of birth?", "exactly our words");
    line.run(4_000);
    line.speak("patient_yes");
    let Heard::Caller(text) = line.until("transcript", |h| matches!(h, Heard::Caller(_))) else { unreachable!() };
    assert!(text.to_lowercase().contains("yes"), "{text}");
    let (name, id, _) = line.tool();
    assert_eq!(name, "verify_identity");
    let before = count(&line, "response.created");
    line.run(3_000);
    assert_eq!(count(&line, "response.created"), before, "a model says nothing before it is asked");
    let next = json!({"verified": true, "next": {"step": "consent", "say": "Do you agree?", "then": "record_consent"}});
    line.session.tool_result(&id, &next.to_string(), false);
    assert_eq!(line.said(), "Do you agree?");
    line.run(3_000);
    line.speak("patient_yes");
    let (name, id, with) = line.tool();
    assert_eq!((name.as_str(), with.as_str()), ("record_consent", "{\"given\":\"yes\"}"));
    let next = json!({"next": {"step": "closing", "say": "Thank you. Goodbye.", "then": "end_call"}});
    line.session.tool_result(&id, &next.to_string(), false);
    assert_eq!(line.said(), "Thank you. Goodbye.");
    assert_eq!(line.tool().0, "end_call", "in the same breath");
    line.run(2_000);
    assert!(line.end.is_none(), "the client hangs up");
    assert_eq!(line.service.stats().protocol_errors, [""; 0]);
    assert_eq!(count(&line, "response.created"), count(&line, "response.done"));
    assert_eq!(count(&line, "error"), 0);
}

#[test]
fn every_event_has_what_it_needs() {
    let mut line = Line::new(RealtimeConfig::default());
    line.session.open_with("Hello Ada.");
    line.said();
    line.run(4_000);
    line.speak("patient_yes");
    line.tool();
    line.run(200);
    let mut ids: Vec<&str> = line.down.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), line.down.len(), "event ids are unique");
    for event in &line.down {
        let kind = event["type"].as_str().unwrap();
        if kind.starts_with("response.") && !matches!(kind, "response.created" | "response.done") {
            assert!(event["response_id"].is_string() && event["output_index"].is_u64(), "{event}");
        }
        if kind.starts_with("response.output_audio") || kind.starts_with("response.content_part") {
            assert!(event["item_id"].is_string() && event["content_index"] == 0, "{event}");
        }
    }
    let order: Vec<&str> = line.kinds().into_iter().filter(|kind| !kind.ends_with(".delta")).take(20).collect();
    assert_eq!(
        order[..16],
        [
            "session.created",
            "session.updated",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "input_audio_buffer.speech_started",
        ]
    );
}

#[test]
fn a_caller_who_talks_over_it_cuts_it_off() {
    let mut line = Line::with(Fault::Trickle);
    line.session.open_with("This is a very long sentence that goes on and on, so that there is time to say something.");
    line.until("sound", |h| matches!(h, Heard::Sound(..)));
    line.run(600);
    line.speak("patient_yes");
    line.until("interruption", |h| *h == Heard::Interruption);
    line.session.interrupted(700);
    line.run(1_500);
    let truncated = line.down.iter().find(|event| event["type"] == "conversation.item.truncated").unwrap();
    assert_eq!(truncated["audio_end_ms"], 700);
    let cancelled = line.down.iter().find(|event| event["response"]["status"] == "cancelled").unwrap();
    assert_eq!(cancelled["response"]["status_details"]["reason"], "turn_detected");
    assert_eq!(line.service.stats().protocol_errors, [""; 0]);
    assert!(!line.heard.iter().any(|heard| matches!(heard, Heard::Error(_))), "{:?}", line.heard);
}

#[test]
fn who_says_nothing_is_asked_again_and_not_without_the_setting() {
    let mut line = Line::new(RealtimeConfig::default());
    line.session.open_with("How is your breathing?");
    line.said();
    line.run(20_000);
    assert!(count(&line, "input_audio_buffer.timeout_triggered") >= 1);
    assert!(count(&line, "response.done") >= 2);
    let mut silent = Line::new(RealtimeConfig::default());
    silent.session.open_with("How is your breathing?");
    silent.said();
    silent.service.handle_text(
        silent.now,
        &json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":
            {"type": "server_vad", "idle_timeout_ms": null}}}}})
        .to_string(),
    );
    silent.run(20_000);
    assert_eq!(count(&silent, "input_audio_buffer.timeout_triggered"), 0);
}

#[test]
fn words_in_between_are_said_at_once() {
    let mut line = Line::new(RealtimeConfig::default());
    line.session.open_with("How is your breathing?");
    line.said();
    line.run(3_000);
    line.session.open_with("Please call 911 now.");
    assert_eq!(line.said(), "Please call 911 now.");
}

#[test]
fn a_visit_that_was_begun_elsewhere_goes_on_where_it_is() {
    let mut line = Line::new(RealtimeConfig::default());
    line.session.context("step", "Next: consent. Say: \"Do you agree?\" Then: record_consent");
    line.session.open_with("Sorry, the line was bad. Do you agree?");
    assert_eq!(line.said(), "Sorry, the line was bad. Do you agree?");
}

#[test]
fn wrong_settings_and_unknown_messages_are_refused_by_name() {
    let mut line = Line::new(RealtimeConfig::default());
    line.run(100);
    let refused = |line: &mut Line, message: Value| {
        let from = line.down.len();
        line.service.handle_text(line.now, &message.to_string());
        line.run(40);
        let error = line.down[from..].iter().find(|event| event["type"] == "error");
        error.map(|event| (event["error"]["code"].clone(), event["error"]["param"].clone()))
    };
    let session = |session: Value| json!({"type": "session.update", "session": session});
    for (message, code, param) in [
        (session(json!({"instructions": "x"})), "missing_required_parameter", json!("session.type")),
        (
            session(json!({"type": "realtime", "turn_detection": null})),
            "unknown_parameter",
            json!("session.turn_detection"),
        ),
        (
            session(json!({"type": "realtime", "audio": {"input": {"format": {"type": "audio/opus"}}}})),
            "invalid_value",
            json!("session.audio.input.format.type"),
        ),
        (session(json!({"type": "realtime", "model": "other"})), "cannot_update_model", json!("session.model")),
        (
            session(json!({"type": "realtime", "audio": {"output": {"voice": "rachel"}}})),
            "invalid_value",
            json!("session.audio.output.voice"),
        ),
        (json!({"type": "response.cancel"}), "response_cancel_not_active", Value::Null),
        (
            json!({"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}),
            "item_truncate_invalid_item_id",
            json!("item_id"),
        ),
        (
            json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c",
                "output": ""}}),
            "invalid_tool_call_id",
            json!("item.call_id"),
        ),
        (json!({"type": "user_audio_chunk"}), "invalid_value", json!("type")),
        (json!({"type": "input_audio_buffer.append", "audio": "***"}), "invalid_value", json!("audio")),
    ] {
        assert_eq!(refused(&mut line, message.clone()), Some((json!(code), param)), "{message}");
    }
    let create = json!({"type": "response.create"});
    assert_eq!(refused(&mut line, create.clone()), None);
    assert_eq!(
        refused(&mut line, create),
        Some((json!("conversation_already_has_active_response"), Value::Null)),
        "one response at a time"
    );
}

#[test]
fn faults_show_in_what_our_client_makes_of_them() {
    let error = |fault: Fault| {
        let mut line = Line::with(fault);
        line.session.open_with("Hello Ada.");
        line.run(9_000);
        let error = line.heard.iter().find_map(|h| if let Heard::Error(word) = h { Some(word.clone()) } else { None });
        (error, line.end)
    };
    assert_eq!(error(Fault::FailResponses("insufficient_quota")), (Some("insufficient_quota".into()), None));
    assert_eq!(error(Fault::ErrorEvent(Duration::from_secs(1))), (Some("server_error".into()), None));
    let (word, end) = error(Fault::LateReject);
    assert_eq!(word.as_deref(), Some("invalid_api_key"));
    assert!(matches!(end, Some(Out::Close { code: 3000, .. })));
    let (word, end) = error(Fault::Expire(Duration::from_secs(2)));
    assert_eq!(word.as_deref(), Some("session_expired"));
    assert!(matches!(end, Some(Out::Close { .. })));
    assert_eq!(error(Fault::Drop(Duration::from_secs(2))), (None, Some(Out::Drop)));
    let mut silent = Line::with(Fault::Silent);
    silent.session.open_with("Hello Ada.");
    silent.run(9_000);
    assert!(!silent.heard.iter().any(|h| matches!(h, Heard::Sound(..) | Heard::Said(_))));
    let mut pcm = Line::with(Fault::KeepsPcm);
    let open = pcm.until("metadata", |h| matches!(h, Heard::Open(..)));
    assert_eq!(open, Heard::Open("audio/pcm".into(), "audio/pcm".into()));
    for fault in [Fault::OldNames, Fault::UnknownEvent, Fault::Malformed, Fault::Slow(Duration::from_secs(3))] {
        let mut line = Line::with(fault.clone());
        line.session.open_with("Hello Ada.");
        assert_eq!(line.said(), "Hello Ada.", "{fault:?}");
    }
    let mut twice = Line::with(Fault::DuplicateToolCall);
    twice.session.open_with("Hello Ada.");
    twice.said();
    twice.run(3_000);
    twice.speak("patient_yes");
    twice.tool();
    twice.run(500);
    assert!(!twice.heard.iter().any(|h| matches!(h, Heard::Tool(..))), "our client passes it on once");
}

#[test]
fn a_script_of_its_own_and_pcm_both_ways() {
    let beats = vec![
        Beat::Say { text: "One two three.".into(), clip: None, interruptible: true },
        Beat::Listen(Listen::default()),
        Beat::EndCall,
    ];
    let script = Script { name: "own".into(), beats };
    let mut line = Line::new(RealtimeConfig { script, faults: Faults::one(Fault::KeepsPcm), ..Default::default() });
    line.until("metadata", |h| matches!(h, Heard::Open(..)));
    line.session.user_message("Please begin.");
    line.run(2_000);
    let stats = line.service.stats();
    let ms = crate::sound::synth::speaking_ms("One two three.");
    assert!(stats.agent_audio_bytes / 48 > ms / 2, "24 kHz has six times the bytes: {}", stats.agent_audio_bytes);
}

//! Conversations in virtual time, with the synthetic patients at the other end of an ideal line.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::conversation::{Conversation, Out};
use super::*;
use crate::patient::{Patient, PatientScript};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A client that bridges perfectly: answers pings and tools, plays audio, flushes on interruption.
struct Line {
    chat: Conversation,
    patient: Patient,
    queue: VecDeque<u8>,
    frames: Vec<(u64, Value)>,
    raw: Vec<String>,
    end: Option<(u64, Out)>,
    now: u64,
}

impl Line {
    fn new(config: SimConfig, scenario: &str) -> Self {
        let faults = config.faults.clone();
        let stats = ConversationStats { conversation_id: "conv_test".to_owned(), ..ConversationStats::default() };
        Self {
            chat: Conversation::new(Arc::new(config), faults, stats, 7),
            patient: Patient::new(PatientScript::scenario(scenario).unwrap()),
            queue: VecDeque::new(),
            frames: Vec::new(),
            raw: Vec::new(),
            end: None,
            now: 0,
        }
    }

    fn send(&mut self, message: &Value) {
        self.chat.handle_text(self.now, &message.to_string());
    }

    fn init(mut self) -> Self {
        self.send(&json!({"type": "conversation_initiation_client_data"}));
        self
    }

    fn step(&mut self) {
        while let Some(out) = self.chat.poll(self.now) {
            let Out::Text(text) = out else {
                self.end = Some((self.now, out));
                return;
            };
            let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                self.raw.push(text);
                continue;
            };
            match frame["type"].as_str().unwrap_or_default() {
                "audio" => {
                    if let Ok(bytes) = STANDARD.decode(frame["audio_event"]["audio_base_64"].as_str().unwrap_or("?")) {
                        self.queue.extend(bytes);
                    }
                }
                "interruption" => self.queue.clear(),
                "ping" => self.send(&json!({"type": "pong", "event_id": frame["ping_event"]["event_id"]})),
                "client_tool_call" => {
                    let id = &frame["client_tool_call"]["tool_call_id"];
                    self.send(
                        &json!({"type": "client_tool_result", "tool_call_id": id, "result": "{}", "is_error": false}),
                    );
                }
                _ => {}
            }
            self.frames.push((self.now, frame));
        }
        let mut heard: Vec<u8> = self.queue.drain(..self.queue.len().min(160)).collect();
        heard.resize(160, 0xFF);
        let spoken = self.patient.tick(self.now, &heard);
        self.send(&json!({"user_audio_chunk": STANDARD.encode(&spoken.ulaw)}));
        self.now += 20;
    }

    fn run(mut self, limit_ms: u64) -> Self {
        while self.end.is_none() && self.now < limit_ms {
            self.step();
        }
        self
    }

    fn kinds(&self) -> Vec<&str> {
        self.frames.iter().filter_map(|(_, frame)| frame["type"].as_str()).collect()
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.frames.iter().map(|(_, frame)| frame).filter(|frame| frame["type"] == kind).collect()
    }

    fn close_code(&self) -> Option<u16> {
        match &self.end {
            Some((_, Out::Close { code, .. })) => Some(*code),
            _ => None,
        }
    }
}

fn with(fault: &str) -> SimConfig {
    SimConfig { faults: Faults::parse([fault]).unwrap(), ..SimConfig::default() }
}

#[test]
fn a_check_in_is_asked_answered_and_ended_by_the_agent() {
    let line = Line::new(SimConfig::default(), "stable").init().run(90_000);
    assert_eq!(line.close_code(), Some(1000));
    assert!((45_000..70_000).contains(&line.now), "{}", line.now);
    assert_eq!(line.kinds()[..2], ["conversation_initiation_metadata", "ping"]);
    assert_eq!(line.of("conversation_initiation_metadata").len(), 1);
    let users: Vec<&str> = line
        .of("user_transcript")
        .iter()
        .filter_map(|frame| frame["user_transcription_event"]["user_transcript"].as_str())
        .collect();
    assert_eq!(users[1], "The same as last week. One hundred and eighty two pounds.");
    assert_eq!(users.len(), 5);
    let tools: Vec<String> = line
        .of("client_tool_call")
        .iter()
        .map(|f| format!("{} {}", f["client_tool_call"]["tool_name"], f["client_tool_call"]["parameters"]))
        .collect();
    assert_eq!(tools[1], r#""record_answer" {"question":"weight","value":"182 lb"}"#);
    assert_eq!(tools.iter().filter(|t| t.starts_with("\"start_task\"")).count(), 3);
    assert_eq!(tools.iter().filter(|t| t.starts_with("\"end_task\"")).count(), 3);
    assert!(line.chat.stats().protocol_errors.is_empty());
    // The goodbye is sent before the end, though not yet heard.
    assert!(line.queue.len() > 8_000);
}

#[test]
fn text_comes_before_audio_and_audio_faster_than_real_time() {
    let line = Line::new(SimConfig::default(), "stable").init().run(20_000);
    let first = |kind: &str| line.frames.iter().position(|(_, f)| f["type"] == kind).unwrap();
    assert!(first("agent_response") < first("audio"));
    let id = &line.of("agent_response")[0]["agent_response_event"]["event_id"];
    let greeting: Vec<u64> =
        line.frames.iter().filter(|(_, f)| f["audio_event"]["event_id"] == *id).map(|(at, _)| *at).collect();
    assert!(greeting.last().unwrap() - greeting[0] < 500);
    let ids: Vec<u64> = line.of("ping").iter().map(|f| f["ping_event"]["event_id"].as_u64().unwrap()).collect();
    assert_eq!(ids[0], 0);
    assert!(ids.windows(2).all(|w| w[0] < w[1]));
    assert!(line.of("ping")[0]["ping_event"]["ping_ms"].is_null());
    assert!(line.of("ping")[1]["ping_event"]["ping_ms"].is_u64());
}

#[test]
fn talking_over_the_agent_interrupts_and_corrects() {
    let line = Line::new(with("late-audio-equal"), "interrupting").init().run(90_000);
    assert_eq!(line.close_code(), Some(1000));
    assert_eq!(line.chat.stats().interruptions.len(), 1);
    let id = &line.of("interruption")[0]["interruption_event"]["event_id"];
    let correction = line.of("agent_response_correction")[0]["agent_response_correction_event"].clone();
    assert_eq!(correction["event_id"], *id);
    let corrected = correction["corrected_agent_response"].as_str().unwrap();
    assert!(corrected.starts_with("Thank you") && corrected.ends_with("..."), "{corrected}");
    // Nothing of the interrupted reply follows but the late chunk asked for.
    let at = line.frames.iter().position(|(_, f)| f["type"] == "interruption").unwrap();
    assert_eq!(line.frames[at..].iter().filter(|(_, f)| f["audio_event"]["event_id"] == *id).count(), 1);
    // The question is asked again and answered.
    let asked = line.of("agent_response").iter().filter(|f| f.to_string().contains("weigh")).count();
    assert_eq!(asked, 2);
    assert!(line.of("user_transcript").iter().any(|f| f.to_string().contains("eighty two")));
}

#[test]
fn other_patients_end_in_time() {
    for (scenario, most) in [("worsening", 75_000), ("short-of-breath", 55_000), ("silent", 30_000)] {
        let line = Line::new(SimConfig::default(), scenario).init().run(90_000);
        assert_eq!(line.close_code(), Some(1000), "{scenario}");
        assert!(line.now < most, "{scenario} {}", line.now);
    }
}

#[test]
fn a_seed_gives_the_same_frames() {
    let frames = |seed| {
        let config = SimConfig { seed, script: Script::sdk_check(), ..SimConfig::default() };
        let chat_seed = config.seed;
        let mut line = Line::new(config, "silent");
        line.chat = Conversation::new(
            Arc::new(SimConfig { seed, script: Script::sdk_check(), ..SimConfig::default() }),
            Faults::none(),
            ConversationStats::default(),
            chat_seed,
        );
        line.init().run(10_000).frames
    };
    assert_eq!(frames(3), frames(3));
    assert_ne!(frames(3), frames(4));
}

#[test]
fn faults_do_what_they_say() {
    let close = |fault: &str| Line::new(with(fault), "silent").init().run(15_000).close_code();
    assert_eq!(close("close-1008"), Some(1008));
    assert_eq!(close("close-1002=300"), Some(1002));
    assert_eq!(close("close-1011=300"), Some(1011));
    assert_eq!(close("close-3008"), Some(3008));
    let dropped = Line::new(with("drop=700"), "silent").init().run(15_000);
    assert!(matches!(dropped.end, Some((700..=760, Out::Drop))), "{:?}", dropped.end);
    let silent = Line::new(with("silent"), "stable").init().run(8_000);
    assert!(silent.of("audio").is_empty() && silent.of("ping").len() >= 4);
    assert!(
        Line::new(with("no-metadata"), "stable").init().run(2_000).kinds()[0] != "conversation_initiation_metadata"
    );
    let queue = Line::new(with("queue-waiting=500"), "stable").init().run(2_000);
    assert_eq!(queue.of("queue_status").len(), 2);
    let pings = Line::new(with("no-ping-ms"), "silent").init().run(3_000);
    assert!(pings.of("ping")[0]["ping_event"].get("ping_ms").is_none());
    let malformed = Line::new(with("malformed-json"), "silent").init().run(3_000);
    assert!(!malformed.raw.is_empty());
    assert!(!Line::new(with("unknown-event"), "silent").init().run(3_000).of("some_future_event").is_empty());
    let pcm = Line::new(with("format=pcm_16000"), "silent").init().run(3_000);
    assert!(pcm.of("conversation_initiation_metadata")[0].to_string().contains("pcm_16000"));
    let twice = Line::new(with("duplicate-tool-call"), "stable").init().run(12_000);
    assert_eq!(twice.of("client_tool_call")[0], twice.of("client_tool_call")[1]);
    assert!(twice.chat.stats().protocol_errors[0].starts_with("second result"));
    let big = Line::new(with("oversized"), "silent").init().run(2_000);
    assert!(big.of("audio").iter().any(|f| f.to_string().len() > 2 << 20));
}

#[test]
fn trickling_audio_is_slow_but_complete() {
    let count = |line: &Line| line.chat.stats().agent_audio_bytes;
    let slow = Line::new(with("trickle"), "silent").init().run(6_000);
    let fast = Line::new(SimConfig::default(), "silent").init().run(6_000);
    assert_eq!(count(&slow), count(&fast));
    let last = slow.frames.iter().filter(|(_, f)| f["type"] == "audio").map(|(at, _)| *at).max().unwrap();
    assert!(last > 2_500, "{last}");
}

#[test]
fn bad_clients_are_told_so() {
    let mut line = Line::new(SimConfig::default(), "silent").init();
    line.chat.handle_text(0, "{\"event\":\"media\"}");
    assert_eq!(line.run(1_000).close_code(), Some(1008));
    let mut binary = Line::new(SimConfig::default(), "silent").init();
    binary.chat.handle_binary(0);
    let binary = binary.run(1_000);
    assert_eq!(binary.close_code(), Some(1008));
    assert_eq!(binary.of("error")[0]["error_event"]["error_type"], "invalid_message");
    // No input at all for a minute.
    let mut chat = Conversation::new(
        Arc::new(SimConfig { input_timeout: Duration::from_secs(3), ..SimConfig::default() }),
        Faults::none(),
        ConversationStats::default(),
        1,
    );
    chat.handle_text(0, "{\"type\":\"conversation_initiation_client_data\"}");
    let mut code = None;
    for now in (0..5_000).step_by(20) {
        while let Some(out) = chat.poll(now) {
            if let Out::Close { code: c, .. } = out {
                code = Some((now, c));
            }
        }
    }
    assert_eq!(code, Some((3_000, 1002)));
}

#[test]
fn init_is_awaited_but_not_for_ever() {
    let mut chat = Conversation::new(Arc::new(SimConfig::default()), Faults::none(), ConversationStats::default(), 1);
    assert_eq!(chat.poll(1_990), None);
    assert!(matches!(chat.poll(2_000), Some(Out::Text(text)) if text.contains("conversation_initiation_metadata")));
    chat.handle_text(2_010, "{\"type\":\"conversation_initiation_client_data\"}");
    assert_eq!(chat.stats().protocol_errors.len(), 1);
}

#[test]
fn typed_conversations_need_no_audio() {
    let mut line = Line::new(SimConfig::default(), "silent");
    line.send(&json!({"type": "conversation_initiation_client_data",
        "conversation_config_override": {"conversation": {"text_only": true}}}));
    for _ in 0..3_000 {
        if line.end.is_some() {
            break;
        }
        line.step();
        line.send(&json!({"type": "user_message", "text": "I weigh 182 pounds"}));
    }
    assert_eq!(line.close_code(), Some(1000));
    assert!(line.of("audio").is_empty() && !line.of("agent_chat_response_part").is_empty());
    assert!(line.of("client_tool_call")[1].to_string().contains("I weigh 182 pounds"));
}

#[test]
fn scripts_are_chosen_by_patient_and_events_by_configuration() {
    let config = SimConfig {
        scripts_by_patient: vec![("Ada".to_owned(), Script::parrot())],
        client_events: Some(vec!["audio".to_owned(), "vad_score".to_owned()]),
        ..SimConfig::default()
    };
    let mut line = Line::new(config, "stable");
    line.send(&json!({"type": "conversation_initiation_client_data", "dynamic_variables": {"patient_name": "Ada"}}));
    let line = line.run(20_000);
    assert_eq!(line.close_code(), Some(1000));
    assert!(line.of("agent_response").is_empty() && !line.of("vad_score").is_empty());
    assert!(line.of("audio").iter().any(|f| f["audio_event"]["is_final"] == true));
}

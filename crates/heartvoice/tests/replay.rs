//! `call replay`: what the live call measured is computed again from the recording, to the last bit.
//!
//! The calls are made by the real call engine in simulated time, with lost audio, frames of odd lengths, an agent that
//! talks in between and voice tasks; their recordings and results are stored as the server stores them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::agent::{AgentLeg, Init};
use call::engine::{AnalysisStep, Capture};
use call::{Call, CallConfig, Input, Output, Tick};
use clinic::tools::{Effect, ToolOutcome, VoiceTask};
use clinic::{CallId, CallOutcome, Direction, EndCause, Segment};
use common::{KEY, audio, fails, json, run, succeeds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use store::{FinishCall, Frame, MasterKey, NewCall, Store, StoreConfig};
use tempfile::tempdir;

const STARTED_US: i64 = 1_767_225_600_000_000;

/// Everything that comes out of a call.
#[derive(Default)]
struct Live {
    captures: Vec<Capture>,
    open: BTreeMap<u32, (VoiceTask, Vec<AnalysisStep>)>,
    segments: Vec<Segment>,
    tools: Vec<(String, String, String)>,
    gaps: usize,
}

/// A caller with a stream clock, around the engine.
struct Caller {
    call: Call,
    now_ms: u64,
    live: Live,
}

impl Caller {
    fn connected() -> Self {
        let call = Call::new(CallConfig::default(), AgentLeg::elevenlabs(Init::default()));
        let mut caller = Self { call, now_ms: 0, live: Live::default() };
        caller.drain();
        caller.input(Input::AgentOpen);
        caller.agent(&json!({"type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {"conversation_id": "conv_1",
            "agent_output_audio_format": "ulaw_8000", "user_input_audio_format": "ulaw_8000"}}));
        caller.phone(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
        caller.phone(json!({"event": "start", "start": {
            "accountSid": "AC0123456789abcdef0123456789abcdef", "streamSid": "MZ00112233445566778899aabbccddeeff",
            "callSid": "CAfedcba9876543210fedcba9876543210", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {}}}));
        caller
    }

    fn input(&mut self, input: Input<'_>) {
        self.call.handle(Tick::from_ms(self.now_ms), input);
        self.drain();
        for (id, name, parameters) in std::mem::take(&mut self.live.tools) {
            let task = serde_json::from_str::<Value>(&parameters).unwrap();
            let effect = match name.as_str() {
                "start_task" => Effect::StartTask(VoiceTask::parse(task["task"].as_str().unwrap()).unwrap()),
                _ => Effect::EndTask,
            };
            let outcome = ToolOutcome { result: "{}".to_owned(), is_error: false, effect: Some(effect) };
            self.input(Input::ToolDone { id: &id, outcome });
        }
    }

    fn agent(&mut self, message: &Value) {
        self.input(Input::AgentText(&message.to_string()));
    }

    fn phone(&mut self, mut message: Value) {
        message["streamSid"] = "MZ00112233445566778899aabbccddeeff".into();
        self.input(Input::PhoneText(&message.to_string()));
    }

    fn tool(&mut self, id: &str, name: &str, parameters: &Value) {
        self.agent(&json!({"type": "client_tool_call", "client_tool_call": {
            "tool_name": name, "tool_call_id": id, "parameters": parameters, "event_id": 7}}));
    }

    /// The agent talks for a while.
    fn agent_talks(&mut self, ms: usize) {
        self.agent(&json!({"type": "audio",
            "audio_event": {"audio_base_64": STANDARD.encode(vec![0x55; ms * 8]), "event_id": self.now_ms}}));
    }

    /// The caller says something in frames of these lengths, in turn, as time goes by. Every so many frames one is lost.
    fn says(&mut self, ulaw: &[u8], lengths: &[usize], lose_every: Option<usize>) {
        let (mut at, mut number) = (0, 0);
        let start_ms = self.now_ms;
        while at < ulaw.len() {
            let length = lengths[number % lengths.len()].min(ulaw.len() - at);
            number += 1;
            let lost = lose_every.is_some_and(|every| number % every == 0);
            self.now_ms = start_ms + (at as u64).div_ceil(8);
            if !lost {
                let payload = STANDARD.encode(&ulaw[at..at + length]);
                let stamp = (start_ms + at as u64 / 8).to_string();
                self.phone(json!({"event": "media",
                    "media": {"track": "inbound", "payload": payload, "timestamp": stamp}}));
            }
            at += length;
        }
        self.now_ms = start_ms + (ulaw.len() as u64).div_ceil(8);
    }

    fn drain(&mut self) {
        let live = &mut self.live;
        loop {
            match self.call.poll_output() {
                Output::Timeout(_) => return,
                Output::Capture(capture) => live.captures.push(capture),
                Output::RunTool { id, name, parameters } => live.tools.push((id, name, parameters)),
                Output::Analyze(AnalysisStep::Open { segment, task }) => {
                    live.open.insert(segment, (task, Vec::new()));
                }
                Output::Analyze(AnalysisStep::Close { segment, spans }) => {
                    let (task, steps) = live.open.remove(&segment).unwrap();
                    let report = server::segment_report(task, |analyzer| {
                        for step in &steps {
                            match step {
                                AnalysisStep::Push { ulaw, .. } => analyzer.push_ulaw(ulaw),
                                AnalysisStep::Gap { samples, .. } => analyzer.push_gap(*samples as usize),
                                _ => unreachable!(),
                            }
                        }
                    });
                    live.segments.push(Segment { index: segment, task: task.as_str().to_owned(), spans, report });
                }
                Output::Analyze(step) => {
                    let (AnalysisStep::Push { segment, .. } | AnalysisStep::Gap { segment, .. }) = &step else {
                        unreachable!()
                    };
                    live.gaps += usize::from(matches!(step, AnalysisStep::Gap { .. }));
                    live.open.get_mut(segment).unwrap().1.push(step);
                }
                _ => {}
            }
        }
    }
}

fn ulaw(samples: &[f64]) -> Vec<u8> {
    audio::pcm16(samples).into_iter().map(voice::g711::ulaw_encode).collect()
}

/// A call with everything that makes it hard to tell which audio belongs where.
fn eventful_call() -> Live {
    let mut caller = Caller::connected();
    let talk = ulaw(&audio::count(8_000, 8));
    caller.says(&talk, &[160], None);
    caller.agent_talks(1_500);
    caller.says(&talk[..8_000], &[160], None);
    caller.tool("t1", "start_task", &json!({"task": "counting"}));
    caller.says(&talk, &[160, 100, 333, 27], Some(23));
    caller.tool("t2", "end_task", &json!({}));
    caller.says(&talk[..20_001], &[101], Some(40));
    caller.tool("t3", "start_task", &json!({"task": "sustained-vowel"}));
    caller.agent_talks(300);
    caller.says(&ulaw(&audio::vowel(8_000, 5.0, 3)), &[160, 320], Some(61));
    caller.now_ms += 14_000;
    caller.says(&talk[..4_003], &[77], None);
    caller.tool("t4", "end_task", &json!({}));
    caller.tool("t5", "start_task", &json!({"task": "counting"}));
    caller.tool("t6", "end_task", &json!({}));
    caller.says(&talk, &[160], Some(100));
    caller.input(Input::PhoneClosed);
    assert!(caller.live.open.is_empty() && caller.live.gaps > 10);
    caller.live
}

/// Stores a call as the server does and says under which name.
async fn save(store: &Store, sid: &str, live: &Live, segments: &[Segment], finish: bool) -> CallId {
    let new = NewCall { call_sid: sid, patient_id: None, direction: Direction::Inbound, started_at_us: STARTED_US };
    let handle = store.begin_call(new).await.unwrap();
    let mut writer = store.recording_writer(&handle).unwrap();
    for capture in &live.captures {
        let frame = match capture {
            Capture::Patient { position_samples, arrived, ulaw } => {
                Frame::Patient { position_samples: *position_samples, arrived_us: arrived.as_us(), ulaw }
            }
            Capture::Agent { play_at, ulaw } => Frame::Agent { play_at_us: play_at.as_us(), ulaw },
            Capture::AgentCleared { at } => Frame::AgentCleared { at_us: at.as_us() },
        };
        writer.append(&frame).unwrap();
    }
    writer.finish().unwrap();
    for segment in segments {
        store.add_segment(&handle, segment).await.unwrap();
    }
    if finish {
        let end = FinishCall {
            outcome: CallOutcome::Completed,
            end_cause: Some(EndCause::StreamClosed),
            ended_at_us: STARTED_US + 60_000_000,
            agents: Vec::new(),
            turns: 0,
            interruptions: 0,
        };
        store.finish_call(&handle.id, end).await.unwrap();
    }
    handle.id
}

/// A clinic with these calls; `None` stands for one that goes on.
fn clinic(dir: &Path, calls: &[(&Live, Option<&[Segment]>)]) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = StoreConfig {
            database_url: format!("sqlite://{}", dir.join("hv.db").display()),
            audio_dir: dir.join("audio"),
        };
        let store = Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap();
        let mut ids = Vec::new();
        for (number, (live, segments)) in calls.iter().enumerate() {
            let stored = segments.unwrap_or(&live.segments);
            ids.push(save(&store, &format!("CA{number}"), live, stored, segments.is_some()).await.to_string());
        }
        store.close().await;
        ids
    })
}

const SETTINGS: [(&str, &str); 3] =
    [("ENCRYPTION_KEY", KEY), ("DATABASE_URL", "sqlite://hv.db"), ("AUDIO_STORE", "audio")];

/// The segments with one measure of the vowel changed.
fn tampered(live: &Live, change: impl Fn(&mut Value)) -> Vec<Segment> {
    let mut segments = live.segments.clone();
    let vowel = segments.iter_mut().find(|segment| segment.task == "sustained-vowel").unwrap();
    assert!(vowel.report["measures"]["f0_mean_hz"].is_number(), "{}", vowel.report);
    change(&mut vowel.report);
    segments
}

/// The next number after this one.
fn nudge(value: &mut Value) {
    let number = value.as_f64().unwrap();
    *value = f64::from_bits(number.to_bits() + 1).into();
}

#[test]
fn a_call_is_reproduced_bit_for_bit() {
    let dir = tempdir().unwrap();
    let live = eventful_call();
    let ids = clinic(dir.path(), &[(&live, Some(&live.segments))]);
    let result = json(dir.path(), &["call", "replay", &ids[0], "--format", "json"], &SETTINGS);
    assert_eq!(result["reproduced"], true, "{result:#}");
    assert_eq!(result["recording_complete"], true);
    let segments = result["segments"].as_array().unwrap();
    let tasks: Vec<&str> = segments.iter().map(|segment| segment["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["speech", "counting", "sustained-vowel", "counting"]);
    assert!(segments.iter().all(|segment| segment["verdict"] == "reproduced"));
    let text = succeeds(dir.path(), &["call", "replay", &ids[0]], &SETTINGS);
    assert!(text.contains("reproduced: 4 of 4 segments, bit for bit"), "{text}");
}

#[test]
fn a_number_that_was_changed_is_found_however_little() {
    let dir = tempdir().unwrap();
    let live = eventful_call();
    let segments = tampered(&live, |report| nudge(&mut report["measures"]["f0_mean_hz"]));
    let ids = clinic(dir.path(), &[(&live, Some(&segments))]);
    let output = run(dir.path(), &["call", "replay", &ids[0]], &SETTINGS);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("DIFFERENT") && text.contains("f0_mean_hz") && !text.contains("hnr_mean_db"), "{text}");
    assert!(text.contains("4 segments: 3 reproduced, 1 different"), "{text}");
    let output = run(dir.path(), &["call", "replay", &ids[0], "--format", "json"], &SETTINGS);
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let vowel = &result["segments"][2];
    assert_eq!((vowel["verdict"].as_str(), result["reproduced"].as_bool()), (Some("different"), Some(false)));
    let rows = vowel["differences"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["measure"], "f0_mean_hz");
    assert_ne!(rows[0]["stored"].as_f64().unwrap().to_bits(), rows[0]["now"].as_f64().unwrap().to_bits());
}

#[test]
fn measures_of_another_version_stand_beside_those_of_now() {
    let dir = tempdir().unwrap();
    let live = eventful_call();
    let segments = tampered(&live, |report| {
        report["engine_version"] = "0.0.0".into();
        report["measures"]["hnr_mean_db"] = 3.25.into();
    });
    let ids = clinic(dir.path(), &[(&live, Some(&segments))]);
    let text = succeeds(dir.path(), &["call", "replay", &ids[0]], &SETTINGS);
    assert!(text.contains("measured by version 0.0.0, now"), "{text}");
    let row = text.lines().find(|line| line.trim_start().starts_with("hnr_mean_db")).unwrap();
    assert!(row.contains("3.25") && row.contains('+'), "{row}");
    assert!(text.contains("f0_mean_hz"), "every measure is listed: {text}");
}

#[test]
fn what_cannot_be_replayed_is_said_on_one_line() {
    let dir = tempdir().unwrap();
    let live = eventful_call();
    let calls =
        [(&live, None), (&live, Some(&[][..])), (&live, Some(&live.segments[..])), (&live, Some(&live.segments[..]))];
    let ids = clinic(dir.path(), &calls);
    let fails = |id: &str, code| fails(dir.path(), &["call", "replay", id], &SETTINGS, code);
    assert!(fails(&ids[0], 1).contains("still in progress"));
    assert!(fails(&ids[1], 1).contains("no analysed voice"));
    let recording = |id: &str| dir.path().join("audio").join(format!("{id}.hvr"));
    let path = |id: &str| {
        let files = std::fs::read_dir(dir.path().join("audio")).unwrap().map(|entry| entry.unwrap().path());
        let found = files.into_iter().find(|path| path.to_string_lossy().contains(id));
        found.unwrap_or_else(|| recording(id))
    };
    std::fs::remove_file(path(&ids[2])).unwrap();
    assert!(fails(&ids[2], 1).contains("no recording any more"));
    let mut bytes = std::fs::read(path(&ids[3])).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path(&ids[3]), bytes).unwrap();
    assert!(fails(&ids[3], 1).contains("damaged or was tampered with"));
    assert!(fails("0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b", 1).contains("no such call"));
    assert!(fails("no/such", 2).contains("identifier"));
}

#[test]
fn a_recording_whose_end_was_lost_differs_and_says_why() {
    let dir = tempdir().unwrap();
    let mut live = eventful_call();
    live.captures.truncate(live.captures.len() - 40);
    let ids = clinic(dir.path(), &[(&live, Some(&live.segments))]);
    let output = run(dir.path(), &["call", "replay", &ids[0]], &SETTINGS);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("duration_s"));
}

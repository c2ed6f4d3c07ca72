//! What the session says, and when, for what it hears.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::agent::realtime::RealtimeTool;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

fn setup() -> RealtimeSetup {
    RealtimeSetup {
        instructions: "You are the assistant of a clinic.".to_owned(),
        tools: vec![RealtimeTool {
            name: "record_answer".to_owned(),
            description: "Stores an answer.".to_owned(),
            parameters: json!({"type": "object", "properties": {"value": {"type": "string"}}}),
        }],
        language: "en".to_owned(),
        voice: "marin".to_owned(),
        transcription_model: "gpt-4o-mini-transcribe".to_owned(),
    }
}

fn sent(session: &mut RealtimeSession) -> Vec<Value> {
    session.frames().map(|frame| serde_json::from_str(&frame).unwrap()).collect()
}

fn kinds(session: &mut RealtimeSession) -> Vec<String> {
    sent(session).iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
}

/// Hears one message and tells what kind of event came of it.
fn hear(session: &mut RealtimeSession, message: Value) -> AgentEvent<'static> {
    let text: &'static str = Box::leak(message.to_string().into_boxed_str());
    session.parse(text).unwrap()
}

fn updated(input: &str, output: &str) -> Value {
    json!({"type": "session.updated", "event_id": "e", "session": {"type": "realtime", "id": "sess_1", "audio": {
        "input": {"format": {"type": input}}, "output": {"format": {"type": output}}}}})
}

fn open() -> RealtimeSession {
    let mut session = RealtimeSession::new(setup());
    session.hello();
    hear(&mut session, json!({"type": "session.created", "session": {"id": "sess_1"}}));
    hear(&mut session, updated("audio/pcmu", "audio/pcmu"));
    assert_eq!(kinds(&mut session), ["session.update"]);
    session
}

fn begin(session: &mut RealtimeSession, id: &str) {
    hear(session, json!({"type": "response.created", "response": {"id": id}}));
}

fn done(session: &mut RealtimeSession, id: &str) {
    let event = hear(session, json!({"type": "response.done", "response": {"id": id, "status": "completed"}}));
    assert!(matches!(event, AgentEvent::AgentResponseComplete { .. }));
}

fn delta(response: &str, bytes: usize) -> Value {
    let mut frame = String::new();
    write::write_audio(&mut frame, &vec![0xFF; bytes]);
    let audio = serde_json::from_str::<Value>(&frame).unwrap()["audio"].clone();
    json!({"type": "response.output_audio.delta", "response_id": response, "item_id": format!("item_{response}"),
        "output_index": 0, "content_index": 0, "delta": audio})
}

fn refused(code: &str) -> Value {
    json!({"type": "error", "event_id": "e", "error": {"type": "invalid_request_error", "code": code, "message": "…",
        "param": null, "event_id": "hv_create"}})
}

#[test]
fn the_first_message_sets_everything_the_telephone_needs() {
    let mut session = RealtimeSession::new(setup());
    session.hello();
    session.hello();
    let frames = sent(&mut session);
    assert_eq!(frames.len(), 1, "only once");
    let update = &frames[0]["session"];
    assert_eq!(update["type"], "realtime");
    assert_eq!(update["output_modalities"], json!(["audio"]));
    assert_eq!(update["audio"]["input"]["format"], json!({"type": "audio/pcmu"}));
    assert_eq!(update["audio"]["output"], json!({"format": {"type": "audio/pcmu"}, "voice": "marin"}));
    assert_eq!(update["audio"]["input"]["transcription"], json!({"model": "gpt-4o-mini-transcribe", "language": "en"}));
    let turns = &update["audio"]["input"]["turn_detection"];
    assert_eq!((&turns["type"], &turns["create_response"]), (&json!("server_vad"), &json!(true)));
    assert_eq!(turns["interrupt_response"], true);
    assert_eq!(update["tools"][0]["type"], "function");
    assert_eq!(update["tools"][0]["name"], "record_answer");
    assert_eq!((&update["tool_choice"], &update["tracing"]), (&json!("auto"), &Value::Null));
}

#[test]
fn the_conversation_is_open_when_the_service_has_taken_our_settings() {
    let mut session = RealtimeSession::new(setup());
    session.hello();
    session.open_with("Hello, this is the clinic.");
    assert_eq!(kinds(&mut session), ["session.update"], "nothing is said in another format");
    hear(&mut session, json!({"type": "session.created", "session": {"id": "sess_9"}}));
    assert_eq!(kinds(&mut session), [""; 0]);
    let mut message = updated("audio/pcmu", "audio/pcmu");
    message["session"].as_object_mut().unwrap().remove("id");
    let AgentEvent::Metadata { conversation_id, agent_output, user_input } = hear(&mut session, message) else {
        panic!("no metadata")
    };
    assert_eq!((conversation_id.as_str(), agent_output.as_str()), ("sess_9", "ulaw_8000"));
    assert_eq!(user_input.as_deref(), Some("ulaw_8000"));
    let frames = sent(&mut session);
    assert_eq!(frames[0]["item"]["role"], "system");
    assert_eq!(frames[1]["type"], "response.create");
    for place in [&frames[0]["item"]["content"][0]["text"], &frames[1]["response"]["instructions"]] {
        assert!(place.as_str().unwrap().contains("\"Hello, this is the clinic.\""), "{place}");
    }
    assert_eq!(frames[1]["response"]["tool_choice"], "none", "it must speak, not call");
    let again = hear(&mut session, updated("audio/pcmu", "audio/pcmu"));
    assert!(matches!(again, AgentEvent::Other { .. }), "the second time it is no news");
}

#[test]
fn another_format_is_reported_under_its_name() {
    for (message, expected) in [
        (updated("audio/pcm", "audio/pcmu"), ("audio/pcm", "ulaw_8000")),
        (updated("audio/pcmu", "audio/pcma"), ("ulaw_8000", "audio/pcma")),
        (json!({"type": "session.updated", "session": {}}), ("unnamed", "unnamed")),
        (
            json!({"type": "session.updated", "session": {"input_audio_format": "g711_ulaw",
                "output_audio_format": "pcm16"}}),
            ("ulaw_8000", "pcm16"),
        ),
    ] {
        let mut session = RealtimeSession::new(setup());
        let AgentEvent::Metadata { agent_output, user_input, .. } = hear(&mut session, message) else { panic!() };
        assert_eq!((user_input.as_deref().unwrap(), agent_output.as_str()), expected);
    }
}

#[test]
fn sound_has_the_number_of_its_response_in_both_spellings() {
    let mut session = open();
    begin(&mut session, "resp_a");
    let number = |event| if let AgentEvent::Audio { event_id, .. } = event { event_id } else { panic!("no sound") };
    let first = number(hear(&mut session, delta("resp_a", 160)));
    let mut older = delta("resp_a", 160);
    older["type"] = json!("response.audio.delta");
    assert_eq!(number(hear(&mut session, older)), first);
    done(&mut session, "resp_a");
    begin(&mut session, "resp_b");
    assert!(number(hear(&mut session, delta("resp_b", 160))) > first, "numbers grow");
    let said = hear(
        &mut session,
        json!({"type": "response.output_audio_transcript.done", "response_id": "resp_a", "item_id": "i",
            "output_index": 0, "content_index": 0, "transcript": " Good morning. "}),
    );
    assert!(
        matches!(said, AgentEvent::AgentResponse { text, event_id } if text == "Good morning." && event_id == Some(first))
    );
}

#[test]
fn what_the_caller_cut_off_is_void_and_forgotten_by_the_model() {
    let mut session = open();
    begin(&mut session, "resp_a");
    hear(&mut session, delta("resp_a", 16_000));
    let event = hear(&mut session, json!({"type": "input_audio_buffer.speech_started", "item_id": "u"}));
    let AgentEvent::Interruption { event_id: Some(id), .. } = event else { panic!("no interruption") };
    assert!(matches!(hear(&mut session, delta("resp_a", 160)), AgentEvent::Other { .. }), "late sound is not played");
    session.interrupted(750);
    let frames = sent(&mut session);
    assert_eq!(
        frames,
        [
            json!({"type": "conversation.item.truncate", "event_id": "hv_tidy", "item_id": "item_resp_a", "content_index": 0,
            "audio_end_ms": 750})
        ]
    );
    session.interrupted(750);
    assert!(sent(&mut session).is_empty(), "once");
    begin(&mut session, "resp_b");
    let event = hear(&mut session, delta("resp_b", 800));
    assert!(matches!(event, AgentEvent::Audio { event_id, .. } if event_id > id), "the next answer is heard");
    session.interrupted(100_000);
    assert!(sent(&mut session).is_empty(), "all of it was heard");
}

#[test]
fn a_function_call_counts_once_it_is_complete_and_never_when_it_was_cut_off() {
    let call = |session: &mut RealtimeSession, message: Value| match hear(session, message) {
        AgentEvent::ToolCall { name, id, parameters, .. } => Some((name.into_owned(), id.into_owned(), parameters)),
        _ => None,
    };
    let arguments = json!({"type": "response.function_call_arguments.done", "item_id": "item_1", "call_id": "call_1",
        "response_id": "r", "output_index": 0, "name": "record_answer", "arguments": "{\"value\":\"182\"}"});
    let item = |kind: &str, status: &str| {
        json!({"type": kind, "response_id": "r", "item": {"id": "item_1", "type": "function_call", "status": status,
        "call_id": "call_1", "name": "record_answer", "arguments": "{\"value\":\"182\"}"}})
    };
    let expected = Some(("record_answer".to_owned(), "call_1".to_owned(), "{\"value\":\"182\"}".to_owned()));
    let mut session = open();
    assert_eq!(call(&mut session, item("response.output_item.added", "in_progress")), None);
    assert_eq!(call(&mut session, arguments.clone()), None, "the caller may still talk over it");
    assert_eq!(call(&mut session, item("response.output_item.done", "completed")), expected);
    assert_eq!(call(&mut session, item("response.output_item.done", "completed")), None, "not twice");
    // Its name stood in the item that began.
    let mut session = open();
    call(&mut session, item("response.output_item.added", "in_progress"));
    let mut nameless = item("response.output_item.done", "completed");
    nameless["item"].as_object_mut().unwrap().remove("name");
    assert_eq!(call(&mut session, nameless), expected);
    // Talked over.
    let mut session = open();
    call(&mut session, arguments);
    assert_eq!(call(&mut session, item("response.output_item.done", "incomplete")), None);
}

#[test]
fn of_a_reply_that_was_talked_over_only_what_was_heard_counts() {
    let words = "Please hang up and call nine one one now.";
    let said = |session: &mut RealtimeSession| match hear(
        session,
        json!({"type": "response.output_audio_transcript.done", "response_id": "r", "item_id": "i", "transcript": words}),
    ) {
        AgentEvent::AgentResponse { text, .. } => text.into_owned(),
        other => panic!("{other:?}"),
    };
    let sound = |session: &mut RealtimeSession| {
        let delta = STANDARD.encode(vec![0x55; 8 * 1_000]);
        hear(
            session,
            json!({"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": delta}),
        );
    };
    // Its words are known when it is cut.
    let mut session = open();
    begin(&mut session, "r");
    sound(&mut session);
    assert_eq!(said(&mut session), words);
    assert_eq!(session.interrupted(500), Some((words.to_owned(), "Please hang up and".to_owned())));
    assert_eq!(session.interrupted(500), None, "once");
    // They come afterwards.
    let mut session = open();
    begin(&mut session, "r");
    sound(&mut session);
    assert_eq!(session.interrupted(500), None);
    assert_eq!(said(&mut session), "Please hang up and");
    // It was heard to its end.
    let mut session = open();
    begin(&mut session, "r");
    sound(&mut session);
    said(&mut session);
    assert_eq!(session.interrupted(1_000), None);
}

#[test]
fn functions_that_only_tell_us_something_are_answered_once() {
    let mut session = open();
    let event = hear(
        &mut session,
        json!({"type": "response.output_item.done", "response_id": "r", "item": {"id": "i", "type": "function_call",
            "status": "completed", "call_id": "call_9", "name": "language_detection",
            "arguments": "{\"language\":\"es\"}"}}),
    );
    assert!(matches!(event, AgentEvent::ToolCall { name, .. } if name == "language_detection"));
    session.tool_result("call_9", "{}", false);
    let frames = sent(&mut session);
    assert_eq!(frames.len(), 2, "one answer, one request to go on: {frames:?}");
    assert_eq!(frames[0]["item"]["output"], "ok");
}

#[test]
fn an_answer_to_a_tool_waits_until_the_model_has_ended() {
    let mut session = open();
    begin(&mut session, "resp_a");
    session.tool_result("call_1", "{\"stored\":true}", false);
    let frames = sent(&mut session);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0]["item"]["type"], "function_call_output");
    assert_eq!(frames[0]["item"]["call_id"], "call_1");
    assert_eq!(frames[0]["item"]["output"], "{\"stored\":true}");
    session.tool_result("call_2", "", false);
    session.user_message("The caller pressed 1.");
    assert_eq!(kinds(&mut session), ["conversation.item.create"; 2]);
    done(&mut session, "resp_a");
    assert_eq!(kinds(&mut session), ["response.create"], "one response for all of them");
    assert!(kinds(&mut session).is_empty());
    session.tool_result("call_3", "x", true);
    let frames = sent(&mut session);
    assert_eq!(frames.len(), 1, "one was asked for already");
    assert_eq!(frames[0]["item"]["output"], "error: x");
    begin(&mut session, "resp_b");
    done(&mut session, "resp_b");
    assert_eq!(kinds(&mut session), ["response.create"]);
}

#[test]
fn a_request_that_met_the_services_own_response_comes_again_if_it_is_still_needed() {
    let collide = |taken_in_first: bool| {
        let mut session = open();
        session.tool_result("call_1", "{}", false);
        let frames = sent(&mut session);
        let item = frames[0]["item"]["id"].clone();
        let added = json!({"type": "conversation.item.added", "item": {"id": item}});
        if taken_in_first {
            hear(&mut session, added.clone());
        }
        begin(&mut session, "resp_vad");
        if !taken_in_first {
            hear(&mut session, added);
        }
        let event = hear(&mut session, refused("conversation_already_has_active_response"));
        assert!(matches!(event, AgentEvent::Secondary(_)), "nobody is alarmed");
        assert!(kinds(&mut session).is_empty());
        done(&mut session, "resp_vad");
        kinds(&mut session)
    };
    assert_eq!(collide(false), ["response.create"]);
    assert_eq!(collide(true), [""; 0], "that response knew the answer");
}

#[test]
fn a_refusal_without_any_response_does_not_make_an_endless_exchange() {
    let mut session = open();
    session.user_message("hello");
    assert_eq!(kinds(&mut session).len(), 2);
    for _ in 0..5 {
        hear(&mut session, refused("conversation_already_has_active_response"));
        assert!(kinds(&mut session).is_empty());
    }
    done(&mut session, "resp_unseen");
    assert_eq!(kinds(&mut session), ["response.create"]);
}

#[test]
fn nothing_is_asked_for_while_the_caller_speaks() {
    let mut session = open();
    hear(&mut session, json!({"type": "input_audio_buffer.speech_started", "item_id": "u"}));
    session.tool_result("call_1", "{}", false);
    let item = sent(&mut session)[0]["item"]["id"].clone();
    hear(&mut session, json!({"type": "conversation.item.added", "item": {"id": item}}));
    hear(&mut session, json!({"type": "input_audio_buffer.speech_stopped", "item_id": "u"}));
    hear(&mut session, json!({"type": "input_audio_buffer.committed", "item_id": "u"}));
    assert!(kinds(&mut session).is_empty(), "the service answers by itself");
    begin(&mut session, "resp_vad");
    done(&mut session, "resp_vad");
    assert!(kinds(&mut session).is_empty(), "and knew the result");
    // A service that does not answer is asked, once the words of the caller are there.
    session.user_message("x");
    hear(&mut session, json!({"type": "input_audio_buffer.speech_started", "item_id": "v"}));
    sent(&mut session);
    hear(&mut session, json!({"type": "input_audio_buffer.speech_stopped", "item_id": "v"}));
    let heard = hear(
        &mut session,
        json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "v", "content_index": 0,
            "transcript": " Fine. \n", "usage": {"type": "duration", "seconds": 1}}),
    );
    assert!(matches!(heard, AgentEvent::UserTranscript { text, .. } if text == "Fine."));
    assert_eq!(kinds(&mut session), ["response.create"]);
}

#[test]
fn words_that_must_be_said_are_not_swallowed_by_another_answer() {
    let mut session = open();
    begin(&mut session, "resp_vad");
    session.open_with("Please call 911 now.");
    let item = sent(&mut session)[0]["item"]["id"].clone();
    hear(&mut session, json!({"type": "conversation.item.added", "item": {"id": item}}));
    begin(&mut session, "resp_next");
    session.tool_result("call_1", "{}", false);
    sent(&mut session);
    done(&mut session, "resp_next");
    let frames = sent(&mut session);
    assert!(frames[0]["response"]["instructions"].as_str().unwrap().contains("call 911"), "{frames:?}");
}

#[test]
fn background_is_replaced_by_name_and_asks_for_nothing() {
    let mut session = open();
    session.context("step", "Next: consent");
    let first = sent(&mut session);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["item"]["role"], "system");
    session.context("step", "Next: weight");
    let second = sent(&mut session);
    assert_eq!(
        second[0],
        json!({"type": "conversation.item.delete", "event_id": "hv_tidy", "item_id": first[0]["item"]["id"]})
    );
    assert_eq!(second[1]["item"]["content"][0]["text"], "Next: weight");
    assert_eq!(second.len(), 2);
}

#[test]
fn errors_have_a_stable_word_and_a_meaning() {
    let word = |session: &mut RealtimeSession, message: Value| match hear(session, message) {
        AgentEvent::Error { error_type, message: None, .. } => error_type,
        _ => None,
    };
    let error = |kind: &str, code: Value| json!({"type": "error", "event_id": "e", "error": {"type": kind, "code": code, "message": "Ada is 78"}});
    for (kind, code, expected, meaning) in [
        ("invalid_request_error", json!("invalid_api_key"), "invalid_api_key", Failing::Configuration),
        ("invalid_request_error", json!("model_not_found"), "model_not_found", Failing::Configuration),
        ("insufficient_quota", json!("insufficient_quota"), "insufficient_quota", Failing::Configuration),
        ("invalid_request_error", json!("session_expired"), "session_expired", Failing::Expired),
        ("rate_limit_error", json!("rate_limit_exceeded"), "rate_limit_exceeded", Failing::Busy),
        ("server_error", Value::Null, "server_error", Failing::Passing),
        ("server_error", json!("Ada is 78"), "server_error", Failing::Passing),
        ("Ada", json!(7), "unknown_error", Failing::Passing),
    ] {
        let heard = word(&mut open(), error(kind, code));
        assert_eq!(heard.as_deref(), Some(expected));
        assert_eq!(super::read::failing(expected), meaning, "{expected}");
    }
    for code in ["response_cancel_not_active", "item_delete_invalid_item_id"] {
        let event = hear(&mut open(), error("invalid_request_error", json!(code)));
        assert!(matches!(event, AgentEvent::Secondary(SecondaryEvent::ClientError)), "{code}");
    }
    let mut settings = error("invalid_request_error", json!("invalid_value"));
    settings["error"]["event_id"] = json!("hv_session");
    let heard = word(&mut RealtimeSession::new(setup()), settings).unwrap();
    assert_eq!(super::read::failing(&heard), Failing::Configuration, "the same settings are refused again");
}

#[test]
fn a_response_that_failed_is_told_and_asked_for_once_more() {
    let mut session = open();
    let fail = |session: &mut RealtimeSession, id: &str, code: Value| {
        begin(session, id);
        let event = hear(
            session,
            json!({"type": "response.done", "response": {"id": id, "status": "failed", "status_details": {
                "type": "failed", "error": {"type": "server_error", "code": code}}}}),
        );
        assert!(matches!(event, AgentEvent::Error { .. }));
        kinds(session)
    };
    assert_eq!(fail(&mut session, "r1", Value::Null), ["response.create"]);
    assert_eq!(fail(&mut session, "r2", Value::Null), [""; 0]);
    begin(&mut session, "r3");
    done(&mut session, "r3");
    assert_eq!(fail(&mut session, "r4", json!("insufficient_quota")), [""; 0], "paying nothing twice");
}

#[test]
fn what_is_no_message_is_an_error_and_what_is_unknown_is_not() {
    let mut session = open();
    for (text, code) in [
        ("", "not_json"),
        ("[]", "missing_field"),
        ("{}", "missing_field"),
        (r#"{"type":7}"#, "invalid_field"),
        (r#"{"type":"response.output_audio.delta"}"#, "missing_field"),
        (r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":7}"#, "invalid_field"),
        (r#"{"type":"response.created"}"#, "missing_field"),
    ] {
        assert_eq!(session.parse(text).unwrap_err().code(), code, "{text}");
    }
    for text in [r#"{"type":"rate_limits.updated","rate_limits":[]}"#, r#"{"type":"new.thing","session":7,"item":[]}"#]
    {
        assert!(matches!(session.parse(text), Ok(AgentEvent::Other { .. })), "{text}");
    }
    assert!(matches!(session.parse(r#"{"type":"error"}"#), Ok(AgentEvent::Error { .. })));
}

#[test]
fn addresses_follow_the_base() {
    let base = "https://api.openai.com/v1/";
    assert_eq!(write::session_url(base, "gpt-realtime"), "wss://api.openai.com/v1/realtime?model=gpt-realtime");
    assert_eq!(write::session_url("http://127.0.0.1:9/v1", "a b"), "ws://127.0.0.1:9/v1/realtime?model=a%20b");
    assert_eq!(write::model_url(base, "gpt-realtime"), "https://api.openai.com/v1/models/gpt-realtime");
}

/// Names of events and values of fields that mean something here, among arbitrary ones.
fn message() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "session.created",
        "session.updated",
        "response.created",
        "response.done",
        "response.output_audio.delta",
        "response.output_audio_transcript.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.function_call_arguments.done",
        "conversation.item.added",
        "conversation.item.input_audio_transcription.completed",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "error",
        "unheard.of",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
        Just(json!("conversation_already_has_active_response")),
        Just(json!("function_call")),
        Just(json!("failed")),
        (0..200_u32).prop_map(|n| json!(format!("id_{n}"))),
    ];
    let key = prop::sample::select(vec![
        "id",
        "type",
        "code",
        "status",
        "status_details",
        "error",
        "format",
        "audio",
        "input",
        "output",
        "call_id",
        "item_id",
        "name",
        "arguments",
        "event_id",
    ]);
    let value = leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let field = prop::sample::select(vec![
        "response_id",
        "item_id",
        "content_index",
        "delta",
        "transcript",
        "call_id",
        "name",
        "arguments",
        "session",
        "response",
        "item",
        "error",
    ]);
    (kind, prop::collection::btree_map(field.prop_map(str::to_owned), value, 0..8)).prop_map(|(kind, fields)| {
        let mut map: serde_json::Map<String, Value> = fields.into_iter().collect();
        map.insert("type".to_owned(), json!(kind));
        Value::Object(map).to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_messages_neither_panic_nor_fill_the_memory(
        messages in prop::collection::vec(prop_oneof![8 => message(), 1 => ".{0,40}".boxed()], 0..200),
        taken in any::<bool>(),
    ) {
        let mut session = RealtimeSession::new(setup());
        session.hello();
        let mut asked = 0_i64;
        for (number, message) in messages.iter().enumerate() {
            let began = message.contains("response.created");
            let _ = session.parse(message);
            session.context(&format!("context {number}"), "x");
            session.tool_result("call", "y", false);
            session.interrupted(number as u64);
            if taken {
                for frame in session.frames() {
                    let frame: Value = serde_json::from_str(&frame).unwrap();
                    asked += i64::from(frame["type"] == "response.create");
                }
            }
            // Never a second request before the first one was answered by anything.
            prop_assert!(asked <= 1 + number as i64, "{asked} {began}");
            prop_assert!(session.size() <= OUTBOX_MAX + CONTEXTS_MAX + CALLS_MAX + 16 + 8);
        }
    }

    #[test]
    fn no_text_is_too_strange_to_be_sent(text in "\\PC{0,60}|.{0,60}") {
        let mut session = open();
        session.open_with(&text);
        session.user_message(&text);
        session.context(&text, &text);
        session.tool_result(&text, &text, true);
        for frame in session.frames() {
            prop_assert!(serde_json::from_str::<Value>(&frame).is_ok(), "{frame}");
        }
    }
}

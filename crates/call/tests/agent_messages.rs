//! Agent messages: what the service sends in all its variants, and the exact bytes we send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::MessageError;
use call::agent::elevenlabs::{
    DynamicValue, Init, MAX_MESSAGE_BYTES, QueueStatus, SecondaryEvent, ServerEvent, conversation_url, parse,
    signed_url_request, write_audio, write_contextual_update, write_init, write_mcp_approval, write_pong,
    write_tool_result, write_user_activity, write_user_message,
};
use call::agent::format::{AudioFormat, UnsupportedFormat};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One example of every documented event.
const FRAMES: &str = include_str!("data/agent_server_frames.jsonl");

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

/// `ServerEvent` hides its contents from `Debug`; this compares with a readable failure.
#[track_caller]
fn expect(text: &str, event: &ServerEvent<'_>) {
    let parsed = parse(text);
    assert!(parsed.as_ref() == Ok(event), "{text}\nparsed as {parsed:?}");
}

#[test]
fn documented_metadata() {
    expect(
        r#"{"type":"conversation_initiation_metadata","conversation_initiation_metadata_event":{
  "conversation_id":"conv_01example","agent_output_audio_format":"ulaw_8000","user_input_audio_format":"ulaw_8000"}}"#,
        &ServerEvent::Metadata {
            conversation_id: "conv_01example".into(),
            agent_output: "ulaw_8000".into(),
            user_input: Some("ulaw_8000".into()),
        },
    );
}

#[test]
fn metadata_of_older_servers() {
    expect(
        r#"{"type":"conversation_initiation_metadata","conversation_initiation_metadata_event":{
  "conversation_id":"c","agent_output_audio_format":"pcm_16000"}}"#,
        &ServerEvent::Metadata { conversation_id: "c".into(), agent_output: "pcm_16000".into(), user_input: None },
    );
}

#[test]
fn documented_audio() {
    expect(
        r#"{"type":"audio","audio_event":{"audio_base_64":"f39/fw==","event_id":3,
  "alignment":{"chars":["H","i"],"char_start_times_ms":[0,80],"char_durations_ms":[80,120]}}}"#,
        &ServerEvent::Audio { base64: "f39/fw==".into(), event_id: 3, is_final: false },
    );
}

#[test]
fn audio_is_borrowed_from_the_message() {
    let Ok(ServerEvent::Audio { base64, .. }) =
        parse(r#"{"type":"audio","audio_event":{"audio_base_64":"f38=","event_id":1}}"#)
    else {
        panic!("not audio")
    };
    assert!(matches!(base64, Cow::Borrowed("f38=")));
}

#[test]
fn event_id_zero_is_valid() {
    expect(
        r#"{"type":"audio","audio_event":{"audio_base_64":"f38=","event_id":0}}"#,
        &ServerEvent::Audio { base64: "f38=".into(), event_id: 0, is_final: false },
    );
    expect(r#"{"type":"ping","ping_event":{"event_id":0}}"#, &ServerEvent::Ping { event_id: 0, ping_ms: None });
    expect(
        r#"{"type":"interruption","interruption_event":{"event_id":0}}"#,
        &ServerEvent::Interruption { event_id: Some(0), reason: None },
    );
}

#[test]
fn empty_final_audio() {
    let expected = ServerEvent::Audio { base64: "".into(), event_id: 4, is_final: true };
    expect(r#"{"type":"audio","audio_event":{"audio_base_64":"","event_id":4,"is_final":true}}"#, &expected);
    expect(r#"{"type":"audio","audio_event":{"event_id":4,"is_final":true}}"#, &expected);
    expect(r#"{"type":"audio","audio_event":{"audio_base_64":null,"event_id":"4","is_final":"true"}}"#, &expected);
    expect(
        r#"{"type":"audio","audio_event":{"audio_base_64":"","event_id":4}}"#,
        &ServerEvent::Audio { base64: "".into(), event_id: 4, is_final: false },
    );
}

#[test]
fn audio_without_essentials_is_counted_not_played() {
    assert_eq!(
        parse(r#"{"type":"audio","audio_event":{"event_id":4}}"#),
        Err(MessageError::MissingField { field: "audio_base_64" })
    );
    assert_eq!(
        parse(r#"{"type":"audio","audio_event":{"audio_base_64":"AA=="}}"#),
        Err(MessageError::MissingField { field: "event_id" })
    );
    assert_eq!(
        parse(r#"{"type":"audio","audio_event":{"audio_base_64":"AA==","event_id":"x"}}"#),
        Err(MessageError::Invalid { field: "event_id" })
    );
    assert_eq!(
        parse(r#"{"type":"audio","audio_event":{"audio_base_64":5,"event_id":1}}"#),
        Err(MessageError::Invalid { field: "audio_base_64" })
    );
    assert_eq!(parse(r#"{"type":"audio"}"#), Err(MessageError::MissingField { field: "audio_event" }));
    assert_eq!(parse(r#"{"type":"audio","audio_event":"x"}"#), Err(MessageError::Invalid { field: "audio_event" }));
}

#[test]
fn audio_spelled_otherwise_is_not_audio() {
    for text in [
        r#"{"type":"audio","audio_event":{"audio_base64":"AA==","event_id":1}}"#,
        r#"{"type":"audio","audio":{"chunk":"AA=="}}"#,
        r#"{"type":"audio","event":{"audio_base_64":"AA==","event_id":1}}"#,
    ] {
        assert!(matches!(parse(text), Err(MessageError::MissingField { .. })), "{text}");
    }
}

#[test]
fn documented_transcripts() {
    expect(
        r#"{"type":"user_transcript","user_transcription_event":{"user_transcript":"I feel short of breath.","event_id":4}}"#,
        &ServerEvent::UserTranscript { text: "I feel short of breath.".into(), event_id: Some(4) },
    );
    expect(
        r#"{"type":"tentative_user_transcript","tentative_user_transcription_event":{"user_transcript":"I feel sh","event_id":4}}"#,
        &ServerEvent::TentativeUserTranscript { text: "I feel sh".into(), event_id: Some(4) },
    );
}

#[test]
fn transcripts_are_trimmed_and_may_lack_an_id() {
    expect(
        r#"{"type":"user_transcript","user_transcription_event":{"user_transcript":"  Me duele \n"}}"#,
        &ServerEvent::UserTranscript { text: "Me duele".into(), event_id: None },
    );
    expect(
        r#"{"type":"user_transcript","user_transcription_event":{"user_transcript":"...","event_id":null}}"#,
        &ServerEvent::UserTranscript { text: "...".into(), event_id: None },
    );
}

#[test]
fn transcript_under_the_wrong_key_is_not_a_transcript() {
    for key in ["user_transcript_event", "user_transcript", "user_transcription", "transcript_event"] {
        let text = format!(r#"{{"type":"user_transcript","{key}":{{"user_transcript":"hello"}}}}"#);
        assert_eq!(parse(&text), Err(MessageError::MissingField { field: "user_transcription_event" }), "{key}");
    }
    assert_eq!(
        parse(r#"{"type":"user_transcript","user_transcription_event":{"text":"hello"}}"#),
        Err(MessageError::MissingField { field: "user_transcript" })
    );
}

#[test]
fn documented_replies() {
    expect(
        r#"{"type":"agent_response","agent_response_event":{"agent_response":"When did that start?","event_id":5}}"#,
        &ServerEvent::AgentResponse { text: "When did that start?".into(), event_id: Some(5) },
    );
    expect(
        r#"{"type":"agent_response_correction","agent_response_correction_event":{
  "original_agent_response":"When did that start? And","corrected_agent_response":"When did that start?","event_id":5}}"#,
        &ServerEvent::AgentResponseCorrection {
            original: "When did that start? And".into(),
            corrected: "When did that start?".into(),
            event_id: Some(5),
        },
    );
    expect(
        r#"{"type":"agent_response_complete","agent_response_complete_event":{"event_id":5}}"#,
        &ServerEvent::AgentResponseComplete { event_id: Some(5) },
    );
    expect(r#"{"type":"agent_response_complete"}"#, &ServerEvent::AgentResponseComplete { event_id: None });
}

#[test]
fn replies_with_fields_seen_in_the_wild() {
    expect(
        r#"{"type":"agent_response","agent_response_event":{"agent_response":" Hi ","response_id":"r","attachments":[{"url":"u"}]}}"#,
        &ServerEvent::AgentResponse { text: "Hi".into(), event_id: None },
    );
    expect(
        r#"{"type":"agent_response_correction","agent_response_correction_event":{"corrected_agent_response":""}}"#,
        &ServerEvent::AgentResponseCorrection { original: "".into(), corrected: "".into(), event_id: None },
    );
}

#[test]
fn documented_interruption_and_ping() {
    expect(
        r#"{"type":"interruption","interruption_event":{"event_id":5}}"#,
        &ServerEvent::Interruption { event_id: Some(5), reason: None },
    );
    expect(
        r#"{"type":"interruption","interruption_event":{"event_id":5,"reason":"user"}}"#,
        &ServerEvent::Interruption { event_id: Some(5), reason: Some("user".into()) },
    );
    expect(r#"{"type":"interruption"}"#, &ServerEvent::Interruption { event_id: None, reason: None });
    expect(
        r#"{"type":"ping","ping_event":{"event_id":6,"ping_ms":null}}"#,
        &ServerEvent::Ping { event_id: 6, ping_ms: None },
    );
    expect(
        r#"{"type":"ping","ping_event":{"event_id":6,"ping_ms":41}}"#,
        &ServerEvent::Ping { event_id: 6, ping_ms: Some(41) },
    );
    assert_eq!(parse(r#"{"type":"ping","ping_event":{}}"#), Err(MessageError::MissingField { field: "event_id" }));
    assert_eq!(parse(r#"{"type":"ping"}"#), Err(MessageError::MissingField { field: "ping_event" }));
}

#[test]
fn numbers_as_strings() {
    expect(
        r#"{"type":"ping","ping_event":{"event_id":"6","ping_ms":"41"}}"#,
        &ServerEvent::Ping { event_id: 6, ping_ms: Some(41) },
    );
    expect(
        r#"{"type":"ping","ping_event":{"event_id":6.0,"ping_ms":41.5}}"#,
        &ServerEvent::Ping { event_id: 6, ping_ms: None },
    );
}

#[test]
fn documented_tool_call() {
    expect(
        r#"{"type":"client_tool_call","client_tool_call":{"tool_name":"record_weight","tool_call_id":"tc_1",
  "parameters":{"weight_lb":182.5},"event_id":7}}"#,
        &ServerEvent::ToolCall {
            name: "record_weight".into(),
            id: "tc_1".into(),
            parameters: r#"{"weight_lb":182.5}"#.into(),
            event_id: Some(7),
        },
    );
}

#[test]
fn tool_parameters_of_any_form_are_handed_over() {
    for (given, expected) in [
        (r#","parameters":null"#, "{}"),
        ("", "{}"),
        (r#","parameters":{"a":[1,{"b":"\"}"}]}"#, r#"{"a":[1,{"b":"\"}"}]}"#),
        (r#","parameters":"{}""#, r#""{}""#),
        (r#","parameters":[],"expects_response":true"#, "[]"),
    ] {
        let text = format!(
            r#"{{"type":"client_tool_call","client_tool_call":{{"tool_name":"t","tool_call_id":"i"{given}}}}}"#
        );
        let expected =
            ServerEvent::ToolCall { name: "t".into(), id: "i".into(), parameters: expected.into(), event_id: None };
        expect(&text, &expected);
    }
    assert_eq!(
        parse(r#"{"type":"client_tool_call","client_tool_call":{"tool_name":"t"}}"#),
        Err(MessageError::MissingField { field: "tool_call_id" })
    );
    assert_eq!(
        parse(r#"{"type":"client_tool_call","client_tool_call_event":{"tool_name":"t","tool_call_id":"i"}}"#),
        Err(MessageError::MissingField { field: "client_tool_call" })
    );
}

#[test]
fn documented_tool_use() {
    expect(
        r#"{"type":"agent_tool_request","agent_tool_request":{"tool_name":"record_weight","tool_call_id":"tc_1","tool_type":"client","event_id":7}}"#,
        &ServerEvent::AgentToolRequest {
            tool_name: "record_weight".into(),
            tool_call_id: "tc_1".into(),
            tool_type: Some("client".into()),
            event_id: Some(7),
        },
    );
    expect(
        r#"{"type":"agent_tool_response","agent_tool_response":{"tool_name":"end_call","tool_call_id":"tc_2","tool_type":"system",
  "is_error":false,"is_called":true,"event_id":9}}"#,
        &ServerEvent::AgentToolResponse {
            tool_name: "end_call".into(),
            tool_call_id: "tc_2".into(),
            tool_type: Some("system".into()),
            is_error: false,
            is_called: true,
            event_id: Some(9),
        },
    );
    expect(
        r#"{"type":"agent_tool_response","agent_tool_response":{"tool_name":"end_call"}}"#,
        &ServerEvent::AgentToolResponse {
            tool_name: "end_call".into(),
            tool_call_id: "".into(),
            tool_type: None,
            is_error: false,
            is_called: true,
            event_id: None,
        },
    );
    expect(
        r#"{"type":"agent_tool_response","agent_tool_response":{"tool_name":"end_call","is_error":true,"is_called":false}}"#,
        &ServerEvent::AgentToolResponse {
            tool_name: "end_call".into(),
            tool_call_id: "".into(),
            tool_type: None,
            is_error: true,
            is_called: false,
            event_id: None,
        },
    );
}

#[test]
fn documented_state_events() {
    expect(r#"{"type":"vad_score","vad_score_event":{"vad_score":0.93}}"#, &ServerEvent::VadScore(0.93));
    expect(r#"{"type":"vad_score","vad_score_event":{"vad_score":1}}"#, &ServerEvent::VadScore(1.0));
    for score in ["\"NaN\"", "\"inf\"", "[]", "true"] {
        let text = format!(r#"{{"type":"vad_score","vad_score_event":{{"vad_score":{score}}}}}"#);
        assert_eq!(parse(&text), Err(MessageError::Invalid { field: "vad_score" }), "{score}");
    }
    expect(r#"{"type":"guardrail_triggered"}"#, &ServerEvent::GuardrailTriggered);
    for (word, status) in [
        ("waiting", QueueStatus::Waiting),
        ("admitted", QueueStatus::Admitted),
        ("timed_out", QueueStatus::TimedOut),
        ("lost", QueueStatus::Other),
    ] {
        let text = format!(r#"{{"type":"queue_status","queue_status_event":{{"status":"{word}"}}}}"#);
        expect(&text, &ServerEvent::QueueStatus(status));
    }
    expect(r#"{"type":"queue_status"}"#, &ServerEvent::QueueStatus(QueueStatus::Other));
}

#[test]
fn documented_error() {
    expect(
        r#"{"type":"error","error_event":{"code":1008,"error_type":"missing_dynamic_variable","message":"m","reason":"r",
  "debug_message":"d","details":{}}}"#,
        &ServerEvent::Error {
            code: Some(1008),
            error_type: Some("missing_dynamic_variable".into()),
            message: Some("m".into()),
            reason: Some("r".into()),
        },
    );
    let empty = ServerEvent::Error { code: None, error_type: None, message: None, reason: None };
    expect(r#"{"type":"error"}"#, &empty);
    expect(r#"{"type":"error","error_event":"boom"}"#, &empty);
}

#[test]
fn every_documented_event_is_recognised() {
    let mut kinds = 0;
    for line in FRAMES.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let event = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(Some(event.kind()), value["type"].as_str(), "{line}");
        assert!(!matches!(event, ServerEvent::Other { .. }), "{line}");
        kinds += 1;
    }
    assert_eq!(kinds, 32);
}

#[test]
fn documented_names_without_published_shape() {
    expect(r#"{"type":"dtmf_request","x":1}"#, &ServerEvent::Secondary(SecondaryEvent::DtmfRequest));
    expect(r#"{"type":"client_error"}"#, &ServerEvent::Secondary(SecondaryEvent::ClientError));
}

#[test]
fn remote_tool_that_waits_for_consent() {
    expect(
        r#"{"type":"mcp_tool_call","mcp_tool_call":{"service_id":"s_1","tool_call_id":"m_1","tool_name":"find_slot","tool_description":"",
  "parameters":{},"timestamp":"2026-01-05T10:00:00Z","state":"awaiting_approval","approval_timeout_secs":300}}"#,
        &ServerEvent::McpToolCall {
            tool_call_id: "m_1".into(),
            tool_name: Some("find_slot".into()),
            state: Some("awaiting_approval".into()),
        },
    );
}

#[test]
fn unknown_events_are_tolerated_and_bounded() {
    expect(r#"{"type":"telepathy","audio_event":7,"ping_event":[]}"#, &ServerEvent::Other { kind: "telepathy".into() });
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000));
    expect(&long, &ServerEvent::Other { kind: "é".repeat(64) });
    expect(r#"{"type":""}"#, &ServerEvent::Other { kind: String::new() });
}

#[test]
fn type_must_be_a_text() {
    assert_eq!(parse("{}"), Err(MessageError::MissingField { field: "type" }));
    assert_eq!(parse(r#"{"type":5}"#), Err(MessageError::Invalid { field: "type" }));
    assert_eq!(parse(r#"{"event":"media"}"#), Err(MessageError::MissingField { field: "type" }));
    assert_eq!(parse("pong"), Err(MessageError::NotJson));
    assert!(parse("[1]").is_err());
}

#[test]
fn large_audio_is_accepted_and_endless_audio_is_not() {
    let audio = "A".repeat(8 * 1024 * 1024);
    let text = format!(r#"{{"type":"audio","audio_event":{{"audio_base_64":"{audio}","event_id":1}}}}"#);
    assert!(matches!(parse(&text), Ok(ServerEvent::Audio { base64, .. }) if base64.len() == audio.len()));
    assert_eq!(parse(&" ".repeat(MAX_MESSAGE_BYTES + 1)), Err(MessageError::TooLarge));
}

#[test]
fn debug_output_has_no_words() {
    for line in FRAMES.lines() {
        let shown = format!("{:?}", parse(line).unwrap());
        for words in ["breath", "start?", "182.5", "Thank", "conv_01example", "f39/fw=="] {
            assert!(!shown.contains(words), "{shown}");
        }
    }
    let init = Init { dynamic_variables: BTreeMap::from([("name".into(), "Ada".into())]), ..Init::default() };
    assert!(!format!("{init:?}").contains("Ada"));
}

#[test]
fn exact_bytes_of_init() {
    assert_eq!(written(|out| write_init(out, &Init::default())), r#"{"type":"conversation_initiation_client_data"}"#);
    let init = Init {
        dynamic_variables: BTreeMap::from([
            ("patient_name".to_owned(), DynamicValue::from("Ada \"A\"")),
            ("last_weight_lb".to_owned(), DynamicValue::from(182.5)),
            ("visits".to_owned(), DynamicValue::from(3.0)),
            ("on_diuretic".to_owned(), DynamicValue::from(true)),
        ]),
        user_id: Some("patient-7".into()),
        language: Some("es".into()),
        first_message: Some("Hola".into()),
    };
    assert_eq!(
        written(|out| write_init(out, &init)),
        r#"{"type":"conversation_initiation_client_data","conversation_config_override":{"agent":{"first_message":"Hola","language":"es"}},"dynamic_variables":{"last_weight_lb":182.5,"on_diuretic":true,"patient_name":"Ada \"A\"","visits":3},"user_id":"patient-7"}"#
    );
}

#[test]
fn overrides_are_sent_only_when_set() {
    let language = Init { language: Some("es".into()), first_message: Some(String::new()), ..Init::default() };
    assert_eq!(
        written(|out| write_init(out, &language)),
        r#"{"type":"conversation_initiation_client_data","conversation_config_override":{"agent":{"language":"es"}}}"#
    );
    let greeting = Init { first_message: Some("Hi".into()), language: Some(String::new()), ..Init::default() };
    assert_eq!(
        written(|out| write_init(out, &greeting)),
        r#"{"type":"conversation_initiation_client_data","conversation_config_override":{"agent":{"first_message":"Hi"}}}"#
    );
}

#[test]
fn init_is_flat() {
    let init = Init { user_id: Some("p".into()), ..Init::default() };
    let value: Value = serde_json::from_str(&written(|out| write_init(out, &init))).unwrap();
    assert_eq!(value, json!({"type": "conversation_initiation_client_data", "user_id": "p"}));
}

#[test]
fn numbers_json_cannot_express_are_sent_as_unknown() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let init = Init { dynamic_variables: BTreeMap::from([("w".into(), number.into())]), ..Init::default() };
        let value: Value = serde_json::from_str(&written(|out| write_init(out, &init))).unwrap();
        assert_eq!(value["dynamic_variables"]["w"], "unknown");
    }
}

#[test]
fn exact_bytes_of_everything_else() {
    assert_eq!(written(|out| write_audio(out, &[0xff; 4])), r#"{"user_audio_chunk":"/////w=="}"#);
    assert_eq!(written(|out| write_pong(out, 12)), r#"{"type":"pong","event_id":12}"#);
    assert_eq!(written(|out| write_pong(out, 0)), r#"{"type":"pong","event_id":0}"#);
    assert_eq!(
        written(|out| write_tool_result(out, "tc_1", r#"{"stored":true}"#, false)),
        r#"{"type":"client_tool_result","tool_call_id":"tc_1","result":"{\"stored\":true}","is_error":false}"#
    );
    assert_eq!(
        written(|out| write_tool_result(out, "tc_1", "", true)),
        r#"{"type":"client_tool_result","tool_call_id":"tc_1","result":"error","is_error":true}"#
    );
    assert_eq!(
        written(|out| write_tool_result(out, "tc_1", "", false)),
        r#"{"type":"client_tool_result","tool_call_id":"tc_1","result":"ok","is_error":false}"#
    );
    assert_eq!(
        written(|out| write_contextual_update(out, "Scale reading received: 182.4 lb", Some("scale"))),
        r#"{"type":"contextual_update","text":"Scale reading received: 182.4 lb","context_id":"scale"}"#
    );
    assert_eq!(written(|out| write_contextual_update(out, "x", None)), r#"{"type":"contextual_update","text":"x"}"#);
    assert_eq!(
        written(|out| write_user_message(out, "I weigh 182 pounds")),
        r#"{"type":"user_message","text":"I weigh 182 pounds"}"#
    );
    assert_eq!(written(write_user_activity), r#"{"type":"user_activity"}"#);
    assert_eq!(
        written(|out| write_mcp_approval(out, "m_1", false)),
        r#"{"type":"mcp_tool_approval_result","tool_call_id":"m_1","is_approved":false}"#
    );
}

#[test]
fn writers_append() {
    let mut out = String::from("a");
    write_pong(&mut out, -1);
    write_audio(&mut out, &[]);
    assert_eq!(out, r#"a{"type":"pong","event_id":-1}{"user_audio_chunk":""}"#);
}

#[test]
fn addresses() {
    assert_eq!(
        conversation_url("https://api.elevenlabs.io", "agent_1"),
        "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=agent_1"
    );
    assert_eq!(
        conversation_url("http://127.0.0.1:18089/", "a&b=c é"),
        "ws://127.0.0.1:18089/v1/convai/conversation?agent_id=a%26b%3Dc%20%C3%A9"
    );
    assert_eq!(
        conversation_url("HTTPS://eu.example/prefix//", "A-z_0.~"),
        "wss://eu.example/prefix/v1/convai/conversation?agent_id=A-z_0.~"
    );
    assert!(conversation_url("https://x", "a\nb").ends_with("a%0Ab"));
    assert_eq!(conversation_url("wss://x", "a"), "wss://x/v1/convai/conversation?agent_id=a");
    assert_eq!(
        signed_url_request("https://api.elevenlabs.io/", "agent/1"),
        "https://api.elevenlabs.io/v1/convai/conversation/get-signed-url?agent_id=agent%2F1"
    );
}

#[test]
fn audio_formats() {
    for name in ["ulaw_8000", "pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000"] {
        let format = AudioFormat::parse(name).unwrap();
        assert_eq!(format.as_str(), name);
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(format.sample_rate().to_string(), name.split_once('_').unwrap().1);
    }
    for name in ["", "pcm", "pcm_", "pcm_96000", "ulaw", "ULAW_8000", "mp3_44100", "pcm_016000", "pcm_16000 "] {
        assert_eq!(AudioFormat::parse(name), Err(UnsupportedFormat), "{name}");
    }
    assert!(AudioFormat::parse(AudioFormat::Pcm16 { rate: 7 }.as_str()).is_err());
    assert_eq!((AudioFormat::Ulaw8000.sample_bytes(), AudioFormat::Pcm16 { rate: 8000 }.sample_bytes()), (1, 2));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn damaged_messages_never_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0_usize..12,
        insert in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,6}",
    ) {
        let lines: Vec<&str> = FRAMES.lines().collect();
        let mut chars: Vec<char> = lines[which.index(lines.len())].chars().collect();
        let from = at.index(chars.len());
        let to = (from + cut).min(chars.len());
        chars.splice(from..to, insert.chars());
        let _ = parse(&chars.into_iter().collect::<String>());
    }

    /// Any value of an event may be of any type, or missing, without a panic; the outcome is an event or an error.
    #[test]
    fn values_of_other_types_never_panic(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(u64::MAX), json!(""), json!("7"), json!([]),
            json!([{"a": 1}]), json!({}), json!({"event_id": {}}),
        ]),
        remove in any::<bool>(),
    ) {
        let lines: Vec<&str> = FRAMES.lines().collect();
        let mut frame: Value = serde_json::from_str(lines[which.index(lines.len())]).unwrap();
        let kind = frame["type"].clone();
        let payload_key = frame.as_object().unwrap().keys().find(|key| *key != "type").cloned();
        if let Some(body) = payload_key.and_then(|key| frame.get_mut(key)).and_then(Value::as_object_mut)
            && !body.is_empty()
        {
            let key = body.keys().nth(place.index(body.len())).unwrap().clone();
            if remove {
                body.remove(&key);
            } else {
                body.insert(key, value);
            }
        }
        if let Ok(event) = parse(&frame.to_string()) {
            prop_assert_eq!(Some(event.kind()), kind.as_str());
        }
    }

    #[test]
    fn audio_written_decodes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let value: Value = serde_json::from_str(&written(|out| write_audio(out, &bytes))).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), 1);
        prop_assert_eq!(STANDARD.decode(value["user_audio_chunk"].as_str().unwrap()).unwrap(), bytes);
    }

    #[test]
    fn texts_written_are_texts_read(text in any::<String>(), id in any::<String>()) {
        let value: Value = serde_json::from_str(&written(|out| write_user_message(out, &text))).unwrap();
        prop_assert_eq!(value, json!({"type": "user_message", "text": text}));
        let value: Value = serde_json::from_str(&written(|out| write_contextual_update(out, &text, Some(&id)))).unwrap();
        prop_assert_eq!(value, json!({"type": "contextual_update", "text": text, "context_id": id}));
        let result = format!("r{text}");
        let value: Value = serde_json::from_str(&written(|out| write_tool_result(out, &id, &result, true))).unwrap();
        prop_assert_eq!(
            value,
            json!({"type": "client_tool_result", "tool_call_id": id, "result": result, "is_error": true})
        );
    }

    #[test]
    fn init_written_is_init_read(
        texts in prop::collection::btree_map("\\PC{1,10}", any::<String>(), 0..5),
        number in -1e9..1e9_f64,
        user_id in any::<Option<String>>(),
        language in prop::option::of("[a-z]{2}"),
        first_message in prop::option::of("\\PC{1,20}"),
    ) {
        let mut dynamic_variables: BTreeMap<String, DynamicValue> =
            texts.iter().map(|(name, text)| (name.clone(), DynamicValue::from(text.as_str()))).collect();
        dynamic_variables.insert("number".into(), number.into());
        let init = Init { dynamic_variables, user_id: user_id.clone(), language: language.clone(), first_message: first_message.clone() };
        let value: Value = serde_json::from_str(&written(|out| write_init(out, &init))).unwrap();
        for (name, text) in texts.iter().filter(|(name, _)| *name != "number") {
            prop_assert_eq!(value["dynamic_variables"][name].as_str(), Some(text.as_str()));
        }
        let read = value["dynamic_variables"]["number"].as_f64().unwrap();
        prop_assert!((read - number).abs() <= number.abs() * 1e-12);
        prop_assert_eq!(value.get("user_id").and_then(Value::as_str), user_id.as_deref());
        let agent = &value["conversation_config_override"]["agent"];
        prop_assert_eq!(agent.get("language").and_then(Value::as_str), language.as_deref());
        prop_assert_eq!(agent.get("first_message").and_then(Value::as_str), first_message.as_deref());
    }

    #[test]
    fn agent_ids_survive_in_addresses(agent_id in any::<String>()) {
        let url = conversation_url("https://h", &agent_id);
        let encoded = url.strip_prefix("wss://h/v1/convai/conversation?agent_id=").unwrap();
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        let decoded = call::twilio::signature::decode_form(format!("a={encoded}").as_bytes()).unwrap();
        prop_assert_eq!(&decoded[0].1, &agent_id);
    }
}

//! Media stream messages: what Twilio sends in all its variants, and the exact bytes we send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call::MessageError;
use call::twilio::message::{self, FromTwilio, MAX_MESSAGE_BYTES, Media, MediaFormat, Start, parse};
use call::twilio::{AccountSid, CallSid, InvalidSid, StreamSid};
use proptest::prelude::*;

const SID: &str = "MZ00112233445566778899aabbccddeeff";

fn sid() -> StreamSid {
    StreamSid::parse(SID).unwrap()
}

fn media(text: &str) -> Media<'_> {
    match parse(text) {
        Ok(FromTwilio::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

fn start(text: &str) -> Start {
    match parse(text) {
        Ok(FromTwilio::Start(start)) => *start,
        other => panic!("{other:?}"),
    }
}

const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;
const START: &str = r#"{"event":"start","sequenceNumber":"1",
 "start":{"accountSid":"AC0123456789abcdef0123456789abcdef","streamSid":"MZ00112233445566778899aabbccddeeff",
          "callSid":"CAfedcba9876543210fedcba9876543210","tracks":["inbound"],
          "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},
          "customParameters":{"visit":"42","lang":"es-US"}},
 "streamSid":"MZ00112233445566778899aabbccddeeff"}"#;
const MEDIA: &str = r#"{"event":"media","sequenceNumber":"4","streamSid":"MZ00112233445566778899aabbccddeeff",
 "media":{"track":"inbound","chunk":"3","timestamp":"92","payload":"/////w=="}}"#;
const DTMF: &str = r#"{"event":"dtmf","streamSid":"MZ00112233445566778899aabbccddeeff","sequenceNumber":"57","dtmf":{"track":"inbound_track","digit":"1"}}"#;
const MARK: &str = r#"{"event":"mark","sequenceNumber":"103","streamSid":"MZ00112233445566778899aabbccddeeff","mark":{"name":"t7:640"}}"#;
const STOP: &str = r#"{"event":"stop","sequenceNumber":"1502","streamSid":"MZ00112233445566778899aabbccddeeff",
 "stop":{"accountSid":"AC0123456789abcdef0123456789abcdef","callSid":"CAfedcba9876543210fedcba9876543210"}}"#;
const ALL: [&str; 6] = [CONNECTED, START, MEDIA, DTMF, MARK, STOP];

#[test]
fn documented_connected() {
    assert_eq!(parse(CONNECTED), Ok(FromTwilio::Connected));
}

#[test]
fn documented_start() {
    let start = start(START);
    assert_eq!(start.stream_sid.as_str(), SID);
    assert_eq!(start.account_sid, AccountSid::parse("AC0123456789abcdef0123456789abcdef").ok());
    assert_eq!(start.call_sid, CallSid::parse("CAfedcba9876543210fedcba9876543210").ok());
    assert_eq!(start.sequence, Some(1));
    assert!(start.media_format.is_ulaw_8000());
    let parameters: Vec<_> = start.custom_parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(parameters, [("lang", "es-US"), ("visit", "42")]);
}

#[test]
fn documented_media() {
    let media = media(MEDIA);
    assert_eq!((media.sequence, media.chunk, media.timestamp_ms), (Some(4), Some(3), Some(92)));
    assert!(media.inbound);
    assert_eq!(media.payload, "/////w==");
}

#[test]
fn media_payload_is_borrowed_from_the_message() {
    assert!(matches!(media(MEDIA).payload, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn documented_dtmf() {
    assert_eq!(parse(DTMF), Ok(FromTwilio::Dtmf { digit: '1' }));
}

#[test]
fn documented_mark() {
    assert_eq!(parse(MARK), Ok(FromTwilio::Mark { name: "t7:640".into() }));
}

#[test]
fn documented_stop() {
    assert_eq!(parse(STOP), Ok(FromTwilio::Stop));
    assert_eq!(parse(r#"{"event":"stop"}"#), Ok(FromTwilio::Stop));
}

#[test]
fn numbers_instead_of_strings() {
    let media = media(r#"{"event":"media","sequenceNumber":4,"media":{"chunk":3,"timestamp":92.0,"payload":"AA=="}}"#);
    assert_eq!((media.sequence, media.chunk, media.timestamp_ms), (Some(4), Some(3), Some(92)));
    let start = start(
        r#"{"event":"start","sequenceNumber":1,"start":{"streamSid":"s","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":"8000","channels":"1"}}}"#,
    );
    assert!(start.media_format.is_ulaw_8000());
}

#[test]
fn missing_numbers_are_no_error() {
    let media = media(r#"{"event":"media","media":{"payload":"AA=="}}"#);
    assert_eq!((media.sequence, media.chunk, media.timestamp_ms), (None, None, None));
    assert!(media.inbound);
}

#[test]
fn senseless_numbers_count_as_missing() {
    for value in [r#""x""#, "-3", "1.5", "[]", "{}", "true", r#""""#, "null", r#""99999999999999999999999""#] {
        let text = format!(
            r#"{{"event":"media","sequenceNumber":{value},"media":{{"chunk":{value},"timestamp":{value},"payload":"AA=="}}}}"#
        );
        let media = media(&text);
        assert_eq!((media.sequence, media.chunk, media.timestamp_ms), (None, None, None), "{value}");
    }
}

#[test]
fn outbound_track_in_both_spellings() {
    for (track, inbound) in [("inbound", true), ("inbound_track", true), ("outbound", false), ("outbound_track", false)]
    {
        let text = format!(r#"{{"event":"media","media":{{"track":"{track}","payload":"AA=="}}}}"#);
        assert_eq!(media(&text).inbound, inbound, "{track}");
    }
}

#[test]
fn empty_and_escaped_payloads() {
    assert_eq!(media(r#"{"event":"media","media":{"payload":""}}"#).payload, "");
    assert_eq!(media(r#"{"event":"media","media":{"payload":"\/\/\/\/\/w=="}}"#).payload, "/////w==");
}

#[test]
fn media_without_payload_is_counted_not_used() {
    let missing = Err(MessageError::MissingField { field: "media.payload" });
    assert_eq!(parse(r#"{"event":"media","media":{}}"#), missing);
    assert_eq!(parse(r#"{"event":"media","media":{"payload":null}}"#), missing);
    assert_eq!(
        parse(r#"{"event":"media","media":{"payload":7}}"#),
        Err(MessageError::Invalid { field: "media.payload" })
    );
    assert_eq!(parse(r#"{"event":"media"}"#), Err(MessageError::MissingField { field: "media" }));
    assert_eq!(parse(r#"{"event":"media","media":"x"}"#), Err(MessageError::Invalid { field: "media" }));
}

#[test]
fn key_order_and_blanks_do_not_matter() {
    let text = "\n { \"media\" : {\"payload\":\"AA==\", \"track\":\"outbound\"} ,\t\"event\":\"media\" } \r\n";
    assert!(!media(text).inbound);
}

#[test]
fn unknown_events_and_fields_are_ignored() {
    assert_eq!(parse(r#"{"event":"weather"}"#), Ok(FromTwilio::Unknown));
    assert_eq!(parse(r#"{"event":"weather","media":5,"start":[],"mark":"x"}"#), Ok(FromTwilio::Unknown));
    assert_eq!(
        parse(r#"{"event":"connected","media":[[1],{"payload":2}],"x":{"y":[null]}}"#),
        Ok(FromTwilio::Connected)
    );
    assert_eq!(
        parse(r#"{"event":"mark","mark":{"name":"a","x":[{}]},"y":1}"#),
        Ok(FromTwilio::Mark { name: "a".into() })
    );
}

#[test]
fn event_must_be_a_text() {
    assert_eq!(parse("{}"), Err(MessageError::MissingField { field: "event" }));
    assert_eq!(parse(r#"{"event":null}"#), Err(MessageError::MissingField { field: "event" }));
    assert_eq!(parse(r#"{"event":1}"#), Err(MessageError::Invalid { field: "event" }));
    assert_eq!(parse(r#"{"event":"Media","media":{"payload":""}}"#), Ok(FromTwilio::Unknown));
}

#[test]
fn not_an_object() {
    for text in ["", " ", "{", "nul", "{}x", r#"{"event":"stop"}{"#, "\u{feff}{}", r#"{"event":'stop'}"#] {
        assert_eq!(parse(text), Err(MessageError::NotJson), "{text}");
    }
    for text in ["5", "\"x\"", "null"] {
        assert_eq!(parse(text), Err(MessageError::Invalid { field: "message" }), "{text}");
    }
    assert!(parse("[]").is_err());
}

#[test]
fn oversized_messages_are_refused_unread() {
    let largest = format!("{{\"event\":\"stop\"}}{}", " ".repeat(MAX_MESSAGE_BYTES - 16));
    assert_eq!(largest.len(), MAX_MESSAGE_BYTES);
    assert_eq!(parse(&largest), Ok(FromTwilio::Stop));
    assert_eq!(parse(&format!("{largest} ")), Err(MessageError::TooLarge));
}

#[test]
fn deep_nesting_does_not_overflow() {
    let text = format!(r#"{{"event":"stop","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    let _ = parse(&text);
    let text = format!(r#"{{"event":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert!(parse(&text).is_err());
}

#[test]
fn start_with_sid_outside_only() {
    let start = start(r#"{"event":"start","streamSid":"3f1c2b7e-9d55-4b6e-8c0a-5a3c7f2f9e11","start":{}}"#);
    assert_eq!(start.stream_sid.as_str(), "3f1c2b7e-9d55-4b6e-8c0a-5a3c7f2f9e11");
    assert_eq!((start.account_sid, start.call_sid, start.sequence), (None, None, None));
    assert!(start.custom_parameters.is_empty());
    assert_eq!(start.media_format, MediaFormat::default());
}

#[test]
fn start_without_sid_is_refused() {
    let missing = Err(MessageError::MissingField { field: "streamSid" });
    assert_eq!(parse(r#"{"event":"start","start":{}}"#), missing);
    assert_eq!(parse(r#"{"event":"start"}"#), missing);
    let invalid = Err(MessageError::Invalid { field: "streamSid" });
    assert_eq!(parse(r#"{"event":"start","start":{"streamSid":""}}"#), invalid);
    assert_eq!(parse(r#"{"event":"start","start":{"streamSid":9}}"#), invalid);
    assert_eq!(parse(r#"{"event":"start","start":{"streamSid":"a\nb"}}"#), invalid);
    assert_eq!(parse(&format!(r#"{{"event":"start","streamSid":"{}"}}"#, "x".repeat(129))), invalid);
    assert_eq!(parse(r#"{"event":"start","streamSid":"s","start":[]}"#), Err(MessageError::Invalid { field: "start" }));
}

#[test]
fn custom_parameters_of_other_types_become_texts() {
    let start = start(
        r#"{"event":"start","streamSid":"s","start":{"customParameters":{"a":1,"b":true,"c":null,"d":[],"e":"x","e":"y","f":-2}}}"#,
    );
    let parameters: Vec<_> = start.custom_parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(parameters, [("a", "1"), ("b", "true"), ("e", "y"), ("f", "-2")]);
    assert!(!format!("{start:?}").contains("true"), "values are not to be logged");
}

#[test]
fn any_other_media_format_is_recognised_as_such() {
    for format in [
        r#"{"encoding":"audio/x-l16","sampleRate":8000,"channels":1}"#,
        r#"{"encoding":"audio/x-mulaw","sampleRate":16000,"channels":1}"#,
        r#"{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":2}"#,
        r#"{"encoding":5}"#,
        r#"{"sampleRate":"fast"}"#,
        r#"{"channels":{}}"#,
        r#""ulaw""#,
    ] {
        let start = start(&format!(r#"{{"event":"start","streamSid":"s","start":{{"mediaFormat":{format}}}}}"#));
        assert!(!start.media_format.is_ulaw_8000(), "{format}");
    }
    for format in ["{}", "null", r#"{"encoding":"AUDIO/X-MULAW"}"#] {
        let start = start(&format!(r#"{{"event":"start","streamSid":"s","start":{{"mediaFormat":{format}}}}}"#));
        assert!(start.media_format.is_ulaw_8000(), "{format}");
    }
}

#[test]
fn all_keys_and_nothing_else() {
    for key in "0123456789*#ABCD".chars() {
        let text = format!(r#"{{"event":"dtmf","dtmf":{{"digit":"{key}"}}}}"#);
        assert_eq!(parse(&text), Ok(FromTwilio::Dtmf { digit: key }));
    }
    assert_eq!(parse(r#"{"event":"dtmf","dtmf":{"digit":5}}"#), Ok(FromTwilio::Dtmf { digit: '5' }));
    assert_eq!(parse(r#"{"event":"dtmf","dtmf":{"digit":"d"}}"#), Ok(FromTwilio::Dtmf { digit: 'D' }));
    for digit in [r#""""#, r#""12""#, r#""x""#, r#""٣""#, "12", "-1"] {
        let text = format!(r#"{{"event":"dtmf","dtmf":{{"digit":{digit}}}}}"#);
        assert_eq!(parse(&text), Err(MessageError::Invalid { field: "dtmf.digit" }), "{digit}");
    }
    assert_eq!(parse(r#"{"event":"dtmf","dtmf":{}}"#), Err(MessageError::MissingField { field: "dtmf.digit" }));
}

#[test]
fn mark_without_name() {
    assert_eq!(parse(r#"{"event":"mark","mark":{}}"#), Err(MessageError::MissingField { field: "mark.name" }));
    assert_eq!(parse(r#"{"event":"mark"}"#), Err(MessageError::MissingField { field: "mark" }));
    assert_eq!(parse(r#"{"event":"mark","mark":{"name":""}}"#), Ok(FromTwilio::Mark { name: "".into() }));
}

#[test]
fn debug_output_has_no_audio_and_no_parameters() {
    assert!(!format!("{:?}", parse(MEDIA)).contains("/////w=="));
    assert!(!format!("{:?}", parse(START)).contains("es-US"));
}

#[test]
fn identifiers_are_opaque_but_bounded() {
    assert_eq!(CallSid::parse(""), Err(InvalidSid));
    assert_eq!(CallSid::parse(&"é".repeat(129)), Err(InvalidSid));
    assert_eq!(CallSid::parse("a\u{0}"), Err(InvalidSid));
    assert_eq!(CallSid::parse(&"é".repeat(128)).unwrap().as_str().chars().count(), 128);
    assert_eq!(CallSid::parse("anything at all").unwrap().to_string(), "anything at all");
}

#[test]
fn exact_bytes_of_media() {
    let mut out = String::from("kept ");
    message::write_media(&mut out, &sid(), &[0xff; 160]);
    assert_eq!(
        out,
        format!(r#"kept {{"event":"media","streamSid":"{SID}","media":{{"payload":"{}w=="}}}}"#, "/".repeat(213))
    );
}

#[test]
fn exact_bytes_of_mark_and_clear() {
    let mut out = String::new();
    message::write_mark(&mut out, &sid(), "t7:640");
    assert_eq!(out, format!(r#"{{"event":"mark","streamSid":"{SID}","mark":{{"name":"t7:640"}}}}"#));
    out.clear();
    message::write_clear(&mut out, &sid());
    assert_eq!(out, format!(r#"{{"event":"clear","streamSid":"{SID}"}}"#));
}

#[test]
fn names_are_escaped() {
    let mut out = String::new();
    message::write_mark(&mut out, &StreamSid::parse("a\"b\\c").unwrap(), "q\"\\\n\r\t\u{1}\u{1f}\u{7f}é\u{2028}😀");
    assert_eq!(
        out,
        "{\"event\":\"mark\",\"streamSid\":\"a\\\"b\\\\c\",\"mark\":{\"name\":\"q\\\"\\\\\\n\\r\\t\\u0001\\u001f\u{7f}é\u{2028}😀\"}}"
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn damaged_messages_never_panic(
        which in 0..ALL.len(),
        at in any::<prop::sample::Index>(),
        cut in 0_usize..12,
        insert in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,6}",
    ) {
        let mut chars: Vec<char> = ALL[which].chars().collect();
        let from = at.index(chars.len());
        let to = (from + cut).min(chars.len());
        chars.splice(from..to, insert.chars());
        let _ = parse(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn any_json_value_in_any_place_never_panics(
        event in prop::sample::select(vec!["start", "media", "dtmf", "mark", "stop", "connected"]),
        field in prop::sample::select(vec![
            "payload", "name", "digit", "streamSid", "callSid", "accountSid", "mediaFormat", "customParameters", "timestamp",
        ]),
        value in prop::sample::select(vec![
            "null", "true", "0", "-1", "1e9", "1e-9", "18446744073709551615", "\"\"", "\"\\u0000\"", "[]", "{}", "[[{}]]",
            "{\"encoding\":null}", "{\"a\":{\"b\":1}}",
        ]),
    ) {
        let _ = parse(&format!(r#"{{"event":"{event}","{event}":{{"{field}":{value}}},"{field}":{value}}}"#));
    }

    #[test]
    fn media_written_is_media_read(bytes in prop::collection::vec(any::<u8>(), 0..2000), stream in "[ -~]{1,40}") {
        let mut out = String::new();
        message::write_media(&mut out, &StreamSid::parse(&stream).unwrap(), &bytes);
        prop_assert_eq!(STANDARD.decode(media(&out).payload.as_bytes()).unwrap(), bytes);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let object = value.as_object().unwrap();
        prop_assert_eq!(object.len(), 3);
        prop_assert_eq!(object["streamSid"].as_str(), Some(stream.as_str()));
        prop_assert_eq!(object["media"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn mark_written_is_mark_read(name in any::<String>()) {
        let mut out = String::new();
        message::write_mark(&mut out, &sid(), &name);
        let expected = FromTwilio::Mark { name: name.into() };
        prop_assert_eq!(parse(&out), Ok(expected));
    }

    #[test]
    fn sequence_is_read_in_both_spellings(number in any::<u64>()) {
        for text in [format!("{number}"), format!("\"{number}\"")] {
            let text = format!(r#"{{"event":"media","sequenceNumber":{text},"media":{{"payload":""}}}}"#);
            prop_assert_eq!(media(&text).sequence, Some(number));
        }
    }
}

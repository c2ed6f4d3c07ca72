//! Typed views of the forms Twilio posts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::MessageError;
use call::twilio::signature::decode_form;
use call::twilio::webhook::{
    AmdResult, AnsweredBy, CallStatus, Direction, MessageStatus, StatusCallback, StreamEvent, StreamStatus,
    VoiceRequest,
};
use proptest::prelude::*;

const SIDS: &str = "CallSid=CAfedcba9876543210fedcba9876543210&AccountSid=AC0123456789abcdef0123456789abcdef";

fn form(rest: &str) -> Vec<(String, String)> {
    decode_form(format!("{SIDS}&{rest}").as_bytes()).unwrap()
}

#[test]
fn documented_incoming_call() {
    let request = VoiceRequest::from_form(&form(
        "From=%2B15005550006&To=%2B15005550010&CallStatus=ringing&ApiVersion=2010-04-01&Direction=inbound&Caller=%2B15005550006\
         &Called=%2B15005550010&FromCity=SAN+FRANCISCO&FromState=CA&FromZip=94105&FromCountry=US&ToCity=&ToState=CA&ToZip=\
         &ToCountry=US&StirVerstat=TN-Validation-Passed-A",
    ))
    .unwrap();
    assert_eq!(request.call_sid.as_str(), "CAfedcba9876543210fedcba9876543210");
    assert_eq!(request.account_sid.as_str(), "AC0123456789abcdef0123456789abcdef");
    assert_eq!(request.from.as_deref(), Some("+15005550006"));
    assert_eq!(request.to.as_deref(), Some("+15005550010"));
    assert_eq!(request.call_status, Some(CallStatus::Ringing));
    assert_eq!(request.direction, Some(Direction::Inbound));
    assert_eq!((request.answered_by, request.digits, request.speech_result), (None, None, None));
}

#[test]
fn callers_without_number() {
    for from in ["anonymous", "unknown", "client:kiosk", "sip:a@b"] {
        let request = VoiceRequest::from_form(&form(&format!("From={}", from.replace('@', "%40")))).unwrap();
        assert_eq!(request.from.as_deref(), Some(from));
    }
    assert_eq!(VoiceRequest::from_form(&form("From=")).unwrap().from, None);
}

#[test]
fn answers_to_questions() {
    let request =
        VoiceRequest::from_form(&form("SpeechResult=ciento+ochenta&Confidence=0.91&Digits=&CallStatus=in-progress"))
            .unwrap();
    assert_eq!(request.speech_result.as_deref(), Some("ciento ochenta"));
    assert_eq!((request.confidence, request.digits), (Some(0.91), None));
    for confidence in ["", "high", "NaN", "-1", "1.5", "inf"] {
        let request = VoiceRequest::from_form(&form(&format!("Confidence={confidence}"))).unwrap();
        assert_eq!(request.confidence, None, "{confidence}");
    }
}

#[test]
fn outcome_of_the_nurse_line() {
    let request = VoiceRequest::from_form(&form("DialCallStatus=no-answer&DialCallDuration=0")).unwrap();
    assert_eq!((request.dial_call_status, request.dial_call_duration_s), (Some(CallStatus::NoAnswer), Some(0)));
}

#[test]
fn personal_data_is_not_shown() {
    let request = VoiceRequest::from_form(&form(
        "From=%2B15005550006&To=%2B15005550010&SpeechResult=chest+pain&Digits=4711&CallStatus=in-progress",
    ))
    .unwrap();
    let shown = format!("{request:?}");
    for secret in ["5550006", "5550010", "chest", "4711"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("InProgress"));
}

#[test]
fn identifiers_are_required() {
    let fields = decode_form(b"AccountSid=AC1&CallStatus=ringing").unwrap();
    let missing = MessageError::MissingField { field: "CallSid" };
    assert_eq!(VoiceRequest::from_form(&fields), Err(missing));
    assert_eq!(StatusCallback::from_form(&fields), Err(missing));
    assert_eq!(AmdResult::from_form(&fields), Err(missing));
    assert_eq!(StreamStatus::from_form(&fields), Err(missing));
    let fields = decode_form(b"CallSid=CA%00&AccountSid=AC1").unwrap();
    assert_eq!(VoiceRequest::from_form(&fields), Err(MessageError::Invalid { field: "CallSid" }));
    let fields = decode_form(b"CallSid=CA1&AccountSid=").unwrap();
    assert_eq!(VoiceRequest::from_form(&fields), Err(MessageError::MissingField { field: "AccountSid" }));
}

#[test]
fn call_states() {
    for (word, terminal) in [
        ("queued", false),
        ("initiated", false),
        ("ringing", false),
        ("in-progress", false),
        ("completed", true),
        ("busy", true),
        ("no-answer", true),
        ("failed", true),
        ("canceled", true),
        ("paused", false),
    ] {
        let status = CallStatus::parse(word);
        assert_eq!(status.as_str(), word);
        assert_eq!(status.is_terminal(), terminal, "{word}");
        assert_eq!(matches!(status, CallStatus::Other(_)), word == "paused");
    }
}

#[test]
fn documented_final_report() {
    let report = StatusCallback::from_form(&form(
        "From=%2B15005550010&To=%2B15005550006&CallStatus=completed&CallDuration=73&Duration=2&ApiVersion=2010-04-01\
         &Direction=outbound-api&Timestamp=Mon%2C+23+Nov+2026+09%3A15%3A02+%2B0000&CallbackSource=call-progress-events\
         &SequenceNumber=3&RecordingSid=&SipResponseCode=200",
    ))
    .unwrap();
    assert_eq!(report.status, CallStatus::Completed);
    assert_eq!((report.sequence_number, report.duration_s, report.sip_response_code), (Some(3), Some(73), Some(200)));
}

#[test]
fn report_with_the_least() {
    let report = StatusCallback::from_form(&form("CallStatus=initiated")).unwrap();
    assert_eq!((report.sequence_number, report.duration_s, report.sip_response_code), (None, None, None));
    assert_eq!(StatusCallback::from_form(&form("")), Err(MessageError::MissingField { field: "CallStatus" }));
}

#[test]
fn who_picked_up() {
    let verdict = AmdResult::from_form(&form("AnsweredBy=machine_end_beep&MachineDetectionDuration=4876")).unwrap();
    assert_eq!((verdict.answered_by, verdict.detection_ms), (AnsweredBy::MachineEndBeep, Some(4876)));
    for (word, machine) in [
        ("human", false),
        ("unknown", false),
        ("", false),
        ("machine_start", true),
        ("machine_end_beep", true),
        ("machine_end_silence", true),
        ("machine_end_other", true),
        ("machine_of_tomorrow", true),
        ("fax", true),
    ] {
        assert_eq!(AnsweredBy::parse(word).is_machine(), machine, "{word}");
    }
}

#[test]
fn reports_about_streams() {
    let report = StreamStatus::from_form(&form(
        "StreamSid=MZ1&StreamName=fork-1&StreamEvent=stream-error&StreamError=31920&Timestamp=x",
    ))
    .unwrap();
    assert_eq!(report.event, StreamEvent::Error);
    assert_eq!(report.error.as_deref(), Some("31920"));
    assert_eq!(report.stream_name.as_deref(), Some("fork-1"));
    for (word, event) in [
        ("stream-started", StreamEvent::Started),
        ("stream-stopped", StreamEvent::Stopped),
        ("stream-paused", StreamEvent::Other("stream-paused".into())),
    ] {
        let report = StreamStatus::from_form(&form(&format!("StreamSid=MZ1&StreamEvent={word}"))).unwrap();
        assert_eq!((report.event, report.error), (event, None));
    }
}

#[test]
fn reports_about_text_messages() {
    let report = MessageStatus::from_form(
        &decode_form(b"SmsSid=SM1&SmsStatus=sent&MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003").unwrap(),
    )
    .unwrap();
    assert_eq!(
        (report.message_sid.as_str(), report.status.as_str(), report.error_code),
        ("SM1", "undelivered", Some(30003))
    );
    assert!(report.is_failure());
    let legacy = MessageStatus::from_form(&decode_form(b"SmsSid=SM1&SmsStatus=delivered").unwrap()).unwrap();
    assert!(!legacy.is_failure());
    assert!(MessageStatus::from_form(&[]).is_err());
}

#[test]
fn the_first_of_repeated_fields_counts() {
    let request = VoiceRequest::from_form(&form("Digits=1&Digits=2")).unwrap();
    assert_eq!(request.digits.as_deref(), Some("1"));
}

proptest! {
    #[test]
    fn arbitrary_forms_never_panic(fields in prop::collection::vec(
        (
            prop::sample::select(vec![
                "CallSid", "AccountSid", "CallStatus", "Confidence", "SequenceNumber", "CallDuration", "AnsweredBy", "StreamSid",
                "StreamEvent", "MessageSid", "MessageStatus", "ErrorCode",
            ]).prop_map(str::to_owned),
            any::<String>(),
        ),
        0..20,
    )) {
        let _ = VoiceRequest::from_form(&fields);
        let _ = StatusCallback::from_form(&fields);
        let _ = AmdResult::from_form(&fields);
        let _ = StreamStatus::from_form(&fields);
        let _ = MessageStatus::from_form(&fields);
    }
}

//! What the end of the agent's socket means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use call::agent::close::{AgentClose, CloseReaction, ConnectFailure, classify_close, classify_connect};

fn frame(code: u16, reason: &str) -> CloseReaction {
    classify_close(&AgentClose::Frame { code, reason: reason.to_owned() })
}

#[test]
fn documented_codes() {
    assert_eq!(frame(1000, ""), CloseReaction::Finished);
    assert_eq!(frame(1002, "llm timeout"), CloseReaction::Retry);
    assert_eq!(frame(1008, "Override for field 'first_message' is not allowed by config."), CloseReaction::Alert);
    assert_eq!(frame(1011, ""), CloseReaction::Retry);
    assert_eq!(frame(3008, "too many concurrent connections"), CloseReaction::BackOff);
    assert_eq!(frame(4300, ""), CloseReaction::BackOff);
    assert_eq!(classify_close(&AgentClose::NoFrame), CloseReaction::Retry);
    assert_eq!(classify_close(&AgentClose::WeClosed), CloseReaction::Finished);
}

#[test]
fn maximum_duration_of_older_servers_is_a_normal_end() {
    assert_eq!(frame(1011, "Conversation exceeded maximum duration of 600 s"), CloseReaction::Finished);
    assert_eq!(frame(1011, "max_duration_exceeded"), CloseReaction::Finished);
    assert_eq!(frame(1008, "max_duration_exceeded"), CloseReaction::Alert);
}

#[test]
fn codes_of_the_protocol_itself() {
    for code in [1003, 1007, 1009, 1010, 3000, 3003] {
        assert_eq!(frame(code, ""), CloseReaction::Alert, "{code}");
    }
    for code in [1001, 1005, 1006, 1012, 1014, 0, 4000, u16::MAX] {
        assert_eq!(frame(code, ""), CloseReaction::Retry, "{code}");
    }
    assert_eq!(frame(1013, ""), CloseReaction::BackOff);
}

#[test]
fn http_answers() {
    let http = |status| classify_connect(&ConnectFailure::Http { status });
    for status in [400, 401, 402, 403, 404, 405, 422, 200, 301, 308] {
        assert_eq!(http(status), CloseReaction::Alert, "{status}");
    }
    assert_eq!(http(429), CloseReaction::BackOff);
    for status in [408, 425, 500, 502, 503, 504, 520] {
        assert_eq!(http(status), CloseReaction::Retry, "{status}");
    }
}

#[test]
fn failures_to_connect() {
    for failure in [ConnectFailure::Timeout, ConnectFailure::Network, ConnectFailure::BadResponse] {
        assert_eq!(classify_connect(&failure), CloseReaction::Retry, "{failure:?}");
    }
    for (code, reaction) in [
        (1008, CloseReaction::Alert),
        (3008, CloseReaction::BackOff),
        (1006, CloseReaction::Retry),
        (1000, CloseReaction::Retry),
    ] {
        assert_eq!(classify_connect(&ConnectFailure::ClosedAtOnce { code }), reaction, "{code}");
    }
}

#[test]
fn errors_within_a_conversation_are_judged_like_refusals() {
    for (word, reaction) in [
        ("insufficient_quota", Some(CloseReaction::Alert)),
        ("invalid_api_key", Some(CloseReaction::Alert)),
        ("model_not_found", Some(CloseReaction::Alert)),
        ("session_update_refused", Some(CloseReaction::Alert)),
        ("rate_limit_exceeded", Some(CloseReaction::BackOff)),
        ("server_error", Some(CloseReaction::Retry)),
        ("session_expired", Some(CloseReaction::Retry)),
        ("something_new", Some(CloseReaction::Retry)),
        ("response_cancel_not_active", None),
    ] {
        assert_eq!(call::agent::close::classify_error(word), reaction, "{word}");
    }
}

//! Headers that every answer has.

use crate::house::{Answer, House};
use server::Settings;

const ID: &str = "0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b";

fn https(settings: &mut Settings) {
    settings.public_base_url = "https://hv.example.org".into();
}

async fn every_kind_of_answer(house: &House) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for line in [
        "GET /",
        "GET /home.js",
        "GET /alerts/x",
        "GET /health",
        "GET /ready",
        "GET /metrics",
        "GET /nothing",
        "GET //",
        "DELETE /health",
        "POST /twilio/voice",
        "POST /elevenlabs/post-call",
        "GET /api/v1/calls",
        "GET /api/v1/x",
        "OPTIONS /api/v1/calls",
        "GET /twilio/media-stream",
    ] {
        answers.push((line, house.ask(line, &["Origin: https://evil.example"], b"").await.unwrap()));
    }
    let headers = [house.bearer.as_str(), "Origin: https://evil.example"];
    answers.push(("own GET /api/v1/calls", house.ask("GET /api/v1/calls", &headers, b"").await.unwrap()));
    answers
}

#[tokio::test]
async fn every_answer_tells_browsers_to_allow_nothing() {
    let house = House::open_with(https).await;
    for (line, answer) in every_kind_of_answer(&house).await {
        for (name, expected) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.headers.get(name).map(Vec::as_slice), Some(&[expected.to_owned()][..]), "{line}: {name}");
        }
        let policy = answer.headers.get("content-security-policy").map(Vec::as_slice).unwrap_or_default();
        assert!(policy.len() == 1 && policy[0].starts_with("default-src 'none'"), "{line}: {policy:?}");
        assert!(
            !policy[0].contains("unsafe-eval") && policy[0].contains("frame-ancestors 'none'"),
            "{line}: {policy:?}"
        );
        assert!(answer.header("permissions-policy").is_some_and(|policy| policy.contains("microphone=()")), "{line}");
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")), "{line}: {answer:?}");
        assert!(answer.header("server").is_none() && answer.header("x-powered-by").is_none(), "{line}");
        let ids = &answer.headers["x-request-id"];
        assert!(ids.len() == 1 && ids[0].len() == 36, "{line}: {ids:?}");
        assert!(answer.status < 500 || answer.status == 503, "{line}: {answer:?}");
        let forged = ["POST /twilio/voice", "POST /elevenlabs/post-call"].contains(&line);
        if forged {
            assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{line}");
        } else if answer.status >= 400 && !["GET /health", "GET /ready"].contains(&line) {
            answer.problem();
        }
    }
}

#[tokio::test]
async fn plain_http_promises_no_https() {
    let house = House::open().await;
    assert!(house.get("/health").await.header("strict-transport-security").is_none());
}

#[tokio::test]
async fn a_clients_request_identifier_is_kept_only_if_it_is_one() {
    let house = House::open().await;
    let shown = async |value: &str| {
        let answer = house.ask("GET /ready", &[&format!("X-Request-Id: {value}")], b"").await.unwrap();
        answer.headers["x-request-id"].clone()
    };
    assert_eq!(shown(ID).await, [ID]);
    for bad in ["Ada Example", "1", "0190a7c43b1f7c52b7a50c9d1f2e3a4b", "{0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b}"] {
        let given = shown(bad).await;
        assert!(given.len() == 1 && given[0].len() == 36 && given[0] != ID && given[0] != bad, "{given:?}");
    }
}

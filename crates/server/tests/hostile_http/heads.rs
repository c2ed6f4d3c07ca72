//! Heads of requests: paths that mean something else, too much of everything, contradictions, slowness.

use crate::house::{House, PATIENCE, read_answer, trickle};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn path_tricks_are_refused_and_unknown_routes_are_not_found() {
    let house = House::open().await;
    for path in [
        "//",
        "//etc/passwd",
        "/api//v1/calls",
        "/api/v1/../../health",
        "/api/v1/%2e%2e/%2E%2E/health",
        "/api/v1/calls/%2fetc%2fpasswd",
        "/api/v1/calls/%5c..%5c",
        "/api/v1/calls/a%00b",
        "/api/v1/calls/%0d%0aSet-Cookie:x",
        "/api/v1/calls/%ff%fe",
        "/api/v1/calls/%c0%ae%c0%ae",
        "/%",
        "/%zz",
        "/./health",
    ] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_path"), "{path}");
        assert!(answer.header("set-cookie").is_none());
    }
    for path in ["/nothing", "/admin.php", "/.env", "/twilio", "/alerts", "/health/x"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{path}");
        assert!(!answer.body.contains(path), "the path is not repeated: {}", answer.body);
    }
    // Below the interfaces nobody learns what is there before they say who they are.
    for path in ["/fhir/R4/Patient", "/api/v1/nothing"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthorized"), "{path}");
    }
    house.is_well().await;
}

#[tokio::test]
async fn bytes_that_no_address_has_are_refused() {
    let house = House::open().await;
    for line in
        [&b"GET /a\0b HTTP/1.1"[..], b"GET /a b HTTP/1.1", b"GET /a\x01 HTTP/1.1", b"G\0T / HTTP/1.1", b"\xff\xfe\xfd"]
    {
        let request = [line, b"\r\nHost: x\r\n\r\n"].concat();
        let status = house.raw(&request).await.map(|answer| answer.status);
        assert_eq!(status, Some(400), "{line:?}");
    }
    // Raw bytes beyond ASCII reach the router as an address that nothing answers to.
    let answer = house.raw(b"GET /caf\xe9 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!([400, 404].contains(&answer.status), "{answer:?}");
    // TLS, HTTP/2 and SSH at a port of plain HTTP/1.1.
    for other in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ] {
        let status = house.raw(other).await.map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..=505).contains(&status)), "{other:?}: {status:?}");
    }
    house.is_well().await;
}

#[tokio::test]
async fn too_much_of_everything_is_refused() {
    let house = House::open().await;
    let long = house.get(&format!("/{}", "a".repeat(9 * 1024))).await;
    assert_eq!((long.status, long.problem().as_str()), (414, "uri_too_long"));
    let long = house.get(&format!("/health?{}", "a=b&".repeat(3_000))).await;
    assert_eq!((long.status, long.problem().as_str()), (414, "uri_too_long"));
    let longer = house.get(&format!("/{}", "a".repeat(200 * 1024))).await;
    assert!([414, 431].contains(&longer.status), "{longer:?}");

    let many: Vec<String> = (0..80).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = house.ask("GET /health", &many, b"").await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (431, "too_many_headers"));
    let many: Vec<String> = (0..5_000).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(house.ask("GET /health", &many, b"").await.unwrap().status, 431);
    let large = format!("Cookie: {}", "a".repeat(100 * 1024));
    assert_eq!(house.ask("GET /health", &[&large], b"").await.unwrap().status, 431);
    house.is_well().await;
}

#[tokio::test]
async fn contradictions_are_refused() {
    let house = House::open().await;
    for headers in [
        &["Content-Length: 3", "Content-Length: 4"][..],
        &["Content-Length: 3, 4"],
        &["Content-Length: -1"],
        &["Content-Length: +3"],
        &["Content-Length: 99999999999999999999999"],
        &["Content-Length: 0x3"],
        &["Transfer-Encoding: gzip"],
        &["Transfer-Encoding: chunked, gzip"],
        &["Content-Length : 3"],
        &["X-Folded: a\r\n b"],
        &["Host: other.example"],
        &["Authorization: Bearer a", "Authorization: Bearer b"],
        &["Content-Type: application/json", "Content-Type: text/xml"],
    ] {
        let answer = house.ask("POST /twilio/voice", headers, b"abcd").await.unwrap();
        assert_eq!(answer.status, 400, "{headers:?}");
    }
    let answer = house.raw(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_host"));
    assert!(house.raw(b"GET /ready HTTP/1.0\r\n\r\n").await.is_some_and(|answer| answer.status != 400));
    house.is_well().await;
}

/// Whoever sends both a length and chunks hopes that two servers read them differently.
#[tokio::test]
async fn nothing_can_be_smuggled_behind_a_chunked_body() {
    let house = House::open().await;
    for headers in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 60"]
    {
        let request = format!(
            "POST /twilio/voice HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\nGET /home.js HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        let mut stream = house.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let first = read_answer(&mut stream).await.unwrap();
        assert!(first.status >= 400, "{first:?}");
        assert!(!first.body.contains("fetch("), "the second request was answered: {}", first.body);
        assert!(read_answer(&mut stream).await.is_none(), "the second request was answered");
    }
}

#[tokio::test]
async fn odd_methods_and_forms_of_address_are_errors_and_no_more() {
    let house = House::open().await;
    for line in [
        "OPTIONS *",
        "OPTIONS /api/v1/calls",
        "OPTIONS /health",
        "TRACE /health",
        "CONNECT example.org:443",
        "PUT /health",
        "BREW /health",
        "GET http://elsewhere.example/nothing",
        "GET nothing",
    ] {
        let answer =
            house.ask(line, &["Origin: https://evil.example", "Access-Control-Request-Method: GET"], b"").await;
        let answer = answer.unwrap();
        assert!((400..500).contains(&answer.status), "{line}: {answer:?}");
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")), "{line}: {answer:?}");
    }
    let answer = house.ask("DELETE /health", &[], b"").await.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    house.is_well().await;
}

#[tokio::test]
async fn a_head_that_trickles_in_and_a_client_that_says_nothing_are_cut_off() {
    let house = House::open().await;
    let mut slow = house.connect().await;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let silent = house.connect().await;
    let lines = house.connect().await;
    let (slow, silent, lines) = tokio::join!(trickle(slow, b"a"), trickle(silent, b""), trickle(lines, b"X: y\r\n"));
    for taken in [slow, silent] {
        assert!(taken > PATIENCE / 2 && taken < PATIENCE * 4, "{taken:?}");
    }
    assert!(lines < PATIENCE * 4, "{lines:?}");
    house.is_well().await;
}

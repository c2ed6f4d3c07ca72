//! Bodies of requests: too large, too slow, cut short, or not what they say.

use crate::house::{House, PATIENCE, read_answer, trickle};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SCHEDULES: &str = "/api/v1/schedules";

/// Resident memory of this process in MiB; the server runs in it.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_length_that_is_too_large_is_refused_before_the_body_comes() {
    let house = House::open().await;
    for (path, bearer) in [("/twilio/voice", "X-None: 1"), (SCHEDULES, house.bearer.as_str())] {
        let headers = [bearer, "Content-Type: application/json", "Content-Length: 5000000000"];
        let answer = house.ask(&format!("POST {path}"), &headers, b"{").await.unwrap();
        assert_eq!(answer.status, 413, "{path}");
        assert_eq!(answer.problem(), "too_large");
    }
    house.is_well().await;
}

#[tokio::test]
async fn an_endless_chunked_body_is_refused_within_little_memory() {
    let house = House::open().await;
    for (path, bearer) in [("/twilio/voice", "X-None: 1"), (SCHEDULES, house.bearer.as_str())] {
        let before = resident_mib();
        let mut stream = house.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let chunk = [b"10000\r\n".as_slice(), &[b'1'; 0x1_0000], b"\r\n"].concat();
        let mut sent = 0_usize;
        let sender = tokio::spawn(async move {
            while sent < 512 << 20 && to.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
            sent
        });
        let answer = tokio::time::timeout(Duration::from_secs(10), read_answer(&mut from)).await.unwrap();
        assert_eq!(answer.unwrap().status, 413, "{path}");
        let sent = tokio::time::timeout(PATIENCE * 4, sender).await.unwrap().unwrap();
        assert!(sent < 64 << 20, "{path}: {sent} bytes were taken");
        assert!(resident_mib() < before + 64, "{path}");
    }
    house.is_well().await;
}

#[tokio::test]
async fn broken_chunks_are_refused() {
    let house = House::open().await;
    for chunks in ["zz\r\nab\r\n0\r\n\r\n", "ffffffffffffffffffff\r\na", "-1\r\na\r\n", "2\r\nabc\r\n0\r\n\r\n"] {
        let headers = ["Transfer-Encoding: chunked", "Content-Type: application/x-www-form-urlencoded"];
        let answer = house.ask("POST /twilio/voice", &headers, chunks.as_bytes()).await;
        assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)), "{chunks:?}");
    }
    house.is_well().await;
}

#[tokio::test]
async fn a_body_that_trickles_in_is_cut_off() {
    let house = House::open().await;
    let mut form = house.connect().await;
    form.write_all(b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n").await.unwrap();
    let mut json = house.connect().await;
    let head = format!(
        "POST {SCHEDULES} HTTP/1.1\r\nHost: x\r\n{}\r\nContent-Type: application/json\r\nContent-Length: 16000\r\n\r\n",
        house.bearer
    );
    json.write_all(head.as_bytes()).await.unwrap();
    let (form, json) = tokio::join!(trickle(form, b"a"), trickle(json, b" "));
    for taken in [form, json] {
        assert!(taken < PATIENCE * 4, "{taken:?}");
    }
    house.is_well().await;
}

#[tokio::test]
async fn a_body_that_ends_early_changes_nothing() {
    let house = House::open().await;
    let mut stream = house.connect().await;
    let head = format!(
        "POST {SCHEDULES} HTTP/1.1\r\nHost: x\r\n{}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"a\":",
        house.bearer
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE * 4, stream.read_to_end(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with(b"HTTP/1.1 2") && !answer.starts_with(b"HTTP/1.1 5"), "{answer:?}");
    house.is_well().await;
}

#[tokio::test]
async fn json_that_is_none_is_the_clients_mistake() {
    let house = House::open().await;
    let nested = |open: &str, close: &str| [open.repeat(7_000), close.repeat(7_000)].concat().into_bytes();
    let deep = [b"{\"patient_id\":".as_slice(), &b"[".repeat(10_000), b"1", &b"]".repeat(5_000), b"}"].concat();
    for body in [
        b"\xff\xfe{}".to_vec(),
        b"{\"patient_id\":\"\xc3\x28\"}".to_vec(),
        b"{\"patient_id\":\"\\ud800\"}".to_vec(),
        b"{\"patient_id\":1e999999}".to_vec(),
        b"{\"a\":".to_vec(),
        b"null".to_vec(),
        Vec::new(),
        nested("[", "]"),
        b"{\"a\":".repeat(2_500),
        deep,
    ] {
        let answer = house.post_json(SCHEDULES, &body).await;
        assert!((400..500).contains(&answer.status), "{} for {} bytes", answer.status, body.len());
        answer.problem();
    }
    house.is_well().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_does_not_hold_its_place() {
    let house = House::open().await;
    let mut stream = house.connect().await;
    // Many answers asked for at once, none of them read: the buffers between us fill.
    let requests = "GET /home.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let (mut from, mut to) = stream.split();
    let _ =
        tokio::time::timeout(PATIENCE * 3, async { while to.write_all(requests.as_bytes()).await.is_ok() {} }).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), from.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection was given up");
    house.is_well().await;
}

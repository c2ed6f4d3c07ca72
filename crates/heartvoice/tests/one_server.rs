//! A server that cannot start ends no call of one that runs; everything else works beside it.
#![allow(clippy::unwrap_used)]

mod common;

use clinic::{CallId, CallOutcome, Direction};
use common::{KEY, command, run, succeeds};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use store::{MasterKey, NewCall, Store, StoreConfig};
use tempfile::tempdir;

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn settings(port: &str) -> [(&str, &str); 3] {
    [("ENCRYPTION_KEY", KEY), ("BIND_ADDR", "127.0.0.1"), ("PORT", port)]
}

async fn open(dir: &Path) -> Store {
    let database_url = format!("sqlite://{}", dir.join("heartvoice.db").display());
    let config = StoreConfig { database_url, audio_dir: dir.join("audio") };
    Store::open(config, MasterKey::from_hex(KEY).unwrap()).await.unwrap()
}

/// A call that another process carries.
async fn live_call(store: &Store) -> CallId {
    let new = NewCall { call_sid: "CA1", patient_id: None, direction: Direction::Inbound, started_at_us: 1_000_000 };
    store.begin_call(new).await.unwrap().id
}

/// Starts a server and waits until it listens.
fn start(dir: &Path) -> Child {
    let port = free_port();
    let mut server = command(dir, &["serve", "--grace", "1"], &settings(&port)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening")));
    std::thread::spawn(move || lines.count());
    server
}

fn stop(mut server: Child) {
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert!(server.wait().unwrap().success());
}

/// The last line of a start that must fail.
fn refused(dir: &Path, port: &str) -> String {
    let output = run(dir, &["serve"], &settings(port));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr.lines().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_of_a_file_is_refused_and_commands_are_not() {
    let dir = tempdir().unwrap();
    let first = start(dir.path());
    let store = open(dir.path()).await;
    let call = live_call(&store).await;
    let reason = refused(dir.path(), &free_port());
    assert!(reason.starts_with("error: another server is using the database "), "{reason}");
    assert_eq!(store.get_call(&call).await.unwrap().outcome, CallOutcome::InProgress);
    succeeds(dir.path(), &["patient", "list"], &[("ENCRYPTION_KEY", KEY)]);
    succeeds(dir.path(), &["call", "list"], &[("ENCRYPTION_KEY", KEY)]);
    stop(first);
    // What the lock leaves behind keeps nobody from starting.
    stop(start(dir.path()));
    assert_eq!(store.get_call(&call).await.unwrap().outcome, CallOutcome::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_port_is_taken_ends_no_call() {
    let dir = tempdir().unwrap();
    let store = open(dir.path()).await;
    let call = live_call(&store).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let reason = refused(dir.path(), &taken.local_addr().unwrap().port().to_string());
    assert!(reason.starts_with("error: cannot listen on "), "{reason}");
    assert_eq!(store.get_call(&call).await.unwrap().outcome, CallOutcome::InProgress);
}

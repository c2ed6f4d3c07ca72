//! A server with nothing configured but a token, and a client that writes bytes.

use server::{Server, Settings};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use store::{MasterKey, Store, StoreConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long the server of these tests bears a connection that comes to nothing.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) host: String,
    /// `Authorization: Bearer …`
    pub(crate) bearer: String,
    _data: tempfile::TempDir,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|values| values[0].as_str())
    }

    /// The code of the problem document that every error has.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(document["status"], self.status, "{self:?}");
        document["code"].as_str().unwrap().to_owned()
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    pub(crate) async fn open_with(set: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            database_url: format!("sqlite://{}", data.path().join("test.db").display()),
            audio_dir: data.path().join("audio"),
        };
        let store = Store::open(config, MasterKey::random().unwrap()).await.unwrap();
        let token = store.create_token("tests", None, 1).await.unwrap().token.to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = Settings::local(listener.local_addr().unwrap());
        settings.idle_connection = PATIENCE;
        set(&mut settings);
        let host = listener.local_addr().unwrap().to_string();
        let server = Server::start_on(listener, settings, store).unwrap();
        Self { server, host, bearer: format!("Authorization: Bearer {token}"), _data: data }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends these bytes on a connection of their own and reads the answer.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect().await;
        // The server may refuse before everything is sent.
        let _ = stream.write_all(bytes).await;
        read_answer(&mut stream).await
    }

    /// A request with a host, these further header lines and a body.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &[u8]) -> Option<Answer> {
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: {}\r\n", self.host).into_bytes();
        for header in headers {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.raw(&bytes).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"").await.expect("an answer")
    }

    /// The server still does its work.
    pub(crate) async fn is_well(&self) {
        assert!(self.get("/").await.body.contains("HeartVoice"));
    }

    /// A JSON request to the programming interface, with our token.
    pub(crate) async fn post_json(&self, path: &str, body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}", body.len());
        let headers = [self.bearer.as_str(), "Content-Type: application/json", &length];
        self.ask(&format!("POST {path}"), &headers, body).await.expect("an answer")
    }
}

/// Reads one answer. `None` when the connection ended without one.
pub(crate) async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Answer> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut bytes)).await;
        if read.expect("an answer or an end within 20 s").ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |values| values[0].parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            break;
        }
    }
    Some(Answer { status, headers, body: String::from_utf8_lossy(&bytes[head_end + 4..]).into_owned() })
}

/// Writes `piece` every 50 ms until the connection ends; how long that took. Whatever the server says is read.
pub(crate) async fn trickle<S: AsyncRead + AsyncWrite + Unpin>(stream: S, piece: &[u8]) -> Duration {
    let began = Instant::now();
    let (mut from, mut to) = tokio::io::split(stream);
    let heard = async {
        let mut sink = Vec::new();
        let _ = from.read_to_end(&mut sink).await;
    };
    let said = async {
        while to.write_all(piece).await.is_ok() && to.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! { () = heard => {}, () = said => {} }
    began.elapsed()
}

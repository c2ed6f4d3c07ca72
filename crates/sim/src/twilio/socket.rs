//! The WebSocket of one media stream: a task that connects as Twilio does and passes messages both ways.

use super::HandshakeSignature;
use super::webhook::sign;
use crate::rng::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Twilio's patience with a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From `connected` to `start`: whatever the server sends in between came too early.
const START_DELAY: Duration = Duration::from_millis(30);
/// Messages queued for a server that reads slowly: ten seconds of audio. Beyond that they are dropped.
const OUTGOING: usize = 500;
/// Messages waiting for the call; the socket is not read while it is full.
pub(super) const INCOMING: usize = 256;
/// How long an abandoned socket stays open.
const ABANDONED: Duration = Duration::from_secs(60);
/// How long the server may take for its half of a close handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// No message of a server needs to be larger.
const MAX_MESSAGE: usize = 16 << 20;

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the call tells the socket.
#[derive(Debug)]
pub(super) enum ToSocket {
    Text(String),
    /// Close without status and end.
    Close,
    /// Send nothing more, but stay connected.
    Abandon,
    /// Reset the connection.
    Reset,
}

/// What the socket tells the call.
#[derive(Debug)]
pub(super) enum FromSocket {
    /// `start` was sent.
    Started,
    /// No stream: Twilio's error code, and the HTTP status if there was one.
    Refused {
        code: u32,
        status: Option<u16>,
        detail: String,
    },
    Text {
        text: String,
        after_start: bool,
    },
    Binary {
        len: usize,
    },
    /// The server closed, with its close code, or the connection broke.
    Closed {
        code: Option<u16>,
    },
}

/// How to connect.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) id: u32,
    pub(super) url: String,
    pub(super) auth_token: String,
    pub(super) signature: HandshakeSignature,
    pub(super) delay: Duration,
    pub(super) slow_reader: Option<Duration>,
    pub(super) connected: String,
    pub(super) start: String,
    pub(super) seed: u64,
}

/// Starts the task of a stream and gives the sender for its messages.
pub(super) fn open(dial: Dial, events: mpsc::Sender<(u32, FromSocket)>) -> mpsc::Sender<ToSocket> {
    let (sender, receiver) = mpsc::channel(OUTGOING);
    tokio::spawn(async move {
        let id = dial.id;
        if let Some(event) = run(dial, receiver, &events).await {
            // The call may be over already.
            let _ = events.send((id, event)).await;
        }
    });
    sender
}

/// Gives the last event.
async fn run(
    dial: Dial,
    mut receiver: mpsc::Receiver<ToSocket>,
    events: &mpsc::Sender<(u32, FromSocket)>,
) -> Option<FromSocket> {
    tokio::time::sleep(dial.delay).await;
    let mut socket = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connect(&dial)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(refused)) => return Some(refused),
        Err(_) => {
            return Some(FromSocket::Refused { code: 31901, status: None, detail: "handshake timed out".to_owned() });
        }
    };
    let broken = Some(FromSocket::Closed { code: None });
    if socket.send(Message::text(dial.connected.as_str())).await.is_err() {
        return broken;
    }
    let start_at = Instant::now() + START_DELAY;
    let mut started = false;
    let mut abandoned: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            biased;
            outgoing = receiver.recv(), if started && abandoned.is_none() => match outgoing {
                Some(ToSocket::Text(text)) => {
                    if socket.feed(Message::text(text)).await.is_err() {
                        return broken;
                    }
                    // Several may be waiting; one flush sends them together.
                    if receiver.is_empty() && socket.flush().await.is_err() {
                        return broken;
                    }
                    continue;
                }
                Some(ToSocket::Close) | None => {
                    close(&mut socket).await;
                    return None;
                }
                Some(ToSocket::Abandon) => {
                    let _ = socket.flush().await;
                    abandoned = Some(Instant::now() + ABANDONED);
                    continue;
                }
                Some(ToSocket::Reset) => {
                    let _ = socket.flush().await;
                    reset(&socket);
                    return None;
                }
            },
            () = tokio::time::sleep_until(start_at), if !started => {
                started = true;
                if socket.send(Message::text(dial.start.as_str())).await.is_err() {
                    return broken;
                }
                let _ = events.send((dial.id, FromSocket::Started)).await;
                continue;
            }
            () = tokio::time::sleep_until(abandoned.unwrap_or(start_at)), if abandoned.is_some() => return None,
            message = socket.next() => message,
        };
        let event = match message {
            Some(Ok(Message::Text(text))) => FromSocket::Text { text: text.as_str().to_owned(), after_start: started },
            Some(Ok(Message::Binary(bytes))) => FromSocket::Binary { len: bytes.len() },
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                // Lets the library answer the close handshake.
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.next()).await;
                return Some(FromSocket::Closed { code: Some(code) });
            }
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return broken,
        };
        let _ = events.send((dial.id, event)).await;
        if let Some(delay) = dial.slow_reader {
            tokio::time::sleep(delay).await;
        }
    }
}

async fn connect(dial: &Dial) -> Result<WebSocket, FromSocket> {
    let refused = |code, status, detail: String| FromSocket::Refused { code, status, detail };
    let request = request(dial).ok_or_else(|| refused(31923, None, format!("malformed url '{}'", dial.url)))?;
    let config =
        WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0).max_message_size(Some(MAX_MESSAGE));
    match tokio_tungstenite::connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let status = response.status().as_u16();
            Err(refused(31920, Some(status), format!("upgrade answered with {status}")))
        }
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(refused(31902, None, error.to_string()))
        }
        Err(Error::Tls(error)) => Err(refused(31910, None, error.to_string())),
        Err(error) => Err(refused(31901, None, error.to_string())),
    }
}

/// The upgrade request with exactly the headers the real service sends.
fn request(dial: &Dial) -> Option<Request> {
    let url = reqwest::Url::parse(&dial.url).ok().filter(|url| matches!(url.scheme(), "ws" | "wss"))?;
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    let mut rng = Rng::named(dial.seed, "websocket-key");
    let key: Vec<u8> = (0..16).map(|_| rng.next_u64() as u8).collect();
    // A query string is not supported and is left out.
    let bare = dial.url.split(['?', '#']).next().unwrap_or_default();
    let mut builder = Request::builder()
        .uri(bare)
        .header("Host", host)
        .header("User-Agent", "Twilio.TmeWs/1.0")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", STANDARD.encode(key))
        .header("Accept-Encoding", "gzip");
    let token = &dial.auth_token;
    let signature = match dial.signature {
        HandshakeSignature::Valid => Some(sign(token, bare, &[])),
        HandshakeSignature::Absent => None,
        HandshakeSignature::WrongToken => Some(sign(&format!("{token}-wrong"), bare, &[])),
        HandshakeSignature::SlashToggled => Some(match bare.strip_suffix('/') {
            Some(without) => sign(token, without, &[]),
            None => sign(token, &format!("{bare}/"), &[]),
        }),
        HandshakeSignature::PortAdded => Some(sign(token, &with_port(bare), &[])),
    };
    if let Some(signature) = signature {
        builder = builder.header("X-Twilio-Signature", signature);
    }
    builder.body(()).ok()
}

/// The URL with its default port written out; unchanged when it has a port.
fn with_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        return url.to_owned();
    }
    let port = if scheme == "wss" { 443 } else { 80 };
    format!("{scheme}://{authority}:{port}{path}")
}

async fn close(socket: &mut WebSocket) {
    let closing = async {
        socket.flush().await?;
        socket.close(None).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), Error>(())
    };
    // A server that does not answer the close is left alone.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

fn reset(socket: &WebSocket) {
    let stream = match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => Some(stream),
        MaybeTlsStream::Rustls(tls) => Some(tls.get_ref().0),
        _ => None,
    };
    if let Some(Err(error)) = stream.map(TcpStream::set_zero_linger) {
        tracing::debug!(%error, "no reset");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn ports_are_written_out_once() {
        assert_eq!(with_port("wss://h.example/a/b"), "wss://h.example:443/a/b");
        assert_eq!(with_port("ws://h.example"), "ws://h.example:80");
        assert_eq!(with_port("ws://127.0.0.1:3000/a"), "ws://127.0.0.1:3000/a");
    }

    #[test]
    fn the_request_has_twilios_headers_and_no_query() {
        let dial = Dial {
            id: 1,
            url: "wss://hv.example.org/twilio/media?x=1".to_owned(),
            auth_token: "t".to_owned(),
            signature: HandshakeSignature::Valid,
            delay: Duration::ZERO,
            slow_reader: None,
            connected: String::new(),
            start: String::new(),
            seed: 1,
        };
        let request = request(&dial).unwrap();
        assert_eq!(request.uri().to_string(), "wss://hv.example.org/twilio/media");
        assert_eq!(request.headers()["x-twilio-signature"], sign("t", "wss://hv.example.org/twilio/media", &[]));
        assert!(!request.headers().contains_key("sec-websocket-protocol"));
        assert!(!request.headers().contains_key("sec-websocket-extensions"));
        assert!(super::request(&Dial { url: "https://h/".to_owned(), ..dial }).is_none());
    }
}

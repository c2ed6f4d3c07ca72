//! A simulated conversation on a real WebSocket: the state machine on one side, the socket on the other.

use crate::SimError;
use crate::elevenlabs::Out;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest time a client may take to read a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the client's half of a close handshake.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest message accepted, far above any chunk of caller audio.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;

/// A conversation that is handed messages and the time in milliseconds, and hands out frames.
pub(crate) trait Talk {
    fn poll(&mut self, now: u64) -> Option<Out>;
    fn next_timeout(&self, now: u64) -> u64;
    fn handle_text(&mut self, now: u64, text: &str);
    fn handle_binary(&mut self, now: u64);
    fn closed(&mut self, now: u64, code: Option<u16>);
}

impl Talk for crate::elevenlabs::Conversation {
    fn poll(&mut self, now: u64) -> Option<Out> {
        Self::poll(self, now)
    }

    fn next_timeout(&self, now: u64) -> u64 {
        Self::next_timeout(self, now)
    }

    fn handle_text(&mut self, now: u64, text: &str) {
        Self::handle_text(self, now, text);
    }

    fn handle_binary(&mut self, now: u64) {
        Self::handle_binary(self, now);
    }

    fn closed(&mut self, now: u64, code: Option<u16>) {
        Self::closed(self, now, code);
    }
}

/// Holds the conversation until one side ends it, or `stop`.
pub(crate) async fn run<T: Talk>(
    mut socket: WebSocket,
    chat: &Mutex<T>,
    log: Option<&FrameLog>,
    stop: &CancellationToken,
) {
    let began = Instant::now();
    let now = || began.elapsed().as_millis() as u64;
    let ended_by_client = loop {
        while let Some(out) = { lock(chat).poll(now()) } {
            match out {
                Out::Text(text) => {
                    if let Some(log) = log {
                        log.sent(&text);
                    }
                    let sent = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        lock(chat).closed(now(), None);
                        return;
                    }
                }
                Out::Close { code, reason } => return close(&mut socket, code, reason).await,
                // Dropping the socket ends TCP without a close frame.
                Out::Drop => return,
            }
        }
        let wake = began + Duration::from_millis(lock(chat).next_timeout(now()));
        let message = tokio::select! {
            message = socket.recv() => message,
            () = tokio::time::sleep_until(wake) => continue,
            () = stop.cancelled() => break None,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if let Some(log) = log {
                    log.received(&text);
                }
                lock(chat).handle_text(now(), &text);
            }
            Some(Ok(Message::Binary(_))) => lock(chat).handle_binary(now()),
            // An empty close frame reads as 1005.
            Some(Ok(Message::Close(frame))) => break Some(frame.map_or(1005, |frame| frame.code)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(_)) | None => break None,
        }
    };
    lock(chat).closed(now(), ended_by_client);
    if ended_by_client.is_some() {
        // Reading on lets the library answer the close handshake.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.recv()).await;
    }
}

/// Closes a socket that was accepted for nothing else.
pub(crate) async fn refuse(mut socket: WebSocket, code: u16, reason: &str) {
    close(&mut socket, code, reason.to_owned()).await;
}

async fn close(socket: &mut WebSocket, code: u16, reason: String) {
    let frame = CloseFrame { code, reason: reason.into() };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
        }
    })
    .await;
}

/// Frames as JSON lines, for checking against the official types.
#[derive(Debug)]
pub(crate) struct FrameLog {
    sent: Mutex<File>,
    received: Mutex<File>,
}

impl FrameLog {
    pub(crate) fn open(dir: &std::path::Path) -> Result<Self, SimError> {
        let fail = |source| SimError::Log { path: dir.display().to_string(), source };
        std::fs::create_dir_all(dir).map_err(fail)?;
        let create = |name: &str| File::create(dir.join(name)).map(Mutex::new).map_err(fail);
        Ok(Self { sent: create("sent.jsonl")?, received: create("received.jsonl")? })
    }

    fn sent(&self, text: &str) {
        Self::write(&self.sent, text);
    }

    fn received(&self, text: &str) {
        Self::write(&self.received, text);
    }

    fn write(file: &Mutex<File>, text: &str) {
        if let Err(error) = writeln!(lock(file), "{text}") {
            tracing::warn!(%error, "frame log");
        }
    }
}

/// A poisoned lock only means another task panicked; the statistics are still readable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

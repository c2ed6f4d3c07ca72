//! Connections that only take up room: who sends a request byte by byte, or never, is disconnected.
//!
//! A connection on which we have written nothing for a while is closed, whatever it sends or refuses to take, unless it
//! has become a WebSocket: those are bounded by what they are for.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How the answer begins that turns a connection into a WebSocket.
const UPGRADED: &[u8] = b"HTTP/1.1 101";

/// A connection that ends by itself when nothing comes of it.
pub(crate) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// `None` once it is a WebSocket.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, end: Some(Box::pin(tokio::time::sleep(patience))) }
    }

    /// An error once there was nothing written for too long.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match &mut self.end {
            Some(end) => end.as_mut().poll(cx).map(|()| Error::from(ErrorKind::TimedOut)),
            None => Poll::Pending,
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if bytes.starts_with(UPGRADED) {
            self.end = None;
        } else if let Some(end) = &mut self.end {
            end.as_mut().reset(Instant::now() + self.patience);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Ready(written) => {
                self.wrote(buf);
                Poll::Ready(written)
            }
            // Who asks for much and reads nothing of it holds a place just as well.
            Poll::Pending => self.poll_end(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Ready(written) => {
                self.wrote(bufs.first().map_or(&[], |first| first));
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_end(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => self.poll_end(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(closed) => Poll::Ready(closed),
            Poll::Pending => self.poll_end(cx).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_request_that_trickles_in_is_cut_off() {
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut ours = Impatient::new(ours, PATIENCE);
        let trickle = tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut got = Vec::new();
        let ended = tokio::time::timeout(PATIENCE * 5, ours.read_to_end(&mut got)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(ours);
        trickle.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_cut_off() {
        let (_peer, ours) = tokio::io::duplex(64);
        let mut ours = Impatient::new(ours, PATIENCE);
        let answer = ours.write_all(&[b'x'; 1_000]);
        let ended = tokio::time::timeout(PATIENCE * 5, answer).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_websocket_may_be_silent() {
        let (mut peer, ours) = tokio::io::duplex(1_024);
        let mut ours = Impatient::new(ours, PATIENCE);
        ours.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await.unwrap();
        tokio::time::sleep(PATIENCE * 2).await;
        peer.write_all(b"frame").await.unwrap();
        let mut got = [0; 5];
        ours.read_exact(&mut got).await.unwrap();
    }
}

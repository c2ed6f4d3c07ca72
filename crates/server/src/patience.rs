//! Connections that only take up room: who sends a request byte by byte, or never, is disconnected.
//!
//! A connection on which we have written nothing for a while is closed, whatever it sends, unless it has become a
//! WebSocket: those are bounded by what they are for.

use crate::limits;
use axum::serve::Listener;
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// How the answer begins that turns a connection into a WebSocket.
const UPGRADED: &[u8] = b"HTTP/1.1 101";

/// A listener whose connections have [`limits::IDLE_CONNECTION`] to come to the point.
pub(crate) struct Patient(pub(crate) TcpListener);

impl Listener for Patient {
    type Io = Impatient<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Frames of 400 bytes must not wait for company.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        (Impatient::new(stream, limits::IDLE_CONNECTION), address)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that ends by itself when nothing comes of it.
pub(crate) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// `None` once it is a WebSocket.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, end: Some(Box::pin(tokio::time::sleep(patience))) }
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
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(Error::from(ErrorKind::TimedOut)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.wrote(buf);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.wrote(bufs.first().map_or(&[], |first| first));
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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

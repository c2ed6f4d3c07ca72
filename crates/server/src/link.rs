//! A WebSocket with a bounded outbox.
//!
//! Reading and writing are driven by the same poll, so a peer that does not read never keeps us from reading, and the
//! other leg of the call is never touched by it.

use crate::limits;
use axum::extract::ws;
use futures_util::{Sink, Stream};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_tungstenite::tungstenite;

/// What a socket yields.
#[derive(Debug)]
pub(crate) enum Received<M> {
    /// A text message; read it with [`Wire::text`].
    Text(M),
    /// A binary message.
    Binary,
    /// Our ping with this number came back.
    Pong(u64),
    /// The socket is gone. `Some` holds the code and reason of a close frame.
    Closed(Option<(u16, String)>),
}

/// The message type of a WebSocket library.
pub(crate) trait Wire: Sized {
    fn from_text(text: String) -> Self;
    fn closing(code: u16, reason: &'static str) -> Self;
    fn ping(number: u64) -> Self;
    fn text(&self) -> &str;
    /// `None` for control frames that the library answers itself.
    fn sort(self) -> Option<Received<Self>>;
}

impl Wire for ws::Message {
    fn from_text(text: String) -> Self {
        Self::Text(text.into())
    }

    fn closing(code: u16, reason: &'static str) -> Self {
        Self::Close(Some(ws::CloseFrame { code, reason: reason.into() }))
    }

    fn ping(number: u64) -> Self {
        Self::Ping(number.to_be_bytes().to_vec().into())
    }

    fn text(&self) -> &str {
        if let Self::Text(text) = self { text.as_str() } else { "" }
    }

    fn sort(self) -> Option<Received<Self>> {
        match self {
            Self::Text(_) => Some(Received::Text(self)),
            Self::Binary(_) => Some(Received::Binary),
            Self::Close(frame) => Some(Received::Closed(frame.map(|f| (f.code, f.reason.to_string())))),
            Self::Pong(payload) => pong(&payload),
            Self::Ping(_) => None,
        }
    }
}

impl Wire for tungstenite::Message {
    fn from_text(text: String) -> Self {
        Self::Text(text.into())
    }

    fn closing(code: u16, reason: &'static str) -> Self {
        Self::Close(Some(tungstenite::protocol::CloseFrame { code: code.into(), reason: reason.into() }))
    }

    fn ping(number: u64) -> Self {
        Self::Ping(number.to_be_bytes().to_vec().into())
    }

    fn text(&self) -> &str {
        if let Self::Text(text) = self { text.as_str() } else { "" }
    }

    fn sort(self) -> Option<Received<Self>> {
        match self {
            Self::Text(_) => Some(Received::Text(self)),
            Self::Binary(_) => Some(Received::Binary),
            Self::Close(frame) => Some(Received::Closed(frame.map(|f| (f.code.into(), f.reason.to_string())))),
            Self::Pong(payload) => pong(&payload),
            Self::Ping(_) | Self::Frame(_) => None,
        }
    }
}

/// A pong with a number of ours; peers may send others.
fn pong<M>(payload: &[u8]) -> Option<Received<M>> {
    payload.try_into().ok().map(|bytes| Received::Pong(u64::from_be_bytes(bytes)))
}

/// A WebSocket and the messages that wait for it.
#[derive(Debug)]
pub(crate) struct Link<S, M> {
    socket: S,
    outbox: VecDeque<M>,
    capacity: usize,
    unflushed: bool,
    /// Writing failed. What the peer sent before that is still read: its last words, and why it went.
    broken: bool,
    gone: bool,
}

/// The outbox is full: the peer does not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stalled;

impl<S, M, E> Link<S, M>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Wire,
{
    pub(crate) fn new(socket: S, capacity: usize) -> Self {
        Self { socket, outbox: VecDeque::new(), capacity, unflushed: false, broken: false, gone: false }
    }

    /// Queues a text message.
    pub(crate) fn send(&mut self, text: String) -> Result<(), Stalled> {
        if self.broken {
            return Ok(()); // The next poll tells.
        }
        if self.outbox.len() >= self.capacity {
            return Err(Stalled);
        }
        self.outbox.push_back(M::from_text(text));
        Ok(())
    }

    /// Asks the peer for a sign of life, unless so much waits already that its answer would say nothing about the network.
    pub(crate) fn ping(&mut self, number: u64) {
        if !self.broken && !self.gone && self.outbox.is_empty() {
            self.outbox.push_back(M::ping(number));
        }
    }

    /// Writes what can be written, then yields what was read. After `Closed` it must not be polled again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Received<M>> {
        if self.gone {
            return Poll::Pending;
        }
        if !self.broken
            && let Poll::Ready(Err(_)) = self.poll_write(cx)
        {
            self.break_off();
        }
        loop {
            let message = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(message) => message,
                Poll::Pending if self.broken => None,
                Poll::Pending => return Poll::Pending,
            };
            match message {
                Some(Ok(message)) => {
                    if let Some(received) = message.sort() {
                        self.gone = matches!(received, Received::Closed(_));
                        return Poll::Ready(received);
                    }
                }
                Some(Err(_)) | None => {
                    self.gone = true;
                    return Poll::Ready(Received::Closed(None));
                }
            }
        }
    }

    /// Writes what the socket takes right now. Errors and the rest show at the next [`Self::poll`], which must follow.
    pub(crate) fn flush_now(&mut self) {
        if !self.gone && !self.broken && !self.outbox.is_empty() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(Err(_)) = self.poll_write(&mut cx) {
                self.break_off();
            }
        }
    }

    fn break_off(&mut self) {
        self.broken = true;
        self.outbox.clear();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        while !self.outbox.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            if let Some(message) = self.outbox.pop_front() {
                Pin::new(&mut self.socket).start_send(message)?;
                self.unflushed = true;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, says goodbye and waits for the peer's, all within [`limits::CLOSE_WAIT`].
    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        if self.gone {
            // Lets the library send the answering close frame.
            let _ = tokio::time::timeout(limits::CLOSE_WAIT, futures_util::SinkExt::close(&mut self.socket)).await;
            return;
        }
        self.outbox.push_back(M::closing(code, reason));
        let polite = std::future::poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(Received::Closed(_)) => Poll::Ready(()),
            Poll::Ready(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        });
        let _ = tokio::time::timeout(limits::CLOSE_WAIT, polite).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tungstenite::Message;

    /// A peer that said its last words and is gone: there is something to read, but nothing can be written.
    struct Gone(VecDeque<Message>);

    impl Stream for Gone {
        type Item = Result<Message, ()>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.pop_front().map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(message))))
        }
    }

    impl Sink<Message> for Gone {
        type Error = ();
        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
        fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), ()> {
            Err(())
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Err(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Err(()))
        }
    }

    fn read(link: &mut Link<Gone, Message>) -> String {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match link.poll(&mut cx) {
            Poll::Ready(Received::Text(message)) => message.text().to_owned(),
            Poll::Ready(Received::Closed(frame)) => format!("closed {:?}", frame.map(|(code, _)| code)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_last_words_of_a_peer_that_takes_nothing_more_are_still_read() {
        for flushes in [false, true] {
            let words = [Message::text("good"), Message::text("bye"), Message::closing(1000, "")];
            let mut link = Link::new(Gone(words.into()), 8);
            link.send("frame".to_owned()).unwrap();
            if flushes {
                link.flush_now();
            }
            assert_eq!([read(&mut link), read(&mut link), read(&mut link)], ["good", "bye", "closed Some(1000)"]);
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_and_says_nothing_is_gone() {
        let mut link = Link::new(Gone(VecDeque::new()), 8);
        link.send("frame".to_owned()).unwrap();
        link.flush_now();
        assert_eq!(read(&mut link), "closed None");
    }
}

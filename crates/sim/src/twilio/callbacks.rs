//! Status callbacks: sent one after the other, beside the call, with the disorder real networks add.

use super::Impairments;
use super::webhook::{Fields, Sender};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Callbacks waiting to be sent; more than a call ever has.
const QUEUE: usize = 256;
/// Callbacks this close together may overtake each other.
const DISORDER: Duration = Duration::from_millis(200);
/// How long to wait for the last ones when the call is over.
const LAST: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
struct Callback {
    url: String,
    fields: Fields,
}

/// Sends callbacks in the background.
#[derive(Debug)]
pub(super) struct Callbacks {
    sender: mpsc::Sender<Callback>,
    worker: JoinHandle<()>,
}

impl Callbacks {
    pub(super) fn new(webhooks: Arc<Sender>, impairments: &Impairments) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (twice, disorder) = (impairments.duplicate_callbacks, impairments.out_of_order_callbacks);
        let worker = tokio::spawn(work(webhooks, receiver, twice, disorder));
        Self { sender, worker }
    }

    /// Queues a callback. `url` is `None` where none was asked for.
    pub(super) fn send(&self, url: Option<&str>, fields: Fields) {
        if let Some(url) = url
            && self.sender.try_send(Callback { url: url.to_owned(), fields }).is_err()
        {
            tracing::warn!(url, "callback dropped: queue full");
        }
    }

    /// Waits until all were sent.
    pub(super) async fn finish(self) {
        drop(self.sender);
        if tokio::time::timeout(LAST, self.worker).await.is_err() {
            tracing::warn!("callbacks were still waiting at the end of the call");
        }
    }
}

async fn work(webhooks: Arc<Sender>, mut receiver: mpsc::Receiver<Callback>, twice: bool, disorder: bool) {
    while let Some(first) = receiver.recv().await {
        let mut batch = vec![first];
        if disorder {
            tokio::time::sleep(DISORDER).await;
            while let Ok(next) = receiver.try_recv() {
                batch.push(next);
            }
            batch.reverse();
        }
        for callback in batch {
            for _ in 0..if twice { 2 } else { 1 } {
                match webhooks.send(&callback.url, "POST", &callback.fields).await {
                    Ok(reply) if reply.status.is_success() => {}
                    Ok(reply) => tracing::warn!(url = callback.url, status = %reply.status, "callback refused"),
                    Err(failure) => tracing::warn!(failure.code, failure.detail, "callback failed"),
                }
            }
        }
    }
}

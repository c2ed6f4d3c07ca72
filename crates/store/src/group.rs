//! Group commit: batches of events from many calls share one transaction, and with it one wait for the disk.
//!
//! A durable commit costs a fixed wait of one to ten milliseconds, whatever is in it. Whoever gets the turn writes all
//! batches that are waiting; the others find their answer when it is done. Nobody waits for company, so a lone call is
//! written at once, and there is no task of its own that could die.

use crate::db::Domain;
use crate::error::Doing;
use crate::timeline::{Batch, write_events};
use crate::{Result, Store, StoreError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot::{Receiver, Sender, channel, error::TryRecvError};

/// Entries in one transaction, at most (a single larger batch excepted): about 100 ms of work.
const MAX_GROUP_ROWS: usize = 4_096;
/// Batches that wait, at most: four for each of a thousand calls. More means that the disk has stopped taking any.
const MAX_WAITING: usize = 4_096;

/// The batches that wait for the database.
#[derive(Default)]
pub(crate) struct GroupCommit {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Held by whoever writes.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    batch: Arc<Batch>,
    done: Sender<Result<()>>,
}

impl GroupCommit {
    /// Writes the batch, together with whatever else waits.
    pub(crate) async fn write(&self, db: &Store, batch: Batch) -> Result<()> {
        let batch = Arc::new(batch);
        let mut answer = self.enqueue(&batch)?;
        loop {
            let turn = tokio::select! {
                biased;
                result = &mut answer => match result {
                    Ok(result) => return result,
                    // Whoever was writing our batch was cancelled. Events may be written twice, so send it again.
                    Err(_) => { answer = self.enqueue(&batch)?; continue }
                },
                turn = self.turn.lock() => turn,
            };
            // The answer may have come while the turn passed to us.
            match answer.try_recv() {
                Ok(result) => return result,
                Err(TryRecvError::Closed) => answer = self.enqueue(&batch)?,
                Err(TryRecvError::Empty) => {}
            }
            let group = self.next_group();
            write_group(db, group).await;
            drop(turn);
        }
    }

    fn enqueue(&self, batch: &Arc<Batch>) -> Result<Receiver<Result<()>>> {
        let (done, answer) = channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            return Err(StoreError::Unavailable {
                doing: "keep up with events",
                source: "too many batches wait".into(),
            });
        }
        waiting.push_back(Waiting { batch: Arc::clone(batch), done });
        Ok(answer)
    }

    fn next_group(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = 0;
        let mut group = Vec::new();
        while let Some(next) = waiting.front() {
            rows += next.batch.rows.len();
            if rows > MAX_GROUP_ROWS && !group.is_empty() {
                break;
            }
            group.extend(waiting.pop_front());
        }
        group
    }
}

/// Writes a group in one transaction; if that fails, each batch in one of its own, so that nobody suffers for another.
async fn write_group(db: &Store, group: Vec<Waiting>) {
    let batches: Vec<&Batch> = group.iter().map(|waiting| waiting.batch.as_ref()).collect();
    if let Ok(results) = commit(db, &batches).await {
        for (waiting, result) in group.into_iter().zip(results) {
            // A caller that was cancelled no longer listens.
            let _ = waiting.done.send(result);
        }
        return;
    }
    for waiting in group {
        let result = commit(db, &[waiting.batch.as_ref()]).await;
        let _ = waiting.done.send(result.and_then(|mut results| results.pop().unwrap_or(Ok(()))));
    }
}

/// One transaction. A conflict is found before its batch writes anything, so the other batches go on; any other error
/// undoes all of them.
async fn commit(db: &Store, batches: &[&Batch]) -> Result<Vec<Result<()>>> {
    let mut tx = db.begin(Domain::Calls).await?;
    let mut results = Vec::with_capacity(batches.len());
    for batch in batches {
        match write_events(&mut tx, batch).await {
            Err(error) if !matches!(error, StoreError::Conflict { .. }) => return Err(error),
            result => results.push(result),
        }
    }
    tx.commit().await.doing("save events")?;
    Ok(results)
}

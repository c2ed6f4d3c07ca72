//! Where tasks are started: with a name in mind and a handle in hand, never forgotten.

use std::future::Future;
use tokio::task::JoinHandle;

/// Starts a task on the present runtime.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

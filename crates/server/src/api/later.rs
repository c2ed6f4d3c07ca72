//! Answers that are made after their access has ended: recordings, exports, long computations.
//!
//! An access holds the one connection for writing, so whatever takes long must not run inside. Such a handler decides,
//! inside the access, whether the caller may have what they ask for, and hands back a [`Later`]. The gate commits the
//! entry of the audit trail first, and only then has the answer made: no entry, no data.

use super::problem::Problem;
use axum::response::{IntoResponse, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

type Making = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// An answer that is still to be made.
#[derive(Clone)]
pub(super) struct Later(Arc<Mutex<Option<Making>>>);

/// An answer that `making` gives once the access is over. It must not hold the desk, or anything of it.
pub(super) fn later(making: impl Future<Output = Result<Response, Problem>> + Send + 'static) -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(Later(Arc::new(Mutex::new(Some(Box::pin(making))))));
    response
}

/// Whether the answer is still to be made.
pub(super) fn is_later(response: &Response) -> bool {
    response.extensions().get::<Later>().is_some()
}

/// Makes what was put off; other answers pass.
pub(super) async fn made(mut response: Response) -> Response {
    let Some(Later(making)) = response.extensions_mut().remove::<Later>() else { return response };
    let making = making.lock().unwrap_or_else(PoisonError::into_inner).take();
    match making {
        Some(making) => making.await.unwrap_or_else(IntoResponse::into_response),
        None => Problem::internal().into_response(),
    }
}

//! Beside other servers of the same database: showing that this one lives, and taking over what a lost one left behind.
//!
//! What waits in the database (calls that are due, messages about alerts) needs no taking over: whoever looks next claims
//! it. Left behind are calls that a lost server carried, which nobody will finish, and messages of the agents service
//! that it stored and did not get to work in. A server looks after calls of its own that stayed open as well.

use crate::app::App;
use crate::clock;
use crate::closing;
use crate::limits;
use crate::paperwork;
use crate::post_call;
use crate::spool;
use std::sync::Arc;
use store::{Engine, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Beats until `stop`, then says good-bye.
pub(crate) async fn beat(app: Arc<App>, stop: CancellationToken) {
    let mut tidying: Option<JoinHandle<()>> = None;
    for number in 0u64.. {
        match app.store.beat(clock::unix_us()).await {
            Ok(beat) => {
                if beat.was_forgotten && number > 0 {
                    tracing::warn!("this server was silent for too long: others took its calls for lost");
                }
                if let Some(error) = beat.keys_behind {
                    tracing::error!(code = error.code(), "new keys could not be loaded; they are tried again");
                }
            }
            Err(error) => tracing::warn!(code = error.code(), "the database was not told that this server lives"),
        }
        // In a task of its own: it may read long recordings, and the next beat must not wait for it.
        if number.is_multiple_of(limits::TAKE_OVER_BEATS) && tidying.as_ref().is_none_or(JoinHandle::is_finished) {
            tidying = Some(crate::tasks::spawn(tidy(app.clone())));
        }
        if number > 0 && number.is_multiple_of(limits::POST_CALL_BEATS) {
            app.calls.spawn(post_call::resume(app.clone(), post_call::Left::ByAnybody));
        }
        if number > 0 && number.is_multiple_of(limits::PAPERWORK_BEATS) {
            app.calls.spawn(paperwork::resume(app.clone()));
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(limits::BEAT) => {}
        }
    }
    if let Some(tidying) = tidying {
        let _ = tidying.await;
    }
    // The last chance to say how these calls ended; what is still open then is marked as interrupted by others, or by the
    // next start.
    spool::give_away(&app).await;
    let _ = closing::close_left_open(&app).await;
    // Where this fails, the others find out by its silence.
    let _ = app.store.forget_server(app.store.server_id(), clock::unix_us()).await;
}

async fn tidy(app: Arc<App>) {
    // Before calls are closed as nobody's: their end may wait there.
    spool::give_away(&app).await;
    match closing::close_left_open(&app).await {
        Ok(0) => {}
        Ok(_) => drop(app.calls.spawn(paperwork::resume(app.clone()))),
        Err(error) => tracing::warn!(code = error.code(), "calls that stayed open could not be closed yet"),
    }
    // An SQLite database has one server, which tidied up before it started.
    if app.store.engine() == Engine::Postgres
        && let Err(error) = take_over(&app).await
    {
        tracing::warn!(code = error.code(), "what lost servers left behind could not be looked for");
    }
}

/// Ends the calls of servers that are gone.
async fn take_over(app: &Arc<App>) -> Result<(), StoreError> {
    let now_us = clock::unix_us();
    let lost = app.store.stale_servers(now_us).await?;
    let interrupted = app.store.recover(now_us).await?;
    for id in &interrupted {
        tracing::warn!(call_id = %id, "its server is gone: the call was marked as interrupted");
    }
    if !interrupted.is_empty() {
        app.calls.spawn(paperwork::resume(app.clone()));
    }
    for server in lost {
        if app.store.forget_server(&server.id, now_us).await? {
            tracing::warn!(server_id = %server.id, "a server was not seen any more and is forgotten");
        }
    }
    Ok(())
}

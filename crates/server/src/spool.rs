//! Giving what waits in the spool to the database, in order and before anything else is concluded about its call.
//!
//! Each call's file is given whole: entries of the timeline, segments, the visit with its assessment and its alerts, the
//! end. It goes when all of it was taken. Whoever is killed before that gives it once more, which changes nothing.

use crate::app::App;
use crate::journal::{self, give};
use crate::settings::Settings;
use crate::{fallback, limits, metrics, post_call, visits};
use clinic::alerts::rules;
use std::sync::Arc;
use store::{CallHandle, Spool, SpoolEntry, SpoolName, Store, StoreError};

/// The spool of these settings.
pub(crate) fn open(settings: &Settings, store: &Store) -> Result<Option<Spool>, StoreError> {
    settings.spool_dir.as_deref().map(|dir| store.open_spool(dir, limits::SPOOL)).transpose()
}

/// Gives the database what it can take without a server: everything but visits, which are assessed when there is one. The
/// files stay for that, also those of which something is wrong: [`give_away`] tells somebody.
pub(crate) async fn before_start(store: &Store, spool: &Spool) -> Result<(), StoreError> {
    for name in waiting(spool).await {
        let SpoolName::Call(id) = &name else { continue };
        let call = match store.call_handle(id).await {
            Ok(call) => call,
            Err(error) if journal::is_passing(&error) => return Err(error),
            Err(_) => continue,
        };
        let Ok(waiting) = blocking(spool, move |spool| spool.of_call(&call).map(|waiting| (call, waiting))).await
        else {
            continue;
        };
        let (call, waiting) = waiting;
        for entry in &waiting.entries {
            take(store, &call, entry).await?;
        }
    }
    if let Err(error) = store.join_recordings(spool).await {
        tracing::error!(code = error.code(), "a recording that went on in the spool could not be put together yet");
    }
    Ok(())
}

/// Gives everything that waits to the database, as far as it takes it.
pub(crate) async fn give_away(app: &Arc<App>) {
    let Some(spool) = app.spool.clone() else { return };
    for name in waiting(&spool).await {
        let given = match &name {
            SpoolName::Call(id) => call(app, &spool, &name, id).await,
            SpoolName::Wish(text) => wish(app, &spool, &name, text).await,
            SpoolName::Message(text) => message(app, &spool, &name, text).await,
        };
        match given {
            Ok(()) => {}
            Err(error) if journal::is_passing(&error) => {
                tracing::warn!(code = error.code(), "what waits in the spool is not taken yet");
                break;
            }
            Err(error) => {
                tracing::error!(code = error.code(), "something in the spool cannot be given to the database");
            }
        }
    }
    match app.store.join_recordings(&spool).await {
        Ok(joined) => {
            if joined.whole > 0 {
                tracing::info!(recordings = joined.whole, "recordings that went on in the spool are whole again");
                app.recordings_ended.notify_one();
            }
            for id in joined.orphans {
                orphaned(
                    app,
                    &id,
                    blocking(&spool, {
                        let id = id.clone();
                        move |spool| spool.set_recording_apart(&id)
                    }),
                )
                .await;
            }
        }
        Err(error) => tracing::warn!(code = error.code(), "a recording in the spool could not be put together yet"),
    }
    metrics::spool(&spool.counts());
}

/// Tells somebody that part of what waited cannot be read. Called before the file is let go of, so that a crash in between
/// costs a second word, not the only one.
async fn damaged(app: &Arc<App>, name: &SpoolName) -> Result<(), StoreError> {
    tracing::error!(
        name = name.as_str(),
        "a file of the spool is damaged: what could be read was given, the file is kept"
    );
    app.raise(&rules::technical(None, None, "spool_damaged")).await.map(drop)
}

/// Tells somebody that there are records of a call that the database does not know, and keeps them aside. That is so after
/// an older database was restored: they are what it lacks.
async fn orphaned(app: &Arc<App>, id: &clinic::CallId, set_apart: impl Future<Output = Result<(), StoreError>>) {
    tracing::error!(call_id = %id, "the spool has records of a call that the database does not know: they are kept aside");
    let told = app.raise(&rules::technical(None, None, "spool_orphaned")).await;
    let done = match told {
        Ok(_) => set_apart.await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::warn!(call_id = %id, code = error.code(), "they could not be kept aside yet");
    }
}

async fn call(app: &Arc<App>, spool: &Spool, name: &SpoolName, id: &clinic::CallId) -> Result<(), StoreError> {
    let Some(call) = handle(app, spool, name, id).await? else { return Ok(()) };
    // What comes while it is given needs another look; whatever else keeps the file from going waits for the next time, so
    // that one file never keeps the others waiting.
    for _ in 0..limits::SPOOL_LOOKS {
        let reader = call.clone();
        let waiting = match blocking(spool, move |spool| spool.of_call(&reader)).await {
            Err(StoreError::NotFound { .. }) => return Ok(()),
            waiting => waiting?,
        };
        for entry in &waiting.entries {
            take(&app.store, &call, entry).await?;
            if let SpoolEntry::Visit { patient, record, outcome } = entry {
                visits::conclude_now(app, &call, patient, record, *outcome).await?;
                fallback::contact_if_needed(app, &call.id, patient, *outcome, Some(record)).await?;
            }
        }
        if waiting.damaged {
            damaged(app, name).await?;
        }
        if forget(spool, name, waiting.records).await? {
            tracing::info!(call_id = %id, "what waited in the spool was stored");
            return Ok(());
        }
    }
    Ok(())
}

/// Lets go of what was given. False when more came meanwhile.
async fn forget(spool: &Spool, name: &SpoolName, records: u64) -> Result<bool, StoreError> {
    let name = name.clone();
    blocking(spool, move |spool| spool.forget(&name, records)).await
}

/// The call's key; `None` when the call was erased, and with it what waits, or when the database does not know it.
async fn handle(
    app: &Arc<App>,
    spool: &Spool,
    name: &SpoolName,
    id: &clinic::CallId,
) -> Result<Option<CallHandle>, StoreError> {
    let own = name.clone();
    match app.store.call_handle(id).await {
        Ok(call) => Ok(Some(call)),
        Err(StoreError::Sealed { .. }) => {
            tracing::info!(call_id = %id, "what waited in the spool is of an erased call: it was removed");
            blocking(spool, move |spool| spool.discard(&own)).await?;
            Ok(None)
        }
        Err(StoreError::NotFound { .. }) => {
            orphaned(app, id, blocking(spool, move |spool| spool.set_apart(&own))).await;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Gives one entry. One that will never be taken is counted and passed over: it must not hold up what follows.
async fn take(store: &Store, call: &CallHandle, entry: &SpoolEntry) -> Result<(), StoreError> {
    let Err(error) = give(store, call, entry).await else { return Ok(()) };
    if journal::is_passing(&error) {
        return Err(error);
    }
    if let SpoolEntry::Events { first_seq, events } = entry
        && events.len() > 1
    {
        for (seq, event) in (*first_seq..).zip(events) {
            let alone = SpoolEntry::Events { first_seq: seq, events: vec![event.clone()] };
            Box::pin(take(store, call, &alone)).await?;
        }
        return Ok(());
    }
    tracing::error!(call_id = %call.id, code = error.code(), "a record from the spool was refused");
    metrics::spool_dropped(1);
    Ok(())
}

/// A caller whom we could not look up: now we can.
async fn wish(app: &Arc<App>, spool: &Spool, name: &SpoolName, text: &str) -> Result<(), StoreError> {
    let reader = text.to_owned();
    let waiting = blocking(spool, move |spool| spool.wished(&reader)).await?;
    for wish in &waiting.entries {
        fallback::wished(app, wish).await?;
    }
    if waiting.damaged {
        damaged(app, name).await?;
    }
    forget(spool, name, waiting.records).await.map(drop)
}

/// A message of the agents service that the database did not take.
async fn message(app: &Arc<App>, spool: &Spool, name: &SpoolName, text: &str) -> Result<(), StoreError> {
    let reader = text.to_owned();
    let waiting = blocking(spool, move |spool| spool.message_of(&reader)).await?;
    for message in &waiting.entries {
        post_call::keep_late(app, message).await?;
    }
    if waiting.damaged {
        damaged(app, name).await?;
    }
    forget(spool, name, waiting.records).await.map(drop)
}

async fn waiting(spool: &Spool) -> Vec<SpoolName> {
    blocking(spool, |spool| Ok(spool.waiting())).await.unwrap_or_default()
}

/// Uses the spool on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    spool: &Spool,
    work: impl FnOnce(&Spool) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let spool = spool.clone();
    let stopped = |_| Err(StoreError::Unavailable { doing: "use the spool", source: "the thread ended".into() });
    tokio::task::spawn_blocking(move || work(&spool)).await.unwrap_or_else(stopped)
}

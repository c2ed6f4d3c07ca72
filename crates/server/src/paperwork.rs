//! The paperwork of calls whose process did not live to do it: the visit's record from the timeline, the missing analysis
//! from the recording, assessment and alerts, and the call-back. And the call-backs of calls that broke off for other
//! reasons, where whoever carried them did not get to arrange it.
//!
//! It is done in the background of a start and every few beats, one call after the other, by one process at a time. What
//! is done is seen by the visit that is stored and the call-back that is planned, so whoever is killed in the middle
//! begins that call anew, and nothing comes twice.
//!
//! Where several servers share a database, one that lost only the database is taken for lost by the others while its
//! patient is still on the line. So a call counts as over when Twilio says so, or, where Twilio does not answer, when no
//! call lasts that long.

use crate::app::App;
use crate::{clock, fallback, journal, limits, outgoing, rebuild, visits};
use clinic::alerts::Severity;
use clinic::fallback::Next;
use clinic::visit::replay;
use clinic::{CallId, CallOutcome, CallRecord, Degradation, DegradationKind, Segment, TimelineEvent};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{CallHandle, Engine, StoreError};
use tokio::sync::Mutex;

/// One server at a time does the paperwork.
const LEASE: &str = "paperwork";
/// For so long; taken anew before each call.
const LEASE_US: i64 = 300 * 1_000_000;

/// What this process knows of the paperwork beside the records. Whoever holds it does the paperwork.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Calls whose paperwork failed for good, so that it is not tried over and over before the next start.
    hopeless: HashSet<CallId>,
    /// Calls whose patients need no further contact.
    settled: HashSet<CallId>,
}

impl Memory {
    /// Remembers a call. Forgetting costs nothing but a look.
    fn note(set: &mut HashSet<CallId>, id: CallId) {
        if set.len() >= limits::PAPERWORK {
            set.clear();
        }
        set.insert(id);
    }
}

/// Does what is left to do for interrupted calls, newest first: those patients wait. Then sees to patients whose calls
/// broke off and of whom no call-back is on record.
pub(crate) async fn resume(app: Arc<App>) {
    let Ok(mut memory) = app.paperwork.memory.try_lock() else { return };
    if !matches!(has_turn(&app).await, Ok(true)) {
        return;
    }
    if let Err(error) = resume_alone(&app, &mut memory).await {
        tracing::error!(code = error.code(), "calls that broke off could not be looked for");
    }
    if app.store.engine() == Engine::Postgres {
        // Where this fails, it ends by itself.
        let _ = app.store.release_lease(LEASE).await;
    }
}

/// An SQLite database has one server; the lease of one that was killed must not keep the next from it.
async fn has_turn(app: &App) -> Result<bool, StoreError> {
    match app.store.engine() {
        Engine::Sqlite => Ok(true),
        Engine::Postgres => app.store.take_lease(LEASE, clock::unix_us(), LEASE_US).await,
    }
}

async fn resume_alone(app: &Arc<App>, memory: &mut Memory) -> Result<(), StoreError> {
    for id in app.store.calls_without_visit(CallOutcome::Interrupted, limits::PAPERWORK).await? {
        if app.is_draining() || !has_turn(app).await? {
            return Ok(());
        }
        if memory.hopeless.contains(&id) || app.places().waits(&id) {
            continue;
        }
        match complete(app, &id).await {
            Ok(()) => {}
            Err(error) => {
                // Erased meanwhile, or the store went away: then it is looked at again.
                tracing::warn!(call_id = %id, code = error.code(), "the paperwork of an interrupted call was not done");
                if !journal::is_passing(&error) {
                    Memory::note(&mut memory.hopeless, id);
                }
            }
        }
    }
    let now_us = clock::unix_us();
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let since_us = now_us.saturating_sub(micros(limits::CALL_BACK_WITHIN));
    let until_us = now_us.saturating_sub(micros(limits::CONTACT_LEFT_AFTER));
    for id in app.store.calls_without_call_back(since_us, until_us, limits::PAPERWORK).await? {
        if app.is_draining() || !has_turn(app).await? {
            return Ok(());
        }
        if memory.settled.contains(&id) {
            continue;
        }
        match make_up(app, &id, memory.hopeless.contains(&id)).await {
            Ok(true) => Memory::note(&mut memory.settled, id),
            Ok(false) => {}
            Err(error) if journal::is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::error!(call_id = %id, code = error.code(), "nobody was asked to call the patient back");
                Memory::note(&mut memory.settled, id);
            }
        }
    }
    Ok(())
}

/// Contacts the patient of a call that broke off, if they have to be. False while that is not known, or something is
/// under way. Where its paperwork is `hopeless`, no visit will say that everything was asked.
async fn make_up(app: &Arc<App>, id: &CallId, hopeless: bool) -> Result<bool, StoreError> {
    let call = app.store.get_call(id).await?;
    let Some(patient) = call.patient_id.clone() else { return Ok(true) };
    let visit = if hopeless { None } else { app.store.visit(id).await? };
    let is_awaited = !hopeless && (call.outcome == CallOutcome::Interrupted || is_visit_awaited(app, &call));
    if visit.is_none() && is_awaited {
        return Ok(false);
    }
    if call.outcome == CallOutcome::Interrupted && !is_over(app, &call).await? {
        return Ok(false);
    }
    let record = visit.as_ref().map(|visit| &visit.record);
    let next = fallback::contact_if_needed(app, id, &patient, call.outcome, record).await?;
    Ok(next == Next::Done)
}

/// Whether the visit of a call that somebody talked in may still come: it waits in a spool.
fn is_visit_awaited(app: &App, call: &CallRecord) -> bool {
    let age_us = u64::try_from(clock::unix_us().saturating_sub(call.started_at_us)).unwrap_or(0);
    let is_late = Duration::from_micros(age_us) > limits::VISIT_AWAITED;
    app.places().waits(&call.id) || (!call.agents.is_empty() && !is_late)
}

/// Whether nobody is on the line any more, as far as can be told.
async fn is_over(app: &App, call: &CallRecord) -> Result<bool, StoreError> {
    // The one server of an SQLite database knows which calls it carries.
    if app.store.engine() == Engine::Sqlite {
        return Ok(true);
    }
    let age_us = u64::try_from(clock::unix_us().saturating_sub(call.started_at_us)).unwrap_or(0);
    let longest = Duration::from_millis(app.settings.call.max_call_ms) + limits::CALL_OVER_GRACE;
    if Duration::from_micros(age_us) > longest {
        return Ok(true);
    }
    let handle = app.store.call_handle(&call.id).await?;
    let sid = app.store.call_sid(&handle).await?;
    Ok(outgoing::has_ended(&app.twilio, &sid).await == Some(true))
}

/// Does the paperwork of one call, if that call is over.
///
/// # Errors
/// [`StoreError`] when the call cannot be read or its visit not be stored.
async fn complete(app: &Arc<App>, id: &CallId) -> Result<(), StoreError> {
    let call = app.store.get_call(id).await?;
    let Some(patient) = call.patient_id.clone() else { return Ok(()) };
    if !is_over(app, &call).await? {
        return Ok(());
    }
    let handle = app.store.call_handle(id).await?;
    let events = app.store.call_events(id).await?;
    let mut segments = app.store.call_segments(id).await?;
    for segment in unanalysed(app, &handle, &events, &segments).await {
        app.store.add_rebuilt_segment(&handle, &segment).await?;
        segments.push(segment);
    }
    let setup = visits::setup(app, &app.store.get_patient(&patient).await?).await?;
    let mut record = replay(setup, &events, &segments);
    let at_ms = events.last().map_or(0, |event| event.at_us / 1_000);
    let (lost, done) = ("less than a second of sound, and the rest of the conversation", "the records were completed");
    record.degradations.push(Degradation::new(DegradationKind::Crash, Severity::Review, at_ms, lost, done));
    // Whoever carried it may have been heard of meanwhile, and knows better.
    let now = app.store.get_call(id).await?;
    if now.outcome != call.outcome || now.end_cause.is_some() || app.store.visit(id).await?.is_some() {
        tracing::info!(call_id = %id, "a call that was taken for lost was ended by whoever carried it");
        return Ok(());
    }
    // The call-back first: with the visit stored nobody would look here again.
    fallback::contact_if_needed(app, id, &patient, call.outcome, Some(&record)).await?;
    if fallback::is_recent(call.started_at_us) {
        visits::conclude_now(app, &handle, &patient, &record, call.outcome).await?;
    } else {
        // What is days old is written down, and wakes nobody.
        visits::save_only(app, &handle, &patient, &record, call.outcome).await?;
    }
    tracing::info!(call_id = %id, "the paperwork of an interrupted call was done");
    Ok(())
}

/// The segments that the call had begun and nobody analysed, from its recording.
async fn unanalysed(app: &Arc<App>, call: &CallHandle, events: &[TimelineEvent], known: &[Segment]) -> Vec<Segment> {
    let mut recording = match app.store.open_recording(&call.id).await {
        Ok(recording) => recording,
        Err(error) => {
            tracing::info!(call_id = %call.id, code = error.code(), "an interrupted call has no recording to analyse");
            return Vec::new();
        }
    };
    let (events, known, id) = (events.to_vec(), known.to_vec(), call.id.clone());
    let made = tokio::task::spawn_blocking(move || rebuild::missing(&mut recording, &events, &known)).await;
    match made {
        Ok(Ok(segments)) => segments,
        Ok(Err(error)) => {
            tracing::error!(call_id = %id, %error, "the voice of an interrupted call could not be analysed");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

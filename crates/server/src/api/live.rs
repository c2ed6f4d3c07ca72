//! `live`: the calls in progress, as server-sent events.
//!
//! A client gets the list of live calls at once and again whenever it changes; it says who, how far and since when, and
//! nothing that was said. There is no queue: each client's stream looks at the registry by itself and sends what is true
//! then, so a slow client misses intermediate states and holds up nobody. A stream ends after a while, when the server is
//! asked to stop, or with the client; browsers ask again by themselves. It also ends with the session or the token of the
//! client, and each call is shown only after an entry of the audit trail was written about it.

use super::caller::Who;
use super::desk::Desk;
use super::places::Place;
use super::problem::Problem;
use super::words;
use crate::app::App;
use crate::{clock, limits};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use clinic::{CallId, PatientId, UserId};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use store::audit::NewEntry;
use store::{CareTeam, StoreError};
use tokio::time::Instant;
use utoipa::ToSchema;

/// The calls in progress, as the event `calls` has them.
#[derive(Serialize, ToSchema)]
pub(super) struct LiveCalls {
    items: Vec<LiveCall>,
}

/// A call in progress.
#[derive(Serialize, ToSchema)]
pub(super) struct LiveCall {
    #[schema(value_type = String)]
    id: CallId,
    #[schema(value_type = Option<String>, required)]
    patient_id: Option<PatientId>,
    #[schema(value_type = words::LiveState)]
    state: &'static str,
    #[schema(format = DateTime)]
    started_at: String,
    /// So far, when the event was sent.
    #[schema(minimum = 0)]
    duration_s: f64,
}

/// What one client follows by.
struct Follower {
    app: Arc<App>,
    /// Whose patients are shown; `None`: everybody's.
    user: Option<UserId>,
    who: Who,
    /// What an entry of the audit trail says of the client.
    entry: NewEntry,
    /// Calls that there is an entry about.
    told: HashSet<CallId>,
    /// Patients of calls that were live when last looked.
    patients: HashMap<CallId, Option<PatientId>>,
    /// What was sent last; `None` before the first event.
    sent: Option<Vec<(CallId, bool)>>,
    sent_at: Instant,
    until: Instant,
    _place: Place,
}

/// Follows the calls in progress
///
/// Server-sent events: `calls`, with `LiveCalls` as data, at once and whenever a call begins, is connected or ends.
#[utoipa::path(get, path = "/live", operation_id = "followLiveCalls", tag = "calls",
    responses((status = 200, description = "Events", body = LiveCalls, content_type = "text/event-stream")))]
pub(super) async fn get(desk: Desk) -> Result<Response, Problem> {
    let app = desk.app().clone();
    let place = app.api.followers.take(desk.caller().id());
    let place = place.ok_or_else(|| Problem::busy("too many clients follow the live calls"))?;
    let now = Instant::now();
    let follower = Follower {
        app,
        user: desk.team().map(|team| team.user.clone()),
        who: desk.caller().who.clone(),
        entry: desk.entry().clone(),
        told: HashSet::new(),
        patients: HashMap::new(),
        sent: None,
        sent_at: now,
        until: now + limits::LIVE_LONGEST,
        _place: place,
    };
    let events = futures_util::stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).into_response())
}

impl Follower {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.sent.is_some() {
                tokio::time::sleep(limits::LIVE_LOOK).await;
            }
            let now = Instant::now();
            if self.app.is_draining() || now >= self.until || !self.stands().await {
                return None;
            }
            let calls = self.look().await;
            // No entry, no data; what cannot be noted now is looked at again in a moment.
            let Ok(()) = self.tell(&calls).await else { return None };
            let state: Vec<(CallId, bool)> = calls.iter().map(|(id, _, connected)| (id.clone(), *connected)).collect();
            if self.sent.as_ref() != Some(&state) {
                self.sent = Some(state);
                self.sent_at = now;
                return Event::default().event("calls").json_data(self.show(calls)).ok();
            }
            if now.duration_since(self.sent_at) >= limits::LIVE_HEARTBEAT {
                self.sent_at = now;
                return Some(Event::default().comment(""));
            }
        }
    }

    /// Whether the session or the token goes on.
    async fn stands(&self) -> bool {
        let now_us = clock::unix_us();
        let stands = match &self.who {
            Who::User { session, .. } => self.app.store.session_goes_on(session, now_us).await,
            Who::Token { id, .. } => self.app.store.token_stands(id, now_us).await,
        };
        stands.unwrap_or(false)
    }

    /// Notes the calls that the client is about to hear of for the first time.
    async fn tell(&mut self, calls: &[(CallId, i64, bool)]) -> Result<(), StoreError> {
        self.told.retain(|id| calls.iter().any(|(live, ..)| live == id));
        let new: Vec<&CallId> = calls.iter().map(|(id, ..)| id).filter(|id| !self.told.contains(*id)).collect();
        let entry = |id: &&CallId| {
            let patient = self.patients.get(*id).and_then(Option::as_ref);
            self.entry.clone().object("call", id).patient(patient)
        };
        let entries: Vec<NewEntry> = new.iter().map(entry).collect();
        if !entries.is_empty() {
            self.app.store.record(&entries).await?;
        }
        self.told.extend(calls.iter().map(|(id, ..)| id.clone()));
        Ok(())
    }

    /// The live calls of the patients whom the client may see.
    async fn look(&mut self) -> Vec<(CallId, i64, bool)> {
        let calls = self.app.registry.live_calls();
        self.patients.retain(|id, _| calls.iter().any(|(live, ..)| live == id));
        let mut seen = Vec::with_capacity(calls.len());
        for (id, since_us, connected) in calls {
            // A call whose record is not there yet is told of at the next look.
            if !self.patients.contains_key(&id) {
                let Ok(call) = self.app.store.get_call(&id).await else { continue };
                self.patients.insert(id.clone(), call.patient_id);
            }
            if self.reaches(&id).await {
                seen.push((id, since_us, connected));
            }
        }
        seen
    }

    /// Whether the client may see the patient of a call, now: care teams change.
    async fn reaches(&self, id: &CallId) -> bool {
        let Some(user) = &self.user else { return true };
        let patient = match self.patients.get(id) {
            None => return false,
            // The call of somebody unknown has no care team: it is for all.
            Some(None) => return true,
            Some(Some(patient)) => patient,
        };
        let team = CareTeam { user: user.clone(), at_us: clock::unix_us() };
        self.app.store.reaches(&team, patient).await.unwrap_or(false)
    }

    fn show(&self, calls: Vec<(CallId, i64, bool)>) -> LiveCalls {
        let now_us = clock::unix_us();
        let show = |(id, since_us, connected): (CallId, i64, bool)| LiveCall {
            patient_id: self.patients.get(&id).cloned().flatten(),
            state: if connected { "connected" } else { "connecting" },
            started_at: clock::rfc3339(since_us),
            duration_s: now_us.saturating_sub(since_us).max(0) as f64 / 1e6,
            id,
        };
        LiveCalls { items: calls.into_iter().map(show).collect() }
    }
}

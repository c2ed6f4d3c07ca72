//! The desk between handlers and the store: every handler works at one.
//!
//! A handler reaches a patient's data only after telling the desk whose they are ([`Desk::patient`], [`Desk::call`],
//! [`Desk::alert`], [`Desk::schedule`]), and lists only what [`Desk::team`] lets through. So there is one place that
//! knows, of every request, whose records were opened: for the reach of the caller's rights, and for the audit trail. The
//! store of the desk is the one of the access: whatever is done there is undone unless the entry about it is written.

use super::caller::Caller;
use super::problem::Problem;
use super::tags::{self, Revision};
use crate::app::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use clinic::schedule::Schedule;
use clinic::{AlertId, CallId, CallRecord, PatientId, ScheduleId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::audit::NewEntry;
use store::{AlertRecord, CareTeam, Store};

/// Subjects of one request, at most: those of a page.
const SUBJECTS_MAX: usize = 200;

/// What the gate hands to a handler, and what it wants to know afterwards.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) app: Arc<App>,
    pub(super) store: Store,
    pub(super) now_us: i64,
    pub(super) caller: Caller,
    /// Whose patients the caller's right reaches; `None`: everybody's.
    pub(super) team: Option<CareTeam>,
    pub(super) if_match: Option<String>,
    /// Who asks from where in which request; what was done is added to it.
    pub(super) entry: NewEntry,
    pub(super) notes: Mutex<Notes>,
}

/// What was done, for the audit trail and for those who have to hear of it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The patients whose records were opened.
    pub(super) subjects: Vec<PatientId>,
    /// Kind and identifier of what it was done to.
    pub(super) object: Option<(&'static str, String)>,
    /// Why, as a code.
    pub(super) reason: Option<String>,
    /// Counts and codes.
    pub(super) details: BTreeMap<&'static str, String>,
    /// It was refused because the patient is not the caller's.
    pub(super) out_of_reach: bool,
    /// There are calls to place.
    pub(super) wakes_outgoing: bool,
    /// There is somebody to tell.
    pub(super) wakes_alerts: bool,
}

/// What a handler works with: the store, the time of the request, and who asks.
#[derive(Debug)]
pub(super) struct Desk(Arc<Pass>);

impl Desk {
    /// The store inside the access.
    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    /// When the request came, in microseconds since the Unix epoch: the same for all that it does.
    pub(super) fn now_us(&self) -> i64 {
        self.0.now_us
    }

    /// Who asks.
    pub(super) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// What is not in the store: live calls and settings. Its own store is outside of the access: not for handlers.
    pub(super) fn app(&self) -> &Arc<App> {
        &self.0.app
    }

    /// What is known so far for an entry of the audit trail, for answers that go on after the access.
    pub(super) fn entry(&self) -> &NewEntry {
        &self.0.entry
    }

    /// Opens the record of a patient.
    pub(super) async fn patient(&mut self, id: &PatientId) -> Result<(), Problem> {
        // Whether there is such a patient is the store's to say when it is read; here reach is decided.
        self.opens(Some(id), "patient").await
    }

    /// Opens the record of a patient whom the caller's right reaches whoever looks after them.
    pub(super) fn any_patient(&mut self, id: &PatientId) {
        self.note_subject(id);
    }

    /// Opens a call and the record of its patient, if it has one.
    pub(super) async fn call(&mut self, id: &CallId) -> Result<CallRecord, Problem> {
        self.object("call", id);
        let call = self.store().get_call(id).await?;
        self.opens(call.patient_id.as_ref(), "call").await?;
        Ok(call)
    }

    /// Opens an alert and the record of its patient, if it has one.
    pub(super) async fn alert(&mut self, id: &AlertId) -> Result<AlertRecord, Problem> {
        self.object("alert", id);
        let alert = self.store().get_alert(id).await?;
        self.opens(alert.patient_id.as_ref(), "alert").await?;
        Ok(alert)
    }

    /// Opens a schedule and the record of its patient.
    pub(super) async fn schedule(&mut self, id: &ScheduleId) -> Result<Schedule, Problem> {
        self.object("schedule", id);
        let schedule = self.store().get_schedule(id).await?;
        self.opens(Some(&schedule.patient_id), "schedule").await?;
        Ok(schedule)
    }

    /// The care team that a list is narrowed to; `None`: it is not.
    pub(super) fn team(&self) -> Option<&CareTeam> {
        self.0.team.as_ref()
    }

    /// What it is done to, for the audit trail.
    pub(super) fn object(&self, kind: &'static str, id: impl ToString) {
        let id = id.to_string();
        if is_ours(&id) {
            self.notes().object = Some((kind, id));
        }
    }

    /// Why, as a code, for the audit trail.
    pub(super) fn reason(&self, code: &str) {
        self.notes().reason = Some(code.to_owned());
    }

    /// A count or a code for the audit trail.
    pub(super) fn detail(&self, name: &'static str, value: impl ToString) {
        self.notes().details.insert(name, value.to_string());
    }

    /// How many items a list shows.
    pub(super) fn listed(&self, count: usize) {
        self.detail("count", count);
    }

    /// Has calls placed once the access has ended.
    pub(super) fn wake_outgoing(&self) {
        self.notes().wakes_outgoing = true;
    }

    /// Has people told once the access has ended.
    pub(super) fn wake_alerts(&self) {
        self.notes().wakes_alerts = true;
    }

    /// Notes whose record is opened, and turns away a caller who does not reach the patient, as if there were no such
    /// record. What is nobody's, such as the refused call of somebody unknown, has no care team: it is for everybody who has
    /// the right.
    async fn opens(&mut self, patient: Option<&PatientId>, what: &'static str) -> Result<(), Problem> {
        if let Some(patient) = patient {
            self.note_subject(patient);
        }
        let Some(team) = self.team() else { return Ok(()) };
        let reached = match patient {
            Some(patient) => self.store().reaches(team, patient).await?,
            None => true,
        };
        if reached {
            return Ok(());
        }
        self.notes().out_of_reach = true;
        Err(Problem::not_found(what))
    }

    fn note_subject(&self, patient: &PatientId) {
        let mut notes = self.notes();
        if is_ours(patient.as_str()) && notes.subjects.len() < SUBJECTS_MAX && !notes.subjects.contains(patient) {
            notes.subjects.push(patient.clone());
        }
    }

    /// The lock is held for a line, and none of them panics.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a change that was decided on by an older state than `now`, when the request says which one.
    pub(super) fn check_unchanged(&self, now: &Revision) -> Result<(), Problem> {
        match &self.0.if_match {
            Some(expected) if !tags::names_revision(expected, now) => Err(Problem::precondition_failed()),
            _ => Ok(()),
        }
    }

    /// As [`Self::check_unchanged`], for changes that have to say which state they were decided on.
    pub(super) fn require_unchanged(&self, now: &Revision) -> Result<(), Problem> {
        match &self.0.if_match {
            None => Err(Problem::precondition_required()),
            Some(_) => self.check_unchanged(now),
        }
    }
}

/// Whether an identifier is of our making: people paste telephone numbers into addresses, and the trail names none.
fn is_ours(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok()
}

impl FromRequestParts<Arc<App>> for Desk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        // The gate puts it there. A handler it did not let through serves nobody.
        parts.extensions.remove::<Arc<Pass>>().map(Self).ok_or_else(Problem::forbidden)
    }
}

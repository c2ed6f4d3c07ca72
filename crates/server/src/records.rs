//! Whole records, read for those who leave with them: a patient's own copy, who saw a record, and what an export for
//! research is made of. For the interface and the command line, so that both tell the same.

use crate::api::said;
use aws_lc_rs::rand;
use clinic::care::CareProfile;
use clinic::deidentify::{
    Dataset, DeidentifyError, Options, PSEUDONYM_BYTES, Pseudonym, Subject, SubjectAlert, SubjectCall, deidentify,
    shift_days,
};
use clinic::patient_copy::{AlertCopy, CallCopy, ConsentCopy, Disclosure, PatientRecord, SaidTurn};
use clinic::{CallRecord, Patient, PatientId};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use store::audit::{ActorKind, AuditEntry, AuditFilter, AuditOutcome};
use store::{AlertFilter, AlertRecord, MAX_PAGE, Store, StoreError, StoredVisit};

/// Why a record could not be read as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// There is more than was asked for. Nothing is left out silently.
    #[error("there are more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many would have been read.
        most: usize,
    },
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no export for research.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResearchError {
    /// Something in it could have been an identifier.
    #[error(transparent)]
    Deidentify(#[from] DeidentifyError),
    /// The system has no randomness.
    #[error("the system gives no random bytes for pseudonyms")]
    NoRandomness,
}

/// Everything about a patient for their own copy, with at most `most` calls, alerts and disclosures. The names of audio
/// files are left for whoever writes them.
///
/// # Errors
/// [`RecordsError::TooMany`]; [`RecordsError::Store`], also for a patient who is not there or was erased.
pub async fn patient_record(
    store: &Store,
    id: &PatientId,
    most: usize,
    prepared_at_us: i64,
) -> Result<PatientRecord, RecordsError> {
    let patient = store.get_patient(id).await?;
    let profile = store.care_profile(id).await?;
    let (mut calls, mut consents) = (Vec::new(), Vec::new());
    for record in calls_of(store, id, most).await? {
        let visit = store.visit(&record.id).await?;
        if let Some(given) = visit.as_ref().and_then(|visit| visit.record.recording_consent) {
            consents.push(consent(given, record.started_at_us));
        }
        let (visit, assessment) = visit.map_or((None, None), |visit| (Some(visit.record), visit.assessment));
        calls.push(CallCopy {
            transcript: transcript(store, &record).await?,
            segments: store.call_segments(&record.id).await?,
            visit,
            assessment,
            audio_files: Vec::new(),
            record,
        });
    }
    // What staff noted counts where no call tells of an agreement.
    let noted = profile.recording_consent_on.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    if let Some(day) = noted.filter(|_| !consents.iter().any(|consent| consent.given)) {
        consents.push(consent(true, day.timestamp().as_microsecond()));
    }
    consents.sort_by_key(|consent| consent.at_us);
    Ok(PatientRecord {
        prepared_at_us,
        alerts: alerts_of(store, id, most).await?.into_iter().map(alert_copy).collect(),
        schedules: store.list_schedules(Some(id)).await?,
        disclosures: disclosures_of(store, id, most).await?,
        patient,
        profile,
        calls,
        consents,
    })
}

fn consent(given: bool, at_us: i64) -> ConsentCopy {
    ConsentCopy { purpose: "recording".to_owned(), given, at_us }
}

async fn transcript(store: &Store, call: &CallRecord) -> Result<Vec<SaidTurn>, StoreError> {
    let events = store.call_events(&call.id).await?;
    let turn = |turn: crate::api::Turn<'_>| SaidTurn {
        at_s: turn.at_us as f64 / 1e6,
        is_agent: turn.is_agent,
        text: turn.text.to_owned(),
    };
    Ok(said(&events).into_iter().map(turn).collect())
}

fn alert_copy(alert: AlertRecord) -> AlertCopy {
    let (code, summary) = alert.content.map(|content| (content.code, content.summary)).unzip();
    let (acknowledged_at_us, acknowledged_note) =
        alert.acknowledged.map(|handled| (handled.at_us, handled.note)).unzip();
    let (resolved_at_us, resolved_note) = alert.resolved.map(|handled| (handled.at_us, handled.note)).unzip();
    AlertCopy {
        id: alert.id,
        kind: alert.kind,
        code,
        severity: alert.severity,
        status: alert.status,
        summary,
        raised_at_us: alert.raised_at_us,
        acknowledged_at_us,
        acknowledged_note: acknowledged_note.flatten(),
        resolved_at_us,
        resolved_note: resolved_note.flatten(),
    }
}

/// Every call of a patient, newest first.
async fn calls_of(store: &Store, id: &PatientId, most: usize) -> Result<Vec<CallRecord>, RecordsError> {
    let mut calls: Vec<CallRecord> = Vec::new();
    loop {
        let page = store.list_patient_calls(id, MAX_PAGE, calls.last().map(|call| &call.id)).await?;
        if page.is_empty() {
            return Ok(calls);
        }
        calls.extend(page);
        at_most(calls.len(), most, "calls")?;
    }
}

/// Every alert about a patient, newest first.
async fn alerts_of(store: &Store, id: &PatientId, most: usize) -> Result<Vec<AlertRecord>, RecordsError> {
    let filter = AlertFilter { patient_id: Some(id.clone()), ..AlertFilter::default() };
    let mut alerts: Vec<AlertRecord> = Vec::new();
    loop {
        let page = store.list_alerts(&filter, MAX_PAGE, alerts.last().map(|alert| &alert.id)).await?;
        if page.is_empty() {
            return Ok(alerts);
        }
        alerts.extend(page);
        at_most(alerts.len(), most, "alerts")?;
    }
}

fn at_most(count: usize, most: usize, what: &'static str) -> Result<(), RecordsError> {
    if count > most { Err(RecordsError::TooMany { what, most }) } else { Ok(()) }
}

/// Who saw a patient's record, oldest first.
async fn disclosures_of(store: &Store, id: &PatientId, most: usize) -> Result<Vec<Disclosure>, RecordsError> {
    let filter = AuditFilter { patient: Some(id.clone()), ..AuditFilter::default() };
    let (mut teller, mut disclosures, mut before) = (Disclosures::new(store).await?, Vec::new(), None);
    loop {
        let page = store.find_audit(&filter, MAX_PAGE, before).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        disclosures.extend(page.iter().filter_map(|entry| teller.tell(entry)));
        at_most(disclosures.len(), most, "disclosures")?;
    }
    disclosures.reverse();
    Ok(disclosures)
}

/// Makes disclosures of entries of the audit trail, which it is shown newest first.
pub(crate) struct Disclosures {
    /// The names of people and programs, as the clinic gives them to patients.
    names: HashMap<String, String>,
    /// Requests that were permitted and then could not be answered: the entry that says so comes first.
    failed: HashSet<String>,
}

impl Disclosures {
    pub(crate) async fn new(store: &Store) -> Result<Self, StoreError> {
        let users = store.users().await?.into_iter().map(|user| (user.id.to_string(), user.name));
        let tokens = store.list_tokens().await?.into_iter().map(|token| (token.id.to_string(), token.name));
        Ok(Self { names: users.chain(tokens).collect(), failed: HashSet::new() })
    }

    /// An entry as the patient is told of it; `None` when nobody saw anything. What the server does by itself for the
    /// patient's own calls is no disclosure.
    pub(crate) fn tell(&mut self, entry: &AuditEntry) -> Option<Disclosure> {
        let AuditEntry { at_us, entry, .. } = entry;
        if entry.outcome == AuditOutcome::Failed {
            self.failed.extend(entry.request.clone());
        }
        let was_given = entry.request.as_ref().is_none_or(|request| !self.failed.contains(request));
        if entry.outcome != AuditOutcome::Success || !was_given || entry.actor.kind == ActorKind::System {
            return None;
        }
        let id = &entry.actor.id;
        let unnamed = match entry.actor.kind {
            ActorKind::User => format!("user {id}"),
            ActorKind::Token => format!("program {id}"),
            ActorKind::Operator => format!("operator {id}"),
            ActorKind::System | ActorKind::Anonymous => id.clone(),
        };
        Some(Disclosure {
            at_us: *at_us,
            who: self.names.get(id).cloned().unwrap_or(unnamed),
            role: entry.actor.role.map(|role| role.as_str().to_owned()),
            action: entry.action.clone(),
            reason: entry.reason.clone(),
        })
    }
}

/// Patients with what research may look at.
pub struct Cohort(Vec<Person>);

struct Person {
    patient: Patient,
    profile: CareProfile,
    enrolled_at_us: i64,
    calls: Vec<(CallRecord, Option<StoredVisit>)>,
    alerts: Vec<AlertRecord>,
}

impl Cohort {
    /// Reads these patients, with at most `most` calls and alerts each; who is erased meanwhile is left out. `read` is
    /// called after each of them.
    ///
    /// # Errors
    /// [`RecordsError`].
    pub async fn load(
        store: &Store,
        patients: Vec<Patient>,
        most: usize,
        mut read: impl FnMut(),
    ) -> Result<Self, RecordsError> {
        let mut people = Vec::with_capacity(patients.len());
        for patient in patients {
            match person(store, patient, most).await {
                Ok(person) => people.push(person),
                Err(RecordsError::Store(StoreError::NotFound { .. } | StoreError::Sealed { .. })) => {}
                Err(error) => return Err(error),
            }
            read();
        }
        Ok(Self(people))
    }

    /// How many there are.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.0.len()
    }

    /// How many calls they have.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.iter().map(|person| person.calls.len()).sum()
    }

    /// De-identified tables, with pseudonyms and shifts of days that are drawn anew and kept nowhere. What fewer than
    /// `smallest_cell` patients share is not told.
    ///
    /// # Errors
    /// [`ResearchError`].
    pub fn deidentified(&self, smallest_cell: usize) -> Result<Dataset, ResearchError> {
        let subjects = self.0.iter().map(subject).collect::<Result<Vec<_>, _>>()?;
        let year = jiff::Timestamp::now().to_zoned(TimeZone::UTC).year();
        Ok(deidentify(&subjects, Options { smallest_cell, year })?)
    }
}

async fn person(store: &Store, patient: Patient, most: usize) -> Result<Person, RecordsError> {
    let mut calls = Vec::new();
    for record in calls_of(store, &patient.id, most).await? {
        let visit = store.visit(&record.id).await?;
        calls.push((record, visit));
    }
    Ok(Person {
        profile: store.care_profile(&patient.id).await?,
        enrolled_at_us: store.enrolled_at_us(&patient.id).await?,
        alerts: alerts_of(store, &patient.id, most).await?,
        calls,
        patient,
    })
}

fn subject(person: &Person) -> Result<Subject<'_>, ResearchError> {
    let (mut name, mut shift) = ([0; PSEUDONYM_BYTES], [0; 8]);
    rand::fill(&mut name).map_err(|_| ResearchError::NoRandomness)?;
    rand::fill(&mut shift).map_err(|_| ResearchError::NoRandomness)?;
    Ok(Subject {
        pseudonym: Pseudonym::from_random(name),
        shift_days: shift_days(u64::from_le_bytes(shift)),
        patient: &person.patient,
        profile: &person.profile,
        enrolled_at_us: person.enrolled_at_us,
        calls: person.calls.iter().map(subject_call).collect(),
        alerts: person.alerts.iter().map(subject_alert).collect(),
    })
}

fn subject_call((record, visit): &(CallRecord, Option<StoredVisit>)) -> SubjectCall<'_> {
    let assessment = visit.as_ref().and_then(|visit| visit.assessment.as_ref());
    SubjectCall {
        record,
        facts: visit.as_ref().map(|visit| &visit.facts),
        visit: visit.as_ref().map(|visit| &visit.record),
        assessment: assessment.filter(|value: &&Value| !value.is_null()),
    }
}

fn subject_alert(alert: &AlertRecord) -> SubjectAlert<'_> {
    SubjectAlert {
        call_id: alert.call_id.as_ref(),
        kind: alert.kind,
        code: alert.content.as_ref().map(|content| content.code.as_str()),
        severity: alert.severity,
        status: alert.status,
        raised_at_us: alert.raised_at_us,
        occurrences: alert.occurrences,
        acknowledged_at_us: alert.acknowledged.as_ref().map(|handled| handled.at_us),
        resolved_at_us: alert.resolved.as_ref().map(|handled| handled.at_us),
    }
}

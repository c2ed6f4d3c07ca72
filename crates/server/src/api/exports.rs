//! What leaves the house in one piece: a patient's own copy, and de-identified data for research.
//!
//! Both take long, so they are made after the entry about them was written, a few at a time.

use super::audit::disclosures_of;
use super::calls::said;
use super::desk::Desk;
use super::fields::Ask;
use super::later::later;
use super::ok;
use super::patients::patient_id;
use super::places::Place;
use super::problem::Problem;
use super::users::Nothing;
use crate::app::App;
use crate::{clock, limits, tasks};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use clinic::care::CareProfile;
use clinic::deidentify::{
    DeidentifyError, Options, PSEUDONYM_BYTES, Pseudonym, Subject, SubjectAlert, SubjectCall, deidentify, shift_days,
};
use clinic::patient_copy::{AlertCopy, CallCopy, ConsentCopy, PatientRecord, SaidTurn};
use clinic::{CallRecord, Patient, PatientId};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::sync::Arc;
use store::{AlertFilter, AlertRecord, Store, StoreError, StoredVisit};

/// Fewer patients of one language or sex are not told apart.
const SMALLEST_CELL: usize = 5;

/// One patient with what research may look at.
struct Person {
    patient: Patient,
    profile: CareProfile,
    calls: Vec<(CallRecord, Option<StoredVisit>)>,
    alerts: Vec<AlertRecord>,
}

/// Gives everything that is kept about a patient, for the patient
#[utoipa::path(get, path = "/patients/{id}/export", operation_id = "exportPatient", tag = "exports",
    params(("id" = String, Path)),
    responses((status = 200, description = "The patient's own copy; recordings are got call by call", body = Object)))]
pub(super) async fn patient(mut desk: Desk, Path(id): Path<String>, Ask(_): Ask<Nothing>) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    desk.store().get_patient(&id).await?;
    let (app, place) = place(&desk)?;
    Ok(later(async move {
        let copy = copy_of(&app.store, &id).await?;
        drop(place);
        Ok(ok(copy.to_json()))
    }))
}

/// Gives de-identified data of all patients
///
/// One JSON object a line: `table` and `row`. Each export has pseudonyms and shifts of its own, so that two cannot be
/// joined; what the columns mean is in the dictionary of `heartvoice export research`.
#[utoipa::path(get, path = "/exports/research", operation_id = "exportResearch", tag = "exports",
    responses((status = 200, description = "JSON lines", body = String, content_type = "application/jsonl")))]
pub(super) async fn research(desk: Desk, Ask(_): Ask<Nothing>) -> Result<Response, Problem> {
    let (app, place) = place(&desk)?;
    Ok(later(async move {
        // On a task of its own: a client that goes away must not make room for another while the work goes on.
        let made = tasks::spawn(async move {
            let people = people(&app.store).await?;
            let made = tokio::task::spawn_blocking(move || lines(&people)).await;
            drop(place);
            made.map_err(|_| Problem::internal())?.map_err(|_| Problem::internal())
        });
        let made = made.await.unwrap_or_else(|_| Err(Problem::internal()))?;
        Ok(([(header::CONTENT_TYPE, "application/jsonl")], made).into_response())
    }))
}

fn place(desk: &Desk) -> Result<(Arc<App>, Place), Problem> {
    let app = desk.app().clone();
    let place = app.api.exports.take(desk.caller().id());
    let place = place.ok_or_else(|| Problem::busy("too many exports and verifications at once"))?;
    Ok((app, place))
}

/// Everything about a patient.
async fn copy_of(store: &Store, id: &PatientId) -> Result<PatientRecord, Problem> {
    let profile = store.care_profile(id).await?;
    let mut calls = Vec::new();
    for record in calls_of(store, id).await? {
        let events = store.call_events(&record.id).await?;
        let visit = store.visit(&record.id).await?;
        let turn = |turn: super::calls::Turn<'_>| SaidTurn {
            at_s: turn.at_us as f64 / 1e6,
            is_agent: turn.is_agent,
            text: turn.text.to_owned(),
        };
        let (visit, assessment) = visit.map_or((None, None), |visit| (Some(visit.record), visit.assessment));
        calls.push(CallCopy {
            transcript: said(&events).into_iter().map(turn).collect(),
            visit,
            assessment,
            segments: store.call_segments(&record.id).await?,
            audio_files: Vec::new(),
            record,
        });
    }
    let consent = profile.recording_consent_on.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    let consent = consent.map(|day| ConsentCopy {
        purpose: "recording".to_owned(),
        given: true,
        at_us: day.timestamp().as_microsecond(),
    });
    Ok(PatientRecord {
        prepared_at_us: clock::unix_us(),
        patient: store.get_patient(id).await?,
        calls,
        alerts: alerts_of(store, id).await?.into_iter().map(alert_copy).collect(),
        schedules: store.list_schedules(Some(id)).await?,
        consents: consent.into_iter().collect(),
        disclosures: disclosures_of(store, id).await?,
        profile,
    })
}

fn alert_copy(alert: AlertRecord) -> AlertCopy {
    let (code, summary) = alert.content.map_or((None, None), |content| (Some(content.code), Some(content.summary)));
    AlertCopy {
        id: alert.id,
        kind: alert.kind,
        code,
        severity: alert.severity,
        status: alert.status,
        summary,
        raised_at_us: alert.raised_at_us,
        acknowledged_at_us: alert.acknowledged.as_ref().map(|handled| handled.at_us),
        acknowledged_note: alert.acknowledged.and_then(|handled| handled.note),
        resolved_at_us: alert.resolved.as_ref().map(|handled| handled.at_us),
        resolved_note: alert.resolved.and_then(|handled| handled.note),
    }
}

/// The calls of a patient, newest first, as many as an export takes.
async fn calls_of(store: &Store, id: &PatientId) -> Result<Vec<CallRecord>, StoreError> {
    let mut calls: Vec<CallRecord> = Vec::new();
    while calls.len() < limits::EXPORT_CALLS {
        let before = calls.last().map(|call| call.id.clone());
        let found = store.list_patient_calls(id, store::MAX_PAGE, before.as_ref()).await?;
        if found.is_empty() {
            break;
        }
        calls.extend(found);
    }
    Ok(calls)
}

async fn alerts_of(store: &Store, id: &PatientId) -> Result<Vec<AlertRecord>, StoreError> {
    let filter = AlertFilter { patient_id: Some(id.clone()), ..AlertFilter::default() };
    let mut alerts: Vec<AlertRecord> = Vec::new();
    while alerts.len() < limits::EXPORT_CALLS {
        let before = alerts.last().map(|alert| alert.id.clone());
        let found = store.list_alerts(&filter, store::MAX_PAGE, before.as_ref()).await?;
        if found.is_empty() {
            break;
        }
        alerts.extend(found);
    }
    Ok(alerts)
}

/// Everybody, with what research may look at.
async fn people(store: &Store) -> Result<Vec<Person>, Problem> {
    let patients = store.list_patients().await?;
    if patients.len() > limits::EXPORT_PATIENTS {
        return Err(Problem::conflict("there are too many patients for one answer: use `heartvoice export research`"));
    }
    let mut people = Vec::with_capacity(patients.len());
    for patient in patients {
        let mut calls = Vec::new();
        for record in calls_of(store, &patient.id).await? {
            let visit = store.visit(&record.id).await?;
            calls.push((record, visit));
        }
        let profile = store.care_profile(&patient.id).await?;
        let alerts = alerts_of(store, &patient.id).await?;
        people.push(Person { patient, profile, calls, alerts });
    }
    Ok(people)
}

/// Why there is no export.
enum NotMade {
    Deidentify,
    Randomness,
}

impl From<DeidentifyError> for NotMade {
    fn from(_: DeidentifyError) -> Self {
        Self::Deidentify
    }
}

/// The rows of the export, one a line.
fn lines(people: &[Person]) -> Result<String, NotMade> {
    let mut subjects = Vec::with_capacity(people.len());
    for person in people {
        let (mut name, mut shift) = ([0; PSEUDONYM_BYTES], [0; 8]);
        aws_lc_rs::rand::fill(&mut name).map_err(|_| NotMade::Randomness)?;
        aws_lc_rs::rand::fill(&mut shift).map_err(|_| NotMade::Randomness)?;
        subjects.push(Subject {
            pseudonym: Pseudonym::from_random(name),
            shift_days: shift_days(u64::from_le_bytes(shift)),
            patient: &person.patient,
            profile: &person.profile,
            enrolled_at_us: enrolled_at_us(&person.patient.id),
            calls: person.calls.iter().map(subject_call).collect(),
            alerts: person.alerts.iter().map(subject_alert).collect(),
        });
    }
    let year = jiff::Timestamp::now().to_zoned(TimeZone::UTC).year();
    let dataset = deidentify(&subjects, Options { smallest_cell: SMALLEST_CELL, year })?;
    let mut text = String::new();
    for file in dataset.files() {
        let Some(table) = file.name.strip_suffix(".jsonl") else { continue };
        for row in file.content.lines() {
            text.push_str(&format!("{{\"table\":\"{table}\",\"row\":{row}}}\n"));
        }
    }
    Ok(text)
}

fn subject_call((record, visit): &(CallRecord, Option<StoredVisit>)) -> SubjectCall<'_> {
    SubjectCall {
        record,
        facts: visit.as_ref().map(|visit| &visit.facts),
        visit: visit.as_ref().map(|visit| &visit.record),
        assessment: visit
            .as_ref()
            .and_then(|visit| visit.assessment.as_ref())
            .filter(|value: &&Value| !value.is_null()),
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

/// When a patient was added: an identifier begins with the milliseconds of its making.
fn enrolled_at_us(id: &PatientId) -> i64 {
    let ms = uuid::Uuid::parse_str(id.as_str()).map_or(0, |id| id.as_u128() >> 80);
    i64::try_from(ms).unwrap_or(0).saturating_mul(1_000)
}

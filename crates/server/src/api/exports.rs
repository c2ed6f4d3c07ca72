//! What leaves the house in one piece: a patient's own copy, and de-identified data for research.
//!
//! Both take long, so they are made after the entry about them was written, a few at a time.

use super::desk::Desk;
use super::fields::Ask;
use super::later::later;
use super::ok;
use super::patients::patient_id;
use super::places::Place;
use super::problem::Problem;
use super::users::Nothing;
use crate::app::App;
use crate::records::{Cohort, RecordsError, ResearchError, patient_record};
use crate::{clock, limits, tasks};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use store::Store;

/// Fewer patients of one language or sex are not told apart.
const SMALLEST_CELL: usize = 5;

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
        let copy = patient_record(&app.store, &id, limits::EXPORT_CALLS, clock::unix_us()).await.map_err(not_read)?;
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

/// What there is too much of for one answer is got on the command line.
fn not_read(error: RecordsError) -> Problem {
    match error {
        RecordsError::Store(error) => error.into(),
        _ => Problem::conflict(
            "there is too much for one answer: use `heartvoice patient export` or `heartvoice export research`",
        ),
    }
}

/// Everybody, with what research may look at.
async fn people(store: &Store) -> Result<Cohort, Problem> {
    let patients = store.list_patients().await?;
    if patients.len() > limits::EXPORT_PATIENTS {
        return Err(Problem::conflict("there are too many patients for one answer: use `heartvoice export research`"));
    }
    Cohort::load(store, patients, limits::EXPORT_CALLS, || {}).await.map_err(not_read)
}

/// The rows of the export, one a line.
fn lines(people: &Cohort) -> Result<String, ResearchError> {
    let mut text = String::new();
    for file in people.deidentified(SMALLEST_CELL)?.files() {
        let Some(table) = file.name.strip_suffix(".jsonl") else { continue };
        for row in file.content.lines() {
            text.push_str(&format!("{{\"table\":\"{table}\",\"row\":{row}}}\n"));
        }
    }
    Ok(text)
}

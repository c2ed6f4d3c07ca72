//! `patients`.

use super::ok;
use super::page::{self, Page};
use super::problem::Problem;
use crate::app::App;
use crate::trends::{TrendsError, patient_trends};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use clinic::trends::Trend;
use clinic::{Patient, PatientId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /patients`: oldest first.
pub(super) async fn list(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor::<PatientId>()?);
    let found = app.store.list_patients_page(limit + 1, after.as_ref()).await?;
    Ok(ok(page::render(found, limit, |patient| patient.id.to_string(), patient_json)))
}

/// `GET /patients/{id}`
pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(ok(patient_json(&app.store.get_patient(&patient_id(&id)?).await?)))
}

/// Which trends are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    measure: Option<String>,
}

/// `GET /patients/{id}/trends`: the course of one measure, or of all.
pub(super) async fn trends(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    let found = patient_trends(&app.store, &app.settings.model, &id, which.measure.as_deref()).await;
    let found = found.map_err(|error| match error {
        TrendsError::Measure(unknown) => Problem::bad_request(format!("measure: {unknown}")),
        TrendsError::Store(error) => error.into(),
    })?;
    Ok(ok(json!({"patient_id": id, "items": found.iter().map(Trend::to_json).collect::<Vec<_>>()})))
}

pub(super) fn patient_id(text: &str) -> Result<PatientId, Problem> {
    PatientId::parse(text).map_err(|_| Problem::not_found("patient"))
}

fn patient_json(patient: &Patient) -> Value {
    json!(patient)
}

//! `patients`: who they are, what is noted about their care, and how they have been.

use super::desk::Desk;
use super::fields::{Ask, Fields, wrong};
use super::later::later;
use super::page::{self, Listing, Page};
use super::problem::Problem;
use super::tags::Revision;
use super::{created, ok, words};
use crate::trends::{TrendsError, patient_trends};
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use clinic::care::CareProfile;
use clinic::trends::Trend;
use clinic::{NewPatient, PatientId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// What a patient consists of.
const FIELDS: &str = "external_id, name, phone, birth_date, sex, language, timezone";
/// What is noted about a patient's care.
const CARE_FIELDS: &str = "pin, dry_weight_kg, recording_consent_on, discharged_on, weight_unit";

/// A patient.
#[derive(Serialize, ToSchema)]
pub(super) struct Patient {
    #[schema(value_type = String)]
    id: PatientId,
    /// The clinic's own number for the patient.
    external_id: String,
    name: String,
    /// E.164.
    #[schema(pattern = "^\\+[1-9][0-9]{1,14}$")]
    phone: String,
    #[schema(value_type = String, format = Date)]
    birth_date: jiff::civil::Date,
    #[schema(value_type = words::Sex)]
    sex: clinic::Sex,
    /// Language code of an agent.
    language: String,
    /// IANA time zone.
    timezone: String,
}

/// A patient to add.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
#[schema(as = NewPatient)]
pub(super) struct NewPatientBody {
    /// The clinic's own number for the patient.
    #[schema(min_length = 1, max_length = 64, example = "MRN-1")]
    external_id: String,
    #[schema(min_length = 1, max_length = 200, example = "Ada Example")]
    name: String,
    /// E.164.
    #[schema(pattern = "^\\+[1-9][0-9]{1,14}$", example = "+12025550123")]
    phone: String,
    #[schema(format = Date, example = "1948-04-01")]
    birth_date: String,
    #[schema(value_type = Option<words::Sex>)]
    sex: Option<String>,
    /// Language code of an agent, such as `en`, `es` or `pt-br`.
    #[schema(default = "en")]
    language: Option<String>,
    /// IANA time zone.
    #[schema(default = "UTC", example = "America/New_York")]
    timezone: Option<String>,
}

/// What is noted about a patient's care. Of the PIN, only whether there is one.
#[derive(Serialize, ToSchema)]
pub(super) struct Care {
    #[schema(value_type = String)]
    patient_id: PatientId,
    pin_set: bool,
    /// Weight without congestion.
    #[schema(required)]
    dry_weight_kg: Option<f64>,
    /// Day on which the patient agreed to being recorded.
    #[schema(value_type = Option<String>, format = Date, required)]
    recording_consent_on: Option<jiff::civil::Date>,
    /// Day of the last discharge from hospital.
    #[schema(value_type = Option<String>, format = Date, required)]
    discharged_on: Option<jiff::civil::Date>,
    /// Unit the patient weighs in; by the time zone where not noted.
    #[schema(value_type = Option<words::WeightUnit>, required)]
    weight_unit: Option<clinic::answers::WeightUnit>,
}

/// What to note: a field that is not there stays as it is, `null` removes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
pub(super) struct CareChange {
    /// Digits by which the patient identifies themself on the keypad.
    #[schema(pattern = "^[0-9]{4,8}$", write_only)]
    pin: Option<String>,
    #[schema(minimum = 25, maximum = 300, example = 72.5)]
    dry_weight_kg: Option<f64>,
    #[schema(format = Date)]
    recording_consent_on: Option<String>,
    #[schema(format = Date)]
    discharged_on: Option<String>,
    #[schema(value_type = Option<words::WeightUnit>)]
    weight_unit: Option<String>,
}

/// The courses of a patient's values over their calls.
#[derive(Serialize, ToSchema)]
pub(super) struct Trends {
    #[schema(value_type = String)]
    patient_id: PatientId,
    #[schema(value_type = Vec<super::documents::Trend>)]
    items: Vec<Value>,
}

/// Which trends are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this measure, such as `risk`, `weight_kg` or `pause_fraction`.
    #[param(max_length = 64)]
    measure: Option<String>,
}

/// Lists patients, oldest first
#[utoipa::path(get, path = "/patients", operation_id = "listPatients", tag = "patients", params(Page),
    responses((status = 200, description = "A page of patients", body = Listing<Patient>)))]
pub(super) async fn list(desk: Desk, Ask(page): Ask<Page>) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor::<PatientId>()?);
    let found = desk.store().list_patients_within(desk.team(), limit + 1, after.as_ref()).await?;
    desk.listed(page::shown(&found, limit));
    Ok(ok(page::render(found, limit, |patient| patient.id.to_string(), Patient::of)))
}

/// Adds a patient
#[utoipa::path(post, path = "/patients", operation_id = "createPatient", tag = "patients",
    request_body = NewPatientBody,
    responses((status = 201, description = "The patient", body = Patient,
            headers(("location" = String, description = "Where they are"))),
        (status = 409, description = "Another patient has this number of the clinic",
            body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn create(mut desk: Desk, body: Bytes) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(&body, FIELDS)?;
    let new = NewPatient::from_fields(
        &fields.needed("external_id", "1 to 64 characters")?,
        &fields.needed("name", "1 to 200 characters")?,
        &fields.needed("phone", "E.164 such as +15005550006")?,
        &fields.needed("birth_date", "a date such as 1948-04-01")?,
        fields.text("sex")?.as_deref().unwrap_or("unknown"),
        fields.text("language")?.as_deref().unwrap_or("en"),
        fields.text("timezone")?.as_deref().unwrap_or("UTC"),
    )
    .map_err(|invalid| wrong(invalid.field, invalid.expected))?;
    fields.nothing_left()?;
    let patient = desk.store().add_patient(&new).await?;
    if let Some(team) = desk.team() {
        // Whoever adds a patient looks after them: else nobody could go on with what was begun.
        desk.store().assign_patient(&team.user, &patient.id, desk.now_us()).await?;
    }
    desk.patient(&patient.id).await?;
    let shown = Patient::of(&patient);
    Ok(Revision::of(&shown).on(created(&format!("patients/{}", patient.id), shown)))
}

/// Shows a patient
#[utoipa::path(get, path = "/patients/{id}", operation_id = "getPatient", tag = "patients",
    params(("id" = String, Path)), responses((status = 200, description = "The patient", body = Patient)))]
pub(super) async fn get(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    Ok(ok(Patient::of(&desk.store().get_patient(&id).await?)))
}

/// Shows what is noted about a patient's care
#[utoipa::path(get, path = "/patients/{id}/care", operation_id = "getCare", tag = "patients",
    params(("id" = String, Path)), responses((status = 200, description = "What is noted", body = Care)))]
pub(super) async fn care(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    let profile = desk.store().care_profile(&id).await?;
    Ok(revision(&desk, &profile).on(ok(Care::of(id, &profile))))
}

/// Changes what is noted about a patient's care
///
/// It has to say, in `If-Match`, by which state it was decided: two people who change a dry weight must not overwrite
/// each other unseen.
#[utoipa::path(patch, path = "/patients/{id}/care", operation_id = "changeCare", tag = "patients",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The `ETag` it was decided by")),
    request_body(content((CareChange = "application/json"), (CareChange = "application/merge-patch+json"))),
    responses((status = 200, description = "What is noted now", body = Care),
        (status = 412, description = "It changed meanwhile", body = super::problem::Problem, content_type = "application/problem+json"),
        (status = 428, description = "There is no `If-Match`", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn change_care(mut desk: Desk, Path(id): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    let mut profile = desk.store().care_profile(&id).await?;
    desk.require_unchanged(&revision(&desk, &profile))?;
    let mut fields = Fields::of_body(&body, CARE_FIELDS)?;
    for name in CareProfile::FIELDS {
        let text = match fields.take_null(name) {
            None => continue,
            Some(Value::Null) => String::new(),
            Some(Value::String(text)) if name != "dry_weight_kg" && !text.trim().is_empty() => text,
            Some(Value::Number(number)) if name == "dry_weight_kg" => number.to_string(),
            Some(_) if name == "dry_weight_kg" => return Err(wrong(name, "a number of kilograms, or null")),
            Some(_) => return Err(wrong(name, "a text, or null")),
        };
        profile.set(name, &text).map_err(|invalid| wrong(invalid.field, invalid.expected))?;
    }
    fields.nothing_left()?;
    desk.store().set_care_profile(&id, &profile).await?;
    Ok(revision(&desk, &profile).on(ok(Care::of(id, &profile))))
}

/// What is noted has a PIN in it, which nobody is shown.
fn revision(desk: &Desk, profile: &CareProfile) -> Revision {
    Revision::keyed(&desk.app().store.shared_secret("revisions"), profile)
}

/// Shows the course of one measure over a patient's calls, or of all
#[utoipa::path(get, path = "/patients/{id}/trends", operation_id = "getTrends", tag = "patients",
    params(("id" = String, Path), Which), responses((status = 200, description = "The courses", body = Trends)))]
pub(super) async fn trends(
    mut desk: Desk,
    Path(id): Path<String>,
    Ask(which): Ask<Which>,
) -> Result<Response, Problem> {
    let patient_id = patient_id(&id)?;
    desk.patient(&patient_id).await?;
    desk.store().get_patient(&patient_id).await?;
    let app = desk.app().clone();
    Ok(later(async move {
        let found = patient_trends(&app.store, &app.settings.model, &patient_id, which.measure.as_deref()).await;
        let found = found.map_err(|error| match error {
            TrendsError::Measure(unknown) => Problem::bad_request(format!("measure: {unknown}")),
            TrendsError::Store(error) => error.into(),
        })?;
        Ok(ok(Trends { patient_id, items: found.iter().map(Trend::to_json).collect() }))
    }))
}

pub(super) fn patient_id(text: &str) -> Result<PatientId, Problem> {
    PatientId::parse(text).map_err(|_| Problem::not_found("patient"))
}

impl Patient {
    fn of(patient: &clinic::Patient) -> Self {
        let details = &patient.details;
        Self {
            id: patient.id.clone(),
            external_id: details.external_id.clone(),
            name: details.name.clone(),
            phone: details.phone.expose().to_owned(),
            birth_date: details.birth_date,
            sex: details.sex,
            language: details.language.clone(),
            timezone: details.timezone.clone(),
        }
    }
}

impl Care {
    fn of(patient_id: PatientId, profile: &CareProfile) -> Self {
        Self {
            patient_id,
            pin_set: profile.pin.is_some(),
            dry_weight_kg: profile.dry_weight_kg,
            recording_consent_on: profile.recording_consent_on,
            discharged_on: profile.discharged_on,
            weight_unit: profile.weight_unit,
        }
    }
}

//! `patients/{id}/care-team`: who looks after a patient, and so sees their record.

use super::desk::Desk;
use super::ok;
use super::patients::patient_id;
use super::problem::Problem;
use super::users::user_id;
use crate::clock;
use axum::extract::Path;
use axum::response::Response;
use clinic::{PatientId, UserId};
use serde::Serialize;
use std::collections::HashMap;
use utoipa::ToSchema;

/// Who looks after a patient.
#[derive(Serialize, ToSchema)]
pub(super) struct CareTeam {
    #[schema(value_type = String)]
    patient_id: PatientId,
    items: Vec<CareTeamMember>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
pub(super) struct CareTeamMember {
    #[schema(value_type = String)]
    user_id: UserId,
    /// What they sign in with.
    name: String,
    #[schema(format = DateTime)]
    since: String,
}

/// Shows who looks after a patient
#[utoipa::path(get, path = "/patients/{id}/care-team", operation_id = "getCareTeam", tag = "people",
    params(("id" = String, Path)), responses((status = 200, description = "The care team", body = CareTeam)))]
pub(super) async fn get(mut desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    desk.store().get_patient(&id).await?;
    show(&desk, id).await
}

/// Has a clinician look after a patient. Again: nothing changes
#[utoipa::path(put, path = "/patients/{id}/care-team/{user_id}", operation_id = "assignCareTeamMember", tag = "people",
    params(("id" = String, Path), ("user_id" = String, Path)),
    responses((status = 200, description = "The care team as it is now", body = CareTeam)))]
pub(super) async fn assign(mut desk: Desk, Path((id, user)): Path<(String, String)>) -> Result<Response, Problem> {
    let (id, user) = (patient_id(&id)?, user_id(&user)?);
    desk.object("user", &user);
    opens_as_member(&mut desk, &id).await?;
    desk.store().assign_patient(&user, &id, desk.now_us()).await?;
    show(&desk, id).await
}

/// Has a clinician no longer look after a patient. Again: nothing changes
#[utoipa::path(delete, path = "/patients/{id}/care-team/{user_id}", operation_id = "unassignCareTeamMember",
    tag = "people", params(("id" = String, Path), ("user_id" = String, Path)),
    responses((status = 200, description = "The care team as it is now", body = CareTeam)))]
pub(super) async fn unassign(mut desk: Desk, Path((id, user)): Path<(String, String)>) -> Result<Response, Problem> {
    let (id, user) = (patient_id(&id)?, user_id(&user)?);
    desk.object("user", &user);
    opens_as_member(&mut desk, &id).await?;
    desk.store().unassign_patient(&user, &id).await?;
    show(&desk, id).await
}

/// A record that was opened in an emergency closes by itself. Who opened it has no say in the care team: they could
/// otherwise make themselves a member for good.
async fn opens_as_member(desk: &mut Desk, id: &PatientId) -> Result<(), Problem> {
    desk.patient(id).await?;
    desk.store().get_patient(id).await?;
    match desk.team() {
        Some(team) if !desk.store().is_member(&team.user, id).await? => Err(Problem::forbidden()),
        _ => Ok(()),
    }
}

async fn show(desk: &Desk, patient_id: PatientId) -> Result<Response, Problem> {
    let users = desk.store().users().await?;
    let names: HashMap<&UserId, &str> = users.iter().map(|user| (&user.id, user.name.as_str())).collect();
    let team = desk.store().care_team(&patient_id).await?;
    let member = |(user_id, since_us): (UserId, i64)| CareTeamMember {
        name: names.get(&user_id).copied().unwrap_or_default().to_owned(),
        since: clock::rfc3339(since_us),
        user_id,
    };
    Ok(ok(CareTeam { patient_id, items: team.into_iter().map(member).collect() }))
}

//! Erasing a patient for good. What is destroyed, and how, is in the store; here is who may ask for it.

use super::desk::Desk;
use super::fields::{Ask, wrong};
use super::later::later;
use super::ok;
use super::patients::patient_id;
use super::problem::Problem;
use crate::clock;
use axum::extract::Path;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::Certificate;
use utoipa::{IntoParams, ToSchema};

/// Why it is done.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why, as a code of letters, digits, dots, dashes and underscores; no name.
    #[param(value_type = String, required, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$", example = "patient-request")]
    reason: Option<String>,
}

/// What proves that a patient's record was destroyed. It is kept; it names nobody.
#[derive(Serialize, ToSchema)]
pub(super) struct DestructionCertificate {
    id: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    /// How.
    method: String,
    /// How many of each kind were destroyed.
    counts: BTreeMap<String, u64>,
    /// What is signed, as text.
    content: String,
    /// The key it is signed with.
    key_id: String,
    /// Ed25519, in hexadecimal.
    signature: String,
}

/// Destroys everything about a patient, for good
///
/// The keys are destroyed at once, so that no copy can be read any more, those in backups included; rows and recordings
/// follow. Nothing can be brought back. A legal hold and a call in progress forbid it.
#[utoipa::path(delete, path = "/patients/{id}", operation_id = "erasePatient", tag = "patients",
    params(("id" = String, Path), Why),
    responses((status = 200, description = "It is destroyed; this certifies it", body = DestructionCertificate),
        (status = 409, description = "A legal hold, or a call in progress", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn erase(mut desk: Desk, Path(id): Path<String>, Ask(why): Ask<Why>) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    let reason = why.reason.ok_or_else(|| wrong("reason", "a code such as patient-request"))?;
    desk.patient(&id).await?;
    let by = desk.caller().actor();
    let certificate = desk.store().erase_patient(&id, &by, &reason, desk.now_us()).await?;
    let shown = DestructionCertificate::of(certificate)?;
    desk.object("certificate", &shown.id);
    desk.reason(&reason);
    desk.detail("rule", "request");
    let store = desk.app().store.clone();
    Ok(later(async move {
        // The keys are gone already: files that cannot be removed now are only tried again.
        if let Err(error) = store.finish_erasures().await {
            tracing::warn!(code = error.code(), "recordings of an erased patient are still to be removed");
        }
        Ok(ok(shown))
    }))
}

impl DestructionCertificate {
    fn of(certificate: Certificate) -> Result<Self, Problem> {
        let said = certificate.destruction()?;
        let Certificate { content, key_id, signature } = certificate;
        let at = clock::rfc3339(said.at_us);
        Ok(Self { id: said.id, at, method: said.method, counts: said.counts, content, key_id, signature })
    }
}

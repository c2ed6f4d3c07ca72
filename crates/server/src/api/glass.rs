//! Breaking the glass: opening the record of a patient who is not of one's care team, with a reason. It opens at once,
//! closes by itself, tells people, and somebody else looks at it afterwards (45 CFR 164.312(a)(2)(ii)).

use super::desk::Desk;
use super::fields::{Ask, Fields, wrong};
use super::page::{self, Listing, Page};
use super::patients::patient_id;
use super::problem::Problem;
use super::{ok, words};
use crate::clock;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clinic::alerts::{AlertKind, NewAlert, Severity};
use clinic::{GlassBreakId, PatientId, UserId};
use serde::{Deserialize, Serialize};
use store::{GLASS_CODES, GlassBreak, NewGlassBreak};
use utoipa::{IntoParams, ToSchema};

/// The code of an alert about it, before the identifier.
pub(super) const CODE: &str = "glass-";

/// Why a record is opened.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the body; the fields are read one by one")]
pub(super) struct GlassReason {
    #[schema(value_type = words::GlassCode)]
    code: String,
    /// In words, for whoever looks at it afterwards.
    #[schema(min_length = 10, max_length = 1000, example = "brought in by ambulance, no history at hand")]
    reason: String,
}

/// A record that is open.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenedRecord {
    #[schema(value_type = String)]
    id: GlassBreakId,
    #[schema(value_type = String)]
    patient_id: PatientId,
    #[schema(format = DateTime)]
    until: String,
}

/// A record that was opened, for those who look at it afterwards.
#[derive(Serialize, ToSchema)]
#[schema(as = GlassBreak)]
pub(super) struct GlassBreakShown {
    #[schema(value_type = String)]
    id: GlassBreakId,
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    patient_id: PatientId,
    #[schema(value_type = words::GlassCode)]
    code: String,
    /// In words; `null` when the patient was erased.
    #[schema(required)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    until: String,
    #[schema(required)]
    reviewed: Option<Review>,
}

/// Who has looked at it.
#[derive(Serialize, ToSchema)]
pub(super) struct Review {
    #[schema(value_type = String)]
    by: UserId,
    #[schema(format = DateTime)]
    at: String,
}

/// Which are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Items of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before; opaque.
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// `open`: only those that nobody has looked at.
    #[param(pattern = "^(open|all)$")]
    review: Option<String>,
}

/// Opens the record of a patient who is not of one's care team
///
/// For four hours. The staff is told at once, and somebody else has to look at it afterwards.
#[utoipa::path(post, path = "/patients/{id}/break-glass", operation_id = "breakGlass", tag = "people",
    params(("id" = String, Path)), request_body = GlassReason,
    responses((status = 201, description = "It is open", body = OpenedRecord),
        (status = 409, description = "The patient is of one's care team, or too many are open", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn open(mut desk: Desk, Path(id): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    let mut fields = Fields::of_body(&body, "code, reason")?;
    let code = fields.needed("code", "emergency, covering, patient-request or other")?;
    let reason = fields.needed("reason", "10 to 1,000 bytes")?;
    fields.nothing_left()?;
    desk.any_patient(&id);
    let user = desk.caller().user().cloned().ok_or_else(Problem::forbidden)?;
    desk.store().get_patient(&id).await?;
    if desk.store().is_member(&user, &id).await? {
        return Err(Problem::conflict("the patient is of your care team: their record is open to you"));
    }
    let new = NewGlassBreak { user: &user, patient: &id, code: &code, reason: &reason };
    let glass = desk.store().break_glass(&new, desk.now_us()).await?;
    desk.object("break_glass", &glass.id);
    if let Some(code) = GLASS_CODES.iter().find(|known| **known == code) {
        desk.reason(code);
    }
    let alert = NewAlert {
        patient_id: Some(id),
        call_id: None,
        kind: AlertKind::BreakGlass,
        code: format!("{CODE}{}", glass.id),
        severity: Severity::Urgent,
        summary: format!("The record was opened by somebody who is not of the care team: {code}"),
    };
    desk.store().raise_alert(&alert, desk.now_us()).await?;
    desk.wake_alerts();
    let shown = OpenedRecord { id: glass.id, patient_id: glass.patient, until: clock::rfc3339(glass.until_us) };
    Ok((StatusCode::CREATED, axum::Json(shown)).into_response())
}

/// Lists records that were opened in this way, newest first
#[utoipa::path(get, path = "/break-glass", operation_id = "listGlassBreaks", tag = "audit", params(Which),
    responses((status = 200, description = "A page of them", body = Listing<GlassBreakShown>)))]
pub(super) async fn list(mut desk: Desk, Ask(which): Ask<Which>) -> Result<Response, Problem> {
    let only_open = match which.review.as_deref() {
        None | Some("all") => false,
        Some("open") => true,
        Some(_) => return Err(wrong("review", "open or all")),
    };
    let page = Page::new(which.limit, which.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<GlassBreakId>()?);
    let found = desk.store().glass_breaks(only_open, limit + 1, before.as_ref()).await?;
    desk.listed(page::shown(&found, limit));
    for glass in found.iter().take(page::shown(&found, limit)) {
        // What is said of a patient is part of their record.
        desk.any_patient(&glass.patient);
    }
    Ok(ok(page::render(found, limit, |glass| glass.id.to_string(), GlassBreakShown::of)))
}

/// Says that one has looked at it
#[utoipa::path(post, path = "/break-glass/{id}/review", operation_id = "reviewGlassBreak", tag = "audit",
    params(("id" = String, Path)),
    responses((status = 204, description = "It is noted"),
        (status = 409, description = "It was reviewed already, or is one's own", body = super::problem::Problem, content_type = "application/problem+json")))]
pub(super) async fn review(desk: Desk, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = GlassBreakId::parse(&id).map_err(|_| Problem::not_found("opened record"))?;
    desk.object("break_glass", &id);
    // Somebody has to answer for it: a program cannot.
    let user = desk.caller().user().cloned().ok_or_else(Problem::forbidden)?;
    desk.store().review_glass(&id, &user, desk.now_us()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl GlassBreakShown {
    fn of(glass: &GlassBreak) -> Self {
        Self {
            id: glass.id.clone(),
            user_id: glass.user.clone(),
            patient_id: glass.patient.clone(),
            code: glass.code.clone(),
            reason: glass.reason.as_ref().map(|reason| reason.as_str().to_owned()),
            from: clock::rfc3339(glass.from_us),
            until: clock::rfc3339(glass.until_us),
            reviewed: glass.reviewed.as_ref().map(|(by, at_us)| Review { by: by.clone(), at: clock::rfc3339(*at_us) }),
        }
    }
}

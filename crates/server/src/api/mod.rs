//! The programming interface below `/api/v1` and `/fhir/R4`: JSON for programs that show a token and for people who have
//! signed in.
//!
//! Each resource is a file. What all have in common stands in [`gate`] and runs before and after every handler; a handler
//! works at a [`desk`] and nowhere else. Errors are RFC 9457 problems.

mod alerts;
mod audio;
mod audit;
mod caller;
mod calls;
mod care_team;
mod desk;
mod docs;
mod documents;
mod erasure;
mod exports;
mod fields;
mod gate;
mod glass;
mod idempotency;
mod later;
mod live;
mod openapi;
mod own;
mod pace;
mod page;
mod patients;
mod places;
mod problem;
mod refusals;
mod routes;
mod schedules;
mod tags;
mod users;
mod words;

pub use alerts::alert_json;
pub use calls::visit_json;
pub(crate) use calls::{Turn, said};
pub(crate) use docs::router as docs;
pub use schedules::{planned_call_json, schedule_json};

use crate::app::App;
use crate::limits;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use clinic::access::Right;
use pace::Pace;
use places::Places;
use problem::Problem;
use refusals::Refusals;
use routes::{Routes, Rules, Subject};
use serde::Serialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use utoipa_axum::routes;

/// Where the interface is.
pub(crate) const BASE: &str = "/api/v1";
/// Where the part of it is that health record systems read.
pub(crate) const FHIR: &str = "/fhir/R4";
/// Header with the identifier of a request, also in every problem and in the log.
const REQUEST_ID: &str = "x-request-id";

/// What the interface keeps between requests.
#[derive(Debug)]
pub(crate) struct Api {
    rules: Rules,
    /// The description, as it is sent.
    document: String,
    /// How fast callers have been.
    pace: Mutex<Pace<String>>,
    /// Strangers who were turned away.
    refusals: Mutex<Refusals>,
    /// Recordings that are being played.
    recordings: Places,
    /// Clients that follow live calls.
    followers: Places,
    /// Exports and verifications that are being made.
    exports: Places,
}

impl Api {
    pub(crate) fn new() -> Self {
        let (_, rules, described) = all_routes().finish();
        let (_, fhir_rules, fhir) = fhir_routes().finish();
        let rules = rules.and(fhir_rules);
        let pace = Pace::new(limits::API_REQUESTS_PER_MINUTE, limits::API_REQUESTS_AT_ONCE, limits::API_CALLERS);
        Self {
            document: format!("{:#}", openapi::document(&described, &fhir, &rules)),
            rules,
            pace: pace.into(),
            refusals: Mutex::default(),
            recordings: Places::new(limits::API_RECORDINGS, limits::API_RECORDINGS_OF_ONE),
            followers: Places::new(limits::LIVE_CLIENTS, limits::LIVE_CLIENTS_OF_ONE),
            exports: Places::new(limits::API_EXPORTS, limits::API_EXPORTS_OF_ONE),
        }
    }

    /// Counts a request of somebody; the error is how many seconds they have to wait.
    fn pace(&self, caller: &str, now_us: i64) -> Result<(), u64> {
        // The lock is held for a few lines of map access only, and none of them panics.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).ask(&caller.to_owned(), now_us)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The description of the interface in OpenAPI 3.1, as the server gives it.
#[must_use]
pub fn openapi_document() -> Value {
    let (_, rules, described) = all_routes().finish();
    let (_, fhir_rules, fhir) = fhir_routes().finish();
    openapi::document(&described, &fhir, &rules.and(fhir_rules))
}

/// Every route with the right it needs, and what the audit trail calls it. A resource joins its neighbours here.
fn all_routes() -> Routes {
    use Right::{
        AlertHandle, AlertRead, AudioRead, AuditRead, BreakGlass, CallPlace, CallRead, OwnAccount, PatientErase,
        PatientExport, PatientRead, PatientWrite, ResearchExport, ScheduleRead, ScheduleWrite, TranscriptRead,
        UserManage, UserRead,
    };
    use Subject::{Alert, Call, List, None, Patient, Schedule};
    Routes::new(BASE, openapi::frame())
        .open(routes!(openapi::get))
        .route(AlertRead, List, "alert.list", routes!(alerts::list))
        .route(AlertRead, Alert, "alert.read", routes!(alerts::get))
        .route(AlertHandle, Alert, "alert.acknowledge", routes!(alerts::acknowledge))
        .route(AlertHandle, Alert, "alert.resolve", routes!(alerts::resolve))
        .route(PatientRead, List, "patient.list", routes!(patients::list))
        .route(PatientWrite, None, "patient.add", routes!(patients::create))
        .route(PatientRead, Patient, "patient.read", routes!(patients::get))
        .route(PatientErase, Patient, "patient.erase", routes!(erasure::erase))
        .route(PatientRead, Patient, "care.read", routes!(patients::care))
        .route(PatientWrite, Patient, "care.change", routes!(patients::change_care))
        .route(CallRead, Patient, "call.list", routes!(calls::list_of_patient))
        .route(CallRead, Patient, "trend.read", routes!(patients::trends))
        .route(PatientRead, Patient, "care_team.read", routes!(care_team::get))
        .route(PatientWrite, Patient, "care_team.add", routes!(care_team::assign))
        .route(PatientWrite, Patient, "care_team.remove", routes!(care_team::unassign))
        .route(BreakGlass, Patient, "patient.break_glass", routes!(glass::open))
        .route(PatientRead, Patient, "disclosure.list", routes!(audit::disclosures))
        .route(PatientExport, Patient, "patient.export", routes!(exports::patient))
        .route(ScheduleRead, List, "schedule.list", routes!(schedules::list))
        .route(ScheduleWrite, Patient, "schedule.add", routes!(schedules::create))
        .route(ScheduleRead, Schedule, "schedule.read", routes!(schedules::get))
        .route(ScheduleWrite, Schedule, "schedule.remove", routes!(schedules::remove))
        .route(ScheduleWrite, Schedule, "schedule.pause", routes!(schedules::pause))
        .route(ScheduleWrite, Schedule, "schedule.resume", routes!(schedules::resume))
        .route(CallRead, List, "call.list", routes!(calls::list))
        .route(CallPlace, Patient, "call.place", routes!(calls::place))
        .route(CallRead, Call, "call.read", routes!(calls::get))
        .route(CallRead, Call, "assessment.read", routes!(calls::assessment))
        .route(AudioRead, Call, "audio.listen", routes!(audio::get))
        .route(CallRead, Call, "biomarkers.read", routes!(calls::biomarkers))
        .route(TranscriptRead, Call, "transcript.read", routes!(calls::events))
        .route(TranscriptRead, Call, "transcript.read", routes!(calls::transcript))
        .route(CallRead, Call, "visit.read", routes!(calls::visit))
        .route(CallRead, List, "call.follow", routes!(live::get))
        .route(UserRead, None, "user.list", routes!(users::list))
        .route(UserManage, None, "user.add", routes!(users::create))
        .route(UserRead, None, "user.read", routes!(users::get))
        .route(UserManage, None, "user.disable", routes!(users::disable))
        .route(UserManage, None, "user.enable", routes!(users::enable))
        .route(UserManage, None, "user.reset", routes!(users::reset))
        .route(AuditRead, None, "break_glass.list", routes!(glass::list))
        .route(AuditRead, None, "break_glass.review", routes!(glass::review))
        .route(AuditRead, None, "audit.list", routes!(audit::list))
        .route(AuditRead, None, "audit.verify", routes!(audit::verify))
        .route(ResearchExport, List, "research.export", routes!(exports::research))
        .route(OwnAccount, None, "account.read", routes!(own::me))
        .route(OwnAccount, None, "session.list", routes!(own::sessions))
        .route(OwnAccount, None, "session.end", routes!(own::end_session))
}

/// The part that health record systems read.
fn fhir_routes() -> Routes {
    Routes::new(FHIR, openapi::frame()).route(Right::AuditRead, Subject::None, "audit.list", routes!(audit::fhir))
}

/// The routes behind the gate.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    behind_the_gate(all_routes(), app)
}

/// The same, for health record systems.
pub(crate) fn fhir_router(app: &Arc<App>) -> Router<Arc<App>> {
    behind_the_gate(fhir_routes(), app)
}

fn behind_the_gate(routes: Routes, app: &Arc<App>) -> Router<Arc<App>> {
    let (router, ..) = routes.finish();
    router
        .fallback(async || Problem::not_found("resource"))
        .layer(DefaultBodyLimit::max(limits::API_BODY_MAX))
        .layer(from_fn_with_state(app.clone(), gate::gate))
}

/// JSON with a status of success.
fn ok(value: impl Serialize) -> Response {
    (StatusCode::OK, axum::Json(value)).into_response()
}

/// JSON of something new, and where it is below [`BASE`].
fn created(place: &str, value: impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, axum::Json(value)).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("{BASE}/{place}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

//! `audit`: who did what, for those who watch over it; and who saw a patient's record, for the patient.

use super::desk::Desk;
use super::fields::{Ask, wrong};
use super::later::later;
use super::page::{self, Listing, Page};
use super::patients::patient_id;
use super::problem::Problem;
use super::users::Nothing;
use super::{BASE, FHIR, ok, words};
use crate::clock;
use crate::records::Disclosures;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use clinic::PatientId;
use clinic::access::Role;
use clinic::fhir::audit_event::{self, AuditFacts, AuditSource, audit_event};
use clinic::patient_copy::Disclosure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::audit::{ActorKind, AuditEntry, AuditFilter, AuditOutcome};
use utoipa::{IntoParams, ToSchema};

/// What FHIR answers are.
const FHIR_JSON: &str = "application/fhir+json";

/// Which entries are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Items of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before; opaque.
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Only about this patient.
    #[param(max_length = 64)]
    patient_id: Option<String>,
    /// Only by this account or token.
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._:@-]{1,64}$")]
    actor: Option<String>,
    /// Only of this kind, such as `call.read`.
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._:@-]{1,64}$")]
    action: Option<String>,
    /// Not before this time, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Before this time, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
}

/// Which events are asked for, in FHIR's words.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// Events of the page.
    #[serde(rename = "_count")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    count: Option<String>,
    /// As in the link `next` of the page before; opaque.
    #[serde(rename = "_cursor")]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Only about this patient.
    #[param(max_length = 64)]
    patient: Option<String>,
    /// Only by this account or token.
    #[param(max_length = 64, pattern = "^[A-Za-z0-9._:@-]{1,64}$")]
    agent: Option<String>,
}

/// An entry of the audit trail. It names nobody: identifiers, codes and counts only.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct EntryShown {
    /// From 1, without gaps.
    #[schema(minimum = 1)]
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    actor: ActorShown,
    /// `object.verb`, such as `call.read`.
    action: String,
    /// What it was done to.
    #[schema(required)]
    object: Option<ObjectShown>,
    /// Whose record.
    #[schema(value_type = Option<String>, required)]
    patient_id: Option<PatientId>,
    #[schema(value_type = words::AuditOutcome)]
    outcome: AuditOutcome,
    /// Why, as a code.
    #[schema(required)]
    reason: Option<String>,
    /// From which network address.
    #[schema(required)]
    address: Option<String>,
    #[schema(required)]
    request_id: Option<String>,
    /// Counts and codes.
    details: BTreeMap<String, String>,
}

/// Who acted.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
pub(super) struct ActorShown {
    #[schema(value_type = words::ActorKind)]
    kind: ActorKind,
    id: String,
    #[schema(value_type = Option<words::Role>, required)]
    role: Option<Role>,
}

/// What it was done to.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditObject)]
pub(super) struct ObjectShown {
    kind: String,
    id: String,
}

/// What a verification of the trail found.
#[derive(Serialize, ToSchema)]
pub(super) struct Verification {
    /// Whether every entry is where and what it was when it was written.
    intact: bool,
    entries: u64,
    /// Hash of the last entry, in hexadecimal.
    head: String,
    /// Checkpoints whose signatures hold.
    checkpoints: u64,
    /// The first thing that is wrong.
    #[schema(required)]
    broken: Option<BrokenEntry>,
}

/// Something wrong, and where.
#[derive(Serialize, ToSchema)]
pub(super) struct BrokenEntry {
    seq: u64,
    what: String,
}

/// Who saw a record.
#[derive(Serialize, ToSchema)]
#[schema(as = Disclosure)]
pub(super) struct DisclosureShown {
    #[schema(format = DateTime)]
    at: String,
    /// The name of the person or of the program.
    who: String,
    #[schema(required)]
    role: Option<String>,
    /// What was done, such as `call.read`.
    action: String,
    #[schema(required)]
    reason: Option<String>,
}

/// Lists the audit trail, newest first
///
/// With `Accept: application/fhir+json` as a Bundle of AuditEvents.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "audit", params(Which),
    responses((status = 200, description = "A page of entries", body = Listing<EntryShown>)))]
pub(super) async fn list(desk: Desk, Ask(which): Ask<Which>, headers: HeaderMap) -> Result<Response, Problem> {
    let page = Page::new(which.limit.clone(), which.cursor.clone());
    let (limit, before) = (page.limit()?, page.cursor::<u64>()?);
    let filter = which.filter()?;
    let found = desk.store().find_audit(&filter, limit + 1, before).await?;
    desk.listed(page::shown(&found, limit));
    let wanted = headers.get(header::ACCEPT).and_then(|wanted| wanted.to_str().ok()).unwrap_or_default();
    if wanted.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == FHIR_JSON)) {
        return Ok(bundle(&desk, &found, limit, &which.link(limit, &filter)));
    }
    Ok(ok(page::render(found, limit, |entry| entry.seq.to_string(), EntryShown::of)))
}

/// Searches the audit trail, newest first
#[utoipa::path(get, path = "/AuditEvent", operation_id = "searchAuditEvents", tag = "audit", params(Search),
    responses((status = 200, description = "A Bundle of AuditEvents", body = Object, content_type = "application/fhir+json")))]
pub(super) async fn fhir(desk: Desk, Ask(search): Ask<Search>) -> Result<Response, Problem> {
    let page = Page::new(search.count.clone(), search.cursor.clone());
    let limit = page.limit().map_err(|_| wrong("_count", "a number from 1 to 200"))?;
    let before = page.cursor::<u64>().map_err(|_| wrong("_cursor", "that of the link next"))?;
    let patient = search.patient.as_deref().map(|patient| patient.strip_prefix("Patient/").unwrap_or(patient));
    let filter = AuditFilter {
        patient: patient.map(patient_id).transpose()?,
        actor: search.agent.as_deref().map(|agent| plain("agent", agent)).transpose()?,
        ..AuditFilter::default()
    };
    let found = desk.store().find_audit(&filter, limit + 1, before).await?;
    desk.listed(page::shown(&found, limit));
    let mut next = format!("{FHIR}/AuditEvent?_count={limit}");
    if let Some(patient) = &filter.patient {
        next.push_str(&format!("&patient={patient}"));
    }
    if let Some(agent) = &filter.actor {
        next.push_str(&format!("&agent={agent}"));
    }
    Ok(bundle(&desk, &found, limit, &format!("{next}&_cursor=")))
}

/// Verifies the whole audit trail
#[utoipa::path(post, path = "/audit/verify", operation_id = "verifyAudit", tag = "audit",
    responses((status = 200, description = "What was found", body = Verification)))]
pub(super) async fn verify(desk: Desk, Ask(_): Ask<Nothing>) -> Result<Response, Problem> {
    let app = desk.app().clone();
    let place = app.api.exports.take(desk.caller().id());
    let place = place.ok_or_else(|| Problem::busy("too many exports and verifications at once"))?;
    Ok(later(async move {
        let found = app.store.verify_audit(&[]).await?;
        drop(place);
        Ok(ok(Verification {
            intact: found.broken.is_none(),
            entries: found.entries,
            head: found.head,
            checkpoints: found.checkpoints,
            broken: found.broken.map(|fault| BrokenEntry { seq: fault.seq, what: fault.what }),
        }))
    }))
}

/// Lists who saw a patient's record, newest first
#[utoipa::path(get, path = "/patients/{id}/disclosures", operation_id = "listDisclosures", tag = "patients",
    params(("id" = String, Path), Page),
    responses((status = 200, description = "A page of them", body = Listing<DisclosureShown>)))]
pub(super) async fn disclosures(
    mut desk: Desk,
    Path(id): Path<String>,
    Ask(page): Ask<Page>,
) -> Result<Response, Problem> {
    let id = patient_id(&id)?;
    desk.patient(&id).await?;
    desk.store().get_patient(&id).await?;
    let (limit, before) = (page.limit()?, page.cursor::<u64>()?);
    let filter = AuditFilter { patient: Some(id), ..AuditFilter::default() };
    let found = desk.store().find_audit(&filter, limit + 1, before).await?;
    let mut teller = Disclosures::new(desk.store()).await?;
    let shown = page::shown(&found, limit);
    let next_cursor =
        found.get(shown.saturating_sub(1)).filter(|_| found.len() > shown).map(|entry| entry.seq.to_string());
    let seen = found.iter().take(shown).filter_map(|entry| teller.tell(entry));
    let items: Vec<DisclosureShown> = seen.map(DisclosureShown::of).collect();
    desk.listed(items.len());
    Ok(ok(Listing { items, next_cursor }))
}

/// An identifier or the name of an action, as they are in the trail: nothing that would have to be escaped in a link.
fn plain(name: &str, text: &str) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(wrong(name, "letters, digits and . _ - : @"));
    }
    Ok(text.to_owned())
}

/// A page as FHIR. `next` is where the next one is, up to the number of the last entry of this one.
fn bundle(desk: &Desk, found: &[AuditEntry], limit: u32, next: &str) -> Response {
    let settings = &desk.app().settings;
    let source = AuditSource { site: "HeartVoice Monitor", device_id: "heartvoice" };
    let shown = page::shown(found, limit);
    let entry = |entry: &AuditEntry| json!({"resource": event(entry, &source), "search": {"mode": "match"}});
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset"});
    let entries: Vec<Value> = found.iter().take(shown).map(entry).collect();
    // An empty list is not valid.
    if !entries.is_empty() {
        bundle["entry"] = json!(entries);
    }
    if let Some(last) = found.get(shown.saturating_sub(1)).filter(|_| found.len() > shown) {
        let url = settings.public_url(&format!("{next}{}", last.seq));
        bundle["link"] = json!([{"relation": "next", "url": url}]);
    }
    let mut response = axum::Json(bundle).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
    response
}

fn event(entry: &AuditEntry, source: &AuditSource<'_>) -> Value {
    let AuditEntry { seq, at_us, entry, .. } = entry;
    let facts = AuditFacts {
        sequence: *seq,
        at_us: *at_us,
        actor_kind: kind(entry.actor.kind),
        actor_id: &entry.actor.id,
        role: entry.actor.role.map(Role::as_str),
        action: &entry.action,
        object_kind: entry.object.as_ref().map(|(kind, _)| kind.as_str()),
        object_id: entry.object.as_ref().map(|(_, id)| id.as_str()),
        patient_id: entry.patient.as_ref().map(PatientId::as_str),
        outcome: match entry.outcome {
            AuditOutcome::Success => audit_event::AuditOutcome::Success,
            AuditOutcome::Denied => audit_event::AuditOutcome::Denied,
            AuditOutcome::Failed => audit_event::AuditOutcome::Failed,
        },
        reason: entry.reason.as_deref(),
        address: entry.address.as_deref(),
        request_id: entry.request.as_deref(),
    };
    audit_event(&facts, &clock::rfc3339(*at_us), source)
}

fn kind(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::Token => "token",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
        ActorKind::Anonymous => "anonymous",
    }
}

impl Which {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let time = |name: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(|text| text.parse::<jiff::Timestamp>());
            let parsed = parsed.transpose().map_err(|_| wrong(name, "a time such as 2026-01-31T09:00:00Z"))?;
            Ok::<_, Problem>(parsed.map(jiff::Timestamp::as_microsecond))
        };
        Ok(AuditFilter {
            patient: self.patient_id.as_deref().map(patient_id).transpose()?,
            actor: self.actor.as_deref().map(|actor| plain("actor", actor)).transpose()?,
            action: self.action.as_deref().map(|action| plain("action", action)).transpose()?,
            from_us: time("since", &self.since)?,
            until_us: time("until", &self.until)?,
        })
    }
}

impl Which {
    /// Where the next page is, up to its cursor.
    fn link(&self, limit: u32, filter: &AuditFilter) -> String {
        let mut link = format!("{BASE}/audit?limit={limit}");
        let times = [("since", filter.from_us), ("until", filter.until_us)];
        let times = times.map(|(name, at_us)| (name, at_us.map(clock::rfc3339_us)));
        let texts = [
            ("patient_id", filter.patient.as_ref().map(ToString::to_string)),
            ("actor", filter.actor.clone()),
            ("action", filter.action.clone()),
        ];
        for (name, value) in texts.into_iter().chain(times) {
            if let Some(value) = value {
                link.push_str(&format!("&{name}={value}"));
            }
        }
        format!("{link}&cursor=")
    }
}

impl EntryShown {
    fn of(entry: &AuditEntry) -> Self {
        let AuditEntry { seq, at_us, entry, .. } = entry;
        Self {
            seq: *seq,
            at: clock::rfc3339(*at_us),
            actor: ActorShown { kind: entry.actor.kind, id: entry.actor.id.clone(), role: entry.actor.role },
            action: entry.action.clone(),
            object: entry.object.as_ref().map(|(kind, id)| ObjectShown { kind: kind.clone(), id: id.clone() }),
            patient_id: entry.patient.clone(),
            outcome: entry.outcome,
            reason: entry.reason.clone(),
            address: entry.address.clone(),
            request_id: entry.request.clone(),
            details: entry.details.clone(),
        }
    }
}

impl DisclosureShown {
    fn of(disclosure: Disclosure) -> Self {
        Self {
            at: clock::rfc3339(disclosure.at_us),
            who: disclosure.who,
            role: disclosure.role,
            action: disclosure.action,
            reason: disclosure.reason,
        }
    }
}

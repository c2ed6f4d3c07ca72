//! What the server does for a visit: its beginning, what must happen during it, and its assessment at the end.

use crate::app::App;
use crate::journal::{self, Patience};
use crate::limits;
use crate::metrics;
use crate::webhook::{LANGUAGE_PARAMETER, paths, query_field, twiml_response};
use axum::http::Uri;
use axum::response::Response;
use call::agent::elevenlabs::webhook::{self, PostCallContent};
use call::twilio::CallSid;
use call::twilio::twiml::{Dial, Response as Twiml, Say};
use call::twilio::voices;
use clinic::agent::{AgentText, collected_answers};
use clinic::alerts::rules::{self, RiskFinding, TechnicalFailure};
use clinic::alerts::{NewAlert, Severity};
use clinic::care::CareProfile;
use clinic::facts::CallFacts;
use clinic::fallback::{self, Step};
use clinic::protocol::FALLBACK_LANGUAGE;
use clinic::red_flags::RedFlag;
use clinic::risk;
use clinic::visit::{IdentityStatus, Setup, VisitRecord};
use clinic::{CallId, CallOutcome, Degradation, DegradationKind, Patient, PatientId};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use store::{CallHandle, PastVisit, PostCallMessage, SpoolEntry, StoreError, StoredVisit};

/// What a visit with this patient starts with.
pub(crate) async fn setup(app: &App, patient: &Patient) -> Result<Setup, StoreError> {
    let profile = app.store.care_profile(&patient.id).await?;
    Ok(Setup {
        protocol: app.settings.protocol.clone(),
        language: patient.details.language.clone(),
        given_name: patient.given_name().to_owned(),
        identity: profile.identity(patient),
        consent_on_file: profile.recording_consent_on.is_some(),
        nurse_line: app.settings.staff.nurse_line.is_some() && app.twilio.is_configured(),
        weight_unit: profile.unit(patient),
    })
}

/// A red flag was raised while the patient speaks: the staff is told at once.
pub(crate) fn red_flag(app: &Arc<App>, call: &CallId, patient: &PatientId, flag: &RedFlag) {
    tracing::info!(call_id = %call, patient_id = %patient, "red flag");
    let (owner, alert) = (app.clone(), rules::red_flag(patient, call, flag));
    app.calls.spawn(async move {
        let _ = owner.raise_patiently(&alert).await;
    });
}

/// The agent refuses every call until somebody mends its settings. About no patient: it is one matter for all calls.
pub(crate) fn agent_configuration(app: &Arc<App>, call: &CallId) {
    let (owner, alert) = (app.clone(), rules::technical(None, Some(call), "agent_configuration"));
    app.calls.spawn(async move {
        let _ = owner.raise(&alert).await;
    });
}

/// The patient agreed to being recorded, and is not asked again.
pub(crate) fn consent_given(app: &Arc<App>, patient: &PatientId) {
    let (app, patient) = (app.clone(), patient.clone());
    let owner = app.clone();
    owner.calls.spawn(async move {
        let noted = async {
            let today = jiff::Timestamp::from_microsecond(crate::clock::unix_us()).unwrap_or_default();
            let mut profile = app.store.care_profile(&patient).await?;
            profile.recording_consent_on = Some(today.to_zoned(jiff::tz::TimeZone::UTC).date());
            app.store.set_care_profile(&patient, &profile).await
        };
        if let Err(error) = noted.await {
            tracing::error!(patient_id = %patient, code = error.code(), "the agreement to recording was not noted");
        }
    });
}

/// Removes what was recorded of a patient who refused.
pub(crate) async fn erase_recording(app: &App, call: &CallId) {
    app.recorder.close(call.clone(), Vec::new()).await;
    let runtime = tokio::runtime::Handle::current();
    for wait in [Duration::ZERO].iter().chain(&limits::RECORDING_RETRIES) {
        tokio::time::sleep(*wait).await;
        // A slow disk must not stop a thread that carries the audio of other calls.
        let (runtime, store, id) = (runtime.clone(), app.store.clone(), call.clone());
        let erased = tokio::task::spawn_blocking(move || runtime.block_on(store.erase_recording(&id))).await;
        match erased {
            Ok(Ok(store::Erased::Everything { .. })) => {
                return tracing::info!(call_id = %call, "recording erased: the patient refused");
            }
            Ok(Ok(_)) => {
                return tracing::warn!(call_id = %call, "recording erased; the object store may keep old versions");
            }
            _ => {}
        }
    }
    tracing::error!(call_id = %call, "the recording of a patient who refused could not be erased");
}

/// Has Twilio connect the caller with the nurse; false when it does not.
pub(crate) async fn connect_nurse(app: &App, sid: &CallSid, language: &str) -> bool {
    let Some(nurse) = &app.settings.staff.nurse_line else { return false };
    let text = app.settings.protocol.text(language, "transfer", "");
    let mut dial = Dial::new(nurse.expose());
    dial.action = Some(app.settings.public_url(&format!("{}?{LANGUAGE_PARAMETER}={language}", paths::DIAL_RESULT)));
    dial.timeout_s = Some(limits::NURSE_RINGS_S);
    let twiml = Twiml::new().say(voices::say(app.settings.protocol.spoken(language), text)).dial(dial);
    let Ok(xml) = twiml.render() else { return false };
    match app.twilio.post(&format!("/Calls/{}.json", sid.as_str()), &[("Twiml", &xml)]).await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, "the caller could not be connected with the nurse");
            false
        }
    }
}

/// The caller is on the way to the nurse: for as long as her line may ring, a shutdown waits for what comes of it.
pub(crate) fn await_nurse(app: &App, sid: &CallSid) {
    let result = app.registry.nurse_dialled(sid);
    app.calls.spawn(async move {
        let _ = tokio::time::timeout(limits::NURSE_WAIT, result).await;
    });
}

/// The nurse's line was called, and whoever asks wants to know what comes next.
pub(crate) async fn nurse_was_called(app: &Arc<App>, uri: &Uri, sid: &CallSid, answered: bool) -> Response {
    if answered {
        app.registry.nurse_result(sid);
        return twiml_response(&Twiml::new().hangup());
    }
    // The patient is still there, and nobody came: the words of the emergency, and somebody must call back.
    let (owner, known) = (app.clone(), sid.clone());
    app.calls.spawn(async move { nurse_not_reached(&owner, &known).await });
    // After that task was begun, for which a shutdown waits as well.
    app.registry.nurse_result(sid);
    let words = words_without_nurse(app, uri, sid).await;
    twiml_response(&Twiml::new().say(words).hangup())
}

/// What somebody hears whom the nurse did not answer: the words of their emergency, or whom to call, in the language of
/// the visit.
async fn words_without_nurse(app: &App, uri: &Uri, sid: &CallSid) -> Say {
    let named = query_field(uri, LANGUAGE_PARAMETER);
    let protocol = &app.settings.protocol;
    let language = protocol.spoken(named.unwrap_or(FALLBACK_LANGUAGE));
    let known = async {
        let call = app.store.find_call_by_sid(sid.as_str()).await.ok().flatten()?;
        app.store.visit(&call.id).await.ok().flatten()
    };
    // Somebody in need listens to silence meanwhile.
    let visit = tokio::time::timeout(limits::ANSWER_WAIT, known).await.ok().flatten();
    // Where nothing is known yet, the words of an emergency are the safe ones.
    let text = match visit.map(|visit| visit.record.red_flags) {
        Some(flags) if flags.is_empty() => "closing",
        Some(flags) if flags.iter().all(|raised| raised.flag.code == "self_harm") => "self_harm",
        _ => "red_flag",
    };
    voices::say(language, protocol.text(language, text, ""))
}

/// Nobody at the nurse line answered. Somebody has to hear of it, however long the records do not answer.
async fn nurse_not_reached(app: &App, sid: &CallSid) {
    let (id, patient) = match app.registry.carried(sid) {
        Some((id, patient)) => (id, Some(patient)),
        // Another server's, or of before a start.
        None => match call_of(app, sid).await {
            Some(known) => known,
            None => return tracing::error!("a call whose nurse did not answer is not known"),
        },
    };
    let _ = app.raise_patiently(&rules::technical(patient.as_ref(), Some(&id), "nurse_not_reached")).await;
    let corrected = async {
        let handle = app.store.call_handle(&id).await?;
        if let Some(mut visit) = app.store.visit(&id).await? {
            visit.record.transferred = Some(false);
            app.store.save_visit(&handle, &visit).await?;
        }
        Ok::<(), StoreError>(())
    };
    if let Err(error) = corrected.await {
        tracing::error!(call_id = %id, code = error.code(), "that the nurse did not answer was not noted");
    }
}

/// The call with this SID and its patient, as soon as the records answer.
async fn call_of(app: &App, sid: &CallSid) -> Option<(CallId, Option<PatientId>)> {
    let mut patience = Patience::new();
    loop {
        match app.store.find_call_by_sid(sid.as_str()).await {
            Err(error) if patience.is_left(&error) => patience.wait().await,
            found => return found.ok().flatten().map(|call| (call.id, call.patient_id)),
        }
    }
}

/// Assesses a visit, stores it, and raises what the staff has to be told of it. While the store does not take it, it is
/// waited for; with a spool it waits there, and this is done when the store is back. True when nothing of it can get lost.
pub(crate) async fn conclude(
    app: &Arc<App>,
    call: &CallHandle,
    patient: &PatientId,
    record: &VisitRecord,
    outcome: CallOutcome,
) -> bool {
    let places = app.places();
    let waits = || {
        let (patient, record) = (patient.clone(), Box::new(record.clone()));
        places.spool(call, SpoolEntry::Visit { patient, record, outcome })
    };
    // What is assessed is in the store: where something of the call waits in the spool, the visit waits behind it.
    if places.waits(&call.id) && waits().await.is_ok() {
        return true;
    }
    let mut patience = places.patience();
    let concluded = loop {
        let attempt = conclude_now(app, call, patient, record, outcome);
        match places.attempt("store a visit", attempt).await {
            Err(error) if patience.is_left(&error) => {
                tracing::warn!(call_id = %call.id, code = error.code(), "the visit could not be stored yet");
                patience.wait().await;
            }
            Err(error) if journal::is_passing(&error) && places.spool.is_some() => {
                if waits().await.is_ok() {
                    return true;
                }
                patience = Patience::new();
            }
            result => break result,
        }
    };
    let Err(error) = concluded else { return true };
    tracing::error!(call_id = %call.id, code = error.code(), "the visit could not be stored");
    // Of a patient who was erased meanwhile nobody misses it.
    if !matches!(error, StoreError::NotFound { .. } | StoreError::Sealed { .. }) {
        metrics::visit_lost();
        let _ = app.raise(&rules::technical(Some(patient), Some(&call.id), "visit_lost")).await;
    }
    false
}

/// As [`conclude`], in one attempt. Doing it again changes nothing.
///
/// # Errors
/// [`StoreError`] when the store does not take all of it.
pub(crate) async fn conclude_now(
    app: &Arc<App>,
    call: &CallHandle,
    patient: &PatientId,
    record: &VisitRecord,
    outcome: CallOutcome,
) -> Result<(), StoreError> {
    let visit = assess_and_save(app, call, patient, record, outcome).await?;
    for alert in alerts_of(app, &call.id, patient, outcome, &visit) {
        app.raise(&alert).await?;
    }
    Ok(())
}

/// As [`conclude_now`], of a call so old that nobody is told of it any more.
///
/// # Errors
/// As [`conclude_now`].
pub(crate) async fn save_only(
    app: &App,
    call: &CallHandle,
    patient: &PatientId,
    record: &VisitRecord,
    outcome: CallOutcome,
) -> Result<(), StoreError> {
    assess_and_save(app, call, patient, record, outcome).await.map(drop)
}

/// What the staff has to be told of a visit.
fn alerts_of(
    app: &App,
    call: &CallId,
    patient: &PatientId,
    outcome: CallOutcome,
    visit: &StoredVisit,
) -> Vec<NewAlert> {
    let mut alerts = Vec::new();
    if matches!(outcome, CallOutcome::Failed | CallOutcome::Interrupted) {
        alerts.push(rules::technical_call(patient, call, &failure(app, outcome, &visit.record)));
    } else {
        alerts.extend(rules::degraded_call(patient, call, &visit.record.degradations));
    }
    if visit.record.identity.status == IdentityStatus::NotIdentified && visit.record.identity.failed_attempts > 0 {
        alerts.push(rules::not_identified(patient, call));
    }
    let has_nurse = app.settings.staff.nurse_line.is_some();
    if has_nurse && visit.record.transferred == Some(false) && !visit.record.red_flags.is_empty() {
        alerts.push(rules::technical(Some(patient), Some(call), "nurse_not_reached"));
    }
    if visit.record.emergency_words_spoken == Some(false) {
        alerts.push(rules::technical(Some(patient), Some(call), "emergency_words_not_spoken"));
    }
    let Some(assessment) = &visit.assessment else { return alerts };
    let text = |pointer: &str| assessment.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let contributions = assessment.get("contributions").and_then(Value::as_array);
    let reasons = contributions.into_iter().flatten();
    let reasons: Vec<String> =
        reasons.filter_map(|contribution| contribution.get("explanation")?.as_str().map(str::to_owned)).collect();
    let finding = RiskFinding {
        patient_id: patient,
        call_id: call,
        risk_band: text("/risk_band"),
        overall_risk: assessment.get("overall_risk").and_then(Value::as_f64),
        reasons: &reasons,
        red_flags: &visit.facts.red_flags,
    };
    alerts.extend(rules::assessment(&finding));
    alerts
}

/// What ended a call for a technical reason, as far as its record tells.
fn failure<'a>(app: &App, outcome: CallOutcome, record: &'a VisitRecord) -> TechnicalFailure<'a> {
    let done = match (fallback::is_needed(outcome, Some(record)), app.settings.fallback.steps.first()) {
        (false, _) => "the check-in was complete, or somebody has taken over",
        (true, Some(Step::CallAgain)) => "the patient will be called again",
        (true, Some(Step::Sms)) => "the patient gets a text message",
        (true, Some(Step::Nurse)) => "a nurse is asked to telephone",
        (true, None) => "nothing: no way to contact the patient is set",
    };
    if outcome == CallOutcome::Interrupted {
        let lost = "less than a second of sound, and the rest of the conversation";
        return TechnicalFailure { kind: DegradationKind::Crash, severity: Severity::Review, lost, done };
    }
    match record.degradations.iter().max_by_key(|known| known.severity) {
        Some(Degradation { kind, severity, lost, .. }) => {
            TechnicalFailure { kind: *kind, severity: *severity.max(&Severity::Review), lost, done }
        }
        None => TechnicalFailure {
            kind: DegradationKind::Agent,
            severity: Severity::Review,
            lost: "the rest of the conversation",
            done,
        },
    }
}

async fn assess_and_save(
    app: &App,
    call: &CallHandle,
    patient: &PatientId,
    record: &VisitRecord,
    outcome: CallOutcome,
) -> Result<StoredVisit, StoreError> {
    let started_at_us = app.store.get_call(&call.id).await?.started_at_us;
    let segments = app.store.call_segments(&call.id).await?;
    let before = app.store.visit(&call.id).await?;
    let mut reports = app.store.post_calls(&call.id).await?;
    loop {
        let mut record = record.clone();
        take_in(app, &mut record, &reports);
        let mut facts = record.facts(&call.id, started_at_us, outcome, &segments);
        // What was so when the call ended, and what a clinician said of it, outlive a second look at it.
        match &before {
            Some(before) => {
                (facts.alert_open, facts.dry_confirmed) = (before.facts.alert_open, before.facts.dry_confirmed);
            }
            None => facts.alert_open = app.store.has_open_alert(patient).await?,
        }
        let visit = assessed(app, patient, record, facts).await?;
        app.store.save_visit(call, &visit).await?;
        // A report that came meanwhile found no visit to be taken into.
        let now = app.store.post_calls(&call.id).await?;
        if now.len() == reports.len() {
            for report in &reports {
                let noted = app.store.post_call_reconciled(&call.id, &report.kind, crate::clock::unix_us()).await;
                if let Err(error) = noted {
                    // Taking it in a second time changes nothing.
                    tracing::warn!(call_id = %call.id, code = error.code(), "that a report was taken in was not noted");
                }
            }
            return Ok(visit);
        }
        reports = now;
    }
}

/// Takes what the agents service found in a conversation into the record of its visit: answers nobody else has are
/// filled in, contradictions are shown, and an answer that is a red flag raises it.
fn take_in(app: &App, record: &mut VisitRecord, reports: &[PostCallMessage]) {
    if record.identity.status != IdentityStatus::Identified {
        // Whoever gave those answers, it was not shown to be the patient.
        return;
    }
    let protocol = &app.settings.protocol;
    for report in reports {
        if let Ok(event) = webhook::parse(&report.payload)
            && let PostCallContent::Transcription(found) = event.content
        {
            record.add_answers(&collected_answers(&AgentText::from_protocol(protocol), &found.data_collection));
        }
    }
    record.flag_answers(protocol);
}

/// A visit with its assessment by the model in force and, where there is one, by the candidate.
pub(crate) async fn assessed(
    app: &App,
    patient: &PatientId,
    record: VisitRecord,
    facts: CallFacts,
) -> Result<StoredVisit, StoreError> {
    let person = app.store.get_patient(patient).await?;
    let care = app.store.care_profile(patient).await?;
    let past = app.store.patient_visits(patient, store::MAX_FACTS).await?;
    let past: Vec<CallFacts> = past.into_iter().map(|PastVisit { facts, .. }| facts).collect();
    let profile = profile_of(&person, &care, facts.at_us);
    let assessed_at = jiff::Timestamp::from_microsecond(crate::clock::unix_us()).unwrap_or_default();
    let finish = |model: &risk::Model| risk::assess(model, &profile, &past, &facts).to_json(Some(patient), assessed_at);
    let assessment = Some(finish(&app.settings.model));
    let shadow = app.settings.shadow_model.as_deref().map(finish);
    Ok(StoredVisit { record, facts, assessment, shadow })
}

/// What the risk model has to know of a patient on the day of a call.
pub(crate) fn profile_of(person: &Patient, care: &CareProfile, at_us: i64) -> risk::Profile {
    let zone = jiff::tz::TimeZone::get(&person.details.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
    let at = jiff::Timestamp::from_microsecond(at_us).unwrap_or_default();
    risk::Profile {
        sex: person.details.sex,
        birth_date: Some(person.details.birth_date),
        dry_weight_kg: care.dry_weight_kg,
        discharged_on: care.discharged_on,
        today: at.to_zoned(zone).date(),
    }
}

/// The agents service has reported on a call, and the report is stored: the visit is looked at again with it. False when
/// the visit of a patient is not stored yet: it will find the report by itself, and until then the report must wait.
///
/// # Errors
/// [`StoreError`] when the record cannot be read or changed.
pub(crate) async fn reconcile(app: &Arc<App>, call: &CallId) -> Result<bool, StoreError> {
    let Some(patient) = app.store.get_call(call).await?.patient_id else { return Ok(true) };
    let Some(before) = app.store.visit(call).await? else { return Ok(false) };
    let mut record = before.record.clone();
    take_in(app, &mut record, &app.store.post_calls(call).await?);
    if record == before.record {
        // Nothing new: what was shown stays as it was shown.
        return Ok(true);
    }
    let (handle, outcome) = (app.store.call_handle(call).await?, before.facts.outcome);
    let visit = assess_and_save(app, &handle, &patient, &record, outcome).await?;
    for alert in alerts_of(app, call, &patient, outcome, &visit) {
        let _ = app.raise_patiently(&alert).await;
    }
    Ok(true)
}

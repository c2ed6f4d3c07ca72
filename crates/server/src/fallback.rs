//! Seeing to it that a patient whose call broke off for a technical reason is reached: called again, sent a text, or handed
//! to a nurse, as [`clinic::fallback`] says.
//!
//! What was done already is read from the records each time: the planned call that follows from the call's identifier, the
//! entry of the audit trail about the text, the alert. So it may be asked again at any moment, and after a crash is.
//!
//! An attempt at a call-back is a call of its own, and may break off like any other. What follows then is decided about
//! the call that it was to make up for: otherwise every failed attempt would be made up for by further ones.

use crate::app::App;
use crate::journal::{self, Patience};
use crate::webhook::{self, Refusal};
use crate::{clock, limits, metrics};
use call::twilio::CallSid;
use call::twilio::twiml::Response as Twiml;
use call::twilio::voices;
use call::twilio::webhook::VoiceRequest;
use clinic::alerts::rules;
use clinic::fallback::{Became, Next, Step, Why, is_needed, next};
use clinic::schedule::{call_back, on_demand};
use clinic::visit::VisitRecord;
use clinic::{CallId, CallOutcome, CallRecord, Direction, PatientId, PhoneNumber, words};
use std::sync::Arc;
use store::audit::NewEntry;
use store::{CallBack, CallBackWish, PlannedState, StoreError};

const MINUTE_US: i64 = 60_000_000;
/// No call-back is due sooner: the call that broke off has to be closed first, or its line counts as in use.
const SOONEST_US: i64 = 3_000_000;
/// How the trail tells of a text to a patient.
const TEXT: &str = "patient.text";
/// How the name begins that stands for the call of somebody who could not be looked up; the moment follows, in
/// microseconds, and the patient.
const WISH: &str = "w";
/// A call that was noted just as its caller was told that it could not be is that caller's, when it began so long before
/// the wish to be called back, or so long after.
const SAME_CALL_US: (i64, i64) = (60_000_000, 10_000_000);
/// Calls of a patient among which it is looked for.
const CALLS_LOOKED_AT: u32 = 10;

/// What the patient is contacted about.
struct Matter {
    /// The call that broke off, or the name that stands for it.
    call: CallId,
    /// False when it could not be noted.
    on_record: bool,
    /// When it began, in microseconds since the Unix epoch.
    since_us: i64,
}

/// What became of a step, and whether that is new.
struct Taken {
    became: Became,
    is_new: bool,
}

impl Taken {
    fn known(became: Became) -> Self {
        Self { became, is_new: false }
    }

    fn now(became: Became) -> Self {
        Self { became, is_new: true }
    }
}

/// Contacts the patient in the background, patiently where the records do not answer. What is given up here is found by
/// the next look at the calls that broke off.
pub(crate) fn contact_later(app: &Arc<App>, call: CallId, patient: PatientId, why: Why) {
    let owned = app.clone();
    app.calls.spawn(async move {
        let mut patience = Patience::new();
        loop {
            match contact(&owned, &call, &patient, why).await {
                Err(error) if patience.is_left(&error) => patience.wait().await,
                Err(error) => {
                    return tracing::error!(call_id = %call, code = error.code(), "nobody was asked to call the patient back");
                }
                Ok(_) => return,
            }
        }
    });
}

/// Takes the steps that are due for a patient whose call broke off. Asked again, it goes on where it was. Says whether
/// something is still under way.
///
/// # Errors
/// [`StoreError`] when what was done cannot be read or noted.
pub(crate) async fn contact(app: &Arc<App>, call: &CallId, patient: &PatientId, why: Why) -> Result<Next, StoreError> {
    let Some(matter) = matter(app, call).await? else { return Ok(Next::Done) };
    if app.store.was_reached_since(patient, matter.since_us).await? {
        tracing::info!(call_id = %matter.call, patient_id = %patient, "the patient was reached meanwhile");
        return Ok(Next::Done);
    }
    let on_record = matter.on_record.then_some(&matter.call);
    let mut steps: Vec<(Step, Became)> = Vec::new();
    let ended = loop {
        let step = match next(&app.settings.fallback, &steps) {
            Next::Take(step) => step,
            ended => break ended,
        };
        let taken = match step {
            Step::CallAgain => call_again(app, &matter, patient, why).await?,
            Step::Sms => text(app, &matter.call, patient).await?,
            Step::Nurse => {
                let alert = rules::call_back_needed(patient, on_record);
                if app.store.was_alert_raised(&alert).await? {
                    Taken::known(Became::Reached)
                } else {
                    app.raise(&alert).await?;
                    Taken::now(Became::Reached)
                }
            }
        };
        if taken.is_new {
            let result = match taken.became {
                Became::UnderWay => "under_way",
                Became::Reached => "reached",
                Became::Failed => "failed",
            };
            let call = &matter.call;
            tracing::info!(call_id = %call, patient_id = %patient, step = step.as_str(), result, why = why.as_str(), "call-back");
            metrics::fallback(step.as_str(), result);
        }
        steps.push((step, taken.became));
    };
    let nobody_knows =
        steps.contains(&(Step::CallAgain, Became::Failed)) && !steps.iter().any(|(s, _)| *s == Step::Nurse);
    if ended == Next::Done && nobody_knows {
        // The clinic wants no nurse to be asked; that the patient was not reached has to be seen all the same.
        let alert = rules::missed_call(patient, on_record, 1);
        if !app.store.was_alert_raised(&alert).await? {
            app.raise(&alert).await?;
        }
    }
    Ok(ended)
}

/// What a patient is to be contacted about because of a call; `None` when that call did not break off.
async fn matter(app: &App, call: &CallId) -> Result<Option<Matter>, StoreError> {
    let call = app.store.original_call(call).await?;
    match app.store.get_call(&call).await {
        Ok(record) => {
            // One in progress is about to be closed, by whoever asks.
            let broke_off =
                matches!(record.outcome, CallOutcome::Failed | CallOutcome::Interrupted | CallOutcome::InProgress);
            Ok(broke_off.then_some(Matter { call, on_record: true, since_us: record.started_at_us }))
        }
        Err(StoreError::NotFound { .. }) => {
            let since_us = wished_at_us(&call).unwrap_or_else(clock::unix_us);
            Ok(Some(Matter { call, on_record: false, since_us }))
        }
        Err(error) => Err(error),
    }
}

/// Contacts the patient of a call that is over, if it ended so that this is needed and not too long ago.
///
/// # Errors
/// [`StoreError`] when the records do not answer. What will never succeed is logged.
pub(crate) async fn contact_if_needed(
    app: &Arc<App>,
    call: &CallId,
    patient: &PatientId,
    outcome: CallOutcome,
    record: Option<&VisitRecord>,
) -> Result<Next, StoreError> {
    if !is_needed(outcome, record) {
        return Ok(Next::Done);
    }
    let contacted = async {
        if !is_recent(app.store.get_call(call).await?.started_at_us) {
            return Ok(Next::Done);
        }
        let why = if outcome == CallOutcome::Interrupted { Why::Interrupted } else { Why::Failed };
        contact(app, call, patient, why).await
    };
    match contacted.await {
        Err(error) if !journal::is_passing(&error) => {
            tracing::error!(call_id = %call, code = error.code(), "nobody was asked to call the patient back");
            Ok(Next::Done)
        }
        result => result,
    }
}

/// Whether a call that began then (microseconds since the Unix epoch) is still made up for.
pub(crate) fn is_recent(started_at_us: i64) -> bool {
    let age_us = u64::try_from(clock::unix_us().saturating_sub(started_at_us)).unwrap_or(0);
    u128::from(age_us) < limits::CALL_BACK_WITHIN.as_micros()
}

async fn call_again(app: &Arc<App>, matter: &Matter, patient: &PatientId, why: Why) -> Result<Taken, StoreError> {
    if let Some(planned) = app.store.call_back_of(&matter.call).await? {
        return Ok(Taken::known(became(planned.state)));
    }
    // A call of ours that somebody planned has further attempts, which are the call-back.
    if let Some(planned) = app.store.planned_call_of(&matter.call).await?
        && planned.state == PlannedState::Open
    {
        return Ok(Taken::known(Became::UnderWay));
    }
    // The attempts of a call-back make up for every call that broke off before them.
    let tried = app.store.call_back_tried_since(patient, matter.since_us).await?;
    if let Some(state) = tried.filter(|state| *state != PlannedState::Cancelled) {
        return Ok(Taken::known(became(state)));
    }
    if !app.twilio.is_configured() || app.settings.twilio.phone_number.is_none() {
        return Ok(Taken::now(Became::Failed));
    }
    let policy = &app.settings.fallback;
    let zone = app.store.get_patient(patient).await?.details.timezone;
    let now_us = clock::unix_us();
    let due_us = now_us.saturating_add((i64::from(policy.after_min) * MINUTE_US).max(SOONEST_US));
    let Some(day) = call_back(&zone, due_us, limits::CALL_BACK_STANDS_MIN) else {
        return Ok(Taken::now(Became::Failed));
    };
    let planned = app.store.plan_call_back(&matter.call, patient, day, policy.attempts, why.as_str(), now_us).await?;
    app.outgoing.notify_one();
    Ok(match planned {
        CallBack::Planned => Taken::now(Became::UnderWay),
        CallBack::OtherWaits => Taken::known(Became::UnderWay),
        CallBack::Known(state) => Taken::known(became(state)),
    })
}

fn became(state: PlannedState) -> Became {
    match state {
        PlannedState::Open => Became::UnderWay,
        PlannedState::Done => Became::Reached,
        // Somebody took it back: they know of it. Or nobody needed it any more.
        PlannedState::Cancelled => Became::Reached,
        PlannedState::Missed => Became::Failed,
    }
}

/// Sends the neutral text, once, and in the hours in which calls may be made. The entry about it comes first, and whoever
/// writes it is the one who sends: a crash in between costs the text, never sends two.
async fn text(app: &Arc<App>, call: &CallId, patient: &PatientId) -> Result<Taken, StoreError> {
    let Some(from) = app.settings.twilio.phone_number.as_ref().filter(|_| app.twilio.is_configured()) else {
        return Ok(Taken::now(Became::Failed));
    };
    let details = app.store.get_patient(patient).await?.details;
    if on_demand(&details.timezone, clock::unix_us(), 1).is_none() {
        return Ok(Taken::known(Became::Failed));
    }
    let entry = NewEntry::new(store::audit::Actor::system(), TEXT).object("call", call).patient(Some(patient));
    if !app.store.record_once(&entry).await? {
        return Ok(Taken::known(Became::Reached));
    }
    let form = [("To", details.phone.expose()), ("From", from.expose()), ("Body", words::CALL_BACK_TEXT)];
    match app.twilio.post("/Messages.json", &form).await {
        Ok(_) => Ok(Taken::now(Became::Reached)),
        Err(error) => {
            tracing::warn!(call_id = %call, %error, "the patient did not get the text about the call-back");
            Ok(Taken::now(Became::Failed))
        }
    }
}

/// All attempts at a call-back reached nobody: what the policy says comes next. False when it could not be done now.
pub(crate) async fn call_back_missed(app: &Arc<App>, call: &CallId, patient: &PatientId) -> bool {
    contact(app, call, patient, Why::Failed).await.is_ok()
}

/// Somebody who called us is turned away. If it is a patient, the call is put on record and made up for; where the records
/// do not answer, the wish to be called back waits in the spool.
pub(crate) fn turned_away(app: &Arc<App>, request: &VoiceRequest, direction: Direction, why: Why) {
    // A call of ours has its attempt, which is repeated.
    if direction == Direction::Outbound {
        return;
    }
    let Ok(place) = app.turned_away.clone().try_acquire_owned() else {
        return tracing::warn!("too many callers are turned away: one of them will not be called back");
    };
    let (owned, request) = (app.clone(), request.clone());
    // Also while the server stops: the tracker is waited for.
    app.calls.spawn(async move {
        let _place = place;
        let noted = async {
            let Some(patient) = webhook::patient_of(&owned, &request, direction).await? else { return Ok(None) };
            let call = webhook::begin(&owned, &request, Some(&patient), direction).await?;
            Ok(Some((call, patient.id)))
        };
        match webhook::in_time(noted).await {
            Ok(Some((call, patient))) => {
                webhook::finish_unstarted(&owned, &call, CallOutcome::Failed).await;
                contact_later(&owned, call.id, patient, why);
            }
            Err(Refusal::Unavailable(_)) => {
                if let Some(number) = caller(&request) {
                    keep_wish(&owned, &number, why).await;
                }
            }
            _ => {}
        }
    });
}

fn caller(request: &VoiceRequest) -> Option<PhoneNumber> {
    request.from.as_deref().and_then(|text| PhoneNumber::parse(text).ok())
}

/// Keeps the wish of a caller to be called back until they can be looked up. False when it is lost.
async fn keep_wish(app: &App, number: &PhoneNumber, why: Why) -> bool {
    let kept = match app.spool.clone() {
        Some(spool) => {
            let wish = CallBackWish::new(number, clock::unix_us(), why.as_str());
            tokio::task::spawn_blocking(move || spool.wish(&wish)).await.is_ok_and(|kept| kept.is_ok())
        }
        None => false,
    };
    tracing::warn!(kept, "a caller could not be looked up");
    if !kept {
        metrics::spool_dropped(1);
    }
    kept
}

/// The records do not answer while somebody calls: the wish to be called back is kept in the spool, and the caller hears so.
/// Somebody we called hears nothing of the kind: their attempt is repeated.
pub(crate) async fn no_records(app: &Arc<App>, request: &VoiceRequest, direction: Direction) -> (Twiml, &'static str) {
    let number = caller(request).filter(|_| direction == Direction::Inbound);
    let kept = match number {
        Some(number) => keep_wish(app, &number, Why::NoRecords).await,
        None => false,
    };
    let text = if kept { words::CALL_BACK_LATER } else { words::TECHNICAL_APOLOGY };
    (webhook::apology(direction, text), "no_records")
}

/// A caller whom we could not look up when they called. Nobody is called back who is not one patient.
///
/// # Errors
/// [`StoreError`] when the records still do not answer.
pub(crate) async fn wished(app: &Arc<App>, wish: &CallBackWish) -> Result<(), StoreError> {
    let Ok(number) = PhoneNumber::parse(&wish.phone) else { return Ok(()) };
    let found = app.store.find_patients_by_phone(&number).await?;
    let [patient] = found.as_slice() else { return Ok(()) };
    let why = Why::parse(&wish.why).unwrap_or(Why::NoRecords);
    // The database may have taken the call after all, too late for its caller: one matter, and not two.
    let calls = app.store.list_patient_calls(&patient.id, CALLS_LOOKED_AT, None).await?;
    let (before_us, after_us) = SAME_CALL_US;
    let times = wish.at_us.saturating_sub(before_us)..wish.at_us.saturating_add(after_us);
    let same = calls.into_iter().find(|call| {
        let broke_off =
            matches!(call.outcome, CallOutcome::Failed | CallOutcome::Interrupted | CallOutcome::InProgress);
        broke_off && call.direction == Direction::Inbound && call.turns == 0 && times.contains(&call.started_at_us)
    });
    let call = match same {
        Some(call) => call.id,
        // Otherwise the patient and the moment stand for it.
        None => {
            let patient: String = patient.id.as_str().chars().take(40).collect();
            let Ok(call) = CallId::parse(&format!("{WISH}{}-{patient}", wish.at_us)) else { return Ok(()) };
            call
        }
    };
    contact(app, &call, &patient.id, why).await.map(drop)
}

/// When somebody wished to be called back, where that name stands for their call. Microseconds since the Unix epoch.
fn wished_at_us(call: &CallId) -> Option<i64> {
    call.as_str().strip_prefix(WISH)?.split_once('-')?.0.parse().ok()
}

/// Twilio asks about a call that this process does not carry: another one did, which is gone or cannot be reached by
/// Twilio. Whoever is on the line hears that the call is made again, and it is seen to. `None` when nothing is known of the
/// call.
pub(crate) async fn of_another_process(app: &Arc<App>, sid: &CallSid) -> Option<Twiml> {
    let found = async {
        let call = app.store.find_call_by_sid(sid.as_str()).await.ok().flatten()?;
        let patient = app.store.get_patient(call.patient_id.as_ref()?).await.ok()?;
        Some((call, patient))
    };
    let (call, patient) = tokio::time::timeout(limits::ANNOUNCE_STORE, found).await.ok().flatten()?;
    tracing::warn!(call_id = %call.id, outcome = call.outcome.as_str(), "a call of another process came here");
    match call.outcome {
        CallOutcome::Failed | CallOutcome::Interrupted => make_up(app, call, patient.id),
        // Its end is noted by whoever carries it, or by whoever takes that one for lost; then it is made up for.
        CallOutcome::InProgress => {}
        // It was over.
        _ => return Some(Twiml::new().hangup()),
    }
    let protocol = &app.settings.protocol;
    let language = protocol.spoken(&patient.details.language);
    Some(Twiml::new().say(voices::say(language, protocol.text(language, "callback", ""))).hangup())
}

/// Contacts the patient of a call that broke off, in the background.
fn make_up(app: &Arc<App>, call: CallRecord, patient: PatientId) {
    let owned = app.clone();
    app.calls.spawn(async move {
        let contacted = async {
            let visit = owned.store.visit(&call.id).await?;
            let record = visit.as_ref().map(|visit| &visit.record);
            contact_if_needed(&owned, &call.id, &patient, call.outcome, record).await
        };
        if let Err(error) = contacted.await {
            tracing::warn!(call_id = %call.id, code = error.code(), "the patient is contacted later");
        }
    });
}

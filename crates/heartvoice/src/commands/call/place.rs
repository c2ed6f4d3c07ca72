//! `heartvoice call place`: asks the running server for a call, now.

use crate::failure::bad_input;
use crate::output::{self, Format};
use clinic::schedule::{AttemptState, on_demand};
use clinic::{PatientId, PlannedCallId};
use jiff::Timestamp;
use serde_json::json;
use std::time::{Duration, Instant};
use store::{PlannedCall, PlannedState, Store};

/// How long the wish stands, in minutes, should this command die before it can take it back.
const STANDS_MIN: u32 = 5;
/// Between two looks at what became of it.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(store: &Store, patient: &PatientId, wait_s: u64, format: Format) -> anyhow::Result<()> {
    let zone = store.get_patient(patient).await?.details.timezone;
    let now_us = Timestamp::now().as_microsecond();
    let day = on_demand(&zone, now_us, STANDS_MIN).ok_or_else(|| {
        let clock = Timestamp::now().in_tz(&zone).map_or_else(|_| "?".into(), |now| now.strftime("%H:%M").to_string());
        bad_input(format!("it is {clock} where the patient lives: calls are legal from 08:00 to 21:00 local time"))
    })?;
    let id = store.plan_call_now(patient, day, now_us).await?;
    let until = Instant::now() + Duration::from_secs(wait_s);
    let call = loop {
        let call = store.get_planned_call(&id).await?;
        if call.state != PlannedState::Open || Instant::now() >= until {
            break call;
        }
        tokio::time::sleep(LOOK).await;
    };
    // A call that no server took must not be placed later, when nobody expects it any more.
    let taken_back = call.attempts.is_empty() && store.cancel_planned_call(&id).await?;
    anyhow::ensure!(
        !taken_back,
        "no server placed the call within {wait_s} s, and it was taken back: check that `heartvoice serve` runs on \
         this database, reaches Twilio and has TWILIO_PHONE_NUMBER"
    );
    report(&id, &call, format)?;
    let failed = call.state == PlannedState::Missed;
    anyhow::ensure!(
        !failed,
        "the patient was not reached: {}",
        call.reason.map_or("unknown", |reason| reason.as_str())
    );
    Ok(())
}

fn report(id: &PlannedCallId, call: &PlannedCall, format: Format) -> anyhow::Result<()> {
    let attempt = call.attempts.last().map(|attempt| attempt.state);
    match format {
        Format::Json => output::json(&json!({
            "planned_call_id": id, "patient_id": call.patient_id, "state": call.state, "attempt": attempt,
            "reason": call.reason,
        })),
        Format::Table => match attempt {
            Some(AttemptState::Answered) => output::line("the patient was reached; see `heartvoice call list`"),
            Some(AttemptState::Claimed) => output::line("the call is being placed"),
            Some(AttemptState::Placed) => output::line("the call was placed: it rings, or is in progress"),
            _ => Ok(()),
        },
    }
}

//! The weeks before the demonstration: calls in simulated time, stored on the days they stand for.

use super::cast::{Past, Role};
use anyhow::Context;
use call::agent::{AgentLeg, Init};
use clinic::{CallId, CallOutcome, Patient, words};
use server::{PastCall, Server, VoiceAnalysis};
use sim::elevenlabs::{Script, SimConfig};
use sim::fast::{self, FastCall, FastReport};
use sim::patient::{PatientScript, WORSENING_DAYS};
use store::Store;

/// Dry calls before a patient gets worse, one every second day.
const DRY_CALLS: u32 = 7;
const DAY_US: i64 = 86_400 * 1_000_000;

/// A day of the past: how long ago, and how the patient was.
struct Day {
    days_ago: u32,
    script: PatientScript,
}

/// What the past of a patient showed.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) scenario: &'static str,
    pub(super) days: Vec<PastDay>,
}

/// One day of it.
#[derive(Debug, Clone)]
pub(super) struct PastDay {
    pub(super) days_ago: u32,
    pub(super) call_id: CallId,
    pub(super) outcome: CallOutcome,
    pub(super) assessment: serde_json::Value,
}

impl PastDay {
    pub(super) fn risk(&self) -> Option<f64> {
        self.assessment.get("overall_risk")?.as_f64()
    }
}

fn days(past: Past) -> Vec<Day> {
    let dry = |from: u32, script: fn(u32) -> PatientScript| {
        (0..DRY_CALLS).rev().map(move |n| Day { days_ago: from + 2 * n, script: script(from + 2 * n) })
    };
    match past {
        Past::Nothing => Vec::new(),
        Past::Stable => dry(2, PatientScript::stable_day).collect(),
        Past::Worsening => {
            let worse = (1..WORSENING_DAYS).rev();
            let worse = worse.map(|ago| Day { days_ago: ago, script: PatientScript::worsening(ago) });
            dry(WORSENING_DAYS, PatientScript::worsening).chain(worse).collect()
        }
    }
}

/// Makes and stores the calls of a patient's past, the oldest first.
pub(super) async fn make(
    server: &Server,
    store: &Store,
    patient: &Patient,
    role: Role,
    now_us: i64,
    seed: u64,
) -> anyhow::Result<Course> {
    let mut course = Course { scenario: role.scenario, days: Vec::new() };
    for day in days(role.past) {
        let started_at_us = now_us - i64::from(day.days_ago) * DAY_US;
        let setup = server.visit_setup(patient).await.context("cannot read a patient of the demo")?;
        let leg = leg(patient);
        let call_seed =
            seed.wrapping_add(u64::from(day.days_ago)).wrapping_mul(31).wrapping_add(role.scenario.len() as u64);
        let call = FastCall {
            agent: SimConfig { script: Script::visit(), ..SimConfig::default() },
            leg,
            config: call::CallConfig::default(),
            setup,
            patient: day.script,
            seed: call_seed,
        };
        let report = tokio::task::spawn_blocking(move || simulate(call)).await?;
        let summary = report.summary.context("a call in simulated time did not end")?;
        let past = PastCall {
            call_sid: format!("CA{call_seed:016x}{:016x}", u64::from(day.days_ago)),
            patient: patient.id.clone(),
            started_at_us,
            events: report.events,
            captures: report.captures,
            segments: report.segments,
            record: report.record,
            summary,
        };
        let outcome = past.summary.outcome;
        let call_id = server.keep_past_call(past).await.context("cannot store a call of the past")?;
        let visit = store.visit(&call_id).await?.context("a call of the past was not stored")?;
        let assessment = visit.assessment.unwrap_or_default();
        course.days.push(PastDay { days_ago: day.days_ago, call_id, outcome, assessment });
    }
    Ok(course)
}

/// The agent is opened as the server opens it.
fn leg(patient: &Patient) -> AgentLeg {
    let mut init = Init { user_id: Some(patient.id.to_string()), ..Init::default() };
    if let Ok(call) = CallId::parse("past") {
        let variables = words::dynamic_variables(patient, &call);
        init.dynamic_variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    }
    AgentLeg::elevenlabs(init)
}

fn simulate(call: FastCall) -> FastReport {
    let mut analysis = VoiceAnalysis::default();
    let id = CallId::parse("past");
    fast::run(call, move |step| id.as_ref().ok().and_then(|id| analysis.step(id, step)))
}

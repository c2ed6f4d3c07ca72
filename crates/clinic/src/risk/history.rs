//! All calls of a patient in order of time, each with its symptoms, its place beside the baseline, and its risk.

use super::baseline::{BaselineState, Day, Step, Tracker};
use super::combine::{Combined, combine};
use super::model::Model;
use super::profile::{DAY_US, Profile};
use super::symptoms::{self, Symptoms};
use super::voice_summary::VoiceSummary;
use crate::facts::CallFacts;
use std::collections::HashMap;

/// Calls before the one that is assessed which are looked at, the newest first.
const MAX_PAST_CALLS: usize = 1000;

/// One call of a history.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) call: &'a CallFacts,
    pub(crate) symptoms: Symptoms,
    pub(crate) voice: VoiceSummary,
    pub(crate) step: Step,
    /// `None` when the call cannot be interpreted.
    pub(crate) combined: Option<Combined>,
    /// Earlier calls came over other lines only.
    pub(crate) new_line: bool,
}

/// Goes through `calls` in order of time. `profile.today` is the day of the last of them.
pub(crate) fn walk<'a>(model: &Model, profile: &Profile, calls: &[&'a CallFacts]) -> Vec<Entry<'a>> {
    let mut calls = calls.to_vec();
    calls.sort_by(|a, b| (a.at_us, &a.call_id).cmp(&(b.at_us, &b.call_id)));
    calls.dedup_by(|a, b| a.call_id == b.call_id);
    let first = calls.len().saturating_sub(MAX_PAST_CALLS + 1);
    let calls = calls.get(first..).unwrap_or_default();
    let Some(last_us) = calls.last().map(|call| call.at_us) else { return Vec::new() };
    let mut trackers: HashMap<(String, &str), Tracker<'_>> = HashMap::new();
    let mut entries = Vec::with_capacity(calls.len());
    for (index, &call) in calls.iter().enumerate() {
        let days_ago = (last_us - call.at_us) as f64 / DAY_US;
        let past = calls.get(..index).unwrap_or_default();
        let symptoms = symptoms::score(model, profile, past, call, days_ago);
        let voice = if call.identified { VoiceSummary::from_tasks(&call.tasks) } else { VoiceSummary::default() };
        let mut new_line = false;
        let step = match &voice.signature {
            Some(signature) => {
                let line = (signature.clone(), call.language.as_str());
                new_line = !trackers.is_empty() && !trackers.contains_key(&line);
                let tracker = trackers.entry(line).or_insert_with(|| Tracker::new(model, profile.sex));
                tracker.step(&Day {
                    at_us: call.at_us,
                    voice: voice.clone(),
                    dry: is_dry(model, profile, call, &symptoms),
                    confirmed: call.dry_confirmed,
                    frozen: call.alert_open,
                })
            }
            None => silent(&entries),
        };
        let combined = if call.identified { combine(model, &symptoms, &step) } else { None };
        entries.push(Entry { call, symptoms, voice, step, combined, new_line });
    }
    entries
}

/// Free of congestion, by a clinician's word or by rule.
fn is_dry(model: &Model, profile: &Profile, call: &CallFacts, symptoms: &Symptoms) -> bool {
    let rules = &model.baseline;
    let near = match (symptoms.weight_kg, profile.dry_weight_kg) {
        (Some(today), Some(dry)) => (today - dry).abs() <= rules.dry_weight_within_kg,
        _ => true,
    };
    let by_rule = call.red_flags.is_empty()
        && symptoms.answered_share() >= rules.dry_min_answered_share
        && symptoms.score() < rules.dry_points_below
        && near;
    call.identified && (call.dry_confirmed || by_rule)
}

/// A call without a voice: the baseline is as it was.
fn silent(entries: &[Entry<'_>]) -> Step {
    let (calls, state) = entries.last().map_or((0, BaselineState::None), |entry| (entry.step.calls, entry.step.state));
    Step { calls, state, deviations: Vec::new(), acoustic: None, other_engine: false }
}

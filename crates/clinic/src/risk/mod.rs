//! The risk model: what the answers and the voice of a call say together, and why.
//!
//! Four layers, each visible in the result. Red flags come first and leave no room for arithmetic. Symptoms have
//! points. The voice is compared with the same person's earlier dry calls on the same line ([`baseline`]), and a
//! change that lasts has points too. Both are then combined so that a voice alone never reaches more than half of the
//! scale, and so that missing audio leaves the symptoms as they are. Constants stand in [`Model`], the reasons for
//! them in `docs/model-card.md`. It orders attention; it diagnoses nothing.
//!
//! [`assess`] is a plain function: equal input gives an equal [`Assessment`], with any model.

pub mod assessment;
pub mod baseline;
pub mod change;
mod combine;
pub mod feature;
pub(crate) mod history;
pub mod logistic;
pub mod measure;
pub mod model;
pub mod profile;
mod recommend;
mod scores;
mod symptoms;
pub mod voice_summary;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use assessment::{Assessment, Confidence, Contribution, Note, RiskBand, ScoreName};
pub use baseline::{Acoustic, BaselineState};
pub use feature::{Feature, Features};
pub use measure::{Measure, SpeechSource};
pub use model::{Bands, Model, ModelError};
pub use profile::Profile;
pub use voice_summary::VoiceSummary;

use crate::answers::Topic;
use crate::facts::CallFacts;
use history::Entry;

/// Assesses `today`, given the calls before it in any order.
///
/// `past` may hold `today` itself and later calls; both are left out.
#[must_use]
pub fn assess(model: &Model, profile: &Profile, past: &[CallFacts], today: &CallFacts) -> Assessment {
    let before = past.iter().filter(|call| call.call_id != today.call_id && call.at_us <= today.at_us);
    let mut calls: Vec<&CallFacts> = before.collect();
    // Of calls at the same instant the assessed one counts as the last.
    calls.retain(|call| call.at_us < today.at_us || call.call_id < today.call_id);
    calls.push(today);
    let entries = history::walk(model, profile, &calls);
    at(model, profile, &entries, today)
}

/// The assessment of the last entry of a history.
pub(crate) fn at(model: &Model, profile: &Profile, entries: &[Entry<'_>], today: &CallFacts) -> Assessment {
    let nothing = Entry {
        call: today,
        symptoms: symptoms::Symptoms::default(),
        voice: VoiceSummary::default(),
        step: baseline::Step {
            calls: 0,
            state: BaselineState::None,
            deviations: Vec::new(),
            acoustic: None,
            other_engine: false,
        },
        combined: None,
        new_line: false,
    };
    let entry = entries.last().unwrap_or(&nothing);
    let (symptoms, step) = (&entry.symptoms, &entry.step);
    let acoustic = step.acoustic.as_ref().filter(|_| today.identified);
    let emergency = !today.red_flags.is_empty();
    let scored = entry.combined.as_ref().map(|combined| combined.score);
    let interval = scored.map(|score| combine::interval(model, symptoms, step, score));
    let verdict = Verdict::of(model, entries, emergency);
    let effort = scores::speech_effort(model, step);
    let usual = today.answers.iter().any(|a| a.topic == Topic::Dyspnea && a.text() == Some("usual"));
    let usual = usual && symptoms.of(Topic::Dyspnea) <= 0.0;
    let breath = scores::breathlessness(model, symptoms, usual, &effort);
    let fluid = scores::fluid_retention(model, symptoms, acoustic);
    let mut contributions = if emergency {
        red_flag_parts(today)
    } else {
        entry.combined.as_ref().map(|combined| combined.contributions.clone()).unwrap_or_default()
    };
    let factors: Vec<&str> = entry
        .combined
        .iter()
        .flat_map(|combined| &combined.contributions)
        .map(|contribution| contribution.factor.as_str())
        .chain(symptoms.points.iter().map(|point| point.factor))
        .collect();
    let crosses = interval.is_some_and(|[low, high]| model.bands.of(low) != model.bands.of(high));
    let recommendations = recommend::recommendations(&recommend::Situation {
        band: verdict.band,
        identified: today.identified,
        factors: &factors,
        weight_open: symptoms.open.contains(&Topic::Weight),
        questions_open: !symptoms.open.is_empty(),
        conflicts: symptoms.conflicts > 0,
        weight_doubtful: symptoms.weight_implausible,
        voice_missing: acoustic.is_none(),
        unconfirmed: verdict.unconfirmed,
        interval_crosses: crosses,
    });
    for explained in [&fluid, &breath, &effort] {
        contributions.extend(explained.contributions.iter().cloned());
    }
    let (confidence, confidence_reasons) = confidence(model, profile, entry, verdict.unconfirmed, crosses);
    Assessment {
        call_id: today.call_id.clone(),
        model_name: model.name.clone(),
        model_version: model.version.clone(),
        overall_risk: if emergency { Some(100.0) } else { scored },
        risk_interval: if emergency { Some([100.0, 100.0]) } else { interval },
        band: verdict.band,
        fluid_retention_risk: fluid.score,
        breathlessness_score: breath.score,
        speech_effort_score: effort.score,
        red_flags: today.red_flags.clone(),
        contributions,
        answers: today.answers.clone(),
        baseline_calls: step.calls,
        baseline_state: step.state,
        missing: missing(today, entry),
        confidence,
        confidence_reasons,
        recommendations,
        acoustic: acoustic.cloned(),
        features: Feature::of(symptoms, acoustic),
    }
}

/// The band of the last entry of a history.
pub(crate) fn band_of(model: &Model, entries: &[Entry<'_>], emergency: bool) -> RiskBand {
    Verdict::of(model, entries, emergency).band
}

/// The band, and whether a rise by the voice alone was held back.
struct Verdict {
    band: RiskBand,
    unconfirmed: bool,
}

impl Verdict {
    fn of(model: &Model, entries: &[Entry<'_>], emergency: bool) -> Self {
        let sure = |band| Self { band, unconfirmed: false };
        if emergency {
            return sure(RiskBand::Emergency);
        }
        let Some(combined) = entries.last().and_then(|entry| entry.combined.as_ref()) else {
            return sure(RiskBand::NotInterpretable);
        };
        let band = model.bands.of(combined.score);
        let without = model.bands.of(combined.without_voice);
        if band < RiskBand::Review || without >= RiskBand::Review {
            return sure(band);
        }
        let rules = &model.combination;
        let held = entries
            .iter()
            .rev()
            .filter(|entry| entry.call.identified)
            .take(rules.persistence_of)
            .filter(|entry| entry.combined.as_ref().is_some_and(|c| model.bands.of(c.score) >= RiskBand::Review))
            .count();
        if held >= rules.persistence_needed { sure(band) } else { Self { band: RiskBand::Watch, unconfirmed: true } }
    }
}

impl Bands {
    /// The band of a score.
    #[must_use]
    pub fn of(&self, score: f64) -> RiskBand {
        // Sums of points that come to a limit on paper may miss it by a rounding error.
        let score = score + 1e-9;
        if score >= self.urgent {
            RiskBand::Urgent
        } else if score >= self.review {
            RiskBand::Review
        } else if score >= self.watch {
            RiskBand::Watch
        } else {
            RiskBand::Routine
        }
    }
}

/// 100 points, shared by the flags.
fn red_flag_parts(today: &CallFacts) -> Vec<Contribution> {
    let share = 100.0 / today.red_flags.len().max(1) as f64;
    let parts = today.red_flags.iter().map(|flag| Contribution {
        score: ScoreName::Overall,
        factor: format!("red_flag_{}", flag.code),
        points: share,
        explanation: "a sign of an emergency was reported; no other arithmetic applies".to_owned(),
    });
    parts.collect()
}

fn missing(today: &CallFacts, entry: &Entry<'_>) -> Vec<String> {
    let mut missing = entry.symptoms.open_questions.clone();
    for answer in today.answers.iter().filter(|answer| !answer.answered) {
        if !missing.contains(&answer.question) {
            missing.push(answer.question.clone());
        }
    }
    if !today.identified {
        missing.push("identity".to_owned());
    }
    if entry.symptoms.weight_incomparable {
        missing.push("weight_history".to_owned());
    }
    if entry.step.acoustic.is_none() {
        missing.push("voice".to_owned());
    }
    missing
}

fn confidence(
    model: &Model,
    profile: &Profile,
    entry: &Entry<'_>,
    unconfirmed: bool,
    crosses: bool,
) -> (Confidence, Vec<Note>) {
    let (symptoms, step, voice) = (&entry.symptoms, &entry.step, &entry.voice);
    let mut reasons = Vec::new();
    let mut level = Confidence::High;
    let mut add = |when: bool, most: Confidence, code, text| {
        if when {
            level = level.min(most);
            reasons.push(Note { code, text });
        }
    };
    let (low, medium, high) = (Confidence::Low, Confidence::Medium, Confidence::High);
    let heard = step.acoustic.is_some();
    let personal = step.acoustic.as_ref().is_some_and(|acoustic| acoustic.personal);
    let share = symptoms.answered_share();
    add(!entry.call.identified, low, "not_identified", "the patient was not identified");
    add(share <= 0.5, low, "few_answers", "half of the questions about symptoms or more have no answer");
    add(share > 0.5 && share < 1.0, medium, "open_questions", "some questions about symptoms have no answer");
    add(crosses, medium, "interval_crosses_band", "the open questions decide over the band");
    add(symptoms.conflicts > 0, medium, "conflicting_answers", "sources disagree about an answer");
    add(symptoms.weight_implausible, medium, "weight_doubtful", "a weight that cannot be true was left out");
    add(!heard && voice.usable_tasks == 0, medium, "no_usable_voice", "no voice task passed the quality gates");
    add(!heard && voice.usable_tasks > 0, medium, "too_little_voice", "too little of the voice could be compared");
    add(heard && !personal, low, "no_own_baseline", "the voice was compared with norms, not with the patient's own");
    let thin = personal && step.calls < model.baseline.full_calls;
    add(thin, medium, "young_baseline", "the patient's own baseline holds few calls yet");
    let failed = voice.usable_tasks > 0 && voice.usable_tasks < voice.tasks;
    add(failed, medium, "tasks_failed", "some voice tasks did not pass the quality gates");
    add(entry.new_line, low, "new_line", "another line or language than in earlier calls");
    add(step.other_engine, medium, "other_engine", "baseline calls were analysed by another version");
    add(unconfirmed, medium, "unconfirmed_rise", "a rise by the voice alone has not held long enough");
    add(profile.dry_weight_kg.is_none(), high, "no_dry_weight", "no dry weight is recorded");
    (level, reasons)
}

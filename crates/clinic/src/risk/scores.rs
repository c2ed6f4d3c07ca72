//! The three scores beside the overall risk: fluid retention, breathlessness, speech effort.
//!
//! The first two belong to what the patient says; a voice may move them a little, and never above "low" on its own.

use super::assessment::{Contribution, ScoreName};
use super::baseline::{Acoustic, Step};
use super::combine::named;
use super::model::Model;
use super::symptoms::Symptoms;
use crate::answers::Topic;

/// Topics of fluid.
const FLUID: [Topic; 6] =
    [Topic::Weight, Topic::Swelling, Topic::Orthopnea, Topic::NocturnalDyspnea, Topic::Bloating, Topic::Medications];

/// What is left between the highest value the voice may lift a score to and the next band.
const BELOW_BAND: f64 = 1.0;

/// A score and what it is made of; the score is `None` when nothing is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Explained {
    pub(crate) score: Option<f64>,
    pub(crate) contributions: Vec<Contribution>,
}

impl Explained {
    fn of(contributions: Vec<Contribution>) -> Self {
        let sum: f64 = contributions.iter().map(|contribution| contribution.points).sum();
        Self { score: Some(sum.clamp(0.0, 100.0)), contributions }
    }
}

/// Points of weight, swelling, lying flat, waking, bloating and missed doses, moved by the voice.
pub(crate) fn fluid_retention(model: &Model, symptoms: &Symptoms, acoustic: Option<&Acoustic>) -> Explained {
    if !symptoms.answered.iter().any(|topic| FLUID.contains(topic)) {
        return Explained::default();
    }
    let ours = symptoms.points.iter().filter(|point| point.topic.is_some_and(|topic| FLUID.contains(&topic)));
    let mut contributions: Vec<Contribution> = ours.map(|point| named(ScoreName::FluidRetention, point)).collect();
    let said: f64 = contributions.iter().map(|contribution| contribution.points).sum();
    if let Some(acoustic) = acoustic {
        let rules = &model.fluid_retention;
        let trust = if acoustic.personal || model.combination.voice_weight <= 0.0 {
            1.0
        } else {
            (model.combination.fallback_voice_weight / model.combination.voice_weight).min(1.0)
        };
        let wanted = rules.voice_modifier * trust * (acoustic.ewma / rules.voice_span).clamp(-1.0, 1.0);
        let points = not_above_low(model, said, wanted);
        if points != 0.0 {
            let explanation = "voice against the patient's own dry calls".to_owned();
            let score = ScoreName::FluidRetention;
            contributions.push(Contribution { score, factor: "voice_change".into(), points, explanation });
        }
    }
    Explained::of(contributions)
}

/// Points of breathlessness, lying flat and waking, with a little from the effort of speaking.
pub(crate) fn breathlessness(model: &Model, symptoms: &Symptoms, usual: bool, effort: &Explained) -> Explained {
    let topics = [Topic::Dyspnea, Topic::Orthopnea, Topic::NocturnalDyspnea];
    if !symptoms.answered.iter().any(|topic| topics.contains(topic)) {
        return Explained::default();
    }
    let rules = &model.breathlessness;
    let mut contributions: Vec<Contribution> = symptoms
        .points
        .iter()
        .filter_map(|point| {
            let points = match point.factor {
                "dyspnea_at_rest" => rules.dyspnea_at_rest,
                "dyspnea_on_exertion" => rules.dyspnea_on_exertion,
                "orthopnea" => rules.orthopnea,
                "nocturnal_dyspnea" => rules.nocturnal_dyspnea,
                _ => return None,
            };
            let mut contribution = named(ScoreName::Breathlessness, point);
            contribution.points = points;
            Some(contribution)
        })
        .collect();
    if usual {
        contributions.push(Contribution {
            score: ScoreName::Breathlessness,
            factor: "dyspnea_usual".into(),
            points: rules.dyspnea_usual,
            explanation: "breathless no more than always".to_owned(),
        });
    }
    let said: f64 = contributions.iter().map(|contribution| contribution.points).sum();
    let wanted = rules.voice_modifier * (effort.score.unwrap_or(0.0) / rules.voice_span).clamp(0.0, 1.0);
    let points = not_above_low(model, said, wanted);
    if points > 0.0 {
        let explanation = "speaking takes more effort than usual".to_owned();
        let score = ScoreName::Breathlessness;
        contributions.push(Contribution { score, factor: "speech_effort".into(), points, explanation });
    }
    Explained::of(contributions)
}

/// Weighted deviations of pauses, breath groups, rate and phonation time, in the direction of effort only.
pub(crate) fn speech_effort(model: &Model, step: &Step) -> Explained {
    let rules = &model.speech_effort;
    let terms: Vec<_> = rules
        .terms
        .iter()
        .filter_map(|term| {
            let found = step.deviations.iter().find(|deviation| deviation.measure == term.measure)?;
            Some((term, found))
        })
        .collect();
    let available: f64 = terms.iter().map(|(term, _)| term.weight).sum();
    if available < rules.min_weight_share {
        return Explained::default();
    }
    let contributions = terms
        .into_iter()
        .map(|(term, found)| Contribution {
            score: ScoreName::SpeechEffort,
            factor: term.measure.as_str().to_owned(),
            points: rules.points_per_sd * term.weight / available * found.z.max(0.0),
            explanation: format!("{:.2}, usual {:.2} to {:.2}", found.value, found.low, found.high),
        })
        .filter(|contribution| contribution.points > 0.0)
        .collect();
    Explained::of(contributions)
}

/// As much of `wanted` as does not lift `said` over the lowest band.
fn not_above_low(model: &Model, said: f64, wanted: f64) -> f64 {
    let low = model.bands.watch;
    if wanted > 0.0 && said < low { wanted.min((low - BELOW_BAND - said).max(0.0)) } else { wanted }
}

//! Symptoms and voice together: the overall risk of a call and what it is made of.

use super::assessment::{Contribution, ScoreName};
use super::baseline::{Acoustic, Step};
use super::feature::{Feature, Features};
use super::logistic::{Calibration, Logistic, mean_slope, sigmoid};
use super::model::Model;
use super::symptoms::{Point, Symptoms, worst};
use crate::answers::Topic;

/// The overall risk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Combined {
    /// 0 to 100.
    pub(crate) score: f64,
    /// What the score would be without the voice.
    pub(crate) without_voice: f64,
    /// Add up to the score, before it is cut at 100.
    pub(crate) contributions: Vec<Contribution>,
}

/// Combines; `None` when there is neither an answer nor a voice to go by.
pub(crate) fn combine(model: &Model, symptoms: &Symptoms, step: &Step) -> Option<Combined> {
    let acoustic = step.acoustic.as_ref();
    if symptoms.answered.is_empty() && acoustic.is_none() {
        return None;
    }
    let features = Feature::of(symptoms, acoustic);
    Some(if let Some(logistic) = &model.logistic {
        by_logistic(logistic, &features)
    } else {
        let rules = by_rules(model, symptoms, acoustic);
        model.calibration.map_or_else(|| rules.clone(), |calibration| by_calibration(calibration, &rules))
    })
}

/// The lowest and highest score that the open questions leave room for.
pub(crate) fn interval(model: &Model, symptoms: &Symptoms, step: &Step, score: f64) -> [f64; 2] {
    let answered = |all_yes: bool| {
        let mut answered = symptoms.clone();
        for topic in open(symptoms) {
            answered.answered.push(topic);
            if all_yes {
                let points = worst(model, topic);
                answered.points.push(Point {
                    factor: "unanswered",
                    topic: Some(topic),
                    points,
                    explanation: String::new(),
                });
            }
        }
        combine(model, &answered, step).map_or(score, |combined| combined.score)
    };
    let (no, yes) = (answered(false), answered(true));
    // A fitted model has an own opinion of missing answers, which may lie outside of both.
    [score.min(no).min(yes), score.max(no).max(yes)]
}

/// Topics that an answer could still change. Whoever was not heard about breathlessness was not asked what follows from
/// it either.
fn open(symptoms: &Symptoms) -> Vec<Topic> {
    let mut open = symptoms.open.clone();
    if open.contains(&Topic::Dyspnea) {
        let follow_ups = [Topic::Orthopnea, Topic::NocturnalDyspnea].into_iter();
        let unheard: Vec<Topic> =
            follow_ups.filter(|topic| !open.contains(topic) && !symptoms.answered.contains(topic)).collect();
        open.extend(unheard);
    }
    open
}

/// `100 (1 - (1 - B/100)(1 - w C/100))`: symptoms count in full, the voice fills part of what they leave.
fn by_rules(model: &Model, symptoms: &Symptoms, acoustic: Option<&Acoustic>) -> Combined {
    let room = 1.0 - symptoms.score() / 100.0;
    let mut contributions: Vec<Contribution> = symptoms.points.iter().map(overall).collect();
    let mut voice = 0.0;
    if let Some(acoustic) = acoustic {
        let k = &model.combination;
        let weight = if acoustic.personal { k.voice_weight } else { k.fallback_voice_weight };
        for (factor, points, explanation) in [
            ("voice_change", acoustic.level_points, voice_words(acoustic)),
            ("voice_shift_lasting", acoustic.lasting_points, "the change has held over several calls".to_owned()),
        ] {
            let points = weight * points * room;
            if points > 0.0 {
                voice += points;
                contributions.push(Contribution {
                    score: ScoreName::Overall,
                    factor: factor.into(),
                    points,
                    explanation,
                });
            }
        }
    }
    let without_voice = symptoms.score();
    Combined { score: (without_voice + voice).min(100.0), without_voice, contributions }
}

fn by_calibration(calibration: Calibration, rules: &Combined) -> Combined {
    let score = 100.0 * calibration.probability(rules.score);
    let base = 100.0 * calibration.probability(0.0);
    let given: f64 = rules.contributions.iter().map(|contribution| contribution.points).sum();
    let mut contributions = vec![base_rate(base)];
    if given > 0.0 {
        let factor = (score - base) / given;
        contributions.extend(rules.contributions.iter().map(|known| {
            let mut known = known.clone();
            known.points *= factor;
            known
        }));
    }
    Combined { score, without_voice: 100.0 * calibration.probability(rules.without_voice), contributions }
}

fn by_logistic(logistic: &Logistic, features: &Features) -> Combined {
    let terms = logistic.terms(features);
    let sum: f64 = terms.iter().map(|(_, log_odds)| log_odds).sum();
    let voice: f64 = terms.iter().filter(|(feature, _)| feature.is_voice()).map(|(_, log_odds)| log_odds).sum();
    let slope = mean_slope(logistic.intercept, sum);
    let mut contributions = vec![base_rate(100.0 * sigmoid(logistic.intercept))];
    contributions.extend(terms.iter().map(|(feature, log_odds)| Contribution {
        score: ScoreName::Overall,
        factor: feature.name(),
        points: 100.0 * slope * log_odds,
        explanation: match features.get(feature).copied().flatten() {
            Some(value) => format!("{value:.1}: {log_odds:+.2} log-odds"),
            None => format!("not known: {log_odds:+.2} log-odds"),
        },
    }));
    Combined {
        score: 100.0 * sigmoid(logistic.intercept + sum),
        without_voice: 100.0 * sigmoid(logistic.intercept + sum - voice),
        contributions,
    }
}

fn base_rate(points: f64) -> Contribution {
    let explanation = "how often the outcome follows a call without anything remarkable".to_owned();
    Contribution { score: ScoreName::Overall, factor: "base_rate".into(), points, explanation }
}

pub(super) fn overall(point: &Point) -> Contribution {
    named(ScoreName::Overall, point)
}

pub(super) fn named(score: ScoreName, point: &Point) -> Contribution {
    Contribution { score, factor: point.factor.into(), points: point.points, explanation: point.explanation.clone() }
}

/// The measures that moved most, in words.
pub(super) fn voice_words(acoustic: &Acoustic) -> String {
    let mut moved: Vec<_> = acoustic.deviations.iter().filter(|deviation| deviation.z >= 1.0).collect();
    moved.sort_by(|a, b| b.z.total_cmp(&a.z));
    let than = if acoustic.personal { "than in the patient's own dry calls" } else { "than usual for others" };
    let words: Vec<String> = moved
        .iter()
        .take(3)
        .map(|deviation| {
            let way = if deviation.value > deviation.centre { "higher" } else { "lower" };
            format!("{} {way} ({:.2} against {:.2})", deviation.measure.label(), deviation.value, deviation.centre)
        })
        .collect();
    if words.is_empty() {
        format!("several measures a little worse {than}")
    } else {
        format!("{} {than}", words.join(", "))
    }
}

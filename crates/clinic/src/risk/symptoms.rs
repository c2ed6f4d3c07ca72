//! Points of symptoms: what the patient said, weighed by the model, with the questions that stayed open.

use super::model::Model;
use super::profile::Profile;
use crate::answers::{Answer, Topic, WeightReport};
use crate::facts::CallFacts;

/// Weights outside of this are not weights of adults in kilograms.
const PLAUSIBLE_WEIGHT_KG: std::ops::RangeInclusive<f64> = 25.0..=400.0;

/// Topics that carry points.
pub(crate) const SCORED: [Topic; 8] = [
    Topic::Dyspnea,
    Topic::Orthopnea,
    Topic::NocturnalDyspnea,
    Topic::Swelling,
    Topic::Bloating,
    Topic::Weight,
    Topic::Medications,
    Topic::Dizziness,
];

/// Points for one symptom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) factor: &'static str,
    pub(crate) topic: Option<Topic>,
    pub(crate) points: f64,
    pub(crate) explanation: String,
}

/// What the answers of a call come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Symptoms {
    /// One for each symptom that was reported.
    pub(crate) points: Vec<Point>,
    /// Topics with an answer that could be understood.
    pub(crate) answered: Vec<Topic>,
    /// Topics that were asked, or should have been, and have none.
    pub(crate) open: Vec<Topic>,
    /// Identifiers of the questions that stayed open.
    pub(crate) open_questions: Vec<String>,
    /// Questions on which sources disagree.
    pub(crate) conflicts: usize,
    /// Weight today.
    pub(crate) weight_kg: Option<f64>,
    /// A weight was given that cannot be true beside the earlier ones.
    pub(crate) weight_implausible: bool,
    /// A weight was given, and nothing to compare it with.
    pub(crate) weight_incomparable: bool,
}

impl Symptoms {
    /// Sum of the points, which may exceed 100.
    pub(crate) fn sum(&self) -> f64 {
        self.points.iter().map(|point| point.points).sum()
    }

    /// The symptom score.
    pub(crate) fn score(&self) -> f64 {
        self.sum().min(100.0)
    }

    /// Points of one topic.
    pub(crate) fn of(&self, topic: Topic) -> f64 {
        self.points.iter().filter(|point| point.topic == Some(topic)).map(|point| point.points).sum()
    }

    /// Share of the questions with points that were answered.
    pub(crate) fn answered_share(&self) -> f64 {
        let all = self.answered.len() + self.open.len();
        if all == 0 { 0.0 } else { self.answered.len() as f64 / all as f64 }
    }
}

/// Most points a topic can give.
pub(crate) fn worst(model: &Model, topic: Topic) -> f64 {
    let s = &model.symptoms;
    match topic {
        Topic::Dyspnea => s.dyspnea_at_rest,
        Topic::Orthopnea => s.orthopnea,
        Topic::NocturnalDyspnea => s.nocturnal_dyspnea,
        Topic::Swelling => s.swelling_worse,
        Topic::Bloating => s.bloating,
        Topic::Dizziness => s.dizziness,
        Topic::Medications => s.missed_3_doses_or_more,
        Topic::Weight => model.weight.rules.iter().map(|rule| rule.points).fold(model.weight.over_dry_points, f64::max),
        Topic::Feeling | Topic::YesNo | Topic::Number | Topic::Text => 0.0,
    }
}

/// The points of `call`, given the calls before it and how many days before `profile.today` it took place.
pub(crate) fn score(
    model: &Model,
    profile: &Profile,
    past: &[&CallFacts],
    call: &CallFacts,
    days_ago: f64,
) -> Symptoms {
    let mut symptoms = Symptoms::default();
    if call.identified {
        let asked: Vec<&Answer> = call.answers.iter().filter(|answer| SCORED.contains(&answer.topic)).collect();
        for topic in SCORED {
            score_topic(model, profile, past, call, topic, &mut symptoms);
        }
        if asked.is_empty() {
            // A call that broke off before its questions were set down asked nothing, and so knows nothing.
            symptoms.open = SCORED.to_vec();
            symptoms.open_questions = SCORED.iter().map(|topic| topic.as_str().to_owned()).collect();
        }
        symptoms.conflicts = asked.iter().filter(|answer| !answer.conflicts.is_empty()).count();
    }
    if let Some(days) = profile.days_since_discharge(days_ago)
        && (0..model.symptoms.recent_discharge_days).contains(&days)
    {
        let explanation = format!("left hospital {days} days ago");
        let points = model.symptoms.recent_discharge;
        symptoms.points.push(Point { factor: "recent_discharge", topic: None, points, explanation });
    }
    symptoms.points.retain(|point| point.points > 0.0);
    symptoms
}

/// Several questions may be about one topic; the worst answer counts, and one open question leaves no gap then.
fn score_topic(
    model: &Model,
    profile: &Profile,
    past: &[&CallFacts],
    call: &CallFacts,
    topic: Topic,
    symptoms: &mut Symptoms,
) {
    let mut best: Option<Option<Point>> = None;
    let mut open = Vec::new();
    for answer in call.answers.iter().filter(|answer| answer.topic == topic) {
        let read = match topic {
            Topic::Weight => {
                answer.weight().and_then(|report| read_weight(model, profile, past, call, report, symptoms))
            }
            _ => read_choice(model, answer),
        };
        match read {
            None => open.push(answer.question.clone()),
            Some(point) => {
                let points = |point: &Option<Point>| point.as_ref().map_or(-1.0, |point| point.points);
                if best.as_ref().is_none_or(|known| points(&point) > points(known)) {
                    best = Some(point);
                }
            }
        }
    }
    match best {
        Some(point) => {
            symptoms.answered.push(topic);
            symptoms.points.extend(point);
        }
        None if !open.is_empty() => {
            symptoms.open.push(topic);
            symptoms.open_questions.append(&mut open);
        }
        None => {}
    }
}

/// `None` without an answer that can be understood; `Some(None)` for a symptom that is not there.
fn read_choice(model: &Model, answer: &Answer) -> Option<Option<Point>> {
    let s = &model.symptoms;
    let topic = answer.topic;
    let point = |factor, points, explanation: &str| {
        Some(Some(Point { factor, topic: Some(topic), points, explanation: explanation.to_owned() }))
    };
    let yes = |factor, points, explanation: &str| {
        if answer.yes()? { point(factor, points, explanation) } else { Some(None) }
    };
    match topic {
        Topic::Dyspnea => match answer.text()? {
            "none" | "usual" => Some(None),
            "exertion" => {
                point("dyspnea_on_exertion", s.dyspnea_on_exertion, "new or worse breathlessness on exertion")
            }
            "rest" => point("dyspnea_at_rest", s.dyspnea_at_rest, "breathless at rest"),
            _ => None,
        },
        Topic::Swelling => match answer.text()? {
            "none" | "usual" => Some(None),
            "worse" => point("swelling_worse", s.swelling_worse, "more swelling of legs, ankles or feet"),
            _ => None,
        },
        Topic::Medications => match answer.text()? {
            "as_prescribed" => Some(None),
            "missed_1_2" => point("missed_medication", s.missed_1_2_doses, "missed one or two doses"),
            "missed_3_plus" => point("missed_medication", s.missed_3_doses_or_more, "missed three doses or more"),
            _ => None,
        },
        Topic::Orthopnea => yes("orthopnea", s.orthopnea, "cannot lie flat, or needs more pillows"),
        Topic::NocturnalDyspnea => yes("nocturnal_dyspnea", s.nocturnal_dyspnea, "woke short of breath"),
        Topic::Bloating => yes("bloating", s.bloating, "bloating or early fullness"),
        Topic::Dizziness => yes("dizziness", s.dizziness, "dizziness"),
        Topic::Weight | Topic::Feeling | Topic::YesNo | Topic::Number | Topic::Text => None,
    }
}

/// The weight a call gave, if it is one.
pub(crate) fn weight_kg(call: &CallFacts) -> Option<f64> {
    let weights = call.answers.iter().filter(|answer| answer.topic == Topic::Weight);
    weights.filter_map(|answer| answer.weight()?.weight_kg).find(|kg| PLAUSIBLE_WEIGHT_KG.contains(kg))
}

/// A gain over a time, and what it is measured against.
struct Gain {
    kg: f64,
    days: f64,
    against: Against,
}

enum Against {
    Call,
    OwnWords,
    DryWeight,
}

fn read_weight(
    model: &Model,
    profile: &Profile,
    past: &[&CallFacts],
    call: &CallFacts,
    report: WeightReport,
    symptoms: &mut Symptoms,
) -> Option<Option<Point>> {
    let rules = &model.weight;
    let today = report.weight_kg.filter(|kg| PLAUSIBLE_WEIGHT_KG.contains(kg));
    let mut gains = Vec::new();
    if let Some(kg) = report.change_kg.filter(|kg| kg.is_finite()) {
        let days = f64::from(report.days.unwrap_or(rules.unstated_days));
        gains.push(Gain { kg, days, against: Against::OwnWords });
    }
    if let Some(kg) = today {
        symptoms.weight_kg = today;
        for earlier in past.iter().filter(|earlier| earlier.identified) {
            let days = (call.at_us - earlier.at_us) as f64 / super::profile::DAY_US;
            if let Some(before) = weight_kg(earlier).filter(|_| days <= 7.5) {
                gains.push(Gain { kg: kg - before, days, against: Against::Call });
            }
        }
        if let Some(dry) = profile.dry_weight_kg.filter(|kg| PLAUSIBLE_WEIGHT_KG.contains(kg)) {
            gains.push(Gain { kg: kg - dry, days: 0.0, against: Against::DryWeight });
        }
    }
    symptoms.weight_implausible |= report.weight_kg.is_some() && today.is_none();
    symptoms.weight_incomparable |= today.is_some() && gains.is_empty();
    let given = gains.len();
    gains.retain(|gain| gain.kg.abs() <= rules.largest_plausible_change_kg);
    symptoms.weight_implausible |= gains.len() < given;
    if gains.is_empty() && (today.is_none() || given > 0) {
        return None;
    }
    let mut best: Option<Point> = None;
    for gain in gains {
        let points = points_of(model, &gain);
        if points > best.as_ref().map_or(0.0, |known| known.points) {
            let explanation = gain.explanation();
            best = Some(Point { factor: "weight_gain", topic: Some(Topic::Weight), points, explanation });
        }
    }
    Some(best)
}

fn points_of(model: &Model, gain: &Gain) -> f64 {
    // Scales show tenths; 2.2600000001 and 2.26 are the same.
    const ROUNDING_KG: f64 = 1e-6;
    let reached = |kg: f64| gain.kg + ROUNDING_KG >= kg;
    match gain.against {
        Against::DryWeight if reached(model.weight.over_dry_kg) => model.weight.over_dry_points,
        Against::DryWeight => 0.0,
        Against::Call | Against::OwnWords => {
            let rules = model.weight.rules.iter().filter(|rule| reached(rule.gain_kg) && gain.days <= rule.within_days);
            rules.map(|rule| rule.points).fold(0.0, f64::max)
        }
    }
}

impl Gain {
    fn explanation(&self) -> String {
        let days = self.days.round().max(1.0);
        let unit = if days > 1.0 { "days" } else { "day" };
        match self.against {
            Against::Call => format!("{:+.1} kg in {days} {unit}", self.kg),
            Against::OwnWords => format!("{:+.1} kg in {days} {unit}, by the patient's own account", self.kg),
            Against::DryWeight => format!("{:+.1} kg over dry weight", self.kg),
        }
    }
}

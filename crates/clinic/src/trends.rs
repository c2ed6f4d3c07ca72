//! How a value went over the calls of a patient: the series, what is normal for this person, and where it changed.
//!
//! A chart draws [`Trend`] as it is. What a telephone line or another task measured is never drawn over the band of
//! another: each point names both.

use crate::CallId;
use crate::facts::CallFacts;
use crate::risk::change::ChangeDetector;
use crate::risk::history::{self, Entry};
use crate::risk::measure::{Measure, SpeechSource};
use crate::risk::{Model, Profile, RiskBand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// Weight in kilograms, as patients report it.
pub const WEIGHT: &str = "weight_kg";
/// Overall risk.
pub const RISK: &str = "risk";
/// The composite of the voice, in deviations towards congestion.
pub const VOICE: &str = "voice_composite";

/// Weights of so many dry calls make the band of a patient without a recorded dry weight.
const DRY_WEIGHTS: usize = 10;
/// The composite of a healthy voice lies within this almost always.
const COMPOSITE_BAND: f64 = 2.0;

/// There is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such measure; there are {known}")]
pub struct UnknownMeasure {
    /// What there is.
    pub known: String,
}

/// One call in a series.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendPoint {
    /// The call.
    pub call_id: CallId,
    /// When it began, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// The value; `None` when it could not be measured or was not asked.
    pub value: Option<f64>,
    /// Whether it may be compared.
    pub usable: bool,
    /// What the person was doing, for measures of the voice.
    pub source: Option<SpeechSource>,
    /// What carried the voice, for measures of the voice.
    pub line: Option<String>,
}

/// What is normal for this person now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrendBand {
    /// The middle.
    pub centre: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Calls it rests on; 0 for what a clinician recorded.
    pub calls: usize,
}

/// What kind of change was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The moving average crossed its limit.
    Ewma,
    /// The cumulative sum crossed its limit.
    Cusum,
    /// A gain of weight reached a rule.
    WeightRule,
    /// The band of the risk rose.
    BandRose,
}

/// A change, always for the worse.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendChange {
    /// The call at which it was found.
    pub call_id: CallId,
    /// When that was.
    pub at_us: i64,
    /// What was found.
    pub kind: ChangeKind,
}

/// The course of one value. PHI.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Name of the value, with its unit.
    pub measure: &'static str,
    /// Words for people.
    pub label: &'static str,
    /// All calls, the oldest first.
    pub points: Vec<TrendPoint>,
    /// What is normal, once that is known.
    pub baseline: Option<TrendBand>,
    /// Changes, the oldest first.
    pub changes: Vec<TrendChange>,
}

/// Names of everything that has a trend.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names = vec![RISK, WEIGHT, VOICE];
    names.extend(Measure::ALL.iter().map(|measure| measure.as_str()));
    names
}

/// The course of one value over `facts`, in any order. `profile.today` is the day of the newest of them.
///
/// # Errors
/// [`UnknownMeasure`] for a name that is not one of [`names`].
pub fn trend(name: &str, facts: &[CallFacts], profile: &Profile, model: &Model) -> Result<Trend, UnknownMeasure> {
    let known = names();
    if !known.contains(&name) {
        return Err(UnknownMeasure { known: known.join(", ") });
    }
    let entries = walk(facts, profile, model);
    Ok(build(name, &entries, profile, model))
}

/// The courses of all values, at the price of one.
#[must_use]
pub fn trends(facts: &[CallFacts], profile: &Profile, model: &Model) -> Vec<Trend> {
    let entries = walk(facts, profile, model);
    names().into_iter().map(|name| build(name, &entries, profile, model)).collect()
}

fn walk<'a>(facts: &'a [CallFacts], profile: &Profile, model: &Model) -> Vec<Entry<'a>> {
    let mut entries = history::walk(model, profile, &facts.iter().collect::<Vec<_>>());
    // Nothing of a call with somebody else belongs to the patient.
    entries.retain(|entry| entry.call.identified);
    entries
}

fn build(name: &str, entries: &[Entry<'_>], profile: &Profile, model: &Model) -> Trend {
    match (name, Measure::parse(name)) {
        (_, Some(measure)) => of_measure(measure, entries, model),
        (WEIGHT, None) => of_weight(entries, profile, model),
        (VOICE, None) => of_composite(entries),
        _ => of_risk(entries, model),
    }
}

fn of_measure(measure: Measure, entries: &[Entry<'_>], model: &Model) -> Trend {
    let sources = model.spec(measure).map(|spec| spec.sources.as_slice()).unwrap_or_default();
    let mut baseline = None;
    let mut changes = Vec::new();
    let mut points = Vec::new();
    let mut detector = ChangeDetector::default();
    let mut line: Option<&String> = None;
    for entry in entries.iter().filter(|entry| entry.voice.tasks > 0) {
        let found = entry.voice.first(measure, sources);
        points.push(TrendPoint {
            value: found.map(|found| found.value),
            usable: found.is_some(),
            source: found.map(|found| found.source),
            line: entry.voice.signature.clone(),
            ..point(entry, None)
        });
        let own = entry.step.acoustic.as_ref().filter(|acoustic| acoustic.personal);
        let Some(deviation) = own.and_then(|own| own.deviations.iter().find(|d| d.measure == measure)) else {
            continue;
        };
        if line.is_some_and(|line| Some(line) != entry.voice.signature.as_ref()) {
            detector = ChangeDetector::default();
        }
        line = entry.voice.signature.as_ref();
        let before = detector;
        detector.step(&model.change, deviation.z);
        let rules = &model.change;
        let kinds = [
            (ChangeKind::Ewma, detector.ewma_alarm(rules) && !before.ewma_alarm(rules)),
            (ChangeKind::Cusum, detector.cusum_alarm(rules) && !before.cusum_alarm(rules)),
        ];
        changes.extend(kinds.into_iter().filter(|(_, crossed)| *crossed).map(|(kind, _)| change(entry, kind)));
        let (centre, low, high) = (deviation.centre, deviation.low, deviation.high);
        baseline = Some(TrendBand { centre, low, high, calls: entry.step.calls });
    }
    Trend { measure: measure.as_str(), label: measure.label(), points, baseline, changes }
}

fn of_composite(entries: &[Entry<'_>]) -> Trend {
    let mut changes = Vec::new();
    let mut points = Vec::new();
    let mut calls = 0;
    let (mut ewma, mut cusum) = (false, false);
    for entry in entries.iter().filter(|entry| entry.voice.tasks > 0) {
        let own = entry.step.acoustic.as_ref().filter(|acoustic| acoustic.personal);
        let line = entry.voice.signature.clone();
        points.push(TrendPoint { usable: own.is_some(), line, ..point(entry, own.map(|own| own.composite)) });
        let Some(own) = own else { continue };
        calls = entry.step.calls;
        if own.ewma_alarm && !ewma {
            changes.push(change(entry, ChangeKind::Ewma));
        }
        if own.cusum_alarm && !cusum {
            changes.push(change(entry, ChangeKind::Cusum));
        }
        (ewma, cusum) = (own.ewma_alarm, own.cusum_alarm);
    }
    let band = TrendBand { centre: 0.0, low: -COMPOSITE_BAND, high: COMPOSITE_BAND, calls };
    Trend { measure: VOICE, label: "voice, towards congestion", points, baseline: (calls > 0).then_some(band), changes }
}

fn of_weight(entries: &[Entry<'_>], profile: &Profile, model: &Model) -> Trend {
    let points = entries.iter().map(|entry| point(entry, entry.symptoms.weight_kg)).collect();
    let gained = |entry: &Entry<'_>| entry.symptoms.points.iter().any(|point| point.factor == "weight_gain");
    let mut changes = Vec::new();
    let mut before = false;
    for entry in entries {
        if gained(entry) && !before {
            changes.push(change(entry, ChangeKind::WeightRule));
        }
        before = gained(entry);
    }
    let within = model.baseline.dry_weight_within_kg;
    let band = |centre: f64, calls| TrendBand { centre, low: centre - within, high: centre + within, calls };
    let baseline = profile.dry_weight_kg.map(|kg| band(kg, 0)).or_else(|| {
        let dry = entries
            .iter()
            .rev()
            .filter(|entry| entry.call.dry_confirmed || entry.symptoms.score() < model.baseline.dry_points_below);
        let mut weights: Vec<f64> = dry.filter_map(|entry| entry.symptoms.weight_kg).take(DRY_WEIGHTS).collect();
        weights.sort_by(f64::total_cmp);
        let middle = weights.get(weights.len() / 2).copied()?;
        (weights.len() >= model.baseline.min_calls).then(|| band(middle, weights.len()))
    });
    Trend { measure: WEIGHT, label: "weight", points, baseline, changes }
}

fn of_risk(entries: &[Entry<'_>], model: &Model) -> Trend {
    let mut changes = Vec::new();
    let mut before = RiskBand::Routine;
    let mut points = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let emergency = !entry.call.red_flags.is_empty();
        let value = if emergency { Some(100.0) } else { entry.combined.as_ref().map(|combined| combined.score) };
        points.push(point(entry, value));
        let band = crate::risk::band_of(model, entries.get(..=index).unwrap_or_default(), emergency);
        if band == RiskBand::NotInterpretable {
            continue;
        }
        if band > before {
            changes.push(change(entry, ChangeKind::BandRose));
        }
        before = band;
    }
    Trend { measure: RISK, label: "overall risk", points, baseline: None, changes }
}

fn point(entry: &Entry<'_>, value: Option<f64>) -> TrendPoint {
    TrendPoint {
        call_id: entry.call.call_id.clone(),
        at_us: entry.call.at_us,
        value,
        usable: value.is_some(),
        source: None,
        line: None,
    }
}

fn change(entry: &Entry<'_>, kind: ChangeKind) -> TrendChange {
    TrendChange { call_id: entry.call.call_id.clone(), at_us: entry.call.at_us, kind }
}

impl Trend {
    /// The form programs see; times are RFC 3339 in UTC.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let time = |at_us: i64| Timestamp::from_microsecond(at_us).ok().map(|time| time.to_string());
        let points = self.points.iter().map(|point| {
            json!({
                "time": time(point.at_us),
                "call_id": point.call_id,
                "value": point.value,
                "usable": point.usable,
                "source": point.source,
                "line": point.line,
            })
        });
        let changes = self
            .changes
            .iter()
            .map(|change| json!({"time": time(change.at_us), "call_id": change.call_id, "kind": change.kind}));
        json!({
            "measure": self.measure,
            "label": self.label,
            "points": points.collect::<Vec<_>>(),
            "baseline": self.baseline,
            "changes": changes.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::risk::testing::{call, healthy, profile, voiced, weight, with};
    use crate::training::random::Random;

    fn of(name: &str, facts: &[CallFacts]) -> Trend {
        trend(name, facts, &profile(), &Model::default()).unwrap()
    }

    #[test]
    fn a_changed_voice_shows_where_it_changed_and_what_was_normal() {
        let mut random = Random::new(1);
        let mut facts = healthy(20, &mut random);
        facts.extend((20..30).map(|day| voiced(call(day), 2.0, &mut random)));
        random.shuffle(&mut facts);
        let trend = of("cpps_4khz_db", &facts);
        assert_eq!(trend.points.len(), 30);
        assert!(trend.points.windows(2).all(|pair| pair[0].at_us < pair[1].at_us));
        let band = trend.baseline.unwrap();
        assert!((band.centre - 15.0).abs() < 1.0 && band.low < 14.5 && band.high > 15.5 && band.calls >= 5, "{band:?}");
        let first = trend.changes.iter().find(|change| change.at_us >= call(20).at_us).unwrap();
        assert!(first.at_us <= call(26).at_us, "found too late");
        let whole = of(VOICE, &facts);
        assert!(whole.changes.iter().any(|change| change.kind == ChangeKind::Cusum));
    }

    #[test]
    fn weight_has_the_clinics_dry_weight_as_its_normal() {
        let mut facts: Vec<CallFacts> = (0..4).map(call).collect();
        facts.push(with(call(4), weight(Some(72.3), None, None)));
        let trend = of(WEIGHT, &facts);
        assert_eq!(trend.baseline, Some(TrendBand { centre: 70.0, low: 69.0, high: 71.0, calls: 0 }));
        let [change] = &trend.changes[..] else { unreachable!() };
        assert_eq!((change.at_us, change.kind), (facts[4].at_us, ChangeKind::WeightRule));
        assert_eq!(trend.points[4].value, Some(72.3));
    }

    #[test]
    fn risk_shows_when_it_rose_and_gaps_where_it_is_not_known() {
        let mut facts: Vec<CallFacts> = (0..4).map(call).collect();
        facts[1].answers.clear();
        facts[2].red_flags = vec![crate::risk::testing::red_flag("chest_pain")];
        facts[3].identified = false;
        let trend = of(RISK, &facts);
        let values: Vec<_> = trend.points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(0.0), None, Some(100.0)]);
        assert_eq!(trend.changes.len(), 1);
        let json = trend.to_json();
        assert_eq!(json["changes"][0]["kind"], "band_rose");
        assert!(json["points"][1]["value"].is_null());
    }

    #[test]
    fn every_name_has_a_trend_and_others_are_refused() {
        let facts = healthy(3, &mut Random::new(2));
        let all = trends(&facts, &profile(), &Model::default());
        assert_eq!(all.iter().map(|trend| trend.measure).collect::<Vec<_>>(), names());
        assert_eq!(all[3], of(names()[3], &facts));
        assert!(all.iter().all(|trend| trend.points.iter().all(|point| point.value.is_none_or(f64::is_finite))));
        let error = trend("mood", &facts, &profile(), &Model::default()).unwrap_err();
        assert!(error.to_string().contains("weight_kg"));
        assert!(of(WEIGHT, &[]).points.is_empty());
    }
}

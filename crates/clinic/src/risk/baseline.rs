//! The person's own normal: the voice of earlier dry calls on the same line, and how far the voice of today is from it.
//!
//! A tracker takes calls of one line in order of time. Each is compared with the calls the baseline holds so far,
//! moves the change detection, and may then join the baseline itself. Until five calls are together, voices of others
//! stand in, with wide margins.

use super::change::ChangeDetector;
use super::measure::{Measure, SpeechSource};
use super::model::{MeasureSpec, Model};
use super::profile::DAY_US;
use super::voice_summary::VoiceSummary;
use crate::Sex;
use serde::Serialize;

/// Scales a median absolute deviation to a standard deviation.
const MAD_TO_SD: f64 = 1.4826;
/// The band shown around a centre, in spreads.
const BAND_SPREADS: f64 = 2.0;
/// Fewer baseline calls do not give a standard deviation of the composite.
const MIN_COMPOSITES: usize = 3;

/// How far the baseline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineState {
    /// No dry call yet.
    None,
    /// Some, not enough.
    Forming,
    /// Enough to compare with.
    Established,
}

/// A measure today beside what is normal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Deviation {
    /// Which measure.
    pub measure: Measure,
    /// In which task.
    pub source: SpeechSource,
    /// Today's value, in the measure's unit.
    pub value: f64,
    /// The middle of the baseline (or of the norm), in the measure's unit.
    pub centre: f64,
    /// Lower end of the band, two spreads from the centre.
    pub low: f64,
    /// Upper end of the band.
    pub high: f64,
    /// Distance in spreads; positive is the direction of congestion.
    pub z: f64,
}

/// What the voice of a call says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Acoustic {
    /// True with an own baseline, false where norms stood in.
    pub personal: bool,
    /// Each measure that could be compared.
    pub deviations: Vec<Deviation>,
    /// Composite of the day.
    pub composite: f64,
    /// Share of the weights that could be compared.
    pub weight_share: f64,
    /// Moving average of the composite.
    pub ewma: f64,
    /// Whether it is above its limit.
    pub ewma_alarm: bool,
    /// Cumulative sum of the composite.
    pub cusum: f64,
    /// Whether it is above its limit.
    pub cusum_alarm: bool,
    /// Points from the moving average, 0 to 100.
    pub level_points: f64,
    /// Points from the cumulative sum.
    pub lasting_points: f64,
}

impl Acoustic {
    /// The acoustic score, 0 to 100.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.level_points + self.lasting_points
    }
}

/// A call as the baseline sees it.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    pub(crate) at_us: i64,
    pub(crate) voice: VoiceSummary,
    /// Free of congestion, by rule or by a clinician's word.
    pub(crate) dry: bool,
    /// By a clinician's word.
    pub(crate) confirmed: bool,
    /// Must not move the baseline.
    pub(crate) frozen: bool,
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) calls: usize,
    pub(crate) state: BaselineState,
    /// Measures that could be compared, enough for a composite or not.
    pub(crate) deviations: Vec<Deviation>,
    /// `None` when too little could be compared.
    pub(crate) acoustic: Option<Acoustic>,
    /// Baseline calls were analysed by another version.
    pub(crate) other_engine: bool,
}

/// The normal of one measure.
#[derive(Debug, Clone, Copy)]
struct Reference<'m> {
    spec: &'m MeasureSpec,
    source: SpeechSource,
    centre: f64,
    spread: f64,
}

impl Reference<'_> {
    fn z(&self, value: f64, limit: f64) -> f64 {
        let x = self.spec.scale.forward(value, self.spec.log_minimum.unwrap_or(0.0));
        (self.spec.sign * (x - self.centre) / self.spread).clamp(-limit, limit)
    }

    fn deviation(&self, value: f64, limit: f64) -> Deviation {
        let back = |spreads: f64| self.spec.scale.back(self.centre + spreads * self.spread);
        Deviation {
            measure: self.spec.measure,
            source: self.source,
            value,
            centre: back(0.0),
            low: back(-BAND_SPREADS),
            high: back(BAND_SPREADS),
            z: self.z(value, limit),
        }
    }
}

/// Follows the voice on one line.
#[derive(Debug, Clone)]
pub(crate) struct Tracker<'m> {
    model: &'m Model,
    sex: Sex,
    members: Vec<Day>,
    detector: ChangeDetector,
    personal: bool,
}

impl<'m> Tracker<'m> {
    pub(crate) fn new(model: &'m Model, sex: Sex) -> Self {
        Self { model, sex, members: Vec::new(), detector: ChangeDetector::default(), personal: false }
    }

    /// Takes in the next call.
    pub(crate) fn step(&mut self, day: &Day) -> Step {
        let rules = &self.model.baseline;
        if self.members.len() < rules.min_calls {
            let oldest = day.at_us as f64 - rules.window_days * DAY_US;
            self.members.retain(|member| member.at_us as f64 >= oldest);
        }
        let calls = self.members.len();
        let personal = calls >= rules.min_calls;
        if personal != self.personal {
            // What was found against norms says nothing against the person's own voice.
            self.detector = ChangeDetector::default();
            self.personal = personal;
        }
        let references = self.references(day, personal);
        let limit = rules.z_limit;
        let deviations: Vec<Deviation> = references
            .iter()
            .filter_map(|reference| {
                let value = day.voice.get(reference.spec.measure, reference.source)?;
                Some(reference.deviation(value, limit))
            })
            .collect();
        let acoustic = self.acoustic(day, &references, &deviations, personal);
        let other_engine = self.members.iter().any(|m| m.voice.engine_versions != day.voice.engine_versions);
        if day.confirmed {
            self.detector = ChangeDetector::default();
        }
        self.join(day);
        let state = match calls {
            0 => BaselineState::None,
            _ if personal => BaselineState::Established,
            _ => BaselineState::Forming,
        };
        Step { calls, state, deviations, acoustic, other_engine }
    }

    fn acoustic(
        &mut self,
        day: &Day,
        references: &[Reference<'m>],
        deviations: &[Deviation],
        personal: bool,
    ) -> Option<Acoustic> {
        let (rules, total) = (&self.model.baseline, self.model.total_weight());
        let (raw, weight) = weighted(references, &day.voice, rules.z_limit)?;
        let share = weight / total;
        if share < rules.min_weight_share {
            return None;
        }
        let sd = if personal { self.composite_sd(references) } else { 1.0 };
        // Cut like a single measure: one call alone must not decide anything.
        let composite = (raw / sd).clamp(-rules.z_limit, rules.z_limit) * share.sqrt();
        self.detector.step(&self.model.change, composite);
        let (change, points) = (&self.model.change, &self.model.voice_score);
        let mut level = 100.0 * ((self.detector.ewma - points.ewma_from) / points.ewma_span).clamp(0.0, 1.0);
        let cusum_alarm = self.detector.cusum_alarm(change);
        let mut lasting = if cusum_alarm { points.cusum_bonus.min(100.0 - level) } else { 0.0 };
        if !personal {
            level = level.min(points.fallback_cap);
            lasting = 0.0;
        }
        Some(Acoustic {
            personal,
            deviations: deviations.to_vec(),
            composite,
            weight_share: share,
            ewma: self.detector.ewma,
            ewma_alarm: self.detector.ewma_alarm(change),
            cusum: self.detector.cusum,
            cusum_alarm,
            level_points: level,
            lasting_points: lasting,
        })
    }

    /// The normal of every measure that `day` has.
    fn references(&self, day: &Day, personal: bool) -> Vec<Reference<'m>> {
        let specs = self.model.measures.iter();
        specs.filter_map(|spec| if personal { self.own(spec, day) } else { self.norm(spec, day) }).collect()
    }

    fn own(&self, spec: &'m MeasureSpec, day: &Day) -> Option<Reference<'m>> {
        let minimum = spec.log_minimum.unwrap_or(0.0);
        spec.sources.iter().filter(|&&source| day.voice.get(spec.measure, source).is_some()).find_map(|&source| {
            let values = self.members.iter().filter_map(|member| member.voice.get(spec.measure, source));
            let values: Vec<f64> = values.map(|value| spec.scale.forward(value, minimum)).collect();
            if values.len() < self.model.baseline.min_values_per_measure {
                return None;
            }
            let centre = median(&values)?;
            let distances: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
            let noise = spec.scale.spread(spec.noise, centre);
            Some(Reference { spec, source, centre, spread: (MAD_TO_SD * median(&distances)?).max(noise) })
        })
    }

    fn norm(&self, spec: &'m MeasureSpec, day: &Day) -> Option<Reference<'m>> {
        let norm = spec.norm.of(self.sex)?;
        let source = *spec.sources.iter().find(|&&source| day.voice.get(spec.measure, source).is_some())?;
        let centre = spec.scale.forward(norm.centre, spec.log_minimum.unwrap_or(0.0));
        let spread = spec.scale.spread(norm.spread, centre) * self.model.voice_score.fallback_spread_factor;
        Some(Reference { spec, source, centre, spread })
    }

    /// Standard deviation of the composite over the baseline calls, on the measures that today has.
    fn composite_sd(&self, references: &[Reference<'_>]) -> f64 {
        let rules = &self.model.baseline;
        let composites: Vec<f64> = self
            .members
            .iter()
            .filter_map(|member| weighted(references, &member.voice, rules.z_limit))
            .filter(|(_, weight)| *weight >= rules.min_weight_share * self.model.total_weight())
            .map(|(composite, _)| composite)
            .collect();
        if composites.len() < MIN_COMPOSITES {
            return rules.composite_sd_min.max(1.0);
        }
        let n = composites.len() as f64;
        let mean = composites.iter().sum::<f64>() / n;
        let variance = composites.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0);
        variance.sqrt().max(rules.composite_sd_min)
    }

    /// Lets a dry call join, unless the voice itself is in alarm: that would teach the baseline the illness.
    fn join(&mut self, day: &Day) {
        let (rules, change) = (&self.model.baseline, &self.model.change);
        let alarm = self.personal && (self.detector.ewma_alarm(change) || self.detector.cusum_alarm(change));
        if day.voice.values.is_empty() || !day.dry || day.frozen || (alarm && !day.confirmed) {
            return;
        }
        if self.members.len() >= rules.full_calls {
            let newest = self.members.iter().map(|member| member.at_us).max().unwrap_or(i64::MIN);
            // An hour's grace: weekly calls come a few minutes early or late.
            let due = newest as f64 + rules.replace_every_days * DAY_US - DAY_US / 24.0;
            if !day.confirmed && (day.at_us as f64) < due {
                return;
            }
            self.members.remove(0);
        }
        self.members.push(day.clone());
    }
}

/// Weighted mean of the deviations of a voice, and the weight that could be compared.
fn weighted(references: &[Reference<'_>], voice: &VoiceSummary, limit: f64) -> Option<(f64, f64)> {
    let mut sum = 0.0;
    let mut weight = 0.0;
    for reference in references {
        if let Some(value) = voice.get(reference.spec.measure, reference.source) {
            sum += reference.spec.weight * reference.z(value, limit);
            weight += reference.spec.weight;
        }
    }
    (weight > 0.0).then(|| (sum / weight, weight))
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(0.5 * (upper + sorted.get(sorted.len() / 2 - 1)?)) }
}

//! The model as data: every constant of the assessment, with what may stand in a file that somebody wrote or trained.
//!
//! The default is embedded and is the documented set of rules. A site may load another file of the same form, for
//! instance one that [`crate::training`] wrote; it is checked as a whole before it is used.

mod check;

pub(in crate::risk) use check::{field, require};

use super::logistic::{Calibration, Logistic};
use super::measure::{Measure, Scale, SpeechSource};
use crate::Sex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The embedded rules.
const DEFAULT: &str = include_str!("default_model.json");

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Not JSON, a field missing, unknown or of the wrong type.
    #[error("line {line}, column {column}: {reason}")]
    Syntax {
        /// Line in the file.
        line: usize,
        /// Column in the line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{field}: expected {expected}")]
    Field {
        /// Path of the field.
        field: String,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// All constants of an assessment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Form of the file.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Its version; changes with every constant.
    pub version: String,
    /// Points of symptoms.
    pub symptoms: SymptomPoints,
    /// Points of weight.
    pub weight: WeightRules,
    /// What is compared of the voice.
    pub measures: Vec<MeasureSpec>,
    /// How the person's own normal is found.
    pub baseline: BaselineRules,
    /// How a change is found.
    pub change: ChangeRules,
    /// How a change becomes points.
    pub voice_score: VoiceScoreRules,
    /// How symptoms and voice come together.
    pub combination: CombinationRules,
    /// Where bands begin.
    pub bands: Bands,
    /// The speech-effort score.
    pub speech_effort: EffortRules,
    /// The fluid-retention risk.
    pub fluid_retention: FluidRules,
    /// The breathlessness score.
    pub breathlessness: BreathRules,
    /// Takes the place of the combination: a score fitted to outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logistic: Option<Logistic>,
    /// Follows the combination: its score brought to the frequency of outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Where fitted parts come from: counts and performance, never patient data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Value>,
}

/// Points of each symptom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymptomPoints {
    /// Breathless at rest.
    pub dyspnea_at_rest: f64,
    /// New or worse breathlessness on exertion.
    pub dyspnea_on_exertion: f64,
    /// Woke short of breath.
    pub nocturnal_dyspnea: f64,
    /// Cannot lie flat.
    pub orthopnea: f64,
    /// More swelling.
    pub swelling_worse: f64,
    /// Bloating or early fullness.
    pub bloating: f64,
    /// One or two doses missed.
    pub missed_1_2_doses: f64,
    /// Three or more doses missed.
    pub missed_3_doses_or_more: f64,
    /// Dizziness.
    pub dizziness: f64,
    /// Left hospital lately.
    pub recent_discharge: f64,
    /// How many days "lately" is.
    pub recent_discharge_days: i32,
}

/// Points of weight; of several rules the one with most points counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRules {
    /// Gain over a time.
    pub rules: Vec<WeightRule>,
    /// Kilograms above dry weight.
    pub over_dry_kg: f64,
    /// Points for that.
    pub over_dry_points: f64,
    /// Days a change is taken for when the patient names none.
    pub unstated_days: u32,
    /// A larger change within a week is a slip of the tongue or of the unit.
    pub largest_plausible_change_kg: f64,
}

/// A gain of so much within so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRule {
    /// At least this gain.
    pub gain_kg: f64,
    /// In at most this time. Half a day more than the rule says, because calls do not come at the same hour.
    pub within_days: f64,
    /// Points.
    pub points: f64,
}

/// How a measure is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSpec {
    /// Which measure.
    pub measure: Measure,
    /// Its share in the composite of the day.
    pub weight: f64,
    /// 1 when congestion raises it, -1 when congestion lowers it.
    pub sign: f64,
    /// Scale of comparison.
    pub scale: Scale,
    /// Values below are taken for this one before the logarithm.
    pub log_minimum: Option<f64>,
    /// Measurement noise: the smallest spread of a baseline.
    pub noise: f64,
    /// Tasks it is taken from, the preferred one first.
    pub sources: Vec<SpeechSource>,
    /// Voices of others, for a person without an own baseline.
    pub norm: Norms,
}

/// Norms by sex.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norms {
    /// Women.
    pub female: Norm,
    /// Men.
    pub male: Norm,
}

/// A norm on a telephone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// The middle, in the measure's unit.
    pub centre: f64,
    /// One standard deviation, in the measure's unit (semitones for pitch).
    pub spread: f64,
}

/// How the person's own normal is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineRules {
    /// Calls from which on a baseline counts.
    pub min_calls: usize,
    /// Calls it holds at most.
    pub full_calls: usize,
    /// The first `min_calls` lie within so many days.
    pub window_days: f64,
    /// Baseline calls that must have a measure.
    pub min_values_per_measure: usize,
    /// A full baseline takes up a new call, for its oldest, once in so many days.
    pub replace_every_days: f64,
    /// A dry call has fewer symptom points.
    pub dry_points_below: f64,
    /// A dry call is this near to dry weight, where both are known.
    pub dry_weight_within_kg: f64,
    /// A dry call has this share of its symptom questions answered.
    pub dry_min_answered_share: f64,
    /// Deviations are cut here.
    pub z_limit: f64,
    /// Smallest standard deviation of the composite.
    pub composite_sd_min: f64,
    /// Share of the weights that must be measured for a composite.
    pub min_weight_share: f64,
}

/// How a change is found in the composite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRules {
    /// Share of the newest value in the moving average.
    pub ewma_lambda: f64,
    /// Limit of the moving average in its own standard deviations.
    pub ewma_limit_sigmas: f64,
    /// What a cumulative sum forgives per call.
    pub cusum_slack: f64,
    /// Limit of the cumulative sum.
    pub cusum_limit: f64,
}

impl ChangeRules {
    /// The limit of the moving average in units of the composite.
    #[must_use]
    pub fn ewma_limit(&self) -> f64 {
        self.ewma_limit_sigmas * (self.ewma_lambda / (2.0 - self.ewma_lambda)).sqrt()
    }
}

/// How a change becomes points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceScoreRules {
    /// Moving average at which points begin.
    pub ewma_from: f64,
    /// Distance from there to 100 points.
    pub ewma_span: f64,
    /// Points for a cumulative sum above its limit.
    pub cusum_bonus: f64,
    /// Most points without an own baseline.
    pub fallback_cap: f64,
    /// Norms are widened by this.
    pub fallback_spread_factor: f64,
}

/// How symptoms and voice come together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CombinationRules {
    /// Weight of the voice; at most 0.5, so that a voice alone cannot reach more than 50.
    pub voice_weight: f64,
    /// The same without an own baseline.
    pub fallback_voice_weight: f64,
    /// A rise by the voice alone must hold in so many …
    pub persistence_needed: usize,
    /// … of so many calls.
    pub persistence_of: usize,
}

/// Where bands begin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// Watch.
    pub watch: f64,
    /// Review on the same day.
    pub review: f64,
    /// Urgent.
    pub urgent: f64,
}

/// The speech-effort score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffortRules {
    /// Points of one deviation in every term.
    pub points_per_sd: f64,
    /// Share of the weights that must be measured.
    pub min_weight_share: f64,
    /// Terms; weights of missing ones go to the others.
    pub terms: Vec<EffortTerm>,
}

/// A term of the speech-effort score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffortTerm {
    /// Which measure.
    pub measure: Measure,
    /// Its weight.
    pub weight: f64,
}

/// The fluid-retention risk: symptom points of fluid, and a voice that may move it a little.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FluidRules {
    /// Most points the voice adds or takes.
    pub voice_modifier: f64,
    /// Moving average at which it does.
    pub voice_span: f64,
}

/// The breathlessness score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreathRules {
    /// No more than always.
    pub dyspnea_usual: f64,
    /// New or worse on exertion.
    pub dyspnea_on_exertion: f64,
    /// At rest.
    pub dyspnea_at_rest: f64,
    /// Cannot lie flat.
    pub orthopnea: f64,
    /// Woke short of breath.
    pub nocturnal_dyspnea: f64,
    /// Most points speech effort adds.
    pub voice_modifier: f64,
    /// Speech effort at which it does.
    pub voice_span: f64,
}

impl Default for Model {
    /// The embedded rules.
    ///
    /// # Panics
    /// Never: a test reads the embedded text.
    #[expect(clippy::expect_used, reason = "embedded text, read by a test")]
    fn default() -> Self {
        Self::from_json(DEFAULT).expect("the embedded model is valid")
    }
}

impl Model {
    /// Reads and checks a model.
    ///
    /// # Errors
    /// [`ModelError`] naming the place or the field at fault.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let model: Self = serde_json::from_str(text).map_err(|error| {
            let said = error.to_string();
            let reason = said.split(" at line ").next().unwrap_or("not a model").to_owned();
            ModelError::Syntax { line: error.line(), column: error.column(), reason }
        })?;
        model.check()?;
        Ok(model)
    }

    /// The file this model is kept in.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// How `measure` is compared.
    #[must_use]
    pub fn spec(&self, measure: Measure) -> Option<&MeasureSpec> {
        self.measures.iter().find(|spec| spec.measure == measure)
    }

    /// Sum of the weights of the composite.
    pub(crate) fn total_weight(&self) -> f64 {
        self.measures.iter().map(|spec| spec.weight).sum()
    }
}

impl Norms {
    /// The norm for a person of that sex: the mean of both where it is not known.
    ///
    /// `None` where the two differ so much that a mean would describe nobody.
    pub(crate) fn of(&self, sex: Sex) -> Option<Norm> {
        match sex {
            Sex::Female => Some(self.female),
            Sex::Male => Some(self.male),
            Sex::Other | Sex::Unknown => {
                let (a, b) = (self.female, self.male);
                let near = a.centre.max(b.centre) / a.centre.min(b.centre) < 1.35;
                near.then_some(Norm { centre: 0.5 * (a.centre + b.centre), spread: a.spread.max(b.spread) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_embedded_model_is_valid_and_survives_a_round_trip() {
        let model = Model::from_json(DEFAULT).unwrap();
        assert_eq!(Model::from_json(&model.to_json()).unwrap(), model);
        assert!((model.change.ewma_limit() - 1.0205).abs() < 1e-3);
    }

    #[test]
    fn each_mistake_in_a_file_is_named() {
        let cases: [(&str, Value, &str); 9] = [
            ("/format", 2.into(), "format"),
            ("/symptoms/orthopnea", (-1).into(), "symptoms.orthopnea"),
            ("/symptoms/dyspnea_at_rest", 10.into(), "symptoms"),
            ("/measures/0/weight", 0.5.into(), "measures"),
            ("/measures/1/measure", "pause_fraction".into(), "measures[1].measure"),
            ("/combination/voice_weight", 0.6.into(), "combination.voice_weight"),
            ("/bands/review", 90.into(), "bands"),
            ("/baseline/min_values_per_measure", 9.into(), "baseline.min_values_per_measure"),
            ("/change/ewma_lambda", 0.into(), "change.ewma_lambda"),
        ];
        for (pointer, value, said) in cases {
            let mut json: Value = serde_json::from_str(DEFAULT).unwrap();
            *json.pointer_mut(pointer).unwrap() = value;
            match Model::from_json(&json.to_string()).unwrap_err() {
                ModelError::Field { field, .. } => assert_eq!(field, said),
                other => assert_eq!(other.to_string(), said),
            }
        }
    }

    #[test]
    fn unknown_fields_are_refused_with_their_place() {
        let text = DEFAULT.replacen("\"format\": 1,", "\"format\": 1,\n  \"colour\": 1,", 1);
        let error = Model::from_json(&text).unwrap_err();
        assert!(matches!(error, ModelError::Syntax { line: 3, .. }), "{error}");
        assert!(error.to_string().contains("colour"));
    }
}

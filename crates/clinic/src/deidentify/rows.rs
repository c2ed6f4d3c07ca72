//! The rows of an export, one type for each table. A field that is not here does not leave.

use super::Pseudonym;
use serde::Serialize;
use std::collections::BTreeMap;

/// A patient.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PatientRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Whole years; 90 stands for 90 or older.
    pub age_years: Option<i64>,
    /// Sex as recorded.
    pub sex: Option<&'static str>,
    /// Language of the patient.
    pub language: Option<&'static str>,
    /// Whole kilograms.
    pub dry_weight_kg: Option<f64>,
    /// Day of the last discharge.
    pub discharged_day: Option<i64>,
    /// Calls in the export.
    pub calls: usize,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call among the patient's, from 1.
    pub call: usize,
    /// Day.
    pub day: i64,
    /// Quarter of the local day.
    pub time_of_day: Option<&'static str>,
    /// Who telephoned whom.
    pub direction: &'static str,
    /// How it ended up.
    pub outcome: &'static str,
    /// To ten seconds.
    pub duration_s: Option<f64>,
    /// Replies of the agent.
    pub turns: u32,
    /// Times the caller talked over the agent.
    pub interruptions: u32,
    /// Whether the patient was identified.
    pub identified: Option<bool>,
    /// Whether recording was agreed to.
    pub recording_consent: Option<bool>,
    /// Whether every item was gone through.
    pub complete: Option<bool>,
    /// Whether the nurse was reached.
    pub transferred: Option<bool>,
    /// Whether the words of a red flag were spoken.
    pub emergency_words_spoken: Option<bool>,
    /// Free of congestion, as a clinician confirmed.
    pub dry_confirmed: Option<bool>,
    /// An alert was open.
    pub alert_open: Option<bool>,
}

/// A question of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// What the question is about.
    pub topic: &'static str,
    /// Whether there is an answer.
    pub answered: bool,
    /// The choice.
    pub choice: Option<&'static str>,
    /// Yes or no.
    pub yes: Option<bool>,
    /// To 0.1 kg.
    pub weight_kg: Option<f64>,
    /// To 0.1 kg.
    pub weight_change_kg: Option<f64>,
    /// Days of the change.
    pub change_days: Option<u32>,
    /// Where the value came from.
    pub source: Option<&'static str>,
    /// Other sources that say something else.
    pub conflicts: usize,
}

/// A red flag of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedFlagRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// Which.
    pub code: &'static str,
    /// By what it was noticed.
    pub noticed_by: Option<&'static str>,
}

/// How a call was assessed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AssessmentRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// Version of the model.
    pub model_version: Option<String>,
    /// 0 to 100.
    pub overall_risk: Option<f64>,
    /// Every open question answered no.
    pub risk_low: Option<f64>,
    /// Every open question answered yes.
    pub risk_high: Option<f64>,
    /// What to do how soon.
    pub risk_band: Option<&'static str>,
    /// 0 to 100.
    pub fluid_retention_risk: Option<f64>,
    /// 0 to 100.
    pub breathlessness_score: Option<f64>,
    /// 0 to 100.
    pub speech_effort_score: Option<f64>,
    /// How far it can be relied on.
    pub confidence: Option<&'static str>,
    /// Calls in the baseline.
    pub baseline_calls: Option<u64>,
    /// How far the baseline is.
    pub baseline_state: Option<&'static str>,
}

/// A part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContributionRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// Which score.
    pub score: &'static str,
    /// What contributed.
    pub factor: &'static str,
    /// How much.
    pub points: f64,
}

/// A value a fitted model looks at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// Which.
    pub feature: String,
    /// Its value.
    pub value: Option<f64>,
}

/// A voice task of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VoiceRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call.
    pub call: usize,
    /// Number within the call, from 1.
    pub segment: usize,
    /// What the patient did.
    pub task: &'static str,
    /// Attempt at it.
    pub attempt: u32,
    /// Whether the measures may be used.
    pub usable: bool,
    /// Version of the analysis.
    pub engine_version: Option<String>,
    /// What carried the voice.
    pub channel: Option<&'static str>,
    /// Rate of the audio.
    pub sample_rate_hz: Option<u64>,
    /// To 0.1 s.
    pub duration_s: Option<f64>,
    /// Voiced time to 0.1 s.
    pub voiced_s: Option<f64>,
    /// Signal over noise.
    pub snr_db: Option<f64>,
    /// Share of samples at full scale.
    pub clipped_fraction: Option<f64>,
    /// What was doubtful, joined by blanks.
    pub quality_reasons: String,
    /// The measures.
    #[serde(flatten)]
    pub measures: BTreeMap<&'static str, Option<f64>>,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertRow {
    /// Whose row.
    pub patient: Pseudonym,
    /// Number of the call of its latest occurrence.
    pub call: Option<usize>,
    /// Day on which it was raised.
    pub day: i64,
    /// What it is about.
    pub kind: &'static str,
    /// The red flag, for alerts about one.
    pub code: Option<&'static str>,
    /// How soon a person had to look.
    pub severity: &'static str,
    /// Where it is in its life.
    pub status: &'static str,
    /// How often the matter was found.
    pub occurrences: u32,
    /// Minutes until it was taken up.
    pub acknowledged_after_min: Option<i64>,
    /// Minutes until it was resolved.
    pub resolved_after_min: Option<i64>,
}

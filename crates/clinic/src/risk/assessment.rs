//! The result of an assessment, with the names programs see.

use super::baseline::{Acoustic, BaselineState};
use super::feature::Features;
use crate::answers::Answer;
use crate::red_flags::RedFlag;
use crate::{CallId, PatientId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Who needs attention, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RiskBand {
    /// Nothing could be learned from the call.
    NotInterpretable,
    /// The next call as planned.
    Routine,
    /// Call again in a day or two.
    Watch,
    /// A clinician looks at it on the same day.
    Review,
    /// A clinician looks at it now.
    Urgent,
    /// A red flag.
    Emergency,
}

impl RiskBand {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotInterpretable => "not-interpretable",
            Self::Routine => "routine",
            Self::Watch => "watch",
            Self::Review => "review",
            Self::Urgent => "urgent",
            Self::Emergency => "emergency",
        }
    }
}

/// How far an assessment can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Much is missing.
    Low,
    /// Something is missing.
    Medium,
    /// Everything that was asked is there.
    High,
}

/// Which score a contribution explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreName {
    /// Overall risk.
    Overall,
    /// Fluid-retention risk.
    FluidRetention,
    /// Breathlessness score.
    Breathlessness,
    /// Speech-effort score.
    SpeechEffort,
}

/// A part of a score. The parts of a score add up to it, before it is cut to 0..100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The score it explains.
    pub score: ScoreName,
    /// Stable code.
    pub factor: String,
    /// Points.
    pub points: f64,
    /// For people. PHI.
    pub explanation: String,
}

/// A stable code with words for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Stable code.
    pub code: &'static str,
    /// Words.
    pub text: &'static str,
}

/// The assessment of one call. PHI.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The call.
    pub call_id: CallId,
    /// Name of the model.
    pub model_name: String,
    /// Its version.
    pub model_version: String,
    /// 0 to 100; `None` when the call cannot be interpreted.
    pub overall_risk: Option<f64>,
    /// The score if every open question were answered no, and yes.
    pub risk_interval: Option<[f64; 2]>,
    /// What to do how soon.
    pub band: RiskBand,
    /// 0 to 100; `None` when no question about fluid was answered.
    pub fluid_retention_risk: Option<f64>,
    /// 0 to 100; `None` when no question about breath was answered.
    pub breathlessness_score: Option<f64>,
    /// 0 to 100; `None` without enough usable audio.
    pub speech_effort_score: Option<f64>,
    /// Red flags of the call.
    pub red_flags: Vec<RedFlag>,
    /// Parts of all four scores.
    pub contributions: Vec<Contribution>,
    /// The answers it rests on.
    pub answers: Vec<Answer>,
    /// Calls in the baseline before this one.
    pub baseline_calls: usize,
    /// How far the baseline is.
    pub baseline_state: BaselineState,
    /// What was not known: questions by their identifier, `voice`, `weight_history`.
    pub missing: Vec<String>,
    /// How far it can be relied on.
    pub confidence: Confidence,
    /// Why not further.
    pub confidence_reasons: Vec<Note>,
    /// What to do.
    pub recommendations: Vec<Note>,
    /// What the voice said.
    pub acoustic: Option<Acoustic>,
    /// Inputs for training a model on outcomes later.
    pub features: Features,
}

impl Assessment {
    /// Parts of one score.
    pub fn parts(&self, score: ScoreName) -> impl Iterator<Item = &Contribution> {
        self.contributions.iter().filter(move |contribution| contribution.score == score)
    }

    /// The form of the outer contract.
    ///
    /// `contributions` holds the parts of `overall_risk`; those of the other scores stand in `score_contributions`.
    #[must_use]
    pub fn to_json(&self, patient_id: Option<&PatientId>, assessed_at: Timestamp) -> Value {
        let (overall, others): (Vec<_>, Vec<_>) =
            self.contributions.iter().partition(|contribution| contribution.score == ScoreName::Overall);
        json!({
            "call_id": self.call_id,
            "patient_id": patient_id,
            "assessed_at": assessed_at.to_string(),
            "model": {"name": self.model_name, "version": self.model_version},
            "overall_risk": self.overall_risk,
            "risk_interval": self.risk_interval,
            "risk_band": self.band,
            "fluid_retention_risk": self.fluid_retention_risk,
            "breathlessness_score": self.breathlessness_score,
            "speech_effort_score": self.speech_effort_score,
            "red_flags": self.red_flags,
            "contributions": overall,
            "score_contributions": others,
            "answers": self.answers.iter().map(Answer::to_json).collect::<Vec<_>>(),
            "baseline": {"calls": self.baseline_calls, "state": self.baseline_state},
            "missing": self.missing,
            "confidence": self.confidence,
            "confidence_reasons": self.confidence_reasons,
            "recommendations": self.recommendations,
            "acoustic": self.acoustic,
            "features": self.features,
        })
    }
}

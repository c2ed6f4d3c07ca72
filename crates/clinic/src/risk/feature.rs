//! What a fitted model may look at: the columns of a training file, and the same values of a call.

use super::baseline::Acoustic;
use super::measure::Measure;
use super::symptoms::Symptoms;
use crate::answers::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of a call by name; `None` where it is not known.
pub type Features = BTreeMap<Feature, Option<f64>>;

/// One input of a fitted model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Feature {
    /// The symptom score.
    SymptomPoints,
    /// Points of one topic.
    Points(Scored),
    /// Moving average of the voice.
    VoiceEwma,
    /// 1 when the cumulative sum of the voice is above its limit, else 0.
    VoiceCusumAlarm,
    /// Deviation of one measure.
    Z(Measure),
}

/// A topic with points, as part of a feature's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scored {
    /// Breathlessness.
    Dyspnea,
    /// Cannot lie flat.
    Orthopnea,
    /// Woke short of breath.
    NocturnalDyspnea,
    /// Swelling.
    Swelling,
    /// Bloating.
    Bloating,
    /// Weight.
    Weight,
    /// Missed doses.
    Medications,
    /// Dizziness.
    Dizziness,
}

impl Scored {
    const ALL: [Self; 8] = [
        Self::Dyspnea,
        Self::Orthopnea,
        Self::NocturnalDyspnea,
        Self::Swelling,
        Self::Bloating,
        Self::Weight,
        Self::Medications,
        Self::Dizziness,
    ];

    fn topic(self) -> Topic {
        match self {
            Self::Dyspnea => Topic::Dyspnea,
            Self::Orthopnea => Topic::Orthopnea,
            Self::NocturnalDyspnea => Topic::NocturnalDyspnea,
            Self::Swelling => Topic::Swelling,
            Self::Bloating => Topic::Bloating,
            Self::Weight => Topic::Weight,
            Self::Medications => Topic::Medications,
            Self::Dizziness => Topic::Dizziness,
        }
    }
}

impl Feature {
    /// Every feature, in the order of columns.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::SymptomPoints];
        all.extend(Scored::ALL.map(Self::Points));
        all.extend([Self::VoiceEwma, Self::VoiceCusumAlarm]);
        all.extend(Measure::ALL.iter().copied().map(Self::Z));
        all
    }

    /// The name of the column.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::SymptomPoints => "symptom_points".to_owned(),
            Self::Points(scored) => format!("{}_points", scored.topic().as_str()),
            Self::VoiceEwma => "voice_ewma".to_owned(),
            Self::VoiceCusumAlarm => "voice_cusum_alarm".to_owned(),
            Self::Z(measure) => format!("z_{}", measure.as_str()),
        }
    }

    /// The feature with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|feature| feature.name() == name)
    }

    /// Whether it comes from the voice.
    #[must_use]
    pub fn is_voice(self) -> bool {
        matches!(self, Self::VoiceEwma | Self::VoiceCusumAlarm | Self::Z(_))
    }

    /// The features of a call.
    pub(super) fn of(symptoms: &Symptoms, acoustic: Option<&Acoustic>) -> Features {
        let value = |feature: Self| match feature {
            Self::SymptomPoints => (!symptoms.answered.is_empty()).then(|| symptoms.score()),
            Self::Points(scored) => {
                let topic = scored.topic();
                symptoms.answered.contains(&topic).then(|| symptoms.of(topic))
            }
            Self::VoiceEwma => acoustic.map(|acoustic| acoustic.ewma),
            Self::VoiceCusumAlarm => acoustic.map(|acoustic| f64::from(u8::from(acoustic.cusum_alarm))),
            Self::Z(measure) => {
                let deviations = acoustic.into_iter().flat_map(|acoustic| &acoustic.deviations);
                deviations.filter(|deviation| deviation.measure == measure).map(|deviation| deviation.z).next()
            }
        };
        Self::all().into_iter().map(|feature| (feature, value(feature))).collect()
    }
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl From<Feature> for String {
    fn from(feature: Feature) -> Self {
        feature.name()
    }
}

impl TryFrom<String> for Feature {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok_or_else(|| format!("`{name}` is not a feature"))
    }
}

//! The measures of a voice that the model looks at, by the names programs see.

use serde::{Deserialize, Serialize};

macro_rules! measures {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $least:literal..=$most:literal, $label:literal;)*) => {
        /// A measure of the voice that is compared between calls.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Measure {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Measure {
            /// Every measure.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used in JSON, with its unit.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Words for people.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// Values outside of this were not measured on a human voice and are ignored.
            pub(crate) fn plausible(self) -> std::ops::RangeInclusive<f64> {
                match self { $(Self::$name => $least..=$most,)* }
            }
        }
    };
}

measures! {
    /// Pause time over pause and speech time.
    PauseFraction = "pause_fraction", 0.0..=1.0, "share of pauses";
    /// Speaking time between two breath pauses.
    BreathGroup = "breath_group_s", 0.0..=600.0, "length of a breath group";
    /// Syllables over the span.
    SpeechRate = "speech_rate_syllables_per_s", 0.0..=20.0, "speech rate";
    /// Smoothed cepstral peak prominence up to 4 kHz.
    Cpps = "cpps_4khz_db", -100.0..=100.0, "clearness of the voice (CPPS)";
    /// Harmonics-to-noise ratio.
    Hnr = "hnr_mean_db", -100.0..=100.0, "harmonics-to-noise ratio";
    /// Eleven-point amplitude perturbation.
    ShimmerApq11 = "shimmer_apq11_percent", 0.0..=1000.0, "shimmer (apq11)";
    /// Longest time a vowel was held.
    PhonationTime = "maximum_phonation_time_s", 0.0..=600.0, "phonation time";
    /// Syllables over speaking time.
    ArticulationRate = "articulation_rate_syllables_per_s", 0.0..=20.0, "articulation rate";
    /// Period perturbation.
    Jitter = "jitter_local_percent", 0.0..=1000.0, "jitter";
    /// Median fundamental frequency of speech.
    F0 = "f0_median_hz", 20.0..=1000.0, "pitch of the voice";
    /// Pauses of at least half a second in a minute of speech.
    BreathPauses = "breath_pauses_per_min", 0.0..=120.0, "breath pauses per minute";
    /// Local amplitude perturbation.
    ShimmerLocal = "shimmer_local_percent", 0.0..=1000.0, "shimmer (local)";
}

impl Measure {
    /// The measure with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|measure| measure.as_str() == text)
    }
}

/// What the person was doing when a value was measured. Values of different sources are never compared: counting has
/// other pauses than telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeechSource {
    /// The open question of the protocol.
    Speech,
    /// Everything the person said in the whole call.
    OpenSpeech,
    /// The counting task.
    Counting,
    /// The held vowel.
    SustainedVowel,
}

/// On which scale differences of a measure are of the same size everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// As it is.
    Linear,
    /// Natural logarithm.
    Log,
    /// Twelve times the binary logarithm.
    Semitones,
}

impl Scale {
    /// The value on this scale; `minimum` keeps a logarithm of zero away.
    pub(crate) fn forward(self, value: f64, minimum: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(minimum).ln(),
            Self::Semitones => 12.0 * value.max(1.0).log2(),
        }
    }

    /// Back to the measure's own unit.
    pub(crate) fn back(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.exp(),
            Self::Semitones => (value / 12.0).exp2(),
        }
    }

    /// A spread given beside a centre on this scale: in the measure's own unit for [`Self::Linear`] and
    /// [`Self::Log`] (one spread above the centre is then one unit away), in semitones for [`Self::Semitones`].
    pub(crate) fn spread(self, spread: f64, centre: f64) -> f64 {
        match self {
            Self::Linear | Self::Semitones => spread,
            Self::Log => (spread / centre.exp()).ln_1p(),
        }
    }
}

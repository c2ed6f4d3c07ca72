//! The result of an analysis, with the field names programs see.
//!
//! Units are in the names: `_hz`, `_db`, `_s`, `_percent`. A value that could not be measured is
//! `None` (JSON null), never 0.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::details::Details;

/// What the person was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Open, running speech.
    Speech,
    /// Counting, one number after the other.
    Counting,
    /// One vowel held steadily.
    SustainedVowel,
    /// Decide from the recording; a report names what was decided.
    #[default]
    Auto,
}

/// What carried the voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// A microphone recording with the full voice band.
    Wideband,
    /// A telephone call.
    Telephone,
    /// Telephone at 8 kHz, wide-band above.
    #[default]
    Auto,
}

/// A task or channel name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of {expected}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl Task {
    /// The name used in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Counting => "counting",
            Self::SustainedVowel => "sustained-vowel",
            Self::Auto => "auto",
        }
    }
}

impl Channel {
    /// The name used in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wideband => "wideband",
            Self::Telephone => "telephone",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Task {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Speech, Self::Counting, Self::SustainedVowel, Self::Auto]
            .into_iter()
            .find(|task| task.as_str() == name)
            .ok_or_else(|| UnknownName { given: name.to_owned(), expected: "speech, counting, sustained-vowel, auto" })
    }
}

impl FromStr for Channel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Wideband, Self::Telephone, Self::Auto]
            .into_iter()
            .find(|channel| channel.as_str() == name)
            .ok_or_else(|| UnknownName { given: name.to_owned(), expected: "wideband, telephone, auto" })
    }
}

/// The biomarkers of one stretch of audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this crate: equal versions give equal numbers for equal audio.
    pub engine_version: String,
    /// The task, never `auto`.
    pub task: Task,
    /// Whether the task was decided from the recording rather than given.
    #[serde(default)]
    pub task_detected: bool,
    /// Why it was decided so, in plain words; `None` when it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_reason: Option<String>,
    /// The channel, never `auto`.
    pub channel: Channel,
    /// Rate of the audio.
    pub sample_rate_hz: u32,
    /// Start of the analysed span in the audio.
    pub start_s: f64,
    /// Length of the analysed span.
    pub duration_s: f64,
    /// The steady part of a sustained vowel that was measured; `None` when the whole span was.
    pub window: Option<Window>,
    /// The numbers.
    pub measures: Measures,
    /// Pauses of at least 0.25 s, in the audio's own time.
    pub pauses: Vec<Pause>,
    /// Whether the audio was good enough.
    pub quality: Quality,
    /// Measures the channel or the noise weakens: measure name to `telephone-limited`,
    /// `codec-limited`, `noise-limited` or `wideband-only`.
    pub validity: BTreeMap<String, String>,
    /// What else Praat would say about the span; only if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// A stretch of the audio, in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
}

/// One pause.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Start in seconds.
    pub start_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
}

/// What the quality gate found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Whether the measures may be used.
    pub usable: bool,
    /// Median level of voiced frames over the background between words; `None` when there is no
    /// silence of 0.3 s to hear the background in.
    pub snr_db: Option<f64>,
    /// Share of samples at full scale, 0..1.
    pub clipped_fraction: f64,
    /// Voiced time in the span, in seconds.
    pub voiced_s: f64,
    /// What is wrong or doubtful, each as `code: explanation`.
    pub reasons: Vec<String>,
}

macro_rules! measures {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// Every measure by its public name.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Measures {
            $($(#[$doc])* pub $name: Option<$kind>,)*
        }

        impl Measures {
            /// Names and values in their documented order; counts are given as floats.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, Option<f64>)> {
                vec![$((stringify!($name), self.$name.map(|value| value as f64)),)*]
            }

            /// Makes the measures undefined whose name is chosen.
            pub(crate) fn withhold(&mut self, chosen: impl Fn(&str) -> bool) {
                $(if chosen(stringify!($name)) {
                    self.$name = None;
                })*
            }
        }
    };
}

measures! {
    /// Mean fundamental frequency (autocorrelation contour, 75-500 Hz).
    f0_mean_hz: f64,
    /// Median of the same contour.
    f0_median_hz: f64,
    /// Standard deviation of the same contour.
    f0_sd_hz: f64,
    /// Standard deviation in semitones of the two-pass contour, which is free of octave jumps.
    f0_sd_semitones: f64,
    /// Minimum of the 75-500 Hz contour.
    f0_min_hz: f64,
    /// Maximum of the 75-500 Hz contour.
    f0_max_hz: f64,
    /// Share of frames that are voiced, 0..1.
    voiced_fraction: f64,
    /// Jitter (local).
    jitter_local_percent: f64,
    /// Jitter (local, absolute).
    jitter_local_absolute_s: f64,
    /// Relative average perturbation.
    jitter_rap_percent: f64,
    /// Five-point period perturbation quotient.
    jitter_ppq5_percent: f64,
    /// Difference of differences of periods.
    jitter_ddp_percent: f64,
    /// Shimmer (local).
    shimmer_local_percent: f64,
    /// Shimmer (local) as a level difference.
    shimmer_local_db: f64,
    /// Three-point amplitude perturbation quotient.
    shimmer_apq3_percent: f64,
    /// Five-point amplitude perturbation quotient.
    shimmer_apq5_percent: f64,
    /// Eleven-point amplitude perturbation quotient.
    shimmer_apq11_percent: f64,
    /// Difference of differences of amplitudes.
    shimmer_dda_percent: f64,
    /// Mean harmonics-to-noise ratio (cross-correlation).
    hnr_mean_db: f64,
    /// Standard deviation of the harmonics-to-noise ratio over frames.
    hnr_sd_db: f64,
    /// Smoothed cepstral peak prominence.
    cpps_db: f64,
    /// The same by the rule of Praat 6.3 and later.
    cpps_praat63_db: f64,
    /// The older rule with a highest frequency of 4000 Hz.
    cpps_4khz_db: f64,
    /// Tilt of the long-term spectrum.
    spectral_tilt_db: f64,
    /// Level of the first over the second harmonic.
    h1_h2_db: f64,
    /// Mean first formant.
    f1_mean_hz: f64,
    /// Mean second formant.
    f2_mean_hz: f64,
    /// Level of the mean energy; on a telephone only differences mean anything.
    intensity_mean_db: f64,
    /// Number of voice breaks.
    voice_breaks: u64,
    /// Share of the span taken by voice breaks.
    degree_of_voice_breaks_percent: f64,
    /// Longest voiced run, gaps below 0.1 s bridged.
    maximum_phonation_time_s: f64,
    /// Number of syllables.
    syllables: u64,
    /// Syllables over the span.
    speech_rate_syllables_per_s: f64,
    /// Syllables over speaking time.
    articulation_rate_syllables_per_s: f64,
    /// Words of the transcript per minute.
    words_per_minute: f64,
    /// Number of pauses of at least 0.25 s.
    pause_count: u64,
    /// Their total.
    pause_total_s: f64,
    /// Their mean.
    pause_mean_s: f64,
    /// The longest.
    pause_longest_s: f64,
    /// Pause time over pause and speech time, 0..1.
    pause_fraction: f64,
    /// Breathiness, 0..100.
    breathiness: f64,
    /// Voice quality, 0..100.
    voice_quality: f64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_are_kebab_case_both_ways() {
        for task in [Task::Speech, Task::Counting, Task::SustainedVowel, Task::Auto] {
            assert_eq!(task.to_string().parse(), Ok(task));
            assert_eq!(serde_json::to_value(task).unwrap(), task.as_str());
        }
        for channel in [Channel::Wideband, Channel::Telephone, Channel::Auto] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.as_str());
        }
        let error = "vowel".parse::<Task>().unwrap_err();
        assert!(error.to_string().contains("sustained-vowel"));
    }

    #[test]
    fn undefined_measures_are_null_and_counts_are_integers() {
        let measures = Measures { pause_count: Some(3), ..Measures::default() };
        let json = serde_json::to_value(&measures).unwrap();
        assert!(json["f0_mean_hz"].is_null());
        assert_eq!(json["pause_count"], 3);
        assert_eq!(json.as_object().unwrap().len(), measures.entries().len());
        assert_eq!(serde_json::from_value::<Measures>(json).unwrap(), measures);
    }
}

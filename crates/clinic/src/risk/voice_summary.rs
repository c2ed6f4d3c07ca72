//! The voice of one call in a few numbers: which measure was taken, in which task, with which value.

use super::measure::{Measure, SpeechSource};
use crate::facts::TaskFacts;
use serde_json::Value;

/// A pause of at least this length is one to breathe in.
const BREATH_PAUSE_S: f64 = 0.5;

/// A value of a measure, with what the person was doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoiceValue {
    /// Which measure.
    pub measure: Measure,
    /// In which task.
    pub source: SpeechSource,
    /// The value in the measure's unit; always finite.
    pub value: f64,
}

/// What one call says about the voice. Values of unusable tasks are not in here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VoiceSummary {
    /// Values, at most one of each measure and task.
    pub values: Vec<VoiceValue>,
    /// What carried the voice. Values of different signatures are never compared. `None` without a usable task.
    pub signature: Option<String>,
    /// Versions of the analysis the values come from.
    pub engine_versions: Vec<String>,
    /// Every usable try of the held vowel: number of the segment and its CPPS. The one with the best counts.
    pub vowel_tries: Vec<(u32, Option<f64>)>,
    /// Tasks that were analysed.
    pub tasks: usize,
    /// Tasks that passed the quality gates.
    pub usable_tasks: usize,
}

impl VoiceSummary {
    /// Reads the reports of a call's tasks.
    #[must_use]
    pub fn from_tasks(tasks: &[TaskFacts]) -> Self {
        let usable: Vec<&TaskFacts> = tasks.iter().filter(|task| task.usable).collect();
        let mut summary =
            Self { signature: signature(&usable), tasks: tasks.len(), usable_tasks: usable.len(), ..Self::default() };
        for task in &usable {
            if let Some(version) = task.report.get("engine_version").and_then(Value::as_str)
                && !summary.engine_versions.iter().any(|known| known == version)
            {
                summary.engine_versions.push(version.to_owned());
            }
        }
        summary.read_vowels(&usable);
        for source in [SpeechSource::Speech, SpeechSource::OpenSpeech, SpeechSource::Counting] {
            // Of several attempts the last usable one is what the person settled on.
            if let Some(task) = usable.iter().filter(|task| source_of(task) == Some(source)).max_by_key(|t| rank(t)) {
                summary.read_speech(source, task);
            }
        }
        summary
    }

    /// The value of a measure in a task.
    #[must_use]
    pub fn get(&self, measure: Measure, source: SpeechSource) -> Option<f64> {
        self.values.iter().find(|v| v.measure == measure && v.source == source).map(|v| v.value)
    }

    /// The value of a measure in the first of `sources` that has one.
    #[must_use]
    pub fn first(&self, measure: Measure, sources: &[SpeechSource]) -> Option<VoiceValue> {
        sources.iter().find_map(|&source| self.get(measure, source).map(|value| VoiceValue { measure, source, value }))
    }

    fn add(&mut self, measure: Measure, source: SpeechSource, value: Option<f64>) {
        if let Some(value) = value.filter(|value| measure.plausible().contains(value)) {
            self.values.push(VoiceValue { measure, source, value });
        }
    }

    fn read_vowels(&mut self, usable: &[&TaskFacts]) {
        let source = SpeechSource::SustainedVowel;
        let mut tries: Vec<&TaskFacts> =
            usable.iter().filter(|task| source_of(task) == Some(source)).copied().collect();
        tries.sort_by_key(|task| rank(task));
        let cpps = |task: &TaskFacts| number(task, Measure::Cpps.as_str());
        self.vowel_tries = tries.iter().map(|task| (task.segment, cpps(task))).collect();
        let best = tries.iter().max_by(|a, b| {
            let level = |task| cpps(task).unwrap_or(f64::NEG_INFINITY);
            level(a).total_cmp(&level(b))
        });
        let Some(best) = best else { return };
        for measure in [Measure::Cpps, Measure::Hnr, Measure::ShimmerApq11, Measure::ShimmerLocal, Measure::Jitter] {
            self.add(measure, source, number(best, measure.as_str()));
        }
        // How long a person can hold a tone is the longest they did.
        let longest =
            tries.iter().filter_map(|task| number(task, Measure::PhonationTime.as_str())).max_by(f64::total_cmp);
        self.add(Measure::PhonationTime, source, longest);
    }

    fn read_speech(&mut self, source: SpeechSource, task: &TaskFacts) {
        for measure in [Measure::PauseFraction, Measure::SpeechRate, Measure::ArticulationRate, Measure::F0] {
            self.add(measure, source, number(task, measure.as_str()));
        }
        let breath = Breath::of(task);
        self.add(Measure::BreathGroup, source, breath.and_then(|breath| breath.group_s));
        self.add(Measure::BreathPauses, source, breath.map(|breath| breath.pauses_per_min));
    }
}

/// How often somebody paused to breathe.
#[derive(Debug, Clone, Copy)]
struct Breath {
    /// `None` when nobody paused: the group was at least as long as the task, nobody knows how long.
    group_s: Option<f64>,
    pauses_per_min: f64,
}

impl Breath {
    fn of(task: &TaskFacts) -> Option<Self> {
        let pauses: Vec<f64> = task
            .report
            .get("pauses")?
            .as_array()?
            .iter()
            .filter_map(|pause| pause.get("duration_s")?.as_f64())
            .filter(|pause| (0.0..=3600.0).contains(pause))
            .collect();
        let breaths: Vec<f64> = pauses.iter().copied().filter(|&pause| pause >= BREATH_PAUSE_S).collect();
        let total: f64 = pauses.iter().sum();
        let speaking = speaking_s(task)?;
        let short = total - breaths.iter().sum::<f64>();
        let groups = breaths.len() as f64 + 1.0;
        Some(Self {
            group_s: (!breaths.is_empty()).then(|| (speaking + short) / groups),
            pauses_per_min: breaths.len() as f64 / ((speaking + total) / 60.0),
        })
    }
}

/// Time with speech, from the syllables and their rate, or from the pauses and their share.
fn speaking_s(task: &TaskFacts) -> Option<f64> {
    let by_syllables = || {
        let rate = number(task, "articulation_rate_syllables_per_s").filter(|&rate| rate > 0.0)?;
        Some(number(task, "syllables")? / rate)
    };
    let by_pauses = || {
        let fraction = number(task, "pause_fraction").filter(|&fraction| fraction > 0.0 && fraction < 1.0)?;
        Some(number(task, "pause_total_s")? * (1.0 - fraction) / fraction)
    };
    by_syllables().or_else(by_pauses).filter(|seconds| (0.5..=7200.0).contains(seconds))
}

fn rank(task: &TaskFacts) -> (u32, u32) {
    (task.attempt, task.segment)
}

fn source_of(task: &TaskFacts) -> Option<SpeechSource> {
    match (task.task.as_str(), &task.item) {
        ("speech", Some(_)) => Some(SpeechSource::Speech),
        ("speech", None) => Some(SpeechSource::OpenSpeech),
        ("counting", _) => Some(SpeechSource::Counting),
        ("sustained-vowel", _) => Some(SpeechSource::SustainedVowel),
        _ => None,
    }
}

fn number(task: &TaskFacts, name: &str) -> Option<f64> {
    task.report.get("measures")?.get(name)?.as_f64().filter(|value| value.is_finite())
}

/// Channel, rate and whether the line carries the low band. A line that cuts it off does so in every task; one task alone
/// may also be a high or a weak voice.
fn signature(usable: &[&TaskFacts]) -> Option<String> {
    let text = |task: &TaskFacts, name| task.report.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let first = usable.first()?;
    let rate = first.report.get("sample_rate_hz").and_then(Value::as_u64).unwrap_or(0);
    let cut = usable.iter().filter(|task| lacks_low_band(task)).count();
    let band = if cut == usable.len() && cut > 0 { "no-low-band" } else { "low-band" };
    Some(format!("{}/{rate}/{band}", text(first, "channel")))
}

fn lacks_low_band(task: &TaskFacts) -> bool {
    let reasons = task.report.pointer("/quality/reasons").and_then(Value::as_array);
    reasons.into_iter().flatten().filter_map(Value::as_str).any(|reason| reason.starts_with("no-low-band"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn task(task: &str, item: Option<&str>, attempt: u32, report: Value) -> TaskFacts {
        let item = item.map(str::to_owned);
        TaskFacts { item, task: task.to_owned(), segment: attempt, attempt, usable: true, report }
    }

    fn vowel(attempt: u32, cpps: f64, phonation_s: f64) -> TaskFacts {
        let measures =
            json!({"cpps_4khz_db": cpps, "hnr_mean_db": cpps + 5.0, "maximum_phonation_time_s": phonation_s});
        task("sustained-vowel", Some("ah"), attempt, json!({"channel": "telephone", "measures": measures}))
    }

    #[test]
    fn the_clearer_of_two_vowels_counts_and_the_longer_hold() {
        let summary = VoiceSummary::from_tasks(&[vowel(1, 15.0, 9.0), vowel(2, 13.0, 12.0)]);
        let get = |measure| summary.get(measure, SpeechSource::SustainedVowel);
        assert_eq!(get(Measure::Cpps), Some(15.0));
        assert_eq!(get(Measure::Hnr), Some(20.0));
        assert_eq!(get(Measure::PhonationTime), Some(12.0));
        assert_eq!(summary.vowel_tries, [(1, Some(15.0)), (2, Some(13.0))]);
    }

    #[test]
    fn breath_groups_end_at_long_pauses_only() {
        // 20 s of speech, pauses of 0.3, 0.6, 0.7 s: three groups that share 20.3 s.
        let report = json!({
            "measures": {"syllables": 80, "articulation_rate_syllables_per_s": 4.0, "pause_fraction": 0.074},
            "pauses": [{"start_s": 1, "duration_s": 0.3}, {"start_s": 5, "duration_s": 0.6}, {"start_s": 9, "duration_s": 0.7}],
        });
        let summary = VoiceSummary::from_tasks(&[task("counting", Some("count"), 1, report)]);
        let group = summary.get(Measure::BreathGroup, SpeechSource::Counting).unwrap();
        assert!((group - 20.3 / 3.0).abs() < 1e-9, "{group}");
        let rate = summary.get(Measure::BreathPauses, SpeechSource::Counting).unwrap();
        assert!((rate - 2.0 / (21.6 / 60.0)).abs() < 1e-9, "{rate}");
    }

    #[test]
    fn counting_in_one_breath_has_no_group_length() {
        let report = json!({"measures": {"syllables": 32, "articulation_rate_syllables_per_s": 4.0}, "pauses": []});
        let summary = VoiceSummary::from_tasks(&[task("counting", Some("count"), 1, report)]);
        assert_eq!(summary.get(Measure::BreathGroup, SpeechSource::Counting), None);
        assert_eq!(summary.get(Measure::BreathPauses, SpeechSource::Counting), Some(0.0));
    }

    #[test]
    fn unusable_tasks_and_impossible_values_are_left_out() {
        let mut bad = vowel(1, 15.0, 9.0);
        bad.usable = false;
        assert_eq!(VoiceSummary::from_tasks(&[bad]).values, []);
        assert_eq!(VoiceSummary::from_tasks(&[vowel(1, 1e300, -4.0)]).values, []);
    }

    #[test]
    fn the_protocols_question_and_the_whole_call_are_told_apart() {
        let report = |rate: f64| json!({"measures": {"speech_rate_syllables_per_s": rate}});
        let summary = VoiceSummary::from_tasks(&[
            task("speech", None, 1, report(2.0)),
            task("speech", Some("how"), 1, report(3.0)),
        ]);
        let order = [SpeechSource::Speech, SpeechSource::OpenSpeech];
        assert_eq!(summary.first(Measure::SpeechRate, &order).unwrap().value, 3.0);
        assert_eq!(summary.get(Measure::SpeechRate, SpeechSource::OpenSpeech), Some(2.0));
    }

    #[test]
    fn the_signature_names_a_line_without_low_band() {
        let with = |reasons: Value| {
            let report = json!({"channel": "telephone", "sample_rate_hz": 8000, "quality": {"reasons": reasons}});
            VoiceSummary::from_tasks(&[task("speech", None, 1, report)]).signature.unwrap()
        };
        assert_eq!(with(json!([])), "telephone/8000/low-band");
        assert_eq!(with(json!(["no-low-band: 22 dB weaker"])), "telephone/8000/no-low-band");
    }
}

//! Calls of made-up patients, for tests.
#![allow(clippy::unwrap_used)]

use super::Profile;
use crate::answers::{Answer, AnswerValue, Source, Sourced, Topic, WeightReport};
use crate::facts::{CallFacts, TaskFacts};
use crate::red_flags::RedFlag;
use crate::training::random::Random;
use crate::{CallId, CallOutcome, Sex};
use serde_json::json;

/// A patient without a history.
pub(crate) fn profile() -> Profile {
    Profile {
        sex: Sex::Female,
        birth_date: None,
        dry_weight_kg: Some(70.0),
        discharged_on: None,
        today: jiff::civil::date(2026, 3, 1),
    }
}

/// A call on a day, with every question answered well and nothing measured.
pub(crate) fn call(day: i64) -> CallFacts {
    let no = |question: &str, topic| answer(question, topic, AnswerValue::YesNo(false));
    let word = |question: &str, topic, word: &str| answer(question, topic, AnswerValue::Text(word.into()));
    CallFacts {
        call_id: CallId::parse(&format!("call-{day}")).unwrap(),
        at_us: 1_700_000_000_000_000 + day * 86_400_000_000,
        outcome: CallOutcome::Completed,
        language: "en".into(),
        identified: true,
        answers: vec![
            word("dyspnea", Topic::Dyspnea, "none"),
            no("orthopnea", Topic::Orthopnea),
            no("pnd", Topic::NocturnalDyspnea),
            word("swelling", Topic::Swelling, "none"),
            no("bloating", Topic::Bloating),
            weight(Some(70.0), None, None),
            word("medications", Topic::Medications, "as_prescribed"),
            no("dizziness", Topic::Dizziness),
        ],
        red_flags: Vec::new(),
        tasks: Vec::new(),
        dry_confirmed: false,
        alert_open: false,
    }
}

pub(crate) fn answer(question: &str, topic: Topic, value: AnswerValue) -> Answer {
    Answer::from_sources(question, topic, &[Sourced { value, source: Source::AgentTool }])
}

pub(crate) fn weight(weight_kg: Option<f64>, change_kg: Option<f64>, days: Option<u32>) -> Answer {
    answer("weight", Topic::Weight, AnswerValue::Weight(WeightReport { weight_kg, change_kg, days }))
}

/// Puts an answer in the place of the one to the same question.
pub(crate) fn with(mut call: CallFacts, answer: Answer) -> CallFacts {
    call.answers.retain(|known| known.question != answer.question);
    call.answers.push(answer);
    call
}

pub(crate) fn with_word(call: CallFacts, question: &str, topic: Topic, word: &str) -> CallFacts {
    with(call, answer(question, topic, AnswerValue::Text(word.into())))
}

pub(crate) fn red_flag(code: &str) -> RedFlag {
    RedFlag { code: code.into(), evidence: "words".into() }
}

/// The three voice tasks of a healthy voice, each measure moved by `shift` day-to-day deviations towards congestion
/// and by noise of its own.
pub(crate) fn voiced(mut call: CallFacts, shift: f64, random: &mut Random) -> CallFacts {
    let mut moved = |centre: f64, sd: f64, sign: f64| centre + sd * (sign * shift + random.normal());
    let log = |value: f64| value.exp();
    let rate = moved(3.6, 0.3, -1.0);
    let articulation = moved(4.7, 0.3, -1.0);
    let pauses = log(moved((0.25_f64).ln(), 0.2, 1.0)).min(0.9);
    let f0 = 195.0 * (moved(0.0, 0.6, -1.0) / 12.0).exp2();
    let speech = json!({
        "engine_version": "1", "channel": "telephone", "sample_rate_hz": 8000, "quality": {"reasons": []},
        "measures": {"pause_fraction": pauses, "speech_rate_syllables_per_s": rate,
            "articulation_rate_syllables_per_s": articulation, "f0_median_hz": f0, "syllables": 120},
        "pauses": [],
    });
    let group = moved(4.0, 0.6, -1.0).clamp(1.0, 10.0);
    // Twelve seconds of counting in two groups, the second as long as the first, gives the wanted length.
    let counting = json!({
        "engine_version": "1", "channel": "telephone", "sample_rate_hz": 8000, "quality": {"reasons": []},
        "measures": {"syllables": 8.0 * group, "articulation_rate_syllables_per_s": 4.0},
        "pauses": [{"start_s": group, "duration_s": 0.6}],
    });
    let vowel = json!({
        "engine_version": "1", "channel": "telephone", "sample_rate_hz": 8000, "quality": {"reasons": []},
        "measures": {"cpps_4khz_db": moved(15.0, 0.8, -1.0), "hnr_mean_db": moved(20.0, 1.2, -1.0),
            "shimmer_apq11_percent": log(moved((3.0_f64).ln(), 0.25, 1.0)),
            "maximum_phonation_time_s": log(moved((11.0_f64).ln(), 0.18, -1.0)),
            "jitter_local_percent": log(moved((0.4_f64).ln(), 0.25, 1.0))},
    });
    call.tasks = [("speech", "how", speech), ("counting", "count", counting), ("sustained-vowel", "ah", vowel)]
        .into_iter()
        .enumerate()
        .map(|(segment, (task, item, report))| TaskFacts {
            item: Some(item.into()),
            task: task.into(),
            segment: segment as u32,
            attempt: 1,
            usable: true,
            report,
        })
        .collect();
    call
}

/// Healthy daily calls on days `0..days`.
pub(crate) fn healthy(days: i64, random: &mut Random) -> Vec<CallFacts> {
    (0..days).map(|day| voiced(call(day), 0.0, random)).collect()
}

//! Rules that hold for every call.

use super::*;
use proptest::prelude::*;

const CHOICES: [(&str, Topic, [&str; 3]); 3] = [
    ("dyspnea", Topic::Dyspnea, ["none", "exertion", "rest"]),
    ("swelling", Topic::Swelling, ["none", "usual", "worse"]),
    ("medications", Topic::Medications, ["as_prescribed", "missed_1_2", "missed_3_plus"]),
];
const YES_NO: [(&str, Topic); 4] = [
    ("orthopnea", Topic::Orthopnea),
    ("pnd", Topic::NocturnalDyspnea),
    ("bloating", Topic::Bloating),
    ("dizziness", Topic::Dizziness),
];

/// A call with the given severity of each symptom; 3 leaves the question open.
fn with_severities(mut today: CallFacts, severities: &[u8]) -> CallFacts {
    let mut severities = severities.iter().copied();
    for (question, topic, words) in CHOICES {
        let severity = severities.next().unwrap_or(0);
        today = match words.get(usize::from(severity)) {
            Some(word) => with_word(today, question, topic, word),
            None => with(today, Answer::unanswered(question, topic)),
        };
    }
    for (question, topic) in YES_NO {
        today = match severities.next().unwrap_or(0) {
            3 => with(today, Answer::unanswered(question, topic)),
            severity => with(today, answer(question, topic, AnswerValue::YesNo(severity > 0))),
        };
    }
    today
}

fn all_finite(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        serde_json::Value::Array(items) => items.iter().all(all_finite),
        serde_json::Value::Object(map) => map.values().all(all_finite),
        _ => true,
    }
}

fn check_sums(a: &Assessment) {
    let scores = [
        (ScoreName::Overall, a.overall_risk),
        (ScoreName::FluidRetention, a.fluid_retention_risk),
        (ScoreName::Breathlessness, a.breathlessness_score),
        (ScoreName::SpeechEffort, a.speech_effort_score),
    ];
    for (name, score) in scores {
        let sum = sum(a, name);
        assert!(sum.is_finite());
        match score {
            Some(score) => assert!((sum.clamp(0.0, 100.0) - score).abs() < 1e-6, "{name:?}: {sum} against {score}"),
            None => assert!(sum.abs() < 1e-9, "{name:?}: parts of nothing"),
        }
    }
    if let (Some(score), Some([low, high])) = (a.overall_risk, a.risk_interval) {
        assert!((0.0..=100.0).contains(&score) && low <= score && score <= high && high <= 100.0);
    }
}

/// The rules, the rules calibrated, and a fitted model.
fn models() -> [Model; 3] {
    let mut calibrated = model();
    calibrated.calibration = Some(logistic::Calibration { intercept: -1.5, slope: 0.7 });
    let mut fitted = model();
    let term = |feature, coefficient, mean, sd| logistic::Term { feature, coefficient, mean, sd, missing: 0.1 };
    fitted.logistic = Some(logistic::Logistic {
        intercept: -2.0,
        terms: vec![
            term(Feature::SymptomPoints, 0.8, 10.0, 15.0),
            term(Feature::VoiceEwma, 0.5, 0.0, 0.5),
            term(Feature::Z(Measure::PauseFraction), 0.2, 0.0, 1.0),
        ],
    });
    [model(), calibrated, fitted]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_add_up_to_their_scores(
        severities in prop::collection::vec(0u8..4, 7), shift in -4.0..8.0_f64, days in 0i64..14, seed: u64, kg in -6.0..6.0_f64
    ) {
        let mut random = Random::new(seed);
        let past = healthy(days, &mut random);
        let today = with_severities(voiced(call(days), shift, &mut random), &severities);
        let today = with(today, weight(Some(70.0 + kg), None, None));
        for model in models() {
            let a = assess(&model, &profile(), &past, &today);
            check_sums(&a);
            prop_assert!(all_finite(&a.to_json(None, jiff::Timestamp::UNIX_EPOCH)));
        }
    }

    #[test]
    fn an_added_symptom_never_lowers_risk_or_band(
        severities in prop::collection::vec(0u8..3, 7), which in 0usize..7, shift in 0.0..6.0_f64, seed: u64
    ) {
        let mut random = Random::new(seed);
        let past = healthy(12, &mut random);
        let today = voiced(call(12), shift, &mut random);
        let mut worse = severities.clone();
        worse[which] = 2;
        let better = with_severities(today.clone(), &severities);
        let worse = with_severities(today, &worse);
        for model in models() {
            let a = assess(&model, &profile(), &past, &better);
            let b = assess(&model, &profile(), &past, &worse);
            prop_assert!(b.overall_risk >= a.overall_risk);
            prop_assert!(b.band >= a.band);
            prop_assert!(b.fluid_retention_risk >= a.fluid_retention_risk);
            prop_assert!(b.breathlessness_score >= a.breathlessness_score);
        }
    }

    #[test]
    fn without_audio_the_symptom_score_stands(severities in prop::collection::vec(0u8..4, 7), days in 0i64..9, seed: u64) {
        let mut random = Random::new(seed);
        let past: Vec<CallFacts> = (0..days).map(|day| voiced(call(day), 3.0, &mut random)).collect();
        let silent = with_severities(call(days), &severities);
        let a = assess(&model(), &profile(), &past, &silent);
        let alone = assess(&model(), &profile(), &[], &silent);
        prop_assert_eq!(a.overall_risk, alone.overall_risk);
        let mut unusable = voiced(silent, 5.0, &mut random);
        unusable.tasks.iter_mut().for_each(|task| task.usable = false);
        prop_assert_eq!(assess(&model(), &profile(), &past, &unusable).overall_risk, alone.overall_risk);
    }

    #[test]
    fn a_voice_alone_stays_below_half_and_never_makes_fluid(days in 0i64..40, shift in 0.0..20.0_f64, seed: u64) {
        let mut random = Random::new(seed);
        let mut past = healthy(days.min(12), &mut random);
        past.extend((12..days).map(|day| voiced(call(day), shift, &mut random)));
        let today = voiced(call(days), shift, &mut random);
        let a = assess(&model(), &profile(), &past, &today);
        prop_assert!(a.overall_risk.unwrap() <= 50.0 + 1e-9);
        prop_assert!(a.band <= RiskBand::Review);
        prop_assert!(a.fluid_retention_risk.unwrap() < 20.0);
        prop_assert!(a.breathlessness_score.unwrap() < 20.0);
    }

    #[test]
    fn the_order_of_past_calls_does_not_matter(seed: u64, days in 2i64..20) {
        let mut random = Random::new(seed);
        let past = healthy(days, &mut random);
        let today = voiced(call(days), 1.0, &mut random);
        let mut mixed = past.clone();
        random.shuffle(&mut mixed);
        mixed.push(today.clone());
        mixed.push(voiced(call(days + 1), 9.0, &mut random));
        prop_assert_eq!(assess(&model(), &profile(), &past, &today), assess(&model(), &profile(), &mixed, &today));
    }

    #[test]
    fn whatever_a_report_holds_the_result_is_finite(
        values in prop::collection::vec(prop_oneof![
            Just(0.0), Just(-0.0), Just(f64::MAX), Just(f64::MIN), Just(f64::MIN_POSITIVE), any::<f64>(),
        ], 12),
        seed: u64, days in 0i64..9
    ) {
        let mut random = Random::new(seed);
        let mut calls = healthy(days + 1, &mut random);
        for call in &mut calls {
            for task in &mut call.tasks {
                if let Some(measures) = task.report["measures"].as_object_mut() {
                    for (value, (_, slot)) in values.iter().zip(measures.iter_mut()) {
                        if random.chance(0.3) { *slot = serde_json::json!(value); }
                    }
                }
            }
        }
        let today = with(calls.pop().unwrap(), weight(values.first().copied(), values.get(1).copied(), Some(0)));
        let a = assess(&model(), &profile(), &calls, &today);
        check_sums(&a);
        prop_assert!(all_finite(&a.to_json(None, jiff::Timestamp::UNIX_EPOCH)));
    }
}

//! What a nurse would notice of an assessment.
#![allow(clippy::unwrap_used)]

mod properties;
mod simulation;

use super::testing::*;
use super::*;
use crate::answers::Answer;
use crate::answers::AnswerValue;
use crate::training::random::Random;

fn model() -> Model {
    Model::default()
}

fn sum(assessment: &Assessment, score: ScoreName) -> f64 {
    assessment.parts(score).map(|part| part.points).sum()
}

#[test]
fn a_well_patient_is_routine_with_nothing_contributed() {
    let a = assess(&model(), &profile(), &[], &call(0));
    assert_eq!((a.overall_risk, a.band), (Some(0.0), RiskBand::Routine));
    assert_eq!(a.risk_interval, Some([0.0, 0.0]));
    assert_eq!(a.missing, ["voice"]);
    assert_eq!((a.fluid_retention_risk, a.breathlessness_score), (Some(0.0), Some(0.0)));
    assert_eq!(a.speech_effort_score, None);
    assert_eq!(a.recommendations.first().unwrap().code, "continue_plan");
}

#[test]
fn symptoms_add_up_and_act_at_once() {
    let today = with_word(call(0), "dyspnea", Topic::Dyspnea, "rest");
    let today = with(today, answer("orthopnea", Topic::Orthopnea, AnswerValue::YesNo(true)));
    let today = with_word(today, "medications", Topic::Medications, "missed_1_2");
    let a = assess(&model(), &profile(), &[], &today);
    assert_eq!((a.overall_risk, a.band), (Some(73.0), RiskBand::Urgent));
    assert_eq!(sum(&a, ScoreName::Overall), 73.0);
    assert_eq!(a.breathlessness_score, Some(90.0));
    assert_eq!(a.fluid_retention_risk, Some(33.0));
    let codes: Vec<_> = a.recommendations.iter().map(|note| note.code).collect();
    assert_eq!(codes[..2], ["nurse_call_now", "assess_breathlessness_now"]);
    assert!(codes.contains(&"ask_about_medicines"));
}

#[test]
fn weight_is_held_against_earlier_calls_dry_weight_and_own_words() {
    let gain = |kg: f64, days: i64| {
        let past = [with(call(0), weight(Some(69.0), None, None))];
        let today = with(call(days), weight(Some(69.0 + kg), None, None));
        let no_dry = Profile { dry_weight_kg: None, ..profile() };
        assess(&model(), &no_dry, &past, &today).overall_risk.unwrap()
    };
    assert_eq!([gain(0.8, 1), gain(0.9, 1), gain(1.4, 1), gain(2.1, 3), gain(1.9, 3)], [0.0, 12.0, 20.0, 25.0, 0.0]);
    assert_eq!([gain(2.1, 5), gain(2.3, 7), gain(2.3, 9), gain(-2.0, 1)], [0.0, 25.0, 0.0, 0.0]);

    let over_dry = assess(&model(), &profile(), &[], &with(call(0), weight(Some(72.4), None, None)));
    assert_eq!(over_dry.overall_risk, Some(25.0));
    let part = over_dry.parts(ScoreName::Overall).next().unwrap();
    assert_eq!((part.factor.as_str(), part.explanation.as_str()), ("weight_gain", "+2.4 kg over dry weight"));

    let words = assess(&model(), &profile(), &[], &with(call(0), weight(None, Some(2.3), Some(5))));
    assert_eq!(words.overall_risk, Some(25.0));
    assert!(words.recommendations.iter().any(|note| note.code == "weigh_tomorrow"));
}

#[test]
fn a_weight_in_the_wrong_unit_is_left_out_and_named() {
    let today = with(call(0), weight(Some(154.0), None, None));
    let a = assess(&model(), &profile(), &[], &today);
    assert_eq!(a.overall_risk, Some(0.0));
    assert!(a.missing.contains(&"weight".to_owned()));
    assert!(a.recommendations.iter().any(|note| note.code == "check_weight"));
}

#[test]
fn a_red_flag_leaves_no_arithmetic() {
    let mut today = call(0);
    today.red_flags = vec![red_flag("chest_pain"), red_flag("fainting")];
    for identified in [true, false] {
        today.identified = identified;
        let a = assess(&model(), &profile(), &[], &today);
        assert_eq!((a.overall_risk, a.band), (Some(100.0), RiskBand::Emergency));
        assert_eq!(sum(&a, ScoreName::Overall), 100.0);
        assert_eq!(a.recommendations.first().unwrap().code, "emergency_procedure");
    }
}

#[test]
fn open_questions_are_named_and_span_an_interval() {
    let mut today = call(0);
    for question in ["dyspnea", "weight"] {
        let topic = Topic::parse(question).unwrap();
        today = with(today, Answer::unanswered(question, topic));
    }
    let a = assess(&model(), &profile(), &[], &today);
    assert_eq!(a.risk_interval, Some([0.0, 65.0]));
    assert_eq!(a.missing, ["dyspnea", "weight", "voice"]);
    let codes: Vec<_> = a.recommendations.iter().map(|note| note.code).collect();
    assert!(codes.contains(&"ask_open_questions") && codes.contains(&"obtain_weight"), "{codes:?}");
    assert_ne!(a.confidence, Confidence::High);
}

#[test]
fn follow_ups_that_were_never_due_widen_the_interval_only_with_their_question() {
    let without_follow_ups = |mut call: CallFacts| {
        call.answers.retain(|answer| !["orthopnea", "pnd"].contains(&answer.question.as_str()));
        call
    };
    let well = assess(&model(), &profile(), &[], &without_follow_ups(call(0)));
    assert_eq!((well.risk_interval, well.missing), (Some([0.0, 0.0]), vec!["voice".to_owned()]));
    let unheard = with(without_follow_ups(call(0)), Answer::unanswered("dyspnea", Topic::Dyspnea));
    let unheard = assess(&model(), &profile(), &[], &unheard);
    assert_eq!(unheard.risk_interval, Some([0.0, 95.0]));
    assert_eq!(unheard.missing, ["dyspnea", "voice"]);
}

#[test]
fn nothing_known_is_not_interpretable_and_never_zero() {
    let mut nothing = call(0);
    nothing.answers.clear();
    let mut stranger = voiced(call(0), 0.0, &mut Random::new(1));
    stranger.identified = false;
    for (today, code) in [(nothing, "call_again"), (stranger, "confirm_identity")] {
        let a = assess(&model(), &profile(), &[], &today);
        assert_eq!((a.overall_risk, a.band), (None, RiskBand::NotInterpretable));
        assert_eq!((a.fluid_retention_risk, a.speech_effort_score), (None, None));
        assert_eq!(a.recommendations.first().unwrap().code, code);
        assert_eq!(a.confidence, Confidence::Low);
        assert!(a.to_json(None, jiff::Timestamp::UNIX_EPOCH)["overall_risk"].is_null());
    }
}

#[test]
fn the_first_calls_are_held_against_norms_with_low_confidence() {
    let mut random = Random::new(2);
    let calls = healthy(6, &mut random);
    let first = assess(&model(), &profile(), &[], &calls[0]);
    assert_eq!((first.baseline_calls, first.baseline_state), (0, BaselineState::None));
    assert!(!first.acoustic.as_ref().unwrap().personal);
    assert_eq!(first.confidence, Confidence::Low);
    let sixth = assess(&model(), &profile(), &calls[..5], &calls[5]);
    assert_eq!((sixth.baseline_calls, sixth.baseline_state), (5, BaselineState::Established));
    assert!(sixth.acoustic.unwrap().personal);
    let full = healthy(14, &mut random);
    assert_eq!(assess(&model(), &profile(), &full[..13], &full[13]).confidence, Confidence::High);
}

#[test]
fn only_dry_calls_without_open_alert_join_the_baseline() {
    let mut random = Random::new(3);
    let mut calls = healthy(8, &mut random);
    calls[1] = with_word(calls[1].clone(), "dyspnea", Topic::Dyspnea, "rest");
    calls[2].alert_open = true;
    calls[3] = with(calls[3].clone(), weight(Some(71.5), None, None));
    calls[4].red_flags = vec![red_flag("fainting")];
    let count = |calls: &[CallFacts]| assess(&model(), &profile(), &calls[..7], &calls[7]).baseline_calls;
    // Five of seven remain: days 0, 5, 6 and what a clinician confirms.
    assert_eq!(count(&calls), 3);
    calls[1].dry_confirmed = true;
    assert_eq!(count(&calls), 4);
}

#[test]
fn another_line_starts_another_baseline() {
    let mut random = Random::new(4);
    let calls = healthy(8, &mut random);
    let mut today = calls[7].clone();
    for task in &mut today.tasks {
        task.report["quality"]["reasons"] = serde_json::json!(["no-low-band: 25 dB weaker"]);
    }
    let a = assess(&model(), &profile(), &calls[..7], &today);
    assert_eq!(a.baseline_calls, 0);
    assert!(a.confidence_reasons.iter().any(|note| note.code == "new_line"));
}

#[test]
fn a_rise_by_the_voice_alone_must_hold_and_symptoms_need_not() {
    let mut random = Random::new(6);
    let mut calls = healthy(15, &mut random);
    let mut bands = Vec::new();
    for day in 15..45 {
        let today = voiced(call(day), 6.0, &mut random);
        let a = assess(&model(), &profile(), &calls, &today);
        assert!(a.overall_risk.unwrap() <= 50.0 + 1e-9);
        bands.push((
            a.band,
            a.overall_risk.unwrap(),
            a.recommendations.iter().any(|n| n.code == "confirm_by_next_call"),
        ));
        calls.push(today);
    }
    let first = bands.iter().position(|(_, risk, _)| *risk >= 45.0).unwrap();
    assert_eq!((bands[first].0, bands[first].2), (RiskBand::Watch, true));
    assert_eq!((bands[first + 1].0, bands[first + 1].2), (RiskBand::Review, false));
    assert!(bands.iter().all(|(band, ..)| *band <= RiskBand::Review));
}

#[test]
fn json_has_the_names_of_the_contract() {
    let mut random = Random::new(7);
    let calls = healthy(9, &mut random);
    let today = with_word(calls[8].clone(), "swelling", Topic::Swelling, "worse");
    let json = assess(&model(), &profile(), &calls[..8], &today).to_json(None, jiff::Timestamp::UNIX_EPOCH);
    for name in [
        "call_id",
        "patient_id",
        "assessed_at",
        "model",
        "overall_risk",
        "risk_interval",
        "risk_band",
        "fluid_retention_risk",
        "breathlessness_score",
        "speech_effort_score",
        "red_flags",
        "contributions",
        "answers",
        "baseline",
        "missing",
        "confidence",
        "recommendations",
    ] {
        assert!(json.get(name).is_some(), "{name}");
    }
    assert_eq!(json["risk_band"], "routine");
    assert_eq!(json["baseline"], serde_json::json!({"calls": 8, "state": "established"}));
    let points: f64 = json["contributions"].as_array().unwrap().iter().map(|c| c["points"].as_f64().unwrap()).sum();
    assert!((points - json["overall_risk"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(json["contributions"][0]["factor"], "swelling_worse");
}

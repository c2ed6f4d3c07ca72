//! Words and numbers that may leave: a text is matched against a fixed list and the list's own word is written, a number
//! must lie in the range of what it measures.

use crate::red_flags;
use crate::risk::{Feature, Measure};
use serde_json::Value;

/// What stands for a word that is not on the list.
pub(super) const OTHER: &str = "other";

const TASKS: [&str; 3] = ["speech", "counting", "sustained-vowel"];
const CHANNELS: [&str; 2] = ["wideband", "telephone"];
const RATES_HZ: [u64; 7] = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000];
const NOTICED_BY: [&str; 5] = ["transcript", "agent_tool", "answer", "keys", "post_call"];
const BANDS: [&str; 6] = ["not-interpretable", "routine", "watch", "review", "urgent", "emergency"];
const CONFIDENCES: [&str; 3] = ["low", "medium", "high"];
const BASELINES: [&str; 3] = ["none", "forming", "established"];
const SCORES: [&str; 4] = ["overall", "fluid_retention", "breathlessness", "speech_effort"];
const FACTORS: [&str; 18] = [
    "base_rate",
    "bloating",
    "dizziness",
    "dyspnea_at_rest",
    "dyspnea_on_exertion",
    "dyspnea_usual",
    "missed_medication",
    "nocturnal_dyspnea",
    "orthopnea",
    "recent_discharge",
    "red_flag",
    "speech_effort",
    "swelling_worse",
    "unanswered",
    "voice_change",
    "voice_shift_lasting",
    "weight_gain",
    "weight_loss",
];
/// Codes of the quality gate, without their explanations.
const QUALITY_REASONS: [&str; 15] = [
    "background-voice-or-music",
    "clipped",
    "digital-silence",
    "dropped",
    "gain-control",
    "lost-audio",
    "no-low-band",
    "noisy",
    "octave-doubt",
    "quiet",
    "some-clipping",
    "some-noise",
    "too-little-voice",
    "too-quiet",
    "too-short",
];

/// The word of `list` that `text` is.
fn listed(list: &'static [&'static str], text: &str) -> Option<&'static str> {
    list.iter().copied().find(|word| *word == text)
}

fn listed_at(list: &'static [&'static str], object: &Value, pointer: &str) -> Option<&'static str> {
    listed(list, object.pointer(pointer)?.as_str()?)
}

pub(super) fn task(text: &str) -> Option<&'static str> {
    listed(&TASKS, text)
}

pub(super) fn channel(report: &Value) -> Option<&'static str> {
    listed_at(&CHANNELS, report, "/channel")
}

pub(super) fn sample_rate_hz(report: &Value) -> Option<u64> {
    report.get("sample_rate_hz").and_then(Value::as_u64).filter(|rate| RATES_HZ.contains(rate))
}

pub(super) fn noticed_by(text: &str) -> &'static str {
    listed(&NOTICED_BY, text).unwrap_or(OTHER)
}

/// A site's own red flags may be named after anything.
pub(super) fn red_flag(code: &str) -> &'static str {
    listed(&red_flags::CODES, code).unwrap_or(OTHER)
}

pub(super) fn band(assessment: &Value) -> Option<&'static str> {
    listed_at(&BANDS, assessment, "/risk_band")
}

pub(super) fn confidence(assessment: &Value) -> Option<&'static str> {
    listed_at(&CONFIDENCES, assessment, "/confidence")
}

pub(super) fn baseline_state(assessment: &Value) -> Option<&'static str> {
    listed_at(&BASELINES, assessment, "/baseline/state")
}

pub(super) fn score(contribution: &Value) -> Option<&'static str> {
    listed_at(&SCORES, contribution, "/score")
}

/// Factors of red flags carry the flag's code, which stands in the table of red flags.
pub(super) fn factor(contribution: &Value) -> &'static str {
    let name = contribution.get("factor").and_then(Value::as_str).unwrap_or_default();
    if name.starts_with("red_flag_") { "red_flag" } else { listed(&FACTORS, name).unwrap_or(OTHER) }
}

pub(super) fn quality_reason(reason: &str) -> &'static str {
    let code = reason.split(':').next().unwrap_or_default();
    listed(&QUALITY_REASONS, code).unwrap_or(OTHER)
}

/// A feature that may leave. The deviation of the pitch may not: beside published norms it gives the pitch itself.
pub(super) fn feature(name: &str) -> Option<Feature> {
    Feature::parse(name).filter(|feature| *feature != Feature::Z(Measure::F0))
}

/// A version such as `1.12.0`: three numbers of at most two digits, so that nothing else fits in.
pub(super) fn version(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    let short = |part: &&str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (parts.len() == 3 && parts.iter().all(short)).then(|| parts.join("."))
}

/// A finite number within `least..=most`.
pub(super) fn number(object: &Value, pointer: &str, least: f64, most: f64) -> Option<f64> {
    object.pointer(pointer)?.as_f64().filter(|value| (least..=most).contains(value))
}

/// Rounded to a multiple of `step`.
pub(super) fn to_step(value: f64, step: f64) -> f64 {
    // Once more to decimals, because 3 * 0.1 is not 0.3.
    ((value / step).round() * step * 1e6).round() / 1e6
}

/// Rounded to so many significant digits.
pub(super) fn to_digits(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let places = digits - 1 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(places.abs());
    if places >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
}

//! Checks of what a language model wrote into a tool parameter: lenient in form, strict in truth.
//!
//! The same meaning may arrive as `true`, `"yes"` or `"Yes, a little"`, as `182`, `"182 lb"` or
//! `{"weight": 182, "unit": "lb"}`. What no patient can mean is refused with a sentence that lets the agent ask again; the
//! sentence never repeats the value.

use super::extract::{ExtractOptions, MAX_TEXT_CHARS, extract};
use super::weight::{MAX_DAYS, WeightUnit, believable_change, believable_weight, weight_without_unit};
use super::{AnswerValue, Topic, WeightReport};
use crate::answers::speech::{Language, Unit, Words, quantities};
use serde_json::{Map, Value};

/// What a number may be. The bounds hold for [`Topic::Number`]; weights have their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberLimits {
    /// Smallest number accepted.
    pub min: f64,
    /// Largest number accepted.
    pub max: f64,
    /// The unit of a weight that comes without one.
    pub default_weight_unit: WeightUnit,
}

impl Default for NumberLimits {
    fn default() -> Self {
        Self { min: 0.0, max: 1_000.0, default_weight_unit: WeightUnit::default() }
    }
}

/// Why a tool parameter was refused, as a sentence for the agent. Never repeats the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing was given.
    #[error("No answer was given. Ask the question again.")]
    Missing,
    /// The parameter has a form no answer has.
    #[error("The answer must be a short text, a number or true/false. Ask the question again.")]
    Form,
    /// Longer than an answer is.
    #[error("The answer is too long. Record it in a few words.")]
    TooLong,
    /// Not one of the topic's choices.
    #[error("The answer must be one of: {0}. Ask the patient which of these fits.")]
    Choice(&'static str),
    /// Neither yes nor no.
    #[error("The answer must be yes or no. Ask the question again.")]
    YesNo,
    /// No number in it.
    #[error("The answer must be a number. Ask the question again.")]
    NotANumber,
    /// A number outside of the question's limits.
    #[error("That number is outside of what is possible. Ask the patient to say it again.")]
    OutOfLimits,
    /// No weight and no change in it.
    #[error("Give the weight with its unit, or how much it changed. Ask the patient what the scale shows.")]
    NotAWeight,
    /// A weight nobody has.
    #[error("That weight is not possible. Ask the patient to read the scale again, with pounds or kilograms.")]
    ImpossibleWeight,
    /// A change nobody has.
    #[error("That change of weight is not possible. Ask the patient again how many pounds or kilograms it is.")]
    ImpossibleChange,
}

impl Refusal {
    /// A stable name for counting refusals.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Form => "form",
            Self::TooLong => "too_long",
            Self::Choice(_) => "choice",
            Self::YesNo => "yes_no",
            Self::NotANumber => "not_a_number",
            Self::OutOfLimits => "out_of_limits",
            Self::NotAWeight => "not_a_weight",
            Self::ImpossibleWeight => "impossible_weight",
            Self::ImpossibleChange => "impossible_change",
        }
    }
}

/// Reads a tool parameter as an answer to a question about `topic`.
///
/// # Errors
/// [`Refusal`], whose text the agent can act on.
pub fn validate(topic: Topic, raw: &Value, limits: &NumberLimits) -> Result<AnswerValue, Refusal> {
    match raw {
        Value::Null => return Err(Refusal::Missing),
        Value::String(text) if text.trim().is_empty() => return Err(Refusal::Missing),
        Value::String(text) if text.chars().count() > MAX_TEXT_CHARS => return Err(Refusal::TooLong),
        Value::Array(_) => return Err(Refusal::Form),
        _ => {}
    }
    match topic {
        Topic::Weight => weight(raw, limits.default_weight_unit).map(AnswerValue::Weight),
        Topic::Number => number(raw, limits).map(AnswerValue::Number),
        Topic::Text => match inner(raw) {
            Value::String(text) => Ok(AnswerValue::Text(text.trim().to_owned())),
            Value::Number(number) => Ok(AnswerValue::Text(number.to_string())),
            Value::Bool(yes) => Ok(AnswerValue::Text(if *yes { "yes" } else { "no" }.to_owned())),
            _ => Err(Refusal::Form),
        },
        topic if topic.is_yes_no() => yes_no(topic, inner(raw)),
        topic => choice(topic, inner(raw)),
    }
}

/// A model may wrap the value: `{"value": "yes"}`.
fn inner(raw: &Value) -> &Value {
    match raw {
        Value::Object(map) => map.get("value").or_else(|| map.get("answer")).unwrap_or(raw),
        _ => raw,
    }
}

/// The transcript's rules, in either language.
fn read(topic: Topic, text: &str, unit: WeightUnit) -> Option<AnswerValue> {
    let options = ExtractOptions { default_weight_unit: unit };
    ["en", "es"].iter().find_map(|language| extract(topic, language, text, &options)).map(|found| found.value)
}

fn yes_no(topic: Topic, raw: &Value) -> Result<AnswerValue, Refusal> {
    let answer = match raw {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "1" | "sí" | "si" => Some(true),
            "false" | "no" | "n" | "0" | "none" => Some(false),
            _ => return read(topic, text, WeightUnit::default()).ok_or(Refusal::YesNo),
        },
        Value::Object(_) => return Err(Refusal::Form),
        _ => None,
    };
    answer.map(AnswerValue::YesNo).ok_or(Refusal::YesNo)
}

/// The choices of a topic as one text, for the refusal.
fn choices_of(topic: Topic) -> &'static str {
    match topic {
        Topic::Feeling => "better, same, worse",
        Topic::Dyspnea => "none, usual, exertion, rest",
        Topic::Swelling => "none, usual, worse",
        Topic::Medications => "as_prescribed, missed_1_2, missed_3_plus",
        _ => "",
    }
}

fn choice(topic: Topic, raw: &Value) -> Result<AnswerValue, Refusal> {
    let refusal = Refusal::Choice(choices_of(topic));
    let text = match raw {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Object(_) | Value::Array(_) => return Err(Refusal::Form),
        // "Is there swelling": no is one of the choices, yes is not.
        Value::Bool(false) if topic.choices().contains(&"none") => "none".to_owned(),
        _ => return Err(refusal),
    };
    let name = text.replace([' ', '-'], "_");
    if let Some(choice) = topic.choices().iter().find(|choice| **choice == name) {
        return Ok(AnswerValue::Text((*choice).to_owned()));
    }
    match synonym(topic, &name) {
        Some(choice) => Ok(AnswerValue::Text(choice.to_owned())),
        None => read(topic, &text, WeightUnit::default()).ok_or(refusal),
    }
}

/// Names a model gives to choices, where they are not words of a patient.
fn synonym(topic: Topic, name: &str) -> Option<&'static str> {
    Some(match (topic, name) {
        (Topic::Feeling, "unchanged" | "no_change" | "stable") => "same",
        (Topic::Feeling, "improved") => "better",
        (Topic::Feeling, "worsened" | "declined") => "worse",
        (Topic::Dyspnea, "on_exertion" | "with_exertion" | "exertional" | "activity" | "with_activity" | "worse") => {
            "exertion"
        }
        (Topic::Dyspnea, "at_rest" | "resting") => "rest",
        (Topic::Dyspnea | Topic::Swelling, "same" | "unchanged" | "baseline" | "as_usual") => "usual",
        (Topic::Dyspnea | Topic::Swelling, "no" | "absent" | "never" | "false") => "none",
        (Topic::Swelling, "increased" | "more" | "new" | "yes" | "true") => "worse",
        (
            Topic::Medications,
            "all" | "taken" | "yes" | "true" | "adherent" | "all_taken" | "missed_none" | "missed_0",
        ) => "as_prescribed",
        (Topic::Medications, "missed_1" | "missed_2" | "missed_one" | "missed_two" | "missed_some") => "missed_1_2",
        (Topic::Medications, "missed_3" | "missed_many" | "missed_all" | "missed_3+" | "none_taken") => "missed_3_plus",
        _ => return None,
    })
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

fn number(raw: &Value, limits: &NumberLimits) -> Result<f64, Refusal> {
    let number = match inner(raw) {
        Value::Number(_) => finite(inner(raw)),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            Ok(_) => return Err(Refusal::NotANumber),
            Err(_) if has_minus(text) => return Err(Refusal::OutOfLimits),
            Err(_) => match read(Topic::Number, text, limits.default_weight_unit) {
                Some(AnswerValue::Number(number)) => Some(number),
                _ => None,
            },
        },
        Value::Object(_) | Value::Array(_) => return Err(Refusal::Form),
        _ => None,
    }
    .ok_or(Refusal::NotANumber)?;
    if number >= limits.min && number <= limits.max { Ok(number) } else { Err(Refusal::OutOfLimits) }
}

/// A minus sign directly before a digit at the beginning of the text.
fn has_minus(text: &str) -> bool {
    let text = text.trim_start();
    text.strip_prefix(['-', '−']).is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

fn weight(raw: &Value, usual: WeightUnit) -> Result<WeightReport, Refusal> {
    match raw {
        Value::Number(_) => {
            let value = finite(raw).ok_or(Refusal::NotAWeight)?;
            Ok(WeightReport { weight_kg: Some(plain_weight(value, None, usual)?), ..WeightReport::default() })
        }
        Value::String(text) => weight_text(text, usual),
        Value::Object(map) => weight_object(map, usual),
        _ => Err(Refusal::NotAWeight),
    }
}

fn plain_weight(value: f64, unit: Option<WeightUnit>, usual: WeightUnit) -> Result<f64, Refusal> {
    match unit {
        Some(unit) => believable_weight(value * unit.kilograms()),
        None => weight_without_unit(value, usual).map(|(kilograms, _)| kilograms),
    }
    .ok_or(Refusal::ImpossibleWeight)
}

/// "182", "182 lb", "-2 kg", "5 lb gain", or a patient's own sentence.
fn weight_text(text: &str, usual: WeightUnit) -> Result<WeightReport, Refusal> {
    if let Ok(value) = text.trim().parse::<f64>() {
        if !value.is_finite() {
            return Err(Refusal::NotAWeight);
        }
        return Ok(WeightReport { weight_kg: Some(plain_weight(value, None, usual)?), ..WeightReport::default() });
    }
    let signed = text.trim_start().strip_prefix(['-', '−', '+']);
    if let Some(rest) = signed.filter(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit())) {
        // A signed amount is a change; only one with a unit is believed.
        let sign = if text.trim_start().starts_with('+') { 1.0 } else { -1.0 };
        let words = Words::read(rest, Some(Language::English));
        let amount = quantities(Language::English, &words).first().copied().ok_or(Refusal::NotAWeight)?;
        let Unit::Mass(factor) = amount.unit else { return Err(Refusal::NotAWeight) };
        let change = believable_change(sign * amount.value * factor).ok_or(Refusal::ImpossibleChange)?;
        return Ok(WeightReport { change_kg: Some(change), ..WeightReport::default() });
    }
    // An amount and nothing else is a weight: a change would say its direction.
    for language in [Language::English, Language::Spanish] {
        let words = Words::read(text, Some(language));
        if let [only] = quantities(language, &words).as_slice()
            && only.start == 0
            && only.end == words.len()
            && let Unit::Mass(factor) = only.unit
        {
            let kilograms = believable_weight(only.value * factor).ok_or(Refusal::ImpossibleWeight)?;
            return Ok(WeightReport { weight_kg: Some(kilograms), ..WeightReport::default() });
        }
    }
    match read(Topic::Weight, text, usual) {
        Some(AnswerValue::Weight(report)) => Ok(report),
        _ => {
            let words = Words::read(text, Some(Language::English));
            let amount = |found: &[super::speech::Quantity]| found.iter().any(|q| matches!(q.unit, Unit::Mass(_)));
            let has_mass = amount(&quantities(Language::English, &words));
            Err(if has_mass { Refusal::ImpossibleWeight } else { Refusal::NotAWeight })
        }
    }
}

fn weight_object(map: &Map<String, Value>, usual: WeightUnit) -> Result<WeightReport, Refusal> {
    let field = |names: &[&str]| names.iter().find_map(|name| map.get(*name)).filter(|value| !value.is_null());
    let unit = match field(&["unit", "units", "weight_unit"]) {
        None => None,
        Some(Value::String(name)) => Some(unit_named(name).ok_or(Refusal::NotAWeight)?),
        Some(_) => return Err(Refusal::Form),
    };
    let mut report = WeightReport::default();
    if let Some(value) = field(&["weight_kg"]) {
        report.weight_kg = Some(plain_weight(amount(value)?, Some(WeightUnit::Kg), usual)?);
    } else if let Some(value) = field(&["weight_lb", "weight_lbs"]) {
        report.weight_kg = Some(plain_weight(amount(value)?, Some(WeightUnit::Lb), usual)?);
    } else if let Some(value) = field(&["weight", "value"]) {
        report = match value {
            Value::String(text) if text.trim().parse::<f64>().is_err() => weight_text(text, usual)?,
            value => WeightReport { weight_kg: Some(plain_weight(amount(value)?, unit, usual)?), ..report },
        };
    }
    let change = |value: &Value, unit: WeightUnit| {
        believable_change(amount(value)? * unit.kilograms()).ok_or(Refusal::ImpossibleChange)
    };
    if let Some(value) = field(&["change_kg"]) {
        report.change_kg = Some(change(value, WeightUnit::Kg)?);
    } else if let Some(value) = field(&["change_lb", "change_lbs"]) {
        report.change_kg = Some(change(value, WeightUnit::Lb)?);
    } else if let Some(value) = field(&["change"]) {
        report.change_kg = match value {
            Value::String(text) if text.trim().parse::<f64>().is_err() => {
                weight_text(text, usual)?.change_kg.or(report.change_kg)
            }
            value => Some(change(value, unit.unwrap_or(usual))?),
        };
    }
    if let Some(days) = field(&["days", "period_days"]) {
        let days = amount(days)?;
        if days.fract() != 0.0 || days < 1.0 || days > f64::from(MAX_DAYS) {
            return Err(Refusal::OutOfLimits);
        }
        report.days = Some(days as u32);
    }
    if report.weight_kg.is_none() && report.change_kg.is_none() { Err(Refusal::NotAWeight) } else { Ok(report) }
}

/// A number, or a number in a text.
fn amount(value: &Value) -> Result<f64, Refusal> {
    match value {
        Value::Number(_) => finite(value),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
    .ok_or(Refusal::NotANumber)
}

fn unit_named(name: &str) -> Option<WeightUnit> {
    match name.trim().to_ascii_lowercase().as_str() {
        "lb" | "lbs" | "pound" | "pounds" | "libra" | "libras" => Some(WeightUnit::Lb),
        "kg" | "kgs" | "kilo" | "kilos" | "kilogram" | "kilograms" | "kilogramos" => Some(WeightUnit::Kg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn kept(topic: Topic, raw: Value) -> Value {
        json!(validate(topic, &raw, &NumberLimits::default()).unwrap())
    }

    fn refused(topic: Topic, raw: Value) -> &'static str {
        validate(topic, &raw, &NumberLimits::default()).unwrap_err().code()
    }

    #[test]
    fn the_same_meaning_in_many_forms() {
        for raw in [
            json!(true),
            json!("yes"),
            json!("True"),
            json!("sí"),
            json!(1),
            json!({"value": "yes"}),
            json!("Yes, a little dizzy"),
        ] {
            assert_eq!(kept(Topic::Dizziness, raw.clone()), json!(true), "{raw}");
        }
        for raw in [
            json!(182),
            json!("182"),
            json!("182 lb"),
            json!("182 pounds"),
            json!({"weight": 182, "unit": "lb"}),
            json!({"weight_lb": "182"}),
        ] {
            assert_eq!(kept(Topic::Weight, raw.clone()), json!({"weight_kg": 82.554}), "{raw}");
        }
        for raw in [json!("83 kg"), json!(83), json!({"weight_kg": 83}), json!({"value": "83 kilos"})] {
            assert_eq!(kept(Topic::Weight, raw.clone()), json!({"weight_kg": 83.0}), "{raw}");
        }
        for raw in [json!("short of breath at rest"), json!("at rest"), json!("REST"), json!("sin aire en reposo")] {
            assert_eq!(kept(Topic::Dyspnea, raw.clone()), json!("rest"), "{raw}");
        }
        assert_eq!(kept(Topic::Medications, json!("missed 1-2")), json!("missed_1_2"));
        assert_eq!(kept(Topic::Number, json!("120 over")), json!(120.0));
    }

    #[test]
    fn changes_of_weight() {
        assert_eq!(kept(Topic::Weight, json!("5 lb gain")), json!({"change_kg": 2.268}));
        assert_eq!(kept(Topic::Weight, json!("-2 kg")), json!({"change_kg": -2.0}));
        assert_eq!(kept(Topic::Weight, json!("+3 lbs")), json!({"change_kg": 1.361}));
        assert_eq!(
            kept(Topic::Weight, json!({"change": 5, "unit": "lb", "days": 3})),
            json!({"change_kg": 2.268, "days": 3})
        );
        assert_eq!(
            kept(Topic::Weight, json!({"weight": 182, "unit": "lb", "change": -2})),
            json!({"weight_kg": 82.554, "change_kg": -0.907})
        );
        assert_eq!(kept(Topic::Weight, json!("no change")), json!({"change_kg": 0.0}));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (topic, raw, code) in [
            (Topic::Weight, json!(18000), "impossible_weight"),
            (Topic::Weight, json!(-80), "impossible_weight"),
            (Topic::Weight, json!("12 kg"), "impossible_weight"),
            (Topic::Weight, json!({"weight": 12, "unit": "kg"}), "impossible_weight"),
            (Topic::Weight, json!({"change_kg": 60}), "impossible_change"),
            (Topic::Weight, json!({"change": 5, "days": 0}), "out_of_limits"),
            (Topic::Weight, json!({"weight": 80, "unit": "furlong"}), "not_a_weight"),
            (Topic::Weight, json!("NaN"), "not_a_weight"),
            (Topic::Weight, json!("I took my pills"), "not_a_weight"),
            (Topic::Weight, json!({}), "not_a_weight"),
            (Topic::Number, json!("inf"), "not_a_number"),
            (Topic::Number, json!(-1), "out_of_limits"),
            (Topic::Number, json!("-1 degrees"), "out_of_limits"),
            (Topic::Number, json!(true), "not_a_number"),
            (Topic::Dyspnea, json!("purple"), "choice"),
            (Topic::Dyspnea, json!(true), "choice"),
            (Topic::Dizziness, json!("banana"), "yes_no"),
            (Topic::Dizziness, json!(7), "yes_no"),
            (Topic::Text, json!("a".repeat(10_000)), "too_long"),
            (Topic::Text, json!("  "), "missing"),
            (Topic::Text, json!([1]), "form"),
            (Topic::Feeling, Value::Null, "missing"),
        ] {
            assert_eq!(refused(topic, raw.clone()), code, "{topic:?} {raw}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_ask_and_not_what_was_said() {
        let refusal = validate(Topic::Dyspnea, &json!("zebra"), &NumberLimits::default()).unwrap_err().to_string();
        assert!(refusal.contains("exertion") && !refusal.contains("zebra"));
        for topic in Topic::ALL.into_iter().filter(|topic| !topic.choices().is_empty()) {
            assert_eq!(choices_of(topic), topic.choices().join(", "));
        }
    }

    proptest! {
        #[test]
        fn no_number_out_of_limits_is_accepted(value in proptest::num::f64::ANY, as_text in any::<bool>()) {
            let raw = if as_text { json!(value.to_string()) } else { json!(value) };
            let limits = NumberLimits { min: 10.0, max: 20.0, default_weight_unit: WeightUnit::Kg };
            if let Ok(AnswerValue::Number(number)) = validate(Topic::Number, &raw, &limits) {
                prop_assert!((10.0..=20.0).contains(&number));
            }
            for raw in [raw.clone(), json!({"change": raw, "unit": "kg"}), json!({"weight": raw})] {
                if let Ok(AnswerValue::Weight(report)) = validate(Topic::Weight, &raw, &limits) {
                    prop_assert!(report.weight_kg.is_none_or(|w| (20.0..=350.0).contains(&w)));
                    prop_assert!(report.change_kg.is_none_or(|c| c.abs() <= 30.0));
                }
            }
        }

        #[test]
        fn any_text_is_answered_or_refused(text in ".{0,80}", topic in proptest::sample::select(Topic::ALL.to_vec())) {
            if let Err(refusal) = validate(topic, &json!(text), &NumberLimits::default()) {
                prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }
}

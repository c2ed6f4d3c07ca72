//! Values the service's own analysis finds in a conversation: what it is asked to look for, and what its findings mean.
//!
//! They come after the call and from the same model that held it, so they are the least trusted source of an answer.
//! They still catch what the agent heard and forgot to record.

use super::{AgentText, ItemText};
use crate::answers::{AnswerValue, KG_PER_LB, Source, Sourced, Topic, WeightReport};
use serde_json::{Map, Value, json};

/// Longest text that is taken for an answer, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// Body weights of adults, in kilograms; anything else was misunderstood.
const PLAUSIBLE_KG: std::ops::RangeInclusive<f64> = 25.0..=350.0;
/// Changes of weight within days or weeks, in kilograms.
const PLAUSIBLE_CHANGE_KG: std::ops::RangeInclusive<f64> = -50.0..=50.0;
/// Units a weight may be given in.
const UNITS: [&str; 2] = ["kg", "lb"];

/// What the service is asked to find: the agent's `data_collection`.
#[must_use]
pub fn collection(text: &AgentText) -> Value {
    let mut wanted = Map::new();
    for item in text.items.iter().filter(|item| item.task.is_none()) {
        let question = item.prompts.get("en").map_or(item.id.as_str(), String::as_str);
        let about = format!("What the patient answered to: {question} Null if they did not answer.");
        let Some(topic) = item.topic else { continue };
        if topic == Topic::Weight {
            let part =
                |what: &str, kind: &str| json!({"type": kind, "description": format!("{what} Null if not said.")});
            let mut unit = part("Unit the patient used for weights.", "string");
            if let Some(unit) = unit.as_object_mut() {
                unit.insert("enum".to_owned(), json!(UNITS));
            }
            let id = &item.id;
            wanted.insert(format!("{id}_value"), part("Weight today, in the patient's unit.", "number"));
            wanted.insert(format!("{id}_unit"), unit);
            wanted.insert(
                format!("{id}_change"),
                part(
                    "Change of weight, in the patient's unit: gain is positive, loss negative, no change 0.",
                    "number",
                ),
            );
            wanted.insert(format!("{id}_days"), part("Number of days over which the weight changed.", "integer"));
            continue;
        }
        let choices = choices_of(item, topic);
        let definition = if !choices.is_empty() {
            json!({"type": "string", "description": about, "enum": choices})
        } else if topic.is_yes_no() {
            json!({"type": "boolean", "description": about})
        } else if topic == Topic::Number {
            json!({"type": "number", "description": about})
        } else {
            json!({"type": "string", "description": about})
        };
        wanted.insert(item.id.clone(), definition);
    }
    Value::Object(wanted)
}

/// The answers among the values found, each with its question. What is null, of another type than asked for, or
/// impossible is left out.
#[must_use]
pub fn collected_answers(text: &AgentText, found: &[(String, Value)]) -> Vec<(String, Sourced)> {
    let value_of = |id: &str| found.iter().find(|(name, _)| name == id).map(|(_, value)| value);
    let mut answers = Vec::new();
    for item in text.items.iter().filter(|item| item.task.is_none()) {
        let Some(topic) = item.topic else { continue };
        let value = if topic == Topic::Weight {
            weight(|part| value_of(&format!("{}_{part}", item.id)))
        } else {
            value_of(&item.id).and_then(|value| answer(item, topic, value))
        };
        if let Some(value) = value {
            answers.push((item.id.clone(), Sourced { value, source: Source::PostCall }));
        }
    }
    answers
}

fn choices_of(item: &ItemText, topic: Topic) -> Vec<String> {
    if item.choices.is_empty() {
        topic.choices().iter().map(|c| (*c).to_owned()).collect()
    } else {
        item.choices.clone()
    }
}

fn answer(item: &ItemText, topic: Topic, value: &Value) -> Option<AnswerValue> {
    let choices = choices_of(item, topic);
    if !choices.is_empty() {
        let said = value.as_str()?.trim().to_ascii_lowercase();
        return choices.into_iter().find(|choice| choice.to_ascii_lowercase() == said).map(AnswerValue::Text);
    }
    if topic.is_yes_no() {
        let said = match value {
            Value::Bool(yes) => *yes,
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" => true,
                "false" | "no" => false,
                _ => return None,
            },
            _ => return None,
        };
        return Some(AnswerValue::YesNo(said));
    }
    if topic == Topic::Number {
        return number(value).map(AnswerValue::Number);
    }
    let words = value.as_str()?.trim();
    let fits = !words.is_empty() && words.chars().count() <= MAX_TEXT_CHARS;
    fits.then(|| AnswerValue::Text(words.to_owned()))
}

fn weight<'a>(part: impl Fn(&str) -> Option<&'a Value>) -> Option<AnswerValue> {
    // A weight without its unit could be either; half or twice a person is worse than nobody.
    let kg_per_unit = match part("unit")?.as_str()?.trim().to_ascii_lowercase().as_str() {
        "kg" => 1.0,
        "lb" => KG_PER_LB,
        _ => return None,
    };
    let in_kg = |name: &str| part(name).and_then(number).map(|value| value * kg_per_unit);
    let weight_kg = in_kg("value").filter(|kg| PLAUSIBLE_KG.contains(kg));
    let change_kg = in_kg("change").filter(|kg| PLAUSIBLE_CHANGE_KG.contains(kg));
    let days = part("days").and_then(Value::as_u64).and_then(|days| u32::try_from(days).ok());
    let days = days.filter(|days| change_kg.is_some() && (1..=365).contains(days));
    (weight_kg.is_some() || change_kg.is_some()).then_some(AnswerValue::Weight(WeightReport {
        weight_kg,
        change_kg,
        days,
    }))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        _ => value.as_f64()?,
    };
    number.is_finite().then_some(number)
}

//! Weight as patients say it: "one eighty two", "up five pounds since Monday", "no change", "he bajado un kilo".
//!
//! A number is today's weight or a change of it. Its size, its unit and the words around it decide which; where they do
//! not, there is no reading.

use super::cues::Cue;
use super::extract::{Reading, Said, Spoken};
use super::speech::{Language, Quantity, Unit, Words, quantities};
use super::{AnswerValue, KG_PER_LB, WeightReport};
use serde::{Deserialize, Serialize};

/// Lightest weight of a patient that is believed.
pub const MIN_WEIGHT_KG: f64 = 20.0;
/// Heaviest weight of a patient that is believed.
pub const MAX_WEIGHT_KG: f64 = 350.0;
/// Largest change that is believed.
pub const MAX_CHANGE_KG: f64 = 30.0;
/// Longest period of a change that is kept.
pub const MAX_DAYS: u32 = 365;

/// Weights outside of this are possible, but first make one doubt the unit.
const LIKELY_KG: std::ops::RangeInclusive<f64> = 40.0..=250.0;

/// A unit of weight a clinic's patients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightUnit {
    /// Pounds.
    #[default]
    Lb,
    /// Kilograms.
    Kg,
}

impl WeightUnit {
    /// Kilograms of one.
    #[must_use]
    pub fn kilograms(self) -> f64 {
        match self {
            Self::Lb => KG_PER_LB,
            Self::Kg => 1.0,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Lb => Self::Kg,
            Self::Kg => Self::Lb,
        }
    }
}

/// A believable weight in kilograms, to the gram.
pub(super) fn believable_weight(kilograms: f64) -> Option<f64> {
    (MIN_WEIGHT_KG..=MAX_WEIGHT_KG).contains(&kilograms).then(|| to_gram(kilograms))
}

/// A believable change in kilograms, to the gram.
pub(super) fn believable_change(kilograms: f64) -> Option<f64> {
    (-MAX_CHANGE_KG..=MAX_CHANGE_KG).contains(&kilograms).then(|| to_gram(kilograms))
}

fn to_gram(kilograms: f64) -> f64 {
    (kilograms * 1000.0).round() / 1000.0
}

/// A weight said without a unit, in kilograms, and whether the usual unit explains it.
pub(crate) fn weight_without_unit(value: f64, usual: WeightUnit) -> Option<(f64, bool)> {
    let as_usual = value * usual.kilograms();
    let as_other = value * usual.other().kilograms();
    if LIKELY_KG.contains(&as_usual) {
        return Some((to_gram(as_usual), true));
    }
    if LIKELY_KG.contains(&as_other) {
        return Some((to_gram(as_other), false));
    }
    believable_weight(as_usual).map(|weight| (weight, false))
}

/// What a number turned out to be.
#[derive(Debug, Clone, Copy)]
enum Part {
    Weight { kilograms: f64, certain: bool },
    Change { kilograms: f64, certain: bool },
}

pub(super) fn read_weight(spoken: &Spoken<'_, '_>, usual: WeightUnit) -> Reading {
    let all = quantities(spoken.language, spoken.words);
    let corrected = spoken.said.iter().rev().find(|said| said.cue == Cue::Correction);
    let masses: Vec<Quantity> = all
        .iter()
        .filter(|number| matches!(number.unit, Unit::Bare | Unit::Mass(_)))
        .filter(|number| corrected.is_none_or(|mark| number.start >= mark.start || !has_mass_after(&all, mark)))
        .copied()
        .collect();
    // "three, no, five pounds", "two or three pounds": the unit said once holds for both.
    let shared = masses.iter().rev().find_map(|number| match number.unit {
        Unit::Mass(factor) => Some(factor),
        _ => None,
    });
    let mut weights: Vec<(usize, f64, bool)> = Vec::new();
    let mut changes: Vec<(usize, f64, bool)> = Vec::new();
    for number in &masses {
        match classify(spoken, number, usual, shared) {
            Some(Part::Weight { kilograms, certain }) => weights.push((number.start, kilograms, certain)),
            Some(Part::Change { kilograms, certain }) => changes.push((number.start, kilograms, certain)),
            None => {}
        }
    }
    let mut report = WeightReport::default();
    let mut certain = true;
    if let Some((kilograms, sure)) = today(spoken, &weights) {
        report.weight_kg = Some(kilograms);
        certain &= sure;
    }
    // Of "two or three pounds" the larger one counts.
    if let Some((_, kilograms, sure)) =
        changes.iter().copied().reduce(|a, b| if b.1.abs() >= a.1.abs() { b } else { a })
    {
        report.change_kg = Some(kilograms);
        certain &= sure && changes.len() == 1;
    } else if unchanged(spoken) {
        report.change_kg = Some(0.0);
    } else if let Some(change) = from_to(spoken, &weights) {
        report.change_kg = Some(change);
    }
    if report.change_kg.is_some_and(|change| change != 0.0) {
        report.days = period(spoken.language, spoken.words, &all);
    }
    (report.weight_kg.is_some() || report.change_kg.is_some()).then_some((AnswerValue::Weight(report), certain))
}

fn has_mass_after(all: &[Quantity], mark: &Said) -> bool {
    all.iter().any(|number| number.start >= mark.end && matches!(number.unit, Unit::Bare | Unit::Mass(_)))
}

fn classify(spoken: &Spoken<'_, '_>, number: &Quantity, usual: WeightUnit, shared: Option<f64>) -> Option<Part> {
    if is_clock_or_date(spoken, number) {
        return None;
    }
    let direction = direction(spoken, number);
    let explicit = match number.unit {
        Unit::Mass(factor) => Some(factor),
        _ => None,
    };
    // A bare number between others takes their unit if it is small enough to be a change.
    let factor = explicit.or(shared.filter(|_| number.value <= 30.0)).unwrap_or(usual.kilograms());
    let as_change = believable_change(number.value * factor);
    let small = number.value * factor < MIN_WEIGHT_KG;
    if let (Some(sign), Some(change), true) =
        (direction, as_change, small || !arrives(spoken, number) && explicit.is_some())
    {
        return Some(Part::Change { kilograms: sign * change, certain: !number.vague });
    }
    if small {
        // Too small for a weight. Without a direction it is taken for a gain, if it is clearly a mass.
        let mass = explicit.or(shared)?;
        let near_weight = spoken.words.len() <= 12;
        return believable_change(number.value * mass)
            .filter(|_| near_weight && !is_negated_amount(spoken, number))
            .map(|kilograms| Part::Change { kilograms, certain: false });
    }
    match explicit {
        Some(factor) => {
            believable_weight(number.value * factor).map(|kilograms| Part::Weight { kilograms, certain: true })
        }
        None if number.value.fract() == 0.0 && number.value > 800.0 => None,
        None => weight_without_unit(number.value, shared_unit(shared).unwrap_or(usual))
            .map(|(kilograms, certain)| Part::Weight { kilograms, certain }),
    }
}

fn shared_unit(shared: Option<f64>) -> Option<WeightUnit> {
    shared.map(|factor| if (factor - 1.0).abs() < f64::EPSILON { WeightUnit::Kg } else { WeightUnit::Lb })
}

/// "not a pound", "ni un kilo".
fn is_negated_amount(spoken: &Spoken<'_, '_>, number: &Quantity) -> bool {
    matches!(spoken.words.word_before(number.start, 1), "not" | "no" | "ni" | "even" | "siquiera")
}

/// "at eight", "room 12", "in 1948": numbers that are no amount.
fn is_clock_or_date(spoken: &Spoken<'_, '_>, number: &Quantity) -> bool {
    let before = spoken.words.word_before(number.start, 1);
    let small = number.value <= 12.0 && number.unit == Unit::Bare;
    let clock = small && matches!(before, "las" | "room" | "apartment" | "number" | "channel")
        || small && before == "at" && !matches!(spoken.words.word_before(number.start, 2), "im" | "was" | "me");
    let calendar =
        number.unit == Unit::Bare && matches!(spoken.words.word(number.end), "/" | "-") && number.value <= 31.0;
    clock || calendar
}

/// Whether a number is where the weight arrived ("up to 185"), not how far it went.
fn arrives(spoken: &Spoken<'_, '_>, number: &Quantity) -> bool {
    let back = |n| spoken.words.word_before(number.start, n);
    let to = |word: &str| {
        matches!(
            word,
            "to" | "at"
                | "a"
                | "from"
                | "de"
                | "was"
                | "is"
                | "am"
                | "im"
                | "weigh"
                | "weighed"
                | "peso"
                | "pese"
                | "en"
        )
    };
    to(back(1)) || matches!(back(1), "about" | "around" | "like" | "como" | "unos" | "los" | "las") && to(back(2))
}

/// +1 or -1 where a word near the number says gain or loss.
fn direction(spoken: &Spoken<'_, '_>, number: &Quantity) -> Option<f64> {
    let sign = |said: &Said| match said.cue {
        Cue::Gain => Some(1.0),
        Cue::Loss => Some(-1.0),
        _ => None,
    };
    // Before the number: "up about five", "gained I would say three".
    let before = spoken
        .said
        .iter()
        .rev()
        .find(|said| sign(said).is_some() && said.end <= number.start && number.start - said.end <= 6);
    // Behind it: "five pounds heavier", "two more than yesterday".
    let after = spoken
        .said
        .iter()
        .find(|said| sign(said).is_some() && said.start + 1 >= number.end && said.start <= number.end + 2);
    // Inside: "two more pounds".
    let inside =
        spoken.said.iter().find(|said| sign(said).is_some() && said.start >= number.start && said.end <= number.end);
    let other_between = |said: &Said| {
        quantities(spoken.language, spoken.words)
            .iter()
            .any(|other| matches!(other.unit, Unit::Mass(_)) && other.start >= said.end && other.end <= number.start)
    };
    if let Some(said) = inside {
        return sign(said);
    }
    match (before, after) {
        (Some(before), Some(after)) if other_between(before) => sign(after),
        (Some(before), _) if !other_between(before) || ranges(spoken, number) => sign(before),
        (_, Some(after)) => sign(after),
        _ => None,
    }
}

/// "two or three pounds", "between two and three".
fn ranges(spoken: &Spoken<'_, '_>, number: &Quantity) -> bool {
    matches!(spoken.words.word_before(number.start, 1), "or" | "to" | "o" | "a" | "maybe" | "and" | "y")
}

/// The weight that is said to be today's, or else the last one.
fn today(spoken: &Spoken<'_, '_>, weights: &[(usize, f64, bool)]) -> Option<(f64, bool)> {
    let (_, last, sure) = weights.last().copied()?;
    let only = weights.len() == 1;
    let past = |start: usize| {
        (start..start + 8)
            .map(|index| spoken.words.word(index))
            .take_while(|word| !matches!(*word, "and" | "but" | "y" | "pero"))
            .any(|word| matches!(word, "yesterday" | "ayer" | "last" | "pasada" | "pasado" | "monday" | "lunes"))
    };
    if !only && let Some((_, kilograms, sure)) = weights.iter().rev().find(|(start, _, _)| !past(*start)) {
        return Some((*kilograms, *sure && ((kilograms - last).abs() > 0.3 || only)));
    }
    Some((last, sure && only && !past(weights.last().map_or(0, |w| w.0))))
}

fn unchanged(spoken: &Spoken<'_, '_>) -> bool {
    spoken.affirms(Cue::Same)
        || spoken.denies(Cue::Gain) && !spoken.affirms(Cue::Loss)
        || spoken.denies(Cue::Loss) && !spoken.affirms(Cue::Gain)
}

/// "went from 180 to 185".
fn from_to(spoken: &Spoken<'_, '_>, weights: &[(usize, f64, bool)]) -> Option<f64> {
    let [(first, from, _), (second, to, _)] = weights else { return None };
    let before = |at: &usize| spoken.words.word_before(*at, 1).to_owned();
    let said = matches!(before(first).as_str(), "from" | "de") && matches!(before(second).as_str(), "to" | "a");
    said.then(|| believable_change(to - from)).flatten()
}

/// Days over which the change happened, where the words say so.
fn period(language: Language, words: &Words<'_>, all: &[Quantity]) -> Option<u32> {
    let counted = all.iter().find_map(|number| match number.unit {
        Unit::Days(factor) => Some(number.value * factor),
        _ => None,
    });
    let said = || {
        (0..words.len()).find_map(|at| {
            let next = words.word(at + 1);
            Some(match (language, words.word(at), next) {
                (Language::English, "overnight" | "yesterday", _) => 1.0,
                (Language::English, "last" | "past", "night") => 1.0,
                (Language::English, "this" | "last" | "past" | "the" | "one", "week") => 7.0,
                (Language::English, "last" | "past" | "this", "month") => 30.0,
                (Language::English, "since", "last") if words.word(at + 2) == "week" => 7.0,
                (Language::Spanish, "ayer" | "anoche", _) => 1.0,
                (Language::Spanish, "dia", "para") => 1.0,
                (Language::Spanish, "esta" | "la", "semana") => 7.0,
                (Language::Spanish, "este", "mes") => 30.0,
                _ => return None,
            })
        })
    };
    let days = counted.or_else(said)?.round();
    // Truncation cannot happen: the value lies between 1 and MAX_DAYS.
    (days >= 1.0 && days <= f64::from(MAX_DAYS)).then_some(days as u32)
}

//! Medicines: whether every dose was taken, and if not how many were missed.
//!
//! A bare "no" says nothing here, because "did you take them all" and "did you miss any" are asked alike.

use super::AnswerValue;
use super::cues::Cue;
use super::extract::{Reading, Spoken};
use super::speech::{Unit, quantities};

pub(super) fn read(spoken: &Spoken<'_, '_>) -> Reading {
    let choice = |name: &str, certain| Some((AnswerValue::Text(name.to_owned()), certain));
    let missed = spoken.affirms(Cue::Missed) || spoken.denies(Cue::Taken);
    let stopped = spoken.affirms(Cue::Stopped);
    if stopped || missed {
        let counted = count(spoken, stopped);
        let many = match counted {
            Some(doses) => doses > 2.0,
            None => stopped,
        };
        return choice(if many { "missed_3_plus" } else { "missed_1_2" }, counted.is_some());
    }
    if spoken.affirms(Cue::Taken) || spoken.denies(Cue::Missed) || spoken.denies(Cue::Stopped) {
        return choice("as_prescribed", true);
    }
    if spoken.affirms(Cue::Same) {
        return choice("as_prescribed", true);
    }
    match spoken.plain() {
        Some(true) => choice("as_prescribed", false),
        Some(false) => None,
        None if spoken.words.len() <= 4 && spoken.affirms(Cue::Good) => choice("as_prescribed", false),
        None => None,
    }
}

/// How many doses were missed, as far as it was said: the most of what the words give.
fn count(spoken: &Spoken<'_, '_>, stopped: bool) -> Option<f64> {
    let words: [(Cue, f64); 3] = [(Cue::Often, 3.0), (Cue::Twice, 2.0), (Cue::Once, 1.0)];
    let spoken_count = words.into_iter().find(|(cue, _)| spoken.has(*cue)).map(|(_, doses)| doses);
    let spoken_count = spoken_count.or_else(|| (!stopped && spoken.has(Cue::Weekday)).then_some(1.0));
    let numbers = quantities(spoken.language, spoken.words);
    let numeric = numbers
        .iter()
        .filter(|number| !matches!(number.unit, Unit::Mass(_)))
        .filter(|number| number.value >= 1.0 && number.value <= 60.0)
        // "two days ago" is when, not how often; "at eight" is a time of day.
        .filter(|number| !matches!(spoken.words.word(number.end), "ago" | "oclock" | "am" | "pm" | "atras"))
        .filter(|number| !matches!(spoken.words.word_before(number.start, 1), "at" | "hace" | "las" | "la"))
        .map(|number| match number.unit {
            Unit::Days(days) => number.value * days,
            _ => number.value,
        })
        .fold(None, |most: Option<f64>, doses| Some(most.map_or(doses, |most| most.max(doses))));
    let spoken_count = spoken_count.or_else(|| numeric.is_none().then(|| daily(spoken)).flatten());
    match (spoken_count, numeric) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Missed "every day".
fn daily(spoken: &Spoken<'_, '_>) -> Option<f64> {
    let every = |at: usize| {
        matches!(spoken.words.word(at), "every" | "each" | "todos" | "cada")
            && matches!(
                spoken.words.word(at + 1),
                "day" | "night" | "morning" | "time" | "los" | "dia" | "noche" | "vez"
            )
    };
    (0..spoken.words.len()).any(every).then_some(3.0)
}

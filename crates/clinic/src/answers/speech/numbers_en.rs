//! English numbers: "one eighty two", "a hundred and eighty-two point five", "two and a half pounds", "half a stone".

use super::Words;
use super::numbers::{Number, Quantity, Unit, digits, spoken_decimals, written_fraction};
use crate::answers::KG_PER_LB;

/// Pounds of a stone.
const LB_PER_STONE: f64 = 14.0;

/// The value of a number word by itself.
pub(super) fn value(word: &str) -> Option<f64> {
    let value = match word {
        "zero" | "oh" | "o" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "thirteen" => 13,
        "fourteen" => 14,
        "fifteen" => 15,
        "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        "twenty" => 20,
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        _ => return None,
    };
    Some(f64::from(value))
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "lb" | "lbs" | "pound" | "pounds" => Unit::Mass(KG_PER_LB),
        "kg" | "kgs" | "kilo" | "kilos" | "kilogram" | "kilograms" => Unit::Mass(1.0),
        "stone" | "stones" => Unit::Mass(LB_PER_STONE * KG_PER_LB),
        "oz" | "ounce" | "ounces" => Unit::Mass(KG_PER_LB / 16.0),
        "gram" | "grams" => Unit::Mass(0.001),
        "day" | "days" | "night" | "nights" => Unit::Days(1.0),
        "week" | "weeks" => Unit::Days(7.0),
        "fortnight" => Unit::Days(14.0),
        "month" | "months" => Unit::Days(30.0),
        "hour" | "hours" => Unit::Days(1.0 / 24.0),
        "year" | "years" | "pillow" | "pillows" | "pill" | "pills" | "tablet" | "tablets" | "time" | "times"
        | "percent" | "degrees" | "oclock" | "am" | "pm" | "milligram" | "milligrams" | "mg" | "dose" | "doses"
        | "steps" | "blocks" | "stairs" | "flights" | "minutes" | "minute" | "th" | "st" | "nd" | "rd" | "cups"
        | "glasses" | "inches" | "feet" | "over" | "dollars" | "meals" | "block" | "flight" | "grandchildren"
        | "kids" | "cats" | "dogs" | "of" => Unit::Other,
        _ => return None,
    })
}

fn is_single_digit(word: &str) -> bool {
    value(word).is_some_and(|v| v < 10.0) || (word.len() == 1 && digits(word).is_some())
}

fn tens(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    let first = value(words.word(at))?;
    if !(20.0..100.0).contains(&first) {
        return (10.0..20.0).contains(&first).then_some((first, at + 1));
    }
    match value(words.word(at + 1)) {
        Some(ones) if (1.0..10.0).contains(&ones) && !is_digit_run(words, at + 1) => Some((first + ones, at + 2)),
        _ => Some((first, at + 1)),
    }
}

/// "one eighty" after "fifty" begins a new number.
fn is_digit_run(words: &Words<'_>, at: usize) -> bool {
    value(words.word(at + 1)).is_some_and(|next| next >= 20.0) || words.word(at + 1) == "hundred"
}

/// Below a thousand, in any of the ways people say it.
fn whole(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    let word = words.word(at);
    let hundred_follows = |at: usize| words.word(at) == "hundred";
    if matches!(word, "a" | "one") && hundred_follows(at + 1) || word == "hundred" {
        return Some(rest_of_hundred(words, 100.0, if word == "hundred" { at + 1 } else { at + 2 }));
    }
    if let Some(value) = digits(word) {
        if hundred_follows(at + 1) && value < 10.0 {
            return Some(rest_of_hundred(words, value * 100.0, at + 2));
        }
        return Some((value, at + 1));
    }
    let first = value(word)?;
    if first >= 10.0 {
        return tens(words, at);
    }
    if hundred_follows(at + 1) {
        return Some(rest_of_hundred(words, first * 100.0, at + 2));
    }
    if first < 1.0 {
        return Some((first, at + 1));
    }
    // "one eighty two", "two oh five", "one eight two"; "two three" stays two numbers.
    if let Some((rest, end)) = tens(words, at + 1) {
        return Some((first * 100.0 + rest, end));
    }
    if is_single_digit(words.word(at + 1))
        && is_single_digit(words.word(at + 2))
        && !is_single_digit(words.word(at + 3))
    {
        let second = value(words.word(at + 1)).or_else(|| digits(words.word(at + 1)))?;
        let third = value(words.word(at + 2)).or_else(|| digits(words.word(at + 2)))?;
        return Some((first * 100.0 + second * 10.0 + third, at + 3));
    }
    Some((first, at + 1))
}

fn rest_of_hundred(words: &Words<'_>, hundreds: f64, at: usize) -> (f64, usize) {
    let at = if words.word(at) == "and" && words.word(at + 1) != "a" { at + 1 } else { at };
    let rest = tens(words, at).or_else(|| {
        let ones = value(words.word(at)).or_else(|| digits(words.word(at)).filter(|v| *v < 100.0))?;
        (ones < 100.0).then_some((ones, at + 1))
    });
    match rest {
        Some((rest, end)) => (hundreds + rest, end),
        None if words.word(at.saturating_sub(1)) == "and" => (hundreds, at - 1),
        None => (hundreds, at),
    }
}

/// "and a half", "and three quarters", "point five" from `at`.
fn fraction(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    match (words.word(at), words.word(at + 1), words.word(at + 2)) {
        ("and", "a" | "one", "half") => Some((0.5, at + 3)),
        ("and", "a" | "one", "quarter") => Some((0.25, at + 3)),
        ("and", "three", "quarters") => Some((0.75, at + 3)),
        ("and", "half", _) => Some((0.5, at + 2)),
        ("half", _, _) => Some((0.5, at + 1)),
        ("point" | "dot", _, _) => spoken_decimals(words, at + 1, value),
        _ => written_fraction(words, at),
    }
}

fn number_at(words: &Words<'_>, at: usize) -> Option<Number> {
    let exact = |value, end| Some(Number { end, value, vague: false });
    match (words.word(at), words.word(at + 1), words.word(at + 2)) {
        ("half", "a" | "an", _) => return exact(0.5, at + 2),
        ("a", "half" | "quarter", "a" | "of") => {
            return exact(if words.word(at + 1) == "half" { 0.5 } else { 0.25 }, at + 3);
        }
        ("a", "half", _) | ("half", "of", _) => return exact(0.5, at + 2),
        ("a", "couple", "of") => return Some(Number { end: at + 3, value: 2.0, vague: true }),
        ("a", "couple", _) | ("couple", "of", _) => return Some(Number { end: at + 2, value: 2.0, vague: true }),
        ("couple", _, _) => return Some(Number { end: at + 1, value: 2.0, vague: true }),
        ("a", "few", _) => return Some(Number { end: at + 2, value: 3.0, vague: true }),
        ("few" | "several", _, _) => return Some(Number { end: at + 1, value: 3.0, vague: true }),
        ("a", "dozen", _) => return exact(12.0, at + 2),
        ("a" | "one", "buck", _) => {
            let (rest, end) = tens(words, at + 2)?;
            return exact(100.0 + rest, end);
        }
        ("point", _, _) => {
            let (value, end) = spoken_decimals(words, at + 1, value)?;
            return exact(value, end);
        }
        _ => {}
    }
    if let Some((value, end)) = written_fraction(words, at) {
        return exact(value, end);
    }
    let (value, end) = whole(words, at)?;
    match fraction(words, end) {
        Some((part, end)) => exact(value + part, end),
        None => exact(value, end),
    }
}

/// The number at `at` with its unit.
pub(super) fn quantity_at(words: &Words<'_>, at: usize) -> Option<Quantity> {
    // "a pound", "another kilo", "a pound and a half".
    if matches!(words.word(at), "a" | "an" | "another" | "per")
        && let Some(kind @ (Unit::Mass(_) | Unit::Days(_))) = unit(words.word(at + 1))
    {
        let (part, end) = fraction(words, at + 2).filter(|_| words.word(at + 2) == "and").unwrap_or((0.0, at + 2));
        return Some(Quantity { start: at, end, value: 1.0 + part, unit: kind, vague: true });
    }
    let Number { mut end, mut value, vague } = number_at(words, at)?;
    let mut kind = Unit::Bare;
    let skip = usize::from(
        matches!(words.word(end), "more" | "extra" | "whole" | "full" | "of" | "or" | "good")
            && unit(words.word(end + 1)).is_some(),
    );
    if let Some(found) = unit(words.word(end + skip)) {
        kind = found;
        end += skip + 1;
        if let (Unit::Mass(_), Some((part, after))) = (kind, fraction(words, end)) {
            (value, end) = (value + part, after);
        }
        // "twelve stone four" has its pounds behind it.
        if kind == Unit::Mass(LB_PER_STONE * KG_PER_LB)
            && let Some((pounds, after)) = whole(words, end).filter(|(pounds, _)| *pounds < LB_PER_STONE)
        {
            (value, end) = (value + pounds / LB_PER_STONE, after);
            end += usize::from(matches!(words.word(end), "lb" | "lbs" | "pound" | "pounds"));
        }
    }
    Some(Quantity { start: at, end, value, unit: kind, vague })
}

#[cfg(test)]
mod tests {
    use super::super::{Language, quantities};
    use super::*;

    #[test]
    fn numbers_as_people_say_them() {
        for (text, expected) in [
            ("one eighty two", 182.0),
            ("a hundred and eighty-two point five", 182.5),
            ("hundred eighty", 180.0),
            ("two oh five", 205.0),
            ("one eight two", 182.0),
            ("one fifty", 150.0),
            ("a buck eighty", 180.0),
            ("eighty two and a half", 82.5),
            ("182 1/2", 182.5),
            ("two and a half pounds", 2.5),
            ("a pound and a half", 1.5),
            ("half a stone", 0.5),
            ("a couple of pounds", 2.0),
            ("point five", 0.5),
            ("a hundred and a half", 100.5),
            ("two hundred", 200.0),
            ("three hundred and four", 304.0),
            ("1,200", 1200.0),
        ] {
            let words = Words::read(text, Some(Language::English));
            let found = quantities(Language::English, &words);
            assert_eq!(found.iter().map(|q| q.value).collect::<Vec<_>>(), [expected], "{text}");
        }
    }

    #[test]
    fn stones_carry_their_pounds() {
        let words = Words::read("twelve stone four", Some(Language::English));
        let found = quantities(Language::English, &words);
        assert!(matches!(found.as_slice(), [q] if (q.value * 14.0 - 172.0).abs() < 1e-9), "{found:?}");
    }
}

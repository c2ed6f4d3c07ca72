//! Numbers among the words: digits, number words, fractions, and what kind of thing they count.

use super::{Language, Words, numbers_en, numbers_es};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// No unit was said.
    Bare,
    /// A mass; the factor to kilograms.
    Mass(f64),
    /// A time; the factor to days.
    Days(f64),
    /// Something else, such as pillows, pills, times or years of age.
    Other,
}

/// A number as it was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantity {
    /// First word.
    pub(crate) start: usize,
    /// One past the last word, unit included.
    pub(crate) end: usize,
    /// The number, in its unit.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: Unit,
    /// Said with "about", "a few" and the like, or as an article ("a pound").
    pub(crate) vague: bool,
}

/// A number without its unit, as the language's grammar reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    pub(super) end: usize,
    pub(super) value: f64,
    pub(super) vague: bool,
}

/// Whether `word` alone can be a number, in any of the languages.
pub(super) fn is_number_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        || numbers_en::value(word).is_some()
        || numbers_es::value(word).is_some()
}

/// The value of a number word by itself.
pub(crate) fn number_value(language: Language, word: &str) -> Option<f64> {
    match language {
        Language::English => numbers_en::value(word),
        Language::Spanish => numbers_es::value(word),
    }
}

/// Every number of the text, in order.
pub(crate) fn quantities(language: Language, words: &Words<'_>) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let quantity = match language {
            Language::English => numbers_en::quantity_at(words, at),
            Language::Spanish => numbers_es::quantity_at(words, at),
        };
        at = match quantity {
            Some(quantity) => {
                let end = quantity.end.max(at + 1);
                found.push(quantity);
                end
            }
            None => at + 1,
        };
    }
    found
}

/// Reads digits with their marks: `1,200` is a thousand, `82,5` and `82.5` have a fraction.
pub(super) fn digits(word: &str) -> Option<f64> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let marks: Vec<char> = word.chars().filter(|c| !c.is_ascii_digit()).collect();
    let plain = match marks.as_slice() {
        [] => word.to_owned(),
        [mark] => {
            let (whole, fraction) = word.split_once(*mark)?;
            if *mark == ',' && fraction.len() == 3 {
                format!("{whole}{fraction}")
            } else {
                format!("{whole}.{fraction}")
            }
        }
        _ => return None,
    };
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The fraction `numerator / denominator` written with a bar at `at`, and where it ends.
pub(super) fn written_fraction(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    let (top, bottom) = (digits(words.word(at))?, digits(words.word(at + 2))?);
    // Dates have two bars.
    let is_fraction = words.word(at + 1) == "/" && words.word(at + 3) != "/" && top < bottom && bottom <= 8.0;
    is_fraction.then_some((top / bottom, at + 3))
}

/// Digits of a decimal fraction from `at`, spoken one by one or as one number below 100: "point two five", "punto cinco".
pub(super) fn spoken_decimals(words: &Words<'_>, at: usize, value: fn(&str) -> Option<f64>) -> Option<(f64, usize)> {
    let mut text = String::from("0.");
    let mut end = at;
    while end < at + 3 {
        let word = words.word(end);
        let Some(digit) = value(word).or_else(|| digits(word)).filter(|v| *v >= 0.0 && *v < 100.0 && v.fract() == 0.0)
        else {
            break;
        };
        text.push_str(&format!("{digit}"));
        end += 1;
    }
    (end > at).then(|| text.parse().ok().map(|fraction| (fraction, end))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_both_hands() {
        for (text, value) in [("182", 182.0), ("1,200", 1200.0), ("82,5", 82.5), ("82.5", 82.5)] {
            assert_eq!(digits(text), Some(value), "{text}");
        }
        assert_eq!(digits("1.2.3"), None);
        assert_eq!(digits("abc"), None);
    }
}

//! Dates of birth as they are said, written and keyed.
//!
//! A date is three fields in a row: a month by name or number, a day, a year. Each field can have more than one reading
//! ("twenty one" is 21, or 20 and then 1), so every combination that makes a real date is kept, the likeliest first.

use crate::answers::speech::{Language, Words, number_value};
use jiff::civil::Date;

/// Years a patient can be born in.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2030;
/// The last year of this century that two digits may stand for.
const LAST_SHORT_YEAR: i16 = 25;

/// The date of birth in `text`, in its likeliest reading; of several dates the last one.
///
/// English reads the month before the day, except with the region of a country that does not; Spanish reads the day first.
#[must_use]
pub fn birth_date(language: &str, text: &str) -> Option<Date> {
    readings(language, text).into_iter().next()
}

/// Every date of birth that keys can stand for: month, day, year; day, month, year; or year, month, day; the year with
/// four digits or two.
#[must_use]
pub fn keys_birth_date(digits: &str) -> Vec<Date> {
    let number = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<i16>().ok());
    let mut found: Vec<Date> = Vec::new();
    let mut push = |year: Option<i16>, month: Option<i16>, day: Option<i16>| {
        if let Some(date) = year.zip(month).zip(day).and_then(|((year, month), day)| real(year, month, day))
            && !found.contains(&date)
        {
            found.push(date);
        }
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let (first, second) = (number(0, 2), number(2, 4));
    match digits.len() {
        8 => {
            push(number(4, 8), first, second);
            push(number(4, 8), second, first);
            push(number(0, 4), number(4, 6), number(6, 8));
        }
        6 => {
            for year in number(4, 6).map(short_years).unwrap_or_default() {
                push(Some(year), first, second);
                push(Some(year), second, first);
            }
        }
        _ => {}
    }
    found
}

fn real(year: i16, month: i16, day: i16) -> Option<Date> {
    if !YEARS.contains(&year) {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The years that two digits stand for, the likelier first: patients are old.
fn short_years(year: i16) -> Vec<i16> {
    if year <= LAST_SHORT_YEAR { vec![1900 + year, 2000 + year] } else { vec![1900 + year] }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Month(i16),
    Number(i16),
}

/// Every reading of the last date in `text`, the likeliest first.
pub(super) fn readings(language: &str, text: &str) -> Vec<Date> {
    let Some(known) = Language::of(language) else { return Vec::new() };
    let words = Words::read(text, Some(known));
    let day_first = known == Language::Spanish || is_day_first_region(language);
    let mut last = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match date_at(known, &words, at, day_first) {
            Some((dates, end)) => {
                last = dates;
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
    last
}

fn is_day_first_region(language: &str) -> bool {
    let region = language.split(['-', '_']).nth(1).unwrap_or("").to_ascii_lowercase();
    matches!(region.as_str(), "gb" | "uk" | "ie" | "au" | "nz" | "za" | "in")
}

fn date_at(language: Language, words: &Words<'_>, at: usize, day_first: bool) -> Option<(Vec<Date>, usize)> {
    let mut dates: Vec<Date> = Vec::new();
    let mut end = at;
    let mut keep = |date: Option<Date>, to: usize| {
        if let Some(date) = date
            && !dates.contains(&date)
        {
            dates.push(date);
            end = end.max(to);
        }
    };
    // Year first, written with four digits.
    if let Some(year) = four_digits(words.word(at)) {
        for (month, after) in fields(language, words, at + 1) {
            for (day, to) in fields(language, words, after) {
                if let (Field::Month(month) | Field::Number(month), Field::Number(day)) = (month, day) {
                    keep(real(year, month, day), to);
                }
            }
        }
    }
    for (first, after) in fields(language, words, at) {
        for (second, after) in fields(language, words, after) {
            for (year, to) in years(language, words, after) {
                let orders = match (first, second) {
                    (Field::Month(month), Field::Number(day)) | (Field::Number(day), Field::Month(month)) => {
                        vec![(month, day)]
                    }
                    (Field::Number(a), Field::Number(b)) if day_first => vec![(b, a), (a, b)],
                    (Field::Number(a), Field::Number(b)) => vec![(a, b), (b, a)],
                    (Field::Month(_), Field::Month(_)) => Vec::new(),
                };
                for (month, day) in orders {
                    keep(real(year, month, day), to);
                }
            }
        }
    }
    (!dates.is_empty()).then_some((dates, end))
}

fn four_digits(word: &str) -> Option<i16> {
    (word.len() == 4).then(|| word.parse().ok()).flatten().filter(|year| YEARS.contains(year))
}

/// Past the small words between fields.
fn skip(words: &Words<'_>, mut at: usize) -> usize {
    let mut skipped = 0;
    while skipped < 3
        && matches!(
            words.word(at),
            "of" | "the"
                | "de"
                | "del"
                | "el"
                | "ano"
                | "in"
                | "and"
                | "/"
                | "-"
                | "on"
                | "year"
                | "th"
                | "st"
                | "nd"
                | "rd"
                | "day"
                | "dia"
                | "mes"
                | "month"
        )
    {
        at += 1;
        skipped += 1;
    }
    at
}

fn number(language: Language, word: &str) -> Option<i16> {
    if word.len() <= 2 && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return word.parse().ok();
    }
    // Number words are whole and small.
    number_value(language, word).filter(|value| *value < 100.0).map(|value| value as i16)
}

/// A month or a small number at `at`, in every reading.
fn fields(language: Language, words: &Words<'_>, at: usize) -> Vec<(Field, usize)> {
    let at = skip(words, at);
    let word = words.word(at);
    if let Some(month) = month(language, word) {
        return vec![(Field::Month(month), at + 1)];
    }
    let mut found = Vec::new();
    if let Some(day) = ordinal(language, word) {
        found.push((Field::Number(day), at + 1));
    }
    let Some(value) = number(language, word) else { return found };
    // "oh four", "zero four".
    if value == 0 {
        return match number(language, words.word(at + 1)).filter(|next| *next < 10) {
            Some(next) => vec![(Field::Number(next), at + 2)],
            None => found,
        };
    }
    if matches!(value, 20 | 30) && !word.starts_with(|c: char| c.is_ascii_digit()) {
        let next = if words.word(at + 1) == "y" { at + 2 } else { at + 1 };
        let ones = ordinal(language, words.word(next)).or_else(|| number(language, words.word(next)));
        if let Some(ones) = ones.filter(|ones| (1..10).contains(ones)) {
            found.push((Field::Number(value + ones), next + 1));
        }
    }
    if value <= 31 {
        found.push((Field::Number(value), at + 1));
    }
    found
}

/// A year at `at`, in every reading.
fn years(language: Language, words: &Words<'_>, at: usize) -> Vec<(i16, usize)> {
    let at = skip(words, at);
    let word = words.word(at);
    if let Some(year) = four_digits(word) {
        return vec![(year, at + 1)];
    }
    let mut found = Vec::new();
    let below_hundred = |at: usize| -> Option<(i16, usize)> {
        let at = if matches!(words.word(at), "and" | "y") { at + 1 } else { at };
        let tens = number(language, words.word(at))?;
        let typed = words.word(at).starts_with(|c: char| c.is_ascii_digit());
        let next = if words.word(at + 1) == "y" { at + 2 } else { at + 1 };
        if (tens == 0 || tens >= 20 && tens % 10 == 0)
            && !typed
            && let Some(ones) = number(language, words.word(next)).filter(|ones| (1..10).contains(ones))
        {
            return Some((tens + ones, next + 1));
        }
        Some((tens, at + 1))
    };
    let century = match (language, word, words.word(at + 1)) {
        (Language::English, "nineteen" | "19", "hundred") | (Language::Spanish, "mil", "novecientos") => {
            Some((1900, at + 2))
        }
        (Language::English, "two", "thousand") | (Language::Spanish, "dos", "mil") => Some((2000, at + 2)),
        (_, "nineteen" | "19" | "diecinueve", _) => Some((1900, at + 1)),
        (Language::English, "twenty" | "20", _) => Some((2000, at + 1)),
        _ => None,
    };
    if let Some((century, after)) = century {
        match below_hundred(after) {
            Some((rest, end)) => found.push((century + rest, end)),
            None if after == at + 2 => found.push((century, after)),
            None => {}
        }
    }
    // "one nine four eight".
    let digits: Vec<i16> = (at..at + 4).map_while(|at| number(language, words.word(at)).filter(|d| *d < 10)).collect();
    if let [a, b, c, d] = digits.as_slice() {
        found.push((a * 1000 + b * 100 + c * 10 + d, at + 4));
    }
    // "forty eight", "48"; a lone digit is no year.
    if let Some((short, end)) =
        below_hundred(at).filter(|(short, end)| *short >= 10 || end - at == 2 || word.len() == 2)
    {
        found.extend(short_years(short).into_iter().map(|year| (year, end)));
    }
    found
}

fn month(language: Language, word: &str) -> Option<i16> {
    const ENGLISH: [&[&str]; 12] = [
        &["january", "jan"],
        &["february", "feb"],
        &["march", "mar"],
        &["april", "apr"],
        &["may"],
        &["june", "jun"],
        &["july", "jul"],
        &["august", "aug"],
        &["september", "sept", "sep"],
        &["october", "oct"],
        &["november", "nov"],
        &["december", "dec"],
    ];
    const SPANISH: [&[&str]; 12] = [
        &["enero"],
        &["febrero"],
        &["marzo"],
        &["abril"],
        &["mayo"],
        &["junio"],
        &["julio"],
        &["agosto"],
        &["septiembre", "setiembre"],
        &["octubre"],
        &["noviembre"],
        &["diciembre"],
    ];
    let names = match language {
        Language::English => ENGLISH,
        Language::Spanish => SPANISH,
    };
    names.iter().zip(1..).find(|(names, _)| names.contains(&word)).map(|(_, month)| month)
}

fn ordinal(language: Language, word: &str) -> Option<i16> {
    const ENGLISH: [&str; 20] = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
        "eleventh",
        "twelfth",
        "thirteenth",
        "fourteenth",
        "fifteenth",
        "sixteenth",
        "seventeenth",
        "eighteenth",
        "nineteenth",
        "twentieth",
    ];
    match (language, word) {
        (Language::English, "thirtieth") => Some(30),
        (Language::English, word) => ENGLISH.iter().zip(1..).find(|(name, _)| **name == word).map(|(_, day)| day),
        (Language::Spanish, "primero" | "primer") => Some(1),
        (Language::Spanish, _) => None,
    }
}

/// The digits said one after the other, as a PIN is.
pub(super) fn spoken_digits(language: &str, text: &str) -> String {
    let Some(known) = Language::of(language) else { return String::new() };
    let words = Words::read(text, Some(known));
    let mut digits = String::new();
    let mut at = 0;
    while at < words.len() {
        let word = words.word(at);
        at += 1;
        if word.bytes().all(|b| b.is_ascii_digit()) {
            digits.push_str(word);
        } else if let Some(value) = number(known, word) {
            let next = if words.word(at) == "y" { at + 1 } else { at };
            let ones = number(known, words.word(next)).filter(|ones| (1..10).contains(ones));
            match ones.filter(|_| value >= 20 && value % 10 == 0) {
                Some(ones) => {
                    digits.push_str(&(value + ones).to_string());
                    at = next + 1;
                }
                None => digits.push_str(&value.to_string()),
            }
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn dates_as_they_are_said() {
        let first_of_april = Some(date(1948, 4, 1));
        for text in [
            "April first nineteen forty-eight",
            "the 1st of April 1948",
            "April 1, 1948",
            "4 1 48",
            "4/1/48",
            "04-01-1948",
            "four one forty eight",
            "oh four oh one nineteen forty eight",
            "1948-04-01",
            "well I was born April the first in nineteen forty eight",
            "four one one nine four eight",
            "april first 19 48",
            "APRIL 1ST, '48",
        ] {
            assert_eq!(birth_date("en", text), first_of_april, "{text}");
        }
        for text in [
            "uno de abril de mil novecientos cuarenta y ocho",
            "primero de abril del cuarenta y ocho",
            "el 1 de abril de 1948",
            "1/4/48",
            "uno del cuatro del cuarenta y ocho",
            "1948-04-01",
        ] {
            assert_eq!(birth_date("es", text), first_of_april, "{text}");
        }
        assert_eq!(birth_date("en-GB", "1/4/48"), first_of_april);
        assert_eq!(birth_date("en", "December twenty first nineteen thirty"), Some(date(1930, 12, 21)));
        assert_eq!(birth_date("en", "ten thirty one fifty five"), Some(date(1955, 10, 31)));
        assert_eq!(
            birth_date("es", "treinta y uno de diciembre de mil novecientos treinta y nueve"),
            Some(date(1939, 12, 31))
        );
        assert_eq!(birth_date("en", "may fifth nineteen oh nine"), Some(date(1909, 5, 5)));
        assert_eq!(birth_date("es", "dos de mayo de dos mil uno"), Some(date(2001, 5, 2)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "April first", "one eighty two", "february 30 1948", "13 13 1948", "I am eighty one", "2580"] {
            assert_eq!(birth_date("en", text), None, "{text}");
        }
        assert_eq!(birth_date("fr", "1 avril 1948"), None);
    }

    #[test]
    fn keys_are_read_in_every_order() {
        assert_eq!(keys_birth_date("04011948"), [date(1948, 4, 1), date(1948, 1, 4)]);
        assert_eq!(keys_birth_date("25121940"), [date(1940, 12, 25)]);
        assert_eq!(keys_birth_date("040148"), [date(1948, 4, 1), date(1948, 1, 4)]);
        assert!(keys_birth_date("19480401").contains(&date(1948, 4, 1)));
        for digits in ["", "0401", "99999999", "0401194", "04/01/48"] {
            assert!(keys_birth_date(digits).is_empty(), "{digits}");
        }
    }
}

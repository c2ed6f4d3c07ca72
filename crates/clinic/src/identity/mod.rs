//! Identity: whether whoever is on the line is the patient, by date of birth or PIN, spoken or keyed.
//!
//! Nothing in here tells what the right answer is: a caller hears no more than that it did or did not fit, and neither type
//! shows its content when debugged.

mod dates;
mod manners;

pub use dates::{birth_date, keys_birth_date};
pub use manners::{consent, wrong_person};

use jiff::civil::Date;
use serde_json::Value;
use std::fmt;

/// Longest key sequence that is looked at.
const MAX_KEYS: usize = 16;
/// Longest text of a tool parameter that is looked at, in characters.
const MAX_TOOL_CHARS: usize = 200;

/// Outcome of one attempt to identify the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The date of birth or the PIN is the patient's.
    Match,
    /// A date or a PIN was given, and it is not the patient's.
    Mismatch,
    /// Nothing that looks like a date or a PIN; ask again.
    Unclear,
}

/// What identifies a patient on the telephone. PHI.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Date of birth.
    pub birth_date: Date,
    /// Digits agreed upon with the clinic.
    pub pin: Option<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

impl Identity {
    /// Checks what the caller said. Of several dates the last one counts, so that a slip can be mended and a list of
    /// guesses cannot.
    ///
    /// A date such as "4 1 48" can be read in two orders; either reading may match.
    #[must_use]
    pub fn check_spoken(&self, language: &str, text: &str) -> Verdict {
        let readings = dates::readings(language, text);
        if readings.contains(&self.birth_date) {
            return Verdict::Match;
        }
        let digits = dates::spoken_digits(language, text);
        match self.check_pin(&digits) {
            Verdict::Unclear if !readings.is_empty() => Verdict::Mismatch,
            verdict => verdict,
        }
    }

    /// Checks keys the caller pressed; `*` and `#` are only marks.
    #[must_use]
    pub fn check_keys(&self, keys: &str) -> Verdict {
        let digits: String = keys.chars().filter(char::is_ascii_digit).take(MAX_KEYS + 1).collect();
        if digits.len() > MAX_KEYS {
            return Verdict::Unclear;
        }
        let readings = keys_birth_date(&digits);
        if readings.contains(&self.birth_date) {
            return Verdict::Match;
        }
        match self.check_pin(&digits) {
            Verdict::Unclear if !readings.is_empty() => Verdict::Mismatch,
            verdict => verdict,
        }
    }

    /// Checks what a language model wrote into a tool parameter: a date in any form, a PIN, or an object with
    /// `birth_date`, `pin` or `value`.
    #[must_use]
    pub fn check_tool(&self, raw: &Value) -> Verdict {
        match raw {
            Value::String(text) if text.chars().count() > MAX_TOOL_CHARS => Verdict::Unclear,
            Value::String(text) => {
                let text = text.trim();
                if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
                    return self.check_keys(text);
                }
                best([self.check_spoken("en", text), self.check_spoken("es", text)])
            }
            Value::Number(number) => self.check_keys(&number.to_string()),
            Value::Object(map) => {
                let fields = ["birth_date", "date_of_birth", "dob", "pin", "value"];
                best(
                    fields
                        .iter()
                        .filter_map(|name| map.get(*name))
                        .filter(|v| !v.is_object())
                        .map(|v| self.check_tool(v)),
                )
            }
            _ => Verdict::Unclear,
        }
    }

    fn check_pin(&self, digits: &str) -> Verdict {
        match &self.pin {
            Some(pin) if !pin.is_empty() && digits == pin => Verdict::Match,
            Some(pin) if !pin.is_empty() && digits.len() == pin.len() => Verdict::Mismatch,
            _ => Verdict::Unclear,
        }
    }
}

/// A match if there is one, else a mismatch if there is one.
fn best(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().fold(Verdict::Unclear, |best, verdict| match (best, verdict) {
        (Verdict::Match, _) | (_, Verdict::Match) => Verdict::Match,
        (Verdict::Mismatch, _) | (_, Verdict::Mismatch) => Verdict::Mismatch,
        _ => Verdict::Unclear,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;
    use serde_json::json;

    fn ada() -> Identity {
        Identity { birth_date: date(1948, 4, 1), pin: Some("2580".to_owned()) }
    }

    #[test]
    fn the_right_date_or_pin_matches() {
        for text in [
            "April first nineteen forty-eight",
            "it's 4 1 48",
            "my pin is two five eight zero",
            "2580",
            "um April 2nd no sorry April 1st 1948",
        ] {
            assert_eq!(ada().check_spoken("en", text), Verdict::Match, "{text}");
        }
        assert_eq!(ada().check_spoken("es", "el primero de abril del cuarenta y ocho"), Verdict::Match);
        for keys in ["04011948", "01041948", "040148", "2580", "2580#"] {
            assert_eq!(ada().check_keys(keys), Verdict::Match, "{keys}");
        }
        for raw in [
            json!("1948-04-01"),
            json!({"birth_date": "April 1, 1948"}),
            json!({"pin": "2580"}),
            json!(2580),
            json!("04011948"),
            json!({"pin": "1111", "birth_date": "4/1/1948"}),
        ] {
            assert_eq!(ada().check_tool(&raw), Verdict::Match, "{raw}");
        }
    }

    #[test]
    fn a_wrong_one_does_not() {
        for text in ["April second nineteen forty-eight", "May 1 1948", "1111", "April 1 1948 no April 2 1948"] {
            assert_eq!(ada().check_spoken("en", text), Verdict::Mismatch, "{text}");
        }
        assert_eq!(ada().check_keys("04021948"), Verdict::Mismatch);
        assert_eq!(ada().check_keys("2581"), Verdict::Mismatch);
        assert_eq!(ada().check_tool(&json!({"birth_date": "1950-01-01"})), Verdict::Mismatch);
    }

    #[test]
    fn what_is_neither_is_asked_again() {
        for text in ["", "who is this", "April first", "I'm eighty years old", "yes this is she"] {
            assert_eq!(ada().check_spoken("en", text), Verdict::Unclear, "{text}");
        }
        for keys in ["", "#", "1", "99999999", "12345678901234567890"] {
            assert_eq!(ada().check_keys(keys), Verdict::Unclear, "{keys}");
        }
        for raw in [
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!({"birth_date": {"value": "1948-04-01"}}),
            json!("x".repeat(500)),
        ] {
            assert_eq!(ada().check_tool(&raw), Verdict::Unclear, "{raw}");
        }
        let without_pin = Identity { pin: None, ..ada() };
        assert_eq!(without_pin.check_keys("2580"), Verdict::Unclear);
    }

    #[test]
    fn nothing_shows_in_debug() {
        let shown = format!("{:?}", ada());
        assert!(!shown.contains("1948") && !shown.contains("2580"));
    }

    proptest! {
        #[test]
        fn any_text_gets_a_verdict(text in "\\PC{0,200}", keys in "[0-9*#]{0,20}") {
            let _ = ada().check_spoken("en", &text);
            let _ = ada().check_spoken("es-MX", &text);
            let _ = ada().check_tool(&json!(text));
            let _ = ada().check_keys(&keys);
        }

        #[test]
        fn every_birth_date_is_found_in_its_written_forms(days in 0_i32..36_500) {
            let born = date(1915, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap_or(date(1915, 1, 1));
            prop_assert_eq!(birth_date("en", &born.to_string()), Some(born));
            let (m, d, y) = (born.month(), born.day(), born.year());
            prop_assert_eq!(birth_date("en-US", &format!("{m}/{d}/{y}")), Some(born));
            prop_assert_eq!(birth_date("es", &format!("{d}/{m}/{y}")), Some(born));
            let keyed = format!("{m:02}{d:02}{y}");
            prop_assert!(keys_birth_date(&keyed).contains(&born));
        }
    }
}

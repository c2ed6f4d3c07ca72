//! Reading of spoken language: words out of a transcript, phrases among the words, numbers, and the reach of a "no".
//!
//! A telephone transcript has no reliable punctuation, capitals or accents, so nothing here depends on them where it can
//! be helped. Everything is a table of phrases and a few rules; no model, and the same text always reads the same.

mod negation;
mod numbers;
mod numbers_en;
mod numbers_es;
mod phrases;
mod tokens;

pub(crate) use negation::{is_negated, is_negator, is_scope_end};
pub(crate) use numbers::{Quantity, Unit, number_value, quantities};
pub(crate) use phrases::{Hit, Phrase, Scanner, find_all};
pub(crate) use tokens::{MAX_CHARS, Pause, Words};

/// A language with complete tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    /// English.
    English,
    /// Spanish.
    Spanish,
}

impl Language {
    /// The language of a code such as `en`, `en-US` or `es_MX`, if its tables are complete.
    pub(crate) fn of(code: &str) -> Option<Self> {
        match primary_subtag(code).as_str() {
            "en" => Some(Self::English),
            "es" => Some(Self::Spanish),
            _ => None,
        }
    }
}

/// The language alone of a code with region, in lower case.
pub(crate) fn primary_subtag(code: &str) -> String {
    code.split(['-', '_']).next().unwrap_or("").trim().to_ascii_lowercase()
}

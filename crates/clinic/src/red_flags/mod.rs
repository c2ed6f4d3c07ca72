//! Red flags: words of a patient that mean an emergency, found in the transcript while the patient speaks.
//!
//! A red flag needs no tool call of the agent and no arithmetic. It errs towards raising: a nurse who looks in vain loses
//! a minute. It is not raised where the words deny it ("no chest pain"), belong to long ago or to somebody else, are only
//! imagined ("if I had chest pain"), or mean something else ("dying to see you").
//!
//! English and Spanish are complete. French, German, Portuguese and Italian know the gravest phrases only, so that a patient
//! who falls back into their first language is heard.

mod context;
mod en;
mod es;
mod other;

use crate::answers::speech::{Language, Pause, Phrase, Words, find_all, is_negated, is_negator, primary_subtag};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Pain, pressure or tightness in the chest.
pub const CHEST_PAIN: &str = "chest_pain";
/// Short of breath at rest, cannot lie flat, cannot finish a sentence, gasping.
pub const BREATHLESS_AT_REST: &str = "breathless_at_rest";
/// Lost consciousness, or nearly so.
pub const FAINTING: &str = "fainting";
/// Confused, disoriented, sees things.
pub const CONFUSION: &str = "confusion";
/// Lips, fingers or face turned blue or grey.
pub const BLUE_LIPS: &str = "blue_lips";
/// A drooping face, a numb or weak side, slurred speech.
pub const STROKE_SIGNS: &str = "stroke_signs";
/// Thoughts of death or of self-harm.
pub const SELF_HARM: &str = "self_harm";
/// Pink, frothy or bloody sputum.
pub const PINK_SPUTUM: &str = "pink_sputum";

/// Every code this module raises by itself.
pub const CODES: [&str; 8] =
    [CHEST_PAIN, BREATHLESS_AT_REST, FAINTING, CONFUSION, BLUE_LIPS, STROKE_SIGNS, SELF_HARM, PINK_SPUTUM];

/// Most additional rules that are read.
pub const MAX_EXTRA_RULES: usize = 64;
/// Most phrases of an additional rule that are read.
pub const MAX_EXTRA_PHRASES: usize = 64;

/// A red flag that was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedFlag {
    /// Stable code, such as `chest_pain`.
    pub code: String,
    /// The words that raised it, as the patient said them, or what else did. PHI.
    pub evidence: String,
}

/// A protocol's own red flag. A denial before a phrase is understood as for the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraRule {
    /// Code to raise.
    pub code: String,
    /// Language of the phrases, such as `en`; `*` for every language.
    pub language: String,
    /// Phrases; `*` stands for any one word. Spelling, accents and punctuation do not matter.
    pub phrases: Vec<String>,
}

/// A way of putting an emergency into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Raised wherever it is said, unless denied or out of time.
    Plain,
    /// Raised unless the words speak of effort without speaking of rest: "I can't catch my breath on the stairs".
    UnlessEffort,
    /// Raised only where the words speak of rest: "short of breath" and "just sitting here".
    AtRest,
    /// Not even denied by a "not" before it, because it holds one itself: "I don't want to live".
    Absolute,
}

/// A table: code, kind, phrases.
type Rules = &'static [(&'static str, Kind, &'static [&'static str])];

struct Rule {
    code: &'static str,
    kind: Kind,
    phrases: Vec<Phrase>,
}

/// Everything known of a language.
struct Tables {
    rules: Vec<Rule>,
    /// Phrases that mean something else.
    idioms: Vec<Phrase>,
    /// Words of rest.
    rest: Vec<Phrase>,
    /// Words of effort.
    effort: Vec<Phrase>,
}

fn compile(phrases: &[&str]) -> Vec<Phrase> {
    phrases.iter().map(|phrase| Phrase::new(phrase)).collect()
}

fn rules(rules: Rules) -> Vec<Rule> {
    rules.iter().map(|(code, kind, phrases)| Rule { code, kind: *kind, phrases: compile(phrases) }).collect()
}

static ENGLISH: LazyLock<Tables> = LazyLock::new(|| Tables {
    rules: rules(en::RULES),
    idioms: compile(en::IDIOMS),
    rest: compile(en::REST),
    effort: compile(en::EFFORT),
});

static SPANISH: LazyLock<Tables> = LazyLock::new(|| Tables {
    rules: rules(es::RULES),
    idioms: compile(es::IDIOMS),
    rest: compile(es::REST),
    effort: compile(es::EFFORT),
});

/// Every red flag in `text`, each code at most once, in the order of [`CODES`], then those of `extra`.
///
/// `language` is a code such as `en` or `es-MX`. Only the first 2,000 characters are read.
#[must_use]
pub fn detect(language: &str, text: &str, extra: &[ExtraRule]) -> Vec<RedFlag> {
    let known = Language::of(language);
    let words = Words::read(text, known);
    let mut flags = match known {
        Some(Language::English) => built_in(Language::English, &ENGLISH, &words),
        Some(Language::Spanish) => built_in(Language::Spanish, &SPANISH, &words),
        None => other::detect(&primary_subtag(language), &words),
    };
    flags.extend(added(language, known, &words, extra));
    flags
}

fn built_in(language: Language, tables: &Tables, words: &Words<'_>) -> Vec<RedFlag> {
    let mut idiomatic = vec![false; words.len()];
    for hit in find_all(&tables.idioms, words) {
        if let Some(range) = idiomatic.get_mut(hit.start..hit.end) {
            range.fill(true);
        }
    }
    let mut flags: Vec<RedFlag> = Vec::new();
    for code in CODES {
        let found = tables.rules.iter().filter(|rule| rule.code == code).find_map(|rule| {
            find_all(&rule.phrases, words)
                .into_iter()
                .filter(|hit| !(hit.start..hit.end).any(|at| idiomatic.get(at).copied().unwrap_or(false)))
                .filter(|hit| !crosses_a_stop(words, hit.start, hit.end))
                .filter(|hit| {
                    matches!(rule.kind, Kind::Absolute)
                        || rule.code == CONFUSION
                        || !denied_inside(language, words, rule.phrases.get(hit.tag), hit.start, hit.end)
                })
                .find(|hit| stands(language, tables, words, rule.kind, hit.start, hit.end))
        });
        if let Some(hit) = found {
            let (from, to) = context::sentence(words, hit.start, hit.end);
            flags.push(RedFlag { code: code.to_owned(), evidence: words.quote(from, to) });
        }
    }
    flags
}

/// "My chest doesn't hurt": the room of a phrase holds a "not" of the patient's.
fn denied_inside(language: Language, words: &Words<'_>, phrase: Option<&Phrase>, start: usize, end: usize) -> bool {
    // "Cannot talk without gasping" begins with its own.
    if is_negator(language, words.word(start)) {
        return false;
    }
    (start + 1..end).any(|at| {
        let word = words.word(at);
        let own = phrase.is_some_and(|phrase| phrase.names(word));
        let opens_doubt =
            matches!(words.word(at + 1), "know" | "sure" | "really" | "se" | "just" | "only" | "mas" | "solo");
        is_negator(language, word) && !own && !opens_doubt && !context::denies_nothing(language, words, at)
    })
}

/// A phrase does not reach from one sentence into the next.
fn crosses_a_stop(words: &Words<'_>, start: usize, end: usize) -> bool {
    words.tokens().get(start + 1..end).is_some_and(|inside| inside.iter().any(|token| token.before == Pause::Stop))
}

fn stands(language: Language, tables: &Tables, words: &Words<'_>, kind: Kind, start: usize, end: usize) -> bool {
    if kind != Kind::Absolute && is_negated(language, words, start, |at| context::denies_nothing(language, words, at)) {
        return false;
    }
    if kind != Kind::Absolute && context::is_denied_after(language, words, start, end) {
        return false;
    }
    if context::is_hypothetical(language, words, start)
        || context::is_long_ago(language, words, start, end)
        || context::is_somebody_else(language, words, start, end)
    {
        return false;
    }
    let (from, to) = context::sentence(words, start, end);
    let said = |phrases: &[Phrase]| {
        find_all(phrases, words)
            .into_iter()
            .any(|hit| hit.start >= from && hit.end <= to && !is_negated(language, words, hit.start, |_| false))
    };
    match kind {
        Kind::Plain | Kind::Absolute => true,
        Kind::UnlessEffort => said(&tables.rest) || !said(&tables.effort),
        Kind::AtRest => said(&tables.rest),
    }
}

fn added(language: &str, known: Option<Language>, words: &Words<'_>, extra: &[ExtraRule]) -> Vec<RedFlag> {
    let spoken = primary_subtag(language);
    let mut flags: Vec<RedFlag> = Vec::new();
    let applies = |rule: &&ExtraRule| rule.language == "*" || primary_subtag(&rule.language) == spoken;
    for rule in extra.iter().filter(applies).take(MAX_EXTRA_RULES) {
        let phrases: Vec<Phrase> = rule
            .phrases
            .iter()
            .take(MAX_EXTRA_PHRASES)
            .map(|phrase| Phrase::literal(phrase, known))
            .filter(|phrase| !phrase.is_empty())
            .collect();
        let found = phrases.iter().find_map(|phrase| {
            let denied = |start: usize, end: usize| {
                known.is_some_and(|language| {
                    // A wildcard may stand for a "not".
                    let inside =
                        (start..end).any(|at| is_negator(language, words.word(at)) && !phrase.names(words.word(at)));
                    inside || is_negated(language, words, start, |_| false)
                })
            };
            find_all(std::slice::from_ref(phrase), words).into_iter().find(|hit| !denied(hit.start, hit.end))
        });
        if let Some(hit) = found
            && !flags.iter().any(|flag| flag.code == rule.code)
        {
            flags.push(RedFlag { code: rule.code.clone(), evidence: words.quote(hit.start, hit.end) });
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes(language: &str, text: &str) -> Vec<String> {
        detect(language, text, &[]).into_iter().map(|flag| flag.code).collect()
    }

    #[test]
    fn the_evidence_is_what_was_said() {
        let flags = detect("en-US", "I slept fine. But there's like an Elephant on my chest! Is that bad?", &[]);
        assert_eq!(flags.len(), 1);
        assert_eq!(flags.first().map(|f| f.evidence.as_str()), Some("But there's like an Elephant on my chest"));
    }

    #[test]
    fn a_protocol_adds_its_own() {
        let rule = |language: &str, phrase: &str| ExtraRule {
            code: "icd_shock".into(),
            language: language.into(),
            phrases: vec![phrase.into()],
        };
        let rules = [rule("en", "my device * shocked me"), rule("es", "me dio un choque"), rule("*", "icd")];
        assert_eq!(detect("en", "my device just shocked me", &rules).len(), 1);
        assert!(detect("en", "my device hasn't shocked me", &rules).is_empty());
        assert!(detect("en", "no, my devices are fine", &rules).is_empty());
        assert_eq!(detect("es", "Me dió un choque", &rules).len(), 1);
        assert!(detect("es", "no me dio un choque", &rules).is_empty());
        assert_eq!(detect("fr", "mon ICD", &rules).len(), 1);
        assert!(detect("en", "anything", &[rule("en", " * "), rule("en", "")]).is_empty());
    }

    #[test]
    fn other_languages_know_the_gravest() {
        for (language, text, code) in [
            ("fr", "J'ai mal à la poitrine", CHEST_PAIN),
            ("fr-FR", "je n'arrive plus à respirer", BREATHLESS_AT_REST),
            ("de", "Ich bekomme keine Luft", BREATHLESS_AT_REST),
            ("de", "ich bin ohnmächtig geworden", FAINTING),
            ("pt-br", "estou com dor no peito", CHEST_PAIN),
            ("pt", "quero morrer", SELF_HARM),
            ("it", "ho dolore al petto", CHEST_PAIN),
            ("it", "sono svenuta stamattina", FAINTING),
        ] {
            assert_eq!(codes(language, text), [code], "{text}");
        }
        for (language, text) in [
            ("fr", "je n'ai pas mal à la poitrine"),
            ("de", "ich habe keine Brustschmerzen"),
            ("pt", "não tenho dor no peito"),
            ("it", "non ho dolore al petto"),
        ] {
            assert!(codes(language, text).is_empty(), "{text}");
        }
        assert!(codes("xx", "chest pain").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_in_any_language_is_read(text in "\\PC{0,300}", language in "(en|es|fr|de|pt|it|zz|)(-[A-Z]{2})?") {
            for flag in detect(&language, &text, &[]) {
                prop_assert!(!flag.evidence.is_empty());
            }
        }
    }
}

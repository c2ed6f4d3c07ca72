//! A phrase is written as its words: `a|b` is either word, `?a` may be missing, `swell~` is any word that begins so, `*`
//! is any one word, `*3` up to three words, `^` and `$` the beginning and the end of the text.

use super::{Language, Words};

/// Words a phrase can span; longer texts between two of its words do not match.
const MAX_SPAN: usize = 40;

/// A compiled phrase.
#[derive(Debug, Clone)]
pub(crate) struct Phrase {
    elements: Vec<Element>,
}

#[derive(Debug, Clone)]
enum Element {
    Word(Vec<Form>),
    Optional(Vec<Form>),
    One,
    Gap(usize),
    Begin,
    End,
}

#[derive(Debug, Clone)]
struct Form {
    text: String,
    prefix: bool,
}

impl Form {
    fn matches(&self, word: &str) -> bool {
        if self.prefix { word.starts_with(&self.text) } else { word == self.text }
    }
}

impl Phrase {
    /// Compiles a phrase of a table. Letters are expected folded, as [`Words`] folds a text.
    pub(crate) fn new(source: &str) -> Self {
        let elements = source
            .split_whitespace()
            .map(|part| match part {
                "^" => Element::Begin,
                "$" => Element::End,
                "*" => Element::One,
                _ => {
                    if let Some(most) = part.strip_prefix('*').and_then(|n| n.parse().ok()) {
                        return Element::Gap(most);
                    }
                    match part.strip_prefix('?') {
                        Some(rest) => Element::Optional(forms(rest)),
                        None => Element::Word(forms(part)),
                    }
                }
            })
            .collect();
        Self { elements }
    }

    /// A phrase of somebody else's words, in any spelling, where only `*` has a meaning.
    pub(crate) fn literal(source: &str, language: Option<Language>) -> Self {
        let elements = source
            .split_whitespace()
            .flat_map(|part| {
                if part == "*" {
                    return vec![Element::One];
                }
                let folded = Words::read(part, language);
                folded
                    .tokens()
                    .iter()
                    .map(|token| Element::Word(vec![Form { text: token.text.clone(), prefix: false }]))
                    .collect()
            })
            .collect();
        Self { elements }
    }

    /// Whether the phrase has no words, so that it would match everywhere.
    pub(crate) fn is_empty(&self) -> bool {
        !self.elements.iter().any(|element| matches!(element, Element::Word(_)))
    }

    /// Whether `word` is one of the phrase's own words.
    pub(crate) fn names(&self, word: &str) -> bool {
        self.elements.iter().any(|element| match element {
            Element::Word(forms) | Element::Optional(forms) => forms.iter().any(|form| form.matches(word)),
            Element::One | Element::Gap(_) | Element::Begin | Element::End => false,
        })
    }

    /// One past the last word if the phrase stands at `start`; the shortest reading.
    pub(crate) fn end_at(&self, words: &Words<'_>, start: usize) -> Option<usize> {
        // Bit n: the elements so far can end n words after `start`.
        let mut ends: u64 = 1;
        for element in &self.elements {
            ends = match element {
                Element::Begin => {
                    if start == 0 {
                        ends & 1
                    } else {
                        0
                    }
                }
                Element::End => bit(words.len().checked_sub(start)?) & ends,
                Element::Word(forms) => step(ends, words, start, forms),
                Element::Optional(forms) => ends | step(ends, words, start, forms),
                Element::One => ends << 1,
                Element::Gap(most) => (0..*most).fold(ends, |all, _| all | (all << 1)),
            } & (bit(MAX_SPAN) - 1);
            if ends == 0 {
                return None;
            }
        }
        let end = start + ends.trailing_zeros() as usize;
        (end <= words.len() && end > start).then_some(end)
    }
}

fn forms(part: &str) -> Vec<Form> {
    part.split('|')
        .map(|form| match form.strip_suffix('~') {
            Some(text) => Form { text: text.to_owned(), prefix: true },
            None => Form { text: form.to_owned(), prefix: false },
        })
        .collect()
}

fn bit(n: usize) -> u64 {
    u32::try_from(n).ok().and_then(|n| 1_u64.checked_shl(n)).unwrap_or(0)
}

/// Every end that one more word of `forms` leads to.
fn step(ends: u64, words: &Words<'_>, start: usize, forms: &[Form]) -> u64 {
    let mut next = 0;
    let mut left = ends;
    while left != 0 {
        let offset = left.trailing_zeros() as usize;
        left &= left - 1;
        let word = words.word(start + offset);
        if !word.is_empty() && forms.iter().any(|form| form.matches(word)) {
            next |= bit(offset + 1);
        }
    }
    next
}

/// A phrase found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit<T> {
    /// What the phrase stands for.
    pub(crate) tag: T,
    /// First word.
    pub(crate) start: usize,
    /// One past the last word.
    pub(crate) end: usize,
}

/// A table of phrases in order of precedence: a word belongs to the first phrase that claims it.
#[derive(Debug)]
pub(crate) struct Scanner<T> {
    entries: Vec<(T, Phrase)>,
}

impl<T: Copy> Scanner<T> {
    /// Compiles the tables, the first one first.
    pub(crate) fn new(tables: &[&[(T, &[&str])]]) -> Self {
        let entries = tables
            .iter()
            .flat_map(|table| table.iter())
            .flat_map(|(tag, phrases)| phrases.iter().map(|phrase| (*tag, Phrase::new(phrase))))
            .collect();
        Self { entries }
    }

    /// Everything found, in the order of the text; no two hits share a word.
    pub(crate) fn scan(&self, words: &Words<'_>) -> Vec<Hit<T>> {
        let mut claimed = vec![false; words.len()];
        let mut hits = Vec::new();
        for (tag, phrase) in &self.entries {
            for start in 0..words.len() {
                let Some(end) = phrase.end_at(words, start) else { continue };
                let Some(range) = claimed.get_mut(start..end) else { continue };
                if range.iter().any(|taken| *taken) {
                    continue;
                }
                range.fill(true);
                hits.push(Hit { tag: *tag, start, end });
            }
        }
        hits.sort_by_key(|hit| hit.start);
        hits
    }
}

/// Everything found of `phrases`, overlapping or not; the tag is the index of the phrase.
pub(crate) fn find_all(phrases: &[Phrase], words: &Words<'_>) -> Vec<Hit<usize>> {
    let mut hits = Vec::new();
    for (index, phrase) in phrases.iter().enumerate() {
        for start in 0..words.len() {
            if let Some(end) = phrase.end_at(words, start) {
                hits.push(Hit { tag: index, start, end });
            }
        }
    }
    hits.sort_by_key(|hit| hit.start);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(phrase: &str, text: &str) -> bool {
        let words = Words::read(text, Some(Language::English));
        !find_all(&[Phrase::new(phrase)], &words).is_empty()
    }

    #[test]
    fn each_mark_of_a_phrase_means_what_it_says() {
        assert!(finds("short|out of breath", "I am out of breath"));
        assert!(finds("my ?left|right arm", "my arm") && finds("my ?left|right arm", "my left arm"));
        assert!(finds("swell~", "some swelling"));
        assert!(finds("chest *2 hurts", "my chest really hurts") && !finds("chest *2 hurts", "chest a b c hurts"));
        assert!(finds("^ no $", "No.") && !finds("^ no $", "oh no thanks"));
        assert!(finds("ate * apples", "ate two apples") && !finds("ate * apples", "ate apples"));
    }

    #[test]
    fn a_word_belongs_to_the_first_phrase() {
        let scanner = Scanner::new(&[&[('s', &["no more than usual"][..]), ('n', &["no"][..])][..]]);
        let words = Words::read("no no more than usual", None);
        let tags: Vec<char> = scanner.scan(&words).iter().map(|hit| hit.tag).collect();
        assert_eq!(tags, ['n', 's']);
    }
}

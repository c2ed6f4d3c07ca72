//! Our own reading of a patient's answer, so that a question counts as answered even when the agent's tool call fails or
//! says something else.
//!
//! The reading never guesses: words that do not speak about the question give `None`. Where the words do speak about it
//! but leave a choice open, the value is marked as not certain.

use super::cues::{Cue, scanner};
use super::speech::{Hit, Language, MAX_CHARS, Words, is_negated, is_negator, is_scope_end, quantities};
use super::weight::{WeightUnit, read_weight};
use super::{AnswerValue, Topic, medications};

/// Longest free text that is kept of an answer, in characters.
pub(super) const MAX_TEXT_CHARS: usize = 500;

/// What the reading has to know besides the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtractOptions {
    /// The unit of a weight said without one.
    pub default_weight_unit: WeightUnit,
}

/// An answer found in what a patient said. PHI.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The value.
    pub value: AnswerValue,
    /// False where the words leave a choice open, such as a bare "yes" to a question with four answers.
    pub certain: bool,
    /// The words it was read from, as they were said.
    pub evidence: String,
}

/// A value and whether the words leave no other.
pub(super) type Reading = Option<(AnswerValue, bool)>;

/// Reads the answer to a question about `topic` out of `text`.
///
/// `language` is a code such as `en` or `es-MX`; other languages than English and Spanish give `None`. Only the first
/// 2,000 characters are read.
#[must_use]
pub fn extract(topic: Topic, language: &str, text: &str, options: &ExtractOptions) -> Option<Extracted> {
    let language = Language::of(language)?;
    let words = Words::read(text, Some(language));
    if words.len() == 0 {
        return None;
    }
    let hits = scanner(language, topic)?.scan(&words);
    let spoken = Spoken::new(language, &words, hits);
    let (value, certain) = match topic {
        Topic::Feeling => feeling(&spoken),
        Topic::Dyspnea => dyspnea(&spoken),
        Topic::Swelling => swelling(&spoken),
        Topic::Orthopnea | Topic::NocturnalDyspnea | Topic::Bloating | Topic::Dizziness => symptom(&spoken),
        Topic::YesNo => yes_no(&spoken),
        Topic::Medications => medications::read(&spoken),
        Topic::Weight => read_weight(&spoken, options.default_weight_unit),
        Topic::Number => number(&spoken),
        Topic::Text => free_text(&spoken, text),
    }?;
    // A guess of somebody who does not know is no answer.
    let unsure = spoken.has(Cue::Unsure);
    if unsure && !certain {
        return None;
    }
    let certain = certain && !unsure;
    Some(Extracted { value, certain, evidence: words.quote(0, words.len()) })
}

/// A phrase found, and whether it is denied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) cue: Cue,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) negated: bool,
}

/// What a patient said, as meanings in order.
pub(super) struct Spoken<'a, 'b> {
    pub(super) language: Language,
    pub(super) words: &'b Words<'a>,
    pub(super) said: Vec<Said>,
}

impl<'a, 'b> Spoken<'a, 'b> {
    fn new(language: Language, words: &'b Words<'a>, hits: Vec<Hit<Cue>>) -> Self {
        // Words of a phrase with its own meaning deny nothing outside of it.
        let mut consumed = vec![false; words.len()];
        for hit in &hits {
            let plain = matches!(hit.tag, Cue::No | Cue::NotNow | Cue::Yes | Cue::Hedge);
            let short = matches!(hit.tag, Cue::Taken | Cue::Absent | Cue::Good) && hit.end - hit.start <= 2;
            if !(plain || short)
                && let Some(range) = consumed.get_mut(hit.start..hit.end)
            {
                range.fill(true);
            }
        }
        let mut said: Vec<Said> = hits
            .iter()
            .map(|hit| Said {
                cue: hit.tag,
                start: hit.start,
                end: hit.end,
                negated: is_negated(language, words, hit.start, |index| consumed.get(index).copied().unwrap_or(false))
                    || turns_inside(language, words, hit)
                    || is_denied_at_end(words, hit),
            })
            .collect();
        drop_corrected(&mut said);
        Self { language, words, said }
    }

    /// Whether the cue was said, denied or not.
    pub(super) fn has(&self, cue: Cue) -> bool {
        self.said.iter().any(|said| said.cue == cue)
    }

    /// Whether the cue was said and not denied.
    pub(super) fn affirms(&self, cue: Cue) -> bool {
        self.said.iter().any(|said| said.cue == cue && !said.negated)
    }

    /// Whether the cue was denied.
    pub(super) fn denies(&self, cue: Cue) -> bool {
        self.said.iter().any(|said| said.cue == cue && said.negated)
    }

    fn last(&self, cue: Cue) -> Option<Said> {
        self.said.iter().rev().find(|said| said.cue == cue && !said.negated).copied()
    }

    /// The last plain yes or no that stands where an answer stands: at the beginning, at the end, or after a correction.
    pub(super) fn plain(&self) -> Option<bool> {
        let stands = |said: &Said| {
            let opens = said.start <= 2 || is_scope_end(self.language, self.words, said.start.saturating_sub(1));
            let closes = said.end + 1 >= self.words.len();
            opens || closes
        };
        let last = self.said.iter().rev().find(|said| matches!(said.cue, Cue::Yes | Cue::No) && stands(said))?;
        Some(last.cue == Cue::Yes)
    }

    /// "A little", "sometimes" as the whole answer; in a longer story they belong to the story.
    fn is_weak_yes(&self) -> bool {
        self.has(Cue::Hedge) && self.words.len() <= 7
    }

    /// Said in the past only, and over.
    fn is_past(&self) -> bool {
        self.has(Cue::Past)
    }
}

/// "Woke up, but not short of breath": a phrase with room in it that holds its own denial.
fn turns_inside(language: Language, words: &Words<'_>, hit: &Hit<Cue>) -> bool {
    if !matches!(hit.tag, Cue::Symptom) || hit.end - hit.start < 4 {
        return false;
    }
    (hit.start + 1..hit.end.saturating_sub(1)).any(|index| match (language, words.word(index)) {
        (Language::English, word) => {
            matches!(word, "not" | "no" | "wasnt" | "isnt" | "never" | "without")
                || (word == "but" && is_negator(language, words.word(index + 1)))
        }
        (Language::Spanish, word) => word == "sin" || (word == "pero" && is_negator(language, words.word(index + 1))),
    }) && !matches!(words.word(hit.start), "cant" | "couldnt" | "no")
}

/// "Dizziness, no": the question repeated and denied.
fn is_denied_at_end(words: &Words<'_>, hit: &Hit<Cue>) -> bool {
    let asked = matches!(hit.tag, Cue::Symptom | Cue::Gasping | Cue::Rest | Cue::Resting | Cue::Missed | Cue::More);
    let no = matches!(words.word(hit.end), "no" | "none" | "nope" | "never" | "nada" | "ninguno" | "ninguna" | "nunca");
    let closes = hit.end + 1 == words.len()
        || matches!(
            words.word(hit.end + 1),
            "i" | "not" | "nothing" | "none" | "he" | "tengo" | "ha" | "nada" | "ninguno"
        );
    asked && no && hit.start <= 1 && closes
}

/// What was said before "no, sorry" does not count if something of the same kind follows.
fn drop_corrected(said: &mut Vec<Said>) {
    let is_value = |cue: Cue| !matches!(cue, Cue::Correction | Cue::Ignore | Cue::Unsure | Cue::Past);
    let Some(correction) = said.iter().rposition(|one| one.cue == Cue::Correction) else { return };
    if said.iter().skip(correction + 1).any(|one| is_value(one.cue)) {
        said.drain(..correction);
    }
}

fn choice(name: &str, certain: bool) -> Reading {
    Some((AnswerValue::Text(name.to_owned()), certain))
}

/// Where a patient feels better or worse than before; "fine" compares nothing, so it is taken as `same`, not certain.
fn feeling(spoken: &Spoken<'_, '_>) -> Reading {
    let worse = spoken.last(Cue::More);
    let better = spoken.last(Cue::Less);
    match (better, worse) {
        (Some(better), Some(worse)) => {
            return choice(if better.start > worse.start { "better" } else { "worse" }, false);
        }
        (Some(_), None) => return choice("better", true),
        (None, Some(_)) => return choice("worse", true),
        (None, None) => {}
    }
    if spoken.affirms(Cue::Same) || spoken.denies(Cue::More) || spoken.denies(Cue::Less) {
        return choice("same", true);
    }
    if spoken.affirms(Cue::Bad) || spoken.denies(Cue::Good) {
        return choice("worse", false);
    }
    if spoken.affirms(Cue::Good) || spoken.denies(Cue::Bad) {
        return choice("same", false);
    }
    None
}

fn dyspnea(spoken: &Spoken<'_, '_>) -> Reading {
    let symptom = spoken.affirms(Cue::Symptom) || spoken.affirms(Cue::Gasping);
    let yes = spoken.plain() == Some(true) || spoken.affirms(Cue::Hedge);
    let worse = spoken.affirms(Cue::More);
    let exertion =
        spoken.said.iter().any(|said| said.cue == Cue::Exertion && !said.negated && asks_effort(spoken, said));
    if spoken.affirms(Cue::Rest)
        && (symptom || yes || worse || !spoken.affirms(Cue::Good))
        && spoken.plain() != Some(false)
    {
        return choice("rest", symptom || yes || worse);
    }
    if spoken.affirms(Cue::Resting) && (symptom || worse) && !exertion {
        return choice("rest", true);
    }
    if spoken.affirms(Cue::Gasping) && !exertion && !worse {
        return choice("rest", false);
    }
    if worse && (symptom || exertion || yes || only_comparison(spoken)) {
        return choice("exertion", true);
    }
    let usual = spoken.affirms(Cue::Same)
        || spoken.denies(Cue::More)
        || spoken.affirms(Cue::Less) && !spoken.affirms(Cue::Absent);
    if usual {
        return if spoken.denies(Cue::Symptom) {
            choice("none", true)
        } else {
            choice("usual", !spoken.has(Cue::Less))
        };
    }
    if spoken.affirms(Cue::Absent) && !symptom {
        return choice("none", true);
    }
    if exertion {
        return choice("exertion", true);
    }
    if symptom {
        return choice("exertion", false);
    }
    if spoken.denies(Cue::Symptom) || spoken.denies(Cue::Gasping) {
        return choice("none", true);
    }
    match spoken.plain() {
        Some(true) => choice("exertion", false),
        Some(false) if spoken.has(Cue::Hedge) => choice("exertion", false),
        Some(false) => choice("none", true),
        None if spoken.is_weak_yes() => choice("exertion", false),
        None if only_comparison(spoken) && spoken.affirms(Cue::Good) => choice("none", false),
        None => None,
    }
}

/// "Walk" alone may belong to a story; with a complaint, a "when" or an "only" it is an answer.
fn asks_effort(spoken: &Spoken<'_, '_>, effort: &Said) -> bool {
    let speaks = [Cue::Symptom, Cue::Gasping, Cue::Hedge, Cue::More].iter().any(|cue| spoken.affirms(*cue));
    if speaks || spoken.plain().is_some() {
        return true;
    }
    (effort.start.saturating_sub(3)..effort.end).any(|index| match spoken.language {
        Language::English => matches!(spoken.words.word(index), "when" | "only" | "just" | "if" | "with" | "once"),
        Language::Spanish => {
            matches!(spoken.words.word(index), "cuando" | "solo" | "nomas" | "al" | "si" | "con" | "solamente")
        }
    })
}

/// Few words and no story: the comparison is the answer.
fn only_comparison(spoken: &Spoken<'_, '_>) -> bool {
    spoken.words.len() <= 8
}

fn swelling(spoken: &Spoken<'_, '_>) -> Reading {
    let symptom = spoken.affirms(Cue::Symptom);
    if spoken.affirms(Cue::More)
        && (symptom || spoken.plain() == Some(true) || spoken.affirms(Cue::Hedge) || only_comparison(spoken))
    {
        return choice("worse", true);
    }
    if spoken.denies(Cue::Symptom) && !symptom {
        return choice("none", true);
    }
    if spoken.affirms(Cue::Absent) && !symptom {
        return choice("none", true);
    }
    if spoken.affirms(Cue::Same) || spoken.denies(Cue::More) {
        return choice("usual", true);
    }
    if spoken.affirms(Cue::Less) && (symptom || only_comparison(spoken)) {
        return choice("usual", false);
    }
    if spoken.affirms(Cue::NotNow) {
        return choice("none", true);
    }
    if symptom && !spoken.is_past() {
        return choice("worse", false);
    }
    match spoken.plain() {
        Some(true) => choice("worse", false),
        Some(false) if spoken.has(Cue::Hedge) => choice("worse", false),
        Some(false) => choice("none", true),
        None if spoken.is_weak_yes() => choice("worse", false),
        None if only_comparison(spoken) && spoken.affirms(Cue::Good) => choice("none", false),
        None => None,
    }
}

/// Topics that ask for one symptom, new or worse than always.
fn symptom(spoken: &Spoken<'_, '_>) -> Reading {
    let yes = |certain| Some((AnswerValue::YesNo(true), certain));
    let no = |certain| Some((AnswerValue::YesNo(false), certain));
    if let Some(symptom) = spoken.last(Cue::Symptom) {
        let over = spoken.last(Cue::NotNow).is_some_and(|not_now| not_now.start >= symptom.end);
        let usual = spoken.affirms(Cue::Same) || spoken.denies(Cue::More) || spoken.is_past();
        return if over || usual { no(false) } else { yes(true) };
    }
    if spoken.affirms(Cue::More)
        && (spoken.plain() == Some(true) || only_comparison(spoken))
        && !spoken.denies(Cue::Symptom)
    {
        return yes(true);
    }
    if spoken.denies(Cue::Symptom) || spoken.affirms(Cue::Absent) {
        return no(true);
    }
    if spoken.affirms(Cue::Same) || spoken.denies(Cue::More) || spoken.affirms(Cue::NotNow) {
        return if spoken.plain() == Some(true) && !spoken.has(Cue::NotNow) { yes(false) } else { no(false) };
    }
    match spoken.plain() {
        Some(false) if spoken.has(Cue::Hedge) => yes(false),
        Some(answer) => Some((AnswerValue::YesNo(answer), true)),
        None if spoken.is_past() && only_comparison(spoken) => no(false),
        None if spoken.is_weak_yes() => yes(false),
        None if only_comparison(spoken) && spoken.affirms(Cue::Good) => no(false),
        None => None,
    }
}

fn yes_no(spoken: &Spoken<'_, '_>) -> Reading {
    match spoken.plain() {
        Some(false) if spoken.has(Cue::Hedge) => Some((AnswerValue::YesNo(true), false)),
        Some(answer) => Some((AnswerValue::YesNo(answer), true)),
        None if spoken.has(Cue::NotNow) => Some((AnswerValue::YesNo(false), true)),
        None if spoken.is_weak_yes() => Some((AnswerValue::YesNo(true), false)),
        None => None,
    }
}

/// The last number; an earlier one counts only if nothing took it back.
fn number(spoken: &Spoken<'_, '_>) -> Reading {
    let numbers = quantities(spoken.language, spoken.words);
    let corrected = spoken.said.iter().rev().find(|said| said.cue == Cue::Correction).map_or(0, |said| said.start);
    let count = numbers.iter().filter(|number| number.start >= corrected).count();
    let last = numbers.last()?;
    Some((AnswerValue::Number(last.value), count <= 1 && !last.vague))
}

fn free_text(spoken: &Spoken<'_, '_>, text: &str) -> Reading {
    let unsure = spoken.has(Cue::Unsure) && spoken.words.len() <= 6;
    let text: String = text.trim().chars().take(MAX_TEXT_CHARS.min(MAX_CHARS)).collect();
    (!unsure && !text.is_empty()).then_some((AnswerValue::Text(text), true))
}

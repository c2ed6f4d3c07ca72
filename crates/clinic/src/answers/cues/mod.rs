//! What patients say, as tables: for every language and topic the phrases that carry a meaning, the more telling first.

mod en;
mod en_topics;
mod es;
mod es_topics;

use super::Topic;
use super::speech::{Language, Scanner};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a phrase means for the question that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cue {
    /// Takes back what was said before: "no, sorry".
    Correction,
    /// Does not know, did not hear, did not look.
    Unsure,
    /// Means nothing here, and neither do its words.
    Ignore,
    /// Yes.
    Yes,
    /// No.
    No,
    /// Over by now: "not any more".
    NotNow,
    /// A little, sometimes: a weak yes.
    Hedge,
    /// As always.
    Same,
    /// More or worse than before.
    More,
    /// Less or better than before.
    Less,
    /// Fine.
    Good,
    /// Bad.
    Bad,
    /// Long ago.
    Past,
    /// The symptom asked for.
    Symptom,
    /// Words that deny the symptom by themselves: "slept like a log".
    Absent,
    /// At rest, beyond doubt.
    Rest,
    /// A place or posture of rest, which says nothing without a symptom.
    Resting,
    /// On exertion.
    Exertion,
    /// Cannot get air.
    Gasping,
    /// Weight went up.
    Gain,
    /// Weight went down.
    Loss,
    /// A dose was missed.
    Missed,
    /// The supply ran out, or the patient stopped.
    Stopped,
    /// Doses were taken.
    Taken,
    /// Once.
    Once,
    /// A day of the week: one dose, where doses were missed; a beginning, where the supply ran out.
    Weekday,
    /// Twice.
    Twice,
    /// More often than twice.
    Often,
}

/// A table of phrases.
pub(super) type Table = &'static [(Cue, &'static [&'static str])];

/// The phrases of a topic in a language, the topic's own before the general ones.
pub(crate) fn scanner(language: Language, topic: Topic) -> Option<&'static Scanner<Cue>> {
    static SCANNERS: LazyLock<HashMap<(Language, Topic), Scanner<Cue>>> = LazyLock::new(|| {
        let mut scanners = HashMap::new();
        for topic in Topic::ALL {
            scanners
                .insert((Language::English, topic), Scanner::new(&[en::FIRST, en_topics::topic(topic), en::GENERAL]));
            scanners
                .insert((Language::Spanish, topic), Scanner::new(&[es::FIRST, es_topics::topic(topic), es::GENERAL]));
        }
        scanners
    });
    SCANNERS.get(&(language, topic))
}

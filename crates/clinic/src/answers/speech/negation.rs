//! How far a "not" reaches. It denies what follows it until the thought changes: at "but", at a new subject, or after a
//! few words. "No, my chest hurts" denies nothing; "no chest pain" does.

use super::tokens::Pause;
use super::{Language, Words};

/// Words a negation can reach over.
const REACH: usize = 9;

const ENGLISH_NEGATORS: &[&str] = &[
    "not", "no", "never", "without", "none", "neither", "nor", "dont", "didnt", "doesnt", "havent", "hasnt", "hadnt",
    "isnt", "arent", "wasnt", "werent", "aint", "wont", "wouldnt", "couldnt", "cant", "denies", "hardly", "nothing",
];
const SPANISH_NEGATORS: &[&str] =
    &["no", "nunca", "jamas", "ningun", "ninguna", "ninguno", "ni", "sin", "tampoco", "nada", "niega"];

const ENGLISH_ENDS: &[&str] = &[
    "but", "except", "although", "though", "however", "just", "only", "because", "cause", "cuz", "still", "yet",
    "until", "unless", "instead", "then", "so", "sure", "know", "yes", "yeah",
];
const SPANISH_ENDS: &[&str] = &[
    "pero",
    "aunque",
    "sino",
    "excepto",
    "salvo",
    "solo",
    "solamente",
    "porque",
    "embargo",
    "todavia",
    "aun",
    "hasta",
    "entonces",
    "seguro",
    "segura",
    "si",
    "nomas",
];

/// Words that open a new statement when nothing before them asks for an object.
const ENGLISH_SUBJECTS: &[&str] = &[
    "i", "im", "ive", "my", "it", "its", "theres", "she", "he", "shes", "hes", "they", "theyre", "we", "this", "that",
    "today", "now",
];
const SPANISH_SUBJECTS: &[&str] =
    &["me", "mi", "mis", "yo", "estoy", "tengo", "siento", "ella", "hoy", "ahora", "ando", "esta"];

/// Words after which a subject or possessive is still part of the denied thought.
const ENGLISH_JOINTS: &[&str] = &[
    "in", "on", "of", "with", "to", "for", "from", "at", "about", "around", "across", "think", "thought", "believe",
    "say", "said", "feel", "felt", "had", "have", "having", "notice", "noticed", "that", "if", "whether", "where",
    "like", "or", "nor", "lose", "lost", "as", "than", "when", "do", "did", "any", "and", "seen", "see", "remember",
    "call", "up", "over", "inside", "under", "through", "during", "before", "after", "while", "wake", "woke",
    "getting", "get", "no", "not",
];
const SPANISH_JOINTS: &[&str] = &[
    "en", "de", "con", "a", "por", "para", "que", "creo", "pienso", "si", "ni", "o", "y", "cuando", "como", "al",
    "del", "he", "ha", "tenido", "sentido", "siento", "no", "nunca", "tampoco", "sin", "todo", "sobre", "desde",
    "jamas", "se",
];

/// Whether `word` denies.
pub(crate) fn is_negator(language: Language, word: &str) -> bool {
    match language {
        Language::English => ENGLISH_NEGATORS.contains(&word),
        Language::Spanish => SPANISH_NEGATORS.contains(&word),
    }
}

/// Whether the thought changes at `index`, so that a denial before it does not reach past it.
pub(crate) fn is_scope_end(language: Language, words: &Words<'_>, index: usize) -> bool {
    let word = words.word(index);
    let (ends, subjects, joints) = match language {
        Language::English => (ENGLISH_ENDS, ENGLISH_SUBJECTS, ENGLISH_JOINTS),
        Language::Spanish => (SPANISH_ENDS, SPANISH_SUBJECTS, SPANISH_JOINTS),
    };
    if words.tokens().get(index).is_some_and(|token| token.before == Pause::Stop) && index > 0 {
        return true;
    }
    if ends.contains(&word) {
        return true;
    }
    subjects.contains(&word) && index > 0 && !joints.contains(&words.word_before(index, 1))
}

/// Whether the phrase that begins at `start` is denied by a word before it.
///
/// `skip` says which words are part of another phrase and deny nothing here, such as the "no" of "no more than usual".
pub(crate) fn is_negated(language: Language, words: &Words<'_>, start: usize, skip: impl Fn(usize) -> bool) -> bool {
    let mut index = start;
    // The phrase itself may open the new thought: "no my chest hurts".
    if is_scope_end(language, words, start) {
        return false;
    }
    for _ in 0..REACH {
        let Some(before) = index.checked_sub(1) else { return false };
        index = before;
        if is_negator(language, words.word(index)) && !skip(index) {
            return denies(language, words, index);
        }
        // Right after a negator the negator itself decides: "not so good", "no I am".
        if is_scope_end(language, words, index) && !is_negator(language, words.word_before(index, 1)) {
            return false;
        }
    }
    false
}

/// Whether the negator at `index` denies what follows, rather than answering or saying "not only".
fn denies(language: Language, words: &Words<'_>, index: usize) -> bool {
    let word = words.word(index);
    let next = words.word(index + 1);
    // "No, ..." answers; what comes after it is a thought of its own.
    if word == "no" && words.tokens().get(index + 1).is_some_and(|token| token.before >= Pause::Comma) {
        return false;
    }
    match language {
        Language::English => {
            let answers = word == "no"
                && (ENGLISH_SUBJECTS.contains(&next)
                    || matches!(next, "the" | "a" | "just" | "yes" | "yeah" | "but" | "actually" | "doubt" | "wonder"));
            !(answers || matches!(next, "only" | "just" | "sure" | "doubt" | "wonder" | "until" | "know"))
        }
        Language::Spanish => {
            let answers = word == "no" && matches!(next, "pero" | "si" | "yo" | "mi" | "mis");
            // "no me duele", "no tengo" deny; "no mi pecho duele" answers.
            !(answers
                || word == "nada" && next == "mas"
                || matches!(next, "solo" | "solamente" | "seguro" | "segura" | "nomas"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(language: Language, text: &str, word: &str) -> bool {
        let words = Words::read(text, Some(language));
        let start = words.tokens().iter().position(|token| token.text.starts_with(word)).unwrap_or(0);
        is_negated(language, &words, start, |_| false)
    }

    #[test]
    fn denial_reaches_its_own_thought() {
        for text in [
            "no dizziness at all",
            "I haven't been dizzy",
            "I don't think I was dizzy",
            "no fever or chills or dizziness",
            "I am not dizzy",
        ] {
            assert!(denied(Language::English, text, "dizz"), "{text}");
        }
        for text in [
            "no I'm dizzy",
            "no fever but dizzy",
            "not only dizzy",
            "I'm not tired. Dizzy though",
            "I'm not sure I'm dizzy",
        ] {
            assert!(!denied(Language::English, text, "dizz"), "{text}");
        }
        assert!(denied(Language::Spanish, "no tengo mareos", "mareos"));
        assert!(denied(Language::Spanish, "nunca he tenido mareos", "mareos"));
        assert!(!denied(Language::Spanish, "no tengo fiebre pero estoy mareado", "mareado"));
    }
}

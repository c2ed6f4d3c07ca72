//! The languages an agent can be set to, and a rough way to tell from words which one is spoken.

/// Language codes the agent service accepts for a conversation (its own list; quality differs by voice).
pub const AGENT_LANGUAGES: [&str; 72] = [
    "en", "ja", "zh", "de", "hi", "fr", "ko", "pt", "pt-br", "it", "es", "id", "nl", "tr", "pl", "sv", "bg", "ro",
    "ar", "cs", "el", "fi", "ms", "da", "ta", "uk", "ru", "hu", "hr", "sk", "no", "vi", "tl", "af", "hy", "as", "az",
    "be", "bn", "bs", "ca", "et", "gl", "ka", "gu", "ha", "he", "is", "ga", "jv", "kn", "kk", "ky", "lv", "lt", "lb",
    "mk", "ml", "mr", "ne", "ps", "fa", "pa", "sr", "sd", "sl", "so", "sw", "te", "th", "ur", "cy",
];

/// True for a language an agent can be set to.
#[must_use]
pub fn is_agent_language(code: &str) -> bool {
    AGENT_LANGUAGES.contains(&code)
}

/// Short words that are frequent in one of the languages and rare in the others.
const FREQUENT: [(&str, &[&str]); 7] = [
    ("en", &["the", "is", "and", "i", "my", "you", "of", "are", "it", "have", "was", "not", "been", "your", "what"]),
    (
        "es",
        &["el", "los", "las", "y", "muy", "tengo", "estoy", "pero", "usted", "como", "mis", "bien", "hoy", "le", "su"],
    ),
    (
        "fr",
        &["le", "les", "je", "et", "suis", "pas", "vous", "mes", "est", "des", "mais", "tres", "ai", "votre", "pour"],
    ),
    (
        "de",
        &[
            "der", "die", "das", "ich", "und", "ist", "nicht", "sie", "mein", "habe", "aber", "ein", "ihre", "wie",
            "mir",
        ],
    ),
    (
        "pt",
        &["o", "os", "eu", "nao", "estou", "voce", "tenho", "mas", "muito", "meu", "minha", "sua", "hoje", "bem", "um"],
    ),
    (
        "it",
        &["il", "io", "sono", "ho", "non", "che", "mi", "della", "molto", "bene", "oggi", "lei", "gli", "sto", "una"],
    ),
    ("tl", &["po", "ang", "ng", "sa", "ko", "ako", "kayo", "ninyo", "mga", "hindi", "kung", "ba", "ay", "nang", "ito"]),
];

/// The language a text is most likely in, when enough of its words say so; by letters for scripts of their own.
#[must_use]
pub fn guess(text: &str) -> Option<&'static str> {
    for (language, low, high) in [
        ("ko", '\u{AC00}', '\u{D7A3}'),
        ("hi", '\u{0900}', '\u{097F}'),
        ("ar", '\u{0600}', '\u{06FF}'),
        ("ru", '\u{0400}', '\u{04FF}'),
        ("ja", '\u{3040}', '\u{30FF}'),
        ("zh", '\u{4E00}', '\u{9FFF}'),
        // Latin letters with the tone marks of Vietnamese.
        ("vi", '\u{1EA0}', '\u{1EF9}'),
    ] {
        if text.chars().filter(|c| (low..=high).contains(c)).count() >= 2 {
            return Some(language);
        }
    }
    let folded: String = text.chars().flat_map(char::to_lowercase).map(fold).collect();
    let words: Vec<&str> = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let score = |frequent: &[&str]| words.iter().filter(|word| frequent.contains(word)).count();
    let mut scores: Vec<(usize, &'static str)> = FREQUENT.iter().map(|(code, words)| (score(words), *code)).collect();
    scores.sort_unstable_by(|a, b| b.cmp(a));
    match scores.as_slice() {
        [(best, language), (second, _), ..] if *best >= 2 && *best >= second + 2 => Some(language),
        _ => None,
    }
}

fn fold(c: char) -> char {
    match c {
        'á' | 'à' | 'â' | 'ã' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'õ' | 'ö' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart_when_the_words_say_so() {
        for (text, language) in [
            ("Have you noticed any swelling in your legs? It is important.", Some("en")),
            ("Estoy bien, pero tengo los pies muy hinchados hoy.", Some("es")),
            ("Je suis fatigué et mes jambes sont lourdes.", Some("fr")),
            ("Ich habe heute nicht gut geschlafen und bin müde.", Some("de")),
            ("Мне трудно дышать", Some("ru")),
            ("Tôi hơi mệt, nhưng vẫn thở được.", Some("vi")),
            ("Mabuti po, pero namamaga ang mga paa ko.", Some("tl")),
            ("yes", None),
            ("182", None),
        ] {
            assert_eq!(guess(text), language, "{text}");
        }
    }

    #[test]
    fn codes_are_there_once() {
        for code in AGENT_LANGUAGES {
            assert_eq!(AGENT_LANGUAGES.iter().filter(|other| **other == code).count(), 1, "{code}");
        }
    }
}

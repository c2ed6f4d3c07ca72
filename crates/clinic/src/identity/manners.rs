//! Who answered the telephone, and whether they agree to go on.

use crate::answers::speech::{Language, Phrase, Words, find_all};
use crate::answers::{AnswerValue, ExtractOptions, Topic, extract};
use std::sync::LazyLock;

const ENGLISH_WRONG: &[&str] = &[
    "wrong number|person|house",
    "not home|here|available|around",
    "isnt home|here|available|in",
    "no one ?here by|named|called",
    "nobody ?here by|named|called",
    "doesnt|dont live here",
    "this|im is|am|her|his ?her|his husband|wife|son|daughter|caregiver|sister|brother|aide|mother|father",
    "im ?her|his|the husband|wife|son|daughter|caregiver|sister|brother|aide",
    "you have|got *2 wrong",
    "^ ?no|yes ?oh|sorry|im ?sorry hes|shes|she|he ?is ?at *2 hospital|store|work|church|sleeping|asleep|out|passed|died|resting|shopping",
    "he|she passed away",
    "im not mr|mrs|miss|ms",
    "thats not me",
    "im not him|her",
    "who you looking for",
    "she|he cant come to",
    "let me get|find *1 him|her",
    "speaking for *1 husband|wife|mother|father",
];
const SPANISH_WRONG: &[&str] = &[
    "numero equivocado",
    "equivocado|equivocada de *1",
    "se equivoco|equivocaron ?de",
    "no esta $",
    "no se encuentra",
    "no esta *3 casa|aqui|ahorita|ahora",
    "no vive aqui",
    "aqui no vive|hay|es",
    "soy *1 hija|hijo|esposa|esposo|marido|hermana|hermano|cuidadora|cuidador|nuera|yerno|nieta|nieto|mama|mujer|enfermera",
    "habla *2 hija|hijo|esposa|esposo|marido|hermana|hermano|cuidadora",
    "no soy * $",
    "no soy la|el|dona|don",
    "no soy yo",
    "ya fallecio|murio",
    "fallecio",
    "salio|anda *2 tienda|mercado|iglesia|trabajo|compras|doctor",
    "esta en el hospital",
    "no conozco a",
    "permitame|dejeme *2 paso|llamo|busco|llamarla|llamarlo",
];
const ENGLISH_AGREES: &[&str] = &[
    "go ahead",
    "that is|would ?be ?perfectly|just|all fine|ok|okay|alright|good",
    "thats|its ?perfectly|just|all fine|ok|okay|alright|good|right",
    "i ?do agree|consent|dont mind|accept",
    "dont mind",
    "no problem|objection|objections",
    "fine with me",
    "sounds good",
    "sure",
    "okay|ok|alright|fine",
    "all right",
    "lets do|go|get",
    "of course",
    "im ready",
    "by all means",
    "please do",
    "you may|can",
    "be my guest",
    "fire away",
];
const ENGLISH_REFUSES: &[&str] = &[
    "id rather not",
    "rather you didnt|not",
    "not interested",
    "dont want|wish|like|consent|agree|record",
    "do not want",
    "i ?do object|refuse|decline",
    "stop calling",
    "take me off",
    "call *2 later|back|tomorrow",
    "not now|today|right",
    "not *1 ?a good time",
    "bad time",
    "no thank|thanks",
    "leave me alone",
    "hang up",
    "dont call",
    "im busy",
    "not okay|ok|fine|comfortable|alright",
    "i mind",
    "no way",
];
const SPANISH_AGREES: &[&str] = &[
    "adelante",
    "de acuerdo",
    "esta bien",
    "claro",
    "por supuesto",
    "como no",
    "acepto",
    "no hay problema",
    "no tengo inconveniente|problema",
    "no me importa|molesta",
    "bueno",
    "ok|okay|vale|sale|orale",
    "digame",
    "cuando guste|quiera",
    "con gusto",
    "autorizo",
    "perfecto",
    "andele ?pues",
];
const SPANISH_REFUSES: &[&str] = &[
    "no ?muchas quiero|deseo|acepto|autorizo|gracias|puedo",
    "no me interesa",
    "no estoy de acuerdo|interesado|interesada",
    "no ?me parece ?bien",
    "prefiero que no|no",
    "llame|llameme|llamen|hableme *2 luego|despues|tarde|manana",
    "mas tarde|luego",
    "ahora|ahorita no",
    "no es ?un buen",
    "no me llame|llamen|moleste|molesten",
    "estoy ocupad~",
    "no esta bien",
    "me niego",
    "dejen de llamar~",
    "claro que no",
];

fn compile(phrases: &[&str]) -> Vec<Phrase> {
    phrases.iter().map(|phrase| Phrase::new(phrase)).collect()
}

/// The phrases of both languages: somebody else, a refusal, an agreement.
struct Tables {
    wrong: Vec<Phrase>,
    refuses: Vec<Phrase>,
    agrees: Vec<Phrase>,
}

static ENGLISH: LazyLock<Tables> = LazyLock::new(|| Tables {
    wrong: compile(ENGLISH_WRONG),
    refuses: compile(ENGLISH_REFUSES),
    agrees: compile(ENGLISH_AGREES),
});
static SPANISH: LazyLock<Tables> = LazyLock::new(|| Tables {
    wrong: compile(SPANISH_WRONG),
    refuses: compile(SPANISH_REFUSES),
    agrees: compile(SPANISH_AGREES),
});

fn tables(language: Language) -> &'static Tables {
    match language {
        Language::English => &ENGLISH,
        Language::Spanish => &SPANISH,
    }
}

/// Whether the words say that somebody else is on the line. English and Spanish; `false` for other languages.
#[must_use]
pub fn wrong_person(language: &str, text: &str) -> bool {
    let Some(known) = Language::of(language) else { return false };
    let words = Words::read(text, Some(known));
    !find_all(&tables(known).wrong, &words).is_empty()
}

/// Whether the words agree to go on. `None` where they say neither, and for other languages than English and Spanish.
#[must_use]
pub fn consent(language: &str, text: &str) -> Option<bool> {
    let known = Language::of(language)?;
    let words = Words::read(text, Some(known));
    if !find_all(&tables(known).refuses, &words).is_empty() {
        return Some(false);
    }
    if let Some(found) = extract(Topic::YesNo, language, text, &ExtractOptions::default()) {
        let agrees = !find_all(&tables(known).agrees, &words).is_empty();
        return match found.value {
            // "No, I don't mind", "no, go ahead".
            AnswerValue::YesNo(yes) => Some(yes || agrees),
            _ => None,
        };
    }
    (!find_all(&tables(known).agrees, &words).is_empty()).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_else_says_so() {
        for text in [
            "wrong number",
            "she's not home",
            "this is her son",
            "you've got the wrong number",
            "there's nobody here by that name",
            "he's at the hospital",
            "I'm his wife",
            "she passed away last month",
        ] {
            assert!(wrong_person("en", text), "{text}");
        }
        for text in [
            "no soy Maria, soy su hija",
            "número equivocado",
            "no se encuentra",
            "habla su esposo",
            "aquí no vive ninguna Maria",
        ] {
            assert!(wrong_person("es", text), "{text}");
        }
        for (language, text) in [
            ("en", "yes this is she"),
            ("en", "speaking"),
            ("en", "April first nineteen forty eight"),
            ("en", "my son is here with me"),
            ("es", "sí soy yo"),
            ("es", "ella habla"),
            ("es", "sí, soy Maria"),
        ] {
            assert!(!wrong_person(language, text), "{text}");
        }
    }

    #[test]
    fn agreement_and_refusal() {
        for (language, text, expected) in [
            ("en", "yes", Some(true)),
            ("en", "sure go ahead", Some(true)),
            ("en", "that's fine", Some(true)),
            ("en", "no I don't mind", Some(true)),
            ("en", "okay", Some(true)),
            ("en", "no", Some(false)),
            ("en", "I'd rather not", Some(false)),
            ("en", "I don't want to be recorded", Some(false)),
            ("en", "call me back later", Some(false)),
            ("en", "that's not okay", Some(false)),
            ("en", "what is this about", None),
            ("es", "sí adelante", Some(true)),
            ("es", "está bien", Some(true)),
            ("es", "no hay problema", Some(true)),
            ("es", "no gracias", Some(false)),
            ("es", "ahorita no", Some(false)),
            ("es", "de qué se trata", None),
            ("fr", "oui", None),
        ] {
            assert_eq!(consent(language, text), expected, "{text}");
        }
    }
}

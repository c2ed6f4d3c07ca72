//! Whose emergency it is and when: what around a phrase makes it no emergency of the patient now.

use crate::answers::speech::{Language, Pause, Words};

/// Words before a phrase that are looked at.
const LOOK_BACK: usize = 8;

/// The words of the statement that holds `start..end`: up to the end of a sentence or a "but".
pub(super) fn sentence(words: &Words<'_>, start: usize, end: usize) -> (usize, usize) {
    let stops = |at: usize| words.tokens().get(at).is_some_and(|token| token.before == Pause::Stop);
    let from = (1..=start).rev().find(|at| stops(*at)).unwrap_or(0);
    let to = (end..words.len()).find(|at| stops(*at)).unwrap_or(words.len());
    (from, to)
}

/// Like [`sentence`], but not past a "but".
fn clause(language: Language, words: &Words<'_>, start: usize, end: usize) -> (usize, usize) {
    let (from, to) = sentence(words, start, end);
    let turns = |at: usize| match language {
        Language::English => matches!(words.word(at), "but" | "although" | "except"),
        Language::Spanish => matches!(words.word(at), "pero" | "aunque" | "sino"),
    };
    let from = (from..start).rev().find(|at| turns(*at)).map_or(from, |at| at + 1);
    let to = (end..to).find(|at| turns(*at)).unwrap_or(to);
    (from, to)
}

fn any(words: &Words<'_>, from: usize, to: usize, list: &[&str]) -> bool {
    (from..to).any(|at| list.contains(&words.word(at)))
}

fn pair(words: &Words<'_>, from: usize, to: usize, list: &[(&str, &str)]) -> bool {
    (from..to).any(|at| list.iter().any(|(a, b)| words.word(at) == *a && words.word(at + 1) == *b))
}

/// A negator that does not deny the emergency: "never like this", "won't stop", "can't sleep for the pain".
pub(super) fn denies_nothing(language: Language, words: &Words<'_>, at: usize) -> bool {
    is_emphatic(language, words, at) || is_unable(language, words, at)
}

/// What the patient cannot do, and what does not stop or help, are no denials of the complaint.
fn is_unable(language: Language, words: &Words<'_>, at: usize) -> bool {
    let next = words.word(at + 1);
    match language {
        Language::English => {
            let unable = matches!(words.word(at), "cant" | "couldnt" | "wont" | "wouldnt");
            let lasting = matches!(
                next,
                "stop"
                    | "stopped"
                    | "stopping"
                    | "quit"
                    | "gone"
                    | "going"
                    | "let"
                    | "letting"
                    | "stand"
                    | "take"
                    | "slept"
                    | "sleep"
                    | "sleeping"
                    | "help"
                    | "helps"
                    | "helped"
                    | "helping"
                    | "works"
                    | "worked"
                    | "takes"
                    | "eases"
                    | "eased"
                    | "better"
                    | "getting"
                    | "improved"
                    | "relieves"
            );
            lasting || unable && !matches!(next, "say" | "complain" | "recall" | "remember" | "tell")
        }
        Language::Spanish => (at + 1..at + 4).any(|near| {
            matches!(
                words.word(near),
                "puedo"
                    | "puede"
                    | "pude"
                    | "podia"
                    | "aguanto"
                    | "aguanta"
                    | "soporto"
                    | "quita"
                    | "quito"
                    | "deja"
                    | "dejo"
                    | "dejaba"
                    | "para"
                    | "cede"
                    | "duermo"
                    | "dormi"
                    | "dormir"
                    | "ayuda"
                    | "alivia"
                    | "calma"
                    | "mejora"
            )
        }),
    }
}

/// A "never" that makes it worse: "I've never had chest pain like this".
fn is_emphatic(language: Language, words: &Words<'_>, at: usize) -> bool {
    let likeness: &[&str] = match language {
        Language::English => &["like", "this", "so", "that"],
        Language::Spanish => &["asi", "tan", "tanto", "como"],
    };
    let never = matches!(words.word(at), "never" | "nunca" | "jamas");
    never
        && (at + 1..words.len().min(at + 12)).any(|next| {
            likeness.contains(&words.word(next))
                && match language {
                    Language::English => matches!(
                        words.word(next + 1),
                        "this" | "that" | "bad" | "badly" | "strong" | "much" | "tight" | "confused" | "breathless"
                    ),
                    Language::Spanish => {
                        words.word(next) == "asi"
                            || words.word(next) == "tanto"
                            || matches!(words.word(next + 1), "este" | "esto" | "ahora" | "fuerte" | "feo")
                    }
                }
        })
}

/// "Chest pain, none", "chest pain no": a question repeated and denied.
pub(super) fn is_denied_after(language: Language, words: &Words<'_>, start: usize, end: usize) -> bool {
    let repeated = start == 0
        || matches!(words.word_before(start, 1), "and" | "or" | "about" | "any" | "y" | "o" | "de" | "con" | "the");
    let denies = match language {
        Language::English => matches!(words.word(end), "no" | "none" | "nope" | "never" | "not"),
        Language::Spanish => matches!(words.word(end), "no" | "nada" | "ninguno" | "nunca" | "tampoco" | "ningun"),
    };
    let closes = end + 1 >= words.len()
        || words.tokens().get(end + 1).is_some_and(|token| token.before > Pause::None)
        || matches!(
            words.word(end + 1),
            "no" | "not"
                | "nothing"
                | "never"
                | "i"
                | "he"
                | "tengo"
                | "at"
                | "gracias"
                | "thank"
                | "and"
                | "y"
                | "whatsoever"
                | "senor"
                | "maam"
                | "sir"
                | "but"
                | "pero"
        );
    repeated && denies && closes
}

/// "If I had chest pain", "they told me to call in case of chest pain".
pub(super) fn is_hypothetical(language: Language, words: &Words<'_>, start: usize) -> bool {
    let from = start.saturating_sub(LOOK_BACK);
    let (sentence_from, _) = sentence(words, start, start);
    let from = from.max(sentence_from);
    let knows: &[&str] =
        &["know", "sure", "wonder", "wondering", "tell", "feels", "felt", "seems", "se", "seguro", "segura"];
    let conditional = (from..start).any(|at| match language {
        Language::English => match words.word(at) {
            "if" => {
                !knows.contains(&words.word_before(at, 1)) && !matches!(words.word_before(at, 1), "as" | "and" | "even")
            }
            "unless" => true,
            "case" => words.word_before(at, 1) == "in",
            _ => false,
        },
        Language::Spanish => match words.word(at) {
            // "Sí" and "si" look the same; before a verb form of wishing it is an "if".
            "si" => {
                at > 0
                    && !knows.contains(&words.word_before(at, 1))
                    && matches!(
                        words.word(at + 1),
                        "tengo"
                            | "tuviera"
                            | "me"
                            | "siento"
                            | "siente"
                            | "llego"
                            | "llegara"
                            | "hay"
                            | "le"
                            | "ella"
                            | "se"
                            | "uno"
                    )
                    && (at >= 3
                        || matches!(
                            words.word_before(at, 1),
                            "que" | "por" | "hablar" | "llamar" | "llame" | "y" | "solo"
                        ))
            }
            "caso" => matches!(words.word(at + 1), "de" | "que"),
            _ => false,
        },
    });
    // "Si me duele el pecho les llamo".
    let promises = language == Language::Spanish && words.word(sentence_from) == "si" && {
        let (from, to) = sentence(words, start, start);
        any(words, from, to, &["llamo", "llamare", "llamaria", "aviso", "avisare", "avisaria", "hablare"])
    };
    let reported = match language {
        Language::English => {
            pair(
                words,
                from,
                start,
                &[
                    ("asked", "about"),
                    ("asked", "me"),
                    ("asking", "about"),
                    ("watch", "for"),
                    ("look", "for"),
                    ("worry", "about"),
                    ("afraid", "of"),
                    ("read", "about"),
                    ("signs", "of"),
                    ("scared", "of"),
                    ("risk", "of"),
                    ("medicine", "for"),
                    ("pills", "for"),
                    ("prevent", "a"),
                    ("heard", "about"),
                    ("pill", "for"),
                    ("preventing", "a"),
                    ("prevents", "a"),
                    ("avoid", "a"),
                ],
            ) || any(words, from, start, &["pamphlet", "brochure", "movie", "article"])
        }
        Language::Spanish => pair(
            words,
            from,
            start,
            &[
                ("pregunto", "si"),
                ("preguntaron", "por"),
                ("preguntaron", "si"),
                ("pregunto", "por"),
                ("miedo", "de"),
                ("miedo", "a"),
                ("pastilla", "para"),
                ("medicina", "para"),
                ("senales", "de"),
                ("riesgo", "de"),
                ("lei", "sobre"),
                ("folleto", "de"),
                ("sintomas", "de"),
                ("prevenir", "un"),
                ("evitar", "un"),
                ("prevenir", "el"),
            ],
        ),
    };
    conditional || reported || promises
}

/// Years ago and over, with nothing that brings it into today.
pub(super) fn is_long_ago(language: Language, words: &Words<'_>, start: usize, end: usize) -> bool {
    let (from, to) = clause(language, words, start, end);
    let still: &[&str] = match language {
        Language::English => &["now", "again", "still", "today", "tonight", "since", "lately", "keeps"],
        Language::Spanish => {
            &["ahora", "ahorita", "otra", "todavia", "hoy", "desde", "sigo", "sigue", "nuevamente", "aun"]
        }
    };
    let returned =
        (end..to).any(|at| words.word(at) == "back" && !matches!(words.word(at + 1), "in" | "when" | "then"));
    if (any(words, end, to, still) || returned) && !matches!(words.word_before(to, 1), "then") {
        return any(words, end, to, &["since"])
            && any(words, end, to, &["not", "havent", "none", "no", "never", "nothing"]);
    }
    match language {
        Language::English => {
            pair(
                words,
                from,
                to,
                &[
                    ("years", "ago"),
                    ("year", "ago"),
                    ("months", "ago"),
                    ("last", "year"),
                    ("used", "to"),
                    ("back", "in"),
                    ("back", "when"),
                    ("decades", "ago"),
                    ("history", "of"),
                    ("was", "young"),
                    ("was", "younger"),
                    ("long", "ago"),
                    ("time", "ago"),
                    ("before", "surgery"),
                    ("years", "before"),
                    ("last", "summer"),
                    ("last", "winter"),
                    ("old", "days"),
                    ("the", "nineties"),
                    ("my", "twenties"),
                    ("my", "thirties"),
                    ("the", "eighties"),
                    ("the", "war"),
                ],
            ) || (from..to).any(|at| {
                words.word(at) == "before"
                    && matches!(words.word(at + 1), "my" | "the" | "his" | "her")
                    && matches!(
                        words.word(at + 2),
                        "surgery" | "stent" | "stents" | "operation" | "bypass" | "pacemaker" | "valve" | "heart"
                    )
            }) || (from..to).any(|at| {
                words.word(at) == "in"
                    && words.word(at + 1).len() == 4
                    && (words.word(at + 1).starts_with("19") || words.word(at + 1).starts_with("20"))
            })
        }
        Language::Spanish => {
            (from..to).any(|at| {
                words.word(at) == "hace"
                    && (at + 1..at + 5).any(|next| matches!(words.word(next), "anos" | "meses" | "ano" | "tiempo"))
                    && !pair(words, at.saturating_sub(1), at + 1, &[("desde", "hace")])
            }) || pair(
                words,
                from,
                to,
                &[
                    ("ano", "pasado"),
                    ("anos", "atras"),
                    ("era", "joven"),
                    ("antes", "de"),
                    ("en", "aquel"),
                    ("antes", "me"),
                    ("verano", "pasado"),
                    ("tiempo", "atras"),
                    ("de", "nina"),
                    ("de", "nino"),
                    ("de", "joven"),
                    ("de", "chica"),
                    ("de", "chico"),
                    ("de", "muchacha"),
                ],
            )
        }
    }
}

const ENGLISH_OTHERS: &[&str] = &[
    "husband",
    "wife",
    "sister",
    "brother",
    "mother",
    "father",
    "mom",
    "dad",
    "mama",
    "papa",
    "son",
    "daughter",
    "friend",
    "neighbor",
    "neighbour",
    "uncle",
    "aunt",
    "cousin",
    "grandmother",
    "grandfather",
    "nephew",
    "niece",
    "roommate",
    "grandson",
    "granddaughter",
    "dog",
    "cat",
    "fella",
    "somebody",
    "someone",
    "character",
    "people",
    "lady",
    "guy",
    "boss",
    "neighbors",
    "actor",
];
const SPANISH_OTHERS: &[&str] = &[
    "esposo", "esposa", "marido", "hermana", "hermano", "mama", "papa", "madre", "padre", "hijo", "hija", "amigo",
    "amiga", "vecino", "vecina", "tio", "tia", "primo", "prima", "abuelo", "abuela", "sobrino", "sobrina", "nieto",
    "nieta", "cunado", "cunada", "comadre", "compadre", "perro", "perrita", "gente", "alguien", "suegra", "suegro",
    "actor", "novela",
];

/// Told of somebody else, and not as happening now: a carer speaks of the patient in the present.
pub(super) fn is_somebody_else(language: Language, words: &Words<'_>, start: usize, end: usize) -> bool {
    let (from, to) = clause(language, words, start, end);
    let from = from.max(start.saturating_sub(10));
    // The phrase itself may begin with the other's name or pronoun.
    let (others, own, present): (&[&str], &[&str], &[&str]) = match language {
        Language::English => (
            ENGLISH_OTHERS,
            &["i", "im", "ive", "me", "myself"],
            &[
                "is", "has", "having", "now", "cant", "keeps", "today", "tonight", "hes", "shes", "isnt", "doesnt",
                "dont", "says", "wont", "just", "are", "wants", "seems", "looks",
            ],
        ),
        Language::Spanish => (
            SPANISH_OTHERS,
            &["yo", "me", "tengo", "estoy", "siento", "mio", "mia"],
            &[
                "esta", "tiene", "ahora", "ahorita", "hoy", "puede", "sigue", "dice", "quiere", "anda", "acaba",
                "estan", "parece", "duele", "falta", "ahoga", "siente",
            ],
        ),
    };
    let Some(other) = (from..start).rev().find(|at| others.contains(&words.word(*at))) else { return false };
    // "My son, I fainted": the patient speaks again.
    if (other + 1..end).any(|at| own.contains(&words.word(at))) {
        return false;
    }
    // "My daughter says my lips are blue": hers is the telling, mine the lips.
    if language == Language::English
        && (other + 1..end).any(|at| matches!(words.word(at), "my" | "says" | "thinks" | "said" | "noticed" | "told"))
    {
        return false;
    }
    if language == Language::Spanish
        && (other + 1..end).any(|at| matches!(words.word(at), "mis" | "dice" | "que" | "vio" | "noto"))
    {
        return false;
    }
    // "… and now she's in a home" says nothing about now.
    let to = (end..to).find(|at| matches!(words.word(*at), "and" | "y")).unwrap_or(to);
    !any(words, other + 1, to, present)
}

//! The gravest phrases of languages whose tables are not complete, so that a patient who falls back into them is heard.

use super::{BREATHLESS_AT_REST, CHEST_PAIN, FAINTING, RedFlag, SELF_HARM};
use crate::answers::speech::{Phrase, Words, find_all};
use std::sync::LazyLock;

/// Words a denial reaches over.
const REACH: usize = 4;

struct Short {
    language: &'static str,
    negators: &'static [&'static str],
    rules: &'static [(&'static str, &'static [&'static str])],
}

const TABLES: &[Short] = &[
    Short {
        language: "fr",
        negators: &["pas", "jamais", "aucune", "aucun", "sans", "nai", "nest", "plus"],
        rules: &[
            (
                CHEST_PAIN,
                &[
                    "mal *2 la|ma poitrine",
                    "mal au coeur et",
                    "douleur~ *3 poitrine",
                    "poitrine *3 serre|douleur|mal|oppress~",
                    "serre *3 poitrine",
                    "crise cardiaque",
                ],
            ),
            (
                BREATHLESS_AT_REST,
                &[
                    "narrive plus|pas *1 respirer",
                    "peux plus|pas respirer",
                    "jetouffe|etouffe",
                    "narrive *2 reprendre *2 souffle",
                    "manque dair *3 repos",
                ],
            ),
            (
                FAINTING,
                &["evanoui|evanouie|evanouir", "perdu connaissance", "tombe dans les pommes", "fait un malaise"],
            ),
            (SELF_HARM, &["veux|voudrais|envie *2 mourir", "me suicider", "me tuer", "veux plus vivre", "en finir"]),
        ],
    },
    Short {
        language: "de",
        negators: &["kein", "keine", "keinen", "nicht", "nie", "niemals", "ohne", "weder"],
        rules: &[
            (
                CHEST_PAIN,
                &[
                    "brustschmerz~",
                    "schmerz~ *3 brust",
                    "brust *3 schmerz~|weh|druck|eng",
                    "druck *3 brust",
                    "herzinfarkt",
                    "engegefuhl *3 brust",
                ],
            ),
            (
                BREATHLESS_AT_REST,
                &[
                    "bekomme|krieg|kriege|bekomm *1 keine luft",
                    "keine luft",
                    "kann nicht *1 atmen",
                    "ersticke|atemnot *3 ruhe|sitzen|liegen",
                    "ersticke",
                ],
            ),
            (
                FAINTING,
                &["ohnmachtig", "bewusstlos", "in ohnmacht", "umgekippt", "zusammengebrochen", "bewusstsein verloren"],
            ),
            (
                SELF_HARM,
                &[
                    "will|mochte *2 sterben",
                    "mich umbringen",
                    "das leben nehmen",
                    "will nicht mehr leben",
                    "nicht mehr leben",
                    "selbstmord",
                ],
            ),
        ],
    },
    Short {
        language: "pt",
        negators: &["nao", "nunca", "sem", "nenhuma", "nem", "jamais"],
        rules: &[
            (
                CHEST_PAIN,
                &[
                    "dor|dores|aperto|pressao *2 peito",
                    "peito *3 doi|doendo|dor|apertado|doeu",
                    "doi *2 peito",
                    "infarto|enfarte",
                    "ataque cardiaco",
                ],
            ),
            (
                BREATHLESS_AT_REST,
                &[
                    "nao consigo|posso respirar",
                    "sem ar",
                    "me sufocando|sufocando",
                    "falta de ar *3 parad~|sentad~|repouso|deitad~",
                    "estou sufocando",
                ],
            ),
            (FAINTING, &["desmai~", "perdi *2 sentidos|consciencia", "apaguei"]),
            (
                SELF_HARM,
                &[
                    "quero|queria morrer",
                    "me matar",
                    "nao quero mais viver",
                    "tirar *1 minha vida",
                    "vontade de morrer",
                ],
            ),
        ],
    },
    Short {
        language: "it",
        negators: &["non", "mai", "nessun", "nessuna", "senza", "ne"],
        rules: &[
            (
                CHEST_PAIN,
                &[
                    "dolor~|male|oppressione|peso|fitte *2 petto",
                    "petto *3 fa|dolore|stringe|male",
                    "fa male *2 petto",
                    "infarto",
                ],
            ),
            (
                BREATHLESS_AT_REST,
                &[
                    "non riesco *1 respirare",
                    "non respiro",
                    "soffoco|soffocando",
                    "manca *2 aria|laria *3 ferm~|sedut~|riposo",
                    "mi manca laria",
                ],
            ),
            (FAINTING, &["sven~", "perso *1 conoscenza|sensi"]),
            (
                SELF_HARM,
                &[
                    "voglio|vorrei morire",
                    "uccidermi|ammazzarmi",
                    "non voglio piu vivere",
                    "togliermi la vita",
                    "farla finita",
                ],
            ),
        ],
    },
];

type Compiled = Vec<(&'static Short, Vec<(&'static str, Vec<Phrase>)>)>;

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    TABLES
        .iter()
        .map(|table| {
            let rules =
                table.rules.iter().map(|(code, phrases)| (*code, phrases.iter().map(|p| Phrase::new(p)).collect()));
            (table, rules.collect())
        })
        .collect()
});

/// The red flags of `words` in `language`, a code without region.
pub(super) fn detect(language: &str, words: &Words<'_>) -> Vec<RedFlag> {
    let Some((table, rules)) = COMPILED.iter().find(|(table, _)| table.language == language) else { return Vec::new() };
    let denied = |start: usize| (start.saturating_sub(REACH)..start).any(|at| table.negators.contains(&words.word(at)));
    rules
        .iter()
        .filter_map(|(code, phrases)| {
            let hit = find_all(phrases, words).into_iter().find(|hit| !denied(hit.start))?;
            Some(RedFlag { code: (*code).to_owned(), evidence: words.quote(hit.start, hit.end) })
        })
        .collect()
}
